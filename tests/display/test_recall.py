"""Recall displays: what was measured is what is drawn."""

import numpy as np
import pandas as pd
import pytest
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


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ([1_000.0, 12_000.0], ["1,000", "2,000", "5,000", "10,000"]),
        ([10_100.0, 10_900.0], ["10,000", "20,000"]),
        ([0.3, 0.9], ["0.2", "0.5", "1"]),
        ([3.0, 5e4], ["10", "100", "1,000", "10,000"]),
    ],
)
def test_speeds_are_labelled_by_plain_numbers(speeds, expected):
    columns = ["recall", "lower", "upper", "queries_per_second"]
    table = pd.DataFrame([[0.9, 0.8, 1.0, s] for s in speeds], ["a", "b"], columns)
    ax = RecallDisplay(table).plot().ax_
    ax.figure.canvas.draw()
    low, high = ax.get_ylim()
    assert low < min(speeds) < max(speeds) < high
    labels = zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
    assert [text.get_text() for at, text in labels if low <= at <= high] == expected
    assert {text.get_text() for text in ax.get_yticklabels(minor=True)} <= {""}


def test_a_filter_is_that_of_the_search():
    rng = np.random.default_rng(0)
    X, queries = rng.normal(size=(2_000, 8)), rng.normal(size=(100, 8))
    index = LatentIndex(index_spec="IVF32,PQ8x4fs,nprobe=1,rerank=2").fit(X)
    few = np.arange(2_000) < 40
    display = RecallDisplay.from_estimator(index, queries, n_neighbors=5, filter=few)
    assert display.table["recall"].tolist() == [1.0]  # all forty are compared
