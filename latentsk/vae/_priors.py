"""Priors: distributions that the latent coordinates of all rows follow together."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsk.vae._posterior import Posterior


class Prior(nn.Module, ABC):
    """A distribution of latent coordinates (abstract).

    A module: what it learns are its parameters, which are trained with the network,
    and saved with it. Its constructor takes the number of latent dimensions.
    """

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
        """Return the KL divergence of posteriors from the prior, in closed form.

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


class StandardNormal(Prior):
    """Independent standard normal coordinates (Kingma & Welling, 2014).

    Parameters
    ----------
    n_latents : int, default=1

    Examples
    --------
    >>> prior = StandardNormal(1)
    >>> prior.log_density(torch.zeros(1, 1))
    tensor([-0.9189])
    >>> log_variance = 2 * torch.tensor([[0.8]]).log()
    >>> prior.divergence(Posterior(torch.tensor([[0.5]]), log_variance))
    tensor([[0.1681]])
    >>> prior.draw(3, np.random.default_rng(0)).shape
    (3, 1)
    """

    def __init__(self, n_latents: int = 1) -> None:
        super().__init__()
        self.n_latents = n_latents

    def log_density(self, latents: Tensor) -> Tensor:
        """Return the log-density of latents, in nats."""
        squares = latents.square() + math.log(2.0 * math.pi)
        return -0.5 * squares.sum(dim=-1)

    def divergence(self, posterior: Posterior) -> Tensor:
        """Return ``(mean**2 + variance - 1 - log variance) / 2``, at least 0."""
        mean, log_variance = posterior
        # expm1 keeps the digits of variances near one.
        return 0.5 * (mean * mean + torch.expm1(log_variance) - log_variance)

    def draw(self, n_rows: int, generator: np.random.Generator) -> NDArray[Any]:
        """Return random latents, of shape (n_rows, n_latents), in float64."""
        return generator.standard_normal((n_rows, self.n_latents))


# By the names that a parameter `prior` takes.
PRIORS: dict[str, type[Prior]] = {"normal": StandardNormal}
