"""How many threads a search may use, and none that a forked process lacks."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from joblib import cpu_count
from threadpoolctl import ThreadpoolController

from latentsk._faiss import faiss_available, load_faiss

# No search is faster with more, and the libraries fail on what is no C int.
MOST_THREADS = 256

# The process that loaded the libraries. A fork of it has none of their threads, and
# OpenMP waits for them for ever.
_home = os.getpid()


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
        with _numbers(1), _torch_alone():
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
def _torch_alone() -> Iterator[None]:
    """Keep the libraries within torch, which have numbers of their own, to a thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


def _reset_after_fork() -> None:
    """Start with a free lock in a forked process, where no other thread is."""
    global _blas
    _blas = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


@functools.cache
def _pools(user_api: str) -> Any:
    # Looking for the libraries takes milliseconds, so it is done once.
    if faiss_available():
        load_faiss()
    return ThreadpoolController().select(user_api=user_api)
