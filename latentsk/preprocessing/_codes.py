"""Codes in a column of numbers, such as -999, 9999 or 0 for what is not known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float64
from latentsk.preprocessing._columns import (
    FAR,
    ValueCounts,
    is_rounding,
    median,
    middle_range,
    quartiles,
)

# A code is the value of 1 % to 25 % of the cells, and of two at least.
LEAST_CELLS, LEAST_SHARE, MOST_SHARE = 2, 0.01, 0.25
# Of a law without tails, a code may be nearer, behind an empty space: so many
# interquartile ranges from the quartile, and from the next value.
SHORT, EMPTY = 2.0, 1.5
# Cells of other values out there, over the cells of the code: a few extremes.
MOST_RIVALS = 0.4
# More values on one side are a cluster: integers around a second mode, say.
MOST_CODES = 5
# Values nearer than this share of a code's distance may belong to the same law as it;
# those beyond are its companions, as -998 is to -999.
COMPANION = 0.75
# Of fewer different values no law can be told: a code is this many ranges away.
FEW, VERY_FAR = 12, 10.0
# How much of its quartiles' ratio a tail is continued by: without, and with rivals.
TAIL, TAIL_WITH_RIVALS = 0.75, 1.0
# Share of the cells that a presumed code counts with, at most, in the law of a farther
# one: -99 says little of whether -999 is a code.
HEARSAY = 0.05
# Cells that differ from a code by less are the code, as after a cast to float32: a
# share of it, and of the scale of the column.
ROUNDED, SAME = 1e-6, 0.1


def find_codes(column: ValueCounts) -> Float64:
    """Return the values of a column that are codes: repeated, and far from the rest.

    Parameters
    ----------
    column : ValueCounts

    Returns
    -------
    codes : ndarray of shape (n_codes,), ascending
        Values that

        - at least 1 % and at most 25 % of the cells have, and at least two;
        - lie outside the far fences of the other cells, codes left out, or two
          interquartile ranges outside the quartiles and 1.5 from any other value (for
          columns with few values, ten ranges away);
        - stand alone: beyond half way from the median there are at most 0.4 times as
          many other cells, and the tail on their side, as it grows from its first to
          its third quartile, does not come near them. So the end of a long tail is
          none, a cap included, nor is a value in a cluster.

        Together they have at most half of the cells; the others have two values at
        least.

    Notes
    -----
    All candidates but the central ones are taken out. Those that do not stand out from
    the rest go back to it, until all do: two codes do not hide each other.

    Examples
    --------
    >>> ages = np.random.default_rng(0).integers(18, 90, size=300)
    >>> ages[:20] = -999
    >>> find_codes(ValueCounts.of(ages))
    array([-999.])
    >>> find_codes(ValueCounts.of([0] * 280 + [1] * 20))
    array([], dtype=float64)
    """
    is_code = _is_candidate(column)
    is_code[_central(column, is_code)] = False
    while is_code.any():
        kept = is_code.copy()
        kept[is_code] = _stand_out(column, is_code)
        if (kept == is_code).all():
            kept = _without_clusters(column, is_code)
        if (kept == is_code).all():
            break
        is_code = kept
    return column.values[is_code]


def _is_candidate(column: ValueCounts) -> NDArray[np.bool_]:
    share = column.counts / column.n_cells
    is_repeated = column.counts >= LEAST_CELLS
    return is_repeated & (share >= LEAST_SHARE) & (share <= MOST_SHARE)


def _central(column: ValueCounts, is_candidate: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return which candidates are no codes, so that half the cells are of others."""
    candidates = np.flatnonzero(is_candidate)
    # Codes of half of the cells would hold the median, if each counted in full.
    limited = np.minimum(column.counts, 1 + column.n_cells // 10)
    center = median(column._replace(counts=limited))
    distances = np.abs(column.values[candidates] - center)
    nearest = candidates[np.argsort(distances, kind="stable")]
    n_cells = column.counts[~is_candidate].sum()
    n_missing = 2 - (len(column.values) - len(candidates))
    cells_before = n_cells + column.counts[nearest].cumsum() - column.counts[nearest]
    needed = 2 * cells_before < column.n_cells
    needed[: max(n_missing, 0)] = True
    return nearest[needed]


def _without_clusters(
    column: ValueCounts, is_code: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    is_above = column.values > median(column.where(~is_code))
    kept = is_code.copy()
    for side in (is_above, ~is_above):
        if (is_code & side).sum() > MOST_CODES:
            kept &= ~side
    return kept


def _stand_out(column: ValueCounts, is_code: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which of the presumed codes are far from the others, and alone."""
    codes, others = column.where(is_code), column.where(~is_code)
    low, high = middle_range(others)
    center = median(others)
    edges = np.clip(codes.values, low, high)
    rivals = _cells_beyond(others, center, codes.values)
    beyond, width = np.abs(codes.values - edges), high - low
    is_isolated = _gaps(others, codes.values) > EMPTY * width
    found = (beyond > FAR * width) | (is_isolated & (beyond > SHORT * width))
    found &= rivals <= MOST_RIVALS * codes.counts
    most = np.where(is_code, 1 + int(HEARSAY * column.n_cells), column.n_cells)
    column = column._replace(counts=np.minimum(column.counts, most))
    for i in np.flatnonzero(found):
        power = TAIL_WITH_RIVALS if rivals[i] else TAIL
        found[i] = _is_beyond_law(column, others, float(codes.values[i]), power)
    return found


def _gaps(others: ValueCounts, values: Float64) -> Float64:
    """Return the distance from each value to the nearest other one."""
    return np.abs(others.values - values[:, None]).min(axis=1)


def _cells_beyond(others: ValueCounts, center: float, values: Float64) -> Float64:
    """Return how many cells lie at least half way from the centre to each value."""
    half = 0.5 * center + 0.5 * values
    cells = np.concatenate([[0], others.counts.cumsum()])
    below = cells[np.searchsorted(others.values, half, side="right")]
    above = cells[-1] - cells[np.searchsorted(others.values, half, side="left")]
    return np.where(values > center, above, below)


def _is_beyond_law(
    column: ValueCounts, others: ValueCounts, value: float, power: float
) -> bool:
    """Tell whether a value lies beyond what the law of the nearer ones leads to."""
    low, high = middle_range(others)
    center = median(others)
    distance = abs(value - center)
    if is_rounding(distance, (value, center)):
        return False
    nearer = _nearer(column, center, value)
    if (np.abs(column.values - center) < COMPANION * distance).sum() < FEW:
        reach = nearer.values.max(initial=high - low)
        return max(value - high, low - value) > VERY_FAR * reach
    return distance > _tail_fence(nearer, power)


def _nearer(column: ValueCounts, center: float, value: float) -> ValueCounts:
    """Return the distances of nearer cells from the centre, on the side of a value."""
    order = slice(None, None, 1 if value > center else -1)
    values, counts = column.values[order], column.counts[order]
    distances = (values - center) * (1.0 if value > center else -1.0)
    is_nearer = (distances > 0.0) & (distances < COMPANION * abs(value - center))
    return ValueCounts(distances[is_nearer], counts[is_nearer])


def _tail_fence(distances: ValueCounts, power: float) -> float:
    """Return how far a tail may reach that grows as between its quartiles."""
    if len(distances.values) == 0:
        return 0.0
    low, high = quartiles(distances)
    return high * (high / low) ** power


def is_code(cells: NDArray[Any], codes: Float64, scales: Float64) -> NDArray[np.bool_]:
    """Tell which cells are a code, up to rounding.

    Parameters
    ----------
    cells : ndarray of shape (n_rows, n_codes)

    codes : ndarray of shape (n_codes,)
        NaN stands for what is missing.

    scales : ndarray of shape (n_codes,)
        Of the columns of the codes, which limits what is rounding.

    Returns
    -------
    is_code : ndarray of shape (n_rows, n_codes), bool

    Examples
    --------
    >>> cells = np.array([[999.1], [999.2]], np.float32)
    >>> is_code(cells, np.array([999.1]), np.array([5.0])).ravel()
    array([ True, False])
    """
    tolerance = np.minimum(ROUNDED * np.abs(codes), SAME * scales)
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.abs(cells - codes) <= tolerance
    return found | (np.isnan(codes) & (cells != cells))


def name_of_code(value: float) -> str:
    """Return a code in few digits, but all that it has.

    Examples
    --------
    >>> name_of_code(-999.0), name_of_code(1e6), name_of_code(9999999.0)
    ('-999', '1e+06', '9999999.0')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))
