"""Columns that pyarrow backs, as numbers or strings with the name of their type.

pyarrow is optional: it is imported where such a column is met.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk.exceptions import FormatError
from latentsk.persistence._schema import require
from latentsk.persistence._zones import known_zone

_STRINGS = ("string", "large_string")
# By the name of a type, the numbers that it is stored as.
_AS_NUMBERS = {
    "bool": "bool",
    "halffloat": "float16",
    "float": "float32",
    "double": "float64",
    "date32[day]": "int32",
    "date64[ms]": "int64",
    "time32[s]": "int32",
    "time32[ms]": "int32",
    "time64[us]": "int64",
    "time64[ns]": "int64",
} | {f"{s}int{n}": f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)}
_TIMES = re.compile(
    r"(timestamp|duration)\[(s|ms|us|ns)(?:, tz=([A-Za-z0-9_+\-:/]+))?\]"
)


def arrow_name(dtype: pd.ArrowDtype) -> str | None:
    """Return the name of a type of pyarrow; None if its columns cannot be stored.

    Examples
    --------
    >>> arrow_name(pd.Series([1], dtype="int8[pyarrow]").dtype)
    'int8'
    """
    name = str(dtype.pyarrow_dtype)
    is_known = name in _STRINGS or _numbers_of(name) is not None
    return name if is_known and _type_of(name) == dtype.pyarrow_dtype else None


def is_text(name: str) -> bool:
    """Tell whether columns of this type hold strings."""
    return name in _STRINGS


def arrow_numbers(column: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the values of a column as numbers, and where it has none."""
    import pyarrow as pa

    name = str(column.dtype.pyarrow_dtype)
    array = pa.chunked_array([pa.array(column)]).combine_chunks()
    missing = np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    dtype = _numbers_of(name)
    assert dtype is not None
    if name not in ("bool", "halffloat", "float", "double") and dtype != name:
        array = array.cast(dtype)
    if array.null_count:
        array = array.fill_null(False if name == "bool" else 0)
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=dtype), missing


def from_arrow_numbers(name: str, values: Any, missing: Any) -> Any:
    """Return the column that :func:`arrow_numbers` was given."""
    dtype = _numbers_of(name)
    require(dtype is not None and values.dtype.name == dtype, "an unknown type")
    kind = _type_of(name)
    import pyarrow as pa

    array = pa.array(np.asarray(values), mask=np.asarray(missing))
    if name.startswith("time32"):  # whose range is checked nowhere else
        limit = 86_400 * (1_000 if name.endswith("[ms]") else 1)
        fits = bool(((values >= 0) & (values < limit)).all())
        require(fits, "a time is beyond a day")
    return pd.array(array.cast(kind), dtype=pd.ArrowDtype(kind))


def from_arrow_strings(name: str, strings: list[Any]) -> Any:
    """Return the column of strings, None where there is none."""
    require(name in _STRINGS, "strings are of an unknown type")
    kind = _type_of(name)
    import pyarrow as pa

    return pd.array(pa.array(strings, type=kind), dtype=pd.ArrowDtype(kind))


def _numbers_of(name: str) -> str | None:
    return _AS_NUMBERS.get(name, "int64" if _TIMES.fullmatch(name) else None)


def _type_of(name: str) -> Any:
    """Return the type of pyarrow of this name."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise FormatError(
            "The file holds columns of pyarrow, which is not installed here: pip "
            "install pyarrow."
        ) from error
    if times := _TIMES.fullmatch(name):
        kind, unit, zone = times.groups()
        if kind == "duration":
            return pa.duration(unit)
        known = zone is None or known_zone(zone) is not None
        require(known, "a time zone is unknown")
        return pa.timestamp(unit, zone)
    simple = {
        "bool": pa.bool_(),
        "halffloat": pa.float16(),
        "float": pa.float32(),
        "double": pa.float64(),
        "date32[day]": pa.date32(),
        "date64[ms]": pa.date64(),
    }
    if name in simple:
        return simple[name]
    if name.startswith("time"):
        make = pa.time32 if name.startswith("time32") else pa.time64
        return make(name[7:-1])
    return pa.type_for_alias(name)
