"""Rows with two latent dimensions, and rows beside and far from them."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 5))
    return rows + 0.3 * rng.normal(size=rows.shape) + 7.0


@pytest.fixture(scope="module")
def new(X):
    rng = np.random.default_rng(1)
    return X[:20] + rng.normal(size=(20, 5)) * rng.choice([0.1, 3.0], size=(20, 1))
