"""What searches cost for each unit of work, beside the prices that are shipped.

    python benchmarks/search_prices.py [--threads 1] [--write]

The tuner compares families by counted work: `latentsk/index/_cost.py` has one set of
prices for each, in nanoseconds of one core, of which only the ratios matter. Here every
family answers the same queries at several settings; "measured / counted" is its time
over what the prices say, and the last column that over the same of the lists: 1 is what
the tuner takes for granted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
from _harness import arguments, medians, paired, publish, table, threads
from _search_data import N_NEIGHBORS, clustered, wide

from latentsk import LatentIndex

N_ROWS, N_QUERIES = 40_000, 2_000
SPECS = {
    "lists of codes": [f"IVF256,PQ{{}}x4fs,nprobe={p},rerank={p / 4}" for p in (8, 32)],
    "lists of rows": [f"IVF256,Flat,nprobe={p},rerank=1" for p in (8, 32)],
    "HNSW": [f"HNSW32,ef={ef}" for ef in (16, 64)],
    "SymphonyQG": [f"SymphonyQG32,ef={ef}" for ef in (16, 64)],
}


def embeddings() -> np.ndarray:
    return wide(256, 0.4, 1).base[: N_ROWS + N_QUERIES].copy()


def sets() -> dict[str, Callable[[], np.ndarray]]:
    return {
        "clustered, 40,000 x 8": partial(clustered, N_ROWS + N_QUERIES, 8),
        "clustered, 40,000 x 16": partial(clustered, N_ROWS + N_QUERIES, 16),
        "clustered, 40,000 x 64": partial(clustered, N_ROWS + N_QUERIES, 64),
        "embeddings, 40,000 x 256": lambda: (
            wide(256, 0.4, 1).base[: N_ROWS + N_QUERIES].copy()
        ),
    }


def built(rows: np.ndarray, family: str, spec: str) -> LatentIndex:
    return LatentIndex(
        index_spec=spec.format(rows.shape[1]),
        static=family in ("HNSW", "SymphonyQG"),
        exactness="float32",
        n_neighbors=N_NEIGHBORS,
    ).fit(rows)


def shares(rows: np.ndarray, n_rounds: int) -> dict[str, list[float]]:
    """Return measured over counted nanoseconds of a query, by family and setting."""
    queries, rows = rows[N_ROWS:], rows[:N_ROWS]
    runs: dict[str, Callable[[], object]] = {}
    counted: dict[str, float] = {}
    for family, specs in SPECS.items():
        for spec in specs:
            index = built(rows, family, spec)
            counted[spec] = index._engine.search.cost(N_NEIGHBORS, len(rows))
            runs[spec] = partial(index.kneighbors, queries, return_distance=False)
    seconds = medians(paired(runs, n_rounds))
    each = {
        spec: seconds[spec] / len(queries) * 1e9 / counted[spec] for spec in counted
    }
    return {family: [each[spec] for spec in specs] for family, specs in SPECS.items()}


def main() -> None:
    parser = arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(threads=1)
    options = parser.parse_args()
    lines: list[list[object]] = []
    with threads(options.threads):
        for name, make in sets().items():
            found = shares(make(), options.rounds)
            lists = median(found["lists of codes"])
            for family, measured in found.items():
                low, high = min(measured), max(measured)
                cells = [f"{low:.2f} to {high:.2f}", f"{median(measured) / lists:.2f}"]
                lines.append([name, family, *cells])
    header = ["data", "family", "measured / counted", "over lists of codes"]
    document = {"threads": options.threads, "rows": lines}
    publish("search_prices", table(header, lines), document, options.write)


if __name__ == "__main__":
    main()
