"""Small defects in images: found by the sum over pixels, by windows, and by the map.

    python benchmarks/image_defects.py [--data FOLDER] [--seeds N] [--sets ...]
        [--variants] [--write]

Square defects are planted in images that no fit has seen. "pixel" is the AUROC of
`score_map` over the pixels of these images; "sum" that of `score_samples` for telling
them from as many untouched ones, and "window k" the same with ``score_window=k``. Means
over seeds, which draw the training images, the defects and the network's weights.

Sets: "MNIST" (left out where `--data` has no files), "photograph", patches in colour of
a picture that scikit-learn brings along, and "weave", a synthetic texture.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _harness import images, publish, table, threads
from scipy.ndimage import maximum_filter, minimum_filter
from sklearn.datasets import load_sample_image
from sklearn.metrics import roc_auc_score

from latentsk import AutoencoderEmbedder, VAEEmbedder
from latentsk.training._score_windows import window_sums

SIZES, WINDOWS = (2, 3, 5), (2, 3, 5, 7)
N_TRAIN, N_TEST = 5_000, 1_000
# A defect is planted where it changes pixels by so much on average, or, where no such
# place is found, where it changes them most.
LEAST_CHANGE, TRIES = 0.1, 50
# The aims, for 3 x 3 defects: of the map, and of the window where the sum is so poor.
PIXEL, IMAGE, POOR = 0.94, 0.80, (0.55, 0.75)

Images = np.ndarray
Defect = Callable[[Images, np.random.Generator], Images]

DEFECTS: dict[str, Defect] = {
    "bright": lambda patch, rng: np.ones_like(patch),
    "dark": lambda patch, rng: np.zeros_like(patch),
    "grey": lambda patch, rng: np.full_like(patch, 0.5),
    "noise": lambda patch, rng: rng.uniform(size=patch.shape),
    "inverted": lambda patch, rng: 1.0 - patch,
}
MODELS: dict[str, Callable[[int], Any]] = {
    "AutoencoderEmbedder": lambda seed: AutoencoderEmbedder(
        32, standardize=False, max_epochs=80, random_state=seed
    ),
    "VAEEmbedder": lambda seed: VAEEmbedder(
        32,
        network="conv",
        likelihood="continuous_bernoulli",
        max_epochs=12,
        random_state=seed,
    ),
}


def digits(folder: Path, rng: np.random.Generator) -> tuple[Images, Images]:
    """Return MNIST's images: some to train on, and some to test."""
    parts = [images(folder, part)[0].reshape(-1, 28, 28) for part in ("train", "test")]
    train, test = parts
    train = train[rng.choice(len(train), N_TRAIN, replace=False)]
    return train, test[rng.choice(len(test), 2 * N_TEST, replace=False)]


def photograph(folder: Path, rng: np.random.Generator) -> tuple[Images, Images]:
    """Return patches of a photograph: from its left part to train on, its right."""
    picture = load_sample_image("china.jpg").astype(np.float32) / 255.0
    middle = picture.shape[1] // 2

    def patches(part: Images, n: int) -> Images:
        rows = rng.integers(0, part.shape[0] - 15, n)
        columns = rng.integers(0, part.shape[1] - 15, n)
        places = zip(rows, columns, strict=True)
        return np.stack([part[i : i + 16, j : j + 16] for i, j in places])

    return patches(picture[:, :middle], N_TRAIN), patches(
        picture[:, middle:], 2 * N_TEST
    )


def weave(folder: Path, rng: np.random.Generator) -> tuple[Images, Images]:
    """Return images of a weave with noise, whose threads and angles vary."""
    y, x = np.mgrid[:32, :32]

    def woven(n: int) -> Images:
        period, angle = rng.uniform(5, 7, n), rng.normal(0, 0.1, n)
        phases = rng.uniform(0, 2 * np.pi, (2, n, 1, 1))
        cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
        period = period[:, None, None] / (2 * np.pi)
        threads = np.sin((x * cosine + y * sine) / period + phases[0])
        threads += np.sin((y * cosine - x * sine) / period + phases[1])
        noise = rng.normal(0, 0.05, size=threads.shape)
        return (0.5 + 0.2 * threads + noise).clip(0, 1).astype(np.float32)

    return woven(N_TRAIN), woven(2 * N_TEST)


SETS = {"MNIST": digits, "photograph": photograph, "weave": weave}


def planted(
    X: Images, kind: str, size: int, rng: np.random.Generator
) -> tuple[Images, np.ndarray]:
    """Return images with one square defect each, and where it is."""
    X = X.copy()
    inside = np.zeros(X.shape[:3], bool)
    for image, mask in zip(X, inside, strict=True):
        most = -1.0
        for _ in range(TRIES):
            i, j = (int(rng.integers(0, n - size + 1)) for n in mask.shape)
            place = slice(i, i + size), slice(j, j + size)
            patch = DEFECTS[kind](image[place], rng)
            change = float(np.abs(patch - image[place]).mean())
            if change > most:
                window, new, most = place, patch, change
            if change >= LEAST_CHANGE:
                break
        image[window], mask[window] = new, True
    return X, inside


def worst_windows(maps: Images, size: int) -> np.ndarray:
    """Return what ``score_window=size`` makes of maps of contributions."""
    return window_sums(torch.from_numpy(maps), size).amin(dim=(1, 2)).numpy()


def area(good: np.ndarray, bad: np.ndarray) -> float:
    """Return the AUROC of scores, of which those of bad rows should be lower."""
    is_bad = np.repeat([0, 1], [len(good), len(bad)])
    return float(roc_auc_score(is_bad, -np.concatenate([good, bad])))


def areas(
    model: Any, test: Images, rng: np.random.Generator, kinds: list[tuple[str, int]]
) -> dict[tuple[str, int], list[float]]:
    """Return the AUROC over pixels, of the sum, and of each window, by defect."""
    good = model.score_map(test[:N_TEST])
    found = {}
    for kind, size in kinds:
        X, inside = planted(test[N_TEST:], kind, size, rng)
        bad = model.score_map(X)
        pixels = roc_auc_score(inside.ravel(), -bad.ravel())
        sums = area(good.sum(axis=(1, 2)), bad.sum(axis=(1, 2)))
        windows = [area(worst_windows(good, w), worst_windows(bad, w)) for w in WINDOWS]
        found[kind, size] = [float(pixels), sums, *windows]
    model.set_params(score_window=3)  # that the estimator does the same
    np.testing.assert_allclose(
        model.score_samples(X[:50]), worst_windows(bad[:50], 3), rtol=1e-4, atol=1e-3
    )
    model.set_params(score_window=None)
    return found


def variants(model: Any, test: Images, rng: np.random.Generator) -> list[list[object]]:
    """Return rows of AUROCs of other 3 x 3 scores, from an autoencoder's errors."""
    n = N_TEST // 2

    def contrast(rebuilt: Images) -> Images:
        size = (1, 3, 3) + (1,) * (rebuilt.ndim - 3)
        spread = maximum_filter(rebuilt, size) - minimum_filter(rebuilt, size)
        return spread**2 if spread.ndim == 3 else (spread**2).sum(axis=3)

    def errors(X: Images) -> tuple[Images, Images]:
        rebuilt = model.reconstruct(X)
        squares = (X - rebuilt) ** 2
        squares = squares if squares.ndim == 3 else squares.sum(axis=3)
        return squares, contrast(rebuilt)

    known, spread = errors(test[:n])
    typical, mean = known.mean(axis=0), known.mean()
    design = np.column_stack([np.ones(spread.size), spread.ravel()])
    (base, slope), *_ = np.linalg.lstsq(design, known.ravel(), rcond=None)
    scores: dict[str, Callable[[Images, Images], Images]] = {
        "squared errors": lambda e, s: e,
        "absolute errors": lambda e, s: np.sqrt(e),
        "over the mean at the pixel": lambda e, s: e / (typical + mean),
        "over the mean at such contrast": lambda e, s: (
            e / (max(base, 0.0) + mean + max(slope, 0.0) * s)
        ),
    }
    good = errors(test[n:N_TEST])
    bad = [errors(planted(test[N_TEST:], kind, 3, rng)[0]) for kind in DEFECTS]
    return [
        [name, *(_window_area(score, good, some) for some in bad)]
        for name, score in scores.items()
    ]


def _window_area(score: Any, good: Any, bad: Any) -> float:
    worst = [worst_windows(-score(*some).astype(np.float32), 3) for some in (good, bad)]
    return area(*worst)


def results_table(found: dict[tuple[str, int], list[float]]) -> str:
    """Return a table with a row for each defect."""
    header = ["defect", "pixel", "sum", *(f"window {w}" for w in WINDOWS)]
    rows: list[list[object]] = [
        [f"{kind}, {size} x {size}", *(f"{value:.3f}" for value in values)]
        for (kind, size), values in found.items()
    ]
    return table(header, rows)


def verdict(found: dict[str, dict[tuple[str, int], list[float]]]) -> str:
    """Say how the 3 x 3 defects compare with the aims."""
    low, high = POOR
    three = {
        (name, kind): values
        for name, cases in found.items()
        for (kind, size), values in cases.items()
        if size == 3
    }
    column = 2 + WINDOWS.index(3)
    poor = {case: v for case, v in three.items() if low <= v[1] <= high}
    missed = [case for case, v in poor.items() if v[column] < IMAGE]
    dim = [case for case, v in three.items() if v[0] < PIXEL]
    return (
        f"Of {len(three)} cases with 3 x 3 defects, the sum is {low} to {high} in "
        f"{len(poor)}; window 3 is below {IMAGE} in {len(missed)} of these"
        f"{_listed(missed)}. The AUROC over pixels is below {PIXEL} in {len(dim)} of "
        f"all{_listed(dim)}."
    )


def _listed(cases: list[tuple[str, str]]) -> str:
    return f" ({'; '.join(', '.join(case) for case in cases)})" if cases else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    data = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument(
        "--data", type=Path, default=data, help="folder with mnist/*.gz"
    )
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--variants", action="store_true", help="other scores instead")
    parser.add_argument("--write", action="store_true", help="update results/, README")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    names = [
        n for n in options.sets if n != "MNIST" or (options.data / "mnist").exists()
    ]
    with threads(options.threads):
        if options.variants:
            compare_variants(names, options)
        else:
            compare_windows(names, options)


def compare_windows(names: list[str], options: argparse.Namespace) -> None:
    """Measure every set and model, and print a table for each."""
    kinds = [(kind, size) for size in SIZES for kind in DEFECTS]
    found = {}
    for name in names:
        for model in options.models:
            runs = []
            for seed in range(options.seeds):
                rng = np.random.default_rng(seed)
                train, test = SETS[name](options.data, rng)
                runs.append(areas(MODELS[model](seed).fit(train), test, rng, kinds))
            found[f"{name}, {model}"] = {
                kind: np.mean([run[kind] for run in runs], axis=0).tolist()
                for kind in kinds
            }
            print(name, model, "done", flush=True)
    tables = [f"**{case}**\n\n{results_table(some)}" for case, some in found.items()]
    text = f"Seeds: {options.seeds}\n\n" + "\n\n".join([*tables, verdict(found)])
    document = {
        case: {f"{k}, {s} x {s}": [round(v, 4) for v in values] for (k, s), values in x}
        for case, x in ((case, some.items()) for case, some in found.items())
    }
    publish("image_defects", text, {"seeds": options.seeds, **document}, options.write)


def compare_variants(names: list[str], options: argparse.Namespace) -> None:
    """Print a table of other scores for each set, of the first seed."""
    tables, document = [], {}
    for name in names:
        rng = np.random.default_rng(0)
        train, test = SETS[name](options.data, rng)
        model = MODELS["AutoencoderEmbedder"](0).fit(train)
        rows = variants(model, test, rng)
        tables.append(f"**{name}**\n\n{table(['window of', *DEFECTS], rows)}")
        document[name] = {str(row[0]): row[1:] for row in rows}
    publish("image_variants", "\n\n".join(tables), document, options.write)


if __name__ == "__main__":
    main()
