"""A stream of payments: 200 alerts a day, drift on the day it begins, an update.

    .venv/bin/python examples/alerts_and_drift.py

Fifty working days of 20,000 payments, made from random numbers. From one of them on a
tax is added to the amounts. The detector is fitted on the first day and calibrated on
the two weeks after it; each later day is reported. After three days of drift in a row
these days become the reference rows, and the week after them calibrates. Prints what
happens, and writes a picture to examples/output.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentsk import LatentOutlierDetector

OUTPUT = Path(__file__).parent / "output"
COLUMNS = ["amount", "items", "hour", "fee"]
DAYS = pd.bdate_range("2026-02-02", periods=50)
TAXED = pd.Timestamp("2026-03-19")
N_ALERTS, PER = 200, 20_000
# A day without drift is called once in so many.
LEVEL = 0.001
# The picture shows no lower p-value.
LEAST = 1e-12
# Days of drift in a row until an update, and days that calibrate.
PATIENCE, FIRST_CALIBRATION, CALIBRATION = 3, 10, 5
# Colours of Okabe and Ito's palette, which all eyes tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"


def payments(day: pd.Timestamp, n_rows: int) -> pd.DataFrame:
    """Return the payments of a day, for food, goods and travel."""
    rng = np.random.default_rng(day.toordinal())
    kind = rng.choice(3, n_rows, p=[0.6, 0.3, 0.1])
    price = np.array([30.0, 120.0, 400.0])[kind] * rng.lognormal(0, 0.4, n_rows)
    tax = 1.06 if day >= TAXED else 1.0
    table = {
        "amount": (tax * price).round(2),
        "items": 1 + rng.poisson(np.array([12, 2, 1])[kind]),
        "hour": rng.normal(np.array([13, 16, 20])[kind], 2.5).round(1),
        "fee": (0.02 * price * rng.lognormal(0, 0.05, n_rows)).round(2),
    }
    return pd.DataFrame(table)


def together(days: pd.DatetimeIndex, n_rows: int) -> pd.DataFrame:
    """Return the payments of some days."""
    return pd.concat([payments(day, n_rows) for day in days], ignore_index=True)


def watched(n_rows: int) -> tuple[pd.DataFrame, pd.Timestamp]:
    """Return a line for each day, and the first day after the update."""
    detector = LatentOutlierDetector(max_samples=1_000, random_state=0)
    detector.fit(payments(DAYS[0], n_rows))
    start = 1 + FIRST_CALIBRATION
    detector.calibrate(together(DAYS[1:start], n_rows))
    detector.set_threshold(n_alerts=N_ALERTS, per=PER)
    lines, updated, awaited = {}, None, 0
    for number, day in enumerate(DAYS[start:], start):
        rows = payments(day, n_rows)
        if awaited:  # calibration rows
            awaited -= 1
            rate = np.mean(detector.predict(rows) == -1)
            lines[day] = pd.Series({"alert_rate": rate})
            if awaited == 0:
                recent = DAYS[number + 1 - CALIBRATION : number + 1]
                detector.calibrate(together(recent, n_rows))
            continue
        lines[day] = detector.drift_report(rows)
        last = [lines[d].get("p_value", 1.0) for d in list(lines)[-PATIENCE:]]
        if updated is None and len(last) == PATIENCE and max(last) < LEVEL:
            window = DAYS[number + 1 - PATIENCE : number + 1]
            detector.update(together(window, n_rows))
            updated, awaited = DAYS[number + 1], CALIBRATION
    report = pd.DataFrame(lines).T.reindex(columns=["p_value", "alert_rate"])
    assert updated is not None, "no drift was found"
    return report.assign(alerts=report["alert_rate"] * PER), updated


def picture(report: pd.DataFrame, updated: pd.Timestamp) -> Figure:
    """Draw alerts and p-values of each day."""
    figure, axes = plt.subplots(
        2, 1, figsize=(8, 4.6), sharex=True, layout="constrained"
    )
    above, below = axes
    above.axhspan(0.9 * N_ALERTS, 1.1 * N_ALERTS, color=BLUE, alpha=0.12, linewidth=0)
    above.plot(report.index, report["alerts"], "o", color=GREY, markersize=4)
    above.set(ylabel=f"alerts per {PER:,} rows", ylim=(0, None))
    p_values = report["p_value"].clip(lower=LEAST)
    below.semilogy(report.index, p_values, "o", color=GREY, markersize=4)
    below.axhline(LEVEL, color=GREY, linewidth=1, linestyle="--")
    below.text(report.index[0], LEVEL / 2, str(LEVEL), color=GREY, va="top")
    last = p_values.index[p_values == LEAST][-1] + pd.Timedelta(hours=30)
    below.text(last, LEAST, f"{LEAST:g} or less", color=GREY, va="center")
    below.set(ylabel="p-value of drift", ylim=(3e-13, 3.0))
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        for day, colour in ((TAXED, ORANGE), (updated, BLUE)):
            ax.axvline(day - pd.Timedelta(hours=12), color=colour, linewidth=1.5)
    left = {"ha": "right", "va": "bottom"}
    above.text(TAXED - pd.Timedelta(days=1), 5, "tax begins", color=ORANGE, **left)
    above.text(updated, 5, "update", color=BLUE, ha="left", va="bottom")
    below.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%d %b"))
    return figure


def main() -> None:
    """Print what happens, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rows", type=int, default=PER, help="payments a day")
    report, updated = watched(parser.parse_args().rows)
    stable = report[report.index < TAXED]
    after = report[report.index >= updated]
    for name, part in (("before the tax", stable), ("after the update", after)):
        print(
            f"Alerts per {PER:,} rows {name}: {part['alerts'].mean():.0f} on average "
            f"of {len(part)} days, from {part['alerts'].min():.0f} to "
            f"{part['alerts'].max():.0f}."
        )
    called = report.index[report["p_value"] < LEVEL]
    days = ", ".join(f"{day:%d %B}" for day in called)
    print(f"Tax from {TAXED:%d %B} on; drift on: {days}. Updated for {updated:%d %B}.")
    OUTPUT.mkdir(exist_ok=True)
    path = OUTPUT / "alerts_and_drift.png"
    picture(report, updated).savefig(path, dpi=120)
    print(f"Picture: {path}")


if __name__ == "__main__":
    main()
