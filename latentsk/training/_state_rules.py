"""What a file may claim of a training that goes on: its history and its optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from latentsk.persistence._schema import (
    Rule,
    Sizes,
    State,
    count,
    list_of,
    maybe,
    number,
    text,
)
from latentsk.training._optimizer import FlatAdamW, OptimizerSettings

_RECORD: dict[str, Rule] = {
    "epoch": count(1),
    "train_loss": number(finite=False),
    "validation_loss": maybe(number(finite=False)),
    "monitored_loss": number(finite=False),
    "learning_rate": number(0),
    "seconds": number(0),
}
_TERM = maybe(number(finite=False))


def _is_epoch(value: Any, sizes: Sizes) -> bool:
    if type(value) is not dict or not _RECORD.keys() <= value.keys():
        return False
    terms = value.keys() - _RECORD.keys()
    named = all(name.startswith(("train_", "validation_")) for name in terms)
    return named and all(_RECORD.get(k, _TERM).fits(v, {}) for k, v in value.items())


def _is_generator_state(value: Any) -> bool:
    if not (isinstance(value, np.ndarray) and value.dtype == np.uint8):
        return False
    try:
        torch.Generator().set_state(torch.tensor(value))
    except (RuntimeError, TypeError):
        return False
    return True


def _is_optimizer_state(value: Any, sizes: Sizes) -> bool:
    if type(value) is not dict:
        return False
    rest = dict(value)
    layout, generator = rest.pop("layout", None), rest.pop("generator", None)
    return (
        list_of(list_of(text())).fits(layout, {})
        and _is_generator_state(generator)
        and all(
            isinstance(array, np.ndarray)
            and array.dtype.kind == "f"
            and bool(np.isfinite(array).all())
            and (name.startswith("mean") or bool((array >= 0).all()))
            for name, array in rest.items()
        )
    )


EPOCHS = list_of(Rule(_is_epoch, "record of an epoch"), "epochs")
OPTIMIZER = Rule(_is_optimizer_state, "state of an optimizer")


def remembers(state: State, network: nn.Module) -> bool:
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
