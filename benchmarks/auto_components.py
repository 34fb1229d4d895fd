"""What share of the variance PCAEmbedder should keep, judged by outlier detection.

    python benchmarks/auto_components.py [--data FOLDER] [--write]

Mean AUROC of the likelihood on the ADBench sets in FOLDER/adbench (the MVTec-AD sets
average to one), seeds 0 and 1, rows standardized with the training rows. *oneclass*:
fit on half of the normal rows, score the rest. *unsup*: fit on 70 % of all rows without
labels, score 30 %.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean

import numpy as np
from _harness import arguments, publish, table
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from latentsk import PCAEmbedder

MOST_ROWS = 10_000
Split = tuple[np.ndarray, np.ndarray, np.ndarray]


def unsupervised(X: np.ndarray, y: np.ndarray, seed: int) -> Split:
    train, test, _, labels = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=seed
    )
    return train, test, labels


def one_class(X: np.ndarray, y: np.ndarray, seed: int) -> Split:
    train, held_out = train_test_split(X[y == 0], test_size=0.5, random_state=seed)
    test = np.concatenate([held_out, X[y == 1]])
    return train, test, np.arange(len(test)) >= len(held_out)


def sets(folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray, int]]:
    for path in sorted((folder / "adbench").glob("*.npz")):
        with np.load(path) as content:
            X, y = content["X"].astype(np.float64), content["y"]
        group = "MVTec-AD" if path.stem.startswith("MVTec-AD") else path.stem
        for seed in (0, 1):
            if len(X) > MOST_ROWS:
                rows, _ = train_test_split(
                    np.arange(len(X)),
                    train_size=MOST_ROWS,
                    stratify=y,
                    random_state=seed,
                )
                yield group, X[rows], y[rows], seed
            else:
                yield group, X, y, seed


def rules(train: np.ndarray) -> dict[str, int]:
    """Return the number of components that each rule keeps, all below the rank."""
    variances = np.linalg.svd(train - train.mean(axis=0), compute_uv=False) ** 2
    rank = int(np.sum(variances > 1e-10 * variances[0]))
    explained = np.cumsum(variances) / variances.sum()
    kept = {
        f"{share:.1%}": int(np.searchsorted(explained, share) + 1)
        for share in (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
    }
    kept["all but one"] = rank - 1
    return {name: max(1, min(k, rank - 1)) for name, k in kept.items()}


def aurocs(split: Split) -> dict[str, float]:
    train, test, labels = split
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    return {
        rule: roc_auc_score(
            labels,
            -PCAEmbedder(k, svd_solver="full").fit(train).score_samples(test),
        )
        for rule, k in rules(train).items()
    }


def main() -> None:
    options = arguments(__doc__).parse_args()
    protocols: dict[str, Callable[..., Split]] = {
        "oneclass": one_class,
        "unsup": unsupervised,
    }
    found: dict = defaultdict(lambda: defaultdict(list))
    for group, X, y, seed in sets(options.data):
        for protocol, split in protocols.items():
            for rule, value in aurocs(split(X, y, seed)).items():
                found[rule, protocol][group].append(value)
    means = {
        key: mean(mean(v) for v in groups.values()) for key, groups in found.items()
    }
    names = list(dict.fromkeys(rule for rule, _ in means))
    rows = [
        [n, *[f"{means[n, protocol]:.3f}" for protocol in protocols]] for n in names
    ]
    printed = table(["variance kept", *protocols], rows)
    document = {"auroc": {f"{rule}, {p}": v for (rule, p), v in means.items()}}
    publish("auto_components", printed, document, options.write)


if __name__ == "__main__":
    main()
