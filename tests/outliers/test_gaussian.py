"""Mahalanobis distances and residuals: scikit-learn, scipy, rows literally left out."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA

from latentsk.outliers._gaussian import (
    RIDGE,
    gaussian_of,
    gaussian_of_latents,
    left_out_squared_distances,
    leverages,
    squared_distances,
    squared_joint,
    squared_outside,
    squared_within,
    whitened,
)
from latentsk.outliers._latent_rows import LatentRows, latent_rows


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
    gaussian = gaussian_of_latents(rows, n_features)
    total = rows.var(axis=0, ddof=1).sum()
    assert gaussian.ridge == pytest.approx(RIDGE * total / divisor)
    assert RIDGE == 0.1
    assert gaussian.n_rows == 40
    np.testing.assert_allclose(gaussian.centre, rows.mean(axis=0))


def test_distances_are_scipy_s(rows):
    gaussian = gaussian_of_latents(rows, 3)
    inverse = np.linalg.inv(_widened(rows, gaussian.ridge))
    expected = [mahalanobis(row, rows.mean(axis=0), inverse) ** 2 for row in rows]
    np.testing.assert_allclose(squared_distances(rows, gaussian), expected)
    lengths = (whitened(rows, gaussian) ** 2).sum(axis=1)
    np.testing.assert_allclose(lengths, expected)


def test_without_a_ridge_they_are_scikit_learn_s(rows):
    gaussian = gaussian_of_latents(rows, 3)._replace(ridge=0.0)
    # scikit-learn divides by the number of rows.
    expected = EmpiricalCovariance().fit(rows).mahalanobis(rows) * 39 / 40
    np.testing.assert_allclose(squared_distances(rows, gaussian), expected)
    whites = whitened(rows, gaussian)
    np.testing.assert_allclose(np.cov(whites, rowvar=False), np.eye(3), atol=1e-9)


@pytest.mark.parametrize("n_rows", [3, 4, 40])
@pytest.mark.parametrize("n_components", [1, 3])
def test_left_out_distances_are_those_of_each_row_literally_left_out(
    rows, n_rows, n_components
):
    rows = rows[:n_rows, :n_components]
    gaussian = gaussian_of_latents(rows, 5)
    expected = []
    for i in range(n_rows):
        others = np.delete(rows, i, axis=0)
        inverse = np.linalg.inv(_widened(others, gaussian.ridge))
        away = rows[i] - others.mean(axis=0)
        expected.append(away @ inverse @ away)
    found = left_out_squared_distances(rows, gaussian)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert (found > squared_distances(rows, gaussian)).all()


def test_some_of_the_rows_can_be_asked_for(rows):
    gaussian = gaussian_of_latents(rows, 3)
    every = left_out_squared_distances(rows, gaussian)
    some = left_out_squared_distances(rows[[7, 2]], gaussian)
    np.testing.assert_allclose(some, every[[7, 2]])


def test_of_fewer_than_three_rows_none_is_left_out():
    rows = np.array([[0.0, 0.0], [2.0, 0.0]])
    gaussian = gaussian_of_latents(rows, 2)
    # Variance 2 on the axis between them, and a ridge of a tenth of the mean.
    expected = [1.0 / 2.1, 1.0 / 2.1]
    np.testing.assert_allclose(squared_distances(rows, gaussian), expected)
    np.testing.assert_allclose(left_out_squared_distances(rows, gaussian), expected)


@pytest.mark.parametrize("n_rows", [4, 5, 40])
def test_leverages_are_the_diagonal_of_the_hat_matrix(rows, n_rows):
    rows = rows[:n_rows]
    gaussian = gaussian_of_latents(rows, 5)
    design = np.column_stack([np.ones(n_rows), rows])
    expected = np.diag(design @ np.linalg.pinv(design))
    np.testing.assert_allclose(leverages(rows, gaussian), expected, rtol=1e-9)
    flat = np.column_stack([rows, np.full((n_rows, 2), 7.0)])
    found = leverages(flat, gaussian_of_latents(flat, 5))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_leverages_of_equal_rows_are_those_of_a_mean():
    rows = np.full((5, 2), 3.0)
    np.testing.assert_allclose(leverages(rows, gaussian_of_latents(rows, 2)), 0.2)


def test_a_single_far_row_leaves_a_line_behind_it():
    """With the row left out, nothing varies along its direction but the ridge."""
    rows = np.zeros((10, 2))
    rows[:9, 0] = np.linspace(-1.0, 1.0, 9)
    rows[9] = [0.0, 1e3]
    gaussian = gaussian_of_latents(rows, 2)
    found = left_out_squared_distances(rows[9:], gaussian)
    np.testing.assert_allclose(found, 1e6 / gaussian.ridge, rtol=1e-9)


def test_equal_rows_have_a_ridge_of_one():
    rows = np.full((6, 2), 3.0)
    gaussian = gaussian_of_latents(rows, 2)
    assert gaussian.ridge == 1.0
    np.testing.assert_array_equal(left_out_squared_distances(rows, gaussian), 0.0)
    np.testing.assert_allclose(squared_distances(rows + 2.0, gaussian), 8.0)


def test_directions_without_variance_are_as_wide_as_the_ridge():
    rows = np.random.default_rng(0).normal(size=(20, 2)) @ np.eye(2, 5)
    gaussian = gaussian_of_latents(rows, 5)
    assert gaussian.variances.min() >= 0.0
    away = rows.mean(axis=0) + 7.0 * np.eye(5)[4]
    found = squared_distances(away[None], gaussian)
    np.testing.assert_allclose(found, 49.0 / gaussian.ridge)


# Both sides of an embedder


def _both_sides(features, latents, residuals, scale):
    return LatentRows(features, latents, residuals, scale, np.full(len(latents), -1))


@pytest.fixture(scope="module")
def pca_rows():
    X = np.random.default_rng(0).normal(size=(50, 6)) * [5, 4, 1, 1, 1, 1]
    return latent_rows(PCA(2).fit(X), X, X.std(axis=0))


def test_the_noise_is_the_mean_squared_residual_per_direction(pca_rows):
    rows = pca_rows
    gaussian = gaussian_of(rows, was_fitted_on=True)
    # Residuals in standard deviations: four directions, and a ridge of 0.1.
    outside = np.mean((rows.residuals**2).sum(axis=1)) / 4
    assert gaussian.noise == pytest.approx(outside + 0.1)
    expected = rows.latents.var(axis=0, ddof=1).sum() * 0.1 / 6
    assert gaussian.ridge == pytest.approx(expected)


def test_the_noise_never_vanishes():
    latents = np.zeros((4, 1))
    nothing = _both_sides(np.ones((4, 1)), latents, np.zeros((4, 1)), np.ones(1))
    assert gaussian_of(nothing, was_fitted_on=True).noise == 1.0
    none = _both_sides(np.ones((4, 1)), latents, None, np.ones(1))
    assert gaussian_of(none, was_fitted_on=True).noise == 1.0
    everything = np.ones(4, bool)
    found = squared_outside(none, gaussian_of(none, was_fitted_on=True), everything)
    np.testing.assert_array_equal(found, np.zeros(4))


def test_more_components_than_features_leave_one_direction_of_noise():
    rng = np.random.default_rng(0)
    features, latents = rng.normal(size=(20, 2)), rng.normal(size=(20, 5))
    rows = _both_sides(features, latents, 0.1 * features, np.ones(2))
    gaussian = gaussian_of(rows, was_fitted_on=True)
    squares = (0.01 * features**2).sum(axis=1).mean()
    variance = features.var(axis=0).mean()
    assert gaussian.noise == pytest.approx(squares + 0.1 * variance)
    total = latents.var(axis=0, ddof=1).sum()
    assert gaussian.ridge == pytest.approx(0.1 * total / 5)


def test_rows_of_the_support_are_measured_without_themselves(pca_rows):
    rows = pca_rows
    gaussian = gaussian_of(rows, was_fitted_on=True)
    in_support = np.arange(50) < 10
    found = squared_within(rows, gaussian, in_support)
    for i in (0, 9, 10, 49):
        used = np.delete(rows.latents, i, axis=0) if in_support[i] else rows.latents
        covariance = np.cov(used, rowvar=False) + gaussian.ridge * np.eye(2)
        away = rows.latents[i] - used.mean(axis=0)
        expected = away @ np.linalg.solve(covariance, away)
        assert found[i] == pytest.approx(expected)


def test_residuals_of_the_support_are_those_of_a_regression_without_the_row():
    """For least squares on the latents it is exact (Allen's PRESS)."""
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(25, 2))
    features = latents @ rng.normal(size=(2, 4)) + rng.normal(size=(25, 4))
    design = np.column_stack([np.ones(25), latents])
    residuals = features - design @ np.linalg.lstsq(design, features)[0]
    rows = _both_sides(features, latents, residuals, np.ones(4))
    found = squared_outside(
        rows, gaussian_of(rows, was_fitted_on=True), np.ones(25, bool)
    )
    for i in range(25):
        others = np.delete(np.arange(25), i)
        fitted = np.linalg.lstsq(design[others], features[others])[0]
        expected = np.sum((features[i] - design[i] @ fitted) ** 2)
        assert found[i] == pytest.approx(expected)
    plain = squared_outside(
        rows, gaussian_of(rows, was_fitted_on=True), np.zeros(25, bool)
    )
    np.testing.assert_allclose(plain, (residuals**2).sum(axis=1))


def test_a_row_with_a_direction_to_itself_has_a_finite_residual():
    latents = np.zeros((10, 1))
    latents[0] = 1.0
    residuals = np.full((10, 3), 1e-9)
    rows = _both_sides(np.ones((10, 3)), latents, residuals, np.ones(3))
    found = squared_outside(
        rows, gaussian_of(rows, was_fitted_on=True), np.ones(10, bool)
    )
    assert np.isfinite(found).all()
    assert found[0] < 1e-10


def test_distances_add_both_sides(pca_rows):
    rows = pca_rows
    support = np.arange(5, 45)
    gaussian = gaussian_of(rows.at(support), was_fitted_on=True)
    found = squared_joint(rows, gaussian, support)
    outsiders = np.r_[0:5, 45:50]
    model = EmpiricalCovariance().fit(rows.latents[support])
    covariance = model.covariance_ * 40 / 39 + gaussian.ridge * np.eye(2)
    away = rows.latents[outsiders] - model.location_
    within = np.einsum("ij,ij->i", away @ np.linalg.inv(covariance), away)
    outside = (rows.residuals[outsiders] ** 2).sum(axis=1) / gaussian.noise
    np.testing.assert_allclose(found[outsiders], within + outside)
    left_out = squared_within(rows, gaussian, np.isin(np.arange(50), support))
    design = np.column_stack([np.ones(40), rows.latents[support]])
    hat = design @ np.linalg.pinv(design)
    enlarged = rows.residuals[support] / (1 - np.diag(hat))[:, None]
    expected = left_out[support] + (enlarged**2).sum(axis=1) / gaussian.noise
    np.testing.assert_allclose(found[support], expected)
    honest = squared_joint(rows, gaussian._replace(was_fitted_on=False), support)
    residuals = (rows.residuals[support] ** 2).sum(axis=1)
    np.testing.assert_allclose(
        honest[support], left_out[support] + residuals / gaussian.noise
    )
