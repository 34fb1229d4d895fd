"""Steps of Pipelines: what they return in a file is what they return here."""

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

from latentsk import AutoencoderEmbedder, PCAEmbedder, RobustStandardizer
from latentsk.export._functions import FUNCTIONS

SCALERS = {
    "standard": StandardScaler(),
    "standard, no mean": StandardScaler(with_mean=False),
    "standard, no scale": StandardScaler(with_std=False),
    "min-max": MinMaxScaler((-1, 2)),
    "min-max, clipped": MinMaxScaler(clip=True),
    "max-abs": MaxAbsScaler(),
    "max-abs, clipped": MaxAbsScaler(clip=True),
    "robust": RobustScaler(),
    "robust, no centre": RobustScaler(with_centering=False),
    "robust, no scale": RobustScaler(with_scaling=False),
    "yeo-johnson": PowerTransformer(),
    "box-cox": PowerTransformer("box-cox", standardize=False),
    "codes": RobustStandardizer(),
    "no codes": RobustStandardizer(detect_codes=False),
    "no indicators": RobustStandardizer(add_indicator=False),
    "l1": Normalizer("l1"),
    "l2": Normalizer("l2"),
    "max": Normalizer("max"),
    "selection": VarianceThreshold(0.1),
    "passthrough": FunctionTransformer(),
}
COMPOSED = {
    "nested": make_pipeline(make_pipeline(MinMaxScaler(), "passthrough"), PCA(3)),
    "columns": ColumnTransformer(
        [
            ("a", StandardScaler(), [3, 1]),
            ("b", "drop", [0]),
            ("c", make_pipeline(SimpleImputer(), RobustScaler()), slice(4, 7)),
        ],
        remainder="passthrough",
        transformer_weights={"a": 0.3},
    ),
    "columns of columns": make_pipeline(
        make_column_transformer(("passthrough", [5, 6, 0]), (MaxAbsScaler(), [1])),
        make_column_transformer((StandardScaler(), [3, 0]), ("drop", [1, 2])),
    ),
    "union": FeatureUnion(
        [("a", PCA(2)), ("b", StandardScaler()), ("c", "passthrough"), ("d", "drop")],
        transformer_weights={"b": 0.1},
    ),
}
EMBEDDERS = {
    "pca": PCA(4, whiten=True),
    "incremental": IncrementalPCA(3),
    "svd": TruncatedSVD(3),
    "ours": PCAEmbedder(3, whiten=True),
    "before": make_pipeline(PCAEmbedder(3), StandardScaler()),
}
STEPS = {**SCALERS, **COMPOSED, **EMBEDDERS}


def assert_equal(found, expected, tolerance):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def rows(wine):
    """Rows with codes."""
    coded = wine.copy()
    coded[:9, 3], coded[20:29, 4], coded[30:39, 4] = -999.0, 9999.0, -1.0
    return coded


@pytest.mark.parametrize("name", STEPS)
def test_steps_in_float64(wine, rows, deployed, name):
    X = rows if "code" in name else wine
    step = make_pipeline(STEPS[name]).fit(X)
    extremes = np.vstack([X, 1e3 * X[:2], X[:2] + 1e-3])
    found = deployed(step)(extremes)["transform"]
    assert_equal(found, step.transform(extremes), 1e-9)


@pytest.mark.parametrize("name", sorted(STEPS.keys() - {"yeo-johnson"}))
def test_steps_in_float32(wine, rows, graph, name):
    X = (rows if "code" in name else wine).astype(np.float32)
    step = make_pipeline(STEPS[name]).fit(X)
    found = graph(step, "float32")(X)["transform"]
    assert found.dtype == np.float32
    scale = np.abs(step.transform(X)).max(axis=0) + 1e-30
    assert_equal(found / scale, step.transform(X) / scale, 2e-6)


@pytest.mark.parametrize("name", ["standard", "min-max", "robust", "max-abs"])
def test_scalers_in_float32_to_the_last_bit(wine, graph, name):
    X = wine.astype(np.float32)
    step = SCALERS[name].fit(wine)
    np.testing.assert_array_equal(
        graph(step, "float32")(X)["transform"], step.transform(X)
    )


@pytest.mark.parametrize("name", ["standard", "robust", "codes", "yeo-johnson"])
def test_missing_values_stay_or_get_an_indicator(wine, deployed, name):
    X = wine.copy()
    X[::7, 2] = np.nan
    step = make_pipeline(STEPS[name]).fit(X)
    assert_equal(deployed(step)(X)["transform"], step.transform(X), 1e-9)


@pytest.mark.parametrize("function", list(FUNCTIONS), ids=lambda f: f.__name__)
def test_functions_of_numpy(deployed, function):
    numbers = np.r_[np.geomspace(1e-12, 30.0, 40), 1.0, 2.0][:, None]
    if function not in (np.exp, np.expm1, np.sinh, np.square):
        numbers = np.vstack([numbers, [[1e50], [1e300]]])
    if function in (np.sign, np.abs, np.arcsinh, np.cbrt, np.tanh, np.sinh, np.expm1):
        numbers = np.vstack([numbers, -numbers, [[0.0]]])
    step = FunctionTransformer(function).fit(numbers)
    found = deployed(step)(numbers)["transform"]
    np.testing.assert_allclose(found, function(numbers), rtol=1e-14)


@pytest.mark.parametrize(
    "imputer",
    [
        SimpleImputer(),
        SimpleImputer(strategy="median", add_indicator=True),
        SimpleImputer(strategy="constant", fill_value=-1.0),
        SimpleImputer(keep_empty_features=True),
        SimpleImputer(missing_values=5.0, strategy="most_frequent"),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:Skipping features")
def test_imputers(deployed, imputer):
    rows = np.array([[1.0, np.nan, 5.0], [np.nan, np.nan, 6.0], [3.0, np.nan, 7.0]])
    if imputer.missing_values == 5.0:
        rows = np.nan_to_num(rows, nan=5.0)
    step = imputer.fit(rows)
    assert_equal(deployed(step)(rows)["transform"], step.transform(rows), 1e-12)


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(drop="first", sparse_output=False),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=3),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-7),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_categories_that_are_numbers(deployed, encoder):
    rows = np.array([[1.0, 0.1], [2.0, np.nan], [1.0, 0.1], [3.0, 0.2], [1.0, 0.1]])
    columns = make_column_transformer((encoder, [0, 1]), sparse_threshold=0).fit(rows)
    asked = rows if getattr(encoder, "drop", None) else np.vstack([rows, [[9.0, 0.3]]])
    for dtype in "float64", "float32":
        found = deployed(columns, dtype)(asked)["transform"]
        assert_equal(found, columns.transform(asked), 1e-7)


def test_frozen_steps(wine, deployed):
    step = FrozenEstimator(StandardScaler().fit(wine[:50]))
    found = deployed(make_pipeline(step))(wine)["transform"]
    assert_equal(found, step.transform(wine), 1e-12)


def test_networks_between_other_steps(wine, deployed):
    network = AutoencoderEmbedder(3, max_epochs=3, random_state=0, device="cpu")
    step = make_pipeline(StandardScaler(), network, StandardScaler()).fit(wine)
    assert_equal(deployed(step)(wine)["transform"], step.transform(wine), 1e-5)


def test_an_embedder_decides_and_reconstructs(wine, deployed):
    pipeline = make_pipeline(StandardScaler(), PCAEmbedder(4)).fit(wine)
    found = deployed(pipeline)(wine)
    assert list(found) == [
        "transform",
        "reconstruct",
        "score_samples",
        "decision_function",
        "predict",
    ]
    assert_equal(found["transform"], pipeline.transform(wine), 1e-9)
    back = pipeline.inverse_transform(pipeline.transform(wine))
    assert_equal(found["reconstruct"], back, 1e-9)
    for method in "score_samples", "decision_function", "predict":
        assert_equal(found[method], getattr(pipeline, method)(wine), 1e-9)


def test_no_reconstruction_where_a_step_has_no_way_back(wine, graph):
    pipeline = make_pipeline(Normalizer(), PCAEmbedder(3)).fit(wine)
    assert "reconstruct" not in graph(pipeline)(wine)
