"""A variational autoencoder as an embedder."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from latentsk._random import RandomState, numpy_generator
from latentsk.embedders._base import BaseEmbedder
from latentsk.embedders._blocks import row_blocks
from latentsk.embedders._latents import (
    LatentReport,
    linear_path,
    report,
    spherical_path,
)
from latentsk.embedders._network import Architecture
from latentsk.embedders._neural import NEURAL_CONSTRAINTS, NeuralMixin
from latentsk.embedders._rows import infer, saturated
from latentsk.embedders._standardize import Standardizer, require_unit_interval
from latentsk.modules.likelihoods import LIKELIHOODS, Likelihood
from latentsk.modules.mlp import dropout_layers
from latentsk.modules.own import train_mode
from latentsk.modules.vae import VAE, Output
from latentsk.training.run import Task
from latentsk.training.step import Noise, Parameters
from latentsk.training.variational import (
    elbo,
    iwae,
    kl_divergence,
    log_importance_weights,
    with_free_bits,
)

LATENT_NOISE = "latent"
PATHS = {"linear": linear_path, "slerp": spherical_path}
# Seed of the random numbers that all rows have in common when they are scored.
SCORE_SEED = 0
MIN_SCALE = 1e-3


class VAEEmbedder(NeuralMixin, BaseEmbedder):
    """A smooth latent space with a likelihood, learned by a variational autoencoder.

    Not public yet.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Latent dimensions, as in AutoencoderEmbedder.

    network, hidden_layer_sizes, decoder_layer_sizes, activation, normalize, dropout, \
input_shape
        As in AutoencoderEmbedder.

    encoder, decoder : torch.nn.Module or None, default=None
        Own modules. The encoder returns the means and then the log-variances of the
        latent coordinates.

    likelihood : {"auto", "gaussian", "laplace", "student_t", "bernoulli", \
"continuous_bernoulli"}, default="auto"
        Of a row given its latent coordinates. "auto" is "bernoulli" for data of zeros
        and ones only, else "gaussian".

    likelihood_scale : {"shared", "feature"} or float, default="shared"
        Scale of "gaussian" (standard deviation), "laplace" and "student_t": learned,
        one for all standardized features or one for each, or fixed.

    beta : float, default=1.0
        Weight of the KL divergence in training. Scores take the divergence whole.

    kl_warmup : float, default=0.0
        Share of the training over which that weight rises from 0, linearly; at most one
        half.

    free_nats : float, default=0.0
        Nats of divergence per latent dimension that cost nothing.

    objective : {"elbo", "iwae"}, default="elbo"
        What training maximizes.

    n_samples : int, default=1
        Samples of the latent coordinates per row while training.

    score_method : {"elbo", "iwae", "reconstruction", "kl"}, default="elbo"
        What `score_samples` returns, in nats of the original units.

    n_score_samples : int, default=16
        Samples per row for a score, the same random numbers for all rows.

    standardize, batch_size, learning_rate_init, learning_rate, weight_decay, \
clip_norm, max_epochs, max_time, validation_fraction, n_iter_no_change, tol, \
warm_start, checkpoint, checkpoint_interval, device, precision, compile, \
contamination, random_state, verbose
        As in AutoencoderEmbedder.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained network, in eval mode.

    n_components_ : int
        Latent dimensions.

    likelihood_ : str
        The likelihood used.

    history_ : list of dict
        As in AutoencoderEmbedder. The monitored loss is minus the bound, with the whole
        divergence, in nats of the standardized units.

    References
    ----------
    D. Kingma, M. Welling (2014). Auto-encoding variational Bayes. ICLR.

    Y. Burda, R. Grosse, R. Salakhutdinov (2016). Importance weighted autoencoders.
    ICLR.
    """

    _parameter_constraints: dict[str, Any] = {
        **BaseEmbedder._parameter_constraints,
        **NEURAL_CONSTRAINTS,
        "likelihood": [StrOptions({"auto", *LIKELIHOODS})],
        "likelihood_scale": [
            StrOptions({"shared", "feature"}),
            Interval(Real, MIN_SCALE, None, closed="left"),
        ],
        "beta": [Interval(Real, 0, None, closed="left")],
        "kl_warmup": [Interval(Real, 0, 0.5, closed="both")],
        "free_nats": [Interval(Real, 0, None, closed="left")],
        "objective": [StrOptions({"elbo", "iwae"})],
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "score_method": [StrOptions({"elbo", "iwae", "reconstruction", "kl"})],
        "n_score_samples": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | str = "auto",
        *,
        network: str = "mlp",
        hidden_layer_sizes: Sequence[int] | str = "auto",
        decoder_layer_sizes: Sequence[int] | None = None,
        activation: str = "auto",
        normalize: bool | str = "auto",
        dropout: float = 0.0,
        input_shape: Sequence[int] | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        likelihood: str = "auto",
        likelihood_scale: float | str = "shared",
        beta: float = 1.0,
        kl_warmup: float = 0.0,
        free_nats: float = 0.0,
        objective: str = "elbo",
        n_samples: int = 1,
        score_method: str = "elbo",
        n_score_samples: int = 16,
        standardize: bool = True,
        batch_size: int | str = "auto",
        learning_rate_init: float = 3e-3,
        learning_rate: str = "cosine",
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        max_epochs: int = 200,
        max_time: float | None = None,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        tol: float = 1e-4,
        warm_start: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: int = 10,
        device: str | torch.device = "auto",
        precision: str = "auto",
        compile: bool | str = "auto",
        contamination: float | str = "auto",
        random_state: RandomState = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.network = network
        self.hidden_layer_sizes = hidden_layer_sizes
        self.decoder_layer_sizes = decoder_layer_sizes
        self.activation = activation
        self.normalize = normalize
        self.dropout = dropout
        self.input_shape = input_shape
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.likelihood_scale = likelihood_scale
        self.beta = beta
        self.kl_warmup = kl_warmup
        self.free_nats = free_nats
        self.objective = objective
        self.n_samples = n_samples
        self.score_method = score_method
        self.n_score_samples = n_score_samples
        self.standardize = standardize
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.max_epochs = max_epochs
        self.max_time = max_time
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.device = device
        self.precision = precision
        self.compile = compile
        self.contamination = contamination
        self.random_state = random_state
        self.verbose = verbose

    # What is learned

    def _check_values(self, X: NDArray[Any]) -> None:
        name = getattr(self, "likelihood_", self.likelihood)
        if name in LIKELIHOODS and LIKELIHOODS[name].on_unit_interval:
            require_unit_interval(X, f"likelihood={name!r}")

    def _describe(self, n_features: int) -> Architecture:
        scale = self.likelihood_scale
        return {
            **self._describe_network(n_features, per_latent=2),
            "likelihood": None if self.likelihood == "auto" else self.likelihood,
            "scale": scale if isinstance(scale, str) else float(scale),
            "standardize": self.standardize,
        }

    def _resolve(self, X: NDArray[Any]) -> None:
        if self._architecture["likelihood"] is None:
            binary = all(bool(np.isin(block, (0, 1)).all()) for block in row_blocks(X))
            self._architecture["likelihood"] = "bernoulli" if binary else "gaussian"
        self.likelihood_ = self._architecture["likelihood"]

    def _build(self) -> VAE:
        pair = self._build_pair()
        scale = self._architecture["scale"]
        learned = {"shared": 1, "feature": self.n_features_in_}
        has_scale = LIKELIHOODS[self._architecture["likelihood"]].has_scale
        return VAE(
            pair.encoder,
            pair.decoder,
            n_scales=learned.get(scale, 0) if has_scale else 0,
            min_scale=MIN_SCALE,
            initial_scale=1.0 if isinstance(scale, str) else scale,
        )

    @property
    def _on_unit_interval(self) -> bool:
        return self._distribution.on_unit_interval

    @property
    def _distribution(self) -> Likelihood:
        return LIKELIHOODS[self._architecture["likelihood"]]

    def _make_task(self, module: nn.Module, precision: str) -> Task:
        return Task(
            module,
            lambda: self._objective(module, precision),
            self._evaluation(module),
            self._noise_source(module),
        )

    def _objective(
        self, module: nn.Module, precision: str
    ) -> Callable[[Parameters, Tensor, Noise, Tensor], Tensor]:
        template = train_mode(copy.deepcopy(module))
        log_density = self._distribution.log_density
        weighted = self.objective == "iwae"
        beta, free_nats = float(self.beta), float(self.free_nats)
        device_type = next(module.parameters()).device.type

        def objective(
            parameters: Parameters, batch: Tensor, noise: Noise, kl_weight: Tensor
        ) -> Tensor:
            masks = {k: v for k, v in noise.items() if k != LATENT_NOISE}
            with torch.autocast(
                device_type,
                torch.bfloat16,
                enabled=precision == "bfloat16",
                cache_enabled=False,
            ):
                result = torch.func.functional_call(
                    template, {**parameters, **masks}, (batch, noise[LATENT_NOISE])
                )
            densities = log_density(batch, result.output.float(), result.log_scale)
            if weighted:
                return -iwae(
                    log_importance_weights(
                        densities, result.latents.float(), result.posterior
                    )
                )
            divergence = with_free_bits(kl_divergence(result.posterior), free_nats)
            return -elbo(densities, kl_weight * beta * divergence)

        return objective

    def _evaluation(self, module: nn.Module) -> Callable[[Parameters, Tensor], Tensor]:
        template = copy.deepcopy(module).eval()
        log_density = self._distribution.log_density

        def evaluate(parameters: Parameters, rows: Tensor) -> Tensor:
            # The same at every epoch, but of its own for every row, so that it averages
            # out over them.
            generator = torch.Generator().manual_seed(SCORE_SEED)
            shape = (1, len(rows), self.n_components_)
            noise = torch.randn(shape, generator=generator).to(rows)
            result = torch.func.functional_call(template, parameters, (rows, noise))
            densities = log_density(rows, result.output, result.log_scale)
            return -elbo(densities, kl_divergence(result.posterior).sum(dim=1))

        return evaluate

    def _noise_source(
        self, module: nn.Module
    ) -> Callable[[int, torch.Generator], Noise]:
        layers = {
            name: (layer, self.n_samples if name.startswith("decoder.") else 1)
            for name, layer in dropout_layers(module).items()
        }
        shape = (int(self.n_samples), self.n_components_)

        def draw(n_rows: int, generator: torch.Generator) -> Noise:
            noise = {
                name: layer.draw(n_rows * times, generator)
                for name, (layer, times) in layers.items()
            }
            noise[LATENT_NOISE] = torch.randn(
                shape[0], n_rows, shape[1], generator=generator, device=generator.device
            )
            return noise

        return draw

    # Inference

    def _common_noise(self, rows: Tensor, n_samples: int) -> Tensor:
        """Return the random numbers that every row is scored with."""
        generator = torch.Generator().manual_seed(SCORE_SEED)
        shape = (n_samples, 1, self.n_components_)
        # Drawn in float64, so that they are the same in every dtype.
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        return drawn.to(rows)

    def _encode(self, network: VAE, rows: Tensor) -> Tensor:
        return network.encode(rows).mean

    def _infer(
        self, function: Callable[[VAE, Tensor], Tensor], X: NDArray[Any]
    ) -> NDArray[Any]:
        dtype = self._inference_dtype(X)
        return infer(self.module_, function, X, self._standardizer, dtype)

    def _inverse_transform(self, Z: NDArray[Any]) -> Any:
        mean = self._distribution.mean
        rows = infer(
            self.module_,
            lambda network, latents: mean(network.decode(latents)),
            Z,
            Standardizer.identity(self.n_components_),
            self._inference_dtype(Z),
        )
        return self._standardizer.original(rows)

    def _score_samples(self, X: NDArray[Any]) -> Any:
        n_samples = int(self.n_score_samples)
        log_density = self._distribution.log_density
        # Densities of the standardized rows become those of the original ones.
        units = float(np.log(self.scale_).sum())
        method = self.score_method

        def bound(network: VAE, rows: Tensor) -> Tensor:
            if method == "kl":
                return -kl_divergence(network.encode(rows)).sum(dim=1)
            result: Output = network(rows, self._common_noise(rows, n_samples))
            densities = log_density(rows, result.output, result.log_scale) - units
            if method == "reconstruction":
                return densities.mean(dim=0)
            if method == "iwae":
                return iwae(
                    log_importance_weights(densities, result.latents, result.posterior)
                )
            return elbo(densities, kl_divergence(result.posterior).sum(dim=1))

        return self._infer(lambda network, rows: saturated(bound(network, rows)), X)

    def transform_distribution(self, X: ArrayLike) -> tuple[Any, Any]:
        """Return the posterior of the latent coordinates of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        mean, deviation : ndarray of shape (n_samples, n_components)
            Means, which are what `transform` returns, and standard deviations.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid.
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False, method="transform_distribution")
        joined = self._infer(
            lambda network, part: torch.cat(network.encode(part), dim=1), rows
        )
        mean, log_variance = np.split(joined, 2, axis=1)
        return mean, np.exp(0.5 * log_variance)

    def log_likelihood(
        self, X: ArrayLike, n_samples: int = 1_000, random_state: RandomState = None
    ) -> tuple[Any, Any]:
        """Estimate the log-likelihood of rows, with its standard error.

        Importance sampling from the posterior (Burda et al., 2016), with random numbers
        of its own for every row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        n_samples : int, default=1_000
            Samples per row.

        random_state : int, RandomState, Generator or None, default=None
            None takes the estimator's own.

        Returns
        -------
        log_likelihood, standard_error : ndarray of shape (n_samples,)
            In nats of the original units.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid or `n_samples` is less than 2.
        """
        check_is_fitted(self)
        if n_samples < 2:
            raise ValueError(f"n_samples must be at least 2, got {n_samples}.")
        validated = self._validate(X, reset=False, method="log_likelihood")
        generator = self._generator(random_state)
        log_density = self._distribution.log_density
        units = float(np.log(self.scale_).sum())

        def estimate(network: VAE, rows: Tensor) -> Tensor:
            chunks = []
            posterior = network.encode(rows)
            per_chunk = max(1, 2**20 // (len(rows) * rows.shape[1]))
            for start in range(0, n_samples, per_chunk):
                shape = (min(per_chunk, n_samples - start), *posterior.mean.shape)
                noise = torch.randn(shape, generator=generator, dtype=rows.dtype)
                latents = posterior.at(noise.to(rows.device))
                densities = log_density(
                    rows, network.decode(latents), network.log_scale()
                )
                chunks.append(log_importance_weights(densities, latents, posterior))
            weights = torch.cat(chunks)
            value = iwae(weights)
            relative = torch.exp(weights - value)
            error = relative.std(dim=0) / math.sqrt(n_samples)
            return torch.stack([value - units, error], dim=1)

        both = self._infer(estimate, validated)
        return both[:, 0], both[:, 1]

    def interpolate(
        self, a: ArrayLike, b: ArrayLike, n_steps: int = 10, method: str = "linear"
    ) -> Any:
        """Return rows on the way from one row to another, through the latent space.

        Parameters
        ----------
        a, b : array-like of shape (n_features,)
            Two rows.

        n_steps : int, default=10
            Rows to return, the reconstructions of both ends included; at least 2.

        method : {"linear", "slerp"}, default="linear"
            A straight line, or an arc around the origin (Shoemake, 1985), which stays
            where the prior has its mass.

        Returns
        -------
        rows : ndarray of shape (n_steps, n_features)
            In original units.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If a row or a parameter is not valid.
        """
        check_is_fitted(self)
        if n_steps < 2:
            raise ValueError(f"n_steps must be at least 2, got {n_steps}.")
        if method not in PATHS:
            raise ValueError(f"method must be one of {sorted(PATHS)}, got {method!r}.")
        ends = np.stack([np.asarray(a), np.asarray(b)])
        start, end = self._transform(
            self._validate(ends, reset=False, method="interpolate")
        )
        return self._inverse_transform(PATHS[method](start, end, n_steps))

    def traverse(self, x: ArrayLike, dimension: int, values: ArrayLike) -> Any:
        """Return a row as it changes along one latent dimension.

        Parameters
        ----------
        x : array-like of shape (n_features,)
            The row.

        dimension : int
            Which latent dimension.

        values : array-like of shape (n_values,)
            What it is set to; the others stay.

        Returns
        -------
        rows : ndarray of shape (n_values, n_features)
            In original units.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If the row is not valid or there is no such dimension.
        """
        check_is_fitted(self)
        if not 0 <= dimension < self.n_components_:
            raise ValueError(
                f"dimension must be between 0 and {self.n_components_ - 1}, got "
                f"{dimension}."
            )
        row = self._validate(np.asarray(x)[None], reset=False, method="traverse")
        values = np.asarray(values, np.float64)
        latents = np.repeat(
            self._transform(row).astype(np.float64), len(values), axis=0
        )
        latents[:, dimension] = values
        return self._inverse_transform(latents)

    def latent_report(self, X: ArrayLike) -> LatentReport:
        """Report what each latent dimension carries.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to report on.

        Returns
        -------
        report : LatentReport
            Per dimension and in total: divergence from the prior in nats, variance of
            the posterior mean, whether it is active; and how far the posteriors of all
            rows together lie from the prior.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid.
        """
        mean, deviation = self.transform_distribution(X)
        return report(mean.astype(np.float64), deviation.astype(np.float64))

    def _sample(self, n_samples: int, generator: np.random.Generator) -> Any:
        latents = generator.standard_normal((n_samples, self.n_components_))
        return self._inverse_transform(latents)

    def _generator(self, random_state: RandomState) -> torch.Generator:
        chosen = self.random_state if random_state is None else random_state
        seed = int(numpy_generator(chosen).integers(2**63))
        return torch.Generator().manual_seed(seed)
