"""Functions of numbers: those of numpy that a FunctionTransformer may hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.feature_selection import (
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.preprocessing import FunctionTransformer, Normalizer
from torch import Tensor, nn

from latentsk.export._modules import chain
from latentsk.export._registry import cannot_export, exports
from latentsk.export._sources import Numbers, Source, Stage, as_numbers, select

Function = Callable[[Tensor], Tensor]


def _log1p(x: Tensor) -> Tensor:
    # Kahan's correction: the rounding of 1 + x is divided out.
    y = x + 1
    corrected = y.log() * (x / torch.where(y == 1, torch.ones_like(y), y - 1))
    # Infinity is told by what it is equal to: the file's test for it is in float32.
    whole = torch.where(y == x, y.log(), corrected)
    return torch.where(y == 1, x, whole)


def _expm1(x: Tensor) -> Tensor:
    y = x.exp()
    log = torch.where(y > 0, y, torch.ones_like(y)).log()
    ratio = (y - 1) * (x / torch.where(log == 0, torch.ones_like(y), log))
    corrected = torch.where((y == 0) | (y - 1 == y), y - 1, ratio)
    return torch.where(y == 1, x, corrected)


def _arcsinh(x: Tensor) -> Tensor:
    size = x.abs()
    is_large = size > 2**28  # squares of larger ones are infinite at last
    small = torch.where(is_large, torch.ones_like(size), size)
    square = small * small
    grown = _log1p(small + square / ((square + 1).sqrt() + 1))
    two = torch.tensor(2.0, dtype=x.dtype)
    grown = torch.where(is_large, size.log() + two.log(), grown)
    return torch.where(x < 0, -grown, grown)


def _sinh(x: Tensor) -> Tensor:
    grown = _expm1(x.abs())
    size = (grown + grown / (grown + 1)) / 2
    return torch.where(x < 0, -size, size)


def _cbrt(x: Tensor) -> Tensor:
    size, one = x.abs(), torch.ones_like(x)
    near = torch.where(size == 0, one, size).pow(one / 3)
    # A power of a third, which is rounded, keeps 14 digits: one step of Newton.
    root = near - (near - size / (near * near)) / 3
    root = torch.where(size == 0, size, root)
    return torch.where(x < 0, -root, root)


# In the dtype of the rows, as numpy computes them.
FUNCTIONS: dict[Any, Function] = {
    np.log: torch.log,
    np.log1p: _log1p,
    np.log2: lambda x: x.log() / torch.tensor(2.0, dtype=torch.float64).log(),
    np.log10: lambda x: x.log() / torch.tensor(10.0, dtype=torch.float64).log(),
    np.exp: torch.exp,
    np.expm1: _expm1,
    np.sqrt: torch.sqrt,
    np.cbrt: _cbrt,
    np.square: lambda x: x * x,
    np.abs: torch.abs,
    np.fabs: torch.abs,
    np.negative: torch.neg,
    np.reciprocal: lambda x: 1 / x,
    np.sign: torch.sign,
    np.arcsinh: _arcsinh,
    np.sinh: _sinh,
    np.tanh: torch.tanh,
}


class Elementwise(nn.Module):
    """A function of each number, in float64, and its inverse where there is one."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, rows: Tensor) -> Tensor:
        """Return the function of rows."""
        return self.function(rows.double()).to(rows.dtype)


class InvertibleElementwise(Elementwise):
    """A function of each number, and its inverse."""

    def __init__(self, function: Function, back: Function) -> None:
        super().__init__(function)
        self.back = back

    def inverse(self, rows: Tensor) -> Tensor:
        """Return what the function was given."""
        return self.back(rows.double()).to(rows.dtype)


@exports(FunctionTransformer)
def _function_transformer(step: Any, source: Source) -> Stage:
    if step.func is None:
        return Stage(nn.Identity(), source)
    for function in (step.func, step.inverse_func):
        if function is not None and function not in FUNCTIONS:
            known = ", ".join(sorted(f"np.{f.__name__}" for f in FUNCTIONS))
            raise cannot_export(
                step,
                f"its function {getattr(function, '__name__', function)!r} is none of "
                f"{known}",
                "Use one of these, or apply the function to X before the estimator.",
            )
    if step.kw_args or step.inv_kw_args:
        raise cannot_export(step, "its function has kw_args")
    module = Elementwise(FUNCTIONS[step.func])
    if step.inverse_func is not None:
        module = InvertibleElementwise(
            FUNCTIONS[step.func], FUNCTIONS[step.inverse_func]
        )
    numbers = as_numbers(source)
    return Stage(chain(numbers.module, module), numbers.source)


@exports(
    VarianceThreshold,
    SelectKBest,
    SelectPercentile,
    SelectFpr,
    SelectFdr,
    SelectFwe,
    GenericUnivariateSelect,
    SelectFromModel,
    SequentialFeatureSelector,
)
def _selector(step: Any, source: Source) -> Stage:
    return select(source, [int(i) for i in step.get_support(indices=True)])


class Normalize(nn.Module):
    """Rows of length one; rows of zeros stay."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, rows: Tensor) -> Tensor:
        """Return normalized rows."""
        x = rows.double()
        if self.norm == "l2":
            length = (x * x).sum(dim=1, keepdim=True).sqrt()
        elif self.norm == "l1":
            length = x.abs().sum(dim=1, keepdim=True)
        else:
            length = x.abs().amax(dim=1, keepdim=True)
        length = torch.where(length == 0, torch.ones_like(length), length)
        return (x / length).to(rows.dtype)


@exports(Normalizer)
def _normalizer(step: Any, source: Source) -> Stage:
    numbers = as_numbers(source)
    module = chain(numbers.module, Normalize(step.norm))
    return Stage(module, Numbers(source.n_columns, source.dtype))
