"""What is asked of a search, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from latentsk._typing import Float64, Positions

# Distances (or inner products) and positions.
Neighbors = tuple[Float64, Positions]


class Query(NamedTuple):
    """Vectors whose neighbours are asked for.

    Attributes
    ----------
    vectors : ndarray of shape (n_queries, n_features)
        Like the rows; a search on a GPU takes tensors, too.

    k : int
        Number of neighbours, at most that of the rows that may be returned.

    exclude : ndarray of shape (n_queries,) or None, default=None
        Position of the row that is left out, per query: the query itself.

    eligible : ndarray of shape (n_eligible,) or None, default=None
        Positions of the rows that may be returned, ascending; None: all.

    certified : bool, default=True
        Whether the answer is that of float64, or what float32 says.

    backend : {"auto", "faiss", "torch"}, default="auto"
        Who finds candidates on the CPU.

    warns : bool, default=True
        Whether to warn of queries for which no recall was tried.
    """

    vectors: Any
    k: int
    exclude: Positions | None = None
    eligible: Positions | None = None
    certified: bool = True
    backend: str = "auto"
    warns: bool = True

    def some(self, which: Any) -> Query:
        """Return the same for some of the vectors."""
        exclude = None if self.exclude is None else self.exclude[which]
        return self._replace(vectors=self.vectors[which], exclude=exclude)

    def n_eligible(self, n_rows: int) -> int:
        """Return how many of so many rows may be returned."""
        return n_rows if self.eligible is None else len(self.eligible)


def neighbors_of_each(
    query: Query, k: int, ask: Callable[[Query], Neighbors]
) -> Neighbors:
    """Return as many neighbours as each query has, up to a number.

    A row that may not be returned itself has one more than one that may.

    Parameters
    ----------
    query : Query
        For as many neighbours as every query has.

    k : int
        How many were asked for.

    ask : callable
        Answers a query.

    Returns
    -------
    values : ndarray of shape (n_queries, n_neighbors)
        NaN where a query has fewer than others.

    positions : ndarray of shape (n_queries, n_neighbors)
        -1 there.
    """
    values, positions = ask(query)
    if query.k == k or query.exclude is None or query.eligible is None:
        return values, positions
    has_more = ~np.isin(query.exclude, query.eligible)
    if has_more.all() or not has_more.any():
        return values, positions
    values = np.hstack([values, np.full((len(values), 1), np.nan)])
    positions = np.hstack([positions, np.full((len(values), 1), -1)])
    more = query.some(has_more)._replace(k=query.k + 1)
    values[has_more], positions[has_more] = ask(more)
    return values, positions
