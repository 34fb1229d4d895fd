"""Rows that are too large to be embedded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing

from latentsk._device import on_host
from latentsk._typing import Float64
from latentsk._validation import MAX_MAGNITUDE, reject_huge

# Sums over features stay in the range of the dtype.
LIMITS = {"float32": 1e30, "float64": MAX_MAGNITUDE}


def float_columns(X: Any) -> tuple[NDArray[Any], list[Any] | None]:
    """Return the columns of a table that may be huge, and their names if it has any.

    Examples
    --------
    >>> float_columns(pd.DataFrame({"n": [1, 2], "x": [0.5, np.nan], "s": ["a", "b"]}))
    (array([[0.5],
           [nan]]), ['x'])
    >>> float_columns([[0.5, 1.0]])
    (array([[0.5, 1. ]]), None)
    """
    if not isinstance(X, pd.DataFrame):
        X = np.asarray(on_host(X))
        if X.dtype != object:
            return (X if X.dtype.kind == "f" else np.empty((len(X), 0))), None
    columns = pd.DataFrame(X).infer_objects()
    columns = columns.select_dtypes(["float32", "float64", "Float32", "Float64"])
    dtype = np.float32 if (columns.dtypes == np.float32).all() else np.float64
    return columns.to_numpy(dtype, na_value=np.nan), list(columns.columns)


def reject_huge_columns(X: Any) -> None:
    """Refuse a table with a magnitude above 1e100, and name the column.

    Infinity, which not every embedder refuses, is for others to tell of.

    Raises
    ------
    ValueError
    """
    values, names = float_columns(X)
    if not np.isinf(values).any():
        reject_huge(values, names)


def measure_where_small(
    X: Any, measure: Callable[[Any], Float64], otherwise: ArrayLike
) -> Float64:
    """Measure the rows that can be embedded, and give the others a fixed value.

    Parameters
    ----------
    X : ndarray or DataFrame of shape (n_rows, n_columns)

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
    values, _ = float_columns(X)
    largest = np.fmax.reduce(np.abs(values), axis=1, initial=0.0)
    is_small = (largest <= LIMITS.get(values.dtype.name, np.inf)) | np.isinf(largest)
    if is_small.all():
        return measure(X)
    measured = np.empty((len(is_small), *np.shape(otherwise)))
    measured[:] = otherwise
    if is_small.any():
        small = np.flatnonzero(is_small)
        measured[small] = measure(_safe_indexing(X, small))
    return measured
