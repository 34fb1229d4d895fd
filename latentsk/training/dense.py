"""The gradient of a perceptron in closed form, for training on the CPU.

On small networks autograd's bookkeeping costs several times what the arithmetic does.
Back-propagation through linear layers, activations and masks is a few lines, written
into work space that is kept from step to step.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentsk.modules.autoencoder import Autoencoder
from latentsk.modules.mlp import Dropout
from latentsk.training.objectives import LOSS_DERIVATIVES
from latentsk.training.step import Gradient, Layout, Noise

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
    name : str
        Of the linear layer in the module.
    activation : Activation or None
    mask : str or None
        Name of the dropout mask in the noise.
    """

    name: str
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
    >>> from latentsk.modules.mlp import mlp
    >>> [layer.name for layer in dense_layers(mlp([3, 2, 1]))]
    ['0', '2']
    >>> dense_layers(mlp([3, 2, 1], normalize=True)) is None
    True
    """
    if any(_hooked(part) for part in module.modules()):
        return None
    layers: list[DenseLayer] = []
    for name, child in module.named_modules(remove_duplicate=False):
        if type(child) is nn.Linear and _plain(child):
            layers.append(DenseLayer(name))
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
    own = dict(linear.named_parameters())
    trained = all(parameter.requires_grad for parameter in own.values())
    return own.keys() == {"weight", "bias"} and trained


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
        By these. Whoever calls :func:`backward` fills in the last.
    transposed : list of Tensor
        Views of the gradients.
    ones : Tensor of shape (n_rows,)
    """

    before: list[Tensor]
    gradients: list[Tensor]
    transposed: list[Tensor]
    ones: Tensor

    @classmethod
    def of(cls, n_rows: int, widths: list[int]) -> Workspace:
        """Return arrays for so many rows and layers of these widths."""
        before = [torch.empty(n_rows, width) for width in widths]
        gradients = [torch.empty(n_rows, width) for width in widths]
        return cls(before, gradients, [g.t() for g in gradients], torch.ones(n_rows))


class Weights(NamedTuple):
    """Views of one linear layer in a flat vector."""

    weight: Tensor
    bias: Tensor
    transposed: Tensor

    @classmethod
    def all(
        cls, layers: tuple[DenseLayer, ...], layout: Layout, flat: Tensor
    ) -> list[Weights]:
        """Return the views of all layers."""
        views = layout.views(flat)
        pairs = [(views[f"{n.name}.weight"], views[f"{n.name}.bias"]) for n in layers]
        return [cls(weight, bias, weight.t()) for weight, bias in pairs]


def widths_of(layers: tuple[DenseLayer, ...], layout: Layout) -> list[int]:
    """Return the width of every layer."""
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    return [shapes[f"{layer.name}.bias"][0] for layer in layers]


def operations_per_row(layers: tuple[DenseLayer, ...], layout: Layout) -> float:
    """Return the floating-point operations that a training step takes for a row.

    A product forward, two backward; a multiplication and an addition each.
    """
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    return 6.0 * sum(shapes[f"{layer.name}.weight"].numel() for layer in layers)


def dense_gradient(
    layers: tuple[DenseLayer, ...],
    layout: Layout,
    loss: str,
    corrupt: Callable[[Tensor, Noise], Tensor],
) -> Gradient:
    """Return the gradient of a perceptron's reconstruction loss, without autograd.

    Parameters
    ----------
    layers : tuple of DenseLayer
        Encoder and decoder, one after the other.

    layout : Layout
        Of their parameters, which it must hold and no others.

    loss : str
        A name in `LOSSES`.

    corrupt : callable
        ``corrupt(batch, noise)``, what the network sees; the target stays clean.

    Returns
    -------
    gradient : callable
        As that of :func:`latentsk.training.step.autograd`. It returns the same vector
        at every call, and is not for several threads.

    Examples
    --------
    >>> from latentsk.modules.mlp import mlp
    >>> flat = torch.tensor([3.0, 0.0])
    >>> layout = Layout(("0.weight", "0.bias"), (torch.Size([1, 1]), torch.Size([1])))
    >>> gradient = dense_gradient(
    ...     dense_layers(mlp([1, 1])), layout, "squared_error", lambda rows, noise: rows
    ... )
    >>> one = torch.ones(1)
    >>> gradient(flat, torch.tensor([[2.0]]), {}, one, torch.tensor(1.0))
    (tensor([16.,  8.]), tensor([16.]))
    """
    names = itertools.chain(*((f"{n.name}.weight", f"{n.name}.bias") for n in layers))
    assert set(names) == set(layout.names), "another network's layout"
    widths = widths_of(layers, layout)
    total = torch.zeros(sum(shape.numel() for shape in layout.shapes))
    derivatives = Weights.all(layers, layout, total)
    spaces: dict[int, Workspace] = {}
    known: dict[int, list[Weights]] = {}
    shares: tuple[Tensor | None, Tensor] = (None, torch.empty(0))

    def gradient(
        flat: Tensor, batch: Tensor, noise: Noise, weights: Tensor, kl_weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        nonlocal shares
        if batch.shape[0] not in spaces:
            spaces[len(batch)] = Workspace.of(len(batch), widths)
        if flat.data_ptr() not in known:
            known[flat.data_ptr()] = Weights.all(layers, layout, flat)
        space, linear = spaces[len(batch)], known[flat.data_ptr()]
        inputs = forward(layers, linear, space, corrupt(batch, noise), noise)
        output = inputs.pop()
        outer = space.gradients[-1]
        losses, factor = LOSS_DERIVATIVES[loss](output, batch, outer)
        if shares[0] is not weights:  # most batches have the same
            shares = weights, (factor * weights / weights.sum())[:, None]
        outer.mul_(shares[1])
        backward(layers, linear, space, inputs, noise, derivatives)
        return total, losses

    return gradient


def forward(
    layers: tuple[DenseLayer, ...],
    linear: list[Weights],
    space: Workspace,
    rows: Tensor,
    noise: Noise,
) -> list[Tensor]:
    """Return the input of every layer, and the output.

    Parameters
    ----------
    layers : tuple of DenseLayer

    linear : list of Weights

    space : Workspace
        Which is written to.

    rows : Tensor of shape (n_rows, n_inputs)

    noise : dict of str to Tensor
        With the masks of the layers.
    """
    values = [rows]
    for layer, part, before in zip(layers, linear, space.before, strict=True):
        torch.addmm(part.bias, values[-1], part.transposed, out=before)
        after = (
            before if layer.activation is None else layer.activation.function(before)
        )
        values.append(after if layer.mask is None else after * noise[layer.mask])
    return values


def backward(
    layers: tuple[DenseLayer, ...],
    linear: list[Weights],
    space: Workspace,
    inputs: list[Tensor],
    noise: Noise,
    derivatives: list[Weights],
) -> None:
    """Fill `derivatives`, from the gradient by the last layer's output.

    Parameters
    ----------
    layers, linear, space, noise
        As in :func:`forward`; the last of ``space.gradients`` is filled in.

    inputs : list of Tensor
        What :func:`forward` returned, but for the output.

    derivatives : list of Weights
        Which are written to.
    """
    for k in reversed(range(len(layers))):
        torch.mm(space.transposed[k], inputs[k], out=derivatives[k].weight)
        torch.mv(space.transposed[k], space.ones, out=derivatives[k].bias)
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
