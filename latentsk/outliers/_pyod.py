"""PyOD's conventions for the detectors here; PyOD itself is not needed."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf
from sklearn.base import BaseEstimator, clone
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from latentsk._device import array_to_numpy
from latentsk._random import RandomState
from latentsk._state import StateMixin
from latentsk._threads import fork_safe
from latentsk._threshold import contamination_quantile
from latentsk._typing import Float64
from latentsk._validation import fit_context, reject_masked
from latentsk.outliers._detector import LatentOutlierDetector
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import floats, instance, integers, number
from latentsk.preprocessing._columns import is_rounding

Labels = NDArray[np.int_]


@storable(
    {
        "detector_": instance(object, "score_samples"),
        "decision_scores_": floats("rows", finite=False),
        "threshold_": number(finite=False),
        "labels_": integers("rows", below=2),
    }
)
class PyODAdapter(StateMixin, BaseEstimator):
    """Give a detector of this package the names and signs of PyOD.

    For code that was written for PyOD: scores are higher for outliers, labels are 0 and
    1. PyOD need not be installed.

    Parameters
    ----------
    detector : estimator or None, default=None
        Anything with `fit` and a `score_samples` that is higher for more normal rows:
        :class:`LatentOutlierDetector`, an embedder, a Pipeline that ends in one. It is
        cloned, and the clone is fitted; a fitted one in a
        :class:`~sklearn.frozen.FrozenEstimator` is used as it is. Its own
        `contamination` plays no role here. None: ``LatentOutlierDetector()``.

    contamination : float in (0, 0.5], default=0.1
        Share of the training rows whose scores lie above the threshold.

    random_state : int, RandomState, Generator or None, default=None
        The `random_state` of the default detector; one that is given keeps its own.

    Attributes
    ----------
    detector_ : estimator
        The fitted detector, with its own names and signs.

    decision_scores_ : ndarray of shape (n_samples,)
        Scores of the training rows, in their order; higher = more of an outlier.

    threshold_ : float
        ``np.percentile(decision_scores_, 100 * (1 - contamination))``. Where training
        rows are tied there, and to label them all is nearer to `contamination`: halfway
        to the next lower score.

    labels_ : ndarray of shape (n_samples,)
        1 for training rows whose score is above `threshold_` (outliers), else 0.

    n_features_in_ : int
        Number of features.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where they are all strings.

    See Also
    --------
    LatentOutlierDetector : The detector, with scikit-learn's conventions.

    Notes
    -----
    Other than in PyOD, where some detectors leave a training row out of its own
    neighbours in the fit alone, ``predict(X)`` of the training rows equals `labels_`.

    References
    ----------
    Y. Zhao, Z. Nasrullah and Z. Li (2019). PyOD: a Python toolbox for scalable outlier
    detection. Journal of Machine Learning Research, 20(96), 1-7.

    Examples
    --------
    >>> from latentsk import PCAEmbedder, PyODAdapter
    >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
    >>> PyODAdapter(PCAEmbedder(1), contamination=0.2).fit(X).predict([[30, -90]])
    array([1])
    """

    _parameter_constraints: dict[str, Any] = {
        "detector": [HasMethods(["fit", "score_samples"]), None],
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "random_state": ["random_state", np.random.Generator],
    }

    _private_state = ()

    def __init__(
        self,
        detector: Any = None,
        *,
        contamination: float = 0.1,
        random_state: RandomState = None,
    ) -> None:
        self.detector = detector
        self.contamination = contamination
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    @fork_safe
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit a clone of the detector, and place the threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.

        y : None
            Ignored.

        Returns
        -------
        self : PyODAdapter
            The fitted adapter.

        Raises
        ------
        ValueError
            If `X` is not valid. The adapter is then left as it was.

        TypeError
            If `detector` is a class.

        Warns
        -----
        UserWarning
            If, for ties, no row is labelled 1, or the number of these differs from
            ``contamination * n_samples`` by more than one row and more than a
            thousandth.

        Examples
        --------
        >>> from latentsk import PCAEmbedder, PyODAdapter
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PyODAdapter(PCAEmbedder(1), contamination=0.2).fit(X).labels_
        array([0, 0, 0, 0, 1])
        """
        given = self.detector
        if given is None:
            given = LatentOutlierDetector(random_state=self.random_state)
        detector = clone(given).fit(reject_masked(X), None)
        scores = _outlier_scores(detector, X)
        threshold = _threshold(scores, self.contamination)
        self.detector_ = detector
        self.decision_scores_ = scores
        self.threshold_ = threshold
        self.labels_ = self._labels(scores)
        return self

    @fork_safe
    def decision_function(self, X: ArrayLike) -> Float64:
        """Score how much of an outlier each row is.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the `score_samples` of the detector: higher = more of an outlier. The
            threshold is not taken off.

        Raises
        ------
        NotFittedError
            If the adapter is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from latentsk import PCAEmbedder, PyODAdapter
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> adapter = PyODAdapter(PCAEmbedder(1)).fit(X)
        >>> adapter.decision_function([[6, 6], [30, -90]]).round(1)
        array([  4.8, 618.1])
        """
        check_is_fitted(self)
        return _outlier_scores(self.detector_, X)

    def predict(self, X: ArrayLike) -> Labels:
        """Tell inliers from outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to judge.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            1 where ``decision_function(X) > threshold_`` (an outlier), else 0.

        Raises
        ------
        NotFittedError
            If the adapter is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from latentsk import PCAEmbedder, PyODAdapter
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PyODAdapter(PCAEmbedder(1)).fit(X).predict([[3, 3], [30, -90]])
        array([0, 1])
        """
        return self._labels(self.decision_function(X))

    def fit_predict(self, X: ArrayLike, y: Any = None) -> Labels:
        """Fit, and return `labels_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.

        y : None
            Ignored.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            1 for outliers, else 0.

        Raises
        ------
        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from latentsk import PCAEmbedder, PyODAdapter
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PyODAdapter(PCAEmbedder(1), contamination=0.2).fit_predict(X)
        array([0, 0, 0, 0, 1])
        """
        return self.fit(X).labels_

    def predict_proba(self, X: ArrayLike, method: str = "linear") -> Float64:
        """Return scores as numbers in [0, 1], by PyOD's two formulas.

        They order rows as the score does, up to ties at 0 and 1. Neither is the
        probability that a row is an outlier, which nothing says without labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        method : {"linear", "unify"}, default="linear"
            "linear": 0 at the lowest score of the training rows and 1 at the highest.
            "unify": ``max(0, erf(t / sqrt(2)))``, t standard deviations above their
            mean (Kriegel et al., 2011).

        Returns
        -------
        probability : ndarray of shape (n_samples, 2)
            Column 1 is high for outliers; column 0 is one minus that.

        Raises
        ------
        NotFittedError
            If the adapter is not fitted.

        ValueError
            If `X` or `method` is not valid.

        References
        ----------
        H.-P. Kriegel, P. Kroeger, E. Schubert and A. Zimek (2011). Interpreting and
        unifying outlier scores. SIAM International Conference on Data Mining, 13-24.

        Examples
        --------
        >>> from latentsk import PCAEmbedder, PyODAdapter
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> adapter = PyODAdapter(PCAEmbedder(1)).fit(X)
        >>> adapter.predict_proba([[6, 6], [30, -90]]).round(2)
        array([[0.46, 0.54],
               [0.  , 1.  ]])
        """
        check_is_fitted(self)
        if method not in ("linear", "unify"):
            raise ValueError(f"method must be 'linear' or 'unify', got {method!r}.")
        rescaled = _linear if method == "linear" else _unified
        outlier = rescaled(self.decision_function(X), self.decision_scores_)
        return np.column_stack([1.0 - outlier, outlier])

    @property
    def n_features_in_(self) -> int:
        """Number of features."""
        check_is_fitted(self)
        return self.detector_.n_features_in_

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """Names of the features, where they are all strings."""
        check_is_fitted(self)
        return self.detector_.feature_names_in_

    def _labels(self, scores: Float64) -> Labels:
        return (scores > self.threshold_).astype(int)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if isinstance(self.detector, BaseEstimator):
            tags.input_tags = get_tags(self.detector).input_tags
        return tags


def _outlier_scores(detector: Any, X: Any) -> Float64:
    return -array_to_numpy(detector.score_samples(reject_masked(X)))


def _threshold(scores: Float64, contamination: float) -> float:
    """Return PyOD's threshold, unless another one is nearer to the share."""
    # Of 1 - contamination, not of contamination: rounded as PyOD rounds it.
    percentile = float(np.percentile(scores, 100 * (1 - contamination)))
    threshold = -contamination_quantile(-scores, contamination, -percentile)
    is_same = np.array_equal(scores > threshold, scores > percentile)
    return percentile if is_same else threshold


def _linear(scores: Float64, training_scores: Float64) -> Float64:
    scaler = MinMaxScaler(clip=True).fit(training_scores[:, None])
    return scaler.transform(scores[:, None])[:, 0]


def _unified(scores: Float64, training_scores: Float64) -> Float64:
    # PyOD divides by zero where all training rows score alike.
    spread = float(np.std(training_scores))
    spread = 1.0 if is_rounding(spread, training_scores) else spread
    deviations = (scores - np.mean(training_scores)) / (spread * np.sqrt(2.0))
    return np.maximum(0.0, erf(deviations))
