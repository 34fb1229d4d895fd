"""Fit, score, search, save and load for an hour in one process: its memory stays flat.

    python benchmarks/soak.py [--minutes 60] [--write]

A round uses every estimator once, with shapes of its own: fit, partial_fit, all kinds
of answers (some in threads that end), rows added, replaced and removed, a pickle, a
file. After each the process's anonymous memory (RssAnon) is read, what is garbage and
what the C library holds back given up first. The line through these readings, from the
end of the warm-up on, must not rise by more than the bound over the whole run, and
there must be as many threads, open files and temporary files at the end as after the
warm-up. The command fails otherwise.

The bound is 20 MB, for any length of the run: pieces of the heap, and noise. In an hour
a leak of some ten kB a round is beyond it.

oneDNN, within torch, compiles kernels for every shape that it meets and keeps the last
1,024, some hundred MB of them; and other libraries keep a little for each shape, too. A
run would be half an hour on the way to that bound, and no leak could be told from it.
So there are 24 rounds' shapes, which recur with other rows, and oneDNN keeps 16 kernels
(ONEDNN_PRIMITIVE_CACHE_CAPACITY).
"""

from __future__ import annotations

import os

# Read when torch is imported.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")

import argparse
import ctypes
import gc
import pickle
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _harness import publish, table
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import latentsk
from latentsk import (
    AutoencoderEmbedder,
    LatentIndex,
    LatentNeighborsTransformer,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    VAEEmbedder,
)

MAX_GROWTH = 20.0
# Rounds, and share of the time, that the warm-up takes at least.
WARM_UP_ROUNDS, WARM_UP_SHARE = 3, 0.1
# However short the time: a line needs some readings.
LEAST_ROUNDS = WARM_UP_ROUNDS + 3
N_SHAPES = 24
SCORE_METHODS = ("elbo", "iwae", "reconstruction", "kl")
LISTS = "IVF8,PQ4x4fs,nprobe=4,rerank=8"
ANSWERS = (
    "transform",
    "reconstruct",
    "score_samples",
    "decision_function",
    "predict",
    "kneighbors",
    "search",
    "score_parts",
    "predict_proba",
)


class Reading(NamedTuple):
    """What the process holds at a moment."""

    seconds: float
    megabytes: float
    threads: int
    files_open: int
    files_left: int


class Draw:
    """Rows and settings of a round; their shapes recur, the rows do not."""

    def __init__(self, number: int) -> None:
        self.rng = np.random.default_rng(number)
        self.shapes = np.random.default_rng(number % N_SHAPES)
        self.n_rows = int(self.shapes.integers(150, 400))
        self.width = int(self.shapes.integers(8, 32))
        self.seed = number

    def rows(self, width: int | None = None) -> np.ndarray:
        """Return noise in one of two dtypes."""
        dtype = self.shapes.choice([np.float32, np.float64])
        return self.rng.normal(size=(self.n_rows, width or self.width)).astype(dtype)

    def network(self) -> dict[str, Any]:
        """Return the parameters of a small perceptron."""
        sizes = tuple(self.shapes.integers(8, 40, size=2).tolist())
        return {
            "n_components": int(self.shapes.integers(2, 6)),
            "hidden_layer_sizes": sizes,
            "max_epochs": 2,
            "random_state": self.seed,
            "device": "cpu",
        }

    def convolutions(self) -> dict[str, Any]:
        """Return the parameters of a small network for images."""
        channels = tuple(int(2 * n) for n in self.shapes.integers(2, 5, size=2))
        shape = {"network": "conv", "input_shape": (1, 8, 8)}
        return {**self.network(), **shape, "hidden_layer_sizes": channels}


def embedders(draw: Draw) -> Iterator[tuple[Any, np.ndarray]]:
    method = SCORE_METHODS[draw.seed % len(SCORE_METHODS)]
    yield PCAEmbedder(3), draw.rows()
    yield AutoencoderEmbedder(**draw.network()), draw.rows()
    yield AutoencoderEmbedder(**draw.convolutions()), draw.rows(width=64)
    yield VAEEmbedder(**draw.network(), score_method=method), draw.rows()
    yield make_pipeline(StandardScaler(), PCAEmbedder(3)), draw.rows()


def others(draw: Draw) -> Iterator[tuple[Any, np.ndarray]]:
    yield LatentNeighborsTransformer(PCAEmbedder(3)), draw.rows()
    yield LatentOutlierDetector(random_state=draw.seed), draw.rows()
    over_network = AutoencoderEmbedder(**draw.network())
    yield LatentOutlierDetector(over_network, random_state=draw.seed), draw.rows()
    yield PyODAdapter(PCAEmbedder(3)), draw.rows()


def indexes(draw: Draw) -> Iterator[tuple[Any, np.ndarray]]:
    yield LatentIndex(), draw.rows()
    yield LatentIndex(PCAEmbedder(4), metric="cosine"), draw.rows()
    yield LatentIndex(PCAEmbedder(4), index_spec=LISTS), draw.rows()


class Operations:
    """Use estimators, and count what was done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.n_done = 0

    def round(self, number: int) -> None:
        """Use every estimator once."""
        draw = Draw(number)
        for estimator, rows in embedders(draw):
            self.use(estimator, rows)
            self.go_on(estimator, rows)
        for estimator, rows in others(draw):
            self.use(estimator, rows)
        for index, rows in indexes(draw):
            self.use(index, rows)
            self.change(index, rows)
            self.store(index, rows)

    def do(self, function: Callable[[], Any]) -> Any:
        """Call a function, and count it."""
        self.n_done += 1
        return function()

    def use(self, estimator: Any, rows: np.ndarray) -> None:
        """Fit; ask; copy through a pickle and a file, and ask the copies."""
        self.do(lambda: estimator.fit(rows))
        expected = self.answers(estimator, rows[:50])
        self.in_threads(estimator, rows[:50])
        again = self.do(lambda: pickle.loads(pickle.dumps(estimator)))
        self.require_same(self.answers(again, rows[:50]), expected)
        path = self.folder / "estimator.latentsk"
        self.do(lambda: latentsk.save(estimator, path))
        again = self.do(lambda: latentsk.load(path))
        self.require_same(self.answers(again, rows[:50]), expected)
        path.unlink()

    def answers(self, estimator: Any, rows: np.ndarray) -> list[Any]:
        """Return what an estimator says of rows, by each of its methods."""
        there = [name for name in ANSWERS if hasattr(estimator, name)]
        return [self.do(lambda n=n: getattr(estimator, n)(rows)) for n in there]

    def in_threads(self, estimator: Any, rows: np.ndarray) -> None:
        """Ask in two threads that end."""
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda part: self.answers(estimator, part), [rows, rows]))

    def go_on(self, embedder: Any, rows: np.ndarray) -> None:
        """Go on learning, where that is possible."""
        if hasattr(embedder, "partial_fit"):
            self.do(lambda: embedder.partial_fit(rows[::2]))
            self.do(lambda: embedder.calibrate(rows))
            self.answers(embedder, rows)

    def change(self, index: Any, rows: np.ndarray) -> None:
        """Remove, add and replace rows of an index."""
        some = np.arange(20)
        self.do(lambda: index.remove(some))
        self.do(lambda: index.add(rows[:60], len(rows) + np.arange(60)))
        self.do(lambda: index.update(rows[:10], 50 + np.arange(10)))
        self.do(lambda: index.radius_neighbors(rows[:20], 0.5))
        self.answers(index, rows)

    def store(self, index: Any, rows: np.ndarray) -> None:
        """Write an index to a file, and read it in both ways."""
        path, embedder = self.folder / "index", getattr(index, "embedder_", None)
        self.do(lambda: index.save(path))
        expected = index.kneighbors(rows[:30])
        for mmap in (False, True):
            again = self.do(
                lambda mmap=mmap: LatentIndex.load(path, embedder=embedder, mmap=mmap)
            )
            self.require_same(again.kneighbors(rows[:30]), expected)
        del again
        path.unlink()

    def require_same(self, found: Any, expected: Any) -> None:
        """Refuse other answers than before; a soak that computes nothing is none."""
        for mine, true in zip(found, expected, strict=True):
            if isinstance(true, tuple):  # distances and positions
                self.require_same(mine, true)
            elif isinstance(true, np.ndarray):
                np.testing.assert_allclose(mine, true, rtol=1e-4, atol=1e-4)


def reading(start: float, folder: Path) -> Reading:
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None:
        trim(0)
    status = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":\t" in line
    )
    return Reading(
        time.monotonic() - start,
        int(status["RssAnon"].split()[0]) / 1024,
        int(status["Threads"]),
        len(os.listdir("/proc/self/fd")),
        sum(len(files) for _, _, files in os.walk(folder)),
    )


class Verdict(NamedTuple):
    """Readings after the warm-up, and what they say."""

    readings: list[Reading]
    slope: float  # MB per hour
    growth: float  # MB over the run
    faults: list[str]


def judged(readings: list[Reading], warm_up: float) -> Verdict:
    late = [r for r in readings[WARM_UP_ROUNDS:] if r.seconds >= warm_up]
    hours = np.array([r.seconds / 3600 for r in late])
    slope = float(np.polyfit(hours, [r.megabytes for r in late], 1)[0])
    growth = slope * float(np.ptp(hours))
    faults = [] if growth <= MAX_GROWTH else [f"memory grew by {growth:.0f} MB"]
    for name in ("threads", "files_open", "files_left"):
        first, last = getattr(late[0], name), getattr(late[-1], name)
        if last > first:
            faults.append(f"{name.replace('_', ' ')}: {first}, then {last}")
    return Verdict(late, slope, growth, faults)


def soaked(seconds: float, folder: Path) -> tuple[list[Reading], int]:
    """Go round until the time is over; return the readings, and how much was done."""
    operations, start = Operations(folder), time.monotonic()
    readings: list[Reading] = []
    while len(readings) < LEAST_ROUNDS or readings[-1].seconds < seconds:
        operations.round(len(readings))
        readings.append(reading(start, folder))
    return readings, operations.n_done


def row(verdict: Verdict, readings: list[Reading], n_done: int) -> list[object]:
    late = verdict.readings
    at = [readings[round(share * (len(readings) - 1))] for share in (0.1, 0.5, 1.0)]
    return [
        f"{readings[-1].seconds / 60:.1f}",
        f"{len(readings):,}",
        f"{n_done:,}",
        *(f"{r.megabytes:.0f}" for r in at),
        f"{verdict.slope:+.1f}",
        f"{verdict.growth:+.1f}",
        *(f"{late[0][i]}, {late[-1][i]}" for i in (2, 3, 4)),
    ]


def summary(readings: list[Reading]) -> dict[str, object]:
    """Return the last reading of each minute, by what was read."""
    minutes = {int(r.seconds // 60): r for r in readings}
    last = Reading(*zip(*minutes.values(), strict=True))
    return {
        "minutes": list(minutes),
        "megabytes": [round(value, 1) for value in last.megabytes],
        **{name: getattr(last, name) for name in ("threads", "files_open")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--write", action="store_true", help="update the README")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # two epochs make no good models
    with tempfile.TemporaryDirectory() as name:
        # Whatever is left behind by anyone lies here, and is counted.
        tempfile.tempdir = name
        readings, n_done = soaked(60 * options.minutes, Path(name))
        tempfile.tempdir = None
    verdict = judged(readings, WARM_UP_SHARE * 60 * options.minutes)
    header = ["minutes", "rounds", "operations", "MB at 10 %", "at 50 %", "at 100 %"]
    header += ["MB / hour", "MB over the run", "threads", "open files", "files left"]
    printed = table(header, [row(verdict, readings, n_done)])
    publish("soak", printed, {"by_minute": summary(readings)}, options.write)
    if verdict.faults:
        raise SystemExit("; ".join(verdict.faults))


if __name__ == "__main__":
    main()
