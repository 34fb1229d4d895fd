"""PCA fit and transform against every solver of scikit-learn, on five shapes.

    python benchmarks/pca.py [--threads N] [--rounds N] [--data FOLDER] [--write]

A ratio above 1 says that PCAEmbedder is faster than scikit-learn's fastest solver.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _harness import (
    arguments,
    images,
    medians,
    paired,
    publish,
    ratio,
    table,
    threads,
)
from sklearn.decomposition import PCA

from latentsk import PCAEmbedder

N_COMPONENTS = 32
# Solvers of scikit-learn that finish in reasonable time on each shape.
SOLVERS = {
    "tall": ["auto", "covariance_eigh", "randomized"],
    "tall, small": ["auto", "covariance_eigh", "randomized"],
    "wide": ["auto", "randomized", "arpack", "full"],
    "square": ["auto", "randomized", "arpack", "covariance_eigh"],
    "images": ["auto", "covariance_eigh", "randomized"],
}
# Short ones can afford more rounds.
ROUNDS = {"tall": 4, "tall, small": 8, "wide": 2, "square": 3, "images": 2}


def data(folder: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)

    def low_rank(n_rows: int, n_columns: int) -> np.ndarray:
        codes = rng.normal(size=(n_rows, 20)) @ rng.normal(size=(20, n_columns))
        return codes + rng.normal(size=(n_rows, n_columns))

    return {
        "tall": low_rank(500_000, 50),
        "tall, small": low_rank(200_000, 50),
        "wide": low_rank(1_000, 20_000),
        "square": low_rank(3_000, 3_000),
        "images": images(folder, "train")[0].astype(np.float64),
    }


def compare(X: np.ndarray, solvers: list[str], rounds: int) -> dict[str, object]:
    def scikit_learn(solver: str) -> PCA:
        return PCA(N_COMPONENTS, svd_solver=solver, random_state=0)

    ours = PCAEmbedder(N_COMPONENTS, random_state=0)
    fits = {s: lambda s=s: scikit_learn(s).fit(X) for s in solvers}
    # Slow solvers are timed less often: they cannot be the best by a narrow margin.
    scouts = medians(paired(fits, 1))
    best = min(scouts.values())
    close = {s: fits[s] for s in solvers if scouts[s] < 1.5 * best}
    fit = paired({**close, "latentsk": lambda: ours.fit(X)}, rounds)
    theirs = scikit_learn("auto").fit(X)
    transform = paired(
        {"auto": lambda: theirs.transform(X), "latentsk": lambda: ours.transform(X)},
        rounds,
    )
    return {"shape": X.shape, "scout": scouts, "fit": fit, "transform": transform}


def row(name: str, result: dict) -> list[object]:
    typical = medians(result["fit"])
    ours = typical.pop("latentsk")
    best = min(typical, key=typical.__getitem__)
    return [
        name,
        "{:,} x {:,}".format(*result["shape"]),
        best,
        f"{1e3 * typical[best]:.0f}",
        f"{1e3 * ours:.0f}",
        f"{ratio(result['fit'], best, 'latentsk'):.2f}",
        f"{ratio(result['transform'], 'auto', 'latentsk'):.2f}",
    ]


def main() -> None:
    options = arguments(__doc__).parse_args()
    results = {}
    with threads(options.threads):
        for name, X in data(options.data).items():
            rounds = options.rounds * ROUNDS[name]
            results[name] = compare(X, SOLVERS[name], rounds)
    header = ["data", "shape", "best solver", "its fit (ms)", "our fit (ms)"]
    header += ["fit ratio", "transform ratio"]
    printed = table(header, [row(name, result) for name, result in results.items()])
    document = {"threads": options.threads, "results": results}
    publish("pca", printed, document, options.write)


if __name__ == "__main__":
    main()
