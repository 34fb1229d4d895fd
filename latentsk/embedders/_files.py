"""What a file may claim of a fitted embedder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from latentsk._device import DEVICE_TYPES, to_numpy
from latentsk._schema import (
    Rule,
    Sizes,
    check_state,
    count,
    either,
    fields,
    flag,
    floats,
    list_of,
    maybe,
    names,
    number,
    require,
    text,
)
from latentsk.exceptions import FormatError
from latentsk.networks._mlp import ACTIVATIONS
from latentsk.training._losses import LOSSES
from latentsk.training._optimizer import FlatAdamW, OptimizerSettings
from latentsk.vae._likelihoods import LIKELIHOODS
from latentsk.vae._priors import PRIORS

State = Mapping[str, Any]

# Layers of a perceptron or a convolutional network, on either side.
MAX_LAYERS = 1_000
# Numbers that a score is drawn with, of all samples and latent dimensions.
MAX_DRAWN = 10_000_000

_FEATURES: dict[str, Rule] = {
    "n_features_in_": count(1, named="n_features"),
    "feature_names_in_": names("n_features"),
}
_DECISION: dict[str, Rule] = {
    "offset_": number(finite=False),
    "_offset_score_method": maybe(text()),
}
_SIZES = list_of(count(1))
_OPTIONS = {
    "activation": text(*ACTIVATIONS),
    "dropout": number(0, 1),
    "normalize": flag(),
}
_NETWORKS = {
    "mlp": fields({"encoder_sizes": _SIZES, "decoder_sizes": _SIZES, **_OPTIONS}),
    "conv": fields(
        {"input_shape": list_of(count(1), 3), "channels": _SIZES, **_OPTIONS}
    ),
    "custom": fields(
        {
            "input_shape": maybe(_SIZES),
            "float64": flag(),
            "modules": list_of(text(), 2),
        }
    ),
}
_COMMON = ("network", "n_components", "per_latent", "standardize")
_AUTOENCODER = {"loss": text(*LOSSES)}
_VAE = {
    "likelihood": text(*LIKELIHOODS),
    "scale": either(text("shared", "feature"), number(1e-300, 1e300)),
    "prior": text(*PRIORS),
}


def check_pca(embedder: Any, state: State) -> None:
    """Refuse what is no state of a PCAEmbedder.

    Raises
    ------
    FormatError
    """
    fitted = "components_" in state
    model = {
        "n_components_": count(named="k"),
        "mean_": floats("n_features"),
        "components_": floats("k", "n_features"),
        "explained_variance_": floats("k", least=0, finite=False),
        "explained_variance_ratio_": floats("k", finite=False),
        "singular_values_": floats("k", finite=False),
        "noise_variance_": number(finite=False),
        "n_samples_": count(1),
        "svd_solver_": text(),
    }
    stream = {
        "n_samples_seen_": count(1),
        "_mean_seen": floats("n_features"),
        "_scatter": floats("n_features", "n_features", finite=False),
        "tensor_device": Rule(_is_device, "device"),
    }
    features = {"n_features_in_": _FEATURES["n_features_in_"]}
    required = {**features, **(model if fitted else {})}
    optional = {**_FEATURES, **_DECISION, **stream}
    check_state("PCAEmbedder", state, required, optional, {})


def check_autoencoder(embedder: Any, state: State) -> None:
    """Refuse what is no state of an AutoencoderEmbedder.

    Raises
    ------
    FormatError
    """
    _check_neural(embedder, state, per_latent=1, target=_AUTOENCODER)


def check_vae(embedder: Any, state: State) -> None:
    """Refuse what is no state of a VAEEmbedder.

    Raises
    ------
    FormatError
    """
    _check_neural(embedder, state, per_latent=2, target=_VAE)
    drawn = embedder.n_score_samples * state["n_components_"]
    require(drawn <= MAX_DRAWN, "it scores with too many samples")


def _check_neural(
    embedder: Any,
    state: State,
    per_latent: int,
    target: Mapping[str, Rule],
) -> None:
    owner, sizes = type(embedder).__name__, dict[str, int]()
    required = {
        "n_features_in_": _FEATURES["n_features_in_"],
        "n_components_": count(1, named="k"),
        "_architecture": Rule(lambda value, _: type(value) is dict, "network"),
        "mean_": floats("n_features", dtypes={"float64"}),
        "scale_": floats("n_features", dtypes={"float64"}, least=5e-324),
        "history_": list_of(Rule(_is_epoch, "epoch"), "epochs"),
        "best_epoch_": count(1),
        "module_": Rule(_are_weights, "set of weights"),
        "networks": list_of(text("module_"), 1),
    }
    optional = {
        "feature_names_in_": _FEATURES["feature_names_in_"],
        **_DECISION,
        "_optimizer_state": Rule(_is_optimizer_state, "state of an optimizer"),
        "_stopped_training": text(),
    }
    check_state(owner, state, required, optional, sizes)
    architecture = dict(state["_architecture"])
    require(state["best_epoch_"] <= sizes["epochs"], "the best epoch is none")
    common = {name: architecture.pop(name, None) for name in _COMMON}
    aim = {name: architecture.pop(name, None) for name in target}
    network = _NETWORKS.get(str(common["network"]))
    require(
        network is not None
        and network.fits(architecture, {})
        and fields(target).fits(aim, {})
        and type(common["standardize"]) is bool
        and common["n_components"] == sizes["k"]
        and common["per_latent"] == per_latent,
        "its network is not described",
    )
    _check_extent(state["_architecture"], sizes, state["module_"])


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
        pixels = shape[0] * shape[1] * shape[2]
        require(pixels == width, "its network is for other images")
        require(0 < len(channels) < 64, "its network has no number of stages")
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


def require_modules(embedder: Any) -> None:
    """Refuse a network of own modules whose modules are not named.

    Raises
    ------
    FormatError
    """
    named = embedder.encoder is not None and embedder.decoder is not None
    require(named, "encoder and decoder of its network are None")


def check_weights(embedder: Any, weights: State, optimizer: State | None) -> None:
    """Refuse weights that are not those of an embedder's network.

    Parameters
    ----------
    embedder : estimator
        With everything but the network.

    weights : mapping of str to ndarray

    optimizer : mapping of str to ndarray, or None
        The state to go on training from.

    Raises
    ------
    FormatError
        Where the file is to blame.

    ValueError
        Where modules are, which the caller has given.
    """
    network = embedder._rebuild_network()
    tensors = network.state_dict()
    faults = sorted(tensors.keys() ^ weights.keys()) or [
        name for name, tensor in tensors.items() if not _holds(tensor, weights[name])
    ]
    if faults and embedder._architecture["network"] == "custom":
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
    if optimizer is not None:
        require(_remembers(optimizer, network), "the optimizer has other weights")


def _holds(tensor: torch.Tensor, array: Any) -> bool:
    like = to_numpy(tensor)
    return like.shape == array.shape and like.dtype == array.dtype


def _are_weights(value: Any, sizes: Sizes) -> bool:
    # Buffers may be infinite: masks of attention are.
    return type(value) is dict and all(
        isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
        for array in value.values()
    )


_EPOCH: dict[str, Rule] = {
    "epoch": count(1),
    "train_loss": number(finite=False),
    "validation_loss": maybe(number(finite=False)),
    "monitored_loss": number(finite=False),
    "learning_rate": number(0),
    "seconds": number(0),
}
_TERM = maybe(number(finite=False))


def _is_epoch(value: Any, sizes: Sizes) -> bool:
    if type(value) is not dict or not _EPOCH.keys() <= value.keys():
        return False
    terms = value.keys() - _EPOCH.keys()
    named = all(name.startswith(("train_", "validation_")) for name in terms)
    return named and all(_EPOCH.get(k, _TERM).fits(v, {}) for k, v in value.items())


def _is_optimizer_state(value: Any, sizes: Sizes) -> bool:
    if type(value) is not dict:
        return False
    rest = dict(value)
    layout, generator = rest.pop("layout", None), rest.pop("generator", None)
    return (
        list_of(list_of(text())).fits(layout, {})
        and _is_generator_state(generator, {})
        and all(
            isinstance(array, np.ndarray)
            and array.dtype.kind == "f"
            and bool(np.isfinite(array).all())
            and (name.startswith("mean") or bool((array >= 0).all()))
            for name, array in rest.items()
        )
    )


def _remembers(state: State, network: Any) -> bool:
    """Tell whether an optimizer's state is of the parameters of a network."""
    optimizer = FlatAdamW(network, OptimizerSettings())
    listed = [name for names in state["layout"] for name in names]
    if len(set(listed)) < len(listed) or not set(listed) <= optimizer.left_out.keys():
        return False
    optimizer.take_up(state["layout"])
    arrays = {k: a for k, a in state.items() if k not in ("layout", "generator")}
    memory = optimizer.memory()
    return memory.keys() == arrays.keys() and all(
        memory[k].shape == a.shape and memory[k].dtype == a.dtype
        for k, a in arrays.items()
    )


def _is_generator_state(value: Any, sizes: Sizes) -> bool:
    if not (isinstance(value, np.ndarray) and value.dtype == np.uint8):
        return False
    try:
        torch.Generator().set_state(torch.tensor(value))
    except (RuntimeError, TypeError):
        return False
    return True


def _is_device(value: Any, sizes: Sizes) -> bool:
    try:
        return type(value) is str and torch.device(value).type in DEVICE_TYPES
    except RuntimeError:
        return False
