"""Exact nearest neighbours: fast candidates, certified in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._typing import Float32, Float64, Positions
from latentsk.index._candidates import query_chunks, score_blocks, smallest_scores
from latentsk.index._cost import exact_cost
from latentsk.index._fast_rows import FastRows, squared_norms
from latentsk.index._metric import MetricSpace, Rescaling, lengths
from latentsk.index._quantized import Vectors
from latentsk.index._rounding import may_overflow, product_error, score_bound
from latentsk.index._spec import FLAT
from latentsk.persistence._registry import storable

# Candidates beyond the neighbours asked for: their gap to the last neighbour is what
# certifies it.
SPARE_CANDIDATES = 8
# Elements of queries answered at a time, which bounds their float64 copies.
QUERY_ELEMENTS = 2**22
# Elements of candidates compared at a time in float64: 2 MB stay in the cache.
PAIR_ELEMENTS = 2**18

# Distances (or inner products) and positions.
Neighbors = tuple[Float64, Positions]
# From rescaled queries, a number of candidates and the eligible rows to scores and
# positions.
CandidateFinder = Callable[[Float32, int, Positions | None], Neighbors]


class Query(NamedTuple):
    """Vectors whose neighbours are asked for.

    Attributes
    ----------
    vectors : ndarray of shape (n_queries, n_features)
        Like the rows; a search on a GPU takes tensors, too.

    k : int
        Number of neighbours, at most that of the rows that may be returned.

    exclude : ndarray of shape (n_queries,) or None, default=None
        Position of the row that is left out, per query: the query itself.

    eligible : ndarray of shape (n_eligible,) or None, default=None
        Positions of the rows that may be returned, ascending; None: all.

    certified : bool, default=True
        Whether the answer is that of float64, or what float32 says.

    backend : {"auto", "faiss", "torch"}, default="auto"
        Who finds candidates on the CPU.

    warns : bool, default=True
        Whether to warn of queries for which no recall was tried.
    """

    vectors: Any
    k: int
    exclude: Positions | None = None
    eligible: Positions | None = None
    certified: bool = True
    backend: str = "auto"
    warns: bool = True

    def some(self, which: Any) -> Query:
        """Return the same for some of the vectors."""
        exclude = None if self.exclude is None else self.exclude[which]
        return self._replace(vectors=self.vectors[which], exclude=exclude)


@storable()
@dataclass(frozen=True)
class FlatState:
    """The state of a search that compares every row: see `SearchState`."""

    spec: ClassVar[str] = FLAT
    n_drifted: ClassVar[int] = 0

    def restore(
        self, flat_over: Callable[[None], Any], members: Positions, embed: Any
    ) -> Any:
        """Return an exact search over the vectors."""
        return flat_over(None)

    def check_fits(self, shape: tuple[int, int], metric: str, embedded: bool) -> None:
        """Do nothing: any vectors will do."""


class ExactSearch:
    """Brute-force search, which compares a query with every row.

    Parameters
    ----------
    vectors : ndarray or QuantizedVectors of shape (n_rows, n_features)
        The rows. Kept, not copied; a float32 copy is made unless they serve as one, or
        are quantized.

    metric : {"euclidean", "cosine", "inner_product"}
        What to compare.

    rescaling : Rescaling or None, default=None
        How vectors are rescaled; None: chosen for these.

    Notes
    -----
    A certified answer is that of float64 arithmetic. Every query's candidates are found
    in float32 and measured in float64; where the error bound of float32 does not rule
    out all other rows, the query is answered again in float64, and every row within the
    error bound of *that* is measured.

    Examples
    --------
    >>> search = ExactSearch(np.eye(3), "euclidean")
    >>> search.neighbors(Query(np.array([[0.9, 0.1, 0.0]]), k=2))[1]
    array([[0, 1]])
    """

    spec = FLAT

    def __init__(
        self, vectors: Vectors, metric: str, rescaling: Rescaling | None = None
    ) -> None:
        with ignore_fp_warnings():
            self.space = MetricSpace(vectors, metric, rescaling)
            self.fast = FastRows(self.space)

    @property
    def exact(self) -> ExactSearch:
        """The search itself."""
        return self

    @property
    def n_rows(self) -> int:
        """Number of rows, with the removed ones."""
        return len(self.space.vectors)

    # What is found

    def neighbors(self, query: Query) -> Neighbors:
        """Return the k nearest rows of each query.

        Returns
        -------
        distances : ndarray of shape (n_queries, k), float64
            Ascending (inner products: descending).

        positions : ndarray of shape (n_queries, k)
            Equal distances come in the order of the positions.
        """
        return self.answer(query, partial(self.candidates, backend=query.backend))

    def answer(self, query: Query, find: CandidateFinder) -> Neighbors:
        """Return what `neighbors` does, from candidates that somebody finds."""
        n_queries = len(query.vectors)
        values = np.empty((n_queries, query.k), dtype=np.float64)
        positions = np.empty((n_queries, query.k), dtype=np.intp)
        method = self._certified if query.certified else self._uncertified
        for part in row_slices(n_queries, self.space.n_features, QUERY_ELEMENTS):
            with ignore_fp_warnings():
                values[part], positions[part] = method(self._inside(query, part), find)
        return self.space.to_metric(values), positions

    def within(
        self, query: Query, radius: float
    ) -> tuple[list[Float64], list[Positions]]:
        """Return all rows within a distance of each query, by position.

        Returns
        -------
        distances, positions : lists of n_queries arrays
        """
        distances: list[Float64] = []
        positions: list[Positions] = []
        n_eligible = self._n_eligible(query)
        for part in query_chunks(len(query.vectors), n_eligible, np.float64):
            with ignore_fp_warnings():
                some = self._inside(query, part)
                for values, near in self._possibly_within(some, radius):
                    distances.append(values[values <= radius])
                    positions.append(near[values <= radius])
        return distances, positions

    def nearest_of(self, query: Query, candidates: Positions) -> Neighbors:
        """Return the k nearest of as many candidates for each query, in float64.

        Parameters
        ----------
        query : Query

        candidates : ndarray of shape (n_queries, n_candidates)
            Positions, each once, of which k may be returned at least.

        Returns
        -------
        distances, positions : ndarrays of shape (n_queries, k)
            As `neighbors` returns them.
        """
        with ignore_fp_warnings():
            some = self._inside(query, slice(None))
            values, positions = self._nearest_of(some, candidates)
        return self.space.to_metric(values), positions

    # Changes

    def add(self, vectors: Vectors, positions: Positions) -> None:
        """Take over vectors of which some rows are new or changed."""
        with ignore_fp_warnings():
            if self.space.revise(vectors, positions):
                self.fast.revise(positions)
            else:
                self.space = MetricSpace(
                    vectors, self.space.metric, self.space.rescaling
                )
                self.fast = FastRows(self.space)

    def remove(self, positions: Positions) -> None:
        """Do nothing: a search is told which rows are eligible."""

    def cost(self, n_neighbors: int, n_rows: int) -> float:
        """Return the cost of a query among so many rows."""
        return exact_cost(n_rows, self.space.n_features)

    def n_bytes(self, n_rows: int) -> int:
        """Return 0: it holds nothing besides the rows."""
        return 0

    def to_state(self) -> FlatState:
        """Return what the search is restored from: nothing but the vectors."""
        return FlatState()

    # Candidates, and what certifies them

    def candidates(
        self,
        queries: Float32,
        n_candidates: int,
        eligible: Positions | None,
        backend: str = "auto",
    ) -> Neighbors:
        """Return the rows with the smallest scores in float32, of rescaled queries."""
        rows: Any = self.fast.array
        if rows is None:
            rows = self.fast
            eligible = np.arange(self.n_rows) if eligible is None else eligible
        norms = self.fast.norms
        return smallest_scores(queries, rows, norms, n_candidates, backend, eligible)

    def _inside(self, query: Query, part: slice) -> Query:
        """Return some queries, as vectors of the space in float64."""
        some = query.some(part)
        return some._replace(vectors=self.space.queries(some.vectors))

    def _find(
        self, query: Query, n_candidates: int, find: CandidateFinder
    ) -> Neighbors:
        wanted = n_candidates + (query.exclude is not None)
        fast = self.space.rescaled(query.vectors, np.float32)
        return find(fast, min(self._n_eligible(query), wanted), query.eligible)

    def _certified(self, query: Query, find: CandidateFinder) -> Neighbors:
        scores, candidates = self._find(query, query.k + SPARE_CANDIDATES, find)
        values, positions = self._nearest_of(query, candidates)
        if candidates.shape[1] < self._n_eligible(query):
            # No other row scores less than the last candidate; could one be as near
            # as the last neighbour all the same?
            limits = self._highest_score(query.vectors, values[:, -1], np.float32)
            uncertified = ~(limits < scores[:, -1])
            if uncertified.any():
                values[uncertified], positions[uncertified] = self._in_float64(
                    query.some(uncertified)
                )
        return values, positions

    def _uncertified(self, query: Query, find: CandidateFinder) -> Neighbors:
        scores, positions = self._find(query, query.k, find)
        if query.exclude is not None:
            scores[positions == query.exclude[:, None]] = np.inf
        order = np.argsort(scores, axis=1, kind="stable")[:, : query.k]
        values = self.space.from_score(np.take_along_axis(scores, order, axis=1))
        positions = np.take_along_axis(positions, order, axis=1)
        # Overflows, and rows of zeros under cosine, are beyond float32 products.
        needs_float64 = self._may_overflow(query.vectors, np.float32)
        needs_float64 |= self.space.without_direction(query.vectors)
        if needs_float64.any():
            values[needs_float64], positions[needs_float64] = self._certified(
                query.some(needs_float64), find
            )
        return values, positions

    def _nearest_of(self, query: Query, candidates: Positions) -> Neighbors:
        candidates = np.sort(candidates, axis=1)
        values = np.empty(candidates.shape, dtype=np.float64)
        elements_per_query = candidates.shape[1] * self.space.n_features
        for part in row_slices(len(candidates), elements_per_query, PAIR_ELEMENTS):
            rows = self.space.rows(candidates[part])
            some = query.vectors[part, None, :]
            values[part] = self.space.exact_distances(some, rows)
        if query.exclude is not None:
            values[candidates == query.exclude[:, None]] = np.inf
        order = np.argsort(values, axis=1, kind="stable")[:, : query.k]
        return (
            np.take_along_axis(values, order, axis=1),
            np.take_along_axis(candidates, order, axis=1),
        )

    # In float64

    def _in_float64(self, query: Query) -> Neighbors:
        """Answer queries by measuring every row within the error bound of float64."""
        n_queries, k = len(query.vectors), query.k
        values = np.empty((n_queries, k), dtype=np.float64)
        positions = np.empty((n_queries, k), dtype=np.intp)
        n_eligible = self._n_eligible(query)
        for part in query_chunks(n_queries, n_eligible, np.float64):
            some = query.some(part)
            scores = self._scores(some, np.float64)
            wanted = min(n_eligible, k + (some.exclude is not None))
            smallest = torch.topk(torch.from_numpy(scores), wanted, largest=False)
            nearest = _to_positions(smallest.indices.numpy(), query.eligible)
            reached, _ = self._nearest_of(some, nearest)
            limits = self._highest_score(some.vectors, reached[:, -1], np.float64)
            measured = self._measured_up_to(some, scores, limits)
            for number, (distances, near) in enumerate(measured, part.start):
                order = np.argsort(distances, kind="stable")[:k]
                values[number], positions[number] = distances[order], near[order]
        return values, positions

    def _possibly_within(self, query: Query, radius: float) -> Iterator[Neighbors]:
        """Yield, for each query, all rows that could be within a radius, measured."""
        radii = np.full(len(query.vectors), radius)
        limits = self._highest_score(query.vectors, radii, np.float32)
        # Where the error of float32 dwarfs the distance, it would let everything by.
        is_coarse = not (limits <= 2.0 * self.space.to_score(radii)).all()
        dtype = np.float64 if is_coarse else np.float32
        limits = self._highest_score(query.vectors, radii, dtype)
        return self._measured_up_to(query, self._scores(query, dtype), limits)

    def _measured_up_to(
        self, query: Query, scores: NDArray[Any], limits: Float64
    ) -> Iterator[Neighbors]:
        """Yield, for each query, the exact distances of rows up to a score."""
        for number, (row_scores, limit) in enumerate(zip(scores, limits, strict=True)):
            # Not above, rather than up to: what is not a number has to be measured.
            near = _to_positions(np.flatnonzero(~(row_scores > limit)), query.eligible)
            if query.exclude is not None:
                near = near[near != query.exclude[number]]
            own, distances = query.vectors[number], np.empty(len(near))
            for part in row_slices(len(near), self.space.n_features, PAIR_ELEMENTS):
                rows = self.space.rows(near[part])
                distances[part] = self.space.exact_distances(own, rows)
            yield distances, near

    def _scores(self, query: Query, dtype: Any) -> NDArray[Any]:
        """Return the scores of eligible rows, with the queries' own norms."""
        rescaled = self.space.rescaled(query.vectors, dtype)
        n_eligible = self._n_eligible(query)
        scores = np.empty((len(rescaled), n_eligible), dtype=dtype)
        for part in row_slices(n_eligible, self.space.n_features):
            which = part if query.eligible is None else query.eligible[part]
            rows, norms = self._rescaled_rows(which, dtype)
            for start, block in score_blocks(rescaled, rows, norms):
                first = part.start + start
                scores[:, first : first + block.shape[1]] = block
        if not self.space.is_similarity:
            scores += np.sum(rescaled * rescaled, axis=1)[:, None]
        return scores

    def _rescaled_rows(self, which: Any, dtype: Any) -> tuple[Any, Any]:
        if dtype == np.float32:
            norms = self.fast.norms
            return self.fast[which], None if norms is None else norms[which]
        rows = self.space.rescaled(self.space.rows(which), dtype)
        return rows, None if self.space.is_similarity else squared_norms(rows)

    def _n_eligible(self, query: Query) -> int:
        return self.n_rows if query.eligible is None else len(query.eligible)

    # Bounds

    def _highest_score(self, queries: Float64, values: Float64, dtype: Any) -> Float64:
        """Return what the computed score of a row with this value is at most.

        Infinity where a score could overflow, and nothing is known.
        """
        norms = self._query_norms(queries)
        scores, width = self.space.to_score(values), self.space.n_features
        if self.space.is_similarity:
            bound = scores + product_error(norms, self.fast.largest_norm, width, dtype)
        else:
            bound = score_bound(scores, norms, width, dtype)
        return np.where(self._may_overflow(queries, dtype), np.inf, bound)

    def _may_overflow(self, queries: Float64, dtype: Any) -> NDArray[np.bool_]:
        norms = self._query_norms(queries)
        return may_overflow(norms, self.fast.largest_norm, dtype)

    def _query_norms(self, queries: Float64) -> Float64:
        return lengths(self.space.rescaled(queries, np.float64))


def _to_positions(which: Positions, eligible: Positions | None) -> Positions:
    """Turn numbers of eligible rows into positions."""
    return which if eligible is None else eligible[which]


def ignore_fp_warnings() -> Any:
    """Ignore overflows, which are expected at the edges of float32."""
    return np.errstate(over="ignore", invalid="ignore", under="ignore")
