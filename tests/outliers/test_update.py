"""Other reference rows for a fitted detector: what is renewed, and what stays."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import latentsk
from latentsk import AutoencoderEmbedder, LatentOutlierDetector, PCAEmbedder
from latentsk.outliers._alert_rate import alert_threshold
from latentsk.outliers._decisions import conformal_threshold, tail_threshold
from latentsk.persistence import _format

ROWS = np.random.default_rng(0).normal(size=(900, 4)) @ np.diag([1.0, 5.0, 0.1, 2.0])
TRAIN, OTHERS = ROWS[:300], ROWS[600:]
# What is normal has moved, and has been stretched.
RECENT = 1.5 * ROWS[300:600] + 9.0

EMBEDDERS = {
    "default": lambda: None,
    "pca": lambda: make_pipeline(StandardScaler(), PCAEmbedder(2)),
    "whitened": lambda: PCAEmbedder(3, whiten=True),
    "network": lambda: AutoencoderEmbedder(2, hidden_layer_sizes=(5,), max_epochs=2),
}


@pytest.fixture
def detector():
    return LatentOutlierDetector(random_state=0).fit(TRAIN)


def state_of(detector):
    return pickle.dumps(detector)


def same_answers(ours, theirs, rows=ROWS):
    np.testing.assert_array_equal(ours.score_parts(rows), theirs.score_parts(rows))
    np.testing.assert_array_equal(ours.score_samples(rows), theirs.score_samples(rows))
    np.testing.assert_array_equal(ours.predict(rows), theirs.predict(rows))
    np.testing.assert_array_equal(ours.training_scores_, theirs.training_scores_)
    assert ours.offset_ == theirs.offset_
    assert ours.parts_ == theirs.parts_
    pd.testing.assert_frame_equal(ours.explain(rows[:9]), theirs.explain(rows[:9]))


# It is a fit around the embedder that there is


@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("method", ["auto", "distance", "embedder_score"])
@pytest.mark.parametrize("name", EMBEDDERS)
def test_it_equals_a_fit_with_the_fitted_embedder(name, method, assume_clean):
    settings = {"method": method, "assume_clean": assume_clean, "random_state": 0}
    detector = LatentOutlierDetector(EMBEDDERS[name](), **settings).fit(TRAIN)
    embedder = detector.embedder_
    before = pickle.dumps(embedder)
    assert detector.update(RECENT) is detector
    assert detector.embedder_ is embedder
    assert pickle.dumps(embedder) == before
    fresh = LatentOutlierDetector(embedder, **settings).fit(RECENT)
    same_answers(detector, fresh)
    assert detector.index_.n_samples_fit_ == fresh.index_.n_samples_fit_


def test_of_rows_that_only_the_embedder_can_read():
    words = ["rent", "paid", "due", "late", "flat", "Bath"]
    rng = np.random.default_rng(0)
    notes = [" ".join(rng.choice(words, size=4)) for _ in range(120)]
    embedder = make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0))
    detector = LatentOutlierDetector(embedder, random_state=0).fit(notes[:60])
    detector.update(notes[60:])
    fresh = LatentOutlierDetector(detector.embedder_, random_state=0).fit(notes[60:])
    same_answers(detector, fresh, notes)
    sparse = csr_array(np.abs(ROWS))
    pca = PCAEmbedder(2, svd_solver="covariance_eigh")
    detector = LatentOutlierDetector(pca, random_state=0).fit(sparse[:300])
    detector.update(sparse[300:600])
    fresh = LatentOutlierDetector(detector.embedder_, random_state=0)
    same_answers(detector, fresh.fit(sparse[300:600]), sparse[600:])


@pytest.mark.parametrize("assume_clean", [False, True])
def test_the_training_rows_again_change_nothing(assume_clean):
    settings = {"assume_clean": assume_clean, "random_state": 0}
    detector = LatentOutlierDetector(**settings).fit(TRAIN)
    fresh = LatentOutlierDetector(**settings).fit(TRAIN)
    same_answers(detector.update(TRAIN), fresh)


def test_what_was_normal_is_not_and_what_is_normal_was_not(detector):
    assert np.mean(detector.predict(RECENT) == -1) > 0.9
    detector.update(RECENT)
    assert np.mean(detector.predict(1.5 * OTHERS + 9.0) == -1) < 0.05
    assert np.mean(detector.predict(TRAIN) == -1) > 0.9


def test_many_rows_are_drawn_alike_every_time():
    settings = {"max_samples": 100, "random_state": 0}
    detectors = [LatentOutlierDetector(**settings).fit(TRAIN) for _ in range(2)]
    same_answers(*(detector.update(RECENT) for detector in detectors))
    assert len(detectors[0].training_scores_) == 100
    other = LatentOutlierDetector(max_samples=100, random_state=1).fit(TRAIN)
    assert not np.array_equal(
        other.update(RECENT).training_scores_, detectors[0].training_scores_
    )


def test_codes_are_those_of_the_fit():
    coded = np.where(np.arange(300)[:, None] % 10 == [0, 99, 99, 99], -999.0, TRAIN)
    detector = LatentOutlierDetector(random_state=0).fit(coded)
    np.testing.assert_array_equal(detector.codes_["x0"], [-999.0])
    # None in the window, or another one: it is a value like others there.
    detector.update(TRAIN)
    np.testing.assert_array_equal(detector.codes_["x0"], [-999.0])
    assert detector.explain(coded[:1])["is_code"].tolist() == [True] + [False] * 3


def test_names_and_labels_of_tables():
    table = pd.DataFrame(TRAIN, columns=list("abcd"))
    detector = LatentOutlierDetector(random_state=0).fit(table)
    recent = pd.DataFrame(RECENT, columns=list("abcd"))
    reasons = detector.update(recent).explain(recent[:1])
    assert reasons.index.get_level_values("feature").tolist() == list("abcd")
    nearest = reasons["nearest_1"].to_numpy()
    assert np.isclose(recent.to_numpy(), nearest).all(axis=1).any()
    with pytest.raises(ValueError, match="feature names"):
        detector.update(recent.rename(columns={"a": "z"}))


def mixed(n_rows, seed, cities):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"rent": rng.uniform(400, 2000, size=n_rows).round()})
    table["area"] = table["rent"] / 12 + rng.normal(0, 5, size=n_rows)
    table.loc[::7, "area"] = np.nan
    return table.assign(
        city=rng.choice(cities, size=n_rows),
        day=pd.Timestamp("2026-03-02")
        + pd.to_timedelta(rng.integers(0, 9, n_rows), "D"),
    )


def test_a_mixed_table_keeps_its_preprocessor(tmp_path):
    old = mixed(300, 0, ["Bath", "Leeds"])
    new = mixed(300, 1, ["Bath", "York"]).assign(rent=lambda t: t["rent"] + 5_000)
    detector = LatentOutlierDetector(random_state=0).fit(old)
    preprocessor = detector.preprocessor_
    assert np.mean(detector.predict(new) == -1) > 0.9
    assert detector.update(new).preprocessor_ is preprocessor
    assert np.mean(detector.predict(new) == -1) < 0.05
    fresh = LatentOutlierDetector(detector.embedder_, random_state=0).fit(new)
    np.testing.assert_allclose(
        detector.score_samples(new), fresh.score_samples(new), rtol=1e-6, atol=1e-6
    )
    # Reasons are in the columns of the table, and compare with its rows.
    reasons = detector.explain(new[:2])
    assert reasons.index.get_level_values("feature")[:4].tolist() == list(new)
    nearest = reasons["nearest_1"].loc[0]
    assert (new[list(new)] == nearest[list(new)].to_numpy()).all(axis=1).any()
    latentsk.save(detector, tmp_path / "model")
    again = latentsk.load(tmp_path / "model").update(old)
    same_scores = detector.update(old).score_samples(new)
    np.testing.assert_array_equal(again.score_samples(new), same_scores)


def test_missing_values_are_those_of_the_fit():
    holed = np.where(np.random.default_rng(0).random(ROWS.shape) < 0.05, np.nan, ROWS)
    detector = LatentOutlierDetector(random_state=0).fit(holed[:300])
    detector.update(holed[300:600])
    assert np.mean(detector.predict(holed[600:]) == -1) < 0.05
    # In the window nothing is missing, but may be again.
    detector.update(TRAIN)
    assert np.isfinite(detector.score_samples(holed)).all()


def test_images_are_images_and_pixels_keep_their_names():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(120, 1, 8, 6)).astype(np.float32)
    embedder = AutoencoderEmbedder(
        2, network="conv", hidden_layer_sizes=(2,), max_epochs=1, random_state=0
    )
    detector = LatentOutlierDetector(embedder, random_state=0).fit(images[:60])
    names = detector.explain(images[:1]).index.get_level_values("feature")
    detector.update(images[60:])
    assert detector.explain(images[:1]).index.get_level_values("feature").equals(names)
    scores = detector.score_samples(images)
    detector.update(images[60:].reshape(60, -1))
    np.testing.assert_array_equal(detector.score_samples(images), scores)
    assert detector.explain(images[:1]).index.get_level_values("feature").equals(names)


# The threshold


def auto(scores):
    return min(tail_threshold(scores), -2.5)


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ({"contamination": "auto"}, auto),
        ({"contamination": 0.2}, lambda scores: np.quantile(scores, 0.2)),
        (
            {"n_alerts": 20, "per": 100},
            partial(alert_threshold, n_alerts=20, per=100),
        ),
    ],
)
def test_the_rule_is_applied_to_the_new_rows(detector, rule, place, calibrated):
    if calibrated:
        detector.calibrate(OTHERS)
    before = detector.set_threshold(**rule).offset_
    detector.update(RECENT)
    assert not hasattr(detector, "calibration_scores_")
    np.testing.assert_array_equal(
        detector.training_scores_, np.sort(detector.score_samples(RECENT))
    )
    assert detector.offset_ == pytest.approx(place(detector.training_scores_))
    assert detector.offset_ != before
    # It goes on to hold.
    offset = detector.offset_
    detector.calibrate(1.5 * OTHERS + 9.0)
    if rule != {"contamination": 0.2}:  # a share of the training rows
        offset = place(detector.calibration_scores_)
    assert detector.offset_ == pytest.approx(offset)


@pytest.mark.parametrize(
    "rule", [{"contamination": 0.1}, {"n_alerts": 10, "per": 100}, None]
)
def test_a_share_of_many_rows_is_one_of_all(rule):
    detector = LatentOutlierDetector(max_samples=100, random_state=0).fit(TRAIN)
    if rule is not None:
        detector.set_threshold(**rule)
    detector.update(RECENT)
    assert len(detector.training_scores_) == (100 if rule is None else 300)
    if rule is not None:
        assert np.sum(detector.predict(RECENT) == -1) == 30


def test_an_offset_that_was_assigned_stays(detector):
    detector.calibrate(OTHERS).set_threshold(fpr=0.1)
    detector.offset_ = -4.0
    assert detector.update(RECENT).offset_ == -4.0
    assert detector.calibrate(OTHERS).offset_ == -4.0
    detector.set_threshold(contamination="auto")
    assert detector.offset_ == auto(detector.training_scores_)


@pytest.mark.parametrize("rule", [{"fpr": 0.1}, {"p_value": 0.05}])
def test_a_level_waits_for_calibration_rows(detector, tmp_path, rule):
    detector.calibrate(OTHERS).set_threshold(**rule).update(RECENT)
    assert not hasattr(detector, "offset_")
    scores = detector.score_samples(RECENT)
    message = r"no threshold: update drops the calibration rows .* Call calibrate\(X\)"
    for ask in (detector.predict, detector.decision_function):
        with pytest.raises(NotFittedError, match=message):
            ask(RECENT)
    for ask in (detector.p_values, detector.drift_report):
        with pytest.raises(NotFittedError, match="no calibration rows"):
            ask(RECENT)
    latentsk.save(detector, tmp_path / "model")
    copies = latentsk.load(tmp_path / "model"), pickle.loads(pickle.dumps(detector))
    for copy in (detector, *copies):
        np.testing.assert_array_equal(copy.score_samples(RECENT), scores)
        copy.calibrate(1.5 * OTHERS + 9.0)
        expected = conformal_threshold(copy.calibration_scores_, *rule.values())
        assert copy.offset_ == expected
        assert copy.predict(RECENT).shape == (300,)
    # The other way out.
    detector.update(RECENT).set_threshold(contamination=0.1)
    assert np.sum(detector.predict(RECENT) == -1) == 30


def test_updates_follow_each_other(detector):
    detector.set_threshold(n_alerts=10, per=100).update(RECENT).update(OTHERS)
    fresh = LatentOutlierDetector(random_state=0).fit(TRAIN).update(OTHERS)
    same_answers(detector, fresh.set_threshold(n_alerts=10, per=100))


# Copies and errors


def saved(detector, folder):
    latentsk.save(detector, folder / "detector")
    return latentsk.load(folder / "detector")


@pytest.mark.parametrize(
    "copied",
    [saved, lambda detector, _: pickle.loads(pickle.dumps(detector))],
    ids=["saved", "pickled"],
)
@pytest.mark.parametrize("name", ["default", "pca"])
def test_copies_are_updated_alike(tmp_path, copied, name):
    detector = LatentOutlierDetector(EMBEDDERS[name](), random_state=0).fit(TRAIN)
    detector.set_threshold(n_alerts=10, per=100)
    copy = copied(detector, tmp_path)
    same_answers(copy.update(RECENT), detector.update(RECENT))
    # An updated one is a fitted one.
    same_answers(copied(detector, tmp_path), detector)


def test_a_file_of_the_first_releases_is_updated(detector, tmp_path):
    latentsk.save(detector.calibrate(OTHERS), tmp_path / "old")
    document, arrays = _format.read_file(tmp_path / "old")
    state = document["root"]["state"]
    del state["_threshold_rule"], state["_fitted_parameters"]
    _format.write_file(tmp_path / "old", document, arrays)
    same_answers(
        latentsk.load(tmp_path / "old").update(RECENT), detector.update(RECENT)
    )


def test_a_file_without_a_threshold_is_refused(detector, tmp_path):
    latentsk.save(detector, tmp_path / "model")
    document, arrays = _format.read_file(tmp_path / "model")
    del document["root"]["state"]["offset_"]
    _format.write_file(tmp_path / "model", document, arrays)
    with pytest.raises(latentsk.exceptions.FormatError, match="no threshold"):
        latentsk.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (RECENT[:1], "update needs at least 2 rows, got 1"),
        (RECENT[:, :3], "3 features"),
        (np.where(RECENT > 12, np.inf, RECENT), "infinity"),
        (np.where(RECENT > 12, 1e101, RECENT), "above 1e"),
        (RECENT[:3], "n_alerts=10 per 100 cannot be told by 3 reference rows"),
    ],
)
def test_bad_rows_leave_the_old_ones(detector, rows, message):
    detector.calibrate(OTHERS).set_threshold(n_alerts=10, per=100)
    before = state_of(detector)
    with pytest.raises(ValueError, match=message):
        detector.update(rows)
    assert state_of(detector) == before


def test_a_warning_that_is_an_error_leaves_the_old_rows(detector):
    detector.calibrate(OTHERS).set_threshold(n_alerts=10, per=100)
    before = state_of(detector)
    with pytest.raises(UserWarning, match=r"rests on the 9.0 lowest of 90"):
        detector.update(RECENT[:90])
    assert state_of(detector) == before


def test_parameters_that_were_changed_are_an_error(detector):
    before = detector.score_samples(ROWS)
    for changed in ({"n_neighbors": 9}, {"contamination": 0.1}, {"method": "distance"}):
        given = {name: getattr(detector, name) for name in changed}
        with pytest.raises(ValueError, match="when the detector was fitted"):
            detector.set_params(**changed).update(RECENT)
        detector.set_params(**given)
    np.testing.assert_array_equal(detector.score_samples(ROWS), before)
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        LatentOutlierDetector().update(RECENT)
