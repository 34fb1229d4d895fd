"""The group that each row belongs to, by a label for each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def group_labels(by: Any, X: Any, n_rows: int, name: str = "by") -> pd.Series:
    """Return the label of each row's group.

    Parameters
    ----------
    by : array-like of shape (n_rows,)
        A Series is aligned with the index of `X`, if that is a table of pandas, and if
        its own is not just numbers from 0 on.

    X : array-like of n_rows rows

    n_rows : int

    name : str, default="by"
        What messages call the labels.

    Returns
    -------
    labels : Series
        By position.

    Raises
    ------
    ValueError
        If it does not hold one label for each row.

    Examples
    --------
    >>> group_labels(["a", "b"], np.zeros((2, 1)), 2).tolist()
    ['a', 'b']
    """
    labels = _as_series(by, n_rows, name)
    if isinstance(by, pd.Series) and isinstance(X, pd.DataFrame):
        labels = _aligned(labels, X.index, name)
    if len(labels) != n_rows:
        raise ValueError(
            f"{name} must hold one label for each of the {n_rows} rows of X, got "
            f"{len(labels)}."
        )
    labels = labels.reset_index(drop=True)
    if labels.isna().any():
        raise ValueError(
            f"{name} must hold a label for each row, but row "
            f"{int(labels.isna().argmax())} has none. Fill it in, or leave the row out."
        )
    return labels


def _as_series(by: Any, n_rows: int, name: str) -> pd.Series:
    if isinstance(by, pd.Series):
        return by
    if isinstance(by, pd.Index | pd.Categorical):
        return pd.Series(by, name=getattr(by, "name", None))
    values = np.asarray(by)
    if values.ndim != 1:
        got = repr(by) if values.ndim == 0 else f"an array of shape {values.shape}"
        raise ValueError(
            f"{name} must hold one label for each of the {n_rows} rows of X, got {got}."
            + f" Pass the column itself: {name}=table[{by!r}]." * isinstance(by, str)
        )
    return pd.Series(values, name=getattr(by, "name", None))


def _aligned(labels: pd.Series, index: pd.Index, name: str) -> pd.Series:
    is_by_position = labels.index.equals(pd.RangeIndex(len(labels)))
    if labels.index.equals(index) or is_by_position:
        return labels
    if not labels.index.is_unique or not index.isin(labels.index).all():
        raise ValueError(
            f"{name} is a Series whose index is not that of X. Take both from one "
            f"table, or pass {name}.to_numpy() if the order is the same."
        )
    return labels.reindex(index)
