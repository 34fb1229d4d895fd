"""A normalizing flow as prior."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from latentsk._device import to_numpy
from latentsk.networks._mlp import linear
from latentsk.training._inference import in_dtype
from latentsk.vae._density import NormalizedDensity, Prior
from latentsk.vae._posterior import Posterior

N_LAYERS = 4
N_UNITS = 64
# A layer multiplies a coordinate by its exponential at most, and divides by it.
MAX_LOG_SCALE = 2.0


class Coupling(nn.Module):
    """Shift and scale half of the coordinates as the others say (Dinh et al., 2017).

    The identity, until its output layer is trained.

    Parameters
    ----------
    n_given : int
        Coordinates that are kept. Without any, the others move by constants.

    n_moved : int
        Coordinates that are shifted and scaled.
    """

    def __init__(self, n_given: int, n_moved: int) -> None:
        super().__init__()
        self.hidden = linear(n_given or n_moved, N_UNITS)
        # No layer, so that nothing draws other weights than these.
        zeros = torch.zeros(2 * n_moved, N_UNITS, dtype=torch.float32)
        self.weight = nn.Parameter(zeros)
        self.bias = nn.Parameter(torch.zeros(2 * n_moved, dtype=torch.float32))

    def _moves(self, given: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Return shifts and log-scales."""
        given = given if given.shape[-1] else torch.zeros_like(moved)
        units = torch.tanh(self.hidden(given))
        shift, raw = F.linear(units, self.weight, self.bias).chunk(2, dim=-1)
        return shift, MAX_LOG_SCALE * torch.tanh(raw)

    def forward(self, given: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Return moved coordinates, and the logarithm of the change of volume."""
        shift, log_scale = self._moves(given, moved)
        moved = torch.addcmul(shift, moved, torch.exp(log_scale))
        return moved, log_scale.sum(dim=-1)

    def inverse(self, given: Tensor, moved: Tensor) -> Tensor:
        """Return the coordinates that were moved."""
        shift, log_scale = self._moves(given, moved)
        return (moved - shift) * torch.exp(-log_scale)


class FlowPrior(Prior, NormalizedDensity):
    """A coupling flow (Dinh et al., 2017) from latents to the standard normal.

    Its density is exactly normalized. A single latent dimension has no other to depend
    on: its flow is a shift and a scale.

    Parameters
    ----------
    n_latents : int

    Examples
    --------
    >>> from latentsk.networks._mlp import initialize
    >>> prior = initialize(FlowPrior(2), torch.Generator().manual_seed(0))
    >>> prior.log_density(torch.zeros(1, 2)).detach()
    tensor([-1.8379])
    >>> prior.draw(3, np.random.default_rng(0)).shape
    (3, 2)
    """

    def __init__(self, n_latents: int) -> None:
        super().__init__()
        self.n_latents = n_latents
        halves = (n_latents + 1) // 2, n_latents // 2
        # A single coordinate is moved by every layer, more are moved in turn.
        turns = [n % 2 if n_latents > 1 else 1 for n in range(N_LAYERS)]
        layers = (Coupling(halves[turn], halves[1 - turn]) for turn in turns)
        self.layers = nn.ModuleList(layers)
        self.turns = turns

    def log_density(self, latents: Tensor) -> Tensor:
        """Return the log-density of latents, in nats."""
        halves, log_volume = self._mapped(latents)
        squares = halves[0].square().sum(dim=-1) + halves[1].square().sum(dim=-1)
        constant = self.n_latents * math.log(2.0 * math.pi)
        return log_volume - 0.5 * (squares + constant)

    def divergence(self, posterior: Posterior) -> None:
        """Return None: there is no closed form."""
        return None

    def normalized(self, latents: Tensor) -> Tensor:
        """Return where the flow takes latents of shape (..., n_latents)."""
        return _joined(self._mapped(latents)[0])

    def _mapped(self, latents: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return even and odd coordinates, and the logarithm of the volume."""
        halves, log_volume = _halves(latents), torch.zeros_like(latents[..., 0])
        for turn, layer in zip(self.turns, self.layers, strict=True):
            halves[1 - turn], change = layer(halves[turn], halves[1 - turn])
            log_volume = log_volume + change
        return halves, log_volume

    def draw(self, n_rows: int, generator: np.random.Generator) -> NDArray[Any]:
        """Return random latents, of shape (n_rows, n_latents), in float64."""
        drawn = generator.standard_normal((n_rows, self.n_latents))
        halves = _halves(torch.from_numpy(drawn))
        with torch.no_grad():
            layers: Any = in_dtype(self, torch.float64).cpu().layers
            for turn, layer in reversed(list(zip(self.turns, layers, strict=True))):
                halves[1 - turn] = layer.inverse(halves[turn], halves[1 - turn])
        return to_numpy(_joined(halves))


def _halves(latents: Tensor) -> list[Tensor]:
    return [latents[..., ::2], latents[..., 1::2]]


def _joined(halves: list[Tensor]) -> Tensor:
    """Return coordinates in their order again."""
    n_latents = halves[0].shape[-1] + halves[1].shape[-1]
    joined = halves[0].new_empty(*halves[0].shape[:-1], n_latents)
    joined[..., ::2], joined[..., 1::2] = halves
    return joined
