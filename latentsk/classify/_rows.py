"""Rows as the densities of the classes take them, validated together."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import get_tags

from latentsk._device import on_host
from latentsk._validation import validated
from latentsk.embedders._base import BaseEmbedder
from latentsk.outliers._input import rows_for_embedder
from latentsk.vae._table import FLOATS, INTEGERS, tells_columns_apart


def class_rows(classifier: Any, estimator: Any, X: Any, *, reset: bool) -> Any:
    """Return rows of numbers, or whatever an estimator that reads tables takes.

    All rows are validated here, and not by each density: its messages would count the
    rows of its class.

    Parameters
    ----------
    classifier : estimator
        Gets `n_features_in_` and `feature_names_in_`, or has them.

    estimator : estimator
        The density of a class, fitted or not.

    X : array-like

    reset : bool
        Whether the rows are those of a fit.

    Raises
    ------
    TypeError, ValueError
    """
    tags = get_tags(classifier).input_tags
    if _reads_tables(estimator) or not tags.two_d_array:
        return rows_for_embedder(classifier, X, reset=reset, least=1)
    # scikit-learn's mixtures compute scores in the dtype of rows, integers included.
    takes_integers = isinstance(estimator, BaseEmbedder)
    return validated(
        classifier,
        on_host(X),
        reset=reset,
        dtype=[*FLOATS, *INTEGERS] if takes_integers else [np.float64, np.float32],
        accept_sparse="csr" if tags.sparse else False,
        ensure_all_finite="allow-nan" if tags.allow_nan else True,
    )


def _reads_tables(estimator: Any) -> bool:
    """Tell whether an estimator treats columns of a table by themselves."""
    if not isinstance(estimator, BaseEmbedder):
        return False
    condition = getattr(estimator, "condition", None)
    return tells_columns_apart(condition, getattr(estimator, "likelihood", None))
