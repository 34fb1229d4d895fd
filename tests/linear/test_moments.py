"""Streaming moments against exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.sparse import csr_array

from latentsk.linear._moments import is_off_centre, merge, moments_of, off_centre_shift


def exact_scatter(X):
    """The scatter in rational arithmetic, rounded once."""
    rows = [[Fraction(value) for value in row] for row in X.tolist()]
    n, width = len(rows), len(rows[0])
    mean = [sum(row[j] for row in rows) / n for j in range(width)]
    centred = [[row[j] - mean[j] for j in range(width)] for row in rows]
    return np.array(
        [
            [float(sum(row[i] * row[j] for row in centred)) for j in range(width)]
            for i in range(width)
        ]
    )


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e9])
@pytest.mark.parametrize("chunks", [[200], [1] * 200, [3, 97, 100], [199, 1]])
def test_any_chunking_is_exact_at_any_offset(offset, chunks):
    X = np.random.default_rng(0).normal(size=(200, 3)) + offset
    total = None
    for rows in np.split(X, np.cumsum(chunks)[:-1]):
        part = moments_of(rows)
        total = part if total is None else merge(total, part)
    expected = exact_scatter(X)
    # Data at 1e9 hold their unit spread to 1e-7: what the mean can be known to.
    tolerance = 1e-12 + 1e-13 * abs(offset) / 10
    np.testing.assert_allclose(total.scatter, expected, atol=200 * tolerance)
    assert total.n_rows == 200


def test_float32_and_sparse_rows_are_accumulated_in_float64():
    X = np.random.default_rng(0).integers(0, 3, size=(50, 4)).astype(np.float32)
    dense, sparse = moments_of(X), moments_of(csr_array(X))
    assert dense.scatter.dtype == np.float64
    np.testing.assert_allclose(dense.scatter, exact_scatter(X), rtol=1e-14)
    np.testing.assert_array_equal(dense.scatter, sparse.scatter)


def test_off_centre():
    rng = np.random.default_rng(0)
    assert off_centre_shift(rng.normal(size=(100, 3))) is None
    far = rng.normal(size=(100, 3)) + 1e6
    np.testing.assert_allclose(off_centre_shift(far), 1e6, rtol=1e-6)
    assert is_off_centre(np.array([1.0]), 0.0)
