"""The rows that are presumed normal, found from the features alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float64, Positions
from latentsk.outliers._gaussian import (
    RobustGaussian,
    gaussian_of_latents,
    left_out_squared_distances,
    squared_distances,
)
from latentsk.outliers._scales import NORMAL_MAD
from latentsk.outliers._unknown import complete_rows, most_likely
from latentsk.preprocessing._columns import RARE

# Share of the rows that centre and covariance are estimated from on the way.
SUPPORT_SHARE = 0.75
# Concentration steps with a ridge, which resist groups of outliers, and without, which
# see tight relations.
RIDGE, RIDGED_STEPS, TIGHT_STEPS = 0.1, 3, 5
# A feature with more cells of one value than this is constant among most rows.
MOSTLY = 0.75
# The least that a robust deviation is taken to be, in units of the feature's scale.
LEAST_ROBUST_SPREAD = 0.1
# The least number of rows that are kept.
LEAST_ROWS = 5
# Distances that differ by less, as a share, are equal.
TIE = 1e-9
# Rows beyond ``Q3 + 3 (Q3 - Q2)`` of the logarithms of distances are set aside.
FENCE = 3.0


def normal_rows(
    features: NDArray[Any],
    scale: NDArray[Any],
    unknown: NDArray[np.bool_] | None = None,
    squared_ranges: Float64 | float = 0.0,
) -> Positions:
    """Return the positions of the rows that are presumed normal.

    Concentration steps as in the minimum covariance determinant (Rousseeuw and van
    Driessen, 1999): three quarters of the rows are kept, those nearest the median at
    first, then those nearest the centre of the last ones, by Mahalanobis distances that
    have a ridge for three steps, and hardly any for up to five more. Rows within a
    fence of the last distances are presumed normal.

    Features with two values, or one value in more than three quarters of the cells, say
    what kind a row is of. What is judged are the other features, given these: kinds
    that are rare would be set aside otherwise, and relations that hold in each kind be
    lost.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)

    scale : ndarray of shape (n_features,)
        Robust standard deviations, positive.

    unknown : ndarray of shape (n_rows, n_features), dtype bool, optional
        Cells that do not count.

    squared_ranges : ndarray of shape (n_features,), default=0.0
        Of features that are known to say what kind a row is of, whatever their values
        look like, the squared ranges; 0 for others.

    Returns
    -------
    positions : ndarray, dtype intp
        In ascending order.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(200, 2))
    >>> features[:20] += 50
    >>> normal_rows(features, np.ones(2)).min()
    np.int64(20)
    """
    features = np.asarray(features, np.float64) / scale
    own = squared_ranges / np.square(scale)
    two_valued = np.maximum(squared_ranges_of_two(features), own)
    kinds = np.flatnonzero((two_valued > 0.0) | is_mostly_one_value(features))
    judged = np.setdiff1d(np.arange(features.shape[1]), kinds)
    if not len(judged):
        judged, kinds = np.arange(features.shape[1]), judged
    start = distances_from_median(features[:, judged], np.ones(len(judged)))
    support = nearest_rows(start, SUPPORT_SHARE)
    distances = start
    for step in range(RIDGED_STEPS + TIGHT_STEPS):
        ridge = RIDGE if step < RIDGED_STEPS else None
        own = None if step < RIDGED_STEPS else two_valued
        distances = conditional_distances(features, support, kinds, ridge, own, unknown)
        nearest = nearest_rows(distances, SUPPORT_SHARE)
        if step > RIDGED_STEPS and np.array_equal(nearest, support):
            break
        support = nearest
    return within_fence(distances)


def conditional_distances(
    features: Float64,
    support: Positions,
    given: Positions,
    ridge: float | None,
    own_ridge: Float64 | None,
    unknown: NDArray[np.bool_] | None = None,
) -> Float64:
    """Return squared Mahalanobis distances of features, given some of them.

    The distance in all features, less that in the given ones. Rows of the support are
    measured as if they had been left out.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)

    support : ndarray, dtype intp
        Rows that centre and covariance are estimated from.

    given : ndarray, dtype intp
        Features that are given.

    ridge : float or None
        See `gaussian_of_latents`.

    own_ridge : ndarray of shape (n_features,) or None
        What is added to the variance of each feature.

    unknown : ndarray of shape (n_rows, n_features), dtype bool, optional
        Cells that do not count.

    Returns
    -------
    squared : ndarray of shape (n_rows,)
        Not negative.
    """
    own = np.zeros(features.shape[1]) if own_ridge is None else own_ridge
    support = complete_rows(support, unknown)
    gaussian = gaussian_of_latents(features[support], ridge, np.diag(own))
    if unknown is not None:
        directions = np.eye(features.shape[1])
        features, _ = most_likely(features, unknown, gaussian, directions)
    squared = _distances(features, gaussian, support)
    if len(given):
        # As wide as within the whole, or the difference could be negative.
        widened = (gaussian.axes * gaussian.variances) @ gaussian.axes.T
        variances, axes = np.linalg.eigh(widened[np.ix_(given, given)])
        marginal = RobustGaussian(
            gaussian.centre[given], axes, variances, gaussian.n_rows
        )
        squared = squared - _distances(features[:, given], marginal, support)
    return np.maximum(squared, 0.0)


def _distances(rows: Float64, gaussian: RobustGaussian, support: Positions) -> Float64:
    squared = squared_distances(rows, gaussian)
    squared[support] = left_out_squared_distances(rows[support], gaussian)
    return squared


def squared_ranges_of_two(features: NDArray[Any]) -> Float64:
    """Return the squared range of each feature that has two values; 0 for others.

    Both values are those of 1 % of the rows at least: rarer ones are extremes.

    Examples
    --------
    >>> squared_ranges_of_two(np.array([[0, 1, 5], [2, 2, 5], [0, 3, 5]]))
    array([4., 0., 0.])
    """
    low, high = features.min(axis=0), features.max(axis=0)
    is_low, is_high = features == low, features == high
    is_two = (is_low | is_high).all(axis=0)
    is_two &= np.minimum(is_low.mean(axis=0), is_high.mean(axis=0)) >= RARE
    return np.where(is_two, high - low, 0.0).astype(np.float64) ** 2


def is_mostly_one_value(features: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which features have one value in more than three quarters of the rows.

    Examples
    --------
    >>> is_mostly_one_value(np.array([[0, 0], [0, 1], [0, 2], [0, 3], [1, 4]]))
    array([ True, False])
    """
    # It would be the median.
    return np.mean(features == np.median(features, axis=0), axis=0) > MOSTLY


def distances_from_median(features: NDArray[Any], scale: NDArray[Any]) -> Float64:
    """Return squared distances from the median of each feature, in robust units.

    The unit is the median absolute deviation of the feature, but at least a tenth of
    its scale: features that are mostly constant would count most.

    Examples
    --------
    >>> rows = np.array([[-1.0], [0.0], [1.0], [30.0]])
    >>> distances_from_median(rows, np.ones(1)).round()
    array([  1.,   0.,   0., 396.])
    """
    centred = features - np.median(features, axis=0)
    robust = NORMAL_MAD * np.median(np.abs(centred), axis=0)
    standardized = centred / np.maximum(robust, LEAST_ROBUST_SPREAD * scale)
    return np.einsum("ij,ij->i", standardized, standardized)


def nearest_rows(distances: Float64, share: float) -> Positions:
    """Return the positions of the given share of rows, in ascending order.

    All, if there are five rows or fewer. Of rows at the same distance all or none are
    kept, whatever their order: what comes nearer to the share.

    Examples
    --------
    >>> nearest_rows(np.array([9.0, 1, 2, 3, 8, 4, 5, 6]), 0.75)
    array([1, 2, 3, 5, 6, 7])
    """
    n_kept = min(max(math.ceil(share * len(distances)), LEAST_ROWS), len(distances))
    farthest = np.partition(distances, n_kept - 1)[n_kept - 1]
    kept = np.flatnonzero(distances <= farthest * (1.0 + TIE))
    nearer = np.flatnonzero(distances < farthest * (1.0 - TIE))
    is_closer = n_kept - len(nearer) < len(kept) - n_kept
    return nearer if is_closer and len(nearer) >= LEAST_ROWS else kept


def within_fence(distances: Float64) -> Positions:
    """Return the positions of the rows that are not far out, at least two.

    Those up to ``Q3 + 3 (Q3 - Q2)`` of the logarithms of the distances.

    Examples
    --------
    >>> within_fence(np.array([1.0, 2.0, 3.0, 4.0, 500.0]))
    array([0, 1, 2, 3])
    """
    positive = distances[distances > 0.0]
    if not len(positive):
        return np.arange(len(distances))
    logarithms = np.log(distances + 1e-6 * np.median(positive))
    middle, upper = np.quantile(logarithms, [0.5, 0.75])
    return np.flatnonzero(logarithms <= upper + FENCE * (upper - middle))
