"""The parts of the benchmark of image defects that can be wrong unnoticed."""

import importlib
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("image_defects")


@pytest.mark.parametrize("kind", ["bright", "dark", "grey", "noise", "inverted"])
@pytest.mark.parametrize("shape", [(12, 9), (12, 9, 3)])
def test_each_image_gets_one_square_defect(benchmark, kind, shape):
    rng = np.random.default_rng(0)
    images = rng.uniform(0.1, 0.4, size=(40, *shape)).astype(np.float32)
    new, inside = benchmark.planted(images, kind, 3, rng)
    assert new.shape == images.shape
    assert inside.shape == (40, 12, 9)
    assert inside.sum(axis=(1, 2)).tolist() == [9] * 40
    for mask in inside:
        assert [len(np.unique(axis)) for axis in np.nonzero(mask)] == [3, 3]
    changed = new != images
    changed = changed.any(axis=3) if changed.ndim == 4 else changed
    assert not changed[~inside].any()
    assert np.abs(new - images)[inside].mean() > benchmark.LEAST_CHANGE


def test_a_defect_that_changes_nothing_ends_the_search(benchmark):
    white = np.ones((2, 5, 5), np.float32)
    new, inside = benchmark.planted(white, "bright", 3, np.random.default_rng(0))
    assert np.array_equal(new, white)
    assert inside.sum() == 18


def test_lower_scores_are_those_of_bad_images(benchmark):
    assert benchmark.area(np.array([3.0, 2.0]), np.array([1.0, 0.0])) == 1.0
    assert benchmark.area(np.array([0.0, 2.0]), np.array([1.0])) == 0.5


def test_the_verdict_counts_what_misses_the_aims(benchmark):
    def case(pixel, total, window):
        return [pixel, total, *(window if w == 3 else 0.0 for w in benchmark.WINDOWS)]

    found = {
        "a set": {
            ("bright", 3): case(0.99, 0.65, 0.85),
            ("dark", 3): case(0.90, 0.70, 0.79),
            ("grey", 3): case(0.95, 0.90, 0.50),  # the sum finds it
            ("grey", 5): case(0.10, 0.65, 0.10),  # is no 3 x 3 defect
        }
    }
    assert benchmark.verdict(found) == (
        "Of 3 cases with 3 x 3 defects, the sum is 0.55 to 0.75 in 2; window 3 is "
        "below 0.8 in 1 of these (a set, dark). The AUROC over pixels is below 0.94 in "
        "1 of all (a set, dark)."
    )
