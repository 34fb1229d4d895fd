"""Threads for small work: one is as fast as many, and does not wait for the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Floating-point operations of a step below which it is left to one thread: some tenths
# of a millisecond, of which threads that meet at every operation take little away.
# Where other processes use the processor they would wait for each other instead.
MIN_OPERATIONS_TO_SHARE = 2**24

_lock = threading.Lock()
_users = 0
_threads_before = 1


@contextmanager
def threads_for(operations_per_step: float) -> Iterator[None]:
    """Leave torch one thread while steps are small.

    torch counts threads for each calling thread, which gets back what the process had
    before the first of the fits that run at the same time.

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
    global _users, _threads_before
    if operations_per_step >= MIN_OPERATIONS_TO_SHARE:
        yield
        return
    with _lock:
        if _users == 0:
            _threads_before = torch.get_num_threads()
        _users += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            torch.set_num_threads(_threads_before)
