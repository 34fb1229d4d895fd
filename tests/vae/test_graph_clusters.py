import numpy as np
import pytest
import scipy.linalg
from sklearn.cluster import SpectralClustering
from sklearn.datasets import make_circles
from sklearn.metrics import adjusted_rand_score

from latentsk.vae import _graph_clusters
from latentsk.vae._graph_clusters import graph_clusters


def curved_kinds(n_points=600, seed=0):
    """Return three kinds of points on curved sheets in ten dimensions."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(n_points) % 3
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [3.0, 5.0]])
    codes = centres[kinds] + rng.normal(size=(n_points, 2))
    weights, more = rng.normal(size=(2, 16)), rng.normal(size=(16, 10))
    return np.tanh(0.3 * codes @ weights) @ more, kinds


@pytest.mark.parametrize("seed", range(5))
def test_kinds_on_curved_sheets_are_recovered_from_every_seed(seed):
    points, kinds = curved_kinds()
    assert adjusted_rand_score(kinds, graph_clusters(points, 3, seed)) > 0.95


def test_clusters_are_those_of_scikit_learn_where_those_are_clear():
    points, _ = curved_kinds()
    peer = SpectralClustering(3, affinity="nearest_neighbors", random_state=0)
    found = graph_clusters(points, 3, seed=0)
    assert adjusted_rand_score(peer.fit_predict(points), found) > 0.95


def test_rings_are_told_apart():
    points, kinds = make_circles(300, noise=0.03, factor=0.4, random_state=0)
    assert adjusted_rand_score(kinds, graph_clusters(points, 2, seed=0)) == 1.0


def test_order_scale_and_place_of_the_points_do_not_matter():
    points, _ = curved_kinds()
    order = np.random.default_rng(1).permutation(len(points))
    found = graph_clusters(points, 3, seed=0)
    moved = graph_clusters(7.0 * points[order] - 3.0, 3, seed=0)
    assert adjusted_rand_score(found[order], moved) == 1.0


@pytest.mark.parametrize("n_per_cluster", [30, 120])
def test_parts_without_a_connection_are_all_found(n_per_cluster):
    """As many eigenvalues are one as there are clusters, by both ways to find them."""
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(8), n_per_cluster)
    points = 100.0 * np.eye(8)[kinds] + rng.normal(size=(len(kinds), 8))
    assert adjusted_rand_score(kinds, graph_clusters(points, 8, seed=0)) == 1.0


def test_eigenvectors_are_those_of_dense_matrices(monkeypatch):
    matrix = _graph_clusters._affinity(curved_kinds(400)[0])
    degrees = np.sqrt(matrix.sum(axis=1))
    matrix = (matrix / degrees[:, None] / degrees).tocsr()
    monkeypatch.setattr(_graph_clusters, "MAX_DENSE", 0)
    values, vectors = _graph_clusters._largest_eigenvectors(matrix, 4, seed=0)
    expected = scipy.linalg.eigh(matrix.toarray())
    np.testing.assert_allclose(values, expected[0][::-1][:4], atol=1e-6)
    cosines = np.abs(np.sum(vectors * expected[1][:, ::-1][:, :4], axis=0))
    np.testing.assert_allclose(cosines, 1.0, atol=1e-3)


def test_one_point_more_than_clusters():
    found = graph_clusters(np.array([[0.0], [0.1], [9.0], [20.0]]), 3, seed=0)
    assert len(set(found)) == 3
