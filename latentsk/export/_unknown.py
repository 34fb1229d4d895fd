"""Cells that hold a code: what the others make of them, without a solver.

ONNX has no least squares for a batch of rows with unknown cells of their own, so the
normal equations of each row are solved by elimination, a column at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from latentsk.export._modules import constant
from latentsk.outliers._gaussian import RobustGaussian

# A direction of which less is left, as a share of its square, is one of those before.
_LEAST_PIVOT = 1e-12


class FillUnknown(nn.Module):
    """Move latents to where their unknown features make them most likely.

    Parameters
    ----------
    gaussian : RobustGaussian
        With loadings.

    cells : ndarray of shape (n_cells,), dtype intp
        Features that can be unknown.

    Examples
    --------
    >>> covariance = np.array([[1.0, 0.5], [0.5, 1.0]])
    >>> variances, axes = np.linalg.eigh(covariance)
    >>> loadings = np.sqrt(variances)[:, None] * axes.T
    >>> gaussian = RobustGaussian(
    ...     np.zeros(2), axes, variances, 10, loadings=loadings
    ... )
    >>> fill = FillUnknown(gaussian, np.array([1]))
    >>> fill(constant([[2.0, 0.0]]), torch.tensor([[True]])).numpy().round(6)
    array([[2., 1.]])
    """

    centre: Tensor
    whitening: Tensor
    design: Tensor
    directions: Tensor
    products: Tensor
    least: Tensor
    units: Tensor

    def __init__(self, gaussian: RobustGaussian, cells: NDArray[Any]) -> None:
        super().__init__()
        deviations = np.sqrt(gaussian.variances)
        # As in `fill_unknown` of the detector.
        directions = gaussian.axes @ (gaussian.loadings / deviations[:, None])
        whitening = gaussian.axes / deviations
        design = whitening.T @ directions[:, cells]
        products = design.T @ design
        for name, array in {
            "centre": gaussian.centre,
            "whitening": whitening,
            "design": design,
            "directions": directions[:, cells],
            "products": products,
            "least": np.maximum(_LEAST_PIVOT * np.diag(products), 1e-300),
            "units": np.eye(len(cells)),
        }.items():
            self.register_buffer(name, constant(array))

    def forward(self, latents: Tensor, unknown: Tensor) -> Tensor:
        """Return moved latents, in their own dtype.

        Parameters
        ----------
        latents : Tensor of shape (n_rows, n_components)
        unknown : Tensor of shape (n_rows, n_cells), dtype bool
        """
        exact = latents.double()
        coordinates = (exact - self.centre) @ self.whitening
        shifts = self._solved(-(coordinates @ self.design), unknown)
        moved = exact + shifts @ self.directions.T
        is_moved = unknown.any(dim=1, keepdim=True)
        return torch.where(is_moved, moved, exact).to(latents.dtype)

    def _solved(self, right: Tensor, unknown: Tensor) -> Tensor:
        """Solve the equations of the unknown cells of each row, by Gauss and Jordan."""
        right = torch.where(unknown, right, torch.zeros_like(right))
        both = unknown[:, :, None] & unknown[:, None, :]
        left = torch.where(both, self.products, torch.zeros_like(self.products))
        equations = torch.cat([left, right[:, :, None]], dim=2)
        # A loop in the file, too: written out, it takes minutes to export.
        solved, _ = scan(_eliminated, equations, (self.units, self.least))
        found: Tensor = solved[:, :, -1]
        return found


def _eliminated(
    equations: Tensor, column: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Eliminate a column, given its unit vector and the least pivot.

    A column that is known, or is one of those before, is left out: its row is zero.
    """
    unit, least = column
    row, factors = unit @ equations, equations[:, :, :-1] @ unit
    pivot = factors @ unit
    is_used = pivot > least
    divisor = torch.where(is_used, pivot, torch.ones_like(pivot))
    row = torch.where(is_used[:, None], row / divisor[:, None], torch.zeros_like(row))
    rest = equations - factors[:, :, None] * row[:, None, :]
    return torch.where(unit[:, None] > 0, row[:, None, :], rest), unit.clone()
