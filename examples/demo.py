"""The main job on real data: embed, score outliers, find similar rows, show them.

    make demo

Handwritten digits (1,797 images of 8 x 8 pixels, shipped with scikit-learn). Prints a
small table and writes one picture to examples/output/demo.png.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from latentsk import LatentIndex, PCAEmbedder

SCORE_METHODS = ["likelihood", "reconstruction", "mahalanobis"]
N_COMPONENTS = 16
OUTPUT = Path(__file__).parent / "output" / "demo.png"


def outlier_auroc(X: np.ndarray, y: np.ndarray, score_method: str) -> float:
    """Mean AUROC of ten tasks: one digit is normal, the nine others are outliers.

    Half of the normal digit's rows are fitted; the rest of them and all other digits
    are scored.
    """
    values = []
    for digit in range(10):
        train, test = train_test_split(X[y == digit], test_size=0.5, random_state=0)
        embedder = PCAEmbedder(N_COMPONENTS, score_method=score_method).fit(train)
        rows = np.concatenate([test, X[y != digit]])
        is_normal = np.arange(len(rows)) < len(test)
        values.append(roc_auc_score(is_normal, embedder.score_samples(rows)))
    return float(np.mean(values))


def neighbour_share(X: np.ndarray, y: np.ndarray) -> float:
    """Share of the 10 nearest neighbours that show the query's digit."""
    index = LatentIndex(PCAEmbedder(N_COMPONENTS)).fit(X)
    positions = index.kneighbors(n_neighbors=10, return_distance=False)
    return float(np.mean(y[positions] == y[:, None]))


def rows_per_second(run: Callable[[], object], n_rows: int) -> float:
    """Rows per second of the fastest of five runs, after one to warm up."""
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return n_rows / min(seconds[1:])


def quality(X: np.ndarray, y: np.ndarray) -> list[str]:
    """Lines of the table that are the same on every machine."""
    lines = [
        f"outlier AUROC, {method:<15} {outlier_auroc(X, y, method):>12.3f}"
        for method in SCORE_METHODS
    ]
    share = f"{neighbour_share(X, y):.1%}"
    return [*lines, f"10 neighbours, same digit       {share:>11}"]


def speed(X: np.ndarray) -> list[str]:
    """Lines of the table that depend on the machine."""
    embedder = PCAEmbedder(N_COMPONENTS).fit(X)
    index = LatentIndex(embedder).fit(X)
    runs = {
        "fit": lambda: PCAEmbedder(N_COMPONENTS).fit(X),
        "score": lambda: embedder.score_samples(X),
        "search": lambda: index.kneighbors(X, 10),
    }
    return [
        f"{name + ', rows/s':<31}{rows_per_second(run, len(X)):>12,.0f}"
        for name, run in runs.items()
    ]


def draw(X: np.ndarray, y: np.ndarray, path: Path) -> None:
    """Draw queries, their reconstructions and neighbours, and the top outliers."""
    embedder = PCAEmbedder(N_COMPONENTS).fit(X)
    index = LatentIndex(embedder).fit(X)
    queries = np.array([np.flatnonzero(y == digit)[3] for digit in (0, 3, 5, 8)])
    neighbours = index.kneighbors(X[queries], 7, return_distance=False)[:, 1:]
    outliers = np.argsort(embedder.score_samples(X))[:8]

    figure = plt.figure(figsize=(8.4, 6.6), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[4, 1.25])
    upper.suptitle(f"Digits in {N_COMPONENTS} principal components")
    axes = upper.subplots(len(queries), 8)
    rebuilt = embedder.reconstruct(X[queries])
    for row, query in enumerate(queries):
        images = [X[query], rebuilt[row], *X[neighbours[row]]]
        for axis, image in zip(axes[row], images, strict=True):
            show(axis, image)
    for axis, title in zip(axes[0], ["query", "rebuilt", *range(1, 7)], strict=True):
        axis.set_title(
            title if isinstance(title, str) else f"neighbour {title}", size=9
        )

    lower.suptitle("The eight rows of lowest likelihood, with their labels")
    for axis, row in zip(lower.subplots(1, 8), outliers, strict=True):
        show(axis, X[row])
        axis.set_title(f"“{y[row]}”", size=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def show(axis: plt.Axes, image: np.ndarray) -> None:
    """Draw one digit, without ticks."""
    axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
    axis.set_xticks([])
    axis.set_yticks([])


def main() -> None:
    """Print the table and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    path = parser.parse_args().output
    X, y = load_digits(return_X_y=True)
    print(f"{len(X):,} digits, {X.shape[1]} pixels, {N_COMPONENTS} components\n")
    print("\n".join([*quality(X, y), *speed(X)]))
    draw(X, y, path)
    print(f"\npicture: {path}")


if __name__ == "__main__":
    main()
