"""Training by autograd against an ordinary torch loop: convolutions, custom modules.

    python benchmarks/autograd_training.py [--threads N] [--rounds N] [--write]

Both train the same network on the same rows for as many epochs: resident tensors, index
batches, AdamW as one fused kernel, and after every epoch the loss of a tenth of rows,
which is set aside. Ours is a whole `fit`, with its best weights, its history and its
threshold. Aim: at most 1.10 times the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from _harness import arguments, medians, paired, publish, ratio, table, threads
from torch import nn

from latentsk import AutoencoderEmbedder

BATCH_SIZES = (32, 128, 512)
OURS, LOOP = "latentsk", "torch loop"
EPOCHS, VALIDATION = 5, 0.1


class Residual(nn.Module):
    """A normalized layer that is added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU()
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the rows, changed a little."""
        return rows + self.layers(rows)


def convolutions() -> tuple[nn.Module, nn.Module]:
    encoder = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 49, 16),
    )
    decoder = nn.Sequential(
        nn.Linear(16, 32 * 49),
        nn.ReLU(),
        nn.Unflatten(1, (32, 7, 7)),
        nn.ConvTranspose2d(32, 16, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, 2, 1),
        nn.Flatten(),
    )
    return encoder, decoder


def residual() -> tuple[nn.Module, nn.Module]:
    encoder = nn.Sequential(nn.Linear(36, 64), Residual(64), nn.Linear(64, 8))
    decoder = nn.Sequential(nn.Linear(8, 64), Residual(64), nn.Linear(64, 36))
    return encoder, decoder


class Case(NamedTuple):
    """Modules and the rows that they are trained on."""

    name: str
    make: Callable[[], tuple[nn.Module, nn.Module]]
    n_rows: int
    input_shape: tuple[int, ...]


CASES = (
    Case("custom, 10,000 x 36", residual, 10_000, (36,)),
    Case("convolutions, 6,000 x 28 x 28", convolutions, 6_000, (1, 28, 28)),
)


def squared_error(output: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return (output - rows).square().sum(dim=1)


def ours(case: Case, X: np.ndarray, batch_size: int) -> None:
    encoder, decoder = case.make()
    AutoencoderEmbedder(
        encoder=encoder,
        decoder=decoder,
        input_shape=case.input_shape,
        standardize=False,
        batch_size=batch_size,
        learning_rate="constant",
        max_epochs=EPOCHS,
        validation_fraction=VALIDATION,
        compile=False,
        random_state=0,
    ).fit(X)


def loop(case: Case, X: np.ndarray, batch_size: int) -> None:
    encoder, decoder = case.make()
    network = nn.Sequential(nn.Unflatten(1, case.input_shape), encoder, decoder)
    n_held_out = int(VALIDATION * len(X))
    held_out, rows = torch.from_numpy(X).split([n_held_out, len(X) - n_held_out])
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, fused=True)
    for _ in range(EPOCHS):
        for numbers in torch.randperm(len(rows)).split(batch_size):
            batch = rows[numbers]
            optimizer.zero_grad()
            squared_error(network(batch), batch).mean().backward()
            optimizer.step()
        with torch.no_grad():
            squared_error(network(held_out), held_out).mean().item()


def main() -> None:
    options = arguments(__doc__).parse_args()
    rows, measured = [], {}
    with threads(options.threads):
        for case in CASES:
            width = int(np.prod(case.input_shape))
            rng = np.random.default_rng(0)
            X = rng.normal(size=(case.n_rows, width)).astype(np.float32)
            for batch_size in BATCH_SIZES:
                contenders = {
                    OURS: lambda c=case, X=X, b=batch_size: ours(c, X, b),
                    LOOP: lambda c=case, X=X, b=batch_size: loop(c, X, b),
                }
                seconds = paired(contenders, options.rounds)
                measured[f"{case.name}, {batch_size}"] = seconds
                over = ratio(seconds, OURS, LOOP)
                typical = medians(seconds)[OURS]
                rows.append([case.name, batch_size, f"{typical:.3f}", f"{over:.2f}"])
                print(rows[-1], flush=True)
    header = ["training", "batch", "latentsk (s)", "of the loop's time"]
    printed = f"{options.threads} thread(s)\n\n{table(header, rows)}"
    document = {"threads": options.threads, "seconds": measured}
    publish("autograd_training", printed, document, options.write)


if __name__ == "__main__":
    main()
