"""A graph of torch as one ONNX file.

torch writes the graph down; what it writes becomes one file here.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from latentsk._version import __version__
from latentsk.persistence._atomic import atomic_file

# The oldest operators that torch writes; onnxruntime 1.15 of 2023 reads both.
OPSET = 18
IR_VERSION = 8
# Of the weights. The limit of protobuf is 2**31; the graph itself takes some.
MAX_BYTES = 2**31 - 2**24

# Warnings are silenced for the whole process, one export at a time.
_EXPORTING = threading.Lock()
_CHATTY_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def require_packages() -> None:
    """Import what writes the file.

    Raises
    ------
    ImportError
        If it is not installed.

    Examples
    --------
    >>> require_packages()
    """
    with _quiet():
        try:
            for name in ("onnx", "onnxscript"):
                importlib.import_module(name)
        except ImportError as error:
            raise ImportError(
                "to_onnx needs onnx and onnxscript: pip install 'latentsk[onnx]'."
            ) from error


def traced(graph: nn.Module, rows: Mapping[str, Tensor], outputs: Sequence[str]) -> Any:
    """Return what torch writes of a graph, for any number of rows.

    Parameters
    ----------
    graph : nn.Module
        Takes tensors of as many rows, and returns a tuple of such.

    rows : mapping of str to Tensor
        Two rows of each input, by its name.

    outputs : sequence of str

    Returns
    -------
    model : onnx.ModelProto

    Raises
    ------
    ValueError
        If torch cannot write the graph down, or it does not fit into a file.

    Examples
    --------
    >>> model = traced(nn.Linear(2, 1), {"X": torch.zeros(2, 2)}, ["y"])
    >>> [value.name for value in (*model.graph.input, *model.graph.output)]
    ['X', 'y']
    """
    weights = [*graph.parameters(), *graph.buffers()]
    if sum(tensor.nbytes for tensor in weights) > MAX_BYTES:
        raise ValueError(
            "The model takes more than 2 GB, which is the most an ONNX file can hold."
        )
    n_samples, shapes = torch.export.Dim("n_samples"), torch.export.ShapesCollection()
    for tensor in rows.values():
        shapes[tensor] = {0: n_samples}
    with _quiet(), torch.no_grad():
        try:
            exported = torch.export.export(
                graph.eval(),
                tuple(rows.values()),
                dynamic_shapes=shapes.dynamic_shapes(graph, tuple(rows.values())),
                strict=False,
            )
            program = torch.onnx.export(
                exported,
                (),
                dynamo=True,
                input_names=list(rows),
                output_names=list(outputs),
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


def write_model(
    path: str | os.PathLike[str], model: Any, metadata: Mapping[str, str]
) -> None:
    """Write a model as one ONNX file, or leave the old file.

    Parameters
    ----------
    path : str or path-like

    model : onnx.ModelProto
        Is changed.

    metadata : mapping of str to str

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "model.onnx"
    >>> model = traced(nn.Linear(2, 1), {"X": torch.zeros(2, 2)}, ["y"])
    >>> write_model(path, model, {})
    >>> path.stat().st_size > 0
    True
    """
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "latentsk", __version__
    for graph in graphs_of(model.graph):
        _tidy(graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n_samples"
    del model.metadata_props[:]
    for key, text in metadata.items():
        model.metadata_props.add(key=key, value=text)
    with atomic_file(path) as file:
        file.write(model.SerializeToString())


def graphs_of(graph: Any) -> Iterator[Any]:
    """Yield a graph of a model, and those within it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs_of(attribute.g)


def _tidy(graph: Any) -> None:
    """Take out where the code lay on this machine, line by line, and what is unused."""
    for node in graph.node:
        del node.metadata_props[:]
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
    del graph.metadata_props[:], graph.value_info[:]
    used = {name for part in graphs_of(graph) for n in part.node for name in n.input}
    used |= {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


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
