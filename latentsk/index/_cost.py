"""What a search costs, from counted work instead of a clock, so that choices repeat.

The prices are nanoseconds of one core of 2024, for queries that come in batches; only
their ratios matter.
"""

from __future__ import annotations

from latentsk.index._spec import IndexSpec

# A multiplication and addition in a matrix product.
PRODUCT = 0.03
# Comparing one score of an exact search with the best so far.
SELECTION = 0.3
# Reading a coordinate of a row from memory; and copying a row that is eligible, and
# each of its coordinates.
READING = 0.15
GATHERED_ROW = 5.0
GATHERED = 0.5
# A code of four bits that is scanned, and opening a list.
CODE = 0.03
LIST = 100.0
# A candidate that is fetched and measured, and each of its coordinates.
CANDIDATE = 100.0
COORDINATE = 0.25


def exact_cost(n_rows: int, width: int) -> float:
    """Return the cost of comparing a query with every row.

    Examples
    --------
    >>> exact_cost(1_000_000, 32) > exact_cost(1_000_000, 16)
    True
    """
    return n_rows * (width * PRODUCT + SELECTION)


def search_cost(spec: IndexSpec, width: int, n_rows: int, n_neighbors: int) -> float:
    """Return the cost of an approximate search for one query.

    Examples
    --------
    >>> spec = IndexSpec.parse("IVF256,PQ32x4fs,nprobe=16,rerank=3")
    >>> search_cost(spec, 32, 60_000, 10) < exact_cost(60_000, 32)
    True
    """
    projection = width * (spec.n_components or 0) * PRODUCT
    ranking = spec.n_lists * (spec.n_codes * PRODUCT + SELECTION)
    scanned = spec.n_probe * n_rows / spec.n_lists
    scanning = spec.n_probe * LIST + scanned * spec.n_codes * CODE
    measuring = spec.n_candidates(n_neighbors) * (CANDIDATE + width * COORDINATE)
    return projection + ranking + scanning + measuring


def barring_pays(n_queries: int, n_rows: int, width: int, n_eligible: int) -> bool:
    """Tell whether to score all rows, rather than gather the eligible ones.

    Examples
    --------
    >>> barring_pays(1, 1_000, 32, 999), barring_pays(1, 1_000, 32, 10)
    (True, False)
    """
    scoring = width * max(n_queries * PRODUCT, READING) + n_queries * SELECTION
    gathering = GATHERED_ROW + width * GATHERED
    return n_rows * scoring <= n_eligible * (scoring + gathering)
