"""Mahalanobis distances and residuals: scikit-learn, scipy, rows literally left out."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from scipy.stats import multivariate_normal
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA

from latentsk.outliers._gaussian import (
    RIDGES,
    best_ridge,
    effective_dimensions,
    feature_loadings,
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


def _covariance(rows):
    return np.cov(rows, rowvar=False).reshape(2 * rows.shape[1:])


def _ridge(rows, share):
    """What is added to every variance: a share of their mean."""
    return share * np.trace(_covariance(rows)) / rows.shape[1]


def _without(rows, i, share):
    """Mean and widened covariance without a row; the ridge shrinks as they do."""
    n = len(rows)
    others = np.delete(rows, i, axis=0)
    ridge = _ridge(rows, share) * (n - 1) / (n - 2)
    return others.mean(axis=0), _covariance(others) + ridge * np.eye(rows.shape[1])


def _left_out(rows, i, share):
    centre, covariance = _without(rows, i, share)
    away = rows[i] - centre
    return away @ np.linalg.solve(covariance, away)


# Within the latent space


@pytest.mark.parametrize("share", [1e-6, 0.1, 2.0])
def test_the_ridge_is_a_share_of_the_mean_variance(rows, share):
    gaussian = gaussian_of_latents(rows, share)
    widened = (gaussian.axes * gaussian.variances) @ gaussian.axes.T
    expected = _covariance(rows) + _ridge(rows, share) * np.eye(3)
    np.testing.assert_allclose(widened, expected)
    np.testing.assert_allclose(gaussian.centre, rows.mean(axis=0))
    assert gaussian.n_rows == 40


def test_a_ridge_of_one_s_own_is_added_besides(rows):
    own = np.diag([0.0, 25.0, 0.0])
    gaussian = gaussian_of_latents(rows, 0.1, own)
    widened = (gaussian.axes * gaussian.variances) @ gaussian.axes.T
    expected = _covariance(rows) + _ridge(rows, 0.1) * np.eye(3) + own
    np.testing.assert_allclose(widened, expected)
    np.testing.assert_allclose(gaussian.axes.T @ gaussian.axes, np.eye(3), atol=1e-12)


def test_distances_are_scipy_s(rows):
    gaussian = gaussian_of_latents(rows, 0.1)
    inverse = np.linalg.inv(_covariance(rows) + _ridge(rows, 0.1) * np.eye(3))
    expected = [mahalanobis(row, rows.mean(axis=0), inverse) ** 2 for row in rows]
    np.testing.assert_allclose(squared_distances(rows, gaussian), expected)
    lengths = (whitened(rows, gaussian) ** 2).sum(axis=1)
    np.testing.assert_allclose(lengths, expected)


def test_with_hardly_a_ridge_they_are_scikit_learn_s(rows):
    gaussian = gaussian_of_latents(rows, 1e-12)
    # scikit-learn divides by the number of rows.
    expected = EmpiricalCovariance().fit(rows).mahalanobis(rows) * 39 / 40
    np.testing.assert_allclose(squared_distances(rows, gaussian), expected, rtol=1e-7)
    whites = whitened(rows, gaussian)
    np.testing.assert_allclose(np.cov(whites, rowvar=False), np.eye(3), atol=1e-8)


@pytest.mark.parametrize("n_rows", [3, 4, 40])
@pytest.mark.parametrize("n_components", [1, 3])
@pytest.mark.parametrize("share", [1e-6, 0.1])
def test_left_out_distances_are_those_of_each_row_literally_left_out(
    rows, n_rows, n_components, share
):
    rows = rows[:n_rows, :n_components]
    gaussian = gaussian_of_latents(rows, share)
    expected = [_left_out(rows, i, share) for i in range(n_rows)]
    found = left_out_squared_distances(rows, gaussian)
    # With fewer rows than directions, a millionth of a variance is divided by.
    np.testing.assert_allclose(found, expected, rtol=1e-8 if share == 0.1 else 1e-5)


def test_some_of_the_rows_can_be_asked_for(rows):
    gaussian = gaussian_of_latents(rows)
    every = left_out_squared_distances(rows, gaussian)
    some = left_out_squared_distances(rows[[7, 2]], gaussian)
    np.testing.assert_allclose(some, every[[7, 2]])


def test_of_fewer_than_three_rows_none_is_left_out():
    rows = np.array([[0.0, 0.0], [2.0, 0.0]])
    # Variance 2 on the axis between them, and a ridge of a tenth of the mean.
    expected = [1.0 / 2.1, 1.0 / 2.1]
    for gaussian in (gaussian_of_latents(rows, 0.1), gaussian_of_latents(rows)):
        np.testing.assert_allclose(squared_distances(rows, gaussian), expected)
        np.testing.assert_allclose(left_out_squared_distances(rows, gaussian), expected)


@pytest.mark.parametrize("n_rows", [4, 5, 40])
def test_leverages_are_the_diagonal_of_the_hat_matrix(rows, n_rows):
    rows = rows[:n_rows]
    design = np.column_stack([np.ones(n_rows), rows])
    expected = np.diag(design @ np.linalg.pinv(design))
    found = leverages(rows, gaussian_of_latents(rows, 1e-12))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    flat = np.column_stack([rows, np.full((n_rows, 2), 7.0)])
    found = leverages(flat, gaussian_of_latents(flat, 1e-12))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_ridge_lowers_leverages_as_in_ridge_regression(rows):
    """`X (X'X + (n - 1) r I)^-1 X'` of centred rows, and a mean that has none."""
    centred = rows - rows.mean(axis=0)
    penalty = 39 * _ridge(rows, 0.1) * np.eye(3)
    hat = centred @ np.linalg.solve(centred.T @ centred + penalty, centred.T)
    found = leverages(rows, gaussian_of_latents(rows, 0.1))
    np.testing.assert_allclose(found, np.diag(hat) + 1 / 40)


def test_leverages_of_equal_rows_are_those_of_a_mean():
    rows = np.full((5, 2), 3.0)
    np.testing.assert_allclose(leverages(rows, gaussian_of_latents(rows)), 0.2)


def test_a_single_far_row_leaves_a_line_behind_it():
    """With the row left out, nothing varies along its direction but the ridge."""
    rows = np.zeros((10, 2))
    rows[:9, 0] = np.linspace(-1.0, 1.0, 9)
    rows[9] = [0.0, 1e3]
    found = left_out_squared_distances(rows[9:], gaussian_of_latents(rows, 0.1))
    ridge = _ridge(rows, 0.1) * 9 / 8
    np.testing.assert_allclose(found, 1e6 / ridge, rtol=1e-9)


@pytest.mark.parametrize("ridge", [None, 1e-6, 0.1])
def test_equal_rows_have_a_ridge_of_one(ridge):
    rows = np.full((6, 2), 3.0)
    gaussian = gaussian_of_latents(rows, ridge)
    np.testing.assert_array_equal(gaussian.variances, 1.0)
    np.testing.assert_array_equal(left_out_squared_distances(rows, gaussian), 0.0)
    np.testing.assert_allclose(squared_distances(rows + 2.0, gaussian), 8.0)


def test_directions_without_variance_are_as_wide_as_the_ridge():
    rows = np.random.default_rng(0).normal(size=(20, 2)) @ np.eye(2, 5)
    gaussian = gaussian_of_latents(rows, 0.1)
    assert gaussian.variances.min() > 0.0
    away = rows.mean(axis=0) + 7.0 * np.eye(5)[4]
    found = squared_distances(away[None], gaussian)
    np.testing.assert_allclose(found, 49.0 / _ridge(rows, 0.1))


# The choice of the ridge


def _brute_ridge(rows):
    """By scipy's density of each row under the normal distribution of the others."""
    likelihoods = []
    for share in RIDGES:
        logarithms = []
        for i in range(len(rows)):
            centre, covariance = _without(rows, i, share)
            logarithms.append(multivariate_normal.logpdf(rows[i], centre, covariance))
        likelihoods.append(np.median(logarithms))
    return RIDGES[np.argmax(likelihoods)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("n_rows", "deviations"),
    [(9, [1, 1, 1]), (12, [1, 1, 0.03]), (40, [1, 0.3, 0.001]), (8, [1] * 6)],
)
def test_the_ridge_is_that_of_rows_literally_left_out(seed, n_rows, deviations):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, len(deviations))) * deviations
    variances, axes = np.linalg.eigh(_covariance(rows))
    found = best_ridge((rows - rows.mean(axis=0)) @ axes, variances)
    assert found == _brute_ridge(rows)


def test_tight_relations_keep_the_ridge_below_them():
    """The last column is the sum of the others, to a thousandth of a deviation."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 4))
    rows = np.column_stack([rows, rows.sum(axis=1) + 1e-3 * rng.normal(size=300)])
    gaussian = gaussian_of_latents(rows)
    # Of the difference, with a weight of one in each of five columns.
    assert gaussian.variances.min() < 10 * 1e-6 / 5
    broken = rows[:5].copy()
    broken[:, 4] += 0.1
    assert (squared_distances(broken, gaussian) > 1_000).all()
    assert (squared_distances(rows, gaussian) < 60).all()


def test_few_rows_in_many_directions_have_a_large_ridge():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(12, 30))
    variances, axes = np.linalg.eigh(_covariance(rows))
    assert best_ridge((rows - rows.mean(axis=0)) @ axes, variances) == RIDGES[-1]


def test_of_hardly_any_rows_the_largest_ridge():
    assert best_ridge(np.array([[1.0], [-1.0]]), np.array([2.0])) == RIDGES[-1] == 0.1
    assert best_ridge(np.zeros((9, 2)), np.zeros(2)) == RIDGES[-1]


def test_effective_dimensions_count_directions_of_equal_variance():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20_000, 6)) * [5, 5, 5, 1e-3, 1e-3, 1e-3]
    gaussian = gaussian_of_latents(rows, 1e-6)
    assert effective_dimensions(gaussian) == pytest.approx(3.0, rel=1e-2)
    eigenvalues = np.array([3.0, 2.0, 1.0])
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert effective_dimensions(gaussian._replace(variances=eigenvalues)) == (
        pytest.approx(expected)
    )
    # Squares would overflow, and vanish.
    for unit in (1e200, 1e-200):
        found = effective_dimensions(gaussian._replace(variances=unit * eigenvalues))
        assert found == pytest.approx(expected)


# Both sides of an embedder


def _both_sides(features, latents, residuals, scale):
    return LatentRows(features, latents, residuals, scale)


@pytest.fixture(scope="module")
def pca_rows():
    X = np.random.default_rng(0).normal(size=(50, 6)) * [5, 4, 1, 1, 1, 1]
    return latent_rows(PCA(2).fit(X), X, X.std(axis=0))


def _press(latents, residuals, share):
    """Residuals of a ridge regression from which each row was left out."""
    n = len(latents)
    centred = latents - latents.mean(axis=0)
    penalty = (n - 1) * _ridge(latents, share) * np.eye(latents.shape[1])
    hat = centred @ np.linalg.solve(centred.T @ centred + penalty, centred.T) + 1 / n
    return residuals / (1 - np.diag(hat))[:, None]


@pytest.mark.parametrize("share", [1e-6, 0.1])
def test_the_noise_is_the_mean_squared_residual_per_direction(pca_rows, share):
    rows = pca_rows
    gaussian = gaussian_of(rows, was_fitted_on=True, ridge=share)
    # Residuals in standard deviations: four directions; features have a variance of 1.
    enlarged = _press(rows.latents, rows.residuals, share)
    expected = (enlarged**2).sum(axis=1).mean() / 4 + share
    assert gaussian.noise == pytest.approx(expected)
    assert type(gaussian.noise) is float
    honest = gaussian_of(rows, was_fitted_on=False, ridge=share)
    expected = (rows.residuals**2).sum(axis=1).mean() / 4 + share
    assert honest.noise == pytest.approx(expected)


def test_the_least_ridge_is_the_least_noise():
    features = np.random.default_rng(0).normal(size=(30, 3))
    rows = _both_sides(features, features[:, :2], 0.0 * features, features.std(axis=0))
    gaussian = gaussian_of(rows, was_fitted_on=True)
    assert gaussian.noise == pytest.approx(RIDGES[0])
    assert type(gaussian.noise) is float


def test_the_noise_never_vanishes():
    latents = np.zeros((4, 1))
    nothing = _both_sides(np.ones((4, 1)), latents, np.zeros((4, 1)), np.ones(1))
    assert gaussian_of(nothing, was_fitted_on=True).noise == 1.0
    none = _both_sides(np.ones((4, 1)), latents, None, np.ones(1))
    assert gaussian_of(none, was_fitted_on=True).noise == 1.0
    found = squared_outside(none, gaussian_of(none, was_fitted_on=True), np.ones(4))
    np.testing.assert_array_equal(found, np.zeros(4))


def test_more_components_than_features_leave_one_direction_of_noise():
    rng = np.random.default_rng(0)
    features, latents = rng.normal(size=(20, 2)), rng.normal(size=(20, 5))
    rows = _both_sides(features, latents, 0.1 * features, np.ones(2))
    gaussian = gaussian_of(rows, was_fitted_on=False, ridge=0.1)
    squares = (0.01 * features**2).sum(axis=1).mean()
    variance = features.var(axis=0).mean()
    assert gaussian.noise == pytest.approx(squares + 0.1 * variance)


def test_rows_of_the_support_are_measured_without_themselves(pca_rows):
    rows = pca_rows
    gaussian = gaussian_of(rows, was_fitted_on=True, ridge=0.1)
    present = np.where(np.arange(50) < 10, 1.0, 0.0)
    present[20] = 0.25
    found = squared_within(rows, gaussian, present)
    covariance = _covariance(rows.latents) + _ridge(rows.latents, 0.1) * np.eye(2)
    away = rows.latents - rows.latents.mean(axis=0)
    ordinary = np.einsum("ij,ij->i", away @ np.linalg.inv(covariance), away)
    for i in (0, 9, 10, 20, 49):
        left_out = _left_out(rows.latents, i, 0.1)
        expected = present[i] * left_out + (1 - present[i]) * ordinary[i]
        assert found[i] == pytest.approx(expected)


def test_beyond_float64_a_new_row_is_infinitely_far(pca_rows):
    gaussian = gaussian_of(pca_rows, was_fitted_on=True)
    far = pca_rows._replace(latents=np.full((50, 2), 1e200))
    with np.errstate(over="ignore", invalid="ignore"):
        found = squared_within(far, gaussian, np.zeros(50))
    np.testing.assert_array_equal(found, np.inf)


def test_residuals_of_the_support_are_those_of_a_regression_without_the_row():
    """For least squares on the latents it is exact (Allen's PRESS)."""
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(25, 2))
    features = latents @ rng.normal(size=(2, 4)) + rng.normal(size=(25, 4))
    design = np.column_stack([np.ones(25), latents])
    residuals = features - design @ np.linalg.lstsq(design, features)[0]
    rows = _both_sides(features, latents, residuals, np.ones(4))
    gaussian = gaussian_of(rows, was_fitted_on=True, ridge=1e-12)
    found = squared_outside(rows, gaussian, np.ones(25))
    plain = squared_outside(rows, gaussian, np.zeros(25))
    half = squared_outside(rows, gaussian, np.full(25, 0.5))
    for i in range(25):
        others = np.delete(np.arange(25), i)
        fitted = np.linalg.lstsq(design[others], features[others])[0]
        expected = np.sum((features[i] - design[i] @ fitted) ** 2)
        assert found[i] == pytest.approx(expected)
    np.testing.assert_allclose(plain, (residuals**2).sum(axis=1))
    np.testing.assert_allclose(half, (found + plain) / 2)


def test_a_row_with_a_direction_to_itself_has_a_finite_residual():
    latents = np.zeros((10, 1))
    latents[0] = 1.0
    residuals = np.full((10, 3), 1e-9)
    rows = _both_sides(np.ones((10, 3)), latents, residuals, np.ones(3))
    gaussian = gaussian_of(rows, was_fitted_on=True, ridge=1e-12)
    found = squared_outside(rows, gaussian, np.ones(10))
    assert np.isfinite(found).all()
    assert found[0] < 1e-10


def test_distances_add_both_sides(pca_rows):
    rows = pca_rows
    support = np.arange(5, 45)
    present = np.isin(np.arange(50), support).astype(float)
    gaussian = gaussian_of(rows.at(support), was_fitted_on=True, ridge=0.1)
    found = squared_joint(rows, gaussian, present)
    outsiders = np.r_[0:5, 45:50]
    of_support = rows.latents[support]
    covariance = _covariance(of_support) + _ridge(of_support, 0.1) * np.eye(2)
    away = rows.latents[outsiders] - of_support.mean(axis=0)
    within = np.einsum("ij,ij->i", away @ np.linalg.inv(covariance), away)
    outside = (rows.residuals[outsiders] ** 2).sum(axis=1) / gaussian.noise
    np.testing.assert_allclose(found[outsiders], within + outside)
    within = [_left_out(of_support, i, 0.1) for i in range(40)]
    enlarged = _press(of_support, rows.residuals[support], 0.1)
    expected = within + (enlarged**2).sum(axis=1) / gaussian.noise
    np.testing.assert_allclose(found[support], expected)
    honest = squared_joint(rows, gaussian._replace(was_fitted_on=False), present)
    residuals = (rows.residuals[support] ** 2).sum(axis=1)
    np.testing.assert_allclose(honest[support], within + residuals / gaussian.noise)


def test_loadings_are_correlations_of_whitened_latents_with_features(pca_rows):
    X = pca_rows.features
    embedder = PCA(2).fit(X)
    gaussian = gaussian_of(pca_rows, was_fitted_on=True, ridge=1e-12)
    found = feature_loadings(embedder, pca_rows, gaussian)
    white = whitened(pca_rows.latents, gaussian)
    standardized = (X - X.mean(axis=0)) / X.std(axis=0)
    # Deviations of latents are those of n - 1.
    expected = white.T @ standardized / 49
    np.testing.assert_allclose(found, expected, atol=1e-9)
