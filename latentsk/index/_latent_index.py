"""Similar rows, by nearest neighbours in a latent space."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from latentsk._device import resolve_device
from latentsk._threads import thread_limit
from latentsk._validation import fit_context, reject_huge
from latentsk.index._change import Change
from latentsk.index._embedding import (
    FitOf,
    check_embedder,
    fit_vectors,
    row_ids,
    vectors_of,
)
from latentsk.index._engine import IndexEngine
from latentsk.index._fitted_index import FittedIndex
from latentsk.index._index_state import read_index, stored_index, write_index
from latentsk.index._labels import aligned_ids, required_ids
from latentsk.index._lock import lock_of
from latentsk.index._query import Neighbors, Query, neighbors_of_each
from latentsk.index._results import (
    as_objects,
    check_fewer,
    check_mode,
    checked_distance,
    graph_of,
    recall_frame,
    search_table,
    with_metadata,
)
from latentsk.index._rows import RowStore
from latentsk.index._settings import settings_of
from latentsk.index._static import refuse_if_static
from latentsk.index._vectors import as_matrix

EXACTNESS = {"certified", "float32"}
BACKENDS = {"auto", "faiss", "torch"}
Filter = str | Callable[[pd.DataFrame], Any] | ArrayLike | None


@stored_index
class LatentIndex(FittedIndex, BaseEstimator):
    """Find the rows most like a given one, in the latent space of an embedder.

    Speaks the language of :class:`sklearn.neighbors.NearestNeighbors` (positions and
    distances) and answers with ids in a DataFrame where that is more convenient. The
    search is exact, or finds as large a share of the true neighbours as `target_recall`
    says. Rows can be added, replaced and removed.

    Parameters
    ----------
    embedder : transformer or None, default=None
        Maps rows to the vectors that are compared: any object with `fit` and
        `transform`, a whole Pipeline included. A fitted one is used as it is; an
        unfitted one is cloned and fitted. None: the rows are vectors already.

    n_neighbors : int, default=5
        Neighbours returned when a call does not say.

    metric : {"euclidean", "cosine", "inner_product"}, default="euclidean"
        "cosine" is ``1 - cos(x, y)``, in [0, 2]; a row of zeros is at distance 1 from
        every other row. "inner_product" is a similarity, not a distance, and serves in
        `search` only.

    radius : float, default=1.0
        Radius used when a call of `radius_neighbors` does not say.

    exactness : {"certified", "float32"}, default="certified"
        "certified": the answer is that of float64 arithmetic, whatever the backend and
        the number of queries, with equal distances in the order of the positions.
        Candidates are found in float32 and measured in float64; queries for which the
        error bound of float32 does not rule out every other row are answered in
        float64. "float32": what float32 arithmetic says, which is a little faster.
        Distances are then wrong by about ``1e-3`` of the vectors' lengths at most.

    backend : {"auto", "faiss", "torch"}, default="auto"
        Who finds the candidates. "auto" takes FAISS where it is installed and faster
        (many queries), else numpy's matrix product with torch's selection.

    target_recall : float or None, default=None
        Share of the true `n_neighbors` nearest rows that a search is to find, in
        (0, 1). None: all of them. The cheapest index whose recall on held-out rows
        meets the target, by a lower confidence bound of 95 %, is looked for; the work
        that a search takes is counted, not timed, so that a fit repeats. With filters,
        after changes and for queries unlike the rows a search looks at more, or warns
        that it may find less. Needs FAISS.

    index_spec : str or None, default=None
        Builds this index, `index_spec_` of another fit, instead of looking for one.

    static : bool, default=False
        Declares that no row will be added, changed or removed: `add`, `update`,
        `upsert` and `remove` are refused, and with a `target_recall` a graph is tried
        besides, unless there is a `memory_budget`: HNSW up to 16 columns, else the
        SymphonyQG of rabitqlib (``pip install 'latentsk[static]'``). A graph answers
        more queries a second on some data, most of all at a recall of .99, but it holds
        the rows once more and takes many times longer to build, and again whenever the
        index is loaded. rabitqlib draws at random: which neighbours are missed differs
        from fit to fit. Filtered searches compare every row.

    memory_budget : str, int or None, default=None
        Bytes that the fitted index may hold, like "2GB" or "500 MiB": vectors, lists
        and ids, but no embedder and no metadata. With a `target_recall`, vectors are
        kept in 32, 16 or 8 bits a coordinate, the most precise form that fits; an error
        says what would be possible if none does, or if the recall is not reached.

    rerank : {"latent", "original"}, default="latent"
        Where the candidates that an approximate search finds are measured and ordered:
        in the space of the embedder, or between the rows as they were given. With
        "original" recall is that of the nearest original rows, `vectors_` are these
        rows, and distances are in their unit; it needs an embedder, and a
        `target_recall` or an `index_spec`.

    device : str or torch.device, default="auto"
        Where rows are compared: "cpu", "cuda", or "auto", a GPU if there is one and the
        rows find room there. On a GPU every row is compared, so that any
        `target_recall` is met, and queries that are tensors there are searched without
        a copy to the host if `exactness` is "float32" (and the metric not "cosine").
        Lists (`index_spec`) are searched on the CPU.

    n_jobs : int or None, default=None
        Threads of a search; -1 is all cores, None what FAISS, torch and the BLAS are
        set to.

    random_state : int, default=0
        Seed of what is drawn to find and train an approximate index.

    verbose : bool, default=False
        Whether to print what a fit is doing.

    Attributes
    ----------
    embedder_ : transformer
        The fitted embedder; not set where `embedder` is None.

    vectors_ : ndarray of shape (n_samples_fit_, n_components), float64 or float32
        The vectors that are searched.

    ids_ : ndarray of shape (n_samples_fit_,)
        Id of each position, no two of which are the same.

    active_ : ndarray of shape (n_samples_fit_,), dtype bool
        Whether the row at each position is there: False once it was removed.

    n_samples_fit_ : int
        Number of positions, those of removed rows included; ``len(index)`` is the
        number of rows that are there, and ``id in index`` tells whether one is.

    effective_metric_ : str
        The metric.

    metadata_ : DataFrame of len(index) rows
        What is known of the rows that are there, indexed by id; only if it was given.

    index_spec_ : str
        What the index is made of: "Flat" where every row is compared, else like
        "PCA96,IVF256,PQ96x4fs,nprobe=16,rerank=3", in FAISS's words: 96 principal
        components, 256 lists, a code of four bits for each component; a search scans 16
        lists and measures 3 candidates for each neighbour.

    recall_ : DataFrame
        Only with `target_recall`: for 1, 10, 100 and `n_neighbors` neighbours (the
        index) the recall on held-out rows ("recall") and its confidence bounds, 95 %
        each ("lower", "upper"). See `measure_recall` for your own queries.

    n_features_in_ : int
        Number of features, where the embedder knows it.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where they are all strings.

    See Also
    --------
    sklearn.neighbors.NearestNeighbors : The same contract, without an embedder.

    Notes
    -----
    scikit-learn clones the estimators inside a meta-estimator (in GridSearchCV, say),
    and a clone is unfitted. Wrap a fitted embedder in
    :class:`sklearn.frozen.FrozenEstimator` to have it survive that.

    Besides the vectors, the index keeps a float32 copy of them, unless they are float32
    and not far from the origin. A search needs up to some 200 MB more, whatever the
    sizes. An approximate index adds half a byte for each coded component and 16 bytes
    a row. Rows are copied, so that what was given may be used again; a memory map
    that is opened read-only (`np.memmap` with ``mode="r"``) stays mapped instead, and
    its file must not change. Rows of float16, of integers of 8 or 16 bits and of
    booleans are kept as float32, which holds them exactly; other integers as float64.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from latentsk import LatentIndex, PCAEmbedder
    >>> X, y = load_digits(return_X_y=True)
    >>> index = LatentIndex(PCAEmbedder(16)).fit(X[10:])
    >>> distances, positions = index.kneighbors(X[:3], n_neighbors=4)
    >>> y[10:][positions]
    array([[0, 0, 0, 0],
           [1, 1, 1, 1],
           [2, 2, 2, 2]])
    """

    _parameter_constraints: dict[str, Any] = {
        "embedder": "no_validation",  # by check_embedder, which names a remedy
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "metric": [StrOptions({"euclidean", "cosine", "inner_product"})],
        "radius": [Interval(Real, 0, None, closed="left")],
        "exactness": [StrOptions(EXACTNESS)],
        "backend": [StrOptions(BACKENDS)],
        "memory_budget": [str, Interval(Integral, 1, None, closed="left"), None],
        "target_recall": [Interval(Real, 0, 1, closed="neither"), None],
        "index_spec": [str, None],
        "static": ["boolean"],
        "rerank": [StrOptions({"latent", "original"})],
        "device": [str, torch.device],
        "n_jobs": [Integral, None],
        "random_state": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["boolean"],
    }

    def __init__(
        self,
        embedder: Any = None,
        *,
        n_neighbors: int = 5,
        metric: str = "euclidean",
        radius: float = 1.0,
        exactness: str = "certified",
        backend: str = "auto",
        target_recall: float | None = None,
        index_spec: str | None = None,
        static: bool = False,
        memory_budget: str | int | None = None,
        rerank: str = "latent",
        device: str | torch.device = "auto",
        n_jobs: int | None = None,
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.embedder = embedder
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.radius = radius
        self.exactness = exactness
        self.backend = backend
        self.target_recall = target_recall
        self.index_spec = index_spec
        self.static = static
        self.memory_budget = memory_budget
        self.rerank = rerank
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # Fitting

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        ids: ArrayLike | None = None,
        metadata: pd.DataFrame | None = None,
    ) -> Self:
        """Embed rows and make them searchable.

        Searches of an index that is fitted already go on meanwhile.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; what the embedder takes, or vectors where there is none.

        y : array-like or None
            Handed to the embedder's `fit`, else ignored.

        ids : array-like of shape (n_samples,) or None, default=None
            Unique ids of the rows. None: the index of a DataFrame, else row numbers.

        metadata : DataFrame of n_samples rows or None, default=None
            What is known of each row, to filter by. Its labels (its index) rule: if
            they are the ids, in whatever order, each row gets what is labelled by its
            id. Only an unnamed default RangeIndex is taken by position.

        Returns
        -------
        self : LatentIndex
            The fitted index.

        Raises
        ------
        ValueError
            If `X` is not valid or has magnitudes above 1e100, `ids` are not unique or
            not as many as rows, `metadata` has another number of rows or other labels,
            or parameters contradict each other.

        TypeError
            If `embedder` is a class, or `X` is sparse and there is no embedder.

        NotFittedError
            If `embedder` is a FrozenEstimator that is not fitted.

        ImportError
            If ``backend="faiss"``, or a recall or index is asked for, and FAISS is not
            installed.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> LatentIndex().fit([[0, 0], [3, 4]], ids=["a", "b"]).ids_.tolist()
        ['a', 'b']
        """
        check_embedder(self.embedder)
        resolve_device(self.device)
        settings = settings_of(self, self.metric)
        has_embedder = self.embedder is not None
        settings.check(self.backend, self.rerank, has_embedder=has_embedder)
        names = row_ids(X) if ids is None else aligned_ids(X, ids)
        lock = lock_of(self)
        with lock.changing():
            # Another index, so that this one serves its readers meanwhile.
            beside = type(self)(**self.get_params(deep=False))
            beside._build(X, y, names, metadata)
            with lock.writing():
                self._take_fit(beside)
        return self

    def _build(self, X: Any, y: Any, ids: Any, metadata: Any) -> None:
        """Fit this index, which is new and nobody else's."""
        vectors = fit_vectors(self, as_matrix(X), y)
        rows = RowStore.of(len(vectors), ids, metadata)
        with thread_limit(self.n_jobs):
            self._engine = IndexEngine.build(
                vectors, rows, settings_of(self, self.metric)
            )

    # Searching

    def kneighbors(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
        *,
        filter: Filter = None,
        fewer: str = "error",
    ) -> Any:
        """Return the nearest rows of each query.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            Queries. None: the rows of the index themselves (that were not removed, by
            position), each of which is then left out of its own neighbours.

        n_neighbors : int or None, default=None
            Number of neighbours; None takes that of the estimator.

        return_distance : bool, default=True
            Whether to return the distances.

        filter : str, callable, array-like or None, default=None
            Which rows may be returned: a query string such as ``"year > 2020 and owner
            == 'u'"`` over the columns of the metadata and the `id`; a function that
            gets a copy of `metadata_` and returns a boolean for each of its rows; a
            mask; or ids. A mask with labels, such as ``index.metadata_["year"] >
            2020``, has one value for each id; without labels, or with an unnamed
            default RangeIndex, it has one for each position. Strings and functions are
            evaluated while no other thread changes the index.

        fewer : {"error", "allow"}, default="error"
            What happens where fewer rows may be returned than neighbours are asked
            for: an error, or an answer with as many as every query has.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), float64
            Ascending, never negative, in the unit of the vectors (cosine: none); only
            if `return_distance`.

        positions : ndarray of shape (n_queries, n_neighbors)
            Row numbers of what was fitted; equal distances in ascending order.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        ValueError
            If `X` or `filter` is not valid, `X` has magnitudes above 1e100, there are
            fewer rows than neighbours, or the metric is "inner_product".

        TypeError
            If `n_neighbors` is not an integer.

        KeyError
            If `filter` names an unknown id.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4], [0, 1]])
        >>> index.kneighbors([[0, 0]], n_neighbors=2)
        (array([[0., 1.]]), array([[0, 2]]))
        """
        self._require_distance("kneighbors")
        check_fewer(fewer)
        with self._asked(X) as (engine, queries):
            k = self.n_neighbors if n_neighbors is None else n_neighbors
            query = engine.query(queries, k, filter, fewer)
            distances, positions = self._neighbors(engine, query)
        return (distances, positions) if return_distance else positions

    def kneighbors_graph(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        mode: str = "connectivity",
        *,
        filter: Filter = None,
        fewer: str = "error",
    ) -> csr_matrix | csr_array:
        """Return the neighbours of each query as a sparse matrix.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            As in `kneighbors`.

        n_neighbors : int or None, default=None
            As in `kneighbors`.

        mode : {"connectivity", "distance"}, default="connectivity"
            What the entries are: ones, or distances.

        filter : str, callable, array-like or None, default=None
            As in `kneighbors`.

        fewer : {"error", "allow"}, default="error"
            As in `kneighbors`.

        Returns
        -------
        graph : CSR matrix or array of shape (n_queries, n_samples_fit_), float64
            Which of the two, scikit-learn's configuration `sparse_interface` says.
            `n_neighbors` entries a row, explicit zeros included; with ``fewer="allow"``
            there may be fewer.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        ValueError
            As in `kneighbors`, or if `mode` is unknown.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4], [0, 1]])
        >>> index.kneighbors_graph(n_neighbors=1).toarray()
        array([[0., 0., 1.],
               [0., 0., 1.],
               [1., 0., 0.]])
        """
        check_mode(mode)
        with lock_of(self).reading():
            allowed: dict[str, Any] = {"filter": filter, "fewer": fewer}
            distances, positions = self.kneighbors(X, n_neighbors, **allowed)
            n_columns = self.n_samples_fit_
        starts = np.arange(len(positions) + 1) * positions.shape[1]
        return graph_of(distances.ravel(), positions.ravel(), starts, n_columns, mode)

    def radius_neighbors(
        self,
        X: ArrayLike | None = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
        *,
        filter: Filter = None,
    ) -> Any:
        """Return the rows within a radius of each query.

        Exact in every setting of `exactness` and `target_recall`.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            As in `kneighbors`.

        radius : float or None, default=None
            Largest distance, itself included; None takes that of the estimator.

        return_distance : bool, default=True
            Whether to return the distances.

        sort_results : bool, default=False
            Whether to sort each query's rows by distance; they come by position
            otherwise.

        filter : str, callable, array-like or None, default=None
            As in `kneighbors`.

        Returns
        -------
        distances : ndarray of shape (n_queries,) of arrays, float64
            Only if `return_distance`.

        positions : ndarray of shape (n_queries,) of arrays
            Row numbers of what was fitted.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        ValueError
            If `X` or `radius` is not valid, as in `kneighbors`, the metric is
            "inner_product", or `sort_results` is asked for without `return_distance`.

        TypeError
            If `radius` is not a number.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4], [0, 1]])
        >>> index.radius_neighbors([[0, 0]], radius=2)[1][0]
        array([0, 2])
        """
        self._require_distance("radius_neighbors")
        if sort_results and not return_distance:
            raise ValueError("return_distance must be True if sort_results is True.")
        reach = checked_distance(self.radius if radius is None else radius, "radius")
        with self._asked(X) as (engine, queries):
            query = engine.query(queries, None, filter)
            distances, positions = engine.ready_search.exact.within(query, reach)
        if sort_results:
            orders = [np.argsort(d, kind="stable") for d in distances]
            distances = [d[order] for d, order in zip(distances, orders, strict=True)]
            positions = [p[order] for p, order in zip(positions, orders, strict=True)]
        if return_distance:
            return as_objects(distances), as_objects(positions)
        return as_objects(positions)

    def radius_neighbors_graph(
        self,
        X: ArrayLike | None = None,
        radius: float | None = None,
        mode: str = "connectivity",
        sort_results: bool = False,
        *,
        filter: Filter = None,
    ) -> csr_matrix | csr_array:
        """Return the rows within a radius of each query as a sparse matrix.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            As in `kneighbors`.

        radius : float or None, default=None
            As in `radius_neighbors`.

        mode : {"connectivity", "distance"}, default="connectivity"
            What the entries are: ones, or distances.

        sort_results : bool, default=False
            Whether to sort each row's entries by distance.

        filter : str, callable, array-like or None, default=None
            As in `kneighbors`.

        Returns
        -------
        graph : sparse matrix of shape (n_queries, n_samples_fit_), CSR, float64
            An entry for every row within the radius, explicit zeros included.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        ValueError
            As in `radius_neighbors`, or if `mode` is unknown.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4], [0, 1]])
        >>> index.radius_neighbors_graph(radius=2, mode="distance").toarray()
        array([[0., 0., 1.],
               [0., 0., 0.],
               [1., 0., 0.]])
        """
        check_mode(mode)
        with lock_of(self).reading():
            distances, positions = self.radius_neighbors(
                X, radius, sort_results=sort_results, filter=filter
            )
            n_columns = self.n_samples_fit_
        starts = np.cumsum([0, *(len(p) for p in positions)])
        columns = np.concatenate([np.empty(0, dtype=np.intp), *positions])
        data = np.concatenate([np.empty(0), *distances])
        return graph_of(data, columns, starts, n_columns, mode)

    def search(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        *,
        ids: ArrayLike | None = None,
        filter: Filter = None,
        fewer: str = "error",
        return_metadata: bool = False,
    ) -> pd.DataFrame:
        """Return the nearest rows of each query as a tidy table of ids.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            As in `kneighbors`.

        n_neighbors : int or None, default=None
            As in `kneighbors`.

        ids : array-like of shape (n_queries,) or None, default=None
            Instead of `X`: ids of rows whose neighbours are asked for ("more like
            these"). Each row is left out of its own neighbours.

        filter : str, callable, array-like or None, default=None
            As in `kneighbors`.

        fewer : {"error", "allow"}, default="error"
            As in `kneighbors`, but with as many as each query has. If no row may be
            returned, the table is empty.

        return_metadata : bool, default=False
            Whether to put the metadata of each row beside it. A column whose name is
            taken gets the suffix "_metadata".

        Returns
        -------
        table : DataFrame of n_queries * n_neighbors rows
            Columns "query" (the index of a DataFrame, the ids where there is no `X`,
            else row numbers), "rank" (from 1), "id", and "distance"; for inner products
            "similarity", descending.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        ValueError
            If `X` or `filter` is not valid, `X` has magnitudes above 1e100, there are
            fewer rows than neighbours, `X` and `ids` are both given, or metadata are
            asked for that the index does not have.

        TypeError
            If `n_neighbors` is not an integer.

        KeyError
            If an id is unknown.

        Examples
        --------
        >>> import numpy as np
        >>> import pandas as pd
        >>> from latentsk import LatentIndex
        >>> rows = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
        >>> colours = pd.DataFrame({"colour": ["red", "blue", "red"]})
        >>> index = LatentIndex().fit(rows, ids=["a", "b", "c"], metadata=colours)
        >>> index.search([[0.0, 0.0]], n_neighbors=2)
           query  rank id  distance
        0      0     1  a       0.0
        1      0     2  c       1.0
        >>> index.search(ids=["a"], n_neighbors=1, filter="colour == 'blue'")
          query  rank id  distance
        0     a     1  b       5.0
        """
        check_fewer(fewer)
        if X is not None and ids is not None:
            raise ValueError("search takes X or ids, not both.")
        if return_metadata:
            self._fitted_engine.rows.require_metadata()
        names = row_ids(X)
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        with self._asked(X) as (engine, queries):
            rows = engine.rows
            if ids is None:
                query = engine.query(queries, k, filter, fewer)
            else:
                query = engine.query_like(ids, k, filter, fewer)
            found = neighbors_of_each(query, k, partial(self._neighbors, engine))
        if query.exclude is not None:
            names = rows.ids[query.exclude]
        value = "similarity" if engine.metric == "inner_product" else "distance"
        table = search_table(names, rows.ids, found, value)
        if return_metadata:
            table = with_metadata(table, rows.metadata_at(found[1][found[1] >= 0]))
        return table

    def duplicates(self, threshold: float) -> pd.DataFrame:
        """Return groups of rows that lie closer together than a distance.

        Two rows are in one group if a chain of rows leads from one to the other whose
        steps are not longer than the threshold (single linkage). Exact, whatever the
        index; quick as long as few rows are within the threshold of others. Cosine
        distances of parallel rows are rounded, to some 1e-16 instead of 0. Rows of
        zeros (blank documents, say) are equal, and in one group whatever the threshold;
        to `kneighbors` and `radius_neighbors` the cosine distance between them is 1, as
        it is to scikit-learn.

        Parameters
        ----------
        threshold : float
            Longest step, itself included; 0 finds equal rows.

        Returns
        -------
        table : DataFrame
            Columns "group" (0, 1, ...), "position" and "id", sorted by group and
            position. Rows without a duplicate are left out.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        ValueError
            If `threshold` is negative, or the metric is "inner_product".

        TypeError
            If `threshold` is not a number.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0.0], [5.0], [0.1], [9.0], [5.2]])
        >>> index.duplicates(0.25)
           group  position  id
        0      0         0   0
        1      0         2   2
        2      1         1   1
        3      1         4   4
        """
        self._require_distance("duplicates")
        reach = checked_distance(threshold, "threshold")
        with self._searching() as engine:
            return engine.duplicates(reach)

    def measure_recall(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        *,
        filter: Filter = None,
    ) -> pd.DataFrame:
        """Compare with an exact search, and count what is found.

        The truth is that of the rows as the index keeps them; where a `memory_budget`
        rounds them, `recall_` compared with the rows as they were given.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            Queries. None: rows of the index, up to 2,000 drawn with `random_state`,
            each left out of its own neighbours.

        n_neighbors : int or None, default=None
            Number of neighbours that is reported besides 1, 10 and 100; None takes that
            of the estimator.

        filter : str, callable, array-like or None, default=None
            Which rows may be found, as in `kneighbors`; without queries, those that
            pass are drawn from.

        Returns
        -------
        table : DataFrame
            By number of neighbours ("n_neighbors", the index), the mean "recall" and
            its confidence bounds of 95 % each, "lower" and "upper".

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        ValueError
            If `X` or `filter` is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import LatentIndex
        >>> X = np.random.default_rng(0).normal(size=(300, 8))
        >>> LatentIndex().fit(X).measure_recall(n_neighbors=5)["recall"].to_dict()
        {1: 1.0, 5: 1.0, 10: 1.0, 100: 1.0}
        """
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        with self._asked(X) as (engine, queries):
            seed = self.random_state
            return recall_frame(engine.measured_recalls(queries, k, seed, filter))

    def _neighbors(self, engine: IndexEngine, query: Query) -> Neighbors:
        if self.exactness not in EXACTNESS or self.backend not in BACKENDS:
            self._validate_params()  # they may have been set since the fit
        if query.k == 0:
            shape = (len(query.vectors), 0)
            return np.empty(shape), np.empty(shape, dtype=np.intp)
        certified = self.exactness == "certified"
        query = query._replace(certified=certified, backend=self.backend)
        return engine.ready_search.neighbors(query)

    @contextmanager
    def _asked(self, X: Any) -> Iterator[tuple[IndexEngine, Any]]:
        """Yield the engine, for readers, and queries as its vectors: see `_queries`."""
        while True:
            fit, queries = FitOf(self), self._queries(X)
            with self._searching() as engine:
                if fit.is_that_of(self):
                    yield engine, queries
                    return

    def _queries(self, X: Any) -> Any:
        """Return queries as vectors: None for the rows of the index, or a tensor."""
        check_is_fitted(self)
        if torch.is_tensor(X) and self._stays_on_device(X):
            reject_huge(X)
            return X
        return None if X is None else vectors_of(self, X)

    def _stays_on_device(self, X: torch.Tensor) -> bool:
        """Tell whether queries are on a GPU, valid ones, and searched there."""
        is_float32 = self.exactness == "float32"
        if X.device.type == "cpu" or not is_float32 or hasattr(self, "embedder_"):
            return False
        with self._searching() as engine:
            return engine.takes_tensor(X)

    # Changes

    def add(
        self,
        X: ArrayLike,
        ids: ArrayLike | None = None,
        metadata: pd.DataFrame | None = None,
    ) -> Self:
        """Add rows behind the present ones.

        An approximate index is rebuilt once it has twice the rows that it was built
        for, or once so many lie where none lay then that comparing each of them takes
        as long as the search. Searches go on meanwhile.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows like those that were fitted.

        ids : array-like of shape (n_samples,) or None, default=None
            Ids that are not in the index; those of removed rows get their positions
            back. None: the index of a DataFrame; else the next whole numbers, if all
            ids so far are whole numbers (the positions, where these are the ids), none
            of which was given before.

        metadata : DataFrame of n_samples rows or None, default=None
            With the columns that `fit` was given, in whose dtypes it is kept; needed if
            there were any. Its labels rule, as in `fit`.

        Returns
        -------
        self : LatentIndex
            The index.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        ValueError
            If `X` is not valid or has magnitudes above 1e100, ids or metadata do not
            fit it or are of another kind than the present ones, or the rows exceed the
            `memory_budget`. Nothing is added.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4]], ids=["a", "b"])
        >>> index.add([[0, 1]], ids=["c"]).search([[0, 2]], n_neighbors=1)["id"].item()
        'c'
        """
        refuse_if_static(self, "add")
        names = row_ids(X) if ids is None else aligned_ids(X, ids)
        return self._change_by(X, lambda e, v: Change.adding(e, v, names, metadata))

    def update(
        self,
        X: ArrayLike,
        ids: ArrayLike | None = None,
        metadata: pd.DataFrame | None = None,
    ) -> Self:
        """Replace rows, which keep their positions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The new rows.

        ids : array-like of shape (n_samples,) or None, default=None
            Ids of the rows to replace; None: the index of a DataFrame.

        metadata : DataFrame of n_samples rows or None, default=None
            Replaces theirs, by its labels as in `fit`; None leaves it.

        Returns
        -------
        self : LatentIndex
            The index.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        KeyError
            If an id is unknown. Nothing is replaced.

        ValueError
            If `X` is not valid or has magnitudes above 1e100, or ids or metadata do not
            fit it. Nothing is replaced.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4]], ids=["a", "b"])
        >>> index.update([[9, 9]], ids=["a"]).vectors_.tolist()
        [[9.0, 9.0], [3.0, 4.0]]
        """
        refuse_if_static(self, "update")
        names = required_ids(X, ids, "update")
        return self._change_by(X, lambda e, v: Change.updating(e, v, names, metadata))

    def upsert(
        self,
        X: ArrayLike,
        ids: ArrayLike | None = None,
        metadata: pd.DataFrame | None = None,
    ) -> Self:
        """Replace the rows whose ids are in the index, and add the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        ids : array-like of shape (n_samples,) or None, default=None
            Their ids; None: the index of a DataFrame.

        metadata : DataFrame of n_samples rows or None, default=None
            With the columns that `fit` was given; needed if there were any and a row is
            new. Its labels rule, as in `fit`.

        Returns
        -------
        self : LatentIndex
            The index.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        ValueError
            As in `add` and `update`. Nothing is changed then.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4]], ids=["a", "b"])
        >>> index.upsert([[9, 9], [1, 1]], ids=["c", "a"]).vectors_.tolist()
        [[1.0, 1.0], [3.0, 4.0], [9.0, 9.0]]
        """
        refuse_if_static(self, "upsert")
        names = required_ids(X, ids, "upsert")
        return self._change_by(X, lambda e, v: Change.upserting(e, v, names, metadata))

    def update_metadata(
        self, metadata: pd.DataFrame, ids: ArrayLike | None = None
    ) -> Self:
        """Replace what is known of rows, which stay as they are.

        Parameters
        ----------
        metadata : DataFrame of n_samples rows
            Columns to replace, the others stay; or new columns, for all rows.

        ids : array-like of shape (n_samples,) or None, default=None
            Ids of the rows, in whose order the metadata are, unless they are labelled
            by them; None: the labels (the index) of the metadata are the ids. Metadata
            of all rows with an unnamed default RangeIndex are in the order of
            `metadata_`.

        Returns
        -------
        self : LatentIndex
            The index.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        KeyError
            If an id is unknown. Nothing is replaced.

        ValueError
            If ids and metadata do not fit each other, or columns are new and rows are
            left out. Nothing is replaced.

        TypeError
            If `metadata` is not a DataFrame.

        Examples
        --------
        >>> import pandas as pd
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4]], ids=["a", "b"])
        >>> owners = pd.DataFrame({"owner": ["v", "u"]}, index=["b", "a"])
        >>> index.update_metadata(owners).metadata_
          owner
        a     u
        b     v
        """
        check_is_fitted(self)
        return self._change(lambda engine: Change.describing(engine, metadata, ids))

    def remove(self, ids: ArrayLike) -> Self:
        """Remove rows; the positions of the others stay as they are.

        Parameters
        ----------
        ids : array-like of shape (n_samples,)
            Ids of the rows to remove. Added again, they get their positions back. The
            memory of the vectors is kept, as their positions are, until `compact`.

        Returns
        -------
        self : LatentIndex
            The index.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        KeyError
            If an id is unknown. Nothing is removed.

        ValueError
            If an id occurs twice.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4], [0, 1]])
        >>> index.remove([0]).kneighbors([[0, 0]], n_neighbors=2)[1]
        array([[2, 1]])
        """
        check_is_fitted(self)
        refuse_if_static(self, "remove")
        return self._change(lambda engine: Change.removing(engine, ids))

    def compact(self) -> Self:
        """Free the memory of removed rows, and number the others anew.

        Afterwards positions are those of the rows that are there, in the same order;
        ids stay. Searches go on meanwhile. An index whose rows are all removed stays as
        it is.

        Returns
        -------
        self : LatentIndex
            The index.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4], [0, 1]]).remove([0])
        >>> index.compact().ids_, index.vectors_.shape
        (array([1, 2]), (2, 2))
        """
        check_is_fitted(self)
        lock = lock_of(self)
        with lock.changing(), thread_limit(self.n_jobs):
            rows = self._engine.rows
            if not rows.is_whole and rows.n_active:
                settings = settings_of(self, self._engine.metric)
                compacted = self._engine.compacted(settings)
                # Alone: readers that ask twice must not find other positions.
                with lock.writing():
                    self._engine = compacted
        return self

    def _change_by(
        self, X: Any, change: Callable[[IndexEngine, NDArray[Any]], Change]
    ) -> Self:
        """Change rows by others, which are embedded before anybody waits."""
        check_is_fitted(self)
        fit, vectors = FitOf(self), vectors_of(self, X)
        with lock_of(self).changing():
            if not fit.is_that_of(self):
                vectors = vectors_of(self, X)
            return self._change(lambda engine: change(engine, vectors))

    def _change(self, plan: Callable[[IndexEngine], Change]) -> Self:
        """Change the rows, and rebuild a search that no longer suits them.

        Readers wait where rows are put in place, and not for a search that is rebuilt:
        until then what they have is right, only slower or less complete.
        """
        lock = lock_of(self)
        with lock.changing(), thread_limit(self.n_jobs):
            before = self._ready_engine()
            before.settings = settings_of(self, before.metric)
            change = plan(before)
            beside = change.made_beside() if change.takes_long else None
            with lock.writing():
                self._engine = change.made() if beside is None else beside
            if self._engine.is_outdated:
                try:
                    self._engine = self._engine.rebuilt()
                except BaseException:
                    with lock.writing():
                        change.undo()
                        self._engine = before
                    raise
        return self

    # Locks

    def _held_still(self) -> AbstractContextManager[None]:
        """Keep changes out while a file or a copy is made; searches go on."""
        return lock_of(self).still()

    @contextmanager
    def _searching(self) -> Iterator[IndexEngine]:
        """Hold the lock with other readers, and yield the engine with its search."""
        with lock_of(self).reading(), thread_limit(self.n_jobs):
            yield self._ready_engine()

    def _ready_engine(self) -> IndexEngine:
        # Once: several readers may be here, and it takes as much as the rows.
        with lock_of(self).building:
            engine = self._engine
            if engine.search is None:
                engine.restore_search(settings_of(self, engine.metric))
            return engine

    # Files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file, without its embedder.

        The file takes its name in one step: a crash at any moment leaves an older file
        as it was. It holds arrays and JSON with a checksum, and no code.

        Parameters
        ----------
        path : str or path-like
            Where to write; an existing file is replaced.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        TypeError
            If ids or metadata are of a type that a file cannot hold.

        Examples
        --------
        >>> import os, tempfile
        >>> from latentsk import LatentIndex
        >>> path = os.path.join(tempfile.mkdtemp(), "rows.latentsk")
        >>> LatentIndex().fit([[0, 0], [3, 4]], ids=["a", "b"]).save(path)
        >>> LatentIndex.load(path).search([[3, 3]], n_neighbors=1)["id"].item()
        'b'
        """
        check_is_fitted(self)
        with self._held_still():
            write_index(self, path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        embedder: Any = None,
        mmap: bool = False,
    ) -> Self:
        """Read an index from a file, which runs no code of the file.

        Parameters
        ----------
        path : str or path-like
            What `save` wrote.

        embedder : transformer or None, default=None
            The fitted embedder, if the index has one: the one that it was fitted with,
            or vectors do not fit together.

        mmap : bool, default=False
            Whether to leave the vectors in the file, which must then not be changed,
            and read them when they are needed. Processes that read the same file share
            its memory. Searches want float32: of other vectors a copy is made.

        Returns
        -------
        index : LatentIndex
            The fitted index; it gives the answers of the one that was saved (but for a
            graph of rabitqlib, which is drawn again).

        Raises
        ------
        FileNotFoundError
            If there is no such file.

        FormatError
            If the file is foreign, truncated, altered, or of a newer format version.

        ValueError
            If the index has an embedder and none is given, or the other way round.

        NotFittedError
            If the embedder is not fitted.

        ImportError
            If the index needs FAISS, and that is not installed.
        """
        return read_index(cls, path, embedder, mmap)

    # Copies

    def __getstate__(self) -> dict[str, Any]:
        with self._held_still():
            state = super().__getstate__()
            if hasattr(self, "_engine"):
                state["fitted"]["_engine"] = self._engine.detached()
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if isinstance(self.embedder, BaseEstimator):
            tags.input_tags = get_tags(self.embedder).input_tags
        return tags
