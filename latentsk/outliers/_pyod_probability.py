"""PyOD's two ways from outlier scores to numbers in [0, 1]."""

from __future__ import annotations

import numpy as np
from scipy.special import erf
from sklearn.preprocessing import MinMaxScaler

from latentsk._typing import Float64
from latentsk.preprocessing._columns import is_rounding


def linear_probability(scores: Float64, training_scores: Float64) -> Float64:
    """Return 0 at the lowest training score, 1 at the highest, and between them a line.

    Examples
    --------
    >>> linear_probability(np.array([0.0, 3, 9]), np.array([1.0, 5]))
    array([0. , 0.5, 1. ])
    """
    scaler = MinMaxScaler(clip=True).fit(training_scores[:, None])
    return scaler.transform(scores[:, None])[:, 0]


def unified_probability(scores: Float64, training_scores: Float64) -> Float64:
    """Return ``max(0, erf(t / sqrt(2)))``, t standard deviations above the mean.

    Examples
    --------
    >>> unified_probability(np.array([2.0, 3, 4]), np.array([2.0, 4])).round(2)
    array([0.  , 0.  , 0.68])
    """
    # PyOD divides by zero where all training rows score alike.
    spread = float(np.std(training_scores))
    spread = 1.0 if is_rounding(spread, training_scores) else spread
    deviations = (scores - np.mean(training_scores)) / (spread * np.sqrt(2.0))
    return np.maximum(0.0, erf(deviations))
