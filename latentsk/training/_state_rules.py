"""What a file may claim of a training that goes on: its history and its optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from latentsk.persistence import _schema as schema
from latentsk.persistence._schema import Rule, Sizes, State
from latentsk.training._optimizer import FlatAdamW, OptimizerSettings

Arrays: TypeAlias = Mapping[str, NDArray[Any]]

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
    signed = all(k.startswith("mean") or bool((arrays[k] >= 0).all()) for k in arrays)
    return signed and not differing(memory, arrays)


def differing(arrays: Arrays, others: Arrays) -> list[str]:
    """Return names of arrays that differ in shape or dtype, or are in one group alone.

    Examples
    --------
    >>> differing({"a": np.zeros(2), "b": np.zeros(2)}, {"a": np.ones(2)})
    ['b']
    """
    groups = arrays.items(), others.items()
    first, second = ({(k, a.shape, a.dtype) for k, a in group} for group in groups)
    return sorted({name for name, *_ in first ^ second})
