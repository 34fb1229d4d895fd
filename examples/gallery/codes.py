"""
Turn images into codes, and compress them
=========================================

Each image becomes a few integers. They take fewer bits than coordinates, equal codes
are near-duplicates, and rare codes are outliers.
"""

# %%
# Handwritten digits as images, some of which are left out of the training:

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from latentsk import (
    LearningCurveDisplay,
    PCAEmbedder,
    ReconstructionDisplay,
    VQVAEEmbedder,
)

images = load_digits().images / 16.0
train, images = train_test_split(images, test_size=300, random_state=0)
embedder = VQVAEEmbedder(
    64, n_positions=8, standardize=False, max_epochs=150, random_state=0
).fit(train)
codes = embedder.transform_codes(images)
print(codes[:3])
print(f"{embedder.bits_per_row_:.0f} bits an image, of {64 * 4} as they came")
print(f"usage {embedder.code_usage_:.0%}, perplexity {embedder.perplexity_:.0f} of 64")
LearningCurveDisplay.from_estimator(embedder, terms=["reconstruction", "codes"])
# sphinx_gallery_alt = "Learning curves of training and validation: the loss, the "
# sphinx_gallery_alt = "reconstruction and the codes, with a line at the epoch whose "
# sphinx_gallery_alt = "weights are kept."

# %%
# What was lost? The squared error of an image, beside that of PCA at equal bits: six
# coordinates, each of which fits into a byte.

flat = images.reshape(len(images), -1)
pca = PCAEmbedder(6).fit(train.reshape(len(train), -1))
for name, kept in (
    ("codes", embedder.reconstruct(images).reshape(flat.shape)),
    ("PCA", pca.reconstruct(flat)),
):
    print(f"{name:6} squared error {np.square(kept - flat).sum(axis=1).mean():.2f}")

# %%
# From codes back to images:

ReconstructionDisplay.from_estimator(embedder, images, n_rows=8)
# sphinx_gallery_alt = "Eight handwritten digits, what is left of them in eight codes, "
# sphinx_gallery_alt = "which is a little blurred, and the differences."

# %%
# The prior knows which codes go together. New images are drawn from it:

drawn = embedder.sample(12, random_state=0)
fig, axes = plt.subplots(1, 12, figsize=(7.2, 0.9), layout="constrained")
for ax, image in zip(axes, drawn, strict=True):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set_axis_off()
plt.show()
# sphinx_gallery_alt = "Twelve digits drawn from the prior over codes, with noise, "
# sphinx_gallery_alt = "about half of them readable."
# sphinx_gallery_thumbnail_number = 2
