"""What to do about columns that hold no numbers, as code for the table's library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse

from latentsk._columns import n_columns
from latentsk._spellings import number_reading

# Columns that a message lists, at most.
MOST_LISTED = 10
# What a column with numbers holds besides: a sentinel, or a slip.
MIXED = "strings among numbers"


class Cell(NamedTuple):
    """The first cell of a column that is no number.

    Attributes
    ----------
    label : object
        Name of the column.
    column, row : int
        Its place.
    value : object
    kind : str
        What it is, in the plural: "strings", "dates".
    """

    label: Any
    column: int
    row: int
    value: Any
    kind: str


def listed(labels: Sequence[Any]) -> str:
    """Return labels as a message shows them.

    Examples
    --------
    >>> listed(["a", "b"])
    "'a', 'b'"
    """
    shown = ", ".join(repr(label) for label in labels[:MOST_LISTED])
    return shown + (", ..." if len(labels) > MOST_LISTED else "")


def remedy(X: Any, cells: Sequence[Cell]) -> str:
    """Return what to do about columns of one kind.

    Examples
    --------
    >>> table = pd.DataFrame({"kind": [{}], "size": [1.0]})
    >>> remedy(table, [Cell("kind", 0, 0, {}, "objects of type dict")])
    "Leave it out: X.drop(columns=['kind'])."
    """
    return _REMEDIES.get(cells[0].kind, _leave_out)(X, cells)


def encoding_beside(labels: Sequence[Any]) -> str:
    """Return the code of a step that encodes a table, and leaves some columns alone.

    Examples
    --------
    >>> encoding_beside(["car"])[:69]
    "ColumnTransformer([*make_table_preprocessor(X.drop(columns=['car']))."
    """
    kept = list(labels)
    return (
        f"ColumnTransformer([*make_table_preprocessor(X.drop(columns={kept!r}))"
        f".transformers, ('context', 'passthrough', {kept!r})], "
        "verbose_feature_names_out=False).set_output(transform='pandas')"
    )


def without_missing(X: Any) -> str:
    """Return the code that leaves out rows with missing values.

    Examples
    --------
    >>> without_missing(np.zeros((2, 2)))
    'X[~np.isnan(X).any(axis=1)]'
    """
    if issparse(X):
        return "X[np.isfinite(X.sum(axis=1)).nonzero()[0]]"
    if torch.is_tensor(X):
        return "X[~X.isnan().any(dim=1)]"
    if isinstance(X, np.ndarray) and X.dtype.kind == "f":
        return "X[~np.isnan(X).any(axis=1)]"
    code = {"pandas": "X.dropna()", "polars": "X.drop_nulls().drop_nans()"}
    return code.get(_library(X), "pd.DataFrame(X).dropna()")


def as_nan(X: Any) -> str:
    """Return what to do first where an array has the missing value of pandas.

    Examples
    --------
    >>> as_nan(np.array([[1.0, pd.NA]], dtype=object))
    'Make a table of it: X = pd.DataFrame(X).convert_dtypes(). '
    """
    is_array = isinstance(X, np.ndarray | list | tuple)
    if not is_array or not any(cell is pd.NA for row in X for cell in row):
        return ""
    return "Make a table of it: X = pd.DataFrame(X).convert_dtypes(). "


def with_missing_for_infinite(X: Any) -> str:
    """Return the code that makes infinite values missing ones.

    Examples
    --------
    >>> with_missing_for_infinite(pd.DataFrame({"a": [1.0]}))
    'X.replace([np.inf, -np.inf], np.nan)'
    """
    if torch.is_tensor(X):
        return "X.masked_fill(X.isinf(), torch.nan)"
    if _library(X) == "pandas":
        return "X.replace([np.inf, -np.inf], np.nan)"
    return "np.where(np.isinf(np.asarray(X, float)), np.nan, X)"


def _library(X: Any) -> str:
    return type(X).__module__.split(".")[0]


def _labels(cells: Sequence[Cell]) -> list[Any]:
    return [cell.label for cell in cells]


def _leave_out(X: Any, cells: Sequence[Cell], begin: str = "Leave") -> str:
    if len(cells) == n_columns(X):
        return "" if begin != "Leave" else "Give columns of numbers."
    labels, columns = _labels(cells), [cell.column for cell in cells]
    code = {
        "pandas": f"X.drop(columns={labels!r})",
        "polars": f"X.drop({labels!r})",
    }
    default = f"np.delete(np.array(X, dtype=object), {columns}, axis=1)"
    return f"{begin} it out: {code.get(_library(X), default)}."


def _encode(X: Any, cells: Sequence[Cell]) -> str:
    readings = [_as_numbers(X, cell) for cell in cells]
    written = "; ".join(code for code, is_all in readings if is_all)
    texts = [
        cell for cell, (_, is_all) in zip(cells, readings, strict=True) if not is_all
    ]
    if not texts:
        return f"Make numbers of them, {written}."
    is_named = _library(X) in ("pandas", "polars")
    which = [cell.label if is_named else cell.column for cell in texts]
    encoder = "OneHotEncoder(handle_unknown='ignore', sparse_output=False)"
    code = f"make_column_transformer(({encoder}, {which!r}), remainder='passthrough')"
    step = f"before, with {code} as the first step of a Pipeline."
    if written:
        return f"Make numbers of what are some, {written}, and encode text {step}"
    return f"Encode text {step} {_leave_out(X, cells, 'Or leave')}".rstrip()


def _as_numbers(X: Any, cell: Cell) -> tuple[str, bool]:
    """Return code that reads "12,50" in a column, and whether it reads all cells.

    Examples
    --------
    >>> table = pd.DataFrame({"paid": ["12,50"], "city": ["Rome"]})
    >>> _as_numbers(table, Cell("paid", 0, 0, "12,50", "strings"))
    ("X['paid'] = X['paid'].replace(',', '.', regex=True).astype(float)", True)
    >>> _as_numbers(table, Cell("city", 1, 0, "Rome", "strings"))
    ('', False)
    """
    if _library(X) != "pandas":
        return "", False
    known = X.iloc[:, cell.column].dropna()
    column = f"X[{cell.label!r}]"
    reading = number_reading(column, known)
    if reading.is_read.sum() == pd.to_numeric(known, errors="coerce").notna().sum():
        return "", False
    code = f"{column} = {reading.code}"
    if reading.other_code is not None:
        code += f" (if {reading.doubt}: {column} = {reading.other_code})"
    return code, bool(reading.is_read.all())


def _coerce(X: Any, cells: Sequence[Cell]) -> str:
    readings = [_as_numbers(X, cell) for cell in cells]
    if all(is_all for _, is_all in readings):
        return f"Make numbers of them, {'; '.join(code for code, _ in readings)}."
    labels = _labels(cells)
    if any(code for code, _ in readings):
        code = "; ".join(
            code or f"X[{c!r}] = pd.to_numeric(X[{c!r}], errors='coerce')"
            for c, (code, _) in zip(labels, readings, strict=True)
        )
    elif _library(X) == "pandas":
        code = f"for c in {labels!r}: X[c] = pd.to_numeric(X[c], errors='coerce')"
    elif _library(X) == "polars":
        code = f"X = X.with_columns(pl.col({labels!r}).cast(pl.Float64, strict=False))"
    else:
        code = "X = pd.DataFrame(X).apply(pd.to_numeric, errors='coerce')"
    return (
        f"Make missing values of what is no number, {code}, and fill these in, with "
        "SimpleImputer() as the first step of a Pipeline: such a cell is no longer "
        "judged."
    )


def _count_time(X: Any, cells: Sequence[Cell]) -> str:
    if _library(X) == "polars":
        return _turn_at_once(X, cells, "pl.col({0!r}).dt.epoch('s')")
    code = "(pd.to_datetime({0}, utc=True) - pd.Timestamp(0, tz='UTC'))"
    code = f"{{0}} = {code}.dt.total_seconds()"
    if isinstance(cells[0].value, pd.Period):
        code = "{0} = {0}.dt.to_timestamp().dt.year"
    return _turn_each(X, cells, code, "X.astype('datetime64[s]').astype(float)")


def _count_duration(X: Any, cells: Sequence[Cell]) -> str:
    if _library(X) == "polars":
        return _turn_at_once(X, cells, "pl.col({0!r}).dt.total_seconds()")
    code = "{0} = pd.to_timedelta({0}).dt.total_seconds()"
    return _turn_each(X, cells, code, "X / np.timedelta64(1, 's')")


def _turn_at_once(X: Any, cells: Sequence[Cell], code: str) -> str:
    code = f"X.with_columns({code.format(_labels(cells))})"
    return f"Turn it into numbers: {code}. {_leave_out(X, cells, 'Or leave')}".rstrip()


def _turn_each(X: Any, cells: Sequence[Cell], code: str, of_array: str) -> str:
    """Return how to change each column of a table, or an array of times."""
    labels = _labels(cells)
    if _library(X) == "pandas" and len(cells) == 1:
        code = code.format(f"X[{labels[0]!r}]")
    elif _library(X) == "pandas":
        code = f"for c in {labels!r}: {code.format('X[c]')}"
    elif getattr(X, "dtype", np.dtype("O")).kind in "mM":
        return f"Turn it into numbers: {of_array}."
    else:
        return _leave_out(X, cells)
    return f"Turn it into numbers: {code}. {_leave_out(X, cells, 'Or leave')}".rstrip()


def _spread(X: Any, cells: Sequence[Cell]) -> str:
    if _library(X) != "pandas":
        return _leave_out(X, cells)
    label = cells[0].label
    values = f"pd.DataFrame(X[{label!r}].to_list(), index=X.index).add_prefix('v')"
    code = f"X.drop(columns=[{label!r}]).join({values})"
    return (
        f"Give each value a column of its own: {code}. Or take this column alone: "
        f"np.stack(X[{label!r}])."
    )


_REMEDIES: dict[str, Callable[[Any, Sequence[Cell]], str]] = {
    "strings": _encode,
    MIXED: _coerce,
    "dates": _count_time,
    "durations": _count_duration,
    "sequences": _spread,
}
