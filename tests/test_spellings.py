"""Numbers, dates and truth values of another form: code that reads them."""

import math

import numpy as np
import pandas as pd
import pytest

from latentsk._spellings import date_reading, number_reading, truth_code

COLUMN = "X['a']"
NAN = math.nan


def read(code, cells):
    table = pd.DataFrame({"a": cells})
    return eval(code, {"X": table, "pd": pd}).tolist()


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["12,50", "99999,00"], [12.5, 99_999]),
        (["1.234,50", "12"], [1_234.5, 12]),
        (["1,234.50", "9.5"], [1_234.5, 9.5]),
        (["1 234,50", "1\u202f234.567,8"], [1_234.5, 1_234_567.8]),
        (["1 234,50", "7"], [1_234.5, 7]),
        (["1\u202f234,5", "12 000"], [1_234.5, 12_000]),
        (["1'234.50", "1\u2019000"], [1_234.5, 1_000]),
        (["1.234.567", "1.234"], [1_234_567, 1_234]),
        (["1,234,567", "1,234"], [1_234_567, 1_234]),
        (["1,234", "12,5"], [1.234, 12.5]),
        ([12.5, "1.234,50"], [12.5, 1_234.5]),
        (["12.50", "12,50"], [12.5, 12.5]),
        (["-12,5", " +3,25", "1e5"], [-12.5, 3.25, 1e5]),
        (["2,5", "n/a"], [2.5, NAN]),
        (["3", "n/a"], [3, NAN]),
        (["1,5;2", "12-50"], [NAN, NAN]),
    ],
)
def test_numbers_keep_their_value(cells, numbers):
    for series in (pd.Series(cells, dtype=object), pd.Series(cells).astype("category")):
        reading = number_reading(COLUMN, series)
        np.testing.assert_array_equal(read(reading.code, series), numbers)
        assert reading.is_read.tolist() == [not math.isnan(n) for n in numbers]
        assert reading.other_code is None
        assert ("coerce" in reading.code) == (not reading.is_read.all())


def test_no_number_becomes_another_where_no_form_fits_all():
    cells = pd.Series(["12.50", "1.234,50"])
    reading = number_reading(COLUMN, cells)
    np.testing.assert_array_equal(read(reading.code, cells), [12.5, NAN])
    assert "such as '1.234,50', is missing then" in reading.how(COLUMN, cells)


def test_missing_cells_stay_missing():
    for dtype in (object, "string"):
        cells = pd.Series(["1.234,50", None, "2"], dtype=dtype)
        code = number_reading(COLUMN, cells.dropna()).code
        np.testing.assert_array_equal(read(code, cells), [1_234.5, NAN, 2])


def test_what_can_mean_two_numbers_or_days_is_said():
    cells = pd.Series(["12", "1,234"])
    reading = number_reading(COLUMN, cells)
    assert read(reading.code, cells) == [12, 1.234]
    assert read(reading.other_code, cells) == [12, 1_234]
    assert "If '1,234' is 1234: X['a'] = " in reading.how(COLUMN, cells)
    cells = pd.Series(["03/04/2026"])
    reading = date_reading(COLUMN, cells)
    assert read(reading.code, cells) == [pd.Timestamp("2026-04-03")]
    assert read(reading.other_code, cells) == [pd.Timestamp("2026-03-04")]
    assert "month stands first in '03/04/2026': " in reading.how(COLUMN, cells)


@pytest.mark.parametrize(
    ("cells", "dates"),
    [
        (["26.03.2026 13:18"], ["2026-03-26 13:18"]),
        (["03.04.2026"], ["2026-04-03"]),
        (["03/26/2026", "01/02/2026"], ["2026-03-26", "2026-01-02"]),
        (["26/3/2026", "1/2/2026"], ["2026-03-26", "2026-02-01"]),
        (["26.03.26 7:05:09.5"], ["2026-03-26 07:05:09.5"]),
        (["2026/03/26T13:18"], ["2026-03-26 13:18"]),
        (["3/26/26, 1:18 PM"], ["2026-03-26 13:18"]),
        (
            ["26.03.2026", "2026-01-05", "01.02.2026 9:30"],
            ["2026-03-26", "2026-01-05", "2026-02-01 9:30"],
        ),
        ([pd.Timestamp("2026-01-05"), "26-03-2026"], ["2026-01-05", "2026-03-26"]),
        (["26.03.2026", "soon"], ["2026-03-26", None]),
        (["99.99.2026", "1.2.3"], [None, None]),
    ],
)
def test_dates_keep_their_value(cells, dates):
    series = pd.Series(cells, dtype=object)
    reading = date_reading(COLUMN, series)
    expected = [pd.NaT if date is None else pd.Timestamp(date) for date in dates]
    assert read(reading.code, series) == expected or None in dates
    assert reading.is_read.tolist() == [date is not None for date in dates]
    assert pd.Series(read(reading.code, series)).equals(pd.Series(expected))
    assert reading.other_code is None


@pytest.mark.parametrize(
    ("cells", "codes"),
    [
        (["yes", "no"], [1, 0]),
        (["No", "No"], [0, 0]),
        (["TRUE", "False"], [1, 0]),
        (["ja", None], [1, NAN]),
        ([True, "n", None], [1, 0, NAN]),
        (["1", "yes", "0"], [1, 1, 0]),
    ],
)
def test_words_become_1_and_0(cells, codes):
    series = pd.Series(cells, dtype=object)
    code = truth_code(COLUMN, series.dropna())
    np.testing.assert_array_equal(read(code, series), codes)


@pytest.mark.parametrize("cells", [["maybe"], ["yes", "maybe"], ["yes", "f"], ["1"]])
def test_other_words_are_no_truth_values(cells):
    assert truth_code(COLUMN, pd.Series(cells)) is None
