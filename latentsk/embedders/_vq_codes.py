"""Codes of rows as VQVAEEmbedder takes and judges them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._device import on_host
from latentsk._warnings import warn
from latentsk.exceptions import PosteriorCollapseWarning

# Rows from which their codes can tell.
MIN_ROWS_TO_EXAMINE = 32


def perplexity(counts: NDArray[Any]) -> float:
    """Return the exponential of the entropy of codes.

    Parameters
    ----------
    counts : ndarray of shape (n_codes,)
        How often there was each code; of none at all it is NaN.

    Examples
    --------
    >>> round(perplexity(np.array([3, 3, 0])), 6), perplexity(np.array([0, 9, 0]))
    (2.0, 1.0)
    """
    if not counts.any():
        return float("nan")
    shares = counts[counts > 0] / counts.sum()
    return float(np.prod(shares**-shares))


def checked_codes(codes: Any, n_positions: int, n_codes: int) -> NDArray[np.int64]:
    """Return codes that there are.

    Parameters
    ----------
    codes : array-like of shape (n_rows, n_positions)

    n_positions, n_codes : int

    Raises
    ------
    ValueError

    Examples
    --------
    >>> checked_codes([[0.0, 7.0]], 2, 8)
    array([[0, 7]])
    >>> checked_codes([[0, 8]], 2, 8)
    Traceback (most recent call last):
    ...
    ValueError: codes must be whole numbers from 0 to 7, got 8 in row 0, position 1.
    """
    found = _numbers(codes)
    if found.shape[1] != n_positions:
        raise ValueError(
            f"codes has {found.shape[1]} columns, but a row has {n_positions} codes; "
            "transform_codes returns such."
        )
    valid = (found >= 0) & (found < n_codes) & (found == np.floor(found))
    for row, position in np.argwhere(~valid)[:1]:
        raise ValueError(
            f"codes must be whole numbers from 0 to {n_codes - 1}, got "
            f"{found[row, position]:.7g} in row {row}, position {position}."
        )
    return found.astype(np.int64)


def _numbers(codes: Any) -> NDArray[Any]:
    """Return codes as an array of numbers and two axes.

    Raises
    ------
    ValueError
    """
    advice = "They must be rows of whole numbers, as transform_codes returns them."
    if np.ma.is_masked(codes):
        raise ValueError(f"codes has masked values. {advice}")
    try:
        found = np.asarray(on_host(codes))
        found = found.astype(np.float64) if found.dtype == object else found
    except (TypeError, ValueError) as error:
        raise ValueError(f"codes are no table of numbers: {error}. {advice}") from error
    if found.dtype.kind not in "fiub":
        raise ValueError(f"codes must hold numbers, got dtype {found.dtype}. {advice}")
    if found.ndim != 2:
        raise ValueError(f"codes must be a 2D array, got {found.ndim}D. {advice}")
    return found


def warn_of_codes(codes: NDArray[np.int64], n_codes: int) -> None:
    """Warn of codes that are the same for all rows.

    Parameters
    ----------
    codes : ndarray of shape (n_rows, n_positions)
        Of some rows; of few ones nothing is said.

    n_codes : int

    Warns
    -----
    PosteriorCollapseWarning
    """
    if len(codes) < MIN_ROWS_TO_EXAMINE or n_codes == 1 or (codes != codes[0]).any():
        return
    warn(
        "The codes collapsed: they are the same for every row, so that they tell no "
        "rows apart. Fix a smaller likelihood_scale, or train longer. Rows that are "
        "all alike have no others.",
        PosteriorCollapseWarning,
    )
