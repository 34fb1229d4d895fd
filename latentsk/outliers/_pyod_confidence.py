"""How sure PyOD's labels are: confidence, rejection, and what rejection costs.

A row with k of n training scores at or below its own has the chance
p = (1 + k) / (2 + n) that a training row scores no higher (the mean of its posterior).
Had the n training rows been drawn anew, the row would be an outlier if more than
n - n_outliers of them scored no higher: a tail of the binomial distribution.

Everything is rounded as PyOD rounds it, so that its users find the same numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root_scalar
from scipy.stats import binom

from latentsk._typing import Float64


class RejectionStats(NamedTuple):
    """What a rejection of unsure labels does.

    Attributes
    ----------
    expected_rate : float
        Share of rows that are rejected, where the ranks of rows among the training
        rows are uniform.

    rate_bound : float
        Upper bound of that share, which holds with a chosen probability. It may be
        above 1.

    cost_bound : float
        Upper bound of the expected cost of a row.
    """

    expected_rate: float
    rate_bound: float
    cost_bound: float


class Costs(NamedTuple):
    """What a false positive, a false negative and a rejection cost."""

    c_fp: float
    c_fn: float
    c_r: float


def outlier_chance(
    scores: Float64, training_scores: Float64, n_outliers: int
) -> Float64:
    """Return the chance that a row would be labelled an outlier by a new training set.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
        Higher = more of an outlier.

    training_scores : ndarray of shape (n_samples,)

    n_outliers : int
        Number of training rows that are labelled outliers.

    Returns
    -------
    chance : ndarray of shape (n_rows,)

    References
    ----------
    L. Perini, V. Vercruyssen and J. Davis (2020). Quantifying the confidence of anomaly
    detectors in their example-wise predictions. ECML PKDD, 227-243.

    Examples
    --------
    Two of three training scores lie at or below 5, and one row of three is an outlier:
    all three would have to lie there.

    >>> outlier_chance(np.array([5.0]), np.array([1.0, 2.0, 9.0]), 1).round(3)
    array([0.216])
    >>> round((3 / 5) ** 3, 3)
    0.216
    """
    n_samples = len(training_scores)
    below = np.searchsorted(np.sort(training_scores), scores, side="right")
    posterior = (1 + below) / (2 + n_samples)
    return 1 - binom.cdf(n_samples - n_outliers, n_samples, posterior)


def is_rejected(chance: Float64, T: float) -> NDArray[np.bool_]:
    """Tell whose label is unsure: its stability is at most ``1 - 2 * exp(-T)``.

    Parameters
    ----------
    chance : ndarray of shape (n_rows,)
        Of being labelled an outlier; the stability is ``abs(2 * chance - 1)``.

    T : float
        From 39 on the bound is rounded to 1, and every row is rejected.

    References
    ----------
    L. Perini and J. Davis (2023). Unsupervised anomaly detection with rejection.
    Advances in Neural Information Processing Systems 36.

    Examples
    --------
    >>> is_rejected(np.array([0.4, 1e-9, 1 - 1e-9, 1.0]), 10)
    array([ True, False, False, False])
    """
    return np.abs(2 * chance - 1) <= 1 - 2 * np.exp(-T)


def rejection_stats(
    n_samples: int, contamination: float, T: float, delta: float, costs: Costs
) -> RejectionStats:
    """Return the expected share of rejected rows, its bound, and that of the cost.

    Parameters
    ----------
    n_samples : int
        Number of training rows.

    contamination : float
        Share of outliers among them.

    T : float
        Rows are rejected as :func:`is_rejected` tells.

    delta : float
        The bound of the share fails with at most this probability.

    costs : Costs

    Returns
    -------
    stats : RejectionStats

    Examples
    --------
    >>> stats = rejection_stats(200, 0.1, 5, 0.1, Costs(1, 1, 0.1))
    >>> [round(value, 3) for value in stats]
    [0.104, 0.336, 0.165]
    """
    low, high = _rejected_shares(n_samples, int(n_samples * contamination), T)
    wrong = (
        min(contamination, low) * costs.c_fp + min(1 - high, contamination) * costs.c_fn
    )
    return RejectionStats(
        expected_rate=high - low,
        rate_bound=_rate_bound(n_samples, contamination, T, delta),
        cost_bound=wrong + (high - low) * costs.c_r,
    )


def _rejected_shares(n_samples: int, n_outliers: int, T: float) -> tuple[float, float]:
    """Return between which shares of higher scores among the training rows, at all.

    A row with the share q is an outlier with the chance that fewer than n_outliers of
    n_samples score higher; it is rejected where that lies from exp(-T) to 1 - exp(-T).
    """
    if n_outliers == 0:  # no row is ever an outlier: all labels are sure
        return 0.0, 0.0

    def share(chance: float) -> float:
        def excess(q: float) -> float:
            return binom.cdf(n_outliers - 1, n_samples, q) - chance

        return float(root_scalar(excess, bracket=[0, 1], method="brentq").root)

    tail = min(float(np.exp(-T)), 0.5)
    return share(1 - tail), share(tail)


def _rate_bound(n_samples: int, gamma: float, T: float, delta: float) -> float:
    """Return the bound of Perini and Davis (2023) as PyOD computes it."""
    n = float(n_samples)
    right = (1 + n - gamma * (n + 2)) / n + np.sqrt(T / (2 * n**3)) * (n + 2)
    inner = 2 * n * (-3 * gamma**2 - 2 * n * (1 - gamma) ** 2 + 4 * gamma - 3)
    inner += T * (n + 2) ** 2 - 8
    # For small T the root is not real, and the right side alone is the bound.
    left = 0.0
    if inner >= 0:
        middle = (2 + n * (1 - gamma) * (n + 1)) / n**2
        left = max(0.0, middle - np.sqrt(n**5 * inner / 2) / n**4)
    deviation = 2 * np.sqrt(np.log(2 / delta) / (2 * n))
    return float(min(1.0, right) - left + deviation)
