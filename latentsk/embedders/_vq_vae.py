"""A vector-quantized autoencoder as an embedder."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from latentsk._device import on_host, to_numpy
from latentsk._random import RandomState, numpy_generator
from latentsk._threads import fork_safe
from latentsk._typing import Float64
from latentsk._validation import require_count
from latentsk.embedders._neural import NeuralEmbedder
from latentsk.embedders._neural_state import OPTIONAL, REQUIRED
from latentsk.embedders._vae_likelihood import (
    describe_likelihood,
    describe_scale,
    has_one_unit,
)
from latentsk.embedders._vq_codes import checked_codes, perplexity, warn_of_codes
from latentsk.embedders._vq_description import describe_coded_network
from latentsk.embedders._vq_state import QUANTIZERS, check_vq_vae
from latentsk.networks._architecture import Architecture
from latentsk.persistence._registry import storable
from latentsk.vae._code_prior import CODE_PRIORS
from latentsk.vae._codebook import Codebook
from latentsk.vae._fsq import ScalarQuantizer, factored
from latentsk.vae._likelihood_scale import INITIAL_SCALE, MIN_SCALE
from latentsk.vae._likelihoods import LIKELIHOODS
from latentsk.vae._vq_network import VQVAE
from latentsk.vae._vq_objective import CodedDensity
from latentsk.vae._vq_scores import SCORE_METHODS, CodedInference

# Likelihoods of columns that are all of one kind.
CODED_LIKELIHOODS = (
    "gaussian",
    "laplace",
    "student_t",
    "bernoulli",
    "continuous_bernoulli",
)


@storable(REQUIRED, optional=OPTIONAL, check=check_vq_vae)
class VQVAEEmbedder(NeuralEmbedder):
    """A latent space of codes, learned by a vector-quantized autoencoder.

    Every row becomes a few integers, its codes: the encoder's output is cut into short
    vectors, and each is replaced by the nearest one of a codebook. A prior tells how
    probable the codes of a row are, so that rows can be scored by a log-density, and
    new ones drawn. Features are standardized inside; what goes in and comes out is in
    original units.

    Parameters
    ----------
    n_codes : int, default=512
        Number of vectors in the codebook, which all positions share.

    n_positions : int or "auto", default="auto"
        Number of codes of a row. "auto" in a perceptron: the square root of the number
        of features, rounded up, at most 32. In "conv" it is the number of places of the
        last stage's grid (16 for images of 28 x 28 pixels and three stages), and no
        other is possible.

    code_dim : int or "auto", default="auto"
        Length of the vectors. "auto" is 2 for "ema", and for "fsq" the number of
        coordinates that makes their levels about eight each (three for 512 codes).

    quantizer : {"ema", "fsq"}, default="ema"
        How vectors become codes. "ema": by the nearest vector of a codebook, whose
        vectors are exponentially weighted moving means of those they replace (van den
        Oord et al., 2017). It starts at the centres of k-means, and codes that are
        hardly used begin anew at random vectors of a batch. "fsq":
        finite scalar quantization (Mentzer et al., 2024), which bounds every coordinate
        and rounds it to a few levels: there are as many codes as the product of the
        numbers of levels, each from 3 to 16, and no codebook to learn.

    prior : {"autoregressive", "independent"}, default="autoregressive"
        Distribution of the codes of a row, learned with the network.
        "autoregressive": each code given all of those before it, by a small network.
        "independent": relative frequencies at each position.

    commitment : float, default=0.25
        Weight in training of the squared distance between the encoder's vectors and
        those of their codes. "fsq" has none.

    network : {"mlp", "conv", "mlp-400", "mlp-512-256", "conv-32-128-256"}, \
default="mlp"
        A multilayer perceptron, or a convolutional network for images, of which every
        place of the coarsest image has a code. The others are classic networks with
        these hidden layers and ReLU; the last is for images of 32 x 32 pixels.

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
        codes in "conv".

    input_shape : (int, int, int) or None, default=None
        Channels, height and width of the image that a row is: in this order, wherever
        the channels lie in `X`. None: inferred where `X` is an array of images. Flat
        rows have their channels first, and "conv" needs it for them. Height and width
        are at least 2 to the number of its stages.

    likelihood : {"auto", "gaussian", "laplace", "student_t", "bernoulli", \
"continuous_bernoulli"}, default="auto"
        Distribution of a feature given the codes. "auto" is "bernoulli" for data of
        zeros and ones only, else "gaussian". "laplace" and "student_t" (4 degrees of
        freedom) have heavy tails. "bernoulli" and "continuous_bernoulli" take data in
        [0, 1], which are not standardized; values outside are refused by a fit, and
        scored very low later (see Notes).

    likelihood_scale : {"auto", "feature", "shared"} or float, default="auto"
        Scale of "gaussian" (standard deviation), "laplace" (mean absolute deviation)
        and "student_t", in standardized units: learned, one for each feature or one
        for all, above a floor of 0.001; or fixed. The others have none. "auto" is
        "feature", but "shared" where features have one unit: in images, and without
        `standardize`.

    score_method : {"elbo", "reconstruction", "quantization"}, default="elbo"
        What `score_samples` returns; see Notes.

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
        The trained network, in eval mode, with the parts `encoder`, `quantizer`,
        `decoder` and `prior`.

    n_components_ : int
        Number of latent dimensions: ``n_positions_ * code_dim_``.

    n_positions_ : int
        Number of codes of a row.

    code_dim_ : int
        Length of the vectors that codes stand for.

    codebook_ : ndarray of shape (n_codes, code_dim_)
        The vector of each code.

    code_usage_ : float
        Share of the codes that training rows have (after `partial_fit`, those of the
        last chunk).

    perplexity_ : float
        The exponential of the entropy of the codes of these rows, at all positions
        together: as many codes that were used equally often would have it. From 1 to
        `n_codes`.

    bits_per_row_ : float
        Bits that the codes of a row take as they are: ``n_positions_ *
        log2(n_codes)``. An entropy coder that knows the prior needs as many as minus
        the log-probability of the codes, on average over rows: "validation_codes" in
        `history_`, in nats, which are 1.44 bits each.

    likelihood_ : str
        The likelihood used.

    likelihood_scale_ : ndarray of shape (n_features_in_,)
        Its scale for every feature, in original units; 1 where it has none.

    input_shape_ : tuple of int
        Channels, height and width of the images, where rows are images.

    mean_, scale_ : ndarray of shape (n_features_in_,)
        Mean and scale of the standardization: those of all rows that `fit`, and
        `partial_fit` after it, have seen.

    history_ : list of dict
        Per epoch: "epoch"; "train_loss", what training minimized, the mean over rows,
        each as it was before the step that it took part in; "monitored_loss", the same
        without commitment and dropout, after the epoch, of the rows that were set
        aside, or of a sample of the training rows where none were; "validation_loss",
        that in the first case and None in the second; "learning_rate"; "seconds".
        Monitored losses are minus the default score, in nats of standardized units.
        After `partial_fit` the training loss stands for the monitored one. The terms of
        a loss have entries of their own, ``train_`` and ``validation_`` before
        "reconstruction" (minus the log-density of a row given its codes), "codes"
        (minus the log-probability of the codes) and, with a codebook that is learned,
        "commitment" (the squared distance, without its weight).

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
    VAEEmbedder : Continuous latent coordinates with a distribution.
    AutoencoderEmbedder : Continuous latent coordinates without one.
    PCAEmbedder : The linear case.

    Notes
    -----
    With the codes c of a row x, their probability p(c) by the prior, and the likelihood
    p(x | c) as a density in original units, scores are

    - "elbo": log p(x | c) + log p(c), in nats. It is the evidence lower bound of a
      posterior that is sure of its codes, and a bound of the log-likelihood log p(x),
      as other codes add to that;
    - "reconstruction": log p(x | c), in nats;
    - "quantization": minus the squared distance of the encoder's vectors from those of
      the codes, summed over positions, in the units of `transform`; at most 0. It finds
      rows that the codes have no place for.

    A row that moves a little may get another code, so that scores are not continuous
    functions of rows, as those of other embedders are.

    `transform` returns the vectors of the codes side by side. Columns of a DataFrame
    are named by position and coordinate, ``position0_0`` first. `inverse_transform`
    takes any vectors, also those of no code.

    The first tenth of `max_epochs` trains without codes, as an autoencoder does. Then
    the codebook starts at clusters of what the encoder makes of at most 10,000 training
    rows; early stopping and the best weights count from there. `partial_fit` starts it
    on the first chunk, before it learns from it; `warm_start` and later chunks continue
    with the codes that there are.

    The gradient of the decoder reaches the encoder by the rotation trick (Fifty et al.,
    2025): as if a vector had been rotated and scaled to that of its code. With "fsq" it
    passes the rounding as it is.

    Where a likelihood has bounds, a value outside of them has no density. A fit refuses
    it. Later the row is scored, encoded and reconstructed as if it had the nearest
    possible value, and the score is lower by ``1e6 * (1 + excess)`` for each such
    value, with `excess` its distance from the nearest possible one (and nothing up to
    1e-6, which rounding may cause).

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
    A. van den Oord, O. Vinyals, K. Kavukcuoglu (2017). Neural discrete representation
    learning. NeurIPS.

    F. Mentzer et al. (2024). Finite scalar quantization: VQ-VAE made simple. ICLR.

    C. Fifty et al. (2025). Restructuring vector quantization with the rotation trick.
    ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from latentsk import VQVAEEmbedder
    >>> u, v = np.random.default_rng(0).uniform(-1, 1, size=(2, 500))
    >>> saddle = np.column_stack([u, v, u * v])
    >>> embedder = VQVAEEmbedder(16, n_positions=2, random_state=0).fit(saddle)
    >>> codes = embedder.transform_codes(saddle)
    >>> codes.shape, codes.dtype
    ((500, 2), dtype('int64'))
    >>> embedder.bits_per_row_
    8.0
    >>> embedder.predict([[0.5, 0.5, 0.25], [0.5, 0.5, -0.5]])
    array([ 1, -1])
    >>> embedder.sample(5).shape
    (5, 3)
    """

    _parameter_constraints: dict[str, Any] = {
        **{
            name: constraint
            for name, constraint in NeuralEmbedder._parameter_constraints.items()
            if name not in ("n_components", "encoder", "decoder")
        },
        "n_codes": [Interval(Integral, 1, None, closed="left")],
        "n_positions": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "code_dim": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "quantizer": [StrOptions(set(QUANTIZERS))],
        "prior": [StrOptions(set(CODE_PRIORS))],
        "commitment": [Interval(Real, 0, None, closed="left")],
        "likelihood": [StrOptions({"auto", *CODED_LIKELIHOODS})],
        "likelihood_scale": [
            StrOptions({"auto", "feature", "shared"}),
            Interval(Real, MIN_SCALE, None, closed="left"),
        ],
        "score_method": [StrOptions(set(SCORE_METHODS))],
    }

    _log_density_scores = ("elbo",)

    def __init__(
        self,
        n_codes: int = 512,
        *,
        n_positions: int | str = "auto",
        code_dim: int | str = "auto",
        quantizer: str = "ema",
        prior: str = "autoregressive",
        commitment: float = 0.25,
        network: str = "mlp",
        hidden_layer_sizes: Sequence[int] | str = "auto",
        decoder_layer_sizes: Sequence[int] | None = None,
        activation: str = "auto",
        normalize: bool | str = "auto",
        dropout: float = 0.0,
        input_shape: Sequence[int] | None = None,
        likelihood: str = "auto",
        likelihood_scale: float | str = "auto",
        score_method: str = "elbo",
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
        self.n_codes = n_codes
        self.n_positions = n_positions
        self.code_dim = code_dim
        self.quantizer = quantizer
        self.prior = prior
        self.commitment = commitment
        self.network = network
        self.hidden_layer_sizes = hidden_layer_sizes
        self.decoder_layer_sizes = decoder_layer_sizes
        self.activation = activation
        self.normalize = normalize
        self.dropout = dropout
        self.input_shape = input_shape
        self.likelihood = likelihood
        self.likelihood_scale = likelihood_scale
        self.score_method = score_method
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
        if isinstance(self.likelihood_scale, bool):
            raise ValueError(
                "likelihood_scale must be 'auto', 'feature', 'shared' or a number, got "
                f"{self.likelihood_scale}."
            )
        known = getattr(self, "_architecture", {})  # of a training that continues
        likelihood = describe_likelihood(self, X, known)
        network = describe_coded_network(self, X.shape[1])
        described = {**network, **likelihood}
        one_unit = has_one_unit(self, described)
        return {
            **described,
            "scale": describe_scale(self.likelihood_scale, one_unit),
        }

    def _build(self, architecture: Architecture) -> VQVAE:
        pair = self._build_pair(architecture)
        n_codes, code_dim = architecture["n_codes"], architecture["code_dim"]
        if architecture["quantizer"] == "ema":
            quantizer: Codebook | ScalarQuantizer = Codebook(n_codes, code_dim)
        else:
            quantizer = ScalarQuantizer(factored(n_codes, code_dim))
        prior = CODE_PRIORS[architecture["code_prior"]]
        scale, name = architecture["scale"], architecture["likelihood"]
        likelihood = LIKELIHOODS[name]
        learned = {"shared": 1, "feature": self.n_features_in_}
        return VQVAE(
            pair.encoder,
            pair.decoder,
            quantizer,
            prior(architecture["n_positions"], n_codes).float(),
            n_scales=learned.get(scale, 0) if likelihood.has_scale else 0,
            initial_scale=INITIAL_SCALE if isinstance(scale, str) else scale,
            inputs=likelihood.inputs,
            link=likelihood.link,
            is_real=likelihood.is_real,
        )

    def _make_objective(self, network: VQVAE, precision: str) -> CodedDensity:
        return CodedDensity(
            network,
            LIKELIHOODS[self.likelihood_],
            commitment=float(self.commitment),
            # A network that continues has its codes.
            starts_at=0.0 if hasattr(self, "module_") else network.starts_at,
            precision=precision,
        )

    def _make_inference(self, n_parts: int | None = None) -> CodedInference:
        return CodedInference(
            LIKELIHOODS[self.likelihood_],
            self.score_method,
            self.n_positions_ * self._architecture["n_codes"],
            self.scale_,
            in_parts=n_parts is None,
        )

    def _warn_of_result(self, X: NDArray[Any]) -> None:
        warn_of_codes(self._codes(X), self._architecture["n_codes"])

    def _latent_names(self) -> list[str]:
        positions, numbers = range(self.n_positions_), range(self.code_dim_)
        return [f"position{p}_{number}" for p in positions for number in numbers]

    # Attributes and methods of its own

    @property
    def n_positions_(self) -> int:
        """Number of codes of a row."""
        return int(self._architecture["n_positions"])

    @property
    def code_dim_(self) -> int:
        """Length of the vectors that codes stand for."""
        return int(self._architecture["code_dim"])

    @property
    def codebook_(self) -> NDArray[np.float32]:
        """The vector of each code."""
        check_is_fitted(self)
        codes = torch.arange(self._architecture["n_codes"])
        quantizer = self.module_.quantizer
        found = quantizer.vectors_of(codes.to(self.module_.code_counts.device))
        return to_numpy(found)

    @property
    def code_usage_(self) -> float:
        """Share of the codes that training rows have."""
        check_is_fitted(self)
        return float((to_numpy(self.module_.code_counts) > 0).mean())

    @property
    def perplexity_(self) -> float:
        """The exponential of the entropy of the codes of training rows."""
        check_is_fitted(self)
        return perplexity(to_numpy(self.module_.code_counts))

    @property
    def bits_per_row_(self) -> float:
        """Bits that the codes of a row take as they are."""
        check_is_fitted(self)
        return self.n_positions_ * math.log2(self._architecture["n_codes"])

    @property
    def likelihood_(self) -> str:
        """The likelihood used."""
        return str(self._architecture["likelihood"])

    @property
    def likelihood_scale_(self) -> Float64:
        """Scale of the likelihood for every feature, in original units."""
        if not LIKELIHOODS[self.likelihood_].has_scale:
            return np.ones(self.n_features_in_)
        with torch.no_grad():
            log_scale = to_numpy(self.module_.log_scale().double())
        return np.exp(log_scale) * self.scale_

    @fork_safe
    def transform_codes(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return the codes of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to encode.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_positions_), dtype int64
            From 0 to ``n_codes - 1``; `codebook_` has their vectors.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import VQVAEEmbedder
        >>> X = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0, 3.0]
        >>> embedder = VQVAEEmbedder(8, max_epochs=20, random_state=0).fit(X)
        >>> codes = embedder.transform_codes(X)
        >>> vectors = embedder.codebook_[codes].reshape(200, -1)
        >>> np.array_equal(vectors, embedder.transform(X))
        True
        """
        check_is_fitted(self)
        rows = self._validate_in_range(X, reset=False, method="transform_codes")
        return self._codes(rows)

    def _codes(self, X: NDArray[Any]) -> NDArray[np.int64]:
        return self._infer(self._make_inference().codes, X)

    @fork_safe
    def inverse_transform_codes(self, codes: ArrayLike) -> NDArray[Any]:
        """Return the rows that codes stand for.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_positions_)
            Whole numbers from 0 to ``n_codes - 1``.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            Rows in original units.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If there are no such codes.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import VQVAEEmbedder
        >>> X = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0, 3.0]
        >>> embedder = VQVAEEmbedder(8, max_epochs=20, random_state=0).fit(X)
        >>> rows = embedder.inverse_transform_codes(embedder.transform_codes(X))
        >>> np.allclose(rows, embedder.reconstruct(X), atol=1e-4)
        True
        """
        check_is_fitted(self)
        n_codes = self._architecture["n_codes"]
        checked = checked_codes(on_host(codes), self.n_positions_, n_codes)
        decode = self._make_inference().decode_codes
        return self._of_latents(self._from_latents(decode, checked))

    @fork_safe
    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return the rows that vectors stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Vectors side by side, as `transform` returns them.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            Rows in original units.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import VQVAEEmbedder
        >>> X = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0, 3.0]
        >>> embedder = VQVAEEmbedder(8, max_epochs=20, random_state=0).fit(X)
        >>> embedder.inverse_transform(embedder.transform(X)).shape
        (200, 3)
        """
        return self._of_latents(self._inverse_transform(self._checked_latents(X)))

    @fork_safe
    def sample(
        self, n_samples: int = 1, random_state: RandomState = None
    ) -> NDArray[Any]:
        """Draw new rows from the model: codes of the prior, and rows given them.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.

        random_state : int, RandomState, Generator or None, default=None
            None takes the estimator's own `random_state`: with an int there, every
            call returns the same rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows in original units.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `n_samples` is not an integer of at least 1.

        TypeError
            If `random_state` is none of these.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from latentsk import VQVAEEmbedder
        >>> X = load_iris().data
        >>> embedder = VQVAEEmbedder(32, max_epochs=20, random_state=0).fit(X)
        >>> embedder.sample(5).shape
        (5, 4)
        """
        check_is_fitted(self)
        require_count("n_samples", n_samples, least=1)
        chosen = self.random_state if random_state is None else random_state
        generator = numpy_generator(chosen)
        codes = self.module_.prior.draw(int(n_samples), generator)
        noise = torch.Generator().manual_seed(int(generator.integers(2**63)))
        draw = LIKELIHOODS[self.likelihood_].draw

        def drawn(network: VQVAE, some: torch.Tensor) -> torch.Tensor:
            output = network.decode(network.quantizer.vectors_of(some.long()))
            return draw(output, network.log_scale(), noise)

        return self._of_latents(self._from_latents(drawn, codes))
