"""Randomness from `random_state` alone: no global generator is read or set."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from latentsk._typing import Positions

RandomState = int | np.integer | np.random.RandomState | np.random.Generator | None


def numpy_generator(random_state: RandomState) -> np.random.Generator:
    """Return a generator of its own for a scikit-learn `random_state`.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None
        None draws fresh entropy from the operating system. A RandomState or Generator
        is advanced by the draw of one seed.

    Returns
    -------
    generator : numpy.random.Generator

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> int(numpy_generator(0).integers(100)) == int(numpy_generator(0).integers(100))
    True
    """
    if random_state is None or isinstance(random_state, Integral):
        return np.random.default_rng(random_state)
    if isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state.integers(2**63))
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31))
    raise TypeError(
        "random_state must be None, an int, a numpy RandomState or a numpy Generator, "
        f"got {random_state!r}."
    )


def sklearn_seed(random_state: RandomState) -> int | np.random.RandomState:
    """Return what scikit-learn's engines take without reading a global generator."""
    if isinstance(random_state, int | np.integer | np.random.RandomState):
        return random_state  # type: ignore[return-value]
    return int(numpy_generator(random_state).integers(2**31))


def some_positions(
    n_rows: int, at_most: int, generator: np.random.Generator
) -> Positions:
    """Return positions of all rows, or of a random subset in ascending order.

    Examples
    --------
    >>> some_positions(3, 5, np.random.default_rng(0))
    array([0, 1, 2])
    >>> len(some_positions(9, 5, np.random.default_rng(0)))
    5
    """
    if n_rows <= at_most:
        return np.arange(n_rows)
    return np.sort(generator.choice(n_rows, at_most, replace=False))
