"""Exact nearest neighbours: fast candidates, certified in float64."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from latentsk.index._buffers import GrowingArray
from latentsk.index._candidates import query_chunks, score_blocks, smallest_scores
from latentsk.index._compact import CompactRows
from latentsk.index._device_search import fits_device, smallest_on_device
from latentsk.index._rounding import may_overflow, product_error, score_bound
from latentsk.index._space import Float64, MetricSpace, Placement, lengths, row_slices

# Candidates beyond the neighbours asked for: their gap to the last neighbour is what
# certifies it.
SPARE_CANDIDATES = 8
# Queries answered at a time, which bounds their float64 copies and candidates.
QUERY_ELEMENTS = 2**22
# Between it and its inverse, squares of float32 rows tell their lengths.
SAFE_SQUARE = 1e-30
# Elements of candidates compared at a time in float64: 2 MB stay in the cache.
PAIR_ELEMENTS = 2**18

CPU = torch.device("cpu")

Neighbors = tuple[Float64, NDArray[np.intp]]
Positions = NDArray[np.intp] | None


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
    vectors : ndarray or CompactRows of shape (n_rows, n_features)
        The rows. Kept, not copied; a float32 copy is made unless they serve as one, or
        are compact.

    metric : {"euclidean", "cosine", "inner_product"}
        What to compare.

    device : torch.device, default=cpu
        Who finds the candidates. On a GPU the rows stay there, if they find room.

    placement : Placement or None, default=None
        Where vectors are moved to; None: chosen for these.

    Notes
    -----
    A certified answer is that of float64 arithmetic. Every query's candidates are found
    in float32 and measured in float64; where the error bound of float32 does not rule
    out all other rows, the query is answered again in float64, and every row within the
    error bound of *that* is measured.

    Examples
    --------
    >>> search = ExactSearch(np.eye(3), "euclidean")
    >>> search.neighbors(np.array([[0.9, 0.1, 0.0]]), 2)[1]
    array([[0, 1]])
    """

    def __init__(
        self,
        vectors: NDArray[Any] | CompactRows,
        metric: str,
        device: torch.device = CPU,
        placement: Placement | None = None,
    ) -> None:
        self.device = device
        self._resident: tuple[torch.Tensor, torch.Tensor | None] | None = None
        self._bringing = threading.Lock()
        with _quiet():
            self.space = MetricSpace(vectors, metric, placement)
            # Rows that are not a plain array are kept in few bytes, and stay in them.
            self._rows = None
            if isinstance(vectors, np.ndarray):
                self._rows = GrowingArray(self.space.moved_rows(np.float32))
            norms = self._squared_norms(self.fast_rows)
            self._norms = None if norms is None else GrowingArray(norms)
            self.largest_norm = self._largest_norm()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.space.vectors)

    @property
    def fast_rows(self) -> Any:
        """The rows, moved and rounded to float32; an array if the vectors are one."""
        if self._rows is None:
            return self.space.moved_when_needed()
        return self._rows.rows

    @property
    def keeps_copy(self) -> bool:
        """Whether the moved rows are a copy of the vectors."""
        if self._rows is None:
            return False
        return not np.shares_memory(self._rows.rows, self.space.vectors)

    @property
    def _fast_norms(self) -> NDArray[Any] | None:
        return None if self._norms is None else self._norms.rows

    def neighbors(
        self,
        queries: NDArray[Any],
        k: int,
        own: NDArray[np.intp] | None = None,
        among: NDArray[np.intp] | None = None,
        *,
        certified: bool = True,
        backend: str = "auto",
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

        among : ndarray of shape (n_eligible,) or None, default=None
            Positions of the rows that may be returned, ascending; None: all.

        certified : bool, default=True
            Whether the answer is that of float64, or what float32 says.

        backend : {"auto", "faiss", "torch"}, default="auto"
            Who finds the candidates.

        Returns
        -------
        distances : ndarray of shape (n_queries, k), float64
            Ascending (inner products: descending).

        positions : ndarray of shape (n_queries, k)
            Equal distances come in the order of the positions.
        """
        if torch.is_tensor(queries):
            return self._of_tensor(queries, k, among, backend)
        values = np.empty((len(queries), k), dtype=np.float64)
        positions = np.empty((len(queries), k), dtype=np.intp)
        step = max(1, QUERY_ELEMENTS // self.space.n_features)
        find = self._certified if certified else self._uncertified
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            with _quiet():
                some = self._queries(queries, own, part)
                values[part], positions[part] = find(some, k, among, backend)
        return self.space.to_metric(values), positions

    def within(
        self,
        queries: NDArray[Any],
        radius: float,
        own: NDArray[np.intp] | None = None,
        among: NDArray[np.intp] | None = None,
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

        among : ndarray of shape (n_eligible,) or None, default=None
            Positions of the rows that may be returned, ascending; None: all.

        Returns
        -------
        distances, positions : lists of n_queries arrays
        """
        distances: list[Float64] = []
        positions: list[NDArray[np.intp]] = []
        for chunk in query_chunks(len(queries), self._n_eligible(among), np.float64):
            with _quiet():
                some = self._queries(queries, own, chunk)
                for values, near in self._reached(some, radius, among):
                    distances.append(values[values <= radius])
                    positions.append(near[values <= radius])
        return distances, positions

    def _reached(
        self, queries: _Queries, radius: float, among: Positions
    ) -> Iterator[Neighbors]:
        """Yield, for each query, all rows that could be within a radius, measured."""
        values = np.full(len(queries.rows), radius)
        limits = self._highest_score(queries.rows, values, np.float32)
        # Where the error of float32 dwarfs the distance, it would let everything by.
        coarse = not (limits <= 2.0 * self.space.to_score(values)).all()
        dtype = np.float64 if coarse else np.float32
        limits = self._highest_score(queries.rows, values, dtype)
        scores = self._scores(queries.rows, dtype, among)
        for query, near in enumerate(_rows_up_to(scores, limits)):
            yield self._measured(queries.one(query), _positions(near, among))

    def measured(
        self,
        queries: NDArray[Any],
        candidates: NDArray[np.intp],
        k: int,
        own: NDArray[np.intp] | None = None,
    ) -> Neighbors:
        """Return the k nearest of as many candidates for each query, in float64.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            Vectors like the rows.

        candidates : ndarray of shape (n_queries, n_candidates)
            Positions, each once.

        k : int
            At most the number of candidates that may be returned.

        own : ndarray of shape (n_queries,) or None
            Position of a row that is left out, per query.

        Returns
        -------
        distances, positions : ndarrays of shape (n_queries, k)
            As `neighbors` returns them.
        """
        with _quiet():
            some = self._queries(queries, own, slice(None))
            values, positions = self._nearest_of(some, candidates, k)
        return self.space.to_metric(values), positions

    def revise(
        self, vectors: NDArray[Any] | CompactRows, changed: NDArray[np.intp]
    ) -> bool:
        """Take over vectors of which some rows are new or changed, where possible.

        Parameters
        ----------
        vectors : ndarray of shape (n_rows, n_features)
            At least as many rows as before.

        changed : ndarray of shape (n_changed,)
            Positions of the rows that are new or changed.

        Returns
        -------
        possible : bool
            Where it is not, nothing has changed, and another search has to be made.
        """
        with _quiet():
            if not self.space.revise(vectors, changed):
                return False
            self._resident = None  # brought there again when it is needed
            if isinstance(vectors, np.ndarray) and self.space.serves_as_moved(
                np.float32
            ):
                self._rows = GrowingArray(vectors)
            elif self._rows is not None:
                moved = self.space.moved(self.space.rows(changed), np.float32)
                self._rows.assign(changed, moved)
            norms = self._squared_norms(self.fast_rows[changed])
            if self._norms is not None and norms is not None:
                self._norms.assign(changed, norms)
            self.largest_norm = max(self.largest_norm, self._bound_norms([changed]))
        return True

    def _queries(
        self, queries: NDArray[Any], own: NDArray[np.intp] | None, part: slice
    ) -> _Queries:
        return _Queries(
            self.space.queries(queries[part]), None if own is None else own[part]
        )

    def _certified(
        self, queries: _Queries, k: int, among: Positions, backend: str
    ) -> Neighbors:
        wanted = k + SPARE_CANDIDATES
        scores, candidates = self._candidates(queries, wanted, among, backend)
        values, positions = self._nearest_of(queries, candidates, k)
        if candidates.shape[1] < self._n_eligible(among):
            # No other row scores less than the last candidate; could one be as near
            # as the last neighbour all the same?
            reach = self._highest_score(queries.rows, values[:, -1], np.float32)
            unsure = ~(reach < scores[:, -1])
            if unsure.any():
                values[unsure], positions[unsure] = self._in_float64(
                    queries.some(unsure), k, among
                )
        return values, positions

    def _uncertified(
        self, queries: _Queries, k: int, among: Positions, backend: str
    ) -> Neighbors:
        scores, positions = self._candidates(queries, k, among, backend)
        if queries.own is not None:
            scores[positions == queries.own[:, None]] = np.inf
        order = np.argsort(scores, axis=1, kind="stable")[:, :k]
        values = self.space.from_score(np.take_along_axis(scores, order, axis=1))
        positions = np.take_along_axis(positions, order, axis=1)
        # Overflows, and rows of zeros under cosine, are beyond float32 products.
        odd = self._overflows(queries.rows, np.float32)
        odd |= self.space.without_direction(queries.rows)
        if odd.any():
            values[odd], positions[odd] = self._certified(
                queries.some(odd), k, among, backend
            )
        return values, positions

    def _candidates(
        self, queries: _Queries, wanted: int, among: Positions, backend: str
    ) -> Neighbors:
        wanted = min(self._n_eligible(among), wanted + (queries.own is not None))
        fast = self.space.moved(queries.rows, np.float32)
        if self.searches_on_device():
            moved = torch.from_numpy(np.ascontiguousarray(fast)).to(self.device)
            scores, positions = self._on_device(moved, wanted, among)
            return scores.astype(np.float64), positions
        rows, norms = self.fast_rows, self._fast_norms
        if self._rows is None and among is None:
            among = np.arange(self.n_rows)
        return smallest_scores(fast, rows, norms, wanted, backend, among)

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
            values[part] = self.space.measured(queries.rows[part, None, :], rows)
        if queries.own is None:
            order = np.argsort(values, axis=1, kind="stable")[:, :k]
        else:
            # The row itself behind everything, even behind what is not a number.
            is_own = candidates == queries.own[:, None]
            order = np.lexsort((values, is_own), axis=1)[:, :k]
        return (
            np.take_along_axis(values, order, axis=1),
            np.take_along_axis(candidates, order, axis=1),
        )

    def searches_on_device(self) -> bool:
        """Whether the candidates are found on a GPU."""
        if self.device.type == "cpu":
            return False
        n_bytes = 4 * self.n_rows * self.space.n_features
        return self._resident is not None or fits_device(n_bytes, self.device)

    def takes_tensors(self) -> bool:
        """Whether queries may be tensors, which stay where they are."""
        return self.space.metric != "cosine" and self.searches_on_device()

    def _resident_rows(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        with self._bringing:  # once, whoever of several threads is first
            if self._resident is None:
                rows = torch.tensor(self.fast_rows[:], device=self.device)
                norms = self._fast_norms
                self._resident = (
                    rows,
                    None if norms is None else torch.tensor(norms, device=self.device),
                )
            return self._resident

    def _on_device(
        self, queries: torch.Tensor, k: int, among: Positions, use_faiss: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        rows, norms = self._resident_rows()
        if among is not None:
            which = torch.from_numpy(among).to(self.device)
            rows, norms = rows[which], None if norms is None else norms[which]
        scores, positions = smallest_on_device(
            queries, rows, norms, k, use_faiss=use_faiss
        )
        found = positions.cpu().numpy()
        return scores.cpu().numpy(), _positions(found, among)

    def _of_tensor(
        self, queries: torch.Tensor, k: int, among: Positions, backend: str
    ) -> Neighbors:
        """Answer in float32 for queries that are on the device already."""
        moved = queries.to(self.device, torch.float32)
        if self.space.shift is not None:
            moved = moved - torch.tensor(self.space.shift, device=self.device).float()
        moved = (moved * self.space.scale).contiguous()
        scores, positions = self._on_device(moved, k, among, backend != "torch")
        values = self.space.from_score(scores.astype(np.float64))
        return self.space.to_metric(values), positions

    def _in_float64(self, queries: _Queries, k: int, among: Positions) -> Neighbors:
        """Answer queries by measuring every row within the error bound of float64."""
        values = np.empty((len(queries.rows), k), dtype=np.float64)
        positions = np.empty((len(queries.rows), k), dtype=np.intp)
        n_eligible = self._n_eligible(among)
        for chunk in query_chunks(len(queries.rows), n_eligible, np.float64):
            part = queries.some(chunk)
            scores = self._scores(part.rows, np.float64, among)
            wanted = min(n_eligible, k + (part.own is not None))
            first = torch.topk(torch.from_numpy(scores), wanted, largest=False)
            nearest = _positions(first.indices.numpy(), among)
            reached, _ = self._nearest_of(part, nearest, k)
            limits = self._highest_score(part.rows, reached[:, -1], np.float64)
            for query, near in enumerate(_rows_up_to(scores, limits)):
                found, near = self._measured(part.one(query), _positions(near, among))
                order = np.argsort(found, kind="stable")[:k]
                values[chunk.start + query] = found[order]
                positions[chunk.start + query] = near[order]
        return values, positions

    def _n_eligible(self, among: Positions) -> int:
        return self.n_rows if among is None else len(among)

    def _measured(self, query: _Queries, positions: NDArray[np.intp]) -> Neighbors:
        """Return the values of some rows for one query, without its own row."""
        if query.own is not None:
            positions = positions[positions != query.own]
        step = max(1, PAIR_ELEMENTS // self.space.n_features)
        parts = [
            self.space.measured(
                query.rows, self.space.rows(positions[start : start + step])
            )
            for start in range(0, len(positions), step)
        ]
        return np.concatenate([np.empty(0), *parts]), positions

    def _scores(self, queries: Float64, dtype: Any, among: Positions) -> NDArray[Any]:
        """Return the scores of eligible rows, with the queries' own norms."""
        moved = self.space.moved(queries, dtype)
        n_eligible = self._n_eligible(among)
        scores = np.empty((len(queries), n_eligible), dtype=dtype)
        for part in row_slices((n_eligible, self.space.n_features)):
            rows = part if among is None else among[part]
            block, norms = self._moved_block(rows, dtype)
            ((_, scores[:, part]),) = score_blocks(moved, block, norms)
        if not self.space.is_similarity:
            scores += np.sum(moved * moved, axis=1)[:, None]
        return scores

    def _moved_block(self, rows: Any, dtype: Any) -> tuple[Any, Any]:
        if dtype == np.float32:
            norms = self._fast_norms
            return self.fast_rows[rows], None if norms is None else norms[rows]
        block = self.space.moved(self.space.rows(rows), dtype)
        return block, self._squared_norms(block)

    def _highest_score(self, queries: Float64, values: Float64, dtype: Any) -> Float64:
        """Return what the computed score of a row with this value is at most.

        Infinity where a score could overflow, and nothing is known.
        """
        norms = self._query_norms(queries)
        scores, width = self.space.to_score(values), self.space.n_features
        if self.space.is_similarity:
            error = product_error(norms, self.largest_norm, width, dtype)
            bound = scores + error
        else:
            bound = score_bound(scores, norms, width, dtype)
        return np.where(self._overflows(queries, dtype), np.inf, bound)

    def _overflows(self, queries: Float64, dtype: Any) -> NDArray[np.bool_]:
        return may_overflow(self._query_norms(queries), self.largest_norm, dtype)

    def _query_norms(self, queries: Float64) -> Float64:
        largest, norm = lengths(self.space.moved(queries, np.float64))
        return largest * norm

    def _squared_norms(self, rows: NDArray[Any]) -> NDArray[Any] | None:
        if self.space.is_similarity:
            return None
        norms = np.empty(len(rows), dtype=rows.dtype)
        for part in row_slices(rows.shape):
            norms[part] = np.sum(np.square(rows[part], dtype=np.float64), axis=1)
        return norms

    def _largest_norm(self) -> float:
        """Return a bound on the lengths of all moved rows."""
        norms = self._fast_norms
        largest = math.nan if norms is None else float(norms.max())
        # Squares in the middle of float32's range are as good as the rows themselves.
        if SAFE_SQUARE < largest < 1.0 / SAFE_SQUARE:
            return 1.001 * math.sqrt(largest)
        return self._bound_norms(row_slices(self.fast_rows.shape))

    def _bound_norms(self, parts: list[Any]) -> float:
        """Return a bound on the lengths of moved rows, with a margin for rounding."""
        longest = 0.0
        for rows in parts:
            moved = self.space.moved(self.space.rows(rows), np.float64)
            largest, norm = lengths(moved)
            longest = max(longest, float((largest * norm).max()))
        return 1.001 * longest


def _positions(which: NDArray[np.intp], among: Positions) -> NDArray[np.intp]:
    """Turn numbers of eligible rows into positions."""
    return which if among is None else among[which]


def _quiet() -> Any:
    """Overflows are expected at the edges of float64, and answered for."""
    return np.errstate(over="ignore", invalid="ignore", under="ignore")


def _rows_up_to(scores: NDArray[Any], limits: Float64) -> Iterator[NDArray[np.intp]]:
    """Yield the row numbers whose score is not above the limit, nor a number at all."""
    for row_scores, limit in zip(scores, limits, strict=True):
        yield np.flatnonzero(~(row_scores > limit))
