"""Reports on latent dimensions against torch.distributions."""

import numpy as np
import pytest
import torch
from torch import distributions

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
