"""How far a floating-point score can be from the true one, as plain functions.

Nearest neighbours are looked for with scores ``s = |x|^2 + |q|^2 - 2 q.x`` in a fast,
low precision. With the unit roundoff ``u`` and ``d`` features, summation in any order
and vectors that were themselves rounded once, the score is off by at most
``beta (|x|^2 + |q|^2)`` (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
section 3.1). As ``|x| <= |q| + D``, where D is the true distance, a bound follows that
needs nothing but the score and the query: ``s <= D^2 (1 + 2 beta) + 3 beta |q|^2``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from latentsk._typing import Float64


def unit_roundoff(dtype: Any) -> float:
    """Return the largest relative error of one rounding.

    Examples
    --------
    >>> unit_roundoff(np.float32) == 2.0**-24
    True
    """
    return float(np.finfo(dtype).eps) / 2.0


def score_error(n_features: int, dtype: Any) -> float:
    """Return beta, the error of a score over ``|x|^2 + |q|^2``.

    Twice the error of a dot product, ``2 gamma_d``, and a margin of 20 u for rounding
    the vectors (4 u each), the norms and the final sums.

    Examples
    --------
    >>> 1e-4 < score_error(1_000, np.float32) < 2e-4
    True
    """
    u = unit_roundoff(dtype)
    gamma = n_features * u / (1.0 - n_features * u)
    return 2.0 * gamma + 20.0 * u


def underflow_error(n_features: int, dtype: Any) -> float:
    """Return the absolute error from underflow, for vectors with entries near one.

    Examples
    --------
    >>> 0 < underflow_error(100, np.float32) < 1e-33
    True
    """
    return 64.0 * n_features * float(np.finfo(dtype).tiny)


def score_bound(
    squared_distances: Float64, query_norms: Float64, n_features: int, dtype: Any
) -> Float64:
    """Return what the computed score is at most, given the squared distance.

    A row whose score is higher is farther away than that, in exact arithmetic.

    Examples
    --------
    >>> bound = score_bound(np.array([4.0]), np.array([1.0]), 10, np.float32)
    >>> bool(4.0 < bound[0] < 4.0001)
    True
    """
    beta = score_error(n_features, dtype)
    lost = 3.0 * beta * query_norms**2 + underflow_error(n_features, dtype)
    # The last factor covers the rounding of this line.
    return (squared_distances * (1.0 + 2.0 * beta) + lost) * (1.0 + 1e-14)


def may_overflow(query_norms: Float64, largest_norm: float, dtype: Any) -> Any:
    """Tell for which queries a score, or a part of it, could exceed the dtype.

    Examples
    --------
    >>> may_overflow(np.array([1e10, 1e19]), 1.0, np.float32)
    array([False,  True])
    """
    reach = query_norms + largest_norm
    return ~(reach < math.sqrt(float(np.finfo(dtype).max)) / 4.0)


def product_error(
    query_norms: Float64, largest_norm: float, n_features: int, dtype: Any
) -> Float64:
    """Return the error of an inner product with any row of at most this norm.

    Examples
    --------
    >>> error = product_error(np.array([2.0]), 3.0, 10, np.float64)
    >>> bool(0 < error[0] < 1e-13)
    True
    """
    beta = score_error(n_features, dtype)
    underflow = underflow_error(n_features, dtype)
    return beta * query_norms * largest_norm + underflow * (
        1.0 + query_norms + largest_norm
    )
