"""
Find fraud in a table of mixed columns
======================================

Amounts, categories, dates, flags and gaps go in as they are. The answer says which
rows, and which columns are the reason.
"""

# %%
# Three thousand payments, twelve of them large and at night:

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from latentsk import ExplanationDisplay, LatentOutlierDetector, OutlierScoreDisplay

rng = np.random.default_rng(0)
n = 3000
merchant = rng.choice(3, n, p=[0.6, 0.3, 0.1])
amount = np.array([25.0, 60.0, 400.0])[merchant] * rng.lognormal(0, 0.4, n)
hour = rng.normal(14, 3, n).clip(6, 22)
fraud = np.arange(n) < 12
amount[fraud] *= 15
hour[fraud] = rng.uniform(0, 4, 12)
X = pd.DataFrame(
    {
        "amount": amount.round(2),
        "age": rng.normal(45, 12, n).round(),
        "merchant": np.array(["grocery", "fashion", "travel"])[merchant],
        "country": rng.choice(["DE", "AT", "FR", "US"], n, p=[0.8, 0.1, 0.09, 0.01]),
        "is_online": rng.random(n) < 0.3,
        "paid_at": pd.Timestamp("2026-03-02")
        + pd.to_timedelta(24 * rng.integers(0, 5, n) + hour, unit="h").round("s"),
    },
    index=[f"tx{i}" for i in range(n)],
)
X.loc[rng.random(n) < 0.05, "age"] = np.nan
X.loc[rng.random(n) < 0.03, "country"] = None
print(X.head(3))

# %%
# The detector withstands the outliers among its training rows:

detector = LatentOutlierDetector(random_state=0).fit(X)
scores = pd.Series(detector.score_samples(X), index=X.index)
print(scores.nsmallest(3).round(1))
print(fraud[scores.argsort()[:24]].sum(), "frauds among the 24 lowest scores")
OutlierScoreDisplay.from_estimator(detector, X, y=np.where(fraud, "fraud", "other"))
# sphinx_gallery_alt = "Histograms of scores of frauds and of other payments, with the "
# sphinx_gallery_alt = "threshold: most frauds lie below it."

# %%
# Contributions add up to the score. They are in the table's own columns and values,
# also where a column was a date or a category:

ExplanationDisplay.from_estimator(detector, X, row=scores.idxmin())
# sphinx_gallery_alt = "Bars of the contributions to the score of payment tx9: nearly "
# sphinx_gallery_alt = "all of it comes from its amount."

# %%
# Say how many alerts you can look at, and the threshold follows:

detector.set_threshold(n_alerts=20, per=len(X))
print((detector.predict(X) == -1).sum(), "alerts")
plt.show()
