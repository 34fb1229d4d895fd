"""PyOD's conventions for the detectors here; PyOD itself is not needed."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import precision_score, roc_auc_score
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from latentsk._device import array_to_numpy
from latentsk._random import RandomState
from latentsk._state import StateMixin
from latentsk._threads import fork_safe
from latentsk._typing import Float64
from latentsk._validation import fit_context, reject_masked
from latentsk.outliers._detector import LatentOutlierDetector
from latentsk.outliers._pyod_confidence import (
    Costs,
    RejectionStats,
    is_rejected,
    outlier_chance,
    rejection_stats,
)
from latentsk.outliers._pyod_probability import linear_probability, unified_probability
from latentsk.outliers._pyod_threshold import (
    Labels,
    as_labels,
    share_threshold,
    thresholder_threshold,
)
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import floats, instance, integers, number

# The label of a row whose label is too unsure.
REJECTED = -2


@storable(
    {
        "detector_": instance(object, "score_samples"),
        "decision_scores_": floats("rows", finite=False),
        "threshold_": number(finite=False),
        "labels_": integers("rows", below=2),
    },
    optional={"thresholder_": instance(object, "predict")},
)
class PyODAdapter(StateMixin, BaseEstimator):
    """Give a detector of this package the names and signs of PyOD.

    For code that was written for PyOD: scores are higher for outliers, labels are 0 and
    1, and every public method of its detectors is there. PyOD need not be installed;
    its SUOD, LSCP, FeatureBagging and combinations of scores take the adapter.

    Parameters
    ----------
    detector : estimator or None, default=None
        Anything with `fit` and a `score_samples` that is higher for more normal rows:
        :class:`LatentOutlierDetector`, an embedder, a Pipeline that ends in one. It is
        cloned, and the clone is fitted; a fitted one in a
        :class:`~sklearn.frozen.FrozenEstimator` is used as it is. Its own
        `contamination` plays no role here. None: ``LatentOutlierDetector()``.

    contamination : float in (0, 0.5] or thresholder, default=0.1
        Share of the training rows whose scores lie above the threshold. Or an object
        that labels scores, as those of ``pyod.models.thresholds`` do: `fit` takes the
        training scores and sets `labels_` and `thresh_`, `predict` takes new ones. It
        is cloned, and the clone is fitted.

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
        to the next lower score. Of a thresholder: its `thresh_`, in its own unit, or
        the share of rows that it labels 1 if it has none.

    thresholder_ : object
        The fitted thresholder; only if `contamination` is one.

    labels_ : ndarray of shape (n_samples,)
        1 for training rows whose score is above `threshold_` (outliers), else 0; or as
        the thresholder says.

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
        "contamination": [
            Interval(Real, 0, 0.5, closed="right"),
            HasMethods(["fit", "predict"]),
        ],
        "random_state": ["random_state", np.random.Generator],
    }

    _private_state = ()

    def __init__(
        self,
        detector: Any = None,
        *,
        contamination: Any = 0.1,
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
        self._place_threshold(scores)
        self.detector_ = detector
        self.decision_scores_ = scores
        return self

    def _place_threshold(self, scores: Float64) -> None:
        if isinstance(self.contamination, Real):
            self.threshold_ = share_threshold(scores, float(self.contamination))
            self._drop("thresholder_")
            self.labels_ = self._labels(scores)
            return
        given = self.contamination
        thresholder = clone(given, safe=hasattr(given, "get_params"))
        thresholder.fit(scores)
        self.labels_ = as_labels(thresholder.labels_)
        self.threshold_ = thresholder_threshold(thresholder, self.labels_)
        self.thresholder_ = thresholder

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

    def predict(
        self, X: ArrayLike, return_confidence: bool = False
    ) -> Labels | tuple[Labels, Float64]:
        """Tell inliers from outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to judge.

        return_confidence : bool, default=False
            Whether to return what :meth:`predict_confidence` does, too.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            1 where ``decision_function(X) > threshold_`` (an outlier), else 0; or as
            the thresholder says.

        confidence : ndarray of shape (n_samples,)
            Only if `return_confidence`.

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
        scores = self.decision_function(X)
        labels = self._labels(scores)
        return (labels, self._confidence(scores)) if return_confidence else labels

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

    def predict_proba(
        self, X: ArrayLike, method: str = "linear", return_confidence: bool = False
    ) -> Float64 | tuple[Float64, Float64]:
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

        return_confidence : bool, default=False
            Whether to return what :meth:`predict_confidence` does, too.

        Returns
        -------
        probability : ndarray of shape (n_samples, 2)
            Column 1 is high for outliers; column 0 is one minus that.

        confidence : ndarray of shape (n_samples,)
            Only if `return_confidence`.

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
        rescaled = linear_probability if method == "linear" else unified_probability
        scores = self.decision_function(X)
        outlier = rescaled(scores, self.decision_scores_)
        probability = np.column_stack([1.0 - outlier, outlier])
        if return_confidence:
            return probability, self._confidence(scores)
        return probability

    def predict_confidence(self, X: ArrayLike) -> Float64:
        """Return how surely each row would get its label from other training rows.

        Training rows are thought of as drawn anew from the same distribution, with the
        same number of outliers among them. It says nothing of whether the label is
        right.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to judge.

        Returns
        -------
        confidence : ndarray of shape (n_samples,)
            Chance that the label is the one of :meth:`predict`, in [0, 1].

        Raises
        ------
        NotFittedError
            If the adapter is not fitted.

        ValueError
            If `X` is not valid.

        References
        ----------
        L. Perini, V. Vercruyssen and J. Davis (2020). Quantifying the confidence of
        anomaly detectors in their example-wise predictions. ECML PKDD, 227-243.

        Examples
        --------
        >>> from latentsk import PCAEmbedder, PyODAdapter
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> adapter = PyODAdapter(PCAEmbedder(1), contamination=0.2).fit(X)
        >>> adapter.predict_confidence([[3, 3], [30, -90]]).round(2)
        array([1.  , 0.46])
        """
        return self._confidence(self.decision_function(X))

    def predict_with_rejection(
        self,
        X: ArrayLike,
        T: float = 32,
        return_stats: bool = False,
        delta: float = 0.1,
        c_fp: float = 1,
        c_fn: float = 1,
        c_r: float = -1,
    ) -> Labels | tuple[Labels, list[float]]:
        """Tell inliers from outliers, and give no label to rows that are unsure.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to judge.

        T : float, default=32
            A row is rejected if ``abs(2 * c - 1) <= 1 - 2 * exp(-T)``, c its
            confidence: more are rejected with a higher T. From 39 on all are, as the
            bound is rounded to 1.

        return_stats : bool, default=False
            Whether to return what :meth:`compute_rejection_stats` does, too.

        delta, c_fp, c_fn, c_r : float
            As in :meth:`compute_rejection_stats`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            1 for outliers, 0 for inliers, -2 for rows that are rejected.

        stats : list of float
            Expected share of rejected rows, its bound, the bound of the cost. Only if
            `return_stats`.

        Raises
        ------
        NotFittedError
            If the adapter is not fitted.

        ValueError
            If `X` or a parameter is not valid.

        References
        ----------
        L. Perini and J. Davis (2023). Unsupervised anomaly detection with rejection.
        Advances in Neural Information Processing Systems 36.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import PCAEmbedder, PyODAdapter
        >>> X = np.random.default_rng(0).normal(size=(500, 3))
        >>> adapter = PyODAdapter(PCAEmbedder(1)).fit(X)
        >>> adapter.predict_with_rejection([[0, 0, 0], [0, 0, 2.2], [0, 0, 9]])
        array([ 0, -2,  1])
        """
        _check_rejection(T, delta, c_fp, c_fn, c_r)
        scores = self.decision_function(X)
        labels = self._labels(scores)
        labels[is_rejected(self._outlier_chance(scores), T)] = REJECTED
        if not return_stats:
            return labels
        return labels, [*self.compute_rejection_stats(T, delta, c_fp, c_fn, c_r)]

    def compute_rejection_stats(
        self,
        T: float = 32,
        delta: float = 0.1,
        c_fp: float = 1,
        c_fn: float = 1,
        c_r: float = -1,
        verbose: bool = False,
    ) -> tuple[float, float, float]:
        """Return what :meth:`predict_with_rejection` rejects and costs.

        Parameters
        ----------
        T : float, default=32
            As in :meth:`predict_with_rejection`.

        delta : float in (0, 1), default=0.1
            The bound of the share holds with the probability ``1 - delta``.

        c_fp, c_fn : float, default=1
            What an inlier that is labelled 1 costs, and an outlier that is labelled 0.

        c_r : float, default=-1
            What a rejection costs; if negative, `contamination`.

        verbose : bool, default=False
            Whether to print the three numbers.

        Returns
        -------
        expected_rate : float
            Share of rows that are rejected, where the ranks of rows among the training
            rows are uniform: where rows are as the training rows were.

        rate_bound : float
            Upper bound of that share. It may be above 1.

        cost_bound : float
            Upper bound of the expected cost of a row.

        Raises
        ------
        NotFittedError
            If the adapter is not fitted.

        ValueError
            If a parameter is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import PCAEmbedder, PyODAdapter
        >>> X = np.random.default_rng(0).normal(size=(500, 3))
        >>> adapter = PyODAdapter(PCAEmbedder(1)).fit(X)
        >>> [round(value, 3) for value in adapter.compute_rejection_stats()]
        [0.203, 0.378, 0.148]
        """
        check_is_fitted(self)
        _check_rejection(T, delta, c_fp, c_fn, c_r)
        share = self._contamination()
        costs = Costs(c_fp, c_fn, share if c_r < 0 else c_r)
        stats = rejection_stats(len(self.decision_scores_), share, T, delta, costs)
        if verbose:
            for name, value in zip(RejectionStats._fields, stats, strict=True):
                print(f"{name}: {value:.4f}")
        return stats

    def fit_predict_score(
        self, X: ArrayLike, y: ArrayLike, scoring: str = "roc_auc_score"
    ) -> float:
        """Fit, and compare the scores of the training rows with labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.

        y : array-like of shape (n_samples,)
            1 for outliers, else 0. The fit does not see them.

        scoring : {"roc_auc_score", "prc_n_score"}, default="roc_auc_score"
            "roc_auc_score": area under the ROC curve. "prc_n_score": precision among
            the n rows with the highest scores, n the number of outliers.

        Returns
        -------
        score : float

        Raises
        ------
        NotImplementedError
            If `scoring` is something else.

        ValueError
            If `X` or `y` is not valid.

        Examples
        --------
        >>> from latentsk import PCAEmbedder, PyODAdapter
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PyODAdapter(PCAEmbedder(1)).fit_predict_score(X, [0, 0, 0, 0, 1])
        1.0
        """
        if scoring not in ("roc_auc_score", "prc_n_score"):
            raise NotImplementedError(
                f"scoring must be 'roc_auc_score' or 'prc_n_score', got {scoring!r}."
            )
        scores = self.fit(X).decision_scores_
        if scoring == "roc_auc_score":
            return float(roc_auc_score(y, scores))
        bound = np.percentile(scores, 100 * (1 - np.count_nonzero(y) / len(scores)))
        return float(precision_score(y, scores > bound, zero_division=0))

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
        if hasattr(self, "thresholder_"):
            return as_labels(self.thresholder_.predict(scores))
        return (scores > self.threshold_).astype(int)

    def _contamination(self) -> float:
        """Return the share of outliers, which a thresholder has chosen itself."""
        if hasattr(self, "thresholder_"):
            return float(self.labels_.mean())
        return float(self.contamination)

    def _outlier_chance(self, scores: Float64) -> Float64:
        n_outliers = int(len(self.decision_scores_) * self._contamination())
        return outlier_chance(scores, self.decision_scores_, n_outliers)

    def _confidence(self, scores: Float64) -> Float64:
        chance = self._outlier_chance(scores)
        return np.where(self._labels(scores) == 1, chance, 1 - chance)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        detector = LatentOutlierDetector() if self.detector is None else self.detector
        if isinstance(detector, BaseEstimator):
            tags.input_tags = get_tags(detector).input_tags
        return tags


def _outlier_scores(detector: Any, X: Any) -> Float64:
    return -array_to_numpy(detector.score_samples(reject_masked(X)))


def _check_rejection(T: Any, delta: Any, c_fp: Any, c_fn: Any, c_r: Any) -> None:
    for name, value in {"T": T, "c_fp": c_fp, "c_fn": c_fn}.items():
        if not isinstance(value, Real) or not float(value) >= 0:
            raise ValueError(f"{name} must be a number of at least 0, got {value!r}.")
    if not isinstance(delta, Real) or not 0 < float(delta) < 1:
        raise ValueError(f"delta must be a number between 0 and 1, got {delta!r}.")
    if not isinstance(c_r, Real) or c_r != c_r:
        raise ValueError(f"c_r must be a number, got {c_r!r}.")
