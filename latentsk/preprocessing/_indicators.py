"""Which features of a preprocessor tell that others are not known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from latentsk._typing import Float64, Positions
from latentsk.preprocessing._category_encoder import CategoryEncoder
from latentsk.preprocessing._datetime_encoder import DatetimeEncoder
from latentsk.preprocessing._robust_standardizer import INDICATOR, RobustStandardizer
from latentsk.preprocessing._sources import column_positions

# The squared range of an indicator.
SMALL = INDICATOR**2
ENCODERS = RobustStandardizer, CategoryEncoder, DatetimeEncoder


class Encoded(NamedTuple):
    """An encoder of this package at the end of a preprocessor, or of a part of it.

    Attributes
    ----------
    encoder : transformer
    start : int
        Position of its first feature.
    columns : ndarray, dtype intp
        Positions of the columns that it takes, of those that the part takes.
    """

    encoder: Any
    start: int
    columns: Positions


def encoders(preprocessor: Any) -> list[Encoded]:
    """Return every encoder of this package that features come from.

    Examples
    --------
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.preprocessing import StandardScaler
    >>> X = np.arange(12.0).reshape(4, 3)
    >>> preprocessor = make_column_transformer(
    ...     (StandardScaler(), [0]), (RobustStandardizer(), [2, 1])
    ... ).fit(X)
    >>> encoders(preprocessor)
    [Encoded(encoder=RobustStandardizer(), start=1, columns=array([2, 1]))]
    """
    return list(_found(preprocessor, 0, None))


def standardizers(preprocessor: Any) -> list[Encoded]:
    """Return every RobustStandardizer that features come from."""
    found = encoders(preprocessor)
    return [part for part in found if isinstance(part.encoder, RobustStandardizer)]


def _found(
    transformer: Any, start: int, columns: Positions | None
) -> Iterator[Encoded]:
    if isinstance(transformer, Pipeline):
        yield from _found(transformer.steps[-1][1], start, columns)
    elif isinstance(transformer, ENCODERS):
        own = np.arange(transformer.n_features_in_) if columns is None else columns
        yield Encoded(transformer, start, own)
    elif isinstance(transformer, ColumnTransformer):
        for name, part, _ in transformer.transformers_:
            outputs = transformer.output_indices_[name]
            if outputs.start < outputs.stop:
                own = column_positions(transformer, name)
                own = own if columns is None else columns[own]
                yield from _found(part, start + outputs.start, own)


class Indicators(NamedTuple):
    """Features that tell that others are not known.

    Attributes
    ----------
    positions : ndarray, dtype intp
        Of the indicators: that of a missing value is there several times.
    features : ndarray, dtype intp
        Position of the feature that each says is not known. An indicator of missing
        values does not count either.
    is_missing : ndarray, dtype bool
        Whether it says that a value is missing, and not that it is a code.
    """

    positions: Positions
    features: Positions
    is_missing: NDArray[np.bool_]


def indicators(preprocessor: Any) -> Indicators:
    """Return the indicators among the features that a preprocessor makes.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> X = [[1.0, 5.0], [None, 6.0], [3.0, None]]
    >>> indicators(make_pipeline(RobustStandardizer()).fit(X))[:2]
    (array([2, 3, 2, 3]), array([0, 1, 2, 3]))
    """
    ons, features = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    missing = [np.empty(0, bool)]
    for encoder, start, _ in encoders(preprocessor):
        if isinstance(encoder, RobustStandardizer):
            codes = encoder.code_columns
            first = start + encoder.n_features_in_
            ons.append(np.arange(first, first + len(codes)))
            features.append(start + codes)
            missing.append(encoder.is_missing_code)
            own = ons[-1][missing[-1]]
            ons.append(own)
            features.append(own)
            missing.append(np.ones(len(own), bool))
        elif isinstance(encoder, CategoryEncoder):
            columns = encoder.category_columns
            first = len(columns) - encoder.n_indicators
            for k, j in enumerate(columns[first:], first):
                own = np.append(np.flatnonzero(columns[:first] == j), k)
                ons.append(np.full(len(own), start + k))
                features.append(start + own)
                missing.append(np.ones(len(own), bool))
    return Indicators(*map(np.concatenate, (ons, features, missing)))


def squared_ranges(preprocessor: Any, n_features: int) -> Float64:
    """Return the squared range of each feature that tells of what kind a row is.

    Parameters
    ----------
    preprocessor : fitted transformer or None

    n_features : int

    Returns
    -------
    squared : ndarray of shape (n_features,)
        1 for a category, 0.0001 for an indicator, 0 for other features.

    Examples
    --------
    >>> X = np.array([["a", "b"], ["a", None], ["b", "b"], ["b", "a"]], object)
    >>> encoder = CategoryEncoder(min_frequency=1).fit(X)
    >>> squared_ranges(encoder, 5)
    array([1.e+00, 1.e+00, 1.e+00, 1.e+00, 1.e-04])
    """
    squared = np.zeros(n_features)
    for encoder, start, _ in encoders(preprocessor):
        if isinstance(encoder, RobustStandardizer):
            first, last = encoder.n_features_in_, len(encoder.code_columns)
            squared[start + first : start + first + last] = SMALL
        if isinstance(encoder, CategoryEncoder):
            end = start + len(encoder.category_columns)
            squared[start : end - encoder.n_indicators] = 1.0
            squared[end - encoder.n_indicators : end] = SMALL
    return squared


def has_own_unit(preprocessor: Any) -> bool:
    """Tell whether all features are in the unit of the encoders of this package.

    One unit is then a standard deviation, or a category more or less.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> has_own_unit(make_pipeline(RobustStandardizer())), has_own_unit(None)
    (True, False)
    """
    if isinstance(preprocessor, Pipeline):
        return has_own_unit(preprocessor.steps[-1][1])
    if isinstance(preprocessor, ColumnTransformer):
        parts = [part for _, part, _ in preprocessor.transformers_ if part != "drop"]
        return all(has_own_unit(part) for part in parts)
    return isinstance(preprocessor, ENCODERS)
