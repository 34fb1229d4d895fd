"""How rows lie in their lists: what tells whether a list may hold a neighbour."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from latentsk._typing import Float32, Float64, Positions

# Rows of an average list that each list is taken to hold besides its own, so that a
# list of few rows is not taken to be a point.
PRIOR_ROWS = 4.0
# Smallest variance, as a share of that of all lists: ratios stay finite.
LEAST_SHARE, LEAST = 1e-6, 1e-30
# Standard normal values, and weights, that stand for the distribution (Gauss and
# Hermite), and which share of its variance each of them spreads over.
NODES = ((-math.sqrt(3.0), 1 / 6), (0.0, 2 / 3), (math.sqrt(3.0), 1 / 6))
NODE_SHARE = 0.25


class Mixtures(NamedTuple):
    """A normal distribution of rows for each list, of which some reach farther.

    Squared distances of the rows to the middle are log-normal, so that lists may have
    a dense middle and a few rows far away; of rows at the same distance, coordinates
    are normal, without correlations.

    Attributes
    ----------
    means, variances : ndarrays of shape (n_lists, n_codes), float32
        Of the coordinates.

    log_means, log_deviations : ndarrays of shape (n_lists,), float32
        Of the logarithms of squared distances to the middle.
    """

    means: Float32
    variances: Float32
    log_means: Float32
    log_deviations: Float32

    def rates(self, queries: Float32, squares: Float32) -> Float64:
        """Return which share of each list is expected within a distance.

        With the distance ``D`` to the middle, and ``R`` of a row to it, a squared
        distance is normal with the mean ``D^2 + R^2`` and the variance ``4 (R^2 / r^2)
        sum (q - m)^2 v``, where ``r^2`` is the mean of ``R^2``.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_codes), float32

        squares : ndarray of shape (n_queries,)
            Squared distances.

        Returns
        -------
        rates : ndarray of shape (n_queries, n_lists), float64

        Examples
        --------
        >>> zero, one = np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)
        >>> lists = Mixtures(zero, one, np.log([2.0]), np.zeros(1))
        >>> lists.rates(np.array([[3.0, 0.0]], np.float32), np.array([11.0]))
        array([[0.5]])
        """
        means, variances, log_means, log_deviations = self
        own, centers = np.square(queries), np.square(means)
        distances = own.sum(axis=1)[:, None] - 2 * queries @ means.T
        distances += centers.sum(axis=1)
        along = own @ variances.T - 2 * queries @ (means * variances).T
        along += (centers * variances).sum(axis=1)
        along = 4 * np.maximum(along, 0.0) / variances.sum(axis=1)
        within = np.asarray(squares, dtype=np.float32)[:, None] - distances
        rates = np.zeros(within.shape)
        for node, weight in NODES:
            reach = np.exp(log_means + node * log_deviations)
            blur = np.sqrt(NODE_SHARE) * log_deviations * reach
            deviations = np.hypot(np.sqrt(along * reach), np.maximum(blur, LEAST))
            rates += weight * ndtr((within - reach) / deviations.astype(np.float64))
        return rates


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
        self._logs = np.zeros((len(centers), 2))
        self._mixtures: Mixtures | None = None

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
        logs = np.log(np.maximum(np.square(rests).sum(axis=1), LEAST))
        starts = np.flatnonzero(np.diff(lists, prepend=-1))
        some = lists[starts]
        self._counts[some] += np.diff(starts, append=len(lists))
        self._sums[some] += np.add.reduceat(rests, starts, axis=0)
        self._squares[some] += np.add.reduceat(np.square(rests), starts, axis=0)
        moments = np.column_stack([logs, np.square(logs)])
        self._logs[some] += np.add.reduceat(moments, starts, axis=0)
        self._mixtures = None

    def clear(self, number: int) -> None:
        """Forget the rows of a list."""
        self._counts[number] = 0
        self._sums[number] = self._squares[number] = self._logs[number] = 0
        self._mixtures = None

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
        if self._mixtures is None:
            self._mixtures = self._fitted()
        return self._mixtures.rates(queries, squares)

    def _fitted(self) -> Mixtures:
        total = max(1.0, self._counts.sum())
        usual = self._squares.sum(axis=0) / total
        least = max(LEAST, LEAST_SHARE * usual.mean())
        weights = 1.0 / (self._counts + PRIOR_ROWS)[:, None]
        means = self._sums * weights
        variances = (self._squares + PRIOR_ROWS * usual) * weights - means**2
        variances = np.maximum(variances, least)
        logs = (self._logs + PRIOR_ROWS * self._logs.sum(axis=0) / total) * weights
        log_variances = np.maximum(logs[:, 1] - logs[:, 0] ** 2, 0.0)
        # Logarithms are of distances to the centre, which is not quite the middle.
        squares = ((self._squares + PRIOR_ROWS * usual) * weights).sum(axis=1)
        shares = variances.sum(axis=1) / np.maximum(squares, LEAST)
        log_means = logs[:, 0] + np.log(np.minimum(shares, 1.0))
        return Mixtures(
            (self._centers + means).astype(np.float32),
            variances.astype(np.float32),
            log_means.astype(np.float32),
            np.sqrt(log_variances).astype(np.float32),
        )
