"""Columns as JSON-able values and plain arrays, and back, exactly and without pickle.

What is decoded may come from a hostile file: nothing is believed unchecked, and nothing
takes much more memory than the arrays that were handed in.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from latentsk.exceptions import FormatError
from latentsk.persistence import _schema as schema
from latentsk.persistence._arrow_columns import (
    arrow_name,
    arrow_numbers,
    from_arrow_numbers,
    from_arrow_strings,
    is_text,
)
from latentsk.persistence._cells import (
    NUMBERS,
    PLAIN,
    SIZES,
    STORABLE,
    require_spread,
    tagged,
    untagged,
)
from latentsk.persistence._schema import Rules, format_errors, require
from latentsk.persistence._zones import known_zone

Column: TypeAlias = NDArray[Any] | ExtensionArray
# JSON-able values, boolean or numeric arrays, and dicts of these.
Content: TypeAlias = dict[str, Any]

_NULLABLE = ["boolean", "Float32", "Float64"] + [
    f"{sign}Int{size}" for sign in ("", "U") for size in SIZES
]
_TIMES = re.compile(r"(datetime64|timedelta64)\[(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\]")
_CHARACTERS = re.compile(r"U[1-9][0-9]{0,8}")
_NONE = type(None)


def encode_column(values: Column | pd.Series | pd.Index) -> Content:
    """Return a column as JSON-able values and boolean or numeric arrays.

    Parameters
    ----------
    values : ndarray, pandas array, Series or Index of shape (n_rows,)
        The name and the index of a series, and the frequency of dates, are not kept.

    Returns
    -------
    content : dict
        Its arrays may share memory with `values`.

    Raises
    ------
    TypeError
        If values of this type cannot be stored exactly.

    ValueError
        If `values` is not one-dimensional.

    Examples
    --------
    >>> content = encode_column(np.array(["x", "yz"], dtype=object))
    >>> content["kind"], content["text"].tobytes()
    ('objects', b'["x","yz"]')
    >>> decode_column(content)
    array(['x', 'yz'], dtype=object)
    """
    column = _as_column(values)
    return _encoder_of(column)(column)


def check_storable(values: Column | pd.Series | pd.Index) -> None:
    """Refuse a column that :func:`encode_column` refuses, without encoding it.

    Raises
    ------
    TypeError
        If values of this type cannot be stored exactly.

    Examples
    --------
    >>> check_storable(np.array(["x", 3], dtype=object))
    >>> check_storable(np.array([1j]))
    Traceback (most recent call last):
    ...
    TypeError: A column of dtype complex128 cannot be stored. ...
    """
    column = _as_column(values)
    if isinstance(column.dtype, pd.CategoricalDtype):
        check_storable(column.categories)
    elif isinstance(column.dtype, pd.DatetimeTZDtype):
        _encode_zoned(column[:1])
    elif _encoder_of(column) is _encode_objects:
        types = set(map(type, column))
        if types == {pd.Timestamp}:
            _encode_objects(column)  # all of one zone, or each by itself
        elif not types <= PLAIN - {int}:
            for value in column:
                tagged(value)


def _encoder_of(column: Any) -> Callable[[Any], Content]:
    match column.dtype:
        case pd.CategoricalDtype():
            return _encode_categories
        case pd.DatetimeTZDtype():
            return _encode_zoned
        case pd.StringDtype():
            return _encode_pandas_strings
        case pd.ArrowDtype() as dtype if arrow_name(dtype) is not None:
            return _encode_arrow
        case np.dtype(kind="O"):
            return _encode_objects
        case np.dtype(name=name, kind=kind):
            if name in NUMBERS or kind == "U" or _TIMES.fullmatch(name):
                return _encode_plain
        case dtype if str(dtype) in _NULLABLE:
            return _encode_nullable
    raise TypeError(f"A column of dtype {column.dtype} cannot be stored. {STORABLE}")


def decode_column(content: Mapping[str, Any]) -> Column:
    """Return the column that :func:`encode_column` was given.

    Parameters
    ----------
    content : dict

    Returns
    -------
    values : ndarray or pandas array of shape (n_rows,)
        A pandas array for types that numpy does not have. It may share memory with
        the arrays in `content`, and is read-only if they are.

    Raises
    ------
    FormatError
        If this is not what `encode_column` returns.

    Examples
    --------
    >>> decode_column(encode_column(pd.array([1, None], dtype="Int8")))
    <IntegerArray>
    [1, <NA>]
    Length: 2, dtype: Int8
    """
    with format_errors():
        fields = dict(content)
        decode, rules = _KINDS[fields.pop("kind")]
        require(schema.fields(rules).fits(fields, {}), "a column is not described")
        return decode(**fields)


def _as_column(values: Any) -> Any:
    if isinstance(values, pd.MultiIndex | np.ma.MaskedArray):
        raise TypeError(f"A {type(values).__name__} cannot be stored. {STORABLE}")
    column = getattr(values, "array", values)
    if not isinstance(column, np.ndarray | ExtensionArray):
        raise TypeError(f"A column must be an array, got a {type(values).__name__}.")
    if column.ndim != 1:
        raise ValueError(f"A column must have one dimension, got {column.ndim}.")
    # Not isinstance: pandas' arrays of strings are a subclass.
    wraps_numpy = type(column) is pd.arrays.NumpyExtensionArray
    if wraps_numpy or isinstance(column.dtype, np.dtype):
        column = np.asarray(column)
        return np.asarray(column, column.dtype.newbyteorder("="))
    return column


# Numbers, times and characters


def _encode_plain(column: NDArray[Any]) -> Content:
    """Encode what numpy stores as numbers: these, times, characters."""
    dtype = column.dtype.name
    if column.dtype.kind == "U":
        dtype = f"U{column.dtype.itemsize // 4}"
        column = np.ascontiguousarray(column).view(np.uint32)
    elif column.dtype.kind in "mM":
        column = column.view(np.int64)
    return {"kind": "plain", "dtype": dtype, "values": column}


def _decode_plain(dtype: str, values: NDArray[Any]) -> NDArray[Any]:
    values = np.asarray(values)
    if _CHARACTERS.fullmatch(dtype):
        # Not as UTF-8: a long string among short ones could claim any amount of memory.
        is_text = values.dtype == np.uint32 and values.max(initial=0) <= sys.maxunicode
        require(is_text, "a string holds an invalid character")
        return np.ascontiguousarray(values).view(f"={dtype}")
    numbers = "int64" if _TIMES.fullmatch(dtype) else dtype
    require(values.dtype.name == numbers, f"the dtype {dtype[:20]!r} is unknown")
    return values.view(dtype)


def _encode_nullable(column: Any) -> Content:
    return {
        "kind": "nullable",
        "dtype": str(column.dtype),
        "values": column.to_numpy(dtype=column.dtype.numpy_dtype, na_value=0),
        "mask": column.isna(),
    }


def _decode_nullable(dtype: str, values: Any, mask: Any) -> ExtensionArray:
    known: Any = pd.api.types.pandas_dtype(dtype)
    column = known.construct_array_type()(np.asarray(values), np.asarray(mask))
    require(str(column.dtype) == dtype, "a column is of another dtype")
    return column


def _encode_zoned(column: Any) -> Content:
    dtype = column.dtype
    zone = known_zone(str(dtype.tz))
    if zone is None or pd.DatetimeTZDtype(dtype.unit, zone) != dtype:
        raise TypeError(
            f"A column of dtype {dtype} cannot be stored: its time zone has no "
            "name in the IANA data base. Convert it with tz_convert first."
        )
    times = _encode_plain(np.asarray(column.tz_convert(None)))
    return times | {"kind": "zoned times", "zone": str(zone)}


def _decode_zoned(dtype: str, values: NDArray[Any], zone: str) -> ExtensionArray:
    known = known_zone(zone)
    if known is None:
        raise FormatError(f"The time zone {zone[:40]!r} is unknown here.")
    require(dtype.startswith("datetime64"), "what has a time zone is no time")
    times = pd.DatetimeIndex(_decode_plain(dtype, values))
    return times.tz_localize("UTC").tz_convert(known).array


def _decode_zoned_objects(**fields: Any) -> NDArray[Any]:
    return np.asarray(_decode_zoned(**fields), dtype=object)


# Categories


def _encode_categories(column: Any) -> Content:
    return {
        "kind": "categories",
        "ordered": bool(column.ordered),
        "categories": encode_column(column.categories),
        "codes": np.asarray(column.codes),
    }


def _decode_categories(
    ordered: bool, categories: Content, codes: NDArray[Any]
) -> ExtensionArray:
    nested = categories.get("kind") == "categories"
    require(not nested, "categories are made of categories")
    values = decode_column(categories)
    # With its dtype, or pandas would infer another one for objects.
    dtype = pd.CategoricalDtype(pd.Index(values, dtype=values.dtype), ordered)
    return pd.Categorical.from_codes(np.asarray(codes), dtype=dtype)


# Strings and objects


def _to_json(values: list[Any]) -> NDArray[np.uint8]:
    # Escaped, two lone surrogates in a row would come back as one character.
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    # Lone surrogates are not valid UTF-8, but Python's strings may hold them.
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)


def _from_json(data: NDArray[np.uint8]) -> list[Any]:
    values = json.loads(data.tobytes().decode("utf-8", "surrogatepass"))
    require(type(values) is list, "a column of objects is no list")
    return values


def _encode_pandas_strings(column: Any) -> Content:
    return {
        "kind": "pandas strings",
        "storage": "python" if column.dtype.storage == "python" else "pyarrow",
        "missing": "NA" if column.dtype.na_value is pd.NA else "nan",
        "text": _to_json(column.to_numpy(dtype=object, na_value=None).tolist()),
    }


def _decode_pandas_strings(
    storage: Any, missing: str, text: NDArray[np.uint8]
) -> ExtensionArray:
    strings = _from_json(text)
    require(set(map(type, strings)) <= {str, _NONE}, "a string is something else")
    na_value = pd.NA if missing == "NA" else np.nan
    try:
        dtype = pd.StringDtype(storage, na_value)
    except ImportError:
        # Without pyarrow the same strings still fit into Python's.
        dtype = pd.StringDtype("python", na_value)
    return pd.array(strings, dtype=dtype)


def _encode_objects(column: NDArray[Any]) -> Content:
    types = set(map(type, column))
    if types == {pd.Timestamp}:
        # numpy holds times with a zone as objects.
        times = pd.Index(column).infer_objects()
        if isinstance(times.dtype, pd.DatetimeTZDtype):
            return _encode_zoned(times.array) | {"kind": "zoned objects"}
    values = column.tolist()
    if not types <= {str}:
        values = [tagged(value) for value in values]
    return {"kind": "objects", "text": _to_json(values)}


def _decode_objects(text: NDArray[np.uint8]) -> NDArray[Any]:
    values = _from_json(text)
    column = np.empty(len(values), dtype=object)
    is_plain = set(map(type, values)) <= {str}
    if is_plain:
        column[:] = values
        return column
    for i, value in enumerate(values):  # one by one: numpy would unpack lists
        column[i] = untagged(value)
    require_spread(column)
    return column


# Columns of pyarrow


def _encode_arrow(column: Any) -> Content:
    name = arrow_name(column.dtype)
    assert name is not None
    if is_text(name):
        text = _to_json(column.to_numpy(dtype=object, na_value=None).tolist())
        return {"kind": "arrow strings", "dtype": name, "text": text}
    values, missing = arrow_numbers(column)
    return {"kind": "arrow", "dtype": name, "values": values, "mask": missing}


def _decode_arrow(dtype: str, values: Any, mask: Any) -> ExtensionArray:
    column: ExtensionArray = from_arrow_numbers(dtype, values, mask)
    return column


def _decode_arrow_strings(dtype: str, text: NDArray[np.uint8]) -> ExtensionArray:
    strings = _from_json(text)
    require(set(map(type, strings)) <= {str, _NONE}, "a string is something else")
    column: ExtensionArray = from_arrow_strings(dtype, strings)
    return column


_VALUES = {
    "dtype": schema.text(),
    "values": schema.array("number", ("rows",), NUMBERS),
}
_MASK = {"dtype": schema.text(*_NULLABLE), "mask": schema.booleans("rows")}
_JSON = {"text": schema.integers("bytes", dtypes={"uint8"})}
_ZONED = {**_VALUES, "zone": schema.text()}
_STRINGS = {
    "storage": schema.text("python", "pyarrow"),
    "missing": schema.text("NA", "nan"),
}
_CATEGORIES = {
    "ordered": schema.flag(),
    "categories": schema.instance(dict),
    "codes": schema.integers("rows", dtypes={"int8", "int16", "int32", "int64"}),
}
# How the content of each kind is decoded, and what it must be.
_KINDS: dict[str, tuple[Callable[..., Column], Rules]] = {
    "plain": (_decode_plain, _VALUES),
    "nullable": (_decode_nullable, {**_VALUES, **_MASK}),
    "zoned times": (_decode_zoned, _ZONED),
    "zoned objects": (_decode_zoned_objects, _ZONED),
    "categories": (_decode_categories, _CATEGORIES),
    "pandas strings": (_decode_pandas_strings, {**_JSON, **_STRINGS}),
    "objects": (_decode_objects, _JSON),
    "arrow": (_decode_arrow, {**_VALUES, "mask": schema.booleans("rows")}),
    "arrow strings": (_decode_arrow_strings, {**_JSON, "dtype": schema.text()}),
}
