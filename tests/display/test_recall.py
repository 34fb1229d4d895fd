"""Recall displays: what was measured is what is drawn."""

import numpy as np
from numpy.testing import assert_allclose

from latentsk import LatentIndex
from latentsk.display import RecallDisplay


def test_each_index_is_a_point_with_its_bounds():
    rng = np.random.default_rng(0)
    X, queries = rng.normal(size=(2_000, 8)), rng.normal(size=(200, 8))
    indexes = {
        "exact": LatentIndex().fit(X),
        "lists": LatentIndex(index_spec="PCA8,IVF32,PQ8x4fs,nprobe=1,rerank=2").fit(X),
    }
    display = RecallDisplay.from_estimator(indexes, queries, n_neighbors=5)
    expected = indexes["lists"].measure_recall(queries, 5).loc[5]
    assert_allclose(display.table.loc["lists", "recall"], expected["recall"])
    assert display.table.loc["exact", "recall"] == 1.0
    assert display.table.loc["lists", "recall"] < 1.0
    assert (display.table["queries_per_second"] > 0.0).all()
    point = display.points_[1].lines[0]
    assert_allclose(float(point.get_xdata()[0]), float(expected["recall"]))
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["exact", "lists"]
