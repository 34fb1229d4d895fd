"""Neighbours of each row, and groups of near-duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk.explorer._encoding import rounded, smallest

N_NEIGHBORS = 5
# Copies lie nearer to each other than this share of the usual distance to the nearest.
DUPLICATE_SHARE = 0.1
MOST_GROUPS = 1_000


@dataclass(frozen=True)
class Neighbors:
    """The nearest rows of each row, without itself.

    Attributes
    ----------
    positions : ndarray of shape (n_rows, k)

    distances : ndarray of shape (n_rows, k)
    """

    positions: NDArray[np.int64]
    distances: NDArray[np.float64]

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the page is given."""
        return {
            "neighbor": smallest(self.positions),
            "distance": rounded(self.distances, 8),
        }


def neighbors_of(index: Any, n_rows: int) -> Neighbors:
    """Return the nearest rows in an index that holds all rows.

    Raises
    ------
    ValueError
        If the index compares by inner products, which are no distances.
    """
    k = min(N_NEIGHBORS, n_rows - 1)
    distances, positions = index.kneighbors(n_neighbors=k)
    return Neighbors(np.asarray(positions), np.asarray(distances, np.float64))


@dataclass(frozen=True)
class Duplicates:
    """Groups of near-duplicates.

    Attributes
    ----------
    threshold : float

    groups : list of list of int
        Rows of each group: the largest groups first.

    n_groups : int
        How many there are; the list may have fewer.
    """

    threshold: float
    groups: list[list[int]]
    n_groups: int

    @property
    def header(self) -> dict[str, Any]:
        """What the page is told."""
        return {
            "threshold": self.threshold,
            "groups": self.groups,
            "nGroups": self.n_groups,
        }


def duplicate_threshold(distances: NDArray[np.float64]) -> float:
    """Return the distance within which rows are near-duplicates.

    A tenth of the median distance to the nearest row.

    Examples
    --------
    >>> duplicate_threshold(np.array([[3.0, 4.0], [0.1, 2.0], [5.0, 9.0]]))
    0.3
    """
    return round(float(np.median(distances[:, 0])) * DUPLICATE_SHARE, 12)


def duplicates_of(index: Any, threshold: float) -> Duplicates | None:
    """Return the groups that an index finds; None where it finds none by method."""
    if not hasattr(index, "duplicates"):
        return None
    table = index.duplicates(threshold)
    groups = [g["position"].tolist() for _, g in table.groupby("group", sort=True)]
    groups.sort(key=len, reverse=True)
    return Duplicates(float(threshold), groups[:MOST_GROUPS], len(groups))
