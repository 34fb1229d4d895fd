"""Rows as a network takes them, validated: numbers, images, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.sparse import issparse

from latentsk._chunks import row_blocks
from latentsk._columns import column_names, is_table
from latentsk._device import on_host
from latentsk._diagnosis import diagnosed
from latentsk._images import MappedImages, as_images
from latentsk._remedies import encoding_beside, listed
from latentsk._validation import checked, reject_masked, reject_row, validated
from latentsk.training._data import is_memory_mapped
from latentsk.vae._columns import condition_positions
from latentsk.vae._table import (
    FLOATS,
    INTEGERS,
    TableLayout,
    learned_layout,
    tells_columns_apart,
)

# What a message says of columns that a preprocessor of tables would take.
ENCODED = r"^X must hold numbers, but columns? .* holds? (dates|strings)|contains NaN"


def numeric_rows(embedder: Any, X: Any, *, reset: bool) -> Any:
    """Return rows of numbers, none of which is missing or infinite.

    Parameters
    ----------
    embedder : NeuralEmbedder
        Its `n_features_in_` and `feature_names_in_` are set or checked.

    X : array-like or MappedImages of shape (n_rows, n_features)

    reset : bool
        Whether to set them.

    Raises
    ------
    TypeError, ValueError
    """
    # scikit-learn's test for NaN may make an array as large as a mapped file.
    by_blocks = is_memory_mapped(X)
    settings: dict[str, Any] = {"dtype": [*FLOATS, *INTEGERS], "reset": reset}
    if isinstance(X, MappedImages):
        first = validated(embedder, X[:1], ensure_all_finite=False, **settings)
        X = MappedImages(X.images, first.dtype)
    else:
        X = validated(embedder, on_host(X), ensure_all_finite=not by_blocks, **settings)
    with diagnosed(X):  # which counts rows from the first one of all
        for block in row_blocks(X) if by_blocks else ():
            checked(block, dtype=None, input_name="X", estimator=embedder)
    return X


def asks_for_table(embedder: Any) -> bool:
    """Tell whether parameters treat columns of a table by themselves."""
    return tells_columns_apart(embedder.condition, embedder.likelihood)


def learned_table(embedder: Any, X: Any, *, declared: bool) -> TableLayout | None:
    """Tell how an embedder's parameters treat the columns of training rows.

    Parameters
    ----------
    embedder : NeuralEmbedder
        Its `n_features_in_` and `feature_names_in_` are set.

    X : array-like of shape (n_rows, n_features)

    declared : bool
        Whether declared categories count where the rows have none of them.

    Raises
    ------
    TypeError, ValueError
    """
    if not asks_for_table(embedder):
        return None
    if embedder.input_shape is not None or as_images(X) is not None:
        raise ValueError(
            "condition and a likelihood for each column are for tables, and X holds "
            "images. Leave input_shape=None, and give X as rows and columns."
        )
    X = _readable(X)
    validated(embedder, X, reset=True, skip_check_array=True)
    condition, likelihood = embedder.condition, embedder.likelihood
    with _encoding_advised(X, condition):
        return learned_layout(X, condition, likelihood, declared=declared)


def table_rows(embedder: Any, X: Any, layout: TableLayout) -> Any:
    """Return rows as the layout of a table codes them.

    Raises
    ------
    TypeError, ValueError
    """
    reject_row(embedder, X)
    X = _readable(X)
    if layout.has_strings and not is_table(X):
        columns = [c.label for c in layout.columns if c.levels is not None]
        raise ValueError(
            f"This {type(embedder).__name__} was fitted on a table with strings in "
            f"{listed(columns)}. Give X as a DataFrame with the same columns."
        )
    validated(embedder, X, reset=False, skip_check_array=True)
    with _encoding_advised(X, embedder.condition):
        return layout.coded(X)


@contextmanager
def _encoding_advised(X: Any, condition: Any) -> Iterator[None]:
    """Let an error about what columns beside conditions hold name what encodes them."""
    try:
        yield
    except (TypeError, ValueError) as error:
        message, names = str(error), column_names(X)
        if condition is None or not names or not re.search(ENCODED, message):
            raise
        given = [names[i] for i in condition_positions(condition, X)]
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"{message} Or encode dates, strings and gaps, and leave the conditions as "
            f"they are, by {encoding_beside(given)} as the first step of a Pipeline."
        ) from error


def _readable(X: Any) -> Any:
    """Return a table as it is, and all else as an array of two axes."""
    X = reject_masked(X)
    if is_table(X):
        return X
    X = X if issparse(X) else np.asarray(on_host(X))
    if issparse(X) or X.ndim != 2 or 0 in X.shape:
        checked(X, dtype=None)  # which raises
    return X
