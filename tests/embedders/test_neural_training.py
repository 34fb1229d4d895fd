"""How the neural embedders train: faults, resuming, streaming, progress."""

import _thread
import itertools
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.callback import ProgressBar
from torch import nn

from latentsk import AutoencoderEmbedder, LossProgressBar, VAEEmbedder
from latentsk import _progress as progress_module
from latentsk.exceptions import CheckpointError, FormatError, TrainingInterruptedWarning
from latentsk.training import _data as rows_module
from latentsk.training import _loop, _trainer
from latentsk.training._reconstruction import Reconstruction

SMALL = {
    "n_components": 2,
    "hidden_layer_sizes": (8,),
    "max_epochs": 12,
    "random_state": 0,
    "device": "cpu",
}


CONVOLUTION = {
    "network": "conv",
    "input_shape": (1, 2, 3),
    "hidden_layer_sizes": (4,),
}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(150, 2)) @ rng.normal(size=(2, 6))
    return rows + 0.1 * rng.normal(size=rows.shape) + 100.0


def weights(embedder):
    return torch.cat([p.flatten() for p in embedder.module_.parameters()])


class AtEpoch:
    """A callback that does something after some epoch."""

    def __init__(self, epoch, action):
        self.epoch, self.action = epoch, action

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, metadata=None):
        if metadata and metadata.get("epoch") == self.epoch:
            return self.action()


def fail():
    raise RuntimeError("the power went off")


# Checkpoints

RESUMED = [
    {},
    {"dropout": 0.3, "noise": "gaussian"},
    {"normalize": True, "learning_rate": "constant"},
    {"n_iter_no_change": 5, "tol": 0.5, "validation_fraction": 0.3},
    {"random_state": None},
]


@pytest.mark.parametrize("settings", RESUMED)
def test_a_resumed_run_equals_the_uninterrupted_one(X, tmp_path, settings):
    path = tmp_path / "training.latentsk"
    options = {**SMALL, **settings, "checkpoint": path, "checkpoint_interval": 3}
    torch.manual_seed(0)
    broken = AutoencoderEmbedder(**options).set_callbacks(AtEpoch(4, fail))
    with pytest.raises(RuntimeError, match="power"):
        broken.fit(X)
    assert path.exists()
    assert not hasattr(broken, "module_")
    resumed = AutoencoderEmbedder(**options).fit(X)
    assert not path.exists()
    assert [r["epoch"] for r in resumed.history_] == [
        *range(1, len(resumed.history_) + 1)
    ]
    if settings.get("random_state", 0) is not None:
        whole = AutoencoderEmbedder(**{**options, "checkpoint": None}).fit(X)
        assert torch.equal(weights(resumed), weights(whole))
        assert resumed.best_epoch_ == whole.best_epoch_
        assert resumed.offset_ == whole.offset_
        losses = [r["train_loss"] for r in resumed.history_]
        assert losses == [r["train_loss"] for r in whole.history_]


def test_a_resumed_run_equals_the_whole_where_nothing_compiles(
    X, tmp_path, monkeypatch
):
    class Uncompiled(_trainer.CompiledGradient):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.works = False

    monkeypatch.setattr(_trainer, "CompiledGradient", Uncompiled)
    path = tmp_path / "training.latentsk"
    options = {**SMALL, "compile": True, "checkpoint": path, "checkpoint_interval": 3}
    broken = AutoencoderEmbedder(**options).set_callbacks(AtEpoch(4, fail))
    with pytest.raises(RuntimeError, match="power"):
        broken.fit(X)
    resumed = AutoencoderEmbedder(**options).fit(X)
    whole = AutoencoderEmbedder(**{**options, "checkpoint": None}).fit(X)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.slow
def test_a_resumed_compiled_run_is_compiled_and_equal(X, tmp_path):
    path = tmp_path / "training.latentsk"
    options = {**SMALL, "normalize": True, "compile": True, "checkpoint": path}
    broken = AutoencoderEmbedder(**options, checkpoint_interval=5)
    with pytest.raises(RuntimeError, match="power"):
        broken.set_callbacks(AtEpoch(7, fail)).fit(X)
    resumed = AutoencoderEmbedder(**options, checkpoint_interval=5).fit(X)
    whole = AutoencoderEmbedder(**{**options, "checkpoint": None}).fit(X)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"batch_size": 7}, "batch_size"),
        ({"random_state": 1}, "random_state"),
        ({"max_epochs": 13}, "max_epochs"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(X, tmp_path, change, name):
    path = tmp_path / "training.latentsk"
    options = {**SMALL, "checkpoint": path, "checkpoint_interval": 3}
    with pytest.raises(RuntimeError, match="power"):
        AutoencoderEmbedder(**options).set_callbacks(AtEpoch(4, fail)).fit(X)
    with pytest.raises(CheckpointError, match=f"another training, with {name} ="):
        AutoencoderEmbedder(**{**options, **change}).fit(X)
    with pytest.raises(CheckpointError, match="another training, with X ="):
        AutoencoderEmbedder(**options).fit(X + 1.0)
    assert path.exists()


@pytest.mark.parametrize("kind", ["cold", "other weights"])
def test_a_checkpoint_is_of_one_beginning(X, tmp_path, kind):
    path = tmp_path / "training.latentsk"
    options = {**SMALL, "checkpoint": path, "checkpoint_interval": 3}
    start = AutoencoderEmbedder(**{**SMALL, "random_state": 5}).fit(X)
    warm = pickle.loads(pickle.dumps(start)).set_params(**options, warm_start=True)
    with pytest.raises(RuntimeError, match="power"):
        warm.set_callbacks(AtEpoch(4, fail)).fit(X)
    other = AutoencoderEmbedder(**options, warm_start=True)
    if kind == "other weights":
        other = AutoencoderEmbedder(**SMALL).fit(X).set_params(**options)
        other.set_params(warm_start=True)
    with pytest.raises(CheckpointError, match="another training, with start ="):
        other.fit(X)
    resumed = start.set_params(**options, warm_start=True).fit(X)
    assert len(resumed.history_) == 12


def test_a_checkpoint_of_other_own_modules_is_refused(X, tmp_path):
    path = tmp_path / "training.latentsk"
    options = {"checkpoint": path, "checkpoint_interval": 3, "max_epochs": 12}
    options |= {"random_state": 0, "decoder": nn.Linear(2, 6)}
    first = AutoencoderEmbedder(
        encoder=nn.Sequential(nn.Linear(6, 2), nn.ReLU()), **options
    )
    with pytest.raises(RuntimeError, match="power"):
        first.set_callbacks(AtEpoch(4, fail)).fit(X)
    other = nn.Sequential(nn.Linear(6, 2), nn.Tanh())
    with pytest.raises(CheckpointError, match="another training, with encoder ="):
        AutoencoderEmbedder(encoder=other, **options).fit(X)
    # Trainable weights are those of the file, whatever the module came with.
    same = nn.Sequential(nn.Linear(6, 2), nn.ReLU())
    resumed = AutoencoderEmbedder(encoder=same, **options).fit(X)
    assert len(resumed.history_) == 12


def test_a_checkpoint_that_cannot_be_written_is_named_before_any_work(X, tmp_path):
    embedder = AutoencoderEmbedder(**SMALL, checkpoint=tmp_path / "no" / "file")
    with pytest.raises(FileNotFoundError, match=r"folder .* does not exist"):
        embedder.fit(X)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        embedder.set_params(checkpoint=tmp_path).fit(X)
    assert not hasattr(embedder, "module_")


def test_equal_parameters_of_another_type_are_the_same_training(X, tmp_path):
    path = tmp_path / "training.latentsk"
    options = {**SMALL, "checkpoint": path, "checkpoint_interval": 3}
    with pytest.raises(RuntimeError, match="power"):
        AutoencoderEmbedder(**options).set_callbacks(AtEpoch(4, fail)).fit(X)
    other = {**options, "hidden_layer_sizes": [8], "checkpoint": str(path)}
    other |= {"max_epochs": np.int64(12), "dropout": 0}
    assert len(AutoencoderEmbedder(**other).fit(X).history_) == 12


def test_a_training_out_of_time_goes_on(X, tmp_path, monkeypatch):
    path = tmp_path / "training.latentsk"
    options = {**SMALL, "checkpoint": path, "checkpoint_interval": 1}
    options |= {"max_epochs": 30, "n_iter_no_change": 30}
    with monkeypatch.context() as patch:
        # A second passes whenever it is asked for the time.
        clock = SimpleNamespace(monotonic=itertools.count().__next__)
        for module in (_loop, _trainer):
            patch.setattr(module, "time", clock)
        first = AutoencoderEmbedder(**options, max_time=60).fit(X)
    assert path.exists()
    assert 2 < len(first.history_) < 30
    resumed = AutoencoderEmbedder(**options).fit(X)
    assert not path.exists()
    whole = AutoencoderEmbedder(**{**options, "checkpoint": None}).fit(X)
    assert torch.equal(weights(resumed), weights(whole))


def test_a_warm_start_that_was_stopped_goes_on(X, tmp_path):
    path = tmp_path / "training.latentsk"
    start = AutoencoderEmbedder(**{**SMALL, "random_state": 5}).fit(X)
    options = {**SMALL, "warm_start": True}
    whole = pickle.loads(pickle.dumps(start)).set_params(**options).fit(X)
    options |= {"checkpoint": path, "checkpoint_interval": 2}
    stopped = pickle.loads(pickle.dumps(start)).set_params(**options)
    stopped.set_callbacks(AtEpoch(6, _thread.interrupt_main))
    with pytest.warns(TrainingInterruptedWarning):
        stopped.fit(X)
    stopped = pickle.loads(pickle.dumps(stopped.set_callbacks()))
    stopped.fit(X)
    assert torch.equal(weights(stopped), weights(whole))
    assert not path.exists()
    # The next one begins anew, from what this one came to.
    first = stopped.fit(X).history_[0]["train_loss"]
    assert first < whole.history_[0]["train_loss"]


def test_a_budget_of_time_shorter_than_an_interval_still_goes_on(X, tmp_path):
    path = tmp_path / "training.latentsk"
    options = {**SMALL, "checkpoint": path, "checkpoint_interval": 1_000}
    lengths = []
    for _ in range(3):
        embedder = AutoencoderEmbedder(**options, max_time=1e-9).fit(X)
        lengths.append(len(embedder.history_))
    assert lengths == [1, 2, 3]
    resumed = AutoencoderEmbedder(**options).fit(X)
    whole = AutoencoderEmbedder(**SMALL).fit(X)
    assert torch.equal(weights(resumed), weights(whole))


def test_a_checkpoint_knows_own_modules_by_their_settings(X, tmp_path):
    class Times(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, rows):
            return self.factor * rows

    path = tmp_path / "training.latentsk"
    options = {"checkpoint": path, "checkpoint_interval": 3, "random_state": 0}
    options |= {"max_epochs": 12, "decoder": nn.Linear(2, 6)}
    encoder = nn.Sequential(Times(1.0), nn.Linear(6, 2))
    with pytest.raises(RuntimeError, match="power"):
        AutoencoderEmbedder(encoder=encoder, **options).set_callbacks(
            AtEpoch(4, fail)
        ).fit(X)
    other = nn.Sequential(Times(100.0), nn.Linear(6, 2))
    with pytest.raises(CheckpointError, match="another training, with encoder ="):
        AutoencoderEmbedder(encoder=other, **options).fit(X)


def test_a_damaged_checkpoint_is_refused(X, tmp_path):
    path = tmp_path / "training.latentsk"
    options = {**SMALL, "checkpoint": path, "checkpoint_interval": 3}
    with pytest.raises(RuntimeError, match="power"):
        AutoencoderEmbedder(**options).set_callbacks(AtEpoch(4, fail)).fit(X)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match="altered"):
        AutoencoderEmbedder(**options).fit(X)


# Interruption and limits


@pytest.mark.parametrize("epoch", [1, 6])
def test_ctrl_c_keeps_the_best_weights(X, tmp_path, epoch):
    path = tmp_path / "training.latentsk"
    options = {**SMALL, "checkpoint": path, "checkpoint_interval": 2}

    def interrupt():
        _thread.interrupt_main()

    embedder = AutoencoderEmbedder(**options).set_callbacks(AtEpoch(epoch, interrupt))
    with pytest.warns(
        TrainingInterruptedWarning, match="weights are those after epoch"
    ):
        embedder.fit(X)
    assert len(embedder.history_) == epoch
    assert embedder.best_epoch_ <= epoch
    assert set(embedder.predict(X)) <= {-1, 1}
    # The next fit goes on, if a checkpoint was written, and ends as if never stopped.
    assert path.exists() == (epoch >= 2)
    resumed = AutoencoderEmbedder(**options).fit(X)
    whole = AutoencoderEmbedder(**SMALL).fit(X)
    assert torch.equal(weights(resumed), weights(whole))


def test_ctrl_c_within_the_first_epoch_leaves_a_usable_estimator(X, monkeypatch):
    class Clock:
        calls = 0

        def monotonic(self):
            Clock.calls += 1
            if Clock.calls == 4:
                raise KeyboardInterrupt
            return 0.0

    monkeypatch.setattr(_trainer, "time", Clock())
    embedder = AutoencoderEmbedder(**SMALL)
    with pytest.warns(TrainingInterruptedWarning, match="of the moment"):
        embedder.fit(X)
    assert embedder.history_ == []
    assert np.isfinite(embedder.score_samples(X)).all()


def test_max_time_ends_the_training(X):
    embedder = AutoencoderEmbedder(**{**SMALL, "max_epochs": 10**6, "max_time": 0.05})
    embedder.set_params(n_iter_no_change=10**6).fit(X)
    assert 1 <= len(embedder.history_) < 10**4


def test_a_callback_may_end_the_training(X):
    embedder = AutoencoderEmbedder(**SMALL).set_callbacks(AtEpoch(3, lambda: True))
    assert len(embedder.fit(X).history_) == 3


# Going on


def test_warm_start_goes_on_from_the_weights(X):
    embedder = AutoencoderEmbedder(**SMALL, warm_start=True).fit(X)
    first = embedder.history_[-1]["train_loss"]
    mean = embedder.mean_
    embedder.fit(X[:100] + 1.0)
    np.testing.assert_array_equal(embedder.mean_, mean)
    embedder.fit(X)
    assert embedder.history_[0]["train_loss"] < 1.2 * first
    cold = AutoencoderEmbedder(**SMALL).fit(X)
    assert embedder.history_[0]["train_loss"] < cold.history_[0]["train_loss"]
    before = weights(embedder)
    with pytest.raises(ValueError, match="X has 5 features, but"):
        embedder.fit(X[:, :5])
    assert torch.equal(weights(embedder), before)
    assert embedder.n_features_in_ == 6


@pytest.mark.parametrize("who", ["warm_start", "partial_fit"])
def test_continuing_with_other_custom_modules_is_refused(X, who):
    options = {**SMALL, "n_components": "auto", "warm_start": True}
    embedder = AutoencoderEmbedder(
        encoder=nn.Linear(6, 2), decoder=nn.Linear(2, 6), **options
    ).fit(X)
    embedder.set_params(encoder=nn.Linear(6, 3), decoder=nn.Linear(3, 6))
    with pytest.raises(ValueError, match=f"{who} continues .* modules is now"):
        embedder.fit(X) if who == "warm_start" else embedder.partial_fit(X)


def test_warm_start_refuses_columns_in_another_order(X):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    embedder = AutoencoderEmbedder(**SMALL, warm_start=True).fit(frame)
    with pytest.raises(ValueError, match="must be in the same order"):
        embedder.fit(frame[list("fedcba")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_components": 3}, "n_components is now 3 instead of 2"),
        ({"hidden_layer_sizes": (9,)}, "encoder_sizes is now"),
        ({"activation": "tanh"}, "activation is now 'tanh'"),
        ({"standardize": False}, "standardize is now False"),
        ({"loss": "huber"}, "loss is now 'huber'"),
        (
            {"network": "conv", "input_shape": (1, 2, 3), "hidden_layer_sizes": (4,)},
            "network",
        ),
    ],
)
@pytest.mark.parametrize("who", ["warm_start", "partial_fit"])
def test_continuing_with_another_network_is_refused(X, change, message, who):
    embedder = AutoencoderEmbedder(**SMALL, warm_start=True).fit(X)
    before = weights(embedder)
    embedder.set_params(**change)
    with pytest.raises(ValueError, match=f"{who} continues with .*{message}"):
        embedder.fit(X) if who == "warm_start" else embedder.partial_fit(X)
    assert torch.equal(weights(embedder), before)


def test_every_chunk_is_checked_for_its_range():
    rows = np.random.default_rng(0).random((60, 6))
    options = {**SMALL, "loss": "binary_cross_entropy"}
    embedder = AutoencoderEmbedder(**options).partial_fit(rows)
    with pytest.raises(ValueError, match=r"needs data in \[0, 1\]"):
        embedder.partial_fit(rows * 2)
    assert len(embedder.history_) == 1


def test_partial_fit_learns_from_chunks(X):
    embedder = AutoencoderEmbedder(**SMALL, batch_size=16, learning_rate_init=1e-2)
    for _ in range(20):
        for chunk in np.array_split(X, 3):
            embedder.partial_fit(chunk)
    assert [r["epoch"] for r in embedder.history_] == list(range(1, 61))
    assert (
        embedder.history_[-1]["train_loss"] < 0.3 * embedder.history_[0]["train_loss"]
    )
    with pytest.raises(ValueError, match="features"):
        embedder.partial_fit(X[:, :4])
    embedder.calibrate(X)
    assert np.mean(embedder.predict(X) == 1) > 0.9


def test_partial_fit_after_pickling_is_as_without(X):
    chunks = np.array_split(X, 4)
    whole = AutoencoderEmbedder(**SMALL)
    pickled = AutoencoderEmbedder(**SMALL)
    for chunk in chunks:
        whole.partial_fit(chunk)
        pickled = pickle.loads(pickle.dumps(pickled.partial_fit(chunk)))
    assert torch.equal(weights(pickled), weights(whole))


def test_a_diverging_chunk_is_not_counted(X):
    embedder = AutoencoderEmbedder(**SMALL).partial_fit(X)
    before = weights(embedder)
    embedder.set_params(learning_rate_init=1e38)
    with pytest.raises(ArithmeticError, match="no longer finite"):
        embedder.partial_fit(X)
    assert torch.equal(weights(embedder), before)
    assert len(embedder.history_) == 1


# First chunks that say little


def first_chunks(X):
    constant = X[:40].copy()
    constant[:, 2] = constant[0, 2]
    return {
        "one row": X[:1],
        "two rows": X[:2],
        "equal rows": np.tile(X[:1], (20, 1)),
        "a constant column": constant,
    }


@pytest.mark.parametrize(
    "first", ["one row", "two rows", "equal rows", "a constant column"]
)
@pytest.mark.parametrize("Embedder", [AutoencoderEmbedder, VAEEmbedder])
def test_a_first_chunk_that_says_little_is_made_up_for(X, first, Embedder):
    rows = X * 1e4  # in units in which a scale of one is far off
    chunk = first_chunks(rows)[first]
    streams = [Embedder(**SMALL, learning_rate_init=1e-2) for _ in range(2)]
    streams[0].partial_fit(chunk)
    for _ in range(20):
        for part in np.array_split(rows, 3):
            for stream in streams:
                stream.partial_fit(part)
    seen = np.concatenate([chunk, *[rows] * 20])
    np.testing.assert_allclose(streams[0].mean_, seen.mean(axis=0))
    np.testing.assert_allclose(streams[0].scale_, seen.std(axis=0))
    poor, good = (stream.score(rows) for stream in streams)
    assert poor > good - 1.0


def test_a_stream_of_single_rows(X):
    stream = AutoencoderEmbedder(**SMALL)
    for row in X:
        stream.partial_fit(row[None])
    np.testing.assert_allclose(stream.scale_, X.std(axis=0))
    assert stream.score(X) > -2.0 * X.shape[1]  # twice that of their means


def test_chunks_after_a_fit_count_with_its_rows(X):
    rows = X.copy()
    rows[:100, 0] = 3.0
    embedder = AutoencoderEmbedder(**SMALL).fit(rows[:100])
    assert embedder.scale_[0] == 1.0
    embedder.partial_fit(rows[100:])
    np.testing.assert_allclose(embedder.mean_, rows.mean(axis=0))
    np.testing.assert_allclose(embedder.scale_, rows.std(axis=0))


def test_channels_share_their_scale_over_all_chunks(X):
    options = {**SMALL, **CONVOLUTION}
    embedder = AutoencoderEmbedder(**options).partial_fit(X[:1]).partial_fit(X[1:])
    np.testing.assert_allclose(embedder.scale_, X.std())


def test_without_standardization_chunks_change_nothing(X):
    embedder = AutoencoderEmbedder(**SMALL, standardize=False)
    embedder.partial_fit(X[:1]).partial_fit(X[1:])
    assert not embedder.mean_.any()
    assert (embedder.scale_ == 1.0).all()


def test_a_chunk_that_fails_leaves_the_standardization(X):
    embedder = AutoencoderEmbedder(**SMALL).partial_fit(X)
    before = embedder.scale_.copy()
    with pytest.raises(ArithmeticError, match="no longer finite"):
        embedder.set_params(learning_rate_init=1e38).partial_fit(X * 3)
    np.testing.assert_array_equal(embedder.scale_, before)
    embedder.set_params(learning_rate_init=1e-3).partial_fit(X)
    np.testing.assert_allclose(embedder.scale_, before)


# Streaming


@pytest.fixture
def mapped(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3_000, 2)) @ rng.normal(size=(2, 8))
    rows = (rows + 0.1 * rng.normal(size=rows.shape)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


def test_a_memory_map_trains_like_an_array(mapped, monkeypatch):
    options = {**SMALL, "max_epochs": 20, "batch_size": 64}
    resident = AutoencoderEmbedder(**options).fit(np.array(mapped))
    monkeypatch.setattr(rows_module, "MAX_RESIDENT_BYTES", 0)
    used = []
    streamed_rows = rows_module.StreamedRows
    monkeypatch.setattr(
        rows_module, "StreamedRows", lambda *a: used.append(1) or streamed_rows(*a)
    )
    streamed = AutoencoderEmbedder(**options).fit(mapped)
    assert used
    assert streamed.score(mapped) > 1.3 * resident.score(mapped)
    again = AutoencoderEmbedder(**options).fit(mapped)
    assert torch.equal(weights(again), weights(streamed))
    partial = AutoencoderEmbedder(**options).partial_fit(mapped)
    assert np.isfinite(partial.score(mapped))


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int32", "float64"])
def test_memory_maps_of_any_dtype(mapped, tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(rows_module, "MAX_RESIDENT_BYTES", 0)
    np.save(tmp_path / "other.npy", (10 * np.abs(mapped)).astype(dtype))
    rows = np.load(tmp_path / "other.npy", mmap_mode="r")
    assert np.isfinite(AutoencoderEmbedder(**SMALL).fit(rows).score(rows))


def test_nan_in_a_memory_map_is_found(mapped, tmp_path):
    rows = np.array(mapped)
    rows[2_990, 3] = np.nan
    np.save(tmp_path / "bad.npy", rows)
    with pytest.raises(
        ValueError, match=r"Input X contains NaN.*column 'x3', row 2990"
    ):
        AutoencoderEmbedder(**SMALL).fit(np.load(tmp_path / "bad.npy", mmap_mode="r"))


def test_the_array_is_never_changed_nor_copied_twice(X):
    kept = X.copy()
    AutoencoderEmbedder(**SMALL).fit(X)
    np.testing.assert_array_equal(X, kept)
    plain = AutoencoderEmbedder(**SMALL, standardize=False)
    rows = np.ascontiguousarray(X - 100.0, dtype=np.float32)
    assert plain.fit(rows)._standardizer.tensor(rows).data_ptr() == rows.ctypes.data


# Progress


class Scores(AtEpoch):
    """A callback that scores the estimator as it is after every epoch."""

    def __init__(self):
        self.scores = []

    def on_fit_task_end(
        self, estimator, context, *, X=None, metadata=None, fitted_estimator=None
    ):
        if metadata:
            self.scores.append(fitted_estimator.score(X))


def test_the_callbacks_of_scikit_learn(X, capsys):
    pytest.importorskip("rich")
    scores = Scores()
    embedder = AutoencoderEmbedder(**SMALL).set_callbacks(ProgressBar(), scores).fit(X)
    assert "AutoencoderEmbedder" in capsys.readouterr().out
    assert len(scores.scores) == 12
    assert scores.scores[embedder.best_epoch_ - 1] == pytest.approx(embedder.score(X))
    assert not hasattr(embedder, "_callback_fit_ctx")


def test_verbose_shows_every_epoch_s_loss(X, capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "rich_progress", None)
    embedder = AutoencoderEmbedder(**SMALL, verbose=True).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    first = embedder.history_[0]
    assert lines[0] == (
        f"epoch 1: loss {first['train_loss']:.4g}, "
        f"validation {first['validation_loss']:.4g}"
    )
    embedder.set_params(verbose=False).set_callbacks(LossProgressBar()).fit(X)
    assert capsys.readouterr().out.splitlines() == lines
    assert progress_module._bars == {}


def test_a_bar_is_drawn_and_taken_away(X, capsys):
    pytest.importorskip("rich")
    AutoencoderEmbedder(**SMALL, verbose=True).fit(X)
    printed = capsys.readouterr().out
    assert "12/12" in printed
    assert "loss" in printed
    with pytest.raises(ArithmeticError):
        AutoencoderEmbedder(**SMALL, verbose=True, learning_rate_init=1e30).fit(X)
    assert progress_module._bars == {}


# Compilation


def test_perceptrons_on_the_cpu_are_never_compiled_by_themselves(X, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("compiled")

    monkeypatch.setattr(_trainer, "CompiledGradient", refuse)
    long = {**SMALL, "max_epochs": 10**5, "n_iter_no_change": 1, "tol": 1.0}
    AutoencoderEmbedder(**long).fit(X)
    with pytest.raises(AssertionError, match="compiled"):
        AutoencoderEmbedder(**long, normalize=True).fit(X)
    with pytest.raises(AssertionError, match="compiled"):
        AutoencoderEmbedder(**SMALL, compile=True).fit(X)
    AutoencoderEmbedder(**long, normalize=True, compile=False).fit(X)


def test_autograd_and_the_closed_form_train_alike(X, monkeypatch):
    closed = AutoencoderEmbedder(**SMALL).fit(X)
    monkeypatch.setattr(Reconstruction, "gradient", lambda *arguments: None)
    by_autograd = AutoencoderEmbedder(**SMALL).fit(X)
    torch.testing.assert_close(
        weights(closed), weights(by_autograd), rtol=1e-3, atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"normalize": True, "dropout": 0.2, "noise": "masking"},
        {"contractive_penalty": 0.1, "sparse_penalty": 0.1},
        CONVOLUTION,
        {
            "encoder": nn.Linear(6, 2),
            "decoder": nn.Sequential(nn.SELU(), nn.Linear(2, 6)),
        },
    ],
)
def test_every_network_compiles_to_the_same_training(X, settings, monkeypatch):
    made = []
    real = _trainer.CompiledGradient

    def watched(*arguments):
        made.append(real(*arguments))
        return made[-1]

    monkeypatch.setattr(_trainer, "CompiledGradient", watched)
    options = {**SMALL, **settings, "max_epochs": 3}
    compiled = AutoencoderEmbedder(**options, compile=True).fit(X)
    assert made[0].works
    eager = AutoencoderEmbedder(**options, compile=False).fit(X)
    losses = [r["train_loss"] for r in compiled.history_]
    assert losses == pytest.approx([r["train_loss"] for r in eager.history_], rel=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "settings",
    [{}, {"network": "conv", "input_shape": (1, 2, 3), "hidden_layer_sizes": (4,)}],
)
def test_a_gpu_trains_as_the_cpu_does(X, settings):
    options = {**SMALL, **settings, "precision": "float32"}
    cpu = AutoencoderEmbedder(**options).fit(X)
    gpu = AutoencoderEmbedder(**{**options, "device": "cuda"}).fit(X)
    assert gpu.score(X) == pytest.approx(cpu.score(X), rel=0.05)
    twin = pickle.loads(pickle.dumps(gpu))
    np.testing.assert_allclose(twin.score_samples(X), gpu.score_samples(X), rtol=1e-6)
