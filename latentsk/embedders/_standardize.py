"""Standardized features for networks, original units for users."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from latentsk.embedders._blocks import row_blocks

Float64 = NDArray[np.float64]


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
    >>> standardizer.tensor(np.array([[4.0, 8.0]]), torch.float32)
    tensor([[1., 1.]])
    """

    mean: Float64
    scale: Float64

    @classmethod
    def of(cls, X: NDArray[Any]) -> Standardizer:
        """Return the means and standard deviations of features, block by block.

        A constant feature gets the scale one: it becomes zero, and a deviation from it
        keeps its unit instead of being divided by rounding noise.
        """
        # Around the first row, so that a large mean costs no digits.
        origin = X[0].astype(np.float64)
        total = np.zeros_like(origin)
        squares = np.zeros_like(origin)
        for block in row_blocks(X):
            centred = block - origin
            total += centred.sum(axis=0)
            squares += np.square(centred).sum(axis=0)
        mean = total / len(X)
        variance = np.maximum(squares / len(X) - mean**2, 0.0)
        rounding = 10.0 * np.finfo(np.float64).eps * squares / len(X)
        scale = np.where(variance > rounding, np.sqrt(variance), 1.0)
        return cls(origin + mean, scale)

    @classmethod
    def identity(cls, n_features: int) -> Standardizer:
        """Return the one that changes nothing."""
        return cls(np.zeros(n_features), np.ones(n_features))

    def tensor(self, X: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
        """Return standardized rows as a tensor; float64 data are never copied whole."""
        result = torch.empty(X.shape, dtype=dtype)
        start = 0
        for block in row_blocks(X):
            stop = start + len(block)
            standardized = (block - self.mean) / self.scale
            result[start:stop] = torch.from_numpy(standardized)
            start = stop
        return result

    def original(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return rows in original units, in their own dtype."""
        return (rows * self.scale + self.mean).astype(rows.dtype)
