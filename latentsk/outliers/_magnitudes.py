"""Rows that are too large to be embedded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._columns import as_floats, columns_of, n_columns
from latentsk._device import on_host
from latentsk._typing import Float64
from latentsk._validation import LIMITS, MAX_MAGNITUDE, reject_huge

# What pandas calls columns of objects some of which may be large numbers.
MIXED = {
    "floating",
    "integer",
    "decimal",
    "mixed",
    "mixed-integer",
    "mixed-integer-float",
}


def float_columns(X: Any) -> tuple[NDArray[Any], list[Any] | None]:
    """Return the columns of a table that may be huge, and their names if it has any.

    Examples
    --------
    >>> float_columns(pd.DataFrame({"n": [1, 2], "x": [0.5, np.nan], "s": ["a", "b"]}))
    (array([[0.5],
           [nan]]), ['x'])
    >>> float_columns(np.array([[0.5, 1.0]]))
    (array([[0.5, 1. ]]), None)
    >>> float_columns(["one text", "another"])
    (array([], shape=(2, 0), dtype=float64), None)
    """
    if isinstance(X, pd.DataFrame):
        return _of_pandas(X)
    X = _as_numbers(on_host(X))
    if isinstance(X, np.ndarray) and X.dtype != object:
        is_table = X.ndim > 1 and X.dtype.kind == "f"
        return (X.reshape(len(X), -1) if is_table else _nothing(X)), None
    if n_columns(X) == 0:
        return _nothing(X), None
    return _joined([(k, cells) for k, cells in columns_of(X) if _may_be_huge(cells)], X)


def _of_pandas(X: pd.DataFrame) -> tuple[NDArray[Any], list[Any]]:
    floats = X.select_dtypes(["float32", "float64", "Float32", "Float64"])
    dtype = np.float32 if (floats.dtypes == np.float32).all() else np.float64
    values = floats.to_numpy(dtype, na_value=np.nan)
    is_mixed = [
        dtype.kind == "O" and not isinstance(dtype, pd.StringDtype)
        for dtype in X.dtypes
    ]
    objects = columns_of(X.loc[:, is_mixed]) if any(is_mixed) else ()
    found = [(k, cells) for k, cells in objects if _may_be_huge(cells)]
    if not found:
        return values, list(floats.columns)
    others, names = _joined(found, X)
    return np.hstack([values, others]), [*floats.columns, *names]


def _joined(
    columns: list[tuple[Any, NDArray[Any]]], X: Any
) -> tuple[NDArray[Any], list[Any]]:
    values = [
        cells if cells.dtype.kind == "f" else as_floats(cells) for _, cells in columns
    ]
    return (
        np.stack(values, axis=1) if values else _nothing(X),
        [label for label, _ in columns],
    )


def _as_numbers(X: Any) -> Any:
    """Return lists of numbers as an array, and everything else as it is."""
    if not isinstance(X, list | tuple):
        return X
    try:
        array = np.asarray(X)
    except ValueError:  # ragged
        return X
    return array if array.dtype.kind in "fiub" else X


def _nothing(X: Any) -> Float64:
    return np.empty((_num_samples(X), 0))


def _may_be_huge(cells: NDArray[Any]) -> bool:
    """Tell whether a column has floats, or objects that may be large numbers."""
    if cells.dtype != object:
        return cells.dtype.kind == "f"
    return pd.api.types.infer_dtype(cells, skipna=True) in MIXED


def reject_huge_columns(X: Any, names: Sequence[str] | None = None) -> None:
    """Refuse a table with a magnitude above 1e100, and name the column.

    Infinity, which not every embedder refuses, is for others to tell of.

    Parameters
    ----------
    X : array-like

    names : sequence of str or None, default=None
        Names of the columns, where `X` does not have them.

    Raises
    ------
    ValueError
    """
    values, found = (X.tocsr(), None) if issparse(X) else float_columns(X)
    names = found if names is None else names
    if not np.isinf(values.data if issparse(values) else values).any():
        reject_huge(values, names)


def measure_where_small(
    X: Any, measure: Callable[[Any], Float64], otherwise: ArrayLike
) -> Float64:
    """Measure the rows that can be embedded, and give the others a fixed value.

    Parameters
    ----------
    X : array-like of n_rows rows

    measure : callable
        Takes rows with magnitudes up to 1e100 (in float32, up to 1e30), and returns a
        number or an array for each.

    otherwise : float or ndarray
        The value for a row with a magnitude beyond.

    Returns
    -------
    measured : ndarray of shape (n_rows, ...)

    Raises
    ------
    ValueError
        If `measure` refuses a row, such as one with infinity.

    Examples
    --------
    >>> X = np.array([[1.0, 2.0], [1e200, 0.0]])
    >>> measure_where_small(X, lambda rows: rows.sum(axis=1), -1.0)
    array([ 3., -1.])
    """
    largest, limit = largest_magnitudes(X)
    is_small = (largest <= limit) | np.isinf(largest)
    if is_small.all():
        return measure(X)
    measured = np.empty((len(is_small), *np.shape(otherwise)))
    measured[:] = otherwise
    if is_small.any():
        small = np.flatnonzero(is_small)
        measured[small] = measure(_safe_indexing(X, small))
    return measured


def largest_magnitudes(X: Any) -> tuple[NDArray[Any], float]:
    """Return the largest magnitude of each row, and how large it may be.

    Examples
    --------
    >>> largest_magnitudes([[1.0, -2.0], [np.nan, 0.5]])
    (array([2. , 0.5]), 1e+100)
    """
    if issparse(X):
        magnitudes = abs(X)
        magnitudes.data[np.isnan(magnitudes.data)] = 0.0
        largest = np.asarray(magnitudes.max(axis=1).todense()).ravel()
        return largest, LIMITS.get(X.dtype.name, MAX_MAGNITUDE)
    values, _ = float_columns(X)
    largest = np.fmax.reduce(np.abs(values), axis=1, initial=0.0)
    return largest, LIMITS.get(values.dtype.name, MAX_MAGNITUDE)


def clip_where_finite(prepared: Any, X: Any) -> Any:
    """Return preprocessed rows without magnitudes beyond the limit.

    A step may make huge numbers, and infinite ones, of finite rows. Infinity in `X`
    itself is left for others to tell of.

    Parameters
    ----------
    prepared : array-like
        What the steps before have made of `X`.

    X : array-like

    Examples
    --------
    >>> X = np.array([[1e60, -2.0]])
    >>> clip_where_finite(X**2, X)
    array([[1.e+100, 4.e+000]])
    """
    largest, limit = largest_magnitudes(prepared)
    if (largest <= limit).all() or np.isinf(largest_magnitudes(X)[0]).any():
        return prepared
    if isinstance(prepared, pd.DataFrame):
        floats = prepared.select_dtypes("float")
        clipped = prepared.copy()
        clipped[floats.columns] = floats.clip(-limit, limit)
        return clipped
    if issparse(prepared):
        return prepared.minimum(limit).maximum(-limit)
    is_float = isinstance(prepared, np.ndarray) and prepared.dtype.kind == "f"
    return np.clip(prepared, -limit, limit) if is_float else prepared
