"""Estimators deployed: at once as the graph of a file, slowly as the file itself."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_wine

from latentsk import to_onnx
from latentsk.export._sources import DATE, TEXT
from latentsk.export._to_onnx import graph_of
from latentsk.preprocessing._category_encoder import labels_of


def column_of(X, name, kind, dtype):
    """Return a column of a table as an input takes it, of shape (n_rows, 1)."""
    cells = X[name]
    if kind == TEXT:
        values = np.array(
            ["" if pd.isna(c) else c for c in labels_of(cells.to_numpy(object))], object
        )
    elif kind == DATE:
        values = pd.to_datetime(cells).to_numpy("datetime64[ns]").astype(np.int64)
    else:
        values = cells.to_numpy(dtype)
    return values.reshape(-1, 1)


class Graph:
    """The graph that a file is written of, in place of the file."""

    def __init__(self, estimator, folder, dtype="float64", methods=None):
        self.whole, self.inputs = graph_of(estimator, methods, dtype)
        self.dtype = dtype

    def __call__(self, X):
        rows = (np.asarray(X, self.dtype),) if self.whole.is_matrix else self.columns(X)
        with torch.no_grad():
            results = self.whole(*map(torch.tensor, rows))
        return dict(zip(self.whole.methods, (r.numpy() for r in results), strict=True))

    def columns(self, X):
        for entry in self.inputs.entries:
            name = self.inputs.names[entry.column]
            cells = column_of(X, name, entry.kind, self.dtype)
            if entry.kind == TEXT:
                codes = [entry.codes.get(cell, 0) for cell in cells[:, 0]]
                cells = np.array(codes, np.int64)[:, None]
            yield cells


class File:
    """The file, in onnxruntime."""

    def __init__(self, estimator, folder, dtype="float64", methods=None):
        path = folder / "model.onnx"
        to_onnx(estimator, path, dtype=dtype, methods=methods)
        self.session, self.dtype = opened(path), dtype

    def __call__(self, X):
        return run(self.session, X, self.dtype)


def opened(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )


KINDS = {"tensor(string)": TEXT, "tensor(int64)": DATE}


def run(session, X, dtype="float64"):
    """Return the outputs of a session by their names."""
    inputs = session.get_inputs()
    if [value.name for value in inputs] == ["X"]:
        fed = {"X": np.asarray(X, dtype)}
    else:
        fed = {
            value.name: column_of(X, value.name, KINDS.get(value.type), dtype)
            for value in inputs
        }
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, fed), strict=True))


@pytest.fixture(params=[Graph, pytest.param(File, marks=pytest.mark.slow)])
def deployed(request, tmp_path):
    """A function of an estimator (and dtype, methods) that returns one of rows."""
    return lambda estimator, *arguments, **settings: request.param(
        estimator, tmp_path, *arguments, **settings
    )


@pytest.fixture
def file_of(tmp_path):
    """A function of an estimator that writes a file and returns one of rows."""
    return lambda estimator, *arguments, **settings: File(
        estimator, tmp_path, *arguments, **settings
    )


@pytest.fixture
def graph():
    """A function of an estimator that returns one of rows, without a file."""
    return lambda estimator, *arguments, **settings: Graph(
        estimator, None, *arguments, **settings
    )


@pytest.fixture(scope="session")
def wine():
    return load_wine().data


@pytest.fixture(scope="session")
def table():
    """A table of mixed columns, with missing values and codes."""
    rng = np.random.default_rng(0)
    n = 700
    frame = pd.DataFrame(
        {
            "amount": np.round(rng.lognormal(3, 1, n), 2),
            "age": rng.integers(18, 90, n).astype(float),
            "city": rng.choice(["Bonn", "Rome", "Łódź"], n, p=[0.5, 0.3, 0.2]),
            "card": pd.Categorical(rng.choice([1, 2, 3], n)),
            "vip": rng.random(n) < 0.2,
            "paid": pd.date_range("2024-01-01", periods=n, freq="31h"),
            "day": pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d"),
        }
    )
    frame["risk"] = np.log(frame["amount"]) + 0.1 * rng.normal(size=n)
    frame.loc[rng.random(n) < 0.05, "amount"] = np.nan
    frame.loc[rng.random(n) < 0.05, "age"] = -999.0
    frame.loc[rng.random(n) < 0.05, "city"] = None
    frame.loc[rng.random(n) < 0.05, "paid"] = pd.NaT
    return frame
