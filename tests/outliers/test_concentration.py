"""The bulk of rows with outliers among them, and distances from it."""

import numpy as np
import pytest
from scipy.stats import median_abs_deviation
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk.outliers.concentration import (
    CORE_SHARE,
    REFERENCE_SHARE,
    bulk_of,
    concentrate,
    distances_from,
    distances_from_median,
    nearest_rows,
    squared_residuals,
    squared_within,
)
from latentsk.outliers.latent_space import Coordinates, coordinates


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
    def fit(numbers):
        fits.append(numbers)
        return coordinates(PCA(1).fit(X[numbers]), X, np.ones(X.shape[1]))

    return fit


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("share", "scattered"), [(0.1, False), (0.2, False), (0.25, False), (0.25, True)]
)
def test_the_core_holds_no_planted_outlier(seed, share, scattered):
    X, n_outliers = _contaminated(seed, share, scattered=scattered)
    fits = []
    found, core = concentrate(_fitting(X, fits), X, 3, is_seen=True)
    assert core.min() >= n_outliers
    assert [len(numbers) for numbers in fits] == [300, 300, 300, 300]
    np.testing.assert_array_equal(fits[-1], core)
    clean = PCA(1).fit(X[core])
    np.testing.assert_allclose(found.latents, clean.transform(X))


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
    assert len(detector.index_.ids_) == np.ceil(REFERENCE_SHARE * 400)
    assert detector.index_.ids_.min() >= n_outliers


def test_without_steps_every_row_is_the_core():
    X, _ = _contaminated(0, 0.2)
    fits = []
    _, core = concentrate(_fitting(X, fits), X, 0, is_seen=True)
    np.testing.assert_array_equal(core, np.arange(400))
    assert len(fits) == 1


def test_the_nearest_rows_are_the_share_asked_for():
    assert (CORE_SHARE, REFERENCE_SHARE) == (0.75, 0.9)
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


@pytest.fixture(scope="module")
def rows():
    X = np.random.default_rng(0).normal(size=(50, 6)) * [5, 4, 1, 1, 1, 1]
    return coordinates(PCA(2).fit(X), X, X.std(axis=0))


def test_the_noise_is_the_mean_squared_residual_per_direction(rows):
    bulk = bulk_of(rows)
    # Residuals in standard deviations: four directions, and a ridge of 0.1.
    outside = np.mean((rows.residuals**2).sum(axis=1)) / 4
    assert bulk.noise == pytest.approx(outside + 0.1)
    expected = rows.latents.var(axis=0, ddof=1).sum() * 0.1 / 6
    assert bulk.ellipsoid.ridge == pytest.approx(expected)


def test_the_noise_never_vanishes():
    latents = np.zeros((4, 1))
    nothing = Coordinates(np.ones((4, 1)), latents, np.zeros((4, 1)), np.ones(1))
    assert bulk_of(nothing).noise == 1.0
    none = Coordinates(np.ones((4, 1)), latents, None, np.ones(1))
    assert bulk_of(none).noise == 1.0
    everything = np.ones(4, bool)
    found = squared_residuals(none, bulk_of(none), everything)
    np.testing.assert_array_equal(found, np.zeros(4))


def test_more_components_than_features_leave_one_direction_of_noise():
    rng = np.random.default_rng(0)
    features, latents = rng.normal(size=(20, 2)), rng.normal(size=(20, 5))
    rows = Coordinates(features, latents, 0.1 * features, np.ones(2))
    bulk = bulk_of(rows)
    squares = (0.01 * features**2).sum(axis=1).mean()
    variance = features.var(axis=0).mean()
    assert bulk.noise == pytest.approx(squares + 0.1 * variance)
    total = latents.var(axis=0, ddof=1).sum()
    assert bulk.ellipsoid.ridge == pytest.approx(0.1 * total / 5)


def test_rows_of_the_core_are_measured_without_themselves(rows):
    bulk = bulk_of(rows)
    is_core = np.arange(50) < 10
    found = squared_within(rows, bulk, is_core)
    for i in (0, 9, 10, 49):
        used = np.delete(rows.latents, i, axis=0) if is_core[i] else rows.latents
        covariance = np.cov(used, rowvar=False) + bulk.ellipsoid.ridge * np.eye(2)
        away = rows.latents[i] - used.mean(axis=0)
        expected = away @ np.linalg.solve(covariance, away)
        assert found[i] == pytest.approx(expected)


def test_residuals_of_the_core_are_those_of_a_regression_without_the_row():
    """For least squares on the latents it is exact (Allen's PRESS)."""
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(25, 2))
    features = latents @ rng.normal(size=(2, 4)) + rng.normal(size=(25, 4))
    design = np.column_stack([np.ones(25), latents])
    residuals = features - design @ np.linalg.lstsq(design, features)[0]
    rows = Coordinates(features, latents, residuals, np.ones(4))
    found = squared_residuals(rows, bulk_of(rows), np.ones(25, bool))
    for i in range(25):
        others = np.delete(np.arange(25), i)
        fitted = np.linalg.lstsq(design[others], features[others])[0]
        expected = np.sum((features[i] - design[i] @ fitted) ** 2)
        assert found[i] == pytest.approx(expected)
    plain = squared_residuals(rows, bulk_of(rows), np.zeros(25, bool))
    np.testing.assert_allclose(plain, (residuals**2).sum(axis=1))


def test_a_row_with_a_direction_to_itself_has_a_finite_residual():
    latents = np.zeros((10, 1))
    latents[0] = 1.0
    residuals = np.full((10, 3), 1e-9)
    rows = Coordinates(np.ones((10, 3)), latents, residuals, np.ones(3))
    found = squared_residuals(rows, bulk_of(rows), np.ones(10, bool))
    assert np.isfinite(found).all()
    assert found[0] < 1e-10


def test_distances_add_both_sides(rows):
    core = np.arange(5, 45)
    found = distances_from(rows, core, is_seen=True)
    bulk = bulk_of(rows.at(core))
    outsiders = np.r_[0:5, 45:50]
    model = EmpiricalCovariance().fit(rows.latents[core])
    covariance = model.covariance_ * 40 / 39 + bulk.ellipsoid.ridge * np.eye(2)
    away = rows.latents[outsiders] - model.location_
    within = np.einsum("ij,ij->i", away @ np.linalg.inv(covariance), away)
    outside = (rows.residuals[outsiders] ** 2).sum(axis=1) / bulk.noise
    np.testing.assert_allclose(found[outsiders], within + outside)
    own = squared_within(rows, bulk, np.isin(np.arange(50), core))
    design = np.column_stack([np.ones(40), rows.latents[core]])
    hat = design @ np.linalg.pinv(design)
    enlarged = rows.residuals[core] / (1 - np.diag(hat))[:, None]
    expected = own[core] + (enlarged**2).sum(axis=1) / bulk.noise
    np.testing.assert_allclose(found[core], expected)
    honest = distances_from(rows, core, is_seen=False)
    residuals = (rows.residuals[core] ** 2).sum(axis=1)
    np.testing.assert_allclose(honest[core], own[core] + residuals / bulk.noise)


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
