"""Fits to rows that hold outliers: the support, and what it leaves out."""

import numpy as np
import pytest
from scipy.stats import median_abs_deviation
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk.outliers._detector import NEIGHBORS_SHARE
from latentsk.outliers._latent_rows import latent_rows
from latentsk.outliers._robust_fit import (
    SUPPORT_SHARE,
    c_steps,
    distances_from_median,
    nearest_rows,
)


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


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("share", "scattered"), [(0.1, False), (0.2, False), (0.25, False), (0.25, True)]
)
def test_the_support_holds_no_planted_outlier(seed, share, scattered):
    X, n_outliers = _contaminated(seed, share, scattered=scattered)
    fits = []
    pca, rows, support = c_steps(_fitting(X, fits), X, 3, was_fitted_on=True)
    assert support.min() >= n_outliers
    assert [len(positions) for positions in fits] == [300, 300, 300, 300]
    np.testing.assert_array_equal(fits[-1], support)
    np.testing.assert_allclose(rows.latents, pca.transform(X))
    np.testing.assert_allclose(pca.mean_, X[support].mean(axis=0))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("share", "scattered"), [(0.1, False), (0.2, False), (0.2, True)]
)
def test_the_axis_of_the_clean_rows_is_recovered(seed, share, scattered):
    X, _ = _contaminated(seed, share, scattered=scattered)
    robust = LatentOutlierDetector(PCAEmbedder(1), random_state=0).fit(X)
    assert abs(robust.embedder_.components_[0, 0]) > 0.99
    trusting = LatentOutlierDetector(
        PCAEmbedder(1), assume_clean=True, random_state=0
    ).fit(X)
    np.testing.assert_allclose(
        trusting.embedder_.components_, PCAEmbedder(1).fit(X).components_
    )
    assert abs(trusting.embedder_.components_[0, 0]) < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_planted_outliers_are_found_and_are_no_neighbours(seed):
    X, n_outliers = _contaminated(seed, 0.1)
    detector = LatentOutlierDetector(random_state=0).fit(X)
    labels = detector.predict(X)
    assert (labels[:n_outliers] == -1).all()
    assert np.mean(labels[n_outliers:] == -1) < 0.05
    assert len(detector.index_.ids_) == np.ceil(NEIGHBORS_SHARE * 400)
    assert detector.index_.ids_.min() >= n_outliers


def test_without_steps_every_row_is_the_support():
    X, _ = _contaminated(0, 0.2)
    fits = []
    _, _, support = c_steps(_fitting(X, fits), X, 0, was_fitted_on=True)
    np.testing.assert_array_equal(support, np.arange(400))
    assert len(fits) == 1


def test_the_nearest_rows_are_the_share_asked_for():
    assert (SUPPORT_SHARE, NEIGHBORS_SHARE) == (0.75, 0.9)
    distances = np.random.default_rng(0).uniform(size=101)
    for share in (0.1, 0.75, 0.9, 1.0):
        kept = nearest_rows(distances, share)
        assert len(kept) == np.ceil(share * 101)
        assert (np.diff(kept) > 0).all()
        rest = np.delete(distances, kept)
        assert distances[kept].max() < rest.min(initial=np.inf)
    assert len(nearest_rows(distances[:6], 0.1)) == 5
    assert len(nearest_rows(distances[:5], 0.1)) == 5
    assert len(nearest_rows(distances[:2], 0.1)) == 2


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


def test_distances_from_the_median_against_scipy():
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [rng.normal(size=(50, 2)), np.r_[np.zeros(40), rng.normal(size=10)]]
    )
    units = median_abs_deviation(X, axis=0, scale="normal")
    units[2] = 0.1 * X[:, 2].std()
    expected = (((X - np.median(X, axis=0)) / units) ** 2).sum(axis=1)
    np.testing.assert_allclose(distances_from_median(X), expected)
    np.testing.assert_array_equal(distances_from_median(np.ones((9, 2))), 0.0)
