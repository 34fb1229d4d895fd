"""Which codes and which network a VQVAEEmbedder's parameters mean."""

from __future__ import annotations

import math
from itertools import count
from typing import Any

from latentsk.embedders._neural_parameters import network_parameters
from latentsk.networks._architecture import Architecture, describe_network
from latentsk.networks._conv import coarse_size
from latentsk.vae._fsq import MAX_LEVELS, MIN_LEVELS, factored

# Of short vectors a codebook covers all there are; of long ones few are near to a code.
AUTOMATIC_CODE_DIM = 2
MAX_AUTOMATIC_POSITIONS = 32
# Levels of a coordinate that "auto" comes near to, in finite scalar quantization.
USUAL_LEVELS = 8


def automatic_positions(n_features: int) -> int:
    """Return the number of codes of a row that "auto" means, in a perceptron.

    Examples
    --------
    >>> automatic_positions(4), automatic_positions(10_000)
    (2, 32)
    """
    return min(MAX_AUTOMATIC_POSITIONS, math.ceil(math.sqrt(n_features)))


def automatic_levels(n_codes: int) -> tuple[int, ...]:
    """Return the levels of coordinates that make so many codes; none if none do.

    Examples
    --------
    >>> automatic_levels(512), automatic_levels(1_000), automatic_levels(17)
    ((8, 8, 8), (10, 10, 10), ())
    """
    most = max(1, math.floor(math.log(n_codes, MIN_LEVELS) + 1e-9))
    found = [levels for d in range(1, most + 1) if (levels := factored(n_codes, d))]
    usual = math.log(USUAL_LEVELS)

    def distance(levels: tuple[int, ...]) -> float:
        return abs(math.log(n_codes) / len(levels) - usual)

    return min(found, key=distance, default=())


def describe_code_dim(quantizer: str, n_codes: int, code_dim: int | str) -> int:
    """Return the length of the vectors that codes stand for.

    Parameters
    ----------
    quantizer : {"ema", "fsq"}

    n_codes : int

    code_dim : int or "auto"

    Raises
    ------
    ValueError
        If finite scalar quantization has no such codes.

    Examples
    --------
    >>> describe_code_dim("ema", 512, "auto"), describe_code_dim("fsq", 512, "auto")
    (2, 3)
    """
    if quantizer == "ema":
        return AUTOMATIC_CODE_DIM if code_dim == "auto" else int(code_dim)
    levels = automatic_levels(n_codes)
    if not levels:
        near = (c for k in count(1) for c in (n_codes - k, n_codes + k) if c > 2)
        nearest = next(c for c in near if automatic_levels(c))
        raise ValueError(
            "quantizer='fsq' has a number of levels for every coordinate, from "
            f"{MIN_LEVELS} to {MAX_LEVELS}, but n_codes={n_codes} is no product of "
            f"such numbers. Set n_codes={nearest}, or quantizer='ema'."
        )
    if code_dim != "auto" and not factored(n_codes, int(code_dim)):
        raise ValueError(
            f"quantizer='fsq' cannot make n_codes={n_codes} of code_dim={code_dim} "
            f"coordinates with {MIN_LEVELS} to {MAX_LEVELS} levels each. Leave "
            f"code_dim='auto', which is {len(levels)}, or change n_codes."
        )
    return len(levels) if code_dim == "auto" else int(code_dim)


def describe_coded_network(embedder: Any, n_features: int) -> Architecture:
    """Return a JSON-able description of codes, and of the network around them.

    Parameters
    ----------
    embedder : VQVAEEmbedder
        With its parameters.

    n_features : int

    Raises
    ------
    ValueError
        If they do not fit each other, or the rows.
    """
    n_codes, wanted = int(embedder.n_codes), embedder.n_positions
    code_dim = describe_code_dim(embedder.quantizer, n_codes, embedder.code_dim)
    is_automatic = isinstance(wanted, str)
    n_positions = automatic_positions(n_features) if is_automatic else int(wanted)
    parameters = network_parameters(embedder)
    parameters = parameters._replace(n_components=n_positions * code_dim)
    network = describe_network(parameters, n_features)
    if network["network"] == "conv":
        height, width = coarse_size(network["input_shape"], network["channels"])
        if not is_automatic and n_positions != height * width:
            raise ValueError(
                f"n_positions={n_positions}, but codes of network='conv' lie on the "
                f"grid of its last stage, here {height} x {width}. Leave "
                "n_positions='auto', or give more or fewer hidden_layer_sizes, each of "
                "which halves the grid; network='mlp' has as many as you like."
            )
        n_positions = height * width
        network["network"] = "conv-grid"
    return {
        **network,
        "n_components": n_positions * code_dim,
        "quantizer": embedder.quantizer,
        "n_codes": n_codes,
        "n_positions": n_positions,
        "code_dim": code_dim,
        "code_prior": embedder.prior,
    }
