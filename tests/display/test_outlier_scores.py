"""Histograms of scores: what is counted where."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk.display import OutlierScoreDisplay


@pytest.fixture
def scores():
    return np.random.default_rng(0).normal(size=500)


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(200, 4))


@pytest.fixture(scope="module")
def detector(X):
    return LatentOutlierDetector(random_state=0).fit(X)


def counts(histogram, n):
    return histogram.get_data().values * n


def texts(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def test_the_line_is_at_the_threshold_of_the_estimator(detector, X):
    display = OutlierScoreDisplay.from_estimator(detector, X)
    assert_array_equal(display.threshold_line_.get_xdata(), detector.offset_)
    assert display.threshold_line_.get_label() == "threshold"


def test_bars_left_of_the_threshold_are_what_predict_calls_outliers(detector, X):
    rows = X + np.linspace(0.0, 5.0, len(X))[:, None]
    display = OutlierScoreDisplay.from_estimator(detector, rows)
    values, edges, _ = display.histograms_[0].get_data()
    left = values[edges[:-1] < detector.offset_].sum() * len(X)
    assert_allclose(left, np.sum(detector.predict(rows) == -1))


def test_a_score_at_the_threshold_is_not_on_the_side_of_outliers():
    display = OutlierScoreDisplay([0.1] * 3 + [0.7, 0.9], 0.1).plot()
    values, edges, _ = display.histograms_[0].get_data()
    assert values[edges[:-1] < 0.1].sum() == 0.0


@pytest.mark.parametrize("far", [[-1e6] * 4, [-np.inf, -1e300], [-1e6, 1e6, np.inf]])
def test_long_tails_are_counted_in_the_outermost_bins(scores, far):
    scores[: len(far)] = far
    display = OutlierScoreDisplay(scores, -3.0).plot()
    values, edges, _ = display.histograms_[0].get_data()
    assert_allclose(values.sum() * 500, 500)
    assert_allclose(values[0] * 500, np.sum(np.less(far, 0)))
    assert_allclose(values[edges[1:] > 8.0].sum() * 500, np.sum(np.greater(far, 0)))
    assert edges[0] > -20.0
    assert edges[-1] < 20.0


def test_the_axis_names_what_the_outermost_bins_collect(scores):
    scores[:3] = -1e6
    ax = OutlierScoreDisplay(scores, -3.0).plot().ax_
    assert [text[:2] for text in texts(ax) if text[0] in "<≥"] == ["< "]
    scores[3] = 1e6
    ax = OutlierScoreDisplay(scores, -3.0).plot().ax_
    assert [text[:2] for text in texts(ax) if text[0] in "<≥"] == ["< ", "≥ "]


def test_short_tails_are_shown_as_they_are(scores):
    display = OutlierScoreDisplay(scores, None).plot()
    edges = display.histograms_[0].get_data().edges
    assert_allclose(edges[[0, -1]], [scores.min(), scores.max()])
    assert not any("<" in text or "≥" in text for text in texts(display.ax_))


def test_a_threshold_outside_of_the_scores_is_shown(scores):
    for threshold in (-1000.0, 1000.0):
        ax = OutlierScoreDisplay(scores, threshold).plot().ax_
        low, high = ax.get_xlim()
        assert low < threshold < high


def test_every_histogram_has_the_same_area(scores):
    display = OutlierScoreDisplay(
        scores, -3.0, reference_scores=scores[:70] + 1.0, labels=scores > 1.0
    ).plot()
    drawn = [*display.histograms_, display.reference_]
    assert len(drawn) == 3
    for histogram in drawn:
        values, edges, _ = histogram.get_data()
        assert_allclose(values.sum(), 1.0)
        assert_array_equal(edges, display.reference_.get_data().edges)


def test_the_reference_is_the_training_rows_scores(detector, X):
    display = OutlierScoreDisplay.from_estimator(detector, X)
    assert_array_equal(display.reference_scores, detector.training_scores_)
    assert_allclose(
        display.reference_.get_data().values, display.histograms_[0].get_data().values
    )


def test_each_class_is_counted_alone(detector, X):
    y = np.repeat(["good", "bad"], [150, 50])
    display = OutlierScoreDisplay.from_estimator(detector, X, y=y)
    edges = display.reference_.get_data().edges
    scores = detector.score_samples(X)
    for histogram, label, n in zip(
        display.histograms_, ["bad", "good"], [50, 150], strict=True
    ):
        expected, _ = np.histogram(scores[y == label], edges)
        assert_allclose(counts(histogram, n), expected)
        assert histogram.get_label() == f"{label} ({n})"
    colors = {histogram.get_facecolor() for histogram in display.histograms_}
    assert len(colors) == 2


def test_an_estimator_without_a_threshold(X):
    mixture = GaussianMixture(random_state=0).fit(X)
    display = OutlierScoreDisplay.from_estimator(mixture, X)
    assert display.threshold is None
    assert display.threshold_line_ is None
    assert display.reference_ is None
    assert display.ax_.get_title() == "GaussianMixture"


@pytest.mark.parametrize(
    "estimator",
    [
        PCAEmbedder(2),
        make_pipeline(StandardScaler(), PCAEmbedder(2)),
        IsolationForest(n_estimators=10, random_state=0),
        OneClassSVM(),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_embedders_pipelines_and_other_detectors(estimator, X):
    display = OutlierScoreDisplay.from_estimator(estimator.fit(X), X)
    final = estimator[-1] if hasattr(estimator, "steps") else estimator
    assert display.threshold == final.offset_
    assert_allclose(display.scores, estimator.score_samples(X))


def test_a_threshold_that_was_never_set_is_none(X):
    embedder = PCAEmbedder(2).fit(X)
    embedder.offset_ = float("nan")
    assert OutlierScoreDisplay.from_estimator(embedder, X).threshold is None


def test_given_axes_are_drawn_on(scores):
    figure, ax = plt.subplots()
    display = OutlierScoreDisplay(scores, -3.0).plot(ax, name="mine")
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert ax.get_title() == "mine"
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("scores", [[1.0], [2.0] * 9, [0.0] * 99 + [1.0], [-np.inf]])
@pytest.mark.parametrize("threshold", [None, 2.0, 1e12])
def test_scores_that_hardly_differ(scores, threshold):
    display = OutlierScoreDisplay(scores, threshold).plot()
    assert_allclose(display.histograms_[0].get_data().values.sum(), 1.0)
    display.figure_.canvas.draw()


def test_text_that_looks_like_a_formula_is_drawn_as_it_is(scores):
    labels = np.where(scores > 0.0, r"$\no$", "$")
    OutlierScoreDisplay(scores, None, labels=labels, name=r"$\x$").plot()
    plt.gcf().canvas.draw()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": [np.nan, 1.0]}, "scores must be"),
        ({"scores": [[1.0]]}, "scores must be"),
        ({"scores": []}, "minimum of 1"),
        ({"threshold": np.nan}, "threshold must be"),
        ({"labels": [1]}, "inconsistent"),
        ({"reference_scores": [np.nan]}, "reference_scores must be"),
    ],
)
def test_bad_input(changed, message):
    given = {"scores": [1.0, 2.0], "threshold": 0.0} | changed
    with pytest.raises(ValueError, match=message):
        OutlierScoreDisplay(**given).plot()
    assert plt.get_fignums() == []


@pytest.mark.parametrize("bins", [0, 2.5, "auto"])
def test_bad_bins(scores, bins):
    with pytest.raises(ValueError, match="bins must be an integer"):
        OutlierScoreDisplay(scores, None).plot(bins=bins)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch, detector, X):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"latentsk\[plot\]"):
        OutlierScoreDisplay.from_estimator(detector, X)
    with pytest.raises(ImportError, match=r"latentsk\[plot\]"):
        OutlierScoreDisplay([0.0], None).plot()
