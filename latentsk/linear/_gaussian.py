"""The linear-Gaussian model behind PCA (probabilistic PCA), as plain functions.

``x = mean + components.T @ z + e`` with ``z ~ N(0, diag(variances - noise))`` and
``e ~ N(0, noise I)``: the covariance has the eigenvalues `variances` along the
components and `noise` in every other direction (Tipping & Bishop, 1999).

Every function takes numpy arrays or those of the namespace `xp`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._array_api import device


class LinearGaussian(NamedTuple):
    """Parameters of the model.

    Attributes
    ----------
    mean : array of shape (n_features,)
    components : array of shape (n_components, n_features), orthonormal rows
    variances : array of shape (n_components,), at least `noise`
    noise : float, variance in every direction outside the components

    Notes
    -----
    Mahalanobis distances divide by `variances`; the density and the precision by
    `noise`, too, unless there are as many components as features. PCAEmbedder calls
    them where these lie above :func:`latentsk.linear._spectrum.rounding_floor`.
    """

    mean: Any
    components: Any
    variances: Any
    noise: float


def coordinates(centred: Any, model: LinearGaussian, xp: Any = np) -> Any:
    """Project centred rows on the components, in the data's unit.

    Examples
    --------
    >>> model = LinearGaussian(np.zeros(2), np.array([[0.6, 0.8]]), np.ones(1), 0.1)
    >>> coordinates(np.array([[3.0, 4.0]]), model)
    array([[5.]])
    """
    return centred @ model.components.T


def squared_residual(centred: Any, model: LinearGaussian, xp: Any = np) -> Any:
    """Return the squared distance of centred rows from the subspace.

    Examples
    --------
    >>> model = LinearGaussian(np.zeros(2), np.array([[1.0, 0.0]]), np.ones(1), 0.1)
    >>> squared_residual(np.array([[3.0, 4.0]]), model)
    array([16.])
    """
    return xp.sum(residual_parts(centred, model, xp), axis=1)


def residual_parts(centred: Any, model: LinearGaussian, xp: Any = np) -> Any:
    """Split `squared_residual` among the features.

    Examples
    --------
    >>> axis = np.array([[1.0, 0.0]])
    >>> model = LinearGaussian(np.zeros(2), axis, np.array([4.0]), 0.1)
    >>> residual_parts(np.array([[4.0, 3.0]]), model)
    array([[0., 9.]])
    """
    # The shorter |x|^2 - |z|^2 cancels where the rows lie close to the subspace.
    residual = centred - coordinates(centred, model) @ model.components
    return residual * residual


def squared_mahalanobis(centred: Any, model: LinearGaussian, xp: Any = np) -> Any:
    """Return Hotelling's T2 within the subspace, the sum of ``z_i^2 / variance_i``.

    Examples
    --------
    >>> axis = np.array([[1.0, 0.0]])
    >>> model = LinearGaussian(np.zeros(2), axis, np.array([4.0]), 0.1)
    >>> squared_mahalanobis(np.array([[4.0, 4.0]]), model)
    array([4.])
    """
    scores = coordinates(centred, model)
    return xp.sum(scores * scores / model.variances, axis=1)


def log_likelihood(centred: Any, model: LinearGaussian, xp: Any = np) -> Any:
    """Return the Gaussian log-density of centred rows, in nats.

    Examples
    --------
    >>> axis = np.array([[1.0, 0.0]])
    >>> model = LinearGaussian(np.zeros(2), axis, np.array([1.0]), 1.0)
    >>> log_likelihood(np.zeros((1, 2)), model).round(4)
    array([-1.8379])
    """
    return -0.5 * (log_constant(model, xp) + squared_distance(centred, model, xp))


def squared_distance(centred: Any, model: LinearGaussian, xp: Any = np) -> Any:
    """Return the squared Mahalanobis distance under the whole covariance.

    Examples
    --------
    >>> axis = np.array([[1.0, 0.0]])
    >>> model = LinearGaussian(np.zeros(2), axis, np.array([4.0]), 0.5)
    >>> squared_distance(np.array([[4.0, 1.0]]), model)
    array([6.])
    """
    n_outside = model.components.shape[1] - model.components.shape[0]
    scores = coordinates(centred, model)
    distance = xp.sum(scores * scores / model.variances, axis=1)
    if n_outside:
        residual = centred - scores @ model.components
        distance = distance + xp.sum(residual * residual, axis=1) / model.noise
    return distance


def log_likelihood_parts(centred: Any, model: LinearGaussian, xp: Any = np) -> Any:
    """Split the log-density among the features, the constant equally.

    Examples
    --------
    >>> axis = np.array([[1.0, 0.0]])
    >>> model = LinearGaussian(np.zeros(2), axis, np.array([1.0]), 1.0)
    >>> log_likelihood_parts(np.array([[0.0, 2.0]]), model).round(4)
    array([[-0.9189, -2.9189]])
    """
    n_components, n_features = model.components.shape
    distances = mahalanobis_parts(centred, model, xp)
    if n_components < n_features:
        distances = distances + residual_parts(centred, model, xp) / model.noise
    return -0.5 * (log_constant(model, xp) / n_features + distances)


def log_constant(model: LinearGaussian, xp: Any = np) -> Any:
    """Return the logarithm of ``(2 pi)^n det(covariance)``.

    Examples
    --------
    >>> axis = np.array([[1.0, 0.0]])
    >>> model = LinearGaussian(np.zeros(2), axis, np.array([4.0]), 0.25)
    >>> bool(np.isclose(log_constant(model), 2.0 * math.log(2.0 * math.pi)))
    True
    """
    n_components, n_features = model.components.shape
    log_determinant = xp.sum(xp.log(model.variances))
    if n_components < n_features:
        n_outside = n_features - n_components
        log_determinant = log_determinant + n_outside * math.log(model.noise)
    return n_features * math.log(2.0 * math.pi) + log_determinant


def mahalanobis_parts(centred: Any, model: LinearGaussian, xp: Any = np) -> Any:
    """Split `squared_mahalanobis` among the features.

    Squares of the whitened coordinates after the corr-max rotation. A feature that
    enters the components by no more than rounding errors correlates with none of them.

    Examples
    --------
    >>> axis = np.array([[1.0, 0.0]])
    >>> model = LinearGaussian(np.zeros(2), axis, np.array([4.0]), 0.1)
    >>> mahalanobis_parts(np.array([[4.0, 3.0]]), model)
    array([[4., 0.]])
    """
    deviations = xp.sqrt(model.variances)[:, None]
    excess = (model.variances - model.noise)[:, None]
    of_features = xp.sum(excess * model.components**2, axis=0) + model.noise
    # Entries of orthonormal rows are off by some multiples of eps.
    rounding = 10.0 * float(xp.finfo(model.components.dtype).eps)
    floor = len(of_features) * rounding**2 * xp.sum(model.variances)
    of_features = xp.where(of_features > floor, xp.sqrt(of_features), 1.0)
    rotation = corr_max(deviations * model.components / of_features, xp)
    rotated = (coordinates(centred, model) / deviations[:, 0]) @ rotation.T
    return rotated * rotated


def corr_max(correlations: Any, xp: Any = np) -> Any:
    """Return the rotation from whitened latents to one coordinate for each feature.

    Squared Mahalanobis distance is the squared length of the whitened latents t, and so
    of ``w = Q t`` for every Q with orthonormal columns. This Q makes the coordinates of
    w correlate most with their features (Garthwaite and Koch, 2016), so that ``w_j^2``
    is the part of feature j in the distance.

    Parameters
    ----------
    correlations : array of shape (n_components, n_features)
        Of whitened latents with features.

    Returns
    -------
    rotation : array of shape (n_features, n_components)
        With orthonormal columns where there are no more components than features, else
        with orthonormal rows (and w is shorter than t).

    References
    ----------
    P. H. Garthwaite and I. Koch (2016). Evaluating the contributions of individual
    variables to a quadratic form. Australian & New Zealand Journal of Statistics,
    58(1), 99-119.

    Examples
    --------
    >>> corr_max(np.array([[0.0, 2.0], [-3.0, 0.0]])) + 0.0
    array([[ 0., -1.],
           [ 1.,  0.]])
    """
    left, _, right = xp.linalg.svd(correlations.T, full_matrices=False)
    return left @ right


def covariance(model: LinearGaussian, xp: Any = np) -> Any:
    """Return the model's covariance, of shape (n_features, n_features).

    Examples
    --------
    >>> axis = np.array([[1.0, 0.0]])
    >>> model = LinearGaussian(np.zeros(2), axis, np.array([4.0]), 0.5)
    >>> covariance(model)
    array([[4. , 0. ],
           [0. , 0.5]])
    """
    identity = _identity_like(model.components, xp)
    excess = model.variances - model.noise
    return (model.components.T * excess) @ model.components + model.noise * identity


def precision(model: LinearGaussian, xp: Any = np) -> Any:
    """Return the inverse of the covariance, without inverting a matrix.

    Examples
    --------
    >>> axis = np.array([[1.0, 0.0]])
    >>> model = LinearGaussian(np.zeros(2), axis, np.array([4.0]), 0.5)
    >>> precision(model)
    array([[0.25, 0.  ],
           [0.  , 2.  ]])
    """
    n_components, n_features = model.components.shape
    if n_components == n_features:
        return (model.components.T / model.variances) @ model.components
    identity = _identity_like(model.components, xp)
    excess = 1.0 / model.variances - 1.0 / model.noise
    return (model.components.T * excess) @ model.components + identity / model.noise


def draw(
    model: LinearGaussian, n_samples: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw rows from the model (numpy arrays only).

    Examples
    --------
    >>> axis = np.array([[1.0, 0.0]])
    >>> model = LinearGaussian(np.zeros(2), axis, np.array([4.0]), 0.5)
    >>> draw(model, 3, np.random.default_rng(0)).shape
    (3, 2)
    """
    n_components, n_features = model.components.shape
    excess = np.sqrt(model.variances - model.noise)
    scores = generator.standard_normal((n_samples, n_components)) * excess
    noise = generator.standard_normal((n_samples, n_features)) * math.sqrt(model.noise)
    return model.mean + scores @ model.components + noise


def _identity_like(components: Any, xp: Any) -> Any:
    return xp.eye(
        components.shape[1], dtype=components.dtype, device=device(components)
    )
