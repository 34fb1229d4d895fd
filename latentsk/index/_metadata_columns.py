"""Values of further rows in the dtype of their column, so that filters go on working.

Joined as they come, a string among dates would make a column of objects, in which no
date is found any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk.index._query_values import (
    MISSING,
    Values,
    as_comparable,
    column_values,
)

_REMEDIES = {
    "numbers": "Give numbers that {dtype} holds; None stands for a missing one. "
    "pd.to_numeric(metadata[{name!r}], errors='coerce') makes numbers of strings.",
    "booleans": "Give True, False or None, as by metadata[{name!r}].map({{'yes': True, "
    "'no': False}}).",
    "strings": "metadata[{name!r}].astype(str) makes strings.",
    "dates": "Give dates, or ISO strings{zone}, such as '2024-05-31 12:30'; None "
    "stands for a missing one.",
    "durations": "Give durations, pd.to_timedelta(metadata[{name!r}]), or strings such "
    "as '2 days' or '90 min'.",
    "ordered categories": "Put it into their order, metadata[{name!r}].astype("
    "pd.CategoricalDtype([...], ordered=True)), with all categories that there are.",
}


def in_one_dtype(own: pd.Series, given: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return a column and values of further rows in one dtype, which holds both.

    It is that of the column wherever it holds the values exactly. Else it is one that
    holds more of the same kind: floats for whole numbers, a category more.

    Parameters
    ----------
    own : Series
        Named, for messages.

    given : Series

    Raises
    ------
    ValueError
        If the values are of another kind than those of the column.

    Examples
    --------
    >>> listed = pd.Series(pd.to_datetime(["2026-01-01"]), name="listed")
    >>> in_one_dtype(listed, pd.Series(["2026-05-05"]))[1].item()
    Timestamp('2026-05-05 00:00:00')
    >>> in_one_dtype(listed, pd.Series(["soon"]))
    Traceback (most recent call last):
    ...
    ValueError: metadata column 'listed' holds dates (datetime64[...]), got 'soon'. Give
    dates, or ISO strings without a time zone, such as '2024-05-31 12:30'; None stands
    for a missing one.
    """
    if (values := as_dtype(given, own.dtype)) is not None:
        return own, values
    for dtype in _wider_dtypes(own, given):
        both = as_dtype(own, dtype), as_dtype(given, dtype)
        if both[0] is not None and both[1] is not None:
            return both[0], both[1]
    raise ValueError(_refusal(own, given))


def as_dtype(given: pd.Series, dtype: Any) -> pd.Series | None:
    """Return values in a dtype, or None where it does not hold them exactly.

    Strings in the form of dates and durations become these, and no others.

    Examples
    --------
    >>> as_dtype(pd.Series([1.0, 2.0]), "int64").tolist()
    [1, 2]
    >>> as_dtype(pd.Series(["1", "2"]), "int64")
    """
    dtype = pd.api.types.pandas_dtype(dtype)
    if given.dtype == dtype or (isinstance(dtype, np.dtype) and dtype.kind == "O"):
        return given.astype(dtype)
    if isinstance(given.dtype, pd.CategoricalDtype):
        given = given.astype(given.dtype.categories.dtype)
    if isinstance(dtype, pd.CategoricalDtype):
        return _as_categories(given, dtype)
    own, values = _kind_of_dtype(dtype), column_values("", given)
    try:
        if values.missing.all():
            return _made([], values.missing, dtype)
        if own.kind in ("dates", "durations"):
            return _as_times(values, own, dtype)
        return _as_plain(values, own, dtype)
    except (TypeError, ValueError, OverflowError, NotImplementedError):
        return None


def _kind_of_dtype(dtype: Any) -> Values:
    return column_values("", pd.Series([], dtype=dtype))


def _as_categories(given: pd.Series, dtype: pd.CategoricalDtype) -> pd.Series | None:
    values = as_dtype(given, dtype.categories.dtype)
    if values is None or not values.dropna().isin(dtype.categories).all():
        return None
    return values.astype(dtype)


def _as_plain(values: Values, own: Values, dtype: Any) -> pd.Series | None:
    """Return numbers, strings and what else there is in a dtype of their kind."""
    present = values.array[~values.missing].tolist()
    if own.kind == MISSING:  # nobody knows which kind it is; the constructor does
        return _made(present, values.missing, dtype)
    if own.kind != values.kind or own.is_boolean() != values.is_boolean():
        return None
    if own.kind != "numbers":
        return _made(present, values.missing, dtype)
    if not own.is_boolean() and bool in set(map(type, present)):
        return None
    narrow = getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype))
    with np.errstate(all="ignore"):
        cast = np.array(present, dtype=object).astype(narrow).tolist()
    # By Python, which compares whole numbers and floats exactly.
    if not all(a == b for a, b in zip(present, cast, strict=True)):
        return None
    return _made(cast, values.missing, dtype)


def _made(
    present: list[Any], missing: NDArray[np.bool_], dtype: Any
) -> pd.Series | None:
    """Return a column of values, and of missing ones between them."""
    if missing.any() and isinstance(dtype, np.dtype) and dtype.kind in "iub":
        return None
    cells = np.full(len(missing), None, dtype=object)
    for place, value in zip(np.flatnonzero(~missing), present, strict=True):
        cells[place] = value  # one by one: a list is a value, too
    return pd.Series(cells, dtype=dtype)


def _as_times(values: Values, own: Values, dtype: Any) -> pd.Series | None:
    """Return dates or durations in a dtype; of strings, those in their form."""
    zone = _zone_of(dtype)
    as_index: Any = pd.TimedeltaIndex
    if own.kind == "dates":
        as_index, own = (
            pd.DatetimeIndex,
            own._replace(array=pd.DatetimeIndex([], tz=zone)),
        )
    times = values.array
    if not isinstance(times, as_index):
        cells = zip(times, values.missing, strict=True)
        times = as_index(
            [None if gone else _as_time(own, cell) for cell, gone in cells]
        )
    made = pd.Series(_in_zone(times, zone)).astype(dtype)
    kept = _in_zone(as_index(made), zone)
    is_same = (kept == _in_zone(times, zone)) | values.missing
    return made if is_same.all() else None


def _as_time(own: Values, value: Any) -> Any:
    """Return a date or a duration, from a string too.

    Raises
    ------
    TypeError, ValueError
        If it is none.
    """
    time = as_comparable(own, value)  # as in a filter
    if own.kind == "dates":
        return _in_zone(pd.Timestamp(time), own.array.tz)
    if isinstance(value, str) and not re.search("[A-Za-z:]", value):
        raise ValueError("a number without a unit")
    return pd.Timedelta(time)


def _in_zone(dates: Any, zone: Any) -> Any:
    """Return dates in a time zone, in which those without one are."""
    own = getattr(dates, "tz", None)  # durations have none
    if zone is None and own is not None:
        raise ValueError("dates with a time zone, in a column without")
    if zone is None:
        return dates
    return dates.tz_localize(zone) if own is None else dates.tz_convert(zone)


def _zone_of(dtype: Any) -> Any:
    return getattr(getattr(dtype, "pyarrow_dtype", dtype), "tz", None)


# What holds more


def _wider_dtypes(own: pd.Series, given: pd.Series) -> Iterator[Any]:
    """Yield dtypes that may hold a column and further values of its kind."""
    dtype: Any = own.dtype
    if len(own) and dtype.kind == "f" and own.isna().all():
        yield given.dtype  # nothing is known of it yet
    if isinstance(dtype, pd.CategoricalDtype):
        yield from _more_categories(dtype, given)
        return
    mine, values = _kind_of_dtype(dtype), column_values("", given)
    has_gaps = bool(values.missing.any())
    if mine.kind in ("dates", "durations"):
        unit = getattr(values.array, "unit", None)
        if unit is not None and mine.kind == "durations":
            yield np.dtype(f"timedelta64[{unit}]")
        elif unit is not None:
            zone = _zone_of(dtype)
            yield pd.DatetimeTZDtype(unit, zone) if zone else f"datetime64[{unit}]"
    elif mine.is_boolean() and mine.kind == "numbers":
        yield pd.BooleanDtype()  # pandas' own would hold anything
    elif mine.kind == "numbers":
        present = values.array[~values.missing].tolist()
        other = np.array(present).dtype if present else np.dtype(float)
        if other.kind in "iuf":
            joined = [pd.Series([0], dtype=dtype), pd.Series([0], dtype=other)]
            common = pd.concat(joined).dtype
            yield np.dtype(float) if has_gaps and common.kind in "iu" else common
        # Where floats would round whole numbers.
        yield pd.Series([0], dtype=dtype).convert_dtypes().dtype


def _more_categories(
    dtype: pd.CategoricalDtype, given: pd.Series
) -> Iterator[pd.CategoricalDtype]:
    own: pd.Index = dtype.categories
    other: Any = given.dtype
    if dtype.ordered:
        is_ordered = isinstance(other, pd.CategoricalDtype) and other.ordered
        if is_ordered and other.categories[other.categories.isin(own)].equals(own):
            yield other
        return
    if isinstance(other, pd.CategoricalDtype):
        given = given.astype(other.categories.dtype)
    values = as_dtype(given.dropna(), own.dtype)
    if values is None:
        return
    kinds = {column_values("", pd.Series(each)).kind for each in (own, values)}
    if len(kinds - {MISSING}) < 2:
        new = pd.unique(values[~values.isin(own)])
        yield pd.CategoricalDtype(own.append(pd.Index(new, dtype=own.dtype)))


# What is refused


def _refusal(own: pd.Series, given: pd.Series) -> str:
    """Return what is wrong with values of further rows, and what to do about it."""
    dtype: Any = own.dtype
    values = column_values(str(own.name), own)
    kind = "booleans" if values.is_boolean() else values.kind
    if values.is_ordered:
        kind = "ordered categories"
    shown = "category" if isinstance(dtype, pd.CategoricalDtype) else dtype
    remedy = _REMEDIES.get(kind, "Give values of this kind.")
    zone = " without a time zone" if _zone_of(dtype) is None else ""
    return (
        f"metadata column {own.name!r} holds {kind} ({shown}), got "
        f"{_first_unlike(own, given)!r:.50}. "
        f"{remedy.format(name=own.name, dtype=shown, zone=zone)}"
    )


def _first_unlike(own: pd.Series, given: pd.Series) -> Any:
    """Return the first value that does not go with a column."""
    present = given[given.notna()].tolist()
    for value in present:
        cell = pd.Series([value], dtype=object)
        alone = own.iloc[:0]
        wider = [own.dtype, *_wider_dtypes(alone, cell)]
        if all(as_dtype(cell, dtype) is None for dtype in wider):
            return value
    return present[0] if present else None
