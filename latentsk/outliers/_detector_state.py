"""What a file may claim of a fitted detector."""

from __future__ import annotations

from typing import Any

import pandas as pd

from latentsk.embedders._rules import FEATURE_NAMES, N_FEATURES, THRESHOLD
from latentsk.outliers._gaussian import RobustGaussian
from latentsk.outliers._latent_view import LatentView
from latentsk.outliers._neighborhood import Neighborhood
from latentsk.outliers._scales import Scale
from latentsk.outliers._threshold_rule import LEVELS, ThresholdRule
from latentsk.persistence import _schema as schema
from latentsk.persistence._schema import Sizes, State, require

# What `parts_` may hold.
PARTS = ("distance", "residual", "neighbors")
REQUIRED = {
    "_offset_score_method": THRESHOLD["_offset_score_method"],
    "training_scores_": schema.floats("scored"),
    "parts_": schema.list_of(schema.text(*PARTS)),
    "_is_default": schema.flag(),
    "_normal_offset": schema.number(finite=False),
    "_score_name": schema.text(),
    "_view": schema.instance(LatentView),
    "_gaussian": schema.instance(RobustGaussian),
    "_neighborhood": schema.instance(Neighborhood),
    "_scale": schema.instance(Scale),
}
OPTIONAL = {
    # Dropped by `update` where it rests on calibration rows.
    "offset_": THRESHOLD["offset_"],
    # Of texts there are no features.
    **N_FEATURES,
    **FEATURE_NAMES,
    "calibration_scores_": schema.floats("calibrated"),
    # Where nearest rows cannot be told from their features.
    "_reference_rows": schema.instance(pd.DataFrame),
    # Files of the first releases lack these.
    "_fitted_parameters": schema.fields({}, schema.text()),
    "_threshold_rule": schema.instance(ThresholdRule),
}


def check_fit(_: Any, state: State, sizes: Sizes) -> None:
    """Refuse a detector whose objects were not fitted together.

    Raises
    ------
    FormatError
    """
    require(sizes.get("calibrated") != 0, "there are no calibration scores")
    rule = state.get("_threshold_rule")
    awaits_calibration = rule is not None and rule.name in LEVELS
    require("offset_" in state or awaits_calibration, "there is no threshold")
    view, neighborhood = state["_view"], state["_neighborhood"]
    shape = neighborhood.latent_index.n_features_in_, neighborhood.features.shape[1]
    same = shape == state["_gaussian"].loadings.shape and len(view.scale) == shape[1]
    require(same, "the neighbours are other rows")
    if "_reference_rows" in state:
        shape = len(neighborhood.features), len(view.feature_names)
        require(state["_reference_rows"].shape == shape, "the cells are of other rows")
    else:
        require(view.gives_columns_back, "the cells of the neighbours are missing")
