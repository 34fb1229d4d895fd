"""Whether a recall that is promised holds for the queries that are asked, by seeds.

    python benchmarks/recall_promise.py [--rows N] [--seeds N] [--threads N] [--write]

Data of several kinds, each in groups; an index with a `target_recall` is fitted, and
300 fresh queries are asked in each situation. A seed is a miss where their recall is
below the target by more than two standard errors, and a silent one where nothing
warned. "exact" is the share of queries for which every row was compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from _harness import arguments, publish, table, threads

from latentsk import LatentIndex
from latentsk.index._exact import ExactSearch

WIDTH, N_GROUPS, N_QUERIES, K, TARGET = 32, 40, 300, 5, 0.9
BATCHES, BATCH, STEP = 60, 200, 0.05


class Data(NamedTuple):
    """Rows in groups, and how more of a group are drawn."""

    rows: np.ndarray
    groups: np.ndarray
    draw: Callable[[np.ndarray], np.ndarray]


def normal_groups(rng: np.random.Generator, n_rows: int) -> Data:
    return _around(rng, n_rows, lambda groups: rng.normal(size=(len(groups), WIDTH)))


def zipf_sizes(rng: np.random.Generator, n_rows: int) -> Data:
    shares = 1.0 / np.arange(1, N_GROUPS + 1) ** 1.2
    shares /= shares.sum()
    return _around(
        rng, n_rows, lambda groups: rng.normal(size=(len(groups), WIDTH)), shares
    )


def uneven_widths(rng: np.random.Generator, n_rows: int) -> Data:
    widths = 0.6 * np.exp(0.7 * rng.normal(size=(N_GROUPS, 1)))
    return _around(
        rng,
        n_rows,
        lambda groups: widths[groups] * rng.normal(size=(len(groups), WIDTH)),
    )


def heavy_tails(rng: np.random.Generator, n_rows: int) -> Data:
    return _around(
        rng, n_rows, lambda groups: rng.standard_t(3, size=(len(groups), WIDTH))
    )


def flat_groups(rng: np.random.Generator, n_rows: int) -> Data:
    axes = rng.normal(size=(N_GROUPS, 4, WIDTH))

    def noise(groups: np.ndarray) -> np.ndarray:
        codes = rng.normal(size=(len(groups), 1, 4))
        thin = 0.1 * rng.normal(size=(len(groups), WIDTH))
        return 0.6 * (codes @ axes[groups])[:, 0] + thin

    return _around(rng, n_rows, noise)


def _around(
    rng: np.random.Generator,
    n_rows: int,
    noise: Callable[[np.ndarray], np.ndarray],
    shares: Any = None,
) -> Data:
    centers = 1.2 * rng.normal(size=(N_GROUPS, WIDTH))

    def draw(groups: np.ndarray) -> np.ndarray:
        return centers[groups] + noise(groups)

    groups = rng.choice(N_GROUPS, n_rows, p=shares)
    return Data(draw(groups), groups, draw)


KINDS = {
    "normal groups": normal_groups,
    "zipf sizes": zipf_sizes,
    "uneven widths": uneven_widths,
    "heavy tails": heavy_tails,
    "flat groups": flat_groups,
}


class Asked(NamedTuple):
    """What came of the queries of a situation."""

    situation: str
    recalls: np.ndarray
    warned: bool
    exact: float


def asked(
    situation: str, index: LatentIndex, queries: np.ndarray, mask: Any = None
) -> Asked:
    """Ask queries, and compare with numpy's own distances."""
    counts = [0]
    neighbors = ExactSearch.neighbors

    def counted(self: Any, query: Any) -> Any:
        counts[0] += len(query.vectors)
        return neighbors(self, query)

    ExactSearch.neighbors = counted  # type: ignore[method-assign]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found, _ = index.kneighbors(queries, K, filter=mask)
    finally:
        ExactSearch.neighbors = neighbors  # type: ignore[method-assign]
    allowed = index.active_ if mask is None else mask & index.active_
    rows = index.vectors_[allowed]
    squares = np.sum(rows**2, axis=1) - 2 * queries @ rows.T
    squares += np.sum(queries**2, axis=1)[:, None]
    limits = np.sqrt(np.partition(squares, K - 1, axis=1)[:, K - 1])
    recalls = (found <= limits[:, None] * (1 + 1e-6)).mean(axis=1)
    return Asked(situation, recalls, bool(caught), counts[0] / len(queries))


def situations(kind: str, seed: int, n_rows: int) -> Iterator[Asked]:
    """Yield what comes of fresh queries, before and after changes."""
    rng = np.random.default_rng(seed)
    data = KINDS[kind](rng, n_rows)
    rows, groups = data.rows, data.groups
    index = LatentIndex(target_recall=TARGET, random_state=seed).fit(rows)
    usual = data.draw(groups[:N_QUERIES])
    yield asked("no filter", index, usual)
    yield asked("random filter", index, usual, rng.random(n_rows) < 0.5)
    group = int(rng.integers(N_GROUPS))
    own = data.draw(np.full(N_QUERIES, group))
    yield asked("own group only", index, own, groups == group)
    yield asked("other groups only", index, own, groups != group)
    yield asked("half of the other groups", index, own, groups % 2 != group % 2)
    far = rows.std() * rng.normal(size=(N_QUERIES, WIDTH))
    yield asked("queries of one wide normal", index, far)
    index.remove(np.flatnonzero(groups < N_GROUPS // 6))
    yield asked("a sixth of the groups removed", index, data.draw(groups[:N_QUERIES]))
    gone = data.draw(rng.integers(0, N_GROUPS // 6, N_QUERIES))
    yield asked("the same, asked there", index, gone)
    yield asked("rows that drift by add", *_drifted(rng, data, seed))


def _drifted(
    rng: np.random.Generator, data: Data, seed: int
) -> tuple[LatentIndex, np.ndarray]:
    """Return an index after batches of drifting rows, and queries like the last."""
    index = LatentIndex(target_recall=TARGET, random_state=seed).fit(data.rows)
    directions = rng.normal(size=(N_GROUPS, WIDTH))
    for number in range(1, BATCHES + 1):
        groups = rng.integers(0, N_GROUPS, BATCH)
        index.add(data.draw(groups) + STEP * number * directions[groups])
    groups = rng.integers(0, N_GROUPS, N_QUERIES)
    return index, data.draw(groups) + STEP * BATCHES * directions[groups]


def line(kind: str, situation: str, seeds: list[Asked]) -> list[str]:
    means = np.array([each.recalls.mean() for each in seeds])
    errors = [each.recalls.std() / np.sqrt(N_QUERIES) for each in seeds]
    is_miss = means < TARGET - 2.0 * np.array(errors)
    warned = np.array([each.warned for each in seeds])
    return [
        kind,
        situation,
        f"{means.mean():.3f}",
        f"{means.min():.3f}",
        f"{np.mean([each.exact for each in seeds]):.0%}",
        str(int(warned.sum())),
        str(int(is_miss.sum())),
        str(int((is_miss & ~warned).sum())),
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    found: dict[tuple[str, str], list[Asked]] = {}
    with threads(options.threads):
        for kind in KINDS:
            for seed in range(options.seeds):
                for each in situations(kind, seed, options.rows):
                    found.setdefault((kind, each.situation), []).append(each)
    header = ["rows", "queries", "recall", "worst seed", "exact"]
    header += ["warned", "missed", "silently"]
    lines = [line(*key, seeds) for key, seeds in found.items()]
    numbers = {
        " / ".join(key): [float(each.recalls.mean()) for each in seeds]
        for key, seeds in found.items()
    }
    title = f"{options.rows:,} rows, {options.seeds} seeds, target {TARGET}"
    printed = f"{title}\n\n{table(header, lines)}"
    publish("recall_promise", printed, {"recalls": numbers}, options.write)


if __name__ == "__main__":
    main()
