"""Rows as a few integers: what codes cost, what they keep, and what they are good for.

    .venv/bin/python examples/codes_and_compression.py

Handwritten digits (shipped with scikit-learn). Compresses them by PCA, an autoencoder
and a vector-quantized autoencoder, and prints squared errors at equal numbers of bits.
Then finds images of digits that no model has seen, by the probability of their codes;
images that came in twice, by equal codes; and draws new ones from the prior.
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
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from latentsk import AutoencoderEmbedder, PCAEmbedder, VQVAEEmbedder

OUTPUT = Path(__file__).parents[1] / "docs" / "_static" / "codes_and_compression.png"
# Bytes per image. A coordinate takes one, four codes of 6 bits take three.
BYTES = (3, 6, 12)
N_CODES = 64
SHOWN = 12
Rows = np.ndarray


def error(rows: Rows, X: Rows) -> float:
    """Return the mean squared error of a row, summed over its features."""
    return float(np.square(rows - X).sum(axis=1).mean())


def bytes_of(latents: Rows, fitted: Rows) -> np.ndarray:
    """Return latent coordinates as bytes: 256 steps over the range of fitted ones."""
    low, high = fitted.min(axis=0), fitted.max(axis=0)
    return np.clip(np.round((latents - low) / (high - low) * 255), 0, 255).astype("u1")


def from_bytes(numbers: np.ndarray, fitted: Rows) -> Rows:
    """Return the latent coordinates that bytes mean."""
    low, high = fitted.min(axis=0), fitted.max(axis=0)
    return low + numbers / 255 * (high - low)


def through_bytes(
    model: PCAEmbedder | AutoencoderEmbedder, train: Rows, X: Rows
) -> Rows:
    """Return rows after they were a byte for each latent coordinate."""
    fitted = model.transform(train)
    return model.inverse_transform(
        from_bytes(bytes_of(model.transform(X), fitted), fitted)
    )


def vector_quantized(train: Rows, n_bytes: int = 6, **options: object) -> VQVAEEmbedder:
    """Return a model with codes of 6 bits."""
    common = {"standardize": False, "random_state": 0}
    return VQVAEEmbedder(
        N_CODES, n_positions=8 * n_bytes // 6, **common, **options
    ).fit(train)


def compression(
    train: Rows, test: Rows
) -> tuple[dict[str, Rows], dict[str, VQVAEEmbedder]]:
    """Print errors by bytes per image; return what six keep, and models by priors."""
    print("Squared error per test image")
    print(
        f"{'bytes':>6}{'PCA':>8}{'variance':>10}{'autoencoder':>13}{'ema':>8}{'fsq':>8}"
    )
    kept, models = {}, {}
    for n_bytes in BYTES:
        pca = PCAEmbedder(n_bytes).fit(train)
        network = AutoencoderEmbedder(n_bytes, standardize=False, random_state=0)
        rows = {
            "PCA": through_bytes(pca, train, test),
            "autoencoder": through_bytes(network.fit(train), train, test),
        }
        for quantizer in ("ema", "fsq"):
            model = vector_quantized(train, n_bytes, quantizer=quantizer)
            rows[quantizer] = through_codes(model, test)
            if n_bytes == 6 and quantizer == "ema":
                models["autoregressive"] = model
        found = {name: error(seen, test) for name, seen in rows.items()}
        share = pca.explained_variance_ratio_.sum()
        text = (
            f"{n_bytes:6}{found['PCA']:8.2f}{share:10.1%}{found['autoencoder']:13.2f}"
        )
        print(f"{text}{found['ema']:8.2f}{found['fsq']:8.2f}")
        if n_bytes == 6:
            kept = rows
    models["independent"] = vector_quantized(train, prior="independent")
    found = error(through_codes(models["independent"], test), test)
    print(f'     6  with prior="independent":{found:22.2f}')
    return kept, models


def through_codes(model: VQVAEEmbedder, X: Rows) -> Rows:
    """Return rows after they were codes."""
    return model.inverse_transform_codes(model.transform_codes(X))


def coded_bits(model: VQVAEEmbedder, X: Rows) -> np.ndarray:
    """Return minus log2 of the probability of each row's codes."""
    whole = model.set_params(score_method="elbo").score_samples(X)
    given = model.set_params(score_method="reconstruction").score_samples(X)
    model.set_params(score_method="elbo")
    return (given - whole) / np.log(2)


def probabilities(models: dict[str, VQVAEEmbedder], test: Rows) -> None:
    """Print the bits that an entropy coder needs."""
    print("\nBits per test image, by the prior of the codes")
    for prior in ("independent", "autoregressive"):
        model = models[prior]
        bits = coded_bits(model, test).mean()
        print(f"  {prior:16}{model.bits_per_row_:4.0f} as they are, {bits:5.1f} coded")


def outliers(X: Rows, y: np.ndarray) -> None:
    """Print how well scores tell digits that no model has seen from the others."""
    train, held_out = train_test_split(X[y < 5], train_size=450, random_state=0)
    rows = np.concatenate([held_out, X[y >= 5]])
    is_outlier = np.arange(len(rows)) >= len(held_out)
    print("\nDigits 5 to 9 among 0 to 4, AUROC")
    for prior in ("independent", "autoregressive"):
        model = vector_quantized(train, prior=prior)
        found = {"improbable codes alone": coded_bits(model, rows)}
        for method in ("elbo", "reconstruction", "quantization"):
            model.set_params(score_method=method)
            found[f'"{method}"'] = -model.score_samples(rows)
        for name, scores in found.items():
            print(f"  {prior:16}{name:24}{roc_auc_score(is_outlier, scores):.3f}")


def twins(model: VQVAEEmbedder, X: Rows) -> None:
    """Print what codes say of images that came in twice."""
    codes = model.transform_codes(X)
    rng = np.random.default_rng(0)
    again = np.clip(X + rng.integers(-1, 2, size=X.shape) / 16, 0, 1)
    new = model.transform_codes(again)
    shared = (codes[:, None] == new).sum(axis=2)
    own = np.diag(shared)
    others = shared[~np.eye(len(X), dtype=bool)]
    print("\nCodes that an image and its copy with noise of one grey level share")
    print(f"{'at least':>10}{'copies':>9}{'other images':>14}")
    for least in (8, 6, 4, 3):
        print(f"{least:10}{np.mean(own >= least):9.1%}{np.mean(others >= least):14.3%}")
    print(f"different images: {len(np.unique(codes, axis=0))} codes for {len(X)}")


def new_images(
    models: dict[str, VQVAEEmbedder], train: Rows, test: Rows
) -> dict[str, Rows]:
    """Print how near drawn images are to training images; return the former."""
    rng = np.random.default_rng(0)
    uniform = rng.integers(N_CODES, size=(500, 8))
    drawn = {
        "all codes alike": models["autoregressive"].inverse_transform_codes(uniform)
    }
    for name in ("independent", "autoregressive"):
        model = models[name]
        # What is drawn has the noise that the likelihood says.
        drawn[f'"{name}"'] = model.reconstruct(model.sample(500, random_state=0))
    nearest = NearestNeighbors(n_neighbors=1).fit(train)
    print("\nSquared distance from the nearest training image, median")
    for name, rows in {**drawn, "test images": test}.items():
        print(f"  {name:20}{np.median(nearest.kneighbors(rows)[0] ** 2):6.2f}")
    return drawn


def draw(figure: SubFigure, rows: dict[str, Rows], title: str) -> None:
    """Draw the first images of each kind in a line."""
    axes = figure.subplots(len(rows), SHOWN)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=False):
            axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", size=9)
    figure.suptitle(title, size=10)


def main(arguments: list[str] | None = None) -> None:
    """Print the numbers and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)

    X, y = load_digits(return_X_y=True)
    X = X / 16
    train, test = train_test_split(X, test_size=500, random_state=0)
    kept, models = compression(train, test)
    probabilities(models, test)
    outliers(X, y)
    twins(models["autoregressive"], test)

    drawn = new_images(models, train, test)
    titles = {
        "PCA": "PCA",
        "autoencoder": "autoencoder",
        "ema": "VQ, ema",
        "fsq": "VQ, fsq",
    }
    lines = {"64 bytes": test, **{titles[name]: rows for name, rows in kept.items()}}
    figure = plt.figure(figsize=(11.0, 5.6), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[5, 3.3])
    draw(upper, lines, "Test images, and what is left of them in 6 bytes")
    draw(lower, drawn, "New images, by the prior of the codes")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=110)
    plt.close(figure)
    print(f"\npicture: {options.output}")


if __name__ == "__main__":
    main()
