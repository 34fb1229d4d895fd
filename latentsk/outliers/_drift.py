"""Whether new rows score as calibration rows do: a test of drift."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import ks_2samp

from latentsk._ties import ROUNDING
from latentsk._typing import Float64
from latentsk.outliers._decisions import typical_spread

# Scores that differ by less, in robust standard deviations, are equal: in float32,
# those of equal rows are rounded differently in batches of different sizes.
EQUAL = 1e-4


class KSTest(NamedTuple):
    """The two-sample test of Kolmogorov and Smirnov.

    Attributes
    ----------
    distance : float
        Largest difference between the two distribution functions.
    p_value : float
    """

    distance: float
    p_value: float


def ks_test(scores: ArrayLike, reference: ArrayLike, equal: float = 0.0) -> KSTest:
    """Test whether two samples are of one distribution.

    Parameters
    ----------
    scores : array-like of shape (n_rows,)

    reference : array-like of shape (n_reference,)

    equal : float, default=0.0
        Scores that differ by at most this are equal.

    Returns
    -------
    test : KSTest
        The p-value is exact for up to 10,000 rows in either sample, else asymptotic;
        with ties it is an upper bound.

    Examples
    --------
    >>> ks_test([1.0, 2.0, 3.0], [2.5, 3.5, 4.5])
    KSTest(distance=0.66..., p_value=0.6)
    """
    first = np.sort(np.asarray(scores, np.float64))
    second = np.sort(np.asarray(reference, np.float64))
    below, beside = max(
        _largest_lead(first, second, equal),
        _largest_lead(second, first, equal)[::-1],
        key=lambda shares: abs(shares[0] / len(first) - shares[1] / len(second)),
    )
    # The p-value depends on the sizes and the distance alone: zeros and ones do.
    found = ks_2samp(_cut_at(below, len(first)), _cut_at(beside, len(second)))
    return KSTest(float(found.statistic), float(found.pvalue))


def _largest_lead(first: Float64, second: Float64, equal: float) -> tuple[int, int]:
    """Return numbers of rows up to where the first distribution function leads most."""
    n_first = np.searchsorted(first, first, side="right")
    n_second = np.searchsorted(second, first + equal, side="right")
    lead = n_first / len(first) - n_second / len(second)
    where = int(lead.argmax())
    if lead[where] <= 0.0:  # nowhere
        return 0, 0
    return int(n_first[where]), int(n_second[where])


def _cut_at(n_low: int, n_rows: int) -> Any:
    return (np.arange(n_rows) >= n_low).astype(np.int8)


def drift_line(
    scores: Float64, calibration_scores: Float64, offset: float
) -> dict[str, float]:
    """Compare the scores of rows with those of calibration rows.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)

    calibration_scores : ndarray of shape (n_calibration,)

    offset : float
        Rows with lower scores are alerts.

    Returns
    -------
    line : dict of str to float

    Examples
    --------
    >>> line = drift_line(np.arange(9.0), np.arange(20.0), offset=2.0)
    >>> line["expected_alert_rate"], line["alert_rate"]
    (0.1, 0.2222222222222222)
    """
    centre = float(np.median(calibration_scores))
    rounding = ROUNDING * float(np.finfo(np.float64).eps) * abs(centre)
    equal = max(EQUAL * typical_spread(calibration_scores), rounding)
    test = ks_test(scores, calibration_scores, equal)
    return {
        "n_rows": len(scores),
        "ks_distance": test.distance,
        "p_value": test.p_value,
        "expected_alert_rate": float(np.mean(calibration_scores < offset)),
        "alert_rate": float(np.mean(scores < offset)),
    }


def drift_table(
    scores: Float64, labels: pd.Series, calibration_scores: Float64, offset: float
) -> pd.DataFrame:
    """Return a `drift_line` for each group of rows, in the order of their labels.

    Examples
    --------
    >>> days = pd.Series(["Tue", "Mon", "Tue"], name="day")
    >>> table = drift_table(np.array([0.0, 1.0, 2.0]), days, np.arange(9.0), 0.5)
    >>> table[["n_rows", "alert_rate"]]
         n_rows  alert_rate
    day
    Mon       1         0.0
    Tue       2         0.5
    """
    groups = pd.Series(scores, labels.index).groupby(labels, observed=True)
    lines = {
        label: drift_line(np.asarray(group, np.float64), calibration_scores, offset)
        for label, group in groups
    }
    index = pd.Index(lines.keys(), name=labels.name, tupleize_cols=False)
    return pd.DataFrame(list(lines.values()), index)
