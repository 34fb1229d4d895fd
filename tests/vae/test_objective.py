"""The monitored loss, and precision, of a variational autoencoder's task."""

import math

import pytest
import torch
from latentsk.modules.likelihoods import gaussian
from latentsk.modules.vae import VAE
from latentsk.training.vae_task import VAESettings, vae_task
from latentsk.training.variational import BoundSettings, iwae, log_ratios
from torch import nn
from torch.nn import functional as F


def constant_vae(logit):
    """A model that knows nothing of the row."""
    vae = VAE(nn.Linear(1, 2), nn.Linear(1, 1))
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
        vae.decoder.bias.fill_(logit)
    return vae


def test_monitored_rows_are_binarized_too():
    vae = constant_vae(2.0)
    task = vae_task(vae, VAESettings("bernoulli", BoundSettings(), 1, 1, 1, True), "")
    losses = task.evaluate(dict(vae.named_parameters()), torch.full((2_000, 1), 0.3))
    of_zero, of_one = F.softplus(torch.tensor(2.0)), F.softplus(torch.tensor(-2.0))
    is_one = torch.isclose(losses, of_one)
    assert (is_one | torch.isclose(losses, of_zero)).all()
    assert is_one.float().mean().item() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_the_monitored_bound_is_the_one_that_is_trained(beta):
    torch.manual_seed(0)
    vae = VAE(nn.Linear(3, 4), nn.Linear(2, 3))
    bound = BoundSettings(importance_weighted=True, beta=beta)
    task = vae_task(vae, VAESettings("gaussian", bound, 5, 3, 2), "float32")
    rows = torch.randn(7, 3)
    noise = torch.randn(5, 7, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        result = vae(rows, noise)
        densities = gaussian(rows, result.output, result.log_scale)
        weights = densities + beta * log_ratios(result.latents, result.posterior)
        found = task.evaluate(dict(vae.named_parameters()), rows)
    torch.testing.assert_close(found, -iwae(weights))


def test_losses_are_summed_in_float32():
    vae = VAE(nn.Linear(300, 4), nn.Linear(2, 300))
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
        vae.decoder.bias.fill_(1.0)
    task = vae_task(
        vae, VAESettings("bernoulli", BoundSettings(), 1, 300, 2), "bfloat16"
    )
    noise = task.draw_noise(9, torch.Generator())
    rows = (
        torch.rand(9, 300, generator=torch.Generator().manual_seed(0)) < 0.5
    ).float()
    losses = task.make_objective()(
        dict(vae.named_parameters()), rows, noise, torch.tensor(1.0)
    )
    # Every logit is 1, which bfloat16 holds; sums of such a size it would round to 2.
    expected = 300 * math.log1p(math.e) - rows.sum(dim=1)
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=1e-4)
