"""Schedules as plain functions of the step or epoch."""

from __future__ import annotations

import math


def cosine_decay(fraction: float) -> float:
    """Return the factor of the learning rate after a fraction of the training.

    Half a cosine from 1 to 0 (Loshchilov & Hutter, 2017).

    Examples
    --------
    >>> [round(cosine_decay(fraction), 3) for fraction in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, fraction)))


def linear_warm_up(step: int, n_warm_up: int, n_steps: int) -> float:
    """Return a weight that rises from 0 to 1, and arrives before the training ends.

    Parameters
    ----------
    step : int
        Steps taken so far.

    n_warm_up : int
        Steps to rise over; more than half of all steps count as half of them.

    n_steps : int
        Steps of the whole training.

    Examples
    --------
    >>> [linear_warm_up(step, 4, 100) for step in (0, 2, 4, 99)]
    [0.0, 0.5, 1.0, 1.0]
    >>> linear_warm_up(50, 1_000, 100)
    1.0
    """
    n_warm_up = min(n_warm_up, n_steps // 2)
    return 1.0 if step >= n_warm_up else step / n_warm_up
