"""Reports on latent dimensions against torch.distributions."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import distributions

from latentsk.networks._mlp import initialize
from latentsk.vae._flow_prior import FlowPrior
from latentsk.vae._mixture import GaussianMixture
from latentsk.vae._priors import StandardNormal
from latentsk.vae._report import active, report


def test_the_report_s_divergences_are_those_of_torch():
    rng = np.random.default_rng(0)
    means, deviations = rng.normal(size=(40, 3)), rng.uniform(0.1, 2, size=(40, 3))
    found = report(means, deviations, StandardNormal(3))
    normal = distributions.Normal(torch.tensor(means), torch.tensor(deviations))
    expected = distributions.kl_divergence(normal, distributions.Normal(0.0, 1.0))
    np.testing.assert_allclose(found.dimensions["kl"], expected.mean(dim=0))
    assert found.kl == pytest.approx(float(expected.sum(dim=1).mean()))
    np.testing.assert_allclose(found.dimensions["mean_variance"], means.var(axis=0))


def test_the_distance_of_the_aggregate_from_the_prior():
    rng = np.random.default_rng(0)
    means, deviations = rng.normal(size=(40, 3)), rng.uniform(0.1, 2, size=(40, 3))
    covariance = np.cov(means, rowvar=False, bias=True)
    covariance += np.diag((deviations**2).mean(axis=0))
    aggregate = distributions.MultivariateNormal(
        torch.tensor(means.mean(axis=0)), torch.tensor(covariance)
    )
    prior = distributions.MultivariateNormal(
        torch.zeros(3).double(), torch.eye(3).double()
    )
    expected = distributions.kl_divergence(aggregate, prior)
    found = report(means, deviations, StandardNormal(3))
    assert found.distance_from_prior == pytest.approx(float(expected))


def test_a_dimension_is_active_from_a_variance_of_a_hundredth():
    means = np.array([[1.0], [-1.0]]) * np.sqrt([0.0099, 0.0101])
    assert active(means).tolist() == [False, True]


def moments(rng, n_rows=400, n_latents=3):
    means = rng.normal(size=(n_rows, n_latents))
    return means, np.full((n_rows, n_latents), 0.5)


def one_component(n_latents, **changes):
    parts = {
        "log_weights": torch.zeros(1),
        "means": torch.zeros(1, n_latents),
        "log_variances": torch.zeros(1, n_latents),
    }
    return GaussianMixture(*{**parts, **changes}.values())


def test_a_mixture_of_one_component_is_reported_as_the_normal_prior():
    means, deviations = moments(np.random.default_rng(0))
    exact = report(means, deviations, StandardNormal(3))
    found = report(means, deviations, one_component(3))
    np.testing.assert_allclose(
        found.dimensions["kl"], exact.dimensions["kl"], atol=0.05
    )
    assert found.kl == pytest.approx(exact.kl, abs=0.05)
    assert found.distance_from_prior == pytest.approx(
        exact.distance_from_prior, abs=0.01
    )
    assert found.n_active == exact.n_active == 3


def test_latents_that_follow_a_mixture_are_at_no_distance_from_it():
    rng = np.random.default_rng(0)
    mixture = GaussianMixture(
        torch.tensor([0.3, 0.7]).log(),
        torch.tensor([[-6.0, 0.0], [6.0, 3.0]]),
        torch.zeros(2, 2),
    )
    latents = mixture.draw(3_000, rng)
    narrow = np.full(latents.shape, 1e-3)
    assert report(latents, narrow, mixture).distance_from_prior < 0.01
    # All in one component: by the chain rule that costs log(1 / 0.3), at most.
    left = mixture.draw_from(np.zeros(3_000, np.int64), rng)
    found = report(left, narrow, mixture).distance_from_prior
    assert 0.4 < found < np.log(1 / 0.3)
    shifted = report(latents + 3.0, narrow, mixture)
    assert shifted.distance_from_prior > 2.0


def test_a_dimension_is_compared_with_the_mixture_s_marginal():
    # The same normal distribution for every row: its divergence by quadrature.
    mixture = GaussianMixture(
        torch.tensor([0.5, 0.5]).log(),
        torch.tensor([[-2.0, 0.0], [2.0, 0.0]]),
        torch.zeros(2, 2),
    )
    found = report(np.full((50, 2), 1.0), np.full((50, 2), 0.5), mixture)
    grid = np.linspace(-12, 12, 20_001)
    inner = norm.logpdf(grid, 1.0, 0.5)
    marginal = np.logaddexp(norm.logpdf(grid, -2), norm.logpdf(grid, 2)) - np.log(2)
    expected = np.trapezoid(np.exp(inner) * (inner - marginal), grid)
    assert found.dimensions["kl"][0] == pytest.approx(expected, abs=0.03)
    closed = 0.5 * (1 + 0.25 - 1 - np.log(0.25))
    assert found.dimensions["kl"][1] == pytest.approx(closed, abs=0.03)


def test_a_flow_has_no_divergence_by_dimension():
    means, deviations = moments(np.random.default_rng(0))
    flow = initialize(FlowPrior(3), torch.Generator().manual_seed(0)).double()
    exact = report(means, deviations, StandardNormal(3))
    found = report(means, deviations, flow)  # which is the identity so far
    assert found.dimensions["kl"].isna().all()
    assert found.kl == pytest.approx(exact.kl, abs=0.05)
    assert found.distance_from_prior == pytest.approx(
        exact.distance_from_prior, abs=0.01
    )
