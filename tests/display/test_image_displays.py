"""Displays of images: what is drawn is what the estimators return."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator

from latentsk import (
    AutoencoderEmbedder,
    LatentIndex,
    LatentOutlierDetector,
    PCAEmbedder,
    VAEEmbedder,
)
from latentsk.display import (
    ImageExplanationDisplay,
    InterpolationDisplay,
    NeighborsDisplay,
    ReconstructionDisplay,
    TraversalDisplay,
)
from latentsk.display._image_explanation import lowest_window
from latentsk.display._numbers import MINUS

SIDE = 8


@pytest.fixture(scope="module")
def digits():
    return load_digits().images[:300]


@pytest.fixture(scope="module")
def vae(digits):
    return VAEEmbedder(3, max_epochs=3, random_state=0).fit(digits)


def texts(labels):
    return [label.get_text() for label in labels]


def cell(image, row, column, gap=1, below=None):
    """Return a picture of a mosaic."""
    down = SIDE + (gap if below is None else below)
    top, left = row * down, column * (SIDE + gap)
    return np.asarray(image.get_array())[top : top + SIDE, left : left + SIDE]


def test_rows_reconstructions_and_differences_lie_below_each_other(digits, vae):
    display = ReconstructionDisplay.from_estimator(vae, digits, n_rows=3)
    made = vae.reconstruct(digits[:3])
    shown = digits[:3]
    middle = 0.5 * (shown.min() + shown.max())
    assert_allclose(cell(display.image_, 0, 2), shown[2])
    assert_allclose(cell(display.image_, 1, 2), made[2])
    difference = cell(display.image_, 2, 2) - middle
    assert_allclose(2.0 * difference, shown[2] - made[2], atol=1e-12)
    assert texts(display.ax_.get_xticklabels()) == ["0", "1", "2"]


def test_a_transformer_of_another_library_reconstructs_too(digits):
    flat = digits.reshape(len(digits), -1)
    pca = PCA(5).fit(flat)
    display = ReconstructionDisplay.from_estimator(
        pca, flat, n_rows=1, image_shape=(SIDE, SIDE), labels=["a"] * len(flat)
    )
    made = pca.inverse_transform(pca.transform(flat[:1]))
    assert_allclose(cell(display.image_, 1, 0).ravel(), made[0])
    assert texts(display.ax_.get_xticklabels()) == ["a"]


def test_a_journey_is_what_interpolate_returns_leg_by_leg(digits, vae):
    stops = digits[[4, 7, 9]]
    display = InterpolationDisplay.from_estimator(
        vae, stops, n_steps=5, method="slerp", labels=["4", "7", "9"]
    )
    legs = [vae.interpolate(stops[i], stops[i + 1], 5, "slerp") for i in (0, 1)]
    assert_allclose(cell(display.image_, 1, 3), legs[1][3])
    assert_allclose(cell(display.image_, 0, 4), cell(display.image_, 1, 0))
    assert texts(display.ax_.get_yticklabels()) == ["4 to 7", "7 to 9"]


def test_a_journey_without_interpolate_is_decoded(digits):
    flat = digits.reshape(len(digits), -1)
    pca = PCA(5).fit(flat)
    display = InterpolationDisplay.from_estimator(
        pca, flat[:2], n_steps=3, image_shape=(SIDE, SIDE)
    )
    middle = pca.inverse_transform(pca.transform(flat[:2]).mean(axis=0)[None])
    assert_allclose(cell(display.image_, 0, 1).ravel(), middle[0])


def test_the_middle_of_a_journey_is_half_way_by_default(digits, vae):
    display = InterpolationDisplay.from_estimator(vae, digits[[4, 7]])
    half_way = vae.inverse_transform(vae.transform(digits[[4, 7]]).mean(axis=0)[None])
    assert len(display.legs[0]) == 9
    assert_allclose(display.legs[0][4], half_way[0], rtol=1e-5, atol=1e-5)


def test_a_journey_needs_two_stops_and_a_label_for_each(digits, vae):
    with pytest.raises(ValueError, match="2 rows or more"):
        InterpolationDisplay.from_estimator(vae, digits[:1])
    with pytest.raises(ValueError, match="labels must be 2"):
        InterpolationDisplay.from_estimator(vae, digits[:2], labels=["a"])
    with pytest.raises(ValueError, match="method must be one of"):
        InterpolationDisplay.from_estimator(vae, digits[:2], method="straight")


def test_lines_are_what_traverse_returns_and_squares_what_is_decoded(digits, vae):
    display = TraversalDisplay.from_estimator(
        vae, digits, 5, dimensions=[1, (0, 2)], values=[-1.0, 0.0, 2.0]
    )
    line = vae.traverse(digits[5], 1, [-1.0, 0.0, 2.0])
    assert_allclose(cell(display.images_[0], 0, 2), line[2])
    latents = vae.transform(digits[5:6])
    latents[0, [0, 2]] = -1.0, 2.0
    decoded = vae.inverse_transform(latents)
    assert_allclose(cell(display.images_[1], 0, 2), decoded[0], rtol=1e-6)
    assert texts(display.axes_[0].get_xticklabels()) == [f"{MINUS}1", "0", "2"]
    assert display.axes_[1].get_ylabel() == "latent 0"


def test_dimensions_are_those_that_vary_most_and_values_two_deviations(digits):
    pca = PCAEmbedder(20).fit(digits.reshape(len(digits), -1))
    flat = digits.reshape(len(digits), -1)
    display = TraversalDisplay.from_estimator(pca, flat, image_shape=(SIDE, SIDE))
    latents = pca.transform(flat)
    assert display.dimensions == list(range(8))
    assert_allclose(display.values[3, -1], 2.0 * latents[:, 3].std(), rtol=1e-6)
    assert texts(display.axes_[0].get_xticklabels())[0] == f"{MINUS}2 sd"


@pytest.mark.parametrize("dimensions", [[3], [-1], [], [(0, 1, 2)], [(0, 3)], ["a"]])
def test_unknown_dimensions_are_refused(digits, vae, dimensions):
    with pytest.raises(ValueError, match="dimensions must be integers from 0 to 2"):
        TraversalDisplay.from_estimator(vae, digits, dimensions=dimensions)


def test_neighbours_are_those_of_the_index(digits):
    flat = digits.reshape(len(digits), -1)
    names = [f"digit {i}" for i in range(10, 300)]
    index = LatentIndex(PCAEmbedder(10)).fit(flat[10:], ids=names)
    display = NeighborsDisplay.from_estimator(
        index, flat[:2], flat[10:], n_neighbors=3, image_shape=(SIDE, SIDE)
    )
    distances, positions = index.kneighbors(flat[:2], 3)
    assert_array_equal(display.ids, np.asarray(names)[positions])
    assert_allclose(display.distances, distances)
    found = cell(display.image_, 1, 2, below=2)
    assert_allclose(found, digits[10:][positions[1, 1]])
    written = texts(display.ax_.texts)
    assert f"digit {positions[0, 0] + 10}: {distances[0, 0]:.3g}" in written
    assert display.ax_.get_xlabel() == "id: distance to the query"


def test_neighbours_need_all_rows_of_the_index(digits):
    flat = digits.reshape(len(digits), -1)
    index = LatentIndex().fit(flat[10:])
    with pytest.raises(ValueError, match="rows must be the 290 rows of the index"):
        NeighborsDisplay.from_estimator(index, flat[:2], flat, image_shape=(8, 8))


def test_the_heat_map_is_the_score_map_and_the_window_the_lowest(digits):
    embedder = AutoencoderEmbedder(5, score_window=3, max_epochs=3, random_state=0)
    embedder.fit(digits)
    scratched = digits[:2].copy()
    scratched[1, 1:4, 4:7] = 16.0 - scratched[1, 1:4, 4:7]
    display = ImageExplanationDisplay.from_estimator(embedder, scratched, row=1)
    maps = embedder.score_map(scratched)[1]
    assert_allclose(np.asarray(display.heat_map_.get_array()), maps)
    score = embedder.score_samples(scratched)[1]
    assert_allclose(display.score, score)
    top, left = lowest_window(maps, 3)
    assert_allclose(maps[top : top + 3, left : left + 3].sum(), score, rtol=1e-5)
    assert display.frame_.get_xy() == (left - 0.5, top - 0.5)


def test_a_detector_explains_images_by_its_reasons(digits):
    flat = digits.reshape(len(digits), -1)
    detector = LatentOutlierDetector(PCAEmbedder(10), random_state=0).fit(flat)
    display = ImageExplanationDisplay.from_estimator(
        detector, flat, row=4, image_shape=(SIDE, SIDE)
    )
    reasons = detector.explain(flat[4:5])["contribution"].to_numpy()
    assert_allclose(display.contributions.ravel(), reasons)
    assert_allclose(display.contributions.sum(), display.score, rtol=1e-6)


@pytest.mark.parametrize("window", [None, 3])
def test_a_detector_with_the_score_of_its_embedder_has_its_picture(digits, window):
    embedder = AutoencoderEmbedder(
        5, score_window=window, max_epochs=3, random_state=0
    ).fit(digits)
    detector = LatentOutlierDetector(embedder, method="embedder_score").fit(digits)
    frozen = LatentOutlierDetector(FrozenEstimator(embedder), method="embedder_score")
    for estimator in (detector, frozen.fit(digits)):
        display = ImageExplanationDisplay.from_estimator(estimator, digits, row=4)
        assert_allclose(display.contributions, embedder.score_map(digits[4:5])[0])
        assert display.window == window
        assert_allclose(display.score, embedder.score_samples(digits[4:5])[0])


def test_a_detector_with_a_score_of_its_own_has_no_window(digits):
    embedder = AutoencoderEmbedder(5, score_window=3, max_epochs=3, random_state=0)
    detector = LatentOutlierDetector(embedder, random_state=0).fit(digits)
    display = ImageExplanationDisplay.from_estimator(detector, digits, row=4)
    assert display.window is None
    assert_allclose(display.contributions.sum(), display.score, rtol=1e-6)


@pytest.mark.parametrize("n_channels", [None, 3, 4])
def test_the_image_below_the_heat_map_is_light_and_no_negative(n_channels):
    image = np.zeros((8, 6))
    image[2:4, 1:3] = 1.0
    if n_channels is not None:
        image = np.repeat(image[..., None], n_channels, axis=2)
    display = ImageExplanationDisplay(image, -np.ones((8, 6))).plot()
    below = np.asarray(display.axes_[1].images[0].get_array())
    assert_allclose(below[2:4, 1:3], 1.0)  # white is white
    assert_allclose(below[5:], 0.6)  # and black a light grey


@pytest.mark.parametrize("shape", [(8, 8), (8, 20), (20, 8)])
@pytest.mark.parametrize("is_given", [False, True])
def test_both_panels_have_one_size(shape, is_given):
    axes = plt.subplots(1, 2)[1] if is_given else None
    display = ImageExplanationDisplay(np.ones(shape), -np.ones(shape)).plot(axes)
    display.figure_.canvas.draw()
    sizes = [ax.get_window_extent().size for ax in display.axes_]
    assert_allclose(sizes[0], sizes[1], rtol=1e-6)


def test_flat_rows_need_their_shape(digits):
    flat = digits.reshape(len(digits), -1)
    embedder = PCAEmbedder(2).fit(flat)
    with pytest.raises(ValueError, match=r"image_shape=\(height, width\)"):
        ImageExplanationDisplay.from_estimator(embedder, flat)
    with pytest.raises(ValueError, match=r"row must be an integer in \[0, 300\)"):
        ImageExplanationDisplay.from_estimator(embedder, flat, 300, image_shape=(8, 8))


def test_pictures_are_drawn_on_axes_that_are_given(digits, vae):
    ax = plt.subplots()[1]
    assert ReconstructionDisplay.from_estimator(vae, digits, ax=ax).ax_ is ax
    axes = plt.subplots(1, 2)[1]
    display = ImageExplanationDisplay.from_estimator(vae, digits, axes=axes)
    assert list(display.axes_) == list(axes)
    with pytest.raises(ValueError, match="axes must be 2"):
        ImageExplanationDisplay.from_estimator(vae, digits, axes=ax)
