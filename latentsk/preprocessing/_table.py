"""Tables of mixed columns: what each column holds, and how it becomes numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer

from latentsk._columns import column_names, columns_of, is_table
from latentsk._spellings import ISO_DATE, number_reading, truth_code
from latentsk.preprocessing._category_encoder import CategoryEncoder
from latentsk.preprocessing._datetime_encoder import DatetimeEncoder
from latentsk.preprocessing._misread import warn_if_misread, warn_of_empty
from latentsk.preprocessing._robust_standardizer import RobustStandardizer

# The kinds of columns, in the order of the preprocessor's parts.
NUMBERS, CATEGORIES, DATES = "numbers", "categories", "dates"
# Types of Arrow, as pandas names them, whose cells are read as objects.
ARROW_OBJECTS = ("decimal", "null", "dictionary")
# What pandas calls cells that are objects.
OBJECT_KINDS = {
    **dict.fromkeys(("floating", "integer", "mixed-integer-float"), NUMBERS),
    **dict.fromkeys(("decimal", "boolean"), NUMBERS),
    **dict.fromkeys(("datetime64", "datetime", "date", "period"), DATES),
    **dict.fromkeys(("string", "bytes", "mixed", "mixed-integer"), CATEGORIES),
    "empty": CATEGORIES,
}


def make_table_preprocessor(X: Any) -> ColumnTransformer:
    """Return the default preprocessor for a table of mixed columns.

    It is what :class:`LatentOutlierDetector` puts before its default embedder for a
    DataFrame with a column that holds no numbers, or with missing values. Put it before
    an embedder of your own, or begin with it and change its parts.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
        A table of pandas, polars or pyarrow. Only the kinds of its columns are used.

    Returns
    -------
    preprocessor : ColumnTransformer, not fitted
        With a part for each kind of column that there is:

        - "numbers", of numbers and booleans: :class:`RobustStandardizer`. Missing
          values and codes become the median, with an indicator.
        - "categories", of strings, of pandas' categorical type, and of anything mixed:
          :class:`CategoryEncoder`. Missing values are a bit of each category.
        - "dates", of dates of any type, and of strings that are all dates in the form
          "2026-01-31" or "2026-01-31 12:30": :class:`DatetimeEncoder`.

    Raises
    ------
    TypeError
        If `X` is no DataFrame, or a column holds something else, such as durations or
        lists.

    Warns
    -----
    UserWarning
        If a column with many different values is taken for categories, but nearly all
        of its cells are numbers or dates, such as "12,50" and "31.01.2026", or texts;
        or if a column has no value at all.

    Notes
    -----
    Features come out in comparable units, with small ones for gaps. A neural embedder
    behind it takes them as they are with ``standardize=False``.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.pipeline import make_pipeline
    >>> from latentsk import PCAEmbedder, make_table_preprocessor
    >>> X = pd.DataFrame({"paid": [9.5, None, 7.0], "city": ["Rome", "Bonn", "Rome"]})
    >>> preprocessor = make_table_preprocessor(X)
    >>> [(name, columns) for name, _, columns in preprocessor.transformers]
    [('numbers', ['paid']), ('categories', ['city'])]
    >>> embedder = make_pipeline(preprocessor, PCAEmbedder(1))
    >>> embedder.fit_transform(X).shape
    (3, 1)
    """
    if not is_table(X):
        raise TypeError(
            f"X must be a DataFrame, got {type(X).__name__}: give pd.DataFrame(X)."
        )
    X = as_pandas(X)
    kinds = column_kinds(X)
    warn_of_empty(X)
    for kind, (label, series) in zip(kinds, X.items(), strict=True):
        if kind == CATEGORIES:
            warn_if_misread(label, series)
    names = column_names(X)
    is_named = names is not None and len(set(names)) == len(names)
    encoders = {
        NUMBERS: RobustStandardizer(),
        CATEGORIES: CategoryEncoder(),
        DATES: DatetimeEncoder(),
    }
    parts = []
    for kind, encoder in encoders.items():
        columns = [j for j, found in enumerate(kinds) if found == kind]
        if columns:
            of_part = [names[j] for j in columns] if is_named and names else columns
            parts.append((kind, encoder, of_part))
    return ColumnTransformer(parts, sparse_threshold=0.0)


def as_pandas(X: Any) -> pd.DataFrame:
    """Return a table of any library as one of pandas."""
    if not isinstance(X, pd.DataFrame):
        return pd.DataFrame(dict(columns_of(X)))
    odd = [
        j for j, dtype in enumerate(X.dtypes) if str(dtype).startswith(ARROW_OBJECTS)
    ]
    if odd:
        X = X.copy()
        for j in odd:
            X.isetitem(j, X.iloc[:, j].astype(object).where(X.iloc[:, j].notna(), None))
    return X


def is_mixed(X: Any) -> bool:
    """Tell whether rows are a table with a column of no numbers, or with gaps.

    Examples
    --------
    >>> is_mixed(pd.DataFrame({"a": [1, 2]})), is_mixed(pd.DataFrame({"a": [1, None]}))
    (False, True)
    >>> is_mixed([["a"]])
    False
    """
    if not is_table(X):
        return False
    X = as_pandas(X)
    if any(column_kind(series) != NUMBERS for _, series in X.items()):
        return True
    return bool(X.isna().to_numpy().any())


def mixed_table(X: Any, preprocessor: ColumnTransformer | None = None) -> pd.DataFrame:
    """Return a table as one of pandas.

    Parameters
    ----------
    X : DataFrame of any library

    preprocessor : fitted ColumnTransformer or None, default=None
        What `make_table_preprocessor` returned for the table of the fit.

    Raises
    ------
    TypeError
        If it is no table, or a column of numbers holds something else now.
    """
    if not is_table(X):
        raise TypeError(
            "The fit had a DataFrame with gaps or with columns of no numbers, so X "
            f"must be one with the same columns, got {type(X).__name__}. Use "
            "pd.DataFrame(X, columns=detector.feature_names_in_)."
        )
    X = as_pandas(X)
    parts = () if preprocessor is None else preprocessor.transformers
    for _, encoder, columns in parts:
        known = [name for name in columns if name in X]
        if isinstance(encoder, RobustStandardizer) and len(known) == len(columns):
            _require_numbers(X[known])
    sparse = [j for j, t in enumerate(X.dtypes) if isinstance(t, pd.SparseDtype)]
    if sparse:
        X = X.copy()
        for j in sparse:
            X.isetitem(j, X.iloc[:, j].sparse.to_dense())
    return X


def _require_numbers(X: pd.DataFrame) -> None:
    for label, series in X.items():
        if series.dtype.kind not in "fiub" and column_kind(series) == CATEGORIES:
            numbers = pd.to_numeric(series, errors="coerce")
            wrong = np.flatnonzero(numbers.isna() & series.notna())
            if len(wrong):
                raise TypeError(
                    f"Column {label!r} had numbers in the fit, got "
                    f"{str(series.iloc[wrong[0]])[:60]!r} in row {wrong[0]}. "
                    f"{_as_numbers(label, series.dropna())}."
                )


def _as_numbers(label: Any, cells: pd.Series) -> str:
    """Return what to do about strings where numbers were."""
    column = f"X[{label!r}]"
    code = truth_code(column, cells)
    if code is not None:
        return f"Make numbers of the words: {column} = {code}"
    return f"Make numbers of them: {number_reading(column, cells).how(column, cells)}"


def column_kinds(X: pd.DataFrame) -> list[str]:
    """Return what each column holds.

    Raises
    ------
    TypeError
        If it is nothing that can be encoded.

    Examples
    --------
    >>> column_kinds(pd.DataFrame({"n": [1], "s": ["a"], "d": ["2026-01-31"]}))
    ['numbers', 'categories', 'dates']
    """
    kinds = []
    for label, series in X.items():
        kind = column_kind(series)
        if kind is None:
            raise TypeError(_refusal(label, series))
        kinds.append(kind)
    return kinds


def column_kind(series: pd.Series) -> str | None:
    """Return the kind of a column, None if it cannot be encoded."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return CATEGORIES
    if isinstance(dtype, pd.PeriodDtype) or dtype.kind == "M":
        return DATES
    if dtype.kind in "fiub":
        return NUMBERS
    if dtype.kind not in "OUS" and not isinstance(dtype, pd.StringDtype):
        return None
    kind = OBJECT_KINDS.get(pd.api.types.infer_dtype(series, skipna=True))
    if kind == CATEGORIES:
        return _kind_of_objects(series)
    return kind


def _kind_of_objects(series: pd.Series) -> str | None:
    known = series.dropna()
    if not all(isinstance(cell, str) for cell in known):
        has_hash = all(pd.api.types.is_hashable(cell) for cell in known)
        return CATEGORIES if has_hash else None
    are_dates = all(ISO_DATE.fullmatch(cell) for cell in known) and len(known) > 0
    return DATES if are_dates and _are_dates(known) else CATEGORIES


def _are_dates(strings: pd.Series) -> bool:
    try:
        pd.to_datetime(strings, format="ISO8601")
    except ValueError:
        return False
    return True


def _refusal(label: Any, series: pd.Series) -> str:
    cell = series.dropna().iloc[0]
    remedy = "Make columns of numbers or strings of it, or leave it out: "
    if series.dtype.kind == "m" or hasattr(cell, "total_seconds"):
        remedy = (
            f"Turn it into numbers: X[{label!r}] = "
            f"pd.to_timedelta(X[{label!r}]).dt.total_seconds(). Or leave it out: "
        )
    return (
        f"Column {label!r} holds what is neither number, category, boolean nor date: "
        f"{str(cell)[:60]} of type {type(cell).__name__}. {remedy}"
        f"X.drop(columns=[{label!r}])."
    )
