"""Exact nearest neighbours: fast candidates, certified in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk.index._candidates import query_chunks, score_blocks, smallest_scores
from latentsk.index._rounding import product_error, score_bound
from latentsk.index._space import Float64, MetricSpace, row_slices

# Candidates beyond the neighbours asked for: their gap to the last neighbour is what
# certifies it.
SPARE_CANDIDATES = 8
# Queries answered at a time, which bounds their float64 copies and candidates.
QUERY_ELEMENTS = 2**22
# Elements of candidates compared at a time in float64 (16 MB).
PAIR_ELEMENTS = 2**21

Neighbors = tuple[Float64, NDArray[np.intp]]


class _Queries(NamedTuple):
    """Queries in the space, and what is excluded from their answers.

    Attributes
    ----------
    rows : ndarray of shape (n_queries, n_features), float64, in the metric space
    own : ndarray of shape (n_queries,) or None
        Position of the row that is the query itself, to be left out.
    """

    rows: Float64
    own: NDArray[np.intp] | None

    def some(self, which: Any) -> _Queries:
        return _Queries(self.rows[which], None if self.own is None else self.own[which])

    def one(self, query: int) -> _Queries:
        return self.some(slice(query, query + 1))


class ExactSearch:
    """Brute-force search over rows that stay as they are.

    Parameters
    ----------
    vectors : ndarray of shape (n_rows, n_features), float64 or float32
        The rows. Kept, not copied; a float32 copy is made unless they serve as one.

    metric : {"euclidean", "cosine", "inner_product"}
        What to compare.

    certified : bool
        True: the answer is that of float64 arithmetic. Every query's candidates are
        found in float32 and measured in float64; where the error bound of float32 does
        not rule out all other rows, the query is answered again in float64, and every
        row within the error bound of *that* is measured. False: what float32 says.

    backend : {"auto", "faiss", "torch"}
        Who finds the candidates.

    Examples
    --------
    >>> search = ExactSearch(np.eye(3), "euclidean", certified=True, backend="torch")
    >>> search.neighbors(np.array([[0.9, 0.1, 0.0]]), 2)[1]
    array([[0, 1]])
    """

    def __init__(
        self, vectors: NDArray[Any], metric: str, *, certified: bool, backend: str
    ) -> None:
        self.space = MetricSpace(vectors, metric)
        self.n_rows = len(vectors)
        self.certified = certified
        self.backend = backend
        self._fast_rows = self.space.moved_rows(np.float32)
        self._fast_norms = self._squared_norms(self._fast_rows)
        # Of the float32 rows, with a margin for their rounding.
        self._largest_norm = 1.001 * _largest_norm(self._fast_rows)

    def neighbors(
        self, queries: NDArray[Any], k: int, own: NDArray[np.intp] | None = None
    ) -> Neighbors:
        """Return the k nearest rows of each query.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            Vectors like the rows.

        k : int
            At most the number of rows that may be returned.

        own : ndarray of shape (n_queries,) or None
            Position of a row that is left out, per query.

        Returns
        -------
        distances : ndarray of shape (n_queries, k), float64
            Ascending (inner products: descending).

        positions : ndarray of shape (n_queries, k)
            Equal distances come in the order of the positions.
        """
        values = np.empty((len(queries), k), dtype=np.float64)
        positions = np.empty((len(queries), k), dtype=np.intp)
        step = max(1, QUERY_ELEMENTS // self.space.n_features)
        find = self._certified if self.certified else self._uncertified
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            values[part], positions[part] = find(self._queries(queries, own, part), k)
        return self.space.to_metric(values), positions

    def within(
        self, queries: NDArray[Any], radius: float, own: NDArray[np.intp] | None = None
    ) -> tuple[list[Float64], list[NDArray[np.intp]]]:
        """Return the rows within a distance of each query, by position.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            Vectors like the rows.

        radius : float
            Largest distance.

        own : ndarray of shape (n_queries,) or None
            Position of a row that is left out, per query.

        Returns
        -------
        distances, positions : lists of n_queries arrays
        """
        distances: list[Float64] = []
        positions: list[NDArray[np.intp]] = []
        for chunk in query_chunks(len(queries), self.n_rows):
            part = self._queries(queries, own, chunk)
            limits = np.full(len(part.rows), self.space.from_distance(radius))
            for query, near in enumerate(self._not_beyond(part, limits)):
                values, near = self._measured(part.one(query), near)
                reached = self.space.to_metric(values)
                distances.append(reached[reached <= radius])
                positions.append(near[reached <= radius])
        return distances, positions

    def _queries(
        self, queries: NDArray[Any], own: NDArray[np.intp] | None, part: slice
    ) -> _Queries:
        return _Queries(
            self.space.queries(queries[part]), None if own is None else own[part]
        )

    def _certified(self, queries: _Queries, k: int) -> Neighbors:
        scores, candidates = self._candidates(queries, k + SPARE_CANDIDATES)
        values, positions = self._nearest_of(queries, candidates, k)
        if candidates.shape[1] < self.n_rows:
            # No other row scores less than the last candidate; could one be as near
            # as the last neighbour all the same?
            reach = self._highest_score(queries.rows, values[:, -1], np.float32)
            unsure = ~(reach < scores[:, -1])
            if unsure.any():
                values[unsure], positions[unsure] = self._in_float64(
                    queries.some(unsure), k
                )
        return values, positions

    def _uncertified(self, queries: _Queries, k: int) -> Neighbors:
        scores, positions = self._candidates(queries, k)
        if queries.own is not None:
            scores[positions == queries.own[:, None]] = np.inf
        order = np.argsort(scores, axis=1, kind="stable")[:, :k]
        values = np.take_along_axis(scores, order, axis=1)
        positions = np.take_along_axis(positions, order, axis=1)
        if not self.space.is_similarity:
            values = np.maximum(values, 0.0)
        # Overflows, and rows of zeros under cosine, are beyond float32 products.
        odd = ~np.isfinite(values).all(axis=1) | self.space.without_direction(
            queries.rows
        )
        if odd.any():
            values[odd], positions[odd] = self._certified(queries.some(odd), k)
        return values, positions

    def _candidates(self, queries: _Queries, wanted: int) -> Neighbors:
        wanted = min(self.n_rows, wanted + (queries.own is not None))
        fast = self.space.moved(queries.rows, np.float32)
        return smallest_scores(
            fast, self._fast_rows, self._fast_norms, wanted, self.backend
        )

    def _nearest_of(
        self, queries: _Queries, candidates: NDArray[np.intp], k: int
    ) -> Neighbors:
        """Return the k nearest among as many candidates for each query."""
        candidates = np.sort(candidates, axis=1)
        values = np.empty(candidates.shape, dtype=np.float64)
        step = max(1, PAIR_ELEMENTS // (candidates.shape[1] * self.space.n_features))
        for start in range(0, len(candidates), step):
            part = slice(start, start + step)
            rows = self.space.rows(candidates[part])
            values[part] = self.space.dissimilarities(queries.rows[part, None, :], rows)
        if queries.own is not None:
            # Sorted behind everything, an overflow to infinity included.
            values[candidates == queries.own[:, None]] = np.nan
        # By the distance itself: different squares can have the same root.
        order = np.argsort(self.space.ordering(values), axis=1, kind="stable")[:, :k]
        return (
            np.take_along_axis(values, order, axis=1),
            np.take_along_axis(candidates, order, axis=1),
        )

    def _in_float64(self, queries: _Queries, k: int) -> Neighbors:
        """Answer queries by measuring every row within the error bound of float64."""
        values = np.empty((len(queries.rows), k), dtype=np.float64)
        positions = np.empty((len(queries.rows), k), dtype=np.intp)
        for chunk in query_chunks(len(queries.rows), self.n_rows):
            part = queries.some(chunk)
            scores = self._scores(part.rows, np.float64)
            wanted = min(self.n_rows, k + (part.own is not None))
            first = np.argpartition(scores, wanted - 1, axis=1)[:, :wanted]
            reached, _ = self._nearest_of(part, first, k)
            limits = self._highest_score(part.rows, reached[:, -1], np.float64)
            for query, near in enumerate(_rows_up_to(scores, limits)):
                found, near = self._measured(part.one(query), near)
                order = np.argsort(self.space.ordering(found), kind="stable")[:k]
                values[chunk.start + query] = found[order]
                positions[chunk.start + query] = near[order]
        return values, positions

    def _not_beyond(self, queries: _Queries, values: Float64) -> Iterator[Any]:
        """Yield, for each query, all rows that could be as near as `values` say."""
        limits = self._highest_score(queries.rows, values, np.float32)
        # Where the error of float32 dwarfs the distance, it would let everything by.
        coarse = limits > 2.0 * values
        dtype = np.float64 if coarse.any() else np.float32
        limits = self._highest_score(queries.rows, values, dtype)
        yield from _rows_up_to(self._scores(queries.rows, dtype), limits)

    def _measured(self, query: _Queries, positions: NDArray[np.intp]) -> Neighbors:
        """Return the values of some rows for one query, without its own row."""
        if query.own is not None:
            positions = positions[positions != query.own]
        step = max(1, PAIR_ELEMENTS // self.space.n_features)
        parts = [
            self.space.dissimilarities(
                query.rows, self.space.rows(positions[start : start + step])
            )
            for start in range(0, len(positions), step)
        ]
        return np.concatenate([np.empty(0), *parts]), positions

    def _scores(self, queries: Float64, dtype: Any) -> NDArray[Any]:
        """Return the scores of all rows, with the queries' own norms, in `dtype`."""
        moved = self.space.moved(queries, dtype)
        scores = np.empty((len(queries), self.n_rows), dtype=dtype)
        for rows in row_slices(self._fast_rows.shape):
            if dtype == np.float32:
                block, norms = self._fast_rows[rows], self._fast_norms
                norms = None if norms is None else norms[rows]
            else:
                block = self.space.moved(self.space.rows(rows), dtype)
                norms = self._squared_norms(block)
            ((_, scores[:, rows]),) = score_blocks(moved, block, norms)
        if not self.space.is_similarity:
            with np.errstate(over="ignore", invalid="ignore"):
                scores += np.sum(moved * moved, axis=1)[:, None]
        return scores

    def _highest_score(self, queries: Float64, values: Float64, dtype: Any) -> Float64:
        """Return what the computed score of a row with this value is at most."""
        with np.errstate(over="ignore", invalid="ignore"):
            moved = self.space.moved(queries, np.float64)
            squared_norms = np.sum(moved * moved, axis=1)
            if self.space.is_similarity:
                return values + product_error(
                    np.sqrt(squared_norms), self._largest_norm, moved.shape[1], dtype
                )
            return score_bound(values, squared_norms, moved.shape[1], dtype)

    def _squared_norms(self, rows: NDArray[Any]) -> NDArray[Any] | None:
        if self.space.is_similarity:
            return None
        norms = np.empty(len(rows), dtype=rows.dtype)
        with np.errstate(over="ignore"):
            for part in row_slices(rows.shape):
                norms[part] = np.sum(np.square(rows[part], dtype=np.float64), axis=1)
        return norms


def _rows_up_to(scores: NDArray[Any], limits: Float64) -> Iterator[NDArray[np.intp]]:
    """Yield the row numbers whose score is not above the limit, nor a number at all."""
    for row_scores, limit in zip(scores, limits, strict=True):
        yield np.flatnonzero(~(row_scores > limit))


def _largest_norm(rows: NDArray[Any]) -> float:
    return max(
        float(np.sqrt(np.square(rows[part], dtype=np.float64).sum(axis=1).max()))
        for part in row_slices(rows.shape)
    )
