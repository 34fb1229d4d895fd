"""Mahalanobis distances from the centre of some rows, as if each were new."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from latentsk._typing import Float64

# Of the mean variance per feature: what every direction is widened by.
RIDGE = 0.1


class Ellipsoid(NamedTuple):
    """A centre and a covariance, widened alike in every direction.

    Attributes
    ----------
    centre : ndarray of shape (n_components,)
    axes : ndarray of shape (n_components, n_components)
        Columns: the covariance's eigenvectors.
    variances : ndarray of shape (n_components,)
        Its eigenvalues.
    ridge : float
        What is added to each of them.
    n_rows : int
        Number of rows that they were estimated from.
    """

    centre: Float64
    axes: Float64
    variances: Float64
    ridge: float
    n_rows: int


def ellipsoid_of(rows: ArrayLike, n_features: int) -> Ellipsoid:
    """Estimate an ellipsoid.

    Parameters
    ----------
    rows : array-like of shape (n_rows, n_components)
        Latent coordinates of at least 2 rows.

    n_features : int
        Of the rows in their original space. The ridge is a tenth of the total variance
        per feature, or per component where these are more.

    Returns
    -------
    ellipsoid : Ellipsoid

    Examples
    --------
    >>> ellipsoid_of([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]], n_features=2)
    Ellipsoid(centre=array([2., 0.]), ..., variances=array([0., 4.]), ridge=0.2, ...)
    """
    rows = np.asarray(rows, np.float64)
    centre = rows.mean(axis=0)
    covariance = np.cov(rows, rowvar=False).reshape(rows.shape[1], rows.shape[1])
    variances, axes = np.linalg.eigh(covariance)
    variances = np.maximum(variances, 0.0)
    ridge = RIDGE * float(variances.sum()) / max(n_features, rows.shape[1])
    return Ellipsoid(centre, axes, variances, ridge or 1.0, len(rows))


def whitened(rows: ArrayLike, ellipsoid: Ellipsoid) -> Float64:
    """Return coordinates along the axes, in units of their widened deviations.

    Parameters
    ----------
    rows : array-like of shape (n_rows, n_components)

    ellipsoid : Ellipsoid

    Returns
    -------
    coordinates : ndarray of shape (n_rows, n_components)
        The squared length of a row is its squared distance.

    Examples
    --------
    >>> unit = Ellipsoid(np.zeros(2), np.eye(2), np.ones(2), 3.0, 10)
    >>> whitened([[2.0, 4.0]], unit)
    array([[1., 2.]])
    """
    along = (np.asarray(rows, np.float64) - ellipsoid.centre) @ ellipsoid.axes
    return along / np.sqrt(ellipsoid.variances + ellipsoid.ridge)


def squared_distances(rows: ArrayLike, ellipsoid: Ellipsoid) -> Float64:
    """Return squared Mahalanobis distances ``(x - m)' (S + r I)^-1 (x - m)``.

    Parameters
    ----------
    rows : array-like of shape (n_rows, n_components)

    ellipsoid : Ellipsoid

    Returns
    -------
    squared : ndarray of shape (n_rows,)

    Examples
    --------
    >>> unit = Ellipsoid(np.zeros(2), np.eye(2), np.ones(2), 1.0, 10)
    >>> squared_distances([[2.0, 2.0]], unit)
    array([4.])
    """
    coordinates = whitened(rows, ellipsoid)
    return np.einsum("ij,ij->i", coordinates, coordinates)


def left_out_squared_distances(rows: ArrayLike, ellipsoid: Ellipsoid) -> Float64:
    """Return what the squared distances of rows would be, had each been left out.

    For rows that the ellipsoid was estimated from, with its ridge as it is: by the
    formula of Sherman and Morrison (1950), at the cost of the ordinary distances.

    Parameters
    ----------
    rows : array-like of shape (n_rows, n_components)

    ellipsoid : Ellipsoid

    Returns
    -------
    squared : ndarray of shape (n_rows,)
        The ordinary ones where fewer than 3 rows make up the ellipsoid.

    Examples
    --------
    >>> rows = np.array([[-1.0], [0.0], [1.0]])
    >>> left_out_squared_distances(rows, ellipsoid_of(rows, 1)).round(2)
    array([3.75, 0.  , 3.75])
    """
    n = ellipsoid.n_rows
    if n < 3:
        return squared_distances(rows, ellipsoid)
    along = (np.asarray(rows, np.float64) - ellipsoid.centre) @ ellipsoid.axes
    # Covariance and centre without x, in terms of those with it and of x - centre.
    widened = ellipsoid.variances * (n - 1) / (n - 2) + ellipsoid.ridge
    with_row = along**2 @ (1.0 / widened)
    share = n / ((n - 1) * (n - 2))
    remainder = np.maximum(1.0 - share * with_row, np.finfo(np.float64).eps)
    return (n / (n - 1)) ** 2 * with_row / remainder


def leverages(rows: ArrayLike, ellipsoid: Ellipsoid) -> Float64:
    """Return the leverages of rows in a regression on their coordinates.

    For rows that the ellipsoid was estimated from.

    Parameters
    ----------
    rows : array-like of shape (n_rows, n_components)

    ellipsoid : Ellipsoid

    Returns
    -------
    leverages : ndarray of shape (n_rows,)
        ``1 / n + (x - m)' S^-1 (x - m) / (n - 1)``, in [1 / n, 1]; directions without
        variance do not count.

    Examples
    --------
    >>> rows = np.array([[-1.0], [0.0], [1.0]])
    >>> leverages(rows, ellipsoid_of(rows, 1)).round(3)
    array([0.833, 0.333, 0.833])
    """
    n, variances = ellipsoid.n_rows, ellipsoid.variances
    counted = variances > np.finfo(np.float64).eps * n * variances.max(initial=0.0)
    along = (np.asarray(rows, np.float64) - ellipsoid.centre) @ ellipsoid.axes
    squared = along[:, counted] ** 2 @ (1.0 / variances[counted])
    return np.minimum(1.0 / n + squared / (n - 1), 1.0)
