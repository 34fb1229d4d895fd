"""LatentOutlierDetector: its scores by brute force, and every kind of input."""

import copy
import json
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import median_abs_deviation
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, KernelPCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from latentsk import (
    AutoencoderEmbedder,
    LatentOutlierDetector,
    PCAEmbedder,
    VAEEmbedder,
)
from latentsk.outliers import detector as detector_module

METHODS = ["auto", "distance", "residual", "neighbors", "embedder_score"]
SMALL = {"hidden_layer_sizes": (4,), "max_epochs": 3, "random_state": 0}


@parametrize_with_checks(
    [
        LatentOutlierDetector(random_state=0),
        LatentOutlierDetector(assume_clean=True, random_state=0),
        *(
            LatentOutlierDetector(PCAEmbedder(1), method=method, random_state=0)
            for method in METHODS
        ),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 5))
    return rows + 0.3 * rng.normal(size=rows.shape) + 7.0


class _NoWayBack(TransformerMixin, BaseEstimator):
    """The first two features."""

    def fit(self, X, y=None):
        self.n_features_in_ = np.asarray(X).shape[1]
        return self

    def transform(self, X):
        return np.asarray(X)[:, :2]


def _detector(**options):
    options = {"embedder": PCAEmbedder(2), "random_state": 0, **options}
    return LatentOutlierDetector(**options)


# What the score is


def _loo_mahalanobis(latents, core, row, own, n_features):
    """By a covariance that is estimated without the row."""
    ridge = 0.1 * latents[core].var(axis=0, ddof=1).sum() / n_features
    used = latents[core[core != own]]
    covariance = np.cov(used, rowvar=False) + ridge * np.eye(latents.shape[1])
    away = row - used.mean(axis=0)
    return away @ np.linalg.solve(covariance, away)


def _log_deviations(distances, of_training):
    """Robust standard deviations of the logarithm above the training rows' median."""
    logarithms = np.log(of_training)
    spread = median_abs_deviation(logarithms, scale="normal")
    return (np.log(distances) - np.median(logarithms)) / spread


def _brute(rows, own, X):
    """Every distance of an assume_clean detector, by loops over the latents."""
    pca = PCA(2).fit(X)
    latents, scale, n = pca.transform(X), X.std(axis=0), len(X)
    queries = pca.transform(rows)
    residuals = (rows - pca.inverse_transform(queries)) / scale
    of_training = (X - pca.inverse_transform(latents)) / scale
    noise = np.mean((of_training**2).sum(axis=1)) / 3 + 0.1
    within = np.array(
        [
            _loo_mahalanobis(latents, np.arange(n), q, o, 5)
            for q, o in zip(queries, own, strict=True)
        ]
    )
    lengths = np.linalg.norm(queries[:, None] - latents, axis=2)
    lengths[np.flatnonzero(own >= 0), own[own >= 0]] = np.inf
    order = np.argsort(lengths, axis=1)[:, :5]
    means = np.take_along_axis(lengths, order, axis=1).mean(axis=1)
    among = np.linalg.norm(latents[:, None] - latents, axis=2)
    reach = np.sort(among, axis=1)[:, 1:6].mean(axis=1)
    near = means * np.sqrt(means / reach[order].mean(axis=1))
    outside = (residuals**2).sum(axis=1)
    design = np.column_stack([np.ones(n), latents])
    leverages = np.diag(design @ np.linalg.pinv(design))
    outside[own >= 0] /= (1 - leverages[own[own >= 0]]) ** 2
    return {
        "distance": within,
        "residual": outside,
        "joint": within + outside / noise,
        "near": near,
        "lengths": lengths,
    }


@pytest.fixture(scope="module")
def new(X):
    rng = np.random.default_rng(1)
    return X[:20] + rng.normal(size=(20, 5)) * rng.choice([0.1, 3.0], size=(20, 1))


@pytest.mark.parametrize("method", ["distance", "residual"])
def test_distance_and_residual_are_minus_their_squares(X, new, method):
    detector = _detector(method=method, assume_clean=True).fit(X)
    for rows, own in ((X, np.arange(80)), (new, np.full(20, -1))):
        expected = -_brute(rows, own, X)[method]
        np.testing.assert_allclose(detector.score_samples(rows), expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["auto", "neighbors"])
def test_the_most_suspicious_part_of_clean_rows_is_the_score(X, new, method):
    detector = _detector(method=method, assume_clean=True).fit(X)
    subsamples = detector._neighborhood.subsamples_
    training = _brute(X, np.arange(80), X)
    for rows, own in ((X, np.arange(80)), (new, np.full(20, -1))):
        found = _brute(rows, own, X)
        overall, whole = (
            some["lengths"][:, subsamples].min(axis=2).mean(axis=1)
            for some in (found, training)
        )
        # Where all rows are clean, the others have to be one deviation more extreme.
        expected = {
            "distance": _log_deviations(found["distance"], training["distance"]) - 1,
            "residual": _log_deviations(found["residual"], training["residual"]) - 1,
            "joint": _log_deviations(found["joint"], training["joint"]) - 1,
            "near": _log_deviations(found["near"], training["near"]),
            "overall": _log_deviations(overall, whole) - 1,
        }
        table = detector.score_parts(rows)
        assert list(table) == list(expected)
        # Floors of a millionth of the median are added before the logarithm.
        for part in expected:
            least = -3 - (part != "near")
            expected[part] = np.maximum(expected[part], least)
            np.testing.assert_allclose(table[part], -expected[part], atol=1e-3)
        counts = ["near", "overall", *(["joint"] if method == "auto" else [])]
        worst = np.max([expected[part] for part in counts], axis=0)
        np.testing.assert_allclose(detector.score_samples(rows), -worst, atol=1e-4)


def test_rows_that_may_be_outliers_are_judged_by_the_core(X):
    """The embedder, the centre and the noise are those of three quarters."""
    rows = X.copy()
    rows[:8] += 40 * np.array([1, -1, 1, -1, 1.0])
    detector = _detector(method="distance").fit(rows)
    core = np.flatnonzero(detector._reference_is_core)
    core = detector.index_.ids_[core]
    assert len(core) == 60
    assert core.min() >= 8
    np.testing.assert_allclose(
        np.abs(detector.embedder_.components_),
        np.abs(PCA(2).fit(rows[core]).components_),
    )
    latents = PCA(2).fit(rows[core]).transform(rows)
    expected = [-_loo_mahalanobis(latents, core, latents[i], i, 5) for i in range(80)]
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


def _embedders(X):
    standardized = make_pipeline(StandardScaler(), PCA(2))
    return [
        None,
        PCAEmbedder(2),
        PCA(2),
        standardized,
        make_pipeline(StandardScaler(), PCAEmbedder(2)),
        make_pipeline(PCAEmbedder(2)),
        _NoWayBack(),
        PCA(2).fit(X),
        FrozenEstimator(PCA(2).fit(X)),
        clone(standardized).fit(X),
        AutoencoderEmbedder(2, **SMALL),
        VAEEmbedder(2, **SMALL),
    ]


@pytest.mark.parametrize("kind", range(12))
def test_every_embedder(X, kind):
    embedder = _embedders(X)[kind]
    detector = LatentOutlierDetector(embedder, random_state=0).fit(X)
    scores = detector.score_samples(X)
    assert scores.shape == (80,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    far = X[:3] + 1e4 * np.array([1, -1, 0, 1, 2.0])
    assert (detector.predict(far) == -1).all()
    np.testing.assert_array_equal(detector.training_scores_, np.sort(scores))
    leaves_something = kind not in (0, 6)
    assert ("residual" in detector.parts_) == leaves_something


@pytest.mark.parametrize("kind", range(12))
@pytest.mark.parametrize("method", METHODS)
def test_a_row_s_score_depends_on_it_alone(X, new, method, kind):
    embedder = _embedders(X)[kind]
    if method == "residual" and kind in (0, 6):
        pytest.skip("leaves no residual")
    if method == "embedder_score" and kind == 6:
        pytest.skip("has no score")
    detector = LatentOutlierDetector(embedder, method=method, random_state=0).fit(X)
    rows = np.concatenate([X[:8], new[:8]])
    scores = detector.score_samples(rows)
    alone = np.concatenate([detector.score_samples(row[None]) for row in rows])
    tolerance = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(alone, scores, **tolerance)
    backwards = detector.score_samples(rows[::-1])[::-1]
    np.testing.assert_allclose(backwards, scores, **tolerance)


def test_blocks_change_nothing(X, monkeypatch):
    whole = _detector().fit(X)
    monkeypatch.setattr(detector_module, "BLOCK_ELEMENTS", 7 * 5)
    parts = _detector().fit(X)
    np.testing.assert_allclose(parts.training_scores_, whole.training_scores_)
    np.testing.assert_allclose(parts.score_samples(X), whole.score_samples(X))
    pd.testing.assert_frame_equal(parts.score_parts(X), whole.score_parts(X))


# Embedders


def test_a_fitted_embedder_is_used_as_it_is(X):
    for embedder in (
        PCAEmbedder(2).fit(X[:30]),
        FrozenEstimator(PCA(2).fit(X[:30])),
        make_pipeline(StandardScaler(), PCA(2)).fit(X[:30]),
        AutoencoderEmbedder(2, **SMALL).fit(X[:30]),
    ):
        before = pickle.dumps(embedder)
        latents = embedder.transform(X)
        detector = _detector(embedder=embedder).fit(X)
        assert detector.embedder_ is embedder
        assert pickle.dumps(embedder) == before
        np.testing.assert_array_equal(embedder.transform(X), latents)
        ids = detector.index_.ids_
        np.testing.assert_allclose(detector.index_.vectors_, latents[ids], rtol=1e-6)


def test_an_unfitted_embedder_is_cloned(X):
    for embedder in (PCAEmbedder(2), make_pipeline(StandardScaler(), PCA(2))):
        detector = _detector(embedder=embedder).fit(X)
        assert detector.embedder_ is not embedder
        assert detector.embedder is embedder
        with pytest.raises(NotFittedError):
            embedder.transform(X)


class _Counting(_NoWayBack):
    """Notes how many rows each fit was given."""

    def __init__(self, seen):
        self.seen = seen

    def __sklearn_clone__(self):
        return _Counting(self.seen)

    def fit(self, X, y=None):
        self.seen.append(len(X))
        return super().fit(X)


@pytest.mark.parametrize(
    ("assume_clean", "expected"), [(False, [60, 60]), (True, [80])]
)
def test_an_embedder_is_fitted_again_once(X, assume_clean, expected):
    for pipeline in (False, True):
        seen = []
        embedder = _Counting(seen)
        if pipeline:
            embedder = make_pipeline(StandardScaler(), embedder)
        _detector(embedder=embedder, assume_clean=assume_clean).fit(X)
        assert seen == expected


def test_the_steps_before_the_embedder_are_fitted_to_all_rows(X):
    whole = make_pipeline(StandardScaler(), PCA(2))
    found = _detector(embedder=whole).fit(X).embedder_
    assert isinstance(found, Pipeline)
    assert list(found.named_steps) == list(whole.named_steps)
    np.testing.assert_allclose(found[0].mean_, X.mean(axis=0))


def test_without_an_embedder_rows_are_standardized(X):
    factors = np.array([1e-6, 1.0, 1e6, 10.0, 0.1])
    here = LatentOutlierDetector(random_state=0).fit(X)
    there = LatentOutlierDetector(random_state=0).fit(X * factors)
    assert here.parts_ == ["distance", "neighbors"]
    np.testing.assert_allclose(there.training_scores_, here.training_scores_, rtol=1e-6)


def test_residuals_are_in_standard_deviations_of_each_feature(X):
    """Of a fixed embedder that leaves the first feature alone."""

    class Dropping(_NoWayBack):
        def inverse_transform(self, Z):
            return np.column_stack([Z, np.zeros((len(Z), 3))])

    detector = _detector(embedder=Dropping(), method="residual").fit(X)
    rows = X + 0.1
    expected = -((rows[:, 2:] / X[:, 2:].std(axis=0)) ** 2).sum(axis=1)
    np.testing.assert_allclose(detector.score_samples(rows), expected)


@pytest.mark.parametrize("embedder", [None, _NoWayBack(), PCAEmbedder(5), PCA()])
def test_there_has_to_be_a_residual(X, embedder):
    with pytest.raises(ValueError, match="method='residual' needs an embedder"):
        LatentOutlierDetector(embedder, method="residual").fit(X)


def test_an_inverse_that_is_not_to_be_had_leaves_no_residual(X):
    """KernelPCA has the method, and raises unless it was told to learn it."""
    detector = _detector(embedder=KernelPCA(2, kernel="rbf", gamma=0.1)).fit(X)
    assert detector.parts_ == ["distance", "neighbors"]
    learned = KernelPCA(2, kernel="rbf", gamma=0.1, fit_inverse_transform=True)
    assert "residual" in _detector(embedder=learned).fit(X).parts_


def test_a_class_is_no_embedder(X):
    with pytest.raises(TypeError, match="instance, got the class PCAEmbedder"):
        LatentOutlierDetector(PCAEmbedder).fit(X)
    with pytest.raises(ValueError, match="'embedder' parameter"):
        LatentOutlierDetector("pca").fit(X)


def test_the_embedder_s_score_needs_an_embedder_with_one(X):
    detector = LatentOutlierDetector(_NoWayBack(), method="embedder_score")
    with pytest.raises(ValueError, match="score_samples"):
        detector.fit(X)


def test_an_unfitted_frozen_embedder_is_an_error(X):
    with pytest.raises(NotFittedError):
        LatentOutlierDetector(FrozenEstimator(PCA(2))).fit(X)


def test_a_last_step_that_passes_rows_through(X):
    """Neighbours of standardized rows, without any embedding."""
    scaled = Pipeline([("scale", StandardScaler()), ("embed", "passthrough")])
    detector = _detector(embedder=scaled).fit(X)
    assert detector.parts_ == ["distance", "neighbors"]
    assert np.isfinite(detector.score_samples(X)).all()


# Kinds of rows


def test_float32_rows_are_scored_nearly_as_float64(X):
    for embedder in (None, PCAEmbedder(2), PCA(2)):
        exact = _detector(embedder=embedder).fit(X.astype(np.float32).astype(float))
        rounded = _detector(embedder=embedder).fit(X.astype(np.float32))
        scores = rounded.score_samples(X.astype(np.float32))
        assert scores.dtype == np.float64
        np.testing.assert_allclose(
            scores, exact.score_samples(X.astype(np.float32)), atol=2e-3
        )


def test_a_training_row_is_known_in_every_type(X):
    rows = np.round(X)
    detector = _detector(method="neighbors").fit(rows)
    expected = detector.score_samples(rows)
    for other in (
        rows.astype(int),
        rows.astype(np.float32),
        rows.tolist(),
        torch.tensor(rows),
        np.asfortranarray(rows),
    ):
        np.testing.assert_allclose(detector.score_samples(other), expected, atol=1e-4)


def test_a_training_row_is_known_as_objects(X):
    """As numbers come out of a table of mixed types."""
    rows = np.round(X)
    as_objects = rows.astype(object)
    detector = _detector(method="neighbors").fit(rows)
    expected = detector.score_samples(rows)
    np.testing.assert_allclose(detector.score_samples(as_objects), expected)
    again = _detector(method="neighbors").fit(as_objects)
    np.testing.assert_allclose(again.score_samples(rows), expected)


def _mixed(X):
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "a": X[:, 0],
            "b": X[:, 1],
            "colour": rng.choice(["red", "green", "blue"], len(X)),
        },
        index=[f"row {i}" for i in range(len(X))],
    )


def _of_mixed(*, n_components=2):
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["a", "b"]),
            ("kinds", OneHotEncoder(sparse_output=False), ["colour"]),
        ]
    )
    return make_pipeline(columns, PCA(n_components))


def test_categories(X):
    table = _mixed(X)
    detector = _detector(embedder=_of_mixed()).fit(table)
    assert detector.feature_names_in_.tolist() == ["a", "b", "colour"]
    scores = detector.score_samples(table)
    np.testing.assert_array_equal(np.sort(scores), detector.training_scores_)
    odd = table.iloc[:1].assign(a=1e3)
    assert detector.predict(odd).tolist() == [-1]
    parts = detector.score_parts(table)
    assert parts.index.equals(table.index)
    alone = [detector.score_samples(table.iloc[i : i + 1])[0] for i in range(20)]
    np.testing.assert_allclose(alone, scores[:20], atol=1e-9)


def test_missing_values_are_for_the_embedder_to_fill(X):
    rows = X.copy()
    rows[3, 1] = np.nan
    whole = make_pipeline(SimpleImputer(), PCA(2))
    detector = _detector(embedder=whole).fit(rows)
    np.testing.assert_array_equal(
        detector.training_scores_, np.sort(detector.score_samples(rows))
    )
    with pytest.raises(ValueError, match="NaN"):
        _detector().fit(rows)


def test_names_of_features_are_kept_and_compared(X):
    table = pd.DataFrame(X, columns=list("abcde"))
    for embedder in (None, PCAEmbedder(2)):
        detector = _detector(embedder=embedder).fit(table)
        assert detector.feature_names_in_.tolist() == list("abcde")
        assert detector.n_features_in_ == 5
        for wrong in (
            table.rename(columns={"a": "z"}),
            table[list("edcba")],
        ):
            with pytest.raises(ValueError, match="feature names should match"):
                detector.score_samples(wrong)


@pytest.mark.parametrize("embedder", [None, PCAEmbedder(1)])
@pytest.mark.parametrize("assume_clean", [False, True])
def test_copies_of_one_row(embedder, assume_clean):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3))
    rows[:40] = rows[0]
    detector = _detector(embedder=embedder, assume_clean=assume_clean).fit(rows)
    scores = detector.score_samples(rows)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[:40], scores[0])
    assert (scores[:40] >= np.median(scores[40:])).all()


@pytest.mark.parametrize("embedder", [None, _NoWayBack(), PCAEmbedder(1)])
def test_equal_rows_are_inliers_and_others_are_not(embedder):
    rows = np.full((20, 3), 4.0)
    detector = _detector(embedder=embedder).fit(rows)
    np.testing.assert_array_equal(detector.predict(rows), np.ones(20))
    assert detector.predict([[4.0, 9.0, 4.0]]).tolist() == [-1]


def test_a_constant_column_that_changes_is_seen(X):
    rows = np.column_stack([X, np.full(80, 3.0)])
    for embedder in (None, PCAEmbedder(2)):
        detector = _detector(embedder=embedder).fit(rows)
        changed = rows[:5].copy()
        changed[:, 5] = 20.0
        assert (detector.predict(changed) == -1).all()
        assert (
            detector.score_samples(changed) < detector.score_samples(rows[:5])
        ).all()


@pytest.mark.parametrize("n_rows", [2, 3, 4, 6])
@pytest.mark.parametrize("assume_clean", [False, True])
def test_few_rows(X, n_rows, assume_clean):
    for embedder in (None, PCAEmbedder(1), _NoWayBack()):
        detector = _detector(embedder=embedder, assume_clean=assume_clean)
        detector.fit(X[:n_rows])
        scores = detector.score_samples(X)
        assert np.isfinite(scores).all()
        assert len(detector.training_scores_) == n_rows
        assert detector.predict(X[:1] + 1e6).tolist() == [-1]


@pytest.mark.parametrize("embedder", [None, PCAEmbedder(2), PCA(2)])
def test_fewer_rows_than_features(embedder):
    rows = np.random.default_rng(0).normal(size=(15, 40))
    detector = _detector(embedder=embedder).fit(rows)
    assert np.isfinite(detector.training_scores_).all()
    assert (detector.predict(rows[:3] + 50.0) == -1).all()


def test_more_components_than_the_core_has_rows():
    """A fit to all 12 rows has 10 components; one to 9 of them cannot."""
    rows = np.random.default_rng(0).normal(size=(12, 15))
    with pytest.raises(ValueError, match="9 rows nearest the centre"):
        _detector(embedder=PCAEmbedder(10)).fit(rows)
    detector = _detector(embedder=PCAEmbedder(10), assume_clean=True).fit(rows)
    assert np.isfinite(detector.score_samples(rows)).all()


@pytest.mark.parametrize("embedder", [None, PCAEmbedder(2), PCA(2)])
def test_bad_rows(X, embedder):
    bad = X.copy()
    bad[0, 0] = np.nan
    endless = X.copy()
    endless[0, 0] = np.inf
    detector = _detector(embedder=embedder).fit(X)
    for ask in (
        lambda rows: _detector(embedder=embedder).fit(rows),
        detector.score_samples,
        detector.predict,
        detector.score_parts,
        detector.explain,
        detector.outlier_probability,
        detector.calibrate,
    ):
        with pytest.raises(ValueError, match="NaN"):
            ask(bad)
        with pytest.raises(ValueError, match="infinity"):
            ask(endless)
        with pytest.raises(ValueError, match="Found array with 0 sample"):
            ask(X[:0])
        with pytest.raises(ValueError, match="Expected 2D array"):
            ask(X[0])
    for rows in (X[:, :4], np.column_stack([X, X])):
        with pytest.raises(ValueError, match=f"X has {rows.shape[1]} features"):
            detector.score_samples(rows)
    with pytest.raises(ValueError, match="minimum of 2"):
        _detector(embedder=embedder).fit(X[:1])


@pytest.mark.parametrize(
    "options",
    [
        {"method": "lof"},
        {"n_neighbors": 0},
        {"n_neighbors": 1.5},
        {"contamination": 0.6},
        {"contamination": 0.0},
        {"max_samples": 1},
        {"assume_clean": "yes"},
        {"random_state": "seed"},
    ],
)
def test_bad_parameters(X, options):
    with pytest.raises(ValueError, match=f"'{next(iter(options))}' parameter"):
        _detector(**options).fit(X)


# State


@pytest.mark.parametrize(
    "options",
    [
        {"embedder": PCA(99)},
        {"embedder": _NoWayBack(), "method": "residual"},
        {"embedder": PCAEmbedder},
        {"n_neighbors": 0},
    ],
)
def test_a_failed_fit_leaves_the_old_one(X, options):
    detector = _detector().fit(X).calibrate(X)
    before = detector.score_samples(X)
    given = detector.get_params(deep=False)
    with pytest.raises((ValueError, TypeError)):
        detector.set_params(**options).fit(np.column_stack([X, X]))
    detector.set_params(**given)
    np.testing.assert_array_equal(detector.score_samples(X), before)
    assert detector.n_features_in_ == 5
    assert len(detector.calibration_scores_) == 80


def test_a_failed_first_fit_leaves_nothing(X):
    detector = _detector(embedder=PCA(99))
    with pytest.raises(ValueError, match="n_components"):
        detector.fit(X)
    assert set(vars(detector)) == set(detector.get_params(deep=False))
    with pytest.raises(NotFittedError):
        detector.predict(X)
    assert not hasattr(detector, "index_")


def test_a_method_changed_after_the_fit_is_an_error(X):
    detector = _detector(method="neighbors").fit(X)
    parts = detector.score_parts(X)
    detector.set_params(method="distance")
    for ask in (detector.score_samples, detector.predict, detector.explain):
        with pytest.raises(ValueError, match="score was 'neighbors' when"):
            ask(X)
    pd.testing.assert_frame_equal(detector.score_parts(X), parts)
    assert detector.fit(X).predict(X).shape == (80,)


@pytest.mark.parametrize(
    "options",
    [
        {"assume_clean": True},
        {"n_neighbors": 50},
        {"max_samples": 2},
        {"contamination": 0.5},
        {"random_state": 9},
    ],
)
def test_other_parameters_count_at_the_next_fit(X, options):
    detector = _detector().fit(X)
    before = detector.decision_function(X)
    detector.set_params(**options)
    np.testing.assert_array_equal(detector.decision_function(X), before)


@pytest.mark.parametrize(
    "embedder", [None, PCAEmbedder(2), make_pipeline(StandardScaler(), PCA(2))]
)
def test_copies_score_as_the_original(X, embedder, tmp_path):
    detector = _detector(embedder=embedder).fit(X).calibrate(X[:40])
    joblib.dump(detector, tmp_path / "detector.joblib")
    for again in (
        pickle.loads(pickle.dumps(detector)),
        copy.deepcopy(detector),
        joblib.load(tmp_path / "detector.joblib"),
    ):
        np.testing.assert_array_equal(again.predict(X), detector.predict(X))
        np.testing.assert_array_equal(again.score_samples(X), detector.score_samples(X))
        np.testing.assert_array_equal(again.p_values(X), detector.p_values(X))
        pd.testing.assert_frame_equal(again.explain(X[:3]), detector.explain(X[:3]))
    fresh = clone(detector)
    with pytest.raises(NotFittedError):
        fresh.predict(X)
    np.testing.assert_array_equal(
        fresh.fit(X).training_scores_, detector.training_scores_
    )


@pytest.mark.parametrize(
    "state",
    [
        lambda: 7,
        lambda: np.random.RandomState(7),
        lambda: np.random.default_rng(7),
    ],
    ids=["int", "RandomState", "Generator"],
)
def test_a_random_state_makes_a_fit_repeatable(X, state):
    one, other = (_detector(random_state=state()).fit(X) for _ in range(2))
    np.testing.assert_array_equal(one.training_scores_, other.training_scores_)
    different = _detector(random_state=8).fit(X)
    assert (different.training_scores_ != one.training_scores_).any()


def test_without_a_random_state_only_subsamples_differ(X):
    one, other = (_detector(random_state=None).fit(X) for _ in range(2))
    pd.testing.assert_frame_equal(
        one.score_parts(X)[["distance", "residual"]],
        other.score_parts(X)[["distance", "residual"]],
    )
    deviations = [d._deviations(d._distances(X)) for d in (one, other)]
    np.testing.assert_array_equal(deviations[0]["near"], deviations[1]["near"])
    assert (deviations[0]["overall"] != deviations[1]["overall"]).any()


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


def test_a_random_state_seeds_the_embedder_that_has_none(X):
    free = make_pipeline(StandardScaler(), PCA(2, svd_solver="randomized"))
    network = AutoencoderEmbedder(2, **{**SMALL, "random_state": None})
    for embedder in (free, network):
        one, other = (_detector(embedder=embedder).fit(X) for _ in range(2))
        np.testing.assert_array_equal(one.training_scores_, other.training_scores_)
        params = embedder.get_params()
        name = next(n for n in params if n.split("__")[-1] == "random_state")
        assert params[name] is None
        assert one.embedder_.get_params()[name] is not None
        different = _detector(embedder=embedder, random_state=1).fit(X)
        seeds = {d.embedder_.get_params()[name] for d in (one, other, different)}
        assert len(seeds) == 2
    kept = _detector(embedder=PCA(2, random_state=9)).fit(X).embedder_
    assert kept.random_state == 9


def test_text_is_to_be_encoded_before(X):
    with pytest.raises(ValueError, match="Encode text before"):
        _detector().fit(_mixed(X))


def test_a_refit_starts_anew(X):
    detector = _detector().fit(X[:, :3]).calibrate(X[:, :3])
    again = detector.fit(X)
    assert not hasattr(again, "calibration_scores_")
    np.testing.assert_array_equal(
        again.training_scores_, _detector().fit(X).training_scores_
    )


def test_ids_are_numbers_of_training_rows(X):
    detector = _detector().fit(
        pd.DataFrame(X, index=np.arange(80) + 1_000).rename(columns=str)
    )
    ids = detector.index_.ids_
    assert len(ids) == 72
    latents = detector.embedder_.transform(pd.DataFrame(X).rename(columns=str))
    np.testing.assert_allclose(detector.index_.vectors_, latents[ids])
    assert ids.max() < 80


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
    expected = -((residuals / rows[:30].std(axis=0)) ** 2).sum(axis=1)
    np.testing.assert_allclose(scores, expected)


def test_a_score_of_the_embedder_that_was_changed_is_an_error(X):
    detector = _detector(embedder=PCAEmbedder(2), method="embedder_score").fit(X)
    detector.embedder_.set_params(score_method="reconstruction")
    for ask in (detector.score_samples, detector.predict, detector.explain):
        with pytest.raises(ValueError, match="embedder_score: likelihood"):
            ask(X)


def test_the_default_embedder_has_a_score_though_a_column_is_constant(X):
    rows = np.column_stack([X, np.ones(len(X))])
    detector = _detector(embedder=None, method="embedder_score").fit(rows)
    np.testing.assert_allclose(
        detector.score_samples(rows), detector.embedder_.score_samples(rows)
    )


@pytest.mark.parametrize("method", ["auto", "distance", "neighbors"])
def test_rows_whose_squares_overflow_have_the_lowest_scores(X, method):
    with np.errstate(over="ignore", invalid="ignore"):
        scores = _detector(method=method).fit(X).score_samples(X[:2] * [[1.0], [1e200]])
    assert np.isfinite(scores).all()
    assert scores[1] < scores[0]


def test_the_fitted_detector_does_not_ask_what_its_embedder_was(X):
    table = pd.DataFrame(X, columns=list("abcde"))
    detector = _detector(embedder=PCAEmbedder(2)).fit(table)
    expected = detector.score_samples(table)
    detector.set_params(embedder=None)
    np.testing.assert_array_equal(detector.score_samples(table), expected)


def test_an_embedder_is_seeded_by_the_detector(X):
    def fitted(**parameters):
        embedder = AutoencoderEmbedder(2, max_epochs=2, **parameters)
        return LatentOutlierDetector(embedder, random_state=0).fit(X)

    first, second = fitted().score_samples(X), fitted().score_samples(X)
    np.testing.assert_array_equal(first, second)
    assert fitted(random_state=7).embedder_.random_state == 7


def test_the_state_holds_all_that_a_fit_sets(X):
    for method in ("auto", "embedder_score"):
        detector = _detector(embedder=PCAEmbedder(2), method=method).fit(X)
        parameters = detector.get_params(deep=False).keys()
        assert vars(detector).keys() - parameters == detector._fitted().keys()
        json.dumps(
            {
                name: value
                for name, value in detector._get_state().items()
                if not isinstance(value, np.ndarray | BaseEstimator)
            }
        )


@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("kind", ["counts", "copies", "categories", "zero-inflated"])
def test_tables_of_many_equal_rows(kind, assume_clean):
    """Neither is nothing abnormal there, nor all that is not the most frequent row."""
    rng = np.random.default_rng(0)
    rows = {
        "counts": rng.poisson(0.1, size=(500, 6)),
        "copies": np.concatenate([rng.normal(size=(60, 4)), np.ones((240, 4))]),
        "categories": np.eye(4)[rng.choice(4, 500, p=[0.7, 0.2, 0.09, 0.01])],
        "zero-inflated": rng.exponential(size=(500, 5)) * (rng.random((500, 5)) < 0.05),
    }[kind]
    detector = LatentOutlierDetector(assume_clean=assume_clean, random_state=0)
    detector.fit(rows)
    assert np.mean(detector.predict(rows) == -1) < 0.1
    assert detector.predict(np.full((1, rows.shape[1]), 1e3)) == -1
