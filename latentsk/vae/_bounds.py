"""Bounds on the log-likelihood as plain functions, in nats."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from latentsk.vae._density import Density
from latentsk.vae._levels_density import LevelsDensity
from latentsk.vae._posterior import Posterior, standard_divergence

# Of the cyclical warm-up.
N_CYCLES = 4
# Shares of a cycle below this are rounding errors.
_ROUNDING = 1e-6


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


def log_ratios(latents: Tensor, posterior: Posterior, prior: Density) -> Tensor:
    """Return ``log p(z) - log q(z | x)``.

    With ``log p(x | z)`` they make the logarithms of the importance weights.

    Parameters
    ----------
    latents : Tensor of shape (n_samples, n_rows, n_latents)

    posterior : Posterior

    prior : Density

    Returns
    -------
    ratios : Tensor of shape (n_samples, n_rows)

    Examples
    --------
    >>> from latentsk.vae._priors import StandardNormal
    >>> posterior = Posterior(torch.ones(1, 1), torch.zeros(1, 1))
    >>> log_ratios(torch.ones(1, 1, 1), posterior, StandardNormal())
    tensor([[-0.5000]])
    """
    return prior.log_density(latents) - posterior.log_density(latents)


def kl_divergence(latents: Tensor, posterior: Posterior, prior: Density) -> Tensor:
    """Return the divergence of each row's posterior from the prior.

    Parameters
    ----------
    latents : Tensor of shape (n_samples, n_rows, n_latents) or (n_rows, n_latents)
        Samples of the posteriors. Where there is no closed form they estimate the mean
        of the prior's log-density; such a divergence can be negative.

    posterior : Posterior

    prior : Density

    Returns
    -------
    divergences : Tensor of shape (n_rows, n_latents) or (n_rows, 1)
        Of each latent dimension, or of all together where it is estimated.

    Examples
    --------
    >>> from latentsk.vae._priors import StandardNormal
    >>> posterior = Posterior(torch.ones(1, 1), torch.zeros(1, 1))
    >>> kl_divergence(torch.ones(1, 1, 1), posterior, StandardNormal())
    tensor([[0.5000]])
    """
    divergences = prior.divergence(posterior)
    if divergences is not None:
        return _over_samples(divergences, 2)
    if isinstance(prior, LevelsDensity):
        (lower, upper), n_lower = prior.parts(posterior), prior.n_lower
        closed = _over_samples(standard_divergence(lower), 2)
        estimate = kl_divergence(latents[..., n_lower:], upper, prior.top)
        n_upper = upper.mean.shape[-1]
        shares = (estimate / n_upper).expand(-1, n_upper)
        return torch.cat([closed, shares], dim=1)
    cross = _over_samples(prior.log_density(latents), 1)
    return -(_over_samples(posterior.entropy(), 1) + cross)[:, None]


def _over_samples(values: Tensor, n_axes: int) -> Tensor:
    """Return means over what lies before so many axes."""
    if values.ndim == n_axes:
        return values
    return values.flatten(0, -n_axes - 1).mean(dim=0)


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
    warm_up : float in [0, 1]
        Share of the training over which the weight rises from 0 to `beta`, or the
        capacity from 0.
    schedule : {"linear", "cosine", "cyclical"}
        How it rises.
    """

    importance_weighted: bool = False
    doubly_reparameterized: bool = False
    beta: float = 1.0
    free_nats: float = 0.0
    capacity: float | None = None
    warm_up: float = 0.0
    schedule: str = "linear"


def _linear(share: Tensor) -> Tensor:
    return share


def _cosine(share: Tensor) -> Tensor:
    return 0.5 - 0.5 * torch.cos(math.pi * share)


def _cyclical(share: Tensor) -> Tensor:
    # Half of every cycle rises, half stays.
    cycles = N_CYCLES * share + _ROUNDING
    return (2.0 * (cycles.frac() - _ROUNDING)).clamp(0.0, 1.0)


WARM_UPS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": _linear,
    "cosine": _cosine,
    "cyclical": _cyclical,
}


def warm_up(
    progress: Tensor, duration: float, schedule: str = "linear"
) -> Tensor | float:
    """Return a weight in [0, 1] that is 0 at first, and 1 after the warm-up.

    Parameters
    ----------
    progress : Tensor
        Share of the training that is done.

    duration : float in [0, 1]
        Share of the training that the warm-up takes.

    schedule : {"linear", "cosine", "cyclical"}, default="linear"
        How it rises: at one speed, slowly at first and at last, or four times from 0,
        each time over half of the cycle (Fu et al., 2019).

    Examples
    --------
    >>> progress = torch.tensor([0.0, 0.25, 0.5, 1.0])
    >>> warm_up(progress, 0.5)
    tensor([0.0000, 0.5000, 1.0000, 1.0000])
    >>> warm_up(torch.tensor([0.0, 0.125, 0.25, 0.5]), 0.5, "cosine")
    tensor([0.0000, 0.1464, 0.5000, 1.0000])
    >>> steps = torch.tensor([0.0, 2.0, 4.0, 7.0, 8.0, 10.0, 32.0])
    >>> warm_up(steps / 32, 1.0, "cyclical").round(decimals=3)
    tensor([0.0000, 0.5000, 1.0000, 1.0000, 0.0000, 0.5000, 1.0000])
    """
    if not duration:
        return 1.0
    share = progress / duration
    return torch.where(share >= 1.0, 1.0, WARM_UPS[schedule](share))


def divergence_cost(
    divergences: Tensor,
    weight: Tensor | float,
    settings: BoundSettings,
    n_latents: int = 1,
) -> tuple[Tensor, Tensor]:
    """Return the divergence of each row, and what it costs.

    - ``weight * beta`` times the divergence, of which a latent whose mean over the
      batch lies below `free_nats` counts as that and is not pressed further (Kingma et
      al., 2016);
    - with a capacity C, ``beta * abs(mean divergence - weight * C)``, on average over
      the batch (Burgess et al., 2018).

    Parameters
    ----------
    divergences : Tensor of shape (n_rows, n_latents) or (n_rows, 1)
        Of each latent dimension, or of all together.

    weight : Tensor of shape (), or float
        In [0, 1], from :func:`warm_up`.

    settings : BoundSettings

    n_latents : int, default=1
        Number of latent dimensions: all together have `free_nats` as often.

    Returns
    -------
    sums, costs : Tensor of shape (n_rows,)

    Examples
    --------
    >>> divergences, one = torch.tensor([[0.1, 2.0], [0.3, 4.0]]), torch.tensor(1.0)
    >>> divergence_cost(divergences, one, BoundSettings(free_nats=0.5))
    (tensor([2.1000, 4.3000]), tensor([2.5000, 4.5000]))
    >>> divergence_cost(divergences[:, :1], one, BoundSettings(free_nats=0.5), 2)
    (tensor([0.1000, 0.3000]), tensor([1., 1.]))
    >>> divergence_cost(divergences, 0.5 * one, BoundSettings(beta=2.0, capacity=5.0))
    (tensor([2.1000, 4.3000]), tensor([-0.8000,  3.6000]))
    """
    total = counted = divergences.sum(dim=1)
    if settings.capacity is not None:
        aim = weight * settings.capacity
        sign = torch.sign(total.detach().mean() - aim)
        return total, settings.beta * sign * (total - aim)
    if settings.free_nats:
        largest = torch.finfo(divergences.dtype).max
        is_estimate = divergences.shape[1] < n_latents
        allowance = settings.free_nats * (n_latents if is_estimate else 1)
        counts = divergences.detach().mean(dim=0) >= allowance
        free = torch.full_like(divergences, min(allowance, largest))
        counted = torch.where(counts, divergences, free).sum(dim=1)
    return total, weight * settings.beta * counted


def doubly_reparameterized_slope(normalized: Tensor, weight: Tensor | float) -> Tensor:
    """Return what the gradient by a sample of the latents is multiplied by.

    Beside its normalized importance weight w. For the importance-weighted bound that is
    w again (Tucker et al., 2019, eq. 8); where the divergence is weighted,
    ``1 - weight * (1 - w)``, by the same derivation.

    Parameters
    ----------
    normalized : Tensor of shape (n_samples, n_rows)
        Importance weights that sum to one over samples.

    weight : Tensor of shape (), or float
        Of the divergence, which multiplies the logarithm of p(z) / q(z | x).

    Examples
    --------
    >>> normalized = torch.tensor([[0.25], [0.75]])
    >>> doubly_reparameterized_slope(normalized, torch.tensor(1.0)).ravel()
    tensor([0.2500, 0.7500])
    """
    return 1.0 - weight * (1.0 - normalized)
