"""Squared error of MNIST's test images at equal numbers of bits per image.

    python benchmarks/codes.py [--data FOLDER] [--epochs N] [--threads N]
        [--models NAME ...] [--write]

VQVAEEmbedder (both quantizers), PCA and an autoencoder whose latent coordinates are
quantized uniformly: bits go, one after the other, to the coordinate that gains most by
them, and every cell is decoded to its mean. All are fitted on 55,000 training images;
the number of coordinates of the autoencoder is chosen on the 5,000 others. Networks
have the same layers, epochs and batches. The columns on the right say what an entropy
coder needs, by frequencies at each position and by the prior that VQVAEEmbedder has
learned. With --models, the other rows are those of the results that are kept.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from _harness import RESULTS, arguments, images, publish, table, threads
from _scalar_codes import (
    decoded,
    decoded_errors,
    encoded,
    independent_bits,
    quantizers_of,
    shared_out,
    squared_errors,
)

from latentsk import AutoencoderEmbedder, PCAEmbedder, VQVAEEmbedder

MODELS = ("PCA", "autoencoder", "ema", "fsq")
N_CODES = 512
POSITIONS = (16, 28)
N_COMPONENTS = (16, 32, 64)
N_PRINCIPAL = 256
EPOCHS = 10
SET_ASIDE = 5_000
# To share out bits by; enough for means.
ROWS_TO_SHARE_OUT = {"PCA": 10_000, "autoencoder": 1_000}


class Images(NamedTuple):
    """Rows to fit on, to choose by, and to report."""

    train: np.ndarray
    held_out: np.ndarray
    test: np.ndarray


class Outcome(NamedTuple):
    """What a model makes of the test images."""

    bits: int
    model: str
    settings: str
    error: float
    independent: float
    learned: float | None


def network(epochs: int) -> dict[str, object]:
    return {
        "standardize": False,
        "batch_size": 256,
        "max_epochs": epochs,
        "n_iter_no_change": epochs,
        "validation_fraction": 0.0,
        "random_state": 0,
    }


def error(rows: np.ndarray, X: np.ndarray) -> float:
    return float(np.square(rows - X).sum(axis=1).mean())


def scalar_outcome(
    name: str, model: object, budget: int, X: Images, errors: np.ndarray
) -> tuple[float, Outcome]:
    """Return the error on images set aside, and what is reported."""
    latents = Images(*(model.transform(rows) for rows in X))
    bits = shared_out(errors, budget)
    quantizers = quantizers_of(latents.train, bits)
    codes = Images(*(encoded(quantizers, rows) for rows in latents))
    held_out, test = (
        error(model.inverse_transform(decoded(quantizers, numbers)), rows)
        for numbers, rows in [(codes.held_out, X.held_out), (codes.test, X.test)]
    )
    used = f"{np.count_nonzero(bits)} coordinates, up to {bits.max()} bits"
    coded = independent_bits(codes.train, codes.test, [2**b for b in bits])
    return held_out, Outcome(budget, name, used, test, coded, None)


def principal(X: Images) -> list[Outcome]:
    model = PCAEmbedder(N_PRINCIPAL).fit(X.train)
    some = X.train[: ROWS_TO_SHARE_OUT["PCA"]]
    errors = squared_errors(model.transform(some))
    budgets = [budget_of(n_positions) for n_positions in POSITIONS]
    return [scalar_outcome("PCA", model, bits, X, errors)[1] for bits in budgets]


def autoencoders(X: Images, epochs: int) -> list[Outcome]:
    """Return the best number of components for each budget, by images set aside."""
    some = X.train[: ROWS_TO_SHARE_OUT["autoencoder"]]
    found: dict[int, list[tuple[float, Outcome]]] = {}
    for n_components in N_COMPONENTS:
        model = AutoencoderEmbedder(n_components, **network(epochs)).fit(X.train)
        latents = model.transform(some)
        errors = decoded_errors(latents, some, model.inverse_transform)
        for n_positions in POSITIONS:
            bits = budget_of(n_positions)
            result = scalar_outcome("autoencoder", model, bits, X, errors)
            found.setdefault(bits, []).append(result)
    return [min(results, key=lambda pair: pair[0])[1] for results in found.values()]


def budget_of(n_positions: int) -> int:
    return n_positions * round(math.log2(N_CODES))


def quantized(
    X: Images, quantizer: str, n_positions: int, epochs: int
) -> list[Outcome]:
    model = VQVAEEmbedder(
        N_CODES, n_positions=n_positions, quantizer=quantizer, **network(epochs)
    ).fit(X.train)
    train, test = (model.transform_codes(rows) for rows in (X.train, X.test))
    learned = codes_bits(model, X.test)
    outcome = Outcome(
        round(model.bits_per_row_),
        f'VQ, quantizer="{quantizer}"',
        f"{n_positions} codes, perplexity {model.perplexity_:.0f}",
        error(model.inverse_transform_codes(test), X.test),
        independent_bits(train, test, [N_CODES] * n_positions),
        learned,
    )
    return [outcome]


def codes_bits(model: VQVAEEmbedder, X: np.ndarray) -> float:
    """Return minus the mean of log2 p(codes): the default score less its other part."""
    whole = model.score_samples(X)
    part = model.set_params(score_method="reconstruction").score_samples(X)
    model.set_params(score_method="elbo")
    return float((part - whole).mean() / math.log(2))


def timed(label: str, run: Callable[[], list[Outcome]]) -> list[Outcome]:
    start = time.process_time()
    outcomes = run()
    print(f"{label}: {time.process_time() - start:.0f} s", flush=True)
    return outcomes


def line(one: Outcome) -> list[object]:
    learned = "" if one.learned is None else f"{one.learned:.0f}"
    return [
        one.bits,
        one.model,
        one.settings,
        f"{one.error:.2f}",
        f"{one.independent:.0f}",
        learned,
    ]


def name_of(one: Outcome) -> str:
    return next(name for name in MODELS if name in one.model)


def kept(models: list[str], epochs: int) -> list[Outcome]:
    """Return the outcomes of other models that an earlier run has written."""
    path = RESULTS / "codes.json"
    if set(models) == set(MODELS) or not path.exists():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    found = [Outcome(**one) for one in document["found"]]
    again = [one for one in found if name_of(one) not in models]
    return again if document["epochs"] == epochs else []


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    options = parser.parse_args()
    train, source = images(options.data, "train")
    test, _ = images(options.data, "test")
    X = Images(train[:-SET_ASIDE], train[-SET_ASIDE:], test)
    found = kept(options.models, options.epochs)
    runs = {
        "PCA": [partial(principal, X)],
        "autoencoder": [partial(autoencoders, X, options.epochs)],
        **{
            name: [partial(quantized, X, name, n, options.epochs) for n in POSITIONS]
            for name in ("ema", "fsq")
        },
    }
    with threads(options.threads):
        for name in options.models:
            for run in runs[name]:
                found += timed(name, run)
    found.sort(key=lambda one: (one.bits, MODELS.index(name_of(one))))
    header = ["bits", "model", "settings", "squared error", "independent", "prior"]
    printed = (
        f"{source}, {options.epochs} epochs, {options.threads} thread(s)\n\n"
        f"{table(header, [line(one) for one in found])}"
    )
    document = {"epochs": options.epochs, "found": [one._asdict() for one in found]}
    publish("codes", printed, document, options.write)


if __name__ == "__main__":
    main()
