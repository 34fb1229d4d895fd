"""What a file may claim of a fitted embedder with a network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from latentsk._device import to_numpy
from latentsk.embedders._rules import FEATURE_NAMES, N_FEATURES, THRESHOLD
from latentsk.networks._architecture_rules import check_architecture
from latentsk.networks._image_layout import ImageLayout
from latentsk.persistence import _schema as schema
from latentsk.persistence._schema import Rule, Rules, Sizes, State, require
from latentsk.training._state_rules import EPOCHS, OPTIMIZER, differing, remembers
from latentsk.vae._columns import Column
from latentsk.vae._table import TableLayout


def _is_weight(value: Any, _: Sizes) -> bool:
    # Buffers may be infinite: masks of attention are.
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


REQUIRED = {
    **N_FEATURES,
    "n_components_": schema.count(1, named="k"),
    "_architecture": schema.instance(dict),
    "mean_": schema.floats("n_features", dtypes={"float64"}),
    "scale_": schema.floats("n_features", dtypes={"float64"}, least=5e-324),
    "history_": EPOCHS,
    "best_epoch_": schema.count(1),
    "module_": schema.fields({}, others=Rule(_is_weight, "array of weights")),
}
OPTIONAL = {
    **FEATURE_NAMES,
    **THRESHOLD,
    "_layout": schema.instance(ImageLayout),
    "_n_rows_seen": schema.count(1),
    "_deviation": schema.floats("n_features", dtypes={"float64"}, least=0.0),
    "_optimizer_state": OPTIMIZER,
    "_stopped_training": schema.text(),
    "_table": schema.instance(TableLayout),
    "_conditions": schema.floats("kept", "n_given", dtypes={"float64"}),
}


def check_network(
    embedder: Any,
    state: State,
    sizes: Sizes,
    *,
    per_latent: int,
    objective: Rules,
    n_latents: int | None = None,
) -> None:
    """Refuse a network that is another than the weights, or the rows, are for.

    Parameters
    ----------
    embedder : estimator
        With its parameters.

    state : mapping of str to object

    sizes : dict of str to int

    per_latent : int
        Numbers that the encoder returns for each latent dimension.

    objective : mapping of str to Rule
        Of what the architecture says of the objective.

    n_latents : int or None, default=None
        Latent dimensions between encoder and decoder; None: all.

    Raises
    ------
    FormatError
        Where the file is to blame.

    ValueError
        Where modules are, which the caller has given.
    """
    require(state["best_epoch_"] <= sizes["epochs"], "best_epoch_ is no epoch")
    architecture, weights = state["_architecture"], state["module_"]
    layout = state.get("_layout")
    n_modelled, n_conditions = _widths(state, sizes)
    if layout is not None:
        fits = math.prod(layout.shape) == sizes["n_features"]
        same = architecture.get("input_shape") in (None, layout.shape)
        require(fits and same, "its images are of another shape")
    more = {"standardize": schema.flag(), **objective}
    check_architecture(
        architecture,
        {**sizes, "n_features": n_modelled},
        weights,
        per_latent,
        more,
        n_conditions,
        n_told=_n_told(state),
        n_latents=n_latents,
    )
    if architecture["network"] == "custom":
        given = embedder.encoder is not None and embedder.decoder is not None
        require(given, "encoder and decoder of its network are None")
    if not hasattr(embedder, "module_"):
        network = _blank_network(embedder, state)
        _check_weights(network, weights, architecture["network"] == "custom")
        optimizer = state.get("_optimizer_state")
        if optimizer is not None:
            fits = remembers(optimizer, network)
            require(fits, "the optimizer has other weights")


def _widths(state: State, sizes: Sizes) -> tuple[int, int]:
    """Return the numbers of a row that are modelled, and those that are given."""
    table = state.get("_table")
    if table is None:
        require("_conditions" not in state, "it has conditions, but no table")
        return sizes["n_features"], 0
    require(len(table.columns) == sizes["n_features"], "its table has other columns")
    require(len(table.modelled) > 0, "its table models nothing")
    fits = sizes.get("n_given") == len(table.conditions) and sizes["kept"] > 0
    require(fits, "its conditions are of another table")
    limits = [c.width for c in table.columns if c.is_condition]
    levelled = [c.levels is not None for c in table.columns if c.is_condition]
    for kept, width, is_level in zip(
        state["_conditions"].T, limits, levelled, strict=True
    ):
        fits = not is_level or bool(((kept >= 0) & (kept < width)).all())
        require(fits, "a condition has no such level")
    if table.trend is not None:
        fits = table.trend.effects.shape == (table.n_conditions, table.n_modelled)
        require(fits, "its trend is of another table")
    return table.n_modelled, table.n_conditions


def _n_told(state: State) -> int:
    """Return the numbers that tell the encoder which cells of a row are missing."""
    table, is_told = state.get("_table"), state["_architecture"].get("tells_gaps")
    return len(table.modelled) if table is not None and is_told is True else 0


def _is_whole(column: Column) -> bool:
    """Tell whether a column has as many of everything as it has levels."""
    if column.levels is None:
        return column.values is None and column.shares is None
    values, shares = column.values or [], column.shares or []
    return 0 < len(column.levels) == len(values) == len(shares)


def _blank_network(embedder: Any, state: State) -> torch.nn.Module:
    blank = type(embedder)(**embedder.get_params(deep=False))
    blank.n_features_in_ = state["n_features_in_"]
    if "_table" in state:
        blank._table = state["_table"]
    return blank._build(dict(state["_architecture"]))


def _check_weights(network: torch.nn.Module, weights: State, custom: bool) -> None:
    expected = {name: to_numpy(tensor) for name, tensor in network.state_dict().items()}
    faults = differing(expected, weights)
    if faults and custom:
        raise ValueError(
            "The modules given are not the ones whose weights the file holds: they "
            f"differ in {faults[0]!r}."
        )
    fault = "".join(faults[:1])
    require(not faults, f"the weights {fault[:100]!r} do not fit the network")
    for name in dict(network.named_parameters()).keys() & weights.keys():
        finite = bool(np.isfinite(weights[name]).all())
        require(finite, f"the weights {name[:100]!r} are not finite")
