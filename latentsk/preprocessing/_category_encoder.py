"""Columns of categories as numbers."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from latentsk._columns import columns_of, is_table
from latentsk._device import on_host
from latentsk._remedies import listed
from latentsk._state import StateMixin
from latentsk._typing import Float64, Positions
from latentsk._validation import checked, fit_context, validated
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import (
    Sizes,
    State,
    count,
    floats,
    instance,
    integers,
    names,
    require,
)
from latentsk.preprocessing._robust_standardizer import INDICATOR


def _check_encoder(_: Any, state: State, sizes: Sizes) -> None:
    encoder = state["encoder_"]
    n_columns = len(getattr(encoder, "categories_", ()))
    require(n_columns == sizes["n_features"], "its categories are of other columns")
    is_ours = encoder.drop is None and not encoder.sparse_output
    require(is_ours, "its encoder is another one")
    n_encoded = len(_columns_of_categories(encoder))
    require(n_encoded == sizes["n_encoded"], "its shares are of other categories")


@storable(
    {
        "n_features_in_": count(1, named="n_features"),
        "encoder_": instance(OneHotEncoder),
        "_shares": floats("n_encoded", least=0, dtypes={"float64"}),
        "_missing_columns": integers("n_gaps", below="n_features", dtypes={"int64"}),
    },
    optional={"feature_names_in_": names("n_features")},
    check=_check_encoder,
)
class CategoryEncoder(StateMixin, TransformerMixin, BaseEstimator):
    """Encode categories as a column of 0 and 1 for each.

    A :class:`~sklearn.preprocessing.OneHotEncoder` that takes columns as they come:
    strings, numbers and booleans, also within one column. Rare categories are joined,
    and one that the fit has not seen counts as one of them; where there are no rare
    ones, it is far from all others. A missing value counts as a bit of each category,
    by the share of rows that has it, and is told by an indicator column of its own.

    Parameters
    ----------
    max_categories : int, default=32
        Largest number of columns that a column becomes, its indicator not counted.

    min_frequency : int, default=2
        Categories of fewer rows are rare.

    unseen_distance : float, default=5.0
        About how far from all others a category is that the fit has not seen, where
        there are no rare ones. 1: all its columns are 0, as scikit-learn has it.

    Attributes
    ----------
    encoder_ : OneHotEncoder
        Fitted to the categories as strings.

    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where they are all strings.

    See Also
    --------
    make_table_preprocessor : The encoders for a table of mixed columns.

    Notes
    -----
    The squared distance between two rows of different categories is 2, and the variance
    that a column adds is ``1 - sum(p**2)`` for categories of shares p: at most as much
    as a standardized column of numbers adds. That a value is missing does not make a
    row abnormal: it is nearer to most rows than they are to each other, and indicators
    are small.

    Numbers are named alike, whatever their type: 1, 1.0 and "1" are one category. (A
    column of integers is one of floats as soon as a value is missing.)

    Examples
    --------
    >>> import pandas as pd
    >>> from latentsk import CategoryEncoder
    >>> X = pd.DataFrame({"city": ["Bonn", "Rome", None, "Rome", "Bonn", "Nice"]})
    >>> encoder = CategoryEncoder().fit(X)
    >>> encoder.get_feature_names_out().tolist()
    ['city_Bonn', 'city_Rome', 'city_infrequent_sklearn', 'city=nan']
    >>> encoder.transform(pd.DataFrame({"city": ["Rome", "Oslo", None]}))
    array([[0.  , 1.  , 0.  , 0.  ],
           [0.  , 0.  , 1.  , 0.  ],
           [0.4 , 0.4 , 0.2 , 0.01]])
    """

    _parameter_constraints: dict[str, Any] = {
        "max_categories": [Interval(Integral, 2, None, closed="left")],
        "min_frequency": [Interval(Integral, 1, None, closed="left")],
        "unseen_distance": [Interval(Real, 1, None, closed="left")],
    }

    _private_state = ("_shares", "_missing_columns")

    _shares: Float64
    _missing_columns: Positions

    def __init__(
        self,
        *,
        max_categories: int = 32,
        min_frequency: int = 2,
        unseen_distance: float = 5.0,
    ) -> None:
        self.max_categories = max_categories
        self.min_frequency = min_frequency
        self.unseen_distance = unseen_distance

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Learn the categories of each column.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Cells are strings, numbers, booleans or missing.

        y : None
            Ignored.

        Returns
        -------
        self : CategoryEncoder
            The fitted encoder.

        Raises
        ------
        TypeError
            If a cell is a list or another object that cannot be compared.

        ValueError
            If `X` is no table. The encoder is then left as it was.

        Examples
        --------
        >>> from latentsk import CategoryEncoder
        >>> CategoryEncoder(min_frequency=1).fit([["a"], ["b"]]).encoder_.categories_
        [array(['a', 'b'], dtype=object)]
        """
        with self._rollback_on_error():
            labels = self._labels(X, reset=True)
            is_missing = labels != labels
            self._missing_columns = np.flatnonzero(is_missing.any(axis=0))
            for j in self._missing_columns:
                labels[is_missing[:, j], j] = _most_frequent(labels[:, j])
            encoder = OneHotEncoder(
                handle_unknown="infrequent_if_exist",
                max_categories=self.max_categories,
                min_frequency=self.min_frequency,
                sparse_output=False,
            )
            self.encoder_ = encoder.set_output(transform="default").fit(labels)
            is_known = ~is_missing[:, _columns_of_categories(self.encoder_)]
            encoded = self.encoder_.transform(labels)
            n_known = np.maximum(is_known.sum(axis=0), 1)
            self._shares = (encoded * is_known).sum(axis=0) / n_known
        return self

    def transform(self, X: ArrayLike) -> Float64:
        """Encode categories.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X_transformed : ndarray of shape (n_samples, n_features_out), float64
            1 in the column of the category of each cell, else 0. Of a category that the
            fit has not seen, where there are no rare ones, all k columns are negative:
            ``(1 - unseen_distance) / sqrt(k)``. Of a missing value, they are the shares
            of the categories in the fit. Then a column for each that had missing values
            in the fit: 0.01 where a cell is missing, else 0.

        Raises
        ------
        NotFittedError
            If the encoder is not fitted.

        TypeError, ValueError
            If `X` is not valid.

        Warns
        -----
        UserWarning
            If values are missing in a column that had none missing in the fit.

        Examples
        --------
        >>> from latentsk import CategoryEncoder
        >>> encoder = CategoryEncoder(min_frequency=1).fit([["a"], ["b"], [1]])
        >>> encoder.transform([["b"], [1.0], ["c"]]).round(1)
        array([[ 0. ,  0. ,  1. ],
               [ 1. ,  0. ,  0. ],
               [-2.3, -2.3, -2.3]])
        """
        check_is_fitted(self)
        labels = self._labels(X)
        is_missing = labels != labels
        self._warn_of_missing(is_missing.any(axis=0))
        columns = _columns_of_categories(self.encoder_)
        encoded = self.encoder_.transform(labels)
        for j, size in enumerate(np.bincount(columns)):
            block = encoded[:, columns == j]
            is_unseen = block.sum(axis=1) == 0.0
            block[is_unseen] = (1.0 - self.unseen_distance) / np.sqrt(size)
            block[is_missing[:, j]] = self._shares[columns == j]
            encoded[:, columns == j] = block
        return np.hstack([encoded, INDICATOR * is_missing[:, self._missing_columns]])

    def _warn_of_missing(self, lacks: NDArray[np.bool_]) -> None:
        """Warn of columns that lack values, and did not in the fit."""
        lacks = lacks.copy()
        lacks[self._missing_columns] = False
        if lacks.any():
            names = [str(name) for name in _check_feature_names_in(self)[lacks]]
            warnings.warn(
                f"X has missing values in {listed(names)}, where the rows of the fit "
                "had none. They count as a bit of each category.",
                UserWarning,
                stacklevel=3,
            )

    def inverse_transform(self, X: ArrayLike) -> NDArray[np.object_]:
        """Return the category of the largest number of each column.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_out)
            Encoded rows.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features), object
            Categories as strings, "infrequent_sklearn" for rare ones, NaN where the
            indicator is above 0.005, None where all numbers are 0 or less.

        Raises
        ------
        NotFittedError
            If the encoder is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from latentsk import CategoryEncoder
        >>> encoder = CategoryEncoder(min_frequency=1).fit([["a"], ["b"]])
        >>> encoder.inverse_transform([[0.2, 0.7]])
        array([['b']], dtype=object)
        """
        check_is_fitted(self)
        encoded = checked(on_host(X))
        n_encoded = len(self._shares)
        if encoded.shape[1] != n_encoded + len(self._missing_columns):
            raise ValueError(
                f"X has {encoded.shape[1]} columns, but {type(self).__name__} returns "
                f"{n_encoded + len(self._missing_columns)}."
            )
        categories = np.maximum(encoded[:, :n_encoded], 0.0)
        original = self.encoder_.inverse_transform(categories)
        is_on = encoded[:, n_encoded:] > INDICATOR / 2
        for j, is_missing in zip(self._missing_columns, is_on.T, strict=True):
            original[is_missing, j] = np.nan
        return original

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
        feature_names_out : ndarray of shape (n_features_out,), str objects
            Such as "city_Rome", "city_infrequent_sklearn", and at the end "city=nan"
            for missing values.

        Raises
        ------
        NotFittedError
            If the encoder is not fitted.

        ValueError
            If `input_features` are not as many as the columns, or not
            `feature_names_in_`.

        Examples
        --------
        >>> from latentsk import CategoryEncoder
        >>> encoder = CategoryEncoder(min_frequency=1).fit([["a"], ["b"]])
        >>> encoder.get_feature_names_out(["kind"])
        array(['kind_a', 'kind_b'], dtype=object)
        """
        check_is_fitted(self)
        columns = _check_feature_names_in(self, input_features)
        gaps = [f"{columns[j]}=nan" for j in self._missing_columns]
        encoded = self.encoder_.get_feature_names_out(columns)
        return np.array([*encoded, *gaps], dtype=object)

    @property
    def category_columns(self) -> Positions:
        """Position of the column that each column of the output belongs to."""
        check_is_fitted(self)
        encoded = _columns_of_categories(self.encoder_)
        return np.concatenate([encoded, self._missing_columns])

    @property
    def n_indicators(self) -> int:
        """Number of columns that tell of missing values, the last ones."""
        check_is_fitted(self)
        return len(self._missing_columns)

    def _labels(self, X: Any, *, reset: bool = False) -> NDArray[np.object_]:
        # Or numpy would make strings of all cells of a list.
        X = np.array(X, object) if isinstance(X, list | tuple) else on_host(X)
        rows = validated(self, X, reset=reset, dtype=None, ensure_all_finite=False)
        # Of a table in its own types: as one array, True may be 1.0.
        columns = [cells for _, cells in columns_of(X)] if is_table(X) else rows.T
        found = np.empty(rows.shape, object)
        for j, cells in enumerate(columns):
            try:
                found[:, j] = labels_of(cells)
            except TypeError as error:
                label = _check_feature_names_in(self)[j]
                raise TypeError(
                    f"A category must be a string or a number, but column "
                    f"{listed([str(label)])} holds {error}. Join its parts to a string "
                    "or leave the column out."
                ) from error
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def _columns_of_categories(encoder: OneHotEncoder) -> Positions:
    rare = encoder.infrequent_categories_
    n_rare = [0 if names is None else len(names) - 1 for names in rare]
    n_all = [len(names) for names in encoder.categories_]
    return np.repeat(np.arange(len(n_all)), np.subtract(n_all, n_rare))


def _most_frequent(labels: NDArray[np.object_]) -> str:
    """Return the label of the most rows; "nan" where all are missing."""
    names, counts = np.unique(labels[labels == labels].astype(str), return_counts=True)
    return str(names[counts.argmax()]) if len(names) else "nan"


def labels_of(cells: NDArray[Any]) -> NDArray[np.object_]:
    """Return categories as strings, and NaN for missing values.

    Parameters
    ----------
    cells : ndarray of shape (n_rows,)

    Returns
    -------
    labels : ndarray of shape (n_rows,), object

    Raises
    ------
    TypeError
        If a cell has no hash. The message is what it is.

    Examples
    --------
    >>> labels_of(np.array(["a", 1, 2.0, True, 0.5, None], dtype=object))
    array(['a', '1', '2', 'True', '0.5', nan], dtype=object)
    """
    if cells.dtype == object:
        # Equal and of one hash, but not alike: True and 1.
        is_flag = [isinstance(cell, bool | np.bool_) for cell in cells]
        cells = cells.copy()
        cells[is_flag] = cells[is_flag].astype(str)
    try:
        codes, values = pd.factorize(cells)
    except TypeError as error:
        kind = next(type(c).__name__ for c in cells if not _has_hash(c))
        raise TypeError(f"objects of type {kind}") from error
    names = np.array([*map(_label, values), np.nan], object)
    return names[codes]  # -1, of missing values, is the last


def _label(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, Real) and float(value).is_integer():
        return str(int(value) if isinstance(value, Integral) else int(float(value)))
    return str(value.item() if isinstance(value, np.generic) else value)


def _has_hash(cell: Any) -> bool:
    try:
        hash(cell)
    except TypeError:
        return False
    return True
