"""Dates as what comes back: the time of day, the day of the week and of the year."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from latentsk._columns import columns_of
from latentsk._spellings import ISO_DATE, date_reading
from latentsk._state import StateMixin
from latentsk._typing import Float64, Positions
from latentsk._validation import fit_context, reject_masked, reject_row, validated
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import count, integers, names

DAY, WEEK, YEAR = 86_400.0, 604_800.0, 31_556_952.0
# The names of the cycles, and their lengths in seconds.
CYCLES = {"time_of_day": DAY, "day_of_week": WEEK, "day_of_year": YEAR}
# Seconds from the Monday before 1970-01-01, a Thursday, to that day.
MONDAY = 3 * DAY
# The span of a column leaves out this share of its cells on either side.
OUTSIDE = 0.05


@storable(
    {
        "n_features_in_": count(1, named="n_features"),
        "_columns": integers("n_cycles", below="n_features", dtypes={"int64"}),
        "_cycles": integers("n_cycles", below=len(CYCLES), dtypes={"int64"}),
    },
    optional={"feature_names_in_": names("n_features")},
)
class DatetimeEncoder(StateMixin, TransformerMixin, BaseEstimator):
    """Encode dates by where they lie in the day, the week and the year.

    Each cycle becomes two columns, the sine and the cosine of the phase: so 23:59 is
    next to 0:00. Cycles that the dates of the fit do not span are left out, and so are
    those in which all of these lie at one point. How much time has passed since some
    day is left out on purpose: every row of the future would be far from those of the
    fit. A missing date is 0 in all columns, in the middle of each circle.

    Attributes
    ----------
    cycles_ : dict of str to list of str
        Of "time_of_day", "day_of_week" and "day_of_year" those that each column is
        encoded by.

    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where they are all strings.

    See Also
    --------
    make_table_preprocessor : The encoders for a table of mixed columns.

    Notes
    -----
    Dates with a time zone are read on the clock of that zone. Strings are read by ISO
    8601 ("2026-01-31", "2026-01-31 12:30"). The dates of a column span a cycle if 90 %
    of them do: from their 5 % to their 95 % quantile.

    Examples
    --------
    >>> import pandas as pd
    >>> from latentsk import DatetimeEncoder
    >>> X = pd.DataFrame({"paid": pd.date_range("2026-01-05", periods=60, freq="6h")})
    >>> encoder = DatetimeEncoder().fit(X)
    >>> encoder.cycles_
    {'paid': ['time_of_day', 'day_of_week']}
    >>> encoder.transform(X[:3]).round(2)
    array([[ 0.  ,  1.  ,  0.  ,  1.  ],
           [ 1.  ,  0.  ,  0.22,  0.97],
           [ 0.  , -1.  ,  0.43,  0.9 ]])
    """

    _parameter_constraints: dict[str, Any] = {}

    _private_state = ("_columns", "_cycles")

    _columns: Positions
    _cycles: Positions

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Learn the cycles that the dates of each column span.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Dates, of which some may be missing.

        y : None
            Ignored.

        Returns
        -------
        self : DatetimeEncoder
            The fitted encoder.

        Raises
        ------
        ValueError, TypeError
            If a cell is no date. The encoder is then left as it was.

        Examples
        --------
        >>> from latentsk import DatetimeEncoder
        >>> days = [["2026-01-05"], ["2026-01-06"], ["2026-03-07"]]
        >>> DatetimeEncoder().fit(days).cycles_
        {'x0': ['day_of_week']}
        """
        with self._rollback_on_error():
            seconds = self._seconds(X, reset=True)
            spanned = np.array([_spanned(column) for column in seconds.T])
            self._columns, self._cycles = np.nonzero(spanned)
        return self

    def transform(self, X: ArrayLike) -> Float64:
        """Encode dates.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Dates.

        Returns
        -------
        X_transformed : ndarray of shape (n_samples, 2 * n_cycles), float64
            Sine and cosine of the phase of each cycle of each column, in [-1, 1].

        Raises
        ------
        NotFittedError
            If the encoder is not fitted.

        ValueError, TypeError
            If a cell is no date.

        Examples
        --------
        >>> from latentsk import DatetimeEncoder
        >>> days = [["2026-01-05"], ["2026-01-06"], ["2026-03-07"]]
        >>> DatetimeEncoder().fit(days).transform([["2026-01-05"], [None]])
        array([[0., 1.],
               [0., 0.]])
        """
        check_is_fitted(self)
        seconds = self._seconds(X)
        lengths = np.array(list(CYCLES.values()))[self._cycles]
        angles = 2.0 * np.pi * _phases(seconds[:, self._columns], lengths)
        pairs = np.stack([np.sin(angles), np.cos(angles)], axis=2)
        return np.nan_to_num(pairs.reshape(len(seconds), -1), nan=0.0)

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> NDArray[np.object_]:
        """Return the names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns; None: `feature_names_in_`, or "x0", "x1", ...

        Returns
        -------
        feature_names_out : ndarray of shape (2 * n_cycles,), str objects
            Such as "paid_time_of_day_sin".

        Raises
        ------
        NotFittedError
            If the encoder is not fitted.

        ValueError
            If `input_features` are not as many as the columns, or not
            `feature_names_in_`.

        Examples
        --------
        >>> from latentsk import DatetimeEncoder
        >>> days = [["2026-01-05"], ["2026-01-06"], ["2026-03-07"]]
        >>> DatetimeEncoder().fit(days).get_feature_names_out(["paid"])
        array(['paid_day_of_week_sin', 'paid_day_of_week_cos'], dtype=object)
        """
        check_is_fitted(self)
        columns, cycles = _check_feature_names_in(self, input_features), list(CYCLES)
        return np.array(
            [
                f"{columns[j]}_{cycles[k]}_{function}"
                for j, k in zip(self._columns, self._cycles, strict=True)
                for function in ("sin", "cos")
            ],
            dtype=object,
        )

    @property
    def cycles_(self) -> dict[str, list[str]]:
        """The cycles of each column."""
        check_is_fitted(self)
        names, cycles = _check_feature_names_in(self), np.array(list(CYCLES))
        return {
            str(name): cycles[self._cycles[self._columns == j]].tolist()
            for j, name in enumerate(names)
        }

    @property
    def cycle_columns(self) -> Positions:
        """Position of the column that each column of the output belongs to."""
        check_is_fitted(self)
        return np.repeat(self._columns, 2)

    def _seconds(self, X: Any, *, reset: bool = False) -> Float64:
        """Return dates as seconds since 1970 on their own clocks; NaN if missing."""
        if not reset:
            reject_row(self, X)
        X = reject_masked(X)
        X = X if hasattr(X, "shape") else np.array(X, dtype=object)
        if len(X.shape) != 2:
            raise ValueError(
                f"X must be a table of dates, got {len(X.shape)} dimension(s). Of one "
                "column, give X[[name]] or X.reshape(-1, 1)."
            )
        validated(self, X, reset=reset, skip_check_array=True)
        columns = [seconds_of(cells, label) for label, cells in columns_of(X)]
        return np.stack(columns, axis=1)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_cycles")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.two_d_array = False  # not of numbers
        return tags


def seconds_of(cells: NDArray[Any], label: Any) -> Float64:
    """Return dates as seconds since 1970 on their own clocks; NaN if missing.

    Parameters
    ----------
    cells : ndarray of shape (n_rows,)
        Dates of any kind, or strings by ISO 8601.

    label : object
        Name of the column, for messages.

    Returns
    -------
    seconds : ndarray of shape (n_rows,)

    Raises
    ------
    ValueError
        If a string is no date.

    TypeError
        If a cell is something else.

    Examples
    --------
    >>> import datetime
    >>> cells = [datetime.date(1970, 1, 2), "1970-01-01 00:01", None]
    >>> seconds_of(np.array(cells, dtype=object), "when").tolist()
    [86400.0, 60.0, nan]
    """
    if cells.dtype.kind != "M":
        times = [_wall_clock(cell, label, cells) for cell in cells]
        cells = np.array(times, "datetime64[us]")
    seconds = cells.astype("datetime64[us]").astype(np.float64) * 1e-6
    return np.where(np.isnat(cells), np.nan, seconds)


def iso_date(text: str) -> Any:
    """Return a date in the form 2026-01-31 or 2026-01-31 12:30; NaT of a blank.

    Raises
    ------
    ValueError
        If it has another form: days and months could be confused.

    Examples
    --------
    >>> iso_date("2026-01-31 12:30")
    Timestamp('2026-01-31 12:30:00')
    >>> iso_date(" ")
    NaT
    """
    if not text.strip():
        return pd.NaT
    if not ISO_DATE.fullmatch(text.strip()):
        raise ValueError("no date by ISO 8601")
    return pd.Timestamp(text.strip())


def _wall_clock(cell: Any, label: Any, cells: NDArray[Any]) -> Any:
    """Return a date without its time zone."""
    if isinstance(cell, pd.Period):
        cell = cell.to_timestamp()
    if pd.api.types.is_scalar(cell) and pd.isna(cell):
        return np.datetime64("NaT")
    if isinstance(cell, str):
        try:
            cell = iso_date(cell)
        except ValueError as error:
            column, known = f"X[{label!r}]", pd.Series(cells).dropna()
            raise ValueError(
                f"Column {label!r} must hold dates, got {cell[:60]!r}. Make dates of "
                f"them: {date_reading(column, known).how(column, known)}."
            ) from error
        if cell is pd.NaT:
            return np.datetime64("NaT")
    if not isinstance(cell, np.datetime64) and not hasattr(cell, "year"):
        raise TypeError(
            f"Column {label!r} must hold dates, got {str(cell)[:60]} of type "
            f"{type(cell).__name__}. Convert it: X[{label!r}] = "
            f"pd.to_datetime(X[{label!r}], unit='s')."
        )
    if getattr(cell, "tzinfo", None) is not None:
        cell = cell.replace(tzinfo=None)
    return np.datetime64(cell)


def _phases(seconds: Float64, lengths: NDArray[Any]) -> NDArray[Any]:
    """Return how much of its cycle has passed, in [0, 1)."""
    shifted = seconds + MONDAY * (lengths == WEEK)
    return np.mod(shifted, lengths) / lengths


def _spanned(seconds: Float64) -> list[bool]:
    """Tell which cycles the dates of a column span, and differ in.

    Examples
    --------
    >>> _spanned(np.arange(9) * DAY)
    [False, True, False]
    """
    known = seconds[np.isfinite(seconds)]
    if len(known) == 0:
        return [False] * len(CYCLES)
    low, high = np.quantile(known, [OUTSIDE, 1.0 - OUTSIDE], method="inverted_cdf")
    found = []
    for length in CYCLES.values():
        phases = _phases(known, np.array(length))
        # A week of days ends at the begin of its last day.
        is_spanned = high - low >= length - (DAY if length > DAY else 0.0)
        found.append(bool(is_spanned and np.ptp(phases) > 0.0))
    return found
