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

    Attributes
    ----------
    rows : ndarray of shape (n_rows, ...)
        The rows so far: a view, whose rows a later assignment may replace.

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

    def __init__(self, rows: NDArray[Any]) -> None:
        self.rows = rows
        # With room at its end; None while the rows belong to somebody else.
        self._buffer: NDArray[Any] | None = None

    def assign(
        self,
        positions: NDArray[np.intp],
        values: NDArray[Any],
        spare_share: float = SPARE_SHARE,
    ) -> None:
        """Set rows by their position, behind the present end too.

        Parameters
        ----------
        positions : ndarray of shape (n,)
            Together with the present ones they leave no gap.

        values : ndarray of shape (n, ...)

        spare_share : float, default=0.25
            Room for further rows where the array has to grow, as a share.
        """
        if len(positions) == 0:
            return
        length = max(len(self.rows), int(positions.max()) + 1)
        if self._buffer is None or length > len(self._buffer):
            spare = int(spare_share * length) if length > len(self.rows) else 0
            shape = (length + spare, *self.rows.shape[1:])
            buffer = np.empty(shape, self.rows.dtype)
            buffer[: len(self.rows)] = self.rows
            self._buffer = buffer
        self._buffer[positions] = values
        self.rows = self._buffer[:length]

    def restore(
        self, length: int, positions: NDArray[np.intp], values: NDArray[Any]
    ) -> None:
        """Undo an assignment: to rows that there were, and behind their end."""
        self.rows = self.rows[:length]
        if self._buffer is not None:
            self._buffer[positions] = values

    def share(self) -> NDArray[Any]:
        """Return the rows, which stay as they are: the next assignment copies them."""
        self._buffer = None
        return self.rows


def with_room(array: NDArray[Any], length: int, fill: int) -> NDArray[Any]:
    """Return an array of at least a length, with the same values at its beginning.

    Examples
    --------
    >>> with_room(np.arange(3), 4, fill=-1)
    array([ 0,  1,  2, -1, -1])
    """
    if length <= len(array):
        return array
    grown = np.full(int((1 + SPARE_SHARE) * length), fill, array.dtype)
    grown[: len(array)] = array
    return grown


class AppendedArray:
    """An array that is never changed, and shares its memory with a longer one.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, ...)

    Examples
    --------
    >>> first = AppendedArray(np.array([1, 2]))
    >>> longer = first.appended(np.array([3]))
    >>> first.rows.tolist(), longer.rows.tolist()
    ([1, 2], [1, 2, 3])
    """

    def __init__(self, rows: NDArray[Any]) -> None:
        self.rows = rows
        self._buffer: _Buffer | None = None

    def appended(self, values: NDArray[Any]) -> AppendedArray:
        """Return the array with further rows, of the same dtype."""
        length, buffer = len(self.rows), self._buffer
        stop = length + len(values)
        # Where another array goes on from here, the room is taken.
        if buffer is None or buffer.used != length or stop > len(buffer.rows):
            shape = (stop + int(SPARE_SHARE * stop), *self.rows.shape[1:])
            buffer = _Buffer(np.empty(shape, self.rows.dtype), 0)
            buffer.rows[:length] = self.rows
        buffer.rows[length:stop] = values
        buffer.used = stop
        longer = AppendedArray(buffer.rows[:stop])
        longer._buffer = buffer
        return longer


class _Buffer:
    """Room for rows, and how much of it is used."""

    def __init__(self, rows: NDArray[Any], used: int) -> None:
        self.rows = rows
        self.used = used
