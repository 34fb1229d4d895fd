"""What a file may claim of a fitted HierarchicalVAEEmbedder."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from latentsk.embedders._hierarchical_levels import chosen_levels
from latentsk.embedders._vae_state import check_variational
from latentsk.persistence import _schema as schema
from latentsk.persistence._schema import Sizes, State, require

# Levels, and layers between two of them.
MAX_LEVELS, MAX_LAYERS = 100, 100
_SIZES = schema.list_of(schema.count(1))


def check_hierarchical(embedder: Any, state: State, sizes: Sizes) -> None:
    """Refuse a network that does not fit the file, and scores without end.

    Raises
    ------
    FormatError, ValueError
    """
    described = state["_architecture"]
    widths, layers = described.get("level_sizes"), described.get("level_layers")
    listed = _SIZES.fits(widths, sizes) and _SIZES.fits(layers, sizes)
    require(listed, "its levels are not described")
    assert isinstance(widths, list), "checked above"
    assert isinstance(layers, list), "checked above"
    few = 2 <= len(widths) <= MAX_LEVELS and len(layers) <= MAX_LAYERS
    require(few, "it has too many levels or layers, or too few")
    require(sum(widths) == sizes["k"], "its levels are of another width")
    # Those of the perceptrons from level to level, downward.
    matrices = [
        pair
        for lower, upper in pairwise(widths)
        for pair in pairwise([upper, *layers, 2 * lower])
    ]
    weights = sum(array.size for array in state["module_"].values())
    require(sum(a * b for a, b in matrices) <= weights, "weights are missing")
    more = {
        "level_sizes": schema.Rule(lambda value, _: value == widths, "levels"),
        "level_layers": schema.Rule(lambda value, _: value == layers, "layers"),
    }
    chosen_levels(embedder.levels, len(widths))
    check_variational(embedder, state, sizes, widths[0], widths[-1], more)
