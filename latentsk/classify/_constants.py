"""Columns that are constant in a class, whose densities would have no common scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float64
from latentsk.embedders._base import BaseEmbedder
from latentsk.training._standardize import Moments
from latentsk.vae._likelihoods import LIKELIHOODS

# Deviation of the noise, in that of the column over all classes.
NOISE = 0.1


def needs_scale(estimator: Any) -> bool:
    """Tell whether a density takes its scale from the rows of its class alone.

    An embedder that standardizes does: of a constant column there is nothing to divide
    by, and what its likelihood learns of it depends on the unit of the column, and on
    how long the training was. Two classes would differ by that.

    Parameters
    ----------
    estimator : estimator
        With a likelihood that is named, not "auto".

    Examples
    --------
    >>> from latentsk import PCAEmbedder, VAEEmbedder
    >>> needs_scale(VAEEmbedder(likelihood="gaussian")), needs_scale(PCAEmbedder())
    (True, False)
    """
    if not isinstance(estimator, BaseEmbedder):
        return False
    if getattr(estimator, "input_shape", None) is not None:
        return False  # pixels share one scale
    name = getattr(estimator, "likelihood", None)
    is_real = (
        isinstance(name, str) and name in LIKELIHOODS and LIKELIHOODS[name].is_real
    )
    return is_real and bool(getattr(estimator, "standardize", False))


def deviations(rows: NDArray[Any]) -> Float64:
    """Return the deviation of each column over the rows of all classes, or one.

    Examples
    --------
    >>> deviations(np.array([[0.0, 5.0], [4.0, 5.0]]))
    array([2., 1.])
    """
    found = Moments.of(rows).deviation
    return np.where(found > 0, found, 1.0)


def with_noise(
    rows: NDArray[Any], deviation: Float64, generator: np.random.Generator
) -> NDArray[Any]:
    """Return rows of a class with noise in the columns that are constant among them.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features)

    deviation : ndarray of shape (n_features,)
        Of each column over the rows of all classes.

    generator : numpy.random.Generator

    Examples
    --------
    >>> rows = np.array([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
    >>> noisy = with_noise(rows, np.array([1.0, 40.0]), np.random.default_rng(0))
    >>> bool((noisy[:, 0] == rows[:, 0]).all()), noisy[:, 1].round(1)
    (True, array([7.5, 6.5, 9.6]))
    """
    constant = np.flatnonzero(Moments.of(rows).deviation == 0)
    if len(constant) == 0:
        return rows
    noise = generator.normal(size=(len(rows), len(constant)))
    noisy = np.array(rows, np.result_type(rows, np.float32))
    noisy[:, constant] += NOISE * deviation[constant] * noise
    return noisy
