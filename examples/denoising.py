"""Rows without their noise: what a plane and an autoencoder make of noisy rows.

    .venv/bin/python examples/denoising.py

Points around the plane X0 = X2 in three dimensions: PCA finds the plane, and the
direction that it drops holds nothing but noise. Then handwritten digits (shipped with
scikit-learn) with noise on every pixel: PCA, an autoencoder, and one that was trained
to remove noise. Prints squared errors per row, and those that theory expects.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import SubFigure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from latentsk import AutoencoderEmbedder, PCAEmbedder

OUTPUT = Path(__file__).parents[1] / "docs" / "_static" / "denoising.png"
# Of Okabe and Ito's palette, which all eyes tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#999999"
NOISE = 0.3
N_COMPONENTS = (5, 10, 15, 20, 30)
SHOWN = 10


def around_the_plane(n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points of the plane X0 = X2, and the same with noise."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, n_rows))
    clean = np.column_stack([first, second, first])
    return clean, clean + NOISE * rng.normal(size=clean.shape)


def digits(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return training images, test images, and the latter with noise."""
    X = load_digits().data / 16
    train, test = train_test_split(X, test_size=500, random_state=seed)
    rng = np.random.default_rng(seed)
    return train, test, test + NOISE * rng.normal(size=test.shape)


def error(rows: np.ndarray, clean: np.ndarray) -> float:
    """Return the mean squared error of a row, summed over its features."""
    return float(np.square(rows - clean).sum(axis=1).mean())


def plane() -> tuple[np.ndarray, np.ndarray]:
    """Print what PCA does to points around a plane; return them before and after."""
    clean, noisy = around_the_plane(5_000, seed=0)
    embedder = PCAEmbedder(2).fit(noisy)
    denoised = embedder.reconstruct(noisy)
    dropped = np.cross(*embedder.components_)
    dropped *= np.sign(dropped[0])
    print("Points around the plane X0 = X2")
    print(f"  dropped direction       {np.round(dropped, 2)}")
    print(f"  (1, 0, -1) / sqrt(2)    {np.round(np.array([1, 0, -1]) / 2**0.5, 2)}")
    print(f"  {'':22}{'found':>8}{'expected':>10}")
    lines = {
        "variance dropped": (embedder.noise_variance_, NOISE**2),
        "error, noisy": (error(noisy, clean), 3 * NOISE**2),
        "error, denoised": (error(denoised, clean), 2 * NOISE**2),
    }
    for name, (found, expected) in lines.items():
        print(f"  {name:22}{found:8.3f}{expected:10.3f}")
    return noisy, denoised


def autoencoder(
    train: np.ndarray, epochs: int, **options: object
) -> AutoencoderEmbedder:
    """Return an autoencoder of images in [0, 1]."""
    common = {"standardize": False, "max_epochs": epochs, "random_state": 0}
    return AutoencoderEmbedder(32, **common, **options).fit(train)


def trained_with(level: float) -> dict[str, object]:
    """Return the parameters that add noise in training."""
    return {"noise": "gaussian", "noise_level": level}


def images(epochs: int) -> dict[str, np.ndarray]:
    """Print the errors on noisy digits; return the rows of the picture."""
    train, test, noisy = digits(seed=0)
    rng = np.random.default_rng(1)
    noisy_train = train + NOISE * rng.normal(size=train.shape)
    found = {f"noisy (expected {64 * NOISE**2:.2f})": noisy}
    for k in N_COMPONENTS:
        found[f"PCA, {k} components"] = PCAEmbedder(k).fit(train).reconstruct(noisy)
    best = min(list(found)[1:], key=lambda name: error(found[name], test))
    plain, taught = "autoencoder", f'autoencoder, noise="gaussian", {NOISE}'
    found[plain] = autoencoder(train, epochs).reconstruct(noisy)
    for level in (NOISE, 0.1, 1.0):
        model = autoencoder(train, epochs, **trained_with(level))
        found[f'autoencoder, noise="gaussian", {level}'] = model.reconstruct(noisy)
    model = autoencoder(noisy_train, epochs, **trained_with(NOISE))
    found[f"{taught}, fitted on noisy images"] = model.reconstruct(noisy)
    model = PCAEmbedder(int(best.split()[1])).fit(noisy_train)
    found[f"{best}, fitted on noisy images"] = model.reconstruct(noisy)
    print("\nDigits: squared error per image")
    for name, rows in found.items():
        print(f"  {name:56}{error(rows, test):6.2f}")
    return {
        "clean": test,
        "noisy": noisy,
        best.removesuffix(" components"): found[best],
        plain: found[plain],
        'autoencoder,\nnoise="gaussian"': found[taught],
    }


def draw_plane(figure: SubFigure, noisy: np.ndarray, denoised: np.ndarray) -> None:
    """Draw X0 and X2 of some points, before and after."""
    axis = figure.subplots()
    for rows, colour, label in [
        (noisy, GREY, "noisy"),
        (denoised, BLUE, "reconstructed"),
    ]:
        axis.scatter(rows[:300, 0], rows[:300, 2], s=9, c=colour, label=label)
    axis.annotate(
        "dropped:\n(1, 0, -1) / √2",
        xy=(1.35, -0.35),
        xytext=(0.5, -2.3),
        fontsize=9,
        color=ORANGE,
    )
    arrow = {"arrowstyle": "->", "color": ORANGE, "lw": 2}
    axis.annotate("", xy=(1.45, -1.45), xytext=(0, 0), arrowprops=arrow)
    axis.set(xlabel="X0", ylabel="X2", aspect="equal", xlim=(-3, 3), ylim=(-3, 3))
    axis.set_title("Points around X0 = X2, PCAEmbedder(2)", size=10)
    axis.legend(loc="upper left", fontsize=8)


def draw_images(figure: SubFigure, rows: dict[str, np.ndarray]) -> None:
    """Draw the first images of each row."""
    axes = figure.subplots(len(rows), SHOWN)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=False):
            axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", size=9)
    figure.suptitle("Digits of 8 x 8 pixels that no model was fitted on", size=10)


def main(arguments: list[str] | None = None) -> None:
    """Print the numbers and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)

    noisy, denoised = plane()
    rows = images(options.epochs)
    figure = plt.figure(figsize=(11.0, 4.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.6])
    draw_plane(left, noisy, denoised)
    draw_images(right, rows)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=110)
    plt.close(figure)
    print(f"\npicture: {options.output}")


if __name__ == "__main__":
    main()
