"""Fits to rows that may hold outliers, by concentration steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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
from latentsk.outliers._bulk import (
    RIDGE,
    SUPPORT_SHARE,
    distances_from_median,
    nearest_rows,
    normal_rows,
    squared_ranges_of_two,
    within_fence,
)
from latentsk.outliers._gaussian import (
    RobustGaussian,
    feature_loadings,
    gaussian_of,
    squared_joint,
)
from latentsk.outliers._latent_rows import (
    LatentRows,
    is_numeric,
    known_numbers,
    latent_rows,
    latents_of,
    numeric,
)
from latentsk.outliers._unknown import (
    Unknown,
    complete_rows,
    filled_rows,
    unknown_cells,
)
from latentsk.preprocessing._columns import robust_scales
from latentsk.preprocessing._indicators import has_own_unit, squared_ranges

# Number of concentration steps of an embedder: PCA takes milliseconds, a training not.
PCA_STEPS, OTHER_STEPS = 3, 1
# With more features, the normal rows are not sought in their covariance.
MOST_FEATURES = 1_000


class RobustFit(NamedTuple):
    """What was fitted, and to which rows.

    Attributes
    ----------
    embedder : fitted transformer
    rows : LatentRows
        All rows, with missing values filled in.
    support : ndarray, dtype intp
        Positions of the rows that the Gaussian was estimated from, and the embedder
        fitted on, unless it had been fitted before.
    normal : ndarray, dtype intp
        Positions of the rows that are presumed normal.
    distances : ndarray of shape (n_rows,)
        Squared distances of the rows within and outside of the latent space.
    gaussian : RobustGaussian
    """

    embedder: Any
    rows: LatentRows
    support: Positions
    normal: Positions
    distances: Float64
    gaussian: RobustGaussian


def fit_robustly(
    embedder: Any,
    X: Any,
    chosen: Positions,
    assume_clean: bool,
    generator: np.random.Generator,
) -> RobustFit:
    """Fit an embedder and a Gaussian to rows that are presumed normal.

    PCAEmbedder, which is linear, is fitted once, to the rows that the features alone
    show to be normal; any other embedder to those nearest the median, and again to
    those nearest the centre of what it has learned.

    Parameters
    ----------
    embedder : transformer
        A fitted one is used as it is; a clone of another is fitted, its preprocessor to
        all rows, its last step to the support.

    X : array-like of shape (n_rows, n_columns)

    chosen : ndarray, dtype intp
        Positions of the rows that the last step may be fitted on.

    assume_clean : bool
        Whether all of these are normal.

    generator : Generator
        Seeds what is random in an embedder that is to be fitted.

    Returns
    -------
    fit : RobustFit
        Of the chosen rows.
    """
    prepared = prepare(embedder, X, chosen, generator)
    last, rows, support, normal = _fit_last_step(prepared, assume_clean)
    is_linear = isinstance(last, PCAEmbedder)
    unknown = prepared.unknown if is_linear else None
    support = complete_rows(support, None if unknown is None else unknown.cells)
    own_ridge = _own_ridge(last, rows, prepared.squared_ranges) if is_linear else None
    # What a network leaves out of the rows that it was fitted on says too little.
    ridge = None if is_linear else RIDGE
    of_support, was_fitted_on = rows.at(support), not prepared.is_fitted
    gaussian = gaussian_of(of_support, was_fitted_on, ridge, own_ridge)
    loadings = feature_loadings(last, of_support, gaussian)
    gaussian = gaussian._replace(loadings=loadings)
    rows, filled = filled_rows(rows, unknown, gaussian)
    distances = squared_joint(filled, gaussian, _mask(support, len(rows.latents)))
    if normal is None:
        normal = within_fence(distances)
    whole = prepared.joined(last)
    return RobustFit(whole, rows, support, normal, distances, gaussian)


class Prepared(NamedTuple):
    """An embedder whose preprocessor is fitted, and rows as they enter its last step.

    Attributes
    ----------
    embedder : transformer
        The whole embedder.
    is_fitted : bool
        Whether it is used as it is.
    preprocessor : fitted Pipeline or None
    last : transformer
        The step that embeds.
    rows : array-like of shape (n_rows, ...)
        What enters it.
    features : ndarray of shape (n_rows, n_features)
        The same, as an array.
    scale : ndarray of shape (n_features,)
        Robust standard deviations of the features.
    unknown : Unknown or None
        Cells that hold a code, or are missing.
    squared_ranges : ndarray of shape (n_features,)
        Of features that say what kind a row is of; 0 for others.
    """

    embedder: Any
    is_fitted: bool
    preprocessor: Any
    last: Any
    rows: Any
    features: NDArray[Any]
    scale: Float64
    unknown: Unknown | None
    squared_ranges: Float64

    def fit(self, support: Positions) -> tuple[Any, LatentRows]:
        """Return the last step, fitted to some rows, and all rows as it sees them."""
        if self.is_fitted:
            fitted = self.last
        else:
            some = _safe_indexing(self.rows, support)
            n_features = self.features.shape[1]
            last = _without_arbitrary_components(self.last, len(support), n_features)
            fitted = steps.fit_on_support(last, some, len(self.features))
        return fitted, latent_rows(fitted, self.rows, self.scale)

    def joined(self, last: Any) -> Any:
        """Return the whole embedder with a fitted last step."""
        if self.is_fitted:
            return self.embedder
        return steps.join_steps(self.embedder, self.preprocessor, last)


def prepare(
    embedder: Any, X: Any, chosen: Positions, generator: np.random.Generator
) -> Prepared:
    """Fit the preprocessor to all rows, and preprocess the chosen ones.

    Rows that only the last step can read are embedded, and their latents stand for
    them from then on.
    """
    is_fitted = is_fitted_embedder(embedder)
    whole = embedder if is_fitted else steps.seeded(clone(embedder), generator)
    preprocessor, last = steps.split_steps(whole)
    if preprocessor is not None and not is_fitted:
        preprocessor.fit(X)
    rows = steps.preprocess(preprocessor, _safe_indexing(X, chosen))
    if preprocessor is not None and getattr(rows, "shape", ())[1:] == (0,):
        raise ValueError(
            "The preprocessor makes no feature of X: dates that span no day, week or "
            "year tell nothing. Add a column of numbers or categories."
        )
    if not is_numeric(known_numbers(last, rows)):
        if not is_fitted:
            last = steps.fit_on_support(last, rows, _num_samples(rows))
            whole = steps.join_steps(embedder, preprocessor, last)
        rows = latents_of(last, rows)
        embedder = steps.with_latents_alone(whole)
        preprocessor, last = steps.split_steps(embedder)
    features = numeric(known_numbers(last, rows))
    reject_huge(features, input_name="What enters the embedder")
    scale = unit_of_features(preprocessor, features)
    return Prepared(
        embedder,
        is_fitted,
        preprocessor,
        last,
        rows,
        features,
        scale,
        unknown_cells(preprocessor, features),
        squared_ranges(preprocessor, features.shape[1]),
    )


def _fit_last_step(
    prepared: Prepared, assume_clean: bool
) -> tuple[Any, LatentRows, Positions, Positions | None]:
    """Return the last step, all rows, the support, and the normal rows if known."""
    features, scale = prepared.features, prepared.scale
    if assume_clean:
        support = np.arange(len(features))
        return (*prepared.fit(support), support, support)
    is_linear = isinstance(prepared.last, PCAEmbedder)
    if is_linear and features.shape[1] <= MOST_FEATURES:
        ranges = prepared.squared_ranges
        unknown = None if prepared.unknown is None else prepared.unknown.cells
        support = normal_rows(features, scale, unknown, ranges)
        return (*prepared.fit(support), support, support)
    n_steps = PCA_STEPS if is_linear else OTHER_STEPS
    if prepared.is_fitted:
        known = prepared.fit(np.arange(len(features)))
        return (*c_steps(lambda _: known, features, scale, n_steps, False), None)
    return (*c_steps(prepared.fit, features, scale, n_steps, True), None)


def _without_arbitrary_components(embedder: Any, n_rows: int, n_features: int) -> Any:
    """Return a PCAEmbedder of every component with as many as its rows span.

    Of fewer rows than features, the last component would be any direction in which they
    do not vary.
    """
    is_linear = isinstance(embedder, PCAEmbedder) and embedder.n_components is None
    if not is_linear or n_rows > n_features:
        return embedder
    return clone(embedder).set_params(n_components=n_rows - 1)


def unit_of_features(preprocessor: Any, features: NDArray[Any]) -> Float64:
    """Return the unit of each feature that residuals and reasons are measured in.

    The standard deviation of the rows that are not far out, or 1 where it is zero. What
    comes from a RobustStandardizer has its unit; its indicators are to count for less.
    """
    if has_own_unit(preprocessor):
        return np.ones(features.shape[1])
    start = distances_from_median(features, robust_scales(features))
    kept = features[within_fence(start)].astype(np.float64)
    return StandardScaler().fit(kept).scale_


def _own_ridge(
    embedder: PCAEmbedder, rows: LatentRows, squared_ranges: Float64
) -> Float64 | None:
    """Return the squared ranges of features of two values, as the latents see them.

    Of two values, the rarer one is far out in standard deviations, and not abnormal.
    """
    squared = np.maximum(squared_ranges_of_two(rows.features), squared_ranges)
    if embedder.whiten or not squared.any():
        return None
    directions = np.asarray(embedder.components_, np.float64)
    return (directions * squared) @ directions.T


def c_steps(
    fit: Callable[[Positions], tuple[Any, LatentRows]],
    features: NDArray[Any],
    scale: NDArray[Any],
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

    scale : ndarray of shape (n_features,)
        Robust standard deviations of the features.

    n_steps : int
        Number of further fits.

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
    support = nearest_rows(distances_from_median(features, scale), SUPPORT_SHARE)
    embedder, rows = fit(support)
    for _ in range(n_steps):
        gaussian = gaussian_of(rows.at(support), was_fitted_on, ridge=RIDGE)
        distances = squared_joint(rows, gaussian, _mask(support, len(features)))
        support = nearest_rows(distances, SUPPORT_SHARE)
        embedder, rows = fit(support)
    return embedder, rows, support


def _mask(positions: Positions, n_rows: int) -> Float64:
    """Return 1 for the rows at the positions, and 0 for others."""
    mask = np.zeros(n_rows)
    mask[positions] = 1.0
    return mask
