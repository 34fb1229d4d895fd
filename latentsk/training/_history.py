"""What the epochs of a training came to, and when to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple


class EpochRecord(NamedTuple):
    """What one epoch came to.

    Attributes
    ----------
    epoch : int
        From 1.
    train_loss : float
        Mean over the rows, each as it was before the step that it took part in.
    monitored_loss : float
        Mean over the monitored rows after the epoch, without noise.
    learning_rate : float
        In this epoch.
    seconds : float
        The epoch took.
    train_terms, monitored_terms : dict of str to float
        The named terms of these losses.
    """

    epoch: int
    train_loss: float
    monitored_loss: float
    learning_rate: float
    seconds: float
    train_terms: dict[str, float]
    monitored_terms: dict[str, float]

    def as_dict(self, validated: bool) -> dict[str, Any]:
        """Return the entry of an estimator's `history_`.

        Parameters
        ----------
        validated : bool
            Whether the monitored rows were set aside.
        """
        terms: dict[str, float | None] = {
            f"train_{name}": value for name, value in self.train_terms.items()
        }
        for name, value in self.monitored_terms.items():
            terms[f"validation_{name}"] = value if validated else None
        return {
            "epoch": self.epoch,
            "train_loss": self.train_loss,
            "validation_loss": self.monitored_loss if validated else None,
            "monitored_loss": self.monitored_loss,
            "learning_rate": self.learning_rate,
            "seconds": self.seconds,
            **terms,
        }


@dataclass
class EarlyStopping:
    """Find the best epoch, and say when the loss has not improved for long.

    Parameters
    ----------
    patience : int
        Epochs without improvement after which to stop.

    tolerance : float
        An improvement smaller than this share of the best loss counts as none for
        stopping. The epoch is the best one all the same.

    first_epoch : int, default=0
        Epoch from which the patience is counted at the earliest.

    loss : float
        Of the best epoch; infinite before the first.

    epoch : int
        The best one, from 1; 0 before the first.

    reference, reference_epoch : float, int
        The loss that has to be improved on, and its epoch.

    Examples
    --------
    >>> stopping = EarlyStopping(patience=2, tolerance=0.0)
    >>> losses = enumerate((3.0, 2.0, 2.5, 2.1), start=1)
    >>> [stopping.update(epoch, loss) for epoch, loss in losses]
    [True, True, False, False]
    >>> stopping.loss, stopping.epoch, stopping.is_due(3), stopping.is_due(4)
    (2.0, 2, False, True)
    """

    patience: int
    tolerance: float
    first_epoch: int = 0
    loss: float = math.inf
    epoch: int = 0
    reference: float = math.inf
    reference_epoch: int = 0

    def update(self, epoch: int, loss: float) -> bool:
        """Take note of an epoch; return whether it is the best one so far."""
        is_best = loss < self.loss
        if is_best:
            self.loss, self.epoch = loss, epoch
        first = math.isinf(self.reference)
        if first or loss < self.reference - self.tolerance * abs(self.reference):
            self.reference, self.reference_epoch = loss, epoch
        return is_best

    def is_due(self, epoch: int) -> bool:
        """Tell whether to stop after this epoch."""
        return epoch - max(self.reference_epoch, self.first_epoch) >= self.patience
