"""Pipelines taken apart and put together."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from latentsk.outliers.steps import joined, prepared, split_steps


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(30, 4)) * [1.0, 10.0, 0.1, 2.0]


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
