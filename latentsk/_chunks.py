"""Rows in slices, blocks and samples, so that temporary arrays stay small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils._array_api import device, get_namespace

from latentsk._images import MappedImages

# 8 MB in float64: large enough for the matrix products, small enough for the caches.
BLOCK_ELEMENTS = 2**20
MIN_BLOCK_ROWS = 64
SAMPLE_ROWS = 1_024
MIN_SAMPLE_ROWS = 128
SAMPLE_ELEMENTS = 2**20
# Elements of a slice of rows that are converted or copied: a few MB.
SLICE_ELEMENTS = 2**19


def row_slices(
    n_rows: int, elements_per_row: int, n_elements: int | None = None
) -> Iterator[slice]:
    """Cut rows into slices of a bounded number of elements, and of one row at least.

    Parameters
    ----------
    n_rows : int
        Number of rows.

    elements_per_row : int
        Elements that one row takes.

    n_elements : int or None, default=None
        Elements of a slice at most; None: some 500,000.

    Yields
    ------
    rows : slice
        Consecutive; together all rows.

    Examples
    --------
    >>> list(row_slices(5, 10, 20))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    most = SLICE_ELEMENTS if n_elements is None else n_elements
    step = max(1, most // max(1, elements_per_row))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def row_blocks(X: Any) -> Iterator[Any]:
    """Yield consecutive blocks of rows; those of a sparse matrix become dense.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_rows, n_columns)

    Yields
    ------
    block : array of shape (n_block_rows, n_columns)
        A view of `X` where it is an array.

    Examples
    --------
    >>> [block.shape for block in row_blocks(np.zeros((1_000, 5_000)))]
    [(209, 5000), (209, 5000), (209, 5000), (209, 5000), (164, 5000)]
    """
    n_rows, n_columns = X.shape
    step = max(MIN_BLOCK_ROWS, BLOCK_ELEMENTS // max(1, n_columns))
    for start in range(0, n_rows, step):
        block = X[start : min(start + step, n_rows), :]
        yield block.toarray() if issparse(block) else block


def sample_rows(X: Any) -> Any:
    """Return a bounded sample of rows, the same for every call with as many rows.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_rows, n_columns)

    Returns
    -------
    sample : array of shape (n_sampled, n_columns)
        A dense copy of at most 1,024 rows, in their order; fewer where they are wide.

    Examples
    --------
    >>> sample_rows(np.zeros((5_000, 3))).shape
    (1024, 3)
    """
    n_rows, n_columns = X.shape
    most = min(SAMPLE_ROWS, max(MIN_SAMPLE_ROWS, SAMPLE_ELEMENTS // n_columns))
    generator = np.random.default_rng(0)
    rows = np.sort(generator.choice(n_rows, min(n_rows, most), replace=False))
    if issparse(X):
        return X[rows].toarray()
    if isinstance(X, MappedImages):
        return X[rows]
    xp, _ = get_namespace(X)
    return xp.take(X, xp.asarray(rows, device=device(X)), axis=0)
