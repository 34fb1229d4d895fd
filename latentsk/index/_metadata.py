"""What is known of rows: a table, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk.index._labels import order_by_labels
from latentsk.persistence._tables import check_storable_frame

_REMEDY = (
    "If its rows come in the order of X, label them so, metadata.set_axis(ids), or "
    "take the labels away, metadata.reset_index(drop=True)."
)


def check_metadata(metadata: Any) -> pd.DataFrame:
    """Return metadata, which are a table with different names that a file can hold.

    Tables of polars and pyarrow are converted. They have no labels, so that their rows
    are in the order of those of the index, unless pandas left its own in a table of
    pyarrow.

    Raises
    ------
    TypeError
        If it is no table, or has values that `save` could not store.

    ValueError
        If two columns have one name.

    Examples
    --------
    >>> check_metadata([1])
    Traceback (most recent call last):
    ...
    TypeError: metadata must be a Table of pyarrow or a pandas or polars DataFrame, got
    list.
    """
    metadata = _as_pandas(metadata)
    if not metadata.columns.is_unique:
        raise ValueError(
            f"metadata must have columns of different names, got "
            f"{list(metadata.columns)}."
        )
    try:
        check_storable_frame(metadata)
    except TypeError as error:
        raise TypeError(f"metadata: {error}") from error
    return metadata


def _as_pandas(table: Any) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        return table
    kind = type(table)
    name = f"{kind.__module__}.{kind.__name__}".removeprefix("builtins.")
    if name.startswith("polars.") and hasattr(table, "to_arrow"):
        table = table.to_arrow()
    if not hasattr(table, "to_pandas") or not hasattr(table, "column_names"):
        lazy = "; collect it first: metadata.collect()" if "LazyFrame" in name else ""
        raise TypeError(
            "metadata must be a Table of pyarrow or a pandas or polars DataFrame, got "
            f"{name}{lazy}."
        )
    # Types that hold missing integers and booleans; floats would round some.
    frame: pd.DataFrame = table.to_pandas(types_mapper=_pandas_type)
    for name, column in zip(table.column_names, table.columns, strict=True):
        # Lists and structures stay what they are, instead of arrays of numpy.
        if column.type.num_fields and name in frame.columns:
            frame[name] = pd.Series(column.to_pylist(), frame.index, dtype=object)
    return frame


def _pandas_type(kind: Any) -> Any:
    """Return the nullable type of pandas for integers and booleans of pyarrow."""
    name = str(kind)
    if name == "bool":
        return pd.BooleanDtype()
    is_integer = name.removeprefix("u").startswith("int") and name[-1].isdigit()
    known = name.replace("uint", "UInt") if name[0] == "u" else name.capitalize()
    return pd.api.types.pandas_dtype(known) if is_integer else None


def labelled_metadata(metadata: pd.DataFrame, ids: NDArray[Any]) -> pd.DataFrame:
    """Return metadata in the order of ids, numbered; labels rule.

    Raises
    ------
    ValueError
        If there are not as many rows, or they have labels that are no ids.

    Examples
    --------
    >>> table = pd.DataFrame({"owner": ["v", "u"]}, index=["b", "a"])
    >>> labelled_metadata(table, np.array(["a", "b"]))["owner"].tolist()
    ['u', 'v']
    """
    if len(metadata) != len(ids):
        raise ValueError(
            f"Got metadata of {len(metadata)} rows for {len(ids)} rows of X."
        )
    order = order_by_labels(metadata.index, ids, "metadata", _REMEDY)
    ordered = metadata if order is None else metadata.iloc[np.asarray(order)]
    return ordered.reset_index(drop=True)
