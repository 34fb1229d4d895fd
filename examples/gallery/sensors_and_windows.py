"""
Watch sensors, and name the one at fault
========================================

Readings of four sensors of a pump, every ten minutes. A window of readings is a row, so
the detector learns how sensors move together and in time.
"""

# %%
# Six weeks without a fault, and a week with three: a pressure that drifts, a
# temperature that is stuck, a flow that is too low.

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from scipy.signal import lfilter

from latentsk import LatentOutlierDetector, SlidingWindows


def pump(first, n_days):
    """Return readings that begin on a day."""
    times = pd.date_range(first, periods=144 * n_days, freq="10min", name="time")
    rng = np.random.default_rng(times[0].toordinal())

    def noise(keep=0.3):
        steps = rng.normal(size=len(times))
        return lfilter([np.sqrt(1 - keep**2)], [1, -keep], steps)

    day = np.sin(2 * np.pi * np.arange(len(times)) / 144)
    speed = 10 + 2 * day + noise(0.9)
    power = 3 * speed + noise()
    heat = 20 + lfilter([0.1], [1, -0.9], power, zi=[27])[0] + 0.3 * noise()
    flow, pressure = 5 * speed + 2 * noise(), 1 + 0.3 * speed + 0.15 * noise()
    table = {"flow": flow, "pressure": pressure, "power": power, "heat": heat}
    return pd.DataFrame(table, times)


normal, quiet = pump("2026-03-02", 28), pump("2026-03-30", 14)
week = pump("2026-04-13", 7)
drifts = week.loc["2026-04-14 08:00":"2026-04-14 14:00"].index
stuck = week.loc["2026-04-16 10:00":"2026-04-16 18:00"].index
low = week.loc["2026-04-18 12:00":"2026-04-18 16:00"].index
week.loc[drifts, "pressure"] -= np.linspace(0, 1, len(drifts))
week.loc[stuck, "heat"] = week.loc[stuck[0], "heat"]
week.loc[low, "flow"] -= 6

# %%
# Windows of four hours. The threshold comes from two quiet weeks, for 2 % false alarms:

rows = SlidingWindows(24).fit_transform(normal)
detector = LatentOutlierDetector(random_state=0).fit(rows)
apart = SlidingWindows(24, step=24).fit(normal)
detector.calibrate(apart.transform(quiet)).set_threshold(fpr=0.02)

# %%
# Scores of the week, step by step, and the sensor that each alert is about:

every = SlidingWindows(24, step=1).fit(normal)
windows = every.transform(week)
by_sensor = every.sum_by_sensor(detector.explain(windows))
scores = every.to_steps(detector.score_samples(windows), week)
sensors = every.to_steps(by_sensor, week)

fig, axes = plt.subplots(2, 1, figsize=(8, 4.4), sharex=True, layout="constrained")
axes[0].plot(scores.index, scores, color="black", linewidth=0.8)
axes[0].axhline(detector.offset_, color="C3", linestyle="--", label="threshold")
axes[0].set_ylabel("score")
axes[1].plot(sensors.index, sensors, linewidth=1, label=sensors.columns)
axes[1].set_ylabel("contribution")
for ax in axes:
    for fault in drifts, stuck, low:
        ax.axvspan(fault[0], fault[-1], color="0.85", zorder=0)
    ax.legend(loc="lower left", ncols=4, fontsize="small")
# sphinx_gallery_alt = "Above, scores of a week, which fall below the threshold at "
# sphinx_gallery_alt = "three faults. Below, the contributions of four sensors: at "
# sphinx_gallery_alt = "each fault, another one is the lowest."

# %%
# The same as a list: when, how low, and which sensor.

is_alert = scores < detector.offset_
number = (is_alert & ~is_alert.shift(fill_value=False)).cumsum()
for _, steps in scores[is_alert].groupby(number):
    sensor = sensors.loc[steps.idxmin()].idxmin()
    print(f"{steps.index[0]:%d %b %H:%M} to {steps.index[-1]:%H:%M}: {sensor}")
plt.show()
