"""FAISS's inverted file of four-bit codes: few bytes a row, and quick to scan."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._faiss import load_faiss
from latentsk._typing import Float32, Positions
from latentsk.index._buffers import with_room
from latentsk.index._codebook import Codebook
from latentsk.index._list_spread import ListSpread

# Elements of the table of lists, per query, looked at at a time.
RANKING_ELEMENTS = 2**22
# Rows coded at a time, fewer than FAISS takes in one piece.
CODED_ROWS = 2**15
# Share of a list that may be removed rows before the others are coded anew.
MAX_DEAD_SHARE = 0.25
# In a list, in place of the position of a removed row: FAISS's selectors refuse it.
NO_ROW = -1


class Selected(NamedTuple):
    """The rows that may be returned.

    Attributes
    ----------
    bits : ndarray of dtype uint8 or None
        A bit for each position, the lowest first; None where every entry is a row.

    counts : ndarray of shape (n_lists,)
        How many of them each list holds.
    """

    bits: NDArray[np.uint8] | None
    counts: Positions


class Scanned(NamedTuple):
    """Candidates of each query, the likeliest first.

    Attributes
    ----------
    values : ndarray of shape (n_queries, n_candidates), float32
        Squared distances to their codes.

    positions : ndarray of shape (n_queries, n_candidates), int64
        -1, with a large value, where there are fewer.
    """

    values: Float32
    positions: NDArray[np.int64]

    def some(self, which: NDArray[np.bool_]) -> Scanned:
        """Return the same of some queries."""
        return Scanned(self.values[which], self.positions[which])


class InvertedLists:
    """Rows as codes in lists.

    Not safe for searches while rows are added or removed.

    Parameters
    ----------
    codebook : Codebook
        Of `train_codebook`.

    Attributes
    ----------
    n_live : ndarray of shape (n_lists + 1,)
        Number of rows in each list, and last of those that are in none: infinite ones.

    spread : ListSpread
        How rows lie in their lists.

    Examples
    --------
    >>> from latentsk.index._codebook import train_codebook
    >>> rows = np.random.default_rng(0).normal(size=(1_000, 4)).astype(np.float32)
    >>> codebook = train_codebook(rows, 4, residual=False, seed=0)
    >>> lists = InvertedLists(codebook)
    >>> squares = lists.add(np.arange(1_000), rows)
    >>> lists.candidates(rows[:3], 100, n_probe=4)[:, 0].shape
    (3,)
    """

    def __init__(self, codebook: Codebook) -> None:
        faiss = load_faiss()
        self.codebook = codebook
        self.n_lists, width = codebook.centers.shape
        quantizer = faiss.IndexFlatL2(width)
        quantizer.add(codebook.centers)
        sizes = width, self.n_lists
        if codebook.values is None:
            self._index = faiss.IndexIVFFlat(quantizer, *sizes)
        else:
            self._index = faiss.IndexIVFPQFastScan(quantizer, *sizes, width, 4)
            self._index.by_residual = codebook.residual
            values = codebook.values.ravel()
            faiss.copy_array_to_vector(values, self._index.pq.centroids)
        self._index.is_trained = True
        # By position: the row's list (the last number: none), -1 where there is no row.
        dtype = np.int16 if self.n_lists < 2**15 else np.int32
        self._list_of: NDArray[Any] = np.empty(0, dtype=dtype)
        self._live_bits: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        self.n_live = np.zeros(self.n_lists + 1, dtype=np.intp)
        self._n_dead = np.zeros(self.n_lists + 1, dtype=np.intp)
        self.spread = ListSpread(codebook.centers)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.n_live.sum())

    @property
    def sizes(self) -> Positions:
        """Number of entries of each list, with those of removed rows."""
        return (self.n_live + self._n_dead)[:-1]

    # Changes

    def add(
        self, positions: Positions, rows: Float32, farthest: Any = math.inf
    ) -> Float32:
        """Add rows.

        Parameters
        ----------
        positions : ndarray of shape (n_rows,)
            Positions that are not there.

        rows : ndarray of shape (n_rows, n_codes), float32

        farthest : float or ndarray of shape (n_rows,), default=inf
            Squared distance to the nearest centre beyond which a row is not added.

        Returns
        -------
        squares : ndarray of shape (n_rows,), float32
            Squared distances to the nearest centre.
        """
        length = int(positions.max(initial=-1)) + 1
        self._list_of = with_room(self._list_of, length, -1)
        self._live_bits = with_room(self._live_bits, -(-length // 8), 0)
        squares = np.empty(len(positions), dtype=np.float32)
        farthest = np.broadcast_to(farthest, squares.shape)
        for start in range(0, len(positions), CODED_ROWS):
            part = slice(start, start + CODED_ROWS)
            some = positions[part], np.ascontiguousarray(rows[part])
            squares[part] = self._add(*some, farthest[part])
        return squares

    def _add(self, positions: Positions, rows: Float32, farthest: Any) -> Float32:
        # FAISS finds the lists once more, and does not tell them: it has to be asked
        # about the same rows at once, because others may round differently.
        nearest, numbers = self.nearest(rows, 1)
        squares, lists = nearest[:, 0], numbers[:, 0]
        is_near = ~(squares > farthest)
        if not is_near.all():
            if is_near.any():
                self._add(positions[is_near], rows[is_near], math.inf)
            return squares
        self._index.add_with_ids(rows, positions.astype(np.int64, copy=False))
        is_held = lists >= 0
        self.spread.add(lists[is_held], rows[is_held])
        lists = np.where(is_held, lists, self.n_lists)
        self._list_of[positions] = lists
        self.n_live += np.bincount(lists, minlength=len(self.n_live))
        np.bitwise_or.at(self._live_bits, positions >> 3, _bits_of(positions))
        return squares

    def remove(self, positions: Positions) -> Positions:
        """Remove rows by position.

        Their codes stay and are passed over, until more than a quarter of a list is
        gone: then it is emptied. FAISS's own removal would leave bits of codes behind,
        on top of which rows that are added later would be coded.

        Parameters
        ----------
        positions : ndarray of shape (n_rows,)

        Returns
        -------
        others : ndarray of shape (n_others,)
            Positions of the other rows of emptied lists, ascending, to be added again.
        """
        positions = self._there(positions)
        lists = self._list_of[positions]
        self._list_of[positions] = -1
        np.bitwise_and.at(self._live_bits, positions >> 3, ~_bits_of(positions))
        removed = np.bincount(lists, minlength=len(self.n_live))
        self.n_live -= removed
        self._n_dead += removed
        others = [
            self._without_dead(number) for number in np.flatnonzero(removed).tolist()
        ]
        return np.sort(np.concatenate([positions[:0], *others]))

    def _without_dead(self, number: int) -> Positions:
        """Let nobody find the dead rows of a list; return what is to be added again."""
        n_dead, n_live = self._n_dead[number], self.n_live[number]
        if number == self.n_lists:
            self._n_dead[number] = 0
            return np.empty(0, dtype=np.intp)
        lists = self._index.invlists
        size = lists.list_size(number)
        held = load_faiss().rev_swig_ptr(lists.get_ids(number), size)
        held[self._list_of[held] != number] = NO_ROW
        if n_dead <= MAX_DEAD_SHARE * (n_dead + n_live):
            return np.empty(0, dtype=np.intp)
        others = held[held != NO_ROW].astype(np.intp)
        lists.resize(number, 0)
        self.spread.clear(number)
        self._index.ntotal -= size
        self._list_of[others] = -1
        self.n_live[number] = self._n_dead[number] = 0
        return others

    def _there(self, positions: Positions) -> Positions:
        """Return those positions that have a row."""
        positions = positions[positions < len(self._list_of)]
        return positions[self._list_of[positions] >= 0]

    # What is found

    def numbers_of(self, positions: Positions) -> Positions:
        """Return the number of the list that each row lies in."""
        return self._list_of[positions].astype(np.intp)

    def nearest(
        self, vectors: Float32, n_lists: int
    ) -> tuple[Float32, NDArray[np.int64]]:
        """Return squared distances to the nearest centres, and their lists."""
        return self._index.quantizer.search(vectors, n_lists)

    def distances(self, vectors: Float32) -> Float32:
        """Return squared distances to all centres, in the order of the lists."""
        centers = self.codebook.centers
        squares = np.square(centers).sum(axis=1) - 2.0 * (vectors @ centers.T)
        squares += np.square(vectors).sum(axis=1)[:, None]
        return np.maximum(squares, 0.0)

    def selected(self, eligible: Positions | None = None) -> Selected:
        """Return what selects rows.

        Parameters
        ----------
        eligible : ndarray of shape (n_eligible,) or None, default=None
            Positions of the rows that may be returned; None: all.
        """
        if eligible is None:
            bits = self._live_bits if self._n_dead.any() else None
            return Selected(bits, self.n_live[:-1])
        eligible = self._there(eligible)
        is_eligible = np.zeros(len(self._list_of), dtype=bool)
        is_eligible[eligible] = True
        lists = self._list_of[eligible]
        counts = np.bincount(lists, minlength=len(self.n_live))[:-1]
        return Selected(np.packbits(is_eligible, bitorder="little"), counts)

    def scan(
        self,
        queries: Float32,
        lists: NDArray[np.int64],
        distances: Float32,
        n_candidates: int,
        selected: Selected,
    ) -> Scanned:
        """Return the likeliest candidates of some lists for each query.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_codes), float32

        lists : ndarray of shape (n_queries, n_scanned), int64
            -1 for none.

        distances : ndarray of shape (n_queries, n_scanned), float32
            Squared, to their centres.

        n_candidates : int

        selected : Selected
        """
        faiss, selector = load_faiss(), None
        if selected.bits is not None:
            selector = faiss.IDSelectorBitmap(selected.bits)
        found = np.empty((len(queries), n_candidates), dtype=np.int64)
        values = np.empty(found.shape, dtype=np.float32)
        parameters = faiss.SearchParametersIVF(nprobe=lists.shape[1], sel=selector)
        arrays = [queries, lists, distances, values, found]
        arrays[:3] = map(np.ascontiguousarray, arrays[:3])
        rows, *others = map(faiss.swig_ptr, arrays)
        # The method of the C++ class, as the Python one takes no parameters.
        scan = self._index.search_preassigned_c
        scan(len(queries), rows, n_candidates, *others, False, parameters)
        return Scanned(values, found)

    def candidates(
        self,
        queries: Float32,
        n_candidates: int,
        n_probe: int,
        eligible: Positions | None = None,
    ) -> NDArray[np.int64]:
        """Return rows that are likely to be near each query, the likeliest first.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_codes), float32

        n_candidates : int

        n_probe : int
            Lists scanned where every row may be returned. Among some rows only, as
            many lists are scanned as hold, together, as many of these rows as `n_probe`
            lists of ordinary size hold rows.

        eligible : ndarray of shape (n_eligible,) or None, default=None
            Positions of the rows that may be returned; None: all.

        Returns
        -------
        positions : ndarray of shape (n_queries, n_candidates), int64
            -1 where the lists hold fewer rows.
        """
        found = np.empty((len(queries), n_candidates), dtype=np.int64)
        selected, enough = self.selected(eligible), None
        if eligible is not None:
            enough = n_probe * self.n_rows / self.n_lists
        for part in row_slices(len(queries), self.n_lists, RANKING_ELEMENTS):
            some = queries[part]
            probed = self.probed(some, n_probe, selected, enough)
            found[part] = self.scan(some, *probed, n_candidates, selected).positions
        return found

    def probed(
        self, queries: Float32, n_probe: int, selected: Selected, enough: float | None
    ) -> tuple[NDArray[np.int64], Float32]:
        """Return the lists to scan for each query, and distances to their centres.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_codes), float32

        n_probe : int
            Number of lists, at least.

        selected : Selected

        enough : float or None
            Number of selected rows that the lists hold together, if there are as many;
            None: any.

        Returns
        -------
        lists : ndarray of shape (n_queries, n_scanned), int64
            -1 after the last.

        distances : ndarray of shape (n_queries, n_scanned), float32
        """
        if enough is None:
            distances, lists = self.nearest(queries, n_probe)
            return lists, distances
        distances, lists = self.nearest(queries, self.n_lists)
        held = selected.counts[lists]
        before = np.cumsum(held, axis=1) - held
        is_needed = (np.arange(self.n_lists) < n_probe) | (before < enough)
        width = int(is_needed.sum(axis=1).max(initial=1))
        return np.where(is_needed, lists, -1)[:, :width], distances[:, :width]


def _bits_of(positions: Positions) -> NDArray[np.uint8]:
    return np.left_shift(1, positions & 7).astype(np.uint8)
