"""Scanning further lists, and more candidates, until enough is likely to be found."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from latentsk._typing import Float32, Float64, Positions
from latentsk.index._cost import CODE, LIST
from latentsk.index._inverted_lists import InvertedLists, Scanned, Selected

# Values above it are those of no candidate.
LARGEST_VALUE = np.float32(1e37)
# How much denser rows lie behind the candidates than among the farther half of them.
GROWTH = 2.0
# Smallest difference that is told from rounding, as a share.
LEAST = 1e-6


class Widening(NamedTuple):
    """How far a search goes that is unlike those that its parameters were chosen for.

    Attributes
    ----------
    k : int
        Number of neighbours.

    n_candidates : int
        At least k.

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
        others: Float32,
    ) -> tuple[Scanned, Float64]:
        """Scan the nearest lists, and then all others that may hold neighbours.

        The rows of a list are taken to be normally distributed, which tells how many
        are expected within the distance of the k-th candidate of the nearest lists.

        Parameters
        ----------
        lists : InvertedLists

        queries : ndarray of shape (n_queries, n_codes), float32

        selected : Selected
            Rows that may be returned.

        others : ndarray of shape (n_queries, n_others), float32
            Squared distances to further rows that may be returned, in no list.

        Returns
        -------
        scanned : Scanned

        costs : ndarray of shape (n_queries,)
            See `_cost`.
        """
        distances, ranked = lists.nearest(queries, lists.n_lists)
        counts = selected.counts[ranked]
        before = np.cumsum(counts, axis=1) - counts
        enough = self.n_probe * lists.n_rows / lists.n_lists
        is_scanned = np.arange(lists.n_lists) < self.n_probe
        is_scanned = is_scanned | (before < enough)

        def scan(which: NDArray[np.bool_], is_wanted: NDArray[np.bool_]) -> Scanned:
            width = lists.n_lists - int(is_wanted.any(axis=0)[::-1].argmax())
            wanted = np.where(is_wanted, ranked[which], -1)[:, :width]
            some = queries[which], wanted, distances[which, :width]
            return lists.scan(*some, self.n_candidates, selected)

        found = scan(np.ones(len(queries), dtype=bool), is_scanned)
        known = np.concatenate([found.values, others], axis=1)
        radii = np.partition(known, self.k - 1, axis=1)[:, self.k - 1]
        rates = lists.spread.rates(queries, np.minimum(radii, LARGEST_VALUE))
        rates = np.take_along_axis(rates, ranked, axis=1)
        is_further = further_lists(rates, counts, is_scanned, self.missed)
        which = is_further.any(axis=1)
        if which.any():
            more = merged(found.some(which), scan(which, is_further[which]))
            found.values[which], found.positions[which] = more
        per_list = LIST + lists.sizes[ranked] * (queries.shape[1] * CODE)
        return found, np.sum(per_list * (is_scanned | is_further), axis=1)


def further_lists(
    rates: Float64, counts: Positions, is_scanned: NDArray[np.bool_], missed: float
) -> NDArray[np.bool_]:
    """Tell which lists are to be scanned, too, so that few neighbours are missed.

    Parameters
    ----------
    rates : ndarray of shape (n_queries, n_lists)
        Chance of a row in a list to be among the neighbours.

    counts : ndarray of shape (n_queries, n_lists)
        Number of rows in each list.

    is_scanned : ndarray of shape (n_queries, n_lists), dtype bool

    missed : float
        Share of the neighbours expected in lists that are not scanned, at most.

    Examples
    --------
    >>> rates, counts = np.array([[0.5, 0.2, 0.1, 0.01]]), np.array([[10, 10, 10, 10]])
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
    values: Float32, scores: Float32, k: int, slope: float | None = 1.0
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
        How fast scores rise with values; None: as that of the candidates says.

    Returns
    -------
    numbers : ndarray of shape (n_queries,)
    """
    is_full = (np.isfinite(scores) & (values < LARGEST_VALUE)).all(axis=1)
    numbers = np.zeros(len(values))  # fewer candidates than wanted: all there are
    values, scores = values[is_full].astype(float), scores[is_full].astype(float)
    if slope is None:
        rests = values - values.mean(axis=1, keepdims=True)
        slopes = np.sum(rests * scores, axis=1) / np.sum(rests**2, axis=1)
        values = values * np.maximum(slopes, 0.0)[:, None]
    else:
        values = values * slope
    errors = scores - values
    last = np.partition(scores, k - 1, axis=1)[:, k - 1] - errors.mean(axis=1)
    half = values.shape[1] // 2
    reach = np.maximum(values[:, -1] - values[:, half], LEAST * np.abs(last))
    density = GROWTH * (values.shape[1] - half) / reach
    error = np.maximum(errors.std(axis=1), LEAST * reach)
    margin = (last - values[:, -1]) / error
    tail = np.exp(-0.5 * margin**2) / math.sqrt(2 * math.pi)
    numbers[is_full] = density * error * (tail + margin * ndtr(margin))
    return numbers
