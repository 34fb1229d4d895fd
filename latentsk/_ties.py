"""Thresholds for a share of rows where some of them have the same score."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._warnings import warn

# Scores of equal rows differ by some units in the last place where they are computed in
# batches of different sizes.
ROUNDING = 16.0
# What is not worth a warning: a share of the rows that are asked for, if above one row.
TOLERANCE = 1e-3


class Cut(NamedTuple):
    """A threshold among sorted scores, and the rows around it.

    Attributes
    ----------
    offset : float
        Rows with lower scores are flagged.
    n_flagged : int
        Number of these.
    n_tied : int
        Number of rows whose score is that at the quantile; 1 or less: no ties.
    """

    offset: float
    n_flagged: int
    n_tied: int


def cut_among_ties(
    ranked: NDArray[np.floating[Any]], quantile: float, share: float
) -> Cut:
    """Return the threshold that flags the share nearest to the requested one.

    Without ties at the quantile, that is the quantile. Rows that are tied there are
    flagged together or not at all, whichever is nearer to the requested share; if both
    are equally near, they are flagged only if no row would be otherwise. Where all
    rows are tied, none is. The threshold then lies halfway between them and the next
    score, so that rounding moves no row across.

    Parameters
    ----------
    ranked : ndarray of shape (n_rows,), dtype float32 or float64
        Scores in ascending order, higher = more normal. Ties are those to within 16
        units in the last place of their dtype.

    quantile : float
        The score below which the share lies where there are no ties.

    share : float in (0, 1)
        The share that is asked for.

    Returns
    -------
    cut : Cut

    Examples
    --------
    >>> cut_among_ties(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 2.0, 0.25)
    Cut(offset=2.0, n_flagged=1, n_tied=1)
    >>> cut_among_ties(np.array([1.0, 1.0, 3.0, 4.0, 5.0]), 1.0, 0.25)
    Cut(offset=2.0, n_flagged=2, n_tied=2)
    """
    n_rows, asked = len(ranked), share * len(ranked)
    noise = _noise(ranked, quantile)
    below = int(np.searchsorted(ranked, quantile - noise, side="left"))
    through = int(np.searchsorted(ranked, quantile + noise, side="right"))
    if through - below < 2 or not np.isfinite(noise):
        n_flagged = int(np.searchsorted(ranked, quantile, side="left"))
        return Cut(quantile, n_flagged, min(through - below, 1))
    nearer = round(2.0 * asked - below - through, 6)
    together = nearer > 0.0 or (nearer == 0.0 and below == 0)
    n_flagged = through if together and through < n_rows else below
    if n_flagged == 0:
        offset = max(float(ranked[0]) - noise, float(np.finfo(np.float64).min))
    else:
        offset = _between(ranked[n_flagged - 1], ranked[n_flagged])
    return Cut(offset, n_flagged, through - below)


def warn_of_ties(cut: Cut, n_rows: int, share: float, asked_with: str = "") -> None:
    """Warn if ties make the flagged share another than the requested one.

    By more than one row and more than a thousandth, or if no row is flagged although
    half of one or more is asked for.

    Parameters
    ----------
    cut : Cut

    n_rows : int
        Number of rows that are cut.

    share : float
        Requested share of them.

    asked_with : str, default=f"contamination={share:g}"
        What the user has written.
    """
    asked = share * n_rows
    tolerance = max(1.0, TOLERANCE * asked) if cut.n_flagged else 0.5 - 1e-6
    if cut.n_tied < 2 or round(abs(cut.n_flagged - asked), 6) <= tolerance:
        return
    flagged = f"{cut.n_flagged} (a share of {cut.n_flagged / n_rows:.2g}) are"
    warn(
        f"{asked_with or f'contamination={share:g}'} asks for {asked:.6g} of {n_rows} "
        "rows, but "
        f"{flagged if cut.n_flagged else 'none is'} flagged: {cut.n_tied} rows have "
        "the same score, and no threshold tells them apart."
    )


def _noise(ranked: NDArray[np.floating[Any]], quantile: float) -> float:
    """Return how far two scores at the quantile are apart that only rounding parts."""
    magnitude = max(abs(quantile), abs(float(ranked[len(ranked) // 2])))
    return ROUNDING * float(np.finfo(ranked.dtype).eps) * magnitude


def _between(low: np.floating[Any], high: np.floating[Any]) -> float:
    """Return a number above `low` and not above `high`, halfway if there is one.

    Of their dtype: a decision is the difference of a score and the threshold in it.
    """
    half = low.dtype.type(0.5)
    return float(max(half * low + half * high, np.nextafter(low, high)))
