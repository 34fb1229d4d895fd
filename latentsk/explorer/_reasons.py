"""Why rows have their scores: the largest reasons of each, and all of some."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._columns import column_names
from latentsk._device import array_to_numpy
from latentsk._typing import Float64
from latentsk.explorer._columns import as_text
from latentsk.explorer._encoding import rounded, smallest
from latentsk.explorer._model import last_step
from latentsk.explorer._pictures import flat_rows

N_LARGEST = 5
CELLS_AT_ONCE = 2_000_000
# A contribution below this share of a row's largest one counts as 0, where all are
# shown: zeros take no room.
IMMATERIAL = 0.002
# Of fractions: a value is shown with more digits than what was expected.
BITS = {"value": 20, "expected": 11}
EXPECTED = ("reconstructed", "nearest_1")


@dataclass(frozen=True)
class Reasons:
    """Contributions to the scores of some rows.

    Attributes
    ----------
    names : list of str
        Names of the features.

    contributions : ndarray of shape (n_rows, n_features)

    values, expected : ndarray of shape (n_rows, n_features) or None
        Cells, and what the latent space or the nearest normal row has there.
    """

    names: list[str]
    contributions: Float64
    values: NDArray[Any] | None
    expected: NDArray[Any] | None


def explain_rows(scorer: Any, X: Any, rows: NDArray[np.int64]) -> Reasons | None:
    """Return the reasons of some rows, by public methods; None if there are none.

    By `explain`, else `score_contributions`; what these refuse, as that of a score that
    is no sum over features, has no reasons.
    """
    chosen = _safe_indexing(X, rows)
    try:
        if hasattr(scorer, "explain"):
            return _of_table(scorer.explain(chosen), len(rows))
        if hasattr(scorer, "score_contributions"):
            return _of_contributions(scorer, chosen)
    except (ValueError, NotImplementedError):
        return None
    return None


def _of_table(table: pd.DataFrame, n_rows: int) -> Reasons:
    names = table.index.get_level_values(-1)[: len(table) // n_rows]

    def matrix(name: str) -> NDArray[Any]:
        return table[name].to_numpy().reshape(n_rows, -1)

    expected = next((matrix(name) for name in EXPECTED if name in table), None)
    return Reasons(
        [as_text(name) for name in names],
        matrix("contribution").astype(np.float64),
        matrix("value") if "value" in table else None,
        expected,
    )


def _of_contributions(scorer: Any, X: Any) -> Reasons:
    # Images are laid out as X is; reasons, as all that is shown of pixels, are flat.
    shape = getattr(last_step(scorer), "input_shape_", None)
    contributions = flat_rows(array_to_numpy(scorer.score_contributions(X)), shape)
    n_features = contributions.shape[1]

    def matrix(cells: Any) -> NDArray[Any] | None:
        cells = flat_rows(cells, shape)
        return cells if cells.shape == contributions.shape else None

    expected = matrix(scorer.reconstruct(X)) if hasattr(scorer, "reconstruct") else None
    names = column_names(X)
    if names is None or len(names) != n_features:
        names = [f"x{j}" for j in range(n_features)]
    return Reasons([as_text(n) for n in names], contributions, matrix(X), expected)


def blocks_of(n_rows: int, n_features: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows, not too many at once.

    Examples
    --------
    >>> [block.tolist() for block in blocks_of(3, 1_000_000)]
    [[0, 1], [2]]
    """
    size = max(1, CELLS_AT_ONCE // max(1, n_features))
    for start in range(0, n_rows, size):
        yield np.arange(start, min(start + size, n_rows))


@dataclass
class Cells:
    """Cells of features as numbers, where need be by a list of texts for each feature.

    Attributes
    ----------
    numbers_of : dict of int to dict of str to int
        For each feature that has texts: the number that stands for each.
    """

    numbers_of: dict[int, dict[str, int]]

    @property
    def texts(self) -> dict[int, list[str]]:
        """What the numbers of each feature that has texts stand for."""
        return {feature: list(texts) for feature, texts in self.numbers_of.items()}

    def numbers(self, cells: NDArray[Any], features: NDArray[Any]) -> Float64:
        """Return cells as numbers.

        Parameters
        ----------
        cells : ndarray
            Of any dtype.

        features : ndarray of the same shape
            The feature of each.

        Examples
        --------
        >>> known = Cells({})
        >>> known.numbers(np.array([1.5, "a", "b"], object), np.array([0, 1, 1]))
        array([1.5, 0. , 1. ])
        >>> known.texts
        {1: ['a', 'b']}
        """
        if cells.dtype.kind in "fiub":
            return cells.astype(np.float64)
        found = np.empty(cells.size)
        places = features.ravel().tolist()
        for at, (cell, feature) in enumerate(zip(cells.ravel(), places, strict=True)):
            found[at] = self._number(cell, feature)
        return found.reshape(cells.shape)

    def _number(self, cell: Any, feature: int) -> float:
        is_number = isinstance(cell, int | float | np.number) and not isinstance(
            cell, bool
        )
        if is_number and feature not in self.numbers_of:
            return float(cell)
        if pd.api.types.is_scalar(cell) and pd.isna(cell):
            return float("nan")
        texts = self.numbers_of.setdefault(feature, {})
        return float(texts.setdefault(as_text(cell), len(texts)))


@dataclass(frozen=True)
class LargestReasons:
    """The five largest reasons of every row.

    Attributes
    ----------
    names : list of str

    arrays : dict of str to ndarray of shape (n_rows, 5)
        "feature" (number), "contribution", "value" and "expected".
    """

    names: list[str]
    arrays: dict[str, NDArray[Any]]


def largest_reasons(scorer: Any, X: Any, cells: Cells) -> LargestReasons | None:
    """Return the largest reasons of all rows, those that lower the score first."""
    first = explain_rows(scorer, X, np.arange(1))
    if first is None:
        return None
    parts: list[dict[str, NDArray[Any]]] = []
    for rows in blocks_of(_num_samples(X), len(first.names)):
        reasons = explain_rows(scorer, X, rows)
        if reasons is None or reasons.names != first.names:
            return None
        parts.append(_largest(reasons, cells))
    arrays = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    return LargestReasons(first.names, arrays)


def _largest(reasons: Reasons, cells: Cells) -> dict[str, NDArray[Any]]:
    """Return the reasons that lower the score of each row most."""
    n = min(N_LARGEST, len(reasons.names))
    contributions = reasons.contributions
    some = np.argpartition(contributions, n - 1, axis=1)[:, :n]
    order = np.argsort(np.take_along_axis(contributions, some, 1), 1, kind="stable")
    features = np.take_along_axis(some, order, 1)
    found = {
        "feature": smallest(features),
        "contribution": rounded(np.take_along_axis(contributions, features, 1)),
    }
    for name, matrix in (("value", reasons.values), ("expected", reasons.expected)):
        if matrix is not None:
            chosen = np.take_along_axis(matrix, features, 1)
            found[name] = rounded(cells.numbers(chosen, features), BITS[name])
    return found


def all_reasons(
    scorer: Any,
    X: Any,
    rows: NDArray[np.int64],
    cells: Cells,
    *,
    has_values: bool = True,
) -> dict[str, NDArray[Any]] | None:
    """Return every reason of some rows: "contribution", "value" and "expected".

    Parameters
    ----------
    scorer : fitted object

    X : array-like
        All rows.

    rows : ndarray of shape (n_rows,)
        Those to explain.

    cells : Cells

    has_values : bool, default=True
        Whether to return "value" and "expected", which pictures show, too.
    """
    first = None if len(rows) == 0 else explain_rows(scorer, X, rows[:1])
    if first is None:
        return None
    parts = []
    for block in blocks_of(len(rows), len(first.names)):
        reasons = explain_rows(scorer, X, rows[block])
        if reasons is None:
            return None
        parts.append(_every(reasons, cells, has_values))
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _every(reasons: Reasons, cells: Cells, has_values: bool) -> dict[str, Any]:
    found = {"contribution": rounded(_material(reasons.contributions), 7)}
    if not has_values:
        return found
    shape = reasons.contributions.shape
    features = np.broadcast_to(np.arange(shape[1]), shape)
    for name, matrix in (("value", reasons.values), ("expected", reasons.expected)):
        if matrix is not None:
            found[name] = rounded(cells.numbers(matrix, features), BITS[name])
    return found


def _material(contributions: Float64) -> Float64:
    """Return contributions without those that are nothing beside the largest.

    Examples
    --------
    >>> _material(np.array([[-1.0, 0.0001]]))
    array([[-1.,  0.]])
    """
    sizes = np.abs(contributions)
    least = IMMATERIAL * sizes.max(axis=1, keepdims=True, initial=0.0)
    return np.where(sizes < least, 0.0, contributions)
