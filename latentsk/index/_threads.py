"""How many threads a search may use, and none that a forked process lacks."""

from __future__ import annotations

import functools
import os
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

    Counts belong to the calling thread, but for those of some BLAS libraries. In a
    forked process there is one thread, whatever is asked for.

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
        n_jobs = 1
    if n_jobs is None:
        yield
        return
    number = effective_n_jobs(n_jobs)
    torch_before = torch.get_num_threads()
    faiss = load_faiss() if faiss_available() else None
    faiss_before = faiss.omp_get_max_threads() if faiss else 1
    try:
        torch.set_num_threads(number)
        if faiss:
            faiss.omp_set_num_threads(number)
        with _pools().limit(limits=number):
            yield
    finally:
        torch.set_num_threads(torch_before)
        if faiss:
            faiss.omp_set_num_threads(faiss_before)


@functools.cache
def _pools() -> Any:
    # Looking for the libraries takes milliseconds, so it is done once.
    return ThreadpoolController().select(user_api="blas")
