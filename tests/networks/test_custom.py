"""A user's module is copied, its randomness comes from outside, and errors say why."""

import copy

import pytest
import torch
from torch import nn

from latentsk.networks._custom import adopt, evaluate, takes_float64, train_mode
from latentsk.networks._mlp import Dropout, initialize, mlp

ROW = torch.linspace(-1.0, 1.0, 6)[None]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(n_rows=4):
    return torch.randn(n_rows, 6, generator=generator())


class Own(nn.Module):
    """Images inside, the same dropout layer for each of them."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 3, 2)
        self.drop = nn.Dropout(0.5)
        self.block = nn.ModuleList([nn.Linear(6, 4), nn.Dropout(0.25, inplace=True)])

    def forward(self, rows):
        images = self.convolution(rows.reshape(-1, 1, 2, 3))
        hidden = self.drop(images).flatten(1)
        for layer in self.block:
            hidden = layer(hidden)
        return hidden


class Shared(nn.Module):
    """One dropout layer under two names, after two linear layers."""

    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, width)
        self.drop = self.again = nn.Dropout(0.5)

    def forward(self, rows):
        return self.again(self.second(self.drop(self.first(rows))))


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, rows):
        return self.function(rows)


def test_dropout_layers_take_masks_of_their_rows_shape():
    adopted = adopt(Own(), ROW, name="encoder")
    assert type(adopted.drop) is Dropout
    assert type(adopted.block[1]) is Dropout
    assert (adopted.drop.rate, adopted.block[1].rate) == (0.5, 0.25)
    assert adopted.drop.draw(5, generator()).shape == (5, 3, 1, 2)
    assert adopted.block[1].draw(5, generator()).shape == (5, 4)
    assert not any(isinstance(layer, nn.Dropout) for layer in adopted.modules())


def test_in_eval_mode_the_copy_computes_the_same():
    module = Own()
    adopted = adopt(module, ROW, name="encoder")
    torch.testing.assert_close(adopted.eval()(rows()), module.eval()(rows()))


def test_in_training_mode_the_masks_decide():
    module = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5))
    adopted = adopt(module, ROW, name="encoder").train()
    mask = torch.tensor([[2.0, 0.0, 0.0]] * 4)
    output = torch.func.functional_call(adopted, {"1.mask": mask}, (rows(),))
    torch.testing.assert_close(output, module[0](rows()) * mask)


def test_the_copy_has_the_same_state():
    module = Own()
    adopted = adopt(module, ROW, name="encoder").state_dict()
    assert list(adopted) == list(module.state_dict())
    for name, value in module.state_dict().items():
        assert torch.equal(adopted[name], value)
        assert adopted[name].data_ptr() != value.data_ptr()


def test_the_users_module_is_left_as_it_is():
    module = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5), nn.Linear(3, 2)).double()
    module[2].requires_grad_(False)
    module[1].eval()
    layers, before = list(module.modules()), copy.deepcopy(module.state_dict())
    adopt(module, ROW, name="encoder")
    assert list(module.modules()) == layers
    assert [layer.training for layer in module] == [True, False, True]
    assert [p.requires_grad for p in module.parameters()] == [True, True, False, False]
    assert not any(layer._forward_pre_hooks for layer in layers)
    for name, value in module.state_dict().items():
        assert value.dtype == torch.float64
        assert torch.equal(value, before[name])


def test_the_copy_keeps_modes_and_flags_and_has_no_hooks():
    module = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5), nn.Linear(3, 2))
    module[2].requires_grad_(False)
    module[1].eval()
    adopted = adopt(module, ROW, name="encoder")
    assert [layer.training for layer in adopted] == [True, False, True]
    assert [p.requires_grad for p in adopted.parameters()] == [True, True, False, False]
    assert not any(layer._forward_pre_hooks for layer in adopted.modules())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_copy_is_in_single_precision(dtype):
    module = nn.Sequential(nn.Linear(6, 2), nn.BatchNorm1d(2)).to(dtype).eval()
    state = adopt(module, ROW, name="encoder").state_dict()
    counts = state.pop("1.num_batches_tracked")
    assert counts.dtype == torch.int64
    assert {value.dtype for value in state.values()} == {torch.float32}
    torch.testing.assert_close(state["0.weight"], module[0].weight.float())


def test_the_global_generator_is_neither_read_nor_set():
    torch.manual_seed(7)
    module = Own()
    before = torch.get_rng_state()
    adopted = adopt(module, ROW, name="encoder")
    adopted.train()(rows())
    assert torch.equal(torch.get_rng_state(), before)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, rows):
        if self.training:
            self.count += 1
        return rows


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Function(lambda rows: rows + torch.rand(rows.shape)), "same result twice"),
        (Function(lambda rows: rows - rows.mean(dim=0)), "depend on other rows"),
        (Function(lambda rows: rows.mul_(2.0)), "changes the rows that it is given"),
        (Counting(), "changes its buffer 'count' while training"),
        (nn.Sequential(nn.LSTM(6, 2, 2, dropout=0.1)), "Give it dropout=0"),
        (nn.MultiheadAttention(6, 2, dropout=0.1), "global generator"),
        (nn.RReLU(), "global generator"),
        (nn.InstanceNorm1d(6, track_running_stats=True), "stored statistics"),
        (
            nn.utils.parametrizations.spectral_norm(nn.Linear(6, 2)),
            "spectral norm, which changes its buffers",
        ),
    ],
)
def test_what_would_not_train_as_it_infers_is_refused(module, message):
    with pytest.raises(ValueError, match=message):
        adopt(module, ROW, name="encoder")


@pytest.mark.parametrize(
    "layer",
    [
        nn.Dropout1d(0.1).eval(),
        nn.AlphaDropout(0.0),
        nn.RReLU().eval(),
        nn.Dropout(1.0).eval(),
        nn.utils.parametrizations.orthogonal(nn.Linear(6, 6)),
    ],
)
def test_layers_without_randomness_of_their_own_are_taken(layer):
    module = nn.Sequential(nn.Linear(6, 6), layer)
    adopted = train_mode(adopt(module, ROW, name="encoder"))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    module.eval()
    torch.testing.assert_close(adopted(rows()), module(rows()))
    assert torch.equal(torch.get_rng_state(), before)


def test_layers_in_eval_mode_stay_in_it():
    module = nn.Sequential(nn.Linear(6, 2), nn.TransformerEncoderLayer(2, 1, 4).eval())
    adopted = adopt(module, ROW, name="encoder")
    # As after a fit, when everything is in eval mode.
    trained = train_mode(copy.deepcopy(adopted).eval())
    assert trained[0].training
    assert not any(layer.training for layer in trained[1].modules())


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_what_cannot_be_copied_is_named():
    scripted = torch.jit.script(nn.Linear(6, 2))
    with pytest.raises(ValueError, match="encoder is a scripted module"):
        adopt(scripted, ROW, name="encoder")


def test_nothing_is_done_in_place():
    module = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 2))
    adopted = adopt(module, ROW, name="encoder")
    rows = -torch.ones(1, 6)
    adopted(rows)
    assert rows.eq(-1).all()
    assert module[0].inplace


def test_shared_weights_stay_shared():
    encoder, decoder = nn.Linear(6, 6), nn.Linear(6, 6)
    decoder.weight = encoder.weight
    memo = {}
    first = adopt(encoder, ROW, name="encoder", memo=memo)
    second = adopt(decoder, ROW, name="decoder", memo=memo)
    assert first.weight is second.weight
    assert first.weight is not encoder.weight


class InSinglePrecision(nn.Module):
    def forward(self, rows):
        return rows @ torch.ones(6, 2)


def test_what_works_in_float64():
    assert takes_float64(nn.Linear(6, 2), ROW)
    assert not takes_float64(InSinglePrecision(), ROW)


def test_dropout_of_nothing_is_the_identity():
    adopted = adopt(nn.Sequential(nn.Dropout(0), nn.Linear(6, 2)), ROW, name="encoder")
    assert type(adopted[0]) is nn.Identity


def test_a_module_may_be_a_dropout_layer():
    adopted = adopt(nn.Dropout(0.5), ROW, name="encoder")
    assert type(adopted) is Dropout
    assert adopted.mask.shape == (6,)


def test_a_layer_in_two_places_stays_one_layer():
    adopted = adopt(Shared(6), ROW, name="encoder")
    assert type(adopted.drop) is Dropout
    assert adopted.drop is adopted.again


def test_a_layer_in_two_places_must_have_one_shape():
    message = r"encoder\.drop \(Dropout\) .*shapes \[\(1, 3\), \(1, 6\)\]"
    with pytest.raises(ValueError, match=message):
        adopt(Shared(3), ROW, name="encoder")


def test_the_projects_own_networks_pass():
    module = initialize(mlp([6, 4, 2], dropout=0.5), generator())
    adopted = adopt(module, ROW, name="encoder")
    assert adopted[2].rate == 0.5
    torch.testing.assert_close(adopted(rows()), module(rows()))


def test_a_module_without_parameters():
    assert adopt(nn.Flatten(), torch.zeros(1, 2, 3), name="encoder").training


@pytest.mark.parametrize(
    "layer",
    [
        nn.Dropout1d(),
        nn.Dropout2d(),
        nn.Dropout3d(),
        nn.AlphaDropout(),
        nn.FeatureAlphaDropout(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_other_kinds_of_dropout(layer):
    module = nn.Sequential(nn.Linear(6, 2), nn.Sequential(layer))
    kind = type(layer).__name__
    with pytest.raises(
        ValueError, match=rf"encoder\.1\.0 \({kind}\).*nn\.Dropout is taken"
    ):
        adopt(module, ROW, name="encoder")


def test_a_users_kind_of_dropout():
    class Always(nn.Dropout):
        def forward(self, input):
            return nn.functional.dropout(input, self.p, training=True)

    with pytest.raises(ValueError, match=r"encoder \(Always\).*nn\.Dropout is taken"):
        adopt(Always(), ROW, name="encoder")


def test_dropout_of_everything():
    with pytest.raises(ValueError, match=r"encoder \(Dropout\).*below 1, got 1"):
        adopt(nn.Dropout(1.0), ROW, name="encoder")


def test_dropout_in_training_mode_only():
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, rows):
            return self.drop(rows) if self.training else rows

    with pytest.raises(
        ValueError, match=r"encoder\.drop \(Dropout\) .* in eval mode too"
    ):
        adopt(Late(), ROW, name="encoder")


def test_dropout_called_by_keyword():
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, rows):
            return self.drop(input=rows)

    with pytest.raises(ValueError, match=r"must be called as layer\(x\)"):
        adopt(Keyword(), ROW, name="encoder")


def test_dropout_whose_input_does_not_start_with_the_row():
    module = nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.Flatten(0, 1), nn.Dropout(0.5), nn.Flatten(0)
    )
    module.append(nn.Unflatten(0, (1, 6)))
    message = r"encoder\.2 \(Dropout\) .* rows as the first .* \[\(2, 3\)\]"
    with pytest.raises(ValueError, match=message):
        adopt(module, ROW, name="encoder")


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.SyncBatchNorm])
def test_batch_norm_in_training_mode(kind):
    message = r"decoder\.1 \(\w+\) makes .*nn\.GroupNorm .*layer\.eval\("
    with pytest.raises(ValueError, match=message):
        adopt(nn.Sequential(nn.Linear(6, 2), kind(2)), ROW, name="decoder")


def test_batch_norm_without_statistics():
    # In eval mode too, it uses those of the batch.
    module = nn.BatchNorm1d(6, track_running_stats=False).eval()
    with pytest.raises(ValueError, match="no stored statistics"):
        adopt(module, ROW, name="decoder")


def test_batch_norm_in_eval_mode_stays_there():
    module = nn.Sequential(nn.Linear(6, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    module(rows(50))
    module[1].eval()
    adopted = train_mode(adopt(module, ROW, name="encoder"))
    assert [layer.training for layer in adopted] == [True, False, True]
    before = copy.deepcopy(adopted.state_dict())
    alone = torch.cat([adopted(row[None]) for row in rows()])
    torch.testing.assert_close(alone, adopted(rows()))
    torch.testing.assert_close(alone, module.eval()(rows()))
    for name, value in adopted.state_dict().items():
        assert torch.equal(value, before[name])


def test_train_mode_returns_the_module():
    module = Own().eval()
    assert train_mode(module) is module
    assert all(layer.training for layer in module.modules())


@pytest.mark.parametrize("module", [nn.Linear, torch.relu, None, "relu"])
def test_no_module(module):
    with pytest.raises(TypeError, match=r"encoder must be an instance of torch\.nn\."):
        adopt(module, ROW, name="encoder")


def test_a_module_that_does_not_take_the_rows():
    with pytest.raises(
        ValueError, match=r"encoder cannot take rows of shape \(6,\): "
    ) as e:
        adopt(nn.Linear(5, 2), ROW, name="encoder")
    assert isinstance(e.value.__cause__, RuntimeError)
    assert str(e.value.__cause__) in str(e.value)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_layer_without_a_shape_yet():
    with pytest.raises(ValueError, match=r"encoder\.weight has no shape yet"):
        adopt(nn.LazyLinear(2), ROW, name="encoder")


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda rows: (rows, rows), "tuple"),
        (lambda rows: rows.long(), "int64"),
        (lambda rows: rows.sum(dim=1), r"shape \(1,\)"),
        (lambda rows: rows.reshape(2, 3), r"shape \(2, 3\)"),
        (lambda rows: rows.sum(), r"shape \(\)"),
    ],
)
def test_an_output_that_is_not_one_row(function, got):
    with pytest.raises(ValueError, match=f"encoder must return a float.*got.*{got}"):
        adopt(Function(function), ROW, name="encoder")


def test_trying_a_module_leaves_its_modes_alone():
    module = nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 5, 2))
    module[1].eval()
    assert evaluate(module, ROW).shape == (1, 5, 1, 2)
    assert [layer.training for layer in module] == [True, False]


def test_gradients_of_the_copy_are_the_modules():
    module = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5), nn.Linear(3, 2)).eval()
    adopted = train_mode(adopt(module, ROW, name="encoder"))

    def loss(parameters):
        output = torch.func.functional_call(adopted, parameters, (rows(),))
        return output.square().sum()

    parameters = {k: v.detach() for k, v in adopted.named_parameters()}
    gradient = torch.func.grad(loss)(parameters)
    module(rows()).square().sum().backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(gradient[name], parameter.grad)


@pytest.mark.gpu
def test_the_copy_is_on_the_device_of_the_example():
    adopted = adopt(Own(), ROW.cuda(), name="encoder")
    assert adopted.drop.mask.is_cuda
    assert adopted.convolution.weight.is_cuda
