"""PCA of a stream that forgets, against the weighted covariance."""

import pickle

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.decomposition._pca import _infer_dimension
from sklearn.utils.estimator_checks import parametrize_with_checks

import latentsk
from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk.exceptions import FormatError
from latentsk.persistence import _format

SCALES = np.array([9.0, 5.0, 2.0, 1.0, 0.5])


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 5)) * SCALES @ np.linalg.qr(rng.normal(size=(5, 5)))[0]


def weights_of(n_rows, factor):
    return factor ** np.arange(n_rows - 1.0, -1.0, -1.0)


def streamed(embedder, X, size):
    for start in range(0, X.shape[0], size):
        embedder.partial_fit(X[start : start + size])
    return embedder


def covariance_of(embedder):
    return embedder.components_.T * embedder.explained_variance_ @ embedder.components_


@pytest.mark.parametrize("offset", [0.0, 1e5])
@pytest.mark.parametrize("size", [1, 7, 150, 400])
@pytest.mark.parametrize("factor", [0.999, 0.95, 0.6])
def test_it_is_the_pca_of_the_weighted_covariance(X, offset, size, factor):
    embedder = streamed(PCAEmbedder(None, forgetting_factor=factor), X + offset, size)
    weights = weights_of(400, factor)
    expected = np.cov(X.T, aweights=weights)
    np.testing.assert_allclose(
        covariance_of(embedder), expected, atol=1e-9 * expected.max()
    )
    mean = np.average(X, axis=0, weights=weights) + offset
    np.testing.assert_allclose(embedder.mean_, mean, rtol=1e-12, atol=1e-12)
    assert embedder.n_samples_ == embedder.n_samples_seen_ == 400
    rows = np.sqrt(weights)[:, None] * (X - np.average(X, axis=0, weights=weights))
    np.testing.assert_allclose(
        embedder.singular_values_, np.linalg.svd(rows)[1], rtol=1e-8
    )


@pytest.mark.parametrize("n_components", [2, 0.9, "auto", "mle"])
def test_the_number_of_components_follows_the_weighted_spectrum(X, n_components):
    embedder = streamed(PCAEmbedder(n_components, forgetting_factor=0.98), X, 50)
    weights = weights_of(400, 0.98)
    variances = np.linalg.eigvalsh(np.cov(X.T, aweights=weights))[::-1]
    shares = np.cumsum(variances) / variances.sum()
    worth = weights.sum() ** 2 / np.sum(weights**2)
    expected = {
        2: 2,
        0.9: np.sum(shares <= 0.9) + 1,
        "auto": min(np.sum(shares < 0.99) + 1, 4),
        "mle": _infer_dimension(variances, worth),
    }
    kept = embedder.n_components_
    assert kept == expected[n_components]
    np.testing.assert_allclose(embedder.explained_variance_, variances[:kept])
    assert embedder.noise_variance_ == pytest.approx(variances[kept:].mean())
    assert embedder.calibrate(X).predict(X).shape == (400,)


def test_one_is_a_stream_that_forgets_nothing(X):
    ours = streamed(PCAEmbedder(3, forgetting_factor=1), X, 90)
    theirs = streamed(PCAEmbedder(3), X, 90)
    for name in ("components_", "explained_variance_", "mean_", "singular_values_"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_fit_does_not_forget(X):
    ours = PCAEmbedder(3, forgetting_factor=0.5).fit(X)
    np.testing.assert_array_equal(ours.components_, PCA(3).fit(X).components_)


def test_what_has_changed_is_learned_and_what_was_is_forgotten(X):
    turned = X[:, ::-1] + 30.0
    embedder = PCAEmbedder(2, forgetting_factor=0.9)
    embedder.partial_fit(X).partial_fit(turned)
    fresh = streamed(PCAEmbedder(2, forgetting_factor=0.9), turned, 400)
    np.testing.assert_allclose(embedder.components_, fresh.components_, atol=1e-9)
    np.testing.assert_allclose(embedder.mean_, fresh.mean_, rtol=1e-9)


def test_rows_of_a_fit_count_alike_and_are_then_forgotten(X):
    embedder = PCAEmbedder(None, forgetting_factor=0.99).fit(X[:300])
    embedder.partial_fit(X[300:])
    weights = np.r_[np.full(300, 0.99**100), weights_of(100, 0.99)]
    expected = np.cov(X.T, aweights=weights)
    np.testing.assert_allclose(covariance_of(embedder), expected, atol=1e-9)


def test_a_factor_holds_for_the_rows_to_come(X):
    embedder = PCAEmbedder(None, forgetting_factor=0.99).partial_fit(X[:300])
    embedder.set_params(forgetting_factor=0.9).partial_fit(X[300:])
    weights = np.r_[0.9**100 * weights_of(300, 0.99), weights_of(100, 0.9)]
    expected = np.cov(X.T, aweights=weights)
    np.testing.assert_allclose(covariance_of(embedder), expected, atol=1e-9)


def test_copies_and_files_forget_on(X, tmp_path):
    embedder = PCAEmbedder(None, forgetting_factor=0.97).partial_fit(X[:250])
    latentsk.save(embedder, tmp_path / "embedder")
    copies = pickle.loads(pickle.dumps(embedder)), latentsk.load(tmp_path / "embedder")
    expected = embedder.partial_fit(X[250:])
    for copy in copies:
        copy.partial_fit(X[250:])
        np.testing.assert_array_equal(
            copy.explained_variance_, expected.explained_variance_
        )


def test_a_file_without_weights_and_factor_is_one_that_forgets_nothing(X, tmp_path):
    latentsk.save(PCAEmbedder(3).partial_fit(X[:250]), tmp_path / "old")
    document, arrays = _format.read_file(tmp_path / "old")
    root = document["root"]
    del root["parameters"]["forgetting_factor"]
    del root["state"]["_weight_seen"], root["state"]["_pair_weight_seen"]
    _format.write_file(tmp_path / "old", document, arrays)
    old = latentsk.load(tmp_path / "old")
    assert old.forgetting_factor == 1.0
    old.partial_fit(X[250:])
    whole = PCA(3, svd_solver="covariance_eigh").fit(X)
    np.testing.assert_allclose(old.explained_variance_, whole.explained_variance_)


@pytest.mark.parametrize(
    "forged",
    [
        {"_weight_seen": 300.0},
        {"_weight_seen": 0.0},
        {"_weight_seen": 1e200, "_pair_weight_seen": 0.0},
        {"_pair_weight_seen": 1e9},
        {"_pair_weight_seen": -1.0},
    ],
)
def test_forged_weights_are_refused(X, tmp_path, forged):
    latentsk.save(PCAEmbedder(3).partial_fit(X[:250]), tmp_path / "model")
    document, arrays = _format.read_file(tmp_path / "model")
    document["root"]["state"].update(forged)
    _format.write_file(tmp_path / "model", document, arrays)
    with pytest.raises(FormatError, match="altered"):
        latentsk.load(tmp_path / "model")


def test_a_bad_chunk_is_not_counted(X):
    embedder = PCAEmbedder(3, forgetting_factor=0.9).partial_fit(X)
    before = pickle.dumps(embedder)
    with pytest.raises(ValueError, match="NaN"):
        embedder.partial_fit(np.full((3, 5), np.nan))
    assert pickle.dumps(embedder) == before


@pytest.mark.parametrize("factor", [0.0, 1.5, -0.5, np.nan, "slow"])
def test_bad_factors(X, factor):
    with pytest.raises(ValueError, match=r"'forgetting_factor' parameter .* must be"):
        PCAEmbedder(forgetting_factor=factor).partial_fit(X)


def test_tensors_and_sparse_rows_and_float32(X):
    expected = streamed(PCAEmbedder(3, forgetting_factor=0.95), X, 130)
    with config_context(array_api_dispatch=True):
        tensors = PCAEmbedder(3, forgetting_factor=0.95)
        streamed(tensors, torch.asarray(X), 130)
        assert torch.is_tensor(tensors.components_)
    sparse = streamed(PCAEmbedder(3, forgetting_factor=0.95), csr_array(X), 130)
    for found in (tensors.explained_variance_.numpy(), sparse.explained_variance_):
        np.testing.assert_allclose(found, expected.explained_variance_, rtol=1e-12)
    single = streamed(PCAEmbedder(3, forgetting_factor=0.95), X.astype(np.float32), 130)
    assert single.components_.dtype == np.float64
    np.testing.assert_allclose(
        single.explained_variance_, expected.explained_variance_, rtol=1e-5
    )


def test_a_detector_minds_no_factor_that_its_fit_ignores(X):
    embedder = PCAEmbedder(3, forgetting_factor=0.9)
    detector = LatentOutlierDetector(embedder, random_state=0).fit(X)
    scores = detector.score_samples(X)
    detector.set_params(embedder__forgetting_factor=0.5)
    np.testing.assert_array_equal(detector.score_samples(X), scores)


@parametrize_with_checks([PCAEmbedder(forgetting_factor=0.99)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
