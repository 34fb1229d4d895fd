"""Rows as they are given, for an embedder to judge."""

from __future__ import annotations

from collections.abc import Mapping, Set
from numbers import Number
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import _num_samples

from latentsk._columns import n_columns
from latentsk._device import on_host
from latentsk._texts import refuse_table_of_texts
from latentsk._validation import checked, reject_masked, reject_row, validated

# What a row without columns (a text, a dict) may become on its way to its latents.
ELEMENTS_OF_A_TEXT = 1_000


def rows_for_embedder(estimator: Any, X: Any, *, reset: bool, least: int) -> Any:
    """Return rows of any kind, and compare their columns with those of the fit.

    What rows may be and hold (texts, dates, missing values) is for the embedder to say.

    Parameters
    ----------
    estimator : estimator
        Gets `n_features_in_` and `feature_names_in_`, if the rows have columns.

    X : array-like
        Rows. Tensors become arrays; sparse matrices are those in compressed rows.

    reset : bool
        Whether the rows are those of a fit.

    least : int
        Least number of rows.

    Returns
    -------
    X : array-like
        Rows, of which any can be taken.

    Raises
    ------
    ValueError
        If there are too few rows, values are masked, the columns are other ones, or a
        table is given to what takes texts.

    TypeError
        If `X` is no collection of rows.
    """
    X = reject_masked(on_host(X))
    if isinstance(X, Mapping | Set) and not issparse(X):  # a dok_array is a dict
        raise TypeError(f"X must be a sequence of rows, got a {type(X).__name__}.")
    if issparse(X):
        X = X.tocsr()
    elif hasattr(X, "__array__") and not hasattr(X, "__getitem__"):
        X = np.asarray(X)
    refuse_table_of_texts(getattr(estimator, "embedder", estimator), X)
    n_rows = _num_samples(X)
    if n_rows < least:
        shape = f" (shape={X.shape})" if hasattr(X, "shape") else ""
        raise ValueError(
            f"Found array with {n_rows} sample(s){shape} while a minimum of {least} is "
            f"required by {type(estimator).__name__}."
        )
    if reset:
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(estimator, name):
                delattr(estimator, name)
    elif hasattr(estimator, "n_features_in_") and _is_one_row(X):
        reject_row(estimator, X)
        checked(X, dtype=None, estimator=estimator)  # says what to do
    return validated(estimator, X, reset=reset, skip_check_array=True)


def _is_one_row(X: Any) -> bool:
    """Tell whether rows are single numbers, as those of a table are not."""
    return n_columns(X) == 0 and isinstance(next(iter(X), None), Number)


def elements_per_row(X: Any, n_features: int) -> int:
    """Return about how many values a row has on its way through an embedder.

    Examples
    --------
    >>> elements_per_row(np.zeros((9, 2)), 3), elements_per_row(["a text"], 3)
    (3, 1000)
    """
    columns = 0 if issparse(X) else n_columns(X)
    if columns == 0:
        return max(n_features, ELEMENTS_OF_A_TEXT)
    shape = getattr(X, "shape", (0, columns))
    return max(n_features, int(np.prod(shape[1:])))
