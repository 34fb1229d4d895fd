"""
Look at everything at once
==========================

Where do the rows lie, which ones are strange, why, and what is like them? One page
answers all of it, and this page holds one to try: move and zoom, drag the threshold,
click on a point.
"""

# %%
# An autoencoder learns what handwritten digits look like, and a detector is calibrated
# on others:

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from latentsk import AutoencoderEmbedder, LatentOutlierDetector, explore

digits = load_digits()
images = digits.images / 16.0
known, shown, _, labels = train_test_split(
    images, digits.target, test_size=600, random_state=0
)
embedder = AutoencoderEmbedder(8, standardize=False, max_epochs=100, random_state=0)
detector = LatentOutlierDetector(
    embedder, method="embedder_score", assume_clean=True, random_state=0
)
detector = detector.fit(known[:800]).calibrate(known[800:])

# %%
# One call. ``path="explorer.html"`` would write a file that can be sent to others; it
# needs no server and no network. In a notebook, and here, the result shows itself:

# sphinx_gallery_capture_repr = ("_repr_html_",)
# sphinx_gallery_thumbnail_path = '_static/explorer.png'
# sphinx_gallery_alt = "A map of digits, a threshold, and the reasons of one row."
explore(shown, detector=detector, labels=labels, title="Digits", path=None)
