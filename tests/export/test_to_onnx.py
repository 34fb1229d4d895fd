"""The file: what it holds, what it needs, and what it cannot be."""

import json
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)

import latentsk
from latentsk import (
    LatentIndex,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    RobustStandardizer,
    to_onnx,
)
from latentsk.embedders import _onnx_file
from latentsk.export import _detector
from latentsk.export._to_onnx import graph_of


@pytest.fixture(scope="module")
def detector(table):
    return LatentOutlierDetector(random_state=0).fit(table[:500]).calibrate(table[500:])


@pytest.fixture(scope="module")
def path(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "detector.onnx"
    to_onnx(detector, path)
    return path


@pytest.fixture(scope="module")
def metadata(path):
    return {p.key: p.value for p in onnx.load(path).metadata_props}


def test_it_is_a_valid_file_of_plain_operators(path):
    model = onnx.load(path)
    onnx.checker.check_model(model)
    domains = {(opset.domain, opset.version) for opset in model.opset_import}
    used = {node.domain for node in model.graph.node}
    assert used == {"", "ai.onnx.ml"}
    assert {("", 18), ("ai.onnx.ml", 2)} <= domains
    assert model.ir_version == 8


def test_metadata_say_what_goes_in_and_out(detector, table, metadata):
    assert metadata["class"] == "LatentOutlierDetector"
    assert metadata["latentsk_version"] == latentsk.__version__
    assert metadata["score_method"] == "auto"
    assert float(metadata["offset_"]) == detector.offset_
    assert json.loads(metadata["feature_names"]) == list(table.columns)
    inputs = json.loads(metadata["inputs"])
    assert list(inputs) == list(table.columns)
    assert inputs["amount"] == "float64, NaN if missing"
    assert inputs["city"] == "string, empty if missing"
    assert inputs["paid"].startswith("int64, nanoseconds since 1970-01-01")
    assert list(json.loads(metadata["outputs"])) == [
        "score_samples",
        "decision_function",
        "predict",
        "p_values",
    ]


def test_onnxruntime_is_all_it_needs(detector, table, path):
    """A process that imports neither torch, pandas nor this package."""
    program = """
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
row = {"amount": 12.5, "age": 40.0, "city": "Rome", "card": "2", "vip": 0.0,
       "paid": 1706788800000000000, "day": 1706745600000000000, "risk": 2.5}
types = {"tensor(double)": np.float64, "tensor(int64)": np.int64,
         "tensor(string)": object}
fed = {value.name: np.array([[row[value.name]]], dtype=types[value.type])
       for value in session.get_inputs()}
print(repr(float(session.run(["score_samples"], fed)[0][0])))
assert not {"torch", "pandas", "sklearn", "latentsk"} & set(sys.modules)
"""
    arguments = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    row = table[:1].assign(
        amount=12.5, age=40.0, city="Rome", card=2, vip=False, risk=2.5
    )
    row = row.assign(paid=np.datetime64("2024-02-01T12:00"), day="2024-02-01")
    expected = detector.score_samples(row)[0]
    np.testing.assert_allclose(float(done.stdout), expected, rtol=3e-6)


def test_methods_and_their_order_are_those_asked_for(wine, file_of):
    detector = LatentOutlierDetector(random_state=0).fit(wine)
    run = file_of(detector, methods=["predict", "transform"])
    found = run(wine)
    assert list(found) == ["predict", "transform"]
    np.testing.assert_array_equal(found["predict"], detector.predict(wine))
    np.testing.assert_allclose(
        found["transform"], detector.embedder_.transform(wine), atol=1e-9
    )


def test_the_score_of_an_embedder_may_be_undefined(graph):
    flat = np.column_stack([np.arange(9.0), np.arange(9.0)])
    embedder = PCAEmbedder().fit(flat)
    assert list(graph(embedder, methods=["transform"])(flat)) == ["transform"]
    with pytest.raises(ValueError, match="undefined"):
        graph(embedder)


def test_no_threshold_without_a_calibration(wine, graph):
    streamed = PCAEmbedder(2).partial_fit(wine)
    assert "predict" not in graph(streamed)(wine)
    with pytest.raises(ValueError, match="has no 'predict' to export"):
        graph(streamed, methods=["predict"])
    assert "predict" in graph(streamed.calibrate(wine))(wine)


# What cannot be


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (KBinsDiscretizer(3), "KBinsDiscretizer .* none of the known steps"),
        (PolynomialFeatures(), "PolynomialFeatures .* none of the known steps"),
        (
            FunctionTransformer(lambda X: X + 1),
            "FunctionTransformer .* '<lambda>' is none of np.abs",
        ),
        (
            FunctionTransformer(np.abs, kw_args={"dtype": float}),
            "FunctionTransformer .* kw_args",
        ),
    ],
    ids=lambda value: getattr(value, "__class__", type(value)).__name__,
)
def test_steps_that_are_refused_by_name(wine, step, message):
    pipeline = make_pipeline(StandardScaler(), step, PCAEmbedder(2))
    with pytest.raises(ValueError, match=message) as caught:
        graph_of(pipeline.fit(np.abs(wine)), None, "float64")
    assert re.search("Replace the step|before the estimator", str(caught.value))


def test_a_class_derived_from_a_known_one_may_do_anything(wine):
    class Scaler(StandardScaler):
        pass

    with pytest.raises(ValueError, match="Scaler cannot be exported"):
        graph_of(make_pipeline(Scaler(), PCAEmbedder(2)).fit(wine), None, "float64")


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (IsolationForest(n_estimators=2), "IsolationForest cannot be exported"),
        (LatentIndex(), "LatentIndex cannot be exported"),
        (PyODAdapter(PCAEmbedder(2)), r"to_onnx\(adapter.detector_, path\)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_estimators_that_are_refused(wine, tmp_path, estimator, message):
    with pytest.raises(ValueError, match=message):
        to_onnx(estimator.fit(wine), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_texts_are_refused_by_the_step_that_takes_them():
    texts = ["one row", "another row", "a third one", "and a row"]
    pipeline = make_pipeline(TfidfVectorizer(), TruncatedSVD(2)).fit(texts)
    detector = LatentOutlierDetector(pipeline, random_state=0).fit(texts)
    for estimator in pipeline, detector:
        with pytest.raises(ValueError, match="TfidfVectorizer cannot be exported"):
            graph_of(estimator, None, "float64")


def test_categories_that_float32_cannot_tell_apart(graph):
    step = OneHotEncoder().fit([[2**24], [2**24 + 1]])
    assert graph(step)([[2**24 + 1]])["transform"].tolist() == [[0.0, 1.0]]
    with pytest.raises(ValueError, match="same number in float32"):
        graph(step, "float32")


def test_what_is_asked_for_is_checked_first(wine, tmp_path):
    detector = LatentOutlierDetector(random_state=0)
    path = tmp_path / "x.onnx"
    with pytest.raises(NotFittedError):
        to_onnx(detector, path)
    detector.fit(wine)
    with pytest.raises(ValueError, match="dtype must be one of"):
        to_onnx(detector, path, dtype="float16")
    with pytest.raises(ValueError, match="methods must hold one or more of"):
        to_onnx(detector, path, methods=["explain"])
    with pytest.raises(ValueError, match="has no 'p_values' to export"):
        to_onnx(detector, path, methods=["p_values"])
    with pytest.raises(FileNotFoundError):
        to_onnx(detector, tmp_path / "none" / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_parameters_that_were_changed_after_the_fit(wine, tmp_path):
    for settings in ({"n_neighbors": 9}, {"contamination": 0.1}):
        detector = LatentOutlierDetector(random_state=0).fit(wine)
        detector.set_params(**settings)
        with pytest.raises(ValueError, match="when the detector was fitted"):
            to_onnx(detector, tmp_path / "x.onnx")


def test_the_old_file_stays_where_the_new_one_fails(wine, tmp_path, monkeypatch):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"old")
    monkeypatch.setattr(_onnx_file, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="more than 2 GB"):
        to_onnx(PCAEmbedder(2).fit(wine), path)
    assert path.read_bytes() == b"old"


def test_more_columns_with_codes_than_can_be_followed(wine, monkeypatch):
    rows = wine.copy()
    rows[::5, :3] = np.nan
    detector = LatentOutlierDetector(random_state=0).fit(rows)
    monkeypatch.setattr(_detector, "MOST_UNKNOWN_COLUMNS", 2)
    with pytest.raises(ValueError, match="3 columns have codes or missing values"):
        graph_of(detector, None, "float64")
    pipeline = make_pipeline(RobustStandardizer(add_indicator=False), PCAEmbedder())
    remedied = LatentOutlierDetector(pipeline, random_state=0).fit(rows)
    graph_of(remedied, None, "float64")


def test_categories_of_other_types(graph):
    dates = np.array([["2026-01-01"], ["2026-01-02"]], "datetime64[D]").astype(object)
    step = OneHotEncoder().fit(dates)
    with pytest.raises(ValueError, match="neither all strings nor all numbers"):
        graph(step)


def test_embedders_of_ones_own_say_what_their_graph_is(wine, graph):
    class Embedder(PCAEmbedder):
        pass

    detector = LatentOutlierDetector(Embedder(3), random_state=0).fit(wine)
    found = graph(detector)(wine)["score_samples"]
    np.testing.assert_allclose(found, detector.score_samples(wine), rtol=1e-9)

    class Silent(PCAEmbedder):
        @property
        def _onnx_graph(self):
            raise AttributeError

    with pytest.raises(ValueError, match=r"Silent cannot be exported .* no graph"):
        graph(Silent(3).fit(wine))
