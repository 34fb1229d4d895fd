"""A fitted embedder as one ONNX file, which needs onnxruntime alone.

An embedder becomes one module of torch, a graph from rows to the results of its
methods. torch writes the graph down; what it writes becomes one file here.
"""

from __future__ import annotations

import copy
import importlib
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsk._version import __version__
from latentsk.linear import _gaussian as linear_gaussian
from latentsk.linear._gaussian import LinearGaussian
from latentsk.persistence._atomic import atomic_file, check_target
from latentsk.training._standardize import Standardizer

METHODS = ("transform", "reconstruct", "score_samples")
DTYPES = {"float32": torch.float32, "float64": torch.float64}
# The oldest operators that torch writes; onnxruntime 1.15 of 2023 reads both.
OPSET = 18
IR_VERSION = 8
# Of the weights. The limit of protobuf is 2**31; the graph itself takes some.
MAX_BYTES = 2**31 - 2**24
# Samples of the latents are decoded in at most so many parts. More would lengthen the
# graph, fewer would take more memory.
MAX_PARTS = 4

_INPUT = "X"
# Warnings are silenced for the whole process, one export at a time.
_EXPORTING = threading.Lock()
_CHATTY_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")

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
    _require_packages()
    return wanted


def _require_packages() -> None:
    with _quiet():
        try:
            for name in ("onnx", "onnxscript"):
                importlib.import_module(name)
        except ImportError as error:
            raise ImportError(
                "to_onnx needs onnx and onnxscript: pip install 'latentsk[onnx]'."
            ) from error


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
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().to(dtype).eval()
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
        results = []
        for method in self.methods:
            if method == "transform":
                results.append(latents)
            elif method == "reconstruct":
                back = self.decode(self.network, latents).double()
                results.append(back * self.scale + self.mean)
            else:
                scores = self.score(self.network, rows).to(X.dtype)
                # Out of the range of its dtype, a row is most abnormal.
                lowest = torch.tensor(torch.finfo(X.dtype).min, dtype=X.dtype)
                results.append(torch.where(scores > lowest, scores, lowest))
        return tuple(result.to(X.dtype) for result in results)

    def _standardized(self, X: Tensor) -> Tensor:
        if torch.float64 in (X.dtype, self.dtype):
            return ((X.double() - self.mean) / self.scale).to(self.dtype)
        return (X - self.coarse - self.fine) / self.scale.float()


def write_onnx(
    path: str | os.PathLike[str],
    graph: EmbedderGraph,
    n_features: int,
    dtype: str,
    metadata: Mapping[str, str],
) -> None:
    """Write a graph as one ONNX file, or leave the old file.

    Parameters
    ----------
    path : str or path-like

    graph : EmbedderGraph

    n_features : int

    dtype : {"float32", "float64"}
        Of the rows.

    metadata : mapping of str to str

    Raises
    ------
    ValueError
        If torch cannot write the graph down, or it does not fit into a file.

    Examples
    --------
    >>> import tempfile
    >>> graph = EmbedderGraph(
    ...     nn.Linear(2, 1), nn.Linear.forward, nn.Linear.forward, nn.Linear.forward,
    ...     Standardizer.identity(2), ["transform"], torch.float32,
    ... )
    >>> path = Path(tempfile.mkdtemp()) / "model.onnx"
    >>> write_onnx(path, graph, 2, "float32", {})
    >>> path.stat().st_size > 0
    True
    """
    weights = [*graph.parameters(), *graph.buffers()]
    if sum(tensor.nbytes for tensor in weights) > MAX_BYTES:
        raise ValueError(
            "The model takes more than 2 GB, which is the most an ONNX file can hold."
        )
    model = _finished(_exported(graph, n_features, DTYPES[dtype]), metadata)
    with atomic_file(path) as file:
        file.write(model.SerializeToString())


def _exported(graph: EmbedderGraph, n_features: int, dtype: torch.dtype) -> Any:
    """Return what torch writes for any number of rows."""
    rows = torch.zeros(2, n_features, dtype=dtype)
    any_number = ({0: torch.export.Dim("n_samples")},)
    with _quiet(), torch.no_grad():
        try:
            traced = torch.export.export(
                graph.eval(), (rows,), dynamic_shapes=any_number, strict=False
            )
            program = torch.onnx.export(
                traced,
                (),
                dynamo=True,
                input_names=[_INPUT],
                output_names=list(graph.methods),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                "torch cannot write this embedder as an ONNX graph for any number of "
                "rows. Modules of your own must not depend on values or on the number "
                "of rows (of rows X, X.shape[0] is followed and len(X) is not). It "
                f"says: {reason}"
            ) from error
    assert program is not None
    return program.model_proto


def _finished(model: Any, metadata: Mapping[str, str]) -> Any:
    """Leave in the model what a user of the file needs, and no more."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "latentsk", __version__
    # Where the code of the graph lay on this machine, line by line.
    for node in model.graph.node:
        del node.metadata_props[:]
    del model.graph.metadata_props[:], model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
        value.type.tensor_type.shape.dim[0].dim_param = "n_samples"
    del model.metadata_props[:]
    for key, text in metadata.items():
        model.metadata_props.add(key=key, value=text)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch and onnx have to say from the user; nothing is lost by it."""
    loggers = [logging.getLogger(name) for name in _CHATTY_LOGGERS]
    with _EXPORTING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        levels = [logger.level for logger in loggers]
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
