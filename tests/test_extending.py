"""The worked examples of CONTRIBUTING: what is added trains, scores, saves, exports."""

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.stats import laplace, logistic

import latentsk
from latentsk import VAEEmbedder
from latentsk.persistence import _registry
from latentsk.vae import LIKELIHOODS, PRIORS

FOLDER = Path(__file__).parents[1] / "examples" / "extending"
QUICK = {"max_epochs": 5, "random_state": 0}


@pytest.fixture(autouse=True)
def _tables_as_they_were():
    """Forget what the examples register."""
    tables = (LIKELIHOODS, PRIORS, _registry._entries)
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 2)) @ rng.normal(size=(2, 5)) + 7.0


def check_everything(embedder, X, tmp_path):
    scores, latents = embedder.score_samples(X), embedder.transform(X)
    latentsk.save(embedder, tmp_path / "model.latentsk")
    loaded = latentsk.load(tmp_path / "model.latentsk")
    np.testing.assert_array_equal(loaded.score_samples(X), scores)
    np.testing.assert_array_equal(loaded.transform(X), latents)
    embedder.to_onnx(tmp_path / "model.onnx", dtype="float64")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    found, exported = session.run(["transform", "score_samples"], {"X": X})
    np.testing.assert_allclose(found, latents, atol=1e-4)
    np.testing.assert_allclose(exported, scores, rtol=1e-4, atol=1e-3)
    assert embedder.predict(X).mean() > 0.5
    losses = [epoch["train_loss"] for epoch in embedder.history_]
    assert losses[-1] < losses[0]


def test_a_likelihood_is_one_entry(X, tmp_path):
    module = load("likelihood")
    vae = VAEEmbedder(2, likelihood="logistic", **QUICK).fit(X)
    check_everything(vae, X, tmp_path)
    contributions = vae.score_contributions(X)
    np.testing.assert_allclose(contributions.sum(axis=1), vae.score_samples(X))
    # Of the density with all its constants.
    rows, output = torch.tensor([[0.3, -2.0]]), torch.tensor([[1.0, 0.5]])
    found = module.log_density(rows, output, torch.tensor([0.7]))
    expected = logistic.logpdf([0.3, -2.0], [1.0, 0.5], np.exp(0.7)).sum()
    assert float(found) == pytest.approx(expected, rel=1e-5)
    drawn = vae.sample(2_000, random_state=0)
    assert abs(drawn.mean(axis=0) - 7.0).max() < 1.0


def test_a_prior_is_one_class_and_its_name(X, tmp_path):
    module = load("prior")
    vae = VAEEmbedder(2, prior="laplace", **QUICK).fit(X)
    check_everything(vae, X, tmp_path)
    prior = vae.module_.prior
    assert prior.log_scale.abs().min() > 0  # it has been trained
    latents = torch.tensor([[0.3, -2.0]])
    scale = prior.log_scale.detach().exp().numpy()
    expected = laplace.logpdf(latents.numpy(), scale=scale).sum()
    assert float(prior.log_density(latents).detach()) == pytest.approx(
        expected, rel=1e-5
    )
    assert isinstance(prior, module.LaplacePrior)
    for method in ("iwae", "reconstruction", "kl"):
        vae.set_params(score_method=method)
        assert np.isfinite(vae.score_samples(X)).all()
    values, errors = vae.log_likelihood(X[:3], random_state=0)
    assert np.isfinite([values, errors]).all()
    report = vae.latent_report(X)
    assert report.dimensions["kl"].isna().all()
    assert np.isfinite([report.kl, report.distance_from_prior]).all()
    assert vae.sample(5, random_state=0).shape == (5, 5)
    vae.partial_fit(X[:50])


def test_an_embedder_is_an_objective_and_a_thin_class(X, tmp_path):
    module = load("embedder")
    embedder = module.SphericalEmbedder(3, max_epochs=60, random_state=0).fit(X)
    check_everything(embedder, X, tmp_path)
    lengths = np.linalg.norm(embedder.transform(X), axis=1)
    assert lengths.mean() == pytest.approx(1.0, abs=0.2)
    assert embedder.history_[-1]["train_sphere"] < embedder.history_[0]["train_sphere"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.stem)
def test_examples_run_as_they_are_and_fit_on_a_page(path, capsys):
    load(path.stem).main()
    assert capsys.readouterr().out
    assert len(path.read_text().splitlines()) <= 120


def test_a_display_computes_and_draws(X):
    module = load("display")
    embedder = latentsk.AutoencoderEmbedder(2, **QUICK).fit(X)
    display = module.LossCurveDisplay.from_estimator(embedder)
    training, validation, best = display.ax_.get_lines()
    drawn = [epoch["train_loss"] for epoch in embedder.history_]
    np.testing.assert_array_equal(training.get_ydata(), drawn)
    assert training.get_xdata()[0] == 1
    drawn = [epoch["validation_loss"] for epoch in embedder.history_]
    np.testing.assert_array_equal(validation.get_ydata(), drawn)
    assert best.get_xdata()[0] == embedder.best_epoch_
    again = module.LossCurveDisplay.from_estimator(
        latentsk.AutoencoderEmbedder(2, validation_fraction=0.0, **QUICK).fit(X),
        ax=display.ax_,
    )
    assert again.ax_ is display.ax_
    assert list(again.losses) == ["training"]
