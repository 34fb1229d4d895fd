"""Distances to the rows of a neighborhood, as products, against the detector's own."""

import numpy as np
import pytest
import torch

from latentsk.export._neighbors import NeighborhoodGraph
from latentsk.outliers._neighborhood import neighborhood_of


def neighborhood(latents, n_neighbors):
    rng = np.random.default_rng(0)
    n_rows = len(latents)
    return neighborhood_of(
        latents,
        latents,
        rng.random(n_rows),
        rng.random(n_rows) < 0.7,
        rng.random(n_rows),
        np.arange(n_rows),
        n_neighbors,
    )


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "n_neighbors", "centre"),
    [(600, 5, 5, 0.0), (40, 3, 50, 0.0), (700, 20, 1, 0.0), (300, 4, 7, 1e6)],
)
def test_rows_there_beside_and_far(n_rows, n_columns, n_neighbors, centre):
    rng = np.random.default_rng(1)
    latents = rng.normal(size=(n_rows, n_columns)) + centre
    near = latents[:40] + 1e-2 * rng.normal(size=(40, n_columns))
    queries = np.vstack([latents[:40], near, latents[:3] + 50.0])
    known = neighborhood(latents, n_neighbors)
    expected = known.measure(queries)
    found = NeighborhoodGraph(known)(torch.tensor(queries))
    tolerance = 1e-5 if n_columns > 16 else 1e-6 if centre else 1e-9
    for name in "local", "global_", "in_support", "own":
        np.testing.assert_allclose(
            getattr(found, name).numpy(),
            getattr(expected, name),
            rtol=tolerance,
            atol=tolerance,
            err_msg=name,
        )


def test_its_own_support_row_and_no_other():
    """A row of the support has its own distance; far away there is none."""
    latents = np.random.default_rng(0).normal(size=(50, 2))
    known = neighborhood(latents, 5)
    found = NeighborhoodGraph(known)(torch.tensor(np.vstack([latents, latents + 9.0])))
    is_support = known.is_support
    np.testing.assert_array_equal(found.in_support[:50].numpy(), is_support)
    np.testing.assert_array_equal(
        found.own[:50].numpy(), np.where(is_support, known.within, 0.0)
    )
    assert not found.in_support[50:].any()
