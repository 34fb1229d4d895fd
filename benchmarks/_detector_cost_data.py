"""Tables that detectors are timed on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.preprocessing import OneHotEncoder, StandardScaler

N_CLUSTERS = 5
# The mixed table: numeric columns, and the number of categories of the others.
N_NUMERIC, N_CATEGORIES = 12, (3, 5, 8, 12, 20)
# Rank of the wide tables, but for noise.
N_CODES = 40


def rows(n: int, n_features: int, seed: int) -> np.ndarray:
    """Return five clusters of correlated rows, 1 % of them moved far away."""
    mixing = np.random.default_rng(0).normal(size=(n_features, n_features))
    centres = 5.0 * np.random.default_rng(1).normal(size=(N_CLUSTERS, n_features))
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_features)) @ mixing
    X += centres[rng.integers(N_CLUSTERS, size=n)]
    X[: n // 100] += 20.0 * rng.normal(size=(n // 100, n_features))
    return X


def low_rank_rows(n: int, n_features: int, seed: int) -> np.ndarray:
    """Return rows near a subspace of 40 dimensions."""
    directions = np.random.default_rng(0).normal(size=(N_CODES, n_features))
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, N_CODES)) @ directions + rng.normal(size=(n, n_features))


def mixed_rows(n: int, seed: int) -> pd.DataFrame:
    """Return numbers, and categories of which the later are rarer."""
    frame = pd.DataFrame(rows(n, N_NUMERIC, seed)).add_prefix("number_")
    rng = np.random.default_rng(seed)
    for n_categories in N_CATEGORIES:
        names = np.array([f"kind {i}" for i in range(n_categories)], dtype=object)
        shares = 1.0 / np.arange(1, n_categories + 1)
        drawn = rng.choice(n_categories, size=n, p=shares / shares.sum())
        frame[f"category_{n_categories}"] = names[drawn]
    return frame


def numbers_of_mixed() -> ColumnTransformer:
    """Return what makes an array of a mixed table, as the user guide does."""
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [
            ("numbers", StandardScaler(), make_column_selector("number_")),
            ("categories", encoder, make_column_selector("category_")),
        ]
    )
