"""What a file computes: the methods of its estimator, each an output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from latentsk._validation import LIMITS
from latentsk.export._decisions import Decisions
from latentsk.export._detector import DistancesGraph, ScoreGraph
from latentsk.export._modules import chain, constant, is_invertible
from latentsk.outliers._scales import LOWEST

# Of the outputs of a file, in words.
OUTPUTS = {
    "transform": "latent coordinates",
    "reconstruct": "rows as the latent space sees them",
    "score_samples": "score of each row, higher = more normal",
    "decision_function": "score minus threshold, negative for outliers",
    "predict": "+1, or -1 for outliers",
    "p_values": "how often a normal row scores as low",
    "class_score_samples": "log-density of each row in each class",
    "predict_proba": "probability of each class",
    "novelty_score": "how little a row resembles any class",
}

Results = dict[str, Tensor]


class TransformOutputs(nn.Module):
    """The output of a transformer."""

    methods = ("transform",)

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, rows: Any) -> Results:
        """Return the results of its methods."""
        return {"transform": self.transform(rows)}


class EmbedderOutputs(nn.Module):
    """The outputs of an embedder, after the steps before it.

    Parameters
    ----------
    prepare, embedder : nn.Module

    decisions : Decisions or None
        None if scores are not wanted, which may be undefined.
    """

    def __init__(
        self, prepare: nn.Module, embedder: nn.Module, decisions: Decisions | None
    ) -> None:
        super().__init__()
        self.prepare, self.embedder, self.decisions = prepare, embedder, decisions
        self.whole = chain(prepare, embedder)
        self.methods: tuple[str, ...] = ("transform",)
        self.rebuilds = hasattr(embedder, "rebuild")
        if is_invertible(prepare if self.rebuilds else self.whole):
            self.methods += ("reconstruct",)
        if decisions is not None:
            self.methods += ("score_samples", *decisions.methods)

    def forward(self, rows: Any) -> Results:
        """Return the results of the methods."""
        rows = self.prepare(rows)
        found = {"transform": self.embedder(rows)}
        if "reconstruct" in self.methods:
            steps: Any = self
            found["reconstruct"] = (
                steps.prepare.inverse(steps.embedder.rebuild(rows))
                if self.rebuilds
                else steps.whole.inverse(found["transform"])
            )
        if self.decisions is None:
            return found
        scores: Tensor = self.embedder.score(rows)  # type: ignore[operator]
        return found | {"score_samples": scores} | self.decisions(scores)


class DetectorOutputs(nn.Module):
    """The outputs of a detector.

    Parameters
    ----------
    before : nn.Module
        The steps before the detector.

    prepare : nn.Module
        The steps before the embedder.

    distances : DistancesGraph

    score : nn.Module
        Of distances, or of what enters the embedder.

    decisions : Decisions
    """

    lowest: Tensor

    def __init__(
        self,
        before: nn.Module,
        prepare: nn.Module,
        distances: DistancesGraph,
        score: nn.Module,
        decisions: Decisions,
    ) -> None:
        super().__init__()
        self.before, self.prepare = before, prepare
        self.distances, self.score = distances, score
        self.decisions = decisions
        self.default_methods = ("score_samples", *decisions.methods)
        self.methods = (*self.default_methods, "transform")
        self.register_buffer("lowest", constant(LOWEST))
        for dtype, limit in LIMITS.items():
            self.register_buffer(f"limit_{dtype}", constant(limit))

    def forward(self, rows: Any) -> Results:
        """Return the results of the methods."""
        rows = self.before(rows)
        features, latents, distances = self.distances(self.prepare(rows))
        if isinstance(self.score, ScoreGraph):
            scores = self.score(distances)
        else:
            scores = self.score(features).double()
            scores = torch.where(scores > self.lowest, scores, self.lowest)
        # What the methods refuse, and what is too large to be embedded.
        is_scored = ~torch.isnan(features).any(dim=1) & self._is_small(rows)
        scores = torch.where(is_scored, scores, self.lowest)
        found = {"score_samples": scores, "transform": latents}
        return found | self.decisions(scores)

    def _is_small(self, rows: Any) -> Tensor:
        """Tell which rows can be embedded: missing cells are for the steps."""
        parts = rows if isinstance(rows, tuple) else (rows,)
        cells = [part for part in parts if part.is_floating_point()]
        if not cells:
            return torch.ones_like(parts[0][:, 0], dtype=torch.bool)
        numbers = torch.cat(cells, dim=1)
        dtype = "float32" if numbers.dtype == torch.float32 else "float64"
        limit = self.get_buffer(f"limit_{dtype}").to(numbers.dtype)
        return ((numbers.abs() <= limit) | torch.isnan(numbers)).all(dim=1)
