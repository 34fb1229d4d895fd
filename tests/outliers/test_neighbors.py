"""Distances to training rows: scipy, brute force, and all subsamples there are."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from latentsk.outliers import _neighbors
from latentsk.outliers._neighbors import (
    IDENTITY_SHARE,
    SUBSAMPLE_ROWS,
    clipped_spacings,
    expected_nearest,
    mean_without_itself,
    minimum_weights,
    nearest_weights,
    neighbor_weights,
    presence,
    scaled_distances,
    sorted_distances,
    squared_lengths,
)
from latentsk.outliers._neighbors import (
    nearest_rows_scaled as _nearest_rows_scaled,
)


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(60, 4))


@pytest.fixture(scope="module")
def queries(rows):
    new = np.random.default_rng(1).normal(size=(20, 4)) * 3
    return np.concatenate([rows[:10], rows[:5] + 1e-9, new])


@pytest.fixture(scope="module")
def spacings():
    return np.random.default_rng(2).uniform(0.1, 10.0, size=60)


def nearest_rows_scaled(queries, rows, spacings, n):
    return _nearest_rows_scaled(queries, rows, squared_lengths(rows), spacings, n)


# How much a row is one that is there already


def test_presence_falls_smoothly_from_one_to_zero():
    assert IDENTITY_SHARE == 0.05
    found = presence(np.linspace(0.0, 0.2, 2_001), np.full(2_001, 2.0))
    assert found[0] == 1.0
    assert found[500] == pytest.approx(0.5)  # at half of 5 % of the spacing
    np.testing.assert_allclose(found[1_000:], 0.0, atol=1e-15)
    steps = np.diff(found)
    assert (steps <= 0.0).all()
    # Flat at both ends, and nowhere steeper than 1.5 over the whole way.
    assert np.abs(steps).max() < 1.5 / 1_000 * 1.001
    assert np.abs(steps[[0, 999, -1]]).max() < 1e-5


def test_presence_knows_no_unit():
    nearest, spacing = np.random.default_rng(0).uniform(0.0, 0.1, size=(2, 50))
    for unit in (1e-9, 1e9):
        np.testing.assert_allclose(
            presence(unit * nearest, unit * spacing), presence(nearest, spacing)
        )


def test_a_copy_among_copies_is_there():
    np.testing.assert_array_equal(presence([0.0, 1e-9], [0.0, 0.0]), [1.0, 0.0])


# Means over neighbours


@pytest.mark.parametrize("k", [1, 2, 5])
def test_means_are_those_with_and_without_the_nearest(k):
    distances = np.sort(np.random.default_rng(0).gamma(1.0, size=(3, k + 1)))
    found = mean_without_itself(distances, [0.0, 1.0, 0.25])
    first, last = distances[:, :k].mean(axis=1), distances[:, 1:].mean(axis=1)
    expected = [first[0], last[1], 0.75 * first[2] + 0.25 * last[2]]
    np.testing.assert_allclose(found, expected)
    weights = neighbor_weights([0.0, 1.0, 0.25], k + 1)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose((weights * distances).sum(axis=1), expected)


def test_spacings_are_within_a_factor_of_ten_of_their_median():
    spacings = np.r_[0.0, 0.0, 0.0, np.arange(1.0, 100.0), 1e9]
    found = clipped_spacings(spacings)
    median = np.median(spacings[spacings > 0.0])
    np.testing.assert_allclose(found, spacings.clip(median / 10, median * 10))
    np.testing.assert_array_equal(clipped_spacings(np.zeros(3)), [0.1, 0.1, 0.1])


def test_scaled_distances_are_their_formula():
    distances, spacings = np.random.default_rng(0).gamma(1.0, size=(2, 50))
    found = scaled_distances(distances, spacings)
    np.testing.assert_allclose(found, distances**1.5 / spacings**0.5)
    # As far as it is, where rows are as close together as it is far.
    np.testing.assert_allclose(scaled_distances(distances, distances), distances)


@pytest.mark.parametrize("n", [1, 6, 60])
def test_the_nearest_by_scaled_distance_are_those_of_brute_force(
    rows, queries, spacings, n
):
    found = nearest_rows_scaled(queries, rows, spacings, n)
    lengths = cdist(queries, rows)
    scaled = lengths**1.5 / spacings**0.5
    order = np.argsort(scaled, axis=1, kind="stable")[:, :n]
    np.testing.assert_array_equal(found.positions, order)
    for name, expected in (("distances", lengths), ("scaled", scaled)):
        np.testing.assert_allclose(
            getattr(found, name), np.take_along_axis(expected, order, 1), rtol=1e-9
        )
    assert found.scaled.shape == (len(queries), n)


@pytest.mark.parametrize("function", ["nearest", "sorted"])
def test_blocks_change_nothing(rows, queries, spacings, monkeypatch, function):
    whole = nearest_rows_scaled(queries, rows, spacings, 6)
    monkeypatch.setattr(_neighbors, "BLOCK_DISTANCES", 7 * len(rows))
    for found, expected in zip(
        nearest_rows_scaled(queries, rows, spacings, 6), whole, strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_rows_in_float32_are_measured_in_float64(rows, spacings):
    narrow = rows.astype(np.float32)
    found = nearest_rows_scaled(rows, narrow, spacings, 6)
    lengths = cdist(narrow.astype(np.float64), narrow.astype(np.float64))
    np.testing.assert_array_equal(found.distances[:, 0], 0.0)
    expected = np.take_along_axis(lengths, found.positions, axis=1)
    np.testing.assert_allclose(found.distances, expected, rtol=1e-12)


def test_among_many_copies_the_nearest_are_at_distance_zero():
    rows = np.repeat([[0.1, 0.3], [3.1, 4.3]], [40, 20], axis=0)
    found = nearest_rows_scaled(rows, rows, np.ones(60), 6)
    np.testing.assert_array_equal(found.distances, 0.0)
    assert (found.positions[:40] < 40).all()
    assert (found.positions[40:] >= 40).all()


# Whole columns may lie far from zero, where products have no digits left.
@pytest.mark.parametrize("centre", [1e3, 1e6, 1e9])
def test_rows_far_from_the_origin_keep_their_digits(rows, queries, spacings, centre):
    # In binary fractions, so that the rows themselves lose nothing.
    rows, queries = (np.round(of * 2**10) / 2**10 for of in (rows, queries))
    here = nearest_rows_scaled(queries, rows, spacings, 6)
    there = nearest_rows_scaled(queries + centre, rows + centre, spacings, 6)
    np.testing.assert_array_equal(there.positions, here.positions)
    np.testing.assert_allclose(there.distances, here.distances, rtol=1e-12)
    np.testing.assert_allclose(
        sorted_distances(queries + centre, rows + centre),
        np.sort(cdist(queries, rows)),
        rtol=1e-6,
        atol=1e-6,
    )


def test_one_row_at_an_enormous_distance_costs_the_others_no_digits(rows, spacings):
    """The squares of 1e9 have no digits left for distances of 1."""
    with_it = np.concatenate([np.full((1, 4), 1e9), rows])
    expected = np.sort(cdist(rows, with_it))
    found = sorted_distances(rows, with_it)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    found = nearest_rows_scaled(rows, with_it, np.r_[1.0, spacings], 6)
    expected = nearest_rows_scaled(rows, rows, spacings, 6)
    np.testing.assert_allclose(found.scaled, expected.scaled, rtol=1e-12)
    np.testing.assert_array_equal(found.positions, expected.positions + 1)


# The nearest of random rows


def _expected_minimum(lengths, size):
    """Mean over all subsets of the least length."""
    return np.mean([min(chosen) for chosen in itertools.combinations(lengths, size)])


@pytest.mark.parametrize(
    ("n_rows", "size"),
    [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3), (15, 7), (16, 8), (18, 8)],
)
def test_weights_are_those_of_all_subsamples(n_rows, size):
    assert SUBSAMPLE_ROWS == 8
    lengths = np.sort(np.random.default_rng(n_rows).gamma(1.0, size=n_rows))
    weights = minimum_weights(n_rows)
    assert weights.sum() == pytest.approx(1.0)
    assert weights @ lengths == pytest.approx(_expected_minimum(lengths, size))


def test_weights_of_many_rows_are_those_of_draws_with_replacement():
    weights = minimum_weights(100_000)
    ranks = np.arange(100_001) / 100_000
    # The chance that none of eight is nearer, less that none of the next is.
    expected = -np.diff((1 - ranks) ** 8)
    np.testing.assert_allclose(weights[:1_000], expected[:1_000], rtol=1e-3)
    assert weights.sum() == pytest.approx(1.0)


def test_distances_are_sorted_scipy_s(rows, queries):
    found = sorted_distances(queries, rows)
    expected = np.sort(cdist(queries, rows))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-7)
    narrow = sorted_distances(queries, rows.astype(np.float32))
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, expected, rtol=1e-4, atol=3e-3)


@pytest.mark.parametrize(("n_rows", "size", "size_without"), [(9, 4, 4), (17, 8, 8)])
def test_the_expected_nearest_is_the_mean_over_all_subsamples(
    n_rows, size, size_without
):
    lengths = np.sort(np.random.default_rng(0).gamma(1.0, size=n_rows))
    everything = _expected_minimum(lengths, size)
    others = _expected_minimum(lengths[1:], size_without)
    present = np.array([0.0, 1.0, 0.3])
    found = expected_nearest(np.tile(lengths, (3, 1)), present)
    expected = [everything, others, 0.7 * everything + 0.3 * others]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(nearest_weights(present, n_rows) @ lengths, expected)


def test_of_one_row_the_nearest_is_that_one():
    np.testing.assert_array_equal(expected_nearest(np.array([[3.0]]), [1.0]), [3.0])
    np.testing.assert_array_equal(nearest_weights([0.0, 1.0], 1), np.ones((2, 1)))
