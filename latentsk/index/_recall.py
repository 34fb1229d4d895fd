"""Recall: queries whose true neighbours are known, and how many of them are found."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from latentsk._typing import Float64, Positions
from latentsk.index._exact import ExactSearch
from latentsk.index._query import Query
from latentsk.index._search import Search
from latentsk.index._spec import FEW_NEIGHBORS

# Held-out queries: as many as a second or two of exact search answer.
HELD_OUT_WORK = 1e11
MIN_HELD_OUT, MAX_HELD_OUT = 500, 2_000
DEEP_QUERIES = 100
CONFIDENCE = 0.95
# Neighbours at which recall is reported.
REPORTED_NEIGHBORS = (1, 10, 100)
# From the recall of each query, and the number of neighbours.
Bounds = Callable[[Float64, int], tuple[float, float, float]]


class HeldOut(NamedTuple):
    """Queries that took no part in training, and the truth about them.

    Attributes
    ----------
    positions : ndarray of shape (n_queries,) or None
        Where they are rows of the index, which are left out of their own neighbours.

    queries : ndarray of shape (n_queries, n_features)

    values : ndarray of shape (n_queries, k), float64
        Distances of the true neighbours, ascending; inner products with their sign
        turned.

    neighbors : ndarray of shape (n_queries, k)

    truth : ExactSearch
        Over the rows in full precision, which says how far rows are.

    deep : HeldOut or None
        A few of the queries, with more true neighbours; None where these are enough.
    """

    positions: Positions | None
    queries: NDArray[Any]
    values: Float64
    neighbors: Positions
    truth: ExactSearch
    deep: HeldOut | None = None

    def with_neighbors(self, k: int) -> HeldOut | None:
        """Return queries with at least k true neighbours, if there are any."""
        if k <= self.values.shape[1]:
            return self
        return None if self.deep is None else self.deep.with_neighbors(k)

    def recalls(self, search: Search, members: Positions, k: int) -> Float64:
        """Return the recall of each query, measured as the truth is."""
        query = Query(self.queries, k, self.positions, members, warns=False)
        return self.recalls_of(search.neighbors(query)[1], members)

    def recalls_of(self, found: Positions, members: Positions) -> Float64:
        """Return the recall of each query that has found some positions."""
        k = found.shape[1]
        query = Query(self.queries, k, self.positions, members)
        values, _ = self.truth.nearest_of(query, found)
        return found_share(self.truth.space.to_metric(values), self.values[:, :k])


def recall_bounds(
    recalls: Float64, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Return the mean recall with one-sided confidence bounds below and above.

    The bounds are those of the normal approximation, after one query that found nothing
    (for the upper one: everything) has joined: a perfect sample does not prove perfect
    recall.

    Parameters
    ----------
    recalls : ndarray of shape (n_queries,)
        Share of the true neighbours that each query found.

    confidence : float, default=0.95
        Of each bound.

    Examples
    --------
    >>> mean, lower, upper = recall_bounds(np.ones(999))
    >>> mean, round(lower, 4), upper
    (1.0, 0.9974, 1.0)
    """
    quantile = norm.ppf(confidence)

    def bound(other: float) -> float:
        joined = np.append(recalls, other)
        error = joined.std(ddof=1) / math.sqrt(len(joined))
        return float(joined.mean() + (1 if other else -1) * quantile * error)

    return float(recalls.mean()), max(0.0, bound(0.0)), min(1.0, bound(1.0))


def found_share(values: Float64, true_values: Float64) -> Float64:
    """Return the share of found rows that are as near as the true neighbours.

    By distance, so that a row as far as the last neighbour counts like it.

    Parameters
    ----------
    values : ndarray of shape (n_queries, k)
        Distances of what was found.

    true_values : ndarray of shape (n_queries, k), ascending

    Returns
    -------
    recalls : ndarray of shape (n_queries,)

    Examples
    --------
    >>> found_share(np.array([[1.0, 3.0]]), np.array([[1.0, 2.0]]))
    array([0.5])
    """
    return np.mean(values <= true_values[:, -1:], axis=1)


def held_out_queries(
    flat: Search,
    members: Positions,
    n_neighbors: int,
    rng: np.random.Generator,
    most: int = MAX_HELD_OUT,
) -> HeldOut:
    """Draw queries among the members and find their true neighbours.

    Parameters
    ----------
    flat : Search
        Over all rows, exact.

    members : ndarray of shape (n_members,)
        Positions of the rows that are searched, ascending.

    n_neighbors : int
        Neighbours needed for each query, at least.

    rng : Generator
        Draws the queries.

    most : int, default=2000
        Number of queries, at most.
    """
    space = flat.exact.space
    affordable = int(HELD_OUT_WORK / (2.0 * len(members) * space.n_features))
    n_queries = min(max(affordable, MIN_HELD_OUT), most, len(members) // 2)
    positions = np.sort(rng.choice(members, n_queries, replace=False))
    return _with_truth(flat, space.vectors[positions], n_neighbors, positions, members)


def fresh_queries(
    flat: Search,
    queries: NDArray[Any],
    n_neighbors: int,
    eligible: Positions | None,
) -> HeldOut:
    """Find the true neighbours of queries that are not rows of the index."""
    return _with_truth(flat, queries, n_neighbors, None, eligible)


def _with_truth(
    flat: Search,
    queries: NDArray[Any],
    n_neighbors: int,
    positions: Positions | None,
    eligible: Positions | None,
) -> HeldOut:
    n_rows = flat.exact.n_rows
    if eligible is not None and len(eligible) == n_rows:
        eligible = None
    available = n_rows if eligible is None else len(eligible)
    available -= positions is not None
    shallow = min(max(n_neighbors, FEW_NEIGHBORS), available)
    deep = None
    most = min(max(n_neighbors, *REPORTED_NEIGHBORS), available)
    if most > shallow:
        # Many neighbours take long to certify, and are only reported.
        some = slice(None, None, math.ceil(len(queries) / DEEP_QUERIES))
        few = None if positions is None else positions[some]
        deep = _truth(flat, queries[some], most, few, eligible)
    return _truth(flat, queries, shallow, positions, eligible)._replace(deep=deep)


def _truth(
    flat: Search,
    queries: NDArray[Any],
    k: int,
    positions: Positions | None,
    eligible: Positions | None,
) -> HeldOut:
    values, neighbors = flat.neighbors(Query(queries, k, positions, eligible))
    values = flat.exact.space.to_metric(values)  # its own inverse
    return HeldOut(positions, queries, values, neighbors, flat.exact)


def recall_table(
    search: Search,
    held_out: HeldOut | None,
    members: Positions,
    n_neighbors: int,
    bounds: Bounds | None = None,
) -> Float64:
    """Return recall and its bounds, by number of neighbours.

    Parameters
    ----------
    search : Search

    held_out : HeldOut or None
        None where the search is exact.

    members : ndarray of shape (n_members,)
        Positions of the rows that are searched, ascending.

    n_neighbors : int
        Reported besides 1, 10 and 100.

    bounds : callable or None, default=None
        From the recall of each query, and the number of neighbours, to the mean with
        its bounds; None: `recall_bounds`.

    Returns
    -------
    table : ndarray of shape (n_numbers, 4)
        Number of neighbours, recall, lower bound, upper bound.
    """
    numbers = sorted({n_neighbors, *REPORTED_NEIGHBORS})
    if held_out is None:
        rows = [(k, 1.0, 1.0, 1.0) for k in numbers if k < max(2, len(members))]
        return np.array(rows).reshape(-1, 4)
    rows = []
    for k in numbers:
        queries = held_out.with_neighbors(k)
        if queries is not None:
            recalls = queries.recalls(search, members, k)
            found = recall_bounds(recalls) if bounds is None else bounds(recalls, k)
            rows.append((k, *found))
    return np.array(rows).reshape(-1, 4)
