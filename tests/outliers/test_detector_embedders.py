"""Embedders of every kind within a detector: fitted, unfitted, of several steps."""

import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA, KernelPCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import (
    AutoencoderEmbedder,
    LatentOutlierDetector,
    PCAEmbedder,
    VAEEmbedder,
)


def without_inverse():
    return make_column_transformer(("passthrough", [0, 1]))


SMALL = {"hidden_layer_sizes": (4,), "max_epochs": 3, "random_state": 0}

METHODS = ["auto", "distance", "residual", "neighbors", "embedder_score"]


def _detector(**options):
    options = {"embedder": PCAEmbedder(2), "random_state": 0, **options}
    return LatentOutlierDetector(**options)


def _embedders(X):
    standardized = make_pipeline(StandardScaler(), PCA(2))
    return [
        None,
        PCAEmbedder(2),
        PCA(2),
        standardized,
        make_pipeline(StandardScaler(), PCAEmbedder(2)),
        make_pipeline(PCAEmbedder(2)),
        without_inverse(),
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


class _Counting(TransformerMixin, BaseEstimator):
    """Notes how many rows each fit was given."""

    def __init__(self, seen):
        self.seen = seen

    def __sklearn_clone__(self):
        return _Counting(self.seen)

    def fit(self, X, y=None):
        self.seen.append(len(X))
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.asarray(X)[:, :2]


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


@pytest.mark.parametrize("embedder", [None, without_inverse(), PCAEmbedder(5), PCA()])
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
    detector = LatentOutlierDetector(without_inverse(), method="embedder_score")
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


def test_more_components_than_the_support_has_rows():
    """A fit to all 12 rows has 10 components; one to 9 of them cannot."""
    rows = np.random.default_rng(0).normal(size=(12, 15))
    with pytest.raises(ValueError, match="9 rows nearest the centre"):
        _detector(embedder=PCA(10)).fit(rows)
    detector = _detector(embedder=PCA(10), assume_clean=True).fit(rows)
    assert np.isfinite(detector.score_samples(rows)).all()


@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("n_features", [40, 41, 100])
def test_every_component_is_as_many_as_rows_span(n_features, assume_clean):
    rows = np.random.default_rng(0).normal(size=(40, n_features))
    detector = _detector(embedder=PCAEmbedder(None), assume_clean=assume_clean).fit(
        rows
    )
    n_fitted = int(detector._neighborhood.is_support.sum())
    assert detector.embedder_.n_components_ == n_fitted - 1 >= 37
    assert detector.embedder_.explained_variance_.min() > 1e-3
    # What is outside of their span is no surprise.
    fresh = np.random.default_rng(1).normal(size=(200, n_features))
    assert np.mean(detector.predict(fresh) == -1) < 0.05
    assert (detector.predict(5.0 * fresh) == -1).all()


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


def test_an_embedder_is_seeded_by_the_detector(X):
    def fitted(**parameters):
        embedder = AutoencoderEmbedder(2, max_epochs=2, **parameters)
        return LatentOutlierDetector(embedder, random_state=0).fit(X)

    first, second = fitted().score_samples(X), fitted().score_samples(X)
    np.testing.assert_array_equal(first, second)
    assert fitted(random_state=7).embedder_.random_state == 7
