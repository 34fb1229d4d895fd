"""Threads, processes and forks: every answer is that of some state of the index."""

import os
import pickle
import subprocess
import sys
import threading

import joblib
import numpy as np
import pytest

from latentsk import LatentIndex
from latentsk.index._ivf_search import IVFSearch

PATIENCE = 60.0
N_READERS, N_QUERIES, WIDTH = 8, 20, 8
# Every list is scanned and every row measured, so that codes, which tell rows apart
# badly where others are far away, decide nothing.
SPECS = {"exact": None, "approximate": "IVF8,PQ8x4fs,nprobe=8,rerank=400"}


@pytest.fixture(params=list(SPECS))
def spec(request, monkeypatch):
    if SPECS[request.param] is not None:
        pytest.importorskip("faiss")
        # All the same by candidates, and not by an exact search.
        monkeypatch.setattr(IVFSearch, "_prefers_exact", lambda *_: False)
    return SPECS[request.param]


def _rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, WIDTH))


def _run(functions):
    """Run functions in threads of their own; all must end, and without an error."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(f,)) for f in functions]
    for thread in threads:
        thread.daemon = True
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread waits for ever"
    if errors:
        raise errors[0]


# Threads


class _Writer:
    """Changes that only make sense together.

    In every state rows come in pairs ``x`` and ``-x``, at positions ``2i`` and ``2i +
    1``: both are there, or none; and the length of both is ``1 + version``, of which
    all pairs that a call touched have the same.
    """

    def __init__(self, spec, n_pairs):
        self.n_pairs = n_pairs
        self.directions = _rows(4 * n_pairs)
        self.directions /= np.linalg.norm(self.directions, axis=1, keepdims=True)
        self.index = LatentIndex(index_spec=spec, n_jobs=1)
        first = np.arange(n_pairs)
        self.index.fit(self.pairs(first, 0), ids=self.ids(first))

    def ids(self, pairs):
        return np.column_stack([2 * pairs, 2 * pairs + 1]).ravel()

    def pairs(self, pairs, version):
        vectors = (1.0 + version) * self.directions[pairs]
        return np.stack([vectors, -vectors], axis=1).reshape(-1, WIDTH)

    def change(self, n_rounds):
        rng = np.random.default_rng(1)
        there = list(range(self.n_pairs))
        after = self.n_pairs
        for version in range(1, n_rounds + 1):
            some = rng.choice(there, 15, replace=False)
            self.index.update(self.pairs(some, version), self.ids(some))
            gone = rng.choice(there, 10, replace=False)
            self.index.remove(self.ids(gone))
            there = [pair for pair in there if pair not in set(gone.tolist())]
            new = np.arange(after, after + 10)
            self.index.add(self.pairs(new, 0), self.ids(new))
            there, after = [*there, *new.tolist()], after + 10


def _is_consistent(index, queries):
    """Ask for both rows of a pair at once, and for all of them."""
    both = np.concatenate([queries, -queries])
    distances, positions = index.kneighbors(both, 1)
    # The nearest to x and to -x is the same pair, as it is in every state.
    near, far = np.split(positions.ravel(), 2)
    np.testing.assert_array_equal(near ^ 1, far)
    np.testing.assert_allclose(*np.split(distances.ravel(), 2), rtol=1e-9, atol=1e-12)
    graph = index.kneighbors_graph(queries, 2)
    assert graph.indices.max(initial=0) < graph.shape[1]


def _is_whole(index):
    """A copy is of one state: pairs are opposite, and both are there."""
    copied = pickle.loads(pickle.dumps(index))
    vectors, active = copied.vectors_, copied._engine.rows.active
    assert len(vectors) == len(active) == len(copied.ids_) == copied.n_samples_fit_
    np.testing.assert_array_equal(active[::2], active[1::2])
    np.testing.assert_array_equal(vectors[::2], -vectors[1::2])


def test_searches_while_rows_change(spec):
    writer = _Writer(spec, 400)
    done = threading.Event()
    n_searches = [0] * N_READERS

    def write():
        try:
            writer.change(25)
        finally:
            done.set()

    def read(number):
        rng = np.random.default_rng(number)
        while not done.is_set() or n_searches[number] < 3:
            some = writer.directions[rng.integers(0, 600, N_QUERIES)]
            _is_consistent(writer.index, some)
            n_searches[number] += 1

    _run([write, *(lambda i=i: read(i) for i in range(N_READERS))])
    assert min(n_searches) >= 3
    # All changes came through, and the index is as one that was made at once.
    index, there = writer.index, writer.index._engine.rows.positions
    fresh = LatentIndex().fit(index.vectors_[there])
    queries = writer.directions[:50]
    true = fresh.kneighbors(queries, 5)
    found = index.kneighbors(queries, 5)
    if spec is None:
        np.testing.assert_array_equal(found[1], there[true[1]])
    assert np.mean(found[0] <= true[0][:, -1:] * (1 + 1e-9)) > 0.95


def test_stored_rows_are_found_while_others_change(spec):
    """The rows that nobody touches are their own nearest neighbours, all the time."""
    rows = _rows(1_200)
    index = LatentIndex(index_spec=spec).fit(rows[:600])
    done = threading.Event()

    def write():
        try:
            for start in range(600, 1_200, 20):
                new = np.arange(start, start + 20)
                index.add(rows[new], new)
                index.update(rows[new[::-1]] + 50.0, new)
                index.remove(new[:10])
        finally:
            done.set()

    def read(number):
        rng = np.random.default_rng(number)
        for turn in range(10_000):
            if done.is_set() and turn >= 3:
                break
            some = rng.integers(0, 600, N_QUERIES)
            distances, positions = index.kneighbors(rows[some], 2)
            np.testing.assert_array_equal(positions[:, 0], some)
            np.testing.assert_array_equal(distances[:, 0], 0.0)
            # By ids: a mask would have to be as long as the index is at the moment.
            found = index.kneighbors(rows[some], 1, filter=np.unique(some))[1]
            np.testing.assert_array_equal(found.ravel(), some)
            table = index.search(rows[some], 1)
            assert table["id"].tolist() == some.tolist()
            near = index.radius_neighbors(rows[some[:3]], 1e-9)[1]
            assert [found.tolist() for found in near] == [[i] for i in some[:3]]

    _run([write, *(lambda i=i: read(i) for i in range(N_READERS))])


def test_copies_while_rows_change(spec):
    writer = _Writer(spec, 3_000)
    done = threading.Event()

    def write():
        try:
            writer.change(60)
        finally:
            done.set()

    def read():
        while not done.is_set():
            _is_whole(writer.index)

    _run([write, read, read, read])


def test_refits_while_others_search():
    """An answer is of the rows before, or of those after."""
    parts = [_rows(200), 10.0 + _rows(500)]
    queries = _rows(10, seed=1)
    index = LatentIndex(n_neighbors=3).fit(parts[0])
    answers = [LatentIndex(n_neighbors=3).fit(p).kneighbors(queries) for p in parts]
    done = threading.Event()

    def write():
        try:
            for turn in range(1, 60):
                index.fit(parts[turn % 2])
        finally:
            done.set()

    def read():
        while not done.is_set():
            distances, positions = index.kneighbors(queries)
            assert any(
                np.array_equal(positions, true[1])
                and np.array_equal(distances, true[0])
                for true in answers
            )

    _run([write, *[read] * 4])


def test_writers_in_many_threads():
    """Nothing is lost: every row is where its id says, whoever added it."""
    rows = _rows(8 * 40).reshape(8, 40, WIDTH)
    index = LatentIndex().fit(_rows(5, seed=1), ids=[f"first {i}" for i in range(5)])

    def write(number):
        for i, row in enumerate(rows[number]):
            index.add(row[None], [f"{number} {i}"])
            if i % 2:
                index.update(-row[None], [f"{number} {i}"])
            if i % 3 == 0:
                index.remove([f"{number} {i}"])

    _run([lambda i=i: write(i) for i in range(8)])
    there = dict(zip(index.ids_.tolist(), range(len(index.ids_)), strict=True))
    assert len(there) == 5 + 8 * 40
    for number in range(8):
        for i, row in enumerate(rows[number]):
            position = there[f"{number} {i}"]
            expected = -row if i % 2 else row
            np.testing.assert_array_equal(index.vectors_[position], expected)
            assert index._engine.rows.active[position] == (i % 3 != 0)


# Processes


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib_workers_answer_alike(spec, backend):
    rows = _rows(600)
    index = LatentIndex(index_spec=spec).fit(rows).remove(range(50)).add(-rows[:20])
    parts = np.array_split(_rows(40, seed=1), 4)
    expected = [index.kneighbors(part, 3) for part in parts]
    found = joblib.Parallel(n_jobs=2, backend=backend)(
        joblib.delayed(index.kneighbors)(part, 3) for part in parts
    )
    for mine, true in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine[1], true[1])
        np.testing.assert_array_equal(mine[0], true[0])


_FORK = """
import multiprocessing, sys
import faiss, numpy as np, torch
from latentsk import LatentIndex, PCAEmbedder

torch.set_num_threads(2)
faiss.omp_set_num_threads(2)
rows = np.random.default_rng(0).normal(size=(4_000, 8))
# Both libraries have threads now, which a fork has not.
torch.nn.functional.linear(torch.ones(500, 500), torch.ones(500, 500)).sort()
(torch.ones(2_000_000) + 1).sum()
faiss.knn(rows.astype("f"), rows.astype("f"), 5)

plain = LatentIndex().fit(rows)
lists = LatentIndex(index_spec="IVF16,PQ8x4fs,nprobe=16,rerank=20").fit(rows)
indexes = [plain, lists, LatentIndex(PCAEmbedder(4), n_jobs=2).fit(rows)]

def search():
    return [index.kneighbors(rows[:500], 5)[1] for index in indexes]

def filtered():
    return [i.kneighbors(rows[:500], 5, filter=np.arange(4_000) % 3 == 0)[1]
            for i in indexes]

def radius():
    return [index.radius_neighbors(rows[:20], 1.5)[1].tolist() for index in indexes]

def changed():
    for index in indexes:
        index.remove(range(1_000)).update(rows[:900], range(1_000, 1_900))
        index.add(rows[:500], range(5_000, 5_500))
    return search()

def fitted():
    return [LatentIndex(index_spec=index.index_spec).fit(rows).kneighbors(rows[:500])[1]
            for index in indexes]

def recalls():
    return [index.measure_recall() for index in indexes]

def child(connection, function):
    connection.send(function())

fork = multiprocessing.get_context("fork")

def forked(function):
    here, there = fork.Pipe()
    process = fork.Process(target=child, args=(there, function))
    process.start()
    # Until it answers, or ends without an answer.
    there.close()
    if not here.poll(60):
        process.kill()
        sys.exit(function.__name__ + " waits for ever in a forked process")
    found = here.recv()
    process.join()
    return found

def same(mine, other):
    return all(np.all(np.asarray(a, dtype=object) == np.asarray(b, dtype=object))
               for a, b in zip(mine, other, strict=True))

for function in (search, filtered, recalls, fitted, changed):
    found = forked(function)
    if not same(found, function()):
        sys.exit(function.__name__ + " answers otherwise in a forked process")
forked(radius)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_processes_answer_alike():
    pytest.importorskip("faiss")
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORK],
        capture_output=True,
        timeout=400,
        check=False,
        env=environment,
    )
    assert ended.returncode == 0, ended.stderr.decode()
