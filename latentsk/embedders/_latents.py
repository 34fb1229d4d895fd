"""Paths through a latent space, and what its dimensions carry."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

# Variance of the posterior mean from which a latent dimension counts as active
# (Burda et al., 2016).
MIN_ACTIVE_VARIANCE = 0.01
# Sine of the angle below which directions are taken for parallel.
_PARALLEL = 1e-6

Float64 = NDArray[np.float64]


def linear_path(start: ArrayLike, end: ArrayLike, n_steps: int) -> Float64:
    """Return points on the straight line between two points, both included.

    Parameters
    ----------
    start, end : array-like of shape (n_latents,)

    n_steps : int
        Points, at least 2.

    Returns
    -------
    path : ndarray of shape (n_steps, n_latents)

    Examples
    --------
    >>> linear_path([1.2, -0.5], [-0.8, 1.1], 5)
    array([[ 1.2, -0.5],
           [ 0.7, -0.1],
           [ 0.2,  0.3],
           [-0.3,  0.7],
           [-0.8,  1.1]])
    """
    share = np.linspace(0.0, 1.0, n_steps)[:, None]
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    return (1.0 - share) * start + share * end


def spherical_path(start: ArrayLike, end: ArrayLike, n_steps: int) -> Float64:
    """Return points on the arc between two points, both included.

    ``sin((1 - t) a) / sin(a) * start + sin(t a) / sin(a) * end`` for the angle ``a``
    between the two (Shoemake, 1985). In a space with a normal prior it stays where the
    prior has its mass. Points in one direction, or opposite ones, are joined by a line.

    Parameters
    ----------
    start, end : array-like of shape (n_latents,)

    n_steps : int
        Points, at least 2.

    Returns
    -------
    path : ndarray of shape (n_steps, n_latents)

    Examples
    --------
    >>> spherical_path([1.0, 0.0], [0.0, 1.0], 3).round(3)
    array([[1.   , 0.   ],
           [0.707, 0.707],
           [0.   , 1.   ]])
    """
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    lengths = np.linalg.norm(start) * np.linalg.norm(end)
    cosine = np.clip(start @ end / lengths, -1.0, 1.0) if lengths else 1.0
    angle = np.arccos(cosine)
    if np.sin(angle) < _PARALLEL:
        return linear_path(start, end, n_steps)
    share = np.linspace(0.0, 1.0, n_steps)[:, None]
    before, after = np.sin((1.0 - share) * angle), np.sin(share * angle)
    return (before * start + after * end) / np.sin(angle)


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
    spread = means.var(axis=0)
    active = spread > MIN_ACTIVE_VARIANCE
    return LatentReport(
        pd.DataFrame({"kl": per_dimension, "mean_variance": spread, "active": active}),
        float(per_dimension.sum()),
        int(active.sum()),
        _distance_from_prior(means, variances),
    )


def _distance_from_prior(means: Float64, variances: Float64) -> float:
    centre = means.mean(axis=0)
    covariance = np.atleast_2d(np.cov(means, rowvar=False, bias=True))
    covariance = covariance + np.diag(variances.mean(axis=0))
    _, log_determinant = np.linalg.slogdet(covariance)
    squares = np.trace(covariance) + centre @ centre
    return float(0.5 * (squares - len(centre) - log_determinant))
