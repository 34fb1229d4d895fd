"""Cells that hold a code: what the others make of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float64, Positions
from latentsk.outliers._gaussian import RobustGaussian
from latentsk.outliers._latent_rows import LatentRows
from latentsk.preprocessing._indicators import indicators
from latentsk.preprocessing._robust_standardizer import INDICATOR

# Rows without unknown cells suffice for a covariance if they are so many times the
# features, and this share of the rows.
ENOUGH_PER_FEATURE, ENOUGH_SHARE = 3, 0.25


class Unknown(NamedTuple):
    """Which features of rows are not known.

    Attributes
    ----------
    cells : ndarray of shape (n_rows, n_features), dtype bool
        Codes and missing values.
    missing : ndarray of shape (n_rows, n_features), dtype bool
        Missing values alone.
    """

    cells: NDArray[np.bool_]
    missing: NDArray[np.bool_]


def unknown_cells(preprocessor: Any, features: NDArray[Any]) -> Unknown | None:
    """Tell which features stand for a code or a missing value, by the indicators.

    Parameters
    ----------
    preprocessor : fitted transformer or None
        What the features come from.

    features : ndarray of shape (n_rows, n_features)

    Returns
    -------
    unknown : Unknown or None
        None if there are none.

    Examples
    --------
    >>> from latentsk import RobustStandardizer
    >>> X = np.array([[1.0], [2], [3], [4], [5], [6], [7], [-99], [-99]])
    >>> standardizer = RobustStandardizer().fit(X)
    >>> unknown_cells(standardizer, standardizer.transform([[4], [-99]])).cells
    array([[False, False],
           [ True, False]])
    """
    positions, known_by, is_missing = indicators(preprocessor)
    is_on = features[:, positions] > INDICATOR / 2
    if not is_on.any():
        return None
    unknown = Unknown(np.zeros(features.shape, bool), np.zeros(features.shape, bool))
    for k, j in enumerate(known_by):
        unknown.cells[:, j] |= is_on[:, k]
        if is_missing[k]:
            unknown.missing[:, j] |= is_on[:, k]
    return unknown


def most_likely(
    values: NDArray[Any],
    unknown: NDArray[np.bool_],
    gaussian: RobustGaussian,
    directions: NDArray[Any],
) -> tuple[Float64, Float64]:
    """Move rows to where their unknown features make them most likely.

    The squared distance of a moved row from the centre is that of its known features
    alone: the least that the unknown ones can make of it.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_components)

    unknown : ndarray of shape (n_rows, n_features), dtype bool

    gaussian : RobustGaussian
        Of the values.

    directions : ndarray of shape (n_components, n_features)
        How values change with each feature.

    Returns
    -------
    moved : ndarray of shape (n_rows, n_components)

    shifts : ndarray of shape (n_rows, n_features)
        What was added to the features; 0 where they are known.

    Examples
    --------
    >>> covariance = np.array([[1.0, 0.5], [0.5, 1.0]])
    >>> variances, axes = np.linalg.eigh(covariance)
    >>> gaussian = RobustGaussian(np.zeros(2), axes, variances, 10)
    >>> moved, _ = most_likely(
    ...     np.array([[2.0, 0.0]]), np.array([[False, True]]), gaussian, np.eye(2)
    ... )
    >>> moved.round(6)
    array([[2., 1.]])
    """
    moved = np.array(values, np.float64)
    shifts = np.zeros(unknown.shape)
    rows = np.flatnonzero(unknown.any(axis=1))
    whitening = gaussian.axes / np.sqrt(gaussian.variances)
    coordinates = (moved[rows] - gaussian.centre) @ whitening
    patterns, which = np.unique(unknown[rows], axis=0, return_inverse=True)
    for i, pattern in enumerate(patterns):
        some, cells = np.flatnonzero(which.ravel() == i), np.flatnonzero(pattern)
        design = whitening.T @ directions[:, cells]
        found = -np.linalg.lstsq(design, coordinates[some].T, rcond=None)[0].T
        moved[rows[some]] += found @ directions[:, cells].T
        shifts[np.ix_(rows[some], cells)] = found
    return moved, shifts


def fill_unknown(
    rows: LatentRows, unknown: NDArray[np.bool_] | None, gaussian: RobustGaussian
) -> LatentRows:
    """Return rows whose unknown features are as the known ones make them most likely.

    For features in their own unit and a linear embedder: how latents change with a
    feature is read from the loadings of the Gaussian. The features stay as they are:
    reasons are about what is known.
    """
    if unknown is None or gaussian.loadings.shape[1] != unknown.shape[1]:
        return rows
    scaled = gaussian.loadings / np.sqrt(gaussian.variances)[:, None]
    directions = gaussian.axes @ scaled
    latents, _ = most_likely(rows.latents, unknown, gaussian, directions)
    return rows._replace(latents=latents.astype(rows.latents.dtype, copy=False))


def filled_rows(
    rows: LatentRows, unknown: Unknown | None, gaussian: RobustGaussian
) -> tuple[LatentRows, LatentRows]:
    """Return rows with missing values filled in, and rows with codes filled in, too.

    The first are what neighbours see, the second what the Gaussian measures.
    """
    if unknown is None:
        return rows, rows
    imputed = fill_unknown(rows, unknown.missing, gaussian)
    if np.array_equal(unknown.missing, unknown.cells):
        return imputed, imputed
    return imputed, fill_unknown(rows, unknown.cells, gaussian)


def complete_rows(positions: Positions, unknown: NDArray[np.bool_] | None) -> Positions:
    """Return the positions of rows without unknown features, if they suffice."""
    if unknown is None:
        return positions
    complete = positions[~unknown[positions].any(axis=1)]
    enough = max(ENOUGH_PER_FEATURE * unknown.shape[1], ENOUGH_SHARE * len(positions))
    return complete if len(complete) >= enough else positions
