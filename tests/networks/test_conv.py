"""Convolutional networks against torch's functions and numbers worked out by hand."""

import pytest
import torch
from torch.nn import functional as F

from latentsk.networks._autoencoder import Autoencoder
from latentsk.networks._conv import Pad, conv_decoder, conv_encoder
from latentsk.networks._mlp import Dropout, initialize

SHAPES = [
    (1, 8, 8),
    (3, 8, 8),
    (1, 9, 9),
    (1, 28, 28),
    (3, 33, 17),
    (2, 4, 31),
    (1, 5, 4),
]
TINY = (1, 5, 4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def encoder(input_shape, channels, n_outputs, **options):
    network = conv_encoder(input_shape, channels, n_outputs, **options)
    return initialize(network, generator())


def decoder(input_shape, channels, n_inputs, **options):
    network = conv_decoder(input_shape, channels, n_inputs, **options)
    return initialize(network, generator())


def autoencoder(input_shape, channels, n_latents, **options):
    return Autoencoder(
        encoder(input_shape, channels, n_latents, **options),
        decoder(input_shape, channels, n_latents, **options),
    )


def flat_rows(n_rows, input_shape, dtype=torch.float32):
    n_features = torch.Size(input_shape).numel()
    return torch.randn(n_rows, n_features, generator=generator(1), dtype=dtype)


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("input_shape", SHAPES)
@pytest.mark.parametrize("channels", [(4,), (4, 6), [3, 10]])
@pytest.mark.parametrize("normalize", [False, True])
def test_rows_become_latents_and_rows_again(input_shape, channels, normalize):
    network = autoencoder(input_shape, channels, 5, normalize=normalize, dropout=0.5)
    rows = flat_rows(3, input_shape)
    output, latents = network(rows)
    assert latents.shape == (3, 5)
    assert output.shape == rows.shape
    assert output.isfinite().all()


@pytest.mark.parametrize("n_stages", [1, 2, 3])
def test_an_image_of_the_least_size(n_stages):
    input_shape = (1, 2**n_stages, 2**n_stages)
    network = autoencoder(input_shape, (8,) * n_stages, 2)
    rows = flat_rows(2, input_shape)
    assert network(rows)[0].shape == rows.shape


def test_encoder_is_the_formula():
    network = encoder((2, 5, 4), (4,), 3, activation="tanh")
    rows = flat_rows(6, (2, 5, 4))
    convolution, norm, last = network[2], network[3], network[-1]
    # Height 5 to 6: the row of zeros at the end.
    images = torch.zeros(6, 2, 6, 4)
    images[:, :, :5] = rows.reshape(6, 2, 5, 4)
    images = F.conv2d(images, convolution.weight, convolution.bias, padding=1)
    # Four channels in four groups: each channel of each image by itself.
    spread = images.var(dim=(2, 3), correction=0, keepdim=True)
    images = (images - images.mean(dim=(2, 3), keepdim=True)) / torch.sqrt(
        spread + 1e-5
    )
    assert torch.equal(norm.weight, torch.ones(4))
    images = torch.tanh(images).reshape(6, 4, 3, 2, 2, 2).amax(dim=(3, 5))
    expected = images.reshape(6, -1) @ last.weight.T + last.bias
    torch.testing.assert_close(network(rows), expected, rtol=1e-4, atol=1e-5)


def test_decoder_is_the_formula():
    network = decoder((2, 5, 7), (4, 6), 3, activation="elu", normalize=False)
    latents = torch.randn(6, 3, generator=generator(1))
    first, middle, last = network[0], network[3], network[5]
    images = F.elu(latents @ first.weight.T + first.bias).reshape(6, 6, 2, 2)
    images = F.conv_transpose2d(images, middle.weight, middle.bias, 2, 1)
    images = F.conv_transpose2d(F.elu(images), last.weight, last.bias, 2, 1)
    # 8 x 8 to 5 x 7: of three rows too many, one is at the start; of one column, none.
    expected = images[:, :, 1:6, :7].reshape(6, -1)
    torch.testing.assert_close(network(latents), expected)


def test_padding_is_torchs():
    images = torch.randn(2, 3, 5, 7, generator=generator())
    padded = Pad((0, 1, 1, 2))(images)
    torch.testing.assert_close(padded, F.pad(images, (0, 1, 1, 2)), rtol=0, atol=0)
    assert padded.shape == (2, 3, 8, 8)


@pytest.mark.parametrize(
    ("input_shape", "n_stages", "margins"),
    [
        ((1, 8, 8), 3, (0, 0, 0, 0)),
        ((1, 9, 9), 1, (0, 1, 0, 1)),
        ((1, 28, 28), 3, (2, 2, 2, 2)),
        ((3, 33, 17), 3, (3, 4, 3, 4)),
        ((1, 5, 4), 2, (0, 0, 1, 2)),
    ],
)
def test_what_is_missing_is_added_on_both_sides(input_shape, n_stages, margins):
    channels = (4,) * n_stages
    assert conv_encoder(input_shape, channels, 2)[1].margins == margins
    decoder = conv_decoder(input_shape, channels, 2)
    removed = [part.padding for part in decoder if isinstance(part, torch.nn.ZeroPad2d)]
    assert removed == [tuple(-margin for margin in margins)] * any(margins)


def test_number_of_parameters():
    shape, channels = (1, 32, 32), (32, 128, 256)
    convolutions = (1 * 9 + 1) * 32 + (32 * 9 + 1) * 128 + (128 * 9 + 1) * 256
    norms = 2 * (32 + 128 + 256)
    linear = (256 * 4 * 4 + 1) * 10
    assert convolutions + norms + linear == 374_282
    assert n_parameters(conv_encoder(shape, channels, 10)) == 374_282

    linear = (10 + 1) * 256 * 4 * 4
    doublings = (256 * 16 + 1) * 128 + (128 * 16 + 1) * 32 + (32 * 16 + 1) * 1
    norms = 2 * (128 + 32)
    assert linear + doublings + norms == 635_873
    assert n_parameters(conv_decoder(shape, channels, 10)) == 635_873


@pytest.mark.parametrize(
    ("n_channels", "n_groups"), [(1, 1), (7, 7), (8, 8), (10, 5), (11, 1), (64, 8)]
)
def test_groups_divide_the_channels(n_channels, n_groups):
    assert conv_encoder((1, 4, 4), (n_channels,), 2)[3].num_groups == n_groups
    assert conv_decoder((1, 4, 4), (2, n_channels), 2)[4].num_groups == 2


@pytest.mark.parametrize("input_shape", [(1, 9, 9), (3, 33, 17)])
def test_a_row_does_not_depend_on_the_others(input_shape):
    network = autoencoder(input_shape, (4, 16), 5, dropout=0.5).double().eval()
    rows = flat_rows(6, input_shape, torch.float64)
    together, _ = network(rows)
    alone = torch.cat([network(row[None])[0] for row in rows])
    torch.testing.assert_close(alone, together, rtol=1e-10, atol=1e-12)


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    first, second = (autoencoder(TINY, (4, 6), 2, dropout=0.5) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    for value, again in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(value, again)


def test_masks_come_from_outside():
    network = encoder(TINY, (4,), 3, dropout=0.5)
    rows = flat_rows(2, TINY)
    # Nothing of the second image is left: its output is the bias.
    mask = torch.tensor([1.0, 0.0])[:, None].expand(2, 4 * 3 * 2)
    (name,) = (
        f"{path}.mask"
        for path, layer in network.named_modules()
        if isinstance(layer, Dropout)
    )
    output = torch.func.functional_call(network, {name: mask}, (rows,))
    torch.testing.assert_close(output[0], network(rows)[0])
    torch.testing.assert_close(output[1], network[-1].bias)


def reconstruction(network, rows):
    def loss(parameters):
        output, _ = torch.func.functional_call(network, parameters, (rows,))
        return (output - rows).square().sum()

    return loss


def test_gradients_are_those_of_finite_differences():
    network = autoencoder((1, 3, 2), (2,), 1, activation="tanh").double()
    loss = reconstruction(network, flat_rows(2, (1, 3, 2), torch.float64))
    names, values = zip(*network.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(
        lambda *values: loss(dict(zip(names, values, strict=True))), values
    )


@pytest.mark.parametrize("compiled", [False, True])
def test_functional_gradients_are_autograds(compiled):
    network = autoencoder((1, 5, 4), (4, 6), 2).double()
    rows = flat_rows(3, (1, 5, 4), torch.float64)
    parameters = {k: v.detach() for k, v in network.named_parameters()}
    gradient = torch.func.grad(reconstruction(network, rows))
    if compiled:
        # The graph is what is tested; making kernels of it takes long.
        gradient = torch.compile(gradient, fullgraph=True, backend="aot_eager")
    found = gradient(parameters)
    (network(rows)[0] - rows).square().sum().backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


@pytest.mark.slow
def test_compiled_networks_are_the_same():
    network = autoencoder((1, 9, 9), (4, 6), 2, dropout=0.5)
    rows = flat_rows(3, (1, 9, 9))
    compiled = torch.compile(network, fullgraph=True)
    torch.testing.assert_close(compiled(rows)[0], network(rows)[0])


@pytest.mark.gpu
@pytest.mark.parametrize("margins", [(0, 0, 0, 0), (0, 1, 1, 2)])
def test_channels_are_last_on_a_gpu(margins):
    images = torch.randn(2, 3, 5, 7, generator=generator())
    padded = Pad(margins)(images.cuda())
    assert padded.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(padded.cpu(), F.pad(images, margins))


@pytest.mark.gpu
def test_a_gpu_computes_the_same():
    network = autoencoder((3, 33, 17), (4, 16), 5).double()
    rows = flat_rows(4, (3, 33, 17), torch.float64)
    parameters = {k: v.detach() for k, v in network.named_parameters()}
    expected = torch.func.grad(reconstruction(network, rows))(parameters)
    on_gpu = {k: v.cuda() for k, v in parameters.items()}
    found = torch.func.grad(reconstruction(network.cuda(), rows.cuda()))(on_gpu)
    for name, value in expected.items():
        torch.testing.assert_close(found[name].cpu(), value)


def test_digits_are_learnt(digits):
    rows = torch.tensor(digits[0] / 16, dtype=torch.float32)
    network = autoencoder((1, 8, 8), (16, 32), 16)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    # Over seeds, 400 steps leave 19 to 22 percent of the error of the mean image.
    order = generator(1)
    for _ in range(400):
        batch = rows[torch.randint(len(rows), (128,), generator=order)]
        optimizer.zero_grad()
        (network(batch)[0] - batch).square().sum(dim=1).mean().backward()
        optimizer.step()
    with torch.no_grad():
        error = (network(rows)[0] - rows).square().sum()
    assert error < 0.3 * (rows - rows.mean(dim=0)).square().sum()
