"""Rows on both sides of an embedder."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA

from latentsk.outliers._latent_rows import clip_magnitudes, latent_rows, numeric


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(30, 4)) * [1.0, 10.0, 0.1, 2.0]


def test_residuals_are_what_pca_leaves_in_units_of_the_scale(X):
    pca, scale = PCA(2).fit(X), X.std(axis=0)
    found = latent_rows(pca, X, scale)
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
    found = latent_rows(_Transformer(X[:, :1]), X, np.ones(4))
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
        latent_rows(embedder, X, np.ones(4))


def test_rows_are_dense_floats():
    assert numeric([[1, 2]]).dtype == np.float64
    assert numeric(np.ones((2, 2), np.float32)).dtype == np.float32
    assert numeric(torch.ones(2, 2)).dtype == np.float32
    with pytest.raises(ValueError, match="What enters the embedder contains NaN"):
        numeric([[np.nan, 2.0]])


def test_output_that_overflows_is_clipped_where_rows_are_scored(X):
    embedder = _Invertible(
        np.full((30, 2), [-np.inf, np.nan]), np.full((30, 4), np.inf)
    )
    found = latent_rows(embedder, X, np.ones(4), ensure_finite=False)
    np.testing.assert_array_equal(found.latents, np.full((30, 2), [-1e100, 1e100]))
    assert np.isneginf(found.residuals).all()
    narrow = clip_magnitudes(np.array([[np.inf, 2.0]], np.float32))
    assert narrow.tolist() == [[np.finfo(np.float32).max, 2.0]]
