"""Where the windows of series lie, and values of windows as values of steps."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk._group_labels import group_labels
from latentsk._typing import Float64, Positions

TIMES = pd.DatetimeIndex | pd.TimedeltaIndex | pd.PeriodIndex
MaxGap = str | float | datetime.timedelta | np.timedelta64 | None


class Windows(NamedTuple):
    """Where windows lie among the steps of series.

    Attributes
    ----------
    order : ndarray of shape (n_steps,), dtype intp
        Positions of the steps, one series after the other.
    starts : ndarray of shape (n_windows,), dtype intp
        Where in that order each window begins. Windows are ordered by their last step.
    length : int
        Number of steps of a window.
    """

    order: Positions
    starts: Positions
    length: int

    def steps(self, number: int) -> Positions:
        """Return the position of the step with some number in each window, from 0."""
        return self.order[self.starts + number]

    @property
    def last_steps(self) -> Positions:
        """Position of the last step of each window."""
        return self.steps(self.length - 1)


def windows_of(
    X: Any, n_steps: int, length: int, step: int, groups: Any, max_gap: MaxGap
) -> Windows:
    """Lay windows into series; none crosses the end of one, or a gap.

    Parameters
    ----------
    X : array-like of n_steps rows
        Its index, if it is a DataFrame, holds the times.

    n_steps : int

    length, step : int
        Steps of a window, and from the begin of one to that of the next.

    groups : array-like of shape (n_steps,) or None
        The series of each step. None: all levels of a MultiIndex but the last, else
        one series.

    max_gap : duration, number or None
        Windows do not cross larger differences of the times.

    Returns
    -------
    windows : Windows

    Raises
    ------
    ValueError
        If times do not increase, there are none where they are needed, or no stretch
        of steps is long enough.
    """
    codes, times = _codes(groups, X, n_steps), times_of(X)
    order = np.argsort(codes, kind="stable")
    is_begin = np.diff(codes[order], prepend=-1) != 0
    limit = gap_limit(times, max_gap)
    if times is not None and (limit is not None or isinstance(times, TIMES)):
        is_begin |= _is_after_gap(times[order], order, is_begin, limit)
    stretches = np.diff(np.append(np.flatnonzero(is_begin), n_steps))
    require_length(int(stretches.max()), length, n_steps)
    starts = window_starts(is_begin, length, min(step, n_steps))
    last = order[starts + length - 1]
    return Windows(order, starts[np.argsort(last, kind="stable")], length)


def require_length(longest: int, length: int, n_steps: int) -> None:
    """Refuse series of which the longest stretch is shorter than a window.

    Raises
    ------
    ValueError
    """
    if longest < length:
        raise ValueError(
            f"X must have at least length={length} steps of one series in a row, got "
            f"{longest} of n_samples={n_steps}. Give more steps, or take shorter "
            "windows."
        )


def window_starts(is_begin: NDArray[np.bool_], length: int, step: int) -> Positions:
    """Return where windows begin that lie within one stretch of steps.

    Parameters
    ----------
    is_begin : ndarray of shape (n_steps,), dtype bool
        Whether a stretch begins; at the first step one does.

    length, step : int

    Returns
    -------
    starts : ndarray of shape (n_windows,), dtype intp

    Examples
    --------
    >>> is_begin = np.array([True, False, False, False, True, False, False])
    >>> window_starts(is_begin, length=3, step=1)
    array([0, 1, 4])
    """
    begins = np.flatnonzero(is_begin)
    sizes = np.diff(np.append(begins, len(is_begin)))
    counts = np.maximum((sizes - length) // step + 1, 0)
    before = np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(begins, counts) + step * (np.arange(counts.sum()) - before)


def _codes(groups: Any, X: Any, n_steps: int) -> Positions:
    """Return a number for each step, that of its series."""
    index = X.index if isinstance(X, pd.DataFrame) else None
    if groups is None and isinstance(index, pd.MultiIndex):
        groups = index.droplevel(-1)
        groups = groups.to_flat_index()
    if groups is None:
        return np.zeros(n_steps, np.intp)
    labels = group_labels(groups, X, n_steps, "groups")
    return np.asarray(pd.factorize(labels)[0], np.intp)


def times_of(X: Any) -> pd.Index | None:
    """Return the last level of an index, with the begins of periods; None: no index."""
    if not isinstance(X, pd.DataFrame):
        return None
    times = X.index.get_level_values(-1)
    return times.to_timestamp() if isinstance(times, pd.PeriodIndex) else times


def _is_after_gap(
    times: pd.Index, order: Positions, is_begin: NDArray[np.bool_], limit: Any
) -> NDArray[np.bool_]:
    """Tell which steps come after a gap; refuse times that do not increase."""
    differences = times[1:] - times[:-1]
    zero = pd.Timedelta(0) if isinstance(times, TIMES) else 0.0
    wrong = np.flatnonzero(~(np.asarray(differences > zero) | is_begin[1:]))
    if len(wrong):
        k = wrong[0]
        raise ValueError(
            f"The times of a series must increase, but {times[k + 1]} in row "
            f"{order[k + 1]} comes after {times[k]}. Sort the rows: X = "
            "X.sort_index(). If there are several series, tell them by groups."
        )
    if limit is None:
        return np.zeros(len(order), bool)
    return np.append(False, np.asarray(differences > limit))


def gap_limit(times: pd.Index | None, max_gap: MaxGap) -> Any:
    """Return the largest difference that is no gap, in the unit of the times.

    Raises
    ------
    ValueError
        If `max_gap` is of another kind than the times, or there are none.
    """
    if max_gap is None:
        return None
    if isinstance(times, TIMES):
        return _duration(max_gap)
    if times is None or times.dtype.kind not in "fiu":
        kind = "X has none" if times is None else f"that of X holds {times.dtype}"
        raise ValueError(
            f"max_gap={max_gap!r} needs an index of times or numbers, but {kind}. "
            "Give X as a DataFrame: X.set_index(times), or set max_gap=None."
        )
    if not isinstance(max_gap, Real) or not float(max_gap) > 0.0:
        raise ValueError(
            "max_gap must be a positive number, as the index of X holds numbers, got "
            f"{max_gap!r}."
        )
    return float(max_gap)


def _duration(max_gap: Any) -> pd.Timedelta:
    fault = ValueError(
        "max_gap must be a positive duration such as '10min', as the index of X holds "
        f"times, got {max_gap!r}."
    )
    # numpy takes its own durations for real numbers.
    if isinstance(max_gap, Real) and not isinstance(max_gap, np.timedelta64):
        raise fault
    try:
        duration = pd.Timedelta(max_gap)
    except ValueError:
        raise fault from None
    if not duration > pd.Timedelta(0):
        raise fault
    return duration


# What joins the values of the windows that hold a step; their shares, for the mean.
AGGREGATES: dict[str, Callable[[Float64, Float64], Float64]] = {
    "mean": np.add,
    "min": np.minimum,
    "max": np.maximum,
}


def values_of_steps(values: Float64, windows: Windows, aggregate: str) -> Float64:
    """Return the mean, least or largest value of the windows that hold each step.

    Parameters
    ----------
    values : ndarray of shape (n_windows, n_columns)

    windows : Windows

    aggregate : {"mean", "min", "max"}

    Returns
    -------
    values : ndarray of shape (n_steps, n_columns)
        NaN where no window holds the step.

    Examples
    --------
    >>> windows = Windows(np.arange(5), np.array([0, 1]), length=3)
    >>> values_of_steps(np.array([[1.0], [4.0]]), windows, "mean").ravel()
    array([1. , 2.5, 2.5, 4. , nan])
    """
    found = np.full((len(windows.order), values.shape[1]), np.nan)
    counts = np.zeros(len(found))
    for number in range(windows.length):
        counts[windows.steps(number)] += 1.0  # of different windows, no step twice
    for number in range(windows.length):
        steps = windows.steps(number)
        # The sum of scores could be too large for a float where their mean is none.
        shares = values / counts[steps, None] if aggregate == "mean" else values
        before = found[steps]
        with np.errstate(over="ignore"):
            joined = AGGREGATES[aggregate](before, shares)
        found[steps] = np.where(np.isnan(before), shares, joined)
    return within_floats(found)


def within_floats(values: Float64) -> Float64:
    """Return sums with the largest floats for what is beyond; NaN stays.

    Examples
    --------
    >>> within_floats(np.array([-np.inf, 1.0, np.nan]))
    array([-1.79769313e+308,  1.00000000e+000,              nan])
    """
    largest = np.finfo(np.float64).max
    return np.clip(values, -largest, largest)
