"""What every public method does first with the rows that it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse
from sklearn.base import _fit_context
from sklearn.callback import with_callbacks as _with_callbacks
from sklearn.utils._array_api import get_namespace
from sklearn.utils._param_validation import Interval, InvalidParameterError
from sklearn.utils.metaestimators import available_if as _available_if
from sklearn.utils.validation import check_array, validate_data

from latentsk._chunks import row_blocks
from latentsk._columns import clip_integers, extended_to_float64
from latentsk._device import array_to_numpy, to_numpy
from latentsk._diagnosis import diagnosed, reject_dates
from latentsk._images import MappedImages, finite_only

# scikit-learn's decorators have no types, and hide those of what they decorate from a
# user's type checker. Those below are the same ones, which leave the types as they are.
Method = TypeVar("Method", bound=Callable[..., Any])


def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[Method], Method]:
    """Return the decorator that validates the parameters before a fit."""
    return _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)


def with_callbacks(fit: Method) -> Method:
    """Let a `fit` call scikit-learn's callbacks."""
    return _with_callbacks(fit)


def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Return the decorator that shows a method where its object fulfils `check`."""
    return _available_if(check)


# Squares of magnitudes up to here, and sums of them, stay far inside float64.
MAX_MAGNITUDE = 1e100
# By the type of the rows: sums over features stay in its range.
LIMITS = {"float32": 1e30, "float64": MAX_MAGNITUDE}


def validated(estimator: Any, X: Any, **settings: Any) -> Any:
    """Return what `validate_data` of scikit-learn does; refuse masked values."""
    if not settings.get("reset", True):
        reject_row(estimator, X)
    given, X = X, _readable(X, settings)
    # Its test for NaN adds values up, and numpy would warn of what that comes to.
    with np.errstate(over="ignore", invalid="ignore"), diagnosed(given):
        return _in_range(lambda rows: validate_data(estimator, rows, **settings), X)


def checked(X: Any, **settings: Any) -> Any:
    """Return what `check_array` of scikit-learn does; refuse masked values."""
    given, X = X, _readable(X, settings)
    name = settings.get("input_name") or "X"
    with np.errstate(over="ignore", invalid="ignore"), diagnosed(given, name):
        return _in_range(lambda rows: check_array(rows, **settings), X)


def _readable(X: Any, settings: dict[str, Any]) -> Any:
    """Return rows of which numpy reads every number for what it is."""
    X = reject_masked(X)
    if settings.get("skip_check_array"):
        return X
    reject_dates(X, settings.get("input_name") or "X")
    return extended_to_float64(X)


def _in_range(check: Callable[[Any], Any], X: Any) -> Any:
    """Return checked rows; integers that no float can hold become the largest float."""
    try:
        return check(X)
    except OverflowError:
        return check(clip_integers(X))


def reject_masked(X: Any) -> Any:
    """Return rows, and refuse masked values.

    scikit-learn reads what lies behind the mask of a masked array, and numpy does not
    read a tensor that has a gradient.

    Raises
    ------
    ValueError
        If values are masked, or a table has no columns.

    Examples
    --------
    >>> reject_masked([[0.0, 1.0]])
    [[0.0, 1.0]]
    >>> reject_masked(np.ma.masked_greater([[0.0, 1.0]], 0.5))
    Traceback (most recent call last):
    ...
    ValueError: X has masked values, ...
    """
    if np.ma.is_masked(X):
        place = np.argwhere(np.ma.getmaskarray(X))[0]
        if len(place) > 2:
            raise ValueError(
                f"X has masked values, which are missing ones, in row {place[0]}. "
                "Leave such rows out: X = X.astype(float).filled(np.nan); "
                f"X = {finite_only(X)}."
            )
        where = f" in column 'x{place[1]}', row {place[0]}" if len(place) == 2 else ""
        raise ValueError(
            f"X has masked values, which are missing ones{where}. Fill them in, with "
            "X.astype(float).filled(np.nan) and SimpleImputer() as the first step of a "
            "Pipeline, or leave the rows out: X[~np.ma.getmaskarray(X).any(axis=1)]."
        )
    if isinstance(X, pd.DataFrame) and X.shape[1] == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is "
            "required."
        )
    return X.detach() if torch.is_tensor(X) else X


def reject_row(estimator: Any, X: Any) -> None:
    """Refuse a row of a table as a Series, by its own name.

    Parameters
    ----------
    estimator : fitted estimator
        With `feature_names_in_`, if the rows of its fit had names.

    X : object

    Raises
    ------
    ValueError

    Examples
    --------
    >>> from latentsk import PCAEmbedder
    >>> table = pd.DataFrame({"a": [0.0, 1.0], "b": [2.0, 0.0]}, index=["r", "s"])
    >>> reject_row(PCAEmbedder().fit(table), table.loc["s"])
    Traceback (most recent call last):
    ...
    ValueError: X is one row, as a Series. Take it with two brackets, X.loc[['s']], ...
    """
    names = getattr(estimator, "feature_names_in_", None)
    if isinstance(X, pd.Series) and names is not None and list(X.index) == list(names):
        raise ValueError(
            "X is one row, as a Series. Take it with two brackets, "
            f"X.loc[[{X.name!r}]], which leaves it a table, or make one of it: "
            "series.to_frame().T.infer_objects()."
        )


def require_count(name: str, value: Any, least: int) -> None:
    """Refuse what is no integer, or too small a one.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> require_count("n_samples", 3, least=1)
    """
    is_count = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_count or value < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}, got {value!r}."
        )


def reject_boolean_counts(estimator: Any) -> None:
    """Refuse True and False among the parameters that are counts.

    Raises
    ------
    InvalidParameterError
        A ValueError and a TypeError.

    Examples
    --------
    >>> from latentsk import PCAEmbedder
    >>> reject_boolean_counts(PCAEmbedder(True))
    Traceback (most recent call last):
    ...
    sklearn.utils._param_validation.InvalidParameterError: The 'n_components' ...
    """
    constraints = estimator._parameter_constraints
    for name, value in estimator.get_params(deep=False).items():
        allowed = constraints.get(name, ())
        if not isinstance(value, bool) or "boolean" in allowed:
            continue
        if any(isinstance(c, Interval) and c.type is Integral for c in allowed):
            raise InvalidParameterError(
                f"The {name!r} parameter of {type(estimator).__name__} must be a "
                f"number, not a boolean. Got {value!r} instead."
            )


def reject_huge(
    X: Any, feature_names: Sequence[str] | None = None, *, input_name: str = "X"
) -> None:
    """Refuse rows with a magnitude above 1e100, and name the column.

    Parameters
    ----------
    X : ndarray, Tensor or sparse matrix of shape (n_samples, ...)
        Rows, validated before. Missing values are ignored.

    feature_names : sequence of str or None, default=None
        Names of the columns, as in `feature_names_in_`; None: "x0", "x1", ...

    input_name : str, default="X"
        What the message calls the rows.

    Raises
    ------
    ValueError
        If a value is above 1e100 or below -1e100.

    Examples
    --------
    >>> reject_huge(np.array([[0.0, 1e100]]))
    >>> reject_huge(np.array([[0.0, 1e100], [0.0, -1e101]]), ["width", "weight"])
    Traceback (most recent call last):
    ...
    ValueError: X has magnitudes above 1e+100: -1e+101 in column 'weight', row 1. ...
    """
    values = X.images if isinstance(X, MappedImages) else X
    if _is_bounded(X.data if issparse(X) else values):
        return
    start = 0
    for block in row_blocks(X if X.ndim == 2 else X.reshape(len(X), -1)):
        entries = to_numpy(block) if torch.is_tensor(block) else array_to_numpy(block)
        rows, columns = np.nonzero(np.abs(entries) > MAX_MAGNITUDE)
        if len(rows):
            row, column = rows[0], columns[0]
            name = f"x{column}" if feature_names is None else feature_names[column]
            raise ValueError(
                f"{input_name} has magnitudes above {MAX_MAGNITUDE:g}: "
                f"{entries[row, column]:g} in column {name!r}, row {start + row}. "
                "Scale or clip the column, or leave the row out."
            )
        start += len(entries)


def largest_value(X: Any) -> tuple[float, int]:
    """Return the value of the largest magnitude, and its column.

    Examples
    --------
    >>> largest_value(np.array([[1.0, 2.0], [-3.0, 0.0]]))
    (-3.0, 0)
    """
    value, column = 0.0, 0
    for block in row_blocks(X):
        entries = to_numpy(block) if torch.is_tensor(block) else array_to_numpy(block)
        place = np.unravel_index(np.abs(entries).argmax(), entries.shape)
        if abs(entries[place]) > abs(value):
            value, column = float(entries[place]), int(place[1])
    return value, column


def _is_bounded(values: Any) -> bool:
    """Tell whether all values are within the limit; False where some are missing."""
    is_wide = str(values.dtype).endswith("float64")
    if isinstance(values, np.ndarray):
        is_wide = values.dtype.kind == "f" and values.dtype.itemsize > 4
    if not is_wide or 0 in values.shape:
        return True
    with np.errstate(invalid="ignore"):
        if isinstance(values, np.ndarray | torch.Tensor):
            high, low = values.max(), values.min()
        else:
            xp, _ = get_namespace(values)
            high, low = xp.max(values), xp.min(values)
        return bool(high <= MAX_MAGNITUDE) and bool(low >= -MAX_MAGNITUDE)
