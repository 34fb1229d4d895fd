"""The page of errors: each message on it is raised here, by the call that it is about."""

import _thread
import re
import sys
import warnings
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn import config_context
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    PolynomialFeatures,
    StandardScaler,
)
from torch import nn

import latentsk
from latentsk import (
    AutoencoderEmbedder,
    CategoryEncoder,
    DatetimeEncoder,
    ExplanationDisplay,
    GenerativeClassifier,
    HierarchicalVAEEmbedder,
    LatentIndex,
    LatentMapDisplay,
    LatentNeighborsTransformer,
    LatentOutlierDetector,
    OutlierScoreDisplay,
    PCAEmbedder,
    PyODAdapter,
    RobustStandardizer,
    SlidingWindows,
    VAEEmbedder,
    VQVAEEmbedder,
    _faiss,
    make_table_preprocessor,
)
from latentsk.embedders import _onnx_file
from latentsk.index import _rabitq
from latentsk.outliers._decisions import benjamini_hochberg, conformal_p_values
from latentsk.persistence import _columns, _format
from latentsk.training._inference import in_batches

PAGE = Path(__file__).parents[1] / "docs" / "user_guide" / "errors.rst"
# What stands for what varies in a message.
GAP = "…"

X = np.random.default_rng(0).normal(size=(60, 4)) @ np.diag([4.0, 2.0, 1.0, 0.5])
FRAME = pd.DataFrame(X, columns=list("abcd"))
FLAT = np.column_stack([X[:, :2], X[:, 0] + X[:, 1], np.ones(60)])
# Smooth images in colour, with channels last.
COLOUR = np.linspace(0, 1, 60 * 5).reshape(60, 1, 5, 1) * np.ones((60, 5, 5, 3))
ONES = (X > 0) * 1.0
KINDS = np.arange(60) % 2
SEASONS = FRAME[["a", "b"]].assign(season=np.where(X[:, 2] > 0, "a", "b"))
MANY = np.random.default_rng(0).normal(size=(2_000, 4))
HUGE32 = np.clip(X, -1, 1).astype(np.float32) * 1e30
SMALL = {"max_epochs": 1, "hidden_layer_sizes": (4,), "random_state": 0}
CONV = {**SMALL, "network": "conv"}
LISTS = {"index_spec": "IVF4,PQ4x4fs,nprobe=4,rerank=2"}


@cache
def fitted(kind, *arguments, **parameters):
    return kind(*arguments, **parameters).fit(X)


def fitted_to_frame(kind=PCAEmbedder):
    return kind().fit(FRAME)


def pca(**parameters):
    return fitted(PCAEmbedder, 2, **parameters)


def classifier(density=None, **parameters):
    density = PCAEmbedder(1) if density is None else density
    return GenerativeClassifier(density, random_state=0, **parameters)


def vae(**parameters):
    return VAEEmbedder(2, **SMALL, **parameters)


@cache
def conditional():
    return VAEEmbedder(1, condition=["season"], **SMALL, kl_warmup=0.5).fit(SEASONS)


def index(*embedder, **parameters):
    return LatentIndex(*embedder, **parameters).fit(X)


def with_metadata():
    return LatentIndex().fit(X, metadata=FRAME)


def changed_by_a_filter():
    index = with_metadata()
    index.kneighbors(X, filter=lambda _: index.remove([0]).active_)


def detector(**parameters):
    return LatentOutlierDetector(**parameters).fit(X)


HOURLY = FRAME.set_index(pd.date_range("2026-01-01", periods=60, freq="h"))


def windows():
    return SlidingWindows(24).fit(HOURLY)


MIXED = FRAME.assign(b=np.where(X[:, 1] > 0, "x", "y"))


def mixed_detector():
    return LatentOutlierDetector().fit(MIXED)


# Modules of a user's own


class Module(nn.Module):
    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)
        self.linear = nn.Linear(4, 2)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, rows):
        return self.linear(self.function(self, rows))


def custom(encoder, decoder=None, **parameters):
    """Fit an autoencoder with modules of its own."""
    decoder = nn.Linear(2, 4) if decoder is None else decoder
    modules = {"encoder": encoder, "decoder": decoder}
    return AutoencoderEmbedder(**modules, max_epochs=1, **parameters).fit(X)


def function(function, *layers):
    return custom(Module(function, *layers))


def counting(module, rows):
    if module.training:
        module.count += 1
    return rows


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Linear(4, 2))


def lazy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.LazyLinear(2)


def computed():
    module = nn.Linear(4, 2)
    module.scale = module.weight * 2.0
    return module


def frozen():
    return nn.Linear(4, 2).requires_grad_(False), nn.Linear(2, 4).requires_grad_(False)


class Interrupt:
    """A callback that presses Ctrl-C after an epoch."""

    def setup(self, estimator, context): ...

    def teardown(self, estimator, context): ...

    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context, *, metadata=None):
        if metadata and metadata.get("epoch") == 2:
            _thread.interrupt_main()


def out_of_memory(rows):
    if len(rows) > 10:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return rows


# Files


def saved(estimator, path="model"):
    latentsk.save(estimator, path)
    return Path(path)


def damaged(change):
    path = saved(pca())
    path.write_bytes(change(path.read_bytes()))
    latentsk.load(path)


def altered(change, estimator=None):
    path = saved(estimator or pca())
    document, arrays = _format.read_file(path)
    change(document["root"], arrays)
    _format.write_file(path, document, arrays)
    latentsk.load(path)


def without_skops(root, arrays):
    arrays["standardscaler/skops/schema"] = np.frombuffer(b"{}", np.uint8)


CHECKPOINT = {
    "checkpoint": "checkpoint",
    "checkpoint_interval": 1,
    "hidden_layer_sizes": (4,),
    "random_state": 0,
}


def checkpoint():
    """Leave the checkpoint of a training that was interrupted."""
    embedder = AutoencoderEmbedder(**CHECKPOINT).set_callbacks(Interrupt())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        embedder.fit(X)


def fitted_on_tensors():
    with config_context(array_api_dispatch=True):
        return PCAEmbedder(2).fit(torch.from_numpy(X))


class Own(FunctionTransformer):
    """A transformer of a user's own."""


def with_other_mean():
    embedder = PCAEmbedder(2).fit(X)
    embedder.mean_ = np.zeros(9)
    return embedder


def newer(patch):
    patch.setattr(_format, "FORMAT_VERSION", 99)
    path = saved(pca())
    patch.setattr(_format, "FORMAT_VERSION", 2)
    latentsk.load(path)


def zone_unknown(patch):
    times = pd.date_range("2020", periods=60, tz="Europe/Berlin")
    saved(LatentIndex().fit(X, metadata=pd.DataFrame({"time": times})))
    patch.setattr(_columns, "known_zone", lambda name: None)
    latentsk.load("model")


def pyarrow_missing(patch):
    numbers = pd.DataFrame({"n": pd.Series(range(60), dtype="int64[pyarrow]")})
    saved(LatentIndex().fit(X, metadata=numbers))
    patch.setitem(sys.modules, "pyarrow", None)
    latentsk.load("model")


def another_embedder():
    spec = "IVF4,PQ3x4fs,nprobe=4,rerank=2"
    embedder = fitted(PCAEmbedder, 3)
    LatentIndex(embedder, rerank="original", index_spec=spec).fit(X).save("index")
    other = PCAEmbedder(2).fit(X)
    LatentIndex.load("index", embedder=other)


def coarse():
    """Codes of wide columns tell nothing of what neighbours differ in."""
    rows = np.random.default_rng(0).normal(size=(2_000, 8))
    rows = np.concatenate([rows, 1e-3 * rows], axis=1)
    rows[:50, 0] += 3e4
    LatentIndex(target_recall=0.95, memory_budget="140KB").fit(rows)


def restored_from_the_past():
    state = StandardScaler().fit(X).__getstate__()
    StandardScaler().__setstate__({**state, "_sklearn_version": "0.1"})


def index_file(**parameters):
    index(**parameters).save("index")


def embedded():
    index(pca()).save("index")


# Packages


def forget():
    _faiss.faiss_available.cache_clear()
    _faiss.load_faiss.cache_clear()


def forgetful(patch, call):
    """Call something that looks for FAISS anew; so does whatever comes afterwards."""
    forget()
    try:
        call()
    finally:
        patch.undo()
        forget()


def without_rabitqlib(patch):
    _rabitq.load_rabitqlib.cache_clear()
    patch.setitem(sys.modules, "rabitqlib", None)
    wide = np.random.default_rng(0).normal(size=(40, 20))
    LatentIndex(index_spec="SymphonyQG32,ef=16", static=True).fit(wide)


def without_faiss(patch, call):
    patch.setattr(_faiss, "distributions", list)
    patch.setitem(sys.modules, "faiss", None)
    forgetful(patch, call)


def with_both_faiss(patch, call):
    names = ["faiss-cpu", "faiss-gpu"]
    found = [SimpleNamespace(metadata={"Name": name}) for name in names]
    patch.setattr(_faiss, "distributions", lambda: found)
    forgetful(patch, call)


# By message: a call that leads to it. The argument is pytest's monkeypatch.
# fmt: off
CASES = {
    # Warnings
    "The posterior collapsed": lambda p: VAEEmbedder(beta=30, max_epochs=20, random_state=0).fit(X),
    "The codes collapsed": lambda p: VQVAEEmbedder(4, **SMALL).fit(np.ones((60, 3))),
    "Level … of … is not used": lambda p: HierarchicalVAEEmbedder((2, 2), beta=4.0, learning_rate_init=0.01, max_epochs=60, random_state=0).fit(X[:, [0, 0, 1, 1]]),
    "The latent coordinates lie far from the prior": lambda p: VAEEmbedder(3, capacity=60, max_epochs=40, random_state=0).fit(X),
    "Batches of … rows did not fit into the device's memory": lambda p: in_batches(out_of_memory, torch.zeros(30, 2), 20),
    "Training was interrupted": lambda p: AutoencoderEmbedder(hidden_layer_sizes=(4,)).set_callbacks(Interrupt()).fit(X),
    "likelihood='bernoulli' is meant for zeros and ones": lambda p: vae(likelihood="bernoulli", kl_warmup=0.5).fit(ONES / 2),
    "Condition … has categories that the training rows did not have": lambda p: conditional().transform(SEASONS.assign(season="spring")),
    "contamination=… asks for … of … rows, but … flagged": lambda p: PCAEmbedder(2, contamination=0.2).fit(np.repeat(X[:4], 15, axis=0)),
    "n_alerts=… per … asks for … of … rows, but … flagged": lambda p: detector().calibrate(np.repeat(X[:4], 15, axis=0)).set_threshold(n_alerts=2, per=10),
    "n_alerts=… per … rests on the … lowest of … reference rows": lambda p: detector().set_threshold(n_alerts=1, per=20),
    "input_shape=… says that rows hold … channels of … x … pixels": lambda p: AutoencoderEmbedder(**SMALL, input_shape=(3, 5, 5)).fit(COLOUR.reshape(60, -1)),
    "Many of these queries are unlike the rows of the index": lambda p: LatentIndex(index_spec="IVF64,PQ4x4fs,nprobe=4,rerank=9", target_recall=0.5).fit(MANY).kneighbors(0.3 * MANY[:400]),
    "The recall of … is …, less than target_recall=…": lambda p: LatentIndex(index_spec="IVF64,PQ4x4fs,nprobe=1,rerank=1", target_recall=0.99).fit(MANY),
    # Fitting: rows
    "X must hold numbers, but column … holds …": lambda p: detector().predict(FRAME.assign(a="x")),
    "X must hold numbers, but columns … hold …": lambda p: LatentIndex().fit(FRAME.assign(b=pd.Timestamp(0), c=pd.Timestamp(1))),
    "X must have rows and columns of numbers, but holds strings": lambda p: PCAEmbedder().fit(["a text", "another"]),
    "X must hold numbers, not records": lambda p: PCAEmbedder().fit(FRAME.to_records()),
    "X must be a sequence of rows, got a …": lambda p: LatentOutlierDetector(PCAEmbedder(2)).fit({"a": [1.0]}),
    "The fit had a DataFrame with gaps or with columns of no numbers": lambda p: mixed_detector().predict(X),
    "Column … holds what is neither number, category, boolean nor date": lambda p: LatentOutlierDetector().fit(FRAME.assign(b=pd.Timedelta(1))),
    "The preprocessor makes no feature of X": lambda p: LatentOutlierDetector().fit(pd.DataFrame({"a": [pd.Timestamp(0)] * 2})),
    "Column … had numbers in the fit, got …": lambda p: mixed_detector().predict(MIXED.assign(a="n/a")),
    "Column … must hold dates, got … of type …": lambda p: DatetimeEncoder().fit(X),
    "Column … must hold dates, got …": lambda p: DatetimeEncoder().fit([["soon"]]),
    "X must be a table of dates, got … dimension(s)": lambda p: DatetimeEncoder().fit(pd.Series(["2026-01-31"])),
    "The times of a series must increase, but … comes after …": lambda p: windows().transform(HOURLY[::-1]),
    "X must have at least length=… steps of one series in a row, got …": lambda p: SlidingWindows(24, max_gap="1min").fit_transform(HOURLY),
    "groups must hold one label for each of the … rows of X": lambda p: windows().transform(HOURLY, groups="a"),
    "groups must hold a label for each row": lambda p: windows().transform(HOURLY, groups=[None] * 60),
    "groups is a Series whose index is not that of X": lambda p: windows().transform(HOURLY, groups=FRAME["a"].set_axis(range(1, 61))),
    "max_gap=… needs an index of times or numbers": lambda p: SlidingWindows(max_gap="1h").fit(X),
    "max_gap must be a positive duration such as '10min'": lambda p: SlidingWindows(max_gap=3).fit(HOURLY),
    "max_gap must be a positive number, as the index of X holds numbers": lambda p: SlidingWindows(max_gap="1h").fit(FRAME),
    "scores must have a row for each of the … windows of X": lambda p: windows().to_steps([0.0], HOURLY),
    "scores have an index that is not that of the windows of X": lambda p: windows().to_steps(windows().transform(HOURLY)["a_lag0"][::-1], HOURLY),
    "aggregate must be one of …": lambda p: windows().to_steps([0.0], HOURLY, aggregate="sum"),
    "reasons must hold the … columns of each window": lambda p: windows().sum_by_sensor(detector().explain(X)[:-1]),
    "reasons must have … columns, for … sensor(s) at … steps": lambda p: windows().sum_by_sensor(X),
    "A category must be a string or a number, but column … holds …": lambda p: CategoryEncoder().fit(pd.DataFrame({"a": [["x"]]})),
    "X must be a DataFrame, got …": lambda p: make_table_preprocessor(X),
    "Column … has no value at all": lambda p: make_table_preprocessor(FRAME.assign(b=np.nan)),
    "Columns … have no value at all": lambda p: make_table_preprocessor(FRAME.assign(b=np.nan, c=None)),
    "Column … holds texts that nearly all differ": lambda p: make_table_preprocessor(pd.DataFrame({"a": [f"this is note {i}" for i in range(40)]})),
    "Column … is taken for categories, but … of … cells are …": lambda p: make_table_preprocessor(FRAME.astype(str)),
    "X has missing values in …, where the rows of the fit had none": lambda p: detector().predict(X * np.nan),
    "X has an inhomogeneous shape": lambda p: LatentIndex().fit([[1.0, 2.0], [3.0]]),
    "Input X contains NaN": lambda p: pca().transform(X * np.nan),
    "Input X contains infinity": lambda p: pca().transform(X * np.inf),
    "Step … of the Pipeline makes … in column …": lambda p: LatentOutlierDetector(make_pipeline(FunctionTransformer(np.log), PCAEmbedder(2))).fit(X),
    "Complex data not supported": lambda p: PCAEmbedder().fit(X * 1j),
    "Sparse data was passed for …, but dense data is required": lambda p: LatentIndex().fit(csr_matrix(X)),
    "X has masked values": lambda p: pca().fit(np.ma.masked_greater(X, 1.0)),
    "X has magnitudes above 1e+100": lambda p: PCAEmbedder().fit(X * 1e+101),
    "X has values so large that their squares leave the range of its dtype": lambda p: PCAEmbedder().fit(HUGE32),
    "The components of X were not found": lambda p: PCAEmbedder(2, svd_solver="arpack", random_state=0).fit(csr_matrix((20, 4))),
    "… needs data in [0, 1], but X ranges from … to …": lambda p: vae(likelihood="continuous_bernoulli").fit(X),
    "… needs counts (0, 1, 2, ...), but X ranges from … to …": lambda p: vae(likelihood="poisson").fit(X),
    "Expected 2D array, got …D array instead: X has shape …": lambda p: PCAEmbedder().fit(COLOUR),
    "Expected 2D array, got …D array instead: this … was fitted on flat rows": lambda p: fitted(AutoencoderEmbedder, **SMALL).transform(COLOUR),
    "X has shape …, and where the channels of its images lie cannot be told": lambda p: AutoencoderEmbedder().fit(COLOUR[:, :3, :3]),
    "X has shape …, but input_shape=…, which is channels, height and width, stands for …": lambda p: AutoencoderEmbedder(**SMALL).fit(COLOUR).transform(COLOUR[0]),
    "input_shape=… means … channels of … x … pixels, but X of shape … looks like …": lambda p: AutoencoderEmbedder(input_shape=(5, 5, 3)).fit(COLOUR),
    "X holds images of different shapes": lambda p: VAEEmbedder().fit([COLOUR[0], COLOUR[1, 1:]]),
    "Input X contains …: image …, pixel …": lambda p: VAEEmbedder().fit(COLOUR * np.nan),
    "Found array with 0 feature(s)": lambda p: PCAEmbedder().fit(FRAME[[]]),
    "The embedder cannot be fitted to the … rows nearest the centre": lambda p: LatentOutlierDetector(PCA(20)).fit(np.random.default_rng(0).normal(size=(24, 40))),
    "The steps before the embedder returned … rows for …": lambda p: LatentOutlierDetector(make_pipeline(SlidingWindows(3), PCAEmbedder())).fit(X),
    "The embedder returned … vectors for … rows": lambda p: LatentIndex(FunctionTransformer(lambda rows: rows[1:])).fit(X),
    "The embedder reconstructed rows of shape …": lambda p: LatentOutlierDetector(FunctionTransformer(lambda rows: rows[:, :2], lambda rows: rows)).fit(X),
    # Fitting: parameters
    "device must be 'auto', 'cpu', 'cuda' or like 'cuda:0'": lambda p: AutoencoderEmbedder(device="tpu").fit(X),
    "device=…, but torch finds no CUDA device": lambda p: (p.setattr(torch.cuda, "is_available", lambda: False), AutoencoderEmbedder(device="cuda").fit(X)),
    "random_state must be None, an int, …": lambda p: pca().sample(random_state="x"),
    "n_components=… must be between 0 and …": lambda p: PCAEmbedder(9).fit(X),
    "n_components=… must be at most …": lambda p: PCAEmbedder(9).partial_fit(X),
    "The 'embedder' parameter must be an object with the methods 'fit' and 'transform'": lambda p: LatentIndex(len).fit(X),
    "embedder must be an instance, got the class …": lambda p: index(PCAEmbedder),
    "embedder is a FrozenEstimator that is not fitted": lambda p: index(FrozenEstimator(PCAEmbedder())),
    "network='conv' needs input_shape=(channels, height, width)": lambda p: AutoencoderEmbedder(network="conv").fit(X),
    "network=… is for images of … x … pixels": lambda p: AutoencoderEmbedder(network="conv-32-128-256").fit(X),
    "Images of … x … pixels are too small for … stages": lambda p: AutoencoderEmbedder(**CONV | {"hidden_layer_sizes": (2, 2, 2)}, input_shape=(1, 2, 2)).fit(X),
    "network=… has layers of its own": lambda p: AutoencoderEmbedder(network="mlp-400", hidden_layer_sizes=(5,)).fit(X),
    "decoder_layer_sizes is for network='mlp' only": lambda p: AutoencoderEmbedder(**CONV, input_shape=(1, 2, 2), decoder_layer_sizes=(4,)).fit(X),
    "… must hold positive integers": lambda p: AutoencoderEmbedder(hidden_layer_sizes=(0,)).fit(X),
    "input_shape=… stands for … features, but X has …": lambda p: AutoencoderEmbedder(**CONV, input_shape=(1, 8, 8)).fit(X),
    "noise_level is a share of the features with noise='masking'": lambda p: AutoencoderEmbedder(noise="masking", noise_level=2.0).fit(X),
    "likelihood_scale must be 'auto', 'feature', 'shared' or a number": lambda p: vae(likelihood_scale=True).fit(X),
    "… is for objective='elbo', got 'iwae'": lambda p: vae(objective="iwae", capacity=5.0).fit(X),
    "free_nats and capacity exclude each other": lambda p: vae(free_nats=0.1, capacity=5.0).fit(X),
    "n_components must be 'auto', a positive integer, or hold at least two": lambda p: HierarchicalVAEEmbedder((8,)).fit(X),
    "levels must be None, a level from 1 … to …": lambda p: HierarchicalVAEEmbedder((2, 1), levels=3).fit(X),
    "n_prior_components=…, but X has … rows": lambda p: vae(prior="mixture", n_prior_components=5).fit(X[:3]),
    "… names column …, which X does not have": lambda p: vae(condition=["q"]).fit(FRAME),
    "… names column …, but X has no column names": lambda p: vae(likelihood={"a": "laplace"}).fit(X),
    "X is one row, as a Series": lambda p: fitted_to_frame().transform(FRAME.loc[3]),
    "The … parameter of … must be a number, not a boolean": lambda p: VQVAEEmbedder(n_codes=True).fit(X),
    "codes must hold numbers, got …": lambda p: fitted(VQVAEEmbedder, 8, **SMALL).inverse_transform_codes([["a"]]),
    "codes must be a 2D array, got …": lambda p: fitted(VQVAEEmbedder, 8, **SMALL).inverse_transform_codes([1]),
    "codes are no table of numbers": lambda p: fitted(VQVAEEmbedder, 8, **SMALL).inverse_transform_codes([[1], [1, 2]]),
    "codes has masked values": lambda p: fitted(VQVAEEmbedder, 8, **SMALL).inverse_transform_codes(np.ma.masked_greater([[1]], 0)),
    "Unknown label type: y …": lambda p: classifier().fit(X, X[:, 0]),
    "row must be the position of a row or the label of one, got …": lambda p: ExplanationDisplay.from_estimator(detector(), FRAME, row="C9"),
    "row=… is a position, of the row labelled …, but … is also the label of another row": lambda p: ExplanationDisplay.from_estimator(fitted_to_frame(LatentOutlierDetector), FRAME[::-1], row=3),
    "… has position …, but X has … columns": lambda p: vae(condition=[4]).fit(X),
    "… must hold names or positions of columns": lambda p: vae(condition=[0.5]).fit(X),
    "condition names a column twice": lambda p: vae(condition=["a", 0]).fit(FRAME),
    "condition=… names every column of X": lambda p: vae(condition=[0, 1, 2, 3]).fit(X),
    "Column … holds strings, and X is no table": lambda p: vae(condition=[2]).fit(SEASONS.to_numpy()),
    "All cells of column … are missing": lambda p: vae(likelihood={}).fit(FRAME.assign(a=np.nan)),
    "A category must be a string or a number, but column … holds": lambda p: vae(likelihood={"a": "categorical"}).fit(FRAME.assign(a=[[1]] * 60)),
    "condition and a likelihood for each column are for tables": lambda p: vae(condition=[0]).fit(COLOUR),
    "Column … has a category in row … that the first rows did not have": lambda p: vae(likelihood={}).partial_fit(SEASONS).partial_fit(SEASONS.assign(season="c")),
    "likelihood names …, which condition names too": lambda p: vae(condition=[0], likelihood={0: "laplace"}).fit(X),
    "likelihood must hold names out of …": lambda p: vae(likelihood={0: "normal"}).fit(X),
    "quantizer='fsq' has a number of levels for every coordinate": lambda p: VQVAEEmbedder(17, quantizer="fsq").fit(X),
    "quantizer='fsq' cannot make n_codes=…": lambda p: VQVAEEmbedder(27, quantizer="fsq", code_dim=4).fit(X),
    "n_positions=…, but codes of network='conv' lie on the grid": lambda p: VQVAEEmbedder(n_positions=3, network="conv", hidden_layer_sizes=(4,)).fit(COLOUR),
    "n_prior_components is for priors with components": lambda p: vae(n_prior_components=3).fit(X),
    "doubly_reparameterized=True needs objective='iwae'": lambda p: vae(doubly_reparameterized=True).fit(X),
    "dynamic_binarization=True needs likelihood='bernoulli'": lambda p: vae(dynamic_binarization=True, likelihood="gaussian").fit(X),
    "… continues with the same network, but … is now … instead of …": lambda p: AutoencoderEmbedder(2, **SMALL).fit(X).set_params(warm_start=True, n_components=3).fit(X),
    # Fitting: modules of one's own
    "encoder and decoder go together, but … is None": lambda p: AutoencoderEmbedder(encoder=nn.Linear(4, 2)).fit(X),
    "The encoder returns … values per row": lambda p: VAEEmbedder(encoder=nn.Linear(4, 3), decoder=nn.Linear(2, 4)).fit(X),
    "n_components=…, but the encoder returns … values per row": lambda p: custom(nn.Linear(4, 2), n_components=3),
    "The decoder returns … values per row, but X has … features": lambda p: custom(nn.Linear(4, 2), nn.Linear(2, 3)),
    "encoder and decoder have no weights that require a gradient": lambda p: custom(*frozen()),
    "… has no shape yet": lambda p: custom(lazy()),
    "… is a scripted module": lambda p: custom(scripted()),
    "… cannot be copied: …": lambda p: custom(computed()),
    "… cannot take rows of shape …": lambda p: custom(nn.Linear(3, 2)),
    "… must return a floating point tensor of shape (1, ...) for one row": lambda p: custom(nn.LSTM(4, 2)),
    "… has no stored statistics": lambda p: custom(nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2))),
    "… makes what it computes for a row depend on the other rows while training": lambda p: custom(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))),
    "… has a spectral norm": lambda p: custom(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 2))),
    "… changes its buffer … while training": lambda p: function(counting),
    "… draws from torch's global generator": lambda p: custom(nn.Sequential(nn.RReLU(), nn.Linear(4, 2))),
    "… must have a rate p below 1": lambda p: custom(nn.Sequential(nn.Dropout(1.0), nn.Linear(4, 2))),
    "… must be called as layer(x), in eval mode too": lambda p: function(lambda module, rows: rows, nn.Dropout(0.5)),
    "… changes the rows that it is given": lambda p: function(lambda module, rows: rows.mul_(2.0)),
    "… does not give the same result twice in eval mode": lambda p: function(lambda module, rows: rows + torch.rand(rows.shape)),
    "… makes the result for a row depend on other rows": lambda p: function(lambda module, rows: rows - rows.mean(dim=0)),
    # Fitting: training
    "The loss was no longer finite in epoch …": lambda p: AutoencoderEmbedder(learning_rate_init=1e+30, random_state=0).fit(X),
    "The checkpoint's folder … does not exist": lambda p: AutoencoderEmbedder(checkpoint="nowhere/c").fit(X),
    "The checkpoint … is a folder": lambda p: AutoencoderEmbedder(checkpoint=".").fit(X),
    "… holds no training": lambda p: AutoencoderEmbedder(checkpoint=saved(pca())).fit(X),
    "… belongs to another training": lambda p: (checkpoint(), AutoencoderEmbedder(**CHECKPOINT, learning_rate_init=0.1).fit(X)),
    # Embedding and sampling
    "component=… needs a VAE that was fitted with prior='mixture'": lambda p: vae(kl_warmup=0.5).fit(X).sample(component=0),
    "component must be an integer from 0 to …": lambda p: vae(prior="mixture", kl_warmup=0.5).fit(X).sample(component=10),
    "This … has no …: it was fitted with another prior": lambda p: vae(kl_warmup=0.5).fit(X).prior_means_,
    "X has values so large that results leave the range of …": lambda p: fitted(PCAEmbedder, 2).score_contributions(np.full((1, 4), 1.7e+308)),
    "labels must have one label for each row of X": lambda p: detector().explain(X, labels=["a"]),
    "X has … columns, but CategoryEncoder returns …": lambda p: CategoryEncoder().fit(MIXED).inverse_transform(X[:, :1]),
    "X has … columns, but RobustStandardizer returns …": lambda p: RobustStandardizer().fit(X).inverse_transform(X[:, :2]),
    "Condition … is missing in row …": lambda p: conditional().transform(SEASONS.assign(season=None)),
    "This … was fitted on a table with strings in …": lambda p: conditional().transform(SEASONS.to_numpy()),
    "condition is for a VAEEmbedder that was fitted with condition=": lambda p: vae().fit(X).sample(condition=X[:1]),
    "condition must have … columns, the conditions, or …, whole rows": lambda p: conditional().sample(condition=[["a", "b"]]),
    "condition must have one row, or … rows": lambda p: conditional().sample(3, condition=[["a"], ["b"]]),
    "condition lacks column …": lambda p: conditional().sample(condition=FRAME[:1]),
    "codes has … columns, but a row has … codes": lambda p: fitted(VQVAEEmbedder, 4, **SMALL).inverse_transform_codes([[0]]),
    "codes must be whole numbers from 0 to …": lambda p: fitted(VQVAEEmbedder, 4, **SMALL).inverse_transform_codes([[0, 4]]),
    "X has … columns, but this … has … components": lambda p: pca().inverse_transform(X),
    "This PCAEmbedder was fitted on tensors": lambda p: fitted_on_tensors().transform(X),
    "The covariance is singular": lambda p: PCAEmbedder(None).fit(FLAT).get_precision(),
    "… must be an integer of at least …": lambda p: pca().sample(0),
    "latent_report needs at least 2 rows": lambda p: vae().fit(X).latent_report(X[:1]),
    "method must be one of …": lambda p: vae().fit(X).interpolate(X[0], X[1], 5, method="cubic"),
    "dimension must be an integer from 0 to …": lambda p: vae().fit(X).traverse(X[0], 2, [0.0]),
    "values must have one dimension": lambda p: vae().fit(X).traverse(X[0], 0, [[0.0]]),
    "… must be a row of shape (…,) or (1, …)": lambda p: vae().fit(X).traverse(X[:2], 0, [0.0]),
    "a and b must hold as many rows, or one of them a single row": lambda p: vae().fit(X).interpolate(X[:2], X[:3], 5),
    "dimension must name at least one latent dimension, got none": lambda p: vae().fit(X).traverse(X[0], [], [0.0]),
    # Scoring and deciding
    "score_method=… is undefined: every component is kept": lambda p: PCAEmbedder(4, score_method="reconstruction").fit(X).score(X),
    "score_method=… is undefined: a component that is kept has no variance": lambda p: PCAEmbedder(4).fit(FLAT).score(X),
    "… the directions that are left out have no variance": lambda p: PCAEmbedder(2).fit(FLAT).score(X),
    "score_method='kl' is no sum over features": lambda p: vae(score_method="kl").fit(X).score_contributions(X),
    "score_method='quantization' is no sum over features": lambda p: VQVAEEmbedder(4, score_method="quantization", **SMALL).fit(X).score_contributions(X),
    "This … has no threshold": lambda p: PCAEmbedder(2).partial_fit(X).predict(X),
    "… needs images. Fit on an array of shape …": lambda p: AutoencoderEmbedder(**SMALL, score_window=3).fit(X),
    "score_window=… is larger than images of … x … pixels": lambda p: AutoencoderEmbedder(**SMALL, score_window=6).fit(COLOUR),
    "This … has no input_shape_": lambda p: fitted(AutoencoderEmbedder, **SMALL).input_shape_,
    "The threshold lies on … scores, but the score is now …": lambda p: AutoencoderEmbedder(**SMALL).fit(COLOUR).set_params(score_window=2).predict(COLOUR),
    "The threshold lies on … scores, but score_method is now …": lambda p: PCAEmbedder(2).fit(X).set_params(score_method="mahalanobis").predict(X),
    "There are no calibration rows": lambda p: detector().p_values(X),
    "The smallest p-value with … calibration rows is …": lambda p: detector().calibrate(X[:9]).set_threshold(p_value=0.01),
    "n_alerts=… per … cannot be told by … reference rows": lambda p: detector().set_threshold(n_alerts=1, per=500),
    "Give exactly one of contamination, fpr, p_value and n_alerts": lambda p: detector().set_threshold(),
    "n_alerts needs per": lambda p: detector().set_threshold(n_alerts=5),
    "per goes with n_alerts": lambda p: detector().set_threshold(fpr=0.1, per=100),
    "n_alerts must be above 0 and below per=…": lambda p: detector().set_threshold(n_alerts=9, per=5),
    "per must be a number of rows": lambda p: detector().set_threshold(n_alerts=0.1, per=0.5),
    "update needs at least 2 rows": lambda p: detector().update(X[:1]),
    "by must hold one label for each of the … rows of X": lambda p: detector().calibrate(X).drift_report(FRAME, by="a"),
    "by must hold a label for each row": lambda p: detector().calibrate(X).drift_report(X, by=FRAME["a"].where(FRAME["a"] > 0)),
    "by is a Series whose index is not that of X": lambda p: detector().calibrate(X).drift_report(X=FRAME, by=FRAME["a"].set_axis(FRAME.index + 1)),
    "contamination must be 'auto' or in (0, 0.5]": lambda p: detector().set_threshold(contamination=0.9),
    "… must be in (0, 1)": lambda p: detector().calibrate(X).set_threshold(fpr=5),
    "There are no calibration scores": lambda p: conformal_p_values([0.0], []),
    "Scores must be numbers, got NaN": lambda p: conformal_p_values([np.nan], [0.0]),
    "p-values must be in [0, 1]": lambda p: benjamini_hochberg([2.0], 0.1),
    "method='embedder_score' needs an embedder with score_samples": lambda p: LatentOutlierDetector(StandardScaler(), method="embedder_score").fit(X),
    "… needs features, and what enters the embedder is no table of numbers": lambda p: LatentOutlierDetector(PCAEmbedder(2, random_state=0), method="residual").fit(csr_matrix(np.eye(60, 600))),
    "method='residual' needs an embedder that has inverse_transform": lambda p: LatentOutlierDetector(PCAEmbedder(4), method="residual").fit(X),
    "The score was … when the detector was fitted, and is now …": lambda p: detector().set_params(method="distance").score_samples(X),
    "… was … when the detector was fitted, and is now …": lambda p: detector().set_params(n_neighbors=9).score_samples(X),
    "n_nearest must be an integer >= 0": lambda p: detector().explain(X, n_nearest=-1),
    "scoring must be 'roc_auc_score' or 'prc_n_score'": lambda p: PyODAdapter(PCAEmbedder(2)).fit_predict_score(X, [0] * len(X), "f1"),
    "T must be a number of at least 0": lambda p: PyODAdapter(PCAEmbedder(2)).fit(X).predict_with_rejection(X, T=-1),
    "delta must be a number between 0 and 1": lambda p: PyODAdapter(PCAEmbedder(2)).fit(X).compute_rejection_stats(delta=0),
    "method must be 'linear' or 'unify'": lambda p: PyODAdapter(PCAEmbedder(2)).fit(X).predict_proba(X, "cubic"),
    # Classifying
    "A level of … needs … calibration rows of a class or more": lambda p: classifier(reject=0.01).fit(X, KINDS),
    "estimator must have a log-density as its score_samples": lambda p: classifier(AutoencoderEmbedder()).fit(X, KINDS),
    "estimator must be a density without steps before it": lambda p: classifier(make_pipeline(StandardScaler(), PCAEmbedder(1))).fit(X, KINDS),
    "estimator is fitted once for each class, and a FrozenEstimator is fitted already": lambda p: classifier(FrozenEstimator(pca())).fit(X, KINDS),
    "estimator must be an instance, got the class …": lambda p: classifier(PCAEmbedder).fit(X, KINDS),
    "… cannot be fitted to the … row(s) of class …": lambda p: classifier(PCAEmbedder(3)).fit(X, [0] * 2 + [1] * 58),
    "unknown_label must be a …, as the classes are": lambda p: classifier(reject=0.1).fit(X, KINDS.astype(str)),
    "unknown_label=… is one of the classes": lambda p: classifier(reject=0.1, unknown_label=1).fit(X, KINDS),
    "unknown_label=… does not fit the dtype of y": lambda p: classifier(reject=0.1).fit(X, KINDS.astype(np.uint64)),
    "With reject, rows may belong to no class, and both True and False are classes": lambda p: classifier(reject=0.1).fit(X, KINDS > 0),
    "priors must hold one number for each of the … classes": lambda p: classifier(priors=[1.0]).fit(X, KINDS),
    "priors must sum to one": lambda p: classifier(priors=[1.0, 1.0]).fit(X, KINDS),
    "priors must not be negative": lambda p: classifier(priors=[2.0, -1.0]).fit(X, KINDS),
    "priors must hold numbers": lambda p: classifier(priors=["a", "b"]).fit(X, KINDS),
    "y must hold a label for each row": lambda p: classifier().fit(X, np.array([None] * 60)),
    "y has the label …, which is none of the classes of the fit": lambda p: classifier().fit(X, KINDS).calibrate(X, KINDS + 1),
    "y must be one label, or one for each of n_samples=… rows": lambda p: classifier().fit(X, KINDS).sample(3, [0, 1]),
    "There are no calibration rows: fit with reject=0.05": lambda p: classifier().fit(X, KINDS).p_values(X),
    # Building an index: rows, ids and metadata
    "The embedder must return an array of shape …": lambda p: LatentIndex(FunctionTransformer(lambda rows: rows[:, 0])).fit(X),
    "The embedder's output is ragged: …": lambda p: LatentIndex(FunctionTransformer(lambda rows: [[0.0], [0.0, 1.0]] * 30)).fit(X),
    "The rows of X must have one length": lambda p: LatentIndex().fit(pd.Series([[0.0], [0.0, 1.0]])),
    "X must be one column of texts for …, got a DataFrame": lambda p: LatentIndex(TfidfVectorizer()).fit(FRAME),
    "X must hold texts for …, but row … is …": lambda p: LatentIndex(TfidfVectorizer()).fit(["a lamp", None]),
    "The embedder returned … columns for X, but the index holds vectors of …": lambda p: (embedded(), LatentIndex.load("index", embedder=fitted(PCAEmbedder, 3)).kneighbors(X)),
    "X has values beyond the range of …, which the index holds": lambda p: LatentIndex().fit(X.astype(np.float32)).add(X * 1e+39),
    "Unknown ids: …": lambda p: index().remove([99]),
    "These ids are in the index already: …": lambda p: index().add(X[:1], ids=[0]),
    "ids must be unique, but these occur more than once": lambda p: LatentIndex().fit(X[:2], ids=["a", "a"]),
    "ids must not be missing (None or NaN)": lambda p: LatentIndex().fit(X[:2], ids=["a", None]),
    "ids must be a list or array with one id a row": lambda p: LatentIndex().fit(X[:2], ids=5),
    "update needs the ids of the rows": lambda p: index().update(X[:1]),
    "upsert needs the ids of the rows": lambda p: index().upsert(X[:1]),
    "ids of the index are …, got …": lambda p: index().add(X[:1], ids=["a"]),
    "ids are needed, because those of the index are not whole numbers": lambda p: LatentIndex().fit(X[:2], ids=["a", "b"]).add(X[2:]),
    "Got … ids for … rows of X": lambda p: LatentIndex().fit(X, ids=[1]),
    "Got metadata of … rows for … rows of X": lambda p: LatentIndex().fit(X, metadata=FRAME[:3]),
    "metadata must be a Table of pyarrow or a pandas or polars DataFrame": lambda p: LatentIndex().fit(X, metadata=X),
    "metadata must have columns of different names": lambda p: LatentIndex().fit(X, metadata=pd.DataFrame(X, columns=list("aabc"))),
    "metadata must have the columns …": lambda p: LatentIndex().fit(X, metadata=FRAME).add(X[:1], metadata=FRAME[["a"]][:1]),
    "metadata column … holds …, got …": lambda p: with_metadata().update_metadata(pd.DataFrame({"a": ["much"]}, index=[0])),
    "The index has metadata": lambda p: LatentIndex().fit(X, metadata=FRAME).add(X[:1]),
    "The index was fitted without metadata": lambda p: index().add(X[:1], metadata=FRAME[:1]),
    "metadata has … labels (its index), …, which are not the ids of the … rows": lambda p: LatentIndex().fit(X, metadata=FRAME.set_axis(range(1, 61))),
    "ids has … labels (its index), …, which are not the labels of the … rows": lambda p: LatentIndex().fit(HOURLY, ids=pd.Series(range(60), HOURLY.index + pd.Timedelta(1, "D"))),
    "metadata has columns that the index has not, …, and leaves out … rows": lambda p: index().update_metadata(FRAME[:2]),
    "An index cannot be changed from within one of its searches": lambda p: changed_by_a_filter(),
    # Building an index: kinds of indexes
    "n_jobs must not be 0": lambda p: index(n_jobs=0),
    "memory_budget must be …": lambda p: index(memory_budget="much"),
    "memory_budget is too large": lambda p: index(memory_budget="9" * 99 + "GB"),
    "memory_budget=… is too little for … x … vectors": lambda p: index(memory_budget=10),
    "With memory_budget=… the recall is …": lambda p: coarse(),
    "With these rows the index would take …, more than memory_budget=…": lambda p: index(memory_budget="8KB").add(np.tile(X, (20, 1)), np.arange(60, 1260)),
    "An approximate index needs FAISS, but backend='torch'": lambda p: index(backend="torch", **LISTS),
    "rerank='original' needs an embedder": lambda p: index(rerank="original", target_recall=0.9),
    "rerank='original' needs a target_recall": lambda p: index(pca(), rerank="original"),
    "metadata_ exists after a fit with metadata": lambda p: index().metadata_,
    "recall_ exists after a fit with target_recall": lambda p: index().recall_,
    "index_spec must be like …": lambda p: index(index_spec="HNSW32"),
    "index_spec: …": lambda p: index(index_spec="IVF4,PQ4x4fs,nprobe=9,rerank=2"),
    "index_spec=… has … lists, but there are … rows": lambda p: index(index_spec="IVF99,PQ4x4fs,nprobe=4,rerank=2"),
    "index_spec=… codes … coordinates": lambda p: index(index_spec="IVF4,PQ8x4fs,nprobe=4,rerank=2"),
    "index_spec=… has … principal components": lambda p: LatentIndex(index_spec="PCA8,IVF2,PQ8x4fs,nprobe=2,rerank=2").fit(np.random.default_rng(0).normal(size=(6, 10))),
    "index_spec=… is a graph, which follows no changes": lambda p: index(index_spec="HNSW32,ef=16"),
    "index_spec=…: a row has 2 to … neighbours": lambda p: index(index_spec="HNSW1,ef=16", static=True),
    "index_spec=…: the number of neighbours of SymphonyQG must be a multiple of 32": lambda p: index(index_spec="SymphonyQG8,ef=16", static=True),
    "index_spec=… gives each row … neighbours, but there are … rows": lambda p: index(index_spec="HNSW99,ef=16", static=True),
    "Vectors whose squares leave the range of float32 have no graph": lambda p: LatentIndex(index_spec="HNSW4,ef=16", static=True, metric="inner_product").fit(1e30 * X),
    "… changes rows, and the index was fitted with static=True": lambda p: index(static=True).remove([0]),
    # Searching
    "Expected n_neighbors … n_samples_fit": lambda p: index().kneighbors(X, 99),
    "Expected n_neighbors > 0": lambda p: index().kneighbors(X, -1),
    "n_neighbors does not take … value": lambda p: index().kneighbors(X, 2.5),
    "n_neighbors=… with mode=… needs at least … rows": lambda p: LatentNeighborsTransformer(n_neighbors=99).fit(X),
    "… must be a number": lambda p: index().radius_neighbors(X, "x"),
    "… must not be negative": lambda p: index().radius_neighbors(X, -1.0),
    "mode must be 'connectivity' or 'distance'": lambda p: index().kneighbors_graph(X, mode="x"),
    "return_distance must be True if sort_results is True": lambda p: index().radius_neighbors(X, 1.0, return_distance=False, sort_results=True),
    "… needs a distance, and an inner product is a similarity": lambda p: index(metric="inner_product").duplicates(1.0),
    "filter must have one boolean for each of the … positions": lambda p: index().kneighbors(X, filter=[True]),
    "filter has … labels (its index), …, which are not the ids of the … rows": lambda p: index().kneighbors(X, filter=pd.Series(True, range(1, 61))),
    "A column of zeros and ones is no mask": lambda p: index().kneighbors(X, filter=[0, 1] * 30),
    "filter must be one column, got a table of …": lambda p: index().kneighbors(X, filter=FRAME > 0),
    "filter must return a boolean for each of the … rows": lambda p: with_metadata().kneighbors(X, filter=lambda table: table["a"]),
    "A filter that is a function is given the metadata, and the index has none": lambda p: index().kneighbors(X, filter=lambda table: table["a"] > 0),
    "filter must be a query string, a function, a mask or a list of ids": lambda p: index().kneighbors(X, filter=5),
    "filter as a dictionary has True or False for each id": lambda p: with_metadata().kneighbors(X, filter={"a": 1.0}),
    "The query … is not valid: …": lambda p: index().kneighbors(X, filter="yaer > 2020"),
    "The query is empty": lambda p: index().kneighbors(X, filter=" "),
    "A string is a query; one id is given in a list": lambda p: LatentIndex().fit(X[:2], ids=["doc-17", "b"]).kneighbors(X, 1, filter="doc-17"),
    "A query may have … characters": lambda p: index().kneighbors(X, filter="id in [" + "1, " * 50_000 + "]"),
    "filter leaves no row": lambda p: index().kneighbors(X, filter=np.zeros(60, bool)),
    "The index has no rows": lambda p: index().remove(range(60)).kneighbors(X),
    "fewer must be 'error' or 'allow'": lambda p: index().kneighbors(X, fewer="some"),
    "search takes X or ids, not both": lambda p: index().search(X, ids=[1]),
    # Saving
    "The folder … does not exist": lambda p: latentsk.save(pca(), "nowhere/model"),
    "… is a folder; a file cannot take its place": lambda p: latentsk.save(pca(), "."),
    "… is a device or a pipe": lambda p: latentsk.save(pca(), "/dev/null"),
    "… cannot be stored: it is of another package, or your own": lambda p: saved(make_pipeline(Own(), PCAEmbedder(2)).fit(X)),
    "The columns of … in a ColumnTransformer cannot be stored": lambda p: saved(ColumnTransformer([("a", PCAEmbedder(1), [0])]).fit(X).set_params(transformers=[("a", PCAEmbedder(1), [0.5])])),
    "… cannot be stored: it is of type …": lambda p: saved(ColumnTransformer([("a", PCAEmbedder(1), [0])], verbose_feature_names_out=lambda part, name: name).fit(X)),
    "verbose_feature_names_out must be a format of {transformer_name} and {feature_name}": lambda p: saved(ColumnTransformer([("a", PCAEmbedder(1), [0])], verbose_feature_names_out="{feature_name!r}").fit(X)),
    "transformer_weights… must be a number": lambda p: saved(FeatureUnion([("a", PCAEmbedder(1))], transformer_weights={"a": [2.0]}).fit(X)),
    "… which skops does not trust": lambda p: saved(make_pipeline(FunctionTransformer(lambda rows: rows), PCAEmbedder(2)).fit(X)),
    "… must be an instance, got a class": lambda p: saved(PyODAdapter(PCAEmbedder(2)).fit(X).set_params(detector=PCAEmbedder)),
    "… cannot be stored, as it could not be loaded": lambda p: saved(with_other_mean()),
    "… cannot be stored. What can be stored: …": lambda p: saved(LatentIndex().fit(X, metadata=FRAME * 1j)),
    "A column of dtype … cannot be stored": lambda p: saved(LatentIndex().fit(X[:2], ids=pd.date_range("2020", periods=2, tz="dateutil/Europe/Berlin"))),
    "Columns must be named by str or int": lambda p: saved(LatentIndex().fit(X, metadata=FRAME.rename(columns={"a": 1.5}))),
    "The name … cannot be stored": lambda p: saved(LatentIndex().fit(X, metadata=FRAME.rename_axis(columns=1.5))),
    "… bytes of JSON; at most … can be stored": lambda p: (p.setattr(_format, "MAX_HEADER", 100), saved(pca())),
    # Loading
    "No such file: …": lambda p: latentsk.load("nothing"),
    "… is a folder": lambda p: latentsk.load("."),
    "… was not written by latentsk": lambda p: (Path("model").write_bytes(b'\x02\x00\x00\x00\x00\x00\x00\x00{}'), latentsk.load("model")),
    "… is truncated or foreign": lambda p: damaged(lambda content: content[:4]),
    "… was altered: its checksum does not match": lambda p: damaged(lambda content: content[:-1] + b'x'),
    "… is altered: array …": lambda p: damaged(lambda content: content[:-9]),
    "… has format version …; this latentsk … reads versions up to …": lambda p: newer(p),
    "… has no parameter … in this latentsk": lambda p: altered(lambda root, arrays: root["parameters"].update(newer=1)),
    "The file is altered: …": lambda p: altered(lambda root, arrays: root["parameters"].update(tol=-1.0)),
    "The time zone … is unknown here": lambda p: zone_unknown(p),
    "The file holds columns of pyarrow, which is not installed here": lambda p: pyarrow_missing(p),
    "A scikit-learn part of the file …": lambda p: altered(without_skops, make_pipeline(StandardScaler(), PCAEmbedder(2)).fit(X)),
    "The file holds no estimator": lambda p: (checkpoint(), latentsk.load("checkpoint")),
    "Read the file with …": lambda p: (index_file(), latentsk.load("index")),
    "The index in the file was fitted with an embedder": lambda p: (embedded(), LatentIndex.load("index")),
    "The index in the file was fitted without an embedder": lambda p: (index_file(), LatentIndex.load("index", embedder=pca())),
    "The embedder given (…) is not fitted": lambda p: (embedded(), LatentIndex.load("index", embedder=PCAEmbedder())),
    "The file is altered, or its embedder is another one": lambda p: another_embedder(),
    "The file holds the weights of a custom network, but not its code": lambda p: latentsk.load(saved(custom(nn.Linear(4, 2)))),
    "modules must be a dict of torch modules": lambda p: latentsk.load(saved(pca()), modules=[nn.Linear(4, 2)]),
    "The modules given are not the ones whose weights the file holds": lambda p: latentsk.load(saved(custom(nn.Linear(4, 2))), modules={"encoder": nn.Linear(4, 2, bias=False), "decoder": nn.Linear(2, 4)}),
    "The estimator in the file takes no module …": lambda p: latentsk.load(saved(pca()), modules={"encoder": nn.Linear(4, 2)}),
    # Exporting to ONNX
    "methods must hold one or more of …": lambda p: pca().to_onnx("x", methods=[]),
    "dtype must be one of …": lambda p: pca().to_onnx("x", dtype="float16"),
    "The model takes more than 2 GB": lambda p: (p.setattr(_onnx_file, "MAX_BYTES", 9), pca().to_onnx("x")),
    "… cannot be exported to ONNX": lambda p: latentsk.to_onnx(make_pipeline(PolynomialFeatures(), PCAEmbedder(2)).fit(X), "x"),
    "Column … is taken as a … by one step and as a … by another": lambda p: latentsk.to_onnx(make_column_transformer((StandardScaler(), ["a"]), (CategoryEncoder(), ["a"])).fit(FRAME), "x"),
    "Column … has empty strings besides missing values": lambda p: latentsk.to_onnx(CategoryEncoder(min_frequency=1).fit(pd.DataFrame({"a": ["", None, "b"]})), "x"),
    "Column … has the name of an output of the file": lambda p: latentsk.to_onnx(CategoryEncoder().fit(pd.DataFrame({"transform": ["a", "b"]})), "x"),
    "A column without a name cannot be an input of the file": lambda p: latentsk.to_onnx(CategoryEncoder().fit(pd.DataFrame({"": ["a", "b"]})), "x"),
    "This … has no … to export": lambda p: latentsk.to_onnx(detector(), "x", methods=["p_values"]),
    "ONNX export of this model takes numbers only, but columns … hold strings": lambda p: conditional().to_onnx("model.onnx"),
    "torch cannot write this embedder as an ONNX graph": lambda p: function(lambda module, rows: rows if rows.sum() < 1000000000.0 else -rows).to_onnx("x"),
    # Plotting
    "bins must be an integer >= 1": lambda p: OutlierScoreDisplay(X[:, 0], threshold=0.0).plot(bins=0),
    "threshold must be a finite number or None": lambda p: OutlierScoreDisplay(X[:, 0], threshold=np.nan).plot(),
    "… must be a sequence of numbers without missing ones": lambda p: OutlierScoreDisplay([np.nan], threshold=0.0).plot(),
    "max_features must be an integer >= 1": lambda p: ExplanationDisplay(detector().explain(X[:1])).plot(max_features=0),
    "row must be an integer in [0, …)": lambda p: ExplanationDisplay.from_estimator(detector(), X, row=99),
    "… must be fitted and have …, got …": lambda p: LatentMapDisplay.from_estimator(classifier().fit(X, KINDS), X),
    "reasons must have a column 'contribution'": lambda p: ExplanationDisplay(FRAME).plot(),
    "reasons must be a DataFrame, as explain returns it, or a Series": lambda p: ExplanationDisplay(X[0]).plot(),
    "reasons must be those of one row": lambda p: ExplanationDisplay(detector().explain(X)).plot(),
    # Exploring
    "X must have at least 2 rows to explore": lambda p: latentsk.explore(X[:1]),
    "max_bytes must be a positive integer": lambda p: latentsk.explore(X, max_bytes=0.5),
    "max_bytes must be at least …": lambda p: latentsk.explore(X, max_bytes=9),
    "The index has no embedder, so X must be the vectors that it was fitted to": lambda p: latentsk.explore(X[:, :2], index=index()),
    "… has no embedder_, so there is no latent space to show": lambda p: latentsk.explore(X, detector=PyODAdapter(PCAEmbedder(2))),
    "detector must have score_samples": lambda p: latentsk.explore(X, detector=StandardScaler()),
    "index must hold the … rows of X, in their order": lambda p: latentsk.explore(X[:9], index=index(PCAEmbedder(2))),
    "projection must be an array of shape …": lambda p: latentsk.explore(X, projection=X),
    "images must be an array with an image for each of the … rows": lambda p: latentsk.explore(X, images=COLOUR[:9]),
    "images must be arrays of images, (height, width) or (channels, height, width)": lambda p: latentsk.explore(X, images=(4,)),
    "images=… is (channels, height, width), and stands for … channels": lambda p: latentsk.explore(X, images=(32, 32, 3)),
    "images=… has … values, but rows of X have …": lambda p: latentsk.explore(X, images=(3, 3)),
    # Missing packages
    "backend='faiss' needs FAISS": lambda p: without_faiss(p, lambda: index(backend="faiss")),
    "target_recall and index_spec need FAISS": lambda p: without_faiss(p, lambda: index(**LISTS)),
    "static=True looks for a graph of rabitqlib": without_rabitqlib,
    "… are both installed, and overwrite each other": lambda p: with_both_faiss(p, lambda: index(backend="faiss")),
    "… needs matplotlib": lambda p: (p.setitem(sys.modules, "matplotlib", None), OutlierScoreDisplay(X[:, 0], threshold=0.0).plot()),
    "to_onnx needs onnx and onnxscript": lambda p: (p.setitem(sys.modules, "onnx", None), pca().to_onnx("x")),
    # From scikit-learn
    "X has … features, but … is expecting … features as input": lambda p: pca().transform(X[:, :2]),
    "Expected 2D array, got 1D array instead": lambda p: pca().transform(X[0]),
    "Found array with … sample(s) (shape=…) while a minimum of … is required": lambda p: PCAEmbedder().fit(X[:1]),
    "The feature names should match those that were passed during fit": lambda p: PCAEmbedder(2).fit(FRAME).transform(FRAME[list("dcba")]),
    "X does not have valid feature names": lambda p: PCAEmbedder(2).fit(FRAME).transform(X),
    "This … instance is not fitted yet": lambda p: PCAEmbedder().transform(X),
    "… is a class, not an instance": lambda p: latentsk.save(PCAEmbedder, "model"),
    "The … parameter of … must be …": lambda p: PCAEmbedder(score_method="x").fit(X),
    "Invalid parameter … for estimator …": lambda p: PCAEmbedder().set_params(components=2),
    "Trying to unpickle estimator … from version …": lambda p: restored_from_the_past(),
}
# fmt: on


def entries():
    """Return the classes of each message on the page: of a term, what follows it."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        term, _, classes = line.rpartition(" : ")
        if term.startswith("``") and term.endswith("``"):
            for message in re.findall(r"``(.+?)``", term):
                assert message not in found, f"twice: {message}"
                found[message] = classes.split(", ")
    return found


ENTRIES = entries()


def said(case, patch):
    """Return the first warning of a case, or its error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            case(patch)
        except Exception as error:
            return error
    assert caught, "neither an error nor a warning"
    return caught[0].message


def test_the_cases_are_those_of_the_page():
    assert list(CASES.keys() ^ ENTRIES.keys()) == []


@pytest.mark.parametrize("message", ENTRIES)
def test_a_message_is_raised(message, tmp_path, monkeypatch):
    if "device or a pipe" in message and sys.platform == "win32":
        pytest.skip("has no /dev/null")
    monkeypatch.chdir(tmp_path)
    outcome = said(CASES[message], monkeypatch)
    if isinstance(outcome, ImportError) and "needs FAISS" not in message:
        pytest.importorskip("faiss")
    parts = [re.escape(part.strip()) for part in message.split(GAP)]
    assert re.search(".*".join(parts), " ".join(str(outcome).split())), outcome
    assert type(outcome).__name__ in ENTRIES[message]
