"""
Turn images into codes, and compress them
=========================================

Each image becomes a few integers. They take fewer bits than coordinates, equal codes
are near-duplicates, and rare codes are outliers.
"""

# %%
# Handwritten digits as images:

from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from latentsk import LearningCurveDisplay, ReconstructionDisplay, VQVAEEmbedder

images = load_digits().images / 16.0
embedder = VQVAEEmbedder(
    64, n_positions=8, standardize=False, max_epochs=150, random_state=0
).fit(images)
codes = embedder.transform_codes(images)
print(codes[:3])
print(f"{embedder.bits_per_row_:.0f} bits an image, of {64 * 4} as they came")
print(f"usage {embedder.code_usage_:.0%}, perplexity {embedder.perplexity_:.0f} of 64")
LearningCurveDisplay.from_estimator(embedder, terms=["reconstruction", "codes"])
# sphinx_gallery_alt = "Learning curves of training and validation: the loss, the "
# sphinx_gallery_alt = "reconstruction and the codes, with a line at the epoch whose "
# sphinx_gallery_alt = "weights are kept."

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
# sphinx_gallery_alt = "Twelve digits drawn from the prior over codes, most of them "
# sphinx_gallery_alt = "readable."
# sphinx_gallery_thumbnail_number = 2
