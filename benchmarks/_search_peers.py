"""Peers of the comparison: each builds its index and returns how it is searched."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import faiss
import numpy as np
from _search_data import N_NEIGHBORS, Data
from sklearn.neighbors import NearestNeighbors

# Finer than by factors of two, so that no peer has to overshoot its target by much.
EFFORTS = [8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
# Finer still: few rows more are looked at for one more.
QG_EFFORTS = [10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 112]
QG_EFFORTS += [128, 160, 192, 224, 256, 320, 384, 448]
PROBES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]

Setting = dict[str, Any]
Search = Callable[..., np.ndarray]  # (queries, **setting) -> positions


class Peer(NamedTuple):
    """A library's index; `ladders` are settings, each ladder from fast to thorough.

    `most_distances` limits the queries of a search that visits every row.
    """

    build: Callable[[np.ndarray, int, int], Search]  # (rows, lists, threads)
    ladders: list[list[Setting]]
    most_distances: int | None = None

    def queries(self, data: Data) -> np.ndarray:
        """Return the queries that it has time for."""
        if self.most_distances is None:
            return data.queries
        return data.queries[: min(1_000, self.most_distances // len(data.base))]


def ladder(name: str, values: Iterable[float], **fixed: Any) -> list[Setting]:
    return [{name: value, **fixed} for value in values]


def faiss_hnsw(X: np.ndarray, n_lists: int, n_threads: int) -> Search:
    index = faiss.IndexHNSWFlat(X.shape[1], 32)
    index.add(X)

    def search(Q: np.ndarray, efSearch: int) -> np.ndarray:
        index.hnsw.efSearch = efSearch
        return index.search(Q, N_NEIGHBORS)[1]

    return search


def faiss_ivf(X: np.ndarray, n_lists: int, n_threads: int) -> Search:
    index = faiss.index_factory(X.shape[1], f"IVF{n_lists},Flat")
    index.train(X)
    index.add(X)

    def search(Q: np.ndarray, nprobe: int) -> np.ndarray:
        index.nprobe = nprobe
        return index.search(Q, N_NEIGHBORS)[1]

    return search


def faiss_pq(X: np.ndarray, n_lists: int, n_threads: int) -> Search:
    n_columns = X.shape[1]
    index = faiss.index_factory(n_columns, f"IVF{n_lists},PQ{n_columns}x4fs,RFlat")
    index.train(X)
    index.add(X)
    lists = faiss.extract_index_ivf(index)

    def search(Q: np.ndarray, nprobe: int, k_factor: int) -> np.ndarray:
        lists.nprobe, index.k_factor = nprobe, k_factor
        return index.search(Q, N_NEIGHBORS)[1]

    return search


def hnswlib(X: np.ndarray, n_lists: int, n_threads: int) -> Search:
    import hnswlib

    index = hnswlib.Index(space="l2", dim=X.shape[1])
    index.init_index(len(X), ef_construction=200, M=16, random_seed=0)
    index.set_num_threads(n_threads)
    index.add_items(X)

    def search(Q: np.ndarray, ef: int) -> np.ndarray:
        index.set_ef(ef)
        return index.knn_query(Q, N_NEIGHBORS)[0].astype(np.int64)

    return search


def usearch(X: np.ndarray, n_lists: int, n_threads: int) -> Search:
    from usearch.index import Index

    # As dense and as thorough as hnswlib's.
    index = Index(
        ndim=X.shape[1],
        metric="l2sq",
        dtype="f32",
        connectivity=16,
        expansion_add=200,
    )
    index.add(np.arange(len(X)), X, threads=n_threads)

    def search(Q: np.ndarray, expansion: int) -> np.ndarray:
        index.expansion_search = expansion
        found = index.search(Q, N_NEIGHBORS, threads=n_threads)
        return found.keys.astype(np.int64)

    return search


def symphony_qg(X: np.ndarray, n_lists: int, n_threads: int) -> Search:
    import rabitqlib

    def padded(rows: np.ndarray) -> np.ndarray:
        # It takes no fewer columns; zeros change no distance.
        missing = max(0, 64 - rows.shape[1])
        return np.pad(rows, ((0, 0), (0, missing))) if missing else rows

    rows = padded(X)
    index = rabitqlib.SymqgIndex(rows.shape[1], 32)
    index.build(rows, 200, n_threads)

    def search(Q: np.ndarray, ef: int) -> np.ndarray:
        found, _ = index.search_batch(padded(Q), N_NEIGHBORS, ef, n_threads)
        return found.astype(np.int64)

    return search


def pynndescent(X: np.ndarray, n_lists: int, n_threads: int) -> Search:
    with pynndescent_quiet():
        import numba
        import pynndescent

        numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
        index = pynndescent.NNDescent(
            X,
            n_neighbors=30,
            random_state=0,
            n_jobs=n_threads,
            parallel_batch_queries=n_threads > 1,
        )
        index.prepare()

    def search(Q: np.ndarray, epsilon: float) -> np.ndarray:
        with pynndescent_quiet():
            return index.query(Q, N_NEIGHBORS, epsilon)[0].astype(np.int64)

    return search


@contextmanager
def pynndescent_quiet() -> Iterator[None]:
    """Keep numba's advice and small data's warnings away."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def scikit_learn(X: np.ndarray, n_lists: int, n_threads: int) -> Search:
    index = NearestNeighbors(n_neighbors=N_NEIGHBORS, algorithm="brute").fit(X)
    return lambda Q: index.kneighbors(Q, return_distance=False)


PEERS = {
    "faiss HNSW": Peer(faiss_hnsw, [ladder("efSearch", EFFORTS)]),
    "faiss IVF": Peer(faiss_ivf, [ladder("nprobe", PROBES)]),
    "faiss IVF, PQ, refined": Peer(
        faiss_pq, [ladder("nprobe", PROBES, k_factor=k) for k in (2, 4, 8, 16)]
    ),
    "hnswlib": Peer(hnswlib, [ladder("ef", [10, *EFFORTS[1:]])]),
    "usearch": Peer(usearch, [ladder("expansion", [10, *EFFORTS[1:]])]),
    "rabitqlib": Peer(symphony_qg, [ladder("ef", QG_EFFORTS)]),
    "pynndescent": Peer(
        pynndescent,
        [ladder("epsilon", [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4])],
    ),
    "scikit-learn": Peer(scikit_learn, [[{}]], most_distances=200_000_000),
}
