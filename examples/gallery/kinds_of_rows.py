"""
Find the kinds of rows: clusters in the latent space
====================================================

A machine stands by, runs, or is rinsed. A variational autoencoder with a mixture as its
prior finds such kinds while it learns the latent space, scores rows by them, and draws
rows of one kind.
"""

# %%
# Five measurements of a pump, of four kinds that nobody has labelled:

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.metrics import adjusted_rand_score

from latentsk import LatentMapDisplay, VAEEmbedder

rng = np.random.default_rng(0)
kinds = rng.choice(4, size=1_500, p=[0.2, 0.35, 0.3, 0.15])
centres = np.array([[8, 10], [45, 40], [85, 80], [80, 15]])
speed, valve = (centres[kinds] + 4 * rng.normal(size=(1_500, 2))).T
flow = 0.01 * speed * valve
power = 5 + 0.5 * speed + 0.4 * flow
heat = 20 + 0.4 * power - 0.1 * flow
X = pd.DataFrame(
    {"speed": speed, "valve": valve, "flow": flow, "power": power, "heat": heat}
)
X += rng.normal(size=X.shape)

# %%
# The components of the prior are the kinds:

vae = VAEEmbedder(
    2, prior="mixture", n_prior_components=4, max_epochs=120, random_state=0
).fit(X)
found = vae.predict_component(X)
print("agreement with the kinds:", round(adjusted_rand_score(kinds, found), 2))
print("weights:", vae.prior_weights_.round(2))

# %%
# The latent space, and the density of the prior:

LatentMapDisplay.from_estimator(vae, X, color=found, name="component", outliers=False)
# sphinx_gallery_alt = "A map of rows in two latent dimensions: four groups apart from "
# sphinx_gallery_alt = "each other, in the colours of the four components."

# %%
# What a component stands for: the mean of rows drawn from it.

drawn = {c: vae.sample(300, component=c, random_state=0).mean(axis=0) for c in range(4)}
print(pd.DataFrame(drawn, index=X.columns).T.round(1))
plt.show()
