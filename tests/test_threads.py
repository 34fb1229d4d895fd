"""Numbers of threads: set for a search, and put back whatever happens."""

import os
import threading
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from latentsk import LatentIndex, _threads
from latentsk._threads import thread_limit

faiss = pytest.importorskip("faiss")

PATIENCE = 30.0
MORE = 3


def _numbers():
    return torch.get_num_threads(), faiss.omp_get_max_threads(), _blas_numbers()


def _blas_numbers():
    """Return those of the BLAS libraries that do not follow OpenMP's, by thread."""
    pools = [
        pool
        for pool in threadpool_info()
        if pool["user_api"] == "blas" and pool.get("threading_layer") != "openmp"
    ]
    return tuple(sorted((pool["filepath"], pool["num_threads"]) for pool in pools))


def _all_are(number):
    in_torch, in_faiss, blas = _numbers()
    assert (in_torch, in_faiss) == (number, number)
    assert {n for _, n in blas} <= {number}


@pytest.fixture(autouse=True)
def several_threads():
    """As many threads as no limit here is; put back at the end."""
    in_torch, in_faiss = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(MORE)
    faiss.omp_set_num_threads(MORE)
    yield
    torch.set_num_threads(in_torch)
    faiss.omp_set_num_threads(in_faiss)


@pytest.mark.parametrize("number", [1, 2])
def test_a_limit_holds_and_ends(number):
    before = _numbers()
    with thread_limit(number):
        _all_are(number)
    assert _numbers() == before
    assert before[:2] == (MORE, MORE)


def test_none_leaves_all_as_it_is():
    before = _numbers()
    with thread_limit(None):
        assert _numbers() == before
    assert _numbers() == before


def test_minus_one_is_all_cores():
    cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else None
    expected = cores or len(os.sched_getaffinity(0))
    with thread_limit(-1):
        assert torch.get_num_threads() == faiss.omp_get_max_threads() >= 1
        assert torch.get_num_threads() <= expected
    assert torch.get_num_threads() == MORE


def test_zero_is_refused_and_changes_nothing():
    before = _numbers()
    with pytest.raises(ValueError, match="n_jobs"), thread_limit(0):
        pytest.fail("no limit of zero threads")
    assert _numbers() == before
    index = LatentIndex().fit(np.eye(3))
    with pytest.raises(ValueError, match="n_jobs"):
        index.set_params(n_jobs=0).kneighbors(np.eye(3), 1)
    assert _numbers() == before


def test_limits_within_limits():
    before = _numbers()
    with thread_limit(2):
        with thread_limit(1):
            _all_are(1)
            with thread_limit(2), thread_limit(None):
                _all_are(2)
            _all_are(1)
        _all_are(2)
    assert _numbers() == before


def test_errors_end_a_limit():
    before = _numbers()
    with pytest.raises(KeyError), thread_limit(2), thread_limit(1):
        raise KeyError
    assert _numbers() == before


def test_a_limit_that_cannot_be_set_leaves_no_trace(monkeypatch):
    before = _numbers()

    def fails(*_, **__):
        raise RuntimeError("no BLAS today")

    with monkeypatch.context() as patch:
        patch.setattr(_threads, "_blas_limit", fails)
        with pytest.raises(RuntimeError, match="today"), thread_limit(1):
            pytest.fail("no limit")
    assert _numbers() == before


def _in_thread(function):
    """Return what a function says in a thread of its own."""
    said = []
    thread = threading.Thread(target=lambda: said.append(function()))
    thread.start()
    thread.join(PATIENCE)
    assert said, "a thread waits for ever, or failed"
    return said[0]


def test_limits_that_overlap_leave_no_trace():
    """One ends while the other goes on, and was there before it."""
    before = _numbers()
    first, second, first_ended = (threading.Event() for _ in range(3))
    numbers = {}

    def one():
        with thread_limit(1):
            first.set()
            assert second.wait(PATIENCE)
        numbers["one"] = _numbers()[:2]
        first_ended.set()

    def two():
        assert first.wait(PATIENCE)
        with thread_limit(2):
            second.set()
            assert first_ended.wait(PATIENCE)
            assert torch.get_num_threads() == faiss.omp_get_max_threads() == 2
        numbers["two"] = _numbers()[:2]

    threads = [threading.Thread(target=target) for target in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert numbers["one"] == numbers["two"]
    assert _numbers() == before
    assert _in_thread(torch.get_num_threads) == MORE


def test_a_limit_is_not_for_threads_that_begin_meanwhile():
    with thread_limit(1):
        assert _in_thread(torch.get_num_threads) == MORE
        assert torch.get_num_threads() == 1


def test_a_thread_of_its_own_keeps_its_number():
    def limited():
        torch.set_num_threads(2)
        with thread_limit(1):
            inside = torch.get_num_threads()
        return inside, torch.get_num_threads()

    assert _in_thread(limited) == (1, 2)
    torch.set_num_threads(MORE)  # what threads to come begin with


@pytest.mark.parametrize("n_jobs", [1, 2, -1, None])
def test_a_search_puts_all_back(n_jobs):
    rows = np.random.default_rng(0).normal(size=(300, 4))
    queries = rows[:40]
    expected = LatentIndex().fit(rows).kneighbors(queries)
    before = _numbers()
    index = LatentIndex(n_jobs=n_jobs).fit(rows)
    for mine, true in zip(index.kneighbors(queries), expected, strict=True):
        np.testing.assert_array_equal(mine, true)
    index.radius_neighbors(queries)
    index.add(queries, ids=range(300, 340)).update(queries, range(40)).remove([0])
    index.measure_recall()
    assert _numbers() == before


def test_a_search_that_fails_puts_all_back(monkeypatch):
    index = LatentIndex(n_jobs=1).fit(np.eye(3))
    before = _numbers()

    def fails(*_, **__):
        _all_are(1)
        raise MemoryError

    monkeypatch.setattr(index._engine.search, "neighbors", fails)
    with pytest.raises(MemoryError):
        index.kneighbors(np.eye(3), 1)
    assert _numbers() == before


def test_many_limits_at_once():
    before = _numbers()
    start = threading.Barrier(8)
    errors = []

    def turns(number):
        try:
            start.wait(PATIENCE)
            for turn in range(40):
                with ExitStack() as stack:
                    for depth in range(turn % 3):
                        stack.enter_context(thread_limit(1 + (number + depth) % 2))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=turns, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert errors == []
    assert _numbers() == before
    assert _in_thread(torch.get_num_threads) == MORE
