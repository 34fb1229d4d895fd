"""Which rows a filter lets through: a mask, ids, a query string or a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk._typing import Positions
from latentsk.index._filter_query import rows_passing
from latentsk.index._labels import flat_labels, id_index, is_default, order_by_labels
from latentsk.index._row_ids import as_ids
from latentsk.index._rows import RowStore

_REMEDY = (
    "Label it by id, like index.metadata_, or take it by position, filter.to_numpy()."
)
_AS_MASK = (
    "A column of zeros and ones is no mask: use filter.astype(bool), or name each id "
    "once."
)


def eligible_positions(rows: RowStore, filter: Any) -> Positions | None:
    """Return the positions of the active rows that pass a filter.

    Parameters
    ----------
    rows : RowStore

    filter : str, callable, array-like or None
        A query string, a function of the metadata, a mask, or ids; None: every row.

    Returns
    -------
    positions : ndarray of shape (n_eligible,) or None
        Ascending; None where every position is eligible.

    Raises
    ------
    ValueError
        If a mask has another length than there are positions, or other labels than the
        rows, or a query string or a function is not valid.

    KeyError
        If an id is unknown.

    Examples
    --------
    >>> rows = RowStore.of(3, ["a", "b", "c"]).remove(np.array([1]))
    >>> eligible_positions(rows, [True, True, False])
    array([0])
    >>> eligible_positions(rows, ["c"]), eligible_positions(rows, "id == 'a'")
    (array([2]), array([0]))
    """
    if filter is None:
        return None if rows.is_whole else rows.positions
    if isinstance(filter, str):
        return rows.positions[rows_passing(filter, rows.known, rows.active_ids)]
    if callable(filter):
        return rows.positions[_answer(filter, rows)]
    if isinstance(filter, Set | Iterator):
        filter = list(filter)
    elif isinstance(filter, Mapping):
        filter = _of_mapping(filter)
    mask = _as_mask(filter)
    if mask is None:
        _refuse_flags(filter, rows)
        return np.unique(rows.positions_of(_as_ids(filter)))
    if isinstance(filter, pd.Series):
        return _labelled(mask, filter.index, rows)
    return _by_position(mask, rows)


def _of_mapping(filter: Mapping[Any, Any]) -> pd.Series:
    """Return a mask by id.

    Raises
    ------
    ValueError
        If its values are no booleans.
    """
    given = pd.Series(filter)
    if len(given) and _as_mask(given) is None:
        query = " and ".join(_compared(*each) for each in filter.items())
        raise ValueError(
            "filter as a dictionary has True or False for each id, got "
            f"{dict(filter)!r:.200}. Columns are compared in a string: "
            f"filter={query!r}."
        )
    return given


def _compared(name: Any, value: Any) -> str:
    """Return a query that compares a column with a value."""
    name = str(name) if str(name).isidentifier() else f"`{name}`"
    if isinstance(value, list | tuple | set):
        return f"{name} in {list(value)!r}"
    return f"{name} == {value!r}"


def _as_ids(filter: Any) -> NDArray[Any]:
    """Return ids that a filter names.

    Raises
    ------
    ValueError
        If it holds none.
    """
    try:
        return as_ids(filter)
    except ValueError as error:
        if "missing" in str(error):
            raise
        is_one = isinstance(filter, Real)
        remedy = f" One id is given in a list: filter=[{filter!r}]." if is_one else ""
        raise ValueError(
            "filter must be a query string, a function, a mask or a list of ids, got "
            f"{filter!r:.200}.{remedy}"
        ) from error


def _answer(filter: Callable[[pd.DataFrame], Any], rows: RowStore) -> NDArray[np.bool_]:
    """Return what a function says of each active row."""
    if rows.metadata is None:
        raise ValueError(
            "A filter that is a function is given the metadata, and the index has none:"
            " fit it with metadata=, or filter by ids."
        )
    answer = filter(rows.metadata.copy())
    mask = _as_mask(answer)
    if rows.n_active == 0 and np.shape(answer) == (0,):
        return np.zeros(0, dtype=bool)  # of no row, whatever its dtype
    if mask is None or mask.shape != (rows.n_active,):
        kind = type(answer).__name__ if mask is None else f"shape {mask.shape}"
        raise ValueError(
            "filter must return a boolean for each of the "
            f"{rows.n_active} rows of the metadata, got {kind}."
        )
    if isinstance(answer, pd.Series) and not rows.is_labelled_as(answer.index):
        order = order_by_labels(answer.index, rows.active_ids, "filter", _REMEDY)
        return mask if order is None else mask[order]
    return mask


def _labelled(mask: NDArray[np.bool_], labels: pd.Index, rows: RowStore) -> Positions:
    """Return the positions that pass a mask with labels, one per active id."""
    ids = rows.active_ids
    if rows.is_labelled_as(labels):
        return rows.positions[mask]
    flat = flat_labels(labels)
    if flat.equals(id_index(ids)):
        return rows.positions[mask]
    if is_default(labels):
        return _by_position(mask, rows)
    if len(flat) == len(ids):
        # Among the ids, which are hashed already; the labels would have to be.
        found = rows.positions_of_known(np.asarray(flat))
        is_found = np.zeros(len(rows) + 1, dtype=bool)  # the last one stands for -1
        is_found[found] = True
        if np.count_nonzero(is_found[:-1]) == len(ids):
            return np.sort(found[mask])
    order = order_by_labels(labels, ids, "filter", _REMEDY)
    return rows.positions[mask if order is None else mask[order]]


def _by_position(mask: NDArray[np.bool_], rows: RowStore) -> Positions:
    if mask.shape != rows.active.shape:
        raise ValueError(
            f"filter must have one boolean for each of the {len(rows)} "
            f"positions (removed rows count), got shape {mask.shape}."
        )
    return np.flatnonzero(mask & rows.active)


def _as_mask(given: Any) -> NDArray[np.bool_] | None:
    """Return a filter as booleans, or None where it holds something else.

    A missing value passes no filter.

    Raises
    ------
    ValueError
        If it is a table.
    """
    if isinstance(given, pd.DataFrame):
        raise ValueError(
            f"filter must be one column, got a table of {list(given.columns)}: select "
            "one, as in metadata['name']."
        )
    column = _as_column(given)
    if column is None:
        array = np.asarray(given) if hasattr(given, "dtype") else None
        return array if array is not None and array.dtype == bool else None
    if len(column) == 0:
        return None
    if column.dtype == bool:
        return column.to_numpy()
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind != "boolean" and not (kind == "empty" and column.dtype == object):
        return None
    return column.fillna(False).to_numpy(dtype=bool)


def _as_column(given: Any) -> pd.Series | None:
    """Return a filter as a column, or None where it is none."""
    if isinstance(given, pd.MultiIndex) or not hasattr(given, "__len__"):
        return None
    if not isinstance(given, pd.Series):
        try:
            array = given if hasattr(given, "dtype") else np.asarray(given)
        except ValueError:
            return None  # tuples of different lengths
        if isinstance(given, list | tuple) and array.dtype.kind == "f":
            array = np.array(given, dtype=object)  # True beside NaN became 1.0
        if isinstance(array, np.ma.MaskedArray):
            is_masked = np.ma.getmaskarray(array)
            array = array.data.astype(object)
            array[is_masked] = None
        if getattr(array, "ndim", 1) != 1:
            return None
        given = pd.Series(array if hasattr(array, "isna") else np.asarray(array))
    if isinstance(given.dtype, pd.CategoricalDtype):
        return given.astype(object)
    return given


def _refuse_flags(filter: Any, rows: RowStore) -> None:
    """Refuse a column of zeros and ones, whose values are not meant as ids."""
    column = _as_column(filter)
    if column is None:
        return
    values = column.dropna()
    is_column = not values.is_unique
    if isinstance(filter, pd.Series) and not is_default(filter.index):
        labels = flat_labels(filter.index)
        of_rows = labels.isin(id_index(rows.active_ids))
        is_column |= len(filter) > 0 and bool(of_rows.all())
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if is_column and kind in ("integer", "floating") and values.isin([0, 1]).all():
        raise ValueError(_AS_MASK)
