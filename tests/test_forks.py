"""Forked processes: they have none of their parent's threads, and wait for none."""

import os
import subprocess
import sys
import threading

import pytest
import torch

from latentsk import (
    AutoencoderEmbedder,
    GenerativeClassifier,
    HierarchicalVAEEmbedder,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    VAEEmbedder,
    VQVAEEmbedder,
    _threads,
)
from latentsk._threads import fork_safe

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="this system does not fork"
)

# Methods that hang in a forked process if they ask for a second thread, once its parent
# has had one. The parent has asked them all; then each is asked in a fork, at the same
# time by two threads. A fork that hangs is killed.
SCRIPT = """
import multiprocessing, pickle, sys, tempfile, threading
from pathlib import Path
import numpy as np, pandas as pd, torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
import latentsk
from latentsk import *

SECONDS_TO_HANG = 60
torch.set_num_threads(2)
# So many that torch would share them among its threads, and scikit-learn, too.
rows = np.random.default_rng(0).normal(size=(600, 64))
some = rows[:550]
SMALL = {"max_epochs": 1, "hidden_layer_sizes": (128,), "random_state": 0,
         "device": "cpu", "n_components": 3}
CODED = {name: value for name, value in SMALL.items() if name != "n_components"}
autoencoder = AutoencoderEmbedder(**SMALL).fit(rows)
vae = VAEEmbedder(**SMALL).fit(rows)
given = VAEEmbedder(condition=[0], **SMALL).fit(rows)
levels = HierarchicalVAEEmbedder(**{**SMALL, "n_components": (2, 1)}).fit(rows)
LEVELS = {"score_levels": lambda e: e.score_levels(some)}
folder = Path(tempfile.mkdtemp())

EMBEDDER = {
    "transform": lambda e: e.transform(some),
    "inverse_transform": lambda e: e.inverse_transform(np.ones((550, 3))),
    "reconstruct": lambda e: e.reconstruct(some),
    "score_samples": lambda e: e.score_samples(some),
    "score": lambda e: e.score(some),
    "decision_function": lambda e: e.decision_function(some),
    "predict": lambda e: e.predict(some),
    "score_contributions": lambda e: e.score_contributions(some),
    "calibrate": lambda e: e.calibrate(some).offset_,
    "fit": lambda e: e.fit(rows).score_samples(some),
    "fit_transform": lambda e: e.fit_transform(rows),
    "fit_predict": lambda e: e.fit_predict(rows),
    "partial_fit": lambda e: e.partial_fit(some).transform(some),
    "pickle": lambda e: pickle.loads(pickle.dumps(e)).transform(some),
    "save": lambda e: saved(e).transform(some),
}
VAE = {
    "sample": lambda e: e.sample(550, random_state=0),
    "transform_distribution": lambda e: e.transform_distribution(some),
    "log_likelihood": lambda e: e.log_likelihood(some, 2, random_state=0),
    "latent_report": lambda e: e.latent_report(some).dimensions,
    "interpolate": lambda e: e.interpolate(some[0], some[1], 550),
    "traverse": lambda e: e.traverse(some[0], 1, np.linspace(-1, 1, 550)),
}
CODES = {
    "sample": lambda e: e.sample(550, random_state=0),
    "transform_codes": lambda e: e.transform_codes(some),
    "inverse_transform_codes": lambda e: e.inverse_transform_codes(np.ones((550, 3))),
}
COMPONENTS = {
    "score_samples": lambda e: e.score_samples(some),
    "predict_component": lambda e: e.predict_component(some),
    "predict_component_proba": lambda e: e.predict_component_proba(some),
    "sample": lambda e: e.sample(550, random_state=0, component=1),
    "latent_report": lambda e: e.latent_report(some).dimensions,
}
DETECTOR = {
    "score_samples": lambda e: e.score_samples(some),
    "score_parts": lambda e: e.score_parts(some),
    "explain": lambda e: e.explain(some[:3])["contribution"],
    "predict_fdr": lambda e: e.calibrate(some).predict_fdr(some),
    "drift_report": lambda e: e.calibrate(rows).drift_report(some),
    "update": lambda e: e.update(some).score_samples(rows),
    "fit_predict": lambda e: e.fit_predict(some),
    "save": lambda e: saved(e).score_samples(some),
}
PYOD = {
    "decision_function": lambda e: e.decision_function(some),
    "predict_proba": lambda e: e.predict_proba(some),
    "fit_predict": lambda e: e.fit_predict(some),
}
INDEX = {
    "fit": lambda e: e.fit(rows).kneighbors(some)[1],
    "kneighbors": lambda e: e.kneighbors(some)[1],
    "search": lambda e: e.search(
        ids=range(20), filter="n < 300 and id != 3", return_metadata=True)["n"],
    "add": lambda e: e.add(some, metadata=table[:550]).kneighbors(some)[0],
    "update": lambda e: e.update(some, ids=range(550)).kneighbors(rows)[0],
    "upsert": lambda e: e.upsert(
        some, ids=range(300, 850), metadata=table[:550]).kneighbors(rows)[0],
    "update_metadata": lambda e: e.update_metadata(table[::-1]).metadata_["n"],
    "compact": lambda e: e.remove(range(300)).compact().kneighbors(some)[1],
    "pickle": lambda e: pickle.loads(pickle.dumps(e)).kneighbors(some)[1],
}
CLASSIFIER = {
    "fit": lambda e: e.fit(rows, kinds).class_score_samples(some),
    "class_score_samples": lambda e: e.class_score_samples(some),
    "score_samples": lambda e: e.score_samples(some),
    "predict_proba": lambda e: e.predict_proba(some),
    "predict_log_proba": lambda e: e.predict_log_proba(some),
    "predict": lambda e: e.predict(some),
    "score": lambda e: e.score(some, kinds[:550]),
    "calibrate": lambda e: e.calibrate(some, kinds[:550]).p_values(some),
    "p_values": lambda e: e.p_values(some),
    "predict_set": lambda e: e.predict_set(some, 0.2),
    "novelty_score": lambda e: e.novelty_score(some),
    "typicality": lambda e: e.typicality(some),
    "sample": lambda e: e.sample(550, random_state=0)[0],
    "pickle": lambda e: pickle.loads(pickle.dumps(e)).predict_proba(some),
    "save": lambda e: saved(e).predict_proba(some),
}
kinds = np.arange(600) % 2
table = pd.DataFrame({"n": range(600)})
clusters = make_pipeline(StandardScaler(), KMeans(5, n_init=1, random_state=0))

def detector(embedder):
    return LatentOutlierDetector(embedder, random_state=0).fit(rows)

def without_files(methods):
    return {name: method for name, method in methods.items() if name != "save"}

CASES = [
    ("autoencoder", autoencoder, EMBEDDER),
    ("VAE", vae, {**EMBEDDER, **VAE}),
    ("VAE with levels", levels, {**EMBEDDER, **VAE, **LEVELS}),
    ("VAE with conditions", given, {**EMBEDDER, **VAE}),
    ("VAE with a mixture", VAEEmbedder(prior="mixture", **SMALL).fit(rows), COMPONENTS),
    ("codes", VQVAEEmbedder(64, n_positions=3, code_dim=1, **CODED).fit(rows),
     {**EMBEDDER, **CODES}),
    ("PCA", PCAEmbedder(3, random_state=0).fit(rows), EMBEDDER),
    ("detector over an autoencoder", detector(autoencoder), DETECTOR),
    ("detector over k-means", detector(clusters), without_files(DETECTOR)),
    ("PyOD", PyODAdapter(autoencoder).fit(rows), PYOD),
    (
        "classifier",
        GenerativeClassifier(
            VAEEmbedder(**SMALL), reject=0.2, random_state=0
        ).fit(rows, kinds),
        CLASSIFIER,
    ),
    (
        "index over an autoencoder",
        LatentIndex(autoencoder).fit(rows, metadata=table),
        INDEX,
    ),
    ("index over k-means", LatentIndex(clusters).fit(rows, metadata=table), INDEX),
]

def saved(estimator):
    path = folder / f"{threading.get_ident()}.latentsk"
    latentsk.save(estimator, path)
    return latentsk.load(path)

def answers(data, methods):
    return {name: np.asarray(method(pickle.loads(data)), dtype=float)
            for name, method in methods.items()}

def child(connection, data, methods):
    both = []
    beside = threading.Thread(target=lambda: both.append(answers(data, methods)))
    beside.start()
    both.append(answers(data, methods))
    beside.join()
    connection.send(both)

fork = multiprocessing.get_context("fork")

def forked(what, data, methods):
    here, there = fork.Pipe()
    process = fork.Process(target=child, args=(there, data, methods))
    process.start()
    there.close()  # so that a process that ends without an answer is noticed
    if not here.poll(SECONDS_TO_HANG):
        process.kill()
        sys.exit(what + ": waits for ever in a forked process")
    try:
        found = here.recv()
    except EOFError:
        process.join()
        sys.exit(f"{what}: a forked process has ended with {process.exitcode}")
    process.join()
    return found

for what, estimator, methods in CASES:
    data = pickle.dumps(estimator)
    expected = answers(data, methods)
    both = forked(what, data, methods)
    if len(both) != 2:
        sys.exit(what + ": a thread of a forked process has failed")
    for name, found in [*both[0].items(), *both[1].items()]:
        if not np.allclose(found, expected[name], rtol=1e-3, atol=1e-3):
            sys.exit(f"{what}: {name} answers otherwise in a forked process")
if torch.get_num_threads() != 2:
    sys.exit("the parent has another number of threads")
"""


def _run(script):
    # With threads, whatever the suite has been given: the fault needs them.
    limits = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = {k: v for k, v in os.environ.items() if k not in limits}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        timeout=400,
        check=False,
        env=environment,
    )
    assert ended.returncode == 0, ended.stderr.decode()


def test_forked_processes_answer_as_their_parent_does():
    _run(SCRIPT)


@pytest.fixture
def as_forked(monkeypatch):
    """Let this process pass for a forked one, of three threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(_threads, "_home", os.getpid() + 1)
    yield
    torch.set_num_threads(before)


def test_a_method_has_one_thread_in_a_forked_process(as_forked):
    method = fork_safe(lambda: torch.get_num_threads())
    assert method() == 1
    assert torch.get_num_threads() == 3
    assert fork_safe(method)() == 1


def test_a_method_keeps_its_threads_elsewhere():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert fork_safe(lambda: torch.get_num_threads())() == 3
    finally:
        torch.set_num_threads(before)


def test_an_error_in_a_forked_process_gives_the_threads_back(as_forked):
    def fails():
        raise KeyError("as always")

    with pytest.raises(KeyError, match="as always"):
        fork_safe(fails)()
    assert torch.get_num_threads() == 3


def test_the_blas_has_one_thread_until_the_last_one_is_done(as_forked, monkeypatch):
    """The number may be one for all threads."""
    numbers = []

    class Pool:
        def limit(self, limits):
            numbers.append(limits)
            return self

        def __enter__(self): ...

        def __exit__(self, *_):
            numbers.append("as before")

    pools = _threads._pools
    monkeypatch.setattr(
        _threads, "_pools", lambda kind: Pool() if kind == "blas" else pools(kind)
    )
    first, last = threading.Event(), threading.Event()

    def one():
        first.set()
        assert last.wait(30.0)

    thread = threading.Thread(target=fork_safe(one))
    thread.start()
    assert first.wait(30.0)
    fork_safe(int)()
    assert numbers == [1]
    last.set()
    thread.join(30.0)
    assert numbers == [1, "as before"]


def test_a_method_keeps_its_name_and_text():
    def method(X):
        """Text."""

    assert (fork_safe(method).__name__, fork_safe(method).__doc__) == (
        "method",
        "Text.",
    )


# Public methods that compute nothing, or by calling others that are safe alone.
BY_OTHERS = {
    "get_feature_names_out",
    "outlier_probability",
    "p_values",
    "predict_fdr",
    "predict_proba",
    "set_threshold",
}


BY_OTHERS_OF_PYOD = {
    "predict",
    "fit_predict",
    "predict_confidence",
    "predict_with_rejection",
    "compute_rejection_stats",
    "fit_predict_score",
}


@pytest.mark.parametrize(
    ("kind", "others"),
    [
        (PCAEmbedder, {"get_feature_names_out"}),
        (AutoencoderEmbedder, {"get_feature_names_out"}),
        (VAEEmbedder, {"get_feature_names_out"}),
        (HierarchicalVAEEmbedder, {"get_feature_names_out"}),
        (VQVAEEmbedder, set()),
        (LatentOutlierDetector, BY_OTHERS),
        (PyODAdapter, BY_OTHERS | BY_OTHERS_OF_PYOD),
        (GenerativeClassifier, set()),
    ],
)
def test_no_public_method_is_forgotten(kind, others):
    """What is new is to be fork-safe, or to call what is."""
    names = {
        name
        for base in kind.__mro__
        if base.__module__.startswith("latentsk.")
        for name in vars(base)
        if not name.startswith("_")
        and callable(getattr(kind, name))
        and not name.endswith("_request")
    }
    unsafe = {n for n in names if not getattr(getattr(kind, n), "is_fork_safe", False)}
    assert unsafe <= others
