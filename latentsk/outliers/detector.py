"""Outliers by all that a latent space knows of rows."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing, gen_batches, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted

from latentsk._device import on_host
from latentsk._random import RandomState, numpy_generator
from latentsk._state import StateMixin
from latentsk._threshold import CONTAMINATION_CONSTRAINT, ThresholdMixin
from latentsk._typing import Float64, Positions
from latentsk._validation import checked, validated
from latentsk.embedders import PCAEmbedder
from latentsk.index import LatentIndex
from latentsk.index._embedding import is_fitted_embedder
from latentsk.outliers.calibration import Scale, calibrated, scale_of
from latentsk.outliers.concentration import (
    REFERENCE_SHARE,
    Bulk,
    bulk_of,
    concentrate,
    distances_from,
    nearest_rows,
    squared_residuals,
    squared_within,
)
from latentsk.outliers.decisions import DecisionsMixin
from latentsk.outliers.ellipsoid import Ellipsoid
from latentsk.outliers.latent_space import Coordinates, coordinates, numeric
from latentsk.outliers.neighborhood import Neighborhood
from latentsk.outliers.reasons import ReasonsMixin, loadings
from latentsk.outliers.row_keys import row_keys
from latentsk.outliers.steps import (
    fitted_to_some,
    joined,
    prepared,
    seeded,
    split_steps,
)

# What is measured: squared distances within and outside the latent space and both in
# one; distances to neighbours near by, and on the whole.
KINDS = ("distance", "residual", "joint", "near", "overall")
PARTS = ("distance", "residual", "neighbors")
# Mean squared residual per feature that is rounding, in squared standard deviations.
NO_RESIDUAL = 1e-10
# Concentration steps: a fit of PCA is a matter of milliseconds, a training is not.
PCA_STEPS, OTHER_STEPS = 3, 1
# Among clean rows, neighbours lead: the other parts have to be so much more extreme.
CLEAN_MARGIN = 1.0
# Squares of far-out rows are infinite, and their scores the lowest there are.
_QUIET: dict[str, Any] = {"over": "ignore", "invalid": "ignore"}
# Values of rows that are embedded and measured at a time.
BLOCK_ELEMENTS = 2**23


class LatentOutlierDetector(
    StateMixin, ThresholdMixin, DecisionsMixin, ReasonsMixin, BaseEstimator
):
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
        Without an `inverse_transform` there is no residual. None: a StandardScaler and
        a :class:`PCAEmbedder` with every component, which leaves no residual either
        (with "embedder_score": with 99 % of the variance).
        What enters the embedder (a Pipeline's last step) must be numbers. Features are
        standardized only where the embedder, or a step before it, does so.

    method : {"auto", "distance", "residual", "neighbors", "embedder_score"}, \
default="auto"
        What the score is: all parts together, or one alone. "distance" and "residual"
        are minus the squared distance. "embedder_score" is the embedder's own
        `score_samples` (likelihood, ELBO, reconstruction), with decisions and reasons.

    assume_clean : bool, default=False
        False: some training rows may be outliers. The embedder and the centre are
        fitted to the three quarters of rows that lie nearest the median, then again to
        those nearest the centre (three times for PCAEmbedder, once for others), and
        neighbours are looked for among the nearest nine tenths. True: every training
        row is normal; all are used, and the neighbours near by count most.

    n_neighbors : int, default=5
        Neighbours near by; all others where there are fewer.

    contamination : "auto" or float in (0, 0.5], default="auto"
        Where the threshold `offset_` lies: at Kimber's lower fence of the training
        rows' scores, ``Q1 - 3 (Q2 - Q1)``, or such that this share of them lies below.
        `set_threshold` and `calibrate` move it later.

    max_samples : int, default=20_000
        Of more training rows than this, a random subset serves as neighbours, and for
        the common scale. The others are then scored as any other row.

    random_state : int, RandomState, Generator or None, default=None
        Draws subsamples of rows, and seeds what is random in an embedder to be fitted
        whose own `random_state` is None.

    Attributes
    ----------
    embedder_ : transformer
        The fitted embedder.

    index_ : LatentIndex
        The latent vectors that neighbours are looked for among. Its ids are numbers of
        training rows.

    parts_ : list of str
        The parts that the embedder supports, of "distance", "residual", "neighbors".

    offset_ : float
        Scores below it are those of outliers.

    training_scores_ : ndarray of shape (n_samples,)
        Scores of the training rows (of `max_samples` of them, if there are more and
        ``contamination="auto"``), each as if it were new, in ascending order.

    calibration_scores_ : ndarray of shape (n_calibration,)
        Scores of the rows given to `calibrate`, in ascending order.

    n_features_in_ : int
        Number of features.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where they are all strings.

    See Also
    --------
    PCAEmbedder, AutoencoderEmbedder, VAEEmbedder : Latent spaces.
    LatentIndex : Similar rows.

    Notes
    -----
    A row that equals a training row is scored as if that row had not been there: left
    out of its own neighbours and of the centre and covariance, its residual enlarged by
    its leverage. So ``fit_predict(X)`` equals ``fit(X).predict(X)``, and training rows
    do not look more normal than new ones, unless they are few: what is near its
    neighbours, and the latent space itself, stay as they are. Where a network has
    learned its training rows by heart, or with ``method="embedder_score"``, `calibrate`
    on others.

    Near by, "neighbors" is the mean distance to `n_neighbors` rows, weighed by how
    close together these are, as in the local outlier factor (Breunig et al., 2000). On
    the whole, it is the distance to the nearest of 8 random rows, as a mean over 100
    draws (LeSiNN; Pang, Ting and Albrecht, 2015).

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

    _private_state = (
        "_offset_score_method",
        "_fitted_as",
        "_is_default",
        "_is_seen",
        "_features_are_original",
        "_margin",
        "_scale",
        "_centre",
        "_axes",
        "_variances",
        "_ridge",
        "_n_rows",
        "_noise",
        "_loadings",
        "_neighborhood",
        "_reference_keys",
        "_reference_is_core",
        "_reference_features",
        "_scales",
    )

    def __init__(
        self,
        embedder: Any = None,
        *,
        method: str = "auto",
        assume_clean: bool = False,
        n_neighbors: int = 5,
        contamination: str | float = "auto",
        max_samples: int = 20_000,
        random_state: RandomState = None,
    ) -> None:
        self.embedder = embedder
        self.method = method
        self.assume_clean = assume_clean
        self.n_neighbors = n_neighbors
        self.contamination = contamination
        self.max_samples = max_samples
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit the latent space, what the parts need, and the threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows: at least 2.

        y : None
            Ignored.

        Returns
        -------
        self : LatentOutlierDetector
            The fitted detector.

        Raises
        ------
        ValueError
            If `X` is not valid, or `method` is a part that the embedder does not
            support. The detector is then left as it was.

        TypeError
            If `embedder` is a class.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from latentsk import LatentOutlierDetector
        >>> X = load_wine().data
        >>> LatentOutlierDetector(random_state=0).fit(X).parts_
        ['distance', 'neighbors']
        """
        with self._rollback_on_error(), np.errstate(**_QUIET):
            X = self._checked(X, reset=True)
            self._reset()
            self._is_default = self.embedder is None
            generator = numpy_generator(self.random_state)
            self._margin = CLEAN_MARGIN if self.assume_clean else 0.0
            rows, core = self._fit_embedder(X, generator)
            self._fitted_as = self._asked()
            self._features_are_original = self._undoes(X, rows)
            self._set_bulk(rows.at(core))
            self._fit_neighbors(X, rows, core, generator)
            self._fit_scales(X, generator)
        return self

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
            no unit. With "embedder_score", in the unit of the embedder's score.

        Raises
        ------
        NotFittedError
            If the detector is not fitted.

        ValueError
            If `X` is not valid, or `method` was changed after the fit.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from latentsk import LatentOutlierDetector
        >>> X = load_wine().data
        >>> detector = LatentOutlierDetector(random_state=0).fit(X)
        >>> detector.score_samples(X[:3] + [[0], [1], [100]]).round(1)
        array([ -0.3,  -8.3, -36.7])
        """
        return self._validated_scores(X, "score_samples")

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
            If `X` is not valid.

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
        0      -8.3      -9.0  -10.8  -9.7    -11.3
        """
        check_is_fitted(self)
        index = X.index if isinstance(X, pd.DataFrame) else None
        checked_rows = self._checked(X, reset=False)
        with np.errstate(**_QUIET):
            found = self._deviations(self._blockwise(checked_rows, self._distances))
        shown = [k for k in KINDS if k != "residual" or k in self.parts_]
        return pd.DataFrame({kind: -found[kind] for kind in shown}, index=index)

    @property
    def index_(self) -> LatentIndex:
        """The latent vectors that neighbours are looked for among."""
        check_is_fitted(self)
        return self._neighborhood.index_

    # Fitting

    def _checked(self, X: Any, *, reset: bool) -> Any:
        X, least = on_host(X), 2 if reset else 1
        if self.embedder is None if reset else self._is_default:
            return validated(
                self, X, reset=reset, dtype=np.float64, ensure_min_samples=least
            )
        # What rows may hold (text, missing values) is for the embedder to say.
        if not isinstance(X, pd.DataFrame):
            X = checked(
                X, dtype=None, ensure_all_finite=False, ensure_min_samples=least
            )
        return validated(self, X, reset=reset, skip_check_array=True)

    def _fit_embedder(
        self, X: Any, generator: np.random.Generator
    ) -> tuple[Coordinates, Positions]:
        """Set `embedder_`; return the training rows' coordinates and the core."""
        given, fitted = self._given_embedder()
        head, tail = split_steps(given if fitted else seeded(clone(given), generator))
        if head is not None and not fitted:
            head.fit(X)
        rows = prepared(head, X)
        features = numeric(rows)
        self._scale = StandardScaler().fit(features).scale_
        known = coordinates(tail, rows, self._scale) if fitted else None

        def fit(numbers: Positions) -> Coordinates:
            nonlocal tail
            if known is not None:
                return known
            tail = fitted_to_some(tail, _safe_indexing(rows, numbers), len(features))
            return coordinates(tail, rows, self._scale)

        steps = PCA_STEPS if isinstance(tail, PCAEmbedder) else OTHER_STEPS
        self._is_seen = not fitted
        steps = 0 if self.assume_clean else steps
        found = concentrate(fit, features, steps, self._is_seen)
        self.embedder_ = given if fitted else joined(given, head, tail)
        return found

    def _given_embedder(self) -> tuple[Any, bool]:
        """Return the embedder, or the default one, and whether it is fitted."""
        given = self.embedder
        if given is None:
            # A likelihood has no meaning along directions without variance.
            n_components = "auto" if self.method == "embedder_score" else None
            return make_pipeline(StandardScaler(), PCAEmbedder(n_components)), False
        fitted = is_fitted_embedder(given)
        scores = hasattr(split_steps(given)[1], "score_samples")
        if self.method == "embedder_score" and not scores:
            raise ValueError(
                "method='embedder_score' needs an embedder with score_samples, got "
                f"{given!r}."
            )
        return given, fitted

    def _set_bulk(self, core: Coordinates) -> None:
        bulk = bulk_of(core)
        for name, value in zip(Ellipsoid._fields, bulk.ellipsoid, strict=True):
            setattr(self, f"_{name}", value)
        self._noise = bulk.noise
        _, tail = split_steps(self.embedder_)
        self._loadings = loadings(tail, core, bulk.ellipsoid)

    def _bulk(self) -> Bulk:
        fields = (getattr(self, f"_{name}") for name in Ellipsoid._fields)
        return Bulk(Ellipsoid(*fields), self._noise)

    def _fit_neighbors(
        self, X: Any, rows: Coordinates, core: Positions, generator: np.random.Generator
    ) -> None:
        reference = np.arange(len(rows.latents))
        if not self.assume_clean:
            distances = distances_from(rows, core, self._is_seen)
            reference = nearest_rows(distances, REFERENCE_SHARE)
        reference = reference[_some(len(reference), self.max_samples, generator)]
        self._reference_is_core = np.isin(reference, core)
        self._reference_features = rows.features[reference]
        self._reference_keys = row_keys(_safe_indexing(X, reference))
        self._neighborhood = Neighborhood(self.n_neighbors).fit(
            rows.latents[reference], reference, generator
        )

    def _fit_scales(self, X: Any, generator: np.random.Generator) -> None:
        """Set the scale of each kind of distance, which parts there are, the offset."""
        n_rows = _num_samples(X)
        some = _safe_indexing(X, _some(n_rows, self.max_samples, generator))
        distances = self._blockwise(some, self._distances)
        self._scales = [list(scale_of(column)) for column in distances.T]
        residuals = distances[:, KINDS.index("residual")]
        everything_kept = np.median(residuals) <= NO_RESIDUAL * len(self._scale)
        self.parts_ = [p for p in PARTS if p != "residual" or not everything_kept]
        if self.method == "residual" and everything_kept:
            raise ValueError(
                "method='residual' needs an embedder that has inverse_transform and "
                "does not keep every component; of n_features="
                f"{len(self._scale)}, this one leaves nothing out."
            )
        every_row_counts = self.contamination != "auto" and n_rows > self.max_samples
        if self.method == "embedder_score" or every_row_counts:
            scores = self._scores(X if every_row_counts else some)
        else:
            scores = self._scores_of(distances)
        self.training_scores_ = np.sort(scores)
        self._set_offset(self.training_scores_)

    # Scoring

    def _validated_scores(self, X: Any, method: str) -> Float64:
        ready = self._ready(X)
        with np.errstate(**_QUIET):
            return self._scores(ready)

    def _ready(self, X: Any) -> Any:
        """Check that this detector can score rows, and the rows."""
        check_is_fitted(self)
        self._validate_params()
        if self._asked() != self._fitted_as:
            raise ValueError(
                f"The score was {self._fitted_as!r} when the detector was fitted, and "
                f"is now {self._asked()!r}. Fit it again, or see score_parts."
            )
        return self._checked(X, reset=False)

    def _asked(self) -> str:
        """Return the name of the score that is asked for."""
        _, tail = split_steps(self.embedder_)
        name = getattr(tail, "score_method", None)
        if self.method != "embedder_score" or name is None:
            return self.method
        return f"{self.method}: {name}"

    def _scores(self, X: Any) -> Float64:
        if self.method == "embedder_score":
            return np.asarray(self.embedder_.score_samples(X), np.float64)
        return self._blockwise(X, lambda block: self._scores_of(self._distances(block)))

    def _blockwise(self, X: Any, measure: Callable[[Any], Float64]) -> Float64:
        """Measure rows a block at a time, for bounded memory."""
        size = max(1, BLOCK_ELEMENTS // len(self._scale))
        n_rows = _num_samples(X)
        if n_rows <= size:
            return measure(X)
        blocks = gen_batches(n_rows, size)
        return np.concatenate([measure(_safe_indexing(X, block)) for block in blocks])

    def _distances(self, X: Any) -> Float64:
        """Return a column for each of KINDS."""
        return self._measured(*self._embedded(X))

    def _measured(self, rows: Coordinates, own: Positions) -> Float64:
        bulk = self._bulk()
        is_core = (own >= 0) & self._reference_is_core[own]
        within = squared_within(rows, bulk, is_core)
        outside = squared_residuals(rows, bulk, is_core & self._is_seen)
        near, overall = self._neighborhood.distances(rows.latents, own)
        joint = within + outside / bulk.noise
        return np.column_stack([within, outside, joint, near, overall])

    def _embedded(self, X: Any) -> tuple[Coordinates, Positions]:
        head, tail = split_steps(self.embedder_)
        return coordinates(tail, prepared(head, X), self._scale), self._own(X)

    def _own(self, X: Any) -> Positions:
        """Return which of the rows among the neighbours each row equals, or -1."""
        known = pd.Series(np.arange(len(self._reference_keys)), self._reference_keys)
        known = known[~known.index.duplicated()]
        return known.reindex(row_keys(X), fill_value=-1).to_numpy()

    def _deviations(self, distances: Float64) -> dict[str, Float64]:
        """Return robust standard deviations above a typical training row.

        Less the margin that all but the neighbours near by must be ahead.
        """
        columns = zip(KINDS, distances.T, self._scales, strict=True)
        found = {
            kind: calibrated(d, Scale(*scale)) - (kind != "near") * self._margin
            for kind, d, scale in columns
        }
        found["neighbors"] = np.maximum(found["near"], found["overall"])
        found["auto"] = np.maximum(found["neighbors"], found["joint"])
        return found

    def _scores_of(self, distances: Float64) -> Float64:
        if self.method in ("distance", "residual"):
            return _finite(-distances[:, KINDS.index(self.method)])
        return _finite(-self._deviations(distances)[self.method])

    def _leading_kinds(self, distances: Float64) -> NDArray[np.str_]:
        """Return what each row's score is: the kind of distance that it stems from."""
        if self.method not in ("auto", "neighbors"):
            return np.full(len(distances), self.method)
        kinds = ["near", "overall", *(["joint"] if self.method == "auto" else [])]
        found = self._deviations(distances)
        return np.array(kinds)[np.argmax([found[kind] for kind in kinds], axis=0)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if isinstance(self.embedder, BaseEstimator):
            tags.input_tags = get_tags(self.embedder).input_tags
            tags.input_tags.sparse = False
        return tags


def _finite(scores: Float64) -> Float64:
    """Make scores of rows whose squares overflow the lowest there are."""
    lowest = float(np.finfo(np.float64).min)
    return np.nan_to_num(scores, nan=lowest, neginf=lowest)


def _some(n_rows: int, at_most: int, generator: np.random.Generator) -> Positions:
    """Return numbers of all rows, or of a random subset in ascending order."""
    if n_rows <= at_most:
        return np.arange(n_rows)
    return np.sort(generator.choice(n_rows, at_most, replace=False))
