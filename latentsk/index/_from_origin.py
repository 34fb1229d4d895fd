"""Rows by their distance from the origin, which queries of zeros ask for."""

from __future__ import annotations

import numpy as np

from latentsk._chunks import row_slices
from latentsk._typing import Float64, Positions
from latentsk.index._buffers import GrowingArray
from latentsk.index._metric import MetricSpace
from latentsk.index._same_rows import nearest_rows


class RowsFromOrigin:
    """The rows of a space in the order of their Euclidean lengths.

    Rows of unit length are nearly as far from zeros as each other, which float32 cannot
    tell apart; their order is kept, so that further queries of zeros cost nothing.

    Parameters
    ----------
    space : MetricSpace
        Its metric is "euclidean".

    Examples
    --------
    >>> space = MetricSpace(np.array([[3.0], [1.0], [-1.0]]), "euclidean")
    >>> RowsFromOrigin(space).nearest(2, np.array([1]), None)
    (array([[1., 3.]]), array([[2, 0]]))
    """

    def __init__(self, space: MetricSpace) -> None:
        self.space = space
        self._values = GrowingArray(self._measured(np.arange(len(space.vectors))))
        self._order: Positions | None = None

    def nearest(
        self, k: int, exclude: Positions | None, eligible: Positions | None
    ) -> tuple[Float64, Positions]:
        """Return the rows that are nearest to the origin.

        Parameters
        ----------
        k : int

        exclude : ndarray of shape (n_queries,) or None
            A position that is left out, per query; None for one query without.

        eligible : ndarray of shape (n_eligible,) or None
            Positions that may be returned; None: all.

        Returns
        -------
        values, positions : ndarrays of shape (n_queries, k), or (1, k)
        """
        order = self._order
        if order is None:
            order = self._order = np.argsort(self._values.rows, kind="stable")
        if eligible is not None:
            is_eligible = np.zeros(len(order), dtype=bool)
            is_eligible[eligible] = True
            order = order[is_eligible[order]]
        n_queries = 1 if exclude is None else len(exclude)
        first = np.tile(order[: k + (exclude is not None)], (n_queries, 1))
        return nearest_rows(self._values.rows[first], first, k, exclude)

    def revise(self, changed: Positions) -> None:
        """Follow the space, in which some rows are new or changed."""
        self._values.assign(changed, self._measured(changed))
        self._order = None

    def _measured(self, positions: Positions) -> Float64:
        values = np.empty(len(positions))
        origin = np.zeros(self.space.n_features)
        for part in row_slices(len(positions), self.space.n_features):
            rows = self.space.rows(positions[part])
            values[part] = self.space.exact_distances(origin, rows)
        return values
