"""What is refused where no row may change."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import check_is_fitted

from latentsk.index._families import parse_index_spec


def refuse_if_static(index: Any, call: str) -> None:
    """Refuse a call that would change the rows of a static index.

    Raises
    ------
    ValueError
    """
    check_is_fitted(index)
    found = index.index_spec_
    pinned = parse_index_spec(found)
    if not index.static and (pinned is None or not pinned.is_static):
        return
    was = f"static=True ({found})" if index.static else f"a graph ({found})"
    raise ValueError(
        f"{call} changes rows, and the index was fitted with {was}. Fit another one on "
        "all rows, with static=False if they are to change."
    )
