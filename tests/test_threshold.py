"""Thresholds against their definitions and known distributions."""

import numpy as np
import pytest
from scipy.stats import norm

from latentsk._threshold import contamination_quantile, lower_fence


def test_lower_fence_of_a_normal_sample_is_tukeys():
    quartile = norm.ppf(0.75)
    # Quantiles of the distribution itself, so that nothing is left to chance.
    scores = norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    assert lower_fence(scores) == pytest.approx(-4 * quartile, abs=1e-3)


def test_lower_fence_of_minus_an_exponential():
    scores = np.log((np.arange(100_000) + 0.5) / 100_000)  # minus Exp(1)
    q1, q2 = -np.log(4), -np.log(2)
    assert lower_fence(scores) == pytest.approx(q1 - 3 * (q2 - q1), abs=1e-3)


def test_lower_fence_withstands_a_fifth_of_outliers():
    clean = norm.ppf((np.arange(1_000) + 0.5) / 1_000)
    dirty = np.concatenate([clean[200:], np.full(200, -1e6)])
    assert -1e3 < lower_fence(dirty) < lower_fence(clean) + 1.0


def test_contamination_quantile_counts():
    scores = np.random.default_rng(0).normal(size=1_000)
    assert np.sum(scores < contamination_quantile(scores, 0.1)) == 100


def test_lower_fence_of_a_sample_that_mostly_consists_of_ties():
    scores = np.concatenate([np.full(80, 3.0), -np.arange(21.0)])
    q2, q1 = -10.0, -15.0
    assert lower_fence(scores) == q1 - 3 * (q2 - q1)
    assert lower_fence(np.full(5, 2.0)) == 2.0
