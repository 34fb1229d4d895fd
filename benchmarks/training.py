"""Training and scoring of autoencoders against scikit-learn, skorch, PyOD and torch.

    python benchmarks/training.py [--threads N] [--rounds N] [--write]

Everybody trains the same perceptron (our latent layer has no activation after it) with
the same batches, epochs and Adam, without dropout, normalization, validation or early
stopping, on rows that are standardized already. Whole fits are timed. "matrix products"
are those of the steps alone. "PyOD as it is" has its default batch normalization and
dropout. "compiled" is our own step by autograd, compiled by torch, once it is compiled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import numpy as np
import skorch
import torch
from _harness import arguments, medians, paired, publish, ratio, table, threads
from pyod.models.auto_encoder import AutoEncoder as PyODAutoEncoder
from sklearn.neural_network import MLPRegressor
from torch import nn

from latentsk import AutoencoderEmbedder

BATCH_SIZES = (32, 128, 512, 4_096)
# name -> rows, layer sizes, epochs, rounds at most
CASES = {
    "10,000 x 36": (10_000, (36, 64, 32, 64, 36), 5, 7),
    "60,000 x 784": (60_000, (784, 256, 32, 256, 784), 1, 2),
}
# What PyOD adds to the network by default is left out.
PLAIN = {"batch_norm": False, "dropout_rate": 0.0}
OURS, FLOOR = "latentsk", "matrix products"


def standardized_rows(n_rows: int, n_columns: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n_rows, 20)) @ rng.normal(size=(20, n_columns))
    rows += rng.normal(size=rows.shape)
    return (rows / rows.std(axis=0)).astype(np.float32)


def perceptron(sizes: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(sizes):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def ours(sizes: tuple[int, ...], batch_size: int, epochs: int) -> AutoencoderEmbedder:
    return AutoencoderEmbedder(
        sizes[2],
        hidden_layer_sizes=sizes[1:2],
        activation="relu",
        standardize=False,
        batch_size=batch_size,
        learning_rate_init=1e-3,
        learning_rate="constant",
        max_epochs=epochs,
        validation_fraction=0.0,
        random_state=0,
        device="cpu",
    )


def scikit_learn(sizes: tuple[int, ...], batch_size: int, epochs: int) -> MLPRegressor:
    return MLPRegressor(
        hidden_layer_sizes=sizes[1:-1],
        alpha=0.0,
        batch_size=batch_size,
        max_iter=epochs,
        n_iter_no_change=epochs,
        tol=0.0,
        random_state=0,
    )


def skorch_net(sizes: tuple[int, ...], batch_size: int, epochs: int):
    return skorch.NeuralNetRegressor(
        perceptron(sizes),
        max_epochs=epochs,
        batch_size=batch_size,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )


def pyod(
    sizes: tuple[int, ...], batch_size: int, epochs: int, **options: object
) -> PyODAutoEncoder:
    return PyODAutoEncoder(
        hidden_neuron_list=list(sizes[1:3]),
        preprocessing=False,
        batch_size=batch_size,
        epoch_num=epochs,
        device="cpu",
        verbose=0,
        **options,
    )


def plain_torch(X: np.ndarray, sizes: tuple[int, ...], batch_size: int, epochs: int):
    """Train as a careful user would: resident tensors, index batches, fused Adam."""
    network, rows = perceptron(sizes), torch.from_numpy(X)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    for _ in range(epochs):
        for numbers in torch.randperm(len(rows)).split(batch_size):
            batch = rows[numbers]
            optimizer.zero_grad()
            nn.functional.mse_loss(network(batch), batch).backward()
            optimizer.step()


def matrix_products(n_rows: int, sizes: tuple[int, ...], batch_size: int, epochs: int):
    """Multiply what the steps multiply: output, weights' and inputs' gradients."""
    batch_size = min(batch_size, n_rows)
    pairs = list(pairwise(sizes))
    values = [torch.rand(batch_size, width) for width in sizes]
    weights = [torch.rand(after, before) for before, after in pairs]
    places = [
        (torch.empty_like(weight), torch.empty_like(value))
        for weight, value in zip(weights, values, strict=False)
    ]
    for _ in range(epochs * -(-n_rows // batch_size)):
        for k, (weight, place) in enumerate(zip(weights, places, strict=True)):
            torch.mm(values[k], weight.t(), out=values[k + 1])
            torch.mm(values[k + 1].t(), values[k], out=place[0])
            if k:
                torch.mm(values[k + 1], weight, out=place[1])


def contenders(
    X: np.ndarray, sizes: tuple[int, ...], batch_size: int, epochs: int
) -> dict[str, Callable[[], object]]:
    plan = (sizes, batch_size, epochs)
    return {
        OURS: lambda: ours(*plan).fit(X),
        "MLPRegressor": lambda: scikit_learn(*plan).fit(X, X),
        "skorch": lambda: skorch_net(*plan).fit(X, X),
        "PyOD": lambda: pyod(*plan, **PLAIN).fit(X),
        "PyOD as it is": lambda: pyod(*plan).fit(X),
        "torch": lambda: plain_torch(X, *plan),
        FLOOR: lambda: matrix_products(len(X), *plan),
    }


def training(case: str, batch_size: int, rounds: int) -> dict[str, list[float]]:
    n_rows, sizes, epochs, most = CASES[case]
    X = standardized_rows(n_rows, sizes[0])
    return paired(contenders(X, sizes, batch_size, epochs), min(rounds, most))


def compiled_ratio(case: str, batch_size: int) -> float:
    """Return how many times longer an epoch takes with the step compiled by torch.

    The first epoch, in which it is compiled, is left out.
    """
    n_rows, sizes, epochs, _ = CASES[case]
    X = standardized_rows(n_rows, sizes[0])

    def seconds(compile: bool) -> float:
        embedder = ours(sizes, batch_size, max(epochs, 4)).set_params(compile=compile)
        return median(epoch["seconds"] for epoch in embedder.fit(X).history_[1:])

    return seconds(True) / seconds(False)


def scoring(case: str, rounds: int) -> dict[str, list[float]]:
    n_rows, sizes, _, _ = CASES[case]
    X = standardized_rows(n_rows, sizes[0])
    few = X[:2_000]
    embedder = ours(sizes, 512, 1).fit(few)
    regressor = scikit_learn(sizes, 512, 1).fit(few, few)
    detector = pyod(sizes, 512, 1, **PLAIN).fit(few)
    return paired(
        {
            OURS: lambda: embedder.score_samples(X),
            "MLPRegressor": lambda: ((regressor.predict(X) - X) ** 2).sum(axis=1),
            "PyOD": lambda: detector.decision_function(X),
        },
        rounds,
    )


def training_row(
    case: str, batch_size: int, seconds: dict, compiled: float
) -> list[object]:
    typical = medians(seconds)
    peers = ["MLPRegressor", "skorch", "PyOD", "PyOD as it is", "torch"]
    return [
        case,
        batch_size,
        f"{typical[OURS]:.3f}",
        *(f"{ratio(seconds, peer, OURS):.1f}" for peer in peers),
        f"{compiled:.1f}",
        f"{ratio(seconds, FLOOR, OURS):.2f}",
    ]


def scoring_row(case: str, seconds: dict) -> list[object]:
    n_rows = CASES[case][0]
    return [
        case,
        f"{n_rows / medians(seconds)[OURS]:,.0f}",
        *(f"{ratio(seconds, peer, OURS):.1f}" for peer in ("MLPRegressor", "PyOD")),
    ]


def main() -> None:
    options = arguments(__doc__).parse_args()
    # MLPRegressor says that it has not converged.
    warnings.simplefilter("ignore")
    trained: dict[str, dict] = {}
    rows = []
    with threads(options.threads):
        for case in CASES:
            for batch_size in BATCH_SIZES:
                seconds = training(case, batch_size, options.rounds)
                trained[f"{case}, {batch_size}"] = seconds
                compiled = compiled_ratio(case, batch_size)
                rows.append(training_row(case, batch_size, seconds, compiled))
                print(rows[-1], flush=True)
        scored = {case: scoring(case, options.rounds) for case in CASES}
    header = ["training", "batch", "latentsk (s)", "MLPRegressor", "skorch", "PyOD"]
    header += ["PyOD as it is", "torch", "compiled", "matrix products"]
    printed = table(header, rows)
    printed += "\n\n" + table(
        ["scoring", "latentsk (rows/s)", "MLPRegressor", "PyOD"],
        [scoring_row(case, seconds) for case, seconds in scored.items()],
    )
    printed = f"{options.threads} thread(s)\n\n{printed}"
    document = {"threads": options.threads, "training": trained, "scoring": scored}
    name = "training" if options.threads > 1 else "training_one_thread"
    publish(name, printed, document, options.write)


if __name__ == "__main__":
    main()
