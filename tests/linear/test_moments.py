"""Streaming moments against exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.sparse import csr_array

from latentsk.linear._moments import (
    faded,
    is_off_centre,
    merge,
    moments_of,
    off_centre_shift,
)


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


# Rows that are forgotten


def exact_weighted(X, factor):
    """Mean, scatter, weight and degrees of freedom in rational arithmetic."""
    rows = [[Fraction(value) for value in row] for row in X.tolist()]
    weights = [Fraction(factor) ** k for k in reversed(range(len(rows)))]
    total, columns = sum(weights), range(len(rows[0]))
    mean = [
        sum(w * row[j] for w, row in zip(weights, rows, strict=True)) / total
        for j in columns
    ]
    scatter = [
        [
            float(
                sum(
                    w * (row[i] - mean[i]) * (row[j] - mean[j])
                    for w, row in zip(weights, rows, strict=True)
                )
            )
            for j in columns
        ]
        for i in columns
    ]
    squares = sum(w * w for w in weights)
    freedom, worth = total - squares / total, total * total / squares
    return (
        np.array(mean, float),
        np.array(scatter),
        *map(float, (total, freedom, worth)),
    )


def streamed(X, factor, chunks):
    total = None
    for rows in np.split(X, np.cumsum(chunks)[:-1]):
        part = moments_of(rows, forgetting_factor=factor)
        if total is not None:
            part = merge(faded(total, factor**part.n_rows), part)
        total = part
    return total


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("factor", [0.99, 0.5, 1e-3, 1e-20])
@pytest.mark.parametrize("chunks", [[60], [1] * 60, [1, 29, 30], [59, 1]])
def test_forgetting_is_exact_for_any_chunking(offset, factor, chunks):
    X = np.random.default_rng(0).normal(size=(60, 3)) + offset
    found = streamed(X, factor, chunks)
    mean, scatter, weight, freedom, worth = exact_weighted(X, factor)
    assert found.n_rows == 60
    assert found.weight == pytest.approx(weight, rel=1e-13)
    # Also where the next to last row has hardly any weight left.
    assert found.degrees_of_freedom == pytest.approx(freedom, rel=1e-12)
    assert found.n_effective == pytest.approx(worth, rel=1e-12)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-14)
    tolerance = (1e-13 + 1e-9 * (offset > 0)) * np.abs(scatter).max()
    np.testing.assert_allclose(found.scatter, scatter, atol=tolerance)


def test_blocks_within_a_chunk_do_not_matter(monkeypatch):
    X = np.random.default_rng(0).normal(size=(500, 3))
    whole = moments_of(X, forgetting_factor=0.99)
    monkeypatch.setattr("latentsk._chunks.BLOCK_ELEMENTS", 1)
    blocks = moments_of(X, forgetting_factor=0.99)  # of 64 rows
    for found, expected in zip(blocks, whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_factor_of_one_is_no_factor():
    X = np.random.default_rng(0).normal(size=(500, 3))
    first, second = moments_of(X[:200]), moments_of(X[200:], forgetting_factor=1.0)
    total = merge(faded(first, 1.0**300), second)
    for found, expected in zip(total, merge(first, second), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert total.degrees_of_freedom == 499.0
    assert total.n_effective == 500.0


def test_rows_can_be_forgotten_to_the_last():
    X = np.random.default_rng(0).normal(size=(5_000, 2))
    found = streamed(X + np.repeat([[1e9], [0.0]], 2_500, axis=0), 0.5, [2_500, 2_500])
    mean, scatter, *_ = exact_weighted(X[-100:], 0.5)
    np.testing.assert_allclose(found.mean, mean, atol=1e-6)  # 1e9 in float64
    np.testing.assert_allclose(found.scatter, scatter, rtol=1e-9)
    assert found.n_effective == pytest.approx(3.0)


def test_off_centre():
    rng = np.random.default_rng(0)
    assert off_centre_shift(rng.normal(size=(100, 3))) is None
    far = rng.normal(size=(100, 3)) + 1e6
    np.testing.assert_allclose(off_centre_shift(far), 1e6, rtol=1e-6)
    assert is_off_centre(np.array([1.0]), 0.0)
