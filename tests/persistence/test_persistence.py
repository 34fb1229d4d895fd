import os
import pickle
import tempfile
import threading
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from torch import nn

import latentsk
from latentsk import (
    AutoencoderEmbedder,
    HierarchicalVAEEmbedder,
    LatentIndex,
    LatentNeighborsTransformer,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    RobustStandardizer,
    VAEEmbedder,
)
from latentsk.exceptions import FormatError
from latentsk.persistence import _format

GOLDEN = Path(__file__).parents[1] / "golden"
X = load_breast_cancer().data[:200]
FRAME = pd.DataFrame(X, columns=load_breast_cancer().feature_names)
NEW = X[-20:] * 1.01
CODED = np.where(np.arange(200)[:, None] % 20 == np.arange(30) % 15, -999, X)
DIGITS = load_digits().data[:150].astype(np.float32)
SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8,), "random_state": 0}
CONV = {**SMALL, "network": "conv", "input_shape": (1, 8, 8)}
LISTS = "IVF8,PQ30x4fs,nprobe=4,rerank=3"


def own_encoder(width=3):
    return nn.Sequential(nn.Linear(30, 8), nn.Tanh(), nn.Linear(8, width))


def own_decoder():
    return nn.Linear(3, 30)


MODULES = {"encoder": own_encoder(), "decoder": own_decoder()}
VAE_MODULES = {"encoder": own_encoder(6), "decoder": own_decoder()}


class Masked(nn.Module):
    """A module with an infinite buffer, as attention has."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(30, 3)
        self.register_buffer("mask", torch.tensor([0.0, 0.0, -torch.inf]))

    def forward(self, rows):
        return self.linear(rows) * torch.exp(self.mask)


def nested(modules, prefix):
    return {f"{prefix}__{name}": module for name, module in modules.items()}


def removed(index):
    return index.remove([3, 5, 8])


def added(index):
    return index.add(NEW, ids=np.arange(1_000, 1_020))


UNIT = (DIGITS / 16).round(3)
METADATA = pd.DataFrame({"kind": ["a", "b"] * 100, "size": range(200)})

# name: (estimator, how it is fitted, the rows it is asked about, modules for load)
CASES = {
    "pca": (PCAEmbedder(3), lambda e: e.fit(FRAME), FRAME, {}),
    "pca auto": (PCAEmbedder(), lambda e: e.fit(X), NEW, {}),
    "pca whitened": (PCAEmbedder(3, whiten=True), lambda e: e.fit(X), NEW, {}),
    "pca float32": (PCAEmbedder(0.9), lambda e: e.fit(DIGITS), DIGITS, {}),
    "pca every component": (PCAEmbedder(None), lambda e: e.fit(X), NEW, {}),
    "pca no component": (PCAEmbedder(0), lambda e: e.fit(X), NEW, {}),
    "pca randomized": (
        PCAEmbedder(4, svd_solver="randomized", random_state=0),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "pca reconstruction": (
        PCAEmbedder(3, score_method="reconstruction", contamination=0.1),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "pca mahalanobis": (
        PCAEmbedder(3, score_method="mahalanobis"),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "pca streamed": (
        PCAEmbedder(3),
        lambda e: e.partial_fit(X[:90]).partial_fit(X[90:]),
        NEW,
        {},
    ),
    "pca tensors": (PCAEmbedder(3), lambda e: e.fit(X), NEW, {}),
    "autoencoder": (
        AutoencoderEmbedder(3, **SMALL),
        lambda e: e.fit(FRAME),
        FRAME,
        {},
    ),
    "autoencoder options": (
        AutoencoderEmbedder(
            3,
            dropout=0.2,
            normalize=True,
            decoder_layer_sizes=[5, 4],
            noise="gaussian",
            activation="elu",
            device=torch.device("cpu"),
            **SMALL,
        ),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "autoencoder conv": (
        AutoencoderEmbedder(3, **CONV),
        lambda e: e.fit(DIGITS),
        DIGITS,
        {},
    ),
    "autoencoder preset": (
        AutoencoderEmbedder(3, network="mlp-400", max_epochs=1, random_state=0),
        lambda e: e.fit(DIGITS),
        DIGITS,
        {},
    ),
    "autoencoder unit": (
        AutoencoderEmbedder(3, loss="binary_cross_entropy", **SMALL),
        lambda e: e.fit(UNIT),
        UNIT,
        {},
    ),
    "autoencoder streamed": (
        AutoencoderEmbedder(3, **SMALL),
        lambda e: e.partial_fit(X[:90]).partial_fit(X[90:]),
        NEW,
        {},
    ),
    "autoencoder own": (
        AutoencoderEmbedder(max_epochs=2, random_state=0, **MODULES),
        lambda e: e.fit(X),
        NEW,
        MODULES,
    ),
    "vae": (VAEEmbedder(3, **SMALL), lambda e: e.fit(FRAME), FRAME, {}),
    "vae feature scales": (
        VAEEmbedder(3, likelihood_scale="feature", **SMALL),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "vae fixed scale": (
        VAEEmbedder(3, likelihood_scale=0.5, score_method="iwae", **SMALL),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "vae bernoulli": (
        VAEEmbedder(3, score_method="kl", **SMALL),
        lambda e: e.fit((DIGITS > 8).astype(np.float32)),
        (DIGITS > 8).astype(np.float32),
        {},
    ),
    "vae continuous bernoulli": (
        VAEEmbedder(3, likelihood="continuous_bernoulli", **SMALL),
        lambda e: e.fit(UNIT),
        UNIT,
        {},
    ),
    "vae student": (
        VAEEmbedder(3, likelihood="student_t", score_method="reconstruction", **SMALL),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "vae conv": (VAEEmbedder(3, **CONV), lambda e: e.fit(DIGITS), DIGITS, {}),
    "vae own": (
        VAEEmbedder(max_epochs=2, random_state=0, **VAE_MODULES),
        lambda e: e.fit(X),
        NEW,
        VAE_MODULES,
    ),
    "vae streamed": (
        VAEEmbedder(3, **SMALL),
        lambda e: e.partial_fit(X).calibrate(X),
        NEW,
        {},
    ),
    "levels": (
        HierarchicalVAEEmbedder((2, 1), levels=[2], score_method="iwae", **SMALL),
        lambda e: e.fit(FRAME),
        FRAME,
        {},
    ),
    "levels conv": (
        HierarchicalVAEEmbedder((2, 1), prior="flow", **CONV),
        lambda e: e.fit(DIGITS),
        DIGITS,
        {},
    ),
    "pipeline": (
        make_pipeline(
            SimpleImputer(),
            RobustScaler(),
            QuantileTransformer(n_quantiles=20),
            "passthrough",
            FunctionTransformer(np.arcsinh),
            PCAEmbedder(3),
        ),
        lambda e: e.fit(FRAME),
        FRAME,
        {},
    ),
    "pipeline of a table": (
        make_pipeline(
            ColumnTransformer(
                [
                    ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["size"]),
                    ("k", OneHotEncoder(handle_unknown="ignore"), ["kind"]),
                ],
                remainder="drop",
                sparse_threshold=0.0,
            ),
            AutoencoderEmbedder(2, **SMALL),
        ),
        lambda e: e.fit(METADATA),
        METADATA,
        {},
    ),
    "pipeline own": (
        make_pipeline(
            StandardScaler(),
            AutoencoderEmbedder(max_epochs=1, random_state=0, **MODULES),
        ),
        lambda e: e.fit(X),
        NEW,
        nested(MODULES, "autoencoderembedder"),
    ),
    "pipeline of scikit-learn": (
        make_pipeline(StandardScaler(), PCA(2)),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "frozen": (FrozenEstimator(PCAEmbedder(3).fit(X)), lambda e: e, NEW, {}),
    "index": (LatentIndex(), lambda e: e.fit(X), NEW, {}),
    "index, ids and metadata": (
        LatentIndex(PCAEmbedder(3), metric="cosine"),
        lambda e: e.fit(FRAME, ids=[f"r{i}" for i in range(200)], metadata=METADATA),
        FRAME,
        {},
    ),
    "index changed": (
        LatentIndex(PCAEmbedder(3)),
        lambda e: added(removed(e.fit(X))),
        NEW,
        {},
    ),
    "index, lists": (
        LatentIndex(index_spec=LISTS),
        lambda e: e.fit(np.tile(X, (5, 1))),
        NEW,
        {},
    ),
    "index, recall": (
        LatentIndex(target_recall=0.9, metric="inner_product"),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "index, few bytes": (
        LatentIndex(index_spec="IVF8,PQ30x4fs,nprobe=4,rerank=3,rows=int8"),
        lambda e: e.fit(np.tile(X, (5, 1))),
        NEW,
        {},
    ),
    "index of a network": (
        LatentIndex(AutoencoderEmbedder(3, **SMALL)),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "index, own": (
        LatentIndex(VAEEmbedder(max_epochs=1, random_state=0, **VAE_MODULES)),
        lambda e: e.fit(X),
        NEW,
        nested(VAE_MODULES, "embedder"),
    ),
    "index, frozen": (
        LatentIndex(FrozenEstimator(PCAEmbedder(3).fit(X))),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "index, pipeline, original": (
        LatentIndex(
            make_pipeline(StandardScaler(), PCAEmbedder(8)),
            rerank="original",
            index_spec="IVF8,PQ8x4fs,nprobe=4,rerank=5",
        ),
        lambda e: e.fit(np.tile(X, (5, 1))),
        NEW,
        {},
    ),
    "neighbors": (
        LatentNeighborsTransformer(make_pipeline(StandardScaler(), PCA(3))),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "neighbors, own": (
        LatentNeighborsTransformer(
            AutoencoderEmbedder(max_epochs=1, random_state=0, **MODULES)
        ),
        lambda e: e.fit(X),
        NEW,
        nested(MODULES, "embedder"),
    ),
    "detector": (
        LatentOutlierDetector(random_state=0),
        lambda e: e.fit(FRAME),
        FRAME,
        {},
    ),
    "detector, score": (
        LatentOutlierDetector(method="embedder_score", contamination=0.1),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "detector, clean": (
        LatentOutlierDetector(
            VAEEmbedder(3, **SMALL), assume_clean=True, random_state=0
        ),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "detector, fitted embedder": (
        LatentOutlierDetector(PCAEmbedder(3).fit(X), method="residual", random_state=0),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
    "detector, calibrated": (
        LatentOutlierDetector(random_state=0),
        lambda e: e.fit(X[:150]).calibrate(X[150:]),
        NEW,
        {},
    ),
    "detector, threshold": (
        LatentOutlierDetector(random_state=0),
        lambda e: e.fit(X[:150]).calibrate(X[150:]).set_threshold(p_value=0.1),
        NEW,
        {},
    ),
    "set_output": (
        make_pipeline(StandardScaler(), PCAEmbedder(3)),
        lambda e: e.set_output(transform="pandas").fit(FRAME),
        FRAME,
        {},
    ),
    "index, dates with a zone": (
        LatentIndex(),
        lambda e: e.fit(X, ids=pd.date_range("2026", periods=200, tz="Europe/Berlin")),
        NEW,
        {},
    ),
    "own, with a mask": (
        AutoencoderEmbedder(
            encoder=Masked(), decoder=own_decoder(), max_epochs=1, random_state=0
        ),
        lambda e: e.fit(X),
        NEW,
        {"encoder": Masked(), "decoder": own_decoder()},
    ),
    "steps with slashes": (
        Pipeline([("x", StandardScaler()), ("x/feature_names_in_", PCAEmbedder(2))]),
        lambda e: e.fit(FRAME),
        FRAME,
        {},
    ),
    "detector, own": (
        LatentOutlierDetector(
            AutoencoderEmbedder(max_epochs=1, random_state=0, **MODULES), random_state=0
        ),
        lambda e: e.fit(X),
        NEW,
        nested(MODULES, "embedder"),
    ),
    "standardizer": (RobustStandardizer(), lambda e: e.fit(CODED), NEW, {}),
    "standardizer, named": (
        RobustStandardizer(),
        lambda e: e.fit(pd.DataFrame(CODED, columns=FRAME.columns)),
        FRAME[-20:],
        {},
    ),
    "adapter": (PyODAdapter(random_state=0), lambda e: e.fit(X), NEW, {}),
    "adapter of an embedder": (
        PyODAdapter(VAEEmbedder(3, **SMALL)),
        lambda e: e.fit(X),
        NEW,
        {},
    ),
}
# Two epochs are not long.
pytestmark = pytest.mark.filterwarnings(
    "ignore::latentsk.exceptions.PosteriorCollapseWarning"
)
QUERIES = (
    "transform",
    "reconstruct",
    "score_samples",
    "decision_function",
    "predict",
    "p_values",
    "kneighbors",
    "search",
    "score_parts",
    "class_score_samples",
    "novelty_score",
)


@pytest.fixture(scope="module")
def fitted():
    """Fit each case once."""
    made = {}

    def get(name):
        if name not in made:
            estimator, fit, rows, modules = CASES[name]
            made[name] = fit(clone(estimator)), rows, modules
        return made[name]

    return get


def answers(estimator, rows):
    found = {}
    for name in QUERIES:
        if not hasattr(estimator, name):
            continue
        try:
            result = getattr(estimator, name)(rows)
        except (ValueError, NotFittedError) as error:
            found[name] = str(error)
            continue
        parts = result if isinstance(result, tuple) else (result,)
        found[name] = [p.toarray() if hasattr(p, "toarray") else p for p in parts]
    if hasattr(estimator, "sample"):
        found["sample"] = [estimator.sample(5, random_state=0)]
    return found


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, parts in first.items():
        if isinstance(parts, str):
            assert second[name] == parts
            continue
        for a, b in zip(parts, second[name], strict=True):
            assert type(a) is type(b)
            if isinstance(a, pd.DataFrame):
                pd.testing.assert_frame_equal(a, b, check_exact=True)
            else:
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_round_trip(name, fitted, tmp_path):
    estimator, rows, modules = fitted(name)
    path = tmp_path / "model.latentsk"
    latentsk.save(estimator, path)
    expected = answers(estimator, rows)
    for mmap in (False, True):
        loaded = latentsk.load(path, modules=modules, mmap=mmap)
        assert type(loaded) is type(estimator)
        assert_same(expected, answers(loaded, rows))
        assert_same_attributes(loaded, estimator)
    # What is saved again is the same file, but for the names that skops gives.
    again = tmp_path / "again.latentsk"
    latentsk.save(latentsk.load(path, modules=modules), again)
    if b"skops" not in path.read_bytes():
        assert again.read_bytes() == path.read_bytes()
    assert len(os.listdir(tmp_path)) == 2


PARTS = ("steps", "transformers", "transformer_list")


def assert_same_attributes(loaded, estimator):
    """Compare parameters and fitted attributes, as far as they are plain."""
    plain = (bool, int, float, str, tuple, list, type(None))
    for key, value in estimator.get_params().items():
        if isinstance(value, plain) and not key.endswith(PARTS):
            assert loaded.get_params()[key] == value or value != value, key
    public = {k for k in vars(estimator) if k.endswith("_")}
    assert public == {k for k in vars(loaded) if k.endswith("_")}
    for key in public:
        value = vars(estimator)[key]
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(vars(loaded)[key], value)
            assert vars(loaded)[key].dtype == value.dtype
        elif isinstance(value, plain):
            np.testing.assert_equal(vars(loaded)[key], value)


@pytest.mark.parametrize("name", CASES)
def test_pickle_and_joblib(name, fitted, tmp_path):
    estimator, rows, _ = fitted(name)
    expected = answers(estimator, rows)
    assert_same(expected, answers(pickle.loads(pickle.dumps(estimator)), rows))
    joblib.dump(estimator, tmp_path / "model")
    assert_same(expected, answers(joblib.load(tmp_path / "model"), rows))


# skops has no way to store torch modules, DataFrames and dates of pandas.
NOT_IN_SKOPS = ("own", "metadata", "dates")


@pytest.mark.parametrize(
    "name", [n for n in CASES if not any(part in n for part in NOT_IN_SKOPS)]
)
def test_skops(name, fitted):
    estimator, rows, _ = fitted(name)
    content = skops.io.dumps(estimator)
    trusted = skops.io.get_untrusted_types(data=content)
    assert all(
        kind.startswith(("latentsk.", "numpy.", "pandas.", "torch."))
        for kind in trusted
    )
    loaded = skops.io.loads(content, trusted=trusted)
    assert_same(answers(estimator, rows), answers(loaded, rows))


@pytest.mark.parametrize(
    "estimator",
    [
        PCAEmbedder(3),
        AutoencoderEmbedder(3, **SMALL),
        AutoencoderEmbedder(3, dropout=0.1, noise="masking", **SMALL),
        VAEEmbedder(3, **SMALL),
    ],
    ids=str,
)
def test_training_goes_on_as_if_nothing_had_been(estimator, tmp_path):
    estimator = clone(estimator).partial_fit(X[:100])
    latentsk.save(estimator, tmp_path / "model")
    loaded = latentsk.load(tmp_path / "model")
    for chunk in (X[100:150], X[150:]):
        estimator.partial_fit(chunk)
        loaded.partial_fit(chunk)
    assert_same(answers(estimator, NEW), answers(loaded, NEW))


def test_a_warm_start_goes_on(tmp_path):
    estimator = VAEEmbedder(3, warm_start=True, **SMALL).fit(X)
    latentsk.save(estimator, tmp_path / "model")
    loaded = latentsk.load(tmp_path / "model")
    assert_same(answers(estimator.fit(X), NEW), answers(loaded.fit(X), NEW))


def test_an_index_goes_on_changing(tmp_path):
    index = LatentIndex(PCAEmbedder(3)).fit(X, ids=np.arange(200), metadata=METADATA)
    latentsk.save(index, tmp_path / "index")
    loaded = latentsk.load(tmp_path / "index", mmap=True)
    for one in (index, loaded):
        one.add(NEW, ids=np.arange(500, 520), metadata=METADATA[:20])
        one.remove([0, 1, 505]).update(NEW[:1], ids=[7])
    assert_same(answers(index, NEW), answers(loaded, NEW))


PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "n_components": st.integers(1, 5),
        "hidden_layer_sizes": st.lists(st.integers(1, 9), max_size=3).map(tuple),
        "decoder_layer_sizes": st.none() | st.lists(st.integers(1, 9), max_size=2),
        "activation": st.sampled_from(["auto", "relu", "tanh", "gelu"]),
        "normalize": st.booleans(),
        "dropout": st.floats(0, 0.9),
        "standardize": st.booleans(),
        "contamination": st.just("auto") | st.floats(0.01, 0.5),
        "learning_rate_init": st.floats(1e-6, 1e-3),
        "weight_decay": st.floats(0, 1),
        "validation_fraction": st.floats(0, 0.5),
        "random_state": st.integers(0, 2**32 - 1).map(np.int64),
        "batch_size": st.just("auto") | st.integers(1, 300),
        "verbose": st.just(False),
    },
)


@pytest.mark.parametrize("cls", [AutoencoderEmbedder, VAEEmbedder])
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(parameters=PARAMETERS)
@pytest.mark.filterwarnings("ignore::latentsk.exceptions.PriorMismatchWarning")
def test_round_trip_of_any_parameters(cls, parameters):
    rows = np.random.default_rng(0).normal(size=(40, 4)) * [1, 10, 1e-3, 1e5]
    estimator = cls(max_epochs=1, **parameters).fit(rows)
    with tempfile.TemporaryDirectory() as folder:
        latentsk.save(estimator, f"{folder}/model")
        loaded = latentsk.load(f"{folder}/model")
    assert_same(answers(estimator, rows), answers(loaded, rows))
    for name, value in loaded.get_params().items():
        np.testing.assert_equal(value, getattr(estimator, name))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    scale=st.floats(-300, 300),
    offset=st.floats(-1e6, 1e6),
    n_components=st.none() | st.integers(0, 4) | st.floats(0.1, 0.9),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_round_trip_of_pca_on_any_scale(scale, offset, n_components, dtype):
    rows = np.random.default_rng(0).normal(size=(40, 4)) + offset
    with np.errstate(over="ignore"):
        rows = (rows * 10.0 ** (scale / (20 if dtype == np.float32 else 4))).astype(
            dtype
        )
    estimator = PCAEmbedder(n_components).fit(rows)
    with tempfile.TemporaryDirectory() as folder:
        latentsk.save(estimator, f"{folder}/model")
        loaded = latentsk.load(f"{folder}/model")
    assert_same(answers(estimator, rows), answers(loaded, rows))


ANY = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@ANY
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "method": st.sampled_from(["auto", "distance", "neighbors"]),
            "assume_clean": st.booleans(),
            "n_neighbors": st.integers(1, 30),
            "contamination": st.just("auto") | st.floats(0.01, 0.5),
            "max_samples": st.integers(50, 300),
        },
    )
)
def test_round_trip_of_any_detector(parameters):
    detector = LatentOutlierDetector(random_state=0, **parameters).fit(X)
    with tempfile.TemporaryDirectory() as folder:
        latentsk.save(detector, f"{folder}/model")
        loaded = latentsk.load(f"{folder}/model")
    assert_same(answers(detector, NEW), answers(loaded, NEW))
    assert loaded.get_params() == detector.get_params()


@ANY
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "n_neighbors": st.integers(1, 30),
            "metric": st.sampled_from(["euclidean", "cosine", "inner_product"]),
            "radius": st.floats(0, 1e6),
            "exactness": st.sampled_from(["certified", "float32"]),
            "index_spec": st.sampled_from([None, "Flat", LISTS]),
            "n_jobs": st.sampled_from([None, 1, 2, -1]),
            "random_state": st.integers(0, 2**32 - 1),
        },
    )
)
def test_round_trip_of_any_index(parameters):
    if parameters.get("metric") == "inner_product" and "index_spec" in parameters:
        parameters["index_spec"] = "Flat"  # lists would have another width
    index = LatentIndex(**parameters).fit(X)
    with tempfile.TemporaryDirectory() as folder:
        latentsk.save(index, f"{folder}/model")
        loaded = latentsk.load(f"{folder}/model")
    assert_same(answers(index, NEW), answers(loaded, NEW))
    assert loaded.get_params() == index.get_params()


# What a file does not hold


def test_a_path_a_cache_and_a_generator_stay_behind(tmp_path):
    checkpoint = tmp_path / "checkpoint"
    generator = np.random.default_rng(0)
    vae = VAEEmbedder(2, checkpoint=checkpoint, max_epochs=1, random_state=generator)
    pipeline = make_pipeline(StandardScaler(), vae, memory=str(tmp_path / "cache"))
    latentsk.save(pipeline.fit(X), tmp_path / "model")
    loaded = latentsk.load(tmp_path / "model")
    assert loaded.memory is None
    assert loaded[-1].checkpoint is None
    assert loaded[-1].random_state is None
    assert str(tmp_path).encode() not in (tmp_path / "model").read_bytes()


class Halved(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.asarray(X) / 2


class Renamed(PCAEmbedder):
    """A class of the user's own."""


@pytest.mark.parametrize(
    ("estimator", "names"),
    [
        (Halved(), "Halved"),
        (Renamed(2), "Renamed"),
        (make_pipeline(Halved(), PCAEmbedder(2)), "Halved"),
        (make_pipeline(FunctionTransformer(lambda X: X), PCAEmbedder(2)), "<lambda>"),
        (LatentIndex(Halved()), "LatentIndex.save"),
        (PyODAdapter(IsolationForest(n_estimators=3)), "IsolationForest"),
        (ColumnTransformer([("p", Renamed(2), [0, 1, 2])]), "Renamed"),
    ],
)
def test_what_no_file_holds_is_named(estimator, names, tmp_path):
    estimator = clone(estimator).fit(X)
    (tmp_path / "model").write_bytes(b"what was there")
    with pytest.raises(TypeError, match=names):
        latentsk.save(estimator, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == b"what was there"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("estimator", [PCAEmbedder(), LatentIndex(), VAEEmbedder()])
def test_only_fitted_estimators_are_saved(estimator, tmp_path):
    with pytest.raises(NotFittedError):
        latentsk.save(estimator, tmp_path / "model")


def test_bad_targets(tmp_path):
    pca = PCAEmbedder(2).fit(X)
    with pytest.raises(IsADirectoryError):
        latentsk.save(pca, tmp_path)
    with pytest.raises(FileNotFoundError):
        latentsk.save(pca, tmp_path / "no" / "model")
    with pytest.raises(FileNotFoundError):
        latentsk.load(tmp_path / "model")
    with pytest.raises(TypeError, match="class"):
        latentsk.save(PCAEmbedder, tmp_path / "model")


# Modules of the user's own


@pytest.fixture
def own(tmp_path):
    estimator = AutoencoderEmbedder(max_epochs=2, random_state=0, **MODULES).fit(X)
    latentsk.save(estimator, tmp_path / "model")
    return tmp_path / "model"


def test_missing_modules_are_asked_for(own):
    with pytest.raises(ValueError, match=r"modules=\{'decoder': \.\.\.\}"):
        latentsk.load(own)
    with pytest.raises(ValueError, match="'encoder'"):
        latentsk.load(own, modules={"decoder": own_decoder()})


def test_modules_too_many_are_named(own):
    modules = {**MODULES, "embedder__encoder": own_encoder()}
    with pytest.raises(ValueError, match="takes no module 'embedder__encoder'"):
        latentsk.load(own, modules=modules)


@pytest.mark.parametrize(
    "encoder",
    [
        nn.Linear(30, 3),
        nn.Sequential(nn.Linear(30, 9), nn.Tanh(), nn.Linear(9, 3)),
        nn.Sequential(nn.Linear(30, 8), nn.Linear(8, 3, bias=False)),
    ],
)
def test_other_modules_are_refused(own, encoder):
    modules = {"encoder": encoder, "decoder": own_decoder()}
    with pytest.raises(ValueError, match=r"modules given.*differ in"):
        latentsk.load(own, modules=modules)


def test_modules_given_are_copied(own):
    modules = {"encoder": own_encoder(), "decoder": own_decoder()}
    before = modules["decoder"].weight.detach().clone()
    loaded = latentsk.load(own, modules=modules)
    assert torch.equal(modules["decoder"].weight, before)
    assert not torch.equal(loaded.module_.decoder.weight, before)
    # They are the ones to be trained by another fit.
    assert loaded.encoder is modules["encoder"]
    pickle.loads(pickle.dumps(loaded.fit(X)))


# Devices


def test_a_network_of_a_device_that_is_not_here_goes_to_the_cpu(tmp_path):
    vae = VAEEmbedder(3, **SMALL).fit(X).set_params(device="cuda:5")
    latentsk.save(vae, tmp_path / "model")
    loaded = latentsk.load(tmp_path / "model")
    assert loaded.device == "cuda:5"
    if not torch.cuda.is_available():
        assert next(loaded.module_.parameters()).device.type == "cpu"
    loaded = latentsk.load(tmp_path / "model", device="cpu")
    assert loaded.device == "cpu"
    assert_same(answers(vae, NEW), answers(loaded, NEW))


def test_the_device_of_every_part_can_be_chosen(tmp_path):
    index = LatentIndex(AutoencoderEmbedder(3, **SMALL)).fit(X)
    latentsk.save(index, tmp_path / "model")
    loaded = latentsk.load(tmp_path / "model", device=torch.device("cpu"))
    assert loaded.device == loaded.embedder.device == loaded.embedder_.device == "cpu"
    with pytest.raises(ValueError, match="device"):
        latentsk.load(tmp_path / "model", device="nowhere")


@pytest.mark.gpu
@pytest.mark.parametrize(
    "name", ["autoencoder", "vae", "vae conv", "index of a network"]
)
def test_across_devices(name, tmp_path):
    estimator, fit, rows, _ = CASES[name]
    fits = {
        d: fit(clone(estimator).set_params(**on(estimator, d))) for d in ("cuda", "cpu")
    }
    for trained, other in (("cuda", "cpu"), ("cpu", "cuda")):
        latentsk.save(fits[trained], tmp_path / "model")
        loaded = latentsk.load(tmp_path / "model", device=other)
        found, expected = answers(loaded, rows), answers(fits[trained], rows)
        for key in ("transform", "score_samples"):
            if key in expected:
                np.testing.assert_allclose(found[key][0], expected[key][0], rtol=1e-3)


def on(estimator, device):
    return {k: device for k in estimator.get_params() if k.split("__")[-1] == "device"}


def test_an_array_namespace_comes_back(tmp_path):
    from sklearn import config_context

    with config_context(array_api_dispatch=True):
        pca = PCAEmbedder(3).fit(torch.tensor(X))
        latentsk.save(pca, tmp_path / "model")
        loaded = latentsk.load(tmp_path / "model")
        assert torch.is_tensor(loaded.components_)
        assert torch.equal(
            loaded.transform(torch.tensor(NEW)), pca.transform(torch.tensor(NEW))
        )


# Foreign and other files


def test_other_files_of_ours_say_who_reads_them(tmp_path):
    LatentIndex().fit(X).save(tmp_path / "index")
    with pytest.raises(FormatError, match=r"LatentIndex\.load"):
        latentsk.load(tmp_path / "index")
    latentsk.save(LatentIndex().fit(X), tmp_path / "model")
    with pytest.raises(FormatError, match=r"latentsk\.load"):
        LatentIndex.load(tmp_path / "model")
    _format.write_file(tmp_path / "other", {"kind": "training"}, {})
    with pytest.raises(FormatError, match="no estimator"):
        latentsk.load(tmp_path / "other")


def test_foreign_files(tmp_path):
    pca = PCAEmbedder(2).fit(X)
    joblib.dump(pca, tmp_path / "joblib")
    skops.io.dump(pca, tmp_path / "skops")
    torch.save(torch.zeros(3), tmp_path / "torch")
    (tmp_path / "empty").write_bytes(b"")
    for name in ("joblib", "skops", "torch", "empty"):
        with pytest.raises(FormatError, match=name):
            latentsk.load(tmp_path / name)


def test_a_parameter_of_the_future_says_what_is_needed(tmp_path):
    latentsk.save(PCAEmbedder(2).fit(X), tmp_path / "model")
    document, arrays = _format.read_file(tmp_path / "model")
    document["root"]["parameters"]["sparsity"] = 0.5
    _format.write_file(tmp_path / "model", document, arrays)
    with pytest.raises(FormatError, match=r"no parameter 'sparsity'.*newer"):
        latentsk.load(tmp_path / "model")


def test_a_parameter_that_came_later_has_its_default(tmp_path):
    latentsk.save(PCAEmbedder(2, whiten=True).fit(X), tmp_path / "model")
    document, arrays = _format.read_file(tmp_path / "model")
    del document["root"]["parameters"]["whiten"]
    _format.write_file(tmp_path / "model", document, arrays)
    assert latentsk.load(tmp_path / "model").whiten is False


@pytest.mark.parametrize(
    "path", sorted(GOLDEN.glob("*.latentsk")), ids=lambda p: p.stem
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_files_of_every_format_version_load(path, monkeypatch):
    """What a release wrote, each later one reads: see tests/golden/make.py."""
    expected = np.load(path.with_suffix(".npz"))
    for version in (_format.FORMAT_VERSION, _format.FORMAT_VERSION + 1):
        monkeypatch.setattr(_format, "FORMAT_VERSION", version)
        loaded = latentsk.load(path)
        found = answers(loaded, as_given(path.stem, expected["rows"]))
        names = [name for name in expected.files if name != "rows"]
        assert names
        for name in names:
            np.testing.assert_allclose(
                np.asarray(found[name][0], np.float64), expected[name], rtol=1e-5
            )


def test_indexes_without_an_embedder_of_every_format_version_load():
    paths = sorted(GOLDEN.glob("*.index"))
    assert paths
    for path in paths:
        index = LatentIndex.load(path)
        assert index.search([[5.1, 3.5, 1.4, 0.2]])["id"][0] == "flower 0"


def as_given(name, rows):
    """Return rows of numbers as those that a file's estimator takes: see make.py."""
    dates = (rows * 1e6).astype("datetime64[s]")
    if name.endswith("dates"):
        return dates
    if name.endswith("given"):
        return pd.DataFrame(
            {
                "length": np.where(np.arange(len(rows)) % 5 == 0, np.nan, rows[:, 0]),
                "width": rows[:, 1].clip(2.6, 3.4).round().astype(str),
                "count": rows[:, 2].round(),
            }
        )
    if not name.endswith("mixed"):
        return rows
    return pd.DataFrame(
        {
            "length": np.where(np.arange(len(rows)) % 5 == 0, np.nan, rows[:, 0]),
            "width": rows[:, 1].round().astype(str),
            "day": dates[:, 2],
        }
    )


def test_every_kind_of_estimator_has_a_golden_file():
    kinds = {type(latentsk.load(p)).__name__ for p in GOLDEN.glob("*.latentsk")}
    public = {n for n in latentsk.__all__ if hasattr(getattr(latentsk, n), "fit")}
    assert kinds == public | {"Pipeline"}


# What could not be loaded


def test_parameters_that_no_fit_takes_are_not_saved(tmp_path):
    for estimator, bad in [
        (PCAEmbedder(2), {"contamination": 0.9}),
        (LatentIndex(), {"metric": "foo"}),
        (LatentIndex(), {"memory_budget": "much"}),
        (make_pipeline(StandardScaler(), PCAEmbedder(2)), {"pcaembedder__tol": -1}),
        (AutoencoderEmbedder(max_epochs=1, **MODULES), {"encoder": None}),
        (HierarchicalVAEEmbedder((2, 1), **SMALL), {"levels": 3}),
    ]:
        estimator.fit(X).set_params(**bad)
        with pytest.raises(
            ValueError, match=r"contamin|metric|memory|tol|encoder|levels"
        ):
            latentsk.save(estimator, tmp_path / "model")
        assert not (tmp_path / "model").exists()


def test_a_file_keeps_its_mode_and_a_link_its_target(tmp_path):
    pca, path = PCAEmbedder(2).fit(X), tmp_path / "model"
    latentsk.save(pca, path)
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    latentsk.save(pca.fit(X[:90]), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert latentsk.load(path).n_samples_ == 90
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe"):
        latentsk.save(pca, tmp_path / "pipe")


# At the same time


def test_an_index_is_saved_as_it_was_at_one_moment(tmp_path):
    index = LatentIndex(PCAEmbedder(3)).fit(X, ids=np.arange(200))
    done = threading.Event()

    def change():
        i = 1_000
        while not done.is_set():
            index.add(NEW, ids=np.arange(i, i + 20)).remove(np.arange(i, i + 20))
            i += 20

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(30):
            latentsk.save(index, tmp_path / "model")
            loaded = latentsk.load(tmp_path / "model")
            n_alive = len(loaded.search(X[:1], n_neighbors=200))
            assert n_alive == 200
            _, positions = loaded.kneighbors(X[:50], n_neighbors=1)
            np.testing.assert_array_equal(positions[:, 0], np.arange(50))
    finally:
        done.set()
        thread.join()


def test_nothing_of_the_callers_is_read_or_set(tmp_path):
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    vae = VAEEmbedder(3, **SMALL).fit(X)
    latentsk.save(vae, tmp_path / "model")
    latentsk.load(tmp_path / "model")
    assert torch.equal(torch.random.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002


def test_the_file_is_safetensors(tmp_path):
    from safetensors.numpy import load_file

    pca = PCAEmbedder(2).fit(X)
    latentsk.save(pca, tmp_path / "model")
    arrays = load_file(tmp_path / "model")
    np.testing.assert_array_equal(arrays["mean_"], pca.mean_)


def test_other_releases_of_scikit_learn_are_told_of(tmp_path, monkeypatch):
    import sklearn.base

    scaler = make_pipeline(StandardScaler(), PCAEmbedder(2)).fit(X)
    with monkeypatch.context() as patch:
        patch.setattr(sklearn.base, "__version__", "1.9.dev0")
        latentsk.save(scaler, tmp_path / "model")
    with pytest.warns(InconsistentVersionWarning, match="StandardScaler"):
        latentsk.load(tmp_path / "model")
