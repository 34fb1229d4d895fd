"""A variational autoencoder as an embedder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import nn

from latentsk._random import RandomState
from latentsk._threads import fork_safe
from latentsk._typing import Float64
from latentsk.embedders._neural_state import OPTIONAL, REQUIRED
from latentsk.embedders._vae_state import check_vae
from latentsk.embedders._vae_warnings import warn_of_latents
from latentsk.embedders._variational import Parts, VariationalEmbedder
from latentsk.networks._architecture import Architecture
from latentsk.persistence._registry import storable
from latentsk.vae._density import Density
from latentsk.vae._network import density_on_host
from latentsk.vae._report import LatentReport, distance_from_prior, report


@storable(REQUIRED, optional=OPTIONAL, check=check_vae)
class VAEEmbedder(VariationalEmbedder):
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
        **VariationalEmbedder._parameter_constraints,
        "doubly_reparameterized": ["boolean"],
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

    def _describe_parts(self, n_features: int, n_told: int) -> Architecture:
        return self._describe_network(n_features, per_latent=2, n_told=n_told)

    def _build_parts(self, architecture: Architecture) -> Parts:
        pair = self._build_pair(architecture)
        n_latents = architecture["n_components"]
        return Parts(pair.encoder, pair.decoder, None, n_latents)

    @property
    def _kept_latents(self) -> None:
        return None

    def _warn_of_result(self, X: NDArray[Any]) -> None:
        found = self._latents_and_prior(X)
        warn_of_latents(self, found[0], lambda: distance_from_prior(*found))

    def _latents_and_prior(self, X: NDArray[Any]) -> tuple[Float64, Float64, Density]:
        """Return the posteriors of rows, and the prior in the dtype of inference."""
        mean, deviation = (part.astype(np.float64) for part in self._posterior(X))
        exact = self._inference_dtype(mean)
        return mean, deviation, density_on_host(self.module_, exact)

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
