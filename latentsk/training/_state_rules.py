"""What a file may claim of a training that goes on: its history and its optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from latentsk.persistence import _schema as schema
from latentsk.persistence._schema import Rule, Sizes, State
from latentsk.training._optimizer import FlatAdamW, OptimizerSettings

_NUMBER = schema.number(finite=False)
_RECORD = {
    "epoch": schema.count(1),
    "train_loss": _NUMBER,
    "validation_loss": schema.maybe(_NUMBER),
    "monitored_loss": _NUMBER,
    "learning_rate": schema.number(0),
    "seconds": schema.number(0),
}
_EPOCH = schema.fields(_RECORD, others=schema.maybe(_NUMBER))
EPOCHS = schema.list_of(_EPOCH, "epochs")


def _is_generator_state(value: Any, _: Sizes) -> bool:
    if not (isinstance(value, np.ndarray) and value.dtype == np.uint8):
        return False
    try:
        torch.Generator().set_state(torch.tensor(value))
    except (RuntimeError, TypeError):
        return False
    return True


def _is_memory(value: Any, _: Sizes) -> bool:
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return is_float and bool(np.isfinite(value).all())


OPTIMIZER = schema.fields(
    {
        "layout": schema.list_of(schema.list_of(schema.text())),
        "generator": Rule(_is_generator_state, "state of a generator"),
    },
    others=Rule(_is_memory, "finite array"),
)


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
        memory[k].shape == a.shape
        and memory[k].dtype == a.dtype
        and (k.startswith("mean") or bool((a >= 0).all()))
        for k, a in arrays.items()
    )
