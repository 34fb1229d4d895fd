"""Counts and categories: exact log-probabilities, their gradients, draws."""

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import distributions

from latentsk.vae._discrete import log_rate, most_probable
from latentsk.vae._likelihoods import LIKELIHOODS

ONE = torch.zeros(())
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(5, 4, generator=GENERATOR, dtype=torch.float64)
COUNTS = [0, 1, 2, 3, 7, 8, 9, 10, 100, 12_345, 10**6, 10**9]


def poisson(counts, log_rates):
    rows, output = torch.tensor(counts).double(), torch.tensor(log_rates).double()
    found = LIKELIHOODS["poisson"].log_density(rows[:, None], output[:, None], ONE)
    return found.numpy(), np.exp(log_rate(output).numpy())


@pytest.mark.parametrize("log_rate", [-12.0, -1.0, 0.0, 0.5, 3.0, 10.0, 20.0])
def test_poisson_is_that_of_scipy(log_rate):
    found, rates = poisson(COUNTS, [log_rate] * len(COUNTS))
    expected = stats.poisson.logpmf(COUNTS, rates)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("log_rate", [-2.0, 0.0, 1.5, 4.0])
def test_probabilities_of_counts_sum_to_one(log_rate):
    counts = np.arange(400)
    found, _ = poisson(counts, np.full(400, log_rate))
    assert np.exp(found).sum() == pytest.approx(1.0, abs=1e-12)


def test_large_counts_keep_their_digits_in_float32():
    counts = torch.tensor([1e4, 1e6, 3e6])
    found = most_probable(counts)
    exact = special.xlogy(counts.double(), counts.double()) - counts.double()
    expected = exact - special.gammaln(counts.double() + 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    output = torch.log(counts)[:, None] * 1.001
    rows = counts[:, None]
    likelihood = LIKELIHOODS["poisson"]
    found = likelihood.log_density(rows, output, ONE)
    expected = likelihood.log_density(rows.double(), output.double(), ONE)
    torch.testing.assert_close(found.double(), expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("output", [-1e30, -1e4, -30.0, 0.0, 30.0, 1e4, 1e30])
def test_no_output_overflows(output):
    rows = torch.tensor([[0.0, 1.0, 50.0, 1e12]])
    given = torch.full((1, 4), output, requires_grad=True)
    LIKELIHOODS["poisson"].log_density(rows, given, ONE).sum().backward()
    assert torch.isfinite(given.grad).all()
    assert torch.isfinite(LIKELIHOODS["poisson"].mean(given)).all()


def test_gradients_are_those_of_differences():
    rows = torch.tensor([[0.0, 1.0, 3.0, 40.0]]).double()
    output = torch.tensor([[-1.0, 0.3, 1.0, 3.0]]).double().requires_grad_()
    density = LIKELIHOODS["poisson"].log_density
    assert torch.autograd.gradcheck(lambda o: density(rows, o, ONE), output)
    # Count less rate.
    (found,) = torch.autograd.grad(density(rows, output, ONE).sum(), output)
    torch.testing.assert_close(found, rows - output.exp())
    one_hot = torch.eye(4).double()
    density = LIKELIHOODS["categorical"].log_density
    logits = LOGITS[:4].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda o: density(one_hot, o, ONE), logits)


def test_categorical_is_that_of_torch():
    levels = torch.tensor([0, 3, 1, 1, 2])
    rows = torch.eye(4).double()[levels]
    found = LIKELIHOODS["categorical"].log_density(rows, LOGITS, ONE)
    expected = distributions.Categorical(logits=LOGITS).log_prob(levels)
    torch.testing.assert_close(found, expected)
    cells = LIKELIHOODS["categorical"].by_feature(rows, LOGITS, ONE)
    torch.testing.assert_close(cells.sum(dim=1), expected)
    assert ((cells != 0).int() == rows).all()


def test_levels_are_enumerated():
    every = torch.eye(4).double()
    one = LIKELIHOODS["categorical"].log_density(every, LOGITS[:1].expand(4, 4), ONE)
    assert float(one.exp().sum()) == pytest.approx(1.0, abs=1e-12)
    mean = LIKELIHOODS["categorical"].mean(LOGITS[:1])
    torch.testing.assert_close(mean[0], one.exp())


@pytest.mark.parametrize("log_rate", [-2.0, 0.0, 1.0, 5.0])
def test_counts_are_drawn_from_their_distribution(log_rate):
    output = torch.full((20_000, 1), log_rate)
    generator = torch.Generator().manual_seed(0)
    drawn = LIKELIHOODS["poisson"].draw(output, ONE, generator)
    assert drawn.dtype == output.dtype
    assert torch.equal(drawn, drawn.round())
    rate = float(LIKELIHOODS["poisson"].mean(output[:1]))
    assert float(drawn.mean()) == pytest.approx(rate, abs=4 * (rate / 20_000) ** 0.5)
    assert float(drawn.var()) == pytest.approx(rate, rel=0.06)


def test_levels_are_drawn_from_their_distribution():
    logits = torch.tensor([0.0, 1.0, -3.0, 2.0]).expand(3, 20_000, 4)
    generator = torch.Generator().manual_seed(0)
    drawn = LIKELIHOODS["categorical"].draw(logits, ONE, generator)
    assert drawn.shape == logits.shape
    assert torch.equal(drawn.sum(dim=-1), torch.ones(3, 20_000))
    expected = torch.softmax(logits[0, 0], dim=0)
    torch.testing.assert_close(drawn.mean(dim=(0, 1)), expected, atol=0.01, rtol=0.0)
