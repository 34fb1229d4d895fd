"""Rows with values that a likelihood or a loss rules out: outliers, not errors."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import latentsk
from latentsk import AutoencoderEmbedder, LatentOutlierDetector, VAEEmbedder

QUICK = {"max_epochs": 15, "random_state": 0}
rng = np.random.default_rng(0)
LATENTS = rng.normal(size=(300, 2))
SHARES = 1 / (1 + np.exp(-3 * LATENTS @ rng.normal(size=(2, 6))))
FLAGS = (rng.random(SHARES.shape) < SHARES).astype(float)
COUNTS = rng.poisson(np.exp(0.5 + 0.4 * LATENTS @ rng.normal(size=(2, 6)))) * 1.0

MODELS = {
    "bernoulli": (VAEEmbedder(2, likelihood="bernoulli", **QUICK), FLAGS),
    "auto": (VAEEmbedder(2, **QUICK), FLAGS),
    "grey": (VAEEmbedder(2, likelihood="continuous_bernoulli", **QUICK), SHARES),
    "drawn": (VAEEmbedder(2, dynamic_binarization=True, **QUICK), SHARES),
    "counts": (VAEEmbedder(2, likelihood="poisson", **QUICK), COUNTS),
    "autoencoder": (
        AutoencoderEmbedder(2, loss="binary_cross_entropy", **QUICK),
        FLAGS,
    ),
}
# Of one column, from the least to the farthest out.
OUTSIDE = {
    "counts": [2.5, -1.0, -3.0, -1e6, -1e90],
    None: [1.001, -0.5, 2.0, 1000.0, -1e9, 1e90],
}


@pytest.fixture(scope="module", params=list(MODELS))
def model(request):
    embedder, X = MODELS[request.param]
    name = request.param if request.param in OUTSIDE else None
    inside = X[:20]
    outside = np.tile(inside[3], (len(OUTSIDE[name]), 1))
    outside[:, 4] = OUTSIDE[name]
    if request.param == "counts":
        outside[0, 4] = 2.5
    return embedder.fit(X), inside, outside


def excess_of(embedder, values):
    if getattr(embedder, "likelihood", "") == "poisson":
        return np.where(values < 0, -values, np.abs(values - values.round()))
    return np.abs(values - values.clip(0, 1))


def methods(embedder):
    if isinstance(embedder, VAEEmbedder):
        return ["elbo", "iwae", "reconstruction", "kl"]
    return [None]


def test_they_are_outliers_ranked_by_how_far_out_they_are(model):
    embedder, inside, outside = model
    cost = 1e6 * (1 + excess_of(embedder, outside[:, 4]))
    for method in methods(embedder):
        scored = embedder
        if method is not None:
            scored = embedder.set_params(score_method=method).calibrate(inside)
        scores = scored.score_samples(np.vstack([inside, outside]))
        assert np.isfinite(scores).all()
        ordinary, low = scores[:20], scores[20:]
        assert ordinary.min() > -1e3
        if isinstance(embedder, VAEEmbedder):
            np.testing.assert_allclose(low, -cost, rtol=1e-3)
        assert (low < -cost * 0.999).all()
        assert (np.diff(low) < 0).all()
        assert (scored.predict(outside) == -1).all()
        assert (scored.decision_function(outside) < -9e5).all()
        # Of a row nothing depends on the other rows.
        np.testing.assert_allclose(scored.score_samples(inside), ordinary, rtol=1e-9)
    if method is not None:
        embedder.set_params(score_method="elbo").calibrate(inside)


def test_contributions_point_to_the_column(model):
    embedder, _, outside = model
    contributions = embedder.score_contributions(outside)
    assert (contributions.argmin(axis=1) == 4).all()
    assert (np.delete(contributions, 4, axis=1) > -1e3).all()
    scores = embedder.score_samples(outside)
    np.testing.assert_allclose(contributions.sum(axis=1), scores, rtol=1e-9)


def test_they_are_embedded_as_the_nearest_possible_row(model):
    embedder, _, outside = model
    nearest = outside.copy()
    nearest[:, 4] = outside[:, 4].clip(0, 1)
    if getattr(embedder, "likelihood", "") == "poisson":
        nearest[:, 4] = outside[:, 4].clip(0).round()
    for name in ("transform", "reconstruct"):
        found = getattr(embedder, name)(outside)
        np.testing.assert_array_equal(found, getattr(embedder, name)(nearest))
    if not isinstance(embedder, VAEEmbedder):
        return
    value, _ = embedder.log_likelihood(outside, 50, random_state=0)
    expected, _ = embedder.log_likelihood(nearest, 50, random_state=0)
    cost = 1e6 * (1 + excess_of(embedder, outside[:, 4]))
    np.testing.assert_allclose(value, expected - cost, rtol=1e-12)


def test_rounding_costs_nothing(model):
    embedder, inside, _ = model
    near = inside[:1].copy()
    near[0, 4] = -1e-8
    exact = inside[:1].copy()
    exact[0, 4] = 0.0
    np.testing.assert_allclose(
        embedder.score_samples(near), embedder.score_samples(exact), atol=1e-5
    )


@pytest.mark.parametrize(
    "model",
    [
        "bernoulli",
        "autoencoder",
        pytest.param("counts", marks=pytest.mark.slow),
    ],
    indirect=True,
)
def test_the_graph_says_the_same(model, tmp_path):
    embedder, inside, outside = model
    dtype = "float32" if isinstance(embedder, VAEEmbedder) else "float64"
    rows = np.vstack([inside, outside[:4]]).astype(dtype)
    embedder.to_onnx(tmp_path / "model.onnx", dtype=dtype)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    latents, scores = session.run(["transform", "score_samples"], {"X": rows})
    np.testing.assert_allclose(latents, embedder.transform(rows), atol=1e-4)
    np.testing.assert_allclose(
        scores, embedder.score_samples(rows), rtol=1e-4, atol=1e-3
    )


def test_single_precision_ranks_them_too(model):
    embedder, _, outside = model
    scores = embedder.score_samples(outside[:4].astype(np.float32))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0).all()


@pytest.mark.parametrize("name", list(MODELS))
def test_a_fit_names_the_column(name):
    embedder, X = MODELS[name]
    spoiled = pd.DataFrame(X, columns=list("abcdef"))
    spoiled.loc[7, "e"] = -3.0
    if name == "auto":
        assert latentsk.VAEEmbedder(2, **QUICK).fit(spoiled).likelihood_ == "gaussian"
        return
    fresh = type(embedder)(**embedder.get_params())
    with pytest.raises(ValueError, match=r"but X ranges .*-3 in column 'e', row 7\."):
        fresh.fit(spoiled)
    assert not hasattr(fresh, "module_")
    started = type(embedder)(**embedder.get_params()).partial_fit(spoiled[8:])
    with pytest.raises(ValueError, match=r"-3 in column 'e', row 7\."):
        started.partial_fit(spoiled)
    assert len(started.history_) == 1


def test_pixels_are_named():
    images = np.zeros((60, 4, 5))
    images[9, 2, 3] = 255.0
    with pytest.raises(ValueError, match=r"255 in column .*2.*3.*, row 9\. Divide"):
        VAEEmbedder(2, likelihood="bernoulli", **QUICK).fit(images)


def test_a_map_of_an_image_shows_the_pixel():
    images = np.repeat(SHARES[:, :3], 8, axis=1).reshape(300, 4, 6)
    embedder = VAEEmbedder(2, likelihood="continuous_bernoulli", **QUICK).fit(images)
    spoiled = images[:2].copy()
    spoiled[1, 2, 3] = 1.5
    maps = embedder.score_map(spoiled)
    assert np.unravel_index(maps[1].argmin(), (4, 6)) == (2, 3)
    assert maps[1].min() == pytest.approx(-1.5e6, rel=1e-3)
    embedder.set_params(score_window=2)
    assert embedder.score_samples(spoiled)[1] == pytest.approx(-1.5e6, rel=1e-3)


@pytest.mark.parametrize("method", ["auto", "embedder_score"])
def test_a_detector_around_them_scores_such_rows(model, method):
    embedder, _, outside = model
    name = "counts" if getattr(embedder, "likelihood", "") == "poisson" else None
    X = COUNTS if name else FLAGS
    detector = LatentOutlierDetector(embedder, method=method, random_state=0).fit(X)
    scores = detector.score_samples(np.vstack([X[:20], outside]))
    assert np.isfinite(scores).all()
    far = np.abs(outside[:, 4]) >= 1000
    assert (detector.predict(outside[far]) == -1).all()
    assert scores[20:][far].max() < scores[:20].min()
    if method == "embedder_score":
        assert scores[20:].max() < -9e5


@pytest.mark.parametrize(
    "embedder",
    [
        VAEEmbedder(2, likelihood="continuous_bernoulli", **QUICK),
        AutoencoderEmbedder(2, loss="binary_cross_entropy", **QUICK),
    ],
    ids=["vae", "autoencoder"],
)
def test_behind_a_scaler_every_large_value_is_found(embedder):
    pipeline = make_pipeline(MinMaxScaler(), embedder).fit(SHARES * [1, 5, 9, 2, 3, 4])
    rows = np.repeat(SHARES[:10] * [1, 5, 9, 2, 3, 4], 6, axis=0)
    rows[np.arange(60), np.tile(np.arange(6), 10)] = 1_000.0
    assert (pipeline.predict(rows) == -1).all()
    worst = (
        pipeline[-1].score_contributions(pipeline[:-1].transform(rows)).argmin(axis=1)
    )
    assert (worst == np.tile(np.arange(6), 10)).all()
