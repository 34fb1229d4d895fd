"""How many threads a search may use, and none that a forked process lacks."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from joblib import effective_n_jobs
from threadpoolctl import ThreadpoolController

from latentsk.index._faiss import faiss_available, load_faiss

# The process that loaded the libraries. A fork of it has none of their threads, and
# OpenMP waits for them for ever.
_home = os.getpid()


@contextmanager
def thread_limit(n_jobs: int | None) -> Iterator[None]:
    """Limit the threads of FAISS, torch and the BLAS for a while.

    Counts of FAISS and torch belong to the calling thread; the BLAS has one for all, of
    which the latest limit holds, until the last one ends. In a forked process there is
    one thread, whatever is asked for.

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
        with _numbers(effective_n_jobs(n_jobs)):
            yield


@contextmanager
def _numbers(number: int) -> Iterator[None]:
    # Not torch.set_num_threads: it sets, besides, what threads to come begin with, and
    # a thread that begins during a search would keep the limit for ever. This call
    # makes torch give the calling thread its number before that is changed.
    torch.get_num_threads()
    # The BLAS within, because one that is built on OpenMP changes that number too.
    with _pools("openmp").limit(limits=number), _blas.limit(number):
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


class _SharedLimit:
    """A limit on what all threads share: put back by the last of them, not by each."""

    def __init__(self) -> None:
        self._access = threading.Lock()
        self._numbers: list[list[int]] = []
        self._first: Any = None

    @contextmanager
    def limit(self, number: int) -> Iterator[None]:
        mine = [number]  # an object of its own, told from equal numbers
        with self._access:
            limiter = _pools("blas").limit(limits=number)
            self._first = limiter if not self._numbers else self._first
            self._numbers.append(mine)
        try:
            yield
        finally:
            with self._access:
                self._numbers = [other for other in self._numbers if other is not mine]
                if self._numbers:
                    _pools("blas").limit(limits=self._numbers[-1][0])
                else:
                    self._first.restore_original_limits()


_blas = _SharedLimit()


def _forget() -> None:
    """Start anew in a forked process, where no other thread is."""
    global _blas
    _blas = _SharedLimit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@functools.cache
def _pools(user_api: str) -> Any:
    # Looking for the libraries takes milliseconds, so it is done once.
    if faiss_available():
        load_faiss()
    return ThreadpoolController().select(user_api=user_api)
