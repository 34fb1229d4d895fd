"""Hostile input to every public method: a right answer, or an error that says why.

A table names every public method of every estimator that takes data; a test fails if
one is missing. Arrays are made by hypothesis: of any dtype, layout, container and
magnitude. Narrower tests of messages are beside each estimator's other tests.
"""

import copy
import faulthandler
import re
import warnings
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import latentsk
from latentsk import (
    AutoencoderEmbedder,
    CategoryEncoder,
    DatetimeEncoder,
    GenerativeClassifier,
    HierarchicalVAEEmbedder,
    LatentIndex,
    LatentNeighborsTransformer,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    RobustStandardizer,
    SlidingWindows,
    VAEEmbedder,
    VQVAEEmbedder,
)
from latentsk._faiss import faiss_available
from latentsk.exceptions import (
    DivergenceError,
    PosteriorCollapseWarning,
    PriorMismatchWarning,
)

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(24, 3)) @ [[1.0, 0.4, 0.1], [0.0, 0.8, -0.3], [0.0, 0.0, 0.5]]
PROBE = RNG.normal(size=(4, 3))
WIDE_PROBE = np.random.default_rng(1).normal(size=(4, 9))
DATES = (np.arange(216).reshape(24, 9) * 123_457).astype("datetime64[s]")
N_FEATURES, N_COMPONENTS = 3, 2

QUICK = settings(
    max_examples=6,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
THOROUGH = settings(QUICK, max_examples=200)
SECONDS_TO_HANG = 120

# The fourth is PyOD's answer to an unknown `scoring`.
CLEAR = (ValueError, TypeError, DivergenceError, NotImplementedError)
# What numpy and torch say when nobody has looked at the input before.
UNHELPFUL = re.compile(
    "could not be broadcast|expected scalar type|mat1 and mat2|infer dtype|shape "
    "mismatch|not aligned|matmul|ufunc|truth value|negative strides|out of bounds for "
    "axis|CUDA error|size mismatch|unhashable|unsupported operand|object has no "
    "attribute|zero-size array|same dtype|setting an array element with a sequence\\.$"
    "|can't convert np|got an unexpected|cannot reshape|not supported between|"
    "0-dimensional|must be real number|cannot be interpreted|SVD did not converge"
    "|Eigenvalues did not|LAPACK|illegal value|at least one array or|unsized object"
)
# Warnings that are meant for the user.
MEANT = (PosteriorCollapseWarning, PriorMismatchWarning)
MEANT_MESSAGES = (
    "contamination=0.1 asks for",
    "likelihood='bernoulli' is meant for",
    "A level of",
    "The recall of",
    "X has feature names",
    "X does not have valid feature names",
)


# Hostile arrays


class Hostile(NamedTuple):
    """Input, and the numbers that it stands for.

    Attributes
    ----------
    value : object
        What is handed in.
    plain : ndarray or None
        The same numbers as a contiguous array; None where nobody can tell.
    """

    value: Any
    plain: np.ndarray | None

    def __repr__(self) -> str:
        value = self.value
        kind = f"{type(value).__module__}.{type(value).__name__}"
        return f"{kind}, dtype {getattr(value, 'dtype', '-')}:\n{value!r}"


MAGNITUDES = [1.0, 1.0, 1.0, 1e-3, 1e6, 1e18, 1e150, 1e308, 1e-30, 1e-200, 1e-320]
SPECIAL = [0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324, 1e-320]
FLOATS = ["f2", "f4", "f8", "f8", "f8", "g"]
INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
NO_NUMBERS = ["c16", "c8", "U5", "S5", "M8[s]", "m8[s]", "objects", "strings", "bytes"]


@st.composite
def numbers(draw, shape, dtypes):
    """Return an array of numbers, special ones among them, and of any dtype."""
    seed = draw(st.integers(0, 2**16))
    magnitude = draw(st.sampled_from(MAGNITUDES))
    values = np.asarray(np.random.default_rng(seed).normal(size=shape))
    with np.errstate(all="ignore"):
        values = np.asarray(np.clip(values * magnitude, -1.7e308, 1.7e308))
    if draw(st.integers(0, 5)) == 0:
        values[...] = draw(st.sampled_from(SPECIAL[:3] + SPECIAL[6:]))
    if values.size and draw(st.integers(0, 3)) == 0:
        where = draw(st.integers(0, values.size - 1))
        values.flat[where] = draw(st.sampled_from(SPECIAL))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dtype.kind in "iu":
            values = np.asarray(np.nan_to_num(values * 3 / magnitude))
        return values.astype(dtype)


def no_numbers(array, kind):
    if kind == "objects":
        made = array.astype(object)
        made.flat[:1] = [object()]
        return made
    if kind == "strings":
        made = array.astype(object)
        made.flat[:1] = ["a"]
        made.flat[1:2] = [None]
        return made
    if kind == "bytes":
        return array.tobytes()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.nan_to_num(array, posinf=9, neginf=9).clip(-9, 9).astype(kind)


def negative_strides(array):
    return array[::-1, ::-1].copy()[::-1, ::-1] if array.ndim == 2 else array[::-1]


def every_other(array):
    # What lies between the values must not be touched.
    wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), 77).astype(array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def memory_mapped(mode):
    def mapped(array):
        import tempfile

        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            np.save(file, array)
            file.flush()
            # The file stays as long as it is mapped.
            return np.load(file.name, mmap_mode=mode)

    return mapped


def as_tensor(array):
    return torch.from_numpy(array.copy())


def as_frame(array):
    return pd.DataFrame(array, columns=list("abcdefgh")[: array.shape[1]])


def nullable(array):
    return pd.DataFrame(array).convert_dtypes()


LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "C": np.copy,
    "Fortran": np.asfortranarray,
    "every other": every_other,
    "backwards": negative_strides,
    "read-only": read_only,
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "memory map": memory_mapped("r"),
    "copy-on-write map": memory_mapped("c"),
    "list": np.ndarray.tolist,
    "tuple": lambda array: tuple(map(tuple, array.tolist())),
    "objects": lambda array: array.astype(object),
    "unmasked": np.ma.masked_array,
    "frame": as_frame,
    "frame with numbers": pd.DataFrame,
    "nullable frame": nullable,
    "tensor": as_tensor,
    "tensor with a gradient": lambda array: as_tensor(array).requires_grad_(),
}


# What is read from these is float64, whatever it was made of.
OF_FLOAT64 = ("list", "tuple", "objects", "nullable frame")


def every_second_masked(array):
    return np.ma.masked_array(
        array, mask=np.arange(array.size).reshape(array.shape) % 2
    )


def with_missing(array):
    frame = pd.DataFrame(array).convert_dtypes()
    frame.iloc[:1, :1] = pd.NA
    return frame


def twice_the_same_name(array):
    return pd.DataFrame(array, columns=["a"] * array.shape[1])


# Whose meaning is for an estimator to say; most refuse.
STRANGE: dict[str, Callable[[np.ndarray], Any]] = {
    "masked": every_second_masked,
    "matrix": np.matrix,
    "csr": sparse.csr_array,
    "coo": sparse.coo_matrix,
    "dia": sparse.dia_array,
    "ragged": lambda array: [[1.0, 2.0, 3.0], [1.0], *array.tolist()],
    "missing": with_missing,
    "one name": twice_the_same_name,
    "frame of text": lambda array: pd.DataFrame(array).astype(str),
    "categories": lambda array: pd.DataFrame(array).astype("category"),
    "series": lambda array: pd.Series(array.ravel()),
    "record": lambda array: np.zeros(len(array), dtype=[("a", float), ("b", float)]),
    "dict": lambda array: {"a": array},
    "generator": lambda array: (row for row in array),
    "bfloat16": lambda array: as_tensor(array.astype(float)).to(torch.bfloat16),
}
CONSTANTS = [None, "X", b"X", 1.0, 3, np.float64(2.0), object, (), [], [[]], {}, True]


@st.composite
def hostile(draw, width):
    """Return input for a method that takes rows of `width` columns."""
    n_rows = draw(st.sampled_from([2, 3, 7, 20, 20, 1, 0]))
    columns = draw(st.sampled_from([width] * 8 + [0, 1, width + 1]))
    kind = draw(st.sampled_from(["layout"] * 10 + ["strange"] * 4 + ["text", "other"]))
    if kind == "other":
        return Hostile(copy.copy(draw(st.sampled_from(CONSTANTS))), None)
    if kind == "text":
        array = draw(numbers((n_rows, columns), ["f8"]))
        return Hostile(no_numbers(array, draw(st.sampled_from(NO_NUMBERS))), None)
    if kind == "strange":
        array = draw(numbers((n_rows, columns), ["f8"]))
        return made_of(array, STRANGE[draw(st.sampled_from(sorted(STRANGE)))], None)
    if draw(st.integers(0, 15)) == 0:
        shape = draw(st.sampled_from([(), (width,), (n_rows, width, 1), (0,)]))
        array = draw(numbers(shape, FLOATS + INTEGERS))
        return Hostile(array, array.copy())
    array = draw(numbers((n_rows, columns), FLOATS + INTEGERS))
    if draw(st.integers(0, 9)) == 0:
        return Hostile(np.broadcast_to(array[:1], array.shape), plain(array[:1], array))
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    if layout in OF_FLOAT64:
        array = array.astype(float)
    return made_of(array, LAYOUTS[layout], plain(array))


def made_of(array, layout, meant):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Hostile(layout(array), meant)
        except (
            TypeError,
            ValueError,
            OverflowError,
            RuntimeError,
        ):  # there is no such thing
            return Hostile(array, plain(array))


def plain(array, like=None):
    """Return numbers as an array without any peculiarity, in float32 or float64."""
    if like is not None:
        array = np.broadcast_to(array, like.shape)
    dtype = np.float32 if array.dtype in (np.float16, np.float32) else np.float64
    with np.errstate(all="ignore"):
        return np.array(array, dtype=dtype, order="C")


# What must not change


def memory_of(value):
    """Return all that belongs to an input, what lies between its values included."""
    if isinstance(value, np.ndarray):
        root = value
        while isinstance(root.base, np.ndarray):
            root = root.base
        flags = str(value.flags), str(root.flags)
        bits = repr(root.tolist()) if root.dtype == object else root.tobytes("A")
        mask = np.ma.getmaskarray(value).tobytes()
        return bits, flags, value.strides, value.dtype, mask
    if torch.is_tensor(value):
        return repr(value.detach().tolist()), value.requires_grad
    if isinstance(value, pd.DataFrame | pd.Series):
        # Not its pickle: dtypes of pandas keep what they have worked out.
        values = value.to_numpy(dtype=object).tolist()
        return repr(values), repr(value.index.tolist()), str(value.dtypes)
    if sparse.issparse(value):
        return value.format, value.shape, repr(value.tocoo().data.tolist())
    return repr(value)


def digest(value, seen=()):
    """Return nested tuples that are equal where values are, to the last bit."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return "array", str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, np.ndarray):
        return "objects", value.shape, tuple(map(repr, value.ravel().tolist()))
    if torch.is_tensor(value):
        return "tensor", digest(value.detach().numpy())
    if isinstance(value, torch.nn.Module):
        return "module", value.training, digest(dict(value.state_dict()))
    if isinstance(value, pd.DataFrame | pd.Series):
        return "table", digest(value.to_numpy()), repr(value.index), repr(value)
    if isinstance(value, BaseEstimator):
        derived = {*getattr(value, "_derived_state", ()), *RECORDS}
        known = {k: v for k, v in vars(value).items() if k not in derived}
        return type(value).__name__, digest(known)
    if isinstance(value, dict):
        return "dict", tuple((str(k), digest(value[k])) for k in sorted(value, key=str))
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(map(digest, value))
    return repr(value) if "object at 0x" not in repr(value) else type(value).__name__


# scikit-learn's callbacks keep their own records there.
RECORDS = ("_callback_fit_ctx", "_parent_callback_ctx")


# The table


class Subject(NamedTuple):
    """An estimator to test.

    Attributes
    ----------
    make : callable
        Makes one.
    probe : callable
        ``probe(estimator)``: what it answers to good input.
    calls : dict
        By method, or "method, argument": a pair of the strategy of the argument and
        ``call(estimator, argument)``.
    fits : tuple of str
        The calls that an unfitted estimator takes.
    changes : tuple of str
        The other calls that may change the estimator.
    fit : callable
        Fits one to ROWS.
    """

    make: Callable[[], Any]
    probe: Callable[[Any], Any]
    calls: dict[str, tuple[Any, Callable[[Any, Any], Any]]]
    fits: tuple[str, ...]
    changes: tuple[str, ...] = ()
    fit: Callable[[Any], Any] = lambda estimator: estimator.fit(ROWS)


_COUNTS: list[Any] = [0, 1, 2, -1, 2.5, True, np.int64(2), np.bool_(True), "2", [2]]
_COUNTS += [np.nan, np.inf, -np.inf, 1 + 0j, None, object(), np.array(2), b"2", pd.NA]
_COUNTS += [np.float64(2.0), np.array([1, 2]), -(2**70), torch.tensor(2)]
COUNTS = st.sampled_from([*_COUNTS, np.datetime64("2020-01-01")])
# Where a huge one is refused, and does not simply take long.
BOUNDED_COUNTS = COUNTS | st.sampled_from([10**9, 2**63, 2**70, np.uint64(2**63)])
AMOUNTS = BOUNDED_COUNTS | st.sampled_from([1e-320, 1e308, 0.5, 1e-9, -0.0, -5e-324])
WORDS = st.sampled_from(
    ["", "distance", "linear", "x", None, 1, True, b"linear", [], ["linear"], object()]
)


def ids():
    """Ids, of which some are in an index of ROWS."""
    some = [[0], [0, 1], [], 0, "0", ["a"], [None], [np.nan], [[0, 1]], [[0], [1, 2]]]
    some += [[0, 0], [-1], [24], [2**70], [0.0], [0.5], [True], [0, "a"], [object()]]
    some += [range(3), {0}, {0: 1}, np.array(0), np.array([[0, 1]]), None]
    some += [np.array([0, 1], ">i8"), np.ma.masked_array([0, 1], [0, 1]), b"0", 1.5]
    some += [pd.Series([0, 1]), pd.Index([1]), pd.MultiIndex.from_tuples([(0, 1)])]
    some += [np.array([0, 1], "M8[s]"), torch.tensor([0, 1]), np.array([1, 0])[::-1]]
    some += [pd.array([0, pd.NA]), pd.Categorical([0, 1]), pd.DataFrame({"a": [0, 1]})]
    return st.sampled_from(some).map(lambda value: Hostile(value, None))


def filters():
    masks: list[Any] = [
        np.ones(24, bool),
        np.ones(23, bool),
        np.ones((24, 1), bool),
        [True] * 24,
        np.ma.masked_array(np.ones(24, bool), np.arange(24) % 2),
        pd.array([True] * 23 + [pd.NA]),
        pd.Series([True, None] * 12),
        np.array(["True"] * 24),
        np.zeros(24, bool),
        torch.ones(24, dtype=torch.bool),
        np.ones(24),
        np.arange(24) % 2,
        pd.Series(np.arange(24) % 2, index=range(1, 25)),
        pd.Series(True, index=range(24)),
        pd.Series(True, index=range(1, 25)),
        pd.Series(True, index=[0] * 24),
        pd.Series(pd.Categorical([True, None] * 12)),
        pd.Index([True] * 24),
        pd.DataFrame({"a": [True] * 24}),
        dict.fromkeys(range(24), True),
        [None] * 24,
        "id < 3",
        "id < 'a'",
        "x > 3",
        "(",
        "",
        "@index",
        lambda table: table["a"] > 3,
        print,
    ]
    return ids() | st.sampled_from(masks).map(lambda value: Hostile(value, None))


def takes_rows(*methods, width=N_FEATURES):
    def calling(name):
        return lambda estimator, X: getattr(estimator, name)(X)

    return {name: (hostile(width), calling(name)) for name in methods}


def vectors_of(width):
    """Single rows: as they are, or in a table."""
    return hostile(width) | hostile(width).map(
        lambda made: (
            Hostile(made.value[0], None)
            if isinstance(made.value, np.ndarray | list)
            and np.ndim(made.plain) > 0
            and len(made.value)
            else made
        )
    )


SCORING = [
    "transform",
    "reconstruct",
    "score_samples",
    "score",
    "decision_function",
    "predict",
    "calibrate",
    "score_contributions",
]
FITTING = ("fit", "fit_transform", "fit_predict", "partial_fit")


def embedder_calls(*others):
    return {
        **takes_rows(*FITTING, *SCORING, *others),
        **takes_rows("inverse_transform", width=N_COMPONENTS),
    }


def sample_calls():
    return {
        "sample, n_samples": (COUNTS, lambda e, n: e.sample(n, random_state=0)),
        "sample, random_state": (
            BOUNDED_COUNTS,
            lambda e, seed: e.sample(2, random_state=seed) if seed is not None else 0,
        ),
    }


def component_calls():
    some = [None, [0, 1], [0, 1, 2], [[0, 1]], [0.0, 1.0], ["a", "b"], {}, np.nan]
    return {
        "sample, component": (
            BOUNDED_COUNTS | st.sampled_from(some),
            lambda e, which: e.sample(2, random_state=0, component=which),
        )
    }


def path_calls():
    row, end, values = ROWS[0], ROWS[1], [-1.0, 0.0]
    return {
        "interpolate, a": (vectors_of(3), lambda e, a: e.interpolate(a, end, 3)),
        "interpolate, b": (vectors_of(3), lambda e, b: e.interpolate(row, b, 3)),
        "interpolate, n_steps": (COUNTS, lambda e, n: e.interpolate(row, end, n)),
        "interpolate, method": (
            WORDS,
            lambda e, word: e.interpolate(row, end, 3, method=word),
        ),
        "traverse, x": (vectors_of(3), lambda e, x: e.traverse(x, 0, values)),
        "traverse, dimension": (
            BOUNDED_COUNTS,
            lambda e, i: e.traverse(row, i, values),
        ),
        "traverse, values": (hostile(1), lambda e, v: e.traverse(row, 0, v)),
        "log_likelihood": (
            # Other random numbers for another dtype.
            hostile(3).map(lambda made: Hostile(made.value, None)),
            lambda e, X: e.log_likelihood(X, 4, random_state=0),
        ),
        "log_likelihood, n_samples": (
            COUNTS,
            lambda e, n: e.log_likelihood(ROWS[:2], n, random_state=0),
        ),
    }


def embedder_probe(embedder):
    answers: list[Any] = []
    probe = WIDE_PROBE[:, : embedder.n_features_in_]
    # A first chunk may be too short to fit, and a score may be undefined.
    for method in ("transform", "reconstruct", "score_samples", "decision_function"):
        try:
            answers.append(getattr(embedder, method)(probe))
        except ValueError as error:
            answers.append(str(error))
    return answers


def to_update(X):
    try:
        return np.arange(len(X))
    except TypeError:  # it has no length, and must be refused for that
        return np.arange(1)


def to_add(X):
    return 1_000 + to_update(X)


def index_calls():
    k_methods = ("kneighbors", "kneighbors_graph", "search")
    r_methods = ("radius_neighbors", "radius_neighbors_graph")
    reading = (*k_methods, *r_methods, "measure_recall")
    calls = takes_rows("fit", *reading)
    calls["add"] = hostile(3), lambda e, X: e.add(X, ids=to_add(X))
    calls["update"] = hostile(3), lambda e, X: e.update(X, ids=to_update(X))
    calls["upsert"] = hostile(3), lambda e, X: e.upsert(X, ids=to_update(X))
    calls["upsert, ids"] = ids(), lambda e, names: e.upsert(PROBE[:2], ids=names)
    calls["search, ids"] = ids(), lambda e, names: e.search(ids=names, n_neighbors=2)
    calls["update_metadata"] = metadata(), lambda e, table: e.update_metadata(table)
    for name in ("kneighbors", "search"):
        calls[f"{name}, fewer"] = WORDS, _fewer(name)
    calls["add, ids"] = ids(), lambda e, names: e.add(PROBE[:2], ids=names)
    calls["update, ids"] = ids(), lambda e, names: e.update(PROBE[:2], ids=names)
    calls["fit, ids"] = ids(), lambda e, names: e.fit(PROBE[:2], ids=names)
    calls["remove"] = ids(), lambda e, names: e.remove(names)
    tables = hostile(2)
    calls["fit, metadata"] = tables, lambda e, table: e.fit(PROBE, metadata=table)
    for name in (*k_methods, "measure_recall"):
        calls[f"{name}, n_neighbors"] = BOUNDED_COUNTS, _second(name)
    for name in r_methods:
        calls[f"{name}, radius"] = AMOUNTS, _second(name)
    for name in ("kneighbors_graph", "radius_neighbors_graph"):
        calls[f"{name}, mode"] = WORDS, _third(name)
    for name in (*k_methods, *r_methods):
        calls[f"{name}, filter"] = filters(), _filtered(name)
    calls["duplicates"] = AMOUNTS, lambda e, threshold: e.duplicates(threshold)
    return calls


def _second(name):
    return lambda e, value: getattr(e, name)(PROBE[:2], value)


def _third(name):
    return lambda e, word: getattr(e, name)(PROBE[:2], 2, word)


def _fewer(name):
    return lambda e, word: getattr(e, name)(PROBE[:2], 99, fewer=word)


def _filtered(name):
    return lambda e, wanted: getattr(e, name)(PROBE[:2], 1, filter=wanted)


TABLE = pd.DataFrame({"a": np.arange(24), "b": ["x", "y"] * 12})


def metadata():
    """Tables beside two rows, of which few fit TABLE."""
    good = TABLE[:2]
    tables: list[Any] = [
        good,
        good[::-1],
        good[["b", "a"]],
        good.set_axis([[0, 1], ["k", "l"]]),
        good.assign(a=[None, np.nan]),
        good.assign(a=pd.array([1, pd.NA])),
        good.assign(a=pd.to_datetime(["2020-01-01", None])),
        good.assign(b=pd.Categorical(["x", "z"])),
        good.assign(b=[[], {}]),
        good.assign(c=1),
        good[["a"]],
        good.set_axis(["a", "a"], axis=1),
        good[:1],
        TABLE[:3],
        TABLE[:0],
        pd.DataFrame(),
        good.to_numpy(),
        good.to_dict(),
        good["a"],
        "ab",
    ]
    # Tables pass, and the same numbers in an array do not.
    of_numbers = hostile(2).map(lambda made: Hostile(made.value, None))
    return of_numbers | st.sampled_from(tables).map(lambda table: Hostile(table, None))


OF_LISTS = ("add", "update", "upsert", "remove")
INDEX_FITS = ("fit", "fit, ids", "fit, metadata")
INDEX_CHANGES = (
    "add",
    "add, ids",
    "update",
    "update, ids",
    "upsert",
    "upsert, ids",
    "update_metadata",
    "remove",
)


def index_probe(index):
    return [
        index.kneighbors(WIDE_PROBE[:, : index.vectors_.shape[1]], 1),
        index.vectors_,
        index.ids_,
    ]


def embedded_probe(index):
    probe = WIDE_PROBE[:, : index.n_features_in_]
    return [index.kneighbors(probe, 1), index.vectors_, index.ids_]


def detector_calls():
    scoring = SCORING[2:3] + SCORING[4:7]
    others = "score_parts", "explain", "p_values", "predict_fdr", "drift_report"
    return {
        **takes_rows("update"),
        "explain, labels": (ids(), lambda e, labels: e.explain(PROBE, labels=labels)),
        "drift_report, by": (ids(), lambda e, by: e.drift_report(PROBE, by=by)),
        **takes_rows("fit", "fit_predict", *scoring, *others, "outlier_probability"),
        "explain, n_nearest": (
            BOUNDED_COUNTS,
            lambda e, n: e.explain(PROBE, n_nearest=n),
        ),
        "predict_fdr, level": (AMOUNTS, lambda e, level: e.predict_fdr(PROBE, level)),
        **{
            f"set_threshold, {name}": (AMOUNTS, _threshold(name)) for name in THRESHOLDS
        },
    }


THRESHOLDS = ("contamination", "fpr", "p_value", "n_alerts", "per")


def _threshold(name):
    other = {"n_alerts": {"per": 100}, "per": {"n_alerts": 20}}.get(name, {})
    return lambda e, value: e.set_threshold(**{name: value}, **other)


def detector_probe(detector):
    probe = WIDE_PROBE[:, : detector.n_features_in_]
    return [detector.score_samples(probe), detector.offset_]


LABELS = np.arange(24) % 2


def labels_of(X):
    """Return as many labels of two classes as there are rows."""
    return to_update(X) % 2


def classifier_calls():
    scoring = ("class_score_samples", "score_samples", "predict_proba", "predict")
    others = ("predict_log_proba", "p_values", "novelty_score", "typicality")
    return {
        **takes_rows(*scoring, *others),
        **{
            name: (
                hostile(3),
                lambda e, X, name=name: getattr(e, name)(X, labels_of(X)),
            )
            for name in ("fit", "calibrate", "score")
        },
        "fit, y": (ids(), lambda e, y: e.fit(ROWS[:2], y)),
        "calibrate, y": (ids(), lambda e, y: e.calibrate(ROWS[:2], y)),
        "predict_set, level": (AMOUNTS, lambda e, a: e.predict_set(PROBE, a)),
        "predict_set, confidence": (
            AMOUNTS,
            lambda e, a: e.predict_set(PROBE, 0.4, confidence=a),
        ),
        **sample_calls(),
        "sample, y": (ids(), lambda e, y: e.sample(2, y, random_state=0)),
    }


def classifier_probe(classifier):
    probe = WIDE_PROBE[:, : classifier.n_features_in_]
    return [classifier.class_score_samples(probe), classifier.predict(probe)]


def windows_calls():
    """Series, and what is said of the windows of ROWS."""
    values = st.sampled_from(["x", None, 1, [], ["mean"], object()])
    return {
        **takes_rows("fit", "fit_transform", "transform"),
        **takes_rows("sum_by_sensor", width=2 * N_FEATURES),
        "to_steps": (hostile(2), lambda e, scores: e.to_steps(scores, ROWS[:5])),
        "to_steps, aggregate": (
            WORDS | values,
            lambda e, how: e.to_steps([0, 1, 2, 3], ROWS[:5], aggregate=how),
        ),
        "transform, groups": (ids(), lambda e, names: e.transform(PROBE, groups=names)),
    }


def adapter_probe(adapter):
    probe = WIDE_PROBE[:, : adapter.n_features_in_]
    return [adapter.decision_function(probe), adapter.threshold_, adapter.labels_]


def adapter_calls():
    methods = ("fit", "fit_predict", "decision_function", "predict", "predict_proba")
    others = ("predict_confidence", "predict_with_rejection")
    labels = np.arange(len(ROWS)) % 2
    return {
        **takes_rows(*methods, *others),
        "fit_predict_score, scoring": (
            WORDS,
            lambda e, word: e.fit_predict_score(ROWS, labels, word),
        ),
        **{
            f"compute_rejection_stats, {name}": (
                AMOUNTS,
                lambda e, v, name=name: e.compute_rejection_stats(**{name: v}),
            )
            for name in ("T", "delta", "c_fp", "c_r")
        },
        "predict_proba, method": (WORDS, lambda e, w: e.predict_proba(PROBE, w)),
    }


SMALL = {
    "n_components": N_COMPONENTS,
    "hidden_layer_sizes": (4,),
    "max_epochs": 2,
    "device": "cpu",
    "random_state": 0,
    "input_shape": (1, 1, N_FEATURES),  # for score_map
}
VAE_METHODS = ("score_map", "transform_distribution", "latent_report")
SUBJECTS = {
    "PCAEmbedder": Subject(
        lambda: PCAEmbedder(N_COMPONENTS, random_state=0),
        embedder_probe,
        embedder_calls() | sample_calls(),
        FITTING,
        ("calibrate",),
    ),
    "PCAEmbedder, by moments": Subject(
        lambda: PCAEmbedder(
            N_COMPONENTS, svd_solver="covariance_eigh", score_method="reconstruction"
        ),
        embedder_probe,
        takes_rows(*FITTING, *SCORING),
        FITTING,
        ("calibrate",),
    ),
    "AutoencoderEmbedder": Subject(
        lambda: AutoencoderEmbedder(**SMALL),
        embedder_probe,
        embedder_calls("score_map"),
        FITTING,
        ("calibrate",),
    ),
    "VAEEmbedder, mixture": Subject(
        lambda: VAEEmbedder(
            **SMALL, prior="mixture", n_prior_components=3, n_score_samples=2
        ),
        embedder_probe,
        takes_rows(*FITTING, "predict_component", "predict_component_proba")
        | component_calls(),
        FITTING,
        (),
    ),
    "VAEEmbedder, VampPrior": Subject(
        lambda: VAEEmbedder(**SMALL, prior="vamp", n_score_samples=2),
        embedder_probe,
        takes_rows(*FITTING, "score_samples", "latent_report"),
        FITTING,
        (),
    ),
    "VAEEmbedder, conditions": Subject(
        lambda: VAEEmbedder(
            **{**SMALL, "input_shape": None}, condition=[0], n_score_samples=2
        ),
        embedder_probe,
        embedder_calls(*VAE_METHODS[1:]) | path_calls(),
        FITTING,
        ("calibrate",),
    ),
    "HierarchicalVAEEmbedder": Subject(
        lambda: HierarchicalVAEEmbedder(
            **{**SMALL, "n_components": (2, 1)}, n_score_samples=2
        ),
        embedder_probe,
        embedder_calls(*VAE_METHODS, "score_levels") | sample_calls() | path_calls(),
        FITTING,
        ("calibrate",),
    ),
    "VAEEmbedder": Subject(
        lambda: VAEEmbedder(**SMALL, n_score_samples=2),
        embedder_probe,
        embedder_calls(*VAE_METHODS) | sample_calls() | path_calls(),
        FITTING,
        ("calibrate",),
    ),
    "VQVAEEmbedder": Subject(
        lambda: VQVAEEmbedder(
            8,
            n_positions=N_COMPONENTS,
            code_dim=1,
            **{k: v for k, v in SMALL.items() if k != "n_components"},
        ),
        embedder_probe,
        embedder_calls("score_map", "transform_codes")
        | sample_calls()
        | takes_rows("inverse_transform_codes", width=N_COMPONENTS),
        FITTING,
        ("calibrate",),
    ),
    "LatentIndex": Subject(
        lambda: LatentIndex(device="cpu"),
        index_probe,
        index_calls(),
        INDEX_FITS,
        INDEX_CHANGES,
    ),
    "LatentIndex, with metadata": Subject(
        lambda: LatentIndex(device="cpu"),
        lambda e: [index_probe(e), repr(e.metadata_)],
        {
            "add, metadata": (
                metadata(),
                lambda e, table: e.add(PROBE[:2], metadata=table),
            ),
            "update, metadata": (
                metadata(),
                lambda e, table: e.update(PROBE[:2], ids=[0, 1], metadata=table),
            ),
            "upsert, metadata": (
                metadata(),
                lambda e, table: e.upsert(PROBE[:2], ids=[0, 99], metadata=table),
            ),
            "update_metadata": (metadata(), lambda e, table: e.update_metadata(table)),
            "update_metadata, ids": (
                ids(),
                lambda e, names: e.update_metadata(TABLE[:2], ids=names),
            ),
            "search, filter": (
                filters(),
                lambda e, wanted: e.search(
                    PROBE, 1, filter=wanted, fewer="allow", return_metadata=True
                ),
            ),
        },
        (),
        (
            "add, metadata",
            "update, metadata",
            "upsert, metadata",
            "update_metadata",
            "update_metadata, ids",
        ),
        lambda e: e.fit(ROWS, metadata=TABLE),
    ),
    "LatentIndex, by cosine": Subject(
        lambda: LatentIndex(metric="cosine", device="cpu"),
        index_probe,
        takes_rows("fit", "kneighbors", "search", "radius_neighbors"),
        ("fit",),
    ),
    "LatentIndex, of an embedder": Subject(
        lambda: LatentIndex(PCAEmbedder(N_COMPONENTS), device="cpu"),
        embedded_probe,
        {
            name: call
            for name, call in index_calls().items()
            if name in ("fit", "add", "update", "kneighbors", "search")
        },
        ("fit",),
        ("add", "update"),
    ),
    "LatentNeighborsTransformer": Subject(
        lambda: LatentNeighborsTransformer(n_neighbors=1),
        lambda e: e.transform(WIDE_PROBE[:, : e.n_features_in_]),
        takes_rows("fit", "fit_transform", "transform"),
        ("fit", "fit_transform"),
    ),
    "LatentOutlierDetector": Subject(
        lambda: LatentOutlierDetector(random_state=0),
        detector_probe,
        detector_calls(),
        ("fit", "fit_predict"),
        ("calibrate", "update", *(f"set_threshold, {name}" for name in THRESHOLDS)),
    ),
    "LatentOutlierDetector, of steps": Subject(
        lambda: LatentOutlierDetector(
            make_pipeline(StandardScaler(), PCAEmbedder(1)), random_state=0
        ),
        detector_probe,
        takes_rows("fit", "score_samples", "explain"),
        ("fit",),
    ),
    "GenerativeClassifier": Subject(
        lambda: GenerativeClassifier(PCAEmbedder(1), reject=0.3, random_state=0),
        classifier_probe,
        classifier_calls(),
        ("fit", "fit, y"),
        ("calibrate", "calibrate, y"),
        lambda e: e.fit(ROWS, LABELS),
    ),
    "RobustStandardizer": Subject(
        RobustStandardizer,
        lambda e: [e.transform(WIDE_PROBE[:, : e.n_features_in_]), e.codes_],
        takes_rows("fit", "fit_transform", "transform", "inverse_transform", "is_code"),
        ("fit", "fit_transform"),
    ),
    "CategoryEncoder": Subject(
        CategoryEncoder,
        lambda e: e.transform(WIDE_PROBE[:, : e.n_features_in_].round()),
        takes_rows("fit", "fit_transform", "transform", "inverse_transform"),
        ("fit", "fit_transform"),
    ),
    "DatetimeEncoder": Subject(
        DatetimeEncoder,
        lambda e: e.transform(DATES[:4, : e.n_features_in_]),
        takes_rows("fit", "fit_transform", "transform"),
        ("fit", "fit_transform"),
        (),
        lambda e: e.fit(DATES),
    ),
    "SlidingWindows": Subject(
        lambda: SlidingWindows(2, step=1),
        lambda e: e.transform(WIDE_PROBE[:, : e.n_features_in_]),
        windows_calls(),
        ("fit", "fit_transform"),
    ),
    "PyODAdapter": Subject(
        lambda: PyODAdapter(random_state=0),
        adapter_probe,
        adapter_calls(),
        ("fit", "fit_predict", "fit_predict_score, scoring"),
    ),
}
if faiss_available():
    SUBJECTS["LatentIndex, of lists"] = Subject(
        lambda: LatentIndex(index_spec="IVF2,PQ3x4fs,nprobe=2,rerank=4", device="cpu"),
        index_probe,
        {
            name: call
            for name, call in index_calls().items()
            if name in ("fit", "kneighbors", "search", "search, ids", *OF_LISTS)
        },
        ("fit",),
        OF_LISTS,
    )

# Methods that take no data: parameters, names, files, and what is known already.
WITHOUT_DATA = {
    "get_params",
    "set_params",
    "set_output",
    "set_callbacks",
    "get_metadata_routing",
    "get_feature_names_out",
    "get_covariance",
    "get_precision",
    "to_onnx",
    "save",
    "load",
    "compact",
}


def estimators():
    public = [getattr(latentsk, name) for name in latentsk.__all__]
    return [
        made
        for made in public
        if isinstance(made, type) and issubclass(made, BaseEstimator)
    ]


@pytest.mark.parametrize("estimator", estimators(), ids=lambda made: made.__name__)
def test_every_method_is_in_the_table(estimator):
    subject = SUBJECTS[estimator.__name__]
    made = subject.fit(subject.make())
    public = {
        name
        for name in dir(made)
        if not name.startswith("_") and callable(getattr(made, name, None))
    }
    taken = {name.partition(",")[0] for name in subject.calls}
    requests = {name for name in public if re.fullmatch("set_.*_request", name)}
    assert public - requests - WITHOUT_DATA - {"module_"} == taken


# The oracle


@cache
def fitted(label):
    subject = SUBJECTS[label]
    estimator = subject.fit(subject.make())
    if hasattr(estimator, "p_values") and not hasattr(estimator, "classes_"):
        estimator.calibrate(RNG_CALIBRATION)
    return estimator


RNG_CALIBRATION = np.random.default_rng(1).normal(size=(19, 3))


class Outcome(NamedTuple):
    """What a call came to: an answer, or an error."""

    answer: Any
    error: BaseException | None


def called(subject, name, estimator, value, what):
    """Call a method, and check that it is clear, quiet, and changes no input."""
    before = memory_of(value)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            answer = subject.calls[name][1](estimator, value)
        except Exception as error:
            outcome = Outcome(None, error)
            assert_clear(error, name, what)
        else:
            changed = answer is estimator
            outcome = Outcome(subject.probe(answer) if changed else answer, None)
    unexpected = [
        f"{warning.message} ({warning.filename}:{warning.lineno})"
        for warning in caught
        if not issubclass(warning.category, MEANT)
        and not str(warning.message).startswith(MEANT_MESSAGES)
    ]
    assert not unexpected, f"{unexpected} for {what!r}"
    assert memory_of(value) == before, f"changed: {what!r}"
    return outcome


NAMING_IDS = ("ids", "filter", "remove", "update_metadata")


def assert_clear(error, name, what):
    allowed = CLEAR + ((KeyError,) if name.endswith(NAMING_IDS) else ())
    if not isinstance(error, allowed) or UNHELPFUL.search(str(error)) or not str(error):
        raise AssertionError(f"{error!r} for {what!r}") from error


def as_numbers(answer):
    """Return the numeric arrays in an answer, flat."""
    if sparse.issparse(answer):
        return [answer.toarray()]
    if isinstance(answer, pd.DataFrame):
        return [column.to_numpy() for _, column in answer.items() if _is_number(column)]
    if isinstance(answer, tuple | list):
        return [array for part in answer for array in as_numbers(part)]
    array = np.asarray(answer)
    if array.dtype == object:
        return [
            part
            for item in array.flat
            if item is not answer
            for part in as_numbers(item)
        ]
    return [array] if array.dtype.kind in "fiub" else []


def _is_number(column):
    return column.dtype.kind in "fiub"


def assert_same(found, expected, what, rough=False):
    found, expected = as_numbers(found), as_numbers(expected)
    assert len(found) == len(expected)
    if what.plain is None:
        assert digest(found) == digest(expected)
        return
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape, f"{one.shape}, {other.shape} for {what!r}"
        finite = np.abs(other[np.isfinite(other)]).astype(float)
        largest = float(finite.max(initial=0.0))
        # Integers become float64 there, and may be inferred in float32 here.
        same_type = dtype_of(what) == what.plain.dtype
        tolerance = 1e-6 if same_type and one.dtype == np.float64 else 5e-4
        tolerance = 0.1 if rough else tolerance
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(
                one.astype(float),
                other.astype(float),
                rtol=tolerance,
                atol=max(tolerance * largest, 1e-25),  # what is zero but for rounding
                err_msg=repr(what),
            )


def assert_no_nan(answer, what):
    for array in as_numbers(answer):
        assert not np.isnan(array.astype(float)).any(), f"NaN for {what!r}"


def check(label, name, is_fitted, given):
    subject = SUBJECTS[label]
    hostile_input = given if isinstance(given, Hostile) else Hostile(given, None)
    changes = name in subject.fits + subject.changes

    def new():
        if not is_fitted:
            return subject.make()
        return copy.deepcopy(fitted(label)) if changes else fitted(label)

    estimator = new()
    before = digest(estimator)
    expected_probe = subject.probe(estimator) if is_fitted and changes else None
    outcome = called(subject, name, estimator, hostile_input.value, hostile_input)
    if outcome.error is not None or not changes:
        assert digest(estimator) == before, f"changed by {hostile_input!r}"
    if outcome.error is not None and is_fitted and changes:
        assert_same(subject.probe(estimator), expected_probe, hostile_input)
    if outcome.error is not None and not is_fitted:
        left = [n for n in vars(estimator) if n.endswith("_") and n[0] != "_"]
        assert not left, left
    if outcome.error is not None:
        return
    if label != "SlidingWindows":  # which lets missing values pass
        assert_no_nan(outcome.answer, hostile_input)
    # Categories are told apart by all digits, not by those that a float has.
    if hostile_input.plain is not None and label != "CategoryEncoder":
        plainly = called(subject, name, new(), hostile_input.plain, hostile_input)
        assert plainly.error is None, f"{plainly.error!r} only of {hostile_input!r}"
        if not changes or has_one_answer(hostile_input.plain):
            # scikit-learn's StandardScaler computes in float16, too.
            halves = hostile_input.plain.dtype == np.float32 != dtype_of(hostile_input)
            rough = label.endswith("of steps") and halves
            assert_same(outcome.answer, plainly.answer, hostile_input, rough)


def dtype_of(what):
    return getattr(what.value, "dtype", None)


def has_one_answer(rows):
    """Whether principal axes are those of the rows, and not of their rounding."""
    if np.isnan(rows).any():
        return False
    with np.errstate(all="ignore"):
        scaled = rows / (np.abs(rows).max(initial=0.0) or 1.0)
        variances = np.linalg.svd(scaled - scaled.mean(axis=0), compute_uv=False) ** 2
    gaps = np.abs(np.diff(np.append(variances, 0.0)))
    return bool((gaps > 1e-3 * variances[0]).all() and variances[0] > 1e-10)


CASES = [
    pytest.param(label, name, is_fitted, id=f"{label}-{name}-{state}")
    for label, subject in SUBJECTS.items()
    for name in subject.calls
    for is_fitted, state in ((False, "unfitted"), (True, "fitted"))
    if is_fitted or name in subject.fits
]


def run(case, budget):
    label, name, is_fitted = case
    strategy = SUBJECTS[label].calls[name][0]

    @seed(zlib.crc32(repr(case).encode()))  # reproducible, and different for each case
    @budget
    @given(strategy)
    def each(value):
        faulthandler.dump_traceback_later(SECONDS_TO_HANG, exit=True)
        try:
            check(label, name, is_fitted, value)
        finally:
            faulthandler.cancel_dump_traceback_later()

    each()


@pytest.mark.parametrize(("label", "name", "is_fitted"), CASES)
def test_hostile_input(label, name, is_fitted):
    run((label, name, is_fitted), QUICK)


@pytest.mark.slow
@pytest.mark.parametrize(("label", "name", "is_fitted"), CASES)
def test_hostile_input_thoroughly(label, name, is_fitted):
    run((label, name, is_fitted), THOROUGH)


# Parameters

BAD_VALUES: list[Any] = [0, -1, 2.5, True, np.nan, np.inf, -np.inf, None, "x", [], [0]]
BAD_VALUES += [
    [2.5],
    {},
    object(),
    np.array([1, 2]),
    b"x",
    1e-320,
    1e308,
    1 + 0j,
    float,
]
BAD_VALUES += [np.array("auto"), np.array([]), -(2**70), 2**70]
# Where such a number is meant, and takes as long or as much memory as it says.
HUGE = {"max_epochs", "n_components", "n_samples", "n_score_samples", "checkpoint"}
HUGE |= {"batch_size", "n_iter_no_change", "checkpoint_interval", "max_samples"}
# Which write to the disk or the screen, or call a compiler.
WITH_EFFECTS = {"checkpoint", "verbose", "compile"}
PARAMETERS = [
    (label, name)
    for label, subject in SUBJECTS.items()
    if ", " not in label or label.endswith("of lists")
    for name in subject.make().get_params(deep=False)
    if name not in WITH_EFFECTS
]


@pytest.mark.parametrize(("label", "name"), PARAMETERS)
def test_hostile_parameters(label, name):
    subject = SUBJECTS[label]
    for value in BAD_VALUES:
        if name in HUGE and isinstance(value, int) and value > 1:
            continue
        estimator = subject.make().set_params(**{name: value})
        before = digest(estimator)
        with warnings.catch_warnings():
            for message in MEANT_MESSAGES:
                warnings.filterwarnings("ignore", message)
            warnings.simplefilter("ignore", PosteriorCollapseWarning)
            try:
                subject.fit(estimator)
                subject.probe(estimator)
            except Exception as error:
                assert_clear(error, "", (name, value))
                assert digest(estimator) == before, f"changed by {name}={value!r}"


# Files, whose contents tests/index/test_files.py and tests/test_format.py are about


@pytest.mark.parametrize(
    "path",
    [None, 3, True, b"x", [], object(), "", "/no/such/folder/x", "a\0b", "x" * 5000],
)
@pytest.mark.parametrize("call", ["save", "load"])
def test_hostile_paths(call, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index = fitted("LatentIndex")
    with pytest.raises((ValueError, TypeError, OSError), match=r"."):
        getattr(index, call)(path)
    assert not list(tmp_path.iterdir())


# What hypothesis has found


EMBEDDERS = ("PCAEmbedder", "AutoencoderEmbedder", "VAEEmbedder")
OF_ROWS = [
    pytest.param(label, name, id=f"{label}-{name}")
    for label, subject in SUBJECTS.items()
    for name in subject.calls
    if name in (*FITTING, *SCORING, "kneighbors", "search", "add", "update", "explain")
]


@pytest.mark.parametrize(("label", "name"), OF_ROWS)
def test_masked_values_are_not_read(label, name):
    rows = np.ma.masked_greater(ROWS, 1.0)
    estimator = copy.deepcopy(fitted(label))
    before = digest(estimator)
    with pytest.raises(ValueError, match="has masked values"):
        SUBJECTS[label].calls[name][1](estimator, rows)
    assert digest(estimator) == before


def test_masked_rows_on_a_path_are_not_read():
    row = np.ma.masked_greater(ROWS[0], -9.0)
    for name in ("interpolate, a", "traverse, x", "traverse, values"):
        with pytest.raises(ValueError, match="has masked values"):
            SUBJECTS["VAEEmbedder"].calls[name][1](fitted("VAEEmbedder"), row)


@pytest.mark.parametrize(
    ("label", "method"),
    [
        ("PCAEmbedder", "score_samples"),
        ("LatentIndex", "kneighbors"),
        ("LatentOutlierDetector", "score_samples"),
    ],
)
def test_tensors_with_a_gradient_are_read(label, method):
    with_gradient = torch.tensor(ROWS, requires_grad=True)
    found, expected = SUBJECTS[label].make().fit(with_gradient), fitted(label)
    assert_same(
        getattr(found, method)(with_gradient),
        getattr(expected, method)(ROWS),
        Hostile(with_gradient, ROWS),
    )


@pytest.mark.parametrize("factor", [1e20, 1e38])
@pytest.mark.parametrize("solver", ["full", "covariance_eigh", "arpack", "randomized"])
def test_variances_beyond_float32_are_refused(solver, factor):
    embedder = PCAEmbedder(2, svd_solver=solver, random_state=0)
    rows = (np.clip(ROWS, -1.0, 1.0) * factor).astype(np.float32)
    for fit in (embedder.fit, embedder.fit_transform):
        with pytest.raises(ValueError, match="values so large that their squares"):
            fit(rows)
        assert vars(embedder).keys() == embedder.get_params().keys()
    in_float64 = PCAEmbedder(2).fit(ROWS.clip(-1.0, 1.0)).explained_variance_
    streamed = embedder.partial_fit(rows).explained_variance_ / factor**2
    np.testing.assert_allclose(streamed, in_float64, rtol=1e-5)


def test_rows_too_large_to_embed_are_refused_and_scored_lowest():
    embedder, far = PCAEmbedder(2).fit(ROWS), np.full((1, 3), 1.7e308)
    assert embedder.score_samples(far).tolist() == [np.finfo(float).min]
    assert np.isfinite(
        copy.deepcopy(embedder).calibrate(np.vstack([far, ROWS])).offset_
    )
    assert np.isfinite(copy.deepcopy(embedder).calibrate(far).offset_)
    assert embedder.predict(far).tolist() == [-1]
    for method in ("transform", "reconstruct"):
        with pytest.raises(ValueError, match="magnitudes above 1e"):
            getattr(embedder, method)(far)
    with pytest.raises(ValueError, match="values so large that results leave"):
        embedder.score_contributions(far)


def test_components_that_arpack_does_not_find():
    zeros = sparse.csr_array((20, 4))
    with pytest.raises(ValueError, match=r"components of X were not found \(ARPACK"):
        PCAEmbedder(2, svd_solver="arpack", random_state=0).fit(zeros)


@pytest.mark.parametrize(
    "make", [PCAEmbedder, AutoencoderEmbedder, VAEEmbedder, VQVAEEmbedder]
)
@pytest.mark.parametrize("value", [1.01e100, 1.7e308])
def test_magnitudes_without_meaning_are_refused(make, value):
    embedder = make()
    rows = np.array([[-value, 0.0, 1.0], [value, 1.0, 0.0]] * 5)
    with pytest.raises(ValueError, match=r"magnitudes above 1e\+100: .* column 'x0'"):
        embedder.fit(rows)
    assert vars(embedder).keys() == embedder.get_params().keys()


def test_labels_that_cannot_be_told_leave_nothing_fitted():
    embedder = PCAEmbedder(2, score_method="mahalanobis")
    with pytest.raises(ValueError, match="is undefined"):
        embedder.fit_predict(np.ones((9, 3)))
    assert vars(embedder).keys() == embedder.get_params().keys()


def test_levels_below_every_number_of_rows():
    detector = fitted("LatentOutlierDetector")
    with pytest.raises(ValueError, match="calibrate with inf rows"):
        copy.deepcopy(detector).set_threshold(fpr=1e-320)


@pytest.mark.parametrize("n_jobs", [10**9, 2**31, 2**70, -(2**70)])
def test_absurd_numbers_of_threads(n_jobs):
    index = LatentIndex(n_jobs=n_jobs).fit(ROWS)
    np.testing.assert_array_equal(
        index.kneighbors(PROBE)[1], fitted("LatentIndex").kneighbors(PROBE)[1]
    )


def test_truth_is_no_number():
    with pytest.raises(ValueError, match=r"memory_budget.* must be a number"):
        LatentIndex(memory_budget=True).fit(ROWS)
    with pytest.raises(ValueError, match="likelihood_scale must be"):
        VAEEmbedder(likelihood_scale=True, **SMALL).fit(ROWS)
