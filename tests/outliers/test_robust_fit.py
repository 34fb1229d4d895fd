"""Fits to rows that hold outliers: the support, and what it leaves out."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk.outliers._bulk import normal_rows, within_fence
from latentsk.outliers._gaussian import squared_joint
from latentsk.outliers._latent_rows import latent_rows
from latentsk.outliers._robust_fit import MOST_FEATURES, c_steps, fit_robustly
from latentsk.preprocessing._columns import robust_scales


def _contaminated(seed, share, *, scattered=False, n_features=3):
    """Rows along the first axis, and outliers far along the others."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(400, n_features))
    X[:, 0] *= 5.0
    n_outliers = int(400 * share)
    X[:n_outliers] = rng.normal(size=(n_outliers, n_features))
    if scattered:
        away = rng.normal(size=(n_outliers, n_features - 1))
        X[:n_outliers, 1:] += 30 * away / np.linalg.norm(away, axis=1, keepdims=True)
    else:
        X[:n_outliers, 1] += 30.0
    return X, n_outliers


def _fitting(X, fits):
    def fit(support):
        fits.append(support)
        pca = PCA(1).fit(X[support])
        return pca, latent_rows(pca, X, np.ones(X.shape[1]))

    return fit


def _fit(embedder, X, *, chosen=None, assume_clean=False):
    chosen = np.arange(len(X)) if chosen is None else chosen
    return fit_robustly(embedder, X, chosen, assume_clean, np.random.default_rng(0))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("share", "scattered"), [(0.1, False), (0.2, False), (0.25, False), (0.25, True)]
)
def test_the_support_holds_no_planted_outlier(seed, share, scattered):
    X, n_outliers = _contaminated(seed, share, scattered=scattered)
    fits = []
    pca, rows, support = c_steps(_fitting(X, fits), X, X.std(axis=0), 3, True)
    assert support.min() >= n_outliers
    assert [len(positions) for positions in fits] == [300, 300, 300, 300]
    np.testing.assert_array_equal(fits[-1], support)
    np.testing.assert_allclose(rows.latents, pca.transform(X))
    np.testing.assert_allclose(pca.mean_, X[support].mean(axis=0))


def test_without_further_steps_the_support_is_nearest_the_median():
    X, n_outliers = _contaminated(0, 0.2)
    fits = []
    _, _, support = c_steps(_fitting(X, fits), X, X.std(axis=0), 0, True)
    assert len(fits) == 1
    assert len(support) == 300
    assert support.min() >= n_outliers


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("share", "scattered"), [(0.1, False), (0.2, False), (0.2, True)]
)
@pytest.mark.parametrize("embedder", [PCAEmbedder(1), PCA(1)])
def test_the_axis_of_the_clean_rows_is_recovered(seed, share, scattered, embedder):
    X, _ = _contaminated(seed, share, scattered=scattered)
    robust = LatentOutlierDetector(embedder, random_state=0).fit(X)
    assert abs(robust.embedder_.components_[0, 0]) > 0.99
    trusting = LatentOutlierDetector(embedder, assume_clean=True, random_state=0)
    trusting.fit(X)
    np.testing.assert_allclose(
        np.abs(trusting.embedder_.components_), np.abs(PCA(1).fit(X).components_)
    )
    assert abs(trusting.embedder_.components_[0, 0]) < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_planted_outliers_are_found_and_are_no_neighbours(seed):
    X, n_outliers = _contaminated(seed, 0.1)
    detector = LatentOutlierDetector(random_state=0).fit(X)
    labels = detector.predict(X)
    assert (labels[:n_outliers] == -1).all()
    assert np.mean(labels[n_outliers:] == -1) < 0.05
    ids = detector.index_.ids_
    assert ids.min() >= n_outliers
    assert len(ids) > 0.95 * 360


def test_a_linear_embedder_is_fitted_once_to_the_rows_that_look_normal():
    X, n_outliers = _contaminated(0, 0.1)
    fit = _fit(PCAEmbedder(2), X)
    expected = normal_rows(X, robust_scales(X))
    np.testing.assert_array_equal(fit.support, expected)
    np.testing.assert_array_equal(fit.normal, expected)
    assert fit.support.min() >= n_outliers
    reference = PCAEmbedder(2).fit(X[expected])
    np.testing.assert_allclose(fit.embedder.components_, reference.components_)
    np.testing.assert_allclose(fit.rows.latents, reference.transform(X))
    assert fit.gaussian.n_rows == len(expected)


@pytest.mark.parametrize(
    "embedder", [PCA(2), make_pipeline(StandardScaler(), PCA(2)), FunctionTransformer()]
)
def test_any_other_is_fitted_to_three_quarters(embedder):
    X, n_outliers = _contaminated(0, 0.1)
    fit = _fit(embedder, X)
    assert len(fit.support) == 300
    assert fit.support.min() >= n_outliers
    # Its neighbours are all rows that do not lie far out.
    np.testing.assert_array_equal(fit.normal, within_fence(fit.distances))
    assert fit.normal.min() >= n_outliers
    assert len(fit.normal) > 0.95 * 360


def test_a_fitted_embedder_stays_and_only_the_gaussian_is_robust():
    X, n_outliers = _contaminated(0, 0.1)
    embedder = PCAEmbedder(2).fit(X)
    fit = _fit(embedder, X)
    assert fit.embedder is embedder
    assert not fit.gaussian.was_fitted_on
    assert fit.support.min() >= n_outliers
    centre = embedder.transform(X[fit.support]).mean(axis=0)
    np.testing.assert_allclose(fit.gaussian.centre, centre)


@pytest.mark.parametrize("embedder", [PCAEmbedder(2), PCA(2)])
def test_of_clean_rows_every_one_counts(embedder):
    X, _ = _contaminated(0, 0.1)
    fit = _fit(embedder, X, assume_clean=True)
    np.testing.assert_array_equal(fit.support, np.arange(400))
    np.testing.assert_array_equal(fit.normal, np.arange(400))
    np.testing.assert_allclose(fit.gaussian.centre, fit.rows.latents.mean(axis=0))


def test_the_distances_are_those_within_and_outside():
    X, _ = _contaminated(0, 0.1)
    fit = _fit(PCAEmbedder(2), X)
    present = np.isin(np.arange(400), fit.support).astype(float)
    expected = squared_joint(fit.rows, fit.gaussian, present)
    np.testing.assert_array_equal(fit.distances, expected)


def test_only_the_chosen_rows_are_embedded():
    X, _ = _contaminated(0, 0.1)
    chosen = np.arange(0, 400, 2)
    fit = _fit(make_pipeline(StandardScaler(), PCAEmbedder(2)), X, chosen=chosen)
    assert len(fit.rows.latents) == len(fit.distances) == 200
    assert fit.support.max() < 200
    # The steps before it are fitted to all rows.
    np.testing.assert_allclose(fit.embedder[0].mean_, X.mean(axis=0))


def test_many_features_are_left_to_the_embedder():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5)) @ rng.normal(size=(5, MOST_FEATURES + 1))
    X += 0.1 * rng.normal(size=X.shape)
    X[:6] += 5.0 * rng.normal(size=(6, X.shape[1]))
    fit = _fit(PCAEmbedder(5), X)
    assert len(fit.support) == 45
    assert fit.support.min() >= 6


def test_two_valued_features_have_a_ridge_as_wide_as_their_range():
    """A rare category is far out in standard deviations, and not abnormal."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(400, 2)), rng.random(400) < 0.01])
    fit = _fit(PCAEmbedder(3), X.astype(float))
    gaussian = fit.gaussian
    direction = fit.embedder.components_ @ [0.0, 0.0, 1.0]
    widened = (gaussian.axes * gaussian.variances) @ gaussian.axes.T
    assert 1.0 < direction @ widened @ direction < 1.1


@pytest.mark.parametrize("distance", [30.0, 1e3, 1e9])
@pytest.mark.parametrize(("n_features", "spread"), [(3, 0.1), (10, 0.1), (20, 1.0)])
def test_outliers_that_lie_together_do_not_hide(n_features, spread, distance):
    """A mean and a covariance of all rows would be drawn to them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, n_features))
    X[:80] = spread * rng.normal(size=(80, n_features))
    X[:80, 0] += distance
    scores = LatentOutlierDetector(random_state=0).fit(X).score_samples(X)
    assert roc_auc_score(np.arange(400) < 80, -scores) > 0.95
