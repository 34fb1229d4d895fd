"""VQVAEEmbedder: codes and back, scores, samples, and what a fit tells of its codes."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.stats import laplace, norm
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

import latentsk
from latentsk import (
    LatentIndex,
    LatentOutlierDetector,
    VQVAEEmbedder,
)
from latentsk.exceptions import PosteriorCollapseWarning

SMALL = {
    "max_epochs": 5,
    "hidden_layer_sizes": (16,),
    "random_state": 0,
    "device": "cpu",
    "compile": False,
}
FLOWERS = load_iris().data
IMAGES = load_digits().images[:150]
KINDS = {
    "ema": {},
    "fsq": {"n_codes": 20, "quantizer": "fsq"},
    "independent": {"prior": "independent"},
}


def embedder(**options):
    return VQVAEEmbedder(**{"n_codes": 8, "n_positions": 3, **SMALL, **options})


@pytest.fixture(scope="module", params=list(KINDS))
def fitted(request):
    return embedder(**KINDS[request.param]).fit(FLOWERS)


@parametrize_with_checks(
    [
        VQVAEEmbedder(8, **SMALL),
        VQVAEEmbedder(20, quantizer="fsq", prior="independent", **SMALL),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_check_estimator():
    results = check_estimator(VQVAEEmbedder(), on_skip=None)
    assert {result["status"] for result in results} <= {"passed", "skipped"}


# Codes, vectors, rows


def test_codes_have_the_vectors_that_transform_returns(fitted):
    codes = fitted.transform_codes(FLOWERS)
    n_codes = len(fitted.codebook_)
    assert codes.shape == (150, fitted.n_positions_)
    assert codes.dtype == np.int64
    assert codes.min() >= 0
    assert codes.max() < n_codes
    assert fitted.codebook_.shape == (fitted.n_codes, fitted.code_dim_)
    vectors = fitted.codebook_[codes].reshape(150, -1)
    np.testing.assert_allclose(fitted.transform(FLOWERS), vectors, rtol=1e-6)


def test_rows_of_codes_are_the_reconstructions(fitted):
    codes = fitted.transform_codes(FLOWERS)
    expected = fitted.reconstruct(FLOWERS)
    for given in (codes, codes.astype(np.int16), codes.tolist(), codes * 1.0):
        rows = fitted.inverse_transform_codes(given)
        np.testing.assert_allclose(rows, expected, rtol=1e-5)
    latents = fitted.transform(FLOWERS)
    np.testing.assert_allclose(fitted.inverse_transform(latents), expected)


def test_names_tell_the_position(fitted):
    names = fitted.get_feature_names_out()
    assert len(names) == fitted.n_components_ == 3 * fitted.code_dim_
    assert list(names[:2]) == ["position0_0", "position0_1"]
    assert names[-1] == f"position2_{fitted.code_dim_ - 1}"
    frame = fitted.set_output(transform="pandas").transform(FLOWERS)
    fitted.set_output(transform="default")
    assert list(frame.columns) == list(names)


def test_one_code_reconstructs_the_mean():
    X = np.random.default_rng(0).normal([5.0, -3.0, 0.1], [2.0, 1.0, 0.05], (400, 3))
    found = embedder(
        n_codes=1,
        n_positions=1,
        likelihood="gaussian",
        likelihood_scale=1.0,
        max_epochs=40,
        batch_size=50,
        validation_fraction=0.0,
    ).fit(X)
    rebuilt = found.reconstruct(X)
    assert np.ptp(rebuilt, axis=0).max() == 0.0
    np.testing.assert_allclose(
        (rebuilt[0] - X.mean(axis=0)) / X.std(axis=0), 0, atol=0.02
    )
    np.testing.assert_allclose(found.likelihood_scale_, X.std(axis=0))
    expected = norm(X.mean(axis=0), X.std(axis=0)).logpdf(X).sum(axis=1)
    np.testing.assert_allclose(found.score_samples(X), expected, atol=0.2)
    assert found.perplexity_ == found.code_usage_ == 1.0
    assert found.bits_per_row_ == 0.0


def test_as_many_codes_as_kinds_of_rows_tell_them_apart():
    centres = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [8.0, 8.0]])
    kinds = np.arange(400) % 4
    X = centres[kinds] + 0.1 * np.random.default_rng(0).normal(size=(400, 2))
    found = embedder(n_codes=4, n_positions=1, max_epochs=30, batch_size=50).fit(X)
    codes = found.transform_codes(X)[:, 0]
    assert len({(kind, code) for kind, code in zip(kinds, codes, strict=True)}) == 4
    np.testing.assert_allclose(found.reconstruct(X), centres[kinds], atol=0.6)
    assert found.perplexity_ == pytest.approx(4.0, abs=0.01)


# Scores


def log_codes(found, rows):
    codes = torch.from_numpy(found.transform_codes(rows))
    with torch.no_grad():
        return found.module_.prior.log_probabilities(codes).sum(dim=1).numpy()


@pytest.mark.parametrize(
    ("likelihood", "distribution"), [("gaussian", norm), ("laplace", laplace)]
)
@pytest.mark.parametrize("prior", ["independent", "autoregressive"])
def test_the_score_is_a_log_density_in_original_units(likelihood, distribution, prior):
    found = embedder(likelihood=likelihood, prior=prior).fit(FLOWERS)
    centre, scale = found.reconstruct(FLOWERS), found.likelihood_scale_
    density = distribution(centre, scale).logpdf(FLOWERS).sum(axis=1)
    expected = density + log_codes(found, FLOWERS)
    np.testing.assert_allclose(found.score_samples(FLOWERS), expected, rtol=1e-4)
    found.set_params(score_method="reconstruction")
    scores = found.score_samples(FLOWERS)
    np.testing.assert_allclose(scores, density, rtol=1e-5, atol=1e-5)


def test_the_density_of_rows_and_codes_sums_to_one():
    X = (np.random.default_rng(0).random((300, 3)) < [0.2, 0.5, 0.9]).astype(float)
    found = embedder(n_codes=3, n_positions=2).fit(X)
    assert found.likelihood_ == "bernoulli"
    rows = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, 8).T * 1.0
    codes = np.array(np.meshgrid(range(3), range(3))).reshape(2, 9).T
    with torch.no_grad():
        log_prior = found.module_.prior.log_probabilities(torch.from_numpy(codes))
    rates = found.inverse_transform_codes(codes)
    given = np.prod(np.where(rows[:, None], rates, 1 - rates), axis=2)
    joint = given * np.exp(log_prior.sum(dim=1).numpy())
    assert joint.sum() == pytest.approx(1.0, abs=1e-5)
    # The score is one term of the likelihood's sum.
    assert (np.exp(found.score_samples(rows)) <= joint.sum(axis=1) * (1 + 1e-5)).all()


def test_quantization_is_the_distance_to_the_codes(fitted):
    fitted.set_params(score_method="quantization")
    found = fitted.score_samples(FLOWERS)
    with pytest.raises(ValueError, match="is no sum over features"):
        fitted.score_contributions(FLOWERS)
    fitted.set_params(score_method="elbo")
    network, rows = fitted.module_, (FLOWERS - fitted.mean_) / fitted.scale_
    with torch.no_grad():
        vectors = network.quantizer.bounded(network.encode(torch.tensor(rows).float()))
    expected = fitted.transform(FLOWERS) - vectors.flatten(1).numpy()
    np.testing.assert_allclose(-found, (expected**2).sum(axis=1), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("method", ["elbo", "reconstruction"])
@pytest.mark.parametrize("likelihood", ["gaussian", "student_t"])
def test_contributions_add_up(method, likelihood):
    found = embedder(score_method=method, likelihood=likelihood).fit(FLOWERS)
    shares = found.score_contributions(FLOWERS)
    assert shares.shape == FLOWERS.shape
    scores = found.score_samples(FLOWERS)
    np.testing.assert_allclose(shares.sum(axis=1), scores, rtol=1e-9)


def test_the_monitored_loss_is_minus_the_score():
    found = embedder(validation_fraction=0.0, max_epochs=8).fit(FLOWERS)
    loss = found.history_[found.best_epoch_ - 1]["monitored_loss"]
    units = np.log(found.scale_).sum()
    assert -found.score(FLOWERS) - units == pytest.approx(loss, abs=1e-3)
    assert {"train_codes", "train_commitment"} <= found.history_[0].keys()


def test_rows_far_away_have_low_scores(fitted):
    far = np.vstack([FLOWERS[:1], FLOWERS[:1] + 1e3, FLOWERS[:1] + 1e30])
    scores = fitted.score_samples(far)
    assert np.isfinite(scores).all()
    assert scores[0] > scores[1] > scores[2]
    assert fitted.predict(far).tolist() == [1, -1, -1]
    assert np.isfinite(fitted.transform(far)).all()
    limits = fitted.score_samples(np.full((1, 4), 3e38, np.float32))
    assert limits < fitted.offset_


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli"])
@pytest.mark.parametrize("method", ["elbo", "reconstruction", "quantization"])
def test_values_out_of_bounds_are_scored_low(likelihood, method):
    X = (np.random.default_rng(0).random((200, 5)) < 0.3).astype(float)
    found = embedder(likelihood=likelihood, score_method=method).fit(X)
    outside = X[:2].copy()
    outside[1, 3] = 2.0
    inside = outside.clip(0, 1)
    lower = found.score_samples(inside) - found.score_samples(outside)
    np.testing.assert_allclose(lower, [0.0, 2e6], atol=1.0)
    with pytest.raises(ValueError, match="likelihood="):
        embedder(likelihood=likelihood).fit(outside)


# What a fit tells


def test_usage_and_perplexity_are_those_of_the_training_rows():
    found = embedder(validation_fraction=0.0).fit(FLOWERS)
    counts = np.bincount(found.transform_codes(FLOWERS).ravel(), minlength=8)
    shares = counts[counts > 0] / counts.sum()
    assert found.code_usage_ == (counts > 0).mean()
    entropy = -(shares * np.log(shares)).sum()
    assert found.perplexity_ == pytest.approx(np.exp(entropy))
    assert found.bits_per_row_ == 9.0


def test_usage_after_a_chunk_is_that_of_the_chunk():
    found = embedder().partial_fit(FLOWERS[:60])
    found.partial_fit(FLOWERS[60:])
    assert found.module_.code_counts.sum() == 90 * 3
    assert found.perplexity_ >= 1.0


@pytest.mark.parametrize(("n_features", "n_positions"), [(1, 1), (4, 2), (30, 6)])
def test_automatic_positions(n_features, n_positions):
    X = np.random.default_rng(0).normal(size=(60, n_features))
    found = VQVAEEmbedder(8, **SMALL).fit(X)
    assert found.n_positions_ == n_positions
    assert found.code_dim_ == 2


def test_codes_that_are_all_equal_are_warned_of():
    X = np.ones((60, 3))
    with pytest.warns(PosteriorCollapseWarning, match="codes collapsed"):
        found = embedder().fit(X)
    assert found.perplexity_ <= 3.0


# Data of all sorts


@pytest.mark.parametrize("quantizer", ["ema", "fsq"])
@pytest.mark.parametrize("n_rows", [2, 5, 49])
def test_fewer_rows_than_codes(n_rows, quantizer):
    X = np.random.default_rng(0).normal(size=(n_rows, 3))
    found = VQVAEEmbedder(512, quantizer=quantizer, **SMALL).fit(X)
    assert found.codebook_.shape[0] == 512
    assert np.isfinite(found.score_samples(X)).all()
    assert found.sample(3, random_state=0).shape == (3, 3)


def test_a_constant_that_changes_does_not_drown_the_others():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(300, 3)), np.full(300, 7.0)])
    found = embedder(max_epochs=20, batch_size=50).fit(X)
    changed = X.copy()
    changed[:, 3] = 9.0
    np.testing.assert_array_equal(
        found.transform_codes(changed), found.transform_codes(X)
    )
    np.testing.assert_allclose(found.reconstruct(X)[:, 3], 7.0, atol=1e-6)
    assert (found.score_samples(changed) < found.score_samples(X)).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8"])
def test_dtypes(dtype):
    X = (IMAGES[:60].reshape(60, -1)).astype(dtype)
    found = embedder().fit(X)
    latents = found.transform(X)
    wanted = np.float64 if dtype in ("float64", "int64") else np.float32
    assert latents.dtype == wanted
    assert found.transform_codes(X).dtype == np.int64
    assert np.isfinite(found.score_samples(X)).all()


def test_duplicates_and_a_single_feature():
    X = np.repeat([[0.0], [1.0], [5.0]], 20, axis=0)
    found = embedder(n_positions=1, max_epochs=30).fit(X)
    codes = found.transform_codes(X)
    assert all(len(np.unique(codes[i : i + 20])) == 1 for i in (0, 20, 40))


def test_frames_of_pandas_and_polars():
    names = ["a", "b", "c", "d"]
    frame = pd.DataFrame(FLOWERS, columns=names)
    expected = embedder().fit(FLOWERS).transform_codes(FLOWERS)
    for table in (frame, pl.DataFrame(frame)):
        found = embedder().fit(table)
        assert list(found.feature_names_in_) == names
        np.testing.assert_array_equal(found.transform_codes(table), expected)
    frame.iloc[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN.*'b'|'b'.*NaN"):
        embedder().fit(frame)


# Images


@pytest.mark.parametrize("quantizer", ["ema", "fsq"])
def test_convolutions_have_codes_on_a_grid(quantizer):
    options = {**SMALL, "network": "conv", "hidden_layer_sizes": (4, 8)}
    found = VQVAEEmbedder(27, quantizer=quantizer, **options).fit(IMAGES)
    assert found.n_positions_ == 4
    codes = found.transform_codes(IMAGES)
    assert codes.shape == (150, 4)
    assert found.reconstruct(IMAGES).shape == (150, 8, 8)
    assert found.inverse_transform_codes(codes).shape == (150, 8, 8)
    assert found.sample(2, random_state=0).shape == (2, 8, 8)
    assert found.score_map(IMAGES[:5]).shape == (5, 8, 8)
    windowed = found.set_params(score_window=3).score_samples(IMAGES)
    assert np.isfinite(windowed).all()


def test_a_grid_has_the_positions_that_it_has():
    options = {"network": "conv", "hidden_layer_sizes": (4,), "input_shape": (1, 8, 8)}
    flat = IMAGES.reshape(150, 64)
    with pytest.raises(ValueError, match=r"n_positions=3, .* 4 x 4"):
        embedder(**options).fit(flat)
    assert embedder(**{**options, "n_positions": 16}).fit(flat).n_positions_ == 16


# Streams, files, interruptions


@pytest.mark.parametrize("quantizer", ["ema", "fsq"])
def test_streams(quantizer):
    n_codes = 8 if quantizer == "ema" else 9
    found = embedder(n_codes=n_codes, quantizer=quantizer)
    for chunk in np.array_split(FLOWERS, 4):
        found.partial_fit(chunk)
    assert len(found.history_) == 4
    found.calibrate(FLOWERS)
    assert set(found.predict(FLOWERS)) <= {-1, 1}
    same = embedder(n_codes=n_codes, quantizer=quantizer)
    for chunk in np.array_split(FLOWERS, 4):
        same.partial_fit(chunk)
    np.testing.assert_array_equal(found.transform(FLOWERS), same.transform(FLOWERS))


def test_a_warm_start_names_the_parameter_that_was_changed():
    found = embedder(warm_start=True).fit(FLOWERS)
    with pytest.raises(ValueError, match="but prior is now 'independent' instead of"):
        found.set_params(prior="independent").fit(FLOWERS)


def test_warm_starts_continue_with_the_codes_that_there_are():
    found = embedder(warm_start=True, learning_rate_init=1e-9).fit(FLOWERS)
    before = found.codebook_.copy()
    found.fit(FLOWERS)
    assert np.abs(found.codebook_ - before).max() < np.abs(before).max()
    found.set_params(n_codes=9)
    with pytest.raises(ValueError, match="n_codes is now 9 instead of 8"):
        found.fit(FLOWERS)


def test_equal_seeds_make_equal_codes():
    first, second = (embedder().fit(FLOWERS) for _ in range(2))
    np.testing.assert_array_equal(first.codebook_, second.codebook_)
    np.testing.assert_array_equal(first.sample(9), second.sample(9))
    other = embedder(random_state=1).fit(FLOWERS)
    assert not np.array_equal(first.codebook_, other.codebook_)


def test_an_interrupted_training_resumes_bit_for_bit(tmp_path):
    options = {"max_epochs": 12, "checkpoint_interval": 1}
    whole = embedder(**options).fit(FLOWERS)
    path = tmp_path / "training"
    cut = embedder(**options, checkpoint=path, max_time=1e-9).fit(FLOWERS)
    assert path.exists()
    assert len(cut.history_) == 1
    resumed = embedder(**options, checkpoint=path).fit(FLOWERS)
    np.testing.assert_array_equal(resumed.codebook_, whole.codebook_)
    np.testing.assert_array_equal(
        resumed.score_samples(FLOWERS), whole.score_samples(FLOWERS)
    )


def test_files_and_pickles_hold_everything(fitted, tmp_path):
    latentsk.save(fitted, tmp_path / "model.latentsk")
    for copied in (
        latentsk.load(tmp_path / "model.latentsk"),
        pickle.loads(pickle.dumps(fitted)),
    ):
        for name in ("code_usage_", "perplexity_", "bits_per_row_", "offset_"):
            assert getattr(copied, name) == getattr(fitted, name)
        np.testing.assert_array_equal(copied.codebook_, fitted.codebook_)
        for method in ("transform_codes", "transform", "score_samples", "reconstruct"):
            np.testing.assert_array_equal(
                getattr(copied, method)(FLOWERS), getattr(fitted, method)(FLOWERS)
            )
        np.testing.assert_array_equal(
            copied.sample(5, random_state=0), fitted.sample(5, random_state=0)
        )


# Samples


def test_samples_have_the_moments_of_the_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1_000, 1)) @ [[2.0, -1.0]] + 0.1 * rng.normal(size=(1_000, 2))
    X += [10.0, 0.0]
    found = embedder(n_codes=16, n_positions=2, max_epochs=60, batch_size=50).fit(X)
    drawn = found.sample(4_000, random_state=0)
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(X.T), atol=0.5)
    assert np.corrcoef(drawn.T)[0, 1] < -0.9


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_codes": 0}, "n_codes"),
        ({"n_positions": 0}, "n_positions"),
        ({"code_dim": 0}, "code_dim"),
        ({"quantizer": "k-means"}, "quantizer"),
        ({"prior": "normal"}, "prior"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"likelihood_scale": True}, "likelihood_scale must be"),
        ({"n_codes": 17, "quantizer": "fsq"}, r"n_codes=17 .* Set n_codes=16"),
        (
            {"n_codes": 27, "quantizer": "fsq", "code_dim": 2},
            None,
        ),
        (
            {"n_codes": 27, "quantizer": "fsq", "code_dim": 4},
            r"n_codes=27 of code_dim=4 .* code_dim='auto', which is",
        ),
    ],
)
def test_parameters_without_meaning(options, message):
    model = embedder(**options)
    if message is None:
        model.fit(FLOWERS)
        return
    with pytest.raises(ValueError, match=message):
        model.fit(FLOWERS)
    assert vars(model).keys() == model.get_params().keys()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[0, 1]], "codes has 2 columns, but a row has 3"),
        ([[0, 1, 8]], r"from 0 to 7, got 8 in row 0, position 2"),
        ([[0, 1, -1]], r"got -1 in row 0"),
        ([[0, 1, 0.5]], r"got 0.5"),
        ([0, 1, 2], "codes must be a 2D array, got 1D"),
        ([[0, 1, np.nan]], "codes must be whole numbers .* got nan in row 0"),
        ([["0", "1", "a"]], "codes must hold numbers, got dtype <U1"),
        ([[0, 1, 2], [0]], "codes are no table of numbers"),
        (np.ma.masked_greater([[0, 1, 2]], 1), "codes has masked values"),
    ],
)
def test_codes_that_there_are_not(codes, message):
    found = embedder().fit(FLOWERS)
    with pytest.raises(ValueError, match=message):
        found.inverse_transform_codes(codes)


# Inside of others


def test_inside_of_others():
    model = embedder()
    pipeline = make_pipeline(StandardScaler(), clone(model)).fit(FLOWERS)
    assert pipeline.predict(FLOWERS).shape == (150,)
    index = LatentIndex(clone(model)).fit(FLOWERS)
    _, positions = index.kneighbors(FLOWERS[:5], n_neighbors=3)
    assert positions.shape == (5, 3)
    detector = LatentOutlierDetector(clone(model), random_state=0).fit(FLOWERS)
    far = FLOWERS[:2] + 50.0
    assert detector.predict(far).tolist() == [-1, -1]
