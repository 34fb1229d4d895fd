"""Projections: what they preserve, and inner products turned into distances."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from latentsk.index import _projection
from latentsk.index._projection import Projection, largest_length, principal_axes


@pytest.fixture
def rows():
    """Rows with a mean, and columns that depend on each other."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(9, 9)) * 0.7 ** np.arange(9)[:, None]
    return (3.0 + rng.normal(size=(400, 9)) @ mixing).astype(np.float32)


@pytest.fixture
def queries(rows):
    return rows[:20] + np.float32(0.1)


def _reduction(rows, n_components):
    mean = rows.mean(axis=0)
    _, axes = principal_axes(rows, n_components, 0)
    return Projection(mean, axes, None)


# Components


def test_all_components_preserve_distances(rows, queries):
    projection = _reduction(rows, 9)
    found = cdist(projection.queries(queries), projection.rows(rows))
    expected = cdist(queries, rows)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_projected_rows_are_centred(rows):
    projected = _reduction(rows, 4).rows(rows)
    assert projected.shape == (400, 4)
    assert projected.dtype == np.float32
    np.testing.assert_allclose(projected.mean(axis=0), 0.0, atol=1e-4)


def test_axes_are_those_of_the_singular_value_decomposition(rows):
    shares, axes = principal_axes(rows, 5, 0)
    exactly = rows.astype(float) - rows.mean(axis=0, dtype=float)
    _, singular, directions = np.linalg.svd(exactly, full_matrices=False)
    np.testing.assert_allclose(shares, (singular**2 / np.sum(singular**2))[:5], 1e-4)
    np.testing.assert_allclose(np.abs(directions[:5] @ axes), np.eye(5), atol=2e-3)
    assert axes.dtype == np.float32
    assert axes.flags.c_contiguous


def test_fewer_components_never_lengthen_distances(rows, queries):
    before = cdist(queries, rows)
    for n_components in (8, 4, 1):
        projection = _reduction(rows, n_components)
        found = cdist(projection.queries(queries), projection.rows(rows))
        assert (found <= before + 1e-4).all()
        before = found


@pytest.mark.parametrize(
    ("shape", "most", "expected"),
    [((5, 9), 100, 5), ((50, 3), 100, 3), ((50, 9), 2, 2)],
)
def test_there_are_no_more_components_than_rows_and_columns(shape, most, expected):
    sample = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    shares, axes = principal_axes(sample, most, 0)
    assert shares.shape == (expected,)
    assert axes.shape == (shape[1], expected)
    np.testing.assert_allclose(axes.T @ axes, np.eye(expected), atol=1e-5)


def test_wide_data_are_decomposed_at_random_but_repeat(monkeypatch):
    monkeypatch.setattr(_projection, "MAX_FULL_COLUMNS", 20)
    rng = np.random.default_rng(0)
    sample = rng.normal(size=(300, 30)) * 0.5 ** np.arange(30)
    sample = sample.astype(np.float32)
    shares, axes = principal_axes(sample, 4, 3)
    again = principal_axes(sample, 4, 3)
    np.testing.assert_array_equal(shares, again[0])
    np.testing.assert_array_equal(axes, again[1])
    exactly = np.linalg.svd(sample - sample.mean(axis=0), compute_uv=False) ** 2
    np.testing.assert_allclose(shares, (exactly / exactly.sum())[:4], rtol=1e-3)


@pytest.mark.parametrize("exponent", [-120, -60, 60, 100])
def test_shares_and_axes_do_not_depend_on_the_unit(rows, exponent):
    expected = principal_axes(rows, 4, 0)
    found = principal_axes(np.ldexp(rows, exponent), 4, 0)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(np.abs(found[1]), np.abs(expected[1]), atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.25, 0.3, -1e30])
def test_constant_data_have_axes_all_the_same(value):
    sample = np.full((64, 4), value, dtype=np.float32)
    shares, axes = principal_axes(sample, 4, 0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(4), atol=1e-5)
    # Nothing, or what rounding leaves.
    assert (shares >= 0).all()
    assert shares.sum() <= 1 + 1e-5
    if value in (0.0, 0.25):
        np.testing.assert_array_equal(shares, 0.0)


# Coordinates as they are


def test_without_axes_nothing_is_changed(rows, queries):
    projection = Projection(None, None, None)
    assert projection.rows(rows) is rows
    assert projection.queries(queries) is queries


# Inner products


@pytest.mark.parametrize("n_components", [None, 10])
def test_the_order_of_products_is_that_of_distances(rows, queries, n_components):
    length = largest_length(rows)
    projection = Projection(None, None, length)
    if n_components is not None:
        whole = projection.rows(rows)
        reduction = _reduction(whole, n_components)
        projection = dataclasses.replace(reduction, length=length)
    projected = projection.rows(rows), projection.queries(queries)
    squares = cdist(projected[1], projected[0], "sqeuclidean")
    products = queries.astype(float) @ rows.T.astype(float)
    # |q|^2 + m^2 - 2 q.x
    lengths = np.sum(queries.astype(float) ** 2, axis=1)[:, None]
    expected = lengths + length**2 - 2 * products
    np.testing.assert_allclose(squares, expected, rtol=1e-4, atol=2e-3)
    ranked = np.take_along_axis(products, np.argsort(squares, axis=1), axis=1)
    # Products of neighbours in the order may be as close as rounding.
    assert (np.diff(ranked, axis=1) <= 2e-3).all()


def test_every_row_gets_the_same_length(rows):
    length = largest_length(rows)
    longer = Projection(None, None, length).rows(rows)
    assert longer.shape == (400, 10)
    assert longer.dtype == np.float32
    np.testing.assert_array_equal(longer[:, :9], rows)
    np.testing.assert_allclose(np.linalg.norm(longer, axis=1), length, rtol=1e-6)
    assert (longer[:, 9] >= 0).all()


def test_queries_get_a_zero(queries):
    longer = Projection(None, None, 5.0).queries(queries)
    np.testing.assert_array_equal(longer[:, :9], queries)
    np.testing.assert_array_equal(longer[:, 9], 0.0)


def test_rows_longer_than_the_common_length_lie_at_its_end(rows):
    """A row that was added later can be longer than all that were there."""
    longer = Projection(None, None, 1e-3).rows(rows)
    np.testing.assert_array_equal(longer[:, 9], 0.0)
    np.testing.assert_array_equal(longer[:, :9], rows)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5000, 300)])
def test_largest_length_is_that_of_the_longest_row(shape):
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = np.linalg.norm(rows.astype(float), axis=1).max()
    assert largest_length(rows) == pytest.approx(expected, rel=1e-12)


def test_lengths_do_not_overflow_float32():
    rows = np.full((2, 4), 1e30, dtype=np.float32)
    assert largest_length(rows) == pytest.approx(2e30, rel=1e-6)
