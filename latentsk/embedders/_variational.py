"""What the embedders with a variational autoencoder share (abstract)."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from latentsk._device import to_numpy
from latentsk._random import RandomState, numpy_generator
from latentsk._threads import fork_safe
from latentsk._validation import require_count
from latentsk.embedders._network_rows import asks_for_table
from latentsk.embedders._neural import NeuralEmbedder
from latentsk.embedders._vae_likelihood import (
    describe_likelihood,
    describe_scale,
    has_one_unit,
)
from latentsk.networks._architecture import Architecture
from latentsk.vae._bounds import WARM_UPS, BoundSettings
from latentsk.vae._components import MixtureComponentsMixin, draw_latents
from latentsk.vae._estimates import rows_at_a_time
from latentsk.vae._levels import Levels
from latentsk.vae._likelihoods import LIKELIHOODS, Likelihood
from latentsk.vae._mixed import MixedLikelihood, likelihood_of, n_gaps_told
from latentsk.vae._network import VAE
from latentsk.vae._objective import VariationalBound
from latentsk.vae._paths import LatentPathsMixin
from latentsk.vae._priors import PRIORS, describe_prior, make_prior
from latentsk.vae._scores import SCORE_METHODS, VariationalInference

MIN_SCALE = 1e-3
# Where scales that are learned start, in standardized units. From 1 on, that of the
# data, the posterior of many data sets collapses at once (Lucas et al., 2019).
INITIAL_SCALE = 0.3
# Samples per row and step that "auto" means for the importance-weighted bound.
AUTOMATIC_SAMPLES = 5


class Parts(NamedTuple):
    """What a variational autoencoder is made of, its weights not trained.

    Attributes
    ----------
    encoder, decoder : nn.Module
    levels : Levels or None
        How latents lie between the two; None: in one level.
    n_top : int
        Latent dimensions of the uppermost level, which the prior is for.
    """

    encoder: nn.Module
    decoder: nn.Module
    levels: Levels | None
    n_top: int


class VariationalEmbedder(MixtureComponentsMixin, LatentPathsMixin, NeuralEmbedder):
    """An embedder with a variational autoencoder (abstract).

    A final class says how the latent coordinates are arranged:

    - ``_describe_parts(n_features, n_told)`` returns the encoder and the decoder that
      the parameters mean, JSON-able. `n_told` numbers tell the encoder of gaps;
    - ``_build_parts(architecture)`` returns them;
    - ``_kept_latents`` are the places of the coordinates that `transform` returns and
      `inverse_transform` takes, or None: all (property);
    - ``_warn_of_result(X)``, as of any embedder with a network.
    """

    _parameter_constraints: dict[str, Any] = {
        **NeuralEmbedder._parameter_constraints,
        "condition": ["array-like", str, Integral, None],
        # Views: what is added to the tables is taken at once.
        "likelihood": [StrOptions({"auto"}), StrOptions(LIKELIHOODS.keys()), dict],
        "prior": [StrOptions(PRIORS.keys())],
        "n_prior_components": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "likelihood_scale": [
            StrOptions({"auto", "feature", "shared"}),
            Interval(Real, MIN_SCALE, None, closed="left"),
        ],
        "dynamic_binarization": ["boolean"],
        "beta": [Interval(Real, 0, None, closed="left")],
        "kl_warmup": [Interval(Real, 0, 1, closed="both")],
        "kl_schedule": [StrOptions(set(WARM_UPS))],
        "free_nats": [Interval(Real, 0, None, closed="left")],
        "capacity": [Interval(Real, 0, None, closed="left"), None],
        "objective": [StrOptions({"elbo", "iwae"})],
        "n_samples": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "score_method": [StrOptions(set(SCORE_METHODS))],
        "n_score_samples": [Interval(Integral, 1, None, closed="left")],
    }

    _log_density_scores = ("elbo", "iwae")

    likelihood_scale: float | str
    prior: str
    n_prior_components: int | str
    dynamic_binarization: bool
    beta: float
    kl_warmup: float
    kl_schedule: str
    free_nats: float
    capacity: float | None
    objective: str
    doubly_reparameterized: bool = False
    n_samples: int | str
    score_method: str
    n_score_samples: int

    @abstractmethod
    def _describe_parts(self, n_features: int, n_told: int) -> Architecture: ...

    @abstractmethod
    def _build_parts(self, architecture: Architecture) -> Parts: ...

    @property
    @abstractmethod
    def _kept_latents(self) -> list[int] | None: ...

    # The hooks

    def _describe(self, X: NDArray[Any]) -> Architecture:
        self._check_settings()
        known = getattr(self, "_architecture", {})  # of a training that continues
        likelihood = describe_likelihood(self, X, known)
        n_told = n_gaps_told(likelihood)
        network = self._describe_parts(X.shape[1], n_told)
        described = {**network, **likelihood}
        one_unit = has_one_unit(self, described)
        return {
            **described,
            "scale": describe_scale(self.likelihood_scale, one_unit),
            **describe_prior(self.prior, self.n_prior_components, len(X), known),
        }

    def _check_settings(self) -> None:
        if isinstance(self.likelihood_scale, bool):
            raise ValueError(
                "likelihood_scale must be 'auto', 'feature', 'shared' or a number, got "
                f"{self.likelihood_scale}."
            )
        weighted = self.objective == "iwae"
        given = {"free_nats": self.free_nats > 0, "capacity": self.capacity is not None}
        for name, is_given in given.items():
            if weighted and is_given:
                raise ValueError(f"{name} is for objective='elbo', got 'iwae'.")
        if self.free_nats and self.capacity is not None:
            raise ValueError("free_nats and capacity exclude each other.")
        if self.doubly_reparameterized and not weighted:
            raise ValueError("doubly_reparameterized=True needs objective='iwae'.")
        if self.dynamic_binarization and self.likelihood not in ("auto", "bernoulli"):
            raise ValueError(
                "dynamic_binarization=True needs likelihood='bernoulli', got "
                f"{self.likelihood!r}."
            )

    def _build(self, architecture: Architecture) -> VAE:
        parts, scale = self._build_parts(architecture), architecture["scale"]
        learned = {"shared": 1, "feature": self._n_modelled}
        likelihood = likelihood_of(architecture)
        n_seen = self._n_seen + n_gaps_told(architecture)
        is_real = np.zeros(self._n_modelled, bool) | likelihood.is_real
        return VAE(
            parts.encoder,
            parts.decoder,
            make_prior(architecture, parts.n_top, n_seen),
            levels=parts.levels,
            n_scales=learned.get(scale, 0) if likelihood.has_scale else 0,
            min_scale=MIN_SCALE,
            initial_scale=INITIAL_SCALE if isinstance(scale, str) else scale,
            n_conditions=0 if self._table is None else self._table.n_conditions,
            inputs=likelihood.inputs,
            link=likelihood.link,
            is_real=None if architecture["network"] == "custom" else is_real,
        )

    def _make_objective(self, network: VAE, precision: str) -> VariationalBound:
        weighted = self.objective == "iwae"
        n_samples = self.n_samples
        if n_samples == "auto":
            n_samples = AUTOMATIC_SAMPLES if weighted else 1
        bound = BoundSettings(
            weighted,
            bool(self.doubly_reparameterized),
            float(self.beta),
            float(self.free_nats),
            None if self.capacity is None else float(self.capacity),
            float(self.kl_warmup),
            self.kl_schedule,
        )
        return VariationalBound(
            network,
            self._likelihood,
            self._n_modelled,
            self.n_components_,
            bound=bound,
            n_samples=int(n_samples),
            # A network that continues has its prior.
            pretraining=0.0 if hasattr(self, "module_") else network.starts_at,
            binarize=bool(self.dynamic_binarization),
            precision=precision,
        )

    def _make_inference(self, n_parts: int | None = None) -> VariationalInference:
        return VariationalInference(
            self._likelihood,
            self.score_method,
            int(self.n_score_samples),
            self.n_components_,
            self._modelled_scale,
            n_parts,
            None if self._table is None else self._table.shares,
            self._kept_latents,
        )

    # Attributes and methods of its own

    @property
    def likelihood_(self) -> str | dict[str, str]:
        """The likelihood used; of a table that has several, by column."""
        if "blocks" not in self._architecture or self._table is None:
            return self._architecture["likelihood"]
        return {c.label: c.likelihood for c in self._table.columns if c.likelihood}

    @property
    def _likelihood(self) -> Likelihood | MixedLikelihood:
        return likelihood_of(self._architecture)

    @property
    def likelihood_scale_(self) -> NDArray[np.float64]:
        """Scale of the likelihood for every modelled column, in original units."""
        has_scale = np.full(self._n_modelled, self._likelihood.has_scale)
        if self._table is not None and self._table.is_mixed:
            with_scale = {k for k, found in LIKELIHOODS.items() if found.has_scale}
            has_scale = self._table.of_likelihoods(with_scale)
        with torch.no_grad():
            log_scale = to_numpy(self.module_.log_scale().double())
        scale = np.where(has_scale, np.exp(log_scale) * self._modelled_scale, 1.0)
        return scale if self._table is None else scale[self._table.firsts]

    @property
    def _modelled_scale(self) -> NDArray[np.float64]:
        """Unit of every modelled feature in the network."""
        return self._standardizer.scale[: self._n_modelled]

    @fork_safe
    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomState = None,
        *,
        component: int | ArrayLike | None = None,
        condition: ArrayLike | None = None,
    ) -> NDArray[Any] | pd.DataFrame:
        """Draw new rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.

        random_state : int, RandomState, Generator or None, default=None
            None takes the estimator's own `random_state`: with an int there, every
            call returns the same rows.

        component : int, array-like of shape (n_samples,) or None, default=None
            Component of the mixture prior that rows are drawn from: one for all, or one
            for each row. For ``prior="mixture"`` only; None draws components by their
            weights.

        condition : array-like of shape (n_samples or 1, n_conditions or n_features) \
or None, default=None
            Of a model with `condition`: the conditions to draw rows for, or whole rows
            that have them. None draws those of training rows, of which at most 10,000
            are kept.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            Rows in original units; a DataFrame where a column holds strings.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `n_samples` is not an integer of at least 1, there is no such component,
            or the prior has none.

        TypeError
            If `random_state` is none of these.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from latentsk import VAEEmbedder
        >>> X = load_iris().data
        >>> vae = VAEEmbedder(
        ...     2, prior="mixture", n_prior_components=3, max_epochs=20, random_state=0
        ... ).fit(X)
        >>> vae.sample(5).shape, vae.sample(5, component=2).shape
        ((5, 4), (5, 4))
        """
        check_is_fitted(self)
        require_count("n_samples", n_samples, least=1)
        chosen = self.random_state if random_state is None else random_state
        generator = numpy_generator(chosen)
        latents = draw_latents(self.module_, n_samples, component, generator)
        cells = self._given_conditions(condition, n_samples)
        if condition is None and self._table is not None:
            drawn = generator.integers(len(self._conditions), size=n_samples)
            cells = self._table.cells_of(self._conditions[drawn])
        rows = self._draw(self._with_conditions(latents, cells), generator)
        return self._finished(rows, cells)

    def _draw(self, Z: NDArray[Any], generator: np.random.Generator) -> Any:
        """Return random rows, given latent coordinates and conditions."""
        noise = torch.Generator().manual_seed(int(generator.integers(2**63)))
        draw = self._likelihood.draw
        return self._from_latents(
            lambda network, z: draw(network.decode(z), network.log_scale(), noise), Z
        )

    def _finished(self, rows: NDArray[Any], cells: list[NDArray[Any]]) -> Any:
        """Return modelled columns as rows of the form of the fit."""
        if self._table is None:
            return self._of_latents(rows)
        return self._table.rows(rows, cells)

    @fork_safe
    def inverse_transform(
        self, X: ArrayLike, condition: ArrayLike | None = None
    ) -> NDArray[Any] | pd.DataFrame:
        """Return the rows that latent coordinates stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Latent coordinates.

        condition : array-like of shape (n_samples or 1, n_conditions or n_features) \
or None, default=None
            Of a model with `condition`: the conditions to decode at, or whole rows that
            have them. None: the training mean of a number, and the most frequent
            category (in a Pipeline, which can pass no more).

        Returns
        -------
        X_original : ndarray or DataFrame of shape (n_samples, n_features)
            Rows in original units; a DataFrame where a column holds strings.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import VAEEmbedder
        >>> X = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0, 3.0]
        >>> embedder = VAEEmbedder(1, max_epochs=20, random_state=0).fit(X)
        >>> embedder.inverse_transform([[0.0], [1.0]]).shape
        (2, 3)
        """
        Z = self._checked_latents(X)
        if condition is None and self._table is not None:
            cells = self._table.usual_conditions(self.mean_, len(Z))
        else:
            cells = self._given_conditions(condition, len(Z))
        return self._rows_at(Z, cells)

    def _rows_at(self, Z: NDArray[Any], cells: list[NDArray[Any]]) -> Any:
        """Return rows for latent coordinates and conditions."""
        rows = self._inverse_transform(self._with_conditions(Z, cells))
        return self._finished(rows, cells)

    def _decode_path(self, Z: NDArray[Any], first: Any, last: Any) -> Any:
        table = self._table
        cells = [] if table is None else table.cells_between(first, last, len(Z))
        return self._rows_at(Z, cells)

    def _given_conditions(self, condition: Any, n_rows: int) -> list[NDArray[Any]]:
        """Return the cells of conditions that a caller names."""
        if condition is None:
            return []
        if self._table is None or not self._table.conditions:
            raise ValueError(
                f"condition is for a {type(self).__name__} that was fitted with "
                "condition=[...], the columns that are given."
            )
        return self._table.given(condition, n_rows)

    def _with_conditions(self, Z: NDArray[Any], cells: list[NDArray[Any]]) -> Any:
        """Return latent coordinates with the code of conditions behind them."""
        if not cells or self._table is None:
            return Z
        codes = self._table.condition_codes(cells)
        standardizer = self._standardizer.at(slice(self._n_modelled, None))
        standardized = (codes - standardizer.mean) / standardizer.scale
        return np.hstack([Z, standardized.astype(Z.dtype)])

    @fork_safe
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

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import VAEEmbedder
        >>> X = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0, 3.0]
        >>> vae = VAEEmbedder(1, max_epochs=20, random_state=0).fit(X)
        >>> mean, deviation = vae.transform_distribution(X)
        >>> mean.shape, deviation.shape
        ((200, 1), (200, 1))
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False, method="transform_distribution")
        found, kept = self._posterior(rows), self._kept_latents
        return found if kept is None else (found[0][:, kept], found[1][:, kept])

    def _posterior(self, rows: NDArray[Any]) -> tuple[Any, Any]:
        joined = self._encoded(
            lambda network, part: torch.cat(network.encode(part).central(), dim=1), rows
        )
        mean, log_variance = np.split(joined, 2, axis=1)
        return mean, np.exp(0.5 * log_variance)

    def _prior_latents(self, X: Any) -> NDArray[Any]:
        check_is_fitted(self)
        rows = self._validate_in_range(X, reset=False, method="predict_component")
        mean, _ = self._posterior(rows)
        return mean[:, -self.prior_means_.shape[1] :]

    @fork_safe
    def log_likelihood(
        self, X: ArrayLike, n_samples: int = 1_000, random_state: RandomState = None
    ) -> tuple[Any, Any]:
        """Estimate the log-likelihood of rows, with its standard error.

        The importance-weighted bound (Burda et al., 2016), with random numbers of its
        own for every row. It lies below the log-likelihood on average, and the less so
        the more samples it has. The standard error, by the delta method, is of the
        weights that were drawn: if it is large (0.5, say), the posterior is far from
        the true one, and the value may be too low by more.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        n_samples : int, default=1_000
            Samples per row, at least 2.

        random_state : int, RandomState, Generator or None, default=None
            None takes the estimator's own.

        Returns
        -------
        log_likelihood, standard_error : ndarray of shape (n_samples,)
            In nats, of densities in original units. The error is infinite where the
            value is out of the range of its dtype.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid or `n_samples` is less than 2.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import VAEEmbedder
        >>> X = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0, 3.0]
        >>> vae = VAEEmbedder(1, max_epochs=20, random_state=0).fit(X)
        >>> value, error = vae.log_likelihood([[0.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
        >>> value.argmax(), error.max() < 0.1
        (np.int64(0), np.True_)
        """
        check_is_fitted(self)
        require_count("n_samples", n_samples, least=2)
        validated = self._validate(X, reset=False, method="log_likelihood")
        chosen = self.random_state if random_state is None else random_state
        seed = int(numpy_generator(chosen).integers(2**63))
        generator = torch.Generator().manual_seed(seed)
        inference = self._make_inference()

        def estimate(network: VAE, rows: Tensor) -> Tensor:
            return inference.log_likelihood(network, rows, int(n_samples), generator)

        both = self._infer(estimate, validated, rows_at_a_time(int(n_samples)))
        return both[:, 0], both[:, 1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        takes_tables = asks_for_table(self)
        tags.input_tags.string = tags.input_tags.categorical = takes_tables
        tags.input_tags.allow_nan = isinstance(self.likelihood, dict)
        return tags
