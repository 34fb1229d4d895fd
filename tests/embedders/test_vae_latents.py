"""VAEEmbedder: new rows, paths between rows, and what the latents carry."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from latentsk import PCAEmbedder, VAEEmbedder

SMALL = {
    "hidden_layer_sizes": (8,),
    "max_epochs": 10,
    "random_state": 0,
    "device": "cpu",
}


LINEAR = {
    "hidden_layer_sizes": (),
    "learning_rate_init": 2e-2,
    "max_epochs": 60,
    "n_iter_no_change": 60,
    "random_state": 0,
    "device": "cpu",
}


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


def test_paths_of_several_rows_are_those_of_each(X):
    vae = VAEEmbedder(3, **SMALL).fit(X)
    pairs = [vae.interpolate(X[i], X[i + 3], 4) for i in range(3)]
    np.testing.assert_allclose(vae.interpolate(X[:3], X[3:6], 4), pairs)
    from_one = [vae.interpolate(X[0], X[i], 4, "slerp") for i in (1, 2)]
    np.testing.assert_allclose(vae.interpolate(X[0], X[1:3], 4, "slerp"), from_one)
    lines = [vae.traverse(X[0], i, [-1.0, 1.0]) for i in (2, 0)]
    np.testing.assert_allclose(vae.traverse(X[0], [2, 0], [-1.0, 1.0]), lines)
    with pytest.raises(ValueError, match="a and b must hold as many rows"):
        vae.interpolate(X[:2], X[:3], 4)


def test_rows_of_any_form(X):
    frame = pd.DataFrame(X, columns=list("abcde"))
    vae = VAEEmbedder(2, **SMALL).fit(frame)
    plain = VAEEmbedder(2, **SMALL).fit(X)
    expected = plain.interpolate(X[0], X[1], 3)
    first, second = frame.iloc[0], frame.iloc[1]
    np.testing.assert_allclose(vae.interpolate(first, second, 3), expected)
    np.testing.assert_allclose(vae.interpolate(X[:1], X[1:2], 3), expected)
    assert vae.traverse(frame.iloc[[0]], 1, [0.0]).shape == (1, 5)
    with pytest.raises(ValueError, match=r"b must be a row of shape \(5,\) or"):
        vae.interpolate(X[0], X[1, :4])
    with pytest.raises(ValueError, match=r"x must be a row .* got \(2, 5\)"):
        vae.traverse(X[:2], 0, [0.0])
    with pytest.raises(ValueError, match="values must have one dimension"):
        vae.traverse(X[0], 0, [[0.0]])
    with pytest.raises(ValueError, match="NaN"):
        vae.traverse(X[0], 0, [np.nan])


def test_names_of_a_row_s_features_are_checked(X):
    frame = pd.DataFrame(X, columns=list("abcde"))
    vae = VAEEmbedder(2, **SMALL).fit(frame)
    turned = frame[list("edcba")]
    for row in (turned.iloc[[0]], turned.iloc[0]):
        with pytest.raises(ValueError, match="feature names"):
            vae.traverse(row, 0, [0.0])
        with pytest.raises(ValueError, match="feature names"):
            vae.interpolate(frame.iloc[0], row)


def test_paths_keep_the_dtype(X):
    rows = X.astype(np.float32)
    vae = VAEEmbedder(2, **SMALL).fit(rows)
    assert vae.interpolate(rows[0], rows[1], 3).dtype == np.float32
    assert vae.traverse(rows[0], 0, [0.0, 1.0]).dtype == np.float32
    assert vae.interpolate(X[0], X[1], 3).dtype == np.float64


def test_the_noise_of_samples_depends_on_the_random_state(X):
    vae = VAEEmbedder(2, **SMALL).fit(X)
    noise = []
    for seed in (0, 1):
        latents = np.random.default_rng(seed).standard_normal((500, 2))
        drawn = vae.sample(500, random_state=seed) - vae.inverse_transform(latents)
        noise.append((drawn / vae.likelihood_scale_).ravel())
    assert kstest(noise[0], "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise)[0, 1]) < 0.1
    with pytest.raises(ValueError, match="n_samples must be an integer"):
        vae.sample(2.5)


def test_samples_come_from_the_whole_model():
    """A linear model's samples have the moments of probabilistic PCA."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_000, 1)) @ np.ones((1, 3)) + 0.7 * rng.normal(
        size=(2_000, 3)
    )
    vae = VAEEmbedder(1, **LINEAR).fit(X)
    drawn = vae.sample(20_000)
    exact = PCAEmbedder(1).fit(X).get_covariance()
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), exact, atol=0.08)
    np.testing.assert_array_equal(vae.sample(3), vae.sample(3))
    assert (vae.sample(3, random_state=1) != vae.sample(3)).all()
    # Without the likelihood's noise there is only one direction left.
    means = vae.inverse_transform(rng.normal(size=(1_000, 1)))
    spectrum = np.linalg.eigvalsh(np.cov(means, rowvar=False))
    assert spectrum[1] < 1e-6 * spectrum[2]


def test_binary_samples_are_binary():
    X = (np.random.default_rng(0).random((200, 6)) < 0.3).astype(float)
    X[:, 3:] = X[:, :3]
    vae = VAEEmbedder(2, **{**SMALL, "max_epochs": 60}).fit(X)
    drawn = vae.sample(2_000)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=0.1)


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


def test_a_report_needs_rows(X):
    vae = VAEEmbedder(2, **SMALL).fit(X)
    with pytest.raises(ValueError, match="at least 2 rows"):
        vae.latent_report(X[:1])


def test_the_latents_of_all_rows_follow_the_prior():
    """For a model that fits: a plane in four dimensions, with noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_000, 2)) @ rng.normal(size=(2, 4))
    X += 0.3 * rng.normal(size=X.shape)
    vae = VAEEmbedder(2, **LINEAR).fit(X)
    mean, deviation = vae.transform_distribution(X)
    latents = mean + deviation * rng.normal(size=mean.shape)
    for coordinate in latents.T:
        assert kstest(coordinate, "norm").statistic < 0.04
    assert vae.latent_report(X).distance_from_prior < 0.01
