"""Codes, extremes, ties and relations: what the default detector makes of them.

    .venv/bin/python examples/real_tables.py

Four small tables, made from random numbers: readings with -999 for what was not
measured, two extreme cells, even and repeated values, and a column that is the sum of
others. Prints what is found, and writes a picture of each to examples/output.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import LatentOutlierDetector, PCAEmbedder, RobustStandardizer

OUTPUT = Path(__file__).parent / "output"
# Three colours of Okabe and Ito's palette, which all eyes tell apart; and shapes.
NORMAL = {"color": "#999999", "marker": "o", "s": 10, "linewidths": 0}
CODE = {"color": "#0072B2", "marker": "s", "s": 14, "linewidths": 0}
ODD = {"color": "#D55E00", "marker": "D", "s": 26, "linewidths": 0}


def readings() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return readings with a code, which of them are odd, and which hold the code."""
    rng = np.random.default_rng(0)
    age = rng.normal(50, 12, 600).round()
    pressure = (90 + 0.8 * age + rng.normal(0, 8, 600)).round()
    X = pd.DataFrame({"age": age, "pressure": pressure})
    X["weight"] = rng.normal(75, 12, 600).round(1)
    odd = X.index < 10
    X.loc[odd, "pressure"] += rng.choice([-55, 55], 10)
    X.loc[rng.choice(np.arange(10, 600), 60, replace=False), "pressure"] = -999
    return X, odd, (X["pressure"] == -999).to_numpy()


def extremes(*cells: float) -> np.ndarray:
    """Return normal rows, the first with these cells in the first column."""
    X = np.random.default_rng(0).normal(size=(300, 3))
    X[: len(cells), 0] = cells
    return X


def sums() -> np.ndarray:
    """Return eight columns and their sum, which twelve rows break by 20."""
    rng = np.random.default_rng(0)
    parts = rng.normal(100, 10, size=(500, 8))
    total = parts.sum(axis=1) + rng.normal(0, 0.5, size=500)
    total[:12] += 20
    return np.column_stack([parts, total])


def pipelines() -> dict[str, object]:
    """Return embedders by what they do with a column."""
    keep = RobustStandardizer(detect_codes=False)
    return {
        "default": None,
        "codes not\nlooked for": make_pipeline(keep, PCAEmbedder(None)),
        "StandardScaler": make_pipeline(StandardScaler(), PCAEmbedder(None)),
    }


def fitted(X: object, embedder: object = None) -> LatentOutlierDetector:
    """Return a detector that is fitted on the rows."""
    return LatentOutlierDetector(embedder, random_state=0).fit(X)


def two_panels(width_ratios: tuple[float, float] = (1, 1)) -> tuple[Figure, list[Axes]]:
    """Return a figure with two axes side by side."""
    figure, axes = plt.subplots(
        1, 2, figsize=(8.6, 3.2), layout="constrained", width_ratios=width_ratios
    )
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def draw_scores(
    ax: Axes, tables: dict[str, tuple[LatentOutlierDetector, object]], groups: list
) -> None:
    """Draw a line of scores for each fit, with its threshold."""
    rng = np.random.default_rng(0)
    for y, (detector, X) in enumerate(tables.values()):
        scores = detector.score_samples(X)
        heights = y + rng.uniform(-0.25, 0.25, size=len(scores))
        for name, chosen, style in groups:
            label = name if y == 0 else None
            ax.scatter(scores[chosen], heights[chosen], label=label, **style)
        ax.vlines(detector.offset_, y - 0.4, y + 0.4, color="black", lw=1.2)
    ax.plot([], [], color="black", lw=1.2, label="threshold")
    ax.set_yticks(range(len(tables)), list(tables))
    ax.set_ylim(len(tables) - 0.5, -0.5)
    ax.set_xlabel("score (lower is more abnormal)")


def codes() -> Figure:
    """Draw the column with the code, and the scores with three preparations."""
    X, odd, lost = readings()
    fits = {name: (fitted(X, e), X) for name, e in pipelines().items()}
    figure, (left, right) = two_panels((1, 1.9))
    left.hist(X["pressure"][~lost], bins=15, color=NORMAL["color"])
    left.hist(X["pressure"][lost], bins=[-1015, -983], color=CODE["color"])
    left.annotate("60 cells at -999", (-985, 63), ha="left", color=CODE["color"])
    left.set(xlabel="pressure", ylabel="rows", title="The column")
    groups = [
        ("other rows", ~odd & ~lost, NORMAL),
        ("-999", lost, CODE),
        ("odd for their age", odd, ODD),
    ]
    draw_scores(right, fits, groups)
    right.set_title("Scores of the rows")
    figure.legend(loc="outside lower right", ncols=4, frameon=False)
    for name, (detector, _) in fits.items():
        called = detector.predict(X) == -1
        counts = [f"{called[chosen].sum()} {text}" for text, chosen, _ in groups]
        print(f"codes, {name}".replace("\n", " "), "calls", ", ".join(counts))
    print("codes_", fits["default"][0].codes_)
    return figure


def far_out() -> Figure:
    """Draw the scores of a row at 50, without and with another at 9999."""
    one, X = extremes(50), extremes(50, 9999)
    embedders = {k: e for k, e in pipelines().items() if "\n" not in k}
    figure, axes = two_panels()
    for ax, (name, embedder) in zip(axes, embedders.items(), strict=True):
        tables = {"50": (fitted(one, embedder), one)}
        tables["50 and\n9999"] = (fitted(X, embedder), X)
        for y, (detector, rows) in enumerate(tables.values()):
            scores = detector.score_samples(rows)
            print(f"extremes, {name}:", scores[: y + 1].round(1))
            style = [("the row at 50", 0, ODD), ("the row at 9999", 1, CODE)][: y + 1]
            first = len(style)
            heights = y + np.random.default_rng(0).uniform(-0.2, 0.2, len(scores))
            ax.scatter(scores[first:], heights[first:], **NORMAL)
            for text, row, look in style:
                label = text if ax is axes[0] and row == y else None
                ax.scatter(scores[row], y, label=label, **look | {"s": 45})
            ax.vlines(detector.offset_, y - 0.4, y + 0.4, color="black", lw=1.2)
        ax.set(title=name, xlabel="score (lower is more abnormal)", ylim=(1.5, -0.5))
        ax.set_yticks([0, 1], list(tables))
    axes[0].set_ylabel("cells far out")
    axes[0].scatter([], [], label="other rows", **NORMAL)
    axes[0].plot([], [], color="black", lw=1.2, label="threshold")
    figure.legend(loc="outside lower right", ncols=4, frameon=False)
    return figure


def ties() -> Figure:
    """Draw scores along a line, of an even grid and of one with copies."""
    grid = np.arange(200.0)
    copies = np.concatenate([np.arange(30.0), np.zeros(10)])
    figure, axes = two_panels()
    titles = ("200 even values", "30 even values, one 11 times")
    for ax, column, title in zip(axes, (grid, copies), titles, strict=True):
        detector = fitted(column[:, None])
        called = detector.predict(column[:, None]) == -1
        print(f"ties, {title}: {called.sum()} called")
        line = np.linspace(-0.35, 1.35, 1001) * column.max()
        ax.plot(line, detector.score_samples(line[:, None]), color="#999999", lw=1)
        values, counts = np.unique(column, return_counts=True)
        scores = detector.score_samples(values[:, None])
        for style, chosen in (CODE | {"s": 8}, counts == 1), (ODD, counts > 1):
            ax.scatter(values[chosen], scores[chosen], zorder=3, **style)
        ax.axhline(detector.offset_, color="black", lw=1.2)
        ax.set(title=title, xlabel="value", ylabel="score")
    axes[0].plot([], [], color="#999999", lw=1, label="score of any new value")
    axes[0].scatter([], [], label="values of the table", **CODE)
    axes[0].scatter([], [], label="the value with copies", **ODD)
    axes[0].plot([], [], color="black", lw=1.2, label="threshold")
    figure.legend(loc="outside lower right", ncols=4, frameon=False)
    return figure


def relations() -> Figure:
    """Draw the sum, in whose range the broken rows lie, and the scores."""
    X = sums()
    detector = fitted(X)
    broken = np.arange(len(X)) < 12
    called = detector.predict(X) == -1
    print(f"relations: {called[broken].sum()} of 12, {called[~broken].sum()} others")
    figure, (left, right) = two_panels()
    difference, scores = X[:, 8] - X[:, :8].sum(axis=1), detector.score_samples(X)
    groups = [("relation holds", ~broken, NORMAL), ("broken by 20", broken, ODD)]
    rng = np.random.default_rng(0)
    for name, chosen, style in groups:
        left.scatter(X[chosen, 8], rng.uniform(size=chosen.sum()), label=name, **style)
        right.scatter(difference[chosen], scores[chosen], **style)
    right.axhline(detector.offset_, color="black", lw=1.2)
    left.plot([], [], color="black", lw=1.2, label="threshold")
    left.set(title="The sum alone", xlabel="sum", yticks=[])
    left.spines["left"].set_visible(False)
    right.set(title="Scores", xlabel="sum less its eight parts", ylabel="score")
    figure.legend(loc="outside lower right", ncols=3, frameon=False)
    return figure


def main() -> None:
    """Print what is found, and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in [
        ("codes", codes),
        ("extremes", far_out),
        ("ties", ties),
        ("relations", relations),
    ]:
        figure = draw()
        path = folder / f"real_tables_{name}.png"
        figure.savefig(path, dpi=100)
        plt.close(figure)
        print(f"picture: {path}")


if __name__ == "__main__":
    main()
