"""What a fit with a target of recall takes, over the cheaper of two plain ways.

    python benchmarks/tuning_cost.py [--threads N] [--write]

"All pairs" compares all rows with each other in float32; "build" is a fit with what
was found handed in (`index_spec`), and "plain" one with inverted lists of codes, as the
tuner counts it. A fit counts its work, and stops at 4 times the cheaper of all pairs
and the plain build; times differ from it by what a machine does faster or slower.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import faiss
import numpy as np
from _harness import arguments, images, medians, paired, publish, ratio, table, threads
from _search_data import N_NEIGHBORS, clustered

from latentsk import LatentIndex
from latentsk.index._ivf_tuning import USUAL_CODES, n_lists_for

TARGETS = (0.95, 0.99)


def noise(n_rows: int, n_columns: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n_rows, n_columns), dtype=np.float32)


def uneven(low: float, high: float, apart: float) -> np.ndarray:
    """Draw 40,000 rows of 200 groups of zipf-distributed sizes and unlike spreads."""
    rng = np.random.default_rng(0)
    weights = 1.0 / np.arange(1, 201)
    labels = rng.choice(200, 40_000, p=weights / weights.sum())
    centers = apart * rng.normal(size=(200, 64))
    spreads = rng.uniform(low, high, 200)[labels, None]
    rows = centers[labels] + spreads * rng.normal(size=(len(labels), 64))
    return rows.astype(np.float32)


def sets(options: argparse.Namespace) -> dict[str, Callable[[], np.ndarray]]:
    return {
        "noise, 3,000 x 700": partial(noise, 3_000, 700),
        "noise, 20,000 x 64": partial(noise, 20_000, 64),
        "uneven, overlapping, 40,000 x 64": partial(uneven, 0.3, 1.5, 1.0),
        "uneven, apart, 40,000 x 64": partial(uneven, 0.05, 2.0, 3.0),
        "clustered, 200,000 x 64": partial(clustered, 200_000, 64),
        "noise, 200,000 x 8": partial(noise, 200_000, 8),
        "images, 60,000 x 784": lambda: images(options.data, "train")[0].copy(),
    }


def plain_spec(n_rows: int, n_columns: int) -> str:
    """Return lists of codes, as many as the tuner counts."""
    n_codes = min(n_columns, USUAL_CODES)
    reduced = f"PCA{n_codes}," if n_codes < n_columns else ""
    n_lists = n_lists_for(n_rows)
    return f"{reduced}IVF{n_lists},PQ{n_codes}x4fs,nprobe=1,rerank=1"


def all_pairs(rows: np.ndarray) -> float:
    """Return seconds; of many rows only some are queries, and the time is scaled up."""
    queries = rows[: min(len(rows), 2_000)]
    seconds = paired({"": partial(faiss.knn, queries, rows, N_NEIGHBORS)}, 1)
    return medians(seconds)[""] * len(rows) / len(queries)


def row_of(name: str, rows: np.ndarray, target: float, n_rounds: int) -> list[object]:
    make = partial(LatentIndex, n_neighbors=N_NEIGHBORS)
    found = make(target_recall=target).fit(rows).index_spec_
    runs: dict[str, Callable[[], object]] = {
        "fit": lambda: make(target_recall=target).fit(rows),
        "build": lambda: make(index_spec=found).fit(rows),
        "plain": lambda: make(index_spec=plain_spec(*rows.shape)).fit(rows),
    }
    seconds = paired(runs, n_rounds)
    pairs, times = all_pairs(rows), medians(seconds)
    cheaper = times["fit"] / pairs
    if times["plain"] < pairs:
        cheaper = ratio(seconds, "fit", "plain")
    cells = [f"{t:.2f}" for t in (times["fit"], times["build"], times["plain"], pairs)]
    return [name, f"{target:.2f}", found, *cells, f"{cheaper:.1f}"]


HEADER = [
    *["data", "target", "what was found", "fit (s)", "build (s)", "plain build (s)"],
    *["all pairs (s)", "fit / cheaper of the last two"],
]


def main() -> None:
    parser = arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(rounds=3)
    options = parser.parse_args()
    lines: list[list[object]] = []
    with threads(options.threads):
        for name, make in sets(options).items():
            rows = make()
            for target in TARGETS:
                lines.append(row_of(name, rows, target, options.rounds))
    document = {"threads": options.threads, "rows": lines}
    publish("tuning_cost", table(HEADER, lines), document, options.write)


if __name__ == "__main__":
    main()
