"""How many threads a search may use, and none that a forked process lacks."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from joblib import cpu_count
from threadpoolctl import ThreadpoolController

from latentsk._faiss import faiss_available, load_faiss

# No search is faster with more, and the libraries fail on what is no C int.
MOST_THREADS = 256

Method = TypeVar("Method", bound=Callable[..., Any])

# The process that loaded the libraries. A fork of it has none of their threads, and
# OpenMP waits for them for ever.
_home = os.getpid()


def fork_safe(method: Method) -> Method:
    """Return a public method that also ends in a forked process, by using one thread.

    Whatever it calls is covered: torch, the BLAS, and the embedders of others.

    Examples
    --------
    >>> fork_safe(sorted)([2, 1])
    [1, 2]
    """

    @functools.wraps(method)
    def limited(*args: Any, **kwargs: Any) -> Any:
        if os.getpid() == _home:
            return method(*args, **kwargs)
        with thread_limit(None):
            return method(*args, **kwargs)

    limited.is_fork_safe = True  # type: ignore[attr-defined]
    return limited  # type: ignore[return-value]


@contextmanager
def thread_limit(n_jobs: int | None) -> Iterator[None]:
    """Limit the threads of FAISS, torch and the BLAS for a while.

    Counts of FAISS and torch belong to the calling thread. Some BLAS libraries have one
    for all threads: while one limits it, others leave it as it is. In a forked process
    there is one thread, whatever is asked for.

    Parameters
    ----------
    n_jobs : int or None
        As scikit-learn means it: -1 is all cores; None leaves the libraries' own
        numbers.

    Examples
    --------
    >>> with thread_limit(1):
    ...     torch.get_num_threads()
    1
    """
    if os.getpid() != _home:
        with _forked.one_thread():
            yield
    elif n_jobs is None:
        yield
    else:
        with _numbers(_n_threads(n_jobs)):
            yield


def _n_threads(n_jobs: int) -> int:
    # Not joblib.effective_n_jobs: it speaks of processes, and says 1 within a worker.
    if n_jobs == 0:
        raise ValueError("n_jobs must not be 0.")
    wanted = n_jobs if n_jobs > 0 else max(1, cpu_count() + 1 + n_jobs)
    return min(int(wanted), MOST_THREADS)


@contextmanager
def _numbers(number: int) -> Iterator[None]:
    # Not torch.set_num_threads: it sets, besides, what threads to come begin with, and
    # a thread that begins during a search would keep the limit for ever. This call
    # makes torch give the calling thread its number before that is changed.
    torch.get_num_threads()
    # The BLAS within, because one that is built on OpenMP changes that number too.
    with _pools("openmp").limit(limits=number), _blas_limit(number):
        yield


@contextmanager
def _blas_limit(number: int) -> Iterator[None]:
    turn = _blas
    if not turn.acquire(blocking=False):
        yield
        return
    try:
        with _pools("blas").limit(limits=number):
            yield
    finally:
        turn.release()


# Who limits the BLAS. If two threads did, the second would take the first one's limit
# for what there was before, and leave it behind.
_blas = threading.RLock()


class _ForkedProcess:
    """The threads of a forked process: one for each thread that computes.

    The number of the BLAS may be one for all threads. It is 1 as long as anybody
    computes: if every thread put it back at its end, those that are still at work would
    ask for more threads than there are.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_computing = 0
        self._blas = ExitStack()

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """Limit the calling thread, and the BLAS, to one thread."""
        # The MKL within torch counts for each thread, and only torch reaches it.
        in_torch = torch.get_num_threads()
        with _pools("openmp").limit(limits=1):
            self._begin()
            torch.set_num_threads(1)
            try:
                yield
            finally:
                torch.set_num_threads(in_torch)
                self._end()

    def _begin(self) -> None:
        with self._lock:
            if self._n_computing == 0:
                self._blas.enter_context(_pools("blas").limit(limits=1))
            self._n_computing += 1

    def _end(self) -> None:
        with self._lock:
            self._n_computing -= 1
            if self._n_computing == 0:
                self._blas.close()


_forked = _ForkedProcess()


def _reset_after_fork() -> None:
    """Start anew in a forked process, where no other thread is."""
    global _blas, _forked
    _blas, _forked = threading.RLock(), _ForkedProcess()
    _pools.cache_clear()  # its parent may have loaded more libraries since


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


@functools.cache
def _pools(user_api: str) -> Any:
    # Looking for the libraries takes milliseconds, so it is done once.
    if faiss_available():
        load_faiss()
    return ThreadpoolController().select(user_api=user_api)
