"""The classifier in a file: densities, probabilities, answers, p-values."""

import warnings

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_iris
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import GenerativeClassifier, PCAEmbedder, VAEEmbedder, to_onnx

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
pytestmark = pytest.mark.filterwarnings("ignore:The posterior collapsed")
NETWORK = {"max_epochs": 5, "random_state": 0, "device": "cpu"}


def run(classifier, rows, path, dtype="float64", **settings):
    to_onnx(classifier, path, dtype=dtype, **settings)
    session = onnxruntime.InferenceSession(path)
    names = [value.name for value in session.get_outputs()]
    found = session.run(None, {"X": rows.astype(dtype)})
    return dict(zip(names, found, strict=True)), session


def check(found, classifier, rows, tolerance):
    for name, values in found.items():
        expected = getattr(classifier, name)(rows)
        if name == "predict":
            np.testing.assert_array_equal(values, expected)
            continue
        assert values.shape == expected.shape
        np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)


def far_out(rows):
    far = rows[:4].copy()
    far[0], far[1, 2], far[2, 1] = 1e101, 1e60, -1e30
    return far


@pytest.mark.parametrize(
    ("y", "settings"),
    [
        pytest.param(Y, {}, marks=pytest.mark.slow),  # as of every other test here
        (Y - 1.0, {"reject": 0.1, "unknown_label": 7.5}),
        (Y > 0, {}),
        (NAMES, {"reject": 0.1, "unknown_label": "none of these"}),
        (NAMES.astype(object), {"priors": [0.0, 0.3, 0.7]}),
    ],
    ids=["integers", "floats", "booleans", "strings", "objects"],
)
def test_every_kind_of_label(tmp_path, y, settings):
    classifier = GenerativeClassifier(PCAEmbedder(2), random_state=0, **settings)
    classifier.fit(X, y)
    rows = np.vstack([X, X[::7] + 3.0, far_out(X)])
    found, session = run(classifier, rows, tmp_path / "model.onnx")
    assert ("p_values" in found) == ("reject" in settings)
    check(found, classifier, rows, 1e-9)
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["class"] == "GenerativeClassifier"
    assert ("unknown_label" in metadata) == ("reject" in settings)


FLOW = {"prior": "flow", "score_method": "iwae"}


@pytest.mark.parametrize("settings", [{}, pytest.param(FLOW, marks=pytest.mark.slow)])
def test_networks_after_a_scaler(tmp_path, settings):
    density = VAEEmbedder(2, **NETWORK, **settings)
    classifier = GenerativeClassifier(density, reject=0.1, random_state=0)
    whole = make_pipeline(StandardScaler(), classifier).fit(X, Y)
    new = X[::3] + 0.05
    found, _ = run(whole, new, tmp_path / "model.onnx", "float64")
    check(found, classifier, whole[:-1].transform(new), 1e-4)


def test_one_class_and_small_classes(tmp_path):
    one = GenerativeClassifier(PCAEmbedder(2), reject=0.1, random_state=0)
    one.set_params(unknown_label="?").fit(X[Y == 1], NAMES[Y == 1])
    found, _ = run(one, X, tmp_path / "model.onnx")
    check(found, one, X, 1e-9)
    some = np.r_[:50, 50:100, 100:110]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        few = GenerativeClassifier(PCAEmbedder(2), reject=0.1, random_state=0)
        few.fit(X[some], Y[some])
    rows = np.vstack([X, X + 2.0])
    found, _ = run(few, rows, tmp_path / "model.onnx")
    check(found, few, rows, 1e-9)


def test_scores_in_float32_stay_finite(tmp_path):
    classifier = GenerativeClassifier(PCAEmbedder(2)).fit(X, Y)
    rows = far_out(X).clip(-3e38, 3e38).astype(np.float32)
    found, _ = run(classifier, rows, tmp_path / "model.onnx", "float32")
    assert all(np.isfinite(found[name]).all() for name in found)


def test_methods_are_chosen_and_what_cannot_be_exported_is_refused(tmp_path):
    classifier = GenerativeClassifier(PCAEmbedder(2)).fit(X, NAMES)
    path = tmp_path / "model.onnx"
    found, _ = run(classifier, X, path, methods=["predict"])
    np.testing.assert_array_equal(found["predict"], classifier.predict(X))
    found, _ = run(classifier, X, path, methods=["predict_proba"])
    assert list(found) == ["predict_proba"]
    with pytest.raises(ValueError, match="has no 'p_values' to export"):
        to_onnx(classifier, path, methods=["p_values"])
    mixture = GenerativeClassifier(GaussianMixture()).fit(X, Y)
    with pytest.raises(ValueError, match="GaussianMixture cannot be exported"):
        to_onnx(mixture, path)
