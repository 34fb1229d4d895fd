import json

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomTreesEmbedding
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from latentsk.exceptions import FormatError
from latentsk.persistence._sklearn_parts import dump_part, load_part

X = np.random.default_rng(0).normal(size=(60, 3)) ** 2


@pytest.mark.parametrize(
    "transformer",
    [
        StandardScaler(),
        MinMaxScaler(),
        RobustScaler(),
        PowerTransformer(),
        QuantileTransformer(n_quantiles=9),
        KBinsDiscretizer(encode="ordinal", quantile_method="averaged_inverted_cdf"),
        OneHotEncoder(drop="first", sparse_output=False),
        OneHotEncoder(min_frequency=2, sparse_output=False),
        KBinsDiscretizer(n_bins=4, quantile_method="averaged_inverted_cdf"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        SimpleImputer(strategy="most_frequent"),
        KNNImputer(),
        TargetEncoder(),
        FunctionTransformer(np.log1p, np.expm1),
        ColumnTransformer([("a", StandardScaler(), [0]), ("b", "passthrough", [1])]),
        make_pipeline(SimpleImputer(), StandardScaler()),
    ],
    ids=lambda t: type(t).__name__,
)
def test_transformers_come_back(transformer):
    transformer.fit(X, X[:, 0] > 0.5)
    loaded = load_part(dump_part(transformer))
    assert type(loaded) is type(transformer)
    found, expected = loaded.transform(X), transformer.transform(X)
    if hasattr(expected, "toarray"):
        found, expected = found.toarray(), expected.toarray()
    np.testing.assert_array_equal(found, expected)


def test_what_only_code_restores_is_named():
    with pytest.raises(TypeError, match=r"FunctionTransformer cannot.*<lambda>"):
        dump_part(FunctionTransformer(lambda X: X))
    with pytest.raises(TypeError, match=r"RandomTreesEmbedding cannot.*Tree"):
        dump_part(RandomTreesEmbedding(2).fit(X))


# Forged parts


def part(**changes):
    return dump_part(StandardScaler().fit(X)) | changes


def with_schema(change):
    sound = part()
    schema = json.loads(sound["schema"].tobytes())
    change(schema)
    return sound | in_bytes(json.dumps(schema).encode())


def in_bytes(schema):
    return {"schema": np.frombuffer(schema, np.uint8)}


def attribute(schema, name):
    return schema["content"]["content"][name]


def read_twice(schema):
    one, other = attribute(schema, "mean_"), attribute(schema, "var_")
    other["file"] = one["file"]


def with_arrays(change):
    arrays = part()["arrays"]
    return part(arrays={name: change(array) for name, array in arrays.items()})


FORGED = {
    "nothing": lambda: None,
    "no schema": lambda: {"arrays": {}},
    "no arrays": lambda: part(arrays={}),
    "arrays that are a list": lambda: part(arrays=[]),
    "an array of objects": lambda: with_arrays(lambda a: a.astype(object)),
    "no array": lambda: with_arrays(lambda a: {"a": a}),
    "a schema that is a list": lambda: part(**in_bytes(b"[]")),
    "a schema too deep": lambda: part(**in_bytes(b'{"a":' * 10**5 + b"1")),
    "a schema cut off": lambda: part(schema=part()["schema"][:-30]),
    "a schema as an array": lambda: with_schema(
        lambda s: attribute(s, "mean_").update(file="schema.json")
    ),
    "an old protocol": lambda: with_schema(lambda s: s.update(protocol=0)),
    "a new protocol": lambda: with_schema(lambda s: s.update(protocol=99)),
    "a function": lambda: with_schema(
        lambda s: attribute(s, "mean_").update(
            __loader__="FunctionNode", __module__="os", __class__="system"
        )
    ),
    "an operator": lambda: with_schema(
        lambda s: attribute(s, "mean_").update(__loader__="OperatorFuncNode")
    ),
    "a tree": lambda: with_schema(
        lambda s: attribute(s, "mean_").update(
            __module__="sklearn.tree._tree", __class__="Tree", __loader__="TreeNode"
        )
    ),
    "a class of ours": lambda: with_schema(
        lambda s: s.update(__module__="latentsk", __class__="PCAEmbedder")
    ),
    "a module to import": lambda: with_schema(
        lambda s: s.update(__module__="antigravity", __class__="x")
    ),
    "a node without a type": lambda: with_schema(lambda s: s.update(__class__=3)),
    "a loader that is none": lambda: with_schema(lambda s: s.update(__loader__={})),
    "no estimator": lambda: with_schema(
        lambda s: s.update(__loader__="ListNode", __class__="list", content=[])
    ),
    "a missing array": lambda: with_schema(
        lambda s: attribute(s, "mean_").update(file="9.npy")
    ),
    "one array for many": lambda: with_schema(read_twice),
}


def one_hot(change):
    """Return an encoder's bytes after a change of its private state."""
    encoder = OneHotEncoder(drop="first", min_frequency=2).fit(X.round())
    change(vars(encoder))
    return dump_part(encoder)


def test_columns_are_written_where_the_categories_say():
    content = one_hot(lambda state: state.update(_n_features_outs=[10**6, -(10**6), 1]))
    sound = OneHotEncoder(drop="first", min_frequency=2).fit(X.round())
    found, expected = (
        load_part(content).transform(X.round()),
        sound.transform(X.round()),
    )
    np.testing.assert_array_equal(found.toarray(), expected.toarray())


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["_drop_idx_after_grouping"].__setitem__(0, 10**6),
        lambda s: s["_drop_idx_after_grouping"].__setitem__(0, -5),
        lambda s: s.update(_default_to_infrequent_mappings=[np.full(9, 10**6)] * 3),
        lambda s: s.update(_default_to_infrequent_mappings=[np.zeros(2, int)] * 3),
        lambda s: s.update(categories_=3),
        lambda s: s.pop("_drop_idx_after_grouping"),
    ],
)
def test_columns_elsewhere_are_refused(change):
    with pytest.raises(FormatError, match="A scikit-learn part"):
        load_part(one_hot(change))


def test_what_belongs_to_a_machine_stays_behind():
    inner = make_pipeline(StandardScaler(), memory="cache")
    table = ColumnTransformer([("a", inner, [0])], n_jobs=1000)
    loaded = load_part(dump_part(table))
    assert loaded.n_jobs is None
    assert loaded.transformers[0][1].memory is None


@pytest.mark.parametrize("name", FORGED)
def test_forged_parts_are_refused(name):
    import sys

    with pytest.raises(FormatError, match="A scikit-learn part"):
        load_part(FORGED[name]())
    assert "antigravity" not in sys.modules
