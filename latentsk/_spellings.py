"""Numbers, dates and truth values in strings of another form, and code to read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# A date by ISO 8601, with or without a time.
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?")
# Numbers with a decimal comma; and grouped by blanks, by points and by commas. What
# stands between groups of digits is removed, and a comma that is left is a point.
WRITTEN = [
    (re.compile(r"[+-]?\d+,\d+"), ""),
    (re.compile(r"[+-]?(\d+|\d{1,3}([\s'\u2019]\d{3})+)([.,]\d+)?"), r"\s'\u2019"),
    (re.compile(r"[+-]?(\d+|\d{1,3}([.\s'\u2019]\d{3})+)(,\d+)?"), r".\s'\u2019"),
    (re.compile(r"[+-]?(\d+|\d{1,3}([,\s'\u2019]\d{3})+)(\.\d+)?"), r",\s'\u2019"),
]
# A date whose year stands last or first, and its time.
DATE = re.compile(
    r"(?:\d{1,2}(?P<last>[./-])\d{1,2}(?P=last)(?P<year>\d{4}|\d{2})|"
    r"\d{4}(?P<first>[./])\d{1,2}(?P=first)\d{1,2})"
    r"(?:(?P<gap> |T|, )(?P<clock>\d{1,2}:\d{2}(?P<second>:\d{2}(?P<part>\.\d+)?)?)"
    r"(?P<half> [AaPp][Mm])?)?"
)
# Words for 1 and 0.
TRUTHS = [("yes", "no"), ("true", "false"), ("y", "n"), ("t", "f"), ("ja", "nein")]


class Reading(NamedTuple):
    """How the cells of a column can be read.

    Attributes
    ----------
    code : str
        Code that reads the column, with missing values of what it cannot read.
    is_read : ndarray of shape (n_cells,), bool
        Of cells that are not missing.
    other_code : str or None
        Code that reads as many cells as other values: "1,234" is 1.234 or 1234.

    doubt : str
        When the other code is right.
    """

    code: str
    is_read: NDArray[np.bool_]
    other_code: str | None = None
    doubt: str = ""

    def how(self, column: str, cells: pd.Series) -> str:
        """Return what to do, as code and in words, for the cells that were read.

        Examples
        --------
        >>> cells = pd.Series(["12,50", "n/a"])
        >>> number_reading("X['paid']", cells).how("X['paid']", cells)
        "X['paid'] = pd.to_numeric(X['paid'].replace(',', '.', regex=True), \
errors='coerce'). What is none, such as 'n/a', is missing then, and no longer judged"
        """
        text = f"{column} = {self.code}"
        if self.other_code is not None:
            text += f". If {self.doubt}: {column} = {self.other_code}"
        if not self.is_read.all():
            cell = str(cells[~self.is_read].iloc[0])[:60]
            text += (
                f". What is none, such as {cell!r}, is missing then, and no longer "
                "judged"
            )
        return text


# Numbers


def number_reading(column: str, cells: pd.Series) -> Reading:
    """Return how to read cells as numbers.

    Parameters
    ----------
    column : str
        Code of the column that they are of.

    cells : Series
        Not missing.

    Examples
    --------
    >>> number_reading("X['paid']", pd.Series(["1.234,50", "12"])).code
    "X['paid'].replace('[.]', '', regex=True).replace(',', '.', regex=True)\
.astype(float)"
    """
    if isinstance(cells.dtype, pd.CategoricalDtype):
        cells, column = cells.astype(object), f"{column}.astype(object)"
    plain = _as_numbers(cells)
    best = Reading(_number_code(column, plain), plain.notna().to_numpy())
    values = plain
    for pattern, removed in WRITTEN:
        found = _read_as(column, cells, plain, pattern, removed)
        if found is None:
            continue
        reading, numbers = found
        n_more = reading.is_read.sum() - best.is_read.sum()
        if n_more > 0:
            best, values = reading, numbers
        elif (
            n_more == 0
            and best.other_code is None
            and (numbers != values)[best.is_read].any()
        ):
            i = np.flatnonzero(numbers != values)[0]
            doubt = f"{cells.iloc[i]!r} is {numbers.iloc[i]:.15g}"
            best = best._replace(other_code=reading.code, doubt=doubt)
    return best


def _read_as(
    column: str, cells: pd.Series, plain: pd.Series, pattern: re.Pattern[str], out: str
) -> tuple[Reading, pd.Series] | None:
    """Return how to read cells in one form, None if it makes others of some."""
    texts = [cell if isinstance(cell, str) else "" for cell in cells]
    is_written = np.array([bool(pattern.fullmatch(text.strip())) for text in texts])
    if not (is_written & plain.isna().to_numpy()).any():
        return None
    code, read = column, cells
    seen = "".join(text for text, known in zip(texts, is_written, strict=True) if known)
    if out and (removed := sorted(set(re.findall(f"[{out}]", seen)))):
        removable = f"[{''.join(removed)}]"
        read = read.replace(removable, "", regex=True)
        code += f".replace({removable!r}, '', regex=True)"
    if "," in seen and "," not in out:
        read = read.replace(",", ".", regex=True)
        code += ".replace(',', '.', regex=True)"
    numbers = _as_numbers(read)
    is_read = is_written | (plain.notna() & (numbers == plain)).to_numpy()
    if (numbers.notna().to_numpy() & ~is_read).any():
        return None
    return Reading(_number_code(code, numbers), is_read), numbers


def _as_numbers(cells: pd.Series) -> pd.Series:
    return pd.to_numeric(cells, errors="coerce").astype(float)


def _number_code(column: str, numbers: pd.Series) -> str:
    if numbers.notna().all():
        return f"{column}.astype(float)"
    return f"pd.to_numeric({column}, errors='coerce')"


# Dates


def date_reading(column: str, cells: pd.Series) -> Reading:
    """Return how to read cells as dates.

    Parameters
    ----------
    column : str
        Code of the column that they are of.

    cells : Series
        Not missing.

    Examples
    --------
    >>> date_reading("X['paid']", pd.Series(["26.03.2026 13:18"])).code
    "pd.to_datetime(X['paid'], format='%d.%m.%Y %H:%M')"
    """
    days, months = (
        _dates_read(column, cells, order) for order in ("%d{0}%m", "%m{0}%d")
    )
    n_more = months.is_read.sum() - days.is_read.sum()
    if n_more > 0:
        return months
    # Points stand between day, month and year, in this order.
    has_order = n_more < 0 or days.code == months.code or "%d.%m" in days.code
    if has_order:
        return days
    cell = next(cell for cell in cells if isinstance(cell, str))
    doubt = f"the month stands first in {cell!r}"
    return days._replace(other_code=months.code, doubt=doubt)


def _dates_read(column: str, cells: pd.Series, order: str) -> Reading:
    forms = np.array(
        [_date_form(cell, order) if isinstance(cell, str) else None for cell in cells],
        dtype=object,
    )
    is_string = np.array([isinstance(cell, str) for cell in cells], dtype=bool)
    is_read, formats = ~is_string, []
    for form in dict.fromkeys(forms[is_string & (forms != None)]):  # noqa: E711
        is_of_form = forms == form
        is_read[is_of_form] = _is_date(cells[is_of_form], form)
        if is_read[is_of_form].any():
            formats.append(form)
    # Read first, what no other format can take for another day.
    formats = sorted(formats, key=lambda form: form != "ISO8601") or ["ISO8601"]
    is_one = is_read.all() and len(formats) == 1
    coerced = "" if is_one else ", errors='coerce'"
    parts = [f"pd.to_datetime({column}, format={f!r}{coerced})" for f in formats]
    code = parts[0] + "".join(f".fillna({part})" for part in parts[1:])
    return Reading(code, is_read)


def _is_date(cells: pd.Series, form: str) -> NDArray[np.bool_]:
    try:
        return pd.to_datetime(cells, format=form, errors="coerce").notna().to_numpy()
    except ValueError:  # of more than one time zone
        return np.zeros(len(cells), dtype=bool)


def _date_form(text: str, order: str) -> str | None:
    """Return the format of a date, None of another string.

    Examples
    --------
    >>> _date_form("3/26/26, 1:18 PM", "%m{0}%d")
    '%m/%d/%y, %I:%M %p'
    """
    if ISO_DATE.fullmatch(text):
        return "ISO8601"
    found = DATE.fullmatch(text)
    if found is None:
        return None
    if found["first"]:
        form = "%Y{0}%m{0}%d".format(found["first"])
    else:
        year = "%Y" if len(found["year"]) == 4 else "%y"
        form = order.format(found["last"]) + found["last"] + year
    if found["clock"]:
        hour = "%I" if found["half"] else "%H"
        second = ":%S" if found["second"] else ""
        part = ".%f" if found["part"] else ""
        half = " %p" if found["half"] else ""
        form += f"{found['gap']}{hour}:%M{second}{part}{half}"
    return form


# Truth values


def truth_code(column: str, cells: pd.Series) -> str | None:
    """Return code that makes 1 and 0 of words, None if some strings are others.

    Examples
    --------
    >>> truth_code("X['paid']", pd.Series(["Yes", "Yes"]))
    "X['paid'].map({'Yes': 1, 'No': 0})"
    """
    is_word = _as_numbers(cells).isna()
    words = set(cells[is_word])
    for pair in TRUTHS:
        if words and {str(word).lower() for word in words} <= set(pair):
            codes = _codes(words, pair)
            if is_word.all():
                return f"{column}.map({codes!r})"
            return f"{column}.map(lambda cell: {codes!r}.get(cell, cell)).astype(float)"
    return None


def _codes(words: set[str], pair: tuple[str, str]) -> dict[str, int]:
    """Return the codes of words and of their counterparts in the same case.

    Examples
    --------
    >>> _codes({"NO"}, ("yes", "no"))
    {'YES': 1, 'NO': 0}
    """
    cases: list[Callable[[str], str]] = [str.lower, str.title, str.upper]
    used = [case for case in cases if any(case(word) == word for word in words)]
    codes = {case(word): 1 - i for case in used for i, word in enumerate(pair)}
    return codes | {word: 1 - pair.index(word.lower()) for word in words - set(codes)}
