"""
A search service that stays up to date
======================================

"Show me the products most like this one, in stock, below a price." Rows come and go
while others search. :class:`~latentsk.LatentIndex` holds ids and metadata with the
rows, filters by a query string, and is one file on disk.
"""

# %%
# Products have a description, here 64 numbers of an image, and what is known of them:

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from latentsk import LatentIndex, NeighborsDisplay, PCAEmbedder

X = load_digits().data
rng = np.random.default_rng(0)
skus = [f"sku-{i:04}" for i in range(len(X))]
metadata = pd.DataFrame(
    {
        "price": rng.uniform(5, 100, len(X)).round(2),
        "in_stock": rng.random(len(X)) < 0.7,
        "shop": rng.choice(["north", "south"], len(X)),
    },
    index=skus,
)

# %%
# The first 1,700 are there from the beginning:

index = LatentIndex(PCAEmbedder(16), n_neighbors=3)
index.fit(X[:1_700], ids=skus[:1_700], metadata=metadata.iloc[:1_700])
print(index.search(X[1_750:1_751], return_metadata=True).round(2))

# %%
# A filter is a string of a small grammar, which can do no more than compare columns, so
# that a service may take it from its clients:

wanted = "in_stock and price < 30 and shop == 'north'"
print(index.search(X[1_750:1_751], filter=wanted, return_metadata=True).round(2))

# %%
# As pictures:

NeighborsDisplay.from_estimator(
    index, X[1_750:1_752], X[:1_700], image_shape=(8, 8), labels=["first", "second"]
)
# sphinx_gallery_alt = "Two queries and the five products most like each of them, with "
# sphinx_gallery_alt = "their distances."

# %%
# Products are added, change their price, and go:

index.add(X[1_700:], ids=skus[1_700:], metadata=metadata.iloc[1_700:])
index.update_metadata(pd.DataFrame({"price": [1.0]}, index=["sku-1750"]))
index.remove(["sku-0000", "sku-0001"])
print(len(index), "products;", "sku-0000" in index)

# %%
# The whole index is one file. Reading it runs no code.

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "products.latentsk"
    index.save(path)
    served = LatentIndex.load(path, embedder=index.embedder_)
print(served.search(X[1_750:1_751], filter="price < 5", fewer="allow").round(2))
plt.show()
