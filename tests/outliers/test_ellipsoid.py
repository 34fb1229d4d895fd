"""Mahalanobis distances: by scikit-learn, scipy, and rows that are left out."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import EmpiricalCovariance

from latentsk.outliers.ellipsoid import (
    RIDGE,
    ellipsoid_of,
    left_out_squared_distances,
    leverages,
    squared_distances,
    whitened,
)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 3)) @ rng.normal(size=(3, 3)) + [1.0, -5.0, 100.0]


def _widened(rows, ridge):
    return np.cov(rows, rowvar=False).reshape(2 * rows.shape[1:]) + ridge * np.eye(
        rows.shape[1]
    )


@pytest.mark.parametrize(("n_features", "divisor"), [(3, 3), (12, 12), (1, 3)])
def test_the_ridge_is_a_tenth_of_the_mean_variance(rows, n_features, divisor):
    ellipsoid = ellipsoid_of(rows, n_features)
    total = rows.var(axis=0, ddof=1).sum()
    assert ellipsoid.ridge == pytest.approx(RIDGE * total / divisor)
    assert RIDGE == 0.1
    assert ellipsoid.n_rows == 40
    np.testing.assert_allclose(ellipsoid.centre, rows.mean(axis=0))


def test_distances_are_scipy_s(rows):
    ellipsoid = ellipsoid_of(rows, 3)
    inverse = np.linalg.inv(_widened(rows, ellipsoid.ridge))
    expected = [mahalanobis(row, rows.mean(axis=0), inverse) ** 2 for row in rows]
    np.testing.assert_allclose(squared_distances(rows, ellipsoid), expected)
    lengths = (whitened(rows, ellipsoid) ** 2).sum(axis=1)
    np.testing.assert_allclose(lengths, expected)


def test_without_a_ridge_they_are_scikit_learn_s(rows):
    ellipsoid = ellipsoid_of(rows, 3)._replace(ridge=0.0)
    # scikit-learn divides by the number of rows.
    expected = EmpiricalCovariance().fit(rows).mahalanobis(rows) * 39 / 40
    np.testing.assert_allclose(squared_distances(rows, ellipsoid), expected)
    whites = whitened(rows, ellipsoid)
    np.testing.assert_allclose(np.cov(whites, rowvar=False), np.eye(3), atol=1e-9)


@pytest.mark.parametrize("n_rows", [3, 4, 40])
@pytest.mark.parametrize("n_components", [1, 3])
def test_left_out_distances_are_those_of_each_row_literally_left_out(
    rows, n_rows, n_components
):
    rows = rows[:n_rows, :n_components]
    ellipsoid = ellipsoid_of(rows, 5)
    expected = []
    for i in range(n_rows):
        others = np.delete(rows, i, axis=0)
        inverse = np.linalg.inv(_widened(others, ellipsoid.ridge))
        away = rows[i] - others.mean(axis=0)
        expected.append(away @ inverse @ away)
    found = left_out_squared_distances(rows, ellipsoid)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert (found > squared_distances(rows, ellipsoid)).all()


def test_some_of_the_rows_can_be_asked_for(rows):
    ellipsoid = ellipsoid_of(rows, 3)
    every = left_out_squared_distances(rows, ellipsoid)
    some = left_out_squared_distances(rows[[7, 2]], ellipsoid)
    np.testing.assert_allclose(some, every[[7, 2]])


def test_of_fewer_than_three_rows_none_is_left_out():
    rows = np.array([[0.0, 0.0], [2.0, 0.0]])
    ellipsoid = ellipsoid_of(rows, 2)
    # Variance 2 on the axis between them, and a ridge of a tenth of the mean.
    expected = [1.0 / 2.1, 1.0 / 2.1]
    np.testing.assert_allclose(squared_distances(rows, ellipsoid), expected)
    np.testing.assert_allclose(left_out_squared_distances(rows, ellipsoid), expected)


@pytest.mark.parametrize("n_rows", [4, 5, 40])
def test_leverages_are_the_diagonal_of_the_hat_matrix(rows, n_rows):
    rows = rows[:n_rows]
    ellipsoid = ellipsoid_of(rows, 5)
    design = np.column_stack([np.ones(n_rows), rows])
    expected = np.diag(design @ np.linalg.pinv(design))
    np.testing.assert_allclose(leverages(rows, ellipsoid), expected, rtol=1e-9)
    flat = np.column_stack([rows, np.full((n_rows, 2), 7.0)])
    found = leverages(flat, ellipsoid_of(flat, 5))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_leverages_of_equal_rows_are_those_of_a_mean():
    rows = np.full((5, 2), 3.0)
    np.testing.assert_allclose(leverages(rows, ellipsoid_of(rows, 2)), 0.2)


def test_a_single_far_row_leaves_a_line_behind_it():
    """With the row left out, nothing varies along its direction but the ridge."""
    rows = np.zeros((10, 2))
    rows[:9, 0] = np.linspace(-1.0, 1.0, 9)
    rows[9] = [0.0, 1e3]
    ellipsoid = ellipsoid_of(rows, 2)
    found = left_out_squared_distances(rows[9:], ellipsoid)
    np.testing.assert_allclose(found, 1e6 / ellipsoid.ridge, rtol=1e-9)


def test_equal_rows_have_a_ridge_of_one():
    rows = np.full((6, 2), 3.0)
    ellipsoid = ellipsoid_of(rows, 2)
    assert ellipsoid.ridge == 1.0
    np.testing.assert_array_equal(left_out_squared_distances(rows, ellipsoid), 0.0)
    np.testing.assert_allclose(squared_distances(rows + 2.0, ellipsoid), 8.0)


def test_directions_without_variance_are_as_wide_as_the_ridge():
    rows = np.random.default_rng(0).normal(size=(20, 2)) @ np.eye(2, 5)
    ellipsoid = ellipsoid_of(rows, 5)
    assert ellipsoid.variances.min() >= 0.0
    away = rows.mean(axis=0) + 7.0 * np.eye(5)[4]
    found = squared_distances(away[None], ellipsoid)
    np.testing.assert_allclose(found, 49.0 / ellipsoid.ridge)
