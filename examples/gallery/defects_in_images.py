"""
Find defects in images, and where they are
==========================================

Images of faultless parts are enough: a network learns what they look like, and what it
cannot reconstruct is a defect. A heat map shows the place.
"""

# %%
# Images of a weave, 24 x 24 pixels. Of the new ones every second has a spot of 3 x 3
# pixels, a little too bright:

import numpy as np
from matplotlib import pyplot as plt
from sklearn.metrics import roc_auc_score

from latentsk import (
    AutoencoderEmbedder,
    ImageExplanationDisplay,
    OutlierScoreDisplay,
    ReconstructionDisplay,
)

rng = np.random.default_rng(0)
y, x = np.mgrid[:24, :24]


def weave(n_images):
    """Return images in [0, 1]."""
    a, b = rng.uniform(0, 2 * np.pi, size=(2, n_images, 1, 1))
    noise = rng.normal(size=(n_images, 24, 24)) * rng.uniform(8, 16, (n_images, 1, 1))
    images = 128 + 45 * (np.sin(x + a) + np.sin(y + b)) + noise
    return images.clip(0, 255) / 255


good, more, new = weave(450), weave(150), weave(200)
is_defective = np.arange(200) % 2 == 1
for i in np.flatnonzero(is_defective):
    row, column = rng.integers(0, 22, size=2)
    new[i, row : row + 3, column : column + 3] += 60 / 255

# %%
# An autoencoder. A small defect drowns in the sum over all pixels: the score is that of
# the worst window of 3 x 3 instead.

embedder = AutoencoderEmbedder(
    8, standardize=False, score_window=3, max_epochs=150, random_state=0
).fit(good)
print("AUROC:", round(roc_auc_score(is_defective, -embedder.score_samples(new)), 2))

# %%
# The threshold is placed on faultless images that the network has not seen:

embedder.set_params(contamination=0.01).calibrate(more)
labels = np.where(is_defective, "defective", "faultless")
OutlierScoreDisplay.from_estimator(embedder, new, y=labels)
# sphinx_gallery_alt = "Histograms of scores: all defective images lie below the "
# sphinx_gallery_alt = "threshold, and nearly all faultless ones above."

# %%
# Why: the heat map, with a frame around the worst window.

lowest = int(embedder.score_samples(new).argmin())
ImageExplanationDisplay.from_estimator(embedder, new, row=lowest)
# sphinx_gallery_alt = "Left, an image of a weave. Right, a heat map of contributions, "
# sphinx_gallery_alt = "in which one spot is red, with a frame around the worst "
# sphinx_gallery_alt = "window."

# %%
# What the network makes of some images. The spots are missing in the middle:

ReconstructionDisplay.from_estimator(embedder, new, n_rows=6, labels=labels)
plt.show()
# sphinx_gallery_alt = "Six images of a weave, their reconstructions, and the "
# sphinx_gallery_alt = "differences: of the defective ones, the spot is left in the "
# sphinx_gallery_alt = "difference."
# sphinx_gallery_thumbnail_number = 2
