"""What is known of rows: a table, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk.index._labels import order_by_labels

_REMEDY = (
    "If its rows come in the order of X, label them so, metadata.set_axis(ids), or "
    "take the labels away, metadata.reset_index(drop=True)."
)


def check_metadata(metadata: Any) -> pd.DataFrame:
    """Return metadata, which are a table with different names.

    Raises
    ------
    TypeError, ValueError
    """
    if not isinstance(metadata, pd.DataFrame):
        raise TypeError(f"metadata must be a DataFrame, got {type(metadata).__name__}.")
    if not metadata.columns.is_unique:
        raise ValueError(
            f"metadata must have columns of different names, got "
            f"{list(metadata.columns)}."
        )
    return metadata


def labelled_metadata(metadata: pd.DataFrame, ids: NDArray[Any]) -> pd.DataFrame:
    """Return metadata in the order of ids, numbered; labels rule.

    Raises
    ------
    ValueError
        If there are not as many rows, or they have labels that are no ids.

    Examples
    --------
    >>> table = pd.DataFrame({"owner": ["v", "u"]}, index=["b", "a"])
    >>> labelled_metadata(table, np.array(["a", "b"]))["owner"].tolist()
    ['u', 'v']
    """
    if len(metadata) != len(ids):
        raise ValueError(
            f"Got metadata of {len(metadata)} rows for {len(ids)} rows of X."
        )
    order = order_by_labels(metadata.index, ids, "metadata", _REMEDY)
    ordered = metadata if order is None else metadata.iloc[np.asarray(order)]
    return ordered.reset_index(drop=True)
