"""Custom modules, given by a user, made ready for training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from latentsk.networks._mlp import Dropout

Shapes = dict[nn.Module, set[tuple[int, ...]]]


def adopt(
    module: nn.Module,
    example: Tensor,
    *,
    name: str,
    memo: dict[int, Any] | None = None,
) -> nn.Module:
    """Return a copy of a module whose dropout masks come from outside.

    Dropout layers become those of `latentsk.networks`. One that is called more
    than once in a pass has one mask for all calls; one in eval mode stays switched off.
    Nothing is done in place any more, where a layer has the choice. Functions that draw
    random numbers draw them from torch's global generator as before.

    Parameters
    ----------
    module : nn.Module
        Left as it is, modes and flags included.

    example : Tensor of shape (1, ...)
        A row. The copy is moved to its device, and the module is tried on it.

    name : str
        Of the parameter, for messages.

    memo : dict or None, default=None
        Of :func:`copy.deepcopy`: two modules that share weights still do so if both are
        adopted with the same one.

    Returns
    -------
    module : nn.Module
        In float32, modes and ``requires_grad`` flags as they were.

    Raises
    ------
    TypeError
        If the module is none.

    ValueError
        If the result for a row depends on other rows, if a layer draws from the global
        generator and cannot be replaced, if a buffer changes while training, if the
        input is changed, or if the module does not turn the example into one row of
        floating point numbers.

    Examples
    --------
    >>> custom = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    >>> adopt(custom, torch.zeros(1, 3), name="encoder")
    Sequential(
      (0): Linear(in_features=3, out_features=2, bias=True)
      (1): Dropout()
    )
    """
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"{name} must be an instance of torch.nn.Module, got {module!r}."
        )
    _check_parameters(module, name)
    _check_layers(module, name)
    adopted = _copied(module, memo, name).float().to(example.device)
    for layer in adopted.modules():
        if getattr(layer, "inplace", False):
            setattr(layer, "inplace", False)  # noqa: B010
    with _dropout_shapes(adopted) as shapes:
        output = _try(adopted, example, name)
    _check_output(output, name)
    adopted = _with_outside_masks(adopted, shapes, name).to(example.device)
    for layer in adopted.modules():
        setattr(layer, "mode_in_training", layer.training)  # noqa: B010
    _check_rows(adopted, example, name)
    _check_buffers(adopted, example, name)
    return adopted


def takes_float64(module: nn.Module, example: Tensor) -> bool:
    """Tell whether a module works in float64, as well as in float32.

    Parameters
    ----------
    module : nn.Module
    example : Tensor of shape (1, ...)

    Examples
    --------
    >>> takes_float64(nn.Linear(3, 2), torch.zeros(1, 3))
    True
    """
    try:
        output = evaluate(copy.deepcopy(module).double(), example.double())
    except (RuntimeError, TypeError):
        return False
    return output.dtype == torch.float64


def evaluate(module: nn.Module, rows: Tensor) -> Tensor:
    """Apply a module in eval mode, without gradients; leave its modes alone.

    Parameters
    ----------
    module : nn.Module
    rows : Tensor of shape (n_rows, ...)

    Examples
    --------
    >>> dropout = nn.Dropout(0.5)
    >>> evaluate(dropout, torch.ones(1, 3)), dropout.training
    (tensor([[1., 1., 1.]]), True)
    """
    modes = {layer: layer.training for layer in module.modules()}
    try:
        with torch.no_grad():
            return module.eval()(rows)
    finally:
        for layer, mode in modes.items():
            layer.training = mode


def train_mode(module: nn.Module) -> nn.Module:
    """Put a module in training mode, but for layers that stay in eval mode.

    Those are the ones that were in eval mode when they were adopted, and batch
    normalization, which uses its stored statistics in training too.

    Parameters
    ----------
    module : nn.Module
        Changed in place.

    Returns
    -------
    module : nn.Module
        The module itself.

    Examples
    --------
    >>> module = train_mode(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    >>> [layer.training for layer in module]
    [True, False]
    """
    for layer in module.modules():
        stored = isinstance(layer, _NormBase) and layer.track_running_stats
        layer.training = getattr(layer, "mode_in_training", not stored)
    return module


def _copied(module: nn.Module, memo: dict[int, Any] | None, name: str) -> nn.Module:
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(f"{name} is a scripted module; give the module it is made of.")
    try:
        return copy.deepcopy(module, memo)
    except RuntimeError as error:
        raise ValueError(f"{name} cannot be copied: {error}") from error


def _check_parameters(module: nn.Module, name: str) -> None:
    for path, parameter in module.named_parameters():
        if is_lazy(parameter):
            # The first call would draw it from the global generator.
            raise ValueError(
                f"{name}.{path} has no shape yet; call the module on an example first."
            )


def _check_layers(module: nn.Module, name: str) -> None:
    for path, layer in module.named_modules():
        where = _label(name, path, layer)
        if isinstance(layer, _NormBase):
            _check_norm(layer, where)
        if is_parametrized(layer) and any(
            "SpectralNorm" in type(part).__name__
            for part in layer.parametrizations.modules()
        ):
            raise ValueError(
                f"{where} has a spectral norm, which changes its buffers while "
                "training; that is not carried along here."
            )
        if layer.training and _draws(layer):
            raise ValueError(
                f"{where} draws from torch's global generator, so that random_state "
                "could not decide the result. Give it dropout=0 or put it in eval "
                "mode; nn.Dropout is taken."
            )
        if type(layer) is nn.Dropout and layer.training and layer.p == 1.0:
            raise ValueError(f"{where} must have a rate p below 1, got 1.")


def _check_norm(layer: _NormBase, where: str) -> None:
    if isinstance(layer, _BatchNorm) and layer.running_mean is None:
        raise ValueError(
            f"{where} has no stored statistics, so that the result for a row depends "
            "on the other rows; use nn.GroupNorm or nn.LayerNorm."
        )
    if layer.track_running_stats and layer.training:
        raise ValueError(
            f"{where} makes what it computes for a row depend on the other rows while "
            "training; use nn.GroupNorm or nn.LayerNorm, or put the layer in eval mode "
            "(layer.eval()) to use its stored statistics, as for a pretrained network."
        )


def _draws(layer: nn.Module) -> bool:
    """Tell whether a layer, as it is in training, has randomness of its own."""
    if isinstance(layer, _DropoutNd):
        return type(layer) is not nn.Dropout and layer.p > 0.0
    if isinstance(layer, nn.RNNBase):
        return layer.dropout > 0.0 and layer.num_layers > 1
    if isinstance(layer, nn.MultiheadAttention):
        return layer.dropout > 0.0
    return isinstance(layer, nn.RReLU)


def _check_rows(module: nn.Module, example: Tensor, name: str) -> None:
    """Try two rows, together and alone."""
    shape = (2, *example.shape[1:])
    values = torch.linspace(-1.0, 1.0, 2 * example.numel()).to(example)
    rows = values.view(shape)
    untouched = rows.clone()
    together = _try(module, rows, name)
    if not torch.equal(rows, untouched):
        raise ValueError(f"{name} changes the rows that it is given; let it copy them.")
    if not _same(together, _try(module, rows, name)):
        raise ValueError(f"{name} does not give the same result twice in eval mode.")
    alone = torch.cat([_try(module, row[None], name) for row in rows])
    if not _same(together, alone):
        raise ValueError(f"{name} makes the result for a row depend on other rows.")


def _same(first: Tensor, second: Tensor) -> bool:
    """Compare up to rounding."""
    return first.shape == second.shape and torch.allclose(
        first, second, rtol=1e-3, atol=1e-4, equal_nan=True
    )


def _check_buffers(module: nn.Module, example: Tensor, name: str) -> None:
    """Try a step of training, on a copy."""
    tried = train_mode(copy.deepcopy(module))
    before = {key: value.clone() for key, value in tried.named_buffers()}
    with torch.no_grad():
        tried(example)
    for key, value in tried.named_buffers():
        if not torch.equal(value, before[key]):
            raise ValueError(
                f"{name} changes its buffer {key!r} while training, which training "
                "here does not carry along; put that layer in eval mode, or drop it."
            )


def _label(name: str, path: str, layer: nn.Module) -> str:
    return f"{'.'.join(filter(None, (name, path)))} ({type(layer).__name__})"


@contextmanager
def _dropout_shapes(module: nn.Module) -> Iterator[Shapes]:
    """Collect the shapes of what goes into each dropout layer."""
    layers = [layer for layer in module.modules() if type(layer) is nn.Dropout]
    shapes: Shapes = {layer: set() for layer in layers}

    def note(layer: nn.Module, args: tuple[Any, ...]) -> None:
        if args:  # None for an input by keyword, which the replacement does not take.
            shapes[layer].add(tuple(args[0].shape))

    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        yield shapes
    finally:
        for hook in hooks:
            hook.remove()


def _try(module: nn.Module, example: Tensor, name: str) -> Tensor:
    try:
        return evaluate(module, example)
    except Exception as error:
        raise ValueError(
            f"{name} cannot take rows of shape {tuple(example.shape[1:])}: {error}"
        ) from error


def _check_output(output: object, name: str) -> None:
    expected = (
        f"{name} must return a floating point tensor of shape (1, ...) for one row"
    )
    if not isinstance(output, Tensor):
        raise ValueError(f"{expected}, got {type(output).__name__}.")
    if not output.is_floating_point() or output.ndim < 2 or len(output) != 1:
        raise ValueError(
            f"{expected}, got shape {tuple(output.shape)} and dtype {output.dtype}."
        )


def _with_outside_masks(module: nn.Module, shapes: Shapes, name: str) -> nn.Module:
    replacements: dict[nn.Module, nn.Module] = {}
    # Listed first, since the module changes; with duplicates, since a layer may be
    # registered in several places.
    for path, layer in list(module.named_modules(remove_duplicate=False)):
        if layer not in shapes:
            continue
        if layer not in replacements:
            where = _label(name, path, layer)
            replacements[layer] = _outside(layer, shapes[layer], where)
        if path == "":
            return replacements[layer]
        module.set_submodule(path, replacements[layer])
    return module


def _outside(layer: nn.Module, shapes: set[tuple[int, ...]], where: str) -> nn.Module:
    """Return what replaces a dropout layer."""
    assert isinstance(layer, nn.Dropout)
    if layer.p == 0.0 or not layer.training:
        return nn.Identity().train(layer.training)
    starts_with_the_row = all(shape[:1] == (1,) for shape in shapes)
    if len(shapes) != 1 or not starts_with_the_row:
        raise ValueError(
            f"{where} must be called as layer(x), in eval mode too, with rows as the "
            "first dimension of x and always the same shape, got the shapes "
            f"{sorted(shapes)} for one row. Use a layer of its own in each place."
        )
    (shape,) = shapes
    return Dropout(layer.p, shape[1:]).train(layer.training)
