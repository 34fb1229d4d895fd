"""A normal distribution around a latent space, and how far rows lie from it."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsk._typing import Float64
from latentsk.outliers._latent_rows import LatentRows, decode
from latentsk.outliers._scales import is_rounding
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import count, flag, floats, number

# The ridge, as a share of the mean variance per feature.
RIDGE = 0.1
# The least that 1 - leverage is taken to be: rows that have a latent direction to
# themselves have a leverage of 1.
LEAST_REMAINDER = 1e-3


@storable()
class RobustGaussian(NamedTuple):
    """A normal distribution around a latent space, estimated from a support.

    Within the latent space it has a covariance, widened by a ridge in every direction;
    outside, the same variance in every direction.

    Attributes
    ----------
    centre : ndarray of shape (n_components,)
    axes : ndarray of shape (n_components, n_components)
        Columns: the eigenvectors of the covariance.
    variances : ndarray of shape (n_components,)
        Its eigenvalues, without the ridge.
    ridge : float
        What is added to each of them.
    n_rows : int
        Number of rows of the support.
    noise : float
        Variance of a residual in each direction outside of the latent space.
    was_fitted_on : bool
        Whether the embedder was fitted on the support.
    loadings : ndarray of shape (n_components, n_features)
        How much each feature changes along each axis: see `feature_loadings`.
    """

    centre: Annotated[Float64, floats("latents")]
    axes: Annotated[Float64, floats("latents", "latents")]
    variances: Annotated[Float64, floats("latents", least=0)]
    ridge: Annotated[float, number(5e-324)]
    n_rows: Annotated[int, count(1)]
    noise: Annotated[float, number(0)] = 1.0
    was_fitted_on: Annotated[bool, flag()] = False
    loadings: Annotated[Float64, floats("latents", "features", finite=False)] = (
        np.empty((0, 0))
    )


def gaussian_of_latents(latents: ArrayLike, n_features: int) -> RobustGaussian:
    """Estimate the centre and the covariance of latents.

    Parameters
    ----------
    latents : array-like of shape (n_rows, n_components)
        Latents of at least 2 rows.

    n_features : int
        Number of features of the rows. The ridge is a tenth of the total variance per
        feature, or per component where these are more.

    Returns
    -------
    gaussian : RobustGaussian
        With a noise of 1, without loadings.

    Examples
    --------
    >>> gaussian_of_latents([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]], n_features=2)
    RobustGaussian(centre=array([2., 0.]), ..., variances=array([0., 4.]), ridge=0.2,
    ...)
    """
    latents = np.asarray(latents, np.float64)
    n_components = latents.shape[1]
    covariance = np.cov(latents, rowvar=False).reshape(n_components, n_components)
    variances, axes = np.linalg.eigh(covariance)
    variances = np.maximum(variances, 0.0)
    ridge = RIDGE * float(variances.sum()) / max(n_features, n_components)
    if is_rounding(np.sqrt(ridge), latents):
        ridge = 1.0
    centre = latents.mean(axis=0)
    return RobustGaussian(centre, axes, variances, ridge, len(latents))


def gaussian_of(support: LatentRows, was_fitted_on: bool) -> RobustGaussian:
    """Estimate a Gaussian from the rows of its support.

    The noise is the mean squared residual per direction outside of the latent space,
    widened by a tenth of the mean variance per feature, as the axes are.
    """
    n_features, n_components = support.features.shape[1], support.latents.shape[1]
    gaussian = gaussian_of_latents(support.latents, n_features)
    noise = 1.0
    if support.residuals is not None:
        n_outside = max(n_features - n_components, 1)
        noise = float(np.mean(np.sum(support.residuals**2, axis=1))) / n_outside
        variances = np.var(support.features, axis=0) / support.scale**2
        noise += RIDGE * float(np.mean(variances))
        if is_rounding(np.sqrt(noise), support.features / support.scale):
            noise = 1.0
    return gaussian._replace(noise=noise, was_fitted_on=was_fitted_on)


def whitened(latents: ArrayLike, gaussian: RobustGaussian) -> Float64:
    """Return coordinates along the axes, in units of their widened deviations.

    Parameters
    ----------
    latents : array-like of shape (n_rows, n_components)

    gaussian : RobustGaussian

    Returns
    -------
    coordinates : ndarray of shape (n_rows, n_components)
        The squared length of a row is its squared distance.

    Examples
    --------
    >>> unit = RobustGaussian(np.zeros(2), np.eye(2), np.ones(2), 3.0, 10)
    >>> whitened([[2.0, 4.0]], unit)
    array([[1., 2.]])
    """
    along = (np.asarray(latents, np.float64) - gaussian.centre) @ gaussian.axes
    return along / np.sqrt(gaussian.variances + gaussian.ridge)


def squared_distances(latents: ArrayLike, gaussian: RobustGaussian) -> Float64:
    """Return squared Mahalanobis distances ``(x - m)' (S + r I)^-1 (x - m)``.

    Parameters
    ----------
    latents : array-like of shape (n_rows, n_components)

    gaussian : RobustGaussian

    Returns
    -------
    squared : ndarray of shape (n_rows,)

    Examples
    --------
    >>> unit = RobustGaussian(np.zeros(2), np.eye(2), np.ones(2), 1.0, 10)
    >>> squared_distances([[2.0, 2.0]], unit)
    array([4.])
    """
    coordinates = whitened(latents, gaussian)
    return np.einsum("ij,ij->i", coordinates, coordinates)


def left_out_squared_distances(latents: ArrayLike, gaussian: RobustGaussian) -> Float64:
    """Return what the squared distances of rows would be, had each been left out.

    For rows of the support, with the ridge as it is: by the formula of Sherman and
    Morrison (1950), at the cost of the ordinary distances.

    Parameters
    ----------
    latents : array-like of shape (n_rows, n_components)

    gaussian : RobustGaussian

    Returns
    -------
    squared : ndarray of shape (n_rows,)
        The ordinary ones where the support has fewer than 3 rows.

    Examples
    --------
    >>> rows = np.array([[-1.0], [0.0], [1.0]])
    >>> left_out_squared_distances(rows, gaussian_of_latents(rows, 1)).round(2)
    array([3.75, 0.  , 3.75])
    """
    n = gaussian.n_rows
    if n < 3:
        return squared_distances(latents, gaussian)
    along = (np.asarray(latents, np.float64) - gaussian.centre) @ gaussian.axes
    # Covariance and centre without x, in terms of those with it and of x - centre.
    widened = gaussian.variances * (n - 1) / (n - 2) + gaussian.ridge
    with_row = along**2 @ (1.0 / widened)
    share = n / ((n - 1) * (n - 2))
    remainder = np.maximum(1.0 - share * with_row, np.finfo(np.float64).eps)
    return (n / (n - 1)) ** 2 * with_row / remainder


def leverages(latents: ArrayLike, gaussian: RobustGaussian) -> Float64:
    """Return the leverages of the support's rows in a regression on their latents.

    Parameters
    ----------
    latents : array-like of shape (n_rows, n_components)

    gaussian : RobustGaussian

    Returns
    -------
    leverages : ndarray of shape (n_rows,)
        ``1 / n + (x - m)' S^-1 (x - m) / (n - 1)``, in [1 / n, 1]; directions without
        variance do not count.

    Examples
    --------
    >>> rows = np.array([[-1.0], [0.0], [1.0]])
    >>> leverages(rows, gaussian_of_latents(rows, 1)).round(3)
    array([0.833, 0.333, 0.833])
    """
    n, variances = gaussian.n_rows, gaussian.variances
    counted = variances > np.finfo(np.float64).eps * n * variances.max(initial=0.0)
    along = (np.asarray(latents, np.float64) - gaussian.centre) @ gaussian.axes
    squared = along[:, counted] ** 2 @ (1.0 / variances[counted])
    return np.minimum(1.0 / n + squared / (n - 1), 1.0)


def squared_within(
    rows: LatentRows, gaussian: RobustGaussian, support: NDArray[Any]
) -> Float64:
    """Return squared Mahalanobis distances within the latent space.

    Rows of the support (a mask or positions) are measured as if they had been left out
    of it.
    """
    squared = squared_distances(rows.latents, gaussian)
    squared[support] = left_out_squared_distances(rows.latents[support], gaussian)
    return squared


def squared_outside(
    rows: LatentRows, gaussian: RobustGaussian, support: NDArray[Any]
) -> Float64:
    """Return the squared length of each residual; zeros where there are none.

    Rows that the embedder was fitted on are reconstructed too well. For least squares
    on the latents, a row that is left out has the residual ``r / (1 - h)``, with h its
    leverage (Allen's PRESS, 1974). The latent space itself is taken to stay as it is,
    which few components or many rows make true.
    """
    if rows.residuals is None:
        return np.zeros(len(rows.latents))
    squared = np.einsum("ij,ij->i", rows.residuals, rows.residuals)
    if gaussian.was_fitted_on:
        remainder = 1.0 - leverages(rows.latents[support], gaussian)
        squared[support] /= np.maximum(remainder, LEAST_REMAINDER) ** 2
    return squared


def squared_joint(
    rows: LatentRows, gaussian: RobustGaussian, support: NDArray[Any]
) -> Float64:
    """Return squared distances within and outside, added in the unit of the noise."""
    outside = squared_outside(rows, gaussian, support)
    return squared_within(rows, gaussian, support) + outside / gaussian.noise


def feature_loadings(
    embedder: Any, support: LatentRows, gaussian: RobustGaussian
) -> Float64:
    """Return how much each feature changes along each axis of a Gaussian.

    By one widened deviation to either side of the centre, in standard deviations of the
    feature. For a linear embedder these are the correlations of whitened latents with
    features, times the features' own deviations; the ridge makes directions without
    variance count, too. Where an embedder cannot decode, the correlations themselves.

    Returns
    -------
    loadings : ndarray of shape (n_components, n_features)
    """
    deviations = np.sqrt(gaussian.variances + gaussian.ridge)
    steps = deviations[:, None] * gaussian.axes.T
    with contextlib.suppress(ValueError):  # an inverse may end where steps lead
        above = decode(embedder, gaussian.centre + steps)
        below = decode(embedder, gaussian.centre - steps)
        if above is not None and below is not None:
            return (above - below) / (2.0 * support.scale)
    centred = (support.features - support.features.mean(axis=0)) / support.scale
    return whitened(support.latents, gaussian).T @ centred / len(centred)
