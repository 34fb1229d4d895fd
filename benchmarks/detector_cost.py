"""What LatentOutlierDetector costs to fit and to score, beside the peers.

    python benchmarks/detector_cost.py [--only GROUP ...] [--quick] [--write]

Groups of measurements: "table" (10,000 x 30), "throughput" (50 columns), "mixed"
(numbers and categories), "row" (one row of 3,072 columns), "images" (MNIST, with the
peak of memory) and "wide" (400 x 20,000). With `--only`, what was written of the other
groups stays. `--quick` takes a fiftieth of the rows, to try it out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from _detector_cost_data import low_rank_rows, mixed_rows, numbers_of_mixed, rows
from _harness import (
    RESULTS,
    Seconds,
    arguments,
    images,
    medians,
    paired,
    publish,
    table,
    threads,
)
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline

from latentsk import LatentOutlierDetector, PCAEmbedder

# Calls in a row, whose mean is the time of one.
CALLS = 20
# Rounds of fits that take many seconds.
FEW_ROUNDS = 3
QUICK_SHARE = 0.02

Measured = tuple[str, dict[str, Any]]


def detectors(n_threads: int, embedder: Any = None) -> dict[str, Any]:
    from pyod.models.knn import KNN

    return {
        "LatentOutlierDetector()": LatentOutlierDetector(embedder, random_state=0),
        "LatentOutlierDetector(assume_clean=True)": LatentOutlierDetector(
            embedder, assume_clean=True, random_state=0
        ),
        "PyOD KNN": KNN(n_jobs=n_threads),
        "scikit-learn IsolationForest": IsolationForest(
            random_state=0, n_jobs=n_threads
        ),
    }


def fit_and_score(
    models: Mapping[str, Any],
    data: Mapping[str, tuple[Any, Any]],
    fit_rounds: int,
    score_rounds: int,
) -> dict[str, Seconds]:
    """Time fits and then scores; `data` are the training and scored rows by name."""
    fits = {k: lambda k=k: models[k].fit(data[k][0]) for k in models}
    scores = {k: lambda k=k: models[k].decision_function(data[k][1]) for k in models}
    return {"fit": paired(fits, fit_rounds), "score": paired(scores, score_rounds)}


def compare(
    options: argparse.Namespace,
    train: np.ndarray,
    scored: np.ndarray,
    describe: Callable[[float], str],
    header: str,
) -> Measured:
    """Return the table and the seconds of all detectors on the same arrays."""
    models = detectors(options.threads)
    data = dict.fromkeys(models, (train, scored))
    seconds = fit_and_score(models, data, options.rounds, options.rounds)
    return _fits_and_scores(seconds, shape_of(train), describe, header), seconds


def _fits_and_scores(
    seconds: dict[str, Seconds], shape: str, describe: Callable[[float], str], what: str
) -> str:
    fitted, done = medians(seconds["fit"]), medians(seconds["score"])
    body: list[list[object]] = [
        [name, f"{fitted[name]:.2f}", describe(done[name])] for name in fitted
    ]
    return table(["detector", f"fit {shape} (s)", what], body)


def shape_of(X: Any) -> str:
    return f"{X.shape[0]:,} x {X.shape[1]:,}"


def seconds_text(seconds: float) -> str:
    return f"{seconds:.2f}"


def rate_text(n_rows: int) -> Callable[[float], str]:
    """Return what turns seconds for this many rows into rows per second."""
    return lambda seconds: f"{n_rows / seconds:,.0f}"


# The groups.


def table_group(options: argparse.Namespace) -> Measured:
    """Measure 10,000 training rows and 100,000 to score, of 30 columns."""
    train, scored = (
        rows(options.size(10_000), 30, 2),
        rows(options.size(100_000), 30, 3),
    )
    header = f"score {shape_of(scored)} (s)"
    return compare(options, train, scored, seconds_text, header)


def throughput_group(options: argparse.Namespace) -> Measured:
    """Measure the rate of scores of 50 columns, after a fit on 5,000 rows."""
    train, scored = rows(options.size(5_000), 50, 2), rows(options.size(50_000), 50, 3)
    header = f"score {shape_of(scored)} (rows/s)"
    return compare(options, train, scored, rate_text(len(scored)), header)


def mixed_group(options: argparse.Namespace) -> Measured:
    """Measure a table of numbers and categories after a fit on 80,000 rows.

    The peers are handed the array that the ColumnTransformer makes of it.
    """
    n_train, n_scored = options.size(80_000), options.size(50_000)
    train, scored = mixed_rows(n_train, 2), mixed_rows(n_scored, 3)
    prepare = numbers_of_mixed().fit(train)
    arrays = prepare.transform(train), prepare.transform(scored)
    models = detectors(
        options.threads, make_pipeline(numbers_of_mixed(), PCAEmbedder(None))
    )
    data: dict[str, tuple[Any, Any]] = {
        name: (train, scored) if name.startswith("Latent") else arrays
        for name in models
    }
    n_rounds = min(options.rounds, FEW_ROUNDS)
    seconds = fit_and_score(models, data, n_rounds, n_rounds)
    shape = f"{train.shape[0]:,} x {train.shape[1]} ({arrays[0].shape[1]})"
    header = f"score {n_scored:,} (rows/s)"
    return _fits_and_scores(seconds, shape, rate_text(n_scored), header), seconds


def row_group(options: argparse.Namespace) -> Measured:
    """Measure calls with one row of 3,072 columns, after a fit on 2,000 rows."""
    train = low_rank_rows(options.size(2_000), 3_072, 2)
    row = low_rank_rows(1, 3_072, 3)
    models = detectors(options.threads)
    for model in models.values():
        model.fit(train)

    def calls(model: Any) -> Callable[[], None]:
        def call() -> None:
            for _ in range(CALLS):
                model.decision_function(row)

        return call

    found = paired({name: calls(m) for name, m in models.items()}, options.rounds)
    seconds = {name: [s / CALLS for s in values] for name, values in found.items()}
    body: list[list[object]] = [
        [name, f"{1e3 * value:.1f}"] for name, value in medians(seconds).items()
    ]
    header = f"score one row, after {shape_of(train)} (ms)"
    return table(["detector", header], body), {"call": seconds}


def image_group(options: argparse.Namespace) -> Measured | None:
    """Measure MNIST, each detector in a process of its own, for its peak of memory."""
    if not (options.data / "mnist" / "train-images-idx3-ubyte.gz").exists():
        print(f"images: skipped, there is no mnist/train-images-*.gz in {options.data}")
        return None
    context, n_rows = multiprocessing.get_context("spawn"), options.size(60_000)
    found = {}
    for name in detectors(1):
        with context.Pool(1) as pool:
            parameters = (name, options.data, options.threads, n_rows)
            found[name] = pool.apply(fit_images, parameters)
    body: list[list[object]] = [
        [
            name,
            f"{of['fit']:.1f}",
            f"{of['before']:,.0f}",
            f"{of['peak']:,.0f}",
            f"{median(of['score']):.2f}",
        ]
        for name, of in found.items()
    ]
    header = [
        "detector",
        f"fit {n_rows:,} x 784 (s)",
        f"memory before, rows of {n_rows * 784 * 4 / 2**20:.0f} MB included (MB)",
        "peak (MB)",
        "score 2,000 rows (s)",
    ]
    return table(header, body), found


def fit_images(name: str, folder: Path, n_threads: int, n_rows: int) -> dict[str, Any]:
    """Return seconds and megabytes of one fit; runs in a fresh process."""
    warnings.simplefilter("ignore")
    train, scored = images(folder, "train")[0], images(folder, "test")[0][:2_000]
    train = train[:n_rows].copy()  # and the others are freed
    with threads(n_threads):
        detectors(n_threads)[name].fit(train[:300]).decision_function(scored[:10])
        model = detectors(n_threads)[name]
        before = resident_megabytes("VmRSS")
        # The peak so far, of unpacking the data, is forgotten.
        Path("/proc/self/clear_refs").write_text("5")
        start = time.perf_counter()
        model.fit(train)
        fitted = time.perf_counter() - start
        score = paired({"": lambda: model.decision_function(scored)}, FEW_ROUNDS)
    peak = resident_megabytes("VmHWM")
    return {"fit": fitted, "score": score[""], "before": before, "peak": peak}


def resident_megabytes(field: str) -> float:
    """Return Linux's count of resident memory, now ("VmRSS") or at its peak ("VmHWM").

    Not `ru_maxrss`, which a process inherits from the one that started it.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"this system does not tell {field}")


def wide_group(options: argparse.Namespace) -> Measured:
    """Measure 400 rows of 20,000 columns, all of them scored."""
    X = low_rank_rows(options.size(400), 20_000, 2)
    return compare(options, X, X, seconds_text, f"score {shape_of(X)} (s)")


GROUPS: dict[str, Callable[[argparse.Namespace], Measured | None]] = {
    "table": table_group,
    "throughput": throughput_group,
    "mixed": mixed_group,
    "row": row_group,
    "images": image_group,
    "wide": wide_group,
}


def kept(write: bool) -> dict[str, dict[str, Any]]:
    """Return the groups that were written before, for a run that writes anew."""
    path = RESULTS / "detector_cost.json"
    if not (write and path.exists()):
        return {}
    return json.loads(path.read_text(encoding="utf-8")).get("groups", {})


def main() -> None:
    parser = arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--quick", action="store_true", help="few rows, never written")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    share = QUICK_SHARE if options.quick else 1.0
    options.size = lambda n: max(round(share * n), 100)
    write = options.write and not options.quick
    groups = kept(write)
    for name in options.only:
        with threads(options.threads):
            measured = GROUPS[name](options)
        if measured is not None:
            text, seconds = measured
            text = f"*{name}*, {options.threads} threads\n\n{text}"
            groups[name] = {"table": text, "measured": seconds}
    groups = {name: groups[name] for name in GROUPS if name in groups}
    printed = "\n\n".join(group["table"] for group in groups.values())
    publish("detector_cost", printed, {"groups": groups}, write)


if __name__ == "__main__":
    main()
