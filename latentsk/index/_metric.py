"""Vectors as a metric sees them, in full precision and in a form that is fast."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._typing import Float64, Positions
from latentsk.index._buffers import GrowingArray
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import floats, maybe, number

# Below it, squares of float64 lose digits.
SMALLEST_SQUARE = 1e-290
# Squared mean over spread from which centring is worth a copy of float32 data.
CENTRING_RATIO = 3.0
# Rows whose mean and spread decide on centring.
SAMPLE_ROWS = 1_024
# Powers of two between which the largest entry of vectors may stay as it is: squares
# of float32 are far from its limits.
SAFE_EXPONENT = 20
# The largest power of two to scale by.
LARGEST_EXPONENT = 1_000
# What is above zero.
TINY = 5e-324


@storable(
    {"shift": maybe(floats("features", dtypes={"float64"})), "scale": number(TINY)}
)
class Rescaling(NamedTuple):
    """How vectors are changed so that products of float32 serve them.

    Attributes
    ----------
    shift : ndarray of shape (n_features,), float64, or None
        Subtracted first.

    scale : float
        Multiplied then; a power of two.
    """

    shift: Float64 | None
    scale: float


class MetricSpace:
    """Vectors, the exact distances between them, and their rescaling.

    Under "cosine" the vectors of the space are those of unit length: cosine distance is
    half of the squared Euclidean distance between them. A row of zeros gets a unit
    coordinate of its own, which puts it at distance 1 from all others. Between rows of
    zeros the space knows two answers. Asked as a query, such a row is at distance 1
    from every row, rows of zeros included, as in scikit-learn's `cosine_distances`;
    neighbours and rows within a radius are found by that. As duplicates, rows of zeros
    are equal, like any rows that do not differ.

    For fast products vectors are *rescaled*: shifted by their mean where it is large,
    scaled by a power of two where squares could overflow or vanish, and rounded. The
    order of distances stays as it is.

    Parameters
    ----------
    vectors : ndarray or QuantizedVectors of shape (n_rows, n_features)
        The rows, float64 or float32, within 1e100. Kept as they are, not copied.

    metric : {"euclidean", "cosine", "inner_product"}
        What is compared.

    rescaling : Rescaling or None, default=None
        How vectors are rescaled; None: chosen for these.

    Attributes
    ----------
    n_features : int
        Width of the vectors in the space.

    is_padded : bool
        Whether there are rows of zeros under cosine, and so the further coordinate.

    rescaling : Rescaling
    """

    def __init__(
        self, vectors: Any, metric: str, rescaling: Rescaling | None = None
    ) -> None:
        self.vectors = vectors
        self.metric = metric
        self._lengths = GrowingArray(lengths(vectors)) if metric == "cosine" else None
        self.is_padded = self._lengths is not None and not self._lengths.rows.all()
        self.n_features = vectors.shape[1] + self.is_padded
        shift, scale = self._suitable_rescaling() if rescaling is None else rescaling
        if shift is not None:
            # Rows of zeros may have come, or gone, since it was chosen.
            shift = np.append(shift, 0.0)[: self.n_features]
        self.rescaling = Rescaling(shift, scale)

    @property
    def is_similarity(self) -> bool:
        """Whether more means nearer (inner product)."""
        return self.metric == "inner_product"

    # In full precision

    def rows(self, which: Any) -> Float64:
        """Return rows in the space, in float64, by slice or positions of any shape."""
        rows = self.vectors[which].astype(np.float64)
        if self._lengths is None:
            return rows
        return self._unit(rows, self._lengths.rows[which], pad=1.0)

    def queries(self, queries: NDArray[Any]) -> Float64:
        """Return queries in the space, in float64."""
        rows = queries.astype(np.float64)
        if self._lengths is None:
            return rows
        return self._unit(rows, lengths(rows), pad=0.0)

    def _unit(self, rows: Float64, lengths: Float64, pad: float) -> Float64:
        is_zero = lengths == 0.0
        rows /= np.where(is_zero, 1.0, lengths)[..., None]
        if not self.is_padded:
            return rows
        return np.concatenate([rows, pad * is_zero[..., None]], axis=-1)

    def without_direction(self, queries: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which queries are rows of zeros where the metric is cosine."""
        if self.metric != "cosine":
            return np.zeros(queries.shape[:-1], dtype=bool)
        return np.asarray(~queries.any(axis=-1))

    def ties_all_rows(self, queries: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which queries are as near to one row as to any other: see `tied_value`.

        Rows of zeros, where the metric is cosine or the inner product.
        """
        if self.metric == "euclidean":
            return np.zeros(queries.shape[:-1], dtype=bool)
        return np.asarray(~queries.any(axis=-1))

    @property
    def tied_value(self) -> float:
        """What is minimized, between a query that `ties_all_rows` and any row."""
        return -0.0 if self.is_similarity else 1.0  # with its sign turned: zero

    def exact_distances(self, queries: Float64, rows: Float64) -> Float64:
        """Return what is minimized, for pairs of vectors of the space, in float64.

        The distance, from differences so that nothing cancels; minus the inner product
        where that is the metric.
        """
        if self.is_similarity:
            return -np.sum(queries * rows, axis=-1)
        if self.metric == "euclidean":
            return euclidean(queries, rows, self.rescaling.scale)
        squares = np.sum(np.square(rows - queries), axis=-1)
        # A query of zeros has distance 1 from everything, rows of zeros included.
        squares = np.where(self.without_direction(queries), 2.0, squares)
        return np.minimum(0.5 * squares, 2.0)

    def to_metric(self, values: Float64) -> Float64:
        """Turn minimized values into distances, or inner products."""
        return -values if self.is_similarity else values

    # Rescaled

    def rescaled(self, rows: Float64, dtype: Any) -> NDArray[Any]:
        """Return rows of the space, shifted, scaled and rounded to `dtype`."""
        shift, scale = self.rescaling
        if shift is not None:
            rows = rows - shift
        if scale != 1.0:
            rows = rows * scale
        return rows.astype(dtype, copy=False)

    @property
    def _is_identity(self) -> bool:
        """Whether the space neither normalizes nor rescales vectors."""
        shift, scale = self.rescaling
        return self._lengths is None and shift is None and scale == 1.0

    def is_rescaled(self, dtype: Any) -> bool:
        """Tell whether the vectors themselves are what rescaling to `dtype` gives."""
        return self._is_identity and self.vectors.dtype == dtype

    def fast_rows(self, which: Any) -> NDArray[np.float32]:
        """Return rows, rescaled to float32, by slice or positions of any shape."""
        if self.is_rescaled(np.float32):
            return self.vectors[which]
        return self.rescaled(self.rows(which), np.float32)

    def fast_queries(self, queries: NDArray[Any]) -> NDArray[np.float32]:
        """Return queries, rescaled to float32; not copied where they serve as given."""
        if self._is_identity and queries.dtype == np.float32:
            return queries
        return self.rescaled(self.queries(queries), np.float32)

    def unpadded(self, rescaled: NDArray[Any]) -> NDArray[Any]:
        """Return rescaled vectors without the coordinate that tells rows of zeros."""
        return rescaled[..., :-1] if self.is_padded else rescaled

    def to_score(self, values: Float64) -> Float64:
        """Return the score of rescaled vectors that a value stands for.

        The squared Euclidean distance; minus the inner product where that is the
        metric.
        """
        if self.is_similarity:
            return values
        if self.metric == "cosine":
            return 2.0 * values
        return np.square(values * self.rescaling.scale)

    def from_score(self, scores: Float64) -> Float64:
        """Return the value that a score of rescaled vectors stands for."""
        if self.is_similarity:
            return scores
        scores = np.maximum(scores, 0.0)
        if self.metric == "cosine":
            return np.minimum(0.5 * scores, 2.0)
        return np.sqrt(scores) / self.rescaling.scale

    # Changes

    def revise(self, vectors: Any, changed: Positions) -> bool:
        """Take over vectors of which some rows are new or changed, if possible.

        The rescaling stays as it is, so a new space may be quicker.

        Parameters
        ----------
        vectors : ndarray or QuantizedVectors of shape (n_rows, n_features)
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
            of_changed = lengths(vectors[changed])
            if not self.is_padded and not of_changed.all():
                return False
            self._lengths.assign(changed, of_changed)
        self.vectors = vectors
        return True

    def _suitable_rescaling(self) -> Rescaling:
        scale = _safe_scale(self.vectors) if self.metric == "euclidean" else 1.0
        if self.is_similarity:
            return Rescaling(None, scale)
        sample = self.rows(_sample(len(self.vectors)))
        mean = sample.mean(axis=0)
        if (np.rint(sample) == sample).all():
            # Integers stay what they are, and their scores exact.
            mean = np.rint(mean)
        spread = np.mean(np.sum(np.square((sample - mean) * scale), axis=1))
        is_far = np.sum(np.square(mean * scale)) > CENTRING_RATIO * spread
        return Rescaling(mean if is_far else None, scale)


def lengths(rows: Any) -> Float64:
    """Return the Euclidean length of each row, whose squares may vanish.

    Examples
    --------
    >>> lengths(np.array([[3e-200, 4e-200], [0.0, 0.0]]))
    array([5.e-200, 0.e+000])
    """
    result = np.empty(len(rows))
    for part in row_slices(*rows.shape):
        some = rows[part]
        largest = np.abs(some).max(axis=1, initial=0.0).astype(np.float64)
        unit = some / np.where(largest == 0.0, 1.0, largest)[:, None]
        result[part] = largest * np.sqrt(np.sum(unit * unit, axis=1))
    return result


def euclidean(queries: Float64, rows: Float64, scale: float = 1.0) -> Float64:
    """Return Euclidean distances of pairs.

    Parameters
    ----------
    queries, rows : ndarrays of shape (..., n_features), float64

    scale : float, default=1.0
        Power of two that brings most differences to where they can be squared.

    Examples
    --------
    >>> euclidean(np.zeros(2), np.array([[3.0, 4.0], [3e-200, 4e-200]]))
    array([5.e+000, 5.e-200])
    """
    differences = rows - queries
    with np.errstate(over="ignore", under="ignore"):
        scaled = differences if scale == 1.0 else differences * scale
        squares = np.sum(np.square(scaled), axis=-1)
    distances = np.sqrt(squares) / scale
    is_extreme = ~((squares > SMALLEST_SQUARE) & (squares < np.inf))
    if is_extreme.any():
        distances[is_extreme] = np.hypot.reduce(differences[is_extreme], axis=-1)
    return distances


def _safe_scale(vectors: Any) -> float:
    """Return the power of two that brings the largest entry near one, or 1."""
    largest = max(
        float(np.abs(vectors[rows]).max()) for rows in row_slices(*vectors.shape)
    )
    exponent = int(np.frexp(largest)[1])
    if abs(exponent) <= SAFE_EXPONENT or largest == 0.0:
        return 1.0
    return float(2.0 ** min(-exponent, LARGEST_EXPONENT))


def _sample(n_rows: int) -> Positions:
    if n_rows <= SAMPLE_ROWS:
        return np.arange(n_rows)
    rng = np.random.default_rng(0)
    return np.sort(rng.choice(n_rows, SAMPLE_ROWS, replace=False))
