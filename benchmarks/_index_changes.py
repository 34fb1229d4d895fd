"""What changes of an index cost, and what its readers wait for: see index_cliffs.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from statistics import median

import numpy as np
import pandas as pd
from _harness import paired, ratio

from latentsk import LatentIndex

WIDTH, N_NEIGHBORS = 64, 10
LISTS = f"IVF256,PQ{WIDTH}x4fs,nprobe=16,rerank=10"
# Of which the lists are searched for, so that a rebuild tunes them.
TARGET = 0.9
N_UPDATED = 200
Results = dict[str, float]


def _rows(n_rows: int, seed: int = 0) -> np.ndarray:
    """Return rows around 100 centres, as embeddings lie."""
    rng = np.random.default_rng(seed)
    centers = 2.0 * np.random.default_rng(1).normal(size=(100, WIDTH))
    near = centers[rng.integers(0, 100, n_rows)]
    return (near + rng.normal(size=near.shape)).astype(np.float32)


def _seconds(run: Callable[[], object], times: int) -> list[float]:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return found


def one_row(n_rows: int, rounds: int) -> Results:
    """Return the milliseconds of adding one row with a string as its id."""
    rows, found = _rows(n_rows), {}
    ids = [f"document {i}" for i in range(n_rows)]
    table = pd.DataFrame({"owner": ["u", "v"], "year": 2020})
    table = table.loc[np.arange(n_rows) % 2].reset_index(drop=True)
    for name, metadata in (("", None), (", with metadata", table)):
        for kind, spec in (("exact", None), ("lists", LISTS)):
            index = LatentIndex(index_spec=spec).fit(rows, ids=ids, metadata=metadata)
            numbers = count()

            def add(index: LatentIndex = index, numbers: Iterator[int] = numbers):
                one = None if metadata is None else table[:1]  # noqa: B023
                index.add(rows[:1], [f"new {next(numbers)}"], one)

            milliseconds = 1e3 * median(_seconds(add, 40 * rounds))
            found[f"add of one row{name}, {kind}, ms"] = milliseconds
    return found


def many_rows(n_rows: int, rounds: int) -> Results:
    """Return the milliseconds of a row that is updated in lists, and over an added."""
    index = LatentIndex(index_spec=LISTS).fit(_rows(n_rows))
    new, rng = _rows(N_UPDATED, 2), np.random.default_rng(0)
    seconds = paired(
        {
            "update": lambda: index.update(new, rng.permutation(n_rows)[:N_UPDATED]),
            "add": lambda: index.add(new),
        },
        3 * rounds,
    )
    return {
        "update of 200 rows, lists, ms a row": 1e3 * median(seconds["update"]) / 200,
        "update of 200 rows over add of 200": ratio(seconds, "update", "add"),
    }


def removal(n_rows: int, rounds: int) -> Results:
    """Return the time of single queries after a removal, over those before."""
    rows, queries, found = _rows(n_rows), _rows(50, 2), {}
    for kind, spec in (("exact", None), ("lists", LISTS)):
        whole, less = (LatentIndex(index_spec=spec).fit(rows) for _ in range(2))
        less.remove([n_rows // 2])
        seconds = paired(
            {"less": _single(less, queries), "whole": _single(whole, queries)},
            3 * rounds,
        )
        found[f"one row removed, {kind}, ratio"] = ratio(seconds, "less", "whole")
    return found


def _single(index: LatentIndex, queries: np.ndarray) -> Callable[[], None]:
    def search() -> None:
        for query in queries:
            index.kneighbors(query[None], N_NEIGHBORS)

    return search


def waiting(n_rows: int) -> Results:
    """Return the longest single query while lists are rebuilt, and without that.

    A second thread searches one query after the other; the first waits as long as a
    rebuild takes, or makes the lists be rebuilt.
    """
    rows, queries = _rows(2 * n_rows + 10), _rows(200, 2)
    index = LatentIndex(target_recall=TARGET).fit(rows[:n_rows])
    n_before = n_rows + 10
    index.add(rows[n_rows:n_before])  # whatever the first change takes
    found: Results = {}

    def longest(run: Callable[[], object]) -> tuple[float, float]:
        done, waits = threading.Event(), []

        def read() -> None:
            while not done.is_set():
                for query in queries:
                    waits.extend(_seconds(lambda q=query: index.search(q[None], 1), 1))
                    if done.is_set():
                        break

        reader = threading.Thread(target=read)
        reader.start()
        (taken,) = _seconds(run, 1)
        done.set()
        reader.join()
        return taken, max(waits)

    n_built = index._engine.n_built
    taken, found["longest wait beside a rebuild, ms"] = longest(
        lambda: index.add(rows[n_before:])
    )
    assert index._engine.n_built > n_built, "nothing was rebuilt"
    _, found["longest wait without, ms"] = longest(lambda: time.sleep(taken))
    found = {name: 1e3 * value for name, value in found.items()}
    return found | {"add that rebuilds, s": taken}


def layers(n_rows: int, rounds: int) -> Results:
    """Return the time of `kneighbors` of 1,000 queries over that of the search."""
    rows, queries, found = _rows(n_rows), _rows(1_000, 2), {}
    for kind, spec in (("exact", None), ("lists", LISTS)):
        index = LatentIndex(index_spec=spec).fit(rows)
        engine = index._engine
        query = engine.query(queries, N_NEIGHBORS, None)
        seconds = paired(
            {
                "index": lambda index=index: index.kneighbors(queries, N_NEIGHBORS),
                "search": lambda: engine.ready_search.neighbors(query),  # noqa: B023
            },
            2 * rounds,
        )
        found[f"kneighbors over its search, {kind}"] = ratio(seconds, "index", "search")
    return found


# What is aimed at, by the beginning of the name.
AIMS = {
    "add of one row": 1.0,
    "update of 200 rows, lists": 0.5,
    "one row removed": 1.2,
    "longest wait beside": 50.0,
    "kneighbors over": 1.05,
}


def measure_changes(n_rows: int, rounds: int) -> Results:
    """Return all of it, by name."""
    n_lists_rows = max(20_000, 2 * n_rows // 5)
    return {
        **one_row(n_rows, rounds),
        **many_rows(n_lists_rows, rounds),
        **removal(n_rows, rounds),
        **waiting(n_lists_rows),
        **layers(n_rows, rounds),
    }


def aim_of(name: str) -> float | str:
    """Return what is aimed at, at most; nothing where that is not said."""
    return next((aim for start, aim in AIMS.items() if name.startswith(start)), "")
