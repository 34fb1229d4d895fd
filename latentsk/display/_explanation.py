"""A row's score as a sum over its features, drawn as bars."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._warnings import warn
from latentsk.display._axes import given_or_new, require_matplotlib
from latentsk.display._estimators import DETECTOR, require_methods
from latentsk.display._numbers import clipped, short

LINE_WIDTH = 40  # characters of a label, in one line
LINE_HEIGHT, BAR_HEIGHT = 0.17, 0.16  # inches
LABEL_WIDTH = 0.075  # inches per character
# What stands beside the bars: its name, its column of the reasons, what it is.
NORMAL = (
    ("expected", "reconstructed", "as the latent space sees the row"),
    ("nearest", "nearest_1", "value in the nearest row presumed normal"),
)


class ExplanationDisplay:
    """Bars of what each feature adds to the score of one row.

    Create it with :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    reasons : DataFrame of shape (n_features, n_columns), or Series
        What `explain` returns, for one row: the features are the last level of the
        index, the label of the row is the level before. Columns: "contribution";
        "value", "reconstructed" and "nearest_1" may be there. Or the contributions
        alone, by feature: a row of what :meth:`SlidingWindows.sum_by_sensor` returns,
        whose name is the label.

    score : float or None, default=None
        Score of the row. None: the sum of the contributions.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.

    figure_ : matplotlib Figure
        The figure of `ax_`.

    bars_ : matplotlib BarContainer
        The bars from top to bottom.

    See Also
    --------
    OutlierScoreDisplay : The scores of many rows.

    Notes
    -----
    Beside each bar, in grey: what the latent space expects ("reconstructed"), or, where
    it keeps every value as it is, the value of the nearest normal row. A cell that is
    empty is "missing".

    Examples
    --------
    >>> import pandas as pd
    >>> from latentsk.display import ExplanationDisplay
    >>> reasons = pd.DataFrame(
    ...     {"contribution": [-0.5, -3.0], "value": [20.0, 7.1]},
    ...     index=["temperature", "acidity"],
    ... )
    >>> display = ExplanationDisplay(reasons).plot()
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['acidity = 7.1', 'temperature = 20']
    """

    ax_: Any
    figure_: Any

    def __init__(self, reasons: pd.DataFrame, *, score: float | None = None) -> None:
        self.reasons = reasons
        self.score = score

    @classmethod
    def from_estimator(
        cls,
        detector: Any,
        X: ArrayLike,
        row: Any = 0,
        *,
        labels: Sequence[Any] | None = None,
        max_features: int = 10,
        ax: Any = None,
    ) -> Self:
        """Explain one row and draw the reasons.

        Parameters
        ----------
        detector : object
            Anything fitted that has `explain` and `score_samples` as
            :class:`LatentOutlierDetector` has.

        X : array-like of shape (n_samples, n_features)
            Rows.

        row : int or object, default=0
            Which row: its position among `X`, counted from 0, or a label that is no
            integer. Of an integer label, give that row alone: ``X.loc[[label]]``.

        labels : sequence of length n_samples or None, default=None
            Labels of the rows. None: those of a DataFrame's index, else positions.

        max_features : int, default=10
            How many features have a bar of their own. The others share the last one.

        ax : matplotlib Axes or None, default=None
            What to draw on; labels need a figure with ``layout="constrained"``. None: a
            new figure with room for every label.

        Returns
        -------
        display : ExplanationDisplay
            The picture and what it shows.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If `X`, `row`, `labels` or `max_features` is not valid.

        Warns
        -----
        UserWarning
            If `row`, the position of a row, is the label of another one.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from latentsk import LatentOutlierDetector
        >>> from latentsk.display import ExplanationDisplay
        >>> X, y = load_wine(return_X_y=True, as_frame=True)
        >>> detector = LatentOutlierDetector(assume_clean=True, random_state=0)
        >>> detector = detector.fit(X[y == 0])
        >>> display = ExplanationDisplay.from_estimator(detector, X[y == 1], row=0)
        >>> display.ax_.get_yticklabels()[0].get_text()
        'flavanoids = 0.57'
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        ways = ("explain", "score_samples")
        require_methods(detector, ways, name="detector", remedy=DETECTOR)
        _check_max_features(max_features)
        names = _labels(X, labels)
        position = _position(row, names)
        if labels is None:
            _warn_of_label(row, names)
        chosen = _safe_indexing(X, [position])
        reasons = _renamed(detector.explain(chosen), names[position])
        score = float(detector.score_samples(chosen)[0])
        return cls(reasons, score=score).plot(ax, max_features=max_features)

    def plot(self, ax: Any = None, *, max_features: int = 10) -> Self:
        """Draw the reasons.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            What to draw on; labels need a figure with ``layout="constrained"``. None: a
            new figure with room for every label.

        max_features : int, default=10
            How many features have a bar of their own. The others share the last one.

        Returns
        -------
        display : ExplanationDisplay
            The display itself.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        TypeError
            If the reasons are no table or column of pandas.

        ValueError
            If the reasons are not those of one row or have no contributions, or
            `max_features` is not a positive integer.

        Examples
        --------
        >>> import pandas as pd
        >>> from latentsk.display import ExplanationDisplay
        >>> reasons = {"contribution": [-3.0, -0.5, 0.1], "value": [7.1, 20.0, 1.0]}
        >>> reasons = pd.DataFrame(reasons, index=["a", "b", "c"])
        >>> display = ExplanationDisplay(reasons).plot(max_features=1)
        >>> [label.get_text() for label in display.ax_.get_yticklabels()]
        ['a = 7.1', '2 other features']
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        _check_max_features(max_features)
        reasons = _table(self.reasons)
        label = _row_label(self.reasons)
        contribution = reasons["contribution"].to_numpy()
        heaviest = np.argsort(-np.abs(contribution), kind="stable")
        shown = reasons.iloc[heaviest[:max_features]]
        others = reasons.iloc[heaviest[max_features:]]
        names, contributions = _named_values(shown), [*shown["contribution"]]
        if len(others):
            names.append(f"{len(others)} other feature{'s' * (len(others) > 1)}")
            contributions.append(others["contribution"].sum())

        self.ax_ = given_or_new(ax, _size(names))
        self.figure_ = self.ax_.figure
        self._draw_bars(contributions, names, n_features=len(shown))
        texts, meaning = _normal_values(shown, reasons)
        self._draw_normal_values(texts)
        score = contribution.sum() if self.score is None else self.score
        self._label(label, float(score), meaning)
        return self

    def _draw_bars(
        self, contributions: list[float], names: list[str], n_features: int
    ) -> None:
        colors = ["C3" if c < 0.0 else "C0" for c in contributions]
        colors[n_features:] = ["0.7"] * (len(names) - n_features)
        positions = np.arange(len(names))
        self.bars_ = self.ax_.barh(positions, contributions, color=colors)
        self.ax_.set_yticks(positions, names, parse_math=False)
        self.ax_.invert_yaxis()
        self.ax_.axvline(0.0, color="black", linewidth=0.8)

    def _draw_normal_values(self, texts: list[str]) -> None:
        place = {"transform": self.ax_.get_yaxis_transform(), "va": "center"}
        for position, text in enumerate(texts):
            self.ax_.text(1.01, position, text, color="0.4", parse_math=False, **place)

    def _label(self, row: Any, score: float, meaning: str) -> None:
        title = f"score {short(score)}"
        if row is not None:
            title = f"row {clipped(row, LINE_WIDTH)}: {title}"
        self.ax_.set_title(title, parse_math=False)
        what = "contribution to the score (negative = less normal)"
        self.ax_.set_xlabel(what + meaning)
        for side in ("top", "right"):
            self.ax_.spines[side].set_visible(False)


def _check_max_features(max_features: Any) -> None:
    if not isinstance(max_features, Integral) or max_features < 1:
        raise ValueError(f"max_features must be an integer >= 1, got {max_features!r}.")


def _labels(X: Any, labels: Any) -> Any:
    """Return the label of each row."""
    n_rows = _num_samples(X)
    if labels is None:
        return X.index if isinstance(X, pd.DataFrame) else range(n_rows)
    if len(labels) != n_rows:
        raise ValueError(
            f"labels must be {n_rows}, one for each row, got {len(labels)}."
        )
    return labels


def _position(row: Any, labels: Any) -> int:
    """Return the position of a row that is named by it, or by its label."""
    n_rows = len(labels)
    if isinstance(row, Integral):
        if 0 <= int(row) < n_rows:
            return int(row)
        raise ValueError(f"row must be an integer in [0, {n_rows}), got {row!r}.")
    found = [i for i, label in enumerate(labels) if label == row]
    if len(found) != 1:
        raise ValueError(
            "row must be the position of a row or the label of one, got "
            f"{row!r}, which {len(found)} rows have."
        )
    return found[0]


def _warn_of_label(row: Any, labels: Any) -> None:
    """Warn of a position other than the first that is the label of another row."""
    if not isinstance(row, Integral) or row == 0 or not isinstance(labels, pd.Index):
        return
    found = labels[int(row)]
    if labels.dtype.kind in "iu" and found != row and row in labels:
        warn(
            f"row={row} is a position, of the row labelled {found}, but {row} is "
            "also the label of another row. Give the row that you mean alone: "
            f"from_estimator(detector, X.loc[[{row}]]) by its label, or "
            f"from_estimator(detector, X.iloc[[{row}]]) by its position."
        )


def _renamed(reasons: pd.DataFrame, label: Any) -> pd.DataFrame:
    """Return the reasons of a single row under its label."""
    features = reasons.index.get_level_values(-1)
    index = pd.MultiIndex.from_product([[label], features], names=reasons.index.names)
    return reasons.set_axis(index)


def _table(reasons: Any) -> pd.DataFrame:
    """Return reasons as a table, also where they are contributions alone."""
    if isinstance(reasons, pd.Series):
        return reasons.to_frame("contribution")
    if not isinstance(reasons, pd.DataFrame):
        raise TypeError(
            "reasons must be a DataFrame, as explain returns it, or a Series, got "
            f"{type(reasons).__name__}."
        )
    if "contribution" not in reasons:
        raise ValueError(
            f"reasons must have a column 'contribution', got {list(reasons)}. Of a "
            "table of contributions, with a column for each feature, give one row: "
            "ExplanationDisplay(reasons.iloc[0])."
        )
    return reasons


def _row_label(reasons: pd.DataFrame | pd.Series) -> Any:
    """Return the label of the row that reasons belong to, None if there is none."""
    if reasons.index.nlevels == 1:
        name = reasons.name if isinstance(reasons, pd.Series) else None
        return None if name == "contribution" else name
    last = reasons.index.nlevels - 1
    labels = reasons.reset_index(level=last, drop=True).index.unique()
    if len(labels) != 1:
        raise ValueError(
            f"reasons must be those of one row, got {len(labels)} rows: select one "
            "with reasons.loc[[row]]."
        )
    return labels[0]


def _named_values(reasons: pd.DataFrame) -> list[str]:
    names = [str(feature) for feature in reasons.index.get_level_values(-1)]
    if "value" in reasons:
        days = _are_days(reasons["value"])
        values = (_text(value, days) for value in reasons["value"])
        names = [f"{n} = {value}" for n, value in zip(names, values, strict=True)]
    return [textwrap.fill(name, LINE_WIDTH) for name in names]


def _normal_values(shown: pd.DataFrame, reasons: pd.DataFrame) -> tuple[list[str], str]:
    """Return what each feature shown is in a normal row, and what that is."""
    for name, column, meaning in NORMAL:
        if _tells_more(reasons, column):
            days = _are_days(shown[column])
            texts = [f"{name} {_text(value, days)}" for value in shown[column]]
            if column == "reconstructed":
                known = shown[column].notna()
                texts = [t if k else "" for t, k in zip(texts, known, strict=True)]
            return texts, f"\n{name} (grey): {meaning}"
    return [], ""


def _tells_more(reasons: pd.DataFrame, column: str) -> bool:
    """Tell whether a column holds more than the values that the row has anyway."""
    if column not in reasons:
        return False
    # A feature with no way back from the latent space is no missing cell.
    if column == "reconstructed" and reasons[column].isna().all():
        return False
    return "value" not in reasons or not _is_copy(reasons[column], reasons["value"])


def _are_days(values: pd.Series) -> bool:
    """Tell whether all dates among values are at midnight."""
    dates = [value for value in values if isinstance(value, datetime.datetime)]
    return all(date.time() == datetime.time() for date in dates if not pd.isna(date))


def _text(value: Any, days: bool) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "missing"
    is_day = days and isinstance(value, datetime.datetime)
    return short(value.date() if is_day else value)


def _is_copy(values: pd.Series, original: pd.Series) -> bool:
    """Tell whether a latent space has kept every value, up to rounding."""
    try:
        found, given = values.astype(float), original.astype(float)
    except (TypeError, ValueError):
        return False
    rounding = 1e-12 * given.abs().fillna(0.0).max()
    return np.allclose(found, given, rtol=1e-6, atol=rounding, equal_nan=True)


def _size(names: list[str]) -> tuple[float, float]:
    """Return a figure's size in inches that has room for bars and labels."""
    lines = [name.splitlines() for name in names]
    widest = max(len(line) for label in lines for line in label)
    height = len(names) * (BAR_HEIGHT + LINE_HEIGHT * max(map(len, lines)))
    return 4.5 + LABEL_WIDTH * widest, 1.4 + height
