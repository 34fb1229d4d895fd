"""Vectors of fewer coordinates, in which candidates are looked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from latentsk._chunks import row_slices
from latentsk._faiss import load_faiss
from latentsk._typing import Float32, Float64
from latentsk.persistence import _schema as rules
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import Sizes, State, require

# Columns from which a randomized decomposition is the faster one.
MAX_FULL_COLUMNS = 1_500
MAX_PCA_ROWS = 8_192
# No row of float32 is longer.
LONGEST = 1e45


def _check_projection(_: Any, state: State, sizes: Sizes) -> None:
    is_reduced = state["mean"] is not None
    require(is_reduced == (state["axes"] is not None), "a mean, or axes, are missing")


@storable(
    {
        "mean": rules.maybe(rules.floats("width", dtypes={"float32"})),
        "axes": rules.maybe(rules.floats("width", "components", dtypes={"float32"})),
        "length": rules.maybe(rules.number(0, LONGEST)),
    },
    check=_check_projection,
)
@dataclass(frozen=True, eq=False)
class Projection:
    """Principal components, of vectors in which inner products became distances.

    The largest inner product with a query is the smallest Euclidean distance to it
    once every row has the same length, which a further coordinate gives it: ``sqrt(m^2
    - |x|^2)``, and zero for queries (Bachrach et al., 2014, "Speeding up the Xbox
    recommender system using a Euclidean transformation for inner-product spaces").

    Attributes
    ----------
    mean : ndarray of shape (width,), float32, or None
        Subtracted first; None, with `axes`, where the coordinates stay as they are.

    axes : ndarray of shape (width, n_components), float32, or None
        Principal axes.

    length : float or None
        The common length `m`; None for Euclidean distances.
    """

    mean: Float32 | None
    axes: Float32 | None
    length: float | None

    def rows(self, rows: Float32) -> Float32:
        """Project rows."""
        if self.length is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # seen by who builds
                squares = np.sum(np.square(rows, dtype=np.float64), axis=1)
                rest = self.length**2 - squares
            rows = _with_column(rows, np.sqrt(np.maximum(rest, 0.0)))
        return self.reduced(rows)

    def queries(self, queries: Float32) -> Float32:
        """Project queries."""
        if self.length is not None:
            queries = _with_column(queries, np.zeros(len(queries)))
        return self.reduced(queries)

    def reduced(self, vectors: Float32) -> Float32:
        """Project vectors that all have the same length already, if they need it."""
        if self.mean is None or self.axes is None:
            return vectors
        return self._transform.apply(np.ascontiguousarray(vectors))

    def rests(self, vectors: Float32, reduced: Float32) -> Float32:
        """Return the squared lengths of what the axes leave out: for distances only.

        Parameters
        ----------
        vectors : ndarray of shape (n_vectors, n_features), float32

        reduced : ndarray of shape (n_vectors, n_components), float32
            The same, projected.
        """
        if self.mean is None or self.length is not None:
            return np.zeros(len(vectors), dtype=np.float32)
        return np.maximum(_squares(vectors - self.mean) - _squares(reduced), 0.0)

    def __reduce__(self) -> Any:
        # Without FAISS's object, which no pickle takes.
        return Projection, (self.mean, self.axes, self.length)

    @cached_property
    def _transform(self) -> Any:
        # FAISS's own, because threads of numpy's BLAS, or of torch, would go on
        # spinning for a while, and FAISS, which comes next, would wait for them.
        assert self.mean is not None
        assert self.axes is not None
        faiss = load_faiss()
        transform = faiss.LinearTransform(*self.axes.shape, True)
        faiss.copy_array_to_vector(self.axes.T.ravel(), transform.A)
        offset = -(self.mean.astype(np.float64) @ self.axes)
        faiss.copy_array_to_vector(offset.astype(np.float32), transform.b)
        transform.is_trained = True
        return transform


def _squares(vectors: Float32) -> Float32:
    """Return squared lengths, in one pass over the vectors."""
    return np.einsum("ij,ij->i", vectors, vectors)


def largest_length(rows: Any) -> float:
    """Return the length of the longest row."""
    longest = 0.0
    for part in row_slices(*rows.shape):
        squares = np.sum(np.square(rows[part], dtype=np.float64), axis=1)
        longest = max(longest, float(squares.max()))
    return math.sqrt(longest)


def principal_axes(sample: Float32, most: int, seed: int) -> tuple[Float32, Float32]:
    """Return variances and axes of the principal components, the largest first.

    Parameters
    ----------
    sample : ndarray of shape (n_rows, width), float32

    most : int
        Components wanted at most.

    seed : int
        Seed of the randomized decomposition, for wide data.

    Returns
    -------
    ratios : ndarray of shape (n_components,)
        Share of the variance that each explains.

    axes : ndarray of shape (width, n_components), float32
    """
    # Evenly over the sample: axes need fewer rows than lists do.
    sample = sample[:: math.ceil(len(sample) / MAX_PCA_ROWS)]
    width = sample.shape[1]
    solver = "covariance_eigh" if width <= MAX_FULL_COLUMNS else "randomized"
    pca = PCA(min(most, *sample.shape), svd_solver=solver, random_state=seed)
    # Near one, so that no square overflows; constant data have no shares.
    largest = float(np.abs(sample).max())
    with np.errstate(invalid="ignore"):
        pca.fit(np.ldexp(sample, -np.frexp(largest)[1]))
    axes = np.ascontiguousarray(pca.components_.T, dtype=np.float32)
    return np.nan_to_num(pca.explained_variance_ratio_), axes


def _with_column(vectors: Float32, column: Float64) -> Float32:
    return np.column_stack([vectors, column.astype(np.float32)])
