"""The rows that others are compared with: brute force in float64."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from latentsk.outliers import _neighborhood
from latentsk.outliers._latent_rows import LatentRows
from latentsk.outliers._neighborhood import (
    FEW_COMPONENTS,
    SAMPLE_ROWS,
    compact,
    evenly_spaced,
    neighborhood_of,
)
from latentsk.outliers._neighbors import clipped_spacings, minimum_weights


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(60, 4))


def _fitted(rows, k=5, is_support=None):
    if is_support is None:
        is_support = np.ones(len(rows), bool)
    distances = (rows**2).sum(axis=1)
    ids = np.arange(len(rows))
    return neighborhood_of(rows, rows, distances, is_support, distances, ids, k)


def _latent(rows):
    """Rows that are their own latents."""
    return LatentRows(rows, rows, None, np.ones(rows.shape[1]))


def _spacings(rows, k):
    """Mean distance of each row to its neighbours."""
    lengths = np.sort(cdist(rows, rows), axis=1)
    return clipped_spacings(lengths[:, 1 : k + 1].mean(axis=1))


def _brute_local(query, rows, k, exclude=None):
    lengths = cdist(query[None], rows)[0]
    scaled = lengths**1.5 / _spacings(rows, k) ** 0.5
    if exclude is not None:
        scaled = np.delete(scaled, exclude)
    return np.sort(scaled)[:k].mean()


def _brute_global(query, rows, exclude=None):
    others = rows if exclude is None else np.delete(rows, exclude, axis=0)
    return minimum_weights(len(others)) @ np.sort(cdist(query[None], others)[0])


@pytest.mark.parametrize("k", [1, 5, 59])
def test_local_distances_are_those_of_brute_force(rows, k):
    neighborhood = _fitted(rows, k)
    np.testing.assert_allclose(neighborhood.spacings, _spacings(rows, k))
    found = neighborhood.measure(rows).local
    expected = [_brute_local(rows[i], rows, k, exclude=i) for i in range(60)]
    np.testing.assert_allclose(found, expected)
    new = np.random.default_rng(1).normal(size=(5, 4)) * 3
    found = neighborhood.measure(new).local
    # With every other row for a neighbour, one more is there for a new row.
    expected = [_brute_local(query, rows, k) for query in new]
    np.testing.assert_allclose(found, expected)


def test_global_distances_are_expectations_over_brute_force(rows):
    neighborhood = _fitted(rows)
    found = neighborhood.measure(rows).global_
    expected = [_brute_global(rows[i], rows, exclude=i) for i in range(60)]
    np.testing.assert_allclose(found, expected)
    new = np.random.default_rng(1).normal(size=(5, 4)) * 3
    found = neighborhood.measure(new).global_
    np.testing.assert_allclose(found, [_brute_global(q, rows) for q in new])


def test_more_neighbors_than_rows_are_all_other_rows(rows):
    found = _fitted(rows[:4], 100).measure(rows[:4])
    assert found.nearest.positions.shape == (4, 4)
    expected = [_brute_local(rows[i], rows[:4], 3, exclude=i) for i in range(4)]
    np.testing.assert_allclose(found.local, expected)


def test_two_rows_are_each_other_s_neighbour():
    found = _fitted(np.array([[0.0], [3.0]])).measure(np.array([[0.0], [3.0]]))
    np.testing.assert_allclose(found.local, 3.0)
    np.testing.assert_allclose(found.global_, 3.0)


def test_rows_that_are_there_are_known_by_their_place(rows):
    is_support = np.arange(60) % 2 == 0
    neighborhood = _fitted(rows, is_support=is_support)
    found = neighborhood.measure(rows)
    np.testing.assert_array_equal(found.present, 1.0)
    np.testing.assert_array_equal(found.in_sample, 1.0)
    np.testing.assert_array_equal(found.in_support, is_support)
    moved = neighborhood.measure(rows + 1e-9)
    np.testing.assert_allclose(moved.present, 1.0)
    np.testing.assert_allclose(moved.in_support, is_support)
    far = neighborhood.measure(rows + 3.0)
    np.testing.assert_array_equal(far.present, 0.0)
    np.testing.assert_array_equal(far.in_support, 0.0)


@pytest.mark.parametrize("name", ["local", "global_", "in_support"])
def test_a_row_that_leaves_its_place_is_another_by_small_steps(rows, name):
    neighborhood = _fitted(rows)
    direction = np.random.default_rng(1).normal(size=4)
    path = rows[7] + np.linspace(0.0, 0.5, 5_001)[:, None] * direction
    found = getattr(neighborhood.measure(path), name)
    # It falls from the mean without the row to that with it, never at once.
    assert np.abs(np.diff(found)).max() < 0.01 * np.ptp(found)
    assert np.ptp(found) > 0.1


@pytest.mark.parametrize("n_copies", [2, 5, 6, 7, 40])
@pytest.mark.parametrize("k", [1, 5])
def test_copies_that_move_stay_copies(rows, n_copies, k):
    held = np.concatenate([rows, np.tile(rows[:1] + 2.0, (n_copies, 1))])
    neighborhood = _fitted(held, k)
    here, there = neighborhood.measure(held), neighborhood.measure(held + 1e-9)
    for name in ("present", "in_sample", "in_support"):
        np.testing.assert_array_equal(getattr(here, name), 1.0)
        np.testing.assert_allclose(getattr(there, name), 1.0)
    for name in ("local", "global_"):
        expected = getattr(here, name)
        # Distances of zero become 1e-9, divided by a spacing that is not zero.
        np.testing.assert_allclose(getattr(there, name), expected, rtol=1e-6, atol=1e-6)
    assert (here.local[-n_copies:] == 0.0).all() == (n_copies > k)


def test_only_the_sample_stands_for_all(rows):
    rng = np.random.default_rng(0)
    many = rng.normal(size=(2_000, 3))
    neighborhood = _fitted(many)
    assert len(neighborhood.sample) == SAMPLE_ROWS == 512
    found = neighborhood.measure(many)
    is_sampled = np.isin(np.arange(2_000), neighborhood.sample)
    np.testing.assert_array_equal(found.in_sample, is_sampled)
    np.testing.assert_array_equal(found.present, 1.0)
    sample = many[neighborhood.sample]
    for i in (*neighborhood.sample[:3], *np.flatnonzero(~is_sampled)[:3]):
        place = np.flatnonzero(neighborhood.sample == i)
        expected = _brute_global(many[i], sample, exclude=place)
        assert found.global_[i] == pytest.approx(expected)


def test_blocks_change_nothing(rows, monkeypatch):
    whole = _fitted(rows).measure(rows)
    monkeypatch.setattr(_neighborhood, "BLOCK_ELEMENTS", 7 * 60)
    in_blocks = _fitted(rows).measure(rows)
    np.testing.assert_allclose(in_blocks.global_, whole.global_, rtol=1e-12)
    np.testing.assert_allclose(in_blocks.local, whole.local, rtol=1e-12)


@pytest.mark.parametrize("n_components", [4, 30])
def test_order_and_place_of_the_rows_do_not_matter(n_components):
    rng = np.random.default_rng(0)
    rows, queries = rng.normal(size=(60, n_components)), rng.normal(size=(9, 4))
    queries = np.concatenate([rows[:9], rng.normal(size=(9, n_components))])
    here = _fitted(rows).measure(queries)
    order = rng.permutation(60)
    other = _fitted(rows[order]).measure(queries)
    shifted = neighborhood_of(
        rows + 1e6,
        rows,
        (rows**2).sum(axis=1),
        np.ones(60, bool),
        np.zeros(60),
        np.arange(60),
        5,
    ).measure(queries + 1e6)
    for name in ("local", "global_", "present"):
        expected = getattr(here, name)
        np.testing.assert_allclose(getattr(other, name), expected, rtol=1e-6)
        np.testing.assert_allclose(getattr(shifted, name), expected, rtol=1e-6)


# What the reasons rest on


def test_what_rows_are_compared_with_adds_up_to_their_distances(rows):
    neighborhood = _fitted(rows)
    queries = np.concatenate([rows[:9], rows[:9] + 0.01, rows[:9] + 2.0])
    measured = neighborhood.measure(queries)
    positions, parts = neighborhood.compared_near(_latent(queries))
    np.testing.assert_allclose(parts.sum(axis=1), measured.local)
    assert positions.shape == (27, 6)
    # Nothing is said of a row by itself.
    assert (parts[:9][positions[:9] == np.arange(9)[:, None]] == 0.0).all()
    positions, parts = neighborhood.compared_overall(_latent(queries))
    np.testing.assert_allclose(parts.sum(axis=1), measured.global_)
    assert positions.shape == (27, 60)


def test_the_nearest_features_are_those_of_other_rows(rows):
    neighborhood = neighborhood_of(
        rows,
        10.0 * rows,
        np.arange(60.0),
        np.ones(60, bool),
        np.zeros(60),
        np.arange(60),
        5,
    )
    asked = np.vstack([rows[[7, 0]], rows[:1] + 1e-9, rows[:1] + 1.0])
    assert neighborhood.nearest_features(asked, 0).shape == (0, 4, 4)
    found = neighborhood.nearest_features(asked, 2)
    scaled = cdist(asked, rows) ** 1.5 / _spacings(rows, 5) ** 0.5
    scaled[[0, 1, 2], [7, 0, 0]] = np.inf
    order = np.argsort(scaled, axis=1)[:, :2]
    np.testing.assert_array_equal(found, 10.0 * rows[order.T])
    assert neighborhood.nearest_features(asked, 100).shape == (59, 4, 4)


def test_examples_are_the_nearest_of_some_rows(rows):
    neighborhood = neighborhood_of(
        rows,
        rows,
        np.arange(60.0),
        np.ones(60, bool),
        np.zeros(60),
        np.arange(60),
        5,
    )
    scaled = cdist(rows, rows) ** 1.5 / _spacings(rows, 5) ** 0.5
    np.fill_diagonal(scaled, np.inf)
    is_example = np.arange(60) % 3 > 0
    some = neighborhood.with_examples(is_example)
    expected = np.argsort(np.where(is_example, scaled, np.inf), axis=1)[:, :2].T
    np.testing.assert_array_equal(some.nearest_examples(rows, 2), expected)
    # As many as there are others, and all of them.
    found = some.nearest_examples(rows, 100)
    assert found.shape == (39, 60)
    assert set(found[:, 1]) == set(np.flatnonzero(is_example)) - {1}
    # One alone is no example of anything: all rows are.
    for few in (np.zeros(60, bool), np.arange(60) == 7):
        found = some.with_examples(few).nearest_examples(rows, 1)
        np.testing.assert_array_equal(found[0], scaled.argmin(axis=1))
    assert some.nearest_examples(rows, 0).shape == (0, 60)


# What is kept


def test_the_sample_is_evenly_spaced_in_order():
    values = np.random.default_rng(0).permutation(1_001).astype(float)
    found = evenly_spaced(values, 101)
    assert (np.diff(found) > 0).all()
    np.testing.assert_array_equal(np.sort(values[found]), np.arange(0, 1_001, 10))
    np.testing.assert_array_equal(evenly_spaced(values[:9], 9), np.arange(9))


def test_many_components_around_zero_are_held_in_float32():
    rows = np.random.default_rng(0).normal(size=(50, FEW_COMPONENTS + 1))
    assert compact(rows).dtype == np.float32
    assert compact(rows[:, 1:]).dtype == np.float64
    assert compact(rows + 100.0).dtype == np.float64
