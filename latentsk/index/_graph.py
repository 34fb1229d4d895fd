"""Graphs in which a search goes from near rows to nearer ones."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from latentsk._faiss import load_faiss
from latentsk._typing import Float32
from latentsk.index._graph_spec import HNSW, GraphSpec
from latentsk.index._rabitq import load_rabitqlib

# Rows from which the building of a graph goes on.
HNSW_CONSTRUCTION, SYMPHONY_CONSTRUCTION = 40, 200
# Beyond it, sums of squares overflow in float32.
LARGEST_COORDINATE = 1e15
# SymphonyQG takes no fewer columns.
MIN_SYMPHONY_COLUMNS = 64


# Squared distances, and numbers of rows.
Found = tuple[Float32, NDArray[np.int64]]


class Graph(Protocol):
    """A graph over rows."""

    def nearest(self, queries: Float32, n_nearest: int, effort: int) -> Found:
        """Return rows that are found, the nearest first.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, width), float32

        n_nearest : int
            At most `effort`.

        effort : int
            Rows from which the search goes on.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_nearest), float32
            Squared distances, summed of differences.

        numbers : ndarray of shape (n_queries, n_nearest)
            -1, with any score, where fewer are found.
        """


def built_graph(rows: Float32, spec: GraphSpec) -> Graph:
    """Return a graph over rows.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, width), float32
        More than a row has neighbours.

    spec : GraphSpec
    """
    rows = np.ascontiguousarray(rows)
    return (HNSWGraph if spec.kind == HNSW else SymphonyGraph)(rows, spec.degree)


class HNSWGraph:
    """FAISS's hierarchical graph.

    Built on one thread, it is the same every time.

    Examples
    --------
    >>> rows = np.eye(40, dtype=np.float32)
    >>> scores, numbers = HNSWGraph(rows, 8).nearest(rows[:2], 1, 16)
    >>> scores.ravel().tolist(), numbers.ravel().tolist()
    ([0.0, 0.0], [0, 1])
    """

    def __init__(self, rows: Float32, degree: int) -> None:
        self._index: Any = load_faiss().IndexHNSWFlat(rows.shape[1], degree)
        self._index.hnsw.efConstruction = HNSW_CONSTRUCTION
        self._index.add(rows)

    def nearest(self, queries: Float32, n_nearest: int, effort: int) -> Found:
        """Return rows that are found, the nearest first."""
        parameters = load_faiss().SearchParametersHNSW(efSearch=effort)
        return self._index.search(queries, n_nearest, params=parameters)


class SymphonyGraph:
    """rabitqlib's graph, whose edges hold codes of one bit for each column.

    Its rotation is drawn at random, and takes no seed: what another graph over the
    same rows finds differs in some neighbours.
    """

    def __init__(self, rows: Float32, degree: int) -> None:
        self._n_rows, self._width = rows.shape
        rows = self._padded(rows)
        self._index: Any = load_rabitqlib().SymqgIndex(rows.shape[1], degree)
        self._index.build(rows, SYMPHONY_CONSTRUCTION, _n_threads())

    def nearest(self, queries: Float32, n_nearest: int, effort: int) -> Found:
        """Return rows that are found, the nearest first."""
        queries = self._padded(queries)
        found, scores = self._index.search_batch(
            queries, n_nearest, effort, _n_threads()
        )
        numbers = found.astype(np.int64)
        numbers[numbers >= self._n_rows] = -1
        return scores, numbers

    def _padded(self, vectors: Float32) -> Float32:
        """Return vectors with columns of zeros, which change no distance."""
        missing = MIN_SYMPHONY_COLUMNS - self._width
        if missing > 0:
            vectors = np.pad(vectors, ((0, 0), (0, missing)))
        return np.ascontiguousarray(vectors)


def _n_threads() -> int:
    """Return how many threads FAISS would take."""
    return int(load_faiss().omp_get_max_threads())
