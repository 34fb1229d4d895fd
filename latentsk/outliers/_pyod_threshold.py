"""Where PyOD's labels change: at a share of the rows, or as a thresholder says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._threshold import contamination_quantile
from latentsk._typing import Float64

Labels = NDArray[np.int_]


def share_threshold(scores: Float64, contamination: float) -> float:
    """Return PyOD's threshold, unless another one is nearer to the share.

    Examples
    --------
    >>> share_threshold(np.array([3.0, 0, 10, 1, 2]), 0.3)
    2.8
    """
    # Of 1 - contamination, not of contamination: rounded as PyOD rounds it.
    percentile = float(np.percentile(scores, 100 * (1 - contamination)))
    threshold = -contamination_quantile(-scores, contamination, -percentile)
    is_same = np.array_equal(scores > threshold, scores > percentile)
    return percentile if is_same else threshold


def thresholder_threshold(thresholder: Any, labels: Labels) -> float:
    """Return the threshold of a fitted thresholder, or the share that it labels 1.

    Its unit is the thresholder's: PyThresh scales scores to [0, 1].
    """
    threshold = getattr(thresholder, "thresh_", None)
    return float(threshold if threshold else labels.mean())


def as_labels(values: Any) -> Labels:
    """Return the 0 and 1 of a thresholder as integers."""
    return np.asarray(values).astype(int).ravel()
