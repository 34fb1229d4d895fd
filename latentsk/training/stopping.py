"""Which weights to keep, and when to stop."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor


class BestWeights:
    """Keep the best parameters seen, and say when they have not improved for long.

    Parameters
    ----------
    patience : int
        Epochs without improvement after which to stop.

    tolerance : float
        An improvement smaller than this share of the best loss counts as none for
        stopping (the better weights are kept all the same).

    first_epoch : int, default=0
        Epoch from which the patience is counted at the earliest.

    Attributes
    ----------
    loss : float
        Of the best epoch; infinite before the first.

    epoch : int
        The best one, from 1; 0 before the first.

    parameters : Tensor or None
        A copy of its weights.

    Examples
    --------
    >>> import torch
    >>> best = BestWeights(patience=2, tolerance=0.0)
    >>> weights = torch.zeros(1)
    >>> losses = enumerate((3.0, 2.0, 2.5, 2.1), start=1)
    >>> [best.update(epoch, loss, weights.add_(1.0)) for epoch, loss in losses]
    [False, False, False, True]
    >>> best.loss, best.epoch, best.parameters
    (2.0, 2, tensor([2.]))
    """

    def __init__(self, patience: int, tolerance: float, first_epoch: int = 0) -> None:
        self.patience = patience
        self.tolerance = tolerance
        self.first_epoch = first_epoch
        self.loss = math.inf
        self.epoch = 0
        self.parameters: Tensor | None = None
        self._reference = math.inf
        self._reference_epoch = 0

    def update(self, epoch: int, loss: float, parameters: Tensor) -> bool:
        """Take note of an epoch; return whether to stop."""
        if loss < self.loss:
            self.loss, self.epoch, self.parameters = loss, epoch, parameters.clone()
        first = math.isinf(self._reference)
        if first or loss < self._reference - self.tolerance * abs(self._reference):
            self._reference, self._reference_epoch = loss, epoch
        return epoch - max(self._reference_epoch, self.first_epoch) >= self.patience

    def progress(self) -> dict[str, Any]:
        """Return what :meth:`restore` takes, without the parameters."""
        return {
            "loss": self.loss,
            "epoch": self.epoch,
            "reference": self._reference,
            "reference_epoch": self._reference_epoch,
        }

    def restore(self, progress: dict[str, Any], parameters: Tensor) -> None:
        """Go on from what :meth:`progress` returned."""
        self.loss, self.epoch = progress["loss"], progress["epoch"]
        self._reference = progress["reference"]
        self._reference_epoch = progress["reference_epoch"]
        self.parameters = parameters
