"""The methods that scikit-learn's NearestNeighbors has, compared with it."""

import numpy as np
import pytest
import sklearn
from sklearn.cluster import DBSCAN
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from latentsk import LatentIndex

RADIUS = {"euclidean": 1.5, "cosine": 0.3}
# The peer subtracts products, and so puts a row at a small distance from itself.
PEER_ERROR = 1e-7


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(60, 4))


@pytest.fixture(scope="module")
def new():
    return np.random.default_rng(1).normal(size=(7, 4))


@pytest.fixture(params=["euclidean", "cosine"])
def both(request, rows):
    """Return our index and scikit-learn's, fitted alike."""
    settings = {"metric": request.param, "radius": RADIUS[request.param]}
    peer = NearestNeighbors(algorithm="brute", **settings)
    return LatentIndex(**settings).fit(rows), peer.fit(rows)


def _assert_same_arrays(ours, theirs):
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if ours.dtype == object:
        for mine, peers in zip(ours, theirs, strict=True):
            _assert_same_arrays(mine, peers)
    elif ours.dtype == np.int64:
        np.testing.assert_array_equal(ours, theirs)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=PEER_ERROR)


def _assert_same_graphs(ours, theirs):
    assert type(ours) is type(theirs)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours.indptr, theirs.indptr)
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-12, atol=PEER_ERROR)


@pytest.mark.parametrize("queries", ["new", "own", "fitted"])
@pytest.mark.parametrize("k", [None, 1, np.int64(3), 59])
def test_kneighbors(both, rows, new, queries, k):
    X = {"new": new, "own": None, "fitted": rows}[queries]
    ours, theirs = (index.kneighbors(X, k) for index in both)
    for mine, peers in zip(ours, theirs, strict=True):
        _assert_same_arrays(mine, peers)
    only, expected = (i.kneighbors(X, k, return_distance=False) for i in both)
    _assert_same_arrays(only, expected)


def test_kneighbors_of_all_rows(both, new):
    for mine, peers in zip(*(i.kneighbors(new, 60) for i in both), strict=True):
        _assert_same_arrays(mine, peers)


@pytest.mark.parametrize("queries", ["new", "own", "fitted"])
@pytest.mark.parametrize("mode", ["connectivity", "distance"])
@pytest.mark.parametrize("k", [None, 1, 12])
def test_kneighbors_graph(both, rows, new, queries, mode, k):
    X = {"new": new, "own": None, "fitted": rows}[queries]
    _assert_same_graphs(*(i.kneighbors_graph(X, k, mode) for i in both))


@pytest.mark.parametrize("queries", ["new", "own", "fitted"])
@pytest.mark.parametrize("radius", [None, 0.0, 0.2, 1e6])
@pytest.mark.parametrize("sort_results", [False, True])
def test_radius_neighbors(both, rows, new, queries, radius, sort_results):
    X = {"new": new, "own": None, "fitted": rows}[queries]
    if radius == 0.0 and queries == "fitted":
        radius = PEER_ERROR
    answers = [
        i.radius_neighbors(X, radius, return_distance=True, sort_results=sort_results)
        for i in both
    ]
    for mine, peers in zip(*answers, strict=True):
        _assert_same_arrays(mine, peers)
    if not sort_results:
        _assert_same_arrays(*(i.radius_neighbors(X, radius, False) for i in both))


@pytest.mark.parametrize("queries", ["new", "own", "fitted"])
@pytest.mark.parametrize(
    ("mode", "sort_results"),
    [("connectivity", False), ("distance", False), ("distance", True)],
)
def test_radius_neighbors_graph(both, rows, new, queries, mode, sort_results):
    X = {"new": new, "own": None, "fitted": rows}[queries]
    _assert_same_graphs(
        *(i.radius_neighbors_graph(X, None, mode, sort_results) for i in both)
    )


def test_radius_that_no_row_is_within(both):
    far = np.full((2, 4), 1e3) * [[1], [-1]]
    index = both[0]
    distances, positions = index.radius_neighbors(far, 0.0)
    for found in (*distances, *positions):
        assert found.shape == (0,)
    assert index.radius_neighbors_graph(far, 0.0).nnz == 0


def test_radius_includes_its_boundary():
    index = LatentIndex().fit(np.arange(10.0)[:, None])
    positions = index.radius_neighbors([[4.0]], 2.0, return_distance=False)
    np.testing.assert_array_equal(positions[0], [2, 3, 4, 5, 6])
    below = np.nextafter(2.0, 0.0)
    positions = index.radius_neighbors([[4.0]], below, return_distance=False)
    np.testing.assert_array_equal(positions[0], [3, 4, 5])


def test_radius_is_exact_in_every_setting(make_case, brute_force):
    rows, queries = make_case("two_clusters")
    truth = brute_force(rows, queries)
    radius = float(np.sort(truth[0])[20])
    index = LatentIndex(exactness="float32").fit(rows)
    found = index.radius_neighbors(queries, radius, return_distance=False)
    for mine, true in zip(found, truth, strict=True):
        np.testing.assert_array_equal(mine, np.flatnonzero(true <= radius))


def test_sorted_radius_ties_come_by_position(make_case, brute_force):
    rows, queries = make_case("lattice")
    truth = brute_force(rows, queries)
    distances, positions = (
        LatentIndex().fit(rows).radius_neighbors(queries, 1.5, sort_results=True)
    )
    for near, found, true in zip(distances, positions, truth, strict=True):
        expected = np.argsort(true, kind="stable")[: np.sum(true <= 1.5)]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(near, true[expected])


def test_rows_are_left_out_even_among_duplicates():
    rows = np.repeat([[0.0, 0.0], [3.0, 4.0]], 4, axis=0)
    index = LatentIndex(n_neighbors=3).fit(rows)
    distances, positions = index.kneighbors()
    expected = [[j for j in range(4) if j != i] for i in range(4)]
    np.testing.assert_array_equal(positions[:4], expected)
    np.testing.assert_array_equal(positions[4:], np.array(expected) + 4)
    np.testing.assert_array_equal(distances, np.zeros((8, 3)))


def test_distances_are_float64_for_float32_rows(rows, new):
    peer = NearestNeighbors(algorithm="brute").fit(rows.astype(np.float32))
    index = LatentIndex().fit(rows.astype(np.float32))
    queries = new.astype(np.float32)
    ours, theirs = index.kneighbors(queries), peer.kneighbors(queries)
    assert ours[0].dtype == theirs[0].dtype == np.float64
    np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("mode", ["connectivity", "distance"])
@pytest.mark.parametrize("k", [1, 6])
def test_graphs_are_valid_csr_with_explicit_zeros(rows, mode, k):
    graph = LatentIndex().fit(rows).kneighbors_graph(rows, k, mode)
    graph.check_format()
    assert graph.nnz == 60 * k
    if mode == "distance":
        # What scikit-learn's precomputed metrics expect: the row itself comes first.
        np.testing.assert_array_equal(graph.data[::k], np.zeros(60))
        np.testing.assert_array_equal(graph.indices[::k], np.arange(60))
        assert (graph.data >= 0).all()


def test_dbscan_takes_the_radius_graph(make_case):
    rows, _ = make_case("two_clusters")
    graph = (
        LatentIndex(radius=3e-3)
        .fit(rows)
        .radius_neighbors_graph(rows, mode="distance", sort_results=True)
    )
    ours = DBSCAN(eps=3e-3, metric="precomputed").fit_predict(graph)
    truth = DBSCAN(eps=3e-3, algorithm="kd_tree").fit_predict(rows)
    np.testing.assert_array_equal(ours, truth)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_local_outlier_factor_takes_the_neighbour_graph(rows, metric):
    graph = LatentIndex(metric=metric).fit(rows).kneighbors_graph(rows, 11, "distance")
    ours = LocalOutlierFactor(10, metric="precomputed").fit(graph)
    theirs = LocalOutlierFactor(10, metric=metric, algorithm="brute").fit(rows)
    np.testing.assert_allclose(
        ours.negative_outlier_factor_, theirs.negative_outlier_factor_
    )


@pytest.mark.parametrize("method", ["kneighbors_graph", "radius_neighbors_graph"])
def test_unknown_mode_is_refused(rows, method):
    with pytest.raises(ValueError, match=r"mode must be.*'weights'"):
        getattr(LatentIndex().fit(rows), method)(rows, mode="weights")


def test_sorting_needs_distances(both, new):
    for index in both:
        with pytest.raises(ValueError, match="return_distance must be True"):
            index.radius_neighbors(new, 1.0, return_distance=False, sort_results=True)


@pytest.mark.parametrize(
    "method",
    ["kneighbors", "kneighbors_graph", "radius_neighbors", "radius_neighbors_graph"],
)
def test_inner_products_are_no_distances(rows, method):
    index = LatentIndex(metric="inner_product").fit(rows)
    with pytest.raises(ValueError, match="similarity"):
        getattr(index, method)(rows[:2])


@pytest.mark.parametrize("interface", ["spmatrix", "sparray"])
@pytest.mark.parametrize("graph", ["kneighbors_graph", "radius_neighbors_graph"])
def test_graphs_have_scikit_learns_types(interface, graph):
    rows = np.random.default_rng(0).normal(size=(30, 3))
    peer, index = NearestNeighbors(algorithm="brute").fit(rows), LatentIndex().fit(rows)
    with sklearn.config_context(sparse_interface=interface):
        theirs, ours = getattr(peer, graph)(), getattr(index, graph)()
    assert type(ours) is type(theirs)
    for name in ("data", "indices", "indptr"):
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype
