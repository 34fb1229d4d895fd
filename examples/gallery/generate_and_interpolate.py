"""
Generate images, and walk between them
======================================

A variational autoencoder learns a smooth latent space: points drawn from it become new
images, and the way from one image to another leads through images.
"""

# %%
# Handwritten digits as images, in [0, 1]:

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from latentsk import (
    InterpolationDisplay,
    LatentMapDisplay,
    LearningCurveDisplay,
    TraversalDisplay,
    VAEEmbedder,
)

digits = load_digits()
images, labels = digits.images / 16.0, digits.target

# %%
# Two latent dimensions, so that they can be drawn. Pixels between black and white have
# the continuous Bernoulli distribution:

vae = VAEEmbedder(
    2, likelihood="continuous_bernoulli", max_epochs=150, random_state=0
).fit(images)
LearningCurveDisplay.from_estimator(vae, terms=["reconstruction", "kl"])
# sphinx_gallery_alt = "Learning curves of training and validation: the loss and the "
# sphinx_gallery_alt = "reconstruction fall, the KL divergence rises."

# %%
# The map of all images, with some of them in frames of the colour of their digit, and
# lines of equal density of the prior. The fit knew no labels; they only colour the map:

LatentMapDisplay.from_estimator(
    vae, images, color=labels, name="digit", outliers=False, thumbnails=True
)
# sphinx_gallery_alt = "A map of digits in two latent dimensions, coloured by digit, "
# sphinx_gallery_alt = "each in a place of its own, with circles of equal density and "
# sphinx_gallery_alt = "small images of digits, which lie where their colours do."

# %%
# What lies where: a row as it changes along both dimensions at once.

TraversalDisplay.from_estimator(vae, images, dimensions=[(0, 1)])
# sphinx_gallery_alt = "A grid of images decoded from two latent dimensions: digits "
# sphinx_gallery_alt = "turn into one another."

# %%
# The journey from a four to a seven to a nine, of each digit the image with the highest
# score. A leg has nine steps, so that its fifth image lies half way:

scores = vae.score_samples(images)
stops = [np.where(labels == digit, scores, -np.inf).argmax() for digit in (4, 7, 9)]
InterpolationDisplay.from_estimator(vae, images[stops], labels=["4", "7", "9"])
# sphinx_gallery_alt = "Two rows of images: on the way from a four to a seven, and "
# sphinx_gallery_alt = "from a seven to a nine."

# %%
# And images that nobody wrote. Above, what ``sample`` draws: the noise of the pixels is
# drawn as well. Below, means without that noise: ``inverse_transform`` of points drawn
# from the prior, here a standard normal distribution, by the same seed. (With this
# likelihood, black comes back as 1/16, a very dark grey.)

drawn = vae.sample(8, random_state=0)
points = np.random.default_rng(0).normal(size=(8, 2))
means = vae.inverse_transform(points)
fig, axes = plt.subplots(2, 8, figsize=(6.4, 1.8), layout="constrained")
for ax, image in zip(axes.flat, [*drawn, *means], strict=True):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set_axis_off()
plt.show()
# sphinx_gallery_alt = "Sixteen new images: eight with noisy pixels above, and eight "
# sphinx_gallery_alt = "smooth ones below, most of them readable digits."
# sphinx_gallery_thumbnail_number = 3
