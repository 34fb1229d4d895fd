"""Columns of a table that are not what they seem, of which a warning tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from latentsk._diagnosis import n_words
from latentsk._remedies import listed
from latentsk._spellings import date_reading, number_reading
from latentsk._warnings import warn

# More different values than these are no categories, if so many of them are numbers.
MANY, NEARLY_ALL = 32, 0.9
# Cells that are looked at first: many columns are of neither numbers nor dates.
FIRST_LOOK = 1_000
# Strings of more words on average are texts.
MOST_WORDS = 3
# Columns that are made of texts, at most.
MOST_DIRECTIONS = 50


def warn_of_empty(X: pd.DataFrame) -> None:
    """Warn of columns without any value.

    Examples
    --------
    >>> warn_of_empty(pd.DataFrame({"a": [1.0, None], "b": ["x", "y"]}))
    """
    empty = [label for label, series in X.items() if len(X) and series.isna().all()]
    if empty:
        which = f"Column {empty[0]!r} has no value at all, so it tells"
        if len(empty) > 1:
            which = f"Columns {listed(empty)} have no value at all, so they tell"
        warn(
            f"{which} nothing, and any value there may seem abnormal later. Leave it "
            f"out, of later rows, too: X.drop(columns={empty!r})."
        )


def warn_if_misread(label: Any, series: pd.Series) -> None:
    """Warn of a column of categories that nearly is one of numbers, dates or texts.

    Parameters
    ----------
    label : object

    series : Series
        Taken for categories. Nothing is said of what is categorical by its type.

    Examples
    --------
    >>> warn_if_misread("a", pd.Series(["x", "y"]))
    """
    known = series.dropna()
    if isinstance(series.dtype, pd.CategoricalDtype) or known.nunique() <= MANY:
        return
    if len(known) * NEARLY_ALL <= known.nunique() and _are_texts(known):
        warn(_of_texts(label, series))
        return
    column = f"X[{label!r}]"
    few = known[:: -(-len(known) // FIRST_LOOK)]
    for what, read in (("numbers", number_reading), ("dates", date_reading)):
        if read(column, few).is_read.mean() < NEARLY_ALL / 2:
            continue
        reading = read(column, known)
        is_one = reading.is_read
        if is_one.mean() >= NEARLY_ALL:
            other = "" if is_one.all() else f", unlike {str(known[~is_one].iloc[0])!r}"
            warn(
                f"Column {label!r} is taken for categories, but {is_one.sum()} of "
                f"{len(known)} cells are {what}{other}. Make {what} of all: "
                f"{reading.how(column, known)}. Or say that they are categories: "
                f"{column} = {column}.astype('category')."
            )
            return


def _of_texts(label: Any, series: pd.Series) -> str:
    known = series.dropna()
    size = min(MOST_DIRECTIONS, max(n_words(known) - 1, 1))
    fill = "{0} = {0}.fillna(''); ".format(f"X[{label!r}]")
    return (
        f"Column {label!r} holds texts that nearly all differ ({known.nunique():,} of "
        f"{len(known):,}), which are taken for categories and tell next to nothing. "
        "Give texts a part of their own before an embedder: "
        f"{fill if series.isna().any() else ''}ColumnTransformer(["
        f"*make_table_preprocessor(X.drop(columns=[{label!r}])).transformers, "
        f"('texts', make_pipeline(TfidfVectorizer(), TruncatedSVD({size})), "
        f"{label!r})]). Or leave the column out: X.drop(columns=[{label!r}])."
    )


def _are_texts(cells: Sequence[Any] | pd.Series) -> bool:
    """Tell whether cells are strings of many words.

    Examples
    --------
    >>> _are_texts(["the card was lost"]), _are_texts(["tx 17"]), _are_texts([17])
    (True, False, False)
    """
    if not all(isinstance(cell, str) for cell in cells):
        return False
    return sum(len(cell.split()) for cell in cells) > MOST_WORDS * len(cells)
