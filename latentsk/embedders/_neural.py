"""What the torch-trained embedders share (abstract)."""

from __future__ import annotations

import copy
import math
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.callback import CallbackSupportMixin
from torch import nn

from latentsk._chunks import row_blocks, sample_rows
from latentsk._device import (
    device_or_cpu,
    on_host,
    resolve_device,
    resolve_precision,
)
from latentsk._diagnosis import diagnosed
from latentsk._progress import LossProgressBar
from latentsk._random import RandomState, numpy_generator
from latentsk._threshold import ThresholdMixin
from latentsk._typing import Float64
from latentsk._validation import checked, validated
from latentsk.embedders._base import BaseEmbedder
from latentsk.embedders._neural_parameters import (
    NEURAL_CONSTRAINTS,
    automatic_batch_size,
)
from latentsk.embedders._onnx import MAX_PARTS, EmbedderGraph
from latentsk.networks import _architecture
from latentsk.networks._architecture import Architecture, NetworkParameters
from latentsk.networks._autoencoder import Autoencoder
from latentsk.networks._mlp import initialize, perceptron_operations
from latentsk.training._checkpoint import Checkpoint
from latentsk.training._compile import worth_compiling
from latentsk.training._data import is_memory_mapped, split_rows
from latentsk.training._fingerprint import training_fingerprint
from latentsk.training._history import EpochRecord
from latentsk.training._inference import Inference, infer
from latentsk.training._loop import TrainingSettings, train, train_epoch
from latentsk.training._objective import Objective
from latentsk.training._optimizer import OptimizerSettings
from latentsk.training._standardize import Standardizer, network_dtype
from latentsk.training._weights import detached

# What a network takes without a copy of the whole array in another dtype.
FLOATS = [np.float64, np.float32, np.float16]
INTEGERS = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64]
# Rows set aside from which the automatic threshold is placed on them.
MIN_ROWS_TO_JUDGE = 32


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
        "_optimizer_state",
        "_stopped_training",
    )
    _pickled_state: tuple[str, ...] = ("_custom_pair",)

    # Parameters that are read here, with what they are where a final class has none.
    encoder: nn.Module | None = None
    decoder: nn.Module | None = None
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

    module_: Any
    mean_: Float64
    scale_: Float64
    n_components_: int

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
        rows, monitored, held_out = split_rows(
            X, self._standardizer, device, self.validation_fraction, generator
        )
        is_validated = len(held_out) > 0
        objective = self._make_objective(
            network, resolve_precision(self.precision, device)
        )
        with self._reported(X, network, is_validated) as on_epoch:
            result = train(
                network,
                objective,
                rows,
                monitored,
                self._training_settings(network, len(rows)),
                generator,
                on_epoch=on_epoch,
                checkpoint=checkpoint,
            )
        self.module_ = detached(network)
        self.history_ = [record.as_dict(is_validated) for record in result.history]
        self.best_epoch_ = result.best_epoch
        self._set_offset(self._score_samples(self._rows_to_judge(X, held_out)))
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
            network = self._continued(architecture, "partial_fit").to(device)
        else:
            network = self._start(architecture, X, generator).to(device)
            self.history_ = []
        stored = getattr(self, "_optimizer_state", None)
        if stored is not None:
            generator.set_state(torch.tensor(stored["generator"]))
        rows, *_ = split_rows(X, self._standardizer, device, 0.0, generator)
        objective = self._make_objective(
            network, resolve_precision(self.precision, device)
        )
        settings = self._training_settings(network, len(rows))
        record, state = train_epoch(
            network, objective, rows, settings, generator, stored
        )
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
            return self._continued(architecture, "warm_start")
        self._architecture = architecture
        self.mean_, self.scale_ = self._make_standardizer(X)
        network = self._build(architecture)
        self.n_components_ = architecture["n_components"]
        if architecture["network"] == "custom":
            # The parameters encoder and decoder may be other ones when it is unpickled.
            self._custom_pair = copy.deepcopy(network)
        else:
            initialize(network, generator)
        return network

    def _continued(self, architecture: Architecture, who: str) -> Any:
        """Return a copy of the trained network, if the parameters still mean it."""
        for name, value in self._architecture.items():
            # None stands for what custom modules decide, and for what another kind of
            # network lacks.
            if architecture.get(name) not in (value, None):
                raise ValueError(
                    f"{who} continues with the same network, but {name} is now "
                    f"{architecture[name]!r} instead of {value!r}. Set the parameters "
                    "back, or fit with warm_start=False."
                )
        return copy.deepcopy(self.module_)

    def _make_standardizer(self, X: NDArray[Any]) -> Standardizer:
        architecture = self._architecture
        if not architecture["standardize"]:
            return Standardizer.identity(X.shape[1])
        convolutional = architecture["network"] == "conv"
        channels = architecture["input_shape"][0] if convolutional else None
        return Standardizer.of(X, channels)

    def _describe_network(self, n_features: int, per_latent: int) -> Architecture:
        names = filter(partial(hasattr, self), NetworkParameters._fields)
        parameters = NetworkParameters(**{name: getattr(self, name) for name in names})
        return _architecture.describe_network(parameters, n_features, per_latent)

    def _build_pair(self, architecture: Architecture) -> Autoencoder:
        return _architecture.build_network(
            architecture, self.n_features_in_, self.encoder, self.decoder
        )

    def _training_settings(self, network: Any, n_rows: int) -> TrainingSettings:
        batch_size = self.batch_size
        if batch_size == "auto":
            batch_size = automatic_batch_size(n_rows)
        compile = self.compile
        if compile == "auto":
            # The steps of a perceptron on a CPU are short as they are.
            on_cpu = next(network.parameters()).device.type == "cpu"
            is_short = on_cpu and perceptron_operations(network) < math.inf
            long = worth_compiling(n_rows, int(batch_size), self.max_epochs)
            compile = long and not is_short
        clip_norm = None if self.clip_norm is None else float(self.clip_norm)
        return TrainingSettings(
            int(self.max_epochs),
            int(batch_size),
            float(self.learning_rate_init),
            self.learning_rate,
            OptimizerSettings(float(self.weight_decay), clip_norm),
            int(self.n_iter_no_change),
            float(self.tol),
            math.inf if self.max_time is None else float(self.max_time),
            bool(compile),
        )

    def _rows_to_judge(
        self, X: NDArray[Any], held_out: NDArray[np.int64]
    ) -> NDArray[Any]:
        """Return the rows that the threshold is placed on."""
        if self.contamination != "auto":
            return X
        if len(held_out) < MIN_ROWS_TO_JUDGE:
            return sample_rows(X)
        # Rows that the network has not been trained on are reconstructed like new ones.
        return sample_rows(X[sample_rows(held_out[:, None])[:, 0]])

    def _open_checkpoint(self, X: NDArray[Any]) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        start = self.module_ if self.warm_start and hasattr(self, "module_") else None
        fingerprint = training_fingerprint(self.get_params(deep=False), X, start)
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

    @contextmanager
    def _reported(
        self, X: NDArray[Any], network: nn.Module, is_validated: bool
    ) -> Iterator[Callable[[EpochRecord], bool]]:
        """Tell scikit-learn's callbacks of every epoch; they may end the training."""
        context = self._init_callback_context(max_subtasks=int(self.max_epochs))
        progress = LossProgressBar() if self.verbose else None
        if progress is not None:
            progress.setup(self, context)
        context.call_on_fit_task_begin(estimator=self, X=X)

        def on_epoch(record: EpochRecord) -> bool:
            epoch = context.subcontext(task_name="epoch")
            epoch.call_on_fit_task_begin(estimator=self, X=X)
            entry = record.as_dict(is_validated)
            if progress is not None:
                progress.on_fit_task_end(self, epoch, metadata=entry)
            return epoch.call_on_fit_task_end(
                estimator=self,
                X=X,
                metadata=entry,
                reconstruction_attributes=lambda: {"module_": detached(network)},
            )

        try:
            yield on_epoch
        finally:
            if progress is not None:
                progress.teardown(self, context)
        context.call_on_fit_task_end(estimator=self, X=X)

    # Inference

    @property
    def _standardizer(self) -> Standardizer:
        return Standardizer(self.mean_, self.scale_)

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
        latents = Standardizer.identity(self.n_components_)
        rows = infer(self.module_, decode, Z, latents, self._inference_dtype(Z))
        return self._standardizer.original(rows)

    def _score_samples(self, X: NDArray[Any]) -> Any:
        inference = self._make_inference()
        inference.require_scorable(X)
        return self._infer(inference.score, X, inference.rows_per_score)

    def _score_contributions(self, X: NDArray[Any]) -> Any:
        inference = self._make_inference()
        inference.require_scorable(X)
        rows_at_a_time = inference.rows_per_contribution
        return self._infer(inference.contributions, X, rows_at_a_time)

    def _onnx_graph(self, methods: Sequence[str], dtype: str) -> EmbedderGraph:
        inference = self._make_inference(MAX_PARTS)
        return EmbedderGraph(
            self.module_,
            inference.encode,
            inference.decode,
            inference.score,
            self._standardizer,
            methods,
            torch.float32,  # onnxruntime has no convolutions in float64 on the CPU
        )

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
        if getattr(X, "ndim", 2) > 2:
            raise ValueError(
                f"Expected 2D array, got {X.ndim}D array instead. Flatten images with "
                "X.reshape(len(X), -1), and give their input_shape."
            )
        # scikit-learn's test for NaN may make an array as large as a mapped file.
        by_blocks = is_memory_mapped(X)
        dtype = [*FLOATS, *INTEGERS]
        X = validated(
            self, on_host(X), reset=reset, dtype=dtype, ensure_all_finite=not by_blocks
        )
        with diagnosed(X):  # which counts rows from the first one of all
            for block in row_blocks(X) if by_blocks else ():
                checked(block, dtype=None, input_name="X", estimator=self)
        return X

    def _validate_latents(self, Z: Any) -> Any:
        return checked(on_host(Z), dtype=[np.float64, np.float32], input_name="X")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
