"""HierarchicalVAEEmbedder: levels, and what they share with a single one."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import latentsk
from latentsk import (
    HierarchicalVAEEmbedder,
    LatentIndex,
    LatentOutlierDetector,
    PCAEmbedder,
)
from latentsk.exceptions import CheckpointError, PosteriorCollapseWarning

# What is trained for a few epochs only has not come to use its latents.
pytestmark = pytest.mark.filterwarnings("ignore:The posterior collapsed")
SMALL = {
    "hidden_layer_sizes": (8,),
    "level_layer_sizes": (6,),
    "max_epochs": 8,
    "random_state": 0,
    "device": "cpu",
}
DIGITS = load_digits()
ROWS = DIGITS.data[:400]


def two_levels(**parameters):
    return HierarchicalVAEEmbedder((3, 2), **{**SMALL, **parameters})


@pytest.fixture(scope="module")
def fitted():
    """A model of few digits, both of whose levels are in use. It is not changed."""
    return HierarchicalVAEEmbedder(
        (6, 2), hidden_layer_sizes=(32,), max_epochs=80, random_state=0, device="cpu"
    ).fit(ROWS)


@parametrize_with_checks(
    [
        HierarchicalVAEEmbedder(**{**SMALL, "max_epochs": 4}),
        HierarchicalVAEEmbedder(
            (2, 1, 1),
            **{**SMALL, "max_epochs": 4},
            prior="vamp",
            likelihood="laplace",
            levels=2,
        ),
    ]
)
@pytest.mark.filterwarnings("ignore::latentsk.exceptions.PosteriorCollapseWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# Levels


def test_levels_lie_side_by_side_under_their_names(fitted):
    latents = fitted.transform(ROWS)
    assert latents.shape == (400, 8)
    names = [f"level1_{i}" for i in range(6)] + ["level2_0", "level2_1"]
    assert fitted.get_feature_names_out().tolist() == names
    np.testing.assert_array_equal(fitted.level_sizes_, [6, 2])
    assert fitted.n_components_ == 8
    frame = clone(fitted).set_params(max_epochs=1).set_output(transform="pandas")
    assert list(frame.fit(ROWS).transform(ROWS).columns) == names


@pytest.mark.parametrize(
    ("levels", "places"),
    [
        (1, range(6)),
        (2, [6, 7]),
        ([2, 1], [6, 7, 0, 1, 2, 3, 4, 5]),
        ((1, 2), range(8)),
    ],
)
def test_levels_are_chosen_after_the_fit(fitted, levels, places):
    places, whole = list(places), fitted.transform(ROWS)
    chosen = pickle.loads(pickle.dumps(fitted)).set_params(levels=levels)
    some = chosen.transform(ROWS)
    np.testing.assert_array_equal(some, whole[:, places])
    names = fitted.get_feature_names_out()[places]
    np.testing.assert_array_equal(chosen.get_feature_names_out(), names)
    # A level that is left out is at 0, which is what the level above says.
    filled = np.zeros_like(whole)
    filled[:, places] = some
    np.testing.assert_allclose(
        chosen.inverse_transform(some), fitted.inverse_transform(filled), rtol=1e-6
    )
    np.testing.assert_allclose(chosen.reconstruct(ROWS), chosen.inverse_transform(some))
    mean, deviation = chosen.transform_distribution(ROWS)
    np.testing.assert_array_equal(mean, some)
    assert (deviation > 0).all()
    # Scores are of all levels.
    np.testing.assert_array_equal(
        chosen.score_samples(ROWS), fitted.score_samples(ROWS)
    )


def test_a_coarse_reconstruction_lies_between_the_mean_and_the_fine_one(fitted):
    coarse = pickle.loads(pickle.dumps(fitted)).set_params(levels=2)

    def error(rebuilt):
        return ((ROWS - rebuilt) ** 2).sum(axis=1).mean()

    fine, by_top = error(fitted.reconstruct(ROWS)), error(coarse.reconstruct(ROWS))
    assert fine < 0.9 * by_top
    assert by_top < error(ROWS.mean(axis=0))


def test_a_level_between_two_others():
    model = HierarchicalVAEEmbedder((3, 2, 1), levels=2, **SMALL)
    latents = model.fit_transform(ROWS[:30])
    assert latents.shape == (30, 2)
    assert model.inverse_transform(latents).shape == (30, 64)
    assert model.latent_report(ROWS).levels.index.tolist() == [1, 2, 3]
    assert model.score_levels(ROWS[:3]).shape == (3, 4)


@pytest.mark.parametrize("levels", [0, 3, -1, 1.0, "top", [], [1, 1], [1, 3], True])
def test_levels_that_there_are_not(fitted, levels):
    with pytest.raises(ValueError, match="levels"):
        two_levels(levels=levels).fit(ROWS[:50])
    changed = pickle.loads(pickle.dumps(fitted)).set_params(levels=levels)
    for call in (changed.transform, changed.reconstruct, changed.inverse_transform):
        with pytest.raises(ValueError, match="levels"):
            call(ROWS[:2])


@pytest.mark.parametrize(
    "sizes", [0, (3,), (3, 0), (3, -1), (3, 1.5), [[3, 2]], (), (True, 2)]
)
def test_sizes_that_are_none(sizes):
    with pytest.raises(ValueError, match="n_components must be 'auto', a positive"):
        HierarchicalVAEEmbedder(sizes, **SMALL).fit(ROWS[:50])


def test_sizes_that_are_automatic():
    found = HierarchicalVAEEmbedder("auto", **SMALL).fit(ROWS)
    np.testing.assert_array_equal(found.level_sizes_, [8, 2])
    assert found.n_components == "auto"
    by_lowest = HierarchicalVAEEmbedder(5, **SMALL).fit(ROWS[:50])
    np.testing.assert_array_equal(by_lowest.level_sizes_, [5, 2])


def test_sizes_of_layers_between_levels():
    with pytest.raises(ValueError, match="level_layer_sizes must hold positive"):
        two_levels(level_layer_sizes=(4, 0)).fit(ROWS[:50])
    none = two_levels(level_layer_sizes=()).fit(ROWS[:50])
    assert [m.out_features for m in linears(none.module_.levels)] == [6]
    two = two_levels(level_layer_sizes=[5, 4]).fit(ROWS[:50])
    assert [m.out_features for m in linears(two.module_.levels)] == [5, 4, 6]
    automatic = two_levels(level_layer_sizes="auto").fit(ROWS[:50])
    assert [m.out_features for m in linears(automatic.module_.levels)] == [32, 6]


def linears(module):
    return [m for m in module.modules() if isinstance(m, torch.nn.Linear)]


# Scores


def test_parts_of_the_bound_by_level(fitted):
    parts = fitted.score_levels(ROWS)
    np.testing.assert_allclose(parts.sum(axis=1), fitted.score_samples(ROWS), rtol=1e-6)
    assert (parts[:, 1:] <= 0).all()
    report = fitted.latent_report(ROWS)
    np.testing.assert_allclose(
        -parts[:, 1:].mean(axis=0), report.levels["kl"], rtol=0.05
    )
    np.testing.assert_array_equal(report.levels["n_components"], [6, 2])
    assert report.levels["kl"].sum() == pytest.approx(report.kl)
    assert report.dimensions.index.tolist() == fitted.get_feature_names_out().tolist()
    assert report.n_active == report.dimensions["active"].sum()
    # Both are in use.
    assert (report.levels["kl"] > 0.2).all()
    assert (report.levels["n_active"] > 0).all()
    assert report.distance_from_prior < 3.0


def test_a_report_needs_rows(fitted):
    with pytest.raises(ValueError, match="at least 2 rows"):
        fitted.latent_report(ROWS[:1])


@pytest.mark.parametrize("method", ["elbo", "iwae", "reconstruction", "kl"])
@pytest.mark.parametrize("prior", ["normal", "vamp", "flow"])
def test_a_row_s_score_depends_on_it_alone(method, prior):
    model = two_levels(score_method=method, prior=prior, dropout=0.2).fit(ROWS)
    scores = model.score_samples(ROWS)
    np.testing.assert_allclose(model.score_samples(ROWS[::-1])[::-1], scores, rtol=1e-9)
    alone = np.concatenate([model.score_samples(row[None]) for row in ROWS[:5]])
    np.testing.assert_allclose(alone, scores[:5], rtol=1e-9)
    if method != "kl":
        parts = model.score_contributions(ROWS[:5])
        np.testing.assert_allclose(parts.sum(axis=1), scores[:5], rtol=1e-6)


@pytest.mark.parametrize("method", ["elbo", "iwae", "reconstruction"])
def test_scores_are_in_nats_of_the_original_units(X, method):
    model = two_levels(score_method=method).fit(X)
    larger = two_levels(score_method=method).fit(1_000 * X)
    np.testing.assert_allclose(
        larger.score_samples(1_000 * X),
        model.score_samples(X) - 5 * np.log(1_000),
        rtol=1e-4,
        atol=1e-3,
    )


def test_bounds_and_their_order(fitted):
    elbo = fitted.score(ROWS)
    many = pickle.loads(pickle.dumps(fitted))
    iwae = many.set_params(score_method="iwae", n_score_samples=200).score(ROWS)
    value, error = fitted.log_likelihood(ROWS, 1_000)
    assert elbo < iwae < value.mean() + 0.3
    assert np.median(error) < 0.5
    both = [model.score(ROWS) for model in (many, many.set_params(levels=2))]
    assert both[0] == both[1]


@pytest.mark.slow
def test_a_linear_hierarchy_comes_to_the_likelihood_of_probabilistic_pca(X):
    rows = (X - X.mean(axis=0)) / X.std(axis=0)
    model = HierarchicalVAEEmbedder(
        (2, 1),
        hidden_layer_sizes=(),
        level_layer_sizes=(),
        standardize=False,
        likelihood_scale="shared",
        max_epochs=600,
        n_iter_no_change=600,
        learning_rate_init=1e-2,
        n_score_samples=200,
        validation_fraction=0.0,
        random_state=0,
        device="cpu",
    ).fit(rows)
    assert model.score(rows) == pytest.approx(
        PCAEmbedder(2).fit(rows).score(rows), abs=0.15
    )


def test_outliers_of_digits(fitted):
    noise = np.random.default_rng(0).permuted(ROWS[:50], axis=1)
    assert (fitted.predict(noise) == -1).mean() > 0.9
    assert (fitted.predict(DIGITS.data[400:800]) == 1).mean() > 0.8


# Samples and paths


def test_samples_come_from_the_whole_model(fitted):
    drawn = fitted.sample(2_000)
    assert drawn.shape == (2_000, 64)
    np.testing.assert_allclose(drawn.mean(axis=0), ROWS.mean(axis=0), atol=1.5)
    np.testing.assert_array_equal(fitted.sample(3), fitted.sample(3))
    with pytest.raises(ValueError, match="needs a VAE that was fitted with prior"):
        fitted.sample(2, component=0)


def test_an_upper_coordinate_moves_the_row(fitted):
    values = [-2.0, 0.0, 2.0]
    top = fitted.traverse(ROWS[0], 6, values)
    assert np.abs(np.diff(top, axis=0)).max(axis=1).min() > 1.0
    latents = np.tile(fitted.transform(ROWS[:1]), (3, 1))
    latents[:, 6] = values
    np.testing.assert_allclose(top, fitted.inverse_transform(latents))
    with pytest.raises(ValueError, match="from 0 to 7"):
        fitted.traverse(ROWS[0], 8, values)
    coarse = pickle.loads(pickle.dumps(fitted)).set_params(levels=2)
    assert coarse.traverse(ROWS[0], 1, values).shape == (3, 64)
    with pytest.raises(ValueError, match="from 0 to 1"):
        coarse.traverse(ROWS[0], 2, values)


def test_interpolation_runs_through_the_coordinates(fitted):
    path = fitted.interpolate(ROWS[0], ROWS[1], 5)
    np.testing.assert_allclose(path[[0, -1]], fitted.reconstruct(ROWS[:2]), rtol=1e-6)
    arc = fitted.interpolate(ROWS[0], ROWS[1], 5, method="slerp")
    np.testing.assert_allclose(arc[[0, -1]], path[[0, -1]], rtol=1e-6)


# Likelihoods, conditions, priors


@pytest.mark.parametrize(
    "likelihood",
    ["gaussian", "laplace", "student_t", "continuous_bernoulli", "poisson"],
)
def test_likelihoods(likelihood):
    rows = ROWS[:100] / (16.0 if likelihood == "continuous_bernoulli" else 1.0)
    model = two_levels(likelihood=likelihood).fit(rows)
    by_column = model.likelihood_ if likelihood == "poisson" else {0: model.likelihood_}
    assert set(by_column.values()) == {likelihood}
    assert np.isfinite(model.score_samples(rows)).all()
    assert model.reconstruct(rows).shape == rows.shape


def test_zeros_and_ones():
    rows = (ROWS > 8).astype(float)
    model = two_levels(dynamic_binarization=True).fit(rows)
    assert model.likelihood_ == "bernoulli"
    assert set(np.unique(model.sample(20))) == {0.0, 1.0}


def test_a_table_with_conditions_and_gaps():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "season": rng.choice(["dry", "wet"], 300),
            "flow": rng.normal(size=300),
            "count": rng.poisson(3.0, 300).astype(float),
        }
    )
    table["heat"] = 2.0 * table["flow"] + (table["season"] == "wet") * 5.0
    table.loc[::7, "flow"] = np.nan
    model = HierarchicalVAEEmbedder(
        (2, 1), condition=["season"], likelihood={"count": "poisson"}, **SMALL
    ).fit(table)
    assert model.transform(table).shape == (300, 3)
    assert model.reconstruct(table).notna().all(axis=None)
    drawn = model.sample(50, condition=table[:50])
    assert (drawn["season"] == table["season"][:50].to_numpy()).all()
    coarse = model.set_params(levels=2)
    rebuilt = coarse.inverse_transform(coarse.transform(table), condition=table)
    pd.testing.assert_frame_equal(rebuilt, coarse.reconstruct(table))
    with pytest.raises(ValueError, match="condition is for a HierarchicalVAEEmbedder"):
        two_levels().fit(ROWS).sample(condition=ROWS[:1])


def test_clusters_of_the_top_level():
    rng = np.random.default_rng(0)
    rows = np.vstack(
        [rng.normal(size=(150, 4)) + shift for shift in ([8] * 4, [-8] * 4)]
    )
    model = HierarchicalVAEEmbedder(
        (2, 2), prior="mixture", n_prior_components=2, **{**SMALL, "max_epochs": 40}
    ).fit(rows)
    assert model.prior_means_.shape == (2, 2)
    components = model.predict_component(rows)
    assert components.shape == (300,)
    # They are those of the top level, whatever transform returns.
    lower = model.set_params(levels=1)
    np.testing.assert_array_equal(lower.predict_component(rows), components)
    assert lower.sample(4, component=1).shape == (4, 4)


# Training


def test_a_level_that_is_not_used_is_warned_of():
    rows = np.random.default_rng(0).normal(size=(60, 2))[:, [0, 0, 1, 1]]
    options = {**SMALL, "beta": 4.0, "n_iter_no_change": 60}
    with pytest.warns(PosteriorCollapseWarning, match="Level 2 of 2 is not used"):
        HierarchicalVAEEmbedder((2, 1), **{**options, "max_epochs": 60}).fit(rows)
    # A short training tells nothing.
    HierarchicalVAEEmbedder((2, 1), **options).fit(rows)


def test_the_history_has_the_terms():
    model = two_levels(kl_warmup=0.5, max_epochs=6).fit(ROWS)
    entry = model.history_[-1]
    assert entry["train_kl"] > 0
    assert entry["train_kl_weight"] == pytest.approx(1.0)
    # The lowest level is trained alone at first, with a tenth of the weight.
    assert model.history_[0]["train_kl_weight"] < 0.1


def test_the_rest_of_an_estimator(tmp_path):
    model = two_levels().fit(ROWS)
    expected = model.transform(ROWS), model.score_samples(ROWS), model.offset_
    for other in (
        two_levels().fit(ROWS),
        pickle.loads(pickle.dumps(model)),
        saved_and_loaded(model, tmp_path / "levels.latentsk"),
    ):
        np.testing.assert_array_equal(other.transform(ROWS), expected[0])
        np.testing.assert_array_equal(other.score_samples(ROWS), expected[1])
        assert other.offset_ == expected[2]
        np.testing.assert_array_equal(other.sample(3), model.sample(3))
    assert saved_and_loaded(
        model.set_params(levels=(2, 1)), tmp_path / "levels.latentsk"
    ).levels in [(2, 1), [2, 1]]


def saved_and_loaded(model, path):
    latentsk.save(model, path)
    return latentsk.load(path)


def test_a_checkpoint_resumes_bit_for_bit(tmp_path):
    path = tmp_path / "training"
    options = {"max_epochs": 12, "kl_warmup": 0.3}
    whole = two_levels(**options).fit(ROWS)
    stopped = two_levels(
        **options, checkpoint=path, checkpoint_interval=1, max_time=1e-9
    )
    stopped.fit(ROWS)
    with pytest.raises(CheckpointError):
        two_levels(**{**options, "level_layer_sizes": (5,)}, checkpoint=path).fit(ROWS)
    # What transform returns is no part of the training.
    resumed = two_levels(**options, checkpoint=path, levels=2).fit(ROWS)
    assert len(resumed.history_) == 12
    np.testing.assert_array_equal(resumed.transform(ROWS), whole.transform(ROWS)[:, 3:])


def test_training_continues():
    warm = two_levels(warm_start=True).fit(ROWS)
    before = warm.score(ROWS)
    assert warm.fit(ROWS).score(ROWS) > before
    with pytest.raises(ValueError, match="warm_start continues with the same network"):
        warm.set_params(n_components=(3, 1)).fit(ROWS)
    streamed = two_levels()
    for _ in range(3):
        streamed.partial_fit(ROWS[:200]).partial_fit(ROWS[200:])
    assert len(streamed.history_) == 6
    assert streamed.module_.levels.has_started == 1.0
    assert streamed.calibrate(ROWS).predict(ROWS).shape == (400,)


@pytest.mark.parametrize("parameters", [{}, {"prior": "vamp"}, {"objective": "iwae"}])
def test_training_in_lower_precision(parameters):
    model = two_levels(precision="bfloat16", **parameters).fit(ROWS)
    assert np.isfinite(model.score_samples(ROWS)).all()


def test_free_nats_and_capacity():
    for parameters in (
        {"free_nats": 0.2},
        {"capacity": 3.0},
        {"prior": "vamp", "free_nats": 0.1},
    ):
        model = two_levels(**parameters).fit(ROWS)
        assert np.isfinite(model.score(ROWS))
    with pytest.raises(ValueError, match="free_nats and capacity exclude each other"):
        two_levels(free_nats=0.1, capacity=1.0).fit(ROWS)


# Images


def test_images(tmp_path):
    images = DIGITS.images[:200]
    model = HierarchicalVAEEmbedder(
        (3, 2),
        network="conv",
        hidden_layer_sizes=(4, 8),
        max_epochs=3,
        random_state=0,
        device="cpu",
    ).fit(images)
    assert model.input_shape_ == (1, 8, 8)
    assert model.transform(images).shape == (200, 5)
    assert model.reconstruct(images).shape == images.shape
    assert model.sample(2).shape == (2, 8, 8)
    assert model.traverse(images[0], 4, [0.0, 1.0]).shape == (2, 8, 8)
    assert model.score_map(images[:2]).shape == (2, 8, 8)
    loaded = saved_and_loaded(model, tmp_path / "images.latentsk")
    np.testing.assert_array_equal(loaded.transform(images), model.transform(images))


# With the rest of the house


def test_similar_rows_by_the_upper_level(fitted):
    coarse = pickle.loads(pickle.dumps(fitted)).set_params(levels=2)
    index = LatentIndex(coarse).fit(ROWS)
    distances, positions = index.kneighbors(ROWS[:3], 2)
    np.testing.assert_array_equal(positions[:, 0], [0, 1, 2])
    latents = coarse.transform(ROWS)
    nearest = latents[positions[:, 1]] - latents[:3]
    np.testing.assert_allclose(
        distances[:, 1], np.linalg.norm(nearest, axis=1), rtol=1e-5
    )


def test_pipelines_and_the_detector():
    pipeline = make_pipeline(StandardScaler(), two_levels()).fit(ROWS)
    assert pipeline.get_feature_names_out()[-1] == "level2_1"
    assert pipeline.score_samples(ROWS).shape == (400,)
    detector = LatentOutlierDetector(two_levels(), random_state=0).fit(ROWS)
    assert detector.predict(ROWS).shape == (400,)


@pytest.mark.parametrize(
    "parameters",
    [
        {"levels": (2, 1), "score_method": "iwae"},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"prior": "vamp", "levels": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_file_for_onnxruntime(parameters, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    rows = ROWS.astype(np.float32)
    model = two_levels(n_score_samples=2, **parameters).fit(rows)
    names = ["transform", "reconstruct", "score_samples"]
    model.to_onnx(tmp_path / "levels.onnx", methods=names)
    session = onnxruntime.InferenceSession(tmp_path / "levels.onnx")
    for name, found in zip(names, session.run(names, {"X": rows}), strict=True):
        expected = getattr(model, name)(rows)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    # Perceptrons are written in float64, too.
    model.to_onnx(tmp_path / "exact.onnx", methods="transform", dtype="float64")
    session = onnxruntime.InferenceSession(tmp_path / "exact.onnx")
    (found,) = session.run(None, {"X": ROWS})
    np.testing.assert_allclose(found, model.transform(ROWS), rtol=1e-9, atol=1e-9)
