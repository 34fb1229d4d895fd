"""What makes a training the same training, for checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from latentsk._chunks import row_blocks
from latentsk._device import to_numpy

# Parameters that do not change what a training comes to, or are digested in other ways.
IGNORED_PARAMETERS = {
    "checkpoint",
    "checkpoint_interval",
    "contamination",
    "decoder",
    "device",
    "encoder",
    "levels",
    "max_time",
    "n_score_samples",
    "random_state",
    "score_method",
    "score_window",
    "verbose",
    "warm_start",
}


def training_fingerprint(
    parameters: Mapping[str, Any], X: NDArray[Any], start: nn.Module | None
) -> dict[str, str]:
    """Describe a training: its parameters, its rows, the network it starts from.

    Parameters
    ----------
    parameters : mapping of str to object
        Of the embedder.

    X : ndarray of shape (n_rows, n_features)
        All rows are read.

    start : nn.Module or None
        A trained network, if the training continues from one.

    Returns
    -------
    fingerprint : dict of str to str
        Equal for equal trainings.

    Examples
    --------
    >>> parameters = {"hidden_layer_sizes": (8, 4), "random_state": 0, "verbose": True}
    >>> fingerprint = training_fingerprint(parameters, np.zeros((2, 1)), None)
    >>> fingerprint["hidden_layer_sizes"], fingerprint["random_state"]
    ("['8.0', '4.0']", '0')
    """
    fingerprint = {
        name: _canonical(value)
        for name, value in parameters.items()
        if name not in IGNORED_PARAMETERS
    }
    seed = parameters.get("random_state")
    fingerprint["random_state"] = str(seed) if isinstance(seed, Integral) else "any"
    for name in ("encoder", "decoder"):
        # Weights that are trained come from the checkpoint.
        fingerprint[name] = _digest_module(parameters.get(name), all_weights=False)
    fingerprint["start"] = _digest_module(start, all_weights=True)
    fingerprint["X"] = _digest_rows(X)
    return fingerprint


def _canonical(value: Any) -> str:
    """Write a parameter's value: equal values alike, of whatever type."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return repr(float(value))
    if isinstance(value, list | tuple | np.ndarray):
        return str([_canonical(item) for item in value])
    return str(value)


def _digest_module(module: nn.Module | None, *, all_weights: bool) -> str:
    """Digest a module's structure, buffers, and its frozen or all weights."""
    if module is None:
        return "None"
    digest = hashlib.sha256(str(module).encode())
    for layer in module.modules():
        digest.update(str(sorted(_settings(layer).items())).encode())
    weights = [p for p in module.parameters() if all_weights or not p.requires_grad]
    for value in [*weights, *module.buffers()]:
        digest.update(to_numpy(value).tobytes())
    return digest.hexdigest()[:16]


def _settings(layer: nn.Module) -> dict[str, Any]:
    """Return a layer's mode and its attributes that are plain values."""
    plain = (bool, int, float, str, tuple)
    return {k: v for k, v in vars(layer).items() if isinstance(v, plain)}


def _digest_rows(X: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for block in row_blocks(X):
        digest.update(np.ascontiguousarray(block).data)
    return f"{X.dtype} {X.shape} {digest.hexdigest()[:16]}"
