"""What PyOD's detectors do and PyODAdapter does, too; without PyOD, and beside it."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

import latentsk
from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk.exceptions import FormatError
from latentsk.outliers import PyODAdapter
from latentsk.persistence import _format


class FirstColumn(BaseEstimator):
    """Scores are minus the first column: its values are PyOD's scores."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def score_samples(self, X):
        return -np.asarray(X, np.float64)[:, 0]


class Above(BaseEstimator):
    """A thresholder, as those of pyod.models.thresholds are."""

    def __init__(self, bound=2.0, thresh=None):
        self.bound = bound
        self.thresh = thresh

    def fit(self, scores, y=None):
        self.labels_ = self.predict(scores)
        self.thresh_ = self.thresh
        return self

    def predict(self, scores):
        assert np.ndim(scores) == 1
        return (scores > self.bound).astype(np.int8)


def fitted(n=200, contamination=0.1):
    rows = np.arange(n, dtype=float)[:, None]
    return PyODAdapter(FirstColumn(), contamination=contamination).fit(rows)


NEW = np.array([[-5.0], [150], [178], [179.5], [182], [199], [500]])


# Without PyOD


def test_confidence_is_the_chance_of_the_label():
    # 200 rows, 20 outliers: the last row scores above all, p = 201 / 202, and is an
    # outlier if at least 181 of 200 score below it: nearly certain. The first is an
    # inlier as surely. The row in the middle of the threshold is not sure.
    adapter = fitted()
    confidence = adapter.predict_confidence(NEW)
    assert_array_equal(adapter.predict(NEW), [0, 0, 0, 1, 1, 1, 1])
    assert_allclose(confidence[[0, 5, 6]], 1)
    assert (confidence[2:4] < 0.7).all()
    assert (np.diff(confidence[[0, 1, 2]]) < 0).all()
    assert (np.diff(confidence[3:6]) > 0).all()


def test_confidence_comes_along():
    adapter = fitted()
    expected = adapter.predict_confidence(NEW)
    labels, confidence = adapter.predict(NEW, return_confidence=True)
    assert_array_equal(labels, adapter.predict(NEW))
    assert_array_equal(confidence, expected)
    for method in "linear", "unify":
        probability, confidence = adapter.predict_proba(
            NEW, method=method, return_confidence=True
        )
        assert_array_equal(probability, adapter.predict_proba(NEW, method))
        assert_array_equal(confidence, expected)


def test_rows_near_the_threshold_are_rejected():
    adapter = fitted()
    assert_array_equal(adapter.predict_with_rejection(NEW, 3), [0, 0, -2, -2, -2, 1, 1])
    assert_array_equal(adapter.predict_with_rejection(NEW, 0), adapter.predict(NEW))
    rejected = [(adapter.predict_with_rejection(NEW, T=T) == -2).sum() for T in (3, 32)]
    assert rejected == sorted(rejected)
    assert (adapter.predict_with_rejection(NEW, T=40) == -2).all()


def test_the_numbers_of_a_rejection(capsys):
    adapter = fitted()
    expected = adapter.compute_rejection_stats(T=5, delta=0.2, c_fp=2, c_fn=3, c_r=0.4)
    labels, found = adapter.predict_with_rejection(
        NEW, T=5, return_stats=True, delta=0.2, c_fp=2, c_fn=3, c_r=0.4
    )
    assert type(found) is list
    assert found == list(expected)
    assert_array_equal(labels, adapter.predict_with_rejection(NEW, T=5))
    assert capsys.readouterr().out == ""
    # A rejection costs the contamination if nothing is said.
    default = adapter.compute_rejection_stats(verbose=True)
    assert default == adapter.compute_rejection_stats(32, 0.1, 1, 1, 0.1)
    assert f"{default.expected_rate:.4f}" in capsys.readouterr().out


def test_fit_and_score_with_labels():
    rows, y = np.array([[1.0], [4], [2], [9], [3]]), [0, 0, 1, 1, 0]
    adapter = PyODAdapter(FirstColumn(), contamination=0.2)
    # Of six pairs of an outlier and an inlier four are in order.
    assert adapter.fit_predict_score(rows, y) == pytest.approx(4 / 6)
    # The two highest scores are of one outlier and one inlier.
    assert adapter.fit_predict_score(rows, y, scoring="prc_n_score") == 0.5
    assert adapter.labels_.sum() == 1
    with pytest.raises(NotImplementedError, match="'prc_n_score', got 'f1'"):
        adapter.fit_predict_score(rows, y, scoring="f1")


@pytest.mark.parametrize("name", ["T", "delta", "c_fp", "c_fn"])
@pytest.mark.parametrize("value", [-1, np.nan])
def test_numbers_of_a_rejection_that_are_none(name, value):
    adapter = fitted()
    for method in (
        lambda **given: adapter.predict_with_rejection(NEW, **given),
        adapter.compute_rejection_stats,
    ):
        with pytest.raises(ValueError, match=f"{name} must be a number"):
            method(**{name: value})
    with pytest.raises(ValueError, match=r"delta must be .* 0 and 1, got 1"):
        adapter.compute_rejection_stats(delta=1)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("predict_confidence", (NEW,)),
        ("predict_with_rejection", (NEW,)),
        ("compute_rejection_stats", ()),
    ],
)
def test_not_fitted(method, arguments):
    with pytest.raises(NotFittedError):
        getattr(PyODAdapter(), method)(*arguments)


# Thresholders


def test_a_thresholder_places_the_labels():
    rows = np.array([[1.0], [4], [2], [9], [3]])
    given = Above(2.5)
    adapter = PyODAdapter(FirstColumn(), contamination=given).fit(rows)
    assert not hasattr(given, "labels_")
    assert_array_equal(adapter.labels_, [0, 1, 0, 1, 1])
    assert adapter.labels_.dtype == int
    assert adapter.threshold_ == pytest.approx(0.6)
    assert_array_equal(adapter.predict([[2.4], [2.6]]), [0, 1])
    # Three of five are outliers, in every formula that takes a share.
    confidence = adapter.predict_confidence([[0.0], [99]])
    by_share = PyODAdapter(FirstColumn(), contamination=0.5).fit(rows)
    by_share.contamination = 0.6
    assert_allclose(confidence, by_share.predict_confidence([[0.0], [99]]))
    assert adapter.compute_rejection_stats() == by_share.compute_rejection_stats()
    assert adapter.predict_with_rejection([[99.0]], T=0.1) == [1]


def test_the_threshold_of_a_thresholder_is_its_own():
    rows = np.arange(5.0)[:, None]
    adapter = PyODAdapter(FirstColumn(), contamination=Above(2, thresh=0.75)).fit(rows)
    assert adapter.threshold_ == 0.75
    adapter.set_params(contamination=0.2).fit(rows)
    assert not hasattr(adapter, "thresholder_")
    assert_array_equal(adapter.predict(rows), [0, 0, 0, 0, 1])


def test_a_thresholder_that_fails_leaves_the_adapter_as_it_was():
    class Failing(Above):
        def fit(self, scores, y=None):
            raise RuntimeError("no threshold")

    rows = np.arange(5.0)[:, None]
    adapter = PyODAdapter(FirstColumn(), contamination=0.2).fit(rows)
    before = vars(adapter).copy()
    adapter.set_params(contamination=Failing())
    with pytest.raises(RuntimeError, match="no threshold"):
        adapter.fit(rows)
    assert vars(adapter) == before | {"contamination": adapter.contamination}


def test_what_is_no_thresholder():
    for contamination in "auto", object(), 0.6:
        with pytest.raises(ValueError, match="contamination"):
            PyODAdapter(FirstColumn(), contamination=contamination).fit(NEW)
    with pytest.raises(TypeError, match="instance"):
        PyODAdapter(FirstColumn(), contamination=Above).fit(NEW)


def test_a_thresholder_is_not_stored(tmp_path):
    adapter = PyODAdapter(PCAEmbedder(1), contamination=Above(2))
    adapter.fit(np.random.default_rng(0).normal(size=(30, 3)))
    with pytest.raises(
        TypeError, match=r"Above \(the part 'contamination'\) cannot be"
    ):
        latentsk.save(adapter, tmp_path / "model")


def test_a_file_cannot_claim_a_thresholder(tmp_path):
    adapter = PyODAdapter(PCAEmbedder(1)).fit(load_breast_cancer().data[:50])
    latentsk.save(adapter, tmp_path / "model")
    document, arrays = _format.read_file(tmp_path / "model")
    document["root"]["state"]["thresholder_"] = 3
    _format.write_file(tmp_path / "model", document, arrays)
    with pytest.raises(FormatError, match="thresholder_ of PyODAdapter"):
        latentsk.load(tmp_path / "model")


# Beside PyOD


@pytest.fixture(scope="module")
def base():
    return pytest.importorskip("pyod.models.base").BaseDetector


def test_every_public_name_of_pyod_is_here(base):
    public = {name for name in dir(base) if not name.startswith("_")}
    assert public <= set(dir(PyODAdapter))


def test_methods_take_what_pyods_take(base):
    names = [
        "predict",
        "predict_proba",
        "predict_confidence",
        "predict_with_rejection",
        "compute_rejection_stats",
        "fit_predict_score",
        "decision_function",
        "fit",
    ]
    for name in names:
        theirs = inspect.signature(getattr(base, name)).parameters
        ours = inspect.signature(getattr(PyODAdapter, name)).parameters
        assert list(ours) == list(theirs), name
        for key, parameter in theirs.items():
            assert ours[key].default == parameter.default, (name, key)


def given(base, contamination, rows):
    class Given(base):
        def __init__(self, contamination=0.1):
            super().__init__(contamination=contamination)

        def fit(self, X, y=None):
            self._set_n_classes(y)
            self.decision_scores_ = self.decision_function(X)
            self._process_decision_scores()
            return self

        def decision_function(self, X):
            return np.array(X)[:, 0]

    return Given(contamination).fit(rows)


@pytest.mark.parametrize("contamination", [0.01, 0.07, 0.1, 0.29, 0.5, Above(1.3)])
@pytest.mark.filterwarnings("ignore:The cost of rejection must be positive")
def test_as_pyod_does(base, contamination):
    # Scores below the threshold are tied; new ones equal them, and the threshold.
    rng = np.random.default_rng(0)
    training = rng.exponential(size=(301, 1))
    training[training < 0.5] = training[training < 0.5].round(1)
    new = training + rng.choice([-0.1, 0, 0, 0.1], (301, 1))
    theirs = given(base, clone(contamination, safe=False), training)
    ours = PyODAdapter(FirstColumn(), contamination=contamination).fit(training)
    assert ours.threshold_ == theirs.threshold_
    assert_array_equal(ours.labels_, theirs.labels_)
    for rows in training, new, np.full((1, 1), theirs.threshold_):
        assert_array_equal(
            ours.predict_confidence(rows), theirs.predict_confidence(rows)
        )
        for method in "linear", "unify":
            assert_allclose(
                ours.predict_proba(rows, method, True)[0],
                theirs.predict_proba(rows, method, True)[0],
                atol=1e-15,
            )
        if isinstance(contamination, Above):
            continue  # PyOD computes with the thresholder as if it were a number
        for T in 1, 5, 32, 36:
            expected = theirs.predict_with_rejection(rows, T=T)
            assert_array_equal(ours.predict_with_rejection(rows, T=T), expected)


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.29, 0.5])
@pytest.mark.parametrize("T", [1, 3, 8, 32, 36])
@pytest.mark.filterwarnings("ignore:invalid value encountered in sqrt:RuntimeWarning")
def test_the_numbers_of_a_rejection_as_in_pyod(base, contamination, T):
    rows = np.random.default_rng(0).normal(size=(301, 1))
    theirs = given(base, contamination, rows)
    ours = PyODAdapter(FirstColumn(), contamination=contamination).fit(rows)
    for parameters in {}, {"delta": 0.3, "c_fp": 2, "c_fn": 3, "c_r": 0.5}:
        expected = theirs.compute_rejection_stats(T=T, **parameters)
        found = ours.compute_rejection_stats(T=T, **parameters)
        assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:Function fit_predict_score is deprecated")
@pytest.mark.parametrize("scoring", ["roc_auc_score", "prc_n_score"])
def test_fit_and_score_as_in_pyod(base, scoring):
    rng = np.random.default_rng(0)
    rows, y = rng.normal(size=(90, 1)), rng.random(90) < 0.2
    theirs = given(base, 0.1, rows).fit_predict_score(rows, y, scoring)
    ours = PyODAdapter(FirstColumn()).fit_predict_score(rows, y, scoring)
    assert ours == pytest.approx(theirs)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_thresholders_of_pythresh(base):
    thresholds = pytest.importorskip("pythresh.thresholds.iqr")
    rows = np.random.default_rng(0).exponential(size=(200, 1))
    theirs = given(base, thresholds.IQR(), rows)
    ours = PyODAdapter(FirstColumn(), contamination=thresholds.IQR()).fit(rows)
    assert 0 < ours.labels_.sum() < 40
    assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.threshold_ == theirs.threshold_
    assert_array_equal(ours.predict(rows * 1.1), theirs.predict(rows * 1.1))
    confidence = theirs.predict_confidence(rows)
    assert_array_equal(ours.predict_confidence(rows), confidence)


# Ensembles of PyOD


@pytest.fixture(scope="module")
def cancer():
    """Benign rows and a tenth of malignant ones, for training and apart."""
    X, y = load_breast_cancer(return_X_y=True)
    chosen = np.r_[np.flatnonzero(y == 1), np.flatnonzero(y == 0)[:40]]
    return train_test_split(X[chosen], 1 - y[chosen], random_state=0)


def adapters():
    return [
        PyODAdapter(LatentOutlierDetector(random_state=0)),
        PyODAdapter(LatentOutlierDetector(method="distance", random_state=0)),
        PyODAdapter(LatentOutlierDetector(method="neighbors", random_state=0)),
    ]


def assert_detects(ensemble, cancer):
    X, unseen, _, y = cancer
    ensemble.fit(X)
    assert roc_auc_score(y, ensemble.decision_function(unseen)) > 0.9
    assert ensemble.predict(unseen).shape == y.shape
    assert ensemble.predict_proba(unseen).shape == (len(y), 2)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("names", [None, ["UNK"]], ids=["default", "all steps"])
def test_suod(names, cancer):
    """With its random projections and approximations, which go by names of classes."""
    pytest.importorskip("suod")
    suod = pytest.importorskip("pyod.models.suod").SUOD
    given = {"rp_clf_list": names, "approx_clf_list": names} if names else {}
    others = {"rp_ng_clf_list": [], "approx_ng_clf_list": []} if names else {}
    ensemble = suod(adapters(), n_jobs=1, bps_flag=False, **given, **others)
    assert_detects(ensemble, cancer)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_lscp(cancer):
    lscp = pytest.importorskip("pyod.models.lscp").LSCP
    assert_detects(lscp(adapters(), random_state=0), cancer)


@pytest.mark.parametrize("combination", ["average", "max"])
def test_feature_bagging(combination, cancer):
    bagging = pytest.importorskip("pyod.models.feature_bagging").FeatureBagging
    ensemble = bagging(
        PyODAdapter(LatentOutlierDetector(method="distance")),
        n_estimators=3,
        combination=combination,
        random_state=0,
    )
    assert_detects(ensemble, cancer)


def test_combinations_of_scores(cancer):
    combination = pytest.importorskip("pyod.models.combination")
    standardizer = pytest.importorskip("pyod.utils.utility").standardizer
    X, unseen, _, y = cancer
    fits = [adapter.fit(X) for adapter in adapters()]
    training = np.column_stack([fit.decision_scores_ for fit in fits])
    scores = np.column_stack([fit.decision_function(unseen) for fit in fits])
    _, scores = standardizer(training, scores)
    assert_allclose(combination.average(scores), scores.mean(axis=1))
    assert_allclose(combination.maximization(scores), scores.max(axis=1))
    assert_allclose(combination.median(scores), np.median(scores, axis=1))
    for bucketed in combination.aom, combination.moa:
        assert roc_auc_score(y, bucketed(scores, 3, random_state=0)) > 0.9
    labels = np.column_stack([fit.predict(unseen) for fit in fits])
    voted = combination.majority_vote(labels)
    assert_array_equal(voted.ravel(), labels.sum(axis=1) >= 2)


def test_the_command_that_runs_pyods_tests(base, tmp_path):
    tests = tmp_path / "test_ecod.py"
    tests.write_text(
        "import unittest\n"
        "from pyod.models.ecod import ECOD\n"
        "class Tests(unittest.TestCase):\n"
        "    def setUp(self):\n"
        "        self.clf = ECOD(contamination=0.2, n_jobs=2)\n"
        "    def test_passes(self):\n"
        "        self.assertEqual(self.clf.contamination, 0.2)\n"
        "    def test_private(self):\n"
        "        self.clf._predict_rank([[1.0]])\n"
        "    def test_fails(self):\n"
        "        self.clf.predict([[1.0]])\n",
        encoding="utf-8",
    )
    command = Path(__file__).parents[2] / "benchmarks" / "pyod_contract.py"
    result = subprocess.run(
        [sys.executable, str(command), str(tests)], capture_output=True, text=True
    )
    assert "| 3 | 1 | 1 | 1 | 0 |" in result.stdout, result.stderr
    assert result.returncode == 1


def test_where_pyod_asks_for_its_base_class(base):
    """As the page "Coming from PyOD" says."""
    series = pytest.importorskip("pyod.models.ts_od").TimeSeriesOD
    base.register(PyODAdapter)
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(300) / 5) + rng.normal(size=300) / 10
    values[150] += 3
    detector = series(PyODAdapter(LatentOutlierDetector(random_state=0)), window_size=8)
    scores = detector.fit(values).decision_scores_
    assert abs(int(scores.argmax()) - 150) < 8
