"""A new class needs its registration, and nothing else."""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import latentsk
from latentsk._state import StateMixin
from latentsk.exceptions import FormatError
from latentsk.persistence import _format, _registry
from latentsk.persistence._registry import entry_named, entry_of, storable
from latentsk.persistence._schema import count, flag, floats, instance, list_of, number

X = np.random.default_rng(0).normal(size=(40, 3))


@pytest.fixture(autouse=True)
def classes(monkeypatch):
    """Classes of a test leave the registry with it."""
    monkeypatch.setattr(_registry, "_entries", dict(_registry._entries))


@dataclass
class MixturePrior:
    """Its fields are its state."""

    means: Any
    weights: Any


class Limits(NamedTuple):
    low: Annotated[float, number()]
    high: Annotated[float, number()]


class Tree:
    """Its state is what it says, and holds others of its kind."""

    def __init__(self, children):
        if len(children) > 2:
            raise ValueError("a tree has two children at most")
        self.children = children

    def to_state(self):
        return {"children": self.children}

    @classmethod
    def from_state(cls, state):
        return cls(state["children"])


class ToyEmbedder(StateMixin, TransformerMixin, BaseEstimator):
    """An estimator of fitted attributes, some of which are objects."""

    _private_state = ("_tree",)
    _parameter_constraints = {"shrinkage": [float]}

    def __init__(self, shrinkage=0.5):
        self.shrinkage = shrinkage

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        self.mean_ = X.mean(axis=0)
        self.prior_ = MixturePrior(X[:2].copy(), np.array([0.3, 0.7]))
        self.limits_ = Limits(float(X.min()), float(X.max()))
        leaf = Tree([])
        self._tree = Tree([leaf, leaf])
        return self

    def transform(self, X):
        return (X - self.mean_) * self.shrinkage


def register():
    storable({"means": floats("k", "d"), "weights": floats("k", least=0)})(MixturePrior)
    storable()(Limits)
    storable({"children": list_of(instance(Tree))})(Tree)
    rules = {
        "n_features_in_": count(1, named="d"),
        "mean_": floats("d"),
        "prior_": instance(MixturePrior),
        "limits_": instance(Limits),
        "_tree": instance(Tree),
    }

    def check(embedder, state, sizes):
        if state["prior_"].means.shape[1] != sizes["d"]:
            raise FormatError("The file is altered: the prior is of another width.")

    storable(rules, check=check)(ToyEmbedder)


@pytest.fixture
def saved(tmp_path):
    register()
    latentsk.save(make_pipeline(StandardScaler(), ToyEmbedder()).fit(X), tmp_path / "m")
    return tmp_path / "m"


def test_a_new_embedder_and_the_objects_in_it_come_back(saved):
    loaded = latentsk.load(saved)
    expected = make_pipeline(StandardScaler(), ToyEmbedder()).fit(X)
    np.testing.assert_array_equal(loaded.transform(X), expected.transform(X))
    ours, theirs = loaded[-1], expected[-1]
    assert ours.limits_ == theirs.limits_
    assert type(ours.limits_) is Limits
    np.testing.assert_array_equal(ours.prior_.means, theirs.prior_.means)
    # What was one object is one again.
    first, second = ours._tree.children
    assert first is second
    assert first.children == []


def test_it_can_be_a_part_of_ours(tmp_path):
    register()
    index = latentsk.LatentIndex(ToyEmbedder()).fit(X)
    latentsk.save(index, tmp_path / "m")
    loaded = latentsk.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.search(X)["id"], index.search(X)["id"])


class View(NamedTuple):
    embedder: Any


class Viewer(StateMixin, BaseEstimator):
    """An estimator whose embedder lies in an object."""

    _private_state = ("_view",)
    _parameter_constraints = {}

    def fit(self, X, **modules):
        embedder = latentsk.AutoencoderEmbedder(max_epochs=1, **modules)
        self._view = View(embedder.fit(X))
        self.fitted_ = True
        return self


def test_what_is_given_has_the_names_of_parameters_and_fields(tmp_path):
    storable({"embedder": instance(object, "transform")})(View)
    storable({"_view": instance(View), "fitted_": flag()})(Viewer)
    modules = {"encoder": nn.Linear(3, 2), "decoder": nn.Linear(2, 3)}
    viewer = Viewer().fit(X, **modules)
    latentsk.save(viewer, tmp_path / "m")
    with pytest.raises(ValueError, match="'embedder__decoder'"):
        latentsk.load(tmp_path / "m")
    given = {f"embedder__{name}": module for name, module in modules.items()}
    loaded = latentsk.load(tmp_path / "m", modules=given)
    found, expected = (one._view.embedder.transform(X) for one in (loaded, viewer))
    np.testing.assert_array_equal(found, expected)


def forge(path, change):
    document, arrays = _format.read_file(path)
    _, step = document["root"]["parameters"]["steps"][1]["tuple"]
    change(step["object"]["state"], arrays)
    _format.write_file(path, document, arrays)


def other(name):
    return {"object": {"class": name, "number": 99, "state": {}}}


def same(document):
    return {"object": {"same": document["object"]["number"]}}


def children(state):
    return state["_tree"]["object"]["state"]["children"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s, a: s.pop("mean_"), "ToyEmbedder lacks mean_"),
        (lambda s, a: s.update(eval=1), "ToyEmbedder has no attribute 'eval'"),
        (lambda s, a: s.update(n_features_in_=2), "mean_ of ToyEmbedder must be"),
        (lambda s, a: s.update(n_features_in_=True), "n_features_in_ of ToyEmbedder"),
        (
            lambda s, a: s.update(prior_=same(s["limits_"])),
            "prior_ of ToyEmbedder must",
        ),
        (lambda s, a: s.update(prior_=other("MixturePrior")), "lacks means"),
        (lambda s, a: s["limits_"]["object"]["state"].update(low="0"), "low of Limits"),
        (lambda s, a: s.update(prior_=other("Unknown")), "class 'Unknown' is unknown"),
        (
            lambda s, a: a.update(
                {k: v[:, :2] for k, v in a.items() if k.endswith("means")}
            ),
            "the prior is of another width",
        ),
        (
            lambda s, a: a.update({k: -v for k, v in a.items() if "weights" in k}),
            "weights of MixturePrior",
        ),
        (lambda s, a: children(s).append(children(s)[0]), "a number occurs twice"),
        (lambda s, a: children(s).append(children(s)[1]), "two children at most"),
        (lambda s, a: children(s).append(same(s["_tree"])), "object is not described"),
    ],
)
def test_what_breaks_a_rule_is_refused(saved, change, match):
    forge(saved, change)
    with pytest.raises(FormatError, match=match):
        latentsk.load(saved)


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    register()
    embedder = ToyEmbedder().fit(X)
    embedder.prior_.weights[0] = -1
    with pytest.raises(ValueError, match=r"could not be loaded.*weights of MixtureP"):
        latentsk.save(embedder, tmp_path / "m")
    embedder = ToyEmbedder().fit(X).set_params(shrinkage="much")
    with pytest.raises(ValueError, match="'shrinkage' parameter"):
        latentsk.save(embedder, tmp_path / "m")
    embedder = ToyEmbedder().fit(X)
    embedder.limits_ = object()
    with pytest.raises(ValueError, match="limits_ of ToyEmbedder must be a Limits"):
        latentsk.save(embedder, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_only_registered_classes_are_stored(tmp_path):
    with pytest.raises(TypeError, match="ToyEmbedder cannot be stored"):
        latentsk.save(ToyEmbedder().fit(X), tmp_path / "m")
    register()
    del _registry._entries["Limits"]
    with pytest.raises(TypeError, match="limits_ cannot be stored: it is of type Lim"):
        latentsk.save(ToyEmbedder().fit(X), tmp_path / "m")


def test_a_name_stands_for_one_class():
    register()
    assert entry_named("Tree").cls is Tree
    assert entry_of(type("Tree", (Tree,), {})) is None
    with pytest.raises(AssertionError):
        storable()(type("Tree", (), {}))
    with pytest.raises(FormatError, match="unknown"):
        entry_named("os.system")
