"""Which rows a search may return."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk.index.rows import RowStore


def eligible_positions(rows: RowStore, wanted: Any) -> NDArray[np.intp] | None:
    """Return the positions of the rows that are there and pass a filter.

    Parameters
    ----------
    rows : RowStore
        The rows.

    wanted : array-like or None
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
    >>> rows = RowStore.of(["a", "b", "c"]).remove(["b"])
    >>> eligible_positions(rows, [True, True, False]), eligible_positions(rows, ["c"])
    (array([0]), array([2]))
    """
    if wanted is None:
        positions = None if rows.alive.all() else rows.living
    else:
        mask = _as_mask(wanted)
        if mask is None:
            positions = np.unique(rows.positions_of(wanted))
        else:
            if mask.shape != rows.alive.shape:
                raise ValueError(
                    f"filter must have one boolean for each of the {len(rows.alive)} "
                    f"positions (removed rows count), got shape {mask.shape}."
                )
            positions = np.flatnonzero(mask & rows.alive)
    if positions is not None and len(positions) == 0:
        raise ValueError(
            "filter leaves no row." if wanted is not None else "The index has no rows."
        )
    return positions


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
