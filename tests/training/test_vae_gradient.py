"""A variational autoencoder's gradient in closed form against torch's autograd."""

import pytest
import torch
from torch import nn

from latentsk.modules.likelihoods import LIKELIHOODS
from latentsk.modules.mlp import Dropout, initialize, mlp
from latentsk.modules.vae import VAE
from latentsk.training.step import autograd, flatten
from latentsk.training.vae_gradient import DensePair
from latentsk.training.vae_task import VAESettings, vae_task
from latentsk.training.variational import BoundSettings

N_FEATURES, N_LATENTS, N_ROWS = 5, 3, 11
BOUNDS = {
    "elbo": BoundSettings(),
    "beta": BoundSettings(beta=4.0),
    "free nats": BoundSettings(free_nats=0.3),
    "capacity": BoundSettings(beta=3.0, capacity=1.0),
    "too much capacity": BoundSettings(capacity=50.0),
    "iwae": BoundSettings(importance_weighted=True),
    "iwae, beta": BoundSettings(importance_weighted=True, beta=0.5),
    "doubly": BoundSettings(importance_weighted=True, doubly_reparameterized=True),
    "doubly, beta": BoundSettings(True, True, beta=0.5),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(activation="tanh", dropout=0.0, n_scales=1):
    options = {"activation": activation, "dropout": dropout}
    vae = VAE(
        mlp([N_FEATURES, 7, 2 * N_LATENTS], **options),
        mlp([N_LATENTS, 6, 7, N_FEATURES], **options),
        n_scales=n_scales,
        initial_scale=0.7,
    )
    return initialize(vae, generator())


def both(vae, likelihood, bound, n_samples, kl_weight=0.7, binarize=False):
    settings = VAESettings(
        likelihood, bound, n_samples, N_FEATURES, N_LATENTS, binarize
    )
    task = vae_task(vae, settings, "float32")
    flat, layout = flatten(vae)
    rows = torch.rand(N_ROWS, N_FEATURES, generator=generator(1))
    arguments = (
        rows,
        task.draw_noise(N_ROWS, generator(2)),
        torch.linspace(0, 1, N_ROWS),
        torch.tensor(kl_weight),
    )
    expected = autograd(task.make_objective(), layout)(flat, *arguments)
    closed = task.closed_form.make_gradient(layout)
    closed(flat, *arguments)  # the work space is used again
    return closed(flat, *arguments), expected


@pytest.mark.parametrize("likelihood", list(LIKELIHOODS))
@pytest.mark.parametrize("bound", list(BOUNDS))
@pytest.mark.parametrize("n_samples", [1, 4])
def test_the_gradient_is_that_of_autograd(likelihood, bound, n_samples):
    ours, expected = both(network(), likelihood, BOUNDS[bound], n_samples)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)
    assert ours[0].abs().max() > 1e-3


@pytest.mark.parametrize("n_scales", [0, 1, N_FEATURES])
@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "student_t"])
def test_scales_that_are_fixed_shared_or_of_each_feature(n_scales, likelihood):
    vae = network(n_scales=n_scales)
    ours, expected = both(vae, likelihood, BoundSettings(), 2)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bound", ["elbo", "doubly"])
def test_dropout_and_binarization(bound):
    vae = network("gelu", dropout=0.4)
    ours, expected = both(vae, "bernoulli", BOUNDS[bound], 3, binarize=True)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


def test_the_double_gradient_has_the_same_mean_and_less_noise():
    """Tucker et al. (2019), section 3: unbiased; of the encoder's gradient only."""
    vae = network(n_scales=0)
    flat, layout = flatten(vae)
    rows = torch.rand(4, N_FEATURES, generator=generator(1))
    means, deviations = {}, {}
    for name in ("iwae", "doubly"):
        settings = VAESettings("gaussian", BOUNDS[name], 16, N_FEATURES, N_LATENTS)
        task = vae_task(vae, settings, "float32")
        gradient, noise = task.closed_form.make_gradient(layout), generator(3)
        drawn = torch.empty(2_000, len(flat))
        for place in drawn:
            found = gradient(
                flat,
                rows,
                task.draw_noise(4, noise),
                torch.ones(4),
                torch.tensor(1.0),
            )
            place.copy_(found[0])
        means[name], deviations[name] = drawn.mean(dim=0), drawn.std(dim=0)
    error = (deviations["iwae"] / 2_000**0.5).clamp(min=1e-6)
    assert ((means["iwae"] - means["doubly"]).abs() < 5 * error).all()
    n_encoder = sum(p.numel() for p in vae.encoder.parameters())
    ratios = deviations["doubly"] / deviations["iwae"]
    assert ratios[:n_encoder].median() < 0.6
    torch.testing.assert_close(ratios[n_encoder:], torch.ones(len(flat) - n_encoder))


def test_what_is_no_pair_of_perceptrons_has_no_closed_form():
    encoder = mlp([N_FEATURES, 2 * N_LATENTS])
    assert DensePair.of(VAE(encoder, mlp([N_LATENTS, N_FEATURES]))) is not None
    others = [
        mlp([N_LATENTS, 4, N_FEATURES], normalize=True),
        nn.Sequential(nn.Linear(N_LATENTS, N_FEATURES), nn.ReLU()),
        nn.Sequential(nn.Linear(N_LATENTS, N_FEATURES), Dropout(0.5, N_FEATURES)),
        nn.Identity(),
    ]
    assert [DensePair.of(VAE(encoder, other)) for other in others] == [None] * 4
    tied = nn.Linear(N_FEATURES, N_FEATURES)
    assert DensePair.of(VAE(tied, tied)) is None


def test_the_gradient_is_of_the_parameters_that_it_is_given():
    vae = network()
    settings = VAESettings("gaussian", BoundSettings(), 1, N_FEATURES, N_LATENTS)
    task = vae_task(vae, settings, "float32")
    flat, layout = flatten(vae)
    rows = torch.rand(N_ROWS, N_FEATURES, generator=generator(1))
    noise, one = task.draw_noise(N_ROWS, generator(2)), torch.tensor(1.0)
    arguments = (rows, noise, torch.ones(N_ROWS), one)
    closed = task.closed_form.make_gradient(layout)
    expected = autograd(task.make_objective(), layout)
    for parameters in (flat, 2.0 * flat, 0.5 * flat):
        torch.testing.assert_close(
            closed(parameters, *arguments),
            expected(parameters, *arguments),
            rtol=1e-4,
            atol=1e-6,
        )
