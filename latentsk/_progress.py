"""Progress of a training, with its loss, as a scikit-learn callback."""

from __future__ import annotations

from typing import Any

try:
    import rich.progress as rich_progress
except ImportError:  # the extra "progress" is not installed
    rich_progress = None  # type: ignore[assignment]

# Bars of the fits that are running, by the context's root. They cannot be pickled, so
# they do not lie on the callback.
_bars: dict[Any, Any] = {}


class LossProgressBar:
    """Show the epoch, the loss and the time left while a neural embedder is fitted.

    A scikit-learn callback, for a neural embedder's `set_callbacks`; its
    ``verbose=True`` is the shorthand. It draws a bar where the package rich is
    installed (the extra "progress"), and prints a line per epoch elsewhere.

    Examples
    --------
    >>> from latentsk import AutoencoderEmbedder, LossProgressBar
    >>> embedder = AutoencoderEmbedder().set_callbacks(LossProgressBar())
    """

    def setup(self, estimator: Any, context: Any) -> None:
        """Begin, before the first epoch."""
        if rich_progress is None:
            _bars[context.root_uuid] = None
            return
        bar = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("{task.fields[losses]}"),
            rich_progress.TimeRemainingColumn(),
        )
        bar.start()
        bar.add_task(type(estimator).__name__, total=context.max_subtasks, losses="")
        _bars[context.root_uuid] = bar

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, metadata: Any = None
    ) -> None:
        """Show an epoch."""
        if not metadata or "epoch" not in metadata:
            return
        bar = _bars.get(context.root_uuid)
        if bar is None:
            print(f"epoch {metadata['epoch']}: {_losses(metadata)}", flush=True)
        else:
            bar.update(
                bar.task_ids[0], completed=metadata["epoch"], losses=_losses(metadata)
            )

    def teardown(self, estimator: Any, context: Any) -> None:
        """End, after the last epoch or an error."""
        bar = _bars.pop(context.root_uuid, None)
        if bar is not None:
            bar.stop()


def _losses(metadata: dict[str, Any]) -> str:
    text = f"loss {metadata['train_loss']:.4g}"
    if metadata["validation_loss"] is not None:
        text += f", validation {metadata['validation_loss']:.4g}"
    return text
