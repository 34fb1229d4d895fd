"""Windows of series as rows, and what is said of windows as said of steps."""

from __future__ import annotations

import datetime
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from latentsk._device import on_host
from latentsk._state import StateMixin
from latentsk._typing import Float64
from latentsk._validation import checked, fit_context, validated
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import count, names
from latentsk.preprocessing._windows import (
    AGGREGATES,
    MaxGap,
    Windows,
    gap_limit,
    require_length,
    times_of,
    values_of_steps,
    windows_of,
    within_floats,
)


@storable(
    {"n_features_in_": count(1, named="n_features")},
    optional={"feature_names_in_": names("n_features")},
)
class SlidingWindows(StateMixin, TransformerMixin, BaseEstimator):
    """Cut series of sensors into windows: a row for each, to be fitted and scored.

    The columns of a row are what each sensor measured at each of `length` steps in a
    row, such as "pressure_lag2" for the last step but two. What a detector then says of
    windows comes back to sensors (`sum_by_sensor`) and to steps (`to_steps`).

    There are fewer windows than steps, so this is no step of an embedder or of a
    pipeline with labels: transform the series first.

    Parameters
    ----------
    length : int, default=24
        Number of steps of a window: about as many as what is looked for lasts, and as
        sensors take to follow each other.

    step : int or None, default=None
        Steps from the begin of one window to that of the next. None: a quarter of
        `length`, rounded down, and at least 1. 1: every window there is, to score
        series step by step; do not fit a detector to those (see Notes). `length`:
        windows that do not overlap, to calibrate on.

    max_gap : str, timedelta, number or None, default=None
        Largest difference between the times of two steps in a row of a window: a
        duration such as "10min" where the index of the series holds times, a number
        where it holds numbers. No window crosses a larger one. None: steps are what
        counts, whatever the times.

    Attributes
    ----------
    n_features_in_ : int
        Number of sensors.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the sensors, where they are all strings.

    See Also
    --------
    LatentOutlierDetector : Detect outliers, by all that a latent space knows of a row.

    Notes
    -----
    The first window begins at the first step of a series. Steps at its end that fill no
    window are left out.

    A window has nearly a copy in the one that begins a step later. Among the training
    rows, such a copy makes all distances to the nearest rows small; new windows have
    none there, and look like outliers, most of them. With a quarter of `length` between
    them, windows are so different that this is hardly seen. Conformal p-values take
    rows to be exchangeable, which windows are, about, where they do not overlap.

    Examples
    --------
    >>> import pandas as pd
    >>> from latentsk import SlidingWindows
    >>> times = pd.date_range("2026-03-01", periods=5, freq="h", name="time")
    >>> series = pd.DataFrame({"flow": range(5), "heat": range(10, 15)}, times)
    >>> windows = SlidingWindows(2, step=1)
    >>> windows.fit_transform(series)
                         flow_lag1  flow_lag0  heat_lag1  heat_lag0
    time
    2026-03-01 01:00:00        0.0        1.0       10.0       11.0
    2026-03-01 02:00:00        1.0        2.0       11.0       12.0
    2026-03-01 03:00:00        2.0        3.0       12.0       13.0
    2026-03-01 04:00:00        3.0        4.0       13.0       14.0
    >>> windows.to_steps([-1.0, -9.0, -8.0, -1.0], series)
    time
    2026-03-01 00:00:00   -1.0
    2026-03-01 01:00:00   -5.0
    2026-03-01 02:00:00   -8.5
    2026-03-01 03:00:00   -4.5
    2026-03-01 04:00:00   -1.0
    Freq: h, Name: score, dtype: float64
    """

    _parameter_constraints: dict[str, Any] = {
        "length": [Interval(Integral, 1, None, closed="left")],
        "step": [Interval(Integral, 1, None, closed="left"), None],
        "max_gap": [
            str,
            datetime.timedelta,
            np.timedelta64,
            Interval(Real, 0, None, closed="neither"),
            None,
        ],
    }

    _private_state: tuple[str, ...] = ()

    def __init__(
        self, length: int = 24, *, step: int | None = None, max_gap: MaxGap = None
    ) -> None:
        self.length = length
        self.step = step
        self.max_gap = max_gap

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Learn the sensors.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features)
            Series: a row for each step, in the order of time, and a column of numbers
            for each sensor. Values may be missing (NaN).

        y : None
            Ignored.

        Returns
        -------
        self : SlidingWindows
            The fitted transformer.

        Raises
        ------
        ValueError
            If `X` is not valid (infinite, not numeric) or has fewer steps than a
            window, or `max_gap` does not suit its index. The transformer is then left
            as it was.

        Examples
        --------
        >>> from latentsk import SlidingWindows
        >>> SlidingWindows(2).fit([[0.0, 5.0], [1.0, 6.0]]).n_features_in_
        2
        """
        with self._rollback_on_error():
            steps = self._validated(X, reset=True)
            require_length(len(steps), self.length, len(steps))
            gap_limit(times_of(X), self.max_gap)
        return self

    def fit_transform(
        self, X: ArrayLike, y: None = None, *, groups: ArrayLike | None = None
    ) -> Any:
        """Learn the sensors, and return the windows of the series.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features)
            Series, as for `fit`.

        y : None
            Ignored.

        groups : array-like of shape (n_steps,) or None, default=None
            The series of each step, as for `transform`.

        Returns
        -------
        windows : DataFrame or ndarray of shape (n_windows, n_features * length)
            As of `transform`.

        Raises
        ------
        ValueError
            As for `fit` and `transform`. The transformer is then left as it was.

        Examples
        --------
        >>> from latentsk import SlidingWindows
        >>> SlidingWindows(3).fit_transform([[0], [1], [2], [3]])
        array([[0., 1., 2.],
               [1., 2., 3.]])
        """
        with self._rollback_on_error():
            return self.fit(X).transform(X, groups=groups)

    def transform(self, X: ArrayLike, *, groups: ArrayLike | None = None) -> Any:
        """Return the windows of series.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features)
            Series, as for `fit`. Where the index of a DataFrame holds times, they must
            increase within each series.

        groups : array-like of shape (n_steps,) or None, default=None
            The series that each step belongs to, such as the number of a machine, if
            there are several: no window has steps of two. Their rows may be mixed. A
            Series is aligned with the index of `X`. None: all levels of a MultiIndex
            but the last tell them; else there is one.

        Returns
        -------
        windows : DataFrame or ndarray of shape (n_windows, n_features * length)
            A row for each window, in the order of their last steps, with the columns of
            `get_feature_names_out`. Of a DataFrame a DataFrame; its index has the label
            of each window's last step. The type is float32 for series in float32, else
            float64.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.

        ValueError
            If `X` or `groups` are not valid, times do not increase, `max_gap` does not
            suit the index, or no series has `length` steps in a row.

        Examples
        --------
        >>> from latentsk import SlidingWindows
        >>> machines = ["a", "a", "b", "a", "b", "b"]
        >>> series = [[1], [2], [10], [3], [20], [30]]
        >>> SlidingWindows(2).fit(series).transform(series, groups=machines)
        array([[ 1.,  2.],
               [ 2.,  3.],
               [10., 20.],
               [20., 30.]])
        """
        check_is_fitted(self)
        steps = self._validated(X)
        windows = self._windows(X, len(steps), groups)
        views = sliding_window_view(steps[windows.order], windows.length, axis=0)
        rows = views[windows.starts].reshape(len(windows.starts), -1)
        if not isinstance(X, pd.DataFrame):
            return rows
        names = self.get_feature_names_out()
        return pd.DataFrame(rows, X.index[windows.last_steps], names)

    def to_steps(
        self,
        scores: ArrayLike,
        X: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        aggregate: str = "mean",
    ) -> Any:
        """Return scores of windows as scores of the steps that these hold.

        Parameters
        ----------
        scores : array-like of shape (n_windows,) or (n_windows, n_columns)
            What is known of the windows of `X`: their scores, or a column for each
            sensor, as of `sum_by_sensor`.

        X : array-like of shape (n_steps, n_features)
            The series that `transform` was given.

        groups : array-like of shape (n_steps,) or None, default=None
            Those that `transform` was given.

        aggregate : {"mean", "min", "max"}, default="mean"
            What a step gets of the scores of the windows that hold it: their mean; the
            lowest, by which steps up to ``length - 1`` before and after a fault look
            like it; or the highest, by which only those steps look abnormal that no
            normal window holds.

        Returns
        -------
        scores : Series, DataFrame or ndarray of shape (n_steps,) or \
(n_steps, n_columns)
            NaN for steps that no window holds. Of a DataFrame `X` a Series (of two
            dimensions, a DataFrame) with its index.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.

        ValueError
            If the arguments are not valid, or there are not as many scores as windows.

        Examples
        --------
        >>> from latentsk import SlidingWindows
        >>> series = [[0], [0], [9], [0], [0]]
        >>> windows = SlidingWindows(2).fit(series)
        >>> windows.to_steps([-1, -9, -9, -1], series, aggregate="max")
        array([-1., -1., -9., -1., -1.])
        """
        check_is_fitted(self)
        if not isinstance(aggregate, str) or aggregate not in AGGREGATES:
            raise ValueError(
                f"aggregate must be one of {list(AGGREGATES)}, got {aggregate!r}."
            )
        steps = self._validated(X)
        windows = self._windows(X, len(steps), groups)
        values = checked(
            on_host(scores), dtype=np.float64, ensure_2d=False, input_name="scores"
        )
        if values.ndim > 2 or len(values) != len(windows.starts):
            raise ValueError(
                f"scores must have a row for each of the {len(windows.starts)} windows "
                f"of X, got shape {values.shape}. Give the X and the groups that "
                "transform was given, and set step and length as they were."
            )
        if isinstance(scores, pd.DataFrame | pd.Series) and isinstance(X, pd.DataFrame):
            _require_labels(scores.index, X.index[windows.last_steps])
        found = values_of_steps(values.reshape(len(values), -1), windows, aggregate)
        found = found.reshape(len(found), *values.shape[1:])
        if not isinstance(X, pd.DataFrame):
            return found
        if found.ndim == 1:
            return pd.Series(found, X.index, name=getattr(scores, "name", "score"))
        return pd.DataFrame(found, X.index, getattr(scores, "columns", None))

    def sum_by_sensor(self, reasons: Any) -> Any:
        """Add up what the lags of each sensor contribute to the score of a window.

        Parameters
        ----------
        reasons : DataFrame or array-like of shape (n_windows, n_features * length)
            What :meth:`LatentOutlierDetector.explain` returns for windows, all of it or
            whole windows; or contributions of the columns of windows, such as the
            `score_contributions` of an embedder.

        Returns
        -------
        contributions : DataFrame or ndarray of shape (n_windows, n_features)
            What each sensor contributes to each window's score. Of reasons, a DataFrame
            with the labels of the windows and the names of the sensors; of an array an
            array.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.

        ValueError
            If the columns are not those of windows.

        Examples
        --------
        >>> import numpy as np
        >>> import pandas as pd
        >>> from latentsk import LatentOutlierDetector, SlidingWindows
        >>> rng = np.random.default_rng(0)
        >>> series = pd.DataFrame(rng.normal(size=(400, 2)), columns=["flow", "heat"])
        >>> windows = SlidingWindows(3)
        >>> rows = windows.fit_transform(series)
        >>> detector = LatentOutlierDetector(random_state=0).fit(rows)
        >>> series.loc[200, "heat"] = 9.0
        >>> reasons = detector.explain(windows.transform(series).loc[[200]])
        >>> windows.sum_by_sensor(reasons).loc[200].round(1)
        sensor
        flow   -0.6
        heat   -7.5
        Name: 200, dtype: float64
        """
        check_is_fitted(self)
        if not _is_explained(reasons):
            return self._summed(self._contributions(reasons))
        self._require_own_features(reasons.index.get_level_values("feature"))
        every = self.n_features_in_ * self.length
        labels = reasons.index.get_level_values("row")[::every]
        names = pd.Index(_check_feature_names_in(self), name="sensor")
        summed = self._summed(reasons["contribution"].to_numpy(np.float64))
        return pd.DataFrame(summed, labels, names)

    def _summed(self, contributions: Float64) -> Float64:
        by_sensor = contributions.reshape(-1, self.n_features_in_, self.length)
        with np.errstate(over="ignore"):
            return within_floats(by_sensor.sum(axis=2))

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> NDArray[np.object_]:
        """Return the names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the sensors; None: `feature_names_in_`, or "x0", "x1", ...

        Returns
        -------
        feature_names_out : ndarray of shape (n_features * length,), str objects
            Sensor by sensor, the lags from the oldest to the last step, which has
            lag 0.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.

        ValueError
            If `input_features` are not as many as the sensors, or not
            `feature_names_in_`.

        Examples
        --------
        >>> from latentsk import SlidingWindows
        >>> windows = SlidingWindows(2).fit([[0, 1], [2, 3]])
        >>> windows.get_feature_names_out(["flow", "heat"])
        array(['flow_lag1', 'flow_lag0', 'heat_lag1', 'heat_lag0'], dtype=object)
        """
        check_is_fitted(self)
        lags = range(self.length - 1, -1, -1)
        sensors = _check_feature_names_in(self, input_features)
        return np.array([f"{s}_lag{lag}" for s in sensors for lag in lags], object)

    def _validated(self, X: Any, *, reset: bool = False) -> NDArray[Any]:
        return validated(
            self,
            on_host(X),
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
        )

    def _windows(self, X: Any, n_steps: int, groups: Any) -> Windows:
        self._validate_params()
        length = int(self.length)
        step = max(1, length // 4) if self.step is None else int(self.step)
        return windows_of(X, n_steps, length, step, groups, self.max_gap)

    def _contributions(self, values: Any) -> NDArray[Any]:
        columns = getattr(values, "columns", None)
        values = checked(on_host(values), dtype=np.float64, input_name="reasons")
        if columns is not None and values.shape[1] == len(self.get_feature_names_out()):
            self._require_own_features(columns)
        self._require_columns(values.shape[1])
        return values

    def _require_own_features(self, found: Any) -> None:
        """Refuse features that are not those of windows, window by window."""
        expected = self.get_feature_names_out()
        n_columns = len(expected)
        # Of windows as arrays, the detector has numbered the columns.
        numbered = [f"x{j}" for j in range(n_columns)]
        blocks = np.asarray(found, object)
        if len(blocks) % n_columns == 0:
            blocks = blocks.reshape(-1, n_columns)
            if (blocks == expected).all() or (blocks == numbered).all():
                return
        raise ValueError(
            f"reasons must hold the {n_columns} columns of each window, from "
            f"{expected[0]!r} to {expected[-1]!r} in this order, as explain returns "
            "them. Leave out no line, sort none, and set length as it was."
        )

    def _require_columns(self, n_columns: int) -> None:
        expected = self.n_features_in_ * self.length
        if n_columns != expected:
            raise ValueError(
                f"reasons must have {expected} columns, for {self.n_features_in_} "
                f"sensor(s) at {self.length} steps, got {n_columns}."
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        # Its rows are steps: they have an order, and no row of the output each.
        tags.input_tags.two_d_array = False
        return tags


def _require_labels(found: pd.Index, expected: pd.Index) -> None:
    """Refuse scores whose labels are those of other windows, or in another order."""
    if found.equals(expected) or found.equals(pd.RangeIndex(len(expected))):
        return
    raise ValueError(
        "scores have an index that is not that of the windows of X. Keep their order, "
        "or give the numbers alone: scores.to_numpy()."
    )


def _is_explained(reasons: Any) -> bool:
    return isinstance(reasons, pd.DataFrame) and "contribution" in reasons.columns
