"""An autoencoder against a variational one: two latent coordinates of written digits.

    .venv/bin/python examples/vae_mnist.py [--data FOLDER]

Left: the latent coordinates of test images. Right: images drawn from the prior, on the
way from a 0 to a 6, and on a journey from a 4 over a 7 to a 9. Prints the numbers that
belong to it. FOLDER holds MNIST's four files in IDX format, compressed; without it, the
digits that come with scikit-learn take their place.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from latentsk import AutoencoderEmbedder, VAEEmbedder

OUTPUT = Path(__file__).parents[1] / "docs" / "_static" / "vae_mnist.png"
Embedder = AutoencoderEmbedder | VAEEmbedder
Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
N_STEPS = 12
N_DRAWN = 36


def read_idx(path: Path) -> np.ndarray:
    """Return the array of a compressed IDX file of bytes."""
    content = gzip.decompress(path.read_bytes())
    n_dimensions = content[3]
    shape = np.frombuffer(content, ">i4", count=n_dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_dimensions).reshape(shape)


def load(folder: Path | None) -> Data:
    """Return training and test images in [0, 1], and the digits they show."""
    if folder is None:
        X, y = load_digits(return_X_y=True)
        X = (X / 16).astype(np.float32)
        train, test, y_train, y_test = train_test_split(X, y, random_state=0)
        return train, y_train, test, y_test
    parts = []
    for part in ("train", "t10k"):
        pixels = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
        parts.append(pixels.reshape(len(pixels), -1).astype(np.float32) / 255)
        parts.append(read_idx(folder / f"{part}-labels-idx1-ubyte.gz"))
    return tuple(parts)


def fit(X: np.ndarray, epochs: int) -> dict[str, Embedder]:
    """Return both embedders, with the same network."""
    common = {"network": "mlp-512-256", "max_epochs": epochs, "random_state": 0}
    return {
        "Autoencoder": AutoencoderEmbedder(
            2, loss="binary_cross_entropy", **common
        ).fit(X),
        # Grey levels are the probabilities of ink.
        "Variational autoencoder": VAEEmbedder(
            2, dynamic_binarization=True, **common
        ).fit(X),
    }


def typical(vae: VAEEmbedder, X: np.ndarray, y: np.ndarray, digit: int) -> np.ndarray:
    """Return the image of a digit whose latents are nearest to the digit's median."""
    rows = X[y == digit]
    Z = vae.transform(rows)
    return rows[np.square(Z - np.median(Z, axis=0)).sum(axis=1).argmin()]


def drawn(vae: VAEEmbedder, n: int) -> np.ndarray:
    """Return the means of images whose latents are drawn from the prior."""
    return vae.inverse_transform(np.random.default_rng(0).standard_normal((n, 2)))


def sureness(classifier: MLPClassifier, X: np.ndarray) -> float:
    """Return the share of images that a classifier is sure of, at least 90 %."""
    return float(np.mean(classifier.predict_proba(X).max(axis=1) >= 0.9))


def tiled(images: np.ndarray, n_columns: int) -> np.ndarray:
    """Return square images as one picture, in rows."""
    side = round(images.shape[1] ** 0.5)
    grid = images.reshape(-1, n_columns, side, side)
    return grid.transpose(0, 2, 1, 3).reshape(-1, n_columns * side)


def draw_latents(axis: plt.Axes, Z: np.ndarray, y: np.ndarray, name: str) -> None:
    """Draw the latents of test images, coloured by digit, with their moments."""
    some = slice(None, 3_000)
    dots = axis.scatter(*Z[some].T, c=y[some], s=3, cmap="tab10", vmin=-0.5, vmax=9.5)
    mean, spread = Z.mean(axis=0), Z.std(axis=0)
    axis.set_title(
        f"{name}\nmean ({mean[0]:.1f}, {mean[1]:.1f}), "
        f"spread ({spread[0]:.1f}, {spread[1]:.1f})",
        size=10,
    )
    axis.set(xlabel="latent coordinate 0", ylabel="latent coordinate 1")
    axis.figure.colorbar(dots, ax=axis, ticks=range(10), label="digit")


def draw_images(axis: plt.Axes, picture: np.ndarray, title: str) -> None:
    """Draw images, dark on white."""
    axis.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
    axis.set_title(title, size=10)
    axis.set_xticks([])
    axis.set_yticks([])


def main() -> None:
    """Print the numbers and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()

    train, y_train, test, y_test = load(options.data)
    embedders = fit(train, options.epochs)
    vae = embedders["Variational autoencoder"]
    latents = {name: each.transform(test) for name, each in embedders.items()}
    print("Latent coordinates of test images\n")
    for name, Z in latents.items():
        print(
            f"{name:24} mean {Z.mean(axis=0).round(2)}  spread {Z.std(axis=0).round(2)}"
        )
    report = vae.latent_report(test)
    print(
        f"\nKL divergence from the prior {report.kl:.2f} nats, of all images together ",
        end="",
    )
    print(f"{report.distance_from_prior:.2f} nats")
    classifier = MLPClassifier((128,), early_stopping=True, random_state=0)
    classifier.fit(train, y_train)
    print("\nA classifier of digits is sure (90 %) of")
    for name, images in {
        "test images": test,
        "their reconstructions": vae.reconstruct(test),
        "images drawn from the prior": drawn(vae, 2_000),
        "images of random pixels": np.random.default_rng(0).permuted(test, axis=1),
    }.items():
        print(f"  {name:30} {sureness(classifier, images):.0%}")

    zero, six, four, seven, nine = (
        typical(vae, test, y_test, digit) for digit in (0, 6, 4, 7, 9)
    )
    way = vae.interpolate(zero, six, N_STEPS)
    first = vae.interpolate(four, seven, N_STEPS // 2)
    journey = np.concatenate([first, vae.interpolate(seven, nine, N_STEPS // 2)])
    figure, axes = plt.subplot_mosaic(
        [["a", "v", "s"], ["a", "v", "s"], ["a", "v", "w"], ["a", "v", "j"]],
        figsize=(13.0, 4.4),
        width_ratios=[1, 1, 1.15],
        layout="constrained",
    )
    for key, (name, Z) in zip("av", latents.items(), strict=True):
        draw_latents(axes[key], Z, y_test, name)
    draw_images(axes["s"], tiled(drawn(vae, N_DRAWN), N_STEPS), "Drawn from the prior")
    draw_images(axes["w"], tiled(way, N_STEPS), "From a 0 to a 6")
    draw_images(axes["j"], tiled(journey, N_STEPS), "From a 4 over a 7 to a 9")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=110)
    plt.close(figure)
    print(f"\npicture: {options.output}")


if __name__ == "__main__":
    main()
