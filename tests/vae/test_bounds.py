"""Bounds on the log-likelihood against closed forms."""

import math

import numpy as np
import pytest
import torch
from latentsk.modules.likelihoods import gaussian
from latentsk.modules.vae import VAE, Posterior
from latentsk.training.variational import (
    BoundSettings,
    elbo,
    iwae,
    kl_divergence,
    log_ratios,
    penalty,
)
from torch import distributions, nn

from latentsk import PCAEmbedder

HALF = torch.tensor(0.5)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_divergence_is_that_of_torch():
    mean = torch.randn(6, 3, generator=generator())
    log_variance = torch.randn(6, 3, generator=generator(1))
    expected = distributions.kl_divergence(
        distributions.Normal(mean, (0.5 * log_variance).exp()),
        distributions.Normal(0.0, 1.0),
    )
    found = kl_divergence(Posterior(mean, log_variance))
    torch.testing.assert_close(found, expected)
    prior = Posterior(torch.zeros(2, 3), torch.zeros(2, 3))
    assert kl_divergence(prior).eq(0).all()


def test_the_worked_example():
    posterior = Posterior(torch.tensor([[0.5]]), 2 * torch.tensor([[0.8]]).log())
    divergence = kl_divergence(posterior).sum(dim=1)
    assert divergence.item() == pytest.approx(0.168, abs=5e-4)
    bound = elbo(torch.tensor([[-0.3]]), divergence)
    assert bound.item() == pytest.approx(-0.468, abs=5e-4)


@pytest.fixture(scope="module")
def linear():
    """A linear VAE at its optimum: probabilistic PCA (Tipping & Bishop, 1999)."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) * [3.0, 1.5] @ rng.normal(size=(2, 5))
    X = X + rng.normal(size=X.shape)
    # The maximum-likelihood covariance divides by n, as scikit-learn's does by n - 1.
    pca = PCAEmbedder(2).fit(X)
    axes = torch.from_numpy(pca.components_)
    noise = pca.noise_variance_
    excess = torch.from_numpy(pca.explained_variance_) - noise
    loadings = axes.T * excess.sqrt()
    posterior_variance = noise / (excess + noise)
    encoder = nn.Linear(5, 4, dtype=torch.float64)
    decoder = nn.Linear(2, 5, dtype=torch.float64)
    mean = torch.from_numpy(pca.mean_)
    slopes = loadings.T / (excess + noise)[:, None]
    # bounded() is undone, so that the variance is the exact one.
    raw = 10.0 * torch.atanh(posterior_variance.log() / 10.0)
    with torch.no_grad():
        encoder.weight.copy_(torch.cat([slopes, torch.zeros(2, 5)]))
        encoder.bias.copy_(torch.cat([-slopes @ mean, raw]))
        decoder.weight.copy_(loadings)
        decoder.bias.copy_(mean)
    vae = VAE(encoder, decoder, initial_scale=math.sqrt(noise), min_scale=1e-9).double()
    return vae, torch.from_numpy(X), torch.from_numpy(pca.score_samples(X))


def log_weights(linear, n_samples, widened=0.0):
    vae, X, _ = linear
    noise = torch.randn(n_samples, len(X), 2, generator=generator(), dtype=X.dtype)
    with torch.no_grad():
        posterior = vae.encode(X)
        # A posterior that is not the exact one makes the weights vary.
        posterior = posterior._replace(log_variance=posterior.log_variance + widened)
        latents = posterior.at(noise)
        densities = gaussian(X, vae.decode(latents), vae.log_scale())
        return (
            densities,
            posterior,
            densities + log_ratios(latents, posterior),
        )


def test_a_linear_vae_s_elbo_is_the_likelihood_of_probabilistic_pca(linear):
    densities, posterior, _ = log_weights(linear, 5_000)
    bound = elbo(densities, kl_divergence(posterior).sum(dim=1))
    # The exact posterior: no gap but for the sampling.
    np.testing.assert_allclose(bound, linear[2], atol=0.15)
    np.testing.assert_allclose(bound.mean(), linear[2].mean(), atol=5e-3)


def test_with_the_exact_posterior_one_weight_is_the_likelihood(linear):
    _, _, weights = log_weights(linear, 3)
    np.testing.assert_allclose(iwae(weights[:1]), linear[2], rtol=1e-6)
    np.testing.assert_allclose(iwae(weights), linear[2], rtol=1e-6)


def test_the_bound_grows_with_the_samples_to_the_likelihood(linear):
    densities, posterior, weights = log_weights(linear, 6_400, widened=1.0)
    exact = float(linear[2].mean())
    bounds = []
    for k in (1, 4, 16, 64):
        groups = weights[: 64 * k].view(k, -1, weights.shape[1])
        values = torch.logsumexp(groups, dim=0) - math.log(k)
        bounds.append(float(values.mean()))
    assert bounds == sorted(bounds)
    assert bounds[-1] < exact + 0.02
    assert float(iwae(weights).mean()) == pytest.approx(exact, abs=5e-3)
    # With one sample it is the ELBO.
    closed = elbo(densities, kl_divergence(posterior).sum(dim=1)).mean()
    assert bounds[0] == pytest.approx(float(closed), abs=0.05)


def test_free_bits_spare_latents_of_little_use():
    divergences = torch.tensor([[0.1, 2.0], [0.3, 4.0]])
    slopes, constant = penalty(divergences, HALF, BoundSettings(beta=3, free_nats=0.5))
    assert slopes.tolist() == [0.0, 1.5]
    assert constant.item() == pytest.approx(1.5 * 0.5)
    slopes, constant = penalty(divergences, HALF, BoundSettings(beta=3))
    assert (slopes.tolist(), constant) == ([1.5, 1.5], None)


@pytest.mark.parametrize("capacity", [2.0, 20.0])
def test_the_distance_from_the_capacity_costs(capacity):
    divergences = torch.tensor([[0.1, 2.0], [0.3, 4.0]])
    settings = BoundSettings(beta=3, capacity=capacity)
    slopes, constant = penalty(divergences, HALF, settings)
    cost = ((slopes * divergences).sum(dim=1) + constant).mean()
    assert cost.item() == pytest.approx(3 * abs(3.2 - 0.5 * capacity))


def test_divergences_near_the_prior_keep_their_digits():
    log_variance = torch.tensor([[1e-3, -1e-3]])
    found = kl_divergence(Posterior(torch.zeros(1, 2), log_variance))
    expected = 0.5 * (np.expm1([1e-3, -1e-3]) - [1e-3, -1e-3])
    np.testing.assert_allclose(found[0].double(), expected, rtol=2e-4)
