"""Windows of series against loops, and back to sensors and steps."""

import datetime
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

from latentsk import (
    LatentOutlierDetector,
    PCAEmbedder,
    SlidingWindows,
    load,
    save,
)
from latentsk.preprocessing._windows import Windows, values_of_steps, window_starts

RNG = np.random.default_rng(0)
TIMES = pd.date_range("2026-03-01", periods=60, freq="10min", name="time")
SERIES = pd.DataFrame(
    RNG.normal(size=(60, 3)), TIMES, columns=["flow", "heat", "pressure"]
)
MACHINES = np.array(list("aab" * 20))


def by_loop(steps, length, step, groups, times=None, max_gap=np.inf):
    """Return windows of series, and the positions of their steps, one by one."""
    found = []
    for group in dict.fromkeys(groups):
        own = [i for i, g in enumerate(groups) if g == group]
        times_of = own if times is None else [times[i] for i in own]
        stretch_begin = 0
        for k in range(len(own)):
            if k and times_of[k] - times_of[k - 1] > max_gap:
                stretch_begin = k
            begin = k - length + 1
            if begin >= stretch_begin and (begin - stretch_begin) % step == 0:
                found.append(own[begin : k + 1])
    found = sorted(found, key=lambda positions: positions[-1])
    rows = [steps[positions].T.ravel() for positions in found]
    return np.array(rows), np.array(found)


# scikit-learn


def test_estimator_checks():
    with pytest.warns(Warning, match="Can't test estimator SlidingWindows"):
        check_estimator(SlidingWindows())


class Untagged(SlidingWindows):
    """Without the tag that keeps scikit-learn's checks away."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


# These ask for a row of the output for each row of the input, whatever the others.
OF_ROWS = {
    "check_transformer_data_not_an_array",
    "check_transformer_general",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
}


@pytest.mark.parametrize("length", [1, 3])
def test_estimator_checks_without_the_tag(length):
    n_checks = 0
    for estimator, check in estimator_checks_generator(Untagged(length, step=1)):
        name = check.func.__name__
        if name == "check_array_api_input" or (length > 1 and name in OF_ROWS):
            continue
        check(estimator)
        n_checks += 1
    assert n_checks > 30


# Windows


@pytest.mark.parametrize("groups", [None, MACHINES], ids=["one series", "two series"])
@pytest.mark.parametrize(("length", "step"), [(1, 1), (4, 1), (4, 3), (5, 7), (20, 20)])
def test_windows_are_those_of_a_loop(length, step, groups):
    steps = SERIES.to_numpy()
    expected, _ = by_loop(steps, length, step, ["a"] * 60 if groups is None else groups)
    windows = SlidingWindows(length, step=step)
    found = windows.fit_transform(steps, groups=groups)
    assert_array_equal(found, expected)
    assert_array_equal(windows.transform(steps, groups=groups), expected)


@pytest.mark.parametrize(("length", "begins"), [(24, 6), (4, 1), (3, 1), (9, 2)])
def test_the_default_step_is_a_quarter(length, begins):
    found = SlidingWindows(length).fit_transform(np.arange(100.0)[:, None])
    assert set(np.diff(found[:, 0])) == {begins}


def test_a_table_keeps_names_and_times():
    found = SlidingWindows(3, step=2).fit_transform(SERIES)
    assert list(found)[:4] == ["flow_lag2", "flow_lag1", "flow_lag0", "heat_lag2"]
    assert found.index.equals(TIMES[2::2])
    for lag in range(3):
        expected = SERIES["heat"].shift(lag).loc[found.index]
        assert_array_equal(found[f"heat_lag{lag}"], expected)


def test_windows_do_not_cross_gaps():
    gone = SERIES.drop(TIMES[[7, 8, 30]])
    times = gone.index.to_list()
    gap = pd.Timedelta("10min")
    expected, positions = by_loop(
        gone.to_numpy(), 4, 2, ["a"] * len(gone), times, max_gap=gap
    )
    for max_gap in (
        "10min",
        gap,
        datetime.timedelta(minutes=10),
        "600s",
        gap.to_numpy(),
    ):
        windows = SlidingWindows(4, step=2, max_gap=max_gap)
        found = windows.fit_transform(gone)
        assert_array_equal(found, expected)
        assert found.index.equals(gone.index[positions[:, -1]])
    across = SlidingWindows(4, step=2, max_gap="30min").fit_transform(gone)
    assert len(across) == len(SlidingWindows(4, step=2).fit_transform(gone)) == 27


@pytest.mark.parametrize(
    ("index", "max_gap"),
    [
        (np.delete(np.arange(61) * 0.5, 20), 0.5),
        (np.delete(np.arange(61), 20), 1),
        (pd.to_timedelta(np.delete(np.arange(61), 20), unit="s"), "1s"),
        (pd.period_range("2026-03-01", periods=61, freq="D").delete(20), "1D"),
        (TIMES.tz_localize("Europe/Rome").union([TIMES[-1].tz_localize("Europe/Rome")
            + pd.Timedelta("10min")]).delete(20), "10min"),
    ],
    ids=["seconds", "integers", "durations", "periods", "zone"],
)  # fmt: skip
def test_gaps_of_every_kind_of_index(index, max_gap):
    gone = SERIES.set_axis(index, axis=0)
    found = SlidingWindows(4, step=1, max_gap=max_gap).fit_transform(gone)
    assert len(found) == 60 - 2 * 3  # in two stretches
    assert not np.isin(found.index, gone.index[20:23]).any()


def test_gaps_of_each_series_by_itself():
    # The machines take turns of an hour, which is a gap of neither.
    turns = np.repeat(["a", "b"] * 30, 1)
    windows = SlidingWindows(5, step=1, max_gap="20min")
    found = windows.fit_transform(SERIES, groups=turns)
    assert len(found) == 2 * 26
    assert_array_equal(found["flow_lag1"], SERIES["flow"].shift(2)[found.index])


def test_levels_of_an_index_tell_series():
    panel = SERIES.assign(machine=MACHINES).set_index("machine", append=True)
    panel = panel.swaplevel()
    windows = SlidingWindows(4, step=1)
    found = windows.fit_transform(panel)
    expected = windows.fit_transform(SERIES, groups=MACHINES)
    assert_array_equal(found, expected)
    assert found.index.names == ["machine", "time"]
    stacked = panel.sort_index()
    for machine in "ab":
        alone = windows.fit_transform(SERIES[machine == MACHINES])
        assert_array_equal(windows.transform(stacked).loc[machine], alone)
    deeper = pd.concat({"here": stacked, "there": stacked}, names=["place"])
    assert len(windows.transform(deeper)) == 2 * len(found)


def test_groups_are_aligned_by_their_labels():
    windows = SlidingWindows(4)
    expected = windows.fit_transform(SERIES, groups=MACHINES)
    labels = pd.Series(MACHINES, TIMES)
    for groups in (labels, labels[::-1], list(MACHINES), labels.astype("category")):
        assert_array_equal(windows.transform(SERIES, groups=groups), expected)


def test_missing_values_pass():
    gaps = SERIES.copy()
    gaps.iloc[10, 1] = np.nan
    found = SlidingWindows(4, step=1).fit_transform(gaps)
    assert found.isna().to_numpy().sum() == 4
    assert set(found.columns[found.isna().any()]) == {f"heat_lag{k}" for k in range(4)}
    detector = LatentOutlierDetector(random_state=0).fit(found)
    assert np.isfinite(detector.score_samples(found)).all()


def test_types():
    rows = SERIES.to_numpy()
    windows = SlidingWindows(4)
    expected = windows.fit_transform(rows)
    assert windows.fit_transform(rows.astype(np.float32)).dtype == np.float32
    assert windows.fit_transform((rows > 0).astype(int)).dtype == np.float64
    polars = pl.DataFrame(SERIES.reset_index(drop=True).to_dict("list"))
    assert_array_equal(windows.fit_transform(polars), expected)
    assert list(windows.feature_names_in_) == list(SERIES)
    assert_array_equal(windows.fit_transform(rows.tolist()), expected)


def test_set_output():
    windows = SlidingWindows(4).set_output(transform="polars").fit(SERIES)
    found = windows.transform(SERIES)
    assert isinstance(found, pl.DataFrame)
    assert found.columns[0] == "flow_lag3"
    windows = SlidingWindows(4).set_output(transform="pandas")
    assert windows.fit_transform(SERIES.to_numpy()).columns[0] == "x0_lag3"
    assert windows.fit_transform(SERIES).index.equals(TIMES[3:])


def test_no_input_is_changed_or_shared():
    rows = SERIES.to_numpy().copy()
    found = SlidingWindows(1).fit_transform(rows)
    found[:] = 0.0
    assert_array_equal(rows, SERIES)


def test_a_pipeline_without_labels():
    steps = make_pipeline(SlidingWindows(4), LatentOutlierDetector(random_state=0))
    scores = steps.fit(SERIES).score_samples(SERIES)
    rows = SlidingWindows(4).fit_transform(SERIES)
    detector = LatentOutlierDetector(random_state=0).fit(rows)
    assert_array_equal(scores, detector.score_samples(rows))


@pytest.mark.parametrize("method", ["auto", "embedder_score"])
def test_no_step_of_an_embedder(method):
    embedder = make_pipeline(SlidingWindows(4), PCAEmbedder(2))
    detector = LatentOutlierDetector(embedder, method=method)
    with pytest.raises(ValueError, match=r"returned 57 rows for 60.*comes before the"):
        detector.fit(SERIES)
    assert not hasattr(detector, "offset_")


def test_clones_pickles_and_files(tmp_path):
    windows = SlidingWindows(4, step=2, max_gap="10min").fit(SERIES)
    save(windows, tmp_path / "windows.latentsk")
    expected = windows.transform(SERIES)
    for other in (
        load(tmp_path / "windows.latentsk"),
        pickle.loads(pickle.dumps(windows)),
        clone(windows).fit(SERIES),
    ):
        assert other.transform(SERIES).equals(expected)
        assert other.get_params() == windows.get_params()


# Errors


@pytest.mark.parametrize(
    ("parameters", "change", "error", "message"),
    [
        ({}, lambda X: X[::-1], ValueError, r"09:50:00 in row 0|must increase"),
        ({}, lambda X: pd.concat([X, X]), ValueError, "in row 60 comes after .* 09:50"),
        ({}, lambda X: X.iloc[[0, *range(60)]], ValueError, "in row 1 comes after"),
        ({}, lambda X: X.set_axis([pd.NaT, *TIMES[1:]]), ValueError, "must increase"),
        ({}, lambda X: X[:3], ValueError, "at least length=4 steps .* got 3"),
        ({"max_gap": "1min"}, lambda X: X, ValueError, "length=4 steps .* got 1"),
        ({"max_gap": "1min"}, lambda X: X.to_numpy(), ValueError, "X has none"),
        ({"max_gap": "1min"}, lambda X: X.reset_index(drop=True), ValueError,
         "positive number, as the index of X holds numbers, got '1min'"),
        ({"max_gap": 5}, lambda X: X, ValueError, "such as '10min'.* got 5"),
        ({"max_gap": "soon"}, lambda X: X, ValueError, "such as '10min'.* got 'soon'"),
        ({"max_gap": "-1min"}, lambda X: X, ValueError, "such as '10min'"),
        ({"max_gap": 1.0}, lambda X: X.set_axis(TIMES.astype(str)), ValueError,
         "that of X holds str"),
        ({}, lambda X: X.assign(heat="hot"), ValueError, "'heat' holds strings"),
        ({}, lambda X: X.assign(heat=TIMES), TypeError, "'heat' holds dates"),
        ({}, lambda X: X.assign(heat=np.inf), ValueError, "infinity.* 'heat'"),
        ({"length": 0}, lambda X: X, ValueError, "'length' parameter"),
        ({"step": 0}, lambda X: X, ValueError, "'step' parameter"),
        ({"max_gap": 0}, lambda X: X, ValueError, "'max_gap' parameter"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_series(parameters, change, error, message):
    windows = SlidingWindows(**{"length": 4, **parameters})
    with pytest.raises(error, match=message):
        windows.fit_transform(change(SERIES))
    assert not hasattr(windows, "n_features_in_")


def test_the_remedies_for_times_work():
    X = SERIES[::-1]
    with pytest.raises(ValueError, match=r"X = X.sort_index\(\)"):
        SlidingWindows(4).fit_transform(X)
    expected = SlidingWindows(4).fit_transform(SERIES)
    assert SlidingWindows(4).fit_transform(X.sort_index()).equals(expected)
    both = pd.concat([SERIES, SERIES])
    with pytest.raises(ValueError, match="tell them by groups"):
        SlidingWindows(4).fit_transform(both)
    found = SlidingWindows(4).fit_transform(both, groups=np.repeat([0, 1], 60))
    assert len(found) == 2 * len(expected)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("machine", r"one label for each of the 60 rows of X, got 'machine'"),
        (MACHINES[:5], "one label for each of the 60 rows of X, got 5"),
        (pd.Series(MACHINES).where(MACHINES == "a"), "but row 2 has none"),
        (pd.Series(MACHINES, TIMES + pd.Timedelta("1s")), "groups is a Series whose"),
    ],
)
def test_what_is_wrong_with_groups(groups, message):
    with pytest.raises(ValueError, match=message):
        SlidingWindows(4).fit_transform(SERIES, groups=groups)


def test_other_sensors_than_those_of_the_fit():
    windows = SlidingWindows(4).fit(SERIES)
    with pytest.raises(ValueError, match="feature names"):
        windows.transform(SERIES[["heat", "flow", "pressure"]])
    with pytest.raises(ValueError, match="3 features"):
        SlidingWindows(4).fit(SERIES.to_numpy()).transform(SERIES.to_numpy()[:, :2])


def test_before_the_fit():
    windows = SlidingWindows(4)
    for call in (
        lambda: windows.transform(SERIES),
        lambda: windows.to_steps([0.0], SERIES),
        lambda: windows.sum_by_sensor(SERIES),
        windows.get_feature_names_out,
    ):
        with pytest.raises(NotFittedError):
            call()


# Steps


@pytest.mark.parametrize("aggregate", ["mean", "min", "max"])
@pytest.mark.parametrize("groups", [None, MACHINES], ids=["one series", "two series"])
@pytest.mark.parametrize(("length", "step"), [(1, 1), (4, 1), (4, 3), (5, 7)])
def test_scores_of_steps_are_those_of_a_loop(length, step, groups, aggregate):
    series = ["a"] * 60 if groups is None else groups
    _, positions = by_loop(SERIES.to_numpy(), length, step, series)
    scores = RNG.normal(size=len(positions))
    windows = SlidingWindows(length, step=step).fit(SERIES)
    found = windows.to_steps(scores, SERIES, groups=groups, aggregate=aggregate)
    assert found.index.equals(TIMES)
    for i in range(60):
        held = scores[(positions == i).any(axis=1)]
        if len(held):
            assert_allclose(found.iloc[i], getattr(np, aggregate)(held), rtol=1e-12)
        else:
            assert np.isnan(found.iloc[i])


def test_columns_of_scores_and_their_names():
    windows = SlidingWindows(4, step=1).fit(SERIES)
    scores = pd.DataFrame(RNG.normal(size=(57, 2)), TIMES[3:], columns=["a", "b"])
    found = windows.to_steps(scores, SERIES)
    assert list(found) == ["a", "b"]
    expected = windows.to_steps(scores["b"], SERIES)
    assert expected.name == "b"
    assert_array_equal(found["b"], expected)
    assert windows.to_steps(scores["b"].to_numpy(), SERIES).name == "score"
    windows = SlidingWindows(4, step=1).fit(SERIES.to_numpy())
    found = windows.to_steps(scores.to_numpy(), SERIES.to_numpy())
    assert_array_equal(found[:, 1], expected)


def test_means_of_the_lowest_scores_there_are():
    lowest = np.finfo(np.float64).min
    windows = SlidingWindows(3, step=1).fit(np.zeros((9, 1)))
    for aggregate in ("mean", "min", "max"):
        found = windows.to_steps([lowest] * 7, np.zeros((9, 1)), aggregate=aggregate)
        assert_allclose(found, lowest, rtol=1e-12)


def test_what_is_wrong_with_scores():
    windows = SlidingWindows(4, step=1).fit(SERIES)
    scores = pd.Series(RNG.normal(size=57), TIMES[3:])
    for wrong, message in (
        (scores[:5], r"each of the 57 windows of X, got shape \(5,\)"),
        (scores.to_numpy().reshape(57, 1, 1), "dim 3|windows of X"),
        (scores.sort_values(), "index that is not that of the windows"),
        (scores.where(scores > 0), "scores"),
    ):
        with pytest.raises(ValueError, match=message):
            windows.to_steps(wrong, SERIES)
    by_position = windows.to_steps(scores.reset_index(drop=True), SERIES)
    assert_array_equal(by_position, windows.to_steps(scores, SERIES))
    with pytest.raises(ValueError, match=r"one of \['mean', 'min', 'max'\], got 'sum'"):
        windows.to_steps(scores, SERIES, aggregate="sum")


def test_no_window_at_all():
    assert window_starts(np.array([True, True]), 2, 1).tolist() == []
    none = Windows(np.arange(2), np.empty(0, np.intp), 2)
    assert np.isnan(values_of_steps(np.empty((0, 1)), none, "mean")).all()


# Sensors


@pytest.fixture(scope="module")
def explained():
    """Return windows of sensors that follow one another, a detector, its reasons."""
    rng = np.random.default_rng(1)
    common = np.sin(np.arange(600) / 8)[:, None]
    noise = 0.2 * rng.normal(size=(600, 3))
    series = pd.DataFrame(common * [1, 2, 5] + noise, columns=list(SERIES))
    cutter = SlidingWindows(6)
    detector = LatentOutlierDetector(random_state=0).fit(cutter.fit_transform(series))
    series.loc[300:306, "heat"] -= 3.0
    windows = cutter.transform(series).loc[298:310]
    return cutter, windows, detector, detector.explain(windows)


def test_contributions_of_sensors_add_up_and_name_the_right_one(explained):
    cutter, windows, detector, reasons = explained
    found = cutter.sum_by_sensor(reasons)
    assert list(found) == ["flow", "heat", "pressure"]
    assert_array_equal(found.index, windows.index)
    scores = detector.score_samples(windows)
    assert_allclose(found.sum(axis=1), scores, rtol=1e-9)
    is_faulty = scores < detector.offset_
    assert is_faulty.sum() > 5
    assert set(found[is_faulty].idxmin(axis=1)) == {"heat"}
    lags = [f"heat_lag{k}" for k in range(6)]
    first = reasons.loc[windows.index[0], "contribution"]
    assert_allclose(found["heat"].iloc[0], first[lags].sum(), rtol=1e-9)


def test_contributions_of_arrays(explained):
    cutter, windows, _, reasons = explained
    expected = cutter.sum_by_sensor(reasons)
    values = reasons["contribution"].to_numpy().reshape(len(windows), -1)
    assert_array_equal(cutter.sum_by_sensor(values), expected)
    as_table = pd.DataFrame(values, columns=cutter.get_feature_names_out())
    assert_array_equal(cutter.sum_by_sensor(as_table), expected)


def test_reasons_of_windows_without_names(explained):
    cutter, windows, _, reasons = explained
    series = np.zeros((20, 3))
    nameless = SlidingWindows(6).fit(series)
    numbered = [f"x{j}" for j in range(18)]
    levels = [range(len(windows)), numbered]
    found = reasons.set_axis(
        pd.MultiIndex.from_product(levels, names=["row", "feature"])
    )
    assert_array_equal(nameless.sum_by_sensor(found), cutter.sum_by_sensor(reasons))
    assert list(nameless.sum_by_sensor(found)) == ["x0", "x1", "x2"]


def test_reasons_of_series_with_the_same_times():
    two = pd.concat([SERIES, SERIES + 0.1])
    cutter = SlidingWindows(3)
    machines = np.repeat(["a", "b"], 60)
    windows = cutter.fit_transform(two, groups=machines)
    detector = LatentOutlierDetector(random_state=0).fit(windows)
    found = cutter.sum_by_sensor(detector.explain(windows))
    assert found.index.equals(windows.index.rename("row"))
    assert_allclose(found.sum(axis=1), detector.score_samples(windows), rtol=1e-9)
    steps = cutter.to_steps(found, two, groups=machines)
    assert steps.shape == (120, 3)


@pytest.mark.parametrize(
    "change",
    [
        lambda reasons: reasons.sort_values("contribution"),
        lambda reasons: reasons[1:],
        lambda reasons: reasons.drop(index="heat_lag0", level="feature"),
        lambda reasons: reasons.rename(index={"heat_lag0": "heat"}),
    ],
    ids=["sorted", "cut", "a lag left out", "renamed"],
)
def test_reasons_that_are_not_those_of_windows(explained, change):
    cutter, _, _, reasons = explained
    with pytest.raises(ValueError, match="18 columns of each window, from 'flow"):
        cutter.sum_by_sensor(change(reasons))


def test_contributions_of_other_columns(explained):
    cutter, windows, _, _ = explained
    with pytest.raises(ValueError, match=r"18 columns, for 3 sensor\(s\) at 6 steps"):
        cutter.sum_by_sensor(np.zeros((4, 17)))
    with pytest.raises(ValueError, match="18 columns of each window"):
        cutter.sum_by_sensor(windows[windows.columns[::-1]])
