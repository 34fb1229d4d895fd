"""Scores of rows in float32 or float64, and how far they can be from the truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._typing import Float32, Float64, Positions
from latentsk.index._candidates import BLOCK_ROWS, score_blocks
from latentsk.index._fast_rows import FastRows, squared_norms
from latentsk.index._metric import MetricSpace, lengths
from latentsk.index._rounding import may_overflow, product_error, score_bound

# Steps of a lattice that are looked for: powers of two, at least this one.
SMALLEST_EXPONENT = -10
# Up to it float32 holds every integer.
LARGEST_INTEGER = 2.0**24
# Rows that are looked at first.
FIRST_ROWS = 2**9


class Scoring:
    """Scores of the rows of a space.

    Parameters
    ----------
    space : MetricSpace
        The rows.

    fast : FastRows
        The same in float32.
    """

    def __init__(self, space: MetricSpace, fast: FastRows) -> None:
        self.space = space
        self.fast = fast
        # Of the lattice that all rows lie on; 0 for none, None until it is asked for.
        self._step: float | None = None

    def scores(
        self, queries: Float64, eligible: Positions | None, dtype: Any
    ) -> NDArray[Any]:
        """Return the scores of eligible rows, with the queries' own norms.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            Vectors of the space.

        eligible : ndarray of shape (n_eligible,) or None
            Positions; None: all rows.

        dtype : dtype
            In which scores are computed.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_eligible)
        """
        n_eligible = len(self.fast) if eligible is None else len(eligible)
        rescaled = self.space.rescaled(queries, dtype)
        scores = np.empty((len(rescaled), n_eligible), dtype=dtype)
        for part in row_slices(n_eligible, self.space.n_features):
            which = part if eligible is None else eligible[part]
            rows, norms = self._rescaled_rows(which, dtype)
            for start, block in score_blocks(rescaled, rows, norms):
                first = part.start + start
                scores[:, first : first + block.shape[1]] = block
        if not self.space.is_similarity:
            scores += np.sum(rescaled * rescaled, axis=1)[:, None]
        return scores

    def _rescaled_rows(self, which: Any, dtype: Any) -> tuple[Any, Any]:
        if dtype == np.float32:
            norms = self.fast.norms
            return self.fast[which], None if norms is None else norms[which]
        rows = self.space.rescaled(self.space.rows(which), dtype)
        return rows, None if self.space.is_similarity else squared_norms(rows)

    # Bounds

    def highest(self, queries: Float64, values: Float64, dtype: Any) -> Float64:
        """Return what the computed score of a row with this value is at most.

        Infinity where a score could overflow, and nothing is known.
        """
        norms = self._query_norms(queries)
        scores, width = self.space.to_score(values), self.space.n_features
        if self.space.is_similarity:
            bound = scores + product_error(norms, self.fast.largest_norm, width, dtype)
        else:
            bound = score_bound(scores, norms, width, dtype)
        is_lost = may_overflow(norms, self.fast.largest_norm, dtype)
        return np.where(is_lost, np.inf, bound)

    def may_overflow(self, queries: Float64, dtype: Any) -> NDArray[np.bool_]:
        """Tell for which queries a score could exceed the dtype."""
        norms = self._query_norms(queries)
        return may_overflow(norms, self.fast.largest_norm, dtype)

    def _query_norms(self, queries: Float64) -> Float64:
        return lengths(self.space.rescaled(queries, np.float64))

    # Without rounding

    def is_exact(self, queries: Float64) -> NDArray[np.bool_]:
        """Tell for which queries the scores in float32 are not rounded.

        Where rows and query lie on a lattice: counts, indicators, pixels.
        """
        if self.space.metric == "cosine":
            return np.zeros(len(queries), dtype=bool)
        if self._step is None:
            self._step = self._lattice_step()
        if self._step == 0.0:
            return np.zeros(len(queries), dtype=bool)
        rescaled = self.space.rescaled(queries, np.float64)
        squares = np.square(lengths(rescaled) + self.fast.largest_norm)
        is_exact = squares <= LARGEST_INTEGER * self._step**2
        scaled = rescaled / self._step
        is_exact &= (np.rint(scaled) == scaled).all(axis=1)
        return np.asarray(is_exact)

    def first_at(
        self,
        queries: Float64,
        values: Float64,
        n_wanted: Positions,
        eligible: Positions | None,
        exclude: Positions | None,
    ) -> Positions:
        """Return the first rows at a distance, of queries whose scores are exact.

        Ties are common where there are any: few rows are looked at.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            Vectors of the space.

        values : ndarray of shape (n_queries,)
            The distances.

        n_wanted : ndarray of shape (n_queries,)
            How many rows to return; there are as many.

        eligible : ndarray of shape (n_eligible,) or None
            Positions, ascending; None: all rows.

        exclude : ndarray of shape (n_queries,) or None
            A position that is left out, per query.

        Returns
        -------
        positions : ndarray of shape (sum of n_wanted,)
            Query by query, ascending in each.
        """
        fast = self.space.rescaled(queries, np.float32)
        targets = self._exact_scores(fast, values)
        n_eligible = len(self.fast) if eligible is None else len(eligible)
        n_missing, active = n_wanted.copy(), np.arange(len(queries))
        found: list[tuple[Positions, Positions]] = []
        for part in _growing_slices(n_eligible):
            which: Any = part if eligible is None else eligible[part]
            rows, norms = self._rescaled_rows(which, np.float32)
            (_, scores), *_ = score_blocks(fast[active], rows, norms)
            numbers, columns = np.nonzero(scores == targets[active, None])
            near = part.start + columns if eligible is None else which[columns]
            hits = active[numbers]
            if exclude is not None:
                is_other = near != exclude[hits]
                hits, near = hits[is_other], near[is_other]
            ranks = np.arange(len(hits)) - np.searchsorted(hits, hits)
            is_missing = ranks < n_missing[hits]
            found.append((hits[is_missing], near[is_missing]))
            n_missing -= np.bincount(found[-1][0], minlength=len(queries))
            active = active[n_missing[active] > 0]
            if len(active) == 0:
                break
        by_query, near = (np.concatenate(some) for some in zip(*found, strict=True))
        return near[np.argsort(by_query, kind="stable")]

    def _exact_scores(self, queries: Float32, values: Float64) -> Float32:
        """Return the scores, without the queries' own norms, of rows at a distance."""
        scores = self.space.to_score(values)
        if not self.space.is_similarity:
            assert self._step
            # The root of an integer was rounded.
            unit = self._step**2
            scores = np.rint(scores / unit) * unit
            scores = scores - np.sum(np.square(queries, dtype=np.float64), axis=1)
        return scores.astype(np.float32)

    def _lattice_step(self) -> float:
        """Return the step of the lattice that all rows lie on; 0 for none."""
        step = _step_of(self.fast[:FIRST_ROWS])
        if step == 0.0:
            return 0.0
        parts = row_slices(*self.fast.shape)
        is_lattice = all(_is_on_lattice(self.fast[part], step) for part in parts)
        return step if is_lattice else 0.0

    # Changes

    def revise(self, changed: Positions) -> None:
        """Follow the rows, of which some are new or changed."""
        if self._step and not _is_on_lattice(self.fast[changed], self._step):
            self._step = 0.0


def _step_of(rows: Float32) -> float:
    """Return the largest step of a lattice that rows lie on; 0 for none."""
    for exponent in range(0, SMALLEST_EXPONENT - 1, -1):
        if _is_on_lattice(rows, 2.0**exponent):
            return float(2.0**exponent)
    return 0.0


def _is_on_lattice(rows: NDArray[Any], step: float) -> bool:
    scaled = rows * rows.dtype.type(1.0 / step)
    return bool((np.rint(scaled) == scaled).all())


def _growing_slices(n_rows: int) -> Iterator[slice]:
    """Cut rows into slices of which the first are short."""
    start, size = 0, FIRST_ROWS
    while start < n_rows:
        yield slice(start, min(start + size, n_rows))
        start, size = start + size, min(2 * size, BLOCK_ROWS)
