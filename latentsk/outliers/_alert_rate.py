"""A threshold for a number of alerts among so many rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from latentsk._ties import cut_among_ties, warn_of_ties
from latentsk._warnings import warn

# With fewer reference rows below it, a threshold says little: their number, and with
# it the rate, is known to a third.
FEW_BELOW = 10.0
# So many rows below hold the number of alerts within a tenth.
ENOUGH_BELOW = 100.0


def alert_threshold(reference_scores: ArrayLike, n_alerts: float, per: float) -> float:
    """Return the score that `n_alerts` of `per` further rows are expected to lie below.

    The k-th lowest of n scores has, whatever their distribution, an expected share of
    ``k / (n + 1)`` of further rows below it. Between two scores the threshold is
    interpolated (numpy's quantile "weibull").

    Parameters
    ----------
    reference_scores : array-like of shape (n_reference,)
        Scores of rows that the further ones are like.

    n_alerts : float in (0, per)

    per : float

    Returns
    -------
    threshold : float
        Rows with lower scores are alerts. Of equal reference scores all lie below or
        none, whichever is nearer.

    Raises
    ------
    ValueError
        If even the lowest score, or the highest, has another share beyond it.

    Warns
    -----
    UserWarning
        If fewer than 10 reference rows lie below, or ties change their number by more
        than one row and more than a thousandth.

    Examples
    --------
    >>> alert_threshold(np.arange(99.0), 10, per=50)  # k = 0.2 * (99 + 1) = 20
    19.0
    """
    ranked = np.sort(np.asarray(reference_scores, np.float64))
    n_rows, share = len(ranked), n_alerts / per
    asked = f"n_alerts={n_alerts:.15g} per {per:.15g}"
    # Rounding aside: 1 of 20,000 needs 19,999 rows.
    needed = math.ceil(max(1.0 / share, 1.0 / (1.0 - share)) * (1.0 - 1e-12)) - 1
    if n_rows < needed:
        raise ValueError(
            f"{asked} cannot be told by {n_rows} reference rows: calibrate with "
            f"{needed} rows or more, better with {_enough(share)}."
        )
    quantile = float(np.quantile(ranked, share, method="weibull"))
    cut = cut_among_ties(ranked, quantile, share)
    warn_of_ties(cut, n_rows, share, asked)
    if share * n_rows < FEW_BELOW:
        warn(
            f"{asked} rests on the {share * n_rows:.1f} lowest of {n_rows} reference "
            f"rows, so the rate may well be off by {(share * n_rows) ** -0.5:.0%}. For "
            f"about a tenth, calibrate with {_enough(share)} rows."
        )
    return cut.offset


def _enough(share: float) -> int:
    return math.ceil(ENOUGH_BELOW / share)
