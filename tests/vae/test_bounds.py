"""Bounds on the log-likelihood against closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import distributions, nn

from latentsk import PCAEmbedder
from latentsk.vae._bounds import (
    BoundSettings,
    divergence_cost,
    elbo,
    iwae,
    log_ratios,
    warm_up,
)
from latentsk.vae._likelihoods import gaussian
from latentsk.vae._network import VAE
from latentsk.vae._posterior import Posterior
from latentsk.vae._priors import StandardNormal

HALF = torch.tensor(0.5)


def divergence(posterior):
    return StandardNormal().divergence(posterior)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_divergence_is_that_of_torch():
    mean = torch.randn(6, 3, generator=generator())
    log_variance = torch.randn(6, 3, generator=generator(1))
    expected = distributions.kl_divergence(
        distributions.Normal(mean, (0.5 * log_variance).exp()),
        distributions.Normal(0.0, 1.0),
    )
    found = divergence(Posterior(mean, log_variance))
    torch.testing.assert_close(found, expected)
    prior = Posterior(torch.zeros(2, 3), torch.zeros(2, 3))
    assert divergence(prior).eq(0).all()


def test_the_worked_example():
    posterior = Posterior(torch.tensor([[0.5]]), 2 * torch.tensor([[0.8]]).log())
    found = divergence(posterior).sum(dim=1)
    assert found.item() == pytest.approx(0.168, abs=5e-4)
    bound = elbo(torch.tensor([[-0.3]]), found)
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
            densities + log_ratios(latents, posterior, vae.prior),
        )


def test_a_linear_vae_s_elbo_is_the_likelihood_of_probabilistic_pca(linear):
    densities, posterior, _ = log_weights(linear, 5_000)
    bound = elbo(densities, divergence(posterior).sum(dim=1))
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
    closed = elbo(densities, divergence(posterior).sum(dim=1)).mean()
    assert bounds[0] == pytest.approx(float(closed), abs=0.05)


def slopes_of(divergences, weight, settings):
    """Return the costs, and their gradient by the divergences of the first row."""
    divergences = divergences.clone().requires_grad_()
    sums, costs = divergence_cost(divergences, weight, settings)
    torch.testing.assert_close(sums, divergences.sum(dim=1))
    costs.sum().backward()
    return costs.detach(), divergences.grad[0].tolist()


def test_free_bits_spare_latents_of_little_use():
    divergences = torch.tensor([[0.1, 2.0], [0.3, 4.0]])
    settings = BoundSettings(beta=3, free_nats=0.5)
    costs, slopes = slopes_of(divergences, HALF, settings)
    assert slopes == [0.0, 1.5]
    np.testing.assert_allclose(costs, 1.5 * (0.5 + np.array([2.0, 4.0])), rtol=1e-6)
    costs, slopes = slopes_of(divergences, HALF, BoundSettings(beta=3))
    assert slopes == [1.5, 1.5]
    np.testing.assert_allclose(costs, 1.5 * np.array([2.1, 4.3]), rtol=1e-6)


@pytest.mark.parametrize("capacity", [2.0, 20.0])
def test_the_distance_from_the_capacity_costs(capacity):
    divergences = torch.tensor([[0.1, 2.0], [0.3, 4.0]])
    settings = BoundSettings(beta=3, capacity=capacity)
    costs, slopes = slopes_of(divergences, HALF, settings)
    assert costs.mean().item() == pytest.approx(3 * abs(3.2 - 0.5 * capacity))
    sign = 1.0 if capacity == 2.0 else -1.0
    assert slopes == [3 * sign, 3 * sign]


def test_the_weight_rises_and_stays():
    progress = torch.arange(51) / 50
    for schedule in ("linear", "cosine"):
        weights = warm_up(progress, 0.5, schedule).numpy()
        assert weights[0] == 0.0
        assert (weights[25:] == 1.0).all()
        assert np.all(np.diff(weights) >= 0)
        np.testing.assert_allclose(weights[:26], 1 - weights[25::-1], atol=1e-6)
    cycles = warm_up(progress, 0.8, "cyclical").numpy()
    np.testing.assert_allclose(cycles[:30], cycles[10:40], atol=1e-5)
    expected = [0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(cycles[:10], expected, atol=1e-5)
    assert (cycles[40:] == 1.0).all()
    assert warm_up(progress, 0.0) == 1.0


@pytest.mark.parametrize("n_steps", [7, 24, 1_000, 99_991])
def test_cycles_begin_anew_in_float32_too(n_steps):
    progress = (torch.arange(n_steps, dtype=torch.float64) / n_steps).float()
    share = 4 * np.arange(n_steps) / n_steps
    expected = np.minimum(1.0, 2.0 * np.mod(share, 1.0))
    np.testing.assert_allclose(warm_up(progress, 1.0, "cyclical"), expected, atol=1e-5)


def test_divergences_near_the_prior_keep_their_digits():
    log_variance = torch.tensor([[1e-3, -1e-3]])
    found = divergence(Posterior(torch.zeros(1, 2), log_variance))
    expected = 0.5 * (np.expm1([1e-3, -1e-3]) - [1e-3, -1e-3])
    np.testing.assert_allclose(found[0].double(), expected, rtol=2e-4)
