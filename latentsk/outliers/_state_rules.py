"""What a file may claim of a fitted detector."""

from __future__ import annotations

from typing import Any

from latentsk.index import LatentIndex
from latentsk.persistence._schema import (
    Sizes,
    State,
    booleans,
    count,
    flag,
    floats,
    instance,
    integers,
    list_of,
    maybe,
    names,
    number,
    require,
    text,
)

FITTED_INDEX = instance(LatentIndex, "ids_")

DETECTOR = {
    "n_features_in_": count(1, named="given"),
    "embedder_": instance(object, "transform"),
    "offset_": number(finite=False),
    "_offset_score_method": maybe(text()),
    "training_scores_": floats("scored"),
    "parts_": list_of(text("distance", "residual", "neighbors")),
    "_fitted_as": text(),
    "_is_default": flag(),
    "_is_seen": flag(),
    "_features_are_original": flag(),
    "_margin": number(0),
    "_scale": floats("features", least=5e-324),
    "_centre": floats("latents"),
    "_axes": floats("latents", "latents"),
    "_variances": floats("latents", least=0),
    "_ridge": number(5e-324),
    "_n_rows": count(1),
    "_noise": number(0),
    "_loadings": floats("latents", "features", finite=False),
    "_reference_keys": integers("rows", dtypes={"uint64"}),
    "_reference_is_core": booleans("rows"),
    "_reference_features": floats("rows", "features", finite=False),
    "_scales": list_of(list_of(number(), 3), 5),
    "_neighborhood": instance(object, "reach_"),
}
DETECTOR_OPTIONAL = {
    "feature_names_in_": names("given"),
    "calibration_scores_": floats("calibrated"),
}
NEIGHBORHOOD = {
    "index_": FITTED_INDEX,
    "reach_": floats("rows", least=0),
    "subsamples_": integers("subsamples", "size", below="rows"),
}
ADAPTER = {
    "detector_": instance(object, "score_samples"),
    "decision_scores_": floats("rows", finite=False),
    "threshold_": number(finite=False),
    "labels_": integers("rows", below=2),
}


def check_detector(detector: Any, state: State, sizes: Sizes) -> None:
    """Refuse a detector whose parts do not fit each other.

    Raises
    ------
    FormatError
    """
    require(sizes.get("calibrated") != 0, "there are no calibration scores")
    shape = state["_neighborhood"].index_._vectors.shape
    same = shape == (sizes["rows"], sizes["latents"])
    require(same, "the neighbours are other rows")


def check_neighborhood(neighborhood: Any, state: State, sizes: Sizes) -> None:
    """Refuse neighbours whose parts do not fit each other.

    Raises
    ------
    FormatError
    """
    same = state["index_"].n_samples_fit_ == sizes["rows"] >= 2
    require(same, "the neighbours are other rows")
    require(min(sizes["subsamples"], sizes["size"]) > 0, "subsamples are empty")
