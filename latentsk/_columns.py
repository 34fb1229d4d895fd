"""The columns of a table, of whatever library: their names, and their cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _get_feature_names, _num_features

from latentsk._device import on_host
from latentsk._typing import Float64

LARGEST = float(np.finfo(np.float64).max)


def column_names(X: Any) -> list[str] | None:
    """Return the names of the columns of a table, if they are all strings.

    Examples
    --------
    >>> column_names(pd.DataFrame({"width": [1.0], "weight": [2.0]}))
    ['width', 'weight']
    >>> column_names([[1.0, 2.0]])
    """
    if isinstance(X, np.ndarray | list):
        return None
    try:
        names = _get_feature_names(X)
    except (TypeError, ValueError):  # only some are strings, or one is there twice
        return None
    return None if names is None else [str(name) for name in names]


def is_table(X: Any) -> bool:
    """Tell whether rows are a table of pandas, polars or pyarrow.

    Examples
    --------
    >>> is_table(pd.DataFrame({"a": [1.0]})), is_table([[1.0]])
    (True, False)
    """
    is_named = hasattr(X, "columns") or hasattr(X, "column_names")
    return is_named and len(getattr(X, "shape", ())) == 2


def n_columns(X: Any) -> int:
    """Return how many columns rows have; 0 of rows that have none, such as texts.

    Examples
    --------
    >>> n_columns([[1.0, 2.0]]), n_columns(["one text", "another"])
    (2, 0)
    """
    try:
        return int(_num_features(X))
    except TypeError:
        return 0


def columns_of(X: Any) -> Iterator[tuple[Any, NDArray[Any]]]:
    """Yield the label and the cells of each column; none of what is no table.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_columns)
        Labels are those of a table, else "x0", "x1", ...

    Yields
    ------
    label : object
    cells : ndarray of shape (n_rows,)

    Examples
    --------
    >>> list(columns_of(pd.DataFrame({"n": [1, 2], "s": ["a", "b"]})))
    [('n', array([1, 2])), ('s', array(['a', 'b'], dtype=object))]
    >>> list(columns_of([[1, "a"]]))
    [('x0', array([1], dtype=object)), ('x1', array(['a'], dtype=object))]
    """
    if isinstance(X, pd.DataFrame):
        for label, series in X.items():
            yield label, _cells(series)
        return
    names = column_names(X)
    X = on_host(X)
    if names is None and not isinstance(X, np.ndarray) and not issparse(X):
        X = np.array(X, dtype=object)
    if len(X.shape) != 2:
        return
    if issparse(X):
        X = X.tocsc()
    for j in range(X.shape[1]):
        column = X[:, [j]].toarray()[:, 0] if issparse(X) else _column(X, j)
        yield (f"x{j}" if names is None else names[j]), column


def _column(X: Any, j: int) -> NDArray[Any]:
    return (
        X[:, j] if isinstance(X, np.ndarray) else _cells(_safe_indexing(X, j, axis=1))
    )


def _cells(column: Any) -> NDArray[Any]:
    if isinstance(column, pd.Series) and not isinstance(column.dtype, np.dtype):
        return column.to_numpy(object)
    return np.asarray(column)


def as_floats(cells: NDArray[Any]) -> Float64:
    """Return cells as numbers: NaN for what is none, the largest for larger integers.

    Examples
    --------
    >>> as_floats(np.array([1, "a", None, -(10**400)], dtype=object))
    array([  1.00000000e+000,               nan,               nan, -1.79769313e+308])
    """
    if cells.dtype.kind in "fiub":
        return extended_to_float64(cells).astype(np.float64)
    return np.array([_as_float(cell) for cell in cells], dtype=np.float64)


def _as_float(cell: Any) -> float:
    try:
        return float(_clip_integer(cell))
    except (TypeError, ValueError):
        return float("nan")


def extended_to_float64(X: Any) -> Any:
    """Return an array of extended precision in float64; what is finite stays finite."""
    if not isinstance(X, np.ndarray) or X.dtype.kind != "f" or X.dtype.itemsize <= 8:
        return X
    clipped = np.where(np.isinf(X), X, np.clip(X, -LARGEST, LARGEST))
    return clipped.astype(np.float64)


def clip_integers(X: Any) -> Any:
    """Return a table whose integers are in the range of floats.

    Examples
    --------
    >>> clip_integers([[1, 10**400]])
    array([[1, 1.7976931348623157e+308]], dtype=object)
    """
    if isinstance(X, pd.DataFrame):
        return X.map(_clip_integer)
    return np.frompyfunc(_clip_integer, 1, 1)(np.array(X, dtype=object))


def _clip_integer(cell: Any) -> Any:
    if isinstance(cell, int) and abs(cell) > LARGEST:
        return LARGEST if cell > 0 else -LARGEST
    return cell
