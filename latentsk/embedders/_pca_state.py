"""What a file may claim of a fitted PCAEmbedder."""

from __future__ import annotations

from typing import Any

from latentsk.embedders._rules import FEATURE_NAMES, N_FEATURES, THRESHOLD
from latentsk.persistence._schema import (
    Sizes,
    State,
    count,
    device,
    floats,
    number,
    require,
    text,
)

REQUIRED = N_FEATURES
# All of them, or none: chunks that were too few to fit leave the sums alone.
MODEL = {
    "n_components_": count(named="k"),
    "mean_": floats("n_features"),
    "components_": floats("k", "n_features"),
    "explained_variance_": floats("k", least=0, finite=False),
    "explained_variance_ratio_": floats("k", finite=False),
    "singular_values_": floats("k", finite=False),
    "noise_variance_": number(finite=False),
    "n_samples_": count(1),
    "svd_solver_": text(),
}
SUMS = {
    "n_samples_seen_": count(1),
    "_mean_seen": floats("n_features"),
    "_scatter": floats("n_features", "n_features", finite=False),
}
OPTIONAL = {**FEATURE_NAMES, **THRESHOLD, **MODEL, **SUMS, "tensor_device": device()}


def check_pca(embedder: Any, state: State, sizes: Sizes) -> None:
    """Refuse a part of a model.

    Raises
    ------
    FormatError
    """
    present = MODEL.keys() & state.keys()
    require(len(present) in (0, len(MODEL)), "PCAEmbedder lacks a part of its model")
