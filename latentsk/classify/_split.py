"""Rows of each class that are set aside, so that no density is fitted to them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Positions


def set_aside(
    codes: NDArray[np.intp],
    n_classes: int,
    share: float,
    needed: float,
    generator: np.random.Generator,
) -> tuple[Positions, Positions]:
    """Return the positions of the rows to fit, and of those set aside.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,)
        The class of each row, from 0 on.

    n_classes : int

    share : float in (0, 1)
        Of the rows of each class that is set aside, rounded down.

    needed : float
        Rows of a class below which they are of no use: so many are set aside instead
        where they are at most half of the class.

    generator : numpy.random.Generator

    Examples
    --------
    >>> codes = np.repeat([0, 1], [100, 40])
    >>> fit, aside = set_aside(codes, 2, 0.2, 19, np.random.default_rng(0))
    >>> np.bincount(codes[fit]), np.bincount(codes[aside])
    (array([80, 21]), array([20, 19]))
    """
    is_aside = np.zeros(len(codes), bool)
    for k in range(n_classes):
        own = generator.permutation(np.flatnonzero(codes == k))
        n_aside = int(share * len(own))
        if n_aside < needed <= len(own) // 2:
            n_aside = int(needed)
        is_aside[own[:n_aside]] = True
    return np.flatnonzero(~is_aside), np.flatnonzero(is_aside)


def at_most(
    positions: Positions, n_rows: int, generator: np.random.Generator
) -> Positions:
    """Return a random part of positions, in order, where there are more than `n_rows`.

    Examples
    --------
    >>> at_most(np.arange(9), 3, np.random.default_rng(0)).shape
    (3,)
    """
    if len(positions) <= n_rows:
        return positions
    return np.sort(generator.choice(positions, n_rows, replace=False))
