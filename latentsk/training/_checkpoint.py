"""A training kept in a file, from which it goes on bit for bit."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from latentsk.exceptions import CheckpointError, FormatError
from latentsk.persistence._format import read_file, write_file
from latentsk.training._history import EarlyStopping, EpochRecord
from latentsk.training._trainer import Trainer
from latentsk.training._weights import Weights

KIND = "training"


class Stored(NamedTuple):
    """What a checkpoint holds.

    Attributes
    ----------
    document : dict
    arrays : dict of str to ndarray
    """

    document: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @property
    def compiled(self) -> bool:
        """Whether the loss ran compiled."""
        return self.document["compiled"]

    @property
    def finished(self) -> bool:
        """Whether the training had come to its end."""
        return self.document["finished"]

    @property
    def stopping(self) -> EarlyStopping:
        """The best epoch so far."""
        return EarlyStopping(**self.document["stopping"])

    def restore(
        self, trainer: Trainer, generator: torch.Generator
    ) -> tuple[list[EpochRecord], Weights]:
        """Put everything back, in place; return the history and the best weights."""
        trainer.optimizer.load(self.document["layout"], self._group("optimizer"))
        weights = Weights.from_arrays(self._group("weights"), trainer.device)
        weights.restore(trainer.network, trainer.optimizer)
        generator.set_state(torch.from_numpy(self.arrays["generator"]))
        history = [EpochRecord(*record) for record in self.document["history"]]
        return history, Weights.from_arrays(self._group("best"), trainer.device)

    def _group(self, name: str) -> dict[str, NDArray[Any]]:
        prefix = f"{name}/"
        named = self.arrays.items()
        return {k.removeprefix(prefix): a for k, a in named if k.startswith(prefix)}


class Checkpoint:
    """The file of one training.

    Parameters
    ----------
    path : str or path-like

    interval : int
        Epochs from one writing to the next.

    identity : dict
        JSON-able description of the training: parameters and data. A training does not
        resume from a file with another one.

    seed : int
        Of the training, if it starts anew.

    Attributes
    ----------
    stored : Stored or None
        What the file holds, read at once; None if there is no file.

    seed : int
        The one of the stored training, if there is one.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If the folder does not exist, or the path is a folder.

    FormatError
        If the file is no file of ours, or is damaged.

    CheckpointError
        If it belongs to another training.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "training.latentsk"
    >>> checkpoint = Checkpoint(path, 10, {"batch_size": 32}, seed=0)
    >>> checkpoint.stored is None
    True
    >>> checkpoint.due(5), checkpoint.due(10)
    (False, True)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        interval: int,
        identity: dict[str, Any],
        seed: int,
    ) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"The checkpoint's folder {self.path.parent} does not exist."
            )
        if self.path.is_dir():
            raise IsADirectoryError(f"The checkpoint {self.path} is a folder.")
        self.interval = interval
        self.identity = identity
        self.stored = self._read()
        self.seed = seed if self.stored is None else self.stored.document["seed"]

    def due(self, epoch: int) -> bool:
        """Tell whether to write after this epoch."""
        return epoch % self.interval == 0

    def _read(self) -> Stored | None:
        if not self.path.exists():
            return None
        document, arrays = read_file(self.path)
        if document.get("kind") != KIND:
            raise FormatError(f"{self.path} holds no training.")
        theirs = document["identity"]
        for name in sorted({*theirs, *self.identity}):
            if theirs.get(name) != self.identity.get(name):
                raise CheckpointError(
                    f"{self.path} belongs to another training, with {name} = "
                    f"{theirs.get(name)!r} instead of {self.identity.get(name)!r}. "
                    "Delete the file to start anew, or name another one."
                )
        return Stored(document, arrays)

    def write(
        self,
        trainer: Trainer,
        stopping: EarlyStopping,
        best: Weights,
        history: list[EpochRecord],
        generator: torch.Generator,
        finished: bool,
    ) -> None:
        """Replace the file by the present state."""
        document = {
            "kind": KIND,
            "identity": self.identity,
            "seed": self.seed,
            "stopping": asdict(stopping),
            "history": [list(record) for record in history],
            "layout": trainer.optimizer.layout(),
            "compiled": trainer.is_compiled,
            "finished": finished,
        }
        weights = Weights.of(trainer.network, trainer.optimizer)
        groups = {
            "optimizer": trainer.optimizer.memory(),
            "weights": weights.to_arrays(),
            "best": best.to_arrays(),
        }
        arrays = {
            f"{group}/{name}": array
            for group, named in groups.items()
            for name, array in named.items()
        }
        arrays["generator"] = np.array(generator.get_state().numpy())
        write_file(self.path, document, arrays)

    def remove(self) -> None:
        """Delete the file, if there is one."""
        self.path.unlink(missing_ok=True)
