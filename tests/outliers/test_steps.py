"""Pipelines taken apart and put together."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from latentsk.outliers._steps import join_steps, preprocess, split_steps


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(30, 4)) * [1.0, 10.0, 0.1, 2.0]


def test_a_pipeline_is_taken_apart_and_put_together(X):
    whole = Pipeline([("a", StandardScaler()), ("b", MinMaxScaler()), ("c", PCA(2))])
    preprocessor, last = split_steps(whole.fit(X))
    assert [name for name, _ in preprocessor.steps] == ["a", "b"]
    assert last is whole.named_steps["c"]
    again = join_steps(whole, preprocessor, last)
    assert list(again.named_steps) == ["a", "b", "c"]
    np.testing.assert_allclose(again.transform(X), whole.transform(X))
    rows = preprocess(preprocessor, X)
    np.testing.assert_allclose(last.transform(rows), whole.transform(X))


def test_pipelines_of_one_step_and_plain_transformers_have_no_preprocessor(X):
    alone, pca = make_pipeline(PCA(2)), PCA(2)
    preprocessor, last = split_steps(alone.fit(X))
    assert preprocessor is None
    assert isinstance(last, PCA)
    assert join_steps(alone, preprocessor, last).steps == [("pca", last)]
    assert split_steps(pca) == (None, pca)
    assert join_steps(pca, None, pca) is pca
    assert preprocess(None, X) is X
