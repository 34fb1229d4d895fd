"""Log-likelihood of MNIST, dynamically binarized (Burda et al., 2016, table 1).

    python benchmarks/mnist_likelihood.py [--epochs N N] [--folder PATH] [--write]

The network is 784-200-200-50-200-200-784 with tanh. Training sees every pixel as a zero
or one drawn anew with its intensity as probability; the test images are drawn once. The
negative log-likelihood in nats per image is estimated from 5,000 importance samples.
`--epochs` are those of the VAE (k=1) and of the importance-weighted autoencoder (k=50);
the paper trains for 3,280. With `--folder` each training keeps a checkpoint there, from
which another run of the same command goes on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from _harness import arguments, images, publish, table, threads

from latentsk import VAEEmbedder

N_IMPORTANCE = 5_000
# Samples while training -> negative log-likelihood and active units in the paper.
PAPER = {1: (86.76, 19), 50: (84.78, 25)}


def binarized(pixels: np.ndarray) -> np.ndarray:
    uniform = np.random.default_rng(0).random(pixels.shape, np.float32)
    return (uniform < pixels).astype(np.float32)


def model(n_samples: int, epochs: int, options) -> VAEEmbedder:
    checkpoint = options.folder and options.folder / f"mnist_likelihood_{n_samples}"
    return VAEEmbedder(
        50,
        hidden_layer_sizes=(200, 200),
        activation="tanh",
        dynamic_binarization=True,
        objective="elbo" if n_samples == 1 else "iwae",
        n_samples=n_samples,
        batch_size=100,
        learning_rate_init=options.learning_rate,
        max_epochs=epochs,
        n_iter_no_change=epochs,
        validation_fraction=0.0,
        checkpoint=checkpoint,
        device=options.device,
        random_state=0,
        verbose=options.verbose,
    )


def run(n_samples: int, epochs: int, options) -> list[object]:
    pixels, _ = images(options.data, "train")
    test = binarized(images(options.data, "test")[0])[: options.test_rows]
    vae = model(n_samples, epochs, options).fit(pixels)
    # Of all its parts, if the training was resumed.
    seconds = sum(epoch["seconds"] for epoch in vae.history_)
    likelihood, error = vae.log_likelihood(test, N_IMPORTANCE, random_state=0)
    report = vae.latent_report(test)
    bound = vae.set_params(n_score_samples=64).score(test)
    return [
        f"VAE, k={n_samples}" if n_samples == 1 else f"IWAE, k={n_samples}",
        epochs,
        f"{seconds:.0f}",
        f"{-likelihood.mean():.2f}",
        f"{error.mean():.2f}",
        f"{-bound:.2f}",
        f"{report.kl:.2f}",
        report.n_active,
        *map(str, PAPER[n_samples]),
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--epochs", type=int, nargs=2, default=(300, 20))
    parser.add_argument("--folder", type=Path, default=None, help="for checkpoints")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--test-rows", type=int, default=10_000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--verbose", action="store_true", help="show the epochs")
    options = parser.parse_args()
    rows = []
    with threads(options.threads):
        for n_samples, epochs in zip(PAPER, options.epochs, strict=True):
            if epochs:
                rows.append(run(n_samples, epochs, options))
                print(rows[-1], flush=True)
    header = ["model", "epochs", "training (s)", "-log p(x)", "its standard error"]
    header += ["-ELBO", "KL", "active units", "paper", "paper's active units"]
    on_gpu = options.device != "cpu" and torch.cuda.is_available()
    where = torch.cuda.get_device_name() if on_gpu else f"{options.threads} threads"
    printed = f"{where}\n\n{table(header, rows)}"
    name = "mnist_likelihood_gpu" if on_gpu else "mnist_likelihood"
    publish(name, printed, {"device": where, "rows": rows}, options.write)


if __name__ == "__main__":
    main()
