"""What every public method does first with the rows that it is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_array, validate_data


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
