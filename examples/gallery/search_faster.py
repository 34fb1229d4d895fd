"""
Search faster, at a recall that you name
========================================

Comparing a query with every row finds all of its neighbours. Looking at some of the
rows only is faster, and misses a few. You say how many it may miss, the index chooses
how to search, and the recall is measured, not hoped for.
"""

# %%
# 30,000 rows of 32 columns, and 1,000 queries that are not among them:

from matplotlib import pyplot as plt
from sklearn.datasets import make_blobs

from latentsk import LatentIndex, RecallDisplay

vectors, _ = make_blobs(31_000, 32, centers=200, cluster_std=4.0, random_state=0)
rows, queries = vectors[:30_000], vectors[30_000:]

# %%
# An exact index, and two that may miss five and one in a hundred of the ten nearest
# rows. What was built is a string, with which the same can be built again:

indexes = {"exact": LatentIndex(n_neighbors=10).fit(rows)}
for target in (0.95, 0.99):
    index = LatentIndex(target_recall=target, n_neighbors=10).fit(rows)
    indexes[f"target_recall={target}"] = index
    print(target, "->", index.index_spec_)

# %%
# ``recall_`` holds what was found for rows of the index. Your own queries may be
# unlike them, so ask with those. "lower" and "upper" are confidence bounds:

print(indexes["target_recall=0.95"].measure_recall(queries).round(3))

# %%
# Recall against speed. Times are those of the machine that built this page:

RecallDisplay.from_estimator(indexes, queries, n_neighbors=10)
plt.show()
# sphinx_gallery_alt = "Queries a second against the recall of ten neighbours, for an "
# sphinx_gallery_alt = "exact index and two approximate ones, which are faster."
