"""Time of a training step with each prior, against that with the normal one.

    python benchmarks/prior_speed.py [--threads N] [--rounds N] [--write]

A perceptron 784-400-20 with ReLU, batches of 128, one sample per row. The epochs of all
priors alternate, and ratios are medians over rounds. The aim is 1.3, for all but 500
pseudo-inputs.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from _harness import arguments, images, medians, publish, ratio, table, threads

from latentsk import VAEEmbedder

N_STEPS, BATCH_SIZE = 100, 128
NORMAL = "normal"
CONTENDERS = {
    NORMAL: {},
    "mixture, 10 components": {"prior": "mixture", "n_prior_components": 10},
    "VampPrior, 10 pseudo-inputs": {"prior": "vamp", "n_prior_components": 10},
    "flow": {"prior": "flow"},
    "VampPrior, 500 pseudo-inputs": {"prior": "vamp", "n_prior_components": 500},
}


def epoch(X: np.ndarray, options: dict) -> float:
    """Return the seconds of an epoch of training."""
    vae = VAEEmbedder(
        20,
        hidden_layer_sizes=(400,),
        activation="relu",
        likelihood="bernoulli",
        batch_size=BATCH_SIZE,
        max_epochs=1,
        validation_fraction=0.0,
        n_score_samples=1,
        compile=False,
        device="cpu",
        random_state=0,
        **options,
    )
    return vae.fit(X).history_[0]["seconds"]


def alternated(X: np.ndarray, rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for number in range(rounds + 1):
        for name, options in CONTENDERS.items():
            taken = epoch(X, options)
            if number:  # the first round warms up
                seconds[name].append(taken)
    return seconds


def main() -> None:
    options = arguments(__doc__).parse_args()
    warnings.simplefilter("ignore")
    pixels, source = images(options.data, "train")
    X = (pixels[: N_STEPS * BATCH_SIZE] > 0.5).astype(np.float32)
    with threads(options.threads):
        seconds = alternated(X, options.rounds)
    rows = [
        [
            name,
            f"{1e3 * taken / N_STEPS:.2f}",
            f"{1 / ratio(seconds, NORMAL, name):.2f}",
        ]
        for name, taken in medians(seconds).items()
    ]
    header = ["prior", "step (ms)", "over the normal prior's"]
    where = f"{options.threads} thread(s), {source}, torch {torch.__version__}"
    printed = f"{where}\n\n{table(header, rows)}"
    document = {"threads": options.threads, "seconds": seconds}
    publish("prior_speed", printed, document, options.write)


if __name__ == "__main__":
    main()
