"""Embedders: steps that return latent coordinates, and lead back from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from torch import Tensor, nn

from latentsk.embedders._base import BaseEmbedder
from latentsk.embedders._onnx import EmbedderGraph
from latentsk.export._modules import chain, constant
from latentsk.export._registry import cannot_export, exports, exports_family
from latentsk.export._sources import Numbers, Source, Stage, as_numbers


class Embed(nn.Module):
    """An embedder of this package.

    Parameters
    ----------
    graph : EmbedderGraph
    dtype : torch.dtype
        Of the latents.
    """

    def __init__(self, graph: EmbedderGraph, dtype: torch.dtype) -> None:
        super().__init__()
        self.graph = graph
        self.dtype = dtype

    def forward(self, rows: Tensor) -> Tensor:
        """Return latent coordinates."""
        return self.graph.latents(rows).to(self.dtype)

    def inverse(self, latents: Tensor) -> Tensor:
        """Return the rows that latent coordinates stand for."""
        return self.graph.original(latents).to(latents.dtype)

    def score(self, rows: Tensor) -> Tensor:
        """Return the score of each row."""
        return self.graph.scores(rows)


class EmbedTable(nn.Module):
    """An embedder of tables, whose latents alone do not lead back to rows.

    Parameters
    ----------
    graph : EmbedderGraph
    dtype : torch.dtype
        Of the latents.
    """

    def __init__(self, graph: EmbedderGraph, dtype: torch.dtype) -> None:
        super().__init__()
        self.graph = graph
        self.dtype = dtype

    def forward(self, rows: Tensor) -> Tensor:
        """Return latent coordinates."""
        return self.graph.latents(rows).to(self.dtype)

    def rebuild(self, rows: Tensor) -> Tensor:
        """Return rows as they are reconstructed."""
        return self.graph.rebuilt(rows).to(self.dtype)

    def score(self, rows: Tensor) -> Tensor:
        """Return the score of each row."""
        return self.graph.scores(rows)


def embed(step: Any, source: Source, methods: tuple[str, ...]) -> Stage:
    """Return an embedder of this package that can do what methods need."""
    if not hasattr(step, "_onnx_graph"):
        raise cannot_export(step, "it has no graph")
    numbers = as_numbers(source)
    graph = step._onnx_graph(methods, source.dtype)
    # Latents of principal components have the dtype of rows and fit together.
    is_double = torch.float64 in (graph.dtype, _dtype(source))
    dtype = torch.float64 if is_double else torch.float32
    out = Numbers(step._n_features_out, str(dtype).removeprefix("torch."))
    kind = Embed if graph.table is None else EmbedTable
    return Stage(chain(numbers.module, kind(graph, dtype)), out)


def _dtype(source: Source) -> torch.dtype:
    return torch.float64 if source.dtype == "float64" else torch.float32


@exports_family(BaseEmbedder)
def _embedder(step: Any, source: Source) -> Stage:
    return embed(step, source, ("transform",))


class Project(nn.Module):
    """Centred rows on components, and back, as scikit-learn's PCA does it.

    Parameters
    ----------
    mean : ndarray of shape (n_features,)
    components : ndarray of shape (n_components, n_features)
    scale : ndarray of shape (n_components,)
        What coordinates are divided by.
    precision : ndarray of shape (n_features, n_features), optional
        The inverse covariance, for scores.
    """

    mean: Tensor
    components: Tensor
    scale: Tensor
    precision: Tensor
    constant: Tensor

    def __init__(
        self, mean: Any, components: Any, scale: Any, precision: Any = None
    ) -> None:
        super().__init__()
        fitted = np.asarray(components).dtype
        self.dtype = torch.float32 if fitted == np.float32 else torch.float64
        self.register_buffer("mean", constant(mean))
        self.register_buffer("components", constant(components))
        self.register_buffer("scale", constant(scale))
        if precision is not None:
            n_features = len(precision)
            log_det = np.linalg.slogdet(np.asarray(precision, np.float64))[1]
            self.register_buffer("precision", constant(precision))
            self.register_buffer(
                "constant", constant(0.5 * (log_det - n_features * np.log(2 * np.pi)))
            )

    def forward(self, rows: Tensor) -> Tensor:
        """Return coordinates."""
        along = (rows.double() - self.mean) @ self.components.T / self.scale
        return along.to(self._dtype_of(rows))

    def inverse(self, latents: Tensor) -> Tensor:
        """Return the rows that coordinates stand for."""
        rows = (latents.double() * self.scale) @ self.components + self.mean
        return rows.to(self._dtype_of(latents))

    def score(self, rows: Tensor) -> Tensor:
        """Return the log-density of each row."""
        centred = rows.double() - self.mean
        squared = (centred * (centred @ self.precision)).sum(dim=1)
        return self.constant - squared / 2

    def _dtype_of(self, rows: Tensor) -> torch.dtype:
        return torch.promote_types(self.dtype, rows.dtype)


def _projected(source: Source, project: Project) -> Stage:
    numbers = as_numbers(source)
    fitted = "float32" if project.dtype == torch.float32 else "float64"
    dtype = np.result_type(fitted, source.dtype).name
    return Stage(
        chain(numbers.module, project), Numbers(len(project.components), dtype)
    )


@exports(PCA, IncrementalPCA)
def _pca(step: Any, source: Source) -> Stage:
    scale = np.ones(len(step.components_))
    if step.whiten:
        variances = step.explained_variance_
        # scikit-learn's least one.
        scale = np.maximum(np.sqrt(variances), np.finfo(variances.dtype).eps)
    precision = step.get_precision() if isinstance(step, PCA) else None
    return _projected(source, Project(step.mean_, step.components_, scale, precision))


@exports(TruncatedSVD)
def _truncated_svd(step: Any, source: Source) -> Stage:
    n_components, n_features = step.components_.shape
    mean, scale = np.zeros(n_features), np.ones(n_components)
    return _projected(source, Project(mean, step.components_, scale))
