"""A histogram of outlier scores with the threshold."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from latentsk._device import array_to_numpy
from latentsk._typing import Float64
from latentsk.display._axes import given_or_new, require_matplotlib
from latentsk.display._bins import Bins, bins_of
from latentsk.display._estimators import DETECTOR, require_methods
from latentsk.display._numbers import short


class OutlierScoreDisplay:
    """Histogram of outlier scores, with the threshold.

    Create it with :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores, higher = more normal. They may be infinite.

    threshold : float or None
        Scores below it are those of outliers. None: there is no threshold.

    reference_scores : array-like of shape (n_reference,) or None, default=None
        Scores to compare with: those of the training rows, say.

    labels : array-like of shape (n_samples,) or None, default=None
        What the rows are known to be: each class has a histogram of its own.

    name : str or None, default=None
        Title of the picture.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.

    figure_ : matplotlib Figure
        The figure of `ax_`.

    histograms_ : list of matplotlib StepPatch
        The histogram of the scores, or one of each class in the order of the labels.

    reference_ : matplotlib StepPatch or None
        The outline of the reference scores.

    threshold_line_ : matplotlib Line2D or None
        The vertical line at the threshold.

    See Also
    --------
    ExplanationDisplay : Why one row has the score that it has.

    Notes
    -----
    Every histogram, the reference included, shows shares of its own rows: all have the
    same area. Scores far beyond the quartiles are collected in the outermost bins,
    which are then labelled "< ..." and "≥ ...".

    Examples
    --------
    >>> from latentsk.display import OutlierScoreDisplay
    >>> scores = [0.1, -0.2, 0.3, 0.0, -4.0]
    >>> display = OutlierScoreDisplay(scores, threshold=-3.0).plot()
    >>> display.ax_.get_xlabel()
    'score (higher = more normal)'
    """

    ax_: Any
    figure_: Any

    def __init__(
        self,
        scores: ArrayLike,
        threshold: float | None,
        *,
        reference_scores: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        name: str | None = None,
    ) -> None:
        self.scores = scores
        self.threshold = threshold
        self.reference_scores = reference_scores
        self.labels = labels
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        y: ArrayLike | None = None,
        ax: Any = None,
        name: str | None = None,
        bins: int = 30,
    ) -> Self:
        """Score rows and draw the scores.

        Parameters
        ----------
        estimator : object
            Anything fitted that has `score_samples`: a detector, an embedder, a
            Pipeline that ends in one. Its `offset_`, if it has one, is the threshold,
            its `training_scores_` are the reference.

        X : array-like of shape (n_samples, n_features)
            Rows to score.

        y : array-like of shape (n_samples,) or None, default=None
            What the rows are known to be.

        ax : matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        name : str or None, default=None
            Title of the picture. None: the name of the estimator's class.

        bins : int, default=30
            About how many bins.

        Returns
        -------
        display : OutlierScoreDisplay
            The picture and what it shows.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If `X`, `y` or `bins` is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import LatentOutlierDetector
        >>> from latentsk.display import OutlierScoreDisplay
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> detector = LatentOutlierDetector(random_state=0).fit(X)
        >>> display = OutlierScoreDisplay.from_estimator(detector, X + 2.0)
        >>> display.threshold == detector.offset_
        True
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        require_methods(estimator, ("score_samples",), remedy=DETECTOR)
        if y is not None:
            check_consistent_length(X, y)
        display = cls(
            array_to_numpy(estimator.score_samples(X)),
            _threshold_of(estimator),
            reference_scores=_fitted(estimator, "training_scores_"),
            labels=y,
            name=type(estimator).__name__ if name is None else name,
        )
        return display.plot(ax, bins=bins)

    def plot(self, ax: Any = None, *, name: str | None = None, bins: int = 30) -> Self:
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        name : str or None, default=None
            Title of the picture. None: `name` of the display.

        bins : int, default=30
            About how many bins.

        Returns
        -------
        display : OutlierScoreDisplay
            The display itself.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If scores are none or not numbers, `labels` are not as many, or `threshold`
            or `bins` is not valid.

        Examples
        --------
        >>> from latentsk.display import OutlierScoreDisplay
        >>> display = OutlierScoreDisplay([0.1, -0.2, 0.3], None).plot(bins=5)
        >>> len(display.histograms_[0].get_data().values)
        5
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        if not isinstance(bins, Integral) or bins < 1:
            raise ValueError(f"bins must be an integer >= 1, got {bins!r}.")
        if self.threshold is not None and not np.isfinite(self.threshold):
            raise ValueError(
                f"threshold must be a finite number or None, got {self.threshold!r}."
            )
        samples = [_checked("scores", self.scores)]
        groups = self._groups(samples[0])
        if self.reference_scores is not None:
            samples.append(_checked("reference_scores", self.reference_scores))
        found = bins_of(samples, self.threshold, int(bins))

        self.ax_ = given_or_new(ax, size=(6.4, 4.0))
        self.figure_ = self.ax_.figure
        self.histograms_ = [
            self._draw(group, found, label=label, fill=True, alpha=0.6)
            for label, group in groups.items()
        ]
        self.reference_ = None
        for reference in samples[1:]:
            label = f"training rows ({len(reference)})"
            self.reference_ = self._draw(
                reference, found, label=label, color="0.25", linewidth=1.2
            )
        self._draw_threshold(found)
        self._label(found, self.name if name is None else name)
        return self

    def _groups(self, scores: Float64) -> dict[str, Float64]:
        """Return what each histogram shows, by its name in the legend."""
        if self.labels is None:
            return {f"rows ({len(scores)})": scores}
        labels = column_or_1d(self.labels)
        check_consistent_length(scores, labels)
        groups = {}
        for label in np.unique(labels):
            chosen = scores[labels == label]
            known = label if isinstance(label, str) else f"y = {label}"
            groups[f"{known} ({len(chosen)})"] = chosen
        return groups

    def _draw(self, scores: Float64, bins: Bins, **style: Any) -> Any:
        return self.ax_.stairs(bins.shares(scores), bins.edges, **style)

    def _draw_threshold(self, bins: Bins) -> None:
        self.threshold_line_ = None
        if self.threshold is None:
            return
        self.ax_.axvspan(
            bins.edges[0],
            self.threshold,
            color="0.93",
            zorder=0,
            label="side of outliers",
        )
        self.threshold_line_ = self.ax_.axvline(
            self.threshold, color="black", linestyle="--", label="threshold"
        )

    def _label(self, bins: Bins, name: str | None) -> None:
        ax = self.ax_
        ax.set_xlim(bins.edges[0], bins.edges[-1])
        ax.set(xlabel="score (higher = more normal)", ylabel="share of rows")
        if bins.open_below or bins.open_above:
            _label_open_bins(ax, bins)
        if name is not None:
            ax.set_title(name, parse_math=False)
        for text in ax.legend().get_texts():
            text.set_parse_math(False)


def _label_open_bins(ax: Any, bins: Bins) -> None:
    """Have the axis say that the outermost bins hold all that lies beyond them."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    edges, room = bins.edges, 0.1 * np.ptp(bins.edges)
    locator = MaxNLocator(9, steps=[1, 2, 5, 10])
    ticks: Float64 = np.asarray(locator.tick_values(edges[0], edges[-1]))
    low = edges[1] + room if bins.open_below else edges[0]
    high = edges[-2] - room if bins.open_above else edges[-1]
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    # An offset or a power of ten would be lost from fixed labels.
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    formatter.set_axis(ax.xaxis)
    texts = formatter.format_ticks(ticks.tolist())
    if bins.open_below:
        ticks = np.append(ticks, edges[:2].mean())
        texts.append(f"< {short(edges[1])}")
    if bins.open_above:
        ticks = np.append(ticks, edges[-2:].mean())
        texts.append(f"≥ {short(edges[-2])}")
    ax.set_xticks(ticks, texts)


def _checked(name: str, scores: Any) -> Float64:
    scores = check_array(
        scores,
        dtype=np.float64,
        ensure_2d=False,
        ensure_all_finite=False,
        input_name=name,
    )
    if scores.ndim != 1 or np.isnan(scores).any():
        raise ValueError(f"{name} must be a sequence of numbers without missing ones.")
    return scores


def _threshold_of(estimator: Any) -> float | None:
    offset = _fitted(estimator, "offset_")
    if offset is None:
        return None
    threshold = float(np.asarray(offset).item())
    return threshold if np.isfinite(threshold) else None


def _fitted(estimator: Any, attribute: str) -> Any:
    """Return an attribute of an estimator, or of a Pipeline's last step."""
    steps = getattr(estimator, "steps", None)
    return getattr(steps[-1][1] if steps else estimator, attribute, None)
