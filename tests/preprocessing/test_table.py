"""What the columns of a table hold."""

import datetime
from decimal import Decimal
from warnings import catch_warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from latentsk import CategoryEncoder, DatetimeEncoder, make_table_preprocessor
from latentsk.preprocessing._table import column_kind, is_mixed

DAYS = [datetime.date(2026, 1, 5), None]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, 2], "numbers"),
        ([1.5, None], "numbers"),
        (np.array([1, 2], np.float32), "numbers"),
        ([True, False], "numbers"),
        (np.array([True, None], object), "numbers"),
        (pd.array([1, None], "Int64"), "numbers"),
        (pd.array([True, None], "boolean"), "numbers"),
        ([Decimal("1.5"), None], "numbers"),
        (np.array([1, 2.5], object), "numbers"),
        ([None, None], "categories"),
        ([np.nan, np.nan], "numbers"),
        (pd.array([None], dtype="string"), "categories"),
        (["2026-01-05", ""], "categories"),
        (["a", None], "categories"),
        (["1.5", "2"], "categories"),
        (pd.Categorical([1, 2]), "categories"),
        (np.array([1, "a"], object), "categories"),
        (["2026-01-05", "soon"], "categories"),
        (["2026-99-05", "2026-01-05"], "categories"),
        (["20260105", "20260106"], "categories"),
        (pd.to_datetime(["2026-01-05", None]), "dates"),
        (pd.to_datetime(["2026-01-05"]).tz_localize("UTC"), "dates"),
        (np.array(DAYS, object), "dates"),
        (["2026-01-05", None], "dates"),
        (["2026-01-05 12:30", "2026-01-05T12:30:01"], "dates"),
        (pd.period_range("2026-01", periods=2, freq="M"), "dates"),
        (pd.to_timedelta([1, 2], unit="s"), None),
        ([[1], [2]], None),
        ([1j, 2j], None),
    ],
)
def test_kinds_of_columns(cells, kind):
    assert column_kind(pd.Series(cells)) == kind


def test_a_part_for_every_kind():
    X = pd.DataFrame(
        {
            "paid": [1.0, None],
            "city": ["Rome", "Bonn"],
            "day": pd.to_datetime(["2026-01-05", None]),
            "member": [True, False],
        }
    )
    parts = make_table_preprocessor(X).transformers
    assert [(name, columns) for name, _, columns in parts] == [
        ("numbers", ["paid", "member"]),
        ("categories", ["city"]),
        ("dates", ["day"]),
    ]
    assert isinstance(parts[1][1], CategoryEncoder)
    assert isinstance(parts[2][1], DatetimeEncoder)
    tables = pl.DataFrame(X.astype({"paid": float})), pl.DataFrame(X).to_arrow()
    for table in tables:
        found = make_table_preprocessor(table).transformers
        assert [c for _, _, c in found] == [c for _, _, c in parts]


@pytest.mark.parametrize("names", [[0, 1], ["a", "a"], [("a", 1), ("b", 2)]])
def test_columns_without_names_of_their_own_are_taken_by_position(names):
    X = pd.DataFrame([[1.0, "x"], [2.0, "y"]])
    X.columns = names
    parts = make_table_preprocessor(X).transformers
    assert [columns for _, _, columns in parts] == [[0], [1]]


def test_a_table_of_numbers_is_not_mixed():
    X = pd.DataFrame({"n": [1, 2], "b": [True, False], "f": [0.5, 1.0]})
    assert not is_mixed(X)
    assert not is_mixed(pl.DataFrame(X))
    assert is_mixed(X.assign(f=[0.5, None]))
    assert is_mixed(pl.DataFrame(X).with_columns(s=pl.Series(["a", None])))
    assert not is_mixed(X.to_numpy())
    assert not is_mixed(np.array([["a"]], object))


def test_types_of_arrow():
    pa = pytest.importorskip("pyarrow")
    types = {
        "decimal": (pa.array([Decimal("1.5"), None]), "numbers"),
        "null": (pa.nulls(2), "categories"),
        "dictionary": (pa.array(["a", None]).dictionary_encode(), "categories"),
    }
    for cells, kind in types.values():
        column = pd.Series(pd.arrays.ArrowExtensionArray(cells))
        X = pd.DataFrame({"a": column, "b": [1.0, 2.0]})
        with catch_warnings(action="ignore"):  # a column without values
            preprocessor = make_table_preprocessor(X)
        parts = {name: columns for name, _, columns in preprocessor.transformers}
        assert "a" in parts[kind]


def test_what_cannot_be_encoded_is_named_with_a_remedy():
    X = pd.DataFrame({"n": [1, 2], "took": pd.to_timedelta([1, 2], unit="s")})
    with pytest.raises(TypeError, match=r"'took' holds .* of type Timedelta") as error:
        make_table_preprocessor(X)
    code = str(error.value).split("numbers: ")[1].split(". Or")[0]
    exec(code, {"X": X, "pd": pd})
    assert make_table_preprocessor(X).transformers[0][2] == ["n", "took"]
    X = X.assign(tags=[["a"], ["b"]])
    with pytest.raises(
        TypeError, match=r"'tags' holds.*type list.*drop\(columns=\['tags'"
    ):
        make_table_preprocessor(X)
    with pytest.raises(TypeError, match=r"give pd.DataFrame\(X\)"):
        make_table_preprocessor(X.to_numpy())


def test_a_column_without_values_is_named():
    X = pd.DataFrame({"paid": [1.0, 2.0], "note": [None, None], "age": [np.nan] * 2})
    with pytest.warns(
        UserWarning, match="'note', 'age' have no value at all"
    ) as caught:
        parts = make_table_preprocessor(X).transformers
    assert [columns for _, _, columns in parts] == [["paid", "age"], ["note"]]
    code = str(caught[0].message).split("too: ")[1].rstrip(".")
    assert eval(code, {"X": X}).columns.tolist() == ["paid"]
    with pytest.warns(UserWarning, match="'note' has no value at all"):
        make_table_preprocessor(X[["paid", "note"]])
