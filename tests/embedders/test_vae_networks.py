"""VAEEmbedder's networks, likelihoods and parameters."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import MinMaxScaler
from torch import nn

from latentsk import AutoencoderEmbedder, VAEEmbedder
from latentsk.exceptions import PosteriorCollapseWarning
from latentsk.vae import _estimates

SMALL = {
    "hidden_layer_sizes": (8,),
    "max_epochs": 10,
    "random_state": 0,
    "device": "cpu",
}


@pytest.mark.parametrize(
    "settings",
    [
        {"likelihood": "laplace"},
        {"likelihood": "student_t", "likelihood_scale": "feature"},
        {"likelihood_scale": 0.5},
        {"likelihood_scale": 0.01},
        {"objective": "iwae", "n_samples": 3},
        {"kl_warmup": 0.5},
        {"kl_warmup": 0.8, "kl_schedule": "cyclical"},
        {"capacity": 2.0, "kl_warmup": 0.3, "kl_schedule": "cosine"},
        {"objective": "iwae", "doubly_reparameterized": True},
        {"free_nats": 0.1, "n_samples": 2, "dropout": 0.2},
    ],
)
def test_every_setting_trains(X, settings):
    vae = VAEEmbedder(2, **SMALL, **settings).fit(X)
    assert vae.history_[-1]["monitored_loss"] < vae.history_[0]["monitored_loss"]
    twin = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(twin.score_samples(X), vae.score_samples(X))
    assert vae.sample(3).shape == (3, 5)
    mean, deviation = vae.transform_distribution(X)
    np.testing.assert_array_equal(mean, vae.transform(X))
    assert (deviation > 0).all()


def test_binary_data_have_a_bernoulli_likelihood():
    rng = np.random.default_rng(0)
    patterns = rng.random((3, 12)) < 0.5
    X = patterns[rng.integers(0, 3, 300)].astype(float)
    vae = VAEEmbedder(2, **{**SMALL, "max_epochs": 60}).fit(X)
    assert vae.likelihood_ == "bernoulli"
    assert np.mean((vae.reconstruct(X) > 0.5) == X) > 0.98
    # Three patterns of equal probability: log 3 nats are the least one can need.
    assert -2.5 < vae.score(X) < -np.log(3)
    with pytest.raises(ValueError, match=r"needs data in \[0, 1\]"):
        VAEEmbedder(likelihood="continuous_bernoulli").fit(X + 1)


def shapes(vae):
    return [tuple(p.shape) for p in vae.module_.parameters() if p.ndim > 1]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("mlp-400", [(400, 784), (14, 400), (400, 7), (784, 400)]),
        (
            "mlp-512-256",
            [(512, 784), (256, 512), (14, 256), (256, 7), (512, 256), (784, 512)],
        ),
    ],
)
def test_presets_are_the_classic_networks(network, expected):
    X = np.random.default_rng(0).random((20, 784), np.float32)
    options = {"network": network, "max_epochs": 1, "device": "cpu"}
    vae = VAEEmbedder(7, **options).fit(X)
    assert shapes(vae) == expected
    assert (
        sum(isinstance(m, nn.ReLU) for m in vae.module_.modules()) == len(expected) - 2
    )
    with pytest.raises(ValueError, match="has layers of its own"):
        VAEEmbedder(7, **options, hidden_layer_sizes=(3,)).fit(X)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_the_convolutional_preset_is_for_images_of_32_pixels(n_channels):
    X = np.random.default_rng(0).random((8, n_channels * 1024), np.float32)
    options = {"network": "conv-32-128-256", "max_epochs": 1, "device": "cpu"}
    vae = VAEEmbedder(**options).fit(X)
    channels = [s[:2] for s in shapes(vae.set_params()) if len(s) == 4]
    assert (32, n_channels) in channels
    assert {(128, 32), (256, 128)} <= set(channels)
    assert vae.n_components_ == 10
    assert AutoencoderEmbedder(**options).fit(X).n_components_ == 10
    assert VAEEmbedder(4, **options).fit(X).n_components_ == 4
    with pytest.raises(ValueError, match="images of 32 x 32 pixels, but X has 1000"):
        VAEEmbedder(**options).fit(X[:, :1000])


def test_a_convolutional_vae_learns_images(digits):
    X = digits[0][:700] / 16
    vae = VAEEmbedder(
        6,
        network="conv",
        input_shape=(1, 8, 8),
        hidden_layer_sizes=(8, 16),
        dynamic_binarization=True,
        max_epochs=30,
        random_state=0,
        device="cpu",
    ).fit(X)
    assert vae.latent_report(X).n_active >= 4
    error = np.mean((vae.reconstruct(X) - X) ** 2)
    assert error < 0.6 * X.var(axis=0).mean()
    twin = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(twin.score_samples(X), vae.score_samples(X))


def own_modules(width=3):
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Linear(5, 8), nn.Dropout(0.1), nn.Softplus(), nn.Linear(8, 2 * width)
    )
    return encoder, nn.Sequential(nn.Linear(width, 8), nn.SELU(), nn.Linear(8, 5))


def test_own_modules(X):
    encoder, decoder = own_modules()
    options = {k: v for k, v in SMALL.items() if k != "hidden_layer_sizes"}
    vae = VAEEmbedder(encoder=encoder, decoder=decoder, **options).fit(X)
    assert vae.n_components_ == 3
    mean, deviation = vae.transform_distribution(X)
    assert mean.shape == deviation.shape == (300, 3)
    assert vae.history_[-1]["monitored_loss"] < vae.history_[0]["monitored_loss"]
    again = clone(vae).fit(X)
    np.testing.assert_array_equal(again.score_samples(X), vae.score_samples(X))
    twin = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(twin.score_samples(X), vae.score_samples(X))
    with pytest.raises(ValueError, match="returns 5 values per row, but 2 are needed"):
        VAEEmbedder(encoder=nn.Linear(5, 5), decoder=decoder).fit(X)
    with pytest.raises(ValueError, match="6 values per row, 2 for each latent"):
        VAEEmbedder(6, encoder=encoder, decoder=decoder).fit(X)


@pytest.mark.filterwarnings("ignore:The posterior collapsed")
def test_tails_that_are_heavy_move_the_model_less(X):
    """One row in twenty is far off; the others' log-density decides."""
    rng = np.random.default_rng(0)
    spoiled = X.copy()
    spoiled[::20] += 5 * rng.standard_t(2, size=(15, 5))
    rest = np.delete(np.arange(300), np.s_[::20])
    options = {**SMALL, "max_epochs": 60}

    def score(name):
        fits = [
            VAEEmbedder(2, **{**options, "likelihood": name, "random_state": seed}).fit(
                spoiled
            )
            for seed in range(3)
        ]
        return np.mean([vae.score(X[rest]) for vae in fits])

    assert min(score("student_t"), score("laplace")) > score("gaussian") + 0.4


def test_grey_levels_have_a_density_of_their_own(digits):
    X = digits[0][:600] / 16
    with pytest.warns(UserWarning, match="meant for zeros and ones"):
        VAEEmbedder(2, likelihood="bernoulli", **SMALL).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VAEEmbedder(2, likelihood="continuous_bernoulli", **SMALL).fit(X)
        VAEEmbedder(2, likelihood="bernoulli", **SMALL).fit((X > 0.5).astype(float))
        binarized = VAEEmbedder(2, dynamic_binarization=True, **SMALL).fit(X)
    assert binarized.likelihood_ == "bernoulli"
    assert VAEEmbedder(2, **SMALL).fit(X).likelihood_ == "gaussian"


def test_dynamic_binarization_learns_the_probabilities():
    """Constant intensities: what is learned is the entropy of their coins."""
    X = np.tile([0.1, 0.5, 0.9, 0.3], (400, 1))
    vae = VAEEmbedder(
        1, dynamic_binarization=True, beta=1.0, **{**SMALL, "max_epochs": 40}
    )
    with pytest.warns(UserWarning, match="collapsed"):
        vae.fit(X)
    np.testing.assert_allclose(vae.reconstruct(X[:1])[0], X[0], atol=0.04)
    drawn = (np.random.default_rng(0).random((5_000, 4)) < X[0]).astype(float)
    entropy = -(X[0] * np.log(X[0]) + (1 - X[0]) * np.log(1 - X[0])).sum()
    assert -vae.score(drawn) == pytest.approx(entropy, abs=0.05)
    assert -vae.history_[-1]["monitored_loss"] == pytest.approx(-entropy, abs=0.15)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"objective": "iwae", "free_nats": 0.1}, "free_nats is for objective='elbo'"),
        ({"objective": "iwae", "capacity": 1.0}, "capacity is for objective='elbo'"),
        ({"capacity": 1.0, "free_nats": 0.1}, "exclude each other"),
        ({"doubly_reparameterized": True}, "needs objective='iwae'"),
        (
            {"dynamic_binarization": True, "likelihood": "gaussian"},
            "needs likelihood='bernoulli'",
        ),
        ({"dynamic_binarization": True}, r"needs data in \[0, 1\]"),
        ({"kl_warmup": 1.5}, "'kl_warmup' parameter"),
        ({"kl_schedule": "sudden"}, "'kl_schedule' parameter"),
        ({"likelihood_scale": 0.9e-3}, "'likelihood_scale' parameter"),
        ({"objective": "iwae", "capacity": 0.0}, "capacity is for objective='elbo'"),
        ({"network": "mlp-300"}, "'network' parameter"),
        ({"score_method": "density"}, "'score_method' parameter"),
    ],
)
def test_what_does_not_fit_is_named_before_any_work(X, parameters, message):
    vae = VAEEmbedder(**parameters)
    before = dict(vars(vae))
    with pytest.raises(ValueError, match=message):
        vae.fit(X)
    assert vars(vae) == before


def test_rounding_above_one_is_no_fault():
    X = load_breast_cancer().data
    scaled = MinMaxScaler().fit_transform(X)
    assert scaled.max() > 1.0
    vae = VAEEmbedder(2, likelihood="continuous_bernoulli", **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PosteriorCollapseWarning)
        assert np.isfinite(vae.fit(scaled).score_samples(scaled)).all()
    with pytest.raises(ValueError, match=r"X ranges from 0 to 1\.00001: 1\.00001 in"):
        vae.fit(scaled * 1.00001)


@pytest.mark.parametrize("make", [AutoencoderEmbedder, VAEEmbedder])
def test_latents_of_the_largest_float32_are_finite(X, make):
    embedder = make(2, **SMALL).fit((1e-3 * X).astype(np.float32))
    rows = np.full((2, 5), 1e-3, np.float32)
    rows[0] = np.float32(-3e38)
    latents = embedder.transform(rows)
    assert np.isfinite(latents).all()
    np.testing.assert_allclose(latents[1:], embedder.transform(rows[1:]), rtol=1e-5)


def test_memory_is_bounded_whatever_the_widths(monkeypatch):
    """No layer returns more than a chunk, nor is more kept than a bounded part."""
    X = np.random.default_rng(0).normal(size=(300, 2))
    vae = VAEEmbedder(1, **{**SMALL, "hidden_layer_sizes": (64,)}, likelihood_scale=0.3)
    vae.fit(X)
    monkeypatch.setattr(_estimates, "CHUNK_ELEMENTS", 2**13)
    monkeypatch.setattr(_estimates, "KEPT_ELEMENTS", 2**13)
    sizes = []
    for layer in vae.module_.decoder:
        layer.register_forward_hook(lambda *call: sizes.append(call[2].numel()))
    vae.log_likelihood(X, 500, random_state=0)
    assert max(sizes) <= 2**13
