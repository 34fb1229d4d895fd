"""Schedules as plain functions of the step or epoch."""

from __future__ import annotations

import math
from collections.abc import Callable

# Of the cyclical warm-up.
N_CYCLES = 4


def cosine_decay(fraction: float) -> float:
    """Return the factor of the learning rate after a fraction of the training.

    Half a cosine from 1 to 0 (Loshchilov & Hutter, 2017).

    Examples
    --------
    >>> [round(cosine_decay(fraction), 3) for fraction in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, fraction)))


def _linear(share: float) -> float:
    return share


def _cosine(share: float) -> float:
    return 1.0 - cosine_decay(share)


def _cyclical(share: float) -> float:
    # Half of every cycle rises, half stays.
    return min(1.0, 2.0 * math.fmod(N_CYCLES * share, 1.0))


WARM_UPS: dict[str, Callable[[float], float]] = {
    "linear": _linear,
    "cosine": _cosine,
    "cyclical": _cyclical,
}


def warm_up(step: int, n_warm_up: float, schedule: str = "linear") -> float:
    """Return a weight in [0, 1] that is 0 at the first step, and 1 after the warm-up.

    Parameters
    ----------
    step : int
        Steps taken so far.

    n_warm_up : float
        Steps of the warm-up.

    schedule : {"linear", "cosine", "cyclical"}, default="linear"
        How it rises: at one speed, slowly at first and at last, or four times from 0,
        each time over half of the cycle (Fu et al., 2019).

    Examples
    --------
    >>> [warm_up(step, 4) for step in (0, 2, 4, 99)]
    [0.0, 0.5, 1.0, 1.0]
    >>> [round(warm_up(step, 4, "cosine"), 3) for step in (0, 1, 2, 4)]
    [0.0, 0.146, 0.5, 1.0]
    >>> [warm_up(step, 32, "cyclical") for step in (0, 2, 4, 7, 8, 10, 32)]
    [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0]
    """
    return 1.0 if step >= n_warm_up else WARM_UPS[schedule](step / n_warm_up)
