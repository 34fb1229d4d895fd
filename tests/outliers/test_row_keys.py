"""Equal rows, and they alone, share a number."""

import numpy as np
import pandas as pd
import pytest
import torch

from latentsk.outliers._row_keys import row_keys


def test_equal_rows_alone_share_a_number():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(300, 4)).astype(float)
    keys = row_keys(X)
    assert keys.shape == (300,)
    _, of_rows = np.unique(X, axis=0, return_inverse=True)
    _, of_keys = np.unique(keys, return_inverse=True)
    same_rows = of_rows[:, None] == of_rows
    np.testing.assert_array_equal(of_keys[:, None] == of_keys, same_rows)


def test_the_order_of_the_columns_counts():
    one, other = row_keys([[1.0, 2.0]]), row_keys([[2.0, 1.0]])
    assert one[0] != other[0]


@pytest.mark.parametrize(
    "other",
    [
        np.array([[1, 0], [2, 5]]),
        np.array([[1.0, -0.0], [2.0, 5.0]], np.float32),
        [[1, 0], [2, 5]],
        torch.tensor([[1.0, 0.0], [2.0, 5.0]]),
        pd.DataFrame({"a": [1, 2], "b": [0, 5]}, index=[7, 9]),
        pd.DataFrame({"a": [1, 2], "b": [0, 5]}).convert_dtypes(),
    ],
    ids=["int", "float32", "list", "tensor", "DataFrame", "nullable"],
)
def test_equal_numbers_of_every_type_share_a_number(other):
    expected = row_keys(np.array([[1.0, 0.0], [2.0, 5.0]]))
    np.testing.assert_array_equal(row_keys(other), expected)


def test_text_categories_and_missing_values_have_numbers():
    table = pd.DataFrame(
        {
            "text": ["a", "b", "a", None],
            "kind": pd.Categorical(["u", "v", "u", "v"]),
            "x": [1.0, np.nan, 1.0, np.nan],
            "day": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-01", None]),
        }
    )
    keys = row_keys(table)
    assert keys[0] == keys[2]
    assert len(set(keys.tolist())) == 3
    np.testing.assert_array_equal(row_keys(table.iloc[1:]), keys[1:])
    as_text = table.assign(kind=table["kind"].astype(str))
    np.testing.assert_array_equal(row_keys(as_text), keys)


def test_columns_of_one_name_are_told_apart():
    table = pd.DataFrame([[1.0, 2.0], [2.0, 1.0]], columns=["a", "a"])
    keys = row_keys(table)
    assert keys[0] != keys[1]
    np.testing.assert_array_equal(keys, row_keys(table.to_numpy()))
