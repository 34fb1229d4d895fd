"""What a file may claim of a fitted PCAEmbedder."""

from __future__ import annotations

from typing import Any

from latentsk.embedders._rules import FEATURE_NAMES, N_FEATURES, THRESHOLD
from latentsk.persistence import _schema as rule
from latentsk.persistence._schema import Sizes, State, require

REQUIRED = N_FEATURES
# All of them, or none: chunks that were too few to fit leave the sums alone.
MODEL = {
    "n_components_": rule.count(named="k"),
    "mean_": rule.floats("n_features"),
    "components_": rule.floats("k", "n_features"),
    "explained_variance_": rule.floats("k", least=0, finite=False),
    "explained_variance_ratio_": rule.floats("k", finite=False),
    "singular_values_": rule.floats("k", finite=False),
    "noise_variance_": rule.number(finite=False),
    "n_samples_": rule.count(1),
    "svd_solver_": rule.text(),
}
SUMS = {
    "n_samples_seen_": rule.count(1),
    "_mean_seen": rule.floats("n_features"),
    "_scatter": rule.floats("n_features", "n_features", finite=False),
}
OPTIONAL = {
    **FEATURE_NAMES,
    **THRESHOLD,
    **MODEL,
    **SUMS,
    "tensor_device": rule.device(),
}


def check_pca(embedder: Any, state: State, sizes: Sizes) -> None:
    """Refuse a part of a model.

    Raises
    ------
    FormatError
    """
    present = MODEL.keys() & state.keys()
    require(len(present) in (0, len(MODEL)), "PCAEmbedder lacks a part of its model")
