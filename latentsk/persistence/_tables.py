"""Tables as JSON-able values and plain arrays, and back, exactly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from latentsk.persistence._columns import (
    Content,
    check_storable,
    decode_column,
    encode_column,
)
from latentsk.persistence._schema import format_errors, require


def encode_frame(frame: pd.DataFrame) -> Content:
    """Return a table as JSON-able values and boolean or numeric arrays.

    Parameters
    ----------
    frame : DataFrame
        Its columns are named by str or int, not necessarily by different ones. The
        index is kept too, but for the frequency of dates; `attrs` are not.

    Returns
    -------
    content : dict

    Raises
    ------
    TypeError
        If the values or the name of a column, or the index, cannot be stored exactly.

    Examples
    --------
    >>> frame = pd.DataFrame({"n": [1, 2], "name": ["x", "y"]}, index=[7, 5])
    >>> content = encode_frame(frame)
    >>> content["values"][0]["values"], content["index"]["labels"]["values"]
    (array([1, 2]), array([7, 5]))
    >>> decode_frame(content)
       n name
    7  1    x
    5  2    y
    """
    _check_labels(frame.columns)
    values = [
        _naming(f"Column {label!r}", encode_column, frame.iloc[:, i])
        for i, label in enumerate(frame.columns)
    ]
    return {
        "values": values,
        "columns": _naming("The names of columns", _encode_index, frame.columns),
        "index": _naming("The index", _encode_index, frame.index),
    }


def check_storable_frame(frame: pd.DataFrame) -> None:
    """Refuse a table that :func:`encode_frame` refuses; its index is not looked at.

    Raises
    ------
    TypeError
        If the values or the name of a column cannot be stored exactly.

    Examples
    --------
    >>> check_storable_frame(pd.DataFrame({"a": [1j]}))
    Traceback (most recent call last):
    ...
    TypeError: Column 'a': A column of dtype complex128 cannot be stored. ...
    """
    _check_labels(frame.columns)
    _naming("The names of columns", _encode_index, frame.columns)
    for i, label in enumerate(frame.columns):
        _naming(f"Column {label!r}", check_storable, frame.iloc[:, i])


def decode_frame(content: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table that :func:`encode_frame` was given.

    Parameters
    ----------
    content : dict

    Returns
    -------
    frame : DataFrame

    Raises
    ------
    FormatError
        If this is not what `encode_frame` returns.

    Examples
    --------
    >>> decode_frame(encode_frame(pd.DataFrame({"a": [True]}, index=["x"])))
          a
    x  True
    """
    with format_errors():
        parts = {"values", "columns", "index"}
        require(content.keys() == parts, "a table is not described")
        index, names = (_decode_index(content[key]) for key in ("index", "columns"))
        _check_labels(names)
        columns = map(decode_column, content["values"])
        series = [pd.Series(values, index, values.dtype) for values in columns]
        frame = pd.DataFrame(dict(enumerate(series)), index=index)
        frame.columns = names
        return frame


def _check_labels(labels: pd.Index) -> None:
    for label in labels:
        if not isinstance(label, str | int) or isinstance(label, bool):
            raise TypeError(
                f"Columns must be named by str or int, got {label!r}: rename them, as "
                "with columns.astype(str)."
            )


def _naming(what: str, encode: Callable[[Any], Any], values: Any) -> Any:
    try:
        return encode(values)
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from error


def _encode_index(index: pd.Index) -> Content:
    """Encode the labels of rows or columns; of a range, its limits."""
    name = index.name
    # Two lone surrogates in a row would come back as one character.
    if type(name) not in (str, int, type(None)) or json.loads(json.dumps(name)) != name:
        raise TypeError(f"The name {name!r} cannot be stored; a str or an int can.")
    if isinstance(index, pd.RangeIndex):
        return {"name": name, "range": [index.start, index.stop, index.step]}
    return {"name": name, "labels": encode_column(index)}


def _decode_index(content: Any) -> pd.Index:
    name, limits = content["name"], content.get("range")
    require(type(name) in (str, int, type(None)), "an index has a strange name")
    if limits is not None:
        require(all(type(n) is int for n in limits), "a range is not made of integers")
        # pandas itself would take larger numbers, and fail later.
        return pd.RangeIndex(*np.array(limits, np.int64).tolist()).rename(name)
    values = decode_column(content["labels"])
    # With its dtype, or pandas would infer another one for objects.
    return pd.Index(values, dtype=values.dtype, name=name, tupleize_cols=False)
