"""VAEEmbedder: its numbers mean what their names say."""

import warnings

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from latentsk import PCAEmbedder, VAEEmbedder
from latentsk.exceptions import PosteriorCollapseWarning
from latentsk.vae._estimates import independent_noise

SMALL = {
    "hidden_layer_sizes": (8,),
    "max_epochs": 10,
    "random_state": 0,
    "device": "cpu",
}


@parametrize_with_checks(
    [
        VAEEmbedder(**{**SMALL, "max_epochs": 8}),
        VAEEmbedder(
            2,
            **{**SMALL, "max_epochs": 10},
            likelihood="laplace",
            objective="iwae",
            score_method="iwae",
            contamination=0.1,
        ),
    ]
)
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


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("method", ["elbo", "iwae", "reconstruction", "kl"])
def test_a_row_s_score_depends_on_it_alone(X, method, dtype, rtol):
    rows = X.astype(dtype)
    vae = VAEEmbedder(2, **SMALL, score_method=method, dropout=0.3).fit(rows)
    scores = vae.score_samples(rows)
    assert scores.dtype == dtype
    np.testing.assert_array_equal(vae.score_samples(rows), scores)
    np.testing.assert_allclose(vae.score_samples(rows[::-1])[::-1], scores, rtol=rtol)
    alone = np.concatenate([vae.score_samples(row[None]) for row in rows[:20]])
    np.testing.assert_allclose(alone, scores[:20], rtol=rtol)
    labels = vae.predict(rows)
    np.testing.assert_array_equal(vae.predict(rows), labels)


def test_the_bounds_lie_below_the_likelihood(X):
    vae = VAEEmbedder(2, **{**SMALL, "max_epochs": 60}, n_score_samples=100).fit(X)
    exact, error = vae.log_likelihood(X, 4_000)
    gap = exact.mean() - vae.score(X)
    assert gap > -3 * error.mean()
    vae.set_params(score_method="iwae")
    assert -3 * error.mean() < exact.mean() - vae.score(X) < gap


def test_beta_changes_the_model(X):
    plain = VAEEmbedder(2, **{**SMALL, "max_epochs": 60}).fit(X)
    pressed = VAEEmbedder(2, **{**SMALL, "max_epochs": 60}, beta=3.0).fit(X)

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


@pytest.mark.parametrize("batch", [1, 7, 300])
@pytest.mark.parametrize("method", ["elbo", "iwae", "reconstruction"])
def test_chunks_change_nothing(X, method, batch, monkeypatch):
    from latentsk.training import _inference
    from latentsk.vae import _estimates

    vae = VAEEmbedder(2, **SMALL, score_method=method, n_score_samples=11).fit(X)
    scores = vae.score_samples(X)
    values, errors = vae.log_likelihood(X, 30, random_state=0)
    monkeypatch.setattr(_estimates, "CHUNK_ELEMENTS", 5 * batch * 4)
    np.testing.assert_allclose(vae.score_samples(X), scores, rtol=1e-10)
    in_chunks, _ = vae.log_likelihood(X, 30, random_state=0)
    assert in_chunks.mean() == pytest.approx(values.mean(), abs=5 * errors.mean() / 17)
    in_batches = _inference.in_batches
    monkeypatch.setattr(
        _inference, "in_batches", lambda f, rows, _: in_batches(f, rows, batch)
    )
    np.testing.assert_allclose(vae.score_samples(X), scores, rtol=1e-10)


def test_the_elbo_is_its_formula_for_every_row(X):
    """Against a plain loop in float64 over many independent samples."""
    vae = VAEEmbedder(2, **SMALL, n_score_samples=2_000).fit(X)
    mean, deviation = vae.transform_distribution(X[:3])
    scale = vae.likelihood_scale_
    divergence = 0.5 * (mean**2 + deviation**2 - 1 - 2 * np.log(deviation)).sum(axis=1)
    noise = np.random.default_rng(1).normal(size=(20_000, 2))
    for k in range(3):
        decoded = vae.inverse_transform(mean[k] + deviation[k] * noise)
        terms = norm(decoded, scale).logpdf(X[k]).sum(axis=1)
        expected = terms.mean() - divergence[k]
        error = terms.std() / 20_000**0.5
        assert vae.score_samples(X[k : k + 1]) == pytest.approx(expected, abs=5 * error)
    vae.set_params(score_method="kl")
    np.testing.assert_allclose(-vae.score_samples(X[:3]), divergence)


def test_the_threshold_is_in_the_unit_of_the_score(X):
    for method in ("elbo", "iwae", "reconstruction", "kl"):
        vae = VAEEmbedder(2, **SMALL, score_method=method).fit(X)
        np.testing.assert_allclose(
            vae.decision_function(X), vae.score_samples(X) - vae.offset_
        )


def test_log_likelihood_draws_for_every_row_by_itself(X):
    vae = VAEEmbedder(2, **SMALL).fit(X)
    twice = np.repeat(X[:1], 200, axis=0)
    values, errors = vae.log_likelihood(twice, 50, random_state=0)
    assert values.std() == pytest.approx(errors.mean(), rel=0.35)
    again, _ = vae.log_likelihood(twice, 50, random_state=0)
    np.testing.assert_array_equal(again, values)
    other, _ = vae.log_likelihood(twice, 50, random_state=1)
    assert (other != values).all()
    with pytest.raises(ValueError, match="n_samples must be an integer of at least 2"):
        vae.log_likelihood(X, 1)


def test_the_scale_of_the_likelihood_is_in_original_units(X):
    factors = np.array([1.0, 10.0, 100.0, 1.0, 1.0])
    for scale in ("shared", "feature", 0.5):
        vae = VAEEmbedder(2, **SMALL, likelihood_scale=scale).fit(X)
        larger = VAEEmbedder(2, **SMALL, likelihood_scale=scale).fit(X * factors)
        expected = factors * vae.likelihood_scale_
        np.testing.assert_allclose(larger.likelihood_scale_, expected, rtol=1e-4)
    np.testing.assert_allclose(vae.likelihood_scale_, 0.5 * X.std(axis=0), rtol=1e-5)


def test_a_constant_column_keeps_the_scales_above_their_floor(X):
    rows = np.column_stack([X, np.full(300, 3.0)])
    vae = VAEEmbedder(
        2, **{**SMALL, "max_epochs": 100}, likelihood_scale="feature"
    ).fit(rows)
    assert vae.likelihood_scale_[5] >= 1e-3
    assert vae.likelihood_scale_[5] < 0.1 * vae.likelihood_scale_[:5].min()
    scores = vae.score_samples(rows)
    assert np.isfinite(scores).all()
    rows[0, 5] = 4.0
    assert vae.score_samples(rows[:1])[0] < scores.min() - 100


def test_bfloat16_trains_nearly_as_well(X):
    options = {**SMALL, "max_epochs": 60}
    exact = VAEEmbedder(2, **options).fit(X)
    rounded = VAEEmbedder(2, **options, precision="bfloat16").fit(X)
    assert rounded.score(X) == pytest.approx(exact.score(X), abs=0.3)


def test_balanced_numbers_make_the_elbo_of_a_line_exact(X):
    """Its log-density is a square in the one latent: two mirrored samples do."""
    options = {**SMALL, "hidden_layer_sizes": ()}
    vae = VAEEmbedder(1, **options, n_score_samples=2).fit(X)
    scores = vae.score_samples(X)
    more = vae.set_params(n_score_samples=64).score_samples(X)
    np.testing.assert_allclose(more, scores, rtol=1e-9)


def test_weighted_scores_take_independent_numbers(X):
    vae = VAEEmbedder(2, **SMALL, score_method="iwae", n_score_samples=6).fit(X)
    noise = independent_noise(6, 2, torch.Generator().manual_seed(0)).numpy()
    mean, deviation = vae.transform_distribution(X[:5])
    latents = mean + deviation * noise
    decoded = vae.inverse_transform(latents.reshape(-1, 2)).reshape(6, 5, 5)
    weights = norm(decoded, vae.likelihood_scale_).logpdf(X[:5]).sum(axis=-1)
    weights += norm().logpdf(latents).sum(axis=-1)
    weights -= norm(mean, deviation).logpdf(latents).sum(axis=-1)
    expected = logsumexp(weights, axis=0) - np.log(6)
    np.testing.assert_allclose(vae.score_samples(X[:5]), expected, rtol=1e-6)


def test_log_likelihood_of_extreme_rows_is_finite(X):
    vae = VAEEmbedder(2, **SMALL).fit(X.astype(np.float32))
    far = np.full((1, 5), 1e30, np.float32)
    value, _ = vae.log_likelihood(far, 10)
    assert value[0] == np.finfo(np.float32).min
    first, _ = vae.log_likelihood(X, 10)
    again, _ = vae.log_likelihood(X, 10)  # the estimator's own random_state is an int
    np.testing.assert_array_equal(again, first)


def test_rows_have_the_dtype_of_their_latents(X):
    vae = VAEEmbedder(2, **SMALL).fit(X)
    latents = vae.transform(X)
    exact, rounded = (
        vae.inverse_transform(latents.astype(dtype)) for dtype in ("f8", "f4")
    )
    assert (exact.dtype, rounded.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(rounded, exact, rtol=1e-5)


# Scales of the likelihood


@pytest.mark.parametrize(
    ("parameters", "shape", "learned"),
    [
        ({}, (60, 16), 16),
        ({"standardize": False}, (60, 16), 1),
        ({"input_shape": (1, 4, 4)}, (60, 16), 1),
        ({"network": "conv", "hidden_layer_sizes": (4,)}, (60, 4, 4), 1),
        ({}, (60, 4, 4), 1),
        ({"likelihood_scale": "feature"}, (60, 4, 4), 16),
        ({"likelihood_scale": "shared"}, (60, 16), 1),
        ({"condition": [0]}, (60, 16), 15),
    ],
)
def test_which_scales_are_learned(parameters, shape, learned):
    X = np.random.default_rng(0).normal(size=shape)
    options = {"max_epochs": 2, "random_state": 0, **parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PosteriorCollapseWarning)
        vae = VAEEmbedder(2, **options).fit(X)
    assert vae.module_.raw_log_scale.shape == (learned,)


@pytest.mark.slow
def test_the_default_finds_the_density_of_features_with_unlike_noise():
    """Linear data: the exact likelihood is that of a normal distribution."""
    rng = np.random.default_rng(0)
    noise = np.array([0.05, 0.1, 0.2, 0.3, 0.5, 0.8])
    loadings = rng.normal(size=(2, 6))

    def drawn(n):
        return rng.normal(size=(n, 2)) @ loadings + noise * rng.normal(size=(n, 6))

    train, test = drawn(4_000), drawn(1_000)
    covariance = loadings.T @ loadings + np.diag(noise**2)
    exact = stats.multivariate_normal(np.zeros(6), covariance).logpdf(test).mean()
    vae = VAEEmbedder(2, random_state=0).fit(train)
    found, _ = vae.log_likelihood(test, n_samples=200, random_state=0)
    assert exact - 0.1 < found.mean() < exact + 0.02
    np.testing.assert_allclose(vae.likelihood_scale_[1:], noise[1:], rtol=0.2)


@pytest.mark.parametrize("scale", ["auto", "shared"])
@pytest.mark.parametrize("change", [1.0, 100.0])
def test_other_columns_count_beside_a_constant_that_changed(scale, change):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6))
    X = np.column_stack([X + 0.2 * rng.normal(size=X.shape), np.full(500, 7.0)])
    options = {"max_epochs": 30, "random_state": 0, "likelihood_scale": scale}
    vae = VAEEmbedder(2, **options).fit(X[:400])
    changed = X[400:].copy()
    changed[:, 6] += change
    before, after = vae.score_samples(X[400:]), vae.score_samples(changed)
    assert (after < before - 3.0 * change).all()
    # All rows are lower by the same number.
    np.testing.assert_allclose(after - before, (after - before).mean(), rtol=1e-9)
    np.testing.assert_array_equal(vae.transform(changed), vae.transform(X[400:]))
    np.testing.assert_array_equal(vae.reconstruct(changed)[:, 6], 7.0)


def test_a_column_that_is_constant_at_first_is_learned_later():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 1)) @ np.array([[1.0, -1.0, 2.0]])
    X += 0.1 * rng.normal(size=X.shape)
    first = X[:50].copy()
    first[:, 2] = 0.0
    vae = VAEEmbedder(1, random_state=0, learning_rate_init=1e-2).partial_fit(first)
    assert (vae.module_.decoder[-1].weight[2] == 0).all()
    for _ in range(8):
        vae.partial_fit(X)
    errors = np.square(vae.reconstruct(X) - X).mean(axis=0) / X.var(axis=0)
    assert errors.max() < 0.1


def test_duplicates_and_codes_leave_a_finite_score():
    """Columns that are reconstructed exactly: their scales fall to the floor."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 4))
    X += 0.3 * rng.normal(size=X.shape)
    codes = np.eye(3)[np.digitize(X[:, 0], [-1, 1])]
    rows = np.column_stack([X, X[:, 1], X[:, 1], codes])
    vae = VAEEmbedder(3, max_epochs=60, random_state=0).fit(rows[:300])
    assert (vae.likelihood_scale_ >= 1e-3 * vae.scale_).all()
    odd = rows[300:].copy()
    odd[:, 3] += 6 * X[:, 3].std()  # in a column that is no duplicate
    labels = np.repeat([0, 1], 100)
    scores = vae.score_samples(np.concatenate([rows[300:], odd]))
    assert np.isfinite(scores).all()
    assert roc_auc_score(labels, -scores) > 0.9
