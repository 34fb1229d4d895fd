"""Cells of object columns as JSON-able values, and back, with their types.

A string, a float, a boolean, None and an integer of 64 bits stand for themselves.
Others are tagged: a dict of one entry, whose key names the type.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd

from latentsk.exceptions import FormatError
from latentsk.persistence._schema import require
from latentsk.persistence._zones import known_zone

SIZES = (8, 16, 32, 64)
NUMBERS = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{sign}int{size}" for sign in ("", "u") for size in SIZES]
)
STORABLE = (
    "What can be stored: booleans, integers, floats, strings, dates, durations, "
    "pandas' nullable and categorical types, those of pyarrow for these, and object "
    "columns of str, int, float, bool, None, UUID, date, datetime, Decimal, bytes, and "
    "tuples, lists and dicts of these. Convert it, with astype(str) say, or leave it "
    "out."
)
# Types that stand for themselves.
PLAIN = frozenset([str, int, float, bool, type(None)])
# How deep tuples, lists and dicts may lie in each other.
MAX_DEPTH = 8
MAX_DIGITS = 100
# Different values of one hash that a column may hold: a table of ids that somebody has
# chosen to collide would take endlessly.
MAX_COLLISIONS = 100
_ITEMS = {"b": bool, "i": int, "u": int, "f": float}
_UNITS = ("s", "ms", "us", "ns")


def tagged(value: Any, depth: int = 0) -> Any:
    """Return a cell as a JSON-able value.

    Raises
    ------
    TypeError
        If values of its type cannot be stored exactly.

    Examples
    --------
    >>> tagged(("a", 1)), tagged(np.int8(3)), tagged(None)
    ({'tuple': ['a', 1]}, {'int8': 3}, None)
    """
    if _is_long(value):
        raise TypeError(
            f"A whole number of more than 64 bits cannot be stored. {STORABLE}"
        )
    kind = type(value)
    if kind in PLAIN:
        return value
    if value is pd.NA or value is pd.NaT:
        return {"missing": "NA" if value is pd.NA else "NaT"}
    if kind is np.str_:  # whose str() loses characters zero at the end
        return {"str": value[:]}
    if isinstance(value, np.generic) and value.dtype.name in NUMBERS:
        return {value.dtype.name: value.item()}
    if kind in _TAGS and depth < MAX_DEPTH:
        tag, encode = _TAGS[kind]
        content = encode(value, depth + 1)
        if content is not None:
            return {tag: content}
    raise TypeError(
        f"A column of dtype object that holds {value!r:.100}, a {kind.__name__}, "
        f"cannot be stored. {STORABLE}"
    )


def untagged(value: Any, depth: int = 0) -> Any:
    """Return the cell that :func:`tagged` was given.

    Raises
    ------
    FormatError, ValueError, TypeError, ArithmeticError
        If it was given none.

    Examples
    --------
    >>> untagged({"tuple": ["a", {"int8": 3}]})
    ('a', np.int8(3))
    """
    # Chosen ones have the same hash, and would make looking up ids endless.
    require(not _is_long(value), "a column holds a number of more than 64 bits")
    if type(value) in PLAIN:
        return value
    require(depth <= MAX_DEPTH, "a column of objects is nested too deeply")
    ((tag, item),) = value.items()
    if tag in _CONTAINERS:
        return _CONTAINERS[tag](item, depth + 1)
    if tag in _VALUES:
        require(type(item) is str, "a cell is no string")
        found = _VALUES[tag](item)
        require(tagged(found) == value, "a cell is not as it would be stored")
        return found
    known = tag in NUMBERS and type(item) is _ITEMS[np.dtype(tag).kind]
    require(known, "a column of objects holds a value of an unknown type")
    with np.errstate(over="ignore"):
        return np.dtype(tag).type(item)


def require_spread(values: Iterable[Any]) -> None:
    """Refuse values of which many different ones have the same hash.

    Python hashes UUIDs, decimals and tuples without a secret, so that a file could hold
    chosen ones; strings are hashed with one.

    Raises
    ------
    FormatError
    """
    hashed = [v for v in values if isinstance(v, UUID | Decimal | tuple)]
    texts: dict[int, set[str]] = {}
    counts = Counter(_hashes(hashed))
    for value, key in zip(hashed, _hashes(hashed), strict=True):
        if counts[key] > MAX_COLLISIONS:
            texts.setdefault(key, set()).add(repr(value))
    fits = all(len(different) <= MAX_COLLISIONS for different in texts.values())
    require(fits, "many values of a column have the same hash")


def _hashes(values: list[Any]) -> list[int]:
    found = []
    for value in values:
        try:
            # Counter hashes integers as themselves, modulo 2**61 - 1.
            found.append(hash(value))
        except TypeError:  # a tuple that holds a list is no key of anything
            found.append(0)
    return found


def _is_long(value: Any) -> bool:
    return type(value) is int and not -(2**63) <= value < 2**64


# Each returns the content of a tag, or None where the value cannot be stored


def _of_time(value: Any, depth: int) -> str | None:
    """Return an ISO string of a time without a zone, or in UTC."""
    if value.tzinfo is not None and value.tzinfo is not datetime.UTC:
        return None
    return None if value.fold else value.isoformat()


def _of_timestamp(value: pd.Timestamp, depth: int) -> str | None:
    zone = "" if value.tz is None else str(value.tz)
    text = f"{value.asm8.view(np.int64)} {value.unit} {zone}"
    try:
        return text if _timestamp(text) == value and not value.fold else None
    except (ValueError, TypeError, OverflowError, FormatError):
        return None


def _timestamp(text: str) -> pd.Timestamp:
    number, unit, zone = text.split(" ", 2)
    require(unit in _UNITS and len(number) <= 20, "a time has an unknown unit")
    time = pd.Timestamp(np.datetime64(int(number), unit))  # type: ignore[call-overload]
    if not zone:
        return time
    known = known_zone(zone)
    require(known is not None, "a time zone is unknown")
    return time.tz_localize("UTC").tz_convert(known)


def _of_decimal(value: Decimal, depth: int) -> str | None:
    text = str(value)
    is_short = value.is_finite() and len(text) <= MAX_DIGITS
    # The hash of one with a large exponent takes long.
    return text if is_short and abs(value.adjusted()) <= MAX_DIGITS else None


def _decimal(text: str) -> Decimal:
    require(len(text) <= MAX_DIGITS, "a decimal number is too long")
    return Decimal(text)


def _of_many(value: Any, depth: int) -> list[Any]:
    return [tagged(item, depth) for item in value]


def _of_dict(value: dict[Any, Any], depth: int) -> list[Any] | None:
    if not all(type(key) is str for key in value):
        return None
    return [[key, tagged(item, depth)] for key, item in value.items()]


def _list(items: Any, depth: int) -> list[Any]:
    require(type(items) is list, "a list is something else")
    return [untagged(item, depth) for item in items]


def _tuple(items: Any, depth: int) -> tuple[Any, ...]:
    return tuple(_list(items, depth))


def _dict(items: Any, depth: int) -> dict[str, Any]:
    require(type(items) is list, "a dict is something else")
    found = {key: untagged(item, depth) for key, item in items}
    is_dict = len(found) == len(items) and all(type(key) is str for key in found)
    require(is_dict, "a dict has other keys than strings, or one twice")
    return found


_TAGS: dict[type, tuple[str, Callable[[Any, int], Any]]] = {
    UUID: ("uuid", lambda value, _: value.hex),
    datetime.date: ("date", lambda value, _: value.isoformat()),
    datetime.datetime: ("time", _of_time),
    pd.Timestamp: ("timestamp", _of_timestamp),
    Decimal: ("decimal", _of_decimal),
    bytes: ("bytes", lambda value, _: value.hex()),
    tuple: ("tuple", _of_many),
    list: ("list", _of_many),
    dict: ("dict", _of_dict),
}
_MISSING = {"NA": pd.NA, "NaT": pd.NaT}
_VALUES: dict[str, Callable[[str], Any]] = {
    "str": np.str_,
    "uuid": lambda text: UUID(hex=text),
    "date": datetime.date.fromisoformat,
    "time": datetime.datetime.fromisoformat,
    "timestamp": _timestamp,
    "decimal": _decimal,
    "bytes": bytes.fromhex,
    "missing": _MISSING.__getitem__,
}
_CONTAINERS: dict[str, Callable[[Any, int], Any]] = {
    "tuple": _tuple,
    "list": _list,
    "dict": _dict,
}
