"""Log-likelihood of MNIST under four priors and with two levels, dynamically binarized.

    python benchmarks/mnist_family.py [--models NAME ...] [--epochs N] [--folder PATH]
        [--device D] [--write]

Models are named by their prior, and those with two levels "levels", with a normal prior
of the top one, and "levels-vamp". One network for all of them: {network}; the upper
level has {upper} dimensions more. Training sees pixels as zeros and ones drawn anew
with their intensity as probability; the test images are drawn once. The negative
log-likelihood in nats per image is estimated from 5,000 importance samples. Epochs are
those that take about as long for every model, on one thread of a CPU; `--share` takes a
part of each, and `--epochs` is one number for all, for a GPU. With `--folder` each
training keeps a checkpoint there, each trained network a file, and each estimate what
is done of it: another run of the same command goes on, and trains nothing again.

Settings are tried on 10,000 of the training images with `--trial`, which trains on the
others and leaves the test images alone.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from _harness import arguments, images, publish, table, threads

from latentsk import HierarchicalVAEEmbedder, VAEEmbedder, load, save

N_IMPORTANCE = 5_000
ROWS_AT_A_TIME = 500
N_LATENTS, N_UPPER, HIDDEN = 40, 10, (300, 300)


class Training(NamedTuple):
    """What differs from model to model."""

    epochs: int
    aim: str
    prior: str
    has_levels: bool = False
    warm_up: float = 0.3


# Epochs of about twenty minutes on one thread, and nats to reach with them.
TRAININGS = {
    "normal": Training(320, "88.0", "normal"),
    "mixture": Training(300, "", "mixture"),
    "vamp": Training(150, "86.0", "vamp"),
    "flow": Training(280, "86.0", "flow"),
    # Their lowest level is trained alone at first, which takes the place of a warm-up.
    "levels": Training(250, "", "normal", True, 0.0),
    "levels-vamp": Training(130, "", "vamp", True, 0.0),
}


def on_gpu(options) -> bool:
    return options.device != "cpu" and torch.cuda.is_available()


def binarized(pixels: np.ndarray) -> np.ndarray:
    uniform = np.random.default_rng(0).random(pixels.shape, np.float32)
    return (uniform < pixels).astype(np.float32)


def model(name: str, options) -> VAEEmbedder | HierarchicalVAEEmbedder:
    training, folder = TRAININGS[name], options.folder
    epochs = options.epochs or max(1, round(options.share * training.epochs))
    kind = HierarchicalVAEEmbedder if training.has_levels else VAEEmbedder
    return kind(
        (N_LATENTS, N_UPPER) if training.has_levels else N_LATENTS,
        hidden_layer_sizes=HIDDEN,
        activation=options.activation,
        prior=training.prior,
        dynamic_binarization=True,
        kl_warmup=training.warm_up if options.warm_up is None else options.warm_up,
        batch_size=options.batch_size,
        learning_rate_init=options.learning_rate,
        max_epochs=epochs,
        n_iter_no_change=epochs,
        validation_fraction=0.0,
        n_score_samples=1,
        checkpoint=folder and folder / f"mnist_family_{name}.checkpoint",
        compile="auto" if on_gpu(options) else False,
        device=options.device,
        random_state=0,
        verbose=options.verbose,
    )


def fitted(name: str, pixels: np.ndarray, options) -> tuple[VAEEmbedder, dict]:
    """Return a trained model and the seconds it took; from the folder, if there."""
    place = options.folder and options.folder / f"mnist_family_{name}.latentsk"
    notes = place and place.with_suffix(".json")
    if place and place.exists() and notes.exists():
        return load(place), json.loads(notes.read_text())
    vae, start = model(name, options), time.process_time()
    resumed = vae.checkpoint is not None and vae.checkpoint.exists()
    vae.fit(pixels)
    taken = {
        "seconds": sum(epoch["seconds"] for epoch in vae.history_),
        # Of a training that was resumed the last part alone is known.
        "processor": time.process_time() - start,
        "resumed": resumed,
    }
    if place:
        save(vae, place)
        notes.write_text(json.dumps(taken))
    return vae, taken


def likelihoods(name: str, vae: VAEEmbedder, test: np.ndarray, options) -> np.ndarray:
    """Return log-likelihoods and standard errors of rows, going on where it stopped."""
    place = options.folder and options.folder / f"mnist_family_{name}.npy"
    done = np.load(place) if place and place.exists() else np.empty((2, 0))
    while done.shape[1] < len(test):
        start = done.shape[1]
        some = test[start : start + ROWS_AT_A_TIME]
        # Random numbers of their own, whatever the run that comes to these rows.
        both = vae.log_likelihood(some, options.samples, random_state=start)
        done = np.hstack([done, np.stack(both)])
        if place:
            np.save(place, done)
    return done[:, : len(test)]


def by_level(report, column: str, pattern: str) -> str:
    """Return a figure of each level, from the lowest, or the one that there is."""
    if hasattr(report, "levels"):
        return " + ".join(pattern.format(value) for value in report.levels[column])
    return pattern.format(getattr(report, column))


def run(name: str, pixels: np.ndarray, test: np.ndarray, options) -> list[object]:
    vae, taken = fitted(name, pixels, options)
    value, error = likelihoods(name, vae, test, options)
    report = vae.latent_report(test)
    bound = vae.set_params(n_score_samples=64).score(test)
    return [
        name,
        len(vae.history_),
        f"{taken['seconds']:.0f}",
        f"{taken['processor']:.0f}" + "+" * taken["resumed"],
        f"{-value.mean():.2f}",
        f"{error.mean():.2f}",
        f"{-bound:.2f}",
        by_level(report, "kl", "{:.2f}"),
        by_level(report, "n_active", "{}"),
        f"{report.distance_from_prior:.2f}",
        TRAININGS[name].aim,
    ]


def main() -> None:
    sizes = "-".join(map(str, (784, *HIDDEN, N_LATENTS)))
    parser = arguments(__doc__.format(network=sizes, upper=N_UPPER))
    parser.add_argument("--models", nargs="+", default=list(TRAININGS))
    parser.add_argument("--epochs", type=int, default=None, help="of every model")
    parser.add_argument("--share", type=float, default=1.0, help="of the epochs")
    parser.add_argument("--folder", type=Path, default=None, help="to go on from")
    parser.add_argument("--activation", default="tanh")
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--warm-up", type=float, default=None, help="of every model")
    parser.add_argument("--samples", type=int, default=N_IMPORTANCE)
    parser.add_argument("--test-rows", type=int, default=10_000)
    parser.add_argument("--trial", action="store_true", help="on the training images")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--verbose", action="store_true", help="show the epochs")
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    pixels, source = images(options.data, "train")
    test, _ = images(options.data, "test")
    if options.trial:
        order = np.random.default_rng(7).permutation(len(pixels))
        pixels, test = pixels[order[:-10_000]], pixels[order[-10_000:]]
    test = binarized(test)[: options.test_rows]
    rows = []
    with threads(options.threads):
        for name in options.models:
            rows.append(run(name, pixels, test, options))
            print(rows[-1], flush=True)
    header = ["model", "epochs", "training (s)", "of the processor (s)", "-log p(x)"]
    header += ["its standard error", "-ELBO", "KL", "active units"]
    header += ["distance from the prior", "aim"]
    gpu = on_gpu(options)
    where = torch.cuda.get_device_name() if gpu else f"{options.threads} thread(s)"
    where += f", {source}, {len(test):,} test images, {options.samples:,} samples"
    printed = f"{where}\n\n{table(header, rows)}"
    results = "mnist_family_gpu" if gpu else "mnist_family"
    publish(results, printed, {"setting": where, "rows": rows}, options.write)


if __name__ == "__main__":
    main()
