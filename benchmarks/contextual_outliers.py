"""Contextual outliers: rows that are abnormal for their conditions alone.

    python benchmarks/contextual_outliers.py [--seeds N] [--write]

In a tenth of the test rows the readings are those of another row whose context differs;
each reading by itself stays as common as before (Song et al., 2007). Half of the rows
is trained on, without such rows.

- *seasons*, simulated: temperature, power, humidity and pressure of five machines over
  a year; the context is month and machine. The other row is of the opposite half of the
  year.
- *digits* (scikit-learn): the images, given the digit that they are said to be. The
  other row is of another digit: a wrong label.
- *sea* (MarineBiodiversity of OddBench, its normal rows): water, given place and
  temperature of the air. The other row is any.

All models have their defaults. "Without context" sees the readings alone, the others
all columns, categories as make_table_preprocessor encodes them.
"""

from __future__ import annotations

import calendar
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from _harness import arguments, publish, table, threads
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline

from latentsk import LatentOutlierDetector, VAEEmbedder, make_table_preprocessor

SHARE = 0.1


class Case(NamedTuple):
    """Rows, the columns that are their context, and whose readings a row may take.

    Those of a row whose group is the row's `donors`.
    """

    name: str
    rows: pd.DataFrame
    context: list[str]
    groups: np.ndarray
    donors: np.ndarray


def seasons(rng: np.random.Generator, n_rows: int = 4_000) -> Case:
    """Return simulated readings of machines over a year."""
    names = list(calendar.month_abbr)[1:]
    month, machine = rng.integers(12, size=n_rows), rng.integers(5, size=n_rows)
    level = rng.normal(0, 6, 5)[machine]
    heat = 12 - 10 * np.cos(2 * np.pi * (month + 0.5) / 12) + rng.normal(0, 1.2, n_rows)
    rows = pd.DataFrame(
        {
            "month": np.array(names)[month],
            "machine": np.array(list("ABCDE"))[machine],
            "temperature": heat,
            "power": 40 + level + 3 * np.abs(heat - 18) + rng.normal(0, 1.5, n_rows),
            "humidity": 70 - 1.2 * heat + 0.5 * level + rng.normal(0, 2, n_rows),
            "pressure": 1013 + rng.normal(0, 8, n_rows),
        }
    )
    groups, donors = 5 * month + machine, 5 * ((month + 6) % 12) + machine
    return Case("seasons", rows, ["month", "machine"], groups, donors)


def digits(rng: np.random.Generator) -> Case:
    """Return images of digits, with their labels."""
    images, labels = load_digits(return_X_y=True)
    rows = pd.DataFrame(images, columns=[f"pixel {i}" for i in range(64)])
    rows["digit"] = labels.astype(str)
    donors = (labels + rng.integers(1, 10, size=len(rows))) % 10
    return Case("digits", rows, ["digit"], labels, donors)


def sea(folder: Path) -> Case | None:
    """Return the normal rows of a table of OddBench, where it is at hand."""
    path = folder / "oddbench" / "MarineBiodiversity.npz"
    if not path.exists():
        return None
    stored = np.load(path, allow_pickle=False)
    normal = stored["test"][stored["test_labels"] == 0]
    names = [str(name) for name in stored["feature_names"]]
    rows = pd.DataFrame(np.concatenate([stored["train"], normal]), columns=names)
    context = ["latitude", "longitude", "air_temp"]
    all_alike = np.zeros(len(rows), int)
    return Case("sea", rows, context, all_alike, all_alike)


def planted(
    case: Case, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Return training rows, test rows, and which of these are out of context."""
    order = rng.permutation(len(case.rows))
    train, test = np.split(order, [len(order) // 2])
    readings = [name for name in case.rows if name not in case.context]
    rows = case.rows.iloc[test].reset_index(drop=True)
    is_off = np.zeros(len(rows), bool)
    is_off[rng.choice(len(rows), int(SHARE * len(rows)), replace=False)] = True
    cells = rows[readings].to_numpy(copy=True)
    for place in np.flatnonzero(is_off):
        donors = test[case.groups[test] == case.donors[test[place]]]
        donor = rng.choice(donors[donors != test[place]])
        cells[place] = case.rows.loc[donor, readings]
    rows[readings] = cells
    return case.rows.iloc[train], rows, is_off


def scores(
    train: pd.DataFrame, rows: pd.DataFrame, context: list[str], seed: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what each model says of the test rows, higher = more normal."""
    readings = [name for name in train if name not in context]
    conditional = VAEEmbedder(condition=context, random_state=seed).fit(train)
    yield "VAEEmbedder(condition=...)", conditional.score_samples(rows)
    blind = VAEEmbedder(random_state=seed).fit(train[readings])
    yield "VAEEmbedder without context", blind.score_samples(rows[readings])
    preprocessor = make_table_preprocessor(train)
    joint = make_pipeline(preprocessor, VAEEmbedder(random_state=seed)).fit(train)
    yield "VAEEmbedder of all columns", joint.score_samples(rows)
    detector = LatentOutlierDetector(random_state=seed).fit(train)
    yield "LatentOutlierDetector", detector.score_samples(rows)
    known, new = (preprocessor.transform(part) for part in (train, rows))
    neighbors = NearestNeighbors(n_neighbors=5).fit(known)
    yield "5 nearest neighbours", -neighbors.kneighbors(new)[0].mean(axis=1)
    forest = IsolationForest(random_state=seed).fit(known)
    yield "IsolationForest", forest.score_samples(new)


def run(make: Any, n_seeds: int) -> tuple[str, dict[str, list[float]]] | None:
    """Return the AUROC of every model on one kind of data, for every seed."""
    found: dict[str, list[float]] = {}
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        case = make(rng)
        if case is None:
            return None
        train, rows, is_off = planted(case, rng)
        for name, values in scores(train, rows, case.context, seed):
            found.setdefault(name, []).append(roc_auc_score(is_off, -values))
            print(case.name, seed, name, f"{found[name][-1]:.3f}", flush=True)
    return case.name, found


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    columns: dict[str, dict[str, list[float]]] = {}
    with threads(options.threads):
        for make in (seasons, digits, lambda rng: sea(options.data)):
            found = run(make, options.seeds)
            if found is not None:
                columns[found[0]] = found[1]
    models = list(next(iter(columns.values())))
    rows = [[model, *(_spread(c[model]) for c in columns.values())] for model in models]
    printed = f"AUROC over {options.seeds} seeds, mean ± standard deviation\n\n"
    printed += table(["model", *columns], rows)
    document = {"seeds": options.seeds, "auroc": columns}
    publish("contextual_outliers", printed, document, options.write)


if __name__ == "__main__":
    main()
