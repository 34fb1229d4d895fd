"""What queries that are no rows find in a graph, as a smaller graph tells."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property

import numpy as np

from latentsk._typing import Float64
from latentsk.index._cost import exact_cost, graph_build_cost, graph_cost
from latentsk.index._graph_search import GraphSearch, graph_search
from latentsk.index._graph_spec import GraphSpec
from latentsk.index._recall import (
    Bounds,
    HeldOut,
    fresh_queries,
    held_out_queries,
    recall_bounds,
)
from latentsk.index._search import Search, Training
from latentsk.index._work import WorkBudget

# Rows of the smaller graph: one of so many, or these; and queries of each kind.
SAMPLE_SHARE, LEAST_ROWS = 5, 1_000
QUERY_SHARE, LEAST_QUERIES, MOST_QUERIES = 20, 500, 2_500
# Where the rows of two graphs miss as many of their neighbours, fresh queries miss more
# in the larger one: the ratio of sizes to the power of 0 to 0.36 (MNIST: 0.2).
GROWTH = 1.0 / 3.0
# What is tried: all up to 32, then each at most a sixteenth more than the one before.
EFFORTS = (
    *(*range(8, 32), *range(32, 64, 2), *range(64, 128, 4)),
    *(*range(128, 256, 8), *range(256, 513, 16)),
)


def sample_size(n_rows: int) -> int:
    """Return how many rows the smaller graph gets.

    Examples
    --------
    >>> sample_size(60_000), sample_size(3_000), sample_size(200)
    (12000, 1000, 100)
    """
    return max(n_rows // SAMPLE_SHARE, min(LEAST_ROWS, n_rows // 2))


class GraphSample:
    """A graph over some of the rows, which others ask as fresh queries.

    The rows of a graph find their own neighbours along their own links: what they miss
    is not what a fresh query misses. In the sample both are known.

    Parameters
    ----------
    flat : Search
        Over all rows, exact.

    spec : GraphSpec
        Kind and degree of both graphs.

    training : Training
        The rows.

    n_neighbors : int
        Neighbours that are asked for, at least.

    budget : WorkBudget
        Counts the work.
    """

    def __init__(
        self,
        flat: Search,
        spec: GraphSpec,
        training: Training,
        n_neighbors: int,
        budget: WorkBudget,
    ) -> None:
        self._flat, self._spec, self._training = flat, spec, training
        self._k, self._budget = n_neighbors, budget
        rng = np.random.default_rng(training.seed)
        drawn = rng.permutation(training.members)
        size = sample_size(len(drawn))
        self.members = np.sort(drawn[:size])
        wanted = max(len(drawn) // QUERY_SHARE, LEAST_QUERIES)
        self._n_queries = min(wanted, MOST_QUERIES)
        self.others = drawn[size : size + self._n_queries]
        self._own: dict[tuple[int, int], float] = {}

    @property
    def exists(self) -> bool:
        """Whether there are enough rows for a smaller graph."""
        return len(self.members) > self._spec.degree

    @property
    def build_cost(self) -> float:
        """The counted work of the graph and of the truth about its queries."""
        size = len(self.members), self._flat.exact.space.n_features
        truth = 2 * self._n_queries * exact_cost(*size)
        return graph_build_cost(self._spec, *size) + truth

    def measuring_cost(self, spec: GraphSpec, k: int) -> float:
        """Return the counted work of `bounds`, at most."""
        if not self.exists:
            return 0.0
        width, efforts = self._flat.exact.space.n_features, _efforts_up_to(spec.effort)
        n_measured = 1 + len(efforts).bit_length()
        return self._n_queries * n_measured * graph_cost(spec, width, k)

    def bounds(
        self, recalls: Float64, spec: GraphSpec, k: int
    ) -> tuple[float, float, float]:
        """Return recall of fresh queries in the whole graph, with its bounds.

        Parameters
        ----------
        recalls : ndarray of shape (n_queries,)
            Of rows of the whole graph.

        spec : GraphSpec
            Of the search there.

        k : int
            Number of neighbours.
        """
        if not self.exists:
            return recall_bounds(recalls)
        own = recalls.mean()
        efforts = _efforts_up_to(spec.effort)
        above = bisect_right(efforts, own, key=lambda ef: self._own_recall(ef, k))
        found = self._recalls(self._fresh, efforts[max(above - 1, 0)], k)
        growth = (len(self._training.members) / len(self.members)) ** GROWTH
        mean, lower, upper = (
            max(0.0, 1.0 - growth * (1.0 - bound)) for bound in recall_bounds(found)
        )
        return mean, lower, upper

    def bounds_of(self, search: GraphSearch) -> Bounds:
        """Return `bounds` of a search in the whole graph."""
        return lambda recalls, k: self.bounds(recalls, search.spec, k)

    def _own_recall(self, effort: int, k: int) -> float:
        if (effort, k) not in self._own:
            self._own[effort, k] = self._recalls(self._rows, effort, k).mean()
        return self._own[effort, k]

    def _recalls(self, held_out: HeldOut, effort: int, k: int) -> Float64:
        search = self._search
        k = min(k, len(self.members) - 1)
        queries = held_out.with_neighbors(k)
        assert queries is not None
        search.spec = GraphSpec(self._spec.kind, self._spec.degree, effort)
        work = len(queries.queries) * search.cost(k, len(self.members))
        self._budget.spend(work)
        return queries.recalls(search, self.members, k)

    @cached_property
    def _search(self) -> GraphSearch:
        self._budget.spend(self.build_cost)
        training = self._training._replace(members=self.members)
        return graph_search(self._flat, self._spec, training)

    @cached_property
    def _fresh(self) -> HeldOut:
        vectors = self._flat.exact.space.vectors[self.others]
        return fresh_queries(self._flat, vectors, self._k, self.members)

    @cached_property
    def _rows(self) -> HeldOut:
        rng = np.random.default_rng(self._training.seed)
        k = min(self._k, len(self.members) - 1)
        return held_out_queries(self._flat, self.members, k, rng, self._n_queries)


def _efforts_up_to(effort: int) -> list[int]:
    return [*(smaller for smaller in EFFORTS if smaller < effort), effort]
