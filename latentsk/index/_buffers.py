"""Arrays that grow at their end without being copied every time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Room beyond what is needed, as a share: few copies, and little memory in vain.
SPARE_SHARE = 0.25


class GrowingArray:
    """Rows of an array, of which some are replaced and others come at the end.

    The array handed in is never changed: the first assignment copies it.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, ...)
        The first rows.

    spare_share : float, default=0.25
        Room for further rows whenever the array grows, as a share.

    Examples
    --------
    >>> given = np.array([1.0, 2.0])
    >>> array = GrowingArray(given)
    >>> array.assign(np.array([1, 2]), np.array([20.0, 30.0]))
    >>> array.rows
    array([ 1., 20., 30.])
    >>> given
    array([1., 2.])
    """

    def __init__(self, rows: NDArray[Any], spare_share: float = SPARE_SHARE) -> None:
        self._spare_share = spare_share
        self._store = rows
        self._owned = False
        self._length = len(rows)

    @property
    def rows(self) -> NDArray[Any]:
        """The rows so far: a view, which a later assignment may change."""
        return self._store[: self._length]

    def assign(self, positions: NDArray[np.intp], values: NDArray[Any]) -> None:
        """Set rows by their position, behind the present end too.

        Parameters
        ----------
        positions : ndarray of shape (n,)
            Together with the present ones they leave no gap.

        values : ndarray of shape (n, ...)
        """
        if len(positions) == 0:
            return
        length = max(self._length, int(positions.max()) + 1)
        if not self._owned or length > len(self._store):
            self._reserve(length)
        self._length = length
        self._store[positions] = values

    def share(self) -> None:
        """Leave the present rows as they are for ever: the next assignment copies."""
        self._owned = False

    def _reserve(self, length: int) -> None:
        spare = int(self._spare_share * length) if length > self._length else 0
        store = np.empty((length + spare, *self._store.shape[1:]), self._store.dtype)
        store[: self._length] = self.rows
        self._store, self._owned = store, True
