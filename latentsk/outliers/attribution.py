"""Shares of features in distances: parts that add up to the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsk._typing import Float64


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


def neighbor_parts(rows: ArrayLike, neighbors: ArrayLike) -> Float64:
    """Split mean Euclidean distances to neighbours among the features.

    The distance to one neighbour is the sum over features of ``d_j^2 / |d|``; its mean
    over the neighbours is split alike.

    Parameters
    ----------
    rows : array-like of shape (n_rows, n_features)

    neighbors : array-like of shape (n_rows, n_neighbors, n_features)

    Returns
    -------
    parts : ndarray of shape (n_rows, n_features)
        Not negative; their sum over features is the mean distance.

    Examples
    --------
    >>> neighbor_parts([[0.0, 0.0]], [[[3.0, 4.0], [0.0, 1.0]]])
    array([[0.9, 2.1]])
    """
    squares = (np.asarray(rows)[:, None, :] - np.asarray(neighbors)) ** 2
    lengths = np.sqrt(squares.sum(axis=2, keepdims=True))
    parts = np.divide(squares, lengths, out=np.zeros_like(squares), where=lengths > 0)
    return parts.mean(axis=1)


def substitution_parts(
    score: Callable[[NDArray[Any]], Float64],
    rows: NDArray[Any],
    replacements: NDArray[Any],
) -> Float64:
    """Return how much each row's score rises when one feature is replaced.

    Parameters
    ----------
    score : callable
        Of rows; higher = more normal.

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
