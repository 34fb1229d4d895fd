"""What a file may claim of a fitted GenerativeClassifier."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from latentsk.classify._conformity import TypicalRows
from latentsk.embedders._rules import FEATURE_NAMES, N_FEATURES
from latentsk.networks._image_layout import ImageLayout
from latentsk.persistence import _schema as schema
from latentsk.persistence._schema import Rule, Sizes, State, require


def _classes() -> Rule:
    """Return the rule of different labels in ascending order."""

    def fits(value: Any, sizes: Sizes) -> bool:
        if not isinstance(value, np.ndarray) or value.ndim != 1 or len(value) == 0:
            return False
        if value.dtype.kind not in "biufUO":
            return False
        labels = value.tolist()
        plain = all(type(label) in (bool, int, float, str) for label in labels)
        if not plain or len({type(label) for label in labels}) > 1:
            return False
        ordered = all(a < b for a, b in pairwise(labels))
        return ordered and sizes.setdefault("classes", len(labels)) == len(labels)

    return Rule(fits, "array of different labels in ascending order")


def _scores() -> Rule:
    """Return the rule of numbers in ascending order, as many as there are."""

    def fits(value: Any, sizes: Sizes) -> bool:
        is_array = schema.floats("own").fits(value, {})
        return is_array and bool((value[1:] >= value[:-1]).all())

    return Rule(fits, "float array in ascending order")


REQUIRED = {
    "classes_": _classes(),
    "class_count_": schema.integers("classes"),
    "class_prior_": schema.floats("classes", least=0.0),
    "estimators_": schema.list_of(schema.instance(object, "score_samples"), "classes"),
    "_typical": schema.instance(TypicalRows),
    "_training_scores": schema.list_of(_scores(), "classes"),
}
OPTIONAL = {
    **N_FEATURES,
    **FEATURE_NAMES,
    "calibration_scores_": schema.list_of(_scores(), "classes"),
    "_layout": schema.instance(ImageLayout),
    "_warned_level": schema.number(0.0, 1.0),
}


def check_fit(owner: Any, state: State, sizes: Sizes) -> None:
    """Refuse a classifier whose parts were not fitted together.

    Raises
    ------
    FormatError
    """
    require(bool(np.isclose(state["class_prior_"].sum(), 1.0)), "priors are none")
    same = len(state["_typical"].log_density) == sizes["classes"]
    require(same, "the typical rows are of other classes")
    filled = all(len(scores) for scores in state["_training_scores"])
    require(filled, "a class has no training scores")
    widths = {
        getattr(estimator, "n_features_in_", None) for estimator in state["estimators_"]
    }
    widths.discard(None)
    known = state.get("n_features_in_")
    require(known is None or widths <= {known}, "the classes have other features")
