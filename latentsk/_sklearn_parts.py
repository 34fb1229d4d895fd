"""scikit-learn's own estimators as bytes, through skops, and back.

Their private state is scikit-learn's matter, so it is left to a library that follows
it. skops runs no code of a file as long as it trusts the types by itself; what it
reads is looked through before, as it takes sizes and nesting on trust.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from latentsk._format import FormatError, parse_json

# Of skops's building blocks those that transformers are made of: values, containers,
# arrays, and estimators. Others call functions, or hand numbers to compiled code that
# does not check them.
LOADERS = frozenset(
    {
        "CachedNode",
        "DTypeNode",
        "DefaultDictNode",
        "DictNode",
        "FunctionNode",
        "JsonNode",
        "ListNode",
        "NdArrayNode",
        "ObjectNode",
        "SetNode",
        "SliceNode",
        "TupleNode",
        "TypeNode",
    }
)
# Which type an array is of; skops itself leaves that to the caller.
TRUSTED = ["numpy.dtype"]
# Files of before claim less strict rules.
OLDEST_PROTOCOL = 2
MAX_DEPTH = 100


def dump_part(estimator: BaseEstimator) -> NDArray[np.uint8]:
    """Return an estimator of scikit-learn as bytes.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    content : ndarray of shape (n_bytes,), dtype uint8

    Raises
    ------
    TypeError
        If it holds something that only code could restore: a function or a class of
        one's own, a tree.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> load_part(dump_part(StandardScaler().fit([[0.0], [2.0]]))).mean_
    array([1.])
    """
    import skops.io

    name = type(estimator).__name__
    try:
        content = skops.io.dumps(estimator)
        found = skops.io.get_untrusted_types(data=content)
    except Exception as error:
        raise TypeError(f"{name} cannot be stored: {error}") from error
    untrusted = sorted(set(found) - set(TRUSTED))
    if untrusted:
        raise TypeError(
            f"{name} cannot be stored, as it holds {', '.join(untrusted)}, which "
            "skops does not trust. Keep such a step outside, or use joblib."
        )
    try:
        _look_through(content)
    except FormatError as error:
        raise TypeError(f"{name} cannot be stored: {error}") from error
    return np.frombuffer(content, np.uint8)


def load_part(content: NDArray[np.uint8]) -> Any:
    """Return the estimator that :func:`dump_part` was given.

    Parameters
    ----------
    content : ndarray of shape (n_bytes,), dtype uint8

    Returns
    -------
    estimator : estimator

    Raises
    ------
    FormatError
        If it is none, or more than skops trusts by itself.
    """
    import skops.io

    if content.dtype != np.uint8 or content.ndim != 1:
        raise FormatError("A part of scikit-learn's is no bytes.")
    data = content.tobytes()
    _look_through(data)
    try:
        estimator = skops.io.loads(data, trusted=TRUSTED)
    except MemoryError:
        raise
    except Exception as error:  # whatever a hostile file makes skops stumble over
        raise FormatError(
            f"A part of scikit-learn's cannot be restored ({type(error).__name__}: "
            f"{str(error)[:200]})."
        ) from error
    if not isinstance(estimator, BaseEstimator):
        raise FormatError("A part of scikit-learn's is no estimator.")
    return estimator


def _look_through(data: bytes) -> None:
    """Refuse what is no plain archive of nodes and arrays of the sizes they claim."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) < len(names) or "schema.json" not in names:
                raise FormatError("A part of scikit-learn's has no single schema.")
            if sum(member.file_size for member in members) > len(data):
                raise FormatError("A part of scikit-learn's is compressed.")
            for member in members:
                _check_member(archive, member)
            _check_schema(archive.read("schema.json"), set(names))
    except FormatError:
        raise
    except (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError) as error:
        raise FormatError(f"A part of scikit-learn's is damaged ({error}).") from error
    except (NotImplementedError, RuntimeError) as error:  # other kinds of archives
        raise FormatError(f"A part of scikit-learn's is foreign ({error}).") from error


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise FormatError("A part of scikit-learn's is compressed or encrypted.")
    if member.filename == "schema.json":
        return
    if not member.filename.removesuffix(".npy").isdecimal():
        raise FormatError("A part of scikit-learn's holds something else than arrays.")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = npy.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = npy.read_array_header_2_0(file)
        else:
            raise FormatError("A part of scikit-learn's has arrays of no known kind.")
        n_items = 1
        for size in shape:
            n_items *= int(size)
        if (
            dtype.hasobject
            or n_items * dtype.itemsize != member.file_size - file.tell()
        ):
            raise FormatError("A part of scikit-learn's claims another size.")


def _check_schema(content: bytes, names: set[str]) -> None:
    try:
        schema = parse_json(content.decode(), "schema")
    except FormatError as error:
        raise FormatError(f"A part of scikit-learn's {error}") from error
    protocol = schema.get("protocol")
    if type(protocol) is not int or protocol < OLDEST_PROTOCOL:
        raise FormatError("A part of scikit-learn's is of an old kind.")
    readers: dict[str, Any] = {}
    for node in _nodes(schema):
        loader = node["__loader__"]
        if not isinstance(loader, str) or loader not in LOADERS:
            raise FormatError(
                f"A part of scikit-learn's needs {str(loader)[:50]!r}, which is not "
                "restored from files."
            )
        for name in ("__class__", "__module__"):
            if not isinstance(node.get(name), str | None):
                raise FormatError("A part of scikit-learn's has a node without a type.")
        if "file" in node:
            file, reader = node["file"], node.get("__id__")
            # A file that many nodes read would be in memory as many times.
            known = type(file) is str and file in names
            if not known or readers.setdefault(file, reader) != reader:
                raise FormatError("A part of scikit-learn's lacks an array.")


def _nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every JSON object that skops would take for a node."""
    pending: list[tuple[Any, int]] = [(schema, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise FormatError("A part of scikit-learn's is nested too deeply.")
        if isinstance(value, dict):
            if "__loader__" in value:
                yield value
            pending.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            pending.extend((item, depth + 1) for item in value)
