"""Columns as JSON-able values and plain arrays, and back, exactly and without pickle.

What is decoded may come from a hostile file: nothing is believed unchecked, and nothing
takes much more memory than the arrays that were handed in.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from latentsk.exceptions import FormatError

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
_NULLABLE: dict[str, type[Any]] = {
    "boolean": pd.arrays.BooleanArray,
    "Float32": pd.arrays.FloatingArray,
    "Float64": pd.arrays.FloatingArray,
} | {f"{s}Int{size}": pd.arrays.IntegerArray for s in ("", "U") for size in _SIZES}
_TIMES = re.compile(r"(datetime64|timedelta64)\[(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\]")
_CHARACTERS = re.compile(r"U[1-9][0-9]{0,8}")
# Under names that begin with "dateutil", pandas would open files.
_ZONES = re.compile(r"(?!dateutil)[A-Za-z][A-Za-z0-9_+\-:/]*")
_PLAIN = frozenset([str, int, float, bool, type(None)])
_ITEMS = {"b": bool, "i": int, "u": int, "f": float}
_LAST_CODE_POINT = 0x10FFFF


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
    >>> content["kind"], content["offsets"]
    ('strings', array([0, 1, 3]))
    >>> decode_column(content)
    array(['x', 'yz'], dtype=object)
    """
    column = _as_column(values)
    kind = _kind_of(column)
    if kind is None:
        raise TypeError(
            f"A column of dtype {column.dtype} cannot be stored. {_STORABLE}"
        )
    return {"kind": kind} | _KINDS[kind][0](column)


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
    with format_errors("column"):
        kind = field(content, "kind", str)
        if kind not in _KINDS:
            raise FormatError(f"Columns of the kind {kind[:20]!r} are unknown.")
        return _KINDS[kind][1](content)


@contextlib.contextmanager
def format_errors(what: str) -> Iterator[None]:
    """Turn what Python, numpy and pandas say of impossible contents into one error."""
    try:
        yield
    except FormatError:
        raise
    except (
        ArithmeticError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise FormatError(f"A {what} cannot be restored: {error}") from error


def field(content: Any, name: str, kind: type) -> Any:
    """Return a value of a column or table, which must be of this type."""
    value = content.get(name) if isinstance(content, dict) else None
    if type(value) is not kind:
        raise FormatError(f"{name!r} of a column must be a {kind.__name__}.")
    return value


def _array(content: Any, name: str, *dtypes: str) -> NDArray[Any]:
    array = np.asarray(content.get(name))
    if array.ndim != 1 or array.dtype.name not in dtypes:
        kinds = " or ".join(dtypes)
        raise FormatError(f"{name!r} of a column must be a 1D array of {kinds}.")
    return array


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


def _kind_of(column: Any) -> str | None:
    dtype = column.dtype
    for kind, dtypes in _PANDAS_KINDS.items():
        if isinstance(dtype, dtypes):
            return kind
    if not isinstance(dtype, np.dtype):
        return "nullable" if str(dtype) in _NULLABLE else None
    if dtype.kind == "O":
        return _kind_of_objects(column)
    plain = dtype.name in _NUMBERS or dtype.kind == "U" or _TIMES.fullmatch(dtype.name)
    return "plain" if plain else None


def _kind_of_objects(column: NDArray[Any]) -> str:
    types = set(map(type, column))
    if types <= {str}:
        return "strings"
    # numpy holds times with a zone as objects.
    zoned = types == {pd.Timestamp} and all(time.tz is not None for time in column)
    return "zoned objects" if zoned else "objects"


# Numbers, times and characters


def _encode_plain(column: NDArray[Any]) -> Content:
    """Encode what numpy stores as numbers: these, times, characters."""
    kind, name = column.dtype.kind, column.dtype.name
    if kind == "U":
        width = column.dtype.itemsize // 4
        flat = np.ascontiguousarray(column).view(np.uint32)
        return {"dtype": f"U{width}", "values": flat}
    return {"dtype": name, "values": column.view(np.int64) if kind in "mM" else column}


def _decode_plain(content: Any) -> NDArray[Any]:
    dtype = field(content, "dtype", str)
    if dtype in _NUMBERS:
        return _array(content, "values", dtype)
    if _TIMES.fullmatch(dtype):
        return _array(content, "values", "int64").view(dtype)
    if not _CHARACTERS.fullmatch(dtype):
        raise FormatError(f"Columns of dtype {dtype[:20]!r} are unknown.")
    # Not as UTF-8: a long string among short ones could claim any amount of memory.
    characters = _array(content, "values", "uint32")
    if characters.max(initial=0) > _LAST_CODE_POINT:
        raise FormatError("A string holds an invalid character.")
    return np.ascontiguousarray(characters).view(f"={dtype}")


def _encode_nullable(column: Any) -> Content:
    values = column.to_numpy(dtype=column.dtype.numpy_dtype, na_value=0)
    return {"dtype": str(column.dtype), "values": values, "mask": column.isna()}


def _decode_nullable(content: Any) -> ExtensionArray:
    dtype = field(content, "dtype", str)
    if dtype not in _NULLABLE:
        raise FormatError(f"Columns of dtype {dtype[:20]!r} are unknown.")
    numbers = "bool" if dtype == "boolean" else dtype.lower()
    values = _array(content, "values", numbers)
    return _NULLABLE[dtype](values, _mask(content, len(values)))


def _mask(content: Any, length: int) -> NDArray[np.bool_]:
    mask = _array(content, "mask", "bool")
    if len(mask) != length:
        raise FormatError(f"The mask of a column has {len(mask)} rows, not {length}.")
    return mask


def _encode_zoned(column: Any) -> Content:
    dtype = column.dtype
    zone = _zone(str(dtype.tz))
    if zone is None or pd.DatetimeTZDtype(dtype.unit, zone) != dtype:
        raise TypeError(
            f"A column of dtype {dtype} cannot be stored: its time zone has no "
            "name in the IANA data base. Convert it with tz_convert first."
        )
    return _encode_plain(np.asarray(column.tz_convert(None))) | {"zone": str(zone)}


def _decode_zoned(content: Any) -> ExtensionArray:
    name = field(content, "zone", str)
    zone = _zone(name)
    if zone is None:
        raise FormatError(f"The time zone {name[:40]!r} is unknown here.")
    times = _decode_plain(content)
    if times.dtype.kind != "M":
        raise FormatError(f"Columns of dtype {str(times.dtype)[:20]!r} are unknown.")
    return pd.DatetimeIndex(times).tz_localize("UTC").tz_convert(zone).array


def _zone(name: str) -> Any:
    """Return the time zone of this name, or None."""
    if not _ZONES.fullmatch(name):
        return None
    try:
        return pd.DatetimeTZDtype("ns", name).tz
    except (LookupError, OSError, TypeError, ValueError):
        return None


def _encode_zoned_objects(column: NDArray[Any]) -> Content:
    times = pd.Index(column).infer_objects()
    if not isinstance(times.dtype, pd.DatetimeTZDtype):
        raise TypeError(f"Times of several zones cannot be stored. {_STORABLE}")
    return _encode_zoned(times.array)


def _decode_zoned_objects(content: Any) -> NDArray[Any]:
    return np.asarray(_decode_zoned(content), dtype=object)


# Strings


def _encode_strings(strings: Sequence[str] | NDArray[Any]) -> Content:
    # Lone surrogates are not valid UTF-8, but Python's strings may hold them.
    parts = [string.encode("utf-8", "surrogatepass") for string in strings]
    offsets = np.zeros(len(parts) + 1, dtype=np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return {"bytes": _as_bytes(b"".join(parts)), "offsets": offsets}


def _as_bytes(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8)


def _decode_strings(content: Any) -> NDArray[Any]:
    data = _array(content, "bytes", "uint8").tobytes()
    offsets = _array(content, "offsets", "int64")
    tiles = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(data)
    # Differences could overflow.
    if not tiles or (offsets[1:] < offsets[:-1]).any():
        raise FormatError("The offsets of strings do not fit their bytes.")
    return _objects(
        [
            data[begin:end].decode("utf-8", "surrogatepass")
            for begin, end in itertools.pairwise(offsets.tolist())
        ]
    )


def _objects(values: list[Any]) -> NDArray[Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _encode_pandas_strings(column: Any) -> Content:
    dtype = column.dtype
    strings = column.to_numpy(dtype=object, na_value="")
    return _encode_strings(strings) | {
        "storage": "python" if dtype.storage == "python" else "pyarrow",
        "missing": "NA" if dtype.na_value is pd.NA else "nan",
        "mask": np.asarray(column.isna()),
    }


def _decode_pandas_strings(content: Any) -> ExtensionArray:
    strings = _decode_strings(content)
    strings[_mask(content, len(strings))] = None
    storage, missing = (field(content, name, str) for name in ("storage", "missing"))
    if storage not in ("python", "pyarrow") or missing not in ("NA", "nan"):
        raise FormatError("A column of strings is of an unknown type.")
    return pd.array(strings, dtype=_string_dtype(storage, missing))


def _string_dtype(storage: str, missing: str) -> pd.StringDtype:
    keywords = {} if missing == "NA" else {"na_value": np.nan}
    try:
        return pd.StringDtype(storage, **keywords)  # type: ignore
    except ImportError:
        # Without pyarrow the same strings still fit into Python's.
        return pd.StringDtype("python", **keywords)  # type: ignore


# Categories and objects


def _encode_categories(column: Any) -> Content:
    return {
        "ordered": bool(column.ordered),
        "categories": encode_column(column.categories),
        "codes": np.asarray(column.codes),
    }


def _decode_categories(content: Any) -> ExtensionArray:
    categories = field(content, "categories", dict)
    if categories.get("kind") == "categories":
        raise FormatError("Categories of categories are unknown.")
    values = decode_column(categories)
    codes = _array(content, "codes", "int8", "int16", "int32", "int64")
    if codes.min(initial=0) < -1 or codes.max(initial=-1) >= len(values):
        raise FormatError("A column holds categories that it does not name.")
    # With its dtype, or pandas would infer another one for objects.
    index = pd.Index(values, dtype=values.dtype)
    dtype = pd.CategoricalDtype(index, field(content, "ordered", bool))
    return pd.Categorical.from_codes(codes, dtype=dtype)


def _encode_objects(column: NDArray[Any]) -> Content:
    values = [_tagged(value) for value in column.tolist()]
    # Escaped, two lone surrogates in a row would come back as one character.
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return {"json": _as_bytes(text.encode("utf-8", "surrogatepass"))}


def _tagged(value: Any) -> Any:
    if _is_long(value):
        raise TypeError(
            f"A whole number of more than 64 bits cannot be stored. {_STORABLE}"
        )
    if type(value) in _PLAIN:
        return value
    if type(value) is np.str_:
        return {"str": str(value)}
    if isinstance(value, np.generic) and value.dtype.name in _NUMBERS:
        return {value.dtype.name: value.item()}
    raise TypeError(
        f"A column of dtype object that holds {value!r}, a {type(value).__name__}, "
        f"cannot be stored. {_STORABLE}"
    )


def _is_long(value: Any) -> bool:
    return type(value) is int and not -(2**63) <= value < 2**64


def _decode_objects(content: Any) -> NDArray[Any]:
    data = _array(content, "json", "uint8").tobytes()
    values = json.loads(data.decode("utf-8", "surrogatepass"))
    if type(values) is not list:
        raise FormatError("A column of objects must be a list.")
    return _objects([_untagged(value) for value in values])


def _untagged(value: Any) -> Any:
    if _is_long(value):
        # Chosen ones have the same hash, and would make looking up ids endless.
        raise FormatError("A column of objects holds a number of more than 64 bits.")
    if type(value) in _PLAIN:
        return value
    tag, item = next(iter(value.items())) if type(value) is dict and value else ("", 0)
    if tag == "str" and type(item) is str:
        return np.str_(item)
    if tag not in _NUMBERS or type(item) is not _ITEMS[np.dtype(tag).kind]:
        raise FormatError("A column of objects holds values of an unknown type.")
    with np.errstate(over="ignore"):
        return np.dtype(tag).type(item)


_PANDAS_KINDS: dict[str, type[Any]] = {
    "categories": pd.CategoricalDtype,
    "zoned times": pd.DatetimeTZDtype,
    "pandas strings": pd.StringDtype,
}
_KINDS: dict[str, tuple[Callable[[Any], Content], Callable[[Any], Column]]] = {
    "plain": (_encode_plain, _decode_plain),
    "nullable": (_encode_nullable, _decode_nullable),
    "zoned times": (_encode_zoned, _decode_zoned),
    "zoned objects": (_encode_zoned_objects, _decode_zoned_objects),
    "strings": (_encode_strings, _decode_strings),
    "pandas strings": (_encode_pandas_strings, _decode_pandas_strings),
    "categories": (_encode_categories, _decode_categories),
    "objects": (_encode_objects, _decode_objects),
}
