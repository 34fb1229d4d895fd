"""Similar rows, by nearest neighbours in a latent space."""

from __future__ import annotations

from contextlib import AbstractContextManager
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import BaseEstimator
from sklearn.utils import _align_api_if_sparse, get_tags
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
)
from sklearn.utils.validation import check_is_fitted

from latentsk._device import on_host, resolve_device
from latentsk._state import StateMixin
from latentsk._validation import fit_context, validated
from latentsk.index._building import BuildingMixin
from latentsk.index._changes import ChangesMixin, check_lengths
from latentsk.index._embedding import (
    embed,
    fitted_embedder,
    row_ids,
)
from latentsk.index._faiss import faiss_available, load_faiss
from latentsk.index._files import (
    OPTIONAL,
    REQUIRED,
    check_index,
    check_parameters,
)
from latentsk.index._filters import eligible_positions
from latentsk.index._lock import lock_of
from latentsk.index._memory import parse_bytes
from latentsk.index._spec import FLAT, IndexSpec
from latentsk.index._storage import StorageMixin
from latentsk.index._threads import thread_limit
from latentsk.index.duplicates import duplicate_groups
from latentsk.index.exact import ExactSearch
from latentsk.index.rows import RowStore
from latentsk.persistence._registry import storable

EXACTNESS = {"certified", "float32"}
BACKENDS = {"auto", "faiss", "torch"}


@storable(
    REQUIRED,
    optional=OPTIONAL,
    check=check_index,
    check_parameters=check_parameters,
)
class LatentIndex(BuildingMixin, ChangesMixin, StorageMixin, StateMixin, BaseEstimator):
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
        that a search takes is counted, not timed, so that a fit repeats. Needs FAISS.

    index_spec : str or None, default=None
        Builds this index, `index_spec_` of another fit, instead of looking for one.

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
        Id of each position.

    n_samples_fit_ : int
        Number of rows.

    effective_metric_ : str
        The metric.

    metadata_ : DataFrame
        What is known of each position; only if it was given.

    index_spec_ : str
        What the index is made of: "Flat" where every row is compared, else a text like
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
    a row. Without an embedder, `vectors_` is the array that was given where its dtype
    and layout allow: leave it unchanged, or hand in a copy.

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
        "embedder": [HasMethods(["fit", "transform"]), None],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "metric": [StrOptions({"euclidean", "cosine", "inner_product"})],
        "radius": [Interval(Real, 0, None, closed="left")],
        "exactness": [StrOptions(EXACTNESS)],
        "backend": [StrOptions(BACKENDS)],
        "memory_budget": [str, Interval(Integral, 1, None, closed="left"), None],
        "target_recall": [Interval(Real, 0, 1, closed="neither"), None],
        "index_spec": [str, None],
        "rerank": [StrOptions({"latent", "original"})],
        "device": [str, torch.device],
        "n_jobs": [Integral, None],
        "random_state": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["boolean"],
    }

    _private_state = (
        "_vectors",
        "_alive",
        "_recalls",
        "_structure",
        "_n_tuned",
        "_n_strange",
    )
    _derived_state = ("_search", "_rows", "_store")

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
        self.memory_budget = memory_budget
        self.rerank = rerank
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

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

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; what the embedder takes, or vectors where there is none.

        y : array-like or None
            Handed to the embedder's `fit`, else ignored.

        ids : array-like of shape (n_samples,) or None, default=None
            Unique ids of the rows. None: the index of a DataFrame, else row numbers.

        metadata : DataFrame of n_samples rows or None, default=None
            What is known of each row, in the same order, to filter by.

        Returns
        -------
        self : LatentIndex
            The fitted index.

        Raises
        ------
        ValueError
            If `X` is not valid, `ids` are not unique or not as many as rows, `metadata`
            has another number of rows, or parameters contradict each other.

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
        self._check_parameters()
        with self._writing(), self._rollback_on_error():
            names = row_ids(X) if ids is None else ids
            vectors = self._fit_vectors(X, y)
            rows = RowStore.of(np.arange(len(vectors)) if names is None else names)
            check_lengths(len(vectors), len(rows.ids), metadata)
            self._forget_rows()
            self._vectors = vectors
            self._keep(rows)
            if metadata is not None:
                self.metadata_ = metadata.copy()
            self.effective_metric_ = self.metric
            self._build_search()
        return self

    def kneighbors(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
        *,
        filter: ArrayLike | None = None,
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

        filter : array-like or None, default=None
            Which rows may be returned: a mask with a boolean for each position, such as
            ``index.metadata_["year"] > 2020``, or ids. An approximate index looks at as
            many of these rows as it does of all rows otherwise, or compares them all.

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
            If `X` or `filter` is not valid, there are fewer rows than neighbours, or
            the metric is "inner_product".

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
        queries = self._queries(X)
        with self._reading():
            distances, positions = self._neighbors(queries, n_neighbors, filter)
        return (distances, positions) if return_distance else positions

    def kneighbors_graph(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        mode: str = "connectivity",
        *,
        filter: ArrayLike | None = None,
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

        filter : array-like or None, default=None
            As in `kneighbors`.

        Returns
        -------
        graph : CSR matrix or array of shape (n_queries, n_samples_fit_), float64
            Which of the two, scikit-learn's configuration `sparse_interface` says.
            `n_neighbors` entries a row, explicit zeros included.

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
        _check_mode(mode)
        with self._reading():
            distances, positions = self.kneighbors(X, n_neighbors, filter=filter)
            n_columns = self.n_samples_fit_
        n_queries, k = positions.shape
        data = distances if mode == "distance" else np.ones_like(distances)
        starts = np.arange(0, n_queries * k + 1, k)
        graph = csr_array(
            (data.ravel(), positions.ravel(), starts),
            shape=(n_queries, n_columns),
        )
        return _align_api_if_sparse(graph)

    def radius_neighbors(
        self,
        X: ArrayLike | None = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
        *,
        filter: ArrayLike | None = None,
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

        filter : array-like or None, default=None
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
            If `X` or `radius` is not valid, the metric is "inner_product", or
            `sort_results` is asked for without `return_distance`.

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
        reach = _checked_distance(self.radius if radius is None else radius, "radius")
        queries = None if X is None else self._vectors_of(X)
        with self._reading(), thread_limit(self.n_jobs):
            queries, own = self._with_own(queries)
            among = eligible_positions(self._row_store(), filter)
            distances, positions = self._exact().within(queries, reach, own, among)
        if sort_results:
            orders = [np.argsort(d, kind="stable") for d in distances]
            distances = [d[order] for d, order in zip(distances, orders, strict=True)]
            positions = [p[order] for p, order in zip(positions, orders, strict=True)]
        if return_distance:
            return _as_objects(distances), _as_objects(positions)
        return _as_objects(positions)

    def radius_neighbors_graph(
        self,
        X: ArrayLike | None = None,
        radius: float | None = None,
        mode: str = "connectivity",
        sort_results: bool = False,
        *,
        filter: ArrayLike | None = None,
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

        filter : array-like or None, default=None
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
        _check_mode(mode)
        with self._reading():
            distances, positions = self.radius_neighbors(
                X, radius, sort_results=sort_results, filter=filter
            )
            n_columns = self.n_samples_fit_
        counts = [len(p) for p in positions]
        starts = np.concatenate([[0], np.cumsum(counts)])
        columns = np.concatenate([np.empty(0, dtype=np.intp), *positions])
        data = np.concatenate([np.empty(0), *distances])
        graph = csr_array(
            (data if mode == "distance" else np.ones_like(data), columns, starts),
            shape=(len(counts), n_columns),
        )
        return _align_api_if_sparse(graph)

    def search(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        *,
        filter: ArrayLike | None = None,
    ) -> pd.DataFrame:
        """Return the nearest rows of each query as a tidy table of ids.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            As in `kneighbors`.

        n_neighbors : int or None, default=None
            As in `kneighbors`.

        filter : array-like or None, default=None
            As in `kneighbors`.

        Returns
        -------
        table : DataFrame of n_queries * n_neighbors rows
            Columns "query" (the index of a DataFrame, the ids for ``X=None``, else row
            numbers), "rank" (from 1), "id", and "distance"; for inner products
            "similarity", descending.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        ValueError
            If `X` is not valid or there are fewer rows than neighbours.

        TypeError
            If `n_neighbors` is not an integer.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import LatentIndex
        >>> rows = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
        >>> index = LatentIndex().fit(rows, ids=["a", "b", "c"])
        >>> index.search([[0.0, 0.0]], n_neighbors=2)
           query  rank id  distance
        0      0     1  a       0.0
        1      0     2  c       1.0
        """
        queries, names = self._queries(X), row_ids(X)
        with self._reading():
            values, positions = self._neighbors(queries, n_neighbors, filter)
            ids = self.ids_[positions.ravel()]
            if X is None:
                names = self.ids_[self._row_store().living]
        names = np.arange(len(values)) if names is None else np.asarray(names)
        k = positions.shape[1]
        similarity = self.effective_metric_ == "inner_product"
        return pd.DataFrame(
            {
                "query": np.repeat(names, k),
                "rank": np.tile(np.arange(1, k + 1), len(values)),
                "id": ids,
                "similarity" if similarity else "distance": values.ravel(),
            }
        )

    def duplicates(self, threshold: float) -> pd.DataFrame:
        """Return groups of rows that lie closer together than a distance.

        Two rows are in one group if a chain of rows leads from one to the other whose
        steps are not longer than the threshold (single linkage). Exact, whatever the
        index; quick as long as few rows are within the threshold of others. Cosine
        distances of parallel rows are rounded, to some 1e-16 instead of 0.

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
        reach = _checked_distance(threshold, "threshold")
        with self._reading(), thread_limit(self.n_jobs):
            alive = None if self._alive.all() else self._alive
            groups = duplicate_groups(self._exact().space, reach, alive)
            positions = np.flatnonzero(groups >= 0)
            positions = positions[np.argsort(groups[positions], kind="stable")]
            ids = self.ids_[positions]
        return pd.DataFrame(
            {"group": groups[positions], "position": positions, "id": ids}
        )

    # Embedding

    def _check_parameters(self) -> None:
        resolve_device(self.device)
        approximate = self._is_approximate()
        if self.backend == "faiss":
            load_faiss()
        if approximate and not faiss_available():
            raise ImportError(
                "target_recall and index_spec need FAISS: pip install "
                "'latentsk[cpu]', or 'latentsk[gpu]' for NVIDIA GPUs."
            )
        if approximate and self.backend == "torch":
            raise ValueError("An approximate index needs FAISS, but backend='torch'.")
        if self.index_spec not in (None, FLAT):
            IndexSpec.parse(self.index_spec)
        if self.memory_budget is not None:
            parse_bytes(self.memory_budget)
        if self.rerank == "original":
            if self.embedder is None:
                raise ValueError("rerank='original' needs an embedder.")
            if not approximate:
                raise ValueError(
                    "rerank='original' needs a target_recall (how many of the nearest "
                    "original rows the latent vectors are to find) or an index_spec "
                    "with lists."
                )

    def _fit_vectors(self, X: Any, y: Any) -> NDArray[Any]:
        if self.embedder is None:
            self.__dict__.pop("embedder_", None)
            return self._checked(X, reset=True)
        self.embedder_ = fitted_embedder(self.embedder, X, y)
        if self.rerank == "original":
            embed(self.embedder_, X[:1] if hasattr(X, "shape") else X)
            return self._checked(X, reset=True)
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(self.embedder_, name):
                setattr(self, name, getattr(self.embedder_, name))
        return embed(self.embedder_, X)

    def _checked(self, X: Any, *, reset: bool = False) -> NDArray[Any]:
        return validated(
            self, on_host(X), reset=reset, dtype=[np.float64, np.float32], order="C"
        )

    def _vectors_of(self, X: Any) -> NDArray[Any]:
        """Return the vectors of new rows: queries, or rows to add."""
        check_is_fitted(self)
        if not hasattr(self, "embedder_") or self.rerank == "original":
            return self._checked(X)
        vectors, width = embed(self.embedder_, X), self._vectors.shape[1]
        if vectors.shape[1] != width:
            raise ValueError(
                f"The embedder returned {vectors.shape[1]} columns for X, but the "
                f"index holds vectors of {width} features."
            )
        return vectors

    def _queries(self, X: Any) -> Any:
        """Return queries as vectors: None for the rows of the index, or a tensor."""
        check_is_fitted(self)
        if X is None or self._stays_on_device(X):
            return X
        return self._vectors_of(X)

    def _stays_on_device(self, X: Any) -> bool:
        """Whether queries are tensors on the GPU, valid ones, and searched there."""
        if not torch.is_tensor(X) or X.device.type == "cpu":
            return False
        with self._reading():
            return (
                self.exactness == "float32"
                and not hasattr(self, "embedder_")
                and isinstance(self._searcher(), ExactSearch)
                and self._exact().takes_tensors()
                and X.dtype in (torch.float32, torch.float64)
                and X.shape[1:] == (self._vectors.shape[1],)
                and bool(torch.isfinite(X).all())
            )

    def _with_own(self, queries: Any) -> tuple[Any, NDArray[np.intp] | None]:
        """Return queries, and which row of the index each of them is."""
        if queries is not None:
            return queries, None
        rows = self._row_store()
        if rows.alive.all():
            return self.vectors_, rows.living
        return self._vectors[rows.living], rows.living

    # Locks

    def _reading(self) -> AbstractContextManager[None]:
        return lock_of(self).reading()

    def _writing(self) -> AbstractContextManager[None]:
        return lock_of(self).writing()

    # Searching

    def _neighbors(
        self, queries: Any, n_neighbors: Any, filter: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        if self.exactness not in EXACTNESS or self.backend not in BACKENDS:
            self._validate_params()  # they may have been set since the fit
        queries, own = self._with_own(queries)
        among = eligible_positions(self._row_store(), filter)
        k = self._checked_neighbors(n_neighbors, own, among)
        with thread_limit(self.n_jobs):
            return self._searcher().neighbors(
                queries,
                k,
                own,
                among,
                certified=self.exactness == "certified",
                backend=self.backend,
            )

    def _checked_neighbors(self, n_neighbors: Any, own: Any, among: Any) -> int:
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        if not isinstance(k, Integral) or isinstance(k, bool):
            raise TypeError(
                f"n_neighbors does not take {type(k)} value, enter integer value"
            )
        if int(k) < 1:
            raise ValueError(f"Expected n_neighbors > 0. Got {k}")
        n_eligible = self.n_samples_fit_ if among is None else len(among)
        if int(k) > n_eligible - (own is not None):
            # Without queries, each row is left out of its own neighbours.
            relation = "<=" if own is None else "<"
            name = "n_samples_fit" if among is None else "the number of eligible rows"
            raise ValueError(
                f"Expected n_neighbors {relation} {name}, but n_neighbors = {k},"
                f" {name} = {n_eligible}"
            )
        return int(k)

    def _require_distance(self, method: str) -> None:
        check_is_fitted(self)
        if self.effective_metric_ == "inner_product":
            raise ValueError(
                f"{method} needs a distance, and an inner product is a similarity. Use "
                "search, or another metric."
            )

    def __getstate__(self) -> dict[str, Any]:
        with self._reading():
            if hasattr(self, "_store"):
                self._store.share()  # the state refers to these very vectors
            return super().__getstate__()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_vectors")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if isinstance(self.embedder, BaseEstimator):
            tags.input_tags = get_tags(self.embedder).input_tags
        return tags


def _checked_distance(value: Any, name: str) -> float:
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    if not float(value) >= 0:
        raise ValueError(f"{name} must not be negative, got {value}.")
    return float(value)


def _check_mode(mode: str) -> None:
    if mode not in ("connectivity", "distance"):
        raise ValueError(f"mode must be 'connectivity' or 'distance', got {mode!r}.")


def _as_objects(arrays: list[NDArray[Any]]) -> NDArray[np.object_]:
    result = np.empty(len(arrays), dtype=object)
    for i, array in enumerate(arrays):
        result[i] = array
    return result
