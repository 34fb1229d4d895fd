"""An index as one file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from latentsk.exceptions import FormatError
from latentsk.index._compact import CODE_TYPES, CompactRows
from latentsk.index._faiss import load_faiss
from latentsk.index._inverted_file import CODE_VALUES
from latentsk.index._memory import parse_bytes
from latentsk.index._spec import FLAT, IndexSpec
from latentsk.persistence._columns import decode_column, encode_column
from latentsk.persistence._schema import (
    Sizes,
    State,
    booleans,
    count,
    either,
    floats,
    instance,
    names,
    require,
    text,
)
from latentsk.persistence._tables import decode_frame, encode_frame

KIND = "LatentIndex"
READER = "LatentIndex.load"

Arrays = dict[str, NDArray[Any]]

# Attributes that are plain values.
_VALUES = (
    "n_samples_fit_",
    "effective_metric_",
    "index_spec_",
    "n_features_in_",
    "_n_tuned",
    "_n_strange",
)
# Attributes that are arrays.
_ARRAYS = ("_vectors", "_alive", "_recalls")
# Parts of a structure that are arrays; the others are plain values.
_STRUCTURE_ARRAYS = ("mean", "axes", "centers", "values", "shift")
_STRUCTURE_VALUES = ("length", "residual", "scale")
# No row of float32 is longer.
LONGEST = 1e45
METRICS = ("euclidean", "cosine", "inner_product")

REQUIRED = {
    "_vectors": either(floats("rows", "latents"), instance(CompactRows)),
    "_alive": booleans("rows"),
    "ids_": instance(np.ndarray),
    "n_samples_fit_": count(named="rows"),
    "effective_metric_": text(*METRICS),
    "index_spec_": text(),
    "_structure": instance(dict),
    "_n_tuned": count(),
    "_n_strange": count(),
}
OPTIONAL = {
    "_recalls": floats("k", 4, least=0),
    "metadata_": instance(pd.DataFrame),
    "embedder_": instance(object, "transform"),
    "n_features_in_": count(1, named="n_features"),
    "feature_names_in_": names("n_features"),
}


def check_index(index: Any, state: State, sizes: Sizes) -> None:
    """Refuse an index whose parts do not fit each other.

    Raises
    ------
    FormatError
    """
    original, embedded = index.rerank == "original", index.embedder is not None
    require(embedded == ("embedder_" in state), "an index lacks its embedder")
    require(embedded or not original, "it has no embedder")
    structure = state["_structure"]
    if structure:
        parts = {*_STRUCTURE_ARRAYS, *_STRUCTURE_VALUES}
        require(structure.keys() == parts, "the structure is incomplete")
    _check_rows(state)
    _check_features(state, as_given=original or not embedded)
    _check_structure(state, embedded=original)
    if not hasattr(index, "ids_"):
        restored = type(index)(**index.get_params(deep=False))
        restored._set_state(dict(state))
        require_search(restored)


def require_search(index: Any) -> None:
    """Refuse an index whose search cannot be built.

    Raises
    ------
    FormatError
    """
    if index._structure:
        load_faiss()
    try:
        index._searcher()
    except (AssertionError, ValueError) as error:
        raise FormatError(
            f"The file is altered, or its embedder is another one: {error}"
        ) from error


def check_parameters(index: Any) -> None:
    """Refuse parameters that only a fit would look into.

    Raises
    ------
    ValueError
    """
    check_loose_parameters(index.get_params(deep=False))


def to_file(index: Any) -> tuple[dict[str, Any], Arrays]:
    """Return an index as a JSON-able document and arrays, without its embedder.

    Parameters
    ----------
    index : LatentIndex
        Fitted.

    Returns
    -------
    document : dict
    arrays : dict of str to ndarray

    Raises
    ------
    TypeError
        If ids or metadata are of a type that cannot be stored.
    """
    state = vars(index)
    embedder = state.get("embedder_")
    document: dict[str, Any] = {
        "kind": KIND,
        "reader": READER,
        "embedder": None if embedder is None else type(embedder).__name__,
        "parameters": {
            name: str(value) if name == "device" else _plain(value)
            for name, value in index.get_params(deep=False).items()
            if name != "embedder"
        },
        "values": {name: _plain(state[name]) for name in _VALUES if name in state},
        "tables": {},
    }
    arrays = {name: state[name] for name in _ARRAYS if name in state}
    if isinstance(index._vectors, CompactRows):
        arrays["_vectors"] = index._vectors.codes
        arrays["middle"], arrays["scale"] = index._vectors.middle, index._vectors.scale
    _put_structure(document, arrays, state["_structure"])
    _put_table(document, arrays, "ids", encode_column(index.ids_))
    if "feature_names_in_" in state:
        names = encode_column(state["feature_names_in_"])
        _put_table(document, arrays, "feature_names", names)
    if "metadata_" in state:
        _put_table(document, arrays, "metadata", encode_frame(index.metadata_))
    return document, arrays


def from_file(
    document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters and the fitted state that a file holds, checked.

    Parameters
    ----------
    document : dict
    arrays : dict of str to ndarray
        Of `to_file`.

    Returns
    -------
    parameters : dict
        Of the constructor, but for the embedder.

    state : dict
        Attributes by name.

    Raises
    ------
    FormatError
        If the file holds something else, or parts that contradict each other.
    """
    if document.get("kind") != KIND or document.get("reader") != READER:
        raise FormatError("The file holds no LatentIndex.")
    parameters, values = document.get("parameters"), document.get("values")
    tables, parts = document.get("tables"), document.get("structure")
    embedder = document.get("embedder")
    if not (
        isinstance(embedder, str | None)
        and isinstance(parameters, dict)
        and isinstance(values, dict)
        and isinstance(tables, dict)
        and isinstance(parts, dict)
    ):
        raise FormatError("The file is altered: a part of the index is missing.")
    state: dict[str, Any] = {name: values[name] for name in _VALUES if name in values}
    state.update({name: arrays[name] for name in _ARRAYS if name in arrays})
    state["_vectors"] = _vectors(arrays)
    state["ids_"] = np.asarray(decode_column(_table(tables, arrays, "ids")))
    if "feature_names" in tables:
        names = decode_column(_table(tables, arrays, "feature_names"))
        state["feature_names_in_"] = np.asarray(names, dtype=object)
    if "metadata" in tables:
        state["metadata_"] = decode_frame(_table(tables, arrays, "metadata"))
    state["_structure"] = _structure(parts, arrays)
    # Whether rows are compared as they are given, and not embedded before.
    original = parameters.get("rerank") == "original"
    require(embedder is not None or not original, "it has no embedder")
    require("embedder" not in parameters, "its embedder is a parameter")
    check_loose_parameters(parameters)
    _check_rows(state)
    _check_features(state, as_given=original or embedder is None)
    _check_structure(state, embedded=original)
    return parameters, state


def _vectors(arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any] | CompactRows:
    vectors = arrays.get("_vectors", np.empty(0))
    require(vectors.ndim == 2 and vectors.size > 0, "the vectors are no matrix")
    if "middle" not in arrays and "scale" not in arrays:
        require(vectors.dtype in (np.float32, np.float64), "the vectors are no numbers")
        return vectors
    for name in ("middle", "scale"):
        array = arrays.get(name, np.empty(0))
        fits = array.shape == vectors.shape[1:] and array.dtype == np.float32
        require(fits, f"the {name} of the vectors is missing")
        require(bool(np.isfinite(array).all()), f"the {name} is not finite")
    require(bool((arrays["scale"] > 0).all()), "the scale is not positive")
    require(vectors.dtype in CODE_TYPES.values(), "the codes are of an unknown kind")
    return CompactRows(vectors, arrays["middle"], arrays["scale"])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _put_table(document: dict[str, Any], arrays: Arrays, name: str, table: Any) -> None:
    document["tables"][name], parts = _split(table)
    arrays.update({f"{name}/{part}": array for part, array in parts.items()})


def _split(content: Any, path: str = "") -> tuple[Any, Arrays]:
    """Take the arrays out of a column or table, by their paths."""
    if isinstance(content, np.ndarray):
        return {"array": path.removesuffix(".")}, {path.removesuffix("."): content}
    if not isinstance(content, dict | list):
        return content, {}
    keys = content.keys() if isinstance(content, dict) else range(len(content))
    split = {key: _split(content[key], f"{path}{key}.") for key in keys}
    arrays = {k: array for _, parts in split.values() for k, array in parts.items()}
    found: Any = {key: part for key, (part, _) in split.items()}
    return (found if isinstance(content, dict) else list(found.values())), arrays


def _joined(content: Any, arrays: Mapping[str, Any]) -> Any:
    """Put the arrays of `_split` back."""
    match content:
        case {"array": name, **rest} if not rest:
            return arrays.get(str(name))
        case dict():
            return {key: _joined(part, arrays) for key, part in content.items()}
        case list():
            return [_joined(part, arrays) for part in content]
    return content


def _table(tables: Any, arrays: Mapping[str, Any], name: str) -> Any:
    parts = {
        key.removeprefix(f"{name}/"): array
        for key, array in arrays.items()
        if key.startswith(f"{name}/")
    }
    table = tables.get(name)
    require(isinstance(table, dict), f"{name} are missing")
    return _joined(table, parts)


def _put_structure(
    document: dict[str, Any], arrays: Arrays, structure: Mapping[str, Any]
) -> None:
    document["structure"] = {}
    for name, value in sorted(structure.items()):
        if name in _STRUCTURE_ARRAYS and value is not None:
            arrays[f"structure/{name}"] = value
        else:
            document["structure"][name] = _plain(value)


def _structure(parts: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a structure; none for an exact search."""
    lead = "structure/"
    found = {
        key.removeprefix(lead): array
        for key, array in arrays.items()
        if key.startswith(lead)
    }
    if not found:
        return {}
    return {
        **{name: found.get(name) for name in _STRUCTURE_ARRAYS},
        **{name: parts.get(name) for name in _STRUCTURE_VALUES},
    }


def check_loose_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters of an index that only a fit would look into.

    Raises
    ------
    FormatError
    """
    budget, spec = parameters.get("memory_budget"), parameters.get("index_spec")
    device = parameters.get("device", "auto")
    try:
        if isinstance(budget, str):
            parse_bytes(budget)
        if isinstance(spec, str) and spec != FLAT:
            IndexSpec.parse(spec)
        if isinstance(device, str) and device != "auto":
            require(torch.device(device).type in ("cpu", "cuda"), "unknown device")
    except (ValueError, RuntimeError) as error:
        raise FormatError(f"The file is altered: {error}") from error


def _check_rows(state: Mapping[str, Any]) -> None:
    vectors, alive, ids = state["_vectors"], state.get("_alive"), state.get("ids_")
    n_rows = len(vectors)
    require(
        isinstance(alive, np.ndarray)
        and alive.dtype == bool
        and alive.shape == (n_rows,)
        and ids is not None
        and ids.shape == (n_rows,)
        and _is_count(state.get("n_samples_fit_"))
        and state["n_samples_fit_"] == n_rows,
        "ids and vectors are not as many",
    )
    assert alive is not None
    assert ids is not None
    # Indexes of pandas, which ids are looked up in, are of no such numbers.
    require(ids.dtype != np.float16, "ids are of a type that none are")
    require(not pd.Index(ids[alive]).has_duplicates, "an id occurs twice")
    require(not pd.isna(ids).any(), "an id is missing")
    if "metadata_" in state:
        require(len(state["metadata_"]) == n_rows, "metadata has other rows")
        unique = state["metadata_"].columns.is_unique
        require(unique, "two columns of metadata have the same name")
    for start in range(0, n_rows, 2**16):
        with np.errstate(over="ignore", invalid="ignore"):
            part = vectors[start : start + 2**16]
        require(bool(np.isfinite(part).all()), "the vectors are not finite")
    metrics = ("euclidean", "cosine", "inner_product")
    require(state.get("effective_metric_") in metrics, "the metric is unknown")
    for name in ("_n_tuned", "_n_strange"):
        require(_is_count(state.get(name)), f"{name} must be a count")
    recalls = state.get("_recalls", np.empty((0, 4)))
    require(
        recalls.ndim == 2
        and recalls.shape[1] == 4
        and recalls.dtype == np.float64
        and bool((recalls >= 0).all())
        and bool((recalls[:, 1:] <= 1).all()),
        "recalls are no table",
    )


def _check_features(state: Mapping[str, Any], *, as_given: bool) -> None:
    """Check how wide rows are said to be, and the names of their features."""
    n_features, names = state.get("n_features_in_"), state.get("feature_names_in_")
    known = n_features is not None
    require(not known or _is_count(n_features), "a count is none")
    width = state["_vectors"].shape[1]
    require(not as_given or n_features == width, "the rows are of another width")
    if names is not None:
        texts = all(isinstance(name, str) for name in names)
        require(texts, "the names of features are no texts")
        require(len(set(names)) == len(names), "two features have the same name")
        require(not known or len(names) == n_features, "features lack a name")


def _check_structure(state: Mapping[str, Any], *, embedded: bool) -> None:
    spec, structure = state.get("index_spec_"), state["_structure"]
    if not structure:
        require(spec == FLAT, "the structure is missing")
        return
    try:
        parsed = IndexSpec.parse(str(spec))
    except ValueError as error:
        raise FormatError(f"The file is altered: {error}") from error
    n_rows = len(state["_vectors"])
    require(parsed.n_lists <= n_rows, "there are more lists than rows")
    mean, axes, length = (structure[name] for name in ("mean", "axes", "length"))
    shapes: dict[str, tuple[int, ...]] = {
        "centers": (parsed.n_lists, parsed.n_codes),
        "values": (parsed.n_codes, CODE_VALUES),
    }
    if parsed.n_components is not None:
        require(isinstance(mean, np.ndarray), "the structure is incomplete")
        shapes |= {"mean": mean.shape[:1], "axes": (*mean.shape[:1], parsed.n_codes)}
    else:
        require(mean is None and axes is None, "the structure has parts too many")
    for name, shape in shapes.items():
        array = structure[name]
        require(
            isinstance(array, np.ndarray)
            and array.dtype == np.float32
            and array.shape == shape
            and bool(np.isfinite(array).all()),
            f"the structure's {name} have another shape",
        )
    require(structure["residual"] is parsed.residual, "codes are of another kind")
    similarity = state["effective_metric_"] == "inner_product"
    require(
        isinstance(length, float) and 0.0 <= length <= LONGEST
        if similarity
        else length is None,
        "the structure is of another metric",
    )
    _check_placement(structure, state["_vectors"].shape[1])
    if not embedded:
        width = parsed.n_codes if mean is None else len(mean)
        fits = width == state["_vectors"].shape[1] + similarity
        require(fits, "the structure is of another width")


def _check_placement(structure: Mapping[str, Any], width: int) -> None:
    shift, scale = structure["shift"], structure["scale"]
    require(
        isinstance(scale, float) and 0.0 < scale < np.inf,
        "scale must be a positive finite number",
    )
    require(
        shift is None
        or (
            shift.dtype == np.float64
            and shift.shape in ((width,), (width + 1,))
            and bool(np.isfinite(shift).all())
        ),
        "vectors are moved to another width",
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
