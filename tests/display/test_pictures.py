"""Rows as pictures: which shape, and where each pixel comes to lie."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from latentsk import AutoencoderEmbedder, LatentOutlierDetector, PCAEmbedder
from latentsk.display._pictures import draw_mosaic, image_shape_of, mosaic, pictures


@pytest.fixture(scope="module")
def embedder():
    rows = np.random.default_rng(0).random((60, 48))
    return AutoencoderEmbedder(
        2, input_shape=(3, 4, 4), max_epochs=1, random_state=0
    ).fit(rows)


def test_the_shape_is_what_is_said_first_then_that_of_arrays_then_the_estimator(
    embedder,
):
    flat = np.zeros((2, 48))
    assert image_shape_of(embedder, flat, (6, 8)) == (1, 6, 8)
    assert image_shape_of(embedder, np.zeros((2, 6, 8))) == (1, 6, 8)
    assert image_shape_of(embedder, flat) == (3, 4, 4)
    assert image_shape_of(None, flat) is None
    assert image_shape_of(None, np.zeros((2, 3, 8, 8))) == (3, 8, 8)


def test_a_pipeline_and_a_detector_tell_the_shape_of_their_embedder(embedder):
    flat = np.random.default_rng(1).random((40, 48))
    inside = make_pipeline(FunctionTransformer(), embedder)
    assert image_shape_of(inside, flat) == (3, 4, 4)
    detector = LatentOutlierDetector(embedder, random_state=0).fit(flat)
    assert image_shape_of(detector, flat) == (3, 4, 4)
    plain = LatentOutlierDetector(PCAEmbedder(2), random_state=0).fit(flat)
    assert image_shape_of(plain, flat) is None


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((7, 7), "stands for 49 values, but a row of X has 48"),
        ((48,), r"must be \(height, width\) or \(channels, height, width\), got"),
        ((4.0, 12), r"must be \(height, width\) or"),
    ],
)
def test_shapes_that_rows_do_not_have_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        image_shape_of(None, np.zeros((2, 48)), shape)


def test_flat_rows_have_their_channels_first_and_pictures_last():
    rows = np.arange(2 * 3 * 6 * 5).reshape(2, 90)
    found = pictures(rows, (3, 6, 5))
    assert found.shape == (2, 6, 5, 3)
    assert_array_equal(found[1, :, :, 2], rows.reshape(2, 3, 6, 5)[1, 2])
    assert_array_equal(pictures(found, (3, 6, 5)), found)  # channels last already
    assert pictures(np.zeros((2, 6, 5)), (1, 6, 5)).shape == (2, 6, 5)


def test_each_picture_has_its_place_in_a_mosaic():
    grid = np.arange(6.0).reshape(2, 3, 1, 1) * np.ones((1, 1, 4, 2))
    whole = mosaic(grid, (3, 1))
    assert whole.shape == (2 * 4 + 3, 3 * 2 + 2)
    for row in range(2):
        for column in range(3):
            top, left = row * 7, column * 3
            found = whole[top : top + 4, left : left + 2]
            assert_array_equal(found, grid[row, column])
    assert np.isnan(whole).sum() == whole.size - grid.size


def test_colours_are_drawn_as_they_are_and_gaps_transparent():
    grid = np.zeros((1, 2, 2, 2, 3))
    grid[0, 0, ..., 0], grid[0, 1, ..., 2] = 255.0, 51.0
    image = draw_mosaic(plt.subplots()[1], grid, (0.0, 255.0))
    shown = np.asarray(image.get_array())
    assert_allclose(shown[0, 0], [1.0, 0.0, 0.0, 1.0])
    assert_allclose(shown[0, 3], [0.0, 0.0, 0.2, 1.0])
    assert shown[0, 2, 3] == 0.0
