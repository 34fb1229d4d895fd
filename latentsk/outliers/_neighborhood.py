"""Rows that others are compared with: local and global distances to them."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing, gen_batches

from latentsk._typing import Float64, Positions
from latentsk.index import LatentIndex
from latentsk.outliers._latent_rows import LatentRows
from latentsk.outliers._row_keys import row_keys
from latentsk.outliers._scales import scale_of
from latentsk.persistence import _schema as schema
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import Sizes, State, require

# LeSiNN's sizes: rows of a subsample, and subsamples.
SUBSAMPLE_ROWS = 8
N_SUBSAMPLES = 100
# Number of distances computed at a time.
BLOCK_ELEMENTS = 2**21


def without_excluded(
    distances: ArrayLike, positions: ArrayLike, exclude: ArrayLike
) -> tuple[Float64, Positions]:
    """Leave one row out of the neighbours of each query.

    Parameters
    ----------
    distances, positions : array-like of shape (n_queries, k + 1)
        The nearest rows, in ascending order of distance.

    exclude : array-like of shape (n_queries,), dtype int
        Position of the row to leave out, which the query equals; -1 for none.

    Returns
    -------
    distances, positions : ndarrays of shape (n_queries, k)
        Without the excluded row, or without the farthest where it is not among them.

    Examples
    --------
    >>> without_excluded([[0.0, 1.0], [2.0, 3.0]], [[7, 5], [7, 5]], [7, -1])
    (array([[1.],
           [2.]]), array([[5],
           [7]]))
    """
    distances, positions = np.asarray(distances), np.asarray(positions)
    left_out = positions == np.asarray(exclude)[:, None]
    left_out[~left_out.any(axis=1), -1] = True
    shape = len(positions), positions.shape[1] - 1
    return distances[~left_out].reshape(shape), positions[~left_out].reshape(shape)


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
        Number of rows, at least 2.

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
    queries: ArrayLike, rows: ArrayLike, subsamples: Positions, exclude: ArrayLike
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

    exclude : array-like of shape (n_queries,), dtype int
        Position of the row to leave out, which the query equals; -1 for none.

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
    queries, exclude = np.asarray(queries, np.float64), np.asarray(exclude)
    rows = np.asarray(rows, np.float64)
    drawn = rows[subsamples.ravel()]
    # Differences of squares lose less near the origin; a mean could lie far from all.
    centre = np.median(drawn, axis=0)
    drawn, centred = drawn - centre, queries - centre
    squares = np.einsum("ij,ij->i", drawn, drawn)
    distances = centred @ (-2.0 * drawn.T) + squares
    for query in np.flatnonzero(exclude >= 0):
        distances[query, subsamples.ravel() == exclude[query]] = np.inf
    distances = distances.reshape(len(queries), *subsamples.shape)
    places = distances.argmin(axis=2)[..., None]
    nearest = np.take_along_axis(distances, places, axis=2)[..., 0]
    nearest += np.einsum("ij,ij->i", centred, centred)[:, None]
    places = np.take_along_axis(subsamples[None], places, axis=2)[..., 0]
    return np.sqrt(np.maximum(nearest, 0.0)), places


def _check(_: Any, state: State, sizes: Sizes) -> None:
    n_rows = state["latent_index"].n_samples_fit_
    require(n_rows == sizes["rows"] >= 2, "the neighbours are other rows")
    require(min(sizes["subsamples"], sizes["size"]) > 0, "subsamples are empty")


@storable(check=_check)
class Neighborhood(NamedTuple):
    """Training rows that others are compared with, and the distances to them.

    Attributes
    ----------
    n_neighbors : int
        Number of local neighbours; fewer where there are fewer other rows.
    latent_index : LatentIndex
        The latents of the rows. Its ids are their positions among the training rows.
    features : ndarray of shape (n_rows, n_features)
        The rows as they enter the embedder.
    keys : ndarray of shape (n_rows,), dtype uint64
        The `row_keys` of the rows.
    is_support : ndarray of shape (n_rows,), dtype bool
        Whether the Gaussian was estimated from the row.
    mean_distances : ndarray of shape (n_rows,)
        Mean distance of each row to its neighbours, itself left out.
    subsamples : ndarray of shape (n_subsamples, size)
        Positions of the rows of each subsample.
    """

    n_neighbors: Annotated[int, schema.count(1)]
    latent_index: Annotated[LatentIndex, schema.instance(LatentIndex, "ids_")]
    features: Annotated[NDArray[Any], schema.floats("rows", "features", finite=False)]
    keys: Annotated[NDArray[np.uint64], schema.integers("rows", dtypes={"uint64"})]
    is_support: Annotated[NDArray[np.bool_], schema.booleans("rows")]
    mean_distances: Annotated[Float64, schema.floats("rows", least=0)]
    subsamples: Annotated[
        Positions, schema.integers("subsamples", "size", below="rows")
    ]

    def recognized(self, X: Any, rows: LatentRows) -> LatentRows:
        """Return rows that exclude the neighbour that they equal."""
        known = pd.Series(np.arange(len(self.keys)), self.keys)
        known = known[~known.index.duplicated()]
        positions = known.reindex(row_keys(X), fill_value=-1).to_numpy()
        return rows._replace(exclude=positions)

    def in_support(self, rows: LatentRows) -> NDArray[np.bool_]:
        """Tell which rows equal one of the support."""
        return (rows.exclude >= 0) & self.is_support[rows.exclude]

    def local(
        self, rows: LatentRows, n_neighbors: int | None = None
    ) -> tuple[Float64, Positions]:
        """Return distances and positions of the nearest rows."""
        k = min(n_neighbors or self.n_neighbors, len(self.keys) - 1)
        distances, positions = self.latent_index.kneighbors(
            rows.latents, n_neighbors=k + 1
        )
        return without_excluded(distances, positions, rows.exclude)

    def global_(self, rows: LatentRows) -> tuple[Float64, Positions]:
        """Return distances and positions of the nearest row in each subsample."""
        return nearest_of_subsamples(
            rows.latents, self.latent_index.vectors_, self.subsamples, rows.exclude
        )

    def local_distances(self, rows: LatentRows) -> Float64:
        """Return the distance of each row to its neighbours, relative to theirs."""
        distances, positions = self.local(rows)
        # Copies of one row have mean distances of zero; others are not to look
        # endlessly far in comparison.
        least = scale_of(self.mean_distances).floor
        theirs = self.mean_distances[positions].mean(axis=1)
        return relative_distances(distances.mean(axis=1), theirs, least)

    def global_distances(self, rows: LatentRows) -> Float64:
        """Return the mean distance of each row to the nearest of every subsample."""
        size = max(1, BLOCK_ELEMENTS // self.subsamples.size)
        blocks = gen_batches(len(rows.latents), size)
        means = [self.global_(rows.at(block))[0].mean(axis=1) for block in blocks]
        return np.concatenate(means)

    def nearest_features(self, rows: LatentRows, n: int) -> NDArray[Any]:
        """Return the n nearest rows as they enter the embedder, of shape (n, ...)."""
        if n == 0:
            return np.empty((0, *rows.features.shape))
        return self.features[self.local(rows, n)[1].T]


def neighborhood_of(
    X: Any,
    rows: LatentRows,
    chosen: Positions,
    support: Positions,
    n_neighbors: int,
    generator: np.random.Generator,
) -> Neighborhood:
    """Keep some training rows, and index their latents.

    Parameters
    ----------
    X : array-like of shape (n_training, n_columns)
        Training rows.

    rows : LatentRows
        The same rows as the embedder shows them.

    chosen : ndarray, dtype intp
        Positions of the rows to keep, at least 2.

    support : ndarray, dtype intp
        Positions of the rows that the Gaussian was estimated from.

    n_neighbors : int
        Number of local neighbours.

    generator : Generator
        Draws the subsamples.

    Returns
    -------
    neighborhood : Neighborhood
    """
    index = LatentIndex().fit(rows.latents[chosen], ids=chosen)
    distances, _ = index.kneighbors(n_neighbors=min(n_neighbors, len(chosen) - 1))
    return Neighborhood(
        int(n_neighbors),
        index,
        rows.features[chosen],
        row_keys(_safe_indexing(X, chosen)),
        np.isin(chosen, support),
        distances.mean(axis=1),
        draw_subsamples(len(chosen), generator),
    )
