"""One file of JSON and arrays, written atomically and read without running code.

The file is a safetensors file: an eight-byte length, a JSON header, the arrays' bytes.
Our own JSON document lies in the header's metadata, beside the SHA-256 of the whole
file, in which zeros stand for the checksum itself. Nothing that a file claims is
believed before it agrees with the file's true size.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from reprlib import repr as shorten
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latentsk._version import __version__
from latentsk.exceptions import FormatError
from latentsk.persistence import _schema as schema
from latentsk.persistence._atomic import atomic_file, check_target

FORMAT_NAME = "latentsk"
FORMAT_VERSION = 2
# Version 1 was never released.
OLDEST_VERSION = 2
# JSON takes up to some thirty times as much memory once it is parsed.
MAX_HEADER = 2**24

_ALIGNMENT = 64
_BLOCK = 2**20
_NO_CHECKSUM = b"0" * 64
_DTYPES = {"BOOL": np.dtype("?")} | {
    f"{kind.upper()}{8 * size}": np.dtype(f"<{kind}{size}")
    for kind, sizes in {"i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}.items()
    for size in sizes
}
_CODES = {dtype.str: code for code, dtype in _DTYPES.items()}


# What the header must say of each array.
_CLAIM = schema.fields(
    {
        "dtype": schema.text(*_DTYPES),
        "shape": schema.list_of(schema.count()),
        "data_offsets": schema.list_of(schema.count(), 2),
    }
)
Claims: TypeAlias = Mapping[str, Mapping[str, Any]]


# Writing


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
        JSON-able values. Not-a-number and infinity are kept, and the order of keys.

    arrays : mapping of str to ndarray
        Boolean, integer or floating arrays of any shape, order and byte order.

    Raises
    ------
    TypeError
        If the document is not JSON-able, an array has a dtype that the format does
        not hold (objects, strings, complex numbers), or a name is not valid Unicode.

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
    claims = _layout(arrays)
    header = _header(_json(document), claims)
    digest = hashlib.sha256(header)
    with atomic_file(path) as file:
        file.write(header)
        for name, claim in claims.items():
            for block in _blocks(arrays[name], _DTYPES[claim["dtype"]]):
                digest.update(block)  # type: ignore
                file.write(block)  # type: ignore
        file.seek(header.index(_NO_CHECKSUM))
        file.write(digest.hexdigest().encode())


def _json(document: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(document))
    except RecursionError as error:
        raise ValueError("The document is nested too deeply to be stored.") from error


def _layout(arrays: Mapping[str, NDArray[Any]]) -> Claims:
    """Place the arrays one behind the other, in the order of the result.

    The format allows no gaps. What fills whole lines of 64 bytes comes first, then
    long items before short ones: so every item is aligned, and large matrices whose
    rows fill lines begin at one.
    """

    def order(name: str) -> tuple[bool, int, int, str]:
        array = arrays[name]
        return array.nbytes % _ALIGNMENT != 0, -array.itemsize, -array.nbytes, name

    claims = {}
    end = 0
    for name in sorted(arrays, key=order):
        array = arrays[name]
        begin, end = end, end + array.nbytes
        claims[name] = {
            "dtype": _code(name, array.dtype),
            "shape": array.shape,
            "data_offsets": (begin, end),
        }
    return claims


def _code(name: str, dtype: np.dtype[Any]) -> str:
    if type(name) is not str or name == "__metadata__" or not _is_unicode(name):
        raise TypeError(f"An array cannot be stored under the name {name!r}.")
    code = _CODES.get(dtype.newbyteorder("<").str)
    if code is None:
        raise TypeError(f"Array {name!r} of dtype {dtype} cannot be stored.")
    return code


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _header(text: str, claims: Claims) -> bytes:
    """Return the length and the JSON header, with zeros for the checksum."""
    metadata = {
        "format": FORMAT_NAME,
        "version": str(FORMAT_VERSION),
        "latentsk": __version__,
        "sha256": _NO_CHECKSUM.decode(),
        "document": text,
    }
    header = json.dumps({"__metadata__": metadata, **claims}).encode()
    header += b" " * (-(8 + len(header)) % _ALIGNMENT)
    if len(header) > MAX_HEADER:
        raise ValueError(
            f"The document and the arrays' names take {len(header)} bytes of JSON; at "
            f"most {MAX_HEADER} can be stored. Put long lists into arrays."
        )
    return struct.pack("<Q", len(header)) + header


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


# Reading


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
    content = _read_header(file, size)
    header = parse_json(content, "header")
    metadata = _checked_metadata(header.pop("__metadata__", None))
    start = file.tell()
    _check_claims(header, size - start)
    checksum = metadata["sha256"]
    blank = content.replace(checksum.encode("ascii", "replace"), _NO_CHECKSUM, 1)
    digest = hashlib.sha256(struct.pack("<Q", len(content)) + blank)
    mapped = np.memmap(file, np.uint8, "r")[start:] if mmap else None
    arrays = {}
    for name, claim in header.items():
        data = _bytes_of(file, claim, mapped)
        digest.update(data)  # type: ignore
        # Other bytes than these two are undefined behaviour in a boolean array.
        if claim["dtype"] == "BOOL" and data.max(initial=0) > 1:
            raise FormatError("is altered: a boolean array holds other values.")
        arrays[name] = _array_of(name, claim, data)
    if digest.hexdigest() != checksum:
        raise FormatError("was altered: its checksum does not match.")
    return parse_json(metadata["document"], "document"), arrays


def _read_header(file: BinaryIO, size: int) -> bytes:
    if size < 8:
        raise FormatError(f"is truncated or foreign: it has {size} bytes.")
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(size - 8, MAX_HEADER):
        raise FormatError(
            f"is truncated or foreign: a header of {length} bytes is claimed in a file "
            f"of {size} bytes (at most {MAX_HEADER} are read)."
        )
    return file.read(length)


def parse_json(text: str | bytes, what: str) -> dict[str, Any]:
    """Return a JSON object without duplicate keys; `what` it is, for the error.

    Raises
    ------
    FormatError

    Examples
    --------
    >>> parse_json('{"a": 1}', "document")
    {'a': 1}
    """
    try:
        text = text if isinstance(text, str) else text.decode()
        value = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"is altered or foreign: its {what} is not JSON as written here ({error})."
        ) from error
    if not isinstance(value, dict):
        raise FormatError(f"is altered or foreign: its {what} is not a JSON object.")
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
    if version not in {str(n) for n in range(OLDEST_VERSION, FORMAT_VERSION + 1)}:
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


def _check_claims(claims: Claims, available: int) -> None:
    """Refuse arrays that do not tile the `available` bytes in their order."""
    position = 0
    for name, claim in claims.items():
        if not _CLAIM.fits(claim, {}):
            raise _altered(name, "is not described")
        begin, end = claim["data_offsets"]
        if not position == begin <= end <= available:
            fault = f"lies in bytes {begin} to {end} of {available}, not at {position}"
            raise _altered(name, fault)
        position = end
    if position != available:
        raise FormatError(
            f"is truncated or altered: its arrays take {position} bytes, but "
            f"{available} are there."
        )


def _bytes_of(
    file: BinaryIO, claim: Mapping[str, Any], mapped: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    begin, end = claim["data_offsets"]
    if mapped is not None:
        return mapped[begin:end]
    content = np.empty(end - begin, np.uint8)
    if file.readinto(content) != len(content):  # type: ignore
        raise FormatError("is truncated: it ended while it was read.")
    return content


def _array_of(
    name: str, claim: Mapping[str, Any], content: NDArray[np.uint8]
) -> NDArray[Any]:
    code, shape = claim["dtype"], claim["shape"]
    try:
        array = content.view(_DTYPES[code]).reshape(shape)
    except ValueError as error:
        fault = f"of dtype {code} and shape {shape} takes no {len(content)} bytes"
        raise _altered(name, fault) from error
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _altered(name: str, fault: str) -> FormatError:
    return FormatError(f"is altered: array {shorten(name)} {fault}.")
