"""Bins for scores whose tails may be very long."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from latentsk._typing import Float64

# Interquartile ranges beyond the quartiles that are shown. The bulk of a normal sample
# is then a third of the picture or more.
REACH = 10.0
# Where many scores are equal, the quartiles may be, too.
TAILS = (0.25, 0.05, 0.01, 0.0)


class Bins(NamedTuple):
    """Edges of bins, and whether the outermost ones hold all that lies beyond."""

    edges: Float64
    open_below: bool
    open_above: bool

    def shares(self, scores: Float64) -> Float64:
        """Return the share of the scores in each bin."""
        inside = np.clip(scores, self.edges[0], self.edges[-1])
        return np.histogram(inside, self.edges)[0] / len(scores)


def bins_of(samples: list[Float64], threshold: float | None, n_bins: int) -> Bins:
    """Return bins that show the bulk of each sample, and the threshold.

    Parameters
    ----------
    samples : list of ndarray of shape (n_scores,)
        Scores, each sample with a bulk of its own.

    threshold : float or None
        It becomes an edge: what is left of it is what lies below it.

    n_bins : int
        About how many bins.

    Returns
    -------
    bins : Bins
        Bins of equal width.

    Examples
    --------
    >>> import numpy as np
    >>> bins = bins_of([np.array([0.0, 1, 2, 3, 4])], 1.0, 4)
    >>> bins.edges, bins.open_below
    (array([0., 1., 2., 3., 4.]), False)
    """
    ranges = np.array([_bulk(scores) for scores in samples])
    low, high = ranges[:, 0].min(), ranges[:, 1].max()
    anchor = low if threshold is None else threshold
    low, high = min(low, anchor), max(high, anchor)
    width = max((high - low) / n_bins, 8.0 * np.spacing(max(abs(low), abs(high))))
    # A bin on either side of the threshold, even where there is no score.
    below = 0 if threshold is None else max(1, _steps(anchor - low, width))
    above = max(1, _steps(high - anchor, width))
    edges = anchor + width * np.arange(-below, above + 1)
    every = np.concatenate(samples)
    return Bins(edges, bool(every.min() < low), bool(every.max() > high))


def _steps(distance: float, width: float) -> int:
    # Not one more for rounding.
    return int(np.ceil(distance / width - 1e-9))


def _bulk(scores: Float64) -> tuple[float, float]:
    """Return the range of the scores that are not far beyond the quartiles."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return 0.0, 1.0
    spreads = (np.quantile(finite, 1.0 - q) - np.quantile(finite, q) for q in TAILS)
    reach = REACH * next((spread for spread in spreads if spread > 0.0), 0.1)
    low, high = finite.min(), finite.max()
    if low == high:
        return low - 0.5 * reach, high + 0.5 * reach
    first, third = np.quantile(finite, [0.25, 0.75])
    return max(low, first - reach), min(high, third + reach)
