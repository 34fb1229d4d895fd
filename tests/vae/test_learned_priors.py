"""Priors that are learned: closed forms, one component, normalization, starts."""

import math

import numpy as np
import pytest
import torch
from torch import distributions, nn
from torch.autograd.functional import jacobian

from latentsk.networks._mlp import initialize, mlp
from latentsk.training._data import ResidentRows
from latentsk.vae._bounds import (
    BoundSettings,
    divergence_cost,
    kl_divergence,
    log_ratios,
)
from latentsk.vae._flow_prior import FlowPrior
from latentsk.vae._likelihoods import LIKELIHOODS
from latentsk.vae._mixture import GaussianMixture
from latentsk.vae._mixture_prior import MixturePrior
from latentsk.vae._network import VAE
from latentsk.vae._objective import VariationalBound
from latentsk.vae._posterior import Posterior
from latentsk.vae._priors import StandardNormal
from latentsk.vae._vamp_prior import VampPrior


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def perturbed(module, scale=0.5, seed=0):
    """Return a module in float64 with random weights."""
    module = initialize(module, generator(seed)).double()
    source = generator(seed + 1)
    with torch.no_grad():
        for weight in module.parameters():
            drawn = torch.randn(weight.shape, generator=source, dtype=torch.float64)
            weight.add_(scale * drawn)
    return module


def posterior_of(n_rows, n_latents):
    mean = torch.randn(n_rows, n_latents, generator=generator(5), dtype=torch.float64)
    raw = torch.randn(n_rows, n_latents, generator=generator(6), dtype=torch.float64)
    return Posterior(mean, 0.5 * raw - 1.0)


# Mixtures


def test_one_component_is_the_normal_prior():
    one, normal = (
        MixturePrior(3, n_components=1).double().given(None),
        StandardNormal(3),
    )
    latents = torch.randn(8, 3, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(one.log_density(latents), normal.log_density(latents))
    posterior = posterior_of(4, 3)
    noise = torch.randn(100_000, 1, 3, generator=generator(1), dtype=torch.float64)
    found = kl_divergence(posterior.at(noise), posterior, one)
    assert found.shape == (4, 1)
    expected = normal.divergence(posterior).sum(dim=1, keepdim=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.03)


def test_a_sampled_divergence_is_that_of_torch_by_samples():
    prior = perturbed(MixturePrior(2, n_components=4), scale=1.0)
    posterior = posterior_of(3, 2)
    drawn = posterior.at(
        torch.randn(100_000, 3, 2, generator=generator(2), dtype=torch.float64)
    )
    normal = distributions.Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
    mixture = distributions.MixtureSameFamily(
        distributions.Categorical(logits=prior.logits),
        distributions.Independent(
            distributions.Normal(
                prior.means, (5.0 * torch.tanh(prior.raw_log_variances / 10.0)).exp()
            ),
            1,
        ),
    )
    differences = normal.log_prob(drawn).sum(dim=-1) - mixture.log_prob(drawn)
    expected, error = differences.mean(dim=0), differences.std(dim=0) / 100_000**0.5
    noise = torch.randn(50_000, 3, 2, generator=generator(3), dtype=torch.float64)
    found = kl_divergence(posterior.at(noise), posterior, prior.given(None))[:, 0]
    assert (found - expected).abs().max() < 6 * 3 * error.max()
    # With the same samples it is the same, but for the entropy, which is exact.
    same = kl_divergence(drawn, posterior, prior.given(None))[:, 0]
    torch.testing.assert_close(same, expected, rtol=0, atol=0.01)


def test_a_sampled_divergence_may_be_negative():
    posterior = Posterior(torch.zeros(1, 1), torch.zeros(1, 1))
    one = MixturePrior(1, n_components=1).given(None)
    assert kl_divergence(torch.zeros(1, 1, 1), posterior, one) < 0


def test_free_nats_act_on_the_sum_of_an_estimate():
    divergences = torch.tensor([[1.0], [2.0]])
    few, many = (BoundSettings(free_nats=free) for free in (0.4, 0.6))
    _, cost = divergence_cost(divergences, 1.0, few, n_latents=3)
    assert cost.tolist() == [1.0, 2.0]  # 3 * 0.4 is less than 1.5 on average
    _, cost = divergence_cost(divergences, 1.0, many, n_latents=3)
    torch.testing.assert_close(cost, torch.tensor([1.8, 1.8]))


# VampPrior


def toy_vae(prior, dropout=0.0, n_latents=2):
    encoder = mlp([3, 8, 2 * n_latents], activation="tanh", dropout=dropout)
    decoder = mlp([n_latents, 8, 3], activation="tanh", dropout=dropout)
    return initialize(VAE(encoder, decoder, prior, n_scales=1), generator())


def rows_of(n_rows):
    return torch.randn(n_rows, 3, generator=generator(4))


def test_one_pseudo_input_makes_its_posterior_the_prior():
    vae = toy_vae(VampPrior(2, 1, n_inputs=3))
    vae.start_from(ResidentRows(rows_of(20)), generator())
    posterior = vae.encode(vae.prior.inputs)
    normal = distributions.Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
    latents = torch.randn(6, 2, generator=generator(7))
    torch.testing.assert_close(
        vae.density().log_density(latents), normal.log_prob(latents).sum(dim=1)
    )
    # The divergence of the posterior of any row from that one.
    rows = vae.encode(rows_of(5))
    theirs = distributions.Normal(rows.mean, (0.5 * rows.log_variance).exp())
    expected = distributions.kl_divergence(theirs, normal).sum(dim=1)
    noise = torch.randn(100_000, 1, 2, generator=generator(8))
    found = kl_divergence(rows.at(noise), rows, vae.density())[:, 0]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


def test_a_vamp_prior_is_the_normal_one_until_it_starts():
    vae = toy_vae(VampPrior(2, 7, n_inputs=3))
    latents = torch.randn(6, 2, generator=generator(7))
    expected = StandardNormal(2).log_density(latents)
    torch.testing.assert_close(vae.density().log_density(latents), expected)
    vae.start_from(ResidentRows(rows_of(20)), generator())
    assert (vae.density().log_density(latents) - expected).abs().max() > 1e-3


def test_pseudo_inputs_start_as_training_rows():
    rows = rows_of(20)
    vae = toy_vae(VampPrior(2, 7, n_inputs=3))
    vae.start_from(ResidentRows(rows, torch.arange(5, 15)), generator())
    inputs = vae.prior.inputs.detach()
    same = (inputs[:, None] == rows).all(dim=2)
    assert same[:, 5:15].any(dim=1).all()  # of those that are trained on
    assert same.any(dim=0).sum() == 7  # all different
    few = toy_vae(VampPrior(2, 7, n_inputs=3))
    few.start_from(ResidentRows(rows[:3]), generator())
    assert torch.isin(few.prior.inputs, rows[:3]).all()


def test_pseudo_inputs_are_encoded_without_dropout():
    vae = toy_vae(VampPrior(2, 4, n_inputs=3), dropout=0.5)
    vae.start_from(ResidentRows(rows_of(20)), generator())
    latents = torch.zeros(1, 2)
    expected = vae.eval().density().log_density(latents)
    vae.train()
    objective = VariationalBound(vae, LIKELIHOODS["gaussian"], 3, 2)
    noise = objective.draw_noise(6, generator())
    for name, layer in objective.masked.items():
        layer.mask = noise[name]
    torch.testing.assert_close(vae.density().log_density(latents), expected)
    assert all(layer.training for layer in objective.masked.values())
    assert torch.isfinite(
        objective.loss(vae, rows_of(6), noise, torch.ones(())).rows
    ).all()


@pytest.mark.parametrize("reparameterized", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_makes_the_prior_once(monkeypatch, weighted, reparameterized):
    if reparameterized and not weighted:
        pytest.skip("for the importance-weighted bound alone")
    vae = toy_vae(VampPrior(2, 4, n_inputs=3))
    vae.start_from(ResidentRows(rows_of(20)), generator())
    made, given = [], VampPrior.given
    monkeypatch.setattr(
        VampPrior, "given", lambda self, encode: made.append(1) or given(self, encode)
    )
    bound = BoundSettings(weighted, reparameterized)
    objective = VariationalBound(
        vae, LIKELIHOODS["gaussian"], 3, 2, bound=bound, n_samples=5
    )
    noise = objective.draw_noise(6, generator())
    losses = objective.loss(vae, rows_of(6), noise, torch.ones(()))
    losses.rows.mean().backward()
    # The double reparameterization looks at everything twice.
    assert len(made) == 1 + reparameterized
    assert vae.prior.inputs.grad.abs().max() > 0
    made.clear()
    objective.monitor(vae, rows_of(40))
    assert len(made) == 1


def test_doubly_reparameterized_gradients_of_the_prior_are_the_plain_ones():
    vae = toy_vae(VampPrior(2, 4, n_inputs=3)).double()
    vae.start_from(ResidentRows(rows_of(20).double()), generator())
    rows, found = rows_of(6).double(), []
    for reparameterized in (False, True):
        bound = BoundSettings(True, reparameterized)
        objective = VariationalBound(
            vae, LIKELIHOODS["gaussian"], 3, 2, bound=bound, n_samples=5
        )
        noise = objective.draw_noise(6, generator())
        noise = {name: value.double() for name, value in noise.items()}
        vae.zero_grad()
        objective.loss(vae, rows, noise, torch.ones(())).rows.mean().backward()
        found.append(vae.prior.inputs.grad.clone())
    torch.testing.assert_close(*found)


# Flows


@pytest.mark.parametrize("seed", range(3))
def test_a_flow_integrates_to_one(seed):
    prior = perturbed(FlowPrior(2), scale=0.1, seed=seed)
    grid = torch.linspace(-20.0, 20.0, 401, dtype=torch.float64)
    with torch.no_grad():
        latents = torch.cartesian_prod(grid, grid)
        density = prior.log_density(latents).exp().view(len(grid), -1)
    integral = torch.trapezoid(torch.trapezoid(density, grid), grid)
    assert float(integral) == pytest.approx(1.0, abs=1e-3)
    # It is no normal distribution any more.
    assert density.max() != pytest.approx(1 / (2 * math.pi), rel=0.05)


def test_a_flow_of_one_dimension_is_a_normal_distribution():
    prior = perturbed(FlowPrior(1), scale=0.1)
    grid = torch.linspace(-60.0, 60.0, 20_001, dtype=torch.float64)
    density = prior.log_density(grid[:, None]).detach().exp()
    assert float(torch.trapezoid(density, grid)) == pytest.approx(1.0)
    drawn = prior.draw(50_000, np.random.default_rng(0))[:, 0]
    mean = float(torch.trapezoid(density * grid, grid))
    variance = float(torch.trapezoid(density * (grid - mean).square(), grid))
    assert drawn.mean() == pytest.approx(mean, abs=0.02 * variance**0.5)
    assert drawn.var() == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("n_latents", [1, 2, 5])
def test_draws_of_a_flow_agree_with_its_density(n_latents):
    prior = perturbed(FlowPrior(n_latents), scale=0.3).float()
    drawn = prior.draw(200, np.random.default_rng(0))
    assert drawn.dtype == np.float64
    back = prior.double().normalized(torch.from_numpy(drawn)).detach()
    normal = np.random.default_rng(0).standard_normal((200, n_latents))
    np.testing.assert_allclose(back, normal, atol=1e-9)
    row = torch.from_numpy(drawn[0])
    slopes = jacobian(lambda z: prior.normalized(z[None])[0], row)
    exact = distributions.Normal(0.0, 1.0).log_prob(torch.from_numpy(normal[0])).sum()
    exact = exact + torch.linalg.slogdet(slopes).logabsdet
    torch.testing.assert_close(prior.log_density(row).detach(), exact)


def test_a_flow_starts_as_the_normal_prior_and_its_weights_are_drawn():
    prior = FlowPrior(3)
    vae = toy_vae(prior, n_latents=3)
    vae.start_from(ResidentRows(rows_of(5)), generator())
    latents = torch.randn(4, 3, generator=generator(1))
    torch.testing.assert_close(
        prior.log_density(latents), StandardNormal(3).log_density(latents)
    )
    # Also where an encoder and a decoder come with weights of their own.
    custom = VAE(nn.Linear(3, 6), nn.Linear(3, 3), FlowPrior(3))
    custom.start_from(ResidentRows(rows_of(5)), generator())
    for layer in custom.prior.layers:
        assert layer.hidden.weight.abs().max() <= 1.0


def test_ratios_of_a_learned_prior_are_those_of_its_density():
    prior, posterior = perturbed(FlowPrior(2), scale=0.3), posterior_of(4, 2)
    noise = torch.randn(3, 4, 2, generator=generator(9), dtype=torch.float64)
    latents = posterior.at(noise)
    normal = distributions.Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
    expected = prior.log_density(latents) - normal.log_prob(latents).sum(dim=-1)
    torch.testing.assert_close(log_ratios(latents, posterior, prior), expected)


def test_components_are_one_normal_distribution_before_they_start():
    mixture = MixturePrior(2, n_components=5).given(None)
    assert isinstance(mixture, GaussianMixture)
    latents = torch.randn(7, 2, generator=generator())
    expected = StandardNormal(2).log_density(latents)
    torch.testing.assert_close(mixture.log_density(latents), expected)
