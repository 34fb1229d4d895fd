"""How well a number of alerts is held, and what a test of drift finds.

    python benchmarks/drift.py [--seeds N] [--jobs N] [--write]

Days of 20,000 rows of five log-normal columns, three of which belong together.
LatentOutlierDetector is fitted on a day, `set_threshold(n_alerts=200, per=20_000)`
rests on training rows, or on more and more calibration rows, and ten further days are
judged. `drift_report` is asked of days without drift and, for its power, of days on
which one column has grown by some percent. Then the detector is updated with two such
days, and ten more are judged. Figures are shares over all days and seeds.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from typing import Any

import numpy as np
from _harness import publish, table, threads
from joblib import Parallel, delayed

from latentsk import LatentOutlierDetector
from latentsk.outliers._drift import drift_line

DAY, N_DAYS, N_ALERTS = 20_000, 10, 200
# The aim: the mean of stable days within this share of the number asked for.
WITHIN = 0.1
CALIBRATION = (20_000, 50_000, 100_000)
# Of a day without drift, for numbers of rows a day.
LEVELS, SIZES = (0.05, 0.01, 0.001), (1_000, 5_000, 20_000)
# By how much a column grows.
DRIFTS = (0.05, 0.1, 0.2, 0.5)

Found = dict[str, list[float]]


def rows(rng: np.random.Generator, n_rows: int, drift: float = 0.0) -> np.ndarray:
    """Return rows; the first three columns share most of their variance."""
    common = rng.normal(size=(n_rows, 1))
    logarithms = rng.normal(size=(n_rows, 5)) * [0.3, 0.3, 0.3, 1.0, 1.0]
    logarithms[:, :3] += common
    found = np.exp(logarithms)
    found[:, 0] *= 1.0 + drift
    return found


def alerts_of(detector: Any, scores: np.ndarray) -> np.ndarray:
    """Return the number of alerts on each of the days."""
    return np.sum(scores.reshape(-1, DAY) < detector.offset_, axis=1)


def simulated(seed: int) -> Found:
    """Return what is found with one detector, by what it is."""
    rng, found = np.random.default_rng(seed), defaultdict(list)
    with threads(1):
        detector = LatentOutlierDetector(random_state=seed).fit(rows(rng, DAY))
        detector.set_threshold(n_alerts=N_ALERTS, per=DAY)
        fresh = detector.score_samples(rows(rng, N_DAYS * DAY))
        found["alerts, training rows"] = alerts_of(detector, fresh).tolist()
        pool = rows(rng, CALIBRATION[-1])
        for n_rows in CALIBRATION:
            detector.calibrate(pool[:n_rows])
            found[f"alerts, {n_rows:,}"] = alerts_of(detector, fresh).tolist()
        calibration = detector.calibration_scores_
        for size in SIZES:
            for day in fresh.reshape(-1, size):
                line = drift_line(day, calibration, detector.offset_)
                found[f"p, {size:,}, 0"].append(line["p_value"])
        for drift in DRIFTS:
            drifted = detector.score_samples(rows(rng, 2 * DAY, drift))
            for size in SIZES:
                for day in drifted.reshape(-1, size):
                    line = drift_line(day, calibration, detector.offset_)
                    found[f"p, {size:,}, {drift:g}"].append(line["p_value"])
        last = DRIFTS[-1]
        before = detector.score_samples(rows(rng, N_DAYS * DAY, last))
        found["alerts, after the drift"] = alerts_of(detector, before).tolist()
        detector.update(rows(rng, 2 * DAY, last))
        after = detector.score_samples(rows(rng, N_DAYS * DAY, last))
        found["alerts, updated"] = alerts_of(detector, after).tolist()
    return dict(found)


def held(found: list[Found]) -> str:
    """Return how well the number of alerts is held, a line for each threshold."""
    body: list[list[object]] = []
    names = [name for name in found[0] if name.startswith("alerts, ")]
    for name in names:
        days = np.array([one[name] for one in found]) - N_ALERTS
        means = days.mean(axis=1)
        body.append(
            [
                name.removeprefix("alerts, "),
                f"{N_ALERTS + days.mean():.0f}",
                f"{100 * np.abs(means).max() / N_ALERTS:.1f} %",
                percent(np.abs(means) <= WITHIN * N_ALERTS),
                percent(np.abs(days) <= WITHIN * N_ALERTS),
            ]
        )
    header = ["threshold rests on", "alerts a day", "mean of days off by at most"]
    header += ["means within a tenth", "single days within a tenth"]
    return table(header, body)


def called(found: list[Found]) -> str:
    """Return how many days are called, a line for each size of day and drift."""
    body: list[list[object]] = []
    for size in SIZES:
        for drift in (0.0, *DRIFTS):
            values = [one[f"p, {size:,}, {drift:g}"] for one in found]
            p_values = np.concatenate(values)
            shares = [percent(p_values <= level) for level in LEVELS]
            grown = f"{100 * drift:g} %" if drift else "none"
            body.append([f"{size:,}", grown, f"{len(p_values):,}", *shares])
    levels = [f"p <= {level:g}" for level in LEVELS]
    return table(["rows a day", "growth of a column", "days", *levels], body)


def percent(is_so: np.ndarray) -> str:
    return f"{100 * np.mean(is_so):.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true", help="update results/, README")
    options = parser.parse_args()
    tasks = (delayed(simulated)(seed) for seed in range(options.seeds))
    found = Parallel(n_jobs=options.jobs)(tasks)
    printed = f"Seeds: {options.seeds}\n\n{held(found)}\n\n{called(found)}"
    alerts = {
        name: [one[name] for one in found]
        for name in found[0]
        if name.startswith("alerts, ")
    }
    publish("drift", printed, {"alerts": alerts}, options.write)


if __name__ == "__main__":
    main()
