"""Parameters that neural embedders share: what they may be, and what "auto" means."""

from __future__ import annotations

import math
import os
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from latentsk.networks._architecture import PRESETS, NetworkParameters
from latentsk.networks._mlp import ACTIVATIONS, perceptron_operations
from latentsk.training._compile import worth_compiling
from latentsk.training._loop import TrainingSettings
from latentsk.training._optimizer import OptimizerSettings

_POSITIVE_OR_AUTO = [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})]
NEURAL_CONSTRAINTS: dict[str, Any] = {
    "n_components": _POSITIVE_OR_AUTO,
    "network": [StrOptions({"mlp", "conv", *PRESETS})],
    "hidden_layer_sizes": ["array-like", StrOptions({"auto"})],
    "decoder_layer_sizes": ["array-like", None],
    "activation": [StrOptions({"auto", *ACTIVATIONS})],
    "normalize": ["boolean", StrOptions({"auto"})],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "input_shape": ["array-like", None],
    "score_window": [Interval(Integral, 1, None, closed="left"), None],
    "encoder": [nn.Module, None],
    "decoder": [nn.Module, None],
    "standardize": ["boolean"],
    "batch_size": _POSITIVE_OR_AUTO,
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "learning_rate": [StrOptions({"constant", "cosine"})],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "max_epochs": [Interval(Integral, 1, None, closed="left")],
    "max_time": [Interval(Real, 0, None, closed="neither"), None],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "warm_start": ["boolean"],
    "checkpoint": [str, os.PathLike, None],
    "checkpoint_interval": [Interval(Integral, 1, None, closed="left")],
    "device": [str, torch.device],
    "precision": [StrOptions({"auto", "float32", "bfloat16"})],
    "compile": ["boolean", StrOptions({"auto"})],
    "random_state": ["random_state", np.random.Generator],
    "verbose": ["boolean"],
}


def automatic_batch_size(n_rows: int) -> int:
    """Return the rows per step that "auto" means.

    Examples
    --------
    >>> [automatic_batch_size(n_rows) for n_rows in (100, 10_000, 1_000_000)]
    [16, 312, 512]
    """
    return min(512, max(16, n_rows // 32))


def network_parameters(embedder: Any) -> NetworkParameters:
    """Return those parameters of an embedder that say which network it trains.

    Parameters
    ----------
    embedder : NeuralEmbedder
        Images that it knows the layout of have their shape from there.
    """
    names = (name for name in NetworkParameters._fields if hasattr(embedder, name))
    found = NetworkParameters(**{name: getattr(embedder, name) for name in names})
    if found.input_shape is None and embedder._layout is not None:
        return found._replace(input_shape=embedder._layout.shape)
    return found


def training_settings(embedder: Any, network: Any, n_rows: int) -> TrainingSettings:
    """Return the settings of a training that an embedder's parameters mean.

    Parameters
    ----------
    embedder : NeuralEmbedder

    network : nn.Module
        On the device that it is trained on.

    n_rows : int
        Number of training rows.
    """
    batch_size = embedder.batch_size
    if batch_size == "auto":
        batch_size = automatic_batch_size(n_rows)
    compile = embedder.compile
    if compile == "auto":
        # The steps of a perceptron on a CPU are short as they are.
        on_cpu = next(network.parameters()).device.type == "cpu"
        parts = (network.encoder, network.decoder)
        is_short = on_cpu and sum(map(perceptron_operations, parts)) < math.inf
        long = worth_compiling(n_rows, int(batch_size), embedder.max_epochs)
        compile = long and not is_short
    clip_norm = None if embedder.clip_norm is None else float(embedder.clip_norm)
    return TrainingSettings(
        int(embedder.max_epochs),
        int(batch_size),
        float(embedder.learning_rate_init),
        embedder.learning_rate,
        OptimizerSettings(float(embedder.weight_decay), clip_norm),
        int(embedder.n_iter_no_change),
        float(embedder.tol),
        math.inf if embedder.max_time is None else float(embedder.max_time),
        bool(compile),
    )
