"""One file of JSON and arrays, written atomically and read without running code.

The file is a safetensors file: an eight-byte length, a JSON header, the arrays' bytes.
Our own JSON lies in the header's metadata, with a checksum of the whole content.
Files are written, checked and read a block at a time, and nothing that a file claims
is believed before it agrees with the file's true size.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from reprlib import repr as shorten
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._version import __version__
from latentsk.exceptions import FormatError

FORMAT_NAME = "latentsk"
FORMAT_VERSION = 1
# JSON takes up to some thirty times as much memory once it is parsed.
MAX_HEADER = 2**24
MAX_DIMENSIONS = 64
MAX_BYTES = 2**63 - 1

_ALIGNMENT = 64
_BLOCK = 2**20
_DTYPES = {
    "BOOL": np.dtype("|b1"),
    "U8": np.dtype("|u1"),
    "I8": np.dtype("|i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
_CODES = {dtype.str: code for code, dtype in _DTYPES.items()}


class _Entry(NamedTuple):
    """An array's place among the bytes behind the header."""

    code: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return _DTYPES[self.code]


def write_file(
    path: str | os.PathLike[str],
    document: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write a JSON document and named arrays as one file, or leave the old file.

    The bytes go to a temporary file in the same folder, are flushed to the disk and
    then take the target's name in one step: a crash at any moment leaves the old file
    or the new one. The arrays are not copied, but for a block at a time.

    Parameters
    ----------
    path : str or path-like
        Where to write; an existing file is replaced.

    document : mapping
        JSON-able values. Not-a-number and infinity are kept.

    arrays : mapping of str to ndarray
        Boolean, integer or floating arrays of any shape, order and byte order. They
        must not change meanwhile, or the file will be found altered.

    Raises
    ------
    TypeError
        If the document is not JSON-able, an array has a dtype that the format does
        not hold (objects, strings, complex numbers), or a name is none.

    ValueError
        If the document is nested too deeply, or it is too long: long lists belong into
        arrays.

    FileNotFoundError, IsADirectoryError
        If the folder does not exist, or the path is a folder.

    Examples
    --------
    >>> import tempfile, os, numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "model.latentsk")
    >>> write_file(path, {"k": 2}, {"mean": np.zeros(3)})
    >>> document, arrays = read_file(path)
    >>> document, arrays["mean"]
    ({'k': 2}, array([0., 0., 0.]))
    """
    path = Path(path)
    check_target(path)
    text = _json(document)
    entries = _layout(arrays)

    def blocks(name: str) -> Iterator[NDArray[Any]]:
        return _blocks(arrays[name], entries[name].dtype)

    header = _header(text, entries, _checksum(text, entries, blocks))
    content = (block for name in entries for block in blocks(name))
    replace_file(path, chain([header], content))


def check_target(path: Path) -> None:
    """Refuse a path that no file can be written to.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        If the folder does not exist, or the path is a folder or a device.

    Examples
    --------
    >>> check_target(Path("model.latentsk"))
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} does not exist.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; a file cannot take its place.")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is a device or a pipe; a file cannot take its place.")


def _json(document: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(document), sort_keys=True)
    except RecursionError as error:
        raise ValueError("The document is nested too deeply to be stored.") from error


def _layout(arrays: Mapping[str, NDArray[Any]]) -> dict[str, _Entry]:
    """Place the arrays one behind the other, in the order of the result.

    The format allows no gaps. What fills whole lines of 64 bytes comes first, then
    long items before short ones: so every item is aligned, and large matrices whose
    rows fill lines begin at one.
    """
    codes = {name: _code(name, array.dtype) for name, array in arrays.items()}

    def order(name: str) -> tuple[bool, int, int, str]:
        array = arrays[name]
        return array.nbytes % _ALIGNMENT != 0, -array.itemsize, -array.nbytes, name

    entries: dict[str, _Entry] = {}
    end = 0
    for name in sorted(arrays, key=order):
        begin, end = end, end + arrays[name].nbytes
        entries[name] = _Entry(codes[name], arrays[name].shape, begin, end)
    return entries


def _code(name: str, dtype: np.dtype[Any]) -> str:
    if type(name) is not str or name == "__metadata__" or not _is_unicode(name):
        raise TypeError(f"An array cannot be stored under the name {name!r}.")
    code = _CODES.get(dtype.newbyteorder("<").str)
    if code is None:
        raise TypeError(f"Array {name!r} of dtype {dtype} cannot be stored.")
    return code


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _blocks(array: NDArray[Any], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Yield the items in C order and in this byte order, a block at a time."""
    return iter(
        np.nditer(
            array,
            flags=["external_loop", "buffered", "zerosize_ok"],
            op_flags=[["readonly", "contig"]],
            op_dtypes=[dtype],
            order="C",
            casting="equiv",
            buffersize=_BLOCK // dtype.itemsize,
        )  # type: ignore
    )


def _checksum(
    text: str,
    entries: Mapping[str, _Entry],
    blocks: Callable[[str], Iterable[NDArray[Any]]],
) -> str:
    digest = hashlib.sha256(text.encode(errors="surrogatepass"))
    for name in sorted(entries):
        # Files have always been hashed with one dimension for scalars.
        shape = entries[name].shape or (1,)
        claim = f"\0{name}\0{entries[name].dtype.str}\0{shape}\0"
        digest.update(claim.encode(errors="surrogatepass"))
        for block in blocks(name):
            digest.update(block)  # type: ignore
    return digest.hexdigest()


def _header(text: str, entries: Mapping[str, _Entry], checksum: str) -> bytes:
    metadata = {
        "format": FORMAT_NAME,
        "version": str(FORMAT_VERSION),
        "latentsk": __version__,
        "document": text,
        "sha256": checksum,
    }
    claims = {
        name: {
            "dtype": entry.code,
            "shape": entry.shape,
            "data_offsets": (entry.begin, entry.end),
        }
        for name, entry in entries.items()
    }
    header = json.dumps({"__metadata__": metadata, **claims}).encode()
    header += b" " * (-(8 + len(header)) % _ALIGNMENT)
    if len(header) > MAX_HEADER:
        raise ValueError(
            f"The document and the arrays' names take {len(header)} bytes of JSON; at "
            f"most {MAX_HEADER} can be stored. Put long lists into arrays."
        )
    return struct.pack("<Q", len(header)) + header


def replace_file(path: Path, parts: Iterable[bytes | NDArray[Any]]) -> None:
    """Write bytes as one file in a single step, or leave the old file.

    Parameters
    ----------
    path : Path

    parts : iterable of bytes or contiguous ndarray
        One behind the other.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "file"
    >>> replace_file(path, [b"one, ", b"two"])
    >>> path.read_bytes()
    b'one, two'
    """
    path = Path(os.path.realpath(path))  # a link stays one
    temporary = path.with_name(f".{secrets.token_hex(8)}.latentsk.tmp")
    try:
        with open(temporary, "xb") as file:
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(path, temporary)  # what was private stays so
            for part in parts:
                file.write(part)  # type: ignore
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Windows cannot open a folder, and some file systems cannot flush one. The new
    # file stands by now, so that an error would be misleading.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_file(
    path: str | os.PathLike[str], *, mmap: bool = False
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what :func:`write_file` wrote, after checking every byte of it.

    Parameters
    ----------
    path : str or path-like
        The file.

    mmap : bool, default=False
        Whether to leave the arrays in the file. It must then not be changed in place
        as long as they are used; to replace it by `write_file` is safe, but Windows
        refuses that.

    Returns
    -------
    document : dict
        The JSON document.

    arrays : dict of str to ndarray
        The arrays: writeable copies or, with `mmap`, read-only views of the file.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or the path is a folder.

    FormatError
        If the file is foreign, truncated, altered, or of a newer format version.

    Examples
    --------
    >>> import tempfile, os, numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "model.latentsk")
    >>> write_file(path, {"k": 2}, {"mean": np.zeros(3)})
    >>> _, arrays = read_file(path, mmap=True)
    >>> arrays["mean"]
    memmap([0., 0., 0.])
    >>> arrays["mean"].flags.writeable
    False
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder.")
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}")
    with open(path, "rb") as file:
        try:
            return _read(file, mmap)
        except FormatError as error:
            raise FormatError(f"{path} {error}") from error


def _read(file: BinaryIO, mmap: bool) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    size = os.fstat(file.fileno()).st_size
    header = _read_header(file, size)
    start = file.tell()
    metadata = _checked_metadata(header.pop("__metadata__", None))
    entries = _checked_entries(header, size - start)
    read = _map_arrays if mmap else _load_arrays
    arrays, checksum = read(file, start, metadata["document"], entries)
    if checksum != metadata["sha256"]:
        raise FormatError("was altered: its checksum does not match.")
    return parse_json(metadata["document"], "document"), arrays


def _read_header(file: BinaryIO, size: int) -> dict[str, Any]:
    if size < 8:
        raise FormatError(f"is truncated or foreign: it has {size} bytes.")
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(size - 8, MAX_HEADER):
        raise FormatError(
            f"is truncated or foreign: a header of {length} bytes is claimed in a file "
            f"of {size} bytes (at most {MAX_HEADER} are read)."
        )
    try:
        return parse_json(file.read(length).decode(), "header")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"is altered or foreign: its header is no UTF-8 ({error})."
        ) from error


def parse_json(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"is altered or foreign: its {what} is no JSON of ours ({error})."
        ) from error
    if not isinstance(value, dict):
        raise FormatError(f"is altered or foreign: its {what} is no JSON object.")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _checked_metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT_NAME:
        raise FormatError("was not written by latentsk.")
    version = metadata.get("version")
    if version not in {str(known) for known in range(1, FORMAT_VERSION + 1)}:
        writer = str(metadata.get("latentsk", "a newer release"))[:20]
        raise FormatError(
            f"has format version {str(version)[:20]}; this latentsk {__version__} "
            f"reads versions up to {FORMAT_VERSION}. It was written by latentsk "
            f"{writer}: install that, or a newer release."
        )
    for name in ("document", "sha256"):
        if not isinstance(metadata.get(name), str):
            raise FormatError(f"is altered: its metadata lack {name!r}.")
    return metadata


def _checked_entries(claims: dict[str, Any], available: int) -> dict[str, _Entry]:
    """Return the arrays' places, which tile the `available` bytes."""
    entries = {name: _checked_entry(name, claim) for name, claim in claims.items()}
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != position:
            raise _altered(
                name,
                f"begins at byte {entry.begin} of the data, but the one before it ends "
                f"at {position}",
            )
        position = entry.end
    if position != available:
        raise FormatError(
            f"is truncated or altered: its arrays take {position} bytes, but "
            f"{available} are there."
        )
    return entries


def _checked_entry(name: str, claim: Any) -> _Entry:
    match claim:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [begin, end]}:
            entry = _Entry(code, tuple(shape), begin, end)
        case _:
            raise _altered(name, "is not described")
    if code not in _DTYPES:
        raise _altered(name, f"has the unknown dtype {shorten(code)}")
    if len(shape) > MAX_DIMENSIONS:
        raise _altered(name, f"has {len(shape)} dimensions")
    if not all(type(n) is int and 0 <= n <= MAX_BYTES for n in (*shape, begin, end)):
        raise _altered(name, "has a shape or a place that are no sizes")
    if not _agree(entry):
        size = f"of dtype {code} and shape {entry.shape}"
        raise _altered(name, f"{size} cannot lie in bytes {begin} to {end}")
    return entry


def _altered(name: str, fault: str) -> FormatError:
    return FormatError(f"is altered: array {shorten(name)} {fault}.")


def _agree(entry: _Entry) -> bool:
    itemsize = entry.dtype.itemsize
    # numpy counts empty dimensions as one when it looks for overflows.
    extent = math.prod(n for n in entry.shape if n) * itemsize
    used = math.prod(entry.shape) * itemsize
    return extent <= MAX_BYTES and entry.end - entry.begin == used


def _load_arrays(
    file: BinaryIO, start: int, text: str, entries: Mapping[str, _Entry]
) -> tuple[dict[str, NDArray[Any]], str]:
    """Return the arrays, and the checksum of what was read."""
    arrays = {}

    def blocks(name: str) -> Iterator[NDArray[np.uint8]]:
        entry = entries[name]
        arrays[name] = array = np.empty(entry.shape, entry.dtype)
        content = array.reshape(-1).view(np.uint8)
        for i in range(0, len(content), _BLOCK):
            yield _filled(content[i : i + _BLOCK], file, start + entry.begin + i, entry)

    checksum = _checksum(text, entries, blocks)
    native = {
        name: array.astype(array.dtype.newbyteorder("="), copy=False)
        for name, array in arrays.items()
    }
    return {name: native[name] for name in entries}, checksum


def _map_arrays(
    file: BinaryIO, start: int, text: str, entries: Mapping[str, _Entry]
) -> tuple[dict[str, NDArray[Any]], str]:
    """Return views of the file, and the checksum of what they show."""
    buffer = np.empty(_BLOCK, np.uint8)

    def blocks(name: str) -> Iterator[NDArray[np.uint8]]:
        entry = entries[name]
        for i in range(entry.begin, entry.end, _BLOCK):
            yield _filled(buffer[: entry.end - i], file, start + i, entry)

    checksum = _checksum(text, entries, blocks)
    content = np.memmap(file, np.uint8, mode="r")[start:]
    arrays = {
        name: content[entry.begin : entry.end].view(entry.dtype).reshape(entry.shape)
        for name, entry in entries.items()
    }
    return arrays, checksum


def _filled(
    block: NDArray[np.uint8], file: BinaryIO, position: int, entry: _Entry
) -> NDArray[np.uint8]:
    file.seek(position)
    if file.readinto(block) != len(block):  # type: ignore
        raise FormatError("is truncated: it ended while it was read.")
    # Other bytes than these two are undefined behaviour in a boolean array.
    if entry.code == "BOOL" and block.max() > 1:
        raise FormatError("is altered: a boolean array holds other values.")
    return block
