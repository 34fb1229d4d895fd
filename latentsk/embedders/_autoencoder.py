"""A neural autoencoder as an embedder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from numbers import Real
from typing import Any

import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from latentsk._random import RandomState
from latentsk._threads import fork_safe
from latentsk.embedders._neural import NeuralEmbedder
from latentsk.embedders._neural_state import OPTIONAL, REQUIRED, check_network
from latentsk.networks._architecture import Architecture
from latentsk.networks._autoencoder import Autoencoder
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import text
from latentsk.training._inference import INFERENCE_ROWS, Inference, clip_to_finite
from latentsk.training._losses import LOSSES, squared_error
from latentsk.training._reconstruction import Reconstruction
from latentsk.training._support import SUPPORTS, require_support


class ReconstructionInference(Inference):
    """Latent coordinates, reconstructions, and minus their squared errors.

    Parameters
    ----------
    from_logits : bool
        Whether the decoder returns logits of values in [0, 1]. Values outside are then
        encoded as the nearest ones inside, and cost a penalty beside their errors.
    """

    rows_per_score = rows_per_contribution = INFERENCE_ROWS

    def __init__(self, from_logits: bool) -> None:
        self.from_logits = from_logits
        self.support = SUPPORTS["unit interval" if from_logits else "real"]

    def encode(self, network: Autoencoder, rows: Tensor) -> Tensor:
        """Return what the encoder returns."""
        return network.encoder(self.support.inputs(rows))

    def decode(self, network: Autoencoder, latents: Tensor) -> Tensor:
        """Return what the decoder returns, as values."""
        rows = network.decoder(latents)
        return torch.sigmoid(rows) if self.from_logits else rows

    def score(self, network: Autoencoder, rows: Tensor) -> Tensor:
        """Return minus the squared reconstruction error."""
        output = self.decode(network, self.encode(network, rows))
        error = squared_error(output, rows)
        if self.from_logits:
            error = error + self.support.penalties(rows).sum(dim=1)
        return clip_to_finite(-error)

    def contributions(self, network: Autoencoder, rows: Tensor) -> Tensor:
        """Return minus the squared error of each feature."""
        errors = (self.decode(network, self.encode(network, rows)) - rows) ** 2
        return clip_to_finite(-errors - self.support.penalties(rows))


@storable(
    REQUIRED,
    optional=OPTIONAL,
    check=partial(check_network, per_latent=1, objective={"loss": text(*LOSSES)}),
)
class AutoencoderEmbedder(NeuralEmbedder):
    """A latent space learned by a network that reconstructs the rows.

    For data on a curved manifold, where PCA fails. Features are standardized inside;
    what goes in and comes out is in original units.

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
        weights that they have. The encoder takes rows and returns latent coordinates;
        the decoder takes those and returns as many values as a row has. Layers in eval
        mode stay in it; batch normalization is only taken so, as in a pretrained
        network.

    loss : {"squared_error", "absolute_error", "huber", "binary_cross_entropy"}, \
default="squared_error"
        What training minimizes, summed over features. With "binary_cross_entropy" the
        data lie in [0, 1], are not standardized, and the network's outputs are logits;
        values outside are refused by a fit, and scored very low later (see Notes).

    noise : {"gaussian", "masking"} or None, default=None
        Corruption of the input, not of the target, while training (a denoising
        autoencoder): noise is added, or features are set to zero (their mean, if
        standardized).

    noise_level : float, default=0.1
        Standard deviation of the Gaussian noise, in standardized units; share of the
        features that are masked.

    contractive_penalty : float, default=0.0
        Weight of the squared Frobenius norm of the encoder's Jacobian.

    sparse_penalty : float, default=0.0
        Weight of the sum of absolute latent coordinates.

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

    input_shape_ : tuple of int
        Channels, height and width of the images, where rows are images.

    mean_, scale_ : ndarray of shape (n_features_in_,)
        Mean and scale of the standardization: those of all rows that `fit`, and
        `partial_fit` after it, have seen.

    history_ : list of dict
        Per epoch: "epoch"; "train_loss", the mean over rows, penalties included, each
        as it was before the step that it took part in; "monitored_loss", without noise
        and penalties, after the epoch, of the rows that were set aside, or of a sample
        of the training rows where none were; "validation_loss", the same in the first
        case and None in the second; "learning_rate"; "seconds". The terms of the two
        losses have entries of their own: "train_reconstruction" and
        "validation_reconstruction", and "train_contraction" and "train_sparsity",
        without their weights, where these are penalized.

    best_epoch_ : int
        The epoch whose weights were kept: that of the least monitored loss.

    offset_ : float
        Threshold of `decision_function`, in squared standardized units.

    n_features_in_ : int
        Number of features.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if `X` had string names for all.

    See Also
    --------
    PCAEmbedder : The linear latent space: exact, fast, with a likelihood.

    Notes
    -----
    `score_samples` is minus the squared reconstruction error, summed over features, in
    standardized units: at most 0, and at least the most negative number of its dtype.

    With ``loss="binary_cross_entropy"`` the encoder sees a value outside [0, 1] as the
    nearest one inside, and beside its squared error such a value costs ``1e6 * (1 +
    excess)``, with `excess` its distance from [0, 1] (nothing up to 1e-6, which
    rounding may cause).

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

    Custom modules are refused where a row's result would depend on other rows, and
    where a layer is known to draw from torch's global generator. A function in them
    that does so (``torch.nn.functional.dropout``, say) is not noticed; `random_state`
    then does not decide the result.

    Memory-mapped arrays larger than memory are read as training goes.

    References
    ----------
    G. Hinton, R. Salakhutdinov (2006). Reducing the dimensionality of data with neural
    networks. Science, 313(5786), 504-507.

    P. Vincent et al. (2010). Stacked denoising autoencoders. Journal of Machine
    Learning Research, 11, 3371-3408.

    S. Rifai et al. (2011). Contractive auto-encoders. ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from latentsk import AutoencoderEmbedder
    >>> angle = np.linspace(0, np.pi, 300)
    >>> arc = np.column_stack([np.cos(angle), np.sin(angle)])
    >>> embedder = AutoencoderEmbedder(1, random_state=0).fit(arc)
    >>> embedder.transform(arc).shape
    (300, 1)
    >>> embedder.predict([[0.0, 1.0], [0.0, 0.0]])
    array([ 1, -1])
    """

    _parameter_constraints: dict[str, Any] = {
        **NeuralEmbedder._parameter_constraints,
        "loss": [StrOptions(set(LOSSES))],
        "noise": [StrOptions({"gaussian", "masking"}), None],
        "noise_level": [Interval(Real, 0, None, closed="left")],
        "contractive_penalty": [Interval(Real, 0, None, closed="left")],
        "sparse_penalty": [Interval(Real, 0, None, closed="left")],
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
        loss: str = "squared_error",
        noise: str | None = None,
        noise_level: float = 0.1,
        contractive_penalty: float = 0.0,
        sparse_penalty: float = 0.0,
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
        self.loss = loss
        self.noise = noise
        self.noise_level = noise_level
        self.contractive_penalty = contractive_penalty
        self.sparse_penalty = sparse_penalty
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

    def _describe(self, X: NDArray[Any]) -> Architecture:
        if self.noise == "masking" and self.noise_level > 1.0:
            raise ValueError(
                "noise_level is a share of the features with noise='masking', at most "
                f"1, got {self.noise_level}."
            )
        on_unit_interval = self.loss == "binary_cross_entropy"
        if on_unit_interval:
            setting, names = f"loss={self.loss!r}", self._names_of_features
            require_support(X, "unit interval", setting, names)
        return {
            **self._describe_network(X.shape[1], per_latent=1),
            "loss": self.loss,
            "standardize": bool(self.standardize) and not on_unit_interval,
        }

    def _build(self, architecture: Architecture) -> Autoencoder:
        return self._build_pair(architecture)

    def _make_objective(self, network: Autoencoder, precision: str) -> Reconstruction:
        return Reconstruction(
            network,
            self.n_features_in_,
            self.n_components_,
            loss=self.loss,
            noise=self.noise,
            noise_level=float(self.noise_level),
            contractive_penalty=float(self.contractive_penalty),
            sparse_penalty=float(self.sparse_penalty),
            precision=precision,
        )

    def _make_inference(self, n_parts: int | None = None) -> ReconstructionInference:
        from_logits = self._architecture["loss"] == "binary_cross_entropy"
        return ReconstructionInference(from_logits)

    def _warn_of_result(self, X: NDArray[Any]) -> None:
        """There is nothing to warn of."""

    # Methods of its own

    @fork_safe
    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return the rows that latent coordinates stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Latent coordinates.

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
        >>> from latentsk import AutoencoderEmbedder
        >>> X = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0, 3.0]
        >>> embedder = AutoencoderEmbedder(1, max_epochs=20, random_state=0).fit(X)
        >>> embedder.inverse_transform([[0.0], [1.0]]).shape
        (2, 3)
        """
        return self._of_latents(self._inverse_transform(self._checked_latents(X)))
