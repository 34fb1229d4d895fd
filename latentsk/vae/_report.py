"""What the dimensions of a variational latent space carry."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsk._typing import Float64
from latentsk.vae._bounds import kl_divergence
from latentsk.vae._density import Density
from latentsk.vae._posterior import Posterior
from latentsk.vae._priors import StandardNormal

# Variance of the posterior mean from which a latent dimension counts as active
# (Burda et al., 2016).
MIN_ACTIVE_VARIANCE = 0.01
# Of what has no closed form: samples per row, samples of the aggregate, their seed.
N_SAMPLES = 64
N_DRAWS = 4_096
SEED = 0


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
        nats, NaN where it is no sum over dimensions; "mean_variance", the variance of
        the posterior mean; "active", whether that is above 0.01.
    kl : float
        Sum of the divergences, in nats: what a row costs on average.
    n_active : int
        Number of active dimensions.
    distance_from_prior : float
        Divergence from the prior, in nats, of the normal distribution that has the mean
        and covariance of the aggregate posterior; 0 where latents drawn from the prior
        are like those of rows.
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
    posterior = Posterior(*map(torch.from_numpy, (means, 2.0 * np.log(deviations))))
    with torch.no_grad():
        latents = posterior.at(_noise(N_SAMPLES, means.shape[1])[:, None])
        divergences = kl_divergence(latents, posterior, prior).numpy()
        distance = _distance_from_prior(means, np.square(deviations), prior)
    is_whole = divergences.shape == means.shape
    is_active = active(means)
    columns = {
        "kl": divergences.mean(axis=0) if is_whole else np.full(means.shape[1], np.nan),
        "mean_variance": means.var(axis=0),
        "active": is_active,
    }
    return LatentReport(
        pd.DataFrame(columns),
        float(divergences.sum(axis=1).mean()),
        int(is_active.sum()),
        distance,
    )


def _distance_from_prior(means: Float64, variances: Float64, prior: Density) -> float:
    """Return the divergence of the normal distribution with the moments of all.

    In closed form from the standard normal distribution; samples estimate by how much
    the prior's log-density differs from that one's.
    """
    centre = means.mean(axis=0)
    covariance = np.atleast_2d(np.cov(means, rowvar=False, bias=True))
    covariance = covariance + np.diag(variances.mean(axis=0))
    _, log_determinant = np.linalg.slogdet(covariance)
    squares = np.trace(covariance) + centre @ centre
    closed = 0.5 * (squares - len(centre) - log_determinant)
    root = torch.from_numpy(np.linalg.cholesky(covariance))
    latents = torch.from_numpy(centre) + _noise(N_DRAWS, len(centre)) @ root.T
    normal = StandardNormal(len(centre))
    difference = prior.log_density(latents) - normal.log_density(latents)
    return float(closed - difference.mean())


def _noise(n_rows: int, n_latents: int) -> Tensor:
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(n_rows, n_latents, generator=generator, dtype=torch.float64)
