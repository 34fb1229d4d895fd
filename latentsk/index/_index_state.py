"""What a file may claim of a fitted index, and what it lacks."""

from __future__ import annotations

import os
from typing import Any

from sklearn.exceptions import NotFittedError

from latentsk._threads import fork_safe
from latentsk.exceptions import FormatError
from latentsk.index._embedding import is_fitted_embedder
from latentsk.index._engine import IndexEngine
from latentsk.index._families import parse_index_spec
from latentsk.index._memory import parse_bytes
from latentsk.index._settings import settings_of
from latentsk.persistence import _schema as rules
from latentsk.persistence._reader import NotGivenError
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import Sizes, State, require
from latentsk.persistence._tree import read_tree, write_tree

READER = "LatentIndex.load"


def check_parameters(index: Any) -> None:
    """Refuse parameters that only a fit would look into.

    Raises
    ------
    ValueError
    """
    if isinstance(index.memory_budget, str):
        parse_bytes(index.memory_budget)
    parse_index_spec(index.index_spec)


def check_index(index: Any, state: State, sizes: Sizes) -> None:
    """Refuse an index whose parts do not fit each other.

    Raises
    ------
    FormatError
    """
    engine, is_embedded = state["_engine"], index.embedder is not None
    is_original = index.rerank == "original"
    require(is_embedded == ("embedder_" in state), "an index lacks its embedder")
    require(is_embedded or not is_original, "it has no embedder")
    width = engine.vectors.shape[1]
    if is_original or not is_embedded:
        fits = state.get("n_features_in_") == width
        require(fits, "the rows are of another width")
    try:
        shape = engine.vectors.shape
        engine.search_state.check_fits(shape, engine.metric, embedded=is_original)
    except ValueError as error:
        raise FormatError(f"The file is altered: {error}") from error
    if not hasattr(index, "_engine"):
        _require_search(index, state)


def _require_search(index: Any, state: State) -> None:
    """Refuse a state that is read where its search cannot be made."""
    index._set_state(dict(state))
    engine = state["_engine"]
    try:
        engine.restore_search(settings_of(index, engine.metric))
    except (AssertionError, ValueError) as error:
        raise FormatError(
            f"The file is altered, or its embedder is another one: {error}"
        ) from error


# What registers LatentIndex.
stored_index = storable(
    {"_engine": rules.instance(IndexEngine)},
    optional={
        "embedder_": rules.instance(object, "transform"),
        "n_features_in_": rules.count(1, named="features"),
        "feature_names_in_": rules.names("features"),
    },
    check=check_index,
    check_parameters=check_parameters,
)


@fork_safe
def write_index(index: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted index without its embedder: see `LatentIndex.save`."""
    write_tree(index, path, READER, apart=["embedder"])


@fork_safe
def read_index(
    cls: Any, path: str | os.PathLike[str], embedder: Any, mmap: bool
) -> Any:
    """Return the index that a file holds, with an embedder: see `LatentIndex.load`.

    Raises
    ------
    FormatError, ValueError, NotFittedError
    """
    given = {} if embedder is None else {"embedder": embedder}
    if given and not is_fitted_embedder(embedder):
        raise NotFittedError(f"The embedder given ({embedder}) is not fitted.")
    try:
        index, used = read_tree(path, READER, given, mmap=mmap)
    except NotGivenError as error:
        raise ValueError(
            f"The index in the file was fitted with an embedder ({error.kind}), which "
            "the file does not hold: give it as embedder=."
        ) from error
    if given.keys() != used:
        raise ValueError("The index in the file was fitted without an embedder.")
    if type(index) is not cls:
        raise FormatError(f"{path}: it holds no LatentIndex.")
    return index
