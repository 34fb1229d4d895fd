"""From scores to decisions: p-values, thresholds, false discovery rates."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from latentsk._typing import Float64
from latentsk.preprocessing._columns import is_rounding

# Of the training scores: of the least one that is not all ties, the deviation counts.
TYPICAL_SHARES = np.array([0.5, 0.75, 0.9])

# Where an exponential tail begins, its share below the threshold, and how many times
# the distance from quartile to median below the quartile a score is far out.
TAIL_FROM, TAIL_SHARE, FAR_OUT = 0.05, 0.01, 6.0


def conformal_p_values(scores: ArrayLike, calibration_scores: ArrayLike) -> Float64:
    """Return how often a normal row scores as low as each row, by split calibration.

    ``p = (1 + r) / (n + 1)``, where r of the n calibration rows score as low or lower
    (Vovk, Gammerman and Shafer, 2005). For a row that is exchangeable with the
    calibration rows, ``p <= a`` has at most probability a, whatever the score.

    Parameters
    ----------
    scores : array-like of shape (n_rows,)
        Higher = more normal.

    calibration_scores : array-like of shape (n_calibration,)
        Scores of normal rows that the model has not been fitted on.

    Returns
    -------
    p_values : ndarray of shape (n_rows,)
        In [1 / (n + 1), 1]; low for outliers.

    Raises
    ------
    ValueError
        If there are no calibration scores, or any score is not a number.

    Examples
    --------
    >>> conformal_p_values([-5.0, 0.0, 9.0], [-1.0, 0.0, 1.0, 2.0])
    array([0.2, 0.6, 1. ])
    """
    scores = np.asarray(scores, np.float64)
    calibration = np.sort(np.asarray(calibration_scores, np.float64))
    if len(calibration) == 0:
        raise ValueError("There are no calibration scores.")
    if np.isnan(scores).any() or np.isnan(calibration).any():
        raise ValueError("Scores must be numbers, got NaN.")
    n_as_low = np.searchsorted(calibration, scores, side="right")
    return (n_as_low.astype(np.float64) + 1.0) / (len(calibration) + 1.0)


def conformal_threshold(calibration_scores: ArrayLike, level: float) -> float:
    """Return the score that exactly the rows with ``p <= level`` lie below.

    Parameters
    ----------
    calibration_scores : array-like of shape (n_calibration,)
        Scores of normal rows that the model has not been fitted on.

    level : float in (0, 1)
        Largest p-value of an outlier.

    Returns
    -------
    threshold : float
        One of the calibration scores; ``conformal_p_values`` of a score is at most
        `level` if and only if the score is lower. Of equal calibration scores all lie
        below or none, so that ties may leave far fewer below than `level` allows.

    Raises
    ------
    ValueError
        If no p-value of these calibration rows is as low as `level`.

    Examples
    --------
    >>> conformal_threshold([-1.0, 0.0, 1.0, 2.0], level=0.4)
    0.0
    """
    calibration = np.sort(np.asarray(calibration_scores, np.float64))
    n = len(calibration)
    # p <= level means at most this many calibration rows as low or lower; the products
    # are compared as those of the p-values are.
    allowed = np.flatnonzero((np.arange(n + 1) + 1.0) / (n + 1.0) <= level)
    if len(allowed) == 0:
        needed = np.ceil(1 / float(level)) - 1
        raise ValueError(
            f"The smallest p-value with {n} calibration rows is {1 / (n + 1):.2g}, "
            f"above {level}: calibrate with {needed:.15g} rows or more."
        )
    return float(calibration[allowed[-1]])


def benjamini_hochberg(p_values: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Tell which p-values to reject at a false discovery rate.

    The k smallest, for the largest k with ``p_(k) <= k * level / n`` (Benjamini and
    Hochberg, 1995). For conformal p-values with one calibration sample, too, the
    expected share of false discoveries is at most `level` (Bates et al., 2023).

    Parameters
    ----------
    p_values : array-like of shape (n_rows,)

    level : float in (0, 1)

    Returns
    -------
    rejected : ndarray of shape (n_rows,), dtype bool

    Raises
    ------
    ValueError
        If `level` is not in (0, 1), or a p-value not in [0, 1].

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.9, 0.03, 0.04], level=0.1)
    array([ True, False,  True,  True])
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be in (0, 1), got {level}.")
    p_values = np.asarray(p_values, np.float64)
    if not ((p_values >= 0.0) & (p_values <= 1.0)).all():
        raise ValueError("p-values must be in [0, 1].")
    order = np.argsort(p_values, kind="stable")
    thresholds = level * np.arange(1, len(p_values) + 1) / len(p_values)
    below = np.flatnonzero(p_values[order] <= thresholds)
    rejected = np.zeros(len(p_values), bool)
    if len(below):
        rejected[order[: below[-1] + 1]] = True
    return rejected


def tail_threshold(scores: ArrayLike) -> float:
    """Return a score that about 1 % of normal rows lie below, or fewer.

    The lower tail is taken to fall off like an exponential between the first quartile
    and the lowest twentieth, and is continued. Tails that are thinner, as those of most
    scores, have less below. Scores that are far out, below ``Q1 - 6 (Q2 - Q1)``, are
    left aside first, so that up to a quarter of outliers far away does no harm, and a
    twentieth of any others.

    Parameters
    ----------
    scores : array-like of shape (n_rows,)
        Higher = more normal.

    Returns
    -------
    threshold : float
        In the scores' unit, and not above the first quartile.

    Examples
    --------
    >>> from scipy.stats import expon, norm
    >>> grid = (np.arange(100_000) + 0.5) / 100_000
    >>> for law in expon, norm:
    ...     round(float(law.sf(-tail_threshold(-law.ppf(grid)))), 4)
    0.0114
    0.0045
    """
    ranked = np.sort(np.asarray(scores, np.float64))
    quartile, median = np.quantile(ranked, [0.25, 0.5])
    with np.errstate(over="ignore", invalid="ignore"):
        kept = ranked[ranked >= quartile - FAR_OUT * (median - quartile)]
        low, quartile = np.quantile(kept, [TAIL_FROM, 0.25])
        steps = np.log(TAIL_FROM / TAIL_SHARE) / np.log(0.25 / TAIL_FROM)
        threshold = float(low - steps * (quartile - low))
    return max(threshold, float(np.finfo(np.float64).min))


def gaussian_scaling(scores: ArrayLike, training_scores: Float64) -> Float64:
    """Return scores as numbers in [0, 1], high for outliers (Kriegel et al., 2011).

    ``max(0, 2 F(t) - 1)``, with F the standard normal distribution function and t how
    many robust standard deviations (:func:`typical_spread`) a score lies below the
    median training score.

    Parameters
    ----------
    scores : array-like of shape (n_rows,)
        Higher = more normal.

    training_scores : ndarray of shape (n_training,)

    Returns
    -------
    probability : ndarray of shape (n_rows,)

    Examples
    --------
    >>> gaussian_scaling([0.0, -1.4826, -9.0], np.array([-1.0, 0.0, 1.0])).round(2)
    array([0.  , 0.68, 1.  ])
    >>> gaussian_scaling([0.0, -9.0, -90.0], np.repeat([-9.0, 0.0], [4, 6])).round(2)
    array([0.  , 0.75, 1.  ])
    """
    spread = typical_spread(training_scores)
    with np.errstate(over="ignore"):  # of the lowest score there is
        below = (np.median(training_scores) - np.asarray(scores, np.float64)) / spread
    return np.maximum(0.0, 2.0 * ndtr(below) - 1.0)


def typical_spread(scores: Float64) -> float:
    """Return the robust standard deviation of scores.

    That of a normal distribution with the same median absolute deviation; where more
    than half of the scores are equal, with the same 0.75 or 0.9 quantile of absolute
    deviations; where nine tenths are, 1.

    Examples
    --------
    >>> typical_spread(np.array([-1.0, 0.0, 1.0])).round(4)
    np.float64(1.4826)
    >>> typical_spread(np.zeros(9))
    1.0
    """
    deviations = np.abs(scores - np.median(scores))
    spreads = np.quantile(deviations, TYPICAL_SHARES) / ndtri(0.5 + TYPICAL_SHARES / 2)
    return next((s for s in spreads if not is_rounding(s, scores)), 1.0)
