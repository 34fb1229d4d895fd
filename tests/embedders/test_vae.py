"""VAEEmbedder, not public yet: its numbers mean what their names say."""

import pickle

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from latentsk import PCAEmbedder
from latentsk.embedders._vae import VAEEmbedder

SMALL = {
    "hidden_layer_sizes": (8,),
    "max_epochs": 10,
    "random_state": 0,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 5))
    return rows + 0.5 * rng.normal(size=rows.shape) + 7.0


@parametrize_with_checks([VAEEmbedder(**{**SMALL, "max_epochs": 5})])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_a_linear_vae_comes_to_the_likelihood_of_probabilistic_pca(X):
    rows = (X - X.mean(axis=0)) / X.std(axis=0)
    vae = VAEEmbedder(
        2,
        hidden_layer_sizes=(),
        standardize=False,
        max_epochs=600,
        n_iter_no_change=600,
        learning_rate_init=1e-2,
        n_score_samples=200,
        validation_fraction=0.0,
        random_state=0,
        device="cpu",
    ).fit(rows)
    exact = PCAEmbedder(2).fit(rows)
    assert vae.score(rows) == pytest.approx(exact.score(rows), abs=0.15)
    mean, error = vae.log_likelihood(rows[:50], 2_000)
    bound = vae.set_params(score_method="iwae").score_samples(rows[:50])
    np.testing.assert_allclose(bound, mean, atol=0.3)
    assert error.max() < 0.1


@pytest.mark.parametrize("method", ["elbo", "iwae", "reconstruction"])
def test_scores_are_in_nats_of_the_original_units(X, method):
    vae = VAEEmbedder(2, **SMALL, score_method=method).fit(X)
    larger = VAEEmbedder(2, **SMALL, score_method=method).fit(1_000 * X)
    np.testing.assert_allclose(
        larger.score_samples(1_000 * X),
        vae.score_samples(X) - 5 * np.log(1_000),
        rtol=1e-4,
        atol=1e-3,
    )


@pytest.mark.parametrize("method", ["elbo", "iwae", "reconstruction", "kl"])
def test_a_row_s_score_depends_on_it_alone(X, method):
    vae = VAEEmbedder(2, **SMALL, score_method=method, dropout=0.3).fit(X)
    scores = vae.score_samples(X)
    np.testing.assert_array_equal(vae.score_samples(X), scores)
    np.testing.assert_allclose(vae.score_samples(X[::-1])[::-1], scores, rtol=1e-10)
    alone = np.concatenate([vae.score_samples(row[None]) for row in X[:20]])
    np.testing.assert_allclose(alone, scores[:20], rtol=1e-10)


def test_the_bounds_lie_below_the_likelihood(X):
    vae = VAEEmbedder(2, **{**SMALL, "max_epochs": 60}, n_score_samples=100).fit(X)
    exact, error = vae.log_likelihood(X, 4_000)
    gap = exact.mean() - vae.score(X)
    assert gap > -3 * error.mean()
    vae.set_params(score_method="iwae")
    assert -3 * error.mean() < exact.mean() - vae.score(X) < gap


def test_beta_changes_the_model(X):
    plain = VAEEmbedder(2, **{**SMALL, "max_epochs": 60}).fit(X)
    pressed = VAEEmbedder(2, **{**SMALL, "max_epochs": 60}, beta=10.0).fit(X)

    def divergence(vae):
        return -vae.set_params(score_method="kl").score(X)

    assert 0 < divergence(pressed) < 0.5 * divergence(plain)


@pytest.mark.parametrize("value", [1e20, -3e38])
def test_the_most_extreme_rows_are_outliers(X, value):
    rows = (X * 1e-3).astype(np.float32)
    vae = VAEEmbedder(2, **SMALL).fit(rows)
    extreme = rows[:2].copy()
    extreme[0, 0] = value
    assert np.isfinite(vae.score_samples(extreme)).all()
    assert vae.predict(extreme).tolist() == [-1, 1]


def test_paths_through_the_latent_space(X):
    vae = VAEEmbedder(3, **SMALL).fit(X)
    latents = vae.transform(X[:2])
    rows = vae.interpolate(X[0], X[1], 5)
    share = np.linspace(0, 1, 5)[:, None]
    line = (1 - share) * latents[0] + share * latents[1]
    np.testing.assert_allclose(rows, vae.inverse_transform(line))
    arc = vae.interpolate(X[0], X[1], 5, method="slerp")
    np.testing.assert_allclose(arc[[0, -1]], rows[[0, -1]])
    moved = np.repeat(latents[:1], 3, axis=0)
    moved[:, 1] = [-1.0, 0.0, 1.0]
    np.testing.assert_allclose(
        vae.traverse(X[0], 1, [-1, 0, 1]), vae.inverse_transform(moved)
    )
    with pytest.raises(ValueError, match="dimension must be an integer from 0 to 2"):
        vae.traverse(X[0], 3, [0.0])
    with pytest.raises(ValueError, match="n_steps must be an integer of at least 2"):
        vae.interpolate(X[0], X[1], 1)
    with pytest.raises(ValueError, match="method must be one of"):
        vae.interpolate(X[0], X[1], method="cubic")


def test_the_report_finds_dimensions_that_are_not_used():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 8))
    X += 0.3 * rng.normal(size=X.shape)
    # The rows have two dimensions and noise: some of six latents are of no use.
    vae = VAEEmbedder(6, **{**SMALL, "max_epochs": 200}).fit(X)
    found = vae.latent_report(X)
    assert 2 <= found.n_active <= 4
    idle = found.dimensions[~found.dimensions["active"]]
    assert idle["kl"].max() < 0.1 * found.kl
    scores = -vae.set_params(score_method="kl").score(X)
    assert found.kl == pytest.approx(scores)


@pytest.mark.parametrize(
    "settings",
    [
        {"likelihood": "laplace"},
        {"likelihood": "student_t", "likelihood_scale": "feature"},
        {"likelihood_scale": 0.5},
        {"objective": "iwae", "n_samples": 3},
        {"kl_warmup": 0.5},
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
