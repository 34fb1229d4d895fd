"""How evenly VQVAEEmbedder uses 512 codes on MNIST, seed by seed.

    python benchmarks/vector_quantization.py [--data FOLDER] [--seeds N] [--epochs N]
        [--threads N] [--write]

Fitted on the 60,000 training images: 16 codes of 512 for an image, which are 144 bits.
Usage is the share of the codes that training images have, perplexity the exponential of
their entropy at all positions together; the squared error is the mean over the test
images, summed over pixels between 0 and 1. "bits by the prior" are what an entropy
coder needs for the codes of a test image. The last rows are of finite scalar
quantization, and of longer vectors.
"""

from __future__ import annotations

import math
import time
import warnings

import numpy as np
from _harness import arguments, images, publish, table, threads

from latentsk import VQVAEEmbedder

N_CODES, N_POSITIONS = 512, 16
OTHERS = {"fsq": {"quantizer": "fsq"}, "ema, code_dim=8": {"code_dim": 8}}


def model(seed: int, epochs: int, **options) -> VQVAEEmbedder:
    return VQVAEEmbedder(
        N_CODES,
        n_positions=N_POSITIONS,
        prior="independent",
        standardize=False,
        batch_size=256,
        max_epochs=epochs,
        n_iter_no_change=epochs,
        validation_fraction=0.0,
        compile=False,
        device="cpu",
        random_state=seed,
        **options,
    )


def bits_by_prior(fitted: VQVAEEmbedder, X: np.ndarray) -> float:
    """Return minus the mean of log2 p(codes): the two scores differ by that."""
    whole = fitted.score_samples(X)
    fitted.set_params(score_method="reconstruction")
    return float((fitted.score_samples(X) - whole).mean() / math.log(2))


def run(name: str, seed: int, epochs: int, train, test, **options) -> dict:
    start = time.process_time()
    fitted = model(seed, epochs, **options).fit(train)
    seconds = time.process_time() - start
    errors = np.square(fitted.reconstruct(test) - test).sum(axis=1)
    return {
        "quantizer": name,
        "seed": seed,
        "usage": fitted.code_usage_,
        "perplexity": fitted.perplexity_,
        "bits": fitted.bits_per_row_,
        "bits by the prior": bits_by_prior(fitted, test),
        "squared error": float(errors.mean()),
        "processor seconds": seconds,
    }


def row(found: dict) -> list[object]:
    return [
        found["quantizer"],
        found["seed"],
        f"{found['usage']:.1%}",
        f"{found['perplexity']:.0f}",
        f"{found['bits']:.0f}",
        f"{found['bits by the prior']:.1f}",
        f"{found['squared error']:.2f}",
        f"{found['processor seconds']:.0f}",
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    train, name = images(options.data, "train")
    test, _ = images(options.data, "test")
    runs = [("ema", seed, {}) for seed in range(options.seeds)]
    runs += [(kind, 0, settings) for kind, settings in OTHERS.items()]
    found = []
    with threads(options.threads):
        for kind, seed, settings in runs:
            found.append(run(kind, seed, options.epochs, train, test, **settings))
            print(row(found[-1]), flush=True)
    printed = f"{name}, {options.epochs} epochs, {options.threads} thread(s)\n\n"
    printed += table(list(found[0]), [row(each) for each in found])
    document = {"threads": options.threads, "epochs": options.epochs, "runs": found}
    publish("vector_quantization", printed, document, options.write)


if __name__ == "__main__":
    main()
