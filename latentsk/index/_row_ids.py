"""What makes ids of what is given, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def as_ids(ids: ArrayLike) -> NDArray[Any]:
    if isinstance(ids, np.ndarray):
        ids = _as_pandas_takes(ids)
    # Not through numpy: it would turn a list of mixed types into strings.
    try:
        index = ids if isinstance(ids, pd.Index) else pd.Index(ids)  # type: ignore
        if index.dtype == object and not isinstance(index, pd.MultiIndex):
            frozenset(index)  # an error where they have no hash: lists, say
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"ids must be a list or array with one id a row, got {ids!r}."
        ) from error
    if _is_missing(index).any():
        raise ValueError("ids must not be missing (None or NaN).")
    return np.asarray(index)


def _as_pandas_takes(ids: NDArray[Any]) -> NDArray[Any]:
    """Change the type where pandas has no index of it; values stay as they are."""
    if ids.dtype == np.float16:
        return ids.astype(np.float32)
    if ids.dtype == np.longdouble:
        return ids.astype(np.float64)
    return ids.astype(ids.dtype.newbyteorder("="), copy=False)


def _is_missing(index: pd.Index) -> NDArray[np.bool_]:
    if isinstance(index, pd.MultiIndex):
        return np.any([codes < 0 for codes in index.codes], axis=0)
    return np.asarray(index.isna())


def joined_ids(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Join ids without changing any: int64 and uint64, say, would become floats."""
    if first.dtype.kind != second.dtype.kind:
        # Not by numpy, which turns dates into whole numbers.
        objects = [np.asarray(pd.Index(ids).astype(object)) for ids in (first, second)]
        return np.concatenate(objects)
    if first.dtype.kind in "mM":
        # An error where dates are beyond the finer of two units.
        return np.asarray(pd.Index(first).append(pd.Index(second)))
    return np.concatenate([first, second])


def refuse_repeated(ids: NDArray[Any]) -> None:
    repeated = pd.Index(ids).duplicated()
    if repeated.any():
        raise ValueError(
            f"ids must be unique, but these occur more than once: "
            f"{some_of(pd.unique(ids[repeated]))}. Pass ids=range(len(X)) to number "
            "rows."
        )


def some_of(values: NDArray[Any], most: int = 5) -> str:
    listed = ", ".join(repr(value) for value in values[:most].tolist())
    return listed + (", ..." if len(values) > most else "")
