"""VQVAEEmbedder in onnxruntime: the same codes, rows and scores."""

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import latentsk
from latentsk import VQVAEEmbedder

SMALL = {"max_epochs": 5, "hidden_layer_sizes": (8,), "random_state": 0}
FLOWERS = load_iris().data
DIGITS = load_digits().data[:200]
METHODS = ("transform", "reconstruct", "score_samples")
KINDS = {
    "ema": (VQVAEEmbedder(8, **SMALL), FLOWERS),
    "fsq": (VQVAEEmbedder(20, quantizer="fsq", **SMALL), FLOWERS),
    "independent": (VQVAEEmbedder(8, prior="independent", **SMALL), FLOWERS),
    "reconstruction": (
        VQVAEEmbedder(8, score_method="reconstruction", **SMALL),
        FLOWERS,
    ),
    "quantization": (VQVAEEmbedder(8, score_method="quantization", **SMALL), FLOWERS),
    "flags": (VQVAEEmbedder(8, **SMALL), (FLOWERS > 3.0) * 1.0),
    "images": (
        VQVAEEmbedder(8, network="conv", input_shape=(1, 8, 8), **SMALL),
        DIGITS,
    ),
}


def run(path, rows):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": rows}), strict=True))


def graph(embedder, rows, dtype):

    found = embedder._onnx_graph(METHODS, dtype).eval()
    with torch.no_grad():
        return dict(zip(METHODS, found(torch.from_numpy(rows)), strict=True))


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_graph_computes_what_the_embedder_does(name, dtype):
    embedder, X = KINDS[name]
    embedder.fit(X)
    rows = X.astype(dtype)
    for method, values in graph(embedder, rows, dtype).items():
        expected = getattr(embedder, method)(rows)
        found = values.numpy().reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", ["ema", pytest.param("fsq", marks=pytest.mark.slow)])
def test_the_file_computes_what_the_embedder_does(name, tmp_path):
    embedder, X = KINDS[name]
    embedder.fit(X)
    embedder.to_onnx(tmp_path / "model.onnx")
    for rows in (X[:1], X):
        rows = rows.astype(np.float32)
        for method, values in run(tmp_path / "model.onnx", rows).items():
            expected = getattr(embedder, method)(rows)
            np.testing.assert_allclose(values, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.slow
def test_a_file_in_float64_for_codes_alone(tmp_path):
    embedder = VQVAEEmbedder(8, **SMALL).fit(FLOWERS)
    path = tmp_path / "model.onnx"
    embedder.to_onnx(path, methods=("transform", "reconstruct"), dtype="float64")
    found = run(path, FLOWERS)
    np.testing.assert_allclose(found["transform"], embedder.transform(FLOWERS))
    np.testing.assert_allclose(
        found["reconstruct"], embedder.reconstruct(FLOWERS), rtol=1e-9
    )


@pytest.mark.slow
def test_a_pipeline_with_codes(tmp_path):
    steps = make_pipeline(StandardScaler(), VQVAEEmbedder(8, **SMALL)).fit(FLOWERS)
    latentsk.to_onnx(steps, tmp_path / "model.onnx")
    found = run(tmp_path / "model.onnx", FLOWERS)
    scores = found["score_samples"].ravel()
    np.testing.assert_allclose(scores, steps.score_samples(FLOWERS), rtol=1e-3)


def test_rows_out_of_range_have_the_lowest_score():
    embedder = VQVAEEmbedder(8, **SMALL).fit(FLOWERS)
    rows = np.array([[np.nan, 1, 1, 1], [3e38, 1, 1, 1]], np.float32)
    scores = graph(embedder, rows, "float32")["score_samples"].numpy()
    assert (scores == np.finfo(np.float32).min).all()
