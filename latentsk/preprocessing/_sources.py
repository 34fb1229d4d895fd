"""Which column of a table each feature that a preprocessor makes comes from."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._columns import column_names, n_columns
from latentsk._typing import Positions
from latentsk.preprocessing._category_encoder import CategoryEncoder
from latentsk.preprocessing._datetime_encoder import DatetimeEncoder
from latentsk.preprocessing._robust_standardizer import RobustStandardizer

# Names that columns get to be found again in the names of what is made of them.
TOKEN = "⟦{}⟧"
# Of transformers that do not name their features, so many rows are changed.
PROBED_ROWS, MOST_PROBED = 16, 500


def feature_sources(transformer: Any, X: Any) -> Positions | None:
    """Return the column that each feature of a fitted transformer comes from.

    Parameters
    ----------
    transformer : fitted transformer
        A Pipeline, ColumnTransformer or FeatureUnion is followed to its parts.

    X : array-like of shape (n_rows, n_columns)
        Some rows that it takes.

    Returns
    -------
    sources : ndarray of shape (n_features,), dtype intp, or None
        Positions of columns. None if a feature is made of several columns, or there is
        no telling.

    Examples
    --------
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> X = np.array([[1.0, 7.0, 3.0], [2.0, 8.0, 3.5], [3.0, 9.0, 4.0]])
    >>> preprocessor = make_column_transformer(
    ...     (OneHotEncoder(), [1]), (StandardScaler(), [2, 0]), sparse_threshold=0
    ... ).fit(X)
    >>> feature_sources(preprocessor, X)
    array([1, 1, 1, 2, 0])
    """
    few = _safe_indexing(X, np.arange(min(PROBED_ROWS, _num_samples(X))))
    if isinstance(few, list) and n_columns(few):
        few = np.array(few, dtype=object)
    return _sources(transformer, few)


def _sources(transformer: Any, X: Any) -> Positions | None:
    if transformer in (None, "passthrough"):
        return np.arange(n_columns(X))
    if isinstance(transformer, Pipeline):
        return _of_pipeline(transformer, X)
    if isinstance(transformer, ColumnTransformer):
        return _of_column_transformer(transformer, X)
    if isinstance(transformer, FeatureUnion):
        parts = [_sources(part, X) for _, part in transformer.transformer_list]
        return _joined(parts)
    return _of_leaf(transformer, X)


def _joined(parts: list[Positions | None]) -> Positions | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _of_pipeline(pipeline: Pipeline, X: Any) -> Positions | None:
    sources = np.arange(n_columns(X))
    for i, (_, step) in enumerate(pipeline.steps, 1):
        found = _sources(step, X)
        if found is None:
            return None
        sources = sources[found]
        if i < len(pipeline.steps) and step not in (None, "passthrough"):
            X = step.transform(X)
    return sources


def _of_column_transformer(transformer: ColumnTransformer, X: Any) -> Positions | None:
    sources = np.full(transformer.transform(X).shape[1], -1)
    for name, part, _ in transformer.transformers_:
        outputs = transformer.output_indices_[name]
        if outputs.start == outputs.stop:
            continue
        columns = column_positions(transformer, name)
        found = _sources(part, _safe_indexing(X, columns, axis=1))
        if found is None:
            return None
        sources[outputs] = columns[found]
    return sources if (sources >= 0).all() else None


def column_positions(transformer: ColumnTransformer, name: str) -> Positions:
    """Return the positions of the columns that a part takes."""
    return np.asarray(transformer._transformer_to_input_indices[name], np.intp)


def _of_leaf(transformer: Any, X: Any) -> Positions | None:
    if isinstance(transformer, RobustStandardizer):
        own = np.arange(transformer.n_features_in_)
        return np.concatenate([own, transformer.code_columns])
    if isinstance(transformer, CategoryEncoder):
        return transformer.category_columns
    if isinstance(transformer, DatetimeEncoder):
        return transformer.cycle_columns
    if isinstance(transformer, SelectorMixin):
        return transformer.get_support(indices=True)
    if hasattr(transformer, "output_to_input_"):  # skrub's TableVectorizer
        return _of_names(transformer.output_to_input_, X)
    if n_columns(X) == 1:
        return np.zeros(transformer.transform(X).shape[1], np.intp)
    if isinstance(transformer, FunctionTransformer | Normalizer):
        # Their names say nothing of what a feature is made of.
        return _by_probing(transformer, X)
    found = _of_tokens(transformer, n_columns(X))
    return _by_probing(transformer, X) if found is None else found


def _of_names(inputs: dict[str, str], X: Any) -> Positions | None:
    names = column_names(X)
    if names is None or not set(inputs.values()) <= set(names):
        return None
    return np.array([names.index(column) for column in inputs.values()], np.intp)


def _of_tokens(transformer: Any, n_inputs: int) -> Positions | None:
    """Find columns again in the names of features; None unless each has one."""
    nameless = copy.copy(transformer)
    try:
        if hasattr(nameless, "feature_names_in_"):
            del nameless.feature_names_in_
        tokens = np.array([TOKEN.format(j) for j in range(n_inputs)], object)
        names = nameless.get_feature_names_out(tokens)
    except Exception:  # of a foreign transformer: then there is no telling
        return None
    found = [re.findall(TOKEN.format(r"(\d+)"), str(name)) for name in names]
    if any(len(columns) != 1 for columns in found):
        return None
    return np.array([int(columns[0]) for columns in found], np.intp)


def _by_probing(transformer: Any, X: Any) -> Positions | None:
    """Return the columns themselves, if no other one changes a feature."""
    n_inputs = n_columns(X)
    try:
        before = _dense(transformer.transform(X))
        if before.shape[1] != n_inputs or n_inputs > MOST_PROBED:
            return None
        for j in range(n_inputs):
            after = _dense(transformer.transform(_changed(X, j)))
            is_same = (before == after) | ((before != before) & (after != after))
            if not np.delete(is_same, j, axis=1).all():
                return None
    except Exception:  # as above
        return None
    return np.arange(n_inputs)


def _changed(X: Any, j: int) -> Any:
    """Return rows with those of one column in another order."""
    order = np.roll(np.arange(X.shape[0]), 1)
    if hasattr(X, "iloc"):
        return X.assign(**{X.columns[j]: X.iloc[order, j].to_numpy()})
    changed = X.copy()
    changed[:, j] = changed[order, j]
    return changed


def _dense(features: Any) -> Any:
    return features.toarray() if issparse(features) else np.asarray(features)
