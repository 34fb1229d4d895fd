"""What every public method does first with the rows that it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from sklearn.base import _fit_context
from sklearn.callback import with_callbacks as _with_callbacks
from sklearn.utils.metaestimators import available_if as _available_if
from sklearn.utils.validation import check_array, validate_data

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


def validated(estimator: Any, X: Any, **settings: Any) -> Any:
    """Return what `validate_data` of scikit-learn does; refuse masked values."""
    # Its test for NaN adds values up, and numpy would warn of what that comes to.
    with np.errstate(over="ignore", invalid="ignore"):
        return validate_data(estimator, reject_masked(X), **settings)


def checked(X: Any, **settings: Any) -> Any:
    """Return what `check_array` of scikit-learn does; refuse masked values."""
    with np.errstate(over="ignore", invalid="ignore"):
        return check_array(reject_masked(X), **settings)


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
        raise ValueError(
            "X has masked values, which are missing ones. Fill them in, as with "
            "X.filled(np.nan) and an imputer, or leave the rows out."
        )
    if isinstance(X, pd.DataFrame) and X.shape[1] == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is "
            "required."
        )
    return X.detach() if torch.is_tensor(X) else X
