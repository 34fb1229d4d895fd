"""The border between numpy and torch: the one place where arrays cross it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._array_api import move_to


def best_device() -> torch.device:
    """Return the CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn ``"auto"`` or a device's name into a device that exists here.

    Parameters
    ----------
    device : str or torch.device
        "auto" (CUDA where there is one, else the CPU), "cpu", "cuda", "cuda:1", ...

    Returns
    -------
    device : torch.device

    Raises
    ------
    ValueError
        If torch does not know the name, or has no such device on this machine.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device == "auto":
        return best_device()
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be 'auto' or a torch device such as 'cpu', got {device!r}."
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={device!r}, but torch finds no CUDA device here.")
    return resolved


def to_tensor(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Hand an array to torch; on the CPU without a copy, unless it is read-only."""
    if not array.flags.writeable:
        return torch.tensor(array, device=device)
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """Bring a tensor of any device to numpy."""
    return tensor.detach().cpu().numpy()


def array_to_numpy(array: Any) -> NDArray[np.float64]:
    """Bring an array of any namespace and device to numpy, in float64."""
    return np.asarray(move_to(array, xp=np, device="cpu"), dtype=np.float64)


def on_host(array: Any) -> Any:
    """Bring a tensor to numpy; leave everything else, a list or a frame, alone."""
    return to_numpy(array) if torch.is_tensor(array) else array
