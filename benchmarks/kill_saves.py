"""Processes killed while they save over a model: the old file or the new one is there.

    python benchmarks/kill_saves.py [--kills N] [--seed N] [--write]

A child process saves two models in turn to the same path, and is killed (SIGKILL) at a
random moment. The file is then loaded: it must be there, pass its checksum, and give
the answers of one of the two models, bit for bit. "within a save" are the kills that
left a temporary file behind.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _harness import publish, table
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import latentsk

# A child saves for at most as long before it is killed.
LONGEST = 0.06


def pairs() -> dict[str, tuple[Any, Any]]:
    """Return two models of each kind, of about a megabyte."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3_000, 40)).astype(np.float32)
    vae = {"max_epochs": 1, "hidden_layer_sizes": (300, 200), "device": "cpu"}
    halves = X[:2_000], X[1_000:]

    def of(make: Any) -> tuple[Any, Any]:
        first, second = (make().fit(half) for half in halves)
        return first, second

    return {
        "VAEEmbedder": of(lambda: latentsk.VAEEmbedder(8, random_state=0, **vae)),
        "LatentIndex": of(lambda: latentsk.LatentIndex(latentsk.PCAEmbedder(30))),
        "LatentOutlierDetector": of(
            lambda: latentsk.LatentOutlierDetector(random_state=0)
        ),
        "Pipeline": of(
            lambda: make_pipeline(StandardScaler(), latentsk.PCAEmbedder(30))
        ),
    }


def answer(model: Any, X: np.ndarray) -> np.ndarray:
    ask = getattr(model, "score_samples", None) or model.kneighbors
    found = ask(X)
    return found[0] if isinstance(found, tuple) else found


def save_for_ever(models: tuple[Any, Any], path: str) -> None:
    while True:
        for model in models:
            latentsk.save(model, path)


def killed_save(models: tuple[Any, Any], path: str, rng: random.Random) -> None:
    """Save in a child process, and kill it."""
    child = os.fork()
    if child == 0:
        try:
            save_for_ever(models, path)
        finally:
            os._exit(1)
    time.sleep(rng.uniform(0, LONGEST))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WTERMSIG(status) != signal.SIGKILL:
        raise RuntimeError("The child ended by itself.")


def run(n_kills: int, seed: int) -> dict[str, dict[str, int]]:
    """Return for each kind of model what became of its file."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    X = np.random.default_rng(1).normal(size=(50, 40)).astype(np.float32)
    counts = {}
    kinds = pairs()
    for name, models in kinds.items():
        expected = [answer(model, X) for model in models]
        counts[name] = {"kills": 0, "within": 0, "first": 0, "second": 0, "wrong": 0}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.latentsk"
            latentsk.save(models[0], path)
            for _ in range(n_kills // len(kinds)):
                killed_save(models, str(path), rng)
                counts[name]["kills"] += 1
                counts[name]["within"] += clear(path)
                counts[name][which(path, X, expected)] += 1
    return counts


def clear(path: Path) -> bool:
    """Remove what a killed process left; tell whether there was anything."""
    left = [other for other in path.parent.iterdir() if other != path]
    for other in left:
        other.unlink()
    return bool(left)


def which(path: Path, X: np.ndarray, expected: list[np.ndarray]) -> str:
    try:
        found = answer(latentsk.load(path), X)
    except Exception as error:
        print(f"{path.name}: {error}")
        return "wrong"
    for name, wanted in zip(("first", "second"), expected, strict=True):
        if np.array_equal(found, wanted):
            return name
    return "wrong"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    counts = run(options.kills, options.seed)
    lines = [[name, *map(str, found.values())] for name, found in counts.items()]
    header = ["model", "kills", "within a save", "first", "second", "wrong"]
    publish("kill_saves", table(header, lines), {"counts": counts}, options.write)
    sys.exit(any(found["wrong"] for found in counts.values()))


if __name__ == "__main__":
    main()
