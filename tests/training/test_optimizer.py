"""One step against torch's autograd and optimizers."""

import pytest
import torch
from latentsk.modules.autoencoder import Autoencoder
from latentsk.modules.mlp import initialize, mlp
from latentsk.training.objectives import squared_error
from latentsk.training.step import (
    StepSettings,
    TrainingState,
    autograd,
    clipped,
    flatten,
    make_step,
)
from torch import nn

ROWS = torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
ONE = torch.ones(())
RATE = torch.tensor(1e-2)


def network():
    module = Autoencoder(mlp([5, 4, 2], activation="tanh"), mlp([2, 4, 5]))
    return initialize(module, torch.Generator().manual_seed(0))


def reconstruction(module):
    def objective(parameters, batch, noise, kl_weight):
        output, _ = torch.func.functional_call(module, parameters, (batch,))
        return squared_error(output, batch)

    return objective


def train(settings, weights, n_steps=5, compiled=False):
    module = network()
    flat, layout = flatten(module)
    step = make_step(autograd(reconstruction(module), layout), settings)
    if compiled:
        step = torch.compile(step, fullgraph=True, dynamic=False)
    state = TrainingState.start(flat)
    losses = [step(state, ROWS, {}, weights, ONE, RATE) for _ in range(n_steps)]
    return layout.views(state.parameters), losses, state


def reference(settings, weights, n_steps=5):
    module = network()
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=1e-2, weight_decay=settings.weight_decay
    )
    losses = []
    for _ in range(n_steps):
        optimizer.zero_grad()
        output, _ = module(ROWS)
        losses.append(squared_error(output, ROWS))
        ((losses[-1] * weights).sum() / weights.sum()).backward()
        if settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), settings.clip_norm)
        optimizer.step()
    return dict(module.named_parameters()), losses


SETTINGS = [
    StepSettings(),
    StepSettings(weight_decay=0.1),
    StepSettings(clip_norm=0.5),
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("weighted", [False, True])
def test_steps_are_those_of_adamw(settings, weighted):
    weights = torch.linspace(0, 2, 30) if weighted else torch.ones(30)
    ours, our_losses, state = train(settings, weights)
    theirs, their_losses = reference(settings, weights)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-6)
    for our, their in zip(our_losses, their_losses, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-4, atol=1e-5)
    assert state.n_steps == 5


def test_rows_of_weight_zero_do_not_count():
    weights = torch.ones(30)
    weights[20:] = 0.0
    ours, _, _ = train(StepSettings(), weights)
    poisoned = ROWS.clone()
    poisoned[20:] = 1e3
    module = network()
    flat, layout = flatten(module)
    step = make_step(autograd(reconstruction(module), layout), StepSettings())
    state = TrainingState.start(flat)
    for _ in range(5):
        step(state, poisoned, {}, weights, ONE, RATE)
    for name, value in layout.views(state.parameters).items():
        torch.testing.assert_close(ours[name], value)


@pytest.mark.parametrize("most", [0.1, 100.0])
def test_clipping_is_that_of_torch(most):
    gradient = torch.randn(50, generator=torch.Generator().manual_seed(0))
    parameter = nn.Parameter(torch.zeros(50))
    parameter.grad = gradient.clone()
    nn.utils.clip_grad_norm_([parameter], most)
    torch.testing.assert_close(clipped(gradient, most), parameter.grad)


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step():
    eager, eager_losses, _ = train(SETTINGS[2], torch.ones(30))
    compiled, losses, _ = train(SETTINGS[2], torch.ones(30), compiled=True)
    for name, value in eager.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses[-1], eager_losses[-1], rtol=1e-4, atol=1e-5)


def test_the_module_is_a_template_only():
    module = network()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    flat, layout = flatten(module)
    step = make_step(autograd(reconstruction(module), layout), StepSettings())
    step(TrainingState.start(flat), ROWS, {}, torch.ones(30), ONE, RATE)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
        assert module.get_parameter(name).grad is None


def test_frozen_parameters_stay_as_they_are():
    module = network()
    module.encoder.requires_grad_(False)
    flat, layout = flatten(module)
    assert all(name.startswith("decoder.") for name in layout.names)
    step = make_step(autograd(reconstruction(module), layout), StepSettings())
    step(TrainingState.start(flat), ROWS, {}, torch.ones(30), ONE, RATE)
    assert len(flat) == sum(p.numel() for p in module.decoder.parameters())
