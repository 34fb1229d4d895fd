"""MNIST: what seeds, settings and densities change of the answer "none of these".

    python benchmarks/open_set_seeds.py [--threads 1] [--write]

GenerativeClassifier knows eight digits, and 7 and 9 are unknown. First over
PCAEmbedder(40): the training images and 4,000 others stay the same, and the seed
draws which rows are set aside to calibrate. Then over several estimators: 6,000 images
are split anew by each seed, 3,600 to train with and 2,400 to judge. Both tables have
the least and the largest over seeds. At last PCAEmbedder(40) with all images and the
five splits of `open_set.py`: the AUROC of unknown test images against known ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np
from _harness import arguments, images, publish, table, threads
from open_set import digits, splits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from latentsk import GenerativeClassifier, PCAEmbedder, VAEEmbedder

UNKNOWN, N_JUDGED, N_SPLIT = (7, 9), 4_000, 6_000
N_SEEDS = 8
SETTINGS: tuple[tuple[int, dict[str, float]], ...] = (
    (3_600, {"reject": 0.05}),
    (3_600, {"reject": 0.05, "calibration_fraction": 0.35}),
    (3_600, {"reject": 0.05, "calibration_fraction": 0.5}),
    (3_600, {"reject": 0.1}),
    (3_600, {"reject": 0.2}),
    (20_000, {"reject": 0.05}),
)
PCA = PCAEmbedder(40)
FIXED_WIDTH = VAEEmbedder(
    likelihood="gaussian", likelihood_scale=0.2, standardize=False
)
# With the number of splits: networks of eight digits take half a minute.
ESTIMATORS = {
    "PCAEmbedder(40)": (PCA, N_SEEDS),
    "VAEEmbedder, fixed width": (FIXED_WIDTH, 3),
    "None, the default": (None, 3),
}

Digits = tuple[np.ndarray, np.ndarray]
Found = dict[str, float]


def fitted(model: GenerativeClassifier, rows: Digits) -> GenerativeClassifier:
    """Return the model, fitted to the images of known digits."""
    X, y = rows
    is_known = ~np.isin(y, UNKNOWN)
    return model.fit(X[is_known], y[is_known])


def judged(model: GenerativeClassifier, rows: Digits) -> Found:
    """Return how well a model tells which images show which digit, and which none."""
    X, y = rows
    answers, is_known = model.predict(X), ~np.isin(y, UNKNOWN)
    return {
        "AUROC": float(roc_auc_score(~is_known, model.novelty_score(X))),
        "unknown found": float((answers[~is_known] == -1).mean()),
        "known called unknown": float((answers[is_known] == -1).mean()),
        "right, of known": float((answers[is_known] == y[is_known]).mean()),
    }


def row(name: str, found: list[Found]) -> list[object]:
    """Return the range of each figure, behind the name and how many there are."""
    return [
        name,
        str(len(found)),
        *(shown(one[key] for one in found) for key in found[0]),
    ]


def shown(values: Iterable[float]) -> str:
    """Return the least and the largest, or what both are."""
    found = sorted(f"{value:.3f}" for value in values)
    return found[0] if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def collected(compared: Iterable[tuple[str, list[Found]]]) -> dict[str, list[Found]]:
    """Return what is found, and tell of it as it comes."""
    found = {}
    for name, figures in compared:
        found[name] = figures
        print(*row(name, figures), sep=", ", flush=True)
    return found


def of_settings(X: np.ndarray, y: np.ndarray) -> Iterator[tuple[str, list[Found]]]:
    """Yield what the seeds make of the same images, setting by setting."""
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], y[order]
    others = X[-N_JUDGED:], y[-N_JUDGED:]
    for n_rows, settings in SETTINGS:
        some, found = (X[:n_rows], y[:n_rows]), []
        for seed in range(N_SEEDS):
            model = GenerativeClassifier(PCA, random_state=seed, **settings)
            found.append(judged(fitted(model, some), others))
        words = [f"{name}={value}" for name, value in settings.items()]
        yield ", ".join([f"{n_rows:,} images", *words]), found


def of_estimators(X: np.ndarray, y: np.ndarray) -> Iterator[tuple[str, list[Found]]]:
    """Yield what the estimators make of several splits of the first images."""
    X, y = X[:N_SPLIT], y[:N_SPLIT]
    for name, (estimator, n_splits) in ESTIMATORS.items():
        found = []
        for seed in range(n_splits):
            train, test, labels, truth = train_test_split(
                X, y, test_size=0.4, stratify=y, random_state=seed
            )
            model = GenerativeClassifier(estimator, reject=0.05, random_state=seed)
            found.append(judged(fitted(model, (train, labels)), (test, truth)))
        yield name, found


def areas(train: Digits, test: Digits) -> list[float]:
    """Return the AUROC of unknown images with all training images, in each split."""
    (X, y), (X_test, truth) = train, test
    found = []
    for known in splits():
        own = np.isin(y, known)
        model = GenerativeClassifier(PCA, random_state=0).fit(X[own], y[own])
        novelty = model.novelty_score(X_test)
        found.append(float(roc_auc_score(~np.isin(truth, known), novelty)))
    return found


def compared(what: str, name: str, found: dict[str, list[Found]]) -> str:
    """Return a table with a line for each name."""
    columns = list(next(iter(found.values()))[0])
    lines = [row(*figures) for figures in found.items()]
    return table([name, what, *columns], lines)


def main() -> None:
    options = arguments(__doc__).parse_args()
    train, test = (
        (images(options.data, part)[0], digits(options.data, part).astype(int))
        for part in ("train", "test")
    )
    start = time.process_time()
    with threads(options.threads):
        settings = collected(of_settings(*train))
        estimators = collected(of_estimators(*train))
        of_splits = areas(train, test)
    minutes = (time.process_time() - start) / 60
    where = f"{options.threads} thread(s), {minutes:.1f} minutes of the processor"
    first = compared("seeds", "training, over PCAEmbedder(40)", settings)
    second = compared("splits", "estimator, 3,600 images, reject=0.05", estimators)
    third = table(
        ["estimator, 60,000 images", "AUROC of unknown, mean"]
        + [f"known: {' '.join(map(str, known))}" for known in splits()],
        [["PCAEmbedder(40)", *(f"{a:.3f}" for a in (np.mean(of_splits), *of_splits))]],
    )
    printed = f"{where}\n\n{first}\n\n{second}\n\n{third}"
    document = {"setting": where, "settings": settings, "estimators": estimators}
    document["areas"] = of_splits
    publish("open_set_seeds", printed, document, options.write)


if __name__ == "__main__":
    main()
