"""What the dimensions of a variational latent space carry."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk._typing import Float64

# Variance of the posterior mean from which a latent dimension counts as active
# (Burda et al., 2016).
MIN_ACTIVE_VARIANCE = 0.01


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
        nats; "mean_variance", the variance of the posterior mean; "active", whether
        that is above 0.01.
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


def report(means: Float64, deviations: Float64) -> LatentReport:
    """Report on posteriors.

    Parameters
    ----------
    means, deviations : ndarray of shape (n_rows, n_latents)
        Of the posteriors of some rows.

    Examples
    --------
    >>> means = np.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> found = report(means, np.array([[0.1, 1.0], [0.1, 1.0]]))
    >>> found.dimensions.round(2)
         kl  mean_variance  active
    0  2.31            1.0    True
    1  0.00            0.0   False
    >>> found.n_active, round(found.distance_from_prior, 4)
    (1, 0.0)
    """
    variances = np.square(deviations)
    divergences = 0.5 * (np.square(means) + variances - 1.0 - np.log(variances))
    per_dimension = divergences.mean(axis=0)
    is_active = active(means)
    columns = {
        "kl": per_dimension,
        "mean_variance": means.var(axis=0),
        "active": is_active,
    }
    return LatentReport(
        pd.DataFrame(columns),
        float(per_dimension.sum()),
        int(is_active.sum()),
        _distance_from_prior(means, variances),
    )


def _distance_from_prior(means: Float64, variances: Float64) -> float:
    centre = means.mean(axis=0)
    covariance = np.atleast_2d(np.cov(means, rowvar=False, bias=True))
    covariance = covariance + np.diag(variances.mean(axis=0))
    _, log_determinant = np.linalg.slogdet(covariance)
    squares = np.trace(covariance) + centre @ centre
    return float(0.5 * (squares - len(centre) - log_determinant))
