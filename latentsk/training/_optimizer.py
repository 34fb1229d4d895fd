"""AdamW on parameters that lie in one vector.

Trainable parameters and their gradients are views of one vector per dtype. A step is
then one kernel, and a copy of the weights is one clone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsk._device import to_numpy

# Elements: 64 bytes of float32, a line of the cache.
ALIGNMENT = 16
# What Adam knows of a vector.
MEMORY = ("mean", "square", "n_steps")


class OptimizerSettings(NamedTuple):
    """Constants of a step.

    Attributes
    ----------
    weight_decay : float
        Decoupled from the gradient (AdamW).
    clip_norm : float or None
        Largest norm of the gradient.
    beta_mean, beta_square, epsilon : float
        Constants of Adam.
    """

    weight_decay: float = 0.0
    clip_norm: float | None = None
    beta_mean: float = 0.9
    beta_square: float = 0.999
    epsilon: float = 1e-8


class ParameterVector(NamedTuple):
    """Parameters that are updated together, and what Adam knows of them.

    Attributes
    ----------
    names : tuple of str
        The parameters, in their order.
    parameters, gradient : Tensor of shape (n_elements,)
        The parameters and their gradients are views of these.
    mean, square : Tensor of shape (n_elements,)
        Running means of the gradient and of its square.
    n_steps : Tensor of shape ()
        Number of steps taken.
    """

    names: tuple[str, ...]
    parameters: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    n_steps: Tensor


class FlatAdamW:
    """AdamW (Loshchilov & Hutter, 2019) on the trainable parameters of a network.

    A parameter is taken up with its first gradient. Frozen parameters, and those that
    never get a gradient, stay as they are.

    Parameters
    ----------
    network : nn.Module
        Its parameters become views of vectors.

    settings : OptimizerSettings

    Attributes
    ----------
    vectors : list of ParameterVector

    Examples
    --------
    >>> network = nn.Linear(1, 1, bias=False)
    >>> nn.init.ones_(network.weight).requires_grad
    True
    >>> optimizer = FlatAdamW(network, OptimizerSettings())
    >>> network(torch.tensor([[5.0]])).sum().backward()
    >>> optimizer.step(torch.tensor(0.1))
    >>> network.weight
    Parameter containing:
    tensor([[0.9000]], requires_grad=True)
    """

    def __init__(self, network: nn.Module, settings: OptimizerSettings) -> None:
        self.vectors: list[ParameterVector] = []
        self._settings = settings
        self._waiting = {k: p for k, p in network.named_parameters() if p.requires_grad}
        # cuDNN keeps the weights of these in a vector of its own.
        recurrent = (m for m in network.modules() if isinstance(m, nn.RNNBase))
        self._apart = {id(p) for module in recurrent for p in module.parameters()}

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        for vector in self.vectors:
            vector.gradient.zero_()
        for parameter in self._waiting.values():
            parameter.grad = None

    def step(self, learning_rate: Tensor) -> None:
        """Update the parameters along their gradients, in place."""
        self._take_up_new()
        settings = self._settings
        if settings.clip_norm is not None:
            clip([vector.gradient for vector in self.vectors], settings.clip_norm)
        for vector in self.vectors:
            vector.n_steps.add_(1.0)
            # The kernel of torch.optim.AdamW(fused=True): one pass over four vectors.
            torch._fused_adamw_(
                [vector.parameters],
                [vector.gradient],
                [vector.mean],
                [vector.square],
                [],
                [vector.n_steps],
                lr=learning_rate,
                beta1=settings.beta_mean,
                beta2=settings.beta_square,
                weight_decay=settings.weight_decay,
                eps=settings.epsilon,
                amsgrad=False,
                maximize=False,
            )

    def take_up_all(self) -> None:
        """Take up all trainable parameters, for a gradient that writes into them."""
        self.take_up([list(self._waiting)])

    def take_up(self, layout: list[list[str]]) -> None:
        """Take up parameters by their names, a vector at a time."""
        for names in layout:
            self._take_up(tuple(names))

    def _take_up_new(self) -> None:
        if self._waiting:
            named = self._waiting.items()
            self._take_up(tuple(k for k, p in named if p.grad is not None))

    def _take_up(self, names: tuple[str, ...]) -> None:
        groups: dict[Any, dict[str, nn.Parameter]] = {}
        for name in names:
            parameter = self._waiting.pop(name)
            is_flat = _can_be_flat(parameter) and id(parameter) not in self._apart
            key = parameter.dtype if is_flat else name
            groups.setdefault(key, {})[name] = parameter
        for key, group in groups.items():
            make = _flat_vector if isinstance(key, torch.dtype) else _single_vector
            self.vectors.append(make(group))

    @property
    def left_out(self) -> dict[str, nn.Parameter]:
        """Trainable parameters that have had no gradient so far."""
        return self._waiting

    # State

    def layout(self) -> list[list[str]]:
        """Return the names of the parameters of each vector."""
        return [list(vector.names) for vector in self.vectors]

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return what Adam knows of each vector, as arrays named by its number."""
        return {
            f"{name}.{number}": to_numpy(getattr(vector, name))
            for number, vector in enumerate(self.vectors)
            for name in MEMORY
        }

    def load(self, layout: list[list[str]], memory: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what :meth:`layout` and :meth:`memory` returned."""
        self.take_up(layout)
        for number, vector in enumerate(self.vectors):
            for name in MEMORY:
                stored = torch.tensor(memory[f"{name}.{number}"])
                getattr(vector, name).copy_(stored)


def clip(gradients: list[Tensor], most: float) -> None:
    """Scale gradients, in place, so that their common norm is at most `most`.

    Examples
    --------
    >>> gradient = torch.tensor([3.0, 4.0])
    >>> clip([gradient], 1.0)
    >>> gradient
    tensor([0.6000, 0.8000])
    """
    norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
    norm = norms[0] if len(norms) == 1 else torch.stack(norms).norm()
    factor = torch.clamp(most / (norm + 1e-6), max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)


def _can_be_flat(parameter: nn.Parameter) -> bool:
    plain = type(parameter.data) is Tensor and parameter.layout == torch.strided
    return plain and parameter.is_floating_point()


def _flat_vector(group: dict[str, nn.Parameter]) -> ParameterVector:
    """Make parameters of one dtype, and their gradients, views of two vectors."""
    first = next(iter(group.values()))
    widths = [ALIGNMENT * math.ceil(p.numel() / ALIGNMENT) for p in group.values()]
    flat = torch.zeros(sum(widths), dtype=first.dtype, device=first.device)
    gradient = torch.zeros_like(flat)
    start = 0
    for parameter, width in zip(group.values(), widths, strict=True):
        place = slice(start, start + parameter.numel())
        view, slope = (t[place].view(parameter.shape) for t in (flat, gradient))
        view.copy_(parameter.detach())
        if parameter.grad is not None:
            slope.copy_(parameter.grad)
        parameter.data, parameter.grad = view, slope
        start += width
    return _vector(tuple(group), flat, gradient)


def _single_vector(group: dict[str, nn.Parameter]) -> ParameterVector:
    """Leave a parameter where it is, as torch's own optimizers do."""
    ((name, parameter),) = group.items()
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    tensors = [parameter.detach(), parameter.grad]
    if parameter.is_complex():
        tensors = [torch.view_as_real(tensor) for tensor in tensors]
    return _vector((name,), *tensors)


def _vector(
    names: tuple[str, ...], parameters: Tensor, gradient: Tensor
) -> ParameterVector:
    zeros = torch.zeros_like(parameters)
    n_steps = torch.zeros((), dtype=torch.float32, device=parameters.device)
    return ParameterVector(names, parameters, gradient, zeros, zeros.clone(), n_steps)
