"""Squared error per image of MNIST's test images from 30 latent dimensions.

    python benchmarks/mnist_reconstruction.py [--data FOLDER] [--epochs N] [--device D]
        [--write]

The network is 784-1000-500-250-30 of Hinton & Salakhutdinov (2006), who report 3.00 for
it and 13.87 for PCA (pixels in [0, 1]).
"""

from __future__ import annotations

import time

import numpy as np
from _harness import arguments, images, publish, table, threads
from sklearn.decomposition import PCA

from latentsk import AutoencoderEmbedder

N_COMPONENTS = 30
EPOCHS = 30
PUBLISHED = {"PCA": 13.87, "784-1000-500-250-30": 3.00}


def squared_error(model: object, X: np.ndarray) -> float:
    rows = model.inverse_transform(model.transform(X))
    return float(np.square(rows - X).sum(axis=1).mean())


def autoencoder(epochs: int, device: str) -> AutoencoderEmbedder:
    return AutoencoderEmbedder(
        N_COMPONENTS,
        hidden_layer_sizes=(1_000, 500, 250),
        standardize=False,
        batch_size=128,
        max_epochs=epochs,
        n_iter_no_change=epochs,
        validation_fraction=0.0,
        random_state=0,
        device=device,
        verbose=True,
    )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    train, source = images(options.data, "train")
    test, _ = images(options.data, "test")
    models = {
        "PCA": PCA(N_COMPONENTS),
        "784-1000-500-250-30": autoencoder(options.epochs, options.device),
    }
    rows, errors = [], {}
    with threads(options.threads):
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(train)
            seconds = time.perf_counter() - start
            errors[name] = squared_error(model, test)
            published = f"{PUBLISHED[name]:.2f}"
            rows.append([name, f"{seconds:.0f}", f"{errors[name]:.2f}", published])
    header = ["model", "fit (s)", "squared error", "published"]
    printed = (
        f"{source}, 30 dimensions, {options.epochs} epochs, {options.threads} thread(s)"
        f"\n\n{table(header, rows)}"
    )
    document = {"epochs": options.epochs, "squared_error": errors}
    name = "mnist_reconstruction"
    if options.epochs != EPOCHS:
        name += f"_{options.epochs}"
    publish(name, printed, document, options.write)


if __name__ == "__main__":
    main()
