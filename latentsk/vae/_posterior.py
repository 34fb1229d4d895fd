"""Posteriors of latent coordinates: independent normal distributions."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

# Posterior log-variances are bounded, smoothly, to this on both sides.
MAX_LOG_VARIANCE = 10.0


class Posterior(NamedTuple):
    """Independent normal distributions of the latent coordinates.

    Attributes
    ----------
    mean, log_variance : Tensor of shape (n_rows, n_latents)
    """

    mean: Tensor
    log_variance: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """Return latents for standard normal noise (Kingma & Welling, 2014).

        Parameters
        ----------
        noise : Tensor of shape (..., n_rows or 1, n_latents)

        Returns
        -------
        latents : Tensor of shape (..., n_rows, n_latents)

        Examples
        --------
        >>> log_variance = 2 * torch.tensor([[0.8]]).log()
        >>> posterior = Posterior(torch.tensor([[0.5]]), log_variance)
        >>> posterior.at(torch.tensor([[1.2]]))
        tensor([[1.4600]])
        """
        return torch.addcmul(self.mean, torch.exp(0.5 * self.log_variance), noise)

    def log_density(self, latents: Tensor) -> Tensor:
        """Return the log-density of latents, summed over them, in nats."""
        squares = (latents - self.mean).square() * torch.exp(-self.log_variance)
        terms = squares + self.log_variance + math.log(2.0 * math.pi)
        return -0.5 * terms.sum(dim=-1)

    def entropy(self) -> Tensor:
        """Return the entropy of each row's distribution, in nats."""
        terms = self.log_variance + (1.0 + math.log(2.0 * math.pi))
        return 0.5 * terms.sum(dim=-1)


def bounded(raw: Tensor) -> Tensor:
    """Bound log-variances smoothly; near zero nothing changes.

    Examples
    --------
    >>> bounded(torch.tensor([-1e6, 0.0, 0.1, 1e6]))
    tensor([-10.0000,   0.0000,   0.1000,  10.0000])
    """
    return MAX_LOG_VARIANCE * torch.tanh(raw / MAX_LOG_VARIANCE)
