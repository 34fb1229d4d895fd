"""Scanning further lists, and more candidates, until enough is likely to be found."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from latentsk._typing import Float32, Float64, Positions
from latentsk.index._cost import CODE, LIST
from latentsk.index._inverted_lists import InvertedLists, Scanned, Selected

# Values above it are those of no candidate.
LARGEST_VALUE = np.float32(1e37)
# Candidates of a careful search, in those of an ordinary one.
CAREFUL = 4
# How much denser rows lie behind the candidates than among the farther half of them.
GROWTH = 2.0
# Smallest difference that is told from rounding, as a share.
LEAST, TINY = 1e-6, 1e-30
# Lists that are ranked, in those expected to hold enough rows.
SPARE_LISTS = 1.5


class Widening(NamedTuple):
    """How far a search goes that is unlike those that its parameters were chosen for.

    Attributes
    ----------
    k : int
        Number of neighbours.

    n_candidates : int
        Candidates wanted, `CAREFUL` times as many as of an ordinary search.

    n_probe : int
        Number of the nearest lists, at least; more where they hold fewer of the rows
        than so many lists hold of all.

    missed : float
        Share of the neighbours that may lie in lists that are not scanned.
    """

    k: int
    n_candidates: int
    n_probe: int
    missed: float

    def scan(
        self,
        lists: InvertedLists,
        queries: Float32,
        selected: Selected,
        others: Scanned,
        measure: Callable[[NDArray[np.int64]], Float32],
    ) -> tuple[Scanned, Float64]:
        """Scan the nearest lists, and then all others that may hold neighbours.

        How the rows of a list lie about its middle tells how many are expected
        within the distance of the best candidates of the nearest lists.

        Parameters
        ----------
        lists : InvertedLists

        queries : ndarray of shape (n_queries, n_codes), float32

        selected : Selected
            Rows that may be returned.

        others : Scanned
            Further rows that may be returned, which are in no list.

        measure : callable
            Returns scores of candidates, by which they are compared.

        Returns
        -------
        scanned : Scanned

        costs : ndarray of shape (n_queries,)
            See `_cost`.
        """
        near, distances = self._nearest(lists, queries, selected)
        found = lists.scan(queries, near, distances, self.n_candidates, selected)
        is_scanned = np.zeros((len(queries), lists.n_lists + 1), dtype=bool)
        np.put_along_axis(is_scanned, near, True, axis=1)  # the last one stands for -1
        is_scanned = is_scanned[:, :-1]
        few = self.n_candidates // CAREFUL
        values = np.concatenate([found.values[:, :few], others.values], axis=1)
        known = np.concatenate([found.positions[:, :few], others.positions], axis=1)
        radii = farthest_of_best(values, measure(known), self.k)
        rates = lists.spread.rates(queries, np.minimum(radii, LARGEST_VALUE))
        is_further = further_lists(rates, selected.counts, is_scanned, self.missed)
        which = np.logical_or.reduce(is_further, axis=1)
        if which.any():
            further = np.where(is_further[which], np.arange(lists.n_lists), -1)
            some = queries[which], further, lists.distances(queries[which])
            second = lists.scan(*some, self.n_candidates, selected)
            more = merged(found.some(which), second)
            found.values[which], found.positions[which] = more
        per_list = LIST + lists.sizes * (queries.shape[1] * CODE)
        return found, (is_scanned | is_further) @ per_list

    def _nearest(
        self, lists: InvertedLists, queries: Float32, selected: Selected
    ) -> tuple[NDArray[np.int64], Float32]:
        """Return the nearest lists, -1 after the last, and their distances."""
        enough = self.n_probe * lists.n_rows / lists.n_lists
        usual = max(1.0, selected.counts.mean())
        width = min(
            lists.n_lists, self.n_probe + math.ceil(SPARE_LISTS * enough / usual)
        )
        distances, near = lists.nearest(queries, width)
        held = selected.counts[near]
        before = np.cumsum(held, axis=1) - held
        is_near = (np.arange(width) < self.n_probe) | (before < enough)
        return np.where(is_near, near, -1), distances


def farthest_of_best(values: Float32, scores: Float32, k: int) -> Float32:
    """Return the largest value among the candidates with the k smallest scores.

    Examples
    --------
    >>> farthest_of_best(np.array([[1.0, 2.0, 3.0]]), np.array([[5.0, 9.0, 6.0]]), 2)
    array([3.])
    """
    best = np.argpartition(scores, k - 1, axis=1)[:, :k]
    return np.take_along_axis(values, best, axis=1).max(axis=1)


def further_lists(
    rates: Float64, counts: Positions, is_scanned: NDArray[np.bool_], missed: float
) -> NDArray[np.bool_]:
    """Tell which lists are to be scanned, too, so that few neighbours are missed.

    Parameters
    ----------
    rates : ndarray of shape (n_queries, n_lists)
        Chance of a row in a list to be among the neighbours.

    counts : ndarray of shape (n_lists,)
        Number of rows in each list.

    is_scanned : ndarray of shape (n_queries, n_lists), dtype bool

    missed : float
        Share of the neighbours expected in lists that are not scanned, at most.

    Examples
    --------
    >>> rates, counts = np.array([[0.5, 0.2, 0.1, 0.01]]), np.full(4, 10)
    >>> is_scanned = np.array([[True, False, False, False]])
    >>> further_lists(rates, counts, is_scanned, 0.02)
    array([[False,  True,  True, False]])
    """
    hits = rates * counts
    total = hits.sum(axis=1)
    open_hits = np.where(is_scanned, 0.0, hits)
    # Where every chance is too small to be told from zero, all lists are alike.
    allowed = np.where(total > 0, missed * total, -1.0)
    is_further = np.zeros(rates.shape, dtype=bool)
    is_short = open_hits.sum(axis=1) > allowed
    rates, open_hits = rates[is_short], open_hits[is_short]
    order = np.argsort(np.where(is_scanned[is_short], 0.0, -rates), axis=1)
    ranked = np.take_along_axis(open_hits, order, axis=1)
    rest = np.cumsum(ranked[:, ::-1], axis=1)[:, ::-1]
    is_needed = np.zeros(rates.shape, dtype=bool)
    np.put_along_axis(is_needed, order, rest > allowed[is_short, None], axis=1)
    is_further[is_short] = is_needed
    return is_further & ~is_scanned & (counts > 0)


def merged(first: Scanned, second: Scanned) -> Scanned:
    """Return as many of the likeliest candidates of two scans of other lists."""
    values = np.concatenate([first.values, second.values], axis=1)
    positions = np.concatenate([first.positions, second.positions], axis=1)
    order = np.argsort(values, axis=1, kind="stable")[:, : first.values.shape[1]]
    values = np.take_along_axis(values, order, axis=1)
    return Scanned(values, np.take_along_axis(positions, order, axis=1))


def expected_beyond(
    values: Float32,
    scores: Float32,
    k: int,
    slope: float | None = 1.0,
    shifts: Float32 | None = None,
) -> Float64:
    """Return how many of the k nearest rows are expected behind the candidates.

    How far the scores of candidates lie from what their codes say tells how probable it
    is that a row whose code is farther away is nearer than the k-th candidate. Values
    beyond the last one are taken to follow each other about as densely as before.

    Parameters
    ----------
    values : ndarray of shape (n_queries, n_candidates), float32
        Squared distances to codes, ascending.

    scores : ndarray of shape (n_queries, n_candidates), float32
        What the candidates are compared by; infinite where there is none.

    k : int
        Number of neighbours, at most n_candidates.

    slope : float or None, default=1.0
        How fast scores rise with values; None: as those of the candidates.

    shifts : ndarray of shape (n_queries,) or None, default=None
        By how much scores exceed the values, times the slope, where codes are right:
        those of the candidates may be wrong by more, and are the first for it.

    Returns
    -------
    numbers : ndarray of shape (n_queries,)
    """
    is_full = (np.isfinite(scores) & (values < LARGEST_VALUE)).all(axis=1)
    numbers = np.zeros(len(values))  # fewer candidates than wanted: all there are
    values, scores = values[is_full].astype(float), scores[is_full].astype(float)
    if slope is None:
        rests = values - values.mean(axis=1, keepdims=True)
        squares = np.maximum(np.sum(rests**2, axis=1), TINY)
        slopes = np.sum(rests * scores, axis=1) / squares
        values = values * np.maximum(slopes, 0.0)[:, None]
    else:
        values = values * slope
    errors = scores - values
    shift = errors.mean(axis=1)
    if shifts is not None:
        shift = np.minimum(shift, shifts[is_full])
    last = np.partition(scores, k - 1, axis=1)[:, k - 1] - shift
    half = values.shape[1] // 2
    reach = values[:, -1] - values[:, half]
    reach = np.maximum(reach, np.maximum(LEAST * np.abs(last), TINY))
    density = GROWTH * (values.shape[1] - half) / reach
    error = np.maximum(errors.std(axis=1), LEAST * reach)
    room = last - values[:, -1]
    margin = room / error
    tail = np.exp(-0.5 * margin**2) / math.sqrt(2 * math.pi)
    normal = error * (tail + margin * ndtr(margin))
    # Errors as they are, where some are larger than those of a normal distribution.
    rests = errors - shift[:, None]
    observed = np.maximum(room[:, None] - rests, 0.0).mean(axis=1)
    numbers[is_full] = density * np.maximum(normal, observed)
    return numbers
