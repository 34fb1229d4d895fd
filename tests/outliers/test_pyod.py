"""PyODAdapter: PyOD's scores, threshold, labels and probabilities, without PyOD."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from latentsk import LatentIndex, LatentOutlierDetector, PCAEmbedder, VAEEmbedder
from latentsk.outliers import PyODAdapter


class FirstColumn(BaseEstimator):
    """Scores are minus the first column: its values are PyOD's scores."""

    def fit(self, X, y=None):
        self.n_rows_ = len(X)
        return self

    def score_samples(self, X):
        return -np.asarray(X, np.float64)[:, 0]


def column(*values):
    return np.array(values, np.float64)[:, None]


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True)


@parametrize_with_checks([PyODAdapter(LatentOutlierDetector(random_state=0))])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# Values by hand


@pytest.fixture
def fitted():
    return PyODAdapter(FirstColumn(), contamination=0.3).fit(column(3, 0, 10, 1, 2))


def test_training_scores_threshold_and_labels(fitted):
    # The 70th percentile of 0, 1, 2, 3, 10 lies at rank 2.8, from 2 to 3.
    assert_array_equal(fitted.decision_scores_, [3, 0, 10, 1, 2])
    assert fitted.threshold_ == pytest.approx(2.8)
    assert_array_equal(fitted.labels_, [1, 0, 1, 0, 0])


def test_scores_and_labels_of_new_rows(fitted):
    new = column(-5, 2.7, 2.9, 50)
    assert_array_equal(fitted.decision_function(new), [-5, 2.7, 2.9, 50])
    assert_array_equal(fitted.predict(new), [0, 0, 1, 1])


def test_a_score_on_the_threshold_is_no_outlier():
    adapter = PyODAdapter(FirstColumn(), contamination=0.5).fit(column(1, 2, 3))
    assert adapter.threshold_ == 2
    assert_array_equal(adapter.labels_, [0, 0, 1])
    assert_array_equal(adapter.predict(column(2, np.nextafter(2, 3))), [0, 1])


def test_rows_that_are_tied_at_the_threshold_are_labelled_together():
    # Of 100 rows 26 tie for the highest score: PyOD's percentile labels none of them.
    scores = column(*np.linspace(-1, 1, 74), *np.full(26, 7.0))
    with pytest.warns(UserWarning, match="asks for 20 of 100 rows, but 26"):
        adapter = PyODAdapter(FirstColumn(), contamination=0.2).fit(scores)
    assert adapter.threshold_ == 4
    assert_array_equal(adapter.labels_, np.r_[np.zeros(74), np.ones(26)])
    # No row is nearer to 10 than 26 are, and PyOD's threshold stands.
    with pytest.warns(UserWarning, match="asks for 10 of 100 rows, but none is"):
        adapter = PyODAdapter(FirstColumn()).fit(scores)
    assert adapter.threshold_ == 7
    assert adapter.labels_.sum() == 0


def test_linear_probability(fitted):
    probability = fitted.predict_proba(column(-5, 0, 5, 10, 12))
    assert_allclose(probability[:, 1], [0, 0, 0.5, 1, 1])
    assert_allclose(probability.sum(axis=1), 1)


def test_unified_probability(fitted):
    # Mean and variance of 0, 1, 2, 3, 10 are 3.2 and 12.56; erf(t / sqrt(2)) is the
    # share of a normal distribution within t standard deviations.
    new = 3.2 + np.sqrt(12.56) * np.array([-1, 0, 1, 2])
    probability = fitted.predict_proba(column(*new), method="unify")
    within = [0, 0, 0.6826894921370859, 0.9544997361036416]
    assert_allclose(probability[:, 1], within, atol=1e-15)
    assert_allclose(probability.sum(axis=1), 1)


@pytest.mark.parametrize("method", ["linear", "unify"])
def test_probabilities_where_all_training_rows_score_alike(method):
    adapter = PyODAdapter(FirstColumn()).fit(column(4, 4, 4))
    assert_array_equal(adapter.labels_, [0, 0, 0])
    probability = adapter.predict_proba(column(4, 3, 1e9), method=method)
    assert_array_equal(probability, [[1, 0], [1, 0], [0, 1]])


# PyOD itself


def in_pyod(contamination, scores):
    base = pytest.importorskip("pyod.models.base")

    class Given(base.BaseDetector):
        def __init__(self, contamination=0.1):
            super().__init__(contamination=contamination)

        def fit(self, X, y=None):
            self._set_n_classes(y)
            self.decision_scores_ = self.decision_function(X)
            self._process_decision_scores()
            return self

        def decision_function(self, X):
            return X[:, 0]

    return Given(contamination).fit(scores)


@pytest.mark.parametrize("contamination", [0.01, 0.07, 0.1, 0.29, 0.5])
def test_as_pyod_does(contamination):
    # Scores below the threshold are tied; new ones equal them, and the threshold.
    rng = np.random.default_rng(0)
    training, new = rng.exponential(size=(2, 101, 1))
    training[training < 0.5] = training[training < 0.5].round(1)
    theirs = in_pyod(contamination, training)
    ours = PyODAdapter(FirstColumn(), contamination=contamination).fit(training)
    assert ours.threshold_ == theirs.threshold_
    for name in "decision_scores_", "labels_":
        assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype
    for rows in training, new, column(theirs.threshold_):
        assert_array_equal(ours.predict(rows), theirs.predict(rows))
        for method in "linear", "unify":
            expected = theirs.predict_proba(rows, method=method)
            assert_allclose(ours.predict_proba(rows, method), expected, atol=1e-15)


def test_the_index_has_the_scores_of_pyods_knn(wine):
    # As the page "Coming from PyOD" says.
    knn = pytest.importorskip("pyod.models.knn")
    X, _ = wine
    distances, _ = LatentIndex(None, n_neighbors=5).fit(X).kneighbors()
    assert_allclose(distances[:, -1], knn.KNN().fit(X).decision_scores_)


# Detectors


@pytest.mark.parametrize(
    "detector",
    [
        LatentOutlierDetector(random_state=0),
        LatentOutlierDetector(method="neighbors", contamination=0.4, random_state=0),
        PCAEmbedder(2),
        make_pipeline(StandardScaler(), PCAEmbedder(2, score_method="mahalanobis")),
        VAEEmbedder(max_epochs=2, random_state=0),
    ],
    ids=["detector", "neighbors", "PCA", "pipeline", "VAE"],
)
def test_scores_are_those_of_the_detector_negated(detector, wine):
    X, _ = wine
    adapter = PyODAdapter(detector).fit(X[:150])
    alone = clone(detector).fit(X[:150])
    assert_allclose(adapter.decision_scores_, -alone.score_samples(X[:150]))
    assert_allclose(adapter.decision_function(X[150:]), -alone.score_samples(X[150:]))
    assert adapter.labels_.sum() == 15
    assert_array_equal(adapter.predict(X[:150]), adapter.labels_)
    assert_array_equal(adapter.fit_predict(X[:150]), adapter.labels_)


def test_the_outlier_has_the_highest_score_at_its_row(wine):
    X = wine[0].copy()
    X[7] += 10 * X.std(axis=0)
    adapter = PyODAdapter().fit(X)
    assert isinstance(adapter.detector_, LatentOutlierDetector)
    assert adapter.decision_scores_.argmax() == 7
    assert adapter.labels_[7] == 1
    assert adapter.predict_proba(X)[:, 1].argmax() == 7


def test_the_threshold_is_minus_the_offset(wine):
    X, _ = wine
    detector = PCAEmbedder(2, contamination=0.07)
    adapter = PyODAdapter(detector, contamination=0.07).fit(X)
    assert adapter.threshold_ == pytest.approx(-adapter.detector_.offset_)
    assert_array_equal(adapter.labels_, adapter.detector_.predict(X) == -1)


def test_the_given_detector_is_left_alone(wine):
    X, y = wine
    detector = PCAEmbedder(2)
    adapter = PyODAdapter(detector).fit(X, y)
    assert adapter.detector is detector
    assert not hasattr(detector, "components_")


def test_a_frozen_detector_is_not_fitted_again(wine):
    X, _ = wine
    fitted = PCAEmbedder(2).fit(X[:100])
    adapter = PyODAdapter(FrozenEstimator(fitted)).fit(X[100:])
    assert_array_equal(adapter.decision_scores_, -fitted.score_samples(X[100:]))


def test_sparse_rows_where_the_detector_takes_them(wine):
    X, _ = wine
    adapter = PyODAdapter(PCAEmbedder(2)).fit(csr_array(X))
    assert_allclose(adapter.decision_scores_, -PCAEmbedder(2).fit(X).score_samples(X))


def test_names_of_features(wine):
    X = pd.DataFrame(wine[0]).add_prefix("f")
    adapter = PyODAdapter(PCAEmbedder(2)).fit(X)
    assert adapter.n_features_in_ == 13
    assert_array_equal(adapter.feature_names_in_, X.columns)
    assert not hasattr(PyODAdapter(PCAEmbedder(2)).fit(wine[0]), "feature_names_in_")


# An estimator


def test_pickle(wine):
    X, _ = wine
    adapter = PyODAdapter(LatentOutlierDetector(random_state=0)).fit(X)
    restored = pickle.loads(pickle.dumps(adapter))
    assert_array_equal(restored.labels_, adapter.labels_)
    assert_array_equal(restored.predict_proba(X), adapter.predict_proba(X))


def test_clone_and_parameters():
    adapter = PyODAdapter(PCAEmbedder(3), contamination=0.2)
    copied = clone(adapter).set_params(detector__n_components=4)
    assert copied.get_params()["detector__n_components"] == 4
    assert copied.contamination == 0.2
    assert adapter.detector.n_components == 3


def test_grid_search(wine):
    X, y = wine
    grid = {"detector__n_components": [1, 4]}
    folds = StratifiedKFold(3)
    search = GridSearchCV(PyODAdapter(PCAEmbedder()), grid, scoring="roc_auc", cv=folds)
    search.fit(X, y == 2)
    best = search.best_estimator_.decision_function(X)
    assert search.score(X, y == 2) == roc_auc_score(y == 2, best)


# Bad input


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("decision_function", ()), ("predict", ()), ("predict_proba", ("unify",))],
)
def test_not_fitted(method, arguments):
    with pytest.raises(NotFittedError):
        getattr(PyODAdapter(), method)([[1.0]], *arguments)


@pytest.mark.parametrize("contamination", [0, 0.51, -0.1, "auto", None])
def test_contamination_out_of_range(contamination):
    with pytest.raises(ValueError, match=r"contamination.* \(0\.?0?, 0\.5\]"):
        PyODAdapter(FirstColumn(), contamination=contamination).fit(column(1, 2))


def test_unknown_method(fitted):
    with pytest.raises(ValueError, match="'linear' or 'unify', got 'logistic'"):
        fitted.predict_proba(column(1), method="logistic")


def test_what_is_no_detector():
    with pytest.raises(ValueError, match="score_samples"):
        PyODAdapter(StandardScaler()).fit(column(1, 2))
    with pytest.raises(TypeError, match="instance"):
        PyODAdapter(PCAEmbedder).fit(column(1, 2))


def test_a_fit_that_fails_leaves_the_adapter_as_it_was(wine):
    X, _ = wine
    adapter = PyODAdapter(PCAEmbedder(2)).fit(X)
    before = vars(adapter).copy()
    with pytest.raises(ValueError, match="NaN"):
        adapter.fit(np.full((5, 4), np.nan))
    assert vars(adapter) == before
