"""Steps that act on each column of numbers by itself: scalers and imputers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from torch import Tensor, nn

from latentsk.export._modules import chain, constant
from latentsk.export._registry import cannot_export, exports
from latentsk.export._sources import (
    Columns,
    Numbers,
    Source,
    Stage,
    as_numbers,
    torch_dtype,
)


class Linear(nn.Module):
    """``(rows - shift) / scale`` of each column, or ``rows * factor + term``.

    Each operation is in float64 and rounded to the dtype of the rows, as numpy does it
    in place.

    Examples
    --------
    >>> linear = Linear(shift=[1.0, 0.0], scale=[2.0, 1.0])
    >>> linear(torch.tensor([[5.0, 3.0]]))
    tensor([[2., 3.]])
    >>> linear.inverse(torch.tensor([[2.0, 3.0]]))
    tensor([[5., 3.]])
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, shift: ArrayLike, scale: ArrayLike, *, multiplies: bool = False
    ) -> None:
        super().__init__()
        self.multiplies = multiplies
        self.register_buffer("shift", constant(shift))
        self.register_buffer("scale", constant(scale))

    def forward(self, rows: Tensor) -> Tensor:
        """Return scaled rows."""
        return self._multiplied(rows) if self.multiplies else self._divided(rows)

    def inverse(self, rows: Tensor) -> Tensor:
        """Return rows in their former units."""
        return self._divided(rows) if self.multiplies else self._multiplied(rows)

    def _divided(self, rows: Tensor) -> Tensor:
        centred = (rows.double() - self.shift).to(rows.dtype)
        return (centred.double() / self.scale).to(rows.dtype)

    def _multiplied(self, rows: Tensor) -> Tensor:
        scaled = (rows.double() * self.scale).to(rows.dtype)
        return (scaled.double() + self.shift).to(rows.dtype)


class Clip(nn.Module):
    """Values drawn in to an interval; NaN stays."""

    low: Tensor
    high: Tensor

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.register_buffer("low", constant(low))
        self.register_buffer("high", constant(high))

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows within."""
        low, high = self.low.to(rows.dtype), self.high.to(rows.dtype)
        rows = torch.where(rows < low, low, rows)
        return torch.where(rows > high, high, rows)

    def inverse(self, rows: Tensor) -> Tensor:
        """Return the rows as they are."""
        return rows


def _scaled(source: Source, *modules: nn.Module) -> Stage:
    numbers = as_numbers(source)
    return Stage(chain(numbers.module, *modules), numbers.source)


@exports(StandardScaler)
def _standard_scaler(step: Any, source: Source) -> Stage:
    # It rounds its statistics to the dtype of the rows first.
    dtype, n_columns = torch_dtype(source), source.n_columns
    shift = step.mean_ if step.with_mean else np.zeros(n_columns)
    scale = step.scale_ if step.with_std else np.ones(n_columns)
    rounded = (constant(array, dtype) for array in (shift, scale))
    return _scaled(source, Linear(*rounded))


@exports(RobustScaler)
def _robust_scaler(step: Any, source: Source) -> Stage:
    n_columns = source.n_columns
    shift = step.center_ if step.with_centering else np.zeros(n_columns)
    scale = step.scale_ if step.with_scaling else np.ones(n_columns)
    return _scaled(source, Linear(shift, scale))


@exports(MaxAbsScaler)
def _max_abs_scaler(step: Any, source: Source) -> Stage:
    clips = [Clip(-1.0, 1.0)] if step.clip else []
    return _scaled(source, Linear(np.zeros(source.n_columns), step.scale_), *clips)


@exports(MinMaxScaler)
def _min_max_scaler(step: Any, source: Source) -> Stage:
    clips = [Clip(*step.feature_range)] if step.clip else []
    return _scaled(source, Linear(step.min_, step.scale_, multiplies=True), *clips)


class Power(nn.Module):
    """The power transform of Yeo and Johnson, or of Box and Cox, of each column.

    Examples
    --------
    >>> power = Power([0.0, 2.0, 1.0], is_box_cox=False)
    >>> power(torch.tensor([[torch.e - 1.0, -1.0, 5.0]], dtype=torch.float64))
    tensor([[ 1.0000, -0.6931,  5.0000]], dtype=torch.float64)
    """

    power: Tensor
    is_log: Tensor

    def __init__(self, powers: ArrayLike, *, is_box_cox: bool) -> None:
        super().__init__()
        self.is_box_cox = is_box_cox
        # Of rows below zero Yeo and Johnson take the power 2 - lambda.
        given = np.asarray(powers, np.float64)
        both = np.stack([given, 2.0 - given])
        self.register_buffer("is_log", torch.from_numpy(np.abs(both) < 1e-16))
        self.register_buffer("power", constant(np.where(both == 0.0, 1.0, both)))

    def forward(self, rows: Tensor) -> Tensor:
        """Return transformed rows."""
        x = rows.double()
        if self.is_box_cox:
            return self._raised(x, 0).to(rows.dtype)
        above = self._raised(torch.where(x > 0, x, torch.zeros_like(x)) + 1, 0)
        below = self._raised(torch.where(x < 0, -x, torch.zeros_like(x)) + 1, 1)
        raised = torch.where(x < 0, -below, above)
        return torch.where(torch.isnan(x), x, raised).to(rows.dtype)

    def _raised(self, x: Tensor, side: int) -> Tensor:
        power = self.power[side]
        return torch.where(self.is_log[side], x.log(), (x.pow(power) - 1) / power)


@exports(PowerTransformer)
def _power_transformer(step: Any, source: Source) -> Stage:
    power = Power(step.lambdas_, is_box_cox=step.method == "box-cox")
    if not step.standardize:
        return _scaled(source, power)
    scaler: Any = step._scaler
    return _scaled(
        source,
        power,
        Linear(constant(scaler.mean_, torch_dtype(source)), scaler.scale_),
    )


class Impute(nn.Module):
    """Numbers in place of missing ones, and indicators.

    Parameters
    ----------
    fills : ndarray of shape (n_columns,)
    kept : list of int
        Columns that stay.
    indicated : list of int
        Columns that get an indicator.
    missing_value : float
    """

    fills: Tensor
    kept: Tensor
    indicated: Tensor
    missing_value: Tensor

    def __init__(
        self, fills: ArrayLike, kept: Any, indicated: Any, missing_value: float
    ) -> None:
        super().__init__()
        self.looks_for_nan = bool(np.isnan(missing_value))
        self.register_buffer("fills", constant(fills))
        self.register_buffer("kept", constant(kept, torch.int64))
        self.register_buffer("indicated", constant(indicated, torch.int64))
        self.register_buffer("missing_value", constant(missing_value))
        self.is_all = len(kept) == len(self.fills)

    def forward(self, rows: Tensor) -> Tensor:
        """Return complete rows."""
        value = self.missing_value.to(rows.dtype)
        is_missing = torch.isnan(rows) if self.looks_for_nan else rows == value
        filled = torch.where(is_missing, self.fills.to(rows.dtype), rows)
        if not self.is_all:
            filled = filled.index_select(1, self.kept)
        if not len(self.indicated):
            return filled
        indicators = is_missing.index_select(1, self.indicated).to(rows.dtype)
        return torch.cat([filled, indicators], dim=1)


@exports(SimpleImputer)
def _simple_imputer(step: Any, source: Source) -> Stage:
    if any(isinstance(value, str) for value in step.statistics_):
        return _text_imputer(step, source)
    missing = step.missing_values
    if isinstance(missing, str):
        raise cannot_export(step, f"missing_values={missing!r} of numbers is a string")
    is_missing = missing is None or missing != missing or missing is _pandas_na()
    value = np.nan if is_missing else float(missing)
    fills = np.asarray(step.statistics_, np.float64)
    kept = np.flatnonzero(~np.isnan(fills) | step.keep_empty_features)
    indicated = step.indicator_.features_ if step.add_indicator else np.empty(0)
    stage = _scaled(source, Impute(np.nan_to_num(fills), kept, indicated, value))
    n_columns = len(kept) + len(indicated)
    return Stage(stage.module, Numbers(n_columns, source.dtype))


def _pandas_na() -> Any:
    import pandas as pd

    return pd.NA


def _text_imputer(step: Any, source: Source) -> Stage:
    missing = step.missing_values
    if step.add_indicator or isinstance(missing, str):
        raise cannot_export(
            step,
            "of strings, add_indicator and a string for missing_values have no "
            "counterpart in the file",
            "Let a OneHotEncoder take missing values as a category of their own.",
        )
    if not isinstance(source, Columns):
        raise cannot_export(step, "it fills strings into what another step returns")
    return Stage(nn.Identity(), source.filled([str(s) for s in step.statistics_]))
