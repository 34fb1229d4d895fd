"""Vectors as a metric sees them, in full precision and in a form that is fast."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Rows converted at a time: a few MB, so that no second copy of the data comes to be.
BLOCK_ELEMENTS = 2**19
# Squared mean over spread from which centring is worth a copy of float32 data.
CENTRING_RATIO = 3.0

Float64 = NDArray[np.float64]


class Lengths(NamedTuple):
    """Euclidean lengths of rows, as products of two factors.

    Attributes
    ----------
    largest : ndarray of shape (n_rows,), the largest absolute entry
    norm : ndarray of shape (n_rows,), the length of the row over `largest`
    """

    largest: Float64
    norm: Float64


class MetricSpace:
    """Turns cosine into Euclidean distances, and moves data to where products are safe.

    Cosine distance is half the squared Euclidean distance of unit vectors; a row of
    zeros gets a unit coordinate of its own, which puts it at distance 1 from all
    others. Data whose squares could overflow or vanish are scaled by a power of two,
    which is exact. For fast products the vectors are also shifted by their mean where
    it is large. Neither changes the order of distances.

    Parameters
    ----------
    vectors : ndarray of shape (n_rows, n_features), float64 or float32
        The rows. Kept as they are, not copied.

    metric : {"euclidean", "cosine", "inner_product"}
        What is compared.

    Attributes
    ----------
    n_features : int
        Width of the vectors in the space.
    """

    def __init__(self, vectors: NDArray[Any], metric: str) -> None:
        self.vectors = vectors
        self.metric = metric
        self._lengths: Lengths | None = None
        self._padded = False
        if metric == "cosine":
            parts = [lengths(vectors[s]) for s in row_slices(vectors.shape)]
            self._lengths = Lengths(
                *(np.concatenate(part) for part in zip(*parts, strict=True))
            )
            self._padded = bool((self._lengths.largest == 0.0).any())
        self.n_features = vectors.shape[1] + self._padded
        self.scale = 1.0 if metric == "cosine" else _safe_scale(vectors)
        self.shift = None if self.is_similarity else self._choose_shift()

    @property
    def is_similarity(self) -> bool:
        """Whether more means nearer (inner product)."""
        return self.metric == "inner_product"

    def rows(self, which: Any) -> Float64:
        """Return rows in the space, in float64, by slice or positions of any shape."""
        rows = self.vectors[which].astype(np.float64)
        if self._lengths is None:
            return rows if self.scale == 1.0 else rows * self.scale
        largest, norm = self._lengths
        return self._unit(rows, Lengths(largest[which], norm[which]), pad=1.0)

    def queries(self, queries: NDArray[Any]) -> Float64:
        """Return queries in the space, in float64."""
        rows = queries.astype(np.float64)
        if self.metric != "cosine":
            with np.errstate(over="ignore"):
                return rows * self.scale
        return self._unit(rows, lengths(rows), pad=0.0)

    def moved(self, rows: Float64, dtype: Any) -> NDArray[Any]:
        """Return rows of the space, shifted and rounded to `dtype`."""
        with np.errstate(over="ignore"):
            moved = rows if self.shift is None else rows - self.shift
            return moved.astype(dtype, copy=False)

    def moved_rows(self, dtype: Any) -> NDArray[Any]:
        """Return all rows for fast products; the vectors themselves where they serve.

        They serve in their own dtype, if the space neither normalizes nor moves them.
        """
        as_they_are = self._lengths is None and self.shift is None and self.scale == 1.0
        if as_they_are and self.vectors.dtype == dtype:
            return self.vectors
        moved = np.empty((len(self.vectors), self.n_features), dtype=dtype)
        for rows in row_slices(self.vectors.shape):
            moved[rows] = self.moved(self.rows(rows), dtype)
        return moved

    def dissimilarities(self, queries: Float64, rows: Float64) -> Float64:
        """Return the exact float64 value that is minimized, for pairs of vectors.

        The squared Euclidean distance in the space, from differences (nothing cancels);
        minus the inner product where that is the metric.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            if self.is_similarity:
                return -np.sum(queries * rows, axis=-1)
            difference = np.subtract(rows, queries)
            values = np.sum(np.square(difference, out=difference), axis=-1)
        # A query of zeros has distance 1 from everything, rows of zeros included.
        return np.where(self.without_direction(queries), 2.0, values)

    def without_direction(self, queries: Float64) -> NDArray[np.bool_]:
        """Tell which queries are rows of zeros where the metric is cosine."""
        if self.metric != "cosine":
            return np.zeros(queries.shape[:-1], dtype=bool)
        return np.asarray(~queries.any(axis=-1))

    def from_distance(self, distance: float) -> float:
        """Turn a distance into the value that is minimized."""
        if self.metric == "cosine":
            return 2.0 * distance
        return float(np.square(distance * self.scale))

    def ordering(self, dissimilarities: Float64) -> Float64:
        """Return what neighbours are sorted by: values that tie where distances do."""
        if self.metric == "euclidean":
            return np.sqrt(dissimilarities)
        return dissimilarities

    def to_metric(self, dissimilarities: Float64) -> Float64:
        """Turn minimized values into distances, or inner products."""
        if self.metric == "cosine":
            return 0.5 * dissimilarities
        with np.errstate(over="ignore"):
            if self.is_similarity:
                return -dissimilarities / self.scale / self.scale
            return np.sqrt(dissimilarities) / self.scale

    def _unit(self, rows: Float64, lengths: Lengths, pad: float) -> Float64:
        zero = lengths.largest == 0.0
        # By the largest entry first, so that nothing overflows or vanishes.
        rows /= np.where(zero, 1.0, lengths.largest)[..., None]
        rows /= np.where(zero, 1.0, lengths.norm)[..., None]
        if not self._padded:
            return rows
        return np.concatenate([rows, pad * zero[..., None]], axis=-1)

    def _choose_shift(self) -> Float64 | None:
        sample = self.rows(_sample(len(self.vectors)))
        mean = sample.mean(axis=0)
        spread = np.mean(np.sum((sample - mean) ** 2, axis=1))
        off_centre = np.sum(mean * mean) > CENTRING_RATIO * spread
        return mean if off_centre else None


def lengths(rows: NDArray[Any]) -> Lengths:
    """Return the length of each row in two factors, neither of which overflows."""
    result = Lengths(np.empty(len(rows)), np.empty(len(rows)))
    for part in row_slices(rows.shape):
        largest = np.abs(rows[part]).max(axis=1, initial=0.0).astype(np.float64)
        scaled = rows[part] / np.where(largest == 0.0, 1.0, largest)[:, None]
        result.largest[part] = largest
        result.norm[part] = np.sqrt(np.sum(scaled * scaled, axis=1))
    return result


def _safe_scale(vectors: NDArray[Any]) -> float:
    """Return the power of two that brings the largest entry near one, or 1.

    Between a millionth and a million the squares of float32 are far from its limits,
    and the data may stay as they are.
    """
    largest = max(
        float(np.abs(vectors[rows]).max()) for rows in row_slices(vectors.shape)
    )
    exponent = int(np.frexp(largest)[1])
    return 1.0 if abs(exponent) <= 20 or largest == 0.0 else float(2.0**-exponent)


def row_slices(shape: tuple[int, ...]) -> list[slice]:
    """Cut a matrix into blocks of rows of a few MB."""
    step = max(1, BLOCK_ELEMENTS // max(1, shape[1]))
    return [slice(s, min(s + step, shape[0])) for s in range(0, shape[0], step)]


def _sample(n_rows: int, most: int = 1_024) -> NDArray[np.intp]:
    if n_rows <= most:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(0).choice(n_rows, most, replace=False))
