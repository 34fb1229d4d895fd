"""A neural autoencoder as an embedder."""

from __future__ import annotations

import copy
import math
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor, nn

from latentsk._device import on_host
from latentsk._random import RandomState
from latentsk.embedders._base import BaseEmbedder
from latentsk.embedders._blocks import sample_rows
from latentsk.embedders._neural import (
    dropout_masks,
    held_out,
    infer,
    torch_generator,
    train,
)
from latentsk.embedders._standardize import Standardizer
from latentsk.modules.autoencoder import Autoencoder
from latentsk.modules.mlp import ACTIVATIONS, initialize, mlp
from latentsk.training.loop import EpochRecord, LoopSettings
from latentsk.training.objectives import LOSSES, squared_error
from latentsk.training.step import Noise, Parameters, StepSettings

INPUT_NOISE = "input"


class AutoencoderEmbedder(BaseEmbedder):
    """A latent space learned by reconstructing rows with two perceptrons.

    For data on a curved manifold, where PCA fails. Features are standardized inside;
    what goes in and comes out is in original units.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Latent dimensions. "auto": the square root of the number of features, rounded
        up, at most 32.

    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the encoder's hidden layers; the decoder mirrors them. "auto": two
        layers, the first as wide as twice the features (32 to 512), the second half of
        it.

    activation : {"identity", "relu", "elu", "gelu", "silu", "tanh"}, default="relu"
        After every hidden layer. The output is linear.

    dropout : float in [0, 1), default=0.0
        Rate after every hidden layer, while training.

    layer_norm : bool, default=False
        Whether to normalize each row before every activation.

    loss : {"squared_error", "absolute_error", "huber", "binary_cross_entropy"}, \
default="squared_error"
        What training minimizes, summed over features.

    noise : float, default=0.0
        Standard deviation of Gaussian noise on the standardized input (a denoising
        autoencoder); the target stays clean.

    standardize : bool, default=True
        Whether the network sees standardized features.

    batch_size : int or "auto", default="auto"
        Rows per step. "auto": one in 32 of the rows, 16 at least and 512 at most.

    learning_rate_init : float, default=1e-3
        Adam's, at the start.

    learning_rate : {"constant", "cosine"}, default="cosine"
        Its schedule.

    weight_decay : float, default=0.0
        Decoupled weight decay (AdamW).

    clip_norm : float or None, default=None
        Largest norm of the gradient.

    max_epochs : int, default=200
        Passes over the data at most.

    validation_fraction : float in [0, 1), default=0.1
        Share of the rows set aside to choose the best weights, if there are at least
        50 rows.

    n_iter_no_change : int, default=20
        Epochs without improvement after which training stops.

    tol : float, default=1e-4
        Share of the loss by which it has to improve.

    contamination : "auto" or float in (0, 0.5], default="auto"
        As in PCAEmbedder.

    random_state : int, RandomState, Generator or None, default=None
        Of the initial weights, the order of the rows and the noise.

    verbose : bool, default=False
        Whether to print a line per epoch.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained network, in eval mode.

    n_components_ : int
        Latent dimensions.

    mean_, scale_ : ndarray of shape (n_features_in_,)
        Of the standardization.

    history_ : list of dict
        Per epoch: "epoch", "train_loss", "validation_loss" (None where no rows were set
        aside), "learning_rate", "seconds".

    best_epoch_ : int
        The epoch whose weights were kept.

    offset_ : float
        Threshold of `decision_function`, in squared standardized units.

    n_features_in_ : int
        Number of features.

    References
    ----------
    G. Hinton, R. Salakhutdinov (2006). Reducing the dimensionality of data with neural
    networks. Science, 313(5786), 504-507.
    """

    _parameter_constraints: dict[str, Any] = {
        **BaseEmbedder._parameter_constraints,
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "hidden_layer_sizes": [tuple, list, StrOptions({"auto"})],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "layer_norm": ["boolean"],
        "loss": [StrOptions(set(LOSSES))],
        "noise": [Interval(Real, 0, None, closed="left")],
        "standardize": ["boolean"],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "learning_rate": [StrOptions({"constant", "cosine"})],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state", np.random.Generator],
        "verbose": ["boolean"],
    }

    def __init__(
        self,
        n_components: int | str = "auto",
        *,
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "relu",
        dropout: float = 0.0,
        layer_norm: bool = False,
        loss: str = "squared_error",
        noise: float = 0.0,
        standardize: bool = True,
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-3,
        learning_rate: str = "cosine",
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        max_epochs: int = 200,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        tol: float = 1e-4,
        contamination: float | str = "auto",
        random_state: RandomState = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.loss = loss
        self.noise = noise
        self.standardize = standardize
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.contamination = contamination
        self.random_state = random_state
        self.verbose = verbose

    # Fitting

    def _fit(self, X: NDArray[Any]) -> None:
        generator = torch_generator(self.random_state)
        standardizer = self._make_standardizer(X)
        self.mean_, self.scale_ = standardizer
        self.n_components_ = self._latent_width(X.shape[1])
        module = self._make_module(X.shape[1])
        initialize(module, generator)
        rows = standardizer.tensor(X, torch.float32)
        fit = train(
            module,
            self._objective(module),
            *held_out(rows, self.validation_fraction, generator),
            LoopSettings(
                self.max_epochs,
                self._rows_per_step(len(X)),
                self.learning_rate_init,
                self.learning_rate,
            ),
            StepSettings(self.weight_decay, self.clip_norm),
            generator,
            draw_noise=self._noise_source(module, X.shape[1]),
            evaluate=self._evaluation(module),
            patience=self.n_iter_no_change,
            tolerance=self.tol,
            on_epoch=self._report,
        )
        module.load_state_dict(fit.parameters)
        self.module_ = module.eval()
        self.history_ = [_as_dict(record) for record in fit.history]
        self.best_epoch_ = fit.best_epoch
        scored = sample_rows(X) if self.contamination == "auto" else X
        self._set_offset(self._score_samples(scored))

    def _fit_transform(self, X: NDArray[Any]) -> Any:
        self._fit(X)
        return self._transform(X)

    def _make_standardizer(self, X: NDArray[Any]) -> Standardizer:
        if self.standardize:
            return Standardizer.of(X)
        return Standardizer.identity(X.shape[1])

    def _rows_per_step(self, n_rows: int) -> int:
        if self.batch_size == "auto":
            return min(512, max(16, n_rows // 32))
        return int(self.batch_size)

    def _latent_width(self, n_features: int) -> int:
        if self.n_components == "auto":
            return min(32, math.ceil(math.sqrt(n_features)))
        return int(self.n_components)

    def _make_module(self, n_features: int) -> Autoencoder:
        hidden = self.hidden_layer_sizes
        if hidden == "auto":
            first = min(512, max(32, 2 * n_features))
            hidden = (first, first // 2)
        sizes = [n_features, *(int(width) for width in hidden), self.n_components_]
        options: dict[str, Any] = {
            "activation": self.activation,
            "dropout": self.dropout,
            "layer_norm": self.layer_norm,
        }
        return Autoencoder(mlp(sizes, **options), mlp(sizes[::-1], **options))

    def _objective(self, module: nn.Module) -> Any:
        template, loss = module.train(), LOSSES[self.loss]

        def objective(
            parameters: Parameters, batch: Tensor, noise: Noise, kl_weight: Tensor
        ) -> Tensor:
            masks = {k: v for k, v in noise.items() if k != INPUT_NOISE}
            seen = batch + noise[INPUT_NOISE] if INPUT_NOISE in noise else batch
            output, _ = torch.func.functional_call(
                template, {**parameters, **masks}, (seen,)
            )
            return loss(output, batch)

        return objective

    def _evaluation(self, module: nn.Module) -> Any:
        template, loss = copy.deepcopy(module).eval(), LOSSES[self.loss]

        def evaluate(parameters: Parameters, rows: Tensor) -> Tensor:
            output, _ = torch.func.functional_call(template, parameters, (rows,))
            return loss(output, rows)

        return evaluate

    def _noise_source(self, module: nn.Module, width: int) -> Any:
        draw_masks = dropout_masks(module)

        def draw(n_rows: int, generator: torch.Generator) -> Noise:
            noise = draw_masks(n_rows, generator)
            if self.noise:
                shape = (n_rows, width)
                noise[INPUT_NOISE] = self.noise * torch.randn(
                    shape, generator=generator
                )
            return noise

        return draw

    def _report(self, record: EpochRecord) -> None:
        if self.verbose:
            print(f"epoch {record.epoch}: loss {record.monitored:.6g}")

    # Inference

    def _standardized(self, X: NDArray[Any]) -> Tensor:
        dtype = torch.float32 if X.dtype == np.float32 else torch.float64
        return Standardizer(self.mean_, self.scale_).tensor(X, dtype)

    def _transform(self, X: NDArray[Any]) -> Any:
        return infer(self.module_.encoder, self._standardized(X)).numpy()

    def _decode(self, latents: Tensor) -> Tensor:
        rows = infer(self.module_.decoder, latents)
        return torch.sigmoid(rows) if self.loss == "binary_cross_entropy" else rows

    def _inverse_transform(self, Z: NDArray[Any]) -> Any:
        rows = self._decode(torch.from_numpy(np.ascontiguousarray(Z))).numpy()
        return Standardizer(self.mean_, self.scale_).original(rows)

    def _score_samples(self, X: NDArray[Any]) -> Any:
        rows = self._standardized(X)
        latents = infer(self.module_.encoder, rows)
        return -squared_error(self._decode(latents), rows).numpy()

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")

    # State

    def _get_state(self) -> dict[str, Any]:
        state = super()._get_state()
        module = state.pop("module_", None)
        if module is not None:
            weights = module.state_dict().items()
            state["module_weights_"] = {k: v.numpy() for k, v in weights}
        return state

    def _set_state(self, state: dict[str, Any]) -> None:
        state = dict(state)
        weights = state.pop("module_weights_", None)
        super()._set_state(state)
        if weights is not None:
            self.module_ = self._make_module(self.n_features_in_).eval()
            self.module_.load_state_dict(
                {name: torch.from_numpy(array) for name, array in weights.items()}
            )

    # Validation

    def _validate(self, X: Any, *, reset: bool, method: str) -> Any:
        return validate_data(
            self,
            on_host(X),
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_min_samples=1,
        )

    def _validate_latents(self, Z: Any) -> Any:
        Z = check_array(on_host(Z), dtype=[np.float64, np.float32], input_name="X")
        if Z.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but this AutoencoderEmbedder has "
                f"{self.n_components_} components."
            )
        return Z

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _as_dict(record: EpochRecord) -> dict[str, Any]:
    values = record._asdict()
    if math.isnan(record.validation_loss):
        values["validation_loss"] = None
    return values
