"""Rows kept in fewer bytes, and decoded when they are needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk.index._space import row_slices
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import either, floats, integers

# Kinds by bytes for a coordinate, the most precise first.
CODE_TYPES = {"float32": np.float32, "float16": np.float16, "int8": np.uint8}
# Steps that int8 divides a column's range into.
STEPS = 255
# How far from the middle codes are within their error, in steps.
REACH = {"float16": 1.01, "int8": (STEPS + 1) / 2}
# What float32 holds.
LARGEST, SMALLEST = float(np.finfo(np.float32).max), 2.0**-149


@storable(
    {
        "codes": either(
            floats("rows", "columns", dtypes={"float32", "float16"}),
            integers("rows", "columns", dtypes={"uint8"}),
        ),
        "middle": floats("columns", dtypes={"float32"}),
        "scale": floats("columns", least=SMALLEST, dtypes={"float32"}),
    }
)
class CompactRows:
    """A matrix that decodes the rows that are asked for.

    "float16" and "int8" hold each column relative to its middle and range: a coordinate
    is wrong by 1/4096, or 1/510, of the range at most, besides the rounding of float32,
    in which rows are decoded.

    Parameters
    ----------
    codes : ndarray of shape (n_rows, n_columns)
        Of dtype float32, float16 or uint8.

    middle, scale : ndarrays of shape (n_columns,), float32
        A coordinate is ``middle + scale * code``, with codes of uint8 counted from the
        middle of their range.

    Examples
    --------
    >>> rows = CompactRows.encode(np.array([[0.0], [1.0], [255.0]]), "int8")
    >>> rows[[2, 1]]
    array([[255.],
           [  1.]], dtype=float32)
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(
        self,
        codes: NDArray[Any],
        middle: NDArray[np.float32],
        scale: NDArray[np.float32],
    ) -> None:
        self.codes = codes
        self.middle = middle
        self.scale = scale

    def to_state(self) -> dict[str, NDArray[Any]]:
        """Return the codes, and what decodes them."""
        return {"codes": self.codes, "middle": self.middle, "scale": self.scale}

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]]) -> CompactRows:
        """Return the rows of a state."""
        return cls(**state)

    @classmethod
    def encode(cls, rows: NDArray[Any], kind: str) -> CompactRows:
        """Encode rows.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_columns), float64 or float32

        kind : {"float32", "float16", "int8"}

        Raises
        ------
        ValueError
            If a value is beyond the range of float32.
        """
        width = rows.shape[1]
        low, high = _limits(rows)
        if max(-low.min(), high.max()) > LARGEST:
            raise ValueError(
                "Vectors with values beyond the range of float32 cannot be kept in "
                "fewer bytes. Scale them."
            )
        middle, scale = np.zeros(width), np.ones(width)
        if kind != "float32":
            middle, half = 0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low
            # The middle is rounded, too: a column that is constant, or nearly, would
            # lie many steps from it.
            rounding = np.maximum(2.0**-23 * np.abs(middle), SMALLEST)
            half = np.where(half < 128.0 * rounding, half + rounding, half)
            scale = half if kind == "float16" else 2.0 * half / STEPS
            scale = np.clip(scale, SMALLEST, LARGEST)
        empty = cls(
            np.empty((0, width), CODE_TYPES[kind]),
            middle.astype(np.float32),
            _rounded_up(scale),
        )
        codes = np.empty(rows.shape, CODE_TYPES[kind])
        for part in row_slices(rows.shape):
            codes[part] = empty.coded(rows[part])
        return cls(codes, empty.middle, empty.scale)

    @property
    def kind(self) -> str:
        """What the codes are: "float32", "float16" or "int8"."""
        return {t: kind for kind, t in CODE_TYPES.items()}[self.codes.dtype.type]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.codes.shape[0], self.codes.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the codes."""
        return self.codes.nbytes

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, which: Any) -> NDArray[np.float32]:
        codes = self.codes[which]
        if codes.dtype == np.float32:
            return codes
        steps = codes.astype(np.float32)
        if codes.dtype == np.uint8:
            steps -= STEPS / 2
        return self.middle + self.scale * steps

    def coded(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the codes of further rows; a value out of range becomes its end."""
        if self.codes.dtype == np.float32:
            return rows.astype(np.float32)
        steps = self._steps(rows)
        if self.codes.dtype == np.float16:
            reach = REACH[self.kind]
            with np.errstate(under="ignore"):
                return np.clip(steps, -reach, reach).astype(np.float16)
        return np.clip(np.rint(steps + STEPS / 2), 0, STEPS).astype(np.uint8)

    def holds(self, rows: NDArray[Any]) -> bool:
        """Whether codes of further rows are as near to them as those of the first."""
        if self.codes.dtype == np.float32:
            return True
        return bool((np.abs(self._steps(rows)) <= REACH[self.kind]).all())

    def _steps(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return how far from the middle rows lie."""
        with np.errstate(over="ignore", under="ignore"):
            return (rows - self.middle.astype(np.float64)) / self.scale


def _rounded_up(scale: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to float32; a smaller scale would not reach the ends of a column."""
    nearest = scale.astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        above = np.nextafter(nearest, np.float32(np.inf))
    return np.where(nearest < scale, above, nearest)


def _limits(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the smallest and the largest value of each column."""
    low, high = np.full(rows.shape[1], np.inf), np.full(rows.shape[1], -np.inf)
    for part in row_slices(rows.shape):
        low = np.minimum(low, rows[part].min(axis=0))
        high = np.maximum(high, rows[part].max(axis=0))
    return low, high
