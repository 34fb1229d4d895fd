"""How well rows conform to classes: by their density, and by how far others fall short.

A density alone hardly tells rows of no class from those of some: an image with few
strokes is dense whatever it shows. The ratio to the best other class tells them better,
and alone it is blind where a row is far from all. So both count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from scipy.special import ndtri

from latentsk._typing import Float64
from latentsk.classify._bayes import LARGEST
from latentsk.outliers._decisions import typical_spread
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import floats
from latentsk.preprocessing._columns import is_rounding

# Slope at which the logistic distribution has unit variance.
SLOPE = math.pi / math.sqrt(3.0)
# Share of the rows that a deviation is measured by: those that conform worst.
TAIL = 0.05
# Deviations are drawn in to it, so that sums and products of them stay finite.
LARGEST_DEVIATION = 1e300


@storable()
class TypicalRows(NamedTuple):
    """Median and spread of what rows of a class have, for each class.

    The spread is that of the lower tail: the distance from the median to the 0.05
    quantile, over what it is for a normal distribution of unit variance.

    Attributes
    ----------
    log_density, log_density_spread : ndarray of shape (n_classes,)
        Of the log-density of the class.
    log_ratio, log_ratio_spread : ndarray of shape (n_classes,)
        Of the logarithm of its ratio to the best other class.
    """

    log_density: Annotated[Float64, floats("classes")]
    log_density_spread: Annotated[Float64, floats("classes", least=5e-324)]
    log_ratio: Annotated[Float64, floats("classes")]
    log_ratio_spread: Annotated[Float64, floats("classes", least=5e-324)]


def log_ratios(log_densities: Float64) -> Float64:
    """Return the log of the ratio of each class's density to the best other class's.

    Parameters
    ----------
    log_densities : ndarray of shape (n_rows, n_classes)
        Finite numbers.

    Returns
    -------
    log_ratios : ndarray of shape (n_rows, n_classes)
        At most one of a row is positive. Zeros where there is but one class.

    Examples
    --------
    >>> log_ratios(np.array([[-1.0, -5.0, -4.0]]))
    array([[ 3., -4., -3.]])
    """
    if log_densities.shape[1] == 1:
        return np.zeros_like(log_densities)
    best = log_densities.argmax(axis=1, keepdims=True)
    others = log_densities.copy()
    np.put_along_axis(others, best, -np.inf, axis=1)
    second = others.max(axis=1, keepdims=True)
    is_best = np.arange(log_densities.shape[1]) == best
    highest = np.take_along_axis(log_densities, best, axis=1)
    with np.errstate(over="ignore"):
        found = log_densities - np.where(is_best, second, highest)
    return np.clip(found, -LARGEST, LARGEST)


def typical_rows(log_densities: Sequence[Float64]) -> TypicalRows:
    """Return what is typical of each class.

    Parameters
    ----------
    log_densities : sequence of n_classes ndarrays of shape (n_own_rows, n_classes)
        Of rows of each class.

    Examples
    --------
    >>> own = np.array([[-1.0, -5.0], [-2.0, -9.0], [-3.0, -7.0]])
    >>> typical_rows([own, own[:, ::-1]]).log_ratio
    array([4., 4.])
    """
    own = [rows[:, k] for k, rows in enumerate(log_densities)]
    ratios = [log_ratios(rows)[:, k] for k, rows in enumerate(log_densities)]
    parts = []
    for values in (own, ratios):
        with np.errstate(over="ignore"):  # halfway between two of the largest numbers
            medians = np.array([np.median(v) for v in values])
        parts.append(np.clip(medians, -LARGEST, LARGEST))
        parts.append(np.array([_spread(v) for v in values]))
    return TypicalRows(*parts)


def _spread(values: Float64) -> float:
    """Return the deviation of the lower tail of values, which is what counts."""
    with np.errstate(over="ignore", invalid="ignore"):
        low, median = np.quantile(values, [TAIL, 0.5])
        spread = (median - low) / -ndtri(TAIL)
        if not np.isfinite(spread) or is_rounding(spread, values):
            spread = typical_spread(values)
    return min(float(spread), LARGEST) if spread > 0 else 1.0


def conformity(log_densities: Float64, typical: TypicalRows) -> Float64:
    """Return how well each row conforms to each class.

    ``log s(d) + log s(r)``, where d is how many deviations the log-density of the class
    lies above that of a typical row of the class, r is the same of its ratio to the
    best other class, and s is the logistic distribution function of unit variance: two
    tail probabilities, multiplied as Fisher's method does. Above the typical row there
    is little to gain; below, every deviation costs.

    Parameters
    ----------
    log_densities : ndarray of shape (n_rows, n_classes)
        Finite numbers.

    typical : TypicalRows

    Returns
    -------
    conformity : ndarray of shape (n_rows, n_classes)
        At most 0; that of a typical row is -1.39, or -0.69 where there is but one
        class, and no ratio.

    Examples
    --------
    >>> own = np.array([[-1.0, -5.0], [-2.0, -9.0], [-3.0, -7.0]])
    >>> typical = typical_rows([own, own[:, ::-1]])
    >>> conformity(np.array([[-2.0, -6.0], [-2.0, -2.0]]), typical).round(2)
    array([[ -1.39, -24.39],
           [ -6.26,  -6.26]])
    """
    parts = [_shortfall(log_densities, typical.log_density, typical.log_density_spread)]
    if log_densities.shape[1] > 1:
        ratios = log_ratios(log_densities)
        parts.append(_shortfall(ratios, typical.log_ratio, typical.log_ratio_spread))
    return np.sum(parts, axis=0)


def _shortfall(values: Float64, typical: Float64, spread: Float64) -> Float64:
    """Return the logarithm of the logistic distribution function of deviations."""
    with np.errstate(over="ignore"):
        deviations = (values - typical) / spread
    most = LARGEST_DEVIATION
    return -np.logaddexp(0.0, -SLOPE * np.clip(deviations, -most, most))
