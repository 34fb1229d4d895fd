"""Columns and tables as JSON and plain arrays, and back, exactly and without pickle.

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

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Column: TypeAlias = NDArray[Any] | ExtensionArray
Encoded: TypeAlias = tuple[dict[str, Any], dict[str, NDArray[Any]]]

_STORABLE = (
    "What can be stored: booleans, integers, floats, texts, dates, durations, pandas' "
    "nullable and categorical types, and object columns of str, int, float, bool and "
    "None. Convert it, with astype(str) say, or leave it out."
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
# Under names that begin with "dateutil", pandas would open files.
_ZONES = re.compile(r"(?!dateutil)[A-Za-z][A-Za-z0-9_+\-:/]*")
_PLAIN = frozenset([str, int, float, bool, type(None)])
_ITEMS = {"b": bool, "i": int, "u": int, "f": float}
_LAST_CODE_POINT = 0x10FFFF


def encode_column(values: Column | pd.Series | pd.Index) -> Encoded:
    """Return a column as a JSON-able document and boolean or numeric arrays.

    Parameters
    ----------
    values : ndarray, pandas array, Series or Index of shape (n_rows,)
        The name and the index of a series, and the frequency of dates, are not kept.

    Returns
    -------
    document : dict
    arrays : dict of str to ndarray
        They may share memory with `values`.

    Raises
    ------
    TypeError
        If values of this type cannot be stored exactly.

    ValueError
        If `values` is not one-dimensional.

    Examples
    --------
    >>> document, arrays = encode_column(np.array(["x", "yz"], dtype=object))
    >>> document, arrays["offsets"]
    ({'kind': 'texts'}, array([0, 1, 3]))
    >>> decode_column(document, arrays)
    array(['x', 'yz'], dtype=object)
    """
    column = _as_column(values)
    kind = _kind_of(column.dtype)
    if kind is None:
        raise TypeError(
            f"A column of dtype {column.dtype} cannot be stored. {_STORABLE}"
        )
    document, arrays = _ENCODERS[kind](column)
    return {"kind": kind} | document, arrays


def decode_column(document: Mapping[str, Any], arrays: Arrays) -> Column:
    """Return the column that :func:`encode_column` was given.

    Parameters
    ----------
    document : dict
    arrays : dict of str to ndarray

    Returns
    -------
    values : ndarray or pandas array of shape (n_rows,)
        A pandas array for types that numpy does not have. It may share memory with
        `arrays`, and is read-only if they are.

    Raises
    ------
    FormatError
        If these are not what `encode_column` returns.

    Examples
    --------
    >>> decode_column(*encode_column(pd.array([1, None], dtype="Int8")))
    <IntegerArray>
    [1, <NA>]
    Length: 2, dtype: Int8
    """
    with _format_errors("column"):
        kind = _field(document, "kind", str)
        if kind not in _DECODERS:
            raise FormatError(f"Columns of the kind {kind[:20]!r} are unknown.")
        return _DECODERS[kind](document, arrays)


def encode_frame(frame: pd.DataFrame) -> Encoded:
    """Return a table as a JSON-able document and boolean or numeric arrays.

    Parameters
    ----------
    frame : DataFrame
        Its columns are named by str or int, not necessarily by different ones. The
        index is kept too, but for the frequency of dates; `attrs` are not.

    Returns
    -------
    document : dict
    arrays : dict of str to ndarray

    Raises
    ------
    TypeError
        If the values or the name of a column, or the index, cannot be stored exactly.

    Examples
    --------
    >>> frame = pd.DataFrame({"n": [1, 2], "name": ["x", "y"]}, index=[7, 5])
    >>> document, arrays = encode_frame(frame)
    >>> sorted(arrays)[:3]
    ['0.values', '1.bytes', '1.mask']
    >>> decode_frame(document, arrays)
       n name
    7  1    x
    5  2    y
    """
    _check_labels(frame.columns)
    encoded = {
        str(i): _naming(f"Column {label!r}", encode_column, frame.iloc[:, i])
        for i, label in enumerate(frame.columns)
    }
    columns = _naming("The names of columns", _encode_index, frame.columns)
    index = _naming("The index", _encode_index, frame.index)
    document = {
        "length": len(frame),
        "values": [column for column, _ in encoded.values()],
        "columns": columns[0],
        "index": index[0],
    }
    parts = encoded | {"columns": columns, "index": index}
    return document, _joined({name: arrays for name, (_, arrays) in parts.items()})


def decode_frame(document: Mapping[str, Any], arrays: Arrays) -> pd.DataFrame:
    """Return the table that :func:`encode_frame` was given.

    Parameters
    ----------
    document : dict
    arrays : dict of str to ndarray

    Returns
    -------
    frame : DataFrame

    Raises
    ------
    FormatError
        If these are not what `encode_frame` returns.

    Examples
    --------
    >>> decode_frame(*encode_frame(pd.DataFrame({"a": [True]}, index=["x"])))
          a
    x  True
    """
    with _format_errors("table"):
        columns = _field(document, "values", list)
        parts = _grouped(arrays)
        index = _decode_index(document, "index", _field(document, "length", int), parts)
        names = _decode_index(document, "columns", len(columns), parts)
        _check_labels(names)
        series = {
            i: _series(decode_column(column, parts.get(str(i), {})), index)
            for i, column in enumerate(columns)
        }
        frame = pd.DataFrame(series, index=index)
        frame.columns = names
        return frame


@contextlib.contextmanager
def _format_errors(what: str) -> Iterator[None]:
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


def _field(document: Any, name: str, kind: type) -> Any:
    value = document.get(name) if isinstance(document, dict) else None
    if type(value) is not kind:
        raise FormatError(f"{name!r} of a column is no {kind.__name__}.")
    return value


def _array(arrays: Arrays, name: str, *dtypes: str) -> NDArray[Any]:
    array = np.asarray(arrays.get(name))
    if array.ndim != 1 or array.dtype.name not in dtypes:
        kinds = " or ".join(dtypes)
        raise FormatError(f"{name!r} of a column is no array of {kinds} in a row.")
    return array


def _joined(parts: Mapping[str, Arrays]) -> dict[str, NDArray[Any]]:
    return {
        f"{prefix}.{name}": array
        for prefix, arrays in parts.items()
        for name, array in arrays.items()
    }


def _grouped(arrays: Arrays) -> dict[str, dict[str, NDArray[Any]]]:
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        prefix, _, rest = name.partition(".")
        parts.setdefault(prefix, {})[rest] = array
    return parts


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


def _kind_of(dtype: Any) -> str | None:
    for kind, dtypes in _PANDAS_KINDS.items():
        if isinstance(dtype, dtypes):
            return kind
    if not isinstance(dtype, np.dtype):
        return "nullable" if str(dtype) in _NULLABLE else None
    if _TIMES.fullmatch(dtype.name):
        return "times"
    if dtype.name in _NUMBERS:
        return "numbers"
    return {"U": "characters", "O": "objects"}.get(dtype.kind)


def _encode_numbers(column: NDArray[Any]) -> Encoded:
    return {}, {"values": column}


def _decode_numbers(document: Any, arrays: Arrays) -> NDArray[Any]:
    return _array(arrays, "values", *sorted(_NUMBERS))


def _encode_times(column: NDArray[Any]) -> Encoded:
    return {"dtype": column.dtype.name}, {"values": column.view(np.int64)}


def _decode_times(document: Any, arrays: Arrays) -> NDArray[Any]:
    dtype = _field(document, "dtype", str)
    if not _TIMES.fullmatch(dtype):
        raise FormatError(f"Columns of dtype {dtype[:20]!r} are unknown.")
    return _array(arrays, "values", "int64").view(dtype)


def _encode_zoned(column: Any) -> Encoded:
    dtype = column.dtype
    zone = _zone(str(dtype.tz))
    if zone is None or pd.DatetimeTZDtype(dtype.unit, zone) != dtype:
        raise TypeError(
            f"A column of dtype {dtype} cannot be stored: its time zone has no "
            "name in the IANA data base. Convert it with tz_convert first."
        )
    document, arrays = _encode_times(np.asarray(column.tz_convert(None)))
    return document | {"zone": str(zone)}, arrays


def _zone(name: str) -> Any:
    """Return the time zone of this name, or None."""
    if not _ZONES.fullmatch(name):
        return None
    try:
        return pd.DatetimeTZDtype("ns", name).tz
    except (LookupError, OSError, TypeError, ValueError):
        return None


def _decode_zoned(document: Any, arrays: Arrays) -> ExtensionArray:
    name = _field(document, "zone", str)
    zone = _zone(name)
    if zone is None:
        raise FormatError(f"The time zone {name[:40]!r} is unknown here.")
    utc = pd.DatetimeIndex(_decode_times(document, arrays)).tz_localize("UTC")
    return utc.tz_convert(zone).array


def _encode_texts(texts: Sequence[str] | NDArray[Any]) -> Encoded:
    # Lone surrogates are no UTF-8, but Python's texts may hold them.
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    offsets = np.zeros(len(parts) + 1, dtype=np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    content = _as_bytes(b"".join(parts))
    return {"kind": "texts"}, {"bytes": content, "offsets": offsets}


def _as_bytes(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8)


def _decode_texts(document: Any, arrays: Arrays) -> NDArray[Any]:
    content = _array(arrays, "bytes", "uint8").tobytes()
    offsets = _array(arrays, "offsets", "int64")
    tiles = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(content)
    # Differences could overflow.
    if not tiles or (offsets[1:] < offsets[:-1]).any():
        raise FormatError("The offsets of texts do not fit their bytes.")
    ends = offsets.tolist()
    return _objects(
        [
            content[begin:end].decode("utf-8", "surrogatepass")
            for begin, end in itertools.pairwise(ends)
        ]
    )


def _objects(values: list[Any]) -> NDArray[Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _encode_strings(column: Any) -> Encoded:
    dtype = column.dtype
    document = {
        "storage": "python" if dtype.storage == "python" else "pyarrow",
        "missing": "NA" if dtype.na_value is pd.NA else "nan",
    }
    _, arrays = _encode_texts(column.to_numpy(dtype=object, na_value=""))
    return document, arrays | {"mask": np.asarray(column.isna())}


def _decode_strings(document: Any, arrays: Arrays) -> ExtensionArray:
    texts = _decode_texts(document, arrays)
    texts[_mask(arrays, len(texts))] = None
    storage, missing = (_field(document, name, str) for name in ("storage", "missing"))
    if storage not in ("python", "pyarrow") or missing not in ("NA", "nan"):
        raise FormatError("A column of strings is of an unknown type.")
    return pd.array(texts, dtype=_string_dtype(storage, missing))


def _mask(arrays: Arrays, length: int) -> NDArray[np.bool_]:
    mask = _array(arrays, "mask", "bool")
    if len(mask) != length:
        raise FormatError(f"{len(mask)} values of {length} are said to be missing.")
    return mask


def _string_dtype(storage: str, missing: str) -> pd.StringDtype:
    keywords = {} if missing == "NA" else {"na_value": np.nan}
    try:
        return pd.StringDtype(storage, **keywords)  # type: ignore
    except ImportError:
        # Without pyarrow the same texts still fit into Python's.
        return pd.StringDtype("python", **keywords)  # type: ignore


def _encode_characters(column: NDArray[Any]) -> Encoded:
    characters = np.ascontiguousarray(column).view(np.uint32)
    return {"width": column.itemsize // 4}, {"characters": characters}


def _decode_characters(document: Any, arrays: Arrays) -> NDArray[Any]:
    # Not as UTF-8: a long text among short ones could claim any amount of memory.
    width = _field(document, "width", int)
    characters = _array(arrays, "characters", "uint32")
    if width < 1 or len(characters) % width:
        raise FormatError(f"{len(characters)} characters are no texts of {width}.")
    if characters.max(initial=0) > _LAST_CODE_POINT:
        raise FormatError("A text holds what is no character.")
    return np.ascontiguousarray(characters).view(f"=U{width}")


def _encode_nullable(column: Any) -> Encoded:
    values = column.to_numpy(dtype=column.dtype.numpy_dtype, na_value=0)
    return {"dtype": str(column.dtype)}, {"values": values, "mask": column.isna()}


def _decode_nullable(document: Any, arrays: Arrays) -> ExtensionArray:
    dtype = _field(document, "dtype", str)
    if dtype not in _NULLABLE:
        raise FormatError(f"Columns of dtype {dtype[:20]!r} are unknown.")
    numbers = "bool" if dtype == "boolean" else dtype.lower()
    values = _array(arrays, "values", numbers)
    return _NULLABLE[dtype](values, _mask(arrays, len(values)))


def _encode_categories(column: Any) -> Encoded:
    categories, arrays = encode_column(column.categories)
    document = {"ordered": bool(column.ordered), "categories": categories}
    parts = {"categories": arrays}
    return document, {"codes": np.asarray(column.codes)} | _joined(parts)


def _decode_categories(document: Any, arrays: Arrays) -> ExtensionArray:
    of_categories = _field(document, "categories", dict)
    if of_categories.get("kind") == "categories":
        raise FormatError("Categories of categories are unknown.")
    values = decode_column(of_categories, _grouped(arrays).get("categories", {}))
    codes = _array(arrays, "codes", "int8", "int16", "int32", "int64")
    if codes.min(initial=0) < -1 or codes.max(initial=-1) >= len(values):
        raise FormatError("A column holds categories that it does not name.")
    dtype = pd.CategoricalDtype(_as_index(values), _field(document, "ordered", bool))
    return pd.Categorical.from_codes(codes, dtype=dtype)


def _encode_objects(column: NDArray[Any]) -> Encoded:
    types = set(map(type, column))
    if types <= {str}:
        return _encode_texts(column)
    values = column.tolist()
    if not types <= _PLAIN:
        values = [_tagged(value) for value in values]
    if int in types and any(_is_long(value) for value in values):
        raise TypeError(
            f"A whole number of more than 64 bits cannot be stored. {_STORABLE}"
        )
    # Escaped, two lone surrogates in a row would come back as one character.
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return {}, {"json": _as_bytes(text.encode("utf-8", "surrogatepass"))}


def _tagged(value: Any) -> Any:
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


def _decode_objects(document: Any, arrays: Arrays) -> NDArray[Any]:
    content = _array(arrays, "json", "uint8").tobytes()
    values = json.loads(content.decode("utf-8", "surrogatepass"))
    if type(values) is not list:
        raise FormatError("A column of objects is no list.")
    types = set(map(type, values))
    if int in types and any(_is_long(value) for value in values):
        # Chosen ones have the same hash, and would make looking up ids endless.
        raise FormatError("A column of objects holds a number of more than 64 bits.")
    if not types <= _PLAIN:
        values = [_untagged(value) for value in values]
    return _objects(values)


def _is_long(value: Any) -> bool:
    return type(value) is int and not -(2**63) <= value < 2**64


def _untagged(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    tag, item = next(iter(value.items())) if type(value) is dict and value else ("", 0)
    if tag == "str" and type(item) is str:
        return np.str_(item)
    if tag not in _NUMBERS or type(item) is not _ITEMS[np.dtype(tag).kind]:
        raise FormatError("A column of objects holds others than can be stored.")
    with np.errstate(over="ignore"):
        return np.dtype(tag).type(item)


def _check_labels(labels: pd.Index) -> None:
    for label in labels:
        if not isinstance(label, str | int) or isinstance(label, bool):
            raise TypeError(
                f"Columns must be named by str or int, got {label!r}: rename them, as "
                "with columns.astype(str)."
            )


def _naming(what: str, encode: Callable[[Any], Encoded], values: Any) -> Encoded:
    try:
        return encode(values)
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from error


def _encode_index(index: pd.Index) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Encode the labels of rows or columns; None stands for their numbers."""
    name = index.name
    # Two lone surrogates in a row would come back as one character.
    if type(name) not in (str, int, type(None)) or json.loads(json.dumps(name)) != name:
        raise TypeError(f"The name {name!r} cannot be stored; a str or an int can.")
    if not isinstance(index, pd.RangeIndex):
        document, arrays = encode_column(index)
        return document | {"name": name}, arrays
    if (index.start, index.step, name) == (0, 1, None) and index.stop == len(index):
        return None, {}
    limits = {"start": index.start, "stop": index.stop, "step": index.step}
    return {"kind": "range", "name": name} | limits, {}


def _decode_index(document: Any, which: str, length: int, parts: Any) -> pd.Index:
    labels = document[which]
    if labels is None:
        index: pd.Index = pd.RangeIndex(length)
    elif _field(labels, "kind", str) == "range":
        limits = [_field(labels, name, int) for name in ("start", "stop", "step")]
        # pandas itself would take larger numbers, and fail later.
        index = pd.RangeIndex(*np.array(limits, dtype=np.int64).tolist())
    else:
        index = _as_index(decode_column(labels, parts.get(which, {})))
    if len(index) != length:
        raise FormatError(
            f"A table has {length} rows or columns, but {len(index)} labels."
        )
    return index if labels is None else index.rename(_index_name(labels))


def _index_name(labels: Mapping[str, Any]) -> str | int | None:
    name = labels.get("name")
    if type(name) not in (str, int, type(None)):
        raise FormatError("The name of an index is neither a str nor an int.")
    return name


def _as_index(values: Column) -> pd.Index:
    # With its dtype, or pandas would infer another one for objects.
    return pd.Index(values, dtype=values.dtype)


def _series(values: Column, index: pd.Index) -> pd.Series:
    if len(values) != len(index):
        raise FormatError(f"A column has {len(values)} values for {len(index)} rows.")
    return pd.Series(values, index=index, dtype=values.dtype)


_PANDAS_KINDS: dict[str, type[Any]] = {
    "categories": pd.CategoricalDtype,
    "zoned times": pd.DatetimeTZDtype,
    "strings": pd.StringDtype,
}
_ENCODERS: dict[str, Callable[[Any], Encoded]] = {
    "numbers": _encode_numbers,
    "times": _encode_times,
    "zoned times": _encode_zoned,
    "strings": _encode_strings,
    "characters": _encode_characters,
    "nullable": _encode_nullable,
    "categories": _encode_categories,
    "objects": _encode_objects,
}
_DECODERS: dict[str, Callable[[Any, Arrays], Column]] = {
    "numbers": _decode_numbers,
    "times": _decode_times,
    "zoned times": _decode_zoned,
    "texts": _decode_texts,
    "strings": _decode_strings,
    "characters": _decode_characters,
    "nullable": _decode_nullable,
    "categories": _decode_categories,
    "objects": _decode_objects,
}
