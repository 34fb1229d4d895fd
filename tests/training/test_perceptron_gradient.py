"""The gradient in closed form against torch's autograd."""

import pytest
import torch
from latentsk.modules.autoencoder import Autoencoder
from latentsk.modules.mlp import ACTIVATIONS, initialize, mlp
from latentsk.training.dense import dense_gradient, dense_layers
from latentsk.training.objectives import LOSSES
from latentsk.training.step import autograd, flatten
from torch import nn

ONE = torch.ones(())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(activation="relu", dropout=0.0):
    options = {"activation": activation, "dropout": dropout}
    module = Autoencoder(mlp([5, 7, 4, 2], **options), mlp([2, 6, 5], **options))
    return initialize(module, generator())


def both(module, loss, rows, noise, weights, corrupt=lambda batch, noise: batch):
    def objective(parameters, batch, noise, kl_weight):
        masks = {k: v for k, v in noise.items() if k.endswith(".mask")}
        output, _ = torch.func.functional_call(
            module, {**parameters, **masks}, (corrupt(batch, noise),)
        )
        return LOSSES[loss](output, batch)

    flat, layout = flatten(module)
    expected = autograd(objective, layout)(flat, rows, noise, weights, ONE)
    closed = dense_gradient(dense_layers(module), layout, loss, corrupt)
    for _ in range(2):  # the work space is used again
        gradient, losses = closed(flat, rows, noise, weights, ONE)
    return (gradient, losses), expected


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_gradient_is_that_of_autograd(activation, loss, dropout):
    module = network(activation, dropout)
    rows = torch.rand(11, 5, generator=generator(1))
    weights = torch.linspace(0, 1, 11)
    noise = {
        f"{name}.mask": layer.draw(11, generator(2))
        for name, layer in module.named_modules()
        if hasattr(layer, "draw")
    }
    assert bool(noise) == bool(dropout)
    ours, expected = both(module, loss, rows, noise, weights)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


def test_the_corrupted_input_and_the_clean_target():
    rows = torch.rand(11, 5, generator=generator(1))
    noise = {"input": torch.randn(11, 5, generator=generator(2))}
    ours, expected = both(
        network(),
        "squared_error",
        rows,
        noise,
        torch.ones(11),
        lambda batch, noise: batch + noise["input"],
    )
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "module",
    [
        mlp([3, 2, 3], normalize=True),
        nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 3)),
        nn.Sequential(nn.ReLU(), nn.Linear(3, 3)),
        nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Tanh()),
        nn.Sequential(nn.Linear(3, 3), nn.GELU(approximate="tanh")),
        nn.Sequential(nn.Linear(3, 3), nn.ELU(alpha=0.5)),
        nn.Sequential(nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 3)),
        nn.Sequential(nn.Conv2d(1, 1, 3)),
        nn.Sequential(),
    ],
)
def test_other_networks_are_left_to_autograd(module):
    assert dense_layers(module) is None


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
