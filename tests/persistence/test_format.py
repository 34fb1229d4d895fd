"""Files: round trips, streaming, atomic writes, and damage of every kind."""

import hashlib
import json
import os
import struct
import tracemalloc

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from latentsk.exceptions import FormatError
from latentsk.persistence import _format
from latentsk.persistence._format import read_file, write_file

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]
ARRAYS = {
    "float64": np.array([[1.5, -np.inf], [np.nan, 0.0]]),
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # Fortran order
    "float16": np.array([0.1, 2.0, -3.0], dtype=np.float16),
    "int64": np.array([2**62, -1]),
    "int8": np.arange(-3, 3, dtype=np.int8)[::2],
    "bool": np.array([True, False]),
    "empty": np.empty((0, 4)),
    "scalar": np.array(3.5),
    "big_endian": np.array([1.0, 2.0], dtype=">f8"),
    "slices": np.arange(24, dtype=">i4").reshape(2, 3, 4)[:, ::-1, 1::2],
    "broadcast": np.broadcast_to(np.float32(3), (4, 5)),
}
DOCUMENT = {"name": "π", "n": 3, "nan": None, "nested": {"list": [1, 2.5, "x"]}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.latentsk"
    write_file(path, DOCUMENT, ARRAYS)
    return path


def assert_same_arrays(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("mmap", [False, True])
def test_round_trip(path, mmap):
    document, arrays = read_file(path, mmap=mmap)
    assert document == DOCUMENT
    assert_same_arrays(arrays, ARRAYS)
    assert all(array.flags.writeable is not mmap for array in arrays.values())
    lie_in_the_file = [isinstance(a, np.memmap) for a in arrays.values() if a.size]
    assert set(lie_in_the_file) == {mmap}


@settings(max_examples=60, deadline=None)
@given(
    array=st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0))
    ),
    order=st.sampled_from("CF"),
    byte_order=st.sampled_from("<>"),
    mmap=st.booleans(),
)
def test_any_array_round_trips(tmp_path_factory, array, order, byte_order, mmap):
    path = tmp_path_factory.mktemp("any") / "file"
    stored = np.asarray(array, array.dtype.newbyteorder(byte_order), order=order)
    arrays = {"a": stored.T, "reversed": stored[::-1] if stored.ndim else stored}
    write_file(path, {}, arrays)
    assert_same_arrays(read_file(path, mmap=mmap)[1], arrays)
    assert_same_arrays(safetensors.numpy.load_file(path), arrays)


def test_blocks_of_large_arrays(tmp_path, monkeypatch):
    monkeypatch.setattr(_format, "_BLOCK", 64)
    arrays = {
        "plain": np.arange(1000.0),
        "transposed": np.arange(999, dtype=np.int16).reshape(3, 333).T,
        "swapped": np.arange(1000, dtype=">u4").reshape(10, 100)[::3],
        "bool": np.arange(500) % 3 == 0,
    }
    write_file(tmp_path / "file", {}, arrays)
    for mmap in (False, True):
        assert_same_arrays(read_file(tmp_path / "file", mmap=mmap)[1], arrays)


def test_safetensors_reads_what_is_written(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        assert json.loads(file.metadata()["document"]) == DOCUMENT
    assert_same_arrays(safetensors.numpy.load_file(path), ARRAYS)


def test_items_are_aligned(path, tmp_path):
    for name, array in read_file(path, mmap=True)[1].items():
        assert array.size == 0 or array.ctypes.data % array.itemsize == 0, name
    arrays = {
        "a": np.zeros(3, np.int8),
        "b": np.zeros(5),
        "rows": np.ones((9, 16), "f4"),
    }
    write_file(tmp_path / "aligned", {}, arrays)
    rows = read_file(tmp_path / "aligned", mmap=True)[1]["rows"]
    assert rows.ctypes.data % 64 == 0


def test_the_checksum_is_that_of_the_file_with_zeros_in_its_place(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        checksum = file.metadata()["sha256"].encode()
    content = path.read_bytes()
    assert content.count(checksum) == 1
    blank = content.replace(checksum, b"0" * 64)
    assert hashlib.sha256(blank).hexdigest().encode() == checksum


def peak_of(function, *args, **kwargs):
    tracemalloc.start()
    try:
        function(*args, **kwargs)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_large_arrays_are_not_copied(tmp_path):
    arrays = {"plain": np.ones((250_000, 100)), "turned": np.ones((100, 10_000)).T}
    path = tmp_path / "large"
    assert peak_of(write_file, path, {}, arrays) < 2**25
    assert path.stat().st_size > 2 * 10**8
    assert peak_of(read_file, path, mmap=True) < 2**23
    assert peak_of(read_file, path) < 2.2 * 10**8


def failing(*_):
    raise OSError("disk full")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_the_old_file_survives_a_failed_write(path, monkeypatch, step):
    monkeypatch.setattr(os, step, failing)
    with pytest.raises(OSError, match="disk full"):
        write_file(path, {"other": 1}, {})
    assert read_file(path)[0] == DOCUMENT
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_old_file_survives_an_interrupt_amid_the_arrays(path, monkeypatch):
    blocks, calls = _format._blocks, []

    def interrupted(array, dtype):
        calls.append(array)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return blocks(array, dtype)

    monkeypatch.setattr(_format, "_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_file(path, {}, {"a": np.ones(9), "b": np.ones(9)})
    assert read_file(path)[0] == DOCUMENT
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_flushed_is_no_error(path, monkeypatch):
    monkeypatch.setattr(os, "open", failing)
    write_file(path, {"other": 1}, {})
    assert read_file(path)[0] == {"other": 1}


@pytest.mark.skipif(os.name == "nt", reason="Windows refuses to replace mapped files")
def test_a_mapped_file_may_be_replaced(path):
    _, arrays = read_file(path, mmap=True)
    write_file(path, {}, {"other": np.zeros(1000)})
    assert_same_arrays(arrays, ARRAYS)


@pytest.mark.parametrize(
    ("document", "arrays"),
    [
        ({"x": object()}, {}),
        ([1], {}),
        ({}, {"x": np.array([object()])}),
        ({}, {"x": np.array(["text"])}),
        ({}, {"x": np.array([1j])}),
        ({}, {"x": np.array([1], dtype="M8[s]")}),
        ({}, {"x": np.zeros(2, dtype=np.longdouble)}),
        ({}, {"x": np.zeros(2, dtype="i4,f4")}),
        ({}, {"__metadata__": np.zeros(2)}),
        ({}, {"\ud800": np.zeros(2)}),
        ({}, {3: np.zeros(2)}),
    ],
)
def test_what_cannot_be_stored_is_refused_before_writing(path, document, arrays):
    with pytest.raises(TypeError):
        write_file(path, document, arrays)
    assert read_file(path)[0] == DOCUMENT


def test_a_document_nested_too_deeply_is_refused(path):
    nested = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ValueError, match="too deeply"):
        write_file(path, {"x": nested}, {})


def test_a_document_that_is_too_long_is_refused(path, monkeypatch):
    monkeypatch.setattr(_format, "MAX_HEADER", 1000)
    with pytest.raises(ValueError, match="Put long lists into arrays"):
        write_file(path, {"x": list(range(500))}, {})
    assert path.exists()


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        read_file(tmp_path / "missing")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_file(tmp_path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_file(tmp_path, {}, {})
    with pytest.raises(FileNotFoundError, match="does not exist"):
        write_file(tmp_path / "missing" / "file", {}, {})
    assert list(tmp_path.iterdir()) == []


# Damage


def assert_refused(path, match=None):
    for mmap in (False, True):
        with pytest.raises(FormatError, match=match) as caught:
            read_file(path, mmap=mmap)
        assert str(path) in str(caught.value)


def test_every_truncation_is_noticed(path):
    content = path.read_bytes()
    twentieths = range(0, len(content), len(content) // 20)
    for length in [*range(9), *twentieths, len(content) - 1]:
        path.write_bytes(content[:length])
        assert_refused(path)


def test_more_bytes_are_noticed(path):
    path.write_bytes(path.read_bytes() + b"\0")
    assert_refused(path, "truncated or altered")


@pytest.mark.parametrize("mmap", [False, True])
def test_every_flipped_byte_is_noticed_or_harmless(path, mmap):
    content = path.read_bytes()
    for position in range(0, len(content), 3):
        altered = bytearray(content)
        altered[position] ^= 0x41
        path.write_bytes(altered)
        try:
            document, arrays = read_file(path, mmap=mmap)
        except FormatError:
            continue
        assert document == DOCUMENT
        assert_same_arrays(arrays, ARRAYS)


def split(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(path, header, data):
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


def repair(path):
    """Make the checksum fit, as one who forges a file would."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    checksum = json.loads(content[8 : 8 + length])["__metadata__"]["sha256"].encode()
    blank = content.replace(checksum, b"0" * 64, 1)
    found = hashlib.sha256(blank).hexdigest().encode()
    path.write_bytes(blank.replace(b"0" * 64, found, 1))


@pytest.fixture
def small(tmp_path):
    """A file of 32 bytes of x, 16 of y and 2 of z."""
    path = tmp_path / "small"
    arrays = {"x": np.arange(4.0), "y": np.ones(4, np.float32), "z": np.ones(2, bool)}
    write_file(path, {"k": 1}, arrays)
    return path


def claims(name, **claims):
    return lambda header: header[name].update(claims)


STRUCTURAL = {
    "inflated": claims("x", shape=[2**40], data_offsets=[0, 2**43]),
    "beyond the file": claims("z", shape=[3], data_offsets=[48, 51]),
    "far beyond the file": claims("z", shape=[2**50], data_offsets=[48, 48 + 2**50]),
    "overlapping": claims("y", data_offsets=[24, 40]),
    "same place": claims("y", data_offsets=[0, 16]),
    "gap": claims("x", shape=[3], data_offsets=[0, 24]),
    "gap at the start": claims("x", shape=[3], data_offsets=[8, 32]),
    "end unused": claims("z", shape=[1], data_offsets=[48, 49]),
    "shape too small": claims("x", shape=[3]),
    "shape too large": claims("x", shape=[5]),
    "product overflows": claims("x", shape=[2**32, 2**32, 4]),
    "empty, but too large": claims("z", shape=[0, 2**63 - 1, 2], data_offsets=[48, 48]),
    "65 dimensions": claims("x", shape=[4] + [1] * 64),
    "wider dtype": claims("y", dtype="F64"),
}
MALFORMED = {
    "unknown dtype": claims("x", dtype="F8_E5M2"),
    "object dtype": claims("x", dtype="O"),
    "dtype is a number": claims("x", dtype=8),
    "negative offsets": claims("x", data_offsets=[-32, 0]),
    "offsets backwards": claims("x", data_offsets=[32, 0]),
    "offsets are floats": claims("x", data_offsets=[0.0, 32.0]),
    "three offsets": claims("x", data_offsets=[0, 32, 32]),
    "offsets are a text": claims("x", data_offsets="ab"),
    "negative shape": claims("x", shape=[-4]),
    "two negatives": claims("x", shape=[-2, -2]),
    "shape is boolean": claims("x", shape=[True, 4]),
    "shape is a number": claims("x", shape=4),
    "shape is a float": claims("x", shape=[4.0]),
    "huge shape": claims("x", shape=[10**400]),
    "claim is a list": lambda header: header.update(x=[1]),
    "claim is empty": lambda header: header.update(x={}),
    "no document": lambda header: header["__metadata__"].pop("document"),
    "no checksum": lambda header: header["__metadata__"].pop("sha256"),
    "document is an object": lambda header: header["__metadata__"].update(document={}),
    "surrogates": lambda header: header["__metadata__"].update(document="\ud800"),
    "name is a surrogate": lambda header: header.update({"\ud800": header.pop("x")}),
    "another name": lambda header: header.update(w=header.pop("x")),
    "an array less": lambda header: header.pop("z"),
}


@pytest.mark.parametrize("repaired", [False, True])
@pytest.mark.parametrize("damage", STRUCTURAL)
def test_structural_damage_allocates_nothing(small, damage, repaired):
    header, data = split(small)
    STRUCTURAL[damage](header)
    join(small, header, data)
    if repaired:
        repair(small)
    assert peak_of(assert_refused, small, "altered") < 2**22


@pytest.mark.parametrize("damage", MALFORMED)
def test_malformed_headers(small, damage):
    header, data = split(small)
    MALFORMED[damage](header)
    join(small, header, data)
    assert peak_of(assert_refused, small) < 2**22


def test_a_repaired_header_is_read(small):
    """The damages above are refused for what they are, not for the repair."""
    header, data = split(small)
    claims("x", shape=[2, 2])(header)
    join(small, header, data)
    repair(small)
    np.testing.assert_array_equal(read_file(small)[1]["x"], [[0, 1], [2, 3]])


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 100_000_001, 10**6, 0, 1])
def test_wrong_header_lengths(small, length):
    content = small.read_bytes()
    small.write_bytes(struct.pack("<Q", length) + content[8:])
    assert peak_of(assert_refused, small) < 2**22


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe{}",
        b'{"__metadata__": {}, "__metadata__": {}}',
        b'{"x": {"dtype": "F64", "dtype": "F32"}}',
        b'{"x": ' + b"9" * 10_000 + b"}",
    ],
)
def test_headers_that_are_no_json_of_ours(small, header):
    join(small, header, split(small)[1])
    assert_refused(small, "not JSON|not a JSON")


@pytest.mark.parametrize(
    "document", ["[" * 100_000, '{"a":' * 100_000, "[1]", "{", "", '{"a": 1, "a": 2}']
)
def test_documents_that_are_no_json_object(small, document):
    header, data = split(small)
    header["__metadata__"]["document"] = document
    join(small, header, data)
    repair(small)
    assert_refused(small, "its document is not (a )?JSON")


def test_booleans_are_zero_or_one(small):
    header, data = split(small)
    data = data[:-1] + b"\x02"
    join(small, header, data)
    repair(small)
    assert_refused(small, "boolean")


def test_other_versions_name_the_release(small):
    header, data = split(small)
    for version in ("3", "1"):
        header["__metadata__"]["version"] = version
        header["x"]["dtype"] = "dtype of the future"
        join(small, header, data)
        assert_refused(
            small, rf"version {version}.*up to 2.*by latentsk .*newer release"
        )


def test_altered_data_say_so(small):
    content = small.read_bytes()
    small.write_bytes(content[:-3] + b"a" + content[-2:])
    assert_refused(small, "checksum does not match")


def test_foreign_files_are_refused(tmp_path):
    safetensors.numpy.save_file({"x": np.zeros(2)}, tmp_path / "foreign")
    assert_refused(tmp_path / "foreign", "not written by latentsk")
    np.savez(tmp_path / "foreign.npz", x=np.zeros(100))
    assert_refused(tmp_path / "foreign.npz", "foreign")
