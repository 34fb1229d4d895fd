"""LatentOutlierDetector and two peers on many small tables of real data.

    python benchmarks/oddbench.py [--data FOLDER] [--seeds N ...] [--write]

Every `*.npz` in `--data` is a set: normal rows to train on (`train`), others and
outliers to score (`test`, and `test_labels`, 1 for outliers). At most 2,000 training
rows are used, and rows are standardized with these. Detectors and tables are those of
adbench.py. Sets with text or missing values are left out.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from _harness import publish, threads
from adbench import Record, Records, Task, judged, means_text, quiet, values
from joblib import Parallel, delayed
from sklearn.preprocessing import StandardScaler

MOST_ROWS = 2_000
# All training rows are normal.
PROTOCOL = "oneclass"
DETECTORS = (
    "LatentOutlierDetector",
    "LatentOutlierDetector-clean",
    "KNN",
    "IsolationForest",
)


def usable(path: Path) -> bool:
    """Tell whether a set holds finite numbers, and both kinds of rows to score."""
    with np.load(path) as content:
        try:
            parts = [content["train"], content["test"]]
        except ValueError:  # Python objects, which text can be
            return False
        has_both = len(np.unique(content["test_labels"])) == 2
    return has_both and all(
        part.dtype.kind in "biuf" and np.isfinite(part).all() for part in parts
    )


def prepared(path: Path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the standardized training and test rows, and the test rows' labels."""
    with np.load(path) as content:
        train, test = (content[p].astype(np.float64) for p in ("train", "test"))
        train, y = train[content["train_labels"] == 0], content["test_labels"]
    rng = np.random.default_rng(seed)
    if len(train) > MOST_ROWS:
        train = train[np.sort(rng.choice(len(train), MOST_ROWS, replace=False))]
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test), y


def run(path: Path, seed: int) -> list[Record]:
    """Return a record for each detector."""
    with threads(1), quiet():
        rows = prepared(path, seed)
        tasks = [Task(path.stem, seed, PROTOCOL, name) for name in DETECTORS]
        return [judged(task, *rows) for task in tasks]


def records_of(paths: list[Path], seeds: list[int], jobs: int) -> Records:
    found = Parallel(n_jobs=jobs)(
        delayed(run)(path, seed) for path in paths for seed in seeds
    )
    return {
        Task(*(record[field] for field in Task._fields)): record
        for records in found
        for record in records
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    shared = Path(__file__).parents[2] / "shared" / "data" / "oddbench"
    parser.add_argument("--data", type=Path, default=shared, help="folder with *.npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true", help="update results/, README")
    options = parser.parse_args()
    paths = [path for path in sorted(options.data.glob("*.npz")) if usable(path)]
    if not paths:
        raise SystemExit(f"no sets to use in {options.data}")
    records = records_of(paths, options.seeds, options.jobs)
    document = {"auroc_and_ap": values(records)}
    publish("oddbench", means_text(records), document, options.write)


if __name__ == "__main__":
    main()
