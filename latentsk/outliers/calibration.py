"""Distances of different kinds on one scale, by those of the training rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from latentsk._typing import Float64

# Of a normal distribution, standard deviation over median absolute deviation.
NORMAL_MAD = 1.4826022185056018
# Logarithms of distances that differ by less are equal.
TIE = 1e-6
# A factor of 1.05 is one unit at least, however equal the training rows' distances are.
SMALLEST_SPREAD = 0.05
# No row is more normal than this many deviations: copies of one row are at distance
# zero, whose logarithm says nothing.
MOST_NORMAL = 3.0
# Share of the median distance that every distance is raised by, for those of zero.
FLOOR = 1e-6


class Scale(NamedTuple):
    """Where the logarithms of training rows' distances lie.

    Attributes
    ----------
    centre : float
        Their median.
    spread : float
        Their median absolute deviation, times 1.4826.
    floor : float
        What is added to a distance before the logarithm is taken.
    """

    centre: float
    spread: float
    floor: float


def scale_of(distances: ArrayLike) -> Scale:
    """Return the scale of a sample of distances.

    Medians do not move far while fewer than half of the rows are outliers. Distances
    of zero, of copies of one row, say nothing of what is typical and are left out.
    Where half of the rest are equal, the spread is that of the others.

    Parameters
    ----------
    distances : array-like of shape (n_rows,)
        Not negative.

    Returns
    -------
    scale : Scale
        Of distances that are all zero, the one that leaves ``log(1 + distance)``.

    Examples
    --------
    >>> scale_of(np.exp([-1.0, 0.0, 1.0]))
    Scale(centre=..., spread=1.48..., floor=1e-06)
    """
    distances = np.asarray(distances, np.float64)
    positive = distances[distances > 0.0]
    if len(positive) == 0:
        return Scale(0.0, 1.0, 1.0)
    floor = FLOOR * float(np.median(positive))
    logarithms = np.log(positive + floor)
    centre = float(np.median(logarithms))
    deviations = np.abs(logarithms - centre)
    if np.median(deviations) < TIE:
        # Counts and categories have few distances; of equal ones there is no spread.
        deviations = deviations[deviations >= TIE]
    deviation = float(np.median(deviations)) if len(deviations) else 0.0
    return Scale(centre, max(NORMAL_MAD * deviation, SMALLEST_SPREAD), floor)


def calibrated(distances: ArrayLike, scale: Scale) -> Float64:
    """Return how many robust standard deviations above typical each distance is.

    Parameters
    ----------
    distances : array-like of shape (n_rows,)
        Not negative.

    scale : Scale

    Returns
    -------
    deviations : ndarray of shape (n_rows,)
        ``(log(distance + floor) - centre) / spread``, at least -3.

    Examples
    --------
    >>> calibrated([1.0, 100.0], Scale(0.0, np.log(10.0), 0.0))
    array([0., 2.])
    """
    logarithms = np.log(np.asarray(distances, np.float64) + scale.floor)
    return np.maximum((logarithms - scale.centre) / scale.spread, -MOST_NORMAL)
