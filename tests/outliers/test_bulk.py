"""The rows that are presumed normal: planted outliers, tight relations, kinds."""

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from latentsk.outliers._bulk import (
    FENCE,
    SUPPORT_SHARE,
    conditional_distances,
    distances_from_median,
    is_mostly_one_value,
    nearest_rows,
    normal_rows,
    squared_ranges_of_two,
    within_fence,
)


def _normal(rows):
    """Positions of the presumed normal rows, in units of the columns' deviations."""
    return normal_rows(rows, np.ones(rows.shape[1]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.02, 0.1, 0.2])
@pytest.mark.parametrize("scattered", [False, True])
def test_planted_outliers_are_not_normal_and_the_others_are(seed, share, scattered):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(400, 3)) * [5.0, 1.0, 1.0]
    n_outliers = int(400 * share)
    away = rng.normal(size=(n_outliers, 2)) if scattered else np.array([1.0, 0.0])
    away = np.broadcast_to(away, (n_outliers, 2))
    rows[:n_outliers, 1:] += 30 * away / np.linalg.norm(away, axis=1, keepdims=True)
    found = _normal(rows)
    assert found.min() >= n_outliers
    assert len(found) > 0.95 * (400 - n_outliers)
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.5])
def test_rows_that_break_a_relation_are_not_normal(noise):
    """Inside of every column's range, and of every pair's."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 8)) * 3
    rows = np.column_stack([rows, rows.sum(axis=1) + noise * rng.normal(size=500)])
    rows[:12, 8] += rng.choice([-1, 1], 12) * 40 * max(noise, 0.1)
    found = normal_rows(rows, rows.std(axis=0))
    assert found.min() >= 12
    assert len(found) > 0.95 * 488


def test_rare_kinds_are_normal_and_outliers_among_them_are_not():
    rng = np.random.default_rng(0)
    kinds = rng.choice(3, 1_000, p=[0.9, 0.08, 0.02])
    values = rng.normal(size=(1_000, 2))
    rows = np.column_stack([np.eye(3)[kinds], values])
    found = _normal(rows)
    for kind in range(3):
        assert np.mean(np.isin(np.flatnonzero(kinds == kind), found)) > 0.9
    odd = np.flatnonzero(kinds == 2)[:3]
    rows[odd, 3] += 12.0
    assert not np.isin(odd, _normal(rows)).any()


def test_a_relation_to_what_is_mostly_zero_keeps_its_rows():
    """total = base + bonus, where nine tenths have no bonus."""
    rng = np.random.default_rng(0)
    base = rng.normal(100.0, 10.0, size=1_000)
    bonus = np.where(rng.random(1_000) < 0.1, rng.exponential(20.0, 1_000), 0.0)
    rows = np.column_stack([base, bonus, base + bonus])
    rows[:5, 2] += 5.0
    found = normal_rows(rows, rows.std(axis=0))
    assert found.min() >= 5
    with_bonus = np.flatnonzero(bonus[5:] > 0.0) + 5
    assert np.mean(np.isin(with_bonus, found)) > 0.9


@pytest.mark.parametrize("n_given", [1, 2, 3])
@pytest.mark.parametrize("ridge", [1e-6, 0.1])
def test_distances_given_some_features_are_those_of_the_regression(n_given, ridge):
    """Of new rows: squared residuals of the others, by their conditional covariance."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4))
    support, new = np.arange(40), np.arange(40, 60)
    given, judged = np.arange(n_given), np.arange(n_given, 4)
    covariance = np.cov(rows[support], rowvar=False)
    covariance = covariance + ridge * np.trace(covariance) / 4 * np.eye(4)
    within = covariance[np.ix_(given, given)]
    across = covariance[np.ix_(judged, given)]
    slopes = across @ np.linalg.inv(within)
    conditional = covariance[np.ix_(judged, judged)] - slopes @ across.T
    away = rows - rows[support].mean(axis=0)
    rest = (away[:, judged] - away[:, given] @ slopes.T)[new]
    expected = np.einsum("ij,ij->i", rest @ np.linalg.inv(conditional), rest)
    found = conditional_distances(rows, support, given, ridge, None)
    np.testing.assert_allclose(found[new], expected, rtol=1e-6)
    assert (found >= 0.0).all()


def test_without_given_features_they_are_left_out_mahalanobis_distances():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 3))
    support, given = np.arange(20), np.empty(0, np.intp)
    found = conditional_distances(rows, support, given, 0.1, np.array([0.0, 4.0, 0.0]))
    covariance = np.cov(rows[:20], rowvar=False)
    ridge = 0.1 * np.trace(covariance) / 3 * np.eye(3) + np.diag([0.0, 4.0, 0.0])
    away = rows[25] - rows[:20].mean(axis=0)
    assert found[25] == pytest.approx(away @ np.linalg.solve(covariance + ridge, away))
    others = np.delete(rows[:20], 7, axis=0)
    covariance = np.cov(others, rowvar=False) + ridge * 19 / 18
    away = rows[7] - others.mean(axis=0)
    assert found[7] == pytest.approx(away @ np.linalg.solve(covariance, away))


def test_two_valued_features_are_told_from_others():
    rng = np.random.default_rng(0)
    rows = np.column_stack(
        [rng.choice([3.0, 7.0], 50), rng.normal(size=50), np.ones(50), np.arange(50)]
    )
    np.testing.assert_array_equal(squared_ranges_of_two(rows), [16.0, 0.0, 0.0, 0.0])
    counts = np.r_[np.zeros(76), np.arange(1.0, 25.0)]
    fewer = np.r_[np.zeros(75), np.arange(1.0, 26.0)]
    found = is_mostly_one_value(np.column_stack([counts, fewer]))
    np.testing.assert_array_equal(found, [True, False])


def test_distances_from_the_median_against_scipy():
    rng = np.random.default_rng(0)
    rows = np.column_stack(
        [rng.normal(size=(50, 2)), np.r_[np.zeros(40), rng.normal(size=10)]]
    )
    scale = rows.std(axis=0)
    units = median_abs_deviation(rows, axis=0, scale="normal")
    units[2] = 0.1 * scale[2]
    expected = (((rows - np.median(rows, axis=0)) / units) ** 2).sum(axis=1)
    np.testing.assert_allclose(distances_from_median(rows, scale), expected)
    found = distances_from_median(np.ones((9, 2)), np.ones(2))
    np.testing.assert_array_equal(found, 0.0)


def test_the_nearest_rows_are_the_share_asked_for():
    assert SUPPORT_SHARE == 0.75
    distances = np.random.default_rng(0).uniform(size=101)
    for share in (0.1, 0.75, 0.9, 1.0):
        kept = nearest_rows(distances, share)
        assert len(kept) == np.ceil(share * 101)
        assert (np.diff(kept) > 0).all()
        rest = np.delete(distances, kept)
        assert distances[kept].max() < rest.min(initial=np.inf)
    assert len(nearest_rows(distances[:6], 0.1)) == 5
    assert len(nearest_rows(distances[:5], 0.1)) == 5
    assert len(nearest_rows(distances[:2], 0.1)) == 2


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_the_fence_is_that_of_logarithms(unit):
    distances = unit * np.exp(np.random.default_rng(0).normal(size=500) * 2.5)
    median, upper = np.quantile(np.log(distances), [0.5, 0.75])
    expected = np.log(distances) <= upper + FENCE * (upper - median)
    assert FENCE == 3.0
    assert 0 < np.sum(~expected) < 20
    np.testing.assert_array_equal(within_fence(distances), np.flatnonzero(expected))


def test_equal_rows_are_all_within_the_fence():
    np.testing.assert_array_equal(within_fence(np.zeros(7)), np.arange(7))
    np.testing.assert_array_equal(within_fence(np.ones(7)), np.arange(7))
    found = within_fence(np.r_[np.ones(7), 9.0])
    np.testing.assert_array_equal(found, np.arange(7))
