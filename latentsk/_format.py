"""One file of JSON and arrays, written atomically and read without running code.

The file is a safetensors file: an eight-byte length, a JSON header, the arrays' bytes.
Our own JSON lies in the header's metadata, with a checksum of the whole content.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

FORMAT_NAME = "latentsk"
FORMAT_VERSION = 1


class FormatError(ValueError):
    """A file is not what it should be: foreign, truncated, altered or too new."""


def _checksum(document: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(document.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def write_file(
    path: str | os.PathLike[str],
    document: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write a JSON document and named arrays as one file, or leave the old file.

    The bytes go to a temporary file in the same folder, are flushed to the disk and
    then take the target's name in one step: a crash at any moment leaves the old file
    or the new one.

    Parameters
    ----------
    path : str or path-like
        Where to write; an existing file is replaced.

    document : mapping
        JSON-able values. Not-a-number and infinity are kept.

    arrays : mapping of str to ndarray
        Boolean, integer or floating arrays of any shape.

    Raises
    ------
    TypeError
        If the document is not JSON-able, or an array has a dtype that the format does
        not hold (objects, strings, complex numbers).

    Examples
    --------
    >>> import tempfile, os, numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "model.latentsk")
    >>> write_file(path, {"k": 2}, {"mean": np.zeros(3)})
    >>> document, arrays = read_file(path)
    >>> document, arrays["mean"]
    ({'k': 2}, array([0., 0., 0.]))
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise TypeError(f"Array {name!r} of dtype {array.dtype} cannot be stored.")
    # A scalar array stays one: ascontiguousarray would give it a dimension.
    arrays = {
        name: np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
        for name, array in arrays.items()
    }
    text = json.dumps(document, sort_keys=True)
    metadata = {
        "format": FORMAT_NAME,
        "version": str(FORMAT_VERSION),
        "document": text,
        "sha256": _checksum(text, arrays),
    }
    _replace(Path(path), save(dict(arrays), metadata=metadata))


def _replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def read_file(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what :func:`write_file` wrote, after checking every byte of it.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    document : dict
        The JSON document.

    arrays : dict of str to ndarray
        The arrays, writeable copies.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    FormatError
        If the file is foreign, truncated, altered, or of a newer format version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, ValueError) as error:
        raise FormatError(f"{path} is truncated or altered: {error}") from error
    if metadata.get("format") != FORMAT_NAME:
        raise FormatError(f"{path} was not written by latentsk.")
    if metadata.get("version") != str(FORMAT_VERSION):
        raise FormatError(
            f"{path} has format version {metadata.get('version')}; this latentsk reads "
            f"version {FORMAT_VERSION}. Install a newer release to read it."
        )
    text = metadata.get("document", "")
    if _checksum(text, arrays) != metadata.get("sha256"):
        raise FormatError(f"{path} was altered: its checksum does not match.")
    return json.loads(text), arrays
