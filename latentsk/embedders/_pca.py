"""Principal component analysis as an embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.utils._array_api import check_same_namespace, device, get_namespace
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted

from latentsk._chunks import row_blocks, sample_rows
from latentsk._device import array_to_numpy
from latentsk._random import RandomState, numpy_generator, sklearn_seed
from latentsk._threads import fork_safe
from latentsk._validation import checked, require_count, validated
from latentsk.embedders._base import BaseEmbedder
from latentsk.embedders._onnx import DTYPES, EmbedderGraph, LinearModel
from latentsk.embedders._pca_messages import (
    SINGULAR,
    largest_named,
    of_one_column,
    undefined_reason,
)
from latentsk.embedders._pca_state import OPTIONAL, PRIVATE_SUMS, REQUIRED, check_pca
from latentsk.linear import _gaussian as linear_gaussian
from latentsk.linear import _moments, _spectrum
from latentsk.linear._components import fit_components
from latentsk.linear._gaussian import LinearGaussian
from latentsk.linear._moments import TOO_LARGE, Moments, in_range
from latentsk.linear._spectrum import Spectrum
from latentsk.persistence._registry import storable
from latentsk.training._standardize import Standardizer

# What scores rows, and splits the scores among the features, by score_method.
SCORES: dict[str, Callable[..., Any]] = {
    "likelihood": linear_gaussian.log_likelihood,
    "reconstruction": lambda *of: -linear_gaussian.squared_residual(*of),
    "mahalanobis": lambda *of: -linear_gaussian.squared_mahalanobis(*of),
}
CONTRIBUTIONS: dict[str, Callable[..., Any]] = {
    "likelihood": linear_gaussian.log_likelihood_parts,
    "reconstruction": lambda *of: -linear_gaussian.residual_parts(*of),
    "mahalanobis": lambda *of: -linear_gaussian.mahalanobis_parts(*of),
}


@storable(REQUIRED, optional=OPTIONAL, check=check_pca)
class PCAEmbedder(BaseEmbedder):
    """Principal component analysis: embed, reconstruct, score outliers, generate.

    Everything that :class:`sklearn.decomposition.PCA` does, fitted by the same engine,
    with outlier scores and decisions, exact streaming and a default that keeps the
    components that matter.

    Parameters
    ----------
    n_components : int, float, "auto", "mle" or None, default="auto"
        How many components to keep.

        - "auto": the fewest that explain 99 % of the variance, but fewer than the rank
          of the data, so that every `score_method` is defined; at least one.
        - int: that many.
        - float in (0, 1): the fewest that explain more than this share of the variance.
        - "mle": Minka's estimate (needs ``n_samples >= n_features``).
        - None: ``min(n_samples, n_features)``, one less with ``svd_solver="arpack"``.

    copy : bool, default=True
        Whether `fit_transform` must leave `X` as it is. `fit` always does.

    whiten : bool, default=False
        Whether `transform` divides each component by its standard deviation.

    svd_solver : {"auto", "full", "covariance_eigh", "arpack", "randomized"}, \
default="auto"
        With scikit-learn's meaning. "auto" takes the covariance for tall data with at
        most 1,000 features, the full decomposition for small data or where the whole
        spectrum is needed, else the randomized one.

    tol : float, default=0.0
        Tolerance of "arpack".

    iterated_power : int or "auto", default="auto"
        Power iterations of "randomized".

    n_oversamples : int, default=10
        Additional random vectors of "randomized".

    power_iteration_normalizer : {"auto", "QR", "LU", "none"}, default="auto"
        Normalizer of "randomized".

    score_method : {"likelihood", "reconstruction", "mahalanobis"}, \
default="likelihood"
        What `score_samples` returns; higher = more normal.

        - "likelihood": log-density under probabilistic PCA, in nats.
        - "reconstruction": minus the squared distance from the subspace,
          ``-|x - reconstruct(x)|^2``, in squared units of the data.
        - "mahalanobis": minus Hotelling's T2 within the subspace,
          ``-sum(z_i^2 / explained_variance_[i])``, without unit.

    forgetting_factor : float in (0, 1], default=1.0
        In `partial_fit` alone: by what the weight of a row falls with every row that
        follows it. 1.0: all rows count alike, for ever. With 0.9999 it is halved after
        some 6,900 rows (``log(0.5) / log(0.9999)``), and the rows that count are worth
        some 20,000 (``(1 + f) / (1 - f)`` for a factor f). See Notes.

    contamination : "auto" or float in (0, 0.5], default="auto"
        Where `offset_` lies. "auto": Kimber's lower fence ``Q1 - 3 (Q2 - Q1)`` on the
        scores of at most 1,024 training rows, which costs no pass over the data and
        needs no guess. A float: that quantile of the scores of all training rows (the
        nearest share that ties allow, with a warning if that is another one).

    random_state : int, RandomState, Generator or None, default=None
        Used by "arpack", "randomized" and `sample`. No global generator is read.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_)
        Principal axes, orthonormal, by decreasing variance.

    explained_variance_ : ndarray of shape (n_components_,)
        Variance along each axis, in squared units of the data (n - 1 degrees of
        freedom).

    explained_variance_ratio_ : ndarray of shape (n_components_,)
        Its share of the total variance; nan if the data have none.

    singular_values_ : ndarray of shape (n_components_,)
        Singular values of the centred data.

    mean_ : ndarray of shape (n_features_in_,)
        Mean of each feature.

    noise_variance_ : float
        Mean variance of the directions left out; 0 if none is.

    n_components_ : int
        Number of components kept.

    n_samples_ : int
        Number of training rows; all that `partial_fit` has seen, whatever their weight.

    svd_solver_ : str
        The solver that was used.

    offset_ : float
        Threshold of `decision_function`, in the unit of the scores; nan where the
        score is undefined. Not set by `partial_fit`.

    n_features_in_ : int
        Number of features.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where they are all strings.

    See Also
    --------
    sklearn.decomposition.PCA : The engine, and the source of the shared parameters.
    latentsk.LatentIndex : Find similar rows in the latent space.

    Notes
    -----
    **Undefined scores.** A likelihood needs a positive variance in every
    direction; a reconstruction error needs a direction that is left out; the
    Mahalanobis distance needs a positive variance in every component. Where that fails,
    scoring raises a ValueError with the remedy instead of returning infinities or
    rounding noise; `transform` and the rest still work.

    **Whitening** changes the latent coordinates, not the density of the data: the
    likelihood and the covariance with ``whiten=True`` are those with ``whiten=False``.
    (scikit-learn's PCA scales the components twice there, issue 13898.)

    **Streaming.** `partial_fit` is exact: any chunking gives the components of one
    `fit` with ``svd_solver="covariance_eigh"``, to rounding. It holds the d x d scatter
    matrix of the d features in float64 (0.8 GB at 10,000 features, and some five times
    that while it works) and solves its eigenproblem at every call, so chunks of at
    least d rows are advisable. What it learns is float64, also from float32 rows. Until
    enough rows for `n_components` are in, the embedder is not fitted. Called after
    `fit`, which keeps no scatter, it goes on from the covariance of the model: exact
    along the components, with the rest of the variance spread evenly.

    **Forgetting.** With a `forgetting_factor` f below 1, the i-th of n rows has the
    weight ``f**(n - 1 - i)``, however the rows were chunked. Mean and covariance are
    the weighted ones, the covariance unbiased for rows that are drawn alike
    (``numpy.cov`` with ``aweights``); the rows of an earlier `fit` count alike at
    first. A factor that is set between two calls is that of the rows to come. The
    weighted rows are worth ``sum(w)**2 / sum(w**2)`` equal ones (Kish, 1965), which is
    also their number for "mle": keep it well above `n_components`.

    References
    ----------
    L. Kish (1965). Survey sampling. Wiley.

    M. Tipping, C. Bishop (1999). Probabilistic principal component analysis. Journal of
    the Royal Statistical Society B, 61(3), 611-622.

    T. Minka (2000). Automatic choice of dimensionality for PCA. NIPS 13, 598-604.

    A. C. Kimber (1990). Exploratory data analysis for possibly censored data from
    skewed distributions. Journal of the Royal Statistical Society C, 39(1), 21-30.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from latentsk import PCAEmbedder
    >>> X, y = load_digits(return_X_y=True)
    >>> embedder = PCAEmbedder(n_components=16).fit(X[y < 5])
    >>> embedder.transform(X).shape
    (1797, 16)
    >>> scores = embedder.score_samples(X)
    >>> bool(scores[y < 5].mean() > scores[y >= 5].mean())
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **BaseEmbedder._parameter_constraints,
        "n_components": [
            Interval(Integral, 0, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            StrOptions({"auto", "mle"}),
            None,
        ],
        "copy": ["boolean"],
        "whiten": ["boolean"],
        "svd_solver": [
            StrOptions({"auto", "full", "covariance_eigh", "arpack", "randomized"})
        ],
        "tol": [Interval(Real, 0, None, closed="left")],
        "iterated_power": [
            StrOptions({"auto"}),
            Interval(Integral, 0, None, closed="left"),
        ],
        "n_oversamples": [Interval(Integral, 1, None, closed="left")],
        "power_iteration_normalizer": [StrOptions({"auto", "QR", "LU", "none"})],
        "score_method": [StrOptions(set(SCORES))],
        "forgetting_factor": [Interval(Real, 0, 1, closed="right")],
        "random_state": ["random_state", np.random.Generator],
    }

    _private_state = (*BaseEmbedder._private_state, *PRIVATE_SUMS)

    _log_density_scores = ("likelihood",)

    def __init__(
        self,
        n_components: int | float | str | None = "auto",
        *,
        copy: bool = True,
        whiten: bool = False,
        svd_solver: str = "auto",
        tol: float = 0.0,
        iterated_power: int | str = "auto",
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        score_method: str = "likelihood",
        forgetting_factor: float = 1.0,
        contamination: float | str = "auto",
        random_state: RandomState = None,
    ) -> None:
        self.n_components = n_components
        self.copy = copy
        self.whiten = whiten
        self.svd_solver = svd_solver
        self.tol = tol
        self.iterated_power = iterated_power
        self.n_oversamples = n_oversamples
        self.power_iteration_normalizer = power_iteration_normalizer
        self.score_method = score_method
        self.forgetting_factor = forgetting_factor
        self.contamination = contamination
        self.random_state = random_state

    # Fitting

    def _fit(self, X: Any) -> None:
        with largest_named(X, getattr(self, "feature_names_in_", None)):
            self._fit_rows(X, overwrite=False, want_latents=False)

    def _fit_transform(self, X: Any) -> Any:
        # A float contamination scores all training rows after the fit.
        overwrite = not self.copy and self.contamination == "auto"
        with largest_named(X, getattr(self, "feature_names_in_", None)):
            return self._fit_rows(X, overwrite=overwrite, want_latents=True)

    def _fit_rows(self, X: Any, *, overwrite: bool, want_latents: bool) -> Any:
        sample = sample_rows(X)
        if self._streams(X):
            self._adopt_moments(_moments.moments_of(X), dtype=X.dtype)
            latents = self._transform(X) if want_latents else None
        else:
            spectrum, mean, solver, latents = fit_components(
                X,
                sample,
                self.n_components,
                overwrite=overwrite,
                want_latents=want_latents,
                svd_solver=self.svd_solver,
                tol=self.tol,
                iterated_power=self.iterated_power,
                n_oversamples=self.n_oversamples,
                power_iteration_normalizer=self.power_iteration_normalizer,
                random_state=sklearn_seed(self.random_state),
            )
            self._adopt(spectrum, mean, solver, X.shape[0], X.shape[0] - 1)
            latents = self._whitened(latents) if want_latents else None
        self._place_offset(sample if self.contamination == "auto" else X)
        return latents

    def _streams(self, X: Any) -> bool:
        """Tell whether to take moments block by block instead of calling the engine.

        The engine copies a read-only array (a memory map, say) as a whole.
        """
        if not isinstance(X, np.ndarray) or X.flags.writeable:
            return False
        n_samples, n_features = X.shape
        tall = n_features <= 1_000 and n_samples >= 10 * n_features
        by_choice = self.svd_solver == "auto" and tall
        return by_choice or self.svd_solver == "covariance_eigh"

    def _adopt_moments(self, moments: Moments, dtype: Any) -> None:
        xp, _ = get_namespace(moments.mean)
        spectrum = _spectrum.spectrum_of(moments, xp)
        n_rows = moments.n_effective
        kept = _spectrum.chosen_dimension(self.n_components, spectrum, n_rows)
        spectrum = _spectrum.truncated(spectrum, kept)
        with np.errstate(over="ignore"):  # refused below
            spectrum = spectrum._replace(
                axes=xp.astype(spectrum.axes, dtype),
                variances=xp.astype(spectrum.variances, dtype),
            )
        mean = xp.astype(moments.mean, dtype)
        freedom = moments.degrees_of_freedom
        self._adopt(spectrum, mean, "covariance_eigh", moments.n_rows, freedom)

    def _adopt(
        self,
        spectrum: Spectrum,
        mean: Any,
        solver: str,
        n_samples: int,
        degrees_of_freedom: float,
    ) -> None:
        # Copies, so that the axes left out do not stay in memory behind a view.
        xp, _ = get_namespace(spectrum.axes)
        total_variance = spectrum.total_variance
        if not np.isfinite(total_variance):
            raise ValueError(TOO_LARGE)
        self.mean_ = mean
        self.components_ = xp.asarray(spectrum.axes, copy=True)
        self.explained_variance_ = xp.asarray(spectrum.variances, copy=True)
        with np.errstate(invalid="ignore"):
            self.explained_variance_ratio_ = spectrum.variances / total_variance
        squared = self.explained_variance_ * degrees_of_freedom
        self.singular_values_ = xp.sqrt(squared)
        self.noise_variance_ = spectrum.noise
        self.n_components_ = spectrum.n_axes
        self.n_samples_ = n_samples
        self.svd_solver_ = solver

    def _partial_fit(self, X: Any) -> None:
        with largest_named(X, getattr(self, "feature_names_in_", None)):
            self._add_moments(X)

    def _add_moments(self, X: Any) -> None:
        xp, _ = get_namespace(X)
        factor = float(self.forgetting_factor)
        moments = _moments.moments_of(X, xp, factor)
        if hasattr(self, "_scatter") or hasattr(self, "components_"):
            before = _moments.faded(self._moments_so_far(xp), factor**moments.n_rows)
            moments = _moments.merge(before, moments)
        self.n_samples_seen_: int = moments.n_rows
        self._weight_seen = float(moments.weight)
        self._pair_weight_seen = float(moments.pair_weight)
        self._mean_seen: Any = moments.mean
        self._scatter: Any = moments.scatter
        if moments.n_rows >= self._rows_needed():
            self._adopt_moments(moments, dtype=xp.float64)

    def _moments_so_far(self, xp: Any) -> Moments:
        if hasattr(self, "_scatter"):
            return self._moments_of_sums()
        # fit keeps no scatter: its rows count with the covariance of the model, the
        # variance outside of the components spread over all directions there.
        shape = (self.n_samples_, self.n_features_in_)
        n_directions = _spectrum.n_directions(shape, self.svd_solver_)
        n_left_out = n_directions - self.n_components_
        n_outside = self.n_features_in_ - self.n_components_
        noise = self.noise_variance_ * n_left_out / max(1, n_outside)
        model = self._model(xp.float64)._replace(noise=noise)
        scatter = linear_gaussian.covariance(model, xp) * (self.n_samples_ - 1)
        return _moments.counted(self.n_samples_, model.mean, scatter)

    def _moments_of_sums(self) -> Moments:
        sums = self.n_samples_seen_, self._mean_seen, self._scatter
        if not hasattr(self, "_weight_seen"):  # of old files
            return _moments.counted(*sums)
        return Moments(*sums, self._weight_seen, self._pair_weight_seen)

    def _rows_needed(self) -> int:
        if self.n_components == "mle":
            return self.n_features_in_
        if not isinstance(self.n_components, Integral):
            return 2
        if self.n_components > self.n_features_in_:
            raise ValueError(
                f"n_components={self.n_components} must be at most "
                f"n_features={self.n_features_in_}."
            )
        return max(2, int(self.n_components))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "components_")

    # Embedding

    def _transform(self, X: Any) -> Any:
        xp, _ = get_namespace(self.components_)
        with np.errstate(over="ignore", invalid="ignore"):
            if issparse(X) or not self._is_off_centre(xp):
                model = self._model(X.dtype)
                Z = X @ model.components.T
                Z -= xp.reshape(model.mean, (1, -1)) @ model.components.T
            else:
                Z = self._by_rows(X, linear_gaussian.coordinates)
            Z = self._whitened(Z)
        return in_range(Z, xp)

    def _whitened(self, Z: Any) -> Any:
        return Z / self._component_scale(self.explained_variance_) if self.whiten else Z

    def _reconstruct(self, X: Any) -> Any:
        return self._inverse_transform(self._transform(X))

    def _inverse_transform(self, Z: Any) -> Any:
        xp, _ = get_namespace(self.components_)
        model = self._model(Z.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.whiten:
                Z = Z * self._component_scale(self.explained_variance_)
            Z = xp.astype(Z, model.mean.dtype, copy=False)
            return in_range(Z @ model.components + model.mean, xp)

    def _component_scale(self, variances: Any) -> Any:
        """Return the standard deviations for whitening, none below rounding errors."""
        xp, _ = get_namespace(variances)
        scale = xp.sqrt(variances)
        # scikit-learn's least one, which is in the data's unit.
        smallest = eps = float(xp.finfo(scale.dtype).eps)
        if self.n_components_:
            squared = self.svd_solver_ in ("covariance_eigh", "arpack")
            relative = eps**0.5 if squared else eps
            smallest = max(smallest, relative * float(scale[0]))
        return xp.clip(scale, smallest, None)

    def _is_off_centre(self, xp: Any) -> bool:
        left_out = self.n_features_in_ - self.n_components_
        kept = float(xp.sum(self.explained_variance_))
        total_variance = kept + self.noise_variance_ * left_out
        return _moments.is_off_centre(self.mean_, total_variance, xp)

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    # Scoring

    def _score_samples(self, X: Any) -> Any:
        self._require_defined()
        scores = self._by_rows(X, SCORES[self.score_method])
        # Out of the range of its dtype, a row is most abnormal.
        xp, _ = get_namespace(scores)
        lowest = xp.finfo(scores.dtype).min
        return xp.where(scores > lowest, scores, lowest)

    def _onnx_graph(self, methods: Sequence[str], dtype: str) -> EmbedderGraph:
        score_method = self.score_method if "score_samples" in methods else None
        if score_method is not None:
            self._require_defined()
        model = self._model_on_host()
        fitted = "float32" if "float32" in str(self.components_.dtype) else "float64"
        # The precision that data and fit share, as everywhere.
        precision = DTYPES[np.result_type(fitted, dtype).name]
        scale = np.ones(self.n_components_)
        if self.whiten:
            scale = self._component_scale(array_to_numpy(self.explained_variance_))
        return EmbedderGraph(
            LinearModel(model, scale, score_method, precision),
            LinearModel.encode,
            LinearModel.decode,
            LinearModel.score,
            Standardizer(model.mean, np.ones_like(model.mean)),
            methods,
            precision,
        )

    def _score_contributions(self, X: Any) -> Any:
        self._require_defined()
        xp, _ = get_namespace(self.components_)
        return in_range(self._by_rows(X, CONTRIBUTIONS[self.score_method]), xp)

    def _by_rows(self, X: Any, function: Callable[..., Any]) -> Any:
        """Apply a function of centred rows block by block."""
        xp, _ = get_namespace(self.components_)
        model = self._model(X.dtype)

        def apply(block: Any) -> Any:
            centred = xp.astype(block, model.mean.dtype, copy=False) - model.mean
            return function(centred, model, xp)

        with np.errstate(over="ignore", invalid="ignore"):
            return xp.concat([apply(block) for block in row_blocks(X)])

    def _model(self, dtype: Any) -> LinearGaussian:
        """Return the model in the precision that data of some dtype and fit share."""
        xp, _ = get_namespace(self.components_)
        dtype = xp.result_type(dtype, self.components_.dtype)
        mean, components, variances = (
            xp.astype(array, dtype, copy=False)
            for array in (self.mean_, self.components_, self.explained_variance_)
        )
        # A randomized solver may leave a component with less than the mean noise.
        variances = xp.clip(variances, self.noise_variance_, None)
        return LinearGaussian(mean, components, variances, self.noise_variance_)

    def _model_on_host(self) -> LinearGaussian:
        """Return the model in numpy, in float64."""
        arrays = self.mean_, self.components_, self.explained_variance_
        mean, components, variances = map(array_to_numpy, arrays)
        noise = float(self.noise_variance_)
        return LinearGaussian(mean, components, np.clip(variances, noise, None), noise)

    def _place_offset(self, X: Any) -> None:
        reason = self._undefined_reason(self.score_method)
        if self.contamination == "auto" and reason is not None:
            self.offset_ = float("nan")
            self._offset_score_method = self.score_method
        else:
            self._set_offset(self._score_samples(X))

    def _require_defined(self) -> None:
        reason = self._undefined_reason(self.score_method)
        if reason is not None:
            xp, _ = get_namespace(self.components_)
            eps = float(xp.finfo(self.components_.dtype).eps)
            names = getattr(self, "feature_names_in_", None)
            raise ValueError(
                f"score_method={self.score_method!r} is undefined: {reason}"
                + of_one_column(self._model_on_host(), eps, names)
            )

    def _undefined_reason(self, score_method: str) -> str | None:
        """Return why scores would be infinite or rounding noise, or None."""
        variances = self.explained_variance_ if self.n_components_ else [0.0]
        n_features, dtype = self.n_features_in_, self.components_.dtype
        return undefined_reason(
            score_method,
            (float(variances[0]), float(variances[-1]), float(self.noise_variance_)),
            _spectrum.rounding_floor(float(variances[0]), n_features, dtype),
            complete=self.n_components_ == n_features,
        )

    # What the model says of itself

    @fork_safe
    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return the rows that latent coordinates stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Latent coordinates.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            Rows in original units.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PCAEmbedder(1).fit(X).inverse_transform([[0.0]])
        array([[3. , 3.1]])
        """
        return self._of_latents(self._inverse_transform(self._checked_latents(X)))

    @fork_safe
    def get_covariance(self) -> NDArray[Any]:
        """Return the covariance of the rows under the model.

        Returns
        -------
        covariance : ndarray of shape (n_features, n_features)
            ``V.T diag(explained_variance_ - noise_variance_) V + noise_variance_ I``
            with the rows of V the components.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PCAEmbedder(1).fit(X).get_covariance().round(1)
        array([[ 5. ,  2.9],
               [ 2.9, 12.6]])
        """
        check_is_fitted(self)
        xp, _ = get_namespace(self.components_)
        return linear_gaussian.covariance(self._model(self.components_.dtype), xp)

    @fork_safe
    def get_precision(self) -> NDArray[Any]:
        """Return the inverse of `get_covariance`.

        Returns
        -------
        precision : ndarray of shape (n_features, n_features)
            Inverse covariance.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If the covariance is singular.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> embedder = PCAEmbedder(1).fit(X)
        >>> (embedder.get_precision() @ embedder.get_covariance()).round(6)
        array([[1., 0.],
               [0., 1.]])
        """
        check_is_fitted(self)
        if self._undefined_reason("likelihood") is not None:
            raise ValueError(SINGULAR)
        xp, _ = get_namespace(self.components_)
        return linear_gaussian.precision(self._model(self.components_.dtype), xp)

    @fork_safe
    def sample(
        self, n_samples: int = 1, random_state: RandomState = None
    ) -> NDArray[Any]:
        """Draw new rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.

        random_state : int, RandomState, Generator or None, default=None
            None takes the estimator's own `random_state`: with an int there, every
            call returns the same rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows in original units.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `n_samples` is not an integer of at least 1.

        TypeError
            If `random_state` is none of these.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PCAEmbedder(1, random_state=0).fit(X).sample(3).shape
        (3, 2)
        """
        check_is_fitted(self)
        require_count("n_samples", n_samples, least=1)
        chosen = self.random_state if random_state is None else random_state
        generator = numpy_generator(chosen)
        rows = linear_gaussian.draw(self._model_on_host(), n_samples, generator)
        like = self.components_
        xp, _ = get_namespace(like)
        return xp.asarray(rows, dtype=like.dtype, device=device(like))

    # Validation

    def _validate(self, X: Any, *, reset: bool, method: str) -> Any:
        if not reset and hasattr(self, "components_"):
            self._require_same_namespace(X, method)
        xp, _ = get_namespace(X)
        return validated(
            self,
            X,
            reset=reset,
            dtype=[xp.float64, xp.float32],
            accept_sparse=("csr", "csc"),
            ensure_min_samples=2 if method in ("fit", "fit_transform") else 1,
        )

    def _require_same_namespace(self, X: Any, method: str) -> None:
        check_same_namespace(X, self, attribute="components_", method=method)
        if torch.is_tensor(self.components_) and not get_config()["array_api_dispatch"]:
            raise ValueError(
                "This PCAEmbedder was fitted on tensors. Use it on tensors, within "
                "sklearn.config_context(array_api_dispatch=True)."
            )

    def _validate_latents(self, Z: Any) -> Any:
        self._require_same_namespace(Z, "inverse_transform")
        xp, _ = get_namespace(Z)
        return checked(Z, input_name="X", dtype=[xp.float64, xp.float32])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        solver = getattr(self, "svd_solver_", self.svd_solver)
        tags.array_api_support = solver not in ("arpack", "randomized") or (
            solver == "randomized" and self.power_iteration_normalizer == "QR"
        )
        with_sparse = ("auto", "arpack", "covariance_eigh")
        tags.input_tags.sparse = self.svd_solver in with_sparse
        return tags
