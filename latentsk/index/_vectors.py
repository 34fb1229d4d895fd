"""What makes vectors of the rows that are given: float32 or float64, and owned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from latentsk._device import on_host

FLOATS = [np.float64, np.float32]
# What float32 holds exactly.
NARROW = {"bool", "int8", "uint8", "int16", "uint16", "float16", "float32"}
_SEQUENCES = (list, tuple, np.ndarray)


def as_matrix(X: Any) -> Any:
    """Return a column of embeddings, a list or array in each cell, as a matrix.

    Everything else is returned as it is.

    Parameters
    ----------
    X : object
        A Series of pandas or polars, an array of pyarrow or of objects, or a list of
        arrays or tensors.

    Raises
    ------
    ValueError
        If a cell has another length than the first, or none.

    Examples
    --------
    >>> as_matrix(pd.Series([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 2.],
           [3., 4.]])
    """
    cells = _cells(X)
    if not len(cells) or not _is_numeric(cells[0]):
        return X
    rows = [np.asarray(on_host(cell)) if _is_sequence(cell) else None for cell in cells]
    first = rows[0]
    assert first is not None
    for i, row in enumerate(rows):
        if row is None or row.shape != first.shape:
            raise ValueError(
                f"The rows of X must have one length: {_place(X, 0)} has {len(first)} "
                f"values, {_place(X, i)} "
                + ("has none." if row is None else f"has {len(row)}.")
                + " Leave such rows out, or embed them again."
            )
    return np.stack([row for row in rows if row is not None])


def vector_dtype(X: Any) -> Any:
    """Return the dtype, or dtypes, that `check_array` is to give rows.

    It is float32 for all that float32 holds exactly, so that nothing is widened.

    Examples
    --------
    >>> vector_dtype(np.zeros((2, 2), dtype=np.int8))
    <class 'numpy.float32'>
    >>> vector_dtype(pd.DataFrame({"a": [True], "b": [1.0]}))
    [<class 'numpy.float64'>, <class 'numpy.float32'>]
    """
    names = _dtype_names(X)
    return np.float32 if names and names <= NARROW else FLOATS


def owned(vectors: NDArray[Any], given: Any) -> NDArray[Any]:
    """Return vectors that nobody else can change.

    They are copied unless the conversion from what was given has made a copy. A memory
    map that is opened read-only stays mapped.

    Examples
    --------
    >>> given = np.zeros((2, 2))
    >>> owned(given, given) is given
    False
    """
    if isinstance(given, np.memmap) and given.mode == "r":
        return vectors
    # Of what other classes hold, such as tensors, a conversion may be a view.
    is_known = isinstance(given, np.ndarray | pd.DataFrame | list | tuple)
    if is_known and vectors is not given and vectors.base is None:
        return vectors
    return vectors.copy()


def _cells(X: Any) -> Any:
    """Return the cells of one column, none of what is no column of objects."""
    if isinstance(X, list) and X and isinstance(X[0], np.ndarray | torch.Tensor):
        return X
    if isinstance(X, np.ndarray):
        return X if X.ndim == 1 and X.dtype == object else ()
    kind = type(X).__module__.split(".")[0]
    if isinstance(X, pd.Series):
        return X.to_numpy(dtype=object)
    if kind == "polars" and type(X).__name__ == "Series":
        if not str(X.dtype).startswith(("List", "Array")):
            return ()
        return [cell if cell is None else np.asarray(cell) for cell in X]
    if (
        kind == "pyarrow"
        and hasattr(X, "to_pylist")
        and "list" in str(getattr(X, "type", ""))
    ):
        return X.to_pandas().to_numpy(dtype=object)
    return ()


def _is_sequence(cell: Any) -> bool:
    return isinstance(cell, _SEQUENCES) or torch.is_tensor(cell)


def _is_numeric(cell: Any) -> bool:
    if not _is_sequence(cell) or not len(getattr(cell, "shape", [0])):
        return False
    return torch.is_tensor(cell) or np.asarray(cell).dtype.kind in "biuf"


def _place(X: Any, row: int) -> str:
    return f"row {row}" + (f" ({X.index[row]!r})" if isinstance(X, pd.Series) else "")


def _dtype_names(X: Any) -> set[str]:
    """Return the dtypes of rows as numpy calls them; none where they are not told."""
    if isinstance(X, pd.DataFrame):
        dtypes = [getattr(dtype, "numpy_dtype", dtype) for dtype in set(X.dtypes)]
        return {str(getattr(dtype, "subtype", dtype)) for dtype in dtypes}
    if isinstance(X, np.ndarray):
        return {X.dtype.name}
    if hasattr(X, "dtypes") or hasattr(X, "schema"):  # polars, pyarrow
        return {np.asarray(X[:0]).dtype.name}
    return set()
