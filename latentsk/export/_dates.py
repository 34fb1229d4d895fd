"""DatetimeEncoder as a module of torch, of nanoseconds since 1970."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentsk.export._modules import constant
from latentsk.export._registry import cannot_export, exports
from latentsk.export._sources import Columns, Numbers, Source, Stage
from latentsk.preprocessing import DatetimeEncoder
from latentsk.preprocessing._datetime_encoder import CYCLES, MONDAY, WEEK

SECOND = 1_000_000_000
# What numpy and pandas have for a missing date.
NOT_A_TIME = np.iinfo(np.int64).min


class Cycles(nn.Module):
    """Sine and cosine of the phase of dates in some cycles.

    Parameters
    ----------
    dates : nn.Module
        Returns the columns of dates.

    columns, cycles : ndarray of shape (n_cycles,), dtype intp
        Which column, and which of CYCLES.
    """

    columns: Tensor
    lengths: Tensor
    shifts: Tensor
    missing: Tensor
    turn: Tensor
    quarter: Tensor

    def __init__(self, dates: nn.Module, columns: Any, cycles: Any) -> None:
        super().__init__()
        self.dates = dates
        lengths = np.array(list(CYCLES.values()))[cycles]
        shifts = MONDAY * (lengths == WEEK)
        for name, values in {
            "columns": columns,
            "lengths": (lengths * SECOND).astype(np.int64),
            "shifts": (shifts * SECOND).astype(np.int64),
            "missing": NOT_A_TIME,
        }.items():
            self.register_buffer(name, constant(values, torch.int64))
        self.register_buffer("quarter", constant(0.5 * np.pi))
        self.register_buffer("turn", constant(2.0 * np.pi / (lengths * SECOND)))

    def forward(self, rows: Any) -> Tensor:
        """Return a sine and a cosine for each cycle."""
        dates = self.dates(rows).index_select(1, self.columns)
        is_missing = dates == self.missing
        since = torch.where(is_missing, torch.zeros_like(dates), dates) + self.shifts
        angles = torch.remainder(since, self.lengths).double() * self.turn
        # Not the cosine, which onnxruntime 1.15 lacks in float64.
        pairs = torch.stack([angles.sin(), (angles + self.quarter).sin()], dim=2)
        pairs = torch.where(is_missing[:, :, None], torch.zeros_like(pairs), pairs)
        return pairs.flatten(1)


@exports(DatetimeEncoder)
def _datetime_encoder(step: Any, source: Source) -> Stage:
    if not isinstance(source, Columns):
        raise cannot_export(step, "it takes dates that another step returns")
    module = Cycles(source.dates(), step._columns, step._cycles)
    return Stage(module, Numbers(2 * len(step._cycles), "float64"))
