"""Search in a graph over rows that do not change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._typing import Float32, Positions
from latentsk.index._cost import graph_cost
from latentsk.index._exact import ExactSearch, ignore_fp_warnings
from latentsk.index._graph import LARGEST_COORDINATE, built_graph
from latentsk.index._graph_spec import GraphSpec
from latentsk.index._ivf_search import BATCH_ELEMENTS
from latentsk.index._measuring import (
    SPARE_NEIGHBORS,
    coordinates_of,
    measured_neighbors,
    query_coordinates,
    reliable_neighbors,
    without_excluded,
)
from latentsk.index._memory import graph_bytes
from latentsk.index._metric import Rescaling
from latentsk.index._projection import LONGEST, Projection, largest_length
from latentsk.index._quantized import Vectors
from latentsk.index._query import Neighbors, Query
from latentsk.index._search import Embedding, Search, Training
from latentsk.persistence import _schema as rules
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import require


@storable(
    {
        "spec": rules.text(),
        "length": rules.maybe(rules.number(0, LONGEST)),
        "rescaling": rules.instance(Rescaling),
    }
)
@dataclass(frozen=True)
class GraphState:
    """The state of a `GraphSearch`: see `SearchState`.

    The graph is built again of the vectors: no file is handed to a native parser.

    Attributes
    ----------
    spec : str

    length : float or None
        See `Projection`.

    rescaling : Rescaling
        Of the vectors.
    """

    n_drifted: ClassVar[int] = 0

    spec: str
    length: float | None
    rescaling: Rescaling

    def restore(
        self,
        flat_over: Callable[[Rescaling | None], Search],
        members: Positions,
        embed: Embedding | None,
    ) -> GraphSearch:
        """Return the search over the same vectors."""
        flat, spec = flat_over(self.rescaling), GraphSpec.parse(self.spec)
        return GraphSearch(flat, spec, self.length, members, embed)

    def check_fits(self, shape: tuple[int, int], metric: str, embedded: bool) -> None:
        """Refuse vectors that the state does not belong to, and another state.

        Raises
        ------
        FormatError, ValueError
        """
        (n_rows, width), shift = shape, self.rescaling.shift
        spec = GraphSpec.parse(self.spec)
        require(spec.degree < n_rows, "its rows have more neighbours than there are")
        is_similarity = metric == "inner_product"
        same = is_similarity == (self.length is not None)
        require(same, "its graph is of another metric")
        fits = shift is None or len(shift) - width in (0, 1)
        require(fits, "vectors are shifted in another width")


class GraphSearch:
    """Search over candidates from a graph, with an exact one behind it.

    Queries for some of the rows only are answered by the exact search.

    Parameters
    ----------
    flat : Search
        Compares every row, and answers where the graph cannot.

    spec : GraphSpec
        Structure and search parameter.

    length : float or None
        The length of the longest row, for inner products; None for distances.

    members : ndarray of shape (n_members,)
        Positions of the rows that are searched, ascending.

    embed : callable or None, default=None
        From the rows to the vectors that the graph is over; None: these are the rows
        themselves, rescaled.

    Raises
    ------
    ImportError
        If the graph's library is not there.

    ValueError
        If the squares of vectors leave the range of float32.
    """

    def __init__(
        self,
        flat: Search,
        spec: GraphSpec,
        length: float | None,
        members: Positions,
        embed: Embedding | None = None,
    ) -> None:
        self.flat = flat
        self.spec = spec
        self.embed = embed
        self.members = members
        self._projection = Projection(None, None, length)
        rows = self._projection.rows(coordinates_of(self.exact, members, embed))
        if not np.abs(rows).max() < LARGEST_COORDINATE:
            raise ValueError(
                "Vectors whose squares leave the range of float32 have no graph "
                f"({spec}). Scale them, or leave static=False."
            )
        self._graph = built_graph(rows, spec)

    @property
    def exact(self) -> ExactSearch:
        """The search that compares every row."""
        return self.flat.exact

    def add(self, vectors: Vectors, positions: Positions) -> NoReturn:
        """Raise an error: a graph takes no changes."""
        raise NotImplementedError("A graph takes no changes.")

    def remove(self, positions: Positions) -> NoReturn:
        """Raise an error: a graph takes no changes."""
        raise NotImplementedError("A graph takes no changes.")

    def cost(self, n_neighbors: int, n_rows: int) -> float:
        """Return the cost of a query."""
        return graph_cost(self.spec, self.exact.space.n_features, n_neighbors)

    def n_bytes(self, n_rows: int) -> int:
        """Return the bytes of the graph, with its own copy of the rows."""
        return graph_bytes(n_rows, self.exact.space.n_features, self.spec)

    def to_state(self) -> GraphState:
        """Return what the search is restored from, besides the vectors."""
        rescaling = self.exact.space.rescaling
        return GraphState(str(self.spec), self._projection.length, rescaling)

    # What is found

    def neighbors(self, query: Query) -> Neighbors:
        """Return rows near each query, most of which are the nearest: see `IVFSearch`.

        Returns
        -------
        distances : ndarray of shape (n_queries, k), float64

        positions : ndarray of shape (n_queries, k)
        """
        if self._prefers_exact(query):
            return self.flat.neighbors(query)
        n_queries, n_features = query.vectors.shape
        values = np.empty((n_queries, query.k), dtype=np.float64)
        positions = np.empty((n_queries, query.k), dtype=np.intp)
        for part in row_slices(n_queries, n_features, BATCH_ELEMENTS):
            some = query.some(part)
            with ignore_fp_warnings():
                found = self._nearest(some)
            is_lost = (found[1] < 0).any(axis=1)
            if is_lost.any():
                lost = some.some(is_lost)._replace(certified=True)
                found[0][is_lost], found[1][is_lost] = self.flat.neighbors(lost)
            values[part], positions[part] = found
        return values, positions

    def _prefers_exact(self, query: Query) -> bool:
        n_members = len(self.members)
        if query.eligible is not None and len(query.eligible) < n_members:
            return True
        return 2 * self.spec.effort_for(query.k) >= n_members

    def _nearest(self, query: Query) -> Neighbors:
        none_lost = np.zeros(len(query.vectors), dtype=bool)
        scores, candidates = self._candidates(query)
        if query.certified or not self._measures:
            return measured_neighbors(self.exact, query, candidates, none_lost)
        if query.exclude is not None:
            scores, candidates = (
                without_excluded(candidates, query.exclude, values)
                for values in (scores, candidates)
            )
        return reliable_neighbors(self.exact, query, scores, candidates, none_lost)

    @property
    def _measures(self) -> bool:
        """Whether the graph's scores are those of the rows, in float32."""
        space = self.exact.space
        is_same = self.embed is None and not space.is_similarity
        return is_same and not space.is_padded

    def _candidates(self, query: Query) -> tuple[Float32, NDArray[np.int64]]:
        """Return some more rows than are asked for, for float64 to choose from."""
        spare = SPARE_NEIGHBORS if query.certified else 0
        wanted = query.k + spare + (query.exclude is not None)
        effort = max(wanted, self.spec.effort_for(query.k))
        coordinates = query_coordinates(self.exact, query.vectors, self.embed)
        projected = np.ascontiguousarray(self._projection.queries(coordinates))
        scores, numbers = self._graph.nearest(projected, wanted, effort)
        return scores, np.where(numbers < 0, -1, self.members[numbers])


def graph_search(flat: Search, spec: GraphSpec, training: Training) -> GraphSearch:
    """Return a search in a graph over the rows to be searched."""
    exact, embed = flat.exact, training.embed
    length = None
    if exact.space.is_similarity:
        rows = (
            exact.fast
            if embed is None
            else coordinates_of(exact, training.members, embed)
        )
        length = largest_length(rows)
    return GraphSearch(flat, spec, length, training.members, embed)
