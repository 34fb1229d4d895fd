"""Steps made of steps: Pipeline, ColumnTransformer, FeatureUnion, FrozenEstimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline
from torch import Tensor, nn

from latentsk.export._modules import chain, constant
from latentsk.export._registry import cannot_export, exports, stage_of
from latentsk.export._sources import (
    Columns,
    Numbers,
    Source,
    Stage,
    as_numbers,
    select,
    torch_dtype,
)

_NOTHING = (None, "passthrough")


@exports(Pipeline)
def pipeline(step: Any, source: Source) -> Stage:
    """Return the steps of a Pipeline as one stage."""
    modules = []
    for _, part in step.steps:
        if part not in _NOTHING:
            stage = stage_of(part, source)
            modules.append(stage.module)
            source = stage.source
    return Stage(chain(*modules), source)


@exports(FrozenEstimator)
def _frozen(step: Any, source: Source) -> Stage:
    return stage_of(step.estimator, source)


class SideBySide(nn.Module):
    """What several modules make of the same rows, in one matrix."""

    def __init__(
        self, modules: Sequence[nn.Module], weights: Sequence[float], dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self.register_buffer("weights", constant(weights, dtype))
        self.is_weighted = any(weight != 1.0 for weight in weights)
        self.dtype = dtype

    def forward(self, rows: Any) -> Tensor:
        """Return the matrix."""
        found = [part(rows).to(self.dtype) for part in self.parts]
        if self.is_weighted:
            weights = self.get_buffer("weights")
            found = [part * weights[i : i + 1] for i, part in enumerate(found)]
        return torch.cat(found, dim=1)


def _side_by_side(stages: Sequence[Stage], weights: Sequence[float]) -> Stage:
    numbers = [as_numbers(stage.source) for stage in stages]
    modules = [chain(s.module, n.module) for s, n in zip(stages, numbers, strict=True)]
    dtypes = [number.source.dtype for number in numbers]
    out = Numbers(
        sum(number.source.n_columns for number in numbers),
        np.result_type(*dtypes).name,
    )
    return Stage(SideBySide(modules, weights, torch_dtype(out)), out)


@exports(FeatureUnion)
def _feature_union(step: Any, source: Source) -> Stage:
    weights = step.transformer_weights or {}
    parts = [(name, part) for name, part in step.transformer_list if part != "drop"]
    stages = [
        Stage(nn.Identity(), source) if part in _NOTHING else stage_of(part, source)
        for _, part in parts
    ]
    return _side_by_side(stages, [weights.get(name, 1.0) for name, _ in parts])


@exports(ColumnTransformer)
def _column_transformer(step: Any, source: Source) -> Stage:
    weights = step.transformer_weights or {}
    stages, factors = [], []
    for name, part, _ in step.transformers_:
        columns = [int(i) for i in step._transformer_to_input_indices[name]]
        if (isinstance(part, str) and part == "drop") or not columns:
            continue
        taken = select(source, columns)
        stage = taken if part in _NOTHING else stage_of(part, taken.source)
        stages.append(Stage(chain(taken.module, stage.module), stage.source))
        factors.append(weights.get(name, 1.0))
    if not stages:
        raise cannot_export(step, "it drops every column")
    sources = [stage.source for stage in stages]
    is_plain = all(factor == 1.0 for factor in factors)
    if is_plain and all(isinstance(part, Columns) for part in sources):
        return Stage(nn.Identity(), _joined(sources))
    return _side_by_side(stages, factors)


def _joined(sources: Sequence[Any]) -> Columns:
    """Return columns of X that several steps leave as they are, or fill."""
    first = sources[0]
    return Columns(
        first.inputs,
        tuple(j for source in sources for j in source.positions),
        tuple(fill for source in sources for fill in source.fills),
    )
