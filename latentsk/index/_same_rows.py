"""Which rows are the same vector, so that one of them stands for all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._typing import Float64, Positions
from latentsk.index._buffers import GrowingArray
from latentsk.index._metric import MetricSpace

# Elements of rows converted to float64 at a time: half a MB stays in the cache.
ROW_ELEMENTS = 2**16
# Members of groups that are sorted at a time.
MEMBER_ELEMENTS = 2**22
ALONE = -1


class Groups(NamedTuple):
    """The eligible rows of a search, in groups of the same vector.

    Attributes
    ----------
    rows : ndarray of shape (n_groups,)
        The first position of each group, ascending.

    labels : ndarray of shape (n_rows,)
        By position, the number of the row's group; -1 for a row without a copy.

    members : ndarray of shape (n_members,)
        Positions of the rows that have copies: group by group, ascending in each.

    member_labels : ndarray of shape (n_members,)
        Their groups, ascending.
    """

    rows: Positions
    labels: Positions
    members: Positions
    member_labels: Positions

    def nearest(
        self, values: Float64, rows: Positions, k: int, exclude: Positions | None
    ) -> tuple[Float64, Positions]:
        """Return the k nearest members of groups whose distances are known.

        Parameters
        ----------
        values : ndarray of shape (n_queries, n_groups), ascending

        rows : ndarray of shape (n_queries, n_groups)
            First positions of the groups.

        k : int
            At most the number of members, less the excluded one.

        exclude : ndarray of shape (n_queries,) or None
            A position that is left out, per query.

        Returns
        -------
        values, positions : ndarrays of shape (n_queries, k)
            Equal values come in the order of the positions.
        """
        starts, sizes = self._parts(rows)
        nearest = np.empty((len(rows), k)), np.empty((len(rows), k), dtype=np.intp)
        elements_per_query = rows.shape[1] * (k + 1)
        for part in row_slices(len(rows), elements_per_query, MEMBER_ELEMENTS):
            left_out = None if exclude is None else exclude[part]
            among = values[part], rows[part], starts[part], sizes[part]
            nearest[0][part], nearest[1][part] = self._nearest(*among, k, left_out)
        return nearest

    def all_members(
        self, values: Float64, rows: Positions
    ) -> tuple[Float64, Positions]:
        """Return every member of some groups, by position, and its value."""
        starts, sizes = self._parts(rows)
        numbers, positions = self._members(rows, starts, sizes)
        order = np.argsort(positions)
        return values[numbers[order]], positions[order]

    def _nearest(
        self,
        values: Float64,
        rows: Positions,
        starts: Positions,
        sizes: Positions,
        k: int,
        exclude: Positions | None,
    ) -> tuple[Float64, Positions]:
        wanted = k + (exclude is not None)
        sizes = np.minimum(sizes, wanted)
        # Groups behind enough rows that are nearer have no part in the answer.
        n_before = np.cumsum(sizes, axis=1) - sizes
        is_tied = values[:, 1:] == values[:, :-1]
        n_before[:, 1:][is_tied] = 0
        n_nearer = np.maximum.accumulate(n_before, axis=1)
        sizes = np.where(n_nearer < wanted, sizes, 0)
        numbers, positions = self._members(rows.ravel(), starts.ravel(), sizes.ravel())
        queries, values = numbers // rows.shape[1], values.ravel()[numbers]
        if exclude is not None:
            is_kept = positions != exclude[queries]
            queries, values, positions = (
                some[is_kept] for some in (queries, values, positions)
            )
        order = np.lexsort((positions, values, queries))
        ranks = np.searchsorted(queries[order], np.arange(len(rows)))
        chosen = order[ranks[:, None] + np.arange(k)]
        return values[chosen], positions[chosen]

    def _parts(self, rows: Positions) -> tuple[Positions, Positions]:
        """Return where the members of some groups begin, and how many they are."""
        labels = self.labels[rows]
        starts = np.searchsorted(self.member_labels, labels)
        sizes = np.searchsorted(self.member_labels, labels, side="right") - starts
        return starts, np.where(labels == ALONE, 1, sizes)

    def _members(
        self, rows: Positions, starts: Positions, sizes: Positions
    ) -> tuple[Positions, Positions]:
        """Return the first members of groups: numbers of groups, and positions."""
        numbers = np.repeat(np.arange(len(rows)), sizes)
        offsets = np.arange(len(numbers)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        positions = rows[numbers]
        has_copies = self.labels[positions] != ALONE
        within = starts[numbers[has_copies]] + offsets[has_copies]
        positions[has_copies] = self.members[within]
        return numbers, positions


class SameRows:
    """Groups of rows that are the same vector in a space.

    That all are found is likely, and no more; those in one group are equal. A row that
    changes, or is new, counts as one without copies.

    Parameters
    ----------
    space : MetricSpace
        The rows.

    Attributes
    ----------
    has_changed : bool
        Whether rows have changed, or come, since.

    Examples
    --------
    >>> rows = np.array([[1.0], [2.0], [1.0], [-0.0], [0.0], [1.0]])
    >>> groups = SameRows(MetricSpace(rows, "euclidean")).among(None)
    >>> groups.rows
    array([0, 1, 3])
    >>> values, positions = groups.nearest(np.array([[0.5, 1.0]]), np.array([[0, 3]]),
    ...                                    k=4, exclude=np.array([2]))
    >>> positions
    array([[0, 5, 3, 4]])
    """

    def __init__(self, space: MetricSpace) -> None:
        members, member_labels = _groups_of_equal_rows(space)
        labels = np.full(len(space.vectors), ALONE, dtype=np.intp)
        labels[members] = member_labels
        self._labels = GrowingArray(labels)
        self._members, self._member_labels = members, member_labels
        self.has_changed = False
        # The latest answer of `among`, and what it was for.
        self._latest: tuple[Positions | None, Groups | None] | None = None

    def among(self, eligible: Positions | None) -> Groups | None:
        """Return groups of the eligible rows; None where no row has a copy.

        Parameters
        ----------
        eligible : ndarray of shape (n_eligible,) or None
            Positions, ascending, which do not change any more; None: all rows.
        """
        if len(self._members) == 0:
            return None
        latest = self._latest
        if latest is None or latest[0] is not eligible:
            latest = eligible, self._among(eligible)
            self._latest = latest
        return latest[1]

    def _among(self, eligible: Positions | None) -> Groups | None:
        labels = self._labels.rows
        is_there = labels[self._members] != ALONE
        if eligible is not None:
            is_eligible = np.zeros(len(labels), dtype=bool)
            is_eligible[eligible] = True
            is_there &= is_eligible[self._members]
        members, member_labels = self._members[is_there], self._member_labels[is_there]
        is_copy = np.zeros(len(labels), dtype=bool)
        is_copy[members[1:][member_labels[1:] == member_labels[:-1]]] = True
        if not is_copy.any():
            return None
        if eligible is None:
            rows = np.flatnonzero(~is_copy)
        else:
            rows = eligible[~is_copy[eligible]]
        return Groups(rows, labels, members, member_labels)

    def revise(self, changed: Positions) -> None:
        """Follow the space, in which some rows are new or changed."""
        self._labels.assign(changed, np.full(len(changed), ALONE, dtype=np.intp))
        self._latest, self.has_changed = None, True


def nearest_members(
    measured: tuple[Float64, Positions],
    k: int,
    exclude: Positions | None,
    groups: Groups | None,
) -> tuple[Float64, Positions]:
    """Return the k nearest rows, of rows whose distances are known and their copies.

    As `Groups.nearest`; with None, no row has a copy.
    """
    if groups is None or (groups.labels[measured[1]] == ALONE).all():
        return nearest_rows(*measured, k, exclude)
    return groups.nearest(*measured, k, exclude)


def nearest_rows(
    values: Float64, rows: Positions, k: int, exclude: Positions | None
) -> tuple[Float64, Positions]:
    """Return the k nearest of rows whose distances are known, without the excluded.

    As `Groups.nearest`, where no row has a copy.

    Examples
    --------
    >>> values, rows = np.array([[0.0, 1.0, 2.0]]), np.array([[7, 3, 5]])
    >>> nearest_rows(values, rows, 2, exclude=np.array([3]))
    (array([[0., 2.]]), array([[7, 5]]))
    """
    if exclude is not None:
        is_excluded = rows == exclude[:, None]
        order = np.argsort(is_excluded, axis=1, kind="stable")[:, :k]
        values = np.take_along_axis(values, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
    return values[:, :k], rows[:, :k]


def row_hashes(space: MetricSpace, positions: Positions) -> NDArray[np.uint64]:
    """Return a number for each row, which is the same for equal rows."""
    rng = np.random.default_rng(0)
    keys = rng.integers(2**64, size=space.n_features, dtype=np.uint64) | np.uint64(1)
    hashes = np.empty(len(positions), dtype=np.uint64)
    for part in row_slices(len(positions), space.n_features, ROW_ELEMENTS):
        # Adding zero makes -0.0 the same as 0.0.
        bits = (space.rows(positions[part]) + 0.0).view(np.uint64)
        # Numbers of few digits differ in the upper bits only; a product moves bits up.
        bits = (bits ^ (bits >> np.uint64(31))) * keys
        hashes[part] = (bits ^ (bits >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
    return hashes


def equal_pairs(
    space: MetricSpace, positions: Positions
) -> tuple[Positions, Positions]:
    """Return pairs of equal rows, which chain nearly all of those that are equal.

    The first of a pair comes before the second; pairs of equal rows follow each other.

    Examples
    --------
    >>> rows = np.array([[1.0], [2.0], [1.0], [1.0]])
    >>> equal_pairs(MetricSpace(rows, "euclidean"), np.arange(4))
    (array([0, 2]), array([2, 3]))
    """
    if len(positions) == 0:
        return positions, positions
    hashes = row_hashes(space, positions)
    order = np.argsort(hashes, kind="stable")
    is_like_next = np.append(hashes[order[1:]] == hashes[order[:-1]], False)
    is_like_one = is_like_next.copy()
    is_like_one[1:] |= is_like_next[:-1]
    chain, is_like_next = positions[order[is_like_one]], is_like_next[is_like_one]
    for part in row_slices(len(chain), space.n_features, ROW_ELEMENTS):
        rows = space.rows(chain[part.start : part.stop + 1])
        is_like_next[part][: len(rows) - 1] &= (rows[1:] == rows[:-1]).all(axis=1)
    first = np.flatnonzero(is_like_next)
    return chain[first], chain[first + 1]


def _groups_of_equal_rows(space: MetricSpace) -> tuple[Positions, Positions]:
    """Return the rows that have copies, group by group, and numbers of the groups."""
    first, second = equal_pairs(space, np.arange(len(space.vectors)))
    if len(first) == 0:
        return first, second
    begins = np.append(True, first[1:] != second[:-1])
    starts = np.flatnonzero(begins)
    members = np.insert(second, starts, first[starts])
    labels = np.insert(np.cumsum(begins) - 1, starts, np.arange(len(starts)))
    return members, labels
