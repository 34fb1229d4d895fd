"""Outliers in context: readings that are normal in July and not in January.

    .venv/bin/python examples/outliers_in_context.py

Readings of a cold store over a year, made from random numbers. The temperature outside
follows the season, and the power that the store takes follows the temperature, by
another line for each of two machines. In 20 of the rows to be judged, the readings are
those of the opposite season. Prints how well they are found with and without the
conditions, and which columns are named, and writes a picture to examples/output.
"""

from __future__ import annotations

import calendar
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from latentsk import VAEEmbedder

OUTPUT = Path(__file__).parent / "output"
MONTHS = list(calendar.month_abbr)[1:]
READINGS = ["temperature", "power"]
N_SWAPPED = 20
# Colours of Okabe and Ito's palette, which all eyes tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"


def cold_store(n_rows: int, seed: int) -> pd.DataFrame:
    """Return readings of some days, one a row."""
    rng = np.random.default_rng(seed)
    month = rng.integers(12, size=n_rows)
    machine = rng.choice(["old", "new"], n_rows)
    temperature = 11 - 10 * np.cos(2 * np.pi * (month + 0.5) / 12)
    temperature += 1.5 * rng.normal(size=n_rows)
    slope = np.where(machine == "old", 1.6, 0.9)
    power = 20 + slope * temperature + 1.2 * rng.normal(size=n_rows)
    return pd.DataFrame(
        {
            "month": np.array(MONTHS)[month],
            "machine": machine,
            "temperature": temperature.round(2),
            "power": power.round(2),
        }
    )


def half_a_year_off(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of which the first have the readings of the opposite season."""
    swapped, half = rows.copy(), np.roll(MONTHS, 6)
    opposite = dict(zip(MONTHS, half, strict=True))
    for place in range(N_SWAPPED):
        month, machine = rows.loc[place, ["month", "machine"]]
        same = rows["machine"].eq(machine) & rows["month"].eq(opposite[month])
        other = rows[same].sample(1, random_state=place)
        swapped.loc[place, READINGS] = other[READINGS].to_numpy()[0]
    return swapped


def picture(rows: pd.DataFrame, scores: dict[str, np.ndarray]) -> Figure:
    """Draw the readings over the year, and the scores of both models."""
    is_off = np.arange(len(rows)) < N_SWAPPED
    figure, (left, *others) = plt.subplots(
        1, 3, figsize=(9, 3.2), layout="constrained", width_ratios=[2, 1, 1]
    )
    place = rows["month"].map(MONTHS.index) + np.linspace(-0.3, 0.3, len(rows))
    for some, colour, label in (
        (~is_off, GREY, "normal rows"),
        (is_off, ORANGE, "readings of the opposite season"),
    ):
        left.scatter(
            place[some], rows["temperature"][some], s=10, color=colour, label=label
        )
    left.set_xticks(range(12), [name[0] for name in MONTHS])
    left.set(xlabel="month", ylabel="temperature")
    left.set_ylim(top=38)
    left.legend(frameon=False, fontsize=8, loc="upper left")
    for ax, (name, values) in zip(others, scores.items(), strict=True):
        histograms(ax, values, is_off)
        ax.set_title(name, fontsize=9)
    for ax in (left, *others):
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def histograms(ax: Axes, scores: np.ndarray, is_off: np.ndarray) -> None:
    """Draw how the scores of both kinds of rows are spread."""
    lowest, highest = max(scores.min(), -60.0), scores.max()
    bins = np.linspace(lowest, highest, 25)
    for some, colour in ((~is_off, GREY), (is_off, ORANGE)):
        values = np.clip(scores[some], lowest, None)
        weights = np.full(len(values), 100 / len(values))
        ax.hist(values, bins, color=colour, weights=weights, alpha=0.7)
    below = f", {lowest:.0f} and below" if lowest > scores.min() else ""
    ax.set(xlabel=f"score (nats{below})", ylabel="rows of a kind (%)")


def main() -> None:
    """Print how both models do, and write the picture."""
    train, rows = cold_store(1_500, 0), half_a_year_off(cold_store(600, 1))
    conditional = VAEEmbedder(condition=["month", "machine"], random_state=0)
    conditional.fit(train)
    plain = VAEEmbedder(random_state=0).fit(train[READINGS])
    scores = {
        "without conditions": plain.score_samples(rows[READINGS]),
        "given month and machine": conditional.score_samples(rows),
    }
    is_off = np.arange(len(rows)) < N_SWAPPED
    for name, values in scores.items():
        print(f"AUROC {name}: {roc_auc_score(is_off, -values):.3f}")
    reasons = conditional.score_contributions(rows)
    lowest = scores["given month and machine"].argsort()[:3]
    for place in lowest:
        row, column = rows.loc[place], rows.columns[reasons[place].argmin()]
        shown = ", ".join(f"{name} {value}" for name, value in row.items())
        print(f"{shown}: {column} is most abnormal")
    OUTPUT.mkdir(exist_ok=True)
    path = OUTPUT / "outliers_in_context.png"
    picture(rows, scores).savefig(path, dpi=120)
    print(f"picture: {path.relative_to(Path(__file__).parent.parent)}")


if __name__ == "__main__":
    main()
