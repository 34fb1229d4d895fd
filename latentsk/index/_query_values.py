"""What a query compares: the values of columns, of many dtypes, and literals."""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Callable
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pandas as pd
from numpy.typing import NDArray

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MISSING = "missing values"  # of a column that holds no other
_EQUALITY = ("==", "!=", "in")
_DATE = re.compile(
    r"\d{4}(-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?)?)?"
)


class Values(NamedTuple):
    """One column in the form in which it is compared.

    Attributes
    ----------
    name : str
        Name of the column.

    dtype : str
        Its dtype, for messages.

    kind : str
        What its values are, in the plural: "numbers", "strings", "dates",
        "durations", "UUIDs"; other words where they have no order.

    array : ndarray, DatetimeIndex or TimedeltaIndex of shape (n_values,)
        The values; any value of the kind where one is missing.

    missing : ndarray of shape (n_values,), dtype bool

    codes : ndarray of shape (n_rows,) or None
        Of a categorical column, whose values are its categories: which each row has,
        -1 for none.

    is_ordered : bool
        Whether categories have an order, which is that of `array`.
    """

    name: str
    dtype: str
    kind: str
    array: Any
    missing: NDArray[np.bool_]
    codes: NDArray[Any] | None = None
    is_ordered: bool = False

    @property
    def missing_rows(self) -> NDArray[np.bool_]:
        """Tell of every row whether its value is missing."""
        if self.codes is None:
            return self.missing
        return self.codes < 0

    def by_row(self, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return for every row what was found for the values; False where missing."""
        if self.codes is None:
            return found & ~self.missing
        return np.append(found, False)[self.codes]

    def is_boolean(self) -> bool:
        """Tell whether the values are all booleans, so that they are a condition."""
        if self.array.dtype == object:
            return {bool} >= set(map(type, self.array[~self.missing]))
        return bool(self.array.dtype == bool)


def column_values(name: str, column: pd.Series) -> Values:
    """Return the values of a column.

    Examples
    --------
    >>> column_values("year", pd.Series([2020, None], dtype="Int64"))[1:5]
    ('Int64', 'numbers', array([2020,    0]), array([False,  True]))
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        values = column_values(name, pd.Series(dtype.categories))
        codes = column.cat.codes.to_numpy()
        return values._replace(
            dtype=str(dtype), codes=codes, is_ordered=bool(dtype.ordered)
        )
    kind, array, missing = _canonical(column)
    return Values(name, str(dtype), kind, array, missing)


def compare_with_literal(values: Values, sign: str, literal: Any) -> NDArray[np.bool_]:
    """Return which rows compare so with a literal; False where a value is missing.

    None equals a missing value.

    Raises
    ------
    ValueError
        If the literal is of another kind than the values.

    Examples
    --------
    >>> day = column_values("day", pd.Series(pd.to_datetime(["2024-05-31", None])))
    >>> compare_with_literal(day, ">=", "2024-05")
    array([ True, False])
    """
    _require_order(values, sign)
    if literal is None:
        return values.missing_rows
    if values.kind == MISSING:
        return ~values.missing_rows
    comparable = as_comparable(values, literal)
    if values.codes is not None and sign not in _EQUALITY:
        return _compare_order(values, sign, literal, comparable)
    return values.by_row(_applied(sign, values.array, comparable))


def is_among(values: Values, literals: tuple[Any, ...]) -> NDArray[np.bool_]:
    """Return which rows have one of some values; None is a missing one.

    Raises
    ------
    ValueError
        If a literal is of another kind than the values.

    Examples
    --------
    >>> is_among(column_values("owner", pd.Series(["u", "v", None])), ("v", "w"))
    array([False,  True, False])
    """
    comparable = [as_comparable(values, each) for each in literals if each is not None]
    found = np.zeros(len(values.array), dtype=bool)
    if values.kind == "strings":  # at once: comparing objects one by one takes long
        column = pd.Index(values.array, dtype=object)
        found = column.isin(pd.Index(comparable, dtype=object))
        comparable = []
    for literal in comparable:
        found |= _applied("==", values.array, literal)
    rows = values.by_row(found)
    return rows | values.missing_rows if None in literals else rows


def compare_columns(left: Values, sign: str, right: Values) -> NDArray[np.bool_]:
    """Return which rows of two columns compare so; False where a value is missing.

    Raises
    ------
    ValueError
        If the columns hold values of different kinds, or have no order.

    Examples
    --------
    >>> low, high = pd.Series([1, 5]), pd.Series([2.5, None])
    >>> compare_columns(column_values("low", low), "<", column_values("high", high))
    array([ True, False])
    """
    for side, other in ((left, right), (right, left)):
        _require_order(side, sign)
        if side.codes is not None and sign not in _EQUALITY:
            raise ValueError(
                f"the order of categories in {side.name!r} is that of its own only, "
                f"and not of {other.name!r}"
            )
    missing = left.missing_rows | right.missing_rows
    if MISSING in (left.kind, right.kind):
        return ~missing
    if left.kind != right.kind:
        raise ValueError(
            f"{left.name!r} holds {left.kind} ({left.dtype}), {right.name!r} "
            f"{right.kind} ({right.dtype})"
        )
    arrays = [_decoded(side) for side in (left, right)]
    if left.kind == "dates" and len({array.tz is None for array in arrays}) == 2:
        raise ValueError(
            f"one of {left.name!r} and {right.name!r} has a time zone, the other none"
        )
    return _applied(sign, *arrays) & ~missing


def kind_of(value: Any) -> str:
    """Return what a value is, in the plural.

    Examples
    --------
    >>> kind_of(2.5), kind_of("u"), kind_of([1])
    ('numbers', 'strings', 'objects of type list')
    """
    if isinstance(value, str):
        return "strings"
    if isinstance(value, Real | Decimal | np.bool_):
        return "numbers"
    if isinstance(value, datetime.date):  # datetime and Timestamp are some
        return "dates"
    if isinstance(value, datetime.timedelta):
        return "durations"
    return (
        "UUIDs"
        if isinstance(value, UUID)
        else f"objects of type {type(value).__name__}"
    )


# Columns


def _canonical(column: pd.Series) -> tuple[str, Any, NDArray[np.bool_]]:
    """Return the kind of a column, its values, and where they are missing."""
    missing = np.asarray(column.isna(), dtype=bool)
    if isinstance(column.dtype, pd.SparseDtype):
        column = pd.Series(np.asarray(column))
    if isinstance(column.dtype, pd.StringDtype):
        return "strings", column.to_numpy(dtype=object, na_value=""), missing
    match column.dtype.kind:
        case "b" | "i" | "u" | "f":
            return _numbers(column, missing)
        case "M":
            return "dates", pd.DatetimeIndex(column), missing
        case "m":
            return "durations", pd.TimedeltaIndex(column), missing
    return _objects(column.to_numpy(dtype=object), missing)


def _numbers(
    column: pd.Series, missing: NDArray[np.bool_]
) -> tuple[str, Any, NDArray[np.bool_]]:
    dtype: Any = getattr(column.dtype, "numpy_dtype", column.dtype)
    filled = {"na_value": dtype.type(0)} if missing.any() else {}
    array = column.to_numpy(dtype=dtype, **filled)
    # A NaN in a nullable column is none that pandas calls missing.
    return "numbers", array, missing | (array != array)


def _objects(
    array: NDArray[Any], missing: NDArray[np.bool_]
) -> tuple[str, Any, NDArray[np.bool_]]:
    """Return what an array of objects holds; of one kind where all values are."""
    examples = {type(value): value for value in array[~missing]}
    kinds = sorted({kind_of(value) for value in examples.values()})
    if len(kinds) > 1:
        return f"a mixture of {' and '.join(kinds)}", array, missing
    kind = kinds[0] if kinds else MISSING
    if kind in ("dates", "durations"):
        as_index = pd.DatetimeIndex if kind == "dates" else pd.TimedeltaIndex
        try:
            return kind, as_index(_filled(array, missing, None)), missing
        except (TypeError, ValueError):  # of several time zones
            return f"{kind} of several time zones", array, missing
    filler: Any = {"numbers": 0, "strings": "", "UUIDs": UUID(int=0)}.get(kind)
    return kind, _filled(array, missing, filler), missing


def _filled(
    array: NDArray[Any], missing: NDArray[np.bool_], filler: Any
) -> NDArray[Any]:
    array = array.copy()
    array[missing] = filler
    return array


def _decoded(values: Values) -> Any:
    """Return a value for each row; any where it is missing."""
    if values.codes is None:
        return values.array
    if not len(values.array):  # no category at all: every value is missing
        return np.zeros(len(values.codes), values.array.dtype)
    return values.array[np.maximum(values.codes, 0)]


# Comparisons


def _applied(sign: str, left: Any, right: Any) -> NDArray[np.bool_]:
    """Compare values with a literal, or with others."""
    if isinstance(right, str):
        right = np.array(right, dtype=object)  # else numpy drops a NUL at its end
    # float16 and float32 compare with infinity where they do not hold the number.
    with np.errstate(over="ignore"):
        return np.asarray(OPERATORS[sign](left, right), dtype=bool)


def _require_order(values: Values, sign: str) -> None:
    if sign in _EQUALITY or values.kind == MISSING:
        return
    if values.kind not in ("numbers", "strings", "dates", "durations", "UUIDs"):
        raise ValueError(f"{values.name!r} holds {values.kind}, which have no order")
    if values.codes is not None and not values.is_ordered:
        raise ValueError(
            f"the categories of {values.name!r} have no order; give them one with "
            "astype(pd.CategoricalDtype([...], ordered=True))"
        )


def as_comparable(values: Values, literal: Any) -> Any:
    """Return a literal as it compares with values.

    Raises
    ------
    ValueError
        If it is of another kind.
    """
    kind = kind_of(literal)
    if kind == "numbers" and values.kind == kind:
        if type(literal) is float and Decimal in set(map(type, values.array[:1])):
            return Decimal(str(literal))  # as it is written
        return literal
    if kind in values.kind or values.kind == MISSING:
        return literal
    if kind == "strings" and values.kind in _PARSERS:
        return _PARSERS[values.kind](values, literal)
    raise ValueError(
        f"{values.name!r} ({values.dtype}) holds {values.kind}, {literal!r:.50} is a "
        f"{'string' if kind == 'strings' else 'number'}"
    )


def _as_date(values: Values, text: str) -> pd.Timestamp:
    zone = values.array.tz
    try:
        if not _DATE.fullmatch(text):
            raise ValueError("not an ISO date")
        date = pd.Timestamp(text)
        if date.tz is None and zone is not None:
            date = date.tz_localize(zone)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{values.name!r} ({values.dtype}) holds dates, {text!r:.50} is none like "
            "'2024-05-31' or '2024-05-31 12:30'"
        ) from error
    if date.tz is not None and zone is None:
        raise ValueError(
            f"{values.name!r} ({values.dtype}) has no time zone, {text!r:.50} has one"
        )
    return date


def _as_duration(values: Values, text: str) -> pd.Timedelta:
    try:
        return pd.Timedelta(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{values.name!r} ({values.dtype}) holds durations, {text!r:.50} is none "
            "like '2 days' or '90 min'"
        ) from error


def _as_uuid(values: Values, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise ValueError(
            f"{values.name!r} ({values.dtype}) holds UUIDs, {text!r:.50} is none"
        ) from error


_PARSERS: dict[str, Callable[[Values, str], Any]] = {
    "dates": _as_date,
    "durations": _as_duration,
    "UUIDs": _as_uuid,
}


def _compare_order(values: Values, sign: str, literal: Any, comparable: Any) -> Any:
    """Compare ordered categories by their order."""
    place = np.flatnonzero(_applied("==", values.array, comparable))
    if not len(place):
        raise ValueError(
            f"{literal!r:.50} is no category of {values.name!r}: "
            f"{', '.join(map(repr, values.array[:10]))}"
        )
    return values.by_row(_applied(sign, np.arange(len(values.array)), place[0]))
