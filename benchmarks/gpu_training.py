"""Training on a GPU: a step against the sum of its kernels, and against PyOD.

    python benchmarks/gpu_training.py [--rounds N] [--write]

The aims are a step within 1.3 times its kernels' own time, and 20 times PyOD's speed on
the same GPU. Without a CUDA device it says so and ends.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import torch
from _harness import arguments, publish, table
from pyod.models.auto_encoder import AutoEncoder as PyODAutoEncoder
from training import standardized_rows

from latentsk import AutoencoderEmbedder

SIZES = {36: (64, 32), 784: (512, 128)}
BATCH_SIZES = (128, 512, 4_096)
N_ROWS = 60_000


def embedder(width: int, batch_size: int, epochs: int) -> AutoencoderEmbedder:
    return AutoencoderEmbedder(
        32,
        hidden_layer_sizes=SIZES[width],
        activation="relu",
        batch_size=batch_size,
        max_epochs=epochs,
        n_iter_no_change=epochs,
        validation_fraction=0.0,
        random_state=0,
        device="cuda",
    )


def seconds_per_step(X: np.ndarray, batch_size: int, rounds: int) -> float:
    """Return an epoch's seconds over its steps: between epochs, all work is done."""
    epochs = embedder(X.shape[1], batch_size, 3 + rounds).fit(X).history_[3:]
    return median(epoch["seconds"] for epoch in epochs) / -(-len(X) // batch_size)


def kernel_seconds_per_step(X: np.ndarray, batch_size: int) -> float:
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        embedder(X.shape[1], batch_size, 10).fit(X)
    total = sum(event.self_device_time_total for event in profile.key_averages())
    return 1e-6 * total / (10 * -(-len(X) // batch_size))


def pyod_seconds_per_step(X: np.ndarray, batch_size: int) -> float:
    def fit(epochs: int) -> float:
        detector = PyODAutoEncoder(
            hidden_neuron_list=[*SIZES[X.shape[1]], 32],
            epoch_num=epochs,
            batch_size=batch_size,
            device="cuda",
            verbose=0,
        )
        start = time.perf_counter()
        detector.fit(X)
        return time.perf_counter() - start

    fit(1)
    # The difference leaves out what does not belong to the training.
    return (fit(3) - fit(1)) / (2 * -(-len(X) // batch_size))


def main() -> None:
    options = arguments(__doc__).parse_args()
    if not torch.cuda.is_available():
        print("There is no CUDA device here.")
        return
    rows = []
    for width in SIZES:
        X = standardized_rows(N_ROWS, width)
        for batch_size in BATCH_SIZES:
            step = seconds_per_step(X, batch_size, options.rounds)
            kernels = kernel_seconds_per_step(X, batch_size)
            pyod = pyod_seconds_per_step(X, batch_size)
            rows.append(
                [
                    f"{N_ROWS:,} x {width}",
                    batch_size,
                    f"{1e6 * step:.0f}",
                    f"{step / kernels:.2f}",
                    f"{pyod / step:.0f}",
                ]
            )
    header = ["rows", "batch", "step (us)", "step over its kernels", "PyOD over step"]
    printed = f"{torch.cuda.get_device_name()}\n\n{table(header, rows)}"
    publish("gpu_training", printed, {"rows": rows}, options.write)


if __name__ == "__main__":
    main()
