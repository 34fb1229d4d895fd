"""What fits into a page of limited size: the pieces that sections are chosen by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk.explorer._encoding import as_script_string, pack

# How many of the lowest-scored rows, and of others, are shown with everything.
FULL_COUNTS = (2_000, 1_000, 500, 200, 100, 50, 20)
MOST_CELLS = 20_000_000  # of their features


def section(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> str:
    """Return a header and arrays as a string for the page."""
    return as_script_string(pack(header, arrays))


def first_that_fits(
    choices: Iterable[Any], make: Callable[[Any], str | None], most: int
) -> tuple[Any, str | None]:
    """Return the first choice whose section is not too long, and the section.

    Parameters
    ----------
    choices : iterable
        The best first.

    make : callable
        Returns the section of a choice; None: there is none.

    most : int
        Characters.

    Returns
    -------
    choice : object or None
        None: none fits.

    section : str or None

    Examples
    --------
    >>> first_that_fits([9, 5, 2], lambda n: "x" * n, 6)
    (5, 'xxxxx')
    >>> first_that_fits([9], lambda n: "x" * n, 6)
    (None, None)
    """
    for choice in choices:
        found = make(choice)
        if found is None:
            return None, None
        if len(found) <= most:
            return choice, found
    return None, None


def full_counts(n_features: int) -> list[int]:
    """Return the counts to try, without those that would take too long to explain.

    Examples
    --------
    >>> full_counts(784)[0], full_counts(1_000_000)
    (2000, [20])
    """
    return [n for n in FULL_COUNTS if 2 * n * n_features <= MOST_CELLS] or [
        FULL_COUNTS[-1]
    ]


def rows_by_priority(scores: Any, n_rows: int, most: int) -> NDArray[np.int64]:
    """Return rows to show with everything, in the order in which they matter.

    The row with the lowest score, another one drawn at random, the row with the second
    lowest score and so on; without scores, rows drawn at random.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,) or None

    n_rows : int

    most : int
        How many of the lowest, and of others.

    Examples
    --------
    >>> rows_by_priority(np.array([3.0, 1.0, 2.0, 0.0]), 4, 2)[::2].tolist()
    [3, 1]
    >>> sorted(rows_by_priority(None, 3, 9).tolist())
    [0, 1, 2]
    """
    generator = np.random.default_rng(0)
    if scores is None:
        return generator.permutation(n_rows)[: 2 * most]
    order = np.argsort(scores, kind="stable")
    if n_rows <= 2 * most:
        lowest, others = order[: (n_rows + 1) // 2], order[(n_rows + 1) // 2 :]
    else:
        lowest, others = order[:most], order[most:]
    others = generator.permutation(others)[: len(lowest)]
    rows = np.empty(len(lowest) + len(others), np.int64)
    rows[::2], rows[1::2] = lowest, others
    return rows
