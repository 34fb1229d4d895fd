"""Tables of numbers, counts, flags and categories: their joint density, and gaps."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from scipy import stats
from scipy.special import log_softmax, logsumexp
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

import latentsk
from latentsk import VAEEmbedder

LIKELIHOOD = {
    "weight": "gaussian",
    "calls": "poisson",
    "kind": "categorical",
    "late": "bernoulli",
    "visits": "poisson",
}
# Of a factor z: what each column has as mean, log-rate or logit.
GRID = np.linspace(-8, 8, 801)


def logits_of(z):
    return np.stack([z, 0.3 + 0 * z, -0.5 - 1.2 * z], axis=-1)


def known_table(n_rows, seed):
    """Return rows of one factor, and columns that are independent given it."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n_rows)
    levels = (logits_of(z) + rng.gumbel(size=(n_rows, 3))).argmax(axis=1)
    return pd.DataFrame(
        {
            "weight": 3 + 2 * z + 0.7 * rng.normal(size=n_rows),
            "calls": rng.poisson(np.exp(3 + 0.6 * z)),
            "kind": np.array(["a", "b", "c"])[levels],
            "late": (rng.random(n_rows) < 1 / (1 + np.exp(1.5 * z - 0.5))) * 1,
            "visits": rng.poisson(np.exp(-1 - 0.5 * z)),
        }
    )


def with_gaps(table, share, seed):
    numbers = table.select_dtypes("number").columns
    holes = np.random.default_rng(seed).random(table.shape) < share
    return table.astype(dict.fromkeys(numbers, float)).mask(holes)


def known_log_density(table):
    """Return the exact log-density of the cells that are there, by quadrature."""
    z = GRID[:, None]
    chances = -np.logaddexp(0, z * [1.5, -1.5] + [-0.5, 0.5])  # of 1 and of 0
    by_column = {
        "weight": lambda v: stats.norm.logpdf(v, 3 + 2 * z, 0.7),
        "calls": lambda v: stats.poisson.logpmf(v, np.exp(3 + 0.6 * z)),
        "kind": lambda v: log_softmax(logits_of(GRID), axis=1)[:, np.array(v, int)],
        "late": lambda v: np.where(v == 1, chances[:, :1], chances[:, 1:]),
        "visits": lambda v: stats.poisson.logpmf(v, np.exp(-1 - 0.5 * z)),
    }
    total = stats.norm.logpdf(z) + np.log(GRID[1] - GRID[0])
    coded = table.assign(kind=table["kind"].map({"a": 0, "b": 1, "c": 2}))
    for name, density in by_column.items():
        cells = coded[name].to_numpy(float)
        known = np.nan_to_num(cells)
        total = total + np.where(np.isnan(cells), 0.0, density(known))
    return logsumexp(total, axis=0)


TRAINING, TEST = known_table(1_500, 0), known_table(400, 1)
HOLED = with_gaps(TEST, 0.25, 2)


def fitted(table, **parameters):
    options = {"max_epochs": 50, "likelihood_scale": "feature", "random_state": 0}
    vae = VAEEmbedder(1, likelihood=LIKELIHOOD, **{**options, **parameters})
    return vae.fit(table)


@pytest.fixture(scope="module")
def vae():
    return fitted(TRAINING)


def test_a_known_density_is_found(vae):
    for rows in (TEST, HOLED):
        exact = known_log_density(rows)
        found, error = vae.log_likelihood(rows, 300, random_state=0)
        assert error.mean() < 0.05
        assert found.mean() == pytest.approx(exact.mean(), abs=0.1)
        assert np.corrcoef(found, exact)[0, 1] > 0.99
        # A bound, and not a loose one.
        assert exact.mean() - 0.3 < vae.score(rows) < exact.mean() + 0.01


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["elbo", "iwae"])
def test_a_known_density_is_found_from_rows_with_gaps(objective):
    training = with_gaps(known_table(3_000, 0), 0.25, 3)
    vae = fitted(training, max_epochs=100, objective=objective)
    for rows in (TEST, HOLED):
        found, _ = vae.log_likelihood(rows, 500, random_state=0)
        assert found.mean() == pytest.approx(known_log_density(rows).mean(), abs=0.1)


def test_a_gap_is_the_sum_over_what_could_have_been_there(vae):
    rows = TEST[:30]
    for column, values in (("kind", ["a", "b", "c"]), ("late", [0, 1])):
        every = [
            vae.log_likelihood(rows.assign(**{column: value}), 3_000, random_state=0)[0]
            for value in values
        ]
        gap = rows.astype({"late": float}).assign(**{column: np.nan})
        found, _ = vae.log_likelihood(gap, 3_000, random_state=1)
        np.testing.assert_allclose(found, logsumexp(every, axis=0), atol=0.1)


def test_contributions_are_by_column_and_few_of_gaps(vae):
    contributions = vae.score_contributions(HOLED)
    assert contributions.shape == HOLED.shape
    scores = vae.score_samples(HOLED)
    np.testing.assert_allclose(contributions.sum(axis=1), scores, rtol=1e-6)
    # Of a cell that is missing there is its share of the divergence alone.
    shares = np.where(HOLED.isna(), contributions, np.nan)
    divergence = -vae.set_params(score_method="kl").score_samples(HOLED)
    vae.set_params(score_method="elbo")
    expected = np.broadcast_to(-divergence[:, None] / 5, shares.shape)
    np.testing.assert_allclose(shares[HOLED.isna()], expected[HOLED.isna()], rtol=1e-4)


def test_rows_beyond_all_supports_are_outliers(vae):
    rows = TEST[:5].astype({"calls": float, "visits": float})
    rows.loc[1, "calls"] = -4
    rows.loc[2, "late"] = 3
    rows.loc[3, "kind"] = "d"
    rows.loc[4, "visits"] = 1.25
    scores = vae.score_samples(rows)
    expected = [0.0, -5e6, -3e6, -2e6, -1.25e6]
    np.testing.assert_allclose(scores, expected, atol=100.0)
    assert vae.predict(rows).tolist() == [1, -1, -1, -1, -1]
    worst = vae.score_contributions(rows).argmin(axis=1)[1:]
    assert [rows.columns[j] for j in worst] == ["calls", "late", "kind", "visits"]
    with pytest.raises(ValueError, match=r"needs counts .*-4 in column 'calls', row 1"):
        fitted(rows)


def test_it_draws_rows_of_their_kinds(vae):
    drawn = vae.sample(3_000, random_state=0)
    assert drawn.columns.tolist() == list(LIKELIHOOD)
    for name in ("calls", "visits", "late"):
        assert (drawn[name] == drawn[name].round()).all()
        assert drawn[name].mean() == pytest.approx(TRAINING[name].mean(), rel=0.15)
    assert set(drawn["late"]) == {0.0, 1.0}
    shares = drawn["kind"].value_counts(normalize=True)
    expected = TRAINING["kind"].value_counts(normalize=True)
    assert (shares - expected).abs().max() < 0.05
    # Columns hang together as in the data.
    numbers = ["weight", "calls", "visits", "late"]
    difference = drawn[numbers].corr() - TRAINING[numbers].corr()
    assert difference.abs().to_numpy().max() < 0.12


def test_gaps_of_known_rows_are_filled(vae):
    filled = vae.reconstruct(HOLED)
    assert not filled.isna().to_numpy().any()
    for name in ("weight", "calls"):
        is_gap = HOLED[name].isna()
        error = (filled[name] - TEST[name])[is_gap].pow(2).mean()
        assert error < 0.6 * (TRAINING[name].mean() - TEST[name])[is_gap].pow(2).mean()
    is_gap = HOLED["kind"].isna()
    agrees = (filled["kind"] == TEST["kind"])[is_gap].mean()
    assert agrees > (TEST["kind"][is_gap] == TRAINING["kind"].mode()[0]).mean() + 0.03


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_diabetes])
def test_gaps_of_real_tables_are_filled_better_than_by_means(load):
    whole = load().data[:300]
    holes = np.random.default_rng(0).random(whole.shape) < 0.25
    X = np.where(holes, np.nan, whole)
    vae = VAEEmbedder(likelihood={0: "gaussian"}, max_epochs=40, random_state=0).fit(X)
    unit = np.nanstd(X, axis=0)
    filled = vae.reconstruct(X)
    error = ((filled - whole) / unit)[holes]
    by_means = ((np.nanmean(X, axis=0) - whole) / unit)[holes]
    assert np.square(error).mean() < 0.75 * np.square(by_means).mean()


def test_models_of_tables_with_gaps_are_stored_continued_and_exported(tmp_path):
    X = load_wine().data[:, :6].copy()
    X[:, 4] = X[:, 4].round()  # magnesium
    X[:, 5] = X[:, 5] > 2.3
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    parameters = {"likelihood": {4: "poisson"}, "max_epochs": 5, "random_state": 0}
    vae = VAEEmbedder(2, **parameters).fit(X)
    expected = ["gaussian"] * 4 + ["poisson", "bernoulli"]
    assert list(vae.likelihood_.values()) == expected
    latentsk.save(vae, tmp_path / "vae.latentsk")
    loaded = latentsk.load(tmp_path / "vae.latentsk")
    for name in ("score_samples", "reconstruct", "transform"):
        found = getattr(loaded, name)(X)
        np.testing.assert_array_equal(found, getattr(vae, name)(X))
    vae.to_onnx(tmp_path / "vae.onnx", dtype="float64")
    session = onnxruntime.InferenceSession(tmp_path / "vae.onnx")
    rows = X[:20].copy()
    rows[0, 4], rows[1, 5], rows[2] = -3.0, 7.0, np.nan
    names = ["transform", "reconstruct", "score_samples"]
    for name, values in zip(names, session.run(names, {"X": rows}), strict=True):
        np.testing.assert_allclose(
            values, getattr(vae, name)(rows), rtol=1e-4, atol=1e-3, err_msg=name
        )
    chunks = VAEEmbedder(2, **parameters).partial_fit(X[:90]).partial_fit(X[90:])
    assert np.isfinite(chunks.score_samples(X)).all()


def test_the_same_table_in_another_form_scores_the_same(vae):
    expected = vae.score_samples(HOLED)
    forms = {
        "nullable": HOLED.convert_dtypes(),
        "objects": HOLED.astype(object),
        "categories": HOLED.astype({"kind": "category"}),
        "none": HOLED.assign(
            kind=HOLED["kind"].astype(object).where(HOLED["kind"].notna(), None)
        ),
    }
    for name, form in forms.items():
        np.testing.assert_array_equal(vae.score_samples(form), expected, err_msg=name)


def test_a_row_of_gaps_alone_says_nothing(vae):
    nothing = HOLED[:1].astype({"kind": object})
    nothing.loc[:, :] = np.nan
    value, _ = vae.log_likelihood(nothing, 2_000, random_state=0)
    assert abs(value[0]) < 0.05
