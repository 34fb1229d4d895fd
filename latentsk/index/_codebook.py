"""Training of an inverted file: where its lists lie, and what its codes stand for."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from latentsk._faiss import load_faiss
from latentsk._typing import Float32, Float64
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import flag, floats

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
        "values": floats("codes", CODE_VALUES, dtypes={"float32"}),
        "residual": flag(),
    }
)
class Codebook(NamedTuple):
    """What training finds.

    Attributes
    ----------
    centers : ndarray of shape (n_lists, n_codes), float32
        Centres of the lists.

    values : ndarray of shape (n_codes, 16), float32
        What the codes of each coordinate stand for.

    residual : bool
        Whether codes are of the difference to the list's centre.
    """

    centers: Float32
    values: Float32
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
    faiss = load_faiss()
    kmeans = faiss.Kmeans(
        sample.shape[1],
        n_lists,
        niter=KMEANS_ITERATIONS,
        seed=seed % 2**31,  # FAISS takes a C int
        # All rows handed in count, and few are enough: both limits only print warnings.
        max_points_per_centroid=len(sample),
        min_points_per_centroid=1,
    )
    kmeans.train(sample)
    centers = kmeans.centroids
    if residual:
        _, lists = kmeans.index.search(sample, 1)
        sample = sample - centers[lists[:, 0]]
    coded = sample[:: math.ceil(len(sample) / MAX_CODED_ROWS)]
    return Codebook(centers, scalar_codes(coded), residual)


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
    values = np.empty((sample.shape[1], CODE_VALUES), dtype=np.float32)
    for number, column in enumerate(np.sort(sample, axis=0).T.astype(np.float64)):
        sums = np.concatenate([[0.0], np.cumsum(column)])
        centers = _first_values(column)
        for _ in range(LLOYD_ITERATIONS):
            middles = 0.5 * (centers[1:] + centers[:-1])
            edges = [0, *np.searchsorted(column, middles), len(column)]
            counts = np.diff(edges)
            means = np.diff(sums[edges]) / np.maximum(counts, 1)
            centers = np.where(counts > 0, means, centers)
        values[number] = centers
    return values


def _first_values(column: Float64) -> Float64:
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
