"""What the coordinates of several levels follow together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsk.vae._density import Density, NormalizedDensity
from latentsk.vae._posterior import Posterior, standard_divergence


class LevelsDensity(NormalizedDensity):
    """Standard normal coordinates, and behind them those of the top level.

    Parameters
    ----------
    top : Density
        Of the coordinates of the top level.

    n_lower : int
        Number of coordinates of the levels below.
    """

    def __init__(self, top: Density, n_lower: int) -> None:
        self.top = top
        self.n_lower = n_lower

    def log_density(self, latents: Tensor) -> Tensor:
        """Return the log-density of latents, in nats."""
        lower, upper = latents[..., : self.n_lower], latents[..., self.n_lower :]
        squares = lower.square() + math.log(2.0 * math.pi)
        return self.top.log_density(upper) - 0.5 * squares.sum(dim=-1)

    def parts(self, posterior: Posterior) -> tuple[Posterior, Posterior]:
        """Return the lower levels' posterior, and the top's."""
        lower, upper = slice(self.n_lower), slice(self.n_lower, None)
        return (
            Posterior(*(moment[..., lower] for moment in posterior)),
            Posterior(*(moment[..., upper] for moment in posterior)),
        )

    def divergence(self, posterior: Posterior) -> Tensor | None:
        """Return the divergences of all coordinates, if the top's has a closed form."""
        lower, upper = self.parts(posterior)
        divergences = self.top.divergence(upper)
        if divergences is None:
            return None
        return torch.cat([standard_divergence(lower), divergences], dim=-1)

    def normalized(self, latents: Tensor) -> Tensor:
        """Return latents with those of the top where its map takes them."""
        if not isinstance(self.top, NormalizedDensity):
            return latents
        lower, upper = latents[..., : self.n_lower], latents[..., self.n_lower :]
        mapped = self.top.normalized(upper)
        return torch.cat([lower.to(mapped), mapped], dim=-1)

    def draw(self, n_rows: int, generator: np.random.Generator) -> NDArray[Any]:
        """Return random latents, of shape (n_rows, n_latents), in float64."""
        upper = self.top.draw(n_rows, generator)
        return np.hstack([generator.standard_normal((n_rows, self.n_lower)), upper])
