"""The rows of a space in float32, with what fast products and their bounds need."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_chunks
from latentsk._typing import Float32, Positions
from latentsk.index._buffers import GrowingArray
from latentsk.index._metric import MetricSpace, lengths

# For rounding, where lengths have to be bounds.
LENGTH_MARGIN = 1.001


class FastRows:
    """Rows of a space, rescaled to float32.

    A copy, unless the vectors serve as they are; of quantized vectors none, and rows
    are decoded whenever they are asked for.

    Parameters
    ----------
    space : MetricSpace
        The rows in full precision.

    Attributes
    ----------
    largest_norm : float
        No rescaled row is longer.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, space: MetricSpace) -> None:
        self.space = space
        self._rows = None
        if isinstance(space.vectors, np.ndarray):
            self._rows = GrowingArray(_rescaled(space))
        norms = None if space.is_similarity else squared_norms(self)
        self._norms = None if norms is None else GrowingArray(norms)
        largest = math.nan if norms is None else float(norms.max())
        if 0.0 < largest < math.inf:
            self.largest_norm = LENGTH_MARGIN * math.sqrt(largest)
        else:
            self.largest_norm = self._bound_norms(row_chunks(*self.shape))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and of coordinates in the space."""
        return len(self.space.vectors), self.space.n_features

    def __len__(self) -> int:
        return len(self.space.vectors)

    def __getitem__(self, which: Any) -> Float32:
        if self._rows is None:
            return self.space.fast_rows(which)
        return self._rows.rows[which]

    @property
    def array(self) -> Float32 | None:
        """All rows; None where they are decoded when they are asked for."""
        return None if self._rows is None else self._rows.rows

    @property
    def norms(self) -> Float32 | None:
        """Squared lengths of the rows; None for inner products."""
        return None if self._norms is None else self._norms.rows

    @property
    def is_copy(self) -> bool:
        """Whether the rows take memory besides the vectors."""
        return self._rows is not None and not np.shares_memory(
            self._rows.rows, self.space.vectors
        )

    def revise(self, changed: Positions) -> None:
        """Follow the space, in which some rows are new or changed."""
        if self._rows is not None and self.space.is_rescaled(np.float32):
            self._rows = GrowingArray(self.space.vectors)
        elif self._rows is not None:
            self._rows.assign(changed, self.space.fast_rows(changed))
        if self._norms is not None:
            self._norms.assign(changed, squared_norms(self[changed]))
        self.largest_norm = max(self.largest_norm, self._bound_norms([changed]))

    def _bound_norms(self, parts: Iterable[Any]) -> float:
        """Return a bound on the lengths of rescaled rows, in float64."""
        longest = 0.0
        for part in parts:
            rows = self.space.rescaled(self.space.rows(part), np.float64)
            longest = max(longest, float(lengths(rows).max()))
        return LENGTH_MARGIN * longest


def squared_norms(rows: Any) -> NDArray[Any]:
    """Return the squared length of each row, summed in float64, in the rows' dtype."""
    norms = np.empty(len(rows), dtype=rows.dtype)
    for part in row_chunks(*rows.shape):
        norms[part] = np.sum(np.square(rows[part], dtype=np.float64), axis=1)
    return norms


def _rescaled(space: MetricSpace) -> Float32:
    """Return all rows in float32; the vectors themselves where they serve."""
    if space.is_rescaled(np.float32):
        return space.vectors
    rows = np.empty((len(space.vectors), space.n_features), dtype=np.float32)
    for part in row_chunks(*rows.shape):
        rows[part] = space.fast_rows(part)
    return rows
