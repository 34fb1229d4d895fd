"""Recall by lists scanned and candidates measured, from one scan of many lists."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float32, Float64
from latentsk.index._codebook import nearest_centers
from latentsk.index._exact import ExactSearch
from latentsk.index._ivf_search import IVFCodes, IVFSearch
from latentsk.index._measuring import (
    coordinates_of,
    query_coordinates,
    without_excluded,
)
from latentsk.index._recall import HeldOut
from latentsk.index._search import Embedding


class RecallGrid(NamedTuple):
    """Candidates of queries, with what tells how a smaller search would have done.

    Candidates are in the order of their codes. Those that lie in the first lists of a
    query come in the order in which a scan of these lists alone finds them: one scan
    tells the recall of every smaller number of lists, and of candidates.

    Attributes
    ----------
    list_ranks : ndarray of shape (n_queries, n_candidates)
        How many lists are nearer to the query than the candidate's.

    hits : ndarray of shape (n_queries, n_candidates), bool
        Whether the candidate is as near as the true neighbours.

    scores : ndarray of shape (n_queries, n_candidates), float32, or None
        What chooses the best of the candidates; None: how near they truly are.

    k : int
        Number of neighbours.
    """

    list_ranks: NDArray[np.intp]
    hits: NDArray[np.bool_]
    scores: Float32 | None
    k: int

    def recalls(self, n_probe: int, n_candidates: int) -> Float64:
        """Return each query's recall.

        Parameters
        ----------
        n_probe : int
            Lists scanned, at most as many as in the grid.

        n_candidates : int
            Candidates measured.

        Examples
        --------
        >>> ranks, hits = np.array([[0, 2, 1]]), np.array([[True, False, True]])
        >>> grid = RecallGrid(ranks, hits, None, 2)
        >>> [grid.recalls(p, c).item() for p, c in [(1, 2), (2, 2), (3, 2), (3, 3)]]
        [0.5, 1.0, 0.5, 1.0]
        """
        is_scanned = self.list_ranks < n_probe
        is_measured = is_scanned & (np.cumsum(is_scanned, axis=1) <= n_candidates)
        found = is_measured & self.hits
        if self.scores is not None:
            scores = np.where(is_measured, self.scores, np.inf)
            best = np.argsort(scores, axis=1, kind="stable")[:, : self.k]
            found = np.take_along_axis(found, best, axis=1)
        return np.minimum(found.sum(axis=1), self.k) / self.k


def scanned(search: IVFSearch, held_out: HeldOut, k: int) -> RecallGrid:
    """Return the grid up to the search's own numbers of lists and candidates."""
    assert held_out.positions is not None
    n_probe, wanted = search.spec.n_probe, search.spec.n_candidates(k)
    candidates = search.candidates(held_out.queries, wanted + 1)
    candidates = without_excluded(candidates, held_out.positions, candidates)
    coordinates = query_coordinates(search.exact, held_out.queries, search.embed)
    projected = search.codes.projection.queries(coordinates)
    lists = nearest_centers(search.codes.codebook.centers, projected, n_probe)
    numbers = search.lists.numbers_of(np.maximum(candidates, 0))
    numbers = np.clip(numbers, 0, search.lists.n_lists - 1)
    ranks = list_ranks(lists, numbers, search.lists.n_lists)
    ranks[candidates < 0] = search.lists.n_lists
    truth = held_out.truth
    queries = truth.space.fast_queries(held_out.queries)
    scores = truth.fast.scores(queries, candidates)
    last = truth.fast.scores(queries, held_out.neighbors[:, k - 1 : k])
    kept = None
    if search.exact is not truth:  # quantized rows choose the best of the candidates
        exact = search.exact
        kept = exact.fast.scores(exact.space.fast_queries(held_out.queries), candidates)
    return RecallGrid(ranks, scores <= last, kept, k)


def list_ranks(
    nearest: NDArray[np.integer[Any]], numbers: NDArray[np.integer[Any]], n_lists: int
) -> NDArray[np.intp]:
    """Return how many lists are nearer to each query than some lists.

    Parameters
    ----------
    nearest : ndarray of shape (n_queries, n_nearest)
        Lists by distance to each query.

    numbers : ndarray of shape (n_queries, n_numbers)
        Lists asked about.

    n_lists : int
        Number of lists, which is the rank of those that are not among the nearest.

    Examples
    --------
    >>> list_ranks(np.array([[4, 2, 0]]), np.array([[0, 1, 4]]), 5)
    array([[2, 5, 0]])
    """
    ranks = np.full((len(nearest), n_lists), n_lists, dtype=np.intp)
    places = np.broadcast_to(np.arange(nearest.shape[1]), nearest.shape)
    np.put_along_axis(ranks, nearest, places, axis=1)
    return np.take_along_axis(ranks, numbers, axis=1)


def neighbor_ranks(
    codes: IVFCodes, exact: ExactSearch, embed: Embedding | None, held_out: HeldOut
) -> NDArray[np.intp]:
    """Return the rank of the list that each true neighbour of each query lies in.

    No row has to be coded for it.
    """
    positions, places = np.unique(held_out.neighbors, return_inverse=True)
    places = places.reshape(held_out.neighbors.shape)
    rows = codes.projection.rows(coordinates_of(exact, positions, embed))
    queries = query_coordinates(exact, held_out.queries, embed)
    centers = codes.codebook.centers
    numbers = nearest_centers(centers, rows, 1)[:, 0][places]
    distances = np.sum(centers**2, axis=1)
    distances = distances - 2.0 * codes.projection.queries(queries) @ centers.T
    limits = np.take_along_axis(distances, numbers, axis=1)
    ranks = np.empty(numbers.shape, dtype=np.intp)
    for number, column in enumerate(limits.T):
        ranks[:, number] = np.count_nonzero(distances < column[:, None], axis=1)
    return ranks


def reached_recalls(ranks: NDArray[np.intp], n_probe: int) -> Float64:
    """Return the recall of each query if every row in the first lists were measured."""
    return np.mean(ranks < n_probe, axis=1)
