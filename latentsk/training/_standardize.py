"""Standardized features for networks, original units for users."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from latentsk._chunks import row_blocks
from latentsk._typing import Float64

# Mean squares below this have lost digits.
TINY = np.finfo(np.float64).tiny / np.finfo(np.float64).eps


def network_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """Return the dtype in which a network sees rows: float32 if it holds them exactly.

    Examples
    --------
    >>> network_dtype(np.dtype("uint8")), network_dtype(np.dtype("int64"))
    (torch.float32, torch.float64)
    """
    exact = np.can_cast(dtype, np.float32, casting="safe")
    return torch.float32 if exact else torch.float64


class Moments(NamedTuple):
    """Number, means and standard deviations of the rows seen so far, in float64.

    Attributes
    ----------
    n_rows : int
    mean : ndarray of shape (n_features,)
    deviation : ndarray of shape (n_features,)
        Zero where it is no more than rounding noise.

    Examples
    --------
    >>> first, rest = np.array([[0.0]]), np.array([[4.0], [8.0], [2.0], [1.0]])
    >>> Moments.of(first).merged(Moments.of(rest))
    Moments(n_rows=5, mean=array([3.]), deviation=array([2.82842712]))
    """

    n_rows: int
    mean: Float64
    deviation: Float64

    @classmethod
    def of(cls, X: NDArray[Any], n_groups: int | None = None) -> Moments:
        """Return the moments of rows, block by block.

        With `n_groups` equal groups of consecutive features, such as the channels of an
        image, the features of a group share one mean and one deviation.
        """
        # Around the first row, so that a large mean costs no digits.
        origin = X[0].astype(np.float64)
        unit = np.ones_like(origin)
        mean, mean_square = _moments(X, origin, unit)
        if ((mean_square < TINY) & (mean != 0)).any():
            # Squares vanish in float64: count in units of the largest value.
            unit = _largest(X, origin)
            mean, mean_square = _moments(X, origin, unit)
        variance = np.maximum(mean_square - mean**2, 0.0)
        rounding = 10.0 * np.finfo(np.float64).eps * mean_square
        deviation = unit * np.sqrt(np.where(variance > rounding, variance, 0.0))
        mean = origin + unit * mean
        if n_groups is not None:
            mean, deviation = _pooled(mean, deviation, n_groups)
        dtype = X.dtype if X.dtype.kind == "f" else np.dtype(np.float64)
        constant = deviation <= np.finfo(dtype).eps * np.abs(mean)
        return cls(len(X), mean, np.where(constant, 0.0, deviation))

    def merged(self, other: Moments) -> Moments:
        """Return the moments of the rows of both (Chan et al., 1983)."""
        n_rows = self.n_rows + other.n_rows
        share = other.n_rows / n_rows
        distance = other.mean - self.mean
        # One constant in float32 and in float64 is no other one.
        equal = np.abs(distance) <= np.finfo(np.float32).eps * np.abs(self.mean)
        constant = equal & (self.deviation == 0) & (other.deviation == 0)
        distance = np.where(constant, 0.0, distance)
        within = np.hypot(
            np.sqrt(1.0 - share) * self.deviation, np.sqrt(share) * other.deviation
        )
        between = np.sqrt(share * (1.0 - share)) * distance
        return Moments(n_rows, self.mean + share * distance, np.hypot(within, between))

    def standardizer(self) -> Standardizer:
        """Return the shift and scale of each feature.

        A constant feature gets the scale one: it becomes zero, and a deviation from it
        keeps its unit instead of being divided by rounding noise.
        """
        scale = np.where(self.deviation > 0, self.deviation, 1.0)
        return Standardizer(self.mean, scale)


class Standardizer(NamedTuple):
    """Shift and scale of each feature, in float64.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
    scale : ndarray of shape (n_features,)

    Examples
    --------
    >>> standardizer = Standardizer.of(np.array([[0.0, 7.0], [4.0, 7.0]]))
    >>> standardizer
    Standardizer(mean=array([2., 7.]), scale=array([2., 1.]))
    >>> standardizer.apply(np.array([[4.0, 8.0]]), torch.float32)
    tensor([[1., 1.]])
    """

    mean: Float64
    scale: Float64

    @classmethod
    def of(cls, X: NDArray[Any], n_groups: int | None = None) -> Standardizer:
        """Return the one of some rows, whose groups of features share it, if any."""
        return Moments.of(X, n_groups).standardizer()

    @classmethod
    def identity(cls, n_features: int) -> Standardizer:
        """Return the one that changes nothing."""
        return cls(np.zeros(n_features), np.ones(n_features))

    def at(self, places: Any) -> Standardizer:
        """Return that of some features."""
        return Standardizer(self.mean[places], self.scale[places])

    def apply(self, block: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
        """Return some standardized rows as a tensor."""
        kept = np.float32 if dtype == torch.float32 else np.float64
        if self._changes_nothing() and block.dtype == kept:
            return _writeable(block)
        if block.dtype == np.float32:
            # A mean in two parts, so that none of it is rounded away.
            coarse = self.mean.astype(np.float32)
            centred = block - coarse
            centred -= (self.mean - coarse).astype(np.float32)
            with np.errstate(over="ignore"):  # infinite, where float32 ends
                centred /= self.scale.astype(np.float32)
            return torch.from_numpy(centred).to(dtype)
        with np.errstate(over="ignore"):  # infinite, where float64 ends
            return torch.from_numpy((block - self.mean) / self.scale).to(dtype)

    def tensor(self, X: NDArray[Any]) -> torch.Tensor:
        """Return all standardized rows in float32; nothing else is copied whole."""
        if self._changes_nothing() and X.dtype == np.float32:
            return _writeable(X)
        result = torch.empty(X.shape, dtype=torch.float32)
        start = 0
        for block in row_blocks(X):
            stop = start + len(block)
            result[start:stop] = self.apply(block, torch.float32)
            start = stop
        return result

    def original(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return rows in original units, in their own dtype."""
        with np.errstate(over="ignore"):
            return (rows * self.scale + self.mean).astype(rows.dtype)

    def _changes_nothing(self) -> bool:
        return not self.mean.any() and bool((self.scale == 1.0).all())


def _moments(
    X: NDArray[Any], origin: Float64, unit: Float64
) -> tuple[Float64, Float64]:
    """Return the means and mean squares around an origin, in some unit."""
    total, squares = np.zeros_like(origin), np.zeros_like(origin)
    for block in row_blocks(X):
        centred = (block - origin) / unit
        total += centred.sum(axis=0)
        squares += np.square(centred, out=centred).sum(axis=0)
    return total / len(X), squares / len(X)


def _largest(X: NDArray[Any], origin: Float64) -> Float64:
    """Return each feature's largest distance from an origin, or one."""
    largest = np.zeros_like(origin)
    for block in row_blocks(X):
        np.maximum(largest, np.abs(block - origin).max(axis=0), out=largest)
    return np.where(largest > 0, largest, 1.0)


def _pooled(
    mean: Float64, deviation: Float64, n_groups: int
) -> tuple[Float64, Float64]:
    """Return each group's mean and standard deviation, for every feature of it."""
    width = len(mean) // n_groups
    means = mean.reshape(n_groups, width)
    common = means.mean(axis=1, keepdims=True)
    deviations = deviation.reshape(n_groups, width)
    shared = np.sqrt((deviations**2 + (means - common) ** 2).mean(axis=1))
    return np.repeat(common[:, 0], width), np.repeat(shared, width)


def _writeable(block: NDArray[Any]) -> torch.Tensor:
    """Share the rows with torch, which takes no read-only memory."""
    return torch.from_numpy(np.require(block, requirements=["C", "W"]))
