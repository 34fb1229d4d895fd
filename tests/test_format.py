"""Files: round trips, atomic writes, and damage of every kind."""

import json
import os
import struct

import numpy as np
import pytest

from latentsk._format import FormatError, read_file, write_file

ARRAYS = {
    "float64": np.array([[1.5, -np.inf], [np.nan, 0.0]]),
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # Fortran order
    "int64": np.array([2**62, -1]),
    "bool": np.array([True, False]),
    "empty": np.empty((0, 4)),
    "scalar": np.array(3.5),
    "big_endian": np.array([1.0, 2.0], dtype=">f8"),
}
DOCUMENT = {"name": "π", "n": 3, "nan": None, "nested": {"list": [1, 2.5, "x"]}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.latentsk"
    write_file(path, DOCUMENT, ARRAYS)
    return path


def test_round_trip(path):
    document, arrays = read_file(path)
    assert document == DOCUMENT
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].shape == array.shape
        assert arrays[name].dtype == array.dtype.newbyteorder("=")


def test_the_old_file_survives_a_failed_write(path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_file(path, {"other": 1}, {})
    assert read_file(path)[0] == DOCUMENT
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("document", "arrays"),
    [
        ({"x": object()}, {}),
        ({}, {"x": np.array([object()])}),
        ({}, {"x": np.array(["text"])}),
        ({}, {"x": np.array([1j])}),
    ],
)
def test_what_cannot_be_stored_is_refused_before_writing(path, document, arrays):
    with pytest.raises(TypeError):
        write_file(path, document, arrays)
    assert read_file(path)[0] == DOCUMENT


def test_every_truncation_is_noticed(path):
    content = path.read_bytes()
    for length in [*range(0, len(content) - 1, 7), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(FormatError):
            read_file(path)


def test_every_flipped_byte_is_noticed_or_harmless(path):
    content = path.read_bytes()
    for position in range(0, len(content), 3):
        altered = bytearray(content)
        altered[position] ^= 0x41
        path.write_bytes(altered)
        try:
            document, arrays = read_file(path)
        except FormatError:
            continue
        assert document == DOCUMENT
        np.testing.assert_array_equal(arrays["float64"], ARRAYS["float64"])


def _with_header(path, change):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])


def test_a_newer_version_says_so(path):
    _with_header(path, lambda header: header["__metadata__"].update(version="2"))
    with pytest.raises(FormatError, match=r"version 2.*newer release"):
        read_file(path)


def test_an_inflated_size_allocates_nothing(path):
    def inflate(header):
        header["float64"]["shape"] = [2**40]
        header["float64"]["data_offsets"] = [0, 2**43]

    _with_header(path, inflate)
    with pytest.raises(FormatError):
        read_file(path)


def test_foreign_files_are_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(FormatError, match="not written by latentsk"):
        read_file(tmp_path / "foreign")
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "missing")
