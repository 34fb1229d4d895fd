"""Similar rows, by nearest neighbours in a latent space."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import _align_api_if_sparse, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    _num_samples,
    check_array,
    check_is_fitted,
    validate_data,
)

from latentsk._device import on_host
from latentsk._state import StateMixin
from latentsk.index._faiss import load_faiss
from latentsk.index.exact import ExactSearch
from latentsk.index.rows import RowStore


class LatentIndex(StateMixin, BaseEstimator):
    """Find the rows most like a given one, in the latent space of an embedder.

    Speaks the language of :class:`sklearn.neighbors.NearestNeighbors` (positions and
    distances) and answers with ids in a DataFrame where that is more convenient. The
    search is exact.

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
    sizes. Without an embedder, `vectors_` is the array that was given where its dtype
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
        "exactness": [StrOptions({"certified", "float32"})],
        "backend": [StrOptions({"auto", "faiss", "torch"})],
    }

    _private_state = ("_alive",)
    _derived_state = ("_search",)

    def __init__(
        self,
        embedder: Any = None,
        *,
        n_neighbors: int = 5,
        metric: str = "euclidean",
        radius: float = 1.0,
        exactness: str = "certified",
        backend: str = "auto",
    ) -> None:
        self.embedder = embedder
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.radius = radius
        self.exactness = exactness
        self.backend = backend

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: Any = None, *, ids: ArrayLike | None = None) -> Self:
        """Embed rows and make them searchable.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; what the embedder takes, or vectors where there is none.

        y : array-like or None
            Handed to the embedder's `fit`, else ignored.

        ids : array-like of shape (n_samples,) or None, default=None
            Unique ids of the rows. None: the index of a DataFrame, else row numbers.

        Returns
        -------
        self : LatentIndex
            The fitted index.

        Raises
        ------
        ValueError
            If `X` is not valid, or `ids` are not unique or not as many as rows.

        TypeError
            If `embedder` is a class, or `X` is sparse and there is no embedder.

        NotFittedError
            If `embedder` is a FrozenEstimator that is not fitted.

        ImportError
            If ``backend="faiss"`` and FAISS is not installed.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> LatentIndex().fit([[0, 0], [3, 4]], ids=["a", "b"]).ids_.tolist()
        ['a', 'b']
        """
        if self.backend == "faiss":
            load_faiss()
        with self._all_or_nothing():
            names = _row_ids(X) if ids is None else ids
            vectors = self._fit_vectors(X, y)
            rows = RowStore.of(np.arange(len(vectors)) if names is None else names)
            if len(rows.ids) != len(vectors):
                raise ValueError(
                    f"Got {len(rows.ids)} ids for {len(vectors)} rows of X."
                )
            self.vectors_ = vectors
            self.ids_, self._alive = rows.ids, rows.alive
            self.n_samples_fit_ = len(vectors)
            self.effective_metric_ = self.metric
            self._search = self._build_search()
        return self

    def kneighbors(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> Any:
        """Return the nearest rows of each query.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            Queries. None: the rows of the index themselves, each of which is then left
            out of its own neighbours.

        n_neighbors : int or None, default=None
            Number of neighbours; None takes that of the estimator.

        return_distance : bool, default=True
            Whether to return the distances.

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
            If `X` is not valid, there are fewer rows than neighbours, or the metric is
            "inner_product".

        TypeError
            If `n_neighbors` is not an integer.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4], [0, 1]])
        >>> index.kneighbors([[0, 0]], n_neighbors=2)
        (array([[0., 1.]]), array([[0, 2]]))
        """
        self._require_distance("kneighbors")
        queries, own = self._queries(X, "kneighbors")
        k = self._checked_neighbors(n_neighbors, own)
        distances, positions = self._neighbors(queries, k, own)
        return (distances, positions) if return_distance else positions

    def kneighbors_graph(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        mode: str = "connectivity",
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
        distances, positions = self.kneighbors(X, n_neighbors)
        n_queries, k = positions.shape
        data = distances if mode == "distance" else np.ones_like(distances)
        starts = np.arange(0, n_queries * k + 1, k)
        graph = csr_array(
            (data.ravel(), positions.ravel(), starts),
            shape=(n_queries, self.n_samples_fit_),
        )
        return _align_api_if_sparse(graph)

    def radius_neighbors(
        self,
        X: ArrayLike | None = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
    ) -> Any:
        """Return the rows within a radius of each query.

        Exact in every setting of `exactness`.

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
        radius = self.radius if radius is None else radius
        if not isinstance(radius, Real):
            raise TypeError(f"radius must be a number, got {radius!r}.")
        if not float(radius) >= 0:
            raise ValueError(f"radius must not be negative, got {radius}.")
        queries, own = self._queries(X, "radius_neighbors")
        distances, positions = self._searcher().within(queries, float(radius), own)
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
        distances, positions = self.radius_neighbors(
            X, radius, sort_results=sort_results
        )
        counts = [len(p) for p in positions]
        starts = np.concatenate([[0], np.cumsum(counts)])
        columns = np.concatenate([np.empty(0, dtype=np.intp), *positions])
        data = np.concatenate([np.empty(0), *distances])
        graph = csr_array(
            (data if mode == "distance" else np.ones_like(data), columns, starts),
            shape=(len(counts), self.n_samples_fit_),
        )
        return _align_api_if_sparse(graph)

    def search(
        self, X: ArrayLike | None = None, n_neighbors: int | None = None
    ) -> pd.DataFrame:
        """Return the nearest rows of each query as a tidy table of ids.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            As in `kneighbors`.

        n_neighbors : int or None, default=None
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
        queries, own = self._queries(X, "search")
        k = self._checked_neighbors(n_neighbors, own)
        names = self.ids_ if X is None else _row_ids(X)
        values, positions = self._neighbors(queries, k, own)
        names = np.arange(len(queries)) if names is None else np.asarray(names)
        similarity = self.effective_metric_ == "inner_product"
        return pd.DataFrame(
            {
                "query": np.repeat(names, k),
                "rank": np.tile(np.arange(1, k + 1), len(queries)),
                "id": self.ids_[positions.ravel()],
                "similarity" if similarity else "distance": values.ravel(),
            }
        )

    # Embedding

    def _fit_vectors(self, X: Any, y: Any) -> NDArray[Any]:
        if self.embedder is None:
            self.__dict__.pop("embedder_", None)
            return validate_data(
                self, on_host(X), dtype=[np.float64, np.float32], order="C"
            )
        self.embedder_ = self._fitted_embedder(X, y)
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(self.embedder_, name):
                setattr(self, name, getattr(self.embedder_, name))
        return self._embed(X)

    def _fitted_embedder(self, X: Any, y: Any) -> Any:
        if is_fitted_embedder(self.embedder):
            return self.embedder
        embedder = clone(self.embedder)
        return embedder.fit(X) if y is None else embedder.fit(X, y)

    def _embed(self, X: Any) -> NDArray[Any]:
        vectors = check_array(
            on_host(self.embedder_.transform(X)),
            dtype=[np.float64, np.float32],
            order="C",
            input_name="the embedder's output",
        )
        if len(vectors) != _num_samples(X):
            raise ValueError(
                f"The embedder returned {len(vectors)} vectors for {_num_samples(X)} "
                "rows of X."
            )
        return vectors

    def _queries(
        self, X: Any, method: str
    ) -> tuple[NDArray[Any], NDArray[np.intp] | None]:
        check_is_fitted(self)
        if X is None:
            return self.vectors_, np.arange(self.n_samples_fit_)
        if hasattr(self, "embedder_"):
            queries, width = self._embed(X), self.vectors_.shape[1]
            if queries.shape[1] != width:
                raise ValueError(
                    f"The embedder returned {queries.shape[1]} columns for X, but the "
                    f"index holds vectors of {width} features."
                )
            return queries, None
        X = validate_data(
            self, on_host(X), reset=False, dtype=[np.float64, np.float32], order="C"
        )
        return X, None

    # Searching

    def _build_search(self) -> ExactSearch:
        return ExactSearch(self.vectors_, self.effective_metric_)

    def _searcher(self) -> ExactSearch:
        # Not part of the state: a copy or an unpickled index builds it when needed.
        if not hasattr(self, "_search"):
            self._search = self._build_search()
        return self._search

    def _neighbors(self, queries: Any, k: int, own: Any) -> Any:
        self._validate_params()  # they may have been set since the fit
        certified = self.exactness == "certified"
        return self._searcher().neighbors(
            queries, k, own, certified=certified, backend=self.backend
        )

    def _checked_neighbors(self, n_neighbors: Any, own: Any) -> int:
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        if not isinstance(k, Integral) or isinstance(k, bool):
            raise TypeError(
                f"n_neighbors does not take {type(k)} value, enter integer value"
            )
        if int(k) < 1:
            raise ValueError(f"Expected n_neighbors > 0. Got {k}")
        available = self.n_samples_fit_ - (own is not None)
        if int(k) > available:
            # Without queries, each row is left out of its own neighbours.
            relation = "<=" if own is None else "<"
            raise ValueError(
                f"Expected n_neighbors {relation} n_samples_fit, but n_neighbors = {k},"
                f" n_samples_fit = {self.n_samples_fit_}"
            )
        return int(k)

    def _require_distance(self, method: str) -> None:
        check_is_fitted(self)
        if self.effective_metric_ == "inner_product":
            raise ValueError(
                f"{method} needs a distance, and an inner product is a similarity. Use "
                "search, or another metric."
            )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "vectors_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if isinstance(self.embedder, BaseEstimator):
            tags.input_tags = get_tags(self.embedder).input_tags
        return tags


def is_fitted_embedder(embedder: Any) -> bool:
    """Tell whether an embedder is to be used as it is, and not to be cloned and fitted.

    Raises
    ------
    TypeError
        If it is a class.

    NotFittedError
        If it is a FrozenEstimator that is not fitted.
    """
    if isinstance(embedder, type):
        raise TypeError(
            f"embedder must be an instance, got the class {embedder.__name__}."
        )
    fitted = _is_fitted(embedder)
    if isinstance(embedder, FrozenEstimator) and not fitted:
        raise NotFittedError("embedder is a FrozenEstimator that is not fitted.")
    return fitted


def _is_fitted(embedder: Any) -> bool:
    """Tell whether an embedder, and every step of a Pipeline, is fitted."""
    if isinstance(embedder, Pipeline):
        steps = (step for _, step in embedder.steps)
        return all(step in (None, "passthrough") or _is_fitted(step) for step in steps)
    if not isinstance(embedder, BaseEstimator):
        # Not of scikit-learn: by its convention, fitted attributes end with "_".
        names = getattr(embedder, "__dict__", {})
        return any(n.endswith("_") and not n.startswith("_") for n in names)
    try:
        check_is_fitted(embedder)
    except NotFittedError:
        return False
    return True


def _row_ids(X: Any) -> Any:
    """Return the row labels that data bring along, or None."""
    return X.index if isinstance(X, pd.DataFrame) else None


def _check_mode(mode: str) -> None:
    if mode not in ("connectivity", "distance"):
        raise ValueError(f"mode must be 'connectivity' or 'distance', got {mode!r}.")


def _as_objects(arrays: list[NDArray[Any]]) -> NDArray[np.object_]:
    result = np.empty(len(arrays), dtype=object)
    for i, array in enumerate(arrays):
        result[i] = array
    return result
