"""Columns of different kinds side by side: functions applied to one kind at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsk.vae._likelihoods import LIKELIHOODS, Likelihood

Block = tuple[str, int]


class _Part(NamedTuple):
    """Columns with one likelihood, as they lie when columns are sorted by it.

    Attributes
    ----------
    likelihood : Likelihood
    columns : slice
    n_levels : int or None
        Columns of each variable, where these depend on each other.
    """

    likelihood: Likelihood
    columns: slice
    n_levels: int | None

    def of(self, values: Tensor) -> Tensor:
        some = values[..., self.columns]
        return (
            some if self.n_levels is None else some.unflatten(-1, (-1, self.n_levels))
        )

    def joined(self, results: Tensor) -> Tensor:
        return results if self.n_levels is None else results.flatten(-2)


class Blocks:
    """Blocks of columns, each with the name of a likelihood.

    Parameters
    ----------
    blocks : sequence of (str, int)
        In the order of the columns: a name in `LIKELIHOODS`, and how many columns. A
        block of "categorical" is one variable, with a column for each of its levels;
        in other blocks every column is a variable.

    Attributes
    ----------
    variables : Tensor of shape (n_columns,), dtype int64
        Number of the variable that each column belongs to.

    Examples
    --------
    >>> blocks = Blocks([("gaussian", 1), ("categorical", 2), ("gaussian", 1)])
    >>> blocks.n_variables, blocks.variables.tolist()
    (3, [0, 1, 1, 2])
    >>> output = torch.tensor([[3.0, 0.0, 0.0, 5.0]])
    >>> blocks.apply(lambda likelihood, output: likelihood.mean(output), output)
    tensor([[3.0000, 0.5000, 0.5000, 5.0000]])
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.described = [(str(kind), int(width)) for kind, width in blocks]
        self._parts, order = _sorted_by_kind(self.described)
        self._order = torch.from_numpy(order)
        self._back = torch.from_numpy(np.argsort(order))
        self._is_sorted = bool((order == np.arange(len(order))).all())
        self.variables = _variables(self.described)

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.variables)

    @property
    def n_variables(self) -> int:
        """Number of variables: a categorical one has several columns."""
        return int(self.variables[-1]) + 1

    @property
    def firsts(self) -> Tensor:
        """Place of the first column of each variable, of shape (n_variables,)."""
        steps = self.variables.diff(prepend=self.variables.new_tensor([-1]))
        return steps.nonzero()[:, 0]

    def of_support(self, support: str) -> NDArray[np.bool_]:
        """Tell which columns have a support."""
        supports = [LIKELIHOODS[kind].support for kind, _ in self.described]
        widths = [width for _, width in self.described]
        return np.repeat(np.array(supports) == support, widths)

    def apply(self, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Apply a function to the columns of each kind.

        Parameters
        ----------
        function : callable
            ``function(likelihood, *values)``, with some columns of the tensors.

        *tensors : Tensor of shape (..., n_columns), (1,) or ()
            A single value is for all columns.

        Returns
        -------
        results : Tensor of shape (..., n_columns)
        """
        per_column = [t.ndim > 0 and t.shape[-1] == self.n_columns for t in tensors]
        grouped = [
            self._moved(tensor, self._order) if is_long else tensor
            for tensor, is_long in zip(tensors, per_column, strict=True)
        ]
        results = []
        for part in self._parts:
            values = [
                part.of(tensor) if is_long else tensor
                for tensor, is_long in zip(grouped, per_column, strict=True)
            ]
            results.append(part.joined(function(part.likelihood, *values)))
        return self._moved(torch.cat(results, dim=-1), self._back)

    def _moved(self, values: Tensor, order: Tensor) -> Tensor:
        if self._is_sorted:
            return values
        return values.index_select(-1, order.to(values.device))


def _sorted_by_kind(
    blocks: Sequence[Block],
) -> tuple[list[_Part], NDArray[np.int64]]:
    """Return the columns of each kind, and all columns in the order of kinds."""
    starts = np.cumsum([0, *(width for _, width in blocks)])
    groups: dict[tuple[str, int | None], list[int]] = {}
    for (kind, width), start in zip(blocks, starts, strict=False):
        n_levels = None if LIKELIHOODS[kind].cells is None else width
        groups.setdefault((kind, n_levels), []).extend(range(start, start + width))
    parts, start = [], 0
    for (kind, n_levels), columns in groups.items():
        stop = start + len(columns)
        parts.append(_Part(LIKELIHOODS[kind], slice(start, stop), n_levels))
        start = stop
    return parts, np.concatenate([np.array(c, np.int64) for c in groups.values()])


def _variables(blocks: Sequence[Block]) -> Tensor:
    """Return the number of the variable that each column belongs to."""
    widths = []
    for kind, width in blocks:
        is_one = LIKELIHOODS[kind].cells is not None
        widths += [width] if is_one else [1] * width
    return torch.arange(len(widths)).repeat_interleave(torch.tensor(widths))
