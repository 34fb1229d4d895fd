"""Shares of features: brute force, and sums."""

import numpy as np
import pytest

from latentsk.outliers.attribution import neighbor_parts, shares, substitution_parts


def test_shares_are_parts_over_their_sum():
    parts = np.random.default_rng(0).gamma(1.0, size=(20, 5))
    found = shares(parts)
    np.testing.assert_allclose(found, parts / parts.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(shares(1e-200 * parts), found)


def test_shares_of_nothing_are_equal():
    np.testing.assert_array_equal(shares(np.zeros((2, 4))), np.full((2, 4), 0.25))


def test_shares_of_the_largest_numbers_are_finite():
    largest = np.finfo(np.float64).max
    found = shares([[largest, largest, 0.0], [largest, 1.0, 0.0]])
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], atol=1e-300)


def test_neighbor_parts_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    rows, neighbors = rng.normal(size=(6, 4)), rng.normal(size=(6, 3, 4))
    neighbors[2, 1] = rows[2]  # a copy
    expected = np.zeros((6, 4))
    for i in range(6):
        for other in neighbors[i]:
            length = np.linalg.norm(rows[i] - other)
            if length > 0:
                expected[i] += (rows[i] - other) ** 2 / length / 3
    found = neighbor_parts(rows, neighbors)
    np.testing.assert_allclose(found, expected)
    lengths = np.linalg.norm(rows[:, None] - neighbors, axis=2).mean(axis=1)
    np.testing.assert_allclose(found.sum(axis=1), lengths)


def test_substitution_is_the_rise_of_the_score():
    rng = np.random.default_rng(0)
    rows, replacements = rng.normal(size=(2, 30, 3))
    before = rows.copy()

    def score(x):
        return -(x**2 @ [1.0, 10.0, 0.0])

    found = substitution_parts(score, rows, replacements)
    rises = (rows**2 - replacements**2) * [1.0, 10.0, 0.0]
    np.testing.assert_allclose(found, np.maximum(rises, 0.0), atol=1e-12)
    assert (found > 0.0).any(axis=0).tolist() == [True, True, False]
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_of_float32_rows_are_float64(dtype):
    rows = np.ones((2, 3), dtype)
    found = substitution_parts(lambda x: x.sum(axis=1), rows, rows + 1)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, 1.0)
