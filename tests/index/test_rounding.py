"""The error bounds hold in exact arithmetic, and are not far from what is needed."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from latentsk.index._candidates import smallest_scores
from latentsk.index._rounding import (
    product_error,
    score_bound,
    score_error,
    underflow_error,
    unit_roundoff,
)

_SETTINGS = settings(
    derandomize=True, deadline=None, max_examples=150, database=None, print_blob=False
)


# Ways to compute a product in a dtype; every one of them must stay within the bounds.


def _forward(a, b):
    total = a.dtype.type(0)
    for product in a * b:
        total = total + product
    return total


def _backward(a, b):
    return _forward(a[::-1], b[::-1])


def _pairwise(a, b):
    return np.sum(a * b, dtype=a.dtype)


def _blas(a, b):
    return np.dot(a, b)


_PRODUCTS = {f.__name__: f for f in (_forward, _backward, _pairwise, _blas)}


def _expanded(product, query, row):
    """Return |x|^2 + |q|^2 - 2 q.x, all in the dtype of the vectors."""
    norms = product(row, row) + product(query, query)
    return norms - query.dtype.type(2) * product(query, row)


def _differences(product, query, row):
    return product(row - query, row - query)


# Exact arithmetic


def _exact_product(a, b):
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    return sum((Fraction(x) * Fraction(y) for x, y in pairs), Fraction(0))


def _exact_square(query, row):
    pairs = zip(query.tolist(), row.tolist(), strict=True)
    return sum(((Fraction(x) - Fraction(y)) ** 2 for x, y in pairs), Fraction(0))


def _norm_below(vector):
    """Return a float that is not above the length: the bound's hardest case."""
    return math.hypot(*vector.tolist()) * (1 - 1e-15)


def _bound(query, row, dtype):
    """Return the bound from rounded-down values, so that it is not flattered."""
    square = np.array([float(_exact_square(query, row)) * (1 - 1e-15)])
    norm = np.array([_norm_below(query)])
    return score_bound(square, norm, len(query), dtype)[0]


# Float64 vectors, rounded to the dtype before anything is computed with them.
_ENTRIES = st.one_of(
    st.floats(-(2.0**20), 2.0**20),
    st.floats(-1e-3, 1e-3),
    st.floats(-1e-18, 1e-18),
    st.sampled_from([0.0, 1.0, 1.0 + 2.0**-24, 1.0 - 2.0**-25, 1e-40, -1e-45, 1000.0]),
)
_PAIRS = st.integers(1, 40).flatmap(
    lambda d: st.tuples(
        arrays(np.float64, d, elements=_ENTRIES),
        arrays(np.float64, d, elements=_ENTRIES),
    )
)
_NEAR_PAIRS = st.integers(1, 40).flatmap(
    lambda d: st.tuples(
        arrays(np.float64, d, elements=_ENTRIES),
        arrays(np.float64, d, elements=st.floats(-1e-3, 1e-3)),
    ).map(lambda pair: (pair[0], pair[0] + pair[1]))
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(pair=st.one_of(_PAIRS, _NEAR_PAIRS))
@_SETTINGS
def test_no_score_is_above_its_bound(dtype, pair):
    query, row = pair
    bound = _bound(query, row, dtype)
    for name, product in _PRODUCTS.items():
        for form in (_expanded, _differences):
            score = form(product, query.astype(dtype), row.astype(dtype))
            assert float(score) <= bound, (form.__name__, name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(pair=st.one_of(_PAIRS, _NEAR_PAIRS))
@_SETTINGS
def test_no_product_is_off_by_more_than_its_error(dtype, pair):
    query, row = pair
    exact = _exact_product(query, row)
    norms = np.array([_norm_below(query)]), _norm_below(row)
    allowed = product_error(*norms, len(query), dtype)[0]
    for name, product in _PRODUCTS.items():
        found = float(product(query.astype(dtype), row.astype(dtype)))
        assert abs(Fraction(found) - exact) <= allowed, name


@pytest.mark.parametrize("n_features", [1, 3, 8, 17, 64, 300, 2000])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e3, 1e6])
def test_no_score_of_a_backend_is_above_its_bound(backend, n_features, offset):
    rng = np.random.default_rng(n_features)
    rows = (offset + rng.normal(size=(40, n_features))).astype(np.float32)
    queries = np.concatenate([rows[:5], rows[5:10] + np.float32(1e-3)])
    norms = np.sum(np.square(rows, dtype=float), axis=1).astype(np.float32)
    for batch in (queries, np.repeat(queries, 5, axis=0)):
        scores, positions = smallest_scores(batch, rows, norms, len(rows), backend)
        wide = rows.astype(float)
        differences = wide[positions] - batch.astype(float)[:, None, :]
        bounds = score_bound(
            np.sum(differences**2, axis=2),
            np.linalg.norm(batch.astype(float), axis=1)[:, None],
            n_features,
            np.float32,
        )
        assert (scores <= bounds).all()


# Vectors on which every rounding of a running sum goes the same way, upwards.
def _worst_rows(n_features):
    row = np.full(n_features, np.sqrt(2.0**-24 * 1.01), dtype=np.float32)
    row[0] = 1.0
    return row


@pytest.mark.parametrize("n_features", [100, 1000, 10_000])
def test_running_sums_need_the_bound_to_grow_with_the_features(n_features):
    row = _worst_rows(n_features)
    computed = Fraction(float(_forward(row, row)))
    exact = _exact_product(row, row)
    off = float(abs(computed - exact) / exact)
    assert 20 * off > score_error(n_features, np.float32)
    assert off <= score_error(n_features, np.float32)


@pytest.mark.parametrize("n_features", [1, 4, 30, 300])
@pytest.mark.parametrize("product", list(_PRODUCTS))
def test_the_score_bound_is_not_loose_by_more_than_a_thousand(n_features, product):
    """Far from the origin a score is wrong by a good part of what is allowed for."""
    rng = np.random.default_rng(0)
    used = []
    for _ in range(50):
        query = (1000 + rng.normal(size=n_features)).astype(np.float32)
        row = query + rng.normal(size=n_features).astype(np.float32)
        score = _expanded(_PRODUCTS[product], query, row)
        exact = float(_exact_square(query, row))
        used.append((float(score) - exact) / (_bound(query, row, np.float32) - exact))
    assert 1e-3 < max(used) <= 1


@pytest.mark.parametrize("n_features", [1, 4, 30, 300])
@pytest.mark.parametrize("product", list(_PRODUCTS))
def test_the_product_error_is_not_loose_by_more_than_a_thousand(n_features, product):
    rng = np.random.default_rng(0)
    used = []
    for _ in range(50):
        query, row = 1.0 + rng.uniform(size=(2, n_features))
        found = _PRODUCTS[product](query.astype(np.float32), row.astype(np.float32))
        norms = np.array([_norm_below(query)]), _norm_below(row)
        off = abs(Fraction(float(found)) - _exact_product(query, row))
        used.append(float(off) / product_error(*norms, n_features, np.float32)[0])
    assert 1e-3 < max(used) <= 1


def test_without_the_bound_float32_would_mislead():
    """A row twice as far away can have the smaller score."""
    query, near, far = np.float32([3000.0]), np.float32([3000.25]), np.float32([3000.5])
    scores = [_expanded(_blas, query, row) for row in (near, far)]
    assert scores[0] >= scores[1]
    assert _bound(query, near, np.float32) >= scores[0]


@pytest.mark.parametrize(("dtype", "bits"), [(np.float32, 24), (np.float64, 53)])
def test_unit_roundoff_is_half_a_unit_in_the_last_place(dtype, bits):
    u = unit_roundoff(dtype)
    assert u == 2.0**-bits
    one = dtype(1)
    assert one + dtype(u) == one
    assert one + dtype(u) * dtype(1.5) > one


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_score_error_covers_twice_higham_s_gamma(dtype):
    u = unit_roundoff(dtype)
    for n_features in (1, 10, 1000, 100_000):
        gamma = n_features * u / (1 - n_features * u)
        assert 2 * gamma < score_error(n_features, dtype) < 2 * gamma + 100 * u


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_underflow_error_covers_all_products_lost(dtype):
    lost = np.finfo(dtype).tiny
    assert 10 * 7 * lost <= underflow_error(10, dtype) <= 1e4 * lost


def test_bounds_are_vectorized():
    squares, norms = np.array([0.0, 1.0, 4.0]), np.array([1.0, 0.0, 9.0])
    together = score_bound(squares, norms, 5, np.float32)
    alone = [
        score_bound(np.array([s]), np.array([n]), 5, np.float32)[0]
        for s, n in zip(squares, norms, strict=True)
    ]
    np.testing.assert_array_equal(together, alone)
    assert (together >= squares).all()
