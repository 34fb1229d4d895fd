"""What every embedder shares: the public methods, each written once."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._array_api import get_namespace
from sklearn.utils.validation import check_is_fitted

from latentsk import _validation as validation
from latentsk._columns import column_names
from latentsk._images import as_images
from latentsk._state import StateMixin
from latentsk._threads import fork_safe
from latentsk._threshold import CONTAMINATION_CONSTRAINT, ThresholdMixin, score_name
from latentsk._version import __version__
from latentsk.embedders._onnx import DTYPES, METHODS, check_request
from latentsk.embedders._onnx_file import traced, write_model
from latentsk.networks._image_layout import ImageLayout, layout_of
from latentsk.vae._table import TableLayout


def _has(method: str) -> Callable[[validation.Method], validation.Method]:
    """Show a public method only on embedders that have its private method."""
    return validation.available_if(lambda embedder: hasattr(embedder, method))


class BaseEmbedder(
    StateMixin,
    ThresholdMixin,
    TransformerMixin,
    BaseEstimator,
    ABC,
):
    """A latent space with scikit-learn's methods (abstract).

    A public method checks that the embedder is fitted, validates its input and calls
    one private method that only computes. A final class provides these methods:

    - ``_validate(X, *, reset, method)``, ``_validate_latents(Z)``: checks;
    - ``_fit(X)``, ``_fit_transform(X)``: set the fitted attributes, `offset_` last;
    - ``_transform(X)``, ``_inverse_transform(Z)``, ``_reconstruct(X)``,
      ``_score_samples(X)``;
    - where it makes sense ``_partial_fit(X)``, ``_score_contributions(X)``,
      ``_onnx_graph(methods, dtype)``, and ``_latent_names()``: names of the latent
      coordinates, where numbers do not tell enough.

    `inverse_transform` is a final class's own, since what it takes differs: conditions.
    So is `sample`, of a model that rows can be drawn from.

    A call of `fit`, `fit_transform` or `partial_fit` that raises leaves the embedder
    as it was before the call.
    """

    _parameter_constraints: dict[str, Any] = {
        "contamination": CONTAMINATION_CONSTRAINT,
    }
    # How the images of the fit lie in an array; None where rows are no images.
    _layout: ImageLayout | None = None
    # How columns of a table enter a network; None where they do as they are.
    _table: TableLayout | None = None
    # Scores, as `score_name` names them, that are log-densities of rows or bounds on
    # them; the first is the one to choose.
    _log_density_scores: tuple[str, ...] = ()

    @abstractmethod
    def _validate(self, X: Any, *, reset: bool, method: str) -> Any: ...

    @abstractmethod
    def _validate_latents(self, Z: Any) -> Any: ...

    @abstractmethod
    def _fit(self, X: Any) -> None: ...

    @abstractmethod
    def _fit_transform(self, X: Any) -> Any: ...

    @abstractmethod
    def _transform(self, X: Any) -> Any: ...

    @abstractmethod
    def _inverse_transform(self, Z: Any) -> Any: ...

    @abstractmethod
    def _reconstruct(self, X: Any) -> Any: ...

    @abstractmethod
    def _score_samples(self, X: Any) -> Any: ...

    @validation.with_callbacks
    @validation.fit_context(prefer_skip_nested_validation=True)
    @fork_safe
    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Learn the latent space and the outlier threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.

        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted embedder.

        Raises
        ------
        ValueError
            If `X` is not valid (not finite, not numeric, too few rows) or a parameter
            does not fit it. The embedder is then left as it was.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PCAEmbedder(1).fit(X).components_.round(2)
        array([[0.32, 0.95]])
        """
        with self._rollback_on_error():
            self._fit(self._validated_for_fit(X, "fit"))
        return self

    @validation.with_callbacks
    @validation.fit_context(prefer_skip_nested_validation=True)
    @fork_safe
    def fit_transform(self, X: ArrayLike, y: None = None) -> NDArray[Any]:
        """Fit on `X` and return its latent coordinates.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.

        y : None
            Ignored.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            ``fit(X).transform(X)``, up to rounding.

        Raises
        ------
        ValueError
            As for `fit`.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PCAEmbedder(1).fit_transform(X).round(1).ravel()
        array([-3.9, -2.3, -0.7,  1.3,  5.6])
        """
        with self._rollback_on_error():
            return self._fit_transform(self._validated_for_fit(X, "fit_transform"))

    def _validated_for_fit(self, X: Any, method: str) -> Any:
        """Return valid rows, after dropping what an earlier fit has left."""
        warm = getattr(self, "warm_start", False) and hasattr(self, "n_features_in_")
        X = self._validate_in_range(X, reset=not warm, method=method)
        if not warm:
            self._reset()
        return X

    def _validate_in_range(self, X: Any, *, reset: bool, method: str) -> Any:
        """Return valid rows, none of whose values is too large to compute with."""
        names: Any = column_names(X)
        rows = self._validate(X, reset=reset, method=method)
        if names is None and self._layout is not None and as_images(X) is not None:
            names = self._layout.names_of_pixels
        if names is None:
            names = getattr(self, "feature_names_in_", None)
        validation.reject_huge(rows, names)
        return rows

    def _like(self, X: Any, rows: Any) -> Any:
        """Return flat rows in the layout of the images that they were made of."""
        images = as_images(X)
        if images is None or self._layout is None:
            return rows
        return layout_of(images.shape, X, self._layout.shape).images(rows)

    def _of_latents(self, rows: Any) -> Any:
        """Return flat rows in the layout of the fit."""
        return rows if self._layout is None else self._layout.images(rows)

    @_has("_partial_fit")
    @validation.fit_context(prefer_skip_nested_validation=True)
    @fork_safe
    def partial_fit(self, X: ArrayLike, y: None = None) -> Self:
        """Continue learning from a chunk of rows.

        The threshold `offset_` is dropped, as the scores have changed: call
        `calibrate` once the last chunk is in. What a network standardizes by are the
        means and scales of all rows so far, those of `fit` included: its chunks may be
        as small as one row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The next chunk.

        y : None
            Ignored.

        Returns
        -------
        self : object
            The embedder.

        Raises
        ------
        ValueError
            If `X` is not valid or its width differs from the first chunk's. The chunk
            is then not counted.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> streamed = PCAEmbedder(1).partial_fit(X[:2]).partial_fit(X[2:])
        >>> streamed.explained_variance_, PCAEmbedder(1).fit(X).explained_variance_
        (array([13.520...]), array([13.520...]))
        """
        with self._rollback_on_error():
            first = not hasattr(self, "n_features_in_")
            X = self._validate_in_range(X, reset=first, method="partial_fit")
            self._drop("offset_")
            self._partial_fit(X)
        return self

    @fork_safe
    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return the latent coordinates of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to embed.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Latent coordinates.

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
        >>> PCAEmbedder(1).fit(X).transform([[3, 3]]).round(1)
        array([[-0.1]])
        """
        check_is_fitted(self)
        X = self._validate_in_range(X, reset=False, method="transform")
        return self._transform(X)

    def _checked_latents(self, X: Any) -> Any:
        """Return valid latent coordinates of the right width."""
        check_is_fitted(self)
        Z = self._validate_latents(X)
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but this {type(self).__name__} has "
                f"{self._n_features_out} components."
            )
        return Z

    @fork_safe
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the latent coordinates.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Not used, as names of features say nothing about latent coordinates.

        Returns
        -------
        names : ndarray of shape (n_components,), dtype object
            Names of the columns that `transform` returns.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PCAEmbedder(2).fit(X).get_feature_names_out()
        array(['pcaembedder0', 'pcaembedder1'], dtype=object)
        """
        check_is_fitted(self)
        if hasattr(self, "_latent_names"):
            return np.asarray(self._latent_names(), dtype=object)
        name = type(self).__name__.lower()
        names = [f"{name}{number}" for number in range(self._n_features_out)]
        return np.asarray(names, dtype=object)

    @fork_safe
    def reconstruct(self, X: ArrayLike) -> Any:
        """Return rows as the latent space sees them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            ``inverse_transform(transform(X))``, in original units; with the conditions
            of each row, and as a DataFrame where columns hold strings, where the
            embedder takes such.

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
        >>> PCAEmbedder(1).fit(X[:4]).reconstruct([[4, 2]]).round(1)
        array([[3.9, 2.2]])
        """
        check_is_fitted(self)
        rows = self._validate_in_range(X, reset=False, method="reconstruct")
        rebuilt: Any = self._reconstruct(rows)
        if self._table is not None:
            return self._table.rows(rebuilt, self._table.conditions_of(X))
        return self._like(X, rebuilt)

    @fork_safe
    def score_samples(self, X: ArrayLike) -> NDArray[Any]:
        """Score how normal each row is, as `score_method` says.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Higher = more normal. A row's score depends on that row alone.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid, or the score is undefined for this model.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PCAEmbedder(1).fit(X).score_samples([[3, 3], [3, -9]]).round(1)
        array([ -3.8, -10.6])
        """
        return self._validated_scores(X, "score_samples")

    def _validated_scores(self, X: ArrayLike, method: str) -> Any:
        check_is_fitted(self)
        self._validate_params()  # score_method may have been set since the fit
        return self._score_samples(self._validate(X, reset=False, method=method))

    @_has("_onnx_graph")
    @fork_safe
    def to_onnx(
        self,
        path: str | os.PathLike[str],
        *,
        methods: Sequence[str] = METHODS,
        dtype: str = "float32",
    ) -> None:
        """Write the fitted embedder as one ONNX file.

        The file has one input, "X" of shape (n_samples, n_features), for any number of
        rows from one on (images are flat rows there, with their channels first), and
        one output for each method, under the method's name. What runs it needs
        onnxruntime 1.15 or newer (opset 18), but neither Python nor this package. Input
        is not validated there: columns in another order, or values that `score_samples`
        refuses, are not noticed.

        PCA works in float64 if it was fitted in float64, or `dtype` is that, and its
        results are those of the methods to rounding. Networks work in float32, also for
        `dtype` "float64", where standardization and original units are exact; their
        results differ by some 1e-5 in standardized units. (Perceptrons work in float64
        where `dtype` is that, and `methods` has no scores.) Where a value is NaN, or
        leads out of the range of the dtype, `transform` and `reconstruct` are not
        finite, and the score is the least of `dtype` (for networks, that of float32). A
        VAE decodes a quarter of its `n_score_samples` at once, so hand it some thousand
        rows at a time.

        Parameters
        ----------
        path : str or path-like
            Where to write; an existing file is replaced in a single step.

        methods : sequence of {"transform", "reconstruct", "score_samples"}, \
default=all of them
            What the file computes. "score_samples" is of the present `score_method`
            and `score_window`.

        dtype : {"float32", "float64"}, default="float32"
            Of the input and of the outputs.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If a method or the dtype is unknown, the score is undefined for this
            model, modules of your own cannot be written as a graph, or the model takes
            more than 2 GB.

        FileNotFoundError, IsADirectoryError
            If the folder does not exist, or the path is a folder.

        ImportError
            If the packages of the extra "onnx" are not installed.

        Notes
        -----
        The file's metadata are ``class``, ``score_method``, ``score_window`` where
        there is one, and ``offset_`` of the embedder, and ``latentsk_version``; a row
        is an outlier where its score lies below `offset_`. The offset is left out where
        `predict` would not work: after `partial_fit`, or a change of `score_method` or
        `score_window`, call `calibrate` first.

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np
        >>> import onnxruntime
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> path = os.path.join(tempfile.mkdtemp(), "pca.onnx")
        >>> PCAEmbedder(1).fit(X).to_onnx(path)
        >>> session = onnxruntime.InferenceSession(path)
        >>> rows = np.array([[3, 3], [3, -9]], dtype=np.float32)
        >>> (scores,) = session.run(["score_samples"], {"X": rows})
        >>> scores.round(1)
        array([ -3.8, -10.6], dtype=float32)
        >>> session.get_modelmeta().custom_metadata_map["offset_"][:7]
        '-4.8...'
        """
        check_is_fitted(self)
        self._validate_params()  # score_method may have been set since the fit
        wanted = check_request(path, methods, dtype)
        rows = torch.zeros(2, self.n_features_in_, dtype=DTYPES[dtype])
        model = traced(self._onnx_graph(wanted, dtype), {"X": rows}, wanted)
        write_model(path, model, self._onnx_metadata())

    def _onnx_metadata(self) -> dict[str, str]:
        metadata = {
            "class": type(self).__name__,
            "score_method": getattr(self, "score_method", None) or "reconstruction",
            "latentsk_version": __version__,
        }
        window = getattr(self, "score_window", None)
        if window is not None:
            metadata["score_window"] = str(window)
        if hasattr(self, "offset_") and self._offset_score_method == score_name(self):
            metadata["offset_"] = repr(float(self.offset_))
        return metadata

    @fork_safe
    def calibrate(self, X: ArrayLike, y: None = None) -> Self:
        """Set `offset_` from the scores of `X`, leaving the model as it is.

        Needed after `partial_fit`, which sees no row twice; useful wherever the rows
        that the decision should be based on are not those of the fit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to place the threshold on: with ``contamination="auto"`` at Kimber's
            lower fence of their scores, ``Q1 - 3 (Q2 - Q1)``; with a float at that
            quantile, or at the nearest share that ties allow. An `offset_` that you
            have assigned is replaced.

        y : None
            Ignored.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If `X` is not valid, or the score is undefined for this model.

        Warns
        -----
        UserWarning
            If ties make the share of rows below the threshold differ from a
            `contamination` that is a number, by more than one row.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> embedder = PCAEmbedder(1).partial_fit(X).calibrate(X)
        >>> round(embedder.offset_, 1)
        -4.8
        """
        self._set_offset(self._validated_scores(X, "calibrate"))
        return self

    @_has("_score_contributions")
    @fork_safe
    def score_contributions(self, X: ArrayLike) -> NDArray[Any]:
        """Split the score of each row among its features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to explain.

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_features)
            Sums over features are `score_samples`. Squared reconstruction errors and
            log-densities given a latent vector are sums over features as they are; a
            Mahalanobis distance is split by corr-max rotation (Garthwaite and Koch,
            2016); constants and the KL divergence, which belong to no feature, are
            shared equally.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid, or the score is undefined for this model or is no
            sum over features (the KL divergence alone).

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> PCAEmbedder(1).fit(X).score_contributions([[3, 3], [3, -9]]).round(1)
        array([[-1.9, -1.9],
               [-4.7, -5.9]])
        """
        check_is_fitted(self)
        self._validate_params()
        rows = self._validate(X, reset=False, method="score_contributions")
        return self._like(X, self._score_contributions(rows))

    @fork_safe
    def score(self, X: ArrayLike, y: None = None) -> float:
        """Return the mean of `score_samples`, which model selection maximizes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        y : None
            Ignored.

        Returns
        -------
        score : float
            In the unit of `score_samples`.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            As for `score_samples`.

        Examples
        --------
        >>> from latentsk import PCAEmbedder
        >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
        >>> round(PCAEmbedder(1).fit(X).score(X), 1)
        -4.6
        """
        scores = self._validated_scores(X, "score")
        xp, _ = get_namespace(scores)
        with np.errstate(over="ignore"):
            return float(xp.mean(scores))
