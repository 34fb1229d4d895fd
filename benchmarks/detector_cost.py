"""Seconds that LatentOutlierDetector takes to fit and to score, beside the peers.

    python benchmarks/detector_cost.py [--threads N] [--rounds N] [--write]

10,000 training rows, 100,000 rows to score, 30 features: five clusters of normal rows
with correlated features, and 1 % of the rows moved far away.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from _harness import arguments, medians, paired, publish, table, threads
from sklearn.ensemble import IsolationForest

from latentsk import LatentOutlierDetector

N_TRAIN, N_SCORED, N_FEATURES, N_CLUSTERS = 10_000, 100_000, 30, 5


def rows(n: int, seed: int) -> np.ndarray:
    mixing = np.random.default_rng(0).normal(size=(N_FEATURES, N_FEATURES))
    centres = 5.0 * np.random.default_rng(1).normal(size=(N_CLUSTERS, N_FEATURES))
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, N_FEATURES)) @ mixing
    X += centres[rng.integers(N_CLUSTERS, size=n)]
    X[: n // 100] += 20.0 * rng.normal(size=(n // 100, N_FEATURES))
    return X


def detectors() -> dict[str, Any]:
    from pyod.models.knn import KNN

    return {
        "LatentOutlierDetector()": LatentOutlierDetector(random_state=0),
        "LatentOutlierDetector(assume_clean=True)": LatentOutlierDetector(
            assume_clean=True, random_state=0
        ),
        "PyOD KNN": KNN(n_jobs=-1),
        "scikit-learn IsolationForest": IsolationForest(random_state=0, n_jobs=-1),
    }


def main() -> None:
    options = arguments(__doc__).parse_args()
    warnings.simplefilter("ignore")
    train, scored = rows(N_TRAIN, 2), rows(N_SCORED, 3)
    models = detectors()
    with threads(options.threads):
        fits = {k: lambda m=m: m.fit(train) for k, m in models.items()}
        scores = {k: lambda m=m: m.decision_function(scored) for k, m in models.items()}
        fit_seconds = paired(fits, options.rounds)
        score_seconds = paired(scores, options.rounds)
    fitted, done = medians(fit_seconds), medians(score_seconds)
    body: list[list[object]] = [
        [name, f"{fitted[name]:.2f}", f"{done[name]:.2f}"] for name in models
    ]
    header = ["detector", "fit 10,000 x 30 (s)", "score 100,000 x 30 (s)"]
    text = f"{options.threads} threads\n\n" + table(header, body)
    seconds = {"fit": fit_seconds, "score": score_seconds}
    publish("detector_cost", text, {"seconds": seconds}, options.write)


if __name__ == "__main__":
    main()
