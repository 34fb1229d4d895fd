"""Perceptrons in float64, of operations that onnxruntime has in it.

On the CPU it has no convolutions, no error function and no exponential unit in float64,
and it joins a linear layer and what follows to operations that it has none of, either:
version 1.15 then refuses the file. The modules here are the same functions, written in
operations that stay apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev
from scipy.special import erfcx
from torch import Tensor, nn

from latentsk._typing import Float64
from latentsk.networks._mlp import Dropout

# The error function is a series in (x - 3.75) / (x + 3.75), after Schonfelder (1978).
_CENTRE, _DEGREE = 3.75, 30


class PlainLinear(nn.Module):
    """A linear layer; its bias is subtracted, as what is added is joined to it."""

    weight: Tensor
    minus_bias: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", layer.weight.detach().T.contiguous())
        bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias
        self.register_buffer("minus_bias", -bias.detach())

    def forward(self, rows: Tensor) -> Tensor:
        """Return the layer's output."""
        return rows @ self.weight - self.minus_bias


class PlainSiLU(nn.Module):
    """``x * sigmoid(x)``.

    Examples
    --------
    >>> PlainSiLU()(torch.tensor([-1e9, 0.0, 2.0]))
    tensor([-0.0000, 0.0000, 1.7616])
    """

    def forward(self, rows: Tensor) -> Tensor:
        """Return the activation."""
        return rows / (1 + (-rows).exp())


class PlainELU(nn.Module):
    """``x`` above zero, ``alpha * (exp(x) - 1)`` below."""

    def __init__(self, layer: nn.ELU) -> None:
        super().__init__()
        self.register_buffer("alpha", torch.tensor(float(layer.alpha)))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the activation."""
        below = torch.where(rows < 0, rows, torch.zeros_like(rows)).exp() - 1
        return torch.where(rows > 0, rows, self.get_buffer("alpha") * below)


class PlainGELU(nn.Module):
    """``x * F(x)``, with F the standard normal distribution function.

    Examples
    --------
    >>> rows = torch.linspace(-9, 9, 2_000, dtype=torch.float64)
    >>> error = PlainGELU()(rows) - nn.functional.gelu(rows)
    >>> bool(error.abs().max() < 2e-15)
    True
    """

    series: Tensor
    centre: Tensor
    root: Tensor

    def __init__(self) -> None:
        super().__init__()
        interpolate: Any = chebyshev.chebinterpolate
        series = interpolate(_scaled_complement, _DEGREE)
        self.register_buffer("series", torch.from_numpy(series))
        self.register_buffer("centre", torch.tensor(_CENTRE, dtype=torch.float64))
        self.register_buffer("root", torch.tensor(0.5, dtype=torch.float64).sqrt())

    def forward(self, rows: Tensor) -> Tensor:
        """Return the activation."""
        size = rows.abs() * self.root
        place = (size - self.centre) / (size + self.centre)
        last, now = torch.zeros_like(place), torch.zeros_like(place)
        for k in range(_DEGREE, 0, -1):  # by Clenshaw's recurrence
            last, now = now, 2 * place * now - last + self.series[k : k + 1]
        complement = (place * now - last + self.series[:1]) * (-size * size).exp()
        share = torch.where(rows < 0, complement, 2 - complement) / 2
        # Far below zero the product is zero times infinity, in the file.
        return torch.where(share > 0, rows * share, torch.zeros_like(rows))


def _scaled_complement(place: Float64) -> Float64:
    """Return ``exp(x**2) * erfc(x)`` at a place of the series."""
    with np.errstate(divide="ignore"):
        x = _CENTRE * (1.0 + place) / (1.0 - place)
    return np.asarray(erfcx(x))


_AS_IS = (nn.Identity, nn.ReLU, nn.Tanh, nn.LayerNorm, Dropout)
_PLAIN: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Linear: PlainLinear,
    nn.SiLU: lambda _: PlainSiLU(),
    nn.GELU: lambda _: PlainGELU(),
    nn.ELU: PlainELU,
}


def runs_in_float64(network: nn.Module) -> bool:
    """Tell whether a network is made of layers that onnxruntime can run in float64.

    Examples
    --------
    >>> runs_in_float64(nn.Sequential(nn.Linear(2, 1), nn.GELU()))
    True
    >>> runs_in_float64(nn.Conv1d(1, 1, 3))
    False
    """
    leaves = [part for part in network.modules() if not list(part.children())]
    known = (*_AS_IS, *_PLAIN)
    is_exact = all(getattr(part, "approximate", "none") == "none" for part in leaves)
    return is_exact and all(type(part) in known for part in leaves)


def in_plain_operations(network: nn.Module) -> nn.Module:
    """Return a network whose layers are replaced by plain ones, in place.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(2, 1), nn.Tanh()).double()
    >>> in_plain_operations(network)
    Sequential(
      (0): PlainLinear()
      (1): Tanh()
    )
    """
    if type(network) in _PLAIN:
        return _PLAIN[type(network)](network)
    for name, part in network.named_children():
        setattr(network, name, in_plain_operations(part))
    return network
