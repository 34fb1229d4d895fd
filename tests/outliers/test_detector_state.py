"""The state of a detector: parameters, copies, refits, random states."""

import copy
import json
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import LatentOutlierDetector, PCAEmbedder


def without_inverse():
    return make_column_transformer(("passthrough", [0, 1]))


def _detector(**options):
    options = {"embedder": PCAEmbedder(2), "random_state": 0, **options}
    return LatentOutlierDetector(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "lof"},
        {"n_neighbors": 0},
        {"n_neighbors": 1.5},
        {"contamination": 0.6},
        {"contamination": 0.0},
        {"max_samples": 1},
        {"assume_clean": "yes"},
        {"random_state": "seed"},
    ],
)
def test_bad_parameters(X, options):
    with pytest.raises(ValueError, match=f"'{next(iter(options))}' parameter"):
        _detector(**options).fit(X)


@pytest.mark.parametrize(
    "options",
    [
        {"embedder": PCA(99)},
        {"embedder": without_inverse(), "method": "residual"},
        {"embedder": PCAEmbedder},
        {"n_neighbors": 0},
    ],
)
def test_a_failed_fit_leaves_the_old_one(X, options):
    detector = _detector().fit(X).calibrate(X)
    before = detector.score_samples(X)
    given = detector.get_params(deep=False)
    with pytest.raises((ValueError, TypeError)):
        detector.set_params(**options).fit(np.column_stack([X, X]))
    detector.set_params(**given)
    np.testing.assert_array_equal(detector.score_samples(X), before)
    assert detector.n_features_in_ == 5
    assert len(detector.calibration_scores_) == 80


def test_a_failed_first_fit_leaves_nothing(X):
    detector = _detector(embedder=PCA(99))
    with pytest.raises(ValueError, match="n_components"):
        detector.fit(X)
    assert set(vars(detector)) == set(detector.get_params(deep=False))
    with pytest.raises(NotFittedError):
        detector.predict(X)
    assert not hasattr(detector, "index_")


def test_a_method_changed_after_the_fit_is_an_error(X):
    detector = _detector(method="neighbors").fit(X)
    parts = detector.score_parts(X)
    detector.set_params(method="distance")
    for ask in (detector.score_samples, detector.predict, detector.explain):
        with pytest.raises(ValueError, match="score was 'neighbors' when"):
            ask(X)
    pd.testing.assert_frame_equal(detector.score_parts(X), parts)
    assert detector.fit(X).predict(X).shape == (80,)


def test_a_score_of_the_embedder_that_was_changed_is_an_error(X):
    detector = _detector(embedder=PCAEmbedder(2), method="embedder_score").fit(X)
    detector.embedder_.set_params(score_method="reconstruction")
    for ask in (detector.score_samples, detector.predict, detector.explain):
        with pytest.raises(ValueError, match="embedder_score: likelihood"):
            ask(X)


@pytest.mark.parametrize(
    "embedder", [None, PCAEmbedder(2), make_pipeline(StandardScaler(), PCA(2))]
)
def test_copies_score_as_the_original(X, embedder, tmp_path):
    detector = _detector(embedder=embedder).fit(X).calibrate(X[:40])
    joblib.dump(detector, tmp_path / "detector.joblib")
    for again in (
        pickle.loads(pickle.dumps(detector)),
        copy.deepcopy(detector),
        joblib.load(tmp_path / "detector.joblib"),
    ):
        np.testing.assert_array_equal(again.predict(X), detector.predict(X))
        np.testing.assert_array_equal(again.score_samples(X), detector.score_samples(X))
        np.testing.assert_array_equal(again.p_values(X), detector.p_values(X))
        pd.testing.assert_frame_equal(again.explain(X[:3]), detector.explain(X[:3]))
    fresh = clone(detector)
    with pytest.raises(NotFittedError):
        fresh.predict(X)
    np.testing.assert_array_equal(
        fresh.fit(X).training_scores_, detector.training_scores_
    )


@pytest.mark.parametrize(
    "state",
    [
        lambda: 7,
        lambda: np.random.RandomState(7),
        lambda: np.random.default_rng(7),
    ],
    ids=["int", "RandomState", "Generator"],
)
def test_a_random_state_makes_a_fit_repeatable(X, state):
    """It draws the rows that are kept, where there are more than `max_samples`."""
    one, other = (
        _detector(random_state=state(), max_samples=30).fit(X) for _ in range(2)
    )
    np.testing.assert_array_equal(one.training_scores_, other.training_scores_)
    different = _detector(random_state=8, max_samples=30).fit(X)
    assert (different.index_.ids_ != one.index_.ids_).any()


def test_without_a_random_state_nothing_differs_where_every_row_is_kept(X):
    one, other = (_detector(random_state=None).fit(X) for _ in range(2))
    pd.testing.assert_frame_equal(one.score_parts(X), other.score_parts(X))


def test_a_refit_starts_anew(X):
    detector = _detector().fit(X[:, :3]).calibrate(X[:, :3])
    again = detector.fit(X)
    assert not hasattr(again, "calibration_scores_")
    np.testing.assert_array_equal(
        again.training_scores_, _detector().fit(X).training_scores_
    )


def test_the_state_holds_all_that_a_fit_sets(X):
    for method in ("auto", "embedder_score"):
        detector = _detector(embedder=PCAEmbedder(2), method=method).fit(X)
        parameters = detector.get_params(deep=False).keys()
        assert vars(detector).keys() - parameters == detector._fitted().keys()
        state = detector._get_state()
        fitted = {"_view", "_gaussian", "_neighborhood", "_scale"}
        assert state.keys() > fitted
        others = {name: state[name] for name in state.keys() - fitted}
        json.dumps(others, default=np.ndarray.tolist)
