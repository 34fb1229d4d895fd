"""Images as arrays: the result of flat rows with their channels first, exactly."""

import pickle
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

import latentsk
from latentsk import AutoencoderEmbedder, PCAEmbedder, RobustStandardizer, VAEEmbedder
from latentsk.exceptions import CheckpointError
from latentsk.training import _data

GOLDEN = Path(__file__).parents[1] / "golden"
GREY = load_digits().images[:120].astype(np.uint8)[:, :7]  # 7 x 8 pixels
# Three channels that differ, so that scrambled ones would change every result.
LAST = np.stack([GREY, GREY // 2, 16 - GREY], axis=-1)
FIRST = np.ascontiguousarray(LAST.transpose(0, 3, 1, 2))
FLAT = FIRST.reshape(120, -1)
SHAPE = (3, 7, 8)
SMALL = {"max_epochs": 2, "random_state": 0, "device": "cpu"}
CONV = {**SMALL, "network": "conv", "hidden_layer_sizes": (4,)}
pytestmark = pytest.mark.filterwarnings(
    "ignore::latentsk.exceptions.PosteriorCollapseWarning"
)
KINDS = pytest.mark.parametrize("kind", [AutoencoderEmbedder, VAEEmbedder])
NETWORKS = pytest.mark.parametrize(
    "network",
    [CONV, {**SMALL, "hidden_layer_sizes": (8,)}, {**CONV, "score_window": 3}],
    ids=["conv", "mlp", "window"],
)


def same(one, other):
    """Compare weights, thresholds and all else that a fit leaves, bit for bit."""
    ours, theirs = one._get_state(), other._get_state()
    assert ours.keys() == theirs.keys()
    others = {"module_", "history_", "_layout", "_optimizer_state"}
    for name in ours.keys() - others:
        assert np.array_equal(ours[name], theirs[name]), name
    for name, weights in ours["module_"].items():
        assert np.array_equal(weights, theirs["module_"][name]), name


def memory_map(array, tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


# What goes in


@KINDS
@NETWORKS
def test_training_on_arrays_equals_that_on_flat_rows(kind, network):
    flat = kind(3, input_shape=SHAPE, **network).fit(FLAT)
    for X in (LAST, FIRST):
        embedder = kind(3, **network).fit(X)
        same(embedder, flat)
        assert embedder.input_shape_ == flat.input_shape_ == SHAPE
        assert embedder.n_features_in_ == FLAT.shape[1]
        assert np.array_equal(embedder.transform(X), flat.transform(FLAT))
        assert np.array_equal(embedder.score_samples(X), flat.score_samples(FLAT))
        assert np.array_equal(embedder.predict(X), flat.predict(FLAT))
        assert embedder.score(X) == flat.score(FLAT)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", "float64"])
def test_dtypes(dtype):
    flat = AutoencoderEmbedder(3, input_shape=SHAPE, **CONV).fit(FLAT.astype(dtype))
    embedder = AutoencoderEmbedder(3, **CONV).fit(LAST.astype(dtype))
    same(embedder, flat)
    found = embedder.transform(LAST.astype(dtype))
    assert found.dtype == flat.transform(FLAT.astype(dtype)).dtype


@pytest.mark.parametrize(
    "X",
    [
        torch.from_numpy(LAST),
        torch.from_numpy(FIRST),
        list(LAST),
        list(torch.from_numpy(FIRST)),
        tuple(LAST),
        np.asfortranarray(LAST),
        LAST[:, ::-1][:, ::-1],
    ],
    ids=["tensor", "tensor, first", "list", "tensors", "tuple", "order F", "strides"],
)
def test_containers(X):
    flat = AutoencoderEmbedder(3, input_shape=SHAPE, **CONV).fit(FLAT)
    embedder = AutoencoderEmbedder(3, **CONV).fit(X)
    same(embedder, flat)
    assert isinstance(embedder.reconstruct(X), np.ndarray)
    assert np.array_equal(embedder.transform(X), flat.transform(FLAT))


@pytest.mark.parametrize("resident", [2**26, 0], ids=["resident", "streamed"])
@pytest.mark.parametrize("images", [LAST, FIRST], ids=["last", "first"])
def test_memory_maps(tmp_path, monkeypatch, images, resident):
    monkeypatch.setattr(_data, "MAX_RESIDENT_BYTES", resident)
    (tmp_path / "flat").mkdir()
    rows = memory_map(FLAT, tmp_path / "flat")
    flat = AutoencoderEmbedder(3, input_shape=SHAPE, **CONV).fit(rows)
    mapped = memory_map(images, tmp_path)
    embedder = AutoencoderEmbedder(3, **CONV).fit(mapped)
    same(embedder, flat)
    assert np.array_equal(embedder.score_samples(mapped), flat.score_samples(rows))
    assert embedder.reconstruct(mapped).shape == images.shape


def test_memory_maps_of_another_dtype_are_converted(tmp_path):
    mapped = memory_map(LAST > 5, tmp_path)
    embedder = AutoencoderEmbedder(3, **CONV).fit(mapped)
    same(embedder, AutoencoderEmbedder(3, **CONV).fit(np.asarray(mapped)))


def test_bad_pixels_of_a_memory_map_are_named(tmp_path):
    images = LAST / 1.0
    images[100, 5, 2, 1] = np.inf
    mapped = memory_map(images, tmp_path)
    with pytest.raises(ValueError, match=r"infinity: image 100, pixel \(5, 2, 1\)"):
        AutoencoderEmbedder(3, **CONV).fit(mapped)
    images[100, 5, 2, 1] = 1e101
    with pytest.raises(ValueError, match=r"1e\+101 in column '\(5, 2, 1\)', row 100"):
        AutoencoderEmbedder(3, **CONV).fit(memory_map(images, tmp_path))


def test_grey_images_need_no_channels():
    flat = AutoencoderEmbedder(3, input_shape=(1, 7, 8), **CONV)
    flat.fit(GREY.reshape(120, -1))
    for X in (GREY, GREY[..., None], GREY[:, None]):
        embedder = AutoencoderEmbedder(3, **CONV).fit(X)
        same(embedder, flat)
        assert embedder.reconstruct(X).shape == X.shape


def test_classic_networks_take_arrays():
    X = np.random.default_rng(0).uniform(size=(20, 32, 32, 3)).astype(np.float32)
    network = {**SMALL, "network": "conv-32-128-256", "max_epochs": 1}
    embedder = AutoencoderEmbedder(**network).fit(X)
    flat = AutoencoderEmbedder(**network).fit(X.transpose(0, 3, 1, 2).reshape(20, -1))
    same(embedder, flat)
    assert embedder.input_shape_ == flat.input_shape_ == (3, 32, 32)


def test_custom_modules_are_given_images():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(1), nn.Linear(60, 2))
    decoder = nn.Linear(2, 168)
    modules = {"encoder": encoder, "decoder": decoder, **SMALL}
    embedder = AutoencoderEmbedder(**modules).fit(LAST)
    same(embedder, AutoencoderEmbedder(**modules, input_shape=SHAPE).fit(FLAT))


def test_arrays_for_custom_modules_of_other_shapes():
    series = np.random.default_rng(0).normal(size=(60, 2, 10)).astype(np.float32)
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv1d(2, 1, 3), nn.Flatten(1), nn.Linear(8, 2))
    embedder = AutoencoderEmbedder(
        encoder=encoder, decoder=nn.Linear(2, 20), input_shape=(2, 10), **SMALL
    ).fit(series)
    flat = clone(embedder).fit(series.reshape(60, -1))
    same(embedder, flat)
    assert embedder.reconstruct(series).shape == series.shape


@pytest.mark.parametrize("network", [CONV, SMALL], ids=["conv", "mlp"])
def test_chunks_of_arrays(network):
    flat = AutoencoderEmbedder(3, input_shape=SHAPE, **network)
    flat.partial_fit(FLAT[:60]).partial_fit(FLAT[60:]).calibrate(FLAT)
    embedder = AutoencoderEmbedder(3, **network)
    # Chunks may differ in layout; the first decides on what comes out.
    embedder.partial_fit(LAST[:60]).partial_fit(FIRST[60:]).calibrate(FLAT)
    same(embedder, flat)
    assert embedder.inverse_transform(embedder.transform(LAST)).shape == LAST.shape


def test_a_warm_start_goes_on_with_arrays():
    embedder = AutoencoderEmbedder(3, warm_start=True, **CONV).fit(LAST).fit(FIRST)
    flat = AutoencoderEmbedder(3, warm_start=True, input_shape=SHAPE, **CONV)
    same(embedder, flat.fit(FLAT).fit(FLAT))


def test_another_fit_forgets_the_layout():
    embedder = AutoencoderEmbedder(3, **SMALL).fit(LAST).fit(FLAT)
    assert not hasattr(embedder, "input_shape_")
    assert embedder.reconstruct(FLAT[:2]).shape == (2, 168)
    assert embedder.fit(GREY).input_shape_ == (1, 7, 8)


class Stop:
    """A callback that ends the training with an error."""

    def setup(self, estimator, context): ...

    def teardown(self, estimator, context): ...

    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context, *, metadata=None):
        if metadata and metadata.get("epoch") == 2:
            raise RuntimeError("stopped")


def test_a_checkpoint_is_of_one_shape_of_images(tmp_path):
    path = {"checkpoint": tmp_path / "training", "checkpoint_interval": 1}
    network = {**CONV, "max_epochs": 4}
    whole = AutoencoderEmbedder(3, **network).fit(LAST)
    embedder = AutoencoderEmbedder(3, **network, **path).set_callbacks(Stop())
    with pytest.raises(RuntimeError, match="stopped"):
        embedder.fit(LAST)
    reshaped = FIRST.reshape(120, 3, 8, 7)  # the same flat rows
    with pytest.raises(CheckpointError, match="input_shape"):
        AutoencoderEmbedder(3, **network, **path).fit(reshaped)
    resumed = AutoencoderEmbedder(3, **network, **path).fit(FIRST)
    same(resumed, whole)


def test_a_failed_fit_keeps_the_layout():
    embedder = AutoencoderEmbedder(3, **CONV).fit(LAST)
    before = embedder.transform(LAST)
    bad = GREY / 1.0
    bad[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        embedder.fit(bad)
    with pytest.raises(ValueError, match="too small"):
        embedder.fit(GREY[:, :1])
    assert embedder.input_shape_ == SHAPE
    assert np.array_equal(embedder.transform(LAST), before)


# What comes out


@KINDS
@pytest.mark.parametrize(
    "fitted_on", [LAST, FIRST, FLAT], ids=["last", "first", "flat"]
)
def test_results_have_the_layout_of_their_rows(kind, fitted_on):
    embedder = kind(3, input_shape=SHAPE, **CONV).fit(fitted_on)
    flat = embedder.reconstruct(FLAT), embedder.score_contributions(FLAT)
    for rows, parts in [flat]:
        assert rows.shape == parts.shape == FLAT.shape
    for X, axes in ((LAST, (0, 2, 3, 1)), (FIRST, (0, 1, 2, 3))):
        found = embedder.reconstruct(X), embedder.score_contributions(X)
        for ours, theirs in zip(found, flat, strict=True):
            images = theirs.reshape(FIRST.shape).transpose(axes)
            assert ours.shape == X.shape
            assert np.array_equal(ours, images)
            assert ours.flags.c_contiguous


@KINDS
@pytest.mark.parametrize(
    "fitted_on", [LAST, FIRST, FLAT], ids=["last", "first", "flat"]
)
def test_what_comes_from_latents_has_the_layout_of_the_fit(kind, fitted_on):
    embedder = kind(3, input_shape=SHAPE, **CONV).fit(fitted_on)
    Z = embedder.transform(LAST)
    assert np.array_equal(
        embedder.inverse_transform(Z), embedder.reconstruct(fitted_on)
    )
    if kind is VAEEmbedder:
        image = fitted_on.shape[1:]
        assert embedder.sample(4).shape == (4, *image)
        for X in (LAST, FIRST, FLAT):
            path = embedder.interpolate(X[0], X[1:2], n_steps=3)
            assert path.shape == (3, *image)
            ends = embedder.inverse_transform(Z[:2])
            assert np.allclose(path[[0, -1]], ends, rtol=1e-5, atol=1e-5)
            assert embedder.traverse(X[:1], 0, [0.0, 1.0]).shape == (2, *image)
    assert embedder.set_output(transform="pandas").transform(LAST).shape == (120, 3)


def test_paths_between_grey_images():
    vae = VAEEmbedder(3, **CONV).fit(GREY)
    assert vae.interpolate(GREY[0], GREY[1], 3).shape == (3, 7, 8)
    assert vae.traverse(GREY[:1, None], 0, [0.0]).shape == (1, 7, 8)
    with pytest.raises(ValueError, match=r"a must be a row of shape \(56,\)"):
        vae.interpolate(GREY[0, :6], GREY[1])


@KINDS
def test_what_a_vae_says_besides(kind):
    vae = VAEEmbedder(3, input_shape=SHAPE, **CONV).fit(FLAT)
    for ours, theirs in zip(
        vae.transform_distribution(LAST), vae.transform_distribution(FLAT), strict=True
    ):
        assert np.array_equal(ours, theirs)
    value, _ = vae.log_likelihood(LAST, 10, random_state=0)
    assert np.array_equal(value, vae.log_likelihood(FLAT, 10, random_state=0)[0])
    assert vae.latent_report(LAST).kl == vae.latent_report(FLAT).kl


def test_the_mean_is_that_of_flat_rows():
    embedder = AutoencoderEmbedder(3, **SMALL).fit(LAST)
    assert np.allclose(embedder.mean_, FLAT.mean(axis=0))


# Elsewhere


@KINDS
def test_files_pickles_and_graphs(kind, tmp_path):
    embedder = kind(3, score_window=2, **CONV).fit(LAST)
    latentsk.save(embedder, tmp_path / "model")
    copies = latentsk.load(tmp_path / "model"), pickle.loads(pickle.dumps(embedder))
    for copy in copies:
        same(copy, embedder)
        assert copy.input_shape_ == SHAPE
        assert np.array_equal(copy.reconstruct(LAST), embedder.reconstruct(LAST))
        assert copy.inverse_transform(copy.transform(FIRST)).shape == LAST.shape
        assert np.array_equal(copy.score_samples(FIRST), embedder.score_samples(LAST))
    embedder.to_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    latents, rows, scores = session.run(None, {"X": FLAT.astype(np.float32)})
    assert np.allclose(latents, embedder.transform(LAST), atol=1e-4)
    assert np.allclose(rows, embedder.reconstruct(FLAT), atol=1e-3)
    assert np.allclose(scores, embedder.score_samples(LAST), rtol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["score_method"] in ("reconstruction", "elbo")
    assert metadata["score_window"] == "2"
    assert float(metadata["offset_"]) == pytest.approx(embedder.offset_)


def test_a_file_of_the_first_releases_takes_arrays():
    embedder = latentsk.load(GOLDEN / "v2-autoencoder-conv.latentsk")
    X = np.load(GOLDEN / "v2-autoencoder-conv.npz")["rows"]
    assert embedder.input_shape_ == (1, 2, 2)
    images = X.reshape(-1, 2, 2)
    assert np.array_equal(embedder.transform(images), embedder.transform(X))
    assert embedder.inverse_transform(embedder.transform(X)).shape == X.shape
    assert embedder.score_map(images).shape == images.shape


def test_pipelines_and_searches_take_arrays():
    pipeline = make_pipeline(AutoencoderEmbedder(3, **CONV)).fit(LAST)
    embedder = AutoencoderEmbedder(3, **CONV).fit(LAST)
    assert np.array_equal(pipeline.transform(LAST), embedder.transform(LAST))
    assert np.array_equal(pipeline.score_samples(FIRST), embedder.score_samples(LAST))
    search = GridSearchCV(embedder, {"n_components": [1, 2]}, cv=2).fit(LAST)
    assert search.best_estimator_.input_shape_ == SHAPE


# What is refused


@KINDS
@pytest.mark.parametrize(
    ("X", "parameters", "message"),
    [
        (np.zeros((9, 3, 3, 3)), {}, r"shape \(9, 3, 3, 3\).* all axes are equal"),
        (np.zeros((9, 3, 3, 3)), {"input_shape": (3, 3, 3)}, "all axes are equal"),
        (np.zeros((9, 3, 5, 3)), {}, r"Set input_shape=\(3, 5, 3\)"),
        (np.zeros((9, 16, 16, 5)), {}, r"input_shape=\(5, 16, 16\) if last"),
        (np.zeros((9, 2, 3, 4, 5)), {}, "cannot be told"),
        (LAST, {"input_shape": (7, 8, 3)}, r"set input_shape=\(3, 7, 8\)"),
        (LAST, {"input_shape": (3, 8, 7)}, r"\(n, 8, 7, 3\)"),
        (LAST, {"input_shape": (7, 8)}, r"but input_shape=\(7, 8\)"),
        (LAST, {"input_shape": ("a", 7, 8)}, "input_shape must hold positive integers"),
        ([LAST[0], LAST[1, :5]], {}, r"\(5, 8, 3\) in row 1. Resize or crop"),
        (LAST[:0], {}, "0 sample"),
        (LAST * 1j, {}, "Complex data"),
        (np.ma.masked_greater(LAST, 14), {}, "masked values, .* in row 0. Leave such"),
    ],
)
def test_fit_refuses(kind, X, parameters, message):
    embedder = kind(3, **CONV, **parameters)
    with pytest.raises(ValueError, match=message):
        embedder.fit(X)
    assert vars(embedder) == vars(kind(3, **CONV, **parameters))


def test_the_remedies_work():
    X = np.random.default_rng(0).normal(size=(60, 3, 3, 3))
    rows = X.transpose(0, 3, 1, 2).reshape(len(X), -1)
    embedder = AutoencoderEmbedder(2, **CONV, input_shape=(3, 3, 3)).fit(rows)
    assert embedder.transform(rows).shape == (60, 2)
    spectra = np.random.default_rng(0).normal(size=(60, 6, 6, 5))
    embedder = AutoencoderEmbedder(2, **CONV, input_shape=(5, 6, 6)).fit(spectra)
    assert embedder.reconstruct(spectra).shape == spectra.shape
    masked = np.ma.masked_less(LAST, 1)[..., 2:].repeat(3, axis=3)
    X = masked.astype(float).filled(np.nan)
    kept = X[np.isfinite(X).all(axis=(1, 2, 3))]
    assert 0 < len(kept) < len(X)
    assert AutoencoderEmbedder(2, **CONV).fit(kept).input_shape_ == SHAPE


@pytest.mark.parametrize(
    "method", ["transform", "reconstruct", "score_samples", "score_map", "partial_fit"]
)
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (LAST[:, :6], r"\(120, 6, 8, 3\), but input_shape=\(3, 7, 8\)"),
        (LAST.transpose(0, 2, 1, 3), r"stands for arrays of shape \(n, 3, 7, 8\)"),
        (GREY, r"X has shape \(120, 7, 8\)"),
        (LAST[0], r"Give a single image as X\[None\]"),
        (FLAT[:, :-1], "167 features"),
    ],
    ids=["smaller", "turned", "grey", "single", "flat"],
)
def test_other_images_than_those_of_the_fit(method, X, message):
    embedder = AutoencoderEmbedder(3, **CONV).fit(LAST)
    with pytest.raises(ValueError, match=message):
        getattr(embedder, method)(X)
    assert getattr(embedder, method)(LAST) is not None


def test_flat_rows_of_an_unknown_order():
    embedder = AutoencoderEmbedder(3, **SMALL).fit(FLAT)
    with pytest.raises(ValueError, match=r"4D array .* fitted on flat rows"):
        embedder.transform(LAST)
    with pytest.raises(AttributeError, match="has no input_shape_"):
        _ = embedder.input_shape_
    with pytest.raises(NotFittedError):
        _ = AutoencoderEmbedder().input_shape_


@KINDS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_pixels_are_named(kind, bad):
    X = LAST / 1.0
    X[3, 5, 2, 1] = bad
    what = "NaN" if np.isnan(bad) else "infinity"
    for images in (X, X.transpose(0, 3, 1, 2), torch.from_numpy(X)):
        with pytest.raises(
            ValueError,
            match=rf"contains {what}: image 3, pixel \(5, 2, 1\) .* out: X\[",
        ):
            kind(3, **CONV).fit(images)
    grey = GREY / 1.0
    grey[4, 6, 7] = bad
    with pytest.raises(ValueError, match=rf"{what}: image 4, pixel \(6, 7\)"):
        kind(3, **CONV).fit(grey)


def test_huge_pixels_are_named():
    X = LAST / 1.0
    X[3, 5, 2, 1] = -1e101
    with pytest.raises(ValueError, match=r"-1e\+101 in column '\(5, 2, 1\)', row 3"):
        AutoencoderEmbedder(3, **CONV).fit(X)


@pytest.mark.parametrize(
    ("X", "code"),
    [
        (LAST, "np.asarray(X).transpose(0, 3, 1, 2).reshape(len(X), -1)"),
        (FIRST, "X.reshape(len(X), -1)"),
        (GREY, "X.reshape(len(X), -1)"),
        (torch.from_numpy(LAST), ".reshape(len(X), -1)"),
        (list(LAST), "np.asarray(X).transpose(0, 3, 1, 2).reshape(len(X), -1)"),
    ],
    ids=["last", "first", "grey", "tensor", "list"],
)
@pytest.mark.parametrize("make", [lambda: PCAEmbedder(2), RobustStandardizer])
def test_others_say_how_to_flatten(make, X, code):
    with pytest.raises(
        ValueError, match=r"Expected 2D array, got \dD .*Flatten"
    ) as error:
        make().fit(X)
    assert f"{code}. " in str(error.value)
    rows = eval(str(error.value).split("Flatten every row: ")[1].split(". ")[0])
    assert make().fit(rows).transform(rows) is not None


# Flat rows whose channels come last


@KINDS
def test_scrambled_rows_are_warned_of(kind):
    scrambled = LAST.reshape(120, -1)
    with pytest.warns(
        UserWarning, match="flattened with channels last.*7, 8, 3"
    ) as seen:
        kind(3, input_shape=SHAPE, **CONV).fit(scrambled)
    assert "input_shape=(3, 7, 8) and give X.reshape(len(X), 7, 8, 3)" in str(seen[0])
    mended = kind(3, input_shape=SHAPE, **CONV).fit(scrambled.reshape(120, 7, 8, 3))
    same(mended, kind(3, **CONV).fit(LAST))


def test_a_shape_with_channels_last_is_warned_of():
    with pytest.warns(UserWarning, match=r"says that rows hold 7 channels of 8 x 3"):
        AutoencoderEmbedder(3, input_shape=(7, 8, 3), **SMALL).fit(
            LAST.reshape(120, -1)
        )


def test_tables_stay_tables():
    frame = pd.DataFrame(FLAT[:, :6], columns=list("abcdef"))
    embedder = AutoencoderEmbedder(2, **SMALL).fit(frame)
    assert embedder.reconstruct(frame).shape == (120, 6)
    embedder.fit(frame.to_numpy().tolist())
    assert not hasattr(embedder, "input_shape_")
