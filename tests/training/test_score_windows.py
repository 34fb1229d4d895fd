"""Sums over windows against a loop over all of them."""

import numpy as np
import pytest
import torch

from latentsk.training._inference import Inference
from latentsk.training._score_windows import (
    WindowInference,
    lowest_window,
    pixel_sums,
    require_window,
    window_sums,
)

generator = torch.Generator().manual_seed(0)
SHAPES = [(1, 5, 7), (3, 6, 4), (2, 1, 1)]


def brute_force(maps, size):
    """Return every window's sum, as scores are summed by hand."""
    n, height, width = maps.shape
    sums = np.empty((n, height - size + 1, width - size + 1))
    for i in range(height - size + 1):
        for j in range(width - size + 1):
            sums[:, i, j] = maps[:, i : i + size, j : j + size].sum(axis=(1, 2))
    return sums


class Given(Inference):
    """Contributions that are the rows themselves."""

    rows_per_score, rows_per_contribution = 100, 7

    def encode(self, network, rows):
        return rows[:, :2]

    def decode(self, network, latents):
        return latents

    def score(self, network, rows):
        raise AssertionError("the window's score is its own")

    def contributions(self, network, rows):
        return rows


def rows_of(shape, dtype=torch.float64):
    return torch.randn(9, int(np.prod(shape)), generator=generator, dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_channels_are_summed(shape):
    rows = rows_of(shape)
    expected = rows.numpy().reshape(9, *shape).sum(axis=1)
    assert np.allclose(pixel_sums(rows, shape), expected, rtol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_windows_are_summed(size, dtype):
    maps = rows_of((5, 7), dtype).reshape(9, 5, 7)
    rtol = 1e-5 if dtype == torch.float32 else 1e-13
    found = window_sums(maps, size)
    assert found.dtype == dtype
    assert np.allclose(found, brute_force(maps.numpy(), size), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_score_is_the_lowest_window_and_contributions_add_up(shape, size):
    if size > min(shape[1:]):
        pytest.skip("larger than the image")
    rows = rows_of(shape)
    inference = WindowInference(Given(), shape, size)
    scores = inference.score(None, rows).numpy()
    maps = rows.numpy().reshape(9, *shape).sum(axis=1)
    sums = brute_force(maps, size)
    assert np.allclose(scores, sums.min(axis=(1, 2)), rtol=1e-12)
    parts = inference.contributions(None, rows).numpy().reshape(9, *shape)
    assert np.allclose(parts.sum(axis=(1, 2, 3)), scores, rtol=1e-12)
    for n in range(9):
        i, j = np.unravel_index(sums[n].argmin(), sums[n].shape)
        expected = np.zeros(shape)
        window = slice(i, i + size), slice(j, j + size)
        expected[:, *window] = rows[n].numpy().reshape(shape)[:, *window]
        assert np.array_equal(parts[n], expected)


def test_the_first_of_equal_windows_is_taken():
    _, inside = lowest_window(torch.zeros(2, 3, 4), 2)
    assert inside.sum(dim=(1, 2)).tolist() == [4, 4]
    assert inside[:, :2, :2].all()


def test_scores_stay_finite():
    rows = torch.full((1, 16), torch.finfo(torch.float32).min)
    score = WindowInference(Given(), (1, 4, 4), 3).score(None, rows)
    assert score.tolist() == [torch.finfo(torch.float32).min]


def test_all_else_is_that_of_the_other_inference():
    inference = WindowInference(Given(), (1, 2, 2), 1)
    assert inference.rows_per_score == inference.rows_per_contribution == 7
    rows = rows_of((1, 2, 2))
    assert torch.equal(inference.encode(None, rows), rows[:, :2])
    assert torch.equal(inference.decode(None, rows), rows)


@pytest.mark.parametrize(
    ("size", "shape", "message"),
    [
        (3, None, "score_window needs images. Fit on"),
        (3, (8, 8), r"score_window needs images.*, not \(8, 8\)"),
        (
            5,
            (3, 4, 9),
            "score_window=5 is larger than images of 4 x 9 pixels. Set .*=3",
        ),
        (2, (1, 1, 9), "Set score_window=1, or None"),
    ],
)
def test_windows_that_do_not_fit_are_refused(size, shape, message):
    with pytest.raises(ValueError, match=message):
        require_window(size, shape)
