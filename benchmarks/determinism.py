"""How far results of the same rows depend on the number of threads and the batch.

    python benchmarks/determinism.py [--write]

Every result is computed in one call with one thread, then with two threads, and with
the rows cut into batches of 1, 7 and 256. A difference is the largest of any element,
relative to the spread of the result (its largest element minus its smallest). The
command fails if one is beyond the tolerance.

Why there are differences at all: a matrix product of other shapes, or divided among
threads, adds the same numbers up in another order. Tolerances leave room for data of
another kind than these, whose sums cancel: float32 carries 7 digits, of which two may
be lost; float64 carries 16, of which six may. Certified distances (LatentIndex), and
what works in float64 whatever it is given, are held to float64 for float32 rows, too.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from _harness import arguments, publish, table, threads
from sklearn.base import clone
from sklearn.datasets import load_digits

from latentsk import (
    AutoencoderEmbedder,
    LatentIndex,
    LatentOutlierDetector,
    PCAEmbedder,
    VAEEmbedder,
)

# Largest difference, relative to the spread of the result.
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}
BATCHES = (1, 7, 256, None)
N_THREADS = (1, 2)
N_TRAIN, N_QUERIES = 1_000, 300
# Rows that are asked one by one, which takes long.
N_ALONE = 60

MLP: dict[str, Any] = {
    "n_components": 8,
    "max_epochs": 5,
    "random_state": 0,
    "device": "cpu",
}
CONV = {**MLP, "network": "conv", "input_shape": (1, 8, 8)}
Answer = Callable[[Any, np.ndarray], np.ndarray]


class Case(NamedTuple):
    """An estimator and what it is asked; `exact` answers are float64 in any dtype."""

    estimator: Any
    answers: dict[str, Answer]
    exact: bool = False


def answers(*methods: str) -> dict[str, Answer]:
    return {m: lambda e, X, m=m: getattr(e, m)(X) for m in methods}


def distances(index: Any, X: np.ndarray) -> np.ndarray:
    return index.kneighbors(X, 10)[0]


CASES = {
    "PCAEmbedder": Case(
        PCAEmbedder(8), answers("transform", "reconstruct", "score_samples")
    ),
    **{
        f"PCAEmbedder, {method}": Case(
            PCAEmbedder(8, score_method=method), answers("score_samples")
        )
        for method in ("reconstruction", "mahalanobis")
    },
    "AutoencoderEmbedder, mlp": Case(
        AutoencoderEmbedder(**MLP), answers("transform", "reconstruct", "score_samples")
    ),
    "AutoencoderEmbedder, conv": Case(
        AutoencoderEmbedder(**CONV),
        answers("transform", "reconstruct", "score_samples"),
    ),
    "VAEEmbedder, elbo": Case(
        VAEEmbedder(**MLP), answers("transform", "reconstruct", "score_samples")
    ),
    **{
        f"VAEEmbedder, {method}": Case(
            VAEEmbedder(**MLP, score_method=method), answers("score_samples")
        )
        for method in ("iwae", "reconstruction", "kl")
    },
    "VAEEmbedder, conv": Case(
        VAEEmbedder(**CONV), answers("transform", "reconstruct", "score_samples")
    ),
    "LatentOutlierDetector": Case(
        LatentOutlierDetector(random_state=0), answers("score_samples"), exact=True
    ),
    "LatentOutlierDetector, PCAEmbedder(8)": Case(
        LatentOutlierDetector(PCAEmbedder(8), random_state=0), answers("score_samples")
    ),
    "LatentIndex": Case(LatentIndex(), {"kneighbors": distances}, exact=True),
    "LatentIndex, cosine": Case(
        LatentIndex(metric="cosine"), {"kneighbors": distances}, exact=True
    ),
    "LatentIndex, PCAEmbedder(8)": Case(
        LatentIndex(PCAEmbedder(8)), {"kneighbors": distances}
    ),
}


def data() -> tuple[np.ndarray, np.ndarray]:
    X = load_digits().data
    # Not whole numbers, whose sums would be exact in any order.
    X = (X + np.random.default_rng(0).normal(size=X.shape)) / 3.0
    return X[:N_TRAIN], X[N_TRAIN : N_TRAIN + N_QUERIES]


def in_batches(
    answer: Answer, estimator: Any, X: np.ndarray, batch: int | None
) -> np.ndarray:
    step = batch or len(X)
    X = X[:N_ALONE] if batch == 1 else X
    parts = [answer(estimator, X[i : i + step]) for i in range(0, len(X), step)]
    return np.concatenate(parts).astype(np.float64)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference over the spread of what is expected."""
    spread = float(np.ptp(expected)) or 1.0
    return float(np.abs(found - expected[: len(found)]).max()) / spread


def compared(estimator: Any, answer: Answer, X: np.ndarray) -> dict[str, float]:
    """Return the largest difference by threads, by batches, and by both."""
    with threads(1):
        expected = in_batches(answer, estimator, X, None)
    found = {"threads": 0.0, "batches": 0.0, "both": 0.0}
    for number, batch in product(N_THREADS, BATCHES):
        with threads(number):
            here = difference(in_batches(answer, estimator, X, batch), expected)
        kind = "threads" if batch is None else "batches" if number == 1 else "both"
        found[kind] = max(found[kind], here)
    return found


def refitted(estimator: Any, train: np.ndarray, X: np.ndarray) -> float:
    """Return the difference of the scores after a fit with one thread and with two."""
    scores = []
    for number in N_THREADS:
        with threads(number):
            fitted = clone(estimator).fit(train)
        with threads(1):
            scores.append(np.asarray(fitted.score_samples(X), np.float64))
    return difference(scores[1], scores[0])


def repeated(train: np.ndarray, X: np.ndarray) -> list[dict[str, Any]]:
    results = []
    for (name, case), dtype in product(CASES.items(), TOLERANCES):
        rows, queries = train.astype(dtype), X.astype(dtype)
        with threads(1):
            fitted = clone(case.estimator).fit(rows)
        tolerance = TOLERANCES["float64" if case.exact else dtype]
        for method, answer in case.answers.items():
            found = compared(fitted, answer, queries)
            results.append(
                {
                    "name": f"{name}: {method}",
                    "dtype": dtype,
                    **found,
                    "tolerance": tolerance,
                    "ok": max(found.values()) <= tolerance,
                }
            )
    return results


def fits(train: np.ndarray, X: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "dtype": dtype,
            "refit": refitted(case.estimator, train.astype(dtype), X.astype(dtype)),
        }
        for (name, case), dtype in product(CASES.items(), TOLERANCES)
        if hasattr(case.estimator, "score_samples")
    ]


def main() -> None:
    options = arguments(__doc__).parse_args()
    train, X = data()
    results, refits = repeated(train, X), fits(train, X)
    columns = ("threads", "batches", "both", "tolerance")
    body: list[list[object]] = []
    for r in results:
        verdict = "ok" if r["ok"] else "**not ok**"
        numbers = [f"{r[column]:.0e}" for column in columns]
        body.append([r["name"], r["dtype"], *numbers, verdict])
    header = ["result", "rows", "1 and 2 threads", "batches of 1, 7, 256", "both"]
    again: list[list[object]] = [
        [r["name"], r["dtype"], f"{r['refit']:.0e}"] for r in refits
    ]
    printed = table([*header, "tolerance", ""], body)
    printed += "\n\nScores after a fit with one thread and after one with two:\n\n"
    printed += table(["fit", "rows", "largest difference"], again)
    document = {"results": results, "refits": refits}
    publish("determinism", printed, document, options.write)
    wrong = [r["name"] for r in results if not r["ok"]]
    if wrong:
        raise SystemExit(f"beyond the tolerance: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
