"""Distances of different kinds on one scale, and the score that they make."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsk._typing import Float64
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import floats

# What is measured, a column each: squared distances within and outside the latent space
# and both in one; local and global distances to neighbours.
KINDS = ("distance", "residual", "joint", "near", "overall")
# The kinds that a method takes the most suspicious of. The first two methods have one,
# and are minus the squared distance itself.
METHODS = {
    "distance": ("distance",),
    "residual": ("residual",),
    "neighbors": ("near", "overall"),
    "auto": ("near", "overall", "joint"),
}
# Standard deviation over median absolute deviation, for a normal distribution.
NORMAL_MAD = 1.4826022185056018
# Logarithms of distances that differ by less are equal.
TIE = 1e-6
# A factor of 1.05 is one unit at least, however equal the training rows' distances are.
LEAST_SPREAD = 0.05
# So are these, over the effective number of dimensions: what chance makes of logarithms
# of distances to five neighbours, and what a flat end of a cloud does to global ones.
LEAST_LOCAL, LEAST_GLOBAL = 5**-0.5, 0.7
# No row is more normal than this many deviations: copies of one row are at distance
# zero, whose logarithm says nothing.
MOST_NORMAL = 3.0
# Share of the median distance that is added to every distance, for those of zero.
FLOOR = 1e-6
LOWEST = float(np.finfo(np.float64).min)


@storable(dict.fromkeys(("centre", "spread", "floor", "margin"), floats(len(KINDS))))
class Scale(NamedTuple):
    """Where the logarithms of training rows' distances lie.

    Attributes
    ----------
    centre : float, or ndarray with an item for each kind of distance
        Their median.
    spread : float or ndarray
        Their median absolute deviation, times 1.4826.
    floor : float or ndarray
        What is added to a distance before the logarithm is taken.
    margin : float or ndarray, default=0.0
        How far a kind must lead: what is taken off its deviations.
    """

    centre: Any
    spread: Any
    floor: Any
    margin: Any = 0.0


def scale_of(
    distances: ArrayLike, least: float = LEAST_SPREAD, least_of_ties: float = 0.0
) -> Scale:
    """Return the scale of a sample of distances.

    Medians do not move far while fewer than half of the rows are outliers. Distances
    of zero, of copies of one row, say nothing of what is typical and are left out.
    Where half of the rest are equal, the spread is that of the others.

    Parameters
    ----------
    distances : array-like of shape (n_rows,)
        Not negative.

    least : float, default=0.05
        The least that the spread is taken to be.

    least_of_ties : float, default=0.0
        The same, where half of the distances are equal.

    Returns
    -------
    scale : Scale
        If all distances are zero, the one that leaves ``log(1 + distance)``.

    Examples
    --------
    >>> scale_of(np.exp([-1.0, 0.0, 1.0]))
    Scale(centre=..., spread=1.48..., floor=1e-06, margin=0.0)
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
        # Counts and categories have few distances; equal ones have no spread.
        deviations, least = deviations[deviations >= TIE], max(least, least_of_ties)
    deviation = float(np.median(deviations)) if len(deviations) else 0.0
    return Scale(centre, max(NORMAL_MAD * deviation, least, LEAST_SPREAD), floor)


def scale_of_kinds(distances: Float64, margin: float, n_dimensions: float) -> Scale:
    """Return the scale of training rows' distances, given a column for each of KINDS.

    Every kind but "near" must lead by the margin. Regular rows, such as those of a
    grid, are no more equal to each other than random ones in as many dimensions.

    Parameters
    ----------
    distances : ndarray of shape (n_rows, n_kinds)

    margin : float

    n_dimensions : float
        Effective number of dimensions of the rows.

    Returns
    -------
    scale : Scale
    """
    least = {"near": LEAST_LOCAL, "overall": LEAST_GLOBAL}
    columns = [
        scale_of(column, least.get(kind, 0.0) / n_dimensions, least.get(kind, 0.0))
        for kind, column in zip(KINDS, distances.T, strict=True)
    ]
    centre, spread, floor, _ = np.transpose(columns)
    margins = np.where(np.array(KINDS) == "near", 0.0, margin)
    return Scale(centre, spread, floor, margins)


def deviations(distances: ArrayLike, scale: Scale) -> Float64:
    """Return how many robust standard deviations above typical each distance is.

    Parameters
    ----------
    distances : array-like of shape (n_rows,) or (n_rows, n_kinds)
        Not negative.

    scale : Scale

    Returns
    -------
    deviations : ndarray of the shape of the distances
        ``(log(distance + floor) - centre) / spread``, at least -3, less the margin.

    Examples
    --------
    >>> deviations([1.0, 100.0], Scale(0.0, np.log(10.0), 0.0))
    array([0., 2.])
    """
    logarithms = np.log(np.asarray(distances, np.float64) + scale.floor)
    found = (logarithms - scale.centre) / scale.spread
    return np.maximum(found, -MOST_NORMAL) - scale.margin


def score_of(
    method: str, distances: Float64, scale: Scale
) -> tuple[Float64, NDArray[np.str_]]:
    """Return scores, and the kind of distance that each of them is.

    Parameters
    ----------
    method : str
        One of METHODS.

    distances : ndarray of shape (n_rows, n_kinds)

    scale : Scale

    Returns
    -------
    scores : ndarray of shape (n_rows,)
        Minus the deviations of the most suspicious kind of the method; minus the
        distance where it has one kind.

    kinds : ndarray of shape (n_rows,)
        That kind.
    """
    kinds = METHODS[method]
    if len(kinds) > 1:
        distances = deviations(distances, scale)
    distances = distances[:, [KINDS.index(kind) for kind in kinds]]
    worst = np.array(kinds)[distances.argmax(axis=1)]
    return clip_to_finite(-distances.max(axis=1)), worst


def clip_to_finite(scores: Float64) -> Float64:
    """Return scores with the lowest finite number for what overflows.

    Examples
    --------
    >>> clip_to_finite(np.array([-1.0, -np.inf, np.nan]))
    array([-1.00000000e+000, -1.79769313e+308, -1.79769313e+308])
    """
    return np.nan_to_num(scores, nan=LOWEST, neginf=LOWEST)
