"""What an index is asked to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from latentsk._device import device_or_cpu
from latentsk._faiss import faiss_available, load_faiss
from latentsk.index._embedding import embed_by
from latentsk.index._families import Pinned, parse_index_spec
from latentsk.index._memory import parse_bytes
from latentsk.index._search import Embedding


@dataclass(frozen=True)
class Settings:
    """What an index is asked to be: parameters of `LatentIndex`, resolved.

    Attributes
    ----------
    metric, n_neighbors, target_recall, index_spec, memory_budget
        As in `LatentIndex`.

    seed : int
        Of everything that is drawn.

    device : torch.device
        Where rows are compared.

    static : bool
        Whether no row will be added or removed.

    embed : callable or None
        From original rows to the vectors that are coded; None: the rows themselves.

    verbose : bool
        Whether to print what is being done.
    """

    metric: str
    n_neighbors: int
    target_recall: float | None
    index_spec: str | None
    memory_budget: str | int | None
    seed: int
    device: torch.device
    static: bool
    embed: Embedding | None
    verbose: bool

    def report(self, message: str) -> None:
        """Print what is being done, where that is asked for."""
        if self.verbose:
            print(f"[LatentIndex] {message}", flush=True)

    @property
    def is_approximate(self) -> bool:
        """Whether neighbours may be missed."""
        return self.pinned is not None or self.target_recall is not None

    @property
    def pinned(self) -> Pinned | None:
        """The approximate search that is asked for."""
        return parse_index_spec(self.index_spec)

    def check(self, backend: str, rerank: str, *, has_embedder: bool) -> None:
        """Refuse parameters that contradict each other, or need what is not there.

        Raises
        ------
        ImportError
            If FAISS is needed and not installed.

        ValueError
        """
        if backend == "faiss":
            load_faiss()
        if self.is_approximate and not faiss_available():
            raise ImportError(
                "target_recall and index_spec need FAISS: pip install "
                "'latentsk[cpu]', or 'latentsk[gpu]' for NVIDIA GPUs."
            )
        if self.is_approximate and backend == "torch":
            raise ValueError("An approximate index needs FAISS, but backend='torch'.")
        pinned = self.pinned
        if pinned is not None and pinned.is_static and not self.static:
            raise ValueError(
                f"index_spec={self.index_spec!r} is a graph, which follows no changes: "
                "it needs static=True."
            )
        if self.memory_budget is not None:
            parse_bytes(self.memory_budget)
        if rerank == "original" and not has_embedder:
            raise ValueError("rerank='original' needs an embedder.")
        if rerank == "original" and not self.is_approximate:
            raise ValueError(
                "rerank='original' needs a target_recall (how many of the nearest "
                "original rows the latent vectors are to find) or an index_spec with "
                "lists."
            )


def settings_of(index: Any, metric: str) -> Settings:
    """Return what a LatentIndex is to be by its parameters."""
    return Settings(
        metric=metric,
        n_neighbors=index.n_neighbors,
        target_recall=index.target_recall,
        index_spec=index.index_spec,
        memory_budget=index.memory_budget,
        seed=index.random_state,
        device=device_or_cpu(index.device),
        static=index.static,
        embed=embed_by(index) if index.rerank == "original" else None,
        verbose=index.verbose,
    )
