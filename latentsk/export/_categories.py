"""Encoders of categories: for each column, a table that its categories look up."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from torch import Tensor, nn

from latentsk.export._modules import constant
from latentsk.export._registry import cannot_export, exports
from latentsk.export._sources import (
    MISSING,
    Columns,
    Numbers,
    Source,
    Stage,
    select,
    torch_dtype,
)
from latentsk.preprocessing import CategoryEncoder

# What a text column is asked for to see what unknown categories become.
_UNSEEN = "\0 no category"


class Categories(NamedTuple):
    """The categories of a column, and what each becomes.

    Attributes
    ----------
    values : list of object
        Strings or numbers; None stands for a missing value.
    table : ndarray of shape (1 + n_values, n_out)
        First what an unknown category becomes: NaN where it is an error.
    places : ndarray of shape (n_out,), dtype intp
        Positions among the columns that the encoder returns.
    """

    values: list[Any]
    table: NDArray[Any]
    places: NDArray[Any]


class TextLookup(nn.Module):
    """What the codes of strings become."""

    def __init__(self, position: int, table: NDArray[Any]) -> None:
        super().__init__()
        self.position = position
        self.register_buffer("table", constant(table))

    def forward(self, rows: Any) -> Tensor:
        """Return a row of the table for each row."""
        return self.get_buffer("table")[rows[self.position][:, 0]]


class NumberLookup(nn.Module):
    """What numbers become that are categories."""

    def __init__(
        self, numbers: nn.Module, values: NDArray[Any], table: NDArray[Any]
    ) -> None:
        super().__init__()
        self.numbers = numbers
        self.register_buffer("values", torch.from_numpy(values))
        order = np.arange(1, len(values) + 1)
        self.register_buffer("order", constant(order, torch.int64))
        self.register_buffer("table", constant(table))
        self.has_missing = bool(np.isnan(values).any())

    def forward(self, rows: Any) -> Tensor:
        """Return a row of the table for each row."""
        cells, values = self.numbers(rows), self.get_buffer("values")
        is_value = cells == values
        if self.has_missing:
            is_value = is_value | (torch.isnan(cells) & torch.isnan(values))
        found = (is_value.to(torch.int64) * self.get_buffer("order")).sum(dim=1)
        return self.get_buffer("table")[found]


class Encoded(nn.Module):
    """The columns of all lookups, in one matrix."""

    order: Tensor

    def __init__(
        self,
        lookups: Sequence[nn.Module],
        places: Sequence[NDArray[Any]],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.lookups = nn.ModuleList(lookups)
        self.dtype = dtype
        found = np.concatenate(places)
        self.is_ordered = bool((np.diff(found) > 0).all())
        self.register_buffer("order", constant(np.argsort(found), torch.int64))

    def forward(self, rows: Any) -> Tensor:
        """Return the matrix."""
        found = torch.cat([lookup(rows) for lookup in self.lookups], dim=1)
        found = found if self.is_ordered else found.index_select(1, self.order)
        return found.to(self.dtype)


def encoded(
    step: Any, source: Source, columns: Sequence[Categories], dtype_out: Any
) -> Stage:
    """Return the stage of an encoder, given the tables of its columns."""
    lookups = [_lookup(step, source, j, found) for j, found in enumerate(columns)]
    places = [found.places for found in columns]
    dtype = "float32" if np.dtype(dtype_out) == np.float32 else "float64"
    out = Numbers(sum(map(len, places)), dtype)
    return Stage(Encoded(lookups, places, torch_dtype(out)), out)


def _lookup(step: Any, source: Source, j: int, found: Categories) -> nn.Module:
    known = [value for value in found.values if value is not None]
    if all(isinstance(value, str) for value in known):
        if not isinstance(source, Columns):
            raise cannot_export(step, "it takes strings that another step returns")
        return TextLookup(source.codes(j, found.values), found.table)
    if not all(isinstance(value, Number | np.bool_) for value in known):
        raise cannot_export(
            step,
            "its categories are neither all strings nor all numbers",
            "Make strings of them before the fit: X[column].astype(str).",
        )
    taken = select(source, [j])
    module, dtype = taken.module, np.dtype(source.dtype)
    if isinstance(taken.source, Columns):
        module = taken.source.numbers()
    values = np.array([np.nan if v is None else v for v in found.values], dtype)
    if len(np.unique(values)) < len(values):
        raise cannot_export(
            step,
            f"some of its categories are the same number in {dtype}",
            "Export with dtype='float64', or make strings of them before the fit.",
        )
    return NumberLookup(module, values, found.table)


@exports(OneHotEncoder)
def _one_hot_encoder(step: Any, source: Source) -> Stage:
    is_known = step.handle_unknown == "error"
    columns = np.repeat(np.arange(source.n_columns), step._n_features_outs)
    tables = categories_of(step, step.categories_, columns, only_known=is_known)
    return encoded(step, source, tables, step.dtype)


@exports(CategoryEncoder)
def _category_encoder(step: Any, source: Source) -> Stage:
    # It makes strings of all categories, numbers included.
    known = step.encoder_.categories_
    gaps = step._missing_columns
    tables = categories_of(step, known, step.category_columns, gaps=gaps)
    return encoded(step, source, tables, np.float64)


@exports(OrdinalEncoder)
def _ordinal_encoder(step: Any, source: Source) -> Stage:
    is_known = step.handle_unknown == "error"
    columns = np.arange(source.n_columns)
    tables = categories_of(step, step.categories_, columns, only_known=is_known)
    return encoded(step, source, tables, step.dtype)


def categories_of(
    step: Any,
    categories: Sequence[NDArray[Any]],
    columns: NDArray[Any],
    *,
    only_known: bool = False,
    gaps: Iterable[int] = (),
) -> list[Categories]:
    """Return the categories of each column of an encoder.

    What they become, and what an unknown or a missing one does, is asked of the encoder
    itself.

    Parameters
    ----------
    step : fitted encoder

    categories : sequence of ndarray
        The known ones of each column.

    columns : ndarray of shape (n_features_out,), dtype intp
        The column that each one of the output belongs to.

    only_known : bool, default=False
        Whether others are an error.

    gaps : iterable of int, default=()
        Columns that had missing values in the fit, where these are no category.

    Examples
    --------
    >>> encoder = OneHotEncoder(handle_unknown="ignore").fit([["b"], ["a"]])
    >>> (found,) = categories_of(encoder, encoder.categories_, np.array([0, 0]))
    >>> found.values, found.table
    (['a', 'b', None], array([[0., 0.],
           [1., 0.],
           [0., 1.],
           [0., 0.]]))
    """
    usual, gaps = [known[0] for known in categories], set(gaps)
    found = []
    for j, known in enumerate(categories):
        values = [None if pd.isna(value) else value for value in known]
        asked = list(known)
        if not only_known:
            asked.append(_unseen(known))
            if None not in values and (j in gaps or MISSING not in values):
                values.append(None)
                asked.insert(len(known), np.nan)
        rows = np.array([usual] * len(asked), dtype=object)
        rows[:, j] = asked
        places = np.flatnonzero(columns == j)
        table = _transformed(step, rows)[:, places]
        unknown = table[len(values) :]
        if only_known:
            unknown = np.full((1, len(places)), np.nan)
        table = np.vstack([unknown, table[: len(values)]])
        found.append(Categories(values, table, places))
    return found


def _unseen(categories: NDArray[Any]) -> Any:
    """Return a category that is none of the column's."""
    known = [value for value in categories if not pd.isna(value)]
    if all(isinstance(value, str) for value in known):
        return _UNSEEN
    return 2.0 * float(max(abs(value) for value in known)) + 1.0


def _transformed(step: Any, rows: NDArray[Any]) -> NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names, and of unknown categories
        found = step.transform(rows)
    dense = found.toarray() if issparse(found) else found
    return np.asarray(dense, np.float64)
