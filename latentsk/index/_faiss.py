"""The optional import of FAISS."""

from __future__ import annotations

import functools
import importlib.util
from importlib.metadata import distributions
from types import ModuleType

_PACKAGES = ("faiss-cpu", "faiss-gpu")


@functools.cache
def faiss_available() -> bool:
    """Tell whether the package `faiss` can be found."""
    return importlib.util.find_spec("faiss") is not None


@functools.cache
def load_faiss() -> ModuleType:
    """Import FAISS.

    Raises
    ------
    ImportError
        If it is not installed, or installed twice: faiss-cpu and faiss-gpu write to the
        same folder.
    """
    installed = {
        (distribution.metadata["Name"] or "").lower().replace("_", "-")
        for distribution in distributions()
    }
    if installed.issuperset(_PACKAGES):
        raise ImportError(
            "faiss-cpu and faiss-gpu are both installed, and overwrite each other. "
            "Uninstall both, then install latentsk[cpu] or latentsk[gpu]."
        )
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "backend='faiss' needs FAISS: pip install 'latentsk[cpu]', or "
            "'latentsk[gpu]' for NVIDIA GPUs. backend='torch' does without."
        ) from error
    return faiss
