"""The rule of a threshold: what a user has set stays set."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import latentsk
from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk.outliers._decisions import conformal_threshold, tail_threshold
from latentsk.outliers._threshold_rule import ThresholdRule
from latentsk.persistence import _format

ROWS = np.random.default_rng(0).normal(size=(700, 3)) @ np.diag([1.0, 5.0, 0.1])
TRAIN, FIRST, SECOND = ROWS[:200], ROWS[200:399], 1.3 * ROWS[399:]


@pytest.fixture
def detector():
    return LatentOutlierDetector(random_state=0).fit(TRAIN)


def auto(scores):
    """The threshold that "auto" means: never less than 2.5 deviations out."""
    return min(tail_threshold(scores), -2.5)


def saved(detector, folder):
    latentsk.save(detector, folder / "detector")
    return latentsk.load(folder / "detector")


def pickled(detector, folder):
    return pickle.loads(pickle.dumps(detector))


# calibrate applies what was asked for


@pytest.mark.parametrize("name", ["fpr", "p_value"])
@pytest.mark.parametrize("level", [0.01, 0.05, 0.3])
def test_a_level_is_applied_to_the_new_calibration_rows(detector, name, level):
    detector.calibrate(FIRST).set_threshold(**{name: level})
    before = detector.offset_
    detector.calibrate(SECOND)
    scores = detector.score_samples(SECOND)
    assert detector.offset_ == conformal_threshold(scores, level) != before
    # That is: the outliers are the rows with p-values up to the level.
    below = detector.p_values(ROWS) <= level
    np.testing.assert_array_equal(detector.predict(ROWS) == -1, below)


def test_the_case_of_the_issue(detector):
    detector.calibrate(FIRST).set_threshold(fpr=0.05)
    assert detector.calibrate(FIRST).predict(FIRST).tolist().count(-1) == 9
    assert detector.offset_ != auto(detector.calibration_scores_)


def test_auto_is_applied_to_the_new_calibration_rows(detector):
    for rows in (FIRST, SECOND):
        tail = auto(detector.calibrate(rows).score_samples(rows))
        assert detector.offset_ == tail
    # Said again it is that of the training rows, as documented.
    detector.set_threshold(contamination="auto")
    assert detector.offset_ == auto(detector.training_scores_)
    assert detector.calibrate(SECOND).offset_ == tail


def test_a_share_of_the_training_rows_stays(detector):
    detector.set_threshold(contamination=0.1)
    share = detector.offset_
    assert share == np.quantile(detector.training_scores_, 0.1)
    for rows in (FIRST, SECOND):
        assert detector.calibrate(rows).offset_ == share
    detector.set_threshold(contamination="auto").calibrate(FIRST)
    assert detector.offset_ == auto(detector.calibration_scores_)


def test_the_last_word_counts(detector):
    detector.calibrate(FIRST).set_threshold(fpr=0.05).set_threshold(contamination=0.2)
    share = detector.offset_
    assert detector.calibrate(SECOND).offset_ == share
    detector.set_threshold(p_value=0.1).calibrate(FIRST)
    assert detector.offset_ == conformal_threshold(detector.calibration_scores_, 0.1)


@pytest.mark.parametrize("rule", [{"contamination": "auto"}, {"fpr": 0.1}])
def test_an_offset_that_was_assigned_stays(detector, rule):
    detector.calibrate(FIRST).set_threshold(**rule)
    detector.offset_ = -4.0
    assert detector.calibrate(SECOND).offset_ == -4.0
    assert len(detector.calibration_scores_) == len(SECOND)
    assert detector.calibrate(FIRST).offset_ == -4.0
    # Until something else is asked for.
    detector.set_threshold(fpr=0.1).calibrate(SECOND)
    assert detector.offset_ == conformal_threshold(detector.calibration_scores_, 0.1)


def test_a_fit_starts_with_the_detector_s_own_contamination(detector):
    detector.calibrate(FIRST).set_threshold(fpr=0.05).fit(TRAIN)
    assert detector.offset_ == auto(detector.training_scores_)
    detector.calibrate(FIRST)
    assert detector.offset_ == auto(detector.calibration_scores_)
    detector.offset_ = -4.0
    assert detector.fit(TRAIN).offset_ == auto(detector.training_scores_)
    detector.set_params(contamination=0.1).fit(TRAIN)
    share = np.quantile(detector.training_scores_, 0.1)
    assert detector.calibrate(FIRST).offset_ == share


@pytest.mark.parametrize("name", ["fpr", "p_value"])
def test_too_few_rows_for_the_level_change_nothing(detector, name):
    detector.calibrate(FIRST).set_threshold(**{name: 0.05})
    offset, scores = detector.offset_, detector.calibration_scores_
    with pytest.raises(ValueError, match=rf"19 rows or more.*was set with {name}=0.05"):
        detector.calibrate(SECOND[:18])
    assert detector.offset_ == offset
    assert detector.calibration_scores_ is scores
    assert len(detector.calibrate(SECOND[:19]).calibration_scores_) == 19
    assert detector.offset_ == detector.calibration_scores_[0]
    # The remedy that the message names.
    detector.set_threshold(contamination="auto").calibrate(SECOND[:18])
    assert len(detector.calibration_scores_) == 18


# Copies


@pytest.mark.parametrize("copied", [saved, pickled, lambda d, _: copy.deepcopy(d)])
@pytest.mark.parametrize(
    "rule", [{"fpr": 0.05}, {"p_value": 0.2}, {"contamination": 0.1}, None]
)
def test_copies_keep_the_rule(detector, tmp_path, copied, rule):
    detector.calibrate(FIRST)
    if rule is None:
        detector.offset_ = -4.0
    else:
        detector.set_threshold(**rule)
    again = copied(detector, tmp_path)
    assert again.offset_ == detector.offset_
    assert again.calibrate(SECOND).offset_ == detector.calibrate(SECOND).offset_


def test_a_clone_has_no_rule(detector):
    fresh = clone(detector.calibrate(FIRST).set_threshold(fpr=0.05))
    with pytest.raises(NotFittedError):
        fresh.calibrate(SECOND)
    assert fresh.fit(TRAIN).calibrate(SECOND).offset_ == auto(fresh.calibration_scores_)


def test_an_old_file_holds_no_rule_and_loads(detector, tmp_path):
    latentsk.save(detector.calibrate(FIRST), tmp_path / "old")
    document, arrays = _format.read_file(tmp_path / "old")
    state = document["root"]["state"]
    del state["_threshold_rule"], state["_fitted_parameters"]
    _format.write_file(tmp_path / "old", document, arrays)
    old = latentsk.load(tmp_path / "old")
    np.testing.assert_array_equal(old.predict(ROWS), detector.predict(ROWS))
    old.calibrate(SECOND)
    assert old.offset_ == auto(old.calibration_scores_)
    old.set_threshold(fpr=0.1).calibrate(FIRST)
    assert old.offset_ == conformal_threshold(old.calibration_scores_, 0.1)


def test_a_rule_of_an_old_file_is_one_without_a_number_of_rows(detector, tmp_path):
    latentsk.save(detector.calibrate(FIRST).set_threshold(fpr=0.1), tmp_path / "old")
    document, arrays = _format.read_file(tmp_path / "old")
    del document["root"]["state"]["_threshold_rule"]["object"]["state"]["per"]
    _format.write_file(tmp_path / "old", document, arrays)
    old = latentsk.load(tmp_path / "old")
    assert old._threshold_rule == detector._threshold_rule
    assert old.calibrate(SECOND).offset_ == detector.calibrate(SECOND).offset_


@pytest.mark.parametrize(
    "forged",
    [
        {"name": "fpr", "value": "auto"},
        {"name": "share"},
        {"value": 1.5},
        {"value": None},
        {"offset": "low"},
        {"parameter": 0.7},
        {"per": 100},
        {"name": "n_alerts", "value": 5.0},
        {"name": "n_alerts", "value": 500.0, "per": 100.0},
        {"name": "n_alerts", "value": "auto", "per": 100.0},
        {"name": "fpr", "value": 0.5, "per": 0.5},
    ],
)
def test_a_forged_rule_is_refused(detector, tmp_path, forged):
    latentsk.save(detector, tmp_path / "model")
    document, arrays = _format.read_file(tmp_path / "model")
    rule = document["root"]["state"]["_threshold_rule"]["object"]
    rule["state"].update(forged)
    _format.write_file(tmp_path / "model", document, arrays)
    with pytest.raises(latentsk.exceptions.FormatError, match="altered"):
        latentsk.load(tmp_path / "model")


def test_a_rule_knows_its_offset():
    rule = ThresholdRule("p_value", 0.05, -3.25, "auto")
    assert rule.placed(np.float64(-3.25))
    assert not rule.placed(np.nextafter(-3.25, 0))
    assert not rule.placed(float("nan"))


# contamination, set after the fit


def test_a_contamination_that_was_changed_is_an_error(detector):
    scores = detector.score_samples(ROWS)
    detector.calibrate(FIRST).set_params(contamination=0.2)
    for ask in (detector.predict, detector.decision_function, detector.calibrate):
        with pytest.raises(
            ValueError,
            match=r"contamination was 'auto' when the detector was fitted, and is now "
            r"0.2. Fit it again, or call set_threshold\(contamination=0.2\)",
        ):
            ask(ROWS)
    assert len(detector.calibration_scores_) == len(FIRST)
    # It is no matter of the score, nor of what is compared with calibration rows.
    np.testing.assert_array_equal(detector.score_samples(ROWS), scores)
    assert detector.p_values(ROWS).shape == (700,)
    assert detector.predict_fdr(ROWS).shape == (700,)


@pytest.mark.parametrize("rule", [{"contamination": 0.2}, {"fpr": 0.1}])
def test_a_threshold_that_is_set_later_is_the_remedy(detector, rule):
    detector.calibrate(FIRST).set_params(contamination=0.2).set_threshold(**rule)
    expected = {
        "contamination": np.quantile(detector.training_scores_, 0.2),
        "fpr": conformal_threshold(detector.calibration_scores_, 0.1),
    }[next(iter(rule))]
    assert detector.offset_ == expected
    assert detector.predict(ROWS).shape == (700,)
    detector.set_params(contamination=0.3)
    with pytest.raises(ValueError, match=r"contamination was 0.2 .* is now 0.3"):
        detector.predict(ROWS)
    assert np.sum(detector.fit(TRAIN).predict(TRAIN) == -1) == 60


def test_the_same_contamination_of_another_type_is_the_same():
    detector = LatentOutlierDetector(contamination=0.25, random_state=0).fit(TRAIN)
    detector.set_params(contamination=np.float32(0.25))
    assert np.sum(detector.predict(TRAIN) == -1) == 50


# Ties

# Less than a quarter: more would be no outliers. The default would take a value that
# comes so often for a code.
WORST = np.tile([80.0, 400.0, 8.0], (24, 1))


@pytest.mark.parametrize("method", ["distance", "embedder_score"])
def test_equally_worst_rows_are_flagged_together(method):
    rows = np.random.default_rng(0).permutation(np.r_[TRAIN[:76], WORST])
    is_worst = rows[:, 0] == 80.0
    detector = LatentOutlierDetector(
        PCAEmbedder(3), method=method, contamination=0.2, random_state=0
    )
    with pytest.warns(UserWarning, match="asks for 20 of 100 rows, but 24") as caught:
        labels = detector.fit_predict(rows)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(labels == -1, is_worst)
    # A copy, or one of several, is judged as they are.
    for n_rows in (1, 2, 7):
        assert (detector.predict(WORST[:n_rows]) == -1).all()
    with pytest.warns(UserWarning, match="asks for 10 of 100 rows, but none is"):
        detector.set_threshold(contamination=0.1)
    for n_rows in (1, 2, 7, 24):
        assert (detector.predict(WORST[:n_rows]) == 1).all()


@pytest.mark.parametrize("method", ["auto", "distance", "neighbors"])
@pytest.mark.parametrize("n_tied", [5, 24, 26, 40])
def test_a_share_is_kept_or_there_is_a_warning(method, n_tied):
    worst = np.tile([8.0, 40.0, 0.8], (n_tied, 1))
    detector = LatentOutlierDetector(method=method, contamination=0.2, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        labels = detector.fit_predict(np.r_[TRAIN[: 100 - n_tied], worst])
    n_flagged = np.sum(labels == -1)
    assert n_flagged == 20 or "asks for 20 of 100 rows" in str(caught[0].message)
    # Equal rows are judged alike.
    assert len(set(labels[-n_tied:])) == 1


def test_a_warning_that_is_an_error_leaves_the_old_threshold(detector):
    tied = LatentOutlierDetector(PCAEmbedder(3), method="distance", random_state=0)
    tied.fit(np.r_[TRAIN[:76], WORST])
    offset = tied.offset_
    with pytest.raises(UserWarning, match="asks for 20 of 100"):
        tied.set_threshold(contamination=0.2)
    assert tied.offset_ == offset
    scores = tied.calibrate(FIRST).calibration_scores_
    assert tied.offset_ == tail_threshold(scores)


def test_rates_of_tied_calibration_rows_stay_below_their_level(detector):
    tied = np.r_[np.tile([8.0, 40.0, 0.8], (30, 1)), FIRST[:69]]
    detector.calibrate(tied).set_threshold(fpr=0.2)
    # Thirty of 99 rows tie for the lowest score: together they are more than a fifth.
    assert np.all(detector.predict(tied) == 1)
    assert detector.predict([[1e3, 0.0, 0.0]]) == -1
    detector.set_threshold(fpr=0.32)
    assert np.sum(detector.predict(tied) == -1) >= 30
