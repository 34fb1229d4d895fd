"""
Find near-duplicates
====================

Copies of a row that differ a little: an image saved twice, a customer entered twice.
:class:`~latentsk.LatentIndex` finds all groups of rows that lie closer together than a
threshold, and the distances tell where that threshold belongs.
"""

# %%
# Handwritten digits, and thirty of them again, a little brighter and with noise:

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from latentsk import LatentIndex, NeighborsDisplay, PCAEmbedder

rng = np.random.default_rng(0)
X = load_digits().data
again = rng.choice(len(X), size=30, replace=False)
copies = np.clip(1.02 * X[again] + rng.normal(scale=0.3, size=(30, 64)), 0, 16)
images = np.vstack([X, copies])
ids = [f"image {i}" for i in range(len(X))] + [f"copy of {i}" for i in again]

# %%
# The index compares images in the latent space. How far each one is from the nearest
# other one shows two groups: copies, and digits that merely look alike.

index = LatentIndex(PCAEmbedder(16)).fit(images, ids=ids)
distances, _ = index.kneighbors(n_neighbors=1)

fig, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
ax.hist(distances.ravel(), bins=80)
ax.axvline(3.0, color="black", linestyle="--", label="threshold")
ax.set(xlabel="distance to the nearest other image", ylabel="images")
ax.legend()
# sphinx_gallery_alt = "A histogram of distances to the nearest other image: a small "
# sphinx_gallery_alt = "peak near 1, a gap with the threshold at 3, and a broad peak "
# sphinx_gallery_alt = "around 11."

# %%
# So 3 is a good threshold. Groups come as a table, with the ids that the rows have:

groups = index.duplicates(3.0)
print(groups.head(6))
print(f"{groups['group'].nunique()} groups, {len(groups)} images")

# %%
# Look at some pairs before anything is deleted:

NeighborsDisplay.from_estimator(
    index, copies[:4], images, n_neighbors=3, image_shape=(8, 8), labels=ids[-30:-26]
)
plt.show()
# sphinx_gallery_alt = "Four copies, each with its three nearest images: itself, the "
# sphinx_gallery_alt = "image it was copied from, and another one of the same digit."
# sphinx_gallery_thumbnail_number = 2
