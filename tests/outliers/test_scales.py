"""The common scale: medians of logarithms, by scipy, and what keeps it from zero."""

import numpy as np
import pytest
from scipy.stats import median_abs_deviation, norm

from latentsk.outliers._decisions import gaussian_scaling
from latentsk.outliers._gaussian import gaussian_of_latents
from latentsk.outliers._scales import (
    FLOOR,
    KINDS,
    LEAST_GLOBAL,
    LEAST_LOCAL,
    LEAST_SPREAD,
    NORMAL_MAD,
    Scale,
    clip_to_finite,
    deviations,
    scale_of,
    scale_of_kinds,
    score_of,
)


def test_the_constant_is_that_of_the_normal_distribution():
    assert pytest.approx(1 / norm.ppf(0.75), abs=1e-12) == NORMAL_MAD


def test_a_scale_is_median_and_median_absolute_deviation_of_logarithms():
    distances = np.random.default_rng(0).lognormal(1.0, 2.0, size=101)
    floor = FLOOR * np.median(distances)
    logarithms = np.log(distances + floor)
    scale = scale_of(distances)
    assert scale.floor == pytest.approx(floor)
    assert scale.centre == pytest.approx(np.median(logarithms))
    expected = median_abs_deviation(logarithms, scale="normal")
    assert scale.spread == pytest.approx(expected, rel=1e-9)


def test_log_normal_distances_become_standard_normal():
    distances = np.random.default_rng(0).lognormal(3.0, 0.5, size=100_000)
    found = deviations(distances, scale_of(distances))
    # Standard errors: of a median sqrt(pi / 2 n) = 0.004, of the spread 1.17 / sqrt(n).
    assert found.mean() == pytest.approx(0.0, abs=4 * 0.005)
    assert found.std() == pytest.approx(1.0, abs=4 * 0.0044)


def test_the_unit_of_the_distances_does_not_matter():
    distances = np.random.default_rng(0).gamma(2.0, size=50)
    here = deviations(distances, scale_of(distances))
    there = deviations(1e9 * distances, scale_of(1e9 * distances))
    np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-9)


def test_fewer_than_half_of_the_rows_do_not_move_it_far():
    distances = np.random.default_rng(0).lognormal(size=1_000)
    clean = scale_of(distances)
    distances[:400] = 1e12
    centre, spread, *_ = scale_of(distances)
    # The quantiles that the medians become at most: 5/6 of the clean sample.
    assert centre < clean.centre + norm.ppf(5 / 6) + 0.2
    assert spread < 4.0
    assert deviations([1e12], scale_of(distances))[0] > 5.0


def test_distances_of_zero_say_nothing_of_what_is_typical():
    distances = np.random.default_rng(0).lognormal(size=50)
    assert scale_of(np.r_[np.zeros(500), distances]) == scale_of(distances)
    assert deviations([0.0], scale_of(distances)) == -3.0


def test_equal_distances_have_the_smallest_spread():
    centre, spread, floor, _ = scale_of(np.full(10, 7.0))
    assert (centre, spread) == (pytest.approx(np.log(7.0 + floor)), LEAST_SPREAD)
    found = deviations([7.0, 7.0 * np.exp(LEAST_SPREAD)], scale_of(np.full(10, 7.0)))
    np.testing.assert_allclose(found, [0.0, 1.0], atol=1e-5)


def test_of_zeros_alone_the_scale_is_that_of_log1p():
    assert scale_of(np.zeros(5)) == Scale(0.0, 1.0, 1.0)
    assert scale_of([]) == Scale(0.0, 1.0, 1.0)
    found = deviations([0.0, 1.0, 1e6], scale_of(np.zeros(5)))
    np.testing.assert_allclose(found, np.log1p([0.0, 1.0, 1e6]))


def test_ties_do_not_take_the_spread():
    """Distances between counts: most are one value, and those say nothing of it."""
    distances = np.r_[np.full(60, 2.0), 2.0 * np.exp(np.linspace(0.5, 1.5, 41))]
    scale = scale_of(distances)
    assert scale.centre == pytest.approx(np.log(2.0), abs=1e-5)
    assert scale.spread == pytest.approx(1.4826, abs=1e-3)  # their median is exp(1)


def test_copies_are_as_normal_as_a_row_can_be():
    scale = scale_of(np.r_[np.zeros(90), np.exp(np.linspace(-1, 1, 11))])
    np.testing.assert_allclose(deviations([0.0, 1.0], scale), [-3.0, 0.0], atol=1e-5)


@pytest.mark.parametrize("value", [0.5, 0.1, -1e6 / 3])
def test_constant_rows_are_judged_alike(value):
    rows = np.full((50, 3), value)
    np.testing.assert_array_equal(gaussian_of_latents(rows).variances, 1.0)
    scores = np.full(9, value)
    noisy = scores * (1.0 + np.finfo(float).eps * np.resize([-1.0, 0.0, 1.0], 9))
    asked = value - np.array([0.0, 0.1, 3.0])
    expected = 2.0 * norm.cdf([0.0, 0.1, 3.0]) - 1.0
    for training in (scores, noisy):
        found = gaussian_scaling(asked, training)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


# The least that a spread is taken to be


@pytest.mark.parametrize("least", [0.05, 0.3, 2.0])
def test_a_spread_is_at_least_what_chance_makes(least):
    distances = np.exp(np.linspace(-0.1, 0.1, 101))  # the median deviation is 0.05
    expected = max(0.05 * NORMAL_MAD, least)
    assert scale_of(distances, least).spread == pytest.approx(expected, rel=1e-3)
    assert scale_of(np.ones(9), least).spread == least
    # None can be less than five hundredths.
    assert scale_of(np.ones(9), 0.01).spread == LEAST_SPREAD


def test_ties_have_a_least_spread_of_their_own():
    distances = np.r_[np.full(60, 2.0), np.full(30, 2.0 * np.exp(0.2))]
    assert scale_of(distances, 0.1).spread == pytest.approx(0.2 * NORMAL_MAD, rel=1e-4)
    assert scale_of(distances, 0.1, 0.7).spread == 0.7
    loose = np.exp(np.linspace(-0.2, 0.2, 101))
    assert scale_of(loose, 0.1, 0.7).spread == pytest.approx(0.1483, rel=1e-2)


@pytest.mark.parametrize("n_dimensions", [1.0, 2.5, 40.0])
@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_each_kind_has_its_own_scale(n_dimensions, margin):
    rng = np.random.default_rng(0)
    # As equal as those of a grid are, but for rounding.
    columns = np.exp(1e-5 * rng.normal(size=(101, len(KINDS))))
    found = scale_of_kinds(columns, margin, n_dimensions)
    least = dict.fromkeys(KINDS, LEAST_SPREAD)
    least["near"] = max(LEAST_LOCAL / n_dimensions, LEAST_SPREAD)
    least["overall"] = max(LEAST_GLOBAL / n_dimensions, LEAST_SPREAD)
    np.testing.assert_allclose(found.spread, [least[kind] for kind in KINDS])
    np.testing.assert_array_equal(
        found.margin, [0.0 if kind == "near" else margin for kind in KINDS]
    )
    for j, column in enumerate(columns.T):
        alone = scale_of(column)
        assert found.centre[j] == pytest.approx(alone.centre)
        assert found.floor[j] == pytest.approx(alone.floor)


def test_five_distances_vary_as_the_least_local_spread_says():
    """Logarithms of a mean of 5 exponential volumes, in one dimension."""
    means = np.random.default_rng(0).exponential(size=(100_000, 5)).mean(axis=1)
    assert np.log(means).std() == pytest.approx(LEAST_LOCAL, rel=0.1)


# The score


def test_the_score_is_minus_the_most_suspicious_kind():
    rng = np.random.default_rng(0)
    distances = rng.lognormal(size=(50, len(KINDS)))
    scale = scale_of_kinds(distances, 1.0, 2.0)
    found = {k: deviations(distances, scale)[:, KINDS.index(k)] for k in KINDS}
    for method, kinds in (
        ("neighbors", ["near", "overall"]),
        ("auto", ["near", "overall", "joint"]),
    ):
        scores, worst = score_of(method, distances, scale)
        stacked = np.array([found[kind] for kind in kinds])
        np.testing.assert_allclose(scores, -stacked.max(axis=0))
        np.testing.assert_array_equal(worst, np.array(kinds)[stacked.argmax(axis=0)])
    scores, worst = score_of("residual", distances, scale)
    np.testing.assert_array_equal(scores, -distances[:, KINDS.index("residual")])
    assert set(worst) == {"residual"}


def test_what_overflows_has_the_lowest_finite_score():
    lowest = np.finfo(float).min
    found = clip_to_finite(np.array([0.0, -np.inf, np.nan, lowest]))
    np.testing.assert_array_equal(found, [0.0, lowest, lowest, lowest])
