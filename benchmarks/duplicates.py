"""Groups of near-duplicates among a million rows, against FAISS's range search.

    python benchmarks/duplicates.py [--rows N] [--threads N] [--rounds N] [--write]

Clustered float32 rows of 32 columns; one in a hundred is a copy of another row, moved
by half of the threshold, which is a hundredth of the median distance to the nearest
neighbour. "found" are the copies that are in a group with their original. FAISS's flat
range search answers for some of the rows, and its seconds are scaled to all of them.
Both are exact.
"""

from __future__ import annotations

import faiss
import numpy as np
from _harness import arguments, medians, paired, publish, ratio, table, threads
from approximate_search import clustered

from latentsk import LatentIndex

N_COLUMNS, COPIES = 32, 100
PEER_QUERIES = 500


def rows_with_copies(n_rows: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return rows, of which the last are copies; their originals; the threshold."""
    rng = np.random.default_rng(0)
    n_copies = n_rows // COPIES
    rows = clustered(n_rows - n_copies, N_COLUMNS)
    some = rng.choice(len(rows), 1_000, replace=False)
    distances, _ = LatentIndex().fit(rows).kneighbors(rows[some], 2)
    threshold = 0.01 * float(np.median(distances[:, 1]))
    originals = rng.choice(len(rows), n_copies, replace=False)
    steps = rng.normal(size=(n_copies, N_COLUMNS))
    steps *= 0.5 * threshold / np.linalg.norm(steps, axis=1)[:, None]
    copies = (rows[originals] + steps).astype(np.float32)
    return np.concatenate([rows, copies]), originals, threshold


def share_found(index: LatentIndex, originals: np.ndarray, threshold: float) -> float:
    groups = index.duplicates(threshold).set_index("position")["group"]
    n_rows = index.n_samples_fit_
    copies = np.arange(n_rows - len(originals), n_rows)
    of_copies, of_originals = groups.reindex(copies), groups.reindex(originals)
    return float(np.mean(of_copies.to_numpy() == of_originals.to_numpy()))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    rows, originals, threshold = rows_with_copies(options.rows)
    index = LatentIndex().fit(rows)
    flat = faiss.IndexFlatL2(N_COLUMNS)
    flat.add(rows)
    some = rows[:: max(1, len(rows) // PEER_QUERIES)].copy()
    runs = {
        "ours": lambda: index.duplicates(threshold),
        "faiss": lambda: flat.range_search(some, threshold**2),
    }
    with threads(options.threads):
        seconds = paired(runs, min(options.rounds, 3))
        found = share_found(index, originals, threshold)
    seconds["faiss"] = [s * len(rows) / len(some) for s in seconds["faiss"]]
    times = medians(seconds)
    header = ["rows", "copies", "found", "ours (s)", "faiss, scaled (s)", "ratio"]
    line = [
        f"{len(rows):,} x {N_COLUMNS}",
        f"{len(originals):,}",
        f"{found:.2%}",
        f"{times['ours']:.1f}",
        f"{times['faiss']:,.0f}",
        f"{ratio(seconds, 'faiss', 'ours'):.1f}",
    ]
    document = {"threads": options.threads, "seconds": seconds, "found": found}
    publish("duplicates", table(header, [line]), document, options.write)


if __name__ == "__main__":
    main()
