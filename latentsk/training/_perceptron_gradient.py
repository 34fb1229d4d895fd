"""The gradient of a perceptron in closed form, for training on the CPU.

On small networks autograd's bookkeeping costs several times what the arithmetic does.
Back-propagation through linear layers, activations and masks is a few lines, written
into work space that is kept from step to step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentsk.networks._autoencoder import Autoencoder
from latentsk.networks._mlp import Dropout
from latentsk.training._losses import LOSS_DERIVATIVES
from latentsk.training._objective import Gradient, Losses, Noise

_aten = torch.ops.aten


class Activation(NamedTuple):
    """An activation and its derivative.

    Attributes
    ----------
    function : callable
        In place, if the derivative is a function of the output.
    differentiate : callable
        ``differentiate(gradient, values)`` turns the gradient by the output into that
        by the input, in place; `values` are what `function` was given.
    """

    function: Callable[[Tensor], Tensor]
    differentiate: Callable[[Tensor, Tensor], Tensor]


def _relu_backward(gradient: Tensor, output: Tensor) -> Tensor:
    return _aten.threshold_backward.grad_input(gradient, output, 0, grad_input=gradient)


def _tanh_backward(gradient: Tensor, output: Tensor) -> Tensor:
    return _aten.tanh_backward.grad_input(gradient, output, grad_input=gradient)


def _elu_backward(gradient: Tensor, output: Tensor) -> Tensor:
    return _aten.elu_backward.grad_input(
        gradient, 1.0, 1.0, 1.0, True, output, grad_input=gradient
    )


def _gelu_backward(gradient: Tensor, inputs: Tensor) -> Tensor:
    return _aten.gelu_backward.grad_input(gradient, inputs, grad_input=gradient)


def _silu_backward(gradient: Tensor, inputs: Tensor) -> Tensor:
    return _aten.silu_backward.grad_input(gradient, inputs, grad_input=gradient)


ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(torch.relu_, _relu_backward),
    nn.Tanh: Activation(torch.tanh_, _tanh_backward),
    nn.ELU: Activation(functools.partial(F.elu, inplace=True), _elu_backward),
    nn.GELU: Activation(F.gelu, _gelu_backward),
    nn.SiLU: Activation(F.silu, _silu_backward),
}


class DenseLayer(NamedTuple):
    """A linear layer with what follows it.

    Attributes
    ----------
    linear : nn.Linear
    activation : Activation or None
    mask : str or None
        Name of the dropout mask in the noise.
    """

    linear: nn.Linear
    activation: Activation | None = None
    mask: str | None = None


def dense_layers(module: nn.Module) -> tuple[DenseLayer, ...] | None:
    """Return the layers of a perceptron; None if the module is anything else.

    Parameters
    ----------
    module : nn.Module
        An `Autoencoder` or `nn.Sequential`, whose parts are applied in turn.

    Examples
    --------
    >>> from latentsk.networks._mlp import mlp
    >>> [layer.linear.out_features for layer in dense_layers(mlp([3, 2, 1]))]
    [2, 1]
    >>> dense_layers(mlp([3, 2, 1], normalize=True)) is None
    True
    """
    if any(_hooked(part) for part in module.modules()):
        return None
    layers: list[DenseLayer] = []
    for name, child in module.named_modules(remove_duplicate=False):
        if type(child) is nn.Linear and _plain(child):
            layers.append(DenseLayer(child))
        elif type(child) in ACTIVATIONS and _plain_activation(child):
            if not layers or layers[-1].activation or layers[-1].mask:
                return None
            layers[-1] = layers[-1]._replace(activation=ACTIVATIONS[type(child)])
        elif isinstance(child, Dropout):
            if not layers or layers[-1].mask:
                return None
            layers[-1] = layers[-1]._replace(mask=f"{name}.mask")
        elif type(child) not in (nn.Identity, nn.Sequential, Autoencoder):
            return None
    distinct = len({id(p) for p in module.parameters()}) == 2 * len(layers)
    return tuple(layers) if layers and distinct else None


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _plain(linear: nn.Linear) -> bool:
    named = dict(linear.named_parameters())
    trained = all(p.requires_grad and p.dtype == torch.float32 for p in named.values())
    return named.keys() == {"weight", "bias"} and trained


def _plain_activation(module: nn.Module) -> bool:
    return getattr(module, "alpha", 1.0) == 1.0 and (
        getattr(module, "approximate", "none") == "none"
    )


class Workspace(NamedTuple):
    """Arrays of one batch size.

    Attributes
    ----------
    before : list of Tensor
        What each layer returns, before its activation.
    gradients : list of Tensor
        By these.
    transposed : list of Tensor
        Views of the gradients.
    ones : Tensor of shape (n_rows,)
    """

    before: list[Tensor]
    gradients: list[Tensor]
    transposed: list[Tensor]
    ones: Tensor

    @classmethod
    def of(cls, n_rows: int, layers: tuple[DenseLayer, ...]) -> Workspace:
        """Return arrays for so many rows."""

        def matrices() -> list[Tensor]:
            widths = [layer.linear.out_features for layer in layers]
            return [torch.empty(n_rows, n, dtype=torch.float32) for n in widths]

        gradients = matrices()
        ones = torch.ones(n_rows, dtype=torch.float32)
        return cls(matrices(), gradients, [g.t() for g in gradients], ones)


class Weights(NamedTuple):
    """A linear layer's parameters and their gradients, without autograd."""

    weight: Tensor
    bias: Tensor
    transposed: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor

    @classmethod
    def of(cls, linear: nn.Linear) -> Weights:
        """Return views of the parameters, and of the gradients, which must be there."""
        weight, bias = linear.weight.detach(), linear.bias.detach()
        assert linear.weight.grad is not None, "the optimizer has taken them up"
        assert linear.bias.grad is not None, "the optimizer has taken them up"
        return cls(weight, bias, weight.t(), linear.weight.grad, linear.bias.grad)


def perceptron_gradient(
    network: nn.Module, loss: str, corrupt: Callable[[Tensor, Noise], Tensor]
) -> Gradient | None:
    """Return the gradient of a perceptron's reconstruction loss, without autograd.

    Parameters
    ----------
    network : nn.Module
        Its parameters, and their gradients, must stay in their places from the first
        call on.

    loss : str
        A name in `LOSSES`.

    corrupt : callable
        ``corrupt(batch, noise)``, what the network sees; the target stays clean.

    Returns
    -------
    gradient : callable or None
        ``gradient(batch, noise, row_weights, progress)`` overwrites the gradients of
        all parameters. It is not for several threads. None where the network is no
        plain perceptron of float32 on the CPU, or the loss has no derivative here.

    Examples
    --------
    >>> from latentsk.networks._mlp import mlp
    >>> network = mlp([1, 1])
    >>> for parameter, value in zip(network.parameters(), (3.0, 0.0)):
    ...     _ = nn.init.constant_(parameter, value)
    ...     parameter.grad = torch.empty_like(parameter)
    >>> gradient = perceptron_gradient(
    ...     network, "squared_error", lambda rows, noise: rows
    ... )
    >>> one = torch.ones(1)
    >>> gradient(torch.tensor([[2.0]]), {}, one, one).rows
    tensor([16.])
    >>> network[0].weight.grad, network[0].bias.grad
    (tensor([[16.]]), tensor([8.]))
    """
    layers = dense_layers(network)
    derivative = LOSS_DERIVATIVES.get(loss)
    if layers is None or derivative is None:
        return None
    if layers[0].linear.weight.device.type != "cpu":
        return None
    spaces: dict[int, Workspace] = {}
    linear: list[Weights] = []
    shares: tuple[Tensor | None, Tensor] = (None, torch.empty(0))

    def gradient(
        batch: Tensor, noise: Noise, weights: Tensor, progress: Tensor
    ) -> Losses:
        nonlocal shares
        if not linear:
            linear.extend(Weights.of(layer.linear) for layer in layers)
        if batch.shape[0] not in spaces:
            spaces[len(batch)] = Workspace.of(len(batch), layers)
        space = spaces[len(batch)]
        inputs = _forward(layers, linear, space, corrupt(batch, noise), noise)
        outer = space.gradients[-1]
        losses, factor = derivative(inputs.pop(), batch, outer)
        if shares[0] is not weights:  # most batches have the same
            shares = weights, (factor * weights)[:, None]
        outer.mul_(shares[1])
        _backward(layers, linear, space, inputs, noise)
        return Losses(losses, {"reconstruction": losses})

    return gradient


def _forward(
    layers: tuple[DenseLayer, ...],
    linear: list[Weights],
    space: Workspace,
    rows: Tensor,
    noise: Noise,
) -> list[Tensor]:
    """Return the input of every layer, and the output."""
    values = [rows]
    for layer, part, before in zip(layers, linear, space.before, strict=True):
        torch.addmm(part.bias, values[-1], part.transposed, out=before)
        after = (
            before if layer.activation is None else layer.activation.function(before)
        )
        values.append(after if layer.mask is None else after * noise[layer.mask])
    return values


def _backward(
    layers: tuple[DenseLayer, ...],
    linear: list[Weights],
    space: Workspace,
    inputs: list[Tensor],
    noise: Noise,
) -> None:
    """Fill in the gradients of the parameters, from that by the last output."""
    for k in reversed(range(len(layers))):
        torch.mm(space.transposed[k], inputs[k], out=linear[k].weight_gradient)
        torch.mv(space.transposed[k], space.ones, out=linear[k].bias_gradient)
        if k:
            gradient = space.gradients[k - 1]
            torch.mm(space.gradients[k], linear[k].weight, out=gradient)
            _through(layers[k - 1], gradient, space.before[k - 1], noise)


def _through(layer: DenseLayer, gradient: Tensor, before: Tensor, noise: Noise) -> None:
    """Turn the gradient by a layer's output into that by its linear part, in place."""
    if layer.mask is not None:
        gradient.mul_(noise[layer.mask])
    if layer.activation is not None:
        layer.activation.differentiate(gradient, before)
