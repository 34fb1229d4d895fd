"""Levels of latents against closed forms."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions, nn

from latentsk.networks._mlp import initialize
from latentsk.vae._bounds import elbo, iwae, kl_divergence, log_ratios
from latentsk.vae._estimates import sampled
from latentsk.vae._ladder import BottomUp, Ladder, merged
from latentsk.vae._levels_density import LevelsDensity
from latentsk.vae._likelihoods import LIKELIHOODS
from latentsk.vae._mixture import GaussianMixture
from latentsk.vae._network import VAE
from latentsk.vae._posterior import MAX_LOG_VARIANCE, Posterior
from latentsk.vae._priors import StandardNormal

gaussian = LIKELIHOODS["gaussian"].log_density
# A linear model with two levels: z2 of one dimension, z1 of two, rows of four.
RNG = np.random.default_rng(0)
LOADINGS = np.linalg.qr(RNG.normal(size=(4, 2)))[0] * [1.5, 0.7]
UPPER = np.array([0.9, -0.6])
SPREADS = np.array([0.5, 1.2])
NOISE = 0.4


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def unbounded(log_variances):
    return MAX_LOG_VARIANCE * np.arctanh(np.asarray(log_variances) / MAX_LOG_VARIANCE)


def fill(layer, weight, bias):
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(np.atleast_2d(weight)))
        layer.bias.copy_(torch.as_tensor(bias))


def exact_posterior():
    """Return what rows say of z1, and the posterior of z2: slopes and variances."""
    lengths = (LOADINGS**2).sum(axis=0)
    variances = NOISE**2 / lengths
    from_above = LOADINGS @ UPPER
    rest = (LOADINGS * SPREADS**2) @ LOADINGS.T + NOISE**2 * np.eye(4)
    slopes = np.linalg.solve(rest, from_above)
    variance = 1.0 / (1.0 + from_above @ slopes)
    return LOADINGS.T / lengths[:, None], variances, variance * slopes, variance


def linear_model(shift=0.0):
    """Return the model as a network; its posterior is exact if it is not shifted."""
    network = VAE(
        nn.Sequential(BottomUp(nn.Linear(4, 4), [2, 1])),
        nn.Sequential(nn.Linear(2, 4)),
        levels=Ladder([2, 1]),
        initial_scale=NOISE,
    ).double()
    network.levels.start()
    lower, first_variances, upper, variance = exact_posterior()
    first, second = network.encoder[0].heads
    zeros = np.zeros((2, 4))
    raw = unbounded(np.log(first_variances) - shift)
    # The mean that the posterior would have, if the prior was standard normal.
    share = 1.0 / (1.0 + first_variances * np.exp(-shift))
    fill(
        first,
        np.vstack([share[:, None] * lower, zeros]),
        [shift * share[0], 0.0, *raw],
    )
    raw = unbounded([np.log(variance) + shift])
    fill(second, np.vstack([upper, zeros[:1]]), [-shift, *raw])
    raw = unbounded(2.0 * np.log(SPREADS))
    fill(network.levels.priors[0][0], [[w] for w in [*UPPER, 0, 0]], [0, 0, *raw])
    fill(network.decoder[0], LOADINGS, np.zeros(4))
    return network


def exact_model():
    covariance = (LOADINGS * SPREADS**2) @ LOADINGS.T + NOISE**2 * np.eye(4)
    covariance += np.outer(LOADINGS @ UPPER, LOADINGS @ UPPER)
    return stats.multivariate_normal(np.zeros(4), covariance)


ROWS = exact_model().rvs(50, random_state=1)


def closed_form_elbo(rows, shift):
    """Return the parts of the bound where the posterior is not the model's own."""
    lower, first_variances, upper, variance = exact_posterior()
    evidence = rows @ lower.T + [shift, 0.0]
    v_evidence = first_variances * np.exp(-shift)
    mean_2, var_2 = rows @ upper - shift, variance * np.exp(shift)
    # q(z1 | z2) = N(slope * z2 + start, var_1)
    var_1 = 1.0 / (1.0 / v_evidence + 1.0 / SPREADS**2)
    slope, start = var_1 * UPPER / SPREADS**2, var_1 * evidence / v_evidence
    mean_1 = start + mean_2[:, None] * slope
    covariance_1 = np.diag(var_1) + var_2 * np.outer(slope, slope)
    # of z1 from its prior mean, given z2
    off, off_slope = start + mean_2[:, None] * (slope - UPPER), slope - UPPER
    squares = off**2 + var_2 * off_slope**2
    kl_1 = 0.5 * (
        (var_1 + squares) / SPREADS**2 - 1.0 - np.log(var_1 / SPREADS**2)
    ).sum(axis=1)
    kl_2 = 0.5 * (mean_2**2 + var_2 - 1.0 - np.log(var_2))
    residuals = ((rows - mean_1 @ LOADINGS.T) ** 2).sum(axis=1)
    spread = np.trace(LOADINGS @ covariance_1 @ LOADINGS.T)
    density = -0.5 * (residuals + spread) / NOISE**2
    density -= 4 * (np.log(NOISE) + 0.5 * np.log(2 * np.pi))
    return density, kl_1, kl_2


ALL_SIGNS = torch.tensor(list(product([-1.0, 1.0], repeat=3)), dtype=torch.float64)


def test_a_linear_model_with_its_posterior_has_the_likelihood_of_the_exact_one():
    network, rows = linear_model().requires_grad_(False), torch.from_numpy(ROWS)
    expected = torch.from_numpy(exact_model().logpdf(ROWS))
    noise = torch.randn(5, 50, 3, generator=generator(), dtype=torch.float64)
    found = sampled(network, rows, gaussian, noise.split(2))
    # Every weight is the likelihood, as the posterior is that of the model.
    torch.testing.assert_close(
        found.log_weights, expected.expand(5, -1), atol=1e-5, rtol=0
    )
    # And so is the bound. Signs in all combinations have the moments of normal noise.
    found = sampled(network, rows, gaussian, [ALL_SIGNS[:, None]])
    divergence = kl_divergence(
        *network.encode(rows).draw(ALL_SIGNS[:, None]), network.density()
    )
    bound = elbo(found.log_densities, divergence.sum(dim=1))
    torch.testing.assert_close(bound, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(iwae(found.log_weights), expected, atol=1e-5, rtol=0)


def test_the_bound_of_another_posterior_is_that_of_closed_forms():
    network, rows = (
        linear_model(shift=0.3).requires_grad_(False),
        torch.from_numpy(ROWS),
    )
    noise = ALL_SIGNS[:, None]
    found = sampled(network, rows, gaussian, [noise])
    divergences = kl_divergence(*network.encode(rows).draw(noise), network.density())
    density, kl_1, kl_2 = closed_form_elbo(ROWS, 0.3)
    mean = found.log_densities.mean(dim=0)
    np.testing.assert_allclose(mean, density, rtol=1e-5)
    np.testing.assert_allclose(divergences[:, :2].sum(dim=1), kl_1, rtol=1e-5)
    np.testing.assert_allclose(divergences[:, 2], kl_2, rtol=1e-5)
    # A bound, by as much as the posterior is off.
    assert (density - kl_1 - kl_2 < exact_model().logpdf(ROWS)).all()


def ladder_posterior(n_rows=4, dtype=torch.float64, widths=(3, 2, 2)):
    widths = list(widths)
    ladder = Ladder(widths, [5], activation="tanh").to(dtype)
    ladder.start()
    initialize(ladder, generator())
    shape = n_rows, sum(widths)
    mean = torch.randn(shape, generator=generator(1), dtype=dtype)
    log_variance = torch.randn(shape, generator=generator(2), dtype=dtype)
    return ladder, Posterior(mean, log_variance)


def levels_by_hand(ladder, evidence, noise):
    """Return z, and p and q as distributions of torch, from the lowest level up."""
    places, found, z = ladder.places, [], None
    for level in reversed(range(len(places))):
        mean, deviation = (
            evidence.mean[..., places[level]],
            (0.5 * evidence.log_variance[..., places[level]]).exp(),
        )
        if z is None:
            prior = distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
            posterior = distributions.Normal(mean, deviation)
        else:
            mu, log_variance = ladder.prior(level, z)
            prior = distributions.Normal(mu, (0.5 * log_variance).exp())
            mean = mean * (1 + deviation**2)  # of the evidence
            precision = 1 / deviation**2 + 1 / prior.scale**2
            centre = (mean / deviation**2 + prior.mean / prior.scale**2) / precision
            posterior = distributions.Normal(centre, precision**-0.5)
        z = posterior.mean + posterior.stddev * noise[..., places[level]]
        found.insert(0, (z, prior, posterior))
    return found


def test_divergences_and_densities_are_those_of_the_latents_themselves():
    ladder, evidence = ladder_posterior()
    noise = torch.randn(6, 4, 7, generator=generator(3), dtype=torch.float64)
    latents, given = ladder.posterior(evidence).draw(noise)
    by_hand = levels_by_hand(ladder, evidence, noise)
    divergences = torch.cat(
        [distributions.kl_divergence(q, p).expand(6, -1, -1) for _, p, q in by_hand], -1
    )
    prior = ladder.density(StandardNormal(2))
    torch.testing.assert_close(prior.divergence(given), divergences)
    torch.testing.assert_close(
        kl_divergence(latents, given, prior), divergences.mean(dim=0)
    )
    # The coordinates are others than z; weights of samples are the same.
    ratios = sum((p.log_prob(z) - q.log_prob(z)).sum(dim=-1) for z, p, q in by_hand)
    torch.testing.assert_close(log_ratios(latents, given, prior), ratios)
    decoded = ladder.decoded(latents.flatten(0, -2)).view(6, 4, 3)
    torch.testing.assert_close(decoded, by_hand[0][0])


def test_coordinates_lead_to_latents_of_the_hierarchy():
    """p(u) is p(z), but for the volume of the map, which is a bijection."""
    ladder, _ = ladder_posterior(widths=(2, 1))
    u = torch.randn(5, 3, generator=generator(4), dtype=torch.float64)
    prior = ladder.density(StandardNormal(1))
    jacobians = torch.autograd.functional.jacobian(
        lambda u: torch.cat([ladder.decoded(u), u[:, 2:]], dim=1).sum(dim=0), u
    )
    volumes = torch.linalg.slogdet(jacobians.transpose(0, 1))[1]
    z1, z2 = ladder.decoded(u), u[:, 2:]
    mu, log_variance = ladder.prior(0, z2)
    density = distributions.Normal(mu, (0.5 * log_variance).exp()).log_prob(z1).sum(-1)
    density = density + distributions.Normal(0.0, 1.0).log_prob(z2)[:, 0]
    torch.testing.assert_close(prior.log_density(u) - volumes, density)


def test_the_central_posterior_is_that_without_noise():
    ladder, evidence = ladder_posterior(dtype=torch.float32)
    posterior = ladder.posterior(evidence)
    latents, given = posterior.draw(torch.zeros(4, 7))
    central = posterior.central()
    torch.testing.assert_close(central.mean, given.mean)
    torch.testing.assert_close(central.mean, latents)


def test_a_level_that_says_nothing_is_at_its_prior():
    """Evidence of any mean and a large variance changes nothing; of none, all."""
    flat = torch.full((1, 2), 60.0, dtype=torch.float64)
    prior = Posterior(torch.tensor([[3.0, -1.0]]).double(), torch.zeros(1, 2).double())
    mean, log_variance = merged(Posterior(torch.full_like(flat, 5.0), flat), prior)
    assert mean.abs().max() < 1e-20
    assert log_variance.abs().max() < 1e-20
    mean, log_variance = merged(Posterior(torch.full_like(flat, 5.0), -flat), prior)
    torch.testing.assert_close(mean, 5.0 - prior.mean)
    torch.testing.assert_close(log_variance, -flat)


@pytest.mark.parametrize("extreme", [1e30, -1e30])
def test_extreme_evidence_is_finite(extreme):
    ladder, evidence = ladder_posterior(dtype=torch.float32)
    far = Posterior(torch.full_like(evidence.mean, extreme), evidence.log_variance)
    latents, given = ladder.posterior(far).draw(torch.zeros(1, 7))
    assert torch.isfinite(latents).all()
    assert torch.isfinite(given.log_variance).all()


def test_the_gradient_of_the_divergence():
    ladder, evidence = ladder_posterior(n_rows=2)
    noise = torch.randn(2, 7, generator=generator(5), dtype=torch.float64)

    def divergence(mean, log_variance):
        drawn = ladder.posterior(Posterior(mean, log_variance)).draw(noise)
        return kl_divergence(*drawn, ladder.density(StandardNormal(2)))

    inputs = tuple(moment.requires_grad_() for moment in evidence)
    assert torch.autograd.gradcheck(divergence, inputs)


def test_the_top_level_may_have_a_prior_without_closed_form():
    ladder, evidence = ladder_posterior()
    mixture = GaussianMixture(
        torch.zeros(1), torch.zeros(1, 2), torch.zeros(1, 2)
    )  # which is the standard normal one
    joint, plain = ladder.density(mixture), ladder.density(StandardNormal(2))
    noise = torch.randn(20_000, 1, 7, generator=generator(6), dtype=torch.float64)
    latents, given = ladder.posterior(evidence).draw(noise)
    torch.testing.assert_close(joint.log_density(latents), plain.log_density(latents))
    assert joint.divergence(given) is None
    estimate = kl_divergence(latents, given, joint)
    exact = kl_divergence(latents, given, plain)
    # Every level below has its closed form; the top's estimate is shared out.
    torch.testing.assert_close(estimate[:, :5], exact[:, :5])
    torch.testing.assert_close(estimate[:, 5], estimate[:, 6])
    torch.testing.assert_close(
        estimate[:, 5:].sum(dim=1), exact[:, 5:].sum(dim=1), atol=0.05, rtol=0
    )


def test_draws_of_the_density():
    density = LevelsDensity(
        GaussianMixture(torch.zeros(1), torch.full((1, 2), 3.0), torch.zeros(1, 2)), 3
    )
    drawn = density.draw(20_000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(axis=0), [0, 0, 0, 3, 3], atol=0.03)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), np.eye(5), atol=0.03)
    normalized = density.normalized(torch.from_numpy(drawn))
    np.testing.assert_allclose(normalized.mean(dim=0), 0.0, atol=0.03)


def test_a_turned_top_level_leaves_the_output_as_it_is():
    network = VAE(
        nn.Sequential(BottomUp(nn.Linear(4, 4), [2, 2])),
        nn.Linear(2, 4),
        levels=Ladder([2, 2]),
    )
    network.levels.start()
    initialize(network, generator())
    rows = torch.randn(5, 4, generator=generator(1))

    def reconstructed():
        return network.decode(network.encode(rows).central().mean)

    before, top = reconstructed(), network.encode_top(rows).mean
    matrix = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    network.turn(matrix)
    torch.testing.assert_close(network.encode_top(rows).mean, top @ matrix.T)
    torch.testing.assert_close(reconstructed(), before, atol=1e-5, rtol=1e-4)


def test_levels_are_joined_when_the_ladder_starts():
    ladder = initialize(Ladder([2, 1], [5]), generator())
    latents = torch.randn(4, 3, generator=generator(1))
    torch.testing.assert_close(ladder.decoded(latents), latents[:, :2])
    before = ladder.prior(0, latents[:, 2:])
    assert all((moment == 0).all() for moment in before)
    # From there on they can be.
    ladder.start()
    torch.testing.assert_close(ladder.decoded(latents), latents[:, :2])
    ladder.decoded(latents).sum().backward()
    assert ladder.priors[0][-1].weight.grad.abs().max() > 0
