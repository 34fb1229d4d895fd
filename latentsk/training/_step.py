"""One training step: the gradient of an objective, then the optimizer's update."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from latentsk.networks._mlp import dropout_layers
from latentsk.training._objective import Gradient, Losses, Noise, Objective
from latentsk.training._optimizer import FlatAdamW

# (batch, noise, row_weights, progress, learning_rate) -> losses before the update
Step = Callable[[Tensor, Noise, Tensor, Tensor, Tensor], Losses]
# (batch, noise, progress) -> losses that can be differentiated
Loss = Callable[[Tensor, Noise, Tensor], Losses]


def loss_of(network: nn.Module, objective: Objective) -> Loss:
    """Return an objective's loss as a function of a batch."""

    def loss(batch: Tensor, noise: Noise, progress: Tensor) -> Losses:
        return objective.loss(network, batch, noise, progress)

    return loss


def autograd(loss: Loss, optimizer: FlatAdamW) -> Gradient:
    """Return the gradient of a loss, weighted over rows, by torch's autograd.

    Parameters
    ----------
    loss : callable

    optimizer : FlatAdamW
        Of the parameters. Its gradients are those of one batch.
    """

    def gradient(
        batch: Tensor, noise: Noise, weights: Tensor, progress: Tensor
    ) -> Losses:
        optimizer.zero_grad()
        losses = loss(batch, noise, progress)
        losses.rows.backward(weights)  # the gradient of their weighted sum
        return losses.detached()

    return gradient


def make_step(network: nn.Module, gradient: Gradient, optimizer: FlatAdamW) -> Step:
    """Return the training step along a gradient.

    Parameters
    ----------
    network : nn.Module
        In training mode.

    gradient : callable
        From :func:`autograd` or :meth:`Objective.gradient`.

    optimizer : FlatAdamW

    Returns
    -------
    step : callable
        ``step(batch, noise, row_weights, progress, learning_rate)`` changes the network
        and the optimizer in place and returns the losses, as they were before.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from latentsk.networks._autoencoder import Autoencoder
    >>> from latentsk.training._optimizer import OptimizerSettings
    >>> from latentsk.training._reconstruction import Reconstruction
    >>> network = Autoencoder(nn.Linear(1, 1), nn.Linear(1, 1))
    >>> for parameter in network.parameters():
    ...     _ = nn.init.zeros_(parameter)
    >>> optimizer = FlatAdamW(network, OptimizerSettings())
    >>> loss = loss_of(network, Reconstruction(network, n_features=1))
    >>> step = make_step(network, autograd(loss, optimizer), optimizer)
    >>> one = torch.ones(())
    >>> step(torch.tensor([[2.0]]), {}, torch.ones(1), one, 0.1 * one).rows
    tensor([4.])
    >>> network.decoder.bias.detach()
    tensor([0.1000])
    """
    masked = dropout_layers(network)

    def step(
        batch: Tensor,
        noise: Noise,
        weights: Tensor,
        progress: Tensor,
        learning_rate: Tensor,
    ) -> Losses:
        for name, layer in masked.items():
            layer.mask = noise[name]
        losses = gradient(batch, noise, weights, progress)
        optimizer.step(learning_rate)
        return losses

    return step
