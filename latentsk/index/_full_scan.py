"""Answers from the scores of all rows, where candidates do not certify one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._typing import Float64, Positions
from latentsk.index._candidates import query_chunks
from latentsk.index._cost import barring_pays
from latentsk.index._from_origin import RowsFromOrigin
from latentsk.index._metric import MetricSpace
from latentsk.index._query import Neighbors, Query
from latentsk.index._same_rows import Groups, nearest_members
from latentsk.index._scoring import Scoring

# Elements of candidates compared at a time in float64: 2 MB stay in the cache.
PAIR_ELEMENTS = 2**18
# Queries that are multiplied with a row in the time that it takes to convert it to
# float64, or to measure it.
QUERIES_PER_ROW = 40
# Candidates of a query that are measured together with those of others; and how many
# more that may be than have to be measured.
MOST_CANDIDATES = 2**10
MOST_PADDING = 4.0


class FullScan:
    """Neighbours of queries, found by the scores of all eligible rows.

    Parameters
    ----------
    scoring : Scoring
        Of the rows.

    Attributes
    ----------
    n_measured : int
        Rows that were converted to float64 so far.
    """

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self.space = scoring.space
        self.n_measured = 0
        self._from_origin: RowsFromOrigin | None = None

    def complete(
        self,
        query: Query,
        groups: Groups | None,
        values: Float64,
        positions: Positions,
    ) -> Neighbors:
        """Return the neighbours, given others that may be farther away.

        Parameters
        ----------
        query : Query
            Vectors of the space.

        groups : Groups or None
            Of the eligible rows; None where each is alone.

        values, positions : ndarrays of shape (n_queries, k)
            The k nearest rows among some, to which all rows belong whose computed
            scores are less than that of a row that does not.

        Returns
        -------
        values, positions : ndarrays of shape (n_queries, k)
        """
        is_exact = self.scoring.is_exact(query.vectors)
        is_other = ~is_exact
        if is_exact.any():
            # All rows that are nearer than the last neighbour are there.
            is_last = is_exact[:, None] & (values == values[:, -1:])
            exact = query.some(is_exact)
            positions[is_last] = self.scoring.first_at(
                exact.vectors,
                values[is_exact, -1],
                np.count_nonzero(is_last[is_exact], axis=1),
                exact.eligible,
                exact.exclude,
            )
        if self.space.metric == "euclidean":
            is_origin = is_other & ~query.vectors.any(axis=1)
            is_other &= ~is_origin
            if is_origin.any():
                found = self._nearest_to_origin(query.some(is_origin))
                values[is_origin], positions[is_origin] = found
        if is_other.any():
            found = self._up_to(query.some(is_other), groups, values[is_other, -1])
            values[is_other], positions[is_other] = found
        return values, positions

    def _nearest_to_origin(self, query: Query) -> Neighbors:
        if self._from_origin is None:
            self._from_origin = RowsFromOrigin(self.space)
        return self._from_origin.nearest(query.k, query.exclude, query.eligible)

    def revise(self, changed: Positions) -> None:
        """Follow the rows, of which some are new or changed."""
        if self._from_origin is not None:
            self._from_origin.revise(changed)

    def within(
        self, query: Query, groups: Groups | None, radius: float
    ) -> Iterator[Neighbors]:
        """Yield, for each query, all rows within a radius, by position."""
        some = _firsts(query, groups)
        radii = np.full(len(query.vectors), radius)
        limits = self.scoring.highest(query.vectors, radii, np.float32)
        # Where the error of float32 dwarfs the distance, it would let everything by.
        is_coarse = not (limits <= 2.0 * self.space.to_score(radii)).all()
        dtype = np.float64 if is_coarse else np.float32
        limits = self.scoring.highest(query.vectors, radii, dtype)
        some, scores = self._scored(some, limits, dtype)
        for number, (values, near) in enumerate(self._measured(some, scores, limits)):
            is_near = values <= radius
            values, near = values[is_near], near[is_near]
            if groups is not None:
                values, near = groups.all_members(values, near)
            if query.exclude is not None:
                is_other = near != query.exclude[number]
                values, near = values[is_other], near[is_other]
            yield values, near

    def _up_to(
        self, query: Query, groups: Groups | None, reached: Float64
    ) -> Neighbors:
        """Return the neighbours, none of which is farther than a distance."""
        values = np.empty((len(reached), query.k), dtype=np.float64)
        positions = np.empty(values.shape, dtype=np.intp)
        limits = self.scoring.highest(query.vectors, reached, np.float32)
        n_rows = _firsts(query, groups).n_eligible(len(self.scoring.fast))
        for part in query_chunks(len(reached), n_rows, np.float64):
            found = self._from_float32(query.some(part), groups, limits[part])
            if found is None:
                found = self.in_float64(query.some(part), groups)
            values[part], positions[part] = found
        return values, positions

    def _from_float32(
        self, query: Query, groups: Groups | None, limits: Float64
    ) -> Neighbors | None:
        """Return the nearest of the rows up to a score in float32.

        None where there would be more of them than in float64.
        """
        if not np.isfinite(limits).all():
            return None
        some, scores = self._scored(_firsts(query, groups), limits, np.float32)
        n_queries, n_rows = scores.shape
        n_near = np.count_nonzero(scores <= limits[:, None], axis=1)
        if n_near.sum() > n_rows * (1.0 + n_queries / QUERIES_PER_ROW):
            return None
        most = int(n_near.max())
        if n_queries * most > MOST_PADDING * n_near.sum() or most > MOST_CANDIDATES:
            return self._nearest(query, some, groups, scores, limits)
        self.n_measured += n_queries * most
        smallest = torch.topk(torch.from_numpy(scores), most, largest=False)
        candidates = _to_positions(smallest.indices.numpy(), some.eligible)
        near = measured_candidates(self.space, query.vectors, candidates)
        return nearest_members(near, query.k, query.exclude, groups)

    def _scored(
        self, query: Query, limits: Float64, dtype: Any
    ) -> tuple[Query, NDArray[Any]]:
        """Return the scores of eligible rows; or of all, infinite for the others.

        With the query as it then is.
        """
        eligible, n_queries = query.eligible, len(limits)
        if eligible is None or not np.isfinite(limits).all():
            return query, self.scoring.scores(query.vectors, eligible, dtype)
        if not barring_pays(n_queries, *self.scoring.fast.shape, len(eligible)):
            return query, self.scoring.scores(query.vectors, eligible, dtype)
        is_barred = np.ones(len(self.scoring.fast), dtype=bool)
        is_barred[eligible] = False
        scores = self.scoring.scores(query.vectors, None, dtype)
        scores[:, np.flatnonzero(is_barred)] = np.inf
        return query._replace(eligible=None), scores

    def in_float64(self, query: Query, groups: Groups | None) -> Neighbors:
        """Return the neighbours, from scores in float64."""
        some = _firsts(query, groups)
        scores = self.scoring.scores(some.vectors, some.eligible, np.float64)
        self.n_measured += scores.shape[1]
        wanted = min(scores.shape[1], query.k + (query.exclude is not None))
        smallest = torch.topk(torch.from_numpy(scores), wanted, largest=False)
        nearest = _to_positions(smallest.indices.numpy(), some.eligible)
        near = measured_candidates(self.space, query.vectors, nearest)
        values, _ = nearest_members(near, query.k, query.exclude, groups)
        limits = self.scoring.highest(query.vectors, values[:, -1], np.float64)
        return self._nearest(query, some, groups, scores, limits)

    def _nearest(
        self,
        query: Query,
        scored: Query,
        groups: Groups | None,
        scores: NDArray[Any],
        limits: Float64,
    ) -> Neighbors:
        """Return the nearest of the rows up to a score.

        `scored` says which rows the columns of `scores` are.
        """
        values = np.empty((len(scores), query.k), dtype=np.float64)
        positions = np.empty(values.shape, dtype=np.intp)
        measured = self._measured(scored, scores, limits)
        for number, (distances, near) in enumerate(measured):
            order = np.argsort(distances, kind="stable")[None]
            one = slice(number, number + 1)
            exclude = None if query.exclude is None else query.exclude[one]
            some = distances[order], near[order]
            values[one], positions[one] = nearest_members(
                some, query.k, exclude, groups
            )
        return values, positions

    def _measured(
        self, query: Query, scores: NDArray[Any], limits: Float64
    ) -> Iterator[Neighbors]:
        """Yield, for each query, the exact distances of rows up to a score."""
        for own, row_scores, limit in zip(query.vectors, scores, limits, strict=True):
            # Not above, rather than up to: what is not a number has to be measured.
            near = _to_positions(np.flatnonzero(~(row_scores > limit)), query.eligible)
            self.n_measured += len(near)
            distances = np.empty(len(near))
            for part in row_slices(len(near), self.space.n_features, PAIR_ELEMENTS):
                rows = self.space.rows(near[part])
                distances[part] = self.space.exact_distances(own, rows)
            yield distances, near


def measured_candidates(
    space: MetricSpace, queries: Float64, candidates: Positions
) -> Neighbors:
    """Return the exact distances of each query's candidates.

    Parameters
    ----------
    space : MetricSpace

    queries : ndarray of shape (n_queries, n_features)
        Vectors of the space.

    candidates : ndarray of shape (n_queries, n_candidates)
        Positions.

    Returns
    -------
    values, positions : ndarrays of shape (n_queries, n_candidates)
        Ascending; equal values come in the order of the positions.

    Examples
    --------
    >>> space = MetricSpace(np.array([[1.0], [5.0], [3.0]]), "euclidean")
    >>> measured_candidates(space, np.array([[4.0]]), np.array([[2, 0, 1]]))
    (array([[1., 1., 3.]]), array([[1, 2, 0]]))
    """
    candidates = np.sort(candidates, axis=1)
    values = np.empty(candidates.shape, dtype=np.float64)
    elements_per_query = candidates.shape[1] * space.n_features
    for part in row_slices(len(candidates), elements_per_query, PAIR_ELEMENTS):
        rows = space.rows(candidates[part])
        values[part] = space.exact_distances(queries[part, None, :], rows)
    order = np.argsort(values, axis=1, kind="stable")
    return (
        np.take_along_axis(values, order, axis=1),
        np.take_along_axis(candidates, order, axis=1),
    )


def has_ties(values: Float64) -> bool:
    """Tell whether some of a query's values, which ascend, are equal.

    Examples
    --------
    >>> has_ties(np.array([[1.0, 2.0, 2.0]])), has_ties(np.array([[1.0, 2.0, 3.0]]))
    (True, False)
    """
    return bool((values[:, 1:] == values[:, :-1]).any())


def _firsts(query: Query, groups: Groups | None) -> Query:
    """Return the same among the first rows of groups."""
    return query if groups is None else query._replace(eligible=groups.rows)


def _to_positions(which: Positions, eligible: Positions | None) -> Positions:
    """Turn numbers of eligible rows into positions."""
    return which if eligible is None else eligible[which]
