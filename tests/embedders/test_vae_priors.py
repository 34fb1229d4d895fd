"""VAEEmbedder with learned priors: scores, components, samples, files, streaming."""

import pickle

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

from latentsk import VAEEmbedder, load, save
from latentsk.training import _checkpoint
from latentsk.vae._estimates import independent_noise

LEARNED = ("mixture", "vamp", "flow")
SMALL = {
    "n_components": 2,
    "hidden_layer_sizes": (8,),
    "max_epochs": 8,
    "random_state": 0,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(160, 2)) @ rng.normal(size=(2, 5))
    rows[:80] += 5.0
    return rows + 0.1 * rng.normal(size=rows.shape)


@pytest.fixture(scope="module", params=LEARNED)
def vae(request, X):
    return VAEEmbedder(prior=request.param, **SMALL).fit(X)


@pytest.fixture
def mixture(X):
    return VAEEmbedder(prior="mixture", n_prior_components=3, **SMALL).fit(X)


@parametrize_with_checks(
    [
        VAEEmbedder(**{**SMALL, "max_epochs": 4}, prior="mixture"),
        VAEEmbedder(**{**SMALL, "max_epochs": 4}, prior="vamp", n_prior_components=3),
        VAEEmbedder(**{**SMALL, "max_epochs": 4}, prior="flow"),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# Scores


@pytest.mark.parametrize("method", ["elbo", "iwae", "reconstruction", "kl"])
def test_every_score_is_its_formula(vae, X, method):
    vae.set_params(score_method=method, n_score_samples=6)
    found = vae.score_samples(X[:9])
    network = pickle.loads(pickle.dumps(vae.module_)).double()
    rows = torch.from_numpy((X[:9] - vae.mean_) / vae.scale_)
    mean, deviation = vae.transform_distribution(X[:9])
    noise = vae._make_inference().noise.numpy()
    latents = mean + deviation * noise
    with torch.no_grad():
        output = network.decode(torch.from_numpy(latents)).numpy()
        prior = network.density().log_density(torch.from_numpy(latents)).numpy()
        scale = network.log_scale().exp().numpy()
    density = norm.logpdf(rows.numpy(), output, scale).sum(axis=-1)
    density -= np.log(vae.scale_).sum()
    ratios = prior - norm.logpdf(latents, mean, deviation).sum(axis=-1)
    expected = {
        "elbo": (density + ratios).mean(axis=0),
        "iwae": logsumexp(density + ratios, axis=0) - np.log(6),
        "reconstruction": density.mean(axis=0),
        "kl": ratios.mean(axis=0),
    }
    np.testing.assert_allclose(found, expected[method], rtol=1e-8)
    if method != "kl":
        np.testing.assert_allclose(
            vae.score_contributions(X[:9]).sum(axis=1), found, rtol=1e-8
        )
    else:
        with pytest.raises(ValueError, match="no sum over features"):
            vae.score_contributions(X[:9])


@pytest.mark.parametrize("method", ["elbo", "iwae"])
def test_a_row_s_score_depends_on_it_alone(vae, X, method):
    vae.set_params(score_method=method, n_score_samples=8)
    scores = vae.score_samples(X)
    np.testing.assert_array_equal(vae.score_samples(X), scores)
    alone = np.concatenate([vae.score_samples(row[None]) for row in X[:5]])
    np.testing.assert_allclose(alone, scores[:5], rtol=1e-10)
    moved = vae.score_samples(X + 1e-9)
    np.testing.assert_allclose(moved, scores, atol=1e-5)


def test_log_likelihood_is_the_weighted_bound(vae, X):
    value, error = vae.log_likelihood(X[:5], 400, random_state=0)
    vae.set_params(score_method="iwae", n_score_samples=400)
    np.testing.assert_allclose(value, vae.score_samples(X[:5]), atol=6 * error.max())


def test_extreme_rows_have_finite_scores(vae, X):
    rows = np.vstack([X[:1], 1e30 * X[:1], np.full((1, 5), 1e90)])
    vae.set_params(score_method="elbo", n_score_samples=8)
    scores = vae.score_samples(rows)
    assert np.isfinite(scores).all()
    assert (scores[1:] < scores[0]).all()
    assert np.isfinite(vae.latent_report(rows).kl)


def taken_over(X, prior, start, **options):
    """Return a VAE with a normal prior, and one of the same weights with another."""
    normal = VAEEmbedder(**SMALL).fit(X)
    other = VAEEmbedder(prior=prior, **{**SMALL, "max_epochs": 1}, **options).fit(X)
    weights = normal.module_.state_dict()
    own = {k: v for k, v in other.module_.state_dict().items() if k.startswith("prior")}
    other.module_.load_state_dict({**weights, **own})
    with torch.no_grad():
        start(other.module_.prior)
    return normal, other


def zeroed(prior):
    for parameter in prior.parameters():
        parameter.zero_()


@pytest.mark.parametrize("prior", ["mixture", "flow"])
def test_one_component_or_no_flow_scores_as_the_normal_prior(X, prior):
    options = {"n_prior_components": 1} if prior == "mixture" else {}
    normal, other = taken_over(X, prior, zeroed, **options)
    for method in ("iwae", "reconstruction"):
        for each in (normal, other):
            each.set_params(score_method=method)
        np.testing.assert_allclose(
            other.score_samples(X), normal.score_samples(X), rtol=1e-9
        )
    for method in ("elbo", "kl"):
        for each in (normal, other):
            each.set_params(score_method=method, n_score_samples=64)
        # Balanced samples have exact means and squares, and this prior asks no more.
        np.testing.assert_allclose(
            other.score_samples(X), normal.score_samples(X), rtol=1e-9
        )
    np.testing.assert_allclose(
        other.log_likelihood(X, 50, random_state=1),
        normal.log_likelihood(X, 50, random_state=1),
        rtol=1e-9,
    )
    found, exact = other.latent_report(X), normal.latent_report(X)
    assert found.kl == pytest.approx(exact.kl)
    distance = pytest.approx(exact.distance_from_prior, abs=0.02)
    assert found.distance_from_prior == distance


def test_one_pseudo_input_scores_by_its_posterior(X):
    vae = VAEEmbedder(
        prior="vamp", n_prior_components=1, score_method="iwae", **SMALL
    ).fit(X)
    pseudo = vae.module_.prior.inputs.detach().double().numpy()
    row = pseudo * vae.scale_ + vae.mean_
    centre, width = vae.transform_distribution(row)
    mean, deviation = vae.transform_distribution(X[:7])
    noise = independent_noise(8, 2, torch.Generator().manual_seed(0)).numpy()
    latents = mean + deviation * noise
    flat = latents.reshape(-1, 2)
    ratios = norm.logpdf(latents, centre, width) - norm.logpdf(latents, mean, deviation)
    density = norm.logpdf(
        X[:7],
        vae.inverse_transform(flat).reshape(8, 7, 5),
        vae.likelihood_scale_,
    )
    weights = density.sum(axis=-1) + ratios.sum(axis=-1)
    expected = logsumexp(weights, axis=0) - np.log(8)
    np.testing.assert_allclose(vae.score_samples(X[:7]), expected, rtol=1e-5)


# Components


def test_responsibilities_are_scikit_learns_on_the_latents(mixture, X):
    peer = GaussianMixture(3, covariance_type="diag")
    peer.weights_, peer.means_ = mixture.prior_weights_, mixture.prior_means_
    peer.covariances_ = mixture.prior_scales_**2
    peer.precisions_cholesky_ = 1.0 / mixture.prior_scales_
    latents = mixture.transform(X)
    found = mixture.predict_component_proba(X)
    np.testing.assert_allclose(found, peer.predict_proba(latents), atol=1e-10)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_array_equal(mixture.predict_component(X), peer.predict(latents))
    assert set(mixture.predict(X)) <= {-1, 1}
    far = mixture.predict_component_proba(np.vstack([1e30 * X[:1], 1e99 * X[:1]]))
    np.testing.assert_allclose(far.sum(axis=1), 1.0)


def test_the_parameters_of_the_mixture_are_those_of_the_prior(mixture):
    assert mixture.prior_weights_.shape == (3,)
    assert mixture.prior_means_.shape == mixture.prior_scales_.shape == (3, 2)
    assert mixture.prior_weights_.sum() == pytest.approx(1.0)
    assert (mixture.prior_scales_ > 0).all()
    latents = np.random.default_rng(0).normal(size=(5, 2))
    parts = norm.logpdf(latents[:, None], mixture.prior_means_, mixture.prior_scales_)
    expected = logsumexp(parts.sum(axis=2) + np.log(mixture.prior_weights_), axis=1)
    with torch.no_grad():
        found = mixture.module_.density().log_density(torch.from_numpy(latents))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("prior", ["normal", "vamp", "flow"])
def test_only_a_mixture_has_components_to_predict(X, prior):
    vae = VAEEmbedder(prior=prior, **SMALL)
    for name in ("predict_component", "predict_component_proba"):
        assert not hasattr(vae, name)
        assert hasattr(VAEEmbedder(prior="mixture"), name)
    with pytest.raises(NotFittedError):
        _ = vae.prior_means_
    vae.fit(X)
    for name in ("prior_weights_", "prior_means_", "prior_scales_"):
        assert not hasattr(vae, name)
        with pytest.raises(AttributeError, match=f"no {name}.*'mixture'"):
            getattr(vae, name)
    with pytest.raises(ValueError, match=r"component=0 needs .* prior='mixture'"):
        vae.sample(3, component=0)


def test_rows_are_drawn_from_components(mixture):
    with torch.no_grad():
        # Far apart, so that the rows that are drawn tell where they come from.
        mixture.module_.prior.means.copy_(torch.tensor([[-9.0, 0], [0, 9], [9, -9]]))
        mixture.module_.prior.raw_log_variances.fill_(-9.0)
    latents = mixture.prior_means_
    for component in range(3):
        drawn = mixture.sample(400, random_state=0, component=component)
        expected = mixture.inverse_transform(latents[component : component + 1])[0]
        error = mixture.likelihood_scale_ / 20 * 6 + 0.05 * abs(expected).max()
        assert (abs(drawn.mean(axis=0) - expected) < error).all()
    chosen = np.array([2, 0, 2, 1])
    rows = mixture.sample(4, random_state=0, component=chosen)
    np.testing.assert_array_equal(
        rows, mixture.sample(4, random_state=0, component=list(chosen))
    )
    assert rows.shape == (4, 5)


def test_components_are_drawn_by_their_weights(mixture):
    with torch.no_grad():
        mixture.module_.prior.logits.copy_(torch.tensor([0.0, 30.0, 0.0]))
    drawn = mixture.module_.density().draw(1_000, np.random.default_rng(0))
    centre, scale = mixture.prior_means_[1], mixture.prior_scales_[1]
    np.testing.assert_allclose(drawn.mean(axis=0), centre, atol=0.2 * scale.max())


@pytest.mark.parametrize(
    "component", [-1, 3, 1.0, True, "a", [0, 1], [[0, 1, 2]], [0, 1, 3], np.nan]
)
def test_components_that_are_none(mixture, component):
    with pytest.raises(ValueError, match="component must be an integer from 0 to 2"):
        mixture.sample(3, component=component)


def test_a_number_of_components_is_for_priors_that_have_some(X):
    for prior in ("normal", "flow"):
        vae = VAEEmbedder(prior=prior, n_prior_components=5, **SMALL)
        with pytest.raises(ValueError, match=f"got 5 for prior='{prior}'"):
            vae.fit(X)
        assert not hasattr(vae, "module_")
    for number in (0, 2.5, "many"):
        with pytest.raises(ValueError, match="n_prior_components"):
            VAEEmbedder(prior="mixture", n_prior_components=number).fit(X)


def test_automatic_numbers_of_components(X):
    assert len(VAEEmbedder(prior="mixture", **SMALL).fit(X).prior_weights_) == 10
    vamp = VAEEmbedder(prior="vamp", **SMALL).fit(X)
    assert vamp.module_.prior.inputs.shape == (160, 5)
    many = np.tile(X, (4, 1))
    vamp = VAEEmbedder(prior="vamp", **{**SMALL, "max_epochs": 1}).fit(many)
    assert vamp.module_.prior.inputs.shape == (500, 5)


# Training


def test_a_learned_prior_fits_clusters_better():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=600)
    centres = 6.0 * np.array([[1, 1, 0], [-1, 1, 0], [1, -1, 1], [-1, -1, 1]])
    rows = centres[labels] + rng.normal(size=(600, 3))
    options = {**SMALL, "max_epochs": 40, "hidden_layer_sizes": (32,)}
    scores = {
        prior: VAEEmbedder(prior=prior, n_score_samples=64, **options)
        .fit(rows)
        .score(rows)
        for prior in ("normal", *LEARNED)
    }
    assert min(scores[prior] for prior in LEARNED) > scores["normal"], scores


@pytest.mark.parametrize("prior", LEARNED)
@pytest.mark.parametrize(
    "options",
    [
        {"objective": "iwae"},
        {"objective": "iwae", "doubly_reparameterized": True},
        {"free_nats": 0.3, "kl_warmup": 0.5},
        {"capacity": 2.0},
        {"dropout": 0.2, "n_samples": 3},
        {"precision": "bfloat16"},
        {"likelihood": "laplace", "likelihood_scale": "feature", "batch_size": 7},
    ],
    ids=lambda options: "-".join(options),
)
def test_every_way_to_train(X, prior, options):
    vae = VAEEmbedder(prior=prior, **{**SMALL, **options}).fit(X)
    assert np.isfinite(vae.score_samples(X)).all()
    losses = [epoch["train_loss"] for epoch in vae.history_]
    assert losses[-1] < losses[0]
    again = VAEEmbedder(prior=prior, **{**SMALL, **options}).fit(X)
    np.testing.assert_array_equal(again.score_samples(X), vae.score_samples(X))


@pytest.mark.parametrize("prior", LEARNED)
def test_capacity_holds_the_sum_of_the_divergence(X, prior):
    options = {**SMALL, "max_epochs": 60, "n_iter_no_change": 60}
    vae = VAEEmbedder(prior=prior, capacity=1.0, beta=30.0, **options).fit(X)
    assert vae.history_[-1]["train_kl"] == pytest.approx(1.0, abs=0.4)


def test_a_vamp_prior_does_not_collapse_at_the_start(digits):
    # Two layers of tanh tell rows apart late: by then the posteriors of rows and of
    # pseudo-inputs would be the same, which costs nothing.
    rows = digits[0] / 16.0
    vae = VAEEmbedder(
        8,
        prior="vamp",
        n_prior_components=50,
        hidden_layer_sizes=(100, 100),
        activation="tanh",
        dynamic_binarization=True,
        learning_rate_init=2e-3,
        max_epochs=40,
        random_state=0,
        device="cpu",
    ).fit(rows)
    assert vae.latent_report(rows).n_active >= 4


def test_rows_that_are_set_aside_are_no_pseudo_inputs(X):
    vae = VAEEmbedder(prior="vamp", learning_rate_init=1e-12, **SMALL).fit(X)
    inputs = vae.module_.prior.inputs.detach().numpy()
    rows = ((X - vae.mean_) / vae.scale_).astype(np.float32)
    same = np.isclose(inputs[:, None], rows, atol=1e-5).all(axis=2)
    assert same.any(axis=1).all()
    assert same.any(axis=0).sum() == 144  # a tenth of the rows is for validation


@pytest.mark.parametrize("prior", LEARNED)
def test_chunks_and_more_epochs_go_on_with_the_prior(X, prior):
    vae = VAEEmbedder(prior=prior, **SMALL)
    for rows in (X[:90], X[90:], X[:5]):
        vae.partial_fit(rows)
        assert np.isfinite(vae.score_samples(X)).all()
    streamed = vae.module_.state_dict()
    number = 90 if prior == "vamp" else 10
    for name in ("prior.inputs", "prior.means"):
        assert name not in streamed or len(streamed[name]) == number
    vae = VAEEmbedder(prior=prior, warm_start=True, **SMALL).fit(X)
    before = vae.score(X)
    vae.set_params(max_epochs=30).fit(X[:140])
    assert vae.score(X) > before
    if prior != "flow":
        vae.set_params(n_prior_components=4)
        with pytest.raises(ValueError, match="n_prior_components is now 4 instead"):
            vae.fit(X)


@pytest.mark.parametrize("prior", LEARNED)
def test_a_training_resumes_from_its_checkpoint(X, prior, tmp_path, monkeypatch):
    options = {**SMALL, "checkpoint_interval": 2, "prior": prior}
    whole = VAEEmbedder(**options).fit(X)
    path = tmp_path / "training"

    class Stop(Exception):
        pass

    write = _checkpoint.Checkpoint.write

    def stop(self, *arguments, **settings):
        write(self, *arguments, **settings)
        raise Stop

    monkeypatch.setattr(_checkpoint.Checkpoint, "write", stop)
    with pytest.raises(Stop):
        VAEEmbedder(checkpoint=path, **options).fit(X)
    monkeypatch.undo()
    assert path.exists()
    resumed = VAEEmbedder(checkpoint=path, **options).fit(X)
    np.testing.assert_array_equal(resumed.score_samples(X), whole.score_samples(X))


def test_images_and_custom_modules(X):
    rng = np.random.default_rng(0)
    pixels = rng.random((60, 8, 8))
    for prior in LEARNED:
        options = {**SMALL, "network": "conv", "hidden_layer_sizes": (4,)}
        vae = VAEEmbedder(prior=prior, n_prior_components="auto", **options)
        vae.fit(pixels)
        assert vae.sample(3).shape == (3, 8, 8)
        assert vae.score_map(pixels[:2]).shape == (2, 8, 8)
        encoder, decoder = torch.nn.Linear(5, 4), torch.nn.Linear(2, 5)
        options = {k: v for k, v in SMALL.items() if k != "hidden_layer_sizes"}
        custom = VAEEmbedder(prior=prior, encoder=encoder, decoder=decoder, **options)
        custom.fit(X)
        copied = pickle.loads(pickle.dumps(custom))
        np.testing.assert_array_equal(copied.score_samples(X), custom.score_samples(X))
        assert np.isfinite(custom.latent_report(X).distance_from_prior)


# Files


def test_files_hold_the_prior(vae, X, tmp_path):
    vae.set_params(score_method="elbo", n_score_samples=8)
    save(vae, tmp_path / "vae")
    for copied in (load(tmp_path / "vae"), pickle.loads(pickle.dumps(vae))):
        np.testing.assert_array_equal(copied.score_samples(X), vae.score_samples(X))
        np.testing.assert_array_equal(
            copied.sample(4, random_state=1), vae.sample(4, random_state=1)
        )


@pytest.mark.parametrize(
    "method",
    ["elbo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("iwae", "kl"))],
)
def test_graphs_hold_the_prior(vae, X, method, tmp_path):
    vae.set_params(score_method=method, n_score_samples=8)
    vae.to_onnx(tmp_path / "vae.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "vae.onnx", providers=["CPUExecutionProvider"]
    )
    rows = X.astype(np.float32)
    (found,) = session.run(["score_samples"], {"X": rows})
    np.testing.assert_allclose(found, vae.score_samples(rows), rtol=1e-4, atol=1e-3)
