"""From a recall that is asked for to a search that has it, by counted work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from latentsk._typing import Positions
from latentsk.index._cost import exact_cost
from latentsk.index._recall import HeldOut, recall_bounds
from latentsk.index._search import Family, Search, Training

# Rows, and cost of comparing with all of them, below which nothing is quicker.
MIN_ROWS, MIN_COST = 1_000, 5_000.0
# How often more is asked for where a recall turns out to be less than expected, and by
# which share, at least, of what may be missed.
ATTEMPTS, MARGIN = 4, 0.05


def has_enough_rows(n_rows: int, width: int) -> bool:
    """Tell whether anything may be quicker than comparing with every row.

    Examples
    --------
    >>> has_enough_rows(2_000, 8), has_enough_rows(2_000, 784)
    (False, True)
    """
    return n_rows >= MIN_ROWS and exact_cost(n_rows, width) >= MIN_COST


def tune(
    flat: Search,
    families: Iterable[Family],
    training: Training,
    held_out: HeldOut,
    target: float,
    n_neighbors: int,
    report: Callable[[str], None],
) -> Search:
    """Return the cheapest search whose recall meets a target.

    Parameters
    ----------
    flat : Search
        Over all rows, exact.

    families : iterable of Family
        What is tried.

    training : Training
        The rows that searches are built of.

    held_out : HeldOut
        What recall is measured on.

    target : float
        What the lower confidence bound of the recall is to be, at least.

    n_neighbors : int
        Number of neighbours among which recall is counted.

    report : callable
        Told what is being done.

    Returns
    -------
    search : Search
        `flat` where nothing else is cheaper, or meets the target.
    """
    best, members = flat, training.members
    n_rows = len(members)

    def best_so_far() -> Search:
        return best

    for family in families:
        for search in family.variants(flat, training, n_neighbors, best_so_far):
            report(f"trying {search.spec}")
            if meets_target(
                family, search, held_out, target, n_neighbors, members
            ) and search.cost(n_neighbors, n_rows) < best.cost(n_neighbors, n_rows):
                best = search
    return best


def meets_target(
    family: Family,
    search: Any,
    held_out: HeldOut,
    target: float,
    k: int,
    members: Positions,
) -> bool:
    """Set the cheapest parameters whose recall, as it is found, meets a target.

    What a family goes by may be counted in float32, which takes for ties what it cannot
    tell apart; and candidates of equal scores are cut off in no certain order.

    Returns
    -------
    possible : bool
        Whether there are some, cheaper than an exact search.
    """
    wanted = target
    for _ in range(ATTEMPTS):
        spec = family.cheapest_spec(search, held_out, wanted, k)
        if spec is None:
            return False
        search.spec = spec
        _, lower, _ = recall_bounds(held_out.recalls(search, members, k))
        if lower >= target:
            return True
        wanted += max(target - lower, MARGIN * (1.0 - target))
    return False
