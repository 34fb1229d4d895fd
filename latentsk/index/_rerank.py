"""Scores of candidates on the rows themselves, by differences in float32.

The score of a row ``x`` for a query ``q`` is ``|x - q|^2``, or ``-q.x`` for an inner
product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_chunks
from latentsk._faiss import load_faiss
from latentsk._typing import Float32
from latentsk.index._fast_rows import FastRows

# Elements of candidates decoded at a time (a MB: they stay in the cache).
DECODED_ELEMENTS = 2**18

Candidates = NDArray[np.int64]


def rerank(
    queries: Float32, rows: FastRows, candidates: Candidates, k: int
) -> tuple[Float32, Candidates]:
    """Return the best of each query's candidates.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features), float32
        Rescaled.

    rows : FastRows
        The rows.

    candidates : ndarray of shape (n_queries, n_candidates), int64
        Positions; -1 for none.

    k : int
        At most n_candidates.

    Returns
    -------
    scores : ndarray of shape (n_queries, k), float32
        Ascending.

    positions : ndarray of shape (n_queries, k), int64
        -1, with any score, where there are fewer candidates.

    Examples
    --------
    >>> from latentsk.index._metric import MetricSpace
    >>> vectors = np.array([[0.0], [3.0], [1.0]], dtype=np.float32)
    >>> rows = FastRows(MetricSpace(vectors, "euclidean"))
    >>> rerank(vectors[:1], rows, np.array([[1, -1, 2]]), 2)
    (array([[1., 9.]], dtype=float32), array([[2, 1]]))
    """
    if rows.array is None:
        scores = _decoded_scores(queries, rows, candidates)
        order = np.argsort(scores, axis=1, kind="stable")[:, :k]
        return (
            np.take_along_axis(scores, order, axis=1),
            np.take_along_axis(candidates, order, axis=1),
        )
    is_missing = candidates < 0
    if is_missing.any():
        # FAISS stops at the first of them.
        order = np.argsort(is_missing, axis=1, kind="stable")
        candidates = np.take_along_axis(candidates, order, axis=1)
    arrays = _contiguous(queries, rows.array, candidates)
    scores = np.empty((len(queries), k), dtype=np.float32)
    positions = np.empty((len(queries), k), dtype=np.int64)
    faiss = load_faiss()
    is_similarity = rows.space.is_similarity
    measure = (
        faiss.knn_inner_products_by_idx if is_similarity else faiss.knn_L2sqr_by_idx
    )
    n_candidates = candidates.shape[1]
    measure(
        *_pointers(*arrays),
        rows.shape[1],
        len(queries),
        len(rows),
        n_candidates,
        k,
        *_pointers(scores, positions),
        n_candidates,
    )
    return -scores if is_similarity else scores, positions


def candidate_scores(
    queries: Float32, rows: FastRows, candidates: Candidates
) -> Float32:
    """Return the scores of each query's candidates.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features), float32
        Rescaled.

    rows : FastRows
        The rows.

    candidates : ndarray of shape (n_queries, n_candidates), int64
        Positions; -1 for none.

    Returns
    -------
    scores : ndarray of shape (n_queries, n_candidates), float32
        Infinity for none.
    """
    if rows.array is None:
        return _decoded_scores(queries, rows, candidates)
    faiss = load_faiss()
    is_similarity = rows.space.is_similarity
    measure = (
        faiss.fvec_inner_products_by_idx if is_similarity else faiss.fvec_L2sqr_by_idx
    )
    arrays = _contiguous(queries, rows.array, candidates)
    scores = np.empty(candidates.shape, dtype=np.float32)
    measure(
        *_pointers(scores, *arrays),
        rows.shape[1],
        len(queries),
        candidates.shape[1],
    )
    if is_similarity:
        scores = -scores
    scores[candidates < 0] = np.inf
    return scores


def _contiguous(
    queries: Float32, rows: Float32, candidates: Candidates
) -> tuple[NDArray[Any], ...]:
    """Return arrays as FAISS reads them."""
    candidates = np.ascontiguousarray(candidates, dtype=np.int64)
    return np.ascontiguousarray(queries), np.ascontiguousarray(rows), candidates


def _pointers(*arrays: NDArray[Any]) -> list[Any]:
    """Return what FAISS's C++ functions take arrays as; they do not keep them."""
    return [load_faiss().swig_ptr(array) for array in arrays]


def _decoded_scores(
    queries: Float32, rows: FastRows, candidates: Candidates
) -> Float32:
    scores = np.empty(candidates.shape, dtype=np.float32)
    elements_per_query = candidates.shape[1] * rows.shape[1]
    for part in row_chunks(len(candidates), elements_per_query, DECODED_ELEMENTS):
        near = rows[np.maximum(candidates[part], 0)]
        if rows.space.is_similarity:
            scores[part] = -np.einsum("qcd,qd->qc", near, queries[part])
        else:
            near -= queries[part, None, :]
            scores[part] = np.einsum("qcd,qcd->qc", near, near)
    scores[candidates < 0] = np.inf
    return scores
