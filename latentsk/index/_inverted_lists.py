"""FAISS's inverted file of four-bit codes: few bytes a row, and quick to scan."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._faiss import load_faiss
from latentsk._typing import Float32, Positions
from latentsk.index._codebook import Codebook

# Elements of the table of lists, per query, looked at at a time.
RANKING_ELEMENTS = 2**22


class InvertedLists:
    """Rows as codes in lists.

    Not safe for searches while rows are added or removed.

    Parameters
    ----------
    codebook : Codebook
        Of `train_codebook`.

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
        # Counted here: FAISS has no list for a row that is infinite.
        self.n_rows = 0

    def add(self, positions: Positions, rows: Float32) -> None:
        """Add rows.

        Parameters
        ----------
        positions : ndarray of shape (n_rows,)
            Positions that are not there yet.

        rows : ndarray of shape (n_rows, n_codes), float32
        """
        self._index.add_with_ids(
            np.ascontiguousarray(rows), positions.astype(np.int64, copy=False)
        )
        self.n_rows += len(positions)

    def remove(self, positions: Positions) -> Positions:
        """Remove rows by position, and all that share a list with them.

        FAISS's own removal leaves bits of the removed codes behind, and rows that are
        added later are coded on top of them.

        Parameters
        ----------
        positions : ndarray of shape (n_rows,)

        Returns
        -------
        others : ndarray of shape (n_others,)
            Positions of the others, ascending, to be added again.
        """
        if len(positions) == 0:
            return positions
        is_removed = np.zeros(int(positions.max()) + 1, dtype=bool)
        is_removed[positions] = True
        others = [positions[:0]]
        for number, held in self._held():
            gone = held < len(is_removed)
            gone[gone] = is_removed[held[gone]]
            if gone.any():
                others.append(held[~gone].astype(np.intp))
                self._index.invlists.resize(number, 0)
                self._index.ntotal -= len(gone)
                self.n_rows -= len(gone)
        return np.sort(np.concatenate(others))

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
        if eligible is not None:
            is_eligible = np.zeros(int(eligible.max(initial=0)) + 1, dtype=bool)
            is_eligible[eligible] = True
            counts = self._list_counts(is_eligible)
            bits = np.packbits(is_eligible, bitorder="little")
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

    def _list_counts(self, eligible: NDArray[np.bool_]) -> Positions:
        """Return how many eligible rows each list holds."""
        counts = np.zeros(self.n_lists, dtype=np.intp)
        for number, held in self._held():
            counts[number] = np.count_nonzero(eligible[held[held < len(eligible)]])
        return counts

    def _held(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield each list that is not empty, and the positions in it."""
        faiss, lists = load_faiss(), self._index.invlists
        for number in range(self.n_lists):
            size = lists.list_size(number)
            if size:
                yield number, faiss.rev_swig_ptr(lists.get_ids(number), size)

    def numbers_of(self, positions: Positions) -> Positions:
        """Return the number of the list that each row lies in."""
        numbers = np.zeros(int(positions.max(initial=0)) + 1, dtype=np.intp)
        for number, held in self._held():
            held = held[held < len(numbers)]
            numbers[held] = number
        return numbers[positions]
