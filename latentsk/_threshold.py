"""From scores to decisions: the offset below which a row is an outlier."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OutlierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils._array_api import get_namespace, move_to
from sklearn.utils._param_validation import Interval, StrOptions

from latentsk._threads import fork_safe
from latentsk._ties import cut_among_ties, warn_of_ties

CONTAMINATION_CONSTRAINT = [
    StrOptions({"auto"}),
    Interval(Real, 0, 0.5, closed="right"),
]


def lower_fence(scores: ArrayLike) -> float:
    """Return Kimber's lower fence of a sample, ``Q1 - 3 (Q2 - Q1)``.

    For a symmetric sample it is Tukey's fence ``Q1 - 1.5 IQR`` (a normal sample has
    0.35 % of its mass below it); for a skewed one, such as minus a chi-square, it
    follows the longer tail. A quarter of the sample can be moved anywhere without
    breaking it. Where both quartiles are one value, as in samples that mostly consist
    of ties, it is the fence of the values below.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores, higher = more normal.

    Returns
    -------
    fence : float
        In the scores' unit.

    References
    ----------
    A. C. Kimber (1990). Exploratory data analysis for possibly censored data from
    skewed distributions. Journal of the Royal Statistical Society C, 39(1), 21-30.

    Examples
    --------
    >>> lower_fence([1.0, 2.0, 3.0, 4.0, 5.0])
    -1.0
    """
    ranked = np.sort(np.asarray(scores, np.float64))
    # What np.quantile returns, for less: a fit of some milliseconds notices.
    middle = 0.5 * (len(ranked) - 1)
    ranks = np.arange(len(ranked))
    first_quartile, median = np.interp([0.5 * middle, middle], ranks, ranked)
    if first_quartile == median and ranked[0] < median:
        return lower_fence(ranked[ranked < median])
    with np.errstate(over="ignore"):
        fence = float(first_quartile - 3.0 * (median - first_quartile))
    return max(fence, float(np.finfo(np.float64).min))


def contamination_quantile(
    scores: ArrayLike, contamination: float, quantile: float | None = None
) -> float:
    """Return the score below which a share `contamination` of the sample lies.

    Where scores at the quantile are equal, the share is the nearest one that a
    threshold can have: see :func:`~latentsk._ties.cut_among_ties`.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores, higher = more normal.

    contamination : float in (0, 0.5]
        Share of outliers.

    quantile : float, optional
        The quantile, by default numpy's.

    Returns
    -------
    threshold : float
        In the scores' unit.

    Warns
    -----
    UserWarning
        If, for ties, no row lies below, or the number of rows below differs from
        ``contamination * n_samples`` by more than one row and more than a thousandth.

    Examples
    --------
    >>> contamination_quantile([1.0, 2.0, 3.0, 4.0, 5.0], 0.25)
    2.0
    >>> contamination_quantile([1.0, 1.0, 3.0, 4.0, 5.0], 0.25)
    2.0
    """
    ranked = np.sort(np.asarray(scores))
    if ranked.dtype.kind != "f":
        ranked = ranked.astype(np.float64)
    if quantile is None:
        quantile = float(np.quantile(ranked.astype(np.float64), contamination))
    cut = cut_among_ties(ranked, quantile, contamination)
    warn_of_ties(cut, len(ranked), contamination)
    return cut.offset


def score_name(estimator: Any) -> str | None:
    """Return which score the parameters ask for; None where there is but one.

    Examples
    --------
    >>> from latentsk import AutoencoderEmbedder, VAEEmbedder
    >>> score_name(VAEEmbedder(score_window=3)), score_name(AutoencoderEmbedder())
    ('elbo, score_window=3', None)
    """
    method = getattr(estimator, "score_method", None)
    window = getattr(estimator, "score_window", None)
    if window is None:
        return method
    return f"{method or 'reconstruction'}, score_window={window}"


class ThresholdMixin(OutlierMixin):
    """Decisions of a StateMixin with `fit`, `score_samples` and `contamination`.

    The threshold lies on the scores that `score_name` names. The end of `fit` calls
    `_set_offset`.
    """

    _private_state: tuple[str, ...] = ("_offset_score_method",)
    # Where "auto" places the offset, given the scores of the rows.
    _auto_offset: Callable[[ArrayLike], float] = staticmethod(lower_fence)
    # Why there may be none.
    _lacks_threshold = "partial_fit does not set one"

    @abstractmethod
    def _validated_scores(self, X: Any, method: str) -> Any:
        """Return `score_samples` of X; errors name the method that was called."""

    def _set_offset(self, scores: Any) -> None:
        """Place the offset on the scores of some rows, as `contamination` says."""
        scores = np.asarray(move_to(scores, xp=np, device="cpu"))
        self.offset_ = self._offset_at(scores, self.contamination)
        self._offset_score_method = score_name(self)

    def _offset_at(self, scores: ArrayLike, contamination: str | float) -> float:
        """Return the offset on some rows' scores, "auto" or for a share of the rows."""
        if isinstance(contamination, str):
            return self._auto_offset(scores)
        return contamination_quantile(scores, contamination)

    @fork_safe
    def fit_predict(self, X: ArrayLike, y: None = None) -> NDArray[Any]:
        """Fit on rows, and tell inliers from outliers among them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.

        y : None
            Ignored.

        Returns
        -------
        labels : ndarray of shape (n_samples,), dtype int64
            ``fit(X).predict(X)``.

        Raises
        ------
        ValueError
            As for `fit`, or if the score is undefined for the model. The estimator is
            then left as it was.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PCAEmbedder(1, contamination=0.2).fit_predict(X)
        array([ 1,  1,  1,  1, -1])
        """
        with self._rollback_on_error():
            return self.fit(X, y).predict(X)

    @fork_safe
    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Return the score of each row above the threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``, in the score's unit; negative for outliers.

        Raises
        ------
        NotFittedError
            If there is no threshold (after `partial_fit`, call `calibrate`).

        ValueError
            If `X` is not valid, the score is undefined for this model, or what the
            score or the threshold rests on was changed after it was placed: the
            `score_method` of an embedder, most parameters of a detector.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PCAEmbedder(1).fit(X).decision_function([[3, 3], [30, -90]]).round(0)
        array([   1., -613.])
        """
        return self._decide(X, "decision_function")

    def _decide(self, X: ArrayLike, method: str) -> Any:
        scores = self._validated_scores(X, method)
        if not hasattr(self, "offset_"):
            raise NotFittedError(
                f"This {type(self).__name__} has no threshold: {self._lacks_threshold}."
                " Call calibrate(X) with rows to place it on."
            )
        placed, asked = self._offset_score_method, score_name(self)
        if placed != asked:
            has_window = "score_window" in f"{placed} {asked}"
            raise ValueError(
                f"The threshold lies on {placed or 'reconstruction'!r} scores, but "
                f"{'the score' if has_window else 'score_method'} is now "
                f"{asked or 'reconstruction'!r}. Call calibrate(X)."
            )
        return scores - self.offset_

    @fork_safe
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Tell inliers from outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to judge.

        Returns
        -------
        labels : ndarray of shape (n_samples,), dtype int64
            +1 where ``decision_function(X) >= 0``, else -1 (an outlier).

        Raises
        ------
        NotFittedError
            If there is no threshold (after `partial_fit`, call `calibrate`).

        ValueError
            If `X` is not valid, the score is undefined for this model, or what the
            score or the threshold rests on was changed after it was placed: the
            `score_method` of an embedder, most parameters of a detector.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PCAEmbedder(1).fit(X).predict([[3, 3], [30, -90]])
        array([ 1, -1])
        """
        decision = self._decide(X, "predict")
        xp, _ = get_namespace(decision)
        labels = xp.ones_like(decision, dtype=xp.int64)
        # Written so that a score that is not a number is no inlier.
        labels[~(decision >= 0)] = -1
        return labels
