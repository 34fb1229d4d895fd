"""Which graph is tried, and how thoroughly it has to be searched."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cached_property

from latentsk.index._cost import graph_build_cost, graph_cost
from latentsk.index._graph import LARGEST_COORDINATE
from latentsk.index._graph_sample import EFFORTS, GraphSample
from latentsk.index._graph_search import GraphSearch, graph_search
from latentsk.index._graph_spec import HNSW, SYMPHONY, GraphSpec
from latentsk.index._rabitq import load_rabitqlib
from latentsk.index._search import Search, Training, TuningTask

# Neighbours of a row in the graph.
DEGREE = 32
# Columns up to which HNSW is the quicker graph: SymphonyQG's codes need more.
MAX_HNSW_COLUMNS = 16


def graph_kind(width: int) -> str:
    """Return the graph that is the quicker one for so many columns.

    Examples
    --------
    >>> graph_kind(8), graph_kind(384)
    ('HNSW', 'SymphonyQG')
    """
    return HNSW if width <= MAX_HNSW_COLUMNS else SYMPHONY


class GraphFamily:
    """Graphs of a kind, as the tuner tries them.

    Parameters
    ----------
    kind : {"HNSW", "SymphonyQG"}
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def require(self) -> None:
        """Raise an error where the graph cannot be built.

        Raises
        ------
        ImportError
        """
        if self.kind == SYMPHONY:
            load_rabitqlib()

    def min_rows(self, spec: str) -> int:
        """Return how many rows a specification needs."""
        return GraphSpec.parse(spec).degree + 1

    def build(self, flat: Search, spec: str, training: Training) -> GraphSearch:
        """Return the search that a specification pins.

        Raises
        ------
        ValueError
            If the rows are too few for it.

        ImportError
            If the graph's library is not there.
        """
        wanted, members = GraphSpec.parse(spec), training.members
        self.require()
        if len(members) <= wanted.degree:
            raise ValueError(
                f"index_spec={spec!r} gives each row {wanted.degree} neighbours, but "
                f"there are {len(members)} rows."
            )
        return graph_search(flat, wanted, training)

    def build_cost(self, n_rows: int, width: int) -> float:
        """Return the counted work of a plain build, without any choice."""
        return graph_build_cost(GraphSpec(self.kind, DEGREE, 1), n_rows, width)

    def sample(self, task: TuningTask) -> GraphSample:
        """Return the smaller graph, which is not built before it is needed."""
        spec = GraphSpec(self.kind, DEGREE, EFFORTS[0])
        k, budget = task.n_neighbors, task.budget
        return GraphSample(task.flat, spec, task.training, k, budget)

    def variants(
        self, task: TuningTask, best: Callable[[], Search]
    ) -> Iterator[GraphVariant]:
        """Yield the search to try, whose effort is not chosen yet."""
        exact, training, budget = task.flat.exact, task.training, task.budget
        n_rows, width = len(training.members), exact.space.n_features
        k, spec = task.n_neighbors, GraphSpec(self.kind, DEGREE, EFFORTS[0])
        if graph_cost(spec, width, k) >= best().cost(k, n_rows) or n_rows <= DEGREE:
            return
        sample, work = task.sample or self.sample(task), self.build_cost(n_rows, width)
        all_work = work + sample.exists * sample.build_cost
        is_large = exact.fast.largest_norm >= LARGEST_COORDINATE
        if is_large or not budget.affords(all_work):
            return
        budget.spend(work)
        yield GraphVariant(graph_search(task.flat, spec, training), task, sample)


class GraphVariant:
    """A search whose effort is found by bisection on the held-out queries.

    Parameters
    ----------
    search : GraphSearch
        Its `spec` is changed.

    task : TuningTask

    sample : GraphSample
        Tells what fresh queries find.
    """

    def __init__(
        self, search: GraphSearch, task: TuningTask, sample: GraphSample
    ) -> None:
        self.search = search
        self._task = task
        self._sample = sample

    def cheapest_spec(self, target: float, limit: float) -> GraphSpec | None:
        """Return the least effort that is expected to meet a target.

        None where there is none whose cost is below a limit.
        """
        spec, k = self.search.spec, self._task.n_neighbors
        width = self.search.exact.space.n_features
        specs = [GraphSpec(spec.kind, spec.degree, effort) for effort in EFFORTS]
        cheaper = [spec for spec in specs if graph_cost(spec, width, k) < limit]
        place = bisect_left(cheaper, target, key=self._recall)
        return cheaper[place] if place < len(cheaper) else None

    @cached_property
    def _recalls(self) -> dict[GraphSpec, float]:
        return {}

    def _recall(self, spec: GraphSpec) -> float:
        """Return the lower bound of the recall; 0 where no work is left for it."""
        task, k = self._task, self._task.n_neighbors
        if spec not in self._recalls:
            members, held_out = task.training.members, task.held_out
            self.search.spec = spec
            work = len(held_out.queries) * self.search.cost(k, len(members))
            if not task.budget.affords(work + self._sample.measuring_cost(spec, k)):
                return 0.0
            task.budget.spend(work)
            recalls = held_out.recalls(self.search, members, k)
            self._recalls[spec] = self._sample.bounds(recalls, spec, k)[1]
        return self._recalls[spec]
