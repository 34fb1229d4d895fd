"""What the choices inside LatentOutlierDetector are worth on the ADBench sets.

    python benchmarks/adbench_variants.py [--data FOLDER] [--seeds N ...] [--write]

Mean AUROC over the groups of sets, with the protocols of adbench.py: `unsup` by the
default detector, `oneclass` by `assume_clean=True`. Each line changes one thing.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import mean
from types import ModuleType
from unittest.mock import patch

import numpy as np
from _harness import publish, table, threads
from adbench import Task, group, prepared, quiet, shapes
from joblib import Parallel, delayed
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import LatentOutlierDetector, PCAEmbedder, RobustStandardizer
from latentsk.outliers import (
    _bulk,
    _detector,
    _gaussian,
    _neighborhood,
    _neighbors,
    _robust_fit,
    _scales,
)
from latentsk.outliers._scales import METHODS

Deviations = dict[str, np.ndarray]
Measures = dict[str, float]
# A module, a name in it, and what it is to be.
Change = tuple[ModuleType, str, object]


def _ridge(share: float) -> list[Change]:
    return [(_gaussian, "best_ridge", lambda *_: share)]


def _instead_of_the_fence(share: float) -> list[Change]:
    """Presume this share of the rows normal, those nearest the centre."""
    return [
        (module, "within_fence", lambda squared: _bulk.nearest_rows(squared, share))
        for module in (_bulk, _robust_fit)
    ]


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
# Other fits: what is replaced in the package, and parameters.
FITS: dict[str, tuple[list[Change], dict[str, object]]] = {
    "as it is": ([], {}),
    "margin of 0": ([(_detector, "CLEAN_MARGIN", 0.0)], {}),
    "margin of 2": ([(_detector, "CLEAN_MARGIN", 2.0)], {}),
    "StandardScaler first": (
        [],
        {"embedder": make_pipeline(StandardScaler(), PCAEmbedder(None))},
    ),
    "no codes": (
        [],
        {
            "embedder": make_pipeline(
                RobustStandardizer(detect_codes=False), PCAEmbedder(None)
            )
        },
    ),
    "99 % of the variance": (
        [],
        {"embedder": make_pipeline(RobustStandardizer(), PCAEmbedder())},
    ),
    "ridge of 0.1": (_ridge(0.1), {}),
    "ridge of 1e-6": (_ridge(1e-6), {}),
    "support of half of the rows": (
        [(module, "SUPPORT_SHARE", 0.5) for module in (_bulk, _robust_fit)],
        {},
    ),
    "no tight steps": ([(_bulk, "TIGHT_STEPS", 0)], {}),
    "two values as any others": (
        [
            (_bulk, "is_mostly_one_value", lambda rows: np.zeros(rows.shape[1], bool)),
            *(
                (module, "squared_ranges_of_two", lambda rows: np.zeros(rows.shape[1]))
                for module in (_bulk, _robust_fit)
            ),
        ],
        {},
    ),
    "no fence, all rows": (_instead_of_the_fence(1.0), {}),
    "nine tenths instead of the fence": (_instead_of_the_fence(0.9), {}),
    "three quarters instead of the fence": (_instead_of_the_fence(0.75), {}),
    "1 neighbour": ([], {"n_neighbors": 1}),
    "20 neighbours": ([], {"n_neighbors": 20}),
    "distances not weighed by density": (
        [
            (_neighbors, "scaled_distances", lambda distances, _: distances),
            (_neighbors, "clipped_spacings", lambda spacings: np.ones(len(spacings))),
        ],
        {},
    ),
    "sample of 128 rows": ([(_neighborhood, "SAMPLE_ROWS", 128)], {}),
    "sample of all rows": ([(_neighborhood, "SAMPLE_ROWS", 2**31)], {}),
    "nearest of 32 random rows": (
        [
            (
                _neighbors,
                "minimum_weights",
                partial(_neighbors.minimum_weights, n_drawn=32),
            )
        ],
        {},
    ),
    "no least spread": (
        [(_scales, "LEAST_LOCAL", 0.0), (_scales, "LEAST_GLOBAL", 0.0)],
        {},
    ),
}


@contextmanager
def changed(changes: list[Change]) -> Iterator[None]:
    """Replace parts of the package for a while."""
    with ExitStack() as patches:
        for module, name, replacement in changes:
            patches.enter_context(patch.object(module, name, replacement))
        yield


def measured(folder: Path, name: str, protocol: str, seed: int) -> Measures:
    """Return AUROC by variant, for one set."""
    found = {}
    with threads(1), quiet():
        train, test, y = prepared(folder, Task(name, seed, protocol, ""))
        for fit, (changes, parameters) in FITS.items():
            with changed(changes):
                model = LatentOutlierDetector(
                    assume_clean=protocol == "oneclass", random_state=seed, **parameters
                ).fit(train)
                by_kind = deviations_by_kind(model, test)
            fusions = FUSIONS if fit == "as it is" else {fit: FUSIONS["as it is"]}
            for fusion, scores in fusions.items():
                found[fusion] = float(roc_auc_score(y, scores(by_kind)))
    return found


def deviations_by_kind(model: LatentOutlierDetector, rows: np.ndarray) -> Deviations:
    parts = -model.score_parts(rows)
    return {kind: parts[kind].to_numpy() for kind in parts.columns}


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
