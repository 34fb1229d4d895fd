"""
Outliers in context: normal in July, abnormal in January
========================================================

A consumption of 70 kW is nothing special. At 25 degrees in winter both the temperature
and the power are. Columns that are named as conditions are given, and the others are
judged by what is normal for them.
"""

# %%
# Temperature and power of a thousand days:

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from latentsk import VAEEmbedder

rng = np.random.default_rng(0)
season = rng.choice(["summer", "winter"], 1000)
temperature = np.where(season == "summer", 25, 2) + rng.normal(size=1000)
power = 20 + 2 * temperature + rng.normal(size=1000)
X = pd.DataFrame({"season": season, "temperature": temperature, "power": power})

# %%
# A model of temperature and power for a given season:

vae = VAEEmbedder(1, condition=["season"], random_state=0).fit(X)
rows = pd.DataFrame(
    {"season": ["summer", "winter"], "temperature": [25, 25], "power": [70, 70]}
)
print(rows.assign(outlier=vae.predict(rows) == -1))

# %%
# The same values, judged for each season. Without the condition both are normal:

plain = VAEEmbedder(1, random_state=0).fit(X[["temperature", "power"]])
print("without a condition:", plain.predict(rows[["temperature", "power"]]))

fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
warmth = np.linspace(-5, 32, 200)
for ax, name in zip(axes, ("summer", "winter"), strict=True):
    line = pd.DataFrame(
        {"season": name, "temperature": warmth, "power": 20 + 2 * warmth}
    )
    ax.plot(warmth, vae.score_samples(line), label=f"given {name}")
    ax.axhline(vae.offset_, color="C3", linestyle="--", label="threshold")
    shown = X.loc[X["season"] == name, "temperature"]
    ax.plot(shown, np.full(len(shown), -38.0), "|", color="0.5", label="training rows")
    ax.set(xlabel="temperature", ylim=(-40, 5), title=name)
    ax.legend(fontsize="small")
axes[0].set_ylabel("score (nats)")
# sphinx_gallery_alt = "Scores against the temperature given summer and given winter: "
# sphinx_gallery_alt = "each curve peaks where the training rows of its season are, "
# sphinx_gallery_alt = "around 25 and around 2 degrees."

# %%
# New rows are drawn for a condition:

print(vae.sample(3, condition=pd.DataFrame({"season": ["winter"]}), random_state=0))
plt.show()
