"""The worked examples of CONTRIBUTING: what is added trains, scores, saves, exports."""

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import laplace, logistic
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer

import latentsk
from latentsk import LatentIndex, PCAEmbedder, VAEEmbedder
from latentsk.export import _registry as export_registry
from latentsk.index._families import FAMILIES
from latentsk.persistence import _registry
from latentsk.vae import LIKELIHOODS, PRIORS

FOLDER = Path(__file__).parents[1] / "examples" / "extending"
QUICK = {"max_epochs": 5, "random_state": 0}


@pytest.fixture(autouse=True)
def _tables_as_they_were():
    """Forget what the examples register."""
    exported = export_registry._BUILDERS
    tables = (LIKELIHOODS, PRIORS, FAMILIES, _registry._entries, exported)
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


def test_a_step_that_can_be_exported_is_one_function(X, tmp_path):
    load("exported_step")
    pipeline = make_pipeline(Binarizer(threshold=7.0), PCAEmbedder(2)).fit(X)
    latentsk.to_onnx(pipeline, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (scores,) = session.run(["score_samples"], {"X": X})
    np.testing.assert_allclose(scores, pipeline.score_samples(X), rtol=1e-9)


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
    # Of one column, too, where others have gaps.
    holed = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    vae = VAEEmbedder(2, likelihood={0: "logistic"}, **QUICK).fit(holed)
    check_everything(vae, holed, tmp_path)


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


GROUPS = "Groups20,nprobe=5"
METRICS = ["euclidean", "cosine", "inner_product"]


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(1).normal(size=(1_500, 6))


def nearest(rows, queries, metric, k):
    """Return the k nearest rows, by brute force; rows of nan are nobody's."""
    if metric == "inner_product":
        distances = -queries @ rows.T
    else:
        distances = cdist(queries, rows, metric)
    return np.argsort(distances, axis=1)[:, :k]  # nan comes last


def found(index, queries, k, **options):
    table = index.search(queries, n_neighbors=k, **options)
    return table["id"].to_numpy().reshape(-1, k)


def share(some, true):
    return np.mean([np.isin(s, t).mean() for s, t in zip(some, true, strict=True)])


@pytest.mark.parametrize("metric", METRICS)
def test_a_family_of_searches_finds_most_neighbours(rows, metric):
    load("search_family")
    queries = rows[:200] + 0.1
    true, recalls = nearest(rows, queries, metric, 10), []
    for n_probe in (1, 5, 20):
        spec = f"Groups20,nprobe={n_probe}"
        index = LatentIndex(index_spec=spec, metric=metric).fit(rows)
        assert index.index_spec_ == spec
        recalls.append(share(found(index, queries, 10), true))
        measured = index.measure_recall(queries).loc[10]
        assert measured["recall"] == pytest.approx(recalls[-1])
    assert 0.1 < recalls[0] < 0.8 < recalls[1] < recalls[2] == 1.0


@pytest.mark.parametrize("target", [0.5, 0.9])
def test_the_tuner_takes_a_family_for_a_target(monkeypatch, target):
    module = load("search_family")
    monkeypatch.delitem(FAMILIES, "IVF")
    many = np.random.default_rng(2).normal(size=(4_500, 48))
    many[:, 4:] *= 0.05
    many, queries = many[:4_000], many[4_000:]
    index = LatentIndex(target_recall=target, random_state=0).fit(many)
    n_groups, n_probe = module.numbers_in(index.index_spec_)
    assert (n_groups, n_probe < 16) == (63, True)
    assert index.recall_.loc[5, "lower"] >= target
    true = nearest(many, queries, "euclidean", 5)
    recall = share(found(index, queries, 5), true)
    assert recall == pytest.approx(index.recall_.loc[5, "recall"], abs=0.05)
    pinned = LatentIndex(index_spec=index.index_spec_, random_state=0).fit(many)
    assert pinned.index_spec_ == index.index_spec_


def test_a_family_follows_rows_filters_and_files(rows, tmp_path):
    load("search_family")
    index = LatentIndex(index_spec=GROUPS).fit(rows[:1_200])
    index.add(rows[1_200:]).remove(np.arange(0, 1_500, 3))
    index.update(rows[1:400:3] * 1.5 + 1.0, np.arange(1, 400, 3))
    present = rows.copy()
    present[::3] = np.nan
    present[1:400:3] = rows[1:400:3] * 1.5 + 1.0
    queries = present[1:1_500:3] + 0.01
    some = found(index, queries, 5)
    assert share(some, nearest(present, queries, "euclidean", 5)) > 0.9
    assert not np.isin(some, np.arange(0, 1_500, 3)).any()
    assert share(some[:, :1], np.arange(1, 1_500, 3)[:, None]) > 0.95

    is_even = np.arange(1_500) % 2 == 0
    some = found(index, queries, 5, filter=is_even)
    masked = np.where(is_even[:, None], present, np.nan)
    assert share(some, nearest(masked, queries, "euclidean", 5)) > 0.9
    # So few that the groups do not hold them: exactly.
    np.testing.assert_array_equal(
        np.sort(found(index, queries[:9], 2, filter=[1, 4])), [[1, 4]] * 9
    )

    index.save(tmp_path / "rows.latentsk")
    loaded = LatentIndex.load(tmp_path / "rows.latentsk")
    assert loaded.index_spec_ == GROUPS
    for one, other in zip(
        loaded.kneighbors(queries), index.kneighbors(queries), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_family_keeps_rows_in_few_bytes_and_refuses_what_it_cannot_read(rows):
    load("search_family")
    index = LatentIndex(index_spec=f"{GROUPS},rows=int8").fit(rows)
    assert index.index_spec_ == f"{GROUPS},rows=int8"
    true = nearest(rows, rows[:100], "euclidean", 1)
    assert share(found(index, rows[:100], 1), true) > 0.95
    for spec in ("Groups4,nprobe=5", "Groups4", "Groups4,nprobe=2,rows=int4"):
        with pytest.raises(ValueError, match="index_spec must be like 'Groups64"):
            LatentIndex(index_spec=spec).fit(rows)
