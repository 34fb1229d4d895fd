"""Which entries of a structure are the rows of an index, after changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Positions
from latentsk.index._buffers import with_room

Numbers = NDArray[np.int64]


class Entries:
    """Numbers under which a structure holds rows that are removed without its help.

    Each row that is added is a new entry, and an entry dies with its row; the
    structure keeps dead entries until it frees them, and leaves them out of what it
    finds. Numbers of entries that were freed are given again.

    Examples
    --------
    >>> entries = Entries()
    >>> entries.add(np.array([7, 8, 9]))
    array([0, 1, 2])
    >>> entries.remove(np.array([8]))
    array([1])
    >>> entries.add(np.array([8]))
    array([3])
    >>> entries.positions_of(np.array([[3, 1, -1]]))
    array([[ 8, -1, -1]])
    """

    def __init__(self) -> None:
        # Numbers of entries, and positions, stay below 2**31: memory ends before.
        self._positions: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._entries: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._live_bits: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        self._free: Numbers = np.empty(0, dtype=np.int64)
        self.n_live = 0
        self.n_dead = 0
        self._n_numbers = 0

    def __len__(self) -> int:
        """Return how many numbers there are, those of freed entries among them."""
        return self._n_numbers

    def add(self, positions: Positions) -> Numbers:
        """Return new entries for rows that have none."""
        fresh = max(0, len(positions) - len(self._free))
        entries = np.arange(self._n_numbers, self._n_numbers + fresh)
        n_reused = len(positions) - fresh
        entries = np.concatenate([self._free[:n_reused], entries])
        self._free = self._free[n_reused:]
        self._n_numbers += fresh
        self._positions = with_room(self._positions, self._n_numbers, -1)
        self._live_bits = with_room(self._live_bits, -(-self._n_numbers // 8), 0)
        last = int(positions.max(initial=-1))
        self._entries = with_room(self._entries, last + 1, -1)
        self._positions[entries] = positions
        self._entries[positions] = entries
        np.bitwise_or.at(self._live_bits, entries >> 3, _bits_of(entries))
        self.n_live += len(positions)
        return entries

    def remove(self, positions: Positions) -> Numbers:
        """Let the entries of rows die, and return them; unknown rows have none."""
        positions = positions[positions < len(self._entries)]
        entries = self._entries[positions].astype(np.int64)
        entries = entries[entries >= 0]
        self._entries[positions] = -1
        self._positions[entries] = -1
        np.bitwise_and.at(self._live_bits, entries >> 3, ~_bits_of(entries))
        self.n_live -= len(entries)
        self.n_dead += len(entries)
        return entries

    def release(self, entries: Numbers) -> Positions:
        """Free entries, dead or alive, and return the positions of those alive."""
        positions = self._positions[entries]
        alive = positions[positions >= 0].astype(np.intp)
        self.remove(alive)
        self.n_dead -= len(entries)
        self._free = np.concatenate([self._free, entries])
        return alive

    def of(self, positions: Positions) -> Numbers:
        """Return the entries of rows that have one."""
        positions = positions[positions < len(self._entries)]
        entries = self._entries[positions]
        return entries[entries >= 0].astype(np.int64)

    def positions_of(self, entries: Numbers) -> Numbers:
        """Return the positions of entries; -1 for dead ones, and for -1."""
        if self._n_numbers == 0:
            return np.full(entries.shape, -1, dtype=np.int64)
        positions = self._positions[entries].astype(np.int64)
        positions[entries < 0] = -1
        return positions

    @property
    def live_bits(self) -> NDArray[np.uint8] | None:
        """A bit for each number, the lowest first; None where no entry is dead."""
        return self._live_bits if self.n_dead else None

    def bits_among(self, entries: Numbers) -> NDArray[np.uint8]:
        """Return a bit for each number, set for some entries."""
        is_among = np.zeros(self._n_numbers, dtype=bool)
        is_among[entries] = True
        return np.packbits(is_among, bitorder="little")


def _bits_of(entries: Numbers) -> NDArray[np.uint8]:
    return np.left_shift(1, entries & 7).astype(np.uint8)
