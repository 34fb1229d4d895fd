"""VAEEmbedder's training: collapse and its remedies, resuming, streaming, threads."""

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from latentsk import LatentIndex, VAEEmbedder
from latentsk.exceptions import PosteriorCollapseWarning, PriorMismatchWarning
from latentsk.training import _data as rows_module
from latentsk.training import _trainer
from latentsk.training._history import EpochRecord

SMALL = {
    "n_components": 2,
    "hidden_layer_sizes": (8,),
    "max_epochs": 12,
    "random_state": 0,
    "device": "cpu",
}
CONVOLUTION = {"network": "conv", "input_shape": (1, 2, 3), "hidden_layer_sizes": (4,)}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(150, 2)) @ rng.normal(size=(2, 6))
    return rows + 0.1 * rng.normal(size=rows.shape) + 100.0


def weights(vae):
    return torch.cat([p.flatten() for p in vae.module_.parameters()])


# Collapse


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_deep_network_collapses_and_its_remedies_help(seed):
    digits = load_digits().data
    options = {
        "n_components": 8,
        "hidden_layer_sizes": (64,) * 4,
        "activation": "tanh",
        "max_epochs": 40,
        "n_iter_no_change": 40,
        "random_state": seed,
        "device": "cpu",
    }

    def n_active(**remedy):
        vae = VAEEmbedder(**options, **remedy).fit(digits)
        return vae.latent_report(digits).n_active

    plain = n_active()
    assert plain <= 5
    assert n_active(kl_warmup=0.5) >= plain + 2
    assert n_active(free_nats=0.5) == 8


def test_a_collapse_is_told_with_its_remedies():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6)) + rng.normal(size=(300, 6))
    options = {**SMALL, "max_epochs": 40, "beta": 20.0}
    remedies = "kl_warmup .* free_nats .* beta"
    with pytest.warns(PosteriorCollapseWarning, match=remedies) as caught:
        collapsed = VAEEmbedder(**options).fit(X)
    assert caught[0].filename == __file__
    assert collapsed.latent_report(X).n_active == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recovered = VAEEmbedder(**options, free_nats=0.5).fit(X)
    assert recovered.latent_report(X).n_active == 2


@pytest.mark.filterwarnings("ignore::latentsk.exceptions.PriorMismatchWarning")
def test_margins_of_black_pixels_leave_latents_near_the_prior():
    """With logits that have no bound the distance comes to more than 100 nats."""
    images = load_digits().images[:400] / 16
    images = np.kron(np.clip(2 * images - 0.5, 0, 1), np.ones((2, 2)))
    X = np.pad(images, ((0, 0), (4, 4), (4, 4))).reshape(400, -1)
    options = {**SMALL, "hidden_layer_sizes": (32,), "max_epochs": 30}
    vae = VAEEmbedder(
        **{**options, "n_components": 4}, likelihood="continuous_bernoulli"
    ).fit(X)
    assert vae.latent_report(X).distance_from_prior < 30
    with torch.no_grad():
        logits = vae.module_.decode(torch.randn(50, 4) * 10)
    assert logits.abs().max() <= 16


FAR = [
    ({"beta": 1e-4}, {"beta": 1.0}),
    ({"likelihood_scale": 0.001}, {"likelihood_scale": "feature"}),
    ({"capacity": 60.0}, {"capacity": 5.0}),
    ({"free_nats": 25.0}, {"free_nats": 0.5}),
]


@pytest.mark.parametrize(
    ("setting", "remedy"), FAR, ids=[next(iter(f)) for f, _ in FAR]
)
def test_latents_far_from_the_prior_are_told_with_what_helps(setting, remedy):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 8))
    X += 0.1 * rng.normal(size=X.shape)
    options = {
        **SMALL,
        "n_components": 6,
        "hidden_layer_sizes": (32,),
        "max_epochs": 60,
    }
    (name,) = setting
    with pytest.warns(
        PriorMismatchWarning, match=f"far from the prior.*{name}"
    ) as told:
        far = VAEEmbedder(**options, **setting).fit(X)
    assert told[0].filename == __file__
    report = far.latent_report(X)
    assert report.distance_from_prior > max(10, report.n_active)
    assert f"{report.distance_from_prior:.1f} nats" in str(told[0].message)
    near = VAEEmbedder(**options, **remedy).fit(X)  # warnings are errors
    assert near.latent_report(X).distance_from_prior < 5


@pytest.mark.parametrize(
    "setting", [{"standardize": False}, {"input_shape": (4, 2)}], ids=str
)
def test_pixels_with_a_scale_too_small_need_a_larger_one(setting):
    """One scale for each pixel would detect less."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 8))
    options = {
        **SMALL,
        "n_components": 6,
        "hidden_layer_sizes": (32,),
        "max_epochs": 60,
    }
    remedy = r"then\. Fix a larger likelihood_scale \(0\.002, say\)\. Raise beta"
    with pytest.warns(PriorMismatchWarning, match=remedy):
        VAEEmbedder(**{**options, "likelihood_scale": 0.001, **setting}).fit(X)
    VAEEmbedder(**{**options, "likelihood_scale": 1.0, **setting}).fit(X)


def test_a_capacity_is_aimed_at(X):
    for capacity in (0.5, 2.0):
        vae = VAEEmbedder(
            **{**SMALL, "max_epochs": 80, "n_iter_no_change": 80},
            beta=20.0,
            capacity=capacity,
            learning_rate_init=1e-2,
        ).fit(X)
        assert vae.latent_report(X).kl == pytest.approx(capacity, rel=0.25)


def test_early_stopping_waits_for_the_warm_up(X):
    options = {**SMALL, "n_iter_no_change": 1, "tol": 1.0, "max_epochs": 40}
    assert len(VAEEmbedder(**options).fit(X).history_) == 2
    warm = VAEEmbedder(**options, kl_warmup=0.5).fit(X)
    assert len(warm.history_) == 21


def test_model_selection_is_on_the_objective_with_full_weights(X):
    options = {**SMALL, "max_epochs": 3, "learning_rate_init": 1e-12}
    options |= {"validation_fraction": 0.0, "n_score_samples": 300}

    def record(**remedy):
        return VAEEmbedder(**options, **remedy).fit(X).history_[-1]

    plain, warm = record(), record(kl_warmup=1.0)
    assert warm["monitored_loss"] == pytest.approx(plain["monitored_loss"])
    assert warm["train_loss"] < plain["train_loss"] - 0.01
    vae = VAEEmbedder(**options).fit(X)
    divergence = vae.latent_report(X).kl
    # Of two latents; less than that is free.
    expected = {"beta": 3.0 * divergence, "free_nats": 2.0 - divergence}
    for name, more in expected.items():
        other = record(**{name: 4.0 if name == "beta" else 1.0})
        for loss in ("monitored_loss", "train_loss"):
            assert other[loss] - plain[loss] == pytest.approx(more, rel=0.1)
    elbo = vae.score(X) + np.log(vae.scale_).sum()
    assert -vae.history_[-1]["monitored_loss"] == pytest.approx(elbo, abs=0.3)
    weighted = VAEEmbedder(**options, objective="iwae", n_samples=20).fit(X)
    bound = weighted.log_likelihood(X, 20)[0].mean() + np.log(vae.scale_).sum()
    assert -weighted.history_[-1]["monitored_loss"] == pytest.approx(bound, abs=0.3)
    assert bound > elbo


def test_chunks_are_not_warmed_up_again(X):
    options = {**SMALL, "batch_size": 150}
    plain, warm = VAEEmbedder(**options), VAEEmbedder(**options, kl_warmup=0.5)
    for _ in range(3):
        plain.partial_fit(X)
        warm.partial_fit(X)
    assert torch.equal(weights(plain), weights(warm))


# The engine


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dropout": 0.3, "n_samples": 3, "kl_warmup": 0.5, "kl_schedule": "cyclical"},
        {"objective": "iwae", "learning_rate": "constant"},
        {**CONVOLUTION},
    ],
)
def test_a_resumed_run_equals_the_uninterrupted_one(X, tmp_path, settings, monkeypatch):
    path = tmp_path / "training.latentsk"
    options = {**SMALL, **settings, "checkpoint": path, "checkpoint_interval": 3}
    real = EpochRecord.as_dict

    def failing(record, validated):
        if record.epoch == 7:
            raise RuntimeError("the power went off")
        return real(record, validated)

    monkeypatch.setattr(EpochRecord, "as_dict", failing)
    with pytest.raises(RuntimeError, match="power"):
        VAEEmbedder(**options).fit(X)
    monkeypatch.undo()
    assert path.exists()
    resumed = VAEEmbedder(**options).fit(X)
    assert not path.exists()
    whole = VAEEmbedder(**{**options, "checkpoint": None}).fit(X)
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.offset_ == whole.offset_


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"likelihood": "laplace"},
            "likelihood is now 'laplace' instead of 'gaussian'",
        ),
        ({"likelihood_scale": 0.5}, "scale is now 0.5 instead of 'feature'"),
        ({"n_components": 3}, "n_components is now 3"),
    ],
)
@pytest.mark.parametrize("who", ["warm_start", "partial_fit"])
def test_continuing_with_another_model_is_refused(X, change, message, who):
    vae = VAEEmbedder(**SMALL, warm_start=True).fit(X)
    before = weights(vae)
    vae.set_params(**change)
    with pytest.raises(ValueError, match=f"{who} continues with .*{message}"):
        vae.fit(X) if who == "warm_start" else vae.partial_fit(X)
    assert torch.equal(weights(vae), before)


def test_partial_fit_learns_from_chunks(X):
    vae = VAEEmbedder(**SMALL, batch_size=16, learning_rate_init=1e-2)
    for _ in range(15):
        for chunk in np.array_split(X, 3):
            vae.partial_fit(chunk)
    assert vae.history_[-1]["train_loss"] < vae.history_[0]["train_loss"] - 1
    vae.calibrate(X)
    assert np.mean(vae.predict(X) == 1) > 0.9


def test_chunks_are_what_the_first_one_was():
    coins = (np.random.default_rng(0).random((60, 6)) < 0.5).astype(float)
    vae = VAEEmbedder(**SMALL).partial_fit(coins)
    assert vae.likelihood_ == "bernoulli"
    with pytest.raises(ValueError, match=r"needs data in \[0, 1\]"):
        vae.partial_fit(2 * coins)
    with pytest.warns(UserWarning, match="meant for zeros and ones"):
        vae.partial_fit(0.5 * coins)


def test_a_memory_map_trains_like_an_array(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3_000, 2)) @ rng.normal(size=(2, 8))
    rows = (rows + 0.1 * rng.normal(size=rows.shape)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    options = {**SMALL, "max_epochs": 20, "batch_size": 64}
    resident = VAEEmbedder(**options).fit(rows)
    monkeypatch.setattr(rows_module, "MAX_RESIDENT_BYTES", 0)
    streamed = VAEEmbedder(**options).fit(mapped)
    assert streamed.score(rows) == pytest.approx(resident.score(rows), abs=1.0)


def test_threads_score_as_one(X):
    vae = VAEEmbedder(**SMALL).fit(X)
    expected = vae.score_samples(X)
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(lambda _: vae.score_samples(X), range(8)):
            np.testing.assert_array_equal(scores, expected)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(vae)))
    np.testing.assert_array_equal(twin.score_samples(X), expected)


def test_the_seed_decides_and_the_global_generators_do_not(X):
    torch.manual_seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = VAEEmbedder(**SMALL).fit(X)
    first.sample(3)
    first.log_likelihood(X[:3], 10)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    torch.manual_seed(2)
    assert torch.equal(weights(VAEEmbedder(**SMALL).fit(X)), weights(first))
    other = VAEEmbedder(**{**SMALL, "random_state": 1}).fit(X)
    assert not torch.equal(weights(other), weights(first))


def test_similar_rows_in_its_latent_space(digits):
    X, y = digits
    vae = VAEEmbedder(max_epochs=30, random_state=0, device="cpu").fit(X)
    _, positions = LatentIndex(vae).fit(X).kneighbors(n_neighbors=1)
    assert np.mean(y[positions[:, 0]] == y) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"normalize": True, "dropout": 0.2},
        {"objective": "iwae", "doubly_reparameterized": True, "normalize": True},
        CONVOLUTION,
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
    compiled = VAEEmbedder(**options, compile=True).fit(X)
    assert made[0].works
    eager = VAEEmbedder(**options, compile=False).fit(X)
    losses = [r["train_loss"] for r in compiled.history_]
    assert losses == pytest.approx([r["train_loss"] for r in eager.history_], rel=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "settings", [{}, CONVOLUTION, {"objective": "iwae", "doubly_reparameterized": True}]
)
def test_a_gpu_trains_as_the_cpu_does(X, settings):
    options = {**SMALL, **settings, "precision": "float32"}
    cpu = VAEEmbedder(**options).fit(X)
    gpu = VAEEmbedder(**{**options, "device": "cuda"}).fit(X)
    assert gpu.score(X) == pytest.approx(cpu.score(X), abs=1.0)
    twin = pickle.loads(pickle.dumps(gpu))
    np.testing.assert_allclose(twin.score_samples(X), gpu.score_samples(X), rtol=1e-6)
    assert gpu.sample(3).shape == (3, 6)


@pytest.mark.parametrize(
    ("common", "change"),
    [
        ({"likelihood": "bernoulli"}, {"dynamic_binarization": True}),
        ({"objective": "iwae"}, {"doubly_reparameterized": True}),
        ({"objective": "iwae"}, {"n_samples": 4}),
        ({"kl_warmup": 0.9}, {"kl_schedule": "cosine"}),
        ({}, {"capacity": 3.0}),
    ],
)
@pytest.mark.filterwarnings("ignore:likelihood='bernoulli'", "ignore:The posterior")
def test_every_parameter_reaches_the_training(common, change):
    grey = np.random.default_rng(0).random((150, 6))
    plain = VAEEmbedder(**SMALL, **common).fit(grey)
    changed = VAEEmbedder(**SMALL, **common, **change).fit(grey)
    assert not torch.equal(weights(plain), weights(changed))


def test_five_samples_are_automatic_for_the_weighted_bound(X):
    options = {**SMALL, "objective": "iwae"}
    automatic, five = VAEEmbedder(**options), VAEEmbedder(**options, n_samples=5)
    assert torch.equal(weights(automatic.fit(X)), weights(five.fit(X)))


def test_another_score_is_the_same_training(X, tmp_path):
    path = tmp_path / "training.latentsk"
    options = {**SMALL, "checkpoint": path, "max_time": 1e-9, "checkpoint_interval": 1}
    VAEEmbedder(**options).fit(X)
    assert path.exists()
    other = VAEEmbedder(**options, score_method="iwae", n_score_samples=50).fit(X)
    assert len(other.history_) == 2
