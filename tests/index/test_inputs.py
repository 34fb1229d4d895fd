"""Rows, ids and metadata of many types: kept exactly, owned, stored, or refused."""

import datetime
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from pandas.testing import assert_frame_equal
from sklearn.base import BaseEstimator
from sklearn.preprocessing import FunctionTransformer

from latentsk import LatentIndex, PCAEmbedder

ROWS = np.random.default_rng(0).integers(0, 2, (60, 8))
UUIDS = [uuid.UUID(int=i**9) for i in range(60)]


def held_bytes(index):
    """Count the bytes of the arrays that an engine holds, each piece of memory once."""
    seen, total, waiting = set(), 0, [index._engine]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, str | bytes | int | float | type):
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            while isinstance(item.base, np.ndarray):
                item = item.base
            if id(item) not in seen or item.base is None:
                seen.add(id(item))
                total += item.nbytes
        elif isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
        elif type(item).__module__.startswith("latentsk"):
            waiting.extend(getattr(item, "__dict__", {}).values())
    return total


# Rows: dtypes

NARROW = [np.float32, np.float16, np.int8, np.uint8, np.int16, np.uint16, bool]
KINDS = {
    "array": lambda rows: rows,
    "fortran": np.asfortranarray,
    "frame": lambda rows: pd.DataFrame(rows).add_prefix("x"),
    "polars": lambda rows: pl.DataFrame(rows, schema=[f"x{i}" for i in range(8)]),
    "list of arrays": list,
}


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("kind", KINDS)
def test_narrow_rows_are_float32(dtype, kind):
    index = LatentIndex().fit(KINDS[kind](ROWS.astype(dtype)))
    assert index.vectors_.dtype == np.float32
    np.testing.assert_array_equal(index.vectors_, ROWS)


@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_rows_hold_four_bytes_a_value(dtype):
    rows = np.random.default_rng(1).integers(0, 2, (4_000, 64)).astype(dtype)
    held = held_bytes(LatentIndex().fit(rows))
    assert (
        4 * rows.size <= held < 1.3 * 4 * rows.size
    )  # vectors, and a few numbers for each row


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.int64, np.uint32])
def test_wide_rows_are_float64(dtype):
    assert LatentIndex().fit(ROWS.astype(dtype)).vectors_.dtype == np.float64


@pytest.mark.parametrize(
    ("dtype", "found"),
    [
        ("Int8", "float32"),
        ("boolean", "float32"),
        ("Int32", "float64"),
        ("int16[pyarrow]", "float32"),
        ("double[pyarrow]", "float64"),
    ],
)
def test_nullable_columns(dtype, found):
    frame = pd.DataFrame(ROWS).add_prefix("x").astype(dtype)
    assert LatentIndex().fit(frame).vectors_.dtype == found


def test_columns_of_several_dtypes():
    frame = pd.DataFrame({"a": np.float16([1, 2]), "b": [True, False]})
    assert LatentIndex().fit(frame).vectors_.dtype == np.float32
    frame["c"] = [2**24 + 1, 0]
    index = LatentIndex().fit(frame)
    assert index.vectors_.dtype == np.float64
    assert index.vectors_[0, 2] == 2**24 + 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_narrow_tensors_are_float32(dtype):
    assert LatentIndex().fit(torch.tensor(ROWS).to(dtype)).vectors_.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.int8, bool])
def test_narrow_output_of_an_embedder_is_float32(dtype):
    embedder = FunctionTransformer(lambda X: X.astype(dtype))
    index = LatentIndex(embedder).fit(ROWS.astype(float))
    assert index.vectors_.dtype == np.float32


# Rows: who owns them


SHARED = {
    "float64": lambda rows: rows,
    "float32": lambda rows: rows.astype(np.float32),
    "every other": lambda rows: np.repeat(rows, 2, axis=0)[::2],
    "subclass": lambda rows: rows.view(type("Rows", (np.ndarray,), {})),
}


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_reused_buffer_changes_nothing(kind, metric):
    given = SHARED[kind](np.random.default_rng(2).normal(size=(60, 8)))
    queries = given.copy()
    index = LatentIndex(metric=metric).fit(given)
    before = index.kneighbors(queries, 3)
    given[:] = 7.0
    np.testing.assert_array_equal(index.vectors_, queries)
    for found, expected in zip(index.kneighbors(queries, 3), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_reused_buffer_of_added_and_updated_rows_changes_nothing():
    rows = np.random.default_rng(3).normal(size=(60, 8))
    index, given = LatentIndex().fit(rows), rows[:20] + 1.0
    index.add(given, range(60, 80))
    index.update(given, range(20))
    index.upsert(given, range(70, 90))
    kept = index.vectors_.copy()
    given[:] = 0.0
    np.testing.assert_array_equal(index.vectors_, kept)


def test_memory_of_tensors_tables_and_embedders_is_not_shared():
    rows = np.random.default_rng(4).normal(size=(60, 8))
    tensor = torch.tensor(rows)
    index = LatentIndex().fit(tensor)
    tensor[:] = 0.0
    np.testing.assert_array_equal(index.vectors_, rows)
    buffer = rows.copy()
    index = LatentIndex().fit(pd.DataFrame(buffer, copy=False))
    buffer[:] = 0.0
    np.testing.assert_array_equal(index.vectors_, rows)
    buffer = rows.copy()
    for embedder in (FunctionTransformer(), FunctionTransformer(lambda X: buffer)):
        index = LatentIndex(embedder).fit(buffer)
        buffer[:] = 0.0
        np.testing.assert_array_equal(index.vectors_, rows)
        buffer[:] = rows


def test_a_read_only_memory_map_stays_mapped(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS.astype(np.float32))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    index = LatentIndex().fit(mapped)
    assert np.shares_memory(index.vectors_, mapped)
    for mode in ("r+", "c"):
        mapped = np.load(tmp_path / "rows.npy", mmap_mode=mode)
        index = LatentIndex().fit(mapped)
        assert not np.shares_memory(index.vectors_, mapped)


def test_ids_and_metadata_are_not_shared():
    ids, owner = np.arange(60), np.arange(60) % 3
    metadata = pd.DataFrame({"owner": owner}, copy=False)
    index = LatentIndex().fit(ROWS, ids=ids, metadata=metadata)
    ids[:] = 0
    owner[:] = 0
    assert index.ids_.tolist() == list(range(60))
    assert index.metadata_["owner"].tolist() == (np.arange(60) % 3).tolist()
    names = pd.DataFrame(ROWS, index=pd.Index(np.arange(60), copy=False))
    assert not np.shares_memory(LatentIndex().fit(names).ids_, names.index.to_numpy())


# Rows: a column of embeddings


EMBEDDINGS = {
    "lists": lambda rows: pd.Series(rows.tolist()),
    "arrays": lambda rows: pd.Series(list(rows)),
    "tuples": lambda rows: pd.Series([tuple(row) for row in rows.tolist()]),
    "tensors": lambda rows: pd.Series(list(torch.tensor(rows))),
    "objects": lambda rows: pd.Series(list(rows)).to_numpy(),
    "arrow": lambda rows: pd.Series(
        rows.tolist(), dtype=pd.ArrowDtype(pa.list_(pa.float64()))
    ),
    "polars": lambda rows: pl.Series(rows.tolist()),
    "pyarrow": lambda rows: pa.array(rows.tolist()),
}


@pytest.mark.parametrize("kind", EMBEDDINGS)
@pytest.mark.parametrize("embedder", [None, PCAEmbedder(2)])
def test_a_column_of_embeddings_is_a_matrix(kind, embedder):
    rows = np.random.default_rng(5).normal(size=(60, 4))
    expected = LatentIndex(embedder).fit(rows).search(rows[:5], 2)
    index = LatentIndex(embedder).fit(EMBEDDINGS[kind](rows))
    assert_frame_equal(index.search(EMBEDDINGS[kind](rows[:5]), 2), expected)


NARROW_COLUMNS = {
    "list of polars": lambda rows: pl.Series(rows.tolist(), dtype=pl.List(pl.Float32)),
    "array of polars": lambda rows: pl.Series(
        rows.tolist(), dtype=pl.Array(pl.Float32, 4)
    ),
    "list of pyarrow": lambda rows: pa.array(rows.tolist(), pa.list_(pa.float32())),
    "array of pyarrow": lambda rows: pa.chunked_array(
        [pa.array(rows.tolist(), pa.list_(pa.float32(), 4))]
    ),
    "arrays": lambda rows: pd.Series(list(rows)),
}


@pytest.mark.parametrize("kind", NARROW_COLUMNS)
def test_a_column_of_embeddings_is_not_widened(kind):
    rows = np.random.default_rng(5).normal(size=(9, 4)).astype(np.float32)
    index = LatentIndex().fit(NARROW_COLUMNS[kind](rows))
    assert index.vectors_.dtype == np.float32
    np.testing.assert_array_equal(index.vectors_, rows)


def test_labels_of_a_column_of_embeddings_are_ids():
    column = pd.Series([[0.0, 0.0], [3.0, 4.0]], index=["a", "b"])
    assert LatentIndex().fit(column).ids_.tolist() == ["a", "b"]


def test_ragged_embeddings_name_the_row():
    column = pd.Series([[1.0, 2.0], [1.0, 2.0], [1.0]], index=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"row 0 .* has 2 values, row 2 \('c'\) has 1"):
        LatentIndex().fit(column)
    with pytest.raises(ValueError, match=r"row 1 \('b'\) has none"):
        LatentIndex().fit(pd.Series([[1.0], None], index=["a", "b"]))
    index = LatentIndex().fit(column[:2])
    with pytest.raises(ValueError, match="row 1 has 3"):
        index.search([np.zeros(2), np.zeros(3)], 1)


def test_a_column_of_embeddings_among_others_is_named():
    table = pd.DataFrame({"year": [1, 2], "embedding": [[1.0], [2.0]]})
    with pytest.raises(ValueError, match=r"'embedding'.*np\.stack\(X\['embedding'\]\)"):
        LatentIndex().fit(table)


# Embedders


class Encoder:
    def encode(self, texts):
        return np.ones((len(texts), 3))


@pytest.mark.parametrize(
    ("embedder", "remedy"),
    [
        (Encoder(), r"FunctionTransformer\(model.encode\)"),
        (len, r"FunctionTransformer\(function\)"),
        ("all-MiniLM", "such as PCAEmbedder"),
    ],
)
def test_a_plain_encoder_is_told_how_to_serve(embedder, remedy):
    with pytest.raises(TypeError, match=f"'fit' and 'transform'.*{remedy}"):
        LatentIndex(embedder).fit(ROWS)
    encode = FunctionTransformer(Encoder().encode)
    assert LatentIndex(encode).fit(["a", "b"]).vectors_.shape == (2, 3)


class Returning(BaseEstimator):
    def __init__(self, function):
        self.function = function

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return self.function(X)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda X: X[:, 0], r"shape \(60, n_components\).*1D array of shape \(60,\)"),
        (lambda X: X[:, :, None], "3D array of shape"),
        (lambda X: None, "got NoneType"),
        (lambda X: (X, X), "got tuple"),
        (lambda X: {"a": X}, "got dict"),
        (lambda X: ["a"] * len(X), "got list"),
        (lambda X: [[1.0], [1.0, 2.0]] * 30, "ragged: row 0 has 1 values, row 1 has 2"),
        (lambda X: X[:5], "returned 5 vectors for 60"),
        (lambda X: pd.DataFrame({"a": ["x"] * len(X)}), "column 'a' holds strings"),
    ],
)
def test_output_of_another_shape_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        LatentIndex(Returning(function)).fit(ROWS)


@pytest.mark.parametrize(
    "function",
    [
        lambda X: X.tolist(),
        lambda X: list(X),
        lambda X: [torch.tensor(row) for row in X],
        lambda X: pd.DataFrame(X),
        lambda X: pl.DataFrame(X),
        lambda X: pd.Series(list(X)),
    ],
    ids=["lists", "arrays", "tensors", "pandas", "polars", "series"],
)
def test_output_that_is_a_matrix_in_another_form(function):
    index = LatentIndex(Returning(function)).fit(ROWS)
    np.testing.assert_array_equal(index.vectors_, ROWS)


# Ids


MIXED = {
    "integers and a float": [1, 2**53 + 1, 2.5],
    "signed and unsigned": [-1, 2**63, 3],
    "of numpy": [np.int64(2**53 + 1), np.float32(0.5), 3],
    "unsigned and signed of numpy": [np.uint64(2**63), np.int64(-1), 5],
    "booleans and integers": [True, 2, 3],
    "strings and integers": ["1", 1, 2],
    "decimals": [Decimal("0.1"), Decimal("0.2"), 1],
    "zones": [
        pd.Timestamp("2024", tz="UTC"),
        pd.Timestamp("2024", tz="Europe/Berlin"),
        pd.Timestamp("2024"),
    ],
    "uuids": UUIDS[:3],
    "tuples": [("a", 1), ("a", 2), ("b", 1)],
    "tuples of different lengths": [("a",), ("a", 1), ()],
    "tuples of large and broken numbers": [(2**53 + 1, "a"), (2.5, "a"), (1, "a")],
    "half precision": [np.float16(0.5), np.float16(1), np.float16(3)],
    "days": [datetime.date(2024, 1, day) for day in (1, 2, 3)],
    "large": [2**64 - 1, 0, 2**53 + 1],
}


@pytest.mark.parametrize("kind", MIXED)
def test_ids_are_kept_found_and_stored_exactly(kind, tmp_path):
    ids = MIXED[kind]
    index = LatentIndex().fit(np.eye(3), ids=ids)
    index.save(tmp_path / "index")
    for each in (index, LatentIndex.load(tmp_path / "index")):
        assert list(each.ids_) == ids
        plain = [id.item() if isinstance(id, np.generic) else id for id in ids]
        assert each.ids_.tolist() == plain
        assert all(id in each for id in ids)
        assert each.search(np.eye(3), 1)["id"].tolist() == list(each.ids_)
        assert len(each.remove([ids[1]])) == 2
        assert ids[1] not in each


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64, object])
def test_a_number_names_the_id_that_it_equals(dtype):
    ids = np.array([2**53, 5], dtype=dtype)
    index = LatentIndex().fit(np.eye(2), ids=ids)
    for id in (5, 5.0, np.float32(5), np.uint64(5), float(2**53)):
        assert id in index
    assert np.float16(5) in index
    for id in (2**53 + 1, 5.5, -5.0, 1e300, 2**63, np.int64(2**53 + 1), -np.inf):
        assert id not in index
    exact = LatentIndex().fit(np.eye(2), ids=[2**53 + 1, 2**53])
    assert exact.search(ids=[float(2**53)], n_neighbors=1)["query"].item() == 2**53
    assert float(2**53) not in exact.remove([2**53])


IDS = {
    "polars": pl.Series,
    "pyarrow": pa.array,
    "chunked": lambda ids: pa.chunked_array([ids]),
    "arrow": lambda ids: pd.Series(ids, dtype="int64[pyarrow]"),
    "nullable": lambda ids: pd.array(ids, dtype="Int64"),
    "tensor": torch.tensor,
    "keys": lambda ids: dict.fromkeys(ids).keys(),
    "iterator": iter,
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_other_libraries(kind):
    ids = [5, 2**53 + 1, 7]
    index = LatentIndex().fit(np.eye(3), ids=IDS[kind](ids))
    assert index.ids_.tolist() == ids
    assert index.ids_.dtype == np.int64
    index.add([[0.0, 0.0, 2.0]], IDS[kind]([9]))
    assert index.ids_.tolist() == [*ids, 9]


@pytest.mark.parametrize("make", [pl.Series, pa.array])
def test_missing_ids_of_other_libraries_are_refused(make):
    with pytest.raises(ValueError, match="missing"):
        LatentIndex().fit(np.eye(2), ids=make([1, None]))


def test_levels_of_an_index_are_tuples(tmp_path):
    labels = pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])
    metadata = pd.DataFrame({"year": [1, 2]}, index=labels)
    index = LatentIndex().fit(pd.DataFrame(np.eye(2), index=labels), metadata=metadata)
    index.save(tmp_path / "index")
    assert LatentIndex.load(tmp_path / "index").ids_.tolist() == [("a", 1), ("a", 2)]


class Odd:
    pass


@pytest.mark.parametrize("bad", [Odd(), frozenset([1]), 2**70, 1j])
def test_ids_that_cannot_be_stored_are_refused_at_once(bad):
    with pytest.raises(TypeError, match=r"ids: .*cannot be stored"):
        LatentIndex().fit(np.eye(2), ids=[1, bad])
    index = LatentIndex().fit(np.eye(2), ids=["a", "b"])
    for change in (index.add, index.upsert):
        with pytest.raises(TypeError, match=r"ids: .*cannot be stored"):
            change([[0.0, 1.0]], [bad])
    assert index.ids_.tolist() == ["a", "b"]


# Metadata


COLUMNS = {
    "uuid": UUIDS[:3],
    "tuple": [("a", 1), (), None],
    "list": [["new"], [], ["a", "b"]],
    "dict": [{"a": 1}, {}, None],
    "day": [datetime.date(2024, 1, 1), None, datetime.date(2024, 1, 3)],
    "decimal": [Decimal("0.10"), None, Decimal(3)],
    "NA": [pd.NA, "x", 1],
    "bytes": [b"a", b"", None],
    "arrow": pd.array(["a", None, "b"], dtype=pd.ArrowDtype(pa.string())),
    "arrow integers": pd.array([1, None, 2**53 + 1], dtype="int64[pyarrow]"),
    "arrow times": pd.array(
        pa.array([1, None, 3], pa.timestamp("us", "UTC")),
        dtype=pd.ArrowDtype(pa.timestamp("us", "UTC")),
    ),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_metadata_of_many_types_are_stored(kind, tmp_path):
    values = COLUMNS[kind]
    dtype = object if isinstance(values, list) else values.dtype
    metadata = pd.DataFrame({"x": pd.Series(values, dtype=dtype)})
    index = LatentIndex().fit(np.eye(3), metadata=metadata)
    index.add(np.eye(3) + 1, [3, 4, 5], metadata)
    index.save(tmp_path / "index")
    assert_frame_equal(LatentIndex.load(tmp_path / "index").metadata_, index.metadata_)
    expected = pd.concat([metadata, metadata], ignore_index=True)
    assert_frame_equal(index.metadata_, expected, check_index_type=False)


TABLES = {
    "polars": lambda table: pl.from_pandas(table),
    "pyarrow": lambda table: pa.Table.from_pandas(table, preserve_index=False),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_other_libraries_are_metadata(kind, tmp_path):
    table = pd.DataFrame({"owner": ["u", "v", None], "on": [True, None, False]})
    table["n"] = pd.array([1, None, 2**53 + 1], dtype="Int64")
    table["day"] = pd.to_datetime(["2024-01-01", None, "2024-01-03"])
    index = LatentIndex().fit(
        np.eye(3), ids=["a", "b", "c"], metadata=TABLES[kind](table)
    )
    found = index.metadata_
    assert found.index.tolist() == ["a", "b", "c"]
    assert found["n"].tolist() == [1, pd.NA, 2**53 + 1]
    assert found["on"].tolist() == [True, pd.NA, False]
    assert found["owner"].isna().tolist() == [False, False, True]
    assert index.search(np.eye(3)[:1], 1, filter="n > 5")["id"].item() == "c"
    assert index.search(np.eye(3)[1:2], 1, filter="on")["id"].item() == "a"
    index.add(np.eye(3) + 1, ["d", "e", "f"], TABLES[kind](table))
    index.save(tmp_path / "index")
    assert_frame_equal(LatentIndex.load(tmp_path / "index").metadata_, index.metadata_)


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
def test_lists_of_other_libraries_stay_lists(make, tmp_path):
    columns = {
        "tags": [["new", "old"], [], None],
        "place": [{"x": 1.5}, {"x": 2.5}, None],
        "n": [1, 2, 3],
    }
    index = LatentIndex().fit(np.eye(3), metadata=make(columns))
    index.save(tmp_path / "index")
    for each in (index, LatentIndex.load(tmp_path / "index")):
        assert {name: each.metadata_[name].tolist() for name in columns} == columns


def test_labels_that_pandas_left_in_a_table_of_pyarrow_rule():
    table = pd.DataFrame({"owner": ["v", "u"]}, index=["b", "a"])
    index = LatentIndex().fit(
        np.eye(2), ids=["a", "b"], metadata=pa.Table.from_pandas(table)
    )
    assert index.metadata_["owner"].to_dict() == {"a": "u", "b": "v"}
    index.update(np.eye(2), ["b", "a"], pa.Table.from_pandas(table[::-1]))
    assert index.metadata_["owner"].to_dict() == {"a": "u", "b": "v"}
    unlabelled = pa.Table.from_pandas(table.reset_index(drop=True))
    index = LatentIndex().fit(np.eye(2), ids=["a", "b"], metadata=unlabelled)
    assert index.metadata_["owner"].to_dict() == {"a": "v", "b": "u"}
    with pytest.raises(ValueError, match="'c', which are not the ids"):
        LatentIndex().fit(
            np.eye(2),
            ids=["a", "b"],
            metadata=pa.Table.from_pandas(table.set_axis(["c", "a"])),
        )


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (pl.DataFrame({"a": [1, 2]}).lazy(), r"LazyFrame; .*collect"),
        ({"a": [1, 2]}, "DataFrame, got dict"),
        (pl.Series([1, 2]), "got polars.*Series"),
        (pd.DataFrame({"a": [1, 2], "odd": [Odd(), 1]}), "'odd': .*cannot be stored"),
        (pd.DataFrame({"a": [1j, 2]}), "'a': .*complex128 cannot be stored"),
        (pd.DataFrame({("a", 1): [1, 2]}), "named by str or int"),
    ],
    ids=range(6),
)
def test_other_metadata_are_refused_at_once(metadata, message):
    with pytest.raises(TypeError, match=f"metadata.*{message}"):
        LatentIndex().fit(np.eye(2), metadata=metadata)
    index = LatentIndex().fit(np.eye(2), metadata=pd.DataFrame({"a": [1, 2]}))
    if isinstance(metadata, pd.DataFrame) and "odd" not in metadata:
        return
    for change in (index.add, index.update):
        with pytest.raises(TypeError, match=f"metadata.*{message}"):
            change(np.eye(2), [0, 1], metadata)
    assert len(index) == 2
