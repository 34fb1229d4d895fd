"""Which classes rows can belong to, at an error rate: split-conformal prediction."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from latentsk._typing import Float64

# Numbers of rows above are told to their leading digits.
EXACT = 1e9


def n_as_low(scores: Float64, calibration: Float64) -> NDArray[np.intp]:
    """Return how many calibration rows score as low as each row, or lower.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)

    calibration : ndarray of shape (n_calibration,)
        In ascending order.

    Examples
    --------
    >>> n_as_low(np.array([-5.0, 0.0, 9.0]), np.array([-1.0, 0.0, 1.0]))
    array([0, 2, 3])
    """
    return np.searchsorted(calibration, scores, side="right")


def lowest_rank(n_rows: int, level: float, confidence: float | None = None) -> int:
    """Return the number of calibration rows that a row has to score as high as.

    A row that fewer than so many of `n_rows` calibration rows score as low as does not
    belong to their class. Rows of the class fail with a probability that depends on
    the calibration rows: for rank r it has the distribution Beta(r, n + 1 - r), or is
    lower where scores are tied (Vovk, 2012). Its mean is r / (n + 1).

    Parameters
    ----------
    n_rows : int

    level : float in (0, 1)
        Largest share of rows of the class that may fail.

    confidence : float in (0, 1) or None, default=None
        None: the share is at most `level` on average over draws of the calibration
        rows. A number: with this probability it is for those at hand.

    Returns
    -------
    rank : int
        The highest such rank; 0 where there are too few rows for any.

    References
    ----------
    V. Vovk (2012). Conditional validity of inductive conformal predictors. Asian
    Conference on Machine Learning, 475-490.

    Examples
    --------
    >>> lowest_rank(18, 0.05), lowest_rank(19, 0.05), lowest_rank(1_000, 0.05)
    (0, 1, 50)
    >>> lowest_rank(1_000, 0.05, confidence=0.95)
    39
    """
    ranks = np.arange(1, n_rows + 1, dtype=np.float64)
    if confidence is None:
        # Compared as p-values are: ``p <= level``.
        return int(np.count_nonzero(ranks / (n_rows + 1.0) <= level))
    return int(
        np.count_nonzero(beta.cdf(level, ranks, n_rows + 1 - ranks) >= confidence)
    )


def n_needed(level: float, confidence: float | None = None) -> float:
    """Return how many calibration rows a class needs, that rows can fail at all.

    Examples
    --------
    >>> n_needed(0.05), n_needed(0.05, confidence=0.95)
    (19, 59)
    """
    if confidence is None:
        guess = 1.0 / level - 1.0
    else:
        guess = math.log1p(-confidence) / math.log1p(-level)
    if guess > EXACT:
        return guess
    # To the row, as ranks are compared.
    n_rows = max(int(guess) - 1, 1)
    while not _can_fail(n_rows, level, confidence):
        n_rows += 1
    return n_rows


def _can_fail(n_rows: int, level: float, confidence: float | None) -> bool:
    if confidence is None:
        return 1.0 / (n_rows + 1.0) <= level
    return bool(beta.cdf(level, 1, n_rows) >= confidence)
