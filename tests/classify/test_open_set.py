"""None of the classes: p-values, sets, rejection, typicality."""

import warnings

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture

from latentsk import GenerativeClassifier
from latentsk.classify._conformal import lowest_rank

CENTRES = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])


def rows_of(n_rows, seed, classes=3):
    generator = np.random.default_rng(seed)
    y = generator.integers(classes, size=n_rows)
    return CENTRES[y] + generator.normal(size=(n_rows, 2)), y


class Kernel(BaseEstimator):
    """Any density will do for the promise, a bad one too."""

    def __init__(self, width=1.0):
        self.width = width

    def fit(self, X, y=None):
        self.mean_ = X.mean(axis=0)
        return self

    def score_samples(self, X):
        return -np.abs(X - self.mean_).sum(axis=1) / self.width


def mixture(**parameters):
    return GenerativeClassifier(GaussianMixture(), random_state=0, **parameters)


@pytest.fixture(scope="module")
def fitted():
    return mixture().fit(*rows_of(600, 0))


@pytest.mark.parametrize("density", [GaussianMixture(), Kernel(), Kernel(1e-9)])
def test_p_values_of_fresh_rows_of_a_class_are_uniform(density):
    classifier = GenerativeClassifier(density, random_state=0).fit(*rows_of(300, 1))
    found = [[], [], []]
    for seed in range(60):
        X, y = rows_of(330, 100 + seed)
        p_values = classifier.calibrate(X[30:], y[30:]).p_values(X[:30])
        for k in range(3):
            found[k].extend(p_values[:30][y[:30] == k, k])
    for p_values in found:
        assert kstest(p_values, "uniform").pvalue > 1e-3
        # And never below: a p-value is at most a with at most probability a.
        shares = [np.mean(np.array(p_values) <= a) for a in (0.05, 0.2, 0.5)]
        errors = 3 * np.sqrt(np.array([0.05, 0.2, 0.5]) / len(p_values))
        assert (np.array(shares) <= np.array([0.05, 0.2, 0.5]) + errors).all()


def test_p_values_are_ranks_among_calibration_rows(fitted):
    X, y = rows_of(90, 2)
    classifier = fitted.calibrate(X, y)
    for k in range(3):
        own = classifier.p_values(X[y == k])[:, k]
        n_rows = (y == k).sum()
        # Of a calibration row, itself counts: the lowest has 2 / (n + 1).
        np.testing.assert_allclose(
            np.sort(own), np.arange(2, n_rows + 2) / (n_rows + 1)
        )


def test_ties_are_on_the_safe_side(fitted):
    X, y = rows_of(90, 3)
    classifier = fitted.calibrate(np.repeat(X, 4, axis=0), np.repeat(y, 4))
    single = fitted.calibrate(X, y).p_values(X)
    assert (classifier.calibrate(X, y).p_values(X) == single).all()


def test_sets_hold_the_classes_with_higher_p_values(fitted):
    X, y = rows_of(300, 4)
    classifier = fitted.calibrate(X, y)
    rows, _ = rows_of(500, 5)
    for level in (0.05, 0.1, 0.5):
        expected = classifier.p_values(rows) > level
        np.testing.assert_array_equal(classifier.predict_set(rows, level), expected)
    sure = classifier.predict_set(rows, 0.1, confidence=0.95)
    assert (sure >= classifier.predict_set(rows, 0.1)).all()
    assert sure.dtype == bool


def test_the_confident_bound_holds_for_as_many_calibrations_as_it_says(fitted):
    kept, mean = [], []
    for seed in range(100):
        classifier = fitted.calibrate(*rows_of(400, 1_000 + seed))
        # Anew each time, as the error of one sample would be in all rates.
        fresh, labels = rows_of(3_000, 6_000 + seed)
        own = np.arange(len(fresh)), labels
        sure = classifier.predict_set(fresh, 0.1, confidence=0.9)[own]
        usual = classifier.predict_set(fresh, 0.1)[own]
        kept.extend((~sure[labels == k]).mean() <= 0.1 for k in range(3))
        mean.append((~usual).mean())
    # 300 trials of at least 0.9 are at least 0.85 but once in a thousand.
    assert np.mean(kept) > 0.85
    error = np.std(mean) / 10
    assert 0.08 < np.mean(mean) < 0.1 + 2 * error


def test_rejection_is_what_no_class_is_possible_for():
    classifier = mixture(reject=0.05).fit(*rows_of(600, 7))
    rows = np.vstack([rows_of(300, 8)[0], [[3.0, 3.0], [30.0, 0.0], [-9.0, -9.0]]])
    is_empty = ~classifier.predict_set(rows, 0.05).any(axis=1)
    found = classifier.predict(rows)
    np.testing.assert_array_equal(found == -1, is_empty)
    assert is_empty[-3:].all()
    closed = classifier.predict_proba(rows).argmax(axis=1)
    np.testing.assert_array_equal(found[~is_empty], closed[~is_empty])


def test_rows_that_are_set_aside_were_seen_by_no_density():
    X, y = rows_of(500, 9)
    classifier = mixture(reject=0.05, calibration_fraction=0.4).fit(X, y)
    counts = np.bincount(y)
    sizes = [len(scores) for scores in classifier.calibration_scores_]
    assert sizes == [int(0.4 * n) for n in counts]
    np.testing.assert_array_equal(classifier.class_count_, counts)
    # The densities are those of the others alone.
    p_values = classifier.p_values(X)[np.arange(500), y]
    n_calibration = sizes[0] + 1
    assert np.isclose(p_values * n_calibration % 1, 0).any()
    whole = mixture().fit(X, y)
    assert not hasattr(whole, "calibration_scores_")
    assert (whole.estimators_[0].means_ != classifier.estimators_[0].means_).any()


def test_a_small_class_is_calibrated_with_half_of_its_rows_if_that_is_enough():
    X, y = rows_of(600, 10)
    some = np.concatenate([np.flatnonzero(y == k)[: 40 + 60 * k] for k in range(3)])
    classifier = mixture(reject=0.05).fit(X[some], y[some])
    assert [len(s) for s in classifier.calibration_scores_] == [19, 20, 32]


def test_a_class_with_too_few_rows_warns_and_is_not_rejected():
    X, y = rows_of(600, 11)
    some = np.concatenate(
        [np.flatnonzero(y == k)[: [200, 200, 30][k]] for k in range(3)]
    )
    with pytest.warns(UserWarning, match=r"needs 19 .* 2, of which there are 6"):
        classifier = mixture(reject=0.05).fit(X[some], y[some])
    rows, labels = rows_of(500, 12)
    found = classifier.predict(rows)  # which warns no more
    of_small = classifier.predict_proba(rows).argmax(axis=1) == 2
    assert (found[of_small] == 2).all()
    # The others are rejected as before.
    assert 0 < (found[labels < 2] == -1).mean() < 0.12
    assert (classifier.predict([[30.0, -9.0], [0.0, 40.0]]) == [-1, 2]).all()
    with pytest.warns(UserWarning, match="no row is rejected whose most"):
        possible = classifier.predict_set(rows, 0.05)
    assert possible[:, 2].all()


def test_a_level_that_was_set_later_warns_where_it_needs_more_rows():
    classifier = mixture(reject=0.1).fit(*rows_of(300, 13))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.predict([[0.0, 0.0]])
        classifier.set_params(reject=0.2).predict([[0.0, 0.0]])
    with pytest.warns(UserWarning, match="needs 999"):
        classifier.set_params(reject=0.001).predict([[99.0, 99.0]])


@pytest.mark.parametrize("method", ["p_values", "predict_set"])
def test_without_calibration_rows_the_remedies_work(method):
    X, y = rows_of(300, 14)
    classifier = mixture().fit(X[:200], y[:200])
    with pytest.raises(NotFittedError, match=r"reject=0\.05.*calibrate\(X, y\)"):
        getattr(classifier, method)(X)
    assert getattr(classifier.calibrate(X[200:], y[200:]), method)(X).shape == (300, 3)
    again = mixture(reject=0.05).fit(X, y)
    assert getattr(again, method)(X).shape == (300, 3)
    late = mixture().fit(X, y).set_params(reject=0.05)
    with pytest.raises(NotFittedError, match="calibrate"):
        late.predict(X)


def test_calibration_takes_classes_of_the_fit_and_may_lack_some(fitted):
    X, y = rows_of(200, 15)
    before = fitted.calibrate(X, y).p_values(X)
    with pytest.raises(ValueError, match="label 9 in row 0, which is none"):
        fitted.calibrate(X, y + 7)
    np.testing.assert_array_equal(fitted.p_values(X), before)
    some = fitted.calibrate(X[y < 2], y[y < 2]).p_values(X)
    assert (some[:, 2] == 1.0).all()
    np.testing.assert_array_equal(some[:, :2], before[:, :2])
    fitted.calibrate(X, y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 0.0}, "level must be in"),
        ({"level": 1}, "level must be in"),
        ({"level": 0.1, "confidence": 1.0}, "confidence must be in"),
        ({"level": "a"}, "level must be in"),
    ],
)
def test_levels_are_probabilities(fitted, arguments, message):
    classifier = fitted.calibrate(*rows_of(100, 16))
    with pytest.raises(ValueError, match=message):
        classifier.predict_set([[0.0, 0.0]], **arguments)


def test_novelty_sees_rows_between_the_classes_and_beyond_them(fitted):
    known, _ = rows_of(1_000, 17)
    generator = np.random.default_rng(18)
    for place in ([3.0, 3.0], [3.0, 0.0], [14.0, 0.0], [-9.0, -9.0], [6.0, 6.0]):
        unknown = place + 0.5 * generator.normal(size=(200, 2))
        scores = fitted.novelty_score(np.vstack([known, unknown]))
        is_unknown = np.repeat([0, 1], [1_000, 200])
        assert roc_auc_score(is_unknown, scores) > 0.95
        assert (scores >= 0).all()


def test_typicality_is_the_p_value_of_the_answer(fitted):
    classifier = fitted.calibrate(*rows_of(300, 19))
    rows, _ = rows_of(200, 20)
    chosen = classifier.predict_proba(rows).argmax(axis=1)
    expected = classifier.p_values(rows)[np.arange(200), chosen]
    np.testing.assert_array_equal(classifier.typicality(rows), expected)


def test_typicality_needs_no_calibration_rows():
    classifier = mixture().fit(*rows_of(3_000, 21))
    found = classifier.typicality(rows_of(3_000, 22)[0])
    assert kstest(found, "uniform").statistic < 0.05  # a density of few parameters
    centre, beside = classifier.typicality([[0.0, 0.0], [2.6, 0.4]])
    assert centre > 0.9
    assert beside < 0.05


def test_the_mean_false_rejection_over_100_calibrations_is_at_most_the_level():
    classifier = mixture(reject=0.05).fit(*rows_of(600, 24))
    rates = []
    for seed in range(100):
        classifier.calibrate(*rows_of(300, 5_000 + seed))
        fresh, _ = rows_of(2_000, 8_000 + seed)
        rates.append((classifier.predict(fresh) == -1).mean())
    assert np.mean(rates) <= 0.05 + 2 * np.std(rates) / 10
    assert np.mean(rates) > 0.02
    assert lowest_rank(100, 0.05) == 5
