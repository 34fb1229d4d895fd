"""Decisions without labels: thresholds, p-values, false discovery rates."""

from __future__ import annotations

import math
from abc import abstractmethod
from numbers import Real
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from latentsk._group_labels import group_labels
from latentsk._threads import fork_safe
from latentsk._threshold import ThresholdMixin, contamination_quantile
from latentsk._typing import Float64
from latentsk.outliers import _decisions as decisions
from latentsk.outliers._alert_rate import alert_threshold
from latentsk.outliers._drift import drift_line, drift_table
from latentsk.outliers._magnitudes import reject_huge_columns
from latentsk.outliers._threshold_rule import (
    LEVELS,
    ThresholdRule,
    asked_rule,
    in_unit_interval,
)

# Methods that the threshold decides, and not the score alone.
USING_THRESHOLD = ("decision_function", "predict", "calibrate", "drift_report")


class DecisionMixin(ThresholdMixin):
    """Decisions of detectors with `fit`, `score_samples` and `contamination`.

    The end of `fit` calls `_set_training_scores`. `_validated_scores` calls
    `_require_contamination` for methods in USING_THRESHOLD.
    """

    _lacks_threshold = "update drops the calibration rows that it rested on"

    @abstractmethod
    def _require_unchanged(self) -> None:
        """Refuse parameters that the score rests on and that were changed."""

    def _set_training_scores(
        self, scores: Float64, normal: Float64, rule: ThresholdRule
    ) -> None:
        """Keep the scores of training rows, and place the offset by a rule.

        "auto" rests on the scores of those that are presumed normal.
        """
        self.training_scores_ = np.sort(scores)
        self._normal_offset = self._auto_offset(normal)
        self._offset_score_method = getattr(self, "score_method", None)
        self._threshold_rule = rule
        if self._was_assigned(rule):
            return
        if rule.name in LEVELS:  # which rest on calibration rows, and there are none
            self._drop("offset_")
            return
        self._threshold_rule = self._placed(rule)
        self.offset_ = self._threshold_rule.offset

    def _training_offset(self, contamination: str | float) -> float:
        if isinstance(contamination, str):
            return self._normal_offset
        return contamination_quantile(self.training_scores_, contamination)

    @fork_safe
    def calibrate(self, X: ArrayLike, y: None = None) -> Self:
        """Rest decisions on rows that are known to be normal and were not trained on.

        Keeps their scores for `p_values`, `predict_fdr` and false-positive rates, and
        applies to them what was last asked of the threshold `offset_`: "auto", or the
        `fpr`, `p_value` or `n_alerts` given to `set_threshold`. A share of outliers
        (`contamination`) speaks of the training rows and stays as it is, as does an
        `offset_` that you have assigned yourself.

        Parameters
        ----------
        X : array-like of shape (n_calibration, n_features)
            Normal rows, drawn as the normal ones among those to judge are. The
            smallest p-value will be ``1 / (n_calibration + 1)``: for a level of 0.01,
            have several hundred.

        y : None
            Ignored.

        Returns
        -------
        self : object
            The detector.

        Raises
        ------
        NotFittedError
            If the detector is not fitted.

        ValueError
            If `X` is not valid or has a magnitude above 1e100, it has too few rows for
            the rule that was set, or a parameter was changed after the
            fit. The detector is then left as it was.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import LatentOutlierDetector
        >>> X = np.random.default_rng(0).normal(size=(400, 3))
        >>> detector = LatentOutlierDetector(random_state=0).fit(X[:200])
        >>> len(detector.calibrate(X[200:]).calibration_scores_)
        200
        """
        scores = np.sort(self._validated_scores(X, "calibrate"))
        reject_huge_columns(X)
        rule = self._rule()
        if rule.follows_calibration and not self._was_assigned(rule):
            try:
                rule = self._placed_on(rule, scores)
            except ValueError as error:
                raise ValueError(
                    f"{error} The threshold was set with {rule}, which stays: set "
                    "another one with set_threshold to calibrate with fewer."
                ) from error
            self.offset_ = rule.offset
        self._threshold_rule = rule
        self.calibration_scores_ = scores
        return self

    def set_threshold(
        self,
        *,
        contamination: float | str | None = None,
        fpr: float | None = None,
        p_value: float | None = None,
        n_alerts: float | None = None,
        per: float | None = None,
    ) -> Self:
        """Move the threshold `offset_`, without a refit.

        What is set holds until the next call or fit, whatever `contamination` says. A
        later `calibrate` applies "auto", `fpr`, `p_value` and `n_alerts` to its rows.

        Parameters
        ----------
        contamination : "auto" or float in (0, 0.5], optional
            "auto": what is far out compared to the training rows, as in the fit (also
            after `calibrate`). A float: the share of them that lies below. Where
            training rows have the same score at the threshold, it is the nearest share
            that ties allow.

        fpr : float in (0, 1), optional
            False-positive rate: at most this share of normal rows is called outliers,
            on average over draws of the rows given to `calibrate` (which come first).
            Where many of these have the same score, the rate can be far lower: they
            are called outliers together or not at all.

        p_value : float in (0, 1), optional
            Outliers are the rows with a p-value of at most this: the same threshold, by
            its other name.

        n_alerts : float above 0, optional
            So many outliers of `per` rows are expected, if these are drawn as the rows
            given to `calibrate` are; as the training rows, where it was not called
            (``n_alerts=200, per=20_000``: a rate of 1 in 100). The rate is known to
            about ``1 / sqrt(k)`` of itself, k being the number of these rows that lie
            below the threshold: for a tenth, calibrate with 100 times `per` over
            `n_alerts` rows or more. With ``contamination="auto"``, at most
            `max_samples` training rows were scored.

        per : float of at least 1, optional
            Goes with `n_alerts`: the number of rows that these are among.

        Returns
        -------
        self : object
            The detector.

        Raises
        ------
        NotFittedError
            If the detector is not fitted, or `calibrate` was not called and is needed.

        ValueError
            If not exactly one of the rules is given, it is out of range, there are too
            few rows for it, or a parameter that the score rests on was changed after
            the fit. The threshold is then left as it was.

        Warns
        -----
        UserWarning
            If ties make the share of rows that lies below differ from `contamination`,
            or from `n_alerts` over `per`, by more than one row and more than a
            thousandth of it, or leave no row below; if fewer than 10 rows lie below a
            threshold for `n_alerts`.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import LatentOutlierDetector
        >>> X = np.random.default_rng(0).normal(size=(400, 3))
        >>> detector = LatentOutlierDetector(random_state=0).fit(X[:200])
        >>> int(sum(detector.set_threshold(contamination=0.1).predict(X[:200]) == -1))
        20
        >>> detector = detector.calibrate(X[200:300]).set_threshold(fpr=0.05)
        >>> bool(np.mean(detector.predict(X[300:]) == -1) < 0.15)
        True
        >>> detector = detector.set_threshold(n_alerts=20, per=100)
        >>> int(sum(detector.predict(X[200:300]) == -1))
        20
        """
        check_is_fitted(self)
        self._require_unchanged()
        rule = asked_rule(
            _plain(self.contamination),
            per,
            contamination=contamination,
            fpr=fpr,
            p_value=p_value,
            n_alerts=n_alerts,
        )
        rule = self._placed(rule)
        self.offset_ = rule.offset
        self._threshold_rule = rule
        return self

    def p_values(self, X: ArrayLike) -> Float64:
        """Return how often a normal row scores as low as each row.

        Split-conformal: ``p = (1 + r) / (n + 1)``, where r of the n rows given to
        `calibrate` score as low or lower.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to judge.

        Returns
        -------
        p_values : ndarray of shape (n_samples,)
            In [1 / (n + 1), 1]; low for outliers. Of a normal row, ``p <= a`` has at
            most probability a.

        Raises
        ------
        NotFittedError
            If the detector is not fitted, or `calibrate` was not called.

        ValueError
            If `X` is not valid.

        References
        ----------
        S. Bates, E. Candes, L. Lei, Y. Romano and M. Sesia (2023). Testing for outliers
        with conformal p-values. Annals of Statistics, 51(1), 149-178.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import LatentOutlierDetector
        >>> X = np.random.default_rng(0).normal(size=(299, 3))
        >>> detector = LatentOutlierDetector(random_state=0).fit(X[:200])
        >>> detector.calibrate(X[200:]).p_values([[9.0, 9.0, 9.0]])
        array([0.01])
        """
        check_is_fitted(self)
        calibration = self._calibration()
        return decisions.conformal_p_values(self.score_samples(X), calibration)

    def predict_fdr(self, X: ArrayLike, level: float = 0.1) -> NDArray[np.int64]:
        """Tell inliers from outliers at a false discovery rate.

        By Benjamini and Hochberg's procedure on the p-values of all rows given: of the
        rows called outliers, the expected share that is normal is at most `level`. What
        is said of a row therefore depends on the others; `predict` judges each alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to judge together.

        level : float in (0, 1), default=0.1
            False discovery rate.

        Returns
        -------
        labels : ndarray of shape (n_samples,), dtype int64
            +1, or -1 for outliers.

        Raises
        ------
        NotFittedError
            If the detector is not fitted, or `calibrate` was not called.

        ValueError
            If `X` or `level` is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import LatentOutlierDetector
        >>> X = np.random.default_rng(0).normal(size=(400, 3))
        >>> detector = LatentOutlierDetector(random_state=0).fit(X[:200])
        >>> detector = detector.calibrate(X[200:])
        >>> detector.predict_fdr([[9, 9, 9], [0, 0, 0], [-8, 9, 8]], level=0.1)
        array([-1,  1, -1])
        """
        level = in_unit_interval("level", level)
        rejected = decisions.benjamini_hochberg(self.p_values(X), level)
        return np.where(rejected, -1, 1).astype(np.int64)

    @fork_safe
    def drift_report(
        self, X: ArrayLike, *, by: ArrayLike | None = None
    ) -> pd.Series | pd.DataFrame:
        """Tell whether rows are still like those that were given to `calibrate`.

        By the two-sample test of Kolmogorov and Smirnov on the scores: of the new rows,
        and of the calibration rows. (The conformal p-values of the new rows have the
        same distance to a uniform distribution, up to ``1 / (n_calibration + 1)``. They
        share their calibration rows, so the test of one sample would not be valid.)

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows.

        by : array-like of shape (n_samples,), optional
            A label for each row, such as its day, to test each group by itself. A
            Series must have the index of `X`, where `X` is a DataFrame.

        Returns
        -------
        report : Series, or DataFrame with a row for each group if `by` is given
            - "n_rows": number of new rows;
            - "ks_distance": largest difference between the distribution functions of
              new and calibration scores, in [0, 1]. It tells how large the drift is;
            - "p_value": how often as many rows without drift differ as much or more.
              Exact up to 10,000 rows in either sample; with tied scores it is too
              large, which is on the safe side;
            - "expected_alert_rate": share of calibration rows below `offset_`;
            - "alert_rate": share of new rows there.

        Raises
        ------
        NotFittedError
            If the detector is not fitted, or `calibrate` was not called.

        ValueError
            If `X` is not valid, a parameter was changed after the fit, or `by` does not
            hold one label for each row.

        Notes
        -----
        A p-value is uniform where rows are drawn independently as the calibration rows
        were. Rows of a day that are alike among themselves, or seasons that the
        calibration rows do not cover, are drift to it. Of 1,000 days without any, one
        has a p-value below 0.001; all share the calibration rows, so these false alarms
        come together. The test sees what changes the scores. A change that leaves them
        as they are, of one cluster to another, say, it does not see.

        References
        ----------
        S. Bates, E. Candes, L. Lei, Y. Romano and M. Sesia (2023). Testing for outliers
        with conformal p-values. Annals of Statistics, 51(1), 149-178.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import LatentOutlierDetector
        >>> X = np.random.default_rng(0).normal(size=(700, 3))
        >>> X[600:] *= 1.5
        >>> detector = LatentOutlierDetector(random_state=0).fit(X[:200])
        >>> detector = detector.calibrate(X[200:500])
        >>> days = np.repeat(["Monday", "Tuesday"], 100)
        >>> detector.drift_report(X[500:], by=days)[["ks_distance", "p_value"]].round(4)
                 ks_distance  p_value
        Monday        0.0867   0.6117
        Tuesday       0.4300   0.0000
        """
        check_is_fitted(self)
        calibration = self._calibration()
        scores = self._validated_scores(X, "drift_report")
        if by is None:
            return pd.Series(drift_line(scores, calibration, self.offset_))
        labels = group_labels(by, X, len(scores))
        return drift_table(scores, labels, calibration, self.offset_)

    def outlier_probability(self, X: ArrayLike) -> Float64:
        """Return scores as numbers in [0, 1], for reading (Kriegel et al., 2011).

        Gaussian scaling: ``max(0, 2 F(t) - 1)``, with F the standard normal
        distribution function and t how many robust standard deviations a score lies
        below the training rows' median. It orders rows as the score does, and puts the
        more normal half at 0. It is *not* the probability that the row is an outlier,
        which nothing says without labels; for error rates, see `p_values`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        probability : ndarray of shape (n_samples,)
            In [0, 1]; high for outliers.

        Raises
        ------
        NotFittedError
            If the detector is not fitted.

        ValueError
            If `X` is not valid.

        References
        ----------
        H.-P. Kriegel, P. Kroeger, E. Schubert and A. Zimek (2011). Interpreting and
        unifying outlier scores. SIAM International Conference on Data Mining, 13-24.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import LatentOutlierDetector
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> detector = LatentOutlierDetector(random_state=0).fit(X)
        >>> detector.outlier_probability([[0, 0, 0], [9, 9, 9]]).round(2)
        array([0., 1.])
        """
        scores = self.score_samples(X)
        return decisions.gaussian_scaling(scores, self.training_scores_)

    def _calibration(self) -> Float64:
        if not hasattr(self, "calibration_scores_"):
            raise NotFittedError(
                "There are no calibration rows: call calibrate(X) with normal rows "
                "that the detector was not fitted on."
            )
        return self.calibration_scores_

    def _rule(self) -> ThresholdRule:
        """Return the rule of the threshold: `contamination` where a file holds none."""
        if hasattr(self, "_threshold_rule"):
            return self._threshold_rule
        return self._parameter_rule()._replace(offset=self.offset_)

    def _parameter_rule(self) -> ThresholdRule:
        """Return the rule that `contamination` is, with no offset yet."""
        parameter = _plain(self.contamination)
        return ThresholdRule("contamination", parameter, math.nan, parameter)

    def _was_assigned(self, rule: ThresholdRule) -> bool:
        """Tell whether the user has assigned another offset than the rule's."""
        return hasattr(self, "offset_") and not rule.placed(self.offset_)

    def _placed(self, rule: ThresholdRule) -> ThresholdRule:
        """Return a rule with the offset that it places on the detector's own rows."""
        if rule.name == "contamination":
            offset = self._training_offset(rule.value)
        elif rule.name in LEVELS or hasattr(self, "calibration_scores_"):
            return self._placed_on(rule, self._calibration())
        else:
            return self._placed_on(rule, self.training_scores_)
        return rule._replace(offset=offset)

    def _placed_on(self, rule: ThresholdRule, scores: Float64) -> ThresholdRule:
        """Return a rule with the offset that it places on the scores of some rows."""
        if rule.name == "contamination":
            offset = self._offset_at(scores, rule.value)
        elif rule.per is not None:
            offset = alert_threshold(scores, float(rule.value), rule.per)
        else:
            offset = decisions.conformal_threshold(scores, float(rule.value))
        return rule._replace(offset=offset)

    def _require_contamination(self) -> None:
        """Refuse a `contamination` that was changed after the threshold was placed."""
        before, now = self._rule().parameter, _plain(self.contamination)
        if before != now:
            raise ValueError(
                f"contamination was {before!r} when the detector was fitted, and is "
                f"now {now!r}. Fit it again, or call "
                f"set_threshold(contamination={now!r})."
            )


def _plain(contamination: Any) -> str | float:
    is_number = isinstance(contamination, Real)
    return float(contamination) if is_number else str(contamination)
