"""Disjoint sets of rows."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from latentsk._typing import Positions


class Forest:
    """Disjoint sets of rows, each of which stands under its first row.

    Parameters
    ----------
    n_rows : int
        Number of rows, all of which are alone at first.

    Examples
    --------
    >>> forest = Forest(5)
    >>> forest.unite(np.array([4, 3]), np.array([1, 4]))
    >>> forest.roots(np.array([0, 1, 2, 3, 4]))
    array([0, 1, 2, 1, 1])
    >>> forest.labels()
    array([-1,  0, -1,  0,  0])
    """

    def __init__(self, n_rows: int) -> None:
        self._parents = np.arange(n_rows)

    def roots(self, rows: Positions) -> Positions:
        """Return the first row of the set of each row."""
        roots = self._parents[rows]
        while True:
            above = self._parents[roots]
            if np.array_equal(above, roots):
                self._parents[rows] = roots
                return roots
            roots = above

    def unite(self, first: Positions, second: Positions) -> None:
        """Unite the sets of the two rows of each pair."""
        first, second = self.roots(first), self.roots(second)
        apart = first != second
        pairs = np.concatenate([first[apart], second[apart]])
        if len(pairs) == 0:
            return
        nodes, ends = np.unique(pairs, return_inverse=True)
        edges = tuple(ends.reshape(2, -1))
        shape = (len(nodes), len(nodes))
        graph = coo_array((np.ones(len(edges[0]), dtype=bool), edges), shape)
        _, components = connected_components(graph, directed=False)
        # Nodes ascend, and the first of each component comes first.
        firsts = np.unique(components, return_index=True)[1]
        self._parents[nodes] = nodes[firsts][components]

    def flatten(self) -> None:
        """Shorten all paths, so that the next calls of `roots` are fast."""
        self.roots(np.arange(len(self._parents)))

    def labels(self) -> Positions:
        """Return the number of each row's set, or -1 for rows that are alone.

        Sets are numbered in the order of their first rows.
        """
        roots = self.roots(np.arange(len(self._parents)))
        is_group = np.bincount(roots, minlength=len(roots)) > 1
        numbers = np.where(is_group, np.cumsum(is_group) - 1, -1)
        return numbers[roots]
