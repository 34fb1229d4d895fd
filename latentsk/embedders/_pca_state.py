"""What a file may claim of a fitted PCAEmbedder."""

from __future__ import annotations

from typing import Any

from latentsk._device import DEVICE_TYPES
from latentsk.embedders._rules import FEATURE_NAMES, N_FEATURES, THRESHOLD
from latentsk.persistence import _schema as schema
from latentsk.persistence._schema import Sizes, State, require

REQUIRED = N_FEATURES
# All of them, or none: chunks that were too few to fit leave the sums alone.
MODEL = {
    "n_components_": schema.count(named="k"),
    "mean_": schema.floats("n_features"),
    "components_": schema.floats("k", "n_features"),
    "explained_variance_": schema.floats("k", least=0, finite=False),
    "explained_variance_ratio_": schema.floats("k", finite=False),
    "singular_values_": schema.floats("k", finite=False),
    "noise_variance_": schema.number(finite=False),
    "n_samples_": schema.count(1),
    "svd_solver_": schema.text(),
}
SUMS = {
    "n_samples_seen_": schema.count(1),
    "_mean_seen": schema.floats("n_features"),
    "_scatter": schema.floats("n_features", "n_features", finite=False),
    # Files of the first releases lack these, as every row had the weight 1.
    "_weight_seen": schema.number(5e-324),
    "_pair_weight_seen": schema.number(0),
}
PRIVATE_SUMS = tuple(name for name in SUMS if name.startswith("_"))
DEVICE = {"tensor_device": schema.device(*DEVICE_TYPES)}
OPTIONAL = {**FEATURE_NAMES, **THRESHOLD, **MODEL, **SUMS, **DEVICE}


def check_pca(embedder: Any, state: State, sizes: Sizes) -> None:
    """Refuse a part of a model.

    Raises
    ------
    FormatError
    """
    present = MODEL.keys() & state.keys()
    require(len(present) in (0, len(MODEL)), "PCAEmbedder lacks a part of its model")
    weight, pairs = state.get("_weight_seen", 1), state.get("_pair_weight_seen", 0)
    # Rounding aside: no row counts for more than one.
    fits = weight <= 1.001 * state.get("n_samples_seen_", 1) and pairs < weight**2
    require(fits, "PCAEmbedder has weights of other rows")
