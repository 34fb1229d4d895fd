"""Bayes' rule: from densities of rows in each class to probabilities of classes."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from latentsk._typing import Float64

LARGEST = float(np.finfo(np.float64).max)


def bounded(log_densities: Float64) -> Float64:
    """Return log-densities as finite numbers; what is no number is the lowest one.

    A density may be zero, or so low that squares overflow on the way to it. Such rows
    are as far from the class as can be told.

    Examples
    --------
    >>> bounded(np.array([[-np.inf, -1.0], [np.nan, 2.0]]))
    array([[-1.79769313e+308, -1.00000000e+000],
           [-1.79769313e+308,  2.00000000e+000]])
    """
    return np.nan_to_num(log_densities, nan=-LARGEST, posinf=LARGEST, neginf=-LARGEST)


def log_posteriors(log_densities: Float64, priors: Float64) -> Float64:
    """Return the log-probability of each class given each row, by Bayes' rule.

    Parameters
    ----------
    log_densities : ndarray of shape (n_rows, n_classes)
        Finite numbers. Where all classes are equally far from a row, as at the lowest
        number, the probabilities are the priors.

    priors : ndarray of shape (n_classes,)
        They sum to one; some may be zero.

    Returns
    -------
    log_probabilities : ndarray of shape (n_rows, n_classes)
        Finite, or minus infinity where the prior is zero. Their exponentials sum to
        one.

    Examples
    --------
    >>> densities = np.log([[0.1, 0.3], [0.5, 0.0 + 5e-324]])
    >>> np.exp(log_posteriors(densities, np.array([0.5, 0.5]))).round(2)
    array([[0.25, 0.75],
           [1.  , 0.  ]])
    """
    relative, _ = _joint(log_densities, priors)
    found = relative - logsumexp(relative, axis=1, keepdims=True)
    return np.where(priors > 0, np.maximum(found, -LARGEST), -np.inf)


def log_evidence(log_densities: Float64, priors: Float64) -> Float64:
    """Return the log-density of each row, whatever its class.

    Parameters
    ----------
    log_densities : ndarray of shape (n_rows, n_classes)
        Finite numbers.

    priors : ndarray of shape (n_classes,)

    Returns
    -------
    log_density : ndarray of shape (n_rows,)
        ``log(sum(priors * densities))``, without overflow.

    Examples
    --------
    >>> log_evidence(np.full((1, 2), -1000.0), np.array([0.25, 0.75]))
    array([-1000.])
    """
    relative, highest = _joint(log_densities, priors)
    return np.clip(logsumexp(relative, axis=1) + highest, -LARGEST, LARGEST)


def _joint(log_densities: Float64, priors: Float64) -> tuple[Float64, Float64]:
    """Return log-densities of rows and classes above the highest of each row."""
    # First the difference, then the prior: beside the lowest number it would vanish.
    possible = np.where(priors > 0, log_densities, -np.inf)
    highest = possible.max(axis=1)
    with np.errstate(divide="ignore", over="ignore"):
        return possible - highest[:, None] + np.log(priors), highest
