"""Gaussian mixtures against torch.distributions, scikit-learn and quadrature."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.mixture import GaussianMixture as SklearnMixture
from torch import distributions
from torch.autograd.functional import jacobian

from latentsk.vae._mixture import GaussianMixture


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def parts():
    """Logarithms of weights, means, log-variances of three components."""
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    means = 2.0 * torch.randn(3, 2, generator=generator(), dtype=torch.float64)
    log_variances = torch.randn(3, 2, generator=generator(1), dtype=torch.float64)
    return weights.log(), means, log_variances


def by_torch(log_weights, means, log_variances):
    components = distributions.Normal(means, (0.5 * log_variances).exp())
    return distributions.MixtureSameFamily(
        distributions.Categorical(logits=log_weights),
        distributions.Independent(components, 1),
    )


@pytest.mark.parametrize("distance", [1.0, 1e3])
def test_the_log_density_is_that_of_torch(parts, distance):
    latents = distance * torch.randn(4, 5, 2, generator=generator(2)).double()
    found = GaussianMixture(*parts).log_density(latents)
    torch.testing.assert_close(found, by_torch(*parts).log_prob(latents))


def test_float32_loses_no_digits_where_components_are_narrow():
    # By matrix products in float32 the distance would be off by a nat.
    means = torch.tensor([[30.0, -20.0], [5.0, 7.0]])
    log_variances = torch.full((2, 2), -9.0)
    latents = means[:1] + torch.tensor([[0.01, -0.02]])
    parts = torch.log_softmax(torch.zeros(2), 0), means, log_variances
    found = GaussianMixture(*parts).log_density(latents)
    exact = by_torch(*(part.double() for part in parts)).log_prob(latents.double())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-5)


def test_responsibilities_are_scikit_learns(parts):
    log_weights, means, log_variances = parts
    peer = SklearnMixture(3, covariance_type="diag")
    peer.weights_, peer.means_ = log_weights.exp().numpy(), means.numpy()
    peer.covariances_ = log_variances.exp().numpy()
    peer.precisions_cholesky_ = peer.covariances_**-0.5
    latents = np.random.default_rng(0).normal(size=(50, 2)) * 3
    found = GaussianMixture(*parts).responsibilities(torch.from_numpy(latents))
    np.testing.assert_allclose(found, peer.predict_proba(latents), atol=1e-12)
    log_density = GaussianMixture(*parts).log_density(torch.from_numpy(latents))
    np.testing.assert_allclose(log_density, peer.score_samples(latents))


def test_marginals_are_those_by_quadrature(parts):
    mixture = GaussianMixture(*parts)
    grid = torch.linspace(-30.0, 30.0, 6_001, dtype=torch.float64)
    places = torch.tensor([[-1.0, 0.5], [2.0, -3.0]], dtype=torch.float64)
    found = mixture.marginal_log_density(places)
    for row, expected in zip(places, found, strict=True):
        for axis in (0, 1):
            line = torch.stack([row[axis].expand_as(grid)] * 2, dim=1)
            line[:, 1 - axis] = grid
            joint = mixture.log_density(line).exp()
            integral = torch.trapezoid(joint, grid).log()
            torch.testing.assert_close(expected[axis], integral)


def test_the_map_to_the_standard_normal_keeps_the_density(parts):
    mixture = GaussianMixture(*parts)
    latents = torch.randn(6, 2, generator=generator(3), dtype=torch.float64)
    coordinates = mixture.normalized(latents)
    for row, place in zip(latents, coordinates, strict=True):
        slopes = jacobian(lambda z: mixture.normalized(z[None])[0], row)
        normal = distributions.Normal(0.0, 1.0).log_prob(place).sum()
        found = normal + torch.linalg.slogdet(slopes).logabsdet
        torch.testing.assert_close(found, mixture.log_density(row), rtol=1e-6, atol=0)


def test_the_map_of_one_component_is_its_standardization():
    mean = torch.tensor([[3.0, -1.0]], dtype=torch.float64)
    log_variance = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    mixture = GaussianMixture(torch.zeros(1), mean, log_variance)
    # The last are beyond the smallest tail that float64 holds.
    latents = torch.tensor([[3.5, -1.2], [-20.0, 2.0], [300.0, -300.0]]).double()
    expected = (latents - mean) * torch.exp(-0.5 * log_variance)
    torch.testing.assert_close(mixture.normalized(latents), expected, rtol=1e-9, atol=0)


def test_draws_of_a_mixture_follow_it(parts):
    mixture = GaussianMixture(*parts)
    drawn = mixture.draw(20_000, np.random.default_rng(0))
    assert drawn.shape == (20_000, 2)
    coordinates = mixture.normalized(torch.from_numpy(drawn)).numpy()
    np.testing.assert_allclose(coordinates.mean(axis=0), 0.0, atol=0.03)
    np.testing.assert_allclose(np.cov(coordinates.T), np.eye(2), atol=0.05)


def test_draws_of_a_component_follow_it(parts):
    _, means, log_variances = parts
    chosen = np.repeat([2, 0], 10_000)
    drawn = GaussianMixture(*parts).draw_from(chosen, np.random.default_rng(0))
    for component, some in ((2, drawn[:10_000]), (0, drawn[10_000:])):
        scale = np.exp(0.5 * log_variances[component].numpy())
        share = norm.cdf(some, means[component].numpy(), scale)
        np.testing.assert_allclose(share.mean(axis=0), 0.5, atol=0.015)
        np.testing.assert_allclose(share.var(axis=0), 1 / 12, atol=0.005)
