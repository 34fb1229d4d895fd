"""Centre and scale of a column that may hold extremes and codes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsk._typing import Float64

# Far fences lie this many interquartile ranges beyond the quartiles (Tukey, 1977).
FAR = 3.0
# Values of a smaller share of the cells are extremes, not a kind.
RARE = 0.01
# Share of the values below which a spread is what rounding has left of none.
ROUNDING = 64.0 * float(np.finfo(np.float64).eps)


class ValueCounts(NamedTuple):
    """The different values of a column, and how many cells have each.

    Attributes
    ----------
    values : ndarray of shape (n_values,), float64, ascending
    counts : ndarray of shape (n_values,), at least 1 each
    """

    values: Float64
    counts: NDArray[np.intp]

    @classmethod
    def of(cls, column: ArrayLike) -> ValueCounts:
        """Count the values of a column.

        Parameters
        ----------
        column : array-like of shape (n_rows,)
            Finite numbers, one at least.

        Examples
        --------
        >>> ValueCounts.of(np.array([7, 2, 7], np.uint8))
        ValueCounts(values=array([2., 7.]), counts=array([1, 2]))
        """
        cells = np.asarray(column)
        if cells.dtype.itemsize == 8:
            cells = cells.astype(np.float64)  # what large integers are rounded to later
        ordered = np.sort(cells)
        is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        starts = np.flatnonzero(is_first)
        counts = np.diff(starts, append=len(ordered))
        return cls(ordered[starts].astype(np.float64), counts)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.counts.sum())

    def where(self, mask: NDArray[np.bool_]) -> ValueCounts:
        """Return some of the values."""
        return ValueCounts(self.values[mask], self.counts[mask])

    def at(self, *ranks: int) -> Float64:
        """Return the values at some ranks, from 0, of the cells in ascending order."""
        places = np.searchsorted(self.counts.cumsum(), ranks, side="right")
        return self.values[places]


def median(column: ValueCounts) -> float:
    """Return the median of the cells.

    Examples
    --------
    >>> median(ValueCounts.of([1, 2, 2, 4, 5, 5]))
    3.0
    """
    n_cells = column.n_cells
    low, high = column.at((n_cells - 1) // 2, n_cells // 2)
    return float(0.5 * low + 0.5 * high)


def quartiles(column: ValueCounts) -> tuple[float, float]:
    """Return the lower and the upper quartile of the cells.

    Each is the value of a cell, the inner one of the two that a quartile may lie
    between: one quarter of the cells, whatever their values, moves neither out of the
    range of the others.

    Examples
    --------
    >>> quartiles(ValueCounts.of([0, 1, 2, 3, 4])), quartiles(ValueCounts.of([0, 1]))
    ((1.0, 3.0), (0.0, 1.0))
    """
    last = column.n_cells - 1
    rank = min(-(-last // 4), last // 2)
    low, high = column.at(rank, last - rank)
    return float(low), float(high)


def middle_range(column: ValueCounts) -> tuple[float, float]:
    """Return the interval that tells how far the values of a column usually spread.

    Parameters
    ----------
    column : ValueCounts

    Returns
    -------
    low, high : float
        The quartiles. Where these are one value (of about half of the cells, or more),
        the quartiles of the other values, and the interval is extended to that value;
        if fewer than 1 % of the cells have others, the nearest of these alone, since
        any of them is an extreme. Equal only if the column is constant.

    Examples
    --------
    >>> middle_range(ValueCounts.of([0, 1, 2, 3, 4]))
    (1.0, 3.0)
    >>> middle_range(ValueCounts.of([0] * 20 + [1, 2, 3, 4, 5]))
    (0.0, 4.0)
    """
    low, high = quartiles(column)
    if low < high or len(column.values) == 1:
        return low, high
    others = column.where(column.values != low)
    if others.n_cells < RARE * column.n_cells:
        nearest = float(others.values[np.abs(others.values - low).argmin()])
        return min(low, nearest), max(low, nearest)
    other_low, other_high = quartiles(others)
    return min(low, other_low), max(high, other_high)


def winsorized_scale(column: ValueCounts) -> float:
    """Return the standard deviation of the cells after those far out are drawn in.

    Parameters
    ----------
    column : ValueCounts

    Returns
    -------
    scale : float
        Values are clipped to three times the width of :func:`middle_range` beyond it
        first, which no normal value but one in a million is. A column of two values has
        at least their difference, so that a rare category is not far out by itself,
        unless fewer than 1 % of the cells have it. A constant column has 1, also if it
        is constant but for rounding.

    Examples
    --------
    >>> round(winsorized_scale(ValueCounts.of([-2, -1, 0, 1, 2])) ** 2, 6)
    2.0
    >>> round(winsorized_scale(ValueCounts.of([-2, -1, 0, 1, 7e9])) ** 2, 6)  # as 7
    10.0
    >>> winsorized_scale(ValueCounts.of([0, 0, 0, 0, 5]))
    5.0
    """
    low, high = middle_range(column)
    width = high - low
    if width == 0.0:
        return 1.0
    values = np.clip(column.values, low - FAR * width, high + FAR * width)
    # In units of the width, so that squares stay in the range of float64.
    scaled = (values - low) / width
    shares = column.counts / column.n_cells
    scale = width * float(np.sqrt(shares @ (scaled - shares @ scaled) ** 2))
    if len(values) == 2 and shares.min() >= RARE:
        scale = max(scale, float(np.ptp(column.values)))
    return 1.0 if is_rounding(scale, values) else scale


def robust_scales(features: NDArray[np.floating]) -> Float64:
    """Return the winsorized scale of each column.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)
        Finite numbers.

    Returns
    -------
    scales : ndarray of shape (n_features,)
        Positive.

    Examples
    --------
    >>> robust_scales(np.array([[0.0, 7.0], [5.0, 7.0]]))
    array([5., 1.])
    """
    columns = (ValueCounts.of(column) for column in features.T)
    return np.array([winsorized_scale(column) for column in columns])


def is_rounding(spread: float, values: ArrayLike) -> bool:
    """Tell whether the spread of values is zero, but for what rounding leaves.

    Examples
    --------
    >>> is_rounding(0.2, [1.0, 1.2]), is_rounding(1e-17, [0.1, 0.1])
    (False, True)
    """
    magnitude = np.abs(np.asarray(values, np.float64)).max(initial=0.0)
    return not bool(spread > ROUNDING * magnitude)
