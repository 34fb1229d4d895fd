"""Bounds on the log-likelihood as plain functions, in nats."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentsk.modules.vae import Posterior


def kl_divergence(posterior: Posterior) -> Tensor:
    """Return the divergence of each latent's posterior from the standard normal prior.

    ``(mean**2 + variance - 1 - log variance) / 2``.

    Parameters
    ----------
    posterior : Posterior
        Of n_rows rows and n_latents coordinates.

    Returns
    -------
    divergences : Tensor of shape (n_rows, n_latents)
        At least 0.

    Examples
    --------
    >>> posterior = Posterior(torch.tensor([[0.5]]), 2 * torch.tensor([[0.8]]).log())
    >>> kl_divergence(posterior)
    tensor([[0.1681]])
    """
    mean, log_variance = posterior
    # expm1 keeps the digits of variances near one.
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance)


def elbo(log_densities: Tensor, divergence: Tensor) -> Tensor:
    """Return the evidence lower bound of each row.

    Parameters
    ----------
    log_densities : Tensor of shape (n_samples, n_rows)
        Of the rows given samples from their posteriors.

    divergence : Tensor of shape (n_rows,)
        Of the posteriors from the prior, summed over latents.

    Examples
    --------
    >>> elbo(torch.tensor([[-0.3]]), torch.tensor([0.168]))
    tensor([-0.4680])
    """
    return log_densities.mean(dim=0) - divergence


def log_importance_weights(
    log_densities: Tensor, latents: Tensor, posterior: Posterior
) -> Tensor:
    """Return the log-weights ``log p(x | z) + log p(z) - log q(z | x)``.

    Parameters
    ----------
    log_densities : Tensor of shape (n_samples, n_rows)

    latents : Tensor of shape (n_samples, n_rows, n_latents)

    posterior : Posterior

    Returns
    -------
    log_weights : Tensor of shape (n_samples, n_rows)

    Examples
    --------
    >>> prior = Posterior(torch.zeros(1, 2), torch.zeros(1, 2))
    >>> log_importance_weights(torch.tensor([[-3.0]]), torch.ones(1, 1, 2), prior)
    tensor([[-3.0000]])
    """
    squares = latents.square() + math.log(2.0 * math.pi)
    log_prior = -0.5 * squares.sum(dim=-1)
    return log_densities + log_prior - posterior.log_density(latents)


def iwae(log_weights: Tensor) -> Tensor:
    """Return the importance-weighted bound of each row (Burda et al., 2016).

    Its expected value does not fall as samples are added; with one it is the ELBO's.

    Parameters
    ----------
    log_weights : Tensor of shape (n_samples, n_rows)

    Examples
    --------
    >>> iwae(torch.log(torch.tensor([[1.0], [3.0]])))
    tensor([0.6931])
    """
    return torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))


def with_free_bits(divergences: Tensor, free_nats: float) -> Tensor:
    """Return each row's divergence, of which every latent has some for free.

    A latent whose divergence, averaged over the batch, lies below `free_nats` counts as
    that constant and is not pressed further (Kingma et al., 2016).

    Parameters
    ----------
    divergences : Tensor of shape (n_rows, n_latents)

    free_nats : float
        Per latent.

    Returns
    -------
    divergence : Tensor of shape (n_rows,)

    Examples
    --------
    >>> with_free_bits(torch.tensor([[0.1, 2.0], [0.3, 4.0]]), 0.5)
    tensor([2.5000, 4.5000])
    """
    spared = divergences.mean(dim=0, keepdim=True) < free_nats
    free = torch.full_like(divergences, free_nats)
    return torch.where(spared, free, divergences).sum(dim=-1)
