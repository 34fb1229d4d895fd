"""Pipelines taken apart and put together."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from latentsk.outliers._steps import (
    as_given,
    has_latents_alone,
    join_steps,
    preprocess,
    split_steps,
    with_latents_alone,
)


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


def test_latents_alone_are_the_output_of_the_embedder():
    rows = np.random.default_rng(0).normal(size=(9, 3))
    for embedder in (
        PCA(2).fit(rows),
        make_pipeline(StandardScaler(), PCA(2)).fit(rows),
    ):
        whole = with_latents_alone(embedder)
        preprocessor, last = split_steps(whole)
        np.testing.assert_array_equal(
            last.transform(preprocess(preprocessor, rows)), embedder.transform(rows)
        )
        assert as_given(whole) is embedder
        assert as_given(embedder) is embedder
        assert has_latents_alone(whole)
        assert not has_latents_alone(embedder)


def test_what_enters_is_sparse_by_rows():
    for container in (sparse.coo_array, sparse.csc_matrix, sparse.lil_array):
        prepared = preprocess(None, container(np.eye(3)))
        assert prepared.format == "csr"
