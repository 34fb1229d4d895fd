"""Rows and queries of the comparison of approximate searches, and the truth of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from _harness import images

N_NEIGHBORS = 10
N_QUERIES = 10_000


class Data(NamedTuple):
    """Rows to be searched and queries; `n_lists` is for the peers with inverted lists.

    `limits` are the queries' distances to their true tenth neighbours.
    """

    title: str
    base: np.ndarray
    queries: np.ndarray
    n_lists: int
    limits: np.ndarray

    @classmethod
    def of(cls, title: str, base: Any, queries: Any, n_lists: int) -> Data:
        """Return data with the limits computed."""
        return cls(title, base, queries, n_lists, tenth_distances(base, queries))


def clustered(n_rows: int, n_columns: int, seed: int = 0) -> np.ndarray:
    """Draw rows of 300 clusters of very different sizes, shapes and directions."""
    rng = np.random.default_rng(seed)
    weights = rng.pareto(1.5, 300) + 0.2
    centres = rng.normal(size=(300, n_columns))
    spectrum = np.arange(1, n_columns + 1) ** -0.5
    spectrum /= np.sqrt(np.mean(spectrum**2))
    labels = rng.choice(300, n_rows, p=weights / weights.sum())
    rows = rng.standard_normal((n_rows, n_columns), dtype=np.float32)
    for label, centre in enumerate(centres):
        rotation, _ = np.linalg.qr(rng.normal(size=(n_columns, n_columns)))
        shape = (rng.uniform(0.3, 0.9) * spectrum)[:, None] * rotation
        members = labels == label
        rows[members] = rows[members] @ shape.astype(np.float32) + centre
    return rows


def mnist(folder: Path, shrink: int) -> Data:
    base, name = images(folder, "train")
    queries, _ = images(folder, "test")
    base, queries = base[: len(base) // shrink], queries[: len(queries) // shrink]
    return Data.of(name, base.copy(), queries.copy(), 256 // shrink)


def clusters(n_rows: int, n_columns: int, n_lists: int, shrink: int) -> Data:
    n_rows, n_queries = n_rows // shrink, N_QUERIES // shrink
    rows = clustered(n_rows + n_queries, n_columns)
    return Data.of("clustered", rows[:n_rows], rows[n_rows:], n_lists // shrink)


def wide(n_columns: int, decay: float, shrink: int) -> Data:
    """Draw embeddings of unit length whose spectrum falls off slowly or fast."""
    n_rows, n_queries = 50_000 // shrink, N_QUERIES // shrink
    rng = np.random.default_rng(n_columns)
    scales = (np.arange(1, n_columns + 1) ** -decay).astype(np.float32)
    topics = rng.normal(size=(200, n_columns)).astype(np.float32)
    rows = rng.standard_normal((n_rows + n_queries, n_columns), dtype=np.float32)
    rows += topics[rng.integers(0, len(topics), len(rows))]
    rows *= scales
    rotation, _ = np.linalg.qr(rng.normal(size=(n_columns, n_columns)))
    rows = rows @ rotation.astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    title = f"embeddings, {'fast' if decay == FAST else 'slow'} spectrum"
    return Data.of(title, rows[:n_rows], rows[n_rows:], 256 // shrink)


def zipf_clusters(shrink: int) -> Data:
    """Draw rows of 200 clusters of zipf-distributed sizes and unlike spreads."""
    n_rows, n_queries, n_columns = 40_000 // shrink, N_QUERIES // shrink, 64
    rng = np.random.default_rng(0)
    weights = 1.0 / np.arange(1, 201)
    labels = rng.choice(200, n_rows + n_queries, p=weights / weights.sum())
    spreads = rng.uniform(0.3, 1.5, 200)[labels, None]
    rows = rng.normal(size=(200, n_columns))[labels]
    rows = rows + spreads * rng.normal(size=rows.shape)
    rows = rows.astype(np.float32)
    return Data.of("zipf clusters", rows[:n_rows], rows[n_rows:], 256 // shrink)


# Exponents by which the standard deviations of components fall off.
SLOW, FAST = 0.4, 1.0

SETS: dict[str, Callable[[Path, int], Data]] = {
    "mnist": mnist,
    "clustered-200k": lambda _, shrink: clusters(200_000, 64, 512, shrink),
    "clustered-1m": lambda _, shrink: clusters(1_000_000, 32, 1_024, shrink),
    "zipf": lambda _, shrink: zipf_clusters(shrink),
    "narrow-8": lambda _, shrink: clusters(200_000, 8, 512, shrink),
    "narrow-16": lambda _, shrink: clusters(200_000, 16, 512, shrink),
    "wide-384-slow": lambda _, shrink: wide(384, SLOW, shrink),
    "wide-384-fast": lambda _, shrink: wide(384, FAST, shrink),
    "wide-768-slow": lambda _, shrink: wide(768, SLOW, shrink),
    "wide-768-fast": lambda _, shrink: wide(768, FAST, shrink),
    "wide-1536-slow": lambda _, shrink: wide(1_536, SLOW, shrink),
    "wide-1536-fast": lambda _, shrink: wide(1_536, FAST, shrink),
}


def distances(X: np.ndarray, Q: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Measure in float64; infinite where there is no row (position -1)."""
    result = np.empty(positions.shape)
    for start in range(0, len(Q), 500):
        block = slice(start, start + 500)
        gaps = X[positions[block]].astype(np.float64) - Q[block, None]
        result[block] = np.sqrt(np.einsum("qkd,qkd->qk", gaps, gaps))
    result[positions < 0] = np.inf
    return result


def tenth_distances(X: np.ndarray, Q: np.ndarray) -> np.ndarray:
    # More candidates than needed, as float32 may confuse their order.
    _, candidates = faiss.knn(Q, X, min(100, len(X)))
    return np.sort(distances(X, Q, candidates), axis=1)[:, N_NEIGHBORS - 1]
