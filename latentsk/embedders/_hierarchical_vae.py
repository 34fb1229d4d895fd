"""A hierarchical variational autoencoder as an embedder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from latentsk._random import RandomState
from latentsk._threads import fork_safe
from latentsk.embedders._hierarchical_levels import (
    build_levels,
    chosen_levels,
    describe_levels,
    level_names,
    level_widths,
    places_of_levels,
)
from latentsk.embedders._hierarchical_state import check_hierarchical
from latentsk.embedders._neural_parameters import network_parameters
from latentsk.embedders._neural_state import OPTIONAL, REQUIRED
from latentsk.embedders._vae_warnings import warn_of_latents, warn_of_levels
from latentsk.embedders._variational import Parts, VariationalEmbedder
from latentsk.networks._architecture import Architecture
from latentsk.persistence._registry import storable
from latentsk.vae._estimates import rows_at_a_time
from latentsk.vae._levels_report import (
    LevelsReport,
    distance_of_draws,
    draw_of,
    means_and_divergences,
    report_levels,
    rows_to_draw,
)
from latentsk.vae._network import density_on_host
from latentsk.vae._report import N_SAMPLES, SEED


@storable(REQUIRED, optional=OPTIONAL, check=check_hierarchical)
class HierarchicalVAEEmbedder(VariationalEmbedder):
    """A latent space with several levels, learned by a hierarchical VAE.

    The top level holds what rows are on the whole, and the levels below what is left to
    say, given that. Each has a distribution given the level above, for every row and of
    all rows together, so that rows can be scored by a bound on their log-likelihood,
    drawn, and embedded or rebuilt by some of the levels alone. Features are
    standardized inside; what goes in and comes out is in original units.

    Parameters
    ----------
    n_components : sequence of int or "auto", default=(32, 8)
        Latent dimensions of each level, at least two: from the lowest, which lies next
        to the data, to the top. "auto" is two levels: as many as a VAEEmbedder has, and
        a quarter of that, rounded up.

    levels : int, sequence of int or None, default=None
        The levels that `transform` returns and `inverse_transform` takes, side by side:
        1 lies next to the data. None: all. It may be set after a fit. Coordinates of a
        level that is left out are 0 to `inverse_transform`, which is what the level
        above says. Scores, samples and reports are of all levels.

    network : {"mlp", "conv", "mlp-400", "mlp-512-256", "conv-32-128-256"}, \
default="mlp"
        A multilayer perceptron, or a convolutional network for images. The others are
        classic networks with these hidden layers and ReLU; the last is for images of
        32 x 32 pixels and has 10 latent dimensions unless told otherwise.

    hidden_layer_sizes : sequence of int or "auto", default="auto"
        "mlp": widths of the encoder's hidden layers. "auto" is two layers, the first
        twice as wide as the rows (32 to 512), the second half as wide as the first.
        "conv": channels of the encoder's stages, each of which halves height and width;
        "auto" is (32, 64, 128).

    decoder_layer_sizes : sequence of int or None, default=None
        "mlp": widths of the decoder's hidden layers; None mirrors the encoder.

    level_layer_sizes : sequence of int or "auto", default="auto"
        Widths of the hidden layers between two levels: of the perceptrons that lead
        from the encoder's units up to those of the next level, and from its latent
        coordinates down. "auto" is one layer, four times as wide as the widest level,
        and at least 32.

    activation : {"auto", "identity", "relu", "elu", "gelu", "silu", "tanh"}, \
default="auto"
        Activation after every hidden layer; "auto" is "gelu" in "mlp" and "relu" in
        "conv". The output is linear.

    normalize : bool or "auto", default="auto"
        Whether to normalize after every hidden layer, each row for itself: layer
        normalization in "mlp", group normalization in "conv". "auto" does so in "conv".

    dropout : float in [0, 1), default=0.0
        Rate of dropout while training: after every hidden layer in "mlp", around the
        latent coordinates in "conv".

    input_shape : (int, int, int) or None, default=None
        Channels, height and width of the image that a row is: in this order, wherever
        the channels lie in `X`. None: inferred where `X` is an array of images. Flat
        rows have their channels first, and "conv" needs it for them. Height and width
        are at least 2 to the number of its stages.

    condition : list of str or int, str, int or None, default=None
        Columns of `X` that are given, and not modelled, by names or positions: scores
        are log p(x | c) of the other columns x for the conditions c of the row.
        Numbers are standardized; strings, and what pandas holds as categories, become
        a number for each category, and need a DataFrame. A category that the training
        rows did not have counts as not known, with a warning: its code is the share of
        each category. Not for images.

    likelihood : {"auto", "gaussian", "laplace", "student_t", "bernoulli", \
"continuous_bernoulli", "poisson", "categorical"} or dict, default="auto"
        Distribution of a feature given the latent coordinates. "auto" is "bernoulli"
        for data of zeros and ones only, else "gaussian". "laplace" and "student_t" (4
        degrees of freedom) have heavy tails. "bernoulli" and "continuous_bernoulli"
        take data in [0, 1], which are not standardized; values outside are refused by
        a fit, and scored very low later (see Notes). "poisson" is for counts,
        "categorical" for categories. A dict from columns (names or positions) to these
        names gives each column its own; one that it leaves out is "categorical" if it
        holds strings, "bernoulli" if it holds zeros and ones only, else "gaussian".
        Then cells may be missing (NaN or None): scores are of the others, and
        `reconstruct` fills them.

    likelihood_scale : {"auto", "feature", "shared"} or float, default="auto"
        Scale of "gaussian" (standard deviation), "laplace" (mean absolute deviation)
        and "student_t", in standardized units: learned, one for each feature or one
        for all, above a floor of 0.001; or fixed. The others have none. "auto" is
        "feature", but "shared" where features have one unit: in images, and without
        `standardize`.

    prior : {"normal", "mixture", "vamp", "flow"}, default="normal"
        Distribution of the latent coordinates of the top level, of all rows together.
        "normal": each standard normal and independent. The others are learned.
        "mixture": a mixture of normal distributions, for rows that come in kinds.
        "vamp": the mean of the posteriors of pseudo-inputs (Tomczak & Welling, 2018).
        "flow": a normalizing flow of affine couplings (Dinh et al., 2017).

    n_prior_components : int or "auto", default="auto"
        Number of components of the mixture, at most one per row, or of pseudo-inputs.
        "auto" is the number of rows, 10 at most for "mixture" and 500 for "vamp". The
        other priors have none.

    dynamic_binarization : bool, default=False
        Whether training sees zeros and ones that are drawn anew in every step, with the
        data, in [0, 1], as probabilities. For the Bernoulli likelihood. Scores, and
        the threshold on them, take rows as they are: binarize those to be scored, and
        `calibrate` on some.

    beta : float, default=1.0
        Weight of the KL divergence in training (Higgins et al., 2017). Scores take the
        divergence whole.

    kl_warmup : float in [0, 1], default=0.0
        Share of `max_epochs` over which that weight rises from 0, step by step. Early
        stopping waits for its end. `partial_fit` has none.

    kl_schedule : {"linear", "cosine", "cyclical"}, default="linear"
        How it rises, if it does. "cyclical": four times from 0, each time over half of
        the cycle (Fu et al., 2019).

    free_nats : float, default=0.0
        Divergence per latent dimension that costs nothing, in nats, on average over a
        batch (Kingma et al., 2016). A top level with another prior than "normal" has
        one divergence for all its dimensions, of which as many times as much costs
        nothing. Not with `capacity`.

    capacity : float or None, default=None
        Divergence in nats that training aims at: what is weighted is its distance from
        `capacity` (Burgess et al., 2018), which rises from 0 as `kl_warmup` says.

    objective : {"elbo", "iwae"}, default="elbo"
        The bound that training maximizes: the evidence lower bound, with its divergence
        in closed form, or the importance-weighted one (Burda et al., 2016).

    n_samples : int or "auto", default="auto"
        Samples of the latent coordinates per row and step; "auto" is 1 for the ELBO, 5
        for the importance-weighted bound.

    score_method : {"elbo", "iwae", "reconstruction", "kl"}, default="elbo"
        What `score_samples` returns, in nats; see Notes.

    n_score_samples : int, default=8
        Samples per row for a score; "iwae" profits from many more. All rows are scored
        with the same random numbers, which balance each other but for "iwae".

    standardize : bool, default=True
        Whether the network sees standardized features. In "conv" the pixels of a
        channel share one mean and one scale.

    batch_size : int or "auto", default="auto"
        Number of rows per step. "auto": one in 32 of the rows, 16 at least and 512 at
        most.

    learning_rate_init : float, default=3e-3
        Learning rate of AdamW at the start.

    learning_rate : {"constant", "cosine"}, default="cosine"
        Schedule of the learning rate over `max_epochs`.

    weight_decay : float, default=0.0
        Decoupled weight decay (AdamW).

    clip_norm : float or None, default=None
        Largest norm of the gradient.

    max_epochs : int, default=200
        Maximum number of passes over the data.

    max_time : float or None, default=None
        Seconds of training after which it stops, within an epoch if need be. With a
        checkpoint it stops after an epoch, the checkpoint stays, and another `fit`
        resumes from it.

    validation_fraction : float in [0, 1), default=0.1
        Share of the rows set aside to choose the best weights, if there are at least
        50 rows.

    n_iter_no_change : int, default=20
        Number of epochs without improvement after which training stops.

    tol : float, default=1e-4
        Share of the loss by which it has to improve.

    warm_start : bool, default=False
        Whether another `fit` continues from the present weights and standardization.

    checkpoint : str, path-like or None, default=None
        File to keep the training in. If it exists when `fit` begins, the training
        resumes from it: on the same CPU with as many threads the result equals, bit for
        bit, that of a training that was never interrupted. It is removed at the end.
        Every estimator needs a file of its own. `partial_fit` keeps none.

    checkpoint_interval : int, default=10
        Number of epochs from one writing of the checkpoint to the next.

    device : str or torch.device, default="auto"
        Where to train and infer: "auto" (a CUDA device if there is one), "cpu", "cuda".

    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the matrix products while training. "auto" is bfloat16 on GPUs that
        have it.

    compile : bool or "auto", default="auto"
        Whether to compile the training step. "auto" does so for long trainings, except
        those of perceptrons on a CPU, whose steps are short as they are. Without a
        compiler the step runs as it is.

    score_window : int or None, default=None
        For small defects in images: the score is the lowest sum of contributions over a
        window of so many rows and columns. None: the sum over all pixels.

    contamination : "auto" or float in (0, 0.5], default="auto"
        Where `offset_` lies: "auto" is Kimber's lower fence, ``Q1 - 3 (Q2 - Q1)``, of
        the scores of the rows that were set aside, if they are 32 or more, else of a
        sample of all; a float is that quantile of the scores of all rows (the nearest
        share that ties allow, with a warning if that is another one). Rows that the
        network was trained on score better than new ones: `calibrate` places it on
        others.

    random_state : int, RandomState, Generator or None, default=None
        Determines the initial weights, the order of the rows and the noise.

    verbose : bool, default=False
        Whether to show progress, as the callback :class:`~latentsk.LossProgressBar`
        does.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained network, in eval mode, with the parts `encoder` and `decoder`.

    n_components_ : int
        Number of latent dimensions, of all levels together.

    level_sizes_ : ndarray of shape (n_levels,)
        Number of latent dimensions of each level, from the lowest to the top.

    likelihood_ : str or dict of str to str
        The likelihood used; by the names of columns, where each has its own.

    prior_weights_ : ndarray of shape (n_prior_components,)
        Weights of the components of a mixture prior, which sum to one. Only for
        ``prior="mixture"``, as the next two.

    prior_means_, prior_scales_ : ndarray of shape (n_prior_components, n_top)
        Means and standard deviations of its components, in the top level.

    likelihood_scale_ : ndarray of shape (n_modelled,)
        Its scale for every feature that is no condition, in original units; 1 where it
        has none.

    input_shape_ : tuple of int
        Channels, height and width of the images, where rows are images.

    mean_, scale_ : ndarray of shape (n_features_in_,)
        Mean and scale of the standardization: those of all rows that `fit`, and
        `partial_fit` after it, have seen.

    history_ : list of dict
        Per epoch: "epoch"; "train_loss", what training minimized, the mean over rows,
        each as it was before the step that it took part in; "monitored_loss", the same
        with the divergence's full weight and without dropout, after the epoch, of the
        rows that were set aside, or of a sample of the training rows where none were;
        "validation_loss", that in the first case and None in the second;
        "learning_rate"; "seconds". Losses are minus the bound, in nats of standardized
        units. After `partial_fit` the training loss stands for the monitored one. The
        terms of a loss have entries of their own, ``train_`` and ``validation_`` before
        "reconstruction" (minus the log-density of a row given its latent coordinates),
        "kl" (the divergence) and "kl_weight" (`beta` times what the warm-up has come
        to).

    best_epoch_ : int
        The epoch whose weights were kept: that of the least monitored loss.

    offset_ : float
        Threshold of `decision_function`, in the unit of the score.

    n_features_in_ : int
        Number of features.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had string names for all.

    See Also
    --------
    VAEEmbedder : One level.
    PCAEmbedder : The linear case, with its exact likelihood.

    Notes
    -----
    The latent coordinates z of a level are normal given those of the level above, with
    a mean and a scale that a perceptron returns; those of the top level follow `prior`.
    The posterior is drawn from the top down: that of a level is the product of what the
    encoder says of it and of what the level above does, both normal, so that it is
    never wider than its prior (Sonderby et al., 2016). So the upper levels stay in use,
    where an encoder that goes up alone has no need of them.

    `transform` returns, and `inverse_transform` takes, coordinates ``u = (z - mean) /
    scale``, with the mean and the scale of z given the level above. They mean the same,
    and have one unit in every level: standard normal for all rows together, as far as
    the prior is. To change one of an upper level moves the levels below along; 0 in a
    lower level is what the level above makes of it. `transform` is deterministic: the
    mean of the posterior of the top level, and those of the others with the levels
    above at theirs.

    Scores are those of VAEEmbedder, and so are its notes on values outside of the
    likelihood's bounds, missing cells, images, and the dtype of results. The KL
    divergence is the sum over levels: each in closed form, given draws of the levels
    above, but for a top level with a learned prior, which is estimated by the same
    draws. `score_levels` splits the ELBO by levels.

    With ``prior="mixture"`` the top level pretrains for the first quarter of
    `max_epochs`, as VAEEmbedder does, and `predict_component` tells clusters by it.

    References
    ----------
    C. Sonderby, T. Raiko, L. Maaloe, S. Sonderby, O. Winther (2016). Ladder variational
    autoencoders. NeurIPS.

    D. Kingma, M. Welling (2014). Auto-encoding variational Bayes. ICLR.

    Y. Burda, R. Grosse, R. Salakhutdinov (2016). Importance weighted autoencoders.
    ICLR.

    I. Higgins et al. (2017). beta-VAE. ICLR.

    C. Burgess et al. (2018). Understanding disentangling in beta-VAE.
    arXiv:1804.03599.

    D. Kingma et al. (2016). Improved variational inference with inverse autoregressive
    flow. NeurIPS.

    H. Fu et al. (2019). Cyclical annealing schedule: a simple approach to mitigating KL
    vanishing. NAACL.

    J. Tomczak, M. Welling (2018). VAE with a VampPrior. AISTATS.

    L. Dinh, J. Sohl-Dickstein, S. Bengio (2017). Density estimation using Real NVP.
    ICLR.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from latentsk import HierarchicalVAEEmbedder
    >>> X = load_digits().data
    >>> vae = HierarchicalVAEEmbedder((8, 2), max_epochs=20, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (1797, 10)
    >>> vae.set_params(levels=2).transform(X).shape
    (1797, 2)
    >>> vae.get_feature_names_out()
    array(['level2_0', 'level2_1'], dtype=object)
    """

    _parameter_constraints: dict[str, Any] = {
        **VariationalEmbedder._parameter_constraints,
        # An integer is refused by a message that says what to do.
        "n_components": ["array-like", Integral, StrOptions({"auto"})],
        "level_layer_sizes": ["array-like", StrOptions({"auto"})],
        "levels": ["array-like", Integral, None],
    }

    def __init__(
        self,
        n_components: Sequence[int] | str = (32, 8),
        *,
        levels: int | Sequence[int] | None = None,
        network: str = "mlp",
        hidden_layer_sizes: Sequence[int] | str = "auto",
        decoder_layer_sizes: Sequence[int] | None = None,
        level_layer_sizes: Sequence[int] | str = "auto",
        activation: str = "auto",
        normalize: bool | str = "auto",
        dropout: float = 0.0,
        input_shape: Sequence[int] | None = None,
        condition: Any = None,
        likelihood: str | dict[Any, str] = "auto",
        likelihood_scale: float | str = "auto",
        prior: str = "normal",
        n_prior_components: int | str = "auto",
        dynamic_binarization: bool = False,
        beta: float = 1.0,
        kl_warmup: float = 0.0,
        kl_schedule: str = "linear",
        free_nats: float = 0.0,
        capacity: float | None = None,
        objective: str = "elbo",
        n_samples: int | str = "auto",
        score_method: str = "elbo",
        n_score_samples: int = 8,
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
        score_window: int | None = None,
        contamination: float | str = "auto",
        random_state: RandomState = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.levels = levels
        self.network = network
        self.hidden_layer_sizes = hidden_layer_sizes
        self.decoder_layer_sizes = decoder_layer_sizes
        self.level_layer_sizes = level_layer_sizes
        self.activation = activation
        self.normalize = normalize
        self.dropout = dropout
        self.input_shape = input_shape
        self.condition = condition
        self.likelihood = likelihood
        self.likelihood_scale = likelihood_scale
        self.prior = prior
        self.n_prior_components = n_prior_components
        self.dynamic_binarization = dynamic_binarization
        self.beta = beta
        self.kl_warmup = kl_warmup
        self.kl_schedule = kl_schedule
        self.free_nats = free_nats
        self.capacity = capacity
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
        self.score_window = score_window
        self.contamination = contamination
        self.random_state = random_state
        self.verbose = verbose

    # The hooks

    def _describe_parts(self, n_features: int, n_told: int) -> Architecture:
        widths = level_widths(self.n_components, n_features)
        chosen_levels(self.levels, len(widths))
        n_conditions = self._n_seen - self._n_modelled
        return describe_levels(
            network_parameters(self),
            self.level_layer_sizes,
            widths,
            n_features - n_conditions,
            n_conditions,
            n_told,
        )

    def _build_parts(self, architecture: Architecture) -> Parts:
        n_conditions = self._n_seen - self._n_modelled
        return build_levels(architecture, self._n_modelled, n_conditions)

    @property
    def _kept_latents(self) -> list[int] | None:
        if self.levels is None:
            return None
        return places_of_levels(self._widths, self._chosen)

    def _warn_of_result(self, X: NDArray[Any]) -> None:
        mean, _ = self._posterior(X)
        warn_of_latents(self, mean, lambda: self._distance_from_prior(X))
        warn_of_levels(len(self.history_), mean, self._widths)

    # Attributes and methods of its own

    @property
    def level_sizes_(self) -> NDArray[np.int64]:
        """Number of latent dimensions of each level, from the lowest to the top."""
        check_is_fitted(self)
        return np.array(self._widths)

    @property
    def _widths(self) -> list[int]:
        widths: list[int] = self._architecture["level_sizes"]
        return widths

    @property
    def _chosen(self) -> list[int]:
        return chosen_levels(self.levels, len(self._widths))

    @property
    def _n_features_out(self) -> int:
        return sum(self._widths[level - 1] for level in self._chosen)

    def _latent_names(self) -> list[str]:
        return level_names(self._widths, self._chosen)

    @fork_safe
    def score_levels(self, X: ArrayLike) -> NDArray[Any]:
        """Split the evidence lower bound of each row by levels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        parts : ndarray of shape (n_samples, 1 + n_levels)
            In nats, higher = more normal. First the mean log-density of the row given
            its latent coordinates: how well it is rebuilt. Then, from the lowest level
            to the top, minus the divergence of the row's posterior from the level's
            prior given the level above: how usual the row is there. Their sum is
            `score_samples` with ``score_method="elbo"``.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import HierarchicalVAEEmbedder
        >>> X = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0, 3.0]
        >>> vae = HierarchicalVAEEmbedder((2, 1), max_epochs=20, random_state=0).fit(X)
        >>> parts = vae.score_levels(X)
        >>> parts.shape, np.allclose(parts.sum(axis=1), vae.score_samples(X), rtol=1e-4)
        ((200, 3), True)
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False, method="score_levels")
        inference, widths = self._make_inference(), self._widths

        def split(network: Any, part: torch.Tensor) -> torch.Tensor:
            return inference.by_level(network, part, widths)

        return self._infer(split, rows, inference.rows_per_score)

    @fork_safe
    def latent_report(self, X: ArrayLike) -> LevelsReport:
        """Report what each level, and each latent dimension, carries.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to report on, at least 2.

        Returns
        -------
        report : LevelsReport
            Its `levels` are a DataFrame with a row per level, from 1 next to the data
            to the top: "n_components"; "n_active", how many of them are in use; "kl",
            the mean divergence from the level's prior given the level above, in nats.
            Its `dimensions` say the same of each dimension, "mean_variance" besides,
            the variance of what `transform` returns, which is above 0.01 for active
            ones (Burda et al., 2016). And `kl`, `n_active` and `distance_from_prior`
            are those of all levels together. All levels are reported on, whatever
            `levels` is.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import HierarchicalVAEEmbedder
        >>> X = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0, 3.0]
        >>> vae = HierarchicalVAEEmbedder((2, 1), max_epochs=20, random_state=0).fit(X)
        >>> report = vae.latent_report(X)
        >>> report.levels["n_components"].tolist(), report.dimensions.index.tolist()
        ([2, 1], ['level1_0', 'level1_1', 'level2_0'])
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False, method="latent_report")
        if len(rows) < 2:
            raise ValueError("latent_report needs at least 2 rows, got 1.")
        at_a_time = rows_at_a_time(N_SAMPLES * self.n_components_)
        found = self._infer(means_and_divergences, rows, at_a_time).astype(np.float64)
        names = level_names(self._widths, range(1, len(self._widths) + 1))
        means, divergences = np.split(found, 2, axis=1)
        distance = self._distance_from_prior(rows)
        return report_levels(self._widths, names, means, divergences, distance)

    def _distance_from_prior(self, rows: NDArray[Any]) -> float:
        generator = torch.Generator().manual_seed(SEED)
        some = rows[rows_to_draw(len(rows))]
        drawn = self._infer(draw_of(generator), some).astype(np.float64)
        exact = self._inference_dtype(drawn)
        return distance_of_draws(drawn, density_on_host(self.module_, exact))
