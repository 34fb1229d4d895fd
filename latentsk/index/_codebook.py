"""Training of an inverted file: where its lists lie, and what its codes stand for."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._faiss import load_faiss
from latentsk._typing import Float32, Float64
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import flag, floats, maybe

# FAISS sums the codes of a row in 16 bits, and more would lose precision.
MAX_CODES = 256
# Values that a code of four bits tells apart.
CODE_VALUES = 16
# Rows, evenly over the sample, that tell what codes stand for.
MAX_CODED_ROWS = 8_192
KMEANS_ITERATIONS, LLOYD_ITERATIONS = 10, 40


@storable(
    {
        "centers": floats("lists", "codes", dtypes={"float32"}),
        "values": maybe(floats("codes", CODE_VALUES, dtypes={"float32"})),
        "residual": flag(),
    }
)
class Codebook(NamedTuple):
    """What training finds.

    Attributes
    ----------
    centers : ndarray of shape (n_lists, n_codes), float32
        Centres of the lists.

    values : ndarray of shape (n_codes, 16), float32, or None
        What the codes of each coordinate stand for; None: rows stay whole.

    residual : bool
        Whether codes are of the difference to the list's centre.
    """

    centers: Float32
    values: Float32 | None
    residual: bool


def train_codebook(
    sample: Float32, n_lists: int, *, residual: bool, seed: int
) -> Codebook:
    """Find lists and codes by k-means.

    Parameters
    ----------
    sample : ndarray of shape (n_rows, n_codes), float32
        Some of the rows; 39 for each list, better more.

    n_lists : int
        Number of lists.

    residual : bool
        Whether to code the difference to the list's centre.

    seed : int
        Seed of k-means.

    Returns
    -------
    codebook : Codebook
    """
    sample = np.ascontiguousarray(sample)
    centers = train_centers(sample, n_lists, seed)
    lists = nearest_centers(centers, sample, 1)[:, 0] if residual else None
    return codebook_of(sample, centers, lists)


def train_centers(sample: Float32, n_lists: int, seed: int) -> Float32:
    """Return the centres of lists, by k-means."""
    sample = np.ascontiguousarray(sample)
    kmeans = load_faiss().Kmeans(
        sample.shape[1],
        n_lists,
        niter=KMEANS_ITERATIONS,
        seed=seed % 2**31,  # FAISS takes a C int
        # All rows handed in count, and few are enough: both limits only print warnings.
        max_points_per_centroid=len(sample),
        min_points_per_centroid=1,
    )
    kmeans.train(sample)
    return kmeans.centroids


def nearest_centers(
    centers: Float32, rows: Float32, n_nearest: int
) -> NDArray[np.int64]:
    """Return the numbers of the centres nearest to each row, the nearest first."""
    rows = np.ascontiguousarray(rows)
    return load_faiss().knn(rows, np.ascontiguousarray(centers), n_nearest)[1]


def codebook_of(
    sample: Float32, centers: Float32, lists: NDArray[np.int64] | None
) -> Codebook:
    """Return what codes stand for, with lists that are known.

    Parameters
    ----------
    sample : ndarray of shape (n_rows, n_codes), float32

    centers : ndarray of shape (n_lists, n_codes), float32

    lists : ndarray of shape (n_rows,) or None
        The list of each row where codes are of the difference to its centre.
    """
    coded = slice(None, None, math.ceil(len(sample) / MAX_CODED_ROWS))
    rows = sample[coded] if lists is None else sample[coded] - centers[lists[coded]]
    return Codebook(centers, scalar_codes(rows), lists is not None)


def means_of(sample: Float32, lists: NDArray[np.int64], n_lists: int) -> Float32:
    """Return the mean of each list's rows.

    Examples
    --------
    >>> sample = np.array([[0.0], [2.0], [9.0]], dtype=np.float32)
    >>> means_of(sample, np.array([0, 0, 1]), 2).ravel()
    array([1., 9.], dtype=float32)
    """
    order = np.argsort(lists, kind="stable")
    counts = np.bincount(lists, minlength=n_lists)
    starts = np.cumsum(counts) - counts
    held = counts > 0
    means = np.zeros((n_lists, sample.shape[1]))
    rows = sample[order].astype(np.float64)
    means[held] = np.add.reduceat(rows, starts[held], axis=0)
    return (means / np.maximum(counts, 1)[:, None]).astype(np.float32)


def scalar_codes(sample: Float32) -> Float32:
    """Return 16 values that stand well for each column (Lloyd's algorithm).

    Parameters
    ----------
    sample : ndarray of shape (n_rows, n_columns), float32

    Returns
    -------
    values : ndarray of shape (n_columns, 16), float32
        Ascending; each is near the mean of what is nearest to it.

    Examples
    --------
    >>> column = np.repeat(np.arange(16.0, dtype=np.float32), 3)[:, None]
    >>> scalar_codes(column)[0, [0, 7, 15]]
    array([ 0.,  7., 15.], dtype=float32)
    """
    columns = np.ascontiguousarray(np.sort(sample, axis=0).T, dtype=np.float64)
    sums = np.zeros((len(columns), columns.shape[1] + 1))
    np.cumsum(columns, axis=1, out=sums[:, 1:])
    centers = _first_values(columns)
    edges = np.zeros((len(columns), CODE_VALUES + 1), dtype=np.intp)
    edges[:, -1] = columns.shape[1]
    for _ in range(LLOYD_ITERATIONS):
        edges[:, 1:-1] = _places(columns, 0.5 * (centers[:, 1:] + centers[:, :-1]))
        counts = np.diff(edges, axis=1)
        totals = np.diff(np.take_along_axis(sums, edges, axis=1), axis=1)
        before, means = centers, totals / np.maximum(counts, 1)
        centers = np.where(counts > 0, means, centers)
        if np.array_equal(centers, before):
            break
    return centers.astype(np.float32)


def _places(columns: Float64, values: Float64) -> NDArray[np.intp]:
    """Return where values belong in sorted rows: `searchsorted` of each row."""
    low = np.zeros(values.shape, dtype=np.intp)
    high = np.full(values.shape, columns.shape[1])
    # Of an interval of n, at most half is left each time.
    for _ in range(columns.shape[1].bit_length()):
        middle = (low + high) // 2
        inside = np.minimum(middle, columns.shape[1] - 1)
        is_left = np.take_along_axis(columns, inside, axis=1) < values
        is_open = low < high
        low = np.where(is_open & is_left, middle + 1, low)
        high = np.where(is_open & ~is_left, middle, high)
    return low


def _first_values(columns: Float64) -> Float64:
    """Return 16 quantiles of each row; where some coincide, others that occur."""
    quantiles = np.quantile(columns, _middles(CODE_VALUES), axis=1).T.copy()
    coincide = ~(np.diff(quantiles, axis=1) > 0).all(axis=1)
    n_distinct = 1 + np.count_nonzero(np.diff(columns, axis=1), axis=1)
    for number in np.flatnonzero(coincide | (n_distinct <= CODE_VALUES)):
        quantiles[number] = _distinct_values(columns[number])
    return quantiles


def _distinct_values(column: Float64) -> Float64:
    """Return 16 quantiles; where some coincide, other values that occur instead."""
    distinct = np.unique(column)
    if len(distinct) <= CODE_VALUES:
        return np.pad(distinct, (0, CODE_VALUES - len(distinct)), mode="edge")
    quantiles = np.unique(np.quantile(column, _middles(CODE_VALUES)))
    missing = CODE_VALUES - len(quantiles)
    if missing:
        others = np.setdiff1d(distinct, quantiles)
        quantiles = np.append(quantiles, np.quantile(others, _middles(missing)))
    return np.sort(quantiles)


def _middles(number: int) -> Float64:
    """Return the middles of as many equal parts of the unit interval."""
    return (np.arange(number) + 0.5) / number
