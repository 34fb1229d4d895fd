"""to_onnx: what onnxruntime computes is what the embedder computes."""

import copy
import logging
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from sklearn import config_context
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import NotFittedError
from torch import nn

from latentsk import AutoencoderEmbedder, PCAEmbedder, VAEEmbedder
from latentsk.embedders import _base, _onnx_file
from latentsk.vae import LIKELIHOODS

METHODS = ("transform", "reconstruct", "score_samples")
QUICK = {"max_epochs": 8, "random_state": 0, "device": "cpu"}
SMALL = {**QUICK, "hidden_layer_sizes": (16, 8)}


@pytest.fixture(scope="module")
def cancer():
    """Features whose means reach from 0.004 to 900."""
    return load_breast_cancer(return_X_y=True)[0]


@pytest.fixture(scope="module")
def images(digits):
    return digits[0][:200] / 16.0


@pytest.fixture(scope="module")
def pca_file(X, tmp_path_factory):
    """An embedder, and its file for rows in float64."""
    path = tmp_path_factory.mktemp("pca") / "model.onnx"
    embedder = PCAEmbedder(2, contamination=0.1).fit(X)
    embedder.to_onnx(path, dtype="float64")
    return embedder, path


@pytest.fixture(scope="module")
def vae_file(X, tmp_path_factory):
    """An embedder, and its file for rows in float32."""
    path = tmp_path_factory.mktemp("vae") / "model.onnx"
    embedder = VAEEmbedder(2, n_score_samples=2, **SMALL).fit(X)
    embedder.to_onnx(path)
    return embedder, path


def opened(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )


def run(session, rows):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": rows}), strict=True))


def exported(embedder, folder, dtype="float32", methods=METHODS):
    path = folder / "model.onnx"
    embedder.to_onnx(path, dtype=dtype, methods=methods)
    return opened(path)


def graphed(embedder, folder, dtype="float32", methods=METHODS):
    """Return the graph that a file is written of, in place of the file's session."""
    return Graph(methods, embedder._onnx_graph(methods, dtype).eval())


class Graph(NamedTuple):
    methods: tuple
    graph: nn.Module

    def get_outputs(self):
        return [SimpleNamespace(name=method) for method in self.methods]

    def run(self, _, rows):
        with torch.no_grad():
            return [values.numpy() for values in self.graph(torch.tensor(rows["X"]))]


@pytest.fixture(params=[graphed, pytest.param(exported, marks=pytest.mark.slow)])
def deployed(request):
    """A function that makes a session: at once of the graph, slowly of a file."""
    return request.param


def assert_equal(found, embedder, rows, tolerance, unit=1.0):
    """Compare with the embedder: rows in units of their features, scores relatively."""
    for method, values in found.items():
        expected = getattr(embedder, method)(rows)
        assert values.shape == expected.shape
        assert values.dtype == rows.dtype
        assert np.isfinite(values).all()
        if method == "reconstruct":
            values, expected = values / unit, expected / unit
        np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)


def check(embedder, folder, X, dtype, tolerance, methods=METHODS, deployed=exported):
    session = deployed(embedder, folder, dtype, methods)
    assert [output.name for output in session.get_outputs()] == list(methods)
    rows = X.astype(dtype)
    unit = getattr(embedder, "scale_", 1.0)
    for part in (rows, rows[:1]):
        assert_equal(run(session, part), embedder, part, tolerance, unit)


# Principal components


@pytest.mark.parametrize(
    ("method", "whiten"),
    [("likelihood", True), ("reconstruction", True), ("mahalanobis", False)],
)
def test_pca_in_float64_to_rounding(cancer, tmp_path, method, whiten, deployed):
    embedder = PCAEmbedder(5, score_method=method, whiten=whiten).fit(cancer)
    check(embedder, tmp_path, cancer, "float64", 1e-9, deployed=deployed)


def test_a_file_of_pca(cancer, tmp_path):
    embedder = PCAEmbedder(5, whiten=True).fit(cancer)
    check(embedder, tmp_path, cancer, "float64", 1e-9)


@pytest.mark.parametrize("fitted_in", ["float32", "float64"])
def test_pca_in_float32(digits, tmp_path, fitted_in, deployed):
    rows = digits[0].astype(np.float32)
    embedder = PCAEmbedder(10).fit(rows.astype(fitted_in))
    session = deployed(embedder, tmp_path)
    tolerance = 1e-6 if fitted_in == "float64" else 2e-5
    assert_equal(run(session, rows), embedder, rows, tolerance, rows.std())


def test_pca_fitted_in_float32_on_rows_in_float64(X, tmp_path, deployed):
    embedder = PCAEmbedder(2).fit(X.astype(np.float32))
    check(embedder, tmp_path, X, "float64", 1e-9, deployed=deployed)


def test_pca_fitted_on_tensors(X, tmp_path, deployed):
    with config_context(array_api_dispatch=True):
        embedder = PCAEmbedder(2, whiten=True).fit(torch.from_numpy(X))
    found = run(deployed(embedder, tmp_path, "float64"), X)
    with config_context(array_api_dispatch=True):
        scores = embedder.score_samples(torch.from_numpy(X))
    np.testing.assert_allclose(found["score_samples"], scores, rtol=1e-9)


def test_pca_far_from_the_origin_with_a_constant_column(X, tmp_path, deployed):
    rows = X + np.array([1e8, 0.0, -1e8, 0.0, 0.0])
    rows[:, 1] = 3.0
    embedder = PCAEmbedder(2).fit(rows)
    check(embedder, tmp_path, rows, "float64", 1e-9, deployed=deployed)


@pytest.mark.parametrize("n_components", [0, 5])
def test_pca_of_no_and_of_all_components(X, tmp_path, n_components, deployed):
    embedder = PCAEmbedder(n_components).fit(X)
    check(embedder, tmp_path, X, "float64", 1e-9, deployed=deployed)


@pytest.mark.slow
def test_pca_of_rows_out_of_range_in_float32(X, tmp_path):
    embedder = PCAEmbedder(2).fit(X.astype(np.float32))
    require_least_scores(exported(embedder, tmp_path), embedder, np.float32)


def test_pca_of_rows_out_of_range(pca_file):
    embedder, path = pca_file
    require_least_scores(opened(path), embedder, np.float64)


def require_least_scores(session, embedder, dtype):
    limits = np.finfo(dtype)
    far = np.full((1, 5), limits.max / 2, dtype)
    found = run(session, far)["score_samples"]
    assert found == embedder.score_samples(far) == limits.min
    far[0, 0] = np.nan
    assert run(session, far)["score_samples"] == limits.min


def test_a_score_without_meaning_is_refused_as_when_scoring(X, tmp_path):
    embedder = PCAEmbedder(5, score_method="reconstruction").fit(X)
    with pytest.raises(ValueError, match="is undefined") as scoring:
        embedder.score_samples(X)
    with pytest.raises(ValueError, match="is undefined") as exporting:
        embedder.to_onnx(tmp_path / "model.onnx")
    assert str(exporting.value) == str(scoring.value)
    assert list(tmp_path.iterdir()) == []
    check(embedder, tmp_path, X, "float64", 1e-9, ("transform",), graphed)


# Networks


@pytest.mark.parametrize(
    "dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"]
)
def test_autoencoder(cancer, tmp_path, dtype):
    embedder = AutoencoderEmbedder(3, normalize=True, **SMALL).fit(cancer)
    check(embedder, tmp_path, cancer, dtype, 2e-5)


@pytest.mark.parametrize(
    ("method", "dtype"),
    [pytest.param("elbo", "float32", marks=pytest.mark.slow), ("iwae", "float64")],
)
def test_vae(cancer, tmp_path, method, dtype):
    embedder = VAEEmbedder(
        3,
        likelihood_scale="feature",
        score_method=method,
        n_score_samples=5,
        **SMALL,
    ).fit(cancer)
    check(embedder, tmp_path, cancer, dtype, 2e-5)


def test_convolutional_autoencoder(images, tmp_path):
    embedder = AutoencoderEmbedder(
        4,
        network="conv",
        input_shape=(1, 8, 8),
        hidden_layer_sizes=(8, 12),
        dropout=0.2,
        loss="binary_cross_entropy",
        **QUICK,
    ).fit(images)
    check(embedder, tmp_path, images, "float32", 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["elbo", "iwae", "reconstruction", "kl"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_likelihood_and_score(images, tmp_path, likelihood, method):
    rows = (images > 0.5) * 1.0 if likelihood == "bernoulli" else images
    embedder = VAEEmbedder(
        4, likelihood=likelihood, score_method=method, n_score_samples=7, **SMALL
    ).fit(rows)
    check(embedder, tmp_path, rows, "float32", 2e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The posterior collapsed")
@pytest.mark.parametrize("embedder_class", [AutoencoderEmbedder, VAEEmbedder])
@pytest.mark.parametrize("network", ["mlp", "mlp-400", "mlp-512-256", "conv"])
def test_every_network(digits, tmp_path, embedder_class, network):
    X = digits[0]
    settings = {"input_shape": (1, 8, 8)} if network == "conv" else {}
    embedder = embedder_class(
        network=network, dropout=0.1, **{**QUICK, "max_epochs": 2}, **settings
    ).fit(X[:300])
    check(embedder, tmp_path, X, "float32", 5e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The posterior collapsed")
@pytest.mark.parametrize("embedder_class", [AutoencoderEmbedder, VAEEmbedder])
def test_images_that_need_margins(tmp_path, embedder_class):
    X = np.random.default_rng(0).uniform(size=(60, 3 * 32 * 32))
    embedder = embedder_class(
        network="conv-32-128-256", **{**QUICK, "max_epochs": 1}
    ).fit(X)
    check(embedder, tmp_path, X[:20], "float32", 5e-5)
    odd = X[:, : 2 * 9 * 13]
    embedder = embedder_class(
        3,
        network="conv",
        input_shape=(2, 9, 13),
        hidden_layer_sizes=(6, 6, 6),
        **{**QUICK, "max_epochs": 1},
    ).fit(odd)
    check(embedder, tmp_path, odd, "float32", 5e-5)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["identity", "relu", "elu", "silu", "tanh"])
def test_every_activation(X, tmp_path, activation):
    embedder = AutoencoderEmbedder(2, activation=activation, **SMALL).fit(X)
    check(embedder, tmp_path, X, "float32", 2e-5)


class Gated(nn.Module):
    """A module of a user's own, with a skip, a gate and a running statistic."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.norm = nn.BatchNorm1d(n_in).eval()
        self.first, self.second = nn.Linear(n_in, 6), nn.Linear(6, n_out)
        self.gate, self.skip = nn.Linear(n_in, 6), nn.Linear(n_in, n_out)

    def forward(self, rows):
        rows = self.norm(rows)
        hidden = torch.sigmoid(self.gate(rows)) * self.first(rows)
        return self.second(hidden) + self.skip(rows)


@pytest.mark.parametrize(
    "embedder_class",
    [AutoencoderEmbedder, pytest.param(VAEEmbedder, marks=pytest.mark.slow)],
)
def test_modules_of_ones_own(X, tmp_path, embedder_class):
    torch.manual_seed(0)
    n_outputs = 2 if embedder_class is AutoencoderEmbedder else 4
    embedder = embedder_class(encoder=Gated(5, n_outputs), decoder=Gated(2, 5), **QUICK)
    in_this_order = ("score_samples", "transform")
    check(embedder.fit(X), tmp_path, X, "float32", 2e-5, in_this_order)


@pytest.mark.slow
def test_modules_of_ones_own_on_images(images, tmp_path):
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Conv1d(8, 4, 3, padding=1),
        nn.ReLU(),
        nn.GRU(8, 5, batch_first=True),
        First(),
        nn.Dropout(0.1),
    )
    decoder = nn.Sequential(nn.Linear(20, 64), nn.Unflatten(1, (8, 8)))
    embedder = AutoencoderEmbedder(
        encoder=encoder, decoder=decoder, input_shape=(8, 8), **QUICK
    ).fit(images)
    check(embedder, tmp_path, images, "float32", 2e-5)


class First(nn.Module):
    def forward(self, pair):
        return pair[0]


class Branching(nn.Linear):
    """What it does depends on the values, so that it is no graph."""

    def forward(self, rows):
        return super().forward(rows if rows.sum() < 1e9 else -rows)


class Counting(nn.Linear):
    """It asks for the number of rows in a way that fixes it."""

    def forward(self, rows):
        return super().forward(rows.reshape(len(rows), 5))


@pytest.mark.parametrize("layer", [Branching, Counting])
def test_a_module_that_is_no_graph(X, tmp_path, layer):
    torch.manual_seed(0)
    embedder = AutoencoderEmbedder(
        encoder=layer(5, 2), decoder=nn.Linear(2, 5), **QUICK
    ).fit(X)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"an older file")
    with pytest.raises(ValueError, match="cannot write this embedder as an ONNX graph"):
        embedder.to_onnx(path)
    assert path.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [path]


def test_features_that_are_large_constant_or_huge(tmp_path, deployed):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4)) * [1.0, 100.0, 0.0, 1e-6] + [1e8, 1e4, 3.0, 0.0]
    embedder = AutoencoderEmbedder(2, **SMALL).fit(X)
    check(embedder, tmp_path, X, "float64", 2e-5, deployed=deployed)
    # Rows in float32 know a value of 1e8 to 8 only; that is what the score is of.
    session = deployed(embedder, tmp_path)
    rows = X.astype(np.float32)
    assert_equal(run(session, rows), embedder, rows, 2e-5, embedder.scale_)
    least = np.finfo(np.float32).min
    far = np.full((1, 4), 3e38, np.float32)
    unknown = np.full((1, 4), np.nan, np.float32)
    assert run(session, far)["score_samples"] == embedder.score_samples(far) == least
    assert run(session, unknown)["score_samples"] == least


def test_many_rows_and_one_by_one(vae_file):
    embedder, path = vae_file
    session = opened(path)
    many = np.random.default_rng(1).normal(7.0, 2.0, (10_000, 5)).astype(np.float32)
    found = run(session, many)
    assert_equal(found, embedder, many, 5e-5, embedder.scale_)
    alone = [run(session, row[None])["score_samples"][0] for row in many[:50]]
    np.testing.assert_allclose(alone, found["score_samples"][:50], rtol=1e-5)


@pytest.mark.gpu
def test_a_network_on_a_gpu(X, tmp_path):
    embedder = VAEEmbedder(2, **{**SMALL, "device": "cuda"}).fit(X)
    check(embedder, tmp_path, X, "float32", 1e-3)
    assert next(embedder.module_.parameters()).is_cuda


# The file


def test_no_rows(pca_file):
    found = run(opened(pca_file[1]), np.empty((0, 5)))
    assert [values.shape for values in found.values()] == [(0, 2), (0, 5), (0,)]


def test_a_decision_from_the_file_alone(X, tmp_path, pca_file):
    embedder, path = pca_file
    np.save(tmp_path / "rows.npy", X)
    code = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
(scores,) = session.run(["score_samples"], {"X": numpy.load("rows.npy")})
offset = float(session.get_modelmeta().custom_metadata_map["offset_"])
numpy.save("labels.npy", numpy.where(scores >= offset, 1, -1))
assert not {"torch", "sklearn", "latentsk"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, path], check=True, cwd=tmp_path)
    labels = np.load(tmp_path / "labels.npy")
    np.testing.assert_array_equal(labels, embedder.predict(X))
    assert (labels == -1).any()


def test_the_file_is_valid_small_and_says_what_it_is(vae_file):
    embedder, path = vae_file
    session, model = opened(path), onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.ir_version == 8
    described = session.get_modelmeta()
    assert described.producer_name == "latentsk"
    metadata = described.custom_metadata_map
    assert metadata.pop("latentsk_version")
    assert metadata == {
        "class": "VAEEmbedder",
        "score_method": "elbo",
        "offset_": repr(embedder.offset_),
    }
    (rows,) = session.get_inputs()
    assert (rows.name, rows.shape, rows.type) == (
        "X",
        ["n_samples", 5],
        "tensor(float)",
    )
    shapes = [output.shape for output in session.get_outputs()]
    assert shapes == [["n_samples", 2], ["n_samples", 5], ["n_samples"]]
    content = path.read_bytes()
    weights = sum(weight.nbytes for weight in embedder.module_.parameters())
    assert len(content) < weights + 20_000
    for part in ("latentsk/", ".py", "site-packages"):
        assert part.encode() not in content


def test_the_offset_is_left_out_where_it_does_not_hold(X, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(_base, "traced", lambda *_: None)
    monkeypatch.setattr(_base, "write_model", lambda *of: written.append(of[-1]))

    def metadata(embedder):
        embedder.to_onnx(tmp_path / "model.onnx", methods=["score_samples"])
        return written.pop()

    embedder = PCAEmbedder(2).partial_fit(X)
    assert "offset_" not in metadata(embedder)
    assert "offset_" in metadata(embedder.calibrate(X))
    embedder.set_params(score_method="mahalanobis")
    changed = metadata(embedder)
    assert changed["score_method"] == "mahalanobis"
    assert "offset_" not in changed


def test_nothing_else_is_changed_or_said(X, tmp_path, capfd, caplog):
    embedder = VAEEmbedder(2, n_score_samples=2, **SMALL).fit(X)
    before = copy.deepcopy(embedder)
    generator, seen = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    levels = [logging.getLogger(name).level for name in _onnx_file._CHATTY_LOGGERS]
    with caplog.at_level(logging.INFO):
        embedder.to_onnx(tmp_path / "model.onnx")
    assert [(r.name, r.getMessage()) for r in caplog.records] == []
    assert capfd.readouterr() == ("", "")
    assert [logging.getLogger(n).level for n in _onnx_file._CHATTY_LOGGERS] == levels
    assert torch.equal(torch.get_rng_state(), generator)
    assert (np.random.get_state()[1] == seen).all()  # noqa: NPY002
    assert vars(embedder).keys() == vars(before).keys()
    for name, weight in before.module_.state_dict().items():
        assert torch.equal(weight, embedder.module_.state_dict()[name])
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_two_threads_at_once(X, tmp_path):
    embedders = [PCAEmbedder(k).fit(X) for k in (1, 2)]
    paths = [tmp_path / f"{k}.onnx" for k in (1, 2)]
    threads = [
        threading.Thread(target=embedder.to_onnx, args=(path,))
        for embedder, path in zip(embedders, paths, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = X.astype(np.float32)
    for embedder, path in zip(embedders, paths, strict=True):
        assert_equal(run(opened(path), rows), embedder, rows, 1e-5)


# What is refused


@pytest.mark.parametrize(
    "embedder", [PCAEmbedder(), AutoencoderEmbedder(), VAEEmbedder()]
)
def test_an_embedder_that_is_not_fitted(embedder, tmp_path):
    with pytest.raises(NotFittedError):
        embedder.to_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ["predict"]}, "methods must hold .* 'score_samples'"),
        ({"methods": []}, "methods must hold"),
        ({"methods": ["transform", "transform"]}, "methods must hold"),
        ({"dtype": "float16"}, "dtype must be one of .*'float64'.*, got 'float16'"),
    ],
)
def test_settings_are_checked_first(X, tmp_path, monkeypatch, settings, message):
    monkeypatch.setattr(PCAEmbedder, "_onnx_graph", None)
    with pytest.raises(ValueError, match=message):
        PCAEmbedder(2).fit(X).to_onnx(tmp_path / "model.onnx", **settings)
    assert list(tmp_path.iterdir()) == []


def test_where_no_file_can_be_written(X, tmp_path, monkeypatch):
    embedder = PCAEmbedder(2).fit(X)
    monkeypatch.setattr(PCAEmbedder, "_onnx_graph", None)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        embedder.to_onnx(tmp_path / "nowhere" / "model.onnx")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        embedder.to_onnx(tmp_path)


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named(X, tmp_path, monkeypatch, package):
    embedder = PCAEmbedder(2).fit(X)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'latentsk\[onnx\]'"):
        embedder.to_onnx(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_fit_into_a_file(X, tmp_path, monkeypatch):
    monkeypatch.setattr(_onnx_file, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="more than 2 GB"):
        PCAEmbedder(2).fit(X).to_onnx(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
