"""Images for detectors and indexes: the results of flat rows, and names of pixels."""

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import latentsk
from latentsk import (
    AutoencoderEmbedder,
    LatentIndex,
    LatentNeighborsTransformer,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    VAEEmbedder,
)
from latentsk.outliers._image_input import flat_images, image_embedder, told_of_images

GREY = load_digits().images[:120].astype(np.uint8)[:, :7]
LAST = np.stack([GREY, GREY // 2, 16 - GREY], axis=-1)
FIRST = np.ascontiguousarray(LAST.transpose(0, 3, 1, 2))
FLAT = FIRST.reshape(120, -1)
CONV = {"network": "conv", "hidden_layer_sizes": (4,), "max_epochs": 2}
CONV |= {"random_state": 0, "device": "cpu"}
METHODS = ["auto", "distance", "residual", "neighbors", "embedder_score"]
pytestmark = pytest.mark.filterwarnings(
    "ignore::latentsk.exceptions.PosteriorCollapseWarning"
)


def embedder(**parameters):
    return AutoencoderEmbedder(3, **CONV, **parameters)


def detector(embedder, **parameters):
    return LatentOutlierDetector(embedder, random_state=0, **parameters)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("assume_clean", [False, True])
def test_a_detector_gives_the_results_of_flat_rows(method, assume_clean):
    settings = {"method": method, "assume_clean": assume_clean}
    flat = detector(embedder(input_shape=(3, 7, 8)), **settings).fit(FLAT)
    expected = flat.explain(FLAT[:3], n_nearest=2)
    for X in (LAST, FIRST, list(LAST), torch.from_numpy(LAST)):
        found = detector(embedder(), **settings).fit(X)
        assert found.n_features_in_ == 168
        assert np.array_equal(found.score_samples(X), flat.score_samples(FLAT))
        assert np.array_equal(found.predict(X), flat.predict(FLAT))
        assert found.score_parts(X).equals(flat.score_parts(FLAT))
        assert found.offset_ == flat.offset_
        reasons = found.explain(X[:3], n_nearest=2)
        assert reasons.columns.equals(expected.columns)
        assert np.array_equal(reasons.to_numpy(), expected.to_numpy())


def test_pixels_are_named_by_row_column_and_channel():
    found = detector(embedder(), method="residual").fit(LAST)
    image = LAST[:1].copy()
    image[0, 6, 1, 2] = 200
    reasons = found.explain(image).loc[0]
    assert reasons["contribution"].idxmin() == "(6, 1, 2)"
    assert reasons.loc["(6, 1, 2)", "value"] == 200
    assert len(reasons) == 168
    named = [image[0][eval(name)] for name in reasons.index]
    assert np.array_equal(reasons["value"], named)
    maps = reasons["contribution"].to_numpy().reshape(3, 7, 8)
    assert np.unravel_index(maps.argmin(), maps.shape) == (2, 6, 1)
    grey = detector(embedder()).fit(GREY).explain(GREY[:1]).loc[0]
    assert grey.index[[0, 8, 55]].tolist() == ["(0, 0)", "(1, 0)", "(6, 7)"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: embedder().fit(LAST),
        lambda: embedder().fit(FIRST),
        lambda: embedder(input_shape=(3, 7, 8)).fit(FLAT),
        lambda: FrozenEstimator(embedder().fit(LAST)),
        lambda: make_pipeline(embedder()).fit(LAST),
    ],
    ids=["last", "first", "flat", "frozen", "pipeline"],
)
@pytest.mark.parametrize("method", METHODS)
def test_fitted_embedders_are_used_as_they_are(make, method):
    expected = detector(embedder().fit(LAST), method=method).fit(FLAT)
    scores = expected.score_samples(FLAT)
    for X in (LAST, FIRST, FLAT):
        found = detector(make(), method=method).fit(X)
        assert np.array_equal(found.score_samples(X), scores)
        assert np.array_equal(found.score_samples(LAST), scores)
    assert found.embedder_ is found.embedder


def test_a_pipeline_of_one_step_takes_images():
    pipeline = make_pipeline(embedder())
    found = detector(pipeline).fit(LAST)
    assert np.array_equal(
        found.score_samples(LAST), detector(embedder()).fit(LAST).score_samples(LAST)
    )
    assert found.embedder_[-1].input_shape_ == (3, 7, 8)
    assert pipeline[-1].input_shape is None  # as it was given


def test_steps_before_get_the_images_as_they_are():
    flatten = FunctionTransformer(lambda images: images.reshape(len(images), -1))
    found = detector(make_pipeline(flatten, PCAEmbedder(3))).fit(GREY)
    rows = detector(PCAEmbedder(3)).fit(GREY.reshape(120, -1))
    expected = rows.score_samples(GREY.reshape(120, -1))
    assert np.allclose(found.score_samples(GREY), expected)


def test_decisions_and_updates_take_images():
    found = detector(embedder(), method="embedder_score").fit(LAST[:80])
    flat = detector(embedder(input_shape=(3, 7, 8)), method="embedder_score")
    flat.fit(FLAT[:80])
    found.calibrate(LAST[80:])
    flat.calibrate(FLAT[80:])
    assert np.array_equal(found.p_values(FIRST), flat.p_values(FLAT))
    found.set_threshold(fpr=0.2)
    flat.set_threshold(fpr=0.2)
    assert np.array_equal(found.predict(LAST), flat.predict(FLAT))
    updated = detector(embedder()).fit(LAST).update(FIRST[20:])
    expected = detector(embedder(input_shape=(3, 7, 8))).fit(FLAT).update(FLAT[20:])
    assert np.array_equal(updated.score_samples(LAST), expected.score_samples(FLAT))
    assert updated.explain(LAST[:1]).index[0] == (0, "(0, 0, 0)")


@pytest.mark.parametrize("kind", [AutoencoderEmbedder, VAEEmbedder])
def test_files(kind, tmp_path):
    made = detector(kind(3, score_window=2, **CONV), method="embedder_score").fit(LAST)
    latentsk.save(made, tmp_path / "detector")
    loaded = latentsk.load(tmp_path / "detector")
    assert np.array_equal(loaded.score_samples(FIRST), made.score_samples(LAST))
    assert loaded.explain(LAST[:2]).equals(made.explain(LAST[:2]))
    maps = made.embedder_.score_map(LAST)
    assert np.array_equal(loaded.embedder_.score_map(LAST), maps)


def test_pyod_takes_images():
    adapter = PyODAdapter(embedder()).fit(LAST)
    flat = PyODAdapter(embedder(input_shape=(3, 7, 8))).fit(FLAT)
    assert np.array_equal(adapter.decision_function(LAST), flat.decision_function(FLAT))


def test_memory_maps_take_part(tmp_path):
    np.save(tmp_path / "images.npy", LAST)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    expected = detector(embedder()).fit(LAST).score_samples(LAST)
    found = detector(embedder()).fit(mapped)
    assert np.array_equal(found.score_samples(mapped), expected)


def test_an_index_takes_images():
    index = LatentIndex(embedder()).fit(LAST)
    flat = LatentIndex(embedder(input_shape=(3, 7, 8))).fit(FLAT)
    for X in (LAST, FIRST):
        ours, theirs = index.kneighbors(X[:9]), flat.kneighbors(FLAT[:9])
        assert np.array_equal(ours[0], theirs[0])
        assert np.array_equal(ours[1], theirs[1])
    index.add(FIRST[:2])
    assert index.kneighbors(LAST[:1], n_neighbors=2)[1].tolist() == [[0, 120]]
    graph = LatentNeighborsTransformer(embedder(), n_neighbors=3).fit_transform(LAST)
    assert graph.shape == (120, 120)


# What is refused


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((9, 3, 3, 3)), "all axes are equal"),
        (np.zeros((9, 32, 32, 5)), r"Set input_shape=\(32, 32, 5\)"),
        ([LAST[0], LAST[1, :5]], "images of different shapes"),
        (np.where(LAST[5, 6, 1] == LAST, np.nan, LAST), r"NaN: image \d+, pixel \(\d"),
        (np.where(LAST[5, 6, 1] == LAST, 1e101, LAST), r"column '\(\d+, \d+, \d\)'"),
    ],
    ids=["equal", "neither", "sizes", "missing", "huge"],
)
def test_bad_images(X, message):
    model = detector(embedder())
    with pytest.raises(ValueError, match=message):
        model.fit(X)
    assert vars(model).keys() == vars(detector(embedder())).keys()


@pytest.mark.parametrize("method", ["predict", "explain", "score_parts", "update"])
def test_other_images_than_those_of_the_fit(method):
    model = detector(embedder()).fit(LAST)
    with pytest.raises(ValueError, match=r"\(120, 6, 8, 3\), but input_shape=\(3, 7"):
        getattr(model, method)(LAST[:, :6])
    with pytest.raises(ValueError, match=r"single image as X\[None\]"):
        getattr(model, method)(LAST[0])


@pytest.mark.parametrize(
    "model",
    [
        LatentOutlierDetector(random_state=0),
        detector(PCAEmbedder(2)),
        detector(make_pipeline(StandardScaler(), embedder())),
        detector(make_pipeline(StandardScaler(), PCAEmbedder(2))),
        LatentIndex(),
        LatentIndex(PCAEmbedder(2)),
        PyODAdapter(PCAEmbedder(2)),
    ],
    ids=["default", "PCA", "network", "scaled", "index", "PCA index", "PyOD"],
)
def test_what_takes_no_images_says_how_to_flatten(model):
    for X in (LAST, FIRST, list(LAST), GREY):
        with pytest.raises(
            ValueError, match=r"got \dD array .* Flatten every"
        ) as error:
            clone(model).fit(X)
        code = str(error.value).split("Flatten every row: ")[1].split(". Only")[0]
        rows = eval(code)
        assert np.array_equal(rows, FLAT if rows.shape[1] > 56 else X.reshape(120, -1))
    if "network" not in str(model):
        clone(model).fit(rows)


def test_which_embedders_take_images():
    own = embedder()
    assert image_embedder(own) is own
    assert image_embedder(make_pipeline(own)) is own
    assert image_embedder(make_pipeline(StandardScaler(), own)) is None
    assert image_embedder(PCAEmbedder()) is None
    assert flat_images(PCAEmbedder(), LAST) == (LAST, None)
    assert flat_images(own, FLAT)[1] is None
    assert told_of_images(own, None) is own
    _, layout = flat_images(own, LAST)
    assert told_of_images(own, layout).input_shape == (3, 7, 8)
    assert told_of_images(make_pipeline(own), layout)[-1].input_shape == (3, 7, 8)
    assert own.input_shape is None


def test_the_whole_becomes_a_graph_for_flat_rows(tmp_path):
    model = detector(embedder(score_window=3), method="embedder_score").fit(LAST)
    latentsk.to_onnx(model, tmp_path / "detector.onnx", methods=["score_samples"])
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    (scores,) = session.run(None, {"X": FLAT.astype(np.float64)})
    assert np.allclose(scores.ravel(), model.score_samples(LAST), rtol=1e-5)
    whole = embedder(score_window=3).fit(LAST)
    latentsk.to_onnx(whole, tmp_path / "embedder.onnx", methods=["score_samples"])
    session = onnxruntime.InferenceSession(tmp_path / "embedder.onnx")
    assert session.get_modelmeta().custom_metadata_map["score_window"] == "3"
