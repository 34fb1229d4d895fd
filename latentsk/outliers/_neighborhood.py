"""Rows that others are compared with: local and global distances to them."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.utils import gen_batches

from latentsk._typing import Float64, Positions
from latentsk.index import LatentIndex
from latentsk.outliers import _neighbors as neighbors
from latentsk.outliers._latent_rows import LatentRows
from latentsk.outliers._neighbors import NearestRows
from latentsk.persistence import _schema as schema
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import Sizes, State, require

# Number of rows that stand for all in the global distance.
SAMPLE_ROWS = 512
# Vectors of more components are held in float32, unless they lie off their centre.
FEW_COMPONENTS = 16
MOST_OFF_CENTRE = 10.0
# Number of distances computed at a time.
BLOCK_ELEMENTS = 2**22


class Measured(NamedTuple):
    """Distances of rows to the rows of a neighborhood.

    Attributes
    ----------
    nearest : NearestRows
        One more row than there are neighbours.
    sample : ndarray of shape (n_rows, n_sampled)
        Distances to the sampled rows, in ascending order.
    present : ndarray of shape (n_rows,)
        How much a row is one of the neighborhood: see `presence`.
    in_sample, in_support : ndarray of shape (n_rows,)
        How much it is a row of the sample, and one of the support.
    own : ndarray of shape (n_rows,)
        Squared Mahalanobis distance of that row of the support; 0 where there is none.
    """

    nearest: NearestRows
    sample: NDArray[Any]
    present: Float64
    in_sample: Float64
    in_support: Float64
    own: Float64

    @property
    def local(self) -> Float64:
        """Mean scaled distance to the neighbours, the row itself counted out."""
        return neighbors.mean_without_itself(self.nearest.scaled, self.present)

    @property
    def global_(self) -> Float64:
        """Expected distance to the nearest of 8 random rows, itself counted out."""
        return neighbors.expected_nearest(self.sample, self.in_sample)


def _check(_: Any, state: State, sizes: Sizes) -> None:
    n_rows = state["latent_index"].n_samples_fit_
    require(n_rows == sizes["rows"] >= 2, "the neighbours are other rows")
    require(sizes["sampled"] > 0, "the sample is empty")
    some = state.get("is_example")
    require(some is None or some.sum() >= 2, "no rows may be shown as normal ones")


# Files of the first releases do not tell which rows are examples.
@storable(optional={"is_example": schema.maybe(schema.booleans("rows"))}, check=_check)
class Neighborhood(NamedTuple):
    """Training rows that others are compared with, and the distances to them.

    Attributes
    ----------
    n_neighbors : int
        Number of local neighbours; fewer where there are fewer other rows.
    latent_index : LatentIndex
        The latents of the rows. Its ids are their positions among the training rows.
    squares : ndarray of shape (n_rows,)
        Squared lengths of the latents, from their centre.
    features : ndarray of shape (n_rows, n_features)
        The rows as they enter the embedder.
    is_support : ndarray of shape (n_rows,), dtype bool
        Whether the Gaussian was estimated from the row.
    within : ndarray of shape (n_rows,)
        Squared Mahalanobis distance of each row within the latent space.
    spacings : ndarray of shape (n_rows,)
        Mean distance of each row to its neighbours, within limits.
    sample : ndarray of shape (n_sampled,)
        Positions of the rows that stand for all in the global distance.
    is_example : ndarray of shape (n_rows,), dtype bool, or None
        Which rows may be shown as normal ones; None if all may.
    """

    n_neighbors: Annotated[int, schema.count(1)]
    latent_index: Annotated[LatentIndex, schema.instance(LatentIndex, "ids_")]
    squares: Annotated[NDArray[Any], schema.floats("rows", least=0)]
    features: Annotated[NDArray[Any], schema.floats("rows", "features", finite=False)]
    is_support: Annotated[NDArray[np.bool_], schema.booleans("rows")]
    within: Annotated[Float64, schema.floats("rows", least=0)]
    spacings: Annotated[Float64, schema.floats("rows", least=5e-324)]
    sample: Annotated[Positions, schema.integers("sampled", below="rows")]
    is_example: NDArray[np.bool_] | None = None

    def nearest(self, latents: NDArray[Any], n_neighbors: int) -> NearestRows:
        """Return one row more than asked for, by scaled distance."""
        vectors = self.latent_index.vectors_
        n = min(n_neighbors, len(vectors) - 1) + 1
        return neighbors.nearest_rows_scaled(
            latents, vectors, self.squares, self.spacings, n
        )

    def measure(self, latents: NDArray[Any]) -> Measured:
        """Measure rows against those of the neighborhood."""
        nearest = self.nearest(latents, self.n_neighbors)
        rows = self.latent_index.vectors_[self.sample]
        size = max(1, BLOCK_ELEMENTS // len(rows))
        blocks = [
            neighbors.sorted_distances(latents[block], rows)
            for block in gen_batches(len(latents), size)
        ]
        is_sampled = np.zeros(len(self.is_support), bool)
        is_sampled[self.sample] = True
        presences = self._presences(nearest)
        in_support = presences * self.is_support[nearest.positions]
        present = in_support.max(axis=1)
        own = np.einsum("ij,ij->i", in_support, self.within[nearest.positions])
        sums = in_support.sum(axis=1)
        return Measured(
            nearest,
            np.concatenate(blocks),
            presences.max(axis=1),
            (presences * is_sampled[nearest.positions]).max(axis=1),
            present,
            np.divide(own, sums, out=np.zeros_like(own), where=sums > 0.0),
        )

    def compared_near(self, rows: LatentRows) -> tuple[Positions, Float64]:
        """Return the rows of the local distance, and what each contributes to it."""
        nearest = self.nearest(rows.latents, self.n_neighbors)
        present = self._presences(nearest).max(axis=1)
        weights = neighbors.neighbor_weights(present, nearest.scaled.shape[1])
        return nearest.positions, weights * nearest.scaled

    def compared_overall(self, rows: LatentRows) -> tuple[Positions, Float64]:
        """Return the rows of the global distance, and what each contributes to it."""
        vectors = self.latent_index.vectors_[self.sample]
        distances = cdist(rows.latents, vectors)
        order = np.argsort(distances, axis=1, kind="stable")
        weights = neighbors.nearest_weights(
            self.measure(rows.latents).in_sample, len(vectors)
        )
        contributions = weights * np.take_along_axis(distances, order, axis=1)
        return self.sample[order], contributions

    def with_examples(self, is_example: NDArray[np.bool_]) -> Neighborhood:
        """Let only some rows be shown as normal ones; all if not even two may.

        One alone would be none beside itself.
        """
        return self._replace(is_example=is_example if is_example.sum() >= 2 else None)

    def nearest_examples(self, latents: NDArray[Any], n: int) -> Positions:
        """Return positions of the n nearest other examples, of shape (n, n_rows)."""
        if self.is_example is None:
            return self._nearest_among(np.arange(len(self.spacings)), latents, n)
        return self._nearest_among(np.flatnonzero(self.is_example), latents, n)

    def nearest_features(self, latents: NDArray[Any], n: int) -> NDArray[Any]:
        """Return the n nearest other rows as they enter the embedder, (n, rows, p)."""
        every = np.arange(len(self.spacings))
        return self.features[self._nearest_among(every, latents, n)]

    def _nearest_among(
        self, some: Positions, latents: NDArray[Any], n: int
    ) -> Positions:
        n = min(n, len(some) - 1)
        if n == 0:
            return np.empty((0, len(latents)), np.intp)
        vectors = self.latent_index.vectors_[some]
        squares = neighbors.squared_lengths(vectors)
        found = neighbors.nearest_rows_scaled(
            latents, vectors, squares, self.spacings[some], n + 1
        )
        positions = some[found.positions]
        # Where the row itself is among these, it comes last, whatever equals it.
        is_itself = positions == self._itself(latents)[:, None]
        order = np.argsort(is_itself, axis=1, kind="stable")[:, :n]
        return np.take_along_axis(positions, order, axis=1).T

    def _itself(self, latents: NDArray[Any]) -> Positions:
        """Return which row each query is, rather than another one; -1 for none."""
        nearest = self.nearest(latents, self.n_neighbors)
        is_itself = self._presences(nearest).max(axis=1) > 0.5
        return np.where(is_itself, nearest.positions[:, 0], -1)

    def _presences(self, nearest: NearestRows) -> Float64:
        """Return how much each query is each of the nearest rows."""
        # Among copies of one row nothing is left between a copy and what is near it.
        spacing = np.maximum(nearest.scaled[:, 1:].mean(axis=1), self.spacings.min())
        return neighbors.presence(nearest.scaled, spacing[:, None])


def neighborhood_of(
    latents: NDArray[Any],
    features: NDArray[Any],
    distances: Float64,
    is_support: NDArray[np.bool_],
    within: Float64,
    ids: Positions,
    n_neighbors: int,
) -> Neighborhood:
    """Keep rows to compare others with, and index their latents.

    Parameters
    ----------
    latents : ndarray of shape (n_rows, n_components)
        Latents of the rows to keep, at least 2.

    features : ndarray of shape (n_rows, n_features)
        The same rows as they enter the embedder.

    distances : ndarray of shape (n_rows,)
        How far each row lies out. The rows that stand for all are evenly spaced in this
        order, whatever the order of the rows.

    is_support : ndarray of shape (n_rows,), dtype bool
        Whether the Gaussian was estimated from the row.

    within : ndarray of shape (n_rows,)
        Squared Mahalanobis distance of each row within the latent space.

    ids : ndarray of shape (n_rows,), dtype intp
        Positions of the rows among the training rows.

    n_neighbors : int
        Number of local neighbours.

    Returns
    -------
    neighborhood : Neighborhood
    """
    index = LatentIndex().fit(compact(latents), ids=ids)
    k = min(n_neighbors, len(latents) - 1)
    spacings = index.kneighbors(n_neighbors=k)[0].mean(axis=1)
    return Neighborhood(
        int(n_neighbors),
        index,
        neighbors.squared_lengths(index.vectors_),
        features,
        is_support,
        within,
        neighbors.clipped_spacings(spacings),
        evenly_spaced(distances, SAMPLE_ROWS),
    )


def compact(latents: NDArray[Any]) -> NDArray[Any]:
    """Return latents in float32 where their distances keep enough digits.

    Few components make short distances, and vectors far off their centre long products.
    """
    deviations = latents.std(axis=0)
    off = np.abs(np.median(latents, axis=0)) > MOST_OFF_CENTRE * deviations.max()
    if latents.shape[1] <= FEW_COMPONENTS or off.any():
        return np.asarray(latents, np.float64)
    return np.asarray(latents, np.float32)


def evenly_spaced(values: Float64, n: int) -> Positions:
    """Return positions of n values that are evenly spaced in their order.

    Examples
    --------
    >>> evenly_spaced(np.array([9.0, 1.0, 5.0, 3.0, 7.0]), 3)
    array([0, 1, 2])
    """
    if len(values) <= n:
        return np.arange(len(values))
    ranks = np.linspace(0, len(values) - 1, n).round().astype(np.intp)
    return np.sort(np.argsort(values, kind="stable")[ranks])
