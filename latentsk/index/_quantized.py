"""Vectors kept in fewer bytes, and decoded when they are needed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._typing import Float32, Float64
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import floats, text

# Dtypes by bytes for a coordinate, the most precise first.
CODE_TYPES = {"float32": np.float32, "float16": np.float16, "int8": np.uint8}
# Steps that int8 divides a column's range into.
STEPS = 255
# How far from the middle codes are within their error, in steps.
REACH = {"float16": 1.01, "int8": (STEPS + 1) / 2}
# What float32 holds.
LARGEST, SMALLEST = float(np.finfo(np.float32).max), 2.0**-149


@storable(
    {
        "dtype": text(*CODE_TYPES),
        "middle": floats("columns", dtypes={"float32"}),
        "scale": floats("columns", least=SMALLEST, dtypes={"float32"}),
    }
)
class Quantization(NamedTuple):
    """How vectors are kept in fewer bytes.

    "float16" and "int8" hold each column relative to its middle and range: a coordinate
    is wrong by 1/4096, or 1/510, of the range at most, besides the rounding of float32,
    in which vectors are decoded.

    Attributes
    ----------
    dtype : {"float32", "float16", "int8"}
        Of the codes; "int8" are bytes counted from the middle of their range.

    middle, scale : ndarrays of shape (n_columns,), float32
        A coordinate is ``middle + scale * code``.

    Examples
    --------
    >>> rows = np.array([[0.0], [1.0], [255.0]])
    >>> quantization = Quantization.fitted(rows, "int8")
    >>> quantization.decode(quantization.encode(rows)).tolist()
    [[0.0], [1.0], [255.0]]
    """

    dtype: str
    middle: Float32
    scale: Float32

    @classmethod
    def fitted(cls, rows: Any, dtype: str) -> Quantization:
        """Return the quantization that reaches all values of some rows.

        Raises
        ------
        ValueError
            If a value is beyond the range of float32.
        """
        low, high = _limits(rows)
        if max(-low.min(), high.max()) > LARGEST:
            raise ValueError(
                "Vectors with values beyond the range of float32 cannot be kept in "
                "fewer bytes. Scale them."
            )
        middle, scale = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
        if dtype != "float32":
            middle, half = 0.5 * (low + high), 0.5 * (high - low)
            # The middle is rounded, too: a column that is constant, or nearly, would
            # lie many steps from it.
            rounding = np.maximum(2.0**-23 * np.abs(middle), SMALLEST)
            half = np.where(half < 128.0 * rounding, half + rounding, half)
            scale = half if dtype == "float16" else 2.0 * half / STEPS
            scale = np.clip(scale, SMALLEST, LARGEST)
        return cls(dtype, middle.astype(np.float32), _rounded_up(scale))

    def encode(self, rows: Any) -> NDArray[Any]:
        """Return the codes of rows; a value out of range becomes its end."""
        codes = np.empty(rows.shape, CODE_TYPES[self.dtype])
        with np.errstate(under="ignore"):
            for part in row_slices(*rows.shape):
                codes[part] = self._encoded(rows[part])
        return codes

    def _encoded(self, rows: NDArray[Any]) -> NDArray[Any]:
        if self.dtype == "float32":
            return rows
        steps = self._steps(rows)
        if self.dtype == "int8":
            return np.clip(np.rint(steps + STEPS / 2), 0, STEPS)
        return np.clip(steps, -REACH["float16"], REACH["float16"])

    def decode(self, codes: NDArray[Any]) -> Float32:
        """Return the vectors of codes."""
        if self.dtype == "float32":
            return codes
        steps = codes.astype(np.float32)
        if self.dtype == "int8":
            steps -= STEPS / 2
        return self.middle + self.scale * steps

    def reaches(self, rows: NDArray[Any]) -> bool:
        """Tell whether codes of further rows are as near to them as of the first."""
        if self.dtype == "float32":
            return True
        return bool((np.abs(self._steps(rows)) <= REACH[self.dtype]).all())

    def _steps(self, rows: NDArray[Any]) -> Float64:
        """Return how far from the middle rows lie."""
        with np.errstate(over="ignore", under="ignore"):
            return (rows - self.middle.astype(np.float64)) / self.scale


class QuantizedVectors:
    """A matrix of codes that returns the vectors that are asked for, decoded.

    Parameters
    ----------
    codes : ndarray of shape (n_rows, n_columns)

    quantization : Quantization
        How they are decoded.

    Examples
    --------
    >>> rows = QuantizedVectors.encode(np.array([[0.0], [1.0], [255.0]]), "int8")
    >>> rows[[2, 1]]
    array([[255.],
           [  1.]], dtype=float32)
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, codes: NDArray[Any], quantization: Quantization) -> None:
        self.codes = codes
        self.quantization = quantization

    @classmethod
    def encode(cls, rows: Any, dtype: str) -> QuantizedVectors:
        """Keep rows in codes of a dtype.

        Raises
        ------
        ValueError
            If a value is beyond the range of float32.
        """
        quantization = Quantization.fitted(rows, dtype)
        return cls(quantization.encode(rows), quantization)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.codes.shape[0], self.codes.shape[1]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, which: Any) -> Float32:
        return self.quantization.decode(self.codes[which])


Vectors = NDArray[Any] | QuantizedVectors


def _rounded_up(scale: Float64) -> Float32:
    """Round to float32; a smaller scale would not reach the ends of a column."""
    nearest = scale.astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        above = np.nextafter(nearest, np.float32(np.inf))
    return np.where(nearest < scale, above, nearest)


def _limits(rows: Any) -> tuple[Float64, Float64]:
    """Return the smallest and the largest value of each column."""
    low, high = np.full(rows.shape[1], np.inf), np.full(rows.shape[1], -np.inf)
    for part in row_slices(*rows.shape):
        some = rows[part]
        low = np.minimum(low, some.min(axis=0))
        high = np.maximum(high, some.max(axis=0))
    return low, high
