"""Which features make rows outliers, and what normal rows look like instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _num_samples

from latentsk._typing import Float64, Positions
from latentsk.index._embedding import row_ids
from latentsk.linear._gaussian import corr_max
from latentsk.outliers._gaussian import RobustGaussian, whitened
from latentsk.outliers._latent_rows import LatentRows
from latentsk.outliers._neighborhood import Neighborhood


def distance_contributions(
    scores: Float64,
    kinds: NDArray[np.str_],
    rows: LatentRows,
    filled: LatentRows,
    gaussian: RobustGaussian,
    neighborhood: Neighborhood,
) -> Float64:
    """Split scores among features, in proportion to the parts of a distance.

    Parameters
    ----------
    scores, kinds : ndarray of shape (n_rows,)
        Each score, and the kind of distance that it is.

    rows : LatentRows
        Rows with missing values filled in, as the neighbours see them.

    filled : LatentRows
        The rows with codes filled in, too, as the Gaussian measures them.

    gaussian : RobustGaussian

    neighborhood : Neighborhood

    Returns
    -------
    contributions : ndarray of shape (n_rows, n_features)
        Their sum over the features is the score.
    """
    contributions = np.empty(rows.features.shape)
    for kind in np.unique(kinds):
        chosen = np.flatnonzero(kinds == kind)
        some = rows.at(chosen)
        if kind in ("near", "overall"):
            compared = (
                neighborhood.compared_near
                if kind == "near"
                else neighborhood.compared_overall
            )
            parts = difference_parts(some, neighborhood.features, *compared(some))
        else:
            parts = gaussian_parts(kind, filled.at(chosen), gaussian)
        contributions[chosen] = scores[chosen, None] * shares(parts)
    return contributions


def without_cells(contributions: Float64, cells: NDArray[np.bool_]) -> Float64:
    """Share what some features of a row contribute among the others.

    Examples
    --------
    >>> cells = np.array([[True, False, False]])
    >>> without_cells(np.array([[-2.0, -3.0, -1.0]]), cells)
    array([[ 0. , -4.5, -1.5]])
    """
    kept = np.where(cells, 0.0, contributions)
    before, after = contributions.sum(axis=1), kept.sum(axis=1)
    factors = np.divide(before, after, out=np.ones_like(before), where=after != 0.0)
    return kept * factors[:, None]


def difference_parts(
    rows: LatentRows, features: NDArray[Any], positions: Positions, weights: Float64
) -> Float64:
    """Split weighed distances to other rows, in units of the scale."""
    # One row at a time: it may be compared with hundreds.
    parts = [
        neighbor_parts(
            row[None] / rows.scale, features[others][None] / rows.scale, weight[None]
        )
        for row, others, weight in zip(rows.features, positions, weights, strict=True)
    ]
    return np.concatenate(parts)


def gaussian_parts(kind: str, rows: LatentRows, gaussian: RobustGaussian) -> Float64:
    """Split the squared "distance", "residual" or "joint" distance of each row."""
    outside: Any = 0.0 if rows.residuals is None else rows.residuals**2
    if kind == "residual":
        return outside
    within = (whitened(rows.latents, gaussian) @ corr_max(gaussian.loadings).T) ** 2
    return within + outside / gaussian.noise if kind == "joint" else within


def embedder_contributions(
    embedder: Any, rows: LatentRows, neighborhood: Neighborhood
) -> Float64:
    """Split the score of an embedder among features.

    Parameters
    ----------
    embedder : fitted transformer

    rows : LatentRows

    neighborhood : Neighborhood

    Returns
    -------
    contributions : ndarray of shape (n_rows, n_features)
        The `score_contributions` of an embedder that has them; else in proportion to
        how much the score rises when a feature is replaced by that of the nearest row.
    """
    names = getattr(embedder, "feature_names_in_", None)

    def named(features: NDArray[Any]) -> Any:
        return features if names is None else pd.DataFrame(features, columns=names)

    def score(features: NDArray[Any]) -> Float64:
        return np.asarray(embedder.score_samples(named(features)), np.float64)

    if hasattr(embedder, "score_contributions"):
        entering = named(rows.features) if rows.given is None else rows.given
        found = embedder.score_contributions(entering)
        return np.asarray(found, np.float64)
    (nearest,) = neighborhood.nearest_features(rows.latents, 1)
    parts = substitution_parts(score, rows.features, nearest)
    return score(rows.features)[:, None] * shares(parts)


def reasons_table(
    labels: Iterable[Any], names: list[str], columns: dict[str, NDArray[Any]]
) -> pd.DataFrame:
    """Return a line for every row and feature.

    Parameters
    ----------
    labels : iterable
        Labels of the rows.

    names : list of str
        Names of the features.

    columns : dict of str to ndarray of shape (n_rows, n_features)

    Examples
    --------
    >>> reasons_table(["a"], ["width", "size"], {"contribution": np.array([[-2.0, 0]])})
                 contribution
    row feature
    a   width            -2.0
        size              0.0
    """
    index = pd.MultiIndex.from_product([labels, names], names=["row", "feature"])
    return pd.DataFrame({k: v.ravel() for k, v in columns.items()}, index=index)


def row_labels(labels: Any, X: Any, n_rows: int) -> Any:
    """Return the labels of rows: those given, or their index, or their numbers.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> row_labels(None, pd.DataFrame({"a": [1.0]}, index=["r"]), 1).tolist()
    ['r']
    """
    if labels is None:
        labels = row_ids(X)
        return range(n_rows) if labels is None else labels
    if _num_samples(labels) != n_rows:
        raise ValueError(
            f"labels must have one label for each row of X, got {_num_samples(labels)} "
            f"for {n_rows} rows."
        )
    return labels


def shares(parts: ArrayLike) -> Float64:
    """Return each part over the sum of its row; equal ones where that is zero.

    Examples
    --------
    >>> shares([[1.0, 3.0], [0.0, 0.0]])
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    parts = np.asarray(parts, np.float64)
    # By the largest first: squares of huge numbers would overflow in the sum.
    largest = parts.max(axis=1, keepdims=True)
    scaled = np.divide(parts, largest, out=np.ones_like(parts), where=largest > 0.0)
    return scaled / scaled.sum(axis=1, keepdims=True)


def neighbor_parts(
    rows: ArrayLike, neighbors: ArrayLike, weights: ArrayLike
) -> Float64:
    """Split weighed Euclidean distances to neighbours among the features.

    The distance to one neighbour is the sum over features of ``d_j^2 / |d|``; each is
    split alike.

    Parameters
    ----------
    rows : array-like of shape (n_rows, n_features)

    neighbors : array-like of shape (n_rows, n_neighbors, n_features)

    weights : array-like of shape (n_rows, n_neighbors)
        What the distance to each neighbour contributes.

    Returns
    -------
    parts : ndarray of shape (n_rows, n_features)
        Not negative; their sum over features is that of the weights of neighbours that
        the row does not equal.

    Examples
    --------
    >>> neighbor_parts([[0.0, 0.0]], [[[3.0, 4.0], [0.0, 1.0]]], [[2.5, 0.5]])
    array([[0.9, 2.1]])
    """
    squares = (np.asarray(rows)[:, None, :] - np.asarray(neighbors)) ** 2
    sums = squares.sum(axis=2, keepdims=True)
    split = np.divide(squares, sums, out=np.zeros_like(squares), where=sums > 0.0)
    return np.einsum("ij,ijk->ik", np.asarray(weights, np.float64), split)


def substitution_parts(
    score: Callable[[NDArray[Any]], Float64],
    rows: NDArray[Any],
    replacements: NDArray[Any],
) -> Float64:
    """Return how much each row's score rises when one feature is replaced.

    Parameters
    ----------
    score : callable
        Takes rows, and returns a score for each; higher = more normal.

    rows, replacements : ndarray of shape (n_rows, n_features)

    Returns
    -------
    parts : ndarray of shape (n_rows, n_features)
        Zero where the score falls.

    Examples
    --------
    >>> rows = np.array([[3.0, 4.0]])
    >>> substitution_parts(lambda x: -np.abs(x).sum(axis=1), rows, rows * 0 + 1)
    array([[2., 3.]])
    """
    before = score(rows)
    parts = np.empty(rows.shape, np.float64)
    for j in range(rows.shape[1]):
        changed = rows.copy()
        changed[:, j] = replacements[:, j]
        parts[:, j] = score(changed) - before
    return np.maximum(parts, 0.0)
