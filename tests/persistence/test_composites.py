"""ColumnTransformer and FeatureUnion, whose parts may be ours."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import (
    ColumnTransformer,
    make_column_selector,
    make_column_transformer,
)
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from torch import nn

import latentsk
from latentsk import (
    AutoencoderEmbedder,
    LatentIndex,
    LatentOutlierDetector,
    PCAEmbedder,
    RobustStandardizer,
)
from latentsk._state import StateMixin
from latentsk.exceptions import FormatError
from latentsk.persistence import _format, _reader, _registry
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import number

RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(N, 5)) ** 2
FRAME = pd.DataFrame(X, columns=list("abcde")).assign(
    city=RNG.choice(["Bonn", "Köln", "Ulm"], N),
    kind=pd.Categorical(RNG.choice(["x", "y"], N)),
    paid=RNG.random(N) < 0.5,
)
NUMBERS = list("abcde")
ONE_HOT = OneHotEncoder(handle_unknown="ignore")
DENSE = OneHotEncoder(handle_unknown="ignore", sparse_output=False)


def table(*parts, **parameters):
    return ColumnTransformer(list(parts), **parameters)


def numeric(frame):
    return [name for name in frame.columns if name in NUMBERS]


class Vector(StateMixin, TransformerMixin, BaseEstimator):
    """Takes one column as a vector, as those of texts do."""

    _private_state = ()
    _parameter_constraints = {}

    def fit(self, x, y=None):
        self.mean_ = float(np.asarray(x).mean())
        return self

    def transform(self, x):
        assert np.ndim(x) == 1
        return np.asarray(x)[:, None] - self.mean_

    def get_feature_names_out(self, names=None):
        return np.asarray(names, dtype=object)


@pytest.fixture(autouse=True)
def classes(monkeypatch):
    """Classes of a test leave the registry with it."""
    monkeypatch.setattr(_registry, "_entries", dict(_registry._entries))
    storable({"mean_": number()})(Vector)


LOG = FunctionTransformer(np.log1p)
INNER = table(("r", RobustStandardizer(), ["a"]), ("l", LOG, [1]))
# name: (estimator, the rows that it is fitted to)
CASES = {
    "names": (table(("r", RobustStandardizer(), ["a", "c"])), FRAME),
    "positions": (table(("r", RobustStandardizer(), [0, -1])), X),
    "positions of a frame": (table(("r", RobustStandardizer(), [0, 2])), FRAME),
    "a slice": (table(("r", PCAEmbedder(2), slice(1, 4))), X),
    "a slice with a step": (table(("r", StandardScaler(), slice(0, None, 2))), X),
    "a slice of names": (table(("r", PCAEmbedder(1), slice("b", "d"))), FRAME),
    "an open slice of names": (table(("r", PCAEmbedder(1), slice(None, "c"))), FRAME),
    "a mask": (table(("r", PCAEmbedder(1), [True, False, True, False, True])), X),
    "a mask as an array": (table(("r", PCAEmbedder(1), np.arange(5) > 2)), X),
    "a mask as a Series": (
        table(("r", PCAEmbedder(1), FRAME.columns.to_series().isin(["a", "b"]))),
        FRAME,
    ),
    "an Index": (table(("r", PCAEmbedder(1), FRAME.columns[:3])), FRAME),
    "an array of names": (table(("r", PCAEmbedder(1), np.array(["a", "b"]))), FRAME),
    "positions as an array": (table(("r", PCAEmbedder(1), np.array([4, 1]))), X),
    "a tuple of numpy's integers": (
        table(("r", PCAEmbedder(1), (np.int64(3), np.int32(1)))),
        X,
    ),
    "a name alone": (table(("f", Vector(), "a")), FRAME),
    "a position alone": (table(("f", Vector(), np.int64(2))), X),
    "a function": (table(("r", RobustStandardizer(), numeric)), FRAME),
    "a selector": (
        table(
            ("r", RobustStandardizer(), make_column_selector(dtype_include=np.number)),
            ("o", DENSE, make_column_selector(dtype_include=[object, "str"])),
        ),
        FRAME,
    ),
    "no columns": (table(("r", RobustStandardizer(), []), ("s", LOG, ["a"])), FRAME),
    "all dropped": (table(("r", "drop", ["a"])), FRAME),
    "nothing named": (table(remainder=RobustStandardizer()), X),
    "passed through": (
        table(("r", RobustStandardizer(), ["a"]), ("p", "passthrough", ["b", "paid"])),
        FRAME,
    ),
    "the remainder passed through": (
        table(("r", PCAEmbedder(1), [0, 1]), remainder="passthrough"),
        X,
    ),
    "the remainder of names": (
        table(("o", DENSE, ["city", "kind", "paid"]), remainder=RobustStandardizer()),
        FRAME,
    ),
    "the remainder of a mask": (
        table(("r", PCAEmbedder(1), np.arange(5) > 2), remainder=RobustStandardizer()),
        X,
    ),
    "nothing remains": (table(("r", PCAEmbedder(1), [0, 1, 2, 3, 4])), X),
    "one column twice": (
        table(("r", RobustStandardizer(), [0, 0]), ("s", StandardScaler(), [0])),
        X,
    ),
    "sparse": (
        table(("o", ONE_HOT, ["city", "kind"]), sparse_threshold=1.0),
        FRAME,
    ),
    "sparse and dense": (
        table(
            ("o", ONE_HOT, ["city", "kind"]),
            ("r", RobustStandardizer(), ["a"]),
            sparse_threshold=0.9,
        ),
        FRAME,
    ),
    "weights": (
        table(("a", PCAEmbedder(1), [0, 1]), ("b", PCAEmbedder(1), [2, 3])).set_params(
            transformer_weights={"a": 2, "b": np.float64(0.5)}
        ),
        X,
    ),
    "short names": (
        table(("r", RobustStandardizer(), ["a"]), verbose_feature_names_out=False),
        FRAME,
    ),
    "formatted names": (
        table(
            ("r", RobustStandardizer(), ["a"]),
            verbose_feature_names_out="{feature_name} ({transformer_name:>9})",
        ),
        FRAME,
    ),
    "pandas": (
        table(
            ("r", RobustStandardizer(), ["a"]), ("o", DENSE, ["city"]), remainder="drop"
        ).set_output(transform="pandas"),
        FRAME,
    ),
    "pandas without names of its own": (
        table(
            ("f", FunctionTransformer(np.log1p), ["a"]), ("d", "drop", ["b"])
        ).set_output(transform="pandas"),
        FRAME,
    ),
    "pipelines": (
        make_column_transformer(
            (make_pipeline(SimpleImputer(), RobustStandardizer()), NUMBERS),
            (make_pipeline(OrdinalEncoder(), PCAEmbedder(1)), ["city", "kind"]),
        ),
        FRAME,
    ),
    "nested": (
        table(
            (
                "inner",
                table(("r", RobustStandardizer(), ["a"]), ("l", LOG, [1])),
                ["a", "b"],
            ),
            ("union", make_union(PCAEmbedder(1), MinMaxScaler()), ["c", "d"]),
        ),
        FRAME,
    ),
    "frozen": (
        table(("f", FrozenEstimator(PCAEmbedder(2).fit(X[:, :3])), [0, 1, 2])),
        X,
    ),
    "a union": (FeatureUnion([("p", PCAEmbedder(2)), ("r", RobustStandardizer())]), X),
    "a union of everything": (
        FeatureUnion(
            [
                ("p", PCAEmbedder(2)),
                ("d", "drop"),
                ("q", "passthrough"),
                ("t", table(("r", RobustStandardizer(), [0]), remainder=PCA(2))),
                ("u", make_union(StandardScaler())),
            ],
            transformer_weights={"p": 0.5},
            verbose_feature_names_out=True,
        ),
        X,
    ),
    "a union with pandas": (
        FeatureUnion([("l", LOG), ("r", RobustStandardizer())]).set_output(
            transform="pandas"
        ),
        FRAME[NUMBERS],
    ),
    "a union of nothing": (FeatureUnion([("d", "drop"), ("e", "drop")]), X),
}


@pytest.fixture(scope="module")
def fitted():
    """Fit each case once."""
    made = {}

    def get(name):
        if name not in made:
            estimator, rows = CASES[name]
            made[name] = clone(estimator)
            result = made[name].fit_transform(rows)
            assert_equal(result, made[name].transform(rows))
        return made[name], CASES[name][1]

    return get


def stored(estimator, path):
    latentsk.save(estimator, path)
    return latentsk.load(path)


def assert_equal(found, expected):
    """Compare arrays, sparse matrices and frames exactly, with their types."""
    assert type(found) is type(expected)
    if isinstance(found, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        return
    if hasattr(found, "toarray"):
        found, expected = found.toarray(), expected.toarray()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", CASES)
def test_round_trip(name, fitted, tmp_path):
    estimator, rows = fitted(name)
    loaded = stored(estimator, tmp_path / "model")
    assert type(loaded) is type(estimator)
    try:
        expected = estimator.get_feature_names_out()
    except (AttributeError, ValueError) as error:
        with pytest.raises(type(error)):
            loaded.get_feature_names_out()
    else:
        np.testing.assert_array_equal(loaded.get_feature_names_out(), expected)
    assert_equal(loaded.transform(rows[::-1]), estimator.transform(rows[::-1]))
    # What scikit-learn sets in a fit, it finds again.
    assert vars(loaded).keys() == vars(estimator).keys()
    for key in ("_transformer_to_input_indices", "output_indices_", "sparse_output_"):
        assert vars(loaded).get(key) == vars(estimator).get(key)
    again = clone(loaded).fit(rows)
    assert_equal(again.transform(rows), estimator.transform(rows))


def test_parts_of_ours_in_a_detector_and_an_index(tmp_path):
    columns = table(
        ("r", make_pipeline(RobustStandardizer(), PCAEmbedder(3)), NUMBERS),
        ("o", DENSE, ["city", "kind"]),
        remainder="passthrough",
    )
    union = make_union(PCAEmbedder(2), RobustStandardizer())
    embedder = make_pipeline(columns, union, PCAEmbedder(3))
    detector = LatentOutlierDetector(embedder, random_state=0).fit(FRAME)
    loaded = stored(detector, tmp_path / "detector")
    for method in ("score_samples", "predict", "decision_function"):
        expected = getattr(detector, method)(FRAME)
        np.testing.assert_array_equal(getattr(loaded, method)(FRAME), expected)
    index = LatentIndex(embedder).fit(FRAME)
    found = stored(index, tmp_path / "index").search(FRAME[:9])
    pd.testing.assert_frame_equal(found, index.search(FRAME[:9]), check_exact=True)


def test_custom_modules_have_the_names_of_get_params(tmp_path):
    modules = {"encoder": nn.Linear(2, 1), "decoder": nn.Linear(1, 2)}
    network = AutoencoderEmbedder(max_epochs=1, random_state=0, **modules)
    columns = table(("n", network, [0, 1]), remainder=PCAEmbedder(1))
    pipeline = make_pipeline(columns).fit(X)
    latentsk.save(pipeline, tmp_path / "model")
    names = {f"columntransformer__n__{name}": m for name, m in modules.items()}
    assert names.keys() <= pipeline.get_params().keys()
    with pytest.raises(ValueError, match="'columntransformer__n__decoder'"):
        latentsk.load(tmp_path / "model")
    loaded = latentsk.load(tmp_path / "model", modules=names)
    np.testing.assert_array_equal(loaded.transform(X), pipeline.transform(X))


def test_new_rows_and_wrong_rows_are_treated_alike(tmp_path):
    columns = table(("r", RobustStandardizer(), ["c", "a"]), ("d", "drop", ["b"]))
    columns.fit(FRAME)
    loaded = stored(columns, tmp_path / "model")
    # By name: other orders, more columns, and without those that are dropped.
    rows = FRAME[["kind", "paid", "c", "city", "e", "d", "a"]].assign(more=1)
    np.testing.assert_array_equal(loaded.transform(rows), columns.transform(rows))
    with pytest.raises(ValueError, match="columns are missing"):
        loaded.transform(FRAME.drop(columns="c"))
    assert loaded.named_transformers_["d"] == "drop"
    np.testing.assert_array_equal(loaded["r"].center_, columns["r"].center_)


def test_what_a_function_chose_is_stored_in_its_place(tmp_path):
    columns = table(("r", RobustStandardizer(), numeric)).fit(FRAME)
    loaded = stored(columns, tmp_path / "model")
    assert loaded.transformers[0][2] == NUMBERS
    assert clone(loaded).fit(FRAME).transformers_[0][2] == NUMBERS
    # The estimator that was saved keeps its function.
    assert columns.transformers[0][2] is numeric


EVERY_DTYPE = pd.DataFrame(
    {
        "i8": np.int8([1]),
        "i32": np.int32([1]),
        "i64": [1],
        "f32": np.float32([1]),
        "f64": [1.0],
        "flag": [True],
        "text": pd.array(["a"], dtype="str"),
        "thing": pd.Series(["a"], dtype=object),
        "kind": pd.Categorical(["a"]),
        "when": pd.to_datetime(["2026-01-01"]),
        "since": pd.to_timedelta(["1h"]),
        "nullable": pd.array([1], dtype="Int64"),
    }
)


@pytest.mark.parametrize(
    "dtypes",
    [
        np.number,
        np.integer,
        np.floating,
        np.float32,
        np.dtype("int8"),
        np.datetime64,
        np.timedelta64,
        "category",
        ["number", "bool"],
        (bool, object),
        int,
        float,
        str,
        np.bool_,
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings(
    "ignore:For backward compatibility, 'str':DeprecationWarning"
)
def test_a_selector_selects_again(dtypes, tmp_path):
    """Select dtypes before and after; what is excluded, too."""
    selectors = (
        make_column_selector(dtype_include=dtypes),
        make_column_selector("^[a-z]", dtype_exclude=dtypes),
    )
    for selector in selectors:
        columns = table(("r", Vector(), "i64"), ("s", "drop", selector))
        loaded = stored(columns.fit(EVERY_DTYPE), tmp_path / "model")
        found = loaded.transformers[1][2]
        assert type(found) is make_column_selector
        assert found(EVERY_DTYPE) == selector(EVERY_DTYPE) != []


def test_a_selector_of_another_type_is_what_it_chose(tmp_path):
    selector = make_column_selector(dtype_include=pd.Int64Dtype())
    columns = table(("r", "drop", selector), ("s", "drop", ["i64"])).fit(EVERY_DTYPE)
    assert stored(columns, tmp_path / "model").transformers[0][2] == ["nullable"]


def test_what_belongs_to_a_machine_stays_behind(tmp_path):
    union = FeatureUnion([("p", PCAEmbedder(1))], n_jobs=2)
    columns = table(("u", union, [0, 1]), n_jobs=2).fit(X)
    loaded = stored(columns, tmp_path / "model")
    assert loaded.n_jobs is None
    assert loaded["u"].n_jobs is None
    assert loaded.transformers[0][1].n_jobs is None
    assert columns.n_jobs == 2


def test_one_object_is_one_again(tmp_path):
    frozen = FrozenEstimator(PCAEmbedder(1).fit(X[:, :2]))
    columns = table(("a", frozen, [0, 1]), ("b", frozen, [2, 3])).fit(X)
    loaded = stored(columns, tmp_path / "model")
    assert loaded["a"] is loaded["b"] is loaded.transformers[0][1]


# What cannot be stored


class Foreign(TransformerMixin, BaseEstimator):
    """An estimator of another package, such as skrub's TableVectorizer."""

    __module__ = "skrub"

    def fit(self, X, y=None):
        self.n_features_in_ = np.shape(X)[1]
        return self

    def transform(self, X):
        return np.asarray(X)


def halve(rows):
    return rows / 2


def lower(transformer, feature):
    return feature.lower()


@pytest.mark.parametrize(
    ("estimator", "match"),
    [
        (
            make_pipeline(table(("t", Foreign(), [0])), PCAEmbedder(1)),
            r"Foreign \(the part 'columntransformer__t'\) cannot be stored: it is of "
            r"another package.*joblib.*default",
        ),
        (
            table(("f", make_pipeline(FunctionTransformer(halve)), [0])),
            r"FunctionTransformer \(the part 'f__functiontransformer'\) cannot be "
            r"stored: it holds .*halve.*joblib",
        ),
        (
            table(("p", PCAEmbedder(1), [0]), remainder=FunctionTransformer(halve)),
            r"FunctionTransformer \(the part 'remainder'\) cannot be stored",
        ),
        (
            make_union(PCAEmbedder(1), Foreign()),
            r"Foreign \(the part 'foreign'\) cannot be stored",
        ),
        (
            LatentOutlierDetector(make_pipeline(Foreign(), PCAEmbedder(1))),
            r"Foreign \(the part 'embedder__foreign'\) cannot be stored",
        ),
        (
            LatentOutlierDetector(
                make_pipeline(table(("p", PCAEmbedder(2), lambda X: [0, 1])))
            ),
            r"columns of 'p' in a ColumnTransformer cannot be stored: a function",
        ),
        (
            table(("p", PCAEmbedder(1), [0]), verbose_feature_names_out=lower),
            "verbose_feature_names_out cannot be stored: it is of type function",
        ),
    ],
)
def test_what_no_file_holds_is_named(estimator, match, tmp_path):
    estimator.fit(X)
    with pytest.raises(TypeError, match=match):
        latentsk.save(estimator, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"transformer_weights": {"r": "2"}}, TypeError, r"weights\['r'\] must be"),
        ({"transformer_weights": [1]}, ValueError, "transformer_weights"),
        ({"verbose_feature_names_out": "{x}"}, ValueError, "must be a format"),
        ({"sparse_threshold": 2}, ValueError, "sparse_threshold"),
        ({"transformers": [("s", PCAEmbedder(1), [0])]}, ValueError, "other parts"),
        ({"remainder": "keep"}, ValueError, "remainder"),
        ({"transformers": [("r", PCAEmbedder(1), [0.5])]}, TypeError, "names no colu"),
        ({"r": PCAEmbedder}, TypeError, "an estimator instance"),
    ],
)
def test_parameters_that_no_fit_takes_are_not_saved(change, error, match, tmp_path):
    columns = table(("r", RobustStandardizer(), [0])).fit(X).set_params(**change)
    with pytest.raises(error, match=match):
        latentsk.save(columns, tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"transformer_weights": {"q": 2}}, ValueError),
        ({"transformer_weights": {"p": [2]}}, TypeError),
        ({"verbose_feature_names_out": "x"}, TypeError),
        ({"transformer_list": []}, ValueError),
    ],
)
def test_unions_that_no_fit_takes_are_not_saved(change, error, tmp_path):
    union = FeatureUnion([("p", PCAEmbedder(1))]).fit(X)
    vars(union).update(change)
    with pytest.raises(error):
        latentsk.save(union, tmp_path / "model")


# Forged files


def forge(path, estimator, change):
    """Save an estimator, change the document and the arrays, and write them anew."""
    latentsk.save(estimator, path)
    before = path.read_bytes()
    document, arrays = _format.read_file(path)
    change(document["root"], arrays)
    _format.write_file(path, document, arrays)
    assert path.read_bytes() != before
    return path


def state(root, **values):
    root["state"].update(values)


def parameter(root, **values):
    root["parameters"].update(values)


def part(root, position, value, number=0):
    """Replace the name, the fitted part or the columns of a part."""
    root["state"]["transformers_"][number]["tuple"][position] = value


def positions(arrays, name, value):
    key = f"_transformer_to_input_indices/{name}"
    assert key in arrays
    arrays[key] = np.array(value, dtype=np.int64)


TABLE = table(
    ("r", RobustStandardizer(), ["a", "c"]),
    ("d", "drop", ["b"]),
    ("p", PCAEmbedder(1), slice("d", "e")),
    remainder=DENSE,
)
ROWS = FRAME.drop(columns="paid")
ATTACKS = {
    "more columns than there are": lambda r, a: state(r, n_features_in_=2**50),
    "fewer columns": lambda r, a: state(r, n_features_in_=3),
    "no columns": lambda r, a: state(r, n_features_in_=0),
    "negative columns": lambda r, a: state(r, n_features_in_=-7),
    "a position beyond": lambda r, a: positions(a, "r", [0, 7]),
    "a position below": lambda r, a: positions(a, "r", [0, -1]),
    "other positions": lambda r, a: positions(a, "r", [2, 0]),
    "positions that lack": lambda r, a: positions(a, "remainder", [5]),
    "positions that overlap": lambda r, a: positions(a, "remainder", [4, 5, 6]),
    "positions in a square": lambda r, a: positions(a, "r", [[0, 2]]),
    "a position of a huge table": lambda r, a: (
        state(r, n_features_in_=2**50),
        positions(a, "remainder", [5, 6, 2**49]),
    ),
    "no positions": lambda r, a: (
        r["state"].pop("_transformer_to_input_indices"),
        [a.pop(k) for k in list(a) if k.startswith("_transformer_to_")],
    ),
    "positions for another part": lambda r, a: (
        r["state"]["_transformer_to_input_indices"]["dict"].update(
            x={"array": "_transformer_to_input_indices/x"}
        ),
        a.update({"_transformer_to_input_indices/x": np.zeros(1, np.int64)}),
    ),
    "a name that is no column": lambda r, a: part(r, 2, ["a", "z"]),
    "columns out of range": lambda r, a: part(r, 2, [0, 99]),
    "a huge position": lambda r, a: part(r, 2, [0, 10**400]),
    "columns of floats": lambda r, a: part(r, 2, [0.0, 2.0]),
    "columns in a list in a list": lambda r, a: part(r, 2, [["a"], ["c"]]),
    "columns that are a table": lambda r, a: part(r, 2, {"dict": {"a": 1}}),
    "columns that are an estimator": lambda r, a: part(r, 2, {"object": {"same": 0}}),
    "columns that are none": lambda r, a: part(r, 2, None),
    "a mask that is too short": lambda r, a: part(r, 2, [True, False, True]),
    "a slice elsewhere": lambda r, a: part(r, 2, {"slice": ["a", "z", None]}, 2),
    "a slice of another kind": lambda r, a: part(r, 2, {"slice": [0, "e", None]}, 2),
    "a slice with steps": lambda r, a: part(r, 2, {"slice": ["d", "e", 2]}, 2),
    "a slice without end": lambda r, a: part(r, 2, {"slice": [None, 2**70, None]}, 2),
    "a slice of limits too few": lambda r, a: part(r, 2, {"slice": ["d", "e"]}, 2),
    "a slice of lists": lambda r, a: part(r, 2, {"slice": [["d"], None, None]}, 2),
    "a slice of slices": lambda r, a: part(
        r, 2, {"slice": [{"slice": [1, 2, 3]}, None, None]}, 2
    ),
    "another name": lambda r, a: part(r, 0, "q"),
    "a name that is a number": lambda r, a: part(r, 0, 3),
    "a part that is a word": lambda r, a: part(r, 1, "passthrough"),
    "a part that is a number": lambda r, a: part(r, 1, 3),
    "a part in another's place": lambda r, a: part(r, 1, "drop", 3),
    "a part that is not fitted": lambda r, a: (
        r["state"]["transformers_"][2]["tuple"][1]["object"].update(state={}),
        [a.pop(k) for k in list(a) if k.startswith("transformers_/p/")],
    ),
    "a part without columns": lambda r, a: r["state"]["transformers_"][0][
        "tuple"
    ].pop(),
    "no parts": lambda r, a: state(r, transformers_=[]),
    "a part too few": lambda r, a: r["state"]["transformers_"].pop(1),
    "parts in another order": lambda r, a: r["state"]["transformers_"].reverse(),
    "an output elsewhere": lambda r, a: r["state"]["output_indices_"]["dict"].update(
        r=[5, 7]
    ),
    "an output backwards": lambda r, a: r["state"]["output_indices_"]["dict"].update(
        r=[0, -1]
    ),
    "an output of what is dropped": lambda r, a: r["state"]["output_indices_"][
        "dict"
    ].update(d=[2, 3]),
    "an output that is huge": lambda r, a: r["state"]["output_indices_"]["dict"].update(
        r=[0, 2**62]
    ),
    "an output without a part": lambda r, a: r["state"]["output_indices_"][
        "dict"
    ].update(x=[0, 0]),
    "no outputs": lambda r, a: r["state"].pop("output_indices_"),
    "no outputs at all": lambda r, a: (
        r["state"].pop("output_indices_"),
        r["state"].pop("sparse_output_"),
    ),
    "an output that is sparse or not": lambda r, a: state(r, sparse_output_=1),
    "another attribute": lambda r, a: state(r, _columns=[1]),
    "a thousand processes": lambda r, a: parameter(r, n_jobs=1_000),
    "a format of a gigabyte": lambda r, a: parameter(
        r, verbose_feature_names_out="{feature_name:>1000000000}"
    ),
    "a format within a format": lambda r, a: parameter(
        r, verbose_feature_names_out="{feature_name:{transformer_name}}"
    ),
    "a format that reads attributes": lambda r, a: parameter(
        r, verbose_feature_names_out="{feature_name.__class__}"
    ),
    "a format of numbers": lambda r, a: parameter(r, verbose_feature_names_out="{0}"),
    "a weight that is an array": lambda r, a: parameter(
        r, transformer_weights={"dict": {"r": [1, 2]}}
    ),
    "weights that are a list": lambda r, a: parameter(r, transformer_weights=[1]),
    "a remainder that is none": lambda r, a: parameter(r, remainder=3),
    "a parameter that is no part": lambda r, a: parameter(
        r, transformers=[{"tuple": ["r", 3, ["a"]]}]
    ),
    "a parameter of two": lambda r, a: parameter(r, transformers=[{"tuple": ["r", 3]}]),
    "a parameter that is no list": lambda r, a: parameter(r, transformers=3),
    "two parts of one name": lambda r, a: r["parameters"]["transformers"].append(
        {"tuple": ["r", "drop", ["a"]]}
    ),
    "an output of no kind": lambda r, a: r.update(output="eval"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_forged_column_transformers_are_refused(name, tmp_path):
    path = forge(tmp_path / "model", clone(TABLE).fit(ROWS), ATTACKS[name])
    with pytest.raises(FormatError):
        latentsk.load(path)


def test_the_forged_column_transformer_is_sound(tmp_path):
    columns = clone(TABLE).fit(ROWS)
    loaded = stored(columns, tmp_path / "model")
    assert_equal(loaded.transform(ROWS), columns.transform(ROWS))


def list_part(root, name, value):
    root["parameters"]["transformer_list"][0] = {"tuple": [name, value]}


@pytest.mark.parametrize(
    "change",
    [
        lambda r, a: parameter(r, transformer_list=[]),
        lambda r, a: parameter(r, transformer_list=3),
        lambda r, a: parameter(r, transformer_list=[["p", 3]]),
        lambda r, a: parameter(r, n_jobs=1_000),
        lambda r, a: parameter(r, transformer_weights={"dict": {"x": 1}}),
        lambda r, a: parameter(r, transformer_weights={"dict": {"l": "1"}}),
        lambda r, a: parameter(r, verbose="1"),
        lambda r, a: list_part(r, 3, "drop"),
        lambda r, a: list_part(r, "r", "drop"),
        lambda r, a: list_part(r, "a__b", "drop"),
        lambda r, a: state(r, _transformers_feature_names_out=[]),
        lambda r, a: state(r, _transformers_feature_names_out=3),
        lambda r, a: state(r, more=3),
    ],
)
def test_forged_unions_are_refused(change, tmp_path):
    union = FeatureUnion([("l", LOG), ("r", RobustStandardizer())])
    union.set_output(transform="pandas").fit_transform(FRAME[NUMBERS])
    path = forge(tmp_path / "model", union, change)
    with pytest.raises(FormatError):
        latentsk.load(path)


def test_objects_within_each_other_end(tmp_path, monkeypatch):
    """A part that occurs twice in each of many levels would be walked for ever."""
    union = FeatureUnion([("p", PCAEmbedder(1)), ("q", "drop")]).fit(X)

    def grow(root, arrays):
        for new in range(100, 118):
            inner = dict(root)
            root["number"] = new
            twice = {"object": {"same": inner["number"]}}
            root["parameters"] = inner["parameters"] | {
                "transformer_list": [
                    {"tuple": ["a", {"object": inner}]},
                    {"tuple": ["b", twice]},
                ]
            }

    with pytest.raises(FormatError, match="too many objects"):
        latentsk.load(forge(tmp_path / "model", union, grow))
    # What an honest file shares counts as often as it occurs, and passes.
    frozen = FrozenEstimator(PCAEmbedder(1).fit(X))
    union = FeatureUnion([("p", frozen), ("q", frozen)])
    latentsk.save(union, tmp_path / "model")
    monkeypatch.setattr(_reader, "MAX_OBJECTS", 5)
    latentsk.load(tmp_path / "model")
    monkeypatch.setattr(_reader, "MAX_OBJECTS", 4)
    with pytest.raises(FormatError, match="too many objects"):
        latentsk.load(tmp_path / "model")


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(pattern=3),
        lambda s: s.update(dtype_include={"dict": {}}),
        lambda s: s.update(more=1),
    ],
)
def test_forged_selectors_are_refused(change, tmp_path):
    columns = table(("r", PCAEmbedder(1), make_column_selector("[ab]"))).fit(FRAME)

    def forged(root, arrays):
        change(root["parameters"]["transformers"][0]["tuple"][2]["object"]["state"])

    path = forge(tmp_path / "model", columns, forged)
    with pytest.raises(FormatError, match="make_column_selector"):
        latentsk.load(path)
