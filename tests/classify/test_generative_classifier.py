"""GenerativeClassifier: Bayes' rule of known models, and what it takes and refuses."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import norm
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits, load_iris
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import (
    AutoencoderEmbedder,
    GenerativeClassifier,
    HierarchicalVAEEmbedder,
    LatentOutlierDetector,
    PCAEmbedder,
    VAEEmbedder,
    VQVAEEmbedder,
)
from latentsk.exceptions import PriorMismatchWarning

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8,), "device": "cpu"}


class Independent(BaseEstimator):
    """Independent normal columns, with the least variance of GaussianNB."""

    def __init__(self, least=0.0):
        self.least = least

    def fit(self, X, y=None):
        self.mean_ = X.mean(axis=0)
        self.scale_ = np.sqrt(X.var(axis=0) + self.least)
        return self

    def score_samples(self, X):
        return norm.logpdf(X, self.mean_, self.scale_).sum(axis=1)


class Normal(BaseEstimator):
    """One normal distribution."""

    def fit(self, X, y=None):
        self.mean_, covariance = X.mean(axis=0), np.cov(X.T, bias=True)
        self.precision_ = np.linalg.inv(covariance)
        self.constant_ = np.linalg.slogdet(2 * np.pi * covariance)[1]
        return self

    def score_samples(self, X):
        centred = X - self.mean_
        squared = np.sum(centred @ self.precision_ * centred, axis=1)
        return -0.5 * (self.constant_ + squared)


def fitted(estimator=None, **parameters):
    estimator = Normal() if estimator is None else estimator
    return GenerativeClassifier(estimator, random_state=0, **parameters)


# Bayes' rule


@pytest.mark.parametrize("priors", [None, [0.7, 0.2, 0.1]])
def test_it_equals_gaussian_naive_bayes(priors):
    peer = GaussianNB(priors=priors).fit(X, Y)
    ours = fitted(Independent(peer.epsilon_), priors=priors).fit(X, Y)
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X))
    found, expected = ours.predict_log_proba(X), peer.predict_log_proba(X)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(ours.class_prior_, peer.class_prior_)
    np.testing.assert_array_equal(ours.predict(X), peer.predict(X))
    np.testing.assert_array_equal(ours.class_count_, peer.class_count_)


@pytest.mark.parametrize("density", [Normal(), GaussianMixture(reg_covar=0.0)])
def test_it_equals_quadratic_discriminant_analysis(density):
    peer = QuadraticDiscriminantAnalysis().fit(X, Y)
    ours = fitted(density).fit(X, Y)
    found, expected = ours.predict_proba(X), peer.predict_proba(X)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(ours.predict(X), peer.predict(X))


def test_densities_are_those_of_the_class_and_of_all():
    classifier = fitted(KernelDensity(bandwidth=0.5)).fit(X, Y)
    found = classifier.class_score_samples(X[:9])
    for k in range(3):
        peer = KernelDensity(bandwidth=0.5).fit(X[k == Y])
        np.testing.assert_allclose(found[:, k], peer.score_samples(X[:9]))
    whole = KernelDensity(bandwidth=0.5).fit(X)  # as many rows of each class
    np.testing.assert_allclose(classifier.score_samples(X), whole.score_samples(X))


def test_one_class_is_certain():
    classifier = fitted().fit(X[Y == 1], NAMES[Y == 1])
    assert (classifier.predict(X) == "versicolor").all()
    assert (classifier.predict_proba(X) == 1.0).all()
    novelty = classifier.novelty_score(X)
    assert novelty[Y == 0].min() > novelty[Y == 1].max()


def test_rows_out_of_range_have_the_probabilities_of_the_priors():
    density = KernelDensity(kernel="tophat", bandwidth=0.5)
    classifier = fitted(density, priors=[0.2, 0.5, 0.3]).fit(X, Y)
    far = X[:3] + np.array([[10.0], [1e90], [1e101]])
    np.testing.assert_allclose(classifier.predict_proba(far), [[0.2, 0.5, 0.3]] * 3)
    assert np.isfinite(classifier.class_score_samples(far)).all()
    assert np.isfinite(classifier.score_samples(far)).all()
    assert np.isfinite(classifier.novelty_score(far)).all()


@pytest.mark.parametrize("density", [PCAEmbedder(2), VAEEmbedder(2, **SMALL)])
def test_any_finite_row_is_scored(density):
    classifier = fitted(density, reject=0.1).fit(X, Y)
    far = X[:4] * np.array([[1e20], [1e101], [-1e300], [1.0]])
    probabilities = classifier.predict_proba(far)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert classifier.predict(far).tolist()[:3] == [-1, -1, -1]


# Labels


@pytest.mark.parametrize(
    "dtype", ["int64", "int8", "uint8", "float64", "str", "object", "bool"]
)
def test_answers_have_the_dtype_of_the_classes(dtype):
    labels = {"str": NAMES, "object": NAMES.astype(object), "bool": Y == 0}
    y = labels.get(dtype)
    y = Y.astype(dtype) if y is None else y
    classifier = fitted().fit(X, y)
    assert classifier.classes_.dtype == classifier.predict(X).dtype == y.dtype
    assert classifier.score(X, y) > 0.95


@pytest.mark.parametrize(
    ("y", "unknown"),
    [
        (Y, -1),
        (NAMES, "none of them all"),
        (Y.astype("u1"), 99),
        (Y.astype("u1"), -1),
        (Y.astype("i1"), 1000),
    ],
)
def test_the_unknown_label_is_an_answer_and_no_class(y, unknown):
    known = Y > 0
    classifier = fitted(reject=0.05, unknown_label=unknown).fit(X[known], y[known])
    found = classifier.predict(X)
    assert (found[~known] == unknown).all()
    assert unknown not in classifier.classes_
    assert classifier.predict_proba(X).shape == (150, 2)
    assert classifier.classes_.dtype == y.dtype
    assert (found[known] == y[known]).mean() > 0.9


@pytest.mark.parametrize("unknown", [2, "none", None])
def test_the_unknown_label_is_checked_where_rows_may_be_rejected(unknown):
    assert fitted(unknown_label=unknown).fit(X, Y).score(X, Y) > 0.95
    with pytest.raises(ValueError, match="unknown_label"):
        fitted(unknown_label=unknown, reject=0.1).fit(X, Y)
    ready = fitted(reject=0.1).fit(X, Y)
    with pytest.raises(ValueError, match="unknown_label"):
        ready.set_params(unknown_label=unknown).predict(X)


# Parameters


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ([0.5, 0.5], "each of the 3 classes"),
        ([0.5, 0.5, 0.5], "priors / np.sum"),
        ([1.5, -0.5, 0.0], "negative"),
        (["a", "b", "c"], "numbers"),
    ],
)
def test_priors_fit_the_classes(priors, message):
    with pytest.raises(ValueError, match=message):
        fitted(priors=priors).fit(X, Y)


def test_a_prior_of_zero_rules_a_class_out():
    classifier = fitted(priors=[0.0, 0.5, 0.5]).fit(X, Y)
    assert (classifier.predict(X) != 0).all()


NO_DENSITIES = [
    (AutoencoderEmbedder(), "reconstruction error"),
    (PCAEmbedder(score_method="reconstruction"), "Set score_method='likelihood'"),
    (VAEEmbedder(score_method="kl"), "Set score_method='elbo'"),
    (VAEEmbedder(input_shape=(1, 2, 2), score_window=1), "Set score_window=None"),
    (IsolationForest(), "score without units"),
    (LocalOutlierFactor(novelty=True), "score without units"),
    (LatentOutlierDetector(), "score without units"),
    (FrozenEstimator(GaussianMixture()), "estimator.estimator"),
    (make_pipeline(StandardScaler(), GaussianMixture()), "before the classifier"),
    (
        GridSearchCV(IsolationForest(), {"n_estimators": [1]}),
        "score without units",
    ),
]


@pytest.mark.parametrize(
    ("estimator", "message"), NO_DENSITIES, ids=[str(i) for i in range(10)]
)
def test_what_is_no_density_is_refused(estimator, message):
    with pytest.raises(ValueError, match=message):
        GenerativeClassifier(estimator).fit(X, Y)


@pytest.mark.filterwarnings("ignore::latentsk.exceptions.PosteriorCollapseWarning")
@pytest.mark.parametrize(
    "embedder",
    [
        HierarchicalVAEEmbedder((2, 1), **SMALL),
        VQVAEEmbedder(n_codes=8, **SMALL),
    ],
    ids=lambda embedder: type(embedder).__name__,
)
def test_every_embedder_with_a_likelihood_will_do(embedder):
    classifier = fitted(embedder, reject=0.1).fit(X, Y)
    assert classifier.predict_set(X, 0.1).shape == (150, 3)
    assert classifier.sample(4, y=1, random_state=0)[0].shape == (4, 4)


def test_the_remedy_for_a_pipeline_works():
    pipeline = make_pipeline(StandardScaler(), GaussianMixture())
    whole = make_pipeline(*pipeline[:-1], GenerativeClassifier(pipeline[-1]))
    assert whole.fit(X, Y).score(X, Y) > 0.95


def test_an_estimator_is_an_instance_with_a_density():
    with pytest.raises(TypeError, match="instance"):
        GenerativeClassifier(PCAEmbedder).fit(X, Y)
    with pytest.raises(ValueError, match="score_samples"):
        GenerativeClassifier(StandardScaler()).fit(X, Y)


def test_a_failed_fit_names_the_class_and_leaves_the_classifier_as_it_was():
    y = np.where(np.arange(150) == 149, "rare", NAMES)
    classifier = fitted(GaussianMixture(2)).fit(X, Y)
    before = classifier.predict_proba(X)
    with pytest.raises(ValueError, match=r"1 row\(s\) of class 'rare'"):
        classifier.fit(X, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), before)


class Warns(Normal):
    """A density that warns in words of its own, with numbers of its rows."""

    def fit(self, X, y=None):
        if X[:, 0].mean() > 5.5:
            warnings.warn(f"Rows are wide: {X[:, 0].max():.2f}.", stacklevel=2)
        if X[:, 0].mean() > 6.5:
            warnings.warn("Rows are odd.", RuntimeWarning, stacklevel=2)
        return super().fit(X)


def test_a_warning_of_several_densities_comes_once_and_names_their_classes():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted(Warns()).fit(X, NAMES)
    widest = X[Y == 1, 0].max()
    assert [(w.category, str(w.message)) for w in caught] == [
        (
            UserWarning,
            f"Rows are wide: {widest:.2f}. (Said of the density of class "
            "'versicolor', and the like of 'virginica'.)",
        ),
        (RuntimeWarning, "Rows are odd. (Said of the density of class 'virginica'.)"),
    ]
    assert {w.filename for w in caught} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.raises(RuntimeWarning, match="odd"):
            fitted(Warns()).fit(X, Y)


def test_images_with_a_scale_too_small_are_told_to_fix_a_larger_one():
    images = load_digits().images / 16
    y = load_digits().target
    some = np.flatnonzero(y < 2)
    density = VAEEmbedder(4, likelihood_scale=0.005, max_epochs=8, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted(density).fit(images[some], y[some])
    (told,) = (w for w in caught if w.category is PriorMismatchWarning)
    assert "Fix a larger likelihood_scale (0.01, say)." in str(told.message)
    assert "class 0, and the like of 1" in str(told.message)
    assert "likelihood_scale='feature'" not in str(told.message)


def test_messages_count_the_rows_of_all_classes():
    broken = X.copy()
    broken[120, 1] = np.nan
    with pytest.raises(ValueError, match="row 120"):
        fitted(PCAEmbedder(1)).fit(broken, Y)
    broken[120, 1] = 1e101
    with pytest.raises(ValueError, match="row 120"):
        fitted(PCAEmbedder(1)).fit(broken, Y)


# Kinds of rows


@pytest.mark.parametrize("density", [PCAEmbedder(2), VAEEmbedder(2, **SMALL)])
def test_tables_keep_their_names(density, recwarn):
    table = pd.DataFrame(X, columns=list("abcd"))
    classifier = fitted(density, reject=0.1).fit(table, pd.Series(Y))
    assert classifier.feature_names_in_.tolist() == list("abcd")
    plain = fitted(density, reject=0.1).fit(X, Y)
    np.testing.assert_allclose(classifier.p_values(table), plain.p_values(X))
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(table[list("dcba")])


def test_integers_are_scored_as_floats():
    whole = np.round(X * 10).astype(np.int64)
    found = fitted(GaussianMixture()).fit(whole, Y).class_score_samples(whole)
    expected = fitted(GaussianMixture()).fit(whole * 1.0, Y).class_score_samples(whole)
    np.testing.assert_array_equal(found, expected)


def test_sparse_rows_where_the_density_takes_them():
    rows = sparse.csr_array(X)
    density = PCAEmbedder(2, svd_solver="covariance_eigh")
    found = fitted(density).fit(rows, Y).predict_proba(rows)
    np.testing.assert_allclose(found, fitted(density).fit(X, Y).predict_proba(X))
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        fitted().fit(rows, Y)


@pytest.mark.filterwarnings("ignore:The posterior collapsed")
def test_mixed_tables_have_the_same_likelihood_in_every_class():
    generator = np.random.default_rng(0)
    y = np.repeat([0, 1], 60)
    table = pd.DataFrame(
        {
            "size": generator.normal(size=120) + y,
            # Zeros and ones in one class alone.
            "count": np.where(y, generator.poisson(5.0, 120), y),
            "kind": generator.choice(["a", "b"], 120),
        }
    )
    density = VAEEmbedder(1, likelihood={"kind": "categorical"}, **SMALL)
    classifier = fitted(density).fit(table, y)
    first, second = (e.likelihood_ for e in classifier.estimators_)
    assert first == second
    assert classifier.predict(table).shape == (120,)
    drawn, _ = classifier.sample(5, random_state=0)
    assert list(drawn) == list(table)


@pytest.mark.filterwarnings("ignore:The posterior collapsed")
def test_zeros_and_ones_of_one_class_do_not_decide_for_it_alone():
    rows = np.random.default_rng(0).integers(0, 2, size=(80, 3)) * 1.0
    y = np.repeat([0, 1], 40)
    both = fitted(VAEEmbedder(1, **SMALL)).fit(rows, y)
    assert [e.likelihood_ for e in both.estimators_] == ["bernoulli"] * 2
    rows[40:] += 0.5
    both = fitted(VAEEmbedder(1, **SMALL)).fit(rows, y)
    assert [e.likelihood_ for e in both.estimators_] == ["gaussian"] * 2


@pytest.mark.filterwarnings("ignore::latentsk.exceptions.PosteriorCollapseWarning")
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_a_column_that_is_constant_in_a_class_has_a_scale_in_any_unit(unit):
    generator = np.random.default_rng(0)
    rows, y = generator.normal(size=(400, 3)), np.repeat([0, 1], 200)
    rows[:200, 1] = 0.0  # where the other class is dense, too
    rows[:, 2] = 7.0
    density = VAEEmbedder(1, max_epochs=30, hidden_layer_sizes=(8,), device="cpu")
    classifier = fitted(density).fit(rows[::2] * [1.0, unit, unit], y[::2])
    # Bayes' rule by the noise: a tenth as wide, rows of the second are seldom as near.
    assert classifier.score(rows[1::2] * [1.0, unit, unit], y[1::2]) > 0.85
    found = classifier.class_score_samples(
        np.array([[0.0, 0.0, 7.0]]) * [1, unit, unit]
    )
    ratio = found[0, 0] - found[0, 1]
    assert 0.5 < ratio < 4.5  # log 10, in any unit


def test_images_are_taken_as_the_density_takes_them():
    images = np.random.default_rng(0).uniform(size=(60, 6, 5, 3)).astype(np.float32)
    y = np.repeat([0, 1], 30)
    images[:30, :3] *= 0.1
    classifier = fitted(VAEEmbedder(2, **SMALL), reject=0.1).fit(images, y)
    channels_first = np.moveaxis(images, 3, 1)
    found = classifier.class_score_samples(images)
    np.testing.assert_allclose(classifier.class_score_samples(channels_first), found)
    drawn, labels = classifier.sample(4, random_state=0)
    assert drawn.shape == (4, 6, 5, 3)
    assert labels.shape == (4,)


# New rows


@pytest.mark.parametrize(
    "density",
    [GaussianMixture(), KernelDensity(bandwidth=0.2), VAEEmbedder(2, **SMALL)],
)
def test_samples_are_of_the_classes_asked_for(density):
    classifier = fitted(density).fit(X, NAMES)
    rows, labels = classifier.sample(300, random_state=0)
    again, _ = classifier.sample(300, random_state=0)
    other, _ = classifier.sample(300, random_state=1)
    np.testing.assert_array_equal(rows, again)
    assert (rows != other).any()
    assert rows.shape == (300, 4)
    assert set(labels) == set(NAMES)
    rows, labels = classifier.sample(50, "virginica", random_state=0)
    assert (labels == "virginica").all()
    wanted = NAMES[::3]
    rows, labels = classifier.sample(50, wanted, random_state=0)
    assert (labels == wanted).all()
    if not isinstance(density, VAEEmbedder):
        assert classifier.score(rows, wanted) > 0.9


def test_samples_need_a_density_that_draws_and_labels_that_there_are():
    with pytest.raises(AttributeError, match="sample"):
        fitted(Normal()).fit(X, Y).sample(3)
    classifier = fitted(GaussianMixture()).fit(X, Y)
    with pytest.raises(ValueError, match="none of the classes"):
        classifier.sample(3, y=7)
    with pytest.raises(ValueError, match="one for each of n_samples=3"):
        classifier.sample(3, y=[0, 1])
    with pytest.raises(ValueError, match="n_samples must be an integer"):
        classifier.sample(0)


def test_samples_by_priors_have_their_shares():
    classifier = fitted(GaussianMixture(), priors=[0.1, 0.0, 0.9]).fit(X, Y)
    counts = np.bincount(classifier.sample(2_000, random_state=0)[1], minlength=3)
    np.testing.assert_allclose(counts / 2_000, [0.1, 0.0, 0.9], atol=0.03)


# With the tools of scikit-learn


def test_it_works_in_pipelines_and_searches():
    whole = make_pipeline(StandardScaler(), fitted(GaussianMixture()))
    assert cross_val_score(whole, X, NAMES).mean() > 0.95
    grid = {"estimator__n_components": [1, 2], "reject": [None, 0.1]}
    search = GridSearchCV(fitted(GaussianMixture()), grid, cv=3).fit(X, Y)
    assert search.best_score_ > 0.95
    # A search of each class for itself compares densities of the same rows.
    own = GridSearchCV(KernelDensity(), {"bandwidth": [0.1, 0.3, 1.0]})
    assert fitted(own).fit(X, Y).score(X, Y) > 0.95


def test_it_depends_on_its_random_state_alone():
    density = VAEEmbedder(2, **SMALL)
    first = fitted(density, reject=0.2).fit(X, Y).p_values(X)
    second = clone(fitted(density, reject=0.2)).fit(X, Y).p_values(X)
    np.testing.assert_array_equal(first, second)
    other = GenerativeClassifier(density, reject=0.2, random_state=1)
    assert (other.fit(X, Y).p_values(X) != first).any()


def test_a_row_is_judged_by_itself():
    classifier = fitted(VAEEmbedder(2, **SMALL), reject=0.2).fit(X, Y)
    for method in ("class_score_samples", "p_values", "novelty_score", "typicality"):
        whole = getattr(classifier, method)(X)
        alone = [getattr(classifier, method)(row[None])[0] for row in X[::30]]
        np.testing.assert_allclose(whole[::30], alone, rtol=1e-9)


def test_it_is_pickled():
    classifier = fitted(reject=0.1).fit(X, Y)
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.p_values(X), classifier.p_values(X))
