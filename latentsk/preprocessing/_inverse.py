"""From what a preprocessor has made of columns back to these."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from latentsk._columns import as_floats, columns_of
from latentsk.preprocessing._category_encoder import labels_of
from latentsk.preprocessing._sources import column_positions

# Of a column of categories so many cells must come back: rare ones are joined.
MOST_CATEGORIES = 0.5


def inverse_features(transformer: Any, features: Any) -> NDArray[Any]:
    """Return preprocessed features as the columns that they come from, where possible.

    Parameters
    ----------
    transformer : fitted transformer
        A Pipeline or ColumnTransformer is followed to its parts. A part that has no
        inverse (an imputer, say) is skipped.

    features : ndarray of shape (n_rows, n_features)

    Returns
    -------
    columns : ndarray of shape (n_rows, n_columns)
        Of floats, or of objects where some are no numbers. NaN where no part of a
        ColumnTransformer gives a column back.

    Examples
    --------
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.preprocessing import MinMaxScaler, StandardScaler
    >>> X = np.array([[1.0, 7.0, 3.0], [3.0, 9.0, 4.0]])
    >>> preprocessor = make_column_transformer(
    ...     (MinMaxScaler(), [1]), (StandardScaler(), [0])
    ... ).fit(X)
    >>> inverse_features(preprocessor, preprocessor.transform(X))
    array([[ 1.,  7., nan],
           [ 3.,  9., nan]])
    """
    if isinstance(transformer, Pipeline):
        for _, step in reversed(transformer.steps):
            features = inverse_features(step, features)
        return np.asarray(features)
    if isinstance(transformer, ColumnTransformer):
        return _of_column_transformer(transformer, np.asarray(features))
    try:
        # A reconstruction can lie where a step has no inverse: NaN, then.
        with np.errstate(all="ignore"):
            return np.asarray(transformer.inverse_transform(features))
    except Exception:  # of a foreign transformer: then it has no inverse here
        return np.asarray(features)


def _of_column_transformer(
    transformer: ColumnTransformer, features: NDArray[Any]
) -> NDArray[Any]:
    parts = []
    for name, part, _ in transformer.transformers_:
        outputs = transformer.output_indices_[name]
        columns = column_positions(transformer, name)
        if outputs.start < outputs.stop:
            found = inverse_features(part, features[:, outputs])
            if found.shape[1] == len(columns):
                parts.append((columns, found))
    is_float = all(found.dtype.kind == "f" for _, found in parts)
    shape = len(features), transformer.n_features_in_
    result = np.full(shape, np.nan, features.dtype if is_float else object)
    for columns, found in parts:
        result[:, columns] = found
    return result


def inverted_columns(
    preprocessor: Any, X: Any, features: NDArray[Any]
) -> NDArray[np.bool_]:
    """Tell which columns of X `inverse_features` gives back, where they are known.

    Parameters
    ----------
    preprocessor : fitted transformer

    X : array-like of shape (n_rows, n_columns)

    features : ndarray of shape (n_rows, n_features)
        What the preprocessor makes of `X`.

    Returns
    -------
    is_inverted : ndarray of shape (n_columns,), dtype bool

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import FunctionTransformer, StandardScaler
    >>> X = np.array([[0.5, 100.0], [3.0, np.nan]])
    >>> for step in StandardScaler(), FunctionTransformer(np.arcsinh):
    ...     preprocessor = make_pipeline(step).fit(X)
    ...     inverted_columns(preprocessor, X, preprocessor.transform(X))
    array([ True,  True])
    array([False, False])
    """
    table = X.toarray() if issparse(X) else X
    inverted = inverse_features(preprocessor, features)
    if isinstance(table, np.ndarray) and table.dtype.kind == inverted.dtype.kind == "f":
        if inverted.shape != table.shape:
            return np.zeros(table.shape[1], bool)
        is_same = np.isclose(inverted, table) | ~np.isfinite(table)
        return is_same.all(axis=0)
    cells = [column for _, column in columns_of(table)]
    if inverted.shape != (len(features), len(cells)):
        return np.zeros(len(cells), bool)
    pairs = zip(inverted.T, cells, strict=True)
    return np.array([_agree(found, column) for found, column in pairs], bool)


def _agree(found: NDArray[Any], cells: NDArray[Any]) -> bool:
    numbers = as_floats(cells)
    known = np.isfinite(numbers)
    if known.any() or pd.isna(cells).all():
        return bool(np.allclose(as_floats(found)[known], numbers[known]))
    if cells.dtype.kind in "mM":
        return False
    try:
        is_same = labels_of(found) == labels_of(cells)
    except TypeError:
        return False
    return bool(np.mean(is_same) > MOST_CATEGORIES)
