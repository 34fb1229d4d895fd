"""PCA against an autoencoder on curved data: the picture of the user guide.

    .venv/bin/python examples/curved.py

Left and middle: a noisy spiral in the plane, described by one latent coordinate. Right:
handwritten digits, and their reconstruction error against the number of latent
coordinates. Every error is that of rows that were not trained on. Prints the errors, on
the spiral those of five random states, and writes one picture.
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

from latentsk import AutoencoderEmbedder, PCAEmbedder

OUTPUT = Path(__file__).parents[1] / "docs" / "_static" / "curved.png"
TURNS = 1.5
NOISE = 0.02
N_SEEDS = 5
COMPONENTS = [1, 2, 4, 8, 16, 32]
NAMES = ["PCA", "Autoencoder"]
COLOURS = dict(zip(NAMES, ["#c44e52", "#1f5fa8"], strict=True))


def spiral(n_rows: int, seed: int) -> np.ndarray:
    """Rows along a spiral of radius 0.4 to 1, with noise."""
    rng = np.random.default_rng(seed)
    radius = np.sqrt(rng.uniform(0.15, 1.0, size=n_rows))
    angle = radius * TURNS * 2 * np.pi
    curve = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return curve + NOISE * rng.normal(size=curve.shape)


def error(embedder: PCAEmbedder | AutoencoderEmbedder, rows: np.ndarray) -> float:
    """Mean over rows of the squared distance to their reconstruction."""
    residual = rows - embedder.reconstruct(rows)
    return float(np.mean(np.sum(residual**2, axis=1)))


def fit_spiral() -> tuple[np.ndarray, dict[str, list], dict[str, list[float]]]:
    """Return the rows trained on, and models and errors of unseen rows by name."""
    train, unseen = spiral(1_000, seed=0), spiral(1_000, seed=1)
    models = {
        "PCA": [PCAEmbedder(1).fit(train)],
        "Autoencoder": [
            AutoencoderEmbedder(1, random_state=seed).fit(train)
            for seed in range(N_SEEDS)
        ],
    }
    errors = {
        name: [error(model, unseen) for model in fitted]
        for name, fitted in models.items()
    }
    return train, models, errors


def digit_errors() -> dict[str, list[float]]:
    """Errors of unseen digits, pixels in [0, 1], for each number of components."""
    X = load_digits(return_X_y=True)[0] / 16
    train, unseen = train_test_split(X, test_size=0.3, random_state=0)
    errors: dict[str, list[float]] = {name: [] for name in NAMES}
    for k in COMPONENTS:
        pca = PCAEmbedder(k).fit(train)
        network = AutoencoderEmbedder(k, standardize=False, random_state=0).fit(train)
        errors["PCA"].append(error(pca, unseen))
        errors["Autoencoder"].append(error(network, unseen))
    return errors


def draw_spiral(
    axis: plt.Axes,
    rows: np.ndarray,
    embedder: PCAEmbedder | AutoencoderEmbedder,
    name: str,
    value: float,
) -> None:
    """Draw rows, and the curve that the one latent coordinate runs along."""
    Z = embedder.transform(rows)
    grid = np.linspace(Z.min(), Z.max(), 600)[:, None]
    some = slice(None, None, 10)
    ends = np.stack([rows[some], embedder.reconstruct(rows[some])])
    axis.plot(*ends.transpose(2, 0, 1), color="0.8", linewidth=0.6, zorder=1)
    axis.scatter(*rows.T, s=3, color="0.55", label="rows", zorder=2)
    axis.plot(
        *embedder.inverse_transform(grid).T,
        color=COLOURS[name],
        linewidth=2,
        label="the latent coordinate",
        zorder=3,
    )
    axis.set_aspect("equal")
    axis.set(xlim=(-1.2, 0.9), ylim=(-0.75, 1.35), xticks=[-1, 0], yticks=[0, 1])
    axis.set(xlabel="feature 1", ylabel="feature 2")
    axis.set_title(f"{name}: squared error {value:.4f}", size=10)
    axis.legend(loc="upper center", fontsize=8, ncols=2, frameon=False, markerscale=3)


def draw_errors(axis: plt.Axes, errors: dict[str, list[float]]) -> None:
    """Draw the error against the number of components, labelled at the lines."""
    for name, marker in zip(NAMES, "so", strict=True):
        axis.plot(
            COMPONENTS, errors[name], marker + "-", color=COLOURS[name], label=name
        )
    axis.set_xscale("log", base=2)
    axis.set_xticks(COMPONENTS, [str(k) for k in COMPONENTS])
    axis.set_ylim(0, None)
    axis.set_xlabel("latent coordinates")
    axis.set_ylabel("squared error per image")
    axis.set_title("Digits of 64 pixels", size=10)
    axis.legend(fontsize=9, frameon=False)


def main() -> None:
    """Print the errors and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    path = parser.parse_args().output

    rows, models, errors = fit_spiral()
    print("Squared error, mean over rows that were not trained on\n")
    print("spiral, 1 latent coordinate")
    print(f"  PCA                         {errors['PCA'][0]:.4f}")
    for seed, value in enumerate(errors["Autoencoder"]):
        print(f"  autoencoder, random_state={seed} {value:.4f}")
    of_digits = digit_errors()
    print("\ndigits, pixels in [0, 1]")
    print(f"  components  {'PCA':>8}  {'autoencoder':>11}")
    for row in zip(COMPONENTS, *of_digits.values(), strict=True):
        print("  {:>10}  {:>8.2f}  {:>11.2f}".format(*row))

    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained")
    for axis, name in zip(axes, NAMES, strict=False):
        draw_spiral(axis, rows, models[name][0], name, errors[name][0])
    draw_errors(axes[2], of_digits)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"\npicture: {path}")


if __name__ == "__main__":
    main()
