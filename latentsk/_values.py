"""Python values as JSON and plain arrays, and back: a closed set of kinds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from latentsk._tables import decode_column, decode_frame, encode_column, encode_frame
from latentsk.exceptions import FormatError

# Values deeper than this were not written here.
MAX_DEPTH = 20
_PLAIN = (bool, int, float, str, type(None))


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
    >>> store.take("mean"), store.left()
    (array([0., 0.]), [])
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        self.arrays: dict[str, NDArray[Any]] = dict(arrays or {})
        self._names = sorted(self.arrays)

    def put(self, name: str, array: NDArray[Any]) -> str:
        """Keep an array, and return its name."""
        assert name not in self.arrays, name
        self.arrays[name] = array
        return name

    def take(self, name: Any) -> NDArray[Any]:
        """Return an array, which is then gone."""
        if not isinstance(name, str) or name not in self.arrays:
            raise FormatError("The file is altered: an array is missing.")
        return self.arrays.pop(name)

    def put_group(self, prefix: str, arrays: Mapping[str, NDArray[Any]]) -> str:
        """Keep some arrays under a common prefix, and return that."""
        for name, array in arrays.items():
            self.put(f"{prefix}/{name}", array)
        return prefix

    def take_group(self, prefix: Any) -> dict[str, NDArray[Any]]:
        """Return the arrays with a prefix, by the rest of their names."""
        if not isinstance(prefix, str):
            raise FormatError("The file is altered: arrays are missing.")
        lead = f"{prefix}/"
        found = []
        for name in islice(self._names, bisect_left(self._names, lead), None):
            if not name.startswith(lead):
                break
            found.append(name)
        return {name.removeprefix(lead): self.take(name) for name in found}

    def left(self) -> list[str]:
        """Return the names of what was not taken."""
        return sorted(self.arrays)


def encode_value(value: Any, name: str, store: ArrayStore) -> Any:
    """Return a value as JSON; its arrays go to the store.

    Parameters
    ----------
    value : object
        None, bool, int, float, str, a numpy scalar, an ndarray, a pandas array, a
        DataFrame; a list, a tuple or a dict with str keys of these.

    name : str
        Leads the names of its arrays.

    store : ArrayStore

    Returns
    -------
    document : JSON-able
        JSON objects are tags, of one key: the kind.

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> encode_value((1, None), "x", ArrayStore())
    {'tuple': [1, None]}
    >>> encode_value({"mean": np.zeros(2)}, "x", ArrayStore())
    {'dict': [['mean', {'array': 'x/mean'}]]}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list | tuple):
        items = [
            encode_value(item, f"{name}/{i}", store) for i, item in enumerate(value)
        ]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict) and all(type(key) is str for key in value):
        # As pairs: JSON objects are written in the order of their keys.
        return {
            "dict": [
                [key, encode_value(item, f"{name}/{key}", store)]
                for key, item in value.items()
            ]
        }
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        if value.flags.f_contiguous and not value.flags.c_contiguous:
            # In its own order, or sums over it would be rounded in another way.
            return {"transposed": store.put(name, value.T)}
        return {"array": store.put(name, value)}
    if isinstance(value, pd.DataFrame):
        document, arrays = encode_frame(value)
        return {"frame": [document, store.put_group(name, arrays)]}
    if isinstance(value, np.ndarray | ExtensionArray):
        document, arrays = encode_column(value)
        return {"column": [document, store.put_group(name, arrays)]}
    raise TypeError(
        f"{name} cannot be stored: it is of type {type(value).__name__}. Set it to "
        "numbers, text, arrays or None, or use joblib."
    )


def decode_value(document: Any, store: ArrayStore, depth: int = 0) -> Any:
    """Return the value that :func:`encode_value` was given.

    Parameters
    ----------
    document : JSON value
    store : ArrayStore
        Its arrays, which are taken out.

    Returns
    -------
    value : object

    Raises
    ------
    FormatError
        If it is none.

    Examples
    --------
    >>> decode_value({"tuple": [1, None]}, ArrayStore())
    (1, None)
    """
    if depth > MAX_DEPTH:
        raise FormatError("The file is altered: values lie too deep.")
    if type(document) in _PLAIN:
        return document
    match document:
        case list():
            return [decode_value(item, store, depth + 1) for item in document]
        case {"tuple": list(items), **rest} if not rest:
            return tuple(decode_value(item, store, depth + 1) for item in items)
        case {"dict": list(items), **rest} if not rest:
            return dict(_pair(item, store, depth + 1) for item in items)
        case {"array": name, **rest} if not rest:
            return store.take(name)
        case {"transposed": name, **rest} if not rest:
            return store.take(name).T
        case {"frame": [dict(table), prefix], **rest} if not rest:
            return decode_frame(table, store.take_group(prefix))
        case {"column": [dict(column), prefix], **rest} if not rest:
            return decode_column(column, store.take_group(prefix))
    raise FormatError("The file is altered: a value is of no known kind.")


def _pair(item: Any, store: ArrayStore, depth: int) -> tuple[str, Any]:
    match item:
        case [str(key), value]:
            return key, decode_value(value, store, depth)
    raise FormatError("The file is altered: a value is of no known kind.")
