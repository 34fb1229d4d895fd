"""Python values as JSON and plain arrays, and back: a closed set of kinds.

JSON's own values stand for themselves. All else is a JSON object of one key, a tag that
says what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from latentsk.exceptions import FormatError
from latentsk.persistence._columns import decode_column, encode_column
from latentsk.persistence._tables import decode_frame, encode_frame

# What `save` writes is not nested as deeply.
MAX_DEPTH = 100
_PLAIN = (bool, int, float, str, type(None))

# What encodes, or decodes, anything else: of a value and its name, or of a tagged
# document and its depth.
Encode: TypeAlias = Callable[[Any, str], Any]
Decode: TypeAlias = Callable[[dict[str, Any], int], Any]


class ArrayStore:
    """Arrays by name, each put once and taken once.

    Parameters
    ----------
    arrays : mapping of str to ndarray, optional
        Of a file that is read.

    Examples
    --------
    >>> store = ArrayStore()
    >>> store.put("mean", np.zeros(2))
    'mean'
    >>> store.take("mean"), store.arrays
    (array([0., 0.]), {})
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        self.arrays: dict[str, NDArray[Any]] = dict(arrays or {})

    def put(self, name: str, array: NDArray[Any]) -> str:
        """Keep an array, and return its name: the one given if that is free."""
        while name in self.arrays:
            name += "'"
        self.arrays[name] = array
        return name

    def take(self, name: Any) -> NDArray[Any]:
        """Return an array, which is then gone."""
        if not isinstance(name, str) or name not in self.arrays:
            raise FormatError("The file is altered: an array is missing.")
        return self.arrays.pop(name)


def refuse_value(value: Any, name: str) -> Any:
    """Refuse a value of no known kind.

    Raises
    ------
    TypeError
    """
    raise TypeError(
        f"{name} cannot be stored: it is of type {type(value).__name__}. Set it to "
        "numbers, strings, arrays or None, or use joblib."
    )


def refuse_document(document: Any, depth: int = 0) -> Any:
    """Refuse a document of no known kind.

    Raises
    ------
    FormatError
    """
    raise FormatError("The file is altered: a value is of an unknown kind.")


def _is_pair(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and type(item[0]) in (str, int)


def encode_value(
    value: Any, name: str, store: ArrayStore, other: Encode = refuse_value
) -> Any:
    """Return a value as JSON; its arrays go to the store.

    Parameters
    ----------
    value : object
        None, bool, int, float, str, a numpy scalar, an ndarray, a pandas array, a
        DataFrame, a slice; a list, a tuple or a dict of these whose keys are str or
        int.

    name : str
        Leads the names of its arrays.

    store : ArrayStore

    other : callable, default=refuse_value
        Encodes, with its name, what is nothing of these.

    Returns
    -------
    document : JSON-able

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> encode_value((1, None), "x", ArrayStore())
    {'tuple': [1, None]}
    >>> encode_value({"mean": np.zeros(2)}, "x", ArrayStore())
    {'dict': {'mean': {'array': 'x/mean'}}}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in _PLAIN:
        return value
    if type(value) in (list, tuple):
        items = [
            encode_value(item, f"{name}/{i}", store, other)
            for i, item in enumerate(value)
        ]
        return items if isinstance(value, list) else {"tuple": items}
    if type(value) is dict and all(type(key) is str for key in value):
        pairs = value.items()
        return {
            "dict": {k: encode_value(v, f"{name}/{k}", store, other) for k, v in pairs}
        }
    if type(value) is dict and all(type(key) in (str, int) for key in value):
        # Columns by name or position, say; the keys of JSON are strings.
        pairs = value.items()
        return {
            "pairs": [
                [k, encode_value(v, f"{name}/{i}", store, other)]
                for i, (k, v) in enumerate(pairs)
            ]
        }
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        if value.flags.f_contiguous and not value.flags.c_contiguous:
            # In its own order, or sums over it would be rounded in another way.
            return {"transposed": store.put(name, value.T)}
        return {"array": store.put(name, value)}
    if isinstance(value, pd.DataFrame):
        return {"table": encode_value(encode_frame(value), name, store)}
    if isinstance(value, np.ndarray | ExtensionArray):
        return {"column": encode_value(encode_column(value), name, store)}
    if type(value) is slice:
        limits = value.start, value.stop, value.step
        return {"slice": [encode_value(n, name, store, other) for n in limits]}
    return other(value, name)


def decode_value(
    document: Any, store: ArrayStore, other: Decode = refuse_document, depth: int = 0
) -> Any:
    """Return the value that :func:`encode_value` was given.

    Parameters
    ----------
    document : JSON value

    store : ArrayStore
        Its arrays, which are taken out.

    other : callable, default=refuse_document
        Decodes, at its depth, what has another tag.

    depth : int, default=0
        Values around it.

    Returns
    -------
    value : object

    Raises
    ------
    FormatError
        If this is not what `encode_value` returns.

    Examples
    --------
    >>> decode_value({"tuple": [1, None]}, ArrayStore())
    (1, None)
    """
    if depth > MAX_DEPTH:
        raise FormatError("The file is altered: values are nested too deeply.")
    if type(document) in _PLAIN:
        return document

    def decoded(part: Any) -> Any:
        return decode_value(part, store, other, depth + 1)

    if isinstance(document, list):
        return [decoded(item) for item in document]
    if len(document) != 1:
        return refuse_document(document)
    match document:
        case {"tuple": list(items)}:
            return tuple(decoded(item) for item in items)
        case {"dict": dict(items)}:
            return {key: decoded(item) for key, item in items.items()}
        case {"pairs": list(items)} if all(map(_is_pair, items)):
            return {key: decoded(item) for key, item in items}
        case {"array": name}:
            return store.take(name)
        case {"transposed": name}:
            return store.take(name).T
        case {"table": content}:
            return decode_frame(decoded(content))
        case {"column": content}:
            return decode_column(decoded(content))
        case {"slice": [start, stop, step]}:
            return slice(decoded(start), decoded(stop), decoded(step))
    return other(document, depth + 1)
