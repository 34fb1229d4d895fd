"""Training and scoring of variational autoencoders against pythae and PyOD.

    python benchmarks/vae_training.py [--small] [--threads N] [--rounds N] [--write]

Everybody trains the same perceptron with one sample per row, the same batches, epochs
and Adam, without dropout, validation or early stopping, on rows that are ready to use.
Whole fits are timed; pythae's includes writing its final model. "PyOD as it is" has its
default dropout and weight decay, and PyOD's loss has no divergence at all. "matrix
products" are those of the steps alone. The ELBO is
scored with one sample per row, as PyOD does. Importance-weighted bounds of 100 samples
per row are compared with pythae's `get_nll`, and with a loop over rows of our own
network that encodes each once and decodes all its samples together.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from _harness import arguments, images, medians, paired, publish, ratio, table, threads
from pyod.models.vae import VAE as PyODVAE
from pythae.data.datasets import BaseDataset
from pythae.models import VAE as PythaeVAE
from pythae.models import VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn

from latentsk import VAEEmbedder
from latentsk.vae._bounds import iwae, log_ratios
from latentsk.vae._likelihoods import LIKELIHOODS

BATCH_SIZES = (32, 128, 512)
OURS, FLOOR = "latentsk", "matrix products"
N_IMPORTANCE = 100


class Case(NamedTuple):
    """One network and what it is trained on."""

    name: str
    hidden: int
    latents: int
    epochs: int
    rounds: int
    likelihood: str


CASES = (
    Case("10,000 x 36", 64, 8, 5, 5, "gaussian"),
    Case("60,000 x 784", 400, 20, 1, 2, "bernoulli"),
)


def data(case: Case, options) -> np.ndarray:
    if case.likelihood == "bernoulli":
        pixels, _ = images(options.data, "train")
        return (pixels > 0.5).astype(np.float32)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(10_000, 20)) @ rng.normal(size=(20, 36))
    rows += rng.normal(size=rows.shape)
    return (rows / rows.std(axis=0)).astype(np.float32)


def ours(case: Case, batch_size: int, **options) -> VAEEmbedder:
    return VAEEmbedder(
        case.latents,
        hidden_layer_sizes=(case.hidden,),
        activation="relu",
        likelihood=case.likelihood,
        likelihood_scale=1.0,
        standardize=False,
        batch_size=batch_size,
        learning_rate_init=1e-3,
        learning_rate="constant",
        max_epochs=case.epochs,
        validation_fraction=0.0,
        n_score_samples=1,
        random_state=0,
        device="cpu",
        **options,
    )


def pyod(case: Case, batch_size: int, width: int, **options) -> PyODVAE:
    return PyODVAE(
        preprocessing=False,
        encoder_neuron_list=[case.hidden],
        decoder_neuron_list=[case.hidden],
        latent_dim=case.latents,
        batch_size=batch_size,
        epoch_num=case.epochs,
        output_activation_name="sigmoid"
        if case.likelihood == "bernoulli"
        else "identity",
        device="cpu",
        verbose=0,
        **options,
    )


class Encoder(BaseEncoder):
    """The encoder as pythae wants it."""

    def __init__(self, width: int, case: Case) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, case.hidden), nn.ReLU())
        self.mean = nn.Linear(case.hidden, case.latents)
        self.log_variance = nn.Linear(case.hidden, case.latents)

    def forward(self, rows: torch.Tensor) -> ModelOutput:
        """Return mean and log-variance."""
        hidden = self.hidden(rows)
        return ModelOutput(
            embedding=self.mean(hidden), log_covariance=self.log_variance(hidden)
        )


class Decoder(BaseDecoder):
    """The decoder as pythae wants it."""

    def __init__(self, width: int, case: Case) -> None:
        super().__init__()
        layers = [nn.Linear(case.latents, case.hidden), nn.ReLU()]
        layers.append(nn.Linear(case.hidden, width))
        if case.likelihood == "bernoulli":
            layers.append(nn.Sigmoid())
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: torch.Tensor) -> ModelOutput:
        """Return the reconstruction."""
        return ModelOutput(reconstruction=self.layers(latents))


def pythae_model(case: Case, width: int) -> PythaeVAE:
    config = VAEConfig(
        input_dim=(width,),
        latent_dim=case.latents,
        reconstruction_loss="bce" if case.likelihood == "bernoulli" else "mse",
    )
    return PythaeVAE(config, Encoder(width, case), Decoder(width, case))


def train_pythae(case: Case, batch_size: int, X: np.ndarray) -> PythaeVAE:
    model = pythae_model(case, X.shape[1])
    rows = BaseDataset(torch.from_numpy(X), torch.ones(len(X)))
    with tempfile.TemporaryDirectory() as folder, quiet():
        config = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=batch_size,
            num_epochs=case.epochs,
            learning_rate=1e-3,
            keep_best_on_train=True,
            no_cuda=True,
        )
        BaseTrainer(model, rows, training_config=config).train()
    return model


@contextlib.contextmanager
def quiet():
    """Keep progress bars and reports off the screen."""
    logging.disable(logging.CRITICAL)
    sink = io.StringIO()
    with contextlib.redirect_stderr(sink), contextlib.redirect_stdout(sink):
        yield
    logging.disable(logging.NOTSET)


def matrix_products(case: Case, batch_size: int, X: np.ndarray) -> None:
    """Multiply what the steps multiply: outputs, weights' and inputs' gradients."""
    chains = (
        (X.shape[1], case.hidden, 2 * case.latents),
        (case.latents, case.hidden, X.shape[1]),
    )
    products = []
    for chain, is_decoder in zip(chains, (False, True), strict=True):
        for k, (before, after) in enumerate(pairwise(chain)):
            rows, outer = torch.rand(batch_size, before), torch.rand(batch_size, after)
            weight = torch.rand(after, before)
            products.append((rows, weight.t(), torch.empty_like(outer)))
            products.append((outer.t(), rows, torch.empty_like(weight)))
            if k or is_decoder:
                products.append((outer, weight, torch.empty_like(rows)))
    for _ in range(case.epochs * -(-len(X) // batch_size)):
        for first, second, place in products:
            torch.mm(first, second, out=place)


def trainers(case: Case, batch_size: int, X: np.ndarray) -> dict[str, Callable]:
    width = X.shape[1]
    plain = {"dropout_rate": 0.0, "optimizer_params": {"weight_decay": 0.0}}
    return {
        OURS: lambda: ours(case, batch_size).fit(X),
        "pythae": lambda: train_pythae(case, batch_size, X),
        "PyOD": lambda: pyod(case, batch_size, width, **plain).fit(X),
        "PyOD as it is": lambda: pyod(case, batch_size, width).fit(X),
        FLOOR: lambda: matrix_products(case, batch_size, X),
    }


def per_row_loop(vae: VAEEmbedder, X: np.ndarray) -> np.ndarray:
    """Return the bound row by row, as a careful user would write it."""
    network, log_density = vae.module_, LIKELIHOODS[vae.likelihood_].log_density
    bounds = []
    with torch.no_grad():
        for row in torch.from_numpy(X):
            posterior = network.encode(row[None])
            latents = posterior.at(torch.randn(N_IMPORTANCE, 1, vae.n_components_))
            densities = log_density(row, network.decode(latents), network.log_scale())
            bounds.append(
                iwae(densities + log_ratios(latents, posterior, network.prior))
            )
    return torch.cat(bounds).numpy()


def scorers(case: Case, X: np.ndarray) -> tuple[dict[str, Callable], dict]:
    few, rows = X[:2_000], X[:10_000]
    vae = ours(case._replace(epochs=1), 512).fit(few)
    default = ours(case._replace(epochs=1), 512).fit(few).set_params(n_score_samples=8)
    detector = pyod(case._replace(epochs=1), 512, X.shape[1]).fit(few)
    model = pythae_model(case, X.shape[1]).eval()
    some = X[:500]

    def get_nll() -> None:
        with torch.no_grad():
            model.get_nll(torch.from_numpy(some), N_IMPORTANCE, N_IMPORTANCE)

    elbo = {
        OURS: lambda: vae.score_samples(rows),
        "8 samples": lambda: default.score_samples(rows),
        "PyOD": lambda: detector.decision_function(rows),
    }
    weighted = {
        OURS: lambda: vae.log_likelihood(some, N_IMPORTANCE, 0),
        "pythae": get_nll,
        "loop": lambda: per_row_loop(vae, some),
    }
    return elbo, weighted


def training_row(case: Case, batch_size: int, seconds: dict) -> list[object]:
    return [
        case.name,
        batch_size,
        f"{medians(seconds)[OURS]:.3f}",
        *(f"{ratio(seconds, peer, OURS):.1f}" for peer in list(seconds)[1:-1]),
        f"{ratio(seconds, FLOOR, OURS):.2f}",
    ]


def scoring_row(case: Case, elbo: dict, weighted: dict) -> list[object]:
    return [
        case.name,
        f"{10_000 / medians(elbo)[OURS]:,.0f}",
        f"{ratio(elbo, 'PyOD', OURS):.1f}",
        f"{ratio(elbo, 'PyOD', '8 samples'):.1f}",
        f"{500 / medians(weighted)[OURS]:,.0f}",
        f"{ratio(weighted, 'pythae', OURS):.1f}",
        f"{ratio(weighted, 'loop', OURS):.1f}",
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--small", action="store_true", help="the small network alone")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["TQDM_DISABLE"] = "1"
    trained, scored, training_rows, scoring_rows = {}, {}, [], []
    with threads(options.threads):
        for case in CASES[:1] if options.small else CASES:
            X, rounds = data(case, options), min(case.rounds, options.rounds)
            for batch_size in BATCH_SIZES:
                seconds = paired(trainers(case, batch_size, X), rounds)
                trained[f"{case.name}, {batch_size}"] = seconds
                training_rows.append(training_row(case, batch_size, seconds))
                print(training_rows[-1], flush=True)
            elbo, weighted = (paired(each, rounds) for each in scorers(case, X))
            scored[case.name] = {"elbo": elbo, "weighted": weighted}
            scoring_rows.append(scoring_row(case, elbo, weighted))
    header = ["training", "batch", "latentsk (s)", "pythae", "PyOD", "PyOD as it is"]
    header.append(FLOOR)
    printed = table(header, training_rows)
    header = ["scoring", "ELBO (rows/s)", "PyOD", "PyOD, 8 samples"]
    header += ["IWAE 100 (rows/s)", "pythae", "loop over rows"]
    printed += "\n\n" + table(header, scoring_rows)
    printed = f"{options.threads} thread(s)\n\n{printed}"
    document = {"threads": options.threads, "training": trained, "scoring": scored}
    publish("vae_training", printed, document, options.write)


if __name__ == "__main__":
    main()
