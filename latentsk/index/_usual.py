"""What the lists of a search were tuned for, and what is unlike that."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float32, Float64, Positions
from latentsk._warnings import warn
from latentsk.persistence import _schema as rules
from latentsk.persistence._registry import storable

# Share of the rows that are not easy, on either side of each measure, and by how much
# of their range an unusual query is beyond the last one.
HARD_SHARE, BEYOND = 0.1, 0.1
# Share of the rows that may be out of all scale.
STRANGE_SHARE = 0.0001
# Which limits: of what is usual, and of what is easy.
USUAL, HARD = 0, 1
# More queries than rows are hard, as centres follow the rows; and standard errors by
# which there may be still more.
SLACK, ERRORS = 1.2, 3.0
# Fewer queries do not show that more of them are hard.
MIN_QUERIES = 8
# Numbers of lists among which the distances to the nearest and the farthest are
# compared: the largest that a search ranks anyway.
RANKED_LISTS = (2, 4, 8, 16)
# Squared distance from which a row is kept apart, in those of the farthest usual rows.
APART = 4.0
# How many rows may have come or gone where a query looks, as shares of what there was
# and beside the others; and how many may have come where it is hard.
FEWEST, MOST, MOST_WHERE_HARD = 0.7, 1.5, 1.05
# What is looked for where no recall was asked for.
DEFAULT_TARGET = 0.95
# Squared distances are float32.
LARGEST_SQUARE = 1e39

_PAIR = rules.floats(2, dtypes={"float64"})


class Measures(NamedTuple):
    """How queries, or rows, lie to the lists.

    Attributes
    ----------
    nearest : ndarray of shape (n,), float32
        Squared distance to the nearest centre; of inner products what stands for that,
        whatever the length.

    contrasts : ndarray of shape (n, n_numbers), float32
        By how much the last of the nearest centres is farther, squared: for as many of
        `RANKED_LISTS` as there are.

    rests : ndarray of shape (n,), float32
        What the projection leaves out, squared.
    """

    nearest: Float32
    contrasts: Float32
    rests: Float32


@storable(
    {
        "target": rules.maybe(rules.number(0, 1)),
        "near": _PAIR,
        "far": _PAIR,
        "contrast": rules.floats(2, len(RANKED_LISTS), dtypes={"float64"}),
        "rest": _PAIR,
        "mean_rest": rules.number(0, LARGEST_SQUARE),
        "hard_shares": rules.floats(len(RANKED_LISTS) + 1, least=0, dtypes={"float64"}),
        "apart": _PAIR,
        "sizes": rules.integers("lists", dtypes={"int64"}),
    }
)
class Usual(NamedTuple):
    """What lists were tuned for: elsewhere a search has to look at more.

    Attributes
    ----------
    target : float or None
        Recall that is promised; None: nobody asked for one.

    near, far, rest : ndarrays of shape (2,), float64
        Limits of what is usual, and of what is easy: see `Measures`.

    contrast : ndarray of shape (2, 4), float64
        The same, by `RANKED_LISTS`.

    mean_rest : float
        Of the rows: see `Measures`.

    hard_shares : ndarray of shape (5,), float64
        Of the rows, as queries, that are not easy, by how many contrasts are known.

    apart : ndarray of shape (2,), float64
        Squared distances to the nearest centre, and to the projection, beyond which
        rows are kept apart.

    sizes : ndarray of shape (n_lists,), int64
        Number of rows in each list.
    """

    target: float | None
    near: Float64
    far: Float64
    contrast: Float64
    rest: Float64
    mean_rest: float
    hard_shares: Float64
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
        usual = cls(
            target,
            _lower_limits(measures.nearest),
            -_lower_limits(-measures.nearest),
            _contrast_limits(measures.contrasts),
            -_lower_limits(-measures.rests),
            float(_finite(rests).mean()),
            np.ones(len(RANKED_LISTS) + 1),
            np.array([_farthest(nearest), _farthest(rests)]),
            sizes.astype(np.int64),
        )
        for known in range(measures.contrasts.shape[1] + 1 if len(nearest) else 0):
            some = measures._replace(contrasts=measures.contrasts[:, :known])
            usual.hard_shares[known] = usual.are_beyond(some, HARD).mean()
        return usual

    @property
    def missed(self) -> float:
        """Share of the neighbours that may be missed."""
        return 1.0 - (DEFAULT_TARGET if self.target is None else self.target)

    def are_beyond(self, measures: Measures, which: int) -> NDArray[np.bool_]:
        """Tell which queries are unusual (0), or hard (1)."""
        nearest, contrasts, rests = measures
        is_within = (nearest >= self.near[which]) & (nearest <= self.far[which])
        is_within &= rests <= self.rest[which]
        last = contrasts.shape[1] - 1
        if last >= 0:
            is_within &= contrasts[:, last] >= self.contrast[which, last]
        return ~is_within

    def warn_of_many(self, is_hard: NDArray[np.bool_], measures: Measures) -> None:
        """Warn where more queries are hard than chance lets be among rows."""
        known = measures.contrasts.shape[1]
        share = min(1.0, SLACK * float(self.hard_shares[known]))
        error = math.sqrt(share * (1.0 - share) / len(is_hard))
        if self.target is not None and is_hard.mean() > share + ERRORS * error:
            warn_of_queries(self.target)

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
        # Of the nearest list, of the two nearest ones, and so on.
        before = np.cumsum(self.sizes[near], axis=1)
        ratios = np.cumsum(sizes[near], axis=1) / np.maximum(1, before)
        fewest, most = ratios.min(axis=1), ratios.max(axis=1)
        growth = max(1.0, sizes.sum() / max(1, self.sizes.sum()))
        has_grown = (most > MOST * growth) | ((most > MOST_WHERE_HARD) & is_hard)
        return has_grown | (fewest < FEWEST)


def warn_of_queries(target: float) -> None:
    """Warn that queries are unlike those that lists were tuned for."""
    warn(
        "Many of these queries are unlike the rows of the index, and more than "
        f"target_recall={target:g} allows may be missed. Ask "
        "measure_recall(queries) what is found. Raise target_recall, or set it "
        "to None to compare every row."
    )


def _farthest(squares: Float32) -> float:
    """Return the largest of squared distances, of which few are out of all scale."""
    largest, usual = _quantiles(squares, np.array([1.0, 1.0 - STRANGE_SHARE]))
    return float(min(largest, APART * usual))


def contrasts_of(distances: Float32) -> Float32:
    """Return by how much the last of the nearest centres is farther than the first.

    Parameters
    ----------
    distances : ndarray of shape (n_queries, n_lists), float32
        Squared, ascending.

    Returns
    -------
    contrasts : ndarray of shape (n_queries, n_numbers), float32
        For as many of `RANKED_LISTS` as there are lists.

    Examples
    --------
    >>> contrasts_of(np.array([[1.0, 2.0, 4.0, 8.0, 16.0]], np.float32))
    array([[1., 7.]], dtype=float32)
    """
    lasts = [number - 1 for number in RANKED_LISTS if number <= distances.shape[1]]
    return distances[:, lasts] - distances[:, :1]


def _contrast_limits(contrasts: Float32) -> Float64:
    limits = np.zeros((2, len(RANKED_LISTS)))
    for number, column in enumerate(contrasts.T):
        limits[:, number] = _lower_limits(column)
    return limits


def _lower_limits(values: Float32) -> Float64:
    """Return the values below which one is unusual, and hard."""
    least, hard = _quantiles(values, np.array([0.0, HARD_SHARE]))
    # A good way below the least one: others are still less by chance.
    return np.array([least - BEYOND * (hard - least), hard])


def _quantiles(values: NDArray[Any], shares: Float64) -> Float64:
    return np.quantile(_finite(values), shares)


def _finite(values: NDArray[Any]) -> Float64:
    """Return finite values, or a zero."""
    finite = values[np.isfinite(values)].astype(np.float64)
    return finite if len(finite) else np.zeros(1)
