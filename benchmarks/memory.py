"""Peak memory of exact search and of streaming fits, above what the data take.

    python benchmarks/memory.py [--write]

Each case runs in a process of its own and reads Linux's count of anonymous memory
(RssAnon) fifty times a second. "Data" are the arrays handed in; pages of a memory map
are not anonymous.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _harness import arguments, publish, table


def anonymous_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell RssAnon")


class PeakMemory:
    """Context that records the peak of anonymous memory above its start."""

    def __enter__(self) -> PeakMemory:
        self.start = self.peak = anonymous_megabytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.peak = max(self.peak, anonymous_megabytes())
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def megabytes(self) -> float:
        """Peak above the start."""
        return self.peak - self.start


def search_data(kind: str, n_rows: int) -> np.ndarray:
    rng = np.random.default_rng(n_rows)
    if kind == "ordinary":
        return rng.normal(size=(n_rows, 128))
    if kind == "ties":
        return rng.integers(0, 2, size=(n_rows, 128)).astype(np.float64)
    centres = 1e3 * (np.arange(n_rows) % 2)[:, None]
    return centres + 1e-3 * rng.normal(size=(n_rows, 128))


def exact_search(
    kind: str, n_queries: int, dtype: str, exactness: str, backend: str
) -> float:
    from latentsk import LatentIndex

    X = search_data(kind, 100_000).astype(dtype)
    Q = search_data(kind, n_queries).astype(dtype)
    LatentIndex(backend=backend).fit(X[:2_000]).kneighbors(Q[:1_000])
    with PeakMemory() as peak:
        index = LatentIndex(exactness=exactness, backend=backend).fit(X)
        index.kneighbors(Q, 10)
    return peak.megabytes


@contextmanager
def memory_map(n_rows: int) -> Iterator[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        X = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, 256))
        rng = np.random.default_rng(0)
        for start in range(0, n_rows, 50_000):
            X[start : start + 50_000] = rng.normal(size=(50_000, 256))
        del X
        yield np.load(path, mmap_mode="r")


def streaming(n_rows: int) -> float:
    from latentsk import PCAEmbedder

    with memory_map(n_rows) as rows:
        PCAEmbedder(16).partial_fit(rows[:1_000])
        with PeakMemory() as peak:
            PCAEmbedder(16).partial_fit(rows).calibrate(rows)
    return peak.megabytes


def autoencoder(n_rows: int) -> float:
    from latentsk import AutoencoderEmbedder

    with memory_map(n_rows) as rows:
        plan = {"hidden_layer_sizes": (128, 64), "max_epochs": 1, "device": "cpu"}
        AutoencoderEmbedder(16, **plan).fit(np.array(rows[:1_000]))
        with PeakMemory() as peak:
            AutoencoderEmbedder(16, **plan).fit(rows)
    return peak.megabytes


# (kind, queries, dtype, exactness, backend)
SEARCHES = [
    ("ordinary", 10_000, dtype, exactness, backend)
    for dtype in ("float32", "float64")
    for exactness in ("certified", "float32")
    for backend in ("faiss", "torch")
]
# Where float32 certifies little, and float64 has to answer.
SEARCHES += [
    (kind, 1_000, dtype, "certified", "torch")
    for kind in ("two tight clusters", "ties")
    for dtype in ("float32", "float64")
]
CASES: dict = {
    f"search, 100,000 x 128, {kind}, {n:,} queries, " + ", ".join(rest): (
        exact_search,
        (kind, n, *rest),
    )
    for kind, n, *rest in SEARCHES
} | {
    "PCA partial_fit, memory map of 2,000,000 x 256 float32 (2 GB)": (
        streaming,
        (2_000_000,),
    ),
    "AutoencoderEmbedder fit, the same memory map": (autoencoder, (2_000_000,)),
}


def main() -> None:
    options = arguments(__doc__).parse_args()
    context = multiprocessing.get_context("spawn")
    results = {}
    for name, (function, parameters) in CASES.items():
        with context.Pool(1) as pool:
            results[name] = pool.apply(function, parameters)
    rows = [[name, f"{megabytes:.0f}"] for name, megabytes in results.items()]
    printed = table(["case", "peak above data (MB)"], rows)
    publish("memory", printed, {"megabytes": results}, options.write)


if __name__ == "__main__":
    main()
