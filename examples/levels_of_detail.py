"""Rows at two levels of detail: what a hierarchical VAE keeps at the top, and below.

    .venv/bin/python examples/levels_of_detail.py

Handwritten digits (1,797 images of 8 x 8 pixels, shipped with scikit-learn). Prints
what each level carries, squared errors of images that are rebuilt by one level and by
both, and how often the nearest images by each level show the same digit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from latentsk import HierarchicalVAEEmbedder, LatentIndex

OUTPUT = Path(__file__).parents[1] / "docs" / "_static" / "levels_of_detail.png"
WIDTHS = (12, 4)
SHOWN = 8
LEVELS = {"the top level": 2, "the lower level": 1, "both": None}


def fit(images: np.ndarray, epochs: int) -> HierarchicalVAEEmbedder:
    """Return a model with two levels."""
    return HierarchicalVAEEmbedder(
        WIDTHS,
        likelihood="continuous_bernoulli",
        learning_rate_init=2e-3,
        max_epochs=epochs,
        n_iter_no_change=epochs,
        random_state=0,
    ).fit(images)


def rebuilt(model: HierarchicalVAEEmbedder, images: np.ndarray, level: object):
    """Return images as some levels rebuild them."""
    model.set_params(levels=level)
    return model.inverse_transform(model.transform(images))


def same_digit(
    model: HierarchicalVAEEmbedder, images: np.ndarray, y: np.ndarray, level: object
) -> float:
    """Return how often the five nearest images by some levels show the same digit."""
    index = LatentIndex(model.set_params(levels=level)).fit(images)
    nearest = index.kneighbors(n_neighbors=5, return_distance=False)
    return float(np.mean(y[nearest] == y[:, None]))


def variants(model: HierarchicalVAEEmbedder, image: np.ndarray) -> np.ndarray:
    """Return images with the top level of one, and details drawn from the prior."""
    latents = model.set_params(levels=None).transform(
        np.repeat(image, SHOWN - 1, axis=0)
    )
    drawn = np.random.default_rng(0).normal(size=(SHOWN - 1, WIDTHS[0]))
    latents[:, : WIDTHS[0]] = drawn
    return model.inverse_transform(latents)


def main() -> None:
    """Print the numbers and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    digits = load_digits()
    images, test, _, test_y = train_test_split(
        digits.images / 16, digits.target, test_size=500, random_state=0
    )
    model = fit(images, options.epochs)
    print(model.latent_report(test).levels.round(1), "\n")
    print(f"{'test images by':18}{'squared error':>14}{'same digit':>12}")
    found = {}
    for name, level in LEVELS.items():
        found[name] = rebuilt(model, test, level)
        error = np.square(found[name] - test).sum(axis=(1, 2)).mean()
        share = same_digit(model, test, test_y, level)
        print(f"{name:18}{error:14.2f}{share:12.1%}")

    figure, axes = plt.subplots(
        2, 1, figsize=(6.8, 5.0), layout="constrained", height_ratios=[4, 3]
    )
    lines = {"image": test, **found}
    draw(axes[0], lines, "Test images, and what each level rebuilds")
    firsts = [int(np.flatnonzero(test_y == digit)[0]) for digit in (0, 4, 9)]
    others = {
        f"a {test_y[i]}": np.concatenate([test[[i]], variants(model, test[[i]])])
        for i in firsts
    }
    draw(axes[1], others, "An image; its top level, with details that are drawn")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=110)
    plt.close(figure)
    print(f"\npicture: {options.output}")


def draw(axis: plt.Axes, lines: dict[str, np.ndarray], title: str) -> None:
    """Draw lines of images."""
    gap = np.full((8, 1), np.nan)
    rows = []
    for images in lines.values():
        parts = [part for image in images[:SHOWN] for part in (image, gap)]
        rows += [np.hstack(parts), np.full((1, 9 * SHOWN), np.nan)]
    axis.imshow(np.vstack(rows), cmap="gray", vmin=0, vmax=1)
    axis.set_yticks(3.5 + 9 * np.arange(len(lines)), list(lines))
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title(title, size=10)


if __name__ == "__main__":
    main()
