"""The metric space against scipy's distances, math.hypot and exact powers of two."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from latentsk.index._fast_rows import FastRows
from latentsk.index._metric import MetricSpace, lengths


def _pairwise(space, queries, rows):
    """Return distances in the user's metric, of all pairs."""
    inside = space.queries(queries)[:, None, :]
    everything = space.rows(slice(None))[None, :, :]
    return space.to_metric(space.exact_distances(inside, everything))


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
def test_rescaled_vectors_keep_the_order(metric, offset, vectors):
    space = MetricSpace(vectors + offset, metric)
    rows = space.rescaled(space.rows(slice(None)), np.float64)
    queries = space.rescaled(space.queries(vectors[:4] + offset), np.float64)
    scores = -queries @ rows.T
    if metric != "inner_product":
        scores = cdist(queries, rows, "sqeuclidean")
    expected = space.exact_distances(
        space.queries(vectors[:4] + offset)[:, None, :], space.rows(slice(None))
    )
    # Offset by 1e3, the directions are 1e-3 apart, and their differences less precise.
    np.testing.assert_allclose(
        space.from_score(scores), expected, rtol=1e-8, atol=1e-12
    )


# Lengths


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1.0, 1e99])
def test_lengths_neither_overflow_nor_vanish(scale, vectors):
    rows = vectors * scale
    found = lengths(rows)
    expected = [math.hypot(*row) for row in rows.tolist()]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_length_of_zeros_is_zero():
    np.testing.assert_array_equal(lengths(np.zeros((2, 3))), [0.0, 0.0])


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1.0, 1e99])
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


@pytest.mark.parametrize("exponent", [-1000, -300, -25, 25, 300])
def test_scale_is_a_power_of_two_that_brings_entries_near_one(exponent, vectors):
    rows = np.ldexp(vectors, exponent)
    space = MetricSpace(rows, "euclidean")
    scale = space.rescaling.scale
    assert math.frexp(scale)[0] == 0.5
    rescaled = space.rescaled(space.rows(slice(None)), np.float64)
    assert 0.25 <= np.abs(rescaled).max() <= 1.0
    # No digit is lost on the way.
    np.testing.assert_array_equal(rescaled / scale, rows)


@pytest.mark.parametrize("largest", [0.0, 1e-5, 1.0, 1e5])
def test_ordinary_data_stay_as_they_are(largest, vectors):
    space = MetricSpace(largest * vectors, "euclidean")
    assert space.rescaling.scale == 1.0
    np.testing.assert_array_equal(space.rows(slice(None)), largest * vectors)


def test_float32_vectors_near_the_origin_are_not_copied(vectors):
    rows = vectors.astype(np.float32)
    for metric in ("euclidean", "inner_product"):
        fast = FastRows(MetricSpace(rows, metric))
        assert np.shares_memory(fast.array, rows)
        assert not fast.is_copy
    fast = FastRows(MetricSpace(rows, "cosine"))
    assert not np.shares_memory(fast.array, rows)
    assert fast.is_copy


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [50, 3000])
def test_data_far_from_the_origin_are_centred(dtype, n_rows):
    rng = np.random.default_rng(0)
    rows = (1000.0 + rng.normal(size=(n_rows, 4))).astype(dtype)
    space = MetricSpace(rows, "euclidean")
    np.testing.assert_allclose(space.rescaling.shift, np.full(4, 1000.0), atol=1.0)
    fast = FastRows(space).array
    assert fast.dtype == np.float32
    expected = (rows.astype(float) - space.rescaling.shift).astype(np.float32)
    np.testing.assert_array_equal(fast, expected)


def test_centred_data_and_inner_products_are_not_shifted(vectors):
    assert MetricSpace(vectors, "euclidean").rescaling.shift is None
    assert MetricSpace(1000.0 + vectors, "inner_product").rescaling.shift is None


# Values and distances


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("distance", [0.0, 0.25, 1.0, 2.0])
def test_scores_and_values_are_inverse(metric, distance, vectors):
    for scale in (1.0, 2.0**-40, 2.0**40):
        space = MetricSpace(scale * vectors, metric)
        score = space.to_score(np.array([distance]))
        np.testing.assert_array_equal(space.from_score(score), [distance])


@pytest.mark.parametrize("exponent", [-1060, -700, 0, 300])
def test_distances_at_the_edges_of_float64(exponent, vectors):
    rows = np.ldexp(np.round(vectors * 100), exponent)
    found = MetricSpace(rows, "euclidean").exact_distances(rows[:1], rows)
    expected = [math.hypot(*(row - rows[0])) for row in rows]
    # Subnormal numbers hold fewer digits.
    np.testing.assert_allclose(found, expected, rtol=1e-14 if exponent > -1000 else 0.1)


def test_cosine_distance_is_at_most_two(vectors):
    space = MetricSpace(vectors, "cosine")
    opposite = space.exact_distances(space.queries(-vectors), space.rows(slice(None)))
    assert (opposite <= 2.0).all()
    np.testing.assert_allclose(opposite, 2.0)


def test_rows_are_the_same_by_slice_and_by_positions(vectors):
    for metric in ("euclidean", "cosine", "inner_product"):
        space = MetricSpace(vectors, metric)
        which = np.array([[3, 1], [3, 29]])
        everything = space.rows(slice(None))
        np.testing.assert_array_equal(space.rows(which), everything[which])
