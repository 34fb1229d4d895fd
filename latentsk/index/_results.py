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


def recall_frame(recalls: Float64) -> pd.DataFrame:
    """Return a table of `recall_table` by numbers of neighbours."""
    index = pd.Index(recalls[:, 0].astype(int), name="n_neighbors")
    return pd.DataFrame(recalls[:, 1:], index, columns=["recall", "lower", "upper"])
