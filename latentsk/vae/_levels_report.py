"""What every level of a hierarchical latent space carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from latentsk.vae._network import VAE
from latentsk.vae._report import (
    N_DRAWS,
    N_SAMPLES,
    SEED,
    active,
    from_standard_normal,
    joint_moments,
)


class LevelsReport(NamedTuple):
    """What the levels and the dimensions of a hierarchical latent space carry.

    Attributes
    ----------
    levels : DataFrame
        One row per level, from 1 next to the data to the top: "n_components", its
        dimensions; "n_active", those in use; "kl", mean divergence from the level's
        prior given the level above, in nats.
    dimensions : DataFrame
        One row per dimension, by its name: "level"; "kl", its part of that divergence
        (of a top level with a learned prior all dimensions have the same part);
        "mean_variance", the variance of what `transform` returns; "active", whether
        that is above 0.01.
    kl : float
        Divergence of all levels together, in nats: what a row costs on average.
    n_active : int
        Number of active dimensions.
    distance_from_prior : float
        Divergence from the prior, in nats, of the normal distribution that has the mean
        and covariance of the aggregate posterior, estimated from draws; 0 where latents
        drawn from the prior are like those of rows.
    """

    levels: pd.DataFrame
    dimensions: pd.DataFrame
    kl: float
    n_active: int
    distance_from_prior: float


def report_levels(
    widths: Sequence[int],
    names: Sequence[str],
    means: Float64,
    divergences: Float64,
    distance: float,
) -> LevelsReport:
    """Report on posteriors.

    Parameters
    ----------
    widths : sequence of int
        Latent dimensions of each level, from the lowest.

    names : sequence of str
        Of the dimensions.

    means, divergences : ndarray of shape (n_rows, n_latents)
        Of the posteriors of some rows.

    distance : float
        That of the aggregate posterior from the prior.

    Examples
    --------
    >>> means, kl = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[2.0, 0.1]] * 2)
    >>> found = report_levels([1, 1], ["level1_0", "level2_0"], means, kl, 0.0)
    >>> found.levels
           n_components  n_active   kl
    level
    1                 1         1  2.0
    2                 1         0  0.1
    """
    dimensions = pd.DataFrame(
        {
            "level": np.repeat(np.arange(1, len(widths) + 1), widths),
            "kl": divergences.mean(axis=0),
            "mean_variance": means.var(axis=0),
            "active": active(means),
        },
        index=list(names),
    )
    by_level = dimensions.groupby("level")
    levels = pd.DataFrame(
        {
            "n_components": list(widths),
            "n_active": by_level["active"].sum().astype(int),
            "kl": by_level["kl"].sum(),
        }
    )
    n_active = int(dimensions["active"].sum())
    kl = float(divergences.sum(axis=1).mean())
    return LevelsReport(levels, dimensions, kl, n_active, distance)


def means_and_divergences(network: VAE, rows: Tensor) -> Tensor:
    """Return what is reported of each row, side by side.

    Returns
    -------
    found : Tensor of shape (n_rows, 2 * n_latents)
        Means of the posteriors, and divergences, on average over the levels above.
    """
    posterior = network.encode(rows)
    means = posterior.central().mean
    generator = torch.Generator().manual_seed(SEED)
    noise = balanced_noise(N_SAMPLES, means.shape[1], generator).to(rows)
    divergences = kl_divergence(*posterior.draw(noise), network.density())
    return torch.cat([means, divergences], dim=1)


def draw_of(generator: torch.Generator) -> Callable[[VAE, Tensor], Tensor]:
    """Return the function of a network and rows that draws latents for each of them."""

    def draw(network: VAE, rows: Tensor) -> Tensor:
        posterior = network.encode(rows)
        shape = posterior.central().mean.shape
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        return posterior.draw(noise.to(rows))[0]

    return draw


def rows_to_draw(n_rows: int) -> NDArray[np.int64]:
    """Return the numbers of the rows whose latents make the aggregate posterior.

    Nearly as many of every row.
    """
    generator = np.random.default_rng(SEED)
    times = [generator.permutation(n_rows) for _ in range(-(-N_DRAWS // n_rows))]
    return np.concatenate(times)[:N_DRAWS]


def distance_of_draws(draws: Float64, prior: Density) -> float:
    """Return the divergence of the normal distribution with the moments of draws.

    Parameters
    ----------
    draws : ndarray of shape (n_draws, n_latents)
        From the aggregate posterior.

    prior : LevelsDensity
        In float64.

    Examples
    --------
    >>> from latentsk.vae._levels_density import LevelsDensity
    >>> from latentsk.vae._priors import StandardNormal
    >>> draws = np.random.default_rng(0).normal(size=(10_000, 3))
    >>> prior = LevelsDensity(StandardNormal(1), 2)
    >>> distance_of_draws(draws, prior) < 1e-3
    True
    """
    assert isinstance(prior, NormalizedDensity), "that of levels is"
    with torch.no_grad():
        coordinates = prior.normalized(torch.from_numpy(draws)).numpy()
    return from_standard_normal(*joint_moments(coordinates, 0.0))
