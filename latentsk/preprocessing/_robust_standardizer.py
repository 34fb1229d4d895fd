"""Columns on one scale, whatever extremes and codes they hold."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import (
    FLOAT_DTYPES,
    _check_feature_names_in,
    check_is_fitted,
)

from latentsk._chunks import row_slices
from latentsk._device import on_host
from latentsk._remedies import listed
from latentsk._state import StateMixin
from latentsk._typing import Float64, Positions
from latentsk._validation import LIMITS, checked, fit_context, reject_huge, validated
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import (
    Sizes,
    State,
    count,
    floats,
    integers,
    names,
    require,
)
from latentsk.preprocessing._codes import find_codes, is_code, name_of_code
from latentsk.preprocessing._columns import ValueCounts, median, winsorized_scale

# The value of an indicator. Rows with the code are at distance 0.01 from those without,
# which is next to nothing among columns of standard deviation one: that a value is not
# known does not make its row an outlier. It is enough to tell the rows apart, and to
# give the code back.
INDICATOR = 0.01


def _check_scale(standardizer: Any, state: State, sizes: Sizes) -> None:
    require(bool((state["scale_"] > 0.0).all()), "a scale is not positive")
    require(not np.isinf(state["_code_values"]).any(), "a code is infinite")


@storable(
    {
        "n_features_in_": count(1, named="n_features"),
        "center_": floats("n_features", dtypes={"float64"}),
        "scale_": floats("n_features", least=0, dtypes={"float64"}),
        "_code_columns": integers("n_codes", below="n_features", dtypes={"int64"}),
        "_code_values": floats("n_codes", finite=False, dtypes={"float64"}),
    },
    optional={"feature_names_in_": names("n_features")},
    check=_check_scale,
)
class RobustStandardizer(StateMixin, TransformerMixin, BaseEstimator):
    """Standardize columns by statistics that extremes and codes do not move.

    Subtracts the median and divides by the standard deviation of the values after
    extreme ones are drawn in, which for clean normal columns is the standard deviation.
    A missing value (NaN), and a code that stands for what is not known (-999, 9999, a
    blood pressure of 0), become the median, and are told by an indicator column of
    their own. It is the first step of the default embedder of
    :class:`LatentOutlierDetector`.

    Parameters
    ----------
    detect_codes : bool, default=True
        Whether to look for codes. False: every value is what it says.

    add_indicator : bool, default=True
        Whether `transform` appends a column for each code, and for the missing values
        of each column that had some in the fit.

    Attributes
    ----------
    center_ : ndarray of shape (n_features_in_,), float64
        Median of each column's cells that are known: not missing, and no codes. Of a
        column without such cells it is 0.

    scale_ : ndarray of shape (n_features_in_,), float64
        Standard deviation of these cells after clipping to
        ``[Q1 - 3 IQR, Q3 + 3 IQR]``, Q1 and Q3 being their quartiles and IQR the
        distance of these. Where half of the cells have one value, the quartiles are
        those of the others, and the interval is extended to that value. A column of two
        values has at least their difference: a rare category is not extreme by itself.
        A constant column has 1, and so has one without cells that are known.

    codes_ : dict of str to ndarray of shape (n_codes,)
        The codes of each column that has some, ascending, by the name of the column
        ("x0", "x1", ... where columns have no names).

    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where they are all strings.

    See Also
    --------
    LatentOutlierDetector : Detect outliers by all that a latent space knows of a row.
    sklearn.preprocessing.RobustScaler : Median and interquartile range.

    Notes
    -----
    A value is a code of its column if all of this holds:

    - At least two cells have it, and between 1 % and 25 % of all. Rarer extremes stay
      as they are, far out.
    - It lies outside the far fences ``[Q1 - 3 IQR, Q3 + 3 IQR]`` of the cells that are
      no codes, or two IQR outside the quartiles and 1.5 from any other value; where
      these have fewer than 12 values, ten times as far away as these lie apart.
    - It stands alone: hardly any other value lies beyond half way to it, and the tail
      on its side does not come near it. So the ends of long tails are none, nor a cap
      at the end of one, nor the values of a second cluster.
    - The other cells have two values at least, and half of the column.

    A quarter of the cells of a column may have any value without moving its centre or
    scale out of the range that the others suggest.

    Examples
    --------
    >>> import numpy as np
    >>> from latentsk import RobustStandardizer
    >>> X = np.random.default_rng(0).normal(50, 5, size=(300, 2))
    >>> X[:15, 1] = -999
    >>> standardizer = RobustStandardizer().fit(X)
    >>> standardizer.codes_
    {'x1': array([-999.])}
    >>> standardizer.scale_.round(1)
    array([5., 5.])
    >>> standardizer.get_feature_names_out()
    array(['x0', 'x1', 'x1=-999'], dtype=object)
    >>> standardizer.transform([[50, 55], [50, -999]]).round(2)
    array([[0.13, 1.02, 0.  ],
           [0.13, 0.  , 0.01]])
    """

    _parameter_constraints: dict[str, Any] = {
        "detect_codes": ["boolean"],
        "add_indicator": ["boolean"],
    }

    _private_state = ("_code_columns", "_code_values")

    _code_columns: Positions
    _code_values: Float64

    def __init__(
        self, *, detect_codes: bool = True, add_indicator: bool = True
    ) -> None:
        self.detect_codes = detect_codes
        self.add_indicator = add_indicator

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Learn the centre, the scale and the codes of each column.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows: numbers of any type, finite or missing (NaN).

        y : None
            Ignored.

        Returns
        -------
        self : RobustStandardizer
            The fitted transformer.

        Raises
        ------
        ValueError
            If `X` is not valid (infinite, not numeric) or has a magnitude above 1e100.
            The transformer is then left as it was.

        Examples
        --------
        >>> from latentsk import RobustStandardizer
        >>> RobustStandardizer().fit([[1], [2], [3], [4], [1000]]).center_
        array([3.])
        """
        with self._rollback_on_error():
            rows = self._validated(X, reset=True)
            reject_huge(rows, getattr(self, "feature_names_in_", None))
            self._fit(rows)
        return self

    def _fit(self, X: NDArray[Any]) -> None:
        """Fit on valid rows, a column at a time: they may be most of the memory."""
        n_features = X.shape[1]
        center, scale = np.empty(n_features), np.empty(n_features)
        codes = [np.empty(0)] * n_features
        for j in range(n_features):
            center[j], scale[j], codes[j] = self._fit_column(X[:, j])
        self.center_, self.scale_ = center, scale
        self._code_columns = np.repeat(np.arange(n_features), [len(c) for c in codes])
        self._code_values = np.concatenate(codes)

    def _fit_column(self, cells: NDArray[Any]) -> tuple[float, float, Float64]:
        """Return the centre, the scale and the codes, NaN the last of them."""
        known, missing = cells, np.empty(0)
        if cells.dtype.kind == "f" and (is_missing := np.isnan(cells)).any():
            known, missing = cells[~is_missing], np.array([np.nan])
        if len(known) == 0:
            return 0.0, 1.0, missing
        column = ValueCounts.of(known)
        codes = find_codes(column) if self.detect_codes else np.empty(0)
        column = column.where(~np.isin(column.values, codes))
        codes = np.concatenate([codes, missing])
        return median(column), winsorized_scale(column), codes

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Standardize rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X_transformed : ndarray of shape (n_samples, n_features + n_codes)
            ``(X - center_) / scale_``, and 0 where a cell is missing or a code of its
            column; then a column for each code, and for missing values where the fit
            had some: 0.01 where a cell is that code, or missing, else 0. The type is
            float32 for rows in float32, else float64. Magnitudes above 1e100 (in
            float32, above 1e30) are drawn in to that.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.

        ValueError
            If `X` is not valid.

        Warns
        -----
        UserWarning
            If values are missing in a column that had none missing in the fit. They
            become the median, without an indicator.

        Notes
        -----
        Indicators are so small that they do not make a row abnormal by themselves: rows
        with a code are as far from the others as their other columns say.

        Examples
        --------
        >>> from latentsk import RobustStandardizer
        >>> standardizer = RobustStandardizer().fit([[1], [2], [3], [4], [5]])
        >>> standardizer.transform([[3], [1000]]).round(1)
        array([[  0.],
               [705.]])
        """
        check_is_fitted(self)
        rows = self._validated(X)
        self._warn_of_missing(rows)
        return self._transform(rows)

    def _warn_of_missing(self, X: NDArray[Any]) -> None:
        """Warn of columns that lack values, and did not in the fit."""
        if X.dtype.kind != "f" or not np.isnan(np.min(X)):
            return
        known = np.ones(X.shape[1], bool)
        known[self._code_columns[np.isnan(self._code_values)]] = False
        found = np.flatnonzero(np.isnan(X).any(axis=0) & known)
        if len(found):
            names = _check_feature_names_in(self)[found]
            warnings.warn(
                f"X has missing values in {listed([str(name) for name in names])}, "
                "where the rows of the fit had none. They count as the median. (A step "
                "before may have made them, as np.log of a negative number is none.)",
                UserWarning,
                stacklevel=3,
            )

    def _transform(self, X: NDArray[Any]) -> NDArray[Any]:
        n_features = X.shape[1]
        dtype = X.dtype if X.dtype == np.float32 else np.dtype(np.float64)
        limit = LIMITS[dtype.name]
        result = np.empty((len(X), self._n_features_out), dtype)
        for rows in row_slices(len(X), self._n_features_out):
            block = X[rows].astype(np.float64)
            has_code = self._has_code(block)
            with np.errstate(over="ignore", invalid="ignore"):
                block -= self.center_
                block /= self.scale_
            for k, j in enumerate(self._code_columns):
                block[has_code[:, k], j] = 0.0
            block[np.isnan(block)] = 0.0
            result[rows, :n_features] = np.clip(block, -limit, limit, out=block)
            if self.add_indicator:
                result[rows, n_features:] = INDICATOR * has_code
        return result

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return columns in their own units, and the codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features + n_codes)
            Standardized rows, as `transform` returns them.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            ``X * scale_ + center_``, or the code (NaN for a missing value) where its
            indicator is above 0.005. In float32 for rows in float32, else in float64.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from latentsk import RobustStandardizer
        >>> X = [[1], [2], [3], [4], [5], [6], [7], [-99], [-99]]
        >>> standardizer = RobustStandardizer().fit(X)
        >>> standardizer.transform([[4], [-99]])
        array([[0.  , 0.  ],
               [0.  , 0.01]])
        >>> standardizer.inverse_transform([[0, 0], [0, 0.01]])
        array([[  4.],
               [-99.]])
        """
        check_is_fitted(self)
        rows = checked(on_host(X), dtype=FLOAT_DTYPES)
        if rows.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {rows.shape[1]} columns, but {type(self).__name__} returns "
                f"{self._n_features_out}: {self.n_features_in_} standardized columns, "
                f"and {len(self.code_columns)} indicators of codes."
            )
        return self._inverse_transform(rows)

    def _inverse_transform(self, X: NDArray[Any]) -> NDArray[Any]:
        n_features = len(self.center_)
        with np.errstate(over="ignore"):
            original = X[:, :n_features] * self.scale_ + self.center_
            indicators = X[:, n_features:].T > INDICATOR / 2
            # There are none without `add_indicator`.
            codes = zip(self._code_columns, self._code_values, indicators, strict=False)
            for j, value, is_on in codes:
                original[is_on, j] = value
            return original.astype(X.dtype)

    def is_code(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Tell which cells are codes of their columns; missing values are none.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        is_code : ndarray of shape (n_samples, n_features), bool
            Cells equal to a code up to a millionth of it, as it may be in float32, and
            a tenth of the column's scale.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from latentsk import RobustStandardizer
        >>> X = [[1], [2], [3], [4], [5], [6], [7], [-99], [-99]]
        >>> RobustStandardizer().fit(X).is_code([[4], [-99], [-999]]).ravel()
        array([False,  True, False])
        """
        check_is_fitted(self)
        return self._is_code(self._validated(X))

    def _is_code(self, X: NDArray[Any]) -> NDArray[np.bool_]:
        found = np.zeros(X.shape, dtype=bool)
        for rows in row_slices(len(X), X.shape[1]):
            has_code = self._has_code(X[rows])
            for k in np.flatnonzero(~np.isnan(self._code_values)):
                found[rows, self._code_columns[k]] |= has_code[:, k]
        return found

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
        feature_names_out : ndarray of shape (n_features + n_codes,), str objects
            Names of the columns, then one for each code, such as "amount=-999", or
            "amount=nan" for missing values.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.

        ValueError
            If `input_features` are not as many as the columns, or not
            `feature_names_in_`.

        Examples
        --------
        >>> from latentsk import RobustStandardizer
        >>> X = [[1], [2], [3], [4], [5], [6], [7], [-99], [-99]]
        >>> RobustStandardizer().fit(X).get_feature_names_out(["amount"])
        array(['amount', 'amount=-99'], dtype=object)
        """
        check_is_fitted(self)
        columns = _check_feature_names_in(self, input_features)
        values = self._code_values[: len(self.code_columns)]
        codes = [
            f"{columns[j]}={name_of_code(value)}"
            for j, value in zip(self.code_columns, values, strict=True)
        ]
        return np.array([*columns, *codes], dtype=object)

    @property
    def codes_(self) -> dict[str, Float64]:
        """The codes of each column that has some."""
        check_is_fitted(self)
        columns = _check_feature_names_in(self)
        is_code = ~np.isnan(self._code_values)
        return {
            str(columns[j]): self._code_values[is_code & (self._code_columns == j)]
            for j in np.unique(self._code_columns[is_code])
        }

    @property
    def code_columns(self) -> Positions:
        """Position of the column that each indicator belongs to."""
        check_is_fitted(self)
        return self._code_columns if self.add_indicator else self._code_columns[:0]

    @property
    def is_missing_code(self) -> NDArray[np.bool_]:
        """Whether each indicator is that of missing values."""
        return np.isnan(self._code_values)[: len(self.code_columns)]

    @property
    def _n_features_out(self) -> int:
        return len(self.center_) + len(self.code_columns)

    def _validated(self, X: Any, *, reset: bool = False) -> NDArray[Any]:
        X = validated(
            self,
            on_host(X),
            reset=reset,
            dtype="numeric",
            ensure_all_finite="allow-nan",
        )
        # Of lists with None, which "numeric" leaves as they are.
        return X.astype(np.float64) if X.dtype == object else X

    def _has_code(self, X: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which rows have each code."""
        scale = self.scale_[self._code_columns]
        return is_code(X[:, self._code_columns], self._code_values, scale)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = True
        return tags
