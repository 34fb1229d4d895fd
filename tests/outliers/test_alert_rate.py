"""A threshold for a number of alerts: expected rates, ties, and what outlives what."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from scipy.stats import beta, binom

import latentsk
from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk.outliers._alert_rate import alert_threshold

ROWS = np.random.default_rng(0).normal(size=(1_200, 3)) @ np.diag([1.0, 5.0, 0.1])
TRAIN, FIRST, SECOND = ROWS[:300], ROWS[300:700], 1.3 * ROWS[700:]


@pytest.fixture
def detector():
    return LatentOutlierDetector(random_state=0).fit(TRAIN)


# The rate


@pytest.mark.parametrize(
    ("n_rows", "n_alerts", "per"), [(99, 20, 100), (1_999, 200, 20_000), (399, 1, 4)]
)
def test_the_expected_rate_is_the_one_asked_for(n_rows, n_alerts, per):
    """The k-th lowest of n uniform scores is Beta(k, n + 1 - k), of mean k/(n + 1)."""
    rng = np.random.default_rng(0)
    k = n_alerts / per * (n_rows + 1)
    assert k == round(k)
    law = beta(k, n_rows + 1 - k)
    found = [
        alert_threshold(rng.uniform(size=n_rows), n_alerts, per) for _ in range(2_000)
    ]
    assert np.mean(found) == pytest.approx(
        n_alerts / per, abs=4 * law.std() / 2_000**0.5
    )
    # About 1 / sqrt(k) of itself.
    assert np.std(found) == pytest.approx(law.std(), rel=0.1)
    assert law.std() / law.mean() == pytest.approx(k**-0.5, rel=0.15)


def test_between_two_scores_the_expected_rate_is_interpolated():
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [alert_threshold(rng.uniform(size=60), 1.7, 40) for _ in range(20_000)]
    assert np.mean(found) == pytest.approx(
        1.7 / 40, abs=4 * np.std(found) / 20_000**0.5
    )


def test_it_is_the_k_th_lowest_score():
    scores = np.random.default_rng(0).permutation(np.arange(999.0))
    assert alert_threshold(scores, 200, 2_000) == 99.0
    assert alert_threshold(scores, 1_990, 2_000) == 994.0
    assert alert_threshold(scores, 0.5, 5) == pytest.approx(99.0)


@pytest.mark.parametrize(
    ("n_alerts", "per", "needed", "enough"),
    [(1, 20_000, 19_999, 2_000_000), (1, 4, 3, 400), (9, 10, 9, 112), (1, 2, 1, 200)],
)
def test_too_few_rows_are_told_how_many_it_takes(n_alerts, per, needed, enough):
    message = f"{needed} rows or more, better with {enough}"
    with pytest.raises(ValueError, match=message):
        alert_threshold(np.arange(needed - 1.0), n_alerts, per)
    with pytest.warns(UserWarning, match="rests on the"):
        threshold = alert_threshold(np.arange(float(needed)), n_alerts, per)
    # The lowest, or the highest if most rows are to be alerts.
    assert threshold == (0.0 if 2 * n_alerts <= per else needed - 1.0)


def test_few_rows_below_are_told_of():
    scores = np.arange(200.0)
    message = (
        "n_alerts=4 per 100 rests on the 8.0 lowest of 200 .* by 35%. .* 2500 rows"
    )
    with pytest.warns(UserWarning, match=message):
        alert_threshold(scores, 4, 100)
    assert alert_threshold(scores, 5, 100) == pytest.approx(9.05)


@pytest.mark.parametrize("seed", range(3))
def test_alerts_of_stable_days_are_held(seed):
    """200 alerts of 20,000 rows a day, over 10 days: chance explains what is left."""
    rng = np.random.default_rng(seed)
    threshold = alert_threshold(rng.normal(size=100_000), 200, 20_000)
    alerts = [int(np.sum(rng.normal(size=20_000) < threshold)) for _ in range(10)]
    assert np.mean(alerts) == pytest.approx(200, rel=0.1)
    # A threshold from 1,000 rows below is known to 3 %: so is the rate.
    rate = np.mean(alerts) / 20_000
    assert rate == pytest.approx(0.01, rel=4 * 1_000**-0.5)
    low, high = binom(20_000, rate).interval(0.999)
    assert low <= min(alerts)
    assert max(alerts) <= high


# Ties


def test_tied_scores_are_alerts_together_or_not_at_all():
    scores = np.r_[np.full(26, -9.0), np.arange(174.0)]
    with pytest.warns(UserWarning, match="n_alerts=10 per 100 asks for 20 of 200 rows"):
        threshold = alert_threshold(scores, 10, 100)
    assert np.sum(scores < threshold) == 26
    # Away from both by more than rounding.
    assert -9.0 + 1e-9 < threshold < -1e-9
    with pytest.warns(UserWarning, match=r"asks for 12 of 200 rows, but none is"):
        threshold = alert_threshold(scores, 6, 100)
    assert threshold < -9.0
    # Ties elsewhere do not matter.
    assert np.sum(scores < alert_threshold(scores, 20, 100)) == 40


def test_rounding_moves_no_tied_row_across():
    scores = np.r_[-3.0 - 4e-16 * np.arange(40), np.linspace(-2, 2, 160)]
    with pytest.warns(UserWarning, match="asks for 30 of 200 rows, but 40"):
        threshold = alert_threshold(scores, 15, 100)
    assert np.sum(scores < threshold) == 40


# A detector's threshold


def test_it_rests_on_the_training_rows_then_on_those_of_calibrate(detector):
    assert detector.set_threshold(n_alerts=20, per=200) is detector
    assert detector.offset_ == alert_threshold(detector.training_scores_, 20, 200)
    assert np.sum(detector.predict(TRAIN) == -1) == 30
    for rows in (FIRST, SECOND):
        detector.calibrate(rows)
        scores = detector.score_samples(rows)
        assert detector.offset_ == pytest.approx(alert_threshold(scores, 20, 200))
        assert np.sum(detector.predict(rows) == -1) == pytest.approx(
            len(rows) / 10, abs=1
        )
    other = LatentOutlierDetector(random_state=0).fit(TRAIN).calibrate(SECOND)
    assert other.set_threshold(n_alerts=20, per=200).offset_ == detector.offset_
    # Another fit starts with contamination.
    auto = other.fit(TRAIN).offset_
    assert auto == LatentOutlierDetector(random_state=0).fit(TRAIN).offset_


def test_an_offset_that_was_assigned_stays(detector):
    detector.set_threshold(n_alerts=20, per=200)
    detector.offset_ = -4.0
    assert detector.calibrate(FIRST).offset_ == -4.0
    detector.set_threshold(n_alerts=20, per=200)
    assert detector.offset_ == alert_threshold(detector.calibration_scores_, 20, 200)


def test_too_few_calibration_rows_change_nothing(detector):
    detector.calibrate(FIRST).set_threshold(n_alerts=5, per=100)
    offset, scores = detector.offset_, detector.calibration_scores_
    message = (
        "calibrate with 19 rows or more, .* was set with n_alerts=5, per=100, which"
    )
    with pytest.raises(ValueError, match=message):
        detector.calibrate(SECOND[:18])
    with pytest.raises(UserWarning, match=r"rests on the 9.5 lowest of 190"):
        detector.calibrate(SECOND[:190])  # warnings are errors here
    assert detector.offset_ == offset
    assert detector.calibration_scores_ is scores
    detector.set_threshold(contamination="auto").calibrate(SECOND[:18])
    assert len(detector.calibration_scores_) == 18


def test_with_a_number_for_contamination_every_training_row_counts():
    settings = {"max_samples": 100, "random_state": 0}
    few = LatentOutlierDetector(**settings).fit(ROWS)
    every = LatentOutlierDetector(contamination=0.1, **settings).fit(ROWS)
    assert len(few.training_scores_) == 100
    for detector in (few, every):
        scores = detector.training_scores_
        detector.set_threshold(n_alerts=20, per=100)
        assert detector.offset_ == alert_threshold(scores, 20, 100)
    assert len(every.training_scores_) == 1_200


def saved(detector, folder):
    latentsk.save(detector, folder / "detector")
    return latentsk.load(folder / "detector")


@pytest.mark.parametrize(
    "copied",
    [
        saved,
        lambda detector, _: pickle.loads(pickle.dumps(detector)),
        lambda detector, _: copy.deepcopy(detector),
    ],
    ids=["saved", "pickled", "copied"],
)
@pytest.mark.parametrize("calibrated", [False, True])
def test_copies_keep_the_rule(detector, tmp_path, copied, calibrated):
    if calibrated:
        detector.calibrate(FIRST)
    detector.set_threshold(n_alerts=20.5, per=200)
    again = copied(detector, tmp_path)
    assert again.offset_ == detector.offset_
    assert again.calibrate(SECOND).offset_ == detector.calibrate(SECOND).offset_
    assert again._threshold_rule == detector._threshold_rule


@pytest.mark.parametrize("embedder", [None, PCAEmbedder(1)])
def test_the_share_of_alerts_among_fresh_rows(embedder):
    rng = np.random.default_rng(1)
    detector = LatentOutlierDetector(embedder, random_state=0).fit(TRAIN)
    detector.calibrate(rng.normal(size=(4_000, 3)) @ np.diag([1.0, 5.0, 0.1]))
    detector.set_threshold(n_alerts=50, per=1_000)
    fresh = rng.normal(size=(8_000, 3)) @ np.diag([1.0, 5.0, 0.1])
    # By chance: 1 / sqrt(200) of the threshold, 1 / sqrt(400) of the fresh rows.
    alerts = np.sum(detector.predict(fresh) == -1)
    assert alerts == pytest.approx(400, rel=3 * (1 / 200 + 1 / 400) ** 0.5)
