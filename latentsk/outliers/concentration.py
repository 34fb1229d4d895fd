"""The bulk of rows that may hold outliers, and how far every row lies from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float64, Positions
from latentsk.outliers.calibration import NORMAL_MAD
from latentsk.outliers.ellipsoid import (
    RIDGE,
    Ellipsoid,
    ellipsoid_of,
    left_out_squared_distances,
    leverages,
    squared_distances,
)
from latentsk.outliers.latent_space import Coordinates

# Shares of the rows that the bulk is estimated from, and that neighbours are looked for
# among: a shape needs the core, a border the rows that lie on it.
CORE_SHARE = 0.75
REFERENCE_SHARE = 0.9
# Of the standard deviation: the least that a robust one is taken to be.
LEAST_ROBUST_SPREAD = 0.1
# One less the leverage: of rows that have a latent direction to themselves it is zero.
SMALLEST_REMAINDER = 1e-3


class Bulk(NamedTuple):
    """A normal distribution around a latent space.

    Attributes
    ----------
    ellipsoid : Ellipsoid
        Within the latent space.
    noise : float
        Variance of a residual, outside.
    """

    ellipsoid: Ellipsoid
    noise: float


def bulk_of(rows: Coordinates) -> Bulk:
    """Estimate the bulk from rows that make it up.

    The noise is the mean squared residual per direction outside of the latent space,
    widened by a tenth of the mean variance per feature, as the ellipsoid's axes are.
    """
    n_features, n_components = rows.features.shape[1], rows.latents.shape[1]
    ellipsoid = ellipsoid_of(rows.latents, n_features)
    if rows.residuals is None:
        return Bulk(ellipsoid, 1.0)
    n_outside = max(n_features - n_components, 1)
    noise = float(np.mean(np.sum(rows.residuals**2, axis=1))) / n_outside
    variance = float(np.mean(np.var(rows.features, axis=0) / rows.scale**2))
    return Bulk(ellipsoid, (noise + RIDGE * variance) or 1.0)


def squared_residuals(
    rows: Coordinates, bulk: Bulk, is_core: NDArray[np.bool_]
) -> Float64:
    """Return the squared length of each residual; zeros where there are none.

    Rows of the core are reconstructed too well by an embedder that has seen them. For
    least squares on the latents, a row that is left out has the residual
    ``r / (1 - h)``, with h its leverage (Allen's PRESS, 1974). The latent space itself
    is taken to stay as it is, which few components or many rows make true.
    """
    if rows.residuals is None:
        return np.zeros(len(rows.latents))
    squared = np.einsum("ij,ij->i", rows.residuals, rows.residuals)
    if is_core.any():
        remaining = 1.0 - leverages(rows.latents[is_core], bulk.ellipsoid)
        squared[is_core] /= np.maximum(remaining, SMALLEST_REMAINDER) ** 2
    return squared


def squared_within(
    rows: Coordinates, bulk: Bulk, is_core: NDArray[np.bool_]
) -> Float64:
    """Return squared Mahalanobis distances within the latent space.

    Rows of the core are measured as if they had been left out of it.
    """
    squared = squared_distances(rows.latents, bulk.ellipsoid)
    if is_core.any():
        squared[is_core] = left_out_squared_distances(
            rows.latents[is_core], bulk.ellipsoid
        )
    return squared


def concentrate(
    fit: Callable[[Positions], Coordinates],
    features: NDArray[Any],
    n_steps: int,
    is_seen: bool,
) -> tuple[Coordinates, Positions]:
    """Fit to rows near the middle, then again and again to those nearest the bulk.

    The concentration steps of the minimum covariance determinant (Rousseeuw and van
    Driessen, 1999), for any embedder: three quarters of the rows are kept. They start
    from the coordinatewise median, as the first of the starts of Hubert, Rousseeuw and
    Verdonck (2012): outliers that lie together would draw a mean to their side.

    Parameters
    ----------
    fit : callable
        Fits to the rows of the given numbers, and returns the coordinates of all.

    features : ndarray of shape (n_rows, n_features)

    n_steps : int
        How many times to fit again; 0: all rows are the core.

    is_seen : bool
        Whether `fit` shows the core to the embedder.

    Returns
    -------
    coordinates : Coordinates
        Of all rows, after the last fit.

    core : ndarray, dtype intp
        Numbers of the rows that it was fitted to, in ascending order.
    """
    core = np.arange(len(features))
    if n_steps:
        core = nearest_rows(distances_from_median(features), CORE_SHARE)
    found = fit(core)
    for _ in range(n_steps):
        core = nearest_rows(distances_from(found, core, is_seen), CORE_SHARE)
        found = fit(core)
    return found, core


def distances_from_median(features: NDArray[Any]) -> Float64:
    """Return squared distances from the median of each feature, in robust units.

    The unit is the median absolute deviation of the feature, but at least a tenth of
    its standard deviation: features that are mostly constant would count most.

    Examples
    --------
    >>> distances_from_median(np.array([[-1.0], [0.0], [1.0], [30.0]])).round()
    array([  1.,   0.,   0., 396.])
    """
    centred = features - np.median(features, axis=0)
    robust = NORMAL_MAD * np.median(np.abs(centred), axis=0)
    unit = np.maximum(robust, LEAST_ROBUST_SPREAD * features.std(axis=0))
    standardized = centred / np.where(unit > 0.0, unit, 1.0)
    return np.einsum("ij,ij->i", standardized, standardized)


def distances_from(rows: Coordinates, core: Positions, is_seen: bool) -> Float64:
    """Return squared distances of all rows from the bulk that some make up."""
    bulk = bulk_of(rows.at(core))
    is_core = np.zeros(len(rows.latents), bool)
    is_core[core] = True
    within = squared_within(rows, bulk, is_core)
    return within + squared_residuals(rows, bulk, is_core & is_seen) / bulk.noise


def nearest_rows(distances: Float64, share: float) -> Positions:
    """Return the numbers of the given share of rows, in ascending order.

    Of five rows or fewer, all.

    Examples
    --------
    >>> nearest_rows(np.array([9.0, 1, 2, 3, 8, 4, 5, 6]), 0.75)
    array([1, 2, 3, 5, 6, 7])
    """
    n_kept = min(max(math.ceil(share * len(distances)), 5), len(distances))
    return np.sort(np.argsort(distances, kind="stable")[:n_kept])
