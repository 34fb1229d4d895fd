"""Elimination against least squares, for every pattern of unknown cells."""

from itertools import product

import numpy as np
import pytest
import torch

from latentsk.export._unknown import FillUnknown
from latentsk.outliers._gaussian import gaussian_of_latents
from latentsk.outliers._unknown import most_likely


def both(latents, unknown, gaussian, loadings):
    gaussian = gaussian._replace(loadings=loadings)
    directions = gaussian.axes @ (loadings / np.sqrt(gaussian.variances)[:, None])
    expected, _ = most_likely(latents, unknown, gaussian, directions)
    fill = FillUnknown(gaussian, np.arange(unknown.shape[1]))
    found = fill(torch.from_numpy(latents), torch.from_numpy(unknown)).numpy()
    return found, expected, gaussian


def squared(latents, gaussian):
    along = (latents - gaussian.centre) @ gaussian.axes
    return np.sum(along**2 / gaussian.variances, axis=1)


@pytest.mark.parametrize("ridge", [1e-1, 1e-5, 1e-8])
def test_every_pattern(ridge):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 5))
    mixing[4] = mixing[:2].sum(axis=0)  # nearly tells the others
    rows = rng.normal(size=(400, 5)) @ mixing.T
    gaussian = gaussian_of_latents(rows, ridge)
    loadings = np.sqrt(gaussian.variances)[:, None] * gaussian.axes.T
    unknown = np.array(list(product([False, True], repeat=5)))
    latents = 3.0 * rng.normal(size=(32, 5))
    found, expected, gaussian = both(latents, unknown, gaussian, loadings)
    np.testing.assert_array_equal(found[0], latents[0])
    np.testing.assert_allclose(
        squared(found, gaussian), squared(expected, gaussian), rtol=1e-7, atol=1e-7
    )


def test_more_unknown_cells_than_components():
    """Then the row can be moved to the centre."""
    rng = np.random.default_rng(0)
    gaussian = gaussian_of_latents(rng.normal(size=(50, 2)), 1e-3)
    loadings = rng.normal(size=(2, 4))
    unknown = np.ones((3, 4), bool)
    latents = rng.normal(size=(3, 2))
    found, expected, gaussian = both(latents, unknown, gaussian, loadings)
    np.testing.assert_allclose(squared(found, gaussian), 0.0, atol=1e-12)
    np.testing.assert_allclose(squared(expected, gaussian), 0.0, atol=1e-12)


def test_rows_of_any_size():
    rng = np.random.default_rng(0)
    gaussian = gaussian_of_latents(rng.normal(size=(50, 2)), 1e-3)
    loadings = np.sqrt(gaussian.variances)[:, None] * gaussian.axes.T
    latents = np.array([[1e100, -1e100], [1e100, 0.0]])
    unknown = np.array([[False, False], [True, False]])
    found, _, _ = both(latents, unknown, gaussian, loadings)
    np.testing.assert_array_equal(found[0], latents[0])
    assert np.isfinite(found).all()
