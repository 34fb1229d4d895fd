"""The row store: which row of the index stands for which id."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class RowStore:
    """Positions, ids and whether a row is still there.

    A position is a row's number in the order of arrival; it never changes, so removed
    rows stay as dead positions. A store is never changed: `append` and `remove` return
    another one.

    Attributes
    ----------
    ids : ndarray of shape (n_rows,)
        Ids by position, unique among the rows that are there: the id of a removed row
        may be used again, for a new row at a new position.

    alive : ndarray of shape (n_rows,), dtype bool
        False for rows that were removed.

    Examples
    --------
    >>> store = RowStore.of(["a", "b", "c"])
    >>> store.positions_of(["c", "a"])
    array([2, 0])
    >>> store.remove(["b"]).alive
    array([ True, False,  True])
    """

    ids: NDArray[Any]
    alive: NDArray[np.bool_]

    @classmethod
    def of(cls, ids: ArrayLike) -> RowStore:
        """Return a store of rows that are all alive.

        Parameters
        ----------
        ids : array-like of shape (n_rows,)
            One id a row.

        Raises
        ------
        ValueError
            If an id is missing or occurs twice, or `ids` is not one-dimensional.
        """
        array = _as_ids(ids)
        _refuse_duplicates(array)
        return cls(array, np.ones(len(array), dtype=bool))

    @cached_property
    def living(self) -> NDArray[np.intp]:
        """Positions of the rows that are there, ascending."""
        return np.flatnonzero(self.alive)

    @cached_property
    def _lookup(self) -> pd.Index:
        lookup = pd.Index(self.ids if self.alive.all() else self.ids[self.living])
        # pandas builds the hash table at the first question; before version 3, others
        # who ask in the meantime are answered from half of it.
        lookup.get_indexer(lookup[:1])
        return lookup

    def positions_of(self, ids: ArrayLike) -> NDArray[np.intp]:
        """Return the positions of ids.

        Raises
        ------
        KeyError
            If an id is unknown or was removed.
        """
        wanted = _as_ids(ids)
        found = self._lookup.get_indexer(pd.Index(wanted))
        if (found < 0).any():
            raise KeyError(f"Unknown ids: {_some(wanted[found < 0])}.")
        return self.living[found]

    def unique_positions_of(self, ids: ArrayLike) -> NDArray[np.intp]:
        """Return the positions of ids, each of which is named once.

        Raises
        ------
        KeyError
            If an id is unknown or was removed.

        ValueError
            If an id occurs twice.
        """
        wanted = _as_ids(ids)  # once: an iterator is empty the second time
        _refuse_duplicates(wanted)
        return self.positions_of(wanted)

    def append(self, ids: ArrayLike) -> RowStore:
        """Return a store with further rows behind the present ones.

        Raises
        ------
        ValueError
            If an id is missing, occurs twice or is there already.
        """
        added_ids = _as_ids(ids)
        if len(added_ids) == 0:
            return self
        _refuse_duplicates(added_ids)
        there = self._lookup.get_indexer(pd.Index(added_ids)) >= 0
        if there.any():
            raise ValueError(
                f"These ids are in the index already: {_some(added_ids[there])}. "
                "Use update to replace their rows."
            )
        added = np.ones(len(added_ids), dtype=bool)
        return RowStore(
            _joined(self.ids, added_ids), np.concatenate([self.alive, added])
        )

    def remove(self, ids: ArrayLike) -> RowStore:
        """Return a store in which these rows are dead.

        Raises
        ------
        KeyError
            If an id is unknown or was removed before.

        ValueError
            If an id occurs twice.
        """
        alive = self.alive.copy()
        alive[self.unique_positions_of(ids)] = False
        return RowStore(self.ids, alive)


def _as_ids(ids: ArrayLike) -> NDArray[Any]:
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


def _joined(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Join ids without changing any: int64 and uint64, say, would become floats."""
    if first.dtype.kind != second.dtype.kind:
        # Not by numpy, which turns dates into whole numbers.
        objects = [np.asarray(pd.Index(ids).astype(object)) for ids in (first, second)]
        return np.concatenate(objects)
    if first.dtype.kind in "mM":
        # An error where dates are beyond the finer of two units.
        return np.asarray(pd.Index(first).append(pd.Index(second)))
    return np.concatenate([first, second])


def _refuse_duplicates(ids: NDArray[Any]) -> None:
    repeated = pd.Index(ids).duplicated()
    if repeated.any():
        raise ValueError(
            f"ids must be unique, but these occur more than once: "
            f"{_some(pd.unique(ids[repeated]))}. Pass ids=range(len(X)) to number rows."
        )


def _some(values: NDArray[Any], most: int = 5) -> str:
    listed = ", ".join(repr(value) for value in values[:most].tolist())
    return listed + (", ..." if len(values) > most else "")
