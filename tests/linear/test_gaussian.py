"""The linear-Gaussian model against scipy and linear algebra."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from latentsk.linear import _gaussian as linear_gaussian
from latentsk.linear._gaussian import LinearGaussian


def make_model(n_components, n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(n_features, n_features)))
    variances = np.sort(rng.uniform(1, 9, n_components))[::-1]
    noise = 0.0 if n_components == n_features else 0.3
    mean = rng.normal(size=n_features)
    return LinearGaussian(mean, axes[:, :n_components].T, variances, noise)


def dense_covariance(model):
    outside = np.eye(model.mean.size) - model.components.T @ model.components
    inside = model.components.T @ np.diag(model.variances) @ model.components
    return inside + model.noise * outside


@pytest.fixture(params=[0, 1, 3, 5])
def model(request):
    return make_model(request.param)


def test_log_likelihood_is_the_gaussian_density(model):
    X = np.random.default_rng(1).normal(size=(20, 5)) * 3
    expected = multivariate_normal(model.mean, dense_covariance(model)).logpdf(X)
    computed = linear_gaussian.log_likelihood(X - model.mean, model)
    np.testing.assert_allclose(computed, expected, rtol=1e-12)


def test_covariance_and_precision(model):
    covariance = linear_gaussian.covariance(model)
    np.testing.assert_allclose(covariance, dense_covariance(model), atol=1e-14)
    product = covariance @ linear_gaussian.precision(model)
    np.testing.assert_allclose(product, np.eye(5), atol=1e-13)


def test_squared_distances_add_up(model):
    centred = np.random.default_rng(2).normal(size=(20, 5))
    inside = linear_gaussian.coordinates(centred, model)
    residual = linear_gaussian.squared_residual(centred, model)
    total = np.sum(inside**2, axis=1) + residual
    np.testing.assert_allclose(total, np.sum(centred**2, axis=1), rtol=1e-12)


def test_squared_residual_of_rows_close_to_the_subspace():
    model = make_model(3)
    rng = np.random.default_rng(3)
    outside = np.linalg.svd(model.components)[2][3]
    centred = 1e6 * rng.normal(size=(9, 3)) @ model.components + 1e-3 * outside
    np.testing.assert_allclose(
        linear_gaussian.squared_residual(centred, model), 1e-6, rtol=1e-5
    )


def test_draws_have_the_models_moments(model):
    rows = linear_gaussian.draw(model, 200_000, np.random.default_rng(4))
    np.testing.assert_allclose(rows.mean(axis=0), model.mean, atol=0.05)
    np.testing.assert_allclose(
        np.cov(rows, rowvar=False), linear_gaussian.covariance(model), atol=0.12
    )


@pytest.mark.parametrize("flat", [0.0, 1e-30, 1e-17])
def test_residuals_and_covariance_of_components_without_variance(flat):
    """Whether an eigenvalue is zero or rounding noise depends on the processor."""
    variances = np.array([4.0, 1.0, flat])
    model = LinearGaussian(np.zeros(4), np.eye(4)[:3], variances, 0.0)
    rows = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, -1.0, 2.0]])
    expected = np.array([[0.0, 0.0, 0.0, 16.0], [0.0, 0.0, 0.0, 4.0]])
    np.testing.assert_array_equal(linear_gaussian.residual_parts(rows, model), expected)
    np.testing.assert_array_equal(
        linear_gaussian.squared_residual(rows, model), [16.0, 4.0]
    )
    np.testing.assert_allclose(
        linear_gaussian.covariance(model), np.diag([4.0, 1.0, 0.0, 0.0]), atol=1e-15
    )
    drawn = linear_gaussian.draw(model, 9, np.random.default_rng(0))
    np.testing.assert_allclose(drawn[:, 2:], 0.0, atol=1e-7)


@pytest.mark.parametrize("noise", [0.0, 1e-30, 1e-17])
@pytest.mark.parametrize("entry", [0.0, 1e-20, 1e-17])
def test_a_feature_without_variance_has_no_part_in_the_distance(entry, noise):
    components = np.array([[0.6, 0.8, entry], [-0.8, 0.6, -entry]])
    model = LinearGaussian(np.zeros(3), components, np.array([4.0, 1.0]), noise)
    parts = linear_gaussian.mahalanobis_parts(np.array([[1.0, 2.0, 0.0]]), model)
    without = LinearGaussian(np.zeros(2), components[:, :2], model.variances, noise)
    alone = linear_gaussian.mahalanobis_parts(np.array([[1.0, 2.0]]), without)
    np.testing.assert_allclose(parts, [[*alone[0], 0.0]], rtol=1e-12, atol=1e-15)
