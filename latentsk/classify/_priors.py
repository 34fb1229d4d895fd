"""Probabilities of classes before a row is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float64


def class_priors(priors: Any, counts: NDArray[np.intp]) -> Float64:
    """Return the probability of each class.

    Parameters
    ----------
    priors : array-like of shape (n_classes,) or None
        None: the shares of the rows.

    counts : ndarray of shape (n_classes,)
        Number of rows of each class.

    Raises
    ------
    ValueError
        If they do not fit the classes, are negative, or do not sum to one.

    Examples
    --------
    >>> class_priors(None, np.array([1, 3]))
    array([0.25, 0.75])
    """
    if priors is None:
        return counts / counts.sum()
    try:
        found = np.asarray(priors, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"priors must hold numbers, got {priors!r}.") from None
    if found.shape != counts.shape:
        raise ValueError(
            f"priors must hold one number for each of the {len(counts)} classes, got "
            f"an array of shape {found.shape}."
        )
    if not (found >= 0).all():
        raise ValueError(f"priors must not be negative, got {found.tolist()}.")
    if not np.isclose(found.sum(), 1.0):
        raise ValueError(
            f"priors must sum to one, got a sum of {found.sum():g}. Divide them by it: "
            "priors / np.sum(priors)."
        )
    return found / found.sum()
