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
from latentsk.persistence._schema import Rules, format_errors, require

Column: TypeAlias = NDArray[Any] | ExtensionArray
# JSON-able values, boolean or numeric arrays, and dicts of these.
Content: TypeAlias = dict[str, Any]

_STORABLE = (
    "What can be stored: booleans, integers, floats, strings, dates, durations, "
    "pandas' nullable and categorical types, and object columns of str, int, float, "
    "bool and None. Convert it, with astype(str) say, or leave it out."
)
_SIZES = (8, 16, 32, 64)
_NUMBERS = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{sign}int{size}" for sign in ("", "u") for size in _SIZES]
)
_NULLABLE = ["boolean", "Float32", "Float64"] + [
    f"{sign}Int{size}" for sign in ("", "U") for size in _SIZES
]
_TIMES = re.compile(r"(datetime64|timedelta64)\[(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\]")
_CHARACTERS = re.compile(r"U[1-9][0-9]{0,8}")
# Under names that begin with "dateutil", pandas would open files.
_ZONES = re.compile(r"(?!dateutil)[A-Za-z][A-Za-z0-9_+\-:/]*")
_NONE = type(None)
_PLAIN = frozenset([str, int, float, bool, _NONE])
_ITEMS = {"b": bool, "i": int, "u": int, "f": float}


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
    match column.dtype:
        case pd.CategoricalDtype():
            return _encode_categories(column)
        case pd.DatetimeTZDtype():
            return _encode_zoned(column)
        case pd.StringDtype():
            return _encode_pandas_strings(column)
        case np.dtype(kind="O"):
            return _encode_objects(column)
        case np.dtype(name=name, kind=kind):
            if name in _NUMBERS or kind == "U" or _TIMES.fullmatch(name):
                return _encode_plain(column)
        case dtype if str(dtype) in _NULLABLE:
            return _encode_nullable(column)
    raise TypeError(f"A column of dtype {column.dtype} cannot be stored. {_STORABLE}")


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
        raise TypeError(f"A {type(values).__name__} cannot be stored. {_STORABLE}")
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
    zone = _zone(str(dtype.tz))
    if zone is None or pd.DatetimeTZDtype(dtype.unit, zone) != dtype:
        raise TypeError(
            f"A column of dtype {dtype} cannot be stored: its time zone has no "
            "name in the IANA data base. Convert it with tz_convert first."
        )
    times = _encode_plain(np.asarray(column.tz_convert(None)))
    return times | {"kind": "zoned times", "zone": str(zone)}


def _decode_zoned(dtype: str, values: NDArray[Any], zone: str) -> ExtensionArray:
    known = _zone(zone)
    if known is None:
        raise FormatError(f"The time zone {zone[:40]!r} is unknown here.")
    require(dtype.startswith("datetime64"), "what has a time zone is no time")
    times = pd.DatetimeIndex(_decode_plain(dtype, values))
    return times.tz_localize("UTC").tz_convert(known).array


def _zone(name: str) -> Any:
    """Return the time zone of this name, or None."""
    if not _ZONES.fullmatch(name):
        return None
    try:
        return pd.DatetimeTZDtype("ns", name).tz
    except (LookupError, OSError, TypeError, ValueError):
        return None


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
        values = [_tagged(value) for value in values]
    return {"kind": "objects", "text": _to_json(values)}


def _decode_objects(text: NDArray[np.uint8]) -> NDArray[Any]:
    values = _from_json(text)
    column = np.empty(len(values), dtype=object)
    is_plain = set(map(type, values)) <= {str}
    column[:] = values if is_plain else [_untagged(value) for value in values]
    return column


def _tagged(value: Any) -> Any:
    if _is_long(value):
        raise TypeError(
            f"A whole number of more than 64 bits cannot be stored. {_STORABLE}"
        )
    if type(value) in _PLAIN:
        return value
    if type(value) is np.str_:  # whose str() loses characters zero at the end
        return {"str": value[:]}
    if isinstance(value, np.generic) and value.dtype.name in _NUMBERS:
        return {value.dtype.name: value.item()}
    raise TypeError(
        f"A column of dtype object that holds {value!r}, a {type(value).__name__}, "
        f"cannot be stored. {_STORABLE}"
    )


def _untagged(value: Any) -> Any:
    # Chosen ones have the same hash, and would make looking up ids endless.
    require(not _is_long(value), "a column holds a number of more than 64 bits")
    if type(value) in _PLAIN:
        return value
    ((tag, item),) = value.items()
    if tag == "str" and type(item) is str:
        return np.str_(item)
    known = tag in _NUMBERS and type(item) is _ITEMS[np.dtype(tag).kind]
    require(known, "a column of objects holds a value of an unknown type")
    with np.errstate(over="ignore"):
        return np.dtype(tag).type(item)


def _is_long(value: Any) -> bool:
    return type(value) is int and not -(2**63) <= value < 2**64


_VALUES = {
    "dtype": schema.text(),
    "values": schema.array("number", ("rows",), _NUMBERS),
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
}
