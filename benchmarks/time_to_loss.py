"""Seconds until PyOD's AutoEncoder is matched, both with their default settings.

    python benchmarks/time_to_loss.py [--threads N] [--rounds N] [--data FOLDER]
        [--write]

PyOD trains to its end; its reconstruction loss is the mean squared error of the rows,
standardized and summed over features. AutoencoderEmbedder, with as many latent
dimensions as PyOD's default network, trains until its own loss of all rows, computed
after every epoch, is as low; the computing is counted.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
from _harness import arguments, publish, table, threads
from pyod.models.auto_encoder import AutoEncoder as PyODAutoEncoder
from sklearn.datasets import load_breast_cancer, load_digits

from latentsk import AutoencoderEmbedder

# The narrowest layer of PyOD's network: with fewer, its loss may be out of reach.
N_COMPONENTS = 32
SETS = ("2_annthyroid", "22_magic.gamma", "25_musk", "31_satimage-2", "6_cardio")


class UntilLoss:
    """End the training once the loss of all rows is low enough."""

    def __init__(self, wanted: float) -> None:
        self.wanted = wanted
        self.reached = False

    def setup(self, estimator: object, context: object) -> None:
        """Do nothing."""

    def teardown(self, estimator: object, context: object) -> None:
        """Do nothing."""

    def on_fit_task_begin(self, estimator: object, context: object) -> None:
        """Do nothing."""

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        """Score all rows."""
        if fitted_estimator is not None:
            self.reached = -fitted_estimator.score(X) <= self.wanted
        return self.reached


def data(folder: Path) -> dict[str, np.ndarray]:
    found = {
        "digits": load_digits().data,
        "breast cancer": load_breast_cancer().data,
    }
    for path in sorted((folder / "adbench").glob("*.npz")):
        if path.stem in SETS:
            found[path.stem.split("_", 1)[1]] = np.load(path)["X"]
    return found


def compare(X: np.ndarray, seed: int) -> tuple[float, float, bool]:
    """Return PyOD's seconds, ours, and whether its loss was reached."""
    start = time.perf_counter()
    detector = PyODAutoEncoder(random_state=seed, verbose=0, device="cpu").fit(X)
    theirs = time.perf_counter() - start
    until = UntilLoss(float(np.mean(detector.decision_scores_**2)))
    embedder = AutoencoderEmbedder(N_COMPONENTS, random_state=seed, device="cpu")
    start = time.perf_counter()
    embedder.set_callbacks(until).fit(X)
    return theirs, time.perf_counter() - start, until.reached


def main() -> None:
    options = arguments(__doc__).parse_args()
    warnings.simplefilter("ignore")
    results, rows = {}, []
    with threads(options.threads):
        for name, X in data(options.data).items():
            compare(X[:200], 0)  # warms up
            runs = [compare(X, seed) for seed in range(min(3, options.rounds))]
            results[name] = runs
            theirs, our, _ = np.median(np.array(runs, dtype=float), axis=0)
            ratio = np.median([a / b for a, b, _ in runs])
            reached = all(reached for *_, reached in runs)
            shape = "{:,} x {:,}".format(*X.shape)
            times = f"{ratio:.0f}" if reached else "not reached"
            rows.append([name, shape, f"{theirs:.2f}", f"{our:.2f}", times])
            print(rows[-1], flush=True)
    header = ["data", "shape", "PyOD (s)", "latentsk (s)", "times faster"]
    printed = f"{options.threads} thread(s)\n\n{table(header, rows)}"
    document = {"threads": options.threads, "results": results}
    publish("time_to_loss", printed, document, options.write)


if __name__ == "__main__":
    main()
