"""Near-duplicates of an index: groups of ids, against brute force."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from scipy.sparse.csgraph import connected_components
from sklearn.exceptions import NotFittedError

from latentsk import LatentIndex, PCAEmbedder


def brute_force(rows, ids, near, alive=None):
    """Return the table of groups, from a matrix that tells which rows are near."""
    positions = np.arange(len(rows)) if alive is None else np.flatnonzero(alive)
    _, parts = connected_components(near[np.ix_(positions, positions)], directed=False)
    groups = [positions[parts == part] for part in range(parts.max(initial=-1) + 1)]
    groups = sorted((g.tolist() for g in groups if len(g) > 1), key=min)
    return pd.DataFrame(
        [(i, p, ids[p]) for i, group in enumerate(groups) for p in group],
        columns=["group", "position", "id"],
    )


def euclidean(rows, threshold):
    rows = np.asarray(rows, dtype=float)
    return np.linalg.norm(rows[:, None] - rows[None], axis=-1) <= threshold


def cosine(rows, threshold):
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return 0.5 * np.sum((units[:, None] - units[None]) ** 2, axis=-1) <= threshold


NEAR = {"euclidean": euclidean, "cosine": cosine}


def clustered(seed=0, n=400, width=5):
    """Rows around 40 places, and some alone; thresholds of 0.1 and 0.005 tell them."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(40, width))[rng.integers(0, 40, n)]
    rows += 0.02 * rng.normal(size=rows.shape)
    rows[::7] = 3 * rng.normal(size=rows[::7].shape)
    return rows


def assert_same(table, expected):
    assert list(table.columns) == ["group", "position", "id"]
    assert isinstance(table.index, pd.RangeIndex)
    assert table["group"].dtype.kind == table["position"].dtype.kind == "i"
    assert_frame_equal(table, expected, check_dtype=False)


# Against brute force


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("threshold", [0.0, 0.001, 0.01, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("exactness", ["certified", "float32"])
def test_groups_equal_brute_force(metric, threshold, exactness, global_dtype):
    rows = clustered().astype(global_dtype)
    rows[50:60] = rows[100:110]
    index = LatentIndex(metric=metric, exactness=exactness).fit(rows)
    near = NEAR[metric](rows.astype(float), threshold)
    expected = brute_force(rows, index.ids_, near)
    assert_same(index.duplicates(threshold), expected)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_lattices_equal_brute_force(data):
    """Ties at the threshold are within it, and many rows are equal."""
    n = data.draw(st.integers(1, 25))
    width = data.draw(st.integers(1, 3))
    cells = st.lists(st.integers(0, 5), min_size=n * width, max_size=n * width)
    rows = np.array(data.draw(cells), dtype=float).reshape(n, width)
    alive = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    threshold = data.draw(st.sampled_from([0, 1, 2, 3, 0.999, 5.0]))
    index = LatentIndex().fit(rows)
    index.remove(np.flatnonzero(~alive))
    expected = brute_force(rows, index.ids_, euclidean(rows, threshold), alive)
    assert_same(index.duplicates(threshold), expected)


def test_groups_are_those_of_radius_neighbors():
    index = LatentIndex().fit(clustered(1))
    graph = index.radius_neighbors_graph(radius=0.08)
    expected = brute_force(index.vectors_, index.ids_, graph.toarray() > 0)
    assert len(expected) > 100
    assert_same(index.duplicates(0.08), expected)


def test_approximate_indexes_are_exact_here():
    rows = clustered(2, 1200, 8)
    index = LatentIndex(index_spec="IVF16,PQ8x4fs,nprobe=1,rerank=1").fit(rows)
    assert_frame_equal(index.duplicates(0.1), LatentIndex().fit(rows).duplicates(0.1))


# The table


def test_groups_come_by_their_first_rows_and_rows_by_position():
    rows = [[5.0], [1.0], [9.0], [1.1], [7.0], [5.1], [1.2], [9.1]]
    table = LatentIndex().fit(rows).duplicates(0.15)
    assert table["group"].tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert table["position"].tolist() == [0, 5, 1, 3, 6, 2, 7]


def test_a_chain_is_one_group():
    rows = np.arange(50.0)[:, None]
    assert LatentIndex().fit(rows).duplicates(1)["group"].tolist() == [0] * 50
    assert LatentIndex().fit(rows).duplicates(0.999).empty


@pytest.mark.parametrize(
    "ids",
    [
        [30, 20, 10, 0],
        ["d", "c", "b", "a"],
        [1, "1", 2.5, "x"],
        pd.to_datetime(["2020-01-04", "2020-01-03", "2020-01-02", "2020-01-01"]),
    ],
    ids=["int", "str", "mixed", "dates"],
)
def test_ids_are_those_of_the_rows(ids):
    index = LatentIndex().fit([[0.0], [5.0], [5.0], [0.0]], ids=ids)
    table = index.duplicates(0.0)
    assert table["position"].tolist() == [0, 3, 1, 2]
    assert table["id"].tolist() == [ids[i] for i in (0, 3, 1, 2)]
    # What is named can be removed, all but the first of each group.
    index.remove(table.loc[table.duplicated("group"), "id"])
    assert index.duplicates(0.0).empty


def test_an_empty_table_has_the_same_columns():
    for index in (
        LatentIndex().fit([[0.0], [1.0]]),
        LatentIndex().fit([[0.0], [1.0]], ids=["a", "b"]),
        LatentIndex().fit([[0.0]]),
    ):
        table = index.duplicates(0.5)
        assert list(table.columns) == ["group", "position", "id"]
        assert len(table) == 0


def test_labels_of_a_frame_are_ids():
    frame = pd.DataFrame({"x": [0.0, 9.0, 0.0]}, index=["p", "q", "r"])
    assert LatentIndex().fit(frame).duplicates(0)["id"].tolist() == ["p", "r"]


def test_nothing_is_changed():
    rows = clustered()
    index = LatentIndex().fit(rows)
    before = index.kneighbors(rows[:5])
    first = index.duplicates(0.1)
    assert_frame_equal(index.duplicates(0.1), first)
    for a, b in zip(index.kneighbors(rows[:5]), before, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(rows, clustered())


# Rows that come and go


def test_removed_rows_take_no_part():
    rows = np.arange(5.0)[:, None]
    index = LatentIndex().fit(rows, ids=list("abcde")).remove(["c"])
    table = index.duplicates(1.0)
    assert table["group"].tolist() == [0, 0, 1, 1]
    assert table["id"].tolist() == list("abde")


def test_an_id_used_again_is_that_of_the_new_row():
    index = LatentIndex().fit([[0.0], [0.0], [4.0]], ids=["a", "b", "c"])
    index.remove(["a"]).add([[4.0]], ids=["a"])
    table = index.duplicates(0.5)
    # At the position that it had.
    assert table["position"].tolist() == [0, 2]
    assert table["id"].tolist() == ["a", "c"]


def test_without_any_rows():
    index = LatentIndex().fit([[0.0], [0.0]]).remove([0, 1])
    assert len(index.duplicates(1.0)) == 0


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_after_any_changes(metric):
    rows = clustered(3)
    index = LatentIndex(metric=metric).fit(rows[:300])
    index.add(rows[300:])
    rows[5:15] = rows[200:210]
    index.update(rows[5:15], ids=range(5, 15))
    alive = np.ones(len(rows), dtype=bool)
    alive[::3] = False
    index.remove(np.flatnonzero(~alive))
    for threshold in (0.0005, 0.005, 0.1):
        near = NEAR[metric](rows, threshold)
        assert_same(
            index.duplicates(threshold), brute_force(rows, index.ids_, near, alive)
        )


# Metrics and embedders


def test_rows_of_zeros_are_duplicates_under_cosine():
    rows = [[0.0, -0.0], [0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    index = LatentIndex(metric="cosine").fit(rows)
    groups = [[0, 1, 5], [2, 3]]
    for threshold in (0.0, 0.3, 0.999):
        table = index.duplicates(threshold)
        found = table.groupby("group")["position"].agg(list).tolist()
        assert found == groups
    # At distance one from everything else, they join it.
    assert index.duplicates(1.0)["group"].tolist() == [0] * 6
    index.remove([1, 5])
    assert index.duplicates(0.0)["position"].tolist() == [2, 3]


def test_a_row_of_zeros_is_a_neighbour_of_none():
    rows = [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    index = LatentIndex(metric="cosine").fit(rows)
    # As for scikit-learn: its DBSCAN takes blank documents for noise.
    _, positions = index.radius_neighbors(rows, 0.5)
    assert [p.tolist() for p in positions] == [[], [], [2, 3], [2, 3]]
    assert index.kneighbors(n_neighbors=1)[0][:2].tolist() == [[1.0], [1.0]]


def test_opposite_directions_are_two_apart():
    index = LatentIndex(metric="cosine").fit([[1.0, 0.0], [-3.0, 0.0]])
    assert index.duplicates(1.999).empty
    assert len(index.duplicates(2.0)) == 2


def test_latent_vectors_are_compared():
    rows = clustered(4, 300, 20)
    index = LatentIndex(PCAEmbedder(3)).fit(rows)
    near = euclidean(index.vectors_, 0.05)
    expected = brute_force(rows, index.ids_, near)
    assert len(expected) > 20
    assert_same(index.duplicates(0.05), expected)


def test_original_rows_are_compared_where_distances_are_theirs():
    rows = clustered(5, 900, 12)
    spec = "IVF8,PQ4x4fs,nprobe=8,rerank=8"
    index = LatentIndex(PCAEmbedder(4), index_spec=spec, rerank="original").fit(rows)
    expected = brute_force(rows, index.ids_, euclidean(rows, 0.12))
    assert len(expected) > 50
    assert_same(index.duplicates(0.12), expected)


def test_inner_products_have_no_duplicates():
    index = LatentIndex(metric="inner_product").fit([[0.0], [1.0]])
    with pytest.raises(ValueError, match="duplicates needs a distance"):
        index.duplicates(0.5)


def test_the_metric_is_that_of_the_fit():
    index = LatentIndex().fit([[1.0, 0.0], [2.0, 0.0]])
    index.set_params(metric="cosine")
    assert index.duplicates(0.5).empty


# Thresholds


@pytest.mark.parametrize("threshold", [-1.0, -1e-300, float("nan"), -np.inf])
def test_negative_thresholds(threshold):
    index = LatentIndex().fit([[0.0], [1.0]])
    with pytest.raises(ValueError, match="threshold must not be negative"):
        index.duplicates(threshold)


@pytest.mark.parametrize("threshold", ["0.5", None, [0.5], np.array([0.5, 1]), 1j])
def test_thresholds_that_are_no_numbers(threshold):
    index = LatentIndex().fit([[0.0], [1.0]])
    with pytest.raises(TypeError, match="threshold must be a number"):
        index.duplicates(threshold)


@pytest.mark.parametrize("threshold", [1, np.float32(1), np.int64(1), np.inf, 1e300])
def test_thresholds_of_any_type(threshold):
    index = LatentIndex().fit([[0.0], [1.0], [2.0]])
    assert index.duplicates(threshold)["position"].tolist() == [0, 1, 2]


def test_an_index_that_is_not_fitted():
    with pytest.raises(NotFittedError):
        LatentIndex().duplicates(0.5)


@pytest.mark.parametrize("exponent", [-200, -30, 30, 98])
def test_any_unit(exponent):
    rows = clustered(6) * 10.0**exponent
    found = LatentIndex().fit(rows).duplicates(0.1 * 10.0**exponent)
    expected = LatentIndex().fit(clustered(6)).duplicates(0.1)
    assert_frame_equal(found, expected)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_threads_change_nothing(n_jobs):
    rows = clustered(7, 2000)
    found = LatentIndex(n_jobs=n_jobs).fit(rows).duplicates(0.1)
    assert_frame_equal(found, LatentIndex().fit(rows).duplicates(0.1))
