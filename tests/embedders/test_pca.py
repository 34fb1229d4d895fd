"""PCAEmbedder beyond what scikit-learn's own suite tests."""

import pickle
import tracemalloc

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import PCAEmbedder

SCORES = ["likelihood", "reconstruction", "mahalanobis"]
SOLVERS = ["full", "covariance_eigh", "arpack", "randomized"]


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) + rng.normal(size=6)


# Scores


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n_components", [1, 3, 5])
def test_likelihood_is_that_of_scikit_learn(X, n_components, solver):
    settings = {"svd_solver": solver, "random_state": 0, "iterated_power": 20}
    ours = PCAEmbedder(n_components, **settings).fit(X)
    theirs = PCA(n_components, **settings).fit(X)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X))
    assert ours.score(X) == pytest.approx(theirs.score(X))
    np.testing.assert_allclose(ours.get_precision(), theirs.get_precision())


def test_likelihood_is_a_gaussian_density(X):
    embedder = PCAEmbedder(3).fit(X)
    density = multivariate_normal(embedder.mean_, embedder.get_covariance())
    np.testing.assert_allclose(embedder.score_samples(X), density.logpdf(X))


def test_whitening_does_not_change_the_density(X):
    # scikit-learn's does (issue 13898): it scales the components twice.
    plain, white = PCAEmbedder(3).fit(X), PCAEmbedder(3, whiten=True).fit(X)
    np.testing.assert_allclose(plain.score_samples(X), white.score_samples(X))
    np.testing.assert_allclose(plain.reconstruct(X), white.reconstruct(X))
    np.testing.assert_allclose(white.transform(X).std(axis=0, ddof=1), 1.0)


def test_scikit_learns_test_of_score_but_for_whitening():
    rng = np.random.RandomState(0)
    X = rng.randn(1000, 3) * 0.1 + np.array([3, 4, 5])
    entropy = -0.5 * np.log(2 * np.pi * np.exp(1) * 0.1**2) * 3
    for solver in SOLVERS:
        embedder = PCAEmbedder(2, svd_solver=solver).fit(X)
        assert embedder.score(X) == pytest.approx(entropy, rel=0.05)
        wider = rng.randn(1000, 3) * 0.2 + np.array([3, 4, 5])
        assert embedder.score(X) > embedder.score(wider)


def test_reconstruction_score(X):
    embedder = PCAEmbedder(3, score_method="reconstruction").fit(X)
    expected = -np.sum((X - embedder.reconstruct(X)) ** 2, axis=1)
    np.testing.assert_allclose(embedder.score_samples(X), expected)


@pytest.mark.parametrize("whiten", [False, True])
def test_mahalanobis_score(X, whiten):
    embedder = PCAEmbedder(3, score_method="mahalanobis", whiten=whiten).fit(X)
    white = PCA(3, whiten=True).fit_transform(X)
    np.testing.assert_allclose(
        embedder.score_samples(X), -np.sum(white**2, axis=1), rtol=1e-8
    )


def test_mahalanobis_of_all_components_is_that_of_the_covariance(X):
    embedder = PCAEmbedder(None, score_method="mahalanobis").fit(X)
    centred = X - X.mean(axis=0)
    inverse = np.linalg.inv(np.cov(X, rowvar=False))
    expected = -np.sum((centred @ inverse) * centred, axis=1)
    np.testing.assert_allclose(embedder.score_samples(X), expected)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("shape", [(200, 12), (30, 50)])
@pytest.mark.parametrize("n_components", [1, 5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fitted_attributes_are_those_of_scikit_learn(
    solver, shape, n_components, dtype
):
    rng = np.random.default_rng(0)
    data = rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1]))
    data = data.astype(dtype)
    settings = {"svd_solver": solver, "random_state": 0}
    ours = PCAEmbedder(n_components, **settings).fit(data)
    theirs = PCA(n_components, **settings).fit(data)
    for name in (
        "components_",
        "explained_variance_",
        "explained_variance_ratio_",
        "singular_values_",
        "mean_",
    ):
        mine, expected = getattr(ours, name), getattr(theirs, name)
        assert mine.dtype == expected.dtype == dtype
        np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-6)
    assert ours.noise_variance_ == pytest.approx(theirs.noise_variance_, rel=1e-6)


def test_components_below_the_noise_count_as_noise(X):
    # A randomized solver can leave a component with less than the mean noise.
    ours, theirs = PCAEmbedder(2).fit(X), PCA(2).fit(X)
    for model in (ours, theirs):
        model.explained_variance_ = np.array([5.0, 0.5])
        model.noise_variance_ = 1.0
    covariance = np.array([[5.0], [1.0]]).T * ours.components_.T @ ours.components_
    covariance += np.eye(6) - ours.components_.T @ ours.components_
    np.testing.assert_allclose(ours.get_covariance(), covariance)
    np.testing.assert_allclose(ours.get_covariance(), theirs.get_covariance())
    density = multivariate_normal(ours.mean_, covariance)
    np.testing.assert_allclose(ours.score_samples(X), density.logpdf(X))


@pytest.mark.parametrize("score_method", SCORES)
def test_a_score_depends_on_its_row_alone(digits, score_method):
    X = digits[0]
    embedder = PCAEmbedder(20, score_method=score_method).fit(X)
    scores = embedder.score_samples(X)
    rows = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(embedder.score_samples(X[rows]), scores[rows])
    alone = np.concatenate([embedder.score_samples(X[i : i + 1]) for i in range(40)])
    np.testing.assert_allclose(alone, scores[:40])


# Scores without a meaning


@pytest.mark.parametrize(
    ("make", "settings", "reason"),
    [
        # More features than rows: no variance outside of the span of the rows.
        (lambda X: X[:5, :], {"n_components": None}, "no variance"),
        # As many components as features, but one of these is constant.
        (lambda X: X * [1, 1, 1, 1, 1, 0], {"n_components": None}, "no variance"),
        # Rows in a plane, and a model of the whole plane.
        (lambda X: X[:, :2] @ X[:2, :], {"n_components": 2}, "no variance"),
        (lambda X: X * 0, {}, "no variance"),
        (
            lambda X: X,
            {"n_components": None, "score_method": "reconstruction"},
            "every component is kept",
        ),
        (
            lambda X: X * [1, 1, 1, 1, 1, 0],
            {"n_components": None, "score_method": "mahalanobis"},
            "no variance",
        ),
    ],
)
def test_a_score_without_meaning_says_so(X, make, settings, reason):
    data = make(X)
    embedder = PCAEmbedder(**settings).fit(data)
    assert np.isfinite(embedder.transform(data)).all()
    assert np.isnan(embedder.offset_)
    for method in ("score_samples", "decision_function", "predict", "score"):
        with pytest.raises(ValueError, match=f"is undefined.*{reason}"):
            getattr(embedder, method)(data)
    with pytest.raises(ValueError, match="is undefined"):
        clone(embedder).set_params(contamination=0.1).fit(data)


def test_singular_precision_says_so(X):
    with pytest.raises(ValueError, match="singular"):
        PCAEmbedder(None).fit(X * [1, 1, 1, 1, 1, 0]).get_precision()


def test_all_components_of_full_rank_have_a_likelihood(X):
    # The half of scikit-learn's test_pca_zero_noise_variance_edge_cases with a meaning.
    embedder = PCAEmbedder(6).fit(X)
    assert embedder.noise_variance_ == 0
    density = multivariate_normal(X.mean(axis=0), np.cov(X, rowvar=False))
    np.testing.assert_allclose(embedder.score_samples(X), density.logpdf(X))


@pytest.mark.parametrize("score_method", SCORES)
@pytest.mark.parametrize("solver", ["auto", *SOLVERS])
def test_the_default_dimension_gives_every_score_a_meaning(
    digits, score_method, solver
):
    embedder = PCAEmbedder(score_method=score_method, svd_solver=solver, random_state=0)
    embedder.fit(digits[0])
    # Digits have three constant pixels; 41 components hold 99 % of their variance.
    assert embedder.n_components_ == 41
    assert np.isfinite(embedder.score_samples(digits[0])).all()
    assert set(embedder.predict(digits[0])) == {-1, 1}


def test_default_on_data_with_more_features_than_rows(digits):
    embedder = PCAEmbedder().fit(digits[0][:30])
    assert embedder.n_components_ < 29
    assert np.isfinite(embedder.score_samples(digits[0])).all()


# Decisions


def test_contamination_is_a_quantile_of_the_training_scores(X):
    embedder = PCAEmbedder(3, contamination=0.1).fit(X)
    assert np.sum(embedder.predict(X) == -1) == 30
    np.testing.assert_allclose(
        embedder.decision_function(X), embedder.score_samples(X) - embedder.offset_
    )
    refitted = PCAEmbedder(3, contamination=0.1).fit_predict(X)
    np.testing.assert_array_equal(refitted, embedder.predict(X))


def test_auto_finds_planted_outliers(X):
    rng = np.random.default_rng(1)
    dirty = np.concatenate([X, X.mean(axis=0) + 40 * rng.normal(size=(15, 6))])
    labels = PCAEmbedder(4).fit_predict(dirty)
    assert (labels[-15:] == -1).all()
    assert (labels[:300] == -1).mean() < 0.05


def test_a_threshold_belongs_to_its_score(X):
    embedder = PCAEmbedder(3).fit(X).set_params(score_method="reconstruction")
    assert np.isfinite(embedder.score_samples(X)).all()
    with pytest.raises(ValueError, match=r"'likelihood' scores.*Call calibrate"):
        embedder.predict(X)
    expected = PCAEmbedder(3, score_method="reconstruction").fit(X).predict(X)
    np.testing.assert_array_equal(embedder.calibrate(X).predict(X), expected)
    with pytest.raises(ValueError, match="'score_method' parameter"):
        embedder.set_params(score_method="elbo").score_samples(X)


def test_copy_false_leaves_training_scores_right(X):
    expected = PCAEmbedder(3, contamination=0.1, svd_solver="full").fit(X).offset_
    embedder = PCAEmbedder(3, contamination=0.1, svd_solver="full", copy=False)
    embedder.fit_transform(X.copy())
    assert embedder.offset_ == pytest.approx(expected)
    again = X.copy()
    embedder.fit(again)
    np.testing.assert_array_equal(again, X)


# Streaming


def principal_angle(first, second):
    cosines = np.linalg.svd(first @ second.T, compute_uv=False)
    return np.arccos(np.clip(cosines, -1, 1)).max()


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("size", [1, 7, 100, 999])
@pytest.mark.parametrize("n_components", [2, 0.9, "auto", None, "mle"])
def test_any_chunking_equals_one_fit(offset, size, n_components):
    rng = np.random.default_rng(0)
    scales = np.array([9.0, 5.0, 2.0, 1.0, 0.5, 0.1])
    X = rng.normal(size=(1_000, 6)) * scales @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    X = X[: 100 if size == 1 else None]
    whole = PCAEmbedder(n_components).fit(X + offset)
    streamed = PCAEmbedder(n_components)
    for start in range(0, len(X), size):
        streamed.partial_fit(X[start : start + size] + offset)
    assert streamed.n_components_ == whole.n_components_
    assert streamed.n_samples_ == streamed.n_samples_seen_ == len(X)
    largest = whole.explained_variance_[0]
    np.testing.assert_allclose(
        streamed.explained_variance_, whole.explained_variance_, atol=1e-6 * largest
    )
    assert streamed.noise_variance_ == pytest.approx(whole.noise_variance_, rel=1e-6)
    assert principal_angle(streamed.components_, whole.components_) < 1e-6
    np.testing.assert_allclose(
        streamed.score_samples(X + offset), whole.score_samples(X + offset), rtol=1e-6
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_fit_is_exact_far_from_the_origin(X, solver):
    settings = {"svd_solver": solver, "random_state": 0, "iterated_power": 20}
    near, far = PCAEmbedder(3, **settings).fit(X), PCAEmbedder(3, **settings)
    far.fit(X + 1e6)
    np.testing.assert_allclose(
        far.explained_variance_, near.explained_variance_, rtol=1e-8
    )
    np.testing.assert_allclose(
        far.score_samples(X + 1e6), near.score_samples(X), rtol=1e-6
    )
    np.testing.assert_allclose(far.transform(X + 1e6), near.transform(X), atol=1e-7)


def test_streaming_needs_enough_rows_and_a_calibration(X):
    embedder = PCAEmbedder(3)
    embedder.partial_fit(X[:2])
    with pytest.raises(NotFittedError):
        embedder.transform(X)
    embedder.partial_fit(X[2:])
    with pytest.raises(NotFittedError, match="calibrate"):
        embedder.predict(X)
    offset = PCAEmbedder(3).fit(X).offset_
    assert embedder.calibrate(X).offset_ == pytest.approx(offset)
    embedder.partial_fit(X)
    assert not hasattr(embedder, "offset_")


def test_streaming_goes_on_from_a_fit(X):
    embedder = PCAEmbedder(None).fit(X[:200]).partial_fit(X[200:])
    whole = PCAEmbedder(None).fit(X)
    np.testing.assert_allclose(embedder.explained_variance_, whole.explained_variance_)
    np.testing.assert_allclose(embedder.mean_, whole.mean_)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n_rows", [4, 200])
def test_streaming_from_a_fit_keeps_the_total_variance(X, solver, n_rows):
    part = PCAEmbedder(2, svd_solver=solver, random_state=0).fit(X[:n_rows])
    part.partial_fit(X[n_rows:])
    assert np.trace(part.get_covariance()) == pytest.approx(np.cov(X.T).trace())


def test_a_bad_chunk_is_not_counted(X):
    embedder = PCAEmbedder(3).partial_fit(X)
    before = pickle.dumps(embedder)
    bad = X.copy()
    bad[5, 2] = np.nan
    for chunk in (bad, X[:, :4]):
        with pytest.raises(ValueError, match=r"NaN|features"):
            embedder.partial_fit(chunk)
        assert pickle.dumps(embedder) == before


def test_a_read_only_memory_map_is_fitted_without_a_copy(tmp_path, digits):
    X = digits[0].astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    ours, theirs = PCAEmbedder(10).fit(mapped), PCAEmbedder(10).fit(X)
    wide = mapped[:30]
    settings = {"svd_solver": "covariance_eigh", "n_components": 5}
    assert PCAEmbedder(**settings).fit(wide).noise_variance_ == pytest.approx(
        PCA(**settings).fit(wide.copy()).noise_variance_, rel=1e-4
    )
    assert ours.components_.dtype == np.float32
    np.testing.assert_allclose(ours.components_, theirs.components_, atol=1e-3)
    np.testing.assert_allclose(
        ours.explained_variance_, theirs.explained_variance_, rtol=1e-4
    )
    np.testing.assert_allclose(
        PCAEmbedder(10).fit_transform(mapped), ours.transform(X), atol=1e-3
    )


def test_streaming_memory_is_bounded(tmp_path):
    shape = (200_000, 80)
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, shape)
    mapped[:] = np.random.default_rng(0).normal(size=(1_000, 80)).repeat(200, axis=0)
    mapped.flush()
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    tracemalloc.start()
    PCAEmbedder(5).partial_fit(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6 < X.nbytes


# Generation


def test_samples_have_the_models_moments(X):
    embedder = PCAEmbedder(3, random_state=0).fit(X)
    rows = embedder.sample(200_000)
    np.testing.assert_allclose(rows.mean(axis=0), embedder.mean_, atol=0.1)
    covariance = embedder.get_covariance()
    np.testing.assert_allclose(
        np.cov(rows, rowvar=False), covariance, atol=0.02 * covariance.max()
    )
    np.testing.assert_array_equal(embedder.sample(5), embedder.sample(5))
    assert not np.array_equal(embedder.sample(5, 1), embedder.sample(5, 2))
    with pytest.raises(
        ValueError, match="n_samples must be an integer of at least 1, got 0"
    ):
        embedder.sample(0)


# scikit-learn's machinery


def test_in_a_pipeline_and_a_grid_search(digits):
    X, y = digits
    model = make_pipeline(StandardScaler(), PCAEmbedder(), LogisticRegression())
    search = GridSearchCV(model, {"pcaembedder__n_components": [2, 10]}, cv=3)
    assert search.fit(X, y).best_params_ == {"pcaembedder__n_components": 10}


def test_grid_search_by_likelihood_finds_the_true_dimension():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_000, 3)) * 5 @ rng.normal(size=(3, 10))
    X += rng.normal(size=X.shape)
    search = GridSearchCV(PCAEmbedder(), {"n_components": [1, 2, 3, 5, 8]}).fit(X)
    assert search.best_params_ == {"n_components": 3}


def test_outlier_pipeline_predicts(X):
    model = make_pipeline(StandardScaler(), PCAEmbedder(3)).fit(X)
    assert model.score_samples(X).shape == (300,)
    assert set(model.predict(X)) <= {-1, 1}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output(X, library):
    embedder = PCAEmbedder(2).set_output(transform=library)
    frame = embedder.fit_transform(X)
    assert type(frame).__module__.startswith(library)
    assert list(frame.columns) == ["pcaembedder0", "pcaembedder1"]
    np.testing.assert_allclose(frame.to_numpy(), PCA(2).fit_transform(X))


@pytest.mark.parametrize("streamed", [False, True])
def test_pickle_joblib_and_clone(tmp_path, X, streamed):
    names = pd.DataFrame(X, columns=list("abcdef"))
    embedder = PCAEmbedder(3, contamination=0.1)
    fit = embedder.partial_fit if streamed else embedder.fit
    fit(names)
    joblib.dump(embedder, tmp_path / "embedder")
    copies = pickle.loads(pickle.dumps(embedder)), joblib.load(tmp_path / "embedder")
    for copy in copies:
        np.testing.assert_array_equal(
            copy.score_samples(names), embedder.score_samples(names)
        )
        assert list(copy.feature_names_in_) == list("abcdef")
        assert copy.get_params() == embedder.get_params()
    assert not hasattr(clone(embedder), "components_")


def test_a_streamed_embedder_streams_on_after_pickling(X):
    embedder = PCAEmbedder(3).partial_fit(X[:100])
    copy = pickle.loads(pickle.dumps(embedder))
    copy.partial_fit(X[100:])
    np.testing.assert_allclose(
        copy.explained_variance_, PCAEmbedder(3).fit(X).explained_variance_
    )


# torch tensors


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_tensors_in_tensors_out(X, dtype, offset):
    tensor = torch.asarray(X + offset, dtype=dtype)
    # Data at 1e4 hold their unit spread to 1e-3 in float32.
    eps = torch.finfo(dtype).eps * (1.0 + offset)
    tolerance = {"rtol": 1e-9 + 100 * eps, "atol": 1e-9 + 100 * eps}
    reference = PCAEmbedder(3).fit(X + offset)
    with config_context(array_api_dispatch=True):
        embedder = PCAEmbedder(3, random_state=0).fit(tensor)
        results = {
            "transform": embedder.transform(tensor),
            "reconstruct": embedder.reconstruct(tensor),
            "score_samples": embedder.score_samples(tensor),
        }
        labels = embedder.predict(tensor)
        sample = embedder.sample(3)
    for method, result in results.items():
        assert torch.is_tensor(result)
        assert result.dtype == dtype
        expected = getattr(reference, method)(X + offset)
        np.testing.assert_allclose(result.numpy(), expected, **tolerance)
    assert labels.dtype == torch.int64
    assert sample.dtype == dtype
    assert sample.shape == (3, 6)


def test_tensors_stream_and_pickle(X):
    tensor = torch.asarray(X)
    with config_context(array_api_dispatch=True):
        embedder = PCAEmbedder(3).partial_fit(tensor[:100]).partial_fit(tensor[100:])
        copy = pickle.loads(pickle.dumps(embedder))
        assert torch.equal(copy.transform(tensor), embedder.transform(tensor))
    np.testing.assert_allclose(
        embedder.explained_variance_.numpy(),
        PCAEmbedder(3).fit(X).explained_variance_,
    )


def test_tensors_need_dispatch(X):
    with config_context(array_api_dispatch=True):
        embedder = PCAEmbedder(3).fit(torch.asarray(X))
    for method, rows in [("transform", X), ("inverse_transform", X[:, :3])]:
        with pytest.raises(ValueError, match="array_api_dispatch=True"):
            getattr(embedder, method)(rows)


@pytest.mark.gpu
def test_cuda_tensors_stay_on_the_device(X):
    tensor = torch.asarray(X, device="cuda")
    with config_context(array_api_dispatch=True):
        embedder = PCAEmbedder(3).fit(tensor)
        scores = embedder.score_samples(tensor)
        copy = pickle.loads(pickle.dumps(embedder))
        assert copy.components_.device == tensor.device
    assert scores.device == tensor.device
    np.testing.assert_allclose(
        scores.cpu().numpy(), PCAEmbedder(3).fit(X).score_samples(X)
    )
