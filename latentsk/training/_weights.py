"""Copies of the weights of a network in training."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsk._device import to_numpy
from latentsk.networks._mlp import dropout_layers
from latentsk.training._optimizer import FlatAdamW


class Weights(NamedTuple):
    """All that a network learns.

    Attributes
    ----------
    vectors : list of Tensor
        Those of the optimizer.
    others : dict of str to Tensor
        By name: buffers, and parameters that the optimizer has not taken up.
    """

    vectors: list[Tensor]
    others: dict[str, Tensor]

    @classmethod
    def of(cls, network: nn.Module, optimizer: FlatAdamW) -> Weights:
        """Return a copy of the present weights."""
        vectors = [vector.parameters.clone() for vector in optimizer.vectors]
        others = _others(network, optimizer)
        return cls(vectors, {name: t.detach().clone() for name, t in others.items()})

    def restore(self, network: nn.Module, optimizer: FlatAdamW) -> None:
        """Put them back."""
        for vector, values in zip(optimizer.vectors, self.vectors, strict=False):
            vector.parameters.copy_(values)
        present = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        for name, values in self.others.items():
            present[name].detach().copy_(values)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return them as named arrays."""
        numbered = {str(number): vector for number, vector in enumerate(self.vectors)}
        return {k: to_numpy(v) for k, v in {**numbered, **self.others}.items()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], device: torch.device
    ) -> Weights:
        """Return those that :meth:`to_arrays` returned."""
        tensors = {name: torch.tensor(a, device=device) for name, a in arrays.items()}
        count = sum(name.isdecimal() for name in tensors)
        vectors = [tensors.pop(str(number)) for number in range(count)]
        return cls(vectors, tensors)


def _others(network: nn.Module, optimizer: FlatAdamW) -> dict[str, Tensor]:
    masks = dropout_layers(network)
    buffers = {k: b for k, b in network.named_buffers() if k not in masks}
    return {**buffers, **optimizer.left_out}


def detached(network: nn.Module) -> Any:
    """Return a copy of a network in training, ready for inference.

    Its parameters are no longer views of the optimizer's vectors.
    """
    trained = copy.deepcopy(network).eval()
    for layer in dropout_layers(trained).values():
        layer.reset()
    return trained
