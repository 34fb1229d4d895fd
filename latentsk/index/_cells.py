"""Voronoi cells of rows, and which rows may be near to rows of other cells.

Between the cells of the centres ``c`` and ``e`` lies the hyperplane of the points as
far from one as from the other. Two rows on its two sides are at least as far apart as
their distances to it, ``h``, together: a row of one cell has to be compared with the
other only if its ``h`` and the smallest ``h`` over there are within the reach. Where a
row lies on the wrong side, ``h`` is negative, and the bound holds all the same; so it
does not matter how rows were assigned to cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._typing import Float32, Float64, Positions
from latentsk.index._metric import MetricSpace, euclidean
from latentsk.index._rounding import product_error

# Scores of a block of float32 or float64: they stay in the processor's cache.
BLOCK_SCORES = 2**18
# Elements of rows converted to float64 at a time (16 MB).
ROW_ELEMENTS = 2**21
# Bytes of the table that tells which rows are compared with which cells.
TABLE_BYTES = 2**26
# Cells, over the root of the number of rows; and at most, for the table of all pairs.
CELLS_PER_ROOT = 2.0
MOST_CELLS = 4096
# Cells are scaled up to one, but not from below 2**-500.
SMALLEST_EXPONENT = 500
# Directions of shorter differences are lost to underflow.
SHORTEST_GAP = 1e-140


class Cells(NamedTuple):
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

    reach : float
        Scaled distance within which rows are looked for.
    """

    rows: Positions
    starts: Positions
    centre_rows: Positions
    centres: Float64
    radii: Float64
    factors: Float64
    local: Float32
    reach: float

    @classmethod
    def of(cls, space: MetricSpace, positions: Positions, reach: float) -> Cells:
        """Cut rows into the cells of some of them."""
        n_cells = min(MOST_CELLS, math.ceil(CELLS_PER_ROOT * math.sqrt(len(positions))))
        rng = np.random.default_rng(0)
        centre_rows = rng.choice(positions, min(n_cells, len(positions)), replace=False)
        centres = scaled_rows(space, centre_rows)
        owners, distances = _nearest_centres(space, positions, centres)
        radii = np.zeros(len(centres))
        np.maximum.at(radii, owners, distances)
        factors = _unit_factors(radii + reach)
        order = np.argsort(owners, kind="stable")
        rows, owners = positions[order], owners[order]
        starts = np.searchsorted(owners, np.arange(len(centres) + 1))
        local = _local(space, rows, centres, factors, owners)
        return cls(rows, starts, centre_rows, centres, radii, factors, local, reach)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.radii)

    def part(self, cell: int) -> slice:
        """Return where the rows of a cell are."""
        return slice(self.starts[cell], self.starts[cell + 1])

    def differences(self, cell: int) -> Float32:
        """Return the scaled differences of a cell's rows from its centre."""
        return self.local[self.part(cell), :-1]


def scaled_rows(space: MetricSpace, positions: Positions) -> Float64:
    """Return rows scaled to about one, but not shifted: differences stay exact."""
    return space.rows(positions) * space.rescaling.scale


def _nearest_centres(
    space: MetricSpace, positions: Positions, centres: Float64
) -> tuple[Positions, Float64]:
    """Return which centre each row is nearest to, up to rounding, and how far."""
    # In float64, for groups of rows that are far apart and narrow.
    mean = centres.mean(axis=0)
    centred = centres - mean
    columns = np.vstack([centred.T, -0.5 * np.sum(np.square(centred), axis=1)])
    owners = np.empty(len(positions), dtype=np.intp)
    distances = np.empty(len(positions))
    for part in row_slices(len(positions), space.n_features, ROW_ELEMENTS):
        rows = scaled_rows(space, positions[part])
        extended = np.hstack([rows - mean, np.ones((len(rows), 1))])
        nearest = [
            (extended[block] @ columns).argmax(axis=1)
            for block in row_slices(len(rows), len(centres), BLOCK_SCORES)
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
) -> Float32:
    local = np.empty((len(positions), space.n_features + 1), dtype=np.float32)
    for part in row_slices(len(positions), space.n_features, ROW_ELEMENTS):
        rows = scaled_rows(space, positions[part]) - centres[owners[part]]
        rows *= factors[owners[part], None]
        local[part, :-1] = rows
        local[part, -1] = np.sum(np.square(rows), axis=1)
    return local


def pairs_to_compare(cells: Cells) -> Iterator[tuple[int, Positions]]:
    """Yield each cell with the rows of later cells that may be near to rows of it.

    Parameters
    ----------
    cells : Cells

    Yields
    ------
    target_cell : int
    query_rows : ndarray of shape (n_rows,)
        Positions.
    """
    n_cells, n_rows = cells.n_cells, len(cells.rows)
    gaps = _gaps(cells)
    for part in row_slices(n_cells, n_rows, TABLE_BYTES):
        target_cells = np.arange(part.start, part.stop)
        table = np.zeros((len(target_cells), n_rows), dtype=bool)
        for cell in range(part.start + 1, n_cells):
            _mark(table, cells, cell, target_cells[target_cells < cell], gaps)
        for target, row in zip(target_cells, table, strict=True):
            yield int(target), cells.rows[row]


def _gaps(cells: Cells) -> Float64:
    """Return how far each cell at least stays from its bisectors with the others.

    Negative where rows lie beyond; infinite for a cell without rows.
    """
    n_cells = cells.n_cells
    everyone = np.arange(n_cells)
    gaps = np.empty((n_cells, n_cells))
    for cell in range(n_cells):
        halves, directions = _bisectors(cells, cell, everyone)
        farthest = np.full(n_cells, -np.inf)
        differences = cells.differences(cell)
        for block in row_slices(len(differences), n_cells, BLOCK_SCORES):
            along = differences[block] @ directions.T
            np.maximum(farthest, along.max(axis=0), out=farthest)
        error = _projection_error(cells, cell)
        gaps[cell] = halves - (farthest + error) / cells.factors[cell]
    return gaps


def _mark(
    table: NDArray[np.bool_],
    cells: Cells,
    cell: int,
    target_cells: Positions,
    gaps: Float64,
) -> None:
    """Mark the rows of a cell that may be near to rows of the target cells."""
    reach = cells.reach
    near = np.flatnonzero(gaps[cell, target_cells] + gaps[target_cells, cell] <= reach)
    if len(near) == 0:
        return
    halves, directions = _bisectors(cells, cell, target_cells[near])
    least = (halves - (reach - gaps[target_cells[near], cell])) * cells.factors[cell]
    least -= _projection_error(cells, cell)
    least = np.nextafter(least.astype(np.float32), np.float32(-np.inf))
    start, differences = cells.starts[cell], cells.differences(cell)
    for block in row_slices(len(differences), len(near), BLOCK_SCORES):
        along = directions @ differences[block].T
        rows = slice(start + block.start, start + block.stop)
        table[near, rows] = along >= least[:, None]


def _bisectors(cells: Cells, cell: int, others: Positions) -> tuple[Float64, Float32]:
    """Return half the distances to other centres, and the directions to them.

    Zeros where the centres are too near to each other for a direction, which makes a
    bound that always holds.
    """
    directions = cells.centres[others] - cells.centres[cell]
    gaps = np.sqrt(np.sum(np.square(directions), axis=1))
    is_lost = gaps < SHORTEST_GAP
    gaps[is_lost], directions[is_lost] = 0.0, 0.0
    directions /= np.where(is_lost, 1.0, gaps)[:, None]
    return 0.5 * gaps, directions.astype(np.float32)


def _projection_error(cells: Cells, cell: int) -> float:
    """Return the error of a scaled projection of a row of the cell on a direction."""
    longest = np.array(cells.radii[cell] * cells.factors[cell])
    n_features = cells.centres.shape[1]
    return float(product_error(longest, 1.0 + 1e-6, n_features, np.float32))
