"""Which columns a part of a ColumnTransformer takes, as a file can hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray
from sklearn.compose import make_column_selector
from sklearn.utils._indexing import _get_column_indices

from latentsk.persistence._registry import storable
from latentsk.persistence._schema import either, list_of, maybe, text

# Types by which make_column_selector selects, as names that select the same.
_DTYPES: dict[Any, str] = {
    bool: "bool",
    float: "float",
    int: "int",
    object: "object",
    str: "str",
    np.bool_: "bool",
    np.object_: "object",
    np.number: "number",
    np.integer: "integer",
    np.floating: "floating",
    np.datetime64: "datetime",
    np.timedelta64: "timedelta",
}


def plain_columns(columns: Any) -> Any:
    """Return a choice of columns as values that a file can hold.

    Labels and masks of pandas become lists and arrays, numpy's scalars Python's.

    Parameters
    ----------
    columns : str, int, bool, slice, list, tuple, ndarray, Index, Series
        Names, positions or a mask.

    Raises
    ------
    TypeError
        If it is something else, such as a function.

    Examples
    --------
    >>> plain_columns(pd.Index(["a", "b"])), plain_columns(slice(np.int64(1), None))
    (['a', 'b'], slice(1, None, None))
    """
    if isinstance(columns, slice):
        limits = columns.start, columns.stop, columns.step
        return slice(*(None if n is None else _plain_item(n) for n in limits))
    if isinstance(columns, list | tuple):
        return type(columns)(_plain_item(item) for item in columns)
    if isinstance(columns, pd.Index):
        return [_plain_item(item) for item in columns]
    if isinstance(columns, pd.Series | ExtensionArray):
        columns = np.asarray(columns)
    if isinstance(columns, np.ndarray) and columns.ndim == 1:
        if columns.dtype.kind in "biu":
            return columns
        return [_plain_item(item) for item in columns]
    return _plain_item(columns)


def _plain_item(item: Any) -> str | int | bool:
    if isinstance(item, np.generic):
        item = item.item()
    if type(item) not in (str, int, bool):
        raise TypeError(f"{item!r:.100} names no column")
    return item


def column_positions(columns: Any, n_features: int, feature_names: Any) -> list[int]:
    """Return the positions of the columns that are chosen.

    Parameters
    ----------
    columns : str, int, bool, slice, list, tuple, ndarray
        As :func:`plain_columns` returns them.

    n_features : int

    feature_names : ndarray of shape (n_features,), or None

    Raises
    ------
    Exception
        If there are no such columns: what scikit-learn or numpy raise.

    Examples
    --------
    >>> column_positions(slice("b", None), 3, np.array(["a", "b", "c"], object))
    [1, 2]
    """
    rows: Any = np.empty((0, n_features))
    if feature_names is not None:
        rows = pd.DataFrame(rows, columns=feature_names)
    return _get_column_indices(rows, columns)


def stored_columns(name: str, columns: Any, chosen: Any = None) -> Any:
    """Return the columns of a part as what a file can hold.

    A `make_column_selector` stays one. Of another function that is what it has chosen.

    Parameters
    ----------
    name : str
        The part, for the error.

    columns : str, int, slice, array-like or callable

    chosen : str, int, slice, array-like or None, default=None
        What the function has chosen in a fit.

    Raises
    ------
    TypeError
        If it cannot be stored.
    """
    if type(columns) is make_column_selector and _is_storable(columns):
        return columns
    if callable(columns) and chosen is None:
        raise TypeError(
            f"The columns of {name!r} in a ColumnTransformer cannot be stored: a "
            "function chooses them. Use names, positions or make_column_selector, or "
            "use joblib."
        )
    try:
        return plain_columns(chosen if callable(columns) else columns)
    except TypeError as error:
        raise TypeError(
            f"The columns of {name!r} in a ColumnTransformer cannot be stored: "
            f"{error}. Use names, positions, a slice or a mask."
        ) from error


def _is_storable(selector: make_column_selector) -> bool:
    try:
        _selector_state(selector)
    except TypeError:
        return False
    return True


def _selector_state(selector: make_column_selector) -> dict[str, Any]:
    return {
        "pattern": selector.pattern,
        "dtype_include": _dtype_names(selector.dtype_include),
        "dtype_exclude": _dtype_names(selector.dtype_exclude),
    }


def _dtype_names(dtypes: Any) -> Any:
    if isinstance(dtypes, list | tuple | set | frozenset):
        return [_dtype_names(dtype) for dtype in dtypes]
    if dtypes is None or type(dtypes) is str:
        return dtypes
    if isinstance(dtypes, np.dtype):
        return dtypes.name
    known = _DTYPES.get(dtypes)
    if known is None and issubclass(dtypes, np.generic):
        known = np.dtype(dtypes).name
    if known is None:
        raise TypeError(f"{dtypes!r:.100} has no name")
    return known


_dtypes = maybe(either(text(), list_of(text())))
storable(
    {"pattern": maybe(text()), "dtype_include": _dtypes, "dtype_exclude": _dtypes},
    get_state=_selector_state,
)(make_column_selector)
