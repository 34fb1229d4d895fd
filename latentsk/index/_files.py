"""An index as a document and arrays of one file, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError

from latentsk._chunks import row_chunks
from latentsk._faiss import load_faiss
from latentsk._format import read_file, write_file
from latentsk._schema import (
    Rule,
    Sizes,
    booleans,
    check_state,
    count,
    either,
    fields,
    floats,
    integers,
    maybe,
    names,
    number,
    require,
    text,
)
from latentsk._validation import MAX_MAGNITUDE
from latentsk._values import ArrayStore, decode_value, encode_value
from latentsk.exceptions import FormatError
from latentsk.index._codebook import CODE_VALUES
from latentsk.index._embedding import is_fitted_embedder
from latentsk.index._engine import IndexEngine
from latentsk.index._memory import parse_bytes
from latentsk.index._quantized import CODE_TYPES, SMALLEST
from latentsk.index._spec import FLAT, IndexSpec

KIND = "LatentIndex"
FEATURES = ("n_features_in_", "feature_names_in_")
METRICS = ("euclidean", "cosine", "inner_product")
# No row of float32 is longer.
LONGEST = 1e45
# What is above zero.
TINY = 5e-324
FLOAT32, FLOAT64 = {"float32"}, {"float64"}

Arrays = dict[str, NDArray[Any]]


def write_index(index: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted LatentIndex without its embedder."""
    write_file(path, *to_file(index))


def read_index(
    cls: Any, path: str | os.PathLike[str], embedder: Any, mmap: bool
) -> Any:
    """Return the LatentIndex, the class given, that a file holds.

    Raises
    ------
    FormatError, ValueError, NotFittedError
        As `LatentIndex.load`.
    """
    document, arrays = read_file(path, mmap=mmap)
    if document.get("kind") == "estimator":
        raise FormatError(
            f"{path} was written by latentsk.save: read it with latentsk.load."
        )
    try:
        _require_embedder(embedder, document.get("embedder"))
        return from_file(cls, document, arrays, {"embedder": embedder}, embedder)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def _require_embedder(embedder: Any, name: Any) -> None:
    if name is None and embedder is not None:
        raise ValueError("The index in the file was fitted without an embedder.")
    if name is not None and embedder is None:
        raise ValueError(
            f"The index in the file was fitted with an embedder ({str(name)[:100]}), "
            "which the file does not hold: give it as embedder=."
        )
    if embedder is not None and not is_fitted_embedder(embedder):
        raise NotFittedError(f"The embedder given ({embedder}) is not fitted.")


def to_file(index: Any) -> tuple[dict[str, Any], Arrays]:
    """Return an index as a JSON-able document and arrays, without its embedder.

    Raises
    ------
    TypeError
        If ids or metadata are of a type that cannot be stored.
    """
    embedder, store = getattr(index, "embedder_", None), ArrayStore()
    state = index._engine.to_state()
    labels = pd.Index(state["ids"]).infer_objects()
    if isinstance(labels.dtype, pd.DatetimeTZDtype):
        state["ids"] = labels.array  # numpy holds those with a time zone as objects
    state |= {name: getattr(index, name) for name in FEATURES if hasattr(index, name)}
    document = {
        "kind": KIND,
        "embedder": None if embedder is None else type(embedder).__name__,
        "parameters": {
            name: str(value) if name == "device" else encode_value(value, name, store)
            for name, value in index.get_params(deep=False).items()
            if name != "embedder"
        },
        "state": encode_value(state, "state", store),
    }
    return document, store.arrays


def from_file(
    cls: Any,
    document: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    others: Mapping[str, Any],
    embedder: Any,
) -> Any:
    """Return the LatentIndex that a document and arrays hold, checked.

    Parameters
    ----------
    cls : type
        LatentIndex.

    document : dict
    arrays : dict of str to ndarray
        Of `to_file`.

    others : dict
        Parameters besides those of the document, or instead of them.

    embedder : transformer or None
        The fitted one.

    Raises
    ------
    FormatError
        If the file holds something else, or parts that contradict each other.
    """
    if document.get("kind") != KIND:
        raise FormatError("The file holds no LatentIndex.")
    parameters, is_embedded = document.get("parameters"), embedder is not None
    require(isinstance(document.get("embedder"), str) == is_embedded, "its embedder")
    if not isinstance(parameters, dict) or "embedder" in parameters:
        raise FormatError("The file is altered: the parameters are missing.")
    check_loose_parameters(parameters)
    state = decode_value(document.get("state"), ArrayStore(arrays))
    require(isinstance(state, dict), "the state is missing")
    original = parameters.get("rerank") == "original"
    require(is_embedded or not original, "it has no embedder")
    check_index(state, as_given=original or not is_embedded, is_coded=original)
    try:
        index = cls(**{**parameters, **others})
        index._validate_params()
    except (TypeError, InvalidParameterError) as error:
        raise FormatError(f"The file is altered: {error}") from error
    for name in FEATURES:
        if name in state:
            setattr(index, name, state[name])
    if is_embedded:
        index.embedder_ = embedder
    index._engine = IndexEngine.from_state(state)
    if index.index_spec_ != FLAT:
        load_faiss()
    try:
        index._engine.restore_search(index._settings(index.effective_metric_))
    except (AssertionError, ValueError) as error:
        raise FormatError(
            f"The file is altered, or its embedder is another one: {error}"
        ) from error
    return index


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


def check_index(state: dict[str, Any], *, as_given: bool, is_coded: bool) -> None:
    """Refuse a state whose parts contradict each other.

    Parameters
    ----------
    state : dict
        Of the engine, and what is known of features.

    as_given : bool
        Whether rows are compared as they are given, and not embedded before.

    is_coded : bool
        Whether codes are of embedded rows all the same.

    Raises
    ------
    FormatError
    """
    codes = either(
        floats("rows", "width", dtypes={"float16", "float32", "float64"}),
        integers("rows", "width", dtypes={"uint8"}),
    )
    middle = floats("width", dtypes=FLOAT32)
    scale = floats("width", least=SMALLEST, dtypes=FLOAT32)
    dtype = text(*CODE_TYPES)
    width = "width" if as_given else "features"
    required = {
        "vectors": codes,
        "quantization": maybe(
            fields({"dtype": dtype, "middle": middle, "scale": scale})
        ),
        "ids": Rule(
            lambda ids, known: np.shape(ids) == (known["rows"],), "ids of rows"
        ),
        "active": booleans("rows"),
        "metadata": maybe(Rule(_is_table, "table of the rows")),
        "metric": text(*METRICS),
        "search": Rule(lambda value, _: isinstance(value, dict), "description"),
        "n_built": count(),
        "recalls": maybe(floats("numbers", 4, least=0, dtypes=FLOAT64)),
    }
    n_features = {"n_features_in_": count(named=width)}
    optional = {"feature_names_in_": names(width)}
    required, optional = (
        (required | n_features, optional)
        if as_given
        else (required, n_features | optional)
    )
    sizes: Sizes = {}
    check_state(KIND, state, required, optional, sizes)
    state["ids"] = ids = np.asarray(state["ids"])
    # Indexes of pandas, which ids are looked up in, do not hold such numbers.
    require(ids.dtype != np.float16, "ids are of an unknown type")
    require(not pd.Index(ids[state["active"]]).has_duplicates, "an id occurs twice")
    require(not pd.isna(ids).any(), "an id is missing")
    if state["recalls"] is not None:
        require(bool((state["recalls"][:, 1:] <= 1).all()), "a recall is above 1")
    _check_vectors(state)
    _check_search(state["search"], sizes, state["metric"], is_coded=is_coded)


def _is_table(table: Any, sizes: Sizes) -> bool:
    return (
        isinstance(table, pd.DataFrame)
        and len(table) == sizes["rows"]
        and table.columns.is_unique
    )


def _check_vectors(state: Mapping[str, Any]) -> None:
    dtype = state["vectors"].dtype
    if state["quantization"] is None:
        require(dtype in (np.float32, np.float64), "the vectors are no numbers")
    else:
        expected = CODE_TYPES[state["quantization"]["dtype"]]
        require(dtype == expected, "the codes are of another dtype")
    require(state["vectors"].size > 0, "there are no vectors")
    vectors = IndexEngine.from_state(state).vectors
    for part in row_chunks(*vectors.shape):
        with np.errstate(over="ignore", invalid="ignore"):
            largest = float(np.abs(vectors[part]).max())
        require(largest <= MAX_MAGNITUDE, "vectors are out of range")


def _check_search(
    search: Mapping[str, Any], sizes: Sizes, metric: str, *, is_coded: bool
) -> None:
    """Check what lists are made of, against each other and their specification."""
    require(type(search.get("spec")) is str, "its specification is missing")
    if search["spec"] == FLAT:
        require(search.keys() == {"spec"}, "its search has parts too many")
        return
    try:
        spec = IndexSpec.parse(search["spec"])
    except ValueError as error:
        raise FormatError(f"The file is altered: {error}") from error
    require(spec.n_lists <= sizes["rows"], "there are more lists than rows")
    is_similarity, is_reduced = metric == "inner_product", spec.n_components is not None
    sizes |= {"lists": spec.n_lists, "codes": spec.n_codes}
    if not is_coded:
        sizes["coded"] = sizes["width"] + is_similarity
    nothing = Rule(lambda value, _: value is None, "None")
    rules = {
        "spec": text(),
        "n_drifted": count(),
        "centers": floats("lists", "codes", dtypes=FLOAT32),
        "values": floats("codes", CODE_VALUES, dtypes=FLOAT32),
        "mean": floats("coded", dtypes=FLOAT32) if is_reduced else nothing,
        "axes": floats("coded", "codes", dtypes=FLOAT32) if is_reduced else nothing,
        "length": number(0, LONGEST) if is_similarity else nothing,
        "residual": Rule(lambda value, _: value is spec.residual, f"{spec.residual}"),
        "scale": number(TINY),
        "shift": maybe(floats("shifted", dtypes=FLOAT64)),
    }
    check_state(KIND, search, rules, {}, sizes)
    if not is_reduced and not is_coded:
        require(spec.n_codes == sizes["coded"], "its lists are of another width")
    shifted = sizes.get("shifted", sizes["width"])
    require(shifted - sizes["width"] in (0, 1), "vectors are shifted in another width")
