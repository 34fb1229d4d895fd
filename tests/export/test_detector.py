"""The detector in a file: its scores and decisions, whatever it is made of."""

import warnings
from itertools import product

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

from latentsk import (
    AutoencoderEmbedder,
    LatentOutlierDetector,
    PCAEmbedder,
    RobustStandardizer,
    VAEEmbedder,
)

METHODS = ("auto", "distance", "residual", "neighbors", "embedder_score")
NETWORK = {"max_epochs": 5, "random_state": 0, "device": "cpu"}
EMBEDDERS = {
    "pca": PCAEmbedder(3),
    "standardized": make_pipeline(StandardScaler(), PCAEmbedder(4, whiten=True)),
    "codes": make_pipeline(RobustStandardizer(), PCAEmbedder(3)),
    "scikit-learn": make_pipeline(StandardScaler(), PCA(4, whiten=True)),
    "svd": make_pipeline(MaxAbsScaler(), TruncatedSVD(4)),
    "power": make_pipeline(PowerTransformer(), PCAEmbedder(3)),
    "functions": make_pipeline(
        FunctionTransformer(np.log1p, np.expm1), RobustScaler(), PCAEmbedder(3)
    ),
    "nested": make_pipeline(StandardScaler(), make_pipeline(MinMaxScaler(), PCA(3))),
    "none": make_pipeline(StandardScaler(), "passthrough"),
    "a function": make_pipeline(FunctionTransformer(np.log1p, np.expm1)),
}


def fitted(embedder, X, **settings):
    settings = {"random_state": 0, **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LatentOutlierDetector(embedder, **settings).fit(X)


def check(deployed, detector, *parts, tolerance=1e-9, dtype="float64", **settings):
    """Compare what is deployed with the detector on several parts."""
    run = deployed(detector, dtype, **settings)
    for rows in parts:
        rows = rows.astype(dtype)
        found = run(rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = {name: getattr(detector, name)(rows) for name in found}
        for name in found.keys() - {"predict"}:
            assert found[name].shape == expected[name].shape
            np.testing.assert_allclose(
                found[name], expected[name], rtol=tolerance, atol=tolerance
            )
        if "predict" in found:
            assert found["predict"].dtype == np.int64
            np.testing.assert_array_equal(found["predict"], expected["predict"])


def neighbours_of(X):
    """Return rows beside those of X, at shares of the distances between these."""
    rng = np.random.default_rng(0)
    shares = np.geomspace(1e-6, 1.0, len(X))[:, None]
    return X + shares * 0.3 * rng.normal(size=X.shape) * X.std(axis=0)


def extremes_of(X):
    rows = X[:7].copy()
    rows[0, 0], rows[1, 1], rows[2, 2], rows[3] = 1e50, -1e99, 1e101, 1e3 * rows[3]
    rows[4, 0], rows[5] = 1e300, 0.0
    return rows


@pytest.fixture(scope="module")
def coded(wine):
    """Rows with two codes in one column, and missing values in two others."""
    rng = np.random.default_rng(0)
    rows = wine.copy()
    rows[rng.random(len(rows)) < 0.1, 0] = -999.0
    rows[rng.random(len(rows)) < 0.1, 4] = -99.0
    rows[rng.random(len(rows)) < 0.1, 4] = 9999.0
    return rows


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", EMBEDDERS)
def test_every_method_of_every_embedder(wine, coded, deployed, name, method):
    X = coded if name == "codes" else wine
    settings = {"method": method, "assume_clean": len(name) % 2 == 0}
    embedder = EMBEDDERS[name]
    last = embedder[-1] if hasattr(embedder, "steps") else embedder
    if method == "embedder_score" and not hasattr(last, "score_samples"):
        pytest.skip("has no scores")
    if method == "residual" and name in ("none", "a function"):
        pytest.skip("has no residual")
    detector = fitted(embedder, X[::2], **settings)
    far = np.abs(extremes_of(X)) if "function" in name else extremes_of(X)
    if name == "a function":
        far = far[3:4]  # the residual of larger ones is what rounding leaves
    check(deployed, detector, X[::2], X[1::2], neighbours_of(X), far)


@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("name", ["wine", "cancer", "digits"])
def test_the_default_on_real_tables(wine, digits, deployed, name, assume_clean):
    X = {
        "wine": wine,
        "cancer": load_breast_cancer().data,
        "digits": digits[0][:900],
    }[name]
    detector = fitted(None, X[::2], assume_clean=assume_clean)
    # More than 16 components are held in float32, here and there.
    tolerance = 1e-9 if X.shape[1] <= 16 else 3e-6
    parts = X[::2], X[1::2], neighbours_of(X), extremes_of(X)
    check(deployed, detector, *parts, tolerance=tolerance)


@pytest.mark.parametrize("method", ["auto", "distance", "embedder_score"])
def test_float32(wine, coded, graph, method):
    for X in wine, coded:
        detector = fitted(None, X[::2], method=method)
        parts = X[::2], X[1::2]
        check(graph, detector, *parts, tolerance=1e-6, dtype="float32")


def test_too_large_for_float32(wine, graph):
    run = graph(fitted(None, wine), "float32")
    rows = wine[:3].copy()
    rows[0, 0], rows[1, 0] = 1e31, np.inf
    lowest = np.finfo(np.float32).min
    assert (run(rows)["score_samples"] == lowest).tolist() == [True, True, False]


@pytest.mark.parametrize("method", ["auto", "distance", "embedder_score"])
def test_codes_and_missing_values(coded, deployed, method):
    rng = np.random.default_rng(1)
    rows = coded.copy()
    rows[rng.random(rows.shape) < 0.05] = np.nan
    detector = fitted(None, rows[::2], method=method)
    # With indicators, there are more than 16 components, in float32.
    check(deployed, detector, rows[::2], rows[1::2], coded, tolerance=1e-5)


def test_refused_rows_have_the_lowest_score(wine, graph):
    run = graph(fitted(make_pipeline(StandardScaler(), PCAEmbedder(3)), wine))
    rows = wine[:3].copy()
    rows[0, 3], rows[1, 3] = np.nan, np.inf
    found = run(rows)
    lowest = np.finfo(np.float64).min
    assert (found["score_samples"] == lowest).tolist() == [True, True, False]
    assert found["predict"].tolist() == [-1, -1, 1]


@pytest.mark.parametrize("network", [AutoencoderEmbedder, VAEEmbedder])
@pytest.mark.parametrize("method", METHODS)
def test_networks(wine, deployed, network, method):
    """Perceptrons are in float64, but for their own scores: sums in float32."""
    embedder = make_pipeline(StandardScaler(), network(3, **NETWORK))
    detector = fitted(embedder, wine[::2], method=method)
    largest = np.abs(detector.score_samples(wine[::2])).max()
    parts, tolerance = [wine[::2], wine[1::2]], 1e-6 * max(10.0, largest)
    if method != "embedder_score":
        parts, tolerance = [*parts, extremes_of(wine)], 1e-8
    check(deployed, detector, *parts, tolerance=tolerance)


@pytest.mark.parametrize("window", [None, 3])
def test_images(digits, deployed, window):
    """In a file, images are flat rows; scores of windows are pooled there, too."""
    images = digits[0][:200].reshape(-1, 8, 8)
    embedder = AutoencoderEmbedder(8, score_window=window, **NETWORK)
    for method, tolerance in {"auto": 1e-8, "embedder_score": 1e-5}.items():
        detector = fitted(embedder, images, method=method)
        run = deployed(detector, methods=["score_samples", "predict"])
        found, expected = run(images.reshape(-1, 64)), detector.score_samples(images)
        np.testing.assert_allclose(
            found["score_samples"], expected, rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("activation", ["identity", "relu", "elu", "silu", "tanh"])
def test_activations_in_float64(wine, deployed, activation):
    network = AutoencoderEmbedder(3, activation=activation, normalize=True, **NETWORK)
    run = deployed(network.fit(wine), methods=["transform", "reconstruct"])
    for rows in wine, 1e3 * wine:
        found = run(rows)
        latents = network.transform(rows)
        np.testing.assert_allclose(found["transform"], latents, rtol=1e-9, atol=1e-9)
        back = network.inverse_transform(latents)
        np.testing.assert_allclose(found["reconstruct"], back, rtol=1e-9, atol=1e-9)


def test_a_frozen_embedder_and_steps_before(wine, deployed):
    scaled = MinMaxScaler().fit(wine)
    frozen = FrozenEstimator(PCAEmbedder(3).fit(scaled.transform(wine)))
    pipeline = make_pipeline(
        scaled, LatentOutlierDetector(frozen, method="embedder_score", random_state=0)
    ).fit(wine)
    check(deployed, pipeline, wine, neighbours_of(wine))


def test_copies_of_few_rows(deployed):
    rows = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0], [5.0, 5.0]], 12, axis=0)
    detector = fitted(None, rows, n_neighbors=3)
    near = [rows[::12] + step for step in (1e-9, 1e-3, 0.5)]
    # Distances of zero to sampled rows are products of the rows there, up to 1e-8.
    check(deployed, detector, rows[::12], *near, tolerance=1e-6)


def test_two_rows_and_more_neighbors_than_rows(deployed):
    rows = np.array([[0.0, 1.0], [2.0, 0.0]])
    check(deployed, fitted(None, rows), rows, rows + 0.1)


def test_rows_that_differ_in_the_order_of_their_codes(deployed):
    """A row's unknown cells do not depend on the rows beside it."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5))
    for j in range(4):
        rows[rng.random(300) < 0.2, j] = np.nan
    detector = fitted(None, rows)
    check(deployed, detector, rows, *(rows[i : i + 1] for i in range(5)))


def test_p_values_count_as_the_detector_does(wine, deployed):
    """Also for the calibration rows themselves, whose scores are equal to rounding."""
    detector = fitted(None, wine[:90]).calibrate(wine[90:150])
    detector.set_threshold(p_value=0.05)
    check(deployed, detector, wine[90:150], wine[150:])


def test_thresholds_are_those_of_the_moment(wine, graph):
    detector = fitted(None, wine)
    for share in 0.05, 0.3:
        detector.set_threshold(contamination=share)
        check(graph, detector, wine)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "clean", "neighbors"), list(product(METHODS, (True, False), (1, 20)))
)
def test_the_wide_matrix(coded, graph, method, clean, neighbors):
    settings = {"method": method, "assume_clean": clean, "n_neighbors": neighbors}
    for name in ("codes", "standardized", "scikit-learn", "nested"):
        last = EMBEDDERS[name][-1]
        if method == "embedder_score" and not hasattr(last, "score_samples"):
            continue
        detector = fitted(EMBEDDERS[name], coded[::2], max_samples=60, **settings)
        check(graph, detector, coded, neighbours_of(coded), extremes_of(coded))
