"""The rows with the smallest scores, by brute force in low precision.

The score of a row ``x`` for a query ``q`` is ``|x - q|^2``, or ``-q.x`` for an inner
product. These functions are as exact as their arithmetic, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._faiss import faiss_available, load_faiss
from latentsk._typing import Float64, Positions

# Bytes of scores held at a time.
SCORE_BYTES = 2**26
# Rows scored at a time, so that many queries can share them.
BLOCK_ROWS = 2**16
# Queries from which FAISS's fused product and selection is the faster one.
FAISS_MIN_QUERIES = 512
# FAISS's selection slows down with the number of neighbours; torch's does not.
FAISS_MAX_NEIGHBORS = 128
# Elements of eligible rows that are gathered at a time (8 MB; 64 MB for FAISS).
GATHERED_ELEMENTS = {"torch": 2**21, "faiss": 2**24}

Float = NDArray[Any]
Candidates = tuple[Float64, Positions]
Smallest = tuple[torch.Tensor, torch.Tensor]


def smallest_scores(
    queries: Float,
    rows: Any,
    squared_norms: Float | None,
    n_candidates: int,
    backend: str = "auto",
    eligible: Positions | None = None,
) -> Candidates:
    """Return the rows with the smallest scores for each query.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features)

    rows : ndarray of shape (n_rows, n_features), of the same dtype
        With `eligible`, whatever returns such rows by their positions.

    squared_norms : ndarray of shape (n_rows,) or None
        Of the rows, for Euclidean distances; None for inner products.

    n_candidates : int
        At most n_rows.

    backend : {"auto", "faiss", "torch"}
        "auto" takes FAISS where it is installed and faster. "torch" multiplies with
        numpy's BLAS and selects with torch.

    eligible : ndarray of shape (n_eligible,) or None, default=None
        Positions of the rows that may be returned; None: all.

    Returns
    -------
    scores : ndarray of shape (n_queries, n_candidates), float64
        Ascending.

    positions : ndarray of shape (n_queries, n_candidates)
        Row numbers, always valid ones.

    Examples
    --------
    >>> rows = np.array([[0.0], [1.0], [3.0]], dtype=np.float32)
    >>> smallest_scores(rows[:1], rows, rows[:, 0] ** 2, 2)
    (array([[0., 1.]]), array([[0, 1]]))
    """
    if eligible is not None:
        return _among(queries, rows, squared_norms, n_candidates, backend, eligible)
    if backend == "auto":
        backend = best_backend(len(queries), n_candidates)
    if backend == "faiss":
        return _with_faiss(queries, rows, squared_norms, n_candidates)
    return _with_torch(queries, rows, squared_norms, n_candidates)


def best_backend(n_queries: int, n_candidates: int) -> str:
    """Return "faiss" where it is installed and faster than "torch".

    Examples
    --------
    >>> best_backend(1, 10)
    'torch'
    """
    is_large = n_queries >= FAISS_MIN_QUERIES
    is_narrow = n_candidates <= FAISS_MAX_NEIGHBORS
    return "faiss" if is_large and is_narrow and faiss_available() else "torch"


def barred_scores(
    queries: Float,
    rows: Float,
    squared_norms: Float | None,
    penalties: Float,
    n_candidates: int,
) -> Candidates:
    """Return the smallest scores where some rows are barred.

    As `smallest_scores` where scores are finite; else barred rows may be among them.

    Parameters
    ----------
    queries, rows, squared_norms, n_candidates
        As for `smallest_scores`.

    penalties : ndarray of shape (n_rows,)
        The squared norms (0 for inner products); infinity for barred rows.

    Examples
    --------
    >>> rows = np.array([[0.0], [1.0], [3.0]], dtype=np.float32)
    >>> penalties = np.array([np.inf, 1.0, 9.0], dtype=np.float32)
    >>> barred_scores(rows[:1], rows, rows[:, 0] ** 2, penalties, 2)
    (array([[1., 9.]]), array([[1, 2]]))
    """
    return _with_torch(queries, rows, squared_norms, n_candidates, penalties)


def _among(
    queries: Float,
    rows: Any,
    squared_norms: Float | None,
    n_candidates: int,
    backend: str,
    eligible: Positions,
) -> Candidates:
    best: Smallest | None = None
    if backend == "auto":
        backend = best_backend(len(queries), n_candidates)
    most = GATHERED_ELEMENTS[backend]
    for part in row_slices(len(eligible), rows.shape[1], most):
        some = eligible[part]
        norms = None if squared_norms is None else squared_norms[some]
        wanted = min(n_candidates, len(some))
        scores, which = smallest_scores(queries, rows[some], norms, wanted, backend)
        nearest = torch.from_numpy(scores), torch.from_numpy(some[which])
        best = _merge(best, nearest, n_candidates)
    assert best is not None, "no rows to search"
    return best[0].numpy(), best[1].numpy()


def _with_faiss(
    queries: Float, rows: Float, squared_norms: Float | None, n_candidates: int
) -> Candidates:
    faiss = load_faiss()
    if squared_norms is None:
        products, positions = faiss.knn(
            queries, rows, n_candidates, metric=faiss.METRIC_INNER_PRODUCT
        )
        scores = -products
    else:
        scores, positions = faiss.knn(queries, rows, n_candidates)
    scores = scores.astype(np.float64)
    # FAISS labels what it cannot rank (not-a-number, after an overflow) with -1.
    lost = (positions < 0).any(axis=1)
    if lost.any():
        scores[lost], positions[lost] = _with_torch(
            queries[lost], rows, squared_norms, n_candidates
        )
    return scores, positions


def _with_torch(
    queries: Float,
    rows: Float,
    squared_norms: Float | None,
    n_candidates: int,
    penalties: Float | None = None,
) -> Candidates:
    scores = np.empty((len(queries), n_candidates), dtype=np.float64)
    positions = np.empty((len(queries), n_candidates), dtype=np.intp)
    n_scores = min(len(rows), BLOCK_ROWS)
    for part in query_chunks(len(queries), n_scores, queries.dtype):
        best: Smallest | None = None
        for start, block in score_blocks(queries[part], rows, squared_norms, penalties):
            values, indices = _smallest(torch.from_numpy(block), n_candidates)
            best = _merge(best, (values, indices + start), n_candidates)
        assert best is not None, "no rows to search"
        scores[part], positions[part] = best[0].numpy(), best[1].numpy()
    if squared_norms is not None:
        scores += np.sum(np.square(queries, dtype=np.float64), axis=1)[:, None]
    return scores, positions


def _smallest(values: torch.Tensor, most: int) -> Smallest:
    most = min(most, values.shape[1])
    smallest = torch.topk(values, most, dim=1, largest=False, sorted=True)
    return smallest.values, smallest.indices


def _merge(best: Smallest | None, more: Smallest, most: int) -> Smallest:
    if best is None:
        return more
    values = torch.cat([best[0], more[0]], dim=1)
    positions = torch.cat([best[1], more[1]], dim=1)
    values, order = _smallest(values, most)
    return values, torch.gather(positions, 1, order)


def query_chunks(n_queries: int, n_scores: int, dtype: Any) -> Iterator[slice]:
    """Cut queries so that `n_scores` for each of them stay within 64 MB.

    Examples
    --------
    >>> [chunk.stop for chunk in query_chunks(600, 2**16, np.float32)]
    [256, 512, 600]
    """
    return row_slices(n_queries, n_scores, SCORE_BYTES // np.dtype(dtype).itemsize)


def score_blocks(
    queries: Float,
    rows: Float,
    squared_norms: Float | None,
    penalties: Float | None = None,
) -> Iterator[tuple[int, Float]]:
    """Yield scores, without the part ``|q|^2`` that a query's rows share, by block.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features)

    rows : ndarray of shape (n_rows, n_features)

    squared_norms : ndarray of shape (n_rows,) or None

    penalties : ndarray of shape (n_rows,) or None, default=None
        Added in the place of the squared norms.

    Yields
    ------
    start : int
        Number of the block's first row.

    scores : ndarray of shape (n_queries, n_block_rows)
        Overwritten by the next block.
    """
    factor = queries.dtype.type(-1.0 if squared_norms is None else -2.0)
    queries, added = queries * factor, squared_norms if penalties is None else penalties
    buffer = np.empty((len(queries), min(len(rows), BLOCK_ROWS)), dtype=queries.dtype)
    for start in range(0, len(rows), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(rows))
        is_whole = stop - start == buffer.shape[1]
        out = (
            buffer if is_whole else np.empty((len(queries), stop - start), buffer.dtype)
        )
        with np.errstate(over="ignore", invalid="ignore"):
            np.matmul(queries, rows[start:stop].T, out=out)
            if added is not None:
                out += added[start:stop]
        yield start, out
