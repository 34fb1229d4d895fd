"""Clusters by a mixture prior against the classes of labelled sets.

    python benchmarks/mixture_clustering.py --folder PATH [--write]

One setting for all sets: 10 latents, ``prior="mixture"`` with as many components as
there are classes, the Bernoulli likelihood with dynamic binarization where features are
pixels, and so many epochs that 1.2 million rows are seen, 20 at least and 200 at most.
Every fit keeps a checkpoint in the folder, and its assignment of rows; another run of
the same command goes on from there. Labels are read once all assignments are there: the
accuracy is that of the best matching of clusters and classes (Hungarian method).
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _harness import arguments, images, publish, table, threads
from _letters import letters
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

from latentsk import AutoencoderEmbedder, VAEEmbedder

N_LATENTS = 10
ROWS_SEEN = 1_200_000


class LabelledSet(NamedTuple):
    """Rows, the function that reads their labels, classes, whether they are pixels."""

    rows: np.ndarray
    labels: Callable[[], np.ndarray]
    n_classes: int
    pixels: bool


def mnist(folder: Path) -> LabelledSet:
    path = folder / "mnist" / "train-labels-idx1-ubyte.gz"

    def labels() -> np.ndarray:
        return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8)

    return LabelledSet(images(folder, "train")[0], labels, 10, pixels=True)


def drawn(alphabet: str) -> LabelledSet:
    rows, labels = letters(alphabet)
    return LabelledSet(rows, lambda: labels, len(alphabet), pixels=True)


def bundled(load: Callable[..., object], pixels: bool) -> LabelledSet:
    bunch = load()
    rows = bunch.data / bunch.data.max() if pixels else bunch.data
    return LabelledSet(rows, lambda: bunch.target, len(bunch.target_names), pixels)


SETS: dict[str, Callable[[Path], LabelledSet]] = {
    "digits": lambda folder: bundled(load_digits, pixels=True),
    "wine": lambda folder: bundled(load_wine, pixels=False),
    "iris": lambda folder: bundled(load_iris, pixels=False),
    "mnist": mnist,
}
# Those that the setting was chosen with: only where they are named.
DEVELOPMENT = {"capitals": "ABDEGHKRSZ", "letters": "bcefhkmstz"}


def epochs_of(rows: np.ndarray) -> int:
    return min(200, max(20, ROWS_SEEN // len(rows)))


def vae(data: LabelledSet, seed: int, checkpoint: Path, **prior) -> VAEEmbedder:
    pixels = {"likelihood": "bernoulli", "dynamic_binarization": True}
    return VAEEmbedder(
        N_LATENTS,
        **(pixels if data.pixels else {}),
        **prior,
        max_epochs=epochs_of(data.rows),
        checkpoint=checkpoint,
        checkpoint_interval=5,
        device="cpu",
        random_state=seed,
    ).fit(data.rows)


def scaled(data: LabelledSet) -> np.ndarray:
    return data.rows if data.pixels else StandardScaler().fit_transform(data.rows)


def k_means(rows: np.ndarray, data: LabelledSet, seed: int) -> np.ndarray:
    model = KMeans(data.n_classes, n_init=10, random_state=seed)
    return model.fit_predict(rows)


def mixture(rows: np.ndarray, data: LabelledSet, seed: int) -> np.ndarray:
    model = GaussianMixture(data.n_classes, n_init=5, reg_covar=1e-4, random_state=seed)
    return model.fit_predict(rows)


def components(data: LabelledSet, seed: int) -> np.ndarray:
    n_components = min(N_LATENTS, data.rows.shape[1])
    return PCA(n_components, random_state=seed).fit_transform(scaled(data))


def by_mixture_prior(data, seed, checkpoint):
    prior = {"prior": "mixture", "n_prior_components": data.n_classes}
    return vae(data, seed, checkpoint, **prior).predict_component(data.rows)


def by_vae_and_mixture(data, seed, checkpoint):
    return mixture(vae(data, seed, checkpoint).transform(data.rows), data, seed)


def by_autoencoder_and_k_means(data, seed, checkpoint):
    model = AutoencoderEmbedder(
        N_LATENTS,
        max_epochs=epochs_of(data.rows),
        standardize=not data.pixels,
        checkpoint=checkpoint,
        checkpoint_interval=5,
        device="cpu",
        random_state=seed,
    ).fit(data.rows)
    return k_means(model.transform(data.rows), data, seed)


METHODS: dict[str, Callable[[LabelledSet, int, Path], np.ndarray]] = {
    "mixture prior": by_mixture_prior,
    "k-means": lambda data, seed, _: k_means(scaled(data), data, seed),
    "PCA, k-means": lambda data, seed, _: k_means(components(data, seed), data, seed),
    "PCA, Gaussian mixture": lambda data, seed, _: mixture(
        components(data, seed), data, seed
    ),
    "autoencoder, k-means": by_autoencoder_and_k_means,
    "VAE, Gaussian mixture": by_vae_and_mixture,
}


def assign(name: str, data: LabelledSet, method: str, seed: int, options) -> Path:
    """Keep which cluster each row is in, and the seconds that took."""
    stem = f"{name}_{method}_{seed}".replace(", ", "_").replace(" ", "_")
    path = options.folder / f"{stem}.json"
    if not path.exists() and not options.finished:
        start = time.perf_counter()
        checkpoint = options.folder / f"{stem}.checkpoint"
        clusters = METHODS[method](data, seed, checkpoint)
        seconds = time.perf_counter() - start
        path.write_text(json.dumps({"seconds": seconds, "clusters": clusters.tolist()}))
        print(f"{stem}: {seconds:.0f} s", flush=True)
    return path


def accuracy(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Return the share of rows in the class that their cluster is matched with."""
    size = max(labels.max(), clusters.max()) + 1
    counts = np.zeros((size, size), dtype=int)
    np.add.at(counts, (clusters, labels), 1)
    return counts[linear_sum_assignment(-counts)].sum() / len(labels)


def row_of(name: str, method: str, labels: np.ndarray, paths: list[Path]) -> list:
    fits = [json.loads(path.read_text()) for path in paths]
    found = [np.array(fit["clusters"]) for fit in fits]
    measured = {
        "accuracy": [accuracy(labels, clusters) for clusters in found],
        "NMI": [normalized_mutual_info_score(labels, clusters) for clusters in found],
        "ARI": [adjusted_rand_score(labels, clusters) for clusters in found],
    }
    agreements = [adjusted_rand_score(*pair) for pair in combinations(found, 2)]
    cells = [f"{np.mean(v):.3f} ± {np.std(v):.3f}" for v in measured.values()]
    agreement = f"{np.mean(agreements):.3f}" if agreements else ""
    seconds = f"{np.median([fit['seconds'] for fit in fits]):.1f}"
    return [name, method, len(fits), *cells, agreement, seconds]


def main() -> None:
    parser = arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--folder", type=Path, required=True, help="for the fits")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--finished", action="store_true", help="take no more fits")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    data = {
        name: drawn(DEVELOPMENT[name])
        if name in DEVELOPMENT
        else SETS[name](options.data)
        for name in options.sets
    }
    paths: dict[tuple[str, str], list[Path]] = {}
    with threads(options.threads):
        for method in options.methods:
            for name in data:
                for seed in range(options.seeds):
                    path = assign(name, data[name], method, seed, options)
                    if path.exists():
                        paths.setdefault((name, method), []).append(path)
    rows = [
        row_of(name, method, data[name].labels(), paths[name, method])
        for name in data
        for method in options.methods
        if (name, method) in paths
    ]
    header = ["set", "clusters by", "seeds", "accuracy", "NMI", "ARI"]
    header += ["ARI between seeds", "fit (s)"]
    printed = f"{options.threads} threads\n\n{table(header, rows)}"
    publish("mixture_clustering", printed, {"rows": rows}, options.write)


if __name__ == "__main__":
    main()
