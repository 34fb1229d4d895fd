"""Modules of torch that others are put together of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class TakeNumbers(nn.Module):
    """Some columns of X as one matrix of numbers."""

    def __init__(self, inputs: Sequence[int], positions: Sequence[int]) -> None:
        super().__init__()
        self.inputs = list(inputs)
        self.register_buffer("positions", torch.tensor(positions, dtype=torch.int64))

    def forward(self, rows: Any) -> Tensor:
        """Return the matrix."""
        if isinstance(rows, tuple):
            return torch.cat([rows[i] for i in self.inputs], dim=1)
        taken: Tensor = rows.index_select(1, self.get_buffer("positions"))
        return taken


class TakeAll(nn.Module):
    """All columns of X as one matrix."""

    def __init__(self, inputs: Sequence[int]) -> None:
        super().__init__()
        self.inputs = list(inputs)

    def forward(self, rows: Any) -> Tensor:
        """Return the matrix."""
        if isinstance(rows, tuple):
            return torch.cat([rows[i] for i in self.inputs], dim=1)
        whole: Tensor = rows
        return whole

    def inverse(self, rows: Tensor) -> Tensor:
        """Return the matrix."""
        return rows


class TakeInputs(nn.Module):
    """Some inputs, side by side."""

    def __init__(self, inputs: Sequence[int]) -> None:
        super().__init__()
        self.inputs = list(inputs)

    def forward(self, rows: Any) -> Tensor:
        """Return the matrix."""
        return torch.cat([rows[i] for i in self.inputs], dim=1)


class TakeColumns(nn.Module):
    """Some columns of a matrix."""

    def __init__(self, columns: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64))

    def forward(self, rows: Tensor) -> Tensor:
        """Return them."""
        return rows.index_select(1, self.get_buffer("columns"))


def chain(*modules: nn.Module) -> nn.Module:
    """Return modules that act one after the other."""
    kept = [module for module in modules if not isinstance(module, nn.Identity)]
    return kept[0] if len(kept) == 1 else Chain(kept)


class Chain(nn.Module):
    """Modules one after the other, and back."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(modules)

    def forward(self, rows: Any) -> Any:
        """Return what the last one returns."""
        for step in self.steps:
            rows = step(rows)
        return rows

    def inverse(self, rows: Tensor) -> Tensor:
        """Return what the first one was given."""
        steps: Any = reversed(self.steps)
        for step in steps:
            rows = step.inverse(rows)
        return rows


def is_invertible(module: nn.Module) -> bool:
    """Tell whether a module has an inverse."""
    if isinstance(module, Chain):
        return all(map(is_invertible, module.steps))
    return hasattr(module, "inverse")


def constant(values: Any, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return values as a tensor; torch writes plain numbers in float32."""
    return torch.tensor(np.asarray(values), dtype=dtype)
