"""From the candidates of an approximate search to what it answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float32, Positions
from latentsk.index._exact import ExactSearch
from latentsk.index._query import Neighbors, Query
from latentsk.index._search import Embedding

# Candidates that float64 measures beyond the neighbours asked for, so that rounding in
# float32 leaves none out.
SPARE_NEIGHBORS = 4
# Distance to the nearest row, in lengths of the longest one (from near the middle of
# the rows), beyond which a query is answered exactly.
FAR_AWAY = 5.0
# Scores above it may have overflowed on the way.
LARGEST_SCORE = 1e37


def measured_neighbors(
    exact: ExactSearch,
    query: Query,
    candidates: NDArray[np.int64],
    is_lost: NDArray[np.bool_],
) -> Neighbors:
    """Return the nearest of each query's candidates, measured on the rows.

    Parameters
    ----------
    exact : ExactSearch
        Over the rows.

    query : Query

    candidates : ndarray of shape (n_queries, n_candidates)
        Positions; -1 for none. The excluded one may be among them.

    is_lost : ndarray of shape (n_queries,), dtype bool
        Which queries are not to be answered by them.

    Returns
    -------
    values, positions : ndarrays of shape (n_queries, k) or wider
        A position of -1 where the answer is not reliable.
    """
    if query.exclude is not None:
        candidates = without_excluded(candidates, query.exclude, candidates)
    spare = SPARE_NEIGHBORS if query.certified else 0
    wanted = min(candidates.shape[1], query.k + spare)
    queries = exact.space.fast_queries(query.vectors)
    scores, nearest = exact.fast.best_of(queries, candidates, wanted)
    return reliable_neighbors(exact, query, scores, nearest, is_lost)


def reliable_neighbors(
    exact: ExactSearch,
    query: Query,
    scores: Float32,
    nearest: NDArray[np.int64],
    is_lost: NDArray[np.bool_],
) -> Neighbors:
    """Return what is found as `measured_neighbors` does, of scores in float32.

    Parameters
    ----------
    exact, query, is_lost
        As there.

    scores : ndarray of shape (n_queries, n_nearest), float32
        Ascending.

    nearest : ndarray of shape (n_queries, n_nearest)
        Positions; -1 for none. What is to be left out is not among them.

    Returns
    -------
    values, positions : ndarrays
        As there.
    """
    space, queries = exact.space, query.vectors
    is_reliable = ~is_lost & (np.abs(scores) < LARGEST_SCORE).all(axis=1)
    is_reliable &= (nearest >= 0).all(axis=1) & ~space.ties_all_rows(queries)
    if not space.is_similarity:
        # From far away all rows look alike, to codes and to float32.
        is_reliable &= np.sqrt(scores[:, 0]) <= FAR_AWAY * exact.fast.largest_norm
    if not query.certified:
        nearest[~is_reliable] = -1
        return space.to_metric(space.from_score(scores.astype(float))), nearest
    values = np.empty((len(queries), query.k))
    positions: Any = np.full((len(queries), query.k), -1, dtype=np.intp)
    values[is_reliable], positions[is_reliable] = exact.nearest_of(
        query.some(is_reliable), nearest[is_reliable]
    )
    return values, positions


def without_excluded(
    candidates: NDArray[np.int64], exclude: Positions, values: NDArray[Any]
) -> NDArray[Any]:
    """Return values of candidates but one: that to be left out, or the last."""
    is_excluded = candidates == exclude[:, None]
    order = np.argsort(is_excluded, axis=1, kind="stable")[:, :-1]
    return np.take_along_axis(values, order, axis=1)


def coordinates_of(
    exact: ExactSearch, positions: Positions, embed: Embedding | None
) -> Float32:
    """Return what is projected and coded of some rows."""
    if embed is None:
        # The first row of zeros under cosine may come later: it changes no codes.
        return exact.space.unpadded(exact.fast[positions])
    return embed(exact.space.vectors[positions]).astype(np.float32)


def query_coordinates(
    exact: ExactSearch, queries: NDArray[Any], embed: Embedding | None
) -> Float32:
    """Return what is projected of queries, which are vectors like the rows."""
    if embed is None:
        return exact.space.unpadded(exact.space.fast_queries(queries))
    return embed(queries).astype(np.float32)
