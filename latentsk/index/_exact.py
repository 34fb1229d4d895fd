"""Exact nearest neighbours: fast candidates, certified in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from latentsk._chunks import row_slices
from latentsk._typing import Float32, Float64, Positions
from latentsk.index._candidates import (
    barred_scores,
    best_backend,
    query_chunks,
    smallest_scores,
)
from latentsk.index._cost import barring_pays, exact_cost
from latentsk.index._fast_rows import FastRows
from latentsk.index._full_scan import FullScan, has_ties, measured_candidates
from latentsk.index._metric import MetricSpace, Rescaling
from latentsk.index._quantized import Vectors
from latentsk.index._query import Neighbors, Query
from latentsk.index._same_rows import Groups, SameRows, nearest_members, nearest_rows
from latentsk.index._scoring import Scoring
from latentsk.index._spec import FLAT
from latentsk.persistence._registry import storable

# Candidates beyond the neighbours asked for: their gap to the last neighbour is what
# certifies it.
SPARE_CANDIDATES = 8
# Elements of queries answered at a time, which bounds their float64 copies.
QUERY_ELEMENTS = 2**22
# Rows converted to float64, over the number of rows, until it pays to look for rows
# that are the same.
PATIENCE = 4

# From rescaled queries, a number of candidates and the eligible rows to scores and
# positions.
CandidateFinder = Callable[[Float32, int, Positions | None], Neighbors]


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
            self._take(MetricSpace(vectors, metric, rescaling))

    def _take(self, space: MetricSpace) -> None:
        self.space = space
        self.fast = FastRows(space)
        self.scoring = Scoring(space, self.fast)
        self.scan = FullScan(self.scoring)
        # Looked for when distances are tied.
        self._same_rows: SameRows | None = None

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
        for part in row_slices(n_queries, self.space.n_features, QUERY_ELEMENTS):
            with ignore_fp_warnings():
                found = self._answer_some(self._inside(query, part), find)
            values[part], positions[part] = found
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
        n_eligible = query.n_eligible(self.n_rows)
        for part in query_chunks(len(query.vectors), n_eligible, np.float64):
            with ignore_fp_warnings():
                some = self._inside(query, part)
                is_tied = self.space.ties_all_rows(some.vectors)
                groups, others = self._groups(query), some.some(~is_tied)
                found = self.scan.within(others, groups, radius)
                for number in range(len(is_tied)):
                    if is_tied[number]:
                        one = some.some(slice(number, number + 1))
                        values, near = self._all_within(one, radius)
                    else:
                        values, near = next(found)
                    distances.append(values)
                    positions.append(near)
        return distances, positions

    def _all_within(self, query: Query, radius: float) -> Neighbors:
        """Return what a query is told that is as near to one row as to any other."""
        near = np.arange(self.n_rows) if query.eligible is None else query.eligible
        if query.exclude is not None:
            near = near[near != query.exclude]
        near = near[: len(near) if self.space.tied_value <= radius else 0]
        return np.full(len(near), self.space.tied_value), near

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
            measured = measured_candidates(self.space, some.vectors, candidates)
            values, positions = nearest_rows(*measured, query.k, query.exclude)
        return self.space.to_metric(values), positions

    # Changes

    def add(self, vectors: Vectors, positions: Positions) -> None:
        """Take over vectors of which some rows are new or changed."""
        with ignore_fp_warnings():
            if self.space.revise(vectors, positions):
                self.fast.revise(positions)
                self.scoring.revise(positions)
                self.scan.revise(positions)
                if self._same_rows is not None:
                    self._same_rows.revise(positions)
            else:
                rescaling = self.space.rescaling
                self._take(MetricSpace(vectors, self.space.metric, rescaling))

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
        if eligible is not None and self._bars_rows(
            len(queries), n_candidates, eligible, backend
        ):
            penalties = self.fast.penalties(eligible)
            found = barred_scores(queries, rows, norms, penalties, n_candidates)
            if np.isfinite(found[0]).all():  # or else barred rows may be among them
                return found
        return smallest_scores(queries, rows, norms, n_candidates, backend, eligible)

    def _bars_rows(
        self, n_queries: int, n_candidates: int, eligible: Positions, backend: str
    ) -> bool:
        """Tell whether all rows are scored, rather than the eligible ones gathered."""
        if backend == "auto":
            backend = best_backend(n_queries, n_candidates)
        if self.fast.array is None or backend == "faiss":
            return False  # FAISS bars no rows
        return barring_pays(n_queries, *self.fast.shape, len(eligible))

    def _inside(self, query: Query, part: slice) -> Query:
        """Return some queries, as vectors of the space in float64."""
        some = query.some(part)
        return some._replace(vectors=self.space.queries(some.vectors))

    def _answer_some(self, query: Query, find: CandidateFinder) -> Neighbors:
        answer = self._certified if query.certified else self._uncertified
        is_tied = self.space.ties_all_rows(query.vectors)
        if not is_tied.any():
            return answer(query, find)
        values = np.full((len(is_tied), query.k), self.space.tied_value)
        positions = np.empty(values.shape, dtype=np.intp)
        positions[is_tied] = self._first_rows(query.some(is_tied))
        if not is_tied.all():
            found = answer(query.some(~is_tied), find)
            values[~is_tied], positions[~is_tied] = found
        return values, positions

    def _first_rows(self, query: Query) -> Positions:
        """Return the first k eligible rows for each query."""
        wanted = query.k + (query.exclude is not None)
        eligible = np.arange(wanted) if query.eligible is None else query.eligible
        first = np.tile(eligible[:wanted], (len(query.vectors), 1))
        return nearest_rows(np.zeros(first.shape), first, query.k, query.exclude)[1]

    def _find(
        self, query: Query, n_candidates: int, find: CandidateFinder
    ) -> Neighbors:
        wanted = n_candidates + (query.exclude is not None)
        fast = self.space.rescaled(query.vectors, np.float32)
        return find(fast, min(query.n_eligible(self.n_rows), wanted), query.eligible)

    def _certified(self, query: Query, find: CandidateFinder) -> Neighbors:
        groups = self._groups(query)
        some = query if groups is None else query._replace(eligible=groups.rows)
        scores, candidates = self._find(some, query.k + SPARE_CANDIDATES, find)
        measured = measured_candidates(self.space, query.vectors, candidates)
        values, positions = nearest_members(measured, query.k, query.exclude, groups)
        if candidates.shape[1] == some.n_eligible(self.n_rows):
            return values, positions
        # No other row scores less than the last candidate; could one be as near as the
        # last neighbour all the same?
        limits = self.scoring.highest(query.vectors, values[:, -1], np.float32)
        uncertified = ~(limits < scores[:, -1])
        if uncertified.any():
            unsure = query.some(uncertified)
            if self._same_rows is None and has_ties(measured[0][uncertified]):
                self._look_for_same_rows()
                found = self._certified(unsure, find)
            else:
                near = values[uncertified], positions[uncertified]
                found = self.scan.complete(unsure, groups, *near)
            values[uncertified], positions[uncertified] = found
        return values, positions

    def _groups(self, query: Query) -> Groups | None:
        """Return the groups of the same vector, as far as they are known."""
        is_known = self._same_rows is not None and not self._same_rows.has_changed
        if not is_known and self.scan.n_measured > PATIENCE * self.n_rows:
            self._look_for_same_rows()
        if self._same_rows is None:
            return None
        return self._same_rows.among(query.eligible)

    def _look_for_same_rows(self) -> None:
        self._same_rows = SameRows(self.space)
        self.scan.n_measured = 0

    def _uncertified(self, query: Query, find: CandidateFinder) -> Neighbors:
        scores, positions = self._find(query, query.k, find)
        if query.exclude is not None:
            scores[positions == query.exclude[:, None]] = np.inf
        order = np.argsort(scores, axis=1, kind="stable")[:, : query.k]
        values = self.space.from_score(np.take_along_axis(scores, order, axis=1))
        positions = np.take_along_axis(positions, order, axis=1)
        # Overflows are beyond float32 products.
        needs_float64 = self.scoring.may_overflow(query.vectors, np.float32)
        if needs_float64.any():
            values[needs_float64], positions[needs_float64] = self._certified(
                query.some(needs_float64), find
            )
        return values, positions


def ignore_fp_warnings() -> Any:
    """Ignore overflows, which are expected at the edges of float32."""
    return np.errstate(over="ignore", invalid="ignore", under="ignore")
