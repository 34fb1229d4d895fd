"""A lock that many readers share and one writer has alone."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Locks by owner. Not attributes, which copies would share and pickles not take.
_locks: weakref.WeakKeyDictionary[Any, ReadWriteLock] = weakref.WeakKeyDictionary()
_access = threading.Lock()


def _reset_after_fork() -> None:
    """Start without locks in a forked process: their holders are not there."""
    global _access
    _access = threading.Lock()
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


def lock_of(owner: Any) -> ReadWriteLock:
    """Return the lock of an object: one for its life, and none for its copies.

    Examples
    --------
    >>> index = type("Index", (), {})()
    >>> lock_of(index) is lock_of(index)
    True
    """
    with _access:
        return _locks.setdefault(owner, ReadWriteLock())


class ReadWriteLock:
    """Readers run side by side; a writer waits for them and keeps new ones out.

    A thread that reads may read again, and one that writes may read and write again. A
    reader must not begin to write: that is an error. A change that takes long is
    prepared with `changing`, which keeps other changes out and lets readers go on.

    Attributes
    ----------
    building : RLock
        For what readers build and keep when one of them needs it first.

    Examples
    --------
    >>> lock = ReadWriteLock()
    >>> with lock.reading(), lock.reading():
    ...     pass
    >>> with lock.writing(), lock.reading():
    ...     pass
    """

    def __init__(self) -> None:
        self.building = threading.RLock()
        self._changing = threading.RLock()
        self._condition = threading.Condition()
        self._readers = 0
        self._writers_waiting = 0
        self._writer: int | None = None
        self._depth = threading.local()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock together with other readers."""
        depth = getattr(self._depth, "value", 0)
        inside = self._is_inside()
        if not inside:
            with self._condition:
                # Writers first: readers that follow each other would keep them out.
                while self._writer is not None or self._writers_waiting:
                    self._condition.wait()
                self._readers += 1
        self._depth.value = depth + 1
        try:
            yield
        finally:
            self._depth.value = depth
            if not inside:
                with self._condition:
                    self._readers -= 1
                    self._condition.notify_all()

    def _is_inside(self) -> bool:
        """Tell whether this thread reads or writes already."""
        is_reader = getattr(self._depth, "value", 0) > 0
        return is_reader or self._writer == threading.get_ident()

    @contextmanager
    def still(self) -> Iterator[None]:
        """Keep changes out, and let readers go on."""
        if self._is_inside():
            yield
            return
        with self._changing:
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep other changes out, and let readers go on, until `writing`.

        Raises
        ------
        RuntimeError
            If this thread reads.
        """
        self._refuse_readers()
        with self._changing:
            yield

    def _refuse_readers(self) -> None:
        if self._is_inside() and self._writer != threading.get_ident():
            raise RuntimeError(
                "An index cannot be changed from within one of its searches, as a "
                "filter would do it here. Change it before or after the search."
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock alone.

        Raises
        ------
        RuntimeError
            If this thread reads.
        """
        self._refuse_readers()
        if self._writer == threading.get_ident():
            yield
            return
        with self._condition:
            self._writers_waiting += 1
            try:
                while self._writer is not None or self._readers:
                    self._condition.wait()
            finally:
                self._writers_waiting -= 1
            self._writer = threading.get_ident()
        try:
            yield
        finally:
            with self._condition:
                self._writer = None
                self._condition.notify_all()
