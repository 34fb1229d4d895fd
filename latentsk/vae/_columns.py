"""What each column of a table is to a model: modelled or given, numbers or levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk._columns import column_names, columns_of, is_table
from latentsk._remedies import encoding_beside, listed
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import (
    either,
    flag,
    list_of,
    maybe,
    number,
    text,
)
from latentsk.preprocessing._category_encoder import labels_of

CATEGORICAL = "categorical"
_LEVEL = either(text(), flag(), number())


@storable()
class Column(NamedTuple):
    """What a column is to a model.

    Attributes
    ----------
    label : str
        Its name, or "x3" of the fourth column of what is no table.
    likelihood : str or None
        Name of its distribution given the latent coordinates; None: the column is a
        condition, or all columns follow one distribution.
    is_condition : bool
        Whether it is given, and not modelled.
    levels : list of str or None
        Labels of its categories; None of numbers.
    values : list or None
        What a table holds for each of them.
    shares : list of float or None
        Share of the training rows that has each of them.
    """

    label: Annotated[str, text()]
    likelihood: Annotated[str | None, maybe(text())] = None
    is_condition: Annotated[bool, flag()] = False
    levels: Annotated[list[str] | None, maybe(list_of(text()))] = None
    values: Annotated[list[Any] | None, maybe(list_of(_LEVEL))] = None
    shares: Annotated[list[float] | None, maybe(list_of(number(0, 1)))] = None

    @property
    def width(self) -> int:
        """Numbers that the network sees of it."""
        return 1 if self.levels is None else len(self.levels)


def condition_positions(condition: Any, X: Any) -> list[int]:
    """Return the positions of the columns that are conditions, in ascending order.

    Parameters
    ----------
    condition : str, int or sequence of them
        Names of columns, or positions.

    X : array-like of shape (n_rows, n_columns)

    Raises
    ------
    TypeError, ValueError
        If there is no such column, one is named twice, or none is left to be modelled.

    Examples
    --------
    >>> condition_positions(["season"], pd.DataFrame({"season": ["a"], "n": [1.0]}))
    [0]
    >>> condition_positions([-1], np.zeros((1, 3)))
    [2]
    """
    single = isinstance(condition, str | Integral)
    entries = [condition] if single else list(condition)
    named = [entry for entry in entries if isinstance(entry, str)]
    in_pipeline = (
        f" In a Pipeline, let the step before keep it: {encoding_beside(named)}."
    )
    positions = [position_of(entry, X, "condition", in_pipeline) for entry in entries]
    if len(set(positions)) < len(positions):
        raise ValueError(f"condition names a column twice: {entries!r}.")
    n_columns = X.shape[1]
    if len(positions) == n_columns:
        raise ValueError(
            f"condition={entries!r} names every column of X: no column is left to be "
            "modelled."
        )
    return sorted(positions)


def position_of(entry: Any, X: Any, parameter: str, in_pipeline: str = "") -> int:
    """Return the position of a column, by its name or by the position itself.

    Parameters
    ----------
    entry : str or int

    X : array-like of shape (n_rows, n_columns)

    parameter : str
        What a message calls it that names the column.

    in_pipeline : str, default=""
        What a message adds where a step before seems to have renamed the columns.

    Raises
    ------
    TypeError, ValueError
    """
    names, n_columns = column_names(X), X.shape[1]
    if isinstance(entry, str):
        if names is None:
            raise ValueError(
                f"{parameter} names column {entry!r}, but X has no column names. Give "
                "X as a DataFrame whose columns all have strings as names, or the "
                f"position of the column.{in_pipeline}"
            )
        if entry not in names:
            is_renamed = any(f"__{entry}" in name for name in names)
            raise ValueError(
                f"{parameter} names column {entry!r}, which X does not have. X has "
                f"{listed(names)}.{in_pipeline if is_renamed else ''}"
            )
        return names.index(entry)
    if isinstance(entry, bool | np.bool_) or not isinstance(entry, Integral):
        raise TypeError(
            f"{parameter} must hold names or positions of columns, got {entry!r}."
        )
    if not -n_columns <= entry < n_columns:
        raise ValueError(
            f"{parameter} has position {entry}, but X has {n_columns} columns."
        )
    return int(entry) % n_columns


def learned_columns(
    X: Any,
    conditions: Sequence[int],
    likelihoods: Mapping[int, str] | None,
    *,
    declared: bool = False,
) -> list[Column]:
    """Tell what the columns of training rows are.

    Parameters
    ----------
    X : array or table of shape (n_rows, n_columns)

    conditions : sequence of int
        Positions of the columns that are given.

    likelihoods : mapping of int to str, or None
        By positions of columns; those left out get "categorical" if they hold strings,
        "bernoulli" if they hold zeros and ones, else "gaussian". None: one distribution
        is for all, which are numbers.

    declared : bool, default=False
        Whether categories that a table of pandas declares count as levels even where
        the rows have none of them.

    Returns
    -------
    columns : list of Column

    Raises
    ------
    TypeError, ValueError
        If strings are in an array, or all cells of a modelled column are missing.

    Examples
    --------
    >>> X = pd.DataFrame({"season": ["b", "a", "b", "b"], "n": [1.0, 2.0, 2.5, 3.0]})
    >>> for column in learned_columns(X, [0], None):
    ...     print(column.label, column.is_condition, column.levels, column.shares)
    season True ['a', 'b'] [0.25, 0.75]
    n False None None
    """
    found = []
    for position, (label, cells) in enumerate(columns_of(X)):
        is_condition = position in conditions
        likelihood = None
        if not is_condition and pd.isna(cells).all():
            raise ValueError(
                f"All cells of column {str(label)!r} are missing. Leave the column out."
            )
        holds_levels = _holds_levels(X, position, cells)
        if likelihoods is not None and not is_condition:
            likelihood = likelihoods.get(position) or _likelihood_of(
                cells, holds_levels
            )
        is_categorical = likelihood == CATEGORICAL or (is_condition and holds_levels)
        if holds_levels and not is_table(X):
            raise ValueError(
                f"Column {str(label)!r} holds strings, and X is no table. Give X as a "
                "DataFrame."
            )
        column = Column(str(label), likelihood, is_condition)
        if is_categorical:
            known = _declared(X, position) if declared else None
            column = _with_levels(column, cells, known)
        found.append(column)
    return found


def _holds_levels(X: Any, position: int, cells: NDArray[Any]) -> bool:
    """Tell whether a column holds categories: strings, or what is declared as such."""
    if _declared(X, position) is not None:
        return True
    if cells.dtype.kind in "fiub":
        return False
    if cells.dtype.kind != "O":
        return cells.dtype.kind in "US"
    return any(isinstance(cell, str | bytes) for cell in cells)


def _declared(X: Any, position: int) -> NDArray[Any] | None:
    """Return the categories that a column of pandas declares."""
    if not isinstance(X, pd.DataFrame):
        return None
    dtype = X.dtypes.iloc[position]
    if not isinstance(dtype, pd.CategoricalDtype):
        return None
    return np.asarray(dtype.categories, dtype=object)


def _likelihood_of(cells: NDArray[Any], holds_levels: bool) -> str:
    if holds_levels:
        return CATEGORICAL
    known = pd.Series(cells).dropna()
    return "bernoulli" if known.isin([0, 1]).all() else "gaussian"


def _with_levels(
    column: Column, cells: NDArray[Any], declared: NDArray[Any] | None
) -> Column:
    """Return a column with the categories of its cells, in the order of their labels.

    Raises
    ------
    TypeError, ValueError
    """
    try:
        labels = labels_of(cells)
    except TypeError as error:
        raise TypeError(
            "A category must be a string or a number, but column "
            f"{column.label!r} holds {error}. Join its parts to a string or leave the "
            "column out."
        ) from error
    is_known = labels == labels
    levels, first, counts = np.unique(
        labels[is_known].astype(str), return_index=True, return_counts=True
    )
    values = [_plain(value) for value in cells[is_known][first]]
    shares = counts / counts.sum()
    known = dict(zip(levels, zip(values, shares, strict=True), strict=True))
    for value in () if declared is None else declared:
        known.setdefault(
            str(labels_of(np.array([value], object))[0]), (_plain(value), 0.0)
        )
    ordered = sorted(known.items())
    return column._replace(
        levels=[str(level) for level, _ in ordered],
        values=[value for _, (value, _) in ordered],
        shares=[float(share) for _, (_, share) in ordered],
    )


def _plain(value: Any) -> Any:
    """Return what a file can hold: a string, a boolean or a number of Python."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, bool | int | float | str | Real) else str(value)
