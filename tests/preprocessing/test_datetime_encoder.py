"""Dates as phases of the day, the week and the year."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from sklearn.utils.estimator_checks import check_estimator

from latentsk import DatetimeEncoder

HOURS = pd.date_range("2026-01-05", periods=24 * 21, freq="h")  # begins on a Monday
FRAME = pd.DataFrame({"paid": HOURS})


def angles_of(dates, of):
    """Return phases by the fields of pandas, as angles."""
    day = (dates.hour * 3600 + dates.minute * 60 + dates.second) / 86_400
    return 2 * np.pi * {"day": day, "week": (dates.day_of_week + day) / 7}[of]


def test_estimator_checks():
    with pytest.warns(Warning, match="Can't test estimator DatetimeEncoder"):
        check_estimator(DatetimeEncoder())


def test_phases_are_those_of_pandas():
    found = DatetimeEncoder().fit_transform(FRAME)
    for k, of in enumerate(("day", "week")):
        angles = angles_of(HOURS, of)
        assert_allclose(found[:, 2 * k], np.sin(angles), atol=1e-9)
        assert_allclose(found[:, 2 * k + 1], np.cos(angles), atol=1e-9)


@pytest.mark.parametrize(
    "column",
    [
        HOURS.tz_localize("Europe/Rome", ambiguous="NaT", nonexistent="NaT"),
        HOURS.astype(str),
        HOURS.to_pydatetime(),
        HOURS.to_period("h"),
        HOURS.to_numpy(),
        pl.Series(HOURS.to_numpy()),
    ],
    ids=["zone", "strings", "objects", "periods", "numpy", "polars"],
)
def test_dates_of_every_type(column):
    is_polars = isinstance(column, pl.Series)
    table = (pl.DataFrame if is_polars else pd.DataFrame)({"paid": column})
    expected = DatetimeEncoder().fit(FRAME)
    encoder = DatetimeEncoder().fit(table)
    assert encoder.cycles_ == {"paid": ["time_of_day", "day_of_week"]}
    assert_allclose(encoder.transform(table), expected.transform(FRAME), atol=1e-9)
    assert_allclose(encoder.transform(FRAME), expected.transform(FRAME), atol=1e-9)


@pytest.mark.parametrize(
    ("dates", "cycles"),
    [
        (pd.date_range("2026-01-05", periods=20, freq="h"), []),
        (pd.date_range("2026-01-05", periods=48, freq="h"), ["time_of_day"]),
        (pd.date_range("2026-01-05", periods=30), ["day_of_week"]),
        (pd.date_range("2026-01-05", periods=500), ["day_of_week", "day_of_year"]),
        (pd.date_range("2026-01-05", periods=9, freq="7D"), []),
        # One sentinel does not make a year.
        (
            pd.DatetimeIndex([*pd.date_range("2026-01-05", periods=30), "1900-01-01"]),
            ["day_of_week"],
        ),
        (pd.DatetimeIndex([None, None]), []),
    ],
    ids=["a day", "two days", "a month", "a year", "Mondays", "sentinel", "missing"],
)
def test_cycles_that_the_dates_span(dates, cycles):
    encoder = DatetimeEncoder().fit(pd.DataFrame({"day": dates}))
    assert encoder.cycles_["day"] == cycles
    assert encoder.transform(pd.DataFrame({"day": dates})).shape[1] == 2 * len(cycles)
    assert len(encoder.get_feature_names_out()) == 2 * len(cycles)


def test_a_missing_date_is_as_far_from_every_date():
    gaps = FRAME.copy()
    gaps.loc[3, "paid"] = pd.NaT
    found = DatetimeEncoder().fit_transform(gaps)
    assert found[3].tolist() == [0.0] * 4
    known = np.delete(found, 3, axis=0)
    assert_allclose((known**2).sum(axis=1), 2.0)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("soon", r"'paid' must hold dates, got 'soon'"),
        ("05.03.2026", r"'paid' must hold dates, got '05.03.2026'"),
        ("now", r"'paid' must hold dates, got 'now'"),
        (3.5, r"'paid' must hold dates, got 3.5 of type float"),
        ([1], r"'paid' must hold dates, got \[1\] of type list"),
    ],
)
def test_what_is_no_date_is_named(cell, message):
    table = FRAME.astype(object)
    table.at[5, "paid"] = cell
    encoder = DatetimeEncoder().fit(FRAME)
    for method in (DatetimeEncoder().fit, encoder.transform):
        with pytest.raises((TypeError, ValueError), match=message):
            method(table)


def test_the_remedy_for_strings_works():
    X = FRAME.astype(object)
    X.at[5, "paid"] = "soon"
    with pytest.raises(ValueError, match="'soon', is missing then, and no") as error:
        DatetimeEncoder().fit(X)
    code = str(error.value).split("of them: ")[1].split(". What")[0]
    exec(code, {"X": X, "pd": pd})
    assert DatetimeEncoder().fit_transform(X)[5].tolist() == [0.0] * 4


@pytest.mark.parametrize(
    "form", ["%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p", "%Y/%m/%d %H:%M"]
)
def test_the_remedy_for_dates_of_another_form_keeps_them(form):
    X = FRAME.assign(paid=FRAME["paid"].dt.strftime(form))
    with pytest.raises(ValueError, match="must hold dates, got") as error:
        DatetimeEncoder().fit(X)
    exec(str(error.value).split("of them: ")[1].rstrip("."), {"X": X, "pd": pd})
    assert X["paid"].tolist() == FRAME["paid"].tolist()


def test_a_blank_is_missing():
    X = FRAME.astype(str)
    X.loc[5, "paid"] = ""
    assert DatetimeEncoder().fit_transform(X)[5].tolist() == [0.0] * 4


def test_one_column_is_no_table():
    with pytest.raises(ValueError, match=r"give X\[\[name\]\]"):
        DatetimeEncoder().fit(FRAME["paid"])


def test_date_objects():
    days = [[datetime.date(2026, 1, d)] for d in range(1, 29)]
    assert DatetimeEncoder().fit(days).cycles_ == {"x0": ["day_of_week"]}
