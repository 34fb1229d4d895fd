"""Confidence, rejection and its costs, against sums and quantiles done otherwise."""

from math import comb

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import betainccinv, betaincinv

from latentsk.outliers._pyod_confidence import (
    Costs,
    is_rejected,
    outlier_chance,
    rejection_stats,
)


@pytest.mark.parametrize("n_outliers", [0, 1, 4, 11, 20])
def test_the_chance_is_a_binomial_tail(n_outliers):
    # 20 training scores 1, ..., 20, and a row between any two of them.
    training = np.random.default_rng(0).permutation(np.arange(1.0, 21))
    chances = outlier_chance(np.arange(0.5, 21), training, n_outliers)
    for below, chance in enumerate(chances):
        p = (1 + below) / 22
        tail = range(20 - n_outliers + 1, 21)
        expected = sum(comb(20, i) * p**i * (1 - p) ** (20 - i) for i in tail)
        assert chance == pytest.approx(expected, abs=1e-14)


def test_scores_that_are_equal_count_as_below():
    chances = outlier_chance(np.array([0.9, 1.0, 1.1]), np.ones(9), 3)
    assert chances[0] < chances[1] == chances[2]


def test_new_training_rows_give_a_label_as_often_as_it_says():
    """Perini et al. (2020): of training sets drawn anew, so many label a row 1."""
    rng = np.random.default_rng(0)
    n, n_outliers = 200, 20
    scores = np.quantile(rng.uniform(size=20_000), [0.87, 0.9, 0.93])
    # A row is an outlier if more than n - n_outliers training rows score lower.
    below = (rng.uniform(size=(5_000, n, 1)) <= scores).sum(axis=1)
    found = (below > n - n_outliers).mean(axis=0)
    ideal = (np.arange(1, n + 1) - 0.5) / n
    assert_allclose(outlier_chance(scores, ideal, n_outliers), found, atol=0.06)


def test_rejection_by_stability():
    chance = np.array([0, 1e-6, 0.01, 0.5, 0.99, 1 - 1e-6, 1])
    # exp(-5) = 0.0067: rejected where neither label has less.
    assert_array_equal(is_rejected(chance, 5), [0, 0, 1, 1, 1, 0, 0])
    assert_array_equal(is_rejected(chance, 0.5), np.zeros(7))
    assert is_rejected(chance, 39).all()


@pytest.mark.parametrize("n", [30, 200, 5_000])
@pytest.mark.parametrize("T", [1, 4, 20])
def test_the_expected_rate_and_cost_are_quantiles_of_beta_distributions(n, T):
    contamination, costs = 0.1, Costs(2, 3, 0.4)
    shape, tail = (n // 10, n + 1 - n // 10), np.exp(-T)
    low, high = betaincinv(*shape, tail), betainccinv(*shape, tail)
    stats = rejection_stats(n, contamination, T, 0.1, costs)
    assert stats.expected_rate == pytest.approx(high - low, rel=1e-5)
    wrong = min(0.1, low) * 2 + min(0.1, 1 - high) * 3
    assert stats.cost_bound == pytest.approx(wrong + (high - low) * 0.4, rel=1e-5)


def test_so_many_rows_are_rejected():
    rng = np.random.default_rng(0)
    training, new = rng.uniform(size=2_000), rng.uniform(size=50_000)
    share = is_rejected(outlier_chance(new, training, 200), 8).mean()
    stats = rejection_stats(2_000, 0.1, 8, 0.05, Costs(1, 1, 0.1))
    assert share == pytest.approx(stats.expected_rate, abs=0.005)
    assert share < stats.rate_bound


def test_low_bounds_reject_nothing():
    stats = rejection_stats(100, 0.1, 0.5, 0.1, Costs(1, 1, 0.1))
    assert stats.expected_rate == 0
    # Fewer than one outlier is expected: no row is ever labelled 1, and all are sure.
    stats = rejection_stats(9, 0.1, 32, 0.1, Costs(1, 2, 5))
    assert stats.expected_rate == 0
    assert stats.cost_bound == pytest.approx(0.1 * 2)


# Printed by compute_rejection_stats of PyOD 3.6.7, with delta=0.2 and costs 2, 3, 0.4.
@pytest.mark.parametrize(
    ("n", "contamination", "T", "expected"),
    [
        (50, 0.5, 32, (0.8262965964761091, 1.3034854258770292, 0.7692536135556955)),
        (200, 0.1, 32, (0.3163408114878741, 0.5181940966988194, 0.44565683139157397)),
        (200, 0.29, 36, (0.4816244182580682, 0.732617147312706, 1.2322295831170436)),
        (1001, 0.05, 32, (0.10591445532967414, 0.23621609043925146, 0.2194878124456)),
    ],
)
def test_pyods_numbers(n, contamination, T, expected):
    stats = rejection_stats(n, contamination, T, 0.2, Costs(2, 3, 0.4))
    assert_allclose(stats, expected, rtol=1e-7)
