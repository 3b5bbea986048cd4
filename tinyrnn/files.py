"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["remove_parts", "write_whole"]

PART = ".part"  # the ending of a file that is being written


def write_whole(
    path: str | os.PathLike, content: bytes | Callable[[BinaryIO], None], durable: bool = True
) -> None:
    """Put a file at `path` so that every reader, at any time, finds the old one or the new one whole.

    It is written beside its target, flushed to the disk and renamed. A crash, of the program or of the
    machine, leaves the old file and perhaps a part beside it (see `remove_parts`).

    Parameters
    ----------
    path : str or path
        Missing folders are made. Where it is a link, the file it leads to is replaced.
    content : bytes, or callable
        A function is called with the open file and writes into it.
    durable : bool
        Wait for the disk. Without, a crash of the machine may leave an empty file.

    Raises
    ------
    OSError
        If it cannot be written (no space, no permission, a device in its place): what there was at `path` is
        as it was.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        kind = errno.EISDIR if target.is_dir() else errno.EINVAL
        raise OSError(kind, f"{os.strerror(kind)}: no file can be put there", str(path))
    part = target.with_name(f"{_mark(target)}{uuid.uuid4().hex[:12]}{PART}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        with contextlib.suppress(OSError):  # a file that is replaced hands on its permissions
            shutil.copymode(target, part)
        os.replace(part, target)
        if durable:
            _flush_folder(target.parent)
    except BaseException as error:  # an interrupt too
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            state = "what was there is unchanged" if target.exists() else "nothing was left there"
            raise OSError(error.errno, f"{error.strerror or error}; {state}", str(path)) from error
        raise


def remove_parts(path: str | os.PathLike) -> None:
    """Remove what writers of `path` that were killed have left beside it; nobody may be writing it now."""
    target = Path(os.path.realpath(path))
    for part in target.parent.glob(f"{_mark(target)}*{PART}"):
        with contextlib.suppress(OSError):
            part.unlink()


def _mark(target: Path) -> str:
    """Return how the names of all parts of a file begin; short, however long its own name is."""
    return f".{hashlib.sha256(target.name.encode()).hexdigest()[:12]}-"


def _flush_folder(folder: Path) -> None:
    """Let the new name survive a crash of the machine (not every system can be asked to)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
