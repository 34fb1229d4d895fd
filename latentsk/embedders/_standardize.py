"""Standardized features for networks, original units for users."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from latentsk.embedders._blocks import row_blocks

Float64 = NDArray[np.float64]


def network_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """Return the dtype in which a network sees rows: float32 if it holds them exactly.

    Examples
    --------
    >>> network_dtype(np.dtype("uint8")), network_dtype(np.dtype("int64"))
    (torch.float32, torch.float64)
    """
    exact = np.can_cast(dtype, np.float32, casting="safe")
    return torch.float32 if exact else torch.float64


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
        """Return the means and standard deviations of features, block by block.

        A constant feature gets the scale one: it becomes zero, and a deviation from it
        keeps its unit instead of being divided by rounding noise. With `n_groups` equal
        groups of consecutive features, such as the channels of an image, the features
        of a group share one mean and one scale.
        """
        # Around the first row, so that a large mean costs no digits.
        origin = X[0].astype(np.float64)
        total = np.zeros_like(origin)
        squares = np.zeros_like(origin)
        for block in row_blocks(X):
            centred = block - origin
            total += centred.sum(axis=0)
            squares += np.square(centred, out=centred).sum(axis=0)
        mean = total / len(X)
        variance = np.maximum(squares / len(X) - mean**2, 0.0)
        rounding = 10.0 * np.finfo(np.float64).eps * squares / len(X)
        mean += origin
        if n_groups is not None:
            mean, variance = _pooled(mean, variance, n_groups)
        scale = np.where(variance > rounding, np.sqrt(variance), 1.0)
        return cls(mean, scale)

    @classmethod
    def identity(cls, n_features: int) -> Standardizer:
        """Return the one that changes nothing."""
        return cls(np.zeros(n_features), np.ones(n_features))

    def apply(self, block: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
        """Return some standardized rows as a tensor."""
        working = np.float32 if block.dtype == np.float32 else np.float64
        if self._changes_nothing() and torch.from_numpy(block[:0]).dtype == dtype:
            return _writeable(block)
        centred = block - self.mean.astype(working)
        centred /= self.scale.astype(working)
        return torch.from_numpy(centred).to(dtype)

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
        return (rows * self.scale + self.mean).astype(rows.dtype)

    def _changes_nothing(self) -> bool:
        return not self.mean.any() and bool((self.scale == 1.0).all())


def _pooled(mean: Float64, variance: Float64, n_groups: int) -> tuple[Float64, Float64]:
    """Return each group's mean and variance, for every feature of it."""
    width = len(mean) // n_groups
    means = mean.reshape(n_groups, width)
    common = means.mean(axis=1, keepdims=True)
    spread = variance.reshape(n_groups, width) + np.square(means - common)
    shared = spread.mean(axis=1)
    return np.repeat(common[:, 0], width), np.repeat(shared, width)


def _writeable(block: NDArray[Any]) -> torch.Tensor:
    """Share the rows with torch, which takes no read-only memory."""
    return torch.from_numpy(np.require(block, requirements=["C", "W"]))
