"""A normal distribution around a latent space, and how far rows lie from it."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsk._typing import Float64
from latentsk.outliers._latent_rows import LatentRows, decode
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import count, flag, floats, number
from latentsk.preprocessing._columns import is_rounding

# Ridges to choose from, as shares of the mean variance: the data decide.
RIDGES = np.array([1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1])
# The least that 1 - leverage is taken to be: rows that have a latent direction to
# themselves have a leverage of 1.
LEAST_REMAINDER = 1e-3


@storable()
class RobustGaussian(NamedTuple):
    """A normal distribution around a latent space, estimated from a support.

    Within the latent space it has a covariance, widened by a ridge; outside, the same
    variance in every direction.

    Attributes
    ----------
    centre : ndarray of shape (n_components,)
    axes : ndarray of shape (n_components, n_components)
        Columns: the eigenvectors of the widened covariance.
    variances : ndarray of shape (n_components,)
        Its eigenvalues.
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
    variances: Annotated[Float64, floats("latents", least=5e-324)]
    n_rows: Annotated[int, count(1)]
    noise: Annotated[float, number(0)] = 1.0
    was_fitted_on: Annotated[bool, flag()] = False
    loadings: Annotated[Float64, floats("latents", "features", finite=False)] = (
        np.empty((0, 0))
    )


def gaussian_of_latents(
    latents: ArrayLike, ridge: float | None = None, own_ridge: ArrayLike | None = None
) -> RobustGaussian:
    """Estimate the centre and the covariance of latents.

    Parameters
    ----------
    latents : array-like of shape (n_rows, n_components)
        Latents of at least 2 rows.

    ridge : float, optional
        What is added to the variance in every direction, as a share of the mean
        variance per component. By default :func:`best_ridge` chooses it.

    own_ridge : array-like of shape (n_components, n_components), optional
        A positive semi-definite matrix that is added besides.

    Returns
    -------
    gaussian : RobustGaussian
        With a noise of 1, without loadings.

    Examples
    --------
    >>> gaussian_of_latents([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]], ridge=0.1)
    RobustGaussian(centre=array([2., 0.]), ..., variances=array([0.2, 4.2]), ...)
    """
    latents = np.asarray(latents, np.float64)
    n_components = latents.shape[1]
    centre = latents.mean(axis=0)
    covariance = np.cov(latents, rowvar=False).reshape(n_components, n_components)
    variances, axes = np.linalg.eigh(covariance)
    variances = np.maximum(variances, 0.0)
    if ridge is None:
        ridge = best_ridge((latents - centre) @ axes, variances)
    added = ridge * float(variances.mean())
    if is_rounding(np.sqrt(added), latents):
        added = 1.0
    variances = variances + added
    if own_ridge is not None:
        widened = (axes * variances) @ axes.T + np.asarray(own_ridge, np.float64)
        variances, axes = np.linalg.eigh(widened)
    return RobustGaussian(centre, axes, variances, len(latents))


def best_ridge(along: Float64, variances: Float64) -> float:
    """Choose a ridge by the likelihood of rows that are left out.

    A ridge keeps directions that few rows have hardly seen from counting too much, and
    hides relations between features that are tighter than it. The median over the rows
    of the log-density of a row under the normal distribution of all others
    (Hoffbeck and Landgrebe, 1996, use the mean) weighs one against the other.

    Parameters
    ----------
    along : ndarray of shape (n_rows, n_components)
        Centred rows along the eigenvectors of their covariance.

    variances : ndarray of shape (n_components,)
        Its eigenvalues.

    Returns
    -------
    ridge : float
        One of RIDGES, a share of the mean variance.

    References
    ----------
    J. P. Hoffbeck and D. A. Landgrebe (1996). Covariance matrix estimation and
    classification with limited training data. IEEE PAMI, 18(7), 763-767.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> for n in 8, 5_000:
    ...     rows = rng.normal(size=(n, 3)) * [1, 1, 0.01]
    ...     centred = rows - rows.mean(axis=0)
    ...     best_ridge(centred, centred.var(axis=0))
    1e-05
    1e-08
    """
    n_rows = len(along)
    if n_rows < 3:
        return float(RIDGES[-1])
    squares, mean = along**2, float(variances.mean())
    if mean == 0.0:
        return float(RIDGES[-1])
    likelihoods = []
    for ridge in RIDGES:
        widened = variances + ridge * mean
        squared = squares @ (1.0 / widened)
        left_out, remainder = _without_row(squared, n_rows)
        logarithms = np.log(widened).sum() + np.log(remainder)
        likelihoods.append(-0.5 * float(np.median(logarithms + left_out)))
    return float(RIDGES[int(np.argmax(likelihoods))])


def _without_row(squared: Float64, n_rows: int) -> tuple[Float64, Float64]:
    """Return squared distances of rows that are left out, and what is left of volume.

    By the formula of Sherman and Morrison (1950): centre and covariance without a row,
    in terms of those with it and of its distance. The ridge is scaled as the covariance
    is, by ``(n - 1) / (n - 2)``.
    """
    n = n_rows
    scaled = squared * (n - 2) / (n - 1)
    share = n / ((n - 1) * (n - 2))
    remainder = np.maximum(1.0 - share * scaled, np.finfo(np.float64).eps)
    return (n / (n - 1)) ** 2 * scaled / remainder, remainder


def gaussian_of(
    support: LatentRows,
    was_fitted_on: bool,
    ridge: float | None = None,
    own_ridge: ArrayLike | None = None,
) -> RobustGaussian:
    """Estimate a Gaussian from the rows of its support.

    The noise is the mean squared residual per direction outside of the latent space, as
    if each row had been left out, and at least the ridge. Where rows are so few that
    the latent space holds all that they span, what is outside of it was never seen: the
    noise is that of directions within that have no variance.
    """
    n_features, n_components = support.features.shape[1], support.latents.shape[1]
    gaussian = gaussian_of_latents(support.latents, ridge, own_ridge)
    gaussian = gaussian._replace(was_fitted_on=was_fitted_on)
    if support.residuals is None:
        return gaussian
    present = np.ones(len(support.latents))
    outside = squared_outside(support, gaussian, present)
    noise = float(np.mean(outside)) / max(n_features - n_components, 1)
    least = float(RIDGES[0]) if ridge is None else ridge
    variances = np.var(support.features, axis=0) / support.scale**2
    noise += least * float(np.mean(variances))
    if gaussian.n_rows <= n_components + 1:
        noise += _added_variance(support.latents, gaussian, own_ridge) / float(
            np.mean(support.scale**2)
        )
    if is_rounding(np.sqrt(noise), support.features / support.scale):
        noise = 1.0
    return gaussian._replace(noise=noise)


def _added_variance(
    latents: NDArray[Any], gaussian: RobustGaussian, own_ridge: ArrayLike | None
) -> float:
    """Return what the ridge adds to the variance in every direction."""
    widened = float(gaussian.variances.sum() - np.var(latents, axis=0, ddof=1).sum())
    own = 0.0 if own_ridge is None else float(np.trace(np.asarray(own_ridge)))
    return max(widened - own, 0.0) / latents.shape[1]


def effective_dimensions(gaussian: RobustGaussian) -> float:
    """Return the participation ratio of the variances, ``(sum v)^2 / sum v^2``.

    Examples
    --------
    >>> round(effective_dimensions(gaussian_of_latents([[0, 0], [1, 1]], 1e-6)), 3)
    1.0
    """
    variances = gaussian.variances / gaussian.variances.max()
    return float(variances.sum() ** 2 / (variances**2).sum())


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
    >>> unit = RobustGaussian(np.zeros(2), np.eye(2), np.full(2, 4.0), 10)
    >>> whitened([[2.0, 4.0]], unit)
    array([[1., 2.]])
    """
    along = (np.asarray(latents, np.float64) - gaussian.centre) @ gaussian.axes
    return along / np.sqrt(gaussian.variances)


def squared_distances(latents: ArrayLike, gaussian: RobustGaussian) -> Float64:
    """Return squared Mahalanobis distances ``(x - m)' S^-1 (x - m)``.

    Parameters
    ----------
    latents : array-like of shape (n_rows, n_components)

    gaussian : RobustGaussian

    Returns
    -------
    squared : ndarray of shape (n_rows,)

    Examples
    --------
    >>> unit = RobustGaussian(np.zeros(2), np.eye(2), np.full(2, 2.0), 10)
    >>> squared_distances([[2.0, 2.0]], unit)
    array([4.])
    """
    coordinates = whitened(latents, gaussian)
    return np.einsum("ij,ij->i", coordinates, coordinates)


def left_out_squared_distances(latents: ArrayLike, gaussian: RobustGaussian) -> Float64:
    """Return what the squared distances of rows would be, had each been left out.

    For rows of the support: by the formula of Sherman and Morrison (1950), at the cost
    of the ordinary distances. The ridge is scaled as the covariance is.

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
    >>> left_out_squared_distances(rows, gaussian_of_latents(rows, 0.1)).round(2)
    array([3.21, 0.  , 3.21])
    """
    squared = squared_distances(latents, gaussian)
    if gaussian.n_rows < 3:
        return squared
    return _without_row(squared, gaussian.n_rows)[0]


def leverages(latents: ArrayLike, gaussian: RobustGaussian) -> Float64:
    """Return the leverages of the support's rows in a regression on their latents.

    Parameters
    ----------
    latents : array-like of shape (n_rows, n_components)

    gaussian : RobustGaussian

    Returns
    -------
    leverages : ndarray of shape (n_rows,)
        ``1 / n + (x - m)' S^-1 (x - m) / (n - 1)``, in [1 / n, 1].

    Examples
    --------
    >>> rows = np.array([[-1.0], [0.0], [1.0]])
    >>> leverages(rows, gaussian_of_latents(rows, 1e-6)).round(3)
    array([0.833, 0.333, 0.833])
    """
    return _leverages(squared_distances(latents, gaussian), gaussian.n_rows)


def _leverages(squared: Float64, n_rows: int) -> Float64:
    return np.minimum(1.0 / n_rows + squared / (n_rows - 1), 1.0)


def squared_within(
    rows: LatentRows,
    gaussian: RobustGaussian,
    present: Float64,
    own: Float64 | None = None,
) -> Float64:
    """Return squared Mahalanobis distances within the latent space.

    Rows of the support are measured as if they had been left out of it.

    Parameters
    ----------
    rows : LatentRows

    gaussian : RobustGaussian

    present : ndarray of shape (n_rows,)
        How much each row is one of the support, in [0, 1].

    own : ndarray of shape (n_rows,), optional
        Ordinary squared distance of that row of the support; by default the rows are
        these themselves.

    Returns
    -------
    squared : ndarray of shape (n_rows,)
    """
    ordinary = squared_distances(rows.latents, gaussian)
    if gaussian.n_rows < 3:
        return ordinary
    own = ordinary if own is None else own
    # Of the row that is left out: near by, the formula may have a pole.
    farther = _without_row(own, gaussian.n_rows)[0] - own
    # Not a weighted sum of both: beyond float64, one is infinite.
    return np.where(present > 0.0, ordinary + present * farther, ordinary)


def squared_outside(
    rows: LatentRows,
    gaussian: RobustGaussian,
    present: Float64,
    own: Float64 | None = None,
) -> Float64:
    """Return the squared length of each residual; zeros where there are none.

    Rows that the embedder was fitted on are reconstructed too well. For least squares
    on the latents, a row that is left out has the residual ``r / (1 - h)``, with h its
    leverage (Allen's PRESS, 1974). The latent space itself is taken to stay as it is,
    which few components or many rows make true. The parameters are those of
    :func:`squared_within`.
    """
    if rows.residuals is None:
        return np.zeros(len(rows.latents))
    squared = np.einsum("ij,ij->i", rows.residuals, rows.residuals)
    if not gaussian.was_fitted_on:
        return squared
    own = squared_distances(rows.latents, gaussian) if own is None else own
    remainder = np.maximum(1.0 - _leverages(own, gaussian.n_rows), LEAST_REMAINDER)
    return squared * (1.0 + present * (remainder**-2 - 1.0))


def squared_joint(
    rows: LatentRows, gaussian: RobustGaussian, present: Float64
) -> Float64:
    """Return squared distances within and outside, added in the unit of the noise."""
    outside = squared_outside(rows, gaussian, present)
    return squared_within(rows, gaussian, present) + outside / gaussian.noise


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
    deviations = np.sqrt(gaussian.variances)
    steps = deviations[:, None] * gaussian.axes.T
    with contextlib.suppress(ValueError):  # an inverse may end where steps lead
        above = decode(embedder, gaussian.centre + steps)
        below = decode(embedder, gaussian.centre - steps)
        if above is not None and below is not None:
            return (above - below) / (2.0 * support.scale)
    centred = (support.features - support.features.mean(axis=0)) / support.scale
    return whitened(support.latents, gaussian).T @ centred / len(centred)
