"""What recall to expect of queries, by what a search sees of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float64, Positions
from latentsk.persistence import _schema as rules
from latentsk.persistence._registry import storable

# Groups of queries by the share that they may miss, of as many queries each.
GROUPS = 10
# Queries of a batch that are looked at: one of so many, between these numbers.
SAMPLE_SHARE, FEWEST_QUERIES, MOST_QUERIES = 32, 48, 512
# Standard errors by which the recall that is expected has to be below the target.
ERRORS = 2.0


@storable(
    {
        "n_neighbors": rules.count(1),
        "limits": rules.floats(GROUPS - 1, dtypes={"float64"}),
        "recalls": rules.floats(GROUPS, least=0, dtypes={"float64"}),
    }
)
class Evidence(NamedTuple):
    """The recall of queries, by the share of their neighbours expected elsewhere.

    Attributes
    ----------
    n_neighbors : int
        Number of neighbours that were counted.

    limits : ndarray of shape (9,), float64
        Shares between which the groups of queries lie, ascending.

    recalls : ndarray of shape (10,), float64
        Mean recall of each group.

    Examples
    --------
    >>> shares = np.linspace(0.0, 1.0, 1_000)
    >>> evidence = Evidence.of(shares, 1.0 - shares, n_neighbors=5)
    >>> evidence.expected(np.array([0.02, 0.98])).round(2)
    array([0.95, 0.05])
    """

    n_neighbors: int
    limits: Float64
    recalls: Float64

    @classmethod
    def of(cls, shares: Float64, recalls: Float64, n_neighbors: int) -> Evidence:
        """Return what some queries tell whose recall is known."""
        limits = np.quantile(shares, np.linspace(0.0, 1.0, GROUPS + 1)[1:-1])
        groups = np.searchsorted(limits, shares, side="right")
        sums = np.bincount(groups, recalls, minlength=GROUPS)
        counts = np.bincount(groups, minlength=GROUPS)
        # A group is empty where many shares are equal: it expects what all have found.
        means = np.where(counts > 0, sums / np.maximum(1, counts), recalls.mean())
        return cls(n_neighbors, limits, means)

    def expected(self, shares: Float64) -> Float64:
        """Return the recall that is expected of each query."""
        return self.recalls[np.searchsorted(self.limits, shares, side="right")]


def sampled(n_queries: int) -> slice:
    """Return which queries of a batch are looked at, evenly over it.

    Examples
    --------
    >>> [len(range(n)[sampled(n)]) for n in (40, 1_000, 10_000, 100_000)]
    [40, 48, 304, 511]
    """
    most = min(max(n_queries // SAMPLE_SHARE, FEWEST_QUERIES), MOST_QUERIES)
    return slice(None, None, math.ceil(n_queries / most))


def missed_shares(
    rates: Float64, counts: Positions, scanned: NDArray[np.int64]
) -> Float64:
    """Return which share of the rows within reach lie in lists that are not scanned.

    Parameters
    ----------
    rates : ndarray of shape (n_queries, n_lists)
        Share of each list that is expected within reach.

    counts : ndarray of shape (n_lists,)
        Number of rows in each list.

    scanned : ndarray of shape (n_queries, n_probe)
        Numbers of the lists that are.

    Examples
    --------
    >>> missed_shares(np.array([[0.3, 0.1]]), np.array([10, 10]), np.array([[0]]))
    array([0.25])
    """
    hits = rates * counts
    total = hits.sum(axis=1)
    found = np.take_along_axis(hits, scanned, axis=1).sum(axis=1)
    return 1.0 - np.divide(found, total, out=np.ones_like(total), where=total > 0)


def falls_short(expected: Float64, target: float) -> bool:
    """Tell whether the mean recall of a batch is below a target by more than chance.

    Examples
    --------
    >>> falls_short(np.full(100, 0.9), 0.95), falls_short(np.array([0.9, 1.0]), 0.95)
    (True, False)
    """
    error = expected.std() / math.sqrt(len(expected))
    return bool(expected.mean() + ERRORS * error < target)
