"""The epochs of a training, as scikit-learn's callbacks hear of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray
from torch import nn

from latentsk._progress import LossProgressBar
from latentsk.training._history import EpochRecord
from latentsk.training._weights import detached


@contextmanager
def reported_epochs(
    embedder: Any, X: NDArray[Any], network: nn.Module, is_validated: bool
) -> Iterator[Callable[[EpochRecord], bool]]:
    """Tell scikit-learn's callbacks of every epoch; they may end the training."""
    context = embedder._init_callback_context(max_subtasks=int(embedder.max_epochs))
    progress = LossProgressBar() if embedder.verbose else None
    if progress is not None:
        progress.setup(embedder, context)
    context.call_on_fit_task_begin(estimator=embedder, X=X)

    def on_epoch(record: EpochRecord) -> bool:
        epoch = context.subcontext(task_name="epoch")
        epoch.call_on_fit_task_begin(estimator=embedder, X=X)
        entry = record.as_dict(is_validated)
        if progress is not None:
            progress.on_fit_task_end(embedder, epoch, metadata=entry)
        return epoch.call_on_fit_task_end(
            estimator=embedder,
            X=X,
            metadata=entry,
            reconstruction_attributes=lambda: {"module_": detached(network)},
        )

    try:
        yield on_epoch
    finally:
        if progress is not None:
            progress.teardown(embedder, context)
    context.call_on_fit_task_end(estimator=embedder, X=X)
