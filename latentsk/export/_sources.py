"""What a step takes: columns of X, or numbers that another step has made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

import torch
from torch import nn

from latentsk.embedders._onnx import DTYPES
from latentsk.export._modules import TakeAll, TakeColumns, TakeInputs, TakeNumbers

# What an input of the file is: numbers of its dtype, strings, nanoseconds since 1970.
NUMBER, TEXT, DATE = "number", "string", "date"
# What stands for a missing string: a tensor of strings has no other way.
MISSING = ""
# The code of strings that were not there in the fit.
UNKNOWN = 0


class GraphInput(NamedTuple):
    """A tensor that enters the graph of torch.

    Attributes
    ----------
    column : int
        Position of the column of X that it comes from.
    kind : {"number", "string", "date"}
    codes : dict of str to int
        Of a string: the integers that enter in its place; all others are UNKNOWN.
    """

    column: int
    kind: str
    codes: dict[str, int]


@dataclass
class Inputs:
    """The inputs of a graph, added to as steps ask for columns of X.

    Attributes
    ----------
    names : list of str
        Of the columns of X.
    dtype : {"float32", "float64"}
        Of numbers.
    entries : list of GraphInput
    """

    names: list[str]
    dtype: str
    entries: list[GraphInput] = field(default_factory=list)

    @property
    def is_matrix(self) -> bool:
        """Whether all inputs are numbers, so that X is one matrix of them."""
        return all(entry.kind == NUMBER for entry in self.entries)

    def add(self, column: int, kind: str, codes: dict[str, int]) -> int:
        """Return the position of an input, which is added where it is not there."""
        for entry in self.entries:
            if entry.column == column and entry.kind != kind:
                raise ValueError(
                    f"Column {self.names[column]!r} is taken as a {entry.kind} by one "
                    f"step and as a {kind} by another, and an input of an ONNX file "
                    "has one type. Give the second step a copy of the column."
                )
        entry = GraphInput(column, kind, codes)
        if entry not in self.entries:
            self.entries.append(entry)
        return self.entries.index(entry)


@dataclass(frozen=True)
class Columns:
    """Some columns of X as they enter the graph.

    Attributes
    ----------
    inputs : Inputs
    positions : tuple of int
        Of the columns of X.
    fills : tuple of (str or None)
        What a missing string becomes, for each column.
    """

    inputs: Inputs
    positions: tuple[int, ...]
    fills: tuple[str | None, ...]

    @classmethod
    def of(cls, inputs: Inputs) -> Columns:
        """Return all columns."""
        n_columns = len(inputs.names)
        return cls(inputs, tuple(range(n_columns)), (None,) * n_columns)

    @property
    def n_columns(self) -> int:
        """Number of the columns."""
        return len(self.positions)

    @property
    def dtype(self) -> str:
        """Type of their numbers."""
        return self.inputs.dtype

    def take(self, some: Sequence[int]) -> Columns:
        """Return the columns at some of the positions."""
        return replace(
            self,
            positions=tuple(self.positions[i] for i in some),
            fills=tuple(self.fills[i] for i in some),
        )

    def filled(self, fills: Sequence[str]) -> Columns:
        """Return the columns with strings in place of missing ones."""
        kept = (old or new for old, new in zip(self.fills, fills, strict=True))
        return replace(self, fills=tuple(kept))

    def name(self, i: int) -> str:
        """Return the name of a column."""
        return self.inputs.names[self.positions[i]]

    def numbers(self) -> nn.Module:
        """Return the module that makes one matrix of the columns, as numbers."""
        for i, fill in enumerate(self.fills):
            if fill is not None:
                raise ValueError(
                    f"SimpleImputer cannot be exported to ONNX: it fills strings into "
                    f"column {self.name(i)!r}, and no encoder follows. Let a "
                    "OneHotEncoder be the next step."
                )
        found = [self.inputs.add(j, NUMBER, {}) for j in self.positions]
        if self.positions == tuple(range(len(self.inputs.names))):
            return TakeAll(found)
        return TakeNumbers(found, self.positions)

    def codes(self, i: int, strings: Sequence[str | None]) -> int:
        """Return the input whose codes are the positions of strings, from 1 on.

        None stands for a missing string.
        """
        codes = {s: k for k, s in enumerate(strings, 1) if s is not None}
        missing = self.fills[i]
        if missing is None and MISSING in codes and None in strings:
            raise ValueError(
                f"Column {self.name(i)!r} has empty strings besides missing values, "
                "and in an ONNX file an empty string is a missing one. Replace one of "
                "the two before the fit."
            )
        if missing is not None:
            codes[MISSING] = codes.get(missing, UNKNOWN)
        elif None in strings:
            codes[MISSING] = list(strings).index(None) + 1
        return self.inputs.add(self.positions[i], TEXT, codes)

    def dates(self) -> nn.Module:
        """Return the module that makes one matrix of the columns, as nanoseconds."""
        return TakeInputs([self.inputs.add(j, DATE, {}) for j in self.positions])


@dataclass(frozen=True)
class Numbers:
    """Numbers that a step returns.

    Attributes
    ----------
    n_columns : int
    dtype : {"float32", "float64"}
    """

    n_columns: int
    dtype: str

    def take(self, some: Sequence[int]) -> Numbers:
        """Return some of the columns."""
        return replace(self, n_columns=len(some))


Source: TypeAlias = Columns | Numbers


class Stage(NamedTuple):
    """A step of a graph, and what it returns.

    Attributes
    ----------
    module : nn.Module
        Takes what the source of the step is at run time: a tuple with a tensor for each
        input, or the matrix X, of columns; a matrix of numbers.
    source : Source
        Of the next step.
    """

    module: nn.Module
    source: Source


def as_numbers(source: Source) -> Stage:
    """Return the columns of a source as a matrix of numbers."""
    if isinstance(source, Numbers):
        return Stage(nn.Identity(), source)
    return Stage(source.numbers(), Numbers(source.n_columns, source.dtype))


def select(source: Source, some: Sequence[int]) -> Stage:
    """Return some of the columns of a source."""
    if isinstance(source, Columns):
        return Stage(nn.Identity(), source.take(some))
    return Stage(TakeColumns(some), source.take(some))


def torch_dtype(source: Source) -> torch.dtype:
    """Return the type of the numbers of a source."""
    return DTYPES[source.dtype]
