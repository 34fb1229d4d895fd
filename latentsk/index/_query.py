"""What is asked of a search, and what it answers."""

from __future__ import annotations

from typing import Any, NamedTuple

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
