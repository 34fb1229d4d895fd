"""Threads for small work: one is as fast as many, and does not wait for the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Floating-point operations of a step below which it is left to one thread: some tenths
# of a millisecond, of which threads that meet at every operation take little away.
# Where other processes use the processor they would wait for each other instead.
MIN_OPERATIONS_TO_SHARE = 2**24

_lock = threading.Lock()


@contextmanager
def threads_for(operations_per_step: float) -> Iterator[None]:
    """Leave torch one thread while steps are small.

    torch counts threads for each calling thread. Only that of the caller is changed:
    other threads, and those that begin meanwhile, keep theirs.

    Parameters
    ----------
    operations_per_step : float
        Floating-point operations.

    Examples
    --------
    >>> with threads_for(1e6):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    if operations_per_step >= MIN_OPERATIONS_TO_SHARE or before == 1:
        yield
        return
    _set_own(1)
    try:
        yield
    finally:
        _set_own(before)


def _set_own(number: int) -> None:
    """Set the number of the calling thread, but not that of threads to come.

    torch.set_num_threads sets both. A thread that has only begun tells what the second
    was, and another sets it again. (OpenMP's number alone, as threadpoolctl sets it,
    would not reach the MKL within torch.)
    """
    with _lock:
        to_come = _in_new_thread(torch.get_num_threads)
        torch.set_num_threads(number)
        _in_new_thread(lambda: torch.set_num_threads(to_come))


def _in_new_thread(function: Callable[[], Any]) -> Any:
    returned: list[Any] = []
    thread = threading.Thread(target=lambda: returned.append(function()))
    thread.start()
    thread.join()
    return returned[0]
