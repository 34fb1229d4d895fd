"""AutoencoderEmbedder's networks, losses, noise and penalties."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from torch import nn

from latentsk import AutoencoderEmbedder

FAST = {"max_epochs": 4, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 6))
    return rows + 0.1 * rng.normal(size=rows.shape)


def images(n_rows=40, shape=(3, 9, 11)):
    return np.random.default_rng(0).integers(
        0, 256, size=(n_rows, int(np.prod(shape))), dtype=np.uint8
    )


def test_sizes_of_any_kind_of_sequence(X):
    fits = [
        AutoencoderEmbedder(2, hidden_layer_sizes=sizes, **FAST).fit_transform(X)
        for sizes in ((5, 4), [5, 4], np.array([5, 4]))
    ]
    np.testing.assert_array_equal(fits[0], fits[1])
    np.testing.assert_array_equal(fits[0], fits[2])


def test_sizes_and_the_decoder(X):
    embedder = AutoencoderEmbedder(
        2, hidden_layer_sizes=(5, 4), decoder_layer_sizes=[7], **FAST
    ).fit(X)
    shapes = [tuple(p.shape) for p in embedder.module_.parameters() if p.ndim == 2]
    assert shapes == [(5, 6), (4, 5), (2, 4), (7, 2), (6, 7)]
    mirrored = AutoencoderEmbedder(2, hidden_layer_sizes=(5, 4), **FAST).fit(X)
    shapes = [tuple(p.shape) for p in mirrored.module_.decoder.parameters()]
    assert shapes[::2] == [(4, 2), (5, 4), (6, 5)]


def test_a_convolutional_network_learns_images(digits):
    X, _ = digits
    X = X[:700].astype(np.uint8)
    embedder = AutoencoderEmbedder(
        8,
        network="conv",
        input_shape=(1, 8, 8),
        hidden_layer_sizes=(8, 16),
        max_epochs=40,
        learning_rate_init=5e-3,
        random_state=0,
        device="cpu",
    ).fit(X)
    error = np.mean(np.sum((embedder.reconstruct(X) - X) ** 2, axis=1))
    pca = PCA(8).fit(X)
    linear = np.sum((pca.inverse_transform(pca.transform(X)) - X) ** 2, axis=1)
    assert error < 0.8 * linear.mean()
    assert embedder.transform(X).dtype == np.float32


def test_images_of_any_size_and_many_channels():
    X = images()
    embedder = AutoencoderEmbedder(
        3, network="conv", input_shape=(3, 9, 11), hidden_layer_sizes=(4, 6, 8), **FAST
    ).fit(X)
    assert embedder.reconstruct(X).shape == X.shape
    channels = X.reshape(40, 3, 99)
    np.testing.assert_allclose(
        embedder.mean_, np.repeat(channels.mean(axis=(0, 2)), 99), rtol=1e-12
    )
    np.testing.assert_allclose(
        embedder.scale_, np.repeat(channels.std(axis=(0, 2)), 99), rtol=1e-12
    )
    twin = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(twin.transform(X), embedder.transform(X))


def own_modules():
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Linear(6, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 2)
    )
    decoder = nn.Sequential(nn.LayerNorm(2), nn.Linear(2, 6, bias=False))
    return encoder, decoder


def test_own_modules_are_copied_and_trained(X):
    encoder, decoder = own_modules()
    before = copy.deepcopy((encoder.state_dict(), decoder.state_dict()))
    embedder = AutoencoderEmbedder(encoder=encoder, decoder=decoder, **FAST)
    state = torch.get_rng_state()
    embedder.fit(X)
    assert torch.equal(torch.get_rng_state(), state)
    assert embedder.n_components_ == 2
    for module, kept in zip((encoder, decoder), before, strict=True):
        assert module.training
        for name, value in module.state_dict().items():
            assert torch.equal(value, kept[name])
    trained = embedder.module_.encoder[0].weight
    assert not torch.equal(trained, encoder[0].weight)
    again = clone(embedder).fit(X)
    np.testing.assert_array_equal(again.transform(X), embedder.transform(X))
    twin = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(twin.score_samples(X), embedder.score_samples(X))


def test_own_modules_share_weights_if_they_did(X):
    encoder, decoder = nn.Linear(6, 6), nn.Linear(6, 6)
    decoder.weight = encoder.weight
    embedder = AutoencoderEmbedder(encoder=encoder, decoder=decoder, **FAST).fit(X)
    weight = embedder.module_.encoder.weight
    assert torch.equal(weight, embedder.module_.decoder.weight)
    assert not torch.equal(weight, encoder.weight)
    twin = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(twin.score_samples(X), embedder.score_samples(X))


def test_hooks_are_obeyed_in_training_too(X):
    encoder = nn.Linear(6, 2)
    encoder.register_forward_hook(lambda module, args, output: 100 * output)
    options = {"encoder": encoder, "decoder": nn.Linear(2, 6), **FAST}
    embedder = AutoencoderEmbedder(**options, learning_rate_init=1e-12).fit(X)
    loss = embedder.history_[-1]["monitored_loss"]
    held_out = embedder.score_samples(X).mean()
    assert loss == pytest.approx(-held_out, rel=0.5)


def test_in_place_layers_change_no_data(X):
    encoder = nn.Sequential(nn.LeakyReLU(inplace=True), nn.Linear(6, 2))
    decoder = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(2, 6))
    rows = X.astype(np.float32)
    kept = rows.copy()
    embedder = AutoencoderEmbedder(
        encoder=encoder, decoder=decoder, standardize=False, **FAST
    ).fit(rows)
    Z = embedder.transform(rows)
    kept_Z = Z.copy()
    embedder.inverse_transform(Z)
    np.testing.assert_array_equal(rows, kept)
    np.testing.assert_array_equal(Z, kept_Z)


def test_modules_that_only_work_in_float32(X):
    class Strict(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(6, 2)

        def forward(self, rows):
            return self.inner(rows) @ torch.eye(2)

    embedder = AutoencoderEmbedder(
        encoder=Strict(), decoder=nn.Linear(2, 6), **FAST
    ).fit(X)
    assert embedder.transform(X).dtype == np.float32
    assert np.isfinite(embedder.score_samples(X)).all()


def test_a_pickle_holds_own_modules_whatever_the_parameters_are_now(X):
    encoder, decoder = own_modules()
    embedder = AutoencoderEmbedder(encoder=encoder, decoder=decoder, **FAST).fit(X)
    expected = embedder.score_samples(X)
    embedder.set_params(encoder=None, decoder=None)
    twin = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(twin.score_samples(X), expected)
    deep = copy.deepcopy(embedder)
    np.testing.assert_array_equal(deep.score_samples(X), expected)


def test_own_modules_are_forgotten_by_the_next_fit(X):
    encoder, decoder = own_modules()
    embedder = AutoencoderEmbedder(encoder=encoder, decoder=decoder, **FAST).fit(X)
    embedder.set_params(encoder=None, decoder=None, hidden_layer_sizes=(5,)).fit(X)
    twin = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(twin.score_samples(X), embedder.score_samples(X))


def test_a_failed_fit_leaves_own_modules_as_they_were(X):
    encoder, decoder = own_modules()
    embedder = AutoencoderEmbedder(encoder=encoder, decoder=decoder, **FAST).fit(X)
    before = embedder.score_samples(X)
    embedder.set_params(
        encoder=nn.Linear(6, 3), decoder=nn.Linear(3, 6), learning_rate_init=1e38
    )
    with pytest.raises(ArithmeticError):
        embedder.fit(X)
    twin = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(twin.score_samples(X), before)


def test_a_pickle_holds_buffers_that_are_not_in_the_state(X):
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 2)
            self.register_buffer("shift", torch.tensor(0.5), persistent=False)

        def forward(self, rows):
            return self.linear(rows) + self.shift

    embedder = AutoencoderEmbedder(
        encoder=Shifted(), decoder=nn.Linear(2, 6), **FAST
    ).fit(X)
    twin = copy.deepcopy(embedder)
    np.testing.assert_array_equal(twin.transform(X), embedder.transform(X))


def test_own_modules_for_images():
    encoder = nn.Sequential(nn.Conv2d(3, 2, 3, stride=4), nn.Tanh())
    decoder = nn.Sequential(
        nn.Linear(12, 30), nn.Unflatten(1, (30, 1)), nn.Linear(1, 9 * 11 // 10 + 1)
    )
    decoder.append(nn.Flatten(1)).append(nn.Linear(300, 3 * 9 * 11))
    X = images()
    embedder = AutoencoderEmbedder(
        encoder=encoder, decoder=decoder, input_shape=(3, 9, 11), **FAST
    ).fit(X)
    assert embedder.transform(X).shape == (40, 12)
    assert embedder.reconstruct(X).shape == X.shape


def test_stored_statistics_of_a_pretrained_network_stay(X):
    encoder, decoder = own_modules()
    norm = nn.BatchNorm1d(6)
    norm.running_mean.fill_(0.5)
    encoder = nn.Sequential(norm.eval(), encoder)
    embedder = AutoencoderEmbedder(encoder=encoder, decoder=decoder, **FAST).fit(X)
    assert torch.equal(embedder.module_.encoder[0].running_mean, norm.running_mean)
    assert not torch.equal(embedder.module_.encoder[0].weight, norm.weight)


@pytest.mark.parametrize("loss", ["absolute_error", "huber"])
def test_robust_losses_withstand_spikes(X, loss):
    rng = np.random.default_rng(1)
    spiked = X.copy()
    hit = rng.random(X.shape) < 0.03
    spiked[hit] += 30 * rng.choice([-1, 1], size=hit.sum())
    options = {**FAST, "max_epochs": 150, "hidden_layer_sizes": ()}
    options |= {"learning_rate_init": 2e-2, "standardize": False}
    clean = ~hit.any(axis=1)

    def error(name):
        model = AutoencoderEmbedder(2, loss=name, **options).fit(spiked)
        return np.median(np.abs(model.reconstruct(X[clean]) - X[clean]))

    assert error(loss) < 0.6 * error("squared_error")


def test_binary_cross_entropy_reconstructs_probabilities():
    rng = np.random.default_rng(0)
    patterns = rng.random((3, 12)) < 0.5
    X = patterns[rng.integers(0, 3, 300)].astype(np.float32)
    embedder = AutoencoderEmbedder(
        2,
        loss="binary_cross_entropy",
        max_epochs=60,
        validation_fraction=0.0,
        random_state=0,
        device="cpu",
    ).fit(X)
    rows = embedder.reconstruct(X)
    assert ((rows >= 0) & (rows <= 1)).all()
    assert np.mean((rows > 0.5) == X) > 0.99
    np.testing.assert_array_equal(embedder.scale_, 1.0)
    np.testing.assert_allclose(
        embedder.score_samples(X), -np.sum((rows - X) ** 2, axis=1), rtol=1e-5
    )
    # Its loss is what torch says it is, in nats.
    with torch.no_grad():
        logits, _ = embedder.module_(torch.from_numpy(X))
    expected = nn.functional.binary_cross_entropy_with_logits(
        logits, torch.from_numpy(X), reduction="sum"
    )
    found = embedder.history_[embedder.best_epoch_ - 1]["monitored_loss"]
    assert found == pytest.approx(float(expected) / len(X), rel=1e-5)


def test_data_outside_the_unit_interval_are_refused(X):
    embedder = AutoencoderEmbedder(loss="binary_cross_entropy")
    with pytest.raises(ValueError, match=r"needs data in \[0, 1\], but X ranges from"):
        embedder.fit(X)
    assert not hasattr(embedder, "mean_")


@pytest.mark.parametrize("noise", ["gaussian", "masking"])
def test_noise_teaches_to_denoise(noise, digits):
    X, _ = digits
    rng = np.random.default_rng(0)
    rows = X[:800]
    options = {"max_epochs": 60, "random_state": 0, "device": "cpu"}
    plain = AutoencoderEmbedder(64, **options).fit(rows)
    level = 0.5 if noise == "gaussian" else 0.3
    options |= {"noise": noise, "noise_level": level}
    taught = AutoencoderEmbedder(64, **options).fit(rows)
    if noise == "gaussian":
        noisy = rows + 0.5 * plain.scale_ * rng.normal(size=rows.shape)
    else:
        noisy = np.where(rng.random(rows.shape) < 0.3, plain.mean_, rows)

    def error(model):
        return np.mean(((model.reconstruct(noisy) - rows) / plain.scale_) ** 2)

    assert error(taught) < 0.93 * error(plain)


def test_the_contractive_penalty_shrinks_the_jacobian(X):
    def norm(weight):
        model = AutoencoderEmbedder(
            2, contractive_penalty=weight, **{**FAST, "max_epochs": 60}
        ).fit(X)
        rows = model._standardizer.apply(X, torch.float32)
        jacobian = torch.func.vmap(torch.func.jacrev(model.module_.encoder))(rows)
        return float(jacobian.detach().square().sum(dim=(1, 2)).mean())

    assert norm(1.0) < 0.3 * norm(0.0)


def test_the_sparse_penalty_shrinks_the_latents(X):
    def size(weight):
        options = {**FAST, "max_epochs": 60}
        model = AutoencoderEmbedder(4, sparse_penalty=weight, **options).fit(X)
        return np.abs(model.transform(X)).mean()

    assert size(1.0) < 0.3 * size(0.0)


def test_bfloat16_trains_nearly_as_well(X):
    options = {"max_epochs": 30, "random_state": 0, "device": "cpu"}
    full = AutoencoderEmbedder(2, **options).fit(X)
    half = AutoencoderEmbedder(2, precision="bfloat16", **options).fit(X)
    assert next(half.module_.parameters()).dtype == torch.float32
    assert not np.array_equal(half.transform(X), full.transform(X))
    assert half.score(X) > 1.5 * full.score(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"network": "conv"}, "needs input_shape"),
        (
            {"network": "conv", "input_shape": (1, 2, 3)},
            "too small for 3 stages, which need 8",
        ),
        ({"input_shape": (1, 2, 2)}, "stands for 4 features, but X has 6"),
        ({"input_shape": ("a", 2)}, "input_shape must hold positive integers"),
        ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes must hold positive"),
        ({"decoder_layer_sizes": (5, -1)}, "decoder_layer_sizes must hold positive"),
        ({"encoder": nn.Linear(6, 2)}, "decoder is None"),
        ({"decoder": nn.Linear(6, 2)}, "encoder is None"),
        ({"encoder": nn.Linear(5, 2), "decoder": nn.Linear(2, 6)}, "encoder cannot"),
        ({"encoder": nn.Linear(6, 2), "decoder": nn.Linear(3, 6)}, "decoder cannot"),
        (
            {"encoder": nn.Linear(6, 2), "decoder": nn.Linear(2, 5)},
            "decoder returns 5 values per row, but X has 6",
        ),
        (
            {"encoder": nn.BatchNorm1d(6), "decoder": nn.Linear(6, 6)},
            "depend on the other rows",
        ),
        (
            {"n_components": 3, "encoder": nn.Linear(6, 2), "decoder": nn.Linear(2, 6)},
            "n_components=3, but the encoder returns 2",
        ),
        ({"device": "tpu9"}, "device"),
        ({"device": "meta"}, "device must be"),
        ({"noise": "salt"}, "'noise' parameter"),
        ({"network": "rnn"}, "'network' parameter"),
        ({"max_time": 0}, "'max_time' parameter"),
    ],
)
def test_what_does_not_fit_is_named_before_any_work(X, parameters, message):
    embedder = AutoencoderEmbedder(**parameters)
    with pytest.raises(ValueError, match=message):
        embedder.fit(X)
    assert [name for name in vars(embedder) if name.endswith("_")] == []
