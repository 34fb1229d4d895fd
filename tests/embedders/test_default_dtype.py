"""Neural embedders rely on no global setting of torch."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from latentsk import AutoencoderEmbedder, VAEEmbedder, VQVAEEmbedder

SMALL = {"max_epochs": 2, "random_state": 0, "device": "cpu"}
SIZES = {"hidden_layer_sizes": (6,)}
IMAGES = {"network": "conv", "input_shape": (1, 2, 3), "hidden_layer_sizes": (3,)}


def custom(n_outputs):
    with default_dtype(torch.float32):
        torch.manual_seed(0)
        encoder = nn.Sequential(
            nn.Linear(6, 5), nn.Dropout(0.3), nn.Linear(5, n_outputs)
        )
        return {"encoder": encoder, "decoder": nn.Linear(2, 6)}


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


CASES = {
    "perceptron": lambda: AutoencoderEmbedder(2, dropout=0.2, **SIZES, **SMALL),
    "denoising": lambda: AutoencoderEmbedder(
        2, noise="gaussian", normalize=True, contractive_penalty=0.1, **SIZES, **SMALL
    ),
    "images": lambda: AutoencoderEmbedder(2, dropout=0.2, **IMAGES, **SMALL),
    "custom": lambda: AutoencoderEmbedder(2, **custom(2), **SMALL),
    "vae": lambda: VAEEmbedder(2, kl_warmup=0.5, dropout=0.1, **SIZES, **SMALL),
    "iwae": lambda: VAEEmbedder(
        2,
        objective="iwae",
        doubly_reparameterized=True,
        likelihood="continuous_bernoulli",
        **SIZES,
        **SMALL,
    ),
    "vae of images": lambda: VAEEmbedder(
        2, dynamic_binarization=True, **IMAGES, **SMALL
    ),
    "custom vae": lambda: VAEEmbedder(2, **custom(4), **SMALL),
    "codes": lambda: VQVAEEmbedder(8, n_positions=2, dropout=0.1, **SIZES, **SMALL),
    "levels": lambda: VQVAEEmbedder(
        9, quantizer="fsq", prior="independent", **IMAGES, **SMALL
    ),
}


def answers(make):
    X = np.random.default_rng(0).uniform(size=(80, 6))
    embedder = make().fit(X)
    embedder.partial_fit(X[:40])
    drawn = embedder.sample(3, random_state=0) if hasattr(embedder, "sample") else 0.0
    dtypes = {p.dtype for p in embedder.module_.parameters()}
    assert dtypes == {torch.float32}
    return embedder.transform(X), embedder.score_samples(X), drawn


@pytest.mark.filterwarnings("ignore::latentsk.exceptions.PosteriorCollapseWarning")
@pytest.mark.parametrize("name", list(CASES))
def test_torch_s_default_dtype_changes_nothing(name):
    expected = answers(CASES[name])
    with default_dtype(torch.float64):
        found = answers(CASES[name])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.filterwarnings("ignore::latentsk.exceptions.PosteriorCollapseWarning")
@pytest.mark.parametrize("name", ["custom", "custom vae"])
def test_dropout_of_custom_modules_leaves_the_global_generator_alone(name):
    expected = answers(CASES[name])
    embedder = CASES[name]()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    embedder.fit(np.random.default_rng(0).uniform(size=(80, 6)))
    assert torch.equal(torch.get_rng_state(), before)
    for ours, theirs in zip(answers(CASES[name]), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_history_has_the_named_terms():
    X = np.random.default_rng(0).uniform(size=(80, 6))
    embedder = VAEEmbedder(
        2, beta=3.0, kl_warmup=1.0, **SIZES, **{**SMALL, "max_epochs": 4}
    ).fit(X)
    for epoch in embedder.history_:
        whole = epoch["validation_reconstruction"] + 3.0 * epoch["validation_kl"]
        assert epoch["validation_loss"] == pytest.approx(whole, rel=1e-5)
        assert epoch["validation_kl_weight"] == 3.0
    weights = [epoch["train_kl_weight"] for epoch in embedder.history_]
    steps = np.arange(5 * 4).reshape(4, 5) / 20  # 72 rows in batches of 16
    np.testing.assert_allclose(weights, 3.0 * steps.mean(axis=1), rtol=1e-5)
    embedder.set_params(validation_fraction=0.0).fit(X)
    assert embedder.history_[0]["validation_kl"] is None
    assert embedder.history_[0]["train_kl"] > 0
