"""What is known of rows by their names: ids, labels, metadata, features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import _num_samples

from latentsk._columns import columns_of, n_columns
from latentsk._device import on_host
from latentsk._group_labels import group_labels
from latentsk._typing import Float64
from latentsk.explorer._columns import MISSING, Column, as_column, as_text, quantized
from latentsk.index._embedding import row_ids
from latentsk.index._labels import aligned_ids
from latentsk.index._rows import RowStore

# Columns that tell a group from the others.
MOST_FEATURES = 200


def ids_of(X: Any, ids: Any, index: Any) -> NDArray[Any]:
    """Return ids: those given, those of the index, those of a table, or numbers."""
    if ids is not None:
        ids = aligned_ids(X, ids)
    elif index is not None and hasattr(index, "ids_"):
        ids = index.ids_
    else:
        ids = row_ids(X)
    return np.asarray(RowStore.of(_num_samples(X), ids).ids)


def id_texts(ids: NDArray[Any]) -> list[str] | None:
    """Return ids as text; None where they are the numbers of rows.

    Examples
    --------
    >>> id_texts(np.arange(3)), id_texts(np.array(["a", "b"]))
    (None, ['a', 'b'])
    """
    if ids.dtype.kind in "iu" and np.array_equal(ids, np.arange(len(ids))):
        return None
    return [as_text(value) for value in ids.tolist()]


def label_column(X: Any, labels: Any) -> Column | None:
    """Return the labels of rows as a column; missing ones are a category of their own.

    Raises
    ------
    ValueError
        If there is not one label for each row.
    """
    if labels is None:
        return None
    series = labels if isinstance(labels, pd.Series) else pd.Series(on_host(labels))
    if series.isna().any():
        series = series.astype(object).where(series.notna(), MISSING)
    is_named = isinstance(labels, pd.Series)
    known = group_labels(
        series if is_named else series.to_numpy(), X, _num_samples(X), "labels"
    )
    return as_column("label", known, prefers_categories=True)


def metadata_columns(metadata: Any, ids: NDArray[Any], index: Any) -> list[Column]:
    """Return the columns of metadata, which are aligned by ids as in LatentIndex.

    Raises
    ------
    ValueError
        If they are not as many rows, or labelled otherwise.

    TypeError
        If they are no table.
    """
    if metadata is None:
        metadata = getattr(index, "metadata_", None)
    if metadata is None:
        return []
    frame = RowStore.of(len(ids), ids, metadata).metadata
    assert frame is not None, "metadata are given"
    return [as_column(name, frame[name]) for name in frame.columns]


def feature_columns(X: Any, latents: Float64) -> tuple[list[Column], str]:
    """Return columns that may tell a group of rows from the others, and their kind.

    The columns of a table; of texts and of rows with too many columns, the latents.
    """
    rows = on_host(X)
    if 0 < n_columns(rows) <= MOST_FEATURES:
        found = [as_column(name, cells) for name, cells in columns_of(rows)]
        if found:
            return [quantized(column) for column in found], "columns"
    names = (f"latent {j}" for j in range(min(MOST_FEATURES, latents.shape[1])))
    columns = [as_column(name, latents[:, j]) for j, name in enumerate(names)]
    return [quantized(column) for column in columns], "latents"
