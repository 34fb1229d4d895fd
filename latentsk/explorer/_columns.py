"""What is known of each row: labels, metadata and features as columns of the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk._columns import as_floats
from latentsk.explorer._encoding import rounded, smallest

MISSING = "(missing)"
LONGEST_TEXT = 200  # characters
# So many whole numbers, or fewer, are names of kinds rather than amounts.
MOST_KINDS = 10
# So many categories have a colour of their own.
MOST_COLORS = 10


@dataclass(frozen=True)
class Column:
    """A value for each row.

    Attributes
    ----------
    name : str

    values : ndarray of shape (n_rows,)
        Numbers, or numbers of categories.

    categories : list of str or None
        None: values are numbers.

    is_date : bool, default=False
        Numbers are milliseconds since 1970.
    """

    name: str
    values: NDArray[Any]
    categories: list[str] | None = None
    is_date: bool = False

    @property
    def is_text(self) -> bool:
        """Whether values tell rows apart, and no groups: nearly all are different.

        Examples
        --------
        >>> as_column("name", [f"product {i}" for i in range(20)]).is_text
        True
        >>> as_column("kind", [f"kind {i % 5}" for i in range(20)]).is_text
        False
        """
        n_categories = len(self.categories or ())
        return n_categories > max(MOST_COLORS, len(self.values) // 2)

    @property
    def header(self) -> dict[str, Any]:
        """What the page is told, but for the values."""
        return {
            "name": self.name,
            "categories": self.categories,
            "isDate": self.is_date,
            "isText": self.is_text,
        }


def as_text(value: Any) -> str:
    """Return a cell as text of bounded length.

    Examples
    --------
    >>> as_text(2.0), as_text(None), as_text("a" * 300)[-3:]
    ('2', '(missing)', 'aa…')
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    elif pd.api.types.is_scalar(value) and pd.isna(value):
        return MISSING
    text = str(value)
    # Half of a pair of code units is no text that could be written.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def as_column(name: Any, cells: Any, *, prefers_categories: bool = False) -> Column:
    """Return cells as a column of numbers, dates or categories.

    Parameters
    ----------
    name : object

    cells : array-like of shape (n_rows,)

    prefers_categories : bool, default=False
        Whether whole numbers are categories, as labels are, however many there are.

    Examples
    --------
    >>> as_column("size", [0.5, 2.0, None]).values
    array([0.5, 2. , nan], dtype=float32)
    >>> column = as_column("owner", ["b", "a", None, "b"])
    >>> column.categories, column.values
    (['a', 'b', '(missing)'], array([1, 0, 2, 1], dtype=uint8))
    """
    series = pd.Series(cells).reset_index(drop=True)
    name = as_text(name)
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    if pd.api.types.is_datetime64_any_dtype(series):
        return Column(name, _milliseconds(series), is_date=True)
    if pd.api.types.is_bool_dtype(series) or not pd.api.types.is_numeric_dtype(series):
        if not series.map(_is_number).all():
            return _categories(name, series)
        series = pd.to_numeric(series, errors="coerce")
    numbers = as_floats(series.to_numpy(np.float64, na_value=np.nan))
    known = numbers[np.isfinite(numbers)]
    are_whole = bool((known == np.round(known)).all())
    if are_whole and (prefers_categories or len(np.unique(known)) <= MOST_KINDS):
        return _categories(name, series)
    return Column(name, _compact(numbers))


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float | np.number) and not isinstance(cell, bool)


def _milliseconds(dates: pd.Series) -> NDArray[np.float64]:
    times = pd.DatetimeIndex(pd.to_datetime(dates, utc=True)).as_unit("ms")
    return np.where(times.isna(), np.nan, times.asi8.astype(np.float64))


def _compact(numbers: NDArray[np.float64]) -> NDArray[Any]:
    """Return numbers in float32 where that holds them to six digits, else float64."""
    short = rounded(numbers, bits=20)
    # Whole numbers, such as years and amounts, are shown with every digit.
    known = numbers[np.isfinite(numbers)]
    are_exact = (known != np.round(known)) | (np.abs(known) < 2**20)
    return short if bool(are_exact.all()) else numbers


def _categories(name: str, series: pd.Series) -> Column:
    try:
        codes, found = pd.factorize(series, use_na_sentinel=True)
    except TypeError:  # dictionaries, say, which are told apart by their text
        codes, found = pd.factorize(series.map(as_text, na_action="ignore"))
    texts = [as_text(value) for value in found]
    try:
        order = np.argsort(np.array(found), kind="stable")
    except TypeError:  # values of several types
        order = np.argsort(np.array(texts), kind="stable")
    ranks = np.empty(len(order) + 1, np.int64)
    ranks[order] = np.arange(len(order))
    ranks[-1] = len(order)  # the place of the code -1
    texts = [texts[i] for i in order]
    if (codes < 0).any():
        texts.append(MISSING)
    return Column(name, smallest(ranks[codes]), texts)


def quantized(column: Column) -> Column:
    """Return a column whose fractions are rounded to five digits.

    Examples
    --------
    >>> column = as_column("size", np.linspace(0, 1, 12))
    >>> np.unique(quantized(column).values.view(np.uint32) % 128)
    array([0], dtype=uint32)
    """
    values = column.values
    known = values[np.isfinite(values)] if column.categories is None else values
    if column.categories is not None or bool((known == np.round(known)).all()):
        return column
    return Column(column.name, rounded(values, bits=16), is_date=column.is_date)
