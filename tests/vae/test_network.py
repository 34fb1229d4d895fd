"""The variational autoencoder's parts against closed forms."""

import numpy as np
import pytest
import torch
from torch import distributions, nn

from latentsk.vae._network import VAE
from latentsk.vae._posterior import MAX_LOG_VARIANCE, Posterior, bounded


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_reparameterization_and_its_gradients():
    # z = 0.5 + 0.8 * 1.2, with gradients 1 by the mean and 1.2 by the deviation.
    mean = torch.tensor([[0.5]], requires_grad=True)
    deviation = torch.tensor([[0.8]], requires_grad=True)
    latents = Posterior(mean, 2 * deviation.log()).at(torch.tensor([[[1.2]]]))
    latents.sum().backward()
    assert latents.item() == pytest.approx(1.46)
    assert mean.grad.item() == pytest.approx(1.0)
    assert deviation.grad.item() == pytest.approx(1.2)


def test_the_density_of_the_posterior():
    posterior = Posterior(
        torch.randn(5, 3, generator=generator()),
        torch.randn(5, 3, generator=generator(1)),
    )
    latents = torch.randn(7, 5, 3, generator=generator(2))
    normal = distributions.Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
    torch.testing.assert_close(
        posterior.log_density(latents), normal.log_prob(latents).sum(dim=-1)
    )


def test_log_variances_are_bounded_with_a_gradient_everywhere_near():
    raw = torch.linspace(-20, 20, 9, requires_grad=True)
    values = bounded(raw)
    values.sum().backward()
    assert values.abs().max() < MAX_LOG_VARIANCE
    assert (raw.grad > 0).all()


@pytest.mark.parametrize("initial", [1.0, 0.05, 1e-3])
def test_the_scale_starts_as_given_and_has_a_floor(initial):
    vae = VAE(nn.Identity(), nn.Identity(), n_scales=2, initial_scale=initial)
    np.testing.assert_allclose(vae.log_scale().exp().detach(), initial, rtol=2e-3)
    with torch.no_grad():
        vae.raw_log_scale.fill_(-100.0)
    np.testing.assert_allclose(vae.log_scale().exp().detach(), 1e-3, rtol=1e-5)
    fixed = VAE(nn.Identity(), nn.Identity(), initial_scale=initial)
    assert list(fixed.parameters()) == []
    assert "raw_log_scale" in fixed.state_dict()


def test_every_sample_is_decoded_by_itself():
    vae = VAE(nn.Linear(3, 4), nn.Sequential(nn.Linear(2, 3), nn.Tanh()))
    rows = torch.randn(5, 3, generator=generator())
    noise = torch.randn(7, 5, 2, generator=generator(1))
    result = vae(rows, noise)
    mean, raw = vae.encoder(rows).split(2, dim=1)
    for k in range(7):
        latents = mean + (0.5 * bounded(raw)).exp() * noise[k]
        torch.testing.assert_close(result.latents[k], latents)
        torch.testing.assert_close(result.output[k], vae.decoder(latents))


def test_the_decoder_s_gradient_by_the_latents_can_be_weighted():
    vae = VAE(nn.Linear(3, 4), nn.Sequential(nn.Linear(2, 3), nn.Tanh()))
    rows = torch.randn(5, 3, generator=generator())
    noise = torch.randn(2, 5, 2, generator=generator(1))
    slope = torch.rand(2, 5, generator=generator(2))
    plain, weighted = vae(rows, noise), vae(rows, noise, slope)
    torch.testing.assert_close(weighted.output, plain.output)
    by_latents, by_weight = torch.autograd.grad(
        plain.output.sum(), (plain.latents, vae.decoder[0].weight)
    )
    by_mean, by_other_weight = torch.autograd.grad(
        weighted.output.sum(), (weighted.posterior.mean, vae.decoder[0].weight)
    )
    torch.testing.assert_close(by_mean, (slope[..., None] * by_latents).sum(dim=0))
    torch.testing.assert_close(by_other_weight, by_weight)
