"""What of a network starts from training rows, and when; what ends with them."""

from __future__ import annotations

import torch
from torch import nn

from latentsk.training._data import BeginsWithRows, EndsWithRows, Rows, StartsFromRows


class Start:
    """The start of those parts of a network that begin from training rows.

    Parameters
    ----------
    network : nn.Module
        Has such parts, if it is a `StartsFromRows`. They are changed in place.

    rows : Rows
        Training rows.

    generator : torch.Generator
        On the CPU.

    max_epochs : int, default=1
        Epochs of the training.

    Attributes
    ----------
    epoch : int or None
        The one before which they start; None, if there are no such parts.

    has_begun : bool
        Whether they have started.

    Examples
    --------
    >>> from latentsk.training._data import ResidentRows
    >>> rows = ResidentRows(torch.zeros(2, 1))
    >>> Start(nn.Linear(1, 1), rows, torch.Generator()).epoch is None
    True
    """

    def __init__(
        self,
        network: nn.Module,
        rows: Rows,
        generator: torch.Generator,
        max_epochs: int = 1,
    ) -> None:
        self.network = network
        self.rows = rows
        self.generator = generator
        self.has_begun = False
        self.epoch: int | None = None
        if isinstance(network, StartsFromRows):
            self.epoch = 1 + int(network.starts_at * max_epochs)

    def is_due(self, epoch: int) -> bool:
        """Tell whether the parts start before this epoch."""
        return self.epoch == epoch

    def is_to_come(self, n_epochs: int) -> bool:
        """Tell whether a training that ends after so many epochs has not got there."""
        return self.epoch is not None and not self.has_begun and n_epochs < self.epoch

    def begin(self) -> None:
        """Let the parts start from the network as it is."""
        assert isinstance(self.network, StartsFromRows), "asked when due"
        self.network.start_from(self.rows, self.generator)
        self.has_begun = True


def begin_with(network: nn.Module, rows: Rows) -> None:
    """Let a new network take note of its training rows, if it does so."""
    if isinstance(network, BeginsWithRows):
        network.begin_with(rows)


def end_with(network: nn.Module, rows: Rows) -> None:
    """Let a trained network take note of its training rows, if it does so."""
    if isinstance(network, EndsWithRows):
        network.eval()
        with torch.no_grad():
            network.end_with(rows)
