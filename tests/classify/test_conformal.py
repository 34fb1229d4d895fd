"""Bounds at a level and at a confidence, against scipy's distributions and by trial."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from latentsk.classify._conformal import lowest_rank, n_as_low, n_needed
from latentsk.outliers._decisions import conformal_p_values


@pytest.mark.parametrize("level", [0.01, 0.05, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("n_rows", [1, 4, 9, 18, 19, 20, 99, 100, 999])
def test_a_rank_fails_the_rows_whose_p_value_is_at_most_the_level(n_rows, level):
    calibration = np.arange(n_rows, dtype=float)
    scores = np.linspace(-1, n_rows, 3 * n_rows + 7)
    fails = n_as_low(scores, calibration) < lowest_rank(n_rows, level)
    expected = conformal_p_values(scores, calibration) <= level
    np.testing.assert_array_equal(fails, expected)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n_rows", [50, 100, 1_000])
def test_a_rank_with_confidence_is_the_highest_that_keeps_it(n_rows, confidence):
    rank = lowest_rank(n_rows, 0.1, confidence)
    # The r-th lowest of n uniforms is at most a if r of them or more are.
    holds = [1 - binom.cdf(r - 1, n_rows, 0.1) for r in (rank, rank + 1)]
    assert holds[0] >= confidence > holds[1]
    assert beta.cdf(0.1, rank, n_rows + 1 - rank) == pytest.approx(holds[0])
    assert rank <= lowest_rank(n_rows, 0.1)


def test_the_promise_holds_for_one_calibration_as_often_as_it_says():
    generator = np.random.default_rng(0)
    rank = lowest_rank(200, 0.1, confidence=0.9)
    rates = np.sort(generator.uniform(size=(4_000, 200)), axis=1)[:, rank - 1]
    assert 0.9 <= (rates <= 0.1).mean() < 0.93


@pytest.mark.parametrize("level", [0.001, 0.05, 1 / 3, 0.5, 0.9])
@pytest.mark.parametrize("confidence", [None, 0.5, 0.95])
def test_as_few_rows_as_needed_reject_and_one_less_does_not(level, confidence):
    n_rows = n_needed(level, confidence)
    assert lowest_rank(n_rows, level, confidence) == 1
    assert n_rows == 1 or lowest_rank(n_rows - 1, level, confidence) == 0


def test_needs_of_usual_levels():
    assert [n_needed(a) for a in (0.05, 0.1, 0.01)] == [19, 9, 99]
    assert lowest_rank(0, 0.05) == lowest_rank(0, 0.05, 0.95) == 0
