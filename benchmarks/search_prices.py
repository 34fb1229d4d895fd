"""What searches cost for each unit of work, beside the prices that are shipped.

    python benchmarks/search_prices.py [--threads 1] [--write]

The tuner compares families by counted work: `latentsk/index/_cost.py` has one set of
prices for each, in nanoseconds of one core, of which only the ratios matter. Here every
family answers the same queries at several settings; "measured" is its time over what the
prices say, and the last column that over the same of the lists: 1 is what the tuner takes
for granted.
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


def sets() -> dict[str, Callable[[], np.ndarray]]:
    return {
        "clustered, 40,000 x 8": partial(clustered, N_ROWS, 8),
        "clustered, 40,000 x 16": partial(clustered, N_ROWS, 16),
        "clustered, 40,000 x 64": partial(clustered, N_ROWS, 64),
        "embeddings, 40,000 x 256": lambda: wide(256, 0.4, 1).base[:N_ROWS].copy(),
    }


def shares(rows: np.ndarray, family: str, n_rounds: int) -> list[float]:
    """Return measured over counted nanoseconds of a query, for each setting."""
    result, queries = [], rows[:N_QUERIES] + np.float32(1e-3)
    for spec in SPECS[family]:
        spec = spec.format(rows.shape[1])
        index = LatentIndex(
            index_spec=spec,
            static=family in ("HNSW", "SymphonyQG"),
            exactness="float32",
            n_neighbors=N_NEIGHBORS,
        ).fit(rows)
        run = partial(index.kneighbors, queries, return_distance=False)
        seconds = medians(paired({"": run}, n_rounds))[""]
        counted = index._engine.search.cost(N_NEIGHBORS, len(rows))
        result.append(seconds / len(queries) * 1e9 / counted)
    return result


def main() -> None:
    parser = arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(threads=1)
    options = parser.parse_args()
    lines: list[list[object]] = []
    with threads(options.threads):
        for name, make in sets().items():
            rows, lists = make(), 1.0
            for family in SPECS:
                found = shares(rows, family, options.rounds)
                measured = median(found)
                lists = measured if family == "lists of codes" else lists
                low, high = min(found), max(found)
                cells = [f"{low:.2f} to {high:.2f}", f"{measured / lists:.2f}"]
                lines.append([name, family, *cells])
    header = ["data", "family", "measured / counted", "over lists of codes"]
    document = {"threads": options.threads, "rows": lines}
    publish("search_prices", table(header, lines), document, options.write)


if __name__ == "__main__":
    main()
