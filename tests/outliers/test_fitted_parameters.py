"""Parameters that were changed after the fit are noticed, and named."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, RobustScaler, StandardScaler

import latentsk
from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk.outliers._fitted_parameters import describe, require_unchanged


def fitted(X, **parameters):
    return LatentOutlierDetector(random_state=0, **parameters).fit(X)


def scoring(detector):
    detector_rows = ("score_samples", "decision_function", "predict", "calibrate")
    others = ("score_parts", "explain", "p_values", "predict_fdr")
    names = (*detector_rows, *others, "outlier_probability")
    return [getattr(detector, name) for name in names]


def assert_refused(detector, X, message):
    for ask in scoring(detector):
        with pytest.raises(ValueError, match=message):
            ask(X)
    with pytest.raises(ValueError, match=message):
        detector.set_threshold(contamination=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_neighbors": 50}, "n_neighbors was 5 when .* fitted, and is now 50"),
        ({"assume_clean": True}, "assume_clean was False when .*, and is now True"),
        ({"max_samples": 2}, "max_samples was 5000 when .*, and is now 2"),
        ({"embedder": PCAEmbedder(2)}, "embedder was None when .* a PCAEmbedder"),
    ],
)
def test_a_parameter_that_was_changed_is_an_error(X, options, message):
    detector = fitted(X).calibrate(X)
    before = detector.get_params()
    expected = detector.predict(X)
    detector.set_params(**options)
    assert_refused(detector, X, f"{message}. Fit it again, or set")
    # Both remedies.
    detector.set_params(**{name: before[name] for name in options})
    np.testing.assert_array_equal(detector.predict(X), expected)
    detector.set_params(**options).fit(X)
    assert detector.predict(X).shape == (80,)


def test_a_random_state_is_free(X):
    detector = fitted(X)
    expected = detector.predict(X)
    for state in (9, None, np.random.default_rng(0), np.random.RandomState(3)):
        detector.set_params(random_state=state)
        np.testing.assert_array_equal(detector.predict(X), expected)


def test_equal_values_are_the_same(X):
    detector = fitted(X)
    detector.set_params(n_neighbors=np.int64(5), assume_clean=np.False_)
    assert detector.predict(X).shape == (80,)


def steps(*preparation):
    return make_pipeline(*preparation, PCAEmbedder(2, random_state=None))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (PCAEmbedder(2), None, "embedder was a PCAEmbedder when .* is now None"),
        (PCAEmbedder(2), PCA(2), "embedder was a PCAEmbedder when .* is now a PCA"),
        (PCAEmbedder(2), PCAEmbedder(3), "embedder__n_components was 2 .* now 3"),
        (
            steps(StandardScaler()),
            steps(RobustScaler()),
            r"embedder__\w+ was .*standardscaler.* is now .*robustscaler",
        ),
        (
            steps(StandardScaler()),
            steps(StandardScaler(with_std=False)),
            "embedder__standardscaler__with_std was True .* is now False",
        ),
        (
            steps(FunctionTransformer(np.sign)),
            steps(FunctionTransformer(np.cbrt)),
            "embedder__functiontransformer__func was sign .* is now cbrt",
        ),
    ],
)
def test_another_embedder_is_an_error(X, before, after, message):
    detector = fitted(X, embedder=before).calibrate(X)
    assert_refused(detector.set_params(embedder=after), X, message)


def test_a_parameter_of_the_embedder_that_was_changed_is_an_error(X):
    detector = fitted(X, embedder=steps(StandardScaler())).calibrate(X)
    detector.set_params(embedder__pcaembedder__random_state=7)
    detector.set_params(embedder__verbose=True, embedder__pcaembedder__copy=False)
    detector.predict(X)
    detector.set_params(embedder__pcaembedder__whiten=True)
    assert_refused(detector, X, "embedder__pcaembedder__whiten was False .* now True")


def test_an_equal_embedder_is_the_same(X):
    detector = fitted(X, embedder=steps(StandardScaler()))
    expected = detector.predict(X)
    detector.set_params(embedder=steps(StandardScaler()))
    np.testing.assert_array_equal(detector.predict(X), expected)
    # Nor does it matter that its owner fits the embedder that was cloned.
    detector.set_params(embedder=steps(StandardScaler()).fit(X[:50]))
    np.testing.assert_array_equal(detector.predict(X), expected)


@pytest.mark.parametrize("wrapped", [lambda e: e, FrozenEstimator])
def test_a_fitted_embedder_must_stay_that_one(X, wrapped, tmp_path):
    embedder = wrapped(PCAEmbedder(2).fit(X))
    detector = fitted(X, embedder=embedder).calibrate(X)
    expected = detector.predict(X)
    latentsk.save(detector, tmp_path / "model")
    again = latentsk.load(tmp_path / "model")
    copies = [pickle.loads(pickle.dumps(detector)), copy.deepcopy(detector), again]
    for copied in copies:
        np.testing.assert_array_equal(copied.predict(X), expected)
    other = wrapped(PCAEmbedder(2).fit(X[:40]))
    for changed in (detector, *copies):
        message = "embedder was a fitted .* when .*, and is now another one"
        assert_refused(changed.set_params(embedder=other), X, message)
    # Its parameters are its own: some take effect without a fit.
    detector.set_params(embedder=embedder)
    if isinstance(embedder, PCAEmbedder):
        embedder.set_params(score_method="reconstruction")
    np.testing.assert_array_equal(detector.predict(X), expected)


@pytest.mark.parametrize(
    "embedder", [None, PCAEmbedder(2), steps(StandardScaler())], ids=str
)
def test_copies_notice_it_too(X, embedder, tmp_path):
    detector = fitted(X, embedder=embedder).calibrate(X)
    latentsk.save(detector, tmp_path / "model")
    for copied in (
        latentsk.load(tmp_path / "model"),
        pickle.loads(pickle.dumps(detector)),
        copy.deepcopy(detector),
    ):
        np.testing.assert_array_equal(copied.predict(X), detector.predict(X))
        message = "n_neighbors was 5 when .* fitted, and is now 6"
        assert_refused(copied.set_params(n_neighbors=6), X, message)


def test_the_method_has_a_message_of_its_own(X):
    detector = fitted(X).set_params(method="distance", n_neighbors=9)
    with pytest.raises(ValueError, match="The score was 'auto' when"):
        detector.score_samples(X)
    detector.set_params(n_neighbors=5)
    assert detector.score_parts(X).shape[0] == 80


# Descriptions


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "None"),
        (np.True_, "True"),
        (np.int8(3), "3"),
        (float("nan"), "nan"),
        ("5", "'5'"),
        (np.str_("mean"), "'mean'"),
        ([8, 4], "[8, 4]"),
        ((8, (0.5, "a")), "[8, [0.5, 'a']]"),
        (list(range(101)), "list of 101"),
        (np.zeros(3), "ndarray"),
        ({"a": 1}, "dict"),
        (np.float32, "float32"),
        (len, "len"),
        (PCA(3), "PCA"),
    ],
)
def test_descriptions(value, expected):
    assert describe(value) == expected


def test_only_what_is_known_of_both_is_compared():
    require_unchanged({"a": "1", "b": "2"}, {"a": "1", "c": "3"})
    with pytest.raises(ValueError, match=r"b was 2 .* now 3"):
        require_unchanged({"a": "1", "b": "2"}, {"b": "3", "a": "1"})
