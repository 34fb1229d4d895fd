import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from latentsk.vae._table import as_columns, learned_layout
from latentsk.vae._trend import learned_trend

TABLE = pd.DataFrame(
    {
        "season": ["winter", "summer", "winter", "winter"],
        "mass": [1.0, 2.0, 4.0, 3.0],
        "kind": ["a", "b", "c", "a"],
        "age": [10, 20, 30, 60],
    }
)


def untrended(*arguments):
    return learned_layout(*arguments)._replace(trend=None)


@pytest.fixture(scope="module")
def layout():
    return untrended(TABLE, ["season", "age"], {"kind": "categorical"})


def test_rows_that_need_no_layout_have_none():
    assert learned_layout(TABLE, None, "gaussian") is None
    assert learned_layout(TABLE, [], "auto") is None


def test_modelled_columns_come_first_and_levels_as_scikit_learn_has_them(layout):
    one_hot = OneHotEncoder(sparse_output=False)
    expected = np.column_stack(
        [
            TABLE["mass"],
            one_hot.fit_transform(TABLE[["kind"]]),
            one_hot.fit_transform(TABLE[["season"]]),
            TABLE["age"],
        ]
    )
    np.testing.assert_array_equal(layout.coded(TABLE), expected)
    assert (layout.n_modelled, layout.n_conditions) == (4, 3)
    assert layout.blocks == [("gaussian", 1), ("categorical", 3)]
    np.testing.assert_array_equal(layout.sources, [1, 2, 2, 2, 0, 0, 3])
    np.testing.assert_array_equal(layout.firsts, [0, 1])


def test_tables_come_back_as_they_were(layout):
    coded = layout.coded(TABLE)
    rebuilt = layout.rows(coded[:, :4], layout.conditions_of(TABLE))
    pd.testing.assert_frame_equal(rebuilt, TABLE, check_dtype=False)


def test_numbers_come_back_as_an_array():
    X = np.arange(12.0).reshape(4, 3)
    layout = untrended(X, [1], "auto")
    coded = layout.coded(X)
    np.testing.assert_array_equal(coded, X[:, [0, 2, 1]])
    rebuilt = layout.rows(coded[:, :2], layout.conditions_of(X))
    np.testing.assert_array_equal(rebuilt, X)
    assert layout.coded(X.astype(np.float32)).dtype == np.float32


def test_only_modelled_cells_may_be_missing(layout):
    gaps = TABLE.assign(mass=[np.nan, 2, 4, 3], kind=["a", None, "c", "a"])
    is_gap = np.isnan(layout.coded(gaps))
    np.testing.assert_array_equal(np.argwhere(is_gap), [[0, 0], [1, 1], [1, 2], [1, 3]])
    for gap in ({"season": None}, {"age": np.nan}):
        (name,) = gap
        with pytest.raises(ValueError, match=f"Condition {name!r} is missing in row 0"):
            layout.coded(TABLE.assign(**gap))


def test_without_likelihoods_by_column_no_cell_may_be_missing():
    layout = learned_layout(TABLE[["season", "mass"]], ["season"], "auto")
    with pytest.raises(ValueError, match="NaN: a missing value in column 'mass', row"):
        layout.coded(TABLE[["season", "mass"]].assign(mass=np.nan))


def test_an_unknown_category_is_a_share_of_each_as_condition(layout):
    with pytest.warns(UserWarning, match=r"'season' has categories .*: 'spring'"):
        coded = layout.coded(TABLE.assign(season="spring"))
    np.testing.assert_array_equal(coded[:, 4:6], [[0.25, 0.75]] * 4)


def test_an_unknown_category_that_is_modelled_is_none_of_the_known(layout):
    coded = layout.coded(TABLE.assign(kind="z"))
    np.testing.assert_array_equal(coded[:, 1:4], np.zeros((4, 3)))


def test_moments_are_those_of_observed_numbers(layout):
    mass = np.array([1.0, np.nan, 4.0, 3.0])
    moments = layout.moments(layout.coded(TABLE.assign(mass=mass)), True)
    np.testing.assert_allclose(moments.mean, [0, np.nanmean(mass), 0, 30])
    np.testing.assert_allclose(
        moments.deviation, [1, np.nanstd(mass), 1, np.std(TABLE["age"])]
    )
    kept = layout.moments(layout.coded(TABLE), False)
    np.testing.assert_allclose(kept.mean, [0, 0, 0, 30])


def test_conditions_are_taken_from_whole_rows_or_by_themselves(layout):
    by_name = layout.given(TABLE[["age", "season"]], 4)
    whole = layout.given(TABLE, 4)
    for found in (by_name, whole):
        np.testing.assert_array_equal(found[0], TABLE["season"])
        np.testing.assert_array_equal(found[1], TABLE["age"])
    season, age = layout.given(["summer", 5], 3)
    assert (list(season), [float(cell) for cell in age]) == (["summer"] * 3, [5.0] * 3)
    series = layout.given(TABLE.iloc[1], 2)
    assert list(series[0]) == ["summer"] * 2


def test_conditions_of_the_wrong_shape_are_refused(layout):
    with pytest.raises(ValueError, match="must have 2 columns, the conditions, or 4"):
        layout.given([[1, 2, 3]], 1)
    with pytest.raises(ValueError, match="one row, or 3 rows, got 2"):
        layout.given(TABLE[:2], 3)
    with pytest.raises(ValueError, match="condition lacks column 'season'"):
        layout.given(TABLE[["age"]], 4)


def test_usual_conditions_are_the_mean_and_the_most_frequent(layout):
    mean = layout.moments(layout.coded(TABLE), True).mean
    season, age = layout.usual_conditions(mean, 2)
    assert (list(season), list(age)) == (["winter"] * 2, [30.0] * 2)


def test_kept_conditions_lead_back_to_cells(layout):
    season, age = layout.cells_of(layout.kept_conditions(layout.coded(TABLE)))
    np.testing.assert_array_equal(season, TABLE["season"])
    np.testing.assert_array_equal(age, TABLE["age"])


def test_conditions_change_on_the_way(layout):
    season, age = layout.cells_between(TABLE[:1], TABLE[1:2], 4)
    assert list(season) == ["winter", "winter", "summer", "summer"]
    np.testing.assert_allclose(age, np.linspace(10, 20, 4))


def test_contributions_are_added_up_by_column(layout):
    summed = layout.by_column(np.array([[1.0, 2.0, 3.0, 4.0]]))
    np.testing.assert_array_equal(summed, [[0, 1, 9, 0]])
    np.testing.assert_allclose(layout.shares, [1 / 2, 1 / 6, 1 / 6, 1 / 6])


@pytest.mark.parametrize(
    ("condition", "likelihood", "message"),
    [
        (["age"], {"age": "gaussian"}, "likelihood names 'age', which condition"),
        (None, {"mess": "gaussian"}, "likelihood names column 'mess'"),
        (None, {"mass": "normal"}, "likelihood must hold names out of .*got 'normal'"),
    ],
)
def test_wrong_likelihoods_are_refused(condition, likelihood, message):
    with pytest.raises(ValueError, match=message):
        learned_layout(TABLE, condition, likelihood)


def test_tables_of_other_libraries_are_read():
    polars = pytest.importorskip("polars")
    frame = polars.from_dict(TABLE.to_dict(orient="list"))
    expected = untrended(TABLE, ["season"], {"kind": "categorical"})
    layout = untrended(frame, ["season"], {"kind": "categorical"})
    assert layout == expected
    np.testing.assert_array_equal(layout.coded(frame), expected.coded(TABLE))
    assert as_columns(frame).shape == TABLE.shape


def test_what_is_linear_in_the_conditions_is_taken_off_and_put_back():
    rng = np.random.default_rng(0)
    season, load = rng.integers(2, size=500), rng.normal(size=500)
    noise = rng.normal(size=500)
    X = pd.DataFrame(
        {
            "season": np.where(season, "b", "a"),
            "load": load,
            "heat": 20.0 * season + 5.0 * load + noise,
            "flag": season,
        }
    )
    layout = learned_layout(X, ["season", "load"], {"flag": "bernoulli"})
    coded = layout.coded(X)
    assert coded[:, 0].std() == pytest.approx(noise.std(), rel=0.01)
    assert coded[:, 0].mean() == pytest.approx(X["heat"].mean())
    np.testing.assert_array_equal(coded[:, 1], season)
    rebuilt = layout.rows(coded[:, :2], layout.conditions_of(X))
    np.testing.assert_allclose(rebuilt["heat"], X["heat"])


@pytest.mark.parametrize("likelihood", ["auto", "bernoulli"])
def test_flags_have_no_trend(likelihood):
    X = np.repeat(np.eye(2), 20, axis=0)
    layout = learned_layout(X, [0], likelihood)
    np.testing.assert_array_equal(layout.coded(X)[:, 0], X[:, 1])


def test_a_trend_is_that_of_ridge_regression_without_missing_cells():
    rng = np.random.default_rng(0)
    conditions, cells = rng.normal(size=(40, 2)) * [1, 100], rng.normal(size=(40, 1))
    cells[:5] = np.nan
    trend = learned_trend(conditions, cells, np.array([True]))
    standardized = StandardScaler().fit_transform(conditions)
    ridge = Ridge(alpha=1.0).fit(standardized[5:], cells[5:, 0])
    expected = ridge.predict(standardized) - ridge.intercept_
    np.testing.assert_allclose(trend.at(conditions)[:, 0], expected)
