"""What a detector's score is, by brute force, and what it depends on."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import median_abs_deviation
from sklearn.decomposition import PCA
from sklearn.preprocessing import FunctionTransformer

from latentsk import (
    LatentOutlierDetector,
    PCAEmbedder,
)
from latentsk.outliers import _detector as detector_module
from latentsk.outliers._bulk import normal_rows
from latentsk.outliers._gaussian import RIDGES, effective_dimensions
from latentsk.outliers._neighbors import minimum_weights
from latentsk.outliers._scales import LEAST_GLOBAL, LEAST_LOCAL
from latentsk.preprocessing._columns import robust_scales

METHODS = ["auto", "distance", "residual", "neighbors", "embedder_score"]


def _detector(**options):
    options = {"embedder": PCAEmbedder(2), "random_state": 0, **options}
    return LatentOutlierDetector(**options)


def _covariance(latents, n_rows, ridge):
    """Of a support from which rows may have been left out: the ridge shrinks too."""
    share = (n_rows - 1) / (len(latents) - 1)
    return np.cov(latents, rowvar=False) + share * ridge * np.eye(latents.shape[1])


def _loo_mahalanobis(latents, support, row, exclude, ridge):
    """By a covariance that is estimated without the row."""
    used = latents[support[support != exclude]]
    away = row - used.mean(axis=0)
    return away @ np.linalg.solve(_covariance(used, len(support), ridge), away)


def _ridge_of(detector, latents):
    """What the detector has added to the variances, one of its shares of their mean."""
    mean = np.cov(latents, rowvar=False).trace() / latents.shape[1]
    added = detector._gaussian.variances.mean() - mean
    assert np.isclose(added / mean, RIDGES, rtol=1e-6).any()
    return added


def _log_deviations(distances, of_training, least):
    """Robust standard deviations of the logarithm above the training rows' median."""
    logarithms = np.log(of_training)
    spread = median_abs_deviation(logarithms, scale="normal")
    return (np.log(distances) - np.median(logarithms)) / max(spread, least)


def _brute(detector, rows, own, X):
    """Every distance of an assume_clean detector, by loops over the latents."""
    pca = PCA(2).fit(X)
    latents, scale, n = pca.transform(X), robust_scales(X), len(X)
    queries = pca.transform(rows)
    ridge = _ridge_of(detector, latents)
    within = np.array(
        [
            _loo_mahalanobis(latents, np.arange(n), q, o, ridge)
            for q, o in zip(queries, own, strict=True)
        ]
    )
    centred = latents - latents.mean(axis=0)
    penalty = (n - 1) * ridge * np.eye(2)
    hat = centred @ np.linalg.solve(centred.T @ centred + penalty, centred.T)
    leverages = np.diag(hat) + 1 / n
    residuals = (rows - pca.inverse_transform(queries)) / scale
    outside = (residuals**2).sum(axis=1)
    outside[own >= 0] /= (1 - leverages[own[own >= 0]]) ** 2
    of_training = (X - pca.inverse_transform(latents)) / scale
    of_training = (of_training**2).sum(axis=1) / (1 - leverages) ** 2
    noise = of_training.mean() / 3 + RIDGES[0] * np.mean(X.var(axis=0) / scale**2)
    among = np.sort(cdist(latents, latents), axis=1)[:, 1:6].mean(axis=1)
    assert among.max() < 10 * np.median(among) < 100 * among.min()
    lengths = cdist(queries, latents)
    lengths[np.flatnonzero(own >= 0), own[own >= 0]] = np.inf
    near = np.sort(lengths**1.5 / np.sqrt(among), axis=1)[:, :5].mean(axis=1)
    # Infinite is only the row itself.
    of_others = [np.sort(of[np.isfinite(of)]) for of in lengths]
    overall = [minimum_weights(len(of)) @ of for of in of_others]
    return {
        "distance": within,
        "residual": outside,
        "joint": within + outside / noise,
        "near": near,
        "overall": np.array(overall),
    }


@pytest.fixture(scope="module")
def beside(new):
    """New rows none of which is near to a training row."""
    return new[10:] + 0.5


@pytest.mark.parametrize("method", ["distance", "residual"])
def test_distance_and_residual_are_minus_their_squares(X, beside, method):
    detector = _detector(method=method, assume_clean=True).fit(X)
    for rows, own in ((X, np.arange(80)), (beside, np.full(10, -1))):
        expected = -_brute(detector, rows, own, X)[method]
        np.testing.assert_allclose(detector.score_samples(rows), expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["auto", "neighbors"])
def test_the_most_suspicious_part_of_clean_rows_is_the_score(X, beside, method):
    detector = _detector(method=method, assume_clean=True).fit(X)
    training = _brute(detector, X, np.arange(80), X)
    # In two dimensions, spreads that chance makes at least.
    least = {"near": LEAST_LOCAL, "overall": LEAST_GLOBAL}
    dimensions = effective_dimensions(detector._gaussian)
    for rows, own in ((X, np.arange(80)), (beside, np.full(10, -1))):
        found = _brute(detector, rows, own, X)
        # Where all rows are clean, the others have to be one deviation more extreme.
        expected = {
            part: _log_deviations(
                found[part], training[part], least.get(part, 0.0) / dimensions
            )
            - (part != "near")
            for part in found
        }
        table = detector.score_parts(rows)
        assert list(table) == list(expected)
        # Floors of a millionth of the median are added before the logarithm.
        for part in expected:
            expected[part] = np.maximum(expected[part], -3 - (part != "near"))
            np.testing.assert_allclose(table[part], -expected[part], atol=1e-3)
        counts = ["near", "overall", *(["joint"] if method == "auto" else [])]
        worst = np.max([expected[part] for part in counts], axis=0)
        np.testing.assert_allclose(detector.score_samples(rows), -worst, atol=1e-4)


def test_rows_that_may_be_outliers_are_judged_by_the_support(X):
    """The embedder, the centre and the noise are those of the rows that look normal."""
    rows = X.copy()
    rows[:8] += 40 * np.array([1, -1, 1, -1, 1.0])
    detector = _detector(method="distance").fit(rows)
    support = detector.index_.ids_[detector._neighborhood.is_support]
    np.testing.assert_array_equal(support, normal_rows(rows, robust_scales(rows)))
    assert support.min() >= 8
    np.testing.assert_allclose(
        np.abs(detector.embedder_.components_),
        np.abs(PCA(2).fit(rows[support]).components_),
    )
    latents = PCA(2).fit(rows[support]).transform(rows)
    ridge = _ridge_of(detector, latents[support])
    expected = [
        -_loo_mahalanobis(latents, support, latents[i], i, ridge) for i in range(80)
    ]
    np.testing.assert_allclose(detector.score_samples(rows), expected, rtol=1e-6)


def test_the_score_is_the_lowest_part(X, new):
    """Of rows that may be outliers, no part has to be ahead of another."""
    rows = np.concatenate([X, new])
    table = _detector().fit(X).score_parts(rows)
    for method, parts in (
        ("auto", ["joint", "near", "overall"]),
        ("neighbors", ["near", "overall"]),
    ):
        detector = _detector(method=method).fit(X)
        lowest = table[parts].min(axis=1)
        np.testing.assert_allclose(detector.score_samples(rows), lowest)
    # The median training row is typical in every one.
    medians = table.iloc[:80].median()
    np.testing.assert_allclose(medians, 0.0, atol=1e-9)
    without = LatentOutlierDetector(random_state=0).fit(X).score_parts(rows)
    assert list(without) == ["distance", "joint", "near", "overall"]


def test_the_embedder_s_own_score(X):
    embedder = PCAEmbedder(2, score_method="reconstruction").fit(X)
    detector = _detector(embedder=embedder, method="embedder_score").fit(X)
    expected = embedder.score_samples(X)
    np.testing.assert_allclose(detector.score_samples(X), expected)
    np.testing.assert_allclose(detector.training_scores_, np.sort(expected))


@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_training_scores_are_the_scores_of_the_training_rows(X, method, assume_clean):
    detector = _detector(method=method, assume_clean=assume_clean).fit(X)
    found = np.sort(detector.score_samples(X))
    np.testing.assert_array_equal(detector.training_scores_, found)
    again = _detector(method=method, assume_clean=assume_clean)
    np.testing.assert_array_equal(again.fit_predict(X), detector.predict(X))


def test_blocks_change_nothing(X, monkeypatch):
    whole = _detector().fit(X)
    monkeypatch.setattr(detector_module, "BLOCK_ELEMENTS", 7 * 5)
    parts = _detector().fit(X)
    np.testing.assert_allclose(parts.training_scores_, whole.training_scores_)
    np.testing.assert_allclose(parts.score_samples(X), whole.score_samples(X))
    pd.testing.assert_frame_equal(parts.score_parts(X), whole.score_parts(X))


def test_residuals_are_in_standard_deviations_of_each_feature(X):
    """For an embedder that keeps the first two features alone."""

    dropping = FunctionTransformer(
        lambda rows: rows[:, :2],
        inverse_func=lambda Z: np.column_stack([Z, np.zeros((len(Z), 3))]),
    )
    detector = _detector(embedder=dropping, method="residual").fit(X)
    rows = X + 0.1
    expected = -((rows[:, 2:] / robust_scales(X)[2:]) ** 2).sum(axis=1)
    np.testing.assert_allclose(detector.score_samples(rows), expected)


def test_residuals_of_an_embedder_fitted_elsewhere_are_honest():
    """Rows that it has not seen are reconstructed no better than others."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, 20))
    rows = rng.normal(size=(5_000, 8)) @ mixing + rng.normal(size=(5_000, 20))
    elsewhere = PCA(8).fit(rows[1_000:])
    detector = _detector(embedder=elsewhere, method="residual", assume_clean=True)
    scores = detector.fit(rows[:30]).score_samples(rows[:1_000])
    residuals = rows[:1_000] - elsewhere.inverse_transform(
        elsewhere.transform(rows[:1_000])
    )
    expected = -((residuals / robust_scales(rows[:30])) ** 2).sum(axis=1)
    np.testing.assert_allclose(scores, expected)


@pytest.mark.parametrize("method", METHODS)
def test_many_rows_are_compared_with_some(X, method):
    detector = _detector(method=method, max_samples=30).fit(X)
    assert detector.index_.n_samples_fit_ == 30
    assert len(detector.training_scores_) == 30
    ids = detector.index_.ids_
    assert (np.diff(ids) > 0).all()
    np.testing.assert_allclose(
        detector.index_.vectors_, detector.embedder_.transform(X)[ids]
    )
    assert np.isin(
        detector.training_scores_.round(9), detector.score_samples(X).round(9)
    ).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_contamination_counts_every_row(X, method):
    detector = _detector(method=method, max_samples=30, contamination=0.25).fit(X)
    assert detector.index_.n_samples_fit_ == 30
    assert len(detector.training_scores_) == 80
    assert np.sum(detector.predict(X) == -1) == 20


def test_ids_are_numbers_of_training_rows(X):
    detector = _detector().fit(
        pd.DataFrame(X, index=np.arange(80) + 1_000).rename(columns=str)
    )
    ids = detector.index_.ids_
    assert len(ids) > 70
    latents = detector.embedder_.transform(pd.DataFrame(X).rename(columns=str))
    np.testing.assert_allclose(detector.index_.vectors_, latents[ids])
    assert ids.max() < 80


def test_without_an_embedder_rows_are_standardized(X):
    factors = np.array([1e-6, 1.0, 1e6, 10.0, 0.1])
    here = LatentOutlierDetector(random_state=0).fit(X)
    there = LatentOutlierDetector(random_state=0).fit(X * factors)
    assert here.parts_ == ["distance", "neighbors"]
    np.testing.assert_allclose(there.training_scores_, here.training_scores_, rtol=1e-6)


def test_the_default_embedder_has_a_score_though_a_column_is_constant(X):
    rows = np.column_stack([X, np.ones(len(X))])
    detector = _detector(embedder=None, method="embedder_score").fit(rows)
    np.testing.assert_allclose(
        detector.score_samples(rows), detector.embedder_.score_samples(rows)
    )
