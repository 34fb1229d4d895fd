"""The rows of an index: their ids, what is known of them, and which are there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from latentsk._typing import Positions
from latentsk.index._buffers import AppendedArray
from latentsk.index._id_lookup import IdLookup
from latentsk.index._labels import id_index, is_default
from latentsk.index._metadata import check_metadata, labelled_metadata
from latentsk.index._metadata_table import MetadataTable
from latentsk.index._row_ids import (
    as_ids,
    joined_ids,
    refuse_other_kind,
    refuse_repeated,
    refuse_unstorable,
    some_of,
)
from latentsk.persistence import _schema as rules
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import Sizes, State, require

# A store, and the positions of the rows that came or changed.
Placed = tuple["RowStore", Positions]


# What files hold as a count: nobody counts on from there.
LARGEST_ID = 2**63


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
    optional={"next_id": rules.count()},
    check=_check_rows,
)
class RowStore:
    """Positions, ids and metadata, and whether a row is still there.

    A position is a row's number in the order of arrival, and belongs to one id for
    ever: a removed row stays as a position that is not active, and is active again once
    its id is added again. A store is never changed: its methods return another one.

    Parameters
    ----------
    ids : AppendedArray of shape (n_rows,)
        Ids by position.

    active : ndarray of shape (n_rows,), dtype bool
        False for rows that were removed.

    table : MetadataTable of n_rows rows or None
        What is known of each position; None where nothing is.

    lookup : IdLookup or None, default=None
        Of the ids, and perhaps of later ones; None where it is to be made.

    next_id : int, default=0
        Smallest whole number that may become an id by itself, as far as rows that are
        no longer there say so.

    Examples
    --------
    >>> store = RowStore.of(3, ["a", "b", "c"])
    >>> store.positions_of(["c", "a"])
    array([2, 0])
    >>> store.remove(store.positions_of(["b"])).active
    array([ True, False,  True])
    """

    def __init__(
        self,
        ids: AppendedArray,
        active: NDArray[np.bool_],
        table: MetadataTable | None,
        lookup: IdLookup | None = None,
        next_id: int = 0,
    ) -> None:
        self._ids = ids
        self.active = active
        self.table = table
        self._lookup = lookup
        self.next_id = next_id

    @classmethod
    def of(cls, n_rows: int, ids: Any = None, metadata: Any = None) -> RowStore:
        """Return a store of rows that are all active.

        Parameters
        ----------
        n_rows : int
            Number of rows.

        ids : array-like of shape (n_rows,) or None, default=None
            One id a row; None: their positions.

        metadata : DataFrame of n_rows rows or None, default=None
            Copied; its labels rule.

        Raises
        ------
        ValueError
            If an id is missing or occurs twice, `ids` is not one-dimensional, or there
            are not as many ids, or rows of metadata, as rows, or metadata are labelled
            otherwise.

        TypeError
            If `metadata` is not a DataFrame.
        """
        array = _checked_ids(n_rows, np.arange(n_rows) if ids is None else ids)
        table = None
        if metadata is not None:
            frame = labelled_metadata(check_metadata(metadata), array)
            table = MetadataTable(frame.copy())
        return cls(AppendedArray(array), np.ones(n_rows, dtype=bool), table)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ids(self) -> NDArray[Any]:
        """Ids by position, no two of which are the same."""
        return self._ids.rows

    @cached_property
    def positions(self) -> Positions:
        """Positions of the active rows, ascending."""
        return np.flatnonzero(self.active)

    @cached_property
    def n_active(self) -> int:
        """Number of active rows."""
        return int(np.count_nonzero(self.active))

    @property
    def is_whole(self) -> bool:
        """Whether no row was removed."""
        return self.n_active == len(self)

    @property
    def active_ids(self) -> NDArray[Any]:
        """Ids of the active rows, by position."""
        return self.ids if self.is_whole else self.ids[self.positions]

    @cached_property
    def known(self) -> pd.DataFrame | None:
        """What is known of the active rows, numbered; None where nothing is."""
        if self.table is None:
            return None
        frame = self.table.frame
        if self.is_whole:
            return frame
        return frame.iloc[self.positions].reset_index(drop=True)

    @cached_property
    def metadata(self) -> pd.DataFrame | None:
        """What is known of the active rows, by id; None where nothing is."""
        if self.known is None:
            return None
        return self.known.set_axis(pd.Index(self.active_ids), axis=0)

    def is_labelled_as(self, labels: pd.Index) -> bool:
        """Tell whether labels are those of the metadata, without comparing them."""
        return self.metadata is not None and labels.is_(self.metadata.index)

    def metadata_at(self, positions: Positions) -> pd.DataFrame:
        """Return what is known of some positions.

        Raises
        ------
        ValueError
            If nothing is.
        """
        return self.require_metadata().frame.iloc[positions]

    def require_metadata(self) -> MetadataTable:
        """Return the table of metadata.

        Raises
        ------
        ValueError
            If there is none.
        """
        if self.table is None:
            raise ValueError("The index was fitted without metadata.")
        return self.table

    # Which rows

    def positions_of(self, ids: ArrayLike) -> Positions:
        """Return the positions of ids.

        Raises
        ------
        KeyError
            If an id is unknown or was removed.
        """
        wanted = as_ids(ids)
        found = self.positions_of_known(wanted)
        if (found < 0).any():
            raise KeyError(f"Unknown ids: {some_of(wanted[found < 0])}.")
        return found

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

    def holds(self, ids: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which ids are those of active rows."""
        return self.positions_of_known(ids) >= 0

    def positions_of_known(self, ids: NDArray[Any]) -> Positions:
        """Return the positions of ids; -1 for one that is unknown or was removed."""
        found = self._positions(ids)
        return np.where((found >= 0) & self.active[found], found, -1)

    def _positions(self, ids: NDArray[Any]) -> Positions:
        """Return the positions of ids, removed ones included; -1 where there is none.

        A lookup that later stores share may know of more.
        """
        lookup = self._lookup
        if lookup is None or lookup.is_slow:
            lookup = self._lookup = IdLookup(self.ids, self.active)
        found = lookup.positions(ids)
        return np.where(found < len(self), found, -1)

    # Changes

    def append(self, n_rows: int, ids: Any = None, metadata: Any = None) -> Placed:
        """Return a store with further rows, and their positions.

        Ids that were removed get their positions back; others come behind the present
        ones.

        Parameters
        ----------
        n_rows : int
            Number of rows.

        ids : array-like of shape (n_rows,) or None, default=None
            One id a row; None: the next whole numbers, where all ids are whole numbers.

        metadata : DataFrame of n_rows rows or None, default=None
            With the columns that there are; its labels rule.

        Raises
        ------
        ValueError
            If an id is missing, occurs twice or is there already, is a number among
            strings or the other way round, or ids or metadata do not fit.

        TypeError
            If `metadata` is not a DataFrame.
        """
        added = _checked_ids(n_rows, self._next_ids(n_rows) if ids is None else ids)
        refuse_other_kind(added, self.ids)
        frame = self._frame_of(added, metadata)
        positions = self._positions(added)
        is_there = (positions >= 0) & self.active[positions]
        if is_there.any():
            raise ValueError(
                f"These ids are in the index already: {some_of(added[is_there])}. "
                "Use update to replace their rows, or upsert to add the others too."
            )
        is_new = positions < 0
        n_new = int(np.count_nonzero(is_new))
        positions[is_new] = len(self) + np.arange(n_new)
        active = np.concatenate([self.active, np.ones(n_new, dtype=bool)])
        active[positions] = True
        longer = self._continued(added[is_new], active)
        if frame is not None:
            assert self.table is not None
            longer.table = self.table
            if n_new < n_rows:
                longer.table = self.table.replaced(positions[~is_new], frame[~is_new])
                frame = frame[is_new]
            if n_new:
                longer.table = longer.table.appended(frame)
        return longer, positions

    def _next_ids(self, n_rows: int) -> NDArray[Any]:
        """Return the whole numbers behind all ids: positions, where ids are these."""
        if self.ids.dtype.kind not in "iu":
            raise ValueError(
                "ids are needed, because those of the index are not whole numbers."
            )
        start = self._following_id()
        return np.arange(start, start + n_rows)

    def _following_id(self) -> int:
        return max(self.next_id, len(self), int(self.ids.max()) + 1)

    def _continued(self, ids: NDArray[Any], active: NDArray[np.bool_]) -> RowStore:
        """Return a store with further ids."""
        if len(ids) == 0:
            return self._with(self._ids, active, self.table, self._lookup)
        if self.ids.dtype == object:
            ids = np.asarray(id_index(ids).astype(object))
        if ids.dtype == self.ids.dtype:
            array = self._ids.appended(ids)
        else:
            array = AppendedArray(joined_ids(self.ids, ids))
        # Once: who asks for an id meanwhile may have put another one there.
        lookup = self._lookup
        if lookup is not None and lookup.n_rows == len(self):
            lookup.extend(ids)
        else:
            lookup = None  # it knows of rows that came here, and did not stay
        return self._with(array, active, self.table, lookup)

    def _frame_of(self, ids: NDArray[Any], metadata: Any) -> pd.DataFrame | None:
        """Return metadata of further rows, in the order of their ids."""
        if metadata is None:
            if self.table is not None:
                raise ValueError("The index has metadata: give that of the new rows.")
            return None
        return labelled_metadata(
            self.require_metadata().with_own_columns(metadata), ids
        )

    def update(self, n_rows: int, ids: Any, metadata: Any) -> Placed:
        """Return a store with other metadata of some rows, and their positions.

        Raises
        ------
        KeyError
            If an id is unknown or was removed.

        ValueError
            If there are not as many ids, or rows of metadata, as rows, an id occurs
            twice, or the columns or labels are others.

        TypeError
            If `metadata` is not a DataFrame.
        """
        names = as_ids(ids)
        positions = self.unique_positions_of(names)
        if len(names) != n_rows:
            raise ValueError(f"Got {len(names)} ids for {n_rows} rows of X.")
        if metadata is None:
            return self, positions
        frame = self.require_metadata().with_own_columns(metadata)
        frame = labelled_metadata(frame, names)
        table = self.require_metadata().replaced(positions, frame)
        return self._with_table(table), positions

    def upsert(self, n_rows: int, ids: Any, metadata: Any) -> Placed:
        """Return a store with further rows, and other metadata of present ones.

        Raises
        ------
        ValueError, TypeError
            As `append`.
        """
        names = _checked_ids(n_rows, ids)
        frame, is_there = None, self.holds(names)
        if metadata is not None or not is_there.all():
            frame = self._frame_of(names, metadata)

        def some(which: NDArray[np.bool_]) -> tuple[int, NDArray[Any], Any]:
            part = None if frame is None else frame[which].reset_index(drop=True)
            return int(np.count_nonzero(which)), names[which], part

        positions = np.empty(n_rows, dtype=np.intp)
        store, positions[is_there] = self.update(*some(is_there))
        if not is_there.all():
            store, positions[~is_there] = store.append(*some(~is_there))
        return store, positions

    def with_metadata(self, metadata: Any, ids: Any = None) -> RowStore:
        """Return a store in which some columns are known otherwise, or for the first.

        Raises
        ------
        KeyError, ValueError, TypeError
            As `update`; a ValueError, too, if columns are new and rows are left out.
        """
        frame = check_metadata(metadata)
        names = as_ids(self._labels_of(frame) if ids is None else ids)
        positions = self.unique_positions_of(names)
        frame = labelled_metadata(frame, names)
        if len(names) == 0:
            return self
        before = pd.DataFrame(index=range(len(self)))
        if self.table is not None:
            before = self.table.frame
        present = frame.columns[frame.columns.isin(before.columns)]
        new = frame.columns.difference(present, sort=False)
        if len(new) and len(names) != self.n_active:
            raise ValueError(
                f"metadata has columns that the index has not, {list(new)}, and leaves "
                f"out {self.n_active - len(names)} of {self.n_active} rows: give new "
                "columns for all of them."
            )
        changed = MetadataTable(before[present]).replaced(positions, frame[present])
        order = np.zeros(len(self), dtype=np.intp)  # what is removed takes any value
        order[positions] = np.arange(len(names))
        added = frame[new].iloc[order].reset_index(drop=True)
        kept = before.drop(columns=present)
        joined = pd.concat([kept, changed.frame, added], axis=1)
        return self._with_table(MetadataTable(joined[[*before.columns, *new]]))

    def _labels_of(self, frame: pd.DataFrame) -> Any:
        """Return the ids of metadata: their labels, where these mean something."""
        if is_default(frame.index) and len(frame) == self.n_active:
            return self.active_ids
        return frame.index

    def _with(
        self,
        ids: AppendedArray,
        active: NDArray[np.bool_],
        table: MetadataTable | None,
        lookup: IdLookup | None = None,
    ) -> RowStore:
        return RowStore(ids, active, table, lookup, self.next_id)

    def _with_table(self, table: MetadataTable) -> RowStore:
        return self._with(self._ids, self.active, table, self._lookup)

    def remove(self, positions: Positions) -> RowStore:
        """Return a store in which the rows at some positions are not active."""
        active = self.active.copy()
        active[positions] = False
        return self._with(self._ids, active, self.table, self._lookup)

    def compacted(self) -> RowStore:
        """Return a store of the active rows only, numbered anew.

        No id that was given by itself is given again.
        """
        table, positions = self.table, self.positions
        if table is not None:
            table = MetadataTable(table.frame.iloc[positions].reset_index(drop=True))
        ids = AppendedArray(self.ids[positions])
        is_number = self.ids.dtype.kind in "iu"
        next_id = self._following_id() if is_number else 0
        next_id = next_id if next_id < LARGEST_ID else 0
        return RowStore(ids, np.ones(len(positions), bool), table, next_id=next_id)

    def apart(self) -> RowStore:
        """Return the same store, which shares nothing that others add to."""
        return self._with(AppendedArray(self.ids), self.active, self.table)

    # What is stored

    def to_state(self) -> dict[str, Any]:
        """Return ids, what is active, and metadata by position."""
        metadata = None if self.table is None else self.table.frame
        state = {"active": self.active, "ids": self.ids, "metadata": metadata}
        return state | ({"next_id": self.next_id} if self.next_id else {})

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RowStore:
        """Return the store of a state."""
        metadata = state["metadata"]
        table = None
        if metadata is not None:
            table = MetadataTable(metadata.reset_index(drop=True))
        ids, next_id = AppendedArray(state["ids"]), state.get("next_id", 0)
        return cls(ids, state["active"], table, next_id=next_id)


def _checked_ids(n_rows: int, ids: Any) -> NDArray[Any]:
    array = as_ids(ids)
    refuse_repeated(array)
    if len(array) != n_rows:
        raise ValueError(f"Got {len(array)} ids for {n_rows} rows of X.")
    refuse_unstorable(array)
    return array
