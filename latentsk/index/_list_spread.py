"""How rows lie in their lists: what tells whether a list may hold a neighbour."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from latentsk._typing import Float32, Float64, Positions

# Rows of an average list that each list is taken to hold besides its own, so that a
# list of few rows is not taken to be a point.
PRIOR_ROWS = 4.0
# Smallest variance, as a share of that of all lists: ratios stay finite.
LEAST_SHARE, LEAST = 1e-6, 1e-30


class Normals(NamedTuple):
    """A normal distribution, without correlations, for each list.

    Attributes
    ----------
    means, variances : ndarrays of shape (n_lists, n_codes), float32
    """

    means: Float32
    variances: Float32

    def margins(self, queries: Float32, squares: Float32) -> Float32:
        """Return how far within a distance each list lies, in standard deviations.

        The squared distance to a row of a normal distribution has the mean ``|q - m|^2
        + sum v`` and the variance ``4 sum (q - m)^2 v + 2 sum v^2``.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_codes), float32

        squares : ndarray of shape (n_queries,)
            Squared distances.

        Returns
        -------
        margins : ndarray of shape (n_queries, n_lists)

        Examples
        --------
        >>> lists = Normals(np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32))
        >>> lists.margins(np.array([[3.0, 0.0]], np.float32), np.array([11.0]))
        array([[0.]], dtype=float32)
        """
        means, variances = self
        own = np.square(queries)
        centers = np.square(means)
        expected = own.sum(axis=1)[:, None] - 2 * queries @ means.T
        expected += (centers + variances).sum(axis=1)
        spread = own @ variances.T - 2 * queries @ (means * variances).T
        spread += (centers * variances).sum(axis=1)
        spread = 4 * np.maximum(spread, 0) + 2 * np.square(variances).sum(axis=1)
        margins = squares.astype(np.float32)[:, None] - expected
        return margins / np.sqrt(spread)


class ListSpread:
    """Sums over the rows of each list.

    Parameters
    ----------
    centers : ndarray of shape (n_lists, n_codes), float32

    Examples
    --------
    >>> spread = ListSpread(np.zeros((2, 3), np.float32))
    >>> spread.add(np.array([1, 1]), np.eye(2, 3, dtype=np.float32))
    >>> queries = np.array([[0, 0, 0], [9, 9, 9]], np.float32)
    >>> (spread.rates(queries, np.array([4.0, 4.0]))[:, 1] > 0.5).tolist()
    [True, False]
    """

    def __init__(self, centers: Float32) -> None:
        self._centers = centers
        self._counts = np.zeros(len(centers))
        self._sums = np.zeros(centers.shape)
        self._squares = np.zeros(centers.shape)
        self._normals: Normals | None = None

    def add(self, lists: Positions, rows: Float32) -> None:
        """Count rows in.

        Parameters
        ----------
        lists : ndarray of shape (n_rows,)
            Of each row.

        rows : ndarray of shape (n_rows, n_codes), float32
        """
        if len(lists) == 0:
            return
        order = np.argsort(lists, kind="stable")
        lists = lists[order]
        rests = rows[order] - self._centers[lists]
        starts = np.flatnonzero(np.diff(lists, prepend=-1))
        some = lists[starts]
        self._counts[some] += np.diff(starts, append=len(lists))
        self._sums[some] += np.add.reduceat(rests, starts, axis=0)
        self._squares[some] += np.add.reduceat(np.square(rests), starts, axis=0)
        self._normals = None

    def clear(self, number: int) -> None:
        """Forget the rows of a list."""
        self._counts[number] = 0
        self._sums[number] = self._squares[number] = 0
        self._normals = None

    def rates(self, queries: Float32, squares: Float32) -> Float64:
        """Return which share of each list is expected within a distance.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_codes), float32

        squares : ndarray of shape (n_queries,)
            Squared distances.

        Returns
        -------
        rates : ndarray of shape (n_queries, n_lists)
        """
        margins = self.normals.margins(queries, squares)
        return ndtr(margins.astype(np.float64))

    @property
    def normals(self) -> Normals:
        """The lists as normal distributions."""
        if self._normals is None:
            total = max(1.0, self._counts.sum())
            usual = self._squares.sum(axis=0) / total
            weights = 1.0 / (self._counts + PRIOR_ROWS)[:, None]
            means = self._sums * weights
            variances = (self._squares + PRIOR_ROWS * usual) * weights - means**2
            least = max(LEAST, LEAST_SHARE * usual.mean())
            variances = np.maximum(variances, least).astype(np.float32)
            means = (self._centers + means).astype(np.float32)
            self._normals = Normals(means, variances)
        return self._normals
