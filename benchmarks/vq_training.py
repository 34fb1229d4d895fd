"""Training of vector-quantized autoencoders on MNIST against pythae's.

    python benchmarks/vq_training.py [--data FOLDER] [--epochs N] [--rounds N]
        [--threads N] [--write]

Everybody trains the same perceptron, its weights drawn alike, with 512 codes of the
same length, the same batches, epochs and Adam, without validation or early stopping, on
images that are ready to use. pythae learns its codebook by gradients, or as moving
means ("EMA"); ours learns a prior of the codes besides: "independent", or the default,
"autoregressive". Times are those of the processor in the steps of an epoch alone, on
10,000 images, in turns: other programs of the machine do not count. Ratios are medians
over rounds of pythae's time over ours. Errors are of fits on all training images: the
mean squared error of a test image, summed over pixels between 0 and 1.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from _harness import arguments, images, publish, table, threads
from pythae.data.datasets import BaseDataset
from pythae.models import VQVAE as PythaeVQVAE
from pythae.models import VQVAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig

from latentsk import VQVAEEmbedder
from latentsk.networks._mlp import initialize, mlp
from latentsk.training._trainer import Trainer

N_CODES, CODE_DIM, BATCH_SIZE, RATE = 512, 2, 128, 1e-3
ROWS_TO_TIME = 10_000
OURS = ("independent", "autoregressive")


class Case(NamedTuple):
    """A network, and how many codes a row has."""

    hidden: tuple[int, ...]
    n_positions: int

    @property
    def width(self) -> int:
        """Numbers between encoder and decoder."""
        return self.n_positions * CODE_DIM


CASES = (Case((256,), 28), Case((512, 256), 16))


class Found(NamedTuple):
    """Milliseconds of a step, of the processor, and what came of the training."""

    step: float
    error: float
    usage: float
    perplexity: float


def ours(case: Case, prior: str, epochs: int, X, test, times: list[float]) -> Found:
    model = VQVAEEmbedder(
        N_CODES,
        n_positions=case.n_positions,
        code_dim=CODE_DIM,
        prior=prior,
        hidden_layer_sizes=case.hidden,
        likelihood="gaussian",
        standardize=False,
        batch_size=BATCH_SIZE,
        learning_rate_init=RATE,
        learning_rate="constant",
        max_epochs=epochs,
        n_iter_no_change=epochs,
        validation_fraction=0.0,
        compile=False,
        device="cpu",
        random_state=0,
    ).fit(X)
    errors = np.square(model.reconstruct(test) - test).sum(axis=1)
    usage, perplexity = model.code_usage_, model.perplexity_
    return Found(_step(times, X), float(errors.mean()), usage, perplexity)


class Encoder(BaseEncoder):
    """The encoder as pythae wants it: its vectors are the pixels of an image."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.vectors = case.n_positions, CODE_DIM
        self.layers = mlp([784, *case.hidden, case.width], activation="gelu")

    def forward(self, rows: torch.Tensor) -> ModelOutput:
        """Return vectors."""
        vectors = self.layers(rows).unflatten(1, self.vectors)
        return ModelOutput(embedding=vectors.transpose(1, 2).unsqueeze(3))


class Decoder(BaseDecoder):
    """The decoder as pythae wants it."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.layers = mlp([case.width, *case.hidden[::-1], 784], activation="gelu")

    def forward(self, latents: torch.Tensor) -> ModelOutput:
        """Return the reconstruction."""
        flat = latents.squeeze(3).transpose(1, 2).flatten(1)
        return ModelOutput(reconstruction=self.layers(flat))


class TimedTrainer(BaseTrainer):
    """pythae's trainer; the times of its epochs go into a list."""

    times: list[float]

    def train_step(self, epoch: int):
        """Train for an epoch."""
        start = time.process_time()
        loss = super().train_step(epoch)
        self.times.append(time.process_time() - start)
        return loss


def pythae(case: Case, is_ema: bool, epochs: int, X, test, times: list[float]) -> Found:
    generator = torch.Generator().manual_seed(0)
    parts = Encoder(case), Decoder(case)
    for part in parts:
        initialize(part, generator)
    config = VQVAEConfig(
        input_dim=(784,),
        latent_dim=case.width,
        num_embeddings=N_CODES,
        use_ema=is_ema,
    )
    model, rows = PythaeVQVAE(config, *parts), torch.from_numpy(X)
    with tempfile.TemporaryDirectory() as folder, quiet():
        settings = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=BATCH_SIZE,
            num_epochs=epochs,
            learning_rate=RATE,
            keep_best_on_train=True,
            no_cuda=True,
        )
        data = BaseDataset(rows, torch.ones(len(rows)))
        trainer = TimedTrainer(model, data, training_config=settings)
        trainer.times = times
        trainer.train()
    best = trainer.model.eval()
    with torch.no_grad():
        rebuilt = best({"data": torch.from_numpy(test)})["recon_x"]
        codes = [
            best({"data": part})["quantized_indices"].flatten()
            for part in rows.split(10_000)
        ]
    counts = np.bincount(torch.cat(codes).numpy(), minlength=N_CODES)
    shares = counts[counts > 0] / counts.sum()
    errors = np.square(rebuilt.numpy() - test).sum(axis=1)
    perplexity = np.exp(-(shares * np.log(shares)).sum())
    usage = float((counts > 0).mean())
    return Found(_step(times, X), float(errors.mean()), usage, float(perplexity))


def _step(times: list[float], X: np.ndarray) -> float:
    """Return milliseconds of a step; the list is empty then."""
    fastest = min(times)
    times.clear()
    return 1e3 * fastest / -(-len(X) // BATCH_SIZE)


@contextlib.contextmanager
def quiet():
    """Keep progress bars and reports off the screen."""
    logging.disable(logging.CRITICAL)
    sink = io.StringIO()
    with contextlib.redirect_stderr(sink), contextlib.redirect_stdout(sink):
        yield
    logging.disable(logging.NOTSET)


@contextlib.contextmanager
def timed(times: list[float]):
    """Put the times of our epochs into a list, without what is done beside them."""
    learn = Trainer.learn

    def wrapped(self, *args, **options):
        start = time.process_time()
        result = learn(self, *args, **options)
        times.append(time.process_time() - start)
        return result

    Trainer.learn = wrapped
    yield
    Trainer.learn = learn


def contenders(case: Case, times: list[float]) -> dict[str, Callable[..., Found]]:
    return {
        "latentsk, independent": lambda *a: ours(case, "independent", *a, times),
        "latentsk": lambda *a: ours(case, "autoregressive", *a, times),
        "pythae": lambda *a: pythae(case, False, *a, times),
        "pythae, EMA": lambda *a: pythae(case, True, *a, times),
    }


def compared(case: Case, options, X, test) -> tuple[dict, dict]:
    """Return the times of all rounds, and the results of whole trainings."""
    times: list[float] = []
    with timed(times):
        runs = contenders(case, times)
        steps: dict[str, list[float]] = {name: [] for name in runs}
        for round_number in range(options.rounds + 1):
            for name, run in runs.items():
                found = run(1, X[:ROWS_TO_TIME], test[:100])
                if round_number:  # the first round warms up
                    steps[name].append(found.step)
        whole = {}
        for name, run in runs.items():
            whole[name] = run(options.epochs, X, test)
            print(case, name, steps[name], whole[name], flush=True)
    return steps, whole


def rows_of(case: Case, steps: dict, whole: dict) -> list[list[object]]:
    def ratio(name: str, ours: str) -> str:
        pairs = zip(steps[name], steps[ours], strict=True)
        return f"{median(theirs / own for theirs, own in pairs):.2f}"

    first, second, *_ = steps
    hidden = "-".join(map(str, case.hidden))
    return [
        [
            f"{hidden}, {case.n_positions} codes",
            name,
            f"{median(steps[name]):.1f}",
            ratio(name, first),
            ratio(name, second),
            f"{found.error:.2f}",
            f"{found.usage:.1%}",
            f"{found.perplexity:.0f}",
        ]
        for name, found in whole.items()
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["TQDM_DISABLE"] = "1"
    X, _ = images(options.data, "train")
    test, _ = images(options.data, "test")
    rows, document = [], {"threads": options.threads, "epochs": options.epochs}
    with threads(options.threads):
        for case in CASES:
            steps, whole = compared(case, options, X, test)
            rows += rows_of(case, steps, whole)
            found = {name: result._asdict() for name, result in whole.items()}
            document[str(case.hidden)] = {"steps": steps, "trained": found}
    header = ["network", "trained by", "ms per step", "over independent"]
    header += ["over latentsk", "squared error", "usage", "perplexity"]
    printed = f"{options.epochs} epochs, {options.threads} thread(s)\n\n"
    publish("vq_training", printed + table(header, rows), document, options.write)


if __name__ == "__main__":
    main()
