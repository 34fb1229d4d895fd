"""RobustStandardizer as a module of torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentsk._validation import LIMITS
from latentsk.export._modules import chain, constant
from latentsk.export._registry import exports
from latentsk.export._sources import Numbers, Source, Stage, as_numbers
from latentsk.preprocessing import RobustStandardizer
from latentsk.preprocessing._codes import ROUNDED, SAME
from latentsk.preprocessing._robust_standardizer import INDICATOR


class Standardize(nn.Module):
    """Standardized columns, and an indicator for each code.

    Examples
    --------
    >>> X = [[1], [2], [3], [4], [5], [6], [7], [-99], [-99]]
    >>> standardize = Standardize(RobustStandardizer().fit(X))
    >>> rows = standardize(torch.tensor([[4.0], [-99.0]]))
    >>> rows, standardize.inverse(rows)
    (tensor([[0.0000, 0.0000],
            [0.0000, 0.0100]]), tensor([[  4.],
            [-99.]]))
    """

    center: Tensor
    scale: Tensor
    codes: Tensor
    tolerance: Tensor
    indicator: Tensor
    columns: Tensor
    holders: Tensor

    def __init__(self, step: RobustStandardizer) -> None:
        super().__init__()
        columns, codes = step._code_columns, step._code_values
        tolerance = np.minimum(ROUNDED * np.abs(codes), SAME * step.scale_[columns])
        self.add_indicator = step.add_indicator
        self.looks_for_nan = bool(np.isnan(codes).any())
        self.register_buffer("center", constant(step.center_))
        self.register_buffer("scale", constant(step.scale_))
        self.register_buffer("codes", constant(codes))
        # Of NaN, which is at no distance, but has an own test.
        self.register_buffer("tolerance", constant(np.nan_to_num(tolerance)))
        self.register_buffer("indicator", constant(INDICATOR))
        self.register_buffer("columns", constant(columns, torch.int64))
        # Which columns each code belongs to, so that a product tells who has one.
        holders = np.arange(len(step.center_)) == columns[:, None]
        self.register_buffer("holders", constant(holders))
        for dtype, limit in LIMITS.items():
            self.register_buffer(f"limit_{dtype}", constant(limit))

    def forward(self, rows: Tensor) -> Tensor:
        """Return standardized rows."""
        cells = rows.double()
        standardized = (cells - self.center) / self.scale
        unknown = torch.isnan(standardized)
        if len(self.codes):
            has_code = self._has_code(cells)
            unknown = unknown | (has_code.double() @ self.holders > 0)
        zero = torch.zeros_like(standardized)
        standardized = self._clipped(torch.where(unknown, zero, standardized), rows)
        if not (self.add_indicator and len(self.codes)):
            return standardized
        indicators = (has_code.double() * self.indicator).to(rows.dtype)
        return torch.cat([standardized, indicators], dim=1)

    def inverse(self, rows: Tensor) -> Tensor:
        """Return columns in their own units, and the codes."""
        n_columns = len(self.center)
        original = rows[:, :n_columns].double() * self.scale + self.center
        for k in range(rows.shape[1] - n_columns):
            is_on = rows[:, n_columns + k, None] > self.indicator / 2
            is_here = is_on & (self.holders[k] > 0)
            original = torch.where(is_here, self.codes[k : k + 1], original)
        return original.to(rows.dtype)

    def _has_code(self, cells: Tensor) -> Tensor:
        held = cells.index_select(1, self.columns)
        found = (held - self.codes).abs() <= self.tolerance
        if not self.looks_for_nan:
            return found
        return found | (torch.isnan(self.codes) & torch.isnan(held))

    def _clipped(self, values: Tensor, like: Tensor) -> Tensor:
        name = "float32" if like.dtype == torch.float32 else "float64"
        limit = self.get_buffer(f"limit_{name}")
        values = torch.where(values > limit, limit, values)
        return torch.where(values < -limit, -limit, values).to(like.dtype)


@exports(RobustStandardizer)
def _robust_standardizer(step: Any, source: Source) -> Stage:
    numbers = as_numbers(source)
    n_columns = source.n_columns + len(step.code_columns)
    module = chain(numbers.module, Standardize(step))
    return Stage(module, Numbers(n_columns, source.dtype))
