"""What VAEEmbedder's `likelihood_scale` is worth on tables.

    python benchmarks/likelihood_scale.py [--seeds N ...] [--write]

AUROC and average precision of the default score, with the sets and protocols of
adbench.py and oddbench.py, standardized. Every fit has its default parameters but for
this one, and one thread. Results are kept in `--partial`, and the same command goes on
from these; a run of one seed takes some twenty minutes on an idle core, and a third of
it with ``--tables 30``.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any

import adbench
import numpy as np
import oddbench
from _harness import publish, table, threads
from adbench import DETECTORS, Task, add_line, group, measured, quiet, shapes

from latentsk import LatentOutlierDetector, VAEEmbedder

SCALES = ("shared", "feature")
ODDBENCH = "OddBench"
IN_DETECTOR = "unsup, in LatentOutlierDetector"
# Fits inside the detector take long: of sets with at most so many values only.
MOST_INSIDE = 20_000
HEADER = ["protocol", "sets or groups", "likelihood_scale", "AUROC", "AP", "better in"]


def made(task: Task) -> Any:
    """Return the embedder, or the detector around it."""
    embedder = VAEEmbedder(likelihood_scale=task.detector, random_state=task.seed)
    if task.protocol == IN_DETECTOR:
        return LatentOutlierDetector(embedder, random_state=task.seed)
    return embedder


def tasks(
    adbench_data: Path, oddbench_data: Path, seeds: list[int], n_tables: int | None
) -> Iterator[Task]:
    """Yield what is to be fitted, small sets first."""
    sets = shapes(adbench_data)
    names = sorted(sets, key=lambda name: sets[name][0] * sets[name][1])
    tables = list(filter(oddbench.usable, sorted(oddbench_data.glob("*.npz"))))
    small = [name for name in names if sets[name][0] * sets[name][1] <= MOST_INSIDE]
    for seed in seeds:
        for name in names:
            for protocol in adbench.PROTOCOLS:
                for scale in SCALES:
                    yield Task(name, seed, protocol, scale)
        for name in small:
            for scale in SCALES:
                yield Task(name, seed, IN_DETECTOR, scale)
        for path in tables[:n_tables]:
            for scale in SCALES:
                yield Task(path.stem, seed, ODDBENCH, scale)


def run(task: Task, adbench_data: Path, oddbench_data: Path) -> dict[str, Any]:
    """Return the measures of a task."""
    with threads(1), quiet():
        if task.protocol == ODDBENCH:
            rows = oddbench.prepared(oddbench_data / f"{task.set}.npz", task.seed)
        else:
            protocol = task.protocol.split(",")[0]
            rows = adbench.prepared(adbench_data, task._replace(protocol=protocol))
        return task._asdict() | measured(DETECTORS["VAEEmbedder"], made(task), *rows)


def known(path: Path) -> dict[Task, dict[str, Any]]:
    """Return what an earlier run has kept."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):  # a run that is killed leaves half a line
            record = json.loads(line)
            found[Task(*(record[field] for field in Task._fields))] = record
    return found


def summary(records: dict[Task, dict[str, Any]]) -> list[list[object]]:
    """Return the rows of the table: means over groups of sets, and seconds of all."""
    values: dict[tuple[str, str], dict[str, list[dict]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for task, record in records.items():
        values[task.protocol, task.detector][group(task.set)].append(record)
    rows: list[list[object]] = []
    for (protocol, scale), groups in values.items():

        def means(metric: str, of: str = scale, where: str = protocol) -> np.ndarray:
            found = values[where, of].values()
            return np.array([mean(r[metric] for r in part) for part in found])

        auroc, shared = means("auroc"), means("auroc", "shared")
        better = f"{int((auroc > shared + 1e-9).sum())} of {len(auroc)}"
        rows.append(
            [
                protocol,
                len(groups),
                scale,
                f"{auroc.mean():.3f}",
                f"{means('ap').mean():.3f}",
                "" if scale == "shared" else better,
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=shared, help="folder with *bench/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tables", type=int, help="OddBench sets; default: all")
    parser.add_argument(
        "--partial", type=Path, default=Path(__file__).parent / ".scale.jsonl"
    )
    parser.add_argument("--write", action="store_true", help="update results/, README")
    options = parser.parse_args()
    folders = options.data / "adbench", options.data / "oddbench"
    records, done = {}, known(options.partial)
    for task in tasks(*folders, options.seeds, options.tables):
        if task not in done:
            done[task] = run(task, *folders)
            add_line(options.partial, json.dumps(done[task]))
        records[task] = done[task]
    rows = summary(records)
    publish("likelihood_scale", table(HEADER, rows), {"rows": rows}, options.write)


if __name__ == "__main__":
    main()
