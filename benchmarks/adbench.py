"""Outlier detectors, ours and the peers', on the ADBench sets (Han et al., 2022).

    python benchmarks/adbench.py [--quick] [--detectors NAME ...] [--write]

Every `*.npz` (X, y) in `--data` is a set, subsampled if it has more than 10,000 rows.
*unsup*: fit on 70 % of all rows without labels, score 30 %. *oneclass*: fit on half of
the normal rows, score the other half and all outliers. Rows are standardized with the
training rows; every detector has its default parameters and one thread. The MVTec-AD
sets average to one group, and means are over groups.

A full run takes hours. It keeps every result in `--partial` as soon as it is there, and
the same command goes on from these; `--again NAME ...` drops those of some detectors,
`--fresh` all. `--quick` takes the small sets and the fast detectors, and neither keeps
results nor reads them back.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from _harness import publish, table, threads
from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).parents[1]
GENERATED = ROOT / "docs" / "_generated" / "adbench.inc"
MOST_ROWS = 10_000
QUICK_ROWS, QUICK_FEATURES = 2_000, 100
HEADER = ["detector", "mean AUROC", "mean AP", "mean rank", "fit (s)", "score (s)"]

Rows = np.ndarray
Split = tuple[Rows, Rows]
Record = dict[str, Any]


class Task(NamedTuple):
    """One fit: what a line of the partial results is known by."""

    set: str
    seed: int
    protocol: str
    detector: str


Records = dict[Task, Record]


# Protocols: which rows train, and which are scored.


def subsample(y: np.ndarray, seed: int) -> Rows:
    """Return the rows to use: all, or MOST_ROWS with the same share of outliers."""
    rows = np.arange(len(y))
    if len(y) <= MOST_ROWS:
        return rows
    kept, _ = train_test_split(
        rows, train_size=MOST_ROWS, stratify=y, random_state=seed
    )
    return kept


def unsupervised(y: np.ndarray, seed: int) -> Split:
    train, test = train_test_split(
        np.arange(len(y)), test_size=0.3, stratify=y, random_state=seed
    )
    return train, test


def one_class(y: np.ndarray, seed: int) -> Split:
    normal, outliers = np.flatnonzero(y == 0), np.flatnonzero(y == 1)
    train, held_out = train_test_split(normal, test_size=0.5, random_state=seed)
    return train, np.concatenate([held_out, outliers])


PROTOCOLS: dict[str, Callable[[np.ndarray, int], Split]] = {
    "unsup": unsupervised,
    "oneclass": one_class,
}


# Detectors.


class Detector(NamedTuple):
    """Where a detector is found, imported only when it is needed.

    `cost` is about the seconds of a fit of 10,000 rows, for the order of the tasks.
    """

    module: str
    class_name: str
    cost: float
    parameters: Mapping[str, object] = {}
    seeded: bool = True
    protocols: tuple[str, ...] = tuple(PROTOCOLS)
    slow: bool = False
    embedder: str | None = None

    @property
    def library(self) -> str:
        """Return the name for readers."""
        names = {"pyod": "PyOD", "sklearn": "scikit-learn", "latentsk": "latentsk"}
        return names[self.module.split(".")[0]]

    @property
    def is_ours(self) -> bool:
        """Tell whether it is what is benchmarked here, and not a peer."""
        return self.library == "latentsk"

    def make(self, seed: int) -> Any:
        """Return the detector itself, not fitted."""
        parameters = dict(self.parameters)
        if self.seeded:
            parameters["random_state"] = seed
        module = import_module(self.module)
        if self.embedder:
            parameters["embedder"] = getattr(module, self.embedder)()
        return getattr(module, self.class_name)(**parameters)

    def outlierness(self, model: Any, X: np.ndarray) -> np.ndarray:
        """Return scores that are higher for outliers."""
        if self.library == "PyOD":
            return np.asarray(model.decision_function(X))
        return -np.asarray(model.score_samples(X))


def _pyod(module: str, class_name: str, cost: float, **options: Any) -> Detector:
    return Detector(f"pyod.models.{module}", class_name, cost, **options)


DETECTORS = {
    "LatentOutlierDetector": Detector("latentsk", "LatentOutlierDetector", 2),
    "LatentOutlierDetector-clean": Detector(
        "latentsk",
        "LatentOutlierDetector",
        2,
        {"assume_clean": True},
        protocols=("oneclass",),
    ),
    "PCAEmbedder": Detector("latentsk", "PCAEmbedder", 0.02),
    "AutoencoderEmbedder": Detector("latentsk", "AutoencoderEmbedder", 3, slow=True),
    "AutoencoderEmbedder-masking": Detector(
        "latentsk",
        "AutoencoderEmbedder",
        4,
        {"noise": "masking", "noise_level": 0.3},
        slow=True,
    ),
    "VAEEmbedder": Detector("latentsk", "VAEEmbedder", 8, slow=True),
    "LatentOutlierDetector-VAE": Detector(
        "latentsk",
        "LatentOutlierDetector",
        16,
        embedder="VAEEmbedder",
        protocols=("unsup",),
        slow=True,
    ),
    "LatentOutlierDetector-AE": Detector(
        "latentsk",
        "LatentOutlierDetector",
        6,
        embedder="AutoencoderEmbedder",
        protocols=("unsup",),
        slow=True,
    ),
    "KNN": _pyod("knn", "KNN", 0.5, seeded=False),
    "LOF": _pyod("lof", "LOF", 0.8, seeded=False),
    "IForest": _pyod("iforest", "IForest", 0.3),
    "PCA": _pyod("pca", "PCA", 0.05),
    "ECOD": _pyod("ecod", "ECOD", 0.07, seeded=False),
    "COPOD": _pyod("copod", "COPOD", 0.06, seeded=False),
    "HBOS": _pyod("hbos", "HBOS", 0.04, seeded=False),
    "OCSVM": _pyod("ocsvm", "OCSVM", 5, seeded=False),
    "AutoEncoder": _pyod(
        "auto_encoder", "AutoEncoder", 6, parameters={"verbose": 0}, slow=True
    ),
    "VAE": _pyod("vae", "VAE", 20, parameters={"verbose": 0}, slow=True),
    "IsolationForest": Detector("sklearn.ensemble", "IsolationForest", 0.3),
    "LocalOutlierFactor": Detector(
        "sklearn.neighbors", "LocalOutlierFactor", 0.8, {"novelty": True}, seeded=False
    ),
}
# Those with a column in the table of the single sets, after ours.
SHOWN_PEERS = ("KNN", "IForest", "PCA", "AutoEncoder", "VAE")


def label(name: str) -> str:
    detector = DETECTORS[name]
    return f"**{name}**" if detector.is_ours else f"{detector.library} {name}"


# One task, in a worker.


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop warnings and whatever a detector prints."""
    nowhere = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        yield


def warm_up(detector: Detector) -> None:
    """Have imports and compilation done before the clock runs."""
    rows = np.random.default_rng(0).normal(size=(64, 3))
    with contextlib.suppress(Exception):  # it fails again, and is noted, on the set
        detector.outlierness(detector.make(0).fit(rows), rows)


def prepared(folder: Path, task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the standardized training and test rows, and the test rows' labels."""
    with np.load(folder / f"{task.set}.npz") as content:
        rows = subsample(content["y"], task.seed)
        X, y = content["X"][rows].astype(np.float64), content["y"][rows]
    train, test = PROTOCOLS[task.protocol](y, task.seed)
    scaler = StandardScaler().fit(X[train])
    return scaler.transform(X[train]), scaler.transform(X[test]), y[test]


def measured(
    detector: Detector, model: Any, train: np.ndarray, test: np.ndarray, y: np.ndarray
) -> Record:
    start = time.perf_counter()
    model.fit(train)
    fitted = time.perf_counter()
    scores = detector.outlierness(model, test)
    scored = time.perf_counter()
    finite = np.nan_to_num(scores)
    return {
        "auroc": float(roc_auc_score(y, finite)),
        "ap": float(average_precision_score(y, finite)),
        "fit": fitted - start,
        "score": scored - fitted,
        "not_finite": int(np.sum(~np.isfinite(scores))),
    }


def run(folder: Path, task: Task) -> Record:
    """Return the task's record: its measures, or the error of the detector."""
    with threads(1), quiet():
        return judged(task, *prepared(folder, task))


def judged(task: Task, train: np.ndarray, test: np.ndarray, y: np.ndarray) -> Record:
    """Return the record of the task's detector on prepared rows."""
    detector = DETECTORS[task.detector]
    warm_up(detector)
    # Outside of the try: a library that is missing is no failure on this set.
    model = detector.make(task.seed)
    try:
        outcome = measured(detector, model, train, test, y)
    except Exception as error:
        message = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        outcome = {"error": message, "outlier_share": float(np.mean(y))}
    return task._asdict() | outcome


# Partial results: one JSON object per line.


def read_partial(lines: Iterable[str]) -> Records:
    """Return the records by task; a later line counts instead of an earlier one."""
    records: Records = {}
    for line in lines:
        # A run that is killed can leave half a line behind.
        with contextlib.suppress(json.JSONDecodeError):
            record = json.loads(line)
            records[Task(*(record[field] for field in Task._fields))] = record
    return records


def open_partial(path: Path, fresh: bool, again: Iterable[str]) -> Records:
    """Return what is known already, and leave a file that lines can be added to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text(encoding="utf-8") if path.exists() and not fresh else ""
    records = read_partial(text.splitlines())
    kept = {task: r for task, r in records.items() if task.detector not in set(again)}
    if fresh or len(kept) < len(records):
        lines = (json.dumps(record) + "\n" for record in kept.values())
        path.write_text("".join(lines), encoding="utf-8")
    elif text and not text.endswith("\n"):
        add_line(path, "")
    return kept


def add_line(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


# The run.


def shapes(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the rows (after subsampling) and features of every set."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as content:
            features = content["X"].shape[1]
            found[path.stem] = min(len(content["y"]), MOST_ROWS), features
    return found


def tasks(
    sets: Mapping[str, tuple[int, int]], detectors: Iterable[str], seeds: Iterable[int]
) -> list[Task]:
    """Return all tasks, those that take longest first."""

    def cost(task: Task) -> float:
        rows, features = sets[task.set]
        return DETECTORS[task.detector].cost * rows * features

    every = [
        Task(name, seed, protocol, detector)
        for name in sets
        for seed in seeds
        for detector in detectors
        for protocol in DETECTORS[detector].protocols
    ]
    return sorted(every, key=cost, reverse=True)


def progress_bar() -> Progress:
    # The stream itself: tasks that run in this process redirect the name.
    return Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),
    )


def compute(folder: Path, todo: list[Task], jobs: int) -> Iterator[Record]:
    """Yield the records as they come, and show how many there are."""
    if jobs == 1:  # nothing to balance: cheap detectors first, to see something soon
        todo = sorted(todo, key=lambda task: DETECTORS[task.detector].cost)
    workers = Parallel(n_jobs=jobs, return_as="generator_unordered")
    with progress_bar() as progress:
        bar = progress.add_task("fits", total=len(todo))
        for record in workers(delayed(run)(folder, task) for task in todo):
            description = f"{record['detector']} on {record['set']}"
            progress.update(bar, advance=1, description=description)
            yield record


def collect(
    folder: Path, wanted: list[Task], known: Records, jobs: int, partial: Path | None
) -> Records:
    """Return the records of all wanted tasks; failed ones are tried again."""
    known = {task: r for task, r in known.items() if "error" not in r}
    todo = [task for task in wanted if task not in known]
    for record in compute(folder, todo, jobs):
        if partial:
            add_line(partial, json.dumps(record))
        known |= read_partial([json.dumps(record)])
    return {task: known[task] for task in wanted}


# Tables.


def group(name: str) -> str:
    return "MVTec-AD" if name.startswith("MVTec-AD") else name


def counted(record: Record, metric: str) -> float:
    """Return AUROC ("auroc") or average precision ("ap"); of a failure, chance's."""
    if "error" in record:
        return 0.5 if metric == "auroc" else record["outlier_share"]
    return record[metric]


def by_group(records: Records, protocol: str, metric: str) -> dict[str, dict]:
    """Return {detector: {group: mean over its sets and the seeds}}."""
    found: dict = defaultdict(lambda: defaultdict(list))
    for task, record in records.items():
        if task.protocol == protocol:
            value = counted(record, metric)
            found[task.detector][group(task.set)].append(value)
    return {
        detector: {name: mean(values) for name, values in groups.items()}
        for detector, groups in found.items()
    }


def mean_ranks(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return {detector: mean over groups of its rank}, 1 for the highest value."""
    names = next(iter(values.values()), {})
    matrix = [[groups[name] for name in names] for groups in values.values()]
    # Rounded, for equal scores can differ in the last digit of their AUROC.
    ranks = rankdata(-np.round(matrix, 9), axis=0).mean(axis=1)
    return dict(zip(values, ranks.tolist(), strict=True))


def seconds(records: Records, protocol: str, detector: str, part: str) -> float:
    """Return the seconds over all sets, as a mean over seeds; failures take none."""
    mine = {t: r for t, r in records.items() if t[2:] == (protocol, detector)}
    seeds = {task.seed for task in mine}
    return sum(record.get(part, 0.0) for record in mine.values()) / len(seeds)


def protocol_rows(records: Records, protocol: str) -> list[list[object]]:
    """Return the rows of a protocol's table, the best detector first."""
    aurocs, precisions = (by_group(records, protocol, m) for m in ("auroc", "ap"))
    ranks = mean_ranks(aurocs) if aurocs else {}
    means = {detector: mean(groups.values()) for detector, groups in aurocs.items()}
    return [
        [
            label(detector),
            f"{means[detector]:.3f}",
            f"{mean(precisions[detector].values()):.3f}",
            f"{ranks[detector]:.1f}",
            f"{seconds(records, protocol, detector, 'fit'):.2f}",
            f"{seconds(records, protocol, detector, 'score'):.2f}",
        ]
        for detector in sorted(means, key=means.__getitem__, reverse=True)
    ]


def used_protocols(records: Records) -> list[str]:
    present = {task.protocol for task in records}
    return [protocol for protocol in PROTOCOLS if protocol in present]


def summary(records: Records) -> str:
    sets = {task.set for task in records}
    seeds = ", ".join(map(str, sorted({task.seed for task in records})))
    return f"{len(sets)} sets in {len(set(map(group, sets)))} groups, seeds: {seeds}"


def _cases(records: Records, text: Callable[[Record], object]) -> list[str]:
    """Return "label, text on sets" of the records that `text` has a word on."""
    where = defaultdict(set)
    for task, record in records.items():
        if said := text(record):
            where[task.detector, said].add(task.set)
    return [
        f"{label(name)}: {said} ({', '.join(sorted(sets))})"
        for (name, said), sets in sorted(where.items())
    ]


def notes(records: Records) -> list[str]:
    """Return what a reader of the table must know about failures and NaN."""
    failed = _cases(records, lambda record: record.get("error"))
    replaced = _cases(records, lambda r: r.get("not_finite") and "not finite")
    found = []
    if failed:
        found.append(
            "Failed, counted on that set and seed as AUROC 0.5 and the share of "
            "outliers as AP:\n\n" + "\n".join(f"- {case}" for case in failed)
        )
    if replaced:
        found.append(
            "Some scores were replaced by `numpy.nan_to_num`:\n\n"
            + "\n".join(f"- {case}" for case in replaced)
        )
    return found


def means_text(records: Records) -> str:
    parts = [summary(records)]
    for protocol in used_protocols(records):
        parts += [f"*{protocol}*", table(HEADER, protocol_rows(records, protocol))]
    return "\n\n".join(parts + notes(records))


def sets_text(records: Records) -> str:
    """Return the tables of AUROC by group."""
    parts = [summary(records)]
    for protocol in used_protocols(records):
        aurocs = by_group(records, protocol, "auroc")
        ours = [name for name in DETECTORS if DETECTORS[name].is_ours]
        columns = [name for name in [*ours, *SHOWN_PEERS] if name in aurocs]
        groups = sorted({group(task.set) for task in records}, key=str.lower)
        rows: list[list[object]] = [
            [name, *(f"{aurocs[column][name]:.3f}" for column in columns)]
            for name in groups
        ]
        header = ["AUROC", *map(label, columns)]
        parts += [f"*{protocol}*", table(header, rows)]
    return "\n\n".join(parts)


def rst_tables(records: Records) -> str:
    """Return the protocols' tables for a page of the documentation to include."""
    text = ".. Written by benchmarks/adbench.py.\n"
    for protocol in used_protocols(records):
        rows = [HEADER, *protocol_rows(records, protocol)]
        lines = [", ".join(f'"{cell}"' for cell in row) for row in rows]
        text += f"\n.. csv-table:: {protocol} ({summary(records)})\n"
        text += "   :header-rows: 1\n\n"
        text += "".join(f"   {line}\n" for line in lines)
    return text


def values(records: Records) -> dict:
    """Return {protocol: {detector: {set: [mean AUROC, mean AP]}}}, over seeds."""
    found: dict = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for task, record in sorted(records.items()):
        measures = [counted(record, metric) for metric in ("auroc", "ap")]
        found[task.protocol][task.detector][task.set].append(measures)
    return {
        protocol: {
            detector: {
                name: np.mean(seeds, axis=0).round(4).tolist()
                for name, seeds in sets.items()
            }
            for detector, sets in detectors.items()
        }
        for protocol, detectors in found.items()
    }


def report(records: Records, write: bool) -> None:
    publish("adbench", means_text(records), {"auroc_and_ap": values(records)}, write)
    print()
    aurocs = {
        protocol: {
            detector: {name: round(value, 4) for name, value in groups.items()}
            for detector, groups in by_group(records, protocol, "auroc").items()
        }
        for protocol in used_protocols(records)
    }
    publish("adbench_sets", sets_text(records), {"auroc": aurocs}, write)
    if write:
        GENERATED.parent.mkdir(exist_ok=True)
        GENERATED.write_text(rst_tables(records), encoding="utf-8")


# The command.


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names: dict[str, Any] = {"nargs": "+", "choices": DETECTORS, "metavar": "NAME"}
    shared = Path(__file__).parents[2] / "shared" / "data" / "adbench"
    parser.add_argument("--data", type=Path, default=shared, help="folder with *.npz")
    parser.add_argument("--detectors", default=list(DETECTORS), **names)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument(
        "--partial",
        type=Path,
        default=Path(__file__).parent / ".adbench.jsonl",
        help="file that keeps finished fits, for a run to go on from",
    )
    parser.add_argument("--fresh", action="store_true", help="forget finished fits")
    parser.add_argument(
        "--again", default=[], help="forget these detectors' finished fits", **names
    )
    parser.add_argument(
        "--quick", action="store_true", help="seed 0, small sets, fast detectors"
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="update results/, the README's tables and docs/ (never with --quick)",
    )
    return parser


def main() -> None:
    options = arguments().parse_args()
    sets = shapes(options.data)
    if options.quick:
        options.seeds, options.partial = [0], None
        small = QUICK_ROWS, QUICK_FEATURES
        sets = {k: s for k, s in sets.items() if s[0] <= small[0] and s[1] <= small[1]}
        options.detectors = [d for d in options.detectors if not DETECTORS[d].slow]
    if not sets:
        sys.exit(f"no sets to use in {options.data}")
    wanted = tasks(sets, options.detectors, options.seeds)
    known: Records = {}
    if options.partial:
        known = open_partial(options.partial, options.fresh, options.again)
    records = collect(options.data, wanted, known, options.jobs, options.partial)
    report(records, options.write and not options.quick)


if __name__ == "__main__":
    main()
