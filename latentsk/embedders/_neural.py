"""What the torch-trained embedders share (abstract)."""

from __future__ import annotations

import copy
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.callback import CallbackSupportMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import assert_all_finite
from torch import Tensor, nn

from latentsk._device import (
    device_or_cpu,
    on_host,
    resolve_device,
    resolve_precision,
)
from latentsk._progress import LossProgressBar
from latentsk._random import numpy_generator
from latentsk._threshold import ThresholdMixin
from latentsk._validation import checked, validated
from latentsk.embedders._blocks import row_blocks, sample_rows
from latentsk.embedders._identity import training_identity
from latentsk.embedders._network import (
    NETWORK_PARAMETERS,
    PRESETS,
    Architecture,
    build_network,
    describe_network,
)
from latentsk.embedders._onnx import MAX_PARTS, NetworkGraph
from latentsk.embedders._rows import infer, is_memory_mapped, training_rows
from latentsk.embedders._standardize import Standardizer, network_dtype
from latentsk.modules.autoencoder import Autoencoder
from latentsk.modules.mlp import ACTIVATIONS, initialize
from latentsk.training.acceleration import worth_compiling
from latentsk.training.checkpoint import Checkpoint
from latentsk.training.loop import EpochRecord, LoopSettings
from latentsk.training.run import RunSettings, Task, train, train_on
from latentsk.training.step import Parameters, StepSettings

# What a network takes without a copy of the whole array in another dtype.
DTYPES = [
    np.float64,
    np.float32,
    np.float16,
    np.uint8,
    np.int8,
    np.int16,
    np.uint16,
    np.int32,
    np.int64,
]
# Rows set aside from which the automatic threshold is placed on them.
MIN_ROWS_TO_JUDGE = 32
_POSITIVE_OR_AUTO = [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})]

NEURAL_CONSTRAINTS: dict[str, Any] = {
    "n_components": _POSITIVE_OR_AUTO,
    "network": [StrOptions({"mlp", "conv", *PRESETS})],
    "hidden_layer_sizes": ["array-like", StrOptions({"auto"})],
    "decoder_layer_sizes": ["array-like", None],
    "activation": [StrOptions({"auto", *ACTIVATIONS})],
    "normalize": ["boolean", StrOptions({"auto"})],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "input_shape": ["array-like", None],
    "encoder": [nn.Module, None],
    "decoder": [nn.Module, None],
    "standardize": ["boolean"],
    "batch_size": _POSITIVE_OR_AUTO,
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "learning_rate": [StrOptions({"constant", "cosine"})],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "max_epochs": [Interval(Integral, 1, None, closed="left")],
    "max_time": [Interval(Real, 0, None, closed="neither"), None],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "warm_start": ["boolean"],
    "checkpoint": [str, os.PathLike, None],
    "checkpoint_interval": [Interval(Integral, 1, None, closed="left")],
    "device": [str, torch.device],
    "precision": [StrOptions({"auto", "float32", "bfloat16"})],
    "compile": ["boolean", StrOptions({"auto"})],
    "random_state": ["random_state", np.random.Generator],
    "verbose": ["boolean"],
}


def automatic_batch_size(n_rows: int) -> int:
    """Return the rows per step that "auto" means.

    Examples
    --------
    >>> [automatic_batch_size(n_rows) for n_rows in (100, 10_000, 1_000_000)]
    [16, 312, 512]
    """
    return min(512, max(16, n_rows // 32))


class NeuralMixin(CallbackSupportMixin, ABC):
    """Training and inference of a network with an encoder and a decoder (abstract).

    Beside `BaseEmbedder`, it provides the twins that do not depend on what is learned.
    A final class provides these, and ``_inverse_transform``, ``_score_samples``:

    - ``_check_values(X)``, which refuses values that the loss does not take;
    - ``_describe(n_features)``: the network and its target, JSON-able;
    - ``_resolve(X)``: what the description leaves to the data;
    - ``_build()``: the network described, with weights that are not trained;
    - ``_on_unit_interval``: whether the data lie in [0, 1], and stay as they are;
    - ``_make_task(module, precision)``: the objective;
    - ``_loop_settings()``: settings of the loop that only this class has;
    - ``_examine(X)``, which may warn of what training came to, from a few of its rows;
    - ``_encode(network, rows)``: latent coordinates;
    - ``_decode(network, latents)``: standardized rows;
    - ``_scorer(n_parts)``, the function of the network and of standardized rows that
      scores them; with `n_parts` in the same steps for any number of rows, which draw
      random numbers in at most so many parts.
    """

    _private_state = (
        *ThresholdMixin._private_state,
        "_architecture",
        "_optimizer_state",
        "_stopped_training",
    )
    _pickled_state: tuple[str, ...] = ("_own_pair",)

    module_: Any
    mean_: NDArray[np.float64]
    scale_: NDArray[np.float64]
    n_components_: int

    @abstractmethod
    def _check_values(self, X: NDArray[Any]) -> None: ...

    @abstractmethod
    def _describe(self, n_features: int) -> Architecture: ...

    @abstractmethod
    def _resolve(self, X: NDArray[Any]) -> None: ...

    @abstractmethod
    def _build(self) -> Any: ...

    @abstractmethod
    def _encode(self, network: Any, rows: Tensor) -> Tensor: ...

    @abstractmethod
    def _decode(self, network: Any, latents: Tensor) -> Tensor: ...

    @abstractmethod
    def _scorer(
        self, n_parts: int | None = None
    ) -> Callable[[Any, Tensor], Tensor]: ...

    @property
    @abstractmethod
    def _on_unit_interval(self) -> bool: ...

    @abstractmethod
    def _make_task(self, module: Any, precision: str) -> Task: ...

    @abstractmethod
    def _loop_settings(self) -> dict[str, Any]: ...

    @abstractmethod
    def _examine(self, X: NDArray[Any]) -> None: ...

    # Fitting

    def _fit(self, X: NDArray[Any]) -> None:
        self._check_values(X)
        seed = int(numpy_generator(self.random_state).integers(2**63))
        checkpoint = self._open_checkpoint(X, seed)
        if checkpoint is not None:
            seed = checkpoint.seed
        generator = torch.Generator().manual_seed(seed)
        module = self._begin(X, generator)
        device = resolve_device(self.device)
        rows, monitored, held_out = training_rows(
            X, self._standardizer, device, self.validation_fraction, generator
        )
        task = self._make_task(module, resolve_precision(self.precision, device))
        settings = self._run_settings(len(rows), task)
        with self._reported(X, module, len(held_out) > 0) as on_epoch:
            result = train(
                task,
                rows,
                monitored,
                settings,
                generator,
                on_epoch=on_epoch,
                checkpoint=checkpoint,
            )
        self.module_ = _with_weights(module, result.parameters)
        validated = len(held_out) > 0
        self.history_ = [_as_dict(record, validated) for record in result.history]
        self.best_epoch_ = result.best_epoch
        self._set_offset(self._score_samples(self._rows_to_place_offset(X, held_out)))
        self._examine(sample_rows(X))
        self.__dict__.pop("_stopped_training", None)
        if checkpoint is not None and result.complete:
            checkpoint.remove()
        elif checkpoint is not None:
            self._stopped_training = checkpoint.identity["start"]

    def _rows_to_place_offset(
        self, X: NDArray[Any], held_out: NDArray[np.int64]
    ) -> NDArray[Any]:
        if self.contamination != "auto":
            return X
        if len(held_out) < MIN_ROWS_TO_JUDGE:
            return sample_rows(X)
        # Rows that the network has not been trained on are reconstructed like new ones.
        return sample_rows(X[sample_rows(held_out[:, None])[:, 0]])

    def _fit_transform(self, X: NDArray[Any]) -> Any:
        self._fit(X)
        return self._transform(X)

    def _partial_fit(self, X: NDArray[Any]) -> None:
        self._check_values(X)
        seed = int(numpy_generator(self.random_state).integers(2**63))
        generator = torch.Generator().manual_seed(seed)
        if hasattr(self, "module_"):
            self._require_same_network("partial_fit")
            module = copy.deepcopy(self.module_).to(resolve_device(self.device))
        else:
            module = self._begin(X, generator)
            self.history_ = []
        device = resolve_device(self.device)
        stored = getattr(self, "_optimizer_state", None)
        if stored is not None:
            generator.set_state(torch.tensor(stored["generator"]))
        rows, *_ = training_rows(X, self._standardizer, device, 0.0, generator)
        task = self._make_task(module, resolve_precision(self.precision, device))
        result = train_on(
            task, rows, self._run_settings(len(rows), task), generator, stored
        )
        self.module_ = _with_weights(module, result.parameters)
        record = result.record._replace(epoch=len(self.history_) + 1)
        self.history_ = [*self.history_, _as_dict(record, validated=False)]
        self.best_epoch_ = len(self.history_)
        self._optimizer_state = {
            **result.optimizer_state,
            "generator": np.array(generator.get_state().numpy()),
        }

    def _begin(self, X: NDArray[Any], generator: torch.Generator) -> Any:
        """Return the network to start from, and set the attributes that describe it."""
        device = resolve_device(self.device)
        if self.warm_start and hasattr(self, "module_"):
            self._require_same_network("warm_start")
            self.__dict__.pop("_optimizer_state", None)  # of another training
            return copy.deepcopy(self.module_).to(device)
        self._architecture = self._describe(X.shape[1])
        self._resolve(X)
        self.mean_, self.scale_ = self._make_standardizer(X)
        module = self._build()
        self.n_components_ = self._architecture["n_components"]
        if self._architecture["network"] == "own":
            # The parameters encoder and decoder may be other ones when it is unpickled.
            self._own_pair = copy.deepcopy(module)
        else:
            initialize(module, generator)
        return module.to(device)

    def _make_standardizer(self, X: NDArray[Any]) -> Standardizer:
        if self._on_unit_interval or not self.standardize:
            return Standardizer.identity(X.shape[1])
        convolutional = self._architecture["network"] == "conv"
        channels = self._architecture["input_shape"][0] if convolutional else None
        return Standardizer.of(X, channels)

    def _require_same_network(self, who: str) -> None:
        described = self._describe(len(self.mean_))
        for name, value in self._architecture.items():
            # None stands for what the own modules or the data decide.
            if described.get(name) not in (value, None):
                raise ValueError(
                    f"{who} goes on with the same network, but {name} is now "
                    f"{described[name]!r} instead of {value!r}. Set the parameters "
                    "back, or fit with warm_start=False."
                )
            if name not in described:
                raise ValueError(
                    f"{who} goes on with the same network, but the parameters now "
                    f"mean another one (network={described['network']!r}). Set them "
                    "back, or fit with warm_start=False."
                )

    def _describe_network(self, n_features: int, per_latent: int) -> Architecture:
        parameters = {name: getattr(self, name) for name in NETWORK_PARAMETERS}
        return describe_network(n_features, **parameters, per_latent=per_latent)

    def _build_pair(self) -> Autoencoder:
        return build_network(
            self._architecture, self.n_features_in_, self.encoder, self.decoder
        )

    def _run_settings(self, n_rows: int, task: Task) -> RunSettings:
        batch_size = self.batch_size
        if batch_size == "auto":
            batch_size = automatic_batch_size(n_rows)
        compile = self.compile
        if compile == "auto":
            # A gradient in closed form needs no compilation.
            long = worth_compiling(n_rows, batch_size, self.max_epochs)
            compile = task.closed_form is None and long
        return RunSettings(
            LoopSettings(
                int(self.max_epochs),
                int(batch_size),
                float(self.learning_rate_init),
                self.learning_rate,
                **self._loop_settings(),
            ),
            StepSettings(
                float(self.weight_decay),
                None if self.clip_norm is None else float(self.clip_norm),
            ),
            int(self.n_iter_no_change),
            float(self.tol),
            math.inf if self.max_time is None else float(self.max_time),
            bool(compile),
        )

    def _open_checkpoint(self, X: NDArray[Any], seed: int) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        start = self.module_ if self.warm_start and hasattr(self, "module_") else None
        identity = training_identity(self.get_params(deep=False), X, start)
        if hasattr(self, "_stopped_training"):
            # What was kept of a training that was stopped is no beginning of another.
            identity["start"] = self._stopped_training
        return Checkpoint(
            self.checkpoint, int(self.checkpoint_interval), identity, seed
        )

    @contextmanager
    def _reported(
        self, X: NDArray[Any], module: nn.Module, validated: bool
    ) -> Iterator[Callable[[EpochRecord, Parameters], bool]]:
        """Tell scikit-learn's callbacks of every epoch; they may end the training."""
        context = self._init_callback_context(max_subtasks=int(self.max_epochs))
        progress = LossProgressBar() if self.verbose else None
        if progress is not None:
            progress.setup(self, context)
        context.call_on_fit_task_begin(estimator=self, X=X)

        def on_epoch(record: EpochRecord, parameters: Parameters) -> bool:
            epoch = context.subcontext(task_name="epoch")
            epoch.call_on_fit_task_begin(estimator=self, X=X)
            if progress is not None:
                progress.on_fit_task_end(
                    self, epoch, metadata=_as_dict(record, validated)
                )
            return epoch.call_on_fit_task_end(
                estimator=self,
                X=X,
                metadata=_as_dict(record, validated),
                reconstruction_attributes=lambda: {
                    "module_": _with_weights(module, parameters)
                },
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

    def _transform(self, X: NDArray[Any]) -> Any:
        return self._encoded_by(self._encode, X)

    def _encoded_by(self, function: Any, X: NDArray[Any]) -> NDArray[Any]:
        """Apply a function of the network and rows; the result is finite."""
        dtype = self._inference_dtype(X)
        result = infer(self.module_, function, X, self._standardizer, dtype)
        lost = np.flatnonzero(~np.isfinite(result).all(axis=1))
        if len(lost):
            # What leaves the range of float32 on its way through the network.
            exact = self._inference_dtype(np.empty(0))
            rows = X[lost].astype(np.float64)
            found = infer(self.module_, function, rows, self._standardizer, exact)
            limits = np.finfo(result.dtype)
            found = np.nan_to_num(found, nan=0.0, posinf=np.inf, neginf=-np.inf)
            result[lost] = np.clip(found, limits.min, limits.max)
        return result

    def _onnx_graph(self, methods: Sequence[str], dtype: str) -> NetworkGraph:
        return NetworkGraph(
            self.module_,
            self._encode,
            self._decode,
            self._scorer(MAX_PARTS),
            self.mean_,
            self.scale_,
            methods,
        )

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")

    # State

    def _rebuild_network(self) -> nn.Module:
        own = self._architecture["network"] == "own"
        if own and not hasattr(self, "_own_pair"):
            # Read from a file, which holds no modules: the caller has given them.
            self._own_pair = self._build()
        network = copy.deepcopy(self._own_pair) if own else self._build()
        return network.eval().to(device_or_cpu(self.device))

    # Validation

    def _validate(self, X: Any, *, reset: bool, method: str) -> Any:
        if getattr(X, "ndim", 2) > 2:
            raise ValueError(
                f"Expected 2D array, got {X.ndim}D array instead. Flatten images with "
                "X.reshape(len(X), -1), and give their input_shape."
            )
        X = on_host(X)
        if not is_memory_mapped(X):
            return validated(self, X, reset=reset, dtype=DTYPES)
        # scikit-learn's test for NaN may make an array as large as the file.
        X = validated(self, X, reset=reset, dtype=DTYPES, ensure_all_finite=False)
        for block in row_blocks(X):
            with np.errstate(over="ignore", invalid="ignore"):  # it adds them up
                assert_all_finite(
                    block, estimator_name=type(self).__name__, input_name="X"
                )
        return X

    def _validate_latents(self, Z: Any) -> Any:
        Z = checked(on_host(Z), dtype=[np.float64, np.float32], input_name="X")
        if Z.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but this {type(self).__name__} has "
                f"{self.n_components_} components."
            )
        return Z

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _with_weights(module: Any, parameters: Parameters) -> Any:
    """Return a copy of a module with other weights, in eval mode."""
    trained = copy.deepcopy(module).eval()
    trained.load_state_dict(parameters, strict=False)
    return trained


def _as_dict(record: EpochRecord, validated: bool) -> dict[str, Any]:
    return {
        "epoch": record.epoch,
        "train_loss": record.train_loss,
        "validation_loss": record.monitored_loss if validated else None,
        "monitored_loss": record.monitored_loss,
        "learning_rate": record.learning_rate,
        "seconds": record.seconds,
    }
