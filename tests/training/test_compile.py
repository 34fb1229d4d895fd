"""Compiled and captured steps take the steps of the plain one."""

import subprocess
import sys

import pytest
import torch
from latentsk.training.acceleration import (
    WARM_UP_STEPS,
    Capture,
    CapturedStep,
    CompiledStep,
)
from latentsk.training.step import (
    Layout,
    StepSettings,
    TrainingState,
    autograd,
    make_step,
)

LAYOUT = Layout(("slope",), (torch.Size([3]),))
ONE = torch.ones(())


def objective(parameters, batch, noise, kl_weight):
    output = batch * parameters["slope"] + noise.get("input", 0.0)
    return (output - 2 * batch).square().sum(dim=1)


def plain_step():
    return make_step(autograd(objective, LAYOUT), StepSettings())


def run(step, n_steps=6, device="cpu"):
    state = TrainingState.start(torch.zeros(3, device=device))
    losses = []
    for i in range(n_steps):
        generator = torch.Generator().manual_seed(i)
        batch = torch.randn(4, 3, generator=generator).to(device)
        noise = {"input": torch.randn(4, 3, generator=generator).to(device)}
        weights = torch.rand(4, generator=generator).to(device)
        rate = 0.1 * ONE.to(device) / (i + 1)
        losses.append(step(state, batch, noise, weights, ONE.to(device), rate).clone())
    return torch.cat([state.parameters, state.n_steps[None], *losses]).cpu()


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step():
    step = CompiledStep(plain_step())
    torch.testing.assert_close(run(step), run(plain_step()), rtol=1e-5, atol=1e-6)
    assert step.works


@pytest.mark.slow
def test_trainings_do_not_share_a_limit_of_compilations():
    with torch._dynamo.config.patch(recompile_limit=1):
        for decay in (0.0, 0.1, 0.2):
            settings = StepSettings(weight_decay=decay)
            step = CompiledStep(make_step(autograd(objective, LAYOUT), settings))
            run(step)
            assert step.works


def test_what_cannot_be_compiled_runs_as_it_is():
    def step(*arguments):
        torch._dynamo.graph_break()  # no single graph
        return plain(*arguments)

    plain = plain_step()
    careful = CompiledStep(step)
    assert torch.equal(run(careful), run(plain_step()))
    assert not careful.works


@pytest.mark.slow
def test_without_a_compiler_the_step_runs_as_it_is(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_acceleration import *\n"
        "step = CompiledStep(plain_step())\n"
        "assert torch.equal(run(step), run(plain_step()))\n"
        "assert not step.works\n"
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


def test_a_captured_step_is_the_same_step():
    device = Recorder()
    step = CapturedStep(plain_step(), Capture(device.record, device.warm_up))
    assert torch.equal(run(step), run(plain_step()))
    assert (device.recordings, device.replays) == (1, 6)


@pytest.mark.gpu
def test_a_captured_step_is_the_same_step_on_a_gpu():
    step = CapturedStep(plain_step())
    torch.testing.assert_close(run(step, device="cuda"), run(plain_step()))
