"""Trees that only an attacker would write: the checksum fits, and the states lie."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import latentsk
from latentsk import (
    AutoencoderEmbedder,
    HierarchicalVAEEmbedder,
    LatentIndex,
    LatentNeighborsTransformer,
    PCAEmbedder,
    VAEEmbedder,
    VQVAEEmbedder,
)
from latentsk.exceptions import FormatError
from latentsk.persistence import _format

X = load_breast_cancer().data[:200]
SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8,), "random_state": 0}
LISTS = "IVF8,PQ30x4fs,nprobe=4,rerank=3"
# Two epochs are not long.
pytestmark = pytest.mark.filterwarnings(
    "ignore::latentsk.exceptions.PosteriorCollapseWarning"
)


def altered(path, estimator, change):
    """Save an estimator, change the document and the arrays, and write them anew."""
    latentsk.save(estimator, path)
    content = path.read_bytes()
    document, arrays = _format.read_file(path)
    change(document["root"], arrays)
    _format.write_file(path, document, arrays)
    assert path.read_bytes() != content
    return path


MODULES = {"encoder": nn.Linear(30, 3), "decoder": nn.Linear(3, 30)}
CUSTOM = AutoencoderEmbedder(max_epochs=1, random_state=0, **MODULES).fit(X)
VAE = VAEEmbedder(3, **SMALL)
CODES = VQVAEEmbedder(8, n_positions=3, **SMALL)
SCALAR = VQVAEEmbedder(9, n_positions=3, quantizer="fsq", **SMALL)
GRID = VQVAEEmbedder(
    8, network="conv", input_shape=(1, 5, 6), max_epochs=1, hidden_layer_sizes=(3,)
)
LEVELS = HierarchicalVAEEmbedder((3, 2), **SMALL)
ATTACKS = {
    "more codes than vectors": (
        CODES,
        lambda e, a: item(e, "_architecture", "n_codes", 2**40),
    ),
    "no vectors of as many codes": (
        CODES,
        lambda e, a: item(e, "_architecture", "n_codes", 7),
    ),
    "positions without end": (
        CODES,
        lambda e, a: (
            item(e, "_architecture", "n_positions", 2**40),
            e["state"].update(n_components_=2**41),
        ),
    ),
    "codes of another length": (
        CODES,
        lambda e, a: item(e, "_architecture", "code_dim", 3),
    ),
    "codes of no quantizer": (
        CODES,
        lambda e, a: item(e, "_architecture", "quantizer", "k-means"),
    ),
    "codes of no prior": (
        CODES,
        lambda e, a: item(e, "_architecture", "code_prior", "normal"),
    ),
    "codes of no levels": (
        SCALAR,
        lambda e, a: item(e, "_architecture", "n_codes", 17),
    ),
    "codes on another grid": (
        GRID,
        lambda e, a: item(e, "_architecture", "input_shape", [1, 10, 3]),
    ),
    "codes without vectors": (
        CODES,
        lambda e, a: a.update(
            {k: v * np.inf for k, v in a.items() if k.endswith("codebook")}
        ),
    ),
    "codes that were had less than never": (
        CODES,
        lambda e, a: a.update(
            {k: v - 10**6 for k, v in a.items() if k.endswith("code_counts")}
        ),
    ),
    "samples without end": (
        VAE,
        lambda e, a: e["parameters"].update(n_score_samples=10**8),
    ),
    "a level that there is not": (
        LEVELS,
        lambda e, a: e["parameters"].update(levels=3),
    ),
    "levels of other widths": (
        LEVELS,
        lambda e, a: e["state"]["_architecture"].update(level_sizes=[2, 3]),
    ),
    "one level": (
        LEVELS,
        lambda e, a: e["state"]["_architecture"].update(level_sizes=[5]),
    ),
    "levels without end": (
        LEVELS,
        lambda e, a: e["state"]["_architecture"].update(level_sizes=[3, 2] + [0] * 999),
    ),
    "layers without end between levels": (
        LEVELS,
        lambda e, a: e["state"]["_architecture"].update(level_layers=[10**9]),
    ),
    "layers that are no list": (
        LEVELS,
        lambda e, a: e["state"]["_architecture"].update(level_layers="many"),
    ),
    "a path to write to": (
        VAE,
        lambda e, a: e["parameters"].update(checkpoint="/tmp/anything"),
    ),
    "a cache to read from": (
        make_pipeline(StandardScaler(), PCAEmbedder(2)),
        lambda e, a: e["parameters"].update(memory="/tmp/anything"),
    ),
    "another step for the optimizer": (
        "streamed",
        lambda e, a: a.update(
            {k: a[k][:3] for k in a if k.startswith("_optimizer_state/mean")}
        ),
    ),
    "a network for other rows": (
        CUSTOM,
        lambda e, a: item(e, "_architecture", "input_shape", [50_000, 60_000]),
    ),
    "images of other rows": (
        "images",
        lambda e, a: e["state"]["_layout"]["object"]["state"].update(
            shape=[3, 2**20, 2**20]
        ),
    ),
    "channels nowhere": (
        "images",
        lambda e, a: e["state"]["_layout"]["object"]["state"].update(channels="inside"),
    ),
    "an index that is not fitted": (
        LatentNeighborsTransformer(),
        lambda e, a: (
            e["state"]["index_"]["object"].update(state={}),
            [a.pop(name) for name in list(a) if name.startswith("index_/")],
        ),
    ),
    "an output of no kind": (PCAEmbedder(2), lambda e, a: e.update(output="eval")),
    "more lists than rows": (
        LatentIndex(index_spec=LISTS),
        lambda e, a: (
            e["state"].update(index_spec_="IVF90000,PQ30x4fs,nprobe=4,rerank=3"),
            a.update({"_structure/centers": np.zeros((90_000, 30), np.float32)}),
        ),
    ),
    "a layer of a terabyte": (
        VAE,
        lambda e, a: item(e, "_architecture", "encoder_sizes", [30, 2**37, 6]),
    ),
    "a million layers": (
        VAE,
        lambda e, a: item(
            e, "_architecture", "encoder_sizes", [30] + [1] * 10**5 + [6]
        ),
    ),
    "weights that are no numbers": (
        VAE,
        lambda e, a: a.update({k: v * np.nan for k, v in a.items() if "weight" in k}),
    ),
}


def item(estimator, name, key, value):
    """Replace an item of a dict in the state."""
    assert key in estimator["state"][name]["dict"]
    estimator["state"][name]["dict"][key] = value


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused(name, tmp_path):
    estimator, change = ATTACKS[name]
    modules = MODULES if estimator is CUSTOM else None
    if estimator == "streamed":
        estimator = AutoencoderEmbedder(3, **SMALL).partial_fit(X)
    elif estimator == "images":
        estimator = AutoencoderEmbedder(3, **SMALL).fit(X.reshape(-1, 5, 6))
    elif estimator is not CUSTOM:
        estimator = clone(estimator).fit(np.tile(X, (2, 1)))
    path = altered(tmp_path / "model", estimator, change)
    with pytest.raises(FormatError):
        latentsk.load(path, modules=modules)
