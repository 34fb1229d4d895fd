"""What the lists of a search were tuned for, and what is unlike that."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float32, Positions
from latentsk.index._inverted_lists import InvertedLists
from latentsk.persistence import _schema as rules
from latentsk.persistence._registry import storable

# Share of the rows beyond what is called usual, on either side.
UNUSUAL_SHARE = 0.0005
# Lists among which the distances to the nearest and the farthest are compared.
RANKED_LISTS = 16
# Squared distance to the nearest centre, in those of the farthest usual rows, from
# which a row is kept apart.
APART = 4.0
# How many rows may have come or gone where a query looks, as shares.
FEWEST, MOST = 0.7, 1.5
# What is promised where no recall was asked for.
DEFAULT_TARGET = 0.95
# Squared distances are float32.
LARGEST_SQUARE = 1e39

_SQUARE = rules.number(0, LARGEST_SQUARE)


@storable(
    {
        "target": rules.number(0, 1),
        "near": _SQUARE,
        "far": _SQUARE,
        "contrast": _SQUARE,
        "apart": _SQUARE,
        "sizes": rules.integers("lists", dtypes={"int64"}),
    }
)
class Usual(NamedTuple):
    """What lists were tuned for: elsewhere a search has to look at more.

    Attributes
    ----------
    target : float
        Recall that is promised.

    near, far : float
        Squared distances to the nearest centre between which nearly all rows lie.

    contrast : float
        How much farther the last of some centres is, at least, than the nearest one, in
        squared distances.

    apart : float
        Squared distance to the nearest centre beyond which rows are kept apart.

    sizes : ndarray of shape (n_lists,), int64
        Number of rows in each list.
    """

    target: float
    near: float
    far: float
    contrast: float
    apart: float
    sizes: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        lists: InvertedLists,
        squares: Float32,
        sample: Float32,
        target: float | None,
    ) -> Usual:
        """Return what is usual for lists as they are.

        Parameters
        ----------
        lists : InvertedLists

        squares : ndarray of shape (n_rows,), float32
            Squared distances from the rows to the nearest centre.

        sample : ndarray of shape (n_sample, n_codes), float32
            Some of the rows.

        target : float or None
        """
        squares = squares[np.isfinite(squares)].astype(np.float64)
        shares = [UNUSUAL_SHARE, 1.0 - UNUSUAL_SHARE, 1.0]
        near, far, farthest = np.quantile(squares, shares) if len(squares) else (0,) * 3
        distances, _ = lists.nearest(sample, min(RANKED_LISTS, lists.n_lists))
        contrasts = (distances[:, -1] - distances[:, 0]).astype(np.float64)
        contrast = np.quantile(contrasts, UNUSUAL_SHARE) if len(contrasts) else 0
        return cls(
            DEFAULT_TARGET if target is None else target,
            float(near),
            float(far),
            float(contrast),
            float(min(farthest, APART * far)),
            lists.n_live[:-1].astype(np.int64),
        )

    @property
    def n_ranked(self) -> int:
        """Number of lists whose distances tell whether a query is unusual."""
        return min(RANKED_LISTS, len(self.sizes))

    def is_unusual(self, squares: Float32) -> NDArray[np.bool_]:
        """Tell which queries are unlike the rows.

        Parameters
        ----------
        squares : ndarray of shape (n_queries, n_ranked or more), float32
            Squared distances to the nearest centres, ascending.
        """
        nearest, last = squares[:, 0], squares[:, self.n_ranked - 1]
        is_usual = (nearest >= self.near) & (nearest <= self.far)
        return ~(is_usual & (last - nearest >= self.contrast))

    def have_changed(self, sizes: Positions, near: Positions) -> NDArray[np.bool_]:
        """Tell whether rows have come or gone in the lists that queries look at.

        Parameters
        ----------
        sizes : ndarray of shape (n_lists + 1,)
            Number of rows in each list now.

        near : ndarray of shape (n_queries, n_probe)
            The lists.
        """
        ratios = sizes[:-1] / np.maximum(self.sizes, 1)
        if ratios.min() >= FEWEST and ratios.max() <= MOST:
            return np.zeros(len(near), dtype=bool)
        before, now = self.sizes[near].sum(axis=1), sizes[near].sum(axis=1)
        return (now < FEWEST * before) | (now > MOST * before)
