"""Columns of tables of any library."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from latentsk._columns import (
    LARGEST,
    as_floats,
    clip_integers,
    column_names,
    columns_of,
    extended_to_float64,
    n_columns,
)

TABLE = pd.DataFrame({"n": [1, 2], "x": [0.5, 1.5], "s": ["a", "b"]})
TABLES = {
    "pandas": (TABLE, ["n", "x", "s"]),
    "polars": (pl.DataFrame(TABLE), ["n", "x", "s"]),
    "Arrow": (pl.DataFrame(TABLE).to_arrow(), ["n", "x", "s"]),
    "array": (TABLE.to_numpy(object), ["x0", "x1", "x2"]),
    "list": (TABLE.to_numpy(object).tolist(), ["x0", "x1", "x2"]),
}


@pytest.mark.parametrize("kind", TABLES)
def test_columns_are_the_same_in_every_library(kind):
    table, names = TABLES[kind]
    found = list(columns_of(table))
    assert [label for label, _ in found] == names
    assert [cells.tolist() for _, cells in found] == [[1, 2], [0.5, 1.5], ["a", "b"]]
    assert n_columns(table) == 3
    assert column_names(table) == (names if names[0] == "n" else None)


def test_labels_of_pandas_are_kept():
    table = TABLE.set_axis([7, 7, "s"], axis=1)
    assert [label for label, _ in columns_of(table)] == [7, 7, "s"]
    assert column_names(table) is None
    assert column_names(TABLE.set_axis([0, 1, 2], axis=1)) is None


def test_sparse_columns_are_made_dense_one_by_one():
    rows = sparse.coo_array([[0.0, 2.0], [3.0, np.nan]])
    (_, first), (label, second) = columns_of(rows)
    assert label == "x1"
    assert first.tolist() == [0.0, 3.0]
    np.testing.assert_array_equal(second, [2.0, np.nan])


@pytest.mark.parametrize("rows", [["a", "b"], np.ones(3), pd.Series([1.0]), [{"a": 1}]])
def test_rows_without_columns_have_none(rows):
    assert n_columns(rows) == 0
    assert list(columns_of(rows)) == []
    assert column_names(rows) is None


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (3, 3.0),
        (True, 1.0),
        ("1.5", 1.5),
        (Fraction(1, 4), 0.25),
        (Decimal("0.5"), 0.5),
        (10**300, 1e300),
        (10**400, LARGEST),
        (-(10**400), -LARGEST),
        (np.inf, np.inf),
        ("a", np.nan),
        (None, np.nan),
        (pd.NA, np.nan),
        ({}, np.nan),
        (2j, np.nan),
    ],
)
def test_cells_as_numbers(cell, value):
    cells = np.empty(1, dtype=object)
    cells[0] = cell
    np.testing.assert_array_equal(as_floats(cells), [value])


def test_extended_precision_stays_finite():
    rows = np.array([[1.5, -np.inf, np.nan]], dtype=np.longdouble)
    np.testing.assert_array_equal(extended_to_float64(rows), rows.astype(float))
    assert extended_to_float64(rows).dtype == np.float64
    if np.finfo(np.longdouble).maxexp > np.finfo(np.float64).maxexp:
        huge = np.array([np.longdouble(1e300) ** 2 * 2])
        assert extended_to_float64(huge).tolist() == [LARGEST]
    for other in (np.ones(2), np.array([1], object), [1.0], TABLE):
        assert extended_to_float64(other) is other


def test_only_integers_beyond_the_range_are_clipped():
    table = pd.DataFrame({"a": [10**400, "x"], "b": [-(10**309), 2.5]})
    clipped = clip_integers(table)
    assert clipped["a"].tolist() == [LARGEST, "x"]
    assert clipped["b"].tolist() == [-LARGEST, 2.5]
    assert clip_integers([[10**308, "a"]]).tolist() == [[10**308, "a"]]
