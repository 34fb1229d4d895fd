"""Drift of scores: scipy's test, all permutations, simulation, and groups of rows."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, kstest
from sklearn.exceptions import NotFittedError

from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk._group_labels import group_labels
from latentsk.outliers._decisions import conformal_p_values
from latentsk.outliers._drift import drift_line, ks_test

X = np.random.default_rng(0).normal(size=(1_000, 3)) @ np.diag([1.0, 5.0, 0.1])
TRAIN, NORMAL, NEW = X[:200], X[200:500], X[500:]
DAYS = pd.date_range("2026-03-01", periods=5).repeat(100)


@pytest.fixture(scope="module")
def detector():
    return LatentOutlierDetector(random_state=0).fit(TRAIN).calibrate(NORMAL)


# The test


@pytest.mark.parametrize("sizes", [(1, 1), (1, 40), (30, 30), (40, 17), (300, 1_000)])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 0.3, 9.0])
def test_it_is_scipy_s(sizes, shift):
    rng = np.random.default_rng(0)
    for decimals in (9, 1, 0):  # the last two with ties
        first = rng.normal(shift, 1.0, size=sizes[0]).round(decimals)
        second = rng.normal(size=sizes[1]).round(decimals)
        expected = ks_2samp(first, second)
        found = ks_test(first, second)
        assert found.distance == pytest.approx(expected.statistic, abs=1e-12)
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
        assert ks_test(second, first) == pytest.approx(found)


def test_the_p_value_counts_all_permutations():
    scores = np.array([0.3, 1.9, 2.2, 0.1, 0.2, 0.7, 1.1, 2.5, 3.0])
    found = ks_test(scores[:4], scores[4:])

    def distance(chosen):
        first, second = scores[list(chosen)], np.delete(scores, list(chosen))
        steps = [np.mean(first <= t) - np.mean(second <= t) for t in scores]
        return np.abs(steps).max()

    distances = np.array([distance(chosen) for chosen in combinations(range(9), 4)])
    assert found.distance == pytest.approx(distance(range(4)))
    as_far = np.mean(distances >= found.distance - 1e-12)
    assert found.p_value == pytest.approx(as_far)


def test_scores_that_rounding_parts_are_equal():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, 300) * 1.0, rng.integers(0, 4, 500) * 1.0
    expected = ks_test(first, second)
    noise = rng.uniform(-1, 1, size=800) * 4e-6
    rounded = first + noise[:300] - 9e-6, second + noise[300:]
    assert ks_test(*rounded).distance > expected.distance + 0.1
    assert ks_test(*rounded, equal=2e-5) == expected
    line = drift_line(*rounded, offset=-1.0)
    assert (line["ks_distance"], line["p_value"]) == expected


def test_equal_scores_differ_in_nothing():
    for value in (0.0, -2.5, np.finfo(float).min):
        assert ks_test(np.full(5, value), np.full(9, value)) == (0.0, 1.0)
        line = drift_line(np.full(5, value), np.full(9, value), offset=value)
        assert line["p_value"] == 1.0
        assert line["alert_rate"] == 0.0


def test_the_tolerance_costs_nothing_where_scores_are_not_tied():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.05, size=20_000), rng.normal(size=30_000)
    line = drift_line(first, second, offset=-2.0)
    expected = ks_2samp(first, second).statistic
    assert line["ks_distance"] == pytest.approx(expected, abs=2e-4)


def rejected(p_values, level):
    return np.mean(np.array(p_values) <= level)


@pytest.mark.parametrize("n_rows", [50, 211])
def test_without_drift_p_values_are_uniform(n_rows):
    """Also for the calibration rows of a detector, whose p-values are not independent.

    The one-sample test, which takes these to be independent, rejects too often.
    """
    rng = np.random.default_rng(0)
    ours, of_one_sample = [], []
    for _ in range(2_000):
        calibration, new = rng.normal(size=97), rng.normal(size=n_rows)
        ours.append(drift_line(new, calibration, -2.0)["p_value"])
        p_values = conformal_p_values(new, calibration)
        of_one_sample.append(kstest(p_values, "uniform").pvalue)
    for level in (0.01, 0.05, 0.1, 0.3, 0.5, 0.8):
        error = (level * (1 - level) / 2_000) ** 0.5
        assert rejected(ours, level) == pytest.approx(level, abs=3.5 * error)
    assert rejected(of_one_sample, 0.05) > 0.05 + 10 * (0.05 * 0.95 / 2_000) ** 0.5


def test_of_many_rows_the_asymptotic_p_value_is_uniform_too():
    rng = np.random.default_rng(0)
    found = [
        drift_line(rng.normal(size=12_000), rng.normal(size=15_000), -2.0)["p_value"]
        for _ in range(300)
    ]
    assert kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("decimals", [0, 1])
def test_with_ties_false_alarms_are_fewer(decimals):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(1_000):
        calibration, new = rng.normal(size=100), rng.normal(size=80)
        rounded = new.round(decimals), calibration.round(decimals)
        found.append(drift_line(*rounded, -2.0)["p_value"])
    for level in (0.01, 0.05, 0.1):
        error = (level * (1 - level) / 1_000) ** 0.5
        assert rejected(found, level) <= level + 3 * error


def test_the_distance_is_that_of_conformal_p_values():
    rng = np.random.default_rng(0)
    calibration, new = rng.normal(size=400), rng.normal(-0.2, size=300)
    line = drift_line(new, calibration, -2.0)
    of_p_values = kstest(conformal_p_values(new, calibration), "uniform").statistic
    assert line["ks_distance"] == pytest.approx(of_p_values, abs=2 / 401)


# A detector's report


def test_a_report_compares_new_rows_with_calibration_rows(detector):
    report = detector.drift_report(NEW)
    scores, calibration = detector.score_samples(NEW), detector.score_samples(NORMAL)
    expected = ks_2samp(scores, calibration)
    assert list(report.index) == [
        "n_rows",
        "ks_distance",
        "p_value",
        "expected_alert_rate",
        "alert_rate",
    ]
    assert report.n_rows == 500
    assert report.ks_distance == pytest.approx(expected.statistic)
    assert report.p_value == pytest.approx(expected.pvalue)
    assert report.expected_alert_rate == np.mean(detector.predict(NORMAL) == -1)
    assert report.alert_rate == np.mean(detector.predict(NEW) == -1)


@pytest.mark.parametrize("method", ["auto", "distance", "residual", "embedder_score"])
def test_any_score_will_do(method):
    detector = LatentOutlierDetector(PCAEmbedder(2), method=method, random_state=0)
    detector.fit(TRAIN).calibrate(NORMAL)
    assert detector.drift_report(NEW).p_value > 0.01
    assert detector.drift_report(3 * NEW).p_value < 1e-9


def test_rows_that_are_too_normal_are_drift_too(detector):
    report = detector.drift_report(NEW * 0.2)
    assert report.p_value < 1e-9
    assert report.alert_rate == 0.0


def test_drift_begins_on_the_day_on_which_it_begins(detector):
    drifted = NEW + np.where(DAYS >= "2026-03-04", 1.0, 0.0)[:, None] * [2.0, 0.0, 0.0]
    report = detector.drift_report(drifted, by=DAYS)
    assert isinstance(report.index, pd.DatetimeIndex)
    first = report.index[report.p_value < 0.001][0]
    assert first == pd.Timestamp("2026-03-04")
    for day, line in report.iterrows():
        alone = detector.drift_report(drifted[day == DAYS])
        pd.testing.assert_series_equal(line, alone, check_names=False)
    assert report.n_rows.dtype == np.int64


@pytest.mark.parametrize(
    "by",
    [
        DAYS,
        DAYS.to_numpy(),
        list(DAYS.strftime("%Y-%m-%d")),
        pd.Categorical(DAYS.strftime("%d"), ["00", "01", "02", "03", "04", "05"]),
        pd.Series(DAYS).dt.to_period("D"),
        np.repeat(np.arange(5), 100),
        list(DAYS.date),
    ],
    ids=["index", "times", "strings", "categories", "periods", "numbers", "dates"],
)
def test_labels_of_any_kind(detector, by):
    report = detector.drift_report(NEW, by=by)
    expected = detector.drift_report(NEW, by=np.repeat(np.arange(5), 100))
    np.testing.assert_array_equal(report, expected)


def test_labels_are_aligned(detector):
    table = pd.DataFrame(NEW, index=np.arange(500) + 7_000)
    days = pd.Series(DAYS, table.index, name="day")
    expected = detector.drift_report(NEW, by=DAYS)
    for by in (days, days[::-1], pd.Series(DAYS, name="day"), days.to_numpy()):
        found = detector.drift_report(table, by=by)
        np.testing.assert_array_equal(found, expected)
    assert detector.drift_report(table, by=days).index.name == "day"
    # Several days put together may have the same index.
    table.index = days.index = np.tile(np.arange(100), 5)
    np.testing.assert_array_equal(detector.drift_report(table, by=days), expected)
    for wrong in (days[::-1], days.set_axis(np.arange(500) + 1)):
        with pytest.raises(ValueError, match=r"not that of X. .* by.to_numpy\(\)"):
            detector.drift_report(table, by=wrong)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("day", r"for each of the 3 rows of X, got 'day'. .* by=table\['day'\]"),
        (5, "for each of the 3 rows of X, got 5"),
        ([["a"], ["b"], ["c"]], r"3 rows of X, got an array of shape \(3, 1\)"),
        (["a", "b"], "for each of the 3 rows of X, got 2"),
        ([], "for each of the 3 rows of X, got 0"),
        (["a", None, "b"], "row 1 has none"),
        (pd.Series([1.0, 2.0, np.nan]), "row 2 has none"),
    ],
)
def test_labels_that_are_none(by, message):
    with pytest.raises(ValueError, match=message):
        group_labels(by, np.zeros((3, 1)), 3)


def test_what_is_missing_is_said(detector):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        LatentOutlierDetector().drift_report(NEW)
    fitted = LatentOutlierDetector(random_state=0).fit(TRAIN)
    with pytest.raises(NotFittedError, match=r"call calibrate\(X\)"):
        fitted.drift_report(NEW)
    fitted.calibrate(NORMAL).set_params(contamination=0.1)
    with pytest.raises(ValueError, match="contamination was 'auto'"):
        fitted.drift_report(NEW)
    with pytest.raises(ValueError, match="features"):
        detector.drift_report(NEW[:, :2])
