"""What is known of each position, in a table that grows without being copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from latentsk._typing import Positions
from latentsk.index._metadata import check_metadata
from latentsk.index._metadata_columns import as_dtype, in_one_dtype

# Tables that wait to be joined: more would take long to list.
MOST_PARTS = 256


class MetadataTable:
    """Rows of a table by position.

    Never changed: methods return another one. Tables that are appended are joined when
    somebody reads them.

    Parameters
    ----------
    *parts : DataFrame
        One behind the other, with the same columns, of the same dtypes.

    Examples
    --------
    >>> table = MetadataTable(pd.DataFrame({"year": [2000, 2001]}))
    >>> table.appended(pd.DataFrame({"year": [2002]})).frame["year"].tolist()
    [2000, 2001, 2002]
    """

    def __init__(self, *parts: pd.DataFrame) -> None:
        self._parts = parts

    @property
    def columns(self) -> pd.Index:
        """Names of the columns."""
        return self._parts[0].columns

    @property
    def frame(self) -> pd.DataFrame:
        """The whole table, numbered by position."""
        if len(self._parts) > 1:
            self._parts = (pd.concat(self._parts, ignore_index=True),)
        return self._parts[0]

    def appended(self, more: pd.DataFrame) -> MetadataTable:
        """Return a table with further rows.

        Raises
        ------
        ValueError
            If values are of another kind than those of their column.
        """
        table, more = self._alike(more)
        if len(table._parts) >= MOST_PARTS:
            return MetadataTable(table.frame, more)
        return MetadataTable(*table._parts, more)

    def replaced(self, positions: Positions, rows: pd.DataFrame) -> MetadataTable:
        """Return a table with other rows at some positions.

        Raises
        ------
        ValueError
            As `appended`.
        """
        if len(rows) == 0:
            return self
        table, rows = self._alike(rows)
        before = table.frame
        order = np.arange(len(before))
        order[positions] = len(before) + np.arange(len(rows))
        joined = pd.concat([before, rows], ignore_index=True).iloc[order]
        return MetadataTable(joined.reset_index(drop=True))

    def _alike(self, rows: pd.DataFrame) -> tuple[MetadataTable, pd.DataFrame]:
        """Return a table, and rows to join to it, of the same dtypes."""
        dtypes = self._parts[0].dtypes
        if rows.dtypes.equals(dtypes):
            return self, rows
        wider, taken = {}, {}
        for name in self.columns:
            values = as_dtype(rows[name], dtypes[name])
            if values is None:
                own, values = in_one_dtype(self.frame[name], rows[name])
                wider[name] = own
            taken[name] = values.set_axis(rows.index)
        table = MetadataTable(self._with(self.frame, wider)) if wider else self
        return table, self._with(rows, taken)

    def _with(self, frame: pd.DataFrame, columns: dict[Any, pd.Series]) -> pd.DataFrame:
        """Return a table of which some columns are others."""
        made = {name: columns.get(name, frame[name]) for name in self.columns}
        return pd.DataFrame(made, index=frame.index)[self.columns]

    def with_own_columns(self, metadata: Any) -> pd.DataFrame:
        """Return metadata of other rows with the columns in the order of the table.

        Raises
        ------
        ValueError
            If the columns are others.

        TypeError
            If it is not a DataFrame.
        """
        metadata = check_metadata(metadata)
        if metadata.columns.equals(self.columns):
            return metadata
        missing = self.columns.difference(metadata.columns)
        if len(missing) or len(metadata.columns) != len(self.columns):
            raise ValueError(
                f"metadata must have the columns {list(self.columns)}, got "
                f"{list(metadata.columns)}."
            )
        return metadata[self.columns]
