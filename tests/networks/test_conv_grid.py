"""Convolutions between images and vectors on a grid."""

import pytest
import torch

from latentsk.networks._conv_grid import conv_grid_decoder, conv_grid_encoder
from latentsk.networks._mlp import initialize

SHAPE = (2, 9, 12)


def pair(**options):
    generator = torch.Generator().manual_seed(0)
    parts = (conv_grid_encoder, conv_grid_decoder)
    return [
        initialize(make(SHAPE, (4, 8), 3, **options), generator).eval()
        for make in parts
    ]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_shapes(dropout):
    encoder, decoder = pair(dropout=dropout)
    vectors = encoder(torch.zeros(5, 216))
    assert vectors.shape == (5, 3 * 3 * 3)
    assert decoder(vectors).shape == (5, 216)


def test_a_vector_sees_its_part_of_the_image_alone():
    encoder, _ = pair(normalize=False)
    image = torch.zeros(2, 3, 9, 12)[:, :2]
    image[1, :, 8, 11] = 5.0  # the lower right corner
    first, second = encoder(image.flatten(1)).unflatten(1, (9, 3))
    differs = (first != second).any(dim=1).reshape(3, 3)
    assert differs[2, 2]
    assert not differs[0].any()
    assert not differs[:, 0].any()


def test_vectors_of_a_place_are_side_by_side():
    encoder, _ = pair()
    layers = encoder[:-1]
    rows = torch.randn(2, 216, generator=torch.Generator().manual_seed(0))
    grid = layers(rows)
    expected = grid.permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(encoder(rows), expected)
