"""Shares of features in the embedders' scores: sums, closed forms, and the units."""

import numpy as np
import pytest
import torch
from scipy.linalg import inv, sqrtm
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.exceptions import NotFittedError

from latentsk import AutoencoderEmbedder, PCAEmbedder, VAEEmbedder
from latentsk.linear._gaussian import corr_max

SMALL = {
    "hidden_layer_sizes": (8,),
    "max_epochs": 5,
    "random_state": 0,
    "device": "cpu",
}
LIKELIHOODS = ["gaussian", "laplace", "student_t", "bernoulli", "continuous_bernoulli"]


def _rows_for(likelihood, X):
    if likelihood == "bernoulli":
        return (X.mean(axis=0) < X).astype(float)
    if likelihood == "continuous_bernoulli":
        return (X - X.min(axis=0)) / np.ptp(X, axis=0)
    return X


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_components", [1, 3, 5])
@pytest.mark.parametrize("method", ["likelihood", "reconstruction", "mahalanobis"])
def test_contributions_of_pca_add_up(X, method, n_components, dtype):
    if method == "reconstruction" and n_components == 5:
        pytest.skip("is undefined")
    rows = X.astype(dtype)
    pca = PCAEmbedder(n_components, score_method=method).fit(rows)
    found = pca.score_contributions(rows)
    assert found.shape == (300, 5)
    assert found.dtype == dtype
    tolerance = 1e-9 if dtype == np.float64 else 2e-3
    np.testing.assert_allclose(
        found.sum(axis=1), pca.score_samples(rows), rtol=tolerance, atol=tolerance
    )


def test_reconstruction_is_split_as_it_is(X):
    pca = PCAEmbedder(2, score_method="reconstruction").fit(X)
    expected = -((X - pca.reconstruct(X)) ** 2)
    np.testing.assert_allclose(pca.score_contributions(X), expected, atol=1e-10)


def _corr_max(X):
    """Garthwaite and Koch (2016): w = R^(-1/2) D^(-1/2) (x - mean)."""
    deviations = X.std(axis=0, ddof=1)
    rotation = inv(sqrtm(np.corrcoef(X, rowvar=False)))
    return ((X - X.mean(axis=0)) / deviations) @ rotation.T


def test_mahalanobis_distances_are_split_by_corr_max(X):
    pca = PCAEmbedder(5, score_method="mahalanobis").fit(X)
    found = pca.score_contributions(X)
    np.testing.assert_allclose(found, -(_corr_max(X) ** 2), rtol=1e-8, atol=1e-10)
    covariance = np.cov(X, rowvar=False)
    away = X - X.mean(axis=0)
    expected = np.einsum("ij,ij->i", away @ inv(covariance), away)
    np.testing.assert_allclose(-found.sum(axis=1), expected)


def test_a_full_likelihood_is_split_by_corr_max_and_its_constant_equally(X):
    pca = PCAEmbedder(5).fit(X)
    model = multivariate_normal(X.mean(axis=0), np.cov(X, rowvar=False))
    constant = model.logpdf(X.mean(axis=0))
    expected = constant / 5 - 0.5 * _corr_max(X) ** 2
    found = pca.score_contributions(X)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.sum(axis=1), model.logpdf(X))


def test_the_unit_of_a_feature_moves_the_constant_alone(X):
    factors = np.array([1.0, 1e3, 0.1, 1.0, 50.0])
    here = PCAEmbedder(5).fit(X).score_contributions(X)
    there = PCAEmbedder(5).fit(X * factors).score_contributions(X * factors)
    expected = here - np.log(factors).sum() / 5
    np.testing.assert_allclose(there, expected, rtol=1e-6, atol=1e-8)


def test_the_rotation_s_coordinates_correlate_with_their_features(X):
    """Of few components, too: no other orthonormal map has a larger trace."""
    pca = PCAEmbedder(2).fit(X)
    white = pca.transform(X) / np.sqrt(pca.explained_variance_)
    standardized = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)
    correlations = white.T @ standardized / 299
    rotation = corr_max(correlations)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(2), atol=1e-12)
    best = np.trace(rotation @ correlations)
    rng = np.random.default_rng(0)
    for _ in range(200):
        other, _ = np.linalg.qr(rng.normal(size=(5, 2)))
        assert np.trace(other @ correlations) < best
        turned, _ = np.linalg.qr(rotation + 0.1 * rng.normal(size=(5, 2)))
        turned *= np.sign(np.sum(turned * rotation, axis=0))
        assert np.trace(turned @ correlations) <= best + 1e-12


def test_few_components_are_split_by_the_model_s_correlations(X):
    pca = PCAEmbedder(2, score_method="mahalanobis").fit(X)
    deviations = np.sqrt(np.diag(pca.get_covariance()))
    roots = np.sqrt(pca.explained_variance_)
    correlations = roots[:, None] * pca.components_ / deviations
    white = pca.transform(X) / roots
    # The polar factor, by the matrix square root of C' C.
    polar = correlations.T @ inv(sqrtm(correlations @ correlations.T))
    expected = -((white @ polar.T) ** 2)
    np.testing.assert_allclose(pca.score_contributions(X), expected, atol=1e-9)


def test_pca_s_likelihood_adds_the_residual_over_the_noise(X):
    pca = PCAEmbedder(2).fit(X)
    within = -PCAEmbedder(2, score_method="mahalanobis").fit(X).score_contributions(X)
    outside = (X - pca.reconstruct(X)) ** 2 / pca.noise_variance_
    constant = 5 * np.log(2 * np.pi) + np.linalg.slogdet(pca.get_covariance())[1]
    expected = -0.5 * (constant / 5 + within + outside)
    np.testing.assert_allclose(pca.score_contributions(X), expected, atol=1e-9)


def test_a_component_without_variance_is_split_without_a_warning(X):
    rows = np.column_stack([X[:, :2], np.ones((300, 3))])
    pca = PCAEmbedder(3, score_method="reconstruction").fit(rows)
    away = rows[:4] + np.array([0.0, 0.0, 3.0, -1.0, 2.0])
    found = pca.score_contributions(away)
    np.testing.assert_allclose(found, -((away - pca.reconstruct(away)) ** 2), atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), pca.score_samples(away))


@pytest.mark.parametrize(
    "options",
    [{}, {"loss": "absolute_error"}, {"loss": "binary_cross_entropy"}],
    ids=["squared", "absolute", "binary"],
)
def test_contributions_of_an_autoencoder_are_squared_errors(X, options):
    rows = _rows_for("continuous_bernoulli", X)
    embedder = AutoencoderEmbedder(2, **SMALL, **options).fit(rows)
    found = embedder.score_contributions(rows)
    np.testing.assert_allclose(found.sum(axis=1), embedder.score_samples(rows))
    errors = (rows - embedder.reconstruct(rows)) / embedder.scale_
    np.testing.assert_allclose(found, -(errors**2), rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore:The posterior collapsed")
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("method", ["elbo", "iwae", "reconstruction"])
def test_contributions_of_a_vae_add_up(X, method, likelihood):
    rows = _rows_for(likelihood, X)
    vae = VAEEmbedder(
        2, **SMALL, likelihood=likelihood, score_method=method, n_score_samples=6
    ).fit(rows)
    found = vae.score_contributions(rows[:50])
    assert found.shape == (50, 5)
    scores = vae.score_samples(rows[:50])
    np.testing.assert_allclose(found.sum(axis=1), scores, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", ["shared", "feature"])
@pytest.mark.parametrize(
    ("likelihood", "distribution"),
    [
        ("gaussian", lambda m, s: torch.distributions.Normal(m, s)),
        ("laplace", lambda m, s: torch.distributions.Laplace(m, s)),
        ("student_t", lambda m, s: torch.distributions.StudentT(4.0, m, s)),
    ],
)
@pytest.mark.parametrize("method", ["elbo", "iwae", "reconstruction"])
def test_terms_of_a_vae_are_those_of_torch(X, likelihood, distribution, scale, method):
    n_samples = 6
    vae = VAEEmbedder(
        2,
        **SMALL,
        likelihood=likelihood,
        likelihood_scale=scale,
        score_method=method,
        n_score_samples=n_samples,
    ).fit(X)
    rows = X[:7]
    noise = vae._make_inference().noise.numpy().reshape(n_samples, 1, 2)
    mean, deviation = vae.transform_distribution(rows)
    latents = mean + deviation * noise
    decoded = vae.inverse_transform(latents.reshape(-1, 2)).reshape(n_samples, 7, 5)
    # The scale of a row's distribution is in the row's own unit.
    unit = torch.as_tensor(np.broadcast_to(vae.likelihood_scale_, (5,)).copy())
    of_features = distribution(torch.as_tensor(decoded), unit).log_prob(
        torch.as_tensor(rows)
    )
    posterior = torch.distributions.Normal(
        torch.as_tensor(mean), torch.as_tensor(deviation)
    )
    prior = torch.distributions.Normal(0.0, 1.0)
    of_features = of_features.numpy()
    if method == "reconstruction":
        expected = of_features.mean(axis=0)
    elif method == "elbo":
        divergence = torch.distributions.kl_divergence(
            posterior, torch.distributions.Normal(torch.zeros(7, 2), torch.ones(7, 2))
        )
        expected = of_features.mean(axis=0)
        expected -= divergence.sum(dim=1).numpy()[:, None] / 5
    else:
        sampled = torch.as_tensor(latents)
        ratio = (prior.log_prob(sampled) - posterior.log_prob(sampled)).sum(dim=2)
        logs = of_features.sum(axis=2) + ratio.numpy()
        weights = softmax(logs, axis=0)
        expected = (weights[..., None] * of_features).sum(axis=0)
        bound = np.log(np.exp(logs - logs.max(axis=0)).mean(axis=0)) + logs.max(axis=0)
        rest = bound - (weights * of_features.sum(axis=2)).sum(axis=0)
        expected += rest[:, None] / 5
    found = vae.score_contributions(rows)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_divergence_is_no_sum_over_features(X):
    vae = VAEEmbedder(2, **SMALL, score_method="kl").fit(X)
    with pytest.raises(ValueError, match="no sum over features"):
        vae.score_contributions(X)


@pytest.mark.parametrize(
    "embedder",
    [PCAEmbedder(2), AutoencoderEmbedder(2, **SMALL), VAEEmbedder(2, **SMALL)],
    ids=["pca", "autoencoder", "vae"],
)
def test_contributions_of_a_row_depend_on_it_alone(X, embedder):
    with pytest.raises(NotFittedError):
        embedder.score_contributions(X)
    fitted = embedder.fit(X)
    every = fitted.score_contributions(X[:20])
    alone = np.concatenate([fitted.score_contributions(row[None]) for row in X[:20]])
    np.testing.assert_allclose(alone, every, rtol=1e-7, atol=1e-9)
    with pytest.raises(ValueError, match="features"):
        fitted.score_contributions(X[:, :3])
    with pytest.raises(ValueError, match="NaN"):
        fitted.score_contributions(np.full((1, 5), np.nan))


def test_meaningless_scores_have_no_contributions(X):
    pca = PCAEmbedder(5, score_method="reconstruction").fit(X)
    with pytest.raises(ValueError, match="is undefined"):
        pca.score_contributions(X)


def test_the_most_extreme_rows_have_finite_contributions(X):
    rows = X.astype(np.float32)
    for embedder in (AutoencoderEmbedder(2, **SMALL), VAEEmbedder(2, **SMALL)):
        fitted = embedder.fit(rows)
        extreme = rows[:2].copy()
        extreme[0, 3] = 1e30
        found = fitted.score_contributions(extreme)
        assert np.isfinite(found).all()
        assert found[0, 3] < found[1].min()
