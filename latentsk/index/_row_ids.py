"""What makes ids of what is given, exactly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from latentsk._device import to_numpy
from latentsk.index._query_values import kind_of
from latentsk.persistence._columns import check_storable


def as_ids(ids: ArrayLike) -> NDArray[Any]:
    """Return ids as an array, each of them as it was given.

    Parameters
    ----------
    ids : array-like of shape (n_rows,)
        A list, an array of numpy, pandas, polars or pyarrow, or a tensor.

    Returns
    -------
    ids : ndarray of shape (n_rows,)
        Objects where no other dtype holds them all; a copy.

    Raises
    ------
    ValueError
        If an id is missing or cannot be looked up, or they have no single dimension.

    Examples
    --------
    >>> as_ids([1, 2**53 + 1, 2.5])
    array([1, 9007199254740993, 2.5], dtype=object)
    """
    values: Any = _as_pandas_takes(ids)
    # Not through numpy: it would turn a list of mixed types into strings.
    try:
        # Tuples stay what they are: as levels, their parts would be of one type.
        is_index = isinstance(values, pd.Index)
        index = values if is_index else pd.Index(values, tupleize_cols=False)
        if index.dtype.kind in "fc" and isinstance(values, list):
            index = _exact(values, index)
        if index.dtype == object and not isinstance(index, pd.MultiIndex):
            frozenset(index)  # an error where they have no hash: lists, say
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"ids must be a list or array with one id a row, got {ids!r:.200}."
        ) from error
    if _is_missing(index).any():
        raise ValueError("ids must not be missing (None or NaN).")
    return np.array(index)


def _exact(values: list[Any], index: pd.Index) -> pd.Index:
    """Return an index of numbers in which none is rounded, as objects if need be."""
    plain = [v.item() if isinstance(v, np.generic) else v for v in values]
    # Python compares integers and floats exactly; NaN equals nothing.
    is_exact = all(a == b for a, b in zip(plain, index.tolist(), strict=True))
    return index if is_exact else pd.Index(values, dtype=object)


def _as_pandas_takes(ids: Any) -> Any:
    """Return ids in a form that pandas makes an index of; values stay as they are."""
    if torch.is_tensor(ids):
        ids = to_numpy(ids)
    if isinstance(ids, np.ndarray):
        if ids.dtype == np.float16:
            return ids.astype(np.float32)
        if ids.dtype == np.longdouble:
            return ids.astype(np.float64)
        return ids.astype(ids.dtype.newbyteorder("="), copy=False)
    if isinstance(ids, pd.Index | pd.Series | pd.api.extensions.ExtensionArray | str):
        return ids
    if type(ids).__module__.split(".")[0] in ("polars", "pyarrow"):
        to_list = getattr(ids, "to_list", None) or getattr(ids, "to_pylist", None)
        values = None if to_list is None else to_list()  # None: an expression, say
        return np.empty(0, dtype=object) if values == [] else values
    if isinstance(ids, range):
        return ids
    if not isinstance(ids, Iterable):
        return ids
    # pandas has no index of float16, which float holds exactly.
    return [float(id) if isinstance(id, np.float16) else id for id in ids]


def _is_missing(index: pd.Index) -> NDArray[np.bool_]:
    if isinstance(index, pd.MultiIndex):
        return np.any([codes < 0 for codes in index.codes], axis=0)
    missing = np.array(index.isna())
    if index.dtype == object:
        flags = (isinstance(id, tuple) and _has_missing(id) for id in index)
        missing |= np.fromiter(flags, bool, len(index))
    return missing


def _has_missing(id: tuple[Any, ...]) -> bool:
    return any(pd.isna(part) is True for part in id)  # no array, as of a list


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
    if len(ids) < 2:
        return
    repeated = pd.Index(ids).duplicated()
    if repeated.any():
        raise ValueError(
            f"ids must be unique, but these occur more than once: "
            f"{some_of(pd.unique(ids[repeated]))}. Pass ids=range(len(X)) to number "
            "rows."
        )


def refuse_other_kind(ids: NDArray[Any], known: NDArray[Any]) -> None:
    """Refuse numbers as further ids among strings, and strings among numbers.

    Nobody would find them: 1 and "1" are different ids.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> refuse_other_kind(np.array([7]), np.array(["a", "b"]))
    Traceback (most recent call last):
    ...
    ValueError: ids of the index are strings, got 7. Give [str(id) for id in ids].
    """
    for kind, other, call in (
        ("strings", "numbers", "str"),
        ("numbers", "strings", "int"),
    ):
        # The first id is of the kind of all, nearly always.
        if kind not in _examples(known[:1]) or other not in _examples(ids):
            continue
        if other not in _examples(known):
            raise ValueError(
                f"ids of the index are {kind}, got {_examples(ids)[other]!r}. Give "
                f"[{call}(id) for id in ids]."
            )


def _examples(ids: NDArray[Any]) -> dict[str, Any]:
    """Return an id of each kind, by the kind."""
    if ids.dtype.kind in "mM":  # numpy makes whole numbers of them
        return {}
    some = ids if ids.dtype == object else ids[:1]
    by_type = {type(id): id for id in some.tolist()}
    return {kind_of(id): id for id in by_type.values()}


def refuse_unstorable(ids: NDArray[Any]) -> None:
    """Refuse ids that `save` could not store.

    Raises
    ------
    TypeError
    """
    try:
        check_storable(ids)
    except TypeError as error:
        raise TypeError(f"ids: {error}") from error


def some_of(values: NDArray[Any], most: int = 5) -> str:
    listed = ", ".join(repr(value) for value in values[:most].tolist())
    return listed + (", ..." if len(values) > most else "")
