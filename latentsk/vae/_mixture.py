"""Mixtures of normal distributions with independent coordinates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsk._device import to_numpy
from latentsk.vae._density import NormalizedDensity
from latentsk.vae._posterior import Posterior

LOG_TWO_PI = math.log(2.0 * math.pi)


class GaussianMixture(NormalizedDensity):
    """A mixture of normal distributions, each with independent coordinates.

    Distances are computed in float64: by matrix products, which many components need,
    they lose digits.

    Parameters
    ----------
    log_weights : Tensor of shape (n_components,)
        Their exponentials sum to one.

    means, log_variances : Tensor of shape (n_components, n_latents)

    Examples
    --------
    >>> zeros = torch.zeros(2, 1)
    >>> means = torch.tensor([[-2.0], [2.0]])
    >>> mixture = GaussianMixture(torch.tensor([0.25, 0.75]).log(), means, zeros)
    >>> mixture.log_density(torch.tensor([[2.0]]))
    tensor([-1.2065])
    >>> mixture.responsibilities(torch.tensor([[0.0]]))
    tensor([[0.2500, 0.7500]])
    """

    def __init__(
        self, log_weights: Tensor, means: Tensor, log_variances: Tensor
    ) -> None:
        self.log_weights = log_weights.double()
        self.means = means.double()
        self.log_variances = log_variances.double()
        precisions = torch.exp(-self.log_variances)
        linear = self.means * precisions
        # Of the squares of latents, and of latents.
        self._slopes = torch.cat([-0.5 * precisions, linear], dim=1).T
        squares = (self.means * linear + self.log_variances + LOG_TWO_PI).sum(dim=1)
        self._constants = self.log_weights - 0.5 * squares

    def joint(self, latents: Tensor) -> Tensor:
        """Return ``log(weight * density)`` for each component.

        Parameters
        ----------
        latents : Tensor of shape (..., n_latents)

        Returns
        -------
        densities : Tensor of shape (..., n_components), dtype float64
        """
        latents = latents.double()
        powers = torch.cat([latents * latents, latents], dim=-1)
        return powers @ self._slopes + self._constants

    def log_density(self, latents: Tensor) -> Tensor:
        """Return the log-density of latents, in nats."""
        return torch.logsumexp(self.joint(latents), dim=-1).to(latents.dtype)

    def responsibilities(self, latents: Tensor) -> Tensor:
        """Return the probability of each component given latents, in their dtype."""
        return torch.softmax(self.joint(latents), dim=-1).to(latents.dtype)

    def divergence(self, posterior: Posterior) -> None:
        """Return None: there is no closed form."""
        return None

    def marginal_log_density(self, latents: Tensor) -> Tensor:
        """Return the log-density of each coordinate by itself.

        Parameters
        ----------
        latents : Tensor of shape (n_rows, n_latents)

        Returns
        -------
        densities : Tensor of shape (n_rows, n_latents), dtype float64
        """
        parts = self._standardized(latents).square().neg_().sub_(LOG_TWO_PI)
        parts = 0.5 * parts.sub_(self.log_variances)
        return torch.logsumexp(parts + self.log_weights[:, None], dim=1)

    def normalized(self, latents: Tensor) -> Tensor:
        """Return latents as coordinates that are standard normal for the mixture.

        Each coordinate goes through its distribution function, given those before it
        (Rosenblatt, 1952), and from there to the normal quantile.

        Parameters
        ----------
        latents : Tensor of shape (n_rows, n_latents)

        Returns
        -------
        coordinates : Tensor of shape (n_rows, n_latents), dtype float64
        """
        places = self._standardized(latents)
        densities = -0.5 * (places.square() + self.log_variances + LOG_TWO_PI)
        # Of the components, given the coordinates so far.
        before = torch.cumsum(densities, dim=2) - densities
        log_shares = torch.log_softmax(before + self.log_weights[:, None], dim=1)
        shares = torch.exp(log_shares)
        # Not ndtr, which has no digits in its tails.
        ends = places * math.sqrt(0.5)
        below = 0.5 * (shares * torch.special.erfc(-ends)).sum(dim=1)
        above = 0.5 * (shares * torch.special.erfc(ends)).sum(dim=1)
        # Of the smaller tail, whose digits are all there.
        tail = torch.minimum(below, above)
        size = -torch.special.ndtri(tail)
        # Where that is zero, in the tail of the nearest component.
        far = torch.sqrt((places.square() - 2.0 * log_shares).amin(dim=1))
        size = torch.where(tail < torch.finfo(tail.dtype).tiny, far, size)
        return torch.where(below < above, -size, size)

    def _standardized(self, latents: Tensor) -> Tensor:
        """Return latents in units of each component, of shape (rows, k, latents)."""
        scales = torch.exp(0.5 * self.log_variances)
        return (latents.double()[:, None] - self.means) / scales

    def draw(self, n_rows: int, generator: np.random.Generator) -> NDArray[Any]:
        """Return random latents, of shape (n_rows, n_latents), in float64."""
        weights = to_numpy(self.log_weights.detach().exp())
        chosen = generator.choice(len(weights), n_rows, p=weights / weights.sum())
        return self.draw_from(chosen, generator)

    def draw_from(
        self, components: NDArray[np.int64], generator: np.random.Generator
    ) -> NDArray[Any]:
        """Return a random latent vector of each of some components, in float64."""
        means = to_numpy(self.means.detach())
        scales = to_numpy(torch.exp(0.5 * self.log_variances.detach()))
        noise = generator.standard_normal((len(components), means.shape[1]))
        return means[components] + scales[components] * noise
