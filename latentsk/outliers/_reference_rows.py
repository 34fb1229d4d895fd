"""Cells of rows as they were given, to be shown beside others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing

from latentsk._columns import columns_of, n_columns
from latentsk._typing import Positions

# Types of pandas that a file can hold.
STORABLE = pd.StringDtype, pd.DatetimeTZDtype


def cells_of(X: Any) -> NDArray[Any]:
    """Return the cells of a table: floats if all are numbers, else objects.

    Examples
    --------
    >>> cells_of(pd.DataFrame({"n": [1, None], "s": ["a", "b"]}))
    array([[1.0, 'a'],
           [nan, 'b']], dtype=object)
    >>> cells_of([[1, True]])
    array([[1., 1.]])
    """
    columns = [cells for _, cells in columns_of(X.toarray() if issparse(X) else X)]
    if all(cells.dtype.kind in "fiub" for cells in columns):
        return np.stack(columns, axis=1).astype(np.float64)
    try:
        return np.stack([_as_floats(cells) for cells in columns], axis=1)
    except (TypeError, ValueError):
        found = np.empty((len(columns[0]), len(columns)), object)
        for j, cells in enumerate(columns):
            # Of numpy's dates, objects would be integers.
            found[:, j] = pd.Series(cells).astype(object).to_numpy()
        return found


def _as_floats(cells: NDArray[Any]) -> NDArray[np.float64]:
    if cells.dtype.kind not in "fiubO" or any(isinstance(c, str) for c in cells):
        raise TypeError("no numbers")
    return cells.astype(np.float64)


def has_gaps_or_categories(X: Any) -> bool:
    """Tell whether a table has cells that are missing, or no numbers.

    What features make of these may be another value: an imputed one, or that of rare
    categories.

    Examples
    --------
    >>> has_gaps_or_categories(pd.DataFrame({"s": ["a"]}))
    True
    >>> has_gaps_or_categories(np.ones((2, 1)))
    False
    """
    if issparse(X) or n_columns(X) == 0:
        return False
    if isinstance(X, np.ndarray) and X.dtype.kind in "fiub":
        return X.dtype.kind == "f" and bool(np.isnan(X).any())
    return any(
        cells.dtype.kind not in "fiub" or bool(pd.isna(cells).any())
        for _, cells in columns_of(X)
    )


def reference_rows(X: Any, positions: Positions) -> pd.DataFrame:
    """Return some rows of a table as a file can hold them.

    Examples
    --------
    >>> X = pd.DataFrame({"n": [1, 2], "s": ["a", 1 + 2j]}, index=["r", "t"])
    >>> reference_rows(X, np.array([1]))
       0       1
    0  2  (1+2j)
    """
    rows = _safe_indexing(X, positions)
    if isinstance(rows, pd.DataFrame):
        columns = [rows.iloc[:, j].reset_index(drop=True) for j in range(rows.shape[1])]
    else:
        dense = rows.toarray() if issparse(rows) else rows
        columns = [pd.Series(cells) for _, cells in columns_of(dense)]
    return pd.DataFrame({j: _plain(column) for j, column in enumerate(columns)})


def _plain(column: pd.Series) -> pd.Series:
    is_numpy = isinstance(column.dtype, np.dtype) and column.dtype != object
    if is_numpy or isinstance(column.dtype, STORABLE):
        return column
    cells = [_plain_cell(cell) for cell in column.astype(object)]
    return pd.Series(cells, dtype=object)


def _plain_cell(cell: Any) -> Any:
    if pd.api.types.is_scalar(cell) and pd.isna(cell):
        return None
    cell = cell.item() if isinstance(cell, np.number | np.bool_) else cell
    is_plain = isinstance(cell, str | bool | int | float)
    return cell if is_plain else str(cell)
