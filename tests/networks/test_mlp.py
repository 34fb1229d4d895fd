"""Perceptrons against torch's own layers."""

import numpy as np
import pytest
import torch
from torch import nn

from latentsk.networks._mlp import ACTIVATIONS, Dropout, initialize, mlp


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("layer_norm", [False, True])
def test_forward_is_the_formula(activation, layer_norm):
    network = initialize(
        mlp([4, 3, 2], activation=activation, normalize=layer_norm), generator()
    )
    rows = torch.randn(5, 4, generator=generator(1))
    first, last = network[0], network[-1]
    hidden = rows @ first.weight.T + first.bias
    if layer_norm:
        spread = torch.sqrt(hidden.var(dim=1, correction=0, keepdim=True) + 1e-5)
        hidden = (hidden - hidden.mean(dim=1, keepdim=True)) / spread
    expected = ACTIVATIONS[activation]()(hidden) @ last.weight.T + last.bias
    torch.testing.assert_close(network(rows), expected)


def test_weights_have_the_range_of_torchs_own():
    network = initialize(mlp([400, 300]), generator())
    limit = 1 / np.sqrt(400)
    for values in (network[0].weight, network[0].bias):
        assert values.abs().max() <= limit
        assert values.abs().max() > 0.98 * limit
    uniform = limit / np.sqrt(3)
    assert network[0].weight.std().item() == pytest.approx(uniform, rel=0.01)


def test_the_global_generator_is_neither_read_nor_set():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    network = initialize(mlp([4, 3, 2], dropout=0.5), generator())
    network[2].draw(10, generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_decides_the_weights():
    def weights(seed):
        return initialize(mlp([4, 3]), generator(seed))[0].weight

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_convolutions_are_initialized_too():
    layer = torch.nn.utils.skip_init(nn.Conv2d, 2, 8, 3)
    initialize(layer, generator())
    assert layer.weight.abs().max() <= 1 / np.sqrt(2 * 9)


def test_dropout_masks_have_mean_one_and_the_rate():
    masks = Dropout(0.25, 50).draw(2_000, generator())
    assert (masks == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert masks.mean().item() == pytest.approx(1.0, abs=0.02)
    assert masks.unique().tolist() == [0.0, pytest.approx(4 / 3)]


def test_state_holds_no_masks():
    assert set(mlp([4, 3, 2], dropout=0.5).state_dict()) == {
        "0.weight",
        "0.bias",
        "3.weight",
        "3.bias",
    }
