"""Arrays of images: recognized, and flattened by the code that messages give."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

from latentsk._images import (
    MappedImages,
    as_images,
    channels_seen,
    finite_only,
    flattening,
)

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 255, size=(5, 7, 6, 3), dtype=np.uint8)


class Photo:
    """An image of another library, as Pillow's are."""

    def __init__(self, pixels):
        self.__array_interface__ = pixels.__array_interface__
        self.pixels = pixels


@pytest.mark.parametrize(
    "X",
    [
        IMAGES,
        torch.from_numpy(IMAGES),
        torch.from_numpy(IMAGES / 1.0).requires_grad_(),
        list(IMAGES),
        tuple(torch.from_numpy(IMAGES)),
        IMAGES.tolist(),
        [Photo(np.ascontiguousarray(image)) for image in IMAGES],
    ],
    ids=["array", "tensor", "gradient", "list", "tensors", "nested", "photos"],
)
def test_images_are_recognized(X):
    assert np.array_equal(as_images(X), IMAGES)


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((3, 2)),
        torch.zeros(3, 2),
        [[0.0, 1.0]],
        [np.zeros(2)],
        [],
        ["a text"],
        [[1.0], [2.0, 3.0]],
        [[[1.0], [2.0, 3.0]]],
        pd.DataFrame({"a": [1.0]}),
        csr_array((3, 2)),
        None,
        "text",
        np.zeros(3),
    ],
    ids=str,
)
def test_other_rows_are_not(X):
    assert as_images(X) is None


def test_images_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(8, 8\) in row 0, \(8, 9\) in row 2. Resi"):
        as_images([np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((8, 9))])


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((9, 28, 28), "none"),
        ((9, 2, 2), "none"),
        ((9, 1, 28, 28), "first"),
        ((9, 28, 28, 1), "last"),
        ((9, 3, 5, 5), "first"),
        ((9, 5, 5, 3), "last"),
        ((9, 4, 100, 5), "first"),
        ((9, 224, 4, 4), "last"),
        ((9, 4, 4, 224), "first"),
        ((9, 3, 3, 3), None),
        ((9, 3, 32, 4), None),
        ((9, 1, 28, 3), None),
        ((9, 32, 32, 5), None),
        ((9, 8, 8, 8), None),
        ((9, 3, 8, 8, 8), None),
    ],
)
def test_where_channels_are_seen(shape, channels):
    assert channels_seen(shape) == channels


def channels_first(images):
    """Flatten images with channels last, one value at a time."""
    n, height, width, channels = images.shape
    rows = np.empty((n, channels * height * width), images.dtype)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                rows[:, (c * height + i) * width + j] = images[:, i, j, c]
    return rows


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, list])
def test_the_code_that_flattens_is_right(kind):
    X = kind(IMAGES)
    code = flattening(X, IMAGES.shape)
    assert np.array_equal(eval(code), channels_first(IMAGES))
    X = kind(np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2)))
    code = flattening(X, (5, 3, 7, 6))
    assert np.array_equal(eval(code), channels_first(IMAGES))


def test_the_code_for_either_layout_is_right():
    X = IMAGES[:, :3, :3]  # 3 x 3 x 3
    first, last = flattening(X, X.shape).split(" if channels come first, ")
    assert np.array_equal(eval(first), X.reshape(5, -1))
    assert np.array_equal(eval(last.split(" if ")[0]), channels_first(X))


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, list])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_code_that_leaves_images_out_is_right(kind, bad):
    images = IMAGES / 1.0
    images[2, 3, 1, 0] = bad
    X = kind(images)
    kept = eval(finite_only(X))
    assert np.array_equal(np.stack(list(kept)), images[[0, 1, 3, 4]])


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_mapped_images_are_read_as_flat_rows(dtype):
    rows, expected = MappedImages(IMAGES, np.dtype(dtype)), channels_first(IMAGES)
    assert rows.shape == expected.shape
    assert len(rows) == 5
    assert rows.size == expected.size
    for some in (slice(1, 3), [4, 0], 2, -1, np.array([True, False] * 2 + [True])):
        assert np.array_equal(rows[some], expected[some])
        assert rows[some].dtype == dtype
    assert np.array_equal(rows[1:4, :], expected[1:4])
    assert np.array_equal(np.asarray(rows), expected)
    assert np.asarray(rows, np.float64).dtype == np.float64
