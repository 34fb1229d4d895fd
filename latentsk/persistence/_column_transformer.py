"""scikit-learn's ColumnTransformer as a node of a tree: its parts may be ours.

Its fitted state is the fitted parts with the columns that each of them takes, and what
its output looks like. All else is derived from these, and compared with the positions
of the columns, which a file holds too: so no number of columns is believed unchecked.
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.compose._column_transformer import _is_empty_column_selection
from sklearn.utils.validation import check_is_fitted

from latentsk.persistence._column_choice import (
    column_positions,
    plain_columns,
    stored_columns,
)
from latentsk.persistence._composites import check_weights
from latentsk.persistence._registry import MACHINE_PARAMETERS, storable
from latentsk.persistence._schema import (
    Rule,
    Sizes,
    State,
    count,
    fields,
    flag,
    format_errors,
    integers,
    list_of,
    names,
    require,
    strings,
)

REMAINDER = "remainder"
_NAMES_OUT = "_transformers_feature_names_out"

# Parameters


def _check_parameters(table: ColumnTransformer) -> None:
    table._validate_transformers()
    check_weights(table.transformer_weights)
    for name, _, columns in table.transformers:
        if not callable(columns):
            stored_columns(name, columns)
    if isinstance(table.verbose_feature_names_out, str):
        _check_name_format(table.verbose_feature_names_out)


def _check_name_format(name_format: str) -> None:
    """Refuse a format that could make names of any length, or read attributes."""
    for _, field, spec, conversion in string.Formatter().parse(name_format):
        known = field in (None, "transformer_name", "feature_name")
        if not known or conversion or len(spec or "") > 4 or "{" in (spec or ""):
            raise ValueError(
                "verbose_feature_names_out must be a format of {transformer_name} and "
                f"{{feature_name}}, got {name_format!r:.100}."
            )


def _parameters(table: ColumnTransformer) -> dict[str, Any]:
    """Return the parameters; a function that chose columns becomes what it chose."""
    chosen = dict(zip(_names(table), getattr(table, "_columns", []), strict=False))
    parts = [
        (name, part, stored_columns(name, columns, chosen.get(name)))
        for name, part, columns in table.transformers
    ]
    return table.get_params(deep=False) | {"transformers": parts}


def _names(table: ColumnTransformer) -> list[str]:
    return [name for name, _, _ in table.transformers]


# The fitted state


def _state(table: ColumnTransformer) -> dict[str, Any]:
    if not hasattr(table, "transformers_"):
        return {}
    positions = table._transformer_to_input_indices
    state: dict[str, Any] = {
        "n_features_in_": table.n_features_in_,
        "_transformer_to_input_indices": {
            name: np.array(found, dtype=np.int64) for name, found in positions.items()
        },
        "transformers_": [
            (name, part, plain_columns(columns))
            for name, part, columns in table.transformers_
        ],
    }
    if hasattr(table, "output_indices_"):
        state["sparse_output_"] = bool(table.sparse_output_)
        state["output_indices_"] = {
            name: [part.start, part.stop]
            for name, part in table.output_indices_.items()
        }
    for name in ("feature_names_in_", _NAMES_OUT):
        # Names of output that are not strings are no names.
        found = getattr(table, name, None)
        if found is not None and strings().fits(found, {}):
            state[name] = found
    return state


def _set_state(table: ColumnTransformer, state: dict[str, Any]) -> None:
    parts, n_parts = state["transformers_"], len(table.transformers)
    remaining = parts[n_parts][2] if len(parts) > n_parts else []
    positions = state["_transformer_to_input_indices"]
    derived = {
        "_columns": [columns for *_, columns in parts[:n_parts]],
        "_remainder": (REMAINDER, table.remainder, remaining),
        "_transformer_to_input_indices": {k: v.tolist() for k, v in positions.items()},
    }
    if "output_indices_" in state:
        slices = {k: slice(*limits) for k, limits in state["output_indices_"].items()}
        derived["output_indices_"] = slices
    for name, value in (state | derived).items():
        setattr(table, name, value)


def _check_state(table: ColumnTransformer, state: State, sizes: Sizes) -> None:
    """Refuse a state whose columns, parts and outputs do not belong together."""
    positions, parts = state["_transformer_to_input_indices"], state["transformers_"]
    known = _names(table)
    same = positions.keys() == {*known, REMAINDER}
    same &= [name for name, _, _ in parts] in (known, [*known, REMAINDER])
    require(same, "a ColumnTransformer has other parts")
    # So the number of columns is no larger than what the file holds.
    covered = np.unique(np.concatenate([*positions.values()]))
    require(len(covered) == sizes["n_features"], "columns are missing")
    others = [positions[name] for name in known]
    taken = np.unique(np.concatenate([np.empty(0, np.int64), *others]))
    remaining = np.setdiff1d(covered, taken)
    same = np.array_equal(remaining, positions[REMAINDER])
    same &= len(parts) > len(known) or not len(remaining)
    require(same, "other columns remain")
    for name, part, columns in parts:
        with format_errors():
            found = column_positions(
                plain_columns(columns),
                sizes["n_features"],
                state.get("feature_names_in_"),
            )
        same = np.array_equal(found, positions[name])
        require(same, f"the part {name[:50]!r} has other columns")
        _check_part(name, part, columns)
    if {"output_indices_", "sparse_output_"} & state.keys():
        _check_output(parts, state)
    else:
        require(not any(map(_has_output, parts)), "a ColumnTransformer has no output")


def _check_part(name: str, part: Any, columns: Any) -> None:
    if _is_empty_column_selection(columns):
        return  # it is not fitted, and never asked
    fitted = part == "drop" if isinstance(part, str) else hasattr(part, "transform")
    require(fitted, f"the part {name[:50]!r} transforms nothing")
    if part != "drop":
        with format_errors():
            check_is_fitted(part)


def _has_output(part: tuple[str, Any, Any]) -> bool:
    is_dropped = isinstance(part[1], str) and part[1] == "drop"
    return not is_dropped and not _is_empty_column_selection(part[2])


def _check_output(parts: list[tuple[str, Any, Any]], state: State) -> None:
    """Refuse outputs that do not follow each other, one for each part."""
    limits = state.get("output_indices_", {})
    names_known = {REMAINDER, *(name for name, _, _ in parts)}
    require(limits.keys() == names_known, "a ColumnTransformer has other outputs")
    stop = 0
    for part in parts:
        start, end = limits[part[0]]
        follows = start == stop <= end if _has_output(part) else start == end == 0
        require(follows, f"the output of the part {part[0][:50]!r} lies elsewhere")
        stop = max(stop, end)
    named = len(state.get(_NAMES_OUT, [])) in (0, stop)
    require(named, "a ColumnTransformer has other names of outputs")


def _part(value: Any, sizes: Sizes) -> bool:
    return type(value) is tuple and len(value) == 3 and type(value[0]) is str


def _positions(value: Any, sizes: Sizes) -> bool:
    if not isinstance(value, np.ndarray) or value.ndim != 1:
        return False
    rule = integers(len(value), below="n_features", dtypes={"int64"})
    return rule.fits(value, sizes)


storable(
    {
        "n_features_in_": count(named="n_features"),
        "_transformer_to_input_indices": fields(
            {}, Rule(_positions, "array of positions")
        ),
        "transformers_": list_of(Rule(_part, "part with its name and columns")),
    },
    optional={
        "feature_names_in_": names("n_features"),
        "sparse_output_": flag(),
        "output_indices_": fields({}, list_of(count(), 2)),
        _NAMES_OUT: strings(),
    },
    check=_check_state,
    check_parameters=_check_parameters,
    get_parameters=_parameters,
    get_state=_state,
    set_state=_set_state,
    named_parts=("transformers", "transformers_"),
    machine_parameters=(*MACHINE_PARAMETERS, "n_jobs"),
)(ColumnTransformer)
