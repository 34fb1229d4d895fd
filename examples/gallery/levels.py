"""
See rows coarsely, and in detail
================================

A hierarchical variational autoencoder has levels: a few coordinates at the top for what
matters most, and more below for the details.
"""

# %%
# Handwritten digits in two levels, of twelve and of four coordinates:

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from latentsk import HierarchicalVAEEmbedder, LatentIndex

digits = load_digits()
images, labels = digits.images / 16.0, digits.target
embedder = HierarchicalVAEEmbedder(
    (12, 4), likelihood="continuous_bernoulli", max_epochs=150, random_state=0
).fit(images)
print(embedder.latent_report(images).levels.round(1))

# %%
# Reconstructions from the top level alone, and from both. Levels that are left out are
# at their prior mean:

both = embedder.inverse_transform(embedder.transform(images[:8]))
embedder.set_params(levels=2)
top = embedder.inverse_transform(embedder.transform(images[:8]))

fig, axes = plt.subplots(3, 8, figsize=(6.4, 2.6), layout="constrained")
rows = zip(
    axes, (images, top, both), ("image", "top level", "both levels"), strict=True
)
for line, found, name in rows:
    for ax, image in zip(line, found, strict=False):
        ax.imshow(image, cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
# sphinx_gallery_alt = "Eight digits, their reconstructions from the top level alone, "
# sphinx_gallery_alt = "which are typical digits, and from both levels, which are like "
# sphinx_gallery_alt = "the images."

# %%
# Similar rows by what matters most: how often the five nearest have the same digit.

for levels in (2, 1, None):
    index = LatentIndex(embedder.set_params(levels=levels)).fit(images)
    neighbours = index.kneighbors(n_neighbors=5, return_distance=False)
    same = np.mean(labels[neighbours] == labels[:, None])
    print(f"levels={levels}: {same:.1%}")
plt.show()
