"""What likelihoods make of pixels: divergences, distance from the prior, samples.

    python benchmarks/pixel_likelihoods.py [--rows N] [--epochs N] [--write]

VAEEmbedder with 8 latent dimensions on MNIST's training images, other parameters as
they are by default. "distance" is `distance_from_prior` of 2,000 test images. The last
columns are Fréchet distances of 32 principal components: of the means of 2,000 rows
from the prior, and of reconstructions, to the test images. Five fits, a minute each.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from _harness import arguments, images, publish, table, threads
from scipy.linalg import sqrtm
from sklearn.decomposition import PCA

from latentsk import VAEEmbedder

# Name: what pixels are multiplied by, and parameters.
SETTINGS: dict[str, tuple[int, dict[str, Any]]] = {
    "dynamic_binarization=True": (1, {"dynamic_binarization": True}),
    "continuous_bernoulli": (1, {"likelihood": "continuous_bernoulli"}),
    "gaussian, standardize=False": (1, {"standardize": False}),
    "gaussian, a scale for each pixel": (
        1,
        {"standardize": False, "likelihood_scale": "feature"},
    ),
    "gaussian, bytes, standardized": (255, {}),
}
HEADER = ["pixels", "KL (nats)", "distance", "warned", "samples", "reconstructions"]


def frechet(rows: np.ndarray, others: np.ndarray) -> float:
    """Return the distance of the normal distributions with the moments of rows."""
    mean = rows.mean(axis=0) - others.mean(axis=0)
    first, second = (np.cov(part, rowvar=False) for part in (rows, others))
    root = np.real(sqrtm(first @ second))
    return float(mean @ mean + np.trace(first + second - 2.0 * root))


def row(name: str, train: np.ndarray, test: np.ndarray, epochs: int) -> list[object]:
    """Return a row of the table."""
    factor, parameters = SETTINGS[name]
    dtype = np.uint8 if factor == 255 else np.float32
    rows, others = ((part * factor).round(6).astype(dtype) for part in (train, test))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vae = VAEEmbedder(8, max_epochs=epochs, random_state=0, **parameters)
        vae.fit(rows)
    report = vae.latent_report(others)
    latents = np.random.default_rng(0).normal(size=(len(test), 8)).astype(np.float32)
    components = PCA(32).fit(test)
    expected = components.transform(test)
    drawn, same = (
        frechet(components.transform(found / factor), expected)
        for found in (vae.inverse_transform(latents), vae.reconstruct(others))
    )
    warned = ", ".join(sorted({w.category.__name__ for w in caught})) or "no"
    distance = f"{report.distance_from_prior:.2f}"
    return [name, f"{report.kl:.1f}", distance, warned, f"{drawn:.1f}", f"{same:.1f}"]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=15_000)
    parser.add_argument("--epochs", type=int, default=25)
    options = parser.parse_args()
    train, data = images(options.data, "train")
    test, _ = images(options.data, "test")
    with threads(options.threads):
        rows = [
            row(name, train[: options.rows], test[:2_000], options.epochs)
            for name in SETTINGS
        ]
    text = f"{data}, {options.rows:,} rows, {options.epochs} epochs\n\n"
    publish(
        "pixel_likelihoods", text + table(HEADER, rows), {"rows": rows}, options.write
    )


if __name__ == "__main__":
    main()
