"""From a recall that is asked for to a search that has it, by counted work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from latentsk._typing import Positions
from latentsk.index._cost import exact_cost
from latentsk.index._recall import MAX_HELD_OUT, MIN_HELD_OUT, recall_bounds
from latentsk.index._search import Family, Search, TuningTask, Variant

# Rows, and cost of comparing with all of them, below which nothing is quicker.
MIN_ROWS, MIN_COST = 1_000, 8_000.0
# How often more is asked for where a recall turns out to be less than expected, and by
# which share, at least, of what may be missed.
ATTEMPTS, MARGIN = 4, 0.05
# Work of a fit, in that of the cheaper of a plain build and comparing all rows with
# each other; and the part of it that may find the truth about held-out rows.
BUDGET_FACTOR, TRUTH_FACTOR = 4.0, 0.8
# Work that nobody waits for, a few hundredths of a second.
LEAST_BUDGET = 3e7
# The same in that of building the graph, where no row will change.
STATIC_FACTOR = 1.5


def has_enough_rows(n_rows: int, width: int) -> bool:
    """Tell whether anything may be quicker than comparing with every row.

    Examples
    --------
    >>> has_enough_rows(2_000, 8), has_enough_rows(2_000, 784)
    (False, True)
    """
    return n_rows >= MIN_ROWS and exact_cost(n_rows, width) >= MIN_COST


def plain_cost(families: Iterable[Family], n_rows: int, width: int) -> float:
    """Return the counted work that tuning is measured by.

    Returns
    -------
    cost : float
        Of comparing all rows with each other, or of the cheapest plain build, whichever
        is less.
    """
    all_pairs = n_rows * exact_cost(n_rows, width)
    builds = (family.build_cost(n_rows, width) for family in families)
    return min(all_pairs, *builds)


def budget_for(plain: float) -> float:
    """Return the counted work that a fit may take."""
    return max(BUDGET_FACTOR * plain, LEAST_BUDGET)


def is_affordable(families: Iterable[Family], n_rows: int, width: int) -> bool:
    """Tell whether one search can be built and measured within the budget.

    Where rows are few, comparing all with each other is over before.
    """
    families = list(families)
    plain = plain_cost(families, n_rows, width)
    truth = n_affordable_queries(plain, n_rows, width) * exact_cost(n_rows, width)
    builds = [family.build_cost(n_rows, width) for family in families]
    return truth + min(builds) <= budget_for(plain)


def n_affordable_queries(plain: float, n_rows: int, width: int) -> int:
    """Return how many held-out rows may be compared with all rows.

    Examples
    --------
    >>> plain = 1_875 * exact_cost(60_000, 64)
    >>> n_affordable_queries(plain, 60_000, 64)
    1500
    """
    affordable = round(TRUTH_FACTOR * plain / exact_cost(n_rows, width))
    most = min(MAX_HELD_OUT, max(n_rows // 4, MIN_HELD_OUT))
    return min(max(affordable, MIN_HELD_OUT), most, n_rows // 2)


def tune(
    task: TuningTask,
    families: Iterable[Family],
    report: Callable[[str], None],
    best: Search | None = None,
) -> Search:
    """Return the cheapest search whose recall meets a target, within a budget.

    Parameters
    ----------
    task : TuningTask

    families : iterable of Family
        What is tried.

    report : callable
        Told what is being done.

    best : Search or None, default=None
        What has been found before; None: the task's exact search.

    Returns
    -------
    search : Search
        The best one so far where nothing else is cheaper, meets the target, or could be
        tried within the budget.
    """
    found, members, k = best or task.flat, task.training.members, task.n_neighbors

    def best_so_far() -> Search:
        return found

    for family in families:
        for variant in family.variants(task, best_so_far):
            report(f"trying {variant.search.spec}")
            limit = found.cost(k, len(members))
            if meets_target(variant, task, members, limit):
                found = variant.search
    return found


class Fixed(NamedTuple):
    """A variant whose search is tried as it is.

    Attributes
    ----------
    search : Search

    task : TuningTask
    """

    search: Search
    task: TuningTask

    def cheapest_spec(self, target: float, limit: float) -> object:
        """Return the search's own `spec` where it meets a target; else None."""
        members, k = self.task.training.members, self.task.n_neighbors
        recalls = self.task.held_out.recalls(self.search, members, k)
        return self.search.spec if recall_bounds(recalls)[1] >= target else None


def meets_target(
    variant: Variant, task: TuningTask, members: Positions, limit: float
) -> bool:
    """Set the cheapest parameters whose recall, as it is found, meets a target.

    What a variant goes by may be counted in float32, which takes for ties what it
    cannot tell apart; and candidates of equal scores are cut off in no certain order.

    Returns
    -------
    possible : bool
        Whether there are some that cost less than a limit.
    """
    search, wanted = variant.search, task.target
    held_out, k = task.held_out, task.n_neighbors
    for _ in range(ATTEMPTS):
        spec = variant.cheapest_spec(wanted, limit)
        if spec is None:
            return False
        search.spec = spec
        work = len(held_out.queries) * search.cost(k, len(members))
        if not task.budget.affords(work):
            return False
        task.budget.spend(work)
        _, lower, _ = recall_bounds(held_out.recalls(search, members, k))
        if lower >= task.target:
            return True
        wanted += max(task.target - lower, MARGIN * (1.0 - task.target))
    return False
