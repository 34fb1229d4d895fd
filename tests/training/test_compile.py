"""Compiled and captured steps take the steps of the plain one."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from latentsk.training._compile import (
    WARM_UP_STEPS,
    Capture,
    CapturedStep,
    CompiledGradient,
)
from latentsk.training._objective import Losses
from latentsk.training._optimizer import FlatAdamW, OptimizerSettings
from latentsk.training._step import autograd, make_step


class Slope(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(3))

    def forward(self, rows):
        return rows * self.slope


class Run:
    """A network, its loss and its optimizer."""

    def __init__(self, device="cpu", weight_decay=0.0):
        self.network = Slope().to(device)
        self.optimizer = FlatAdamW(self.network, OptimizerSettings(weight_decay))

        def loss(batch, noise, progress):
            output = self.network(batch) + noise["input"]
            losses = (output - 2 * batch).square().sum(dim=1)
            return Losses(losses, {"progress": progress * losses.detach()})

        self.loss = loss
        self.device = device

    def step(self, gradient=None):
        plain = autograd(self.loss, self.optimizer)
        return make_step(self.network, gradient or plain, self.optimizer)

    def compiled(self):
        return CompiledGradient(self.loss, self.optimizer)

    def taken(self, step, n_steps=6):
        """Return the weights, and all losses, after some steps."""
        losses = []
        for i in range(n_steps):
            drawn = torch.Generator().manual_seed(i)
            batch, noise = (torch.randn(4, 3, generator=drawn) for _ in range(2))
            weights = torch.rand(4, generator=drawn)
            rate, progress = torch.tensor(0.1 / (i + 1)), torch.tensor(i / n_steps)
            arguments = batch, {"input": noise}, weights, progress, rate
            batch, noise, weights, progress, rate = (
                {"input": a["input"].to(self.device)}
                if isinstance(a, dict)
                else a.to(self.device)
                for a in arguments
            )
            found = step(batch, noise, weights, progress, rate)
            losses += [found.rows, found.terms["progress"]]
        parameters = self.network.slope.detach()
        n_taken = self.optimizer.vectors[0].n_steps[None]
        return torch.cat([parameters, n_taken, *losses]).cpu()


def expected(**options):
    run = Run(**options)
    return run.taken(run.step())


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step():
    run = Run()
    gradient = run.compiled()
    found = run.taken(run.step(gradient))
    torch.testing.assert_close(found, expected(), rtol=1e-5, atol=1e-6)
    assert gradient.works


@pytest.mark.slow
def test_trainings_do_not_share_a_limit_of_compilations():
    with torch._dynamo.config.patch(recompile_limit=1):
        for weight_decay in (0.0, 0.1, 0.2):
            run = Run(weight_decay=weight_decay)
            gradient = run.compiled()
            run.taken(run.step(gradient))
            assert gradient.works


def test_what_cannot_be_compiled_runs_as_it_is():
    run = Run()
    plain = run.loss

    def loss(*arguments):
        torch._dynamo.graph_break()  # no single graph
        return plain(*arguments)

    run.loss = loss
    gradient = run.compiled()
    assert torch.equal(run.taken(run.step(gradient)), expected())
    assert not gradient.works


@pytest.mark.slow
def test_without_a_compiler_the_step_runs_as_it_is(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_compile import *\n"
        "run = Run()\n"
        "gradient = run.compiled()\n"
        "assert torch.equal(run.taken(run.step(gradient)), expected())\n"
        "assert not gradient.works\n"
    )
    missing = {"CXX": "/no/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, __file__.rpartition("/")[0]],
        env=missing,
        check=True,
    )


class Recorder:
    """A device on the CPU that counts; like CUDA it runs nothing while recording."""

    def __init__(self):
        self.warm_ups = self.recordings = self.replays = 0

    def record(self, run):
        self.recordings += 1

        def replay():
            self.replays += 1
            run()

        return replay

    def warm_up(self, run):
        for _ in range(WARM_UP_STEPS):
            self.warm_ups += 1
            run()


@pytest.mark.parametrize("taken_up", [False, True])
def test_a_captured_step_is_the_same_step(taken_up):
    run, device = Run(), Recorder()
    capture = Capture(device.record, device.warm_up)
    if taken_up:
        run.optimizer.take_up_all()
    step = CapturedStep(run.step(), run.network, run.optimizer, capture)
    assert torch.equal(run.taken(step), expected())
    assert (device.recordings, device.replays) == (1, 6)


@pytest.mark.gpu
def test_a_captured_step_is_the_same_step_on_a_gpu():
    run = Run(device="cuda")
    step = CapturedStep(run.step(), run.network, run.optimizer)
    torch.testing.assert_close(run.taken(step), expected())
