"""A step made faster: its loss compiled, or the whole replayed as a CUDA graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from latentsk.training._objective import Losses, Noise
from latentsk.training._optimizer import FlatAdamW
from latentsk.training._step import Loss, Step, autograd

# Steps from which a compiled step is taken to pay for its compilation. Counted, so that
# a run repeats; no clock is asked.
MIN_STEPS_TO_COMPILE = 20_000
# Steps before a capture, in which libraries choose their kernels and make work space.
WARM_UP_STEPS = 3


def worth_compiling(n_rows: int, batch_size: int, max_epochs: int) -> bool:
    """Tell, from counted work, whether a run is long enough to compile its step.

    Examples
    --------
    >>> worth_compiling(1_000, 100, 100)
    False
    >>> worth_compiling(1_000_000, 100, 100)
    True
    """
    return max_epochs * math.ceil(n_rows / batch_size) >= MIN_STEPS_TO_COMPILE


class CompiledGradient:
    """The gradient of a compiled loss; of the loss itself where nothing compiles.

    The first call compiles. If that fails, for want of a compiler, say, the loss runs
    as it is from then on.

    Parameters
    ----------
    loss : callable
        From :func:`latentsk.training._step.loss_of`.

    optimizer : FlatAdamW

    Attributes
    ----------
    works : bool
        Whether the compiled graph is what runs.
    """

    def __init__(self, loss: Loss, optimizer: FlatAdamW) -> None:
        self.works = True
        self._plain = autograd(loss, optimizer)
        compiled = torch.compile(
            _with_its_own_code(loss), fullgraph=True, dynamic=False
        )
        self._compiled = autograd(compiled, optimizer)

    def __call__(
        self, batch: Tensor, noise: Noise, weights: Tensor, progress: Tensor
    ) -> Losses:
        """Fill in the gradients; return the losses."""
        if self.works:
            try:
                return self._compiled(batch, noise, weights, progress)
            except (torch._dynamo.exc.TorchDynamoException, OSError):
                self.works = False
        return self._plain(batch, noise, weights, progress)


def _with_its_own_code(loss: Loss) -> Loss:
    """Return the function with a code object that it shares with no other.

    torch counts compilations per code object, and gives up after a few of them: all
    trainings of a process would share them.
    """
    assert isinstance(loss, FunctionType)
    copied = FunctionType(
        loss.__code__.replace(),
        loss.__globals__,
        loss.__name__,
        loss.__defaults__,
        loss.__closure__,
    )
    return copied


class Capture(NamedTuple):
    """How a device records work and repeats it.

    Attributes
    ----------
    record : callable
        Takes a function without arguments; returns what repeats its kernels.
    warm_up : callable
        Takes a function without arguments and runs it as preparation.
    """

    record: Callable[[Callable[[], None]], Callable[[], None]]
    warm_up: Callable[[Callable[[], None]], None]


def _record_cuda(run: Callable[[], None]) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def _warm_up_cuda(run: Callable[[], None]) -> None:
    # A capture must not see the first call of a kernel, nor the default stream.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_STEPS):
            run()
    torch.cuda.current_stream().wait_stream(stream)


CUDA_CAPTURE = Capture(_record_cuda, _warm_up_cuda)


class CapturedStep:
    """A step recorded once and replayed, with no launch of its kernels one by one.

    A replay repeats the same kernels at the same addresses: what changes from step to
    step is copied to fixed places first. Warming up and recording leave the network and
    the optimizer as they were.

    Parameters
    ----------
    step : callable
        From :func:`latentsk.training._step.make_step`.

    network : nn.Module

    optimizer : FlatAdamW

    capture : Capture, default=CUDA_CAPTURE
    """

    def __init__(
        self,
        step: Step,
        network: nn.Module,
        optimizer: FlatAdamW,
        capture: Capture = CUDA_CAPTURE,
    ) -> None:
        self._step = step
        self._network = network
        self._optimizer = optimizer
        self._capture = capture
        self._replay: Callable[[], None] | None = None

    def __call__(
        self,
        batch: Tensor,
        noise: Noise,
        weights: Tensor,
        progress: Tensor,
        learning_rate: Tensor,
    ) -> Losses:
        """Take the step."""
        changing = (batch, weights, progress, learning_rate, *noise.values())
        if self._replay is None:
            self._replay = self._record(changing, tuple(noise))
        for place, value in zip(self._places, changing, strict=True):
            place.copy_(value, non_blocking=True)
        self._replay()
        rows, terms = self._losses.rows, self._losses.terms.items()
        # The next call overwrites them.
        copies = {k: v.clone() if isinstance(v, Tensor) else v for k, v in terms}
        return Losses(rows.clone(), copies)

    def _record(
        self, changing: tuple[Tensor, ...], names: tuple[str, ...]
    ) -> Callable[[], None]:
        self._places = [value.clone() for value in changing]
        batch, weights, progress, learning_rate, *drawn = self._places
        noise = dict(zip(names, drawn, strict=True))

        def run() -> None:
            self._losses = self._step(batch, noise, weights, progress, learning_rate)

        tensors = [*self._network.parameters(), *self._network.buffers()]
        before = [tensor.detach().clone() for tensor in tensors]
        moments = [v.clone() for v in self._moments()]
        self._capture.warm_up(run)
        replay = self._capture.record(run)
        for tensor, value in zip(tensors, before, strict=True):
            tensor.detach().copy_(value)
        # Vectors that the first step made begin with zeros.
        for number, moment in enumerate(self._moments()):
            if number < len(moments):
                moment.copy_(moments[number])
            else:
                moment.zero_()
        return replay

    def _moments(self) -> list[Tensor]:
        """Return what the optimizer remembers."""
        vectors = self._optimizer.vectors
        return [t for v in vectors for t in (v.mean, v.square, v.n_steps)]
