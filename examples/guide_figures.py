"""Pictures of guide pages that no other example draws.

    .venv/bin/python examples/guide_figures.py

Handwritten digits, cells, drawn numbers and texts; a minute on one core. The speeds in
the picture of approximate search are those of the machine that it is drawn on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.cluster import DBSCAN, KMeans
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.manifold import TSNE
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from latentsk import (
    ExplanationDisplay,
    LatentIndex,
    LatentMapDisplay,
    LatentNeighborsTransformer,
    LatentOutlierDetector,
    NeighborsDisplay,
    OutlierScoreDisplay,
    PCAEmbedder,
    RecallDisplay,
    ReconstructionDisplay,
    VAEEmbedder,
)

OUTPUT = Path(__file__).parents[1] / "docs" / "_static"
BLUE, ORANGE = "#0072B2", "#E69F00"


def pca(X: np.ndarray, y: np.ndarray) -> plt.Figure:
    """Draw the variance that components explain, and digits from a few of them."""
    figure, axes = plt.subplots(
        1, 2, figsize=(9.6, 2.9), layout="constrained", width_ratios=[1.0, 2.1]
    )
    embedder = PCAEmbedder().fit(X)
    explained = np.cumsum(embedder.explained_variance_ratio_)
    axes[0].plot(np.arange(1, len(explained) + 1), explained, color=BLUE)
    axes[0].axhline(0.99, color="0.5", linestyle="--", label="99 %")
    axes[0].set(xlabel="components", ylabel="share of the variance", ylim=(0, 1.03))
    axes[0].legend(loc="lower right")
    ReconstructionDisplay.from_estimator(
        PCAEmbedder(10).fit(X), X, n_rows=8, image_shape=(8, 8), labels=y, ax=axes[1]
    )
    return figure


def similarity(X: np.ndarray, y: np.ndarray) -> plt.Figure:
    """Draw queries and the rows most like them."""
    index = LatentIndex(PCAEmbedder(16)).fit(X[10:])
    return NeighborsDisplay.from_estimator(
        index,
        X[2:6],
        X[10:],
        n_neighbors=6,
        image_shape=(8, 8),
        labels=[f"a {digit}" for digit in y[2:6]],
    ).figure_


def near_duplicates(X: np.ndarray, y: np.ndarray) -> plt.Figure:
    """Draw how far rows are from their nearest, with copies among them."""
    rng = np.random.default_rng(0)
    copies = X[:60] + rng.normal(scale=0.3, size=(60, 64))
    index = LatentIndex(PCAEmbedder(16)).fit(np.vstack([X, copies]))
    distances, _ = index.kneighbors(n_neighbors=1)
    figure, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
    ax.hist(distances.ravel(), bins=90, color=BLUE)
    ax.axvspan(0, 3, color=ORANGE, alpha=0.3, zorder=0)
    ax.text(1.5, 0.92, "copies", ha="center", transform=ax.get_xaxis_transform())
    ax.set(xlabel="distance to the nearest other row", ylabel="rows", xlim=(0, 25))
    return figure


def exact_or_approximate(X: np.ndarray, y: np.ndarray) -> plt.Figure:
    """Draw recall and speed of an exact index and of three approximate ones."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(16, 64))
    rows, queries = (
        (rng.normal(size=(n, 16)) @ mixing + rng.normal(size=(n, 64))).astype("f4")
        for n in (60_000, 1_000)
    )
    indexes = {"exact": LatentIndex(n_jobs=1).fit(rows)}
    for target in (0.99, 0.95, 0.9):
        index = LatentIndex(n_neighbors=10, target_recall=target, n_jobs=1)
        indexes[f"target_recall={target}"] = index.fit(rows)
    return RecallDisplay.from_estimator(indexes, queries).figure_


def neighbor_graphs(X: np.ndarray, y: np.ndarray) -> plt.Figure:
    """Draw a map and clusters, both from graphs of neighbours."""
    embedder = PCAEmbedder(16).fit(X)
    chart = make_pipeline(
        LatentNeighborsTransformer(embedder, n_neighbors=91),
        TSNE(perplexity=30, metric="precomputed", init="random", random_state=0),
    ).fit_transform(X)
    clusters = make_pipeline(
        LatentNeighborsTransformer(embedder, n_neighbors=200),
        DBSCAN(eps=17, min_samples=12, metric="precomputed"),
    ).fit_predict(X)
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained")
    LatentMapDisplay(
        chart, color=y, axis_names=("t-SNE 1", "t-SNE 2"), name="digit"
    ).plot(axes[0])
    named = np.where(clusters < 0, "none", "cluster ")
    named = np.array(
        [n if n == "none" else f"{n}{c}" for n, c in zip(named, clusters, strict=True)]
    )
    LatentMapDisplay(
        chart, color=named, axis_names=("t-SNE 1", "t-SNE 2"), name="DBSCAN"
    ).plot(axes[1])
    return figure


def boxes(texts: list[str], arrows: list[str]) -> plt.Figure:
    """Draw boxes from left to right, with what leads from one to the next."""
    figure, ax = plt.subplots(figsize=(2.6 * len(texts), 1.5), layout="constrained")
    for place, text in enumerate(texts):
        ax.text(
            place,
            0,
            text,
            ha="center",
            va="center",
            bbox={
                "boxstyle": "round,pad=0.6",
                "facecolor": "#E8F1F8",
                "edgecolor": BLUE,
            },
        )
    for place, text in enumerate(arrows):
        tips = {"arrowstyle": "->", "color": "0.3", "shrinkA": 62, "shrinkB": 62}
        ax.annotate("", (place + 1, 0), (place, 0), arrowprops=tips)
        ax.text(place + 0.5, 0.34, text, ha="center", size=9, color="0.25")
    ax.set(xlim=(-0.5, len(texts) - 0.5), ylim=(-0.6, 0.6))
    ax.set_axis_off()
    return figure


def live_index(X: np.ndarray, y: np.ndarray) -> plt.Figure:
    """Draw who talks to an index."""
    return boxes(
        ["clients", "a web service", "LatentIndex", "one file"],
        ["queries", "search, add, remove", "save, load"],
    )


def saving(X: np.ndarray, y: np.ndarray) -> plt.Figure:
    """Draw the way of a model from one machine to another."""
    return boxes(
        [
            "a fitted model\n(here)",
            "model.latentsk\n(no code inside)",
            "the same model\n(there)",
        ],
        ["latentsk.save", "latentsk.load"],
    )


def export(X: np.ndarray, y: np.ndarray) -> plt.Figure:
    """Draw the way of a model into a service without Python."""
    return boxes(
        [
            "a Pipeline or detector\n(Python)",
            "model.onnx",
            "onnxruntime\n(any language)",
        ],
        ["latentsk.to_onnx", "load, run"],
    )


def from_pyod(X: np.ndarray, y: np.ndarray) -> plt.Figure:
    """Draw both scales of scores."""
    figure, axes = plt.subplots(2, 1, figsize=(7.2, 2.3), layout="constrained")
    scores = np.random.default_rng(0).gamma(2.0, size=400)
    for ax, sign, name in zip(axes, (1, -1), ("PyOD", "latentsk"), strict=True):
        is_outlier = scores > 5.5
        for shown, colour in ((~is_outlier, BLUE), (is_outlier, ORANGE)):
            ax.plot(
                sign * scores[shown], np.zeros(shown.sum()), "|", color=colour, ms=16
            )
        ax.axvline(sign * 5.5, color="black", linestyle="--")
        labels = ("1", "0") if sign > 0 else ("\N{MINUS SIGN}1", "1")
        ax.text(
            sign * 7.5, 0.035, f"outliers: {labels[0]}", ha="center", color="#A66A00"
        )
        ax.text(sign * 2.5, 0.035, f"normal: {labels[1]}", ha="center", color=BLUE)
        ax.set(yticks=[], ylim=(-0.04, 0.07), xlim=sorted((-0.5 * sign, 10 * sign)))
        ax.set_ylabel(name)
    axes[0].set_title("decision_function of PyOD, and score_samples here", size=10)
    return figure


def pictures(X: np.ndarray, y: np.ndarray) -> plt.Figure:
    """Draw a map, reconstructions, scores and reasons, each by its display."""
    figure = plt.figure(figsize=(10.4, 6.8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.1, 1.0])
    of_map, of_images = above.subplots(1, 2, width_ratios=[1.0, 1.5])
    of_scores, of_reasons = below.subplots(1, 2, width_ratios=[1.2, 1.0])
    pixels = X / 16
    vae = VAEEmbedder(
        2, likelihood="continuous_bernoulli", max_epochs=150, random_state=0
    ).fit(pixels)
    LatentMapDisplay.from_estimator(
        vae, pixels, color=y, name="digit", outliers=False, ax=of_map
    )
    ReconstructionDisplay.from_estimator(
        vae, pixels, n_rows=7, image_shape=(8, 8), labels=y, ax=of_images
    )
    cells = load_breast_cancer(as_frame=True)
    detector = LatentOutlierDetector(assume_clean=True, random_state=0)
    benign = cells.data[cells.target == 1]
    fitted, others = train_test_split(benign, train_size=157, random_state=0)
    detector.fit(fitted)
    rows = pd.concat([others, cells.data[cells.target == 0]])
    kinds = cells.target_names[cells.target[rows.index]]
    OutlierScoreDisplay.from_estimator(detector, rows, y=kinds, ax=of_scores)
    lowest = int(detector.score_samples(rows).argmin())
    ExplanationDisplay.from_estimator(
        detector, rows.iloc[[lowest]], max_features=6, ax=of_reasons
    )
    return figure


def texts(X: np.ndarray, y: np.ndarray) -> plt.Figure:
    """Draw the kinds of tickets, and scores of three about something else."""
    rng = np.random.default_rng(0)
    sentences = (
        "my {} has not arrived yet",
        "the courier left the {} with a neighbour",
        "I was charged twice for the {}",
        "please refund the {} that I sent back",
        "the {} does not turn on any more",
        "the screen of my {} is broken",
    )
    things = ["phone", "tablet", "lamp", "camera", "router", "printer"]
    found = [
        f"{sentences[rng.integers(6)].format(rng.choice(things))}, order {number}"
        for number in rng.choice(9_000, 597, replace=False) + 1_000
    ]
    found += [
        "do you offer guided tours of your museum for school classes",
        "a squirrel lives in the roof above our kitchen",
        "who won the chess tournament on Saturday evening",
    ]
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")
    few, many = (
        make_pipeline(TfidfVectorizer(), TruncatedSVD(n, random_state=0), Normalizer())
        for n in (30, 300)
    )
    kinds = KMeans(6, n_init=10, random_state=0).fit_predict(few.fit_transform(found))
    LatentMapDisplay.from_estimator(
        few, found, color=kinds.astype(str), name="kind", method="tsne", ax=axes[0]
    )
    detector = LatentOutlierDetector(many, random_state=0).fit(found)
    names = np.repeat(["ticket", "something else"], [597, 3])
    OutlierScoreDisplay.from_estimator(detector, found, y=names, ax=axes[1])
    return figure


FIGURES: dict[str, Callable[[np.ndarray, np.ndarray], plt.Figure]] = {
    "pca": pca,
    "similarity": similarity,
    "near_duplicates": near_duplicates,
    "exact_or_approximate": exact_or_approximate,
    "neighbor_graphs": neighbor_graphs,
    "live_index": live_index,
    "saving": saving,
    "export": export,
    "from_pyod": from_pyod,
    "pictures": pictures,
    "texts": texts,
}


def main() -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        figure = FIGURES[name](X, y)
        path = options.output / f"{name}.png"
        figure.savefig(path, dpi=110)
        plt.close(figure)
        print(path)


if __name__ == "__main__":
    main()
