"""What the lists of a search were tuned for, and what is unlike that."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float32, Float64, Positions
from latentsk.persistence import _schema as rules
from latentsk.persistence._registry import storable

# Share of the rows beyond what is called usual, and easy, by each measure.
UNUSUAL_SHARE, HARD_SHARE = 0.0005, 0.1
# Which limits: of what is usual, and of what is easy.
USUAL, HARD = 0, 1
# Standard errors, and queries, by which more may be hard among queries like the rows.
ERRORS, FEW = 4.0, 4
# Lists among which the distances to the nearest and the farthest are compared.
RANKED_LISTS = 16
# Squared distance from which a row is kept apart, in those of the farthest usual rows.
APART = 4.0
# How many rows may have come or gone where a query looks, as shares of what there was
# and beside the others; and how many may have come where it is hard.
FEWEST, MOST, MOST_WHERE_HARD = 0.7, 1.5, 1.05
# What is promised where no recall was asked for.
DEFAULT_TARGET = 0.95
_PAIR = rules.floats(2, dtypes={"float64"})


class Measures(NamedTuple):
    """How queries, or rows, lie to the lists.

    Attributes
    ----------
    nearest : ndarray of shape (n,), float32
        Squared distance to the nearest centre; of inner products what stands for that,
        whatever the length.

    contrasts : ndarray of shape (n,), float32
        By how much the last of some centres is farther, squared.

    rests : ndarray of shape (n,), float32
        What the projection leaves out, squared.
    """

    nearest: Float32
    contrasts: Float32
    rests: Float32


@storable(
    {
        "target": rules.number(0, 1),
        "near": _PAIR,
        "far": _PAIR,
        "contrast": _PAIR,
        "rest": _PAIR,
        "hard_share": rules.number(0, 1),
        "apart": _PAIR,
        "sizes": rules.integers("lists", dtypes={"int64"}),
    }
)
class Usual(NamedTuple):
    """What lists were tuned for: elsewhere a search has to look at more.

    Attributes
    ----------
    target : float
        Recall that is promised.

    near, far, contrast, rest : ndarrays of shape (2,), float64
        Limits of what is usual, and of what is easy: see `Measures`.

    hard_share : float
        Of the rows, as queries, that are not easy.

    apart : ndarray of shape (2,), float64
        Squared distances to the nearest centre, and to the projection, beyond which
        rows are kept apart.

    sizes : ndarray of shape (n_lists,), int64
        Number of rows in each list.
    """

    target: float
    near: Float64
    far: Float64
    contrast: Float64
    rest: Float64
    hard_share: float
    apart: Float64
    sizes: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        sizes: Positions,
        measures: Measures,
        nearest: Float32,
        rests: Float32,
        target: float | None,
    ) -> Usual:
        """Return what is usual.

        Parameters
        ----------
        sizes : ndarray of shape (n_lists,)
            Number of rows in each list.

        measures : Measures
            Of some of the rows, as queries.

        nearest, rests : ndarrays of shape (n_rows,), float32
            Of the rows: see `Measures`.

        target : float or None
        """
        low = np.array([UNUSUAL_SHARE, HARD_SHARE])
        usual = cls(
            DEFAULT_TARGET if target is None else target,
            _quantiles(measures.nearest, low),
            _quantiles(measures.nearest, 1.0 - low),
            _quantiles(measures.contrasts, low),
            _quantiles(measures.rests, 1.0 - low),
            0.0,
            np.array([_farthest(nearest), _farthest(rests)]),
            sizes.astype(np.int64),
        )
        is_hard = usual.are_beyond(measures, HARD)
        return usual._replace(hard_share=float(is_hard.mean()) if len(is_hard) else 1.0)

    @property
    def n_ranked(self) -> int:
        """Number of lists whose distances tell whether a query is unusual."""
        return min(RANKED_LISTS, len(self.sizes))

    def are_beyond(self, measures: Measures, which: int) -> NDArray[np.bool_]:
        """Tell which queries are unusual (0), or hard (1)."""
        nearest, contrasts, rests = measures
        is_within = (nearest >= self.near[which]) & (nearest <= self.far[which])
        is_within &= (contrasts >= self.contrast[which]) & (rests <= self.rest[which])
        return ~is_within

    def are_too_many(self, is_hard: NDArray[np.bool_]) -> bool:
        """Tell whether more queries are hard than chance lets be among rows."""
        n_queries, share = len(is_hard), self.hard_share
        error = np.sqrt(n_queries * share * (1.0 - share))
        return bool(is_hard.sum() > n_queries * share + ERRORS * error + FEW)

    def have_changed(
        self, sizes: Positions, near: Positions, is_hard: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Tell whether rows have come or gone in the lists that queries look at.

        Parameters
        ----------
        sizes : ndarray of shape (n_lists,)
            Number of rows in each list now.

        near : ndarray of shape (n_queries, n_probe)
            The lists.

        is_hard : ndarray of shape (n_queries,), dtype bool
        """
        if np.array_equal(sizes, self.sizes):
            return np.zeros(len(near), dtype=bool)
        ratios = sizes[near].sum(axis=1) / np.maximum(1, self.sizes[near].sum(axis=1))
        growth = max(1.0, sizes.sum() / max(1, self.sizes.sum()))
        has_grown = (ratios > MOST * growth) | ((ratios > MOST_WHERE_HARD) & is_hard)
        return has_grown | (ratios < FEWEST)


def _farthest(squares: Float32) -> float:
    """Return the largest of squared distances, of which few are out of all scale."""
    largest, usual = _quantiles(squares, np.array([1.0, 1.0 - UNUSUAL_SHARE]))
    return float(min(largest, APART * usual))


def _quantiles(values: Float32, shares: Float64) -> Float64:
    values = values[np.isfinite(values)].astype(np.float64)
    return np.quantile(values, shares) if len(values) else np.zeros(len(shares))
