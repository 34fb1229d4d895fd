"""Bounds on the log-likelihood as plain functions, in nats."""

from __future__ import annotations

import math
from typing import NamedTuple

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


def log_ratios(latents: Tensor, posterior: Posterior) -> Tensor:
    """Return ``log p(z) - log q(z | x)``.

    With ``log p(x | z)`` they make the logarithms of the importance weights.

    Parameters
    ----------
    latents : Tensor of shape (n_samples, n_rows, n_latents)

    posterior : Posterior

    Returns
    -------
    ratios : Tensor of shape (n_samples, n_rows)

    Examples
    --------
    >>> posterior = Posterior(torch.ones(1, 1), torch.zeros(1, 1))
    >>> log_ratios(torch.ones(1, 1, 1), posterior)
    tensor([[-0.5000]])
    """
    squares = latents.square() + math.log(2.0 * math.pi)
    log_prior = -0.5 * squares.sum(dim=-1)
    return log_prior - posterior.log_density(latents)


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


class BoundSettings(NamedTuple):
    """Which bound a training maximizes.

    Attributes
    ----------
    importance_weighted : bool
        The bound of Burda et al. (2016) instead of the ELBO.
    doubly_reparameterized : bool
        Whether the encoder's gradient of that bound is the one of Tucker et al. (2019),
        whose noise does not drown it as samples are added.
    beta : float
        Weight of the divergence, or of its counterpart in the importance weights.
    free_nats : float
        Divergence per latent that costs nothing. For the ELBO only.
    capacity : float or None
        Divergence that is aimed at. For the ELBO only.
    """

    importance_weighted: bool = False
    doubly_reparameterized: bool = False
    beta: float = 1.0
    free_nats: float = 0.0
    capacity: float | None = None


def penalty(
    divergences: Tensor, kl_weight: Tensor, settings: BoundSettings
) -> tuple[Tensor, Tensor | None]:
    """Return what the divergences cost, as slopes and a constant.

    The cost of a row is ``(slopes * divergences).sum() + constant``:

    - ``kl_weight * beta`` times the divergence, of which a latent whose mean over the
      batch lies below `free_nats` counts as that and is not pressed further (Kingma et
      al., 2016);
    - with a capacity C, ``beta * abs(mean divergence - kl_weight * C)``, on average
      over the batch (Burgess et al., 2018).

    Parameters
    ----------
    divergences : Tensor of shape (n_rows, n_latents)

    kl_weight : Tensor of shape ()
        In [0, 1], from the schedule.

    settings : BoundSettings

    Returns
    -------
    slopes : Tensor of shape (n_latents,)

    constant : Tensor of shape () or None
        None is zero.

    Examples
    --------
    >>> divergences = torch.tensor([[0.1, 2.0], [0.3, 4.0]])
    >>> penalty(divergences, torch.tensor(1.0), BoundSettings(free_nats=0.5))
    (tensor([0., 1.]), tensor(0.5000))
    >>> penalty(divergences, torch.tensor(0.5), BoundSettings(beta=2.0, capacity=5.0))
    (tensor([2., 2.]), tensor(-5.))
    """
    if settings.capacity is None and not settings.free_nats:
        return (kl_weight * settings.beta).expand(divergences.shape[1]), None
    means = divergences.detach().mean(dim=0)
    if settings.capacity is not None:
        aim = kl_weight * settings.capacity
        slope = settings.beta * torch.sign(means.sum() - aim)
        return slope.expand_as(means), -slope * aim
    weight = kl_weight * settings.beta
    counted = (means >= settings.free_nats).to(means.dtype)
    return weight * counted, weight * settings.free_nats * (1.0 - counted).sum()


def elbo_loss(
    log_densities: Tensor,
    divergences: Tensor,
    kl_weight: Tensor,
    settings: BoundSettings,
) -> Tensor:
    """Return minus the ELBO of each row, with its divergence weighted as is set.

    Parameters
    ----------
    log_densities : Tensor of shape (n_samples, n_rows)

    divergences : Tensor of shape (n_rows, n_latents)

    kl_weight : Tensor of shape ()

    settings : BoundSettings

    Returns
    -------
    losses : Tensor of shape (n_rows,)

    Examples
    --------
    >>> density, divergence = torch.tensor([[-0.3]]), torch.tensor([[0.168]])
    >>> elbo_loss(density, divergence, torch.tensor(0.5), BoundSettings())
    tensor([0.3840])
    """
    slopes, constant = penalty(divergences, kl_weight, settings)
    cost = (slopes * divergences).sum(dim=1)
    return -elbo(log_densities, cost if constant is None else cost + constant)


def doubly_reparameterized_slope(normalized: Tensor, weight: Tensor) -> Tensor:
    """Return what the gradient by a sample of the latents is multiplied by.

    Beside its normalized importance weight w. For the importance-weighted bound that is
    w again (Tucker et al., 2019, eq. 8); where the divergence is weighted,
    ``1 - weight * (1 - w)``, by the same derivation.

    Parameters
    ----------
    normalized : Tensor of shape (n_samples, n_rows)
        Importance weights that sum to one over samples.

    weight : Tensor of shape ()
        Of the divergence, which multiplies the logarithm of p(z) / q(z | x).

    Examples
    --------
    >>> normalized = torch.tensor([[0.25], [0.75]])
    >>> doubly_reparameterized_slope(normalized, torch.tensor(1.0)).ravel()
    tensor([0.2500, 0.7500])
    """
    return 1.0 - weight * (1.0 - normalized)
