"""Many readers or one writer, in turns that events dictate."""

import gc
import os
import pickle
import subprocess
import sys
import threading
from contextlib import ExitStack

import numpy as np
import pytest

from latentsk import LatentIndex
from latentsk.index import _lock
from latentsk.index._lock import ReadWriteLock, lock_of

# Long after which something that should have happened will not.
PATIENCE = 30.0


class _Thread:
    """Runs a function that must end, without an error."""

    def __init__(self, function, *args):
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(function, *args))
        self._thread.daemon = True
        self._thread.start()

    def _run(self, function, *args):
        try:
            function(*args)
        except BaseException as error:
            self._error = error

    def join(self):
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "a thread waits for ever"
        if self._error is not None:
            raise self._error

    @property
    def runs(self):
        return self._thread.is_alive()


def _wait(event):
    assert event.wait(PATIENCE), "an event never came"


def _wait_for_writers(lock, number):
    """Wait until as many threads want to write, by the lock's own condition."""
    with lock._condition:
        for _ in range(int(PATIENCE / 0.001)):
            if lock._writers_waiting >= number:
                return
            # The only sign of a thread that waits; it is there at once.
            lock._condition.wait(0.001)
    raise AssertionError("no writer waits")


@pytest.fixture
def lock():
    return ReadWriteLock()


def test_readers_read_together(lock):
    together = threading.Barrier(4)

    def read():
        with lock.reading():
            together.wait(PATIENCE)  # all four inside, or an error

    for thread in [_Thread(read) for _ in range(4)]:
        thread.join()


def test_a_writer_waits_for_readers(lock):
    reading, go_on, written = (threading.Event() for _ in range(3))

    def read():
        with lock.reading():
            reading.set()
            _wait(go_on)
            assert not written.is_set()

    def write():
        with lock.writing():
            written.set()

    reader = _Thread(read)
    _wait(reading)
    writer = _Thread(write)
    _wait_for_writers(lock, 1)
    assert not written.is_set()
    go_on.set()
    reader.join()
    writer.join()
    assert written.is_set()


def test_readers_and_writers_wait_for_a_writer(lock):
    writing, go_on = threading.Event(), threading.Event()
    inside = []

    def first():
        with lock.writing():
            writing.set()
            _wait(go_on)
            inside.append("first")

    def other(name, way):
        with way():
            inside.append(name)

    threads = [_Thread(first)]
    _wait(writing)
    threads.append(_Thread(other, "writer", lock.writing))
    _wait_for_writers(lock, 1)
    threads.append(_Thread(other, "reader", lock.reading))
    assert inside == []
    go_on.set()
    for thread in threads:
        thread.join()
    # A writer that waits goes before a reader that came later.
    assert inside == ["first", "writer", "reader"]


def test_readers_that_follow_each_other_do_not_starve_a_writer(lock):
    reading, go_on = threading.Event(), threading.Event()
    order = []

    def early():
        with lock.reading():
            reading.set()
            _wait(go_on)

    def write():
        with lock.writing():
            order.append("writer")

    def late():
        with lock.reading():
            order.append("reader")

    threads = [_Thread(early)]
    _wait(reading)
    threads.append(_Thread(write))
    _wait_for_writers(lock, 1)
    # Another reader is inside, but a writer waits.
    threads += [_Thread(late) for _ in range(3)]
    assert order == []
    go_on.set()
    for thread in threads:
        thread.join()
    assert order == ["writer", "reader", "reader", "reader"]


def test_a_reader_reads_again_while_a_writer_waits(lock):
    reading, waited_for = threading.Event(), threading.Event()
    order = []

    def read():
        with lock.reading():
            reading.set()
            _wait(waited_for)
            with lock.reading(), lock.reading():
                order.append("inner")
            order.append("outer")

    def write():
        with lock.writing():
            order.append("writer")

    reader = _Thread(read)
    _wait(reading)
    writer = _Thread(write)
    _wait_for_writers(lock, 1)
    waited_for.set()
    reader.join()
    writer.join()
    assert order == ["inner", "outer", "writer"]


def test_a_writer_reads_and_writes_again(lock):
    excluded = []

    def other():
        with lock.reading():
            excluded.append(False)

    def write():
        with lock.writing():
            with lock.reading(), lock.writing(), lock.reading():
                pass
            with lock.writing():
                pass
            # Still alone: what is inside has not let go of the lock.
            assert lock._writer == threading.get_ident()
            thread = _Thread(other)
            assert excluded == []
        thread.join()

    _Thread(write).join()
    assert excluded == [False]


@pytest.mark.parametrize("way", ["reading", "writing"])
def test_errors_let_go_of_the_lock(lock, way):
    for _ in range(2):
        with pytest.raises(KeyError), getattr(lock, way)():
            raise KeyError

    def all_of_it():
        with lock.writing(), lock.reading():
            pass
        with lock.reading():
            pass

    _Thread(all_of_it).join()
    assert (lock._readers, lock._writer, lock._writers_waiting) == (0, None, 0)


def test_a_writer_that_is_interrupted_keeps_nobody_out(lock, monkeypatch):
    reading, go_on = threading.Event(), threading.Event()

    def read():
        with lock.reading():
            reading.set()
            _wait(go_on)

    def interrupted(*_):
        raise KeyboardInterrupt

    def write():
        with pytest.raises(KeyboardInterrupt), lock.writing():
            pytest.fail("a reader is inside")

    reader = _Thread(read)
    _wait(reading)
    with monkeypatch.context() as patch:
        patch.setattr(lock._condition, "wait", interrupted)
        _Thread(write).join()
    # Another reader comes in while the first is there.
    with lock.reading():
        go_on.set()
    reader.join()


def test_turns_of_many_threads(lock):
    """A counter that only works if writers are alone, and stays for readers."""
    count, n_threads, n_turns = [0], 8, 100
    start = threading.Barrier(n_threads)

    def turns(number):
        start.wait(PATIENCE)
        for turn in range(n_turns):
            if (turn + number) % 4 == 0:
                with lock.writing():
                    before = count[0]
                    assert lock._readers == 0
                    count[0] = before + 1
            else:
                with lock.reading():
                    before = count[0]
                    with lock.reading():
                        assert count[0] == before

    for thread in [_Thread(turns, i) for i in range(n_threads)]:
        thread.join()
    assert count[0] == n_threads * n_turns // 4


# Locks of objects


def test_a_lock_for_life_and_none_for_copies():
    rows = np.eye(3)
    index, other = LatentIndex().fit(rows), LatentIndex().fit(rows)
    assert lock_of(index) is lock_of(index)
    assert lock_of(index) is not lock_of(other)
    copied = pickle.loads(pickle.dumps(index))
    assert lock_of(copied) is not lock_of(index)
    lock = lock_of(index)
    index.fit(rows[:2])
    assert lock_of(index) is lock


def test_locks_die_with_their_owners():
    gc.collect()
    before = len(_lock._locks)
    index = LatentIndex().fit(np.eye(3))
    index.kneighbors(n_neighbors=1)
    assert len(_lock._locks) == before + 1
    del index
    gc.collect()
    assert len(_lock._locks) == before


def test_threads_that_ask_at_once_get_the_same_lock():
    class Owner:
        pass

    owner, found = Owner(), []
    start = threading.Barrier(8)

    def ask():
        start.wait(PATIENCE)
        found.append(lock_of(owner))

    for thread in [_Thread(ask) for _ in range(8)]:
        thread.join()
    assert len({id(lock) for lock in found}) == 1


def test_every_method_of_a_thread_that_holds_the_lock():
    """None waits for itself, whichever lock the thread holds already."""
    index = LatentIndex().fit(np.random.default_rng(0).normal(size=(20, 2)))

    def read():
        index.kneighbors(n_neighbors=2)
        index.kneighbors_graph(n_neighbors=2)
        index.radius_neighbors()
        index.radius_neighbors_graph()
        index.search(n_neighbors=2)
        index.measure_recall()
        pickle.dumps(index)

    def change():
        index.add(np.zeros((1, 2)))
        index.update(np.ones((1, 2)), [20])
        index.remove([20])
        index.fit(np.random.default_rng(0).normal(size=(20, 2)))

    def both():
        with ExitStack() as stack:
            stack.enter_context(lock_of(index).reading())
            read()
        with lock_of(index).writing():
            read()
            change()
            read()

    _Thread(both).join()


_FORKED = """
import os, sys, threading
import numpy as np
from latentsk import LatentIndex
from latentsk.index._lock import lock_of

index = LatentIndex().fit(np.eye(3))
inside, done = threading.Event(), threading.Event()

def read():
    with lock_of(index).reading():
        inside.set()
        done.wait(60)

thread = threading.Thread(target=read)
thread.start()
inside.wait(60)
child = os.fork()
if child == 0:
    # The reader is not here, and must not be waited for.
    index.add(np.zeros((1, 3)))
    os._exit(index.kneighbors(np.zeros((1, 3)), 1)[1].item())
_, status = os.waitpid(child, 0)
done.set()
thread.join(60)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_waits_for_no_thread_of_its_parent():
    command = [sys.executable, "-W", "ignore", "-c", _FORKED]
    ended = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert ended.returncode == 3, ended.stderr.decode()
