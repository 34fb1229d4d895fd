"""
Images and texts through an encoder of your own
===============================================

A network that was trained elsewhere knows what images or texts are about. Everything
here works on what it returns: give the embeddings as an array, or put the network into
a Pipeline.
"""

# %%
# The recipe. Any function from raw rows to an array of vectors is a transformer:

from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer

from latentsk import (
    LatentIndex,
    LatentOutlierDetector,
    OutlierScoreDisplay,
    PCAEmbedder,
)

# %%
# With sentence-transformers it would read ``encode = SentenceTransformer(...).encode``;
# with a network of torchvision ``encode = lambda images: network(images).numpy()``, in
# ``torch.no_grad()``. So that this page runs without a download, words are counted by
# scikit-learn instead:

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import HashingVectorizer

counter = HashingVectorizer(n_features=1024, analyzer="char_wb", ngram_range=(2, 3))


def encode(texts):
    """Return a vector for each text."""
    return counter.transform(texts).toarray()


texts = [f"order {i} was shipped to Bern" for i in range(100)]
texts += [f"invoice {i} was paid by card" for i in range(100)]
texts += ["your account was hacked, click here!!!"]

# %%
# The index takes texts, and so do its queries:

embedder = make_pipeline(FunctionTransformer(encode), Normalizer())
index = LatentIndex(embedder, metric="cosine").fit(texts)
found = index.search(["order 1234 was shipped to Basel"], n_neighbors=2)
print([texts[i] for i in found["id"]])

# %%
# Outliers among texts are outliers among their vectors. These have far more columns
# than there are texts; a few components keep what texts have in common:

vectors = encode(texts)
detector = LatentOutlierDetector(PCAEmbedder(8), random_state=0).fit(vectors)
print(texts[detector.score_samples(vectors).argmin()])
OutlierScoreDisplay.from_estimator(detector, vectors)
# sphinx_gallery_alt = "A histogram of the scores of texts: nearly all are near 0, and "
# sphinx_gallery_alt = "a few are far below the threshold."

# %%
# A network of torch can be part of the embedder itself, and be trained further:
# ``AutoencoderEmbedder(encoder=..., decoder=...)`` copies the modules that you give.

from torch import nn

from latentsk import AutoencoderEmbedder

X = load_digits().data.astype(np.float32)
encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 64))
for module in (*encoder, *decoder):
    if isinstance(module, nn.Linear):  # stands for weights from elsewhere
        nn.init.orthogonal_(module.weight)
embedder = AutoencoderEmbedder(
    encoder=encoder, decoder=decoder, max_epochs=20, random_state=0
)
print(embedder.fit_transform(X).shape)
plt.show()
