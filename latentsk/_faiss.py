"""The optional import of FAISS."""

from __future__ import annotations

import functools
import importlib.util
from importlib.metadata import distributions
from types import ModuleType


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
        If it is not installed, or installed twice: faiss-cpu and the faiss-gpu packages
        write to the same folder.
    """
    names = {
        (d.metadata["Name"] or "").lower().replace("_", "-") for d in distributions()
    }
    builds = sorted(n for n in names if n.startswith(("faiss-cpu", "faiss-gpu")))
    if len(builds) > 1:
        raise ImportError(
            f"{' and '.join(builds)} are both installed, and overwrite each other. "
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
