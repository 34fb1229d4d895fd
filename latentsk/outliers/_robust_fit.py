"""Fits to rows that may hold outliers, by concentration steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._typing import Float64, Positions
from latentsk._validation import reject_huge
from latentsk.embedders import PCAEmbedder
from latentsk.index._embedding import is_fitted_embedder
from latentsk.outliers import _steps as steps
from latentsk.outliers._gaussian import (
    RobustGaussian,
    feature_loadings,
    gaussian_of,
    squared_joint,
)
from latentsk.outliers._latent_rows import (
    LatentRows,
    is_numeric,
    latent_rows,
    latents_of,
    numeric,
)
from latentsk.outliers._scales import NORMAL_MAD

# Number of concentration steps: a fit of PCA takes milliseconds, a training does not.
PCA_STEPS, OTHER_STEPS = 3, 1
# Share of the rows that the centre and the covariance are estimated from.
SUPPORT_SHARE = 0.75
# The least that a robust standard deviation is taken to be, in standard deviations.
LEAST_ROBUST_SPREAD = 0.1


def fit_robustly(
    embedder: Any, X: Any, assume_clean: bool, generator: np.random.Generator
) -> tuple[Any, LatentRows, Positions, RobustGaussian]:
    """Fit an embedder and a Gaussian by concentration steps.

    Parameters
    ----------
    embedder : transformer
        A fitted one is used as it is; a clone of another is fitted, its preprocessor to
        all rows, its last step to the support.

    X : array-like of shape (n_rows, n_columns)

    assume_clean : bool
        Whether the support is all rows.

    generator : Generator
        Seeds what is random in an embedder that is to be fitted.

    Returns
    -------
    embedder : fitted transformer

    rows : LatentRows
        All rows.

    support : ndarray, dtype intp
        Positions of the rows that the Gaussian was estimated from.

    gaussian : RobustGaussian
    """
    is_fitted = is_fitted_embedder(embedder)
    whole = embedder if is_fitted else steps.seeded(clone(embedder), generator)
    preprocessor, last = steps.split_steps(whole)
    if preprocessor is not None and not is_fitted:
        preprocessor.fit(X)
    prepared = steps.preprocess(preprocessor, X)
    if not is_numeric(prepared):
        if not is_fitted:
            last = steps.fit_on_support(last, prepared, _num_samples(prepared))
            whole = steps.join_steps(embedder, preprocessor, last)
        prepared = latents_of(last, prepared)
        embedder = steps.with_latents_alone(whole)
        preprocessor, last = steps.split_steps(embedder)
    features = numeric(prepared)
    reject_huge(features, input_name="What enters the embedder")
    scale = StandardScaler().fit(features).scale_
    known = (last, latent_rows(last, prepared, scale)) if is_fitted else None

    def fit(support: Positions) -> tuple[Any, LatentRows]:
        if known is not None:
            return known
        some = _safe_indexing(prepared, support)
        fitted = steps.fit_on_support(last, some, len(features))
        return fitted, latent_rows(fitted, prepared, scale)

    n_steps = PCA_STEPS if isinstance(last, PCAEmbedder) else OTHER_STEPS
    if assume_clean:
        n_steps = 0
    last, rows, support = c_steps(fit, features, n_steps, was_fitted_on=not is_fitted)
    gaussian = gaussian_of(rows.at(support), was_fitted_on=not is_fitted)
    loadings = feature_loadings(last, rows.at(support), gaussian)
    if not is_fitted:
        embedder = steps.join_steps(embedder, preprocessor, last)
    return embedder, rows, support, gaussian._replace(loadings=loadings)


def c_steps(
    fit: Callable[[Positions], tuple[Any, LatentRows]],
    features: NDArray[Any],
    n_steps: int,
    was_fitted_on: bool,
) -> tuple[Any, LatentRows, Positions]:
    """Fit to rows near the median, then again and again to those nearest the centre.

    The concentration steps of the minimum covariance determinant (Rousseeuw and van
    Driessen, 1999), for any embedder: three quarters of the rows are kept. They start
    from the coordinatewise median, as the first of the starts of Hubert, Rousseeuw and
    Verdonck (2012): outliers that lie together would draw a mean to their side.

    Parameters
    ----------
    fit : callable
        Fits to the rows at the given positions, and returns an embedder and all rows
        as it sees them.

    features : ndarray of shape (n_rows, n_features)

    n_steps : int
        Number of further fits; 0: the support is all rows.

    was_fitted_on : bool
        Whether `fit` fits the embedder on the support.

    Returns
    -------
    embedder : object
        The embedder of the last fit.

    rows : LatentRows
        All rows after the last fit.

    support : ndarray, dtype intp
        Positions of the rows of the last fit, in ascending order.
    """
    support = np.arange(len(features))
    if n_steps:
        support = nearest_rows(distances_from_median(features), SUPPORT_SHARE)
    embedder, rows = fit(support)
    for _ in range(n_steps):
        gaussian = gaussian_of(rows.at(support), was_fitted_on)
        distances = squared_joint(rows, gaussian, support)
        support = nearest_rows(distances, SUPPORT_SHARE)
        embedder, rows = fit(support)
    return embedder, rows, support


def distances_from_median(features: NDArray[Any]) -> Float64:
    """Return squared distances from the median of each feature, in robust units.

    The unit is the median absolute deviation of the feature, but at least a tenth of
    its standard deviation: features that are mostly constant would count most.

    Examples
    --------
    >>> distances_from_median(np.array([[-1.0], [0.0], [1.0], [30.0]])).round()
    array([  1.,   0.,   0., 396.])
    """
    centred = features - np.median(features, axis=0)
    robust = NORMAL_MAD * np.median(np.abs(centred), axis=0)
    unit = np.maximum(robust, LEAST_ROBUST_SPREAD * features.std(axis=0))
    standardized = centred / np.where(unit > 0.0, unit, 1.0)
    return np.einsum("ij,ij->i", standardized, standardized)


def nearest_rows(distances: Float64, share: float) -> Positions:
    """Return the positions of the given share of rows, in ascending order.

    All, if there are five rows or fewer.

    Examples
    --------
    >>> nearest_rows(np.array([9.0, 1, 2, 3, 8, 4, 5, 6]), 0.75)
    array([1, 2, 3, 5, 6, 7])
    """
    n_kept = min(max(math.ceil(share * len(distances)), 5), len(distances))
    return np.sort(np.argsort(distances, kind="stable")[:n_kept])
