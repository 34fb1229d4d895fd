import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from sklearn.compose import make_column_transformer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import LatentIndex, LatentOutlierDetector, VAEEmbedder, load, save

SMALL = {"max_epochs": 30, "hidden_layer_sizes": (16,), "random_state": 0}


def weather(n_rows, seed=0):
    """Return temperature and power, which depend on the season and the load."""
    rng = np.random.default_rng(seed)
    season = rng.choice(["winter", "summer"], n_rows)
    load_ = rng.normal(50, 10, n_rows)
    heat = np.where(season == "summer", 25.0, 2.0) + 2 * rng.normal(size=n_rows)
    power = 0.5 * heat + 0.2 * load_ + 0.3 * rng.normal(size=n_rows)
    return pd.DataFrame({"heat": heat, "season": season, "power": power, "load": load_})


@pytest.fixture(scope="module")
def X():
    return weather(600)


@pytest.fixture(scope="module")
def vae(X):
    return VAEEmbedder(1, condition=["season", "load"], **SMALL).fit(X)


def test_a_linear_model_finds_the_exact_conditional_likelihood():
    rng = np.random.default_rng(0)
    n_rows, deviations = 3_000, np.array([0.3, 0.5, 0.8, 0.4, 0.6, 0.5])
    given = rng.normal(size=(n_rows, 2)) * [3.0, 0.5] + [10.0, 0.0]
    effects, loadings = rng.normal(size=(2, 6)), rng.normal(size=(2, 6))
    latents, noise = rng.normal(size=(n_rows, 2)), rng.normal(size=(n_rows, 6))
    rows = given @ effects + latents @ loadings + noise * deviations
    X = np.hstack([given, rows])
    vae = VAEEmbedder(
        2,
        condition=[0, 1],
        hidden_layer_sizes=(16,),
        activation="identity",
        likelihood_scale="feature",
        learning_rate_init=1e-2,
        max_epochs=60,
        random_state=0,
    ).fit(X[:2_000])
    covariance = loadings.T @ loadings + np.diag(deviations**2)
    normal = multivariate_normal(np.zeros(6), covariance)
    exact = normal.logpdf(rows[2_000:] - given[2_000:] @ effects)
    found, _ = vae.log_likelihood(X[2_000:], 200, random_state=0)
    assert abs(exact.mean() - found.mean()) < 0.1
    np.testing.assert_allclose(vae.likelihood_scale_, deviations, rtol=0.2)


def test_rows_that_are_abnormal_for_their_condition_are_found(vae):
    normal, other = weather(400, 1), weather(400, 2)
    other["season"] = np.where(other["season"] == "summer", "winter", "summer")
    labels = np.repeat([0, 1], 400)
    rows = pd.concat([normal, other], ignore_index=True)
    assert roc_auc_score(labels, -vae.score_samples(rows)) > 0.99
    plain = VAEEmbedder(1, **SMALL).fit(weather(600)[["heat", "power", "load"]])
    blind = plain.score_samples(rows[["heat", "power", "load"]])
    assert roc_auc_score(labels, -blind) < 0.6


def test_what_is_fitted_concerns_the_modelled_columns(vae, X):
    assert vae.likelihood_scale_.shape == (2,)
    assert vae.mean_.shape == vae.scale_.shape == (4,)
    np.testing.assert_allclose(vae.mean_[[0, 2, 3]], X.drop(columns="season").mean())
    assert (vae.mean_[1], vae.scale_[1]) == (0, 1)
    assert VAEEmbedder(condition=["season", "load"], **SMALL).fit(X).n_components_ == 2
    cold = X["power"] - 0.2 * X["load"] < X["heat"].median() / 2
    flags = X.assign(heat=cold, power=cold ^ (X["load"] > 65))
    flags = VAEEmbedder(1, condition=["season", "load"], **SMALL).fit(flags)
    assert flags.likelihood_ == "bernoulli"


def test_scores_are_densities_of_the_modelled_columns(X, vae):
    larger = X.assign(heat=1000 * X["heat"], load=1000 * X["load"])
    other = VAEEmbedder(1, condition=["season", "load"], **SMALL).fit(larger)
    np.testing.assert_allclose(
        other.score_samples(larger), vae.score_samples(X) - np.log(1000), atol=1e-2
    )


def test_contributions_of_conditions_are_zero(vae, X):
    for method in ("elbo", "iwae", "reconstruction"):
        vae.set_params(score_method=method)
        parts = vae.score_contributions(X)
        np.testing.assert_allclose(parts.sum(axis=1), vae.score_samples(X), rtol=1e-5)
        np.testing.assert_array_equal(parts[:, [1, 3]], 0)
    vae.set_params(score_method="elbo")


def test_reconstructions_keep_the_conditions_of_their_rows(vae, X):
    rebuilt = vae.reconstruct(X)
    pd.testing.assert_frame_equal(rebuilt[["season", "load"]], X[["season", "load"]])
    summer = X["season"] == "summer"
    assert rebuilt["heat"][summer].min() > rebuilt["heat"][~summer].max()
    at_rows = vae.inverse_transform(vae.transform(X), condition=X)
    pd.testing.assert_frame_equal(at_rows, rebuilt, rtol=1e-4)


def test_latents_are_decoded_at_the_usual_condition(vae, X):
    row = vae.inverse_transform([[0.0]])
    assert row.loc[0, "season"] == X["season"].mode()[0]
    np.testing.assert_allclose(row.loc[0, "load"], X["load"].mean())
    winter = vae.inverse_transform([[0.0]], condition=[["winter", 50.0]])
    summer = vae.inverse_transform([[0.0]], condition=[["summer", 50.0]])
    assert summer.loc[0, "heat"] - winter.loc[0, "heat"] == pytest.approx(23, abs=2)


def test_rows_are_drawn_for_conditions(vae, X):
    drawn = vae.sample(2_000, random_state=0)
    assert list(drawn.columns) == list(X.columns)
    shares = [table["season"].eq("summer").mean() for table in (drawn, X)]
    assert shares[0] == pytest.approx(shares[1], abs=0.05)
    for season, centre in (("winter", 2.0), ("summer", 25.0)):
        given = pd.DataFrame({"season": [season], "load": [60.0]})
        rows = vae.sample(500, random_state=0, condition=given)
        assert rows["heat"].mean() == pytest.approx(centre, abs=0.5)
        assert rows["heat"].std() == pytest.approx(2, abs=0.5)
        assert set(rows["season"]) == {season}
        np.testing.assert_array_equal(rows["load"], 60.0)


def test_paths_take_the_conditions_of_their_rows(vae, X):
    winter = X[X["season"] == "winter"].iloc[0]
    summer = X[X["season"] == "summer"].iloc[[0]]
    path = vae.interpolate(winter, summer, 4)
    assert list(path["season"]) == ["winter", "winter", "summer", "summer"]
    ends = pd.concat([vae.reconstruct(winter.to_frame().T), vae.reconstruct(summer)])
    found, expected = path.iloc[[0, -1]], ends
    for name in ("heat", "power", "load"):
        given = expected[name].astype(float).to_numpy()
        np.testing.assert_allclose(found[name], given, rtol=1e-4)
    traverse = vae.traverse(winter, 0, [-1.0, 1.0])
    assert list(traverse["season"]) == ["winter"] * 2
    rows = pd.concat([X[X["season"] == "winter"].iloc[[0]], summer])
    both = vae.interpolate(rows, summer, 4)
    assert both.index.names == ["pair", "step"]
    pd.testing.assert_frame_equal(both.loc[0], path, check_names=False)
    assert list(both.loc[1, "season"]) == ["summer"] * 4


def test_a_row_is_scored_by_itself(vae, X):
    scores = vae.score_samples(X)
    np.testing.assert_allclose(vae.score_samples(X[7:8]), scores[7:8], rtol=1e-5)
    np.testing.assert_allclose(vae.score_samples(X[::-1])[::-1], scores, rtol=1e-5)


@pytest.mark.parametrize("copied", ["file", "pickle"])
def test_conditional_models_are_kept(vae, X, tmp_path, copied):
    if copied == "file":
        save(vae, tmp_path / "vae.lsk")
        other = load(tmp_path / "vae.lsk")
    else:
        other = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(other.score_samples(X), vae.score_samples(X))
    pd.testing.assert_frame_equal(
        other.sample(5, random_state=0), vae.sample(5, random_state=0)
    )
    pd.testing.assert_frame_equal(other.reconstruct(X[:5]), vae.reconstruct(X[:5]))


@pytest.mark.parametrize("prior", ["mixture", "vamp", "flow"])
def test_every_prior_goes_with_conditions(X, prior):
    parameters = {**SMALL, "max_epochs": 5}
    vae = VAEEmbedder(2, condition=["season"], prior=prior, **parameters).fit(X)
    assert np.isfinite(vae.score_samples(X)).all()
    assert set(vae.sample(20)["season"]) == {"winter", "summer"}


def test_conditions_of_an_array_are_positions(X):
    numbers = X[["heat", "load", "power"]].to_numpy()
    vae = VAEEmbedder(1, condition=[1], **SMALL).fit(numbers)
    rebuilt = vae.reconstruct(numbers)
    assert isinstance(rebuilt, np.ndarray)
    np.testing.assert_array_equal(rebuilt[:, 1], numbers[:, 1])
    assert (
        vae.sample(3).shape == vae.inverse_transform(np.zeros((3, 1))).shape == (3, 3)
    )
    named = VAEEmbedder(1, condition=["load"], **SMALL)
    named.fit(X[["heat", "load", "power"]])
    np.testing.assert_array_equal(
        named.score_samples(X[["heat", "load", "power"]]), vae.score_samples(numbers)
    )


def test_conditions_are_named_as_the_step_before_returns_them(X):
    scaler = make_column_transformer(
        (StandardScaler(), ["heat", "power"]),
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    vae = VAEEmbedder(1, condition=["season"], **SMALL)
    pipeline = make_pipeline(scaler, vae).fit(X)
    assert pipeline.transform(X).shape == (600, 1)
    assert np.isfinite(cross_val_score(pipeline, X, cv=2)).all()


def test_chunks_teach_conditions(X):
    vae = VAEEmbedder(1, condition=["season", "load"], **SMALL)
    for start in range(0, 600, 200):
        vae.partial_fit(X[start : start + 200])
    np.testing.assert_allclose(vae.mean_[3], X["load"].mean())
    vae.calibrate(X)
    assert vae.predict(X).shape == (600,)
    with pytest.warns(UserWarning, match="'season' has categories"):
        vae.partial_fit(X.assign(season="spring"))


def test_another_fit_goes_on_from_conditions(X):
    vae = VAEEmbedder(1, condition=["season"], warm_start=True, **SMALL).fit(X)
    before = vae.score(X)
    assert vae.fit(X).score(X) > before - 0.2


def test_unknown_conditions_are_scored_with_a_warning(vae, X):
    with pytest.warns(UserWarning, match="'season' has categories .*: 'spring'"):
        scores = vae.score_samples(X[:3].assign(season="spring"))
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"season": None}, "Condition 'season' is missing in row 0"),
        ({"load": np.nan}, "a missing value in column 'load', row 0"),
        ({"heat": np.inf}, "infinity: inf in column 'heat', row 0"),
        ({"load": 1e101}, r"above 1e\+100: 1e\+101 in column 'load', row 0"),
        ({"heat": "warm"}, "column 'heat' holds strings"),
    ],
)
def test_bad_cells_are_named(vae, X, change, message):
    with pytest.raises(ValueError, match=message):
        vae.score_samples(X[:3].assign(**change))


def test_a_model_of_strings_needs_a_table(vae, X):
    with pytest.raises(ValueError, match="fitted on a table with strings in 'season'"):
        vae.score_samples(X.to_numpy())


def test_images_have_no_conditions():
    with pytest.raises(ValueError, match="are for tables"):
        VAEEmbedder(condition=[0]).fit(np.zeros((60, 8, 8)))
    with pytest.raises(ValueError, match="are for tables"):
        VAEEmbedder(condition=[0], input_shape=(1, 2, 2)).fit(np.zeros((60, 4)))


def test_conditions_are_refused_where_the_model_has_none(X):
    numbers = X[["heat", "power"]]
    vae = VAEEmbedder(1, **SMALL).fit(numbers)
    for call in (vae.sample, lambda **given: vae.inverse_transform([[0.0]], **given)):
        with pytest.raises(ValueError, match="fitted with condition="):
            call(condition=numbers[:1])


def test_a_failed_fit_leaves_the_model_as_it_was(X):
    vae = VAEEmbedder(1, condition=["season"], **SMALL).fit(X)
    before = vae.score_samples(X)
    with pytest.raises(ValueError, match="missing"):
        vae.fit(X.assign(season=None))
    np.testing.assert_array_equal(vae.score_samples(X), before)


@pytest.mark.parametrize("strings", [True, False])
def test_a_detector_measures_residuals_at_the_conditions_of_rows(X, strings):
    rows = X if strings else X.assign(season=(X["season"] == "summer") * 1.0)
    vae = VAEEmbedder(1, condition=["season", "load"], **SMALL)
    detector = LatentOutlierDetector(vae, random_state=0).fit(rows)
    first, second = rows["season"].unique()
    other = rows[:50].copy()
    other["season"] = other["season"].map({first: second, second: first})
    auc = roc_auc_score(
        [0] * 600 + [1] * 50, -detector.score_samples(pd.concat([rows, other]))
    )
    assert auc > 0.95
    reasons = detector.explain(other[:5])
    given = reasons.loc[(slice(None), ["season", "load"]), :]
    np.testing.assert_array_equal(given["contribution"].astype(float), 0)
    np.testing.assert_array_equal(given["reconstructed"], given["value"])


def test_a_detector_splits_the_score_of_a_conditional_embedder(X):
    vae = VAEEmbedder(1, condition=["season", "load"], **SMALL)
    detector = LatentOutlierDetector(vae, method="embedder_score", random_state=0)
    detector.fit(X)
    reasons = detector.explain(X[:5])["contribution"].unstack(sort=False)
    np.testing.assert_array_equal(reasons[["season", "load"]], 0)
    np.testing.assert_allclose(reasons.sum(axis=1), detector.score_samples(X[:5]))


def test_an_index_takes_conditions(X):
    index = LatentIndex(VAEEmbedder(1, condition=["season"], **SMALL)).fit(X)
    found = index.search(X[:4], 1)
    np.testing.assert_array_equal(found["id"], range(4))
