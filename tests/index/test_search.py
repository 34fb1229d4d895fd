"""Another family of searches, made of the protocol alone."""

import math
from typing import NamedTuple

import numpy as np
import pytest

from latentsk.index._exact import ExactSearch, Query
from latentsk.index._recall import held_out_queries, recall_bounds
from latentsk.index._search import Training, TuningTask
from latentsk.index._tuning import tune
from latentsk.index._work import WorkBudget

N_ROWS, K = 2_000, 5


class EveryNthState(NamedTuple):
    """The state of a search that leaves rows out."""

    spec: str
    n_drifted: int = 0

    def restore(self, flat_over, members, embed):
        return EveryNth(flat_over(None), int(self.spec.removeprefix("Every")))


class EveryNth:
    """Looks at every n-th row, and finds about as large a share of the neighbours."""

    def __init__(self, flat, step):
        self.flat = flat
        self.spec = f"Every{step}"

    @property
    def step(self):
        return int(self.spec.removeprefix("Every"))

    @property
    def exact(self):
        return self.flat.exact

    def neighbors(self, query):
        eligible = query.eligible
        eligible = np.arange(self.exact.n_rows) if eligible is None else eligible
        some = eligible[eligible % self.step == 0]
        return self.flat.neighbors(query._replace(eligible=some))

    def add(self, vectors, positions):
        self.flat.add(vectors, positions)

    def remove(self, positions):
        self.flat.remove(positions)

    def cost(self, n_neighbors, n_rows):
        return self.flat.cost(n_neighbors, n_rows // self.step)

    def to_state(self):
        return EveryNthState(self.spec)


class EveryNthFamily:
    """Tries steps, the largest first."""

    def build(self, flat, spec, training):
        return EveryNthState(spec).restore(lambda _: flat, training.members, None)

    def build_cost(self, n_rows, width):
        return 0.0

    def variants(self, task, best):
        yield EveryNthVariant(EveryNth(task.flat, 8), task.held_out, task.n_neighbors)


class EveryNthVariant(NamedTuple):
    """Chooses the step."""

    search: EveryNth
    held_out: object
    k: int

    def cheapest_spec(self, target, limit):
        for step in (8, 4, 2):
            self.search.spec = f"Every{step}"
            recalls = self.held_out.recalls(self.search, np.arange(N_ROWS), self.k)
            if recall_bounds(recalls)[1] >= target:
                return self.search.spec
        return None


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(N_ROWS, 6))


@pytest.mark.parametrize(
    ("target", "spec"), [(0.05, "Every8"), (0.2, "Every4"), (0.45, "Every2")]
)
def test_the_tuner_takes_the_cheapest_that_meets_the_target(rows, target, spec):
    search, reports = _tuned(rows, target)
    assert search.spec == spec
    assert reports == ["trying Every8"]


def test_it_stays_exact_where_a_family_misses_the_target(rows):
    search, _ = _tuned(rows, 0.6)
    assert isinstance(search, ExactSearch)


def _tuned(rows, target):
    exact, members = ExactSearch(rows, "euclidean"), np.arange(N_ROWS)
    held_out = held_out_queries(exact, members, K, np.random.default_rng(1))
    training, reports = Training(members, held_out.positions, 0, None), []
    task = TuningTask(exact, training, held_out, target, K, WorkBudget(math.inf))
    search = tune(task, [EveryNthFamily()], reports.append)
    return search, reports


def test_it_follows_changes_and_comes_back_from_its_state(rows):
    search = EveryNthFamily().build(
        ExactSearch(rows, "euclidean"), "Every2", Training(None, None, 0, None)
    )
    more = np.concatenate([rows, rows[:2] + 10.0])
    search.add(more, np.array([N_ROWS, N_ROWS + 1]))
    again = search.to_state().restore(
        lambda _: ExactSearch(more, "euclidean"), np.arange(len(more)), None
    )
    for one in (search, again):
        _, positions = one.neighbors(Query(more[-2:], 1))
        assert positions[0, 0] == N_ROWS
        assert positions[1, 0] % 2 == 0
