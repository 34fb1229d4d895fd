"""Layers in plain operations are the layers of torch, in float64."""

import pytest
import torch
from scipy.special import ndtr
from torch import nn

from latentsk.embedders._onnx_float64 import (
    PlainGELU,
    in_plain_operations,
    runs_in_float64,
)
from latentsk.networks._mlp import ACTIVATIONS, Dropout

ROWS = torch.cat(
    [
        torch.linspace(-40, 40, 4_001, dtype=torch.float64),
        torch.tensor([-1e300, -1e9, 1e9, 1e300, 0.0], dtype=torch.float64),
    ]
)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    layer = ACTIVATIONS[name]()
    found, expected = in_plain_operations(layer)(ROWS), layer(ROWS)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=2e-15)


def test_gelu_is_by_the_normal_distribution():
    some = ROWS[ROWS.abs() < 40]
    expected = some.numpy() * ndtr(some.numpy())
    torch.testing.assert_close(
        PlainGELU()(some), torch.from_numpy(expected), rtol=1e-14, atol=2e-15
    )


@pytest.mark.parametrize("bias", [True, False])
def test_layers(bias):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(3, 4, bias=bias), nn.LayerNorm(4), Dropout(0.5, 4), nn.ELU(0.7)
    )
    network = network.double().eval()
    rows = torch.randn(9, 3, dtype=torch.float64)
    expected = network(rows)
    torch.testing.assert_close(in_plain_operations(network)(rows), expected)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(1, 1, 3), nn.GELU("tanh"), nn.Softplus(), nn.BatchNorm1d(3)]
)
def test_what_stays_in_float32(layer):
    assert not runs_in_float64(nn.Sequential(nn.Linear(3, 3), layer))
    assert runs_in_float64(nn.Sequential(nn.Linear(3, 3), nn.GELU()))
