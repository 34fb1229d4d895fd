"""What is wrong with rows that are refused: the column, the value, and what to do."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from numbers import Complex, Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse

from latentsk._columns import as_floats, columns_of

# Columns that a message lists, at most.
MOST_LISTED = 10

# Characters of a value that a message shows, at most.
MOST_SHOWN = 60


@contextmanager
def diagnosed(X: Any, input_name: str = "X") -> Iterator[None]:
    """Let an error about what rows hold say where, and what to do.

    Parameters
    ----------
    X : array-like
        The rows that are validated or embedded within, as they were given.

    input_name : str, default="X"
        What the message calls them.

    Raises
    ------
    ValueError, TypeError
        The error raised within, if it is about other things than `X` holds; else one of
        its kind that names the column.

    Examples
    --------
    >>> with diagnosed([["a", 1.0]]):
    ...     np.asarray([["a", 1.0]], dtype=np.float64)
    Traceback (most recent call last):
    ...
    ValueError: X must hold numbers, but column 'x0' holds strings: 'a' in row 0. ...
    """
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        reason = None
        with suppress(Exception):  # what no columns can be seen of
            reason = diagnosis(X, str(error), input_name)
        if reason is None:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(reason) from error


def diagnosis(X: Any, message: str, input_name: str = "X") -> str | None:
    """Return what is wrong with rows of which an error tells.

    Parameters
    ----------
    X : array-like

    message : str
        That of the error.

    input_name : str, default="X"
        What is to be said instead of X.

    Returns
    -------
    reason : str or None
        None if the message is about something else, or `X` has nothing of the kind.
    """
    for pattern, reason_of in _REASONS:
        if re.search(pattern, message):
            return reason_of(X, message, input_name)
    return None


def reject_dates(X: Any, input_name: str = "X") -> None:
    """Refuse dates and durations, which numpy turns into numbers of no known unit.

    Raises
    ------
    TypeError
    """
    # A Series has one, under both names.
    dtypes = [X.dtype] if hasattr(X, "dtype") else getattr(X, "dtypes", ())
    if any(map(_is_of_time, dtypes)):
        raise TypeError(
            _not_numbers(X, "", input_name) or f"{input_name} holds dates, not numbers."
        )


def _is_of_time(dtype: Any) -> bool:
    is_temporal = getattr(dtype, "is_temporal", None)  # of polars
    if is_temporal is not None:
        return bool(is_temporal())
    is_period = isinstance(dtype, pd.PeriodDtype)
    return is_period or getattr(dtype, "kind", "") in ("m", "M")


# Sparse, complex, missing and infinite values


def _sparse(X: Any, message: str, input_name: str) -> str | None:
    begin = f"Sparse data was passed for {input_name}, but dense data is required. "
    if isinstance(X, pd.DataFrame):
        return begin + "Use X.sparse.to_dense()."
    if issparse(X):
        return begin + (
            "Use X.toarray(), or put TruncatedSVD(50) before, as a step of a Pipeline."
        )
    return None


def _complex(X: Any, message: str, input_name: str) -> str | None:
    for label, cells in columns_of(X):
        for row, cell in enumerate(cells):
            if isinstance(cell, Complex) and not isinstance(cell, Real):
                return (
                    f"Complex data not supported: {input_name} must hold real numbers, "
                    f"got {_shown(cell)} in column {label!r}, row {row}. Give real "
                    "and imaginary parts as columns: "
                    "np.hstack([np.real(X), np.imag(X)])."
                )
    return None


def _missing(X: Any, message: str, input_name: str) -> str | None:
    holes = {
        label: rows[0]
        for label, cells in columns_of(X)
        if len(rows := np.flatnonzero(pd.isna(cells)))
    }
    if not holes:
        return None
    label, row = next(iter(holes.items()))
    others = f" (also in {_listed(list(holes)[1:])})" if len(holes) > 1 else ""
    return (
        f"{_input(input_name)} contains NaN: a missing value in column {label!r}, row "
        f"{row}{others}. Fill missing values in, with SimpleImputer() as the first "
        f"step of a Pipeline, or leave the rows out: {_without_missing(X)}."
    )


def _input(name: str) -> str:
    return "Input X" if name == "X" else name[:1].upper() + name[1:]


def _without_missing(X: Any) -> str:
    kind = _library(X)
    if kind == "pandas":
        return "X.dropna()"
    if kind == "polars":
        return "X.drop_nulls().drop_nans()"
    if isinstance(X, np.ndarray) and X.dtype.kind == "f":
        return "X[~np.isnan(X).any(axis=1)]"
    if torch.is_tensor(X):
        return "X[~X.isnan().any(dim=1)]"
    return "pd.DataFrame(X).dropna()"


def _infinite(X: Any, message: str, input_name: str) -> str | None:
    for label, cells in columns_of(X):
        values = as_floats(cells)
        for row in np.flatnonzero(np.isinf(values))[:1]:
            return (
                f"{_input(input_name)} contains infinity: {values[row]:g} in column "
                f"{label!r}, row {row}. Correct it, or replace it by a missing value "
                "and fill that in, with SimpleImputer() as the first step of a "
                "Pipeline."
            )
    return None


# What is no number


class _Cell(NamedTuple):
    """A cell that is no number."""

    label: Any
    position: int
    row: int
    value: Any
    kind: str


def _not_numbers(X: Any, message: str, input_name: str) -> str | None:
    if _is_sequence_of(X, str | bytes):
        return (
            f"{input_name} must have rows and columns of numbers, but holds strings: "
            f"{_shown(_first(X))} in row 0. Put make_pipeline(TfidfVectorizer(), "
            "TruncatedSVD(10)) before, as the first steps of a Pipeline."
        )
    if (lengths := _lengths(X)) is not None:
        rows = np.flatnonzero(lengths != lengths[0])
        return (
            f"{input_name} has an inhomogeneous shape: row 0 has {lengths[0]} values, "
            f"row {rows[0]} has {lengths[rows[0]]}. Give all rows as many values, as "
            "pd.DataFrame(X) does, with NaN for those that are missing."
        )
    cells = list(_cells_that_are_no_numbers(X, message))
    if not cells:
        return None
    first = cells[0]
    if first.kind == "missing values":
        return _missing(X, message, input_name)
    alike = [cell for cell in cells if cell.kind == first.kind]
    remedy = _REMEDIES.get(first.kind, _leave_out)
    which = f"column {first.label!r} holds {first.kind}"
    if len(alike) > 1:
        which = f"columns {_listed([c.label for c in alike])} hold {first.kind}"
    said = ""
    if "argument must be" in message:  # in the words that scikit-learn asks for
        said = f" ({message.splitlines()[0].rstrip('.')})"
    return (
        f"{input_name} must hold numbers, but {which}: {_shown(first.value)} in "
        f"row {first.row}{said}. {remedy(X, alike)}"
    )


def _shown(value: Any) -> str:
    is_time = isinstance(value, (*_OF_TIME, pd.Period))
    text = " ".join((str(value) if is_time else repr(value)).split())
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."


def _is_sequence_of(X: Any, kind: Any) -> bool:
    """Tell whether rows are not rows of cells, but single values of a kind."""
    if isinstance(X, str | bytes) or len(getattr(X, "shape", [0])) != 1:
        return False
    return len(X) > 0 and isinstance(_first(X), kind)


def _first(X: Any) -> Any:
    return next(iter(X))


def _lengths(X: Any) -> Any:
    """Return the lengths of lists as rows, if they are not the same."""
    if not isinstance(X, list | tuple) or not len(X):
        return None
    if not all(isinstance(row, list | tuple | np.ndarray) for row in X):
        return None
    lengths = np.array([len(row) for row in X])
    return lengths if (lengths != lengths[0]).any() else None


def _cells_that_are_no_numbers(X: Any, message: str) -> Iterator[_Cell]:
    """Yield the first of each column: of those that the message tells of, if it does.

    What is said of a value that `X` does not hold is about what was made of it.
    """
    told = re.search(_TOLD, message)
    value = told["value"] if told else None
    for j, (label, column) in enumerate(columns_of(X)):
        found = _no_numbers(column)
        cell = next(found, None)
        while cell is not None and value is not None and repr(cell[1]) != value:
            cell = next(found, None)
        if cell is not None:
            yield _Cell(label, j, *cell)
            if value is None:
                continue
            # The others of its kind are encoded with it.
            value = None


def _no_numbers(column: Any) -> Iterator[tuple[int, Any, str]]:
    """Yield the row, the value and the kind of what is no number in a column."""
    if column.dtype.kind in "fiub":
        return
    for row, cell in enumerate(column):
        if column.dtype.kind not in "mM" and _is_missing(cell):
            if cell is pd.NA:
                yield row, cell, "missing values"
            continue
        kind = _kind(cell)
        if kind is not None:
            yield row, _plain(cell), kind


def _is_missing(cell: Any) -> bool:
    return cell is None or cell is pd.NA or cell is pd.NaT or cell != cell


def _kind(cell: Any) -> str | None:
    """Return what a cell is, None for a number."""
    for kind, classes in _KINDS.items():
        if isinstance(cell, classes):
            with suppress(ValueError):
                if kind == "strings":
                    float(cell)
                    return None
            return kind
    try:
        float(cell)
    except OverflowError:
        return None
    except (TypeError, ValueError):
        return f"objects of type {type(cell).__name__}"
    return None


def _plain(cell: Any) -> Any:
    """Return a value without numpy's type around it, which an error does not show."""
    plain = next((kind for kind in (str, bytes) if isinstance(cell, kind)), None)
    return cell if plain is None else plain(cell)


_OF_TIME = (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)
_KINDS: dict[str, Any] = {
    "strings": str | bytes,
    "dates": datetime.date | np.datetime64 | pd.Period,
    "durations": datetime.timedelta | np.timedelta64,
    "sequences": list | tuple | np.ndarray,
}


# What to do


def _library(X: Any) -> str:
    return type(X).__module__.split(".")[0]


def _listed(labels: list[Any]) -> str:
    shown = ", ".join(repr(label) for label in labels[:MOST_LISTED])
    return shown + (", ..." if len(labels) > MOST_LISTED else "")


def _leave_out(X: Any, cells: list[_Cell], begin: str = "Leave") -> str:
    labels = [cell.label for cell in cells]
    code = {
        "pandas": f"X.drop(columns={labels!r})",
        "polars": f"X.drop({labels!r})",
    }
    positions = [cell.position for cell in cells]
    default = f"np.delete(np.array(X, dtype=object), {positions}, axis=1)"
    return f"{begin} it out: {code.get(_library(X), default)}."


def _encode(X: Any, cells: list[_Cell]) -> str:
    named = _library(X) in ("pandas", "polars")
    which = [cell.label if named else cell.position for cell in cells]
    encoder = "OneHotEncoder(handle_unknown='ignore', sparse_output=False)"
    return (
        f"Encode it, with make_column_transformer(({encoder}, {which!r}), "
        "remainder='passthrough') as the first step of a Pipeline. "
        f"{_leave_out(X, cells, 'Or leave')}"
    )


def _count_time(X: Any, cells: list[_Cell]) -> str:
    if isinstance(cells[0].value, pd.Period):
        return _each(X, cells, "{0} = {0}.dt.to_timestamp().dt.year")
    if _library(X) == "polars":
        return _at_once(X, cells, "X.with_columns(pl.col({0!r}).dt.epoch('s'))")
    since = "pd.to_datetime({0}, utc=True) - pd.Timestamp('2000', tz='UTC')"
    code = f"{{0}} = ({since}).dt.total_seconds()"
    return _each(X, cells, code, "X.astype('datetime64[s]').astype(float)")


def _count_duration(X: Any, cells: list[_Cell]) -> str:
    if _library(X) == "polars":
        return _at_once(X, cells, "X.with_columns(pl.col({0!r}).dt.total_seconds())")
    code = "{0} = pd.to_timedelta({0}).dt.total_seconds()"
    return _each(X, cells, code, "X / np.timedelta64(1, 's')")


def _each(X: Any, cells: list[_Cell], code: str, of_array: str = "") -> str:
    """Return what to do with every column of a table, or with an array of times."""
    if _library(X) != "pandas":
        is_of_time = getattr(X, "dtype", np.dtype("O")).kind in "mM"
        return (
            f"Turn it into numbers: {of_array}." if is_of_time else _leave_out(X, cells)
        )
    labels = [cell.label for cell in cells]
    each = code.format(f"X[{labels[0]!r}]")
    if len(labels) > 1:
        each = f"for c in {labels!r}: " + code.format("X[c]")
    return f"Turn it into numbers: {each}. {_leave_out(X, cells, 'Or leave')}"


def _at_once(X: Any, cells: list[_Cell], code: str) -> str:
    code = code.format([cell.label for cell in cells])
    return f"Turn it into numbers: {code}. {_leave_out(X, cells, 'Or leave')}"


def _spread(X: Any, cells: list[_Cell]) -> str:
    label = cells[0].label
    if _library(X) == "pandas":
        columns = f"pd.DataFrame(X[{label!r}].to_list(), index=X.index).add_prefix('v')"
        code = f"X.drop(columns=[{label!r}]).join({columns})"
        return f"Give each value a column of its own: {code}."
    return _leave_out(X, cells)


_REMEDIES: dict[str, Callable[[Any, list[_Cell]], str]] = {
    "strings": _encode,
    "dates": _count_time,
    "durations": _count_duration,
    "sequences": _spread,
}

# The value that an error tells of: of numpy and pandas, or of this module.
_TOLD = (
    r"(could not convert string to float: (np\.\w+\()?|hold[s]? strings: )"
    r"(?P<value>b?'[^']*'|b?\"[^\"]*\")"
)
_REASONS = [
    (r"Sparse data was passed", _sparse),
    (r"Complex data not supported", _complex),
    (r"contains NaN", _missing),
    (r"contains infinity", _infinite),
    (
        r"could not convert|argument must be|could not be promoted|setting an array "
        r"element|inhomogeneous|must hold numbers|cannot convert|cannot be converted|"
        r"too large to convert|Cannot cast|[Ii]nvalid literal|not compatible with "
        r"arrays of bytes|ambiguous|does not support",
        _not_numbers,
    ),
]
