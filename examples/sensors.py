"""Sensors of a pump: faults found in windows, told by sensor and time.

    .venv/bin/python examples/sensors.py

Seven weeks of four sensors, every ten minutes, made from random numbers. The detector
is fitted to windows of four weeks and calibrated on windows of two that do not overlap.
In the last week three sensors fail for some hours each. Prints the alerts, each with
the sensor that contributes most, and writes a picture to examples/output.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure
from scipy.signal import lfilter

from latentsk import LatentOutlierDetector, SlidingWindows

OUTPUT = Path(__file__).parent / "output"
LENGTH = 24
# Share of windows without a fault that may be alerts.
FALSE_ALARMS = 0.02
# What is planted: the sensor, and when.
FAULTS = [
    ("pressure", "2026-04-14 08:00", "2026-04-14 14:00", "drifts"),
    ("heat", "2026-04-16 10:00", "2026-04-16 18:00", "is stuck"),
    ("flow", "2026-04-18 12:00", "2026-04-18 16:00", "reads too low"),
]
# Colours of Okabe and Ito's palette, which all eyes tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"


def pump(first: str, n_days: int) -> pd.DataFrame:
    """Return what the sensors of a pump measure, which follows its speed."""
    times = pd.date_range(first, periods=144 * n_days, freq="10min", name="time")
    rng = np.random.default_rng(times[0].toordinal())

    def noise(keep: float = 0.3) -> np.ndarray:
        steps = rng.normal(size=len(times))
        return lfilter([np.sqrt(1 - keep**2)], [1, -keep], steps)

    day = np.sin(2 * np.pi * np.arange(len(times)) / 144)
    speed = 10 + 2 * day + noise(0.9)
    power = 3 * speed + noise()
    heat = 20 + lfilter([0.1], [1, -0.9], power, zi=[27])[0] + 0.3 * noise()
    columns = {
        "flow": 5 * speed + 2 * noise(),
        "pressure": 1 + 0.3 * speed + 0.15 * noise(),
        "power": power,
        "heat": heat,
    }
    return pd.DataFrame(columns, times)


def with_faults(series: pd.DataFrame) -> pd.DataFrame:
    """Return a week in which sensors fail."""
    broken = series.copy()
    for sensor, begin, end, how in FAULTS:
        values = series.loc[begin:end, sensor]
        replaced = {
            "drifts": values - np.linspace(0, 1, len(values)),
            "is stuck": values * 0 + values.iloc[0],
            "reads too low": values - 6,
        }
        broken.loc[begin:end, sensor] = replaced[how]
    return broken


def judged(week: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame, float]:
    """Return scores of steps, what each sensor contributes, and the threshold."""
    normal, quiet = pump("2026-03-02", 28), pump("2026-03-30", 14)
    detector = LatentOutlierDetector(random_state=0)
    detector.fit(SlidingWindows(LENGTH).fit_transform(normal))
    apart = SlidingWindows(LENGTH, step=LENGTH)
    detector.calibrate(apart.fit_transform(quiet)).set_threshold(fpr=FALSE_ALARMS)
    every = SlidingWindows(LENGTH, step=1)
    windows = every.fit_transform(week)
    by_sensor = every.sum_by_sensor(detector.explain(windows))
    scores = every.to_steps(detector.score_samples(windows), week)
    return scores, every.to_steps(by_sensor, week), detector.offset_


def alerts(scores: pd.Series, by_sensor: pd.DataFrame, offset: float) -> pd.DataFrame:
    """Return a line for each stretch of steps below the threshold."""
    is_alert = scores < offset
    numbers = (is_alert & ~is_alert.shift(fill_value=False)).cumsum()[is_alert]
    return pd.DataFrame(
        [
            {
                "begin": steps.index[0],
                "end": steps.index[-1],
                "lowest score": round(steps.min(), 1),
                "sensor": by_sensor.loc[steps.idxmin()].idxmin(),
            }
            for _, steps in scores[is_alert].groupby(numbers)
        ]
    )


def picture(
    week: pd.DataFrame, scores: pd.Series, by_sensor: pd.DataFrame, offset: float
) -> Figure:
    """Draw the sensors, the scores of steps, and what each sensor contributes."""
    figure, axes = plt.subplots(
        3, 1, figsize=(8, 6), sharex=True, layout="constrained", height_ratios=[3, 2, 2]
    )
    above, middle, below = axes
    levels = -7.0 * np.arange(week.shape[1])
    above.plot((week - week.mean()) / week.std() + levels, color=GREY, linewidth=0.8)
    above.set_yticks(levels, week.columns)
    above.set_title("What the sensors measure", loc="left", fontsize=10)
    for sensor, begin, end, how in FAULTS:
        times = pd.to_datetime([begin, end])
        level = levels[week.columns.get_loc(sensor)]
        above.fill_between(times, level - 2.4, level + 2.4, color=ORANGE, alpha=0.3)
        above.text(times[0], level + 2.5, f"{sensor} {how}", color=ORANGE, va="bottom")
        middle.axvspan(*times, color=ORANGE, alpha=0.3, linewidth=0)
    middle.plot(scores, color=BLUE, linewidth=1)
    middle.axhline(offset, color=GREY, linewidth=1, linestyle="--")
    middle.text(week.index[12], offset - 0.5, "threshold", color=GREY, va="top")
    middle.set_title("Score of each step", loc="left", fontsize=10)
    cells = below.pcolormesh(
        week.index, range(week.shape[1]), -by_sensor.T, cmap="Blues", vmin=0, vmax=8
    )
    below.set_yticks(range(week.shape[1]), week.columns)
    below.invert_yaxis()
    below.set_title("What each sensor takes from the score", loc="left", fontsize=10)
    figure.colorbar(cells, ax=below, extend="max", pad=0.01)
    below.xaxis.set_major_formatter(DateFormatter("%d %b"))
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.margins(x=0.01)
    return figure


def main() -> None:
    """Print the alerts, and write the picture."""
    week = with_faults(pump("2026-04-13", 7))
    scores, by_sensor, offset = judged(week)
    for sensor, begin, end, how in FAULTS:
        print(f"Planted: {sensor} {how} from {begin} to {end}.")
    print(alerts(scores, by_sensor, offset).to_string(index=False))
    OUTPUT.mkdir(exist_ok=True)
    path = OUTPUT / "sensors.png"
    picture(week, scores, by_sensor, offset).savefig(path, dpi=120)
    print(f"Picture: {path}")


if __name__ == "__main__":
    main()
