"""The border between numpy and torch: the one place where arrays cross it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._array_api import move_to

# Where arrays of a fit may have lain.
DEVICE_TYPES = ("cpu", "cuda", "mps", "xpu")


def to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """Bring a tensor of any device to numpy, which has no bfloat16."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def array_to_numpy(array: Any) -> NDArray[np.float64]:
    """Bring an array of any namespace and device to numpy, in float64."""
    return np.asarray(move_to(array, xp=np, device="cpu"), dtype=np.float64)


def on_host(array: Any) -> Any:
    """Bring a tensor to numpy; leave everything else, a list or a frame, alone."""
    return to_numpy(array) if torch.is_tensor(array) else array


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device that a `device` parameter means.

    Parameters
    ----------
    device : str or torch.device
        "auto" is a CUDA device if there is one, else the CPU.

    Raises
    ------
    ValueError
        If there is no such device, or networks are not trained on devices of its kind.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    available = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda" if available else "cpu")
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = None
    if kind not in ("cpu", "cuda"):
        raise ValueError(
            f"device must be 'auto', 'cpu', 'cuda' or like 'cuda:0', got {device!r}."
        )
    if kind == "cuda" and not available:
        raise ValueError(
            f"device={device!r}, but torch finds no CUDA device. Use device='auto', or "
            "install a torch with CUDA."
        )
    return torch.device(device)


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return "float32" or "bfloat16" for a `precision` parameter.

    "auto" is bfloat16 on GPUs that have it.

    Examples
    --------
    >>> resolve_precision("auto", torch.device("cpu"))
    'float32'
    """
    if precision != "auto":
        return precision
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return "bfloat16" if fast else "float32"


def device_or_cpu(device: str | torch.device) -> torch.device:
    """Return the device that a name means, or the CPU if there is no such device here.

    Of a CUDA device with a number that this machine does not have, it is another one.

    Examples
    --------
    >>> device_or_cpu("cpu")
    device(type='cpu')
    """
    if device == "auto":
        return resolve_device(device)
    named = torch.device(device)
    if named.type == "cpu" or not _is_available(named.type):
        return torch.device("cpu")
    if (named.index or 0) >= torch.get_device_module(named).device_count():
        return torch.device(named.type)
    return named


def _is_available(kind: str) -> bool:
    try:
        return torch.get_device_module(kind).is_available()
    except (RuntimeError, AttributeError):
        return False
