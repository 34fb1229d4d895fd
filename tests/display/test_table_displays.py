"""Displays of rows of a table: which features, and what the cells say."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_wine

from latentsk import LatentIndex, PCAEmbedder, VAEEmbedder
from latentsk.display import (
    InterpolationDisplay,
    NeighborsDisplay,
    ReconstructionDisplay,
    TraversalDisplay,
)
from latentsk.display._value_table import differences


@pytest.fixture(scope="module")
def wine():
    return load_wine(as_frame=True).data


@pytest.fixture(scope="module")
def pca(wine):
    return PCAEmbedder(3).fit(wine)


def texts(labels):
    return [label.get_text() for label in labels]


def test_features_that_differ_most_come_first(wine, pca):
    display = ReconstructionDisplay.from_estimator(pca, wine, n_rows=4, max_features=5)
    rows, made = wine.iloc[:4].to_numpy(), np.asarray(pca.reconstruct(wine.iloc[:4]))
    found = (rows - made) / wine.to_numpy().std(axis=0)
    order = np.argsort(-np.abs(found).max(axis=0))[:5]
    assert texts(display.ax_.get_yticklabels()) == list(wine.columns[order])
    assert_allclose(np.asarray(display.image_.get_array()), found[:, order].T)
    first = order[0]
    assert texts(display.ax_.texts)[0] == f"{rows[0, first]:.3g} → {made[0, first]:.3g}"


def test_strings_differ_or_do_not():
    left = pd.DataFrame({"a": [1.0, np.nan], "b": ["u", "v"]})
    right = pd.DataFrame({"a": [0.5, 2.0], "b": ["u", "w"]})
    assert_array_equal(differences(left, right), [[0.5, 0.0], [0.0, 1.0]])


def test_a_mixed_table_is_drawn(wine):
    mixed = wine[["alcohol", "hue"]].assign(kind=["red", "white"] * 89)
    vae = VAEEmbedder(2, likelihood={}, max_epochs=60, random_state=0).fit(mixed)
    display = ReconstructionDisplay.from_estimator(vae, mixed, n_rows=2)
    assert sorted(texts(display.ax_.get_yticklabels())) == ["alcohol", "hue", "kind"]
    InterpolationDisplay.from_estimator(vae, mixed.iloc[:3], n_steps=3)
    TraversalDisplay.from_estimator(vae, mixed)


def test_changes_of_a_journey_are_from_its_start(wine, pca):
    stops = wine.iloc[[0, 100, 150]]
    display = InterpolationDisplay.from_estimator(
        pca, stops, n_steps=3, labels=["a", "b", "c"], max_features=20
    )
    assert texts(display.ax_.get_xticklabels()) == ["a", "", "b", "", "c"]
    path = np.asarray(pca.reconstruct(stops))
    whole = np.array(
        [path[0], path[:2].mean(axis=0), path[1], path[1:].mean(axis=0), path[2]]
    )
    changes = (whole - whole[0]) / whole.std(axis=0)
    shown = texts(display.ax_.get_yticklabels())
    order = [wine.columns.get_loc(name) for name in shown]
    found = np.asarray(display.image_.get_array())
    assert_allclose(found, changes[:, order].T, rtol=1e-6, atol=1e-9)


def test_each_dimension_has_the_features_that_it_changes_most(wine, pca):
    display = TraversalDisplay.from_estimator(pca, wine, dimensions=[0, 2])
    names = texts(display.axes_[0].get_yticklabels())
    loadings = np.abs(pca.components_) / wine.to_numpy().std(axis=0)
    for i, dimension in enumerate((0, 2)):
        largest = wine.columns[np.argsort(-loadings[dimension])[:3]]
        expected = [f"latent {dimension}: {name}" for name in largest]
        assert names[3 * i : 3 * i + 3] == expected


def test_pairs_are_for_images(wine, pca):
    with pytest.raises(ValueError, match="Pairs of dimensions are drawn for images"):
        TraversalDisplay.from_estimator(pca, wine, dimensions=[(0, 1)])


def test_a_query_stands_beside_its_neighbours(wine):
    index = LatentIndex(PCAEmbedder(3)).fit(wine)
    display = NeighborsDisplay.from_estimator(index, wine.iloc[:1], wine, n_neighbors=2)
    distances, positions = index.kneighbors(wine.iloc[:1], 2)
    labels = texts(display.ax_.get_xticklabels())
    assert labels[0] == "query 0"
    assert labels[2].split() == [str(positions[0, 1]), "at", f"{distances[0, 1]:.3g}"]
    found = np.asarray(display.image_.get_array())
    names = texts(display.ax_.get_yticklabels())
    scale = wine[names].to_numpy().std(axis=0)
    other = wine[names].iloc[positions[0, 1]] - wine[names].iloc[0]
    assert_allclose(found[:, 2], other / scale)
    assert_array_equal(found[:, 0], 0.0)


def test_a_table_has_one_query(wine):
    index = LatentIndex(PCAEmbedder(3)).fit(wine)
    with pytest.raises(ValueError, match=r"give X\[:1\]"):
        NeighborsDisplay.from_estimator(index, wine.iloc[:2], wine)


def test_reconstructions_and_labels_are_as_many_as_rows():
    with pytest.raises(ValueError, match="2 rows need as many reconstructions"):
        ReconstructionDisplay([[1.0], [2.0]], [[1.0]]).plot()
    with pytest.raises(ValueError, match="and 1"):
        ReconstructionDisplay([[1.0], [2.0]], [[1.0], [2.0]], labels=["a"]).plot()
