"""Loading of rabitqlib, which is optional."""

from __future__ import annotations

import platform
from functools import cache
from typing import Any

import torch

INSTALL = "pip install 'latentsk[static]'"


@cache
def load_rabitqlib() -> Any:
    """Return the module.

    Raises
    ------
    ImportError
        If it is not installed, or the processor lacks what it needs.
    """
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    if is_x86 and torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX"):
        raise ImportError(
            "static=True looks for a graph of rabitqlib, which needs a processor with "
            "AVX2. Without it there are inverted lists, as with static=False."
        )
    try:
        import rabitqlib
    except ImportError as error:
        raise ImportError(
            f"static=True looks for a graph of rabitqlib: {INSTALL}. Without it there "
            "are inverted lists, as with static=False."
        ) from error
    return rabitqlib
