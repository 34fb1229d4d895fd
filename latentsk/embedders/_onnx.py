"""A fitted embedder as one ONNX file, which needs onnxruntime alone.

An embedder becomes one module of torch, a graph from rows to the results of its
methods, which `_onnx_file` writes.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsk.embedders._onnx_file import require_packages
from latentsk.embedders._onnx_float64 import in_plain_operations, runs_in_float64
from latentsk.embedders._onnx_table import TableGraph
from latentsk.linear import _gaussian as linear_gaussian
from latentsk.linear._gaussian import LinearGaussian
from latentsk.persistence._atomic import check_target
from latentsk.training._standardize import Standardizer

METHODS = ("transform", "reconstruct", "score_samples")
DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Samples of the latents are decoded in at most so many parts. More would lengthen the
# graph, fewer would take more memory.
MAX_PARTS = 4

Function = Callable[[Any, Tensor], Tensor]


def check_request(
    path: str | os.PathLike[str], methods: Sequence[str], dtype: str
) -> tuple[str, ...]:
    """Return the methods asked for, after checking whatever can be checked at once.

    Raises
    ------
    ValueError
        If a method or the dtype is unknown, or no method is asked for.

    FileNotFoundError, IsADirectoryError
        If the folder does not exist, or the path is a folder.

    ImportError
        If what writes the file is not installed.

    Examples
    --------
    >>> check_request("model.onnx", ["transform"], "float32")
    ('transform',)
    """
    wanted = (methods,) if isinstance(methods, str) else tuple(methods)
    if not wanted or len(set(wanted)) < len(wanted) or not set(wanted) <= set(METHODS):
        raise ValueError(
            f"methods must hold one or more of {METHODS}, each once, got {methods!r}."
        )
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {tuple(DTYPES)}, got {dtype!r}.")
    check_target(Path(path))
    require_packages()
    return wanted


def network_precision(
    network: nn.Module, methods: Sequence[str], dtype: str
) -> torch.dtype:
    """Return the type that a network is computed in, on rows of some dtype.

    float64 on such rows for perceptrons, as long as no scores are asked for, which may
    need functions that onnxruntime has in float32 alone; else float32.

    Examples
    --------
    >>> network_precision(nn.Linear(2, 1), ["transform"], "float64")
    torch.float64
    >>> network_precision(nn.Conv1d(1, 1, 3), ["transform"], "float64")
    torch.float32
    """
    is_exact = dtype == "float64" and "score_samples" not in methods
    # A prior, which a VAE has besides, is asked by scores alone.
    parts = (getattr(network, name, network) for name in ("encoder", "decoder"))
    is_exact = is_exact and all(map(runs_in_float64, parts))
    return torch.float64 if is_exact else torch.float32


class LinearModel(nn.Module):
    """A linear-Gaussian model as a network of centred rows.

    Constants are tensors: torch writes Python's numbers with the digits of float32.

    Parameters
    ----------
    model : LinearGaussian
        Of numpy arrays in float64.

    scale : ndarray of shape (n_components,)
        What coordinates are divided by, and multiplied with on the way back.

    score_method : {"likelihood", "reconstruction", "mahalanobis"} or None
        None if no scores are wanted.

    dtype : torch.dtype
        To compute in.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones(1)
    >>> model = LinearGaussian(np.zeros(2), np.array([[0.6, 0.8]]), one, 0.5)
    >>> linear = LinearModel(model, one, "reconstruction", torch.float32)
    >>> linear.encode(torch.tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """

    constant: Tensor
    scale: Tensor

    def __init__(
        self,
        model: LinearGaussian,
        scale: NDArray[Any],
        score_method: str | None,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.score_method = score_method
        is_density = score_method == "likelihood"
        constant = linear_gaussian.log_constant(model) if is_density else 0.0
        arrays = {**model._asdict(), "constant": constant, "scale": scale}
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(array, dtype=dtype))

    @property
    def _model(self) -> LinearGaussian:
        fields: Any = map(self.get_buffer, LinearGaussian._fields)
        return LinearGaussian(*fields)

    def encode(self, rows: Tensor) -> Tensor:
        """Return the latent coordinates of centred rows."""
        return linear_gaussian.coordinates(rows, self._model) / self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """Return the centred rows that latent coordinates stand for."""
        return (latents * self.scale) @ self._model.components

    def score(self, rows: Tensor) -> Tensor:
        """Return the score of each centred row."""
        if self.score_method == "reconstruction":
            return -linear_gaussian.squared_residual(rows, self._model, torch)
        if self.score_method == "mahalanobis":
            return -linear_gaussian.squared_mahalanobis(rows, self._model, torch)
        distance = linear_gaussian.squared_distance(rows, self._model, torch)
        return -0.5 * (self.constant + distance)


class EmbedderGraph(nn.Module):
    """A fitted embedder as a function of rows in original units.

    Parameters
    ----------
    network : nn.Module
        Is copied.

    encode, decode, score : callable
        Functions of the network and of standardized rows or latent coordinates.

    standardizer : Standardizer

    methods : sequence of str

    dtype : torch.dtype
        To compute in.

    table : TableGraph or None, default=None
        What codes the rows of a table for the network; None: rows enter as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from latentsk.networks._autoencoder import Autoencoder
    >>> graph = EmbedderGraph(
    ...     Autoencoder(nn.Identity(), nn.Identity()),
    ...     lambda network, rows: network.encoder(rows),
    ...     lambda network, latents: network.decoder(latents),
    ...     lambda network, rows: rows.sum(dim=1),
    ...     Standardizer(np.array([1.0, 2.0]), np.array([1.0, 4.0])),
    ...     METHODS, torch.float32,
    ... )
    >>> graph(torch.tensor([[3.0, 4.0]]))
    (tensor([[2.0000, 0.5000]]), tensor([[3., 4.]]), tensor([2.5000]))
    """

    mean: Tensor
    scale: Tensor
    coarse: Tensor
    fine: Tensor

    def __init__(
        self,
        network: nn.Module,
        encode: Function,
        decode: Function,
        score: Function,
        standardizer: Standardizer,
        methods: Sequence[str],
        dtype: torch.dtype,
        table: TableGraph | None = None,
    ) -> None:
        super().__init__()
        self.table = table
        self.network = copy.deepcopy(network).cpu().to(dtype).eval()
        if dtype == torch.float64:
            self.network = in_plain_operations(self.network)
        self.encode, self.decode, self.score = encode, decode, score
        self.methods = tuple(methods)
        self.dtype = dtype
        for name, array in standardizer._asdict().items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float64))
        # A mean in two parts, so that none of it is rounded away in float32.
        self.register_buffer("coarse", self.mean.float())
        self.register_buffer("fine", (self.mean - self.coarse).float())

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """Return the results of the methods."""
        rows = self._standardized(X)
        latents = self.encode(self.network, rows)
        results = {
            "transform": lambda: latents,
            "reconstruct": lambda: self._rebuilt(X, rows, latents),
            "score_samples": lambda: self._scores(rows, X.dtype),
        }
        return tuple(results[method]().to(X.dtype) for method in self.methods)

    def latents(self, X: Tensor) -> Tensor:
        """Return the latent coordinates of rows, in the dtype of the computation."""
        return self.encode(self.network, self._standardized(X))

    def original(self, latents: Tensor) -> Tensor:
        """Return the rows that latent coordinates stand for, in float64."""
        rows = self.decode(self.network, latents.to(self.dtype)).double()
        width = rows.shape[1]  # that of what is modelled
        return rows * self.scale[:width] + self.mean[:width]

    def rebuilt(self, X: Tensor) -> Tensor:
        """Return rows of a table as they are reconstructed, at their own conditions."""
        rows = self._standardized(X)
        return self._rebuilt(X, rows, self.encode(self.network, rows))

    def _rebuilt(self, X: Tensor, rows: Tensor, latents: Tensor) -> Tensor:
        if self.table is None:
            return self.original(latents)
        conditions = rows[:, self.table.layout.n_modelled :]
        modelled = self.original(torch.cat([latents, conditions], dim=1))
        return self.table.rows(modelled, X)

    def scores(self, X: Tensor) -> Tensor:
        """Return the score of each row, in the dtype of the rows."""
        return self._scores(self._standardized(X), X.dtype)

    def _scores(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        scores = self.score(self.network, rows).to(dtype)
        # Out of the range of its dtype, a row is most abnormal.
        lowest = torch.tensor(torch.finfo(dtype).min, dtype=dtype)
        return torch.where(scores > lowest, scores, lowest)

    def _standardized(self, X: Tensor) -> Tensor:
        X = X if self.table is None else self.table(X)
        if torch.float64 in (X.dtype, self.dtype):
            return ((X.double() - self.mean) / self.scale).to(self.dtype)
        return (X - self.coarse - self.fine) / self.scale.float()
