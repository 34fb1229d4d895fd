"""The scale of a likelihood as part of a network: learned above a floor, or fixed."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# In standardized units.
MIN_SCALE = 1e-3
# Where scales that are learned start. From 1 on, that of the data, the posterior of
# many data sets collapses at once (Lucas et al., 2019).
INITIAL_SCALE = 0.3


def floored(raw_log_scale: Tensor, log_floor: Tensor) -> Tensor:
    """Return the logarithm of a scale above a floor.

    Examples
    --------
    >>> floored(torch.tensor([-100.0, 0.0]), torch.tensor(-7.0))
    tensor([-7.0000e+00,  9.1147e-04])
    """
    return torch.logaddexp(raw_log_scale, log_floor)


def add_scale(
    network: nn.Module, n_scales: int, min_scale: float, initial_scale: float
) -> None:
    """Give a network `raw_log_scale` and `log_floor`, of which :func:`floored` is.

    Parameters
    ----------
    network : nn.Module

    n_scales : int
        Number of scales that are learned: none, one, or one per feature.

    min_scale : float
        Least scale, approached smoothly.

    initial_scale : float
        Scale to start from; the one that stays, where none is learned.
    """
    floor = torch.tensor(math.log(min_scale), dtype=torch.float32)
    network.register_buffer("log_floor", floor, persistent=False)
    # What the floor adds is taken away, so that the start is as given.
    raw = math.log(max(initial_scale - min_scale, 1e-3 * min_scale))
    start = torch.full((max(1, n_scales),), raw, dtype=torch.float32)
    if n_scales:
        network.register_parameter("raw_log_scale", nn.Parameter(start))
    else:
        network.register_buffer("raw_log_scale", start)
