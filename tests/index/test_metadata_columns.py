"""Values of further rows take the dtype of their column, or are refused."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from latentsk import LatentIndex

KNOWN = pd.DataFrame(
    {
        "listed": pd.to_datetime(["2026-01-01", "2026-03-01"]),
        "zoned": pd.to_datetime(["2026-01-01"] * 2).tz_localize("Europe/Berlin"),
        "lasts": pd.to_timedelta(["1 day", "2 days"]),
        "price": [1.5, 2.5],
        "stock": [1, 2],
        "narrow": np.array([1, 2], dtype=np.int8),
        "account": [1, 2**60 + 1],
        "maybe": pd.array([1, None], dtype="Int64"),
        "ok": [True, False],
        "shop": ["A", "B"],
        "kind": pd.Categorical(["x", "y"]),
        "size": pd.Categorical(["s", "m"], categories=["s", "m"], ordered=True),
        "day": pd.array(["2026-01-01"] * 2, dtype="date32[pyarrow]"),
        "any": pd.Series([1, "a"], dtype=object),
    }
)
IDS = ["a", "b"]
ROWS = [[0.0, 0.0], [1.0, 1.0]]


def _fitted(*columns: str) -> LatentIndex:
    return LatentIndex().fit(ROWS, ids=IDS, metadata=KNOWN[list(columns)])


def _stored(tmp_path: Path, column: str) -> LatentIndex:
    path = tmp_path / "index.latentsk"
    _fitted(column).save(path)
    return LatentIndex.load(path)


@pytest.mark.parametrize(
    ("column", "given", "expected"),
    [
        ("listed", "2026-05-31", pd.Timestamp("2026-05-31")),
        ("listed", "2026-05-31T12:30:00.000", pd.Timestamp("2026-05-31 12:30")),
        ("listed", datetime.date(2026, 5, 31), pd.Timestamp("2026-05-31")),
        ("zoned", "2026-05-31", pd.Timestamp("2026-05-31", tz="Europe/Berlin")),
        ("zoned", "2026-05-30T22:00Z", pd.Timestamp("2026-05-31", tz="Europe/Berlin")),
        ("lasts", "P1DT2H", pd.Timedelta(hours=26)),
        ("lasts", "90 min", pd.Timedelta(hours=1.5)),
        ("price", 3, 3.0),
        ("stock", 3.0, 3),
        ("maybe", 3, 3),
        ("maybe", None, None),
        ("price", None, None),
        ("listed", None, None),
        ("shop", None, None),
        ("kind", "y", "y"),
        ("size", "m", "m"),
        ("day", "2026-05-31", datetime.date(2026, 5, 31)),
        ("any", 2.5, 2.5),
    ],
)
def test_values_become_those_of_their_column(tmp_path, column, given, expected):
    for index in (_fitted(column), _stored(tmp_path, column)):
        index.add([[2.0, 2.0]], ["c"], pd.DataFrame([{column: given}]))
        found = index.metadata_[column]
        assert found.dtype == KNOWN[column].dtype
        value = found.tolist()[-1]
        assert pd.isna(value) if expected is None else value == expected


@pytest.mark.parametrize(
    ("column", "given", "dtype"),
    [
        ("stock", 2.5, "float64"),
        ("stock", None, "float64"),
        ("narrow", 300, "int64"),
        ("account", None, "Int64"),  # a float would round 2**60 + 1
        ("ok", None, "boolean"),
        ("kind", "new", pd.CategoricalDtype(["x", "y", "new"])),
        ("listed", pd.Timestamp("2026-05-31") + pd.Timedelta(1), "datetime64[ns]"),
    ],
)
def test_a_column_makes_room_for_values_of_its_kind(column, given, dtype):
    index = _fitted(column).add([[2.0, 2.0]], ["c"], pd.DataFrame([{column: given}]))
    found = index.metadata_[column]
    assert found.dtype == dtype
    assert found.tolist()[:2] == KNOWN[column].tolist()
    assert pd.isna(found.iloc[2]) if given is None else found.iloc[2] == given
    # Later values are held to it, too.
    with pytest.raises(ValueError, match=f"metadata column '{column}'"):
        index.add([[2.0, 2.0]], ["d"], pd.DataFrame([{column: [1]}]))


def test_ordered_categories_are_extended_by_whoever_says_their_order():
    index, order = _fitted("size"), pd.CategoricalDtype(["xs", "s", "m"], ordered=True)
    with pytest.raises(ValueError, match=r"ordered categories.*'xs'") as caught:
        index.add([[2.0, 2.0]], ["c"], pd.DataFrame({"size": ["xs"]}))
    assert "ordered=True" in str(caught.value)
    index.add([[2.0, 2.0]], ["c"], pd.DataFrame({"size": ["xs"]}).astype(order))
    found = index.search([[0.0, 0.0]], 3, filter="size < 'm'", fewer="allow")
    assert found["id"].tolist() == ["a", "c"]


def test_a_column_of_which_nothing_is_known_takes_any_kind():
    empty = pd.DataFrame({"note": [np.nan, np.nan]})
    index = LatentIndex().fit(ROWS, ids=IDS, metadata=empty)
    index.add([[2.0, 2.0]], ["c"], pd.DataFrame({"note": ["new"]}))
    assert index.metadata_["note"].tolist()[2] == "new"
    with pytest.raises(ValueError, match="'note' holds strings"):
        index.add([[2.0, 2.0]], ["d"], pd.DataFrame({"note": [1.0]}))


def _twice(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table], ignore_index=True)


CHANGES: dict[str, Callable[[LatentIndex, pd.DataFrame], Any]] = {
    "add": lambda index, table: index.add([[2.0, 2.0]], ["c"], table),
    "upsert": lambda index, table: index.upsert(ROWS, ["c", "a"], _twice(table)),
    "update": lambda index, table: index.update([[2.0, 2.0]], ["a"], table),
    "update_metadata": lambda index, table: index.update_metadata(table, ["a"]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("column", "value", "query", "said"),
    [
        ("listed", "soon", "listed >= '2026-02-01'", "dates .*got 'soon'.* ISO"),
        (
            "listed",
            "2026-05-31T12:00Z",
            "listed >= '2026-02'",
            "dates .*without a time zone",
        ),
        ("listed", 20260531, "listed >= '2026-02-01'", "dates .*got 20260531"),
        ("lasts", "3", "lasts > '1 day'", "durations .*got '3'.*90 min"),
        ("price", "3,5", "price > 2", r"numbers \(float64\), got '3,5'.*to_numeric"),
        ("price", True, "price > 2", "numbers .*got True"),
        ("stock", "2", "stock == 2", r"numbers \(int64\), got '2'"),
        ("ok", "yes", "not ok", r"booleans \(bool\), got 'yes'.*map\("),
        ("ok", 1, "not ok", "booleans .*got 1"),
        ("shop", 5, "shop == 'B'", r"strings .*got 5.*astype\(str\)"),
        ("kind", 5, "kind == 'y'", r"strings \(category\), got 5"),
        ("day", "2026-05-31 12:30", "day > '2025'", "dates .*12:30"),
    ],
)
def test_values_of_another_kind_are_refused(change, column, value, query, said):
    index = _fitted(column)
    before, vectors = index.metadata_, index.vectors_.copy()
    found = index.search([[0.0, 0.0]], 2, filter=query, fewer="allow")
    table = pd.DataFrame({column: [value]}, dtype=object)
    with pytest.raises(ValueError, match=f"metadata column '{column}' holds {said}"):
        CHANGES[change](index, table)
    assert_frame_equal(index.metadata_, before)
    np.testing.assert_array_equal(index.vectors_, vectors)
    again = index.search([[0.0, 0.0]], 2, filter=query, fewer="allow")
    assert_frame_equal(again, found)


def test_the_first_value_that_does_not_fit_is_named():
    table = pd.DataFrame({"price": [1, "2.5", "x"]}, dtype=object)
    with pytest.raises(ValueError, match=r"got '2\.5'") as caught:
        _fitted("price").add(np.zeros((3, 2)), list("cde"), table)
    assert "metadata['price']" in str(caught.value)


def test_the_remedies_work_when_they_are_followed():
    index = _fitted("price", "ok", "shop")
    metadata = pd.DataFrame(
        {"price": ["3.5", "x"], "ok": ["yes", "no"], "shop": [5, 6]}
    )
    metadata["price"] = pd.to_numeric(metadata["price"], errors="coerce")
    metadata["ok"] = metadata["ok"].map({"yes": True, "no": False})
    metadata["shop"] = metadata["shop"].astype(str)
    index.add([[2.0, 2.0], [3.0, 3.0]], ["c", "d"], metadata)
    assert index.metadata_["ok"].tolist() == [True, False, True, False]
    found = index.search([[0.0, 0.0]], 4, filter="price > 2", fewer="allow")
    assert found["id"].tolist() == ["b", "c"]
