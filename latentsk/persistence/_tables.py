"""Tables as JSON-able values and plain arrays, and back, exactly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from latentsk.exceptions import FormatError
from latentsk.persistence._columns import (
    Column,
    Content,
    decode_column,
    encode_column,
    field,
    format_errors,
)


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
    >>> content["length"], content["index"]["values"]
    (2, array([7, 5]))
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
        "length": len(frame),
        "values": values,
        "columns": _naming("The names of columns", _encode_index, frame.columns),
        "index": _naming("The index", _encode_index, frame.index),
    }


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
    with format_errors("table"):
        values = field(content, "values", list)
        index = _decode_index(content["index"], field(content, "length", int))
        names = _decode_index(content["columns"], len(values))
        _check_labels(names)
        columns = {
            i: _series(decode_column(column), index) for i, column in enumerate(values)
        }
        frame = pd.DataFrame(columns, index=index)
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


def _series(values: Column, index: pd.Index) -> pd.Series:
    if len(values) != len(index):
        raise FormatError(f"A column has {len(values)} values for {len(index)} rows.")
    return pd.Series(values, index=index, dtype=values.dtype)


def _encode_index(index: pd.Index) -> Content | None:
    """Encode the labels of rows or columns; None stands for their numbers."""
    name = index.name
    # Two lone surrogates in a row would come back as one character.
    if type(name) not in (str, int, type(None)) or json.loads(json.dumps(name)) != name:
        raise TypeError(f"The name {name!r} cannot be stored; a str or an int can.")
    if not isinstance(index, pd.RangeIndex):
        return encode_column(index) | {"name": name}
    if (index.start, index.step, name) == (0, 1, None) and index.stop == len(index):
        return None
    limits = {"start": index.start, "stop": index.stop, "step": index.step}
    return {"kind": "range", "name": name} | limits


def _decode_index(content: Any, length: int) -> pd.Index:
    if content is None:
        return _of_length(pd.RangeIndex(length), length)
    if field(content, "kind", str) == "range":
        limits = [field(content, name, int) for name in ("start", "stop", "step")]
        # pandas itself would take larger numbers, and fail later.
        index: pd.Index = pd.RangeIndex(*np.array(limits, dtype=np.int64).tolist())
    else:
        values = decode_column(content)
        # With its dtype, or pandas would infer another one for objects.
        index = pd.Index(values, dtype=values.dtype)
    name = content.get("name")
    if type(name) not in (str, int, type(None)):
        raise FormatError("The name of an index must be a str or an int.")
    return _of_length(index.rename(name), length)


def _of_length(index: pd.Index, length: int) -> pd.Index:
    if len(index) != length:
        raise FormatError(
            f"A table has {length} rows or columns, but {len(index)} labels."
        )
    return index
