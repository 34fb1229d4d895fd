"""Bars of reasons: they are the contributions, and add up to the score."""

import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_wine

from latentsk import LatentOutlierDetector, PCAEmbedder
from latentsk.display import ExplanationDisplay

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True, as_frame=True)
    return X[y == 0], X[y == 1]


@pytest.fixture(scope="module")
def detector(wine):
    return LatentOutlierDetector(assume_clean=True, random_state=0).fit(wine[0])


@pytest.fixture
def reasons():
    return pd.DataFrame(
        {
            "contribution": [0.5, -3.0, 1.0, -0.25],
            "value": [1.0, 2501.2, np.nan, 0.0045578],
            "reconstructed": [2.0, -1.5, 0.0, 0.1],
        },
        index=pd.MultiIndex.from_product(
            [["north"], ["a", "b", "c", "d"]], names=["row", "feature"]
        ),
    )


def widths(display):
    return [bar.get_width() for bar in display.bars_]


def labels(display):
    return [label.get_text() for label in display.ax_.get_yticklabels()]


def beside(display):
    return [text.get_text() for text in display.ax_.texts]


def test_bars_are_the_contributions_and_add_up_to_the_score(detector, wine):
    X = wine[1]
    for row in (0, 7):
        display = ExplanationDisplay.from_estimator(detector, X, row, max_features=4)
        contributions = detector.explain(X)["contribution"].xs(X.index[row])
        heaviest = contributions.loc[contributions.abs().nlargest(4).index]
        assert_allclose(widths(display)[:4], heaviest)
        assert_allclose(sum(widths(display)), detector.score_samples(X)[row])
        assert_allclose(display.score, detector.score_samples(X)[row])
        assert labels(display)[-1] == "9 other features"


def test_the_largest_is_on_top_whatever_its_sign(reasons):
    display = ExplanationDisplay(reasons).plot()
    assert widths(display) == [-3.0, 1.0, 0.5, -0.25]
    low, high = display.ax_.get_ylim()
    assert low > high
    colors = [bar.get_facecolor() for bar in display.bars_]
    assert colors[0] == colors[3] != colors[1] == colors[2]


def test_labels_and_what_is_expected(reasons):
    display = ExplanationDisplay(reasons).plot(max_features=3)
    assert labels(display) == ["b = 2501", "c = missing", "a = 1", "1 other feature"]
    assert beside(display) == [f"expected {MINUS}1.5", "expected 0", "expected 2"]
    assert display.ax_.get_title() == f"row north: score {MINUS}1.75"


def test_without_a_reconstruction_the_nearest_row_stands_beside(reasons):
    reasons = reasons.drop(columns="reconstructed").assign(nearest_1=[1, 2, 3, "x"])
    assert beside(ExplanationDisplay(reasons).plot())[:2] == ["nearest 2", "nearest 3"]
    reasons = reasons.drop(columns="nearest_1")
    assert beside(ExplanationDisplay(reasons).plot()) == []


def test_a_space_that_keeps_every_value_expects_nothing(detector, wine):
    display = ExplanationDisplay.from_estimator(detector, wine[1])
    assert "reconstructed" not in display.reasons
    assert all(text.startswith("nearest") for text in beside(display))
    lossy = LatentOutlierDetector(PCAEmbedder(2), random_state=0).fit(wine[0])
    display = ExplanationDisplay.from_estimator(lossy, wine[1])
    assert all(text.startswith("expected") for text in beside(display))


def test_values_that_are_text_are_clipped(reasons):
    reasons = reasons.astype({"value": object})
    reasons.iloc[1, 1] = "red\n" * 20
    assert labels(ExplanationDisplay(reasons).plot())[0] == "b = red red red red red…"


@pytest.mark.parametrize("as_array", [False, True])
def test_the_title_names_the_row(detector, wine, as_array):
    X = wine[1]
    if as_array:
        X = X.to_numpy()
        detector = LatentOutlierDetector(random_state=0).fit(wine[0].to_numpy())
    display = ExplanationDisplay.from_estimator(detector, X, row=3)
    name = 3 if as_array else wine[1].index[3]
    assert display.ax_.get_title().startswith(f"row {name}: score ")
    assert display.reasons.index[0][0] == name


def test_a_large_row_number_is_whole(reasons):
    reasons = reasons.rename(index={"north": 12_345_678}, level="row")
    assert ExplanationDisplay(reasons).plot().ax_.get_title().startswith("row 12345678")


def test_long_names_are_not_cropped(reasons):
    long = ["x" * 90, "a long name in words " * 5, r"$\not$ a formula", "a $"]
    index = pd.MultiIndex.from_product([["row " * 30], long])
    display = ExplanationDisplay(reasons.set_axis(index)).plot()
    display.figure_.canvas.draw()
    drawn = display.ax_.get_tightbbox()
    assert drawn.x0 >= 0.0
    assert drawn.x1 <= display.figure_.bbox.width
    assert drawn.y0 >= 0.0
    assert drawn.y1 <= display.figure_.bbox.height
    for label in display.ax_.get_yticklabels():
        assert label.get_window_extent().x0 >= 0.0


def test_given_axes_are_drawn_on(detector, wine):
    figure, ax = plt.subplots()
    display = ExplanationDisplay.from_estimator(detector, wine[1], ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (-1, r"row must be an integer in \[0, 71\), got"),
        (71, r"row must be an integer in \[0, 71\), got"),
        (1.5, "row must be the position of a row or the label of one, got 1.5"),
        ("a", "row must be the position of a row or the label of one, got 'a'"),
        (None, "row must be the position of a row or the label of one, got None"),
    ],
)
def test_bad_rows(detector, wine, row, message):
    with pytest.raises(ValueError, match=message):
        ExplanationDisplay.from_estimator(detector, wine[1], row)


@pytest.mark.parametrize("max_features", [0, 2.5, None])
def test_bad_max_features(detector, wine, reasons, max_features):
    with pytest.raises(ValueError, match="max_features must be an integer >= 1"):
        ExplanationDisplay.from_estimator(detector, wine[1], max_features=max_features)
    with pytest.raises(ValueError, match="max_features must be an integer >= 1"):
        ExplanationDisplay(reasons).plot(max_features=max_features)


def test_reasons_of_several_rows_are_refused(detector, wine):
    with pytest.raises(ValueError, match="reasons must be those of one row, got 71"):
        ExplanationDisplay(detector.explain(wine[1])).plot()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch, detector, wine):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"latentsk\[plot\]"):
        ExplanationDisplay.from_estimator(detector, wine[1])


# Which row, dates, and what stands beside


@pytest.fixture(scope="module")
def numbered():
    rng = np.random.default_rng(0)
    index = range(10, 110)
    return pd.DataFrame(rng.normal(size=(100, 3)), index=index, columns=list("abc"))


def test_a_position_that_is_another_label_is_told(numbered):
    detector = LatentOutlierDetector(random_state=0).fit(numbered)
    with pytest.warns(
        UserWarning, match=r"row=40 is a position.*labelled 50"
    ) as caught:
        display = ExplanationDisplay.from_estimator(detector, numbered, row=40)
    assert display.reasons.index[0][0] == 50
    for code, label in (("X.loc[[40]]", 40), ("X.iloc[[40]]", 50)):
        assert f"from_estimator(detector, {code})" in str(caught[0].message)
        alone = eval(code, {"X": numbered})
        display = ExplanationDisplay.from_estimator(detector, alone)
        assert display.reasons.index[0][0] == label


@pytest.mark.parametrize("row", [0, 5, np.int64(99)])
def test_a_position_that_is_no_other_label_is_taken(numbered, row):
    detector = LatentOutlierDetector(random_state=0).fit(numbered)
    for X in (numbered, numbered.reset_index(drop=True), numbered.to_numpy()):
        if row == 99 and X is numbered:
            continue
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            ExplanationDisplay.from_estimator(detector, X, row=row)


def test_labels_that_are_given_are_no_trap(numbered):
    detector = LatentOutlierDetector(random_state=0).fit(numbered)
    labels = list(numbered.index)
    display = ExplanationDisplay.from_estimator(
        detector, numbered, row=40, labels=labels
    )
    assert display.reasons.index[0][0] == 50


@pytest.mark.parametrize(
    ("times", "texts"),
    [
        (["2026-03-19", "2026-01-02"], ["2026-03-19", "2026-01-02"]),
        (["2026-03-19", None], ["2026-03-19", "missing"]),
        (
            ["2026-03-19", "2026-01-02 12:30"],
            ["2026-03-19 00:00:00", "2026-01-02 12:30:00"],
        ),
    ],
)
def test_dates_at_midnight_are_days(times, texts):
    values = pd.Series([*map(pd.Timestamp, times), 7.0], dtype=object).to_numpy()
    reasons = pd.DataFrame(
        {
            "contribution": [-3.0, -2.0, -1.0],
            "value": values,
            "nearest_1": values[::-1],
        },
        index=["paid", "sent", "size"],
    )
    display = ExplanationDisplay(reasons).plot()
    assert [label.split(" = ")[1] for label in labels(display)] == [*texts, "7"]
    assert beside(display) == [f"nearest {text}" for text in ["7", *texts[::-1]]]


def test_the_picture_says_what_stands_beside_the_bars(reasons):
    display = ExplanationDisplay(reasons).plot()
    what = display.ax_.get_xlabel().splitlines()
    assert what[1:] == ["expected (grey): as the latent space sees the row"]
    reasons = reasons.drop(columns="reconstructed")
    display = ExplanationDisplay(reasons.assign(nearest_1=[1, 2, 3, "x"])).plot()
    what = display.ax_.get_xlabel().splitlines()
    assert what[1:] == ["nearest (grey): value in the nearest row presumed normal"]
    assert ExplanationDisplay(reasons).plot().ax_.get_xlabel().count("\n") == 0


# Contributions alone, gaps


@pytest.fixture(scope="module")
def by_sensor():
    times = pd.date_range("2026-03-02", periods=3, freq="h")
    values = [[-0.5, -3.0], [0.0, -1.0], [-2.0, -0.25]]
    return pd.DataFrame(values, index=times, columns=["flow", "heat"])


def test_a_row_of_contributions_is_drawn(by_sensor):
    display = ExplanationDisplay(by_sensor.loc["2026-03-02 01:00"]).plot()
    assert labels(display) == ["heat", "flow"]
    assert widths(display) == [-1.0, 0.0]
    assert beside(display) == []
    title = f"row 2026-03-02 01:00:00: score {MINUS}1"
    assert display.ax_.get_title() == title
    several = pd.concat({"A": by_sensor})  # a machine and a time
    title = ExplanationDisplay(several.iloc[0]).plot().ax_.get_title()
    assert title.startswith("row ('A', Timestamp('2026-03-02")


def test_a_column_of_contributions_is_drawn(reasons):
    alone = ExplanationDisplay(reasons["contribution"]).plot()
    assert labels(alone) == ["b", "c", "a", "d"]
    assert alone.ax_.get_title() == f"row north: score {MINUS}1.75"
    unnamed = reasons["contribution"].droplevel(0)
    assert ExplanationDisplay(unnamed).plot().ax_.get_title().startswith("score")


def test_values_may_be_left_out(reasons):
    display = ExplanationDisplay(reasons[["contribution"]]).plot(max_features=2)
    assert labels(display) == ["b", "c", "2 other features"]
    assert beside(display) == []
    nearest = reasons[["contribution"]].assign(nearest_1=[1.0, 2.0, 3.0, 4.0])
    assert beside(ExplanationDisplay(nearest).plot())[0] == "nearest 2"


def test_tables_without_contributions_are_refused(by_sensor, reasons):
    message = r"a column 'contribution', got \['flow', 'heat'\].*reasons\.iloc\[0\]"
    with pytest.raises(ValueError, match=message):
        ExplanationDisplay(by_sensor).plot()
    ExplanationDisplay(by_sensor.iloc[0]).plot()
    with pytest.raises(ValueError, match="a column 'contribution'"):
        ExplanationDisplay(reasons.drop(columns="contribution")).plot()
    with pytest.raises(TypeError, match=r"must be a DataFrame, .* got ndarray"):
        ExplanationDisplay(by_sensor.to_numpy()).plot()


@pytest.mark.parametrize("gap", [None, np.nan, pd.NaT, pd.NA])
def test_gaps_are_missing(gap):
    reasons = pd.DataFrame(
        {
            "contribution": [-3.0, -2.0],
            "value": np.array([gap, 1.0], object),
            "nearest_1": np.array([2.0, gap], object),
        },
        index=["age", "size"],
    )
    display = ExplanationDisplay(reasons).plot()
    assert labels(display) == ["age = missing", "size = 1"]
    assert beside(display) == ["nearest 2", "nearest missing"]


def test_what_has_no_way_back_is_no_gap(reasons):
    reasons.loc[("north", "b"), "reconstructed"] = np.nan
    assert beside(ExplanationDisplay(reasons).plot())[:2] == ["", "expected 0"]
    reasons = reasons.assign(reconstructed=np.nan, nearest_1=[1.0, 2.0, 3.0, 4.0])
    assert beside(ExplanationDisplay(reasons).plot())[:2] == ["nearest 2", "nearest 3"]


def test_a_row_of_gaps_alone(reasons):
    gaps = reasons.assign(value=np.nan, reconstructed=[1.0, 2.0, 3.0, 4.0])
    display = ExplanationDisplay(gaps).plot()
    assert set(labels(display)) == {f"{name} = missing" for name in "abcd"}
    assert beside(display)[0] == "expected 2"
