"""Indexes as files: the same answers from them, and none from files that lie."""

import contextlib
import json
import os
import struct
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import LatentIndex, PCAEmbedder
from latentsk.exceptions import FormatError
from latentsk.persistence._format import read_file, write_file
from latentsk.persistence._values import ArrayStore, encode_value

N, WIDTH = 1_000, 8
SPEC = "IVF16,PQ8x4fs,nprobe=6,rerank=4"
METRICS = ["euclidean", "cosine", "inner_product"]


@pytest.fixture(params=[False, True], ids=["read", "mapped"])
def mmap(request):
    return request.param


def make_rows(n=N, width=WIDTH, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)) + 0.2


def spec_for(metric, spec=SPEC):
    return spec.replace("PQ8", "PQ9") if metric == "inner_product" else spec


def answers(index, queries, k=6):
    """Return all that an index says of queries."""
    found = [index.search(queries, n_neighbors=k), index.search(n_neighbors=2)]
    if index.effective_metric_ != "inner_product":
        distances, positions = index.kneighbors(queries, k)
        radius = float(np.median(distances))
        found += [distances, positions, *index.radius_neighbors(queries, radius)]
        found += [index.duplicates(0.5 * radius)]
    return found


def assert_same(found, expected):
    """Bit for bit."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        if isinstance(b, pd.DataFrame):
            assert_frame_equal(a, b, check_exact=True)
        elif b.dtype == object:
            assert_same(list(a), list(b))
        else:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def assert_same_index(loaded, index, queries):
    assert_same(answers(loaded, queries), answers(index, queries))
    ours, theirs = (i.get_params(deep=False) for i in (loaded, index))
    ours.pop("embedder"), theirs.pop("embedder")
    assert ours == theirs
    for name in ("index_spec_", "effective_metric_", "n_samples_fit_"):
        assert getattr(loaded, name) == getattr(index, name)
    for name in ("n_features_in_", "feature_names_in_", "recall_", "metadata_"):
        assert hasattr(loaded, name) == hasattr(index, name)
    if hasattr(index, "n_features_in_"):
        assert loaded.n_features_in_ == index.n_features_in_
    if hasattr(index, "feature_names_in_"):
        names = index.feature_names_in_
        assert loaded.feature_names_in_.dtype == names.dtype
        np.testing.assert_array_equal(loaded.feature_names_in_, names)
    for name in ("recall_", "metadata_"):
        if hasattr(index, name):
            assert_frame_equal(getattr(loaded, name), getattr(index, name))
    assert loaded.ids_.dtype == index.ids_.dtype
    assert loaded.ids_.tolist() == index.ids_.tolist()
    assert list(map(type, loaded.ids_)) == list(map(type, index.ids_))
    assert loaded.vectors_.dtype == index.vectors_.dtype
    np.testing.assert_array_equal(loaded.vectors_, index.vectors_)


# Round trips


class Trip(NamedTuple):
    options: dict
    fit: dict = {}
    rows: np.ndarray | pd.DataFrame = make_rows()
    embedder: object = None


def metadata(n=N):
    return pd.DataFrame(
        {
            "year": np.arange(n) % 30,
            "word": pd.Categorical([f"w{i % 5}" for i in range(n)]),
            "time": pd.date_range("2020", periods=n, freq="h", tz="Europe/Paris"),
            "note": [None if i % 3 else "é" for i in range(n)],
        }
    )


FRAME = pd.DataFrame(
    make_rows(), columns=list("abcdefgh"), index=[f"row {i}" for i in range(N)]
)
MIXED = [i if i % 2 else f"n{i}" for i in range(N)]
CLUSTERS = np.resize(make_rows(50), (N, WIDTH)) + 1e-3 * make_rows(seed=1)
PCA_SPEC = "PCA4,IVF16,PQ4x4fs,nprobe=6,rerank=6"

TRIPS = {
    "exact": Trip({}),
    "exact float32": Trip({}, rows=make_rows().astype(np.float32)),
    "exact cosine": Trip({"metric": "cosine", "exactness": "float32"}),
    "exact products": Trip({"metric": "inner_product"}),
    "far from the origin": Trip({}, rows=make_rows() + 1e4),
    "huge": Trip({}, rows=make_rows() * 1e98),
    "cosine with zeros": Trip(
        {"metric": "cosine"}, rows=make_rows() * (np.arange(N) % 9 > 0)[:, None]
    ),
    "parameters": Trip(
        {
            "n_neighbors": np.int64(7),
            "radius": np.float32(0.5),
            "n_jobs": 1,
            "random_state": 3,
            "backend": "torch",
            "memory_budget": "1GB",
            "device": "cpu",
        }
    ),
    "text ids": Trip({}, {"ids": np.array([f"id {i}" for i in range(N)])}),
    "object ids": Trip({}, {"ids": [f"é{i}\U0001f40c" for i in range(N)]}),
    "mixed ids": Trip({}, {"ids": MIXED}),
    "float ids": Trip({}, {"ids": np.arange(N) / 7}),
    "dates": Trip({}, {"ids": pd.date_range("2000", periods=N)}),
    "uint8 ids": Trip({}, {"ids": np.arange(200, dtype=np.uint8)}, rows=make_rows(200)),
    "metadata": Trip({}, {"metadata": metadata()}),
    "frame": Trip({}, rows=FRAME),
    "one row": Trip({}, rows=make_rows(9)),
    "lists": Trip({"index_spec": SPEC}),
    "lists of products": Trip(
        {"index_spec": spec_for("inner_product"), "metric": "inner_product"}
    ),
    "lists of cosine": Trip({"index_spec": SPEC, "metric": "cosine"}),
    "lists and everything": Trip(
        {"index_spec": SPEC, "exactness": "float32"},
        {"ids": MIXED, "metadata": metadata()},
        FRAME,
    ),
    "components": Trip({"index_spec": PCA_SPEC}),
    "components of products": Trip({"index_spec": PCA_SPEC, "metric": "inner_product"}),
    "residuals": Trip({"index_spec": SPEC.replace("x4fs", "x4fsr")}, rows=CLUSTERS),
    "recall": Trip({"index_spec": SPEC, "target_recall": 0.5}),
    "recall of few": Trip({"target_recall": 0.9}),
    "embedder": Trip({}, embedder=PCAEmbedder(4)),
    "embedder of a frame": Trip(
        {"metric": "cosine"},
        rows=FRAME,
        embedder=make_pipeline(StandardScaler(), PCA(3)),
    ),
    "original": Trip(
        {"index_spec": "IVF16,PQ4x4fs,nprobe=8,rerank=9", "rerank": "original"},
        embedder=PCA(4),
    ),
    "original frame": Trip(
        {"index_spec": "IVF16,PQ4x4fs,nprobe=8,rerank=9", "rerank": "original"},
        rows=FRAME,
        embedder=make_pipeline(StandardScaler(), PCA(4)),
    ),
}
TRIPS |= {
    f"{kind} {metric}": Trip(
        {"index_spec": f"{spec_for(metric)},rows={kind}", "metric": metric}
    )
    for kind in ("float32", "float16", "int8")
    for metric in METRICS
}


@pytest.fixture(params=list(TRIPS))
def trip(request):
    """An index, and rows to ask it for."""
    return make_trip(request.param)


def make_trip(name, n=N):
    options, fit, rows, embedder = TRIPS[name]
    fit = {key: value[:n] for key, value in fit.items()}
    index = LatentIndex(embedder, **options).fit(rows[:n], **fit)
    return index, rows[:25]


def test_an_index_comes_back_as_it_was(trip, tmp_path, mmap):
    index, queries = trip
    path = tmp_path / "index.latentsk"
    index.save(path)
    content = path.read_bytes()
    embedder = getattr(index, "embedder_", None)
    loaded = LatentIndex.load(path, embedder=embedder, mmap=mmap)
    assert_same_index(loaded, index, queries)
    if embedder is not None:
        assert loaded.embedder is loaded.embedder_ is embedder
    assert path.read_bytes() == content
    # And what was loaded is saved as the same bytes.
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == content


def test_the_file_holds_no_code(trip, tmp_path):
    index, _ = trip
    index.save(tmp_path / "index")
    content = (tmp_path / "index").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    document = json.loads(header.pop("__metadata__")["document"])
    dtypes = {claim["dtype"] for claim in header.values()}
    assert dtypes <= {"BOOL", "U8", "F16", "F32", "F64", "I8", "I32", "I64", "U32"}
    assert b"\x80\x04" not in content[: 8 + length]
    assert b"pickle" not in content
    assert "sklearn" not in json.dumps(document["root"])


@pytest.mark.slow
def test_a_file_is_read_without_an_import(tmp_path):
    """In a process of its own, in which only what must be there is there."""
    LatentIndex(index_spec=SPEC).fit(make_rows(), metadata=metadata()).save(
        tmp_path / "index"
    )
    code = (
        "import sys\n"
        "from latentsk import LatentIndex\n"
        "import pickle\n"
        "def refuse(*args, **options): raise AssertionError('a pickle')\n"
        "pickle.loads = pickle.load = pickle.Unpickler = refuse\n"
        "from latentsk._faiss import load_faiss\n"
        "load_faiss()\n"
        "before = set(sys.modules)\n"
        "LatentIndex.load(sys.argv[1])\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert new <= {'pyarrow', 'zoneinfo', 'tzdata', '_zoneinfo', 'pytz',"
        " 'dateutil', 'importlib', 'pandas', 'numpy', '__mp_main__'}, new\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "index"], check=True)


def test_a_device_is_saved_by_its_name(tmp_path):
    import torch

    index = LatentIndex(device=torch.device("cpu")).fit(make_rows(20))
    index.save(tmp_path / "index")
    assert LatentIndex.load(tmp_path / "index").device == "cpu"


def test_removed_rows_stay_away(tmp_path, mmap):
    for spec in (None, SPEC, f"{SPEC},rows=int8"):
        index = LatentIndex(index_spec=spec).fit(make_rows())
        index.remove(range(0, 700, 3))
        index.add(make_rows(4, seed=5), ids=[0, 3, 9999, 6])
        index.save(tmp_path / "index")
        loaded = LatentIndex.load(tmp_path / "index", mmap=mmap)
        if spec is None:
            assert_same_index(loaded, index, make_rows(20))
        assert len(loaded.search(n_neighbors=1)) == N - 234 + 4
        assert loaded.search(make_rows(4, seed=5), n_neighbors=1)["id"].tolist() == [
            *(0, 3, 9999, 6)
        ]


def test_an_index_without_rows(tmp_path, mmap):
    index = LatentIndex().fit(make_rows(5)).remove(range(5))
    index.save(tmp_path / "index")
    loaded = LatentIndex.load(tmp_path / "index", mmap=mmap)
    with pytest.raises(ValueError, match="no rows"):
        loaded.kneighbors(make_rows(1), n_neighbors=1)
    loaded.add(make_rows(2))
    assert loaded.search(make_rows(1), n_neighbors=1)["id"].item() == 5


@pytest.mark.parametrize("name", ["exact", "lists", "lists of products", "mixed ids"])
def test_names_of_paths(name, tmp_path):
    index, queries = make_trip(name)
    for path in (str(tmp_path / "text"), tmp_path / "with space é", tmp_path / "x.npz"):
        index.save(path)
        assert_same(answers(LatentIndex.load(path), queries), answers(index, queries))


# Changes after loading

CHANGED = ["exact", "exact cosine", "exact float32", "far from the origin"]
CHANGED += ["lists", "lists of products", "components", "residuals"]
CHANGED += ["float32 euclidean", "float16 cosine", "int8 euclidean"]


def change(index, far=1.0):
    index.add(far * make_rows(30, seed=7), ids=range(5000, 5030))
    index.update(make_rows(20, seed=8), ids=range(20))
    return index.remove([*range(100, 150), 5001])


@pytest.mark.parametrize("far", [0.5, pytest.param(30.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CHANGED)
def test_a_loaded_index_changes_as_the_other_would(name, far, tmp_path, mmap):
    index, queries = make_trip(name)
    path = tmp_path / "index"
    index.save(path)
    content = path.read_bytes()
    loaded = LatentIndex.load(path, mmap=mmap)
    change(loaded, far), change(index, far)
    assert path.read_bytes() == content
    if name == "components":
        # Rows that are projected in other batches may be rounded to another code.
        ours, theirs = (i.search(n_neighbors=2)["id"] for i in (loaded, index))
        assert np.mean(ours == theirs) > 0.99
        return
    assert_same_index(loaded, index, queries)
    # Its place is free, even while the file is mapped.
    if os.name != "nt" or not mmap:
        loaded.save(path)
        assert_same_index(LatentIndex.load(path, mmap=mmap), index, queries)


def test_metadata_go_on(tmp_path, mmap):
    index = LatentIndex().fit(make_rows(), metadata=metadata())
    index.save(tmp_path / "index")
    loaded = LatentIndex.load(tmp_path / "index", mmap=mmap)
    for one in (index, loaded):
        one.add(make_rows(3, seed=1), metadata=metadata(3))
        one.update(make_rows(2, seed=2), ids=[5, 9], metadata=metadata(2))
    assert_frame_equal(loaded.metadata_, index.metadata_)
    mask = loaded.metadata_["year"] > 20
    assert_same(
        loaded.kneighbors(make_rows(5), filter=mask),
        index.kneighbors(make_rows(5), filter=index.metadata_["year"] > 20),
    )


def test_a_loaded_index_is_fitted_anew(tmp_path, mmap):
    index, _ = make_trip("lists")
    index.save(tmp_path / "index")
    loaded = LatentIndex.load(tmp_path / "index", mmap=mmap)
    rows = make_rows(seed=9)
    assert_same_index(loaded.fit(rows), index.fit(rows), rows[:10])


def test_names_of_features_are_checked_after_loading(tmp_path):
    LatentIndex().fit(FRAME).save(tmp_path / "index")
    loaded = LatentIndex.load(tmp_path / "index")
    with pytest.raises(ValueError, match="feature names"):
        loaded.kneighbors(FRAME.rename(columns={"a": "z"}))


# Embedders


@pytest.fixture
def embedded(tmp_path):
    index = LatentIndex(PCAEmbedder(4)).fit(make_rows())
    index.save(tmp_path / "index")
    return tmp_path / "index"


def test_a_missing_embedder_is_named(embedded):
    with pytest.raises(ValueError, match=r"\(PCAEmbedder\).*give it as embedder="):
        LatentIndex.load(embedded)


def test_an_embedder_too_many(tmp_path):
    LatentIndex().fit(make_rows()).save(tmp_path / "index")
    with pytest.raises(ValueError, match="fitted without an embedder"):
        LatentIndex.load(tmp_path / "index", embedder=PCA(4).fit(make_rows()))


def test_an_embedder_that_is_not_fitted(embedded):
    with pytest.raises(NotFittedError, match="is not fitted"):
        LatentIndex.load(embedded, embedder=PCAEmbedder(4))
    with pytest.raises(TypeError, match="must be an instance"):
        LatentIndex.load(embedded, embedder=PCAEmbedder)


@pytest.mark.parametrize("embedder", [object(), "text", 5])
def test_an_embedder_that_is_none(embedded, embedder):
    with pytest.raises((ValueError, TypeError), match="embedder"):
        LatentIndex.load(embedded, embedder=embedder)


def test_an_embedder_of_another_width(embedded):
    loaded = LatentIndex.load(embedded, embedder=PCA(3).fit(make_rows()))
    with pytest.raises(ValueError, match="3 columns for X, but the index holds vec"):
        loaded.kneighbors(make_rows(2))
    with pytest.raises(ValueError, match="3 columns for X"):
        loaded.add(make_rows(2), ids=[-1, -2])


def test_another_embedder_of_original_rows(tmp_path):
    index, _ = make_trip("original")
    index.save(tmp_path / "index")
    for other in (PCA(3).fit(make_rows()), PCA(4).fit(make_rows(width=9))):
        with pytest.raises(ValueError, match="its embedder is another one"):
            LatentIndex.load(tmp_path / "index", embedder=other)


def test_a_foreign_embedder_of_the_same_width_is_taken(embedded):
    loaded = LatentIndex.load(embedded, embedder=PCA(4).fit(make_rows()))
    assert loaded.kneighbors(make_rows(3))[1].shape == (3, 5)


# Failures


def test_an_index_that_is_not_fitted(tmp_path):
    with pytest.raises(NotFittedError):
        LatentIndex().save(tmp_path / "index")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_crash_leaves_the_old_file(tmp_path, monkeypatch, step):
    index, queries = make_trip("lists")
    path = tmp_path / "index"
    index.save(path)
    content = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match="disk full"):
            change(index).save(path)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["index"]
    loaded = LatentIndex.load(path)
    assert_same(answers(change(loaded), queries), answers(index, queries))


def test_what_cannot_be_stored_leaves_the_old_file(tmp_path):
    path = tmp_path / "index"
    LatentIndex().fit(make_rows(3)).save(path)
    content = path.read_bytes()
    index = LatentIndex(PCAEmbedder(2)).fit(make_rows(3))
    index.set_params(random_state=3j)
    with pytest.raises(TypeError):
        index.save(path)
    assert path.read_bytes() == content


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(FileNotFoundError):
        LatentIndex.load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        LatentIndex.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        LatentIndex().fit(make_rows(3)).save(tmp_path / "missing" / "index")


# Damage


@pytest.mark.parametrize("name", ["lists and everything", "int8 cosine"])
def test_truncated_files(name, tmp_path, mmap):
    path = tmp_path / "index"
    make_trip(name)[0].save(path)
    content = path.read_bytes()
    for length in np.linspace(0, len(content) - 1, 20).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError, match="index"):
            LatentIndex.load(path, mmap=mmap)
    path.write_bytes(content + b"\0")
    with pytest.raises(FormatError, match="index"):
        LatentIndex.load(path, mmap=mmap)


@pytest.mark.parametrize("name", ["lists and everything", "int8 cosine"])
def test_flipped_bytes(name, tmp_path, mmap):
    path = tmp_path / "index"
    make_trip(name)[0].save(path)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    # Blanks behind the header say nothing.
    said = len(content[: 8 + length].rstrip())
    rng = np.random.default_rng(0)
    positions = [
        *rng.integers(0, said, 15),
        *rng.integers(8 + length, len(content), 35),
    ]
    for position in positions:
        altered = bytearray(content)
        altered[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(altered)
        with pytest.raises(FormatError, match="index"):
            LatentIndex.load(path, mmap=mmap)


def test_foreign_files(tmp_path):
    path = tmp_path / "index"
    for document in ({}, {"reader": "latentsk.load"}, {"reader": ["LatentIndex.load"]}):
        write_file(path, document, {"x": np.zeros(3)})
        with pytest.raises(
            FormatError, match=r"holds no estimator|Read the file with"
        ) as caught:
            LatentIndex.load(path)
        assert str(path) in str(caught.value)
    path.write_bytes(b"\x80\x04K\x01." * 50)
    with pytest.raises(FormatError):
        LatentIndex.load(path)


# Files with a right checksum that lie

HOSTILE = {
    "exact": "exact",
    "everything": "lists and everything",
    "components of products": "components of products",
    "compact": "int8 euclidean",
    "float16": "float16 cosine",
    "recall": "recall",
    "original": "original",
}
FEW = 320
# All combinations take a while; these have every part.
SOME = [
    *("everything", "components of products", "compact"),
    *(pytest.param(n, marks=pytest.mark.slow) for n in ("exact", "float16")),
    *(pytest.param(n, marks=pytest.mark.slow) for n in ("recall", "original")),
]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Documents and arrays of saved indexes, with what they were made of."""
    found = {}
    for name, trip in HOSTILE.items():
        index, queries = make_trip(trip, FEW)
        path = tmp_path_factory.mktemp("stored") / "index"
        index.save(path)
        found[name] = (*read_file(path), index, queries)
    return found


def try_altered(path, stored, edit, *, mmap=False):
    """Load what an edit leaves: an error that names the file, or a right index.

    Returns
    -------
    error : str or None
    """
    document, arrays, original, queries = stored
    document, arrays = json.loads(json.dumps(document)), dict(arrays)
    edit(document, arrays)
    write_file(path, document, arrays)
    embedder = getattr(original, "embedder_", None)
    try:
        loaded = LatentIndex.load(path, embedder=embedder, mmap=mmap)
    except ValueError as error:
        message = str(error)
        named = str(path) if isinstance(error, FormatError) else "embedder"
    else:
        assert_right(loaded, queries)
        return None
    # Whether there is an embedder is what the caller may have mistaken.
    assert named in message
    return message


def assert_right(index, queries):
    """Whatever was loaded, it measures its own rows, and goes on working."""
    k = min(3, int(index._engine.rows.active.sum()))
    if isinstance(queries, pd.DataFrame) and not hasattr(index, "feature_names_in_"):
        queries = queries.to_numpy()
    if hasattr(index, "feature_names_in_"):
        queries = pd.DataFrame(np.asarray(queries), columns=index.feature_names_in_)
    if k:
        table = index.search(queries, n_neighbors=k)
        if float(np.abs(index.vectors_).max()) < 1e100:
            assert np.isfinite(table.iloc[:, 3].to_numpy()).all()
        assert table["id"].isin(pd.Series(index.ids_[index._engine.rows.active])).all()
        assert np.isfinite(index.vectors_).all()
    with contextlib.suppress(AttributeError):
        assert (index.recall_.to_numpy() <= 1).all()
    repr(index)
    index.set_params(memory_budget=None)  # it may be any number
    extra = None
    if hasattr(index, "metadata_"):
        extra = index._engine.rows.table.frame.iloc[:2]
    index.set_params(static=False)  # it may have been altered
    named = isinstance(index.ids_[0], str)
    new, newer = ("new", "newer") if named else (-1.5, -2.5)
    index.add(queries[:2], ids=[new, newer], metadata=extra)
    index.remove([newer])
    found = index.search(queries[:1], n_neighbors=1)
    assert len(found) == 1


def holder_of(document, path):
    """Return what holds the end of a path within the index, or within its engine."""
    inner = document["root"]["state"]
    for key in path[:-1] if path[0] in inner else ("_engine", *path[:-1]):
        inner = inner[key]
        inner = inner.get("dict", inner)
        inner = inner["object"]["state"] if "object" in inner else inner
    return inner


def put(*path_and_value):
    """Return the edit that puts a value at a path."""
    *path, value = path_and_value

    def edit(document, arrays):
        store = ArrayStore(arrays)
        holder_of(document, path)[path[-1]] = encode_value(value, "put", store)
        arrays.update(store.arrays)

    return edit


def parameter(name, value):
    return lambda d, arrays: d["root"]["parameters"].__setitem__(name, value)


def array(*path, change):
    def edit(document, arrays):
        name = holder_of(document, path)[path[-1]]["array"]
        arrays[name] = change(arrays[name])

    return edit


def drop(*path):
    return lambda document, arrays: holder_of(document, path).pop(path[-1])


ODD_VALUES = [None, True, -1, 5, 2**70, 0.5, float("nan"), "", "Flat", SPEC, "1IB"]
ODD_VALUES += [[1], {"a": 1}]


# Numbers that are altered may say that searches find little.
CONTENT_IS_NOT_TOLD = pytest.mark.filterwarnings("ignore:Many of these queries")
# How objects, columns and tables are written is what persistence/ tests.
WRITTEN = {"libraries", "class", "number", "column", "table", "output"}


def paths_of(value, path=()):
    """Yield the paths of all keys in a document."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key not in WRITTEN:
            yield (*path, key)
            yield from paths_of(inner, (*path, key))


def alter(path, change):
    """Return the edit that calls a change with what holds the end of a path."""

    def edit(document, arrays):
        for key in path[:-1]:
            document = document[key]
        change(document, path[-1])

    return edit


@pytest.mark.parametrize("name", HOSTILE)
def test_every_key_is_missed_or_has_a_default(name, stored, tmp_path):
    for path in paths_of(stored[name][0]):
        edit = alter(path, lambda holder, key: holder.pop(key))
        error = try_altered(tmp_path / "index", stored[name], edit)
        if path[-2:-1] == ("parameters",):
            assert error is None or path[-1] in ("rerank", "embedder"), (path, error)
        elif path[-1] == "evidence":
            # Of a recall that was asked for; older files have none.
            assert error is None or name == "recall", (path, error)
        else:
            assert error is not None, path


@pytest.mark.parametrize("name", HOSTILE)
def test_every_array_is_missed(name, stored, tmp_path):
    for key in stored[name][1]:
        edit = lambda document, arrays, key=key: arrays.pop(key)  # noqa: E731
        assert try_altered(tmp_path / "index", stored[name], edit) is not None, key


@CONTENT_IS_NOT_TOLD
@pytest.mark.parametrize("name", SOME)
def test_values_of_any_type(name, stored, tmp_path):
    tested = set() if name == "everything" else set(paths_of(stored["everything"][0]))
    for path in paths_of(stored[name][0]):
        if path in tested or path[-1] in ("n_jobs", "verbose"):
            continue  # of the latter, any number is one, if not a useful one
        for value in ODD_VALUES:
            edit = alter(path, lambda h, key, value=value: h.__setitem__(key, value))
            try_altered(tmp_path / "index", stored[name], edit)


def as_dtype(dtype):
    return lambda a: a.astype(dtype)


SHAPES = {
    "one less": lambda a: a[:-1],
    "one more": lambda a: np.concatenate([a, a[:1]]),
    "none": lambda a: a[:0],
    "flat": lambda a: a.ravel(),
    "turned": lambda a: np.ascontiguousarray(a.T),
    "narrow": lambda a: a[..., :-1],
    "wide": lambda a: np.concatenate([a, a[..., :1]], axis=-1),
    "deep": lambda a: a[None],
    "scalar": lambda a: np.asarray(a.ravel()[0]),
    "no columns": lambda a: a[..., :0],
    "backwards": lambda a: a[::-1],
    "zeros": np.zeros_like,
    "ones": np.ones_like,
    "bool": as_dtype(bool),
    "float64": as_dtype(np.float64),
    "int64": as_dtype(np.int64),
    "int8": lambda a: (a > 0).astype(np.int8),
    "nan": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 1, np.nan, a),
    "nan of its kind": lambda a: filled(a, np.nan),
    "infinite": lambda a: filled(a, np.inf),
    "negative": lambda a: filled(a, -1),
    "large": lambda a: filled(a, 1e30),
    "largest": lambda a: filled(a, largest(a)),
    "all largest": lambda a: np.full_like(a, largest(a)),
}


def largest(a):
    if a.dtype == bool:
        return True
    return np.finfo(a.dtype).max if a.dtype.kind == "f" else np.iinfo(a.dtype).max


def filled(a, value):
    a = a.copy()
    if a.size and (a.dtype.kind == "f" or (value == value and abs(value) < 1e9)):
        with np.errstate(over="ignore"):
            a.ravel()[a.size // 2] = np.array(value).astype(a.dtype)
    elif a.size and a.dtype.kind in "iu":
        a.ravel()[a.size // 2] = largest(a)
    return a


@CONTENT_IS_NOT_TOLD
@pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")
@pytest.mark.parametrize("name", SOME)
def test_arrays_of_any_shape_and_content(name, stored, tmp_path):
    for key in stored[name][1]:
        for damage in SHAPES:
            change = SHAPES[damage]

            def edit(document, arrays, key=key, change=change):
                arrays[key] = change(arrays[key])

            try_altered(tmp_path / "index", stored[name], edit)


CODEBOOK = ("search_state", "codes", "codebook")
PROJECTION = ("search_state", "codes", "projection")
RESCALING = ("search_state", "rescaling")
REFUSED = {
    "another reader": ("exact", lambda d, a: d.update(reader="latentsk.load")),
    "unknown parameter": ("exact", parameter("surprise", 1)),
    "parameter of another type": ("exact", parameter("n_neighbors", "5")),
    "embedder among the parameters": ("exact", parameter("embedder", {"a": 1})),
    "unknown device": ("exact", parameter("device", "nonsense")),
    "device without data": ("exact", parameter("device", "meta")),
    "budget": ("exact", parameter("memory_budget", "1IB")),
    "specification": ("exact", parameter("index_spec", "IVF")),
    "originals without embedder": ("everything", parameter("rerank", "original")),
    "unknown part": ("exact", put("surprise", np.ones(3))),
    "unknown part of the search": ("everything", put("search_state", "surprise", 1)),
    "rows of another width": ("exact", put("n_features_in_", 5)),
    "no width": ("exact", drop("n_features_in_")),
    "width is a string": ("exact", put("n_features_in_", "8")),
    "count is a float": ("exact", put("n_built", float(FEW))),
    "negative count": ("exact", put("n_built", -1)),
    "negative drift": ("everything", put("search_state", "n_drifted", -1)),
    "unknown metric": ("exact", put("metric", "manhattan")),
    "lists of an exact search": ("everything", put("search_state", "spec", "Flat")),
    "a part of an exact search": ("exact", put("search_state", "spec", SPEC)),
    "negative lists": ("everything", put("search_state", "spec", "IVF-16,PQ8x4fs")),
    "many lists": (
        "everything",
        put("search_state", "spec", SPEC.replace("IVF16", "IVF" + "9" * 30)),
    ),
    "no lists": (
        "everything",
        put("search_state", "spec", SPEC.replace("IVF16", "IVF0")),
    ),
    "more probes than lists": (
        "everything",
        put("search_state", "spec", SPEC.replace("nprobe=6", "nprobe=17")),
    ),
    "infinite rerank": (
        "everything",
        put("search_state", "spec", SPEC.replace("rerank=4", "rerank=1" + "0" * 400)),
    ),
    "residual": ("everything", put(*CODEBOOK, "residual", True)),
    "residual is a number": ("everything", put(*CODEBOOK, "residual", 0)),
    "length for distances": ("everything", put(*PROJECTION, "length", 1.0)),
    "scale of nothing": ("everything", put(*RESCALING, "scale", 0.0)),
    "infinite scaling": ("everything", put(*RESCALING, "scale", np.inf)),
    "shift of another width": ("everything", put(*RESCALING, "shift", np.zeros(5))),
    "products for distances": ("everything", put("metric", "inner_product")),
    "distances for products": ("components of products", put("metric", "euclidean")),
    "vectors not finite": (
        "exact",
        array("vectors", change=lambda a: filled(a, np.nan)),
    ),
    "vectors too large": (
        "exact",
        array("vectors", change=lambda a: filled(a, -1.1e100)),
    ),
    "codes not finite": (
        "float16",
        array("vectors", change=lambda a: filled(a, np.inf)),
    ),
    "middle not finite": (
        "compact",
        array("quantization", "middle", change=lambda a: filled(a, np.nan)),
    ),
    "scale of zero": ("compact", array("quantization", "scale", change=np.zeros_like)),
    "negative scale": ("compact", array("quantization", "scale", change=np.negative)),
    "scale too large": (
        "compact",
        array("quantization", "scale", change=lambda a: np.full_like(a, 3e38)),
    ),
    "no scale": ("compact", drop("quantization", "scale")),
    "no middle": ("compact", drop("quantization", "middle")),
    "codes of another dtype": ("compact", array("vectors", change=as_dtype(np.int8))),
    "another dtype of codes": ("compact", put("quantization", "dtype", "float16")),
    "an id twice": ("exact", array("rows", "ids", change=np.zeros_like)),
    "a missing id": (
        "exact",
        array("rows", "ids", change=lambda a: filled(a.astype(float), np.nan)),
    ),
    "ids of fewer rows": ("exact", array("rows", "ids", change=lambda a: a[1:])),
    "marks of fewer rows": ("exact", array("rows", "active", change=lambda a: a[1:])),
    "recalls of other shape": (
        "recall",
        array("recalls", change=lambda a: np.ascontiguousarray(a[:, :3])),
    ),
    "recalls in a row": ("recall", array("recalls", change=np.ravel)),
    "recalls no numbers": (
        "recall",
        array("recalls", change=lambda a: filled(a, np.nan)),
    ),
    "recalls beyond one": ("recall", array("recalls", change=lambda a: a + 7.0)),
    "centers of another width": (
        "everything",
        array(*CODEBOOK, "centers", change=lambda a: a[:, 1:].copy()),
    ),
    "centers not finite": (
        "everything",
        array(*CODEBOOK, "centers", change=lambda a: filled(a, np.nan)),
    ),
    "values not finite": (
        "everything",
        array(*CODEBOOK, "values", change=lambda a: filled(a, np.inf)),
    ),
    "mean of another width": (
        "components of products",
        array(*PROJECTION, "mean", change=lambda a: a[1:]),
    ),
    "a mean alone": ("everything", put(*PROJECTION, "mean", np.zeros(8, np.float32))),
    "metadata of other rows": (
        "everything",
        put("rows", "metadata", metadata(3)),
    ),
    "metadata that is no table": ("everything", put("rows", "metadata", {"a": 1})),
    "too few names": (
        "everything",
        put("feature_names_in_", np.array(["a"], dtype=object)),
    ),
    "a name twice": (
        "everything",
        put("feature_names_in_", np.array(["a"] * 8, dtype=object)),
    ),
}
LENGTHS = [float("nan"), float("inf"), -1.0, 1e300, True, "1", None]
REFUSED |= {
    f"length {length}": ("components of products", put(*PROJECTION, "length", length))
    for length in LENGTHS
}


@pytest.mark.parametrize("lie", REFUSED)
def test_lies_are_refused(lie, stored, tmp_path, mmap):
    name, edit = REFUSED[lie]
    error = try_altered(tmp_path / "index", stored[name], edit, mmap=mmap)
    assert error is not None


def other_width(width):
    def edit(document, arrays):
        put("search_state", "spec", SPEC.replace("PQ8", f"PQ{width}"))(document, arrays)
        for name, shape in {"centers": (16, width), "values": (width, 16)}.items():
            fill = lambda _, shape=shape: np.zeros(shape, np.float32)  # noqa: E731
            array(*CODEBOOK, name, change=fill)(document, arrays)

    return edit


@pytest.mark.parametrize("width", [1, 7, 9, 256, 257, 1000])
def test_a_consistent_structure_of_another_width(width, stored, tmp_path):
    """Its parts agree with each other, but not with the rows."""
    edit = other_width(width)
    assert try_altered(tmp_path / "index", stored["everything"], edit)
    # Here the embedder tells, of which the file says nothing.
    assert try_altered(tmp_path / "index", stored["original"], edit)


def test_a_file_that_claims_an_embedder(stored, tmp_path):
    claimed = parameter("embedder", {"given": ["embedder", "PCA"]})
    error = try_altered(tmp_path / "index", stored["exact"], claimed)
    assert "give it as embedder=" in error
    denied = parameter("embedder", None)
    assert try_altered(tmp_path / "index", stored["original"], denied) is not None


def test_any_centres_leave_the_answer_right(stored, tmp_path):
    """Candidates may be few then, but distances and ids are those of the rows."""
    for value in (0.0, -1e30, 3e38):
        fill = lambda centers, value=value: np.full_like(centers, value)  # noqa: E731
        edit = array(*CODEBOOK, "centers", change=fill)
        assert try_altered(tmp_path / "index", stored["everything"], edit) is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 2**65)
    | st.floats()
    | st.sampled_from(["", "a", "Flat", SPEC, "texts", "numbers", "objects", "cosine"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "name", "a"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def leaves(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        yield from leaves(inner, (*path, key))


@CONTENT_IS_NOT_TOLD
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_value_anywhere_in_the_document(data, stored, tmp_path):
    name = data.draw(st.sampled_from(["exact", "everything", "components of products"]))
    where = list(leaves(stored[name][0]))[1:]
    skipped = ("root", "parameters", "n_jobs")
    changes = data.draw(
        st.lists(
            st.tuples(st.sampled_from([w for w in where if w != skipped]), JSON),
            min_size=1,
            max_size=2,
        )
    )

    def edit(document, arrays):
        for keys, value in changes:
            inner = document
            with contextlib.suppress(KeyError, IndexError, TypeError):
                for key in keys[:-1]:
                    inner = inner[key]
                inner[keys[-1]] = value

    try_altered(tmp_path / "index", stored[name], edit)
