"""The embedder of a detector that is given none."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline, make_pipeline

from latentsk.embedders import PCAEmbedder
from latentsk.outliers._robust_fit import MOST_FEATURES
from latentsk.preprocessing._category_encoder import CategoryEncoder
from latentsk.preprocessing._robust_standardizer import RobustStandardizer
from latentsk.preprocessing._table import make_table_preprocessor

# It has so many components at most, of more than 1,000 features.
MOST_COMPONENTS = 500


def default_embedder(X: Any, n_rows: int, is_density: bool) -> Pipeline:
    """Return the embedder for rows of some kind.

    Parameters
    ----------
    X : ndarray or DataFrame of shape (n_samples, n_features)
        Rows. For a DataFrame, the first step is a ColumnTransformer.

    n_rows : int
        Number of rows that the last step is fitted to.

    is_density : bool
        Whether its own score is asked for: a likelihood, which is undefined along
        directions without variance, and would take indicators, which are small, at
        their own deviations.

    Examples
    --------
    >>> import numpy as np
    >>> default_embedder(np.zeros((9, 2)), 9, False)
    Pipeline(steps=[('robuststandardizer', RobustStandardizer()),
                    ('pcaembedder', PCAEmbedder(n_components=None))])
    """
    first = _first_step(X, add_indicator=not is_density)
    if is_density:
        return make_pipeline(first, PCAEmbedder())
    is_wide = _most_features(first, X) > MOST_FEATURES and n_rows > 2 * MOST_COMPONENTS
    n_components = MOST_COMPONENTS if is_wide else None
    pca = PCAEmbedder(n_components, svd_solver="full" if is_wide else "auto")
    return make_pipeline(first, pca)


def _first_step(X: Any, add_indicator: bool) -> Any:
    if not isinstance(X, pd.DataFrame):
        return RobustStandardizer(add_indicator=add_indicator)
    preprocessor = make_table_preprocessor(X)
    for _, encoder, _ in preprocessor.transformers:
        if isinstance(encoder, RobustStandardizer):
            encoder.set_params(add_indicator=add_indicator)
    return preprocessor


def _most_features(first: Any, X: Any) -> int:
    """Return how many features there can be, but for indicators and dates."""
    n_features = int(X.shape[1])
    if isinstance(first, ColumnTransformer):
        for _, encoder, columns in first.transformers:
            if isinstance(encoder, CategoryEncoder):
                n_features += (encoder.max_categories - 1) * len(columns)
    return n_features
