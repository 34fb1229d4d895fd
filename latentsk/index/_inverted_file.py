"""FAISS's inverted file of four-bit codes: few bytes a row, and quick to scan."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float32, Positions
from latentsk.index._faiss import load_faiss

# FAISS sums the codes of a row in 16 bits, and more would lose precision.
MAX_CODES = 256
# Values that a code of four bits tells apart.
CODE_VALUES = 16
# Rows, evenly over the sample, that tell what codes stand for.
MAX_CODED_ROWS = 8_192
KMEANS_ITERATIONS, LLOYD_ITERATIONS = 10, 40
# Elements of the table of lists, per query, looked at at a time.
RANKING_ELEMENTS = 2**22


class Codebook(NamedTuple):
    """What training finds.

    Attributes
    ----------
    centers : ndarray of shape (n_lists, n_codes), float32
        Centres of the lists.

    values : ndarray of shape (n_codes, 16), float32
        What the codes of each coordinate stand for.

    residual : bool
        Whether codes are of the difference to the list's centre.
    """

    centers: Float32
    values: Float32
    residual: bool


def train_codebook(
    sample: Float32, n_lists: int, *, residual: bool, seed: int
) -> Codebook:
    """Find lists and codes by k-means.

    Parameters
    ----------
    sample : ndarray of shape (n_rows, n_codes), float32
        Some of the rows; 39 for each list, better more.

    n_lists : int
        Number of lists.

    residual : bool
        Whether to code the difference to the list's centre.

    seed : int
        Seed of k-means.

    Returns
    -------
    codebook : Codebook
    """
    sample = np.ascontiguousarray(sample)
    faiss = load_faiss()
    kmeans = faiss.Kmeans(
        sample.shape[1],
        n_lists,
        niter=KMEANS_ITERATIONS,
        seed=seed % 2**31,  # FAISS takes a C int
        # All rows handed in count, and few are enough: both limits only print warnings.
        max_points_per_centroid=len(sample),
        min_points_per_centroid=1,
    )
    kmeans.train(sample)
    centers = kmeans.centroids
    if residual:
        _, lists = kmeans.index.search(sample, 1)
        sample = sample - centers[lists[:, 0]]
    coded = sample[:: math.ceil(len(sample) / MAX_CODED_ROWS)]
    return Codebook(centers, scalar_codes(coded), residual)


def scalar_codes(sample: Float32) -> Float32:
    """Return 16 values that stand well for each column (Lloyd's algorithm).

    Parameters
    ----------
    sample : ndarray of shape (n_rows, n_columns), float32

    Returns
    -------
    values : ndarray of shape (n_columns, 16), float32
        Ascending; each is near the mean of what is nearest to it.

    Examples
    --------
    >>> column = np.repeat(np.arange(16.0, dtype=np.float32), 3)[:, None]
    >>> scalar_codes(column)[0, [0, 7, 15]]
    array([ 0.,  7., 15.], dtype=float32)
    """
    values = np.empty((sample.shape[1], CODE_VALUES), dtype=np.float32)
    for number, column in enumerate(np.sort(sample, axis=0).T.astype(np.float64)):
        sums = np.concatenate([[0.0], np.cumsum(column)])
        centers = _first_values(column)
        for _ in range(LLOYD_ITERATIONS):
            middles = 0.5 * (centers[1:] + centers[:-1])
            edges = [0, *np.searchsorted(column, middles), len(column)]
            counts = np.diff(edges)
            means = np.diff(sums[edges]) / np.maximum(counts, 1)
            centers = np.where(counts > 0, means, centers)
        values[number] = centers
    return values


def _first_values(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 16 quantiles; where some coincide, other values that occur instead."""
    distinct = np.unique(column)
    if len(distinct) <= CODE_VALUES:
        return np.pad(distinct, (0, CODE_VALUES - len(distinct)), mode="edge")
    quantiles = np.unique(np.quantile(column, _middles(CODE_VALUES)))
    missing = CODE_VALUES - len(quantiles)
    if missing:
        others = np.setdiff1d(distinct, quantiles)
        quantiles = np.append(quantiles, np.quantile(others, _middles(missing)))
    return np.sort(quantiles)


def _middles(number: int) -> NDArray[np.float64]:
    """Return the middles of as many equal parts of the unit interval."""
    return (np.arange(number) + 0.5) / number


def _empty(centers: Float32, n_lists: int, residual: bool) -> Any:
    faiss = load_faiss()
    width = centers.shape[1]
    quantizer = faiss.IndexFlatL2(width)
    index = faiss.IndexIVFPQFastScan(quantizer, width, n_lists, width, 4)
    index.by_residual = residual
    quantizer.add(centers)
    return index


class InvertedFile:
    """Rows as codes in lists.

    Not safe for searches while rows are added or removed.

    Parameters
    ----------
    codebook : Codebook
        Of `train_codebook`.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(1_000, 4)).astype(np.float32)
    >>> codebook = train_codebook(rows, 4, residual=False, seed=0)
    >>> lists = InvertedFile(codebook)
    >>> lists.add(np.arange(1_000), rows)
    >>> lists.candidates(rows[:3], 100, n_probe=4)[:, 0].shape
    (3,)
    """

    def __init__(self, codebook: Codebook) -> None:
        faiss = load_faiss()
        self.codebook = codebook
        self.n_lists = len(codebook.centers)
        self._index = _empty(codebook.centers, self.n_lists, codebook.residual)
        faiss.copy_array_to_vector(codebook.values.ravel(), self._index.pq.centroids)
        self._index.is_trained = True
        # FAISS has no list for a row that is infinite.
        self._n_rows = 0

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._n_rows

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
        self._n_rows += len(positions)

    def take_unordered(self) -> Positions:
        """Empty the lists whose rows are not in the order of their positions.

        Which of several rows with the same code is returned depends on their order; in
        this one it is that of an index filled anew with the same rows.

        Returns
        -------
        positions : ndarray of shape (n_rows,)
            What was in them, ascending, to be added again.
        """
        taken = [np.empty(0, dtype=np.intp)]
        for number, held in self._held():
            if (held[1:] < held[:-1]).any():
                taken.append(held.astype(np.intp))
                self._empty_list(number, len(held))
        return np.sort(np.concatenate(taken))

    def _empty_list(self, number: int, size: int) -> None:
        self._index.invlists.resize(number, 0)
        self._index.ntotal -= size
        self._n_rows -= size

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
        gone = np.zeros(int(positions.max()) + 1, dtype=bool)
        gone[positions] = True
        others = [positions[:0]]
        for number, held in self._held():
            among = held < len(gone)
            among[among] = gone[held[among]]
            if among.any():
                others.append(held[~among].astype(np.intp))
                self._empty_list(number, len(among))
        return np.sort(np.concatenate(others))

    def candidates(
        self, queries: Float32, n_candidates: int, n_probe: int
    ) -> Positions:
        """Return rows that are likely to be near each query, the likeliest first.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_codes), float32

        n_candidates : int

        n_probe : int
            Lists scanned.

        Returns
        -------
        positions : ndarray of shape (n_queries, n_candidates), int64
            -1 where the lists hold fewer rows.
        """
        # The method of the C++ class: faiss.contrib.torch_utils replaces the other one
        # by a method that takes no parameters.
        faiss = load_faiss()
        pointer = faiss.swig_ptr
        values = np.empty((len(queries), n_candidates), dtype=np.float32)
        found = np.empty((len(queries), n_candidates), dtype=np.int64)
        self._index.search_c(
            len(queries),
            pointer(queries),
            n_candidates,
            pointer(values),
            pointer(found),
            faiss.SearchParametersIVF(nprobe=n_probe),
        )
        return found

    def candidates_among(
        self, queries: Float32, n_candidates: int, n_probe: int, among: Positions
    ) -> Positions:
        """Return likely rows among some only.

        As many lists are scanned for each query as hold, together, as many of these
        rows as `n_probe` lists of ordinary size hold rows: few rows, or rows far away,
        are found as reliably as many rows near by.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_codes), float32

        n_candidates : int

        n_probe : int
            Lists scanned where every row may be returned.

        among : ndarray of shape (n_eligible,)
            Positions of the rows that may be returned.

        Returns
        -------
        positions : ndarray of shape (n_queries, n_candidates), int64
            -1 where there are fewer rows.
        """
        faiss = load_faiss()
        eligible = np.zeros(int(among.max(initial=0)) + 1, dtype=bool)
        eligible[among] = True
        bits = np.packbits(eligible, bitorder="little")
        selector = faiss.IDSelectorBitmap(bits)
        counts = self._list_counts(eligible)
        enough = n_probe * self.n_rows / self.n_lists
        found = np.empty((len(queries), n_candidates), dtype=np.int64)
        step = max(1, RANKING_ELEMENTS // self.n_lists)
        for start in range(0, len(queries), step):
            part = queries[start : start + step]
            lists, distances = self._probed(part, counts, n_probe, enough)
            found[start : start + step] = self._scan(
                part, n_candidates, lists, distances, selector
            )
        return found

    def _probed(
        self, queries: Float32, counts: Positions, n_probe: int, enough: float
    ) -> tuple[NDArray[np.int64], Float32]:
        """Return the lists to scan for each query, -1 after the last, and distances."""
        distances, lists = self._index.quantizer.search(queries, self.n_lists)
        held = counts[lists]
        before = np.cumsum(held, axis=1) - held
        needed = (np.arange(self.n_lists) < n_probe) | (before < enough)
        width = int(needed.sum(axis=1).max(initial=1))
        lists = np.where(needed, lists, -1)[:, :width]
        return np.ascontiguousarray(lists), np.ascontiguousarray(distances[:, :width])

    def _scan(
        self,
        queries: Float32,
        n_candidates: int,
        lists: NDArray[np.int64],
        distances: Float32,
        selector: Any,
    ) -> NDArray[np.int64]:
        # The Python wrapper of search_preassigned takes no parameters; the method of
        # the C++ class, which it calls, does.
        faiss = load_faiss()
        pointer = faiss.swig_ptr
        values = np.empty((len(queries), n_candidates), dtype=np.float32)
        found = np.empty((len(queries), n_candidates), dtype=np.int64)
        self._index.search_preassigned_c(
            len(queries),
            pointer(queries),
            n_candidates,
            pointer(lists),
            pointer(distances),
            pointer(values),
            pointer(found),
            False,
            faiss.SearchParametersIVF(nprobe=lists.shape[1], sel=selector),
        )
        return found

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
