"""Hard data, and float64 brute force by direct differences as the truth."""

from typing import NamedTuple

import numpy as np
import pytest

N_ROWS = 200


class Case(NamedTuple):
    rows: np.ndarray
    queries: np.ndarray


def _two_clusters(rng, n):
    return 1e3 * rng.integers(0, 2, (n, 1)) + 1e-3 * rng.normal(size=(n, 8))


def _near_duplicates(rng, n):
    return np.resize(rng.normal(size=(20, 8)), (n, 8)) + 1e-9 * rng.normal(size=(n, 8))


def _enormous_row(rng, n):
    data = rng.normal(size=(n, 8))
    data[7] = 1e37
    return data


def _huge(rng, n, dtype):
    return rng.normal(size=(n, 8)) * (1e99 if dtype == np.float64 else 1e30)


def _tiny(rng, n, dtype):
    return rng.normal(size=(n, 8)) * (1e-200 if dtype == np.float64 else 1e-40)


# What rounding, cancellation, ties and the limits of floating point are hard on.
_HARD = {
    "ordinary": lambda rng, n, _: rng.normal(size=(n, 8)),
    "one_column": lambda rng, n, _: rng.normal(size=(n, 1)),
    "many_columns": lambda rng, n, _: rng.normal(size=(n, 300)),
    "off_centre": lambda rng, n, _: 1000.0 + rng.normal(size=(n, 8)),
    "two_clusters": lambda rng, n, _: _two_clusters(rng, n),
    "near_duplicates": lambda rng, n, _: _near_duplicates(rng, n),
    "norms_1e-6_to_1e6": lambda rng, n, _: (
        rng.normal(size=(n, 8)) * 10.0 ** rng.uniform(-6, 6, (n, 1))
    ),
    "columns_1e-6_to_1e6": lambda rng, n, _: (
        rng.normal(size=(n, 8)) * 10.0 ** np.linspace(-6, 6, 8)
    ),
    "lattice": lambda rng, n, _: rng.integers(0, 3, (n, 3)).astype(float),
    "duplicated_rows": lambda rng, n, _: np.resize(rng.normal(size=(25, 8)), (n, 8)),
    "constant": lambda rng, n, _: np.full((n, 3), 0.1),
    "zeros": lambda rng, n, _: np.zeros((n, 2)),
    "enormous_row": lambda rng, n, _: _enormous_row(rng, n),
    "huge": _huge,
    "tiny": _tiny,
}
_SHORT = {np.float64: "float64", np.float32: "float32"}


@pytest.fixture(params=list(_HARD))
def hard_case(request, global_dtype):
    """Rows, and queries of which some are rows and some are new."""
    return make_case(request.param, global_dtype)


def make_case(name, dtype=np.float64):
    data = _HARD[name](np.random.default_rng(0), N_ROWS + 15, dtype).astype(dtype)
    return Case(data[:N_ROWS], np.concatenate([data[:8], data[N_ROWS:]]))


@pytest.fixture(name="make_case", scope="session")
def _make_case():
    return make_case


@pytest.fixture(params=["faiss", "torch"])
def backend(request):
    if request.param == "faiss":
        pytest.importorskip("faiss")
    return request.param


def brute_force(rows, queries, metric="euclidean", own=False):
    """Return the dissimilarities of all pairs, in plain float64.

    With `own`, a query is a row itself, and sorts behind everything (NaN).
    """
    rows, queries = np.asarray(rows, dtype=float), np.asarray(queries, dtype=float)
    found = np.array([_METRICS[metric](rows, query) for query in queries])
    if own:
        np.fill_diagonal(found, np.nan)
    return found


def _euclidean(rows, query):
    # Squares of 1e-200 vanish; a power of two changes no digit.
    largest = np.abs(rows).max()
    exponent = 0 if 1e-100 < largest < 1e100 else int(np.frexp(largest)[1])
    difference = np.ldexp(rows, -exponent) - np.ldexp(query, -exponent)
    return np.ldexp(np.sqrt(np.sum(difference**2, axis=1)), exponent)


def _cosine(rows, query):
    rows, query = _unit(rows), _unit(query[None])[0]
    # The product with a row of zeros is zero, which puts it at distance 1.
    return 1.0 - rows @ query


def _unit(rows):
    rows = rows / np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-320)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0, 1.0, lengths)


def _inner_product(rows, query):
    return -np.sum(rows * query, axis=1)


_METRICS = {
    "euclidean": _euclidean,
    "cosine": _cosine,
    "inner_product": _inner_product,
}


@pytest.fixture(name="brute_force", scope="session")
def _brute_force():
    return brute_force


@pytest.fixture(scope="session")
def assert_nearest():
    """Positions exactly those of a stable sort, distances to 1e-12."""

    def check(distances, positions, truth):
        expected = np.argsort(truth, axis=1, kind="stable")[:, : positions.shape[1]]
        np.testing.assert_array_equal(positions, expected)
        expected = np.take_along_axis(truth, expected, axis=1)
        np.testing.assert_allclose(distances, expected, rtol=1e-12, atol=0.0)

    return check


@pytest.fixture(scope="session")
def assert_nearest_within():
    """Distances right, for truths whose own rounding decides between near ties."""

    def check(distances, positions, truth, atol):
        atol = np.broadcast_to(atol, truth[:, :1].shape)
        true_sorted = np.sort(truth, axis=1)[:, : positions.shape[1]]
        claimed = np.take_along_axis(truth, positions, axis=1)
        assert (np.abs(distances - true_sorted) <= atol).all()
        assert (np.abs(distances - claimed) <= atol).all()
        assert all(len(set(row)) == len(row) for row in positions.tolist())

    return check
