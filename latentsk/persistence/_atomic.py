"""A file that takes its name in one step: the old one or the new one, never half."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def check_target(path: Path) -> None:
    """Refuse a path that no file can be written to.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        If the folder does not exist, or the path is a folder or a device.

    Examples
    --------
    >>> check_target(Path("model.latentsk"))
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} does not exist.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; a file cannot take its place.")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is a device or a pipe; a file cannot take its place.")


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that takes its name in one step, once it is whole on the disk.

    Where the block raises, the old file is left as it was.

    Parameters
    ----------
    path : str or path-like

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "file"
    >>> with atomic_file(path) as file:
    ...     _ = file.write(b"content")
    >>> path.read_bytes()
    b'content'
    """
    path = Path(os.path.realpath(path))  # a link stays one
    temporary = path.with_name(f".{secrets.token_hex(8)}.latentsk.tmp")
    try:
        with open(temporary, "xb") as file:
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(path, temporary)  # what was private stays so
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Windows cannot open a folder, and some file systems cannot flush one. The new
    # file stands by now, so that an error would be misleading.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
