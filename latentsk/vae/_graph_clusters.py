"""Clusters of points by the graph of their neighbours, whatever shape they have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from latentsk._typing import Float64

N_NEIGHBORS = 20
# Of fewer points, most are neighbours.
MIN_POINTS = 2 * N_NEIGHBORS
# Coordinates that agree in so many digits are one place.
PLACE_DIGITS = 9
# The neighbour whose distance is a point's scale (Zelnik-Manor & Perona, 2004).
SCALE_NEIGHBOR = 7
# Eigenvectors per cluster. As many as clusters miss those that a smaller group, such as
# a style within a cluster, takes up.
EIGENVECTORS_PER_CLUSTER = 4
MIN_MORE_EIGENVECTORS = 10
# Few points have their eigenvectors by dense matrices, which find them exactly.
MAX_DENSE = 500
# Of the iteration that finds them otherwise.
MORE_VECTORS = 10
N_ORTHOGONALIZATIONS = 20
N_PRODUCTS = 10
# What a walk leaves of the eigenvector that has the number of the clusters.
REMAINDER = 0.7
N_INITIALIZATIONS = 20


def graph_clusters(points: Float64, n_clusters: int, seed: int) -> NDArray[np.int64]:
    """Return the cluster of each point, by its neighbours.

    Spectral clustering (Ng et al., 2002) of the graph of nearest neighbours, with the
    coordinates of a diffusion map (Coifman & Lafon, 2006): eigenvectors count by how
    slowly a random walk forgets them, which spares the choice of their number. Few
    points are clustered as they are.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_dimensions), dtype float64
        More than `n_clusters`, all different.

    n_clusters : int

    seed : int
        Of the first centres of k-means.

    Returns
    -------
    labels : ndarray of shape (n_points,), dtype int64

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> angles = rng.uniform(0, 2 * np.pi, 200)
    >>> rings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> rings[:100] *= 5
    >>> labels = graph_clusters(rings, 2, seed=0)
    >>> len(set(labels[:100])), len(set(labels[100:])), labels[0] != labels[100]
    (1, 1, np.True_)
    """
    coordinates = points
    if len(points) >= MIN_POINTS:
        diffused = _diffusion_coordinates(_affinity(points), n_clusters, seed)
        # Fewer places than clusters: the graph tells nothing of its points.
        if len(np.unique(diffused.round(PLACE_DIGITS), axis=0)) >= n_clusters:
            coordinates = diffused
    means = KMeans(n_clusters, n_init=N_INITIALIZATIONS, random_state=seed)
    return means.fit_predict(coordinates).astype(np.int64)


def _affinity(points: Float64) -> sparse.csr_array:
    """Return the weights of the edges between neighbours, symmetric."""
    n_points = len(points)
    n_neighbors = min(N_NEIGHBORS, n_points - 1)
    neighbors = NearestNeighbors(n_neighbors=n_neighbors).fit(points)
    distances, numbers = neighbors.kneighbors()
    scales = distances[:, min(SCALE_NEIGHBOR, n_neighbors) - 1]
    tiny = np.finfo(np.float64).tiny
    units = np.maximum(scales[:, None] * scales[numbers], tiny)
    weights = np.exp(-(distances**2) / units)
    starts = np.arange(0, weights.size + 1, n_neighbors)
    shape = n_points, n_points
    edges = sparse.csr_array((weights.ravel(), numbers.ravel(), starts), shape)
    return edges + edges.T


def _diffusion_coordinates(
    affinity: sparse.csr_array, n_clusters: int, seed: int
) -> Float64:
    """Return a direction for each point, near for those that walks connect."""
    roots = 1.0 / np.sqrt(affinity.sum(axis=1))
    scaled = sparse.diags_array(roots) @ affinity @ sparse.diags_array(roots)
    wanted = max(
        EIGENVECTORS_PER_CLUSTER * n_clusters, n_clusters + MIN_MORE_EIGENVECTORS
    )
    values, vectors = _largest_eigenvectors(scaled, wanted, seed)
    values = np.clip(values, 0.0, 1.0)
    decay = values[min(n_clusters, len(values)) - 1]
    # One, where there are as many parts without a connection as clusters.
    n_steps = np.log(REMAINDER) / np.log(np.clip(decay, 1e-3, 1.0 - 1e-3))
    coordinates = vectors * values**n_steps
    lengths = np.linalg.norm(coordinates, axis=1, keepdims=True)
    return coordinates / np.maximum(lengths, np.finfo(np.float64).tiny)


def _largest_eigenvectors(
    matrix: sparse.csr_array, number: int, seed: int
) -> tuple[Float64, Float64]:
    """Return the largest eigenvalues, falling, and their eigenvectors.

    By a block of vectors at once, so that none of a multiple eigenvalue is missed: as
    many are one as the graph has parts without a connection.
    """
    n_points = matrix.shape[0]
    if n_points <= MAX_DENSE:
        values, vectors = np.linalg.eigh(matrix.toarray())
        return values[::-1][:number], vectors[:, ::-1][:, :number]
    # Half of the way to the identity: what is near -1 does not come up.
    lazy = 0.5 * (matrix + sparse.eye_array(n_points))
    shape = n_points, min(n_points, number + MORE_VECTORS)
    block = np.random.default_rng(seed).standard_normal(shape)
    for _ in range(N_ORTHOGONALIZATIONS):
        for _ in range(N_PRODUCTS):
            block = lazy @ block
        block, _ = np.linalg.qr(block)
    values, turn = np.linalg.eigh(block.T @ (matrix @ block))
    return values[::-1][:number], (block @ turn)[:, ::-1][:, :number]
