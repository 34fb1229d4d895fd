"""Exact moments of rows that come in chunks (Chan, Golub & LeVeque, 1983)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from latentsk._chunks import row_blocks

# Squared mean over total variance from which X.T @ X - n mean mean.T loses digits.
OFF_CENTRE_RATIO = 100.0
TOO_LARGE = (
    "X has values so large that their squares leave the range of its dtype. Scale the "
    "features, with a StandardScaler or by dividing them."
)


class Moments(NamedTuple):
    """Number, mean and scatter (sum of centred outer products) of rows, in float64.

    Attributes
    ----------
    n_rows : int
    mean : array of shape (n_features,)
    scatter : array of shape (n_features, n_features)
    """

    n_rows: int
    mean: Any
    scatter: Any


def merge(first: Moments, second: Moments) -> Moments:
    """Return the moments of two sets of rows together; nothing large cancels.

    Parameters
    ----------
    first, second : Moments
        Left as they are.

    Examples
    --------
    >>> one = Moments(1, np.array([0.0]), np.array([[0.0]]))
    >>> merge(one, one._replace(mean=np.array([2.0])))
    Moments(n_rows=2, mean=array([1.]), scatter=array([[2.]]))
    """
    n_rows = first.n_rows + second.n_rows
    step = second.mean - first.mean
    # One new matrix, and sums in place: the scatter may be much of the memory.
    scatter = step[:, None] * step[None, :]
    scatter *= first.n_rows * second.n_rows / n_rows
    scatter += first.scatter
    scatter += second.scatter
    return Moments(n_rows, first.mean + step * (second.n_rows / n_rows), scatter)


def moments_of(X: Any, xp: Any = np) -> Moments:
    """Return the moments of rows, a block at a time: `X` is never copied whole.

    Examples
    --------
    >>> moments_of(np.array([[1.0], [3.0]]))
    Moments(n_rows=2, mean=array([2.]), scatter=array([[2.]]))
    """
    total: Moments | None = None
    for block in row_blocks(X):
        # The mean of a copy around its first row is exact enough at any offset.
        block = xp.astype(block, xp.float64)
        mean = block[0, :] + xp.mean(block - block[0, :], axis=0)
        block = block - mean
        part = Moments(block.shape[0], mean, block.T @ block)
        total = part if total is None else merge(total, part)
    assert total is not None, "moments of no rows"
    return total


def in_range(rows: Any, xp: Any = np) -> Any:
    """Return what was computed from rows, if it is all finite.

    Raises
    ------
    ValueError
        If it has left the range of its dtype.

    Examples
    --------
    >>> in_range(np.array([[1e308, 1.0]]))
    array([[1.e+308, 1.e+000]])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        # One pass without another array; a sum of finite values may overflow by itself.
        is_finite = math.isfinite(float(xp.sum(rows)))
    if not is_finite and not bool(xp.all(xp.isfinite(rows))):
        raise ValueError(
            f"X has values so large that results leave the range of {rows.dtype}. "
            "Scale or correct them, or pass float64."
        )
    return rows


def is_off_centre(mean: Any, total_variance: float, xp: Any = np) -> bool:
    """Tell whether data lie so far from the origin that products of them cancel.

    Examples
    --------
    >>> is_off_centre(np.array([1e3, 0.0]), 1.0), is_off_centre(np.array([3.0]), 1.0)
    (True, False)
    """
    mean = xp.astype(
        mean, xp.float64, copy=False
    )  # squares may leave the range of float32
    return float(xp.sum(mean * mean)) > OFF_CENTRE_RATIO * total_variance


def off_centre_shift(sample: Any, xp: Any = np) -> Any | None:
    """Return what to subtract from data before their products, or None for nothing.

    Parameters
    ----------
    sample : array of shape (n_samples, n_features)
        A few rows of the data.

    xp : module
        Their namespace.

    Raises
    ------
    ValueError
        If squares of the centred rows leave the range of their dtype.

    Examples
    --------
    >>> off_centre_shift(np.array([[999.0], [1001.0]])), off_centre_shift(np.eye(2))
    (array([1000.]), None)
    """
    rows = xp.astype(sample, xp.float64, copy=False)
    mean = xp.mean(rows, axis=0)
    # Cancellation here leaves too small a variance: off-centre, as it should be.
    mean_square = float(xp.sum(rows * rows)) / rows.shape[0]
    total_variance = mean_square - float(xp.sum(mean * mean))
    if total_variance * rows.shape[0] > float(xp.finfo(sample.dtype).max):
        raise ValueError(TOO_LARGE)
    is_far = is_off_centre(mean, total_variance, xp)
    return xp.astype(mean, sample.dtype) if is_far else None
