"""Any sequence of changes and searches, against the same rows in plain numpy."""

import copy
import pickle
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pandas.testing import assert_frame_equal

from latentsk import LatentIndex
from latentsk.index import _cost, _ivf_search, _tuning

SEEDS = st.integers(0, 2**32 - 1)
NUMBERS = st.sampled_from([1, 2, 5, "all"])
FILTERS = st.sampled_from(
    ["none", "none", "mask", "list", "series", "shuffled", "ids", "query", "function"]
)
QUERIES = 6
# Queries whose answers are compared where every row is a query.
MOST_COMPARED = 25


# The rows in plain numpy


class _Model:
    """What is in an index: every row that ever was, and whether it is still there."""

    def __init__(self, metric, vectors, ids, tags):
        self.metric = metric
        self.vectors = vectors
        self.ids = list(ids)
        self.active = np.ones(len(vectors), dtype=bool)
        self.tags = tags

    @property
    def positions(self):
        return np.flatnonzero(self.active)

    def active_ids(self):
        return [self.ids[i] for i in self.positions]

    def removed_ids(self):
        there = set(self.active_ids())
        return sorted({name for name in self.ids if name not in there})

    def add(self, vectors, ids, tags):
        """A position belongs to one id: one that comes again gets it back."""
        fresh = [name for name in ids if name not in self.ids]
        n = len(fresh)
        self.vectors = np.concatenate([self.vectors, vectors[:n]])
        self.ids += fresh
        self.active = np.append(self.active, np.ones(n, dtype=bool))
        self.tags = pd.concat([self.tags, tags[:n]], ignore_index=True)
        where = [self.ids.index(name) for name in ids]
        self.active[where] = True
        self.update(where, vectors, tags)

    def compact(self):
        kept = self.positions
        self.vectors, self.active = self.vectors[kept], self.active[kept]
        self.ids = [self.ids[i] for i in kept]
        self.tags = self.tags.iloc[kept].reset_index(drop=True)

    def update(self, positions, vectors, tags):
        self.vectors = self.vectors.copy()
        self.vectors[positions] = vectors
        if tags is not None:
            self.tags = self.tags.copy()
            self.tags["number"] = _replaced(self.tags["number"], positions, tags)

    def remove(self, positions):
        self.active = self.active.copy()
        self.active[positions] = False

    def distances(self, queries, own=None):
        """Return the distance of every pair, in float64 by differences."""
        rows, queries = self.vectors.astype(float), np.asarray(queries, dtype=float)
        measure = _euclidean if self.metric == "euclidean" else _cosine
        found = np.array([measure(rows, query) for query in queries])
        if own is not None:
            found[np.arange(len(own)), own] = np.inf
        return found


def _replaced(column, positions, tags):
    values = column.to_numpy().copy()
    values[positions] = tags["number"].to_numpy()
    return values


def _euclidean(rows, query):
    return np.sqrt(np.sum((rows - query) ** 2, axis=1))


def _cosine(rows, query):
    lengths, length = np.linalg.norm(rows, axis=1), np.linalg.norm(query)
    if length == 0.0:
        return np.ones(len(rows))
    units = rows / np.where(lengths == 0.0, 1.0, lengths)[:, None]
    squares = np.sum((units - query / length) ** 2, axis=1)
    return np.where(lengths == 0.0, 1.0, 0.5 * squares)


# What an answer must be


class Asked(NamedTuple):
    """A question to the model: distances to what may be returned, else infinity."""

    truth: np.ndarray
    distances: np.ndarray
    positions: np.ndarray
    metric: str


def _assert_exact(asked):
    k = asked.positions.shape[1]
    expected = np.argsort(asked.truth, axis=1, kind="stable")[:, :k]
    true = np.take_along_axis(asked.truth, expected, axis=1)
    if asked.metric == "euclidean":
        np.testing.assert_array_equal(asked.positions, expected)
        np.testing.assert_allclose(asked.distances, true, rtol=1e-12, atol=0.0)
        return
    # Rounding of the model's own decides between directions that are as near.
    claimed = np.take_along_axis(asked.truth, asked.positions, axis=1)
    np.testing.assert_allclose(asked.distances, true, rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(asked.distances, claimed, rtol=0.0, atol=1e-12)
    assert all(len(set(row)) == k for row in asked.positions.tolist())


class _AssertNear:
    """All that holds of an approximate answer, and how much of the truth was found."""

    def __init__(self):
        self.recalls = []

    def __call__(self, asked):
        k = asked.positions.shape[1]
        claimed = np.take_along_axis(asked.truth, asked.positions, axis=1)
        # Infinite where a row is not to be returned.
        np.testing.assert_allclose(asked.distances, claimed, rtol=1e-12, atol=1e-12)
        assert (np.diff(asked.distances, axis=1) >= 0).all()
        assert all(len(set(row)) == k for row in asked.positions.tolist())
        last = np.sort(asked.truth, axis=1)[:, k - 1 : k]
        self.recalls += np.mean(claimed <= last * (1 + 1e-9), axis=1).tolist()


# The machine


class Start(NamedTuple):
    """How a run begins.

    `make` is called with a source of randomness and returns an index and its model;
    `rows` with a number of rows, and returns rows like those of the index.
    """

    make: Any
    rows: Any
    some: tuple[int, ...]


class _Machine(RuleBasedStateMachine):
    """Changes and searches; a subclass knows `starts` and `check`."""

    starts: list[Start]
    check: Any
    count = 0

    @initialize(which=st.integers(0, 2**16), seed=SEEDS)
    def begin(self, which, seed):
        self.start = self.starts[which % len(self.starts)]
        self.index, self.model = self.start.make(np.random.default_rng(seed))
        self.names = isinstance(self.model.ids[0], str)
        self.next = len(self.model.ids)
        self.least = 0  # of what may become an id by itself, after rows were compacted

    # Changes

    @rule(seed=SEEDS, which=st.integers(0, 9), again=st.booleans())
    def add(self, seed, which, again):
        """New ids, or ids of removed rows again."""
        rng = np.random.default_rng(seed)
        n = self.start.some[which % len(self.start.some)]
        ids = self._fresh_ids(n)
        removed = self.model.removed_ids()
        if again and removed:
            ids = list(rng.permutation(np.array(removed, dtype=object))[:n])
        vectors, tags = self.start.rows(rng, len(ids)), _tags(rng, len(ids))
        self.index.add(vectors, ids, tags)
        self.model.add(vectors, ids, tags)

    @rule(seed=SEEDS)
    def add_without_ids(self, seed):
        rng = np.random.default_rng(seed)
        vectors, tags = self.start.rows(rng, 2), _tags(rng, 2)
        if self.names:
            with pytest.raises(ValueError, match="ids"):
                self.index.add(vectors, metadata=tags)
            return
        start = self._following_id()
        self.index.add(vectors, metadata=tags)
        self.model.add(vectors, [start, start + 1], tags)
        self.next = max(self.next, start + 2)

    @rule(seed=SEEDS, which=st.integers(0, 9))
    def upsert(self, seed, which):
        """Rows that are there, rows that were, and others, labelled by their ids."""
        rng = np.random.default_rng(seed)
        n = self.start.some[which % len(self.start.some)]
        known = rng.permutation(np.array(self.model.ids, dtype=object))[:n]
        ids = list(rng.permutation(np.array([*known, *self._fresh_ids(1)], object)))
        vectors, tags = self.start.rows(rng, len(ids)), _tags(rng, len(ids))
        labelled = tags.set_axis(pd.Index(ids)).iloc[rng.permutation(len(ids))]
        self.index.upsert(vectors, ids, labelled)
        self.model.add(vectors, ids, tags)

    @rule(seed=SEEDS)
    @precondition(lambda self: self.model.active.any())
    def update_metadata(self, seed):
        rng = np.random.default_rng(seed)
        positions = rng.permutation(self.model.positions)[:3]
        tags = _tags(rng, len(positions))
        self.index.update_metadata(tags.set_axis(pd.Index(self._ids(positions))))
        self.model.update(positions, self.model.vectors[positions], tags)

    @rule()
    @precondition(lambda self: self.model.active.any())
    def compact(self):
        if not self.names:
            self.least = self._following_id()
        self.index.compact()
        self.model.compact()

    @rule(seed=SEEDS, with_tags=st.booleans())
    @precondition(lambda self: self.model.active.any())
    def update(self, seed, with_tags):
        rng = np.random.default_rng(seed)
        positions = rng.permutation(self.model.positions)[: max(self.start.some[:2])]
        vectors = self.start.rows(rng, len(positions))
        tags = _tags(rng, len(positions)) if with_tags else None
        self.index.update(vectors, self._ids(positions), tags)
        self.model.update(positions, vectors, tags)

    @rule(seed=SEEDS, which=st.integers(0, 9))
    @precondition(lambda self: self.model.active.any())
    def remove(self, seed, which):
        rng = np.random.default_rng(seed)
        n = self.start.some[which % len(self.start.some)]
        positions = rng.permutation(self.model.positions)[:n]
        self.index.remove(self._ids(positions))
        self.model.remove(positions)

    @rule(seed=st.integers(0, 30))
    def remove_all_but_a_few(self, seed):
        if seed >= 5:  # seldom
            return
        positions = np.random.default_rng(seed).permutation(self.model.positions)[seed:]
        self.index.remove(self._ids(positions))
        self.model.remove(positions)

    @rule(seed=SEEDS)
    def refused(self, seed):
        """What is wrong changes nothing: see `same_rows`."""
        rng = np.random.default_rng(seed)
        vectors, tags = self.start.rows(rng, 2), _tags(rng, 2)
        unknown, active = self._fresh_ids(2), self.model.active_ids()
        with pytest.raises(KeyError, match="Unknown"):
            self.index.remove([*active[:1], *unknown])
        with pytest.raises(KeyError, match="Unknown"):
            self.index.update(vectors, unknown)
        with pytest.raises(ValueError, match="metadata"):
            self.index.add(vectors, unknown)
        with pytest.raises(ValueError, match="rows"):
            self.index.add(vectors, unknown, tags[:1])
        with pytest.raises(ValueError, match="NaN"):
            self.index.add(vectors * np.nan, unknown, tags)
        if active:
            with pytest.raises(ValueError, match="already"):
                self.index.add(vectors, [active[-1], unknown[0]], tags)

    # Searches

    @rule(seed=SEEDS, number=NUMBERS, kind=FILTERS)
    def kneighbors(self, seed, number, kind):
        rng = np.random.default_rng(seed)
        queries = self._queries(rng)
        given, mask = self._filter(rng, kind)
        if not mask.any():
            with pytest.raises(ValueError, match="no row"):
                self.index.kneighbors(queries, 1, filter=given)
            return
        k = self._number(number, mask.sum())
        distances, positions = self.index.kneighbors(queries, k, filter=given)
        assert positions.shape == distances.shape == (len(queries), k)
        truth = np.where(mask, self.model.distances(queries), np.inf)
        self.check(Asked(truth, distances, positions, self.model.metric))

    @rule(seed=SEEDS, number=NUMBERS, kind=FILTERS)
    def kneighbors_among_themselves(self, seed, number, kind):
        rng = np.random.default_rng(seed)
        given, mask = self._filter(rng, kind)
        if mask.sum() < 2:
            with pytest.raises(ValueError, match=r"no row|n_neighbors"):
                self.index.kneighbors(None, 1, filter=given)
            return
        k = min(self._number(number, mask.sum() - 1), 5)
        graph = self.index.kneighbors_graph(None, k, "distance", filter=given)
        distances, positions = self.index.kneighbors(None, k, filter=given)
        own = self.model.positions
        assert positions.shape == (len(own), k)
        assert graph.shape == (len(own), len(self.model.ids))
        np.testing.assert_array_equal(graph.indices, positions.ravel())
        np.testing.assert_array_equal(graph.data, distances.ravel())
        some = rng.permutation(len(own))[:MOST_COMPARED]
        truth = self.model.distances(self.model.vectors[own[some]], own[some])
        truth = np.where(mask, truth, np.inf)
        self.check(Asked(truth, distances[some], positions[some], self.model.metric))

    @rule(seed=SEEDS, kind=FILTERS, own=st.booleans())
    def radius_neighbors(self, seed, kind, own):
        """Exact, in every mode."""
        rng = np.random.default_rng(seed)
        given, mask = self._filter(rng, kind)
        if not mask.any():
            return
        active = self.model.positions
        queries = self.model.vectors[active] if own else self._queries(rng)
        truth = self.model.distances(queries[:20], active[:20] if own else None)
        truth = np.where(mask, truth, np.inf)
        finite = truth[np.isfinite(truth)]
        if len(finite) == 0:
            return
        radius = float(np.quantile(finite, rng.uniform(0, 0.2)))
        radius *= 1 + 1e-9  # past what rounding decides
        distances, positions = self.index.radius_neighbors(
            None if own else queries, radius, filter=given
        )
        assert len(positions) == len(queries)
        for mine, near, true in zip(distances, positions, truth, strict=False):
            assert near.tolist() == np.flatnonzero(true <= radius).tolist()
            np.testing.assert_allclose(mine, true[near], rtol=1e-12, atol=1e-12)

    @rule(seed=SEEDS, kind=FILTERS)
    def search(self, seed, kind):
        rng = np.random.default_rng(seed)
        given, mask = self._filter(rng, kind)
        if not mask.any():
            return
        queries = self._queries(rng)
        k = self._number(2, mask.sum())
        distances, positions = self.index.kneighbors(queries, k, filter=given)
        expected = pd.DataFrame(
            {
                "query": np.repeat(np.arange(len(queries)), k),
                "rank": np.tile(np.arange(1, k + 1), len(queries)),
                "id": pd.Series(self._ids(positions.ravel())),
                "distance": distances.ravel(),
            }
        )
        found = self.index.search(queries, k, filter=given, return_metadata=True)
        numbers = self.model.tags["number"].to_numpy()[positions.ravel()]
        assert found.pop("number").tolist() == numbers.tolist()
        assert_frame_equal(found, expected, check_dtype=False)

    @rule(seed=SEEDS, kind=FILTERS)
    @precondition(lambda self: self.model.active.any())
    def more_like_some(self, seed, kind):
        rng = np.random.default_rng(seed)
        given, mask = self._filter(rng, kind)
        own = rng.permutation(self.model.positions)[:QUERIES]
        found = self.index.search(
            n_neighbors=3, ids=self._ids(own), filter=given, fewer="allow"
        )
        assert found["query"].drop_duplicates().isin(self._ids(own)).all()
        # A row that may be returned is left out of its own neighbours.
        for some in own[mask[own]], own[~mask[own]]:
            k = min(3, mask.sum() - mask[some].any())
            of_some = found[found["query"].isin(self._ids(some))]
            assert len(of_some) == k * len(some)
            if len(of_some):
                self._check_likeness(of_some, some, mask)

    def _check_likeness(self, found, own, mask):
        numbers = {name: i for i, name in enumerate(self.model.ids)}
        positions = found["id"].map(numbers).to_numpy().reshape(len(own), -1)
        truth = self.model.distances(self.model.vectors[own], own)
        distances = found["distance"].to_numpy().reshape(positions.shape)
        truth = np.where(mask, truth, np.inf)
        self.check(Asked(truth, distances, positions, self.model.metric))

    # Copies

    @rule()
    def pickle(self):
        self.index = pickle.loads(pickle.dumps(self.index))

    @rule(mmap=st.booleans())
    @precondition(lambda self: hasattr(LatentIndex, "save"))
    def save_and_load(self, mmap):
        with tempfile.TemporaryDirectory() as folder:
            self.index.save(Path(folder) / "index")
            self.index = LatentIndex.load(Path(folder) / "index", mmap=mmap)

    @rule(seed=SEEDS)
    @precondition(lambda self: self.model.active.any())
    def copies_are_on_their_own(self, seed):
        rng = np.random.default_rng(seed)
        other = copy.deepcopy(self.index)
        some = self._ids(self.model.positions[:2])
        other.update(self.start.rows(rng, len(some)), some).remove(some[:1])

    # The state

    @invariant()
    def same_rows(self):
        _Machine.count += 1
        index, model = self.index, self.model
        assert index.ids_.tolist() == model.ids
        assert index.n_samples_fit_ == len(model.ids)
        np.testing.assert_array_equal(index.vectors_, model.vectors)
        assert index.vectors_.dtype == model.vectors.dtype
        numbers = index.metadata_["number"]
        assert numbers.index.tolist() == model.active_ids()
        assert numbers.tolist() == model.tags["number"][model.active].tolist()
        np.testing.assert_array_equal(index.active_, model.active)
        assert len(index) == model.active.sum()
        if not model.active.any():
            with pytest.raises(ValueError, match="no row"):
                index.kneighbors(model.vectors[:1], 1)

    # Help

    def _following_id(self):
        return max(self.least, len(self.model.ids), max(self.model.ids) + 1)

    def _fresh_ids(self, n):
        numbers = range(self.next, self.next + n)
        self.next += n
        return [f"row {i}" if self.names else i for i in numbers]

    def _ids(self, positions):
        return [self.model.ids[i] for i in positions]

    def _queries(self, rng):
        """Return new rows, and rows of the index, some of them removed."""
        own = self.model.vectors[rng.integers(0, len(self.model.ids), QUERIES // 2)]
        return np.concatenate([self.start.rows(rng, QUERIES // 2), own])

    def _number(self, wanted, most):
        return int(most) if wanted == "all" else min(int(wanted), int(most))

    def _filter(self, rng, kind):
        """Return what is handed in, and which positions it lets pass."""
        active = self.model.active
        mask = rng.random(len(active)) < rng.choice([0.05, 0.3, 0.9])
        given: Any = None
        if kind == "mask":
            given = mask
        elif kind == "list":
            given = mask.tolist()
        elif kind == "series":
            given = self.index.metadata_["number"] > 30
            mask = self.model.tags["number"].to_numpy() > 30
        elif kind == "shuffled":
            numbers = self.index.metadata_["number"]
            given = numbers.sample(frac=1.0, random_state=0) > 30
            mask = self.model.tags["number"].to_numpy() > 30
        elif kind == "query":
            given = "20 < number and not number >= 60"
            mask = self.model.tags["number"].between(21, 59).to_numpy()
        elif kind == "function":
            given = _is_even
            mask = self.model.tags["number"].to_numpy() % 2 == 0
        elif kind == "ids":
            given = self._ids(np.flatnonzero(mask & active))
        else:
            mask = np.ones(len(active), dtype=bool)
        return given, mask & active


def _is_even(table):
    return table["number"] % 2 == 0


def _tags(rng, n):
    return pd.DataFrame({"number": rng.integers(0, 100, n)})


def _run(starts, check, *, n_runs, n_steps):
    """Run a machine, and return how many operations that were."""
    machine = type("Machine", (_Machine,), {"starts": starts, "check": check})
    before = _Machine.count
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=n_runs,
            stateful_step_count=n_steps,
            derandomize=True,
            database=None,
            deadline=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return _Machine.count - before


# Exact search


def _small_rows(integers, dtype):
    def rows(rng, n):
        if integers:  # ties, duplicates, rows of zeros
            return rng.integers(-2, 3, (n, 3)).astype(dtype)
        vectors = rng.normal(size=(n, 3))
        vectors[rng.random(n) < 0.05] = 0.0
        return vectors.astype(dtype)

    return rows


def _exact_start(metric, dtype, integers, names, exactness="certified"):
    rows = _small_rows(integers, dtype)

    def make(rng):
        n = int(rng.integers(1, 15))
        ids = [f"row {i}" for i in range(n)] if names else list(range(n))
        vectors, tags = rows(rng, n), _tags(rng, n)
        index = LatentIndex(metric=metric, exactness=exactness)
        index.fit(vectors.copy(), ids=ids, metadata=tags)
        return index, _Model(metric, vectors, ids, tags)

    return Start(make, rows, (1, 2, 3, 6, 25))


EXACT_STARTS = [
    _exact_start(metric, dtype, integers, names)
    for metric in ("euclidean", "cosine")
    for dtype in (np.float64, np.float32)
    for integers in (True, False)
    for names in (True, False)
]


def test_exact_search_is_like_the_model():
    n = _run(EXACT_STARTS, staticmethod(_assert_exact), n_runs=32, n_steps=20)
    assert n > 500


@pytest.mark.slow
def test_exact_search_is_like_the_model_for_long():
    n = _run(EXACT_STARTS, staticmethod(_assert_exact), n_runs=250, n_steps=40)
    assert n > 8_000


# Approximate search

N_CLUSTERED, WIDTH = 2_000, 8


def _clustered_rows(width, dtype):
    centers = 4.0 * np.random.default_rng(1).normal(size=(12, width))

    def rows(rng, n):
        vectors = centers[rng.integers(0, 12, n)] + rng.normal(size=(n, width))
        return vectors.astype(dtype)

    return rows


def _approximate_start(metric, dtype, names, width=WIDTH, zeros=False, **parameters):
    plain = _clustered_rows(width, dtype)

    def rows(rng, n):
        vectors = plain(rng, n)
        if zeros:
            vectors[rng.random(n) < 0.3] = 0.0
        return vectors

    rng = np.random.default_rng(0)
    vectors, tags = plain(rng, N_CLUSTERED), _tags(rng, N_CLUSTERED)
    ids = [f"row {i}" if names else i for i in range(N_CLUSTERED)]
    index = LatentIndex(metric=metric, **parameters)
    index.fit(vectors, ids=ids, metadata=tags)
    assert index.index_spec_ != "Flat"
    fitted = pickle.dumps(index)

    def make(_):
        return pickle.loads(fitted), _Model(metric, vectors, ids, tags)

    return Start(make, rows, (1, 4, 150, 700))


@pytest.fixture
def always_approximate(monkeypatch):
    """Few rows are enough, and an exact search is never quicker."""
    pytest.importorskip("faiss")
    monkeypatch.setattr(_tuning, "MIN_ROWS", 500)
    monkeypatch.setattr(_tuning, "MIN_COST", 0.0, raising=False)
    monkeypatch.setattr(_tuning, "MIN_COST", 0.0)
    monkeypatch.setattr(_ivf_search, "EXACT_PATIENCE", 0.0)
    monkeypatch.setattr(_cost, "CANDIDATE", 1.0)
    monkeypatch.setattr(_cost, "LIST", 1.0)


PINNED = {
    "euclidean": ("euclidean", np.float64, False),
    "strings": ("euclidean", np.float32, True),
    "cosine": ("cosine", np.float64, True),
}


def _run_approximate(start, *, n_runs, n_steps):
    check = _AssertNear()
    n = _run([start], staticmethod(check), n_runs=n_runs, n_steps=n_steps)
    assert n > 0.6 * n_runs * n_steps
    assert np.mean(check.recalls) >= 0.9
    return n


@pytest.mark.parametrize("name", list(PINNED))
def test_pinned_index_finds_what_the_model_has(always_approximate, name):
    spec = "IVF16,PQ8x4fs,nprobe=16,rerank=20"
    start = _approximate_start(*PINNED[name], index_spec=spec)
    _run_approximate(start, n_runs=6, n_steps=20)


def test_rows_of_zeros_turn_up_later(always_approximate):
    spec = "IVF16,PQ8x4fs,nprobe=16,rerank=20"
    start = _approximate_start("cosine", np.float64, False, zeros=True, index_spec=spec)
    _run_approximate(start, n_runs=3, n_steps=20)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_tuned_index_finds_what_the_model_has(always_approximate, metric):
    start = _approximate_start(
        metric, np.float32, False, width=32, target_recall=0.95, n_neighbors=5
    )
    _run_approximate(start, n_runs=3, n_steps=20)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PINNED))
def test_pinned_index_finds_what_the_model_has_for_long(always_approximate, name):
    spec = "IVF16,PQ8x4fs,nprobe=16,rerank=20"
    start = _approximate_start(*PINNED[name], index_spec=spec)
    _run_approximate(start, n_runs=40, n_steps=40)
