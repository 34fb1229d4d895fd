"""Groups of rows that are nearer to each other than a threshold, exactly.

Rows are duplicates if their distance is at most the threshold, and so is what hangs
together through them (single linkage). All pairs are joined through the Voronoi cells
of some sampled rows, the *centres*. Between the cells of the centres ``c`` and ``e``
lies the hyperplane of the points as far from one as from the other. Two rows on its two
sides are at least as far apart as their distances to it, ``h``, together: a row of one
cell has to *visit* the other only if its ``h`` and the smallest ``h`` over there are
within the threshold. Where a row lies on the wrong side, ``h`` is negative, and the
bound holds all the same; so it does not matter how rows were assigned to cells.

Inside a cell, rows are compared relative to its centre in float32, with the error bound
of that; what it lets through is measured in float64. Rows that are in one group already
are compared no more, which is what bounds the work where thousands of rows are alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from latentsk._typing import Positions
from latentsk.index._rounding import product_error, score_bound
from latentsk.index._space import Float64, MetricSpace, euclidean

# Scores of a block of float32 or float64: they stay in the processor's cache.
BLOCK_SCORES = 2**18
# Elements of rows converted to float64, or of pairs measured, at a time (16 MB).
ROW_ELEMENTS = 2**21
# Bytes of the table that tells which rows visit which cells.
VISIT_BYTES = 2**26
# Cells, over the root of the number of rows; and at most, for the table of all pairs.
CELLS_PER_ROOT = 2.0
MOST_CELLS = 4096
# Cells joined until paths to the first rows of groups are shortened.
FLATTEN_EVERY = 64
# Far above the rounding of a distance in float64, far below what costs anything.
MARGIN = 1.0 + 1e-9
# Under cosine, squares of shorter differences vanish, and the distance is zero.
SHORTEST_COSINE_CHORD = 1e-150
# Rows are scaled up to one, but not from below 2**-500.
SMALLEST_EXPONENT = 500
# Directions of shorter differences are lost to underflow.
SHORTEST_GAP = 1e-140


def duplicate_groups(
    space: MetricSpace, threshold: float, alive: NDArray[np.bool_] | None = None
) -> Positions:
    """Return the group of each row that has a duplicate.

    Two rows are duplicates if their distance, as float64 measures it, is at most the
    threshold; groups are the connected components of that relation.

    Parameters
    ----------
    space : MetricSpace
        The rows, under "euclidean" or "cosine". Under "cosine" a row of zeros is at
        distance 1 from every other row, other rows of zeros included.

    threshold : float
        Largest distance of duplicates; not negative.

    alive : ndarray of shape (n_rows,), dtype bool, or None
        Rows that take part; None for all.

    Returns
    -------
    labels : ndarray of shape (n_rows,)
        Number of the row's group, or -1 for rows without a duplicate and for those that
        are not alive. Groups are numbered in the order of their first rows.

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
    if alive is not None:
        positions = positions[alive]
    # Overflows are expected at the edges of float64, and underflows before.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        reach = _reach(space, threshold)
        zero = _without_direction(space, positions)
        if reach == np.inf or (threshold >= 1.0 and zero.any()):
            forest.unite(positions[1:], positions[:-1])
        else:
            _unite_near(forest, space, threshold, reach, positions[~zero])
    return forest.labels()


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


class _Cells(NamedTuple):
    """Rows by cell, each relative to the centre of its cell.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
        Positions, cell by cell.

    starts : ndarray of shape (n_cells + 1,)
        Where the cells begin in `rows` and `local`.

    centre_rows : ndarray of shape (n_cells,)
        Positions of the centres.

    centres : ndarray of shape (n_cells, n_features), float64, scaled

    radii : ndarray of shape (n_cells,), float64
        Distance of the farthest row from its centre.

    factors : ndarray of shape (n_cells,), float64
        Powers of two that bring radius and reach below one.

    local : ndarray of shape (n_rows, n_features + 1), float32
        Differences from the centre times the factor, and their squared lengths.
    """

    rows: Positions
    starts: Positions
    centre_rows: Positions
    centres: Float64
    radii: Float64
    factors: Float64
    local: NDArray[np.float32]

    def part(self, cell: int) -> slice:
        return slice(self.starts[cell], self.starts[cell + 1])

    def differences(self, cell: int) -> NDArray[np.float32]:
        return self.local[self.part(cell), :-1]


def _reach(space: MetricSpace, threshold: float) -> float:
    """Return a Euclidean length of scaled rows that no pair of duplicates exceeds."""
    if space.metric == "cosine":
        if threshold >= 2.0:
            return np.inf
        return float(np.sqrt(2.0 * threshold)) * MARGIN + SHORTEST_COSINE_CHORD
    # The next number, as the smallest ones round by a good part of themselves.
    return float(np.nextafter(threshold * MARGIN, np.inf)) * space.scale


def _without_direction(space: MetricSpace, positions: Positions) -> NDArray[np.bool_]:
    zero = np.zeros(len(positions), dtype=bool)
    if space.metric == "cosine":
        for part in _slices(len(positions), space.n_features):
            zero[part] = ~space.vectors[positions[part]].any(axis=1)
    return zero


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
    join = _Join(forest, space, threshold, reach, _cells(space, positions, reach))
    for cell in range(join.n_cells):
        join.with_centre(cell)
    for cell in range(join.n_cells):
        join.inside(cell)
    for cell, visitors in _visits(join.cells, reach):
        if cell % FLATTEN_EVERY == 0:
            forest.flatten()
        join.across(cell, visitors)


# Equal rows


def _unite_copies(forest: Forest, space: MetricSpace, positions: Positions) -> None:
    """Unite rows that are equal, so that their pairs need no comparing.

    That all are found is likely, and no more: what is left is compared as other rows.
    """
    hashes = _hashes(space, positions)
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    for part in _slices(len(same), space.n_features):
        first, second = positions[order[same[part]]], positions[order[same[part] + 1]]
        equal = (space.rows(first) == space.rows(second)).all(axis=1)
        forest.unite(first[equal], second[equal])


def _hashes(space: MetricSpace, positions: Positions) -> NDArray[np.uint64]:
    rng = np.random.default_rng(0)
    keys = rng.integers(2**64, size=space.n_features, dtype=np.uint64) | np.uint64(1)
    hashes = np.empty(len(positions), dtype=np.uint64)
    for part in _slices(len(positions), space.n_features):
        # Adding zero makes -0.0 the same as 0.0.
        bits = (space.rows(positions[part]) + 0.0).view(np.uint64)
        # Numbers of few digits differ in the upper bits only; a product moves bits up.
        bits = (bits ^ (bits >> np.uint64(31))) * keys
        hashes[part] = (bits ^ (bits >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
    return hashes


# Cells


def _cells(space: MetricSpace, positions: Positions, reach: float) -> _Cells:
    """Cut rows into the cells of some of them."""
    n_cells = min(MOST_CELLS, math.ceil(CELLS_PER_ROOT * math.sqrt(len(positions))))
    rng = np.random.default_rng(0)
    centre_rows = rng.choice(positions, min(n_cells, len(positions)), replace=False)
    centres = _scaled(space, centre_rows)
    owners, distances = _nearest_centres(space, positions, centres)
    radii = np.zeros(len(centres))
    np.maximum.at(radii, owners, distances)
    factors = _unit_factors(radii + reach)
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(len(centres) + 1))
    local = _local(space, positions[order], centres, factors, owners[order])
    return _Cells(positions[order], starts, centre_rows, centres, radii, factors, local)


def _scaled(space: MetricSpace, positions: Positions) -> Float64:
    # Not moved by the mean: differences of the rows themselves are the exact ones.
    return space.rows(positions) * space.scale


def _nearest_centres(
    space: MetricSpace, positions: Positions, centres: Float64
) -> tuple[Positions, Float64]:
    """Return which centre each row is nearest to, up to rounding, and how far."""
    # In float64, for groups of rows that are far apart and narrow.
    mean = centres.mean(axis=0)
    moved = centres - mean
    columns = np.vstack([moved.T, -0.5 * np.sum(np.square(moved), axis=1)])
    owners = np.empty(len(positions), dtype=np.intp)
    distances = np.empty(len(positions))
    for part in _slices(len(positions), space.n_features):
        rows = _scaled(space, positions[part])
        moved = np.hstack([rows - mean, np.ones((len(rows), 1))])
        nearest = [
            (moved[block] @ columns).argmax(axis=1)
            for block in _slices(len(rows), len(centres), BLOCK_SCORES)
        ]
        owners[part] = np.concatenate(nearest)
        distances[part] = euclidean(rows, centres[owners[part]])
    return owners, distances


def _unit_factors(lengths: Float64) -> Float64:
    """Return powers of two that bring lengths below one, or not far above zero."""
    exponents = np.maximum(np.frexp(lengths)[1], -SMALLEST_EXPONENT)
    return np.ldexp(1.0, -exponents)


def _local(
    space: MetricSpace,
    positions: Positions,
    centres: Float64,
    factors: Float64,
    owners: Positions,
) -> NDArray[np.float32]:
    local = np.empty((len(positions), space.n_features + 1), dtype=np.float32)
    for part in _slices(len(positions), space.n_features):
        rows = _scaled(space, positions[part]) - centres[owners[part]]
        rows *= factors[owners[part], None]
        local[part, :-1] = rows
        local[part, -1] = np.sum(np.square(rows), axis=1)
    return local


# Which rows can be near to rows of other cells


def _visits(cells: _Cells, reach: float) -> Iterator[tuple[int, Positions]]:
    """Yield each cell with the rows of later cells that may be near to rows of it."""
    n_cells, n_rows = len(cells.radii), len(cells.rows)
    gaps = _gaps(cells)
    step = max(1, VISIT_BYTES // n_rows)
    for first in range(0, n_cells, step):
        hosts = np.arange(first, min(first + step, n_cells))
        table = np.zeros((len(hosts), n_rows), dtype=bool)
        for cell in range(first + 1, n_cells):
            _enter_visits(table, cells, cell, hosts[hosts < cell], gaps, reach)
        for host, row in zip(hosts, table, strict=True):
            yield int(host), cells.rows[row]


def _gaps(cells: _Cells) -> Float64:
    """Return how far each cell at least stays from its bisectors with the others.

    Negative where rows lie beyond; infinite for a cell without rows.
    """
    gaps = np.empty((len(cells.radii),) * 2)
    everyone = np.arange(len(cells.radii))
    for cell in range(len(everyone)):
        halves, directions = _bisectors(cells, cell, everyone)
        farthest = np.full(len(everyone), -np.inf)
        differences = cells.differences(cell)
        for block in _slices(len(differences), len(everyone), BLOCK_SCORES):
            along = differences[block] @ directions.T
            np.maximum(farthest, along.max(axis=0), out=farthest)
        error = _projection_error(cells, cell)
        gaps[cell] = halves - (farthest + error) / cells.factors[cell]
    return gaps


def _enter_visits(
    table: NDArray[np.bool_],
    cells: _Cells,
    cell: int,
    hosts: Positions,
    gaps: Float64,
    reach: float,
) -> None:
    """Mark the rows of a cell that may be near to rows of the hosts."""
    active = np.flatnonzero(gaps[cell, hosts] + gaps[hosts, cell] <= reach)
    if len(active) == 0:
        return
    halves, directions = _bisectors(cells, cell, hosts[active])
    least = (halves - (reach - gaps[hosts[active], cell])) * cells.factors[cell]
    least -= _projection_error(cells, cell)
    least = np.nextafter(least.astype(np.float32), np.float32(-np.inf))
    part, differences = cells.part(cell), cells.differences(cell)
    for block in _slices(len(differences), len(active), BLOCK_SCORES):
        along = directions @ differences[block].T
        rows = slice(part.start + block.start, part.start + block.stop)
        table[active, rows] = along >= least[:, None]


def _bisectors(
    cells: _Cells, cell: int, others: Positions
) -> tuple[Float64, NDArray[np.float32]]:
    """Return half the distances to other centres, and the directions to them.

    Zeros where the centres are too near to each other for a direction, which makes a
    bound that always holds.
    """
    directions = cells.centres[others] - cells.centres[cell]
    gaps = np.sqrt(np.sum(np.square(directions), axis=1))
    lost = gaps < SHORTEST_GAP
    gaps[lost], directions[lost] = 0.0, 0.0
    directions /= np.where(lost, 1.0, gaps)[:, None]
    return 0.5 * gaps, directions.astype(np.float32)


def _projection_error(cells: _Cells, cell: int) -> float:
    """Return the error of a scaled projection of a row of the cell on a direction."""
    longest = np.array(cells.radii[cell] * cells.factors[cell])
    n_features = cells.centres.shape[1]
    return float(product_error(longest, 1.0 + 1e-6, n_features, np.float32))


# Comparing


class _Join(NamedTuple):
    """What it takes to compare rows and to unite them."""

    forest: Forest
    space: MetricSpace
    threshold: float
    reach: float
    cells: _Cells

    @property
    def n_cells(self) -> int:
        return len(self.cells.radii)

    def with_centre(self, cell: int) -> None:
        """Compare a centre with the rows of its cell, and with later centres.

        Where the threshold is large, this unites most of what is near.
        """
        cells = self.cells
        later = slice(cell + 1, None)
        lengths = euclidean(cells.centres[cell], cells.centres[later])
        squares = cells.local[cells.part(cell), -1]
        near = [
            cells.centre_rows[later][lengths <= self.reach * MARGIN],
            cells.rows[cells.part(cell)][squares <= self._limits(cell, np.zeros(1))],
        ]
        others = np.concatenate(near)
        self._measure(np.full(len(others), cells.centre_rows[cell]), others)

    def inside(self, cell: int) -> None:
        """Compare the rows of a cell."""
        rows, local = self._cell(cell)
        known = self.forest.roots(rows) == self._commonest_group(rows)
        # The commonest group last: its rows need no comparing with each other.
        order = np.argsort(known, kind="stable")
        rows, local = rows[order], local[order]
        n_queries = len(rows) - int(np.count_nonzero(known))
        for block in _slices(n_queries, len(rows), BLOCK_SCORES):
            limits = self._limits(cell, local[block, -1].astype(np.float64))
            # Each pair once.
            later = slice(block.start, None)
            near = _near(local[block, :-1], local[later], limits)
            self._measure(rows[block][near[0]], rows[later][near[1]])

    def across(self, cell: int, visitors: Positions) -> None:
        """Compare rows of other cells with those of a cell."""
        rows, local = self._cell(cell)
        group = self._commonest_group(rows)
        # Now, before it grows: all pairs but those of two known rows are compared.
        known_rows = self.forest.roots(rows) == group
        known = self.forest.roots(visitors) == group
        self._receive(cell, visitors[~known], rows, local)
        if known.any():
            self._receive(cell, visitors[known], rows[~known_rows], local[~known_rows])

    def _cell(self, cell: int) -> tuple[Positions, NDArray[np.float32]]:
        part = self.cells.part(cell)
        return self.cells.rows[part], self.cells.local[part]

    def _commonest_group(self, rows: Positions) -> int:
        """Return the first row of the group that has the most of some rows; or -1."""
        groups, counts = np.unique(self.forest.roots(rows), return_counts=True)
        return int(groups[np.argmax(counts)]) if len(rows) else -1

    def _receive(
        self,
        cell: int,
        visitors: Positions,
        rows: Positions,
        local: NDArray[np.float32],
    ) -> None:
        """Compare visitors with some rows of a cell."""
        for part in _slices(len(visitors) if len(rows) else 0, self.space.n_features):
            guests, differences, squares = self._near_cell(cell, visitors[part])
            limits = self._limits(cell, squares)
            for block in _slices(len(guests), len(rows), BLOCK_SCORES):
                near = _near(differences[block], local, limits[block])
                self._measure(guests[block][near[0]], rows[near[1]])

    def _near_cell(
        self, cell: int, visitors: Positions
    ) -> tuple[Positions, NDArray[np.float32], Float64]:
        """Return the visitors that the cell's radius lets in, relative to its centre.

        With the squares of their distances from it.
        """
        cells, factor = self.cells, self.cells.factors[cell]
        differences = _scaled(self.space, visitors) - cells.centres[cell]
        differences *= factor
        squares = np.sum(np.square(differences), axis=1)
        farthest = (cells.radii[cell] + self.reach) * factor
        near = squares <= farthest**2 * MARGIN
        return visitors[near], differences[near].astype(np.float32), squares[near]

    def _limits(self, cell: int, squares: Float64) -> NDArray[np.float32]:
        """Return what the score of a near row is at most, less the query's square."""
        reach = np.square(self.reach * self.cells.factors[cell])
        # One feature more: the row's square takes part in the product.
        width = self.space.n_features + 1
        bounds = score_bound(reach, np.sqrt(squares), width, np.float32) - squares
        return np.nextafter(bounds.astype(np.float32), np.float32(np.inf))

    def _measure(self, first: Positions, second: Positions) -> None:
        """Unite pairs of rows that are within the threshold."""
        step = max(1, ROW_ELEMENTS // self.space.n_features)
        n_parts = math.ceil(len(first) / step)
        for start in range(n_parts):
            # From all over, so that the first parts unite most rows.
            part = slice(start, None, n_parts)
            apart = self.forest.roots(first[part]) != self.forest.roots(second[part])
            left, right = first[part][apart], second[part][apart]
            values = self.space.measured(self.space.rows(left), self.space.rows(right))
            near = values <= self.threshold
            self.forest.unite(left[near], right[near])


def _near(
    queries: NDArray[np.float32],
    rows: NDArray[np.float32],
    limits: NDArray[np.float32],
) -> tuple[Positions, Positions]:
    """Return the pairs whose score, less the query's square, is within its limit.

    The last column of the rows is their square.
    """
    ones = np.ones((len(queries), 1), dtype=np.float32)
    scores = np.hstack([np.float32(-2.0) * queries, ones]) @ rows.T
    # Not above, rather than below: what is not a number has to be measured.
    near = np.flatnonzero(~(scores > limits[:, None]))
    return near // len(rows), near % len(rows)


def _slices(n_rows: int, width: int, elements: int = ROW_ELEMENTS) -> Iterator[slice]:
    """Cut rows so that `elements` are not exceeded, with so many for each row."""
    step = max(1, elements // max(1, width))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
