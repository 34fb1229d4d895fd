"""What a vector-quantized autoencoder learns from, term by term."""

import pytest
import torch
from torch import nn

from latentsk.training._data import ResidentRows
from latentsk.vae._code_prior import CODE_PRIORS
from latentsk.vae._codebook import Codebook
from latentsk.vae._fsq import ScalarQuantizer
from latentsk.vae._likelihoods import LIKELIHOODS, gaussian
from latentsk.vae._vq_network import VQVAE
from latentsk.vae._vq_objective import RESTART_NOISE, CodedDensity

ROWS = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))


def network(quantizer=None, prior="independent", n_positions=3):
    quantizer = Codebook(5, 2) if quantizer is None else quantizer
    torch.manual_seed(0)
    width = n_positions * quantizer.code_dim
    codes = CODE_PRIORS[prior](n_positions, quantizer.n_codes)
    model = VQVAE(nn.Linear(4, width), nn.Linear(width, 4), quantizer, codes)
    model.start_from(ResidentRows(ROWS), torch.Generator().manual_seed(0))
    return model.train()


def step(model, objective, progress=1.0):
    noise = objective.draw_noise(len(ROWS), torch.Generator().manual_seed(0))
    return objective.loss(model, ROWS, noise, torch.tensor(progress))


@pytest.mark.parametrize("prior", list(CODE_PRIORS))
def test_the_terms_are_what_they_are_called(prior):
    model = network(prior=prior)
    objective = CodedDensity(model, LIKELIHOODS["gaussian"], commitment=0.7)
    with torch.no_grad():
        vectors = model.encode(ROWS)
        found = model.eval().quantize(ROWS)
        output = model.decode(found.vectors)
        density = gaussian(ROWS, output, model.log_scale())
        codes = model.prior.log_probabilities(found.codes).sum(dim=1)
        squares = (vectors - found.vectors).square().sum(dim=(1, 2))
        seen = objective.monitor(model, ROWS)
    torch.testing.assert_close(seen.rows, -density - codes)
    torch.testing.assert_close(seen.terms["reconstruction"], -density)
    torch.testing.assert_close(seen.terms["codes"], -codes)
    torch.testing.assert_close(seen.terms["commitment"], squares)
    learned = step(model.train(), objective)
    torch.testing.assert_close(learned.rows.detach(), seen.rows + 0.7 * squares)


def test_a_loss_is_of_each_row_alone():
    model = network()
    objective = CodedDensity(model, LIKELIHOODS["gaussian"])
    whole = objective.monitor(model.eval(), ROWS).rows
    single = objective.monitor(model, ROWS[7:8]).rows
    torch.testing.assert_close(whole[7:8], single)


def test_levels_have_no_commitment():
    model = network(ScalarQuantizer((3, 3)))
    objective = CodedDensity(model, LIKELIHOODS["gaussian"], commitment=9.0)
    learned = step(model, objective)
    assert list(learned.terms) == ["reconstruction", "codes"]
    torch.testing.assert_close(learned.rows, sum(learned.terms.values()))


def test_codes_learn_in_training_steps_alone():
    model = network()
    objective = CodedDensity(model, LIKELIHOODS["gaussian"])
    before = {k: b.clone() for k, b in model.named_buffers()}
    objective.monitor(model.eval(), ROWS)
    assert all(torch.equal(b, before[k]) for k, b in model.named_buffers())
    step(model.train(), objective)
    changed = {k for k, b in model.named_buffers() if not torch.equal(b, before[k])}
    assert changed == {
        "quantizer.codebook",
        "quantizer.shares",
        "prior.counts",
        "prior.n_steps",
    }


@pytest.mark.parametrize("quantizer", ["ema", "fsq"])
def test_before_the_codes_start_it_is_an_autoencoder(quantizer):
    model = network(ScalarQuantizer((3, 3)) if quantizer == "fsq" else None)
    objective = CodedDensity(model, LIKELIHOODS["gaussian"], starts_at=0.1)
    assert objective.settled_at == 0.1
    early = step(model, objective, 0.05)
    vectors = model.quantizer.bounded(model.encode(ROWS))
    plain = -gaussian(ROWS, model.decode(vectors), model.log_scale())
    torch.testing.assert_close(early.rows, plain)


def test_the_prior_teaches_the_encoder_nothing():
    model = network(prior="autoregressive")
    codes = model.quantize(ROWS).codes
    for parameter in model.prior.parameters():
        nn.init.normal_(parameter)
    model.prior.log_probabilities(codes).sum().backward()
    assert model.encoder.weight.grad is None


def test_the_decoder_teaches_the_encoder():
    model = network()
    objective = CodedDensity(model, LIKELIHOODS["gaussian"], commitment=0.0)
    step(model, objective).rows.sum().backward()
    assert model.encoder.weight.grad.abs().sum() > 0


def test_a_step_can_be_compiled():
    model = network(prior="autoregressive")
    objective = CodedDensity(model, LIKELIHOODS["gaussian"], starts_at=0.1)
    noise = objective.draw_noise(len(ROWS), torch.Generator().manual_seed(0))

    def loss(batch, noise, progress):
        return objective.loss(model, batch, noise, progress)

    exported = torch.compile(loss, fullgraph=True, backend="eager")
    plain = {k: b.clone() for k, b in model.named_buffers()}
    found = exported(ROWS, noise, torch.ones(())).rows
    after = {k: b.clone() for k, b in model.named_buffers()}
    for name, buffer in model.named_buffers():
        buffer.copy_(plain[name])
    torch.testing.assert_close(found, loss(ROWS, noise, torch.ones(())).rows)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, after[name])
    assert RESTART_NOISE in noise


def test_constant_columns_are_left_out():
    rows = ROWS.clone()
    rows[:, 2] = 0.0
    torch.manual_seed(0)
    parts = Codebook(5, 2), CODE_PRIORS["independent"](3, 5)
    encoder, decoder = (nn.Sequential(nn.Linear(*n)) for n in ((4, 6), (6, 4)))
    model = VQVAE(encoder, decoder, *parts)
    model.begin_with(ResidentRows(rows))
    assert (encoder[0].weight[:, 2] == 0).all()
    assert (decoder[0].weight[2] == 0).all()


def test_codes_are_counted_once_for_every_row():
    model = network().eval()
    with torch.no_grad():
        model.end_with(ResidentRows(ROWS))
        expected = torch.bincount(model.quantize(ROWS).codes.flatten(), minlength=5)
    assert torch.equal(model.code_counts, expected)
    assert model.code_counts.sum() == 90
