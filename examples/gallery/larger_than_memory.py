"""
Rows that do not fit into memory
================================

A file of rows is opened as a memory map. A neural embedder trains on it as it is; the
linear model takes it piece by piece, with the same result as at once.
"""

# %%
# A file of 200,000 rows. Yours may have a hundred times as many:

import tempfile
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from latentsk import AutoencoderEmbedder, PCAEmbedder

rng = np.random.default_rng(0)
path = Path(tempfile.mkdtemp()) / "rows.npy"
mixing = rng.normal(size=(5, 30))
noise = 0.3 * rng.normal(size=(200_000, 30))
np.save(path, (rng.normal(size=(200_000, 5)) @ mixing + noise).astype(np.float32))
rows = np.load(path, mmap_mode="r")

# %%
# ``partial_fit`` of the linear model is exact, however the rows are cut:

pca = PCAEmbedder(5)
for start in range(0, len(rows), 50_000):
    pca.partial_fit(rows[start : start + 50_000])
whole = PCAEmbedder(5).fit(rows)
print(np.allclose(pca.explained_variance_, whole.explained_variance_))

# %%
# Scores change with every piece, so the threshold is placed at the end:

pca.calibrate(rows[:10_000])
print(pca.predict(rows[:5]))

# %%
# An autoencoder reads the map as training goes. Scoring reads it block by block:

autoencoder = AutoencoderEmbedder(5, max_epochs=2, random_state=0).fit(rows)
scores = autoencoder.score_samples(rows)

fig, ax = plt.subplots(figsize=(6.0, 2.8), layout="constrained")
ax.hist(scores, bins=100)
ax.axvline(autoencoder.offset_, color="black", linestyle="--", label="threshold")
ax.set(xlabel="score (higher = more normal)", ylabel="rows")
ax.legend()
path.unlink()
plt.show()
# sphinx_gallery_alt = "A histogram of 200,000 scores with the threshold at the end of "
# sphinx_gallery_alt = "its left tail."
