"""The rows of an index: their ids, what is known of them, and which are there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from latentsk._typing import Positions
from latentsk.index._metadata import check_metadata
from latentsk.index._row_ids import as_ids, joined_ids, refuse_repeated, some_of
from latentsk.persistence import _schema as rules
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import Sizes, State, require


def _check_rows(_: Any, state: State, sizes: Sizes) -> None:
    ids, metadata, n_rows = state["ids"], state["metadata"], sizes["rows"]
    require(ids.shape == (n_rows,), "there are not as many ids as rows")
    # Indexes of pandas, which ids are looked up in, do not hold such numbers.
    require(ids.dtype != np.float16, "ids are of an unknown type")
    require(not pd.isna(ids).any(), "an id is missing")
    require(not pd.Index(ids[state["active"]]).has_duplicates, "an id occurs twice")
    if metadata is not None:
        fits = len(metadata) == n_rows and metadata.columns.is_unique
        require(fits, "metadata are of other rows")


@storable(
    {
        "active": rules.booleans("rows"),
        "ids": rules.instance(np.ndarray),
        "metadata": rules.maybe(rules.instance(pd.DataFrame)),
    },
    check=_check_rows,
)
@dataclass(frozen=True, eq=False)
class RowStore:
    """Positions, ids and metadata, and whether a row is still there.

    A position is a row's number in the order of arrival; it never changes, so removed
    rows stay as deleted positions. A store is never changed: its methods return another
    one.

    Attributes
    ----------
    ids : ndarray of shape (n_rows,)
        Ids by position, unique among the active rows: the id of a removed row may be
        used again, for a new row at a new position.

    active : ndarray of shape (n_rows,), dtype bool
        False for rows that were removed.

    metadata : DataFrame of n_rows rows or None
        What is known of each position; None where nothing is.

    Examples
    --------
    >>> store = RowStore.of(3, ["a", "b", "c"])
    >>> store.positions_of(["c", "a"])
    array([2, 0])
    >>> store.remove(store.positions_of(["b"])).active
    array([ True, False,  True])
    """

    ids: NDArray[Any]
    active: NDArray[np.bool_]
    metadata: pd.DataFrame | None = None

    @classmethod
    def of(
        cls,
        n_rows: int,
        ids: ArrayLike | None = None,
        metadata: pd.DataFrame | None = None,
    ) -> RowStore:
        """Return a store of rows that are all active.

        Parameters
        ----------
        n_rows : int
            Number of rows.

        ids : array-like of shape (n_rows,) or None, default=None
            One id a row; None: their positions.

        metadata : DataFrame of n_rows rows or None, default=None
            Copied.

        Raises
        ------
        ValueError
            If an id is missing or occurs twice, `ids` is not one-dimensional, or there
            are not as many ids, or rows of metadata, as rows.

        TypeError
            If `metadata` is not a DataFrame.
        """
        array = as_ids(np.arange(n_rows) if ids is None else ids)
        refuse_repeated(array)
        _check_lengths(n_rows, len(array), metadata)
        kept = None if metadata is None else metadata.copy()
        return cls(array, np.ones(n_rows, dtype=bool), kept)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def positions(self) -> Positions:
        """Positions of the active rows, ascending."""
        return np.flatnonzero(self.active)

    # Which rows

    @cached_property
    def _lookup(self) -> pd.Index:
        lookup = pd.Index(self.ids if self.active.all() else self.ids[self.positions])
        # pandas builds the hash table at the first question; before version 3, others
        # who ask in the meantime are answered from half of it.
        lookup.get_indexer(lookup[:1])
        return lookup

    def positions_of(self, ids: ArrayLike) -> Positions:
        """Return the positions of ids.

        Raises
        ------
        KeyError
            If an id is unknown or was removed.
        """
        wanted = as_ids(ids)
        found = self._lookup.get_indexer(pd.Index(wanted))
        if (found < 0).any():
            raise KeyError(f"Unknown ids: {some_of(wanted[found < 0])}.")
        return self.positions[found]

    def unique_positions_of(self, ids: ArrayLike) -> Positions:
        """Return the positions of ids, each of which is named once.

        Raises
        ------
        KeyError
            If an id is unknown or was removed.

        ValueError
            If an id occurs twice.
        """
        wanted = as_ids(ids)  # once: an iterator is empty the second time
        refuse_repeated(wanted)
        return self.positions_of(wanted)

    def eligible(self, filter: Any) -> Positions | None:
        """Return the positions of the active rows that pass a filter.

        Parameters
        ----------
        filter : array-like or None
            A mask, one boolean for every position, or ids; None: every row.

        Returns
        -------
        positions : ndarray of shape (n_eligible,) or None
            Ascending; None where every position is eligible.

        Raises
        ------
        ValueError
            If a mask has another length than there are positions, or nothing is left.

        KeyError
            If an id is unknown.

        Examples
        --------
        >>> rows = RowStore.of(3, ["a", "b", "c"]).remove(np.array([1]))
        >>> rows.eligible([True, True, False]), rows.eligible(["c"])
        (array([0]), array([2]))
        """
        if filter is None and self.active.all():
            return None
        positions = self.positions if filter is None else self._passing(filter)
        if len(positions) == 0:
            raise ValueError(
                "The index has no rows." if filter is None else "filter leaves no row."
            )
        return positions

    def _passing(self, filter: Any) -> Positions:
        mask = _as_mask(filter)
        if mask is None:
            return np.unique(self.positions_of(filter))
        if mask.shape != self.active.shape:
            raise ValueError(
                f"filter must have one boolean for each of the {len(self)} "
                f"positions (removed rows count), got shape {mask.shape}."
            )
        return np.flatnonzero(mask & self.active)

    # Changes

    def append(
        self,
        n_rows: int,
        ids: ArrayLike | None = None,
        metadata: pd.DataFrame | None = None,
    ) -> RowStore:
        """Return a store with further rows behind the present ones.

        Parameters
        ----------
        n_rows : int
            Number of rows.

        ids : array-like of shape (n_rows,) or None, default=None
            One id a row; None: their positions, where all ids are whole numbers.

        metadata : DataFrame of n_rows rows or None, default=None
            With the columns that there are.

        Raises
        ------
        ValueError
            If an id is missing, occurs twice or is there already, or ids or metadata do
            not fit.

        TypeError
            If `metadata` is not a DataFrame.
        """
        if ids is None and self.ids.dtype.kind not in "iu":
            raise ValueError(
                "ids are needed, because those of the index are not whole numbers."
            )
        numbers = np.arange(len(self), len(self) + n_rows)
        added = as_ids(numbers if ids is None else ids)
        if metadata is None and self.metadata is not None:
            raise ValueError("The index has metadata: give that of the new rows.")
        frame = self._with_own_columns(metadata)
        refuse_repeated(added)
        is_there = self._lookup.get_indexer(pd.Index(added)) >= 0
        if is_there.any():
            raise ValueError(
                f"These ids are in the index already: {some_of(added[is_there])}. "
                "Use update to replace their rows."
            )
        _check_lengths(n_rows, len(added), frame)
        return RowStore(
            joined_ids(self.ids, added),
            np.concatenate([self.active, np.ones(n_rows, dtype=bool)]),
            None if frame is None else pd.concat([self.metadata, frame]),
        )

    def update(
        self, n_rows: int, positions: Positions, metadata: pd.DataFrame | None
    ) -> RowStore:
        """Return a store with other metadata at some positions.

        Raises
        ------
        ValueError
            If there are not as many positions, or rows of metadata, as rows, or the
            columns are others.

        TypeError
            If `metadata` is not a DataFrame.
        """
        frame = self._with_own_columns(metadata)
        _check_lengths(n_rows, len(positions), frame)
        if frame is None:
            return self
        # Joined rather than assigned, so that dtypes hold all values.
        order = np.arange(len(self))
        order[positions] = len(self) + np.arange(n_rows)
        joined = pd.concat([self.metadata, frame], ignore_index=True).iloc[order]
        assert self.metadata is not None
        return replace(self, metadata=joined.set_axis(self.metadata.index))

    def remove(self, positions: Positions) -> RowStore:
        """Return a store in which the rows at some positions are deleted."""
        active = self.active.copy()
        active[positions] = False
        return replace(self, active=active)

    def _with_own_columns(self, metadata: pd.DataFrame | None) -> pd.DataFrame | None:
        """Return metadata of further rows with the columns in the order of the store.

        Raises
        ------
        ValueError
            If the columns are others.

        TypeError
            If it is not a DataFrame.
        """
        if metadata is None:
            return None
        if self.metadata is None:
            raise ValueError("The index was fitted without metadata.")
        check_metadata(metadata)
        columns = self.metadata.columns
        missing = columns.difference(metadata.columns)
        if len(missing) or len(metadata.columns) != len(columns):
            raise ValueError(
                f"metadata must have the columns {list(columns)}, got "
                f"{list(metadata.columns)}."
            )
        return metadata[columns]


def _check_lengths(n_rows: int, n_ids: int, metadata: pd.DataFrame | None) -> None:
    if n_ids != n_rows:
        raise ValueError(f"Got {n_ids} ids for {n_rows} rows of X.")
    check_metadata(metadata)
    if metadata is not None and len(metadata) != n_rows:
        raise ValueError(
            f"Got metadata of {len(metadata)} rows for {n_rows} rows of X."
        )


def _as_mask(wanted: Any) -> NDArray[np.bool_] | None:
    """Return a filter as booleans, or None where it holds ids."""
    if isinstance(wanted, pd.Series) and pd.api.types.is_bool_dtype(wanted.dtype):
        # A missing value (of a nullable dtype) passes no filter.
        return wanted.fillna(False).to_numpy(dtype=bool)
    if not isinstance(wanted, pd.Index | pd.Series) and hasattr(wanted, "__len__"):
        array = np.asarray(wanted)
        if array.dtype == bool and array.size:
            return array
    return None
