"""to_onnx: a fitted estimator, whatever it is made of, as one ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

# What can be exported registers itself.
import latentsk.export._categories
import latentsk.export._composites
import latentsk.export._dates
import latentsk.export._functions
import latentsk.export._robust_standardizer
import latentsk.export._scalers  # noqa: F401
from latentsk._version import __version__
from latentsk.classify import GenerativeClassifier
from latentsk.embedders._onnx import DTYPES
from latentsk.embedders._onnx_file import require_packages, traced, write_model
from latentsk.export._classifier import (
    ClassifierOutputs,
    answers_of,
    put_names_behind,
)
from latentsk.export._estimators import final_of, offset_of, outputs_of
from latentsk.export._outputs import OUTPUTS
from latentsk.export._registry import cannot_export
from latentsk.export._sources import DATE, NUMBER, TEXT, Columns, Inputs
from latentsk.export._strings import (
    check_names,
    internal_name,
    kinds_of,
    put_columns_in_front,
)
from latentsk.persistence._atomic import check_target


class Whole(nn.Module):
    """From the inputs of a file to the outputs that are asked for."""

    def __init__(
        self, outputs: Any, methods: Sequence[str], dtype: torch.dtype, is_matrix: bool
    ) -> None:
        super().__init__()
        self.outputs, self.methods = outputs, tuple(methods)
        self.dtype, self.is_matrix = dtype, is_matrix

    def forward(self, *rows: Tensor) -> tuple[Tensor, ...]:
        """Return the results of the methods."""
        found = self.outputs(rows[0] if self.is_matrix else rows)
        return tuple(self._cast(found[method]) for method in self.methods)

    def _cast(self, result: Tensor) -> Tensor:
        if not result.is_floating_point():
            return result
        has_bounds = isinstance(self.outputs, ClassifierOutputs)
        is_score = result.dim() == 1 or has_bounds
        if not is_score or self.dtype == torch.float64:
            return result.to(self.dtype)
        # A score beyond the range is the lowest there is, or the largest.
        cast = result.to(self.dtype)
        for is_beyond, limit in ((torch.lt, "min"), (torch.gt, "max")):
            value = getattr(torch.finfo(self.dtype), limit)
            bound = torch.tensor(value, dtype=self.dtype)
            cast = torch.where(is_beyond(cast, bound), bound, cast)
        return cast


def to_onnx(
    estimator: Any,
    path: str | os.PathLike[str],
    *,
    methods: Sequence[str] | None = None,
    dtype: str = "float64",
) -> None:
    """Write a fitted Pipeline, embedder or detector as one ONNX file.

    Whatever the estimator does with rows is in the file: scalers, encoders, the latent
    space, neighbours and the threshold. What runs it needs onnxruntime 1.15 or newer
    (opset 18), but neither Python nor this package.

    Parameters
    ----------
    estimator : fitted estimator
        A :class:`LatentOutlierDetector`, a :class:`GenerativeClassifier` over
        embedders, an embedder, or a Pipeline of steps that can be exported. The user
        guide lists them on the page "Export".

    path : str or path-like
        Where to write; an existing file is replaced in a single step.

    methods : sequence of str or None, default=None
        What the file computes: of "score_samples", "decision_function", "predict" and,
        after `calibrate`, "p_values" of a detector; of "transform", "reconstruct",
        "score_samples", "decision_function" and "predict" of an embedder; "transform"
        of a transformer; "class_score_samples", "score_samples", "predict_proba",
        "predict", "novelty_score" and, where there are calibration rows, "p_values" of
        a classifier. None: all of these that there are. A detector has the latent
        coordinates, too, on request: "transform".

    dtype : {"float32", "float64"}, default="float64"
        Of the numbers that go in and come out.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.

    ValueError
        If a step cannot be exported, a method or the dtype is unknown, a parameter was
        changed after the fit, or the model takes more than 2 GB.

    FileNotFoundError, IsADirectoryError
        If the folder does not exist, or the path is a folder.

    ImportError
        If the packages of the extra "onnx" are not installed.

    Notes
    -----
    Rows of numbers are one input, "X" of shape (n_samples, n_features). Where a step
    encodes categories or dates, there is an input for each column that a step takes,
    under the name of the column and of shape (n_samples, 1): strings, numbers of
    `dtype`, or dates as nanoseconds since 1970-01-01 in int64. A missing value is NaN,
    an empty string, or the least int64.

    Each method is an output of its name. The results are those of the methods for the
    same rows, to rounding. Convolutions, modules of your own and the scores of networks
    are in float32, and agree to some 1e-5.
    Rows that the methods refuse (with NaN where no step takes it, or infinity) get the
    lowest score of a detector. So does a category that an encoder with
    ``handle_unknown="error"`` does not know.

    The file's metadata are ``class``, ``latentsk_version``, ``feature_names``,
    ``inputs`` and ``outputs`` (in JSON: what each is), and where there are any
    ``score_method``, ``score_window`` of images, and the threshold ``offset_``.

    Examples
    --------
    >>> import os, tempfile
    >>> import onnxruntime
    >>> from sklearn.datasets import load_wine
    >>> from latentsk import LatentOutlierDetector, to_onnx
    >>> X = load_wine().data
    >>> detector = LatentOutlierDetector(random_state=0).fit(X)
    >>> path = os.path.join(tempfile.mkdtemp(), "wine.onnx")
    >>> to_onnx(detector, path)
    >>> session = onnxruntime.InferenceSession(path)
    >>> rows = X[:3] + [[0], [1], [100]]
    >>> scores, labels = session.run(["score_samples", "predict"], {"X": rows})
    >>> scores.round(1), labels
    (array([ -0.5,  -7.9, -37.3]), array([ 1, -1, -1]...))
    """
    check_is_fitted(estimator)
    if dtype not in list(DTYPES):
        raise ValueError(f"dtype must be one of {tuple(DTYPES)}, got {dtype!r}.")
    wanted = None if methods is None else checked_methods(methods)
    check_target(Path(path))
    require_packages()
    whole, inputs = graph_of(estimator, wanted, dtype)
    model = model_of(whole, inputs)
    if isinstance(whole.outputs, ClassifierOutputs) and "predict" in whole.methods:
        names = whole.outputs.labels.names
        if names is not None:
            put_names_behind(model, names)
    write_model(path, model, metadata_of(estimator, inputs, whole.methods))


def graph_of(
    estimator: Any, methods: Sequence[str] | None, dtype: str
) -> tuple[Whole, Inputs]:
    """Return the graph of an estimator, and the inputs that it takes.

    Examples
    --------
    >>> from sklearn.preprocessing import MaxAbsScaler
    >>> whole, inputs = graph_of(MaxAbsScaler().fit([[-4.0], [2.0]]), None, "float32")
    >>> whole(torch.tensor([[2.0]])), inputs.names
    ((tensor([[0.5000]]),), ['x0'])
    """
    inputs = Inputs(column_names(estimator), dtype)
    outputs = outputs_of(estimator, Columns.of(inputs), methods)
    if not inputs.names:
        raise cannot_export(estimator, "its rows have no columns")
    if methods is None:
        methods = getattr(outputs, "default_methods", outputs.methods)
    _require_methods(estimator, methods, outputs.methods)
    return Whole(outputs, methods, DTYPES[dtype], inputs.is_matrix).eval(), inputs


def checked_methods(methods: Sequence[str]) -> tuple[str, ...]:
    """Return the methods asked for.

    Raises
    ------
    ValueError
        If one is unknown or there twice, or there is none.

    Examples
    --------
    >>> checked_methods("predict")
    ('predict',)
    """
    is_list = isinstance(methods, list | tuple | set)
    wanted: tuple[Any, ...] = tuple(methods) if is_list else (methods,)
    known = list(OUTPUTS)  # in which anything can be looked for
    are_valid = all(one in known and wanted.count(one) == 1 for one in wanted)
    if not wanted or not are_valid:
        raise ValueError(
            f"methods must hold one or more of {tuple(OUTPUTS)}, each once, got "
            f"{methods!r}."
        )
    return wanted


def _require_methods(
    estimator: Any, wanted: Sequence[str], available: Sequence[str]
) -> None:
    missing = [method for method in wanted if method not in available]
    if missing:
        raise ValueError(
            f"This {type(estimator).__name__} has no {missing[0]!r} to export, but "
            f"{', '.join(map(repr, available))}. Decisions need a threshold, and "
            "p-values calibration rows: call calibrate(X) for both."
        )


def column_names(estimator: Any) -> list[str]:
    """Return the names of the columns of X: "x0", "x1", ... where they have none."""
    if hasattr(estimator, "feature_names_in_"):
        return [str(name) for name in estimator.feature_names_in_]
    # Of texts there are none: the step that takes them is refused by its name.
    return [f"x{i}" for i in range(getattr(estimator, "n_features_in_", 0))]


def model_of(whole: Whole, inputs: Inputs) -> Any:
    """Return the graph of torch as an ONNX model with the inputs of the file."""
    if whole.is_matrix:
        rows = torch.zeros(2, len(inputs.names), dtype=whole.dtype)
        return traced(whole, {"X": rows}, whole.methods)
    check_names(inputs, whole.methods)
    types = {NUMBER: whole.dtype, TEXT: torch.int64, DATE: torch.int64}
    columns = {
        internal_name(i): torch.zeros(2, 1, dtype=types[entry.kind])
        for i, entry in enumerate(inputs.entries)
    }
    model = traced(whole, columns, whole.methods)
    put_columns_in_front(model, inputs)
    return model


def metadata_of(
    estimator: Any, inputs: Inputs, methods: Sequence[str]
) -> dict[str, str]:
    """Return what a user of the file can read in it."""
    metadata = {
        "class": type(estimator).__name__,
        "latentsk_version": __version__,
        "feature_names": json.dumps(inputs.names),
        "outputs": json.dumps({method: OUTPUTS[method] for method in methods}),
    }
    kinds = {"X": f"{inputs.dtype}, the columns in the order of feature_names"}
    kinds = kinds if inputs.is_matrix else kinds_of(inputs)
    metadata["inputs"] = json.dumps(kinds)
    final = final_of(estimator)
    if isinstance(final, GenerativeClassifier):
        meanings = {method: ClassifierOutputs.meanings[method] for method in methods}
        metadata["outputs"] = json.dumps(meanings)
        metadata["classes"] = json.dumps(answers_of(final)[: len(final.classes_)])
        if final.reject is not None:
            metadata["unknown_label"] = json.dumps(answers_of(final)[-1])
        return metadata
    if hasattr(final, "score_samples"):
        one = getattr(final, "method", "reconstruction")
        metadata["score_method"] = getattr(final, "score_method", None) or one
    if (window := getattr(final, "score_window", None)) is not None:
        metadata["score_window"] = str(window)
    if (offset := offset_of(final)) is not None:
        metadata["offset_"] = repr(offset)
    return metadata
