"""
Take noise out of rows
======================

A latent space of fewer dimensions cannot hold everything. What it drops first is what
does not hang together: noise.
"""

# %%
# **A plane.** Points lie around the plane X0 = X2. Two components keep it, and the
# third direction, (1, 0, -1) over the square root of 2, is noise:

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from latentsk import AutoencoderEmbedder, PCAEmbedder

rng = np.random.default_rng(0)
first, second = rng.normal(size=(2, 5_000))
clean = np.column_stack([first, second, first])
noisy = clean + 0.3 * rng.normal(size=clean.shape)
embedder = PCAEmbedder(2).fit(noisy)
print("dropped direction:", np.cross(*embedder.components_).round(2))


def error(rows, truth):
    """Return the mean squared error of a row."""
    return np.square(rows - truth).sum(axis=1).mean()


denoised = embedder.reconstruct(noisy)
print(f"noisy {error(noisy, clean):.3f}, expected {3 * 0.09:.3f}")
print(f"denoised {error(denoised, clean):.3f}, expected {2 * 0.09:.3f}")

fig, axes = plt.subplots(1, 2, figsize=(6.4, 3.2), sharey=True, layout="constrained")
for ax, rows, name in zip(axes, (noisy, denoised), ("noisy", "denoised"), strict=True):
    ax.plot(rows[:, 0], rows[:, 2], ".", markersize=2)
    ax.set(xlabel="X0", title=name, aspect="equal")
axes[0].set_ylabel("X2")
# sphinx_gallery_alt = "X2 against X0 of five thousand points: noisy, a long cloud; "
# sphinx_gallery_alt = "denoised, a line."

# %%
# **Images.** An autoencoder that is given noisy images, and has to return clean ones,
# learns to take the noise away:

X = load_digits().data / 16
train, test = train_test_split(X, test_size=500, random_state=0)
noisy = test + 0.3 * rng.normal(size=test.shape)
autoencoder = AutoencoderEmbedder(
    32,
    noise="gaussian",
    noise_level=0.3,
    standardize=False,
    max_epochs=100,
    random_state=0,
).fit(train)
denoised = autoencoder.reconstruct(noisy)
print(
    f"squared error per image: {error(noisy, test):.2f} -> {error(denoised, test):.2f}"
)

fig, axes = plt.subplots(3, 8, figsize=(6.4, 2.6), layout="constrained")
rows = zip(axes, (noisy, denoised, test), ("noisy", "denoised", "clean"), strict=True)
for line, images, name in rows:
    for ax, image in zip(line, images, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name)
plt.show()
# sphinx_gallery_alt = "Eight digits with noise, without it, and as they were before "
# sphinx_gallery_alt = "noise was added."
