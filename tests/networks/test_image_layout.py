"""Layouts of images: inferred, refused where they cannot be told, and inverted."""

import re

import numpy as np
import pytest

from latentsk.networks._image_layout import ImageLayout, layout_of, other_order

rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("image", "input_shape", "shape", "channels"),
    [
        ((28, 27), None, [1, 28, 27], "none"),
        ((3, 28, 27), None, [3, 28, 27], "first"),
        ((28, 27, 3), None, [3, 28, 27], "last"),
        ((28, 27, 1), None, [1, 28, 27], "last"),
        ((28, 27), (1, 28, 27), [1, 28, 27], "none"),
        ((1, 28, 27), (1, 28, 27), [1, 28, 27], "first"),
        ((28, 27, 3), np.array([3, 28, 27]), [3, 28, 27], "last"),
        ((32, 32, 5), (5, 32, 32), [5, 32, 32], "last"),
        ((32, 32, 5), (32, 32, 5), [32, 32, 5], "first"),
        ((3, 5, 3), (3, 5, 3), [3, 5, 3], "first"),
        ((3, 5, 3), (3, 3, 5), [3, 3, 5], "last"),
        ((4, 4, 1), (1, 4, 4), [1, 4, 4], "last"),
        ((1, 1, 1), (1, 1, 1), [1, 1, 1], "first"),
        ((8, 6), (8, 6), [8, 6], "first"),
        ((2, 4, 5, 6), (2, 4, 5, 6), [2, 4, 5, 6], "first"),
        ((4, 5, 6, 2), (2, 4, 5, 6), [2, 4, 5, 6], "last"),
    ],
)
def test_a_layout_is_found(image, input_shape, shape, channels):
    X = rng.normal(size=(2, *image))
    layout = layout_of(X.shape, X, input_shape)
    assert layout == ImageLayout(shape, channels)
    rows = layout.rows(X)
    # The pixel at a place is the feature that bears its name.
    for feature in range(0, rows.shape[1], 7):
        place = eval(layout.name_of_pixel(feature).replace(")", ",)"))
        if len(shape) == 3 and channels != "none":
            channel = place[2] if len(place) == 3 else 0
            first = channel, *place[:2]
            place = first if channels == "first" else (*place[:2], channel)
        elif channels == "last":
            place = *place[1:], place[0]
        assert rows[1, feature] == X[(1, *place)]
    assert np.array_equal(layout.images(rows), X)


@pytest.mark.parametrize("image", [(3, 5, 3), (32, 32, 5), (4, 4, 1), (2, 4, 5, 6)])
def test_what_the_message_says_to_set_is_taken(image):
    X = rng.normal(size=(2, *image))
    with pytest.raises(ValueError, match=r"told\. Set input_shape=") as error:
        layout_of(X.shape, X)
    shapes = [eval(s) for s in re.findall(r"input_shape=(\([^)]*\))", str(error.value))]
    first, last = (layout_of(X.shape, X, shape) for shape in shapes)
    assert first.channels == "first"
    assert last.channels == "last"
    assert np.array_equal(first.rows(X), X.reshape(2, -1))
    assert np.array_equal(last.rows(X), np.moveaxis(X, -1, 1).reshape(2, -1))


@pytest.mark.parametrize("input_shape", [None, (3, 3, 3)])
def test_equal_axes_are_refused_even_with_their_shape(input_shape):
    X = np.zeros((9, 3, 3, 3))
    with pytest.raises(ValueError, match=r"all axes are equal. Flatten .*transpose"):
        layout_of(X.shape, X, input_shape)


@pytest.mark.parametrize(
    ("image", "input_shape", "message"),
    [
        ((28, 28, 3), (3, 28, 32), r"\(n, 3, 28, 32\) or \(n, 28, 32, 3\)"),
        ((28, 28), (1, 28, 32), r"or \(n, 28, 32, 1\) or \(n, 28, 32\)"),
        ((28, 28), (3, 28, 28), r"shape \(9, 28, 28\), but input_shape=\(3, 28, 28\)"),
        # The parameter is (channels, height, width), not the shape of an image of X.
        (
            (28, 28, 3),
            (28, 28, 3),
            r"3 channels, which come last.* set .*\(3, 28, 28\)",
        ),
        (
            (28, 28, 1),
            (28, 28, 1),
            r"1 channels, which come last.* set .*\(1, 28, 28\)",
        ),
        ((3, 32, 32), (32, 3, 32), r"3 channels, which come first.*\(3, 32, 32\)"),
    ],
)
def test_other_images_are_refused(image, input_shape, message):
    X = np.zeros((9, *image))
    with pytest.raises(ValueError, match=message):
        layout_of(X.shape, X, input_shape)


@pytest.mark.parametrize("image", [(28, 27, 3), (3, 28, 27)])
def test_a_single_image_gets_advice(image):
    X = np.zeros(image)
    with pytest.raises(ValueError, match=r"Give a single image as X\[None\]"):
        layout_of(X.shape, X, (3, 28, 27))
    assert layout_of(X[None].shape, X[None], (3, 28, 27))


def smooth(n, height, width, channels):
    """Return images with channels last whose neighbours are alike."""
    noise = rng.normal(size=(n, height, width, channels))
    return noise.cumsum(axis=1).cumsum(axis=2)


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("size", [(8, 8), (16, 9)])
def test_the_order_of_flat_rows_is_seen(channels, size):
    images = smooth(20, *size, channels)
    shape = (channels, *size)
    last, first = images.reshape(20, -1), images.transpose(0, 3, 1, 2).reshape(20, -1)
    assert other_order(last, shape) == (*size, channels)
    assert other_order(first, shape) is None
    # The shape itself may be given with the channels last, too.
    assert other_order(last, (*size, channels)) == (*size, channels)


@pytest.mark.parametrize(
    "rows",
    [
        rng.normal(size=(50, 192)),
        np.zeros((50, 192)),
        rng.integers(0, 2, size=(50, 192)).astype(np.uint8),
        np.full((2, 192), 1e200),
        smooth(5, 8, 8, 3)
        .mean(axis=3, keepdims=True)
        .repeat(3, 3)
        .transpose(0, 3, 1, 2)
        .reshape(5, -1),
    ],
    ids=["noise", "constant", "bits", "huge", "grey in three channels"],
)
def test_rows_of_no_clear_order_are_left_alone(rows):
    assert other_order(rows, (3, 8, 8)) is None


def test_one_channel_has_one_order():
    assert other_order(smooth(5, 8, 8, 1).reshape(5, -1), (1, 8, 8)) is None
