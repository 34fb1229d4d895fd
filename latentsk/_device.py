"""The border between numpy and torch: the one place where arrays cross it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._array_api import move_to


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
