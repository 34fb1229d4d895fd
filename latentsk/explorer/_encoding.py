"""Arrays and text as one compressed string that a script can hold."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# What the page reads: little-endian numbers.
DTYPES = {"u1", "u2", "u4", "i4", "f4", "f8"}
ALIGNMENT = 8


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a header and arrays as bytes.

    Parameters
    ----------
    header : mapping
        What JSON can say.

    arrays : mapping of str to ndarray

    Returns
    -------
    content : bytes
        Four bytes with the length of the JSON, the JSON (`header`, and in "arrays" the
        dtype, shape and offset of each), and the arrays, from the next multiple of 8
        on. The bytes of a number are apart: all first bytes of an array, all second
        ones and so on, which compresses better.

    Examples
    --------
    >>> content = pack({"n": 2}, {"scores": np.array([1.0, 2.0], np.float32)})
    >>> content[4:50].decode()
    '{"n": 2, "arrays": {"scores": ["f4", [2], 0]}}'
    """
    places, blocks, offset = {}, [], 0
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        code = f"{array.dtype.kind}{array.dtype.itemsize}"
        if code not in DTYPES:
            raise TypeError(f"{name} has dtype {array.dtype}, which no page reads.")
        places[name] = [code, list(array.shape), offset]
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        planes = little.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize)
        blocks.append(_padded(planes.T.tobytes()))
        offset += len(blocks[-1])
    text = json.dumps({**header, "arrays": places}, allow_nan=False).encode()
    start = len(text).to_bytes(4, "little") + text
    return _padded(start) + b"".join(blocks)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % ALIGNMENT)


def as_script_string(content: bytes) -> str:
    """Return bytes compressed, and in letters that mean nothing to HTML or a script.

    Examples
    --------
    >>> as_script_string(b"</script>")[:4]
    'eJyz'
    """
    return base64.b64encode(zlib.compress(content, 6)).decode("ascii")


def rounded(values: ArrayLike, bits: int = 11) -> NDArray[np.float32]:
    """Return numbers in float32, to some bits, as fewer compress better.

    Parameters
    ----------
    values : array-like

    bits : int, default=11
        Of the fraction, which has 23: the relative error is ``2**-(bits + 1)`` at most.

    Returns
    -------
    rounded : ndarray, dtype float32
        What is too large for it is the largest number there is.

    Examples
    --------
    >>> rounded([1.0, 3.14159265, np.nan])
    array([1.       , 3.1416016,       nan], dtype=float32)
    """
    largest = float(np.finfo(np.float32).max)
    exact = np.asarray(values, np.float64)
    numbers = np.clip(exact, -largest, largest).astype(np.float32)
    dropped = np.uint32(23 - bits)
    step = np.uint32(1) << dropped
    raised = numbers.view(np.uint32) + (step >> np.uint32(1))
    kept = (raised & ~(step - np.uint32(1))).view(np.float32)
    return np.where(np.isfinite(kept), kept, numbers)


def smallest(integers: ArrayLike) -> NDArray[Any]:
    """Return whole numbers from 0 on in as few bytes as hold them.

    Examples
    --------
    >>> smallest([0, 300]).dtype
    dtype('uint16')
    """
    integers = np.asarray(integers)
    most = int(integers.max(initial=0))
    fitting = (t for t in (np.uint8, np.uint16) if most <= np.iinfo(t).max)
    return integers.astype(next(fitting, np.uint32))
