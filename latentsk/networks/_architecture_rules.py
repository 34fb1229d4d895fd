"""What a file may claim of a network: its description, and how large it is."""

from __future__ import annotations

import math
from itertools import pairwise

from latentsk.networks._conv import coarse_size
from latentsk.networks._mlp import ACTIVATIONS
from latentsk.persistence import _schema as schema
from latentsk.persistence._schema import Rules, Sizes, State, require

# Layers of a perceptron or a convolutional network, on either side.
MAX_LAYERS = 1_000

_SIZES = schema.list_of(schema.count(1))
_IMAGE = schema.list_of(schema.count(1), 3)
_OPTIONS = {
    "activation": schema.text(*ACTIVATIONS),
    "dropout": schema.number(0, 1),
    "normalize": schema.flag(),
}
_NETWORKS: dict[str, Rules] = {
    "mlp": {"encoder_sizes": _SIZES, "decoder_sizes": _SIZES, **_OPTIONS},
    "conv": {"input_shape": _IMAGE, "channels": _SIZES, **_OPTIONS},
    "conv-grid": {"input_shape": _IMAGE, "channels": _SIZES, **_OPTIONS},
    "custom": {
        "input_shape": schema.maybe(_SIZES),
        "float64": schema.flag(),
        "modules": schema.list_of(schema.text(), 2),
    },
}


def check_architecture(
    architecture: State,
    sizes: Sizes,
    weights: State,
    per_latent: int,
    more: Rules,
    n_conditions: int = 0,
    n_told: int = 0,
    n_latents: int | None = None,
) -> None:
    """Refuse descriptions of unknown networks, and of larger ones than their weights.

    Parameters
    ----------
    architecture : dict

    sizes : dict of str to int
        Of the latent space, "k", and of rows, "n_features".

    weights : mapping of str to ndarray

    per_latent : int
        Numbers that the encoder returns for each latent dimension.

    more : mapping of str to Rule
        Of what the description holds besides.

    n_conditions : int, default=0
        Numbers that encoder and decoder are given besides.

    n_told : int, default=0
        Numbers that the encoder alone is given besides.

    n_latents : int or None, default=None
        Latent dimensions between encoder and decoder; None: all.

    Raises
    ------
    FormatError
    """
    name = architecture.get("network")
    rules = {
        "network": schema.text(*_NETWORKS),
        "n_components": schema.count(named="k"),
        "per_latent": schema.count(per_latent),
        **_NETWORKS.get(str(name), {}),
        **more,
    }
    described = schema.fields(rules).fits(architecture, sizes)
    require(described, "its network is not described")
    if n_latents is not None:
        sizes = {**sizes, "k": n_latents}
    if name == "mlp":
        beside = n_conditions + n_told, n_conditions
        matrices = _mlp_matrices(architecture, sizes, per_latent, beside)
    elif name in ("conv", "conv-grid"):
        matrices = _conv_matrices(architecture, sizes)
    else:
        shape, matrices = architecture["input_shape"], []
        fits = shape is None or math.prod(shape) == sizes["n_features"]
        require(fits, "its network is for other rows")
    require(len(matrices) <= 2 * MAX_LAYERS, "its network has too many layers")
    available = sum(array.size for array in weights.values())
    require(sum(a * b for a, b in matrices) <= available, "weights are missing")


def _mlp_matrices(
    architecture: State, sizes: Sizes, per_latent: int, beside: tuple[int, int]
) -> list[tuple[int, int]]:
    """Return the shapes of the weights."""
    encoder, decoder = architecture["encoder_sizes"], architecture["decoder_sizes"]
    require(min(len(encoder), len(decoder)) > 1, "its network lacks layers")
    latents, width = sizes["k"], sizes["n_features"]
    ends = encoder[0], encoder[-1], decoder[0], decoder[-1]
    fitting = width + beside[0], per_latent * latents, latents + beside[1], width
    require(ends == fitting, "its network is of another width")
    return [*pairwise(encoder), *pairwise(decoder)]


def _conv_matrices(architecture: State, sizes: Sizes) -> list[tuple[int, int]]:
    """Return shapes that are no larger than those of the weights."""
    shape, channels = architecture["input_shape"], architecture["channels"]
    require(math.prod(shape) == sizes["n_features"], "its network is for other images")
    require(0 < len(channels) < 64, "its network lacks stages, or has too many")
    require(min(shape[1:]) >= 2 ** len(channels), "its images are too small")
    height, width = coarse_size(shape, channels)
    stages = [*pairwise([shape[0], *channels])]
    if architecture["network"] == "conv":
        return [*stages, (channels[-1] * height * width, sizes["k"])]
    fits = sizes["k"] == architecture["code_dim"] * height * width
    require(fits, "its codes are for another grid")
    return [*stages, (channels[-1], architecture["code_dim"])]
