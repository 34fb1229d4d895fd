"""Every log-density against torch.distributions or scipy."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import distributions

from latentsk.vae._likelihoods import LIKELIHOODS, MAX_LOGIT, bounded_logits
from latentsk.vae._mixed import MixedLikelihood

GENERATOR = torch.Generator().manual_seed(0)
ROWS = torch.rand(7, 4, generator=GENERATOR, dtype=torch.float64)
OUTPUT = 3 * torch.randn(7, 4, generator=GENERATOR, dtype=torch.float64)
SCALES = [torch.tensor(0.3).double(), torch.linspace(-1, 1, 4).double()]

REFERENCES = {
    "gaussian": lambda m, s: distributions.Normal(m, s),
    "laplace": lambda m, s: distributions.Laplace(m, s),
    "student_t": lambda m, s: distributions.StudentT(4.0, m, s),
    "bernoulli": lambda m, s: distributions.Bernoulli(logits=m, validate_args=False),
    "continuous_bernoulli": lambda m, s: distributions.ContinuousBernoulli(logits=m),
}


@pytest.mark.parametrize("name", list(REFERENCES))
@pytest.mark.parametrize("log_scale", SCALES)
def test_log_densities_hold_every_constant(name, log_scale):
    reference = REFERENCES[name](OUTPUT, log_scale.exp())
    found = LIKELIHOODS[name].log_density(ROWS, OUTPUT, log_scale)
    torch.testing.assert_close(found, reference.log_prob(ROWS).sum(dim=1))


@pytest.mark.parametrize("name", list(REFERENCES))
def test_means(name):
    reference = REFERENCES[name](OUTPUT, torch.ones(())).mean
    torch.testing.assert_close(
        LIKELIHOODS[name].mean(OUTPUT), reference, rtol=1e-6, atol=1e-6
    )


def test_scipy_agrees():
    found = LIKELIHOODS["student_t"].log_density(ROWS, OUTPUT, torch.tensor(0.5))
    expected = stats.t(4, OUTPUT, np.exp(0.5)).logpdf(ROWS).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("logit", [-300.0, -8.0, -0.1, -0.0999, 1e-9, 0.0, 0.05, 3.0])
def test_the_continuous_bernoulli_is_a_density(logit):
    likelihood = LIKELIHOODS["continuous_bernoulli"]
    output = torch.full((1, 1), logit, dtype=torch.float64)

    def density(value):
        rows = torch.full((1, 1), value, dtype=torch.float64)
        return float(likelihood.log_density(rows, output, torch.zeros(())).exp())

    edge = [0.02] if abs(logit) > 10 else None
    total, _ = integrate.quad(density, 0, 1, points=edge)
    mean, _ = integrate.quad(lambda v: v * density(v), 0, 1, points=edge)
    assert total == pytest.approx(1.0, rel=1e-6)
    assert float(likelihood.mean(output)) == pytest.approx(mean, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", ["bernoulli", "continuous_bernoulli"])
def test_gradients_stay_finite(name):
    logits = torch.tensor([[-1e4, -0.1, 0.0, 1e-8, 0.1, 1e4]], requires_grad=True)
    rows = torch.full((1, 6), 0.3)
    LIKELIHOODS[name].log_density(rows, logits, torch.zeros(())).sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("logit", [-40.0, -2.0, -1e-7, 0.0, 1.0, 300.0])
@pytest.mark.parametrize("name", list(REFERENCES))
def test_draws_follow_the_distribution(name, logit):
    output = torch.full((20_000, 1), logit, dtype=torch.float64)
    log_scale = torch.tensor([0.7]).double()
    drawn = LIKELIHOODS[name].draw(output, log_scale, torch.Generator().manual_seed(0))
    assert drawn.shape == output.shape
    assert torch.isfinite(drawn).all()
    references = {
        "gaussian": stats.norm(logit, np.exp(0.7)),
        "laplace": stats.laplace(logit, np.exp(0.7)),
        "student_t": stats.t(4, logit, np.exp(0.7)),
    }
    values = drawn[:, 0].numpy()
    if name in references:
        assert stats.kstest(values, references[name].cdf).pvalue > 1e-3
    elif name == "bernoulli":
        assert set(values) <= {0.0, 1.0}
        expected = 1 / (1 + np.exp(-logit))
        assert values.mean() == pytest.approx(expected, abs=0.015)
    else:
        assert ((values >= 0) & (values <= 1)).all()
        # F(x) = (exp(l x) - 1) / (exp(l) - 1): the share of an exponential
        # distribution that is cut off at 1, mirrored for l > 0.
        exponential = stats.truncexpon(
            abs(logit) or 1e-9, scale=1 / (abs(logit) or 1e-9)
        )
        mirrored = 1 - values if logit > 0 else values
        assert stats.kstest(mirrored, exponential.cdf).pvalue > 1e-3


def test_the_mean_near_a_logit_of_zero():
    logits = torch.tensor([[0.09, -0.0999, 0.1001]], dtype=torch.float64)
    expected = torch.sigmoid(logits) / torch.tanh(0.5 * logits) - 1 / logits
    found = LIKELIHOODS["continuous_bernoulli"].mean(logits)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=0)


def test_logits_are_bounded_smoothly():
    logits = torch.linspace(-60, 60, 1_201, dtype=torch.float64, requires_grad=True)
    found = bounded_logits(logits)
    near = logits.abs() <= 8
    assert torch.equal(found[near], logits[near])
    assert found.abs().max() <= MAX_LOGIT
    assert (found.diff() >= 0).all()
    (slopes,) = torch.autograd.grad(found.sum(), logits)
    assert slopes.diff().abs().max() < 0.02  # no kink where the bound begins
    torch.testing.assert_close(found, -found.flip(0))


def test_a_density_of_bounded_logits_is_bounded():
    """Of a pixel that is always 0 the log-density would grow with the logit."""
    likelihood, black = LIKELIHOODS["continuous_bernoulli"], torch.zeros(1, 1)
    raw = torch.full((1, 1), -1e5)
    found = likelihood.log_density(black, likelihood.link(raw), torch.zeros(()))
    assert float(found) == pytest.approx(np.log(16.0), abs=1e-4)
    assert float(likelihood.log_density(black, raw, torch.zeros(()))) > 11


def test_only_the_columns_that_need_it_are_bounded():
    mixed = MixedLikelihood([("gaussian", 1), ("continuous_bernoulli", 2)])
    output = torch.tensor([[100.0, 100.0, 3.0]])
    torch.testing.assert_close(mixed.link(output), torch.tensor([[100.0, 16.0, 3.0]]))
    plain = MixedLikelihood([("gaussian", 1), ("bernoulli", 2)])
    assert plain.link(output) is output
