"""
Twenty alerts a day, and a report when data drift
=================================================

A threshold by the number of alerts that somebody can look at, a test of whether scores
still mean what they meant, and an update when they do not.
"""

# %%
# Payments by day. From the 19th on, a tax makes them six percent dearer, with the fee
# as it was:

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from latentsk import LatentOutlierDetector


def payments(day, n_rows=5_000):
    """Return the payments of a day."""
    rng = np.random.default_rng(day.toordinal())
    kind = rng.choice(3, n_rows, p=[0.6, 0.3, 0.1])
    price = np.array([30.0, 120.0, 400.0])[kind] * rng.lognormal(0, 0.4, n_rows)
    tax = 1.06 if day >= pd.Timestamp("2026-03-19") else 1.0
    table = {
        "amount": (tax * price).round(2),
        "items": 1 + rng.poisson(np.array([12, 2, 1])[kind]),
        "fee": (0.02 * price * rng.lognormal(0, 0.05, n_rows)).round(2),
    }
    return pd.DataFrame(table).assign(day=day)


days = pd.bdate_range("2026-03-02", "2026-03-25")
stream = pd.concat(map(payments, days), ignore_index=True)
columns = ["amount", "items", "fee"]


def of(first, last):
    """Return the payments from one day to another."""
    return stream[stream["day"].between(first, last)]


# %%
# Fit on one day, and place the threshold on the following week:

detector = LatentOutlierDetector(max_samples=1_000, random_state=0)
detector.fit(of("2026-03-02", "2026-03-02")[columns])
detector.calibrate(of("2026-03-03", "2026-03-09")[columns])
detector.set_threshold(n_alerts=20, per=5_000)

# %%
# The report compares each day with the calibration, and its p-values are exact:

later = of("2026-03-10", "2026-03-25")
report = detector.drift_report(later[columns], by=later["day"])
print(report[["alert_rate", "ks_distance", "p_value"]].round(4))

fig, ax = plt.subplots(figsize=(6.8, 3.0), layout="constrained")
ax.bar(report.index, report["alert_rate"] * 5_000)
ax.axhline(20, color="black", linestyle="--", label="asked for")
ax.axvline(pd.Timestamp("2026-03-18 12:00"), color="C3", label="the tax begins")
ax.set_ylabel("alerts a day")
ax.tick_params(axis="x", labelrotation=30)
ax.legend()
# sphinx_gallery_alt = "Alerts of each day, around the twenty asked for, and more on "
# sphinx_gallery_alt = "most days after the tax begins."

# %%
# After an update on the new normal, a calibration, and the same number of alerts:

detector.update(of("2026-03-19", "2026-03-19")[columns])
detector.calibrate(of("2026-03-20", "2026-03-23")[columns])
new = of("2026-03-24", "2026-03-25")
alerts = detector.predict(new[columns]) == -1
print(pd.Series(alerts).groupby(new["day"].to_numpy()).sum())
plt.show()
