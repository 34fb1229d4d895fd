"""Vectors as a metric sees them, in full precision and in a form that is fast."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float64
from latentsk.index._buffers import GrowingArray

# Rows converted at a time: a few MB, so that no second copy of the data comes to be.
BLOCK_ELEMENTS = 2**19
MAX_BLOCK_ROWS = 2**16
# Below it, squares of float64 lose digits.
SMALLEST_SQUARE = 1e-290
# Squared mean over spread from which centring is worth a copy of float32 data.
CENTRING_RATIO = 3.0


class Lengths(NamedTuple):
    """Euclidean lengths of rows, as products of two factors.

    Attributes
    ----------
    largest : ndarray of shape (n_rows,), the largest absolute entry
    norm : ndarray of shape (n_rows,), the length of the row over `largest`
    """

    largest: Float64
    norm: Float64


class Placement(NamedTuple):
    """Where vectors are moved to.

    Attributes
    ----------
    shift : ndarray of shape (n_features,), float64, or None
        Subtracted first.

    scale : float
        Multiplied then.
    """

    shift: Float64 | None
    scale: float


class MetricSpace:
    """Measures vectors exactly, and moves them to where fast products are safe.

    Under "cosine" the vectors of the space are those of unit length: cosine distance is
    half of the squared Euclidean distance between them. A row of zeros gets a unit
    coordinate of its own, which puts it at distance 1 from all others.

    For fast products vectors are *moved*: shifted by their mean where it is large,
    scaled by a power of two where squares could overflow or vanish, and rounded. The
    order of distances stays as it is.

    Parameters
    ----------
    vectors : ndarray or CompactRows of shape (n_rows, n_features)
        The rows, float64 or float32. Kept as they are, not copied.

    metric : {"euclidean", "cosine", "inner_product"}
        What is compared.

    placement : Placement or None, default=None
        Where vectors are moved to; None: chosen for these.

    Attributes
    ----------
    n_features : int
        Width of the vectors in the space.
    """

    def __init__(
        self, vectors: Any, metric: str, placement: Placement | None = None
    ) -> None:
        self.vectors = vectors
        self.metric = metric
        self._lengths = lengths(vectors) if metric == "cosine" else None
        self._padded = self._lengths is not None and bool(
            (self._lengths.largest == 0.0).any()
        )
        self.n_features = vectors.shape[1] + self._padded
        if placement is not None:
            self.shift, self.scale = placement
            if self.shift is not None:
                # Rows of zeros may have come, or gone, since it was chosen.
                self.shift = np.append(self.shift, 0.0)[: self.n_features]
        else:
            self.scale = _safe_scale(vectors) if metric == "euclidean" else 1.0
            self.shift = None if self.is_similarity else self._choose_shift()
        self._growing: tuple[GrowingArray, GrowingArray] | None = None

    @property
    def _as_they_are(self) -> bool:
        """Whether the space neither normalizes nor moves vectors."""
        return self._lengths is None and self.shift is None and self.scale == 1.0

    @property
    def placement(self) -> Placement:
        """Where vectors are moved to."""
        return Placement(self.shift, self.scale)

    @property
    def is_similarity(self) -> bool:
        """Whether more means nearer (inner product)."""
        return self.metric == "inner_product"

    def rows(self, which: Any) -> Float64:
        """Return rows in the space, in float64, by slice or positions of any shape."""
        rows = self.vectors[which].astype(np.float64)
        if self._lengths is None:
            return rows
        largest, norm = self._lengths
        return self._unit(rows, Lengths(largest[which], norm[which]), pad=1.0)

    def queries(self, queries: NDArray[Any]) -> Float64:
        """Return queries in the space, in float64."""
        rows = queries.astype(np.float64)
        if self._lengths is None:
            return rows
        return self._unit(rows, lengths(rows), pad=0.0)

    def without_direction(self, queries: Float64) -> NDArray[np.bool_]:
        """Tell which queries are rows of zeros where the metric is cosine."""
        if self.metric != "cosine":
            return np.zeros(queries.shape[:-1], dtype=bool)
        return np.asarray(~queries.any(axis=-1))

    def measured(self, queries: Float64, rows: Float64) -> Float64:
        """Return the exact value that is minimized, for pairs of vectors of the space.

        The distance, from differences so that nothing cancels; minus the inner product
        where that is the metric.
        """
        if self.is_similarity:
            return -np.sum(queries * rows, axis=-1)
        if self.metric == "euclidean":
            return euclidean(queries, rows)
        squares = np.sum(np.square(rows - queries), axis=-1)
        # A query of zeros has distance 1 from everything, rows of zeros included.
        squares = np.where(self.without_direction(queries), 2.0, squares)
        return np.minimum(0.5 * squares, 2.0)

    def to_metric(self, values: Float64) -> Float64:
        """Turn minimized values into distances, or inner products."""
        return -values if self.is_similarity else values

    def moved(self, rows: Float64, dtype: Any) -> NDArray[Any]:
        """Return rows of the space, shifted, scaled and rounded to `dtype`."""
        if self.shift is not None:
            rows = rows - self.shift
        if self.scale != 1.0:
            rows = rows * self.scale
        return rows.astype(dtype, copy=False)

    def serves_as_moved(self, dtype: Any) -> bool:
        """Whether the vectors themselves are what moving them to `dtype` gives."""
        return self._as_they_are and self.vectors.dtype == dtype

    def moved_when_needed(self) -> Any:
        """Return all rows, moved to float32 as they are asked for.

        A matrix that knows its shape and dtype, and returns rows by slice or positions.
        """
        if self.serves_as_moved(np.float32):
            return self.vectors
        return _MovedRows(self)

    def moved_rows(self, dtype: Any) -> NDArray[Any]:
        """Return all rows, moved; the vectors themselves where they serve.

        See `serves_as_moved`.
        """
        if self.serves_as_moved(dtype):
            return self.vectors
        moved = np.empty((len(self.vectors), self.n_features), dtype=dtype)
        for rows in row_slices(self.vectors.shape):
            moved[rows] = self.moved(self.rows(rows), dtype)
        return moved

    def to_score(self, values: Float64) -> Float64:
        """Return the score of moved vectors that a value stands for.

        The squared Euclidean distance; minus the inner product where that is the
        metric.
        """
        if self.is_similarity:
            return values
        if self.metric == "cosine":
            return 2.0 * values
        return np.square(values * self.scale)

    def from_score(self, scores: Float64) -> Float64:
        """Return the value that a score of moved vectors stands for."""
        if self.is_similarity:
            return scores
        scores = np.maximum(scores, 0.0)
        if self.metric == "cosine":
            return np.minimum(0.5 * scores, 2.0)
        return np.sqrt(scores) / self.scale

    def unpadded(self, moved: NDArray[Any]) -> NDArray[Any]:
        """Return moved vectors without the coordinate that tells rows of zeros."""
        return moved[..., :-1] if self._padded else moved

    def fast_queries(self, queries: NDArray[Any]) -> NDArray[np.float32]:
        """Return queries in the space, moved and rounded to float32.

        They are not copied where they serve as they are.
        """
        if self._as_they_are and queries.dtype == np.float32:
            return queries
        return self.moved(self.queries(queries), np.float32)

    def revise(self, vectors: Any, changed: NDArray[np.intp]) -> bool:
        """Take over vectors of which some rows are new or changed, if possible.

        Where they are moved to stays as it is, so a space made anew may be quicker.

        Parameters
        ----------
        vectors : ndarray of shape (n_rows, n_features)
            At least as many rows as before.

        changed : ndarray of shape (n,)
            Positions of the rows that are new or different.

        Returns
        -------
        possible : bool
            False, with nothing changed, where the space needs another width (the first
            row of zeros under cosine).
        """
        if self._lengths is not None:
            largest, norm = lengths(vectors[changed])
            if not self._padded and (largest == 0.0).any():
                return False
            growing = self._growing_lengths()
            growing[0].assign(changed, largest)
            growing[1].assign(changed, norm)
            self._lengths = Lengths(growing[0].rows, growing[1].rows)
        self.vectors = vectors
        return True

    def _growing_lengths(self) -> tuple[GrowingArray, GrowingArray]:
        assert self._lengths is not None
        if self._growing is None:
            largest, norm = self._lengths
            self._growing = GrowingArray(largest), GrowingArray(norm)
        return self._growing

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
        spread = np.mean(np.sum(np.square((sample - mean) * self.scale), axis=1))
        squared_mean = np.sum(np.square(mean * self.scale))
        return mean if squared_mean > CENTRING_RATIO * spread else None


class _MovedRows:
    """Rows of a space, moved to float32 whenever they are asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, space: MetricSpace) -> None:
        self.space = space

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.space.vectors), self.space.n_features

    def __len__(self) -> int:
        return len(self.space.vectors)

    def __getitem__(self, which: Any) -> NDArray[np.float32]:
        return self.space.moved(self.space.rows(which), np.float32)


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
    if abs(exponent) <= 20 or largest == 0.0:
        return 1.0
    return float(2.0 ** min(-exponent, 1_000))


def euclidean(queries: Float64, rows: Float64) -> Float64:
    """Return Euclidean distances of pairs, at any magnitude that float64 has."""
    with np.errstate(over="ignore", under="ignore"):
        squares = np.sum(np.square(rows - queries), axis=-1)
    distances = np.sqrt(squares)
    odd = ~((squares > SMALLEST_SQUARE) & (squares < np.inf))
    if odd.any():
        queries, rows = np.broadcast_arrays(queries, rows)
        distances[odd] = _length_of(rows[odd] - queries[odd])
    return distances


def _length_of(differences: Float64) -> Float64:
    """Return lengths of vectors that are too large or too small to be squared."""
    exponents = np.frexp(np.abs(differences).max(axis=-1, initial=0.0))[1]
    scaled = np.ldexp(differences, -exponents[:, None])
    return np.ldexp(np.sqrt(np.sum(scaled * scaled, axis=-1)), exponents)


def row_slices(shape: tuple[int, ...]) -> list[slice]:
    """Cut a matrix into blocks of rows of a few MB."""
    step = min(MAX_BLOCK_ROWS, max(1, BLOCK_ELEMENTS // max(1, shape[1])))
    return [slice(s, min(s + step, shape[0])) for s in range(0, shape[0], step)]


def _sample(n_rows: int, most: int = 1_024) -> NDArray[np.intp]:
    if n_rows <= most:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(0).choice(n_rows, most, replace=False))
