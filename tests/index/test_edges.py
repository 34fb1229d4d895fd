"""Edges: overflow, odd ids, odd embedders."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import FunctionTransformer

from latentsk import LatentIndex, _faiss
from latentsk.index._rows import RowStore


def rng():
    return np.random.default_rng(0)


# More than 65,536 rows of fewer than 8 columns


def test_many_narrow_rows_radius():
    rows = rng().normal(size=(70_000, 2))
    found = LatentIndex().fit(rows).radius_neighbors([[0.0, 0.0]], 0.05)[1][0]
    expected = np.flatnonzero(np.sqrt(np.sum(rows**2, axis=1)) <= 0.05)
    np.testing.assert_array_equal(found, expected)


def test_many_narrow_rows_second_pass():
    rows = rng().integers(0, 3, (70_000, 2)).astype(float)
    found = LatentIndex().fit(rows).kneighbors([[0.0, 0.0]], 3)[1]
    expected = np.flatnonzero(~rows.any(axis=1))[:3]
    np.testing.assert_array_equal(found[0], expected)


# Overflow in float32 certifies nothing


def test_inner_product_overflow_last_candidate(backend):
    rows = rng().uniform(1, 2, (500, 1))
    index = LatentIndex(metric="inner_product", backend=backend).fit(rows)
    found = index.search([[-1e39]], 3)["id"]
    expected = np.argsort(rows[:, 0], kind="stable")[:3]
    np.testing.assert_array_equal(found, expected)


def test_inner_product_overflow_of_one_row():
    """inf - inf: the best row's score is no number, and is sorted last."""
    rows = np.zeros((500, 2))
    rows[:, 0] = 1e4 * rng().uniform(1, 2, 500)
    rows[100] = [1e6, 5e5]
    index = LatentIndex(metric="inner_product", backend="torch").fit(rows)
    found = index.search([[2e33, -2e33]], 3)["id"]
    expected = np.argsort(-(rows @ [2e33, -2e33]), kind="stable")[:3]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_euclidean_ties_far_outside(backend):
    rows = -rng().exponential(size=(500, 1)) - 0.01
    found = LatentIndex(backend=backend).fit(rows).kneighbors([[3e38]], 3)[1]
    np.testing.assert_array_equal(found, [[0, 1, 2]])


# Overflow in float32 hides no row within a radius


def test_radius_of_a_far_query_in_float32():
    """From about 1.8e19 the square of the query overflows float32."""
    rows = rng().normal(size=(50, 3))
    found = LatentIndex().fit(rows).radius_neighbors(np.full((1, 3), 1e20), 2e20)[1]
    np.testing.assert_array_equal(found[0], np.arange(50))


def test_radius_of_tiny_rows():
    """No far query needed: rows of 1e-12, scaled to one, and a query of 1e8."""
    rows = 1e-12 * rng().normal(size=(50, 3))
    found = LatentIndex().fit(rows).radius_neighbors(np.full((1, 3), 1e8), 2e8)[1]
    np.testing.assert_array_equal(found[0], np.arange(50))


# No warnings for input that has an answer


@pytest.mark.parametrize("radius", [1e154, 1e200])
def test_large_radius(radius):
    index = LatentIndex().fit(rng().normal(size=(50, 3)))
    found = index.radius_neighbors(np.zeros((1, 3)), radius)[1]
    np.testing.assert_array_equal(found[0], np.arange(50))


def test_default_radius_of_tiny_rows():
    rows = 1e-170 * rng().normal(size=(50, 3))
    found = LatentIndex().fit(rows).radius_neighbors(rows[:1])[1]
    np.testing.assert_array_equal(found[0], np.arange(50))


@pytest.mark.parametrize("distance", [1e38, 1e45, 1e98])
def test_far_queries(backend, distance):
    rows = rng().normal(size=(600, 4))
    queries = distance * rng().normal(size=(30, 4))
    found = LatentIndex(backend=backend).fit(rows).kneighbors(queries, 3)[1]
    np.testing.assert_array_equal(found, np.tile([0, 1, 2], (30, 1)))


# Inner products of small queries


@pytest.mark.parametrize("exponents", [(0, -170), (98, -30)])
def test_inner_product_query_norm_underflows(backend, exponents):
    rows, queries = rng().normal(size=(300, 8)), rng().normal(size=(40, 8)) + 0.5
    rows, queries = rows * 10.0 ** exponents[0], queries * 10.0 ** exponents[1]
    index = LatentIndex(metric="inner_product", backend=backend).fit(rows)
    found = index.search(queries, 6)["id"].to_numpy().reshape(40, 6)
    products = queries @ rows.T
    np.testing.assert_array_equal(found, np.argsort(-products, axis=1)[:, :6])


# Very different magnitudes


def test_one_row_of_1e100_leaves_the_others_apart():
    rows = np.r_[1e100, np.arange(1.0, 30.0)][:, None]
    distances, positions = LatentIndex().fit(rows).kneighbors([[5.0]], 3)
    np.testing.assert_array_equal(positions, [[5, 4, 6]])
    np.testing.assert_array_equal(distances, [[0, 1, 1]])


def test_inner_product_of_huge_rows_and_tiny_queries():
    rows = 1e99 * np.arange(1.0, 5.0)[:, None]
    found = LatentIndex(metric="inner_product").fit(rows).search([[1e-99]], 2)
    np.testing.assert_allclose(found["similarity"], [4.0, 3.0])


def test_inner_product_of_tiny_rows_and_huge_queries():
    rows = 1e-99 * np.arange(1.0, 5.0)[:, None]
    found = LatentIndex(metric="inner_product").fit(rows).search([[1e99]], 2)
    np.testing.assert_allclose(found["similarity"], [4.0, 3.0])


@pytest.mark.parametrize("size", [1e-10, 1e-200])
def test_far_query_of_tiny_rows(size):
    rows = size * np.arange(1.0, 5.0)[:, None]
    distances, positions = LatentIndex().fit(rows).kneighbors([[1e100], [0.0]], 2)
    np.testing.assert_array_equal(distances[0], [1e100, 1e100])
    np.testing.assert_allclose(distances[1], [size, 2 * size], rtol=1e-15)
    assert positions[1].tolist() == [0, 1]


# Subnormal data


@pytest.mark.parametrize("metric", ["euclidean", "inner_product"])
def test_subnormal_rows(metric):
    rows = np.arange(3.0)[:, None] * 1e-310
    found = LatentIndex(metric=metric).fit(rows).search(rows, 1)
    assert len(found) == 3


# Cosine distances end at 2


@pytest.mark.parametrize("exactness", ["certified", "float32"])
def test_cosine_distance_is_at_most_two(exactness):
    rows = rng().normal(size=(500, 5))
    index = LatentIndex(metric="cosine", exactness=exactness).fit(rows)
    assert index.kneighbors(-rows, 500)[0].max() <= 2.0


# Ids stay as they are


def test_tuples_stay_tuples():
    names = [("a", 1), ("b", 1)]
    assert LatentIndex().fit([[1.0], [2.0]], ids=names).ids_.tolist() == names


@pytest.mark.parametrize("names", [[1, "a"], [1, "1"], [2.5, "x"]])
def test_mixed_lists_keep_their_types(names):
    assert LatentIndex().fit([[1.0], [2.0]], ids=names).ids_.tolist() == names


def test_a_missing_level_is_refused():
    labels = pd.MultiIndex.from_tuples([("a", None), ("b", 1)])
    with pytest.raises(ValueError, match="missing"):
        LatentIndex().fit(pd.DataFrame([[1.0], [2.0]], index=labels))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
def test_a_tuple_with_a_missing_part_is_refused(missing):
    with pytest.raises(ValueError, match="missing"):
        LatentIndex().fit([[1.0], [2.0]], ids=[("a", missing), ("b", 1, 2)])


def test_appending_nothing_keeps_the_dtype():
    store, _ = RowStore.of(3, [1, 2, 2**53 + 1]).append(1, [7])
    store, positions = store.append(0, np.arange(0))
    assert positions.tolist() == []
    assert store.ids.tolist() == [1, 2, 2**53 + 1, 7]
    assert store.ids.dtype.kind == "i"


def test_appending_to_unsigned_ids_keeps_every_digit():
    ids = np.array([2**63 + 1], dtype=np.uint64)
    assert RowStore.of(1, ids).append(1, [5])[0].ids.tolist() == [2**63 + 1, 5]


# Embedders


def test_duck_typed_embedder():
    class Duck:
        def fit(self, X, y=None):
            self.fitted_ = True
            return self

        def transform(self, X):
            return np.asarray(X)

    index = LatentIndex(Duck().fit(None)).fit(np.eye(3))
    np.testing.assert_array_equal(index.kneighbors(np.eye(3), 1)[1], [[0], [1], [2]])


def test_unfitted_frozen_embedder():
    with pytest.raises(NotFittedError):
        LatentIndex(FrozenEstimator(PCA(1))).fit(np.eye(3))


def test_a_width_that_the_embedder_does_not_check_is_refused():
    index = LatentIndex(FunctionTransformer()).fit(np.eye(3))
    with pytest.raises(ValueError, match=r"feature|column|width"):
        index.kneighbors(np.eye(4), 1)


def test_an_embedder_that_drops_rows_is_refused():
    index = LatentIndex(FunctionTransformer(lambda X: X[::2]))
    with pytest.raises(ValueError, match="rows"):
        index.fit(np.eye(4))


# Parameters


@pytest.mark.parametrize("radius", ["1", [1.0, 2.0]])
def test_radius_of_a_wrong_type_is_named(radius):
    with pytest.raises((ValueError, TypeError), match="radius"):
        LatentIndex().fit(np.eye(4)).radius_neighbors(np.eye(4), radius)


# Detection of two FAISS packages


def test_names_with_underscores(monkeypatch):
    found = [SimpleNamespace(metadata={"Name": n}) for n in ("faiss_cpu", "faiss_gpu")]
    monkeypatch.setattr(_faiss, "distributions", lambda: found)
    _faiss.load_faiss.cache_clear()
    try:
        with pytest.raises(ImportError, match="both installed"):
            _faiss.load_faiss()
    finally:
        _faiss.load_faiss.cache_clear()


@pytest.mark.parametrize("ids", [5, "ab"])
def test_ids_that_are_no_list_are_named(ids):
    with pytest.raises(ValueError, match="ids must be a list or array"):
        LatentIndex().fit([[1.0], [2.0]], ids=ids)


# Memory


def test_memory_of_a_search_that_float32_cannot_certify():
    rows = (
        1e-3 * rng().normal(size=(100_000, 16))
        + 1e3 * (np.arange(100_000) % 2)[:, None]
    )
    index = LatentIndex(backend="torch").fit(rows)
    tracemalloc.start()
    index.kneighbors(rows[:200], 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6


@pytest.mark.parametrize("parameter", ["exactness", "backend"])
def test_parameters_set_after_the_fit_are_checked(parameter):
    index = LatentIndex().fit(np.eye(3)).set_params(**{parameter: "zzz"})
    with pytest.raises(ValueError, match=f"'{parameter}' parameter"):
        index.kneighbors(np.eye(3), 1)
