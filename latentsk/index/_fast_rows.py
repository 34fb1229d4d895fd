"""The rows of a space in float32, with what fast products and their bounds need."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._faiss import load_faiss
from latentsk._typing import Float32, Positions
from latentsk.index._buffers import GrowingArray
from latentsk.index._metric import MetricSpace, lengths

# For rounding, where lengths have to be bounds.
LENGTH_MARGIN = 1.001
# Elements of candidates decoded at a time (a MB: they stay in the cache).
DECODED_ELEMENTS = 2**18

Candidates = NDArray[np.int64]


class FastRows:
    """Rows of a space, rescaled to float32.

    A copy, unless the vectors serve as they are; of quantized vectors none, and rows
    are decoded whenever they are asked for.

    Parameters
    ----------
    space : MetricSpace
        The rows in full precision.

    Attributes
    ----------
    largest_norm : float
        No rescaled row is longer.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, space: MetricSpace) -> None:
        self.space = space
        self._rows = None
        if isinstance(space.vectors, np.ndarray):
            self._rows = GrowingArray(_rescaled(space))
        norms = None if space.is_similarity else squared_norms(self)
        self._norms = None if norms is None else GrowingArray(norms)
        largest = math.nan if norms is None else float(norms.max())
        if 0.0 < largest < math.inf:
            self.largest_norm = LENGTH_MARGIN * math.sqrt(largest)
        else:
            self.largest_norm = self._bound_norms(row_slices(*self.shape))
        # The latest answer of `penalties`, and what it was for.
        self._latest: tuple[Positions, Float32] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and of coordinates in the space."""
        return len(self.space.vectors), self.space.n_features

    def __len__(self) -> int:
        return len(self.space.vectors)

    def __getitem__(self, which: Any) -> Float32:
        if self._rows is None:
            return self.space.fast_rows(which)
        return self._rows.rows[which]

    @property
    def array(self) -> Float32 | None:
        """All rows; None where they are decoded when they are asked for."""
        return None if self._rows is None else self._rows.rows

    @property
    def norms(self) -> Float32 | None:
        """Squared lengths of the rows; None for inner products."""
        return None if self._norms is None else self._norms.rows

    @property
    def is_copy(self) -> bool:
        """Whether the rows take memory besides the vectors."""
        return self._rows is not None and not np.shares_memory(
            self._rows.rows, self.space.vectors
        )

    # Candidates

    def penalties(self, eligible: Positions) -> Float32:
        """Return what is added to scores so that only eligible rows are found.

        Parameters
        ----------
        eligible : ndarray of shape (n_eligible,)
            Positions, which do not change any more.

        Returns
        -------
        penalties : ndarray of shape (n_rows,), float32
            The squared lengths (for inner products zeros) of eligible rows; infinity
            for others.
        """
        latest = self._latest
        if latest is None or latest[0] is not eligible:
            penalties = np.full(len(self), np.inf, dtype=np.float32)
            penalties[eligible] = 0.0 if self.norms is None else self.norms[eligible]
            latest = self._latest = eligible, penalties
        return latest[1]

    def scores(self, queries: Float32, candidates: Candidates) -> Float32:
        """Return the scores of each query's candidates, by differences.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features), float32
            Rescaled.

        candidates : ndarray of shape (n_queries, n_candidates)
            Positions; -1 for none.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_candidates), float32
            Squared distances, or inner products with their sign turned; infinity for
            none.
        """
        if self._rows is None:
            return self._decoded_scores(queries, candidates)
        arrays = _contiguous(queries, self._rows.rows, candidates)
        scores = np.empty(candidates.shape, dtype=np.float32)
        faiss, is_similarity = load_faiss(), self.space.is_similarity
        kind = "inner_products" if is_similarity else "L2sqr"
        measure = getattr(faiss, f"fvec_{kind}_by_idx")
        n_queries, n_candidates = candidates.shape
        pointers = map(faiss.swig_ptr, (scores, *arrays))
        measure(*pointers, self.shape[1], n_queries, n_candidates)
        if is_similarity:
            scores = -scores
        scores[candidates < 0] = np.inf
        return scores

    def best_of(
        self, queries: Float32, candidates: Candidates, k: int
    ) -> tuple[Float32, Candidates]:
        """Return the k best of each query's candidates.

        Parameters
        ----------
        queries, candidates
            As for `scores`.

        k : int
            At most n_candidates.

        Returns
        -------
        scores : ndarray of shape (n_queries, k), float32
            Ascending.

        positions : ndarray of shape (n_queries, k)
            -1, with any score, where there are fewer candidates.

        Examples
        --------
        >>> vectors = np.array([[0.0], [3.0], [1.0]], dtype=np.float32)
        >>> rows = FastRows(MetricSpace(vectors, "euclidean"))
        >>> rows.best_of(vectors[:1], np.array([[1, -1, 2]]), 2)
        (array([[1., 9.]], dtype=float32), array([[2, 1]]))
        """
        if self._rows is None:
            scores = self._decoded_scores(queries, candidates)
            order = np.argsort(scores, axis=1, kind="stable")[:, :k]
            return _taken(scores, order), _taken(candidates, order)
        is_missing = candidates < 0
        if is_missing.any():
            # FAISS stops at the first of them.
            order = np.argsort(is_missing, axis=1, kind="stable")
            candidates = _taken(candidates, order)
        arrays = _contiguous(queries, self._rows.rows, candidates)
        scores = np.empty((len(queries), k), dtype=np.float32)
        positions = np.empty((len(queries), k), dtype=np.int64)
        faiss, is_similarity = load_faiss(), self.space.is_similarity
        kind = "inner_products" if is_similarity else "L2sqr"
        measure = getattr(faiss, f"knn_{kind}_by_idx")
        n_queries, n_candidates = candidates.shape
        sizes = self.shape[1], n_queries, len(self), n_candidates, k
        pointers, results = (
            map(faiss.swig_ptr, some) for some in (arrays, (scores, positions))
        )
        measure(*pointers, *sizes, *results, n_candidates)
        return -scores if is_similarity else scores, positions

    def _decoded_scores(self, queries: Float32, candidates: Candidates) -> Float32:
        scores = np.empty(candidates.shape, dtype=np.float32)
        elements_per_query = candidates.shape[1] * self.shape[1]
        for part in row_slices(len(candidates), elements_per_query, DECODED_ELEMENTS):
            near = self[np.maximum(candidates[part], 0)]
            if self.space.is_similarity:
                scores[part] = -np.einsum("qcd,qd->qc", near, queries[part])
            else:
                near -= queries[part, None, :]
                scores[part] = np.einsum("qcd,qcd->qc", near, near)
        scores[candidates < 0] = np.inf
        return scores

    # Changes

    def revise(self, changed: Positions) -> None:
        """Follow the space, in which some rows are new or changed."""
        self._latest = None
        if self._rows is not None and self.space.is_rescaled(np.float32):
            self._rows = GrowingArray(self.space.vectors)
        elif self._rows is not None:
            self._rows.assign(changed, self.space.fast_rows(changed))
        if self._norms is not None:
            self._norms.assign(changed, squared_norms(self[changed]))
        self.largest_norm = max(self.largest_norm, self._bound_norms([changed]))

    def _bound_norms(self, parts: Iterable[Any]) -> float:
        """Return a bound on the lengths of rescaled rows, in float64."""
        longest = 0.0
        for part in parts:
            rows = self.space.rescaled(self.space.rows(part), np.float64)
            longest = max(longest, float(lengths(rows).max()))
        return LENGTH_MARGIN * longest


def _contiguous(
    queries: Float32, rows: Float32, candidates: Candidates
) -> tuple[NDArray[Any], ...]:
    """Return arrays as FAISS reads them; it keeps no reference."""
    candidates = np.ascontiguousarray(candidates, dtype=np.int64)
    return np.ascontiguousarray(queries), np.ascontiguousarray(rows), candidates


def _taken(values: NDArray[Any], order: Positions) -> NDArray[Any]:
    return np.take_along_axis(values, order, axis=1)


def squared_norms(rows: Any) -> NDArray[Any]:
    """Return the squared length of each row, summed in float64, in the rows' dtype."""
    norms = np.empty(len(rows), dtype=rows.dtype)
    for part in row_slices(*rows.shape):
        norms[part] = np.sum(np.square(rows[part], dtype=np.float64), axis=1)
    return norms


def _rescaled(space: MetricSpace) -> Float32:
    """Return all rows in float32; the vectors themselves where they serve."""
    if space.is_rescaled(np.float32):
        return space.vectors
    rows = np.empty((len(space.vectors), space.n_features), dtype=np.float32)
    for part in row_slices(*rows.shape):
        rows[part] = space.fast_rows(part)
    return rows
