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
    return _squared_residual(centred, coordinates(centred, model), model, xp)


def _squared_residual(centred: Any, scores: Any, model: LinearGaussian, xp: Any) -> Any:
    # The shorter |x|^2 - |z|^2 cancels where the rows lie close to the subspace.
    residual = centred - scores @ model.components
    return xp.sum(residual * residual, axis=1)


def squared_mahalanobis(centred: Any, model: LinearGaussian, xp: Any = np) -> Any:
    """Return Hotelling's T2 within the subspace, the sum of ``z_i^2 / variance_i``.

    Examples
    --------
    >>> axis = np.array([[1.0, 0.0]])
    >>> model = LinearGaussian(np.zeros(2), axis, np.array([4.0]), 0.1)
    >>> squared_mahalanobis(np.array([[4.0, 4.0]]), model)
    array([4.])
    """
    return _squared_mahalanobis(coordinates(centred, model), model, xp)


def _squared_mahalanobis(scores: Any, model: LinearGaussian, xp: Any) -> Any:
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
    n_components, n_features = model.components.shape
    n_outside = n_features - n_components
    scores = coordinates(centred, model)
    log_determinant = xp.sum(xp.log(model.variances))
    distance = _squared_mahalanobis(scores, model, xp)
    if n_outside:
        log_determinant = log_determinant + n_outside * math.log(model.noise)
        residual = _squared_residual(centred, scores, model, xp)
        distance = distance + residual / model.noise
    return -0.5 * (n_features * math.log(2.0 * math.pi) + log_determinant + distance)


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
