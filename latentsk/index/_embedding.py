"""From rows to the vectors that are compared, with any transformer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import _num_samples, check_is_fitted

from latentsk._columns import column_names
from latentsk._device import on_host
from latentsk._diagnosis import OUTPUT
from latentsk._state import has_fitted_attributes
from latentsk._step_diagnosis import steps_diagnosed
from latentsk._texts import refuse_table_of_texts
from latentsk._threads import thread_limit
from latentsk._validation import (
    checked,
    reject_huge,
    reject_masked,
    reject_row,
    validated,
)
from latentsk.index._vectors import as_matrix, owned, vector_dtype

_WRAPPER = "sklearn.preprocessing.FunctionTransformer"


def fitted_embedder(embedder: Any, X: Any, y: Any) -> Any:
    """Return an embedder as it is if it is fitted, else a fitted clone of it."""
    if is_fitted_embedder(embedder):
        return embedder
    embedder, X = clone(embedder), reject_masked(X)
    refuse_table_of_texts(embedder, X)
    with (
        thread_limit(None),
        steps_diagnosed(embedder, X),
    ):  # a forked process has one thread
        return embedder.fit(X) if y is None else embedder.fit(X, y)


def embed(embedder: Any, X: Any) -> NDArray[Any]:
    """Return the vectors of rows, checked.

    Raises
    ------
    ValueError
        If the embedder's output is not a finite matrix with a row for each of X, or
        has magnitudes above 1e100.

    TypeError
        If it is sparse.
    """
    reject_row(embedder, X)
    X = reject_masked(X)
    refuse_table_of_texts(embedder, X)
    with thread_limit(None), steps_diagnosed(embedder, X):
        embedded = embedder.transform(X)
    embedded = on_host(as_matrix(embedded))
    _check_output(embedded, X)
    vectors = checked(
        embedded, dtype=vector_dtype(embedded), order="C", input_name=OUTPUT
    )
    vectors = owned(vectors, embedded)
    reject_huge(vectors, input_name="The embedder's output")
    if len(vectors) != _num_samples(X):
        raise ValueError(
            f"The embedder returned {len(vectors)} vectors for {_num_samples(X)} "
            "rows of X."
        )
    return vectors


def check_embedder(embedder: Any) -> None:
    """Refuse what is no transformer, such as a function or an encoder of texts.

    Raises
    ------
    InvalidParameterError
        A ValueError and a TypeError.
    """
    if embedder is None or all(hasattr(embedder, m) for m in ("fit", "transform")):
        return
    remedy = "Give a transformer, such as PCAEmbedder() or a Pipeline."
    # As those of sentence-transformers.
    if hasattr(embedder, "encode") and not isinstance(embedder, str):
        remedy = f"Wrap its method: {_WRAPPER}(model.encode)."
    elif callable(embedder):
        remedy = f"Wrap it: {_WRAPPER}(function)."
    raise InvalidParameterError(
        "The 'embedder' parameter must be an object with the methods 'fit' and "
        f"'transform', or None, got {repr(embedder)[:200]}. {remedy}"
    )


def _check_output(embedded: Any, X: Any) -> None:
    """Refuse an output that is no matrix."""
    if issparse(embedded):
        return  # of which others tell
    is_list = isinstance(embedded, list) and len(embedded) > 0
    if is_list and all(isinstance(row, list | tuple) for row in embedded):
        lengths = [len(row) for row in embedded]
        uneven = [row for row, n in enumerate(lengths) if n != lengths[0]]
        if uneven:
            raise ValueError(
                f"The embedder's output is ragged: row 0 has {lengths[0]} values, row "
                f"{uneven[0]} has {lengths[uneven[0]]}. It must return one vector of "
                "the same length for each row."
            )
        return
    shape = getattr(embedded, "shape", None)
    if shape is None or len(shape) != 2:
        of_shape = ""
        if shape is not None:
            of_shape = f", a {len(shape)}D array of shape {tuple(shape)}"
        raise ValueError(
            f"The embedder must return an array of shape ({_num_samples(X)}, "
            f"n_components), one vector a row, got {_type_name(embedded)}{of_shape}."
        )


def _type_name(value: Any) -> str:
    kind = type(value)
    is_builtin = kind.__module__ == "builtins"
    return kind.__name__ if is_builtin else f"{kind.__module__}.{kind.__name__}"


def embed_by(index: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return what makes latent vectors of original rows, by the embedder of an index.

    Not before it is called, because the embedder may not be fitted yet.
    """

    def embedding(rows: NDArray[Any]) -> NDArray[Any]:
        names = getattr(index, "feature_names_in_", None)
        X = rows if names is None else pd.DataFrame(rows, columns=names)
        return embed(index.embedder_, X)

    return embedding


class FitOf:
    """By what an index makes vectors, to tell whether it was fitted again since.

    Rows are embedded before a lock is taken, so that nobody waits for that.

    Parameters
    ----------
    index : LatentIndex
    """

    def __init__(self, index: Any) -> None:
        self.embedder = getattr(index, "embedder_", None)
        self.n_features = getattr(index, "n_features_in_", None)

    def is_that_of(self, index: Any) -> bool:
        """Tell whether an index makes vectors by the same."""
        other = FitOf(index)
        same = self.embedder is other.embedder
        return same and self.n_features == other.n_features


def vectors_of(index: Any, X: Any) -> NDArray[Any]:
    """Return the vectors of new rows of a fitted index: queries, or rows to add.

    Raises
    ------
    ValueError, TypeError
        As `embed`, or if the vectors are of another width than those of the index.
    """
    X, fit = as_matrix(X), FitOf(index)
    if fit.embedder is None or index.rerank == "original":
        return checked_rows(index, X)
    vectors, width = embed(fit.embedder, X), index._engine.vectors.shape[1]
    if vectors.shape[1] != width and fit.is_that_of(index):
        raise ValueError(
            f"The embedder returned {vectors.shape[1]} columns for X, but the "
            f"index holds vectors of {width} features."
        )
    return vectors


def fit_vectors(index: Any, X: Any, y: Any) -> NDArray[Any]:
    """Return the vectors of the rows to fit; the index takes what is known of features.

    Raises
    ------
    ValueError, TypeError
        As `embed`.
    """
    if index.embedder is None:
        return owned(checked_rows(index, X, reset=True), X)
    index.embedder_ = fitted_embedder(index.embedder, X, y)
    if index.rerank == "original":
        embed(index.embedder_, X[:1] if hasattr(X, "shape") else X)
        return owned(checked_rows(index, X, reset=True), X)
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(index.embedder_, name):
            setattr(index, name, getattr(index.embedder_, name))
    return embed(index.embedder_, X)


def checked_rows(index: Any, X: Any, *, reset: bool = False) -> NDArray[Any]:
    """Return rows that are vectors already, checked; with `reset`, to be fitted."""
    rows = on_host(X)
    dtype = vector_dtype(rows)
    vectors: NDArray[Any] = validated(index, rows, reset=reset, dtype=dtype, order="C")
    reject_huge(vectors, column_names(X))
    return vectors


def row_ids(X: Any) -> Any:
    """Return the row labels that data bring along, or None."""
    return X.index if isinstance(X, pd.DataFrame | pd.Series) else None


def is_fitted_embedder(embedder: Any) -> bool:
    """Tell whether an embedder is to be used as it is, and not to be cloned and fitted.

    Raises
    ------
    TypeError
        If it is a class.

    NotFittedError
        If it is a FrozenEstimator that is not fitted.
    """
    if isinstance(embedder, type):
        raise TypeError(
            f"embedder must be an instance, got the class {embedder.__name__}."
        )
    fitted = _is_fitted(embedder)
    if isinstance(embedder, FrozenEstimator) and not fitted:
        raise NotFittedError("embedder is a FrozenEstimator that is not fitted.")
    return fitted


def _is_fitted(embedder: Any) -> bool:
    """Tell whether an embedder, and every step of a Pipeline, is fitted."""
    if isinstance(embedder, Pipeline):
        steps = (step for _, step in embedder.steps)
        return all(step in (None, "passthrough") or _is_fitted(step) for step in steps)
    if not isinstance(embedder, BaseEstimator):
        return has_fitted_attributes(embedder)
    try:
        check_is_fitted(embedder)
    except NotFittedError:
        return False
    return True
