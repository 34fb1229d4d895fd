"""What a file may claim of a fitted detector."""

from __future__ import annotations

from typing import Any

from latentsk.outliers._gaussian import RobustGaussian
from latentsk.outliers._latent_view import LatentView
from latentsk.outliers._neighborhood import Neighborhood
from latentsk.outliers._scales import Scale
from latentsk.persistence._schema import (
    Sizes,
    State,
    count,
    flag,
    floats,
    instance,
    list_of,
    maybe,
    names,
    number,
    require,
    text,
)

# What `parts_` may hold.
PARTS = ("distance", "residual", "neighbors")
REQUIRED = {
    "n_features_in_": count(1, named="columns"),
    "offset_": number(finite=False),
    "_offset_score_method": maybe(text()),
    "training_scores_": floats("scored"),
    "parts_": list_of(text(*PARTS)),
    "_is_default": flag(),
    "_score_name": text(),
    "_view": instance(LatentView),
    "_gaussian": instance(RobustGaussian),
    "_neighborhood": instance(Neighborhood),
    "_scale": instance(Scale),
}
OPTIONAL = {
    "feature_names_in_": names("columns"),
    "calibration_scores_": floats("calibrated"),
}


def check_fit(_: Any, state: State, sizes: Sizes) -> None:
    """Refuse a detector whose objects were not fitted together.

    Raises
    ------
    FormatError
    """
    require(sizes.get("calibrated") != 0, "there are no calibration scores")
    view, neighborhood = state["_view"], state["_neighborhood"]
    shape = neighborhood.latent_index.n_features_in_, neighborhood.features.shape[1]
    same = shape == state["_gaussian"].loadings.shape and len(view.scale) == shape[1]
    require(same, "the neighbours are other rows")
