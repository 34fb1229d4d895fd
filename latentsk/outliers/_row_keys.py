"""Rows that are recognized when they come again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse

from latentsk._device import on_host


def row_keys(X: Any) -> NDArray[np.uint64]:
    """Return a number for each row, the same for equal rows alone (almost surely).

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)

    Returns
    -------
    keys : ndarray of shape (n_rows,), dtype uint64
        Two of a billion pairs of different rows share one with probability 5e-11.

    Examples
    --------
    >>> keys = row_keys([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]])
    >>> keys[0] == keys[1], keys[0] == keys[2]
    (np.True_, np.False_)
    """
    if issparse(X):
        rows = (X[[i]].tocsr() for i in range(X.shape[0]))
        X = [str((row.indices.tobytes(), row.data.tobytes())) for row in rows]
    if not isinstance(X, pd.DataFrame):
        X = np.asarray(on_host(X))
        X = X.reshape(len(X), -1) if X.ndim != 1 else [repr(row) for row in X]
    table = X if isinstance(X, pd.DataFrame) else pd.DataFrame(X)
    columns = {i: _normal_form(column) for i, (_, column) in enumerate(table.items())}
    keys = pd.util.hash_pandas_object(pd.DataFrame(columns), index=False)
    return np.asarray(keys, np.uint64)


def _normal_form(column: pd.Series) -> pd.Series:
    """Give equal numbers one type, and zero one sign."""
    try:
        return column.astype(np.float64) + 0.0
    except (TypeError, ValueError):
        return column
