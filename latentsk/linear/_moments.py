"""Exact moments of rows that come in chunks (Chan, Golub & LeVeque, 1983)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._array_api import device

from latentsk._chunks import row_blocks

# Squared mean over total variance from which X.T @ X - n mean mean.T loses digits.
OFF_CENTRE_RATIO = 100.0
TOO_LARGE = (
    "X has values so large that their squares leave the range of its dtype. Scale the "
    "features, with a StandardScaler or by dividing them."
)


class Moments(NamedTuple):
    """Number, mean and scatter (sum of centred outer products) of rows, in float64.

    Each row has a weight, 1 or one that has been lowered since. The mean is the
    weighted one, and the scatter a weighted sum.

    Attributes
    ----------
    n_rows : int
    mean : array of shape (n_features,)
    scatter : array of shape (n_features, n_features)
    weight : float
        Sum of the weights.
    pair_weight : float
        Sum of the products of two different rows' weights, over all ordered pairs.
    """

    n_rows: int
    mean: Any
    scatter: Any
    weight: float
    pair_weight: float

    @property
    def degrees_of_freedom(self) -> float:
        """What the scatter is divided by for an unbiased covariance.

        ``w - sum(w_i^2) / w`` for weights `w_i` that add up to `w`, without
        cancellation; ``n_rows - 1`` where all weights are 1.

        Examples
        --------
        >>> counted(3, np.zeros(1), np.eye(1)).degrees_of_freedom
        2.0
        """
        return self.pair_weight / self.weight

    @property
    def n_effective(self) -> float:
        """Number of equally weighted rows that are worth as much (Kish, 1965).

        ``w^2 / sum(w_i^2)``; `n_rows` where all weights are 1.

        Examples
        --------
        >>> counted(3, np.zeros(1), np.eye(1)).n_effective
        3.0
        """
        squared = self.weight * self.weight
        return squared / (squared - self.pair_weight)


def counted(n_rows: int, mean: Any, scatter: Any) -> Moments:
    """Return the moments of rows that all count alike.

    Examples
    --------
    >>> counted(3, np.zeros(1), np.eye(1)).pair_weight
    6
    """
    return Moments(n_rows, mean, scatter, n_rows, n_rows * (n_rows - 1))


def merge(first: Moments, second: Moments) -> Moments:
    """Return the moments of two sets of rows together; nothing large cancels.

    Parameters
    ----------
    first, second : Moments
        Left as they are.

    Examples
    --------
    >>> one = counted(1, np.array([0.0]), np.array([[0.0]]))
    >>> both = merge(one, one._replace(mean=np.array([2.0])))
    >>> both.n_rows, both.mean, both.scatter
    (2, array([1.]), array([[2.]]))
    """
    weight = first.weight + second.weight
    step = second.mean - first.mean
    # One new matrix, and sums in place: the scatter may be much of the memory.
    scatter = step[:, None] * step[None, :]
    scatter *= first.weight * second.weight / weight
    scatter += first.scatter
    scatter += second.scatter
    between = 2 * first.weight * second.weight
    return Moments(
        first.n_rows + second.n_rows,
        first.mean + step * (second.weight / weight),
        scatter,
        weight,
        first.pair_weight + second.pair_weight + between,
    )


def faded(moments: Moments, factor: float) -> Moments:
    """Return moments in which every row has a weight so many times lower.

    Examples
    --------
    >>> half = faded(counted(4, np.zeros(1), np.eye(1)), 0.5)
    >>> half.weight, half.scatter, half.n_effective
    (2.0, array([[0.5]]), 4.0)
    """
    if factor == 1.0:
        return moments
    return moments._replace(
        scatter=moments.scatter * factor,
        weight=moments.weight * factor,
        pair_weight=moments.pair_weight * factor * factor,
    )


def moments_of(X: Any, xp: Any = np, forgetting_factor: float = 1.0) -> Moments:
    """Return the moments of rows, a block at a time: `X` is never copied whole.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_rows, n_features)

    xp : module
        Its namespace.

    forgetting_factor : float in (0, 1], default=1.0
        By what the weight of a row falls with every row that follows.

    Examples
    --------
    >>> moments_of(np.array([[1.0], [3.0]])).scatter
    array([[2.]])
    >>> moments_of(np.array([[1.0], [3.0]]), forgetting_factor=0.25).mean
    array([2.6])
    """
    total: Moments | None = None
    for block in row_blocks(X):
        block = xp.astype(block, xp.float64)
        if forgetting_factor == 1.0:
            part = _of_equal_rows(block, xp)
        else:
            part = _of_fading_rows(block, forgetting_factor, xp)
        if total is None:
            total = part
        else:
            total = merge(faded(total, forgetting_factor**part.n_rows), part)
    assert total is not None, "moments of no rows"
    return total


def _of_equal_rows(block: Any, xp: Any) -> Moments:
    # The mean of a copy around its first row is exact enough at any offset.
    mean = block[0, :] + xp.mean(block - block[0, :], axis=0)
    block = block - mean
    return counted(block.shape[0], mean, block.T @ block)


def _of_fading_rows(block: Any, factor: float, xp: Any) -> Moments:
    """Return the moments of rows, the last of which has the weight 1."""
    n_rows = block.shape[0]
    with np.errstate(under="ignore"):  # of rows that are forgotten
        weights = factor ** np.arange(n_rows - 1.0, -1.0, -1.0)
        # Each row with those after it: nothing cancels.
        later = np.cumsum(weights[::-1])[::-1] - weights
        pair_weight = 2.0 * float(weights @ later)
    weight = float(weights.sum())
    shares = xp.asarray(weights / weight, device=device(block))[:, None]
    last = block[n_rows - 1, :]
    mean = last + xp.sum((block - last) * shares, axis=0)
    block = (block - mean) * xp.sqrt(shares)
    return Moments(n_rows, mean, block.T @ block * weight, weight, pair_weight)


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
