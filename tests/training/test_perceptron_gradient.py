"""The gradient in closed form against torch's autograd."""

import pytest
import torch
from torch import nn

from latentsk.networks._autoencoder import Autoencoder
from latentsk.networks._mlp import ACTIVATIONS, dropout_layers, initialize, mlp
from latentsk.training import _perceptron_gradient as module
from latentsk.training._losses import LOSSES
from latentsk.training._optimizer import FlatAdamW, OptimizerSettings
from latentsk.training._perceptron_gradient import dense_layers
from latentsk.training._reconstruction import Reconstruction
from latentsk.training._step import autograd, loss_of, make_step

ONE = torch.ones(())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(activation="relu", dropout=0.0):
    options = {"activation": activation, "dropout": dropout}
    made = Autoencoder(mlp([5, 7, 4, 2], **options), mlp([2, 6, 5], **options))
    return initialize(made, generator())


def gradients(closed_form, made, **options):
    """Return the losses and the gradients of a step that moves nothing."""
    objective = Reconstruction(made, 5, **options)
    optimizer = FlatAdamW(made, OptimizerSettings())
    optimizer.take_up_all()
    gradient = autograd(loss_of(made, objective), optimizer)
    if closed_form:
        gradient = objective.gradient(made)
    step = make_step(made, gradient, optimizer)
    rows = torch.rand(11, 5, generator=generator(1))
    noise = objective.draw_noise(11, generator(2))
    weights = torch.linspace(0, 1, 11)
    for _ in range(2):  # the work space is used again
        losses = step(rows, noise, weights, ONE, 0.0 * ONE).rows
    return losses, [p.grad.clone() for p in made.parameters()]


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_gradient_is_that_of_autograd(activation, loss, dropout):
    ours = gradients(True, network(activation, dropout), loss=loss)
    expected = gradients(False, network(activation, dropout), loss=loss)
    assert bool(dropout_layers(network(activation, dropout))) == bool(dropout)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("noise", ["gaussian", "masking"])
def test_the_corrupted_input_and_the_clean_target(noise):
    ours, expected = (gradients(c, network(), noise=noise) for c in (True, False))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"contractive_penalty": 0.1},
        {"sparse_penalty": 0.1},
        {"precision": "bfloat16"},
    ],
)
def test_what_has_no_closed_form_is_left_to_autograd(options):
    assert Reconstruction(network(), 5).gradient(network()) is not None
    assert Reconstruction(network(), 5, 2, **options).gradient(network()) is None


def test_a_loss_without_a_derivative_is_left_to_autograd(monkeypatch):
    monkeypatch.delitem(module.LOSS_DERIVATIVES, "huber")
    assert Reconstruction(network(), 5, loss="huber").gradient(network()) is None


@pytest.mark.parametrize(
    "other",
    [
        mlp([3, 2, 3], normalize=True),
        nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 3)),
        nn.Sequential(nn.ReLU(), nn.Linear(3, 3)),
        nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Tanh()),
        nn.Sequential(nn.Linear(3, 3), nn.GELU(approximate="tanh")),
        nn.Sequential(nn.Linear(3, 3), nn.ELU(alpha=0.5)),
        nn.Sequential(nn.Linear(3, 3), nn.Softplus()),
        nn.Sequential(nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 3)),
        nn.Sequential(nn.Linear(3, 3).double()),
        nn.Sequential(nn.Conv2d(1, 1, 3)),
        nn.Sequential(),
    ],
)
def test_other_networks_are_left_to_autograd(other):
    assert dense_layers(other) is None


class Residual(nn.Sequential):
    def forward(self, rows):
        return rows + super().forward(rows)


def test_a_module_with_its_own_forward_is_left_to_autograd():
    assert dense_layers(Residual(nn.Linear(3, 3))) is None
    assert dense_layers(Autoencoder(Residual(nn.Linear(3, 3)), mlp([3, 3]))) is None
    shared = nn.Linear(3, 3)
    assert dense_layers(Autoencoder(shared, shared)) is None


def test_a_module_with_hooks_is_left_to_autograd():
    hooked = mlp([3, 3])
    hooked[0].register_forward_hook(lambda module, args, output: 2 * output)
    assert dense_layers(hooked) is None
    before = mlp([3, 3])
    before.register_forward_pre_hook(lambda module, args: (2 * args[0],))
    assert dense_layers(before) is None
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)))
    assert dense_layers(normed) is None
