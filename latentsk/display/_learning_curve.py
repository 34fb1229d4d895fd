"""The losses of a training, and their terms, by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float64
from latentsk.display._axes import given_or_new_panels, require_matplotlib

TRAIN, VALIDATION = "train_", "validation_"
PANEL_SIZE = (3.6, 3.0)  # inches
LABELS = {"kl": "KL divergence", "kl_weight": "weight of the KL divergence"}


class LearningCurveDisplay:
    """The loss of a training by epoch, and each of its terms.

    Create it with :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    history : sequence of dict
        What an embedder's `history_` is: an entry per epoch, with "epoch", "train_loss"
        and "validation_loss", and terms under the same prefixes.

    best_epoch : int or None, default=None
        The epoch whose weights were kept.

    name : str or None, default=None
        Title of the picture.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One for the loss, and one for each term that was drawn.

    figure_ : matplotlib Figure
        The figure of the axes.

    lines_ : dict of str to matplotlib Line2D
        The curves, by the names that `history` has for them.

    Notes
    -----
    The training loss of an epoch is of every row as it was before the step that it took
    part in, so it lags behind the validation loss.

    The y axis fits the later nine tenths of the epochs, as the first ones would leave
    little room for the rest. Where those lie outside, the label of the x axis says from
    which epoch on all is shown.

    Examples
    --------
    >>> from latentsk.display import LearningCurveDisplay
    >>> history = [
    ...     {"epoch": 1, "train_loss": 3.0, "validation_loss": 2.0},
    ...     {"epoch": 2, "train_loss": 1.5, "validation_loss": 1.6},
    ... ]
    >>> sorted(LearningCurveDisplay(history, best_epoch=2).plot().lines_)
    ['train_loss', 'validation_loss']
    """

    axes_: NDArray[Any]
    figure_: Any
    lines_: dict[str, Any]

    def __init__(
        self,
        history: Sequence[Mapping[str, Any]],
        *,
        best_epoch: int | None = None,
        name: str | None = None,
    ) -> None:
        self.history = history
        self.best_epoch = best_epoch
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        terms: Sequence[str] | str = "all",
        axes: Any = None,
        name: str | None = None,
    ) -> Self:
        """Draw the training of a fitted embedder.

        Parameters
        ----------
        estimator : object
            Anything fitted with a `history_`, or a Pipeline that ends in it.

        terms : sequence of str or "all", default="all"
            Terms of the loss to draw beside it: "reconstruction", "kl", ...

        axes : array-like of matplotlib Axes or None, default=None
            One for the loss and one for each term. None: a new figure.

        name : str or None, default=None
            Title of the picture. None: the name of the estimator's class.

        Returns
        -------
        display : LearningCurveDisplay
            The picture and what it shows.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If the estimator has no `history_`, or `terms` or `axes` are not valid.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from latentsk import VAEEmbedder
        >>> from latentsk.display import LearningCurveDisplay
        >>> vae = VAEEmbedder(2, max_epochs=5, random_state=0).fit(load_iris().data)
        >>> display = LearningCurveDisplay.from_estimator(vae, terms=["kl"])
        >>> len(display.axes_), display.best_epoch == vae.best_epoch_
        (2, True)
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        steps = getattr(estimator, "steps", None)
        last = steps[-1][1] if steps else estimator
        history = getattr(last, "history_", None)
        if not history:
            raise ValueError(
                f"This {type(last).__name__} has no history_: give an embedder with a "
                "network that has been fitted."
            )
        display = cls(
            history,
            best_epoch=getattr(last, "best_epoch_", None),
            name=type(last).__name__ if name is None else name,
        )
        return display.plot(axes, terms=terms)

    def plot(
        self,
        axes: Any = None,
        *,
        terms: Sequence[str] | str = "all",
        name: str | None = None,
    ) -> Self:
        """Draw the curves.

        Parameters
        ----------
        axes : array-like of matplotlib Axes or None, default=None
            One for the loss and one for each term. None: a new figure.

        terms : sequence of str or "all", default="all"
            Terms of the loss to draw beside it.

        name : str or None, default=None
            Title of the picture. None: `name` of the display.

        Returns
        -------
        display : LearningCurveDisplay
            The display itself.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If there is no such term, or there are not as many axes.

        Examples
        --------
        >>> from latentsk.display import LearningCurveDisplay
        >>> history = [{"epoch": 1, "train_loss": 3.0, "validation_loss": None}]
        >>> LearningCurveDisplay(history).plot(name="a start").axes_.shape
        (1,)
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        panels = ["loss", *self._chosen_terms(terms)]
        self.axes_ = given_or_new_panels(
            axes,
            [PANEL_SIZE] * len(panels),
            "one for the loss and one for each term",
        )
        self.figure_ = self.axes_[0].figure
        self.lines_ = {}
        for ax, panel in zip(self.axes_, panels, strict=True):
            self._draw(ax, panel)
        self.axes_[0].legend()
        title = self.name if name is None else name
        if title is not None:
            self.axes_[0].set_title(title, loc="left", parse_math=False)
        return self

    def _chosen_terms(self, terms: Sequence[str] | str) -> list[str]:
        entries = {name for entry in self.history for name in entry}
        known = [
            name.removeprefix(TRAIN)
            for name in self.history[-1]
            if name.startswith(TRAIN) and name != "train_loss"
        ]
        if isinstance(terms, str) and terms == "all":
            return known
        chosen = [terms] if isinstance(terms, str) else list(terms)
        for term in chosen:
            if f"{TRAIN}{term}" not in entries:
                raise ValueError(f"terms must be some of {known}, got {term!r}.")
        return chosen

    def _draw(self, ax: Any, panel: str) -> None:
        epochs = [entry["epoch"] for entry in self.history]
        drawn = []
        for prefix, style in ((TRAIN, "C0-"), (VALIDATION, "C1-")):
            values = self._values(f"{prefix}{panel}")
            if np.isnan(values).all():
                continue
            marker = "." if len(values) == 1 else ""
            (line,) = ax.plot(
                epochs, values, style + marker, label=prefix.removesuffix("_")
            )
            self.lines_[f"{prefix}{panel}"] = line
            drawn.append(values)
        if self.best_epoch is not None:
            ax.axvline(
                self.best_epoch, color="0.5", linestyle="--", label="weights kept"
            )
        start = len(epochs) // 10
        is_cut = bool(drawn) and _fit_later(ax, drawn, start)
        note = f" (y axis fits epochs from {epochs[start]} on)" if is_cut else ""
        name = LABELS.get(panel, panel.replace("_", " "))
        ax.set(xlabel=f"epoch{note}", ylabel=name)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)

    def _values(self, name: str) -> Float64:
        found = (entry.get(name) for entry in self.history)
        return np.array([np.nan if v is None else v for v in found], np.float64)


def _fit_later(ax: Any, curves: list[Float64], start: int) -> bool:
    """Fit the axis to epochs from `start` on, and tell whether it cuts others off."""
    whole = np.concatenate(curves)
    values = np.concatenate([curve[start:] for curve in curves])
    values = values[np.isfinite(values)]
    if not len(values):
        return False
    low, high = values.min(), values.max()
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - room, high + room
    ax.set_ylim(low, high)
    return bool(((whole < low) | (whole > high)).any())
