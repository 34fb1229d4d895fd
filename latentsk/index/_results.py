"""What the methods of an index are asked for, and what they return."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix
from sklearn.utils import _align_api_if_sparse

from latentsk._typing import Float64, Positions
from latentsk.index._query import Neighbors


def checked_distance(value: Any, name: str) -> float:
    """Return a distance that is asked for as a float.

    Raises
    ------
    TypeError, ValueError
    """
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    if not float(value) >= 0:
        raise ValueError(f"{name} must not be negative, got {value}.")
    return float(value)


def check_mode(mode: str) -> None:
    """Refuse an unknown mode of a graph.

    Raises
    ------
    ValueError
    """
    if mode not in ("connectivity", "distance"):
        raise ValueError(f"mode must be 'connectivity' or 'distance', got {mode!r}.")


def graph_of(
    distances: Float64, columns: Positions, starts: Positions, n_columns: int, mode: str
) -> csr_matrix | csr_array:
    """Return neighbours as a sparse matrix of distances, or of ones."""
    data = distances if mode == "distance" else np.ones_like(distances)
    graph = csr_array((data, columns, starts), shape=(len(starts) - 1, n_columns))
    return _align_api_if_sparse(graph)


def as_objects(arrays: list[NDArray[Any]]) -> NDArray[np.object_]:
    """Return arrays of different lengths as one array of arrays."""
    result = np.empty(len(arrays), dtype=object)
    for i, array in enumerate(arrays):
        result[i] = array
    return result


def search_table(
    names: Any, ids: NDArray[Any], found: Neighbors, value: str
) -> pd.DataFrame:
    """Return the neighbours of each query as a tidy table.

    Parameters
    ----------
    names : array-like of shape (n_queries,) or None
        Of the queries; None: their numbers.

    ids : ndarray of shape (n_rows,)
        By position.

    found : tuple of ndarrays of shape (n_queries, k)
        Values and positions; position -1 where a query has fewer than others.

    value : str
        What the values are called.

    Examples
    --------
    >>> found = np.array([[1.0, 2.0]]), np.array([[1, 0]])
    >>> search_table(["q"], np.array(["a", "b"]), found, "distance")
      query  rank id  distance
    0     q     1  b       1.0
    1     q     2  a       2.0
    """
    values, positions = found
    n_queries, k = values.shape
    names = np.arange(n_queries) if names is None else np.asarray(names)
    table = pd.DataFrame(
        {
            "query": np.repeat(names, k),
            "rank": np.tile(np.arange(1, k + 1), n_queries),
            "id": ids[positions.ravel()],
            value: values.ravel(),
        }
    )
    is_there = positions.ravel() >= 0
    return table if is_there.all() else table[is_there].reset_index(drop=True)


def with_metadata(table: pd.DataFrame, metadata: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the metadata of its rows beside it.

    A column whose name is taken gets the suffix "_metadata", until it is not.

    Examples
    --------
    >>> metadata = pd.DataFrame({"id": [1], "id_metadata": [2]})
    >>> [*with_metadata(pd.DataFrame({"id": ["a"]}), metadata)]
    ['id', 'id_metadata_metadata', 'id_metadata']
    """
    taken, names = {*table.columns, *metadata.columns}, []
    for name in metadata.columns:
        if name in table.columns:
            while name in taken:
                name = f"{name}_metadata"
            taken.add(name)
        names.append(name)
    beside = metadata.set_axis(names, axis=1).reset_index(drop=True)
    return pd.concat([table, beside], axis=1)


def check_fewer(fewer: Any) -> None:
    """Refuse an unknown way to answer with fewer rows than were asked for.

    Raises
    ------
    ValueError
    """
    if fewer not in ("error", "allow"):
        raise ValueError(f"fewer must be 'error' or 'allow', got {fewer!r}.")


def recall_frame(recalls: Float64) -> pd.DataFrame:
    """Return a table of `recall_table` by numbers of neighbours."""
    index = pd.Index(recalls[:, 0].astype(int), name="n_neighbors")
    return pd.DataFrame(recalls[:, 1:], index, columns=["recall", "lower", "upper"])
