"""Defects in images of cloth: which images, where in them, and why windows help.

    .venv/bin/python examples/image_defects.py [--folder FOLDER]

An autoencoder learns 1,000 images of faultless cloth, made from random numbers, and
judges 400 others, half of which have a small defect. Prints how many are found, by the
sum over pixels and by the worst window of 3 x 3 pixels, and draws the picture of the
user guide. With ``--folder`` the images of a folder, all of one size, are read instead:
four in five to learn from, and the most abnormal of the others are drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import SubFigure
from matplotlib.image import imread
from matplotlib.patches import Rectangle
from sklearn.metrics import roc_auc_score

from latentsk import AutoencoderEmbedder

OUTPUT = Path(__file__).parents[1] / "docs" / "_static" / "image_defects.png"
WINDOW, SIZE, N_SHOWN = 3, 32, 5
GOOD, BAD = "#0072B2", "#D55E00"


def cloth(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return images of woven cloth, of shape (n, 32, 32, 3), in [0, 1]."""
    y, x = np.mgrid[:SIZE, :SIZE] / 1.0
    shift = rng.uniform(0, 2 * np.pi, (2, n, 1, 1))
    tilt = rng.normal(0, 0.03, (n, 1, 1))
    warp = np.sin((x + tilt * y) * 2 * np.pi / 6 + shift[0])
    weft = np.sin((y - tilt * x) * 2 * np.pi / 6 + shift[1])
    light = 0.55 + 0.12 * np.maximum(warp, weft) + rng.normal(0, 0.03, (n, 1, 1))
    blue, red = np.array([0.75, 0.95, 1.2]), np.array([1.2, 0.8, 0.7])
    is_warp = (warp > weft)[..., None]
    images = light[..., None] * np.where(is_warp, blue, red)
    noisy = images + rng.normal(0, 0.03, size=images.shape)
    return noisy.clip(0, 1).astype(np.float32)


def with_defects(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return images with a hole, a knot, a stain or a loose thread each."""
    images = images.copy()
    for number, image in enumerate(images):
        i, j = rng.integers(0, SIZE - 8, size=2)
        match number % 4:
            case 0:
                image[i : i + 3, j : j + 3] *= 0.5
            case 1:
                image[i : i + 3, j : j + 3] += 0.25
            case 2:
                image[i : i + 4, j : j + 4] *= [1.1, 0.9, 0.6]
            case 3:
                image[i : i + 8, j : j + 1] = [0.85, 0.85, 0.8]
    return images.clip(0, 1)


def read_folder(folder: Path) -> np.ndarray:
    """Return the PNG images of a folder, in [0, 1], without their opacity."""
    paths = sorted(folder.glob("*.png"))
    images = np.stack([imread(path) for path in paths])
    return images[..., :3] if images.ndim == 4 else images


def fitted(images: np.ndarray) -> AutoencoderEmbedder:
    """Return an autoencoder of faultless images."""
    return AutoencoderEmbedder(
        16, standardize=False, score_window=WINDOW, max_epochs=100, random_state=0
    ).fit(images)


def worst_place(embedder: AutoencoderEmbedder, images: np.ndarray) -> np.ndarray:
    """Return the upper left corner of each image's worst window, by row and column."""
    inside = embedder.score_contributions(images) != 0
    inside = inside.any(axis=3) if inside.ndim == 4 else inside
    return np.stack([np.argwhere(image)[0] for image in inside])


def draw_images(
    figure: SubFigure, embedder: AutoencoderEmbedder, images: np.ndarray
) -> None:
    """Draw images, what they should look like, and the heat maps."""
    shown = {
        "image, worst window": images,
        "reconstruction": embedder.reconstruct(images).clip(0, 1),
        "heat map": -embedder.score_map(images),
    }
    axes = figure.subplots(len(shown), len(images))
    for row, (name, pictures) in zip(axes, shown.items(), strict=True):
        row[0].set_ylabel(name)
        for ax, picture in zip(row, pictures, strict=True):
            ax.imshow(picture, cmap="magma" if name == "heat map" else "gray", vmin=0)
            ax.set(xticks=[], yticks=[])
    for ax, (i, j) in zip(axes[0], worst_place(embedder, images), strict=True):
        corner = (j - 0.5, i - 0.5)
        frame = Rectangle(corner, WINDOW, WINDOW, fill=False, color="yellow", lw=1.5)
        ax.add_patch(frame)


def draw_scores(
    figure: SubFigure,
    scores: dict[str, tuple[np.ndarray, float]],
    is_bad: np.ndarray,
) -> None:
    """Draw the scores of faultless and of defective images, and the threshold."""
    axes = figure.subplots(len(scores), 1)
    for ax, (name, (values, offset)) in zip(axes, scores.items(), strict=True):
        bins = np.linspace(values.min(), values.max(), 40)
        ax.hist(values[~is_bad], bins, color=GOOD, alpha=0.7, label="faultless")
        ax.hist(values[is_bad], bins, color=BAD, alpha=0.7, label="defective")
        ax.axvline(offset, color="black", ls="--", lw=1, label="threshold")
        ax.set(title=name, xlabel="score", ylabel="images")
    axes[0].legend(frameon=False)


def compare() -> None:
    """Learn faultless cloth, judge other images, print what is found, and draw it."""
    rng = np.random.default_rng(0)
    train, calibration = cloth(1_000, rng), cloth(400, rng)
    good, bad = cloth(200, rng), with_defects(cloth(200, rng), rng)
    test = np.concatenate([good, bad])
    is_bad = np.arange(400) >= 200
    embedder = fitted(train)
    scores = {}
    for name, window in {"sum over all pixels": None, "worst window": WINDOW}.items():
        embedder.set_params(score_window=window, contamination=0.01)
        embedder.calibrate(calibration)
        values, called = embedder.score_samples(test), embedder.predict(test) == -1
        scores[name] = values, embedder.offset_
        print(
            f"{name}: AUROC {roc_auc_score(is_bad, -values):.3f}; called "
            f"{called[is_bad].sum()} of 200 defective images and "
            f"{called[~is_bad].sum()} of 200 faultless ones"
        )
    figure = plt.figure(figsize=(11.0, 5.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.7, 1))
    draw_images(left, embedder, bad[[4, 1, 2, 3]])
    draw_scores(right, scores, is_bad)
    figure.savefig(OUTPUT, dpi=100)
    print(OUTPUT)


def judge(images: np.ndarray) -> None:
    """Learn four in five images, and draw the most abnormal of the others."""
    order = np.random.default_rng(0).permutation(len(images))
    held_out, train = np.split(images[order], [len(images) // 5])
    embedder = fitted(train)
    scores = embedder.score_samples(held_out)
    worst = np.argsort(scores)[:N_SHOWN]
    figure = plt.figure(figsize=(2.0 * len(worst), 6.0), layout="constrained")
    draw_images(figure.subfigures(), embedder, held_out[worst])
    path = Path(__file__).parent / "output" / "image_defects.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=100)
    print(path)


def main() -> None:
    """Judge the images of a folder, or made ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--folder", type=Path, help="PNG images of one size")
    folder = parser.parse_args().folder
    if folder is None:
        compare()
    else:
        judge(read_folder(folder))


if __name__ == "__main__":
    main()
