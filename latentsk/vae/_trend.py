"""What conditions say of modelled numbers by themselves: a linear trend."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from latentsk._typing import Float64
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import floats
from latentsk.training._standardize import Moments

# Of the ridge regression, on standardized conditions: as if there were one more row
# for each of them, without an effect.
RIDGE = 1.0


@storable()
class Trend(NamedTuple):
    """Modelled columns as linear functions of the conditions.

    Attributes
    ----------
    effects : ndarray of shape (n_conditions, n_modelled)
        By how much a column rises with a condition; 0 of what has no trend.
    origin : ndarray of shape (n_conditions,)
        Conditions where the trend is zero.

    Examples
    --------
    >>> trend = Trend(np.array([[2.0, 0.0]]), np.array([10.0]))
    >>> trend.at(np.array([[10.0], [11.0]]))
    array([[0., 0.],
           [2., 0.]])
    """

    effects: Annotated[Float64, floats("n_given", "n_modelled", dtypes={"float64"})]
    origin: Annotated[Float64, floats("n_given", dtypes={"float64"})]

    def at(self, conditions: NDArray[Any]) -> Float64:
        """Return the trend of each row, of shape (n_rows, n_modelled)."""
        return (conditions - self.origin) @ self.effects


def learned_trend(
    conditions: NDArray[Any], modelled: NDArray[Any], has_trend: NDArray[np.bool_]
) -> Trend:
    """Return the trend of training rows, by ridge regression.

    A network that models what is left need not learn what is linear, and columns are
    standardized by what conditions leave of them.

    Parameters
    ----------
    conditions : ndarray of shape (n_rows, n_conditions)

    modelled : ndarray of shape (n_rows, n_modelled)
        Cells may be missing.

    has_trend : ndarray of shape (n_modelled,), dtype bool
        Which columns may have one: those of all real numbers.

    Returns
    -------
    trend : Trend

    Examples
    --------
    >>> season = np.repeat([0.0, 1.0], 500)[:, None]
    >>> learned_trend(season, 20 * season, np.array([True])).effects.round(1)
    array([[20.]])
    """
    mean, scale = Moments.of(conditions).standardizer()
    standardized = (conditions - mean) / scale
    effects = np.zeros((len(mean), modelled.shape[1]))
    for column in np.flatnonzero(has_trend):
        is_known = ~np.isnan(modelled[:, column])
        if is_known.any():
            cells = modelled[is_known, column].astype(np.float64)
            ridge = Ridge(alpha=RIDGE).fit(standardized[is_known], cells)
            effects[:, column] = ridge.coef_ / scale
    return Trend(effects, mean)
