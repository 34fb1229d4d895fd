"""Conformal p-values and false discovery rates: scipy, and simulation."""

import numpy as np
import pytest
from scipy.stats import expon, false_discovery_control, norm

from latentsk.outliers._decisions import (
    benjamini_hochberg,
    conformal_p_values,
    conformal_threshold,
    gaussian_scaling,
    tail_threshold,
)


def test_p_values_are_their_formula():
    rng = np.random.default_rng(0)
    scores, calibration = rng.normal(size=50).round(1), rng.normal(size=30).round(1)
    expected = [(1 + np.sum(calibration <= score)) / 31 for score in scores]
    np.testing.assert_allclose(conformal_p_values(scores, calibration), expected)


def test_rejections_are_scipy_s():
    rng = np.random.default_rng(0)
    for level in (0.01, 0.1, 0.5):
        for _ in range(50):
            p_values = rng.uniform(size=40) ** rng.uniform(1, 4)
            expected = false_discovery_control(p_values) <= level
            found = benjamini_hochberg(p_values, level)
            np.testing.assert_array_equal(found, expected)
    assert benjamini_hochberg([], 0.1).shape == (0,)


def test_rates_stay_at_their_level_over_200_repetitions():
    """Exchangeable normal rows, and outliers among those that are judged."""
    rng = np.random.default_rng(0)
    level, n_repetitions = 0.1, 200
    false_positives, false_discoveries, found = [], [], []
    for _ in range(n_repetitions):
        calibration = rng.normal(size=500)
        normal, outliers = rng.normal(size=180), rng.normal(-4.0, size=20)
        p_values = conformal_p_values(np.r_[normal, outliers], calibration)
        false_positives.append(np.mean(p_values[:180] <= level))
        rejected = benjamini_hochberg(p_values, level)
        false_discoveries.append(rejected[:180].sum() / max(1, rejected.sum()))
        found.append(rejected[180:].mean())
    for rates in (false_positives, false_discoveries):
        error = np.std(rates) / n_repetitions**0.5
        assert np.mean(rates) < level + 3 * error
    assert np.mean(false_positives) > 0.09
    assert np.mean(found) > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], []), "no calibration scores"),
        (([np.nan], [0.0]), "got NaN"),
        (([0.0], [np.nan]), "got NaN"),
    ],
)
def test_bad_scores(arguments, message):
    with pytest.raises(ValueError, match=message):
        conformal_p_values(*arguments)


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, np.nan])
def test_bad_levels(level):
    with pytest.raises(ValueError, match="level must be in"):
        benjamini_hochberg([0.5], level)


def test_bad_p_values():
    with pytest.raises(ValueError, match="p-values must be in"):
        benjamini_hochberg([0.5, np.nan], 0.1)


@pytest.mark.parametrize("n_calibration", [1, 9, 19, 30, 99])
def test_scores_below_the_threshold_are_those_of_p_values_up_to_the_level(
    n_calibration,
):
    rng = np.random.default_rng(0)
    # Rounded, so that there are ties with and among the calibration rows.
    calibration = rng.normal(size=n_calibration).round(1)
    scores = np.concatenate(
        [rng.normal(size=300).round(1), calibration, np.nextafter(calibration, -9)]
    )
    p_values = conformal_p_values(scores, calibration)
    levels = np.unique(np.r_[p_values, 0.05, 0.1, 0.3, 0.999])
    levels = levels[(levels >= 1 / (n_calibration + 1)) & (levels < 1)]
    assert len(levels)
    for level in levels:
        threshold = conformal_threshold(calibration, level)
        assert threshold in calibration
        np.testing.assert_array_equal(scores < threshold, p_values <= level)


def test_the_threshold_among_ties_leaves_fewer_below_never_more():
    calibration = np.r_[np.full(30, -7.0), np.arange(69.0)]
    # A fifth of 100 ranks, of which thirty are tied: below lies none of them.
    assert conformal_threshold(calibration, 0.2) == -7.0
    assert np.sum(calibration < conformal_threshold(calibration, 0.32)) == 31


def test_the_order_of_the_calibration_rows_does_not_matter():
    assert conformal_threshold([2.0, -1.0, 1.0, 0.0], 0.4) == 0.0


@pytest.mark.parametrize("level", [0.5, 0.1, 0.07, 0.05, 0.01, 0.003])
def test_too_few_calibration_rows_are_told_how_many_it_takes(level):
    needed = int(np.ceil(1 / level)) - 1
    assert conformal_threshold(np.arange(needed), level) == 0.0
    with pytest.raises(ValueError, match=f"calibrate with {needed} rows or more"):
        conformal_threshold(np.arange(needed - 1), level)


# The threshold of "auto"


def _brute_threshold(scores):
    """An exponential tail through a twentieth and the quartile, continued to 1/100."""
    scores = np.asarray(scores)
    first, median = np.quantile(scores, [0.25, 0.5])
    kept = scores[scores >= first - 6 * (median - first)]
    low, quartile = np.quantile(kept, [0.05, 0.25])
    # The tail below t is 0.25 * exp((t - quartile) / scale), a twentieth at the first.
    scale = (quartile - low) / np.log(5)
    return quartile + scale * np.log(0.01 / 0.25)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_the_tail_threshold_is_its_formula(seed, unit):
    scores = unit * np.random.default_rng(seed).normal(5.0, 1.0, size=200)
    scores[:20] -= 40 * unit
    assert tail_threshold(scores) == pytest.approx(_brute_threshold(scores))
    assert tail_threshold(scores[::-1]) == tail_threshold(scores)


def test_of_an_exponential_tail_about_a_hundredth_lies_below():
    grid = (np.arange(100_000) + 0.5) / 100_000
    below = expon.sf(-tail_threshold(-expon.ppf(grid)))
    # Far out is what lies beyond log 4 + 6 log 2: a share of 1 / 256.
    low, quartile = expon.isf(1 / 256 + 255 / 256 * np.array([0.05, 0.25]))
    expected = expon.sf(quartile + np.log(25) / np.log(5) * (low - quartile))
    assert below == pytest.approx(expected, rel=1e-3)
    assert below == pytest.approx(0.01, abs=0.002)


def test_of_thinner_tails_less_lies_below():
    grid = (np.arange(100_000) + 0.5) / 100_000
    below = norm.cdf(tail_threshold(norm.ppf(grid)))
    low, quartile = norm.ppf([0.05, 0.25])
    expected = norm.cdf(quartile + np.log(25) / np.log(5) * (low - quartile))
    assert below == pytest.approx(expected, rel=1e-2)
    assert 0.003 < below < 0.01
    assert tail_threshold(grid) < 0.0


@pytest.mark.parametrize("share", [0.05, 0.15, 0.24])
def test_outliers_far_away_do_not_move_it_far(share):
    scores = norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    clean = tail_threshold(scores)
    n_outliers = int(share / (1 - share) * 10_000)
    for where in (-1e3, -1e200, np.finfo(float).min):
        with np.errstate(over="ignore"):
            found = tail_threshold(np.r_[scores, np.full(n_outliers, where)])
        assert found == pytest.approx(clean, abs=0.05)


def test_equal_scores_are_not_below_the_threshold():
    assert tail_threshold(np.zeros(9)) == 0.0
    assert tail_threshold(np.r_[np.full(99, -1.5), -9.0]) == -1.5


# Scores as numbers in [0, 1]


@pytest.mark.parametrize(
    ("n_tied", "share"), [(60, 0.75), (74, 0.75), (80, 0.9), (89, 0.9)]
)
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
def test_tied_training_scores_do_not_saturate_the_others(n_tied, share, unit):
    others = -unit * np.linspace(1.0, 5.0, 100 - n_tied)
    training = np.r_[np.full(n_tied, 0.0), others]
    found = gaussian_scaling(training, training)
    assert (found[:n_tied] == 0.0).all()
    # They are ordered as the scores are, in any unit.
    assert (np.diff(found[n_tied:]) > 0.0).all()
    # Of a normal distribution, a share lies within its own quantile.
    at_quantile = -np.quantile(-training, share)
    assert gaussian_scaling([at_quantile], training)[0] == pytest.approx(share)


def test_few_scores_that_differ_from_all_others_stand_out():
    training = np.r_[np.zeros(95), np.full(5, -50.0)]
    np.testing.assert_allclose(gaussian_scaling([0.0, -50.0], training), [0.0, 1.0])
    np.testing.assert_allclose(
        gaussian_scaling([-1.0], training), 2 * norm.cdf(1.0) - 1.0
    )
