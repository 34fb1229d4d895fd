"""How far rows lie from their neighbours, near by and on the whole."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import Interval

from latentsk._state import StateMixin
from latentsk._typing import Float64, Positions
from latentsk.index import LatentIndex
from latentsk.outliers._state_rules import NEIGHBORHOOD, check_neighborhood
from latentsk.outliers.calibration import scale_of
from latentsk.persistence._registry import storable

# LeSiNN's sizes: rows of a subsample, and subsamples.
SUBSAMPLE_ROWS = 8
N_SUBSAMPLES = 100
# Distances at a time.
BLOCK_ELEMENTS = 2**21


def without_own(
    distances: ArrayLike, positions: ArrayLike, own: ArrayLike
) -> tuple[Float64, Positions]:
    """Leave each query that is one of the rows searched out of its own neighbours.

    Parameters
    ----------
    distances, positions : array-like of shape (n_queries, k + 1)
        Of the nearest rows, in ascending order.

    own : array-like of shape (n_queries,), dtype int
        Position of the row that the query is, or -1.

    Returns
    -------
    distances, positions : ndarrays of shape (n_queries, k)
        Without the row itself, or without the farthest where it is not among them.

    Examples
    --------
    >>> without_own([[0.0, 1.0], [2.0, 3.0]], [[7, 5], [7, 5]], [7, -1])
    (array([[1.],
           [2.]]), array([[5],
           [7]]))
    """
    distances, positions = np.asarray(distances), np.asarray(positions)
    itself = positions == np.asarray(own)[:, None]
    itself[~itself.any(axis=1), -1] = True
    shape = len(positions), positions.shape[1] - 1
    return distances[~itself].reshape(shape), positions[~itself].reshape(shape)


def relative_distances(
    means: ArrayLike, neighbors_means: ArrayLike, least: float
) -> Float64:
    """Weigh distances to neighbours by how close together these are themselves.

    The mean distance to the nearest rows says how thin they are here; its ratio to that
    of the neighbours, which the local outlier factor (Breunig et al., 2000) is built
    on, whether they are thinner than close by. This is the geometric mean of the
    distance and of the distance times that ratio: ``d * sqrt(d / d_neighbors)``.

    Parameters
    ----------
    means : array-like of shape (n_queries,)
        Mean distance of a query to its nearest rows.

    neighbors_means : array-like of shape (n_queries,)
        The mean of the same over these rows.

    least : float
        Added to both sides of the ratio: among copies of one row they are zero.

    Returns
    -------
    distances : ndarray of shape (n_queries,)
        Zero where the query's own distance is.

    Examples
    --------
    >>> relative_distances([2.0, 2.0, 0.0], [2.0, 0.5, 0.0], least=1e-9).round(6)
    array([2., 4., 0.])
    """
    means = np.asarray(means, np.float64)
    with np.errstate(over="ignore"):  # infinite, beside neighbours that all but touch
        ratios = (means + least) / (np.asarray(neighbors_means) + least)
        return means * np.sqrt(ratios)


def draw_subsamples(n_rows: int, generator: np.random.Generator) -> Positions:
    """Draw LeSiNN's subsamples, each without replacement.

    They are consecutive parts of random orders of all rows: every row is drawn about as
    often as any other, so that results depend less on chance.

    Parameters
    ----------
    n_rows : int
        At least 2.

    generator : Generator

    Returns
    -------
    positions : ndarray of shape (100, 8)
        With fewer columns, down to 2, for fewer rows than 16.

    Examples
    --------
    >>> draw_subsamples(1_000, np.random.default_rng(0)).shape
    (100, 8)
    """
    size = max(2, min(SUBSAMPLE_ROWS, n_rows // 2))
    per_order = n_rows // size
    orders = [
        generator.permutation(n_rows)[: per_order * size]
        for _ in range(-(-N_SUBSAMPLES // per_order))
    ]
    return np.concatenate(orders).reshape(-1, size)[:N_SUBSAMPLES]


def nearest_of_subsamples(
    queries: ArrayLike, rows: ArrayLike, subsamples: Positions, own: ArrayLike
) -> tuple[Float64, Positions]:
    """Return each query's nearest row in every subsample (LeSiNN).

    The nearest of a few random rows is far from every row of a small group, so that
    outliers which resemble each other stand out, too. The mean of its distance over all
    subsamples is a smooth distance to the bulk.

    Parameters
    ----------
    queries : array-like of shape (n_queries, n_components)

    rows : array-like of shape (n_rows, n_components)

    subsamples : ndarray of shape (n_subsamples, size)
        Positions among the rows.

    own : array-like of shape (n_queries,), dtype int
        Position of the row that the query is, which is left out, or -1.

    Returns
    -------
    distances, positions : ndarray of shape (n_queries, n_subsamples)

    References
    ----------
    G. Pang, K. M. Ting and D. Albrecht (2015). LeSiNN: Detecting anomalies by
    identifying least similar nearest neighbours. ICDM Workshops, 623-630.

    Examples
    --------
    >>> rows = np.array([[0.0], [1.0], [5.0]])
    >>> nearest_of_subsamples([[0.0]], rows, np.array([[0, 1], [1, 2]]), [0])
    (array([[1., 1.]]), array([[1, 1]]))
    """
    queries, own = np.asarray(queries, np.float64), np.asarray(own)
    rows = np.asarray(rows, np.float64)
    drawn = rows[subsamples.ravel()]
    # Differences of squares lose less near the origin; a mean could lie far from all.
    centre = np.median(drawn, axis=0)
    drawn, centred = drawn - centre, queries - centre
    squares = np.einsum("ij,ij->i", drawn, drawn)
    distances = centred @ (-2.0 * drawn.T) + squares
    for query in np.flatnonzero(own >= 0):
        distances[query, subsamples.ravel() == own[query]] = np.inf
    distances = distances.reshape(len(queries), *subsamples.shape)
    places = distances.argmin(axis=2)[..., None]
    nearest = np.take_along_axis(distances, places, axis=2)[..., 0]
    nearest += np.einsum("ij,ij->i", centred, centred)[:, None]
    places = np.take_along_axis(subsamples[None], places, axis=2)[..., 0]
    return np.sqrt(np.maximum(nearest, 0.0)), places


@storable(NEIGHBORHOOD, check=check_neighborhood)
class Neighborhood(StateMixin, BaseEstimator):
    """Rows that others are compared with.

    Parameters
    ----------
    n_neighbors : int
        Neighbours near by; fewer where there are fewer other rows.

    Attributes
    ----------
    index_ : LatentIndex
        Of the rows' latent vectors.
    reach_ : ndarray of shape (n_rows,)
        Mean distance of each row to its neighbours, itself left out.
    subsamples_ : ndarray of shape (n_subsamples, size)
        Positions of the rows of each subsample.
    """

    _parameter_constraints: dict[str, Any] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }
    _private_state: tuple[str, ...] = ()

    def __init__(self, n_neighbors: int) -> None:
        self.n_neighbors = n_neighbors

    def fit(
        self, latents: NDArray[Any], ids: Positions, generator: np.random.Generator
    ) -> Self:
        """Index latent vectors of at least 2 rows."""
        self.index_ = LatentIndex().fit(latents, ids=ids)
        self.subsamples_ = draw_subsamples(len(latents), generator)
        k = min(self.n_neighbors, len(latents) - 1)
        self.reach_ = self.index_.kneighbors(n_neighbors=k)[0].mean(axis=1)
        return self

    def nearest(
        self, latents: NDArray[Any], own: Positions, n_neighbors: int | None = None
    ) -> tuple[Float64, Positions]:
        """Return distances and positions of the neighbours near by, own left out."""
        k = min(n_neighbors or self.n_neighbors, len(self.reach_) - 1)
        distances, positions = self.index_.kneighbors(latents, n_neighbors=k + 1)
        return without_own(distances, positions, own)

    def distances(
        self, latents: NDArray[Any], own: Positions
    ) -> tuple[Float64, Float64]:
        """Return the distances near by and on the whole of each query."""
        distances, positions = self.nearest(latents, own)
        # Copies of one row reach no distance at all; others are not to look endlessly
        # far in comparison.
        least = scale_of(self.reach_).floor
        near = relative_distances(
            distances.mean(axis=1), self.reach_[positions].mean(axis=1), least
        )
        return near, self._overall(latents, own)

    def typical(
        self, latents: NDArray[Any], own: Positions
    ) -> tuple[Float64, Positions]:
        """Return distances and positions of the nearest row in each subsample."""
        return nearest_of_subsamples(
            latents, self.index_.vectors_, self.subsamples_, own
        )

    def _overall(self, latents: NDArray[Any], own: Positions) -> Float64:
        size = max(1, BLOCK_ELEMENTS // self.subsamples_.size)
        parts = gen_batches(len(latents), size)
        means = [self.typical(latents[i], own[i])[0].mean(axis=1) for i in parts]
        return np.concatenate(means)
