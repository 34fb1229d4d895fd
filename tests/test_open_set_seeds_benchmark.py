"""The parts of the benchmark of seeds that can be wrong without anyone noticing."""

import importlib
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("open_set_seeds")


class Answers:
    """A model whose answers and scores are the columns of the rows."""

    def fit(self, X, y):
        self.seen = set(y)
        return self

    def predict(self, X):
        return X[:, 0]

    def novelty_score(self, X):
        return X[:, 1]


def test_shares_are_of_known_and_of_unknown_digits(benchmark):
    """Of four known ones two are right and one is rejected; of two unknown one is."""
    y = np.array([0, 1, 2, 3, 7, 9])
    X = np.array([[0, 1], [1, 2], [3, 3], [-1, 5], [4, 4], [-1, 6]])
    assert benchmark.judged(Answers(), (X, y)) == {
        "AUROC": 7 / 8,
        "unknown found": 0.5,
        "known called unknown": 0.25,
        "right, of known": 0.5,
    }


def test_seven_and_nine_are_not_in_the_training(benchmark):
    y = np.arange(10)
    model = benchmark.fitted(Answers(), (y[:, None], y))
    assert model.seen == {0, 1, 2, 3, 4, 5, 6, 8}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.25, 0.1, 0.15], "0.100 to 0.250"),
        ([0.5], "0.500"),
        ([0.5001, 0.5], "0.500"),
    ],
)
def test_ranges_have_both_ends_where_they_differ(benchmark, values, text):
    assert benchmark.shown(values) == text
