"""The row store: which row of the index stands for which id."""

from __future__ import annotations

from dataclasses import dataclass
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
        Unique ids, by position.

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

    def positions_of(self, ids: ArrayLike) -> NDArray[np.intp]:
        """Return the positions of ids.

        Raises
        ------
        KeyError
            If an id is unknown or was removed.
        """
        wanted = _as_ids(ids)
        positions = pd.Index(self.ids).get_indexer(pd.Index(wanted))
        known = positions >= 0
        known[known] = self.alive[positions[known]]
        if not known.all():
            raise KeyError(f"Unknown ids: {_some(wanted[~known])}.")
        return positions

    def append(self, ids: ArrayLike) -> RowStore:
        """Return a store with further rows behind the present ones.

        Raises
        ------
        ValueError
            If an id is missing, occurs twice or was ever used.
        """
        added_ids = _as_ids(ids)
        if len(added_ids) == 0:
            return self
        array = _joined(self.ids, added_ids)
        _refuse_duplicates(array)
        added = np.ones(len(array) - len(self.ids), dtype=bool)
        return RowStore(array, np.concatenate([self.alive, added]))

    def remove(self, ids: ArrayLike) -> RowStore:
        """Return a store in which these rows are dead.

        Raises
        ------
        KeyError
            If an id is unknown or was removed before.
        """
        alive = self.alive.copy()
        alive[self.positions_of(ids)] = False
        return RowStore(self.ids, alive)


def _as_ids(ids: ArrayLike) -> NDArray[Any]:
    # Not through numpy: it would turn a list of mixed types into strings.
    try:
        index = ids if isinstance(ids, pd.Index) else pd.Index(ids)  # type: ignore
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"ids must be a list or array with one id a row, got {ids!r}."
        ) from error
    if index.to_frame().isna().to_numpy().any():
        raise ValueError("ids must not be missing (None or NaN).")
    return np.asarray(index)


def _joined(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Join ids without changing any: int64 and uint64, say, would become floats."""
    if first.dtype != second.dtype:
        first, second = first.astype(object), second.astype(object)
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
