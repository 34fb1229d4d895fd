"""A variational autoencoder as an embedder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

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
from latentsk._typing import Float64
from latentsk._validation import require_count
from latentsk.embedders._network_rows import asks_for_table
from latentsk.embedders._neural import NeuralEmbedder
from latentsk.embedders._neural_state import OPTIONAL, REQUIRED
from latentsk.embedders._vae_likelihood import describe_likelihood, describe_scale
from latentsk.embedders._vae_state import check_vae
from latentsk.embedders._vae_warnings import warn_of_latents
from latentsk.networks._architecture import Architecture
from latentsk.persistence._registry import storable
from latentsk.vae._bounds import WARM_UPS, BoundSettings
from latentsk.vae._components import MixtureComponentsMixin, draw_latents
from latentsk.vae._density import Density
from latentsk.vae._estimates import rows_at_a_time
from latentsk.vae._likelihoods import LIKELIHOODS, Likelihood
from latentsk.vae._mixed import MixedLikelihood, likelihood_of, n_gaps_told
from latentsk.vae._network import VAE, density_on_host
from latentsk.vae._objective import VariationalBound
from latentsk.vae._paths import LatentPathsMixin
from latentsk.vae._priors import PRIORS, describe_prior, make_prior
from latentsk.vae._report import LatentReport, report
from latentsk.vae._scores import SCORE_METHODS, VariationalInference

MIN_SCALE = 1e-3
# Where scales that are learned start, in standardized units. From 1 on, that of the
# data, the posterior of many data sets collapses at once (Lucas et al., 2019).
INITIAL_SCALE = 0.3
# Samples per row and step that "auto" means for the importance-weighted bound.
AUTOMATIC_SAMPLES = 5


@storable(REQUIRED, optional=OPTIONAL, check=check_vae)
class VAEEmbedder(MixtureComponentsMixin, LatentPathsMixin, NeuralEmbedder):
    """A smooth latent space with a likelihood, learned by a variational autoencoder.

    Every row has a normal distribution of latent coordinates, the posterior; together
    they follow the prior. Rows can be scored by a bound on their
    log-likelihood, new ones drawn, and paths between them followed. Features are
    standardized inside; what goes in and comes out is in original units.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Number of latent dimensions. "auto": the square root of the number of features,
        rounded up, at most 32; with custom modules, what the encoder returns.

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
        are at least 2 to the number of its stages. Custom modules are given rows in
        this shape.

    encoder, decoder : torch.nn.Module or None, default=None
        Custom modules instead of `network`. They are copied, and trained from the
        weights that they have. The encoder takes rows and returns the means of the
        latent coordinates and then their log-variances, in one vector; the decoder
        takes latent coordinates and returns as many values as a row has: means, or
        logits for the two Bernoulli likelihoods. Layers in eval mode stay in it; batch
        normalization is only taken so, as in a pretrained network.

    condition : list of str or int, str, int or None, default=None
        Columns of `X` that are given, and not modelled, by names or positions: scores
        are log p(x | c) of the other columns x for the conditions c of the row.
        Numbers are standardized; strings, and what pandas holds as categories, become
        a number for each category, and need a DataFrame. A category that the training
        rows did not have counts as not known, with a warning: its code is the share of
        each category. Not for images. Custom modules are given the code of the
        conditions behind the row, and behind its latent coordinates.

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
        Distribution of the latent coordinates of all rows together. "normal": each
        standard normal and independent. The others are learned. "mixture": a mixture of
        normal distributions, for rows that come in kinds (see Notes). "vamp": the mean
        of the posteriors of pseudo-inputs (Tomczak & Welling, 2018). "flow": a
        normalizing flow of affine couplings (Dinh et al., 2017).

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
        batch (Kingma et al., 2016). Priors other than "normal" have one divergence for
        all dimensions together, of which as many times as much costs nothing. Not with
        `capacity`.

    capacity : float or None, default=None
        Divergence in nats that training aims at: what is weighted is its distance from
        `capacity` (Burgess et al., 2018), which rises from 0 as `kl_warmup` says.

    objective : {"elbo", "iwae"}, default="elbo"
        The bound that training maximizes: the evidence lower bound, with its divergence
        in closed form, or the importance-weighted one (Burda et al., 2016).

    doubly_reparameterized : bool, default=False
        Whether the encoder's gradient of the importance-weighted bound is the one of
        Tucker et al. (2019), with less noise.

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
        Number of latent dimensions.

    likelihood_ : str or dict of str to str
        The likelihood used; by the names of columns, where each has its own.

    prior_weights_ : ndarray of shape (n_prior_components,)
        Weights of the components of a mixture prior, which sum to one. Only for
        ``prior="mixture"``, as the next two.

    prior_means_, prior_scales_ : ndarray of shape (n_prior_components, n_components_)
        Means and standard deviations of its components.

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
    PCAEmbedder : The linear case, with its exact likelihood.
    AutoencoderEmbedder : Without a distribution: reconstruction alone.

    Notes
    -----
    With posterior q(z | x) of a row x, prior p(z), and likelihood p(x | z) as a density
    in original units, and means over `n_score_samples` samples z of the posterior:

    - "elbo": the mean of log p(x | z), minus the KL divergence of q(z | x) from p(z),
      in closed form for ``prior="normal"``, else estimated by the same samples;
    - "iwae": the logarithm of the mean of p(x | z) p(z) / q(z | x), nearer to the
      log-likelihood, and nearer still with more samples;
    - "reconstruction": the mean of log p(x | z);
    - "kl": minus the KL divergence, at most 0, but for the error of an estimate.

    "iwae" is a lower bound of the log-likelihood log p(x), on average over random
    numbers, and the ELBO is one, too. Samples for "elbo" and "reconstruction" come in
    mirrored pairs of unit mean square, so that they estimate it well from few; the
    fewer, the less they know of what is not a square in the latent coordinates.
    `log_likelihood` estimates log p(x).

    Where a likelihood has bounds, a value outside of them (2 in a column of zeros and
    ones, a number that is negative or no whole one among counts, a category that is
    new) has no density. A fit refuses it. Later the row is scored, encoded and
    reconstructed as if it had the nearest possible value, and the score is lower by
    ``1e6 * (1 + excess)`` nats for each such value, with `excess` its distance from
    the nearest possible one; 1 for a new category (and nothing up to 1e-6, which
    rounding may cause). So such rows are outliers, the farther out the lower they are
    scored, and `score_contributions` shows the column. The mean over rows, `score`, is
    dominated by them.

    With a likelihood for each column, cells that are missing are left out of the
    density, which is then that of the other cells, and the encoder is told which they
    are (Mattei & Frellsen, 2019). In training a quarter of the rows of every step lose
    up to half of their cells besides, so that later rows may have gaps where those of
    the fit had none; monitored losses are of the rows as they are. `reconstruct` fills
    in the mean of the likelihood at the posterior mean, and the most probable category.
    Custom modules are told of no gaps, and lose no cells: a gap is a zero to them,
    which is the mean of a number or a count.

    Logarithms of Poisson rates are bounded smoothly to between -30 and 30,
    log-variances of the posterior to between -10 and 10.

    With ``prior="mixture"`` the first quarter of `max_epochs` pretrains: all components
    are one normal distribution, and the divergence has a tenth of its weight (not with
    a `capacity`). Then the components are placed on clusters of the graph of neighbours
    among the latent coordinates of at most 10,000 training rows, and are learned with
    the rest. Early stopping and the best weights count from there; a training that
    stops before has them placed at its end. `partial_fit` places them on the first
    chunk, before it learns from it, so that `fit` on many rows finds better clusters;
    `warm_start` and later chunks continue with the components that there are.

    Images may be given as an array of shape (n_samples, height, width), (n_samples,
    height, width, channels) or (n_samples, channels, height, width), or as a list of
    images, wherever rows may: the result is that of flat rows with the channels first.
    Channels are found where one end of an image is at most 4 and the other is not;
    where that does not tell, `input_shape` does. New images may have another layout
    than those of the fit, if it is clear. `reconstruct` and `score_contributions`
    return the layout of their `X`; `inverse_transform`, `sample` and whatever else
    decodes latent coordinates, that of the fit.

    Networks train in float32. They infer in float32 for data that it holds exactly
    (float32, float16, integers of up to 16 bits), in float64 for all other. Results
    are numpy arrays, whatever the input.

    References
    ----------
    D. Kingma, M. Welling (2014). Auto-encoding variational Bayes. ICLR.

    Y. Burda, R. Grosse, R. Salakhutdinov (2016). Importance weighted autoencoders.
    ICLR.

    I. Higgins et al. (2017). beta-VAE. ICLR.

    J. Lucas et al. (2019). Don't blame the ELBO! A linear VAE perspective on posterior
    collapse. NeurIPS.

    C. Burgess et al. (2018). Understanding disentangling in beta-VAE.
    arXiv:1804.03599.

    D. Kingma et al. (2016). Improved variational inference with inverse autoregressive
    flow. NeurIPS.

    H. Fu et al. (2019). Cyclical annealing schedule: a simple approach to mitigating KL
    vanishing. NAACL.

    G. Tucker et al. (2019). Doubly reparameterized gradient estimators for Monte Carlo
    objectives. ICLR.

    J. Tomczak, M. Welling (2018). VAE with a VampPrior. AISTATS.

    L. Dinh, J. Sohl-Dickstein, S. Bengio (2017). Density estimation using Real NVP.
    ICLR.

    J. Hammersley, K. Morton (1956). A new Monte Carlo technique: antithetic variates.
    Mathematical Proceedings of the Cambridge Philosophical Society, 52(3), 449-475.

    G. Loaiza-Ganem, J. Cunningham (2019). The continuous Bernoulli. NeurIPS.

    P.-A. Mattei, J. Frellsen (2019). MIWAE: deep generative modelling and imputation of
    incomplete data sets. ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from latentsk import VAEEmbedder
    >>> u, v = np.random.default_rng(0).uniform(-1, 1, size=(2, 500))
    >>> saddle = np.column_stack([u, v, u * v])
    >>> vae = VAEEmbedder(2, random_state=0).fit(saddle)
    >>> vae.transform(saddle).shape
    (500, 2)
    >>> vae.predict([[0.5, 0.5, 0.25], [0.5, 0.5, -0.25]])
    array([ 1, -1])
    >>> vae.sample(5).shape
    (5, 3)
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
        "doubly_reparameterized": ["boolean"],
        "n_samples": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "score_method": [StrOptions(set(SCORE_METHODS))],
        "n_score_samples": [Interval(Integral, 1, None, closed="left")],
    }

    _log_density_scores = ("elbo", "iwae")

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
        doubly_reparameterized: bool = False,
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
        self.network = network
        self.hidden_layer_sizes = hidden_layer_sizes
        self.decoder_layer_sizes = decoder_layer_sizes
        self.activation = activation
        self.normalize = normalize
        self.dropout = dropout
        self.input_shape = input_shape
        self.encoder = encoder
        self.decoder = decoder
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
        self.doubly_reparameterized = doubly_reparameterized
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

    def _describe(self, X: NDArray[Any]) -> Architecture:
        self._check_settings()
        known = getattr(self, "_architecture", {})  # of a training that continues
        likelihood = describe_likelihood(self, X, known)
        n_told = n_gaps_told(likelihood)
        network = self._describe_network(X.shape[1], per_latent=2, n_told=n_told)
        shapes = self._layout, self.input_shape, network.get("input_shape")
        is_image = any(shape is not None for shape in shapes)
        return {
            **network,
            **likelihood,
            "scale": describe_scale(
                self.likelihood_scale, is_image or not likelihood["standardize"]
            ),
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
        pair = self._build_pair(architecture)
        scale, n_latents = architecture["scale"], architecture["n_components"]
        learned = {"shared": 1, "feature": self._n_modelled}
        likelihood = likelihood_of(architecture)
        n_seen = self._n_seen + n_gaps_told(architecture)
        is_real = np.zeros(self._n_modelled, bool) | likelihood.is_real
        return VAE(
            pair.encoder,
            pair.decoder,
            make_prior(architecture, n_latents, n_seen),
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
        )

    def _warn_of_result(self, X: NDArray[Any]) -> None:
        warn_of_latents(self, *self._latents_and_prior(X))

    def _latents_and_prior(self, X: NDArray[Any]) -> tuple[Float64, Float64, Density]:
        """Return the posteriors of rows, and the prior in the dtype of inference."""
        mean, deviation = (part.astype(np.float64) for part in self._posterior(X))
        exact = self._inference_dtype(mean)
        return mean, deviation, density_on_host(self.module_, exact)

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
                "condition is for a VAEEmbedder that was fitted with condition=[...], "
                "the columns that are given."
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
        return self._posterior(
            self._validate(X, reset=False, method="transform_distribution")
        )

    def _posterior(self, rows: NDArray[Any]) -> tuple[Any, Any]:
        joined = self._encoded(
            lambda network, part: torch.cat(network.encode(part), dim=1), rows
        )
        mean, log_variance = np.split(joined, 2, axis=1)
        return mean, np.exp(0.5 * log_variance)

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

    @fork_safe
    def latent_report(self, X: ArrayLike) -> LatentReport:
        """Report what each latent dimension carries.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to report on, at least 2.

        Returns
        -------
        report : LatentReport
            Its `dimensions` are a DataFrame with a row per dimension: "kl", the mean
            divergence from the prior in nats; "mean_variance", the variance of the
            posterior mean; "active", whether that is above 0.01 (Burda et al., 2016).
            Beside it: `kl`, their sum; `n_active`; and `distance_from_prior`, the
            divergence in nats of the normal distribution with the moments of all
            posteriors together.

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
        >>> vae = VAEEmbedder(1, max_epochs=50, random_state=0).fit(X)
        >>> report = vae.latent_report(X)
        >>> report.n_active
        1
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False, method="latent_report")
        if len(rows) < 2:
            raise ValueError("latent_report needs at least 2 rows, got 1.")
        return report(*self._latents_and_prior(rows))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        takes_tables = asks_for_table(self)
        tags.input_tags.string = tags.input_tags.categorical = takes_tables
        tags.input_tags.allow_nan = isinstance(self.likelihood, dict)
        return tags
