"""What fits into a page of limited size: the pieces that sections are chosen by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk.explorer._encoding import as_script_string, pack

# How many of the lowest-scored rows, and of others, are shown with everything.
FULL_COUNTS = (2_000, 1_000, 500, 200, 100, 50, 20)


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


def full_rows(scores: NDArray[np.float64] | None, n_rows: int, n_each: int) -> Any:
    """Return the lowest-scored rows and others, drawn at random, in ascending order.

    Examples
    --------
    >>> full_rows(np.array([3.0, 1.0, 2.0]), 3, 1).tolist()[0] in (0, 1)
    True
    >>> full_rows(None, 3, 2).tolist()
    [0, 1, 2]
    """
    if n_rows <= 2 * n_each:
        return np.arange(n_rows)
    generator = np.random.default_rng(0)
    if scores is None:
        return np.sort(generator.choice(n_rows, 2 * n_each, replace=False))
    order = np.argsort(scores, kind="stable")
    others = generator.choice(order[n_each:], n_each, replace=False)
    return np.sort(np.concatenate([order[:n_each], others]))
