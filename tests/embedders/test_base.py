"""The base's contract, shown by two small neural embedders besides PCAEmbedder.

They are no part of the package; they hold the base to what neural embedders need:
fitted state that is not an array, no generation, scores of their own, streaming.
"""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_array, validate_data

from latentsk import LatentIndex
from latentsk._random import numpy_generator
from latentsk.embedders._base import BaseEmbedder


class _TorchEmbedder(BaseEmbedder):
    """A linear network each way, trained by full-batch gradient descent."""

    def __init__(self, n_components=1, *, contamination="auto", random_state=0):
        self.n_components = n_components
        self.contamination = contamination
        self.random_state = random_state

    def _validate(self, X, *, reset, method):
        least = 2 if method in ("fit", "fit_transform") else 1
        return validate_data(
            self, X, reset=reset, dtype=[np.float64], ensure_min_samples=least
        )

    def _validate_latents(self, Z):
        return check_array(Z, dtype=[np.float64])

    def _fit(self, X):
        self.mean_, self.scale_ = X.mean(axis=0), X.std(axis=0)
        self.scale_[self.scale_ == 0] = 1.0
        generator = torch.Generator().manual_seed(self.random_state)
        self.module_ = self._make_module(X.shape[1])
        for weight in self.module_.parameters():
            torch.nn.init.normal_(weight, std=0.1, generator=generator)
        optimizer = torch.optim.Adam(self.module_.parameters(), lr=0.05)
        rows = self._to_network(X)
        for _ in range(60):
            optimizer.zero_grad()
            self._losses(rows, generator).mean().backward()
            optimizer.step()
        self._set_offset(self._score_samples(X))

    def _fit_transform(self, X):
        self._fit(X)
        return self._transform(X)

    def _reconstruct(self, X):
        return self._inverse_transform(self._transform(X))

    def inverse_transform(self, X):
        return self._inverse_transform(self._checked_latents(X))

    def _to_network(self, X):
        return torch.from_numpy((X - self.mean_) / self.scale_)

    def _rebuild_network(self):
        return self._make_module(self.n_features_in_)

    @property
    def _n_features_out(self):
        return self.n_components


class ToyAutoencoder(_TorchEmbedder):
    def _make_module(self, width):
        linear = torch.nn.Linear
        return torch.nn.ModuleDict(
            {
                "encoder": linear(width, self.n_components, dtype=torch.float64),
                "decoder": linear(self.n_components, width, dtype=torch.float64),
            }
        )

    def _losses(self, rows, generator):
        network = self.module_
        return ((network["decoder"](network["encoder"](rows)) - rows) ** 2).sum(dim=1)

    def _transform(self, X):
        with torch.no_grad():
            return self.module_["encoder"](self._to_network(X)).numpy()

    def _inverse_transform(self, Z):
        with torch.no_grad():
            rows = self.module_["decoder"](torch.from_numpy(Z)).numpy()
        return rows * self.scale_ + self.mean_

    def _score_samples(self, X):
        with torch.no_grad():
            return -self._losses(self._to_network(X), None).numpy()


class ToyVAE(ToyAutoencoder):
    """Its ELBO samples when training, and takes the posterior mean when scoring."""

    def _losses(self, rows, generator):
        means = self.module_["encoder"](rows)
        noise = 0.0
        if generator is not None:
            noise = torch.randn(means.shape, generator=generator, dtype=means.dtype)
        decoded = self.module_["decoder"](means + 0.1 * noise)
        kl = 0.5 * (means**2).sum(dim=1)
        return ((decoded - rows) ** 2).sum(dim=1) + kl

    def sample(self, n_samples=1, random_state=None):
        generator = numpy_generator(random_state)
        latents = generator.standard_normal((n_samples, self.n_components))
        return self._inverse_transform(latents)


TOYS = [ToyAutoencoder, ToyVAE]


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(100, 1)) @ rng.normal(size=(1, 4)) + 5.0


@parametrize_with_checks([ToyAutoencoder(), ToyVAE()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("toy", TOYS)
def test_public_methods_stand_on_the_private_twins(X, toy):
    embedder = toy().fit(X)
    np.testing.assert_allclose(
        embedder.reconstruct(X), embedder.inverse_transform(embedder.transform(X))
    )
    np.testing.assert_allclose(embedder.score(X), embedder.score_samples(X).mean())
    np.testing.assert_allclose(toy().fit_transform(X), embedder.transform(X))
    np.testing.assert_array_equal(toy().fit_predict(X), embedder.predict(X))


@pytest.mark.parametrize("toy", TOYS)
def test_pickle_stands_on_the_state(X, toy):
    embedder = toy().fit(X)
    copy = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(copy.score_samples(X), embedder.score_samples(X))
    assert isinstance(embedder._get_state()["module_"], dict)


def test_only_what_an_embedder_can_do_is_shown(X):
    assert not hasattr(ToyAutoencoder(), "sample")
    assert not hasattr(ToyAutoencoder(), "partial_fit")
    assert ToyVAE().fit(X).sample(3).shape == (3, 4)


@pytest.mark.parametrize("toy", TOYS)
def test_a_failed_fit_changes_nothing(X, toy, monkeypatch):
    embedder = toy().fit(X)
    before = dict(vars(embedder))

    def diverge(*_):
        raise RuntimeError("diverged")

    monkeypatch.setattr(toy, "_losses", diverge)
    with pytest.raises(RuntimeError, match="diverged"):
        embedder.fit(X[:, :2])
    assert vars(embedder) == before
    fresh = clone(embedder)
    with pytest.raises(RuntimeError, match="diverged"):
        fresh.fit(X)
    with pytest.raises(NotFittedError):
        fresh.transform(X)


@pytest.mark.parametrize("toy", TOYS)
def test_an_index_takes_any_embedder(X, toy):
    index = LatentIndex(toy()).fit(X)
    assert (index.kneighbors(X, 1)[1][:, 0] == np.arange(100)).mean() > 0.95
