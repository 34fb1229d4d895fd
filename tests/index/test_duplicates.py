"""Groups of duplicates equal those of float64 brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from latentsk.index import _cells, _duplicates, _same_rows
from latentsk.index._duplicates import duplicate_groups
from latentsk.index._forest import Forest
from latentsk.index._metric import MetricSpace


def groups_of(graph):
    """Return the labels of components of two rows or more, by their first rows."""
    _, components = connected_components(graph, directed=False)
    labels, numbers = np.full(len(components), -1), {}
    for row, component in enumerate(components):
        if np.count_nonzero(components == component) > 1:
            labels[row] = numbers.setdefault(component, len(numbers))
    return labels


def measured_pairs(space):
    """Return all distances, as the space measures them for its own rows."""
    rows = space.rows(slice(None))
    with np.errstate(all="ignore"):
        values = np.array([space.exact_distances(row[None], rows) for row in rows])
    if space.metric == "cosine":
        zero = ~space.vectors.any(axis=1)
        values[zero] = values[:, zero] = 1.0
        values[np.ix_(zero, zero)] = 0.0  # as duplicates, rows of zeros are equal
    return values


def brute_force(space, threshold, active=None):
    near = measured_pairs(space) <= threshold
    if active is not None:
        near &= active & active[:, None]
    return groups_of(near)


def thresholds(space):
    """Return thresholds from none to all, and distances that occur themselves."""
    values = measured_pairs(space)
    values = np.sort(values[np.triu_indices(len(values), 1)])
    at = (np.array([0.001, 0.01, 0.05, 0.3, 1.0]) * (len(values) - 1)).astype(int)
    some = values[at]
    return [0.0, *some, *(some * (1 - 1e-15)), 0.3 * some[0], 1.5 * some[-1]]


@pytest.fixture(params=["euclidean", "cosine"])
def metric(request):
    return request.param


# Hard data


def test_equals_brute_force_on_hard_data(hard_case, metric):
    space = MetricSpace(hard_case.rows, metric)
    for threshold in thresholds(space):
        expected = brute_force(space, threshold)
        np.testing.assert_array_equal(duplicate_groups(space, threshold), expected)


@pytest.mark.parametrize("n_cells_per_root", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("n_features", [1, 3, 40])
def test_equals_brute_force_whatever_the_cells_and_blocks(
    monkeypatch, metric, n_cells_per_root, n_features
):
    monkeypatch.setattr(_cells, "CELLS_PER_ROOT", n_cells_per_root)
    for module in (_cells, _duplicates):
        monkeypatch.setattr(module, "BLOCK_SCORES", 50)
        monkeypatch.setattr(module, "ROW_ELEMENTS", 70)
    monkeypatch.setattr(_cells, "TABLE_BYTES", 900)
    monkeypatch.setattr(_duplicates, "FLATTEN_EVERY", 3)
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(12, n_features))
    rows = centres[rng.integers(0, 12, 120)] + 0.1 * rng.normal(size=(120, n_features))
    space = MetricSpace(rows, metric)
    for threshold in thresholds(space):
        expected = brute_force(space, threshold)
        np.testing.assert_array_equal(duplicate_groups(space, threshold), expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_equals_scipy_at_any_scale(scale, dtype):
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(700, 4)) * scale).astype(dtype)
    distances = cdist(rows.astype(float), rows.astype(float))
    space = MetricSpace(rows, "euclidean")
    for factor in (0.05, 0.2, 0.4, 1.0):
        # Between two distances that occur, so that rounding cannot decide.
        expected = groups_of(distances <= factor * scale)
        found = duplicate_groups(space, factor * scale)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_equals_scikit_learn(metric):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(30, 6))[rng.integers(0, 30, 3000)]
    rows += 0.05 * rng.normal(size=rows.shape)
    radius = {"euclidean": 0.06, "cosine": 0.0005}[metric]
    search = NearestNeighbors(metric=metric, algorithm="brute").fit(rows)
    graph = search.radius_neighbors_graph(radius=radius)
    found = duplicate_groups(MetricSpace(rows, metric), radius)
    assert found.max() > 10
    np.testing.assert_array_equal(found, groups_of(graph))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("offset", [0.0, 1000.0, -1e6])
def test_ties_at_the_threshold_are_duplicates(offset, dtype):
    rng = np.random.default_rng(2)
    rows = offset + rng.integers(0, 7, (600, 4)).astype(dtype)
    space = MetricSpace(rows, "euclidean")
    distances = cdist(rows.astype(float), rows.astype(float))
    for threshold in (0.0, 1.0, np.sqrt(2.0)):
        for nearly in (threshold, np.nextafter(threshold, 0.0)):
            expected = groups_of(distances <= nearly)
            np.testing.assert_array_equal(duplicate_groups(space, nearly), expected)


def test_off_centre():
    rng = np.random.default_rng(4)
    rows = 1000.0 + 1e-3 * rng.normal(size=(800, 5))
    space = MetricSpace(rows, "euclidean")
    for threshold in (1e-5, 3e-4, 6e-4):
        expected = groups_of(cdist(rows, rows) <= threshold)
        np.testing.assert_array_equal(duplicate_groups(space, threshold), expected)


def test_narrow_clusters_far_apart():
    rng = np.random.default_rng(5)
    rows = 1e6 * rng.integers(0, 2, (600, 1)) + 1e-6 * rng.normal(size=(600, 3))
    space = MetricSpace(rows, "euclidean")
    expected = brute_force(space, 2e-7)
    assert expected.max() > 10
    np.testing.assert_array_equal(duplicate_groups(space, 2e-7), expected)


@pytest.mark.parametrize("smallest", [5e-324, 1e-322, 1e-310])
def test_subnormal_numbers(smallest):
    rows = smallest * np.random.default_rng(0).integers(0, 30, (200, 2))
    space = MetricSpace(rows, "euclidean")
    for threshold in (0.0, smallest, 2 * smallest):
        expected = brute_force(space, threshold)
        np.testing.assert_array_equal(duplicate_groups(space, threshold), expected)


def test_distances_beyond_float64():
    rows = np.array([[1.7e308], [-1.7e308], [1.6e308], [0.0]])
    with np.errstate(over="ignore"):
        space = MetricSpace(rows, "euclidean")
    assert duplicate_groups(space, 5e306).tolist() == [-1, -1, -1, -1]
    assert duplicate_groups(space, 2e307).tolist() == [0, -1, 0, -1]
    assert duplicate_groups(space, np.inf).tolist() == [0, 0, 0, 0]


# Copies


@pytest.mark.parametrize("threshold", [0.0, 1e-9, 3.0])
def test_constant_rows_are_one_group(metric, threshold):
    space = MetricSpace(np.full((5000, 3), 0.1, dtype=np.float32), metric)
    assert (duplicate_groups(space, threshold) == 0).all()


def test_copies_are_the_groups_at_distance_zero(metric):
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(300, 4))
    which = np.concatenate([np.arange(200), rng.integers(200, 300, 2000)])
    which = rng.permutation(which)
    found = duplicate_groups(MetricSpace(rows[which], metric), 0.0)
    np.testing.assert_array_equal(found, groups_of(which == which[:, None]))


def test_copies_are_not_compared(monkeypatch):
    # All pairs of 300,000 rows would be 45 thousand million.
    rows = np.random.default_rng(0).normal(size=(3, 4))[np.arange(300_000) % 3]
    monkeypatch.setattr(_duplicates, "_near", _at_most_rows(_duplicates._near, 3))
    found = duplicate_groups(MetricSpace(rows, "euclidean"), 1e-3)
    np.testing.assert_array_equal(found, np.arange(300_000) % 3)


def _at_most_rows(compare, most):
    def compared(queries, rows, limits):
        assert len(queries) <= most
        assert len(rows) <= most
        return compare(queries, rows, limits)

    return compared


def test_equal_hashes_are_no_proof(monkeypatch):
    monkeypatch.setattr(
        _same_rows, "row_hashes", lambda _, p: np.zeros(len(p), dtype=np.uint64)
    )
    rows = np.random.default_rng(7).integers(0, 5, (400, 3)).astype(float)
    found = duplicate_groups(MetricSpace(rows, "euclidean"), 0.0)
    expected = groups_of((rows[:, None] == rows).all(axis=2))
    np.testing.assert_array_equal(found, expected)


def test_hashes_tell_rows_of_few_digits_apart():
    rows = np.stack(np.meshgrid(*[np.arange(20.0)] * 4), axis=-1).reshape(-1, 4)
    space = MetricSpace(rows, "euclidean")
    hashes = _same_rows.row_hashes(space, np.arange(len(rows)))
    assert len(np.unique(hashes)) == len(rows)


def test_both_zeros_are_equal():
    rows = np.array([[0.0, 1.0], [2.0, 3.0], [-0.0, 1.0]])
    found = duplicate_groups(MetricSpace(rows, "euclidean"), 0.0)
    assert found.tolist() == [0, -1, 0]


def test_near_copies_unite_without_all_pairs(monkeypatch):
    # Of the pairs of 30,000 rows that are all near, few need to be measured.
    space = MetricSpace(np.random.default_rng(8).normal(size=(30_000, 4)), "euclidean")
    n_measured = 0
    measure = space.exact_distances

    def counted(queries, rows):
        nonlocal n_measured
        n_measured += len(rows)
        return measure(queries, rows)

    monkeypatch.setattr(space, "exact_distances", counted)
    assert (duplicate_groups(space, 100.0) == 0).all()
    assert n_measured < 200_000


# Cosine


def test_parallel_rows_are_duplicates_under_cosine():
    rng = np.random.default_rng(9)
    directions = rng.normal(size=(40, 5))
    which = rng.integers(0, 40, 500)
    rows = directions[which] * 10.0 ** rng.uniform(-20, 20, (500, 1))
    found = duplicate_groups(MetricSpace(rows, "cosine"), 1e-14)
    np.testing.assert_array_equal(found, groups_of(which == which[:, None]))


def test_rows_of_zeros_are_equal_and_far_from_others_under_cosine():
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])
    space = MetricSpace(rows, "cosine")
    below_one = np.nextafter(1.0, 0.0)
    assert duplicate_groups(space, 0.0).tolist() == [0, 1, 0, 1, -1]
    assert duplicate_groups(space, below_one).tolist() == [0, 1, 0, 1, -1]
    assert duplicate_groups(space, 1.0).tolist() == [0, 0, 0, 0, 0]


def test_opposite_rows_under_cosine():
    space = MetricSpace(np.array([[1.0, 0.0], [-1.0, 0.0]]), "cosine")
    assert duplicate_groups(space, 1.999).tolist() == [-1, -1]
    assert duplicate_groups(space, 2.0).tolist() == [0, 0]


# Rows that are there, and their numbers


def test_deleted_rows_are_no_duplicates_and_connect_nothing(metric):
    rng = np.random.default_rng(10)
    rows = rng.normal(size=(500, 3))
    active = rng.random(500) < 0.7
    space = MetricSpace(rows, metric)
    for threshold in thresholds(space):
        found = duplicate_groups(space, threshold, active)
        np.testing.assert_array_equal(found, brute_force(space, threshold, active))
        assert (found[~active] == -1).all()


@pytest.mark.parametrize("n_alive", [0, 1, 2])
def test_hardly_any_rows(metric, n_alive):
    space = MetricSpace(np.ones((4, 2)), metric)
    found = duplicate_groups(space, 0.5, np.arange(4) < n_alive)
    assert found.tolist() == [0 if n_alive == 2 and row < 2 else -1 for row in range(4)]


def test_chains_are_one_group():
    rows = np.random.default_rng(11).permutation(2000)[:, None].astype(float)
    space = MetricSpace(np.concatenate([rows, rows + 5000.0]), "euclidean")
    expected = np.repeat([0, 1], 2000)
    np.testing.assert_array_equal(duplicate_groups(space, 1.0), expected)
    assert (duplicate_groups(space, 0.999) == -1).all()


def test_rows_and_mask_stay_as_they_are():
    rows, active = np.random.default_rng(12).normal(size=(100, 3)), np.ones(100, bool)
    before = rows.copy()
    labels = duplicate_groups(MetricSpace(rows, "euclidean"), 0.5, active)
    np.testing.assert_array_equal(rows, before)
    assert active.all()
    assert labels.dtype == np.intp


def test_forest_unites_long_chains():
    forest, rows = Forest(1000), np.arange(1000)
    for row in rows[:0:-1]:
        forest.unite(rows[[row]], rows[[row - 1]])
    np.testing.assert_array_equal(forest.roots(rows), np.zeros(1000))


# Properties


@settings(max_examples=60, deadline=None)
@given(
    rows=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(1, 60), st.integers(1, 4)),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    metric=st.sampled_from(["euclidean", "cosine"]),
    pair=st.tuples(st.integers(0, 59), st.integers(0, 59)),
    factor=st.sampled_from([0.5, 1.0, 1.0 + 1e-15, 3.0]),
)
def test_equals_brute_force_on_any_rows(rows, metric, pair, factor):
    space = MetricSpace(rows, metric)
    first, second = np.array(pair) % len(rows)
    threshold = factor * measured_pairs(space)[first, second]
    found = duplicate_groups(space, threshold)
    np.testing.assert_array_equal(found, brute_force(space, threshold))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(2, 300),
    n_features=st.integers(1, 6),
    n_values=st.integers(2, 6),
    threshold=st.sampled_from([0.0, 1.0, 2.0**0.5, 2.0]),
)
def test_equals_brute_force_on_any_lattice(
    seed, n_rows, n_features, n_values, threshold
):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, n_values, (n_rows, n_features)).astype(np.float32)
    active = rng.random(n_rows) < 0.9
    space = MetricSpace(rows, "euclidean")
    found = duplicate_groups(space, threshold, active)
    np.testing.assert_array_equal(found, brute_force(space, threshold, active))


# Size


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_planted_duplicates_among_many_rows(dtype):
    rng = np.random.default_rng(13)
    n_rows, n_originals = 200_000, 190_000
    rows = 5.0 * rng.normal(size=(500, 16))[rng.integers(0, 500, n_rows)]
    rows += rng.normal(size=rows.shape)
    # The last rows are, but for 1e-3, some of the others, which are far apart.
    origin = np.arange(n_rows)
    origin[n_originals:] = rng.integers(0, n_originals, n_rows - n_originals)
    noise = rng.normal(size=rows.shape)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    planted = (
        rows[origin] + np.where(origin == np.arange(n_rows), 0.0, 1e-3)[:, None] * noise
    )
    order = rng.permutation(n_rows)
    space = MetricSpace(planted[order].astype(dtype), "euclidean")
    _, groups, sizes = np.unique(origin[order], return_inverse=True, return_counts=True)
    found = duplicate_groups(space, 2.1e-3)
    np.testing.assert_array_equal(found >= 0, sizes[groups] > 1)
    np.testing.assert_array_equal(found, _numbered(groups, sizes))


def _numbered(groups, sizes):
    firsts = np.unique(groups, return_index=True)[1]
    order = np.argsort(np.where(sizes > 1, firsts, len(groups)), kind="stable")
    numbers = np.full(len(sizes), -1)
    numbers[order] = np.arange(len(sizes))
    return np.where(sizes > 1, numbers, -1)[groups]
