"""Exact search of 10 neighbours against scikit-learn, raw FAISS and raw torch.

    python benchmarks/exact_search.py [--threads N] [--rounds N] [--data FOLDER]
                                      [--write]

60,000 x 784 images, float32; 1, 100 and 2,000 queries. A ratio is our queries/s over
those of the fastest peer in the same run.
"""

from __future__ import annotations

import faiss
import numpy as np
import torch
from _harness import (
    arguments,
    images,
    medians,
    paired,
    publish,
    ratio,
    table,
    threads,
)
from sklearn.neighbors import NearestNeighbors

from latentsk import LatentIndex

N_NEIGHBORS = 10
# A single query takes milliseconds: more rounds.
ROUNDS = {1: 6, 100: 2, 2_000: 1}
PEERS = ["scikit-learn", "faiss", "torch"]


def searches(X: np.ndarray) -> dict:
    brute = NearestNeighbors(n_neighbors=N_NEIGHBORS, algorithm="brute").fit(X)
    flat = faiss.IndexFlatL2(X.shape[1])
    flat.add(X)
    rows = torch.from_numpy(X)
    norms = (rows * rows).sum(dim=1)

    def with_torch(Q: np.ndarray) -> object:
        scores = torch.addmm(norms, torch.from_numpy(Q), rows.T, alpha=-2)
        return torch.topk(scores, N_NEIGHBORS, largest=False)

    def ours(exactness: str) -> LatentIndex:
        return LatentIndex(n_neighbors=N_NEIGHBORS, exactness=exactness).fit(X)

    return {
        "scikit-learn": brute.kneighbors,
        "faiss": lambda Q: flat.search(Q, N_NEIGHBORS),
        "torch": with_torch,
        "float32": ours("float32").kneighbors,
        "certified": ours("certified").kneighbors,
    }


def main() -> None:
    options = arguments(__doc__).parse_args()
    X, name = images(options.data, "train")
    queries, _ = images(options.data, "test")
    results: dict[int, dict[str, list[float]]] = {}
    with threads(options.threads):
        contenders = searches(X)
        for n_queries, factor in ROUNDS.items():
            Q = queries[:n_queries].copy()
            runs = {k: lambda f=f, Q=Q: f(Q) for k, f in contenders.items()}
            results[n_queries] = paired(runs, options.rounds * factor)
    rows = []
    for n_queries, seconds in results.items():
        speed = {k: n_queries / s for k, s in medians(seconds).items()}
        best = max(PEERS, key=speed.__getitem__)
        ratios = [f"{ratio(seconds, best, k):.2f}" for k in ("float32", "certified")]
        rows.append([n_queries, *[f"{speed[k]:,.0f}" for k in contenders], *ratios])
    header = ["queries", *[f"{k} (queries/s)" for k in contenders]]
    title = f"{name}, {len(X):,} x {X.shape[1]}, {options.threads} threads"
    printed = f"{title}\n\n{table([*header, 'float32 ratio', 'certified ratio'], rows)}"
    document = {"data": name, "threads": options.threads, "seconds": results}
    publish("exact_search", printed, document, options.write)


if __name__ == "__main__":
    main()
