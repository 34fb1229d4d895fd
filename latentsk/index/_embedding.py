"""From rows to the vectors that are compared, with any transformer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import _num_samples, check_is_fitted

from latentsk._device import on_host
from latentsk._diagnosis import OUTPUT, diagnosed
from latentsk._state import has_fitted_attributes
from latentsk._threads import thread_limit
from latentsk._validation import checked, reject_huge, reject_masked


def fitted_embedder(embedder: Any, X: Any, y: Any) -> Any:
    """Return an embedder as it is if it is fitted, else a fitted clone of it."""
    if is_fitted_embedder(embedder):
        return embedder
    embedder, X = clone(embedder), reject_masked(X)
    with thread_limit(None), diagnosed(X):  # a forked process has one thread
        return embedder.fit(X) if y is None else embedder.fit(X, y)


def embed(embedder: Any, X: Any) -> NDArray[Any]:
    """Return the vectors of rows, checked.

    Raises
    ------
    ValueError
        If the embedder's output is not a finite matrix with a row for each of X, or
        has magnitudes above 1e100.
    """
    X = reject_masked(X)
    with thread_limit(None), diagnosed(X):
        embedded = embedder.transform(X)
    vectors = checked(
        on_host(embedded),
        dtype=[np.float64, np.float32],
        order="C",
        input_name=OUTPUT,
    )
    reject_huge(vectors, input_name="The embedder's output")
    if len(vectors) != _num_samples(X):
        raise ValueError(
            f"The embedder returned {len(vectors)} vectors for {_num_samples(X)} "
            "rows of X."
        )
    return vectors


def embed_by(index: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return what makes latent vectors of original rows, by the embedder of an index.

    Not before it is called, because the embedder may not be fitted yet.
    """

    def embedding(rows: NDArray[Any]) -> NDArray[Any]:
        names = getattr(index, "feature_names_in_", None)
        X = rows if names is None else pd.DataFrame(rows, columns=names)
        return embed(index.embedder_, X)

    return embedding


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
