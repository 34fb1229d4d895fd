"""LatentIndex: ids, the table of a search, refits, copies, threads, kinds of input."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from pandas.testing import assert_frame_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from latentsk import LatentIndex, PCAEmbedder

SETTINGS = {
    "plain": {},
    "cosine": {"metric": "cosine"},
    "inner_product": {"metric": "inner_product"},
    "float32": {"exactness": "float32"},
    "torch": {"backend": "torch"},
    "embedder": {"embedder": PCAEmbedder(2)},
}


@pytest.fixture(params=list(SETTINGS))
def index(request):
    return clone(LatentIndex(**SETTINGS[request.param]))


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(50, 4))


@pytest.fixture(scope="module")
def new():
    return np.random.default_rng(1).normal(size=(6, 4))


# Ids


def test_ids_default_to_row_numbers(rows):
    index = LatentIndex().fit(rows)
    np.testing.assert_array_equal(index.ids_, np.arange(50))
    assert index.ids_.dtype == np.intp


def test_ids_default_to_the_index_of_a_dataframe(rows):
    labels = pd.date_range("2026-01-01", periods=50)
    index = LatentIndex().fit(pd.DataFrame(rows, columns=list("abcd"), index=labels))
    np.testing.assert_array_equal(index.ids_, labels.to_numpy())


def test_ids_that_are_given_win_over_the_index(rows):
    names = [f"row {i}" for i in range(50)]
    table = pd.DataFrame(rows, columns=list("abcd"), index=range(100, 150))
    index = LatentIndex().fit(table, ids=names)
    assert index.ids_.tolist() == names


@pytest.mark.parametrize("ids", [range(50, 0, -1), pd.Series(range(50)), np.arange(50)])
def test_ids_may_be_any_sequence(rows, ids):
    assert LatentIndex().fit(rows, ids=ids).ids_.tolist() == list(ids)


def test_ids_of_many_levels(rows):
    labels = pd.MultiIndex.from_product([["a", "b"], range(25)])
    table = pd.DataFrame(rows, columns=list("abcd"), index=labels)
    found = LatentIndex().fit(table).search(table[30:32], 1)
    assert found["id"].tolist() == found["query"].tolist() == [("b", 5), ("b", 6)]


# The table of a search


def test_search_is_a_tidy_table():
    rows = [[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]
    index = LatentIndex().fit(rows, ids=["a", "b", "c"])
    expected = pd.DataFrame(
        {
            "query": [0, 0, 1, 1],
            "rank": [1, 2, 1, 2],
            "id": ["a", "c", "b", "c"],
            "distance": [0.0, 1.0, 0.0, np.sqrt(18.0)],
        }
    )
    assert_frame_equal(index.search(rows[:2], 2), expected)


def test_search_says_what_kneighbors_says(rows, new):
    names = np.array([f"row {i}" for i in range(50)])
    index = LatentIndex(n_neighbors=4).fit(rows, ids=names)
    table = index.search(new)
    distances, positions = index.kneighbors(new)
    assert table["query"].tolist() == np.repeat(np.arange(6), 4).tolist()
    assert table["rank"].tolist() == [1, 2, 3, 4] * 6
    assert table["id"].tolist() == names[positions.ravel()].tolist()
    np.testing.assert_array_equal(table["distance"], distances.ravel())
    assert table.dtypes[["query", "rank"]].tolist() == [np.int64, np.int64]
    assert table.dtypes["distance"] == np.float64
    assert table.index.equals(pd.RangeIndex(24))


def test_search_labels_queries_by_the_index_of_a_dataframe(rows, new):
    columns = list("abcd")
    index = LatentIndex().fit(pd.DataFrame(rows, columns=columns))
    queries = pd.DataFrame(new, columns=columns, index=list("uvwxyz"))
    table = index.search(queries, 2)
    assert table["query"].tolist() == list("uuvvwwxxyyzz")


def test_search_among_themselves_labels_queries_by_id(rows):
    names = [f"row {i}" for i in range(50)]
    table = LatentIndex().fit(rows, ids=names).search(n_neighbors=1)
    assert table["query"].tolist() == names
    assert (table["query"] != table["id"]).all()


def test_search_by_inner_product_is_a_similarity(rows, new):
    index = LatentIndex(metric="inner_product").fit(rows)
    table = index.search(new, 5)
    assert list(table.columns) == ["query", "rank", "id", "similarity"]
    products = new @ rows.T
    expected = np.argsort(-products, axis=1)[:, :5]
    np.testing.assert_array_equal(table["id"].to_numpy().reshape(6, 5), expected)
    np.testing.assert_allclose(
        table["similarity"], np.take_along_axis(products, expected, axis=1).ravel()
    )
    own = index.search(n_neighbors=49)
    assert (own["query"] != own["id"]).all()


# Refits


def test_refit_forgets_what_was_before(rows):
    index = LatentIndex().fit(pd.DataFrame(rows, columns=list("abcd")), ids=range(50))
    index.fit(rows[:20, :3])
    assert index.n_features_in_ == 3
    assert index.n_samples_fit_ == 20
    assert not hasattr(index, "feature_names_in_")
    fresh = LatentIndex().fit(rows[:20, :3])
    assert vars(index).keys() == vars(fresh).keys()
    assert_frame_equal(index.search(rows[:, :3]), fresh.search(rows[:, :3]))


def test_refit_with_an_embedder_and_without(rows):
    index = LatentIndex(PCAEmbedder(2)).fit(rows)
    assert index.vectors_.shape == (50, 2)
    index.set_params(embedder=None).fit(rows)
    assert index.vectors_.shape == (50, 4)
    assert not hasattr(index, "embedder_")


@pytest.mark.parametrize(
    ("data", "arguments"),
    [
        ("nan", {}),
        ("one_row_less", {"ids": range(50)}),
        ("all", {"ids": [1] * 50}),
        ("all", {"ids": [None] * 50}),
        ("narrow", {"ids": "abc"}),
        ("empty", {}),
    ],
)
def test_failed_refit_changes_nothing(index, rows, new, data, arguments):
    index.fit(rows)
    answers, before = index.search(new), dict(vars(index))
    bad = {
        "nan": np.full((50, 4), np.nan),
        "one_row_less": rows[1:],
        "all": -rows,
        "narrow": rows[:, :3],
        "empty": rows[:0],
    }[data]
    with pytest.raises((ValueError, TypeError)):
        index.fit(bad, **arguments)
    assert vars(index).keys() == before.keys()
    assert all(vars(index)[name] is value for name, value in before.items())
    assert_frame_equal(index.search(new), answers)


def test_failed_refit_with_other_parameters_changes_nothing(rows, new):
    index = LatentIndex().fit(rows)
    answers = index.search(new)
    with pytest.raises(ValueError, match="metric"):
        index.set_params(metric="manhattan").fit(-rows)
    assert_frame_equal(index.set_params(metric="euclidean").search(new), answers)


# Copies


@pytest.mark.parametrize("way", ["pickle", "joblib", "deepcopy"])
def test_copies_answer_alike(index, rows, new, way, tmp_path):
    index.fit(rows, ids=[f"row {i}" for i in range(50)])
    if way == "joblib":
        joblib.dump(index, tmp_path / "index.joblib")
        other = joblib.load(tmp_path / "index.joblib")
    else:
        copied = {"pickle": lambda i: pickle.loads(pickle.dumps(i))}
        other = copied.get(way, copy.deepcopy)(index)
    assert_frame_equal(other.search(new), index.search(new))
    assert_frame_equal(other.search(), index.search())
    assert other.get_params().keys() == index.get_params().keys()


def test_a_deep_copy_is_on_its_own(rows, new):
    index = LatentIndex().fit(rows)
    answers = index.search(new)
    copy.deepcopy(index).fit(-rows)
    assert_frame_equal(index.search(new), answers)


def test_clones_are_unfitted_and_answer_alike_when_fitted(index, rows, new):
    other = clone(index.fit(rows))
    with pytest.raises(NotFittedError):
        other.search(new)
    assert_frame_equal(other.fit(rows).search(new), index.search(new))


def test_pickles_do_not_carry_what_can_be_rebuilt(rows):
    index = LatentIndex().fit(np.tile(rows, (100, 1)))
    index.kneighbors(rows)
    # The vectors and the ids, not the float32 copy.
    assert len(pickle.dumps(index)) < 1.2 * (index.vectors_.nbytes + index.ids_.nbytes)


@pytest.mark.parametrize("restored", [False, True])
def test_threads_get_the_answers_of_one(index, rows, restored):
    queries = np.random.default_rng(2).normal(size=(8, 100, 4))
    index.fit(rows)
    expected = [index.search(part) for part in queries]
    if restored:
        # All threads want to rebuild the search at once.
        index = pickle.loads(pickle.dumps(index))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(index.search, queries))
    for mine, true in zip(found, expected, strict=True):
        assert_frame_equal(mine, true)


# Kinds of input


def _as_memmap(X, tmp_path):
    path = tmp_path / f"{len(X)}.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


def _read_only(X, _):
    X = X.copy()
    X.flags.writeable = False
    return X


KINDS = {
    "read-only": _read_only,
    "fortran": lambda X, _: np.asfortranarray(X),
    "strided": lambda X, _: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda X, _: X[::-1].copy()[::-1],
    "memory-mapped": _as_memmap,
    "byte-swapped": lambda X, _: X.astype(X.dtype.newbyteorder()),
    "lists": lambda X, _: X.tolist(),
    "objects": lambda X, _: X.astype(object),
    "dataframe": lambda X, _: pd.DataFrame(X),
    "extension dataframe": lambda X, _: pd.DataFrame(X).astype("Float64"),
    "polars": lambda X, _: pl.DataFrame(X, schema=list("abcd")),
    "tensor": lambda X, _: torch.from_numpy(X.copy()),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_kinds_of_input(index, rows, new, kind, tmp_path, global_dtype):
    rows, new = rows.astype(global_dtype), new.astype(global_dtype)
    expected = clone(index).fit(rows).search(new)
    X = KINDS[kind](rows, tmp_path)
    index.fit(X)
    found = index.search(KINDS[kind](new, tmp_path))
    # An embedder computes in float32, or in float64 after a list; in any order.
    rtol = 1e-4 if global_dtype == np.float32 else 1e-12
    assert_frame_equal(found, expected, rtol=rtol, atol=0.0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, bool, np.float16])
def test_other_numbers_become_floats_that_hold_them(dtype):
    rows = np.array([[0, 1], [1, 1], [1, 0]]).astype(dtype)
    index = LatentIndex().fit(rows)
    assert index.vectors_.dtype == (np.float64 if dtype == np.int64 else np.float32)
    np.testing.assert_array_equal(index.kneighbors(rows, 1)[1], [[0], [1], [2]])


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_input_is_not_changed(index, rows, new, order, global_dtype):
    rows = np.array(rows, dtype=global_dtype, order=order)
    new = np.array(new, dtype=global_dtype, order=order)
    kept_rows, kept_new = rows.copy(), new.copy()
    index.fit(rows)
    index.search(new)
    index.search()
    if index.metric != "inner_product":
        index.radius_neighbors(new)
    np.testing.assert_array_equal(rows, kept_rows)
    np.testing.assert_array_equal(new, kept_new)


def test_vectors_keep_float32(rows):
    assert LatentIndex().fit(rows.astype(np.float32)).vectors_.dtype == np.float32


def test_answers_do_not_depend_on_queries_dtype(rows):
    """Queries in float32 are those numbers, whatever the dtype of the rows."""
    queries = rows[:5].astype(np.float32)
    index = LatentIndex().fit(rows)
    alike = index.kneighbors(queries), index.kneighbors(queries.astype(np.float64))
    for mine, other in zip(*alike, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_one_row():
    index = LatentIndex().fit([[1.0, 2.0]])
    distances, positions = index.kneighbors([[4.0, 6.0]], 1)
    assert (distances.tolist(), positions.tolist()) == ([[5.0]], [[0]])
    assert index.radius_neighbors([[4.0, 6.0]], 5.0)[1][0].tolist() == [0]
    assert index.radius_neighbors(None, 5.0)[1][0].tolist() == []
    with pytest.raises(ValueError, match="n_neighbors"):
        index.kneighbors(None, 1)
