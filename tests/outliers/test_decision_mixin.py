"""Thresholds, p-values and probabilities of a detector, and rates in simulation."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, median_abs_deviation, norm
from sklearn.exceptions import NotFittedError

from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk._threshold import lower_fence
from latentsk.outliers._decisions import tail_threshold


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(400, 3)) @ np.diag([1.0, 5.0, 0.1])


@pytest.fixture
def detector(X):
    return LatentOutlierDetector(random_state=0).fit(X[:200])


@pytest.fixture
def calibrated(detector, X):
    return detector.calibrate(X[200:299])


@pytest.mark.parametrize("share", [0.01, 0.1, 0.37, 0.5])
def test_the_threshold_is_numpy_s_quantile(detector, X, share):
    scores = detector.score_samples(X[:200])
    assert detector.set_threshold(contamination=share) is detector
    assert detector.offset_ == pytest.approx(np.quantile(scores, share), rel=1e-12)
    assert np.sum(detector.predict(X[:200]) == -1) == round(200 * share)
    again = LatentOutlierDetector(contamination=share, random_state=0).fit(X[:200])
    assert again.offset_ == pytest.approx(detector.offset_)


def test_auto_continues_the_tail_of_the_training_scores(detector, X):
    offset = detector.offset_
    assert offset == tail_threshold(detector.score_samples(X[:200])) < -2.5
    detector.set_threshold(contamination=0.1)
    assert detector.offset_ != offset
    assert detector.set_threshold(contamination="auto").offset_ == offset


def test_nothing_is_an_outlier_by_auto_that_is_less_than_2_5_deviations_out():
    rows = np.arange(200.0)[:, None]  # whose scores are nearly equal
    detector = LatentOutlierDetector(method="neighbors", random_state=0).fit(rows)
    assert tail_threshold(detector.training_scores_) > -2.5
    assert detector.offset_ == detector.calibrate(rows).offset_ == -2.5


@pytest.mark.parametrize("method", ["distance", "residual"])
def test_of_squared_distances_auto_is_the_tail_alone(X, method):
    detector = LatentOutlierDetector(PCAEmbedder(2), method=method, random_state=0)
    detector.fit(X)
    assert detector.offset_ == tail_threshold(detector.training_scores_)


def test_of_the_embedder_s_own_score_auto_is_its_own_fence(X):
    detector = LatentOutlierDetector(PCAEmbedder(2), method="embedder_score")
    assert detector.fit(X).offset_ == lower_fence(detector.training_scores_)


@pytest.mark.parametrize("name", ["fpr", "p_value"])
@pytest.mark.parametrize("level", [0.01, 0.1, 0.123, 0.5, 0.99])
def test_outliers_are_the_rows_of_p_values_up_to_the_level(calibrated, X, name, level):
    calibrated.set_threshold(**{name: level})
    # The calibration rows themselves lie on every threshold there is.
    rows = np.concatenate([X, 3 * X])
    below = calibrated.p_values(rows) <= level
    assert 0 < below.sum() < 800
    np.testing.assert_array_equal(calibrated.predict(rows) == -1, below)


def test_p_values_are_their_formula(calibrated, X):
    calibration = calibrated.score_samples(X[200:299])
    np.testing.assert_allclose(calibrated.calibration_scores_, np.sort(calibration))
    scores = calibrated.score_samples(X[290:])
    expected = [(1 + np.sum(calibration <= score)) / 100 for score in scores]
    np.testing.assert_allclose(calibrated.p_values(X[290:]), expected)
    far = calibrated.p_values([[1e3, 0.0, 0.0]])
    np.testing.assert_allclose(far, 0.01)


@pytest.mark.parametrize("level", [0.05, 0.1, 0.4])
def test_discoveries_are_scipy_s(calibrated, X, level):
    rows = np.concatenate([X[300:], 9 * X[300:340]])
    expected = false_discovery_control(calibrated.p_values(rows)) <= level
    found = calibrated.predict_fdr(rows, level)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, np.where(expected, -1, 1))
    assert 0 < expected.sum() < 140


def test_calibration_places_the_threshold_on_its_rows(detector, X):
    assert detector.calibrate(X[200:]) is detector
    assert detector.offset_ == tail_threshold(detector.score_samples(X[200:])) < -2.5
    detector.set_params(contamination=0.2).fit(X[:200])
    share = detector.offset_
    # A share of outliers is one of the training rows.
    assert detector.calibrate(X[200:]).offset_ == share
    detector.fit(X[:100])
    with pytest.raises(NotFittedError, match="no calibration rows"):
        detector.p_values(X)


def test_rates_stay_at_their_level_over_200_repetitions():
    """Whatever the detector, for exchangeable rows. 200 calibration ranks hold 0.1.

    Of one repetition, the false-positive rate is Beta(20, 180) of 90 rows: its mean is
    exactly 0.1. The false discovery rate is at most 0.1 times the share of normal rows
    (Bates et al., 2023).
    """
    rng = np.random.default_rng(0)
    level, n_repetitions, n_normal = 0.1, 200, 90
    false_positives, false_discoveries, found = [], [], []
    for _ in range(n_repetitions):
        train, calibration = rng.normal(size=(60, 3)), rng.normal(size=(199, 3))
        normal, outliers = rng.normal(size=(90, 3)), rng.normal(5.0, 1.0, size=(10, 3))
        detector = LatentOutlierDetector(random_state=0).fit(train)
        detector.calibrate(calibration).set_threshold(fpr=level)
        false_positives.append(np.mean(detector.predict(normal) == -1))
        rejected = detector.predict_fdr(np.r_[normal, outliers], level) == -1
        false_discoveries.append(rejected[:90].sum() / max(1, rejected.sum()))
        found.append(rejected[90:].mean())
    variance = 20 * 180 / (200**2 * 201)
    variance += (level * (1 - level) - variance) / n_normal
    error = np.sqrt(variance / n_repetitions)
    assert np.mean(false_positives) == pytest.approx(level, abs=3 * error)
    error = np.std(false_discoveries) / np.sqrt(n_repetitions)
    assert np.mean(false_discoveries) < 0.9 * level + 3 * error
    assert np.mean(found) > 0.9


def test_probabilities_are_the_gaussian_scaling(detector, X):
    rows = np.concatenate([X[200:], 2 * X[200:]])
    training = detector.score_samples(X[:200])
    spread = median_abs_deviation(training, scale="normal")
    below = (np.median(training) - detector.score_samples(rows)) / spread
    expected = np.maximum(0.0, 2 * norm.cdf(below) - 1)
    found = detector.outlier_probability(rows)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    order = np.argsort(detector.score_samples(rows))
    assert (np.diff(found[order]) <= 0.0).all()
    assert found.min() == 0.0
    assert 0.4 < np.mean(detector.outlier_probability(X[:200]) == 0.0) < 0.6
    assert detector.outlier_probability([[1e6, 0.0, 0.0]])[0] == 1.0


def test_probabilities_of_equal_training_rows_are_finite():
    detector = LatentOutlierDetector(random_state=0).fit(np.ones((20, 3)))
    found = detector.outlier_probability([[1.0, 1.0, 1.0], [1e5, 1.0, 1.0]])
    np.testing.assert_array_equal(found, [0.0, 1.0])
    # Where training scores do not spread, a unit of the score is one deviation.
    near = detector.score_samples([[1.0, 1.0, 1.5]])
    assert near[0] < 0.0
    expected = 2 * norm.cdf(-near) - 1
    np.testing.assert_allclose(
        detector.outlier_probability([[1.0, 1.0, 1.5]]), expected
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "one of contamination, fpr, p_value and n_alerts, got none"),
        ({"fpr": 0.1, "p_value": 0.1}, r"got \['fpr', 'p_value'\]"),
        ({"contamination": 0.1, "fpr": 0.1}, r"got \['contamination', 'fpr'\]"),
        ({"contamination": 0.0}, r"must be 'auto' or in \(0, 0.5\], got 0.0"),
        ({"contamination": 0.51}, r"must be 'auto' or in \(0, 0.5\], got 0.51"),
        ({"contamination": np.nan}, r"must be 'auto' or in \(0, 0.5\], got nan"),
        ({"contamination": "AUTO"}, r"must be 'auto' or in \(0, 0.5\], got 'AUTO'"),
        ({"fpr": 0.0}, r"fpr must be in \(0, 1\), got 0.0"),
        ({"fpr": 1}, r"fpr must be in \(0, 1\), got 1"),
        ({"p_value": "0.1"}, r"p_value must be in \(0, 1\), got '0.1'"),
        ({"fpr": 0.009}, "calibrate with 111 rows or more"),
        ({"n_alerts": 5}, r"n_alerts needs per, .*\(n_alerts=5, per=20_000\)"),
        ({"per": 100}, "per goes with n_alerts, which is missing; got per=100"),
        ({"fpr": 0.1, "per": 100}, "per goes with n_alerts, which is missing"),
        ({"fpr": 0.1, "n_alerts": 1, "per": 9}, r"got \['fpr', 'n_alerts'\]"),
        ({"n_alerts": 100, "per": 100}, "above 0 and below per=100, got 100"),
        ({"n_alerts": 0, "per": 100}, "above 0 and below per=100, got 0"),
        ({"n_alerts": np.nan, "per": 100}, "above 0 and below per=100, got nan"),
        ({"n_alerts": "5", "per": 100}, "above 0 and below per=100, got '5'"),
        ({"n_alerts": 0.1, "per": 0.5}, "number of rows of at least 1, got 0.5"),
        ({"n_alerts": 1, "per": np.inf}, "number of rows of at least 1, got inf"),
        ({"n_alerts": 1, "per": np.nan}, "number of rows of at least 1, got nan"),
        ({"n_alerts": 1, "per": "all"}, "number of rows of at least 1, got 'all'"),
        ({"n_alerts": 1, "per": 101}, "99 reference rows: calibrate with 100 rows"),
    ],
)
def test_bad_thresholds_leave_the_old_one(calibrated, arguments, message):
    offset = calibrated.offset_
    with pytest.raises(ValueError, match=message):
        calibrated.set_threshold(**arguments)
    assert calibrated.offset_ == offset


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, np.nan, "0.1", None])
def test_bad_levels(calibrated, X, level):
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\)"):
        calibrated.predict_fdr(X, level)


def test_what_needs_calibration_rows_says_so(detector, X):
    for ask in (
        lambda: detector.p_values(X),
        lambda: detector.predict_fdr(X),
        lambda: detector.set_threshold(fpr=0.1),
        lambda: detector.set_threshold(p_value=0.1),
    ):
        with pytest.raises(NotFittedError, match=r"call calibrate\(X\)"):
            ask()
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        LatentOutlierDetector().set_threshold(contamination=0.1)


def test_bad_calibration_rows_leave_the_old_ones(calibrated, X):
    scores = calibrated.calibration_scores_
    for bad in (X[:, :2], X[:0], np.full((3, 3), np.inf)):
        with pytest.raises(ValueError, match=r"features|sample|infinity"):
            calibrated.calibrate(bad)
    assert calibrated.calibration_scores_ is scores
