"""A step made faster: compiled as one graph, or replayed as a CUDA graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latentsk.training.step import Noise, Step, TrainingState

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


def _with_own_code(step: Step) -> Step:
    """Return the function with a code object of its own.

    torch counts compilations per code object, and gives up after a few of them: all
    trainings of a process would share them.
    """
    assert isinstance(step, FunctionType)
    copied = FunctionType(
        step.__code__.replace(),
        step.__globals__,
        step.__name__,
        step.__defaults__,
        step.__closure__,
    )
    return copied


class CompiledStep:
    """A step as one compiled graph; the step itself where nothing compiles.

    The first call compiles. If that fails, for want of a compiler, say, the step runs
    as it is from then on.

    Parameters
    ----------
    step : callable
        From :func:`latentsk.training.step.make_step`, by autograd.

    Attributes
    ----------
    works : bool
        Whether the compiled graph is what runs.
    """

    def __init__(self, step: Step) -> None:
        self.works = True
        self._step = step
        own = _with_own_code(step)
        self._compiled = torch.compile(own, fullgraph=True, dynamic=False)

    def __call__(self, *arguments: Any) -> Tensor:
        """Take the step."""
        if self.works:
            try:
                return self._compiled(*arguments)
            except (torch._dynamo.exc.TorchDynamoException, OSError):
                self.works = False
        return self._step(*arguments)


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
    step is copied to fixed places first. The state is the one of the first call;
    warming up and recording leave it as it was.

    Parameters
    ----------
    step : callable
        From :func:`latentsk.training.step.make_step`, compiled or not.

    capture : Capture, default=CUDA_CAPTURE
    """

    def __init__(self, step: Step, capture: Capture = CUDA_CAPTURE) -> None:
        self._step = step
        self._capture = capture
        self._replay: Callable[[], None] | None = None

    def __call__(
        self,
        state: TrainingState,
        batch: Tensor,
        noise: Noise,
        row_weights: Tensor,
        kl_weight: Tensor,
        learning_rate: Tensor,
    ) -> Tensor:
        """Take the step; the losses are overwritten by the next call."""
        changing = {
            "batch": batch,
            "row_weights": row_weights,
            "kl_weight": kl_weight,
            "learning_rate": learning_rate,
            **{f"noise.{name}": value for name, value in noise.items()},
        }
        if self._replay is None:
            self._record(state, changing)
        assert self._replay is not None
        for name, value in changing.items():
            self._places[name].copy_(value, non_blocking=True)
        self._replay()
        return self._losses

    def _record(self, state: TrainingState, changing: dict[str, Tensor]) -> None:
        self._places = {name: value.clone() for name, value in changing.items()}
        places = self._places
        noise = {
            name.removeprefix("noise."): value
            for name, value in places.items()
            if name.startswith("noise.")
        }

        def run() -> None:
            self._losses = self._step(
                state,
                places["batch"],
                noise,
                places["row_weights"],
                places["kl_weight"],
                places["learning_rate"],
            )

        before = [part.clone() for part in state]
        self._capture.warm_up(run)
        self._replay = self._capture.record(run)
        for part, value in zip(state, before, strict=True):
            part.copy_(value)
