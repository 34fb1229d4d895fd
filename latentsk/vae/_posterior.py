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

    def draw(self, noise: Tensor) -> tuple[Tensor, Posterior]:
        """Return latents, and the distributions that they were drawn from: these."""
        return self.at(noise), self

    def central(self) -> Posterior:
        """Return the distributions themselves: none depends on another one."""
        return self

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


def standard_divergence(posterior: Posterior) -> Tensor:
    """Return the divergence of every coordinate from the standard normal distribution.

    ``(mean**2 + variance - 1 - log variance) / 2``, at least 0, in nats.

    Examples
    --------
    >>> log_variance = 2 * torch.tensor([[0.8]]).log()
    >>> standard_divergence(Posterior(torch.tensor([[0.5]]), log_variance))
    tensor([[0.1681]])
    """
    mean, log_variance = posterior
    # expm1 keeps the digits of variances near one.
    return 0.5 * (mean * mean + torch.expm1(log_variance) - log_variance)
