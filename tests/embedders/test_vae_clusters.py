"""How a mixture prior starts, and what clusters it comes to."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from latentsk import VAEEmbedder
from latentsk.exceptions import TrainingInterruptedWarning
from latentsk.training import _checkpoint
from latentsk.vae._network import VAE
from latentsk.vae._objective import VariationalBound

SMALL = {
    "n_components": 2,
    "hidden_layer_sizes": (64, 32),
    "prior": "mixture",
    "n_prior_components": 4,
    "max_epochs": 24,
    "n_iter_no_change": 24,
    "device": "cpu",
    "random_state": 0,
}
# With a scale for each feature, which takes some steps to learn.
LONGER = {**SMALL, "max_epochs": 40, "n_iter_no_change": 40}


def curved_kinds(n_rows=400, seed=0):
    """Return rows of four kinds, normal ones through a random nonlinear map."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(4, size=n_rows)
    centres = np.array([[-4.0, -4.0], [-4.0, 4.0], [4.0, -4.0], [4.0, 4.0]])
    codes = centres[kinds] + rng.normal(size=(n_rows, 2))
    weights, more = rng.normal(size=(2, 16)), rng.normal(size=(16, 8))
    return np.tanh(0.2 * codes @ weights) @ more, kinds


@pytest.fixture(scope="module")
def data():
    return curved_kinds()


def spread(vae):
    """Return the least distance between the means of two components."""
    means = vae.prior_means_
    distances = np.linalg.norm(means[:, None] - means, axis=2)
    return distances[np.triu_indices(len(means), 1)].min()


@pytest.mark.parametrize("seed", range(5))
def test_kinds_are_recovered_from_every_seed(data, seed):
    X, kinds = data
    vae = VAEEmbedder(**{**LONGER, "random_state": seed}).fit(X[:300])
    shares = np.bincount(kinds[:300]) / 300
    np.testing.assert_allclose(np.sort(vae.prior_weights_), np.sort(shares), atol=0.05)
    probabilities = vae.predict_component_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)
    clusters = vae.predict_component(X)
    np.testing.assert_array_equal(clusters, probabilities.argmax(axis=1))
    assert adjusted_rand_score(kinds[:300], clusters[:300]) > 0.95
    assert adjusted_rand_score(kinds[300:], clusters[300:]) > 0.95


def test_clusters_do_not_depend_on_the_order_of_rows_and_columns(data):
    X, _ = data
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(len(X)), rng.permutation(X.shape[1])
    found = VAEEmbedder(**LONGER).fit(X).predict_component(X)
    again = X[rows][:, columns]
    permuted = VAEEmbedder(**LONGER).fit(again).predict_component(again)
    assert adjusted_rand_score(found[rows], permuted) > 0.95


def test_components_start_after_a_quarter_of_the_epochs(data, monkeypatch):
    X, _ = data
    at = []
    start_from = VAE.start_from

    def watched(self, *arguments):
        at.append(self.prior.means.detach().clone())
        start_from(self, *arguments)

    monkeypatch.setattr(VAE, "start_from", watched)
    vae = VAEEmbedder(**SMALL).fit(X)
    # All components are one normal distribution until then.
    assert len(at) == 1
    assert (at[0] == at[0][0]).all()
    weights = [epoch["train_kl_weight"] for epoch in vae.history_]
    np.testing.assert_allclose(weights, [0.1] * 6 + [1.0] * 18)
    assert vae.best_epoch_ > 6
    assert vae.history_[-1]["epoch"] == 24
    vae.set_params(warm_start=True, max_epochs=4, learning_rate_init=1e-9).fit(X)
    assert len(at) == 1
    assert [epoch["train_kl_weight"] for epoch in vae.history_] == [1.0] * 4


def test_a_capacity_is_whole_from_the_first_epoch(data):
    vae = VAEEmbedder(capacity=1.0, **{**SMALL, "max_epochs": 8}).fit(data[0])
    assert {epoch["train_kl_weight"] for epoch in vae.history_} == {1.0}


class StopAfter:
    """A callback that stops every training after its first epochs."""

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs
        self.count = 0

    def setup(self, estimator, context):
        self.count = 0

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **details):
        pass

    def on_fit_task_end(self, estimator, context, **details):
        self.count += 1
        return self.count >= self.n_epochs


def test_a_training_that_ends_early_has_components_all_the_same(data):
    X, kinds = data
    vae = VAEEmbedder(**SMALL).set_callbacks(StopAfter(5)).fit(X)
    assert len(vae.history_) == 5
    assert adjusted_rand_score(kinds, vae.predict_component(X)) > 0.9


def test_so_has_one_that_is_interrupted(data, monkeypatch):
    X, kinds = data
    loss, steps = VariationalBound.loss, []

    def interrupt(self, *arguments):
        steps.append(1)
        if len(steps) > 100:
            raise KeyboardInterrupt
        return loss(self, *arguments)

    monkeypatch.setattr(VariationalBound, "loss", interrupt)
    with pytest.warns(TrainingInterruptedWarning):
        vae = VAEEmbedder(**SMALL).fit(X)
    assert len(vae.history_) < 6
    assert adjusted_rand_score(kinds, vae.predict_component(X)) > 0.9


@pytest.mark.parametrize("epochs_before", [2, 3, 4])
def test_a_training_resumes_around_the_start(
    data, tmp_path, monkeypatch, epochs_before
):
    X, _ = data
    options = {**SMALL, "checkpoint_interval": epochs_before, "max_epochs": 12}
    whole = VAEEmbedder(**options).fit(X)
    path = tmp_path / "training"
    write = _checkpoint.Checkpoint.write

    class Stop(Exception):
        pass

    def stop(self, *arguments, **settings):
        write(self, *arguments, **settings)
        raise Stop

    monkeypatch.setattr(_checkpoint.Checkpoint, "write", stop)
    with pytest.raises(Stop):
        VAEEmbedder(checkpoint=path, **options).fit(X)
    monkeypatch.undo()
    resumed = VAEEmbedder(checkpoint=path, **options).fit(X)
    np.testing.assert_array_equal(resumed.prior_means_, whole.prior_means_)
    np.testing.assert_array_equal(resumed.transform(X), whole.transform(X))
    assert resumed.best_epoch_ == whole.best_epoch_


def test_a_first_chunk_places_the_components(data):
    X, _ = data
    vae = VAEEmbedder(learning_rate_init=1e-9, **SMALL).partial_fit(X[:200])
    assert spread(vae) > 0.0
    means = vae.prior_means_.copy()
    vae.partial_fit(X[200:])
    np.testing.assert_allclose(vae.prior_means_, means, atol=1e-5)


def test_few_different_rows_share_components():
    X = np.tile(np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 5.0], [3.0, 3.0, 5.0]]), (20, 1))
    vae = VAEEmbedder(**SMALL).fit(X)
    assert np.isfinite(vae.score_samples(X)).all()
    assert vae.prior_weights_.sum() == pytest.approx(1.0)


def test_a_mixture_has_no_more_components_than_rows(data):
    X, _ = data
    vae = VAEEmbedder(**{**SMALL, "n_prior_components": 12})
    with pytest.raises(ValueError, match="n_prior_components=12, but X has 11 rows"):
        vae.fit(X[:11])
    assert not hasattr(vae, "module_")
    automatic = VAEEmbedder(**{**SMALL, "n_prior_components": "auto"}).fit(X[:7])
    assert automatic.prior_weights_.shape == (7,)
    vae.set_params(n_prior_components=11).fit(X[:11])
    assert np.isfinite(vae.score_samples(X)).all()
    vae.partial_fit(X[:3])  # a chunk has fewer rows than components


def accuracy(labels, clusters):
    counts = np.zeros((10, 10), dtype=int)
    np.add.at(counts, (clusters, labels), 1)
    return counts[linear_sum_assignment(-counts)].sum() / len(labels)


@pytest.mark.slow
def test_digits_are_clustered_in_nearly_the_same_way_from_every_seed():
    X, labels = load_digits(return_X_y=True)
    found = [
        VAEEmbedder(
            10,
            prior="mixture",
            likelihood="bernoulli",
            dynamic_binarization=True,
            device="cpu",
            random_state=seed,
        )
        .fit(X / 16.0)
        .predict_component(X / 16.0)
        for seed in range(3)
    ]
    for clusters in found[1:]:
        assert adjusted_rand_score(found[0], clusters) > 0.7
    assert min(accuracy(labels, clusters) for clusters in found) > 0.7
