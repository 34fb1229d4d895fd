"""What a file may claim of a fitted embedder with a network."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from latentsk._device import to_numpy
from latentsk.embedders._rules import FEATURE_NAMES, N_FEATURES, THRESHOLD
from latentsk.exceptions import FormatError
from latentsk.modules.likelihoods import LIKELIHOODS
from latentsk.modules.mlp import ACTIVATIONS
from latentsk.persistence._schema import (
    Rule,
    Rules,
    Sizes,
    State,
    count,
    either,
    fields,
    flag,
    floats,
    list_of,
    maybe,
    number,
    require,
    text,
)
from latentsk.training.objectives import LOSSES

# Layers of a perceptron or a convolutional network, on either side.
MAX_LAYERS = 1_000
# Numbers that a score is drawn with, of all samples and latent dimensions.
MAX_DRAWN = 10_000_000


def _are_weights(value: Any, sizes: Sizes) -> bool:
    # Buffers may be infinite: masks of attention are.
    return type(value) is dict and all(
        isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
        for array in value.values()
    )


def _is_generator_state(value: Any, sizes: Sizes) -> bool:
    if not (isinstance(value, np.ndarray) and value.dtype == np.uint8):
        return False
    try:
        torch.Generator().set_state(torch.tensor(value))
    except (RuntimeError, TypeError):
        return False
    return True


_EPOCH = fields(
    {
        "epoch": count(1),
        "train_loss": number(finite=False),
        "validation_loss": maybe(number(finite=False)),
        "monitored_loss": number(finite=False),
        "learning_rate": number(0),
        "seconds": number(0),
    }
)
_OPTIMIZER = fields(
    {
        "mean": floats("weights"),
        "square": floats("weights", least=0),
        "n_steps": floats(least=0),
        "generator": Rule(_is_generator_state, "state of a generator"),
    }
)
REQUIRED = {
    **N_FEATURES,
    "n_components_": count(1, named="k"),
    "_architecture": Rule(lambda value, _: type(value) is dict, "network"),
    "mean_": floats("n_features", dtypes={"float64"}),
    "scale_": floats("n_features", dtypes={"float64"}, least=5e-324),
    "history_": list_of(_EPOCH, "epochs"),
    "best_epoch_": count(1),
    "module_": Rule(_are_weights, "set of weights"),
}
OPTIONAL = {
    **FEATURE_NAMES,
    **THRESHOLD,
    "_optimizer_state": _OPTIMIZER,
    "_stopped_training": text(),
}
VAE_REQUIRED = {**REQUIRED, "likelihood_": text(*LIKELIHOODS)}

_SIZES = list_of(count(1))
_OPTIONS = {
    "activation": text(*ACTIVATIONS),
    "dropout": number(0, 1),
    "normalize": flag(),
}
_NETWORKS: dict[str, Rules] = {
    "mlp": {"encoder_sizes": _SIZES, "decoder_sizes": _SIZES, **_OPTIONS},
    "conv": {"input_shape": list_of(count(1), 3), "channels": _SIZES, **_OPTIONS},
    "own": {
        "input_shape": maybe(_SIZES),
        "float64": flag(),
        "modules": list_of(text(), 2),
    },
}
_AUTOENCODER = {"loss": text(*LOSSES)}
_VAE = {
    "likelihood": text(*LIKELIHOODS),
    "scale": either(text("shared", "feature"), number(1e-300, 1e300)),
}


def check_vae(embedder: Any, state: State, sizes: Sizes) -> None:
    """Refuse a VAE whose parts do not fit each other, or that draws too much.

    Raises
    ------
    FormatError
    """
    _check_network(embedder, state, sizes, per_latent=2, objective=_VAE)
    drawn = embedder.n_score_samples * sizes["k"]
    require(drawn <= MAX_DRAWN, "it scores with too many samples")
    named = state["_architecture"]["likelihood"]
    require(named == state["likelihood_"], "two likelihoods are named")


def _check_network(
    embedder: Any, state: State, sizes: Sizes, *, per_latent: int, objective: Rules
) -> None:
    """Refuse a network that is another than the weights, or the rows, are for."""
    require(state["best_epoch_"] <= sizes["epochs"], "best_epoch_ is no epoch")
    architecture = state["_architecture"]
    name = architecture.get("network")
    require(type(name) is str and name in _NETWORKS, "its network is unknown")
    rules = {
        "network": text(name),
        "n_components": count(named="k"),
        "per_latent": count(per_latent),
        "standardize": flag(),
        **_NETWORKS[name],
        **objective,
    }
    described = fields(rules).fits(architecture, sizes)
    same = described and architecture["per_latent"] == per_latent
    require(same, "its network is not described")
    _check_extent(architecture, sizes, state["module_"])
    if name == "own":
        named = embedder.encoder is not None and embedder.decoder is not None
        require(named, "encoder and decoder of its network are None")
    if not hasattr(embedder, "module_"):
        _check_weights(embedder, state, sizes)


check_autoencoder = partial(_check_network, per_latent=1, objective=_AUTOENCODER)


def _check_extent(architecture: State, sizes: Sizes, weights: State) -> None:
    """Refuse networks that are larger than their weights, before they are built."""
    latents, width = sizes["k"], sizes["n_features"]
    matrices = []
    if architecture["network"] == "mlp":
        encoder, decoder = architecture["encoder_sizes"], architecture["decoder_sizes"]
        ends = [encoder[:1], encoder[-1:], decoder[:1], decoder[-1:]]
        per_latent = architecture["per_latent"]
        fitting = [[width], [per_latent * latents], [latents], [width]]
        require(ends == fitting, "its network is of another width")
        require(min(len(encoder), len(decoder)) > 1, "its network lacks layers")
        matrices = [*pairwise(encoder), *pairwise(decoder)]
    elif architecture["network"] == "conv":
        shape, channels = architecture["input_shape"], architecture["channels"]
        require(math.prod(shape) == width, "its network is for other images")
        require(0 < len(channels) < 64, "its network lacks stages, or has too many")
        require(min(shape[1:]) >= 2 ** len(channels), "its images are too small")
        coarse = [-(-size // 2 ** len(channels)) for size in shape[1:]]
        last = channels[-1] * coarse[0] * coarse[1]
        matrices = [*pairwise([shape[0], *channels]), (last, latents)]
    elif architecture["input_shape"] is not None:
        pixels = math.prod(architecture["input_shape"])
        require(pixels == width, "its network is for other rows")
    available = sum(array.size for array in weights.values())
    require(len(matrices) <= 2 * MAX_LAYERS, "its network has too many layers")
    require(sum(a * b for a, b in matrices) <= available, "weights are missing")


def _check_weights(embedder: Any, state: State, sizes: Sizes) -> None:
    """Refuse weights that are not those of the network.

    Raises
    ------
    FormatError
        Where the file is to blame.

    ValueError
        Where modules are, which the caller has given.
    """
    weights = state["module_"]
    network = _blank_network(embedder, state)
    tensors = network.state_dict()
    faults = sorted(tensors.keys() ^ weights.keys()) or [
        name for name, tensor in tensors.items() if not _holds(tensor, weights[name])
    ]
    if faults and state["_architecture"]["network"] == "own":
        raise ValueError(
            "The modules given are not the ones whose weights the file holds: they "
            f"differ in {faults[0]!r}."
        )
    if faults:
        raise FormatError(
            f"The file is altered: the weights {faults[0][:100]!r} of "
            f"{type(embedder).__name__} do not fit its network."
        )
    parameters = dict(network.named_parameters())
    for name in parameters.keys() & weights.keys():
        finite = bool(np.isfinite(weights[name]).all())
        require(finite, f"the weights {name[:100]!r} are not finite")
    if "weights" in sizes:
        trained = sum(p.numel() for p in parameters.values() if p.requires_grad)
        require(sizes["weights"] == trained, "the optimizer has other weights")


def _blank_network(embedder: Any, state: State) -> torch.nn.Module:
    blank = type(embedder)(**embedder.get_params(deep=False))
    blank._architecture = dict(state["_architecture"])
    blank.n_features_in_ = state["n_features_in_"]
    return blank._build()


def _holds(tensor: torch.Tensor, array: Any) -> bool:
    like = to_numpy(tensor)
    return like.shape == array.shape and like.dtype == array.dtype
