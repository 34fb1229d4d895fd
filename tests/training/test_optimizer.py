"""FlatAdamW against torch's own AdamW, on parameters of every kind."""

import copy

import pytest
import torch
from torch import nn

from latentsk.training._optimizer import (
    ALIGNMENT,
    FlatAdamW,
    OptimizerSettings,
    clip,
)

RATE = 1e-2


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def initialized(network):
    for number, parameter in enumerate(network.parameters()):
        values = torch.randn(parameter.shape, generator=generator(number))
        parameter.data.copy_(values / 3)
    return network


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, rows):
        return self.second(torch.tanh(self.first(rows)))


class Frozen(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 4))
        self[0].requires_grad_(False)


class Counting(nn.Linear):
    """An integer buffer that every call changes."""

    def __init__(self):
        super().__init__(4, 4)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, rows):
        self.count += len(rows)
        return super().forward(rows)


class Unused(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)
        self.unused = nn.Parameter(torch.ones(5))


class Late(nn.Linear):
    """A parameter that is used from the third call on."""

    def __init__(self):
        super().__init__(4, 4)
        self.shift = nn.Parameter(torch.ones(4))
        self.calls = 0

    def forward(self, rows):
        self.calls += 1
        return super().forward(rows) + (self.shift if self.calls > 2 else 0.0)


class Mixed(nn.Module):
    """Parameters of float64 between those of float32."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.outer = nn.Linear(4, 4).double()

    def forward(self, rows):
        return self.outer(self.inner(rows).double()).float()


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.phase = nn.Parameter(torch.ones(4, dtype=torch.complex64))

    def forward(self, rows):
        return (self.inner(rows) * self.phase).abs()


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.head = nn.GRU(1, 4, batch_first=True), nn.Linear(4, 4)

    def forward(self, rows):
        return self.head(self.cells(rows[..., None])[0][:, -1])


def weight_normed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))


NETWORKS = {
    "plain": lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 4)),
    "one number": lambda: nn.Linear(4, 4, bias=False),
    "tied": Tied,
    "frozen": Frozen,
    "weight norm": weight_normed,
    "integer buffer": Counting,
    "float64": lambda: nn.Linear(4, 4).double(),
    "mixed": Mixed,
    "unused": Unused,
    "late": Late,
    "complex": Complex,
    "recurrent": Recurrent,
}
SETTINGS = {
    "plain": OptimizerSettings(),
    "decay": OptimizerSettings(weight_decay=0.3),
    "clipped": OptimizerSettings(clip_norm=0.1),
}


def batches(n_steps):
    drawn = generator(99)
    return [torch.randn(8, 4, generator=drawn) for _ in range(n_steps)]


def loss_of(network, rows):
    first = next(p for p in network.parameters() if p.is_floating_point())
    rows = rows.to(first.dtype)
    return (network(rows) - rows).square().sum(dim=1).mean()


def trained_by_torch(network, settings, n_steps):
    optimizer = torch.optim.AdamW(
        network.parameters(), RATE, weight_decay=settings.weight_decay
    )
    for rows in batches(n_steps):
        optimizer.zero_grad()
        loss_of(network, rows).backward()
        if settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimizer.step()


def trained(network, settings, n_steps):
    optimizer = FlatAdamW(network, settings)
    for rows in batches(n_steps):
        optimizer.zero_grad()
        loss_of(network, rows).backward()
        optimizer.step(torch.tensor(RATE))
    return optimizer


@pytest.mark.parametrize("settings", list(SETTINGS))
@pytest.mark.parametrize("name", list(NETWORKS))
def test_steps_are_those_of_torch(name, settings):
    ours = initialized(NETWORKS[name]())
    theirs = copy.deepcopy(ours)
    trained(ours, SETTINGS[settings], 6)
    trained_by_torch(theirs, SETTINGS[settings], 6)
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    for key, value in ours.state_dict().items():
        assert value.dtype == expected[key].dtype
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_parameters_and_gradients_are_views_of_aligned_vectors(name):
    network = initialized(NETWORKS[name]())
    optimizer = trained(network, OptimizerSettings(), 4)
    named = dict(network.named_parameters())
    listed = [key for names in optimizer.layout() for key in names]
    expected = {k for k, p in named.items() if p.requires_grad and k != "unused"}
    assert sorted(listed) == sorted(expected)
    for vector in optimizer.vectors:
        start = vector.parameters.untyped_storage().data_ptr()
        for key in vector.names:
            parameter = named[key]
            assert parameter.untyped_storage().data_ptr() == start
            if len(vector.names) > 1:
                assert parameter.storage_offset() % ALIGNMENT == 0
            gradients = vector.gradient.untyped_storage().data_ptr()
            assert parameter.grad.untyped_storage().data_ptr() == gradients


def test_parameters_of_one_dtype_are_one_vector():
    network = initialized(NETWORKS["plain"]())
    assert len(trained(network, OptimizerSettings(), 1).vectors) == 1
    assert len(trained(Mixed(), OptimizerSettings(), 1).vectors) == 2


@pytest.mark.parametrize("name", ["plain", "mixed", "unused", "late"])
def test_a_copy_continues_as_the_first_one_would(name):
    whole = initialized(NETWORKS[name]())
    trained(whole, SETTINGS["decay"], 3)
    halved = initialized(NETWORKS[name]())
    first = trained(halved, SETTINGS["decay"], 3)
    other = copy.deepcopy(halved)
    second = FlatAdamW(other, SETTINGS["decay"])
    second.load(first.layout(), first.memory())
    for network, optimizer in ((halved, first), (other, second)):
        for rows in batches(2):
            optimizer.zero_grad()
            loss_of(network, rows).backward()
            optimizer.step(torch.tensor(RATE))
    for key, value in halved.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)


@pytest.mark.parametrize("most", [0.1, 100.0])
def test_clipping_is_that_of_torch(most):
    parts = [torch.randn(n, generator=generator(n)) for n in (50, 7)]
    parameters = [nn.Parameter(torch.zeros(len(part))) for part in parts]
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.clone()
    nn.utils.clip_grad_norm_(parameters, most)
    clip(parts, most)
    for parameter, part in zip(parameters, parts, strict=True):
        torch.testing.assert_close(part, parameter.grad)
