"""Both sides of an embedder, pipelines taken apart, and numbers for rows."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from latentsk.outliers.latent_space import (
    coordinates,
    joined,
    numeric,
    prepared,
    row_keys,
    split_steps,
)


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(30, 4)) * [1.0, 10.0, 0.1, 2.0]


def test_residuals_are_what_pca_leaves_in_units_of_the_scale(X):
    pca, scale = PCA(2).fit(X), X.std(axis=0)
    found = coordinates(pca, X, scale)
    np.testing.assert_allclose(found.latents, pca.transform(X))
    expected = (X - pca.inverse_transform(pca.transform(X))) / scale
    np.testing.assert_allclose(found.residuals, expected)
    np.testing.assert_array_equal(found.features, X)
    some = found.at(np.array([4, 2]))
    np.testing.assert_array_equal(some.features, X[[4, 2]])
    np.testing.assert_array_equal(some.latents, found.latents[[4, 2]])
    np.testing.assert_array_equal(some.residuals, found.residuals[[4, 2]])


class _Transformer(TransformerMixin, BaseEstimator):
    """Returns what it was told to."""

    def __init__(self, latents, back=None):
        self.latents, self.back = latents, back

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return self.latents


class _Invertible(_Transformer):
    def inverse_transform(self, Z):
        return self.back


def test_without_inverse_transform_there_are_no_residuals(X):
    found = coordinates(_Transformer(X[:, :1]), X, np.ones(4))
    assert found.residuals is None
    assert found.at(np.arange(3)).residuals is None


@pytest.mark.parametrize(
    ("embedder", "message"),
    [
        (_Transformer(np.ones((7, 2))), "returned 7 vectors for 30 rows"),
        (_Transformer(np.full((30, 2), np.nan)), "embedder's output contains NaN"),
        (_Transformer(np.ones(30)), "Expected 2D array"),
        (
            _Invertible(np.ones((30, 2)), np.ones((30, 3))),
            r"shape \(30, 3\) from rows of shape \(30, 4\)",
        ),
        (_Invertible(np.ones((30, 2)), np.full((30, 4), np.inf)), "infinity"),
    ],
)
def test_what_an_embedder_must_not_return(X, embedder, message):
    with pytest.raises(ValueError, match=message):
        coordinates(embedder, X, np.ones(4))


def test_a_pipeline_is_taken_apart_and_put_together(X):
    whole = Pipeline([("a", StandardScaler()), ("b", MinMaxScaler()), ("c", PCA(2))])
    head, tail = split_steps(whole.fit(X))
    assert [name for name, _ in head.steps] == ["a", "b"]
    assert tail is whole.named_steps["c"]
    again = joined(whole, head, tail)
    assert list(again.named_steps) == ["a", "b", "c"]
    np.testing.assert_allclose(again.transform(X), whole.transform(X))
    rows = prepared(head, X)
    np.testing.assert_allclose(tail.transform(rows), whole.transform(X))


def test_pipelines_of_one_step_and_plain_transformers_have_no_head(X):
    alone, pca = make_pipeline(PCA(2)), PCA(2)
    head, tail = split_steps(alone.fit(X))
    assert head is None
    assert isinstance(tail, PCA)
    assert joined(alone, head, tail).steps == [("pca", tail)]
    assert split_steps(pca) == (None, pca)
    assert joined(pca, None, pca) is pca
    assert prepared(None, X) is X


def test_rows_are_dense_floats():
    assert numeric([[1, 2]]).dtype == np.float64
    assert numeric(np.ones((2, 2), np.float32)).dtype == np.float32
    assert numeric(torch.ones(2, 2)).dtype == np.float32
    with pytest.raises(ValueError, match="X contains NaN"):
        numeric([[np.nan, 2.0]])


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
