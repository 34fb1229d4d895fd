"""A fitted LatentOutlierDetector as a module of torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentsk._validation import LIMITS
from latentsk.embedders import PCAEmbedder
from latentsk.export._modules import constant, is_invertible
from latentsk.export._neighbors import Measured, NeighborhoodGraph
from latentsk.export._registry import cannot_export
from latentsk.export._unknown import FillUnknown
from latentsk.outliers._gaussian import LEAST_REMAINDER, RobustGaussian
from latentsk.outliers._latent_view import LatentView
from latentsk.outliers._scales import KINDS, LOWEST, METHODS, MOST_NORMAL, Scale
from latentsk.outliers._steps import split_steps
from latentsk.preprocessing._indicators import Indicators, indicators
from latentsk.preprocessing._robust_standardizer import INDICATOR

# Elimination is written out for each column that can be unknown.
MOST_UNKNOWN_COLUMNS = 100
LARGEST = float(np.finfo(np.float64).max)


# Above it, an indicator says that its cell is unknown.
ON = INDICATOR / 2


def unknown_pairs(view: LatentView) -> Indicators:
    """Return the features that are indicators, and those that they belong to.

    Where the detector asks for them: before principal components.
    """
    preprocessor, embedder = split_steps(view.embedder)
    return indicators(preprocessor if isinstance(embedder, PCAEmbedder) else None)


class GaussianGraph(nn.Module):
    """Squared distances within the latent space, and outside of it."""

    centre: Tensor
    whitening: Tensor
    noise: Tensor
    least: Tensor
    eps: Tensor

    def __init__(self, gaussian: RobustGaussian) -> None:
        super().__init__()
        self.n_rows = gaussian.n_rows
        self.was_fitted_on = gaussian.was_fitted_on
        n = gaussian.n_rows
        for name, value in {
            "centre": gaussian.centre,
            "whitening": gaussian.axes / np.sqrt(gaussian.variances),
            "noise": gaussian.noise,
            "least": LEAST_REMAINDER,
            "eps": np.finfo(np.float64).eps,
            # Of rows that are left out: see `_without_row` of the detector.
            "shrunk": (n - 2) / max(n - 1, 1),
            "part": n / max((n - 1) * (n - 2), 1),
            "grown": (n / max(n - 1, 1)) ** 2,
            "inverse_n": 1.0 / n,
            "inverse_rest": 1.0 / max(n - 1, 1),
        }.items():
            self.register_buffer(name, constant(value))

    def within(self, latents: Tensor, measured: Measured) -> Tensor:
        """Return squared Mahalanobis distances."""
        coordinates = (latents.double() - self.centre) @ self.whitening
        ordinary = (coordinates * coordinates).sum(dim=1)
        if self.n_rows < 3:
            return ordinary
        own, present = measured.own, measured.in_support
        scaled = own * self.get_buffer("shrunk")
        remainder = 1 - self.get_buffer("part") * scaled
        remainder = torch.where(remainder > self.eps, remainder, self.eps)
        farther = self.get_buffer("grown") * scaled / remainder - own
        return torch.where(present > 0, ordinary + present * farther, ordinary)

    def outside(self, residuals: Tensor, measured: Measured) -> Tensor:
        """Return the squared length of each residual."""
        squared = (residuals * residuals).sum(dim=1)
        if not self.was_fitted_on:
            return squared
        leverages = self.get_buffer("inverse_n") + measured.own * self.get_buffer(
            "inverse_rest"
        )
        remainder = torch.where(leverages < 1, 1 - leverages, self.least)
        remainder = torch.where(remainder > self.least, remainder, self.least)
        return squared * (1 + measured.in_support * (1 / (remainder * remainder) - 1))


class DistancesGraph(nn.Module):
    """The distances of each kind of preprocessed rows.

    Parameters
    ----------
    embedder : nn.Module
        Of the step that embeds.

    view, gaussian, neighborhood
        Those of the detector.
    """

    scale: Tensor
    on: Tensor

    def __init__(self, embedder: nn.Module, detector: Any) -> None:
        super().__init__()
        view: LatentView = detector._view
        gaussian: RobustGaussian = detector._gaussian
        self.embedder = embedder
        self.gaussian = GaussianGraph(gaussian)
        self.neighborhood = NeighborhoodGraph(detector._neighborhood)
        self.has_inverse = is_invertible(embedder)
        self.register_buffer("scale", constant(view.scale))
        for name, limit in LIMITS.items():
            largest = min(LIMITS["float64"], float(np.finfo(name).max))
            self.register_buffer(f"limit_{name}", constant(limit))
            self.register_buffer(f"largest_{name}", constant(largest))
        self.fill: nn.Module | None = None
        found = unknown_pairs(view)
        if len(found.features) and gaussian.loadings.shape[1] == len(view.scale):
            self._set_fill(gaussian, found)

    def _set_fill(self, gaussian: RobustGaussian, found: Indicators) -> None:
        cells = found.features
        different = np.unique(cells)
        n_columns = len(np.setdiff1d(different, found.positions))
        if n_columns > MOST_UNKNOWN_COLUMNS:
            raise cannot_export(
                "The detector",
                f"{n_columns} columns have codes or missing values, and the file "
                f"can follow {MOST_UNKNOWN_COLUMNS}",
                "Fill them in before, with SimpleImputer as the first step, or give "
                "the embedder make_pipeline(RobustStandardizer(add_indicator=False), "
                "PCAEmbedder()).",
            )
        self.fill = FillUnknown(gaussian, different)
        self.register_buffer("indicators", constant(found.positions, torch.int64))
        holders = cells[:, None] == different
        self.register_buffer("holders", constant(holders))
        self.register_buffer("missing", constant(holders & found.is_missing[:, None]))
        self.has_codes = not found.is_missing.all()
        self.has_missing = bool(found.is_missing.any())
        self.register_buffer("on", constant(ON))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features, latents, and a column of distances for each of KINDS."""
        features = self._drawn_in(rows, "limit")
        latents = self._drawn_in(self.embedder(features), "largest")
        imputed, filled = self._filled(features, latents)
        measured = self.neighborhood(imputed)
        within = self.gaussian.within(filled, measured)
        outside = torch.zeros_like(within)
        if self.has_inverse:
            restored = self.embedder.inverse(latents).double()  # type: ignore[operator]
            residuals = (features.double() - restored) / self.scale
            outside = self.gaussian.outside(residuals, measured)
        joint = within + outside / self.gaussian.noise
        kinds = [within, outside, joint, measured.local, measured.global_]
        return features, latents, torch.stack(kinds, dim=1)

    def _drawn_in(self, rows: Tensor, kind: str) -> Tensor:
        """Draw in what is larger than can be measured; of latents NaN, too."""
        dtype = "float32" if rows.dtype == torch.float32 else "float64"
        limit = self.get_buffer(f"{kind}_{dtype}").to(rows.dtype)
        if kind == "largest":
            rows = torch.where(torch.isnan(rows), limit, rows)
        rows = torch.where(rows > limit, limit, rows)
        return torch.where(rows < -limit, -limit, rows)

    def _filled(self, features: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents with missing values filled in, and with codes, too."""
        if self.fill is None:
            return latents, latents
        indicators = features.index_select(1, self.get_buffer("indicators"))
        is_on = (indicators.double() > self.on).double()
        filled = self.fill(latents, is_on @ self.get_buffer("holders") > 0)
        if not self.has_codes:
            return filled, filled
        if not self.has_missing:
            return latents, filled
        return self.fill(latents, is_on @ self.get_buffer("missing") > 0), filled


class ScoreGraph(nn.Module):
    """The score that distances of each kind make."""

    centre: Tensor
    spread: Tensor
    floor: Tensor
    margin: Tensor
    least: Tensor
    largest: Tensor
    lowest: Tensor

    def __init__(self, method: str, scale: Scale) -> None:
        super().__init__()
        self.kinds = [KINDS.index(kind) for kind in METHODS[method]]
        for name, values in scale._asdict().items():
            self.register_buffer(name, constant(np.asarray(values)[self.kinds]))
        self.register_buffer("least", constant(-MOST_NORMAL))
        self.register_buffer("largest", constant(LARGEST))
        self.register_buffer("lowest", constant(LOWEST))

    def forward(self, distances: Tensor) -> Tensor:
        """Return the scores; the lowest number where a distance is none."""
        distances = distances[:, self.kinds]
        if len(self.kinds) > 1:
            distances = self._deviations(distances)
        # Also false for NaN.
        is_finite = (distances <= self.largest).all(dim=1)
        return torch.where(is_finite, -distances.amax(dim=1), self.lowest)

    def _deviations(self, distances: Tensor) -> Tensor:
        found = ((distances + self.floor).log() - self.centre) / self.spread
        return torch.where(found < self.least, self.least, found) - self.margin
