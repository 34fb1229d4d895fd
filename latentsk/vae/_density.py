"""What latent coordinates of all rows may follow: the abstract classes of priors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsk.vae._posterior import Posterior


class Density(ABC):
    """A distribution of latent coordinates (abstract)."""

    @abstractmethod
    def log_density(self, latents: Tensor) -> Tensor:
        """Return the log-density of latents, in nats.

        Parameters
        ----------
        latents : Tensor of shape (..., n_latents)

        Returns
        -------
        densities : Tensor of shape (...)
        """

    @abstractmethod
    def divergence(self, posterior: Posterior) -> Tensor | None:
        """Return the KL divergence of posteriors from it, in closed form.

        Parameters
        ----------
        posterior : Posterior
            Of n_rows rows.

        Returns
        -------
        divergences : Tensor of shape (n_rows, n_latents) or None
            In nats, for each latent dimension; None where there is no closed form, and
            samples estimate it.
        """

    @abstractmethod
    def draw(self, n_rows: int, generator: np.random.Generator) -> NDArray[Any]:
        """Return random latents, of shape (n_rows, n_latents), in float64."""


class NormalizedDensity(Density):
    """A distribution with a map under which it is standard normal (abstract).

    The map is a bijection: divergences are the same on either side.
    """

    @abstractmethod
    def normalized(self, latents: Tensor) -> Tensor:
        """Return where the map takes latents of shape (n_rows, n_latents)."""


class Prior(nn.Module, Density):
    """A distribution of latent coordinates (abstract).

    A module: what it learns are its parameters, which are trained with the network,
    and saved with it. Its constructor takes the number of latent dimensions.
    """
