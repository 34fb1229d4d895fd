"""Approximate search with a target of recall, against peers that are tuned by hand.

    python benchmarks/approximate_search.py [--sets NAME ...] [--resume PATH] [--write]
    python benchmarks/approximate_search.py --families [--sets NAME ...] [--write]
    python benchmarks/approximate_search.py --overhead [--write]
    python benchmarks/approximate_search.py --memory [--write]

**Search.** 10 neighbours of 10,000 queries that no index has seen. Recall counts a row
as found if its distance, in float64, is not above that of the true tenth neighbour. A
peer is built once; for each target it gets the fastest setting of a sweep that reaches
the target *on these very queries*, which its users would have to know. Ours is told the
target and nothing else: "fit" is everything it takes, choosing included, and "build" a
fit with the choice handed in (`index_spec`). "Promised" is what `recall_` says of the
fit, with its lower bound. Times of building are single runs. Queries/s are medians of
runs in turn, and a ratio is ours over those of the fastest peer at that target, in the
same round. scikit-learn answers fewer queries, and its time is scaled up. rabitqlib's
graph takes no changes: it is compared with ours that is promised none, `static=True`,
and is no "fastest peer" of the others.

Every set takes long. With `--resume`, finished ones are kept in a file, from which the
same command goes on. `--quick` has everything 20 times smaller, to try the script out.

**Families** (`--families`): lists as the tuner finds them (`static=False`), and graphs
at their fastest setting that reaches the target on the test queries.

**Overhead** (`--overhead`): `kneighbors` against the structure it asks.

**Memory** (`--memory`): peak of anonymous memory during a fit above the data, and what
the fitted index holds once the data are gone; each case in a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from _harness import arguments, medians, paired, publish, ratio, table, threads
from _search_data import N_NEIGHBORS, SETS, Data, clustered, distances, mnist
from _search_peers import PEERS, Peer, Search, Setting
from memory import PeakMemory, anonymous_megabytes

from latentsk import LatentIndex

TARGETS = (0.90, 0.95, 0.99)
QUICK = 20  # times smaller
OURS = ("float32", "certified")
# Ours with a promise of no changes, and the peer that takes none.
STATIC, STATIC_PEER = "static", "rabitqlib"
GENERATED = Path(__file__).parents[1] / "docs/_generated/approximate_search.inc"
BUDGETS = (None, "200MB", "128MB", "96MB")
# In MB of 10^6 bytes, as budgets are.
MEBIBYTE = 2**20 / 1e6

Record = dict[str, Any]


# Recall.


def recall(data: Data, positions: np.ndarray) -> float:
    """Return the share of neighbours found; the first queries may be answered only."""
    n_queries = len(positions)
    found = distances(data.base, data.queries[:n_queries], positions)
    near = found <= data.limits[:n_queries, None] * (1 + 1e-6)
    same = positions[:, :, None] == positions[:, None, :]
    repeated = np.tril(same, -1).any(axis=2)
    return float(np.mean(near & ~repeated))


# Ours.


def latent_index(**parameters: Any) -> LatentIndex:
    """Return a LatentIndex of 10 neighbours."""
    return LatentIndex(n_neighbors=N_NEIGHBORS, **parameters)


def promised(index: LatentIndex) -> dict[str, float]:
    """Return what the fit says of its recall; nothing where the search is exact."""
    row = index.recall_.loc[N_NEIGHBORS]
    return {"promised": float(row["recall"]), "lower": float(row["lower"])}


def raw_index(index: LatentIndex, X: np.ndarray) -> faiss.Index:
    """Return the same index, built by FAISS alone."""
    parts = index.index_spec_.split(",")
    parameters = dict(part.split("=") for part in parts if "=" in part)
    structure = [part for part in parts if "=" not in part]
    raw = faiss.index_factory(X.shape[1], ",".join([*structure, "RFlat"]))
    raw.train(X)
    raw.add(X)
    raw.k_factor = float(parameters["rerank"])
    lists = faiss.extract_index_ivf(raw.base_index)
    lists.nprobe = int(parameters["nprobe"])
    return raw


def our_search(index: LatentIndex, exactness: str, Q: np.ndarray) -> np.ndarray:
    # `exactness` may be set after the fit.
    return index.set_params(exactness=exactness).kneighbors(Q, return_distance=False)


# Measuring.


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def build(peer: Peer, data: Data, n_threads: int) -> tuple[Search, float]:
    """Return the search and the seconds of building; compilation has been before."""
    few = data.base[:2_000].copy()
    peer.build(few, 16, n_threads)(peer.queries(data)[:100], **peer.ladders[0][0])
    return timed(partial(peer.build, data.base, data.n_lists, n_threads))


def sweep(peer: Peer, search: Search, data: Data) -> list[Record]:
    """Return recall and seconds of each setting, up to the highest target."""
    queries, found = peer.queries(data), []
    search(queries[:1_000], **peer.ladders[0][0])
    for settings in peer.ladders:
        for setting in settings:
            run = partial(search, queries, **setting)
            positions, seconds = timed(run)
            reached = recall(data, positions)
            if reached >= min(TARGETS):  # it may be chosen: a second, better look
                seconds = min(seconds, timed(run)[1])
            found.append({"setting": setting, "recall": reached, "seconds": seconds})
            if reached >= max(TARGETS):
                break  # what follows on the ladder is slower
    return found


def fastest(swept: list[Record], target: float) -> Record | None:
    """Return what reaches the target in the least time, or None."""
    enough = [entry for entry in swept if entry["recall"] >= target]
    return min(enough, key=lambda entry: entry["seconds"], default=None)


def our_fit(data: Data, target: float, n_threads: int) -> tuple[LatentIndex, Record]:
    """Fit by the target, and again by what was found."""
    wanted = {"target_recall": target, "exactness": "float32", "n_jobs": n_threads}
    latent_index(**wanted).fit(data.base[:2_000])
    index, fit = timed(partial(latent_index(**wanted).fit, data.base))
    del wanted["target_recall"]
    pinned = latent_index(**wanted, index_spec=index.index_spec_)
    _, building = timed(partial(pinned.fit, data.base))
    record = {
        "spec": index.index_spec_,
        "fit": fit,
        "build": building,
        **promised(index),
    }
    for exactness in OURS:
        positions = our_search(index, exactness, data.queries)
        record[f"recall_{exactness}"] = recall(data, positions)
    return index, record


def our_static_fit(
    data: Data, target: float, n_threads: int
) -> tuple[LatentIndex, Record]:
    """Fit with the promise that nothing changes."""
    wanted = {"target_recall": target, "exactness": "float32", "n_jobs": n_threads}
    make = partial(latent_index, **wanted, static=True)
    make().fit(data.base[:2_000])
    index, fit = timed(partial(make().fit, data.base))
    reached = recall(data, our_search(index, "float32", data.queries))
    record = {"spec": index.index_spec_, "fit": fit, "recall": reached}
    return index, {**record, **promised(index)}


def race(
    index: LatentIndex,
    static: LatentIndex | None,
    searches: dict[str, Search],
    chosen: dict[str, Record],
    data: Data,
    rounds: int,
) -> dict[str, list[float]]:
    """Time ours and every peer's chosen setting in turn, in seconds for all queries."""
    Q = data.queries
    runs: dict[str, Callable[[], object]] = {
        exactness: partial(our_search, index, exactness, Q) for exactness in OURS
    }
    if static is not None:
        runs[STATIC] = partial(our_search, static, "float32", Q)
    shares = dict.fromkeys(runs, 1.0)
    for name, entry in chosen.items():
        few = PEERS[name].queries(data)
        runs[name] = partial(searches[name], few, **entry["setting"])
        shares[name] = len(few) / len(Q)
    seconds = paired(runs, rounds)
    return {name: [s / shares[name] for s in v] for name, v in seconds.items()}


def measured(data: Data, options: argparse.Namespace) -> Record:
    """Return all of a set's figures, fit for JSON."""
    searches, builds, swept = {}, {}, {}
    n_threads, rounds = options.threads, options.rounds
    for name in options.peers:
        peer = PEERS[name]
        searches[name], builds[name] = build(peer, data, n_threads)
        log(f"  {name}: built in {builds[name]:.1f} s")
        swept[name], seconds = timed(partial(sweep, peer, searches[name], data))
        log(f"  {name}: {len(swept[name])} settings in {seconds:.1f} s")
    targets = {}
    for target in options.targets:
        index, ours = our_fit(data, target, n_threads)
        log(f"  {target}: {ours}")
        found = {name: fastest(entries, target) for name, entries in swept.items()}
        chosen = {name: entry for name, entry in found.items() if entry is not None}
        static, promise = None, {}
        if STATIC_PEER in options.peers:
            static, promise = our_static_fit(data, target, n_threads)
            log(f"  {target}, static: {promise}")
        targets[str(target)] = {
            "ours": ours,
            **({STATIC: promise} if promise else {}),
            "chosen": chosen,
            "seconds": race(index, static, searches, chosen, data, rounds),
        }
    return {
        "title": f"{data.title}, {len(data.base):,} x {data.base.shape[1]}",
        "threads": n_threads,
        "n_queries": len(data.queries),
        "builds": builds,
        "sweeps": swept,
        "targets": targets,
    }


# Tables of a set.


def best_peer(seconds: dict[str, list[float]]) -> str:
    """Return the fastest of those that rows can be added to."""
    apart = {*OURS, STATIC, STATIC_PEER}
    by_peer = {n: s for n, s in medians(seconds).items() if n not in apart}
    return min(by_peer, key=by_peer.__getitem__)


def ours_row(target: str, record: Record) -> list[object]:
    measures = record["targets"][target]
    ours, seconds = measures["ours"], measures["seconds"]
    speed = {name: record["n_queries"] / s for name, s in medians(seconds).items()}
    best, hnsw = best_peer(seconds), record["builds"].get("faiss HNSW", math.nan)
    says = f"{ours['promised']:.3f} ({ours['lower']:.3f})" if "promised" in ours else ""
    return [
        f"{float(target):.2f}",
        ours["spec"] or "exact",
        f"{ours['recall_float32']:.3f}",
        says,
        *[f"{ours[part]:.1f}" for part in ("fit", "build")],
        *[f"{hnsw / ours[part]:.1f}" for part in ("fit", "build")],
        *[f"{speed[exactness]:,.0f}" for exactness in OURS],
        best,
        *[f"{ratio(seconds, best, exactness):.2f}" for exactness in OURS],
    ]


OUR_HEADER = [
    *["target", "what was found", "recall", "promised (at least)"],
    *["fit (s)", "build (s)", "HNSW's build / fit", "HNSW's build / build"],
    *["float32 (queries/s)", "certified (queries/s)"],
    *["fastest peer", "float32 ratio", "certified ratio"],
]


def static_row(target: str, record: Record) -> list[object]:
    measures = record["targets"][target]
    ours, seconds = measures[STATIC], measures["seconds"]
    rival = (
        f"{ratio(seconds, STATIC_PEER, STATIC):.2f}" if STATIC_PEER in seconds else ""
    )
    return [
        f"{float(target):.2f}",
        ours["spec"],
        f"{ours['recall']:.3f}",
        f"{ours['fit']:.1f}",
        f"{record['n_queries'] / medians(seconds)[STATIC]:,.0f}",
        f"{ratio(seconds, 'float32', STATIC):.2f}",
        rival,
    ]


STATIC_HEADER = [
    *["target", "found with static=True", "recall", "fit (s)", "queries/s"],
    *["over static=False", "over rabitqlib"],
]


def families_row(target: str, record: Record) -> list[object]:
    """Return how much faster graphs are that are set by hand; empty: not reached."""
    seconds = record["targets"][target]["seconds"]
    graphs = [
        f"{ratio(seconds, 'float32', name):.2f}" if name in seconds else ""
        for name in GRAPHS
    ]
    builds = [f"{record['builds'][name]:.1f}" for name in GRAPHS]
    ours = record["targets"][target]["ours"]
    speed = f"{record['n_queries'] / medians(seconds)['float32']:,.0f}"
    cells = [record["title"], f"{float(target):.2f}", ours["spec"], speed]
    return [*cells, f"{ours['build']:.1f}", *graphs, *builds]


GRAPHS = ("faiss HNSW", STATIC_PEER)
FAMILIES_HEADER = [
    *["data", "target", "lists found", "queries/s", "build (s)"],
    *["HNSW over lists", "SymphonyQG over lists", "HNSW's build", "SymphonyQG's build"],
]


def families_table(records: dict[str, Record]) -> str:
    """Return where graphs pay, in Markdown."""
    rows = [
        families_row(target, record)
        for record in records.values()
        for target in record["targets"]
    ]
    return table(FAMILIES_HEADER, rows)


def peer_row(name: str, record: Record) -> list[object]:
    cells = [name, f"{record['builds'][name]:.1f}"]
    for measures in record["targets"].values():
        entry = measures["chosen"].get(name)
        if entry is None:
            cells += ["", "not reached"]
            continue
        speed = record["n_queries"] / medians(measures["seconds"])[name]
        how = words(entry["setting"]) or "exact"
        cells += [f"{speed:,.0f}", f"{how}: {entry['recall']:.3f}"]
    return cells


def words(setting: Setting) -> str:
    return ", ".join(f"{name} {value}" for name, value in setting.items())


def set_tables(record: Record) -> str:
    """Return a set's tables in Markdown: ours by target, and the peers'."""
    ours = [ours_row(target, record) for target in record["targets"]]
    peers = [peer_row(name, record) for name in record["builds"]]
    speeds = [
        cell
        for target in record["targets"]
        for cell in (f"queries/s at {float(target):.2f}", "setting: recall")
    ]
    title = f"**{record['title']}**, {record['threads']} threads"
    peer_table = table(["peer", "build (s)", *speeds], peers)
    parts = [title, table(OUR_HEADER, ours), peer_table]
    if all(STATIC in measures for measures in record["targets"].values()):
        static = [static_row(target, record) for target in record["targets"]]
        parts.insert(2, table(STATIC_HEADER, static))
    return "\n\n".join(parts)


# Finished sets.


def read_finished(path: Path | None) -> dict[str, Record]:
    if path is None or not path.exists():
        return {}
    return json.loads(path.read_text(encoding="utf-8"))


def keep_finished(path: Path | None, records: dict[str, Record]) -> None:
    """Write the records, never leaving half a file behind."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(records), encoding="utf-8")
    unfinished.replace(path)


def set_key(name: str, options: argparse.Namespace) -> str:
    size = "quick" if options.quick else "full"
    key = f"{name}, {size}, {options.threads} threads, {options.rounds} rounds"
    for what, everything in (("peers", list(PEERS)), ("targets", list(TARGETS))):
        some = getattr(options, what)
        if some != everything:
            key += f", {what}: {', '.join(map(str, some))}"
    return key


# The three parts.


def guide_table(records: dict[str, Record]) -> str:
    """Return what the user guide shows: one line for each data set and target."""
    lines = [
        ".. Written by benchmarks/approximate_search.py.",
        "",
        ".. csv-table::",
        "   :header-rows: 1",
        "",
        '   "data", "target", "recall", "queries/s", "fit (s)", "exact (queries/s)"',
    ]
    for record in records.values():
        for target, entry in record["targets"].items():
            ours, seconds = entry["ours"], medians(entry["seconds"])
            n_queries = record["n_queries"]
            cells = [
                record["title"],
                target,
                f"{ours['recall_float32']:.3f}",
                f"{n_queries / seconds['float32']:,.0f}",
                f"{ours['fit']:.1f}",
                f"{n_queries / seconds['scikit-learn']:,.0f}",
            ]
            lines.append("   " + ", ".join(f'"{cell}"' for cell in cells))
    return "\n".join(lines) + "\n"


def compare(options: argparse.Namespace) -> None:
    records, tables = read_finished(options.resume), {}
    for name in options.sets:
        key = set_key(name, options)
        if key not in records:
            log(name)
            data = SETS[name](options.data, QUICK if options.quick else 1)
            records[key] = measured(data, options)
            keep_finished(options.resume, records)
        tables[name] = set_tables(records[key])
    wanted = {name: records[set_key(name, options)] for name in options.sets}
    if options.families:
        document = {"threads": options.threads, "sets": wanted}
        publish("search_families", families_table(wanted), document, options.write)
        return
    printed = "\n\n".join(tables.values())
    publish("approximate_search", printed, {"sets": wanted}, options.write)
    if options.write:
        GENERATED.write_text(guide_table(wanted), encoding="utf-8")


def overhead(options: argparse.Namespace) -> None:
    shrink = QUICK if options.quick else 1
    data = mnist(options.data, shrink)
    Q = data.queries[: 1_000 // shrink].copy()
    wanted = {"target_recall": 0.95, "exactness": "float32", "n_jobs": options.threads}
    index = latent_index(**wanted).fit(data.base)
    raw = raw_index(index, data.base)
    runs: dict[str, Callable[[], object]] = {
        "raw": lambda: raw.search(Q, N_NEIGHBORS),
        "ours": lambda: index.kneighbors(Q),
    }
    seconds = paired(runs, options.rounds * 5)  # short runs: more rounds
    speed = {name: f"{len(Q) / s:,.0f}" for name, s in medians(seconds).items()}
    share = 1 / ratio(seconds, "raw", "ours") - 1
    header = ["data", "queries", "raw (queries/s)", "ours (queries/s)", "our layer"]
    title = f"{data.title}, {len(data.base):,} x {data.base.shape[1]}"
    row = [title, len(Q), speed["raw"], speed["ours"], f"{share:+.1%}"]
    document = {
        "threads": options.threads,
        "spec": index.index_spec_,
        "seconds": seconds,
    }
    publish("search_overhead", table(header, [row]), document, options.write)


def release() -> None:
    """Give freed memory back, so that what comes next cannot hide in it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None:
        trim(0)


def fit_memory(path: Path, budget: str | None, n_threads: int) -> Record:
    """Fit on the array in a file, in this process; in MB."""
    wanted = {"target_recall": 0.95, "memory_budget": budget, "n_jobs": n_threads}
    with threads(n_threads):
        few = np.array(np.load(path, mmap_mode="r")[:20_000])
        latent_index(**wanted).fit(few).kneighbors(few[:1_000])
        del few
        release()
        before = anonymous_megabytes()
        X = np.load(path)
        size = X.nbytes / 1e6
        with PeakMemory() as peak:
            try:
                index = latent_index(**wanted).fit(X)
            except ValueError as error:
                return {"budget": budget, "data": size, "error": str(error)}
        del X
        gc.collect()
        held = (anonymous_megabytes() - before) * MEBIBYTE
        release()
        trimmed = (anonymous_megabytes() - before) * MEBIBYTE
    return {
        "budget": budget,
        "data": size,
        "peak": peak.megabytes * MEBIBYTE,
        "held": held,
        "trimmed": trimmed,
        "spec": index.index_spec_,
        **promised(index),
    }


def memory_row(record: Record) -> list[object]:
    budget, data = record["budget"], record["data"]
    if "error" in record:
        return [budget, record["error"], *[""] * 6]
    held, trimmed = record["held"], record["trimmed"]
    return [
        budget or "none",
        record["spec"] or "exact",
        f"{record['promised']:.3f}" if "promised" in record else "",
        f"{record['peak']:.0f}",
        f"{record['peak'] / data:.2f}",
        f"{held:.0f}",
        f"{trimmed:.0f}",
        f"{trimmed / float(budget.removesuffix('MB')):.2f}" if budget else "",
    ]


def index_memory(options: argparse.Namespace) -> None:
    context = multiprocessing.get_context("spawn")
    records = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        np.save(path, clustered(1_000_000 // (QUICK if options.quick else 1), 32))
        for budget in BUDGETS:
            with context.Pool(1) as pool:
                parameters = (path, budget, options.threads)
                records.append(pool.apply(fit_memory, parameters))
    header = ["memory_budget", "what was found", "recall promised"]
    header += ["peak above the data (MB)", "peak / data"]
    header += ["held (MB)", "held, trimmed (MB)", "held, trimmed / budget"]
    title = f"Data of {records[0]['data']:.0f} MB, {options.threads} threads"
    printed = f"{title}\n\n{table(header, [memory_row(record) for record in records])}"
    publish("index_memory", printed, {"cases": records}, options.write)


def main() -> None:
    parser = arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--targets", nargs="+", type=float, default=list(TARGETS))
    parser.add_argument("--resume", type=Path, help="file that keeps finished sets")
    parser.add_argument("--quick", action="store_true", help="20 times smaller")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--overhead", action="store_true", help="the cost of our layer")
    part.add_argument(
        "--families", action="store_true", help="lists and graphs: where which pays"
    )
    part.add_argument("--memory", action="store_true", help="memory of fitted indexes")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("--quick is for trying out, and --write is not")
    with threads(options.threads):
        if options.overhead:
            overhead(options)
        elif options.memory:
            index_memory(options)
        else:
            if options.families:
                options.peers, options.targets = list(GRAPHS), [0.95, 0.99]
            compare(options)


if __name__ == "__main__":
    main()
