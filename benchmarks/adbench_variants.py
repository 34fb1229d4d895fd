"""What the choices inside LatentOutlierDetector are worth on the ADBench sets.

    python benchmarks/adbench_variants.py [--data FOLDER] [--seeds N ...] [--write]

Mean AUROC over the groups of sets, with the protocols of adbench.py: `unsup` by the
default detector, `oneclass` by `assume_clean=True`. Each line changes one thing.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from unittest.mock import patch

import numpy as np
from _harness import publish, table, threads
from adbench import Task, group, prepared, quiet, shapes
from joblib import Parallel, delayed
from sklearn.metrics import roc_auc_score

from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk.outliers import _detector, _neighborhood, _robust_fit
from latentsk.outliers._scales import KINDS, METHODS, deviations

Deviations = dict[str, np.ndarray]
Measures = dict[str, float]

# What a row's score is, given its deviations from typical training rows. Those of all
# but "near" have the margin taken off already.
FUSIONS: dict[str, Callable[[Deviations], np.ndarray]] = {
    "as it is": lambda d: np.max([d[kind] for kind in METHODS["auto"]], axis=0),
    "distance alone": lambda d: d["joint"],
    "near alone": lambda d: d["near"],
    "overall alone": lambda d: d["overall"],
    "mean instead of maximum": lambda d: (d["joint"] + d["near"] + d["overall"]) / 3,
    "without distance": lambda d: np.maximum(d["near"], d["overall"]),
    "without near": lambda d: np.maximum(d["joint"], d["overall"]),
    "without overall": lambda d: np.maximum(d["joint"], d["near"]),
}
# Other fits: constants of the package, and parameters.
FITS: dict[str, tuple[list, dict[str, object]]] = {
    "as it is": ([], {}),
    "margin of 0": ([(_detector, "CLEAN_MARGIN", 0.0)], {}),
    "margin of 2": ([(_detector, "CLEAN_MARGIN", 2.0)], {}),
    "support of all rows": ([(_robust_fit, "SUPPORT_SHARE", 1.0)], {}),
    "support of half of the rows": ([(_robust_fit, "SUPPORT_SHARE", 0.5)], {}),
    "neighbours among all rows": ([(_detector, "NEIGHBORS_SHARE", 1.0)], {}),
    "neighbours among three quarters": ([(_detector, "NEIGHBORS_SHARE", 0.75)], {}),
    "distances not weighed by density": (
        [(_neighborhood, "relative_distances", lambda means, *_: means)],
        {},
    ),
    "1 neighbour": ([], {"n_neighbors": 1}),
    "20 neighbours": ([], {"n_neighbors": 20}),
    "subsamples of 32 rows": ([(_neighborhood, "SUBSAMPLE_ROWS", 32)], {}),
    "99 % of the variance": ([], {"embedder": PCAEmbedder()}),
}


def measured(folder: Path, name: str, protocol: str, seed: int) -> Measures:
    """Return AUROC by variant, for one set."""
    found = {}
    with threads(1), quiet():
        train, test, y = prepared(folder, Task(name, seed, protocol, ""))
        for fit, (changes, parameters) in FITS.items():
            patches = [patch.object(module, what, to) for module, what, to in changes]
            for change in patches:
                change.start()
            model = LatentOutlierDetector(
                assume_clean=protocol == "oneclass", random_state=seed, **parameters
            ).fit(train)
            columns = deviations(model._measure(test), model._scale).T
            by_kind = dict(zip(KINDS, columns, strict=True))
            fusions = FUSIONS if fit == "as it is" else {fit: FUSIONS["as it is"]}
            for fusion, scores in fusions.items():
                found[fusion] = float(roc_auc_score(y, scores(by_kind)))
            for change in patches:
                change.stop()
    return found


def means(folder: Path, protocol: str, seeds: list[int], jobs: int) -> Measures:
    names = list(shapes(folder))
    todo = [(name, seed) for name in names for seed in seeds]
    results = Parallel(n_jobs=jobs)(
        delayed(measured)(folder, name, protocol, seed) for name, seed in todo
    )
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (name, _), measures in zip(todo, results, strict=True):
        for variant, auroc in measures.items():
            values[variant][group(name)].append(auroc)
    return {v: mean(map(mean, groups.values())) for v, groups in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(__file__).parents[2] / "shared" / "data" / "adbench"
    parser.add_argument("--data", type=Path, default=shared, help="folder with *.npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true", help="update results/, README")
    options = parser.parse_args()
    found = {
        protocol: means(options.data, protocol, options.seeds, options.jobs)
        for protocol in ("unsup", "oneclass")
    }
    rows: list[list[object]] = [
        [variant, *(f"{found[protocol][variant]:.3f}" for protocol in found)]
        for variant in found["unsup"]
    ]
    text = table(["variant", *found], rows)
    publish("adbench_variants", text, {"auroc": found}, options.write)


if __name__ == "__main__":
    main()
