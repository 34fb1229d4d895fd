"""Multilayer perceptrons whose randomness comes from outside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class Dropout(nn.Module):
    """Multiply by a mask that the caller draws; do nothing in eval mode.

    torch's own dropout draws from the global generator, inside the graph. Here the mask
    is a buffer, set before each batch.

    Parameters
    ----------
    rate : float in [0, 1)
        Share of the units that are dropped.

    shape : int or tuple of int
        Units of one row.

    Examples
    --------
    >>> dropout = Dropout(0.5, 3)
    >>> dropout.mask = torch.tensor([[2.0, 0.0, 2.0]])
    >>> dropout(torch.ones(1, 3))
    tensor([[2., 0., 2.]])
    >>> dropout.eval()(torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    mask: torch.Tensor

    def __init__(self, rate: float, shape: int | tuple[int, ...]) -> None:
        super().__init__()
        self.rate = rate
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.register_buffer("mask", self._ones(), persistent=False)

    def _ones(self) -> torch.Tensor:
        return torch.ones(self.shape, dtype=torch.float32)

    def draw(self, n_rows: int, generator: torch.Generator) -> torch.Tensor:
        """Return masks for rows, of shape (n_rows, *shape) and mean one."""
        uniform = torch.rand(
            (n_rows, *self.shape),
            generator=generator,
            device=generator.device,
            dtype=torch.float32,
        )
        return (uniform >= self.rate).to(self.mask.dtype) / (1.0 - self.rate)

    def reset(self) -> None:
        """Drop the mask of the last batch."""
        self.mask = self._ones().to(self.mask)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Apply the mask in training mode."""
        return values * self.mask if self.training else values


def dropout_layers(module: nn.Module) -> dict[str, Dropout]:
    """Return the dropout layers of a module, by the names of their masks.

    Examples
    --------
    >>> dropout_layers(nn.Sequential(nn.Linear(3, 2), Dropout(0.5, 2)))
    {'1.mask': Dropout()}
    """
    return {
        f"{name}.mask": layer
        for name, layer in module.named_modules()
        if isinstance(layer, Dropout)
    }


@contextmanager
def without_dropout(module: nn.Module) -> Iterator[None]:
    """Let rows pass all dropout layers of a module in training as they are.

    Examples
    --------
    >>> dropout = Dropout(0.5, 1)
    >>> dropout.mask = torch.tensor([[2.0]])
    >>> with without_dropout(dropout):
    ...     dropout(torch.ones(1, 1))
    tensor([[1.]])
    """
    layers = [m for m in module.modules() if isinstance(m, Dropout) and m.training]
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer in layers:
            layer.training = True


def perceptron_operations(module: nn.Module) -> float:
    """Return the floating-point operations of a training step for a row.

    A product forward, two backward; a multiplication and an addition each. Infinite for
    modules that are no perceptrons.

    Examples
    --------
    >>> perceptron_operations(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))
    36.0
    >>> perceptron_operations(nn.Conv2d(1, 1, 1))
    inf
    """
    parts = [part for part in module.modules() if next(part.children(), None) is None]
    known = (nn.Linear, Dropout, *ACTIVATIONS.values())
    if not all(isinstance(part, known) for part in parts):
        return math.inf
    return 6.0 * sum(p.weight.numel() for p in parts if isinstance(p, nn.Linear))


def mlp(
    sizes: Sequence[int],
    *,
    activation: str = "relu",
    dropout: float = 0.0,
    normalize: bool = False,
) -> nn.Sequential:
    """Return a perceptron with a linear output and uninitialized weights.

    Parameters
    ----------
    sizes : sequence of int
        Width of the input, of each hidden layer, of the output.

    activation : str, default="relu"
        One of `ACTIVATIONS`, after each hidden layer.

    dropout : float in [0, 1), default=0.0
        Rate after each hidden layer.

    normalize : bool, default=False
        Whether to normalize each row before each activation (layer normalization. Batch
        normalization is not offered: there, the result for a row depends on others.)

    Returns
    -------
    network : nn.Sequential
        Call :func:`initialize` next.

    Examples
    --------
    >>> mlp([3, 2, 1])
    Sequential(
      (0): Linear(in_features=3, out_features=2, bias=True)
      (1): ReLU()
      (2): Linear(in_features=2, out_features=1, bias=True)
    )
    """
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(sizes[:-1]):
        layers.append(linear(width_in, width_out))
        if normalize:
            layers.append(nn.LayerNorm(width_out))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(Dropout(dropout, width_out))
    return nn.Sequential(*layers, linear(sizes[-2], sizes[-1]))


def linear(width_in: int, width_out: int) -> nn.Linear:
    """Return a linear layer with uninitialized weights."""
    # nn.Linear's constructor would draw from the global generator.
    return torch.nn.utils.skip_init(nn.Linear, width_in, width_out)


def initialize(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """Draw the weights of all linear and convolution layers, as torch does by default.

    Parameters
    ----------
    module : nn.Module
        Changed in place.

    generator : torch.Generator
        On the CPU: the same seed gives the same weights for every device.

    Returns
    -------
    module : nn.Module
        The module itself.

    Examples
    --------
    >>> first, second = (
    ...     initialize(mlp([2, 2]), torch.Generator().manual_seed(0)) for _ in range(2)
    ... )
    >>> torch.equal(first[0].weight, second[0].weight)
    True
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            if layer.bias is not None:
                fan_in, _ = nn.init._calculate_fan_in_and_fan_out(layer.weight)
                bound = 1.0 / math.sqrt(fan_in)
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return module


def zero_inputs(module: nn.Module, which: torch.Tensor) -> None:
    """Give no weight to some inputs of a perceptron; other modules stay as they are.

    While such an input is 0, its weights have no gradient and stay 0.

    Parameters
    ----------
    module : nn.Module
        Changed in place.

    which : Tensor of shape (n_inputs,), dtype bool

    Examples
    --------
    >>> network = initialize(mlp([3, 1]), torch.Generator().manual_seed(0))
    >>> zero_inputs(network, torch.tensor([True, False, True]))
    >>> network[0].weight != 0
    tensor([[False,  True, False]])
    """
    if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Linear):
        with torch.no_grad():
            module[0].weight[:, which] = 0.0


def zero_outputs(module: nn.Module, which: torch.Tensor) -> None:
    """Make some outputs of a perceptron 0; other modules stay as they are.

    While that is what they are trained for, they have no gradient and stay 0.

    Parameters
    ----------
    module : nn.Module
        Changed in place.

    which : Tensor of shape (n_outputs,), dtype bool

    Examples
    --------
    >>> network = initialize(mlp([1, 2]), torch.Generator().manual_seed(0))
    >>> zero_outputs(network, torch.tensor([True, False]))
    >>> network(torch.ones(1, 1)) != 0
    tensor([[False,  True]])
    """
    if isinstance(module, nn.Sequential) and isinstance(module[-1], nn.Linear):
        with torch.no_grad():
            module[-1].weight[which] = 0.0
            module[-1].bias[which] = 0.0
