"""Classification by a density for each class, and the answer "none of these"."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from latentsk._diagnosis import diagnosed
from latentsk._random import RandomState, numpy_generator
from latentsk._remedies import listed
from latentsk._state import StateMixin
from latentsk._threads import fork_safe
from latentsk._typing import Float64, Positions
from latentsk._validation import available_if, fit_context, require_count
from latentsk._warnings import warn
from latentsk.classify import _bayes as bayes
from latentsk.classify._conformal import lowest_rank, n_as_low, n_needed
from latentsk.classify._conformity import conformity, typical_rows
from latentsk.classify._densities import (
    class_log_densities,
    fitted_densities,
    require_density,
    resolved,
)
from latentsk.classify._labels import (
    Labels,
    answers,
    checked_unknown_label,
    class_labels,
    positions_of,
)
from latentsk.classify._priors import class_priors
from latentsk.classify._rows import class_rows
from latentsk.classify._samples import drawn_classes, drawn_rows
from latentsk.classify._split import at_most, set_aside
from latentsk.classify._state import OPTIONAL, REQUIRED, check_fit
from latentsk.embedders import VAEEmbedder
from latentsk.outliers._decisions import conformal_p_values
from latentsk.outliers._image_input import flat_images, told_of_images
from latentsk.outliers._magnitudes import reject_huge_columns
from latentsk.outliers._threshold_rule import in_unit_interval
from latentsk.persistence._registry import storable

# Training rows of a class that tell what is typical of it, at most.
MOST_REFERENCE_ROWS = 1_000


def _can_sample(classifier: Any) -> bool:
    estimator = classifier.estimator
    return estimator is None or hasattr(estimator, "sample")


@storable(REQUIRED, optional=OPTIONAL, check=check_fit)
class GenerativeClassifier(StateMixin, ClassifierMixin, BaseEstimator):
    """Classify rows by a density for each class; tell which belong to none.

    One density is fitted to the rows of each class, and Bayes' rule makes probabilities
    of classes of them. Unlike a classifier that draws boundaries, this one knows what
    rows of a class look like: it can say that a row resembles none of the classes, how
    typical it is of one, and draw new rows.

    Parameters
    ----------
    estimator : estimator or None, default=None
        The density of a class: anything with `fit` and a `score_samples` that is a
        log-density in the units of the rows, such as :class:`PCAEmbedder`,
        :class:`VAEEmbedder`, GaussianMixture or KernelDensity. It is cloned and fitted
        for each class. None: a :class:`VAEEmbedder` for each, with default settings,
        which are meant for columns of a table; for pixels begin with
        ``PCAEmbedder(40)``. Steps that change the features, such as a scaler, come
        before the classifier.

    priors : array-like of shape (n_classes,) or None, default=None
        Probabilities of the classes, in the order of `classes_`. None: their shares of
        the training rows.

    reject : float in (0, 1) or None, default=None
        Level at which `predict` answers `unknown_label`: of the rows of each class, at
        most this share is called unknown, on average over draws of the calibration
        rows. None: never; then no rows are set aside in `fit`.

    unknown_label : object, default=-1
        The answer of `predict` for rows that resemble no class, if `reject` is given.
        It must be no class, and of the kind of the classes: a string where they are
        strings.

    calibration_fraction : float in (0, 1), default=0.2
        Share of the rows of each class that is set aside for calibration, if `reject`
        is given. It is more where `reject` needs more rows (19 for 0.05), and these are
        at most half of the class.

    random_state : int, RandomState, Generator or None, default=None
        Draws the rows that are set aside, and seeds each density whose own
        `random_state` is None.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes; never `unknown_label`.

    estimators_ : list of n_classes estimators
        The fitted densities.

    class_count_ : ndarray of shape (n_classes,)
        Number of training rows of each class, those set aside included.

    class_prior_ : ndarray of shape (n_classes,)
        Probability of each class.

    calibration_scores_ : list of n_classes ndarrays
        How well the calibration rows of each class conform to it, in ascending order.
        Only after a `fit` with `reject`, or after `calibrate`.

    n_features_in_ : int
        Number of features.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had string names for all.

    See Also
    --------
    LatentOutlierDetector : Outliers where there are no classes.

    Notes
    -----
    How well a row conforms to a class is measured by two numbers together: the
    log-density of the class, and the log of its ratio to the best other class's. Each
    is counted in deviations from the median of at most 1,000 training rows of the
    class, those of the lower tail (the distance from the median to the 0.05 quantile,
    over 1.645), and becomes a tail probability of the logistic distribution; the
    product of the two is what counts, as in Fisher's method. Density alone misleads
    where some classes are simpler than others, and the ratio alone where a row is far
    from all.

    The p-value of a row for a class is ``(1 + r) / (n + 1)``, where r of the n
    calibration rows of the class conform as badly or worse. It has at most probability
    a to be at most a, for a new row of the class. No density was fitted to calibration
    rows, so that new rows are exchangeable with them whatever the densities are worth;
    bad ones make the sets larger, and never invalid. Classes that are not exchangeable
    with what they were (drift) void this.

    Densities are compared with each other. So ``likelihood="auto"`` of a VAEEmbedder is
    decided by the rows of all classes. Where an embedder standardizes rows of numbers,
    a column that is constant in a class has noise while the density of the class is
    fitted, of a tenth of the deviation that the column has over all classes (of 0.1 if
    it has none): else its scale would be that of rounding.

    References
    ----------
    V. Vovk (2012). Conditional validity of inductive conformal predictors. Asian
    Conference on Machine Learning, 475-490.

    V. Vovk, A. Gammerman and G. Shafer (2005). Algorithmic learning in a random world.
    Springer.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from latentsk import GenerativeClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> mixture = GaussianMixture()
    >>> classifier = GenerativeClassifier(mixture, reject=0.05, random_state=0)
    >>> classifier.fit(X[y < 2], y[y < 2]).predict(X[[0, 60, 120]])
    array([ 0,  1, -1])
    """

    _parameter_constraints: dict[str, Any] = {
        "estimator": [HasMethods(["fit", "score_samples"]), None],
        "priors": ["array-like", None],
        "reject": [Interval(Real, 0, 1, closed="neither"), None],
        "unknown_label": "no_validation",
        "calibration_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state", np.random.Generator],
    }

    _private_state = ("_typical", "_training_scores", "_layout", "_warned_level")

    def __init__(
        self,
        estimator: Any = None,
        *,
        priors: ArrayLike | None = None,
        reject: float | None = None,
        unknown_label: Any = -1,
        calibration_fraction: float = 0.2,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.priors = priors
        self.reject = reject
        self.unknown_label = unknown_label
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    @fork_safe
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit a density to the rows of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, of any kind that the estimator takes.

        y : array-like of shape (n_samples,)
            The class of each row: numbers, strings or booleans.

        Returns
        -------
        self : GenerativeClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If `X` or `y` is not valid, the estimator has no log-density or cannot be
            fitted to the rows of a class, `priors` do not fit the classes, or
            `unknown_label` is one of the classes or of another kind. The classifier is
            then left as it was.

        Warns
        -----
        UserWarning
            If a class has too few rows to be rejected at the level `reject`.

        Examples
        --------
        >>> from latentsk import GenerativeClassifier, PCAEmbedder
        >>> X = [[0, 1], [1, 3], [2, 2], [7, 9], [8, 7], [9, 9]]
        >>> classifier = GenerativeClassifier(PCAEmbedder(1)).fit(X, list("aaabbb"))
        >>> classifier.predict([[3, 3], [6, 7]])
        array(['a', 'b'], dtype='<U1')
        """
        estimator = VAEEmbedder() if self.estimator is None else self.estimator
        require_density(estimator)
        with self._rollback_on_error(), diagnosed(X):
            rows, layout = flat_images(estimator, X)
            estimator = told_of_images(estimator, layout)
            rows = class_rows(self, estimator, rows, reset=True)
            names = None if layout is None else layout.names_of_pixels
            reject_huge_columns(rows, names)
            labels = class_labels(y, rows)
            self._reset()
            if layout is not None:
                self._layout = layout
            self.classes_, codes = np.unique(labels, return_inverse=True)
            self.class_count_ = np.bincount(codes)
            self.class_prior_ = class_priors(self.priors, self.class_count_)
            if self.reject is not None:
                checked_unknown_label(self.unknown_label, self.classes_)
            self._fit_classes(estimator, rows, codes)
        return self

    def _fit_classes(self, estimator: Any, rows: Any, codes: Positions) -> None:
        generator = numpy_generator(self.random_state)
        n_classes, fitted = len(self.classes_), np.arange(len(codes))
        aside = fitted[:0]
        if self.reject is not None:
            needed = n_needed(self.reject)
            share = self.calibration_fraction
            fitted, aside = set_aside(codes, n_classes, share, needed, generator)
        estimator = resolved(estimator, _safe_indexing(rows, fitted))
        own = [fitted[codes[fitted] == k] for k in range(n_classes)]
        self.estimators_ = fitted_densities(
            estimator, rows, own, self.classes_, generator
        )
        known = [
            self._log_densities(
                _safe_indexing(rows, at_most(places, MOST_REFERENCE_ROWS, generator))
            )
            for places in own
        ]
        self._typical = typical_rows(known)
        self._training_scores = [
            np.sort(conformity(densities, self._typical)[:, k])
            for k, densities in enumerate(known)
        ]
        if self.reject is not None:
            self._calibrate(_safe_indexing(rows, aside), codes[aside])

    @fork_safe
    def calibrate(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Rest p-values on labelled rows that the classifier was not fitted on.

        They take the place of those that `fit` has set aside, if any. With them
        `reject` can be set without another fit: ``set_params(reject=0.05)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of the classes, drawn as those to judge are. The smallest p-value of a
            class will be ``1 / (n + 1)``, for its n rows.

        y : array-like of shape (n_samples,)
            The class of each row. Classes without any are not rejected.

        Returns
        -------
        self : GenerativeClassifier
            The classifier.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.

        ValueError
            If `X` or `y` is not valid, or a label is none of `classes_`. The classifier
            is then left as it was.

        Warns
        -----
        UserWarning
            If a class has too few rows to be rejected at the level `reject`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.mixture import GaussianMixture
        >>> from latentsk import GenerativeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = GenerativeClassifier(GaussianMixture()).fit(X[::2], y[::2])
        >>> classifier = classifier.calibrate(X[1::2], y[1::2])
        >>> [len(scores) for scores in classifier.calibration_scores_]
        [25, 25, 25]
        """
        check_is_fitted(self)
        self._validate_params()
        rows = self._rows(X)
        codes = positions_of(class_labels(y, rows), self.classes_)
        self._calibrate(rows, codes)
        return self

    def _calibrate(self, rows: Any, codes: Positions) -> None:
        scores = np.empty((0, len(self.classes_)))
        if len(codes):
            scores = conformity(self._log_densities(rows), self._typical)
        self.calibration_scores_ = [
            np.sort(scores[codes == k, k]) for k in range(len(self.classes_))
        ]
        if self.reject is not None:
            self._ranks(self.reject, None)
            self._warned_level = float(self.reject)

    # Closed set: one of the classes

    @fork_safe
    def class_score_samples(self, X: ArrayLike) -> Float64:
        """Return the log-density of each row in each class, log p(x | y).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes)
            In nats, finite. Rows with a magnitude above 1e100 have the lowest number.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from latentsk import GenerativeClassifier, PCAEmbedder
        >>> X = [[0, 1], [1, 3], [2, 2], [7, 9], [8, 7], [9, 9]]
        >>> classifier = GenerativeClassifier(PCAEmbedder(1)).fit(X, list("aaabbb"))
        >>> classifier.class_score_samples([[3, 3]]).round(1)
        array([[ -3.7, -25.1]])
        """
        check_is_fitted(self)
        return self._log_densities(self._rows(X))

    @fork_safe
    def score_samples(self, X: ArrayLike) -> Float64:
        """Return the log-density of each row, whatever its class: log p(x).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            In nats. Rows of no class can have a high density: see `novelty_score`.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from latentsk import GenerativeClassifier, PCAEmbedder
        >>> X = [[0, 1], [1, 3], [2, 2], [7, 9], [8, 7], [9, 9]]
        >>> classifier = GenerativeClassifier(PCAEmbedder(1)).fit(X, list("aaabbb"))
        >>> classifier.score_samples([[3, 3]]).round(1)
        array([-4.4])
        """
        return bayes.log_evidence(self.class_score_samples(X), self.class_prior_)

    @fork_safe
    def predict_log_proba(self, X: ArrayLike) -> Float64:
        """Return the log-probability of each class, given that it is one of them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            Columns are as `classes_`; minus infinity only where a prior is zero.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from latentsk import GenerativeClassifier, PCAEmbedder
        >>> X = [[0, 1], [1, 3], [2, 2], [7, 9], [8, 7], [9, 9]]
        >>> classifier = GenerativeClassifier(PCAEmbedder(1)).fit(X, list("aaabbb"))
        >>> classifier.predict_log_proba([[3, 3]]).round(1)
        array([[ -0. , -21.5]])
        """
        return bayes.log_posteriors(self.class_score_samples(X), self.class_prior_)

    @fork_safe
    def predict_proba(self, X: ArrayLike) -> Float64:
        """Return the probability of each class, given that it is one of them.

        By Bayes' rule: ``p(y | x) = p(x | y) p(y) / p(x)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns are as `classes_`; rows sum to one. They are those of the priors
            where a row is out of the range of all densities.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from latentsk import GenerativeClassifier, PCAEmbedder
        >>> X = [[0, 1], [1, 3], [2, 2], [7, 9], [8, 7], [9, 9]]
        >>> classifier = GenerativeClassifier(PCAEmbedder(1)).fit(X, list("aaabbb"))
        >>> classifier.predict_proba([[3, 3]]).round(2)
        array([[1., 0.]])
        """
        return np.exp(self.predict_log_proba(X))

    @fork_safe
    def predict(self, X: ArrayLike) -> Labels:
        """Return the most probable class of each row, or that it belongs to none.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Of the dtype of `classes_`, or of a wider one of its kind where
            `unknown_label` needs it (int16 for -1 beside uint8, longer strings). With
            `reject`, `unknown_label` where the p-values of all classes are at most that
            level. Classes with too few calibration rows to be rejected (19 for 0.05)
            count only where they are the most probable, and are then the answer.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted, or `reject` was set since and there are no
            calibration rows.

        ValueError
            If `X`, `reject` or `unknown_label` is not valid.

        Warns
        -----
        UserWarning
            If `reject` was changed since the fit, and a class has too few calibration
            rows for it.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.mixture import GaussianMixture
        >>> from latentsk import GenerativeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = GenerativeClassifier(GaussianMixture(), random_state=0)
        >>> classifier = classifier.set_params(reject=0.05).fit(X[y < 2], y[y < 2])
        >>> classifier.predict(X[[0, 60, 120]])
        array([ 0,  1, -1])
        """
        check_is_fitted(self)
        self._validate_params()
        if self.reject is None:
            chosen = self.predict_log_proba(X).argmax(axis=1)
            return answers(self.classes_, chosen, None, None)
        unknown = checked_unknown_label(self.unknown_label, self.classes_)
        is_new = getattr(self, "_warned_level", None) != self.reject
        ranks = self._ranks(float(self.reject), None, warns=is_new)
        densities = self.class_score_samples(X)
        chosen = bayes.log_posteriors(densities, self.class_prior_).argmax(axis=1)
        fails = self._n_as_low(densities) < ranks
        is_judged = ranks > 0
        is_unknown = fails[:, is_judged].all(axis=1) & is_judged[chosen]
        return answers(self.classes_, chosen, is_unknown, unknown)

    # Open set: perhaps none of the classes

    @fork_safe
    def p_values(self, X: ArrayLike) -> Float64:
        """Return how often a row of each class conforms to it as badly as each row.

        Split-conformal: ``p = (1 + r) / (n + 1)``, where r of the n calibration rows of
        the class conform to it as badly or worse.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to judge.

        Returns
        -------
        p_values : ndarray of shape (n_samples, n_classes)
            In [1 / (n + 1), 1]; columns are as `classes_`. Of a new row of a class, its
            p-value is at most a with at most probability a. A class without calibration
            rows has ones.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted, or there are no calibration rows.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.mixture import GaussianMixture
        >>> from latentsk import GenerativeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = GenerativeClassifier(GaussianMixture()).fit(X[::2], y[::2])
        >>> classifier.calibrate(X[1::2], y[1::2]).p_values([[5, 5, 5, 5]]).round(3)
        array([[0.038, 0.038, 0.038]])
        """
        check_is_fitted(self)
        calibration = self._calibration()
        found = conformity(self.class_score_samples(X), self._typical)
        p_values = np.ones_like(found)
        for k, scores in enumerate(calibration):
            if len(scores):
                p_values[:, k] = conformal_p_values(found[:, k], scores)
        return p_values

    @fork_safe
    def predict_set(
        self, X: ArrayLike, level: float = 0.05, *, confidence: float | None = None
    ) -> NDArray[np.bool_]:
        """Return which classes each row can belong to, at an error rate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to judge.

        level : float in (0, 1), default=0.05
            Largest share of the rows of a class whose set lacks it.

        confidence : float in (0, 1) or None, default=None
            None: the share is at most `level` on average over draws of the calibration
            rows; for those at hand it may be more. A number: it is at most `level` with
            this probability, for each class, for the calibration rows at hand (Vovk,
            2012). Sets are then larger.

        Returns
        -------
        is_possible : ndarray of shape (n_samples, n_classes), dtype bool
            Columns are as `classes_`. A row without any belongs to none of the classes.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted, or there are no calibration rows.

        ValueError
            If `X`, `level` or `confidence` is not valid.

        Warns
        -----
        UserWarning
            If a class has too few calibration rows for the level: it is in every set.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.mixture import GaussianMixture
        >>> from latentsk import GenerativeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = GenerativeClassifier(GaussianMixture()).fit(X[::2], y[::2])
        >>> classifier = classifier.calibrate(X[1::2], y[1::2])
        >>> classifier.predict_set([X[0], [5, 5, 5, 5]], level=0.1)
        array([[ True, False, False],
               [False, False, False]])
        """
        check_is_fitted(self)
        level = in_unit_interval("level", level)
        if confidence is not None:
            confidence = in_unit_interval("confidence", confidence)
        ranks = self._ranks(level, confidence)
        return self._n_as_low(self.class_score_samples(X)) >= ranks

    @fork_safe
    def novelty_score(self, X: ArrayLike) -> Float64:
        """Score how little each row resembles any of the classes.

        It joins the density of the class that the row conforms to best with the ratio
        of that density to the best other class's.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Higher = more novel; at least 0. A typical training row of a class has 1.4
            (0.7 where there is but one class), one that is four deviations below it in
            both numbers about 14. New rows have more than training rows, where
            densities have memorized these.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.mixture import GaussianMixture
        >>> from latentsk import GenerativeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = GenerativeClassifier(GaussianMixture()).fit(X, y)
        >>> classifier.novelty_score([X[0], [5, 5, 5, 5]]).round(1)
        array([ 0.5, 77.9])
        """
        found = conformity(self.class_score_samples(X), self._typical)
        return -found.max(axis=1)

    @fork_safe
    def typicality(self, X: ArrayLike) -> Float64:
        """Return how typical each row is of its most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to judge.

        Returns
        -------
        typicality : ndarray of shape (n_samples,)
            In (0, 1]: the share of rows of the class that conform to it as badly or
            worse, which is the p-value of the class. 0.5 is an ordinary one; a row that
            only resembles the class has next to 0. Without calibration rows, it is the
            share of training rows, which new rows conform worse than.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.mixture import GaussianMixture
        >>> from latentsk import GenerativeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = GenerativeClassifier(GaussianMixture()).fit(X, y)
        >>> classifier.typicality([X[0], [5, 5, 5, 5]]).round(2)
        array([0.96, 0.02])
        """
        densities = self.class_score_samples(X)
        chosen = bayes.log_posteriors(densities, self.class_prior_).argmax(axis=1)
        found, result = conformity(densities, self._typical), np.empty(len(chosen))
        calibrated = getattr(self, "calibration_scores_", self._training_scores)
        for k, own in enumerate(calibrated):
            known = own if len(own) else self._training_scores[k]
            result[chosen == k] = conformal_p_values(found[chosen == k, k], known)
        return result

    @available_if(_can_sample)
    @fork_safe
    def sample(
        self, n_samples: int = 1, y: Any = None, random_state: RandomState = None
    ) -> tuple[Any, Labels]:
        """Draw new rows and their classes.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.

        y : label, array-like of shape (n_samples,) or None, default=None
            The class of all rows, or of each. None: drawn by `class_prior_`.

        random_state : int, RandomState, Generator or None, default=None
            Determines what is drawn.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            Rows, as the estimator draws them; images have the layout of the fit.

        y : ndarray of shape (n_samples,)
            Their classes.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.

        AttributeError
            If the estimator has no `sample`.

        ValueError
            If `n_samples` or `y` is not valid.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.mixture import GaussianMixture
        >>> from latentsk import GenerativeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = GenerativeClassifier(GaussianMixture()).fit(X, y)
        >>> X_new, y_new = classifier.sample(100, y=2, random_state=0)
        >>> X_new.shape, classifier.score(X_new, y_new) > 0.9
        ((100, 4), True)
        """
        check_is_fitted(self)
        require_count("n_samples", n_samples, least=1)
        generator = numpy_generator(random_state)
        prior = self.class_prior_
        codes = drawn_classes(y, int(n_samples), self.classes_, prior, generator)
        rows = drawn_rows(self.estimators_, codes, generator)
        layout = getattr(self, "_layout", None)
        rows = rows if layout is None else layout.images(rows)
        return rows, self.classes_[codes]

    # What they stand on

    def _rows(self, X: Any) -> Any:
        with diagnosed(X):
            first = self.estimators_[0]
            return class_rows(self, first, flat_images(first, X)[0], reset=False)

    def _log_densities(self, rows: Any) -> Float64:
        with diagnosed(rows):
            return class_log_densities(self.estimators_, rows)

    def _calibration(self) -> list[Float64]:
        if not hasattr(self, "calibration_scores_"):
            raise NotFittedError(
                "There are no calibration rows: fit with reject=0.05, say, which sets "
                "some aside, or call calibrate(X, y) with labelled rows that the "
                "classifier was not fitted on."
            )
        return self.calibration_scores_

    def _n_as_low(self, densities: Float64) -> NDArray[np.intp]:
        """Return how many calibration rows of each class conform as badly as each."""
        found = conformity(densities, self._typical)
        counts = [
            n_as_low(found[:, k], scores)
            for k, scores in enumerate(self._calibration())
        ]
        return np.column_stack(counts)

    def _ranks(
        self, level: float, confidence: float | None, *, warns: bool = True
    ) -> Positions:
        """Return the rank that rows have to reach in each class, 0 where there is none.

        Warns
        -----
        UserWarning
        """
        sizes = [len(scores) for scores in self._calibration()]
        ranks = np.array([lowest_rank(n, level, confidence) for n in sizes], np.intp)
        few = np.flatnonzero(ranks == 0)
        if len(few) and warns:
            sure = "" if confidence is None else f" with confidence={confidence:g}"
            found = ", ".join(str(sizes[k]) for k in few[:10])
            warn(
                f"A level of {level:g}{sure} needs {n_needed(level, confidence):.15g} "
                "calibration rows of a class or more. Sets always hold "
                f"{listed(self.classes_[few].tolist())}, of which there are {found}, "
                "and no row is rejected whose most probable class that is; its other "
                "rows may be. Give more, or a higher level."
            )
        return ranks

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        estimator = VAEEmbedder() if self.estimator is None else self.estimator
        if isinstance(estimator, BaseEstimator):
            tags.input_tags = get_tags(estimator).input_tags
        return tags
