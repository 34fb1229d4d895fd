"""The objective of a variational autoencoder: gradients, monitored loss, precision."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latentsk.networks._mlp import initialize, mlp
from latentsk.vae._bounds import BoundSettings, iwae, log_ratios
from latentsk.vae._likelihoods import LIKELIHOODS, gaussian
from latentsk.vae._network import VAE
from latentsk.vae._objective import VariationalBound

ONE = torch.ones(())
IWAE = BoundSettings(importance_weighted=True)
DOUBLY = BoundSettings(importance_weighted=True, doubly_reparameterized=True)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(n_scales=1):
    vae = VAE(
        mlp([5, 7, 6], activation="tanh"),
        mlp([3, 6, 5], activation="tanh"),
        n_scales=n_scales,
        initial_scale=0.7,
    )
    return initialize(vae, generator())


def constant_vae(logit, n_features=1):
    """A model that knows nothing of the row."""
    vae = VAE(nn.Linear(n_features, 2), nn.Linear(1, n_features))
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
        vae.decoder.bias.fill_(logit)
    return vae


def numerical_gradient(function, parameter, place, step=1e-5):
    values = []
    for sign in (1.0, -1.0):
        with torch.no_grad():
            parameter[place] += sign * step
            values.append(float(function()))
            parameter[place] -= sign * step
    return (values[0] - values[1]) / (2 * step)


BOUNDS = {
    "elbo": BoundSettings(),
    "beta": BoundSettings(beta=4.0),
    "free nats": BoundSettings(free_nats=0.05),
    "capacity": BoundSettings(beta=3.0, capacity=0.1),
    "too much capacity": BoundSettings(capacity=50.0),
    "iwae": IWAE._replace(beta=0.5),
}


@pytest.mark.parametrize("likelihood", list(LIKELIHOODS))
@pytest.mark.parametrize("bound", list(BOUNDS))
def test_gradients_are_those_of_finite_differences(likelihood, bound):
    vae = network().double()
    objective = VariationalBound(
        vae, LIKELIHOODS[likelihood], 5, 3, bound=BOUNDS[bound], n_samples=2
    )
    rows = torch.rand(4, 5, generator=generator(1)).double()
    drawn = objective.draw_noise(4, generator(2))
    noise = {name: values.double() for name, values in drawn.items()}

    def loss():
        return objective.loss(vae, rows, noise, ONE).rows.mean()

    loss().backward()
    for part in (vae.encoder[0].weight, vae.decoder[2].weight):
        expected = numerical_gradient(loss, part, (1, 2))
        assert float(part.grad[1, 2]) == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("n_scales", [1, 5])
def test_a_step_lowers_the_loss_by_every_kind_of_scale(n_scales):
    vae = network(n_scales)
    objective = VariationalBound(vae, LIKELIHOODS["gaussian"], 5, 3)
    rows = torch.rand(11, 5, generator=generator(1))
    noise = objective.draw_noise(11, generator(2))
    before = objective.loss(vae, rows, noise, ONE).rows.mean()
    before.backward()
    with torch.no_grad():
        vae.raw_log_scale -= 1e-3 * vae.raw_log_scale.grad
        after = objective.loss(vae, rows, noise, ONE).rows.mean()
    expected = -1e-3 * float(vae.raw_log_scale.grad.square().sum())
    assert float(after - before.detach()) == pytest.approx(expected, rel=0.05)


def test_the_double_gradient_has_the_same_mean_and_less_noise():
    """Tucker et al. (2019), section 3: unbiased; of the encoder's gradient only."""
    vae = network(n_scales=0)
    rows = torch.rand(4, 5, generator=generator(1))
    parameters = list(vae.parameters())
    means, deviations = {}, {}
    for name, bound in (("iwae", IWAE), ("doubly", DOUBLY)):
        objective = VariationalBound(
            vae, LIKELIHOODS["gaussian"], 5, 3, bound=bound, n_samples=16
        )
        drawn, noise = [], generator(3)
        for _ in range(1_000):
            losses = objective.loss(vae, rows, objective.draw_noise(4, noise), ONE)
            found = torch.autograd.grad(losses.rows.mean(), parameters)
            drawn.append(torch.cat([part.ravel() for part in found]))
        stacked = torch.stack(drawn)
        means[name], deviations[name] = stacked.mean(dim=0), stacked.std(dim=0)
    error = (deviations["iwae"] / 1_000**0.5).clamp(min=1e-6)
    assert ((means["iwae"] - means["doubly"]).abs() < 5 * error).all()
    n_encoder = sum(p.numel() for p in vae.encoder.parameters())
    ratios = deviations["doubly"] / deviations["iwae"]
    assert ratios[:n_encoder].median() < 0.6
    others = ratios[n_encoder:]
    torch.testing.assert_close(others, torch.ones_like(others), rtol=1e-3, atol=1e-3)


def test_dropout_masks_of_the_decoder_are_one_for_each_sample():
    vae = VAE(mlp([5, 4, 2], dropout=0.5), mlp([1, 4, 5], dropout=0.5))
    objective = VariationalBound(vae, LIKELIHOODS["gaussian"], 5, 1, n_samples=3)
    noise = objective.draw_noise(7, generator())
    assert noise["encoder.2.mask"].shape == (7, 4)
    assert noise["decoder.2.mask"].shape == (21, 4)


def test_terms_make_up_the_loss():
    vae = network()
    bound = BoundSettings(beta=3.0, warm_up=0.5)
    objective = VariationalBound(vae, LIKELIHOODS["gaussian"], 5, 3, bound=bound)
    rows = torch.rand(11, 5, generator=generator(1))
    noise = objective.draw_noise(11, generator(2))
    losses, terms = objective.loss(vae, rows, noise, torch.tensor(0.125))
    assert float(terms["kl_weight"]) == pytest.approx(0.25 * 3.0)
    expected = terms["reconstruction"] + 0.75 * terms["kl"]
    torch.testing.assert_close(losses, expected)
    assert float(objective.monitor(vae, rows).terms["kl_weight"]) == 3.0


def test_monitored_rows_are_binarized_too():
    vae = constant_vae(2.0)
    objective = VariationalBound(vae, LIKELIHOODS["bernoulli"], 1, 1, binarize=True)
    losses = objective.monitor(vae, torch.full((2_000, 1), 0.3)).rows
    of_zero, of_one = F.softplus(torch.tensor(2.0)), F.softplus(torch.tensor(-2.0))
    is_one = torch.isclose(losses, of_one)
    assert (is_one | torch.isclose(losses, of_zero)).all()
    assert is_one.float().mean().item() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_the_monitored_bound_is_the_one_that_is_trained(beta):
    vae = network()
    bound = BoundSettings(importance_weighted=True, beta=beta)
    objective = VariationalBound(
        vae, LIKELIHOODS["gaussian"], 5, 3, bound=bound, n_samples=5
    )
    rows = torch.randn(7, 5, generator=generator(1))
    noise = torch.randn(5, 7, 3, generator=generator())
    with torch.no_grad():
        output, latents, posterior, log_scale = vae(rows, noise)
        densities = gaussian(rows, output, log_scale)
        weights = densities + beta * log_ratios(latents, posterior, vae.prior)
        found = objective.monitor(vae, rows).rows
    torch.testing.assert_close(found, -iwae(weights))


def test_losses_are_summed_in_float32():
    vae = constant_vae(1.0, n_features=300)
    objective = VariationalBound(
        vae, LIKELIHOODS["bernoulli"], 300, 1, precision="bfloat16"
    )
    noise = objective.draw_noise(9, generator())
    rows = (torch.rand(9, 300, generator=generator()) < 0.5).float()
    losses = objective.loss(vae, rows, noise, ONE).rows
    # Every logit is 1, which bfloat16 holds; sums of such a size it would round to 2.
    expected = 300 * math.log1p(math.e) - rows.sum(dim=1)
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=1e-4)
