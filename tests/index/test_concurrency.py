"""Threads, processes and forks: every answer is that of some state of the index."""

import os
import pickle
import subprocess
import sys
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import latentsk
from latentsk import LatentIndex, PCAEmbedder
from latentsk.index._engine import IndexEngine
from latentsk.index._ivf_search import IVFSearch
from latentsk.index._lock import lock_of
from latentsk.persistence import _tree

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


# What waits for what, one moment after the other


class _Door:
    """Stops a function where it is entered, until somebody opens.

    Parameters
    ----------
    function : callable
        Called once the door is open.
    """

    def __init__(self, function):
        self.function = function
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, *arguments, **named):
        self.reached.set()
        assert self.opened.wait(PATIENCE)
        return self.function(*arguments, **named)


def _stop_at(monkeypatch, owner, name):
    door = _Door(getattr(owner, name))
    monkeypatch.setattr(owner, name, lambda *a, **k: door(*a, **k))
    return door


class _Beside:
    """A function in a thread of its own, with its error."""

    def __init__(self, function):
        self.error = None
        self.thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self.thread.start()

    def _run(self, function):
        try:
            function()
        except BaseException as error:
            self.error = error

    @property
    def runs(self):
        return self.thread.is_alive()

    def ends(self):
        self.thread.join(PATIENCE)
        assert not self.runs, "a thread waits for ever"
        return self.error


LISTS = "IVF8,PQ8x4fs,nprobe=8,rerank=400"


@pytest.fixture
def lists():
    pytest.importorskip("faiss")
    names = [f"row {i}" for i in range(400)]
    table = pd.DataFrame({"number": range(400)})
    return LatentIndex(index_spec=LISTS).fit(_rows(400), ids=names, metadata=table)


def _more(index, n=500):
    """Add so many rows that lists are rebuilt."""
    names = [f"new {i}" for i in range(n)]
    table = pd.DataFrame({"number": range(1_000, 1_000 + n)})
    index.add(_rows(n, seed=1), names, table)


def _found(index, row, **how):
    return index.search(row[None], 1, **how)["id"].item()


def _reads(index):
    """Ask in every way; each waits for ever if a reader has to."""
    rows = _rows(400)
    for ask in (
        lambda: _found(index, rows[7]),
        lambda: _found(index, rows[7], filter="number == 7"),
        lambda: _found(index, rows[7], filter=lambda table: table["number"] == 7),
        lambda: index.ids_[index.kneighbors_graph(rows[7:8], 1).indices[0]],
        lambda: index.ids_[index.radius_neighbors(rows[7:8], 1e-9)[1][0][0]],
    ):
        found = []
        asking = _Beside(lambda ask=ask, found=found: found.append(ask()))
        assert asking.ends() is None
        assert found == ["row 7"]


def _drifted(index, n=50):
    """Add a few rows where none lay, so that lists are rebuilt."""
    names = [f"far {i}" for i in range(n)]
    table = pd.DataFrame({"number": range(2_000, 2_000 + n)})
    index.add(30.0 + _rows(n, seed=2), names, table)


def _fewer(index):
    """Remove so many rows that lists are rebuilt; "row 7" stays."""
    index.remove([f"row {i}" for i in range(100, 400)])


# By what makes an index be rebuilt: how many rows there are afterwards.
REBUILDS = {_more: 900, _drifted: 450, _fewer: 100}


@pytest.mark.parametrize("change", REBUILDS)
def test_readers_go_on_while_an_index_is_rebuilt(lists, monkeypatch, change):
    door = _stop_at(monkeypatch, IndexEngine, "rebuilt")
    coded = []
    add = IVFSearch.add
    monkeypatch.setattr(
        IVFSearch,
        "add",
        lambda self, vectors, rows: coded.append(len(rows)) or add(self, vectors, rows),
    )
    writer = _Beside(lambda: change(lists))
    assert door.reached.wait(PATIENCE)
    # Nobody waits until many rows are coded that are coded again then.
    assert coded == ([50] if change is _drifted else [])
    _reads(lists)
    other = _Beside(lambda: lists.remove(["row 0"]))
    copied = _Beside(lambda: pickle.dumps(lists))
    _reads(lists)
    assert "row 0" in lists
    assert writer.runs
    assert other.runs
    assert copied.runs
    door.opened.set()
    assert [each.ends() for each in (writer, other, copied)] == [None] * 3
    assert "row 0" not in lists
    assert len(lists) == REBUILDS[change] - 1
    assert lists._engine.n_built == REBUILDS[change]
    assert lists._engine.search_state.n_drifted == 0
    _reads(lists)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("change", REBUILDS)
def test_a_rebuild_that_fails_leaves_the_rows_as_they_were(
    lists, monkeypatch, change, error
):
    def fails(_):
        raise error

    before, vectors = lists.metadata_, lists.vectors_.copy()
    door = _Door(fails)
    with monkeypatch.context() as patch:
        patch.setattr(IndexEngine, "rebuilt", lambda engine: door(engine))
        writer = _Beside(lambda: change(lists))
        assert door.reached.wait(PATIENCE)
        _reads(lists)
        door.opened.set()
        assert isinstance(writer.ends(), error)
    _reads(lists)
    assert len(lists) == 400
    assert "new 3" not in lists
    assert "far 3" not in lists
    assert_frame_equal(lists.metadata_, before)
    np.testing.assert_array_equal(lists.vectors_, vectors)
    # No lock is left, and the same rows may come, or go, again.
    change(lists)
    assert len(lists) == REBUILDS[change]
    _reads(lists)
    last = lists.vectors_[lists.active_][-5:]
    found = lists.search(last, 1)["id"].tolist()
    assert found == lists.ids_[lists.active_][-5:].tolist()


def test_a_change_that_fails_in_the_middle_is_taken_back(lists, monkeypatch):
    """Rows are in their lists already when it is noticed."""
    original = IVFSearch.add

    def fails(self, vectors, positions):
        original(self, vectors, positions)
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(IVFSearch, "add", fails)
        for change in (
            lambda: _more(lists, 5),
            lambda: lists.update(-_rows(5), [f"row {i}" for i in range(5)]),
        ):
            with pytest.raises(MemoryError):
                change()
    assert len(lists) == 400
    assert "new 3" not in lists
    np.testing.assert_array_equal(lists.vectors_, _rows(400))
    _reads(lists)
    found = lists.kneighbors(_rows(400), 1)
    np.testing.assert_array_equal(found[1].ravel(), np.arange(400))


def test_readers_go_on_while_an_index_is_compacted(lists, monkeypatch):
    lists.remove([f"row {i}" for i in range(5)])
    door = _stop_at(monkeypatch, IndexEngine, "compacted")
    writer = _Beside(lists.compact)
    assert door.reached.wait(PATIENCE)
    _reads(lists)
    other = _Beside(lambda: lists.remove(["row 9"]))
    _reads(lists)
    assert other.runs
    assert lists.n_samples_fit_ == 400
    door.opened.set()
    assert writer.ends() is other.ends() is None
    assert lists.n_samples_fit_ == 395
    assert len(lists) == 394
    _reads(lists)


def test_a_reader_sees_one_numbering(lists, monkeypatch):
    """Positions and the width of a graph are those before it is compacted."""
    lists.remove([f"row {i}" for i in range(5)])
    compacting, waits = [], threading.Event()
    condition = lock_of(lists)._condition
    wait = condition.wait

    def waiting():
        waits.set()
        wait()

    def begin(table):
        # Until what is compacted waits for this reader.
        compacting.append(_Beside(lists.compact))
        assert waits.wait(PATIENCE)
        return table["number"] == 399

    monkeypatch.setattr(condition, "wait", waiting)
    graph = lists.kneighbors_graph(_rows(1), 1, filter=begin)
    assert graph.shape == (1, 400)
    assert graph.indices.tolist() == [399]
    assert compacting[0].ends() is None
    assert lists.kneighbors_graph(_rows(1), 1).shape == (1, 395)


def test_readers_go_on_while_an_index_is_fitted_again(monkeypatch):
    rows = _rows(50)
    index = LatentIndex(PCAEmbedder(4)).fit(rows)
    other = LatentIndex(PCAEmbedder(3)).fit(-rows)
    door = _stop_at(monkeypatch, IndexEngine, "build")
    index.set_params(embedder__n_components=3)
    writer = _Beside(lambda: index.fit(-rows))
    assert door.reached.wait(PATIENCE)
    assert index.vectors_.shape == (50, 4)
    found = []
    reader = _Beside(lambda: found.append(index.kneighbors(rows[:5], 1)[1].ravel()))
    assert reader.ends() is None
    assert found[0].tolist() == list(range(5))
    door.opened.set()
    assert writer.ends() is None
    assert_frame_equal(index.search(rows), other.search(rows))


@pytest.mark.parametrize("method", ["kneighbors", "radius_neighbors", "add", "upsert"])
def test_rows_that_were_embedded_before_a_fit_are_embedded_again(method):
    """No answer, and no row, is of two fits."""
    rows, is_armed = _rows(50), threading.Event()

    def refits(X):
        if is_armed.is_set():
            is_armed.clear()
            index.set_params(embedder=FunctionTransformer(lambda X: 3 * X[:, :5]))
            _run([lambda: index.fit(rows)])
        return X

    index = LatentIndex(FunctionTransformer(refits)).fit(rows)
    is_armed.set()
    if method == "kneighbors":
        distances, positions = index.kneighbors(rows[:5], 50)
    elif method == "radius_neighbors":
        found = index.radius_neighbors(rows[:5], 1e9, sort_results=True)
        distances, positions = map(np.vstack, found)
    else:
        getattr(index, method)(-rows[:5], ids=range(50, 55))
        np.testing.assert_array_equal(index.vectors_[50:], -3 * rows[:5, :5])
        index.remove(range(50, 55))
        distances, positions = index.kneighbors(rows[:5], 50)
    true = LatentIndex().fit(3 * rows[:, :5]).kneighbors(3 * rows[:5, :5], 50)
    np.testing.assert_array_equal(positions, true[1])
    np.testing.assert_array_equal(distances, true[0])


def test_readers_go_on_while_an_index_is_saved(lists, monkeypatch, tmp_path):
    for write in (lists.save, lambda path: latentsk.save(_pipeline(lists), path)):
        with monkeypatch.context() as patch:
            door = _stop_at(patch, _tree, "write_file")
            saving = _Beside(lambda write=write: write(tmp_path / "index"))
            assert door.reached.wait(PATIENCE)
            writer = _Beside(lambda: lists.update(_rows(400)[::-1], lists.ids_[:400]))
            _reads(lists)
            assert saving.runs
            assert writer.runs
            door.opened.set()
            assert saving.ends() is writer.ends() is None
        # The file is of the moment before.
        if write == lists.save:
            loaded = LatentIndex.load(tmp_path / "index")
            np.testing.assert_array_equal(loaded.vectors_, _rows(400))
        lists.update(_rows(400), lists.ids_[:400])


def _pipeline(index):
    """A pipeline whose last step is an index that is used elsewhere, too."""
    pipeline = make_pipeline(StandardScaler(), LatentIndex()).fit(_rows(50))
    pipeline.steps[-1] = ("latentindex", index)
    return pipeline


def test_a_pipeline_is_saved_under_load(spec, tmp_path):
    """Each file is of one state, and none is torn."""
    writer = _Writer(spec, 200)
    pipeline, done = _pipeline(writer.index), threading.Event()

    def write():
        try:
            writer.change(15)
        finally:
            done.set()

    def save():
        turn = 0
        while not done.is_set() or turn < 2:
            latentsk.save(pipeline, tmp_path / "pipeline")
            _is_whole(latentsk.load(tmp_path / "pipeline").steps[-1][1])
            turn += 1

    _run([write, save])


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.add(_rows(1), ["x"], pd.DataFrame({"number": [0]})),
        lambda index: index.update(_rows(1), ["row 1"]),
        lambda index: index.upsert(_rows(1), ["row 1"]),
        lambda index: index.update_metadata(pd.DataFrame({"number": [0]}, ["row 1"])),
        lambda index: index.remove(["row 1"]),
        lambda index: index.compact(),
        lambda index: index.fit(_rows(5)),
    ],
    ids=["add", "update", "upsert", "update_metadata", "remove", "compact", "fit"],
)
def test_a_filter_that_changes_the_index_is_an_error(lists, change):
    """In every method that takes one; and no lock is left."""

    def changes(table):
        change(lists)
        pytest.fail("the index was changed from within a search")

    before = lists.metadata_
    asks = (
        lambda: lists.kneighbors(_rows(1), 1, filter=changes),
        lambda: lists.kneighbors_graph(_rows(1), 1, filter=changes),
        lambda: lists.radius_neighbors(_rows(1), filter=changes),
        lambda: lists.radius_neighbors_graph(_rows(1), filter=changes),
        lambda: lists.search(_rows(1), 1, filter=changes),
        lambda: lists.search(ids=["row 1"], n_neighbors=1, filter=changes),
    )
    for ask in asks:
        asking = _Beside(ask)
        error = asking.ends()
        assert isinstance(error, RuntimeError)
        assert "cannot be changed from within one of its searches" in str(error)
    assert_frame_equal(lists.metadata_, before)
    lock = lock_of(lists)
    assert (lock._readers, lock._writer, lock._writers_waiting) == (0, None, 0)
    assert _Beside(lambda: _more(lists, 3)).ends() is None
    _reads(lists)


def test_a_filter_may_ask_the_index():
    """Within its lock, also while a writer waits."""
    index = LatentIndex().fit(_rows(20), metadata=pd.DataFrame({"n": range(20)}))

    def asks(table):
        near = index.search(_rows(20)[3:4], 2, filter="n >= 3")["id"]
        pickle.loads(pickle.dumps(index)).remove([3])
        return table.index.isin(near) & index.active_

    assert index.kneighbors(_rows(20)[3:4], 1, filter=asks)[1].item() == 3


# Filters while rows come


N_THREADS, N_ROUNDS = 8, 12


def _of_owner(number, how):
    """Return a filter for the rows of an owner, in every form but a mask's."""
    return {
        "string": f"owner == 'u{number}' and turn >= 0",
        "function": lambda table: table["owner"] == f"u{number}",
        "function of labels": lambda table: (table["owner"] == f"u{number}")[::-1],
        "ids": [f"u{number} {turn}" for turn in range(3)],
    }[how]


@pytest.mark.parametrize("how", ["string", "function", "function of labels", "ids"])
def test_threads_that_add_and_search_with_filters(spec, how):
    """No call fails, and each answer is one of rows that were there."""
    rows = _rows(N_THREADS * N_ROUNDS).reshape(N_THREADS, N_ROUNDS, WIDTH)
    first = _rows(400, seed=1) + 50.0
    table = pd.DataFrame({"owner": "nobody", "turn": -1}, index=range(400))
    names = [f"nobody {i}" for i in range(400)]
    index = LatentIndex(index_spec=spec, n_jobs=1).fit(first, ids=names, metadata=table)
    start = threading.Barrier(N_THREADS)

    def work(number):
        start.wait(PATIENCE)
        for turn, row in enumerate(rows[number]):
            own = pd.DataFrame({"owner": [f"u{number}"], "turn": [turn]})
            index.add(row[None], [f"u{number} {turn}"], own)
            if turn < 2:
                continue  # not all of the ids are there
            n_own = 3 if how == "ids" else turn + 1
            found = index.search(
                row[None],
                N_ROUNDS,
                filter=_of_owner(number, how),
                fewer="allow",
                return_metadata=True,
            )
            # Of its own rows all that it added, whoever adds meanwhile.
            there = rows[number][:n_own]
            order = np.argsort(np.linalg.norm(there - row, axis=1), kind="stable")
            assert found["id"].tolist() == [f"u{number} {i}" for i in order]
            assert found["turn"].tolist() == order.tolist()
            assert (found["owner"] == f"u{number}").all()

    _run([lambda i=i: work(i) for i in range(N_THREADS)])
    assert len(index) == 400 + N_THREADS * N_ROUNDS
    counts = index.metadata_["owner"].value_counts()
    assert counts.drop("nobody").tolist() == [N_ROUNDS] * N_THREADS


def test_a_sliding_window_that_is_searched():
    """Rows come, go and are numbered anew while others ask for them."""
    rows = _rows(1_000)
    index = LatentIndex().fit(rows[:100], metadata=pd.DataFrame({"n": range(100)}))
    done = threading.Event()

    def write():
        try:
            for start in range(100, 1_000, 50):
                table = pd.DataFrame({"n": range(start, start + 50)})
                index.add(rows[start : start + 50], metadata=table)
                index.remove(range(start - 100, start - 50))
                if start % 100 == 0:
                    index.compact()
        finally:
            done.set()

    def read(number):
        turn = 0
        while not done.is_set() or turn < 3:
            found = index.search(rows[:3], 5, filter=f"n >= {number}", fewer="allow")
            near = rows[found["id"].to_numpy().astype(int)]
            true = np.linalg.norm(near - rows[found["query"]], axis=1)
            np.testing.assert_allclose(found["distance"], true, rtol=1e-12)
            graph = index.kneighbors_graph(None, 3)
            assert graph.indices.max() < graph.shape[1]
            assert len(index.metadata_) >= 50
            turn += 1

    _run([write, *(lambda i=i: read(i) for i in range(4))])
    assert index.ids_[index.active_].tolist() == list(range(900, 1_000))
    assert len(index.vectors_) <= 200


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
