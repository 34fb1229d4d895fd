"""From ids to positions, of ids that only become more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk._typing import Positions
from latentsk.index._labels import id_index

# Ids that came later are hashed one by one, until they are as many, or this share.
MIN_RECENT, RECENT_SHARE = 1_000, 0.25


class IdLookup:
    """Positions by id.

    Stores that follow each other share one, and each adds its ids at the end.

    pandas hashes many ids quickly, but all at once; so ids that come later have a dict
    of their own. Where an id occurs twice (in files of older versions) the later
    position counts, unless only the other one is active.

    Parameters
    ----------
    ids : ndarray of shape (n_rows,)
        Ids by position.

    active : ndarray of shape (n_rows,), dtype bool

    Attributes
    ----------
    n_rows : int
        Number of positions, those of later ids included.

    Examples
    --------
    >>> lookup = IdLookup(np.array(["a", "b"]), np.ones(2, dtype=bool))
    >>> lookup.extend(np.array(["c"]))
    >>> lookup.positions(np.array(["c", "a", "z"]))
    array([ 2,  0, -1])
    """

    def __init__(self, ids: NDArray[Any], active: NDArray[np.bool_]) -> None:
        self.n_rows = len(ids)
        self._recent: dict[Any, int] = {}
        names, self._known = id_index(ids), None
        if not names.is_unique:
            self._known = _last_occurrences(names, active)
            names = names[self._known]
        # pandas builds the hash table at the first question; before version 3, others
        # who ask in the meantime are answered from half of it.
        names.get_indexer(names[:1])
        self._names = names

    @property
    def is_slow(self) -> bool:
        """Whether so many ids came later that all should be hashed anew."""
        most = max(MIN_RECENT, RECENT_SHARE * len(self._names))
        return len(self._recent) > most

    def positions(self, ids: NDArray[Any]) -> Positions:
        """Return the position of each id; -1 for one that is unknown."""
        wanted = id_index(ids)
        found = _exact_positions(self._names, wanted)
        if self._known is not None:
            found = np.where(found >= 0, self._known[found], -1)
        missing = np.flatnonzero(found < 0) if self._recent else ()
        if len(missing):
            names = wanted[missing].astype(object)
            found[missing] = [self._recent.get(name, -1) for name in names]
        return found

    def extend(self, ids: NDArray[Any]) -> None:
        """Take further ids, which are not there yet."""
        names = id_index(ids).astype(object)
        self._recent.update(
            zip(names, range(self.n_rows, self.n_rows + len(ids)), strict=True)
        )
        self.n_rows += len(ids)


def _last_occurrences(names: pd.Index, active: NDArray[np.bool_]) -> Positions:
    """Return, for each name, the position that counts."""
    order = np.argsort(active, kind="stable")
    is_last = ~np.asarray(names[order].duplicated(keep="last"))
    return np.sort(order[is_last])


def _exact_positions(names: pd.Index, wanted: pd.Index) -> Positions:
    """Return the position of each label; -1 where no name is exactly this one.

    pandas turns integers into floats where they meet, and these hold 53 bits.

    Examples
    --------
    >>> _exact_positions(pd.Index([2**53 + 1, 5]), pd.Index([float(2**53), 5.0]))
    array([-1,  1])
    """
    dtype: Any = names.dtype
    kinds = dtype.kind, wanted.dtype.kind
    found: Positions
    if kinds[1] == "f" and kinds[0] in "iu":
        values, limits = wanted.to_numpy(), np.iinfo(dtype)
        is_whole = (values >= limits.min) & (values < limits.max)
        is_whole &= np.floor(values) == values  # the remainder of infinity would warn
        whole = np.where(is_whole, values, 0).astype(dtype)
        found = names.get_indexer(pd.Index(whole))
        return np.where(is_whole, found, -1)
    found = names.get_indexer(wanted)
    if kinds[0] == "f" and kinds[1] in "iu":
        pairs = zip(names[found].tolist(), wanted.tolist(), strict=True)
        return np.where([a == b for a, b in pairs], found, -1)
    return found
