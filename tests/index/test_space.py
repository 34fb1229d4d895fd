"""The metric space against scipy's distances, math.hypot and exact powers of two."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from latentsk.index import _space
from latentsk.index._space import MetricSpace, lengths, row_slices


def _pairwise(space, queries, rows):
    """Return distances in the user's metric, of all pairs."""
    inside = space.queries(queries)[:, None, :]
    everything = space.rows(slice(None))[None, :, :]
    return space.to_metric(space.measured(inside, everything))


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(30, 5))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_distances_are_scipy_s(metric, scale, vectors):
    rows, queries = scale * vectors[:20], scale * vectors[20:]
    found = _pairwise(MetricSpace(rows, metric), queries, rows)
    np.testing.assert_allclose(found, cdist(queries, rows, metric), rtol=1e-12)


def test_inner_products_are_numpy_s(vectors):
    found = _pairwise(MetricSpace(vectors, "inner_product"), vectors[:4], vectors)
    np.testing.assert_allclose(found, vectors[:4] @ vectors.T, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product"])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_moved_vectors_keep_the_order(metric, offset, vectors):
    space = MetricSpace(vectors + offset, metric)
    rows = space.moved_rows(np.float64)
    queries = space.moved(space.queries(vectors[:4] + offset), np.float64)
    moved = -queries @ rows.T
    if metric != "inner_product":
        moved = cdist(queries, rows, "sqeuclidean")
    expected = space.measured(
        space.queries(vectors[:4] + offset)[:, None, :], space.rows(slice(None))
    )
    # Offset by 1e3, the directions are 1e-3 apart, and their differences less precise.
    np.testing.assert_allclose(space.from_score(moved), expected, rtol=1e-8, atol=1e-12)


# Lengths


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1.0, 1e200, 7e307])
def test_lengths_neither_overflow_nor_vanish(scale, vectors):
    rows = vectors * scale
    found = lengths(rows)
    for row, largest, norm in zip(rows, *found, strict=True):
        assert largest == np.abs(row).max()
        expected = math.hypot(*(row / largest).tolist())
        assert norm == pytest.approx(expected, rel=1e-14)


def test_length_of_zeros_is_zero():
    found = lengths(np.zeros((2, 3)))
    np.testing.assert_array_equal(found.largest, [0.0, 0.0])
    np.testing.assert_array_equal(found.norm, [0.0, 0.0])


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1.0, 1e200, 7e307])
def test_cosine_puts_rows_on_the_unit_sphere(scale, vectors):
    space = MetricSpace(vectors * scale, "cosine")
    expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    # Subnormal numbers have few digits left.
    rtol = 1e-14 if scale > 1e-300 else 1e-2
    np.testing.assert_allclose(space.rows(slice(None)), expected, rtol=rtol)
    np.testing.assert_allclose(space.queries(vectors * scale), expected, rtol=rtol)


def test_cosine_gives_zeros_a_coordinate_of_their_own(vectors):
    rows = vectors.copy()
    rows[3] = 0.0
    space = MetricSpace(rows, "cosine")
    assert space.n_features == 6
    inside = space.rows(slice(None))
    np.testing.assert_array_equal(inside[3], [0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(np.delete(inside, 3, axis=0)[:, 5], np.zeros(29))
    np.testing.assert_array_equal(space.queries(np.zeros((1, 5))), np.zeros((1, 6)))
    assert MetricSpace(vectors, "cosine").n_features == 5


def test_a_query_of_zeros_has_distance_one_from_everything(vectors):
    rows = vectors.copy()
    rows[3] = 0.0
    space = MetricSpace(rows, "cosine")
    found = _pairwise(space, np.zeros((2, 5)), rows)
    np.testing.assert_array_equal(found, np.ones((2, 30)))


@pytest.mark.parametrize("metric", ["euclidean", "inner_product"])
def test_zeros_are_a_point_like_others_elsewhere(metric, vectors):
    space = MetricSpace(vectors, metric)
    assert not space.without_direction(np.zeros((2, 5))).any()


# Scale and shift


@pytest.mark.parametrize("exponent", [-1000, -300, -25, 25, 300, 1000])
def test_scale_is_a_power_of_two_that_brings_entries_near_one(exponent, vectors):
    rows = np.ldexp(vectors, exponent)
    space = MetricSpace(rows, "euclidean")
    assert math.frexp(space.scale)[0] == 0.5
    moved = space.moved_rows(np.float64)
    assert 0.25 <= np.abs(moved).max() <= 1.0
    # No digit is lost on the way.
    np.testing.assert_array_equal(moved / space.scale, rows)


@pytest.mark.parametrize("largest", [0.0, 1e-5, 1.0, 1e5])
def test_ordinary_data_stay_as_they_are(largest, vectors):
    space = MetricSpace(largest * vectors, "euclidean")
    assert space.scale == 1.0
    np.testing.assert_array_equal(space.rows(slice(None)), largest * vectors)


def test_float32_vectors_near_the_origin_are_not_copied(vectors):
    rows = vectors.astype(np.float32)
    for metric in ("euclidean", "inner_product"):
        space = MetricSpace(rows, metric)
        assert np.shares_memory(space.moved_rows(np.float32), rows)
    assert not np.shares_memory(
        MetricSpace(rows, "cosine").moved_rows(np.float32), rows
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [50, 3000])
def test_data_far_from_the_origin_are_centred(dtype, n_rows):
    rng = np.random.default_rng(0)
    rows = (1000.0 + rng.normal(size=(n_rows, 4))).astype(dtype)
    space = MetricSpace(rows, "euclidean")
    np.testing.assert_allclose(space.shift, np.full(4, 1000.0), atol=1.0)
    moved = space.moved_rows(np.float32)
    assert moved.dtype == np.float32
    expected = (rows.astype(float) - space.shift).astype(np.float32)
    np.testing.assert_array_equal(moved, expected)


def test_centred_data_and_inner_products_are_not_shifted(vectors):
    assert MetricSpace(vectors, "euclidean").shift is None
    assert MetricSpace(1000.0 + vectors, "inner_product").shift is None


# Values and distances


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("distance", [0.0, 0.25, 1.0, 2.0])
def test_scores_and_values_are_inverse(metric, distance, vectors):
    for scale in (1.0, 2.0**-40, 2.0**40):
        space = MetricSpace(scale * vectors, metric)
        score = space.to_score(np.array([distance]))
        np.testing.assert_array_equal(space.from_score(score), [distance])


@pytest.mark.parametrize("exponent", [-1060, -700, 0, 700, 1000])
def test_distances_at_the_edges_of_float64(exponent, vectors):
    rows = np.ldexp(np.round(vectors * 100), exponent)
    found = MetricSpace(rows, "euclidean").measured(rows[:1], rows)
    expected = [math.hypot(*(row - rows[0])) for row in rows]
    # Subnormal numbers hold fewer digits.
    np.testing.assert_allclose(found, expected, rtol=1e-14 if exponent > -1000 else 0.1)


def test_cosine_distance_is_at_most_two(vectors):
    space = MetricSpace(vectors, "cosine")
    opposite = space.measured(space.queries(-vectors), space.rows(slice(None)))
    assert (opposite <= 2.0).all()
    np.testing.assert_allclose(opposite, 2.0)


@pytest.mark.parametrize("shape", [(1, 1), (10, 3), (1000, 7), (3, 0), (5, 10**7)])
def test_row_slices_cover_every_row_once(shape):
    slices = row_slices(shape)
    covered = np.concatenate([np.arange(shape[0])[part] for part in slices])
    np.testing.assert_array_equal(covered, np.arange(shape[0]))


def test_row_slices_are_bounded(monkeypatch):
    monkeypatch.setattr(_space, "BLOCK_ELEMENTS", 10)
    assert [part.stop - part.start for part in row_slices((7, 4))] == [2, 2, 2, 1]
    assert len(row_slices((3, 100))) == 3


def test_rows_are_the_same_by_slice_and_by_positions(vectors):
    for metric in ("euclidean", "cosine", "inner_product"):
        space = MetricSpace(vectors, metric)
        which = np.array([[3, 1], [3, 29]])
        everything = space.rows(slice(None))
        np.testing.assert_array_equal(space.rows(which), everything[which])
