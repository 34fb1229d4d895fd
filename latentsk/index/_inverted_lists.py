"""FAISS's inverted file of four-bit codes: few bytes a row, and quick to scan."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._faiss import load_faiss
from latentsk._typing import Float32, Positions
from latentsk.index._buffers import with_room
from latentsk.index._codebook import Codebook

# Elements of the table of lists, per query, looked at at a time.
RANKING_ELEMENTS = 2**22
# Rows coded at a time, fewer than FAISS takes in one piece.
CODED_ROWS = 2**15
# Share of a list that may be removed rows before the others are coded anew.
MAX_DEAD_SHARE = 0.25
# In a list, in place of the position of a removed row: FAISS's selectors refuse it.
NO_ROW = -1


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

    Examples
    --------
    >>> from latentsk.index._codebook import train_codebook
    >>> rows = np.random.default_rng(0).normal(size=(1_000, 4)).astype(np.float32)
    >>> codebook = train_codebook(rows, 4, residual=False, seed=0)
    >>> lists = InvertedLists(codebook)
    >>> lists.add(np.arange(1_000), rows)
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

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.n_live.sum())

    # Changes

    def add(self, positions: Positions, rows: Float32) -> None:
        """Add rows.

        Parameters
        ----------
        positions : ndarray of shape (n_rows,)
            Positions that are not there.

        rows : ndarray of shape (n_rows, n_codes), float32
        """
        length = int(positions.max(initial=-1)) + 1
        self._list_of = with_room(self._list_of, length, -1)
        self._live_bits = with_room(self._live_bits, -(-length // 8), 0)
        for start in range(0, len(positions), CODED_ROWS):
            part = slice(start, start + CODED_ROWS)
            self._add(positions[part], np.ascontiguousarray(rows[part]))

    def _add(self, positions: Positions, rows: Float32) -> None:
        # FAISS finds the lists once more, and does not tell them.
        lists = self._index.quantizer.search(rows, 1)[1][:, 0]
        self._index.add_with_ids(rows, positions.astype(np.int64, copy=False))
        lists = np.where(lists < 0, self.n_lists, lists)
        self._list_of[positions] = lists
        self.n_live += np.bincount(lists, minlength=len(self.n_live))
        np.bitwise_or.at(self._live_bits, positions >> 3, _bits_of(positions))

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
        self._index.ntotal -= size
        self._list_of[others] = -1
        self.n_live[number] = self._n_dead[number] = 0
        return others

    def _there(self, positions: Positions) -> Positions:
        """Return those positions that have a row."""
        positions = positions[positions < len(self._list_of)]
        return positions[self._list_of[positions] >= 0]

    # What is found

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
            lists of ordinary size hold rows: few rows, or rows far away, are found as
            reliably as many rows near by.

        eligible : ndarray of shape (n_eligible,) or None, default=None
            Positions of the rows that may be returned; None: all.

        Returns
        -------
        positions : ndarray of shape (n_queries, n_candidates), int64
            -1 where the lists hold fewer rows.
        """
        faiss, selector, counts = load_faiss(), None, None
        bits = self._live_bits if self._n_dead.any() else None
        if eligible is not None:
            eligible = self._there(eligible)
            is_eligible = np.zeros(len(self._list_of), dtype=bool)
            is_eligible[eligible] = True
            bits = np.packbits(is_eligible, bitorder="little")
            lists = self._list_of[eligible]
            counts = np.bincount(lists, minlength=len(self.n_live))[:-1]
        if bits is not None:
            selector = faiss.IDSelectorBitmap(bits)
        found = np.empty((len(queries), n_candidates), dtype=np.int64)
        values = np.empty(found.shape, dtype=np.float32)
        for part in row_slices(len(queries), self.n_lists, RANKING_ELEMENTS):
            lists, distances = self._probed(queries[part], n_probe, counts)
            parameters = faiss.SearchParametersIVF(nprobe=lists.shape[1], sel=selector)
            arrays = queries[part], lists, distances, values[part], found[part]
            rows, *others = map(faiss.swig_ptr, arrays)
            # The method of the C++ class, as the Python one takes no parameters.
            scan = self._index.search_preassigned_c
            scan(len(lists), rows, n_candidates, *others, False, parameters)
        return found

    def _probed(
        self, queries: Float32, n_probe: int, counts: Positions | None
    ) -> tuple[NDArray[np.int64], Float32]:
        """Return the lists to scan for each query, -1 after the last, and distances."""
        if counts is None:
            distances, lists = self._index.quantizer.search(queries, n_probe)
            return lists, distances
        distances, lists = self._index.quantizer.search(queries, self.n_lists)
        enough = n_probe * self.n_rows / self.n_lists
        held = counts[lists]
        before = np.cumsum(held, axis=1) - held
        is_needed = (np.arange(self.n_lists) < n_probe) | (before < enough)
        width = int(is_needed.sum(axis=1).max(initial=1))
        lists = np.where(is_needed, lists, -1)[:, :width]
        return np.ascontiguousarray(lists), np.ascontiguousarray(distances[:, :width])

    def numbers_of(self, positions: Positions) -> Positions:
        """Return the number of the list that each row lies in."""
        # Neither removed rows nor infinite ones are in any: some number will do.
        numbers = np.clip(self._list_of[positions], 0, self.n_lists - 1)
        return numbers.astype(np.intp)


def _bits_of(positions: Positions) -> NDArray[np.uint8]:
    return np.left_shift(1, positions & 7).astype(np.uint8)
