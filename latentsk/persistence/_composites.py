"""scikit-learn's estimators of estimators, whose parts may be ours.

skops does not store our classes, so these are nodes of a tree, and so are their parts.
ColumnTransformer has a file of its own.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline

from latentsk.persistence._registry import MACHINE_PARAMETERS, storable
from latentsk.persistence._schema import Sizes, State, list_of, require, strings

_NAMES_OUT = "_transformers_feature_names_out"


def check_weights(weights: Any) -> None:
    """Refuse weights of transformers that are not numbers.

    Raises
    ------
    TypeError
    """
    if not isinstance(weights, dict | None):
        raise TypeError(f"transformer_weights must be a dict, got {weights!r:.100}.")
    for name, weight in (weights or {}).items():
        if not isinstance(weight, Real | np.number):
            raise TypeError(
                f"transformer_weights[{name!r:.50}] must be a number, got "
                f"{weight!r:.100}."
            )


def _check_pipeline(pipeline: Pipeline) -> None:
    if not pipeline.steps:
        raise ValueError("a Pipeline has no steps.")
    pipeline._validate_steps()


def _check_frozen(frozen: FrozenEstimator) -> None:
    if not isinstance(frozen.estimator, BaseEstimator):
        raise TypeError("a FrozenEstimator holds no estimator.")


def _check_union(union: FeatureUnion) -> None:
    if not union.transformer_list:
        raise ValueError("a FeatureUnion has no transformers.")
    union._validate_transformers()
    check_weights(union.transformer_weights)
    union._validate_transformer_weights()
    for name in ("verbose", "verbose_feature_names_out"):
        if not isinstance(getattr(union, name), int):
            raise TypeError(f"{name} of a FeatureUnion must be True or False.")


def _union_state(union: FeatureUnion) -> dict[str, Any]:
    """Return the names that pandas output had, where the parts cannot tell them."""
    found = getattr(union, _NAMES_OUT, None)
    if found is None or not all(type(name) is str for part in found for name in part):
        return {}
    return {_NAMES_OUT: [np.array([*part], dtype=object) for part in found]}


def _set_union_state(union: FeatureUnion, state: dict[str, Any]) -> None:
    setattr(union, _NAMES_OUT, state[_NAMES_OUT])


def _check_union_state(union: FeatureUnion, state: State, sizes: Sizes) -> None:
    n_parts = sum(part != "drop" for _, part in union.transformer_list)
    require(len(state[_NAMES_OUT]) == n_parts, "a FeatureUnion has other names")


storable(check_parameters=_check_pipeline, named_parts=("steps",))(Pipeline)
storable(check_parameters=_check_frozen)(FrozenEstimator)
storable(
    {_NAMES_OUT: list_of(strings())},
    check=_check_union_state,
    check_parameters=_check_union,
    get_state=_union_state,
    set_state=_set_union_state,
    named_parts=("transformer_list",),
    machine_parameters=(*MACHINE_PARAMETERS, "n_jobs"),
)(FeatureUnion)
