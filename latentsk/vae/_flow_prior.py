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
    """Shift and scale every other coordinate, as the rest says (Dinh et al., 2017).

    The identity, until its output layer is trained.

    Parameters
    ----------
    n_latents : int

    parity : {0, 1}
        Whether the even coordinates are kept, or the odd ones.
    """

    kept: Tensor

    def __init__(self, n_latents: int, parity: int) -> None:
        super().__init__()
        kept = (torch.arange(n_latents) % 2 == parity).to(torch.float32)
        self.register_buffer("kept", kept, persistent=False)
        self.hidden = linear(n_latents, N_UNITS)
        # No layer, so that nothing draws other weights than these.
        zeros = torch.zeros(2 * n_latents, N_UNITS, dtype=torch.float32)
        self.weight = nn.Parameter(zeros)
        self.bias = nn.Parameter(torch.zeros(2 * n_latents, dtype=torch.float32))

    def _moves(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return shifts and log-scales, which are zero where coordinates are kept."""
        output = F.linear(torch.tanh(self.hidden(kept)), self.weight, self.bias)
        shift, raw = output.chunk(2, dim=-1)
        moved = 1.0 - self.kept
        return moved * shift, MAX_LOG_SCALE * moved * torch.tanh(raw / MAX_LOG_SCALE)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coordinates, and the logarithm of the change of volume."""
        shift, log_scale = self._moves(self.kept * latents)
        return latents * torch.exp(log_scale) + shift, log_scale.sum(dim=-1)

    def inverse(self, coordinates: Tensor) -> Tensor:
        """Return the latents that the coordinates come from."""
        shift, log_scale = self._moves(self.kept * coordinates)
        return (coordinates - shift) * torch.exp(-log_scale)


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
        layers = (Coupling(n_latents, number % 2) for number in range(N_LAYERS))
        self.layers = nn.ModuleList(layers)

    def log_density(self, latents: Tensor) -> Tensor:
        """Return the log-density of latents, in nats."""
        coordinates, log_volume = self._mapped(latents)
        squares = coordinates.square() + math.log(2.0 * math.pi)
        return log_volume - 0.5 * squares.sum(dim=-1)

    def divergence(self, posterior: Posterior) -> None:
        """Return None: there is no closed form."""
        return None

    def normalized(self, latents: Tensor) -> Tensor:
        """Return where the flow takes latents of shape (n_rows, n_latents)."""
        return self._mapped(latents)[0]

    def _mapped(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        log_volume = torch.zeros_like(latents[..., 0])
        for layer in self.layers:
            latents, change = layer(latents)
            log_volume = log_volume + change
        return latents, log_volume

    def draw(self, n_rows: int, generator: np.random.Generator) -> NDArray[Any]:
        """Return random latents, of shape (n_rows, n_latents), in float64."""
        drawn = generator.standard_normal((n_rows, self.n_latents))
        latents = torch.from_numpy(drawn)
        with torch.no_grad():
            layers: Any = in_dtype(self, latents.dtype).cpu().layers
            for layer in reversed(layers):
                latents = layer.inverse(latents)
        return to_numpy(latents)
