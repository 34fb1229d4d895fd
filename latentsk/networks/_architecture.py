"""Which network an embedder's parameters mean, and how it is built."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import nn

from latentsk.networks._autoencoder import Autoencoder
from latentsk.networks._conv import conv_decoder, conv_encoder
from latentsk.networks._conv_grid import conv_grid_decoder, conv_grid_encoder
from latentsk.networks._custom import adopt, evaluate, takes_float64
from latentsk.networks._mlp import mlp

Architecture = dict[str, Any]

CONV_CHANNELS = (32, 64, 128)


class Preset(NamedTuple):
    """A classic network.

    Attributes
    ----------
    network : str
    hidden_layer_sizes : tuple of int
    n_components : int or "auto"
        What "auto" means.
    pixels : (int, int) or None
        Height and width of the images that it is for.
    """

    network: str
    hidden_layer_sizes: tuple[int, ...]
    n_components: int | str = "auto"
    pixels: tuple[int, int] | None = None


PRESETS = {
    "mlp-400": Preset("mlp", (400,)),
    "mlp-512-256": Preset("mlp", (512, 256)),
    "conv-32-128-256": Preset("conv", (32, 128, 256), 10, (32, 32)),
}


class NetworkParameters(NamedTuple):
    """The parameters of an embedder that say which network it trains.

    Attributes
    ----------
    network, n_components, hidden_layer_sizes, decoder_layer_sizes, activation, \
normalize, dropout, input_shape, encoder, decoder
        As in AutoencoderEmbedder.
    """

    network: str = "mlp"
    n_components: int | str = "auto"
    hidden_layer_sizes: Sequence[int] | str = "auto"
    decoder_layer_sizes: Sequence[int] | None = None
    activation: str = "auto"
    normalize: bool | str = "auto"
    dropout: float = 0.0
    input_shape: Sequence[int] | None = None
    encoder: nn.Module | None = None
    decoder: nn.Module | None = None


def automatic_components(n_features: int) -> int:
    """Return the latent dimensions that "auto" means.

    Examples
    --------
    >>> automatic_components(36), automatic_components(10_000)
    (6, 32)
    """
    return min(32, math.ceil(math.sqrt(n_features)))


def automatic_hidden_sizes(n_features: int) -> tuple[int, int]:
    """Return the widths of hidden layers that "auto" means.

    Examples
    --------
    >>> automatic_hidden_sizes(4), automatic_hidden_sizes(784)
    ((32, 16), (512, 256))
    """
    first = min(512, max(32, 2 * n_features))
    return first, first // 2


def describe_network(
    parameters: NetworkParameters,
    n_features: int,
    per_latent: int = 1,
    n_conditions: int = 0,
    n_told: int = 0,
) -> Architecture:
    """Return a JSON-able description of the network that the parameters mean.

    Parameters
    ----------
    parameters : NetworkParameters

    n_features : int
        Width of the rows.

    per_latent : int, default=1
        Numbers that the encoder returns for each latent dimension.

    n_conditions : int, default=0
        Numbers that encoder and decoder are given besides, behind the row and behind
        its latent coordinates.

    n_told : int, default=0
        Numbers that the encoder alone is given besides; for "mlp" only.

    Raises
    ------
    ValueError
        If they do not fit each other, or the rows.

    Examples
    --------
    >>> parameters = NetworkParameters(hidden_layer_sizes=(8, 4))
    >>> description = describe_network(parameters, 9)
    >>> description["encoder_sizes"], description["decoder_sizes"]
    ([9, 8, 4, 3], [3, 4, 8, 9])
    """
    if parameters.encoder is not None or parameters.decoder is not None:
        custom = _describe_custom(parameters, n_features)
        return {**custom, "per_latent": per_latent}
    if parameters.network in PRESETS:
        parameters = _with_preset(parameters, n_features)
    is_conv = parameters.network == "conv"
    width, normalize = parameters.n_components, parameters.normalize
    width = automatic_components(n_features) if width == "auto" else int(width)
    sizes = _conv_sizes if is_conv else _mlp_sizes
    usual_activation = "relu" if is_conv else "gelu"
    is_automatic = parameters.activation == "auto"
    beside = n_conditions + n_told, n_conditions
    return {
        "network": parameters.network,
        "n_components": width,
        "per_latent": per_latent,
        **sizes(parameters, n_features, width, per_latent, beside),
        "activation": usual_activation if is_automatic else parameters.activation,
        "dropout": float(parameters.dropout),
        "normalize": is_conv if normalize == "auto" else bool(normalize),
    }


def _conv_sizes(
    parameters: NetworkParameters,
    n_features: int,
    width: int,
    per_latent: int,
    beside: tuple[int, int],
) -> Architecture:
    if parameters.decoder_layer_sizes is not None:
        raise ValueError("decoder_layer_sizes is for network='mlp' only.")
    shape = _checked_shape(parameters.input_shape, n_features)
    if shape is None:
        raise ValueError("network='conv' needs input_shape=(channels, height, width).")
    if len(shape) != 3:
        raise ValueError(
            "network='conv' needs input_shape=(channels, height, width), got "
            f"{tuple(shape)}."
        )
    sizes = parameters.hidden_layer_sizes
    channels = checked_sizes(CONV_CHANNELS if isinstance(sizes, str) else sizes)
    least = 2 ** len(channels)
    if min(shape[1:]) < least:
        raise ValueError(
            f"Images of {shape[1]} x {shape[2]} pixels are too small for "
            f"{len(channels)} stages, which need {least}. Give fewer "
            f"hidden_layer_sizes, if input_shape={tuple(shape)} is right: it is "
            "(channels, height, width)."
        )
    return {"input_shape": shape, "channels": channels}


def _mlp_sizes(
    parameters: NetworkParameters,
    n_features: int,
    width: int,
    per_latent: int,
    beside: tuple[int, int],
) -> Architecture:
    _checked_shape(parameters.input_shape, n_features)
    sizes, back = parameters.hidden_layer_sizes, parameters.decoder_layer_sizes
    automatic = automatic_hidden_sizes(n_features)
    hidden = checked_sizes(automatic if isinstance(sizes, str) else sizes)
    mirrored = hidden[::-1]
    if back is not None:
        mirrored = checked_sizes(back, "decoder_layer_sizes")
    return {
        "encoder_sizes": [n_features + beside[0], *hidden, per_latent * width],
        "decoder_sizes": [width + beside[1], *mirrored, n_features],
    }


def _with_preset(parameters: NetworkParameters, n_features: int) -> NetworkParameters:
    """Return the parameters that the name of a classic network stands for."""
    name, given = parameters.network, parameters
    preset = PRESETS[name]
    has_sizes = not isinstance(given.hidden_layer_sizes, str)
    if has_sizes or given.decoder_layer_sizes is not None:
        raise ValueError(
            f"network={name!r} has layers of its own: leave hidden_layer_sizes and "
            f"decoder_layer_sizes as they are, or use network={preset.network!r}."
        )
    shape, pixels, width = given.input_shape, preset.pixels, given.n_components
    if shape is None and pixels is not None:
        n_channels, rest = divmod(n_features, math.prod(pixels))
        if rest or not n_channels:
            raise ValueError(
                f"network={name!r} is for images of {pixels[0]} x {pixels[1]} pixels, "
                f"but X has {n_features} features. Give the input_shape of others."
            )
        shape = (n_channels, *pixels)
    return given._replace(
        network=preset.network,
        n_components=preset.n_components if width == "auto" else width,
        hidden_layer_sizes=preset.hidden_layer_sizes,
        activation="relu" if given.activation == "auto" else given.activation,
        input_shape=shape,
    )


def _describe_custom(parameters: NetworkParameters, n_features: int) -> Architecture:
    encoder, decoder = parameters.encoder, parameters.decoder
    if encoder is None or decoder is None:
        missing = "encoder" if encoder is None else "decoder"
        raise ValueError(f"encoder and decoder go together, but {missing} is None.")
    width = parameters.n_components
    return {
        "network": "custom",
        "n_components": None if width == "auto" else int(width),
        "input_shape": _checked_shape(parameters.input_shape, n_features),
        "float64": None,
        "modules": [str(encoder), str(decoder)],
    }


def checked_sizes(
    sizes: Sequence[int] | str, name: str = "hidden_layer_sizes"
) -> list[int]:
    whole = all(isinstance(n, Integral) and not isinstance(n, bool) for n in sizes)
    if not whole or any(int(size) < 1 for size in sizes):
        raise ValueError(f"{name} must hold positive integers, got {sizes!r}.")
    return [int(size) for size in sizes]


def _checked_shape(shape: Sequence[int] | None, n_features: int) -> list[int] | None:
    if shape is None:
        return None
    checked = checked_sizes(shape, "input_shape")
    stands_for = math.prod(checked)
    if stands_for != n_features:
        raise ValueError(
            f"input_shape={tuple(checked)} stands for {stands_for} features, but X has "
            f"{n_features}."
        )
    return checked


def build_network(
    architecture: Architecture,
    n_features: int,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    n_conditions: int = 0,
) -> Autoencoder:
    """Return the network that a description means.

    The weights of perceptrons and convolutions are not initialized yet; those of custom
    modules are the ones they came with.

    Parameters
    ----------
    architecture : dict
        From :func:`describe_network`, or with the network "conv-grid" instead of "conv"
        and the "code_dim" of its vectors. For custom modules, `n_components` and
        `float64` (whether they work in float64) are filled in.

    n_features : int

    encoder, decoder : nn.Module or None
        Custom modules, which are copied.

    n_conditions : int, default=0
        Numbers that both are given besides.

    Examples
    --------
    >>> custom = {"network": "custom", "n_components": None, "input_shape": None}
    >>> custom["per_latent"] = 1
    >>> build_network(custom, 3, nn.Linear(3, 2), nn.Linear(2, 3))
    Autoencoder(
      (encoder): Linear(in_features=3, out_features=2, bias=True)
      (decoder): Linear(in_features=2, out_features=3, bias=True)
    )
    >>> custom["n_components"], custom["float64"]
    (2, True)
    """
    if architecture["network"] == "custom":
        return _build_custom(architecture, n_features, encoder, decoder, n_conditions)
    names = ("activation", "dropout", "normalize")
    options: dict[str, Any] = {name: architecture[name] for name in names}
    if architecture["network"] == "mlp":
        first = mlp(architecture["encoder_sizes"], **options)
        second = mlp(architecture["decoder_sizes"], **options)
    elif architecture["network"] == "conv-grid":
        shape, channels = tuple(architecture["input_shape"]), architecture["channels"]
        code_dim = architecture["code_dim"]
        first = conv_grid_encoder(shape, channels, code_dim, **options)
        second = conv_grid_decoder(shape, channels, code_dim, **options)
    else:
        shape, channels = tuple(architecture["input_shape"]), architecture["channels"]
        width = architecture["n_components"]
        n_outputs = architecture["per_latent"] * width
        first = conv_encoder(shape, channels, n_outputs, **options)
        second = conv_decoder(shape, channels, width, **options)
    return Autoencoder(first, second).float()  # whatever torch's default dtype is


def _build_custom(
    architecture: Architecture,
    n_features: int,
    encoder: nn.Module | None,
    decoder: nn.Module | None,
    n_conditions: int,
) -> Autoencoder:
    assert encoder is not None, "checked when described"
    assert decoder is not None, "checked when described"
    shape = architecture["input_shape"]
    entering = [n_features + n_conditions]
    row = torch.zeros(1, *(shape or entering), dtype=torch.float32)
    memo: dict[int, Any] = {}  # weights that the two share stay shared
    first = adopt(encoder, row, name="encoder", memo=memo)
    latents = evaluate(first, row)
    returned, per_latent = latents.flatten(1).shape[1], architecture["per_latent"]
    if returned % per_latent:
        raise ValueError(
            f"The encoder returns {returned} values per row, but {per_latent} are "
            "needed for each latent dimension: a mean and a log-variance."
        )
    width = returned // per_latent
    if architecture["n_components"] not in (None, width):
        raise ValueError(
            f"n_components={architecture['n_components']}, but the encoder returns "
            f"{returned} values per row, {per_latent} for each latent dimension."
        )
    architecture["n_components"] = width
    codes = torch.zeros(1, width + n_conditions, dtype=torch.float32)
    second = adopt(decoder, codes, name="decoder", memo=memo)
    output = evaluate(second, codes)
    decoded = output.flatten(1).shape[1]
    if decoded != n_features:
        raise ValueError(
            f"The decoder returns {decoded} values per row, but X has {n_features} "
            "features."
        )
    if not any(p.requires_grad for m in (first, second) for p in m.parameters()):
        raise ValueError("encoder and decoder have no weights that require a gradient.")
    architecture["float64"] = takes_float64(first, row) and takes_float64(second, codes)
    if shape is not None:
        first = nn.Sequential(nn.Unflatten(1, tuple(shape)), first)
    if latents.ndim != 2:
        first = nn.Sequential(first, nn.Flatten(1))
    if output.ndim != 2:
        second = nn.Sequential(second, nn.Flatten(1))
    return Autoencoder(first, second)
