"""Which levels the parameters of a HierarchicalVAEEmbedder mean, and their network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from numbers import Integral
from typing import Any

import numpy as np
from torch import nn

from latentsk.embedders._variational import Parts
from latentsk.networks._architecture import (
    Architecture,
    NetworkParameters,
    automatic_components,
    build_network,
    checked_sizes,
    describe_network,
)
from latentsk.vae._ladder import BottomUp, Ladder

# Units of a perceptron between two levels that "auto" means, at least, and for each
# latent dimension of the wider one.
MIN_UNITS, UNITS_PER_LATENT = 32, 4
# Latent dimensions of a level, over those of the one above, that "auto" means.
NARROWING = 4


def level_widths(n_components: Any, n_features: int) -> list[int]:
    """Return the latent dimensions of each level, from the lowest to the top.

    Parameters
    ----------
    n_components : int, sequence of int or "auto"
        An integer is the width of the lowest of two levels.

    n_features : int

    Raises
    ------
    ValueError
        If they are no positive integer, and no sequence of at least two.

    Examples
    --------
    >>> level_widths((32, 8), 5), level_widths(32, 5), level_widths("auto", 784)
    ([32, 8], [32, 8], [28, 7])
    """
    is_automatic = isinstance(n_components, str)
    first = automatic_components(n_features) if is_automatic else n_components
    if _is_count(first):
        return [int(first), math.ceil(first / NARROWING)]
    sizes = [] if np.ndim(n_components) != 1 else list(n_components)
    if len(sizes) < 2 or not all(map(_is_count, sizes)):
        raise ValueError(
            "n_components must be 'auto', a positive integer, or hold at least two of "
            "them, the latent dimensions of each level from the lowest to the top, got "
            f"{n_components!r}. Set it to (32, 8), say; one level is a VAEEmbedder."
        )
    return [int(size) for size in sizes]


def _is_count(value: Any) -> bool:
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    return is_whole and int(value) > 0


def chosen_levels(levels: Any, n_levels: int) -> list[int]:
    """Return the numbers of the levels that a parameter names, in its order.

    Parameters
    ----------
    levels : int, sequence of int or None
        None: all.

    n_levels : int

    Raises
    ------
    ValueError
        If there is no such level, one is named twice, or none is.

    Examples
    --------
    >>> chosen_levels(None, 2), chosen_levels(2, 2), chosen_levels([2, 1], 2)
    ([1, 2], [2], [2, 1])
    """
    if levels is None:
        return list(range(1, n_levels + 1))
    numbers = [levels] if np.ndim(levels) == 0 else list(levels)
    whole = all(isinstance(n, Integral) and not isinstance(n, bool) for n in numbers)
    known = whole and all(1 <= n <= n_levels for n in numbers)
    if not known or not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"levels must be None, a level from 1 (next to the data) to {n_levels} "
            f"(the top), or a sequence of different ones, got {levels!r}. Set levels="
            f"{n_levels} for the top alone, or None for all."
        )
    return [int(number) for number in numbers]


def places_of_levels(widths: Sequence[int], numbers: Sequence[int]) -> list[int]:
    """Return the places of the coordinates of levels among those of all.

    Examples
    --------
    >>> places_of_levels([3, 2], [2]), places_of_levels([3, 2], [2, 1])
    ([3, 4], [3, 4, 0, 1, 2])
    """
    starts = [0, *accumulate(widths)]
    return [p for n in numbers for p in range(starts[n - 1], starts[n])]


def level_names(widths: Sequence[int], numbers: Sequence[int]) -> list[str]:
    """Return the names of the coordinates of levels.

    Examples
    --------
    >>> level_names([3, 2], [2])
    ['level2_0', 'level2_1']
    """
    return [f"level{n}_{place}" for n in numbers for place in range(widths[n - 1])]


def describe_levels(
    parameters: NetworkParameters,
    level_layer_sizes: Sequence[int] | str,
    widths: Sequence[int],
    n_features: int,
    n_conditions: int,
    n_told: int,
) -> Architecture:
    """Return a JSON-able description of the network that the parameters mean.

    Parameters
    ----------
    parameters : NetworkParameters
        Those of the network between the rows and the lowest level.

    level_layer_sizes : sequence of int or "auto"

    widths : sequence of int

    n_features, n_conditions, n_told : int
        As of :func:`describe_network`.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> described = describe_levels(NetworkParameters(), "auto", [3, 2], 9, 0, 0)
    >>> described["n_components"], described["level_sizes"], described["level_layers"]
    (5, [3, 2], [32])
    """
    lowest = parameters._replace(n_components=widths[0])
    described = describe_network(lowest, n_features, 2, n_conditions, n_told)
    layers = [max(MIN_UNITS, UNITS_PER_LATENT * max(widths))]
    if not isinstance(level_layer_sizes, str):
        layers = checked_sizes(level_layer_sizes, "level_layer_sizes")
    return {
        **described,
        "n_components": sum(widths),
        "level_sizes": list(widths),
        "level_layers": layers,
    }


def build_levels(
    architecture: Architecture, n_features: int, n_conditions: int
) -> Parts:
    """Return the network that a description means, its weights not initialized.

    Examples
    --------
    >>> described = describe_levels(NetworkParameters(), "auto", [3, 2], 9, 0, 0)
    >>> parts = build_levels(described, 9, 0)
    >>> type(parts.levels).__name__, parts.n_top
    ('Ladder', 2)
    """
    widths, layers = architecture["level_sizes"], architecture["level_layers"]
    lowest = {**architecture, "n_components": widths[0]}
    pair = build_network(lowest, n_features, n_conditions=n_conditions)
    names = ("activation", "dropout", "normalize")
    options = {name: architecture[name] for name in names}
    assert isinstance(pair.encoder, nn.Sequential), "as built"
    *hidden, first = pair.encoder
    assert isinstance(first, nn.Linear), "as built"
    encoder = nn.Sequential(*hidden, BottomUp(first, widths, layers, **options))
    ladder = Ladder(widths, layers, **options)
    return Parts(encoder.float(), pair.decoder, ladder.float(), widths[-1])
