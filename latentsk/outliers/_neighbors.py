"""Distances to training rows: to the nearest, each in units of its own surroundings."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from latentsk._threads import thread_limit
from latentsk._typing import Float64, Positions

# Rows of a subsample of LeSiNN.
SUBSAMPLE_ROWS = 8
# A row that is nearer to a training row than this share of the distance to the next
# ones counts, in part, as that row.
IDENTITY_SHARE = 0.05
# Spacings are taken to be from a tenth of the median to ten times as much.
MOST_UNEVEN = 10.0
# Candidates beyond the neighbours that are asked for, as products are rounded.
SPARE = 8
# Products keep their digits about a centre, the median of so many rows.
CENTRE_ROWS = 64
# Number of distances computed at a time, and of differences to candidates.
BLOCK_DISTANCES, BLOCK_DIFFERENCES = 2**20, 2**24


class NearestRows(NamedTuple):
    """The nearest rows by their scaled distances, in ascending order.

    Attributes
    ----------
    scaled : ndarray of shape (n_queries, k + 1)
        Scaled distances ``d^1.5 / s^0.5``, with s the spacing of the neighbour.
    distances : ndarray of shape (n_queries, k + 1)
        Euclidean distances d to the same rows.
    positions : ndarray of shape (n_queries, k + 1), dtype intp
    """

    scaled: Float64
    distances: Float64
    positions: Positions


def presence(nearest: ArrayLike, spacing: ArrayLike) -> Float64:
    """Return how much a row is one that is there already, by the nearest of these.

    Parameters
    ----------
    nearest : array-like of shape (n_rows,)
        Distance to the nearest row.

    spacing : array-like of shape (n_rows,)
        Mean distance to the rows that come next.

    Returns
    -------
    presence : ndarray of shape (n_rows,)
        1 at a distance of 0, falling smoothly (cubic, flat at both ends) to 0 at 5 % of
        the spacing.

    Examples
    --------
    >>> presence([0.0, 0.025, 0.05, 1.0], [1.0, 1.0, 1.0, 1.0])
    array([1. , 0.5, 0. , 0. ])
    """
    limit = np.maximum(IDENTITY_SHARE * np.asarray(spacing, np.float64), 1e-300)
    share = np.minimum(np.asarray(nearest, np.float64) / limit, 1.0)
    return 1.0 - share**2 * (3.0 - 2.0 * share)


def mean_without_itself(distances: ArrayLike, present: ArrayLike) -> Float64:
    """Return mean distances to neighbours, the nearest counted out as far as present.

    Parameters
    ----------
    distances : array-like of shape (n_rows, k + 1)
        In ascending order.

    present : array-like of shape (n_rows,)
        In [0, 1]: weight by which the first is replaced by the last.

    Returns
    -------
    means : ndarray of shape (n_rows,)
        Of k distances.

    Examples
    --------
    >>> mean_without_itself([[0.0, 2.0, 4.0]] * 3, [0.0, 0.5, 1.0])
    array([1., 2., 3.])
    """
    distances = np.asarray(distances, np.float64)
    weights = neighbor_weights(present, distances.shape[1])
    return np.einsum("ij,ij->i", distances, weights)


def neighbor_weights(present: ArrayLike, n_neighbors: int) -> Float64:
    """Return the weight of each of k + 1 neighbours in the mean over k of them.

    Examples
    --------
    >>> neighbor_weights([0.0, 1.0], 3)
    array([[0.5, 0.5, 0. ],
           [0. , 0.5, 0.5]])
    """
    present = np.asarray(present, np.float64)
    weights = np.ones((len(present), n_neighbors))
    weights[:, 0], weights[:, -1] = 1.0 - present, present
    return weights / max(n_neighbors - 1, 1)


def clipped_spacings(spacings: ArrayLike) -> Float64:
    """Return spacings between a tenth of their median and ten times as much.

    Copies of one row have a spacing of zero; others are not to look endlessly far in
    comparison.

    Examples
    --------
    >>> clipped_spacings([0.0, 1.0, 2.0, 3.0, 90.0])
    array([ 0.25,  1.  ,  2.  ,  3.  , 25.  ])
    """
    spacings = np.asarray(spacings, np.float64)
    positive = spacings[spacings > 0.0]
    typical = float(np.median(positive)) if len(positive) else 1.0
    return np.clip(spacings, typical / MOST_UNEVEN, typical * MOST_UNEVEN)


def scaled_distances(distances: ArrayLike, spacings: ArrayLike) -> Float64:
    """Return ``d * sqrt(d / s)``: distances weighed by how close together rows are.

    The distance to a row says how thin rows are here; its ratio to the distance from
    that row to its own neighbours, which the local outlier factor (Breunig et al.,
    2000) is built on, whether they are thinner than close by. This is the geometric
    mean of the distance and of the distance times that ratio. It grows with the
    distance, and does so continuously.

    Examples
    --------
    >>> scaled_distances([0.0, 4.0, 4.0], [1.0, 4.0, 1.0])
    array([0., 4., 8.])
    """
    distances = np.asarray(distances, np.float64)
    return distances * np.sqrt(distances / np.asarray(spacings))


def nearest_rows_scaled(
    queries: ArrayLike,
    rows: NDArray[Any],
    squares: NDArray[Any],
    spacings: ArrayLike,
    n: int,
) -> NearestRows:
    """Return the n nearest rows of each query by their scaled distances.

    All rows are compared, in the rows' dtype; candidates are measured again in float64,
    by differences.

    Parameters
    ----------
    queries : array-like of shape (n_queries, n_components)

    rows : ndarray of shape (n_rows, n_components), float32 or float64

    squares : ndarray of shape (n_rows,)
        Their :func:`squared_lengths`.

    spacings : array-like of shape (n_rows,)
        Positive.

    n : int
        At most n_rows.

    Returns
    -------
    nearest : NearestRows
        With n columns.

    Examples
    --------
    >>> rows = np.array([[0.0], [1.0], [9.0]])
    >>> squares = squared_lengths(rows)
    >>> found = nearest_rows_scaled([[0.5]], rows, squares, [1.0, 0.25, 1.0], 2)
    >>> found.positions, found.distances
    (array([[0, 1]]), array([[0.5, 0.5]]))
    """
    spacings = np.asarray(spacings, np.float64)
    queries, centre = np.asarray(queries, rows.dtype), centre_of(rows)
    n_candidates = min(n + SPARE, len(rows))
    held, weights = _shared(rows), spacings ** (-2.0 / 3.0)
    lengths = _shared(squares)
    factors = torch.from_numpy((weights / weights.max()).astype(rows.dtype))
    size = max(
        1,
        min(
            BLOCK_DISTANCES // len(rows),
            BLOCK_DIFFERENCES // (n_candidates * max(rows.shape[1], 1)),
        ),
    )
    found = []
    for start in range(0, len(queries), size):
        block = queries[start : start + size]
        positions = _candidates(block, held, centre, lengths, factors, n_candidates)
        found.append(_nearest_candidates(block, rows, spacings, positions, n))
    return NearestRows(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def squared_lengths(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the squared length of each row from their centre, in its dtype.

    Examples
    --------
    >>> squared_lengths(np.array([[3.0, 4.0], [3.0, 4.0], [3.0, 7.0]]))
    array([0., 0., 9.])
    """
    centred = rows - centre_of(rows)
    return np.einsum("ij,ij->i", centred, centred)


def _shared(values: NDArray[Any]) -> torch.Tensor:
    """Share memory with torch, which takes none that is read-only, as that of files."""
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def centre_of(rows: NDArray[Any]) -> NDArray[Any]:
    """Return a point that products of rows are taken about, to keep their digits.

    The median of a few rows; zero for rows in float32, which lie around it.
    """
    if rows.dtype == np.float32:
        return np.zeros(rows.shape[1], np.float32)
    return np.asarray(np.median(rows[:CENTRE_ROWS], axis=0))


def _candidates(
    queries: NDArray[Any],
    rows: torch.Tensor,
    centre: NDArray[Any],
    squares: torch.Tensor,
    factors: torch.Tensor,
    n: int,
) -> Positions:
    """Return positions of the rows with the least products, in no order.

    The rows are not moved, which would take as much memory again.
    """
    with thread_limit(None), torch.inference_mode():
        centred = queries - centre
        block = torch.from_numpy(centred)
        own = torch.from_numpy(np.einsum("ij,ij->i", centred, centred))
        own += 2.0 * (block @ _shared(centre))
        products = torch.addmm(squares, block, rows.T, alpha=-2.0)
        products += own[:, None]
        products *= factors
        return torch.topk(products, n, largest=False, sorted=False)[1].numpy()


def _nearest_candidates(
    queries: NDArray[Any],
    rows: NDArray[Any],
    spacings: Float64,
    positions: Positions,
    n: int,
) -> NearestRows:
    differences = rows[positions].astype(np.float64) - queries[:, None, :]
    distances = np.sqrt(np.einsum("ijk,ijk->ij", differences, differences))
    scaled = scaled_distances(distances, spacings[positions])
    order = np.argsort(scaled, axis=1, kind="stable")[:, :n]
    return NearestRows(
        *(np.take_along_axis(a, order, 1) for a in (scaled, distances, positions))
    )


def minimum_weights(n_rows: int, n_drawn: int = SUBSAMPLE_ROWS) -> Float64:
    """Return the probabilities that the i-th nearest row is the nearest of a subsample.

    A subsample is drawn without replacement: ``C(n - i, m - 1) / C(n, m)`` for the i-th
    of n rows and m drawn ones. The expected distance to the nearest of a subsample is
    the mean of the sorted distances with these weights.

    Parameters
    ----------
    n_rows : int

    n_drawn : int, default=8
        Half of the rows where these are fewer than twice as many, but at least one.

    Returns
    -------
    weights : ndarray of shape (n_rows,)
        Their sum is 1.

    References
    ----------
    G. Pang, K. M. Ting and D. Albrecht (2015). LeSiNN: Detecting anomalies by
    identifying least similar nearest neighbours. ICDM Workshops, 623-630.

    Examples
    --------
    >>> minimum_weights(4, 2).round(3)
    array([0.5  , 0.333, 0.167, 0.   ])
    """
    m = max(1, min(n_drawn, n_rows // 2))
    behind = np.arange(n_rows - 1, -1, -1.0)
    weights = np.zeros(n_rows)
    possible = behind >= m - 1
    weights[possible] = np.exp(
        _log_choose(behind[possible], m - 1.0) - _log_choose(float(n_rows), float(m))
    )
    return weights


def _log_choose(n: Any, k: float) -> Any:
    return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)


def sorted_distances(queries: ArrayLike, rows: NDArray[Any]) -> NDArray[Any]:
    """Return each query's Euclidean distances to all rows, in ascending order.

    In the rows' dtype, by products.

    Examples
    --------
    >>> sorted_distances([[0.0], [9.0]], np.array([[1.0], [9.0]]))
    array([[1., 9.],
           [0., 8.]])
    """
    centre = centre_of(rows)
    asked, held = np.asarray(queries, rows.dtype) - centre, rows - centre
    own, theirs = (np.einsum("ij,ij->i", v, v) for v in (asked, held))
    with thread_limit(None), torch.inference_mode():
        products = torch.addmm(
            torch.from_numpy(theirs),
            torch.from_numpy(asked),
            torch.from_numpy(held).T,
            alpha=-2.0,
        )
        products += torch.from_numpy(own)[:, None]
        distances = products.clamp_(min=0.0).sqrt_().numpy()
    distances.sort(axis=1)
    return distances


def expected_nearest(sorted_: NDArray[Any], present: ArrayLike) -> Float64:
    """Return the expected distance to the nearest of 8 random rows.

    Parameters
    ----------
    sorted_ : ndarray of shape (n_queries, n_rows)
        Distances in ascending order.

    present : array-like of shape (n_queries,)
        In [0, 1]: how much the nearest row is the query itself, and is counted out.

    Returns
    -------
    expected : ndarray of shape (n_queries,)

    Examples
    --------
    >>> expected_nearest(np.array([[0.0, 1.0, 3.0]] * 2), [0.0, 1.0])
    array([1.33333333, 2.        ])
    """
    weights = _weights_with_and_without(sorted_.shape[1])
    # Sums in float64: of hundreds of distances, float32 would leave six digits.
    with_all, without_first = np.einsum("ij,kj->ki", sorted_, weights)
    return np.asarray(with_all + present * (without_first - with_all), np.float64)


def nearest_weights(present: ArrayLike, n_rows: int) -> Float64:
    """Return the weight of each sorted distance in `expected_nearest`."""
    present = np.asarray(present, np.float64)[:, None]
    with_all, without_first = _weights_with_and_without(n_rows)
    return with_all + present * (without_first - with_all)


def _weights_with_and_without(n_rows: int) -> Float64:
    """Return the weights of sorted distances, with all rows and without the first.

    A row that is alone stays.
    """
    if n_rows == 1:
        return np.ones((2, 1))
    return np.stack([minimum_weights(n_rows), np.r_[0.0, minimum_weights(n_rows - 1)]])
