"""A limit on counted work."""

from __future__ import annotations


class WorkBudget:
    """Work that may be done, and how much of it has been done.

    Parameters
    ----------
    limit : float
        Counted work that may be done, in the unit of `_cost`.

    Attributes
    ----------
    spent : float
        Counted work that has been done.

    Examples
    --------
    >>> budget = WorkBudget(10.0)
    >>> budget.spend(7.0)
    >>> budget.affords(3.0), budget.affords(4.0)
    (True, False)
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.spent = 0.0

    def affords(self, work: float) -> bool:
        """Tell whether so much more work stays within the limit."""
        return self.spent + work <= self.limit

    def spend(self, work: float) -> None:
        """Count work that is done, whether or not there is enough left."""
        self.spent += work
