"""What a file may claim of a fitted detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentsk._schema import (
    Rule,
    booleans,
    check_state,
    count,
    fields,
    flag,
    floats,
    integers,
    list_of,
    maybe,
    names,
    number,
    require,
    text,
)
from latentsk.index import LatentIndex
from latentsk.outliers._detector import PARTS
from latentsk.outliers._latent_view import LatentView
from latentsk.outliers._neighborhood import Neighborhood
from latentsk.outliers._scales import KINDS, Scale

State = Mapping[str, Any]


def check_detector(detector: Any, state: State) -> None:
    """Refuse what is no state of a LatentOutlierDetector.

    Raises
    ------
    FormatError
    """
    gaussian = {
        "centre": floats("latents"),
        "axes": floats("latents", "latents"),
        "variances": floats("latents", least=0),
        "ridge": number(5e-324),
        "n_rows": count(1),
        "noise": number(0),
        "was_fitted_on": flag(),
        "loadings": floats("latents", "features", finite=False),
    }
    scale = dict.fromkeys(Scale._fields, floats(len(KINDS)))
    required = {
        "n_features_in_": count(1, named="given"),
        "offset_": number(finite=False),
        "_offset_score_method": maybe(text()),
        "training_scores_": floats("scored"),
        "parts_": list_of(text(*PARTS)),
        "_is_default": flag(),
        "_score_name": text(),
        "_gaussian": fields(gaussian),
        "_scale": fields(scale),
        "_view": _instance(LatentView),
        "_neighborhood": _instance(Neighborhood),
    }
    optional = {
        "feature_names_in_": names("given"),
        "calibration_scores_": floats("calibrated"),
    }
    sizes: dict[str, int] = {}
    check_state("LatentOutlierDetector", state, required, optional, sizes)
    require(sizes.get("calibrated") != 0, "there are no calibration scores")
    view, neighborhood = state["_view"], state["_neighborhood"]
    n_features = len(view.scale_), neighborhood.features_.shape[1]
    require(set(n_features) == {sizes["features"]}, "features are of other rows")
    n_latents = neighborhood.index_.n_features_in_
    require(n_latents == sizes["latents"], "the neighbours are other rows")


def check_view(view: Any, state: State) -> None:
    """Refuse what is no state of a LatentView.

    Raises
    ------
    FormatError
    """
    rules = {
        "scale_": floats("features", least=5e-324),
        "feature_names_": list_of(text(), "features"),
        "has_original_features_": flag(),
    }
    check_state("LatentView", state, rules, {}, {})


def check_neighborhood(neighborhood: Any, state: State) -> None:
    """Refuse what is no state of a Neighborhood.

    Raises
    ------
    FormatError
    """
    sizes: dict[str, int] = {}
    rules = {
        "index_": fitted_index(),
        "features_": floats("rows", "features", finite=False),
        "keys_": integers("rows", dtypes={"uint64"}),
        "is_support_": booleans("rows"),
        "mean_distances_": floats("rows", least=0),
        "subsamples_": integers("subsamples", "size", below="rows"),
    }
    check_state("Neighborhood", state, rules, {}, sizes)
    n_rows = state["index_"].n_samples_fit_
    require(n_rows == sizes["rows"] >= 2, "the neighbours are other rows")
    require(min(sizes["subsamples"], sizes["size"]) >= 1, "subsamples are empty")


def fitted_index() -> Rule:
    """Return the rule of a fitted LatentIndex."""
    return Rule(
        lambda value, _: type(value) is LatentIndex and hasattr(value, "ids_"),
        "fitted index",
    )


def check_adapter(adapter: Any, state: State) -> None:
    """Refuse what is no state of a PyODAdapter.

    Raises
    ------
    FormatError
    """
    rules = {
        "detector_": Rule(lambda value, _: hasattr(value, "score_samples"), "detector"),
        "decision_scores_": floats("rows", finite=False),
        "threshold_": number(finite=False),
        "labels_": integers("rows", below=2),
    }
    check_state("PyODAdapter", state, rules, {}, {})


def _instance(cls: type) -> Rule:
    return Rule(lambda value, _: type(value) is cls, cls.__name__)
