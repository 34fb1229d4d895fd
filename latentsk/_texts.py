"""Rows that are texts: what is told to those that give something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from latentsk._columns import column_names, columns_of, is_table


def text_reader(embedder: Any) -> Any:
    """Return the step that takes texts, one a row; None where there is none.

    Examples
    --------
    >>> from sklearn.decomposition import TruncatedSVD
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.pipeline import make_pipeline
    >>> text_reader(make_pipeline(TfidfVectorizer(), TruncatedSVD()))
    TfidfVectorizer()
    >>> text_reader(TruncatedSVD())
    """
    first = embedder
    while isinstance(first, Pipeline | FrozenEstimator):
        is_frozen = isinstance(first, FrozenEstimator)
        first = first.estimator if is_frozen else first.steps[0][1]
    if not isinstance(first, BaseEstimator):
        return None
    takes = get_tags(first).input_tags
    return first if takes.string and not takes.two_d_array else None


def refuse_table_of_texts(embedder: Any, X: Any) -> None:
    """Refuse a table for what takes texts, and would take the names of its columns.

    Raises
    ------
    ValueError
    """
    names = column_names(X) if is_table(X) else None
    reader = text_reader(embedder) if names else None
    if names and reader is not None:
        named = zip(names, (cells for _, cells in columns_of(X)), strict=True)
        texts = [name for name, cells in named if any(map(_is_text, cells))]
        raise ValueError(
            f"X must be one column of texts for {type(reader).__name__}, got a "
            f"DataFrame of {len(names)} column(s). Give the column: "
            f"X[{(texts or names)[0]!r}]."
        )


def text_diagnosis(embedder: Any, X: Any, error: Exception) -> str | None:
    """Return which row is no text, where an embedder of texts has failed.

    Not before it has: it may take other things, as an analyzer of the user's own does.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> error = AttributeError("'NoneType' object has no attribute 'lower'")
    >>> print(text_diagnosis(TfidfVectorizer(), ["a lamp", None], error))
    X must hold texts for TfidfVectorizer, but row 1 is missing (None). Give ...
    """
    if isinstance(error, ValueError) and "invalid document" not in str(error):
        return None
    reader = text_reader(embedder)
    if not hasattr(reader, "decode") or callable(reader.analyzer):
        return None
    found = next(((i, text) for i, text in enumerate(X) if not _is_text(text)), None)
    if found is None:
        return None
    row, text = found
    series = "X" if isinstance(X, pd.Series) else "pd.Series(X)"
    if not pd.api.types.is_scalar(text):
        said = f"a {type(text).__name__}"
        remedy = "X[:, 0]" if isinstance(X, np.ndarray) and X.ndim == 2 else "one text"
    elif pd.isna(text):
        said, remedy = f"missing ({text})", f"{series}.fillna('')"
    else:
        said, remedy = repr(text), f"{series}.astype(str)"
    return (
        f"X must hold texts for {type(reader).__name__}, but row {row} is {said}. "
        f"Give {remedy}."
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes)
