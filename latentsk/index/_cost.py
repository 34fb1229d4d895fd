"""What a search costs, from counted work instead of a clock, so that choices repeat.

The prices are nanoseconds of one core of 2024, for queries that come in batches; only
their ratios matter.
"""

from __future__ import annotations

from latentsk.index._graph_spec import GraphSpec
from latentsk.index._spec import IndexSpec

# A multiplication and addition in a matrix product.
PRODUCT = 0.018
# Comparing one score of an exact search with the best so far.
SELECTION = 2.0
# The same for the nearest of a few centres.
ASSIGNMENT = 0.3
# Reading a coordinate of a row from memory; and copying a row that is eligible, and
# each of its coordinates.
READING = 0.15
GATHERED_ROW = 5.0
GATHERED = 0.5
# Tables for the scan of codes, and for each code; both for a query.
TABLES, CODE_TABLE = 2_000.0, 20.0
# A code of four bits that is scanned, and opening a list.
CODE = 0.03
LIST = 100.0
# A whole row that is scanned in a list, and each of its coordinates.
ROW = 2.0
ROW_COORDINATE = 0.09
# For codes of differences to a list's centre: the table of a code, for each list.
TABLE = 50.0
# A candidate that is kept, fetched and measured, and each of its coordinates.
CANDIDATE = 65.0
COORDINATE = 0.25
# A coordinate that is put into a list, a code of four bits that is made, and a value
# that trains what codes stand for.
COPY = 1.0
ENCODING = 60.0
TRAINING = 80.0
# A row from which a search in a graph goes on, each coordinate of it, and rows on the
# way to where the search begins: measured by benchmarks/search_prices.py.
HOPS = {"HNSW": (550.0, 18.0, 5), "SymphonyQG": (250.0, 0.3, 16)}
# A row that is built into a graph, and each of its coordinates.
GRAPH_ROWS = {"HNSW": (30e3, 1e3), "SymphonyQG": (110e3, 0.28e3)}
# A step of an eigendecomposition, of which there are as many as columns cubed.
EIGENSTEP = 0.3


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
    coded = width if spec.n_codes is None else spec.n_codes
    ranking = spec.n_lists * (coded * PRODUCT + SELECTION)
    scanned = spec.n_probe * n_rows / spec.n_lists
    table = coded * TABLE if spec.residual else 0.0
    row = ROW + width * ROW_COORDINATE if spec.n_codes is None else coded * CODE
    scanning = spec.n_probe * (LIST + table) + scanned * row
    if spec.n_codes is not None:
        scanning += TABLES + coded * CODE_TABLE
    measuring = spec.n_candidates(n_neighbors) * (CANDIDATE + width * COORDINATE)
    return projection + ranking + scanning + measuring


def components_cost(n_rows: int, width: int) -> float:
    """Return the cost of the principal components of some rows.

    Examples
    --------
    >>> components_cost(8_000, 700) < exact_cost(8_000, 700) * 8_000
    True
    """
    return n_rows * width**2 * PRODUCT + width**3 * EIGENSTEP


def means_cost(n_rows: int, n_lists: int, n_codes: int, iterations: int) -> float:
    """Return the cost of so many iterations of k-means."""
    return iterations * n_rows * n_lists * (n_codes * PRODUCT + ASSIGNMENT)


def codes_cost(n_rows: int, n_codes: int) -> float:
    """Return the cost of finding what codes stand for, by some rows."""
    return n_rows * n_codes * TRAINING


def coding_cost(n_rows: int, width: int, spec: IndexSpec) -> float:
    """Return the cost of putting rows, or their codes, into lists."""
    projection = width * (spec.n_components or 0) * PRODUCT
    coded = width if spec.n_codes is None else spec.n_codes
    ranking = spec.n_lists * (coded * PRODUCT + ASSIGNMENT)
    price = COPY if spec.n_codes is None else ENCODING
    return n_rows * (projection + ranking + coded * price)


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


def graph_cost(spec: GraphSpec, width: int, n_neighbors: int) -> float:
    """Return the cost of a search in a graph for one query.

    Examples
    --------
    >>> graph_cost(GraphSpec.parse("SymphonyQG32,ef=24"), 384, 10)
    14608.0
    """
    hop, coordinate, before = HOPS[spec.kind]
    return (spec.effort_for(n_neighbors) + before) * (hop + width * coordinate)


def graph_build_cost(spec: GraphSpec, n_rows: int, width: int) -> float:
    """Return the cost of building a graph.

    Examples
    --------
    >>> rows = 60_000
    >>> graph_build_cost(GraphSpec.parse("SymphonyQG32,ef=24"), rows, 784) > 1e10
    True
    """
    row, coordinate = GRAPH_ROWS[spec.kind]
    return n_rows * (row + width * coordinate)
