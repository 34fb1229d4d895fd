"""Normal rows that come in kinds: what four priors of a VAE make of them.

    .venv/bin/python examples/kinds_of_normal.py

A pump stands by, runs at half or at full load, or is rinsed: four kinds of normal rows
of five measurements. Draws rows from a VAE with each prior, and prints how many of
them are of no kind, how well the VAEs tell test rows from rows between the kinds, and
how the components of the mixture prior agree with the kinds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from latentsk import VAEEmbedder

# Of Okabe and Ito's palette, which all eyes tell apart, and grey for rows of no kind.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#808080"]
OUTPUT = Path(__file__).parents[1] / "docs" / "_static" / "kinds_of_normal.png"
KINDS = ("standby", "half load", "full load", "rinsing")
# Mean and spread of speed and valve, in percent, for each kind.
SETTINGS = np.array([[8, 10, 3, 4], [45, 40, 5, 4], [85, 80, 4, 6], [80, 15, 5, 4]])
PRIORS = {
    "normal": {},
    "mixture": {"prior": "mixture", "n_prior_components": 4},
    "vamp": {"prior": "vamp"},
    "flow": {"prior": "flow"},
}
TITLES = {
    "normal": "prior='normal'",
    "mixture": "prior='mixture', by component",
    "vamp": "prior='vamp'",
    "flow": "prior='flow'",
}


def measured(settings: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Return what is measured at some speeds and positions of the valve."""
    speed, valve = settings.T
    flow = 0.01 * speed * valve
    power = 5 + 0.5 * speed + 0.004 * speed * valve
    temperature = 20 + 0.4 * power - 0.1 * flow
    table = {
        "speed": speed,
        "valve": valve,
        "flow": flow,
        "power": power,
        "temperature": temperature,
    }
    frame = pd.DataFrame(table)
    return frame + rng.normal(size=frame.shape) * [1.0, 1.0, 1.0, 0.8, 0.5]


def pump(n_rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return measurements, and the kind of each."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(4, size=n_rows, p=[0.2, 0.35, 0.3, 0.15])
    mean, spread = SETTINGS[kinds, :2], SETTINGS[kinds, 2:]
    return measured(mean + spread * rng.normal(size=(n_rows, 2)), rng), kinds


def between(n_rows: int, seed: int) -> pd.DataFrame:
    """Return measurements half-way between two kinds, which obey the same physics."""
    rng = np.random.default_rng(seed)
    pairs = np.array([(a, b) for a in range(4) for b in range(a)])
    chosen = pairs[rng.integers(len(pairs), size=n_rows)]
    middle = SETTINGS[chosen, :2].mean(axis=1)
    return measured(middle + 4 * rng.normal(size=(n_rows, 2)), rng)


def fit(X: pd.DataFrame, epochs: int) -> dict[str, VAEEmbedder]:
    """Return a VAE with each prior."""
    common = {"kl_warmup": 0.3, "max_epochs": epochs, "random_state": 0}
    return {
        name: VAEEmbedder(2, n_iter_no_change=epochs, **common, **options).fit(X)
        for name, options in PRIORS.items()
    }


def share_of_no_kind(drawn: np.ndarray, X: pd.DataFrame) -> float:
    """Return the share of rows that lie farther from `X` than its own rows ever do."""
    scale = X.std(axis=0).to_numpy()
    nearest = NearestNeighbors(n_neighbors=2).fit(X.to_numpy() / scale)
    own = nearest.kneighbors()[0][:, 0]
    distance = nearest.kneighbors(drawn / scale)[0][:, 0]
    return float(np.mean(distance > own.max()))


def main() -> None:
    """Print the numbers and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()

    X, kinds = pump(2_000, seed=0)
    test, test_kinds = pump(1_000, seed=1)
    outliers = between(1_000, seed=2)
    vaes = fit(X, options.epochs)
    drawn = {name: vae.sample(2_000, random_state=0) for name, vae in vaes.items()}
    print(f"{'prior':10}{'mean score':>12}{'AUROC':>8}{'drawn, of no kind':>20}")
    for name, vae in vaes.items():
        normal, odd = vae.score_samples(test), vae.score_samples(outliers)
        labels = np.repeat([1, 0], [len(normal), len(odd)])
        auroc = roc_auc_score(labels, np.concatenate([normal, odd]))
        share = share_of_no_kind(drawn[name], X)
        print(f"{name:10}{normal.mean():12.2f}{auroc:8.3f}{share:20.1%}")
    mixture = vaes["mixture"]
    agreement = adjusted_rand_score(test_kinds, mixture.predict_component(test))
    print(
        f"\nComponents of the mixture and kinds, adjusted Rand index: {agreement:.2f}"
    )

    figure, axes = plt.subplots(
        1, 5, figsize=(14.0, 3.3), sharex=True, sharey=True, layout="constrained"
    )
    looks = {"s": 4, "cmap": ListedColormap(COLOURS), "vmin": -0.5, "vmax": 4.5}
    dots = axes[0].scatter(X["speed"], X["power"], c=kinds, **looks)
    axes[0].set_title("measured", size=10)
    axes[0].set_ylabel("power")
    axes[0].legend(dots.legend_elements()[0], KINDS, fontsize=8, loc="upper left")
    # A component has the colour of the kind that most of its rows are of.
    table = pd.crosstab(mixture.predict_component(X), kinds)
    components = mixture.predict_component(
        pd.DataFrame(drawn["mixture"], columns=X.columns)
    )
    found = table.idxmax(axis=1).reindex(components).to_numpy()
    for axis, (name, rows) in zip(axes[1:], drawn.items(), strict=True):
        colours = found if name == "mixture" else np.full(len(rows), 4)
        axis.scatter(rows[:, 0], rows[:, 3], c=colours, **looks)
        axis.set_title(f"drawn, {TITLES[name]}", size=10)
    for axis in axes:
        axis.set_xlabel("speed")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=110)
    plt.close(figure)
    print(f"\npicture: {options.output}")


if __name__ == "__main__":
    main()
