"""Groups of rows that are nearer to each other than a threshold, exactly.

Rows are duplicates if their distance is at most the threshold, and so is what hangs
together through them (single linkage). All pairs are joined through the Voronoi cells
of some sampled rows, the *centres*: see `_cells`.

Inside a cell, rows are compared relative to its centre in float32, with the error bound
of that; what it lets through is measured in float64. Rows that are in one group already
are compared no more, which is what bounds the work where thousands of rows are alike.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._typing import Float32, Float64, Positions
from latentsk.index._cells import (
    BLOCK_SCORES,
    ROW_ELEMENTS,
    Cells,
    pairs_to_compare,
    scaled_rows,
)
from latentsk.index._exact import ignore_fp_warnings
from latentsk.index._forest import Forest
from latentsk.index._metric import MetricSpace, euclidean
from latentsk.index._rounding import score_bound
from latentsk.index._same_rows import equal_pairs

# Cells joined until paths to the first rows of groups are shortened.
FLATTEN_EVERY = 64
# Far above the rounding of a distance in float64, far below what costs anything.
MARGIN = 1.0 + 1e-9
# Under cosine, squares of shorter differences vanish, and the distance is zero.
SHORTEST_COSINE_CHORD = 1e-150


def duplicate_groups(
    space: MetricSpace, threshold: float, active: NDArray[np.bool_] | None = None
) -> Positions:
    """Return the group of each row that has a duplicate.

    Two rows are duplicates if their distance, as float64 measures it, is at most the
    threshold; groups are the connected components of that relation.

    Parameters
    ----------
    space : MetricSpace
        The rows, under "euclidean" or "cosine". Under "cosine" a row of zeros is at
        distance 1 from every other row; rows of zeros are equal, and in one group
        whatever the threshold.

    threshold : float
        Largest distance of duplicates; not negative.

    active : ndarray of shape (n_rows,), dtype bool, or None
        Rows that take part; None for all.

    Returns
    -------
    labels : ndarray of shape (n_rows,)
        Number of the row's group, or -1 for rows without a duplicate and for those that
        are not active. Groups are numbered in the order of their first rows.

    Notes
    -----
    Where the threshold is small beside the distances between neighbours, the time is
    that of some ``n ** 1.5`` distances in float32. It grows to that of all
    ``n ** 2 / 2`` where the threshold spans most of the data, and yet few rows are
    within it, as about the distance of neighbours in 30 dimensions without clusters.
    Besides the data, memory for a float32 copy and some 250 MB is needed.

    Examples
    --------
    >>> rows = np.array([[0.0], [5.0], [9.0], [5.1], [5.2], [0.0]])
    >>> duplicate_groups(MetricSpace(rows, "euclidean"), 0.15)
    array([ 0,  1, -1,  1,  1,  0])
    """
    forest = Forest(len(space.vectors))
    positions = np.arange(len(space.vectors))
    if active is not None:
        positions = positions[active]
    with ignore_fp_warnings():
        reach = _reach(space, threshold)
        is_zero = _without_direction(space, positions)
        forest.unite(positions[is_zero][1:], positions[is_zero][:-1])
        if reach == np.inf or (threshold >= 1.0 and is_zero.any()):
            forest.unite(positions[1:], positions[:-1])
        else:
            _unite_near(forest, space, threshold, reach, positions[~is_zero])
    return forest.labels()


def _reach(space: MetricSpace, threshold: float) -> float:
    """Return a Euclidean length of scaled rows that no pair of duplicates exceeds."""
    if space.metric == "cosine":
        if threshold >= 2.0:
            return np.inf
        return float(np.sqrt(2.0 * threshold)) * MARGIN + SHORTEST_COSINE_CHORD
    # The next number, as the smallest ones round by a good part of themselves.
    reach = float(np.nextafter(threshold * MARGIN, np.inf))
    return reach * space.rescaling.scale


def _without_direction(space: MetricSpace, positions: Positions) -> NDArray[np.bool_]:
    is_zero = np.zeros(len(positions), dtype=bool)
    if space.metric == "cosine":
        for part in row_slices(len(positions), space.n_features, ROW_ELEMENTS):
            is_zero[part] = ~space.vectors[positions[part]].any(axis=1)
    return is_zero


def _unite_near(
    forest: Forest,
    space: MetricSpace,
    threshold: float,
    reach: float,
    positions: Positions,
) -> None:
    """Unite all rows within a distance, none of which is without a direction."""
    _unite_copies(forest, space, positions)
    # One of each set of copies.
    positions = positions[forest.roots(positions) == positions]
    if len(positions) < 2:
        return
    cells = Cells.of(space, positions, reach)
    join = _Join(forest, space, threshold, cells)
    for cell in range(cells.n_cells):
        join.with_centre(cell)
    for cell in range(cells.n_cells):
        join.inside(cell)
    for cell, query_rows in pairs_to_compare(cells):
        if cell % FLATTEN_EVERY == 0:
            forest.flatten()
        join.across(cell, query_rows)


def _unite_copies(forest: Forest, space: MetricSpace, positions: Positions) -> None:
    """Unite rows that are equal, so that their pairs need no comparing.

    That all are found is likely, and no more: what is left is compared as other rows.
    """
    forest.unite(*equal_pairs(space, positions))


class _Join(NamedTuple):
    """What it takes to compare rows and to unite them."""

    forest: Forest
    space: MetricSpace
    threshold: float
    cells: Cells

    def with_centre(self, cell: int) -> None:
        """Compare a centre with the rows of its cell, and with later centres.

        Where the threshold is large, this unites most of what is near.
        """
        cells = self.cells
        later = slice(cell + 1, None)
        lengths = euclidean(cells.centres[cell], cells.centres[later])
        squares = cells.local[cells.part(cell), -1]
        near = [
            cells.centre_rows[later][lengths <= cells.reach * MARGIN],
            cells.rows[cells.part(cell)][squares <= self._limits(cell, np.zeros(1))],
        ]
        others = np.concatenate(near)
        self._unite_within(np.full(len(others), cells.centre_rows[cell]), others)

    def inside(self, cell: int) -> None:
        """Compare the rows of a cell."""
        rows, local = self._cell(cell)
        is_known = self.forest.roots(rows) == self._commonest_group(rows)
        # The commonest group last: its rows need no comparing with each other.
        order = np.argsort(is_known, kind="stable")
        rows, local = rows[order], local[order]
        n_queries = len(rows) - int(np.count_nonzero(is_known))
        for block in row_slices(n_queries, len(rows), BLOCK_SCORES):
            limits = self._limits(cell, local[block, -1].astype(np.float64))
            # Each pair once.
            later = slice(block.start, None)
            near = _near(local[block, :-1], local[later], limits)
            self._unite_within(rows[block][near[0]], rows[later][near[1]])

    def across(self, cell: int, query_rows: Positions) -> None:
        """Compare rows of other cells with those of a cell."""
        rows, local = self._cell(cell)
        group = self._commonest_group(rows)
        # Now, before it grows: all pairs but those of two known rows are compared.
        is_other = self.forest.roots(rows) != group
        is_known = self.forest.roots(query_rows) == group
        self._compare(cell, query_rows[~is_known], rows, local)
        if is_known.any():
            self._compare(cell, query_rows[is_known], rows[is_other], local[is_other])

    def _cell(self, cell: int) -> tuple[Positions, Float32]:
        part = self.cells.part(cell)
        return self.cells.rows[part], self.cells.local[part]

    def _commonest_group(self, rows: Positions) -> int:
        """Return the first row of the group that has the most of some rows; or -1."""
        groups, counts = np.unique(self.forest.roots(rows), return_counts=True)
        return int(groups[np.argmax(counts)]) if len(rows) else -1

    def _compare(
        self, cell: int, query_rows: Positions, rows: Positions, local: Float32
    ) -> None:
        """Compare rows of other cells with some rows of a cell."""
        n_queries = len(query_rows) if len(rows) else 0
        for part in row_slices(n_queries, self.space.n_features, ROW_ELEMENTS):
            queries, differences, squares = self._near_cell(cell, query_rows[part])
            limits = self._limits(cell, squares)
            for block in row_slices(len(queries), len(rows), BLOCK_SCORES):
                near = _near(differences[block], local, limits[block])
                self._unite_within(queries[block][near[0]], rows[near[1]])

    def _near_cell(
        self, cell: int, query_rows: Positions
    ) -> tuple[Positions, Float32, Float64]:
        """Return the rows that the cell's radius lets in, relative to its centre.

        With the squares of their distances from it.
        """
        cells, factor = self.cells, self.cells.factors[cell]
        differences = scaled_rows(self.space, query_rows) - cells.centres[cell]
        differences *= factor
        squares = np.sum(np.square(differences), axis=1)
        farthest = (cells.radii[cell] + cells.reach) * factor
        is_near = squares <= farthest**2 * MARGIN
        near = differences[is_near].astype(np.float32)
        return query_rows[is_near], near, squares[is_near]

    def _limits(self, cell: int, squares: Float64) -> Float32:
        """Return what the score of a near row is at most, less the query's square."""
        reach = np.square(self.cells.reach * self.cells.factors[cell])
        # One feature more: the row's square takes part in the product.
        width = self.space.n_features + 1
        bounds = score_bound(reach, np.sqrt(squares), width, np.float32) - squares
        return np.nextafter(bounds.astype(np.float32), np.float32(np.inf))

    def _unite_within(self, first: Positions, second: Positions) -> None:
        """Unite pairs of rows that are within the threshold."""
        step = max(1, ROW_ELEMENTS // self.space.n_features)
        n_parts = math.ceil(len(first) / step)
        for start in range(n_parts):
            # From all over, so that the first parts unite most rows.
            part = slice(start, None, n_parts)
            is_apart = self.forest.roots(first[part]) != self.forest.roots(second[part])
            left, right = first[part][is_apart], second[part][is_apart]
            distances = self.space.exact_distances(
                self.space.rows(left), self.space.rows(right)
            )
            is_near = distances <= self.threshold
            self.forest.unite(left[is_near], right[is_near])


def _near(
    queries: Float32, rows: Float32, limits: Float32
) -> tuple[Positions, Positions]:
    """Return the pairs whose score, less the query's square, is within its limit.

    The last column of the rows is their square.
    """
    ones = np.ones((len(queries), 1), dtype=np.float32)
    scores = np.hstack([np.float32(-2.0) * queries, ones]) @ rows.T
    # Not above, rather than below: what is not a number has to be measured.
    near = np.flatnonzero(~(scores > limits[:, None]))
    return near // len(rows), near % len(rows)
