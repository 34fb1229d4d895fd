"""What the torch-trained embedders share (abstract)."""

from __future__ import annotations

import copy
import os
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.callback import CallbackSupportMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from latentsk._chunks import sample_rows
from latentsk._device import (
    device_or_cpu,
    on_host,
    resolve_device,
    resolve_precision,
)
from latentsk._random import RandomState, numpy_generator
from latentsk._threads import fork_safe
from latentsk._threshold import ThresholdMixin
from latentsk._typing import Float64
from latentsk._validation import checked
from latentsk.embedders._base import BaseEmbedder
from latentsk.embedders._epochs import reported_epochs
from latentsk.embedders._fit_steps import moments_of, require_same, rows_to_judge
from latentsk.embedders._image_rows import (
    image_rows,
    known_shape,
    pixels_diagnosed,
    warn_of_order,
)
from latentsk.embedders._network_rows import learned_table, numeric_rows, table_rows
from latentsk.embedders._neural_parameters import (
    NEURAL_CONSTRAINTS,
    network_parameters,
    training_settings,
)
from latentsk.embedders._onnx import MAX_PARTS, EmbedderGraph, network_precision
from latentsk.embedders._onnx_table import TableGraph
from latentsk.networks import _architecture
from latentsk.networks._architecture import Architecture
from latentsk.networks._autoencoder import Autoencoder
from latentsk.networks._image_layout import ImageLayout
from latentsk.networks._mlp import initialize
from latentsk.training._checkpoint import Checkpoint
from latentsk.training._data import split_rows
from latentsk.training._fingerprint import training_fingerprint
from latentsk.training._inference import Inference, infer
from latentsk.training._loop import train, train_epoch
from latentsk.training._objective import Objective
from latentsk.training._score_windows import (
    WindowInference,
    pixel_maps,
    require_images,
    require_window,
)
from latentsk.training._standardize import Moments, Standardizer, network_dtype
from latentsk.training._start import Start, begin_with, end_with
from latentsk.training._weights import detached


class NeuralEmbedder(CallbackSupportMixin, BaseEmbedder):
    """An embedder with a network of an encoder and a decoder (abstract).

    A final class provides five hooks:

    - ``_describe(X)`` checks the parameters and the rows, and returns the network that
      they mean, JSON-able;
    - ``_build(architecture)`` returns that network, its weights not trained;
    - ``_make_objective(network, precision)``: what is learned;
    - ``_make_inference(n_parts)``: what the trained network says of rows. With
      `n_parts` the steps are the same for any number of rows, and samples are decoded
      in at most so many parts;
    - ``_warn_of_result(X)``, which may warn of what training came to, from some rows.
    """

    _parameter_constraints: dict[str, Any] = {
        **BaseEmbedder._parameter_constraints,
        **NEURAL_CONSTRAINTS,
    }
    _private_state = (
        *ThresholdMixin._private_state,
        "_architecture",
        "_conditions",
        "_deviation",
        "_layout",
        "_n_rows_seen",
        "_optimizer_state",
        "_stopped_training",
        "_table",
    )
    _validated_state = (*BaseEmbedder._validated_state, "_layout", "_table")
    _pickled_state: tuple[str, ...] = ("_custom_pair",)

    # Parameters that are read here, with what they are where a final class has none.
    input_shape: Sequence[int] | None = None
    condition: Any = None
    likelihood: Any = None
    encoder: nn.Module | None = None
    decoder: nn.Module | None = None
    score_window: int | None = None
    standardize: bool = True
    batch_size: int | str = "auto"
    learning_rate_init: float = 3e-3
    learning_rate: str = "cosine"
    weight_decay: float = 0.0
    clip_norm: float | None = None
    max_epochs: int = 200
    max_time: float | None = None
    validation_fraction: float = 0.1
    n_iter_no_change: int = 20
    tol: float = 1e-4
    warm_start: bool = False
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_interval: int = 10
    device: str | torch.device = "auto"
    precision: str = "auto"
    compile: bool | str = "auto"
    contamination: float | str = "auto"
    random_state: RandomState = None
    verbose: bool = False

    # Of training rows, which new ones are drawn for.
    _conditions: Float64
    _architecture: Architecture
    module_: Any
    mean_: Float64
    scale_: Float64
    n_components_: int
    _deviation: Float64

    @abstractmethod
    def _describe(self, X: NDArray[Any]) -> Architecture: ...

    @abstractmethod
    def _build(self, architecture: Architecture) -> Any: ...

    @abstractmethod
    def _make_objective(self, network: Any, precision: str) -> Objective: ...

    @abstractmethod
    def _make_inference(self, n_parts: int | None = None) -> Inference: ...

    @abstractmethod
    def _warn_of_result(self, X: NDArray[Any]) -> None: ...

    # Fitting

    def _fit(self, X: NDArray[Any]) -> None:
        architecture = self._describe(X)
        checkpoint = self._open_checkpoint(X)
        generator = torch.Generator().manual_seed(
            self._new_seed() if checkpoint is None else checkpoint.seed
        )
        device = resolve_device(self.device)
        network = self._start(architecture, X, generator).to(device)
        if self.score_window is not None:
            require_window(self.score_window, self._image_shape)
        rows, monitored, held_out = split_rows(
            X, self._standardizer, device, self.validation_fraction, generator
        )
        is_validated = len(held_out) > 0
        precision = resolve_precision(self.precision, device)
        objective = self._make_objective(network, precision)
        start = None  # a network that continues has started
        if not hasattr(self, "module_"):
            begin_with(network, rows)
            start = Start(network, rows, generator, int(self.max_epochs))
        with reported_epochs(self, X, network, is_validated) as on_epoch:
            result = train(
                network,
                objective,
                rows,
                monitored,
                training_settings(self, network, len(rows)),
                generator,
                start=start,
                on_epoch=on_epoch,
                checkpoint=checkpoint,
            )
        end_with(network, rows)
        self.module_ = detached(network)
        self.history_ = [record.as_dict(is_validated) for record in result.history]
        self.best_epoch_ = result.best_epoch
        judged = rows_to_judge(X, held_out, self.contamination)
        self._set_offset(self._score_samples(judged))
        self._warn_of_result(sample_rows(X))
        self._close_checkpoint(checkpoint, result.complete)

    def _fit_transform(self, X: NDArray[Any]) -> Any:
        self._fit(X)
        return self._transform(X)

    def _partial_fit(self, X: NDArray[Any]) -> None:
        architecture = self._describe(X)
        generator = torch.Generator().manual_seed(self._new_seed())
        device = resolve_device(self.device)
        if hasattr(self, "module_"):
            require_same(architecture, self._architecture, "partial_fit")
            network = copy.deepcopy(self.module_).to(device)
            if self._table is not None:
                self._conditions = self._table.kept_conditions(X, self._conditions)
            if hasattr(self, "_deviation"):  # not so in files of the first releases
                seen = Moments(self._n_rows_seen, self.mean_, self._deviation)
                self._standardize_by(X, seen)
        else:
            network = self._start(architecture, X, generator).to(device)
            self.history_ = []
        stored = getattr(self, "_optimizer_state", None)
        if stored is not None:
            generator.set_state(torch.tensor(stored["generator"]))
        rows, *_ = split_rows(X, self._standardizer, device, 0.0, generator)
        start = Start(network, rows, generator)
        if start.epoch is not None and not hasattr(self, "module_"):
            begin_with(network, rows)
            start.begin()
        precision = resolve_precision(self.precision, device)
        objective = self._make_objective(network, precision)
        settings = training_settings(self, network, len(rows))
        record, state = train_epoch(
            network, objective, rows, settings, generator, stored
        )
        end_with(network, rows)
        self.module_ = detached(network)
        record = record._replace(epoch=len(self.history_) + 1)
        self.history_ = [*self.history_, record.as_dict(validated=False)]
        self.best_epoch_ = len(self.history_)
        seed = np.array(generator.get_state().numpy())
        self._optimizer_state = {**state, "generator": seed}

    def _new_seed(self) -> int:
        return int(numpy_generator(self.random_state).integers(2**63))

    def _start(
        self, architecture: Architecture, X: NDArray[Any], generator: torch.Generator
    ) -> Any:
        """Return the network to start from, and set the attributes that describe it."""
        if self.warm_start and hasattr(self, "module_"):
            self._drop("_optimizer_state")  # of another training
            require_same(architecture, self._architecture, "warm_start")
            return copy.deepcopy(self.module_)
        self._architecture = architecture
        shape = architecture.get("input_shape", self.input_shape)
        if self._layout is None and shape is not None:
            warn_of_order(X, shape)
            self._layout = ImageLayout(list(map(int, shape)), "flat")
        if architecture["standardize"] or self._table is not None:
            self._standardize_by(X)
        else:
            self.mean_, self.scale_ = Standardizer.identity(X.shape[1])
        if self._table is not None:
            self._conditions = self._table.kept_conditions(X)
        network = self._build(architecture)
        self.n_components_ = architecture["n_components"]
        if architecture["network"] == "custom":
            # The parameters encoder and decoder may be other ones when it is unpickled.
            self._custom_pair = copy.deepcopy(network)
        else:
            initialize(network, generator)
        return network

    def _standardize_by(self, X: NDArray[Any], before: Moments | None = None) -> None:
        """Standardize by the moments of these rows, and of those before."""
        moments = moments_of(X, self._architecture, self._table)
        if before is not None:
            moments = before.merged(moments)
        self._n_rows_seen, _, self._deviation = moments
        self.mean_, self.scale_ = moments.standardizer()

    def _describe_network(
        self, n_features: int, per_latent: int, n_told: int = 0
    ) -> Architecture:
        parameters = network_parameters(self)
        n_conditions = self._n_seen - self._n_modelled
        return _architecture.describe_network(
            parameters, n_features - n_conditions, per_latent, n_conditions, n_told
        )

    def _build_pair(self, architecture: Architecture) -> Autoencoder:
        n_modelled, encoder, decoder = self._n_modelled, self.encoder, self.decoder
        return _architecture.build_network(
            architecture, n_modelled, encoder, decoder, self._n_seen - n_modelled
        )

    @property
    def _n_seen(self) -> int:
        """Numbers that rows have as they enter the network."""
        table = self._table
        return self.n_features_in_ if table is None else len(table.sources)

    @property
    def _n_modelled(self) -> int:
        """Numbers of a row that the network returns."""
        table = self._table
        return self.n_features_in_ if table is None else table.n_modelled

    @property
    def _names_of_features(self) -> Sequence[Any] | None:
        """Names that messages have for the columns of rows that were validated."""
        if self._table is not None:
            return [self._table.columns[i].label for i in self._table.sources]
        if self._layout is not None:
            return self._layout.names_of_pixels
        return getattr(self, "feature_names_in_", None)

    def _open_checkpoint(self, X: NDArray[Any]) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        start = self.module_ if self.warm_start and hasattr(self, "module_") else None
        parameters = self.get_params(deep=False)
        if self._layout is not None and self._layout.channels != "flat":
            parameters["input_shape"] = self._layout.shape
        fingerprint = training_fingerprint(parameters, X, start)
        if hasattr(self, "_stopped_training"):
            # What was kept of a training that was stopped is no beginning of another.
            fingerprint["start"] = self._stopped_training
        interval = int(self.checkpoint_interval)
        return Checkpoint(self.checkpoint, interval, fingerprint, self._new_seed())

    def _close_checkpoint(self, checkpoint: Checkpoint | None, complete: bool) -> None:
        self._drop("_stopped_training")
        if checkpoint is not None and complete:
            checkpoint.remove()
        elif checkpoint is not None:
            self._stopped_training = checkpoint.identity["start"]

    # Inference

    @property
    def _standardizer(self) -> Standardizer:
        whole = Standardizer(self.mean_, self.scale_)
        return whole if self._table is None else whole.at(self._table.sources)

    def _inference_dtype(self, X: NDArray[Any]) -> torch.dtype:
        exact = network_dtype(X.dtype)
        return exact if self._architecture.get("float64", True) else torch.float32

    def _infer(
        self, function: Any, X: NDArray[Any], rows_at_a_time: int = 2**62
    ) -> NDArray[Any]:
        """Apply a function of the network and standardized rows to rows."""
        dtype, standardizer = self._inference_dtype(X), self._standardizer
        return infer(self.module_, function, X, standardizer, dtype, rows_at_a_time)

    def _transform(self, X: NDArray[Any]) -> Any:
        return self._encoded(self._make_inference().encode, X)

    def _encoded(self, encode: Any, X: NDArray[Any]) -> NDArray[Any]:
        """Apply a function of the network and rows; the result is finite."""
        result = self._infer(encode, X)
        lost = np.flatnonzero(~np.isfinite(result).all(axis=1))
        if len(lost):
            # What leaves the range of float32 on its way through the network.
            limits = np.finfo(result.dtype)
            found = self._infer(encode, X[lost].astype(np.float64))
            found = np.nan_to_num(found, nan=0.0, posinf=np.inf, neginf=-np.inf)
            result[lost] = np.clip(found, limits.min, limits.max)
        return result

    def _inverse_transform(self, Z: NDArray[Any]) -> Any:
        return self._from_latents(self._make_inference().decode, Z)

    def _from_latents(self, decode: Any, Z: NDArray[Any]) -> NDArray[Any]:
        """Apply a function of the network and latents; return original units."""
        latents = Standardizer.identity(Z.shape[1])
        rows = infer(self.module_, decode, Z, latents, self._inference_dtype(Z))
        return self._standardizer.at(slice(self._n_modelled)).original(rows)

    def _reconstruct(self, X: NDArray[Any]) -> Any:
        Z = self._transform(X)
        if self._table is not None:
            codes = self._standardizer.apply(X, torch.float64)[:, self._n_modelled :]
            Z = np.hstack([Z, codes.numpy().astype(Z.dtype)])
        return self._inverse_transform(Z)

    def _scoring(self, n_parts: int | None = None) -> Inference:
        """Return what the network says of rows, with the score that is asked for."""
        inference = self._make_inference(n_parts)
        if self.score_window is None:
            return inference
        shape = require_window(self.score_window, self._image_shape)
        return WindowInference(inference, shape, int(self.score_window))

    def _score_samples(self, X: NDArray[Any]) -> Any:
        inference = self._scoring()
        return self._infer(inference.score, X, inference.rows_per_score)

    def _score_contributions(self, X: NDArray[Any]) -> Any:
        inference = self._scoring()
        at_a_time = inference.rows_per_contribution
        found = self._infer(inference.contributions, X, at_a_time)
        return found if self._table is None else self._table.by_column(found)

    def _onnx_graph(self, methods: Sequence[str], dtype: str) -> EmbedderGraph:
        inference = self._scoring(MAX_PARTS)
        return EmbedderGraph(
            self.module_,
            inference.encode,
            inference.decode,
            inference.score,
            self._standardizer,
            methods,
            network_precision(self.module_, methods, dtype),
            None if self._table is None else TableGraph(self._table),
        )

    # Images

    @property
    def input_shape_(self) -> tuple[int, ...]:
        """Channels, height and width of the images that rows are."""
        check_is_fitted(self)
        if self._image_shape is None:
            raise AttributeError(
                f"This {type(self).__name__} has no input_shape_: it was fitted on "
                "flat rows, without input_shape."
            )
        return tuple(self._image_shape)

    @property
    def _image_shape(self) -> Sequence[int] | None:
        """Shape of images, channels first, as far as it is known."""
        if self._layout is not None:
            return self._layout.shape
        # Files of the first releases hold no layout.
        return getattr(self, "_architecture", {}).get("input_shape")

    @fork_safe
    def score_map(self, X: ArrayLike) -> NDArray[Any]:
        """Return what every pixel contributes to the score of its image.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width[, channels]), \
(n_samples, channels, height, width) or (n_samples, n_features)
            Images. As flat rows they have their channels first.

        Returns
        -------
        maps : ndarray of shape (n_samples, height, width)
            Contributions to the score, summed over channels: the lower, the more
            abnormal. Their sum over all pixels is `score_samples` with
            ``score_window=None``, whatever `score_window` is.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid, the rows of the fit were no images, or the score is
            undefined for this model or is no sum over features.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_digits
        >>> from latentsk import AutoencoderEmbedder
        >>> images = load_digits().images
        >>> embedder = AutoencoderEmbedder(standardize=False, random_state=0)
        >>> embedder.fit(images[:500])
        AutoencoderEmbedder(random_state=0, standardize=False)
        >>> scratched = images[500:501].copy()
        >>> scratched[0, 6, 1] = 16.0
        >>> found = embedder.score_map(scratched)
        >>> np.unravel_index(found[0].argmin(), (8, 8))
        (np.int64(6), np.int64(1))
        """
        check_is_fitted(self)
        self._validate_params()
        shape = require_images("score_map", self._image_shape)
        rows = self._validate(X, reset=False, method="score_map")
        inference = self._make_inference()
        maps = pixel_maps(inference, shape)
        return self._infer(maps, rows, inference.rows_per_contribution)

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")

    # State

    def _rebuild_network(self) -> nn.Module:
        custom = self._architecture["network"] == "custom"
        if custom and not hasattr(self, "_custom_pair"):
            # Read from a file, which holds no modules: the caller has given them.
            self._custom_pair = self._build(self._architecture)
        if custom:
            network = copy.deepcopy(self._custom_pair)
        else:
            network = self._build(self._architecture)
        return network.eval().to(device_or_cpu(self.device))

    # Validation

    def _validate(self, X: Any, *, reset: bool, method: str) -> Any:
        if reset:
            self._drop("_table")
            table = learned_table(self, X, declared=method == "partial_fit")
            if table is not None:
                self._table = table
        if self._table is not None:
            return table_rows(self, X, self._table)
        images = image_rows(X, self.input_shape if reset else known_shape(self, X))
        with pixels_diagnosed(X, images):
            rows = numeric_rows(self, images.rows, reset=reset)
        if reset:
            self._drop("_layout")
            if images.layout is not None:
                self._layout = images.layout
        return rows

    def _validate_latents(self, Z: Any) -> Any:
        return checked(on_host(Z), dtype=[np.float64, np.float32], input_name="X")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.three_d_array = True
        return tags
