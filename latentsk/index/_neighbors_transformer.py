"""Rows to a sparse graph of their neighbours in a latent space."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import get_tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted

from latentsk._state import StateMixin
from latentsk._validation import fit_context
from latentsk.index._latent_index import LatentIndex
from latentsk.index._results import graph_of
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import instance

# Handed to the index; None stands for the default there.
_OF_THE_INDEX = (
    "n_neighbors",
    "metric",
    "target_recall",
    "exactness",
    "backend",
    "n_jobs",
)


@storable({"index_": instance(LatentIndex, "ids_")})
class LatentNeighborsTransformer(
    StateMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Turn rows into a sparse graph of their neighbours in the space of an embedder.

    Stands wherever :class:`sklearn.neighbors.KNeighborsTransformer` does: before any
    estimator that takes ``metric="precomputed"`` (DBSCAN, LocalOutlierFactor, Isomap,
    TSNE, KNeighborsClassifier), and before SpectralClustering with
    ``affinity="precomputed_nearest_neighbors"``. UMAP takes its neighbours (see Notes).

    Parameters
    ----------
    embedder : transformer or None, default=None
        Maps rows to the vectors that are compared: any object with `fit` and
        `transform`, a whole Pipeline included. A fitted one is used as it is; an
        unfitted one is cloned and fitted. None: the rows are vectors already.

    mode : {"distance", "connectivity"}, default="distance"
        What the entries of the graph are: distances, or ones.

    n_neighbors : int, default=5
        Neighbours of each row. With ``mode="distance"`` there is one more, because a
        row counts as a neighbour of itself; with "connectivity" it is among them.

    metric : {"euclidean", "cosine"}, default="euclidean"
        The distance. "cosine" is ``1 - cos(x, y)``, in [0, 2].

    target_recall : float in (0, 1) or None, default=None
        As in :class:`LatentIndex`; None takes the default there.

    exactness : {"certified", "float32"}, default="certified"
        As in :class:`LatentIndex`.

    backend : {"auto", "faiss", "torch"}, default="auto"
        As in :class:`LatentIndex`.

    n_jobs : int or None, default=None
        As in :class:`LatentIndex`; None takes the default there.

    Attributes
    ----------
    index_ : LatentIndex
        The fitted index. Its `embedder_` is the fitted embedder, and its `kneighbors`
        returns neighbours as arrays.

    n_samples_fit_ : int
        Number of rows of the fit, which are the columns of the graph.

    n_features_in_ : int
        Number of features, where the embedder knows it.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where they are all strings.

    See Also
    --------
    LatentIndex : The same neighbours as arrays, or as a table of ids.
    sklearn.neighbors.KNeighborsTransformer : The same contract, without an embedder.

    Notes
    -----
    What is not in the graph does not exist for the estimator behind it. Ask for as many
    neighbours as it uses: ``3 * perplexity + 1`` for TSNE; for DBSCAN, as many as are
    within `eps` of any row.

    Each row of the graph has equally many entries, ascending. So
    ``graph.indices.reshape(len(X), -1)`` and ``graph.data.reshape(len(X), -1)`` are
    the pair of arrays that UMAP takes as `precomputed_knn`; its own `n_neighbors`
    counts the row itself, and so is one more. As a graph, UMAP takes symmetric ones
    only, which those of neighbours are not.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from latentsk import LatentNeighborsTransformer, PCAEmbedder
    >>> X, y = load_digits(return_X_y=True)
    >>> model = make_pipeline(
    ...     LatentNeighborsTransformer(PCAEmbedder(16), n_neighbors=5),
    ...     KNeighborsClassifier(n_neighbors=5, metric="precomputed"),
    ... )
    >>> model.fit(X[:1500], y[:1500]).predict(X[1500:1510])
    array([1, 7, 4, 6, 3, 1, 3, 9, 1, 7])
    >>> y[1500:1510]
    array([1, 7, 4, 6, 3, 1, 3, 9, 1, 7])
    """

    _parameter_constraints: dict[str, Any] = {
        **{
            name: LatentIndex._parameter_constraints[name]
            for name in ("embedder", "n_neighbors", "exactness", "backend")
        },
        "mode": [StrOptions({"distance", "connectivity"})],
        "metric": [StrOptions({"euclidean", "cosine"})],
        "target_recall": [Interval(Real, 0, 1, closed="neither"), None],
        "n_jobs": [Integral, None],
    }

    _private_state = ()

    def __init__(
        self,
        embedder: Any = None,
        *,
        mode: str = "distance",
        n_neighbors: int = 5,
        metric: str = "euclidean",
        target_recall: float | None = None,
        exactness: str = "certified",
        backend: str = "auto",
        n_jobs: int | None = None,
    ) -> None:
        self.embedder = embedder
        self.mode = mode
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.target_recall = target_recall
        self.exactness = exactness
        self.backend = backend
        self.n_jobs = n_jobs

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Embed rows and make them searchable.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; what the embedder takes, or vectors where there is none.

        y : array-like or None
            Handed to the embedder's `fit`, else ignored.

        Returns
        -------
        self : LatentNeighborsTransformer
            The fitted transformer.

        Raises
        ------
        ValueError
            If a parameter or `X` is not valid, or there are fewer rows than a row of
            the graph has entries. The transformer is then left as it was.

        TypeError
            If `embedder` is a class, or `X` is sparse and there is no embedder.

        NotFittedError
            If `embedder` is a FrozenEstimator that is not fitted.

        ImportError
            If ``backend="faiss"`` or a `target_recall` is asked for, and FAISS is not
            installed.

        Examples
        --------
        >>> from latentsk import LatentNeighborsTransformer
        >>> transformer = LatentNeighborsTransformer(n_neighbors=1)
        >>> transformer.fit([[0, 0], [3, 4], [0, 1]]).n_samples_fit_
        3
        """
        self._require_rows(_num_samples(X))
        settings = {name: getattr(self, name) for name in _OF_THE_INDEX}
        given = {name: value for name, value in settings.items() if value is not None}
        self.index_ = LatentIndex(self.embedder, **given).fit(X, y)
        return self

    def fit_transform(self, X: ArrayLike, y: Any = None) -> csr_matrix | csr_array:
        """Fit to rows, and return the graph of their neighbours among each other.

        The same as ``fit(X, y).transform(X)``, but for rows that have duplicates, and
        for an approximate search, which may miss a row: here, a row always comes first
        in its own neighbours.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; what the embedder takes, or vectors where there is none.

        y : array-like or None
            Handed to the embedder's `fit`, else ignored.

        Returns
        -------
        graph : CSR matrix or array of shape (n_samples, n_samples), float64
            Which of the two, scikit-learn's configuration `sparse_interface` says. With
            ``mode="distance"``, ``n_neighbors + 1`` entries a row, ascending: first the
            diagonal, an explicit 0. With "connectivity", `n_neighbors` ones, in the
            same order.

        Raises
        ------
        ValueError
            As in `fit`.

        TypeError
            As in `fit`.

        NotFittedError
            As in `fit`.

        ImportError
            As in `fit`.

        Examples
        --------
        >>> from latentsk import LatentNeighborsTransformer
        >>> transformer = LatentNeighborsTransformer(n_neighbors=1)
        >>> graph = transformer.fit_transform([[0, 0], [3, 4], [0, 1]])
        >>> graph.toarray().round(2)
        array([[0.  , 0.  , 1.  ],
               [0.  , 0.  , 4.24],
               [1.  , 0.  , 0.  ]])
        >>> graph.nnz
        6
        """
        with self._rollback_on_error():
            self.fit(X, y)
            distances, positions = self._own_neighbors(self._n_entries() - 1)
        n_rows, k = positions.shape
        starts = np.arange(n_rows + 1) * k
        columns = positions.ravel()
        return graph_of(distances.ravel(), columns, starts, n_rows, self.mode)

    def transform(self, X: ArrayLike) -> csr_matrix | csr_array:
        """Return the graph of the neighbours of rows among those of the fit.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Rows to find the neighbours of.

        Returns
        -------
        graph : CSR matrix or array of shape (n_queries, n_samples_fit_), float64
            Which of the two, scikit-learn's configuration `sparse_interface` says. With
            ``mode="distance"``, ``n_neighbors + 1`` entries a row, ascending, explicit
            zeros included. With "connectivity", `n_neighbors` ones, in the same order.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.

        ValueError
            If `X` or a parameter is not valid.

        Examples
        --------
        >>> from latentsk import LatentNeighborsTransformer
        >>> transformer = LatentNeighborsTransformer(n_neighbors=1)
        >>> transformer.fit([[0, 0], [3, 4], [0, 1]]).transform([[0, 3]]).toarray()
        array([[3., 0., 2.]])
        """
        check_is_fitted(self)
        self._validate_params()  # they may have been set since the fit
        return self.index_.kneighbors_graph(X, self._n_entries(), self.mode)

    @property
    def n_samples_fit_(self) -> int:
        """Number of rows of the fit."""
        return self.index_.n_samples_fit_

    @property
    def n_features_in_(self) -> int:
        """Number of features."""
        return self.index_.n_features_in_

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """Names of the features."""
        return self.index_.feature_names_in_

    @property
    def _n_features_out(self) -> int:
        return self.n_samples_fit_

    def _n_entries(self) -> int:
        """Return how many entries a row of the graph has."""
        return int(self.n_neighbors) + (self.mode == "distance")

    def _require_rows(self, n_rows: int) -> None:
        needed = self._n_entries()
        if n_rows < needed:
            raise ValueError(
                f"n_neighbors={self.n_neighbors} with mode={self.mode!r} needs at "
                f"least {needed} rows, got n_samples = {n_rows}."
            )

    def _own_neighbors(self, n_others: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return distances and positions for the fitted rows, each led by itself."""
        own = np.arange(self.n_samples_fit_)[:, None]
        zeros = np.zeros(own.shape)
        if n_others == 0:
            return zeros, own
        distances, positions = self.index_.kneighbors(n_neighbors=n_others)
        return np.hstack([zeros, distances]), np.hstack([own, positions])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if isinstance(self.embedder, BaseEstimator):
            tags.input_tags = get_tags(self.embedder).input_tags
        return tags
