"""Tables of numbers as a network takes them, and back, as a graph of torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentsk._remedies import listed
from latentsk.vae._table import TableLayout


class TableGraph(nn.Module):
    """The layout of a table whose cells are all numbers.

    Parameters
    ----------
    layout : TableLayout

    Raises
    ------
    ValueError
        If a column holds strings, which a graph of numbers does not take.

    Examples
    --------
    >>> import numpy as np
    >>> from latentsk.vae._table import learned_layout
    >>> X = np.array([[3.0, 1.0], [5.0, 0.0]])
    >>> graph = TableGraph(learned_layout(X, [0], {1: "categorical"}))
    >>> coded = graph(torch.tensor(X))
    >>> coded
    tensor([[0., 1., 3.],
            [1., 0., 5.]], dtype=torch.float64)
    >>> graph.rows(coded[:, :2], torch.tensor(X))
    tensor([[3., 1.],
            [5., 0.]], dtype=torch.float64)
    """

    effects: Tensor
    origin: Tensor

    def __init__(self, layout: TableLayout) -> None:
        super().__init__()
        named = [
            column.label
            for column in layout.columns
            if any(isinstance(value, str) for value in column.values or ())
        ]
        if named:
            raise ValueError(
                "ONNX export of this model takes numbers only, but columns "
                f"{listed(named)} hold strings. Fit it on numbers for them, such as "
                "those of an OrdinalEncoder, given as pandas categories."
            )
        self.layout = layout
        self.has_trend = layout.trend is not None
        for name, array in (
            () if layout.trend is None else layout.trend._asdict().items()
        ):
            self.register_buffer(name, torch.tensor(array, dtype=torch.float64))
        for position, column in enumerate(layout.columns):
            for name in ("values", "shares"):
                numbers = getattr(column, name)
                if numbers is not None:
                    tensor = torch.tensor(numbers, dtype=torch.float64)
                    self.register_buffer(f"{name}_{position}", tensor)

    def forward(self, X: Tensor) -> Tensor:
        """Return coded rows, in the dtype of the table."""
        layout = self.layout
        order = [*layout.modelled, *layout.conditions]
        rows = torch.cat([self._coded(X, position) for position in order], dim=1)
        conditions = rows[:, layout.n_modelled :]
        modelled = rows[:, : layout.n_modelled] - self._trend(conditions)
        return torch.cat([modelled.to(X.dtype), conditions], dim=1)

    def _trend(self, conditions: Tensor) -> Tensor | float:
        if not self.has_trend:
            return 0.0
        return (conditions.double() - self.origin) @ self.effects

    def _coded(self, X: Tensor, position: int) -> Tensor:
        column, cells = self.layout.columns[position], X[:, position : position + 1]
        if column.levels is None:
            return cells
        ones = (cells == self.get_buffer(f"values_{position}").to(X.dtype)).to(X.dtype)
        if not column.is_condition:
            return torch.where(torch.isnan(cells), cells, ones)
        is_known = ones.sum(dim=1, keepdim=True) > 0
        shares = self.get_buffer(f"shares_{position}").to(X.dtype)
        return torch.where(is_known, ones, shares.expand_as(ones))

    def rows(self, modelled: Tensor, X: Tensor) -> Tensor:
        """Return a table of modelled columns, and of conditions as they were."""
        given = [self._coded(X, position) for position in self.layout.conditions]
        if given:
            modelled = modelled + self._trend(torch.cat(given, dim=1))
        columns = []
        for position, column in enumerate(self.layout.columns):
            if column.is_condition:
                cells = X[:, position]
            else:
                places = self.layout.places(position)
                cells = modelled[:, int(places[0])]
                if column.levels is not None:
                    part = modelled[:, int(places[0]) : int(places[-1]) + 1]
                    cells = self.get_buffer(f"values_{position}")[part.argmax(dim=1)]
            columns.append(cells.to(modelled.dtype))
        return torch.stack(columns, dim=1)
