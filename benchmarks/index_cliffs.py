"""What searches cost where rows are tied, blank or removed, over normal ones.

    python benchmarks/index_cliffs.py [--rows N] [--threads N] [--rounds N] [--write]

10 neighbours among 100,000 normal rows of 16 and of 128 columns, exactly. A ratio is
the time of a case over that of as many normal queries among normal rows, in the same
run: the median over rounds, and the larger one of float32 and of float64 rows. The
first search of a case, which may look for equal rows, is not timed, as in all
benchmarks here; its own ratio, for a single query, is in the last column.

A second table has what changes cost, what readers wait for while an index is rebuilt
beside them, and what our layer adds to a search; ``--only-changes`` measures it alone.

Another case is another entry in `CASES`: what makes a search of a number of queries.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from statistics import median

import numpy as np
from _harness import arguments, paired, publish, ratio, table, threads
from _index_changes import aim_of, measure_changes

from latentsk import LatentIndex

N_NEIGHBORS = 10
WIDTHS = (16, 128)
DTYPES = ("float32", "float64")
# Queries at a time, and how many rounds more or less they get: single ones are short.
BATCHES = {1: 6.0, 100: 1.0, 2_000: 0.4}
Search = Callable[[int], object]


class Setting:
    """Normal rows and queries, and the indexes over them that cases share."""

    def __init__(self, n_rows: int, width: int, dtype: str) -> None:
        rng = np.random.default_rng(0)
        self.rows = rng.normal(size=(n_rows, width)).astype(dtype)
        self.queries = rng.normal(size=(max(BATCHES), width)).astype(dtype)
        self.is_some = rng.random(n_rows) < 0.5
        self.one_hot = np.eye(width, dtype=dtype)[rng.integers(0, width, n_rows)]
        self.half_equal = np.where(self.is_some[:, None], self.rows[0], self.rows)
        # A tenth of the way from the equal rows to the queries.
        self.beside = (0.9 * self.rows[0] + 0.1 * self.queries).astype(dtype)

    def index(self, rows: np.ndarray | None = None, **parameters: str) -> LatentIndex:
        """Fit an index; without rows, over normal ones."""
        parameters = {"metric": "euclidean", **parameters}
        index = LatentIndex(n_neighbors=N_NEIGHBORS, **parameters)
        return index.fit(self.rows if rows is None else rows)

    @cached_property
    def half_equal_index(self) -> LatentIndex:
        """Half of its rows are one vector."""
        return self.index(self.half_equal)


def _search(index: LatentIndex, queries: np.ndarray, **how: object) -> Search:
    def search(n_queries: int) -> object:
        # Not `kneighbors`, which has no inner products.
        return index.search(queries[:n_queries], **how)

    return search


def _zeros(setting: Setting, **parameters: str) -> Search:
    return _search(setting.index(**parameters), np.zeros_like(setting.queries))


def _normal(setting: Setting, **parameters: str) -> Search:
    return _search(setting.index(**parameters), setting.queries)


def _removed(setting: Setting, step: int) -> Search:
    index = setting.index()
    return _search(index.remove(index.ids_[5::step]), setting.queries)


# By name: the search, and what it is compared with where that is another metric, or
# precision, than "euclidean" and "certified".
CASES: dict[str, tuple[Callable[[Setting], Search], dict[str, str]]] = {
    "zeros, cosine": (
        lambda s: _zeros(s, metric="cosine"),
        {"metric": "cosine"},
    ),
    "zeros, cosine, float32": (
        lambda s: _zeros(s, metric="cosine", exactness="float32"),
        {"metric": "cosine", "exactness": "float32"},
    ),
    "zeros, inner product": (
        lambda s: _zeros(s, metric="inner_product"),
        {"metric": "inner_product"},
    ),
    "half of the rows equal, queries beside them": (
        lambda s: _search(s.half_equal_index, s.beside),
        {},
    ),
    "half of the rows equal, queries elsewhere": (
        lambda s: _search(s.half_equal_index, s.queries),
        {},
    ),
    "half of the rows equal, cosine, beside them": (
        lambda s: _search(s.index(s.half_equal, metric="cosine"), s.beside),
        {"metric": "cosine"},
    ),
    "one-hot rows": (lambda s: _search(s.index(s.one_hot), s.one_hot), {}),
    "binary rows": (
        lambda s: _search(s.index((s.rows > 0).astype(s.rows.dtype)), s.rows > 0),
        {},
    ),
    "one row removed": (lambda s: _removed(s, len(s.rows)), {}),
    "a tenth removed": (lambda s: _removed(s, 10), {}),
    "a mask that leaves half": (
        lambda s: _search(s.index(), s.queries, filter=s.is_some),
        {},
    ),
}


def first_ratio(search: Search, normal: Search) -> float:
    """Return the time of the first single query, over a normal one."""
    start = time.perf_counter()
    search(1)
    first = time.perf_counter() - start
    return first / median(paired({"normal": lambda: normal(1)}, 9)["normal"])


def measure(setting: Setting, rounds: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    normals: dict[str, Search] = {}
    for name, (make, parameters) in CASES.items():
        key = str(parameters)
        normal = normals.setdefault(key, _normal(setting, **parameters))
        search = make(setting)
        found[name] = {"first": first_ratio(search, normal)}
        for n_queries, factor in BATCHES.items():
            runs = {
                "case": lambda s=search, n=n_queries: s(n),
                "normal": lambda s=normal, n=n_queries: s(n),
            }
            seconds = paired(runs, max(3, round(factor * rounds)))
            found[name][str(n_queries)] = ratio(seconds, "case", "normal")
    return found


def ties_and_removals(n_rows: int, rounds: int) -> dict[str, object]:
    """Return ratios by columns and dtype, then case."""
    results: dict[str, object] = {}
    for width in WIDTHS:
        for dtype in DTYPES:
            setting = Setting(n_rows, width, dtype)
            results[f"{width} {dtype}"] = measure(setting, rounds)
    return results


def printed_ratios(results: dict[str, dict[str, dict[str, float]]]) -> str:
    rows = []
    for case in CASES:
        for width in WIDTHS:
            ratios = [results[f"{width} {dtype}"][case] for dtype in DTYPES]
            worst = [max(r[c] for r in ratios) for c in (*map(str, BATCHES), "first")]
            rows.append([case, width, *(f"{value:.2f}" for value in worst)])
    queries = ["1 query", *(f"{n:,} queries" for n in list(BATCHES)[1:])]
    return table(["case", "columns", *queries, "first query"], rows)


def printed_changes(changes: dict[str, float]) -> str:
    rows = [[name, value, aim_of(name)] for name, value in changes.items()]
    return table(["change", "measured", "at most"], rows)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only-changes", action="store_true")
    options = parser.parse_args()
    with threads(options.threads):
        changes = measure_changes(options.rows, options.rounds)
        if options.only_changes:
            print(printed_changes(changes))
            return
        ratios = ties_and_removals(options.rows, options.rounds)
    title = f"{options.rows:,} rows, threads: {options.threads}"
    printed = "\n\n".join([title, printed_ratios(ratios), printed_changes(changes)])
    document = {
        "rows": options.rows,
        "threads": options.threads,
        "ratios": ratios,
        "changes": changes,
    }
    publish("index_cliffs", printed, document, options.write)


if __name__ == "__main__":
    main()
