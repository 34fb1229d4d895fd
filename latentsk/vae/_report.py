"""What the dimensions of a variational latent space carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsk._typing import Float64
from latentsk.vae._bounds import kl_divergence
from latentsk.vae._density import Density, NormalizedDensity
from latentsk.vae._estimates import balanced_noise
from latentsk.vae._mixture import LOG_TWO_PI, GaussianMixture
from latentsk.vae._posterior import Posterior
from latentsk.vae._priors import StandardNormal

# Variance of the posterior mean from which a latent dimension counts as active
# (Burda et al., 2016).
MIN_ACTIVE_VARIANCE = 0.01
# Of what has no closed form: samples per row, samples of the aggregate, their seed.
N_SAMPLES = 64
N_DRAWS, MIN_DRAWS = 8_192, 2_048
SEED = 0
# Values for all components and dimensions: of all draws, and at a time.
MAX_ELEMENTS, CHUNK_ELEMENTS = 2**26, 2**18
ROWS_AT_A_TIME = 256


def active(means: Float64) -> NDArray[np.bool_]:
    """Tell which latent dimensions are active (Burda et al., 2016).

    Parameters
    ----------
    means : ndarray of shape (n_rows, n_latents)
        Of the posteriors.

    Examples
    --------
    >>> active(np.array([[1.0, 0.1], [-1.0, 0.0]]))
    array([ True, False])
    """
    return means.var(axis=0) > MIN_ACTIVE_VARIANCE


class LatentReport(NamedTuple):
    """What the dimensions of a variational latent space carry.

    Attributes
    ----------
    dimensions : DataFrame
        One row per dimension: "kl", mean divergence of the posterior from the prior in
        nats, from a mixture's marginal distribution of the dimension, and NaN for a
        flow; "mean_variance", the variance of the posterior mean; "active", whether
        that is above 0.01.
    kl : float
        Divergence of all dimensions together, in nats: what a row costs on average.
    n_active : int
        Number of active dimensions.
    distance_from_prior : float
        Divergence from the prior, in nats, of the normal distribution that has the mean
        and covariance of the aggregate posterior; 0 where latents drawn from the prior
        are like those of rows. Where the prior is another one than the standard normal,
        a bijection takes samples of the posteriors to where it is standard normal,
        which changes no divergence, and their moments are compared there. But for the
        error of sampling it is at most the divergence of the aggregate posterior.
    """

    dimensions: pd.DataFrame
    kl: float
    n_active: int
    distance_from_prior: float


def report(means: Float64, deviations: Float64, prior: Density) -> LatentReport:
    """Report on posteriors.

    Parameters
    ----------
    means, deviations : ndarray of shape (n_rows, n_latents)
        Of the posteriors of some rows.

    prior : Density
        In float64.

    Examples
    --------
    >>> means = np.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> found = report(means, np.array([[0.1, 1.0], [0.1, 1.0]]), StandardNormal(2))
    >>> found.dimensions.round(2)
         kl  mean_variance  active
    0  2.31            1.0    True
    1  0.00            0.0   False
    >>> found.n_active, round(found.distance_from_prior, 4)
    (1, 0.0)
    """
    posterior = _posterior(means, deviations)
    with torch.no_grad():
        kl, by_dimension = _divergences(posterior, prior)
    is_active = active(means)
    columns = {
        "kl": by_dimension,
        "mean_variance": means.var(axis=0),
        "active": is_active,
    }
    distance = distance_from_prior(means, deviations, prior)
    return LatentReport(pd.DataFrame(columns), kl, int(is_active.sum()), distance)


def _divergences(posterior: Posterior, prior: Density) -> tuple[float, Float64]:
    """Return the mean divergence, and that of each dimension from its marginal."""
    divergences = prior.divergence(posterior)
    if divergences is not None:
        found = divergences.numpy()
        return float(found.sum(axis=1).mean()), found.mean(axis=0)
    n_latents = posterior.mean.shape[1]
    generator = torch.Generator().manual_seed(SEED)
    noise = balanced_noise(N_SAMPLES, n_latents, generator)
    parts = [
        kl_divergence(part.at(noise), part, prior)
        for part in map(Posterior, *(m.split(ROWS_AT_A_TIME) for m in posterior))
    ]
    kl = float(torch.cat(parts).mean())
    if not isinstance(prior, GaussianMixture):
        return kl, np.full(n_latents, np.nan)
    per_row = prior.means.numel()
    marginal = _of_aggregate(prior.marginal_log_density, posterior, per_row)
    entropies = 0.5 * (posterior.log_variance + 1.0 + LOG_TWO_PI)
    return kl, -entropies.numpy().mean(axis=0) - marginal.mean(axis=0)


def _of_aggregate(
    function: Callable[[Tensor], Tensor], posterior: Posterior, per_row: int
) -> Float64:
    """Return a function of draws from the mean of all posteriors.

    Of every row as many are drawn, nearly; the function takes some values per row.
    """
    n_draws = min(N_DRAWS, max(MIN_DRAWS, MAX_ELEMENTS // per_row))
    n_rows, n_latents = posterior.mean.shape
    generator = torch.Generator().manual_seed(SEED)
    times = [torch.randperm(n_rows, generator=generator)] * -(-n_draws // n_rows)
    chosen = torch.cat(times)[:n_draws]
    some = Posterior(*(moment[chosen] for moment in posterior))
    drawn = some.at(_noise(n_draws, n_latents))
    parts = drawn.split(max(1, CHUNK_ELEMENTS // per_row))
    return torch.cat(list(map(function, parts))).numpy()


def distance_from_prior(means: Float64, deviations: Float64, prior: Density) -> float:
    """Return the divergence of the normal distribution with the moments of all.

    In closed form from the standard normal distribution, also where a map leads there.
    Else samples estimate by how much the prior's log-density differs from that one's.

    Parameters
    ----------
    means, deviations : ndarray of shape (n_rows, n_latents)
        Of the posteriors of some rows.

    prior : Density
        In float64.

    Examples
    --------
    >>> means, deviations = np.array([[2.0], [-2.0]]), np.zeros((2, 1)) + 1e-9
    >>> round(distance_from_prior(means, deviations, StandardNormal(1)), 4)
    0.8069
    """
    if isinstance(prior, NormalizedDensity):
        per_row = prior.means.numel() if isinstance(prior, GaussianMixture) else 1
        with torch.no_grad():
            posterior = _posterior(means, deviations)
            coordinates = _of_aggregate(prior.normalized, posterior, per_row)
        return from_standard_normal(*joint_moments(coordinates, 0.0))
    centre, covariance = joint_moments(means, np.square(deviations))
    closed = from_standard_normal(centre, covariance)
    if isinstance(prior, StandardNormal):
        return closed
    root = torch.from_numpy(np.linalg.cholesky(covariance))
    latents = torch.from_numpy(centre) + _noise(N_DRAWS, len(centre)) @ root.T
    normal = StandardNormal(len(centre))
    with torch.no_grad():
        difference = prior.log_density(latents) - normal.log_density(latents)
    return float(closed - difference.mean())


def _posterior(means: Float64, deviations: Float64) -> Posterior:
    return Posterior(*map(torch.from_numpy, (means, 2.0 * np.log(deviations))))


def joint_moments(
    means: Float64, variances: Float64 | float
) -> tuple[Float64, Float64]:
    """Return mean and covariance of all rows, of which each has variances."""
    covariance = np.atleast_2d(np.cov(means, rowvar=False, bias=True))
    more = np.broadcast_to(variances, means.shape).mean(axis=0)
    return means.mean(axis=0), covariance + np.diag(more)


def from_standard_normal(centre: Float64, covariance: Float64) -> float:
    """Return the divergence of a normal distribution from the standard one."""
    _, log_determinant = np.linalg.slogdet(covariance)
    squares = np.trace(covariance) + centre @ centre
    return float(0.5 * (squares - len(centre) - log_determinant))


def _noise(n_rows: int, n_latents: int) -> Tensor:
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(n_rows, n_latents, generator=generator, dtype=torch.float64)
