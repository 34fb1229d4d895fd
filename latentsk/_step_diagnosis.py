"""Which step of a Pipeline has made what the next one refuses."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from latentsk._columns import as_floats, columns_of
from latentsk._diagnosis import diagnosed
from latentsk._texts import text_diagnosis


@contextmanager
def steps_diagnosed(embedder: Any, X: Any) -> Iterator[None]:
    """Let an error about what rows hold name the step of a Pipeline that has made it.

    Of what the rows themselves hold it says where, as `diagnosed` does, and of rows
    that are no texts, where these are read, which one.

    Parameters
    ----------
    embedder : transformer or None
        Fitted or not.

    X : array-like
        The rows that it is given.

    Raises
    ------
    ValueError, TypeError

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import FunctionTransformer, StandardScaler
    >>> pipeline = make_pipeline(FunctionTransformer(np.log), StandardScaler())
    >>> with steps_diagnosed(pipeline, [[1.0], [0.0]]), np.errstate(divide="ignore"):
    ...     pipeline.fit([[1.0], [0.0]])
    Traceback (most recent call last):
    ...
    ValueError: Step 'functiontransformer' of the Pipeline makes -inf of 0 in column ...
    """
    try:
        with diagnosed(X):
            yield
    except (ValueError, TypeError, AttributeError) as error:
        kind = re.search(f"contains ({'|'.join(_KINDS)})", str(error))
        reason = None
        with suppress(Exception):  # of a foreign step: then there is no telling
            reason = text_diagnosis(embedder, X, error)
            if reason is None and kind is not None and isinstance(error, ValueError):
                reason = _made_by_a_step(embedder, X, kind[1])
        if reason is None:
            raise
        raise ValueError(reason) from error


def _made_by_a_step(embedder: Any, X: Any, kind: str) -> str | None:
    """Return which step makes what an error tells of; None where none does."""
    embedder = embedder.estimator if isinstance(embedder, FrozenEstimator) else embedder
    if not isinstance(embedder, Pipeline):
        return None
    is_wrong, advice = _KINDS[kind]
    for name, step in embedder.steps[:-1]:
        if step in (None, "passthrough"):
            continue
        before = dict(columns_of(X))
        was_whole = ~np.any([_not_finite(cells) for cells in before.values()], axis=0)
        X = _passed_on(step, X)
        for label, cells in columns_of(X):
            for row in np.flatnonzero(is_wrong(cells) & was_whole)[:1]:
                of = f" of {before[label][row]:g}" if label in before else ""
                return (
                    f"Step {name!r} of the Pipeline makes {cells[row]:g}{of} in "
                    f"column {label!r}, row {row}, {advice} there, or clip before."
                )
    return None


def _infinite(cells: NDArray[Any]) -> NDArray[np.bool_]:
    return np.isinf(as_floats(cells))


def _not_finite(cells: NDArray[Any]) -> NDArray[np.bool_]:
    return pd.isna(cells) | _infinite(cells)


def _passed_on(step: Any, X: Any) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return step.transform(X)
        except Exception:  # it is not fitted, as a foreign step says in its own way
            return clone(step).fit_transform(X)


# What an error tells of, how to find it, and what to do.
_KINDS: dict[str, tuple[Callable[[NDArray[Any]], NDArray[np.bool_]], str]] = {
    "infinity": (_infinite, "such as the logarithm of 0. Use np.log1p or np.arcsinh"),
    "NaN": (pd.isna, "such as the logarithm of a negative number. Use np.arcsinh"),
}
