"""Labels rule: what carries an index of pandas is brought into the order of ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk._typing import Positions
from latentsk.index._row_ids import some_of


def is_default(labels: pd.Index) -> bool:
    """Tell whether labels only number rows, and mean nothing.

    Examples
    --------
    >>> is_default(pd.RangeIndex(3)), is_default(pd.RangeIndex(3, name="user"))
    (True, False)
    """
    if not isinstance(labels, pd.RangeIndex) or labels.name is not None:
        return False
    return (labels.start, labels.step) == (0, 1)


def order_by_labels(
    labels: pd.Index, ids: NDArray[Any], what: str, remedy: str, kind: str = "ids"
) -> Positions | None:
    """Return the order in which labelled rows belong to ids.

    Labels that are the ids, in whatever order, rule; those of an unnamed default
    RangeIndex mean nothing, and the rows are taken as they come.

    Parameters
    ----------
    labels : Index of n_rows labels

    ids : ndarray of shape (n_rows,)

    what : str
        Has the labels, in words of an error.

    remedy : str
        What to do about other labels.

    kind : str, default="ids"
        What the ids are, in words of an error.

    Returns
    -------
    order : ndarray of shape (n_rows,) or None
        Numbers of the rows, by id; None where they are in order.

    Raises
    ------
    ValueError
        If the labels are others than the ids.

    Examples
    --------
    >>> ids = np.array(["a", "b"])
    >>> order_by_labels(pd.Index(["b", "a"]), ids, "metadata", "")
    array([1, 0])
    >>> order_by_labels(pd.RangeIndex(2), ids, "metadata", "")
    """
    if len(labels) == len(ids):
        flat, names = flat_labels(labels), id_index(ids)
        if flat.equals(names) or is_default(labels):
            return None
        order = np.array([-1])
        if flat.is_unique and names.is_unique:
            order = flat.get_indexer(names)
        if (order >= 0).all():
            return order
        strange = flat[~flat.isin(names) | flat.duplicated()]
    else:
        strange = labels[:0]
    named = f", such as {some_of(np.asarray(strange), 1)}" if len(strange) else ""
    raise ValueError(
        f"{what} has {len(labels)} labels (its index){named}, which are not the "
        f"{kind} of the {len(ids)} rows. {remedy}"
    )


def flat_labels(labels: pd.Index) -> pd.Index:
    """Return labels of one level: those of several become tuples."""
    return labels.to_flat_index() if isinstance(labels, pd.MultiIndex) else labels


def id_index(ids: NDArray[Any]) -> pd.Index:
    """Return ids as an index of one level, in which they can be looked up."""
    # Objects stay what they are: dates among them, say, are not all made dates.
    dtype = object if ids.dtype == object else None
    return pd.Index(ids, dtype=dtype, tupleize_cols=False)


def aligned_ids(X: Any, ids: Any) -> Any:
    """Return the ids of rows, in their order, from ids that may be labelled, too.

    Labels of ids count where the rows have labels that mean something; then they are
    aligned with these.

    Raises
    ------
    ValueError
        If rows and ids have different labels.

    Examples
    --------
    >>> X = pd.DataFrame({"x": [1.0, 2.0]}, index=["r", "s"])
    >>> aligned_ids(X, pd.Series([10, 20], index=["s", "r"])).tolist()
    [20, 10]
    """
    is_labelled = isinstance(ids, pd.Series) and isinstance(X, pd.DataFrame | pd.Series)
    if not is_labelled or len(ids) != len(X):
        return ids
    labels, names = flat_labels(ids.index), flat_labels(X.index)
    if is_default(X.index) and not labels.isin(names).all():
        return ids  # the labels of the rows mean nothing
    remedy = (
        "Align them with the index of X, ids.reindex(X.index), or take them by "
        "position, ids.to_numpy()."
    )
    order = order_by_labels(labels, np.asarray(names), "ids", remedy, "labels")
    return ids if order is None else ids.iloc[order]


def required_ids(X: Any, ids: Any, method: str) -> Any:
    """Return ids that are given, or labels of rows.

    Raises
    ------
    ValueError
        If there are none.
    """
    if ids is not None:
        return aligned_ids(X, ids)
    if not isinstance(X, pd.DataFrame | pd.Series):
        raise ValueError(f"{method} needs the ids of the rows.")
    return X.index
