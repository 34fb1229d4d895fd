"""Random numbers that balance, and densities in chunks."""

import numpy as np
import pytest
import torch
from torch import nn

from latentsk.vae import _estimates
from latentsk.vae._estimates import (
    balanced_noise,
    independent_noise,
    sampled,
    samples_at_a_time,
)
from latentsk.vae._likelihoods import gaussian
from latentsk.vae._network import VAE


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("n_samples", [1, 2, 5, 8, 64])
def test_the_mean_square_is_one_in_every_dimension(n_samples):
    noise = balanced_noise(n_samples, 3, generator())
    assert noise.shape == (n_samples, 1, 3)
    torch.testing.assert_close(
        noise.square().mean(dim=0), torch.ones(1, 3, dtype=torch.float64)
    )
    if n_samples % 2 == 0:
        assert noise.mean(dim=0).abs().max() < 1e-12


def test_balanced_means_are_nearer_to_the_expectation():
    """Of a smooth function: E exp(z / 2) = exp(1 / 8)."""
    errors = {}
    for source in (balanced_noise, independent_noise):
        means = [
            torch.exp(0.5 * source(8, 1, generator(seed))).mean() for seed in range(500)
        ]
        errors[source] = np.square(np.array(means) - np.exp(1 / 8)).mean()
    assert errors[balanced_noise] < 0.05 * errors[independent_noise]


def test_independent_noise_is_normal():
    noise = independent_noise(20_000, 2, generator())
    assert noise.mean().abs() < 0.03
    assert noise.var().item() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("elements", [1, 40, 10**6])
def test_chunks_are_decoded_as_the_whole(elements, monkeypatch):
    monkeypatch.setattr(_estimates, "CHUNK_ELEMENTS", elements)
    torch.manual_seed(0)
    vae = VAE(nn.Linear(3, 4), nn.Linear(2, 3))
    rows, noise = torch.randn(5, 3), torch.randn(7, 5, 2)
    at_a_time = samples_at_a_time(vae, rows)
    assert at_a_time <= max(1, elements // 15)
    with torch.no_grad():
        found = sampled(vae, rows, gaussian, noise.split(at_a_time))
        whole = vae(rows, noise)
        expected = gaussian(rows, whole.output, whole.log_scale)
    torch.testing.assert_close(found.log_densities, expected)
