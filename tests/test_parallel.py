"""One estimator used by many threads, and many fits at once.

Answers are compared bit for bit. That holds because nothing is written to an estimator
that is asked, every number drawn comes from a generator of its own, and each library
splits its work by its number of threads alone, which is one here for all: the main
thread, threads to come and worker processes.
"""

import functools
import pickle
import sys
import threading
from contextlib import contextmanager

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from latentsk import (
    AutoencoderEmbedder,
    HierarchicalVAEEmbedder,
    LatentIndex,
    LatentNeighborsTransformer,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    VAEEmbedder,
    VQVAEEmbedder,
)
from latentsk.index._exact import ExactSearch
from latentsk.index._ivf_search import IVFSearch

PATIENCE = 120.0
N_THREADS, N_ROUNDS = 4, 2
SEEDS = (0, 1)
SPEC = "IVF8,PQ8x4fs,nprobe=8,rerank=8"
SHORT = {"max_epochs": 2, "random_state": 0, "device": "cpu", "compile": False}
MLP = {**SHORT, "n_components": 3, "hidden_layer_sizes": (16,)}
CONV = {
    **SHORT,
    "n_components": 3,
    "network": "conv",
    "input_shape": (1, 8, 8),
    "hidden_layer_sizes": (4, 8),
}

EMBEDDERS = {
    "PCA": PCAEmbedder(3, random_state=0),
    "PCA, reconstruction": PCAEmbedder(3, score_method="reconstruction"),
    "PCA, mahalanobis": PCAEmbedder(3, score_method="mahalanobis"),
    "autoencoder": AutoencoderEmbedder(**MLP),
    "convolutional autoencoder": AutoencoderEmbedder(**CONV),
    "VAE": VAEEmbedder(**MLP),
    "VAE, iwae": VAEEmbedder(**MLP, score_method="iwae"),
    "VAE, reconstruction": VAEEmbedder(**MLP, score_method="reconstruction"),
    "VAE, kl": VAEEmbedder(**MLP, score_method="kl"),
    "convolutional VAE": VAEEmbedder(**CONV),
    "codes": VQVAEEmbedder(
        16, n_positions=3, code_dim=1, hidden_layer_sizes=(16,), **SHORT
    ),
    "levels": HierarchicalVAEEmbedder(**{**MLP, "n_components": (2, 1)}),
    "pipeline": make_pipeline(StandardScaler(), PCAEmbedder(3)),
}
INDEXES = {
    "index": LatentIndex(),
    "index, cosine, torch": LatentIndex(metric="cosine", backend="torch"),
    "index over PCA": LatentIndex(PCAEmbedder(8)),
    "index with lists": LatentIndex(PCAEmbedder(8), index_spec=SPEC),
}
TRANSFORMERS = {
    "neighbors": LatentNeighborsTransformer(PCAEmbedder(8)),
    "pipeline, neighbors": make_pipeline(
        StandardScaler(), LatentNeighborsTransformer(n_neighbors=3)
    ),
}
DETECTORS = {
    "detector": LatentOutlierDetector(random_state=0),
    "detector over autoencoder": LatentOutlierDetector(AutoencoderEmbedder(**MLP)),
}
ADAPTERS = {"PyOD": PyODAdapter(PCAEmbedder(3)), "PyOD, default": PyODAdapter()}
ESTIMATORS = {**EMBEDDERS, **INDEXES, **TRANSFORMERS, **DETECTORS, **ADAPTERS}
# Of random_state=None there is nothing to compare with.
SEEDED = {"PyOD, default": {"random_state": 0}}
SEEDED["detector over autoencoder"] = {"random_state": 0}

# What each kind answers: the estimator and some rows to anything.
OF_EMBEDDERS = {
    "transform": lambda e, X: e.transform(X),
    "inverse_transform": lambda e, X: e.inverse_transform(X[:, :3]),
    "reconstruct": lambda e, X: e.reconstruct(X),
    "score_samples": lambda e, X: e.score_samples(X),
    "score": lambda e, X: e.score(X),
    "decision_function": lambda e, X: e.decision_function(X),
    "predict": lambda e, X: e.predict(X),
    "score_contributions": lambda e, X: e.score_contributions(X),
    "sample": lambda e, X: e.sample(5, random_state=3),
    "get_covariance": lambda e, X: e.get_covariance(),
    "get_precision": lambda e, X: e.get_precision(),
    "transform_distribution": lambda e, X: e.transform_distribution(X),
    "log_likelihood": lambda e, X: e.log_likelihood(X, 20, random_state=3),
    "latent_report": lambda e, X: e.latent_report(X).dimensions,
    "interpolate": lambda e, X: e.interpolate(X[0], X[1], 5),
    "traverse": lambda e, X: e.traverse(X[0], 1, [-1.0, 0.0, 1.0]),
    "likelihood_scale_": lambda e, X: e.likelihood_scale_,
    "get_feature_names_out": lambda e, X: e.get_feature_names_out(),
}
OF_INDEXES = {
    "kneighbors": lambda e, X: e.kneighbors(X),
    "kneighbors of its own": lambda e, X: e.kneighbors(),
    "kneighbors_graph": lambda e, X: e.kneighbors_graph(X, mode="distance"),
    "radius_neighbors": lambda e, X: e.radius_neighbors(X, _radius(e)),
    "radius_neighbors_graph": lambda e, X: e.radius_neighbors_graph(X, _radius(e)),
    "search": lambda e, X: e.search(X),
    "search by ids": lambda e, X: e.search(X, filter=e.ids_[::2]),
    "search by mask": lambda e, X: e.search(X, filter=e.ids_ % 3 == 0),
    "duplicates": lambda e, X: e.duplicates(_radius(e)),
    "measure_recall": lambda e, X: e.measure_recall(),
    "vectors_": lambda e, X: e.vectors_,
}
OF_TRANSFORMERS = {"transform": lambda e, X: e.transform(X)}
OF_DETECTORS = {
    "score_samples": lambda e, X: e.score_samples(X),
    "decision_function": lambda e, X: e.decision_function(X),
    "predict": lambda e, X: e.predict(X),
    "score_parts": lambda e, X: e.score_parts(X),
    "p_values": lambda e, X: e.p_values(X),
    "predict_fdr": lambda e, X: e.predict_fdr(X),
    "outlier_probability": lambda e, X: e.outlier_probability(X),
    "explain": lambda e, X: e.explain(X[:5]),
    "kneighbors": lambda e, X: e.index_.kneighbors(),
}
OF_ADAPTERS = {
    "decision_function": lambda e, X: e.decision_function(X),
    "predict": lambda e, X: e.predict(X),
    "linear": lambda e, X: e.predict_proba(X),
    "unify": lambda e, X: e.predict_proba(X, "unify"),
}


def _radius(index):
    return 0.1 if index.metric == "cosine" else 20.0


def _methods(name, estimator):
    kinds = (
        (INDEXES, OF_INDEXES),
        (TRANSFORMERS, OF_TRANSFORMERS),
        (DETECTORS, OF_DETECTORS),
        (ADAPTERS, OF_ADAPTERS),
    )
    for kind, methods in kinds:
        if name in kind:
            return methods
    there = {m: f for m, f in OF_EMBEDDERS.items() if _offers(estimator, m)}
    if getattr(estimator, "score_method", None) == "kl":
        del there["score_contributions"]  # no sum over features
    return there


def _offers(estimator, method):
    name = "score_samples" if method == "score" else method
    return hasattr(estimator, name)


# Settings


@pytest.fixture(autouse=True)
def one_thread_each():
    """Give torch and the BLAS one thread, in the main thread and in those to come."""
    with _one_thread():
        yield


@contextmanager
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture
def often_switched():
    """Let threads take turns within the shortest pieces of Python."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(params=list(ESTIMATORS))
def named(request, monkeypatch):
    if request.param == "index with lists":
        pytest.importorskip("faiss")
        # By candidates in spite of so few rows, for which it would compare all.
        monkeypatch.setattr(IVFSearch, "_prefers_exact", lambda *_: False)
    return request.param, _seeded(request.param)


def _seeded(name, seed=0):
    """Return a clone with a seed, whatever in it takes one."""
    estimator = clone(ESTIMATORS[name]).set_params(**SEEDED.get(name, {}))
    places = [k for k in estimator.get_params() if k.split("__")[-1] == "random_state"]
    return estimator.set_params(**dict.fromkeys(places, seed))


@pytest.fixture(scope="module")
def rows(digits):
    return digits[0][:160]


@pytest.fixture(scope="module")
def queries(digits):
    """Rows in both dtypes in which networks infer; floats without ties."""
    X = digits[0][160:190] + np.random.default_rng(0).normal(size=(30, 64))
    return {"float64": X, "float32": X.astype(np.float32)}


# Comparing


def _arrays(answer):
    """Return all arrays that an answer consists of."""
    if isinstance(answer, tuple | list):
        return [array for part in answer for array in _arrays(part)]
    if isinstance(answer, pd.DataFrame):
        return [answer.index.to_numpy(), *(answer[c].to_numpy() for c in answer)]
    if issparse(answer):
        return [answer.data, answer.indices, answer.indptr]
    array = np.asarray(answer)
    ragged = array.dtype == object and len(array) and isinstance(array[0], np.ndarray)
    return list(array) if ragged else [array]


def _assert_same(answer, expected, what):
    found, true = _arrays(answer), _arrays(expected)
    assert len(found) == len(true), what
    for mine, other in zip(found, true, strict=True):
        np.testing.assert_array_equal(mine, other, err_msg=what)


def _fitted_arrays(estimator):
    """Return what a fit has learned, by name; of networks their weights."""
    if hasattr(estimator, "steps"):
        parts = dict(estimator.steps)
    else:
        parts = {k: v for k, v in vars(estimator).items() if hasattr(v, "get_params")}
    learned = getattr(estimator, "_get_state", dict)()
    for name, part in parts.items():
        if name not in estimator.get_params(deep=False):
            inner = _fitted_arrays(part)
            learned.update({f"{name}.{key}": value for key, value in inner.items()})
    for name in ("module_", "_structure"):
        for key, value in (learned.pop(name, None) or {}).items():
            learned[f"{name}.{key}"] = value
    learned.pop("history_", None)  # which has times in it
    return {k: v for k, v in learned.items() if isinstance(v, np.ndarray | float | int)}


def _assert_same_fit(estimator, expected, X):
    mine, true = _fitted_arrays(estimator), _fitted_arrays(expected)
    assert mine.keys() == true.keys()
    for name, value in true.items():
        np.testing.assert_array_equal(mine[name], value, err_msg=name)
    for method in ("score_samples", "transform", "kneighbors", "decision_function"):
        if hasattr(estimator, method):
            answers = [getattr(e, method)(X) for e in (estimator, expected)]
            _assert_same(*answers, method)


def _together(functions):
    """Start functions at one moment in threads of their own; none may fail."""
    barrier = threading.Barrier(len(functions))
    errors = []

    def guarded(function):
        try:
            barrier.wait(PATIENCE)
            function()
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=guarded, args=(function,), daemon=True)
        for function in functions
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread waits for ever"
    if errors:
        raise errors[0]


def _fit(estimator, rows):
    """Fit, and place the threshold of a detector on rows that it does not know."""
    estimator.fit(rows[:120])
    if isinstance(estimator, LatentOutlierDetector):
        estimator.calibrate(rows[120:])
    return estimator


# One estimator, many threads


def test_threads_share_a_fitted_estimator(named, rows, queries, often_switched):
    """Every method in every thread, each beginning with another, while a clone fits.

    The first round asks the estimator that was fitted, the second one that has just
    been unpickled, and builds what it keeps for its answers now, for all at once.
    """
    name, estimator = named
    _fit(estimator, rows)
    methods = _methods(name, estimator)
    dtypes = list(queries) if name in EMBEDDERS else ["float64"]
    calls = [(method, dtype) for method in methods for dtype in dtypes]
    expected = {c: methods[c[0]](estimator, queries[c[1]]) for c in calls}
    data = pickle.dumps(estimator)

    def ask(asked, first):
        for call in calls[first:] + calls[:first]:
            method, dtype = call
            answer = methods[method](asked, queries[dtype])
            _assert_same(answer, expected[call], f"{name}, {method}, {dtype}")

    for number in range(N_ROUNDS):
        asked = pickle.loads(data) if number else estimator
        other = clone(estimator)
        starts = [i * len(calls) // N_THREADS for i in range(N_THREADS)]
        asking = [functools.partial(ask, asked, first) for first in starts]
        _together([functools.partial(_fit, other, rows), *asking])
        _assert_same_fit(other, estimator, queries["float64"])


def test_threads_begin_with_the_same_method(named, rows, queries, often_switched):
    """All threads want what is built for an answer at the very same moment."""
    name, estimator = named
    _fit(estimator, rows)
    methods = _methods(name, estimator)
    data, X = pickle.dumps(estimator), queries["float64"]
    for method, function in methods.items():
        expected, asked = function(estimator, X), pickle.loads(data)

        def ask(function=function, asked=asked, expected=expected, method=method):
            _assert_same(function(asked, X), expected, f"{name}, {method}")

        _together([ask] * N_THREADS)


@pytest.mark.parametrize("name", INDEXES)
def test_what_an_unpickled_index_builds_is_built_once(name, rows, monkeypatch):
    """Not in every thread: it takes as much memory as the rows."""
    if name == "index with lists":
        pytest.importorskip("faiss")
    index = pickle.loads(pickle.dumps(_seeded(name).fit(rows)))
    built, build = [], ExactSearch.__init__

    def counted(self, *arguments):
        built.append(self)
        build(self, *arguments)

    monkeypatch.setattr(ExactSearch, "__init__", counted)
    _together([lambda: index.kneighbors(rows[:3])] * N_THREADS)
    assert len(built) == 1


# Many fits


@pytest.fixture(scope="module")
def one_after_the_other(rows):
    """Two fits of each estimator, with different seeds."""
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    with _one_thread():  # before the fixture for every test
        return {n: [_seeded(n, seed).fit(rows) for seed in SEEDS] for n in ESTIMATORS}


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_fits_in_parallel_are_those_one_after_the_other(
    backend, rows, queries, one_after_the_other
):
    """Each is that of its seed, whatever goes on beside it."""
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    found = _in_parallel(
        backend, [_seeded(n, seed) for n in ESTIMATORS for seed in SEEDS], rows
    )
    for expected in one_after_the_other.values():
        for mine, true in zip([next(found) for _ in SEEDS], expected, strict=True):
            _assert_same_fit(mine, true, queries["float64"])


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_fits_in_parallel_without_a_seed_differ(backend, rows):
    names = ["autoencoder", "VAE", "detector over autoencoder"]
    estimators = [_seeded(name, None) for name in names + names]
    found = list(_in_parallel(backend, estimators, rows))
    for one, other in zip(found[:3], found[3:], strict=True):
        assert not np.array_equal(one.score_samples(rows), other.score_samples(rows))


def _in_parallel(backend, estimators, rows):
    # Workers of loky would take more threads where there are more than two cores.
    options = {"inner_max_num_threads": 1} if backend == "loky" else {}
    with joblib.parallel_config(backend, n_jobs=2, **options):
        return iter(joblib.Parallel()(joblib.delayed(e.fit)(rows) for e in estimators))


def test_global_generators_are_left_alone(named, rows, queries):
    name, estimator = named
    before = _global_generators()
    _fit(estimator, rows)
    for function in _methods(name, estimator).values():
        function(estimator, queries["float64"])
    if hasattr(estimator, "partial_fit"):
        estimator.partial_fit(rows)
    for mine, expected in zip(_global_generators(), before, strict=True):
        np.testing.assert_array_equal(mine, expected)


def _global_generators():
    _, numbers, place, *_ = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().numpy(), numbers, [place]
