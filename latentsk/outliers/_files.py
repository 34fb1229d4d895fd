"""What a file may claim of a fitted detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentsk._schema import (
    Rule,
    booleans,
    check_state,
    count,
    flag,
    floats,
    integers,
    list_of,
    maybe,
    names,
    number,
    text,
)
from latentsk.exceptions import FormatError
from latentsk.index import LatentIndex
from latentsk.outliers.detector import KINDS, PARTS
from latentsk.outliers.neighborhood import Neighborhood

State = Mapping[str, Any]


def check_detector(detector: Any, state: State) -> None:
    """Refuse what is no state of a LatentOutlierDetector.

    Raises
    ------
    FormatError
    """
    required = {
        "n_features_in_": count(1, named="given"),
        "embedder_": _part("transform"),
        "offset_": number(finite=False),
        "_offset_score_method": maybe(text()),
        "training_scores_": floats("scored"),
        "parts_": list_of(text(*PARTS)),
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
        "_scales": list_of(list_of(number(), 3), len(KINDS)),
        "_neighborhood": Rule(lambda value, _: type(value) is Neighborhood, "part"),
    }
    optional = {
        "feature_names_in_": names("given"),
        "calibration_scores_": floats("calibrated"),
    }
    sizes: dict[str, int] = {}
    check_state("LatentOutlierDetector", state, required, optional, sizes)
    if sizes.get("calibrated") == 0:
        raise FormatError("The file is altered: there are no calibration scores.")
    index = state["_neighborhood"].index_
    if index.vectors_.shape != (sizes["rows"], sizes["latents"]):
        raise FormatError("The file is altered: the neighbours are other rows.")


def check_neighborhood(neighborhood: Any, state: State) -> None:
    """Refuse what is no state of a Neighborhood.

    Raises
    ------
    FormatError
    """
    sizes: dict[str, int] = {}
    rules = {"index_": fitted_index(), "reach_": floats("rows", least=0)}
    rules["subsamples_"] = integers("subsamples", "size", below="rows")
    check_state("Neighborhood", state, rules, {}, sizes)
    if state["index_"].n_samples_fit_ != sizes["rows"] or sizes["rows"] < 2:
        raise FormatError("The file is altered: the neighbours are other rows.")
    if min(sizes["subsamples"], sizes["size"]) < 1:
        raise FormatError("The file is altered: subsamples are empty.")


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
        "detector_": _part("score_samples"),
        "decision_scores_": floats("rows", finite=False),
        "threshold_": number(finite=False),
        "labels_": integers("rows", below=2),
    }
    check_state("PyODAdapter", state, rules, {}, {})


def _part(method: str) -> Rule:
    return Rule(lambda value, _: hasattr(value, method), f"part with {method}")
