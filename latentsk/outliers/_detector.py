"""Outliers by all that a latent space knows of rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.utils import _safe_indexing, gen_batches, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted

from latentsk._device import on_host
from latentsk._random import RandomState, numpy_generator, some_positions
from latentsk._state import StateMixin
from latentsk._step_diagnosis import steps_diagnosed
from latentsk._threads import fork_safe
from latentsk._threshold import CONTAMINATION_CONSTRAINT, lower_fence, score_name
from latentsk._typing import Float64, Positions
from latentsk._validation import fit_context, reject_row, validated
from latentsk.index import LatentIndex
from latentsk.index._embedding import row_ids
from latentsk.outliers import _scales as scales
from latentsk.outliers._decision_mixin import USING_THRESHOLD, DecisionMixin
from latentsk.outliers._decisions import tail_threshold
from latentsk.outliers._default_embedder import default_embedder
from latentsk.outliers._detector_state import OPTIONAL, PARTS, REQUIRED, check_fit
from latentsk.outliers._explain import (
    distance_contributions,
    embedder_contributions,
    reasons_table,
    row_labels,
    without_cells,
)
from latentsk.outliers._fitted_parameters import (
    Descriptions,
    describe_parameters,
    require_unchanged,
)
from latentsk.outliers._gaussian import (
    effective_dimensions,
    squared_distances,
    squared_outside,
    squared_within,
)
from latentsk.outliers._image_input import flat_images, told_of_images
from latentsk.outliers._input import elements_per_row, rows_for_embedder
from latentsk.outliers._latent_rows import LatentRows
from latentsk.outliers._latent_view import view_of
from latentsk.outliers._magnitudes import measure_where_small, reject_huge_columns
from latentsk.outliers._neighborhood import SAMPLE_ROWS, Neighborhood, neighborhood_of
from latentsk.outliers._reference_rows import cells_of
from latentsk.outliers._robust_fit import RobustFit, fit_robustly
from latentsk.outliers._steps import split_steps
from latentsk.outliers._threshold_rule import ThresholdRule
from latentsk.outliers._unknown import filled_rows
from latentsk.persistence._registry import storable
from latentsk.preprocessing._table import is_mixed, mixed_table

# Mean squared residual per feature that is rounding, in squared standard deviations.
NO_RESIDUAL = 1e-10
# No row is called an outlier that is fewer deviations out.
LEAST_DEVIATIONS = 2.5
# Among clean rows, neighbours lead: the other parts have to be so much more extreme.
CLEAN_MARGIN = 1.0
# Number of values of rows that are embedded and measured at a time.
BLOCK_ELEMENTS = 2**23
# Parameters that every score rests on; `method` has its own message.
SCORE_PARAMETERS = ("assume_clean", "n_neighbors", "max_samples")
# Types that the default takes as they are; others become the first.
NUMBERS = [np.float64, np.float32, *map(np.dtype, "?bBhHiI")]
# The distances of rows that are too large to be embedded.
TOO_LARGE = np.full(len(scales.KINDS), np.inf)

# Squares of far-out rows are infinite, and their scores the lowest there are.
ignore_fp_warnings = partial(np.errstate, over="ignore", invalid="ignore")


@storable(REQUIRED, optional=OPTIONAL, check=check_fit)
class LatentOutlierDetector(StateMixin, DecisionMixin, BaseEstimator):
    """Detect outliers by all that a latent space knows of a row.

    Three parts judge each row: its *distance* from the centre within the latent space
    (Mahalanobis), its *residual* outside of it, and its *neighbors* in it, near by and
    on the whole. They are put on one scale, robust standard deviations of the logarithm
    of the training rows' own distances. A row is as abnormal as the most suspicious
    finds it: distance and residual joined, the neighbours near by, or those on the
    whole.

    Parameters
    ----------
    embedder : transformer or None, default=None
        The latent space: any object with `fit` and `transform`, a whole Pipeline
        included. A fitted one is used as it is; an unfitted one is cloned and fitted.
        Without an `inverse_transform` there is no residual. None: a
        :class:`RobustStandardizer` and a :class:`PCAEmbedder` with every component,
        which leaves no residual either (of more than 1,000 columns, the first 500
        components, where there are more than 1,000 rows; with "embedder_score": those
        of 99 % of the variance).
        Of a DataFrame with a column that holds no numbers, or with missing values,
        `preprocessor_` takes the standardizer's place.
        Rows are what an embedder takes: texts and sparse matrices, too, and arrays of
        images where it is an AutoencoderEmbedder or a VAEEmbedder, which is given flat
        rows, channels first, and their `input_shape`. Features are what enters a
        Pipeline's last step, standardized only where that, or a step before it, does
        so. Where they are sparse with more than 500 columns, or no numbers, the latents
        stand for them: there is no residual, and the embedder is fitted once, to all
        rows.

    method : {"auto", "distance", "residual", "neighbors", "embedder_score"}, \
default="auto"
        What the score is: all parts together, or one alone. "distance" and "residual"
        are minus the squared distance. "embedder_score" is the embedder's own
        `score_samples` (likelihood, ELBO, reconstruction), with decisions and reasons.

    assume_clean : bool, default=False
        False: some training rows may be outliers. Normal rows are found by
        concentration steps, and those far out set aside; centre, neighbours and, if it
        is PCAEmbedder, the embedder are those of the others (see Notes). True: every
        training row is normal; all are used, and the neighbours near by count most.

    n_neighbors : int, default=5
        Neighbours near by; all others where there are fewer.

    contamination : "auto" or float in (0, 0.5], default="auto"
        Where the threshold `offset_` lies. "auto": where about 1 % of normal scores, or
        fewer, lie below, by an exponential tail from the first quartile and the lowest
        twentieth of the scores of training rows that are presumed normal, and not above
        -2.5 for the methods "auto" and "neighbors"; with "embedder_score" at Kimber's
        lower fence of the scores, ``Q1 - 3 (Q2 - Q1)``, as embedders do. A float: such
        that this share of them lies below (the nearest share that ties allow, with a
        warning if that is another one). `set_threshold` and `calibrate` move it later.

    max_samples : int, default=5_000
        Largest number of training rows that serve as neighbours, for the common scale,
        and, where `embedder` is None, for the fit of the last step: a random subset, if
        there are more. The others are then scored as any other row.

    random_state : int, RandomState, Generator or None, default=None
        Draws subsamples of rows, and seeds what is random in an embedder to be fitted
        whose own `random_state` is None.

    Attributes
    ----------
    embedder_ : transformer
        The fitted embedder.

    preprocessor_ : ColumnTransformer or None
        What makes numbers of a DataFrame with a column that holds none, or with missing
        values, where `embedder` is None: see :func:`make_table_preprocessor`. It is the
        first step of `embedder_`. None where the rows of the fit were other ones.

    index_ : LatentIndex
        The latent vectors that neighbours are looked for among. Its ids are numbers of
        training rows.

    parts_ : list of str
        The parts that the embedder supports, of "distance", "residual", "neighbors".

    codes_ : dict of str to ndarray of shape (n_codes,)
        The values of each column, by its name, that are taken for codes of what is not
        known, such as -999, where the embedder begins with a RobustStandardizer, as the
        default does. A cell that holds one counts as the median of its column for the
        neighbours, and not at all for the distance.

    offset_ : float
        Scores below it are those of outliers.

    training_scores_ : ndarray of shape (n_samples,)
        Scores of the training rows (of `max_samples` of them, if there are more and
        ``contamination="auto"``), each as if it were new, in ascending order.

    calibration_scores_ : ndarray of shape (n_calibration,)
        Scores of the rows given to `calibrate`, in ascending order.

    n_features_in_ : int
        Number of columns, where rows have any.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where they are all strings.

    See Also
    --------
    PCAEmbedder, AutoencoderEmbedder, VAEEmbedder : Latent spaces.
    LatentIndex : Similar rows.

    Notes
    -----
    Normal rows are found by the concentration steps of the minimum covariance
    determinant (Rousseeuw and van Driessen, 1999) from three quarters of the rows,
    those nearest the median at first. Rows beyond a fence on the logarithms of the last
    distances are set aside. For PCAEmbedder this is done on its features, where they
    are at most 1,000, before the one fit; features with two values, or mostly one, are
    given, not judged. Any other embedder is fitted to three quarters of the rows, and
    again to those nearest the centre (with more features PCAEmbedder, too: three times
    more). The ridge of the covariance is, for PCAEmbedder, chosen by the likelihood of
    rows that are left out (Hoffbeck and Landgrebe, 1996), so that tight relations
    between features count.

    A row that equals a training row is scored as if that row had not been there: left
    out of its own neighbours and of the centre and covariance, its residual enlarged by
    its leverage. A row next to a training row is left out in part, by a weight that
    falls smoothly from 1 to 0 at a twentieth of the mean distance to its next
    neighbours. So ``fit_predict(X)`` equals ``fit(X).predict(X)``, rounding does not
    change a score, and training rows do not look more normal than new ones, unless they
    are few: the latent space itself stays as it is. Right beside the outermost training
    row the score can rise a little, as that row begins to count. Where a network has
    memorized its training rows, or with ``method="embedder_score"``, `calibrate` on
    others.

    Near by, "neighbors" is the mean of the `n_neighbors` smallest scaled distances
    ``d**1.5 / s**0.5``, with d the distance to a row and s the mean distance of that
    row to its own neighbours: the geometric mean of d and of d times the ratio that the
    local outlier factor (Breunig et al., 2000) is built on. On the whole, it is the
    expected distance to the nearest of 8 random rows (LeSiNN; Pang, Ting and Albrecht,
    2015), in closed form over 512 rows at most.

    References
    ----------
    M. Breunig, H.-P. Kriegel, R. Ng and J. Sander (2000). LOF: identifying
    density-based local outliers. SIGMOD, 93-104.

    J. P. Hoffbeck and D. A. Landgrebe (1996). Covariance matrix estimation and
    classification with limited training data. IEEE PAMI, 18(7), 763-767.

    G. Pang, K. M. Ting and D. Albrecht (2015). LeSiNN: Detecting anomalies by
    identifying least similar nearest neighbours. ICDM Workshops, 623-630.

    P. Rousseeuw and K. van Driessen (1999). A fast algorithm for the minimum covariance
    determinant estimator. Technometrics, 41(3), 212-223.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from latentsk import LatentOutlierDetector
    >>> X, y = load_digits(return_X_y=True)
    >>> zeros, ones = X[y == 0], X[y == 1]
    >>> detector = LatentOutlierDetector(assume_clean=True, random_state=0)
    >>> detector.fit(zeros[:100]).predict(ones[:5])
    array([-1, -1, -1, -1, -1])
    """

    _parameter_constraints: dict[str, Any] = {
        "embedder": [HasMethods(["fit", "transform"]), None],
        "method": [
            StrOptions({"auto", "distance", "residual", "neighbors", "embedder_score"})
        ],
        "assume_clean": ["boolean"],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "contamination": CONTAMINATION_CONSTRAINT,
        "max_samples": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state", np.random.Generator],
    }

    # What was fitted: rows as the embedder shows them, their Gaussian and neighbours,
    # and the scale of each kind of distance.
    _private_state = tuple(n for n in (*REQUIRED, *OPTIONAL) if n.startswith("_"))

    def __init__(
        self,
        embedder: Any = None,
        *,
        method: str = "auto",
        assume_clean: bool = False,
        n_neighbors: int = 5,
        contamination: str | float = "auto",
        max_samples: int = 5_000,
        random_state: RandomState = None,
    ) -> None:
        self.embedder = embedder
        self.method = method
        self.assume_clean = assume_clean
        self.n_neighbors = n_neighbors
        self.contamination = contamination
        self.max_samples = max_samples
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    @fork_safe
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit the latent space, what the parts need, and the threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows: at least 2, of any kind that the embedder takes. The default
            takes arrays of numbers, of which some may be missing, and DataFrames of
            numbers, categories, booleans and dates.

        y : None
            Ignored.

        Returns
        -------
        self : LatentOutlierDetector
            The fitted detector.

        Raises
        ------
        ValueError
            If `X` is not valid or has a magnitude above 1e100, or `method` is a part
            that the embedder does not support. The detector is then left as it was.

        TypeError
            If `embedder` is a class.

        Warns
        -----
        UserWarning
            If ties make the share of rows below the threshold differ from a
            `contamination` that is a number, by more than one row.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from latentsk import LatentOutlierDetector
        >>> X = load_wine().data
        >>> LatentOutlierDetector(random_state=0).fit(X).parts_
        ['distance', 'neighbors']
        """
        diagnosed = steps_diagnosed(self.embedder, X)
        with self._rollback_on_error(), ignore_fp_warnings(), diagnosed:
            X, layout = flat_images(self.embedder, X)
            given, X = X, self._validate(X, reset=True)
            names = getattr(self, "feature_names_in_", None)
            if layout is not None:
                names = layout.names_of_pixels
            reject_huge_columns(given, None if layout is None else names)
            self._reset()
            self._is_default = self.embedder is None
            embedder = told_of_images(self._resolve_embedder(X), layout)
            self._fit_reference(embedder, X, names, self._parameter_rule())
            self._score_name = self._asked_score()
            self._fitted_parameters = self._describe_parameters()
        return self

    @fork_safe
    def update(self, X: ArrayLike, y: None = None) -> Self:
        """Renew the rows that others are compared with; the embedder stays as it is.

        For a stream of rows: `X` is the window of recent rows that normal is to be
        learned from. Centre and covariance, neighbours, the common scale and the
        threshold become those of `X` alone, as if the detector was fitted to it with
        the embedder that it has, whose preprocessor, codes of missing values included,
        stays as it is, too. That takes no training, and forgets the rows before.

        What was last asked of the threshold is applied to `X`: "auto", a share
        (`contamination`) or a number (`n_alerts`) of outliers, the last two by the
        scores of all rows. An `offset_` that you have assigned stays. The rows of
        `calibrate` are dropped, since their scores have changed: calibrate on others
        that are recent. Where the threshold rests on such rows (`fpr`, `p_value`),
        there is none until then.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least 2 rows, with the columns of the fit. Some may be outliers, unless
            ``assume_clean=True``.

        y : None
            Ignored.

        Returns
        -------
        self : LatentOutlierDetector
            The detector.

        Raises
        ------
        NotFittedError
            If the detector is not fitted.

        ValueError
            If `X` is not valid or has a magnitude above 1e100, a parameter was changed
            after the fit, or there are too few rows for `n_alerts`. The detector is
            then left as it was.

        Warns
        -----
        UserWarning
            As for `set_threshold`.

        See Also
        --------
        PCAEmbedder.partial_fit : An embedder that follows a stream, too.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import LatentOutlierDetector
        >>> X = np.random.default_rng(0).normal(size=(400, 3))
        >>> detector = LatentOutlierDetector(random_state=0).fit(X[:200])
        >>> later = X[200:] + 9  # what is normal has moved
        >>> int(sum(detector.predict(later) == -1))
        200
        >>> int(sum(detector.update(later).predict(later) == -1))
        0
        """
        check_is_fitted(self)
        with self._rollback_on_error(), ignore_fp_warnings(), self._diagnosed(X):
            given = self._flat(X)
            X = self._validate_for_score(given)
            reject_huge_columns(given)
            self._require_contamination()
            if _num_samples(X) < 2:
                raise ValueError(
                    f"update needs at least 2 rows, got {_num_samples(X)}."
                )
            rule, names = self._rule(), getattr(self, "feature_names_in_", None)
            if self._view.has_original_features:
                names = self._view.feature_names
            self._drop("calibration_scores_", "_reference_rows")
            self._fit_reference(self._view.given, X, names, rule)
        return self

    @fork_safe
    def score_samples(self, X: ArrayLike) -> Float64:
        """Score how normal each row is.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Higher = more normal. A row's score depends on that row alone, up to
            rounding. With ``method="auto"`` or "neighbors", minus the robust standard
            deviations that the row lies above a typical training row: 0 is typical, -3
            is far out. With "distance" and "residual", minus the squared distance, in
            no unit. With "embedder_score", in the unit of the embedder's score. Rows
            with a magnitude above 1e100 have the lowest finite score.

        Raises
        ------
        NotFittedError
            If the detector is not fitted.

        ValueError
            If `X` is not valid, or a parameter that the score rests on (any but
            `contamination` and `random_state`) was changed after the fit.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from latentsk import LatentOutlierDetector
        >>> X = load_wine().data
        >>> detector = LatentOutlierDetector(random_state=0).fit(X)
        >>> detector.score_samples(X[:3] + [[0], [1], [100]]).round(1)
        array([ -0.5,  -7.9, -37.3])
        """
        return self._validated_scores(X, "score_samples")

    @fork_safe
    def score_parts(self, X: ArrayLike) -> pd.DataFrame:
        """Score rows by everything that is measured, on the common scale.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : DataFrame of n_samples rows
            Minus robust standard deviations above a typical training row. Columns:
            "distance" and, if it is one of `parts_`, "residual"; "joint", both
            together; "near" and "overall", the neighbours near by and on the whole.
            With ``assume_clean=True``, all but "near" are 1 higher. The lower of the
            last two is the score with ``method="neighbors"``, the lowest of the last
            three that with "auto". The index is that of `X`, if it has one.

        Raises
        ------
        NotFittedError
            If the detector is not fitted.

        ValueError
            If `X` is not valid, or a parameter that the parts rest on was changed after
            the fit.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from latentsk import LatentOutlierDetector, PCAEmbedder
        >>> X = load_wine().data
        >>> embedder = make_pipeline(StandardScaler(), PCAEmbedder(3))
        >>> detector = LatentOutlierDetector(embedder, random_state=0).fit(X)
        >>> detector.score_parts(X[:1] + 3).round(1)
           distance  residual  joint  near  overall
        0      -7.9     -10.4  -11.6  -8.5     -8.0
        """
        check_is_fitted(self)
        self._require_unchanged()
        index = row_ids(X)
        X = self._validate(X, reset=False)
        with ignore_fp_warnings(), self._diagnosed(X):
            distances = self._by_blocks(X, self._measure, TOO_LARGE)
            found = scales.deviations(distances, self._scale)
        scores = pd.DataFrame(scales.clip_to_finite(-found), index, list(scales.KINDS))
        return scores if "residual" in self.parts_ else scores.drop(columns="residual")

    @fork_safe
    def explain(
        self, X: ArrayLike, *, n_nearest: int = 1, labels: ArrayLike | None = None
    ) -> pd.DataFrame:
        """Split the score of each row among its features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to explain.

        n_nearest : int, default=1
            How many of the nearest presumed normal rows to put beside each.

        labels : array-like of shape (n_samples,) or None, default=None
            Labels of the rows, such as ids. None: the index of a DataFrame, else row
            numbers.

        Returns
        -------
        reasons : DataFrame of n_samples * n_features rows
            Index: "row" (`labels`) and "feature".
            Columns: "contribution", whose sum over the features of a row is
            `score_samples`; "part", what the score is: `method`, or what speaks most
            against the row ("near", "overall" or "joint", see below); "is_code",
            whether the cell is one of `codes_` (where there are any); "value";
            "reconstructed", as the latent space sees it, codes and missing values
            included (where "residual" is one of `parts_`); "nearest_1" and so on, the
            same feature of the nearest presumed normal training rows that the fit's own
            threshold does not call outliers (itself left out).
            Features and values are the columns and cells of `X` where each feature that
            enters the embedder comes from one column, by scaling, encoding, imputation,
            selection, or a ColumnTransformer of such: what the features of a column
            contribute is added up. Else they are those that enter the embedder. Columns
            that have no way back are NaN in "reconstructed". Pixels of images are named
            by row, column and, if there are several, channel: "(12, 7, 0)".

        Raises
        ------
        NotFittedError
            If the detector is not fitted.

        ValueError
            If `X`, `n_nearest` or `labels` is not valid, `X` has a magnitude above
            1e100, a parameter was changed as for `score_samples`, or the score is the
            KL divergence of a VAEEmbedder, which is no sum over features.

        Notes
        -----
        "residual": minus the squared residual of each feature, in squared standard
        deviations. "distance": by corr-max rotation (Garthwaite and Koch, 2016) of
        the whitened latents, which keeps their length and brings each to a feature of
        its own. "joint" (both together, as ``method="auto"`` measures them): as these
        two. "near" and "overall", the neighbours near by and on the whole: by the
        squared differences between the row and them, in standard deviations of each
        feature. Where the score is calibrated, it is shared in proportion.
        "embedder_score": for the embedders of this package, the terms of their score
        (see `score_contributions` there); for others, in proportion to how much the
        score rises when the feature is replaced by that of the nearest row.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from latentsk import LatentOutlierDetector
        >>> X, y = load_wine(return_X_y=True, as_frame=True)
        >>> detector = LatentOutlierDetector(assume_clean=True, random_state=0)
        >>> reasons = detector.fit(X[y == 0]).explain(X[y == 1][:1])
        >>> reasons.loc[59, "contribution"].nsmallest(2).round(1)
        feature
        flavanoids   -2.2
        ash          -1.6
        Name: contribution, dtype: float64
        """
        if not isinstance(n_nearest, Integral) or n_nearest < 0:
            raise ValueError(f"n_nearest must be an integer >= 0, got {n_nearest!r}.")
        check_is_fitted(self)
        given = self._flat(X)
        X = self._validate_for_score(given)
        reject_huge_columns(given)
        labels = row_labels(labels, given, _num_samples(X))
        with ignore_fp_warnings(), self._diagnosed(X):
            columns = self._reasons(X, int(n_nearest))
        return reasons_table(labels, self._view.feature_names, columns)

    def _reasons(self, X: Any, n_nearest: int) -> dict[str, NDArray[Any]]:
        """Return the columns of the reasons, of shape (n_rows, n_features) each."""
        view = self._view
        rows = view.rows(X)
        imputed, filled = self._filled(rows)
        parts, kinds = self._contributions(rows, imputed, filled)
        contributions = view.by_name(parts)
        columns: dict[str, NDArray[Any]] = {
            "contribution": contributions,
            "part": np.broadcast_to(kinds[:, None], contributions.shape),
        }
        if self.codes_:
            columns["is_code"] = view.is_code(X)
        columns["value"] = view.cells(X, rows)
        if "residual" in self.parts_ and rows.residuals is not None:
            columns["reconstructed"] = view.reconstructed(rows, columns["value"])
        positions = self._neighborhood.nearest_examples(imputed.latents, n_nearest)
        for rank, nearest in enumerate(positions, 1):
            columns[f"nearest_{rank}"] = self._reference_cells(nearest)
        return columns

    def _reference_cells(self, positions: Positions) -> NDArray[Any]:
        """Return cells of training rows that others are compared with."""
        if hasattr(self, "_reference_rows"):
            return cells_of(self._reference_rows.iloc[positions])
        return self._view.shown(self._neighborhood.features[positions])

    @property
    def codes_(self) -> dict[str, Float64]:
        """Values of each column that the default embedder takes for codes."""
        check_is_fitted(self)
        return self._view.codes(getattr(self, "feature_names_in_", None))

    @property
    def preprocessor_(self) -> ColumnTransformer | None:
        """The default preprocessor, where the rows of the fit needed one."""
        check_is_fitted(self)
        first = self._view.first_step
        is_table = self._is_default and isinstance(first, ColumnTransformer)
        return first if is_table else None

    @property
    def embedder_(self) -> Any:
        """The fitted embedder."""
        check_is_fitted(self)
        return self._view.given

    @property
    def index_(self) -> LatentIndex:
        """The latent vectors that neighbours are looked for among."""
        check_is_fitted(self)
        return self._neighborhood.latent_index

    # Validation

    def _validate(self, X: Any, *, reset: bool) -> Any:
        least = 2 if reset else 1
        if not reset:
            reject_row(self, X)
        if not (self.embedder is None if reset else self._is_default):
            X = X if reset else self._flat(X)
            return rows_for_embedder(self, X, reset=reset, least=least)
        preprocessor = None if reset else self.preprocessor_
        if is_mixed(X) if reset else preprocessor is not None:
            X = mixed_table(X, preprocessor)
            return rows_for_embedder(self, X, reset=reset, least=least)
        return validated(
            self,
            on_host(X),
            reset=reset,
            dtype=NUMBERS,
            ensure_all_finite="allow-nan",
            ensure_min_samples=least,
        )

    def _flat(self, X: Any) -> Any:
        """Return images as flat rows, where the embedder takes images."""
        return X if self._is_default else flat_images(self._view.given, X)[0]

    def _diagnosed(self, X: Any) -> AbstractContextManager[None]:
        """Let an error about rows say where, and which step has made it."""
        return steps_diagnosed(self._view.given, X)

    def _validate_for_score(self, X: Any) -> Any:
        """Check that the score is the one that was fitted, and the rows."""
        self._require_scorable()
        return self._validate(X, reset=False)

    def _require_scorable(self) -> None:
        """Refuse a score that is not the one that was fitted."""
        check_is_fitted(self)
        self._validate_params()
        if self._asked_score() != self._score_name:
            raise ValueError(
                f"The score was {self._score_name!r} when the detector was fitted, and "
                f"is now {self._asked_score()!r}. Fit it again, or see score_parts."
            )
        self._require_unchanged()

    def _asked_score(self) -> str:
        """Return the name of the score that is asked for."""
        name = score_name(self._view.last_step)
        if self.method != "embedder_score" or name is None:
            return self.method
        return f"{self.method}: {name}"

    def _describe_parameters(self) -> Descriptions:
        return describe_parameters(self, SCORE_PARAMETERS, self._view.given)

    def _require_unchanged(self) -> None:
        fitted = getattr(self, "_fitted_parameters", {})
        require_unchanged(fitted, self._describe_parameters() if fitted else {})

    # Fitting

    def _resolve_embedder(self, X: Any) -> Any:
        """Return the embedder that is given, or the default one for such rows."""
        if self.embedder is None:
            n_rows = min(_num_samples(X), self.max_samples)
            return default_embedder(X, n_rows, self.method == "embedder_score")
        has_score = hasattr(split_steps(self.embedder)[1], "score_samples")
        if self.method == "embedder_score" and not has_score:
            raise ValueError(
                "method='embedder_score' needs an embedder with score_samples, got "
                f"{self.embedder!r}."
            )
        return self.embedder

    def _fit_reference(
        self, embedder: Any, X: Any, names: Any, rule: ThresholdRule
    ) -> None:
        """Fit all but the embedder to rows, and that too unless it is fitted."""
        generator = numpy_generator(self.random_state)
        everything = np.arange(_num_samples(X))
        some = some_positions(len(everything), self.max_samples, generator)
        chosen = some if self._is_default else everything
        fit = fit_robustly(embedder, X, chosen, self.assume_clean, generator)
        self._gaussian = fit.gaussian
        self._view = view_of(fit.embedder, X, chosen, fit.rows, names)
        if self.method == "residual":
            self._view.require_features("method='residual'")
        self._neighborhood = self._fit_neighbors(fit, chosen, generator)
        kept = np.asarray(self._neighborhood.latent_index.ids_)
        cells = self._view.kept_cells(X, fit.rows, kept)
        if cells is not None:
            self._reference_rows = cells
        normal = chosen[fit.normal]
        del fit
        self._fit_scale(X, some, normal, rule)

    def _fit_neighbors(
        self, fit: RobustFit, chosen: Positions, generator: Generator
    ) -> Neighborhood:
        """Index the normal rows among the chosen ones, or a subset of them."""
        kept = fit.normal
        kept = kept[some_positions(len(kept), self.max_samples, generator)]
        return neighborhood_of(
            fit.rows.latents[kept],
            fit.rows.features[kept],
            fit.distances[kept],
            np.isin(kept, fit.support),
            squared_distances(fit.rows.latents[kept], fit.gaussian),
            chosen[kept],
            self.n_neighbors,
        )

    def _fit_scale(
        self, X: Any, some: Positions, normal: Positions, rule: ThresholdRule
    ) -> None:
        """Set the scale of each kind of distance, which parts there are, the offset.

        All by some rows, of which those at the positions `normal` are presumed normal.
        """
        n_rows, n_features = _num_samples(X), len(self._view.scale)
        sample = _safe_indexing(X, some)
        distances = self._by_blocks(sample, self._measure, TOO_LARGE)
        margin = CLEAN_MARGIN if self.assume_clean else 0.0
        n_dimensions = effective_dimensions(self._gaussian)
        self._scale = scales.scale_of_kinds(distances, margin, n_dimensions)
        residuals = distances[:, scales.KINDS.index("residual")]
        keeps_everything = np.median(residuals) <= NO_RESIDUAL * n_features
        self.parts_ = [p for p in PARTS if p != "residual" or not keeps_everything]
        if self.method == "residual" and keeps_everything:
            raise ValueError(
                "method='residual' needs an embedder that has inverse_transform and "
                f"does not keep every component; of n_features={n_features}, this one "
                "leaves nothing out."
            )
        every_row_counts = rule.needs_every_row and n_rows > self.max_samples
        if self.method == "embedder_score":
            scores = self._score(sample)
        else:
            scores, _ = scales.score_of(self.method, distances, self._scale)
        typical = scores[np.isin(some, normal)]
        if every_row_counts:
            some, scores = np.arange(n_rows), self._score(X)
        self._set_training_scores(scores, typical, rule)
        self._choose_examples(X, some, scores)

    def _choose_examples(self, X: Any, some: Positions, scores: Float64) -> None:
        """Let rows be shown as normal that are no outliers, by the scores of some."""
        kept = np.asarray(self._neighborhood.latent_index.ids_)
        found = pd.Series(scores, some).reindex(kept).to_numpy(copy=True)
        rest = ~np.isin(kept, some)
        if rest.any():
            found[rest] = self._score(_safe_indexing(X, kept[rest]))
        threshold = getattr(self, "offset_", self._normal_offset)
        self._neighborhood = self._neighborhood.with_examples(found >= threshold)

    def _auto_offset(self, scores: ArrayLike) -> float:
        if self.method == "embedder_score":
            return lower_fence(scores)  # as the embedder itself does
        threshold = tail_threshold(scores)
        is_in_deviations = len(scales.METHODS.get(self.method, ())) > 1
        return min(threshold, -LEAST_DEVIATIONS) if is_in_deviations else threshold

    # Scoring

    def _measure(self, X: Any) -> Float64:
        return self._distances(*self._filled(self._view.rows(X)))

    def _filled(self, rows: LatentRows) -> tuple[LatentRows, LatentRows]:
        unknown = self._view.unknown(rows.features)
        return filled_rows(rows, unknown, self._gaussian)

    def _distances(self, imputed: LatentRows, filled: LatentRows) -> Float64:
        """Return a column for each of KINDS, of rows as `_filled` returns them."""
        gaussian, measured = self._gaussian, self._neighborhood.measure(imputed.latents)
        among = measured.in_support, measured.own
        within = squared_within(filled, gaussian, *among)
        outside = squared_outside(filled, gaussian, *among)
        joint = within + outside / gaussian.noise
        return np.column_stack(
            [within, outside, joint, measured.local, measured.global_]
        )

    def _validated_scores(self, X: Any, method: str) -> Float64:
        X = self._validate_for_score(X)
        if method in USING_THRESHOLD:
            self._require_contamination()
        with ignore_fp_warnings(), self._diagnosed(X):
            return self._score(X)

    def _score(self, X: Any) -> Float64:
        return self._by_blocks(X, self._score_block, scales.LOWEST)

    def _score_block(self, X: Any) -> Float64:
        if self.method == "embedder_score":
            return np.maximum(self._view.embedder_scores(X), scales.LOWEST)
        return scales.score_of(self.method, self._measure(X), self._scale)[0]

    def _by_blocks(
        self, X: Any, measure: Callable[[Any], Float64], otherwise: ArrayLike
    ) -> Float64:
        """Measure rows a block at a time, for bounded memory."""
        # Rows are measured against those of a sample, too.
        elements = max(elements_per_row(X, len(self._view.scale)), SAMPLE_ROWS)
        size = max(1, BLOCK_ELEMENTS // elements)
        blocks = (_safe_indexing(X, b) for b in gen_batches(_num_samples(X), size))
        return np.concatenate(
            [measure_where_small(block, measure, otherwise) for block in blocks]
        )

    def _contributions(
        self, rows: LatentRows, imputed: LatentRows, filled: LatentRows
    ) -> tuple[Float64, NDArray[np.str_]]:
        """Return contributions, and the kind of distance that each row's score is."""
        if self.method == "embedder_score":
            self._view.require_features("explain with method='embedder_score'")
            contributions = embedder_contributions(
                self._view.last_step, rows, self._neighborhood
            )
            return contributions, np.full(len(contributions), self.method)
        distances = self._distances(imputed, filled)
        scores, kinds = scales.score_of(self.method, distances, self._scale)
        contributions = distance_contributions(
            scores, kinds, imputed, filled, self._gaussian, self._neighborhood
        )
        unknown = self._view.unknown(rows.features)
        if unknown is not None:
            is_near = np.isin(kinds, ("near", "overall"))[:, None]
            cells = np.where(is_near, unknown.missing, unknown.cells)
            contributions = without_cells(contributions, cells)
        return contributions, kinds

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if isinstance(self.embedder, BaseEstimator):
            tags.input_tags = get_tags(self.embedder).input_tags
        tags.input_tags.allow_nan |= self.embedder is None
        return tags
